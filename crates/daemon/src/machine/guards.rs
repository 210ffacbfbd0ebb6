//! Guards of attempts: taken before an agent begins, compared before anything of its work counts.

use std::path::{Path, PathBuf};

use ropewalk_host::durable::{read_record, write_record};
use ropewalk_host::git::{Guard, Repository};

/// The file in an attempt's folder.
const GUARD: &str = "guard.json";

fn file(folder: &Path) -> PathBuf {
    folder.join(GUARD)
}

/// Takes the guard of an attempt whose agent has not begun. Asked for once more after a crash it stays the first.
pub(super) fn keep(repository: &Repository, worktree: &Path, folder: &Path) -> Result<(), String> {
    if let Ok(Some(_)) = read_record::<Guard>(&file(folder)) {
        return Ok(());
    }
    let guard = repository.guard(worktree).map_err(|error| error.to_string())?;
    write_record(&file(folder), &guard).map_err(|error| error.to_string())
}

/// What was changed since, for people. A guard that an attempt `began` with and that can no longer be read is
/// a change too: the agent could have seen to that.
pub(super) fn compare(
    repository: &Repository,
    worktree: &Path,
    folder: &Path,
    began: bool,
) -> Result<Option<String>, String> {
    match read_record::<Guard>(&file(folder)) {
        Ok(Some(guard)) => repository.tampered(worktree, &guard).map_err(|error| error.to_string()),
        Ok(None) if !began => Ok(None),
        Ok(None) => Ok(Some(format!("{} is gone", file(folder).display()))),
        Err(error) => Ok(Some(error.to_string())),
    }
}
