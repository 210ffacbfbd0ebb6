//! The index of an attempt's output: lines of text, only ever appended. Knows their shapes; unaware of the
//! bytes that they are about.
//!
//! - `WALL_MS STDOUT STDERR`: at this time the streams were so long. In order of time, as the writer counts
//!   on from the wall clock's first reading. At most one per [`INTERVAL_MS`], and only when something came.
//! - `hole STREAM FROM TO`: these bytes are not kept. Written before they are dropped; each later line about
//!   a stream replaces the earlier one.
//! - `lost STREAM BYTES`: so many bytes could not be written (a full disk) and are not in the file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Stream;
use crate::durable::FileError;
use crate::plain::{self, Access};

/// Time between two entries: finer than people ask for by `--since`, and a flood costs four entries a second.
pub const INTERVAL_MS: u64 = 250;

/// From so many entries on (83 minutes of output without a pause) they come at the next constant's distance,
/// so that an index of a day stays under 5 MB.
pub(crate) const DENSE_ENTRIES_MAX: u64 = 20_000;
pub(crate) const SPARSE_INTERVAL_MS: u64 = 2_000;

/// What is read of an index at most: more is not one of ours.
const BYTES_MAX: u64 = 64 << 20;

pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join("index")
}

/// Writes an index. Each line is one write, so that a reader beside it finds whole lines.
#[derive(Debug)]
pub(crate) struct IndexWriter {
    file: File,
    pub(crate) written_bytes: u64,
    pub(crate) writes: u64,
}

impl IndexWriter {
    pub(crate) fn open(folder: &Path) -> Result<IndexWriter, FileError> {
        let file = plain::open(&path(folder), Access::Append)?;
        Ok(IndexWriter { file, written_bytes: 0, writes: 0 })
    }

    pub(crate) fn entry(&mut self, wall_ms: i64, sizes: [u64; 2]) -> io::Result<()> {
        self.line(format!("{wall_ms} {} {}\n", sizes[0], sizes[1]))
    }

    pub(crate) fn hole(&mut self, stream: Stream, hole: &Range<u64>) -> io::Result<()> {
        self.line(format!("hole {} {} {}\n", stream.name(), hole.start, hole.end))
    }

    pub(crate) fn lost(&mut self, stream: Stream, bytes: u64) -> io::Result<()> {
        self.line(format!("lost {} {bytes}\n", stream.name()))
    }

    fn line(&mut self, line: String) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.written_bytes += line.len() as u64;
        self.writes += 1;
        Ok(())
    }
}

/// What an index says of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Time and length, both ascending.
    entries: Vec<(i64, u64)>,
    /// The bytes that are not kept.
    pub hole: Option<Range<u64>>,
    pub lost_bytes: u64,
}

impl Index {
    /// Reads what an index says of a stream. No index says nothing, nor does a line that is none of ours: the
    /// streams can be read without it.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read(folder: &Path, stream: Stream) -> Result<Index, FileError> {
        let path = path(folder);
        let Some(file) = plain::open_if_there(&path)? else { return Ok(Index::default()) };
        let mut index = Index::default();
        let mut line = String::new();
        let mut reader = BufReader::new(io::Read::take(file, BYTES_MAX));
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(0) => return Ok(index),
                // The last line may be half written; the next reading has it.
                Ok(_) if line.ends_with('\n') => index.note(&line, stream),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(FileError::at("read", &path)(error)),
            }
        }
    }

    fn note(&mut self, line: &str, stream: Stream) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<u64>().ok();
        match words.as_slice() {
            ["hole", name, from, to] if *name == stream.name() => {
                if let (Some(from), Some(to)) = (number(from), number(to))
                    && from < to
                {
                    self.hole = Some(from..to);
                }
            }
            ["lost", name, bytes] if *name == stream.name() => {
                self.lost_bytes = self.lost_bytes.saturating_add(number(bytes).unwrap_or(0));
            }
            [wall_ms, stdout, stderr] => {
                let size = if stream == Stream::Stdout { stdout } else { stderr };
                if let (Ok(wall_ms), Some(size)) = (wall_ms.parse(), number(size)) {
                    self.entries.push((wall_ms, size));
                }
            }
            _ => {}
        }
    }

    /// Where that begins which came after this time, to the entries' precision: what is shown too much came
    /// within [`INTERVAL_MS`] before it.
    pub fn offset_at(&self, wall_ms: i64) -> u64 {
        match self.entries.partition_point(|(at, _)| *at <= wall_ms) {
            0 => 0,
            after => self.entries[after - 1].1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_times_are_found() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Index::read(folder.path(), Stream::Stdout).unwrap(), Index::default());
        let mut writer = IndexWriter::open(folder.path()).unwrap();
        writer.entry(1_000, [10, 0]).unwrap();
        writer.hole(Stream::Stdout, &(4..6)).unwrap();
        writer.entry(2_000, [10, 7]).unwrap();
        writer.hole(Stream::Stdout, &(4..9)).unwrap();
        writer.lost(Stream::Stderr, 3).unwrap();
        writer.line("nonsense\n".to_owned()).unwrap();
        writer.line("3000 99".to_owned()).unwrap();
        let stdout = Index::read(folder.path(), Stream::Stdout).unwrap();
        assert_eq!((stdout.hole.clone(), stdout.lost_bytes), (Some(4..9), 0));
        for (at, offset) in [(0, 0), (999, 0), (1_000, 10), (5_000, 10)] {
            assert_eq!(stdout.offset_at(at), offset);
        }
        let stderr = Index::read(folder.path(), Stream::Stderr).unwrap();
        assert_eq!((stderr.hole.clone(), stderr.lost_bytes), (None, 3));
        assert_eq!((stderr.offset_at(1_999), stderr.offset_at(2_000)), (0, 7));
    }
}
