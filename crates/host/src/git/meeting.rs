//! Where two pieces of work would meet, before either has landed. Knows commits, worktrees and paths; unaware of who
//! works on them and of what is done about it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, Oid};

use super::repository::Repository;
use super::run::GitError;

/// Work on the way: a commit that holds it, and the files that it has changed since it began.
#[derive(Clone, Debug)]
pub struct Work {
    commit: Oid,
    paths: BTreeSet<Vec<u8>>,
}

/// How two pieces of work meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// They touch no file in common.
    Apart,
    /// Both changed these files, and git merges them.
    SameFiles(Vec<String>),
    /// Git does not merge these files.
    Conflict(Vec<String>),
}

/// Of a conflict's text nothing is shown here: the names are.
const TEXT_BYTES_MAX: usize = 0;

impl Repository {
    /// What a running attempt's worktree holds at this moment. The commit is in no ref: it is for looking only.
    ///
    /// # Errors
    /// When git fails or the worktree is gone.
    pub fn work_in(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        at_ms: i64,
        kept_out: &[PathBuf],
    ) -> Result<Work, GitError> {
        let commit = self.commit_of_worktree(attempt, path, start, at_ms, kept_out)?;
        self.work_of(start, &commit)
    }

    /// Work that is committed.
    ///
    /// # Errors
    /// When git fails.
    pub fn work_of(&self, start: &Oid, commit: &Oid) -> Result<Work, GitError> {
        let paths = self.changed_paths(start, commit)?.into_iter().map(|(_, path)| path).collect();
        Ok(Work { commit: commit.clone(), paths })
    }

    /// Where the two would meet. Git is asked only where both changed a file.
    ///
    /// # Errors
    /// When git fails.
    pub fn meeting(&self, one: &Work, other: &Work) -> Result<Meeting, GitError> {
        let both: Vec<_> = one.paths.intersection(&other.paths).collect();
        if both.is_empty() {
            return Ok(Meeting::Apart);
        }
        Ok(match self.merged_tree(&one.commit, &other.commit, TEXT_BYTES_MAX)? {
            Ok(_) => Meeting::SameFiles(
                both.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect(),
            ),
            Err(conflict) => Meeting::Conflict(conflict.files),
        })
    }
}
