//! The files of a worktree as a tree. Knows private copies of an index and what `git add` would get wrong;
//! unaware of commits and refs.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::Oid;

use super::repository::{Repository, Scratch};
use super::run::{Call, GitError};

/// A copy of a worktree's index that git may write to, and what was found in it.
#[derive(Debug)]
pub(crate) struct PrivateIndex {
    pub file: Scratch,
    pub unmerged: Vec<Vec<u8>>,
    pub submodules: Vec<Vec<u8>>,
    /// The commits that those links name.
    pub linked: Vec<String>,
    /// Entries that a sparse checkout leaves out.
    pub skips_files: bool,
    /// The copy could not be read and was made anew from a commit.
    pub remade: bool,
    /// Pathspecs of files that are never stored.
    pub kept_out: Vec<Vec<u8>>,
    /// Files are taken byte for byte, whatever attributes and configuration say of line ends and encodings.
    pub exact: bool,
    /// Paths that no snapshot holds, whether the index knows them or not.
    pub never: Vec<Vec<u8>>,
}

impl PrivateIndex {
    /// One that knows nothing.
    pub(crate) fn of(file: Scratch, remade: bool) -> Self {
        PrivateIndex {
            file,
            unmerged: vec![],
            submodules: vec![],
            linked: vec![],
            skips_files: false,
            remade,
            exact: false,
            never: vec![],
            kept_out: vec![],
        }
    }
}

impl Repository {
    /// Copies the index in `admin`; one that is missing or unreadable is made from `tip` instead, or empty.
    pub(crate) fn private_index(
        &self,
        admin: Option<&Path>,
        folder: &Path,
        tip: Option<&Oid>,
    ) -> Result<PrivateIndex, GitError> {
        let file = self.scratch("index");
        let copied = match admin {
            Some(admin) => {
                copy_index(&admin.join("index"), &file.0).map_err(|e| GitError::io("index", admin, &e))?
            }
            None => false,
        };
        if copied && let Ok(listing) = self.list_index(folder, &file.0) {
            return self.read_listing(folder, file, &listing, false);
        }
        let _ = fs::remove_file(&file.0);
        self.on_files("read-tree", folder, &file.0)
            .args(["read-tree", tip.map_or("--empty", Oid::as_str)])
            .run()?;
        let listing = self.list_index(folder, &file.0)?;
        self.read_listing(folder, file, &listing, true)
    }

    fn list_index(&self, folder: &Path, index: &Path) -> Result<Vec<u8>, GitError> {
        Ok(self.on_files("ls-files", folder, index).args(["ls-files", "-s", "-v", "-z"]).run()?.stdout)
    }

    fn read_listing(
        &self,
        folder: &Path,
        file: Scratch,
        listing: &[u8],
        remade: bool,
    ) -> Result<PrivateIndex, GitError> {
        let mut index = PrivateIndex::of(file, remade);
        let mut assumed = Vec::new();
        let mut skipped = Vec::new();
        for entry in split_nul(listing) {
            // `H 100644 <oid> <stage>\t<path>`
            let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else { continue };
            let (facts, path) = (&entry[..tab], entry[tab + 1..].to_vec());
            match facts.first() {
                Some(b'S' | b's') => {
                    index.skips_files = true;
                    // Skipped, and there all the same: an edit that git was told to overlook.
                    if folder.join(OsStr::from_bytes(&path)).symlink_metadata().is_ok() {
                        skipped.extend([path.as_slice(), b"\0"].concat());
                    }
                }
                Some(tag) if tag.is_ascii_lowercase() => assumed.extend([path.as_slice(), b"\0"].concat()),
                _ => {}
            }
            if facts.get(2..8) == Some(b"160000") {
                index.linked.extend(
                    facts.split(|b| *b == b' ').nth(2).map(|oid| String::from_utf8_lossy(oid).into()),
                );
                index.submodules.push(path);
            } else if facts.last() != Some(&b'0') {
                index.unmerged.push(path);
            }
        }
        index.unmerged.dedup();
        if !assumed.is_empty() {
            // Whoever marked files as "assume unchanged" hid changes from git; nothing may be hidden from us.
            self.on_files("update-index", folder, &index.file.0)
                .args(["update-index", "-z", "--no-assume-unchanged", "--stdin"])
                .stdin(assumed)
                .run()?;
        }
        if !skipped.is_empty() {
            self.on_files("update-index", folder, &index.file.0)
                .args(["update-index", "-z", "--no-skip-worktree", "--stdin"])
                .stdin(skipped)
                .run()?;
        }
        Ok(index)
    }

    /// Untracked folders that are git repositories of their own, as paths below `folder`.
    pub(crate) fn embedded(&self, folder: &Path, index: &Path) -> Result<Vec<Vec<u8>>, GitError> {
        let said = self
            .on_files("ls-files", folder, index)
            // The index's cache of untracked files could have been made to lie.
            .args(["-c", "core.untrackedCache=false", "ls-files", "-o", "-z", "--exclude-standard"])
            .run()?;
        let mut found = Vec::new();
        for path in split_nul(&said.stdout) {
            found.extend(path.strip_suffix(b"/").map(<[u8]>::to_vec));
        }
        Ok(found)
    }

    /// As [`on_files`](Self::on_files), in the way that this index wants.
    pub(crate) fn on_index(
        &self,
        operation: &'static str,
        folder: &Path,
        index: &PrivateIndex,
    ) -> Result<Call, GitError> {
        if index.exact {
            self.on_exact_files(operation, folder, &index.file.0)
        } else {
            Ok(self.on_files(operation, folder, &index.file.0))
        }
    }

    /// The tree of everything in `folder` that is not ignored. Submodules stay as the index has them: looking
    /// inside one would run git there. `leave_out` are further paths to leave as the index has them.
    pub(crate) fn snapshot(
        &self,
        folder: &Path,
        index: &PrivateIndex,
        leave_out: &[Vec<u8>],
    ) -> Result<Oid, GitError> {
        let mut paths = b".\0".to_vec();
        for path in index.submodules.iter().chain(leave_out).chain(&index.never) {
            paths.extend([b":(top,exclude,literal)", path.as_slice(), b"\0"].concat());
        }
        for pathspec in &index.kept_out {
            paths.extend([pathspec.as_slice(), b"\0"].concat());
        }
        self.on_index("add", folder, index)?
            .args(["-c", "core.untrackedCache=false", "add", "--all"])
            .args(["--pathspec-from-file=-", "--pathspec-file-nul"])
            .stdin(paths)
            .run()?;
        self.write_tree(folder, &index.file.0)
    }

    /// As [`snapshot`](Self::snapshot), with the files (not the history) of embedded repositories too.
    pub(crate) fn snapshot_with_embedded(
        &self,
        folder: &Path,
        index: &PrivateIndex,
        depth: usize,
    ) -> Result<Oid, GitError> {
        let embedded = self.embedded(folder, &index.file.0)?;
        let tree = self.snapshot(folder, index, &embedded)?;
        if embedded.is_empty() {
            return Ok(tree);
        }
        if depth == 0 {
            return Err(GitError::new("snapshot", folder, "git repositories are nested too deep to be kept"));
        }
        for path in embedded {
            let inner = folder.join(OsStr::from_bytes(&path));
            let below = [path.as_slice(), b"/"].concat();
            let empty = PrivateIndex {
                exact: index.exact,
                never: index
                    .never
                    .iter()
                    .filter_map(|p| Some(p.strip_prefix(&below[..])?.to_vec()))
                    .collect(),
                ..PrivateIndex::of(self.scratch("index"), true)
            };
            let inner_tree = self.snapshot_with_embedded(&inner, &empty, depth - 1)?;
            let prefix = [b"--prefix=", path.as_slice(), b"/"].concat();
            self.on_files("read-tree", folder, &index.file.0)
                .arg("read-tree")
                .arg(OsStr::from_bytes(&prefix))
                .arg(inner_tree.as_str())
                .run()?;
        }
        self.write_tree(folder, &index.file.0)
    }

    pub(crate) fn write_tree(&self, folder: &Path, index: &Path) -> Result<Oid, GitError> {
        let text = self.on_files("write-tree", folder, index).arg("write-tree").run()?.text();
        self.oid("write-tree", &text)
    }

    pub(crate) fn oid(&self, operation: &'static str, text: &str) -> Result<Oid, GitError> {
        Oid::new(text).map_err(|error| GitError::new(operation, self.top(), error.to_string()))
    }
}

/// Copies an index with its time stamp, by which git tells which entries it must not trust. False when there
/// is none.
fn copy_index(from: &Path, to: &PathBuf) -> io::Result<bool> {
    match fs::symlink_metadata(from) {
        Ok(facts) if facts.is_file() => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    let mut source = File::open(from)?;
    let modified = source.metadata()?.modified()?;
    let mut copy = File::create(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.set_modified(modified)?;
    Ok(true)
}

pub(crate) fn split_nul(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty())
}
