//! What is collected from whatever an agent did.

use std::fs;
use std::path::Path;

use ropewalk_core::id::Oid;
use ropewalk_host::git::Left;

use crate::world::*;

/// Does `act` in a fresh worktree and collects.
fn collected(act: impl Fn(&World, &Path)) -> (World, Oid, Left) {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    act(&world, &path);
    let left = world.collect(id, &start);
    assert_eq!(left, world.collect(id, &start), "collecting again gives the same");
    world.fsck();
    (world, start, left)
}

fn files(world: &World, left: &Left) -> String {
    let Left::Commit { head, .. } = left else { panic!("{left:?}") };
    assert_eq!(oid(&world.top, "refs/ropewalk/attempts/7/1"), *head);
    git(&world.top, &["ls-tree", "-r", "--name-only", head.as_str()]).replace('\n', " ")
}

#[test]
fn nothing_is_the_start_unchanged() {
    let (_, start, left) = collected(|_, _| {});
    assert_eq!(left, Left::Commit { head: start, changed: false });
}

#[test]
fn edits_additions_and_deletions_are_committed_and_ignored_files_are_not() {
    let (world, start, left) = collected(|world, path| {
        fs::write(world.top.join(".git/info/exclude"), "excluded\n").unwrap();
        write(path, "a.txt", "edited\n");
        write(path, "new/ñ b.txt", "b\n");
        write(path, "x.ignored", "x\n");
        write(path, "excluded", "x\n");
        fs::remove_file(path.join("gone.txt")).unwrap();
    });
    assert_eq!(
        git(
            &world.top,
            &[
                "-c",
                "core.quotePath=false",
                "diff",
                "--name-status",
                start.as_str(),
                "refs/ropewalk/attempts/7/1"
            ]
        ),
        "M\ta.txt\nD\tgone.txt\nA\tnew/ñ b.txt"
    );
    assert!(matches!(left, Left::Commit { changed: true, .. }));
}

#[test]
fn files_hidden_from_git_are_committed_too() {
    let (world, _, left) = collected(|_, path| {
        git(path, &["update-index", "--assume-unchanged", "a.txt"]);
        write(path, "a.txt", "hidden\n");
    });
    files(&world, &left);
    assert_eq!(git(&world.top, &["show", "refs/ropewalk/attempts/7/1:a.txt"]), "hidden");
}

#[test]
fn an_agents_own_commits_are_kept_below() {
    let (world, start, left) = collected(|_, path| {
        commit(path, "b.txt", "b\n");
        commit(path, "c.txt", "c\n");
        git(path, &["commit", "-q", "--amend", "-m", "amended"]);
        write(path, "d.txt", "d\n");
    });
    assert_eq!(files(&world, &left), ".gitignore a.txt b.txt c.txt d.txt gone.txt");
    let range = format!("{start}..refs/ropewalk/attempts/7/1");
    assert_eq!(git(&world.top, &["log", "--format=%s", &range]), "work\namended\nwrite b.txt");
}

#[test]
fn a_clean_worktree_with_commits_is_its_own_head() {
    let (world, _, left) = collected(|_, path| drop(commit(path, "b.txt", "b\n")));
    assert_eq!(left, Left::Commit { head: oid(&world.tree("7.1"), "HEAD"), changed: true });
}

#[test]
fn detached_switched_reset_and_deleted_branches_do_not_matter() {
    let acts: [fn(&World, &Path); 4] = [
        |_, path| drop(git(path, &["checkout", "-q", "--detach"])),
        |_, path| drop(git(path, &["switch", "-q", "-c", "elsewhere"])),
        |_, path| {
            commit(path, "dropped.txt", "x\n");
            git(path, &["reset", "-q", "--hard", "HEAD~1"]);
        },
        |_, path| drop(git(path, &["update-ref", "-d", "refs/heads/ropewalk/7.1"])),
    ];
    for act in acts {
        let (world, start, left) = collected(|world, path| {
            act(world, path);
            write(path, "b.txt", "b\n");
        });
        assert_eq!(files(&world, &left), ".gitignore a.txt b.txt gone.txt");
        assert_eq!(oid(&world.top, "refs/ropewalk/attempts/7/1^"), start);
    }
}

#[test]
fn a_deleted_branch_still_counts_the_commits_made_on_it() {
    let (world, start, left) = collected(|_, path| {
        commit(path, "b.txt", "b\n");
        git(path, &["update-ref", "-d", "refs/heads/ropewalk/7.1"]);
        write(path, "c.txt", "c\n");
    });
    assert_eq!(files(&world, &left), ".gitignore a.txt b.txt c.txt gone.txt");
    assert_eq!(oid(&world.top, "refs/ropewalk/attempts/7/1~2"), start);
}

#[test]
fn an_unresolved_merge_is_unfinished() {
    let (_, _, left) = collected(|world, path| {
        let side = commit(path, "a.txt", "theirs\n");
        let start = world.start();
        git(path, &["reset", "-q", "--hard", start.as_str()]);
        commit(path, "a.txt", "ours\n");
        assert!(!raw_git(path, &["merge", side.as_str()]).status.success());
    });
    assert_eq!(left, Left::Unfinished { detail: "a merge is not finished".into() });
}

#[test]
fn a_repository_inside_is_unfinished_and_named() {
    let (_, _, left) = collected(|_, path| drop(git(path, &["init", "-q", "vendor/thing"])));
    let Left::Unfinished { detail } = left else { panic!("{left:?}") };
    assert!(detail.contains("vendor/thing"), "{detail}");
}

#[test]
fn a_deleted_or_replaced_folder_is_gone() {
    let (_, _, left) = collected(|_, path| fs::remove_dir_all(path).unwrap());
    assert!(matches!(left, Left::Gone { .. }));
    let (_, _, left) = collected(|world, path| {
        fs::remove_dir_all(path).unwrap();
        std::os::unix::fs::symlink(&world.top, path).unwrap();
    });
    assert!(matches!(left, Left::Gone { .. }));
}

#[test]
fn a_lost_or_broken_index_is_made_anew() {
    for broken in [None, Some("rubbish")] {
        let world = World::new();
        let (start, path) = (world.start(), world.add(attempt(7, 1)));
        write(&path, "b.txt", "b\n");
        let index = world.top.join(".git/worktrees/7.1/index");
        fs::remove_file(&index).unwrap();
        if let Some(text) = broken {
            fs::write(&index, text).unwrap();
        }
        let left = world.collect(attempt(7, 1), &start);
        assert_eq!(files(&world, &left), ".gitignore a.txt b.txt gone.txt");
    }
}

#[test]
fn nothing_an_agent_plants_is_run() {
    let world = World::new();
    let (start, path) = (world.start(), world.add(attempt(7, 1)));
    let (mark, canary) = plant_hooks(&world);
    write(&path, "b.txt", "b\n");
    write(&path, ".gitattributes", "* filter=evil diff=evil merge=evil\n");
    // In the shared configuration, as an agent in a worktree can write it, and behind a `.git` of its own.
    let evil = world.dir.path().join("evil.git");
    git(world.dir.path(), &["init", "-q", "--bare", "evil.git"]);
    for config in [world.top.join(".git/config"), evil.join("config")] {
        for key in ["core.fsmonitor", "filter.evil.clean", "filter.evil.smudge", "merge.evil.driver"] {
            git(world.dir.path(), &["config", "-f", config.to_str().unwrap(), key, canary.to_str().unwrap()]);
        }
    }
    fs::write(path.join(".git"), format!("gitdir: {}\n", evil.display())).unwrap();
    let _ = fs::remove_file(&mark);
    let left = world.collect(attempt(7, 1), &start);
    let Left::Commit { head, .. } = &left else { panic!("{left:?}") };
    world.repo.merge(&branch("main"), head, "merge\n", AT_MS, 1000).unwrap();
    world.repo.release_worktree(attempt(7, 1), &path).unwrap();
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap());
    assert_eq!(files(&world, &left), ".gitattributes .gitignore a.txt b.txt gone.txt");
    assert_eq!(git(&world.top, &["show", "refs/ropewalk/attempts/7/1:b.txt"]), "b");
    git(&world.top, &["status"]);
    assert!(mark.exists(), "a person's git does run the canary, so the test can fail");
}

#[test]
fn a_head_that_would_be_an_option_of_git_runs_nothing() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    let canary = world.top.join("canary.sh");
    fs::write(&canary, format!("#!/bin/sh\ntouch {}/fired\n", world.top.display())).unwrap();
    git(&world.top, &["config", "gpg.program", &canary.to_string_lossy()]);
    let head = git(&path, &["rev-parse", "--path-format=absolute", "--git-path", "HEAD"]);
    for text in ["ref: --format=%(signature)\n", "ref: refs/heads/*\n", "ref: refs/heads/a b\n"] {
        fs::write(head.trim(), text).unwrap();
        // Whatever it makes of such a worktree, it must neither panic nor run what the agent named.
        drop(world.repo.collect(id, &path, &start, "message\n", 0));
    }
    assert!(!world.top.join("fired").exists());
}
