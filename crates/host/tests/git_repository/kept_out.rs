//! Files that are never stored stay out of every commit of ours, whatever the agent does to git.

use std::fs;
use std::path::PathBuf;

use ropewalk_host::git::Left;

use crate::world::*;

const SECRET: &str = "hush-0123456789";

/// Every object of the repository that holds the secret, by its kind.
fn holds_secret(world: &World) -> bool {
    let all =
        git(&world.top, &["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"]);
    let blobs = all.lines().filter_map(|line| line.strip_prefix("blob "));
    blobs.into_iter().any(|blob| git(&world.top, &["cat-file", "blob", blob]).contains(SECRET))
}

#[test]
fn a_kept_out_file_is_in_no_snapshot_though_it_is_neither_ignored_nor_unchanged() {
    let world = World::new();
    let (id, start) = (attempt(7, 1), world.start());
    let path = world.add(id);
    let kept_out = [".env", "config/key.local", "x.ignored"].map(PathBuf::from);
    write(&path, ".gitignore", "!.env\n!*.ignored\n");
    for name in [".env", "config/key.local", "x.ignored"] {
        write(&path, name, SECRET);
    }
    write(&path, "config/work", "mine\n");
    let checkpoint = world.repo.checkpoint_without(id, &path, &start, AT_MS, &kept_out).unwrap();
    let left = world.repo.collect_without(id, &path, &start, "work\n", AT_MS, &kept_out).unwrap();
    let Left::Commit { head, changed: true } = left else { panic!("{left:?}") };
    for commit in [&checkpoint, &head] {
        let files = git(&world.top, &["ls-tree", "-r", "--name-only", commit.as_str()]);
        assert_eq!(files, ".gitignore\na.txt\nconfig/work\ngone.txt");
    }
    assert!(!holds_secret(&world));
    assert_eq!(fs::read_to_string(path.join(".env")).unwrap(), SECRET, "it stays where it is");
    world.fsck();
}

#[test]
fn a_kept_out_file_that_the_agent_staged_is_taken_out_and_one_that_it_committed_does_not_land() {
    let world = World::new();
    let (id, start) = (attempt(7, 1), world.start());
    let path = world.add(id);
    let kept_out = [PathBuf::from(".env")];
    write(&path, ".env", SECRET);
    write(&path, "work", "mine\n");
    git(&path, &["add", "-A", "-f"]);
    let collect = || world.repo.collect_without(id, &path, &start, "work\n", AT_MS, &kept_out).unwrap();
    let left = collect();
    let Left::Commit { head, .. } = left else { panic!("{left:?}") };
    assert_eq!(
        git(&world.top, &["ls-tree", "-r", "--name-only", head.as_str()]),
        ".gitignore\na.txt\ngone.txt\nwork"
    );
    git(&path, &["commit", "-qm", "all of it"]);
    git(&path, &["rm", "-q", "--cached", ".env"]);
    git(&path, &["commit", "-qm", "as if nothing had been"]);
    let left = collect();
    let Left::Unfinished { detail } = left else { panic!("{left:?}") };
    assert!(detail.contains("never stored") && detail.ends_with(".env"), "{detail}");
}

#[test]
fn a_kept_out_file_may_be_ignored_itself_or_lie_in_an_ignored_folder_or_be_gone() {
    let world = World::new();
    let (id, start) = (attempt(7, 1), world.start());
    let path = world.add(id);
    let kept_out = ["x.ignored", "secrets/a/key", "sub/y.ignored", "gone.ignored"].map(PathBuf::from);
    write(&path, ".gitignore", "*.ignored\nsecrets/\n");
    for name in ["x.ignored", "secrets/a/key", "sub/y.ignored"] {
        write(&path, name, SECRET);
    }
    write(&path, "sub/work", "mine\n");
    let left = world.repo.collect_without(id, &path, &start, "work\n", AT_MS, &kept_out).unwrap();
    let Left::Commit { head, .. } = left else { panic!("{left:?}") };
    let files = git(&world.top, &["ls-tree", "-r", "--name-only", head.as_str()]);
    assert_eq!(files, ".gitignore\na.txt\ngone.txt\nsub/work");
    assert!(!holds_secret(&world));
    // A folder in its place is the agent's own work.
    fs::remove_file(path.join("x.ignored")).unwrap();
    write(&path, "x.ignored/work", "mine\n");
    write(&path, ".gitignore", "secrets/\n");
    fs::remove_file(path.join("sub/y.ignored")).unwrap();
    world.repo.checkpoint_without(id, &path, &start, AT_MS, &kept_out).unwrap();
}

#[test]
fn a_name_with_the_letters_of_a_pathspec_is_only_a_name() {
    let world = World::new();
    let (id, start) = (attempt(7, 1), world.start());
    let path = world.add(id);
    let kept_out = [":(top)*", "[a]", "-x", "\\b", "é?"].map(PathBuf::from);
    for name in [":(top)*", "[a]", "-x", "\\b", "é?"] {
        write(&path, name, SECRET);
    }
    write(&path, "a", "mine\n");
    git(&path, &["add", "a"]);
    git(&path, &["commit", "-qm", "work"]);
    let left = world.repo.collect_without(id, &path, &start, "work\n", AT_MS, &kept_out).unwrap();
    let Left::Commit { head, .. } = left else { panic!("{left:?}") };
    assert_eq!(
        git(&world.top, &["ls-tree", "-r", "--name-only", head.as_str()]),
        ".gitignore\na\na.txt\ngone.txt"
    );
    assert!(!holds_secret(&world));
}

#[test]
fn only_what_git_ignores_in_the_checkout_counts_as_ignored_and_no_program_of_the_repository_runs() {
    let world = World::new();
    let (mark, canary) = plant_hooks(&world);
    git(&world.top, &["config", "core.fsmonitor", canary.to_str().unwrap()]);
    write(&world.top, "tracked.ignored", "");
    git(&world.top, &["add", "-f", "tracked.ignored"]);
    fs::remove_file(&mark).unwrap_or_default();
    write(&world.top, "local.ignored", "");
    write(&world.top, "sub/local.ignored", "");
    write(&world.top, "plain", "");
    let paths =
        ["local.ignored", "sub/local.ignored", "plain", "tracked.ignored", "a.txt"].map(PathBuf::from);
    assert_eq!(world.repo.ignored(&paths).unwrap(), paths[..2]);
    assert!(world.repo.ignored(&[]).unwrap().is_empty());
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap());
}
