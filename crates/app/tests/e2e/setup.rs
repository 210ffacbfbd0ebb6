//! What a worktree gets before its agent and after it: copies of ignored files, commands, ports, a database, a cache.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::{Bench, story};

const BRANCH: &str = "feature/PRD-001";

const SECRET: &str = "hush-4711-0815";

/// An agent that does not wait for its set-up starts well within this: an engine takes some 200 ms to come up.
const BESIDE: std::time::Duration = std::time::Duration::from_secs(2);

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A bench whose checkout ignores some files, with these settings of its worktrees.
fn bench(worktree: &str) -> Bench {
    let bench = Bench::new();
    bench.write(".gitignore", ".env\n*.local\nropewalk.toml\n");
    bench.git(&["add", "-A"]);
    bench.git(&["commit", "-qm", "Ignore"]);
    bench.write(".env", &format!("KEY={SECRET}\n"));
    bench.write("config/a.local", SECRET);
    bench.configure(&format!("[worktree]\n{worktree}"));
    bench
}

/// A command that adds a line to a file beside the repository.
fn note(bench: &Bench, words: &str) -> String {
    format!("echo {words} >>{}", bench.root().join("notes").display())
}

fn notes(bench: &Bench) -> Vec<String> {
    let text = fs::read_to_string(bench.root().join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&entry.path())),
            Ok(_) => found.push(entry.path()),
            Err(_) => {}
        }
    }
    found
}

/// Neither in any object of the repository nor anywhere in the state folder.
fn assert_secret_is_nowhere(bench: &Bench) {
    let all = bench.git(&["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"]);
    for blob in all.lines().filter_map(|line| line.strip_prefix("blob ")) {
        assert!(!bench.git(&["cat-file", "blob", blob]).contains(SECRET), "it is in the blob {blob}");
    }
    for file in files_below(&bench.home) {
        let bytes = fs::read(&file).unwrap_or_default();
        let is_there = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!is_there, "it is in {}", file.display());
    }
}

#[test]
fn each_worktree_has_its_files_its_commands_and_its_own_ports_database_and_cache() {
    let bench = bench("");
    let facts = "$ROPEWALK_PORT $ROPEWALK_PORTS $ROPEWALK_DATABASE $ROPEWALK_CACHE";
    let setup =
        format!("test -f .env && echo made >made.local && {}", note(&bench, &format!("setup {facts}")));
    let teardown = note(&bench, "teardown $ROPEWALK_PORT $(cat made.local) $ROPEWALK_TASK");
    bench.configure(
        &format!(
            "include = [\".env\", \"config/*.local\", \"absent\"]\nsetup = [\"true\", {}]\nteardown = [{}]\n\
         ports = \"4000-4999\"\n",
            json!(setup),
            json!(teardown)
        )
        .replacen("include", "[worktree]\ninclude", 1),
    );
    let prd = bench.prd(&[
        story("US-001", &[]).steps("gate go; edit one.txt"),
        story("US-002", &[]).steps("gate go; edit two.txt"),
        story("US-003", &[]).steps("gate go; edit three.txt"),
    ]);
    let agent = format!(
        "grep -q ^KEY= .env && test \"$(stat -c %a .env config/a.local | tr '\\n' ' ')\" = '600 600 ' && \
         {} && touch $ROPEWALK_CACHE/kept && exec {}",
        note(&bench, &format!("agent {facts}")),
        bench.agent("")
    );
    let check = note(&bench, &format!("check {facts}"));
    let running = bench.spawn(&["run", text(&prd), "--command", &agent, "--check", &check]);
    for task in ["1", "2", "3"] {
        bench.wait_for_record("all at once", |record| record.task == task && record.what == "start");
    }
    bench.open_gate("go");
    running.wait().expect(0);
    let notes = notes(&bench);
    let of = |kind: &str| -> BTreeSet<String> {
        let lines = notes.iter().filter_map(|line| line.strip_prefix(kind));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    let wanted: BTreeSet<String> = (0..3)
        .map(|n| format!("40{n}0 10 ropewalk_1_{n} {}", bench.home.join(format!("caches/1.{n}")).display()))
        .collect();
    assert_eq!(of("setup"), wanted, "{notes:#?}");
    assert_eq!(of("agent"), wanted, "{notes:#?}");
    assert_eq!(of("teardown").len(), 3, "{notes:#?}");
    assert!(of("teardown").iter().all(|line| line.contains("made")), "{notes:#?}");
    assert!(!of("check").is_empty(), "{notes:#?}");
    assert!(
        of("check").iter().all(|line| line.ends_with(".check")),
        "agents do not share with checks: {notes:#?}"
    );
    assert!(bench.home.join("caches/1.0/kept").exists(), "a cache outlives its attempt");
    assert_eq!(fs::read_dir(bench.home.join("slots")).expect("slots").count(), 0, "all are free again");
    assert_eq!(bench.landed_on(BRANCH).len(), 3);
    let files = bench.git(&["ls-tree", "-r", "--name-only", BRANCH]);
    assert!(!files.contains("local") && !files.contains(".env"), "{files}");
    assert_secret_is_nowhere(&bench);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn an_included_file_is_never_stored_whatever_the_agent_does_to_it() {
    let bench = bench("include = [\".env\", \"config/a.local\"]\n");
    let prd = bench.prd(&[story("US-001", &[]), story("US-002", &[]), story("US-003", &[])]);
    // One makes git see it, and edits it; one fails with it so, and is rescued; one puts a link to the user's in its place.
    let script = format!(
        "echo '!.env' >.gitignore; cat config/a.local >>.env; echo done >$ROPEWALK_STORY.txt
        case $ROPEWALK_STORY.$ROPEWALK_ATTEMPT in
          US-002.1) exit 1;;
          US-003.*) rm .env; rm -r config; mkdir config; ln -s {} config/a.local;;
        esac",
        bench.repo.join("config/a.local").display()
    );
    bench.expect(0, &["run", text(&prd), "--command", &script]);
    assert_eq!(bench.landed_on(BRANCH).len(), 3);
    assert_secret_is_nowhere(&bench);
    assert_eq!(fs::read_to_string(bench.repo.join("config/a.local")).expect("the user's own"), SECRET);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_commit_that_holds_an_included_file_does_not_land() {
    let bench = bench("include = [\".env\"]\n");
    let prd = bench.prd(&[story("US-001", &[])]);
    let script = "echo done >done.txt; git add -f .env done.txt; git commit -qm all; \
        git rm -q --cached .env; git commit -qm oops";
    bench.expect(3, &["run", text(&prd), "--command", script, "--attempts", "1"]);
    bench.expect(0, &["why", "1"]).says(&["never stored", ".env"]);
    assert!(bench.landed_on(BRANCH).is_empty());
}

#[test]
fn an_included_name_that_git_does_not_ignore_parks_the_task_and_says_so() {
    let bench = bench("include = [\"plain.txt\"]\n");
    bench.write("plain.txt", "x");
    let prd = bench.prd(&[story("US-001", &[])]);
    bench.expect(3, &["run", text(&prd), "--command", &bench.agent("")]);
    bench.expect(0, &["why", "1"]).says(&["worktree.include names plain.txt, which git does not ignore"]);
    assert!(bench.record().is_empty());
}

#[test]
fn a_set_up_that_fails_or_hangs_ends_in_time_and_says_which_command() {
    let bench = bench("setup = [\"true\", \"echo no such package; exit 7\"]\n");
    let prd = bench.prd(&[story("US-001", &[])]);
    let run = ["run", text(&prd), "--command", &bench.agent("")];
    bench.expect(3, &run);
    bench
        .expect(0, &["why", "1"])
        .says(&["the set-up failed with exit status 7: echo no such package; exit 7"]);
    let task = bench.json(&["task", "show", "1"]);
    assert_eq!(task["attempts_made"][0]["outcome"], "not started", "{task}");
    let output = fs::read_to_string(bench.home.join("attempts/setup-1.1/stdout")).expect("what it printed");
    assert!(output.contains("no such package"), "{output}");

    let hang = format!("{} {} hang", crate::support::fake_agent().display(), bench.agent_folder().display());
    bench.configure(&format!("[worktree]\nsetup = [{}]\nsetup_timeout = \"300ms\"\n", json!(hang)));
    bench.expect(0, &["retry", "1"]);
    bench.expect(3, &run);
    bench.expect(0, &["why", "1"]).says(&["the set-up: its time ran out after 300 ms", "hang"]);
    assert!(bench.landed_on(BRANCH).is_empty());

    bench.configure("[worktree]\nsetup = [\"true\"]\n");
    bench.expect(0, &["retry", "1"]);
    bench.expect(0, &run);
    bench.assert_clean(&["main", BRANCH]);
}

/// A set-up that waits for a gate, once per attempt.
fn gated(bench: &Bench) {
    let gate = bench.agent("mark setup; gate go; mark through");
    bench.configure(&format!("[worktree]\nsetup = [{}, {}]\n", json!(gate), json!(note(bench, "setup"))));
}

#[test]
fn a_stop_or_a_cancel_in_the_middle_of_a_set_up_ends_it_and_the_same_command_goes_on() {
    let bench = bench("");
    gated(&bench);
    let prd =
        bench.prd(&[story("US-001", &[]).steps("edit one.txt"), story("US-002", &[]).steps("edit two.txt")]);
    let agent = bench.agent("");
    let run = ["run", text(&prd), "--command", &agent];
    let running = bench.spawn(&run);
    bench.wait_for_record("both set-ups", |record| record.what == "setup" && record.task == "1");
    bench.wait_for_record("both set-ups", |record| record.what == "setup" && record.task == "2");
    bench.expect(0, &["cancel", "2"]);
    running.interrupt();
    running.wait().expect(130);
    assert_eq!(bench.processes(), []);
    assert!(notes(&bench).is_empty(), "it was not cut short: {:?}", notes(&bench));
    let task = bench.json(&["task", "show", "2"]);
    assert_eq!(task["state"], "cancelled", "{task}");
    bench.open_gate("go");
    bench.expect(0, &run);
    assert_eq!(bench.landed_on(BRANCH).len(), 1);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_set_up_outlives_the_engine_and_the_next_one_goes_on_from_its_end() {
    for is_over_before_the_next in [false, true] {
        let bench = bench("include = [\".env\"]\n");
        gated(&bench);
        let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
        let agent = bench.agent("");
        let run = ["run", text(&prd), "--command", &agent];
        let running = bench.spawn(&run);
        bench.wait_for_record("the set-up", |record| record.what == "setup");
        running.kill();
        if is_over_before_the_next {
            bench.open_gate("go");
            crate::support::wait_for("the set-up's end", || {
                bench.home.join("attempts/setup-1.1/exit.json").exists().then_some(())
            });
        }
        let running = bench.spawn(&run);
        bench.open_gate("go");
        running.wait().expect(0);
        assert_eq!(notes(&bench), ["setup"], "it was run once");
        assert_eq!(bench.json(&["task", "show", "1"])["attempts_made"].as_array().map(Vec::len), Some(1));
        bench.assert_clean(&["main", BRANCH]);
    }
}

#[test]
fn a_set_up_that_still_runs_is_waited_for_whatever_the_settings_have_become() {
    let bench = bench("");
    gated(&bench);
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
    let agent = format!("{} && exec {}", note(&bench, "agent"), bench.agent(""));
    let run = ["run", text(&prd), "--command", &agent];
    let running = bench.spawn(&run);
    bench.wait_for_record("the set-up", |record| record.what == "setup");
    running.kill();
    bench.configure("[worktree]\nsetup = []\n");
    bench.expect(0, &["prd", "import", text(&prd)]);
    let running = bench.spawn(&run);
    let early = crate::support::wait_at_most(BESIDE, || notes(&bench).pop());
    bench.open_gate("go");
    running.wait().expect(0);
    assert!(early.is_none(), "the agent was started beside its set-up: {early:?}");
    assert_eq!(notes(&bench), ["setup", "agent"]);
    assert_eq!(bench.json(&["task", "show", "1"])["attempts_made"].as_array().map(Vec::len), Some(1));
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_set_up_that_takes_git_out_of_its_worktree_is_at_fault_and_what_it_made_stays() {
    let bench = bench("setup = [\"echo made >made.txt; rm .git\"]\n");
    let prd = bench.prd(&[story("US-001", &[])]);
    bench.expect(3, &["run", text(&prd), "--command", &bench.agent("")]);
    bench.expect(0, &["why", "1"]).says(&[".git in it was changed or removed"]);
    assert!(bench.record().is_empty(), "no agent was started in a worktree that had lost its set-up");
}

#[test]
fn a_set_up_that_is_killed_with_everything_is_run_again_in_another_attempt() {
    let bench = bench("");
    gated(&bench);
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
    let agent = bench.agent("");
    let run = ["run", text(&prd), "--command", &agent];
    let running = bench.spawn(&run);
    bench.wait_for_record("the set-up", |record| record.what == "setup");
    bench.kill_all();
    running.wait();
    bench.open_gate("go");
    bench.expect(0, &run);
    assert_eq!(notes(&bench), ["setup"]);
    let task = bench.json(&["task", "show", "1"]);
    assert_eq!(task["attempts_made"][0]["outcome"], "not started", "{task}");
    assert_eq!(bench.landed_on(BRANCH).len(), 1);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_teardown_that_fails_or_hangs_is_said_in_the_log_and_loses_nothing() {
    let bench = bench("");
    let hang = bench.agent("mark teardown; hang");
    bench.configure(&format!(
        "[worktree]\nteardown = [{}, \"test $ROPEWALK_STORY = US-001 && exit 9; exec {}\"]\nteardown_timeout = \"400ms\"\n",
        json!(note(&bench, "teardown $ROPEWALK_STORY")),
        hang.replace('"', "\\\"")
    ));
    let prd =
        bench.prd(&[story("US-001", &[]).steps("edit one.txt"), story("US-002", &[]).steps("edit two.txt")]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    let log = fs::read_to_string(bench.home.join("engine.log")).expect("the log");
    assert!(log.contains("the teardown of attempt 1.1: the teardown failed with exit status 9"), "{log}");
    assert!(log.contains("the teardown of attempt 2.1: its time ran out after 400 ms"), "{log}");
    assert_eq!(bench.landed_on(BRANCH).len(), 2);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_teardown_that_is_cut_off_with_the_engine_is_run_once_more_or_seen_to_its_end() {
    let bench = bench("");
    let gate = bench.agent("mark teardown; gate go");
    bench.configure(&format!(
        "[worktree]\nteardown = [{}, {}]\n",
        json!(gate),
        json!(note(&bench, "torn down"))
    ));
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
    let agent = bench.agent("");
    let run = ["run", text(&prd), "--command", &agent];
    let running = bench.spawn(&run);
    bench.wait_for_record("the teardown", |record| record.what == "teardown");
    running.kill();
    let running = bench.spawn(&run);
    bench.open_gate("go");
    running.wait().expect(0);
    assert_eq!(notes(&bench), ["torn down"]);
    assert_eq!(bench.landed_on(BRANCH).len(), 1);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn what_a_teardown_removes_was_kept_before_and_no_included_file_with_it() {
    let bench = bench("include = [\".env\"]\nteardown = [\"git clean -qfdx && git checkout -q .\"]\n");
    let prd = bench.prd(&[story("US-001", &[])]);
    let script = "echo work >only.local; echo new >new.txt; echo changed >README.md; exit 1";
    bench.expect(3, &["run", text(&prd), "--command", script, "--attempts", "1"]);
    let kept = "refs/ropewalk/rescue/1/1";
    assert_eq!(bench.git(&["show", &format!("{kept}:only.local")]), "work\n");
    assert_eq!(bench.git(&["show", &format!("{kept}:new.txt")]), "new\n");
    assert_eq!(bench.git(&["show", &format!("{kept}:README.md")]), "changed\n");
    assert_eq!(
        fs::read_to_string(bench.repo.join(".env")).expect("the user's own"),
        format!("KEY={SECRET}\n")
    );
    assert_secret_is_nowhere(&bench);
}

#[test]
fn an_engine_that_waits_for_a_teardown_tells_whoever_asks_that_it_has_ended() {
    let bench = bench("");
    bench.configure(&format!("[worktree]\nteardown = [{}]\n", json!(bench.agent("mark teardown; gate go"))));
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
    let running = bench.spawn(&["run", text(&prd), "--command", &bench.agent("")]);
    bench.wait_for_record("the teardown", |record| record.what == "teardown");
    crate::support::wait_for("the engine's end", || (bench.run(&["status"]).code != Some(0)).then_some(()));
    bench.open_gate("go");
    running.wait().expect(0);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn an_engine_that_leaves_its_attempts_leaves_its_teardowns_too_and_the_next_takes_them_up() {
    let bench = bench("");
    let gate = bench.agent("mark teardown; gate go");
    bench.configure(&format!(
        "[worktree]\nteardown = [{}, {}]\n",
        json!(gate),
        json!(note(&bench, "torn down"))
    ));
    let prd = bench.prd(&[
        story("US-001", &[]).steps("edit one.txt"),
        story("US-002", &[]).steps("mark works; gate go; edit two.txt"),
    ]);
    let run = ["run", text(&prd), "--command", &bench.agent("")];
    let running = bench.spawn(&run);
    bench.wait_for_record("the teardown", |record| record.what == "teardown");
    bench.wait_for_record("the other", |record| record.what == "works");
    bench.expect(0, &["stop", "--leave"]);
    running.wait();
    bench.configure("[worktree]\nteardown = []\n");
    bench.expect(0, &["prd", "import", text(&prd)]);
    assert!(notes(&bench).is_empty());
    let running = bench.spawn(&run);
    bench.open_gate("go");
    running.wait().expect(0);
    assert_eq!(notes(&bench), ["torn down"]);
    assert_eq!(bench.landed_on(BRANCH).len(), 2);
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn a_check_that_cannot_be_run_leaves_no_worktree_and_no_slot() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
    bench.expect(3, &["run", text(&prd), "--command", &bench.agent(""), "--check", "./absent-check"]);
    bench.expect(0, &["why", "1"]).says(&["absent-check"]);
    let names = fs::read_dir(bench.home.join("worktrees")).expect("worktrees").flatten();
    let left: Vec<_> = names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("check-"))
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(fs::read_dir(bench.home.join("slots")).expect("slots").count(), 0);
}

#[test]
fn a_set_up_of_before_the_machine_went_down_is_run_again_in_another_attempt() {
    let bench = bench("");
    gated(&bench);
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt")]);
    let agent = bench.agent("");
    let run = ["run", text(&prd), "--command", &agent];
    let running = bench.spawn(&run);
    bench.wait_for_record("the set-up", |record| record.what == "setup");
    running.kill();
    bench.open_gate("go");
    let record = bench.home.join("attempts/setup-1.1/exit.json");
    crate::support::wait_for("the set-up's end", || record.exists().then_some(()));
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("this boot");
    let exit = fs::read_to_string(&record).expect("its end");
    assert!(exit.contains(boot.trim()), "{exit}");
    fs::write(&record, exit.replace(boot.trim(), "another")).expect("another boot's");
    bench.expect(0, &run);
    assert_eq!(notes(&bench), ["setup", "setup"]);
    let task = bench.json(&["task", "show", "1"]);
    assert_eq!(task["attempts_made"][0]["outcome"], "not started", "{task}");
    bench.assert_clean(&["main", BRANCH]);
}
