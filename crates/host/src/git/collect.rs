//! What an attempt left. Knows how uncommitted work becomes a commit; unaware of whether the work is any good.

use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, Oid};

use super::admin::{Head, head_of, last_logged, under_way};
use super::nested::with_history_of_their_own;
use super::repository::Repository;
use super::run::GitError;

/// What an attempt left in its worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Everything is in `head`, which is pinned.
    Commit {
        head: Oid,
        /// The files differ from those the attempt started with.
        changed: bool,
    },
    /// There is work, but not in a state that can be committed.
    Unfinished { detail: String },
    /// There is no worktree to collect from.
    Gone { detail: String },
}

impl Repository {
    /// Commits everything uncommitted in the worktree (except what is ignored) on top of what the agent
    /// committed, and pins the result at `refs/ropewalk/attempts/<task>/<n>`. Changes nothing in the worktree.
    /// Repeating it gives the same commit.
    ///
    /// # Errors
    /// When git fails; the worktree is as it was.
    pub fn collect(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        message: &str,
        at_ms: i64,
    ) -> Result<Left, GitError> {
        self.collect_without(attempt, path, start, message, at_ms, &[])
    }

    /// The same without the files at `kept_out`, which are never stored; a commit of the agent's that holds one of them is
    /// no work that can land.
    ///
    /// # Errors
    /// When git fails; the worktree is as it was.
    pub fn collect_without(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        message: &str,
        at_ms: i64,
        kept_out: &[PathBuf],
    ) -> Result<Left, GitError> {
        let gone = |detail: &str| Ok(Left::Gone { detail: detail.to_owned() });
        // Not through a link: it could lead to any folder of the user's.
        if !path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            return gone("the folder of the worktree is gone");
        }
        let Some(admin) = self.admin_of(path)? else {
            return gone("git no longer knows the worktree");
        };
        if let Some(what) = under_way(&admin) {
            return Ok(Left::Unfinished { detail: format!("a {what} is not finished") });
        }
        let tip = self.tip_of(&admin)?.unwrap_or_else(|| start.clone());
        let mut index = self.private_index(Some(&admin), path, Some(&tip))?;
        if !index.unmerged.is_empty() {
            return Ok(Left::Unfinished {
                detail: format!("conflicts are not resolved: {}", names(&index.unmerged)),
            });
        }
        let embedded = self.embedded(path, &index.file.0)?;
        if !embedded.is_empty() {
            let detail =
                format!("a git repository inside the worktree cannot be committed: {}", names(&embedded));
            return Ok(Left::Unfinished { detail });
        }
        let nested = with_history_of_their_own(path, Some(&admin), &index);
        if !nested.is_empty() {
            let detail = format!(
                "a git repository inside the worktree has commits that would be lost: {}",
                names(&nested)
            );
            return Ok(Left::Unfinished { detail });
        }
        let committed = self.committed(start, &tip, kept_out)?;
        if !committed.is_empty() {
            let detail = format!(
                "a file that is never stored, a copy of the user's own, was committed: {}",
                names(&committed)
            );
            return Ok(Left::Unfinished { detail });
        }
        self.keep_out(path, &mut index, kept_out)?;
        let tree = self.snapshot(path, &index, &[])?;
        let head = if tree == self.tree_of(&tip)? {
            tip
        } else {
            let said = self.commit_tree(tree.as_str(), &[tip.as_str()], message, at_ms)?;
            self.oid("commit", &said.text())?
        };
        self.keep(start, &head)?;
        let turn = self.take_turn()?;
        self.pin(&turn, "attempts", attempt, &head)?;
        Ok(Left::Commit { changed: tree != self.tree_of(start)?, head })
    }

    /// The commit a worktree is at; when its branch was deleted, the one it was last at. None when nothing
    /// is known of it.
    pub(crate) fn tip_of(&self, admin: &Path) -> Result<Option<Oid>, GitError> {
        let tip = match head_of(admin) {
            Some(Head::Detached(at)) => Some(at),
            Some(Head::Ref(name)) => self.ref_tip(&name)?,
            None => None,
        };
        let Some(tip) = tip.or_else(|| last_logged(admin)) else { return Ok(None) };
        if self.is_commit(&tip)? { Ok(Some(tip)) } else { Ok(None) }
    }

    /// Whether there is such a commit.
    ///
    /// # Errors
    /// When git fails.
    pub fn is_commit(&self, oid: &Oid) -> Result<bool, GitError> {
        let said =
            self.on_objects("cat-file").args(["cat-file", "-t", oid.as_str()]).run_accepting(&[0, 1, 128])?;
        Ok(said.text() == "commit")
    }
}

/// A few of the paths, for people.
pub(crate) fn names(paths: &[Vec<u8>]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = paths.iter().take(SHOWN).map(|path| String::from_utf8_lossy(path)).collect();
    let more = paths.len().saturating_sub(SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown.join(", ") + &more
}
