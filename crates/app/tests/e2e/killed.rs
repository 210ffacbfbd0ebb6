//! `kill -9` at any moment, then the same command again: every story lands exactly once, nothing is left over.

use std::path::Path;
use std::time::Duration;

use crate::support::{Bench, Chance, Ran, Story, story, wait_at_most};

const BRANCH: &str = "feature/PRD-001";

/// Kills of the engine alone.
const KILLS: u32 = 50;

/// The seed of the moments: `ROPEWALK_TEST_SEED` replays one.
fn seed() -> u64 {
    let given = std::env::var("ROPEWALK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    given.unwrap_or(clock.as_nanos() as u64)
}

#[expect(clippy::print_stderr, reason = "a failing test says how to play it again")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// Ten stories: a diamond, a chain, two that conflict, one that fails and one whose check turns red at first.
fn stories(chance: &mut Chance) -> Vec<Story> {
    let mut timed = |id: &str, after: &[&str], steps: &str| {
        story(id, after).steps(&format!("wait {}; {steps}", 50 + chance.below(100)))
    };
    vec![
        timed("US-001", &[], "edit one.txt"),
        timed("US-002", &["US-001"], "edit two.txt; commit two"),
        timed("US-003", &["US-001"], "edit three.txt"),
        timed("US-004", &["US-002", "US-003"], "edit four.txt"),
        timed("US-005", &[], "edit shared.txt five"),
        timed("US-006", &[], "edit shared.txt six"),
        timed("US-007", &[], "fail 1; edit seven.txt"),
        timed("US-008", &[], "remove red.txt; first 1 edit red.txt; edit eight.txt"),
        timed("US-009", &["US-008"], "edit nine.txt; fork"),
        timed("US-010", &["US-009"], "edit ten.txt"),
    ]
}

struct Job {
    bench: Bench,
    stories: Vec<Story>,
    args: Vec<String>,
}

impl Job {
    fn new(chance: &mut Chance) -> Job {
        let bench = Bench::new();
        let stories = stories(chance);
        let prd = bench.prd(&stories);
        let args = ["run", text(&prd), "--command", &bench.agent(""), "--check", "test ! -e red.txt"];
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Job { bench, stories, args }
    }

    fn args(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    /// Starts the run and kills it after so long, unless it has ended. `None`: it was killed.
    fn run_for(&self, span: Duration, kill: impl FnOnce(&Bench)) -> Option<Ran> {
        let mut running = self.bench.spawn(&self.args());
        if wait_at_most(span, || running.has_ended().then_some(())).is_some() {
            return Some(running.wait());
        }
        kill(&self.bench);
        running.kill();
        None
    }

    /// Runs to the end, and looks whether all is well.
    fn finish(&self) {
        self.bench.expect(0, &self.args());
        self.assert_well();
    }

    fn assert_well(&self) {
        self.bench.assert_landed_in_order(BRANCH, &self.stories);
        self.bench.assert_clean(&["main", BRANCH]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn killed_fifty_times_at_random_every_story_lands_exactly_once() {
    let seed = seed();
    tell(&format!("seed {seed}; again with ROPEWALK_TEST_SEED={seed}"));
    let mut chance = Chance(seed);
    let mut kills = 0;
    while kills < KILLS {
        let job = Job::new(&mut chance);
        // Ever longer, so that each PRD comes to its end however slow the machine is.
        let mut most = 100;
        while kills < KILLS {
            let span = Duration::from_millis(chance.below(most));
            if let Some(ran) = job.run_for(span, |_| ()) {
                ran.expect(0);
                break;
            }
            kills += 1;
            most += 75;
        }
        job.finish();
    }
}

#[test]
fn killed_with_all_its_workers_and_agents_every_story_lands_exactly_once() {
    let seed = seed();
    tell(&format!("seed {seed}; again with ROPEWALK_TEST_SEED={seed}"));
    let mut chance = Chance(seed);
    for _ in 0..6 {
        let job = Job::new(&mut chance);
        // Twice: a story whose attempts are lost three times in a row waits for a person.
        for _ in 0..2 {
            let span = Duration::from_millis(chance.below(900));
            if job.run_for(span, Bench::kill_all).is_some() {
                break;
            }
            job.bench.kill_all();
        }
        job.finish();
    }
}

#[test]
fn interrupted_it_stops_cleanly_and_the_same_command_goes_on() {
    let mut chance = Chance(1);
    let job = Job::new(&mut chance);
    let running = job.bench.spawn(&job.args());
    job.bench.wait_for_record("an attempt", |record| record.what == "start");
    running.interrupt();
    let ran = running.wait().expect(130);
    assert!(ran.stderr.contains("the same command goes on"), "{ran}");
    let left = || Some(()).filter(|()| job.bench.processes().is_empty());
    assert!(wait_at_most(Duration::from_secs(5), left).is_some(), "{:?}", job.bench.processes());
    assert!(!job.bench.home.join("ropewalk.db-wal").exists(), "the database was not closed");
    job.finish();
}

#[test]
fn interrupted_twice_it_ends_at_once_and_the_same_command_goes_on() {
    let bench = Bench::new();
    let stories = [story("US-001", &[]).steps("first 1 deaf; edit one.txt"), story("US-002", &[])];
    let prd = bench.prd(&stories);
    let agent = bench.agent("");
    let args = ["run", text(&prd), "--command", &agent];
    let mut running = bench.spawn(&args);
    bench.wait_for_record("the deaf one", |record| record.what == "deaf");
    running.interrupt();
    let first = wait_at_most(Duration::from_millis(300), || running.has_ended().then_some(()));
    if first.is_none() {
        running.interrupt();
    }
    running.wait().expect(130);
    bench.expect(0, &args);
    bench.assert_landed_in_order(BRANCH, &stories);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn worktrees_that_an_engine_died_removing_are_removed_by_the_next() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    let agent = bench.agent("");
    let args = ["run", text(&prd), "--command", &agent, "--check", "true"];
    bench.expect(0, &args);
    for name in [".removing-1.1", ".removing-check-1.1-0123456789-1"] {
        let folder = bench.home.join("worktrees").join(name);
        std::fs::create_dir_all(folder.join("half")).expect("a folder");
    }
    bench.expect(0, &args);
    bench.assert_clean(&["main", BRANCH]);
}
