//! A stream's compressed form: zstd frames one after the other, so that `zstd -dc` reads it as it is, each
//! one segment of at most 16 MiB that can be read without the others; behind them, in a frame that zstd
//! skips, the table of segments. Knows this format; unaware of when it is made.
//!
//! ```text
//! frame*  skippable frame: (raw start u64, raw length u32, length here u32)*  raw size u64  count u32  "RWK1"
//! ```
//! All little-endian. What lies between two segments was not kept.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::Stream;
use super::stored::{Piece, Raw};
use crate::durable::FileError;
use crate::plain;

/// Raw bytes of one segment: what must be read for one byte in its middle, a few hundredths of a second.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// A tenth of the size at some 300 MB/s for a usual log; higher levels win little and take much longer.
const LEVEL: i32 = 3;

/// What a foreign file may make us allocate for its window: 8 MiB is the most that our level uses.
const WINDOW_LOG_MAX: u32 = 23;

/// A smaller hole is compressed as zeros: a segment for each island would cost more.
const HOLE_BYTES_MIN: u64 = 1 << 20;

const SKIPPABLE: u32 = 0x184D_2A5E;
const MARK: &[u8; 4] = b"RWK1";
const ENTRY_BYTES: usize = 16;
const FOOTER_BYTES: usize = 16;
/// 16 TiB of output without a hole.
const SEGMENTS_MAX: usize = 1 << 20;
const COPY_BYTES: usize = 256 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    raw: Range<u64>,
    at: u64,
    bytes: u64,
}

pub(super) fn path(folder: &Path, stream: Stream) -> PathBuf {
    folder.join(format!("{}.zst", stream.name()))
}

pub(super) fn new_path(folder: &Path, stream: Stream) -> PathBuf {
    folder.join(format!("{}.zst.new", stream.name()))
}

/// Compresses both streams of an attempt that has ended, and removes the raw files. What is compressed
/// already stays so; one that was interrupted at any point, by a power loss too, is taken up again and
/// nothing is lost.
///
/// # Errors
/// The step and its path; then the raw file is still there.
pub fn compress(folder: &Path) -> Result<(), FileError> {
    Stream::BOTH.into_iter().try_for_each(|stream| compress_stream(folder, stream, |_| Ok(())))
}

/// What is on disk when a step is done. For tests, which stop there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Begun,
    Written,
    Renamed,
    Synced,
}

pub(super) fn compress_stream(
    folder: &Path,
    stream: Stream,
    mut done: impl FnMut(Step) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let (raw_path, path, new_path) = (stream.path(folder), path(folder, stream), new_path(folder, stream));
    let Some(raw) = plain::open_if_there(&raw_path)? else { return Ok(()) };
    let mut raw = Raw::new(raw, &raw_path);
    let size = raw.size()?;
    if size == 0 {
        // Takes no space, and there is nothing to compress.
        return Ok(());
    }
    let is_there = matches!(Compressed::open(&path), Ok(Some(compressed)) if compressed.size == size);
    if !is_there {
        remove(&new_path)?;
        write_compressed(&mut raw, size, &new_path, || done(Step::Begun))?;
        done(Step::Written)?;
        fs::rename(&new_path, &path).map_err(FileError::at("rename to", &path))?;
        done(Step::Renamed)?;
    }
    let opened = File::open(folder).map_err(FileError::at("open", folder))?;
    opened.sync_all().map_err(FileError::at("sync", folder))?;
    done(Step::Synced)?;
    remove(&raw_path)
}

/// Removes a file, which may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::at("remove", path)(error)),
        _ => Ok(()),
    }
}

fn write_compressed(
    raw: &mut Raw,
    size: u64,
    path: &Path,
    begun: impl FnOnce() -> Result<(), FileError>,
) -> Result<(), FileError> {
    let mut options = fs::OpenOptions::new();
    let file =
        options.write(true).create_new(true).mode(0o600).open(path).map_err(FileError::at("create", path))?;
    begun()?;
    let mut out = Counted { inner: BufWriter::with_capacity(COPY_BYTES, file), count: 0 };
    let mut table = Vec::new();
    for range in segments_of(raw.extents(size)?) {
        let at = out.count;
        let mut encoder = Encoder::new(&mut out, LEVEL).map_err(FileError::at("compress into", path))?;
        let written = encoder.include_checksum(true).and_then(|()| copy(raw, &range, &mut encoder, path));
        written.and_then(|()| encoder.finish().map(drop)).map_err(FileError::at("write", path))?;
        table.extend_from_slice(&range.start.to_le_bytes());
        table.extend_from_slice(&low(range.end - range.start).to_le_bytes());
        table.extend_from_slice(&low(out.count - at).to_le_bytes());
    }
    let count = table.len() / ENTRY_BYTES;
    table.extend_from_slice(&size.to_le_bytes());
    table.extend_from_slice(&low(count as u64).to_le_bytes());
    table.extend_from_slice(MARK);
    let finish = || -> io::Result<()> {
        out.write_all(&SKIPPABLE.to_le_bytes())?;
        out.write_all(&low(table.len() as u64).to_le_bytes())?;
        out.write_all(&table)?;
        out.inner.into_inner()?.sync_all()
    };
    finish().map_err(FileError::at("write", path))
}

/// Lengths here are far under 4 GiB: of a segment, and of the table.
fn low(length: u64) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Copies a range of the raw file; small holes in it are zeros.
fn copy(raw: &mut Raw, range: &Range<u64>, out: &mut impl Write, path: &Path) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = (range.end - at).min(COPY_BYTES as u64) as usize;
        let count = match raw.read_at(at, &mut buffer[..length]).map_err(io::Error::other)? {
            Piece::Bytes(count) => count,
            Piece::Hole(hole) => {
                let count = (hole.end - at).min(length as u64) as usize;
                buffer[..count].fill(0);
                count
            }
            Piece::End => return Err(io::Error::other(format!("what {} is made of shrank", path.display()))),
        };
        out.write_all(&buffer[..count])?;
        at += count as u64;
    }
    Ok(())
}

fn segments_of(extents: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        match merged.last_mut() {
            Some(last) if extent.start - last.end < HOLE_BYTES_MIN => last.end = extent.end,
            _ => merged.push(extent),
        }
    }
    let parts = |extent: Range<u64>| {
        let starts = (extent.start..extent.end).step_by(SEGMENT_BYTES as usize);
        starts.map(move |start| start..extent.end.min(start + SEGMENT_BYTES))
    };
    merged.into_iter().flat_map(parts).collect()
}

struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A compressed stream that is read.
pub(super) struct Compressed {
    file: File,
    path: PathBuf,
    segments: Vec<Segment>,
    pub(super) size: u64,
    /// Where the last reading stopped: the next one mostly goes on there.
    reading: Option<Reading>,
}

struct Reading {
    segment: usize,
    at: u64,
    decoder: Decoder<'static, BufReader<Part>>,
}

impl Compressed {
    pub(super) fn open(path: &Path) -> Result<Option<Compressed>, FileError> {
        let Some(file) = plain::open_if_there(path)? else { return Ok(None) };
        let (segments, size) = read_table(&file).map_err(FileError::at("understand", path))?;
        Ok(Some(Compressed { file, path: path.to_owned(), segments, size, reading: None }))
    }

    /// What is kept, in order.
    pub(super) fn segments(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.segments.iter().map(|segment| segment.raw.clone())
    }

    pub(super) fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<Piece, FileError> {
        let index = self.segments.partition_point(|segment| segment.raw.end <= offset);
        let start = self.segments.get(index).map_or(self.size, |segment| segment.raw.start);
        if offset >= self.size {
            return Ok(Piece::End);
        }
        if offset < start {
            return Ok(Piece::Hole(offset..start));
        }
        let left = self.segments[index].raw.end - offset;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.decode(index, offset, &mut buffer[..length]);
        count.map(Piece::Bytes).map_err(FileError::at("read", &self.path))
    }

    fn decode(&mut self, index: usize, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let goes_on = |reading: &Reading| reading.segment == index && reading.at <= offset;
        let mut reading = match self.reading.take().filter(goes_on) {
            Some(reading) => reading,
            None => self.begin(index)?,
        };
        let skipped = offset - reading.at;
        if io::copy(&mut reading.decoder.by_ref().take(skipped), &mut io::sink())? < skipped {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = reading.decoder.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reading.at = offset + count as u64;
        self.reading = Some(reading);
        Ok(count)
    }

    fn begin(&self, index: usize) -> io::Result<Reading> {
        let segment = &self.segments[index];
        let part = Part { file: self.file.try_clone()?, at: segment.at, end: segment.at + segment.bytes };
        let mut decoder = Decoder::with_buffer(BufReader::with_capacity(COPY_BYTES, part))?.single_frame();
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Reading { segment: index, at: segment.raw.start, decoder })
    }
}

/// A part of a file.
struct Part {
    file: File,
    at: u64,
    end: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..length], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn read_table(file: &File) -> io::Result<(Vec<Segment>, u64)> {
    let foreign = || io::Error::other("it is no compressed output of ours, or cut off");
    let length = file.metadata()?.len();
    let footer_at = length.checked_sub(FOOTER_BYTES as u64).ok_or_else(foreign)?;
    let mut footer = [0; FOOTER_BYTES];
    file.read_exact_at(&mut footer, footer_at)?;
    let (size, count) = (u64_at(&footer, 0), u32_at(&footer, 8) as usize);
    if &footer[12..] != MARK || count > SEGMENTS_MAX {
        return Err(foreign());
    }
    let mut table = vec![0; count * ENTRY_BYTES];
    let table_at = footer_at.checked_sub(table.len() as u64).ok_or_else(foreign)?;
    file.read_exact_at(&mut table, table_at)?;
    let (mut segments, mut at, mut raw_end) = (Vec::with_capacity(count), 0_u64, 0);
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let (start, raw, bytes) =
            (u64_at(entry, 0), u64::from(u32_at(entry, 8)), u64::from(u32_at(entry, 12)));
        let end = start.checked_add(raw).filter(|end| *end <= size && raw > 0).ok_or_else(foreign)?;
        if start < raw_end || at + bytes > table_at {
            return Err(foreign());
        }
        segments.push(Segment { raw: start..end, at, bytes });
        (at, raw_end) = (at + bytes, end);
    }
    Ok((segments, size))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let byte = |index: usize| u32::from(bytes[at + index]) << (8 * index);
    byte(0) | byte(1) | byte(2) | byte(3)
}
