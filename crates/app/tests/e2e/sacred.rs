//! The user's own checkout: nothing touches it but a landing on the branch that is checked out clean.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::{Bench, story};

const BRANCH: &str = "feature/PRD-001";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// All that is the user's.
#[derive(Debug, PartialEq, Eq)]
struct Checkout {
    head: String,
    tip: String,
    index: Vec<u8>,
    status: String,
    stash: String,
    configuration: Vec<u8>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Checkout {
    fn of(bench: &Bench) -> Checkout {
        let git = bench.repo.join(".git");
        let read = |name: &str| fs::read(git.join(name)).expect(name);
        let (index, configuration) = (read("index"), read("config"));
        let mut files = BTreeMap::new();
        collect(&bench.repo, &mut files);
        Checkout {
            head: String::from_utf8(read("HEAD")).expect("UTF-8"),
            tip: bench.git(&["rev-parse", "HEAD"]),
            status: bench.git(&["--no-optional-locks", "status", "--porcelain=v2", "--branch"]),
            stash: bench.git(&["stash", "list"]),
            index,
            configuration,
            files,
        }
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with(".git") {
            collect(&path, files);
        } else if path.is_file() {
            files.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
}

/// A checkout in the middle of somebody's work: a stash, a staged, a changed and an unknown file.
fn busy(bench: &Bench) {
    bench.write("shared.txt", "stashed\n");
    bench.git(&["stash", "-q"]);
    bench.write("README.md", "staged\n");
    bench.git(&["add", "README.md"]);
    bench.write("README.md", "staged, then changed\n");
    bench.write("unknown.txt", "mine\n");
    bench.git(&["status", "-s"]);
}

/// Hooks of the user's that would tell if anything ran them.
fn hooks(bench: &Bench) -> PathBuf {
    let canary = bench.root().join("canary");
    for name in [
        "applypatch-msg",
        "commit-msg",
        "fsmonitor-watchman",
        "post-checkout",
        "post-commit",
        "post-index-change",
        "post-merge",
        "post-rewrite",
        "pre-auto-gc",
        "pre-commit",
        "pre-merge-commit",
        "pre-rebase",
        "prepare-commit-msg",
        "reference-transaction",
        "update",
    ] {
        let hook = bench.repo.join(".git/hooks").join(name);
        fs::create_dir_all(hook.parent().expect("a folder")).expect("a folder");
        fs::write(&hook, format!("#!/bin/sh\necho {name} >>{}\n", canary.display())).expect("a hook");
        fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("its mode");
    }
    canary
}

#[test]
fn a_run_with_conflicts_failures_and_a_cancel_leaves_the_checkout_as_it_was_and_runs_no_hook() {
    let bench = Bench::new();
    busy(&bench);
    let stories = [
        story("US-001", &[]).steps("edit shared.txt one"),
        story("US-002", &[]).steps("edit shared.txt two"),
        story("US-003", &[]).steps("fail 1; edit README.md three; edit unknown.txt theirs"),
        story("US-004", &[]).steps("fail"),
        story("US-005", &[]).steps("edit half.txt; hang"),
        story("US-006", &["US-003"]).steps("remove red.txt; first 1 edit red.txt; edit six.txt"),
    ];
    let prd = bench.prd(&stories);
    let canary = hooks(&bench);
    let before = Checkout::of(&bench);
    let told_by_us = fs::read(&canary).unwrap_or_default();
    let agent = bench.agent("");
    let check = "test ! -e red.txt";
    let args =
        ["run", text(&prd), "--command", &agent, "--check", check, "--attempts", "2", "--workers", "6"];
    let running = bench.spawn(&args);
    bench.wait_for_record("the one that hangs", |record| record.task == "5");
    bench.expect(0, &["cancel", "PRD-001/US-005"]);
    running.wait().expect(3);
    assert_eq!(Checkout::of(&bench), before);
    assert_eq!(fs::read(&canary).unwrap_or_default(), told_by_us, "hooks ran");
    let landed = bench.landed_on(BRANCH);
    assert_eq!(landed.len(), 4, "{landed:?}");
    bench.expect(0, &["prd", "abandon", "PRD-001", "--reason", "enough"]);
    bench.expect(0, &["run"]);
    assert_eq!(Checkout::of(&bench), before);
    assert_eq!(fs::read(&canary).unwrap_or_default(), told_by_us, "hooks ran");
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_landing_moves_the_clean_checkout_of_the_base_with_it_and_runs_no_hook() {
    let bench = Bench::new();
    let prd = bench.prd(&[
        story("US-001", &[]).steps("edit new/one.txt"),
        story("US-002", &[]).steps("edit shared.txt two"),
    ]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    bench.write("ignored.log", "mine\n");
    bench.write(".git/info/exclude", "*.log\n");
    let canary = hooks(&bench);
    bench.expect(0, &["prd", "land", "PRD-001"]).says(&["landed"]);
    assert!(!canary.exists(), "hooks ran: {:?}", fs::read_to_string(&canary));
    fs::remove_dir_all(bench.repo.join(".git/hooks")).expect("no hooks any more");
    assert_eq!(bench.git(&["status", "--porcelain"]), "");
    assert_eq!(bench.git(&["symbolic-ref", "HEAD"]), "refs/heads/main\n");
    assert_eq!(fs::read_to_string(bench.repo.join("shared.txt")).expect("a file"), "two\n");
    assert!(bench.repo.join("new/one.txt").exists() && bench.repo.join("ignored.log").exists());
    assert_eq!(bench.git(&["rev-parse", "main^2"]), bench.git(&["rev-parse", BRANCH]));
    let tip = bench.git(&["rev-parse", "main"]);
    bench.run(&["prd", "land", "PRD-001"]);
    assert_eq!(bench.git(&["rev-parse", "main"]), tip, "landed once");
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_dirty_checkout_of_the_base_parks_the_landing_until_it_is_clean() {
    for (name, make_dirty, clean) in [
        ("changed", "echo mine >shared.txt", "git checkout -q shared.txt"),
        ("staged", "echo mine >shared.txt; git add shared.txt", "git reset -q --hard"),
        ("in the way", "mkdir new; echo mine >new/one.txt", "rm -r new"),
    ] {
        let bench = Bench::new();
        let prd = bench.prd(&[story("US-001", &[]).steps("edit new/one.txt; edit shared.txt theirs")]);
        bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
        let sh = |line: &str| {
            let status =
                std::process::Command::new("sh").args(["-c", line]).current_dir(&bench.repo).status();
            assert!(status.expect("sh").success(), "{line}");
        };
        sh(make_dirty);
        bench.git(&["status", "-s"]);
        let before = Checkout::of(&bench);
        let began = Instant::now();
        let parked = bench.expect(3, &["prd", "land", "PRD-001"]);
        // An engine that never had a worker once waited ten seconds for the end of none.
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        parked.says(&["has not landed", "parked"]);
        assert_eq!(Checkout::of(&bench), before, "{name}");
        sh(clean);
        bench.expect(0, &["prd", "land", "PRD-001"]).says(&["landed"]);
        assert_eq!(fs::read_to_string(bench.repo.join("shared.txt")).expect("a file"), "theirs\n", "{name}");
        assert_eq!(bench.git(&["status", "--porcelain"]), "", "{name}");
        bench.assert_clean(&["main", BRANCH]);
    }
}

#[test]
fn a_landing_on_a_base_that_is_not_checked_out_leaves_the_checkout_alone() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("edit shared.txt theirs")]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    bench.git(&["checkout", "-qb", "mine"]);
    busy(&bench);
    let before = Checkout::of(&bench);
    bench.expect(0, &["prd", "land", "PRD-001"]);
    assert_eq!(Checkout::of(&bench), before);
    assert_eq!(bench.git(&["show", "main:shared.txt"]), "theirs\n");
    bench.assert_clean(&["main", "mine", BRANCH]);
}
