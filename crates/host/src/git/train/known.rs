//! What two calls of git tell of all cars: their own commits, and what each changed. Unaware of merging.

use std::collections::{HashMap, HashSet};

use ropewalk_core::id::Oid;
use ropewalk_core::settings::LandMethod;

use super::Car;
use super::apart::{Entry, How, PathChange, Touched};
use super::stream::{Author, Content, NewCommit, is_plain_path};
use crate::git::repository::Repository;
use crate::git::run::GitError;

/// Modes that `fast-import` takes; old histories hold others, which git rewrites when it merges.
const MODES: [&str; 4] = ["100644", "100755", "120000", "160000"];

/// Of commits that the target's tip does not have.
#[derive(Debug)]
pub(super) struct Known {
    /// Their parents.
    parents: HashMap<Oid, Vec<Oid>>,
    changes: HashMap<(Oid, Oid), Vec<PathChange>>,
    /// By a base: what the target changed from there to its tip.
    target: HashMap<Oid, Touched>,
    /// Of commits that are to be replayed.
    raw: HashMap<Oid, Vec<u8>>,
}

/// A commit, its parents, and what changed from its only parent.
type OwnCommit = (Oid, Vec<Oid>, Vec<PathChange>);

/// How a head is joined to the target's history.
pub(super) enum Reach<'a> {
    /// It has no commit of its own.
    Nothing,
    /// By its own commits, oldest first, each on one parent; `base` is the first that the target has too, and as
    /// there is only one, no other base is to be considered.
    Straight {
        base: &'a Oid,
        commits: Vec<&'a Oid>,
    },
    Tangled,
}

impl Known {
    pub(super) fn look(repository: &Repository, onto: &Oid, cars: &[Car<'_>]) -> Result<Known, GitError> {
        let mut known = Known {
            parents: HashMap::new(),
            changes: HashMap::new(),
            target: HashMap::new(),
            raw: HashMap::new(),
        };
        for (commit, parents, changes) in repository.own_commits(onto, cars)? {
            if let [parent] = parents.as_slice() {
                known.changes.insert((parent.clone(), commit.clone()), changes);
            }
            known.parents.insert(commit, parents);
        }
        let (mut pairs, mut replayed) = (Vec::new(), Vec::new());
        for car in cars {
            let Reach::Straight { base, commits } = known.reach(car.head) else { continue };
            pairs.extend([(base.clone(), car.head.clone()), (base.clone(), onto.clone())]);
            if car.method == LandMethod::Rebase {
                replayed.extend(commits.into_iter().cloned());
            }
        }
        let mut seen = HashSet::new();
        pairs.retain(|pair| {
            !known.changes.contains_key(pair) && pair.0 != pair.1 && seen.insert(pair.clone())
        });
        known.target.insert(onto.clone(), Touched::default());
        let told = repository.commit_changes(&pairs)?;
        for ((from, to), changes) in pairs.into_iter().zip(told) {
            if to == *onto {
                let mut touched = Touched::default();
                touched.extend(&changes);
                known.target.insert(from, touched);
            } else {
                known.changes.insert((from, to), changes);
            }
        }
        known.raw = repository.raw_commits(&replayed)?;
        Ok(known)
    }

    pub(super) fn reach(&self, head: &Oid) -> Reach<'_> {
        let Some((mut at, mut parents)) = self.parents.get_key_value(head) else { return Reach::Nothing };
        let mut commits = Vec::new();
        loop {
            commits.push(at);
            let [parent] = parents.as_slice() else { return Reach::Tangled };
            match self.parents.get_key_value(parent) {
                Some(next) => (at, parents) = next,
                None => {
                    commits.reverse();
                    return Reach::Straight { base: parent, commits };
                }
            }
        }
    }

    /// Adds the own commits of a head, by whatever way it has them.
    pub(super) fn mark_reached(&self, head: &Oid, reached: &mut HashSet<Oid>) {
        let mut next = vec![head];
        while let Some(at) = next.pop() {
            if let Some(parents) = self.parents.get(at)
                && reached.insert(at.clone())
            {
                next.extend(parents);
            }
        }
    }

    pub(super) fn changes(&self, from: &Oid, to: &Oid) -> Option<&[PathChange]> {
        self.changes.get(&(from.clone(), to.clone())).map(Vec::as_slice)
    }

    pub(super) fn target_since(&self, base: &Oid) -> Option<&Touched> {
        self.target.get(base)
    }

    /// The commits that the car becomes when both sides stay apart. None: something in it is not for `fast-import`.
    pub(super) fn planned(
        &self,
        car: &Car<'_>,
        base: &Oid,
        commits: &[&Oid],
        whole: &[PathChange],
    ) -> Option<Vec<NewCommit>> {
        let content = |changes: &[PathChange]| {
            changes.iter().all(is_writable).then(|| Content::Changes(changes.to_vec()))
        };
        match car.method {
            LandMethod::Merge | LandMethod::Squash => {
                Some(vec![NewCommit::new(car, Author::of(car), content(whole)?)])
            }
            LandMethod::Rebase => {
                let mut planned = Vec::new();
                let before = std::iter::once(&base).chain(commits);
                for (parent, commit) in before.zip(commits) {
                    let changes = self.changes(parent, commit)?;
                    if !changes.is_empty() {
                        let author = Author::parse(self.raw.get(*commit)?);
                        planned.push(NewCommit::new(car, author, content(changes)?));
                    }
                }
                Some(planned)
            }
        }
    }
}

fn is_writable(change: &PathChange) -> bool {
    let has_known_mode = match &change.how {
        How::Added(entry) | How::Modified(entry) => MODES.contains(&entry.mode.as_str()),
        How::Deleted => true,
    };
    has_known_mode && is_plain_path(&change.path)
}

impl Repository {
    /// The commits of the cars that `onto` does not have, with their parents and what they changed.
    fn own_commits(&self, onto: &Oid, cars: &[Car<'_>]) -> Result<Vec<OwnCommit>, GitError> {
        let mut names: String = cars.iter().map(|car| format!("{}\n", car.head)).collect();
        names += &format!("^{onto}\n");
        let call = self.on_objects("log").args(["log", "--stdin", "--no-show-signature", "--format=%H %P"]);
        let said = call.args(RAW).stdin(names).run()?;
        let commit = |(ids, changes): (String, _)| {
            let mut ids = ids.split(' ').filter(|id| !id.is_empty()).map(|id| self.oid("log", id));
            let own = ids.next().unwrap_or_else(|| self.oid("log", ""))?;
            Ok((own, ids.collect::<Result<_, _>>()?, changes))
        };
        self.parse_raw(&said.stdout)?.into_iter().map(commit).collect()
    }

    /// What changed from each first commit to its second.
    fn commit_changes(&self, pairs: &[(Oid, Oid)]) -> Result<Vec<Vec<PathChange>>, GitError> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        // A commit and what to take for its parent.
        let lines: String = pairs.iter().map(|(from, to)| format!("{to} {from}\n")).collect();
        let call = self.on_objects("diff-tree").args(["diff-tree", "--stdin", "--always"]).args(RAW);
        let said = call.stdin(lines).run()?;
        let all = self.parse_raw(&said.stdout)?;
        if all.len() == pairs.len() {
            return Ok(all.into_iter().map(|(_, changes)| changes).collect());
        }
        Err(GitError::new("diff-tree", self.top(), "it did not tell all changes"))
    }

    /// What changed from one tree to another.
    pub(super) fn tree_changes(&self, from: &Oid, to: &Oid) -> Result<Vec<PathChange>, GitError> {
        let call = self.on_objects("diff-tree").args(["diff-tree"]).args(RAW);
        let said = call.args([from.as_str(), to.as_str()]).run()?;
        // Two trees have no heading.
        let headed = [to.as_str().as_bytes(), b"\0", &said.stdout].concat();
        Ok(self.parse_raw(&headed)?.pop().unwrap_or_default().1)
    }

    /// Reads `HEADING NUL (:MODE MODE OID OID LETTER NUL PATH NUL)*`, again and again. Lines' ends may come before.
    fn parse_raw(&self, said: &[u8]) -> Result<Vec<(String, Vec<PathChange>)>, GitError> {
        let strange = || GitError::new("diff-tree", self.top(), "it said something unknown");
        let mut all: Vec<(String, Vec<PathChange>)> = Vec::new();
        let mut parts = said.split(|byte| *byte == 0);
        while let Some(part) = parts.next() {
            let text = std::str::from_utf8(part).map_err(|_| strange())?.trim_start_matches('\n');
            let Some(facts) = text.strip_prefix(':') else {
                if !text.is_empty() {
                    all.push((text.to_owned(), Vec::new()));
                }
                continue;
            };
            let facts: Vec<&str> = facts.split(' ').collect();
            let ([before, after, _, oid, _], Some(path)) = (facts.as_slice(), parts.next()) else {
                return Err(strange());
            };
            let entry = || Ok(Entry { mode: (*after).to_owned(), oid: self.oid("diff-tree", oid)? });
            let how = match (*before, *after) {
                (_, "000000") => How::Deleted,
                ("000000", _) => How::Added(entry()?),
                _ => How::Modified(entry()?),
            };
            all.last_mut().ok_or_else(strange)?.1.push(PathChange { path: path.to_vec(), how });
        }
        Ok(all)
    }

    /// The commits as git stores them.
    pub(super) fn raw_commits(&self, commits: &[Oid]) -> Result<HashMap<Oid, Vec<u8>>, GitError> {
        let mut raw = HashMap::new();
        if commits.is_empty() {
            return Ok(raw);
        }
        let lines: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        let said = self.on_objects("cat-file").args(["cat-file", "--batch"]).stdin(lines).run()?;
        let mut rest = said.stdout.as_slice();
        for commit in commits {
            // `OID commit SIZE`, a line's end, so many bytes, a line's end.
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let size = std::str::from_utf8(&rest[..end]).ok().and_then(|line| {
                line.strip_prefix(commit.as_str())?.strip_prefix(" commit ")?.parse::<usize>().ok()
            });
            let bytes = size.and_then(|size| rest.get(end + 1..end + 1 + size)).ok_or_else(|| {
                GitError::new("cat-file", self.top(), format!("there is no commit {commit}"))
            })?;
            raw.insert(commit.clone(), bytes.to_vec());
            rest = rest.get(end + 2 + bytes.len()..).unwrap_or_default();
        }
        Ok(raw)
    }
}

/// Submodules too, whatever a `.gitmodules` says of showing them.
const RAW: [&str; 6] = ["-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--ignore-submodules=none"];
