//! Every bound of the program in one place, each with the reason for its value.

use serde::{Deserialize, Serialize};

/// The bounds. `Default` is what ships; tests and configuration may narrow them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// PRDs that are worked on at once, as the source systems have it: more finish later, each and all.
    pub prds_at_once: u32,
    /// The most that anybody may set for it.
    pub prds_at_once_max: u32,
    /// Attempts at once. Four agents keep a laptop usable and an account below its rate limits.
    pub slots: u32,
    /// An attempt's time. Half an hour is the longest that the source systems let an agent think.
    pub timeout_ms: u64,
    /// The longest time anybody may set: two hours, so that a forgotten agent ends the same night.
    pub timeout_ms_max: u64,
    /// A check's time: a test suite that takes longer than this starves the queue behind it.
    pub check_timeout_ms: u64,
    /// From SIGTERM to SIGKILL: enough for an agent to write its session down.
    pub kill_grace_ms: u64,
    /// Failed attempts that park a task: the third failure in a row rarely becomes a fourth success.
    pub attempts_max: u32,
    /// The most that anybody may set for it.
    pub attempts_max_max: u32,
    /// Conflicts that park a task. They cost no fault of the agent's, so more are allowed than failures.
    pub conflicts_max: u32,
    /// Times in a row that the same fault may end a task's attempts before it is parked: what happened twice by
    /// accident does not happen a third time by accident.
    pub same_fault_max: u32,
    /// The most that anybody may set for it.
    pub same_fault_max_max: u32,
    /// The same for what is not the task's doing: the machine went down, the disk was full, a check's process
    /// vanished. A night of power cuts must not park what is innocent, and a story that takes the machine down must
    /// not do so for ever.
    pub misfortunes_max: u32,
    /// The same for a provider that says to come back later: a night of waits of the longest kind.
    pub rate_limited_max: u32,
    /// First wait after a rate limit; doubled each time. Providers count by the minute at the least.
    pub rate_limit_wait_ms: u64,
    /// Longest such wait.
    pub rate_limit_wait_ms_max: u64,
    /// The longest grace between SIGTERM and SIGKILL that anybody may set.
    pub kill_grace_ms_max: u64,
    /// How long a graceful stop waits for attempts to end by themselves.
    pub stop_grace_ms: u64,
    /// An attempt's output, both streams: as much as the source systems promise to take.
    pub output_bytes_max: u64,
    /// Between two checkpoints of a running attempt: what a crash of the machine may cost.
    pub checkpoint_every_ms: u64,
    /// Checkpoints of a task that stay.
    pub checkpoints_kept: u32,
    /// The most that anybody may set for it.
    pub checkpoints_kept_max: u32,
    /// Times that a candidate is merged anew because its target moved: each means somebody else landed.
    pub remerges_max: u32,
    /// Candidates that are merged, checked and landed together. A red train of eight costs three more runs of the checks
    /// to find whose fault it was.
    pub train_max: u32,
    /// The most that anybody may set for it.
    pub train_max_max: u32,
    /// Targets whose checks run at the same time: test suites are rarely written to share a machine with many others.
    pub checks_at_once: u32,
    /// First wait before another attempt after a failure; doubled each time.
    pub backoff_ms: u64,
    /// Longest such wait.
    pub backoff_ms_max: u64,
    /// A lease runs out this long after the last sign of life of its worker.
    pub lease_ms: u64,
    /// By how much a task's place in the line is worth per whole step of priority: one that has been ready
    /// so much longer goes before one that is a step more urgent, so nothing starves.
    pub priority_step_ms: u64,
    /// Tasks that are not finished, in one state folder. 100,000 stories are the largest PRD we promise.
    pub tasks_max: usize,
    /// Stories in one PRD.
    pub stories_max: usize,
    /// Edges in one PRD.
    pub dependencies_max: usize,
    /// Bytes of a PRD file: 100,000 stories of 2 kB and some room.
    pub prd_bytes_max: u64,
    /// Copies that one `task add --count` makes.
    pub count_max: u32,
    /// Bytes of an error text kept in a row; the rest is in the output.
    pub detail_bytes_max: usize,
    /// Bytes of feedback (a conflict, a failing check's output) handed to the next attempt.
    pub feedback_bytes_max: usize,
    /// Events taken into one turn of the loop, hence into one commit.
    pub events_per_turn_max: usize,
    /// Events that may wait for the loop. The rim blocks beyond it: back-pressure, not memory.
    pub events_waiting_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            prds_at_once: 3,
            prds_at_once_max: 1_000,
            slots: 4,
            timeout_ms: 30 * 60_000,
            timeout_ms_max: 2 * 60 * 60_000,
            check_timeout_ms: 30 * 60_000,
            kill_grace_ms: 5_000,
            attempts_max: 3,
            attempts_max_max: 100,
            conflicts_max: 10,
            same_fault_max: 3,
            same_fault_max_max: 100,
            misfortunes_max: 10,
            rate_limited_max: 48,
            rate_limit_wait_ms: 60_000,
            rate_limit_wait_ms_max: 30 * 60_000,
            kill_grace_ms_max: 10 * 60_000,
            stop_grace_ms: 60_000,
            output_bytes_max: 1 << 30,
            checkpoint_every_ms: 10 * 60_000,
            checkpoints_kept: 5,
            checkpoints_kept_max: 1_000,
            remerges_max: 100,
            train_max: 8,
            train_max_max: 100,
            checks_at_once: 2,
            backoff_ms: 1_000,
            backoff_ms_max: 5 * 60_000,
            lease_ms: 60_000,
            priority_step_ms: 10 * 60_000,
            tasks_max: 1_000_000,
            stories_max: 100_000,
            dependencies_max: 2_000_000,
            prd_bytes_max: 256 << 20,
            count_max: 100_000,
            detail_bytes_max: 1_024,
            feedback_bytes_max: 16 << 10,
            events_per_turn_max: 1_024,
            events_waiting_max: 4_096,
        }
    }
}

/// Cuts a text to at most `bytes_max` bytes at a character's border, keeping its head and its tail: a
/// failing program says what it is at the start and why it failed at the end.
pub fn shorten(text: &str, bytes_max: usize) -> String {
    const MARK: &str = "\n[… cut …]\n";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let room = bytes_max.saturating_sub(MARK.len());
    let head = text.floor_char_boundary(room / 4);
    let tail = text.ceil_char_boundary(text.len() - (room - room / 4).min(text.len()));
    format!("{}{MARK}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn a_long_text_keeps_its_head_and_its_tail_within_the_bound() {
        let text = format!("first {} last", "é".repeat(5_000));
        let cut = shorten(&text, 1_024);
        assert!(cut.len() <= 1_024 && cut.starts_with("first") && cut.ends_with("last"), "{}", cut.len());
        assert_eq!(shorten("short", 1_024), "short");
    }
}
