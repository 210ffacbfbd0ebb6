//! Trains: several heads merged one after the other, each onto the result of those before it. Knows when git must be
//! asked how two sides meet and when nothing can depend on it; unaware of what is checked and of what moves.
//!
//! A merge in which each path was changed by one side alone needs no merging: its tree is the one side's with the
//! other's entries put in. Two looks tell that of all cars, and one `fast-import` writes all their commits. Every
//! other merge is left to `merge-tree`, on a line that is written up to there. (`merge-tree --stdin` would spare
//! the processes, but it tells no result before its input ends, and each merge needs the result before.)

mod apart;
mod known;
mod replay;
mod stream;

use std::collections::{HashMap, HashSet};

use ropewalk_core::id::{BranchName, Oid};
use ropewalk_core::settings::LandMethod;
use sha2::{Digest, Sha256};

use self::apart::Touched;
use self::known::{Known, Reach};
use self::replay::Replayed;
use self::stream::{Author, Content, NewCommit, Stream};
use super::merge::ConflictText;
use super::repository::Repository;
use super::run::GitError;

/// One head to be merged, and how.
#[derive(Clone, Copy, Debug)]
pub struct Car<'a> {
    pub head: &'a Oid,
    /// Of the commit that a merge or a squash makes; replayed commits keep theirs.
    pub message: &'a str,
    pub at_ms: i64,
    pub method: LandMethod,
}

/// What became of each car on the way from `onto`. No ref points to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Train {
    /// The tip that the target was at.
    pub onto: Oid,
    /// One for each car, in order.
    pub cars: Vec<Coupled>,
}

/// What became of one car.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coupled {
    /// `commit` (files: `tree`) lies on `onto`, which is the commit of the last merged car before, or the target's tip.
    Merged { onto: Oid, commit: Oid, tree: Oid },
    /// The line before it has all of it already.
    Contained,
    /// It does not fit; the line goes on without it. `text` has git's messages and the conflicting lines with
    /// markers, bounded.
    Conflict { files: Vec<String>, text: String },
}

impl Repository {
    /// Merges the heads one after the other onto the tip of `target`, without touching any of them. The same arguments
    /// on the same tip give the same commits. None: there is no such branch. What it made is on the disk when it
    /// returns, though no ref points to it.
    ///
    /// # Errors
    /// When git fails, such as for a head that is not there.
    pub fn train(
        &self,
        target: &BranchName,
        cars: &[Car<'_>],
        text_max: usize,
    ) -> Result<Option<Train>, GitError> {
        let Some(onto) = self.branch_tip(target)? else { return Ok(None) };
        let quick = Known::look(self, &onto, cars)
            .and_then(|known| Coupling::new(self, &onto, Some(known), text_max).couple(cars));
        let cars = match quick {
            Err(error) if error.timed_out || error.git_missing => return Err(error),
            // Histories beyond our bounds, a path that `fast-import` takes for an attack: git merges each by itself.
            Err(_) => Coupling::new(self, &onto, None, text_max).couple(cars)?,
            Ok(cars) => cars,
        };
        Ok(Some(Train { onto, cars }))
    }
}

impl Repository {
    /// Keeps a train's last commit, and all before it, from a garbage collection until the next train of that target is
    /// kept: from its making until it has landed no branch holds it.
    ///
    /// # Errors
    /// When git fails.
    pub fn keep_train(&self, target: &BranchName, last: &Oid) -> Result<(), GitError> {
        let digest = Sha256::digest(target.as_str().as_bytes());
        let digits: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("refs/ropewalk/trains/{}/{digits}", self.state_folder());
        let turn = self.take_turn()?;
        let old = self.ref_tip(&name)?;
        if old.as_ref() == Some(last) {
            return Ok(());
        }
        self.move_ref(&turn, &name, Some(last), old.as_ref(), "ropewalk: keep train")
    }
}

/// How a car can be coupled.
enum Way {
    /// The line has it.
    Nothing,
    /// Both sides stay apart: these commits, one on the other.
    Apart(Vec<NewCommit>),
    /// Git must say.
    Unclear,
}

/// A train in the making.
struct Coupling<'a> {
    repository: &'a Repository,
    text_max: usize,
    /// Nothing: every car is left to git.
    known: Option<Known>,
    onto: &'a Oid,
    /// The last commit of the line that is written, and its tree once somebody asked.
    written: (Oid, Option<Oid>),
    stream: Stream,
    /// What the cars so far have changed.
    touched: Touched,
    /// Commits that the line has beyond what the target's tip has.
    in_line: HashSet<Oid>,
    /// By the number of the car: what its commits in the stream became.
    made: HashMap<usize, (Oid, Oid)>,
}

impl<'a> Coupling<'a> {
    fn new(repository: &'a Repository, onto: &'a Oid, known: Option<Known>, text_max: usize) -> Self {
        Coupling {
            repository,
            text_max,
            known,
            onto,
            written: (onto.clone(), None),
            stream: Stream::default(),
            touched: Touched::default(),
            in_line: HashSet::new(),
            made: HashMap::new(),
        }
    }

    fn couple(mut self, cars: &[Car<'_>]) -> Result<Vec<Coupled>, GitError> {
        let mut unmerged = HashMap::new();
        for (at, car) in cars.iter().enumerate() {
            match self.way(car)? {
                Way::Nothing => drop(unmerged.insert(at, Coupled::Contained)),
                Way::Apart(commits) => self.add(at, car, commits),
                Way::Unclear => {
                    if let Some(end) = self.ask_git(at, car, at + 1 == cars.len())? {
                        unmerged.insert(at, end);
                    }
                }
            }
        }
        self.write()?;
        let mut line = self.onto.clone();
        let told = |at| match (unmerged.remove(&at), self.made.remove(&at)) {
            (Some(end), _) => Ok(end),
            (None, Some((commit, tree))) => {
                let onto = std::mem::replace(&mut line, commit.clone());
                Ok(Coupled::Merged { onto, commit, tree })
            }
            (None, None) => Err(GitError::new("train", self.repository.top(), "a commit was not told")),
        };
        (0..cars.len()).map(told).collect()
    }

    fn way(&self, car: &Car<'_>) -> Result<Way, GitError> {
        let Some(known) = &self.known else { return Ok(Way::Unclear) };
        if self.in_line.contains(car.head) {
            return Ok(Way::Nothing);
        }
        let (base, commits) = match known.reach(car.head) {
            Reach::Straight { base, commits } => (base, commits),
            Reach::Tangled => return Ok(Way::Unclear),
            Reach::Nothing => {
                // Whatever is no commit reaches nothing either.
                let is_contained = self.repository.is_ancestor(car.head, self.onto)?;
                return Ok(if is_contained { Way::Nothing } else { Way::Unclear });
            }
        };
        // With a commit that the line has by way of another car, the two meet later than at `base`.
        if commits.iter().any(|commit| self.in_line.contains(*commit)) {
            return Ok(Way::Unclear);
        }
        let Some(whole) = known.changes(base, car.head) else { return Ok(Way::Unclear) };
        if whole.is_empty() {
            return Ok(Way::Nothing);
        }
        let Some(planned) = known.planned(car, base, &commits, whole) else { return Ok(Way::Unclear) };
        let changes = planned.iter().flat_map(NewCommit::changes);
        let is_apart = known.target_since(base).is_some_and(|target| target.is_apart(changes.clone()))
            && self.touched.is_apart(changes);
        Ok(if is_apart { Way::Apart(planned) } else { Way::Unclear })
    }

    fn add(&mut self, at: usize, car: &Car<'_>, commits: Vec<NewCommit>) {
        for commit in &commits {
            self.touched.extend(commit.changes());
        }
        self.stream.add(at, &self.written.0, commits);
        if let (LandMethod::Merge, Some(known)) = (car.method, &self.known) {
            known.mark_reached(car.head, &mut self.in_line);
        }
    }

    /// Leaves the car to git. None: it is merged, and its commits are in the stream.
    fn ask_git(&mut self, at: usize, car: &Car<'_>, is_last: bool) -> Result<Option<Coupled>, GitError> {
        self.write()?;
        let (line, tree) = (self.written.0.clone(), self.tree()?);
        let replayed = match car.method {
            LandMethod::Rebase => self.repository.replay(&line, &tree, car, self.text_max)?,
            LandMethod::Merge | LandMethod::Squash => {
                let author = Author::of(car);
                match self.repository.merged_tree(&line, car.head, self.text_max)? {
                    Ok(merged) if merged == tree => Replayed::Nothing,
                    Ok(merged) => Replayed::Commits(vec![NewCommit::new(car, author, Content::Tree(merged))]),
                    Err(conflict) => Replayed::Conflict(conflict),
                }
            }
        };
        let commits = match replayed {
            Replayed::Nothing => return Ok(Some(Coupled::Contained)),
            Replayed::Conflict(ConflictText { files, text }) => {
                return Ok(Some(Coupled::Conflict { files, text }));
            }
            Replayed::Commits(commits) => commits,
        };
        if let (false, Some(_), Some(Content::Tree(merged))) =
            (is_last, &self.known, commits.last().map(|commit| &commit.content))
        {
            let changes = self.repository.tree_changes(&tree, merged)?;
            self.touched.extend(&changes);
        }
        self.add(at, car, commits);
        Ok(None)
    }

    /// Writes what is in the stream.
    fn write(&mut self) -> Result<(), GitError> {
        let stream = std::mem::take(&mut self.stream);
        for (at, commit, tree) in self.repository.write_commits(stream)? {
            self.written = (commit.clone(), Some(tree.clone()));
            self.made.insert(at, (commit, tree));
        }
        Ok(())
    }

    /// The files of the last commit that is written.
    fn tree(&mut self) -> Result<Oid, GitError> {
        let tree = match &self.written.1 {
            Some(tree) => tree.clone(),
            None => self.repository.tree_of(&self.written.0)?,
        };
        self.written.1 = Some(tree.clone());
        Ok(tree)
    }
}
