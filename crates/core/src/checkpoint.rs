//! Resumable points of an attempt. Unaware of git and of how a worktree is read.

use serde::{Deserialize, Serialize};

use crate::id::{AttemptId, Oid};
use crate::time::Time;

/// Why a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointWhy {
    Asked,
    Timer,
    /// The attempt's end.
    End,
}

impl CheckpointWhy {
    pub fn name(self) -> &'static str {
        match self {
            CheckpointWhy::Asked => "asked",
            CheckpointWhy::Timer => "timer",
            CheckpointWhy::End => "end",
        }
    }
}

/// A row of the store, keyed by attempt and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub attempt: AttemptId,
    /// From 1, within the attempt.
    pub number: u32,
    pub at: Time,
    pub why: CheckpointWhy,
    #[serde(flatten)]
    pub facts: CheckpointFacts,
}

/// What the machine put by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFacts {
    /// The commit that holds the worktree, pinned at a hidden ref.
    pub commit: Oid,
    /// Where the work in it began: what has changed is told against this.
    pub start: Oid,
    /// The agent's own name for its conversation, when it told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How much had been printed.
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
}

/// What a later attempt goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The attempt that the checkpoint is of, and its number there.
    pub of: AttemptId,
    pub number: u32,
    pub commit: Oid,
    pub start: Oid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Checkpoint {
    pub fn resume(&self) -> Resume {
        Resume {
            of: self.attempt,
            number: self.number,
            commit: self.facts.commit.clone(),
            start: self.facts.start.clone(),
            session: self.facts.session.clone(),
        }
    }
}
