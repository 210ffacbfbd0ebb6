//! Caches of slots that nobody holds: they go when they have long been unused, and all of them when the disk is low.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ropewalk_host::cache::{is_aside, is_unused, remove_aside, set_aside};
use ropewalk_host::slots::Slots;

use super::Hand;
use super::keeping::Bell;

/// Who comes back after so long fills a cache anew: what is in it is most likely outdated by then.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Caches removed in one round of the keeper: each may hold 200,000 files, and other things wait for the next round.
const CACHES_MAX: usize = 16;

impl Hand {
    /// Removes caches that may go by now. What fails stays, and is tried again in the next round.
    pub(super) fn trim_caches(&self, bell: &Bell) {
        let caches = Caches { folder: &self.site.home.join("caches"), slots: &self.site.slots };
        for (cache, error) in caches.trim(self.site.is_disk_low(), || bell.has_rung()) {
            self.complain(&format!("the cache {} stays: {error}", cache.display()));
        }
    }
}

struct Caches<'a> {
    folder: &'a Path,
    slots: &'a Slots,
}

impl Caches<'_> {
    /// Answers those that could not be removed.
    fn trim(&self, is_disk_low: bool, has_rung: impl Fn() -> bool) -> Vec<(PathBuf, io::Error)> {
        let entries = std::fs::read_dir(self.folder).into_iter().flatten().flatten();
        let tried = entries.filter_map(|entry| {
            let cache = entry.path();
            let removed = (!has_rung()).then(|| self.remove_if_due(&cache, is_disk_low)).flatten()?;
            Some((cache, removed))
        });
        tried.take(CACHES_MAX).filter_map(|(cache, removed)| Some((cache, removed.err()?))).collect()
    }

    /// Nothing when the cache is to stay.
    fn remove_if_due(&self, cache: &Path, is_disk_low: bool) -> Option<io::Result<()>> {
        let name = cache.file_name()?.to_str()?;
        if is_aside(name) {
            return Some(remove_aside(cache));
        }
        // Renamed while nobody can take the slot, removed when anybody can.
        let is_due = || is_disk_low || is_unused(cache, UNUSED);
        let renamed = self.slots.while_free(slot_of(name)?, || is_due().then(|| set_aside(cache)));
        Some(renamed??.and_then(|aside| remove_aside(&aside)))
    }
}

/// The number in the name of a cache, such as `1.0` or `1.0.check`.
fn slot_of(name: &str) -> Option<u32> {
    let name = name.strip_suffix(".check").unwrap_or(name);
    name.split_once('.')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use ropewalk_core::setup::Ports;

    use super::*;

    #[test]
    fn old_caches_of_free_slots_go_and_all_of_them_when_the_disk_is_low() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("caches");
        let slots = Slots::open(home.path()).unwrap();
        assert_eq!(slots.take("1.1", Ports::default()).unwrap().number, 0);
        for name in ["1.0", "1.1", "1.1.check", "2.1", "2.7.gone", "mine"] {
            fs::create_dir_all(folder.join(name).join("held")).unwrap();
        }
        for name in ["1.0", "1.1", "1.1.check", "mine"] {
            File::open(folder.join(name)).unwrap().set_modified(SystemTime::now() - 2 * UNUSED).unwrap();
        }
        let left = || -> Vec<String> {
            let entries = fs::read_dir(&folder).unwrap().flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let caches = Caches { folder: &folder, slots: &slots };
        assert!(caches.trim(false, || true).is_empty());
        assert_eq!(left().len(), 6, "whoever is to go home removes nothing more");
        assert!(caches.trim(false, || false).is_empty());
        assert_eq!(left(), ["1.0", "2.1", "mine"]);
        assert!(caches.trim(true, || false).is_empty());
        assert_eq!(left(), ["1.0", "mine"]);
    }
}
