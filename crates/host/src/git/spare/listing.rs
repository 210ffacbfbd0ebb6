//! An index of ours as a list of files and what they looked like when they were written. Knows git's index format;
//! unaware of what is on the disk now.
//!
//! git itself would not do: as it is usually built it compares whole seconds only, and what an agent changed within
//! the second and dated back would pass. The index holds nanoseconds, and here they count.
//!
//! Format: git, `Documentation/gitformat-index.adoc`, version 2.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// The files of a commit as they were written.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) entries: Vec<Entry>,
    places: HashMap<Vec<u8>, usize>,
    folders: HashSet<Vec<u8>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Program,
    Link,
    /// A submodule: an empty folder in our worktrees.
    Repository,
}

/// What tells a file from another one of its name. Cut to 32 bits each, as git does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Seconds and nanoseconds. Nobody can date this back.
    pub(super) changed: (u32, u32),
    modified: (u32, u32),
    inode: u32,
    user: u32,
    group: u32,
    bytes: u32,
}

/// What belongs at a path.
pub(super) enum Place {
    Entry(usize),
    Folder,
}

impl Stamp {
    pub(super) fn of(facts: &Metadata) -> Stamp {
        Stamp {
            changed: (facts.ctime() as u32, facts.ctime_nsec() as u32),
            modified: (facts.mtime() as u32, facts.mtime_nsec() as u32),
            inode: facts.ino() as u32,
            user: facts.uid(),
            group: facts.gid(),
            bytes: facts.size() as u32,
        }
    }
}

/// The flags of an entry that are not the length of its name: assumed unchanged, extended, in conflict.
const FLAGS_ODD: u16 = 0xf000;

/// What stands before an entry's object id.
const STAT_BYTES: usize = 40;

impl Listing {
    /// Reads an index whose object ids have `oid_bytes` bytes. None when there is anything in it that an index of
    /// ours has not.
    pub(super) fn read(bytes: &[u8], oid_bytes: usize) -> Option<Listing> {
        if bytes.get(..4)? != b"DIRC" || number(bytes, 4)? != 2 {
            return None;
        }
        let mut listing = Listing::default();
        let mut at = 12;
        for _ in 0..number(bytes, 8)? {
            let path_at = at + STAT_BYTES + oid_bytes + 2;
            let flags = u16::from_be_bytes(bytes.get(path_at - 2..path_at)?.try_into().ok()?);
            let rest = bytes.get(path_at..)?;
            let path = &rest[..memchr::memchr(0, rest)?];
            if flags & FLAGS_ODD != 0 || path.is_empty() {
                return None;
            }
            let field = |n: usize| number(bytes, at + 4 * n);
            let kind = match field(6)? {
                0o100_644 => Kind::File,
                0o100_755 => Kind::Program,
                0o120_000 => Kind::Link,
                0o160_000 => Kind::Repository,
                _ => return None,
            };
            let stamp = Stamp {
                changed: (field(0)?, field(1)?),
                modified: (field(2)?, field(3)?),
                inode: field(5)?,
                user: field(7)?,
                group: field(8)?,
                bytes: field(9)?,
            };
            listing.push(Entry { path: path.to_vec(), kind, stamp });
            // Each entry ends with one to eight zeros.
            at += ((path_at - at + path.len()) / 8 + 1) * 8;
        }
        Some(listing)
    }

    fn push(&mut self, entry: Entry) {
        let mut folder = entry.path.as_slice();
        while let Some(end) = memchr::memrchr(b'/', folder) {
            folder = &folder[..end];
            if !self.folders.insert(folder.to_vec()) {
                break;
            }
        }
        self.places.insert(entry.path.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// What belongs at `path`, if anything.
    pub(super) fn at(&self, path: &[u8]) -> Option<Place> {
        match self.places.get(path) {
            Some(number) => Some(Place::Entry(*number)),
            None => self.folders.contains(path).then_some(Place::Folder),
        }
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(flags: u16, mode: u32) -> Vec<u8> {
        let mut bytes = b"DIRC\0\0\0\x02\0\0\0\x02".to_vec();
        for path in ["a/b/c", "a/d"] {
            for field in [1, 2, 3, 4, 5, 6, mode, 8, 9, 10_u32] {
                bytes.extend(field.to_be_bytes());
            }
            bytes.extend([0; 20]);
            bytes.extend((flags | path.len() as u16).to_be_bytes());
            bytes.extend(path.as_bytes());
            bytes.resize((bytes.len() - 12) / 8 * 8 + 8 + 12, 0);
        }
        bytes
    }

    #[test]
    fn entries_and_the_folders_above_them_are_read() {
        let listing = Listing::read(&index(0, 0o100_755), 20).unwrap();
        let stamp = Stamp { changed: (1, 2), modified: (3, 4), inode: 6, user: 8, group: 9, bytes: 10 };
        assert_eq!((listing.entries[1].kind, listing.entries[1].stamp), (Kind::Program, stamp));
        assert!(matches!(listing.at(b"a/d"), Some(Place::Entry(1))));
        assert!(["a", "a/b"].iter().all(|p| matches!(listing.at(p.as_bytes()), Some(Place::Folder))));
        assert!(listing.at(b"b").is_none() && listing.at(b"").is_none());
    }

    #[test]
    fn what_is_not_an_index_of_ours_is_refused() {
        let whole = index(0, 0o100_644);
        assert!((0..whole.len() - 8).all(|end| Listing::read(&whole[..end], 20).is_none()));
        assert!(
            [0x8000, 0x4000, 0x1000].iter().all(|flag| Listing::read(&index(*flag, 0o100_644), 20).is_none())
        );
        assert!(Listing::read(&index(0, 0o40_000), 20).is_none());
    }
}
