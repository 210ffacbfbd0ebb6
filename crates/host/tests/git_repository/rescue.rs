//! Whatever an agent's habits, and however its attempt ends: everything can be had again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ropewalk_host::git::{Parting, Rescue};

use crate::world::*;

/// A habit's name, what it does in the worktree, and what must be had again afterwards: where, and what.
type Habit = (&'static str, fn(&World, &Path), &'static [(&'static str, &'static str)]);

const HABITS: [Habit; 15] = [
    ("nothing at all", |_, _| {}, &[]),
    ("dirty", |_, path| write(path, "a.txt", "edited\n"), &[("a.txt", "edited\n")]),
    (
        "staged",
        |_, path| {
            write(path, "s.txt", "staged\n");
            git(path, &["add", "s.txt"]);
        },
        &[("s.txt", "staged\n")],
    ),
    (
        "staged, then changed and deleted",
        |_, path| {
            write(path, "a.txt", "staged\n");
            write(path, "s.txt", "staged too\n");
            git(path, &["add", "."]);
            write(path, "a.txt", "changed\n");
            fs::remove_file(path.join("s.txt")).unwrap();
        },
        &[("a.txt", "staged\n"), ("a.txt", "changed\n"), ("s.txt", "staged too\n")],
    ),
    ("untracked", |_, path| write(path, "new/-ñ\nb.txt", "untracked\n"), &[("new/-ñ\nb.txt", "untracked\n")]),
    (
        "ignored",
        |_, path| {
            write(path, "x.ignored", "ignored\n");
            write(path, "deep/new/y.ignored", "ignored too\n");
        },
        &[("x.ignored", "ignored\n"), ("deep/new/y.ignored", "ignored too\n")],
    ),
    (
        "stash",
        |_, path| {
            write(path, "a.txt", "stashed\n");
            write(path, "u.txt", "stashed untracked\n");
            git(path, &["stash", "-q", "--include-untracked"]);
        },
        &[("a.txt", "stashed\n"), ("u.txt", "stashed untracked\n")],
    ),
    (
        "detached commit",
        |_, path| {
            git(path, &["checkout", "-q", "--detach"]);
            commit(path, "d.txt", "detached\n");
            git(path, &["checkout", "-q", "ropewalk/7.1"]);
        },
        &[("d.txt", "detached\n")],
    ),
    ("conflict", conflict, &[("a.txt", "theirs\n"), ("a.txt", "ours\n"), ("a.txt", MARKED)]),
    (
        "rebase in the middle",
        |_, path| {
            commit(path, "a.txt", "first\n");
            commit(path, "later.txt", "second\n");
            git(path, &["checkout", "-q", "-b", "other", "HEAD~2"]);
            commit(path, "a.txt", "other\n");
            git(path, &["checkout", "-q", "ropewalk/7.1"]);
            assert!(!raw_git(path, &["rebase", "other"]).status.success());
        },
        &[("later.txt", "second\n"), ("a.txt", "first\n")],
    ),
    (
        "branch deleted",
        |_, path| {
            commit(path, "b.txt", "on a branch\n");
            git(path, &["update-ref", "-d", "refs/heads/ropewalk/7.1"]);
            write(path, "c.txt", "besides\n");
        },
        &[("b.txt", "on a branch\n"), ("c.txt", "besides\n")],
    ),
    (
        "worktree deleted",
        |_, path| {
            commit(path, "b.txt", "committed\n");
            write(path, "s.txt", "staged\n");
            git(path, &["add", "s.txt"]);
            fs::remove_dir_all(path).unwrap();
        },
        &[("b.txt", "committed\n"), ("s.txt", "staged\n")],
    ),
    (
        "garbage collected",
        |_, path| {
            commit(path, "b.txt", "committed\n");
            write(path, "s.txt", "staged\n");
            git(path, &["add", "s.txt"]);
            fs::remove_file(path.join("s.txt")).unwrap();
            write(path, "u.txt", "untracked\n");
            collect_garbage(path);
        },
        &[("b.txt", "committed\n"), ("s.txt", "staged\n"), ("u.txt", "untracked\n")],
    ),
    (
        "a repository inside",
        |_, path| {
            git(path, &["init", "-q", "inner"]);
            commit(&path.join("inner"), "deep/f.txt", "inside\n");
        },
        &[("inner/deep/f.txt", "inside\n")],
    ),
    (
        "line ends and keywords",
        |_, path| {
            write(path, ".gitattributes", "* text=auto\n*.id ident\n*.w working-tree-encoding=UTF-16\n");
            write(path, "crlf.txt", "one\r\ntwo\r\n");
            write(path, "k.id", "$Id: mine $\n");
            write(path, "x.w", "not UTF-16\n");
        },
        &[("crlf.txt", "one\r\ntwo\r\n"), ("k.id", "$Id: mine $\n"), ("x.w", "not UTF-16\n")],
    ),
];

const MARKED: &str = "<<<<<<< HEAD\nours\n=======\ntheirs\n>>>>>>> side\n";

fn conflict(_: &World, path: &Path) {
    git(path, &["checkout", "-q", "-b", "side"]);
    commit(path, "a.txt", "theirs\n");
    git(path, &["checkout", "-q", "ropewalk/7.1"]);
    commit(path, "a.txt", "ours\n");
    assert!(!raw_git(path, &["merge", "side"]).status.success());
    git(path, &["branch", "-q", "-D", "side"]);
}

fn collect_garbage(folder: &Path) {
    git(folder, &["reflog", "expire", "--expire=now", "--all"]);
    git(folder, &["gc", "-q", "--prune=now"]);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Collected, and good.
    Passed,
    /// Collected, and not.
    Failed,
    /// Nobody collected anything.
    Lost,
    /// Kept for a person, who works in it, and then pruned.
    Kept,
    /// git fails at first, as on a full disk.
    Broken,
}

use Ending::{Broken, Failed, Kept, Lost, Passed};

fn parting(has_passed: bool) -> Parting {
    let ended = if has_passed { "passed" } else { "failed" }.to_owned();
    Parting { ended, at_ms: AT_MS, has_passed, secrets: vec![] }
}

/// Ends the attempt and releases its worktree.
fn end(world: &World, path: &Path, ending: Ending) {
    let id = attempt(7, 1);
    let parting = parting(ending == Passed);
    if matches!(ending, Passed | Failed) {
        // What cannot be committed is told; it is not the point here. Some habits leave what git itself refuses.
        let _ = world.repo.collect(id, path, &world.start(), "work\n", AT_MS);
    }
    match ending {
        Kept => {
            let pinned = world.repo.rescue_worktree(id, path, &parting).unwrap();
            assert_eq!(world.repo.rescue_worktree(id, path, &parting).unwrap(), pinned, "again adds nothing");
            if path.exists() {
                write(path, "person.txt", "a person's\n");
            }
        }
        Broken => {
            let (objects, hidden) = (world.top.join(".git/objects"), world.top.join(".git/hidden"));
            let files = listed(path);
            fs::rename(&objects, &hidden).unwrap();
            assert!(world.repo.release_worktree_after(id, path, &parting).is_err());
            fs::remove_dir_all(&objects).ok();
            fs::rename(&hidden, &objects).unwrap();
            assert_eq!(listed(path), files, "any error means keep");
        }
        Passed | Failed | Lost => {}
    }
    let name = world.repo.release_worktree_after(id, path, &parting).unwrap();
    assert_eq!(world.repo.release_worktree_after(id, path, &parting).unwrap(), name, "again is the same");
    assert!(!path.exists() && !world.top.join(".git/worktrees/7.1").exists());
    assert!(!git(&world.top, &["branch", "--list"]).contains("ropewalk/"));
}

fn listed(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(next) = ahead.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => ahead.push(path),
                kind if kind.is_symlink() => {
                    found.insert(
                        path.clone(),
                        fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
                    );
                }
                _ => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

/// Everything that the attempt's rescues and their parts give back, each in a folder of its own, and what was collected.
fn restored(world: &World) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut get = |name: String, commit: &ropewalk_core::id::Oid| {
        let to = world.dir.path().join("restored").join(name);
        let done = world.repo.restore(commit, &to, &[], false).unwrap();
        assert_eq!(done.in_the_way, Vec::<PathBuf>::new());
        folders.push(to);
    };
    for rescue in world.repo.rescues().unwrap() {
        get(rescue.id.clone(), &rescue.commit);
        for (name, commit) in &rescue.parts {
            get(format!("{}-{name}", rescue.id), commit);
        }
    }
    let collected = "refs/ropewalk/attempts/7/1";
    if raw_git(&world.top, &["rev-parse", "--verify", collected]).status.success() {
        get("collected".into(), &oid(&world.top, collected));
    }
    folders
}

#[test]
fn everything_can_be_had_again_after_every_habit_and_every_ending() {
    let faults: Vec<String> = std::thread::scope(|scope| {
        let columns = [Passed, Failed, Lost, Kept, Broken]
            .map(|ending| scope.spawn(move || HABITS.iter().flat_map(|habit| cell(habit, ending)).collect()));
        columns.into_iter().flat_map(|column| -> Vec<String> { column.join().unwrap() }).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// One habit and one ending; what could not be had again.
fn cell((habit, act, expected): &Habit, ending: Ending) -> Vec<String> {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    act(&world, &path);
    let is_there = path.exists();
    end(&world, &path, ending);
    collect_garbage(&world.top);
    let folders = restored(&world);
    world.fsck();
    if *habit == "nothing at all" && ending != Kept {
        assert_eq!(world.repo.rescues().unwrap(), [], "nothing was left to keep");
    }
    let mut wanted = expected.to_vec();
    if ending == Kept && is_there {
        wanted.push(("person.txt", "a person's\n"));
    }
    if *habit == "line ends and keywords" && ending == Passed {
        // The work is a commit, in the form that the project's own attributes ask for.
        wanted.clear();
    }
    wanted.retain(|(name, text)| {
        let has = |folder: &PathBuf| fs::read(folder.join(name)).is_ok_and(|bytes| bytes == text.as_bytes());
        !folders.iter().any(has)
    });
    let told =
        |(name, text)| format!("{habit}, {ending:?}: {name:?} with {text:?} is in none of {folders:?}");
    wanted.into_iter().map(told).collect()
}

/// The only rescue there is.
fn only(world: &World) -> Rescue {
    let [rescue] = &world.repo.rescues().unwrap()[..] else { panic!("{:?}", world.repo.rescues()) };
    rescue.clone()
}

#[test]
fn a_rescue_says_what_it_holds_and_what_was_left_out() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&world.top, ".git/info/exclude", "target/\nnode_modules/\ncache/\nbig\nlog/\n");
    write(&path, "new.txt", "12345\n");
    write(&path, "log/run.txt", "kept\n");
    write(&path, "target/debug/huge", "built\n");
    write(&path, "pack/node_modules/a/index.js", "installed\n");
    write(&path, "cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    fs::File::create(path.join("big")).unwrap().set_len((10 << 20) + 1).unwrap();
    world.repo.release_worktree_after(attempt(7, 1), &path, &parting(false)).unwrap();
    let rescue = only(&world);
    assert_eq!((rescue.id.as_str(), rescue.at_ms, rescue.ended.as_str()), ("7.1", AT_MS, "failed"));
    assert_eq!((rescue.files, rescue.ignored, rescue.bytes), (2, 1, 11));
    assert_eq!(rescue.why, "1 file not committed, 1 ignored file");
    let left: Vec<_> = rescue.left_out.iter().map(|left| (left.path.as_str(), left.why.as_str())).collect();
    let anew = "made anew by a build";
    assert_eq!(
        left,
        [("big", "too large"), ("cache/", anew), ("pack/node_modules/", anew), ("target/", anew)]
    );
    let message = git(&world.top, &["log", "-1", "--format=%B", &rescue.name]);
    assert!(message.contains("big (10 MiB, too large)"), "{message}");
    let patch = String::from_utf8(world.repo.rescue_changes(&rescue, true).unwrap()).unwrap();
    assert!(patch.contains("+12345") && patch.contains("log/run.txt"), "{patch}");
}

#[test]
fn after_a_pass_only_small_ignored_files_are_kept_and_build_folders_alone_are_no_reason() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    write(&world.top, ".git/info/exclude", "target/\n");
    write(&path, "target/debug/huge", "built\n");
    world.collect(id, &start);
    assert_eq!(world.repo.release_worktree_after(id, &path, &parting(true)).unwrap(), None);
    let path = world.add(attempt(8, 1));
    write(&path, "small.ignored", "small\n");
    write(&path, "large.ignored", &"x".repeat((1 << 20) + 1));
    world.repo.collect(attempt(8, 1), &path, &start, "work\n", AT_MS).unwrap();
    world.repo.release_worktree_after(attempt(8, 1), &path, &parting(true)).unwrap();
    let rescue = only(&world);
    assert_eq!((rescue.ignored, rescue.left_out[0].path.as_str()), (1, "large.ignored"));
}

#[test]
fn a_secret_is_in_no_rescue_however_it_was_handled() {
    let acts: [fn(&Path); 4] = [
        |_| {},
        |path| write(path, ".gitignore", "# nothing is ignored any more\n"),
        |path| drop(git(path, &["add", "-f", "conf/s.ignored"])),
        |path| {
            write(path, "conf/s.ignored", "hunter2, changed\n");
            git(path, &["add", "-f", "conf/s.ignored"]);
            fs::remove_file(path.join("conf/s.ignored")).unwrap();
        },
    ];
    for act in acts {
        let world = World::new();
        let path = world.add(attempt(7, 1));
        write(&path, "conf/s.ignored", "hunter2\n");
        write(&path, "work.txt", "work\n");
        act(&path);
        let secrets = vec![b"conf/s.ignored".to_vec()];
        let parting = Parting { secrets, ..parting(false) };
        world.repo.release_worktree_after(attempt(7, 1), &path, &parting).unwrap();
        let rescue = only(&world);
        let reachable = git(&world.top, &["log", "-p", "-m", "--format=%B", &rescue.name]);
        assert!(!reachable.contains("hunter2") && reachable.contains("work.txt"), "{reachable}");
    }
}

#[test]
fn a_secret_goes_with_whoever_gives_the_worktree_back_and_is_in_no_rescue_of_an_index_alone() {
    let secret = "conf/s.ignored";
    let given = || {
        let world = World::new();
        let path = world.add(attempt(7, 1));
        write(&path, secret, "hunter2\n");
        write(&path, "work.txt", "work\n");
        git(&path, &["add", "-f", secret, "work.txt"]);
        (world, path)
    };
    let parting = Parting { secrets: vec![secret.as_bytes().to_vec()], ..parting(false) };
    let check = |world: &World| {
        let reachable = git(&world.top, &["log", "-p", "-m", "--format=%B", &only(world).name]);
        assert!(!reachable.contains("hunter2") && reachable.contains("work.txt"), "{reachable}");
    };
    // Its folder waits to be washed, as a spare, and holds it no more.
    let (world, path) = given();
    world.repo.release_worktree_after(attempt(7, 1), &path, &parting).unwrap();
    let everything = listed(path.parent().unwrap());
    assert!(everything.keys().any(|file| file.ends_with("work.txt")), "it is a spare: {everything:?}");
    assert!(!everything.keys().any(|file| file.ends_with(secret)), "{everything:?}");
    check(&world);
    // The folder is gone, the index is there.
    let (world, path) = given();
    fs::remove_dir_all(&path).unwrap();
    world.repo.release_worktree_after(attempt(7, 1), &path, &parting).unwrap();
    check(&world);
    // The index is gone: a half-made one, as far as can be told.
    let (world, path) = given();
    let admin = git(&path, &["rev-parse", "--absolute-git-dir"]);
    fs::remove_file(Path::new(&admin).join("index")).unwrap();
    let kept_out = [secret.into()];
    world.repo.add_worktree_without(attempt(7, 1), &path, &world.start(), &kept_out).unwrap();
    check(&world);
}

#[test]
fn what_a_checkpoint_holds_is_rescued_all_the_same_since_the_checkpoint_goes_first() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    let head = commit(&path, "work.txt", "committed\n");
    world.repo.checkpoint(id, &path, &start, AT_MS).unwrap();
    world.repo.release_worktree_after(id, &path, &parting(false)).unwrap();
    world.repo.forget_checkpoints(id.task, &BTreeSet::new()).unwrap();
    let rescue = only(&world);
    git(&world.top, &["merge-base", "--is-ancestor", head.as_str(), &rescue.name]);
}

#[test]
fn what_git_left_unsynced_is_made_durable_by_a_checkpoint_and_by_a_rescue_and_once_only() {
    // More than are synced one by one: the pack that they become can be seen.
    const FILES: usize = 210;
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    let packs = || {
        let entries = fs::read_dir(world.top.join(".git/objects/pack")).unwrap().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|name| name == "pack")).count()
    };
    let work = |folder: &str| {
        for number in 0..FILES {
            write(&path, &format!("{folder}/{number}"), &format!("{folder} {number}\n"));
        }
        git(&path, &["add", "-A"]);
    };
    work("staged");
    world.repo.checkpoint(id, &path, &start, AT_MS).unwrap();
    assert_eq!(packs(), 1);
    write(&path, "one-more.txt", "\n");
    world.repo.checkpoint(id, &path, &start, AT_MS).unwrap();
    assert_eq!(packs(), 1, "what one checkpoint kept the next does not keep again");
    work("later");
    git(&path, &["commit", "-q", "-m", "work"]);
    world.repo.release_worktree_after(id, &path, &parting(false)).unwrap();
    assert_eq!(packs(), 2);
}

#[test]
fn restoring_keeps_modes_and_links_and_overwrites_nothing_unless_told_to() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&path, "run.sh", "#!/bin/sh\n");
    fs::set_permissions(path.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
    symlink("/etc", path.join("link")).unwrap();
    write(&path, "sub/one.txt", "one\n");
    fs::remove_file(path.join("gone.txt")).unwrap();
    let expected: BTreeMap<_, _> = listed(&path);
    world.repo.release_worktree_after(attempt(7, 1), &path, &parting(false)).unwrap();
    let rescue = only(&world);
    let to = world.dir.path().join("to");
    let done = world.repo.restore(&rescue.commit, &to, &[], false).unwrap();
    assert_eq!(done.files, 5, "all but the one that was deleted: {done:?}");
    assert_eq!(to.join("run.sh").metadata().unwrap().permissions().mode() & 0o111, 0o111);
    for (file, bytes) in expected.iter().filter(|(file, _)| !file.ends_with(".git")) {
        assert_eq!(listed(&to).get(&to.join(file.strip_prefix(&path).unwrap())), Some(bytes), "{file:?}");
    }
    // Once more, over what a person made of it.
    fs::write(to.join("sub/one.txt"), "mine\n").unwrap();
    let refused = world.repo.restore(&rescue.commit, &to, &[b"sub/".to_vec()], false).unwrap();
    assert_eq!((refused.files, refused.in_the_way), (0, vec![to.join("sub/one.txt")]));
    assert_eq!(fs::read_to_string(to.join("sub/one.txt")).unwrap(), "mine\n");
    world.repo.restore(&rescue.commit, &to, &[b"sub".to_vec()], true).unwrap();
    assert_eq!(fs::read_to_string(to.join("sub/one.txt")).unwrap(), "one\n");
    // Never through a link, whoever says so.
    fs::remove_dir_all(to.join("sub")).unwrap();
    let outside = world.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, to.join("sub")).unwrap();
    let refused = world.repo.restore(&rescue.commit, &to, &[b"sub".to_vec()], true).unwrap();
    assert_eq!(refused.in_the_way, [to.join("sub")]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn no_filter_of_the_repository_runs_for_a_rescue_or_a_restore() {
    let world = World::new();
    let (mark, canary) = plant_hooks(&world);
    let path = world.add(attempt(7, 1));
    for (key, value) in [("clean", &canary), ("smudge", &canary), ("process", &canary)] {
        git(&world.top, &["config", &format!("filter.bad.{key}"), value.to_str().unwrap()]);
    }
    git(&world.top, &["config", "diff.bad.textconv", canary.to_str().unwrap()]);
    write(&path, ".gitattributes", "* filter=bad diff=bad merge=bad\n");
    write(&path, "x.ignored", "bytes\n");
    world.repo.release_worktree_after(attempt(7, 1), &path, &parting(false)).unwrap();
    let rescue = only(&world);
    let to = world.dir.path().join("to");
    world.repo.restore(&rescue.commit, &to, &[], false).unwrap();
    world.repo.rescue_changes(&rescue, true).unwrap();
    assert_eq!(fs::read_to_string(to.join("x.ignored")).unwrap(), "bytes\n");
    assert!(!mark.exists(), "{:?}", fs::read_to_string(&mark));
}

#[test]
fn a_stash_of_the_users_and_of_another_attempt_is_not_taken_for_its_own() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    let other = world.add(attempt(8, 1));
    for folder in [&world.top, &other] {
        write(folder, "a.txt", "not its own\n");
        git(folder, &["stash", "-q"]);
    }
    write(&path, "a.txt", "its own\n");
    git(&path, &["stash", "-q"]);
    world.repo.release_worktree_after(attempt(7, 1), &path, &parting(false)).unwrap();
    let rescue = only(&world);
    let [(name, stash)] = &rescue.parts[..] else { panic!("{rescue:?}") };
    assert_eq!(name, "stash-1");
    assert_eq!(git(&world.top, &["show", &format!("{stash}:a.txt")]), "its own");
    assert_eq!(git(&world.top, &["stash", "list"]).lines().count(), 3, "the list is left as it is");
}

#[test]
fn changes_in_a_submodule_are_kept_with_and_without_commits_of_its_own() {
    for has_commit in [false, true] {
        let world = World::new();
        let library = world.dir.path().join("library");
        fs::create_dir(&library).unwrap();
        git(&library, &["init", "-q"]);
        commit(&library, "lib.txt", "library\n");
        let from = library.to_str().unwrap();
        git(&world.top, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", from, "sub"]);
        git(&world.top, &["commit", "-q", "-m", "a submodule"]);
        let path = world.add(attempt(7, 1));
        git(&path, &["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init"]);
        let id = attempt(7, 1);
        let untouched = world.repo.rescue_worktree(id, &path, &parting(false)).unwrap();
        assert_eq!(untouched, None, "a submodule as it should be is no reason");
        let own = has_commit.then(|| commit(&path.join("sub"), "own.txt", "committed\n"));
        write(&path, "sub/lib.txt", "changed\n");
        world.repo.release_worktree_after(id, &path, &parting(false)).unwrap();
        let rescue = only(&world);
        git(&world.top, &["gc", "-q", "--prune=now"]);
        assert_eq!(git(&world.top, &["show", &format!("{}:sub/lib.txt", rescue.name)]), "changed");
        if let Some(own) = own {
            git(&world.top, &["merge-base", "--is-ancestor", own.as_str(), &rescue.name]);
        }
    }
}

#[test]
fn what_is_let_go_is_this_rescue_and_this_commit_and_nothing_else() {
    let world = World::new();
    let start = world.start();
    for task in [7, 8] {
        let path = world.add(attempt(task, 1));
        write(&path, "x.txt", &format!("{task}\n"));
        world.repo.collect(attempt(task, 1), &path, &start, "work\n", AT_MS).unwrap();
        write(&path, "y.ignored", &format!("{task}\n"));
        world.repo.release_worktree_after(attempt(task, 1), &path, &parting(true)).unwrap();
    }
    let [seven, eight] = &world.repo.rescues().unwrap()[..] else { panic!("two") };
    assert!(world.repo.is_own(seven));
    let other = ropewalk_host::git::Repository::open(
        &world.top,
        &world.top.join(".git"),
        &world.dir.path().join("elsewhere/control"),
    );
    assert!(!other.unwrap().is_own(seven), "another state folder's task 7 is another task");
    world.repo.forget_rescue(seven).unwrap();
    assert_eq!(world.repo.rescues().unwrap(), std::slice::from_ref(eight));
    assert!(world.repo.forget_rescue(seven).is_err(), "it is gone already");
    let collected = world.repo.collected().unwrap();
    assert_eq!(collected.iter().map(|(id, _)| id.task.0).collect::<Vec<_>>(), [7, 8]);
    world.repo.forget_collected(attempt(7, 1), &collected[1].1).unwrap();
    assert_eq!(world.repo.collected().unwrap(), collected, "another commit than its own");
    world.repo.forget_collected(attempt(7, 1), &collected[0].1).unwrap();
    assert_eq!(world.repo.collected().unwrap(), collected[1..]);
}

/// Whether the worktree may stay after it, and what an agent does.
type Act = (bool, fn(&Path));

#[test]
fn a_worktree_that_has_somebody_elses_branch_would_stand_in_the_way_of_landings() {
    let acts: [Act; 5] = [
        (true, |_| {}),
        (true, |path| drop(git(path, &["checkout", "-q", "--detach"]))),
        (false, |path| drop(git(path, &["checkout", "-q", "feature"]))),
        (false, |path| {
            git(path, &["checkout", "-q", "feature"]);
            commit(path, "a.txt", "here\n");
            assert!(!raw_git(path, &["rebase", "-q", "onto"]).status.success());
        }),
        (true, |path| {
            commit(path, "a.txt", "here\n");
            assert!(!raw_git(path, &["rebase", "-q", "onto"]).status.success());
        }),
    ];
    for (number, (expected, act)) in acts.into_iter().enumerate() {
        let world = World::new();
        git(&world.top, &["branch", "feature"]);
        git(&world.top, &["checkout", "-q", "-b", "onto"]);
        commit(&world.top, "a.txt", "there\n");
        let id = attempt(7, 1);
        let path = world.tree("7.1");
        world.repo.add_worktree(id, &path, &oid(&world.top, "feature")).unwrap();
        act(&path);
        assert_eq!(world.repo.is_out_of_the_way(id, &path), Ok(expected), "act {number}");
    }
}
