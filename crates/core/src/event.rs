//! What happened. A closed list: nothing else moves the engine.

use crate::attempt::{Collected, Exit};
use crate::candidate::MergedCommit;
use crate::checkpoint::{CheckpointFacts, CheckpointWhy};
use crate::command::Command;
use crate::id::{AttemptId, BranchName, Oid, PrdNumber, ProjectId};
use crate::resource::Rung;
use crate::sample::Machine;
use crate::time::Time;

/// Whom an answer goes to; the driver's own number, meaningless to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody asks for something.
    Command {
        reply_to: ReplyTo,
        command: Box<Command>,
    },
    /// A timer may be due.
    Tick,
    Branch {
        prd: PrdNumber,
        result: BranchResult,
    },
    /// The agent of an attempt runs.
    AttemptStarted {
        attempt: AttemptId,
        start: Option<Oid>,
        rung: Option<Rung>,
    },
    /// Nine tenths of its time are gone.
    AttemptNearDeadline {
        attempt: AttemptId,
        left_ms: u64,
    },
    /// A checkpoint of it was taken, or could not be.
    Checkpointed {
        attempt: AttemptId,
        why: CheckpointWhy,
        result: Result<CheckpointFacts, String>,
    },
    /// A look at the whole machine.
    Sampled {
        machine: Machine,
    },
    /// What the history holds beyond its time: samples, and checkpoints from before an instant.
    HistoryOld {
        samples: Vec<Time>,
        checkpoints_before: Time,
    },
    /// Whether the disks have room for new work; the text says which has not.
    Room {
        shortage: Option<String>,
    },
    /// Its worker gave a sign of life.
    AttemptAlive {
        attempt: AttemptId,
    },
    /// Its agent has ended and nothing that it started is alive.
    AttemptExited {
        attempt: AttemptId,
        exit: Exit,
    },
    /// What it left has been read.
    AttemptCollected {
        attempt: AttemptId,
        collected: Collected,
    },
    /// A train's merges, one upon the other in this order.
    Merged {
        project: ProjectId,
        target: BranchName,
        results: Vec<(AttemptId, MergeResult)>,
    },
    /// The checks of this candidate have ended. `commit` begins the id of the merge they ran on; `run` counts the
    /// runs on it, from 1.
    Checked {
        candidate: AttemptId,
        commit: String,
        run: u32,
        result: CheckResult,
    },
    /// The target stands at this candidate's merge, or does not.
    Landed {
        candidate: AttemptId,
        result: LandResult,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BranchResult {
    /// A free name, and the commit that it will stand at.
    Planned {
        name: BranchName,
        at: Oid,
    },
    Made,
    /// Somebody made a branch of that name in between.
    Taken,
    /// It cannot be made: no such base, a broken repository.
    Failed {
        detail: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeResult {
    /// `onto` is the merge before it in the train, or the target's tip.
    Merged(MergedCommit),
    /// What it would be merged onto holds it already: that commit, and its tree.
    Contained {
        commit: Oid,
        tree: Oid,
    },
    Conflict {
        files: Vec<String>,
        /// Git's words and the conflicting hunks, bounded.
        text: String,
    },
    Fault {
        detail: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Passed,
    Failed {
        /// Which command, how it ended, and the end of its output.
        text: String,
    },
    /// It could not be run at all.
    Fault {
        detail: String,
    },
    /// Its process vanished, or somebody else ended it: it says nothing of the tree.
    Lost {
        detail: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LandResult {
    Landed,
    /// The target is not where the merge was computed.
    TargetMoved,
    /// It is checked out with changes in it.
    CheckoutDirty {
        checkout: String,
        detail: String,
    },
    Fault {
        detail: String,
    },
}
