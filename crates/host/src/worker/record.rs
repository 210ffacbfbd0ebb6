//! The files that a worker leaves in its assignment's folder. Knows their names and shapes; unaware of when
//! they are written.
//!
//! Together they answer the question that a restarted daemon asks: `exit.json` there, it is over; else
//! `worker.json` there and that worker alive, it runs; there and the worker gone, it is lost; neither, it
//! never began. Like the protocol, they only ever gain fields.

use std::path::{Path, PathBuf};

use ropewalk_core::resource::{Resource, Rung, Usage};
use serde::{Deserialize, Serialize};

use crate::identity::{ProcessIdentity, boot_id};

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
    /// How surely its processes can be found.
    #[serde(default)]
    pub rung: Option<Rung>,
    /// The worker's cgroup: whoever cleans up after it kills this as a whole.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
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
    /// Wall clock at start and at the start plus `usage.wall_ms`, so that a changed date cannot swap them.
    pub started_at_ms: i64,
    pub finished_at_ms: i64,
    #[serde(default)]
    pub usage: Usage,
    /// What held its processes. Absent for what never ran.
    #[serde(default)]
    pub rung: Option<Rung>,
    /// Of the machine's boot that it ran in.
    #[serde(default)]
    pub boot_id: String,
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
    TimedOut {
        /// Not its whole time, but its time without output and work.
        #[serde(default)]
        stalled: bool,
    },
    /// It used more than it may.
    OverLimit {
        resource: Resource,
        /// In words: what was allowed.
        detail: String,
    },
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
            usage: Usage::default(),
            rung: None,
            boot_id: boot_id().to_owned(),
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
