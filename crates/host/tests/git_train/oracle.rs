//! What git makes of the same heads in a checkout, one command after the other. It knows nothing of trains.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ropewalk_core::id::Oid;
use ropewalk_core::settings::LandMethod;

/// What became of one head.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    Merged { tree: String },
    Contained,
    Conflict,
}

/// A clone, and where the line is in it.
pub(crate) struct Oracle {
    folder: PathBuf,
}

pub(crate) fn git(folder: &Path, args: &[&str]) -> String {
    git_fed(folder, args, "")
}

pub(crate) fn git_fed(folder: &Path, args: &[&str], input: &str) -> String {
    let out = raw_git(folder, args, input);
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn raw_git(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new("git")
        .args(["-c", "user.name=Person", "-c", "user.email=person@example.org", "-c", "gc.auto=0"])
        .args(args)
        .current_dir(folder)
        .envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1"), ("LC_ALL", "C")])
        .env("GIT_EDITOR", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

impl Oracle {
    /// In a clone of `repository`, with its `main` checked out.
    pub(crate) fn new(repository: &Path, folder: PathBuf) -> Oracle {
        git(repository, &["clone", "-q", "--branch", "main", ".", folder.to_str().unwrap()]);
        let oracle = Oracle { folder };
        oracle.git(&["checkout", "-q", "--detach"]);
        oracle
    }

    fn git(&self, args: &[&str]) -> String {
        git(&self.folder, args)
    }

    fn try_git(&self, args: &[&str]) -> bool {
        let out = raw_git(&self.folder, args, "");
        if out.status.success() {
            return true;
        }
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        // Any other failure would be one of this oracle.
        let is_conflict = !self.git(&["ls-files", "--unmerged"]).is_empty();
        assert!(
            is_conflict || said.contains("refusing to merge unrelated histories"),
            "git {args:?}: {said}"
        );
        false
    }

    fn tree(&self) -> String {
        self.git(&["rev-parse", "HEAD^{tree}"])
    }

    pub(crate) fn couple(&self, head: &Oid, method: LandMethod) -> Ended {
        let (line, before) = (self.git(&["rev-parse", "HEAD"]), self.tree());
        let fits = match method {
            LandMethod::Merge => self.try_git(&["merge", "-q", "--no-ff", "--no-edit", head.as_str()]),
            LandMethod::Squash => {
                let fits = self.try_git(&["merge", "-q", "--squash", head.as_str()]);
                if fits {
                    self.git(&["commit", "-q", "--allow-empty", "-m", "squashed"]);
                }
                fits
            }
            LandMethod::Rebase => self.rebase(head, &line),
        };
        let tree = self.tree();
        if fits && tree != before {
            return Ended::Merged { tree };
        }
        self.git(&["reset", "-q", "--hard", &line]);
        self.git(&["clean", "-q", "-ffdx"]);
        if fits { Ended::Contained } else { Ended::Conflict }
    }

    fn rebase(&self, head: &Oid, line: &str) -> bool {
        if !raw_git(&self.folder, &["merge-base", head.as_str(), line], "").status.success() {
            return false;
        }
        self.git(&["checkout", "-q", "--detach", head.as_str()]);
        let all = ["--force-rebase", "--reapply-cherry-picks", "--no-keep-empty", "--empty=drop"];
        let fits = self.try_git(&[["rebase", "-q"].as_slice(), &all, &[line]].concat());
        if !fits {
            self.git(&["rebase", "--abort"]);
            self.git(&["checkout", "-q", "--detach", line]);
        }
        fits
    }
}
