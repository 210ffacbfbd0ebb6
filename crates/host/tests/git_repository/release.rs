//! Nothing an agent made is lost when its worktree goes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::world::*;

const RESCUE: &str = "refs/ropewalk/rescue/7/1";

/// Releases attempt 7.1 twice and checks that nothing of it is left but refs.
fn release(world: &World) -> Option<String> {
    let path = world.tree("7.1");
    let rescued = world.repo.release_worktree(attempt(7, 1), &path).unwrap();
    assert!(path.symlink_metadata().is_err());
    assert!(!world.top.join(".git/worktrees/7.1").exists());
    assert_eq!(git(&world.top, &["branch", "--list", "ropewalk/*"]), "");
    let left = fs::read_dir(world.tree("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| !name.to_string_lossy().starts_with(".spare-control-")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(world.repo.release_worktree(attempt(7, 1), &path), Ok(rescued.clone()), "again is the same");
    world.fsck();
    rescued
}

#[test]
fn an_untouched_or_collected_worktree_needs_no_rescue() {
    let world = World::new();
    world.add(attempt(7, 1));
    assert_eq!(release(&world), None);
    let path = world.add(attempt(7, 1));
    let start = world.start();
    commit(&path, "b.txt", "b\n");
    write(&path, "c.txt", "c\n");
    world.collect(attempt(7, 1), &start);
    assert_eq!(release(&world), None);
}

#[test]
fn uncommitted_files_and_own_commits_are_rescued() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    let own = commit(&path, "b.txt", "b\n");
    write(&path, "c.txt", "c\n");
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    assert_eq!(oid(&world.top, &format!("{RESCUE}^")), own);
    assert_eq!(git(&world.top, &["show", &format!("{RESCUE}:c.txt")]), "c");
}

#[test]
fn commits_survive_a_deleted_folder_and_a_deleted_branch() {
    for (folder, name) in [(true, false), (false, true), (true, true)] {
        let world = World::new();
        let path = world.add(attempt(7, 1));
        let own = commit(&path, "b.txt", "b\n");
        if name {
            git(&path, &["update-ref", "-d", "refs/heads/ropewalk/7.1"]);
        }
        if folder {
            fs::remove_dir_all(&path).unwrap();
        }
        assert_eq!(release(&world).as_deref(), Some(RESCUE), "folder {folder}, name {name}");
        assert_eq!(oid(&world.top, &format!("{RESCUE}^1")), own);
    }
}

#[test]
fn tips_on_two_branches_and_a_detached_head_are_kept() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    let on_branch = commit(&path, "b.txt", "b\n");
    git(&path, &["checkout", "-q", "--detach", "main"]);
    let detached = commit(&path, "c.txt", "c\n");
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    for tip in [on_branch, detached] {
        git(&world.top, &["merge-base", "--is-ancestor", tip.as_str(), RESCUE]);
    }
}

#[test]
fn what_a_reset_dropped_is_kept() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    let dropped = commit(&path, "b.txt", "b\n");
    git(&path, &["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    assert_eq!(oid(&world.top, &format!("{RESCUE}^2")), dropped);
}

#[test]
fn conflicts_and_embedded_files_are_rescued() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    let theirs = commit(&path, "a.txt", "theirs\n");
    git(&path, &["reset", "-q", "--hard", "main"]);
    commit(&path, "a.txt", "ours\n");
    assert!(!raw_git(&path, &["merge", theirs.as_str()]).status.success());
    git(&path, &["init", "-q", "inner"]);
    commit(&path.join("inner"), "deep/f.txt", "f\n");
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    assert!(git(&world.top, &["show", &format!("{RESCUE}:a.txt")]).contains("<<<<<<<"));
    assert_eq!(git(&world.top, &["show", &format!("{RESCUE}:inner/deep/f.txt")]), "f");
    git(&world.top, &["merge-base", "--is-ancestor", theirs.as_str(), RESCUE]);
}

#[test]
fn read_only_folders_and_a_replaced_pointer_do_not_stop_it() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&path, "locked/b.txt", "b\n");
    fs::set_permissions(path.join("locked"), Permissions::from_mode(0o555)).unwrap();
    fs::write(path.join(".git"), "gitdir: /nowhere\n").unwrap();
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    assert_eq!(git(&world.top, &["show", &format!("{RESCUE}:locked/b.txt")]), "b");
}

#[test]
fn a_failing_git_keeps_everything() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    commit(&path, "b.txt", "b\n");
    let objects = world.top.join(".git/objects");
    fs::rename(&objects, world.top.join(".git/hidden")).unwrap();
    assert!(world.repo.release_worktree(attempt(7, 1), &path).is_err());
    assert!(path.join("b.txt").exists());
    fs::rename(world.top.join(".git/hidden"), &objects).unwrap();
    assert!(release(&world).is_some());
}

#[test]
fn no_hook_runs() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&path, "b.txt", "b\n");
    let (mark, _) = plant_hooks(&world);
    assert!(world.repo.release_worktree(attempt(7, 1), &path).unwrap().is_some());
    assert!(!mark.exists());
}

#[test]
fn files_are_kept_when_git_no_longer_knows_the_worktree() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&path, "b.txt", "b\n");
    git(&path, &["update-ref", "-d", "refs/heads/ropewalk/7.1"]);
    fs::remove_dir_all(world.top.join(".git/worktrees")).unwrap();
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    assert_eq!(git(&world.top, &["show", &format!("{RESCUE}:b.txt")]), "b");
}

#[test]
fn a_clone_that_was_added_as_a_link_is_kept_with_its_commits_and_its_files() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    git(&path, &["init", "-q", "vendored"]);
    let inner = path.join("vendored");
    write(&inner, "a.txt", "a\n");
    git(&inner, &["add", "."]);
    git(&inner, &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "inner"]);
    git(&path, &["add", "-A"]);
    let own = oid(&inner, "HEAD");
    write(&inner, "b.txt", "not committed\n");
    assert!(matches!(world.collect(id, &start), ropewalk_host::git::Left::Unfinished { .. }));
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    git(&world.top, &["gc", "-q", "--prune=now"]);
    assert_eq!(git(&world.top, &["show", &format!("{own}:a.txt")]), "a");
    assert_eq!(git(&world.top, &["show", &format!("{RESCUE}:vendored/b.txt")]), "not committed");
}

#[test]
fn the_history_of_a_repository_that_nobody_added_is_kept_with_its_stash_and_its_branches() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    git(&path, &["init", "-q", "inner/one \"two\""]);
    let inner = path.join("inner/one \"two\"");
    let first = commit(&inner, "a.txt", "first\n");
    git(&inner, &["checkout", "-q", "-b", "other"]);
    let other = commit(&inner, "a.txt", "other\n");
    git(&inner, &["pack-refs", "--all"]);
    git(&inner, &["checkout", "-q", "-"]);
    write(&inner, "a.txt", "stashed\n");
    git(&inner, &["stash", "-q"]);
    let stash = oid(&inner, "refs/stash");
    git(&path, &["init", "-q", "inner/one \"two\"/deeper"]);
    let deeper = commit(&inner.join("deeper"), "d.txt", "deeper\n");
    assert_eq!(release(&world).as_deref(), Some(RESCUE));
    git(&world.top, &["gc", "-q", "--prune=now"]);
    for tip in [first, other, stash, deeper] {
        git(&world.top, &["merge-base", "--is-ancestor", tip.as_str(), RESCUE]);
    }
}

#[test]
fn an_edit_that_git_was_told_to_skip_is_kept() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    git(&path, &["update-index", "--skip-worktree", "a.txt"]);
    write(&path, "a.txt", "edited\n");
    let ropewalk_host::git::Left::Commit { head, changed } = world.collect(id, &start) else {
        panic!("a commit")
    };
    assert!(changed);
    assert_eq!(git(&world.top, &["show", &format!("{head}:a.txt")]).trim(), "edited");
}
