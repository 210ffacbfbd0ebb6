//! A candidate's way through the merge queue. Unaware of git: the rim computes, the engine decides.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, BranchName, Oid, ProjectId};
use crate::priority::Priority;
use crate::time::Time;

/// A commit waiting to land: a row of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The attempt that made it. For a PRD's landing the number counts the landings asked for.
    pub id: AttemptId,
    pub project: ProjectId,
    pub target: BranchName,
    /// What is to land: an attempt's commit, or a PRD's branch as it stands.
    pub source: Source,
    pub state: CandidateState,
    /// How often it was merged anew because the target moved.
    pub remerges: u32,
    /// When it joined the queue, and the date of its merge commit, so that a repeated merge gives the same id.
    pub queued_at: Time,
    /// How urgent its task was then.
    #[serde(default = "absent")]
    pub priority: Priority,
    /// Red runs of its checks that a second run on the same tree called off.
    #[serde(default)]
    pub flakes: u32,
    /// Why it was returned, for the next attempt: the conflict, or the failing check's output.
    pub feedback: Option<String>,
    /// Where the next attempt starts instead of the target's tip: the merge whose checks were red.
    pub resume_at: Option<Oid>,
}

fn absent() -> Priority {
    Priority::ABSENT
}

impl Candidate {
    /// Its place in the queue: by age and urgency in one number, as among ready tasks, so that nobody starves.
    pub fn place(&self, priority_step_ms: u64) -> (i64, AttemptId) {
        (self.priority.rank(self.queued_at, priority_step_ms), self.id)
    }

    /// The merge that is being checked or landed.
    pub fn merged(&self) -> Option<&MergedCommit> {
        match &self.state {
            CandidateState::Checking { merged, .. } | CandidateState::Landing { merged } => Some(merged),
            CandidateState::Waiting
            | CandidateState::Merging
            | CandidateState::Landed { .. }
            | CandidateState::Returned { .. } => None,
        }
    }

    /// How often the checks of exactly this merge were red.
    pub(crate) fn reds(&self) -> u32 {
        match self.state {
            CandidateState::Checking { reds, .. } => reds,
            CandidateState::Waiting
            | CandidateState::Merging
            | CandidateState::Landing { .. }
            | CandidateState::Landed { .. }
            | CandidateState::Returned { .. } => 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Commit(Oid),
    Branch(BranchName),
}

/// A merge that was computed: what it stands on, the commit that would land, and its tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedCommit {
    pub onto: Oid,
    pub commit: Oid,
    pub tree: Oid,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum CandidateState {
    Waiting,
    /// In the train; the merges are being computed.
    Merging,
    /// In the train. Its checks, or those of one behind it, run on exactly `merged.tree`; `reds` of them were red.
    Checking {
        merged: MergedCommit,
        #[serde(default)]
        reds: u32,
    },
    /// The checks passed, its own or those of one behind it; the target is about to move to it.
    Landing {
        merged: MergedCommit,
    },
    Landed {
        commit: Oid,
        at: Time,
    },
    Returned {
        why: ReturnWhy,
        at: Time,
    },
}

impl CandidateState {
    pub fn name(&self) -> &'static str {
        match self {
            CandidateState::Waiting => "waiting",
            CandidateState::Merging => "merging",
            CandidateState::Checking { .. } => "checking",
            CandidateState::Landing { .. } => "landing",
            CandidateState::Landed { .. } => "landed",
            CandidateState::Returned { .. } => "returned",
        }
    }

    pub fn is_final(&self) -> bool {
        matches!(self, CandidateState::Landed { .. } | CandidateState::Returned { .. })
    }

    /// Whether it is in its target's train: being merged, checked or landed.
    pub fn is_under_way(&self) -> bool {
        matches!(
            self,
            CandidateState::Merging | CandidateState::Checking { .. } | CandidateState::Landing { .. }
        )
    }

    /// Whether the lifecycle knows the move from `self` to `to`.
    pub fn may_become(&self, to: &CandidateState) -> bool {
        use CandidateState::*;
        match (self, to) {
            (Waiting, Merging | Returned { .. }) => true,
            // Without checks a merge goes straight to landing; what is already contained has landed.
            (Merging, Checking { .. } | Landing { .. } | Landed { .. } | Waiting | Returned { .. }) => true,
            // Red, and looked at once more.
            (Checking { merged: from, reds }, Checking { merged: to, reds: more }) => {
                from == to && more > reds
            }
            // What the target held already has landed as soon as its checks pass.
            (Checking { .. }, Landing { .. } | Landed { .. } | Waiting | Returned { .. }) => true,
            // The target moved in between: back into the line.
            (Landing { .. }, Landed { .. } | Waiting | Returned { .. }) => true,
            // A person cleared what stood in the way.
            (Returned { .. }, Waiting) => true,
            (
                Waiting | Merging | Checking { .. } | Landing { .. } | Landed { .. } | Returned { .. },
                Waiting | Merging | Checking { .. } | Landing { .. } | Landed { .. } | Returned { .. },
            ) => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReturnWhy {
    Conflict,
    CheckFailed,
    CheckoutDirty,
    TargetKeepsMoving,
    Cancelled,
    GitFault,
    /// A person looks at it first.
    Review,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_lands_only_by_way_of_a_merge_and_nothing_leaves_landed() {
        let oid = || Oid::new(&"a".repeat(40)).expect("hex");
        let merged = MergedCommit { onto: oid(), commit: oid(), tree: oid() };
        let landed = CandidateState::Landed { commit: oid(), at: Time(0) };
        assert!(!CandidateState::Waiting.may_become(&landed));
        assert!(!CandidateState::Returned { why: ReturnWhy::Conflict, at: Time(0) }.may_become(&landed));
        assert!(CandidateState::Landing { merged }.may_become(&landed));
        assert!(!landed.may_become(&CandidateState::Waiting));
    }
}
