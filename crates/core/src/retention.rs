//! What is kept of ended attempts on the disk, how long, and in which order it goes. Unaware of files: it is told
//! what there is and names what is to be done.

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The most that [`due`] names at once: an idle moment's work, after which the state is looked at anew.
pub const DUE_MAX: usize = 64;

/// Rounds of [`due`] are at least so far apart, unless the one before was full and succeeded: what could not be
/// done is named again each time and must not keep the machine busy.
pub const ROUND_MS_MIN: u64 = 60_000;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Output is compressed so long after the end: by then whoever watched the attempt has read it.
    pub compress_after_ms: u64,
    /// The output of a passed attempt: a week, in which somebody may ask how a change came about.
    pub keep_ms: u64,
    /// The output of any other attempt: a month, because it is the only account of what went wrong. No folder of an
    /// attempt is kept longer than the longer of the two.
    pub keep_failed_ms: u64,
    /// All attempts' folders together, live ones included: 20 attempts at an output cap of 1 GiB, or tens of
    /// thousands of ordinary ones, and still a small part of a developer's disk.
    pub state_bytes_max: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let day_ms = 24 * 3_600_000;
        Retention {
            compress_after_ms: 3_600_000,
            keep_ms: 7 * day_ms,
            keep_failed_ms: 30 * day_ms,
            state_bytes_max: 20 << 30,
        }
    }
}

/// The folder of an attempt that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The folder's name.
    pub key: String,
    pub finished_at: Time,
    /// Whether the outcome is Passed.
    pub has_passed: bool,
    pub output: OutputForm,
    /// What the output takes on the disk now: 0 when it is purged.
    pub output_bytes: u64,
    /// What the rest of the folder takes: prompt, records, results.
    pub rest_bytes: u64,
}

/// In which form an ended attempt's output is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputForm {
    Raw,
    Compressed,
    Purged,
}

/// What is to be done with one folder, by its key. Each may be done twice without harm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Due {
    /// Compress the output.
    Compress(String),
    /// Delete the output; prompt, records and results stay.
    PurgeOutput(String),
    /// Delete the whole folder.
    PurgeFolder(String),
}

impl Kept {
    fn has_output(&self) -> bool {
        self.output != OutputForm::Purged && self.output_bytes > 0
    }

    fn bytes(&self) -> u64 {
        self.output_bytes.saturating_add(self.rest_bytes)
    }
}

impl Retention {
    fn compress_at(&self, kept: &Kept) -> Option<Time> {
        let is_raw = kept.output == OutputForm::Raw && kept.has_output();
        is_raw.then(|| kept.finished_at.plus_ms(self.compress_after_ms))
    }

    fn purge_output_at(&self, kept: &Kept) -> Option<Time> {
        let keep_ms = if kept.has_passed { self.keep_ms } else { self.keep_failed_ms };
        kept.has_output().then(|| kept.finished_at.plus_ms(keep_ms))
    }

    fn purge_folder_at(&self, kept: &Kept) -> Time {
        kept.finished_at.plus_ms(self.keep_ms.max(self.keep_failed_ms))
    }
}

/// One folder and what becomes of it.
struct Fate<'a> {
    kept: &'a Kept,
    turn: Turn,
    /// What it takes afterwards. What compression will save is not known and not counted on.
    bytes: u64,
}

/// When in a round a folder's turn comes, and with what.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    AgedFolder,
    AgedOutput,
    OutputOfPassed,
    OutputOfOthers,
    FolderOfPassed,
    FolderOfOthers,
    Compression,
    Never,
}

impl<'a> Fate<'a> {
    /// What a folder's age alone asks for.
    fn by_age(kept: &'a Kept, now: Time, retention: &Retention) -> Fate<'a> {
        let has_come = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if retention.purge_folder_at(kept) <= now {
            Fate { kept, turn: Turn::AgedFolder, bytes: 0 }
        } else if has_come(retention.purge_output_at(kept)) {
            Fate { kept, turn: Turn::AgedOutput, bytes: kept.rest_bytes }
        } else if has_come(retention.compress_at(kept)) {
            Fate { kept, turn: Turn::Compression, bytes: kept.bytes() }
        } else {
            Fate { kept, turn: Turn::Never, bytes: kept.bytes() }
        }
    }

    fn due(&self) -> Option<Due> {
        let key = self.kept.key.clone();
        match self.turn {
            Turn::AgedFolder | Turn::FolderOfPassed | Turn::FolderOfOthers => Some(Due::PurgeFolder(key)),
            Turn::AgedOutput | Turn::OutputOfPassed | Turn::OutputOfOthers => Some(Due::PurgeOutput(key)),
            Turn::Compression => Some(Due::Compress(key)),
            Turn::Never => None,
        }
    }
}

/// In which order things go while all together are larger than the cap: the turn, whether it is for attempts that
/// passed, and whether the whole folder goes.
const OVER_CAP: [(Turn, bool, bool); 4] = [
    (Turn::OutputOfPassed, true, false),
    (Turn::OutputOfOthers, false, false),
    (Turn::FolderOfPassed, true, true),
    (Turn::FolderOfOthers, false, true),
];

/// What is to be done now, in this order, at most [`DUE_MAX`] things:
///
/// 1. What is too old is purged, whole folders first, then outputs.
/// 2. While all folders together are larger than the cap, outputs are purged, those of passed attempts and then the
///    others'; and if that is not enough, whole folders in the same order. A live attempt's folder is never named,
///    since only ended ones are handed in.
/// 3. What is old enough is compressed: last, because it needs room before it makes some.
///
/// Within each of these the oldest goes first. `live_bytes` is what the folders of attempts that still run take. A
/// list of [`DUE_MAX`] may not be all: ask again when it is done.
pub fn due(kept: &[Kept], live_bytes: u64, now: Time, retention: &Retention) -> Vec<Due> {
    let mut fates: Vec<Fate> = kept.iter().map(|kept| Fate::by_age(kept, now, retention)).collect();
    fates.sort_by(|a, b| (a.kept.finished_at, &a.kept.key).cmp(&(b.kept.finished_at, &b.kept.key)));
    let total = fates.iter().fold(live_bytes, |sum, fate| sum.saturating_add(fate.bytes));
    let mut excess_bytes = total.saturating_sub(retention.state_bytes_max);
    for (turn, of_passed, is_whole) in OVER_CAP {
        for fate in fates.iter_mut().filter(|fate| fate.kept.has_passed == of_passed) {
            let after_bytes = match is_whole {
                true => 0,
                false if fate.kept.has_output() => fate.kept.rest_bytes,
                false => fate.bytes,
            };
            if excess_bytes > 0 && after_bytes < fate.bytes {
                excess_bytes = excess_bytes.saturating_sub(fate.bytes - after_bytes);
                (fate.turn, fate.bytes) = (turn, after_bytes);
            }
        }
    }
    // Stable: within one kind of turn the oldest stays first.
    fates.sort_by_key(|fate| fate.turn);
    fates.iter().filter_map(Fate::due).take(DUE_MAX).collect()
}

/// When [`due`] will next name anything, if no attempt ends and nothing grows before: `now` when it does already,
/// nothing when no folder is kept.
pub fn next_due(kept: &[Kept], live_bytes: u64, now: Time, retention: &Retention) -> Option<Time> {
    if !due(kept, live_bytes, now, retention).is_empty() {
        return Some(now);
    }
    let instants = |kept: &Kept| {
        let folder = Some(retention.purge_folder_at(kept));
        [retention.compress_at(kept), retention.purge_output_at(kept), folder].into_iter().flatten().min()
    };
    kept.iter().filter_map(instants).min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    const DAY_MS: i64 = 24 * HOUR_MS;
    const NOW: Time = Time(1_800_000_000_000);
    const MIB: u64 = 1 << 20;

    /// An attempt that ended so long ago, its output of 100 MiB compressed.
    fn passed(key: &str, age_ms: i64) -> Kept {
        Kept {
            key: key.into(),
            finished_at: Time(NOW.0 - age_ms),
            has_passed: true,
            output: OutputForm::Compressed,
            output_bytes: 100 * MIB,
            rest_bytes: MIB,
        }
    }

    fn failed(key: &str, age_ms: i64) -> Kept {
        Kept { has_passed: false, ..passed(key, age_ms) }
    }

    fn raw(kept: Kept) -> Kept {
        Kept { output: OutputForm::Raw, ..kept }
    }

    fn purged(kept: Kept) -> Kept {
        Kept { output: OutputForm::Purged, output_bytes: 0, ..kept }
    }

    /// What is due, short: `z` compress, `o` purge output, `f` purge folder.
    fn told(kept: &[Kept], live_bytes: u64, state_bytes_max: u64) -> String {
        let retention = Retention { state_bytes_max, ..Retention::default() };
        let due = due(kept, live_bytes, NOW, &retention);
        let words = due.iter().map(|due| match due {
            Due::Compress(key) => format!("z:{key}"),
            Due::PurgeOutput(key) => format!("o:{key}"),
            Due::PurgeFolder(key) => format!("f:{key}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn age_decides_at_its_borders() {
        let hour = raw(passed("a", HOUR_MS));
        let cases: [(&str, Kept, &str); 16] = [
            ("just ended", raw(passed("a", 0)), ""),
            ("a millisecond short of an hour", raw(passed("a", HOUR_MS - 1)), ""),
            ("an hour", hour.clone(), "z:a"),
            ("an hour, failed", raw(failed("a", HOUR_MS)), "z:a"),
            ("an hour, compressed already", passed("a", HOUR_MS), ""),
            ("an hour, nothing was printed", Kept { output_bytes: 0, ..hour }, ""),
            ("of the future", raw(passed("a", -HOUR_MS)), ""),
            ("a millisecond short of a week", passed("a", 7 * DAY_MS - 1), ""),
            ("a week", passed("a", 7 * DAY_MS), "o:a"),
            ("a week, never compressed", raw(passed("a", 7 * DAY_MS)), "o:a"),
            ("a week, purged already", purged(passed("a", 7 * DAY_MS)), ""),
            ("a week, failed", failed("a", 7 * DAY_MS), ""),
            ("a millisecond short of 30 days", failed("a", 30 * DAY_MS - 1), ""),
            ("30 days, failed", failed("a", 30 * DAY_MS), "f:a"),
            ("30 days, passed and purged", purged(passed("a", 30 * DAY_MS)), "f:a"),
            ("30 days, passed, never looked at before", raw(passed("a", 30 * DAY_MS)), "f:a"),
        ];
        for (name, kept, expected) in cases {
            assert_eq!(told(&[kept], 0, u64::MAX), expected, "{name}");
        }
    }

    #[test]
    fn the_cap_takes_what_is_least_missed_first_and_no_more_than_it_must() {
        let four = || vec![failed("f2", 2), passed("p1", 1), failed("f4", 4), passed("p3", 3)];
        let full = 4 * 101 * MIB;
        let cases = [
            ("exactly full", four(), 0, full, ""),
            ("a byte over", four(), 0, full - 1, "o:p3"),
            ("a live attempt's byte over", four(), 1, full, "o:p3"),
            ("one output is exactly enough", four(), 0, full - 100 * MIB, "o:p3"),
            ("a byte more", four(), 0, full - 100 * MIB - 1, "o:p3 o:p1"),
            ("passed before failed", four(), 0, full - 201 * MIB, "o:p3 o:p1 o:f4"),
            ("all outputs", four(), 0, 4 * MIB, "o:p3 o:p1 o:f4 o:f2"),
            ("then folders", four(), 0, 3 * MIB, "o:p1 o:f4 o:f2 f:p3"),
            ("everything", four(), 0, 0, "f:p3 f:p1 f:f4 f:f2"),
            ("live ones alone are too many", four(), full, MIB, "f:p3 f:p1 f:f4 f:f2"),
            ("only live ones", vec![], full, MIB, ""),
            (
                "what is too old counts as gone",
                vec![passed("old", 8 * DAY_MS), passed("new", 1)],
                0,
                102 * MIB,
                "o:old",
            ),
            (
                "and is not enough",
                vec![failed("older", 31 * DAY_MS), passed("old", 8 * DAY_MS), passed("p", 2), failed("f", 3)],
                0,
                110 * MIB,
                "f:older o:old o:p",
            ),
            (
                "what is too large is not compressed but purged",
                vec![raw(passed("p", 2 * HOUR_MS)), raw(failed("f", 2 * HOUR_MS))],
                0,
                150 * MIB,
                "o:p z:f",
            ),
            ("purged outputs free nothing", vec![purged(passed("p", 9)), failed("f", 1)], 0, 2 * MIB, "o:f"),
        ];
        for (name, kept, live_bytes, cap, expected) in cases {
            assert_eq!(told(&kept, live_bytes, cap), expected, "{name}");
        }
    }

    #[test]
    fn purges_go_before_compressions_and_the_oldest_first() {
        let kept = [
            raw(passed("z2", 2 * HOUR_MS)),
            passed("o8", 8 * DAY_MS),
            raw(failed("z3", 3 * HOUR_MS)),
            failed("f40", 40 * DAY_MS),
            passed("o9", 9 * DAY_MS),
            passed("f41", 41 * DAY_MS),
        ];
        assert_eq!(told(&kept, 0, u64::MAX), "f:f41 f:f40 o:o9 o:o8 z:z3 z:z2");
        // Two that ended at once go by their names, so that nothing depends on the order of a folder's entries.
        let twins = [raw(passed("b", HOUR_MS)), raw(passed("a", HOUR_MS))];
        assert_eq!(told(&twins, 0, u64::MAX), "z:a z:b");
    }

    #[test]
    fn a_round_is_bounded_and_the_next_one_goes_on() {
        let mut kept: Vec<Kept> = (0..100).map(|n| raw(passed(&n.to_string(), HOUR_MS + 100 - n))).collect();
        let first = due(&kept, 0, NOW, &Retention::default());
        assert_eq!((first.len(), &first[0]), (DUE_MAX, &Due::Compress("0".into())));
        done(&mut kept, &first);
        assert_eq!(due(&kept, 0, NOW, &Retention::default()).len(), 100 - DUE_MAX);
    }

    #[test]
    fn the_next_time_is_told() {
        let at = |kept: &[Kept]| next_due(kept, 0, NOW, &Retention::default()).map(|at| at.0 - NOW.0);
        assert_eq!(at(&[]), None);
        assert_eq!(at(&[raw(passed("a", 0))]), Some(HOUR_MS));
        assert_eq!(at(&[raw(passed("a", 2 * HOUR_MS))]), Some(0));
        assert_eq!(at(&[passed("a", DAY_MS), failed("b", 20 * DAY_MS)]), Some(6 * DAY_MS));
        assert_eq!(at(&[purged(passed("a", 8 * DAY_MS)), failed("b", 29 * DAY_MS)]), Some(DAY_MS));
        assert_eq!(next_due(&[], u64::MAX, NOW, &Retention::default()), None);
    }

    /// The folders after a round.
    fn done(kept: &mut Vec<Kept>, round: &[Due]) {
        for due in round {
            match due {
                Due::Compress(key) => of(kept, key).output = OutputForm::Compressed,
                Due::PurgeOutput(key) => {
                    let found = of(kept, key);
                    *found = purged(found.clone());
                }
                Due::PurgeFolder(key) => kept.retain(|kept| kept.key != *key),
            }
        }
    }

    fn of<'a>(kept: &'a mut [Kept], key: &str) -> &'a mut Kept {
        kept.iter_mut().find(|kept| kept.key == key).unwrap()
    }

    fn any_kept() -> impl Strategy<Value = Vec<Kept>> {
        let forms = [OutputForm::Raw, OutputForm::Compressed, OutputForm::Purged];
        let one = (0..40 * DAY_MS, any::<bool>(), prop::sample::select(forms.to_vec()), 0..3_u64, 0..2_u64);
        prop::collection::vec(one, 0..90).prop_map(|all| {
            let kept =
                all.into_iter().enumerate().map(|(n, (age_ms, has_passed, output, bytes, rest))| Kept {
                    key: n.to_string(),
                    finished_at: Time(NOW.0 - age_ms),
                    has_passed,
                    output,
                    output_bytes: if output == OutputForm::Purged { 0 } else { bytes },
                    rest_bytes: rest,
                });
            kept.collect()
        })
    }

    proptest! {
        /// Rounds come to an end; then all is under the cap, or nothing that has ended is left to give.
        #[test]
        fn rounds_end_with_everything_within_its_bounds(mut kept in any_kept(), live in 0..50_u64, cap in 0..200_u64) {
            let retention = Retention { state_bytes_max: cap, ..Retention::default() };
            for _ in 0..20 {
                let round = due(&kept, live, NOW, &retention);
                done(&mut kept, &round);
            }
            prop_assert_eq!(due(&kept, live, NOW, &retention), vec![]);
            let bytes: u64 = kept.iter().map(Kept::bytes).sum();
            prop_assert!(bytes == 0 || bytes + live <= cap);
            prop_assert!(kept.iter().all(|kept| NOW.ms_since(kept.finished_at) < retention.keep_failed_ms));
        }

        /// No folder is named twice in a round, and nothing is named before the time that was told.
        #[test]
        fn the_next_time_is_neither_early_nor_late(mut kept in any_kept(), age_ms in 0..DAY_MS) {
            let retention = Retention::default();
            for _ in 0..20 {
                let round = due(&kept, 0, NOW, &retention);
                let mut keys: Vec<String> = round.iter().map(|due| match due {
                    Due::Compress(key) | Due::PurgeOutput(key) | Due::PurgeFolder(key) => key.clone(),
                }).collect();
                keys.sort();
                keys.dedup();
                prop_assert_eq!(keys.len(), round.len());
                done(&mut kept, &round);
            }
            kept.push(raw(passed("new", age_ms % HOUR_MS)));
            kept.last_mut().unwrap().output_bytes = 1;
            let next = next_due(&kept, 0, NOW, &retention).unwrap();
            prop_assert!(due(&kept, 0, Time(next.0 - 1), &retention).is_empty());
            prop_assert!(!due(&kept, 0, next, &retention).is_empty());
        }
    }
}
