//! Which folders are accepted, and why others are not.

use std::fs;

use ropewalk_host::git::{RepositoryFault, discover, version_check};

use crate::world::*;

#[test]
fn the_installed_git_is_new_enough() {
    assert!(version_check().is_ok_and(|version| version.starts_with(|c: char| c.is_ascii_digit())));
}

#[test]
fn subfolders_and_linked_worktrees_lead_to_the_main_checkout() {
    let world = World::new();
    let linked = world.tree("línked one");
    git(&world.top, &["worktree", "add", "-q", "-b", "side", linked.to_str().unwrap()]);
    fs::create_dir_all(world.top.join("deep/er")).unwrap();
    for (folder, base) in [(world.top.clone(), "main"), (world.top.join("deep/er"), "main"), (linked, "side")]
    {
        let found = discover(&folder).unwrap();
        assert_eq!(found.top, world.top);
        assert_eq!(found.common_dir, world.top.join(".git"));
        assert_eq!(found.base, branch(base));
    }
}

#[test]
fn unusable_repositories_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    assert!(matches!(discover(dir), Err(RepositoryFault::NotARepository(_))));
    assert!(matches!(discover(&dir.join("absent")), Err(RepositoryFault::Git(_))));
    git(dir, &["init", "-q", "--bare", "bare"]);
    assert!(matches!(discover(&dir.join("bare")), Err(RepositoryFault::Bare(_))));
    git(dir, &["init", "-q", "unborn"]);
    assert!(matches!(discover(&dir.join("unborn")), Err(RepositoryFault::Unborn(_))));
    let world = World::new();
    assert!(matches!(discover(&world.top.join(".git")), Err(RepositoryFault::Bare(_))));
    git(&world.top, &["checkout", "-q", "--detach"]);
    assert!(matches!(discover(&world.top), Err(RepositoryFault::Detached(_))));
}

#[test]
fn unfinished_operations_are_named() {
    for operation in ["merge", "rebase", "cherry-pick", "revert", "bisect", "am"] {
        let world = World::new();
        let top = &world.top;
        git(top, &["switch", "-q", "-c", "side"]);
        let side = commit(top, "a.txt", "side\n");
        let patch = git(top, &["format-patch", "-1", "--stdout"]);
        fs::write(world.dir.path().join("p"), patch + "\n").unwrap();
        git(top, &["switch", "-q", "main"]);
        let first = commit(top, "a.txt", "main\n");
        commit(top, "a.txt", "main again\n");
        match operation {
            "bisect" => drop(git(top, &["bisect", "start"])),
            "am" => drop(raw_git(top, &["am", "-q", "../p"])),
            "revert" => drop(raw_git(top, &["revert", "--no-edit", first.as_str()])),
            _ => drop(raw_git(top, &[operation, side.as_str()])),
        }
        let fault = discover(top).unwrap_err();
        assert_eq!(fault, RepositoryFault::MidOperation { folder: top.clone(), operation });
    }
}
