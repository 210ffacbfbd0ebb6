//! Stashes that an attempt made. Knows the one list that all worktrees of a repository share; leaves it as it is, since
//! most of it may be the user's.

use std::time::UNIX_EPOCH;

use ropewalk_core::id::Oid;

use super::Wreck;
use crate::git::admin::{head_log, stash_log};
use crate::git::repository::Repository;
use crate::git::run::GitError;

/// A reflog counts whole seconds, and file systems may round too.
const SLACK_S: u64 = 2;

impl Repository {
    /// Entries of the stash that were made in this worktree, the latest first: since it was made, and on a branch that
    /// was checked out there, or on none.
    pub(super) fn stashes_of(&self, wreck: &Wreck<'_>) -> Result<Vec<Oid>, GitError> {
        let made = self.branch_record(wreck.attempt).metadata().and_then(|facts| facts.modified());
        let Some(made) = made.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()) else {
            return Ok(vec![]);
        };
        let since_s = made.as_secs().saturating_sub(SLACK_S);
        let moves = wreck.admin.as_deref().map(head_log).unwrap_or_default();
        let own = wreck.branch.as_ref().map(|branch| branch.as_str().to_owned());
        let is_ours = |branch: &str| {
            branch == "(no branch)"
                || own.as_deref() == Some(branch)
                || moves.lines().any(|line| line.ends_with(&format!(" to {branch}")))
        };
        let mut found = Vec::new();
        for line in stash_log(self.common()).lines().rev() {
            let Some(entry) = Entry::read(line) else { continue };
            if entry.at_s >= since_s && is_ours(entry.branch) {
                found.push(entry.commit);
            }
        }
        self.commits_among(&found)
    }
}

/// `OLD NEW NAME <MAIL> SECONDS ZONE<tab>WIP on BRANCH: …` or `On BRANCH: …`.
struct Entry<'a> {
    commit: Oid,
    at_s: u64,
    branch: &'a str,
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (facts, what) = line.split_once('\t')?;
        let commit = Oid::new(facts.split(' ').nth(1)?).ok()?;
        let at_s = facts.rsplit(' ').nth(1)?.parse().ok()?;
        let named = what.strip_prefix("WIP on ").or_else(|| what.strip_prefix("On "))?;
        Some(Entry { commit, at_s, branch: named.split_once(':')?.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_its_commit_its_second_and_its_branch() {
        let new = "b".repeat(40);
        for (what, branch) in
            [("WIP on ropewalk/7.1: abc words: more", "ropewalk/7.1"), ("On (no branch): x", "(no branch)")]
        {
            let line = format!("{} {new} A b <a@b> 1800000000 +0200\t{what}", "0".repeat(40));
            let entry = Entry::read(&line).unwrap();
            assert_eq!((entry.commit.as_str(), entry.at_s, entry.branch), (&*new, 1_800_000_000, branch));
        }
        assert!(Entry::read("rubbish").is_none());
    }
}
