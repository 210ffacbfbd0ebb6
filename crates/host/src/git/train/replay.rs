//! A car's commits one by one on another line. Knows the order and what each is compared with; unaware of refs.

use ropewalk_core::id::Oid;

use super::Car;
use super::stream::{Author, Content, NewCommit};
use crate::git::merge::ConflictText;
use crate::git::repository::Repository;
use crate::git::run::GitError;

/// What becomes of a car on a line.
pub(super) enum Replayed {
    /// The line's files stay as they are.
    Nothing,
    Commits(Vec<NewCommit>),
    Conflict(ConflictText),
}

impl Repository {
    /// Replays what `car` has and `line` (files: `tree`) has not. Merge commits are left out, and so are commits that
    /// change nothing here.
    pub(super) fn replay(
        &self,
        line: &Oid,
        tree: &Oid,
        car: &Car<'_>,
        text_max: usize,
    ) -> Result<Replayed, GitError> {
        if !self.have_common_history(line, car.head)? {
            return Ok(Replayed::Conflict(ConflictText::unrelated()));
        }
        let call = self.on_objects("rev-list").args(["rev-list", "--topo-order", "--reverse", "--no-merges"]);
        let text = call.args(["--parents", car.head.as_str(), &format!("^{line}")]).run()?.text();
        let (mut order, mut parents) = (Vec::new(), Vec::new());
        for ids in text.lines() {
            let (commit, parent) = ids.split_once(' ').map_or((ids, None), |(id, parent)| (id, Some(parent)));
            order.push(self.oid("rev-list", commit)?);
            parents.push(parent.map(|parent| self.oid("rev-list", parent)).transpose()?);
        }
        let raw = self.raw_commits(&order)?;
        let (mut now, mut commits) = (tree.clone(), Vec::new());
        for (commit, parent) in order.iter().zip(parents) {
            // The line's files as a child of the commit's own parent: so that this is where git sees both begin.
            // (`merge-tree --merge-base` would say it, from git 2.40 on.)
            let beginning: Vec<&str> = parent.iter().map(Oid::as_str).collect();
            let said = self.commit_tree(now.as_str(), &beginning, "a stand-in\n", 0)?;
            let stand_in = self.oid("commit", &said.text())?;
            let root = ["--allow-unrelated-histories"];
            let options = if parent.is_some() { &[] } else { root.as_slice() };
            let merged = match self.merged_tree_of(options, &stand_in, commit, text_max)? {
                Ok(merged) => merged,
                Err(conflict) => return Ok(Replayed::Conflict(conflict)),
            };
            if merged != now {
                let author = raw.get(commit).map_or_else(|| Author::of(car), |raw| Author::parse(raw));
                commits.push(NewCommit::new(car, author, Content::Tree(merged.clone())));
                now = merged;
            }
        }
        Ok(if now == *tree { Replayed::Nothing } else { Replayed::Commits(commits) })
    }
}
