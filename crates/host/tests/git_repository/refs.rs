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
