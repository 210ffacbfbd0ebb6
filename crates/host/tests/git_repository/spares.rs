//! Spares: worktrees that were given back, cleaned and handed out again, whatever was done in them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ropewalk_core::id::Oid;
use ropewalk_host::git::{Parting, SPARES_MAX, Spares};

use crate::world::*;

/// Every file, link and folder below `top` but `.git`, with its permissions and what is in it.
fn contents(top: &Path) -> BTreeMap<Vec<u8>, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = path.symlink_metadata().unwrap();
            let content = match facts.file_type() {
                kind if kind.is_dir() && path != top.join(".git") => {
                    folders.push(path.clone());
                    vec![]
                }
                kind if kind.is_file() => fs::read(&path).unwrap(),
                kind if kind.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                kind => format!("{kind:?}").into_bytes(),
            };
            if path != top.join(".git") {
                let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
                found.insert(name, (facts.mode(), content));
            }
        }
    }
    found
}

fn spares(world: &World) -> Spares {
    world.repo.spares(&world.tree(""))
}

/// The folders of spares, in whatever state.
fn folders(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.tree("")).unwrap().map(|entry| entry.unwrap().path());
    let is_spare = |path: &PathBuf| path.file_name().unwrap().as_bytes().starts_with(b".spare-");
    let mut found: Vec<_> = entries.filter(is_spare).collect();
    found.sort();
    found
}

fn wash_all(world: &World) -> usize {
    std::iter::from_fn(|| spares(world).wash_one().unwrap().then_some(())).count()
}

/// A commit with some of everything that a tree can hold.
fn varied() -> World {
    let world = World::new();
    for number in 0..40 {
        write(&world.top, &format!("src/m{}/f{number}.txt", number % 4), &format!("line {number}\n"));
    }
    write(&world.top, "run.sh", "#!/bin/sh\n");
    fs::set_permissions(world.top.join("run.sh"), Permissions::from_mode(0o755)).unwrap();
    symlink("src/m1", world.top.join("link")).unwrap();
    write(&world.top, ".gitattributes", "*.crlf text eol=crlf\n");
    write(&world.top, "dos.crlf", "one\ntwo\n");
    let inner = world.top.join("inner");
    fs::create_dir(&inner).unwrap();
    git(&inner, &["init", "-q"]);
    commit(&inner, "x.txt", "x\n");
    git(&world.top, &["-c", "advice.addEmbeddedRepo=false", "add", "-A"]);
    git(&world.top, &["commit", "-q", "-m", "some of everything"]);
    fs::remove_dir_all(&inner).unwrap();
    fs::create_dir(&inner).unwrap();
    world
}

/// What `git worktree add` makes of the commit.
fn by_git(world: &World, commit: &Oid) -> BTreeMap<Vec<u8>, (u32, Vec<u8>)> {
    let path = world.dir.path().join("by-git");
    git(&world.top, &["worktree", "add", "-q", "--detach", path.to_str().unwrap(), commit.as_str()]);
    let found = contents(&path);
    git(&world.top, &["worktree", "remove", "--force", path.to_str().unwrap()]);
    found
}

fn release(world: &World, task: u64) {
    let id = attempt(task, 1);
    world.repo.release_worktree(id, &world.tree(&id.to_string())).unwrap();
}

/// The worktree is exactly the commit, git sees nothing to tell, and the index is fresh.
fn assert_ready(world: &World, path: &Path, commit: &Oid) {
    assert_eq!(git(path, &["status", "--porcelain", "--ignored"]), "");
    assert_eq!(oid(path, "HEAD"), *commit);
    assert!(git(path, &["diff-files", "--name-only"]).is_empty(), "the index knows every file");
    let (found, wanted) = (contents(path), by_git(world, commit));
    let differ = found
        .iter()
        .filter(|(name, facts)| wanted.get(*name) != Some(facts))
        .chain(wanted.iter().filter(|(name, _)| !found.contains_key(*name)));
    let differ: Vec<_> = differ.map(|(name, _)| String::from_utf8_lossy(name)).collect();
    assert!(differ.is_empty(), "{differ:?}");
    git(&world.top, &["worktree", "list"]);
    assert!(!world.top.join(".git/worktrees").join(path.file_name().unwrap()).join("locked").exists());
}

#[test]
fn a_worktree_that_is_given_back_is_handed_out_again_clean() {
    let world = varied();
    let first = world.add(attempt(1, 1));
    let inode = first.symlink_metadata().unwrap().ino();
    fs::write(first.join("src/m1/f1.txt"), "other\n").unwrap();
    write(&first, "junk/x.ignored", "x\n");
    release(&world, 1);
    assert!(!first.exists());
    assert_eq!((folders(&world).len(), spares(&world).list().len()), (1, 0), "it is not washed yet");
    assert_eq!((wash_all(&world), spares(&world).list().len()), (1, 1));
    assert!(!folders(&world)[0].join(".git").exists());
    assert!(spares(&world).list()[0].bytes > 40 * 512);
    let second = world.add(attempt(2, 1));
    assert_eq!(second.symlink_metadata().unwrap().ino(), inode, "it is the same folder");
    assert_eq!(folders(&world), <[PathBuf; 0]>::default());
    assert_ready(&world, &second, &world.start());
    assert_eq!(git(&second, &["branch", "--show-current"]), "ropewalk/2.1");
    assert_eq!(
        git(&second, &["rev-parse", "--git-dir"]),
        world.top.join(".git/worktrees/2.1").to_str().unwrap()
    );
    world.fsck();
}

/// Given the worktree, and a folder elsewhere.
type Trick = fn(&Path, &Path);

/// Everything we have thought of that an agent could do to a folder so that it is not what it seems.
#[test]
fn nothing_of_a_hostile_agent_is_left() {
    let tricks: [(&str, Trick); 19] = [
        ("the same size, dated back", |tree, _| {
            let path = tree.join("src/m1/f1.txt");
            let before = path.metadata().unwrap().modified().unwrap();
            fs::write(&path, "LINE 1\n").unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        }),
        ("a second name elsewhere", |tree, away| {
            fs::hard_link(tree.join("src/m1/f5.txt"), away.join("x")).unwrap()
        }),
        ("a second name inside", |tree, _| {
            fs::hard_link(tree.join("a.txt"), tree.join("src/a.txt")).unwrap()
        }),
        ("a foreign file under its name", |tree, away| {
            fs::write(away.join("y"), "line 2\n").unwrap();
            fs::remove_file(tree.join("src/m2/f2.txt")).unwrap();
            fs::hard_link(away.join("y"), tree.join("src/m2/f2.txt")).unwrap();
        }),
        ("a folder swapped for a link to one like it", |tree, away| {
            assert!(Command::new("cp").arg("-a").arg(tree.join("src")).arg(away).status().unwrap().success());
            fs::remove_dir_all(tree.join("src")).unwrap();
            symlink(away.join("src"), tree.join("src")).unwrap();
        }),
        ("a link swapped for a folder", |tree, _| {
            fs::remove_file(tree.join("link")).unwrap();
            fs::create_dir_all(tree.join("link/x")).unwrap();
        }),
        ("a closed folder", |tree, _| {
            fs::set_permissions(tree.join("src/m3"), Permissions::from_mode(0o000)).unwrap();
        }),
        ("an open folder", |tree, _| {
            fs::set_permissions(tree.join("src/m3"), Permissions::from_mode(0o777)).unwrap();
        }),
        ("other permissions", |tree, _| {
            fs::set_permissions(tree.join("a.txt"), Permissions::from_mode(0o4755)).unwrap();
            fs::set_permissions(tree.join("run.sh"), Permissions::from_mode(0o600)).unwrap();
        }),
        ("a repository inside", |tree, _| {
            fs::create_dir(tree.join("nested")).unwrap();
            git(&tree.join("nested"), &["init", "-q"]);
            write(&tree.join("nested"), "z.ignored", "z\n");
        }),
        ("files in the folder of a submodule", |tree, _| write(tree, "inner/deep/x", "x\n")),
        ("names that differ by case", |tree, _| {
            write(tree, "A.TXT", "one\n");
            write(tree, "SRC/m1/f1.txt", "line 1\n");
        }),
        ("flags in its index", |tree, _| {
            fs::write(tree.join("a.txt"), "hidden\n").unwrap();
            git(tree, &["update-index", "--assume-unchanged", "a.txt"]);
            fs::write(tree.join("run.sh"), "hidden\n").unwrap();
            git(tree, &["update-index", "--skip-worktree", "run.sh"]);
        }),
        ("its pointer swapped", |tree, away| {
            git(away, &["init", "-q", "other"]);
            fs::write(tree.join(".git"), format!("gitdir: {}/other/.git\n", away.display())).unwrap();
        }),
        ("junk", |tree, _| {
            for number in 0..10_000 {
                write(tree, &format!("build/{}/{number}.ignored", number % 100), "x");
            }
        }),
        ("a pipe", |tree, _| {
            assert!(Command::new("mkfifo").arg(tree.join("src/pipe")).status().unwrap().success());
        }),
        ("other attributes, so that files are converted", |tree, _| {
            fs::write(tree.join(".gitattributes"), "* text eol=crlf\n").unwrap();
            fs::remove_file(tree.join("a.txt")).unwrap();
            fs::write(tree.join("src/.gitattributes"), "* text eol=crlf\n").unwrap();
            fs::remove_file(tree.join("src/m1/f9.txt")).unwrap();
        }),
        ("everything removed", |tree, _| {
            for entry in fs::read_dir(tree).unwrap() {
                let path = entry.unwrap().path();
                fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
            }
        }),
        ("names that are no text", |tree, _| {
            let name = std::ffi::OsStr::from_bytes(b"\xff\xfe\n-x");
            fs::write(tree.join(name), "x").unwrap();
            fs::create_dir(tree.join("src").join(name)).unwrap();
        }),
    ];
    let world = varied();
    let away = world.dir.path().join("away");
    for (task, (what, trick)) in (1..).zip(tricks) {
        fs::create_dir(&away).unwrap();
        let path = world.add(attempt(task, 1));
        trick(&path, &away);
        release(&world, task);
        assert_eq!((wash_all(&world), spares(&world).list().len()), (1, 1), "{what}");
        let next = world.add(attempt(100 + task, 1));
        assert_eq!(folders(&world).len(), 0, "{what}: it was used again");
        // What has a second name outside must not be written to through it.
        for entry in fs::read_dir(&away).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::write(path, "from outside\n").unwrap();
            }
        }
        assert_ready(&world, &next, &world.start());
        release(&world, 100 + task);
        wash_all(&world);
        fs::remove_dir_all(&away).unwrap();
    }
    world.fsck();
}

#[test]
fn a_spare_of_another_commit_becomes_the_one_that_is_asked_for() {
    let world = varied();
    let old = world.start();
    fs::remove_dir_all(world.top.join("src/m2")).unwrap();
    fs::remove_file(world.top.join("link")).unwrap();
    write(&world.top, "link/now-a-folder", "x\n");
    fs::set_permissions(world.top.join("a.txt"), Permissions::from_mode(0o755)).unwrap();
    let new = commit(&world.top, "src/m1/f1.txt", "changed\n");
    assert_eq!(spares(&world).warm(&old, 1).unwrap(), 1);
    let inode = folders(&world)[0].symlink_metadata().unwrap().ino();
    let path = world.tree("1.1");
    for (task, commit) in [(1, &new), (2, &old)] {
        let path = path.with_file_name(format!("{task}.1"));
        world.repo.add_worktree(attempt(task, 1), &path, commit).unwrap();
        assert_eq!(path.symlink_metadata().unwrap().ino(), inode);
        assert_ready(&world, &path, commit);
        release(&world, task);
        assert_eq!(wash_all(&world), 1);
    }
}

#[test]
fn a_spare_of_the_same_commit_is_taken_before_a_newer_one() {
    let world = World::new();
    let old = world.start();
    let new = commit(&world.top, "b.txt", "b\n");
    spares(&world).warm(&old, 1).unwrap();
    spares(&world).warm(&new, 3).unwrap();
    let oldest = folders(&world)[0].symlink_metadata().unwrap().ino();
    world.repo.add_worktree(attempt(1, 1), &world.tree("1.1"), &old).unwrap();
    assert_eq!(world.tree("1.1").symlink_metadata().unwrap().ino(), oldest);
}

#[test]
fn other_attributes_make_a_worktree_anew() {
    let world = World::new();
    spares(&world).warm(&world.start(), 1).unwrap();
    let new = commit(&world.top, ".gitattributes", "*.txt text eol=crlf\n");
    let path = world.add(attempt(1, 1));
    assert_eq!(fs::read(path.join("gone.txt")).unwrap(), b"to be deleted\r\n");
    assert_eq!(oid(&path, "HEAD"), new);
    spares(&world).tidy().unwrap();
    assert!(folders(&world).is_empty());
}

#[test]
fn a_check_runs_in_exactly_the_commit_and_gives_its_folder_back() {
    let world = varied();
    let (path, commit) = (world.tree("check-1.1-abc"), world.start());
    for _ in 0..2 {
        world.repo.add_check_worktree("check-1.1-abc", &path, &commit).unwrap();
        assert_eq!(git(&path, &["status", "--porcelain", "--ignored", "--branch"]), "## HEAD (no branch)");
        assert_eq!(contents(&path), by_git(&world, &commit));
        write(&path, "target/x.ignored", "built\n");
        write(&path, "a.txt", "changed\n");
        world.repo.remove_check_worktree(&path).unwrap();
        assert_eq!((folders(&world).len(), wash_all(&world)), (1, 1));
    }
}

#[test]
fn a_spare_that_is_not_what_it_was_is_thrown_away() {
    let tricks: [fn(&World, &Path); 5] = [
        |_, folder| fs::remove_dir_all(folder).unwrap(),
        |_, folder| {
            fs::remove_dir_all(folder).unwrap();
            fs::create_dir(folder).unwrap();
        },
        |world, _| drop(git(&world.top, &["config", "core.autocrlf", "true"])),
        |world, _| fs::write(world.dir.path().join("state/control/spares/spare-1.index"), "no").unwrap(),
        |world, _| {
            let path = world.dir.path().join("state/control/spares/spare-1.json");
            let text = fs::read_to_string(&path).unwrap();
            let at = text.find("\"boot\":\"").unwrap() + 8;
            fs::write(&path, [&text[..at], "0", &text[at + 1..]].concat()).unwrap();
        },
    ];
    for (number, trick) in tricks.into_iter().enumerate() {
        let world = World::new();
        spares(&world).warm(&world.start(), 1).unwrap();
        write(&world.top, "b.txt", "b\n");
        let new = commit(&world.top, "c.txt", "c\n");
        trick(&world, &folders(&world)[0]);
        // As a new engine sees it: settings are read once.
        let repo = reopened(&world);
        repo.add_worktree(attempt(1, 1), &world.tree("1.1"), &new).unwrap();
        assert_eq!(git(&world.tree("1.1"), &["status", "--porcelain"]), "", "trick {number}");
        repo.spares(&world.tree("")).tidy().unwrap();
        assert!(folders(&world).is_empty(), "trick {number}: {:?}", folders(&world));
    }
}

fn reopened(world: &World) -> ropewalk_host::git::Repository {
    let control = world.dir.path().join("state/control");
    ropewalk_host::git::Repository::open(&world.top, &world.top.join(".git"), &control).unwrap()
}

#[test]
fn after_a_crash_spares_are_kept_and_remains_are_removed() {
    let world = World::new();
    let control = world.dir.path().join("state/control/spares");
    spares(&world).warm(&world.start(), 3).unwrap();
    world.add(attempt(1, 1));
    release(&world, 1);
    assert_eq!(folders(&world).len(), 3, "one was taken and given back");
    // Half-made, half-taken, and one whose folder is gone.
    fs::create_dir(world.tree(".spare-control-9")).unwrap();
    write(&world.tree(".spare-control-9"), "x", "x\n");
    fs::remove_file(control.join("spare-2.json")).unwrap();
    reopened(&world).spares(&world.tree("")).tidy().unwrap();
    assert_eq!(folders(&world).len(), 2);
    assert_eq!(wash_all(&world), 1);
    assert_eq!(spares(&world).list().len(), 2);
    spares(&world).discard_all().unwrap();
    assert!(folders(&world).is_empty());
    assert_eq!(fs::read_dir(&control).unwrap().count(), 0, "nothing is left in the control folder");
    assert_eq!(fs::metadata(&control).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_worktree_that_is_removed_for_its_room_leaves_no_spare_and_one_that_is_not_washed_is_counted() {
    let world = World::new();
    let parting = Parting { at_ms: AT_MS, ..Parting::default() };
    for task in [1, 2] {
        let path = world.add(attempt(task, 1));
        write(&path, "work.txt", "work\n");
        write(&path, "built.ignored", &"x".repeat(1 << 20));
        let name = match task {
            1 => world.repo.remove_worktree_after(attempt(task, 1), &path, &parting).unwrap(),
            _ => world.repo.release_worktree_after(attempt(task, 1), &path, &parting).unwrap(),
        };
        assert!(name.is_some() && !path.exists(), "its work is kept, and it is gone");
        if task == 1 {
            assert!(folders(&world).is_empty());
            let control = world.dir.path().join("state/control");
            assert_eq!(fs::read_dir(control.join("spares")).unwrap().count(), 0);
        }
    }
    let unwashed = spares(&world).unwashed();
    assert!(matches!(unwashed[..], [(1, bytes)] if bytes >= 1 << 20), "{unwashed:?}");
    wash_all(&world);
    assert_eq!(spares(&world).unwashed(), []);
}

#[test]
fn there_are_never_more_spares_than_the_bound() {
    let world = World::new();
    assert_eq!(spares(&world).warm(&world.start(), 1_000).unwrap(), SPARES_MAX);
    let path = world.tree("check");
    spares(&world).discard(7).unwrap();
    // One that was made without a spare is removed when there is no place for it.
    world.repo.add_check_worktree("check", &path, &world.start()).unwrap();
    spares(&world).warm(&world.start(), SPARES_MAX).unwrap();
    world.repo.remove_check_worktree(&path).unwrap();
    assert!(!path.exists());
    assert_eq!(folders(&world).len(), SPARES_MAX);
}

/// A crash of the engine can leave any of these; the next start makes a whole worktree of it.
#[test]
fn a_worktree_that_was_half_made_from_a_spare_is_made_again() {
    let remains: [fn(&World, &Path, &Path); 5] = [
        |_, path, _| fs::remove_file(path.join(".git")).unwrap(),
        |_, path, spare| fs::rename(path, spare).unwrap(),
        |_, path, spare| {
            fs::rename(path, spare).unwrap();
            fs::create_dir(path).unwrap();
        },
        |_, path, spare| {
            fs::rename(path, spare).unwrap();
            fs::create_dir(path).unwrap();
            fs::rename(spare.join(".git"), path.join(".git")).unwrap();
        },
        |world, _, _| fs::write(world.top.join(".git/worktrees/7.1/locked"), "ropewalk makes it").unwrap(),
    ];
    for remain in remains {
        let world = varied();
        spares(&world).warm(&world.start(), 1).unwrap();
        let path = world.add(attempt(7, 1));
        fs::remove_file(world.top.join(".git/worktrees/7.1/index")).unwrap();
        remain(&world, &path, &world.tree(".spare-control-1"));
        let path = world.add(attempt(7, 1));
        assert_ready(&world, &path, &world.start());
        assert_eq!(git(&path, &["branch", "--show-current"]), "ropewalk/7.1");
        assert_eq!(git(&world.top, &["for-each-ref", "refs/ropewalk/rescue"]), "", "nothing needed rescue");
        spares(&world).tidy().unwrap();
        assert!(folders(&world).is_empty());
    }
}

#[test]
fn fifty_at_once_succeed_beside_a_user_who_works() {
    let world = varied();
    let upstream = world.dir.path().join("upstream");
    git(world.dir.path(), &["clone", "-q", world.top.to_str().unwrap(), upstream.to_str().unwrap()]);
    git(&world.top, &["remote", "add", "origin", upstream.to_str().unwrap()]);
    spares(&world).warm(&world.start(), 10).unwrap();
    let (start, is_over) = (world.start(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let user = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) {
                commit(&upstream, "news.txt", &format!("{rounds}\n"));
                for args in [
                    &["fetch", "-q", "origin"][..],
                    &["status"],
                    &["worktree", "list"],
                    &["worktree", "prune"],
                ] {
                    git(&world.top, args);
                }
                rounds += 1;
            }
            rounds
        });
        let makers: Vec<_> = (1..=50)
            .map(|task| {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    let path = world.tree(&format!("{task}.1"));
                    world.repo.add_worktree(attempt(task, 1), &path, start).unwrap();
                    if task % 2 == 0 {
                        release(world, task);
                        spares(world).wash_one().unwrap();
                        world.repo.add_worktree(attempt(task, 1), &path, start).unwrap();
                    }
                })
            })
            .collect();
        let ended: Vec<_> = makers.into_iter().map(|maker| maker.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        assert!(user.join().unwrap() > 0);
        assert!(ended.iter().all(Result::is_ok));
    });
    let wanted = by_git(&world, &start);
    for task in 1..=50 {
        let path = world.tree(&format!("{task}.1"));
        assert_eq!(
            git(&path, &["status", "--porcelain", "--ignored", "--branch"]),
            format!("## ropewalk/{task}.1")
        );
        assert_eq!(contents(&path), wanted);
    }
    world.fsck();
}

/// What a git that was killed while it made or removed a worktree leaves blocks nobody for long.
#[test]
fn locks_of_a_killed_git_are_waited_for_and_set_aside() {
    let locks: [fn(&World) -> PathBuf; 3] = [
        |world| world.top.join(".git/refs/heads/ropewalk/1.1.lock"),
        |world| world.top.join(".git/packed-refs.lock"),
        |world| world.dir.path().join("state/control/spares/worktree-1.1.index.lock"),
    ];
    for lock in locks {
        let world = World::new();
        spares(&world).warm(&world.start(), 1).unwrap();
        let lock = lock(&world);
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        fs::write(&lock, "").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        fs::File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
        let began = Instant::now();
        let path = world.add(attempt(1, 1));
        assert_eq!(git(&path, &["branch", "--show-current"]), "ropewalk/1.1");
        release(&world, 1);
        assert!(began.elapsed() < Duration::from_secs(20), "{}: {:?}", lock.display(), began.elapsed());
        assert_eq!(git(&world.top, &["branch", "--list", "ropewalk/*"]), "");
    }
}
