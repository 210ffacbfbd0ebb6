//! Objects that another git wrote. Knows what of them may be in memory only; unaware of refs.
//!
//! git syncs packs, and loose objects not at all unless it is told to. What an agent committed could be gone after a
//! power loss, under a ref of ours that is not.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

use ropewalk_core::id::Oid;

use super::repository::Repository;
use super::run::GitError;

/// Of so many loose objects each is synced where it is. More are written anew as one pack, which is synced once: not
/// for fewer, because a pack for each attempt would soon be more packs than git likes.
const SYNCED_ONE_BY_ONE_MAX: usize = 200;

impl Repository {
    /// Makes everything durable that `head` has and `from` has not, whoever wrote it.
    ///
    /// # Errors
    /// When an object is missing, or the disk fails.
    pub fn keep(&self, from: &Oid, head: &Oid) -> Result<(), GitError> {
        if from == head {
            return Ok(());
        }
        let call = self.on_objects("rev-list").args(["rev-list", "--objects", "--no-object-names"]);
        let text = call.args([head.as_str(), &format!("^{from}")]).run()?.text();
        self.sync_objects(&text)
    }

    /// The same for what none of the commits and trees in `durable` has. One of them that is missing counts for nothing.
    /// git does not look into the tree of a commit that is none of `head`'s forebears: such a tree is named besides.
    ///
    /// # Errors
    /// When git or the disk fails.
    pub(super) fn keep_beyond(&self, durable: &[Oid], head: &Oid) -> Result<(), GitError> {
        let known: String = durable.iter().map(|oid| format!("^{oid}\n")).collect();
        let call = self.on_objects("rev-list").args(["rev-list", "--objects", "--no-object-names"]);
        let call = call.args(["--ignore-missing", "--stdin"]).stdin(format!("{head}\n{known}"));
        self.sync_objects(&call.run()?.text())
    }

    /// Makes these objects durable, whose names stand one on each line.
    fn sync_objects(&self, text: &str) -> Result<(), GitError> {
        let objects = self.common().join("objects");
        let failed = |error: io::Error| GitError::io("keep", &objects, &error);
        let mut loose = Vec::new();
        for name in text.lines() {
            let name = self.oid("rev-list", name)?;
            let (folder, file) = name.as_str().split_at(2);
            let folder = objects.join(folder);
            match File::open(folder.join(file)) {
                // Those in a pack are durable, or borrowed from a repository that is not ours to keep.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                opened => {
                    opened.map_err(failed)?;
                    loose.push((folder, name));
                }
            }
        }
        if loose.len() > SYNCED_ONE_BY_ONE_MAX {
            return self.pack(&loose.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), &objects);
        }
        for (folder, name) in &loose {
            sync(&folder.join(&name.as_str()[2..])).map_err(failed)?;
        }
        let mut folders: Vec<_> = loose.into_iter().map(|(folder, _)| folder).collect();
        folders.sort_unstable();
        folders.dedup();
        if !folders.is_empty() {
            folders.push(objects.clone());
        }
        folders.iter().try_for_each(|folder| sync(folder)).map_err(failed)
    }

    /// Writes these objects as one more pack.
    fn pack(&self, names: &[Oid], objects: &Path) -> Result<(), GitError> {
        let names: String = names.iter().map(|name| format!("{name}\n")).collect();
        let call = self.on_objects("pack-objects").args(["pack-objects", "--quiet", "--threads=1"]);
        call.arg(objects.join("pack/pack")).stdin(names).run()?;
        self.sync_packs()
    }

    /// git syncs what it wrote, not the folder that names it.
    pub(super) fn sync_packs(&self) -> Result<(), GitError> {
        let packs = self.common().join("objects/pack");
        sync(&packs).map_err(|error| GitError::io("keep", &packs, &error))
    }
}

/// git's objects are read-only; syncing needs no more. One that git packs meanwhile is durable by that.
fn sync(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        opened => opened?.sync_all(),
    }
}
