//! Nothing that an agent made is ever lost: every habit, every ending, and everything had again by the very commands that
//! `rescue show` prints.

use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::on_a_small_disk;
use crate::support::{Bench, Running, wait_for};

/// What an agent does, with its token in place of `@`; the file that must be had again with the token in it.
const HABITS: [(&str, &str, &str); 12] = [
    ("dirty", "edit README.md @", "README.md"),
    ("staged", "edit s.txt @; git add s.txt", "s.txt"),
    ("staged and deleted", "edit g.txt @; git add g.txt; remove g.txt; edit ok-@.txt", "g.txt"),
    ("untracked", "edit new/u.txt @", "new/u.txt"),
    ("ignored", "edit x.ignored @; edit ok-@.txt", "x.ignored"),
    ("stash", "edit st.txt @; git stash -q -u; edit ok-@.txt", "st.txt"),
    (
        "detached commit",
        "git checkout -q --detach; edit d.txt @; commit d; git checkout -q -; edit ok-@.txt",
        "d.txt",
    ),
    (
        "unmerged",
        "git checkout -q -b side-@; edit m.txt @; commit m; git checkout -q -; edit m.txt other; commit other; \
         git merge -q side-@; git branch -q -D side-@",
        "m.txt",
    ),
    (
        "rebase in the middle",
        "edit r.txt first; commit r; edit later.txt @; commit later; git checkout -q -b onto-@ HEAD~2; \
         edit r.txt other; commit other; git checkout -q -; git rebase -q onto-@",
        "later.txt",
    ),
    ("branch deleted", "edit b.txt @; commit b; git update-ref -d HEAD", "b.txt"),
    ("worktree deleted", "edit w.txt @; commit w; wipe", "w.txt"),
    (
        GARBAGE,
        "edit c.txt @; commit c; mark waits; gate gc; git reflog expire --expire=now --all; git gc -q --prune=now",
        "c.txt",
    ),
];

/// The one that waits until nobody else is writing objects: to take those of others is not its point.
const GARBAGE: &str = "garbage collected";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Finish,
    Fail,
    Cancel,
    Timeout,
    /// Everything is killed, and another engine comes.
    Restart,
}

use Ending::{Cancel, Fail, Finish, Restart, Timeout};

struct Cell {
    habit: &'static str,
    ending: Ending,
    file: &'static str,
    token: String,
    task: u64,
}

impl Cell {
    fn add(bench: &Bench, number: usize, ending: Ending) -> Cell {
        let (habit, steps, file) = HABITS[number];
        let token = format!("{ending:?}-{number}").to_lowercase();
        let end = match ending {
            Finish => "",
            Fail => "; fail",
            Cancel | Timeout | Restart => "; hang",
        };
        let steps = format!("{}; mark ready{end}", steps.replace('@', &token));
        // Another attempt does nothing, and its task is parked.
        let steps: Vec<_> = steps.split(';').map(|step| format!("first 1 {}", step.trim())).collect();
        let agent = bench.agent(&steps.join("; "));
        let timeout = if ending == Timeout { "12s" } else { "10m" };
        let args = ["task", "add", &token, "--command", &agent, "--attempts", "1", "--timeout", timeout];
        let task = bench.json(&args)["tasks"][0].as_u64().expect("a number");
        Cell { habit, ending, file, token, task }
    }

    fn wait_for(&self, bench: &Bench, word: &str) {
        let task = self.task.to_string();
        bench.wait_for_record(&format!("{} of {}", word, self.token), |r| r.task == task && r.what == word);
    }
}

fn bench_of_tasks() -> Bench {
    let bench = Bench::new();
    bench.write(".gitignore", "*.ignored\n");
    bench.git(&["add", "-A"]);
    bench.git(&["commit", "-qm", "Ignore"]);
    bench
}

/// Runs the cells until nothing is left to do; those that are to see a restart, after all others have ended.
fn run(bench: &Bench, cells: &[Cell]) {
    let engine = spawn(bench);
    if cells.iter().any(|cell| cell.habit == GARBAGE) {
        cells.iter().for_each(|cell| cell.wait_for(bench, "waits"));
        bench.open_gate("gc");
    }
    cells.iter().for_each(|cell| cell.wait_for(bench, "ready"));
    let of = |ending| cells.iter().filter(move |cell| cell.ending == ending).map(|cell| cell.task);
    let cancelled: Vec<_> = of(Cancel).map(|task| task.to_string()).collect();
    bench.expect(0, &["cancel"].into_iter().chain(cancelled.iter().map(String::as_str)).collect::<Vec<_>>());
    let restarted: Vec<_> = of(Restart).collect();
    wait_for("the end of all others", || {
        let is_over = |(task, state): &(u64, String)| {
            restarted.contains(task) || ["done", "parked", "cancelled"].contains(&state.as_str())
        };
        bench.states().iter().all(is_over).then_some(())
    });
    bench.kill_all();
    drop(engine);
    spawn(bench).wait().expect(3);
}

fn spawn(bench: &Bench) -> Running {
    bench.spawn(&["run", "--workers", "30"])
}

/// Runs the commands that `rescue show` prints, each into a folder of its own.
fn restored(bench: &Bench, rescue: &str) -> Vec<PathBuf> {
    let shown = bench.expect(0, &["rescue", "show", rescue]);
    let commands = shown.stdout.lines().filter_map(|line| line.strip_prefix("ropewalk "));
    let restore = |line: &str| {
        let words: Vec<&str> = line.split(" #").next().unwrap_or_default().split_whitespace().collect();
        let to = bench.root().join("restored").join(words.last().expect("an id"));
        let to_text = to.to_str().expect("UTF-8");
        let args: Vec<&str> = words.iter().copied().chain(["--to", to_text]).collect();
        // A rescue of commits alone may have no file at all.
        bench.expect(0, &args);
        to
    };
    commands.map(restore).collect()
}

/// The cells whose content cannot be had again.
fn lost(bench: &Bench, cells: &[Cell]) -> Vec<String> {
    let rescues = bench.json(&["rescue", "list"]);
    let mut faults = Vec::new();
    for cell in cells {
        let is_its = |rescue: &&serde_json::Value| rescue["task"] == cell.task;
        let ids = rescues.as_array().expect("a list").iter().filter(is_its);
        let folders: Vec<_> = ids.flat_map(|r| restored(bench, r["id"].as_str().expect("an id"))).collect();
        let has = |folder: &PathBuf| {
            fs::read_to_string(folder.join(cell.file)).is_ok_and(|text| text.contains(&cell.token))
        };
        let collected = format!("refs/ropewalk/attempts/{}/1:{}", cell.task, cell.file);
        let is_a_commit = bench.git_may_fail(&[
            "grep",
            "-q",
            &cell.token,
            &collected[..collected.len() - cell.file.len() - 1],
        ]);
        if !is_a_commit && !folders.iter().any(has) {
            faults.push(format!("{}, {:?}: task {}: {folders:?}", cell.habit, cell.ending, cell.task));
        }
    }
    faults
}

#[test]
fn everything_can_be_had_again_after_every_habit_and_every_ending() {
    let bench = bench_of_tasks();
    let mut cells = Vec::new();
    // Whoever expires all reflogs takes those of others with them, as git wants it: so they do it among themselves.
    for does_collect in [false, true] {
        let numbers = (0..HABITS.len()).filter(|number| (HABITS[*number].0 == GARBAGE) == does_collect);
        let pairs = numbers.flat_map(|number| [Finish, Fail, Cancel, Timeout, Restart].map(|e| (number, e)));
        let some: Vec<_> = pairs.map(|(number, ending)| Cell::add(&bench, number, ending)).collect();
        run(&bench, &some);
        cells.extend(some);
    }
    let kept = bench.json(&["worktree", "list"]);
    let kept = kept.as_array().expect("a list");
    assert!(kept.len() <= 20, "no more than the most stay: {kept:#?}");
    assert!(kept.iter().all(|line| line["state"] == "kept"), "{kept:#?}");
    bench.expect(0, &["worktree", "prune", "--all"]);
    assert_eq!(bench.json(&["worktree", "list"]), serde_json::json!([]));
    bench.git(&["reflog", "expire", "--expire=now", "--all"]);
    bench.git(&["gc", "-q", "--prune=now"]);
    let faults = lost(&bench, &cells);
    assert!(faults.is_empty(), "lost:\n{}", faults.join("\n"));
    bench.git(&["fsck", "--strict", "--no-dangling"]);
}

#[test]
fn a_failed_worktree_stays_for_a_person_and_what_they_do_there_is_kept_too() {
    let bench = bench_of_tasks();
    let failed = bench.agent("edit half.txt done; edit x.ignored noted; fail");
    let hangs = bench.agent("edit live.txt now; mark ready; hang");
    let add = |agent: &str| {
        let args = ["task", "add", "t", "--command", agent, "--attempts", "1"];
        bench.json(&args)["tasks"][0].as_u64().expect("a number")
    };
    let (failed, live) = (add(&failed), add(&hangs));
    let engine = spawn(&bench);
    bench.wait_for_record("a live one", |record| record.what == "ready");
    let (kept, at_work) = (format!("{failed}.1"), format!("{live}.1"));
    wait_for("a kept one", || {
        let found = bench.home.join("attempts").join(&kept).join("kept").exists();
        found.then_some(())
    });
    let list = bench.expect(0, &["worktree", "list"]);
    list.says(&[&kept, "kept", "failed", &at_work, "live"]);
    bench.expect(5, &["worktree", "prune", &at_work]).says(&["still at work"]);
    bench.expect(5, &["worktree", "enter", &at_work]);
    bench.expect(4, &["worktree", "enter", "99.1"]);
    let path = bench.expect(0, &["worktree", "enter", &kept, "--print"]).stdout;
    let path = Path::new(path.trim_end());
    assert_eq!(fs::read_to_string(path.join("half.txt")).expect("a file"), "done\n");
    // A shell in it that makes a change and ends with a code of its own.
    let mut enter = bench.command(&["worktree", "enter", &kept]);
    let shell = bench.root().join("shell");
    fs::write(&shell, "#!/bin/sh\necho person >mine.txt\nexit 7\n").expect("a shell");
    fs::set_permissions(&shell, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    enter.env("SHELL", &shell);
    bench.start(enter, "worktree enter".into()).wait().expect(7);
    bench.expect(0, &["worktree", "prune", &kept]).says(&["removed", "refs/ropewalk/rescue/"]);
    assert!(!path.exists());
    bench.expect(0, &["cancel", &live.to_string()]);
    engine.wait().expect(3);
    let rescues = bench.json(&["rescue", "list", "--task", &failed.to_string()]);
    let rescues = rescues.as_array().expect("a list");
    assert!(rescues.iter().all(|rescue| rescue["task"] == failed) && !rescues.is_empty(), "{rescues:#?}");
    let last = rescues.last().expect("one")["id"].as_str().expect("an id");
    let folders = restored(&bench, last);
    for (name, text) in [("half.txt", "done\n"), ("x.ignored", "noted\n"), ("mine.txt", "person\n")] {
        assert_eq!(fs::read_to_string(folders[0].join(name)).expect(name), text);
    }
    bench.assert_clean(&["main", "feature/tasks"]);
}

#[test]
fn restoring_says_exactly_what_it_did_and_overwrites_nothing() {
    let bench = bench_of_tasks();
    let agent = bench.agent("edit one.ignored 1; edit sub/two.ignored 2; edit ok.txt; fail");
    let task = bench.json(&["task", "add", "t", "--command", &agent, "--attempts", "1"])["tasks"][0].clone();
    spawn(&bench).wait().expect(3);
    let id = format!("{task}.1");
    bench.expect(0, &["rescue", "list"]).says(&[&id, "failed", "ignored"]);
    bench.expect(0, &["rescue", "show", &id, "--stat"]).says(&["sub/two.ignored"]);
    bench.expect(0, &["rescue", "show", &id, "--patch"]).says(&["+++ b/one.ignored"]);
    bench.expect(0, &["rescue", "restore", &id]).says(&[&format!("rescue-{id}"), "nothing else was changed"]);
    let made = bench.repo.join(format!("rescue-{id}"));
    assert_eq!(fs::read_to_string(made.join("sub/two.ignored")).expect("a file"), "2\n");
    fs::write(bench.repo.join("one.ignored"), "mine\n").expect("a file");
    bench
        .expect(5, &["rescue", "restore", &id, "--to", ".", "one.ignored"])
        .says(&["one.ignored", "--force"]);
    assert_eq!(fs::read_to_string(bench.repo.join("one.ignored")).expect("a file"), "mine\n");
    bench.expect(0, &["rescue", "restore", &id, "--to", ".", "sub"]);
    assert_eq!(fs::read_to_string(bench.repo.join("sub/two.ignored")).expect("a file"), "2\n");
    bench.expect(0, &["rescue", "restore", &id, "--to", ".", "--force", "one.ignored"]);
    assert_eq!(fs::read_to_string(bench.repo.join("one.ignored")).expect("a file"), "1\n");
    bench.expect(0, &["rescue", "restore", &id, "--branch", "look"]).says(&["made the branch look"]);
    assert_eq!(bench.git(&["show", "look:one.ignored"]), "1\n");
    for (code, args) in [
        (4, &["rescue", "restore", "99.1"][..]),
        (4, &["rescue", "restore", &format!("{id}:stash-9")]),
        (4, &["rescue", "restore", &id, "--to", "x", "no-such-file"]),
        (5, &["rescue", "restore", &id, "--branch", "main"]),
        (2, &["rescue", "restore", &id, "--branch", "-x/.."]),
    ] {
        bench.expect(code, args);
    }
    let value = bench.json(&["rescue", "restore", &id, "--to", "elsewhere"]);
    assert!(value["files"].as_u64() > Some(2), "{value}");
}

#[test]
fn an_attempt_that_ends_on_a_full_disk_keeps_its_worktree_until_all_of_it_is_rescued() {
    let name = "rescue::an_attempt_that_ends_on_a_full_disk_keeps_its_worktree_until_all_of_it_is_rescued";
    on_a_small_disk(name, |bare, disk| {
        // The repository too is on the small disk: that is where a rescue is written.
        let repo = bare.home.parent().expect("the disk").join("repo");
        fs::create_dir(&repo).expect("a folder");
        bare.git_in(&repo, &["init", "-q", "-b", "main"]);
        bare.git_in(&repo, &["config", "user.name", "Bench"]);
        bare.git_in(&repo, &["config", "user.email", "bench@ropewalk.invalid"]);
        bare.git_in(&repo, &["commit", "-q", "--allow-empty", "-m", "Start"]);
        fs::write(repo.join(".git/info/exclude"), "*.ignored\n").expect("a file");
        let agent = bare.agent("edit x.ignored kept; edit u.txt untracked; mark ready; gate full; fail");
        let add = ["task", "add", "t", "--command", &agent, "--attempts", "1", "--json"];
        let from_there = |args: &[&str]| {
            let mut command = bare.command(args);
            command.current_dir(&repo);
            bare.start(command, args.join(" "))
        };
        from_there(&add).wait().expect(0);
        let mut engine = from_there(&["run", "--workers", "2"]);
        bare.wait_for_record("its files", |record| record.what == "ready");
        disk.fill();
        bare.open_gate("full");
        bare.wait_for_record("its end", |record| record.what == "start");
        let worktree = bare.home.join("worktrees/1.1");
        // Whether the reserve was enough for the rescue or not: what counts is that all of it can be had again.
        crate::support::wait_at_most(std::time::Duration::from_secs(3), || {
            (engine.has_ended() || !worktree.join("x.ignored").exists()).then_some(())
        });
        disk.free();
        engine.wait();
        // The next engine's sweep takes up what could not be done.
        from_there(&["run"]).wait();
        from_there(&["worktree", "prune", "--all"]).wait().expect(0);
        assert!(!worktree.exists());
        let to = bare.root().join("back");
        let to_text = to.to_str().expect("UTF-8");
        from_there(&["rescue", "restore", "1.1", "--to", to_text]).wait().expect(0);
        assert_eq!(fs::read_to_string(to.join("x.ignored")).expect("a file"), "kept\n");
        assert_eq!(fs::read_to_string(to.join("u.txt")).expect("a file"), "untracked\n");
    });
}
