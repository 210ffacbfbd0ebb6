//! Which files the user trusts: by their place and by every byte of them. Unaware of what is in them, and of who asks.
//!
//! Kept on the user's side (the state folder), never beside the file: a file must not decide its own trust.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::durable::{FileError, create_private_folder, write_durably};

/// The longest record that is read back: a configuration has at most 1 MiB, and a path 4 KiB.
const RECORD_BYTES_MAX: u64 = 2 << 20;

/// The trust of a state folder.
#[derive(Clone, Debug)]
pub struct Trusted {
    folder: PathBuf,
}

/// How a file stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Exactly these bytes, at this place.
    Trusted,
    /// It was trusted with other bytes: these.
    Changed {
        before: Vec<u8>,
    },
    Unknown,
}

impl Trusted {
    pub fn of(home: &Path) -> Trusted {
        Trusted { folder: home.join("trusted") }
    }

    /// How the file at `path` (with all links resolved) stands, holding `bytes`. A record that is damaged is no trust.
    ///
    /// # Errors
    /// When a record is there and cannot be read.
    pub fn standing(&self, path: &Path, bytes: &[u8]) -> Result<Standing, FileError> {
        let record = self.record(path);
        let mut kept = Vec::new();
        match File::open(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Standing::Unknown),
            Err(error) => return Err(FileError::at("open", &record)(error)),
            Ok(file) => {
                file.take(RECORD_BYTES_MAX).read_to_end(&mut kept).map_err(FileError::at("read", &record))?
            }
        };
        let Some(before) = before(&kept, path) else { return Ok(Standing::Unknown) };
        Ok(if before == bytes { Standing::Trusted } else { Standing::Changed { before: before.to_vec() } })
    }

    /// Trusts the file at `path` for as long as it holds exactly `bytes`. Durable when it returns.
    ///
    /// # Errors
    /// When it cannot be written; then nothing has changed.
    pub fn give(&self, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        create_private_folder(&self.folder)?;
        let mut record = head(path, bytes).into_bytes();
        record.extend_from_slice(bytes);
        write_durably(&self.record(path), &record)
    }

    /// Takes the trust back. Whether there was any.
    ///
    /// # Errors
    /// When it cannot be removed: it is still trusted then.
    pub fn revoke(&self, path: &Path) -> Result<bool, FileError> {
        let record = self.record(path);
        match fs::remove_file(&record) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(FileError::at("remove", &record))?,
        }
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(FileError::at("sync", &self.folder))?;
        Ok(true)
    }

    /// A record is named by the hash of the path that it speaks of: a path is no name for a file.
    fn record(&self, path: &Path) -> PathBuf {
        self.folder.join(sha256(path.as_os_str().as_bytes()))
    }
}

/// What a record begins with: both hashes, and the path for whoever looks.
fn head(path: &Path, bytes: &[u8]) -> String {
    let shown: String = path.to_string_lossy().escape_default().collect();
    format!("{} {} {shown}\n", sha256(bytes), sha256(path.as_os_str().as_bytes()))
}

/// The bytes that a record holds, if it is whole and of this path.
fn before<'r>(record: &'r [u8], path: &Path) -> Option<&'r [u8]> {
    let end = record.iter().position(|byte| *byte == b'\n')?;
    let bytes = &record[end + 1..];
    (record[..=end] == *head(path, bytes).as_bytes()).then_some(bytes)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn trust_is_for_these_bytes_at_this_place_alone() {
        let home = tempfile::tempdir().unwrap();
        let trusted = Trusted::of(home.path());
        let (here, there) = (Path::new("/a/ropewalk.toml"), Path::new("/b/ropewalk.toml"));
        assert_eq!(trusted.standing(here, b"x\ny").unwrap(), Standing::Unknown);
        trusted.give(here, b"x\ny").unwrap();
        assert_eq!(trusted.standing(here, b"x\ny").unwrap(), Standing::Trusted);
        assert_eq!(trusted.standing(there, b"x\ny").unwrap(), Standing::Unknown);
        let changed = Standing::Changed { before: b"x\ny".to_vec() };
        assert_eq!(trusted.standing(here, b"x\ny ").unwrap(), changed);
        trusted.give(here, b"").unwrap();
        assert_eq!(trusted.standing(here, b"").unwrap(), Standing::Trusted);
        assert!(trusted.revoke(here).unwrap() && !trusted.revoke(here).unwrap());
        assert_eq!(trusted.standing(here, b"").unwrap(), Standing::Unknown);
    }

    #[test]
    fn a_record_is_private_and_one_that_was_tampered_with_or_moved_is_no_trust() {
        let home = tempfile::tempdir().unwrap();
        let trusted = Trusted::of(home.path());
        let (here, there) = (Path::new("/a"), Path::new("/b"));
        trusted.give(here, b"good").unwrap();
        let record = trusted.record(here);
        assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
        fs::copy(&record, trusted.record(there)).unwrap();
        assert_eq!(trusted.standing(there, b"good").unwrap(), Standing::Unknown);
        let mut bytes = fs::read(&record).unwrap();
        bytes.extend_from_slice(b"evil");
        fs::write(&record, &bytes).unwrap();
        assert_eq!(trusted.standing(here, b"goodevil").unwrap(), Standing::Unknown);
        fs::write(&record, b"").unwrap();
        assert_eq!(trusted.standing(here, b"").unwrap(), Standing::Unknown);
    }
}
