//! Making a folder equal to its index again. Knows how to tell what was touched, whoever touched it and however they
//! dated it; unaware of commits and git.
//!
//! A file stays only when everything that the kernel tells of it is as it was when we wrote it, the time of its last
//! change among it, and when it has no second name. All else goes, and is written anew by the caller.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use super::super::worktree::remove_tree;
use super::listing::{Entry, Kind, Listing, Place, Stamp};

/// The kernel dates files by its last tick, of which the slowest has a hundred in a second: what was written so long
/// before the index may have been changed after it and bear the same date.
const TWO_TICKS_NS: i128 = 20_000_000;

/// What a folder is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When it was made, where the file system says so: a number is soon given to the next folder.
    pub(super) born_ns: u64,
    /// Of this folder, and of all that git makes in it.
    pub(super) mode: u32,
}

/// What a walk through a folder has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What belongs there and is not, or no longer.
    pub(super) missing: Vec<Vec<u8>>,
    /// How many things were removed that did not belong there.
    pub(super) removed: usize,
    /// What the folder takes up on the disk.
    pub(super) bytes: u64,
}

impl Root {
    /// None when there is no folder, or a link to one.
    pub(super) fn of(folder: &Path) -> Option<Root> {
        let facts = folder.symlink_metadata().ok().filter(Metadata::is_dir)?;
        let born = facts.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let born_ns = born.and_then(|at| u64::try_from(at.as_nanos()).ok()).unwrap_or_default();
        Some(Root { device: facts.dev(), inode: facts.ino(), born_ns, mode: facts.mode() & 0o7777 })
    }
}

/// Removes from `folder` what differs from `listing`. What was written later than two ticks before `index_ns`, the
/// date of the index, is removed with it; none when nobody but us has been there since it was written.
pub(super) fn wash(
    folder: &Path,
    root: Root,
    listing: &Listing,
    index_ns: Option<i128>,
) -> io::Result<Found> {
    let mut walk = Walk {
        listing,
        root,
        user: rustix::process::geteuid().as_raw(),
        changed_before_ns: index_ns.map_or(i128::MAX, |at| at - TWO_TICKS_NS),
        seen: vec![false; listing.entries.len()],
        found: Found::default(),
    };
    if Root::of(folder) != Some(root) || !walk.is_plain_folder(folder)? {
        return Err(io::Error::other("the folder is not the one it was"));
    }
    walk.folder(folder, &mut Vec::new())?;
    let missing = listing.entries.iter().zip(&walk.seen).filter(|(_, seen)| !**seen);
    walk.found.missing = missing.map(|(entry, _)| entry.path.clone()).collect();
    Ok(walk.found)
}

struct Walk<'a> {
    listing: &'a Listing,
    root: Root,
    user: u32,
    changed_before_ns: i128,
    seen: Vec<bool>,
    found: Found,
}

impl Walk<'_> {
    /// `below` is the folder's path from the root; it comes back as it was.
    fn folder(&mut self, folder: &Path, below: &mut Vec<u8>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, length) = (entry.path(), below.len());
            if length > 0 {
                below.push(b'/');
            }
            below.extend(entry.file_name().as_bytes());
            let stays = match self.listing.at(below) {
                Some(Place::Entry(number)) => {
                    self.seen[number] = self.fits(&path, &self.listing.entries[number])?;
                    self.seen[number]
                }
                Some(Place::Folder) => self.is_plain_folder(&path)?,
                None => false,
            };
            if !stays {
                remove_tree(&path)?;
                self.found.removed += 1;
            } else if entry.file_type()?.is_dir() {
                // For a submodule nothing is listed, and nothing stays in it.
                self.folder(&path, below)?;
            }
            below.truncate(length);
        }
        Ok(())
    }

    fn fits(&mut self, path: &Path, entry: &Entry) -> io::Result<bool> {
        let facts = path.symlink_metadata()?;
        let permissions = facts.mode() & 0o7777;
        let is_kind = match entry.kind {
            Kind::File => facts.is_file() && permissions == self.root.mode & 0o666,
            Kind::Program => facts.is_file() && permissions == self.root.mode & 0o777,
            Kind::Link => facts.is_symlink(),
            Kind::Repository => return self.is_plain_folder(path),
        };
        let changed_ns = i128::from(facts.ctime()) * 1_000_000_000 + i128::from(facts.ctime_nsec());
        self.found.bytes += facts.blocks() * 512;
        Ok(is_kind
            && facts.nlink() == 1
            && facts.dev() == self.root.device
            && Stamp::of(&facts) == entry.stamp
            && changed_ns < self.changed_before_ns)
    }

    /// A folder as git makes them. One with rules of its own for what is made in it is none.
    fn is_plain_folder(&mut self, path: &Path) -> io::Result<bool> {
        let facts = path.symlink_metadata()?;
        let is_plain = facts.is_dir()
            && facts.mode() & 0o7777 == self.root.mode
            && facts.dev() == self.root.device
            && facts.uid() == self.user;
        self.found.bytes += facts.blocks() * 512;
        Ok(is_plain && !has_attributes(path)?)
    }
}

/// More names than that are no folder of ours.
const ATTRIBUTE_NAMES_BYTES_MAX: usize = 4 << 10;

/// Whether the folder has extended attributes, access lists among them. Labels of the system's own (SELinux) every
/// file has.
fn has_attributes(path: &Path) -> io::Result<bool> {
    let mut names = [0_u8; ATTRIBUTE_NAMES_BYTES_MAX];
    let bytes = match rustix::fs::llistxattr(path, &mut names[..]) {
        Ok(bytes) => bytes,
        // A file system without them.
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut names = names[..bytes].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.any(|name| !name.starts_with(b"security.")))
}
