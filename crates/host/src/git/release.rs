//! Giving a worktree back. Knows how to keep everything an agent made before it removes the folder; unaware
//! of why the attempt ended.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use ropewalk_core::id::{AttemptId, Oid};

use super::admin::{Head, head_of, oid_in};
use super::collect::names;
use super::nested::with_history_of_their_own;
use super::refs::Pinned;
use super::repository::Repository;
use super::run::GitError;
use super::worktree::{remove_aside, set_aside};

/// Where git notes commits that a worktree is about to lose or was about to gain.
const NOTES: [&str; 9] = [
    "ORIG_HEAD",
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "rebase-merge/orig-head",
    "rebase-apply/orig-head",
    // What an interrupted rebase or merge put aside for its user stands nowhere else.
    "rebase-merge/autostash",
    "rebase-apply/autostash",
    "MERGE_AUTOSTASH",
];

/// Repositories inside repositories inside repositories: further down nobody looks.
const EMBEDDED_DEPTH_MAX: usize = 4;

/// What it means that files are missing from a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The agent deleted them.
    IsWork,
    /// They were not written yet.
    IsHalfMade,
}

impl Repository {
    /// Removes the attempt's worktree, its administration and its branch; its folder becomes a spare. Commits and
    /// files that no ref of ours keeps are first kept at a rescue ref; ignored files are not. Returns the attempt's
    /// has one. Fine when parts or all of it are missing.
    ///
    /// # Errors
    /// When git or the file system fails; whatever is not kept yet is still there.
    pub fn release_worktree(&self, attempt: AttemptId, path: &Path) -> Result<Option<String>, GitError> {
        self.release(attempt, path, Missing::IsWork)
    }

    /// As [`release_worktree`](Self::release_worktree), for one that may never have been whole.
    pub(crate) fn release(
        &self,
        attempt: AttemptId,
        path: &Path,
        missing: Missing,
    ) -> Result<Option<String>, GitError> {
        let admin = self.admin_of(path)?;
        let branch = self.recorded_branch(attempt);
        let branch_tip = match &branch {
            Some(branch) => self.branch_tip(branch)?,
            None => None,
        };
        let tip = match &admin {
            Some(admin) => self.tip_of(admin)?,
            None => None,
        };
        let mut tips: Vec<Oid> = tip.iter().chain(&branch_tip).cloned().collect();
        for note in admin.iter().flat_map(|admin| NOTES.iter().filter_map(|note| oid_in(admin, note))) {
            if self.is_commit(&note)? {
                tips.push(note);
            }
        }
        let current = admin.as_deref().and_then(head_of);
        let own = [
            branch.as_ref().map(|branch| branch.full_ref()),
            match current {
                Some(Head::Ref(name)) => Some(name),
                _ => None,
            },
        ];
        let kept = self.kept(&own)?;
        let base = tip.as_ref().or(branch_tip.as_ref());
        let leftovers = self.leftovers(attempt, admin.as_deref(), path, base, missing)?;
        let loose = self.loose_tips(&tips, &kept)?;
        let rescued = self.rescue_commit(&loose, leftovers, base)?;

        let turn = self.take_turn()?;
        let name = match &rescued {
            Some(commit) => Some(self.pin(&turn, "rescue", attempt, commit)?),
            // Repeated after a crash, the answer is the same.
            None => self.pins("rescue", attempt)?.pop().map(|pinned| pinned.name),
        };
        match missing {
            Missing::IsWork => self.retire(&turn, path)?,
            Missing::IsHalfMade => set_aside(path)?,
        }
        self.remove_admin(&turn, path)?;
        if let (Some(branch), Some(tip)) = (&branch, &branch_tip)
            && self.checkouts_of(&branch.full_ref())?.is_empty()
        {
            self.move_ref(&turn, &branch.full_ref(), None, Some(tip), "ropewalk: remove branch")?;
        }
        drop(turn);
        remove_aside(path)?;
        let _ = fs::remove_file(self.branch_record(attempt));
        Ok(name)
    }

    /// The refs that keep commits: ours and every branch but those in `own`, which go or may be moved any time.
    fn kept(&self, own: &[Option<String>]) -> Result<Vec<Pinned>, GitError> {
        let mut kept = self.refs_under("refs/heads")?;
        kept.retain(|found| !own.iter().flatten().any(|name| *name == found.name));
        kept.extend(self.refs_under("refs/ropewalk")?);
        Ok(kept)
    }

    /// The tree of the worktree's files, when no commit that is kept or is about to be has it.
    fn leftovers(
        &self,
        attempt: AttemptId,
        admin: Option<&Path>,
        path: &Path,
        base: Option<&Oid>,
        missing: Missing,
    ) -> Result<Option<Oid>, GitError> {
        if !path.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            return Ok(None);
        }
        // An agent may have deleted its administration and its branch: the files are still its work.
        let index = self.private_index(admin, path, base)?;
        let nested = with_history_of_their_own(path, admin, &index);
        if !nested.is_empty() {
            let detail =
                format!("it stays: repositories inside it hold commits of their own: {}", names(&nested));
            return Err(GitError::new("release", path, detail));
        }
        let tree = self.snapshot_with_embedded(path, &index, EMBEDDED_DEPTH_MAX)?;
        let nothing_to_keep = match base {
            Some(base) => match missing {
                Missing::IsWork => tree == self.tree_of(base)?,
                Missing::IsHalfMade => self.changed_paths(base, &tree)?.iter().all(|(how, _)| *how == b'D'),
            },
            None => self.is_empty_tree(&tree)?,
        };
        if nothing_to_keep {
            return Ok(None);
        }
        for kind in ["attempts", "rescue"] {
            for pin in self.pins(kind, attempt)? {
                if self.tree_of(&pin.at)? == tree {
                    return Ok(None);
                }
            }
        }
        Ok(Some(tree))
    }

    fn is_empty_tree(&self, tree: &Oid) -> Result<bool, GitError> {
        Ok(self.on_objects("ls-tree").args(["ls-tree", tree.as_str()]).run()?.stdout.is_empty())
    }

    /// Those of `tips` that cannot be reached from `kept` or from one another.
    fn loose_tips(&self, tips: &[Oid], kept: &[Pinned]) -> Result<Vec<Oid>, GitError> {
        if tips.is_empty() {
            return Ok(vec![]);
        }
        let mut input = String::new();
        for tip in tips {
            input += &format!("{tip}\n");
        }
        for found in kept {
            input += &format!("^{}\n", found.at);
        }
        let call = self.on_objects("rev-list").args(["rev-list", "--ignore-missing", "--parents", "--stdin"]);
        let text = call.stdin(input).run()?.text();
        let mut commits = Vec::new();
        let mut parents = HashSet::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            commits.extend(words.next());
            parents.extend(words);
        }
        commits.retain(|commit| !parents.contains(commit));
        commits.into_iter().map(|commit| self.oid("rev-list", commit)).collect()
    }

    /// One commit that keeps all of it. A single loose tip keeps itself.
    fn rescue_commit(
        &self,
        loose: &[Oid],
        leftovers: Option<Oid>,
        tip: Option<&Oid>,
    ) -> Result<Option<Oid>, GitError> {
        let (tree, message) = match (loose, leftovers) {
            ([], None) => return Ok(None),
            ([only], None) => return Ok(Some(only.clone())),
            ([first, ..], None) => (self.tree_of(first)?, "ropewalk: tips of a released worktree\n"),
            (_, Some(tree)) => (tree, "ropewalk: files of a released worktree\n"),
        };
        let mut parents: Vec<&str> = loose.iter().map(Oid::as_str).collect();
        if let (true, Some(tip)) = (parents.is_empty(), tip) {
            parents.push(tip.as_str());
        }
        // A fixed date makes a repeated release end at the same commit.
        let said = self.commit_tree(tree.as_str(), &parents, message, 0)?;
        Ok(Some(self.oid("commit", &said.text())?))
    }
}
