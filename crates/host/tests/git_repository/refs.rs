//! Names and moves of branches.

use ropewalk_host::git::MadeBranch;

use crate::world::*;

#[test]
fn a_planned_branch_clashes_with_none() {
    let world = World::new();
    let at = world.start();
    for name in ["taken", "taken-1", "Upper", "below/it", "above"] {
        assert_eq!(world.repo.make_branch(&branch(name), &at), Ok(MadeBranch::Made));
    }
    for (wanted, planned) in [
        ("free", "free"),
        ("taken", "taken-2"),
        ("upper", "upper-1"),
        ("below", "below-1"),
        ("BELOW", "BELOW-1"),
    ] {
        assert_eq!(
            world.repo.plan_branch(&branch(wanted), &branch("main")),
            Ok(Some((branch(planned), at.clone())))
        );
    }
    // Below an existing branch no suffix helps.
    assert!(world.repo.plan_branch(&branch("above/x"), &branch("main")).is_err());
    assert_eq!(world.repo.plan_branch(&branch("free"), &branch("absent")), Ok(None));
}

#[test]
fn a_branch_is_made_once() {
    let world = World::new();
    let first = world.start();
    let second = commit(&world.top, "b.txt", "b\n");
    let make = |name, at| world.repo.make_branch(&branch(name), at).unwrap();
    assert_eq!(make("x/y", &first), MadeBranch::Made);
    assert_eq!(make("x/y", &first), MadeBranch::Made);
    assert_eq!(make("x/y", &second), MadeBranch::Taken);
    assert_eq!(make("x", &first), MadeBranch::Taken);
    assert_eq!(make("x/y/z", &first), MadeBranch::Taken);
    assert_eq!(make("X/Y", &first), MadeBranch::Taken);
    assert_eq!(world.repo.branch_tip(&branch("x/y")), Ok(Some(first)));
}

#[test]
fn a_branch_follows_forward_only_and_only_when_nobody_has_it() {
    let world = World::new();
    let first = world.start();
    git(&world.top, &["branch", "idle"]);
    let second = commit(&world.top, "b.txt", "b\n");
    world.repo.follow(&branch("idle"), &second).unwrap();
    assert_eq!(oid(&world.top, "idle"), second);
    world.repo.follow(&branch("idle"), &first).unwrap();
    assert_eq!(oid(&world.top, "idle"), second);
    git(&world.top, &["reset", "-q", "--hard", first.as_str()]);
    world.repo.follow(&branch("main"), &second).unwrap();
    assert_eq!(oid(&world.top, "main"), first);
    world.repo.follow(&branch("absent"), &second).unwrap();
}

#[test]
fn a_lock_that_a_killed_git_left_is_set_aside_and_a_young_one_is_waited_for() {
    let world = World::new();
    let at = world.start();
    let name = ropewalk_core::id::BranchName::new("feature/x").unwrap();
    let lock = world.top.join(".git/refs/heads/feature/x.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    std::fs::File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
    assert_eq!(world.repo.make_branch(&name, &at).unwrap(), ropewalk_host::git::MadeBranch::Made);
    assert!(!lock.exists());
    let aside = std::fs::read_dir(world.top.join(".git")).unwrap().flatten();
    assert!(aside.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("stale-x.lock.")));

    // Somebody's own: it goes when they are done.
    let other = ropewalk_core::id::BranchName::new("feature/y").unwrap();
    let lock = world.top.join(".git/refs/heads/feature/y.lock");
    std::fs::write(&lock, "").unwrap();
    let theirs = lock.clone();
    let done = std::thread::spawn(move || {
        std::thread::park_timeout(std::time::Duration::from_millis(300));
        std::fs::remove_file(theirs).unwrap();
    });
    assert_eq!(world.repo.make_branch(&other, &at).unwrap(), ropewalk_host::git::MadeBranch::Made);
    done.join().unwrap();
    world.fsck();
}
