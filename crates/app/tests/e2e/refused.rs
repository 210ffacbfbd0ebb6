//! What must not go in: named with file, place and rule, exit code 2, nothing stored and nothing run.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::{Bench, Ran, story};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Nothing was stored and nothing was run.
fn assert_untouched(bench: &Bench) {
    assert!(bench.record().is_empty(), "an agent ran");
    let database = bench.home.join("ropewalk.db");
    if database.exists() {
        let listed = bench.json(&["prd", "list", "--all"]);
        assert_eq!(listed.as_array().map(Vec::len), Some(0), "{listed}");
        let tasks = bench.json(&["task", "list"]);
        assert_eq!(tasks.as_array().map(Vec::len), Some(0), "{tasks}");
    }
    let branches = bench.git(&["for-each-ref", "--format=%(refname)"]);
    assert_eq!(branches, "refs/heads/main\n");
}

/// Runs and imports a document: both refuse it and say each of these words.
fn refused(bench: &Bench, bytes: &[u8], words: &[&str]) -> Ran {
    let path = bench.root().join("bad.json");
    fs::write(&path, bytes).expect("a file");
    refused_file(bench, &path, words)
}

fn refused_file(bench: &Bench, path: &Path, words: &[&str]) -> Ran {
    let agent = bench.agent("");
    for args in [
        &["prd", "import", text(path)][..],
        &["prd", "import", text(path), "--approve"],
        &["run", text(path), "--command", &agent],
    ] {
        bench.expect(2, args).says(words);
    }
    assert!(!bench.home.join("ropewalk.db").exists(), "something was stored");
    bench.expect(2, &["run", text(path), "--command", &agent, "--json"])
}

#[test]
fn documents_with_a_fault_are_refused_with_file_place_and_rule() {
    let bench = Bench::new();
    let list = |stories: &str| format!("{{\"userStories\": [\n{stories}\n]}}").into_bytes();
    let id = |id: &str| list(&format!("{{\"id\": {id}}}"));
    let long = format!("\"{}\"", "x".repeat(5_000));
    let table: Vec<(Vec<u8>, &[&str])> = vec![
        (b"".to_vec(), &["bad.json", "empty"]),
        (b"{\"userStories\": [\n {\"id\": \"a\"".to_vec(), &["bad.json:2", "truncated"]),
        (b"{\"userStories\":\n [1,]}".to_vec(), &["bad.json:2:5", "malformed-json"]),
        (b"{\"userStories\": \n[{\"id\": \"a\", \"x\": \"\xff\"}]}".to_vec(), &["bad.json:2", "not-utf8"]),
        (b"{\"stories\": [],\n \"stories\": []}".to_vec(), &["bad.json:1", "duplicate-key", "stories"]),
        (b"{\"a\": 1}".to_vec(), &["bad.json:1", "no-story-list"]),
        (list("{\"id\": \"a\"},\n{\"id\": \"a\"}"), &["bad.json:3", "duplicate-id", "userStories[1]"]),
        (
            list("{\"id\": \"Ab\"},\n{\"id\": \"aB\"}"),
            &["bad.json:3", "ids-differ-by-case", "userStories[1]"],
        ),
        (
            list("{\"id\": \"US-001\"},\n{\"id\": \"b\", \"dependsOn\": [\"US-01\"]}"),
            &["bad.json:3", "unknown-dependency", "US-001"],
        ),
        (list("{\"id\": \"a\", \"dependsOn\": [\"a\"]}"), &["bad.json:2", "self-dependency"]),
        (
            list("{\"id\": \"a\", \"dependsOn\": [\"b\"]},\n{\"id\": \"b\", \"dependsOn\": [\"a\"]}"),
            &["bad.json", "cycle", "a", "b"],
        ),
        (list("{\"id\": \"a\", \"title\": 3}"), &["bad.json:2", "wrong-type", "userStories[0].title"]),
        (list("{\"id\": \"a\", \"priority\": 1e9}"), &["bad.json:2", "number-out-of-range"]),
        (list("{\"id\": \"a\", \"priority\": 1e999}"), &["bad.json:2", "number-out-of-range"]),
        (id("\"\""), &["bad.json:2", "bad-id", "userStories[0].id"]),
        (id("\" a\""), &["bad.json:2", "bad-id"]),
        (id("\"../x\""), &["bad.json:2", "bad-id"]),
        (id("\"a\\u0000b\""), &["bad.json:2", "bad-id"]),
        (id("\"a\\nb\""), &["bad.json:2", "bad-id"]),
        (id("\"-rf\""), &["bad.json:2", "bad-id"]),
        (id("\"refs/heads/x\""), &["bad.json:2", "bad-id"]),
        (id(&long), &["bad.json:2", "bad-id"]),
        (b"{\"stories\": [],\n\"branchName\": \"main\"}".to_vec(), &["bad.json:2", "protected-branch"]),
        (b"{\"stories\": [],\n\"branchName\": \"-x\"}".to_vec(), &["bad.json:2", "bad-branch"]),
        (
            [b"{\"stories\": [], \"x\": ".as_slice(), &b"[".repeat(1_000_000), &b"]".repeat(1_000_000), b"}"]
                .concat(),
            &["bad.json:1", "deep"],
        ),
    ];
    for (bytes, words) in table {
        let ran = refused(&bench, &bytes, words);
        let faults = &ran.value()["error"]["faults"];
        assert!(faults.as_array().is_some_and(|faults| !faults.is_empty()), "{ran}");
    }
    assert_untouched(&bench);
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let bench = Bench::new();
    let bytes = b"{\"branchName\": \"main\", \"userStories\": [\n\
        {\"id\": \"-rf\"},\n\
        {\"id\": \"a\", \"title\": 7, \"dependsOn\": [\"nobody\"]},\n\
        {\"id\": \"A\"}\n]}";
    let words = ["protected-branch", "bad-id", "wrong-type", "unknown-dependency", "ids-differ-by-case"];
    let ran = refused(&bench, bytes, &words);
    let faults = ran.value()["error"]["faults"].as_array().map(Vec::len);
    assert_eq!(faults, Some(5), "{ran}");
    for line in 1..=4 {
        assert!(ran.stderr.contains(&format!("bad.json:{line}:")), "line {line}: {ran}");
    }
    assert_untouched(&bench);
}

#[test]
fn a_gigabyte_in_one_string_is_refused() {
    let bench = Bench::new();
    let path = bench.root().join("large.json");
    let mut file = File::create(&path).expect("a file");
    file.write_all(b"{\"stories\": [], \"x\": \"").expect("its beginning");
    file.set_len(1 << 30).expect("a sparse file");
    for args in [&["prd", "import", text(&path)][..], &["run", text(&path), "--command", "true"]] {
        bench.expect(2, args).says(&["large.json", "MiB"]);
    }
    assert_untouched(&bench);
}

#[test]
fn what_is_no_file_is_refused() {
    let bench = Bench::new();
    let folder = bench.root().join("agent");
    bench.expect(2, &["run", text(&folder), "--command", "true"]).says(&["folder"]);
    bench.expect(4, &["run", "absent.json", "--command", "true"]).says(&["absent.json"]);
    assert_untouched(&bench);
}

/// A repository in a state that nothing can be started from.
type Broken = (&'static str, fn(&Bench) -> PathBuf, &'static str);

const BROKEN: [Broken; 7] = [
    ("no repository", |bench| bench.agent_folder(), "not in a git repository"),
    ("bare", bare, "bare"),
    ("unborn", unborn, "no commit"),
    ("detached", detached, "no branch checked out"),
    ("in the middle of a rebase", rebasing, "rebase"),
    ("in the middle of a merge", merging, "merge"),
    ("in the middle of a cherry-pick", picking, "cherry-pick"),
];

fn bare(bench: &Bench) -> PathBuf {
    bench.git(&["clone", "-q", "--bare", ".", "../bare"]);
    bench.root().join("bare")
}

fn unborn(bench: &Bench) -> PathBuf {
    bench.git(&["init", "-q", "-b", "main", "../unborn"]);
    bench.root().join("unborn")
}

fn detached(bench: &Bench) -> PathBuf {
    bench.git(&["checkout", "-q", "--detach"]);
    bench.repo.clone()
}

/// A branch `other` that conflicts with `main`.
fn fork(bench: &Bench) {
    bench.git(&["checkout", "-qb", "other"]);
    bench.write("shared.txt", "theirs\n");
    bench.git(&["commit", "-qam", "theirs"]);
    bench.git(&["checkout", "-q", "main"]);
    bench.write("shared.txt", "ours\n");
    bench.git(&["commit", "-qam", "ours"]);
}

fn rebasing(bench: &Bench) -> PathBuf {
    fork(bench);
    assert!(!bench.git_may_fail(&["rebase", "-q", "other"]), "the rebase conflicts");
    bench.repo.clone()
}

fn merging(bench: &Bench) -> PathBuf {
    fork(bench);
    assert!(!bench.git_may_fail(&["merge", "-q", "other"]), "the merge conflicts");
    bench.repo.clone()
}

fn picking(bench: &Bench) -> PathBuf {
    fork(bench);
    assert!(!bench.git_may_fail(&["cherry-pick", "other"]), "the pick conflicts");
    bench.repo.clone()
}

#[test]
fn a_repository_that_cannot_be_worked_on_is_named_before_anything_changes() {
    for (name, make, words) in BROKEN {
        let bench = Bench::new();
        let prd = bench.prd(&[story("US-001", &[])]);
        let agent = bench.agent("");
        let folder = make(&bench);
        let refs = bench.git(&["for-each-ref"]);
        for args in [
            &["run", text(&prd), "--command", &agent][..],
            &["prd", "import", text(&prd)],
            &["init"],
            &["task", "add", "x", "--command", &agent],
        ] {
            let mut command = bench.command(args);
            command.current_dir(&folder);
            let ran = bench.start(command, format!("{} ({name})", args.join(" "))).wait().expect(2);
            ran.says(&[words, text(&folder)]);
        }
        assert!(!bench.home.join("ropewalk.db").exists(), "{name}: something was stored");
        assert!(!folder.join("ropewalk.toml").exists(), "{name}");
        assert_eq!(bench.git(&["for-each-ref"]), refs, "{name}");
        assert!(bench.record().is_empty(), "{name}");
    }
}

#[test]
fn an_agent_that_cannot_be_started_is_named_before_anything_is_stored() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    bench.write("plain.sh", "#!/bin/sh\n");
    fs::set_permissions(bench.repo.join("plain.sh"), Permissions::from_mode(0o644)).expect("its mode");
    fs::create_dir(bench.repo.join("folder")).expect("a folder");
    for (command, word) in [
        ("./absent.sh --fast", "no program"),
        ("no-such-program-anywhere", "no program"),
        ("/no/such/agent", "no program"),
        ("./plain.sh", "may not be executed"),
        ("./folder", "is a folder"),
    ] {
        let name = command.split(' ').next().expect("a word").trim_start_matches("./");
        bench.expect(2, &["run", text(&prd), "--command", command]).says(&[name, word]);
        bench.expect(2, &["task", "add", "x", "--no-worktree", "--command", command]).says(&[name, word]);
    }
    bench.expect(2, &["run", text(&prd)]).says(&["no agent is set", "--command"]);
    assert!(!bench.home.join("ropewalk.db").exists(), "something was stored");
    assert_untouched(&bench);
}

#[test]
fn an_agent_that_disappears_is_a_set_up_fault_named_and_not_retried() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]), story("US-002", &["US-001"])]);
    let agent = bench.root().join("agent.sh");
    fs::write(&agent, "#!/bin/sh\necho done >$ROPEWALK_STORY.txt\nrm -- \"$0\"\n").expect("a script");
    fs::set_permissions(&agent, Permissions::from_mode(0o755)).expect("its mode");
    let ran = bench.expect(3, &["run", text(&prd), "--command", text(&agent)]);
    ran.says(&["waits for you: PRD-001/US-002", text(&agent)]);
    assert_eq!(bench.json(&["task", "show", "2"])["attempts"], 1, "{ran}");
}

#[test]
fn settings_and_options_out_of_range_are_refused() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    let run = ["run", text(&prd), "--command", "true"];
    for (flag, value) in [
        ("--timeout", "0"),
        ("--timeout", "0s"),
        ("--timeout", "3h"),
        ("--timeout", "-5s"),
        ("--timeout", "soon"),
        ("--timeout", "99999999999999999999h"),
        ("--workers", "0"),
        ("--workers", "501"),
        ("--workers", "many"),
        ("--attempts", "0"),
        ("--attempts", "101"),
        ("--env", "=x"),
        ("--env", "A B=x"),
        ("--base", "-x"),
        ("--base", "a..b"),
        ("--id", "../x"),
        ("--id", ""),
        ("--check", ""),
    ] {
        let given = format!("{flag}={value}");
        let args: Vec<_> = run.into_iter().chain([given.as_str()]).collect();
        bench.expect(2, &args);
    }
    for args in [
        &["--priority", "soon"][..],
        &["--count", "0"],
        &["--count", "100001"],
        &["--timeout", "3h"],
        &["--dir", "/no/such/folder"],
    ] {
        let all: Vec<_> =
            ["task", "add", "x", "--no-worktree", "--command", "true"].iter().chain(args).copied().collect();
        bench.expect(2, &all);
    }
    bench.expect(4, &["task", "add", "x", "--no-worktree", "--command", "true", "--after", "99"]);
    assert_untouched(&bench);
}
