//! What the whole machine and the whole queue looked like at one instant, and how long such samples are kept.
//! Unaware of how a machine is measured and of where samples are stored.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// One sample is taken per so much time, for the whole machine. The kernel's shortest mean of its pressure covers
/// 10 s, so one each 10 s misses nothing and is seldom enough to cost nothing.
pub const INTERVAL_MS: u64 = 10_000;

/// The machine and the queue at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Time,
    #[serde(default)]
    pub machine: Machine,
    /// Attempts that hold a slot.
    pub running: u64,
    /// Tasks that are ready and wait for a slot.
    pub queued: u64,
    /// Tasks done, since the state folder began.
    pub done: u64,
    /// Attempts that ended otherwise than passed or cancelled, since the state folder began.
    pub failed: u64,
    /// Of the attempts that ended since the sample before; absent when there is none.
    #[serde(default)]
    pub mean_attempt_ms: Option<u64>,
}

/// The machine's part of a sample, other people's processes included. What a system does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Of all processors together, the share of time that they were busy since the sample before, in thousandths
    /// (0 to 1000). Waiting for a disk is not busy.
    pub cpu_permille: Option<u32>,
    pub memory_total_bytes: Option<u64>,
    /// What could be had without swapping: more than what is free, because caches give way.
    pub memory_available_bytes: Option<u64>,
    /// Tasks that run or wait for a processor or a disk, mean of 1 minute, in thousandths.
    pub load_1m_milli: Option<u64>,
    /// The same over 5 minutes.
    pub load_5m_milli: Option<u64>,
    /// The same over 15 minutes.
    pub load_15m_milli: Option<u64>,
    /// Absent on kernels that are built or started without it.
    pub pressure: Option<Pressure>,
}

/// Pressure stall information: the share of the last 10 s in which some (or all, "full") of the tasks that had
/// work to do stood still for want of a resource, in thousandths (0 to 1000).
/// Source: Linux, `Documentation/accounting/psi.rst`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pressure {
    pub cpu_some_permille: u32,
    pub memory_some_permille: u32,
    pub memory_full_permille: u32,
    pub io_some_permille: u32,
    pub io_full_permille: u32,
}

/// How long samples are kept, and how densely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Every sample is kept so long: a day, so that last night can be looked at closely the next morning.
    pub dense_ms: u64,
    /// After that, one sample is kept of each stretch of this length. 10 min are 144 points a day: as many as a
    /// line on a screen has use for.
    pub stretch_ms: u64,
    /// Nothing is kept longer: as long as failed attempts are, whose ends it may explain.
    pub keep_ms: u64,
}

impl Default for History {
    /// With a sample per [`INTERVAL_MS`] that is 8,640 samples of the last day and 4,176 older ones: 3 MB.
    fn default() -> Self {
        History { dense_ms: 24 * 3_600_000, stretch_ms: 10 * 60_000, keep_ms: 30 * 24 * 3_600_000 }
    }
}

/// The most samples that [`thin`] names at once: one short statement, and ten times what an hour brings.
pub const THINNED_MAX: usize = 4_096;

/// Which samples are to be deleted now, oldest first, at most [`THINNED_MAX`] of them.
///
/// `times` are those of all samples that are kept (or of the oldest ones), in any order. Of an older stretch the
/// earliest sample stays, so what was kept once is never given up for another, however often this is asked.
/// A sample of the future (the machine's date was once wrong) stays until its time has come.
pub fn thin(times: &[Time], now: Time, history: &History) -> Vec<Time> {
    let mut times = times.to_vec();
    times.sort_unstable();
    // Two samples of one instant cannot be told apart by their time: both stay, or both go.
    times.dedup();
    let stretch_ms = i64::try_from(history.stretch_ms.max(1)).unwrap_or(i64::MAX);
    let mut stretch_before = None;
    let mut is_to_go = |time: &Time| {
        let age_ms = now.ms_since(*time);
        if age_ms > history.keep_ms {
            return true;
        }
        let stretch = Some(time.0.div_euclid(stretch_ms));
        let is_first = std::mem::replace(&mut stretch_before, stretch) != stretch;
        age_ms > history.dense_ms && !is_first
    };
    times.into_iter().filter(|time| is_to_go(time)).take(THINNED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const DAY_MS: i64 = 24 * HOUR_MS;
    /// Some instant at the start of a stretch.
    const NOW: Time = Time(1_800_000_000_000);

    fn ago(ms: i64) -> Time {
        Time(NOW.0 - ms)
    }

    fn thinned(times: &[Time]) -> Vec<Time> {
        thin(times, NOW, &History::default())
    }

    #[test]
    fn a_day_is_kept_densely_a_month_sparsely_and_nothing_longer() {
        let minute = 60_000;
        let cases: [(&str, Vec<Time>, Vec<Time>); 7] = [
            ("nothing", vec![], vec![]),
            ("the last day stays", vec![ago(0), ago(1), ago(DAY_MS)], vec![]),
            (
                "of an older stretch the earliest stays, in whatever order they come",
                vec![ago(2 * DAY_MS - minute), ago(2 * DAY_MS), ago(2 * DAY_MS - 2 * minute)],
                vec![ago(2 * DAY_MS - minute), ago(2 * DAY_MS - 2 * minute)],
            ),
            ("neighbours in two stretches stay", vec![ago(2 * DAY_MS), ago(2 * DAY_MS + 1)], vec![]),
            ("a month is the end", vec![ago(30 * DAY_MS), ago(30 * DAY_MS + 1)], vec![ago(30 * DAY_MS + 1)]),
            ("the future stays", vec![ago(-DAY_MS), ago(-DAY_MS - 1)], vec![]),
            (
                "two of one instant stay together, since their time is all that names them",
                vec![ago(2 * DAY_MS), ago(2 * DAY_MS)],
                vec![],
            ),
        ];
        for (name, times, gone) in cases {
            assert_eq!(thinned(&times), gone, "{name}");
        }
    }

    #[test]
    fn a_stretch_on_the_border_keeps_what_it_had_as_time_goes_on() {
        // Thinned each minute while it passes the border: at the end exactly its earliest is left.
        let start = ago(DAY_MS + 10 * 60_000);
        let mut left: Vec<Time> = (0..60).map(|n| start.plus_ms(n * 10_000)).collect();
        for minute in 0..30 {
            let gone = thin(&left, NOW.plus_ms(minute * 60_000), &History::default());
            left.retain(|time| !gone.contains(time));
            assert_eq!(left.first(), Some(&start));
        }
        assert_eq!(left, [start]);
    }

    #[test]
    fn a_long_backlog_is_worked_off_in_bounded_parts_from_its_oldest() {
        let mut left: Vec<Time> = (0..20_000).map(|n| ago(40 * DAY_MS - n * 60_000)).collect();
        let mut rounds = 0;
        loop {
            let gone = thinned(&left);
            assert!(gone.len() <= THINNED_MAX && gone.is_sorted());
            if gone.is_empty() {
                break;
            }
            left.retain(|time| gone.binary_search(time).is_err());
            rounds += 1;
        }
        assert_eq!(rounds, 5);
        // 10 days of 20,000 minutes were too old; the rest is kept one in ten.
        assert_eq!(left.len(), (20_000 - 14_400) / 10);
    }

    #[test]
    fn a_row_without_what_a_system_does_not_tell_is_read() {
        let text = r#"{"at":7,"running":1,"queued":2,"done":3,"failed":4}"#;
        let sample: Sample = serde_json::from_str(text).unwrap();
        assert_eq!(sample.machine, Machine::default());
        let again: Sample = serde_json::from_str(&serde_json::to_string(&sample).unwrap()).unwrap();
        assert_eq!(again, sample);
    }
}
