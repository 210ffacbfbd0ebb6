//! Looking after a running assignment: its bounds where the kernel does not keep them, its stall limit, and samples
//! of its memory. Knows what was seen when; unaware of how anything is ended.
//!
//! A look walks the assignment's own tree, never the machine; it comes more often the nearer something is to its
//! bound, and hardly ever when nothing is bounded.

use ropewalk_core::resource::{Bounds, Resource};

use super::capture::Capture;
use super::meter::{Held, Meter};
use super::tree;
use crate::containment::Confines;
use crate::procfs::{self, Stat};

/// When memory is looked at first: most set-up faults have ended by then, and an agent has loaded.
const FIRST_LOOK_MS: u64 = 1_000;
/// And then: enough for a mean, and nothing for a machine with a hundred of them.
const LOOK_MS: u64 = 10_000;
/// Between looks for a bound. Twice a second costs a thousandth of a processor for a tree of ten.
const BOUND_LOOK_MS: u64 = 500;
/// The same when more than half of a bound is used.
const NEAR_LOOK_MS: u64 = 100;
/// The shortest pause between two looks that confirm memory by walking page tables when only an upper estimate is
/// over the bound.
const CONFIRM_MS: u64 = 1_000;
/// Of a stall limit, how often it is looked at within: it is told late by a twentieth at most.
const STALL_LOOKS: u64 = 20;
/// At least this part of the time between two looks must have been CPU time to count as work: a program that waits
/// for ever still wakes now and then.
const WORK_PART: u64 = 100;

/// Why it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Over(Resource),
    Stalled,
}

#[derive(Debug)]
pub(crate) struct Watch {
    bounds: Bounds,
    confines: Confines,
    stall: Option<Stall>,
    sample_at: u64,
    bound_at: Option<u64>,
    confirm_at: u64,
}

#[derive(Debug)]
struct Stall {
    limit_ms: u64,
    look_ms: u64,
    look_at: u64,
    looked_at: u64,
    worked_at: u64,
    bytes: u64,
    cpu_ms: u64,
}

impl Watch {
    pub(crate) fn start(bounds: Bounds, confines: Confines, stall_ms: Option<u64>, now: u64) -> Watch {
        let stall = stall_ms.map(|limit_ms| {
            let look_ms = (limit_ms / STALL_LOOKS).clamp(1, LOOK_MS);
            Stall {
                limit_ms,
                look_ms,
                look_at: now.saturating_add(look_ms),
                looked_at: now,
                worked_at: now,
                bytes: 0,
                cpu_ms: 0,
            }
        });
        let is_bounded = bounds.memory_bytes.is_some()
            || bounds.cpu_ms.is_some()
            || bounds.processes.is_some()
            || bounds.open_files.is_some();
        Watch {
            bounds,
            confines,
            stall,
            sample_at: now.saturating_add(FIRST_LOOK_MS),
            bound_at: is_bounded.then(|| now.saturating_add(NEAR_LOOK_MS)),
            confirm_at: 0,
        }
    }

    pub(crate) fn confines(&self) -> &Confines {
        &self.confines
    }

    pub(crate) fn next_at(&self) -> u64 {
        let stall = self.stall.as_ref().map(|stall| stall.look_at);
        [self.bound_at, stall].into_iter().flatten().fold(self.sample_at, u64::min)
    }

    /// Looks if it is time to.
    pub(crate) fn look(&mut self, now: u64, meter: &mut Meter, capture: &Capture) -> Option<Finding> {
        if now < self.next_at() {
            return None;
        }
        let living = tree::descendants();
        let held = Held::of(&living);
        if now >= self.sample_at {
            meter.note(&held);
            self.sample_at = now.saturating_add(LOOK_MS);
        }
        let cpu_ms = meter.cpu_ms().saturating_add(held.cpu_ms);
        if self.bound_at.is_some_and(|at| now >= at) {
            let nearness = self.nearness(&living, &held, cpu_ms, now);
            if let Some(resource) = nearness.over {
                meter.note(&held);
                return Some(Finding::Over(resource));
            }
            let pause = if nearness.is_near { NEAR_LOOK_MS } else { BOUND_LOOK_MS };
            self.bound_at = Some(now.saturating_add(pause));
        }
        let stall = self.stall.as_mut().filter(|stall| now >= stall.look_at)?;
        stall.look(now, capture.bytes(), cpu_ms).then_some(Finding::Stalled)
    }

    fn nearness(&mut self, living: &[Stat], held: &Held, cpu_ms: u64, now: u64) -> Nearness {
        let mut nearness = Nearness::default();
        if let Some(breach) = self.confines.breach() {
            nearness.over = Some(breach.0);
            return nearness;
        }
        nearness.weigh(Resource::CpuTime, cpu_ms, self.bounds.cpu_ms);
        if !self.confines.holds_processes() {
            nearness.weigh(Resource::Processes, held.processes, self.bounds.processes);
        }
        if let Some(bound) = self.bounds.open_files {
            let most = living.iter().filter_map(|stat| procfs::open_files(stat.pid)).max().unwrap_or(0);
            // As many as allowed: the next one is refused.
            nearness.weigh(Resource::OpenFiles, most.saturating_add(1), Some(bound));
        }
        if let Some(bound) = self.bounds.memory_bytes.filter(|_| !self.confines.holds_memory()) {
            let is_over =
                held.memory_bytes > bound || (held.memory_bytes_most > bound && now >= self.confirm_at);
            if is_over {
                self.confirm_at = now.saturating_add(CONFIRM_MS);
            }
            // What cannot be confirmed (another user's, an old kernel) counts as it was seen.
            let confirmed = if is_over { proportional(living).unwrap_or(held.memory_bytes) } else { 0 };
            nearness.weigh(Resource::Memory, confirmed.max(held.memory_bytes.min(bound)), Some(bound));
        }
        nearness
    }
}

fn proportional(living: &[Stat]) -> Option<u64> {
    let known: Vec<u64> = living.iter().filter_map(|stat| procfs::proportional_bytes(stat.pid)).collect();
    (!known.is_empty()).then(|| known.into_iter().fold(0, u64::saturating_add))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Nearness {
    over: Option<Resource>,
    is_near: bool,
}

impl Nearness {
    fn weigh(&mut self, resource: Resource, used: u64, bound: Option<u64>) {
        let Some(bound) = bound else { return };
        if used > bound {
            self.over = self.over.or(Some(resource));
        }
        self.is_near |= used > bound / 2;
    }
}

impl Stall {
    /// Whether there was neither output nor work for as long as the limit says.
    fn look(&mut self, now: u64, bytes: u64, cpu_ms: u64) -> bool {
        let worked_ms = cpu_ms.saturating_sub(self.cpu_ms);
        let passed_ms = now.saturating_sub(self.looked_at);
        // The machine was asleep, or this process was stopped: then nobody could work, and it does not count.
        if passed_ms > self.look_ms.saturating_mul(2) {
            self.worked_at = self.worked_at.saturating_add(passed_ms - self.look_ms);
        }
        if bytes != self.bytes || worked_ms.saturating_mul(WORK_PART) > passed_ms {
            self.worked_at = now;
        }
        (self.bytes, self.cpu_ms) = (bytes, cpu_ms.max(self.cpu_ms));
        self.looked_at = now;
        self.look_at = now.saturating_add(self.look_ms);
        now.saturating_sub(self.worked_at) >= self.limit_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_neither_output_nor_work_for_the_whole_limit() {
        let watch = Watch::start(Bounds::default(), Confines::default(), Some(20_000), 0);
        let mut stall = watch.stall.unwrap();
        assert_eq!(stall.look_ms, 1_000);
        // Output at 5 s, work at 10 s, then only what an idle program does.
        let mut ended_at = None;
        let mut cpu_ms = 0;
        for second in 1..60_u64 {
            cpu_ms += if second == 10 { 500 } else { 5 };
            let bytes = if second < 5 { 0 } else { 7 };
            if stall.look(second * 1_000, bytes, cpu_ms) {
                ended_at = Some(second);
                break;
            }
        }
        assert_eq!(ended_at, Some(30));
        // An hour asleep is no stall.
        let watch = Watch::start(Bounds::default(), Confines::default(), Some(20_000), 0);
        let mut stall = watch.stall.unwrap();
        assert!(!stall.look(1_000, 0, 0) && !stall.look(3_600_000, 0, 0));
    }

    #[test]
    fn the_nearer_to_a_bound_the_sooner_is_the_next_look() {
        let mut nearness = Nearness::default();
        nearness.weigh(Resource::CpuTime, 50, Some(100));
        nearness.weigh(Resource::Processes, 1_000, None);
        assert_eq!(nearness, Nearness::default());
        nearness.weigh(Resource::CpuTime, 51, Some(100));
        assert!(nearness.is_near && nearness.over.is_none());
        nearness.weigh(Resource::Processes, 101, Some(100));
        nearness.weigh(Resource::Memory, 101, Some(100));
        assert_eq!(nearness.over, Some(Resource::Processes), "the first that was found");
    }

    #[test]
    fn without_bounds_there_are_only_samples() {
        let watch = Watch::start(Bounds { nice: Some(5), ..Bounds::default() }, Confines::default(), None, 7);
        assert_eq!(watch.next_at(), 7 + FIRST_LOOK_MS);
        let bounds = Bounds { cpu_ms: Some(1), ..Bounds::default() };
        assert_eq!(Watch::start(bounds, Confines::default(), None, 7).next_at(), 7 + NEAR_LOOK_MS);
    }
}
