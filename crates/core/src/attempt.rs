//! An attempt's lifecycle and how it can end. Unaware of processes: the rim says what was seen.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Resume;
use crate::id::{AttemptId, Oid};
use crate::resource::{Resource, Rung, Usage};
use crate::time::Time;

/// One execution of a task: a row of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub id: AttemptId,
    pub state: AttemptState,
    pub created_at: Time,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    /// The commit that the worktree was made from.
    pub start: Option<Oid>,
    /// The commit that holds what the attempt left.
    pub head: Option<Oid>,
    /// One line about the end: exit status, the limit, the fault. Bounded by `Limits::detail_bytes_max`.
    pub detail: String,
    /// What the next attempt must know of this one's end: the last lines of its output.
    pub feedback: Option<String>,
    /// The checkpoint that it goes on from; its worktree starts there instead of at the PRD's branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// What ended it, where that was neither its own work nor a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// How surely its processes could be found and ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Rung>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When nine tenths of its time were gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warned_at: Option<Time>,
    /// How many checkpoints were taken of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checkpoints: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Attempt {
    /// A new attempt, about to be prepared.
    pub fn new(id: AttemptId, at: Time, resume: Option<Resume>) -> Attempt {
        Attempt {
            id,
            state: AttemptState::Preparing,
            created_at: at,
            started_at: None,
            finished_at: None,
            start: None,
            head: None,
            detail: String::new(),
            feedback: None,
            resume,
            fault: None,
            rung: None,
            usage: None,
            warned_at: None,
            checkpoints: 0,
        }
    }

    /// The outcome with what made it, for people: `timed out (stalled)`, `over limit (memory)`.
    pub fn outcome_text(&self) -> Option<String> {
        let AttemptState::Finished { outcome } = self.state else { return None };
        Some(match self.fault {
            Some(Fault::Stalled) => format!("{} (stalled)", outcome.name()),
            Some(Fault::OverLimit(resource)) => format!("{} ({})", outcome.name(), resource.name()),
            _ => outcome.name().to_owned(),
        })
    }
}

/// What ended an attempt against its will. Two in a row are the same fault when these are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    TimedOut,
    /// No output and no CPU time for as long as it was allowed.
    Stalled,
    OverLimit(Resource),
    RateLimited,
    /// Its worker vanished.
    Lost,
    /// The whole machine went down under it.
    MachineEnded,
    /// The set-up is wrong.
    SetUp,
    /// It could not be started for a passing reason.
    CouldNotStart,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::TimedOut => "timed out",
            Fault::Stalled => "stalled",
            Fault::OverLimit(_) => "over limit",
            Fault::RateLimited => "rate limited",
            Fault::Lost => "lost",
            Fault::MachineEnded => "lost with the machine",
            Fault::SetUp => "not set up",
            Fault::CouldNotStart => "not started",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AttemptState {
    /// Its worktree is being made.
    Preparing,
    /// Its agent runs.
    Running,
    /// It was asked to end.
    Stopping {
        why: StopWhy,
    },
    /// Its agent has ended; what it left is being collected.
    Checking {
        exit: Exit,
        /// Why it had been asked to end, if it had.
        why: Option<StopWhy>,
    },
    Finished {
        outcome: Outcome,
    },
}

impl AttemptState {
    pub fn name(&self) -> &'static str {
        match self {
            AttemptState::Preparing => "preparing",
            AttemptState::Running => "running",
            AttemptState::Stopping { .. } => "stopping",
            AttemptState::Checking { .. } => "checking",
            AttemptState::Finished { .. } => "finished",
        }
    }

    pub fn is_finished(&self) -> bool {
        matches!(self, AttemptState::Finished { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopWhy {
    /// The task was cancelled.
    Cancelled,
    /// The engine stops; the task will go on later and nothing is spent.
    EngineStops,
    /// Nothing was heard of its worker for a whole lease.
    LeaseRanOut,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    TimedOut,
    OverLimit,
    RateLimited,
    Cancelled,
    /// Its worker vanished and left no exit record.
    Lost,
    /// Nothing ran.
    NotStarted,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::TimedOut => "timed out",
            Outcome::OverLimit => "over limit",
            Outcome::RateLimited => "rate limited",
            Outcome::Cancelled => "cancelled",
            Outcome::Lost => "lost",
            Outcome::NotStarted => "not started",
        }
    }
}

/// What the machine saw of an attempt's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub kind: ExitKind,
    /// One line for people, such as `exit status 3`.
    pub detail: String,
    /// The last lines of its output, for the next attempt and for people.
    pub tail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Rung>,
    /// The agent's own name for its conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Exit {
    /// An end of which nothing more is known.
    pub fn new(kind: ExitKind, detail: impl Into<String>) -> Exit {
        Exit { kind, detail: detail.into(), tail: String::new(), usage: None, rung: None, session: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitKind {
    /// Exit status 0.
    Success,
    /// Another exit status, or an OS signal that we did not send.
    Failure,
    TimedOut,
    /// No output and no CPU time for as long as it was allowed.
    Stalled,
    OverLimit(Resource),
    /// The agent says that its provider wants it to come back later.
    RateLimited,
    /// It ended because we asked it to.
    Stopped,
    /// The set-up is wrong: it would end the same way again.
    SetUpFault,
    /// It could not be started for a passing reason (no space, git busy).
    CouldNotStart,
    /// Worker gone, no record.
    Lost,
    /// The same, and the machine was started anew since.
    MachineEnded,
}

impl ExitKind {
    /// The fault in it, where it is neither the agent's own work nor a person's wish.
    pub fn fault(self) -> Option<Fault> {
        match self {
            ExitKind::Success | ExitKind::Failure | ExitKind::Stopped => None,
            ExitKind::TimedOut => Some(Fault::TimedOut),
            ExitKind::Stalled => Some(Fault::Stalled),
            ExitKind::OverLimit(resource) => Some(Fault::OverLimit(resource)),
            ExitKind::RateLimited => Some(Fault::RateLimited),
            ExitKind::SetUpFault => Some(Fault::SetUp),
            ExitKind::CouldNotStart => Some(Fault::CouldNotStart),
            ExitKind::Lost => Some(Fault::Lost),
            ExitKind::MachineEnded => Some(Fault::MachineEnded),
        }
    }
}

/// What an attempt left in its worktree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "collected")]
pub enum Collected {
    /// Everything is in `head`; `changed` tells whether its tree differs from where the attempt started.
    Commit { head: Oid, changed: bool },
    /// Conflict markers, a merge or a rebase left in the middle.
    Unfinished { detail: String },
    /// The worktree or its git data is gone.
    Gone { detail: String },
    /// Git refused; the worktree is kept.
    Fault { detail: String },
    /// While the attempt ran, somebody changed what makes git run a program. Its work, if there is any, is kept at
    /// `head` and lands nowhere.
    Tampered { head: Option<Oid>, detail: String },
}

/// The verdict: from facts only, never from words in the output.
pub fn verdict(exit: &Exit, collected: Option<&Collected>, require_change: bool) -> (Outcome, String) {
    let as_seen = |outcome| match collected {
        // However it ended, this is told.
        Some(Collected::Tampered { detail, .. }) => (outcome, joined(&exit.detail, &tampered_text(detail))),
        _ => (outcome, exit.detail.clone()),
    };
    match exit.kind {
        ExitKind::Failure => as_seen(Outcome::Failed),
        ExitKind::TimedOut | ExitKind::Stalled => as_seen(Outcome::TimedOut),
        ExitKind::OverLimit(_) => as_seen(Outcome::OverLimit),
        ExitKind::RateLimited => as_seen(Outcome::RateLimited),
        ExitKind::Stopped => as_seen(Outcome::Cancelled),
        ExitKind::SetUpFault | ExitKind::CouldNotStart => as_seen(Outcome::NotStarted),
        ExitKind::Lost | ExitKind::MachineEnded => as_seen(Outcome::Lost),
        ExitKind::Success => match collected {
            None => as_seen(Outcome::Passed),
            Some(Collected::Commit { changed: false, .. }) if require_change => {
                (Outcome::Failed, "the agent ended well but changed nothing".into())
            }
            Some(Collected::Commit { .. }) => as_seen(Outcome::Passed),
            Some(Collected::Unfinished { detail }) => {
                (Outcome::Failed, format!("the agent left unfinished work: {detail}"))
            }
            Some(Collected::Gone { detail }) => (Outcome::Failed, format!("the worktree is gone: {detail}")),
            Some(Collected::Fault { detail }) => {
                (Outcome::Lost, format!("what it left could not be read: {detail}"))
            }
            Some(Collected::Tampered { .. }) => as_seen(Outcome::Failed),
        },
    }
}

/// Others run at the same time, and the user works too: who did it cannot be said.
pub(crate) fn tampered_text(detail: &str) -> String {
    format!("while it ran, what git obeys in the repository was changed: {detail}")
}

fn joined(one: &str, other: &str) -> String {
    if one.is_empty() { other.to_owned() } else { format!("{one}; {other}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(kind: ExitKind) -> Exit {
        Exit { tail: "error: success failed passed".into(), ..Exit::new(kind, "seen") }
    }

    #[test]
    fn success_needs_a_change_where_one_is_required_and_words_decide_nothing() {
        let same = Collected::Commit { head: Oid::new(&"a".repeat(40)).expect("hex"), changed: false };
        let changed = Collected::Commit { head: Oid::new(&"b".repeat(40)).expect("hex"), changed: true };
        let of = |kind, collected, require| verdict(&exit(kind), collected, require).0;
        assert_eq!(of(ExitKind::Success, Some(&changed), true), Outcome::Passed);
        assert_eq!(of(ExitKind::Success, Some(&same), true), Outcome::Failed);
        assert_eq!(of(ExitKind::Success, Some(&same), false), Outcome::Passed);
        assert_eq!(of(ExitKind::Failure, Some(&changed), true), Outcome::Failed);
        assert_eq!(of(ExitKind::Lost, None, true), Outcome::Lost);
        assert_eq!(
            of(ExitKind::Success, Some(&Collected::Fault { detail: String::new() }), true),
            Outcome::Lost
        );
    }

    #[test]
    fn a_tampered_repository_fails_what_ended_well_and_is_told_of_every_end() {
        let tampered = Collected::Tampered { head: None, detail: "hooks/pre-commit was added".into() };
        for (kind, outcome) in [
            (ExitKind::Success, Outcome::Failed),
            (ExitKind::Failure, Outcome::Failed),
            (ExitKind::TimedOut, Outcome::TimedOut),
            (ExitKind::Stopped, Outcome::Cancelled),
        ] {
            let (seen, detail) = verdict(&exit(kind), Some(&tampered), false);
            assert_eq!(seen, outcome);
            assert!(detail.starts_with("seen; while it ran") && detail.ends_with("was added"), "{detail}");
        }
    }
}
