//! The administration of worktrees inside a repository (`worktrees/<name>/`). Knows its files and which branch
//! each worktree has; unaware of why worktrees come and go.
//!
//! The files are read here, not through git: the folder of a worktree and its administration can be written
//! to by an agent, and git would follow pointers and configuration found there.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::id::Oid;

use super::repository::Repository;
use super::run::GitError;

/// HEAD, `gitdir` and their like hold one path or ref; more is not one of them.
const SMALL_FILE_BYTES_MAX: u64 = 16 << 10;

/// The files that git leaves while something is under way, and what it is.
const UNDER_WAY: [(&str, &str); 6] = [
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
];

/// A checkout of the repository: the main one or a linked worktree.
#[derive(Clone, Debug)]
pub(crate) struct Checkout {
    /// Its git folder: the common one for the main checkout.
    pub admin: PathBuf,
    pub folder: PathBuf,
}

/// What a HEAD file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// A full ref name, which may not exist.
    Ref(String),
    Detached(Oid),
}

impl Repository {
    /// Every checkout, the main one first.
    pub(crate) fn checkouts(&self) -> Result<Vec<Checkout>, GitError> {
        let mut found = vec![Checkout { admin: self.common().to_owned(), folder: self.top().to_owned() }];
        let all = self.common().join("worktrees");
        let entries = match fs::read_dir(&all) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(GitError::io("worktree list", &all, &error)),
        };
        for entry in entries {
            let admin = entry.map_err(|e| GitError::io("worktree list", &all, &e))?.path();
            if let Some(pointer) = read_small(&admin.join("gitdir")) {
                let pointer = admin.join(Path::new(std::ffi::OsStr::from_bytes(trim(&pointer))));
                if let Some(folder) = pointer.parent() {
                    found.push(Checkout { folder: folder.to_owned(), admin });
                }
            }
        }
        Ok(found)
    }

    /// The administration of the worktree at `path`, found by its own pointer to that path.
    pub(crate) fn admin_of(&self, path: &Path) -> Result<Option<PathBuf>, GitError> {
        let path = settled(path);
        let linked = self.checkouts()?.into_iter().skip(1);
        Ok(linked
            .into_iter()
            .find(|checkout| settled(&checkout.folder) == path)
            .map(|checkout| checkout.admin))
    }

    /// The checkouts that have `branch` (a full ref) checked out or are in the middle of rebasing or bisecting it.
    pub(crate) fn checkouts_of(&self, branch: &str) -> Result<Vec<Checkout>, GitError> {
        let mut checkouts = self.checkouts()?;
        checkouts.retain(|checkout| {
            head_of(&checkout.admin) == Some(Head::Ref(branch.to_owned()))
                || detours_from(&checkout.admin, branch)
        });
        Ok(checkouts)
    }
}

/// What HEAD says, if anything understandable.
pub(crate) fn head_of(admin: &Path) -> Option<Head> {
    let bytes = read_small(&admin.join("HEAD"))?;
    let text = std::str::from_utf8(trim(&bytes)).ok()?;
    match text.strip_prefix("ref:") {
        // An agent can write anything here, and this becomes an argument of git: a plain ref or nothing.
        Some(name) => Some(Head::Ref(plain_ref(name.trim())?.to_owned())),
        None => Oid::new(text).ok().map(Head::Detached),
    }
}

/// A full ref name that can be nothing else to git: no option, no pattern.
fn plain_ref(name: &str) -> Option<&str> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"*?[\\~^:".contains(c);
    (name.starts_with("refs/") && name.chars().all(is_plain)).then_some(name)
}

/// The commit in a file such as `MERGE_HEAD`; its first line counts.
pub(crate) fn oid_in(admin: &Path, file: &str) -> Option<Oid> {
    let bytes = read_small(&admin.join(file))?;
    Oid::new(std::str::from_utf8(&bytes).ok()?.lines().next()?.trim()).ok()
}

/// The commit that HEAD was last at, from its reflog: all that remains of a tip when the branch is deleted.
pub(crate) fn last_logged(admin: &Path) -> Option<Oid> {
    let text = read_end(&admin.join("logs/HEAD"), LOG_BYTES_READ)?;
    // Deleting the branch adds an entry whose new commit is all zeros.
    text.rsplit(|byte| *byte == b'\n').find_map(|line| {
        let new = std::str::from_utf8(line.split(|byte| *byte == b' ').nth(1)?).ok()?;
        Oid::new(new).ok().filter(|_| new.bytes().any(|digit| digit != b'0'))
    })
}

/// Every commit that HEAD was at, as far back as its reflog is read, without those that were amended at once.
pub(crate) fn all_logged(admin: &Path) -> Vec<Oid> {
    let Some(text) = read_end(&admin.join("logs/HEAD"), LOG_BYTES_READ) else { return vec![] };
    let mut found: Vec<Oid> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        let (facts, what) = line.split_once('\t').unwrap_or((&line, ""));
        let mut words = facts.split(' ');
        let (Some(old), Some(new)) = (words.next(), words.next()) else { continue };
        if what.starts_with("commit (amend)") && found.last().is_some_and(|last| last.as_str() == old) {
            found.pop();
        }
        found.extend(Oid::new(new).ok().filter(|_| new.bytes().any(|digit| digit != b'0')));
    }
    found
}

/// The end of the reflog of HEAD as text: it names the branches that were checked out.
pub(crate) fn head_log(admin: &Path) -> String {
    let bytes = read_end(&admin.join("logs/HEAD"), LOG_BYTES_READ).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of the reflog of the stash, which all worktrees share.
pub(crate) fn stash_log(common: &Path) -> String {
    let bytes = read_end(&common.join("logs/refs/stash"), LOG_BYTES_READ).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of what is under way, if anything.
pub(crate) fn under_way(admin: &Path) -> Option<&'static str> {
    let name = UNDER_WAY.iter().find(|(file, _)| admin.join(file).exists()).map(|(_, name)| *name)?;
    if admin.join("rebase-apply/applying").exists() { Some("am") } else { Some(name) }
}

/// The branches, as full refs, that a checkout has or has left only for the time of a rebase or a bisection.
pub(crate) fn branches_held(admin: &Path) -> Vec<String> {
    let read = |file: &str| {
        let bytes = read_small(&admin.join(file))?;
        String::from_utf8(trim(&bytes).to_vec()).ok()
    };
    let mut held: Vec<String> =
        ["rebase-merge/head-name", "rebase-apply/head-name"].into_iter().filter_map(read).collect();
    held.extend(read("BISECT_START").map(|short| format!("refs/heads/{short}")));
    if let Some(Head::Ref(name)) = head_of(admin) {
        held.push(name);
    }
    held
}

/// Whether the checkout has left `branch` only for the time of a rebase or a bisection.
fn detours_from(admin: &Path, branch: &str) -> bool {
    let says = |file: &str, wanted: &str| {
        read_small(&admin.join(file)).is_some_and(|bytes| trim(&bytes) == wanted.as_bytes())
    };
    says("rebase-merge/head-name", branch)
        || says("rebase-apply/head-name", branch)
        || branch.strip_prefix("refs/heads/").is_some_and(|short| says("BISECT_START", short))
}

fn read_small(path: &Path) -> Option<Vec<u8>> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A reflog's last entries; the first line of what is read may be cut.
const LOG_BYTES_READ: u64 = 64 << 10;

/// The end of a plain file: neither a link nor a pipe that an agent put there, at which reading would never end.
fn read_end(path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let length = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max))).ok()?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn trim(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

/// The path with the links of its parent folder resolved; the last part may be missing, and stays as it is.
pub(crate) fn settled(path: &Path) -> PathBuf {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}
