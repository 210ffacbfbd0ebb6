//! Repositories inside a worktree that the outer one knows only by a link, or not at all. Knows where they keep their
//! commits and how to take these over; runs no git in them, since everything there is an agent's.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::Oid;

use super::admin::{all_logged, oid_in};
use super::repository::Repository;
use super::run::GitError;
use super::snapshot::PrivateIndex;
use crate::disk::bytes_in;

/// Folders below `modules/` that are looked through: submodules of submodules of submodules.
const DEPTH_MAX: usize = 6;

/// A HEAD holds one ref or commit id; more is not one.
const HEAD_BYTES_MAX: u64 = 4 << 10;

/// Objects of one such repository that are taken over; one with more was cloned whole, and its worktree stays instead.
const OBJECTS_BYTES_MAX: u64 = 256 << 20;

/// Refs that are looked at in one such repository.
const REFS_MAX: usize = 10_000;

/// A file that lists refs is no longer than this for so many of them.
const PACKED_REFS_BYTES_MAX: u64 = 4 << 20;

/// A repository inside a worktree.
#[derive(Debug)]
pub(super) struct Nested {
    pub git_dir: PathBuf,
    /// Where its files are, below the worktree; none when that could not be found out.
    pub path: Option<Vec<u8>>,
}

/// As [`with_history_of_their_own`], with their places.
pub(super) fn histories(folder: &Path, admin: Option<&Path>, index: &PrivateIndex) -> Vec<Nested> {
    let mut found = Vec::new();
    for path in &index.submodules {
        let git_dir = folder.join(OsStr::from_bytes(path)).join(".git");
        if git_dir.symlink_metadata().is_ok_and(|facts| facts.is_dir()) {
            found.push(Nested { git_dir, path: Some(path.clone()) });
        }
    }
    let mut worked = Vec::new();
    if let Some(admin) = admin {
        worked_in(&admin.join("modules"), index, DEPTH_MAX, &mut worked);
    }
    for git_dir in worked {
        let is_its = |path: &&Vec<u8>| is_pointed_to(&folder.join(OsStr::from_bytes(path)), &git_dir);
        let path = index.submodules.iter().find(is_its).cloned();
        found.push(Nested { git_dir, path });
    }
    found
}

/// Whether the pointer in a submodule's folder names this git folder. The pointer is an agent's: it only tells which of
/// our own finds belongs where.
fn is_pointed_to(folder: &Path, git_dir: &Path) -> bool {
    let text = read_head(&folder.join(".git")).unwrap_or_default();
    let to = text.strip_prefix(b"gitdir: ").map(<[u8]>::trim_ascii).unwrap_or_default();
    let to = folder.join(OsStr::from_bytes(to)).canonicalize();
    to.is_ok_and(|to| git_dir.canonicalize().is_ok_and(|own| own == to))
}

/// The git folder, among those in a worktree's administration, of the submodule whose files are in `folder`.
pub(super) fn module_of(admin: &Path, folder: &Path) -> Option<PathBuf> {
    let mut ahead = vec![(admin.join("modules"), DEPTH_MAX)];
    while let Some((at, depth)) = ahead.pop() {
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if path.join("objects").is_dir() {
                if is_pointed_to(folder, &path) {
                    return Some(path);
                }
            } else if depth > 0 {
                ahead.push((path, depth - 1));
            }
        }
    }
    None
}

impl Repository {
    /// Takes over every commit of a repository inside a worktree, so that refs of ours can name them. Returns its tips:
    /// of all refs, of its stash and of what its reflog has.
    ///
    /// # Errors
    /// When git fails or there is too much of it.
    pub(super) fn take_over(&self, git_dir: &Path) -> Result<Vec<Oid>, GitError> {
        let objects = git_dir.join("objects");
        let tips = tips_in(git_dir);
        if tips.is_empty() {
            return Ok(tips);
        }
        if self.commits_among(&tips)?.len() == tips.len() {
            // A call before this one may have ended before it synced what it wrote.
            self.sync_packs()?;
            return Ok(tips);
        }
        if bytes_in(&objects) > OBJECTS_BYTES_MAX {
            let detail = "it stays: the history of a repository inside it is too large to be taken over";
            return Err(GitError::new("rescue", git_dir, detail));
        }
        // A name in quotes may hold what parts several.
        let name = objects.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        let input: String = tips.iter().map(|oid| format!("{oid}\n")).collect();
        let kinds = self
            .on_objects("cat-file")
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", format!("\"{name}\""))
            .args(["cat-file", "--batch-check=%(objectname) %(objecttype)"])
            .stdin(input)
            .run()?
            .text();
        let commits: Vec<&str> = kinds.lines().filter_map(|line| line.strip_suffix(" commit")).collect();
        let mut wanted = commits.join("\n") + "\n";
        for known in self.refs_under("refs/heads")?.iter().chain(&self.refs_under("refs/ropewalk")?) {
            wanted += &format!("^{}\n", known.at);
        }
        self.on_objects("pack-objects")
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", format!("\"{name}\""))
            .args(["pack-objects", "--revs", "--non-empty", "--quiet"])
            .arg(self.common().join("objects/pack/pack"))
            .stdin(wanted)
            .run()?;
        self.sync_packs()?;
        commits.into_iter().map(|commit| self.oid("pack-objects", commit)).collect()
    }
}

/// The commits that a git folder names, as its files say.
fn tips_in(git_dir: &Path) -> Vec<Oid> {
    let mut tips: Vec<Oid> =
        ["HEAD", "ORIG_HEAD", "MERGE_HEAD"].iter().filter_map(|f| oid_in(git_dir, f)).collect();
    tips.extend(all_logged(git_dir));
    let mut ahead = vec![git_dir.join("refs")];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => ahead.push(entry.path()),
                Ok(_) if tips.len() < REFS_MAX => {
                    let name = entry.file_name();
                    tips.extend(entry.path().parent().zip(name.to_str()).and_then(|(at, f)| oid_in(at, f)));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    let mut packed = String::new();
    let file = git_dir.join("packed-refs");
    if file.symlink_metadata().is_ok_and(|facts| facts.is_file()) {
        let opened = fs::File::open(&file).ok();
        // What is no text holds no refs.
        let _ = opened.map(|file| file.take(PACKED_REFS_BYTES_MAX).read_to_string(&mut packed));
    }
    tips.extend(packed.lines().filter_map(|line| Oid::new(line.split(' ').next()?).ok()));
    tips.sort();
    tips.dedup();
    tips
}

/// Repositories that hold commits which a link in the outer repository does not keep: clones that were added as they
/// are, and submodules that were worked in. Removing the worktree would remove these commits for good.
pub(super) fn with_history_of_their_own(
    folder: &Path,
    admin: Option<&Path>,
    index: &PrivateIndex,
) -> Vec<Vec<u8>> {
    let is_clone = |path: &&Vec<u8>| {
        let inner = folder.join(std::ffi::OsStr::from_bytes(path)).join(".git");
        inner.symlink_metadata().is_ok_and(|facts| facts.is_dir())
    };
    let mut found: Vec<Vec<u8>> = index.submodules.iter().filter(is_clone).cloned().collect();
    let mut worked = Vec::new();
    if let Some(admin) = admin {
        worked_in(&admin.join("modules"), index, DEPTH_MAX, &mut worked);
    }
    found.extend(worked.iter().filter_map(|path| Some(path.file_name()?.as_bytes().to_vec())));
    found
}

/// Git folders of submodules whose HEAD is not exactly the commit that the outer repository names.
fn worked_in(folder: &Path, index: &PrivateIndex, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        if path.join("objects").is_dir() {
            let head = read_head(&path.join("HEAD")).unwrap_or_default();
            if !index.linked.iter().any(|oid| oid.as_bytes() == head.trim_ascii()) {
                found.push(path);
            }
        } else if depth > 0 {
            worked_in(&path, index, depth - 1, found);
        }
    }
}

fn read_head(path: &Path) -> Option<Vec<u8>> {
    let is_file = path.symlink_metadata().ok()?.is_file();
    let mut bytes = Vec::new();
    if is_file {
        fs::File::open(path).ok()?.take(HEAD_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    }
    Some(bytes)
}
