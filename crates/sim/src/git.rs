//! A model of one repository: commits that touch files, branches that are moved by compare-and-swap.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::candidate::{MergedCommit, Source};
use ropewalk_core::effect::Car;
use ropewalk_core::event::{BranchResult, LandResult, MergeResult};
use ropewalk_core::id::{AttemptId, BranchName, Oid};

use crate::chance::{join, number_of, oid};

#[derive(Clone, Debug)]
pub(crate) struct Git {
    commits: BTreeMap<u64, Commit>,
    branches: BTreeMap<BranchName, u64>,
    /// Whose merge a commit is.
    merges: BTreeMap<u64, AttemptId>,
    /// Every merge that came onto a branch by a landing, in order.
    pub(crate) landings: Vec<Landing>,
}

#[derive(Clone, Debug)]
struct Commit {
    id: Oid,
    /// The branch's line first.
    parents: Vec<u64>,
    files: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Landing {
    pub(crate) target: BranchName,
    pub(crate) by: AttemptId,
    pub(crate) commit: Oid,
}

impl Git {
    pub(crate) fn new(base: BranchName, seed: u64) -> Git {
        let mut git = Git {
            commits: BTreeMap::new(),
            branches: BTreeMap::new(),
            merges: BTreeMap::new(),
            landings: Vec::new(),
        };
        let root = git.put(oid(&[seed, 1]), Vec::new(), Vec::new());
        git.branches.insert(base, root);
        git
    }

    fn put(&mut self, id: Oid, parents: Vec<u64>, files: Vec<u32>) -> u64 {
        let number = number_of(&id);
        self.commits.insert(number, Commit { id, parents, files });
        number
    }

    fn id(&self, number: u64) -> Oid {
        self.commits[&number].id.clone()
    }

    pub(crate) fn tip(&self, branch: &BranchName) -> Option<Oid> {
        self.branches.get(branch).map(|tip| self.id(*tip))
    }

    /// A commit on top of `start`; the same numbers give the same commit.
    pub(crate) fn commit(&mut self, start: &Oid, files: Vec<u32>, numbers: &[u64]) -> Oid {
        let parent = number_of(start);
        let id = oid(&[parent, join(numbers)]);
        self.put(id.clone(), vec![parent], files);
        id
    }

    /// Somebody else commits to a branch.
    pub(crate) fn stranger(&mut self, branch: &BranchName, file: u32, number: u64) {
        let Some(tip) = self.tip(branch) else { return };
        let commit = self.commit(&tip, vec![file], &[number]);
        self.branches.insert(branch.clone(), number_of(&commit));
    }

    fn ancestors(&self, of: u64) -> BTreeSet<u64> {
        let mut seen = BTreeSet::new();
        let mut open = vec![of];
        while let Some(number) = open.pop() {
            if seen.insert(number) {
                open.extend(self.commits.get(&number).map(|c| c.parents.as_slice()).unwrap_or_default());
            }
        }
        seen
    }

    /// Whether the branch's tip holds the commit.
    pub(crate) fn holds(&self, branch: &BranchName, commit: &Oid) -> bool {
        self.branches.get(branch).is_some_and(|tip| self.ancestors(*tip).contains(&number_of(commit)))
    }

    pub(crate) fn plan_branch(&self, wanted: &BranchName, base: &BranchName) -> BranchResult {
        let Some(at) = self.tip(base) else {
            return BranchResult::Failed { detail: format!("there is no branch {base}") };
        };
        let name = (0..).map(|n| wanted.with_suffix(n)).find(|name| !self.branches.contains_key(name));
        match name {
            Some(name) => BranchResult::Planned { name, at },
            None => BranchResult::Failed { detail: "no name is free".into() },
        }
    }

    pub(crate) fn make_branch(&mut self, name: &BranchName, at: &Oid) -> BranchResult {
        let at = number_of(at);
        match self.branches.get(name) {
            Some(tip) if *tip == at => BranchResult::Made,
            Some(_) => BranchResult::Taken,
            None => {
                self.branches.insert(name.clone(), at);
                BranchResult::Made
            }
        }
    }

    /// Merges the cars one upon the other; those that cannot be are left out of the line.
    pub(crate) fn train(&mut self, target: &BranchName, cars: &[Car]) -> Vec<(AttemptId, MergeResult)> {
        let mut line = self.branches.get(target).copied();
        let mut results = Vec::new();
        for car in cars {
            let source = match &car.source {
                Source::Commit(commit) => Some(number_of(commit)),
                Source::Branch(branch) => self.branches.get(branch).copied(),
            };
            let result = match (line, source) {
                (Some(onto), Some(source)) => self.merge(car, onto, source),
                _ => MergeResult::Fault { detail: "there is no such branch".into() },
            };
            if let MergeResult::Merged(merged) = &result {
                line = Some(number_of(&merged.commit));
            }
            results.push((car.candidate, result));
        }
        results
    }

    fn merge(&mut self, car: &Car, onto: u64, source: u64) -> MergeResult {
        let (ours, theirs) = (self.ancestors(onto), self.ancestors(source));
        if ours.contains(&source) {
            return MergeResult::Contained { commit: self.id(onto), tree: self.id(onto) };
        }
        let files = |of: &BTreeSet<u64>, without: &BTreeSet<u64>| -> BTreeSet<u32> {
            of.difference(without).flat_map(|n| self.commits[n].files.clone()).collect()
        };
        let both: Vec<String> = files(&ours, &theirs)
            .intersection(&files(&theirs, &ours))
            .map(|file| format!("file-{file}"))
            .collect();
        if !both.is_empty() {
            return MergeResult::Conflict { text: format!("<<<<<<< in {}", both.join(", ")), files: both };
        }
        let commit = oid(&[onto, source, car.date.0.cast_unsigned()]);
        let tree = oid(&[number_of(&commit), 7]);
        self.put(commit.clone(), vec![onto, source], Vec::new());
        self.merges.insert(number_of(&commit), car.candidate);
        MergeResult::Merged(MergedCommit { onto: self.id(onto), commit, tree })
    }

    pub(crate) fn land(
        &mut self,
        target: &BranchName,
        merged: &MergedCommit,
        follow: Option<&BranchName>,
    ) -> LandResult {
        let commit = number_of(&merged.commit);
        // Asked for again after a crash: it has landed already, perhaps under somebody else's commit.
        if !self.holds(target, &merged.commit) {
            if self.branches.get(target) != Some(&number_of(&merged.onto)) {
                return LandResult::TargetMoved;
            }
            self.branches.insert(target.clone(), commit);
            let mut line = vec![commit];
            while let Some(parent) = self.commits[&line[line.len() - 1]].parents.first()
                && *parent != number_of(&merged.onto)
            {
                line.push(*parent);
            }
            for commit in line.into_iter().rev() {
                if let Some(by) = self.merges.get(&commit) {
                    let landing = Landing { target: target.clone(), by: *by, commit: self.id(commit) };
                    self.landings.push(landing);
                }
            }
        }
        if let Some(follow) = follow
            && let Some(tip) = self.branches.get(follow)
            && self.ancestors(commit).contains(tip)
        {
            self.branches.insert(follow.clone(), commit);
        }
        LandResult::Landed
    }
}
