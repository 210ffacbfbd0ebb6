//! Trains through the program: what waits is merged, checked and landed together; who is at fault is found; a flaky
//! check blames nobody.

use std::fs;

use crate::support::{Bench, Story, story, wait_for};

const BRANCH: &str = "feature/PRD-001";

/// Runs these stories with checks that wait for a gate, which opens when all but the first are in the line behind it.
/// Gives how often the checks ran.
fn run_as_train(bench: &Bench, stories: &[Story], check: &str) -> usize {
    let prd = bench.prd(stories);
    let runs = bench.root().join("runs");
    let count = format!("echo run >> {}", runs.display());
    let wait = bench.agent("gate checks");
    let agent = bench.agent("");
    let prd = prd.to_str().expect("a path");
    let workers = stories.len().to_string();
    let engine = bench.spawn(&[
        "run",
        prd,
        "--workers",
        &workers,
        "--command",
        &agent,
        "--check",
        &count,
        "--check",
        &wait,
        "--check",
        check,
    ]);
    wait_for("all in the line", || {
        // Not there yet at first.
        let shown = bench.run(&["prd", "show", "PRD-001", "--json"]);
        (shown.code == Some(0) && shown.value()["progress"]["landing"] == stories.len()).then_some(())
    });
    bench.open_gate("checks");
    engine.wait().expect(0);
    bench.assert_landed_in_order(BRANCH, stories);
    bench.assert_clean(&["main", BRANCH]);
    fs::read_to_string(runs).expect("the checks ran").lines().count()
}

#[test]
fn what_waits_lands_after_one_run_of_the_checks() {
    let bench = Bench::new();
    let stories = ["one", "two", "three", "four", "five"]
        .map(|name| story(&format!("US-{name}"), &[]).steps(&format!("edit {name}.txt")));
    assert_eq!(run_as_train(&bench, &stories, "true"), 2);
    let log = bench.git(&["log", "--first-parent", "--format=%h", "main..feature/PRD-001"]);
    assert_eq!(log.lines().count(), 5);
}

#[test]
fn the_faulty_one_is_found_and_tried_again_and_the_others_land() {
    let bench = Bench::new();
    let steps = [
        "edit a.txt",
        "edit b.txt",
        "remove red.txt; first 1 edit red.txt; edit c.txt",
        "edit d.txt",
        "edit e.txt",
    ];
    let stories: Vec<_> =
        steps.iter().zip(1..).map(|(steps, n)| story(&format!("US-{n}"), &[]).steps(steps)).collect();
    run_as_train(&bench, &stories, "test ! -e red.txt");
    for n in 1..=5 {
        let attempts = bench.json(&["task", "show", &format!("PRD-001/US-{n}")])["attempts"].clone();
        assert_eq!(attempts, if n == 3 { 2 } else { 1 }, "US-{n}");
    }
}

#[test]
fn a_flaky_check_blames_nobody_and_is_told() {
    let bench = Bench::new();
    let flaked = bench.root().join("flaked");
    let check = format!("test -e {0} || {{ touch {0}; exit 1; }}", flaked.display());
    let stories = [story("US-1", &[]).steps("edit a.txt")];
    assert_eq!(run_as_train(&bench, &stories, &check), 2);
    let told = bench.run(&["merge", "list", "--json"]).value();
    assert_eq!(told["landed"][0]["flakes"], 1, "{told}");
}

#[test]
fn work_waits_for_a_review_and_a_rejection_is_what_the_next_attempt_is_told() {
    let bench = Bench::new();
    bench.configure("[land]\nreview = true\n");
    let stories = [story("US-1", &[])];
    let prd = bench.prd(&stories);
    let prompts = bench.root().join("prompts");
    let (prd, agent) =
        (prd.to_str().expect("a path"), format!("cat >> {}; date +%N > a.txt", prompts.display()));
    let run = ["run", prd, "--command", &agent];
    bench.expect(3, &run);
    let shown = bench.json(&["diff", "PRD-001/US-1"]);
    assert!(shown["diff"].as_str().is_some_and(|diff| diff.contains("a.txt")), "{shown}");
    bench.expect(2, &["review", "PRD-001/US-1"]);
    bench.expect(5, &["retry", "PRD-001/US-1"]);
    bench.expect(5, &["merge", "retry", "PRD-001/US-1"]);
    bench.expect(0, &["review", "PRD-001/US-1", "--reject", "the file has no heading"]);
    bench.expect(3, &run);
    let prompts = fs::read_to_string(prompts).expect("two prompts");
    assert!(prompts.contains("the file has no heading"), "{prompts}");
    bench.expect(0, &["review", "PRD-001/US-1", "--approve"]);
    bench.expect(0, &run);
    bench.assert_landed_in_order(BRANCH, &stories);
    let merge = bench.json(&["merge", "show", "PRD-001/US-1"]);
    assert_eq!((&merge["state"], &merge["candidate"]["number"]), (&"landed".into(), &2.into()), "{merge}");
}

#[test]
fn work_that_will_meet_is_told_before_it_lands() {
    let bench = Bench::new();
    let stories = [
        story("US-1", &[]).steps("edit shared.txt one; mark ready; gate go"),
        story("US-2", &[]).steps("edit shared.txt two; mark ready; gate go"),
        story("US-3", &[]).steps("edit apart.txt; mark ready; gate go"),
    ];
    let prd = bench.prd(&stories);
    let agent = bench.agent("");
    let engine = bench.spawn(&["run", prd.to_str().expect("a path"), "--command", &agent]);
    let are_ready = || bench.record().iter().filter(|record| record.what == "ready").count() == 3;
    wait_for("all three", || are_ready().then_some(()));
    let meetings = bench.json(&["conflicts"]);
    assert_eq!(meetings.as_array().map(Vec::len), Some(1), "{meetings}");
    let names = (&meetings[0]["one"], &meetings[0]["other"]);
    assert_eq!(names, (&"PRD-001/US-1".into(), &"PRD-001/US-2".into()));
    assert_eq!((&meetings[0]["how"], &meetings[0]["files"][0]), (&"conflict".into(), &"shared.txt".into()));
    bench.open_gate("go");
    engine.wait().expect(0);
    bench.assert_landed_in_order(BRANCH, &stories);
    assert_eq!(bench.json(&["conflicts"]), serde_json::json!([]));
}

#[test]
fn after_a_conflict_the_next_attempt_is_told_both_sides_and_what_the_other_story_wanted() {
    let bench = Bench::new();
    let stories = [story("US-1", &[]), story("US-2", &[])];
    let prd = bench.prd(&stories);
    let prompts = bench.root().join("prompts");
    // Both edit the same line; the second attempt of whoever came later leaves it as it found it.
    let agent = format!(
        "cat >> {}; if [ $ROPEWALK_ATTEMPT = 1 ]; then echo $ROPEWALK_STORY > shared.txt; else touch own.txt; fi",
        prompts.display()
    );
    bench.expect(0, &["run", prd.to_str().expect("a path"), "--workers", "2", "--command", &agent]);
    let told = fs::read_to_string(prompts).expect("three prompts");
    for wanted in ["<<<<<<<", ">>>>>>>", "what landed there before: Story US-"] {
        assert!(told.contains(wanted), "{wanted} is missing in {told}");
    }
}
