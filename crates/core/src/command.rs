//! What can be asked, and what is answered. Every front end sends these and has no rules of its own.

use serde::{Deserialize, Serialize};

use crate::id::{BranchName, PrdKey, PrdNumber, ProjectId, TaskId};
use crate::prd::PrdDocument;
use crate::priority::Priority;
use crate::settings::Settings;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Adds a repository, or renews the settings of one that is known by its common git folder.
    AddProject {
        top: String,
        common_dir: String,
        base: BranchName,
        settings: Box<Settings>,
    },
    ImportPrd(Box<ImportPrd>),
    Approve {
        prd: PrdNumber,
    },
    Abandon {
        prd: PrdNumber,
        reason: String,
    },
    /// Ends a PRD; `force` also with stories that have not landed.
    Complete {
        prd: PrdNumber,
        force: bool,
    },
    /// Lands the PRD's branch on its base; `partial` also with stories that have not landed.
    Land {
        prd: PrdNumber,
        partial: bool,
    },
    AddTasks(Box<AddTasks>),
    /// Makes a task that has not started wait for another one as well.
    AddDependency {
        task: TaskId,
        on: TaskId,
    },
    Cancel {
        tasks: Vec<TaskId>,
    },
    /// Another attempt; `from`: on that checkpoint.
    Retry {
        task: TaskId,
        from: Option<FromCheckpoint>,
    },
    /// Take a checkpoint of a task's live attempt.
    Checkpoint {
        task: TaskId,
    },
    /// Which PRDs may start work; `None`: all of them.
    Focus {
        on: Option<Vec<PrdNumber>>,
    },
    /// Adds a PRD to those that may start work.
    FocusAlso {
        prd: PrdNumber,
    },
    SetSlots {
        slots: u32,
    },
    /// How many PRDs are worked on at once; the others wait for their turn.
    SetPrdsAtOnce {
        prds: u32,
    },
    /// What a person says of work that waits for it.
    Review {
        task: TaskId,
        verdict: Verdict,
    },
    /// End what runs of a PRD and start nothing more of it: it goes back to being a draft.
    Hold {
        prd: PrdNumber,
    },
    /// Start nothing more, give what runs `grace_ms` to end by itself, and then do with it as told. Told again, the
    /// shorter grace and the latest wish count.
    Stop {
        grace_ms: u64,
        then: AtStop,
    },
}

/// What happens to attempts that still run when an engine's time to stop is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtStop {
    /// They are ended with their own grace; their tasks go back to ready, and nothing is spent.
    End,
    /// Their workers go on alone, and the next engine takes them up.
    Leave,
}

/// What a person says of an attempt's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may land.
    Approve,
    /// Another attempt goes on from it, and is told this.
    Reject { comment: String },
}

/// Which checkpoint a retry goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromCheckpoint {
    Latest,
    /// By attempt and number, as `task show` lists them.
    Of {
        attempt: u32,
        number: u32,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ImportPrd {
    pub project: ProjectId,
    pub document: PrdDocument,
    /// The key to use: given by the user. Else the document's own, else the next free `PRD-NNN`.
    pub key: Option<PrdKey>,
    /// Absolute path of the file.
    pub source: Option<String>,
    pub approve: bool,
    /// Accept `passes: true` of the file as done.
    pub trust_passes: bool,
    /// Overrides from flags; empty: keep those of an earlier import.
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AddTasks {
    pub title: String,
    pub place: Place,
    pub priority: Priority,
    pub after: Vec<TaskId>,
    pub count: u32,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a worktree of the project; lands on the branch of the project's single tasks.
    Worktree { project: ProjectId },
    /// In this folder, with no git at all.
    Folder { project: Option<ProjectId>, folder: String },
}

/// What a command brought about, or why it was refused. A refused command changed nothing.
pub type Answer = Result<Done, Refusal>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "done")]
pub enum Done {
    Project {
        project: ProjectId,
    },
    Imported(Imported),
    Tasks {
        tasks: Vec<TaskId>,
    },
    /// What changed, in one sentence.
    Changed {
        text: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    pub prd: PrdNumber,
    pub key: PrdKey,
    pub added: u32,
    pub updated: u32,
    pub unchanged: u32,
    pub removed: u32,
    /// Accepted as done on the file's word.
    pub trusted: u32,
    /// Stories that the file changed but that have started, landed, or are otherwise fixed; each with the reason.
    pub fixed: Vec<String>,
    pub approved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub text: String,
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// There is no such thing.
    NotFound,
    /// It exists, but its state does not allow it.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// A bound is reached; later it may work.
    Busy,
    /// The engine ended before it looked at it; nothing was done, and whoever serves next may be asked.
    Gone,
    /// The store failed; nothing was acknowledged.
    Failed,
}

impl Refusal {
    pub fn new(kind: RefusalKind, text: impl Into<String>) -> Refusal {
        Refusal { kind, text: text.into(), hint: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Refusal {
        Refusal { hint: Some(hint.into()), ..self }
    }
}
