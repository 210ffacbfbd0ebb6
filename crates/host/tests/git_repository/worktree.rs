//! Making worktrees, many at once and over the remains of others.

use std::fs;

use crate::world::*;

#[test]
fn fifty_at_once_all_succeed() {
    let world = World::new();
    let start = world.start();
    std::thread::scope(|scope| {
        for number in 1..=50 {
            let (world, start) = (&world, &start);
            scope.spawn(move || {
                let id = attempt(number, 1);
                world.repo.add_worktree(id, &world.tree(&id.to_string()), start).unwrap();
            });
        }
    });
    for number in 1..=50 {
        let path = world.tree(&format!("{number}.1"));
        assert_eq!(git(&path, &["status", "--porcelain", "--branch"]), format!("## ropewalk/{number}.1"));
    }
    world.fsck();
}

#[test]
fn a_whole_one_is_reused_with_what_is_in_it() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&path, "b.txt", "b\n");
    world.add(attempt(7, 1));
    assert!(path.join("b.txt").exists());
}

#[test]
fn a_half_made_one_is_made_again_under_the_same_branch() {
    let remains: [fn(&World); 4] = [
        |world| fs::remove_file(world.top.join(".git/worktrees/7.1/index")).unwrap(),
        |world| fs::remove_dir_all(world.top.join(".git/worktrees/7.1")).unwrap(),
        |world| fs::remove_dir_all(world.tree("7.1")).unwrap(),
        |world| fs::remove_file(world.tree("7.1/.git")).unwrap(),
    ];
    for remain in remains {
        let world = World::new();
        world.add(attempt(7, 1));
        remain(&world);
        let path = world.add(attempt(7, 1));
        assert_eq!(git(&path, &["status", "--porcelain", "--branch"]), "## ropewalk/7.1");
        assert_eq!(git(&world.top, &["for-each-ref", "refs/ropewalk/rescue"]), "", "nothing needed rescue");
    }
}

#[test]
fn work_in_a_half_made_one_is_kept() {
    let world = World::new();
    let path = world.add(attempt(7, 1));
    write(&path, "b.txt", "b\n");
    fs::remove_file(path.join(".git")).unwrap();
    world.add(attempt(7, 1));
    assert!(!path.join("b.txt").exists());
    assert_eq!(git(&world.top, &["show", "refs/ropewalk/rescue/7/1:b.txt"]), "b");
}

#[test]
fn a_branch_of_that_name_is_left_alone() {
    let world = World::new();
    git(&world.top, &["branch", "ropewalk/7.1"]);
    let path = world.add(attempt(7, 1));
    assert_eq!(git(&path, &["branch", "--show-current"]), "ropewalk/7.1-1");
    world.repo.release_worktree(attempt(7, 1), &path).unwrap();
    assert_eq!(git(&world.top, &["branch", "--list", "ropewalk/*"]).trim(), "ropewalk/7.1");
}

#[test]
fn a_check_worktree_is_detached_and_replaced() {
    let world = World::new();
    let (path, first) = (world.tree("check"), world.start());
    world.repo.add_check_worktree("check", &path, &first).unwrap();
    write(&path, "left.txt", "x\n");
    let second = commit(&world.top, "b.txt", "b\n");
    world.repo.add_check_worktree("check", &path, &second).unwrap();
    assert_eq!(git(&path, &["status", "--porcelain", "--branch"]), "## HEAD (no branch)");
    assert_eq!(oid(&path, "HEAD"), second);
    for _ in 0..2 {
        world.repo.remove_check_worktree(&path).unwrap();
        assert!(!path.exists() && !world.top.join(".git/worktrees/check").exists());
    }
}

#[test]
fn no_hook_or_filter_runs() {
    let world = World::new();
    commit(&world.top, ".gitattributes", "* filter=evil\n");
    let (mark, canary) = plant_hooks(&world);
    git(&world.top, &["config", "filter.evil.smudge", canary.to_str().unwrap()]);
    let _ = fs::remove_file(&mark);
    let start = world.start();
    let _ = fs::remove_file(&mark);
    world.repo.add_worktree(attempt(7, 1), &world.tree("7.1"), &start).unwrap();
    world.repo.add_check_worktree("check", &world.tree("check"), &start).unwrap();
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap());
}
