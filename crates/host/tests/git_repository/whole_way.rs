//! One task's way through git, from the worktree to the landing.

use crate::world::*;
use ropewalk_host::git::{Landing, Left, MadeBranch, Merge};

#[test]
fn work_goes_from_a_worktree_to_the_target() {
    let world = World::new();
    let (start, id) = (world.start(), attempt(7, 1));
    assert_eq!(world.repo.make_branch(&branch("feature/x"), &start), Ok(MadeBranch::Made));
    let path = world.add(id);
    write(&path, "b.txt", "new\n");
    let Left::Commit { head, changed } = world.collect(id, &start) else { panic!("not a commit") };
    assert!(changed);
    let merged = world.repo.merge(&branch("main"), &head, "merge\n", AT_MS, 4096).unwrap();
    let Merge::Merged { onto, commit, .. } = merged else { panic!("{merged:?}") };
    assert_eq!(onto, start);
    let landed = world.repo.land(&branch("main"), &start, &commit, "land 7.1").unwrap();
    assert_eq!(landed, Landing::Landed { checkout: Some(world.top.clone()) });
    assert_eq!(git(&world.top, &["status", "--porcelain"]), "");
    assert_eq!(world.repo.release_worktree(id, &path), Ok(None));
    assert!(!path.exists());
    assert_eq!(git(&world.top, &["branch", "--list", "ropewalk/*"]), "");
    world.fsck();
}
