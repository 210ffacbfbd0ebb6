//! `ropewalk doctor`: it says what is there wherever it is asked, and touches nothing.

use crate::support::{Bench, story};

#[test]
fn the_doctor_works_outside_of_a_repository_and_changes_nothing() {
    let bench = Bench::bare_of_repository();
    let report = bench.json(&["doctor"]);
    assert_eq!(report["can_work"], true, "{report}");
    let findings = report["findings"].as_array().expect("findings");
    for topic in ["git", "containment", "pidfd", "disk", "file-system", "sqlite", "state", "engine"] {
        let found = findings.iter().find(|finding| finding["topic"] == topic);
        let found = found.unwrap_or_else(|| panic!("nothing is said of {topic}: {report}"));
        assert!(["ok", "weak", "missing"].contains(&found["grade"].as_str().expect("a grade")), "{found}");
        assert!(found["text"].as_str().is_some_and(|text| !text.is_empty()), "{found}");
    }
    let ran = bench.expect(0, &["doctor"]);
    for line in ["will be made when it is first needed", "none is running", "agents can run here"] {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
    assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    assert!(!bench.home.exists(), "it made the state folder");
}

#[test]
fn the_doctor_speaks_where_nothing_else_does() {
    let bench = Bench::bare_of_repository();
    let mut command = bench.command(&["doctor"]);
    command.env("ROPEWALK_HOME", "not/absolute").env("PATH", "/no/such/folder");
    let output = command.output().expect("it runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("there is no git program") && said.contains("ROPEWALK_HOME"), "{said}");
    assert!(said.contains("until this is mended: git, state"), "{said}");
}

#[test]
fn the_doctor_knows_whether_an_engine_runs() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("gate go; edit one.txt")]);
    let agent = bench.agent("");
    let running = bench.spawn(&["run", prd.to_str().expect("UTF-8"), "--command", &agent]);
    bench.wait_for_record("the start", |record| record.what == "start");
    bench.expect(0, &["doctor"]).says(&["one serves this state folder", "mode 0700"]);
    bench.open_gate("go");
    running.wait().expect(0);
}
