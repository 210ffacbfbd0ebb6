//! Keeping what an attempt's worktree holds besides its commits, before any of it is removed. Knows every corner in which
//! git hides work; unaware of when a worktree goes.
//!
//! One commit holds a rescue. Its tree is the worktree's files, byte for byte; its first parent is the commit that the
//! worktree was at; its other parents are everything that would have gone besides, each a *part* with a name. The message
//! says what was kept and what was left out, for people, and once more in one line for us (`record`).

mod files;
mod ignored;
mod record;
mod restore;
mod stash;

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, AttemptNumber, BranchName, Oid, TaskId};

pub use self::record::{LeftOut, Rescue};
pub use self::restore::Restored;

use super::admin::{Head, all_logged, branches_held, head_of, oid_in};
use super::checkpoint;
use super::refs::Pinned;
use super::repository::{Repository, Turn};
use super::run::GitError;
use crate::included::{self, LIST};
use files::Found;
use record::{Part, Record};

/// Where git notes commits that a worktree is about to lose or was about to gain.
const NOTES: [&str; 10] = [
    "ORIG_HEAD",
    "MERGE_HEAD",
    "CHERRY_PICK_HEAD",
    "REVERT_HEAD",
    "REBASE_HEAD",
    "rebase-merge/orig-head",
    "rebase-apply/orig-head",
    // What an interrupted rebase or merge put aside for its user stands nowhere else.
    "rebase-merge/autostash",
    "rebase-apply/autostash",
    "MERGE_AUTOSTASH",
];

/// Parents of one commit: git reads any number, other programs do not.
const PARENTS_MAX: usize = 60;

/// What is known of an attempt when its worktree is to go.
#[derive(Clone, Debug, Default)]
pub struct Parting {
    /// How it ended, in words for the message; empty: unknown.
    pub ended: String,
    /// Now, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its work was taken as a commit: of what is ignored only small files are kept then.
    pub has_passed: bool,
    /// Files below the worktree that must never be stored: what was copied there for the agent's eyes only.
    pub secrets: Vec<Vec<u8>>,
}

impl Parting {
    /// The files that were copied into a worktree and are never stored, as the attempt's folder lists them: one path a
    /// line, below the worktree. Nothing when there is no list.
    ///
    /// # Errors
    /// When there is a list that cannot be read: then nothing may be stored at all.
    pub fn secrets_in(folder: &Path) -> Result<Vec<Vec<u8>>, GitError> {
        let paths = included::read_list(&folder.join(LIST))
            .map_err(|error| GitError::new("rescue", folder, error.to_string()))?;
        Ok(paths.into_iter().map(|path| path.into_os_string().into_vec()).collect())
    }
}

/// What it means that files are missing from a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The agent deleted them.
    IsWork,
    /// They were not written yet.
    IsHalfMade,
}

/// A worktree that is to be rescued: its places and its commits.
pub(crate) struct Wreck<'a> {
    pub(crate) attempt: AttemptId,
    pub(crate) path: &'a Path,
    pub(crate) admin: Option<PathBuf>,
    pub(crate) branch: Option<BranchName>,
    pub(crate) branch_tip: Option<Oid>,
    tip: Option<Oid>,
    missing: Missing,
}

impl Wreck<'_> {
    /// The commit that the files are a change of.
    fn base(&self) -> Option<&Oid> {
        self.tip.as_ref().or(self.branch_tip.as_ref())
    }
}

impl Repository {
    /// Keeps everything in the attempt's worktree that no ref of ours keeps yet at `refs/ropewalk/rescue/<task>/<n>`, and
    /// changes nothing in it. Returns the attempt's latest rescue ref, if it has one. Repeating it adds nothing.
    ///
    /// # Errors
    /// When git or the file system fails; then the worktree must not be removed.
    pub fn rescue_worktree(
        &self,
        attempt: AttemptId,
        path: &Path,
        parting: &Parting,
    ) -> Result<Option<String>, GitError> {
        let wreck = self.wreck(attempt, path, Missing::IsWork)?;
        let rescued = self.rescue_commit(&wreck, parting)?;
        let turn = self.take_turn()?;
        self.pin_rescue(&turn, &wreck, rescued.as_ref())
    }

    /// Whether the attempt's worktree stands in nobody's way when it stays: it has no branch checked out but its own, onto
    /// which nobody lands anything.
    ///
    /// # Errors
    /// When git fails.
    pub fn is_out_of_the_way(&self, attempt: AttemptId, path: &Path) -> Result<bool, GitError> {
        let own = self.recorded_branch(attempt).map(|branch| branch.full_ref());
        let Some(admin) = self.admin_of(path)? else { return Ok(true) };
        let is_branch_of_others =
            |name: &String| Some(name) != own.as_ref() && name.starts_with("refs/heads/");
        Ok(!branches_held(&admin).iter().any(is_branch_of_others))
    }

    pub(crate) fn wreck<'a>(
        &self,
        attempt: AttemptId,
        path: &'a Path,
        missing: Missing,
    ) -> Result<Wreck<'a>, GitError> {
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
        Ok(Wreck { attempt, path, admin, branch, branch_tip, tip, missing })
    }

    /// One commit of all that is not kept yet; nothing when all is.
    pub(crate) fn rescue_commit(
        &self,
        wreck: &Wreck<'_>,
        parting: &Parting,
    ) -> Result<Option<Oid>, GitError> {
        let kept = self.kept(wreck)?;
        let stashes = self.stashes_of(wreck)?;
        let mut tips: Vec<Oid> = wreck.tip.iter().chain(&wreck.branch_tip).chain(&stashes).cloned().collect();
        if let Some(admin) = &wreck.admin {
            tips.extend(NOTES.iter().filter_map(|note| oid_in(admin, note)));
            tips.extend(all_logged(admin));
        }
        let Found { leftovers, nested } = self.leftovers(wreck, parting)?;
        tips.extend_from_slice(&nested);
        let tips = self.commits_among(&tips)?;
        let loose = self.loose_tips(&tips, &kept)?;
        if loose.is_empty() && leftovers.is_none() {
            return Ok(None);
        }
        let mut record = Record { attempt: wreck.attempt.to_string(), ..Record::default() };
        record.ended.clone_from(&parting.ended);
        record.by = self.state_folder();
        let mut parents: Vec<Oid> = wreck.base().cloned().into_iter().collect();
        let tree = match (&leftovers, wreck.base().or(loose.first())) {
            (Some(leftovers), _) => leftovers.tree.clone(),
            (None, Some(commit)) => self.tree_of(commit)?,
            (None, None) => return Ok(None),
        };
        if let Some(leftovers) = leftovers {
            record.count(&leftovers);
            if let Some(index) = leftovers.index_only {
                let parents: Vec<&str> = wreck.base().into_iter().map(Oid::as_str).collect();
                let said = self.commit_tree(
                    index.as_str(),
                    &parents,
                    "ropewalk: only in the index\n",
                    parting.at_ms,
                )?;
                record.parts.push(Part { name: "index".into(), commit: said.text() });
            }
        }
        if let Some(head) = wreck.base().filter(|base| loose.contains(base)) {
            record.parts.push(Part { name: "head".into(), commit: head.to_string() });
        }
        for (n, stash) in stashes.iter().filter(|stash| loose.contains(stash)).enumerate() {
            record.parts.push(Part { name: format!("stash-{}", n + 1), commit: stash.to_string() });
        }
        for (n, tip) in loose.iter().filter(|tip| nested.contains(tip)).enumerate() {
            record.parts.push(Part { name: format!("nested-{}", n + 1), commit: tip.to_string() });
        }
        let is_other =
            |tip: &&Oid| !stashes.contains(tip) && !nested.contains(tip) && Some(*tip) != wreck.base();
        for (n, tip) in loose.iter().filter(is_other).enumerate() {
            record.parts.push(Part { name: format!("commit-{}", n + 1), commit: tip.to_string() });
        }
        for part in record.parts.iter().filter(|part| part.name != "head") {
            parents.push(self.oid("rescue", &part.commit)?);
        }
        let parents = self.bundled(&parents, parting.at_ms)?;
        let parents: Vec<&str> = parents.iter().map(Oid::as_str).collect();
        let said = self.commit_tree(tree.as_str(), &parents, &record.message(), parting.at_ms)?;
        let commit = self.oid("commit", &said.text())?;
        // Before a ref names it: with one, a repeated call takes all of it for kept.
        let durable: Vec<Oid> = kept.into_iter().map(|pinned| pinned.at).collect();
        self.keep_beyond(&durable, &commit)?;
        Ok(Some(commit))
    }

    /// The same commits with no more parents than one commit may have: the rest hang on commits of their own.
    fn bundled(&self, parents: &[Oid], at_ms: i64) -> Result<Vec<Oid>, GitError> {
        let Some((first, rest)) = parents.split_first().filter(|_| parents.len() > PARENTS_MAX) else {
            return Ok(parents.to_vec());
        };
        let mut bundled = vec![first.clone()];
        for some in rest.chunks(PARENTS_MAX) {
            let some: Vec<&str> = some.iter().map(Oid::as_str).collect();
            let said =
                self.commit_tree(self.tree_of(first)?.as_str(), &some, "ropewalk: more commits\n", at_ms)?;
            bundled.push(self.oid("commit", &said.text())?);
        }
        Ok(bundled)
    }

    /// Pins a rescue, and makes sure that all of it is there: whoever collects garbage meanwhile may have taken an object
    /// that nothing named yet. From here on it is named.
    pub(crate) fn pin_rescue(
        &self,
        turn: &Turn<'_>,
        wreck: &Wreck<'_>,
        rescued: Option<&Oid>,
    ) -> Result<Option<String>, GitError> {
        let Some(commit) = rescued else {
            // Repeated after a crash, the answer is the same.
            return Ok(self.pins("rescue", wreck.attempt)?.pop().map(|pinned| pinned.name));
        };
        let name = self.pin(turn, "rescue", wreck.attempt, commit)?;
        let whole = self
            .on_objects("rev-list")
            .args(["rev-list", "--objects", "--quiet", commit.as_str()])
            .args(wreck.base().map(|base| format!("^{base}")))
            .run();
        if let Err(error) = whole {
            // A name for half a rescue would be taken for the whole next time.
            self.move_ref(turn, &name, None, Some(commit), "ropewalk: not whole")?;
            return Err(error);
        }
        Ok(Some(name))
    }

    /// The attempts of a task whose work is pinned as a commit, and that commit.
    ///
    /// # Errors
    /// When git fails.
    pub fn collected(&self) -> Result<Vec<(AttemptId, Oid)>, GitError> {
        let attempt = |name: &str| {
            let (task, number) = name.strip_prefix("refs/ropewalk/attempts/")?.split_once('/')?;
            let (number, _) = number.split_once('-').unwrap_or((number, ""));
            Some(AttemptId { task: TaskId(task.parse().ok()?), number: AttemptNumber(number.parse().ok()?) })
        };
        let found = self.refs_under("refs/ropewalk/attempts")?;
        Ok(found.into_iter().filter_map(|found| Some((attempt(&found.name)?, found.at))).collect())
    }

    /// Lets go of what an attempt left as this commit.
    ///
    /// # Errors
    /// When git fails; then it is still there.
    pub fn forget_collected(&self, attempt: AttemptId, commit: &Oid) -> Result<(), GitError> {
        let turn = self.take_turn()?;
        for pinned in self.pins("attempts", attempt)?.iter().filter(|pinned| pinned.at == *commit) {
            self.move_ref(&turn, &pinned.name, None, Some(commit), "ropewalk: forget attempt")?;
        }
        Ok(())
    }

    /// Whether this state folder made the rescue.
    pub fn is_own(&self, rescue: &Rescue) -> bool {
        rescue.by == self.state_folder()
    }

    /// The refs that keep commits: ours but the checkpoints, and every branch but the attempt's own. Those go or may be
    /// moved any time.
    fn kept(&self, wreck: &Wreck<'_>) -> Result<Vec<Pinned>, GitError> {
        let own = [
            wreck.branch.as_ref().map(BranchName::full_ref),
            match wreck.admin.as_deref().and_then(head_of) {
                Some(Head::Ref(name)) => Some(name),
                _ => None,
            },
        ];
        let mut kept = self.refs_under("refs/heads")?;
        kept.retain(|found| !own.iter().flatten().any(|name| *name == found.name));
        // A checkpoint goes long before a rescue does.
        let checkpoints = format!("refs/ropewalk/{}/", checkpoint::KIND);
        let own = self.refs_under("refs/ropewalk")?;
        kept.extend(own.into_iter().filter(|found| !found.name.starts_with(&checkpoints)));
        Ok(kept)
    }

    /// Those that are commits and are there, each once, in their order.
    pub(super) fn commits_among(&self, candidates: &[Oid]) -> Result<Vec<Oid>, GitError> {
        if candidates.is_empty() {
            return Ok(vec![]);
        }
        let input: String = candidates.iter().map(|oid| format!("{oid}\n")).collect();
        let call =
            self.on_objects("cat-file").args(["cat-file", "--batch-check=%(objectname) %(objecttype)"]);
        let text = call.stdin(input).run()?.text();
        let mut found: Vec<Oid> = Vec::new();
        for line in text.lines() {
            if let Some(oid) = line.strip_suffix(" commit") {
                let oid = self.oid("cat-file", oid)?;
                if !found.contains(&oid) {
                    found.push(oid);
                }
            }
        }
        Ok(found)
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
        let mut parents = std::collections::HashSet::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            commits.extend(words.next());
            parents.extend(words);
        }
        commits.retain(|commit| !parents.contains(commit));
        commits.into_iter().map(|commit| self.oid("rev-list", commit)).collect()
    }
}
