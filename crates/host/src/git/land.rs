//! Moving a target to a checked commit. Knows how a branch that is checked out moves together with its files,
//! or not at all; unaware of who decided that it should.
//!
//! A branch that moves under a checkout leaves files behind which the next `commit -a` would put back, undoing
//! what landed. So the checkout moves too, and when it cannot without touching someone's changes, nothing does.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ropewalk_core::id::{BranchName, Oid};

use super::admin::{Checkout, Head, head_of, under_way};
use super::collect::names;
use super::repository::{Repository, Turn};
use super::run::GitError;

/// How a landing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Landing {
    /// The target is at the new commit, and so is the checkout that has it.
    Landed { checkout: Option<PathBuf> },
    /// The target was not where it was expected; nothing was changed.
    TargetMoved { actual: Option<Oid> },
    /// The checkout that has the target cannot move with it; nothing was changed.
    Dirty { checkout: PathBuf, detail: String },
}

impl Repository {
    /// Moves `target` from `old` to `new`, together with the checkout that has it. Repeating it after any end
    /// or crash is fine.
    ///
    /// # Errors
    /// When git fails. The target may then have moved without its checkout; a repeated call finishes that.
    pub fn land(&self, target: &BranchName, old: &Oid, new: &Oid, reason: &str) -> Result<Landing, GitError> {
        let turn = self.take_turn()?;
        let name = target.full_ref();
        let actual = self.ref_tip(&name)?;
        let checkouts = self.present_checkouts_of(&name)?;
        if actual.as_ref() == Some(new) {
            return self.finish(checkouts.first(), &name, old, new);
        }
        if actual.as_ref() != Some(old) {
            return Ok(Landing::TargetMoved { actual });
        }
        if let Some(checkout) = checkouts.first() {
            let detail = if checkouts.len() > 1 {
                Some("the target is checked out in more than one worktree".to_owned())
            } else {
                self.obstacle(checkout, &name, old, new)?
            };
            if let Some(detail) = detail {
                return Ok(Landing::Dirty { checkout: checkout.folder.clone(), detail });
            }
        }
        if let Err(error) = self.move_ref(&turn, &name, Some(new), Some(old), reason) {
            return match self.ref_tip(&name)? {
                actual if actual.as_ref() == Some(old) => Err(error),
                actual if actual.as_ref() == Some(new) => Err(error),
                actual => Ok(Landing::TargetMoved { actual }),
            };
        }
        match checkouts.first() {
            Some(checkout) => self.move_checkout_or_back(&turn, checkout, &name, old, new),
            None => Ok(Landing::Landed { checkout: None }),
        }
    }

    /// Checkouts whose folder was deleted count for nothing, as for git itself.
    fn present_checkouts_of(&self, name: &str) -> Result<Vec<Checkout>, GitError> {
        let mut checkouts = self.checkouts_of(name)?;
        checkouts.retain(|checkout| checkout.folder.is_dir() || checkout.admin.join("locked").exists());
        Ok(checkouts)
    }

    fn move_checkout_or_back(
        &self,
        turn: &Turn<'_>,
        checkout: &Checkout,
        name: &str,
        old: &Oid,
        new: &Oid,
    ) -> Result<Landing, GitError> {
        let folder = checkout.folder.clone();
        match self.move_checkout(checkout, old, new) {
            Ok(()) => Ok(Landing::Landed { checkout: Some(folder) }),
            Err(error) => {
                self.move_ref(turn, name, Some(old), Some(new), "ropewalk: undo, the checkout cannot move")?;
                Ok(Landing::Dirty { checkout: folder, detail: error.detail })
            }
        }
    }

    fn move_checkout(&self, checkout: &Checkout, old: &Oid, new: &Oid) -> Result<(), GitError> {
        let on_index = || self.on_files("checkout", &checkout.folder, &checkout.admin.join("index"));
        // The look for obstacles refreshed a copy; read-tree takes files that were only touched for changed ones.
        on_index().args(["update-index", "-q", "--refresh"]).run_accepting(&[0, 1])?;
        on_index().args(["read-tree", "-m", "-u", old.as_str(), new.as_str()]).run()?;
        Ok(())
    }

    /// The target is there already. A checkout that a crash left behind is brought along, if nobody has changed
    /// it since; landed it has either way.
    fn finish(
        &self,
        checkout: Option<&Checkout>,
        name: &str,
        old: &Oid,
        new: &Oid,
    ) -> Result<Landing, GitError> {
        let Some(checkout) = checkout else { return Ok(Landing::Landed { checkout: None }) };
        if self.obstacle(checkout, name, old, new)?.is_none() {
            self.move_checkout(checkout, old, new)?;
        }
        Ok(Landing::Landed { checkout: Some(checkout.folder.clone()) })
    }

    /// Why the checkout cannot move from `old` to `new`, if it cannot. Changes nothing.
    fn obstacle(
        &self,
        checkout: &Checkout,
        name: &str,
        old: &Oid,
        new: &Oid,
    ) -> Result<Option<String>, GitError> {
        let Checkout { admin, folder } = checkout;
        let some = |text: &str| Ok(Some(text.to_owned()));
        if !folder.is_dir() {
            return some("its folder cannot be reached");
        }
        if let Some(what) = under_way(admin) {
            return Ok(Some(format!("a {what} is under way")));
        }
        if head_of(admin) != Some(Head::Ref(name.to_owned())) {
            return some("it is away from the branch for a while");
        }
        if !is_free_soon(&admin.join("index.lock")) {
            return some("a git command is running there, or left index.lock behind");
        }
        let index = self.private_index(Some(admin), folder, Some(old))?;
        if index.remade {
            return some("its index is missing or cannot be read");
        }
        if index.skips_files {
            return some("it is a sparse checkout");
        }
        if !index.unmerged.is_empty() {
            return Ok(Some(format!("conflicts are not resolved: {}", names(&index.unmerged))));
        }
        let on_copy = |operation| self.on_files(operation, folder, &index.file.0);
        // Exit code 1 says that files differ, which the next look tells by name.
        on_copy("update-index").args(["update-index", "-q", "--refresh"]).run_accepting(&[0, 1])?;
        let differing = |args: &[&str]| {
            let call = on_copy("diff").args(args).args(["--name-only", "-z", "--ignore-submodules=all"]);
            let said = call.run()?;
            Ok(super::snapshot::split_nul(&said.stdout).map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let staged = differing(&["diff-index", "--cached", old.as_str()])?;
        if !staged.is_empty() {
            return Ok(Some(format!("changes are staged: {}", names(&staged))));
        }
        let modified = differing(&["diff-files"])?;
        if !modified.is_empty() {
            return Ok(Some(format!("files are modified: {}", names(&modified))));
        }
        let in_the_way = in_the_way(folder, &self.changed_paths(old, new)?);
        if !in_the_way.is_empty() {
            return Ok(Some(format!("untracked files would be overwritten: {}", names(&in_the_way))));
        }
        let dry = on_copy("checkout").args(["read-tree", "-m", "-u", "-n", old.as_str(), new.as_str()]);
        match dry.run() {
            Ok(_) => Ok(None),
            Err(error) if error.timed_out => Err(error),
            Err(error) => Ok(Some(error.detail)),
        }
    }
}

/// How long another git's lock on an index is waited for: its user's own commands take moments.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Between two looks at it: nobody tells when a lock goes.
const LOCK_LOOK: Duration = Duration::from_millis(50);

fn is_free_soon(lock: &Path) -> bool {
    let until = Instant::now() + LOCK_WAIT;
    while lock.symlink_metadata().is_ok() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::park_timeout(LOCK_LOOK);
    }
    true
}

/// Files that the new commit adds, or needs a folder for, where something untracked lies. git itself would
/// spare untracked files but overwrite ignored ones.
fn in_the_way(folder: &Path, changed: &[(u8, Vec<u8>)]) -> Vec<Vec<u8>> {
    let going: HashSet<&[u8]> =
        changed.iter().filter(|(how, _)| *how == b'D').map(|(_, path)| path.as_slice()).collect();
    let mut found = Vec::new();
    for (_, path) in changed.iter().filter(|(how, _)| *how == b'A') {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            let part = &path[..end];
            let Ok(facts) = fs::symlink_metadata(folder.join(OsStr::from_bytes(part))) else { break };
            if !facts.is_dir() {
                if !going.contains(part) {
                    found.push(part.to_vec());
                }
                break;
            }
            if end == path.len() {
                strangers(folder, part, &going, &mut found);
            }
        }
    }
    found.dedup();
    found
}

/// Files below `part` that are not going with the change. A folder that cannot be read counts as one.
fn strangers(folder: &Path, part: &[u8], going: &HashSet<&[u8]>, found: &mut Vec<Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder.join(OsStr::from_bytes(part))) else {
        return found.push(part.to_vec());
    };
    for entry in entries.flatten() {
        let inner = [part, b"/", entry.file_name().as_bytes()].concat();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => strangers(folder, &inner, going, found),
            _ if going.contains(inner.as_slice()) => {}
            _ => found.push(inner),
        }
    }
}
