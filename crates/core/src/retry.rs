//! How long a task waits before its next attempt. Unaware of why the last one failed.

use crate::id::AttemptId;
use crate::limits::Limits;

/// Exponential backoff with jitter: `backoff_ms` doubled per failure up to `backoff_ms_max`, of which a part
/// between one half and the whole is waited ("equal jitter", M. Brooker, Exponential Backoff And Jitter, 2015).
/// The part comes from the attempt's id: no chance, and yet two tasks that failed together return apart.
pub fn backoff_ms(attempt: AttemptId, failures: u32, limits: &Limits) -> u64 {
    let doubled = 1_u64
        .checked_shl(failures.saturating_sub(1))
        .map_or(u64::MAX, |n| n.saturating_mul(limits.backoff_ms));
    let whole = doubled.min(limits.backoff_ms_max);
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
}
