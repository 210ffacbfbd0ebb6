//! Files that are wholly there or not at all, also after a power loss. Unaware of what is in them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file that could not be read or written: which step failed, on which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct FileError {
    pub operation: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn at<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> FileError + 'a {
        move |source| FileError { operation, path: path.to_owned(), source }
    }
}

/// The longest record that is read back: ours have less than 1 kB, and a foreign file must not fill memory.
const RECORD_BYTES_MAX: u64 = 64 << 10;

/// Replaces a file's content. When this returns `Ok`, the new content survives a power loss; before that, and
/// after an error, a reader finds the old content or the new, never a part. Private to the user (0600).
///
/// # Errors
/// The step and its path. After a failed fsync the content counts as lost: never retried as if it were fine.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, true)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let opened = File::open(folder).map_err(FileError::at("open", folder))?;
    opened.sync_all().map_err(FileError::at("sync", folder))
}

/// Like [`write_durably`] without waiting for the disk: whole or absent for as long as the machine runs, which
/// is enough for what names processes, since they do not outlive it either.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    replace(path, bytes, false)
}

fn replace(path: &Path, bytes: &[u8], synced: bool) -> Result<(), FileError> {
    // One writer per file is the rule here, so the name needs to be no better than per process.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = write_new(&new, bytes, synced)
        .and_then(|()| fs::rename(&new, path).map_err(FileError::at("rename to", path)));
    if written.is_err() {
        // On a full disk the half-written file would only make matters worse; that it stays is no new fault.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_new(new: &Path, bytes: &[u8], synced: bool) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new)
        .map_err(FileError::at("create", new))?;
    file.write_all(bytes).map_err(FileError::at("write", new))?;
    if synced { file.sync_all().map_err(FileError::at("sync", new)) } else { Ok(()) }
}

/// A record as its file holds it: one JSON object and a line end.
///
/// # Errors
/// As [`write_durably`].
pub fn write_record<T: Serialize>(path: &Path, record: &T) -> Result<(), FileError> {
    write_durably(path, &record_bytes(path, record)?)
}

pub(crate) fn record_bytes<T: Serialize>(path: &Path, record: &T) -> Result<Vec<u8>, FileError> {
    let mut bytes = serde_json::to_vec(record).map_err(|e| FileError::at("encode", path)(e.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a record back. `None` when there is no such file.
///
/// # Errors
/// A file that is there but cannot be read, or holds something else, is an error and never "absent".
pub fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::at("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes).map_err(FileError::at("read", path))?;
    serde_json::from_slice(&bytes).map(Some).map_err(|e| FileError::at("understand", path)(e.into()))
}

/// Makes a folder that only the user may enter (0700), and those above it. One that is there is narrowed.
///
/// # Errors
/// When it cannot be made, or belongs to somebody else.
pub fn create_private_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::at("create", path))?;
    let mode = fs::metadata(path).map_err(FileError::at("inspect", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(FileError::at("narrow", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_private_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_durably(&path, b"old and longer").unwrap();
        write_durably(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_is_an_error_and_an_absent_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        assert_eq!(read_record::<u32>(&path).unwrap(), None);
        write_record(&path, &7_u32).unwrap();
        assert_eq!(read_record::<u32>(&path).unwrap(), Some(7));
        fs::write(&path, b"{").unwrap();
        let text = read_record::<u32>(&path).unwrap_err().to_string();
        assert!(text.starts_with("cannot understand /") && text.contains("x.json"), "{text}");
    }

    #[test]
    fn a_private_folder_is_narrowed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        create_private_folder(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
