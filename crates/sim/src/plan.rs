//! What an attempt will do, from the seed and the attempt alone: a restart does not change it.

use ropewalk_core::id::AttemptId;

use crate::chance::{Chance, join};

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) end: End,
    /// From the start of the agent to its end, unless it hangs.
    pub(crate) work_ms: u64,
    pub(crate) prepare_ms: u64,
    pub(crate) files: Vec<u32>,
    /// No sign of life reaches the engine.
    pub(crate) is_mute: bool,
    /// Ends only when it is killed.
    pub(crate) is_stubborn: bool,
    pub(crate) check_is_red: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Passes,
    Fails,
    Hangs,
    Stalls,
    OverLimit,
    /// Its worker dies with it and leaves no record; `is_noticed` at once or by its lease.
    Vanishes {
        is_noticed: bool,
    },
    ChangesNothing,
    LeavesUnfinished,
    /// What git obeys in the repository changed meanwhile.
    Tampered,
    SetUpFault,
    CouldNotStart,
}

/// How wild a history is, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wildness {
    pub(crate) ends_badly: u64,
    pub(crate) check_is_red: u64,
    pub(crate) git_fault: u64,
    pub(crate) files: u32,
}

impl Plan {
    pub(crate) fn new(seed: u64, attempt: AttemptId, wild: Wildness, is_calm: bool) -> Plan {
        let task = attempt.task.0;
        let mut of_task = Chance::new(join(&[seed, task]));
        let mut of_attempt = Chance::new(join(&[seed, task, u64::from(attempt.number.0)]));
        let always_fails = of_task.thousandths(wild.ends_badly / 8);
        let fails_first = if of_task.thousandths(wild.ends_badly) { of_task.between(1, 3) } else { 0 };
        let files = (0..of_task.below(3)).map(|_| of_task.below(u64::from(wild.files)) as u32).collect();
        let chance = &mut of_attempt;
        let is_wild = !is_calm && chance.thousandths(wild.ends_badly);
        let end = if is_calm {
            End::Passes
        } else if always_fails || u64::from(attempt.number.0) <= fails_first {
            End::Fails
        } else if is_wild {
            match chance.below(13) {
                0..=2 => End::Fails,
                3 => End::Hangs,
                4 if chance.thousandths(500) => End::Stalls,
                4 => End::OverLimit,
                5 => End::Vanishes { is_noticed: true },
                6 | 7 => End::Vanishes { is_noticed: false },
                8 => End::ChangesNothing,
                9 => End::LeavesUnfinished,
                10 => End::CouldNotStart,
                11 => End::Tampered,
                _ => End::SetUpFault,
            }
        } else {
            End::Passes
        };
        Plan {
            end,
            work_ms: chance.between(200, 90_000),
            prepare_ms: if is_wild && chance.thousandths(50) { 90_000 } else { chance.between(10, 3_000) },
            files,
            is_mute: is_wild && chance.thousandths(100),
            is_stubborn: chance.thousandths(100),
            check_is_red: !is_calm && chance.thousandths(wild.check_is_red),
        }
    }
}
