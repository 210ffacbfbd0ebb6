//! What the daemon and a worker say to each other: JSON objects, one per line, over the worker's socket.
//! Unaware of who says it when; that is the worker on one side and [`crate::pool`] on the other.
//!
//! A worker of one version may talk to a daemon of the next (that is what it outlives the daemon for), so
//! fields are only ever added, with a default, and unknown ones are ignored.

use std::io;
use std::path::PathBuf;

use ropewalk_core::resource::Bounds;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::record::ExitRecord;
use crate::identity::ProcessIdentity;
pub use crate::output::rules::{OutputRules, OverOutput};

/// What one worker is to run: an attempt's agent, or a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// `7.2` for an attempt, `check-7.2` for its checks. Unique among what runs.
    pub key: String,
    /// This assignment's own folder, absolute and there already. The worker writes `stdout`, `stderr`,
    /// `worker.json`, `agent.json` and `exit.json` into it. It is the assignment's identity on disk: whoever
    /// runs the same folder twice gets the first one's record.
    pub folder: PathBuf,
    /// Program and arguments. The program is looked up on the assignment's own PATH.
    pub argv: Vec<String>,
    /// Where it starts: absolute.
    pub dir: PathBuf,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// The file that is its standard input; nothing when absent.
    #[serde(default)]
    pub stdin: Option<PathBuf>,
    /// From start to SIGTERM.
    pub timeout_ms: u64,
    /// From SIGTERM to SIGKILL.
    pub grace_ms: u64,
    /// The word of a shell command that must be a program, when it is plain ([`crate::shell::program_of`]): a
    /// missing agent is then a set-up fault (`NotStarted`) instead of a failed attempt with exit code 127.
    #[serde(default)]
    pub program: Option<String>,
    /// What it may use. A breach ends it as `OverLimit`.
    #[serde(default)]
    pub bounds: Bounds,
    /// It ends as stalled after this long without output and without work. Never when absent.
    #[serde(default)]
    pub stall_ms: Option<u64>,
    /// How its output is kept.
    #[serde(default)]
    pub output: OutputRules,
}

/// Daemon to worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum ToWorker {
    /// Run this. Said only to an idle worker.
    Assign { assignment: Box<Assignment> },
    /// End it: with grace, or at once. Ignored when `key` is not what runs.
    Stop { key: String, kill: bool },
    /// End what runs, with grace, then yourself.
    Quit,
}

/// Worker to daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum FromWorker {
    /// First on every connection.
    Hello { worker: ProcessIdentity, assignment: Option<String>, state: WorkerState },
    /// The agent's process exists. Said again to a daemon that connects later.
    Started { key: String, agent: ProcessIdentity, started_at_ms: i64 },
    /// At least every [`super::ALIVE_MS`] while something runs. `recording`: it is over, but its record cannot be
    /// written yet; whoever kills this worker now loses how it ended.
    Alive {
        key: String,
        #[serde(default)]
        recording: bool,
    },
    /// Nine tenths of its time are gone. Said again to a daemon that connects later.
    NearDeadline { key: String, left_ms: u64 },
    /// Nothing that it started is alive, and its `exit.json` is on disk.
    Ended { key: String, record: ExitRecord },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Idle,
    Running,
    /// Asked to stop, or overdue: within its grace.
    Stopping,
    /// Over, but `exit.json` could not be written yet; tried again every second.
    Recording,
}

/// The longest line. An assignment's environment is most of it, and Linux takes no argument longer than
/// 128 KiB, so eight such fit; a peer that sends more without a line end is cut off.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A message as it goes over the socket.
///
/// # Errors
/// When it is longer than [`LINE_BYTES_MAX`].
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(b'\n');
    if bytes.len() > LINE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is longer than a line may be"));
    }
    Ok(bytes)
}

/// Cuts a stream of bytes into messages, whatever the borders of the reads.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    waiting: Vec<u8>,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next whole message; `None` until more bytes have come.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') else {
            if self.waiting.len() > LINE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line without an end"));
            }
            return Ok(None);
        };
        let message = serde_json::from_slice(&self.waiting[..end]).map_err(io::Error::from);
        self.waiting.drain(..=end);
        message.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_whole_whatever_the_borders_of_the_reads() {
        let sent = [ToWorker::Quit, ToWorker::Stop { key: "7.2".into(), kill: true }, ToWorker::Quit];
        let bytes: Vec<u8> = sent.iter().flat_map(|message| encode(message).unwrap()).collect();
        for size in [1, 7, bytes.len()] {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for piece in bytes.chunks(size) {
                lines.push(piece);
                while let Some(message) = lines.next::<ToWorker>().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LINE_BYTES_MAX + 1]);
        assert!(lines.next::<ToWorker>().is_err());
        let long = ToWorker::Stop { key: "x".repeat(LINE_BYTES_MAX), kill: false };
        assert!(encode(&long).is_err());
    }
}
