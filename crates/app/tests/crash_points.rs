//! A crash before and after every commit of a run and of a landing, then the same command again: all ends well.
//! Only with the feature `failpoints`, which teaches the store to end the process at a commit.

mod support;

use std::path::Path;

use support::{Bench, Ran, Story, story};

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

/// Runs the command so that it crashes at its n-th point, if it has so many.
fn run_to_point(bench: &Bench, args: &[&str], point: u32) -> Ran {
    let mut command = bench.command(args);
    command.env("ROPEWALK_CRASH_AT", point.to_string());
    bench.start(command, format!("{} (crash at {point})", args.join(" "))).wait()
}

#[test]
fn a_crash_at_any_commit_of_a_run_or_a_landing_costs_nothing() {
    let stories = stories();
    let mut points = [0; 2];
    for point in 1.. {
        let bench = Bench::new();
        let prd = bench.prd(&stories);
        let agent = bench.agent("");
        let run = ["run", text(&prd), "--command", &agent, "--check", "test ! -e red.txt"];
        let land = ["prd", "land", "PRD-001"];
        let ran = run_to_point(&bench, &run, point);
        if crashed(&ran) {
            points[0] = point;
            bench.expect(0, &run);
        } else {
            ran.expect(0);
        }
        bench.assert_landed_in_order(BRANCH, &stories);
        let landed = run_to_point(&bench, &land, point);
        if crashed(&landed) {
            points[1] = point;
            bench.expect(0, &land);
        } else {
            landed.expect(0);
        }
        bench.assert_clean(&["main", BRANCH]);
        assert_eq!(bench.git(&["status", "--porcelain"]), "");
        let merges = bench.git(&["rev-list", "--count", "--first-parent", "main"]);
        assert_eq!(merges, "2\n", "the branch landed once");
        assert_eq!(bench.git(&["rev-parse", "main^2"]), bench.git(&["rev-parse", BRANCH]));
        if points[0] < point && points[1] < point {
            break;
        }
    }
    assert!(points[0] >= 20 && points[1] >= 4, "the points were not reached: {points:?}");
}
