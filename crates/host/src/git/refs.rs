//! Branches and hidden refs. Knows how names are chosen and moved by compare-and-swap; unaware of what the
//! commits hold.

use std::fs::File;
use std::path::Path;

use ropewalk_core::id::{AttemptId, BranchName, Oid};

use super::repository::{Repository, Turn};
use super::run::GitError;

/// How many names are tried before giving up; a person looks long before.
const SUFFIXES_MAX: u32 = 1000;

/// How making a branch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadeBranch {
    /// It stands at the wanted commit, perhaps since before.
    Made,
    /// The name is in use, or too close to one that is.
    Taken,
}

/// A ref and the commit it stands at.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    pub name: String,
    pub at: Oid,
}

impl Repository {
    /// The commit a branch stands at; none when there is no such branch.
    ///
    /// # Errors
    /// When git fails.
    pub fn branch_tip(&self, branch: &BranchName) -> Result<Option<Oid>, GitError> {
        self.ref_tip(&branch.full_ref())
    }

    /// The first free name for a branch that starts at `base`, and that commit; none when `base` does not exist.
    /// A name is free when no branch has it, lies above or below it, or differs from it by case alone.
    ///
    /// # Errors
    /// When git fails, or a thousand names are taken.
    pub fn plan_branch(
        &self,
        wanted: &BranchName,
        base: &BranchName,
    ) -> Result<Option<(BranchName, Oid)>, GitError> {
        let Some(at) = self.branch_tip(base)? else { return Ok(None) };
        Ok(Some((self.free_branch(wanted)?, at)))
    }

    /// Makes a branch at a commit, without a checkout.
    ///
    /// # Errors
    /// When git fails for another reason than the name.
    pub fn make_branch(&self, name: &BranchName, at: &Oid) -> Result<MadeBranch, GitError> {
        let turn = self.take_turn()?;
        if self.branch_tip(name)?.as_ref() == Some(at) {
            return Ok(MadeBranch::Made);
        }
        if !is_free(name.as_str(), &self.branch_names()?) {
            return Ok(MadeBranch::Taken);
        }
        self.move_ref(&turn, &name.full_ref(), Some(at), None, "ropewalk: make branch")?;
        Ok(MadeBranch::Made)
    }

    /// Moves `branch` forward to `to` if that is a fast-forward and no checkout has it; otherwise does nothing.
    ///
    /// # Errors
    /// When git fails.
    pub fn follow(&self, branch: &BranchName, to: &Oid) -> Result<(), GitError> {
        let turn = self.take_turn()?;
        let Some(tip) = self.branch_tip(branch)? else { return Ok(()) };
        let name = branch.full_ref();
        if tip == *to || !self.is_ancestor(&tip, to)? || !self.checkouts_of(&name)?.is_empty() {
            return Ok(());
        }
        match self.move_ref(&turn, &name, Some(to), Some(&tip), "ropewalk: follow") {
            // Someone moved it meanwhile: their move counts.
            Err(_) if self.branch_tip(branch)?.as_ref() != Some(&tip) => Ok(()),
            ended => ended,
        }
    }

    pub(crate) fn free_branch(&self, wanted: &BranchName) -> Result<BranchName, GitError> {
        let names = self.branch_names()?;
        (0..SUFFIXES_MAX)
            .map(|n| wanted.with_suffix(n))
            .find(|name| is_free(name.as_str(), &names))
            .ok_or_else(|| GitError::new("name branch", self.top(), format!("no free name like {wanted}")))
    }

    pub(crate) fn ref_tip(&self, name: &str) -> Result<Option<Oid>, GitError> {
        let refs = self.refs_under(name)?;
        Ok(refs.into_iter().find(|found| found.name == name).map(|found| found.at))
    }

    /// Every ref that is `prefix` or lies below it.
    pub(crate) fn refs_under(&self, prefix: &str) -> Result<Vec<Pinned>, GitError> {
        let call = self.on_refs("for-each-ref").args(["for-each-ref", "--format=%(objectname) %(refname)"]);
        let text = call.arg(prefix).run()?.text();
        let parse = |line: &str| {
            let (at, name) = line.split_once(' ')?;
            Some(Pinned { name: name.to_owned(), at: Oid::new(at).ok()? })
        };
        Ok(text.lines().filter_map(parse).collect())
    }

    fn branch_names(&self) -> Result<Vec<String>, GitError> {
        let short = |found: Pinned| found.name.strip_prefix("refs/heads/").unwrap_or_default().to_lowercase();
        Ok(self.refs_under("refs/heads")?.into_iter().map(short).collect())
    }

    /// Compare-and-swap of one ref, durable when it returns. `old` none: must not exist; `new` none: delete.
    pub(crate) fn move_ref(
        &self,
        turn: &Turn<'_>,
        name: &str,
        new: Option<&Oid>,
        old: Option<&Oid>,
        reason: &str,
    ) -> Result<(), GitError> {
        let digits = new.or(old).map_or(40, |oid| oid.as_str().len());
        let nothing = "0".repeat(digits);
        let old = old.map_or(nothing.as_str(), Oid::as_str);
        let update = || {
            let call = self.on_refs("update-ref").args(["update-ref", "--no-deref", "-m", reason]);
            match new {
                Some(new) => call.args([name, new.as_str(), old]).run(),
                None => call.args(["-d", name, old]).run(),
            }
        };
        if let Err(refused) = update() {
            if !self.clear_way(turn, &refused) {
                return Err(refused);
            }
            update()?;
        }
        // git syncs the new file, not the folder that names it. A deletion that is lost is repeated.
        match (new, self.common().join(name).parent()) {
            (Some(_), Some(folder)) => self.sync_folders(folder),
            _ => Ok(()),
        }
    }

    fn sync_folders(&self, innermost: &Path) -> Result<(), GitError> {
        for folder in innermost.ancestors().take_while(|folder| *folder != self.common()) {
            match File::open(folder).and_then(|folder| folder.sync_all()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                synced => synced.map_err(|e| GitError::io("update-ref", folder, &e))?,
            }
        }
        Ok(())
    }

    /// Keeps a commit at `refs/ropewalk/<kind>/<task>/<n>`, or at that name with a suffix when it is in use for
    /// another commit. Gives the name.
    pub(crate) fn pin(
        &self,
        turn: &Turn<'_>,
        kind: &str,
        attempt: AttemptId,
        at: &Oid,
    ) -> Result<String, GitError> {
        let stem = pin_stem(kind, attempt);
        let taken = self.pins(kind, attempt)?;
        if let Some(found) = taken.iter().find(|pinned| pinned.at == *at) {
            return Ok(found.name.clone());
        }
        let names = (0..SUFFIXES_MAX).map(|n| if n == 0 { stem.clone() } else { format!("{stem}-{n}") });
        let mut free = names.filter(|name| taken.iter().all(|pinned| pinned.name != *name));
        let name =
            free.next().ok_or_else(|| GitError::new("pin", self.top(), format!("{stem} is used up")))?;
        self.move_ref(turn, &name, Some(at), None, "ropewalk: pin")?;
        Ok(name)
    }

    /// The refs of that kind which belong to the attempt.
    pub(crate) fn pins(&self, kind: &str, attempt: AttemptId) -> Result<Vec<Pinned>, GitError> {
        let stem = pin_stem(kind, attempt);
        let folder = stem.rsplit_once('/').map_or(stem.as_str(), |(folder, _)| folder);
        let mut refs = self.refs_under(folder)?;
        refs.retain(|found| {
            found.name.strip_prefix(&stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        Ok(refs)
    }
}

fn pin_stem(kind: &str, attempt: AttemptId) -> String {
    format!("refs/ropewalk/{kind}/{}/{}", attempt.task, attempt.number)
}

/// Whether `name` clashes with none of `names` (lower case), on any file system.
fn is_free(name: &str, names: &[String]) -> bool {
    let name = name.to_lowercase();
    let lies_below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
    names.iter().all(|other| *other != name && !lies_below(&name, other) && !lies_below(other, &name))
}
