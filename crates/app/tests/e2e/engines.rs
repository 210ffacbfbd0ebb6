//! One engine serves a state folder; every other command talks to it, or opens the store for a moment.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Bench, Chance, story};

const BRANCH: &str = "feature/PRD-001";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn the_state_folder_and_its_files_are_private() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("gate go; edit one.txt")]);
    let agent = bench.agent("");
    let running = bench.spawn(&["run", text(&prd), "--command", &agent]);
    bench.wait_for_record("the start", |record| record.what == "start");
    let mode = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&bench.home), 0o700);
    for entry in std::fs::read_dir(&bench.home).expect("the folder").flatten() {
        let path = entry.path();
        assert_eq!(mode(&path) & 0o077, 0, "{} is open to others", path.display());
    }
    bench.open_gate("go");
    running.wait().expect(0);
}

#[test]
fn a_second_run_hands_its_prd_to_the_first_and_both_end_well() {
    let bench = Bench::new();
    let first = bench.prd(&[story("US-001", &[]).steps("gate go; edit one.txt")]);
    let second = bench.prd_named("second.json", &[story("US-001", &[]).steps("edit two.txt")]);
    let agent = bench.agent("");
    let running = bench.spawn(&["run", text(&first), "--command", &agent]);
    bench.wait_for_record("the start", |record| record.what == "start");
    let handed = bench.expect(0, &["run", text(&second), "--command", &agent]);
    handed.says(&["another ropewalk runs the engine", "PRD-002: 1 of 1 stories landed"]);
    bench.open_gate("go");
    running.wait().expect(0);
    assert_eq!((bench.landed_on(BRANCH).len(), bench.landed_on("feature/PRD-002").len()), (1, 1));
    bench.assert_clean(&["main", BRANCH, "feature/PRD-002"]);
}

#[test]
fn a_run_that_followed_a_killed_engine_takes_over() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("gate go; edit one.txt"), story("US-002", &["US-001"])]);
    let agent = bench.agent("");
    let args = ["run", text(&prd), "--command", &agent];
    let first = bench.spawn(&args);
    bench.wait_for_record("the start", |record| record.what == "start");
    let follower = bench.spawn(&args);
    follower.wait_for_word("another ropewalk runs the engine");
    first.kill();
    bench.open_gate("go");
    follower.wait().expect(0);
    assert_eq!(bench.landed_on(BRANCH).len(), 2);
    let starts = bench.record().into_iter().filter(|record| record.task == "1" && record.what == "start");
    assert_eq!(starts.count(), 1, "the attempt outlived its engine and was adopted");
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("gate go; edit one.txt")]);
    let agent = bench.agent("");
    let plain = bench.agent("wait 20");
    let mut chance = Chance(7);
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        let running = bench.spawn(&["run", text(&prd), "--command", &agent]);
        bench.wait_for_record("the start", |record| record.task == "1");
        crate::support::wait_for("an engine", || (bench.json(&["status"])["engine"] == true).then_some(()));
        for _ in 0..=chance.below(3) {
            let args = ["task", "add", "beside it", "--no-worktree", "--count", "2", "--command", &plain];
            let added = bench.json(&args);
            acknowledged.extend(added["tasks"].as_array().expect("numbers").iter().map(ToString::to_string));
        }
        running.kill();
        for task in &acknowledged {
            bench.expect(0, &["task", "show", task]);
        }
        assert!(acknowledged.len() > round, "{acknowledged:?}");
    }
    bench.open_gate("go");
    bench.expect(0, &["run"]);
    for task in &acknowledged {
        assert_eq!(bench.json(&["task", "show", task])["state"], "done", "task {task}");
        let ends = bench.record().into_iter().filter(|record| &record.task == task && record.what == "end");
        assert_eq!(ends.count(), 1, "task {task} ran once");
    }
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn two_projects_share_a_state_folder_and_do_not_see_each_others_prds() {
    let bench = Bench::new();
    let other = bench.root().join("other");
    bench.git(&["clone", "-q", ".", text(&other)]);
    for (key, value) in [("user.name", "Other"), ("user.email", "other@ropewalk.invalid")] {
        bench.git_in(&other, &["config", key, value]);
    }
    let prd = bench.prd(&[story("US-001", &[])]);
    let agent = bench.agent("");
    let args = ["run", text(&prd), "--id", "SAME", "--command", &agent];
    bench.expect(0, &args);
    let in_other = |args: &[&str]| {
        let mut command = bench.command(args);
        command.current_dir(&other);
        bench.start(command, args.join(" ")).wait().expect(0)
    };
    assert_eq!(in_other(&["prd", "list", "--json"]).value().as_array().map(Vec::len), Some(0));
    in_other(&args);
    assert_eq!(in_other(&["prd", "list", "--json"]).value().as_array().map(Vec::len), Some(1));
    assert_eq!(in_other(&["prd", "list", "--all", "--json"]).value().as_array().map(Vec::len), Some(2));
    let branches = bench.git_in(&other, &["branch", "--list", "feature/SAME"]);
    assert!(branches.contains("feature/SAME"), "{branches}");
    bench.assert_clean(&["main", "feature/SAME"]);
}

#[test]
fn two_prds_that_ask_for_the_same_branch_get_two() {
    let bench = Bench::new();
    let agent = bench.agent("");
    for name in ["one.json", "two.json"] {
        let id = format!("US-{name}");
        let text = format!(r#"{{"branchName":"feature/same","userStories":[{{"id":"{id}","title":"t"}}]}}"#);
        let file = bench.write(name, &text);
        let file = file.to_str().expect("UTF-8");
        bench.expect(0, &["prd", "import", file, "--approve", "--command", &agent]);
    }
    bench.expect(0, &["run"]);
    let prds = bench.json(&["prd", "list"]);
    let branches: Vec<_> = [0, 1].map(|at| prds[at]["branch"].as_str().unwrap_or_default().to_owned()).into();
    assert_eq!(branches, ["feature/same", "feature/same-1"]);
    bench.assert_clean(&["feature/same", "feature/same-1", "main"]);
}
