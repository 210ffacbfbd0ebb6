//! Which ignored files deserve keeping. A worktree begins without any, so all that there are came with the attempt; most
//! of them are what a build or an installer makes anew. Knows folders and sizes; unaware of git objects.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::record::LeftOut;
use crate::disk::bytes_in;

/// How much of what is ignored is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) file_bytes_max: u64,
    pub(super) all_bytes_max: u64,
}

/// After an attempt that did not pass, nothing else tells what it did: its data, reports and notes are kept. Larger files
/// are dumps and models; more than this per attempt would fill a disk with a night's failures.
pub(super) const AFTER_FAILURE: Room = Room { file_bytes_max: 10 << 20, all_bytes_max: 256 << 20 };

/// After one that passed, its work is a commit; what it left ignored is small when it was written by hand.
pub(super) const AFTER_PASS: Room = Room { file_bytes_max: 1 << 20, all_bytes_max: 16 << 20 };

/// Files looked at one by one; more of them are no one's handiwork.
const FILES_MAX: usize = 20_000;

/// Folders that a tool fills, and fills again. A `CACHEDIR.TAG` says the same of any other
/// (<https://bford.info/cachedir/>).
const MADE_ANEW: [&str; 15] = [
    "target",
    "node_modules",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".gradle",
    ".next",
    ".nuxt",
    ".turbo",
    ".parcel-cache",
];

/// What was found, and what becomes of it.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) kept: Vec<Vec<u8>>,
    pub(super) left_out: Vec<LeftOut>,
}

struct Found {
    path: PathBuf,
    bytes: u64,
}

/// Chooses among the ignored paths below `folder`; one that ends with a slash is a folder of nothing else. `is_secret`
/// names what is neither kept nor told of.
pub(super) fn choose(
    folder: &Path,
    paths: impl Iterator<Item = Vec<u8>>,
    room: Room,
    is_secret: impl Fn(&[u8]) -> bool,
) -> Choice {
    let mut choice = Choice::default();
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    // Last first, so that what is found inside a folder is looked at next.
    let mut ahead: Vec<PathBuf> = paths
        .map(|path| PathBuf::from(OsString::from_vec(path.strip_suffix(b"/").unwrap_or(&path).into())))
        .collect();
    while let Some(path) = ahead.pop() {
        // git names a folder of nothing else, and what is in it once more.
        if !seen.insert(path.clone()) || is_secret(path.as_os_str().as_bytes()) {
            continue;
        }
        let whole = folder.join(&path);
        // What has gone since is nothing to keep.
        let Ok(facts) = whole.symlink_metadata() else { continue };
        if facts.is_dir() {
            match why_left_out(&path, &whole) {
                Some(why) => choice.left_out.push(LeftOut::of(&path, true, bytes_in(&whole), why)),
                None => {
                    let entries = fs::read_dir(&whole).into_iter().flatten().flatten();
                    ahead.extend(entries.map(|entry| path.join(entry.file_name())));
                }
            }
        } else if !facts.is_file() && !facts.is_symlink() {
            choice.left_out.push(LeftOut::of(&path, false, 0, "no plain file"));
        } else if facts.len() > room.file_bytes_max {
            choice.left_out.push(LeftOut::of(&path, false, facts.len(), "too large"));
        } else {
            files.push(Found { path, bytes: facts.len() });
        }
    }
    files.sort_by(|a, b| (a.bytes, &a.path).cmp(&(b.bytes, &b.path)));
    let mut left_bytes = room.all_bytes_max;
    for (n, file) in files.into_iter().enumerate() {
        if n < FILES_MAX && file.bytes <= left_bytes {
            left_bytes -= file.bytes;
            choice.kept.push(file.path.into_os_string().into_vec());
        } else {
            choice.left_out.push(LeftOut::of(&file.path, false, file.bytes, "too much in all"));
        }
    }
    choice
}

fn why_left_out(path: &Path, whole: &Path) -> Option<&'static str> {
    let name = path.file_name().unwrap_or_default();
    if name == OsStr::new(".git") {
        return Some("history of a repository of its own");
    }
    let is_made_anew = MADE_ANEW.iter().any(|known| name == OsStr::new(known));
    (is_made_anew || whole.join("CACHEDIR.TAG").is_file()).then_some("made anew by a build")
}
