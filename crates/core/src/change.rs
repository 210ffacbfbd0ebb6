//! What becomes durable. A closed list: a store that can write these can hold everything.

use serde::{Deserialize, Serialize};

use crate::attempt::Attempt;
use crate::candidate::Candidate;
use crate::checkpoint::{Checkpoint, Resume};
use crate::id::{PrdNumber, TaskId};
use crate::row::{Prd, PrdContent, Project, Story};
use crate::sample::Sample;
use crate::task::{Tally, Task, TaskState};
use crate::time::Time;

/// One durable change. All the changes of a turn are committed together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Inserts or replaces a project.
    ProjectPut(Box<Project>),
    /// Inserts or replaces a PRD with its content, and its row in the search index.
    PrdPut { prd: Box<Prd>, content: Box<PrdContent> },
    /// Replaces a PRD's live part only: one row, and the index is not touched.
    PrdMoved(Box<Prd>),
    /// Inserts or replaces a story, keyed by PRD and id.
    StoryPut(Box<Story>),
    /// The file no longer holds the story; its task is cancelled by a change of its own.
    StoryRemoved { prd: PrdNumber, task: TaskId },
    /// A new task (version 1) with its dependencies, or an edited one (version + 1), dependencies replaced.
    TaskPut(Box<Task>),
    /// A task's move through its lifecycle. `version` must be the stored one + 1.
    TaskMoved(TaskMoved),
    /// Inserts or replaces an attempt, keyed by task and number.
    AttemptPut(Box<Attempt>),
    /// Inserts or replaces a candidate, keyed by task and number.
    CandidatePut(Box<Candidate>),
    /// A new checkpoint. Of its task only the latest `kept` stay.
    CheckpointPut { checkpoint: Box<Checkpoint>, kept: u32 },
    /// Forgets checkpoints that were taken before.
    CheckpointsForgotten { before: Time },
    /// A look at the whole machine, one row each.
    SampleAdded(Box<Sample>),
    /// Forgets the samples of these instants.
    SamplesForgotten(Vec<Time>),
    /// A line of history.
    Noted(Note),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskMoved {
    pub task: TaskId,
    pub version: u64,
    pub state: TaskState,
    pub attempts: u32,
    pub tally: Tally,
    pub resume: Option<Resume>,
}

/// One line of the history: what happened to what, for people and for the morning's page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub at: Time,
    pub kind: NoteKind,
    pub prd: Option<PrdNumber>,
    pub task: Option<TaskId>,
    pub attempt: Option<u32>,
    /// Bounded by `Limits::detail_bytes_max`.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    EngineStarted,
    ProjectAdded,
    PrdImported,
    PrdApproved,
    PrdHeld,
    PrdCompleted,
    PrdAbandoned,
    BranchMade,
    BranchFailed,
    TaskAdded,
    TaskCancelled,
    TaskRetried,
    TaskParked,
    AttemptStarted,
    AttemptNearDeadline,
    AttemptFinished,
    Checkpointed,
    CheckpointFailed,
    Conflict,
    CheckFailed,
    CheckFlaky,
    TargetMoved,
    Landed,
    Rejected,
    Refused,
}

impl NoteKind {
    pub fn name(self) -> &'static str {
        match self {
            NoteKind::EngineStarted => "engine started",
            NoteKind::ProjectAdded => "project added",
            NoteKind::PrdImported => "imported",
            NoteKind::PrdApproved => "approved",
            NoteKind::PrdHeld => "stopped",
            NoteKind::PrdCompleted => "completed",
            NoteKind::PrdAbandoned => "abandoned",
            NoteKind::BranchMade => "branch made",
            NoteKind::BranchFailed => "branch failed",
            NoteKind::TaskAdded => "added",
            NoteKind::TaskCancelled => "cancelled",
            NoteKind::TaskRetried => "retried",
            NoteKind::TaskParked => "parked",
            NoteKind::AttemptStarted => "started",
            NoteKind::AttemptNearDeadline => "near its deadline",
            NoteKind::AttemptFinished => "finished",
            NoteKind::Checkpointed => "checkpoint",
            NoteKind::CheckpointFailed => "checkpoint failed",
            NoteKind::Conflict => "conflict",
            NoteKind::CheckFailed => "check failed",
            NoteKind::CheckFlaky => "check flaky",
            NoteKind::TargetMoved => "target moved",
            NoteKind::Landed => "landed",
            NoteKind::Rejected => "rejected",
            NoteKind::Refused => "refused",
        }
    }
}
