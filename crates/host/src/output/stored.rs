//! A stream as it was printed, whatever form it is stored in. Knows raw files and their holes; unaware of
//! lines beyond counting them.
//!
//! Reading takes memory for one piece, however long the stream is.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::Stream;
use super::compressed::{self, Compressed};
use crate::durable::FileError;
use crate::plain;

/// One read: large enough that a gigabyte takes few calls, small enough to hold.
pub const PIECE_BYTES: usize = 256 << 10;

/// How far back the beginning of a line is looked for.
const LINE_START_BYTES_MAX: u64 = 64 << 10;

/// Islands of a raw file that are told apart. An agent can make any number; what follows counts as one.
const EXTENTS_MAX: usize = 1 << 16;

/// What is at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// So many bytes were read, at least one.
    Bytes(usize),
    /// From this offset to the end given here nothing was kept.
    Hole(Range<u64>),
    /// Nothing, yet.
    End,
}

/// A stream that is read: see the module.
pub struct Stored {
    form: Form,
}

enum Form {
    /// Nothing was printed yet, or it is purged.
    Absent,
    Raw(Raw),
    Compressed(Box<Compressed>),
}

impl Stored {
    /// Opens what there is of a stream. Nothing is an empty stream.
    ///
    /// # Errors
    /// For a file that cannot be read, or is no plain file, or (compressed) holds something else.
    pub fn open(folder: &Path, stream: Stream) -> Result<Stored, FileError> {
        let path = stream.path(folder);
        // Twice: it may be compressed between the two looks, and then the second is sure to find it.
        for _ in 0..2 {
            if let Some(file) = plain::open_if_there(&path)? {
                return Ok(Stored { form: Form::Raw(Raw::new(file, &path)) });
            }
            if let Some(compressed) = Compressed::open(&compressed::path(folder, stream))? {
                return Ok(Stored { form: Form::Compressed(Box::new(compressed)) });
            }
        }
        Ok(Stored { form: Form::Absent })
    }

    pub fn is_absent(&self) -> bool {
        matches!(self.form, Form::Absent)
    }

    /// The raw file while there is one: what grows.
    pub(super) fn raw_file(&self) -> Option<&File> {
        match &self.form {
            Form::Raw(raw) => Some(&raw.file),
            Form::Absent | Form::Compressed(_) => None,
        }
    }

    /// How long it is by now, with what was not kept.
    ///
    /// # Errors
    /// When the file cannot be inspected.
    pub fn size(&self) -> Result<u64, FileError> {
        match &self.form {
            Form::Absent => Ok(0),
            Form::Raw(raw) => raw.size(),
            Form::Compressed(compressed) => Ok(compressed.size),
        }
    }

    /// Reads at an offset, as much as comes at once.
    ///
    /// # Errors
    /// When the file cannot be read, or its compressed form is damaged.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<Piece, FileError> {
        match &mut self.form {
            Form::Absent => Ok(Piece::End),
            Form::Raw(raw) => raw.read_at(offset, buffer),
            Form::Compressed(compressed) => compressed.read_at(offset, buffer),
        }
    }

    /// Where the last `lines` lines begin; what follows the last line end counts as a line. Read backwards:
    /// what is before them is not looked at.
    ///
    /// # Errors
    /// As [`Stored::read_at`].
    pub fn tail_offset(&mut self, lines: u64) -> Result<u64, FileError> {
        let size = self.size()?;
        if lines == 0 {
            return Ok(size);
        }
        // The line end at the very end ends the last line and begins none.
        let mut left = lines;
        for block in self.blocks(size.saturating_sub(1))?.rev() {
            let mut count = 0;
            self.scan(&block, |_, bytes| {
                count += memchr::memchr_iter(b'\n', bytes).count() as u64;
                None::<()>
            })?;
            if count >= left {
                let mut skipped = count - left;
                let found = self.scan(&block, |offset, bytes| {
                    for at in memchr::memchr_iter(b'\n', bytes) {
                        if skipped == 0 {
                            return Some(offset + at as u64 + 1);
                        }
                        skipped -= 1;
                    }
                    None
                })?;
                return Ok(found.unwrap_or(block.start));
            }
            left -= count;
        }
        Ok(0)
    }

    /// The beginning of the line that an offset is in; the offset itself when the line is very long.
    ///
    /// # Errors
    /// As [`Stored::read_at`].
    pub fn line_start(&mut self, offset: u64) -> Result<u64, FileError> {
        let from = offset.saturating_sub(LINE_START_BYTES_MAX);
        let mut start = (from == 0).then_some(0);
        self.scan(&(from..offset), |at, bytes| {
            start = memchr::memrchr(b'\n', bytes).map(|found| at + found as u64 + 1).or(start);
            None::<()>
        })?;
        Ok(start.unwrap_or(offset))
    }

    /// What is kept before `end`, in parts that are each read at once.
    fn blocks(&self, end: u64) -> Result<impl DoubleEndedIterator<Item = Range<u64>> + use<>, FileError> {
        let (extents, step) = match &self.form {
            Form::Absent => (Vec::new(), 1),
            Form::Raw(raw) => (raw.extents(end)?, PIECE_BYTES),
            // A segment is decompressed whole anyway.
            Form::Compressed(compressed) => {
                (compressed.segments().collect(), compressed::SEGMENT_BYTES as usize)
            }
        };
        let parts = move |extent: Range<u64>| {
            let (start, end) = (extent.start, extent.end.min(end));
            let count = end.saturating_sub(start).div_ceil(step as u64);
            (0..count).map(move |part| {
                let from = start + part * step as u64;
                from..end.min(from + step as u64)
            })
        };
        Ok(extents.into_iter().flat_map(parts))
    }

    /// Shows the bytes of a range, piece by piece, until `look` has found something.
    fn scan<T>(
        &mut self,
        range: &Range<u64>,
        mut look: impl FnMut(u64, &[u8]) -> Option<T>,
    ) -> Result<Option<T>, FileError> {
        let mut buffer = vec![0; PIECE_BYTES];
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(PIECE_BYTES as u64) as usize;
            match self.read_at(at, &mut buffer[..length])? {
                Piece::End => break,
                Piece::Hole(hole) => at = hole.end,
                Piece::Bytes(count) => {
                    if let Some(found) = look(at, &buffer[..count]) {
                        return Ok(Some(found));
                    }
                    at += count as u64;
                }
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Absent => "absent",
            Form::Raw(_) => "raw",
            Form::Compressed(_) => "compressed",
        };
        f.debug_struct("Stored").field("form", &form).finish_non_exhaustive()
    }
}

/// A raw file. The file system itself knows its holes, also those made since the index was last written.
/// Where it does not, there are none, as none could be made.
pub(super) struct Raw {
    file: File,
    path: PathBuf,
}

impl Raw {
    pub(super) fn new(file: File, path: &Path) -> Raw {
        Raw { file, path: path.to_owned() }
    }

    pub(super) fn size(&self) -> Result<u64, FileError> {
        Ok(self.file.metadata().map_err(FileError::at("inspect", &self.path))?.len())
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<Piece, FileError> {
        let size = self.size()?;
        if offset >= size {
            return Ok(Piece::End);
        }
        self.read_before(offset, size, buffer).map_err(FileError::at("read", &self.path))
    }

    fn read_before(&self, offset: u64, size: u64, buffer: &mut [u8]) -> io::Result<Piece> {
        let data = self.next_data(offset, size)?;
        if data.start > offset {
            return Ok(Piece::Hole(offset..data.start));
        }
        let length = usize::try_from(data.end - offset).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..length], offset)?;
        if count == 0 {
            return Ok(Piece::End);
        }
        // What became a hole while it was read may have been read as zeros.
        let after = self.next_data(offset, size)?;
        if after.start > offset {
            return Ok(Piece::Hole(offset..after.start));
        }
        Ok(Piece::Bytes(count.min(usize::try_from(after.end - offset).unwrap_or(usize::MAX))))
    }

    /// The next bytes that are kept, from an offset before `size` on; empty at `size`: there are none.
    fn next_data(&self, offset: u64, size: u64) -> io::Result<Range<u64>> {
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start.min(size),
            // Behind the last of them.
            Err(Errno::NXIO) => return Ok(size..size),
            // Not known here: all is kept.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(offset..size),
            Err(error) => return Err(error.into()),
        };
        match seek(&self.file, SeekFrom::Hole(start)) {
            Ok(end) => Ok(start..end.min(size)),
            Err(Errno::NXIO) => Ok(size..size),
            Err(error) => Err(error.into()),
        }
    }

    /// All that is kept before `end`, in order.
    pub(super) fn extents(&self, end: u64) -> Result<Vec<Range<u64>>, FileError> {
        let mut extents = Vec::new();
        let mut at = 0;
        while at < end && extents.len() < EXTENTS_MAX {
            let data = self.next_data(at, end).map_err(FileError::at("read", &self.path))?;
            if data.is_empty() {
                return Ok(extents);
            }
            at = data.end;
            extents.push(data);
        }
        if at < end {
            extents.push(at..end);
        }
        Ok(extents)
    }
}
