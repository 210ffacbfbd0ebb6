//! A canary at each place where git executes something or could be led elsewhere: none fires, and nothing but our own
//! folders and the repository changes, whatever of ours runs. The same canaries fire when plain git is run.

mod operations;
mod stage;

use std::fs;
use std::os::unix::fs::symlink;

use ropewalk_host::git::{Left, discover};

use self::operations::everything;
use self::stage::{PLACES, Scope, Stage};
use crate::world::*;

/// Hooks that plain git runs in the control; all of `stage::HOOKS` are planted.
const HOOKS_SEEN: [&str; 13] = [
    "commit-msg",
    "post-checkout",
    "post-commit",
    "post-index-change",
    "post-merge",
    "post-rewrite",
    "pre-auto-gc",
    "pre-commit",
    "pre-merge-commit",
    "pre-push",
    "pre-rebase",
    "prepare-commit-msg",
    "reference-transaction",
];

/// git reads these before it knows that a checkout has a configuration of its own.
const EARLY: [&str; 2] = ["core.pager", "alias"];

#[test]
fn every_setting_runs_a_program_under_plain_git() {
    for scope in [Scope::Shared, Scope::Main, Scope::Own, Scope::Pointer] {
        let stage = Stage::new();
        let mut silent = Vec::new();
        let is_late = matches!(scope, Scope::Main | Scope::Own);
        let heeded = |name: &str| !is_late || !EARLY.contains(&name);
        for place in PLACES.iter().filter(|place| heeded(place.name)) {
            stage.reset(scope);
            stage.plant(place, scope);
            for args in place.plain {
                stage.plain(scope, args);
            }
            if !stage.sang().contains(place.name) {
                silent.push(place.name);
            }
            stage.hush();
        }
        assert_eq!(silent, Vec::<&str>::new(), "{scope:?}: these cannot fail");
    }
}

#[test]
fn no_setting_runs_a_program_in_anything_that_we_do() {
    for scope in [Scope::Shared, Scope::Main, Scope::Own, Scope::Pointer] {
        // All at once; those that hide another one by themselves.
        for group in 0..=2 {
            let stage = Stage::new();
            let places = PLACES.iter().filter(|place| place.group == group);
            let before = stage.before();
            places.for_each(|place| stage.plant(place, scope));
            everything(&stage);
            stage.assert_silent(&format!("{scope:?} {group}"), &before);
        }
    }
}

#[test]
fn objects_that_an_agent_made_missing_are_fetched_from_nowhere() {
    let control = Stage::new();
    let promisor = PLACES.iter().find(|place| place.name == "promisor").unwrap();
    control.plant(promisor, Scope::Shared);
    control.plain(Scope::Shared, &["update-ref", "refs/heads/x", stage::MISSING]);
    assert!(control.sang().contains("promisor"));

    let stage = Stage::new();
    let before = stage.before();
    stage.plant(promisor, Scope::Shared);
    let (world, repo) = (&stage.world, &stage.world.repo);
    let missing = ropewalk_core::id::Oid::new(stage::MISSING).unwrap();
    // The branch of the attempt, and the one that it is to land on, name what is not there.
    write(&world.top, ".git/refs/heads/ropewalk/7.1", &format!("{missing}\n"));
    write(&world.top, ".git/refs/heads/feature/x", &format!("{missing}\n"));
    let _ = repo.checkpoint(stage.id, &stage.path, &stage.start, AT_MS);
    let _ = repo.collect(stage.id, &stage.path, &stage.start, "work\n", AT_MS);
    let _ = repo.make_branch(&branch("y"), &missing);
    let _ = repo.add_worktree(attempt(8, 1), &world.tree("8.1"), &missing);
    let _ = repo.add_check_worktree("1", &world.tree("check"), &missing);
    let _ = repo.merge(&branch("feature/x"), &stage.apart, "merge\n", AT_MS, 4096);
    let _ = repo.merge(&branch("main"), &missing, "merge\n", AT_MS, 4096);
    let _ = repo.land(&branch("feature/x"), &missing, &stage.apart, "land");
    let _ = repo.land(&branch("main"), &stage.start, &missing, "land");
    let _ = repo.follow(&branch("feature/x"), &stage.apart);
    let _ = repo.release_worktree(stage.id, &stage.path);
    let _ = discover(&world.top);
    stage.assert_silent("missing objects", &before);
}

#[test]
fn every_hook_runs_under_plain_git() {
    let stage = Stage::new();
    stage.plant_hooks();
    stage.reset(Scope::Own);
    let far = stage.world.dir.path().join("far.git");
    git(&stage.world.top, &["clone", "-q", "--bare", ".", far.to_str().unwrap()]);
    for args in [
        &["add", "a.txt"][..],
        &["commit", "-qm", "one"],
        &["commit", "-q", "--amend", "-m", "two"],
        &["checkout", "-q", "-f", "HEAD"],
        &["reset", "-q", "--hard"],
        &["merge", "-q", "--no-ff", "-m", "merge", "apart"],
        &["rebase", "-q", "HEAD~1"],
        &["push", "-q", far.to_str().unwrap(), "HEAD:refs/heads/x"],
    ] {
        stage.plain(Scope::Own, args);
    }
    let objects = stage.world.top.join(".git/objects/17");
    fs::create_dir_all(&objects).unwrap();
    (0..20).for_each(|n| fs::write(objects.join(format!("{n:038x}")), "").unwrap());
    stage.plain(Scope::Own, &["-c", "gc.auto=1", "gc", "--auto"]);
    let sang = stage.sang();
    for hook in HOOKS_SEEN {
        assert!(sang.contains(&format!("hook {hook}")), "{hook} is not in {sang:?}");
    }
}

#[test]
fn no_hook_runs_in_anything_that_we_do() {
    let stage = Stage::new();
    let before = stage.before();
    stage.plant_hooks();
    everything(&stage);
    stage.assert_silent("hooks", &before);
}

/// Something put in the place of the worktree's pointer.
type Swap = fn(&Stage);

#[test]
fn a_pointer_that_leads_elsewhere_is_not_followed() {
    let swaps: [(&str, Swap); 4] = [
        ("a folder instead", |stage| {
            fs::remove_file(stage.path.join(".git")).unwrap();
            fs::rename(stage.evil(), stage.path.join(".git")).unwrap();
        }),
        ("a link instead", |stage| {
            fs::remove_file(stage.path.join(".git")).unwrap();
            symlink(stage.evil(), stage.path.join(".git")).unwrap();
        }),
        ("a link to another pointer", |stage| {
            let pointer = stage.world.dir.path().join("pointer");
            fs::write(&pointer, format!("gitdir: {}\n", stage.evil().display())).unwrap();
            fs::remove_file(stage.path.join(".git")).unwrap();
            symlink(pointer, stage.path.join(".git")).unwrap();
        }),
        ("its administration is made a repository", |stage| {
            let admin = stage.admin();
            fs::remove_file(admin.join("commondir")).unwrap();
            for name in ["config", "hooks", "objects", "refs"] {
                fs::rename(stage.evil().join(name), admin.join(name)).unwrap();
            }
        }),
    ];
    for (name, swap) in swaps {
        let control = Stage::new();
        swap(&control);
        control.plain(Scope::Pointer, &["status"]);
        assert!(!control.sang().is_empty(), "{name}: plain git would run it");

        let stage = Stage::new();
        let before = stage.before();
        swap(&stage);
        everything(&stage);
        stage.assert_silent(name, &before);
        let told = stage.world.repo.tampered(&stage.path, &stage.guard);
        // After it all the worktree is released, so that nothing is left to tell of.
        assert_eq!(told, Ok(None), "{name}");
    }
}

#[test]
fn a_repository_inside_a_worktree_runs_nothing() {
    let control = Stage::new();
    fs::rename(control.evil(), control.path.join("bare")).unwrap();
    control.plain_in(&control.path.join("bare"), &["--work-tree=.", "status"]);
    assert!(!control.sang().is_empty());

    let stage = Stage::new();
    let before = stage.before();
    // A bare one is files like any other; one with a pointer would be an embedded repository.
    fs::rename(stage.evil(), stage.path.join("bare")).unwrap();
    let inner = stage.path.join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join(".git"), format!("gitdir: {}\n", stage.path.join("bare").display())).unwrap();
    let (repo, start) = (&stage.world.repo, stage.start.clone());
    let left = repo.collect(stage.id, &stage.path, &start, "work\n", AT_MS).unwrap();
    assert!(matches!(left, Left::Unfinished { .. }), "{left:?}");
    repo.checkpoint(stage.id, &stage.path, &start, AT_MS).unwrap();
    let _ = discover(&stage.path.join("bare"));
    let _ = discover(&inner);
    let _ = repo.release_worktree(stage.id, &stage.path);
    stage.assert_silent("embedded", &before);
}

#[test]
fn links_out_of_the_worktree_are_kept_as_links_and_never_written_through() {
    let stage = Stage::new();
    let before = stage.before();
    let (world, path) = (&stage.world, &stage.path);
    // A folder of the project becomes a link to the bait, and another story writes into that folder.
    fs::remove_dir_all(path.join("folder")).unwrap();
    symlink(&stage.bait, path.join("folder")).unwrap();
    symlink(&stage.bait, path.join("out")).unwrap();
    symlink(stage.bait.join("new.txt"), path.join("a.ignored")).unwrap();
    let linked = match world.repo.collect(stage.id, path, &stage.start, "links\n", AT_MS).unwrap() {
        Left::Commit { head, .. } => head,
        other => panic!("{other:?}"),
    };
    let shown = git(&world.top, &["ls-tree", linked.as_str(), "folder"]);
    assert!(shown.starts_with("120000 "), "{shown}");
    world.repo.checkpoint(stage.id, path, &stage.start, AT_MS).unwrap();
    let inside = world.candidate(9, "folder/bait.txt", "overwritten\n");
    let also = world.candidate(10, "out/bait.txt", "overwritten\n");
    for second in [inside, also] {
        stage.land_all(&[linked.clone(), second]);
    }
    world.repo.release_worktree(stage.id, path).unwrap();
    stage.assert_silent("links", &before);
}

#[test]
fn names_that_lead_out_of_a_checkout_are_refused() {
    let stage = Stage::new();
    let before = stage.before();
    let repo = &stage.world.repo;
    for (name, is_refused, commit) in stage.crafted() {
        let path = stage.world.tree(&format!("crafted {name}"));
        let made = repo.add_check_worktree("1", &path, &commit);
        assert_eq!(made.is_err(), is_refused, "{name}: {made:?}");
        repo.remove_check_worktree(&path).unwrap();
        let landed = stage.try_land(&commit);
        assert!(!(landed && is_refused), "{name} landed on a checkout");
        stage.assert_silent(name, &before);
    }
}

#[test]
fn a_guard_tells_of_each_place_and_not_of_what_a_person_sets_in_passing() {
    for scope in [Scope::Shared, Scope::Main, Scope::Own] {
        let stage = Stage::new();
        for place in PLACES {
            stage.reset(scope);
            assert_eq!(stage.tampered(), None, "before {}", place.name);
            stage.plant(place, scope);
            let told = stage.tampered().unwrap_or_default();
            assert!(told.contains("was added") || told.contains("was changed"), "{}: {told:?}", place.name);
        }
    }
    let stage = Stage::new();
    for setting in [
        ["user.name", "Somebody"],
        ["branch.main.remote", "origin"],
        ["branch.main.merge", "refs/heads/main"],
        ["remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"],
        ["extensions.worktreeConfig", "true"],
        ["core.sparseCheckout", "true"],
        ["submodule.x.active", "true"],
    ] {
        git(&stage.world.top, &["config", setting[0], setting[1]]);
    }
    git(&stage.world.top, &["branch", "another"]);
    git(&stage.path, &["commit", "-qam", "work"]);
    git(&stage.world.top, &["gc", "-q"]);
    stage.world.add(attempt(8, 1));
    assert_eq!(stage.tampered(), None);

    // git copies what the main checkout has into each new worktree.
    let stage = Stage::new();
    git(&stage.world.top, &["config", "extensions.worktreeConfig", "true"]);
    git(&stage.world.top, &["config", "--worktree", "core.pager", "less"]);
    let guard = stage.world.repo.guard(&stage.path).unwrap();
    stage.world.add(attempt(8, 1));
    assert_eq!(stage.world.repo.tampered(&stage.path, &guard), Ok(None));
}

#[test]
fn a_guard_tells_of_hooks_attributes_pointers_and_links() {
    let changes: [(&str, Swap); 10] = [
        ("hooks/pre-commit was added", |stage| stage.plant_hooks()),
        ("hooks/post-merge was removed", |stage| {
            fs::remove_file(stage.world.top.join(".git/hooks/post-merge")).unwrap();
        }),
        ("hooks/post-merge was changed", |stage| {
            let hook = stage.world.top.join(".git/hooks/post-merge");
            fs::set_permissions(hook, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }),
        ("info/attributes was added", |stage| {
            write(&stage.world.top, ".git/info/attributes", "* filter=x\n")
        }),
        ("objects/info/alternates was changed", |stage| {
            write(&stage.world.top, ".git/objects/info/alternates", "/elsewhere\n");
        }),
        ("the worktree's .git was changed", |stage| {
            fs::write(stage.path.join(".git"), format!("gitdir: {}\n", stage.evil().display())).unwrap();
        }),
        ("the worktree's own gitdir was changed", |stage| {
            fs::write(stage.admin().join("gitdir"), "/elsewhere/.git\n").unwrap();
        }),
        ("the worktree's own commondir was removed", |stage| {
            fs::remove_file(stage.admin().join("commondir")).unwrap();
        }),
        ("config was added", |stage| {
            let config = stage.world.top.join(".git/config");
            fs::rename(&config, stage.world.dir.path().join("config")).unwrap();
            symlink(stage.world.dir.path().join("config"), config).unwrap();
        }),
        ("refs/ropewalk was added", |stage| {
            let _ = fs::remove_dir_all(stage.world.top.join(".git/refs/ropewalk"));
            symlink(&stage.bait, stage.world.top.join(".git/refs/ropewalk")).unwrap();
        }),
    ];
    for (told, change) in changes {
        let stage = Stage::new();
        assert_eq!(stage.tampered(), None);
        change(&stage);
        let text = stage.tampered().unwrap_or_default();
        assert!(text.contains(told) || text.contains("more"), "{told}: {text:?}");
        assert!(!text.is_empty());
    }
}

#[test]
fn a_hook_below_an_included_file_or_another_folder_is_looked_at_where_it_lies() {
    let stage = Stage::new();
    let aside = stage.world.dir.path().join("aside");
    write(&aside, "config", "[user]\n\tname = Somebody\n");
    write(&aside, "hooks/pre-commit", "#!/bin/sh\n");
    let text = |name: &str| aside.join(name).to_str().unwrap().to_owned();
    git(&stage.world.top, &["config", "include.path", &text("config")]);
    git(&stage.world.top, &["config", "core.hooksPath", &text("hooks")]);
    let guard = stage.world.repo.guard(&stage.path).unwrap();
    let told = || stage.world.repo.tampered(&stage.path, &guard).unwrap();
    assert_eq!(told(), None);
    write(&aside, "config", "[core]\n\tpager = x\n");
    assert!(told().is_some_and(|text| text.contains("core.pager in")), "{:?}", told());
    write(&aside, "config", "");
    write(&aside, "hooks/pre-commit", "#!/bin/sh\nexit 1\n");
    assert!(told().is_some_and(|text| text.contains("pre-commit was changed")), "{:?}", told());
}
