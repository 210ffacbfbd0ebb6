//! What to do next. Each effect is idempotent and may be asked for again after a restart.

use crate::candidate::{MergedCommit, Source};
use crate::checkpoint::CheckpointWhy;
use crate::id::{AttemptId, BranchName, Oid, PrdNumber, ProjectId};
use crate::settings::LandMethod;
use crate::time::Time;

#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Find a free branch name and the base's tip. Answered by `Event::Branch`.
    PlanBranch { prd: PrdNumber, project: ProjectId, wanted: BranchName, base: BranchName },
    /// Make the planned branch. Answered by `Event::Branch`.
    MakeBranch { prd: PrdNumber, project: ProjectId, name: BranchName, at: Oid },
    /// Start the attempt, or find it again: running (re-adopted), ended (its exit record), or gone (lost).
    Start { attempt: AttemptId },
    /// End the attempt: with grace, or at once.
    Stop { attempt: AttemptId, at_once: bool },
    /// Put by what its worktree holds now. Answered by `Event::Checkpointed`.
    Checkpoint { attempt: AttemptId, why: CheckpointWhy },
    /// Read what the attempt left and keep it.
    Collect { attempt: AttemptId },
    /// The attempt is over: its worktree and branch may go once what they hold is kept.
    Release { attempt: AttemptId },
    /// Merge the cars one upon the other, the first onto the target's tip. Nothing moves. Answered by `Event::Merged`.
    Merge { project: ProjectId, target: BranchName, cars: Vec<Car> },
    /// Run the project's checks on exactly this commit, for the `run`th time.
    Check { candidate: AttemptId, project: ProjectId, merged: MergedCommit, run: u32 },
    /// The checks' result is no longer wanted.
    StopCheck { candidate: AttemptId },
    /// Move the target from `merged.onto` to `merged.commit` by compare-and-swap, and after it `follow` if that is an
    /// ancestor. The candidate is the last of those that land with it.
    Land {
        candidate: AttemptId,
        project: ProjectId,
        target: BranchName,
        merged: MergedCommit,
        follow: Option<BranchName>,
    },
    /// After a start: release whatever on this machine belongs to none of these attempts.
    Sweep { live: Vec<AttemptId> },
}

/// One candidate of a train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Car {
    pub candidate: AttemptId,
    pub source: Source,
    /// What its commits are dated.
    pub date: Time,
    pub method: LandMethod,
}
