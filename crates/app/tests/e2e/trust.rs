//! What a repository's own file asks to be run is run only once the user has said so, for exactly those bytes.

use std::fs;

use serde_json::json;

use crate::support::{Bench, story};

const BRANCH: &str = "feature/PRD-001";

/// A file that leaves a mark whatever of it is run.
fn hostile(bench: &Bench) -> String {
    let mark = bench.root().join("ran");
    let touch = |what: &str| json!(format!("echo {what} >>{}", mark.display()));
    format!(
        "[agent.shell]\ncommand = {}\n[check]\ncommands = [{}]\n[worktree]\nsetup = [{}]\nteardown = [{}]\n",
        touch("agent"),
        touch("check"),
        touch("setup"),
        touch("teardown")
    )
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn nothing_of_an_untrusted_file_is_run_or_stored_and_looking_is_free() {
    let bench = Bench::new();
    bench.write("ropewalk.toml", &hostile(&bench));
    let prd = bench.prd(&[story("US-001", &[])]);
    let agent = bench.agent("");
    for args in [
        &["run", text(&prd)][..],
        &["run", text(&prd), "--command", &agent, "--check", "true"],
        &["run", text(&prd), "--detach"],
        &["run"],
        &["task", "add", "a task", "--command", &agent],
        &["task", "add", "a task", "--no-worktree", "--command", "true"],
        &["prd", "import", text(&prd)],
        &["trust"],
    ] {
        let refused = bench.expect(2, args);
        refused.says(&["you have not trusted it", "check.commands = ", "ropewalk trust --yes"]);
    }
    let refused = bench.run(&["run", text(&prd), "--json"]).expect(2).value();
    assert_eq!(refused["error"]["code"], "untrusted", "{refused}");
    assert_eq!(bench.json(&["trust", "--show"])["trusted"], false);
    bench.expect(0, &["config", "show"]).says(&["check.commands"]);
    bench.expect(0, &["status"]);
    assert_eq!(bench.json(&["prd", "list"]), json!([]), "nothing was stored");
    assert_eq!(bench.json(&["task", "list"]), json!([]), "nothing was stored");
    assert!(!bench.root().join("ran").exists(), "something of it was run");
}

#[test]
fn trust_is_for_exactly_these_bytes_and_can_be_taken_back() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    let settings = |check: &str| {
        format!(
            "[agent.shell]\ncommand = {}\n[check]\ncommands = [{}]\n",
            json!(bench.agent("")),
            json!(check)
        )
    };
    bench.configure(&settings("true"));
    assert_eq!(bench.json(&["trust", "--show"])["trusted"], true);
    bench.expect(0, &["run", text(&prd)]);
    assert_eq!(bench.landed_on(BRANCH).len(), 1);

    bench.write("ropewalk.toml", &settings("echo changed"));
    let refused = bench.expect(2, &["run", text(&prd)]);
    refused.says(&["has changed since you trusted it"]);
    refused.says(&["- check.commands = [\"true\"]", "+ check.commands = [\"echo changed\"]"]);
    assert!(!refused.stderr.contains("+ agent.shell.command"), "what is as before is not new: {refused}");
    // One byte is enough, and back again is as trusted as before.
    bench.write("ropewalk.toml", &(settings("true") + "#\n"));
    bench.expect(2, &["run", text(&prd)]);
    bench.write("ropewalk.toml", &settings("true"));
    bench.expect(0, &["run", text(&prd)]);

    bench.expect(0, &["trust", "--revoke"]);
    bench.expect(2, &["run", text(&prd)]).says(&["you have not trusted it"]);
    // Trust is kept on the user's side: another user's, or another state folder's, is none of ours.
    bench.trust();
    let mut elsewhere = bench.command(&["run", text(&prd)]);
    elsewhere.env("ROPEWALK_HOME", bench.root().join("other"));
    bench.start(elsewhere, "run elsewhere".into()).wait().expect(2);
    assert!(!bench.git(&["status", "--porcelain", "--ignored"]).contains("trust"));
}

#[test]
fn a_revoked_file_is_not_used_by_a_run_from_elsewhere() {
    let bench = Bench::new();
    bench.configure(&hostile(&bench));
    bench.expect(0, &["task", "add", "a task"]);
    bench.expect(0, &["trust", "--revoke"]);
    let mut elsewhere = bench.command(&["run"]);
    elsewhere.current_dir(bench.root());
    let ran = bench.start(elsewhere, "run from elsewhere".into()).wait().expect(3);
    ran.says(&["no agent is set"]);
    assert!(!bench.root().join("ran").exists(), "something of it was run");
}

#[test]
fn what_init_writes_is_trusted_and_files_that_run_nothing_need_no_trust() {
    let bench = Bench::new();
    bench.expect(0, &["init"]);
    let prd = bench.prd(&[story("US-001", &[])]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    bench.write("ropewalk.toml", "workers = 2\n[attempt]\ntimeout = \"1m\"\n");
    assert_eq!(bench.json(&["trust", "--show"])["needed"], false);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    fs::remove_file(bench.repo.join("ropewalk.toml")).expect("it is there");
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    bench.expect(0, &["trust"]).says(&["nothing needs trust"]);
}

#[test]
fn a_link_out_of_the_repository_and_an_attempt_that_trusts_are_refused() {
    let bench = Bench::new();
    let outside = bench.root().join("outside.toml");
    fs::write(&outside, "[check]\ncommands = [\"true\"]\n").expect("a file");
    std::os::unix::fs::symlink(&outside, bench.repo.join("ropewalk.toml")).expect("a link");
    bench.expect(2, &["trust", "--yes"]).says(&["outside of the repository"]);
    bench.expect(2, &["task", "add", "x", "--command", "true"]).says(&["outside of the repository"]);
    fs::remove_file(bench.repo.join("ropewalk.toml")).expect("it is there");
    bench.write("ropewalk.toml", "[check]\ncommands = [\"true\"]\n");
    let mut agent = bench.command(&["trust", "--yes"]);
    agent.env("ROPEWALK_ATTEMPT", "1");
    bench.start(agent, "trust as an agent".into()).wait().expect(2).says(&["an attempt cannot trust"]);
    assert_eq!(bench.json(&["trust", "--show"])["trusted"], false);
}

#[test]
fn what_runs_when_the_trust_is_taken_back_does_not_land_unchecked() {
    let bench = Bench::new();
    bench.configure("[check]\ncommands = [\"true\"]\n");
    let prd = bench.prd(&[crate::support::story("US-1", &[]).steps("edit a.txt; mark ready; gate go")]);
    let agent = bench.agent("");
    let engine = bench.spawn(&["run", prd.to_str().expect("a path"), "--command", &agent]);
    bench.wait_for_record("the agent", |record| record.what == "ready");
    bench.expect(0, &["trust", "--revoke"]);
    bench.open_gate("go");
    engine.wait().expect(3);
    assert_eq!(bench.landed_on("feature/PRD-001"), []);
    let why = bench.expect(0, &["why", "PRD-001/US-1"]).stdout;
    assert!(why.contains("not-trusted-any-more"), "{why}");
    bench.trust();
    bench.expect(0, &["task", "list"]);
}
