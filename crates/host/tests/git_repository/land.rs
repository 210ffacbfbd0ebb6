//! A target moves with its checkout, or neither moves.

use std::fs;

use ropewalk_core::id::Oid;
use ropewalk_host::git::{Landing, Merge};

use crate::world::*;

/// A world whose main has a candidate merged but not landed: changes a.txt, deletes gone.txt, adds two files.
fn ready() -> (World, Oid, Oid) {
    let world = World::new();
    let old = world.start();
    let path = world.add(attempt(1, 1));
    write(&path, "a.txt", "landed\n");
    write(&path, "new/file.txt", "new\n");
    git(&path, &["rm", "-q", "gone.txt"]);
    write(&path, "kept.ignored", "landed\n");
    git(&path, &["add", "-f", "kept.ignored"]);
    let ropewalk_host::git::Left::Commit { head, .. } = world.collect(attempt(1, 1), &old) else { panic!() };
    let merged = world.repo.merge(&branch("main"), &head, "merge\n", AT_MS, 1000).unwrap();
    let Merge::Merged { commit, .. } = merged else { panic!("{merged:?}") };
    (world, old, commit)
}

fn land(world: &World, old: &Oid, new: &Oid) -> Landing {
    world.repo.land(&branch("main"), old, new, "land").unwrap()
}

/// Everything in the checkout and its index, for comparing.
fn picture(world: &World) -> String {
    let files = git(&world.top, &["ls-files", "-o", "-c", "-z"]);
    let mut picture =
        git(&world.top, &["--no-optional-locks", "status", "--porcelain", "--ignored", "--branch"]);
    for name in files.split('\0').filter(|name| !name.is_empty()) {
        picture += &format!("\n{name}: {:?}", fs::read(world.top.join(name)).ok());
    }
    picture
}

#[test]
fn a_target_without_a_checkout_just_moves() {
    let (world, old, new) = ready();
    git(&world.top, &["switch", "-q", "-c", "other"]);
    assert_eq!(land(&world, &old, &new), Landing::Landed { checkout: None });
    assert_eq!(oid(&world.top, "main"), new);
    assert!(git(&world.top, &["reflog", "main"]).contains("land"));
    assert_eq!(git(&world.top, &["status", "--porcelain"]), "");
}

#[test]
fn a_clean_checkout_moves_along_and_untracked_files_stay() {
    let (world, old, new) = ready();
    write(&world.top, "notes.txt", "mine\n");
    write(&world.top, "mine.ignored", "mine\n");
    assert_eq!(land(&world, &old, &new), Landing::Landed { checkout: Some(world.top.clone()) });
    assert_eq!(git(&world.top, &["status", "--porcelain"]), "?? notes.txt");
    assert_eq!(fs::read_to_string(world.top.join("a.txt")).unwrap(), "landed\n");
    assert!(world.top.join("mine.ignored").exists() && !world.top.join("gone.txt").exists());
    assert_eq!(land(&world, &old, &new), Landing::Landed { checkout: Some(world.top.clone()) });
    world.fsck();
}

#[test]
fn a_linked_worktree_moves_along_too() {
    let (world, old, new) = ready();
    git(&world.top, &["switch", "-q", "-c", "other"]);
    let linked = world.tree("linked");
    git(&world.top, &["worktree", "add", "-q", linked.to_str().unwrap(), "main"]);
    assert_eq!(land(&world, &old, &new), Landing::Landed { checkout: Some(linked.clone()) });
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
}

#[test]
fn whatever_would_be_lost_parks_the_landing() {
    type Act = (&'static str, fn(&World));
    let acts: [Act; 10] = [
        ("modified", |world| write(&world.top, "a.txt", "mine\n")),
        ("modified", |world| {
            git(&world.top, &["update-index", "--assume-unchanged", "a.txt"]);
            write(&world.top, "a.txt", "hidden\n");
        }),
        ("modified", |world| fs::remove_file(world.top.join(".gitignore")).unwrap()),
        ("staged", |world| {
            write(&world.top, "staged.txt", "mine\n");
            git(&world.top, &["add", "staged.txt"]);
        }),
        ("overwritten: new/file.txt", |world| write(&world.top, "new/file.txt", "mine\n")),
        ("overwritten: new", |world| write(&world.top, "new", "mine\n")),
        ("overwritten: kept.ignored", |world| write(&world.top, "kept.ignored", "mine\n")),
        ("overwritten: new/file.txt/x.ignored", |world| {
            write(&world.top, "new/file.txt/x.ignored", "mine\n")
        }),
        ("index.lock", |world| write(&world.top, ".git/index.lock", "")),
        ("bisect", |world| drop(git(&world.top, &["bisect", "start"]))),
    ];
    for (wanted, act) in acts {
        let (world, old, new) = ready();
        act(&world);
        let (before, index) = (picture(&world), fs::read(world.top.join(".git/index")).unwrap());
        let landing = land(&world, &old, &new);
        let Landing::Dirty { checkout, detail } = landing else { panic!("{wanted}: {landing:?}") };
        assert_eq!(checkout, world.top);
        assert!(detail.contains(wanted), "{wanted} in {detail}");
        assert_eq!(oid(&world.top, "main"), old, "{wanted}");
        assert_eq!(picture(&world), before);
        assert_eq!(
            fs::read(world.top.join(".git/index")).unwrap(),
            index,
            "{wanted}: the index is untouched"
        );
    }
}

#[test]
fn a_target_in_the_middle_of_a_rebase_is_left_alone() {
    let (world, old, new) = ready();
    git(&world.top, &["switch", "-q", "-c", "side"]);
    commit(&world.top, "a.txt", "side\n");
    git(&world.top, &["switch", "-q", "main"]);
    let ours = commit(&world.top, "a.txt", "ours\n");
    assert!(!raw_git(&world.top, &["rebase", "side"]).status.success());
    let landing = land(&world, &ours, &new);
    assert!(matches!(landing, Landing::Dirty { .. }), "{landing:?}");
    assert_eq!(oid(&world.top, "main"), ours);
    assert_ne!(ours, old);
}

#[test]
fn a_stale_compare_and_swap_is_refused() {
    let (world, old, new) = ready();
    let actual = commit(&world.top, "later.txt", "later\n");
    assert_eq!(land(&world, &old, &new), Landing::TargetMoved { actual: Some(actual) });
    let landing = world.repo.land(&branch("absent"), &old, &new, "land").unwrap();
    assert_eq!(landing, Landing::TargetMoved { actual: None });
}

#[test]
fn a_crash_between_ref_and_checkout_is_finished() {
    let (world, old, new) = ready();
    git(&world.top, &["update-ref", "refs/heads/main", new.as_str()]);
    assert_ne!(git(&world.top, &["status", "--porcelain"]), "");
    assert_eq!(land(&world, &old, &new), Landing::Landed { checkout: Some(world.top.clone()) });
    assert_eq!(git(&world.top, &["status", "--porcelain"]), "");
}

#[test]
fn a_crash_followed_by_the_users_edits_keeps_the_edits() {
    let (world, old, new) = ready();
    git(&world.top, &["update-ref", "refs/heads/main", new.as_str()]);
    write(&world.top, "a.txt", "mine\n");
    let before = picture(&world);
    assert!(matches!(land(&world, &old, &new), Landing::Landed { .. }));
    assert_eq!(picture(&world), before);
}

#[test]
fn a_file_may_become_a_folder_and_back() {
    let world = World::new();
    let old = world.start();
    let path = world.add(attempt(1, 1));
    git(&path, &["rm", "-q", "a.txt"]);
    let folder = commit(&path, "a.txt/inner.txt", "x\n");
    assert!(matches!(land(&world, &old, &folder), Landing::Landed { .. }));
    assert_eq!(git(&world.top, &["status", "--porcelain"]), "");
    assert!(matches!(land(&world, &folder, &old), Landing::Landed { .. }));
    assert_eq!(git(&world.top, &["status", "--porcelain"]), "");
}

#[test]
fn no_hook_or_filter_runs() {
    let (world, old, new) = ready();
    let (mark, canary) = plant_hooks(&world);
    for key in ["core.fsmonitor", "filter.evil.smudge", "filter.evil.clean"] {
        git(&world.top, &["config", key, canary.to_str().unwrap()]);
    }
    fs::write(world.top.join(".git/info/attributes"), "* filter=evil\n").unwrap();
    let _ = fs::remove_file(&mark);
    assert_eq!(land(&world, &old, &new), Landing::Landed { checkout: Some(world.top.clone()) });
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap());
}
