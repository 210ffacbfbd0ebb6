//! Lock files of a git that was killed. Knows when nobody can come back for one; unaware of what was being done.
//!
//! git makes `REF.lock`, writes it and renames it; a git that is killed in between leaves it, and every later one is
//! refused until somebody takes it away. Here that is done only when it is old, nobody has it open, and no git is at
//! work in the repository, and then it is set aside, not deleted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::repository::{Repository, Turn};
use super::run::GitError;

/// A lock that is younger may be somebody's: git holds one for milliseconds, and a hook of the user's for longer.
const AGE_MIN: Duration = Duration::from_secs(10);

/// How soon a lock that stands in the way is looked at again: its going away is told by nothing.
const LOOK: Duration = Duration::from_millis(50);

impl Repository {
    /// After git was refused by a lock file: waits until it is gone, or sets it aside when it is stale. Whether it is
    /// worth to try again. Holds our own turn, so the lock is none of ours.
    pub(crate) fn clear_way(&self, _turn: &Turn<'_>, refused: &GitError) -> bool {
        let Some(lock) = lock_in(&refused.detail).filter(|lock| lock.starts_with(self.common())) else {
            return false;
        };
        loop {
            let Ok(facts) = lock.symlink_metadata() else { return true };
            let age = facts.modified().ok().and_then(|at| at.elapsed().ok()).unwrap_or_default();
            if age >= AGE_MIN {
                return !is_in_use(&lock, &[self.common(), self.top()]) && set_aside(&lock, self.common());
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

/// The lock file that git names as the reason.
fn lock_in(detail: &str) -> Option<PathBuf> {
    let (_, rest) = detail.split_once("Unable to create '")?;
    let (path, reason) = rest.split_once("': ")?;
    (reason.starts_with("File exists") && path.ends_with(".lock")).then(|| PathBuf::from(path))
}

/// Whether a process has the file open, or is a git that works in one of the folders. What cannot be looked into
/// belongs to another user, whose lock this would be by its owner.
fn is_in_use(lock: &Path, folders: &[&Path]) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return true };
    let own = std::process::id().to_string();
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let is_process =
            name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()) && name != own);
        is_process && (has_open(&entry.path(), lock) || is_git_in(&entry.path(), folders))
    })
}

fn has_open(process: &Path, file: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == file))
}

fn is_git_in(process: &Path, folders: &[&Path]) -> bool {
    let is_git = fs::read_to_string(process.join("comm")).is_ok_and(|name| name.starts_with("git"));
    is_git
        && fs::read_link(process.join("cwd"))
            .is_ok_and(|cwd| folders.iter().any(|folder| cwd.starts_with(folder)))
}

/// Into the git folder itself, where git looks for no refs.
fn set_aside(lock: &Path, common: &Path) -> bool {
    let mut name = std::ffi::OsString::from("stale-");
    name.push(lock.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    fs::rename(lock, common.join(name)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_words_name_the_lock() {
        let detail = "update_ref failed for ref 'refs/heads/x': cannot lock ref 'refs/heads/x': Unable to create \
                      '/r/.git/refs/heads/x.lock': File exists.; Another git process seems to be running";
        assert_eq!(lock_in(detail), Some(PathBuf::from("/r/.git/refs/heads/x.lock")));
        assert_eq!(lock_in("Unable to create '/r/.git/x.lock': Permission denied"), None);
        assert_eq!(lock_in("something else"), None);
    }

    #[test]
    fn a_file_that_this_process_holds_open_is_seen_by_others_eyes_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.lock");
        fs::write(&file, "").unwrap();
        let held = fs::File::open(&file).unwrap();
        assert!(has_open(Path::new("/proc/self"), &file));
        drop(held);
        assert!(!has_open(Path::new("/proc/self"), &file));
        assert!(set_aside(&file, folder.path()) && !file.exists());
    }
}
