//! Merges that touch nothing.

use std::fs;

use ropewalk_host::git::Merge;

use crate::world::*;

fn merge(world: &World, head: &ropewalk_core::id::Oid) -> Merge {
    let merged = world.repo.merge(&branch("main"), head, "merge\n", AT_MS, 2000).unwrap();
    assert_eq!(merged, world.repo.merge(&branch("main"), head, "merge\n", AT_MS, 2000).unwrap());
    merged
}

#[test]
fn a_clean_merge_has_both_parents_and_moves_nothing() {
    let world = World::new();
    let head = world.candidate(1, "b.txt", "b\n");
    let onto = commit(&world.top, "c.txt", "c\n");
    let Merge::Merged { onto: on, commit: made, tree } = merge(&world, &head) else { panic!() };
    assert_eq!((on, oid(&world.top, "main")), (onto.clone(), onto.clone()));
    assert_eq!(
        git(&world.top, &["show", "-s", "--format=%P %T", made.as_str()]),
        format!("{onto} {head} {tree}")
    );
    world.fsck();
}

#[test]
fn a_rename_on_one_side_takes_the_edit_of_the_other() {
    let world = World::new();
    let head = world.candidate(1, "a.txt", "one\ntwo\nthree\nfour\nfive\nsix\n");
    git(&world.top, &["mv", "a.txt", "renamed.txt"]);
    git(&world.top, &["commit", "-q", "-m", "rename"]);
    let Merge::Merged { tree, .. } = merge(&world, &head) else { panic!() };
    assert!(git(&world.top, &["show", &format!("{tree}:renamed.txt")]).ends_with("six"));
}

#[test]
fn what_the_target_has_is_contained() {
    let world = World::new();
    let head = world.candidate(1, "b.txt", "b\n");
    let start = world.start();
    assert_eq!(merge(&world, &start), Merge::Contained { onto: start });
    // The same change made by another commit.
    let onto = commit(&world.top, "b.txt", "b\n");
    assert_eq!(merge(&world, &head), Merge::Contained { onto });
    assert_eq!(world.repo.merge(&branch("absent"), &head, "m", AT_MS, 10), Ok(Merge::NoTarget));
}

#[test]
fn a_conflict_names_files_and_shows_the_lines_within_bounds() {
    let world = World::new();
    let head = world.candidate(1, "a.txt", "one\nTHEIRS\nthree\nfour\nfive\n");
    commit(&world.top, "a.txt", "one\nOURS\nthree\nfour\nfive\n");
    let Merge::Conflict { files, text } = merge(&world, &head) else { panic!() };
    assert_eq!(files, ["a.txt"]);
    for wanted in ["CONFLICT (content)", "<<<<<<<", "OURS", "=======", "THEIRS", ">>>>>>>"] {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let short = world.repo.merge(&branch("main"), &head, "m", AT_MS, 20).unwrap();
    assert!(matches!(short, Merge::Conflict { text, .. } if text.len() <= 20));
    // One side deleted the file.
    fs::remove_file(world.top.join("a.txt")).unwrap();
    git(&world.top, &["commit", "-q", "-a", "-m", "delete"]);
    let Merge::Conflict { files, text } = merge(&world, &head) else { panic!() };
    assert_eq!(files, ["a.txt"]);
    assert!(text.contains("modify/delete"), "{text}");
}

#[test]
fn history_is_drawn_within_its_bound() {
    let world = World::new();
    let start = world.start();
    let tip = commit(&world.top, "b.txt", "b\n");
    git(&world.top, &["commit", "-q", "--allow-empty", "-m", "evil \x1b[2J"]);
    let graph = |from, lines| world.repo.log_graph(from, &branch("main"), lines).unwrap();
    assert_eq!(graph(None, 2).lines().count(), 2);
    assert_eq!(graph(Some(&start), 10).lines().count(), 2);
    assert!(!graph(None, 9).contains('\x1b'));
    assert_eq!(world.repo.is_ancestor(&start, &tip), Ok(true));
    assert_eq!(world.repo.is_ancestor(&tip, &start), Ok(false));
    assert_eq!(world.repo.tree_of(&tip), Ok(oid(&world.top, &format!("{tip}^{{tree}}"))));
}
