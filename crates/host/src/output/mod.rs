//! What an attempt printed, on disk. Knows the files of an attempt's folder: the two streams, raw or
//! compressed, and their index. Unaware of who printed it and of tasks.
//!
//! - `stdout`, `stderr`: byte for byte what came; a cap may have made a hole in the middle, offsets stay true.
//! - `index`: see [`index`].
//! - `stdout.zst`, `stderr.zst`: the same after compression, in independent segments; see [`compressed`].

pub mod compressed;
pub mod follow;
pub mod index;
pub mod lines;
pub mod rules;
pub mod stored;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use compressed::compress;
pub use stored::Stored;

use crate::durable::FileError;

/// One of an attempt's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    /// The name of its file in the attempt's folder.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    pub fn path(self, folder: &Path) -> PathBuf {
        folder.join(self.name())
    }
}

/// Deletes what an attempt printed, in whatever form. What else is in its folder stays.
///
/// # Errors
/// The first file that cannot be removed; those before it are.
pub fn purge(folder: &Path) -> Result<(), FileError> {
    for stream in Stream::BOTH {
        compressed::remove(&compressed::new_path(folder, stream))?;
        compressed::remove(&compressed::path(folder, stream))?;
        compressed::remove(&stream.path(folder))?;
    }
    compressed::remove(&index::path(folder))
}

/// What the plain files of an attempt's folder take of the disk. A folder that is gone takes nothing.
///
/// # Errors
/// When the folder cannot be read.
pub fn disk_bytes(folder: &Path) -> Result<u64, FileError> {
    /// The unit of `st_blocks`, on every Linux file system.
    const BLOCK_BYTES: u64 = 512;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(FileError::at("read", folder)(error)),
    };
    // One that goes meanwhile takes nothing.
    let plain = entries.flatten().filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
    Ok(plain.map(|metadata| metadata.blocks().saturating_mul(BLOCK_BYTES)).sum())
}

#[cfg(test)]
mod tests;
