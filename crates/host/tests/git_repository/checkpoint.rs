//! Checkpoints of a worktree that an agent works in.

use std::collections::BTreeSet;
use std::fs;

use ropewalk_core::id::TaskId;

use crate::world::*;

#[test]
fn a_checkpoint_holds_what_is_there_and_touches_nothing() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    let status = |path: &std::path::Path| git(path, &["status", "--porcelain"]);
    write(&path, "a.txt", "half done\n");
    write(&path, "new.txt", "new\n");
    git(&path, &["add", "new.txt"]);
    let before = status(&path);
    let first = world.repo.checkpoint(id, &path, &start, 1_000).unwrap();
    assert_eq!(status(&path), before, "the agent's index is its own");
    assert_eq!(first, world.repo.checkpoint(id, &path, &start, 1_000).unwrap(), "again is the same");
    let show = |at: &str| git(&world.top, &["show", at]);
    assert_eq!(show(&format!("{first}:a.txt")), "half done");
    let pinned = git(&world.top, &["for-each-ref", "--format=%(refname)", "refs/ropewalk/checkpoints"]);
    assert!(pinned.ends_with("/7/1"), "{pinned}");
    assert_eq!(show(&format!("{pinned}:new.txt")), "new");

    write(&path, "a.txt", "more\n");
    let second = world.repo.checkpoint(id, &path, &start, 2_000).unwrap();
    assert_ne!(first, second);
    assert_eq!(world.repo.tasks_with_checkpoints().unwrap(), BTreeSet::from([TaskId(7)]));
    let kept = BTreeSet::from([second.clone()]);
    assert_eq!(world.repo.forget_checkpoints(TaskId(7), &kept).unwrap(), 1);
    assert_eq!(world.repo.forget_checkpoints(TaskId(7), &kept).unwrap(), 0);
    assert_eq!(show(&format!("{second}:a.txt")), "more");
    world.fsck();
}

#[test]
fn a_merge_in_the_middle_is_put_by_as_it_is_and_a_missing_worktree_is_an_error() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    let path = world.add(id);
    write(&path, "a.txt", "ours\n");
    git(&path, &["commit", "-qam", "ours"]);
    git(&path, &["checkout", "-q", "-b", "other", start.as_str()]);
    write(&path, "a.txt", "theirs\n");
    git(&path, &["commit", "-qam", "theirs"]);
    let ours = format!("ropewalk/{id}");
    assert!(
        std::process::Command::new("git").current_dir(&path).args(["merge", "-q", &ours]).output().is_ok()
    );
    assert!(fs::read_to_string(path.join("a.txt")).unwrap().contains("<<<<<<<"));
    let taken = world.repo.checkpoint(id, &path, &start, 1_000).unwrap();
    assert!(git(&world.top, &["show", &format!("{taken}:a.txt")]).contains("<<<<<<<"));
    fs::remove_dir_all(&path).unwrap();
    assert!(world.repo.checkpoint(id, &path, &start, 1_000).is_err());
}
