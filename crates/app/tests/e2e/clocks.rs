//! The machine's date jumps while tasks are queued, run, wait for another attempt and hold a lease: no timer of ours
//! fires early or late. The date is that of a preloaded library; the clocks since the boot are the machine's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::{Bench, Running, wait_for};

const HOUR_S: i64 = 3_600;
const TEN_YEARS_S: i64 = 10 * 365 * 24 * HOUR_S;

/// Of the attempt that hangs.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How much a timer may be early or late.
const SLACK: Duration = Duration::from_secs(2);

/// The library, built once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clock-shift.c");
        let library =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-shift-{}.so", std::process::id()));
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
        assert!(built.is_ok_and(|status| status.success()), "cc does not build the clock");
        library
    })
}

/// The date of a bench's engine and workers.
struct Date {
    file: PathBuf,
}

impl Date {
    fn of(bench: &Bench) -> Date {
        let date = Date { file: bench.root().join("date") };
        date.shift(0);
        date
    }

    /// In one step: a reader sees the old date or the new one.
    fn shift(&self, seconds: i64) {
        let new = self.file.with_extension("new");
        fs::write(&new, seconds.to_string()).expect("a date");
        fs::rename(&new, &self.file).expect("the date");
    }

    fn furnish(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("CLOCK_SHIFT_FILE", &self.file);
    }

    fn engine(&self, bench: &Bench) -> Running {
        bench.engine("3", |command| self.furnish(command))
    }
}

/// When each thing was seen to have happened: attempts that begin and end by the fake agents' record, and those that
/// are ended by their workers' exit records.
#[derive(Default)]
struct Seen(BTreeMap<(u64, u32, String), Instant>);

impl Seen {
    fn look(&mut self, bench: &Bench) {
        let now = Instant::now();
        for record in bench.record() {
            let task = record.task.parse().expect("a task");
            if record.what == "start"
                && bench.note(&format!("{task}.{}", record.attempt), "exit.json").is_some()
            {
                self.0.entry((task, record.attempt, "exit".to_owned())).or_insert(now);
            }
            self.0.entry((task, record.attempt, record.what)).or_insert(now);
        }
    }

    /// Looks until it has happened.
    fn wait_for(&mut self, bench: &Bench, task: u64, attempt: u32, what: &str) -> Instant {
        wait_for(&format!("{what} of {task}.{attempt}"), || {
            self.look(bench);
            self.0.get(&(task, attempt, what.to_owned())).copied()
        })
    }
}

fn assert_took(what: &str, took: Duration, least: Duration, most: Duration) {
    assert!(
        took + Duration::from_millis(50) > least && took < most,
        "{what}: {took:?}, not {least:?} to {most:?}"
    );
}

fn no_timer_is_early_or_late(jump_s: i64) {
    let bench = Bench::bare_of_repository();
    let date = Date::of(&bench);
    let hangs = bench.add(&bench.agent("first 1 hang"), &["--timeout", "3s"]);
    let fails = bench.add(&bench.agent("fail 3"), &["--attempts", "9"]);
    // All its life under a lease, which its worker renews.
    let leased = bench.add(&bench.agent("gate go"), &[]);
    let engine = date.engine(&bench);
    let mut seen = Seen::default();
    let began = seen.wait_for(&bench, hangs, 1, "start");
    // No slot is free for it yet.
    let queued = bench.add(&bench.agent("say well"), &[]);
    seen.wait_for(&bench, fails, 1, "end");
    date.shift(jump_s);
    let timed_out = seen.wait_for(&bench, hangs, 1, "exit");
    assert_took("a timeout", timed_out - began, TIMEOUT, TIMEOUT + SLACK);
    seen.wait_for(&bench, fails, 3, "end");
    // And back, in the middle of the longest wait.
    date.shift(0);
    // The waits before the 2nd, 3rd and 4th attempt: half to all of 1, 2 and 4 s.
    for (attempt, most_s) in [(1, 1), (2, 2), (3, 4)] {
        let failed = seen.wait_for(&bench, fails, attempt, "end");
        let next = seen.wait_for(&bench, fails, attempt + 1, "start");
        let most = Duration::from_secs(most_s);
        assert_took("a backoff", next - failed, most / 2, most + SLACK);
    }
    assert_eq!(bench.task(hangs)["attempts_made"][0]["outcome"], "timed out");
    seen.wait_for(&bench, queued, 1, "end");
    bench.open_gate("go");
    engine.wait().expect(0);
    for task in [fails, leased, queued] {
        assert_eq!(bench.task(task)["state"], "done", "task {task}");
    }
    assert_eq!(bench.task(leased)["attempts"], 1, "a lease ran out by the date");
}

#[test]
fn no_timer_is_early_or_late_when_the_date_jumps_an_hour_ahead() {
    no_timer_is_early_or_late(HOUR_S);
}

#[test]
fn no_timer_is_early_or_late_when_the_date_jumps_an_hour_back() {
    no_timer_is_early_or_late(-HOUR_S);
}

#[test]
fn no_timer_is_early_or_late_when_the_date_jumps_ten_years_ahead() {
    no_timer_is_early_or_late(TEN_YEARS_S);
}

#[test]
fn no_timer_is_early_or_late_when_the_date_jumps_ten_years_back() {
    no_timer_is_early_or_late(-TEN_YEARS_S);
}

#[test]
fn the_preloaded_date_is_the_one_that_the_program_sees() {
    let bench = Bench::bare_of_repository();
    let date = Date::of(&bench);
    date.shift(TEN_YEARS_S);
    let task = bench.add(&bench.agent("say well"), &[]);
    date.engine(&bench).wait().expect(0);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let shown = bench.task(task)["attempts_made"][0]["finished_at"].as_i64().expect("a time");
    let ahead_s = shown / 1_000 - i64::try_from(since.as_secs()).expect("a date");
    assert!((ahead_s - TEN_YEARS_S).abs() < 100, "{ahead_s} s ahead");
}

#[test]
fn a_deadline_holds_over_a_restart_at_another_date() {
    for jump_s in [TEN_YEARS_S, -TEN_YEARS_S] {
        let bench = Bench::bare_of_repository();
        let date = Date::of(&bench);
        let task = bench.add(&bench.agent("first 1 hang"), &["--timeout", "3s"]);
        let engine = date.engine(&bench);
        let mut seen = Seen::default();
        let began = seen.wait_for(&bench, task, 1, "start");
        engine.kill();
        date.shift(jump_s);
        let engine = date.engine(&bench);
        let timed_out = seen.wait_for(&bench, task, 1, "exit");
        assert_took("a timeout", timed_out - began, TIMEOUT, TIMEOUT + SLACK);
        engine.wait().expect(0);
        assert_eq!(bench.task(task)["attempts_made"][0]["outcome"], "timed out");
    }
}
