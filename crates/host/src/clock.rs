//! The time. Knows the machine's clocks; unaware of what is timed.
//!
//! The wall clock is read once, at the start; from there the boot-time clock counts on. So a changed date
//! moves no deadline, and time asleep counts. The weaker rung, on a system without `CLOCK_BOOTTIME`: the
//! monotonic clock, for which a sleeping machine's time stands still.

use std::time::{SystemTime, UNIX_EPOCH};

use ropewalk_core::time::Time;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Instants that never run backwards within one clock, nor behind the floor it was opened with.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Time,
    start_boot_ms: u64,
}

impl Clock {
    /// `floor` is the latest instant that history already holds: a wall clock that was set back meanwhile
    /// does not reorder it.
    pub fn starting_at(floor: Time) -> Clock {
        Clock { start: Time(wall_ms()).max(floor), start_boot_ms: boot_ms() }
    }

    pub fn now(&self) -> Time {
        self.start.plus_ms(boot_ms().saturating_sub(self.start_boot_ms))
    }
}

/// Milliseconds since this machine was booted, sleep included. Comparable within one boot only.
pub fn boot_ms() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    u64::try_from(tv_sec).unwrap_or(0) * 1000 + u64::try_from(tv_nsec).unwrap_or(0) / 1_000_000
}

/// The wall clock: for people and records, never for deadlines.
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A boot-time instant as the kernel's timers take it.
pub(crate) fn boot_timespec(boot_ms: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(boot_ms / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(boot_ms % 1000).unwrap_or(0) * 1_000_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_starts_no_earlier_than_its_floor_and_runs_on_from_there() {
        let future = Time(wall_ms() + 1_000_000_000);
        let clock = Clock::starting_at(future);
        let first = clock.now();
        assert!(first >= future && clock.now() >= first);
        assert!(first.ms_since(future) < 60_000);
        assert!(Clock::starting_at(Time(0)).now() > Time(1_600_000_000_000));
    }
}
