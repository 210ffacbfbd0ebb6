//! The main job through the real program: a PRD goes in, landed commits come out.

use std::time::{Duration, Instant};

use crate::support::{Bench, Story, story};
use serde_json::json;

const BRANCH: &str = "feature/PRD-001";

fn diamond() -> Vec<Story> {
    vec![
        story("US-001", &[]),
        story("US-002", &["US-001"]),
        story("US-003", &["US-001"]),
        story("US-004", &["US-002", "US-003"]),
        story("US-005", &[]),
    ]
}

/// Runs a PRD with the fake agent: the arguments.
fn run<'a>(prd: &'a str, agent: &'a str) -> Vec<&'a str> {
    vec!["run", prd, "--command", agent]
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn the_demo_lands_twelve_stories_within_fifteen_seconds() {
    let bench = Bench::new();
    let folder = bench.root().join("demo");
    let began = Instant::now();
    let demo = bench.json(&["demo", "--dir", text(&folder)]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(demo["landed_on_base"], "done");
    let stories = demo["prd"]["stories"].as_array().expect("stories");
    assert_eq!(stories.iter().filter(|story| story["state"] == "done").count(), 12);
    let subjects = bench.git_in(&folder.join("project"), &["log", "--first-parent", "--format=%s", "main^2"]);
    for story in 1..=12 {
        let landed = subjects.lines().filter(|line| line.starts_with(&format!("US-{story:03}: ")));
        assert_eq!(landed.count(), 1, "{subjects}");
    }
}

#[test]
fn a_prd_lands_in_dependency_order_and_the_same_command_again_changes_nothing() {
    let bench = Bench::new();
    let (stories, agent) = (diamond(), bench.agent(""));
    let prd = bench.prd(&stories);
    bench.expect(0, &run(text(&prd), &agent)).says(&["5 of 5 stories landed", "ropewalk prd land PRD-001"]);
    bench.assert_landed_in_order(BRANCH, &stories);
    let (tip, record) = (bench.git(&["rev-parse", BRANCH]), bench.record());
    bench.expect(0, &run(text(&prd), &agent)).says(&["5 unchanged"]);
    assert_eq!(bench.git(&["rev-parse", BRANCH]), tip);
    assert_eq!(bench.record(), record);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn failures_conflicts_and_red_checks_are_tried_again_until_all_has_landed() {
    let bench = Bench::new();
    let stories = [
        story("US-001", &[]).steps("fail 1; edit one.txt"),
        story("US-002", &[]).steps("edit shared.txt two"),
        story("US-003", &[]).steps("edit shared.txt three"),
        story("US-004", &[]).steps("remove red.txt; first 1 edit red.txt; edit four.txt; commit by myself"),
    ];
    let prd = bench.prd(&stories);
    let agent = bench.agent("");
    // Red by the first attempt's file, which the second finds and removes.
    bench.expect(0, &["run", text(&prd), "--command", &agent, "--check", "test ! -e red.txt"]);
    bench.assert_landed_in_order(BRANCH, &stories);
    let attempts = |id: &str| bench.json(&["task", "show", id])["attempts"].clone();
    assert_eq!(attempts("PRD-001/US-001"), 2);
    assert_eq!(attempts("PRD-001/US-004"), 2);
    let both = attempts("PRD-001/US-002").as_u64().zip(attempts("PRD-001/US-003").as_u64());
    assert_eq!(both.map(|(two, three)| two + three), Some(3), "the second of the two was tried again");
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn every_command_prints_exactly_one_json_value() {
    let bench = Bench::new();
    let agent = bench.agent("say hello; edit file.txt");
    bench.json(&["init"]);
    let prd = bench.prd(&[story("US-001", &[])]);
    bench.json(&["prd", "import", text(&prd)]);
    bench.json(&["prd", "approve", "PRD-001"]);
    bench.json(&run(text(&prd), &agent));
    bench.json(&["prd", "complete", "PRD-001"]);
    bench.json(&["prd", "land", "PRD-001"]);
    bench.json(&["prd", "show", "PRD-001"]);
    bench.json(&["prd", "list"]);
    bench.json(&["prd", "search", "bench"]);
    bench.json(&["prd", "export", "PRD-001"]);
    bench.json(&["task", "add", "one", "--no-worktree", "--command", &agent]);
    bench.json(&["task", "list"]);
    bench.json(&["task", "show", "1"]);
    bench.json(&["why", "1"]);
    bench.json(&["logs", "1"]);
    bench.json(&["status"]);
    bench.json(&["cancel", "3"]);
    bench.json(&["retry", "3"]);
    bench.json(&["config", "show"]);
    bench.json(&["config", "show", "--origin"]);
    bench.json(&["config", "path"]);
    bench.json(&["run"]);
    let second = bench.prd_named("second.json", &[story("US-001", &[])]);
    bench.json(&["prd", "import", text(&second)]);
    bench.json(&["prd", "abandon", "PRD-002", "--reason", "enough"]);
    for args in
        [&["config", "reference"][..], &["completions", "bash"], &["man", text(&bench.root().join("man"))]]
    {
        bench.json(args);
    }
    // Errors too are one value.
    let absent = bench.expect(4, &["why", "99", "--json"]);
    assert_eq!(absent.value()["error"]["code"], "not-found");
    let wrong = bench.expect(2, &["run", text(&prd), "--workers", "0", "--json"]);
    assert!(!wrong.value()["error"]["text"].is_null());
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let bench = Bench::new();
    let prd = bench.prd(&diamond());
    let agent = bench.agent("");
    let ran = bench.expect(0, &["run", text(&prd), "--command", &agent, "--quiet"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let failed = bench.expect(4, &["why", "99", "--quiet"]);
    assert!(failed.stdout.is_empty() && failed.stderr.starts_with("error: "), "{failed}");
}

#[test]
fn the_exit_code_tells_the_kind_of_end() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("fail"), story("US-002", &["US-001"])]);
    let agent = bench.agent("");
    let parked = bench.expect(3, &["run", text(&prd), "--command", &agent, "--attempts", "1"]);
    parked.says(&["waits for you: PRD-001/US-001", "1 blocked"]);
    bench.expect(2, &["run", "--no-such-flag"]);
    bench.expect(2, &["task", "add", " ", "--no-worktree", "--command", "true"]);
    bench.expect(4, &["run", "no-such-file.json"]);
    bench.expect(4, &["prd", "show", "PRD-404"]);
    bench.expect(5, &["prd", "complete", "PRD-001"]);
    bench.expect(5, &["prd", "land", "PRD-001"]);
    bench.expect(0, &["init"]);
    bench.expect(5, &["init"]);
}

#[test]
fn a_changed_file_adds_and_updates_and_names_what_has_landed() {
    let bench = Bench::new();
    let agent = bench.agent("");
    let before = [
        story("US-001", &[]),
        story("US-002", &[]).steps("fail 1; edit two.txt"),
        story("US-003", &["US-002"]),
    ];
    let prd = bench.prd(&before);
    bench.expect(3, &["run", text(&prd), "--command", &agent, "--attempts", "1"]);
    let after = [
        story("US-001", &[]).steps("edit never.txt"),
        story("US-002", &[]).steps("edit mended.txt"),
        story("US-003", &["US-002"]).steps("edit three.txt"),
        story("US-004", &["US-001"]),
    ];
    bench.prd(&after);
    // US-002 was parked: its text was mended, so it is tried again.
    let again = bench.expect(0, &["run", text(&prd), "--command", &agent]);
    again.says(&["1 added, 2 updated", "not changed: US-001 has landed"]);
    bench.assert_landed_in_order(BRANCH, &after);
    let files = bench.git(&["ls-tree", "--name-only", BRANCH]);
    assert!(
        files.contains("three.txt") && files.contains("mended.txt") && !files.contains("never.txt"),
        "{files}"
    );
}

#[test]
fn passes_in_a_file_is_a_claim_until_it_is_trusted() {
    let bench = Bench::new();
    let stories = [story("US-001", &[]).claimed(), story("US-002", &["US-001"])];
    let prd = bench.prd(&stories);
    bench.expect(0, &["prd", "import", text(&prd)]);
    bench.expect(0, &["prd", "show", "PRD-001"]).says(&["(claimed)"]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent(""), "--trust-passes"]);
    let landed: Vec<_> = bench.landed_on(BRANCH).into_iter().map(|landed| landed.story).collect();
    assert_eq!(landed, ["US-002"]);
}

#[test]
fn a_claim_that_nobody_trusts_is_worked_on() {
    let bench = Bench::new();
    let stories = [story("US-001", &[]).claimed(), story("US-002", &["US-001"])];
    let prd = bench.prd(&stories);
    bench.expect(0, &run(text(&prd), &bench.agent("")));
    bench.assert_landed_in_order(BRANCH, &stories);
}

#[test]
fn a_task_added_while_a_run_goes_on_is_picked_up_at_once() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("gate go; edit one.txt")]);
    let agent = bench.agent("");
    let running = bench.spawn(&run(text(&prd), &agent));
    bench.wait_for_record("the story's start", |record| record.task == "1" && record.what == "start");
    let plain = bench.agent("edit plain.txt; append plain.txt more");
    let added = bench.expect(0, &["task", "add", "beside it", "--no-worktree", "--command", &plain]);
    added.says(&["task 2"]);
    assert!(!added.stderr.contains("no engine"), "{added}");
    // The story still waits behind its gate.
    bench.wait_for_record("the task's end", |record| record.task == "2" && record.what == "end");
    assert!(!bench.record().iter().any(|record| record.task == "1" && record.what == "end"));
    assert_eq!(bench.json(&["status"])["engine"], true);
    bench.open_gate("go");
    running.wait().expect(0);
    assert!(bench.repo.join("plain.txt").exists());
    assert_eq!(bench.json(&["task", "show", "2"])["state"], "done");
}

#[test]
fn plain_tasks_run_in_their_folder_after_what_they_wait_for() {
    let bench = Bench::bare_of_repository();
    let folder = bench.root().join("elsewhere");
    std::fs::create_dir(&folder).expect("a folder");
    let first = bench.agent("append order.txt first");
    let then = bench.agent("append order.txt then");
    bench.expect(0, &["task", "add", "first", "--dir", text(&folder), "--command", &first]);
    let args =
        ["task", "add", "then", "--dir", text(&folder), "--command", &then, "--after", "1", "--count", "3"];
    let added = bench.json(&args);
    assert_eq!(added["tasks"].as_array().or(added.as_array()).map(Vec::len), Some(3), "{added}");
    bench.expect(0, &["why", "2"]).says(&["task 2", "1"]);
    bench.expect(0, &["run"]);
    let order = std::fs::read_to_string(folder.join("order.txt")).expect("what they wrote");
    assert_eq!(order, "first\nthen\nthen\nthen\n");
    let states: Vec<_> = bench.json(&["task", "list"]).as_array().expect("a list").clone();
    assert!(states.iter().all(|task| task["state"] == "done"), "{states:?}");
}

#[test]
fn a_single_task_lands_on_the_branch_of_the_projects_tasks() {
    let bench = Bench::new();
    bench.expect(
        0,
        &["task", "add", "fix it", "--command", &bench.agent("edit fixed.txt"), "--priority", "P0"],
    );
    bench.expect(0, &["run"]);
    bench.expect(0, &["prd", "land", "TASKS"]);
    assert_eq!(
        std::fs::read_to_string(bench.repo.join("fixed.txt")).expect("it landed"),
        "task 1 attempt 1\n"
    );
}

#[test]
fn a_task_can_be_cancelled_explained_retried_and_read() {
    let bench = Bench::new();
    let prd = bench.prd(&[
        story("US-001", &[]).steps("say waiting now; gate go; say going on; edit one.txt"),
        story("US-002", &["US-001"]),
    ]);
    let agent = bench.agent("");
    let running = bench.spawn(&run(text(&prd), &agent));
    bench.wait_for_record("the start", |record| record.what == "start");
    bench.expect(0, &["why", "PRD-001/US-002"]).says(&["blocked", "US-001"]);
    let following = bench.spawn(&["logs", "PRD-001/US-001", "--follow"]);
    following.wait_for_output("waiting now");
    bench.expect(0, &["cancel", "PRD-001/US-002"]);
    assert_eq!(bench.json(&["task", "show", "2"])["state"], "cancelled");
    bench.expect(0, &["retry", "PRD-001/US-002"]);
    bench.open_gate("go");
    let followed = following.wait().expect(0);
    assert_eq!(followed.stdout, "waiting now\ngoing on\n");
    running.wait().expect(0);
    assert_eq!(bench.landed_on(BRANCH).len(), 2);
    assert_eq!(bench.expect(0, &["logs", "1"]).stdout, "waiting now\ngoing on\n");
    assert_eq!(bench.expect(0, &["logs", "1", "--stderr"]).stdout, "");
    bench.expect(4, &["logs", "1", "--attempt", "7"]);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn cancelling_a_running_attempt_ends_all_of_its_processes() {
    let bench = Bench::new();
    let prd = bench.prd(&[
        story("US-001", &[]).steps("fork; hang"),
        story("US-002", &[]).steps("gate go; edit two.txt"),
    ]);
    let agent = bench.agent("");
    let running = bench.spawn(&run(text(&prd), &agent));
    let left = bench.wait_for_record("what it left behind", |record| record.task == "1-left");
    bench.wait_for_record("the other", |record| record.task == "2");
    bench.expect(0, &["cancel", "1"]);
    crate::support::wait_for("its end", || {
        (!std::path::Path::new(&format!("/proc/{}", left.pid)).exists()).then_some(())
    });
    bench.open_gate("go");
    running.wait().expect(0);
    assert_eq!(bench.json(&["task", "show", "1"])["state"], "cancelled");
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn an_attempt_that_hangs_is_ended_in_time_and_one_that_floods_is_survived() {
    let bench = Bench::new();
    let prd = bench.prd(&[
        story("US-001", &[]).steps("first 1 hang; edit one.txt"),
        story("US-002", &[]).steps("flood 3000000; edit two.txt"),
        story("US-003", &[]).steps("first 1 endless; edit three.txt"),
        story("US-004", &[]).steps("first 1 vanish; edit four.txt"),
    ]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent(""), "--timeout", "2s"]);
    assert_eq!(bench.landed_on(BRANCH).len(), 4);
    let first = bench.json(&["task", "show", "1"]);
    assert_eq!(first["attempts_made"][0]["outcome"], "timed out", "{first}");
    assert_eq!(bench.expect(0, &["logs", "2"]).stdout.len(), 3_000_000);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_prd_goes_from_draft_to_completed_or_abandoned() {
    let bench = Bench::new();
    bench.expect(0, &["init"]);
    let settings = std::fs::read_to_string(bench.repo.join("ropewalk.toml")).expect("the settings");
    let (commented, command) =
        ("# command = \"./agent.sh\"", format!("command = {}", json!(bench.agent(""))));
    assert!(settings.contains(commented), "{settings}");
    let settings = settings.replace(commented, &command);
    std::fs::write(bench.repo.join("ropewalk.toml"), settings).expect("the settings");
    bench.trust();
    let prd = bench.prd(&diamond());
    bench.expect(0, &["prd", "import", text(&prd)]).says(&["draft", "PRD-001"]);
    bench.expect(0, &["run"]);
    assert!(bench.record().is_empty(), "a draft does not run");
    bench.expect(0, &["prd", "approve", "PRD-001"]);
    bench.expect(0, &["run"]);
    bench.assert_landed_in_order(BRANCH, &diamond());
    bench.expect(0, &["prd", "search", "bench", "AND", "NOT", "tag:old"]).says(&["PRD-001"]);
    assert!(!bench.expect(0, &["prd", "search", "nowhere"]).stdout.contains("PRD-001"));
    bench.expect(0, &["prd", "complete", "PRD-001"]);
    bench.expect(0, &["prd", "list", "--state", "completed"]).says(&["PRD-001"]);
    let exported: serde_json::Value = bench.expect(0, &["prd", "export", "PRD-001"]).value();
    assert!(exported["userStories"].as_array().expect("stories").iter().all(|story| story["passes"] == true));
    let second = bench.prd_named("second.json", &diamond());
    bench.expect(0, &["prd", "import", text(&second), "--approve"]);
    bench.expect(0, &["prd", "abandon", "PRD-002", "--reason", "superseded"]);
    bench.expect(0, &["run"]);
    bench.expect(0, &["prd", "show", "PRD-002"]).says(&["abandoned: superseded"]);
    assert_eq!(bench.landed_on(BRANCH).len(), 5);
}

#[test]
fn settings_say_where_they_come_from_and_an_unknown_key_is_refused_with_the_nearest() {
    let bench = Bench::new();
    bench.write("ropewalk.toml", "workers = 3\n[check]\ncommands = [\"true\"]\n");
    let user = bench.root().join("user/config/ropewalk/config.toml");
    let mut command = bench.command(&["config", "show", "--origin"]);
    command.env("ROPEWALK_ATTEMPT_TIMEOUT", "90s");
    let shown = bench.start(command, "config show --origin".into()).wait().expect(0);
    shown.says(&["ropewalk.toml", "ROPEWALK_ATTEMPT_TIMEOUT", "default"]);
    drop(user);
    bench.write("ropewalk.toml", "worker = 3\n");
    bench.expect(2, &["config", "show"]).says(&["worker", "workers"]);
    bench.write("ropewalk.toml", "workers = \"many\"\n[agent]\nuse = \"oracle\"\n");
    bench.expect(2, &["config", "show"]).says(&["workers", "agent.use"]);
}

#[test]
fn completions_and_man_pages_are_generated() {
    let bench = Bench::new();
    for shell in ["bash", "zsh", "fish"] {
        bench.expect(0, &["completions", shell]).says(&["ropewalk"]);
    }
    let folder = bench.root().join("man");
    bench.expect(0, &["man", text(&folder)]);
    let page = std::fs::read_to_string(folder.join("ropewalk.1")).expect("a page");
    assert!(page.contains(".TH"), "{page}");
    assert!(std::fs::read_dir(&folder).expect("pages").count() > 10);
}

#[test]
fn every_command_has_help_with_an_example() {
    let bench = Bench::new();
    for command in [
        "init",
        "trust",
        "run",
        "demo",
        "status",
        "logs",
        "why",
        "cancel",
        "retry",
        "completions",
        "man",
        "task add",
        "task list",
        "task show",
        "prd import",
        "prd list",
        "prd show",
        "prd approve",
        "prd abandon",
        "prd complete",
        "prd land",
        "prd search",
        "prd export",
        "config show",
        "config path",
        "config reference",
    ] {
        let args: Vec<_> = command.split(' ').chain(["--help"]).collect();
        bench.expect(0, &args).says(&["Example"]);
    }
    bench.expect(0, &["--help"]).says(&["Exit codes"]);
}
