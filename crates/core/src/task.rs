//! A task's lifecycle. Knows which move is legal from which state; unaware of why a move is made.

use serde::{Deserialize, Serialize};

use crate::attempt::{Fault, tampered_text};
use crate::checkpoint::Resume;
use crate::id::{AttemptId, AttemptNumber, Oid, PrdNumber, ProjectId, StoryId, TaskId};
use crate::priority::Priority;
use crate::settings::Settings;
use crate::time::Time;

/// One queued piece of work: a row of the store, and the live thing in the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    /// Absent for a plain command outside any repository.
    pub project: Option<ProjectId>,
    pub prd: Option<PrdNumber>,
    pub story: Option<StoryId>,
    pub kind: TaskKind,
    pub title: String,
    pub priority: Priority,
    pub state: TaskState,
    /// The number of the latest attempt; 0 before the first.
    pub attempts: u32,
    pub tally: Tally,
    /// The checkpoint that its next attempt is to go on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// The files that it means to touch, as its story names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Rises by one with each change of the row; the store refuses a change that does not follow on.
    pub version: u64,
    pub settings: Settings,
    pub depends_on: Vec<TaskId>,
    pub created_at: Time,
}

impl Task {
    /// The latest attempt; its number is 0 before the first.
    pub fn attempt(&self) -> AttemptId {
        AttemptId { task: self.id, number: AttemptNumber(self.attempts) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TaskKind {
    /// An agent works in a worktree, and its commit lands on the PRD's branch.
    Implement,
    /// A command runs in a folder: no git, nothing to land.
    Command {
        /// Absolute path of the folder.
        folder: String,
    },
    /// The PRD's branch lands on the base. No attempt, only a candidate.
    Land,
}

/// What went wrong so far, each kind counted against its own limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Attempts that failed by themselves; red checks count here.
    pub failures: u32,
    /// Candidates returned because they conflict with what landed before.
    pub conflicts: u32,
    /// The fault that ended the latest attempts, and how many of them in a row.
    pub fault: Option<Fault>,
    pub repeats: u32,
    /// Faults that cost an agent's time, of whatever kind, since it last ended by itself: kinds that take turns must
    /// not go on for ever.
    pub faults: u32,
}

/// Where a task is in its life. Each state names what must hold in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TaskState {
    /// A dependency has not landed, or the PRD is not active.
    Blocked,
    /// Nothing but capacity is missing, from `not_before` on.
    Ready { since: Time, not_before: Time },
    /// The latest attempt is live and belongs to a worker.
    Leased { since: Time },
    /// The latest attempt's commit stands in its target's merge queue.
    Landing { since: Time },
    /// A story: its commit has landed. A plain command: its attempt passed.
    Done { at: Time, how: DoneHow },
    /// A person must look; `reason` says at what.
    Parked { at: Time, reason: ParkReason },
    /// Nobody wants it any more.
    Cancelled { at: Time, reason: CancelReason },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum DoneHow {
    Landed {
        commit: Oid,
    },
    Passed,
    /// The file said `passes: true` and the user chose to believe it.
    Trusted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum ParkReason {
    /// As many attempts failed as are allowed.
    TooManyFailures { failures: u32, detail: String },
    /// It conflicts again and again.
    TooManyConflicts { conflicts: u32, detail: String },
    /// The same fault ended its attempts again and again.
    SameFault { fault: Fault, repeats: u32, detail: String },
    /// The set-up is wrong (no such program, no such folder): another attempt would end the same way.
    SetUp { detail: String },
    /// The target is checked out with changes in it that the landing would touch.
    CheckoutDirty { checkout: String, detail: String },
    /// The target moved under every merge of it.
    TargetKeepsMoving { remerges: u32 },
    /// The processes that run its checks vanish again and again.
    ChecksLost { detail: String },
    /// Its checks cannot be run at all.
    CheckSetUp { detail: String },
    /// A PRD's branch does not merge into its base; a person decides.
    BaseConflict { detail: String },
    /// A PRD's branch merges, but its checks are red on the result.
    BaseCheckFailed { detail: String },
    /// Git refused for a reason of its own.
    Git { detail: String },
    /// The project wants a person to look at the work before it lands.
    Review,
    /// While its attempt ran, somebody changed what makes git run a program.
    Tampered { detail: String },
}

impl ParkReason {
    /// Whether the candidate is good as it is, so that a retry lands it rather than starting the agent.
    pub fn keeps_candidate(&self) -> bool {
        match self {
            ParkReason::CheckoutDirty { .. }
            | ParkReason::TargetKeepsMoving { .. }
            | ParkReason::ChecksLost { .. }
            | ParkReason::CheckSetUp { .. }
            | ParkReason::BaseConflict { .. }
            | ParkReason::BaseCheckFailed { .. }
            | ParkReason::Git { .. }
            | ParkReason::Review => true,
            ParkReason::TooManyFailures { .. }
            | ParkReason::TooManyConflicts { .. }
            | ParkReason::SameFault { .. }
            | ParkReason::SetUp { .. }
            | ParkReason::Tampered { .. } => false,
        }
    }

    /// What a person does about it, as a command; `task`: its number.
    pub fn next(&self, task: TaskId) -> String {
        if *self == ParkReason::Review {
            format!("ropewalk review {task} --approve   # or --reject; `ropewalk diff {task}` shows it")
        } else {
            format!("ropewalk retry {task}   # once the cause is removed")
        }
    }

    /// One sentence for a person.
    pub fn text(&self) -> String {
        match self {
            ParkReason::TooManyFailures { failures, detail } => {
                format!("{} failed; the last: {detail}", attempts(*failures))
            }
            ParkReason::TooManyConflicts { conflicts, detail } => {
                format!("it conflicted {conflicts} times with what landed before; the last: {detail}")
            }
            ParkReason::SameFault { fault, repeats, detail } => {
                format!("{} in a row {}: {detail}", attempts(*repeats), fault.name())
            }
            ParkReason::SetUp { detail } => format!("the set-up is wrong: {detail}"),
            ParkReason::CheckoutDirty { checkout, detail } => {
                format!("the target is checked out in {checkout} and not clean: {detail}")
            }
            ParkReason::TargetKeepsMoving { remerges } => {
                format!("the target moved during {remerges} merges")
            }
            ParkReason::ChecksLost { detail } => format!("its checks were lost again and again: {detail}"),
            ParkReason::CheckSetUp { detail } => format!("its checks cannot be run: {detail}"),
            ParkReason::BaseConflict { detail } => {
                format!("the PRD's branch conflicts with its base: {detail}")
            }
            ParkReason::BaseCheckFailed { detail } => {
                format!("the checks are red on the PRD's branch merged into its base: {detail}")
            }
            ParkReason::Git { detail } => format!("git refused: {detail}"),
            ParkReason::Review => "its work waits for your review".to_owned(),
            ParkReason::Tampered { detail } => {
                format!("{}; look at it and put it back, then retry", tampered_text(detail))
            }
        }
    }
}

fn attempts(count: u32) -> String {
    if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum CancelReason {
    Asked,
    PrdAbandoned,
    /// A changed file no longer holds the story.
    Removed,
    /// `on_dependency_failure = "skip"`.
    DependencyFailed {
        task: TaskId,
    },
}

/// A move that the lifecycle does not know: a defect of the caller, never a guess.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task} cannot go from {from} to {to}")]
pub struct IllegalMove {
    pub task: TaskId,
    pub from: &'static str,
    pub to: &'static str,
}

impl TaskState {
    pub fn name(&self) -> &'static str {
        match self {
            TaskState::Blocked => "blocked",
            TaskState::Ready { .. } => "ready",
            TaskState::Leased { .. } => "leased",
            TaskState::Landing { .. } => "landing",
            TaskState::Done { .. } => "done",
            TaskState::Parked { .. } => "parked",
            TaskState::Cancelled { .. } => "cancelled",
        }
    }

    /// Done or cancelled: only an explicit retry brings it back.
    pub fn is_final(&self) -> bool {
        matches!(self, TaskState::Done { .. } | TaskState::Cancelled { .. })
    }

    /// Whether the lifecycle knows the move from `self` to `to`. The one table of it.
    pub fn may_become(&self, to: &TaskState) -> bool {
        use TaskState::*;
        match (self, to) {
            // A dependency landed, the PRD was approved; or, back: a dependency was added, the PRD is no longer active.
            (Blocked, Ready { .. }) | (Ready { .. }, Blocked) => true,
            // Trusted by the user at import.
            (Blocked, Done { how: DoneHow::Trusted, .. }) => true,
            // Somebody cut the wait short.
            (Ready { .. }, Ready { .. }) => true,
            // A worker takes it; a PRD's landing needs none.
            (Ready { .. }, Leased { .. } | Landing { .. }) => true,
            // The attempt ended: to the queue, done, another attempt, a person.
            (Leased { .. }, Landing { .. } | Done { .. } | Ready { .. } | Parked { .. }) => true,
            // The candidate landed, was returned, or is stuck.
            (Landing { .. }, Done { .. } | Ready { .. } | Parked { .. }) => true,
            // A person decided.
            (Parked { .. }, Ready { .. } | Landing { .. } | Blocked) => true,
            (Cancelled { .. }, Ready { .. } | Blocked) => true,
            (Blocked | Ready { .. } | Leased { .. } | Landing { .. } | Parked { .. }, Cancelled { .. }) => {
                true
            }
            (
                Blocked
                | Ready { .. }
                | Leased { .. }
                | Landing { .. }
                | Done { .. }
                | Parked { .. }
                | Cancelled { .. },
                Blocked
                | Ready { .. }
                | Leased { .. }
                | Landing { .. }
                | Done { .. }
                | Parked { .. }
                | Cancelled { .. },
            ) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<TaskState> {
        let at = Time(0);
        vec![
            TaskState::Blocked,
            TaskState::Ready { since: at, not_before: at },
            TaskState::Leased { since: at },
            TaskState::Landing { since: at },
            TaskState::Done { at, how: DoneHow::Passed },
            TaskState::Parked { at, reason: ParkReason::SetUp { detail: String::new() } },
            TaskState::Cancelled { at, reason: CancelReason::Asked },
        ]
    }

    #[test]
    fn the_transition_table_is_exactly_this() {
        let mut table = String::new();
        for from in all() {
            let to: Vec<_> = all().iter().filter(|to| from.may_become(to)).map(TaskState::name).collect();
            table += &format!("{} -> {}\n", from.name(), to.join(" "));
        }
        assert_eq!(
            table,
            "blocked -> ready cancelled\n\
             ready -> blocked ready leased landing cancelled\n\
             leased -> ready landing done parked cancelled\n\
             landing -> ready done parked cancelled\n\
             done -> \n\
             parked -> blocked ready landing cancelled\n\
             cancelled -> blocked ready\n"
        );
    }

    #[test]
    fn nothing_leaves_done_and_only_done_and_cancelled_are_final() {
        let finals: Vec<_> = all().iter().filter(|s| s.is_final()).map(TaskState::name).collect();
        assert_eq!(finals, ["done", "cancelled"]);
    }
}
