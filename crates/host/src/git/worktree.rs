//! Making worktrees. Knows the folder, branch and administration of each; unaware of what happens in them.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ropewalk_core::id::{AttemptId, BranchName, Oid};

use super::admin::settled;
use super::release::Folder;
use super::repository::{Repository, Turn};
use super::rescue::{Missing, Parting};
use super::run::GitError;
use crate::crash;

impl Repository {
    /// Makes the attempt's worktree at `path`, on a branch of its own that starts at `start`, out of a spare when
    /// there is one. A whole one that is there already stays as it is; a half-made one is removed and made again.
    ///
    /// # Errors
    /// When git or the file system fails; a repeated call cleans up.
    pub fn add_worktree(&self, attempt: AttemptId, path: &Path, start: &Oid) -> Result<(), GitError> {
        self.add_worktree_without(attempt, path, start, &[])
    }

    /// As [`add_worktree`](Self::add_worktree). Of what a half-made one holds, the files at `kept_out` are never stored.
    ///
    /// # Errors
    /// As there.
    pub fn add_worktree_without(
        &self,
        attempt: AttemptId,
        path: &Path,
        start: &Oid,
        kept_out: &[PathBuf],
    ) -> Result<(), GitError> {
        let admin = self.admin_of(path)?;
        if admin.as_deref().is_some_and(|admin| is_whole(path, admin)) {
            return Ok(());
        }
        let remains = [path, &aside(&settled(path)), &self.branch_record(attempt)];
        if admin.is_some() || remains.iter().any(|path| path.symlink_metadata().is_ok()) {
            // Should anyone have worked in the remains, that is kept.
            let secrets = kept_out.iter().map(|path| path.as_os_str().as_bytes().to_vec()).collect();
            let parting = Parting { secrets, ..Parting::default() };
            self.release(attempt, path, Missing::IsHalfMade, Folder::Goes, &parting)?;
        }
        self.make(path, start, None, |turn| {
            let wanted = BranchName::new(&format!("ropewalk/{attempt}"))
                .map_err(|error| GitError::new("worktree add", self.top(), error.to_string()))?;
            let branch = self.free_branch(&wanted)?;
            self.record_branch(attempt, &branch)?;
            self.move_ref(turn, &branch.full_ref(), Some(start), None, "ropewalk: make branch")?;
            Ok(format!("ref: {}", branch.full_ref()))
        })
    }

    /// Whether the worktree at `path` is all there, so that [`add_worktree`](Self::add_worktree) leaves it as it is.
    ///
    /// # Errors
    /// When git's administration cannot be read.
    pub fn is_worktree_whole(&self, path: &Path) -> Result<bool, GitError> {
        Ok(self.admin_of(path)?.is_some_and(|admin| is_whole(path, &admin)))
    }

    /// Makes a worktree for checks at `path`, at `commit` and on no branch. One that is there is removed first.
    ///
    /// # Errors
    /// When git or the file system fails; a repeated call cleans up.
    pub fn add_check_worktree(&self, name: &str, path: &Path, commit: &Oid) -> Result<(), GitError> {
        self.remove_check_worktree(path)?;
        let reason = format!("ropewalk check {name}");
        self.make(path, commit, Some(&reason), |_| Ok(commit.to_string()))
    }

    /// Removes a worktree for checks; its folder becomes a spare. Fine when there is none.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_check_worktree(&self, path: &Path) -> Result<(), GitError> {
        {
            let turn = self.take_turn()?;
            // In this order: a spare's name no longer says whose administration is left.
            self.remove_admin(&turn, path)?;
            crash::step();
            self.retire(&turn, path)?;
        }
        crash::step();
        remove_aside(path)
    }

    /// Makes a worktree of `commit` with the HEAD that `head` gives, out of a spare when there is one.
    fn make(
        &self,
        path: &Path,
        commit: &Oid,
        locked: Option<&str>,
        head: impl FnOnce(&Turn<'_>) -> Result<String, GitError>,
    ) -> Result<(), GitError> {
        let failed = |error: io::Error| GitError::io("worktree add", path, &error);
        let spares = self.spares_beside(path);
        let spare = spares.take(name_of(path), commit);
        let admin = {
            let turn = self.take_turn()?;
            let head = head(&turn)?;
            let admin = self.free_admin(path);
            let pointer = pointer_to(&admin);
            match &spare {
                Some(spare) => fs::write(spare.folder.join(".git"), pointer)
                    .and_then(|()| fs::rename(&spare.folder, path))
                    .map_err(failed)?,
                None => fs::create_dir(path)
                    .and_then(|()| fs::write(path.join(".git"), pointer))
                    .map_err(failed)?,
            }
            crash::step();
            self.make_admin(&turn, &admin, path, &head, commit, locked).map_err(failed)?;
            crash::step();
            admin
        };
        if spare.is_none() {
            spares.fill_worktree(path, name_of(path), commit)?;
        }
        spares.publish(name_of(path), &admin)
    }

    /// Makes the administration of the worktree at `path`, all but its index, in one step.
    ///
    /// Not by `git worktree add`, which writes it file by file where every git of the user's sees it: a `fetch` or a
    /// `worktree prune` at the wrong moment fails or takes it away, and a kill in the middle leaves it for ever.
    /// Source: git, `gitrepository-layout(5)` and `add_worktree` in `builtin/worktree.c`.
    fn make_admin(
        &self,
        _turn: &Turn<'_>,
        admin: &Path,
        path: &Path,
        head: &str,
        commit: &Oid,
        locked: Option<&str>,
    ) -> io::Result<()> {
        // One name for each state folder: what a crash leaves of it goes with the next.
        let own = fs::metadata(self.control())?.ino();
        let new = self.common().join(format!("ropewalk-{own}.new"));
        remove_tree(&new)?;
        crash::step();
        fs::create_dir_all(new.join("logs"))?;
        fs::write(new.join("HEAD"), format!("{head}\n"))?;
        fs::write(new.join("commondir"), "../..\n")?;
        let pointer = [settled(path).join(".git").as_os_str().as_bytes(), b"\n"].concat();
        fs::write(new.join("gitdir"), pointer)?;
        // Where the worktree began is all that is known of it when its branch is deleted.
        fs::write(new.join("logs/HEAD"), self.first_log_entry(commit))?;
        if let Some(reason) = locked {
            fs::write(new.join("locked"), reason)?;
        }
        let all = self.common().join("worktrees");
        if !all.exists() {
            fs::create_dir(&all)?;
            // A repository that a group shares has folders that the group may write to.
            fs::set_permissions(&all, fs::metadata(self.common())?.permissions())?;
        }
        fs::rename(&new, admin)
    }

    /// As git does: by the folder's name, with a number when that is taken.
    fn free_admin(&self, path: &Path) -> PathBuf {
        let all = self.common().join("worktrees");
        let name = name_of(path).display();
        let mut names = std::iter::once(name.to_string()).chain((1_u32..).map(|n| format!("{name}{n}")));
        let free = names.find(|name| all.join(name).symlink_metadata().is_err());
        all.join(free.unwrap_or_default())
    }

    /// Takes the worktree at `path` out of its place: to become a spare, or to be removed.
    pub(crate) fn retire(&self, turn: &Turn<'_>, path: &Path) -> Result<(), GitError> {
        let is_kept = self.spares_beside(path).retire(turn, path, name_of(path));
        if is_kept { Ok(()) } else { set_aside(path) }
    }

    /// Takes the worktree at `path` out of its place, to be removed whatever it is.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), GitError> {
        self.spares_beside(path).forget(name_of(path));
        set_aside(path)
    }

    /// Removes the administration of the worktree at `path`, and no other.
    pub(crate) fn remove_admin(&self, _turn: &Turn<'_>, path: &Path) -> Result<(), GitError> {
        match self.admin_of(path)? {
            Some(admin) => remove_tree(&admin).map_err(|e| GitError::io("worktree remove", &admin, &e)),
            None => Ok(()),
        }
    }

    /// Which branch was made for the attempt is noted in our own folder: names can be switched by an agent.
    fn record_branch(&self, attempt: AttemptId, branch: &BranchName) -> Result<(), GitError> {
        let file = self.branch_record(attempt);
        let failed = |e: io::Error| GitError::io("worktree add", &file, &e);
        fs::create_dir_all(self.control().join("attempts")).map_err(failed)?;
        fs::write(&file, branch.as_str()).map_err(failed)
    }

    /// The attempts whose branch may still be there, also when no folder tells of them any more: the note is written
    /// before the branch is made, and removed after it has gone.
    pub fn attempts_on_record(&self) -> Vec<AttemptId> {
        let entries = fs::read_dir(self.control().join("attempts")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    pub(crate) fn recorded_branch(&self, attempt: AttemptId) -> Option<BranchName> {
        BranchName::new(&fs::read_to_string(self.branch_record(attempt)).ok()?).ok()
    }

    pub(crate) fn branch_record(&self, attempt: AttemptId) -> PathBuf {
        self.control().join("attempts").join(attempt.to_string())
    }
}

/// The last part of a worktree's path: a number or a key of ours, by which its index is known.
fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

fn pointer_to(admin: &Path) -> Vec<u8> {
    [b"gitdir: ", admin.as_os_str().as_bytes(), b"\n"].concat()
}

/// Whether the worktree's own pointer names its administration.
/// The index is the last thing written, under another name at first: with it all is there.
fn is_whole(path: &Path, admin: &Path) -> bool {
    admin.join("index").is_file() && points_to(path, admin)
}

fn points_to(path: &Path, admin: &Path) -> bool {
    fs::read(path.join(".git")).is_ok_and(|text| text == pointer_to(admin))
}

/// What the name of a folder begins with while it waits for its removal.
const ASIDE: &str = ".removing-";

/// The name that a worktree's folder had before it was set aside for its removal; any other as it is.
pub fn name_before_removal(name: &str) -> &str {
    name.strip_prefix(ASIDE).unwrap_or(name)
}

/// Where a folder waits for its removal: beside its place, so that a crash leaves it either whole or known
/// to be rubbish.
fn aside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(ASIDE);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// Moves what is at `path` to where it waits for its removal.
fn set_aside(path: &Path) -> Result<(), GitError> {
    let path = settled(path);
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    remove_aside(&path)?;
    fs::rename(&path, aside(&path)).map_err(|e| GitError::io("worktree remove", &path, &e))
}

/// Removes what waits for it.
pub(crate) fn remove_aside(path: &Path) -> Result<(), GitError> {
    let path = aside(&settled(path));
    remove_tree(&path).map_err(|e| GitError::io("worktree remove", &path, &e))
}

/// Removes a folder, one with read-only folders in it too; never follows a link. Fine when there is none.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(facts) if !facts.is_dir() => return fs::remove_file(path),
        Ok(_) => {}
    }
    let mut removed = fs::remove_dir_all(path);
    for _ in 0..REMOVALS_MAX {
        match &removed {
            Ok(()) => break,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_folders(path)?,
            // Somebody else is removing it too, and took a file from under us or beat us to all of it.
            Err(_) if path.symlink_metadata().is_err() => return Ok(()),
            Err(_) => {}
        }
        removed = fs::remove_dir_all(path);
    }
    removed
}

/// Tries after the first. Two hands of ours may meet in one folder, and each removes what the other has listed.
const REMOVALS_MAX: usize = 8;

fn open_folders(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}
