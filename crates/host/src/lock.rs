//! One engine per state folder. Knows the lock file; unaware of what the engine does.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::durable::{FileError, create_private_folder};

/// The exclusive right to run the engine on a state folder, for as long as this value (or the process) lives.
///
/// It is a `flock` on an open file description: the kernel drops it at any death, so a left-over file blocks
/// nobody, whatever is in it. The descriptor is close-on-exec, so no worker or agent can hold it on. The file
/// is never removed: removing it would let two engines lock two files of one name.
#[derive(Debug)]
pub struct EngineLock {
    _file: File,
}

/// Why the engine cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// `pid` is what the holder wrote; `None` when it has not yet.
    #[error("another engine runs on this state folder{}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Busy { pid: Option<i32> },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Takes `<home>/engine.lock`, at once or not at all.
///
/// # Errors
/// [`LockError::Busy`] when another process (or another part of this one) holds it.
pub fn acquire(home: &Path) -> Result<EngineLock, LockError> {
    create_private_folder(home)?;
    let path = home.join("engine.lock");
    let mut options = OpenOptions::new();
    // Not truncated at open: until the lock is ours, the content is the holder's.
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(FileError::at("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(LockError::Busy { pid: holder(&mut file) }),
        Err(TryLockError::Error(error)) => return Err(FileError::at("lock", &path)(error).into()),
    }
    file.set_len(0).map_err(FileError::at("write", &path))?;
    writeln!(file, "{}", std::process::id()).map_err(FileError::at("write", &path))?;
    Ok(EngineLock { _file: file })
}

fn holder(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_engine_is_told_who_holds_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let held = acquire(home.path()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        match acquire(home.path()) {
            Err(LockError::Busy { pid }) => assert_eq!(pid, Some(own)),
            other => panic!("{other:?}"),
        }
        drop(held);
        acquire(home.path()).unwrap();
    }

    #[test]
    fn garbage_in_a_left_over_file_blocks_nobody() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("engine.lock"), b"\xff\xfe not a pid").unwrap();
        acquire(home.path()).unwrap();
    }
}
