//! What of an ended attempt stays in the repository and among the worktrees, how long, and in which order it goes.
//! Unaware of git and files: it is told what there is and names what may go.

use crate::attempt::Outcome;
use crate::id::AttemptId;
use crate::time::Time;

const DAY_MS: u64 = 24 * 3_600_000;

/// How long the worktree of an attempt that did not pass stays: whoever wants to look into it does so within a week.
/// What is in it is rescued long before it goes.
pub const WORKTREE_MS: u64 = 7 * DAY_MS;

/// Worktrees that are kept at once, of all projects: a night's failures, and on a large project some gigabytes.
pub const WORKTREES_MAX: usize = 20;

/// How long a rescue stays once its task is over: longer than anybody's holidays. While the task is open it never goes.
pub const RESCUE_MS: u64 = 90 * DAY_MS;

/// How long what attempts of a done task left stays: what landed is on the branch, the rest is for comparison.
pub const ATTEMPTS_OF_DONE_MS: u64 = 30 * DAY_MS;

/// Whether the worktree of an attempt with this end stays for a person to look at. One that passed is a commit; one that
/// never began, was put off, or was ended for the engine's sake has nothing to show that the next one does not take up.
pub fn is_worth_a_look(outcome: Outcome, task_is_cancelled: bool) -> bool {
    match outcome {
        Outcome::Failed | Outcome::TimedOut | Outcome::OverLimit | Outcome::Lost => true,
        Outcome::Cancelled => task_is_cancelled,
        Outcome::Passed | Outcome::RateLimited | Outcome::NotStarted => false,
    }
}

/// A worktree that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptWorktree {
    pub attempt: AttemptId,
    pub finished_at: Time,
    /// Nobody asks any more why an attempt of a task failed that is done.
    pub task_is_done: bool,
}

/// Those that may go, the oldest first: of tasks that are done, of last week, beyond the most that are kept; all of them
/// when a disk is low.
pub fn worktrees_due(kept: &[KeptWorktree], now: Time, disk_is_low: bool) -> Vec<AttemptId> {
    let is_due = |kept: &KeptWorktree| {
        disk_is_low || kept.task_is_done || now >= kept.finished_at.plus_ms(WORKTREE_MS)
    };
    let mut by_age = kept.to_vec();
    by_age.sort_by_key(|kept| (kept.finished_at, kept.attempt));
    let mut excess = by_age.iter().filter(|kept| !is_due(kept)).count().saturating_sub(WORKTREES_MAX);
    let mut due = Vec::new();
    for kept in by_age {
        let is_excess = !is_due(&kept) && excess > 0;
        if is_excess {
            excess -= 1;
        }
        if is_excess || is_due(&kept) {
            due.push(kept.attempt);
        }
    }
    due
}

/// How a task stands to what its attempts left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be tried again.
    Open,
    /// Since about then: the end of its last attempt.
    Done(Time),
    Cancelled(Time),
}

/// Whether a rescue of that moment may go.
pub fn is_rescue_due(made_at: Time, standing: Standing, now: Time) -> bool {
    match standing {
        Standing::Open => false,
        Standing::Done(over) | Standing::Cancelled(over) => now >= made_at.max(over).plus_ms(RESCUE_MS),
    }
}

/// Whether what an attempt left as a commit may go. That of a cancelled task landed nowhere, and counts like a rescue.
pub fn is_attempt_due(standing: Standing, now: Time) -> bool {
    match standing {
        Standing::Open => false,
        Standing::Done(over) => now >= over.plus_ms(ATTEMPTS_OF_DONE_MS),
        Standing::Cancelled(over) => now >= over.plus_ms(RESCUE_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AttemptNumber, TaskId};

    const NOW: Time = Time(1_800_000_000_000);

    fn ago(ms: u64) -> Time {
        Time(NOW.0 - i64::try_from(ms).unwrap())
    }

    fn kept(task: u64, age_ms: u64) -> KeptWorktree {
        let attempt = AttemptId { task: TaskId(task), number: AttemptNumber(1) };
        KeptWorktree { attempt, finished_at: ago(age_ms), task_is_done: false }
    }

    fn due(kept: &[KeptWorktree], disk_is_low: bool) -> Vec<u64> {
        worktrees_due(kept, NOW, disk_is_low).iter().map(|id| id.task.0).collect()
    }

    #[test]
    fn a_worktree_goes_by_age_with_its_task_and_on_a_low_disk() {
        let done = KeptWorktree { task_is_done: true, ..kept(3, 5) };
        let all = [kept(1, WORKTREE_MS), kept(2, WORKTREE_MS - 1), done, kept(4, 0)];
        assert_eq!(due(&all, false), [1, 3]);
        assert_eq!(due(&all, true), [1, 2, 3, 4]);
        assert_eq!(due(&[], true), [0; 0]);
    }

    #[test]
    fn beyond_the_most_the_oldest_go_and_those_that_go_anyway_do_not_count() {
        let most = WORKTREES_MAX as u64;
        let mut all: Vec<_> = (1..=most + 2).map(|n| kept(n, 1_000 - n)).collect();
        assert_eq!(due(&all, false), [1, 2]);
        all[10].task_is_done = true;
        assert_eq!(due(&all, false), [1, 11]);
    }

    #[test]
    fn what_an_open_task_left_never_goes_and_the_rest_in_its_time() {
        let long = ago(RESCUE_MS * 10);
        assert!(!is_rescue_due(long, Standing::Open, NOW) && !is_attempt_due(Standing::Open, NOW));
        assert!(is_rescue_due(long, Standing::Done(ago(RESCUE_MS)), NOW));
        assert!(!is_rescue_due(ago(RESCUE_MS - 1), Standing::Cancelled(long), NOW));
        assert!(!is_rescue_due(long, Standing::Cancelled(ago(RESCUE_MS - 1)), NOW));
        for (standing, expected) in [
            (Standing::Done(ago(ATTEMPTS_OF_DONE_MS)), true),
            (Standing::Done(ago(ATTEMPTS_OF_DONE_MS - 1)), false),
            (Standing::Cancelled(ago(ATTEMPTS_OF_DONE_MS)), false),
            (Standing::Cancelled(ago(RESCUE_MS)), true),
        ] {
            assert_eq!(is_attempt_due(standing, NOW), expected, "{standing:?}");
        }
    }

    #[test]
    fn what_the_next_attempt_takes_up_needs_no_look() {
        assert!(is_worth_a_look(Outcome::Failed, false) && is_worth_a_look(Outcome::Cancelled, true));
        assert!(!is_worth_a_look(Outcome::Passed, false) && !is_worth_a_look(Outcome::Cancelled, false));
    }
}
