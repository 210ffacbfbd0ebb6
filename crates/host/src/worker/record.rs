//! The files that a worker leaves in its assignment's folder. Knows their names and shapes; unaware of when
//! they are written.
//!
//! Together they answer the question that a restarted daemon asks: `exit.json` there, it is over; else
//! `worker.json` there and that worker alive, it runs; there and the worker gone, it is lost; neither, it
//! never began. Like the protocol, they only ever gain fields.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::identity::ProcessIdentity;

/// `worker.json`: durable before the agent starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerNote {
    pub key: String,
    pub worker: ProcessIdentity,
    /// Wall clock, for people.
    pub started_at_ms: i64,
    /// When SIGTERM is due, in milliseconds since the boot that `worker` names.
    pub deadline_boot_ms: u64,
    pub timeout_ms: u64,
    pub grace_ms: u64,
}

/// `agent.json`: written as soon as the agent's process exists. Not fsynced: it names a process, and no process
/// outlives the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentNote {
    pub key: String,
    pub agent: ProcessIdentity,
}

/// `exit.json`: durable before anybody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub key: String,
    pub end: End,
    /// Wall clock at start and at the start plus `wall_ms`, so that a changed date cannot swap them.
    pub started_at_ms: i64,
    pub finished_at_ms: i64,
    /// On the boot-time clock, until nothing was alive any more.
    pub wall_ms: u64,
    /// User and system time of everything that was reaped, to 10 ms.
    pub cpu_ms: u64,
    /// The most memory that one of its processes was seen to hold at once: looked at after a second, every ten
    /// seconds, and before they are stopped. Absent when it ended before the first look.
    pub rss_max_bytes: Option<u64>,
    /// How many of its processes were still alive when the agent itself had ended. They were killed.
    pub leaked: u32,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum End {
    Exited {
        code: i32,
    },
    Signalled {
        os_signal: i32,
    },
    /// Past its limit, whatever it said when told so.
    TimedOut,
    /// Asked to stop, whatever it said when asked.
    Stopped,
    /// No process was ever started.
    NotStarted {
        reason: String,
        /// A shortage of the moment (disk, memory, processes): once more may help.
        #[serde(default)]
        passing: bool,
    },
}

impl ExitRecord {
    /// The record of what never ran.
    pub(crate) fn of_nothing(key: &str, end: End, at_ms: i64) -> ExitRecord {
        ExitRecord {
            key: key.to_owned(),
            end,
            started_at_ms: at_ms,
            finished_at_ms: at_ms,
            wall_ms: 0,
            cpu_ms: 0,
            rss_max_bytes: None,
            leaked: 0,
        }
    }
}

pub fn worker_note(folder: &Path) -> PathBuf {
    folder.join("worker.json")
}

pub fn agent_note(folder: &Path) -> PathBuf {
    folder.join("agent.json")
}

pub fn exit_record(folder: &Path) -> PathBuf {
    folder.join("exit.json")
}
