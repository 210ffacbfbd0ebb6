//! What front ends may ask and what they get: the wire's shapes. Rules are the engine's; names are resolved in
//! `answer`.

use ropewalk_core::command::{AtStop, Done, FromCheckpoint, Refusal, Verdict};
use ropewalk_core::id::{BranchName, ProjectId};
use ropewalk_core::merges::{MeetingLine, MergeLine, MergesView};
use ropewalk_core::row::Project;
use ropewalk_core::sample::Sample;
use ropewalk_core::settings::Settings;
use ropewalk_core::time::Time;
use ropewalk_core::view::{Board, NoteLine, PlanView, PrdLine, PrdView, TaskLine, TaskView};
use serde::{Deserialize, Serialize};

/// The file in an attempt's folder which says that its worktree was rescued and stays for a person to look at.
pub const KEPT: &str = "kept";

/// A question and where it is asked from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// The common git folder of the asker's repository, which tells PRDs of the same key apart.
    pub repository: Option<String>,
    pub request: Request,
}

/// Names are as people write them: `PRD-001` for a PRD, `7` or `PRD-001/US-003` for a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Request {
    /// Adds the asker's repository, or renews its settings.
    AddProject {
        top: String,
        base: BranchName,
        settings: Box<Settings>,
    },
    Import(Box<Import>),
    Approve {
        prd: String,
    },
    Abandon {
        prd: String,
        reason: String,
    },
    Complete {
        prd: String,
        force: bool,
    },
    /// Ends what runs of a PRD and starts nothing more of it.
    Hold {
        prd: String,
    },
    PrdsAtOnce {
        prds: u32,
    },
    /// What a person says of work that waits for it.
    Review {
        task: String,
        verdict: Verdict,
    },
    /// Lands a PRD's branch on its base.
    Land {
        prd: String,
        partial: bool,
    },
    AddTasks(Box<NewTasks>),
    /// Makes a task that has not started wait for another one as well.
    AddDependency {
        task: String,
        on: String,
    },
    Cancel {
        tasks: Vec<String>,
    },
    /// Another attempt; `from`: on that checkpoint.
    Retry {
        task: String,
        #[serde(default)]
        from: Option<FromCheckpoint>,
    },
    /// Take a checkpoint of a task's live attempt.
    Checkpoint {
        task: String,
    },
    /// Which PRDs may start work; nothing: all.
    Focus {
        on: Option<Vec<String>>,
    },
    /// Adds a PRD to those that may start work.
    FocusAlso {
        prd: String,
    },
    Stop {
        grace_ms: u64,
        then: AtStop,
    },
    /// Looks at the machine, from an instant on.
    Samples {
        since: Time,
        limit: usize,
    },
    Board,
    /// The board, once it is newer than `seen` or `timeout_ms` has passed.
    Watch {
        seen: u64,
        timeout_ms: u64,
    },
    Prds {
        states: Vec<String>,
    },
    Prd {
        prd: String,
    },
    /// In which order the PRD's open stories can be worked off.
    Plan {
        prd: String,
    },
    Search {
        text: String,
    },
    /// The PRD's document as imported, with what landed marked.
    Export {
        prd: String,
    },
    Tasks {
        prd: Option<String>,
        states: Vec<String>,
        after: u64,
        limit: usize,
    },
    Task {
        task: String,
    },
    /// The merge queues, and what became of the latest candidates.
    Merges,
    /// The latest candidate of a task.
    Merge {
        task: String,
    },
    /// Where work that runs or waits to land would meet.
    Conflicts,
    /// What an attempt changed; nothing: the latest.
    Diff {
        task: String,
        attempt: Option<u32>,
        stat: bool,
    },
    /// The project of a task; of none: the asker's own.
    Project {
        task: Option<String>,
    },
    /// The history after a sequence number.
    Notes {
        after: u64,
        prd: Option<String>,
        limit: usize,
    },
}

impl Request {
    /// Whether it changes nothing and is not about the engine itself, so that anybody may answer it, and twice.
    pub(crate) fn only_reads(&self) -> bool {
        match self {
            Request::Prds { .. }
            | Request::Prd { .. }
            | Request::Plan { .. }
            | Request::Search { .. }
            | Request::Export { .. }
            | Request::Tasks { .. }
            | Request::Task { .. }
            | Request::Merges
            | Request::Conflicts
            | Request::Merge { .. }
            | Request::Diff { .. }
            | Request::Project { .. }
            | Request::Notes { .. } => true,
            // Whoever looks at the board follows this engine, and wants to know of its end.
            Request::Board
            | Request::Watch { .. }
            | Request::Samples { .. }
            | Request::AddProject { .. }
            | Request::Import(_)
            | Request::Approve { .. }
            | Request::Abandon { .. }
            | Request::Complete { .. }
            | Request::Hold { .. }
            | Request::PrdsAtOnce { .. }
            | Request::Review { .. }
            | Request::Land { .. }
            | Request::AddTasks(_)
            | Request::AddDependency { .. }
            | Request::Cancel { .. }
            | Request::Retry { .. }
            | Request::Checkpoint { .. }
            | Request::Focus { .. }
            | Request::FocusAlso { .. }
            | Request::Stop { .. } => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// Absolute path of the file: what a PRD without an id of its own is known by.
    pub source: String,
    pub content: String,
    /// The `MANIFEST.yaml` beside it.
    pub manifest: Option<String>,
    pub key: Option<String>,
    pub approve: bool,
    pub trust_passes: bool,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewTasks {
    pub title: String,
    /// Run there, with no git; nothing: in a worktree of the asker's repository.
    pub folder: Option<String>,
    pub priority: Option<String>,
    pub after: Vec<String>,
    pub count: u32,
    pub settings: Settings,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer", content = "with")]
pub enum Response {
    Done(Done),
    Board(Box<Board>),
    Prds(Vec<PrdLine>),
    Prd(Box<PrdView>),
    Plan(Box<PlanView>),
    Text(String),
    Tasks(Vec<TaskLine>),
    Task(Box<TaskView>),
    Notes(Vec<NoteLine>),
    Merges(Box<MergesView>),
    Merge(Box<MergeLine>),
    Meetings(Vec<MeetingLine>),
    Samples(Vec<Sample>),
    Project(ProjectLine),
    Refused(Refusal),
    /// The imported document is not accepted: each fault with its place, already in words.
    Faults(Vec<FaultLine>),
}

/// A fault of an imported document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLine {
    /// `line:column` or a path in the document, or both.
    pub place: String,
    pub rule: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Where a project's repository is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectLine {
    pub id: ProjectId,
    pub top: String,
    pub common_dir: String,
}

impl ProjectLine {
    pub(crate) fn of(row: &Project) -> Self {
        ProjectLine { id: row.id, top: row.top.clone(), common_dir: row.common_dir.clone() }
    }
}
