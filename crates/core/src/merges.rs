//! The merge queue as people see it. Read-only; made from rows.

use serde::{Deserialize, Serialize};

use crate::candidate::{Candidate, CandidateState, ReturnWhy, Source};
use crate::id::{AttemptId, TaskId};
use crate::time::Time;

/// The merge queues of all targets, and what became of the latest candidates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergesView {
    /// Under way or waiting: by target, the trains first, then in the order of the line.
    pub queue: Vec<MergeLine>,
    pub returned: Vec<MergeLine>,
    pub landed: Vec<MergeLine>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeLine {
    pub task: TaskId,
    pub candidate: AttemptId,
    /// What people call its task.
    pub name: String,
    pub target: String,
    pub state: String,
    /// Why it was returned, or how its checks went; empty: nothing to say.
    pub remark: String,
    pub queued_at: Time,
    pub ended_at: Option<Time>,
    /// What is to land: a commit, or the branch that is read when it is merged.
    pub source: String,
    /// What its merge stands on.
    pub onto: Option<String>,
    /// Its merge, as it is checked or as it landed.
    pub commit: Option<String>,
    pub tree: Option<String>,
    pub remerges: u32,
    pub flakes: u32,
    /// The conflict, the failing check's output, or a reviewer's words.
    pub feedback: Option<String>,
}

/// Two pieces of work that touch the same files, before either has landed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingLine {
    pub one: String,
    pub one_task: TaskId,
    pub other: String,
    pub other_task: TaskId,
    pub how: MeetingKind,
    pub files: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingKind {
    /// As they are now, git does not merge them.
    Conflict,
    /// Both changed these files, and git merges them.
    SameFiles,
    /// What their stories name may meet; neither has touched it yet, or only one has.
    SameScope,
}

impl MeetingKind {
    pub fn text(self) -> &'static str {
        match self {
            MeetingKind::Conflict => "conflict",
            MeetingKind::SameFiles => "same files, merge cleanly",
            MeetingKind::SameScope => "their stories name the same files",
        }
    }
}

impl MergeLine {
    pub fn of(candidate: &Candidate, name: String) -> MergeLine {
        let merged = candidate.merged();
        let (commit, ended_at) = match &candidate.state {
            CandidateState::Landed { commit, at } => (Some(commit.to_string()), Some(*at)),
            CandidateState::Returned { at, .. } => (None, Some(*at)),
            CandidateState::Waiting
            | CandidateState::Merging
            | CandidateState::Checking { .. }
            | CandidateState::Landing { .. } => (merged.map(|merged| merged.commit.to_string()), None),
        };
        MergeLine {
            task: candidate.id.task,
            candidate: candidate.id,
            name,
            target: candidate.target.to_string(),
            state: candidate.state.name().to_owned(),
            remark: remark(candidate),
            queued_at: candidate.queued_at,
            ended_at,
            source: match &candidate.source {
                Source::Commit(commit) => commit.to_string(),
                Source::Branch(branch) => branch.to_string(),
            },
            onto: merged.map(|merged| merged.onto.to_string()),
            commit,
            tree: merged.map(|merged| merged.tree.to_string()),
            remerges: candidate.remerges,
            flakes: candidate.flakes,
            feedback: candidate.feedback.clone(),
        }
    }
}

fn remark(candidate: &Candidate) -> String {
    let mut remarks = Vec::new();
    match &candidate.state {
        CandidateState::Returned { why, .. } => remarks.push(why.text().to_owned()),
        CandidateState::Checking { reds: 1.., .. } => remarks.push("red, looked at once more".to_owned()),
        CandidateState::Waiting
        | CandidateState::Merging
        | CandidateState::Checking { .. }
        | CandidateState::Landing { .. }
        | CandidateState::Landed { .. } => {}
    }
    if candidate.flakes > 0 {
        remarks.push("its checks are flaky".to_owned());
    }
    if candidate.remerges > 0 {
        remarks.push(format!("merged anew {} times", candidate.remerges));
    }
    remarks.join(", ")
}

impl ReturnWhy {
    pub fn text(self) -> &'static str {
        match self {
            ReturnWhy::Conflict => "it conflicts with what landed before",
            ReturnWhy::CheckFailed => "its checks failed",
            ReturnWhy::CheckoutDirty => "the target is checked out and not clean",
            ReturnWhy::TargetKeepsMoving => "the target keeps moving",
            ReturnWhy::Cancelled => "cancelled",
            ReturnWhy::GitFault => "git refused",
            ReturnWhy::Review => "it waits for a review, or was rejected by one",
        }
    }
}
