//! How much room a file system has, and how little is too little to begin work. Unaware of how it is measured.

use serde::{Deserialize, Serialize};

/// Room on the file system of one folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Free {
    /// What we may still write: without the part that is kept for root.
    pub free_bytes: u64,
    pub total_bytes: u64,
    /// Files and folders that we may still make.
    pub free_inodes: u64,
    /// 0 where files are not counted (btrfs, most network file systems).
    pub total_inodes: u64,
}

/// So much must be free for new work to begin. What runs already goes on below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// A checkout, a build and an attempt's output take hundreds of megabytes: with less than 1 GiB most attempts
    /// would fail for want of room, each at the cost of an agent.
    pub bytes: u64,
    /// A checkout has thousands of files, but a folder of ours a dozen: below 1,000 not even those are sure.
    pub inodes: u64,
}

impl Default for Floor {
    fn default() -> Self {
        Floor { bytes: 1 << 30, inodes: 1_000 }
    }
}

/// On a small file system, this part of it is floor enough: else a RAM disk of 500 MB could never be used.
const PART_OF_BYTES: u64 = 10;

/// The same for files and folders.
const PART_OF_INODES: u64 = 100;

/// What there is too little of, as a reason for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Low {
    #[error("{path} has {} free, less than the floor of {}", size(*.free_bytes), size(*.floor_bytes))]
    Bytes { path: String, free_bytes: u64, floor_bytes: u64 },
    #[error("{path} has room for {free_inodes} more files, less than the floor of {floor_inodes}")]
    Inodes { path: String, free_inodes: u64, floor_inodes: u64 },
}

impl Floor {
    /// The floor on a file system of this size.
    pub fn bytes_of(&self, total_bytes: u64) -> u64 {
        self.bytes.min(total_bytes / PART_OF_BYTES)
    }

    /// Whether new work may begin with so much free at `path`.
    ///
    /// # Errors
    /// Says what there is too little of.
    pub fn check(&self, path: &str, free: &Free) -> Result<(), Low> {
        let floor_bytes = self.bytes_of(free.total_bytes);
        if free.free_bytes < floor_bytes {
            return Err(Low::Bytes { path: path.to_owned(), free_bytes: free.free_bytes, floor_bytes });
        }
        // With no inodes in total, files are not counted, and 0 is not less than 0.
        let floor_inodes = self.inodes.min(free.total_inodes / PART_OF_INODES);
        if free.free_inodes < floor_inodes {
            let free_inodes = free.free_inodes;
            return Err(Low::Inodes { path: path.to_owned(), free_inodes, floor_inodes });
        }
        Ok(())
    }
}

/// A number of bytes for people: `0 B`, `120 MiB`, `1.0 GiB`. Cut, not rounded: never more than there is.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let Some((at, unit)) = units.iter().enumerate().rev().find(|(at, _)| bytes >> (10 * (at + 1)) > 0) else {
        return format!("{bytes} B");
    };
    let whole = bytes >> (10 * (at + 1));
    let tenths = (bytes >> (10 * at)) % 1_024 * 10 / 1_024;
    if whole < 10 { format!("{whole}.{tenths} {unit}") } else { format!("{whole} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_floor_holds_at_its_borders_on_every_size() {
        let free = |free_bytes, total_bytes, free_inodes, total_inodes| Free {
            free_bytes,
            total_bytes,
            free_inodes,
            total_inodes,
        };
        let cases = [
            ("just enough", free(GIB, 100 * GIB, 1_000, 1_000_000), "ok"),
            ("a byte less", free(GIB - 1, 100 * GIB, 1_000, 1_000_000), "bytes"),
            ("a small one, just enough", free(50 * MIB, 500 * MIB, 100, 10_000), "ok"),
            ("a small one, a byte less", free(50 * MIB - 1, 500 * MIB, 100, 10_000), "bytes"),
            ("a small one, a file less", free(50 * MIB, 500 * MIB, 99, 10_000), "inodes"),
            ("a file less", free(GIB, 100 * GIB, 999, 1_000_000), "inodes"),
            ("files are not counted", free(GIB, 100 * GIB, 0, 0), "ok"),
            ("bytes are told first", free(0, 100 * GIB, 0, 1_000_000), "bytes"),
            ("nothing is told", Free::default(), "ok"),
        ];
        for (name, free, expected) in cases {
            let found = match Floor::default().check("/x", &free) {
                Ok(()) => "ok",
                Err(Low::Bytes { .. }) => "bytes",
                Err(Low::Inodes { .. }) => "inodes",
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_lack_of_room_is_told_in_a_sentence() {
        let low = Low::Bytes { path: "/x".into(), free_bytes: 120 * MIB, floor_bytes: GIB };
        assert_eq!(low.to_string(), "/x has 120 MiB free, less than the floor of 1.0 GiB");
        let json = serde_json::to_string(&low).unwrap();
        assert_eq!(json, r#"{"what":"bytes","path":"/x","free_bytes":125829120,"floor_bytes":1073741824}"#);
        let low = Low::Inodes { path: "/x".into(), free_inodes: 3, floor_inodes: 1_000 };
        assert_eq!(low.to_string(), "/x has room for 3 more files, less than the floor of 1000");
    }

    #[test]
    fn sizes_are_short_and_never_too_large() {
        let cases = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (GIB - 1, "1023 MiB"),
            (GIB, "1.0 GiB"),
            (GIB * 2 - 1, "1.9 GiB"),
            (10 * GIB + 5, "10 GiB"),
            (u64::MAX, "15 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }
}
