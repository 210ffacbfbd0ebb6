//! An assignment's two outputs on their way to the disk. Knows the files, their index, the cap and the
//! filter; unaware of processes, deadlines and what an end means.
//!
//! Direct: the child writes its files itself, so nothing is lost when anything of ours dies, and nothing is
//! copied. The worker is told of the first writing and then looks every [`INTERVAL_MS`] until nothing came.
//! Filtered: the child writes into pipes, and what secrets it prints is taken out before it is stored; see
//! [`filter`].
//!
//! The cap: what is written cannot be unwritten, but its middle can be given back to the disk. So offsets
//! stay true, and more than the cap is stored for no longer than until the next look. Where a file system
//! knows no holes (the weaker rung), the attempt ends instead.

mod filter;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::Stdio;

use ropewalk_core::resource::Resource;
use rustix::fs::{FallocateFlags, fallocate};

use self::filter::Filter;
use crate::clock::{boot_ms, wall_ms};
use crate::durable::FileError;
use crate::output::Stream;
use crate::output::index::{DENSE_ENTRIES_MAX, INTERVAL_MS, IndexWriter, SPARSE_INTERVAL_MS};
use crate::output::rules::{OutputRules, OverOutput};
use crate::plain::{self, Access};
use crate::watch::{LOOK_AGAIN_MS, Watch};

/// Holes begin and end at multiples of this: a usual file system's block, since a part of one cannot be given
/// back.
const BLOCK_BYTES: u64 = 4 << 10;

/// See the module.
/// An assignment that ends sooner is not watched: to let go of what watches takes the kernel 10 to 15 ms (measured),
/// several times what a short assignment takes. Until then its output is looked at once a second, the weaker rung.
const WATCH_AFTER_MS: u64 = LOOK_AGAIN_MS;

#[derive(Debug)]
pub(crate) struct Capture {
    files: [Kept; 2],
    source: Source,
    index: IndexWriter,
    entries: u64,
    bytes_max: u64,
    over: OverOutput,
    /// The sizes at the last look.
    seen: [u64; 2],
    /// When to look again. None: whoever writes next is told of.
    look_at: Option<u64>,
    /// No look before this.
    rests_until: u64,
    /// When it is worth to be told of growth.
    watch_at: Option<u64>,
    start_wall_ms: i64,
    start_boot_ms: u64,
}

#[derive(Debug)]
enum Source {
    /// `None`: the weaker rung of [`crate::watch`].
    Direct(Option<Watch>),
    Filtered(Box<Filter>),
}

#[derive(Debug)]
struct Kept {
    file: File,
    hole: Option<Range<u64>>,
    is_hole_noted: bool,
    dropped_bytes: u64,
}

/// What has been stored, and what the worker itself did for it, which is no use of the attempt's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Captured {
    /// With what was dropped: the length of the file.
    pub(crate) stdout_bytes: u64,
    pub(crate) stderr_bytes: u64,
    pub(crate) dropped_bytes: u64,
    pub(crate) own_read_bytes: u64,
    pub(crate) own_written_bytes: u64,
    pub(crate) own_operations: u64,
}

impl Capture {
    /// Opens `stdout` and `stderr` (for appending, 0600) in `folder`, and returns what the child is to be
    /// given. The caller must not keep those: as long as a pipe's writing end is open here, its end is never
    /// seen.
    pub(crate) fn open(folder: &Path, rules: &OutputRules) -> Result<(Capture, Stdio, Stdio), FileError> {
        let kept = |stream: Stream| -> Result<Kept, FileError> {
            let file = plain::open(&stream.path(folder), Access::Append)?;
            Ok(Kept { file, hole: None, is_hole_noted: true, dropped_bytes: 0 })
        };
        let files = [kept(Stream::Stdout)?, kept(Stream::Stderr)?];
        let (source, [stdout, stderr]) = if rules.needs_filter() {
            let (filter, ends) = Filter::open(folder, rules)?;
            (Source::Filtered(Box::new(filter)), ends.map(Stdio::from))
        } else {
            let copy = |kept: &Kept| kept.file.try_clone().map_err(FileError::at("open", folder));
            let copies = [copy(&files[0])?, copy(&files[1])?];
            (Source::Direct(None), copies.map(Stdio::from))
        };
        let mut capture = Capture {
            files,
            source,
            index: IndexWriter::open(folder)?,
            entries: 0,
            bytes_max: rules.bytes_max,
            over: rules.over,
            seen: [0; 2],
            look_at: None,
            rests_until: 0,
            watch_at: None,
            start_wall_ms: wall_ms(),
            start_boot_ms: boot_ms(),
        };
        capture.seen = capture.sizes();
        capture.watch_at = Some(capture.start_boot_ms.saturating_add(WATCH_AFTER_MS));
        capture.wait_for_more(capture.start_boot_ms);
        Ok((capture, stdout, stderr))
    }

    /// What to poll for input: at most two, none while it rests.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.source {
            Source::Direct(Some(watch)) if self.look_at.is_none() => vec![watch.as_fd()],
            Source::Direct(_) => Vec::new(),
            Source::Filtered(filter) => filter.fds(),
        }
    }

    /// One of [`Capture::fds`] is readable. Bounded work; never blocks but for the disk.
    pub(crate) fn ready(&mut self) {
        match &mut self.source {
            Source::Direct(None) => {}
            Source::Direct(Some(watch)) => watch.clear(),
            Source::Filtered(filter) => filter.pump([&self.files[0].file, &self.files[1].file]),
        }
        self.look_at.get_or_insert(self.rests_until);
    }

    /// The boot-time instant at which [`Capture::advance`] is to be called although nothing happens.
    pub(crate) fn next_at(&self) -> Option<u64> {
        let retry_at = match &self.source {
            Source::Direct(_) => None,
            Source::Filtered(filter) => filter.retry_at(),
        };
        [self.look_at, retry_at].into_iter().flatten().min()
    }

    /// Sees to the index and the cap, when it is time to. Something: the cap is exceeded and the attempt is
    /// to end.
    pub(crate) fn advance(&mut self, now_boot_ms: u64) -> Option<Resource> {
        if let Source::Filtered(filter) = &mut self.source {
            filter.retry([&self.files[0].file, &self.files[1].file], now_boot_ms);
        }
        if self.look_at.is_none_or(|at| now_boot_ms < at) {
            return None;
        }
        if !self.look(now_boot_ms) {
            self.wait_for_more(now_boot_ms);
            return None;
        }
        self.look_at = Some(self.rests_until);
        let is_over = self.seen[0].saturating_add(self.seen[1]) > self.bytes_max;
        match self.over {
            OverOutput::End => is_over.then_some(Resource::Output),
            OverOutput::Drop => self.drop_middle().is_err().then_some(Resource::Output),
        }
    }

    /// Bytes that have come so far: whether they grow is what the stall limit asks.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.source {
            Source::Direct(_) => self.sizes().iter().sum(),
            Source::Filtered(filter) => filter.read_bytes(),
        }
    }

    /// All processes are dead: takes what is still in the pipes, and writes the index to its end.
    pub(crate) fn finish(mut self) -> Captured {
        let mut lost = [0; 2];
        if let Source::Filtered(filter) = &mut self.source {
            lost = filter.finish([&self.files[0].file, &self.files[1].file]);
        }
        self.look(boot_ms());
        // Also when the rule was to end: what came in the grace must not stay beyond the cap either. Where it
        // cannot be helped, it stays.
        let _ = self.drop_middle();
        for (stream, bytes) in Stream::BOTH.into_iter().zip(lost) {
            if bytes > 0 {
                let _ = self.index.lost(stream, bytes);
            }
        }
        let (read_bytes, written_bytes, operations) = match &self.source {
            Source::Direct(_) => (0, 0, 0),
            Source::Filtered(filter) => filter.own_use(),
        };
        Captured {
            stdout_bytes: self.seen[0],
            stderr_bytes: self.seen[1],
            dropped_bytes: self.files.iter().map(|kept| kept.dropped_bytes).chain(lost).sum(),
            own_read_bytes: read_bytes,
            own_written_bytes: written_bytes + self.index.written_bytes,
            own_operations: operations + self.index.writes,
        }
    }

    fn sizes(&self) -> [u64; 2] {
        // A file that is open can be inspected; if not, nothing came.
        [0, 1].map(|at| self.files[at].file.metadata().map_or(self.seen[at], |metadata| metadata.len()))
    }

    /// Writes down how much has come; whether anything has.
    fn look(&mut self, now_boot_ms: u64) -> bool {
        let sizes = self.sizes();
        if sizes == self.seen {
            return false;
        }
        self.seen = sizes;
        self.entries += 1;
        let interval_ms = if self.entries < DENSE_ENTRIES_MAX { INTERVAL_MS } else { SPARSE_INTERVAL_MS };
        self.rests_until = now_boot_ms.saturating_add(interval_ms);
        let since_ms = i64::try_from(now_boot_ms.saturating_sub(self.start_boot_ms)).unwrap_or(0);
        // Without an entry (a full disk) `--since` is coarser; the output itself needs none.
        let _ = self.index.entry(self.start_wall_ms.saturating_add(since_ms), sizes);
        true
    }

    /// Nothing came for a while: from here on the next writing is told, or looked for on the weaker rung.
    fn wait_for_more(&mut self, now_boot_ms: u64) {
        if matches!(self.source, Source::Direct(None)) && self.watch_at.is_some_and(|at| now_boot_ms >= at) {
            self.watch_at = None;
            self.source = Source::Direct(Watch::new().ok());
        }
        self.look_at = match &self.source {
            Source::Filtered(_) => None,
            Source::Direct(None) => Some(now_boot_ms.saturating_add(LOOK_AGAIN_MS)),
            Source::Direct(Some(watch)) => {
                match self.files.iter().try_for_each(|kept| watch.arm(&kept.file)) {
                    Err(_) => Some(now_boot_ms.saturating_add(LOOK_AGAIN_MS)),
                    // What came before the arming is told by nobody.
                    Ok(()) if self.sizes() != self.seen => Some(self.rests_until),
                    Ok(()) => None,
                }
            }
        };
    }

    /// Gives back to the disk what is beyond the cap.
    fn drop_middle(&mut self) -> io::Result<()> {
        let wanted = holes(self.seen, self.bytes_max);
        for ((kept, stream), wanted) in self.files.iter_mut().zip(Stream::BOTH).zip(wanted) {
            if let Some(wanted) = wanted {
                kept.widen(&wanted, |hole| self.index.hole(stream, hole))?;
            }
        }
        Ok(())
    }
}

impl Kept {
    fn widen(
        &mut self,
        wanted: &Range<u64>,
        note: impl FnOnce(&Range<u64>) -> io::Result<()>,
    ) -> io::Result<()> {
        let (parts, hole) = match &self.hole {
            None => ([wanted.clone(), 0..0], wanted.clone()),
            Some(before) => {
                let hole = wanted.start.min(before.start)..wanted.end.max(before.end);
                ([hole.start..before.start, before.end..hole.end], hole)
            }
        };
        if self.hole.as_ref() != Some(&hole) || !self.is_hole_noted {
            // First, so that no reader takes a hole for output. When it cannot be written, the disk is full,
            // and what is dropped now is what helps; it is noted at the next look.
            self.is_hole_noted = note(&hole).is_ok();
        }
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, flags, part.start, part.end - part.start)?;
            self.dropped_bytes += part.end - part.start;
        }
        self.hole = Some(hole);
        Ok(())
    }
}

/// What of the two streams is beyond a cap on both together: the middle of the one that is too long, or of
/// both. A stream of up to half the cap is kept whole, whatever the other one does.
fn holes(sizes: [u64; 2], bytes_max: u64) -> [Option<Range<u64>>; 2] {
    let hole = |own: u64, other: u64| {
        let allowed = (bytes_max / 2).max(bytes_max.saturating_sub(other));
        let half = allowed / 2;
        let hole = half / BLOCK_BYTES * BLOCK_BYTES..own.saturating_sub(half) / BLOCK_BYTES * BLOCK_BYTES;
        (own > allowed && !hole.is_empty()).then_some(hole)
    };
    [hole(sizes[0], sizes[1]), hole(sizes[1], sizes[0])]
}

#[cfg(test)]
mod tests;
