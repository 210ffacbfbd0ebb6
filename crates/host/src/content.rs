//! Files that are named by what they hold: the same text is kept once. Unaware of what the texts are.

use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use ropewalk_core::time::Time;

use sha2::{Digest, Sha256};

use crate::durable::{FileError, create_private_folder, write_whole};

/// Readable by the user and writable by nobody: whoever is handed such a file shares it with others.
const MODE: u32 = 0o400;

/// Keeps `text` in `folder` as `<SHA-256>.<extension>` and returns its path. One that is there already is used once
/// more, if it still holds what its name says; else it is written anew. Its time stamp says when it was last used.
///
/// # Errors
/// When it cannot be written.
pub fn keep(folder: &Path, text: &str, extension: &str) -> Result<PathBuf, FileError> {
    // Of the same text there is one file, and one writer at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = folder.join(format!("{}.{extension}", name_of(text.as_bytes())));
    if holds(&path, text) {
        // Only ever delays its end; a time stamp that cannot be set is no fault.
        let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        return Ok(path);
    }
    create_private_folder(folder)?;
    write_whole(&path, text.as_bytes())?;
    fs::set_permissions(&path, Permissions::from_mode(MODE)).map_err(FileError::at("narrow", &path))?;
    Ok(path)
}

fn name_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::with_capacity(64), |mut name, byte| {
        // Writing to a string cannot fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

fn holds(path: &Path, text: &str) -> bool {
    // A plain file only: whatever else is put there is replaced.
    let Ok(facts) = path.symlink_metadata() else { return false };
    if !facts.is_file() || facts.len() != text.len() as u64 {
        return false;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let read = File::open(path).and_then(|file| file.take(text.len() as u64).read_to_end(&mut bytes));
    read.is_ok() && bytes == text.as_bytes()
}

/// Deletes the files of the folder that nobody has used for so long. Returns how many. `now` is the caller's clock,
/// which a date that jumps does not move.
pub fn forget_unused(folder: &Path, now: Time, unused_ms: u64) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let is_old = |entry: &fs::DirEntry| {
        let facts = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let used = facts.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let used = Time(i64::try_from(used.as_millis()).ok()?);
        Some(()).filter(|()| now.ms_since(used) > unused_ms)
    };
    let old = entries.flatten().filter(|entry| is_old(entry).is_some());
    old.filter(|entry| fs::remove_file(entry.path()).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once_and_a_spoilt_one_is_written_anew() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("prompts");
        let first = keep(&folder, "do it", "md").unwrap();
        assert_eq!(keep(&folder, "do it", "md").unwrap(), first);
        assert_ne!(keep(&folder, "do that", "md").unwrap(), first);
        assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, MODE);
        fs::set_permissions(&first, Permissions::from_mode(0o600)).unwrap();
        fs::write(&first, "do no").unwrap();
        assert_eq!(fs::read_to_string(keep(&folder, "do it", "md").unwrap()).unwrap(), "do it");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn what_nobody_used_for_long_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let old = keep(home.path(), "old", "md").unwrap();
        let hour_ms = 3_600_000;
        let hour = std::time::Duration::from_millis(hour_ms);
        File::open(&old).unwrap().set_modified(SystemTime::now() - 2 * hour).unwrap();
        let now = Time(crate::clock::wall_ms());
        let fresh = keep(home.path(), "fresh", "md").unwrap();
        assert_eq!(forget_unused(home.path(), now, hour_ms), 1);
        assert!(!old.exists() && fresh.exists());
        assert_eq!(forget_unused(&home.path().join("absent"), now, hour_ms), 0);
    }
}
