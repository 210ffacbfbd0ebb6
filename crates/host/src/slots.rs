//! Which number an attempt's worktree has while it lives: the smallest that is free. From it come its ports, its database
//! and its cache. Knows who holds which number, also after a restart; unaware of whether the holder is still alive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_core::setup::{PORTS_PER_SLOT, Ports};
use serde::{Deserialize, Serialize};

use crate::durable::{FileError, create_private_folder, read_record, record_bytes, write_whole};

/// The slots of a state folder, by one process at a time.
#[derive(Debug)]
pub struct Slots {
    folder: PathBuf,
    held: Mutex<BTreeMap<u32, Holder>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    key: String,
    port: u16,
}

/// A number that is held, and the first of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub number: u32,
    pub port: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    #[error("worktree.ports: {ports} has no {PORTS_PER_SLOT} ports left; {held} worktrees hold theirs")]
    NoneFree { ports: Ports, held: usize },
    #[error(transparent)]
    File(#[from] FileError),
}

impl Slots {
    /// Opens those of a state folder whose lock the caller holds.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(home: &Path) -> Result<Slots, FileError> {
        let folder = home.join("slots");
        create_private_folder(&folder)?;
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(FileError::at("list", &folder))?.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            // A record is whole or absent for as long as the machine runs. One that is damaged is of before its end, when
            // nothing of its holder can be alive any more.
            match (number, read_record::<Holder>(&entry.path())) {
                (Some(number), Ok(Some(holder))) => drop(held.insert(number, holder)),
                (_, _) => drop(fs::remove_file(entry.path())),
            }
        }
        Ok(Slots { folder, held: Mutex::new(held) })
    }

    /// The slot of `key`: the one that it holds already, or the smallest that is free and whose ports within `ports` nobody
    /// else holds, whatever range that one has them from.
    ///
    /// # Errors
    /// When there is none, or it cannot be written down.
    pub fn take(&self, key: &str, ports: Ports) -> Result<Slot, SlotError> {
        let mut held = self.lock();
        if let Some(slot) = of(&held, key) {
            return Ok(slot);
        }
        let is_free = |port: u16| held.values().all(|other| other.port.abs_diff(port) >= PORTS_PER_SLOT);
        let mut free = (0..ports.slots()).filter(|number| !held.contains_key(number));
        let slot = free.find_map(|number| {
            let port = ports.of_slot(number).filter(|port| is_free(*port))?;
            Some(Slot { number, port })
        });
        let slot = slot.ok_or_else(|| SlotError::NoneFree { ports, held: held.len() })?;
        let holder = Holder { key: key.to_owned(), port: slot.port };
        let record = self.record(slot.number);
        write_whole(&record, &record_bytes(&record, &holder)?)?;
        held.insert(slot.number, holder);
        Ok(slot)
    }

    /// The slot that `key` holds.
    pub fn of(&self, key: &str) -> Option<Slot> {
        of(&self.lock(), key)
    }

    /// The slot that `key` gave back, if it held one.
    pub fn give_back(&self, key: &str) -> Option<Slot> {
        let mut held = self.lock();
        let slot = of(&held, key)?;
        held.remove(&slot.number);
        // Should it stay, it is given back once more after the next start.
        let _ = fs::remove_file(self.record(slot.number));
        Some(slot)
    }

    /// Runs `act` while nobody can take the number; nothing when somebody holds it.
    pub fn while_free<T>(&self, number: u32, act: impl FnOnce() -> T) -> Option<T> {
        let held = self.lock();
        (!held.contains_key(&number)).then(act)
    }

    /// Who holds one.
    pub fn holders(&self) -> Vec<String> {
        self.lock().values().map(|holder| holder.key.clone()).collect()
    }

    fn record(&self, number: u32) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Holder>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(held: &BTreeMap<u32, Holder>, key: &str) -> Option<Slot> {
    let (number, holder) = held.iter().find(|(_, holder)| holder.key == key)?;
    Some(Slot { number: *number, port: holder.port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Ports {
        text.parse().unwrap()
    }

    #[test]
    fn the_smallest_free_number_is_taken_and_kept_over_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let slots = Slots::open(home.path()).unwrap();
        let take = |slots: &Slots, key: &str| slots.take(key, Ports::default()).unwrap();
        assert_eq!(take(&slots, "1.1"), Slot { number: 0, port: 20_000 });
        assert_eq!(take(&slots, "2.1"), Slot { number: 1, port: 20_010 });
        assert_eq!(take(&slots, "1.1").number, 0, "asked for twice it is the same");
        drop(slots);
        let slots = Slots::open(home.path()).unwrap();
        assert_eq!(slots.holders(), ["1.1", "2.1"]);
        assert_eq!(take(&slots, "2.1").number, 1);
        assert_eq!(slots.give_back("1.1"), Some(Slot { number: 0, port: 20_000 }));
        assert_eq!(slots.give_back("1.1"), None);
        assert_eq!(take(&slots, "3.1").number, 0);
        assert_eq!(Slots::open(home.path()).unwrap().holders(), ["3.1", "2.1"]);
    }

    #[test]
    fn ports_of_overlapping_ranges_never_meet_and_a_full_range_is_said() {
        let home = tempfile::tempdir().unwrap();
        let slots = Slots::open(home.path()).unwrap();
        let first = slots.take("a", ports("20005-20024")).unwrap();
        let second = slots.take("b", ports("20000-20029")).unwrap();
        assert!(first.port.abs_diff(second.port) >= PORTS_PER_SLOT, "{first:?} {second:?}");
        let full = slots.take("c", ports("20000-20029")).unwrap_err().to_string();
        assert!(full.contains("20000-20029 has no 10 ports left"), "{full}");
        assert_eq!(slots.holders().len(), 2);
    }

    #[test]
    fn a_damaged_record_holds_nothing() {
        let home = tempfile::tempdir().unwrap();
        drop(Slots::open(home.path()).unwrap());
        fs::write(home.path().join("slots/0"), "").unwrap();
        fs::write(home.path().join("slots/junk"), "{}").unwrap();
        let slots = Slots::open(home.path()).unwrap();
        assert_eq!(slots.take("a", Ports::default()).unwrap().number, 0);
        assert_eq!(fs::read_dir(home.path().join("slots")).unwrap().count(), 1);
    }
}
