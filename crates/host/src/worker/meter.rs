//! What an assignment has used so far. Knows the accounts that the kernel keeps of a process's children; unaware of
//! bounds.
//!
//! Whatever is reaped here, with all that it had reaped itself, is added to this process's account of its children:
//! so differences over an assignment are the assignment's, to the microsecond, and cost two reads of small files.

use nix::sys::resource::{UsageWho, getrusage};

use crate::procfs::{self, Io, Resident, Stat, TICK_MS};

#[derive(Debug)]
pub(crate) struct Meter {
    reaped_before_ms: u64,
    io_before: Io,
    peak_bytes: Option<u64>,
    held_sum_bytes: u64,
    looks: u64,
}

/// What the processes of a tree hold and have used, at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Threads count: it is they that the system has only so many of.
    pub(crate) processes: u64,
    /// CPU time of those that live, and of what they have reaped.
    pub(crate) cpu_ms: u64,
    /// What each holds for itself, and the largest part that one of them shares with others.
    pub(crate) memory_bytes: u64,
    /// Shared pages counted for each that maps them: never less than the truth.
    pub(crate) memory_bytes_most: u64,
}

impl Held {
    pub(crate) fn of(living: &[Stat]) -> Held {
        let mut held = Held::default();
        let mut shared_most = 0;
        for stat in living {
            held.processes += stat.threads.max(1);
            held.cpu_ms = held.cpu_ms.saturating_add(stat.ticks.saturating_mul(TICK_MS));
            let Resident { private_bytes, shared_bytes } = procfs::resident(stat.pid).unwrap_or_default();
            held.memory_bytes = held.memory_bytes.saturating_add(private_bytes);
            held.memory_bytes_most =
                held.memory_bytes_most.saturating_add(private_bytes).saturating_add(shared_bytes);
            shared_most = shared_most.max(shared_bytes);
        }
        held.memory_bytes = held.memory_bytes.saturating_add(shared_most);
        held
    }
}

impl Meter {
    /// To be called before the agent starts, when no child is left unreaped.
    pub(crate) fn start() -> Meter {
        Meter {
            reaped_before_ms: reaped_cpu_ms(),
            io_before: Io::of_children(),
            peak_bytes: None,
            held_sum_bytes: 0,
            looks: 0,
        }
    }

    /// CPU time of all that was reaped.
    pub(crate) fn cpu_ms(&self) -> u64 {
        reaped_cpu_ms().saturating_sub(self.reaped_before_ms)
    }

    pub(crate) fn io(&self) -> Io {
        Io::of_children().since(&self.io_before)
    }

    /// Takes note of one look.
    pub(crate) fn note(&mut self, held: &Held) {
        if held.processes > 0 {
            self.note_peak(held.memory_bytes);
            self.held_sum_bytes = self.held_sum_bytes.saturating_add(held.memory_bytes);
            self.looks += 1;
        }
    }

    /// Of something that knows better than looks do.
    pub(crate) fn note_peak(&mut self, bytes: u64) {
        self.peak_bytes = self.peak_bytes.max(Some(bytes));
    }

    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        self.peak_bytes
    }

    pub(crate) fn memory_mean_bytes(&self) -> Option<u64> {
        self.held_sum_bytes.checked_div(self.looks)
    }
}

/// User and system time of all that this process has ever reaped.
fn reaped_cpu_ms() -> u64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| {
        let us = [usage.user_time(), usage.system_time()]
            .map(|time| time.tv_sec().saturating_mul(1_000_000).saturating_add(time.tv_usec()));
        u64::try_from(us[0].saturating_add(us[1])).unwrap_or(0) / 1000
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_that_of_the_looks_and_an_empty_tree_is_no_look() {
        let mut meter = Meter::start();
        assert_eq!((meter.memory_peak_bytes(), meter.memory_mean_bytes()), (None, None));
        for memory_bytes in [100, 300, 200] {
            meter.note(&Held { processes: 1, memory_bytes, ..Held::default() });
        }
        meter.note(&Held::default());
        assert_eq!((meter.memory_peak_bytes(), meter.memory_mean_bytes()), (Some(300), Some(200)));
        meter.note_peak(250);
        assert_eq!(meter.memory_peak_bytes(), Some(300));
    }

    #[test]
    fn a_process_that_has_ended_holds_nothing() {
        let own = Stat::of(rustix::process::getpid().as_raw_nonzero().get()).unwrap();
        let held = Held::of(&[own]);
        assert!(held.processes >= 1 && held.memory_bytes > 0, "{held:?}");
        assert!(held.memory_bytes <= held.memory_bytes_most);
        let gone = Held::of(&[Stat { pid: i32::MAX, ..own }]);
        assert_eq!((gone.memory_bytes, gone.memory_bytes_most), (0, 0));
    }
}
