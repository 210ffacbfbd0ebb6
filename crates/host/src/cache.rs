//! A folder that is kept from one user to the next as long as it is not too large. Unaware of what is in it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::git::remove_tree;

/// What one cache may hold on the disk. Beyond it, it is emptied as a whole: what belongs together in it nobody but its
/// user knows.
pub const BYTES_MAX: u64 = 2 << 30;

/// And in files and folders: counting more would take longer than filling it anew.
pub const ENTRIES_MAX: usize = 200_000;

/// The bounds on a cache.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub bytes: u64,
    pub entries: usize,
}

impl Default for Bound {
    fn default() -> Bound {
        Bound { bytes: BYTES_MAX, entries: ENTRIES_MAX }
    }
}

/// Removes the folder when it is beyond the bound; whether it did. Fine when there is none. Nobody may use it meanwhile.
///
/// # Errors
/// When it is beyond and cannot be removed.
pub fn keep_within(folder: &Path, bound: Bound) -> io::Result<bool> {
    let mut left = bound;
    if fits(folder, &mut left) {
        return Ok(false);
    }
    remove_tree(folder).map(|()| true)
}

/// What the name of a cache ends with while it is removed.
const ASIDE: &str = ".gone";

/// Notes that the cache is in use now.
///
/// # Errors
/// When the folder cannot be opened.
pub fn mark_used(folder: &Path) -> io::Result<()> {
    // Its own time, which its user may move too: then it goes earlier or later, and nothing is lost.
    fs::File::open(folder)?.set_modified(SystemTime::now())
}

/// Whether nobody has used the cache for so long. What cannot be told, as after a clock was set back, is in use.
pub fn is_unused(folder: &Path, span: Duration) -> bool {
    let used = folder.symlink_metadata().and_then(|facts| facts.modified());
    used.is_ok_and(|used| used.elapsed().is_ok_and(|since| since >= span))
}

/// Takes the cache out of its place, so that a new one can be begun at once; [`remove_aside`] removes it.
///
/// # Errors
/// When it cannot be renamed, as when another is there that was set aside and not removed.
pub fn set_aside(folder: &Path) -> io::Result<PathBuf> {
    let mut name = folder.as_os_str().to_owned();
    name.push(ASIDE);
    let aside = PathBuf::from(name);
    fs::rename(folder, &aside)?;
    Ok(aside)
}

/// Whether the name is one of a cache that was set aside.
pub fn is_aside(name: &str) -> bool {
    name.ends_with(ASIDE)
}

/// Removes a cache that was set aside.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_aside(folder: &Path) -> io::Result<()> {
    remove_tree(folder)
}

/// Whether all that is in the folder fits what is left of the bound. What cannot be read does not.
fn fits(folder: &Path, left: &mut Bound) -> bool {
    let entries = match fs::read_dir(folder) {
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
        Ok(entries) => entries,
    };
    const BLOCK_BYTES: u64 = 512;
    for entry in entries {
        let Ok((entry, facts)) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) else {
            return false;
        };
        let bytes = left.bytes.checked_sub(facts.blocks().saturating_mul(BLOCK_BYTES));
        let (Some(bytes), Some(entries)) = (bytes, left.entries.checked_sub(1)) else { return false };
        *left = Bound { bytes, entries };
        if facts.is_dir() && !fits(&entry, left) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_that_nobody_has_used_for_long_is_told_from_one_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("1.0");
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        assert!(!is_unused(&cache, week), "there is none");
        fs::create_dir(&cache).unwrap();
        fs::File::open(&cache).unwrap().set_modified(SystemTime::now() - 2 * week).unwrap();
        assert!(is_unused(&cache, week));
        mark_used(&cache).unwrap();
        assert!(!is_unused(&cache, week));
        let aside = set_aside(&cache).unwrap();
        assert_eq!(aside, folder.path().join("1.0.gone"));
        assert!(is_aside("1.0.gone") && !is_aside("1.0.check") && aside.is_dir() && !cache.exists());
        remove_aside(&aside).unwrap();
        assert!(!aside.exists());
    }

    #[test]
    fn a_cache_stays_until_it_has_too_many_bytes_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        assert!(!keep_within(&cache, Bound::default()).unwrap(), "there is none");
        fs::create_dir_all(cache.join("a/b")).unwrap();
        fs::write(cache.join("a/b/c"), vec![1; 10_000]).unwrap();
        assert!(!keep_within(&cache, Bound { bytes: 1 << 20, entries: 3 }).unwrap());
        assert!(keep_within(&cache, Bound { bytes: 1 << 20, entries: 2 }).unwrap());
        assert!(!cache.exists());
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("c"), vec![1; 10_000]).unwrap();
        assert!(keep_within(&cache, Bound { bytes: 5_000, entries: 100 }).unwrap());
    }
}
