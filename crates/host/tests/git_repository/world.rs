//! A user's repository for tests, driven by the real git as a user or an agent would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ropewalk_core::id::{AttemptId, AttemptNumber, BranchName, Oid, TaskId};
use ropewalk_host::git::{Left, Repository, discover};
use tempfile::TempDir;

pub(crate) const AT_MS: i64 = 1_800_000_000_000;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) top: PathBuf,
    pub(crate) repo: Repository,
}

/// Runs git as a person would, with hooks and filters on; panics when it fails.
pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    let out = raw_git(folder, args);
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn raw_git(folder: &Path, args: &[&str]) -> std::process::Output {
    Command::new("git")
        .args([
            "-c",
            "user.name=Person",
            "-c",
            "user.email=person@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap()
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn commit(folder: &Path, name: &str, text: &str) -> Oid {
    write(folder, name, text);
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", &format!("write {name}")]);
    oid(folder, "HEAD")
}

pub(crate) fn oid(folder: &Path, name: &str) -> Oid {
    Oid::new(&git(folder, &["rev-parse", name])).unwrap()
}

pub(crate) fn branch(name: &str) -> BranchName {
    BranchName::new(name).unwrap()
}

pub(crate) fn attempt(task: u64, number: u32) -> AttemptId {
    AttemptId { task: TaskId(task), number: AttemptNumber(number) }
}

impl World {
    pub(crate) fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("wörk top");
        fs::create_dir(&top).unwrap();
        git(&top, &["init", "-q"]);
        write(&top, ".gitignore", "*.ignored\n");
        write(&top, "gone.txt", "to be deleted\n");
        commit(&top, "a.txt", "one\ntwo\nthree\nfour\nfive\n");
        fs::create_dir(dir.path().join("trees")).unwrap();
        let found = discover(&top).unwrap();
        let repo =
            Repository::open(&found.top, &found.common_dir, &dir.path().join("state/control")).unwrap();
        World { top: found.top, repo, dir }
    }

    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        self.dir.path().join("trees").join(name)
    }

    pub(crate) fn start(&self) -> Oid {
        oid(&self.top, "main")
    }

    /// An attempt's worktree, ready for an agent.
    pub(crate) fn add(&self, id: AttemptId) -> PathBuf {
        let path = self.tree(&id.to_string());
        self.repo.add_worktree(id, &path, &self.start()).unwrap();
        path
    }

    pub(crate) fn collect(&self, id: AttemptId, start: &Oid) -> Left {
        self.repo.collect(id, &self.tree(&id.to_string()), start, "work\n", AT_MS).unwrap()
    }

    /// The commit of an attempt that writes one file.
    pub(crate) fn candidate(&self, task: u64, name: &str, text: &str) -> Oid {
        let id = attempt(task, 1);
        let path = self.add(id);
        let start = oid(&path, "HEAD");
        write(&path, name, text);
        match self.collect(id, &start) {
            Left::Commit { head, .. } => head,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn fsck(&self) {
        git(&self.top, &["fsck", "--strict", "--no-dangling"]);
    }
}

/// Installs a program that leaves a mark, and hooks that run it. The mark must never appear.
pub(crate) fn plant_hooks(world: &World) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let mark = world.dir.path().join("canary-sang");
    let canary = world.dir.path().join("canary.sh");
    fs::write(&canary, format!("#!/bin/sh\necho \"$0 $*\" >> '{}'\ncat\n", mark.display())).unwrap();
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = world.top.join(".git/hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in ["post-checkout", "reference-transaction", "pre-commit", "post-index-change", "post-commit"] {
        fs::copy(&canary, hooks.join(hook)).unwrap();
    }
    (mark, canary)
}
