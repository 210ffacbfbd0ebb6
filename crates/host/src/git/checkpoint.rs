//! Putting by what a running attempt's worktree holds. Knows commits and hidden refs; unaware of when and why.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, Oid, TaskId};
use sha2::{Digest, Sha256};

use super::repository::Repository;
use super::run::GitError;

/// Where checkpoints are kept: two state folders on one repository count their tasks alike, and must not take each
/// other's for their own.
pub(super) const KIND: &str = "checkpoints";

/// Digits of a state folder's part of the name.
const DIGITS: usize = 8;

impl Repository {
    /// Commits everything in the worktree (except what is ignored) on top of what the agent committed, through an
    /// index of our own, and pins it at `refs/ropewalk/checkpoints/<state folder>/<task>/<n>`. The agent may be at
    /// work meanwhile: nothing in its worktree or its index is touched, and each file is kept as it was at some moment
    /// of the call. A merge in the middle is kept as its files are.
    ///
    /// # Errors
    /// When git fails or the worktree is gone; nothing was changed.
    pub fn checkpoint(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        at_ms: i64,
    ) -> Result<Oid, GitError> {
        self.checkpoint_without(attempt, path, start, at_ms, &[])
    }

    /// The same without the files at `kept_out`, which are never stored.
    ///
    /// # Errors
    /// When git fails or the worktree is gone; nothing was changed.
    pub fn checkpoint_without(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        at_ms: i64,
        kept_out: &[PathBuf],
    ) -> Result<Oid, GitError> {
        let commit = self.commit_of_worktree(attempt, path, start, at_ms, kept_out)?;
        // Here and not where the commit is made: one that is for looking only need not outlive a power loss.
        let mut durable: Vec<Oid> = vec![start.clone()];
        for pinned in self.pins(&self.checkpoint_kind(), attempt)? {
            durable.extend([self.tree_of(&pinned.at)?, pinned.at]);
        }
        self.keep_beyond(&durable, &commit)?;
        let turn = self.take_turn()?;
        self.pin(&turn, &self.checkpoint_kind(), attempt, &commit)?;
        Ok(commit)
    }

    /// A commit of all that the worktree holds, in no ref.
    pub(crate) fn commit_of_worktree(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        at_ms: i64,
        kept_out: &[PathBuf],
    ) -> Result<Oid, GitError> {
        // Not through a link: it could lead to any folder of the user's.
        if !path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            return Err(GitError::new("checkpoint", path, "the folder of the worktree is gone"));
        }
        let Some(admin) = self.admin_of(path)? else {
            return Err(GitError::new("checkpoint", path, "git no longer knows the worktree"));
        };
        let tip = self.tip_of(&admin)?.unwrap_or_else(|| start.clone());
        let mut index = self.private_index(Some(&admin), path, Some(&tip))?;
        let embedded = self.embedded(path, &index.file.0)?;
        self.keep_out(path, &mut index, kept_out)?;
        let tree = self.snapshot(path, &index, &embedded)?;
        if tree == self.tree_of(&tip)? {
            return Ok(tip);
        }
        let message = format!("checkpoint of attempt {attempt}\n");
        let said = self.commit_tree(tree.as_str(), &[tip.as_str()], &message, at_ms)?;
        self.oid("commit", &said.text())
    }

    fn checkpoint_kind(&self) -> String {
        format!("{KIND}/{}", self.state_folder())
    }

    /// What tells this state folder from another one on the same repository.
    pub(crate) fn state_folder(&self) -> String {
        let digest = Sha256::digest(self.control().as_os_str().as_bytes());
        let mut digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.truncate(DIGITS);
        digits
    }

    /// Lets go of a task's checkpoints that are not among `kept`. Returns how many went.
    ///
    /// # Errors
    /// When git fails; what has not gone is still there.
    pub fn forget_checkpoints(&self, task: TaskId, kept: &BTreeSet<Oid>) -> Result<usize, GitError> {
        let turn = self.take_turn()?;
        let mut gone = 0;
        for pinned in self.refs_under(&format!("refs/ropewalk/{}/{task}", self.checkpoint_kind()))? {
            if !kept.contains(&pinned.at) {
                self.move_ref(&turn, &pinned.name, None, Some(&pinned.at), "ropewalk: forget checkpoint")?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// The tasks that have checkpoints.
    ///
    /// # Errors
    /// When git fails.
    pub fn tasks_with_checkpoints(&self) -> Result<BTreeSet<TaskId>, GitError> {
        let prefix = format!("refs/ropewalk/{}/", self.checkpoint_kind());
        let task = |name: &str| name.strip_prefix(&prefix)?.split('/').next()?.parse().ok().map(TaskId);
        Ok(self
            .refs_under(prefix.trim_end_matches('/'))?
            .iter()
            .filter_map(|found| task(&found.name))
            .collect())
    }
}
