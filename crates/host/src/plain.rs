//! Plain files in folders that an agent can write to. Knows how to open a file without being led elsewhere by a
//! symlink or held up by a pipe; unaware of what is in it.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::durable::FileError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Made when it is not there, private to the user (0600).
    Append,
}

/// Opens a plain file and nothing else.
///
/// # Errors
/// Also for a symlink, a folder, a pipe and a device; opening them has no effect on them.
pub(crate) fn open(path: &Path, access: Access) -> Result<File, FileError> {
    let flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::Append => OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE,
    };
    // Without NONBLOCK the opening of a pipe would wait for its other end. It means nothing to plain files.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let opened = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file = File::from(opened.map_err(|error| FileError::at("open", path)(error.into()))?);
    let metadata = file.metadata().map_err(FileError::at("inspect", path))?;
    if !metadata.is_file() {
        return Err(FileError::at("open", path)(io::Error::other("it is no plain file")));
    }
    // A process that inherits it may be surprised by the flag, though files ignore it.
    let kept = if access == Access::Append { OFlags::APPEND } else { OFlags::empty() };
    rustix::fs::fcntl_setfl(&file, kept).map_err(|error| FileError::at("set up", path)(error.into()))?;
    Ok(file)
}

/// Opens a plain file for reading; `None` when there is nothing of that name.
pub(crate) fn open_if_there(path: &Path) -> Result<Option<File>, FileError> {
    match open(path, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_plain_files_are_opened_and_new_ones_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let made = open(&path("made"), Access::Append).unwrap();
        assert_eq!(made.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(path("made"), path("link")).unwrap();
        let status = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(status.success());
        for name in ["link", "pipe", "."] {
            for access in [Access::Read, Access::Append] {
                assert!(open(&path(name), access).is_err(), "{name} {access:?}");
            }
        }
        assert!(open_if_there(&path("absent")).unwrap().is_none());
        assert!(open_if_there(&path("link")).is_err());
    }
}
