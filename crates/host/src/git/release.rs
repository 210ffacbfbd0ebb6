//! Giving a worktree back. Knows in which order folder, administration and branch go once all is kept; unaware of what is
//! worth keeping (`rescue`) and of why the attempt ended.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::AttemptId;

use super::repository::Repository;
use super::rescue::{Missing, Parting};
use super::run::GitError;
use super::worktree::remove_aside;
use crate::{crash, included};

/// What becomes of a worktree's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    BecomesSpare,
    Goes,
}

impl Repository {
    /// Removes the attempt's worktree, its administration and its branch; its folder becomes a spare. Commits and files
    /// that no ref of ours keeps are first kept at a rescue ref. Returns the attempt's rescue ref, if it has one. Fine
    /// when parts or all of it are missing.
    ///
    /// # Errors
    /// When git or the file system fails; whatever is not kept yet is still there.
    pub fn release_worktree(&self, attempt: AttemptId, path: &Path) -> Result<Option<String>, GitError> {
        self.release_worktree_after(attempt, path, &Parting::default())
    }

    /// As [`release_worktree`](Self::release_worktree), with what is known of the attempt's end.
    ///
    /// # Errors
    /// As there.
    pub fn release_worktree_after(
        &self,
        attempt: AttemptId,
        path: &Path,
        parting: &Parting,
    ) -> Result<Option<String>, GitError> {
        self.release(attempt, path, Missing::IsWork, Folder::BecomesSpare, parting)
    }

    /// As [`release_worktree_after`](Self::release_worktree_after), to make room: its folder becomes no spare.
    ///
    /// # Errors
    /// As there.
    pub fn remove_worktree_after(
        &self,
        attempt: AttemptId,
        path: &Path,
        parting: &Parting,
    ) -> Result<Option<String>, GitError> {
        self.release(attempt, path, Missing::IsWork, Folder::Goes, parting)
    }

    /// As [`release_worktree`](Self::release_worktree), for one that may never have been whole.
    pub(crate) fn release(
        &self,
        attempt: AttemptId,
        path: &Path,
        missing: Missing,
        folder: Folder,
        parting: &Parting,
    ) -> Result<Option<String>, GitError> {
        // Whoever gives it back: what was copied in for the agent's eyes only is in no rescue and in no spare.
        let secrets: Vec<PathBuf> =
            parting.secrets.iter().map(|path| OsStr::from_bytes(path).into()).collect();
        included::scrub(path, &secrets).map_err(|e| GitError::new("release", path, e.to_string()))?;
        crash::step();
        let wreck = self.wreck(attempt, path, missing)?;
        let rescued = self.rescue_commit(&wreck, parting)?;

        let turn = self.take_turn()?;
        let name = self.pin_rescue(&turn, &wreck, rescued.as_ref())?;
        match folder {
            Folder::BecomesSpare => self.retire(&turn, path)?,
            Folder::Goes => self.discard(path)?,
        }
        crash::step();
        self.remove_admin(&turn, path)?;
        crash::step();
        if let (Some(branch), Some(tip)) = (&wreck.branch, &wreck.branch_tip)
            && self.checkouts_of(&branch.full_ref())?.is_empty()
        {
            self.move_ref(&turn, &branch.full_ref(), None, Some(tip), "ropewalk: remove branch")?;
        }
        drop(turn);
        crash::step();
        remove_aside(path)?;
        crash::step();
        let _ = fs::remove_file(self.branch_record(attempt));
        Ok(name)
    }
}
