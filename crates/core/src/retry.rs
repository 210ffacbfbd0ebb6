//! What follows an attempt's end: how long its task waits for the next, and when a person must look. Unaware of the
//! engine and of what ended it.
//!
//! Each fault has its own policy, and only an agent's own failure spends the budget of failures: what the machine or
//! a provider did is not the task's doing.

use crate::attempt::Fault;
use crate::id::AttemptId;
use crate::limits::Limits;
use crate::task::Tally;

/// How often in a row the same fault may happen, and how the waits between grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The task is parked when it happens so often in a row. 1: at once.
    pub repeats_max: u32,
    pub wait_ms: u64,
    pub wait_ms_max: u64,
}

/// The policy of a fault; `same_fault_max` as the task's settings have it.
pub fn policy(fault: Fault, same_fault_max: u32, limits: &Limits) -> Policy {
    let usual =
        |repeats_max| Policy { repeats_max, wait_ms: limits.backoff_ms, wait_ms_max: limits.backoff_ms_max };
    match fault {
        Fault::TimedOut | Fault::Stalled | Fault::OverLimit(_) | Fault::Lost => usual(same_fault_max),
        Fault::MachineEnded | Fault::CouldNotStart => usual(limits.misfortunes_max.max(same_fault_max)),
        // It would end the same way again.
        Fault::SetUp => usual(1),
        Fault::RateLimited => Policy {
            repeats_max: limits.rate_limited_max,
            wait_ms: limits.rate_limit_wait_ms,
            wait_ms_max: limits.rate_limit_wait_ms_max,
        },
    }
}

/// Faults of different kinds in a row that park a task, for each that the same kind may have.
const KINDS: u32 = 3;

/// Whether a task must be parked after this fault.
pub fn is_enough(tally: &Tally, policy: &Policy, same_fault_max: u32) -> bool {
    tally.repeats >= policy.repeats_max || tally.faults >= same_fault_max.saturating_mul(KINDS)
}

/// Whether an agent has worked, and was paid for it, before it ended so.
fn costs_time(fault: Fault) -> bool {
    match fault {
        Fault::TimedOut | Fault::Stalled | Fault::OverLimit(_) | Fault::Lost => true,
        Fault::RateLimited | Fault::MachineEnded | Fault::SetUp | Fault::CouldNotStart => false,
    }
}

impl Tally {
    /// One fault more. A different one than the last begins a new row.
    pub fn count_fault(&mut self, fault: Fault) {
        self.repeats = if self.fault == Some(fault) { self.repeats.saturating_add(1) } else { 1 };
        self.fault = Some(fault);
        self.faults = self.faults.saturating_add(u32::from(costs_time(fault)));
    }

    /// Something else than a fault ended an attempt: the row is over.
    pub fn end_row(&mut self) {
        self.fault = None;
        self.repeats = 0;
        self.faults = 0;
    }
}

/// The wait after so many failures of the agent in a row.
pub fn backoff_ms(attempt: AttemptId, failures: u32, limits: &Limits) -> u64 {
    wait_ms(attempt, failures, limits.backoff_ms, limits.backoff_ms_max)
}

/// Exponential backoff with jitter: `first_ms` doubled each time up to `ms_max`, of which a part between one half and
/// the whole is waited ("equal jitter", M. Brooker, Exponential Backoff And Jitter, 2015). The part comes from the
/// attempt's id: no chance, and yet two tasks that failed together return apart.
pub fn wait_ms(attempt: AttemptId, times: u32, first_ms: u64, ms_max: u64) -> u64 {
    let doubled = 1_u64.checked_shl(times.saturating_sub(1)).map_or(u64::MAX, |n| n.saturating_mul(first_ms));
    let whole = doubled.min(ms_max);
    let half = whole / 2;
    half + mix(attempt.task.0 ^ (u64::from(attempt.number.0) << 48)) % (whole - half + 1)
}

/// The finalizer of SplitMix64 (G. Steele, D. Lea, C. Flood, 2014): every bit of the input moves every bit out.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AttemptNumber, TaskId};
    use crate::resource::Resource;

    #[test]
    fn waits_grow_stay_within_their_bounds_and_differ_between_tasks() {
        let limits = Limits::default();
        let of = |task, n| backoff_ms(AttemptId { task: TaskId(task), number: AttemptNumber(n) }, n, &limits);
        for n in 1..200 {
            let whole =
                2_u64.saturating_pow(n - 1).saturating_mul(limits.backoff_ms).min(limits.backoff_ms_max);
            assert!((whole / 2..=whole).contains(&of(7, n)), "failure {n}");
        }
        assert_ne!(of(7, 3), of(8, 3));
        assert_eq!(of(7, 3), of(7, 3));
    }

    #[test]
    fn only_the_same_fault_makes_a_row_and_anything_else_ends_it() {
        let mut tally = Tally::default();
        let rows: Vec<u32> = [
            Fault::TimedOut,
            Fault::TimedOut,
            Fault::OverLimit(Resource::Memory),
            Fault::OverLimit(Resource::Processes),
            Fault::OverLimit(Resource::Processes),
        ]
        .into_iter()
        .map(|fault| {
            tally.count_fault(fault);
            tally.repeats
        })
        .collect();
        assert_eq!(rows, [1, 2, 1, 1, 2]);
        assert_eq!(tally.faults, 5, "kinds that take turns are counted all the same");
        let usual = policy(Fault::TimedOut, 3, &Limits::default());
        assert!(!is_enough(&tally, &usual, 3) && is_enough(&Tally { faults: 9, ..tally }, &usual, 3));
        tally.end_row();
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_wrong_set_up_parks_at_once_and_what_is_nobodys_fault_is_borne_longer() {
        let limits = Limits::default();
        let most = |fault| policy(fault, 3, &limits).repeats_max;
        assert_eq!([Fault::SetUp, Fault::TimedOut, Fault::Lost].map(most), [1, 3, 3]);
        assert!(
            most(Fault::MachineEnded) > 3 && most(Fault::CouldNotStart) > 3 && most(Fault::RateLimited) > 3
        );
        let wait = |fault| policy(fault, 3, &limits).wait_ms;
        assert!(wait(Fault::RateLimited) > wait(Fault::Lost), "a provider counts by the minute");
    }
}
