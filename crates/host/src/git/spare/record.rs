//! What we know of a folder beside its index. Kept in the control folder, where no agent has its hands.

use std::path::Path;

use ropewalk_core::id::Oid;
use serde::{Deserialize, Serialize};

use super::wash::Root;
use crate::durable::{FileError, read_record, record_bytes, write_whole};
use crate::identity::boot_id;

/// A folder that equalled a commit when this was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) commit: Oid,
    device: u64,
    inode: u64,
    born_ns: u64,
    mode: u32,
    /// On the disk; 0 while a worktree is in use.
    pub(super) bytes: u64,
    /// Files are not waited for when they are written: what a power loss left of them nobody knows.
    boot: String,
    /// The settings that say how blobs become files.
    settings: Vec<String>,
}

impl Record {
    pub(super) fn new(commit: &Oid, root: Root, bytes: u64, settings: &[String]) -> Record {
        Record {
            commit: commit.clone(),
            device: root.device,
            inode: root.inode,
            born_ns: root.born_ns,
            mode: root.mode,
            bytes,
            boot: boot_id().to_owned(),
            settings: settings.to_vec(),
        }
    }

    pub(super) fn root(&self) -> Root {
        Root { device: self.device, inode: self.inode, born_ns: self.born_ns, mode: self.mode }
    }

    /// Whether it still says something of `folder`.
    pub(super) fn speaks_of(&self, folder: &Path, settings: &[String]) -> bool {
        // Another mode of the folder is for the washing to judge.
        let is_same = Root::of(folder).is_some_and(|root| Root { mode: self.mode, ..root } == self.root());
        is_same && self.boot == boot_id() && self.settings == settings
    }

    /// None when there is none, or one that cannot be read: a spare is only a cache.
    pub(super) fn read(path: &Path) -> Option<Record> {
        read_record(path).ok().flatten()
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), FileError> {
        write_whole(path, &record_bytes(path, self)?)
    }
}
