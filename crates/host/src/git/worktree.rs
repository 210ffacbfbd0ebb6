//! Making worktrees. Knows the folder, branch and administration of each; unaware of what happens in them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, BranchName, Oid};

use super::admin::settled;
use super::release::Missing;
use super::repository::{Repository, Turn};
use super::run::GitError;

impl Repository {
    /// Makes the attempt's worktree at `path`, on a branch of its own that starts at `start`. A whole one that
    /// is there already stays as it is; a half-made one is removed and made again.
    ///
    /// # Errors
    /// When git or the file system fails; a repeated call cleans up.
    pub fn add_worktree(&self, attempt: AttemptId, path: &Path, start: &Oid) -> Result<(), GitError> {
        if let Some(admin) = self.admin_of(path)? {
            // The index is the last thing written, under another name at first: with it all is there.
            if admin.join("index").is_file() && points_to(path, &admin) {
                return Ok(());
            }
        }
        // Should anyone have worked in the remains, that is kept.
        self.release(attempt, path, Missing::IsHalfMade)?;
        let admin = {
            let _turn = self.take_turn()?;
            let wanted = BranchName::new(&format!("ropewalk/{attempt}"))
                .map_err(|error| GitError::new("worktree add", self.top(), error.to_string()))?;
            let branch = self.free_branch(&wanted)?;
            self.record_branch(attempt, &branch)?;
            self.on_refs("worktree add")
                .args(["worktree", "add", "--quiet", "--no-checkout", "--no-track", "-b", branch.as_str()])
                .arg(path)
                .arg(start.as_str())
                .run()?;
            self.new_admin(path)?
        };
        self.fill(&admin, path, start)
    }

    /// Makes a worktree for checks at `path`, at `commit` and on no branch. One that is there is removed first.
    ///
    /// # Errors
    /// When git or the file system fails; a repeated call cleans up.
    pub fn add_check_worktree(&self, name: &str, path: &Path, commit: &Oid) -> Result<(), GitError> {
        self.remove_check_worktree(path)?;
        let admin = {
            let _turn = self.take_turn()?;
            self.on_refs("worktree add")
                .args(["worktree", "add", "--quiet", "--no-checkout", "--detach", "--lock", "--reason"])
                .arg(format!("ropewalk check {name}"))
                .arg(path)
                .arg(commit.as_str())
                .run()?;
            self.new_admin(path)?
        };
        self.fill(&admin, path, commit)
    }

    /// Removes a worktree for checks with all that is in it. Fine when there is none.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_check_worktree(&self, path: &Path) -> Result<(), GitError> {
        {
            let turn = self.take_turn()?;
            set_aside(path)?;
            self.remove_admin(&turn, path)?;
        }
        remove_aside(path)
    }

    /// Writes the files of `commit` through our own configuration, so that no filter runs.
    fn fill(&self, admin: &Path, path: &Path, commit: &Oid) -> Result<(), GitError> {
        self.on_files("checkout", path, &admin.join("index"))
            .args(["read-tree", "--reset", "-u", commit.as_str()])
            .run()?;
        Ok(())
    }

    fn new_admin(&self, path: &Path) -> Result<PathBuf, GitError> {
        let missing = || GitError::new("worktree add", self.top(), "the new worktree has no administration");
        self.admin_of(path)?.ok_or_else(missing)
    }

    /// Removes the administration of the worktree at `path`, and no other.
    pub(crate) fn remove_admin(&self, _turn: &Turn<'_>, path: &Path) -> Result<(), GitError> {
        match self.admin_of(path)? {
            Some(admin) => remove_tree(&admin).map_err(|e| GitError::io("worktree remove", &admin, &e)),
            None => Ok(()),
        }
    }

    /// Which branch was made for the attempt is noted in our own folder: names can be switched by an agent.
    fn record_branch(&self, attempt: AttemptId, branch: &BranchName) -> Result<(), GitError> {
        let file = self.branch_record(attempt);
        let failed = |e: io::Error| GitError::io("worktree add", &file, &e);
        fs::create_dir_all(self.control().join("attempts")).map_err(failed)?;
        fs::write(&file, branch.as_str()).map_err(failed)
    }

    pub(crate) fn recorded_branch(&self, attempt: AttemptId) -> Option<BranchName> {
        BranchName::new(&fs::read_to_string(self.branch_record(attempt)).ok()?).ok()
    }

    pub(crate) fn branch_record(&self, attempt: AttemptId) -> PathBuf {
        self.control().join("attempts").join(attempt.to_string())
    }
}

/// Whether the worktree's own pointer names its administration.
fn points_to(path: &Path, admin: &Path) -> bool {
    fs::read_to_string(path.join(".git"))
        .is_ok_and(|text| text.strip_prefix("gitdir: ").map(|to| Path::new(to.trim_end())) == Some(admin))
}

/// What the name of a folder begins with while it waits for its removal.
const ASIDE: &str = ".removing-";

/// The name that a worktree's folder had before it was set aside for its removal; any other as it is.
pub fn name_before_removal(name: &str) -> &str {
    name.strip_prefix(ASIDE).unwrap_or(name)
}

/// Where a folder waits for its removal: beside its place, so that a crash leaves it either whole or known
/// to be rubbish.
fn aside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(ASIDE);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Moves what is at `path` to where it waits for its removal.
pub(crate) fn set_aside(path: &Path) -> Result<(), GitError> {
    let path = settled(path);
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    remove_aside(&path)?;
    fs::rename(&path, aside(&path)).map_err(|e| GitError::io("worktree remove", &path, &e))
}

/// Removes what waits for it.
pub(crate) fn remove_aside(path: &Path) -> Result<(), GitError> {
    let path = aside(&settled(path));
    remove_tree(&path).map_err(|e| GitError::io("worktree remove", &path, &e))
}

/// Removes a folder, one with read-only folders in it too; never follows a link. Fine when there is none.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(facts) if !facts.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    let mut removed = fs::remove_dir_all(path);
    for _ in 0..REMOVALS_MAX {
        match &removed {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_folders(path)?,
            // Somebody else is removing it too, and took a file from under us or beat us to all of it.
            Err(_) if path.symlink_metadata().is_err() => return Ok(()),
            Err(_) => {}
        }
        removed = fs::remove_dir_all(path);
    }
    removed
}

/// Tries after the first. Two hands of ours may meet in one folder, and each removes what the other has listed.
const REMOVALS_MAX: usize = 8;

fn open_folders(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}
