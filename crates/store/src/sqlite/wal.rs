//! Looks into a write-ahead log without opening its database. Knows the file format; changes nothing.
//!
//! After a crash the newest header may be in the log only. SQLite would have to recover the log to tell, and
//! that writes; but a file of a newer version must stay as it is. Format: <https://sqlite.org/fileformat2.html>,
//! section 4. Reading the log by plain file calls is safe: SQLite holds its locks on the other two files.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What stands in a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wal {
    /// No file, or an empty one: the last user closed the database in order.
    Absent,
    /// A log that adds nothing: no commit in it is whole.
    Void,
    /// Committed pages that the database file may not have yet.
    Committed { header: Option<Header> },
}

/// The two numbers of the database header by which a file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) application_id: i64,
    pub(crate) version: i64,
}

const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: u32 = 0x377f_0682;
/// The largest page that SQLite knows; a log that claims more is damaged.
const PAGE_BYTES_MAX: usize = 65_536;

pub(crate) fn inspect(path: &Path) -> io::Result<Wal> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Wal::Absent),
        Err(e) => return Err(e),
    };
    if file.metadata()?.len() == 0 {
        return Ok(Wal::Absent);
    }
    read(BufReader::with_capacity(1 << 20, file))
}

fn read(mut log: impl Read) -> io::Result<Wal> {
    let mut head = [0; LOG_HEADER_BYTES];
    if !fill(&mut log, &mut head)? {
        return Ok(Wal::Void);
    }
    let page_bytes = word(&head, 8) as usize;
    let is_big_endian = word(&head, 0) & 1 == 1;
    let mut sum = checksum([0, 0], &head[..24], is_big_endian);
    let is_log = word(&head, 0) & !1 == MAGIC && sum == [word(&head, 24), word(&head, 28)];
    if !is_log || !page_bytes.is_power_of_two() || !(512..=PAGE_BYTES_MAX).contains(&page_bytes) {
        return Ok(Wal::Void);
    }
    let (mut pending, mut found) = (None, Wal::Void);
    let mut frame = vec![0; FRAME_HEADER_BYTES + page_bytes];
    while fill(&mut log, &mut frame)? {
        let (about, page) = frame.split_at(FRAME_HEADER_BYTES);
        sum = checksum(checksum(sum, &about[..8], is_big_endian), page, is_big_endian);
        if about[8..16] != head[16..24] || sum != [word(about, 16), word(about, 20)] {
            break;
        }
        if word(about, 0) == 1 {
            pending = Some(Header { application_id: word(page, 68).into(), version: word(page, 60).into() });
        }
        // The frame that ends a commit gives the size of the database after it.
        if word(about, 4) != 0 {
            found = Wal::Committed { header: pending };
        }
    }
    Ok(found)
}

/// Whether the buffer could be filled; a log may end anywhere.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn checksum(mut sum: [u32; 2], bytes: &[u8], is_big_endian: bool) -> [u32; 2] {
    let words = |at: usize| if is_big_endian { word(bytes, at) } else { word(bytes, at).swap_bytes() };
    for at in (0..bytes.len()).step_by(8) {
        sum[0] = sum[0].wrapping_add(words(at)).wrapping_add(sum[1]);
        sum[1] = sum[1].wrapping_add(words(at + 4)).wrapping_add(sum[0]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_log_or_ends_early_holds_nothing() {
        for bytes in [vec![], vec![7; 10], vec![0; 32], vec![0xff; 40_000]] {
            assert_eq!(read(bytes.as_slice()).expect("memory"), Wal::Void);
        }
    }

    #[test]
    fn only_whole_commits_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        let c = rusqlite::Connection::open(&path).expect("open");
        c.execute_batch(
            "pragma journal_mode = wal; pragma user_version = 1; pragma wal_checkpoint(truncate)",
        )
        .expect("first");
        c.execute_batch("pragma user_version = 7").expect("second");
        let log = std::fs::read(folder.path().join("x-wal")).expect("log");
        let seven = Wal::Committed { header: Some(Header { application_id: 0, version: 7 }) };
        assert_eq!(read(log.as_slice()).expect("memory"), seven);
        assert_eq!(read(&log[..log.len() - 1]).expect("memory"), Wal::Void);
        let mut flipped = log.clone();
        flipped[LOG_HEADER_BYTES + FRAME_HEADER_BYTES + 200] ^= 1;
        assert_eq!(read(flipped.as_slice()).expect("memory"), Wal::Void);
    }
}
