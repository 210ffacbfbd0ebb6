//! All that is done with a repository, one after the other, as an engine does over a day with a hostile agent.

use std::fs;

use ropewalk_core::id::Oid;
use ropewalk_core::settings::LandMethod;
use ropewalk_host::git::{
    Car, Coupled, Landing, Left, Merge, Repository, RepositoryFault, discover, has_branch,
};

use super::stage::Stage;
use crate::world::*;

const TEXT_MAX: usize = 4096;

/// What must go well in spite of what was planted, goes well.
pub(crate) fn everything(stage: &Stage) {
    let (world, path, id) = (&stage.world, &stage.path, stage.id);
    // A look from within may be refused; it must not run anything.
    let _ = discover(path);
    let common = world.top.join(".git");
    // Refused when the checkout was declared to be elsewhere; never led there.
    match discover(&world.top) {
        Ok(found) => assert_eq!((&found.top, &found.common_dir), (&world.top, &common)),
        Err(fault) => assert!(matches!(fault, RepositoryFault::Bare(_)), "{fault}"),
    }
    let repo = Repository::open(&world.top, &common, &world.dir.path().join("state/control")).unwrap();
    assert!(has_branch(&common, &branch("main")).unwrap());

    // While the agent is at work, and after.
    repo.checkpoint(id, path, &stage.start, AT_MS).unwrap();
    let told = repo.tampered(path, &stage.guard).unwrap();
    assert!(told.is_some(), "a guard tells of all that is planted here");
    let Left::Commit { head, changed: true } = repo.collect(id, path, &stage.start, "work\n", AT_MS).unwrap()
    else {
        panic!("there is work to collect")
    };
    let start = &stage.start;
    repo.diff(start, &head, false, TEXT_MAX).unwrap();
    repo.diff(start, &head, true, TEXT_MAX).unwrap();
    repo.log_graph(Some(start), &branch("main"), 20).unwrap();

    // Others start, in the same repository.
    let other = world.tree("8.1");
    repo.add_worktree(attempt(8, 1), &other, start).unwrap();
    repo.add_worktree(attempt(8, 1), &other, start).unwrap();
    repo.guard(&other).unwrap();

    trains(&repo, stage, &head);
    let planned = repo.plan_branch(&branch("feature/x"), &branch("main")).unwrap().unwrap();
    repo.make_branch(&planned.0, &planned.1).unwrap();

    // Landed with the user's checkout, which moves; then the branch follows.
    let tip = world.start();
    let Merge::Merged { commit, .. } =
        repo.merge(&branch("main"), &head, "merge\n", AT_MS, TEXT_MAX).unwrap()
    else {
        panic!("it merges")
    };
    let check = world.tree("check");
    repo.add_check_worktree("7", &check, &commit).unwrap();
    repo.remove_check_worktree(&check).unwrap();
    let landed = repo.land(&branch("main"), &tip, &commit, "land").unwrap();
    assert_eq!(landed, Landing::Landed { checkout: Some(world.top.clone()) });
    repo.follow(&planned.0, &commit).unwrap();
    // Repeated after a crash, and with somebody's changes in the way.
    repo.land(&branch("main"), &tip, &commit, "land").unwrap();

    // The end of it: a rescue of what came late, and of one that was cancelled.
    write(&other, "late.txt", "late\n");
    fs::remove_dir_all(path.join("folder")).unwrap();
    repo.release_worktree(attempt(8, 1), &other).unwrap();
    repo.release_worktree(id, path).unwrap();
    assert!(!path.exists() && !other.exists());
    repo.forget_checkpoints(id.task, &Default::default()).unwrap();
    repo.tasks_with_checkpoints().unwrap();
    let _ = discover(path);
}

/// Merged in process, by git, and not at all, each way.
fn trains(repo: &Repository, stage: &Stage, head: &Oid) {
    for method in [LandMethod::Merge, LandMethod::Squash, LandMethod::Rebase] {
        let heads = [head, &stage.theirs, &stage.apart];
        let cars = heads.map(|head| Car { head, message: "car\n", at_ms: AT_MS, method });
        let train = repo.train(&branch("main"), &cars, TEXT_MAX).unwrap().unwrap();
        assert!(matches!(train.cars[0], Coupled::Merged { .. }), "{train:?}");
        assert!(matches!(train.cars[1], Coupled::Conflict { .. }), "{train:?}");
        assert!(matches!(train.cars[2], Coupled::Merged { .. }), "{train:?}");
    }
}
