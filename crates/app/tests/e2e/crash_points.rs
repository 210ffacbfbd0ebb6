//! A crash before and after every commit of a run and of a landing, then the same command again: all ends well.
//! Only with the feature `failpoints`, which teaches the store to end the process at a commit.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::support::{Bench, Ran, Story, story};

const BRANCH: &str = "feature/PRD-001";

/// The exit code is none: ended by SIGABRT.
fn crashed(ran: &Ran) -> bool {
    ran.code.is_none()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// One conflict, one red check, one dependency.
fn stories() -> Vec<Story> {
    vec![
        story("US-001", &[]).steps("edit shared.txt one"),
        story("US-002", &[]).steps("edit shared.txt two"),
        story("US-003", &[]).steps("remove red.txt; first 1 edit red.txt; edit three.txt"),
        story("US-004", &["US-001"]),
    ]
}

/// Runs the command so that it crashes at its n-th point of that kind, if it has so many.
fn run_to_point(bench: &Bench, args: &[&str], kind: &str, point: u32) -> Ran {
    let mut command = bench.command(args);
    command.env(kind, point.to_string());
    bench.start(command, format!("{} ({kind}={point})", args.join(" "))).wait()
}

/// Before and after each commit of the store.
const COMMIT: &str = "FAILPOINT_CRASH_AT";

/// Before and after each run of git, and between the steps that make and take away worktrees.
const GIT: &str = "FAILPOINT_CRASH_AT_GIT";

/// Benches at work at once: each waits for the disk and for its agents most of the time.
const BENCHES: usize = 4;

/// How many points a command has, as far as is known: the highest one that was reached.
#[derive(Default)]
struct Reach {
    highest: AtomicU32,
    /// A point beyond the last was asked for: no crash.
    is_known: AtomicBool,
}

impl Reach {
    /// Runs the command so that it crashes at this point, and again to its end; skips what is known to be
    /// beyond the end.
    fn try_point(
        &self,
        bench: &Bench,
        args: &[&str],
        (kind, point): (&str, u32),
        meanwhile: impl Fn(&Bench),
    ) {
        let ran = run_to_point(bench, args, kind, point);
        if crashed(&ran) {
            self.highest.fetch_max(point, Ordering::SeqCst);
            meanwhile(bench);
            bench.expect(0, args);
        } else {
            ran.expect(0);
            self.is_known.store(true, Ordering::SeqCst);
        }
    }

    fn is_beyond(&self, point: u32) -> bool {
        self.is_known.load(Ordering::SeqCst) && point > self.highest.load(Ordering::SeqCst)
    }
}

/// Every how many of git's steps one is tried: all of them where `FAILPOINT_STRIDE` is 1, which takes a while.
fn stride() -> u32 {
    std::env::var("FAILPOINT_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Somebody else commits to the PRD's branch, where there is one.
fn move_target(bench: &Bench) {
    if bench.git(&["for-each-ref", "refs/heads/feature"]).is_empty() {
        return;
    }
    let commit = bench.git(&["commit-tree", &format!("{BRANCH}^{{tree}}"), "-p", BRANCH, "-m", "By hand"]);
    bench.git(&["update-ref", &format!("refs/heads/{BRANCH}"), commit.trim()]);
}

/// What a git that was killed leaves behind.
fn leave_locks(bench: &Bench) {
    for lock in ["refs/heads/feature/PRD-001.lock", "packed-refs.lock"] {
        let path = bench.repo.join(".git").join(lock);
        if path.parent().is_some_and(Path::is_dir) {
            std::fs::write(path, "").expect("a lock");
        }
    }
}

/// Takes points until one is beyond the end.
fn each_point(reach: &Reach, next: &AtomicU32, stride: u32, attempt: impl Fn(u32)) {
    loop {
        let point = next.fetch_add(stride, Ordering::SeqCst);
        if reach.is_beyond(point) {
            return;
        }
        attempt(point);
    }
}

fn in_parallel(work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..BENCHES {
            scope.spawn(&work);
        }
    });
}

#[test]
fn a_crash_at_any_commit_of_a_run_costs_nothing() {
    let (reach, next) = (Reach::default(), AtomicU32::new(1));
    in_parallel(|| {
        each_point(&reach, &next, 1, |point| {
            let (bench, stories) = (Bench::new(), stories());
            let prd = bench.prd(&stories);
            let agent = bench.agent("");
            let run = ["run", text(&prd), "--command", &agent, "--check", "test ! -e red.txt"];
            reach.try_point(&bench, &run, (COMMIT, point), |_| ());
            bench.assert_landed_in_order(BRANCH, &stories);
            bench.assert_clean(&["main", BRANCH]);
        });
    });
    let highest = reach.highest.into_inner();
    assert!(highest >= 20, "only {highest} points were reached");
}

#[test]
fn a_crash_at_any_commit_of_a_landing_costs_nothing() {
    let (reach, next) = (Reach::default(), AtomicU32::new(1));
    in_parallel(|| {
        each_point(&reach, &next, 1, |point| {
            let bench = Bench::new();
            let prd = bench.prd(&[story("US-001", &[])]);
            bench.expect(0, &["run", text(&prd), "--command", &bench.agent(""), "--check", "true"]);
            reach.try_point(&bench, &["prd", "land", "PRD-001"], (COMMIT, point), |_| ());
            assert_eq!(bench.git(&["status", "--porcelain"]), "");
            assert_eq!(bench.git(&["rev-list", "--count", "--first-parent", "main"]), "2\n", "landed once");
            assert_eq!(bench.git(&["rev-parse", "main^2"]), bench.git(&["rev-parse", BRANCH]));
            bench.assert_clean(&["main", BRANCH]);
        });
    });
    let highest = reach.highest.into_inner();
    assert!(highest >= 4, "only {highest} points were reached");
}

#[test]
fn a_crash_at_any_step_with_git_costs_nothing_whoever_moves_the_target_meanwhile() {
    let (reach, next) = (Reach::default(), AtomicU32::new(1));
    in_parallel(|| {
        each_point(&reach, &next, stride(), |point| {
            let bench = Bench::new();
            let stories = [
                story("US-001", &[]),
                story("US-002", &[]).steps("fail 1; edit two.txt"),
                story("US-003", &[]),
            ];
            let prd = bench.prd(&stories);
            let agent = bench.agent("");
            let run = ["run", text(&prd), "--command", &agent, "--check", "true"];
            let meanwhile = |bench: &Bench| match point / stride() % 6 {
                0 | 3 | 4 => {}
                1 | 2 => move_target(bench),
                _ => leave_locks(bench),
            };
            reach.try_point(&bench, &run, (GIT, point), meanwhile);
            bench.assert_landed_in_order(BRANCH, &stories);
            bench.assert_clean(&["main", BRANCH]);
        });
    });
    let highest = reach.highest.into_inner();
    assert!(highest >= 60, "only {highest} points were reached");
}

#[test]
fn a_crash_at_any_step_of_moving_the_base_leaves_its_checkout_clean() {
    let (reach, next) = (Reach::default(), AtomicU32::new(1));
    in_parallel(|| {
        each_point(&reach, &next, stride().div_ceil(2), |point| {
            let bench = Bench::new();
            let prd = bench.prd(&[story("US-001", &[])]);
            bench.expect(0, &["run", text(&prd), "--command", &bench.agent(""), "--check", "true"]);
            let land = ["prd", "land", "PRD-001"];
            reach.try_point(&bench, &land, (GIT, point), |_| ());
            assert_eq!(bench.git(&["status", "--porcelain"]), "", "point {point}");
            assert_eq!(bench.git(&["rev-list", "--count", "--first-parent", "main"]), "2\n", "landed once");
            bench.assert_clean(&["main", BRANCH]);
        });
    });
    let highest = reach.highest.into_inner();
    assert!(highest >= 10, "only {highest} points were reached");
}

/// Runs the command on a disk that fails as told.
fn run_on(bench: &Bench, args: &[&str], fail: &str) -> Ran {
    let mut command = bench.command(args);
    command.env("FAILPOINT_FAIL", fail);
    bench.start(command, format!("{} (disk: {fail})", args.join(" "))).wait()
}

/// Commits that a run of these stories has at the least, so that each failure hits one.
const COMMITS: [u32; 9] = [1, 2, 3, 5, 8, 11, 14, 17, 20];

#[test]
fn a_disk_that_is_full_for_a_while_or_fails_once_costs_nothing() {
    let cases: Vec<String> =
        COMMITS.iter().flat_map(|from| [format!("full:{from}:2"), format!("eio:{from}:1")]).collect();
    let next = AtomicU32::new(0);
    in_parallel(|| {
        while let Some(fail) = cases.get(next.fetch_add(1, Ordering::SeqCst) as usize) {
            let (bench, stories) = (Bench::new(), stories());
            let prd = bench.prd(&stories);
            let agent = bench.agent("");
            let run = ["run", text(&prd), "--command", &agent, "--check", "test ! -e red.txt"];
            // What was asked for and could not be stored is refused, and says so; what was accepted goes on by itself.
            let ran = run_on(&bench, &run, fail);
            if ran.code != Some(0) {
                assert!(ran.code == Some(1) && ran.stderr.contains("injected"), "{fail}: {ran}");
                bench.expect(0, &run);
            }
            bench.assert_landed_in_order(BRANCH, &stories);
            bench.assert_clean(&["main", BRANCH]);
        }
    });
}

#[test]
fn a_disk_that_keeps_failing_ends_the_run_with_its_reason_and_the_next_one_goes_on() {
    let (bench, stories) = (Bench::new(), stories());
    let prd = bench.prd(&stories);
    let agent = bench.agent("");
    let run = ["run", text(&prd), "--command", &agent, "--check", "test ! -e red.txt"];
    let ran = run_on(&bench, &run, "eio:9:1000000");
    assert!(ran.code == Some(1) && ran.stderr.contains("injected"), "{ran}");
    bench.expect(0, &run);
    bench.assert_landed_in_order(BRANCH, &stories);
    bench.assert_clean(&["main", BRANCH]);
}
