//! What an agent is given, and what becomes of what it leaves.

use std::fs;
use std::path::Path;

use crate::support::{Bench, story};

const BRANCH: &str = "feature/PRD-001";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn an_agent_gets_its_own_variables_those_of_the_profile_and_no_others() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    let script = "env >env.txt; cat >prompt.txt; cmp prompt.txt \"$ROPEWALK_PROMPT\"; pwd >folder.txt";
    let args = ["run", text(&prd), "--command", script, "--env", "HANDED", "--env", "SET=to this = that"];
    let mut command = bench.command(&args);
    command.env("HANDED", "on").env("SECRET_TOKEN", "hunter2");
    bench.start(command, args.join(" ")).wait().expect(0);
    let show = |name: &str| bench.git(&["show", &format!("{BRANCH}:{name}")]);
    let env = show("env.txt");
    let value = |name: &str| {
        let prefix = format!("{name}=");
        let line = env.lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} is missing: {env}"))
    };
    assert_eq!((value("HANDED"), value("SET")), ("on".into(), "to this = that".into()));
    assert_eq!((value("ROPEWALK_TASK"), value("ROPEWALK_ATTEMPT")), ("1".into(), "1".into()));
    assert_eq!((value("ROPEWALK_STORY"), value("ROPEWALK_PRD")), ("US-001".into(), "PRD-001".into()));
    assert_eq!(value("ROPEWALK_BASE"), bench.git(&["rev-parse", "main"]).trim());
    assert_eq!(value("ROPEWALK_WORKTREE"), show("folder.txt").trim());
    assert!(!env.contains("hunter2") && !env.contains("ROPEWALK_HOME"), "{env}");
    let prompt = show("prompt.txt");
    assert!(
        prompt.contains("US-001") && prompt.contains("Do it.") && prompt.contains("It is done"),
        "{prompt}"
    );
}

#[test]
fn what_it_leaves_uncommitted_is_committed_with_the_task_and_the_attempt_and_what_it_committed_stays() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]).steps("edit one.txt; commit my own words; edit two.txt")]);
    bench.expect(0, &["run", text(&prd), "--command", &bench.agent("")]);
    let format = "--format=%s|%(trailers:key=Ropewalk-Task,valueonly,separator=%x2C)|\
        %(trailers:key=Ropewalk-Attempt,valueonly,separator=%x2C)";
    let log = bench.git(&["log", "--topo-order", format, &format!("main..{BRANCH}")]);
    let lines: Vec<_> = log.lines().collect();
    let wanted = ["US-001: Story US-001|1|1", "Attempt 1 of US-001: Story US-001|1|1", "my own words||"];
    assert_eq!(lines, wanted);
    let author = bench.git(&["log", "-1", "--format=%an <%ae>", BRANCH]);
    assert_eq!(author, "Bench <bench@ropewalk.invalid>\n");
}

#[test]
fn the_next_attempt_hears_of_the_conflict_the_red_check_and_the_failure_before_it() {
    let bench = Bench::new();
    let stories = [story("US-001", &[]), story("US-002", &["US-001"])];
    let prd = bench.prd(&stories);
    // Keeps each prompt; the first attempt of US-001 fails, that of US-002 leaves what the check refuses.
    let script = format!(
        "cat >{0}/$ROPEWALK_STORY.$ROPEWALK_ATTEMPT.md; case $ROPEWALK_STORY.$ROPEWALK_ATTEMPT in \
         US-001.1) echo I lost the thread >&2; exit 3;; US-002.1) echo red >red.txt;; *) rm -f red.txt;; esac; \
         echo done >$ROPEWALK_STORY.txt",
        bench.agent_folder().display()
    );
    let check = "! test -e red.txt || { echo it is all red; false; }";
    bench.expect(0, &["run", text(&prd), "--command", &script, "--check", check]);
    let prompt = |name: &str| fs::read_to_string(bench.agent_folder().join(name)).expect(name);
    let failed = prompt("US-001.2.md");
    assert!(failed.contains("attempt 2") && failed.contains("exit status 3"), "{failed}");
    assert!(failed.contains("I lost the thread"), "{failed}");
    let red = prompt("US-002.2.md");
    assert!(red.contains("it is all red") && red.contains("the check failed"), "{red}");
    bench.assert_landed_in_order(BRANCH, &stories);
}

#[test]
fn an_attempt_that_changes_nothing_has_failed_unless_the_project_says_otherwise() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    let ran = bench.expect(3, &["run", text(&prd), "--command", "true", "--attempts", "1"]);
    ran.says(&["waits for you: PRD-001/US-001"]);
    bench.write("ropewalk.toml", "[attempt]\nrequire_change = false\n");
    bench.expect(0, &["retry", "PRD-001/US-001"]);
    bench.expect(0, &["run", text(&prd), "--command", "true"]);
}

#[test]
fn hostile_file_names_and_large_and_binary_files_land_as_they_are() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[])]);
    let script = "mkdir -p -- '-rf' 'a b'; printf '\\0\\1\\377' >'-rf/bin'; echo x >'a b/new\nline'; \
        ln -s /etc/passwd link; chmod +x '-rf/bin'; head -c 3000000 /dev/zero >large";
    bench.expect(0, &["run", text(&prd), "--command", script]);
    bench.expect(0, &["prd", "land", "PRD-001"]);
    assert_eq!(fs::read(bench.repo.join("-rf/bin")).expect("binary"), [0, 1, 255]);
    assert_eq!(fs::read(bench.repo.join("a b/new\nline")).expect("a line's end in its name"), b"x\n");
    assert_eq!(fs::read(bench.repo.join("large")).map(|bytes| bytes.len()).ok(), Some(3_000_000));
    assert_eq!(fs::read_link(bench.repo.join("link")).expect("a link"), Path::new("/etc/passwd"));
    assert_eq!(bench.git(&["status", "--porcelain"]), "");
    bench.assert_clean(&["main", BRANCH]);
}

#[test]
fn an_agent_that_deletes_its_worktree_or_its_administration_harms_nobody_else() {
    let bench = Bench::new();
    let prd = bench.prd(&[story("US-001", &[]), story("US-002", &[]), story("US-003", &[])]);
    let script = "case $ROPEWALK_STORY.$ROPEWALK_ATTEMPT in US-001.1) rm -rf \"$ROPEWALK_WORKTREE\"; exit;; \
        US-002.1) rm -f .git; exit;; esac; echo done >$ROPEWALK_STORY.txt";
    bench.expect(0, &["run", text(&prd), "--command", script]);
    assert_eq!(bench.landed_on(BRANCH).len(), 3);
    assert!(bench.repo.join("README.md").exists());
    bench.assert_clean(&["main", BRANCH]);
}
