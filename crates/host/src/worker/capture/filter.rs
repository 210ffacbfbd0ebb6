//! The filter between a child's pipes and its files. Knows pipes, buffers and writing that fails; unaware of
//! what a secret is and of the cap.
//!
//! What is clean goes to the file straight from the buffer that it was read into. When a file cannot be
//! written (a full disk), what is not written is kept and the pipe is not read on: the child waits, and goes
//! on when there is space.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use crate::clock::boot_ms;
use crate::durable::FileError;
use crate::output::rules::OutputRules;
use crate::redact::{Needles, Redactor};

/// What a pipe holds: the most that any user may ask for, so that the child seldom waits for us.
const PIPE_BYTES: usize = 1 << 20;

/// One read: what was read is still in the processor's cache when it is searched and written.
const READ_BYTES: usize = 256 << 10;

/// Read at one call per pipe, before the rest of the worker has its turn.
const TURN_BYTES: usize = 1 << 20;

/// Clean parts shorter than this are gathered: among many secrets, each would cost a write of its own.
const GATHER_BYTES: usize = 16 << 10;

/// How soon writing is tried again.
const RETRY_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Filter {
    needles: Needles,
    lanes: [Lane; 2],
    /// What was kept back, and what is read behind it. For both in turn.
    window: Vec<u8>,
    read_bytes: u64,
    written_bytes: u64,
    operations: u64,
}

#[derive(Debug, Default)]
struct Lane {
    /// None: at its end.
    pipe: Option<OwnedFd>,
    redactor: Redactor,
    kept_back: Vec<u8>,
    gathered: Vec<u8>,
    /// When writing failed: `gathered` is still to be written.
    retry_at: Option<u64>,
}

impl Filter {
    /// The filter, and the writing ends.
    pub(super) fn open(folder: &Path, rules: &OutputRules) -> Result<(Filter, [OwnedFd; 2]), FileError> {
        let needles = Needles::new(&rules.secrets, rules.filtered)
            .map_err(|error| FileError::at("filter output into", folder)(io::Error::other(error)))?;
        let (stdout, stdout_end) = open_pipe().map_err(FileError::at("open a pipe for", folder))?;
        let (stderr, stderr_end) = open_pipe().map_err(FileError::at("open a pipe for", folder))?;
        let lanes = [stdout, stderr].map(|pipe| Lane { pipe: Some(pipe), ..Lane::default() });
        let filter =
            Filter { needles, lanes, window: Vec::new(), read_bytes: 0, written_bytes: 0, operations: 0 };
        Ok((filter, [stdout_end, stderr_end]))
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let waits = |lane: &&Lane| lane.retry_at.is_none();
        self.lanes.iter().filter(waits).filter_map(|lane| Some(lane.pipe.as_ref()?.as_fd())).collect()
    }

    pub(super) fn retry_at(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.retry_at).min()
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Bytes read, bytes written, and how many calls that took.
    pub(super) fn own_use(&self) -> (u64, u64, u64) {
        (self.read_bytes, self.written_bytes, self.operations)
    }

    pub(super) fn pump(&mut self, files: [&File; 2]) {
        for (at, file) in files.into_iter().enumerate() {
            let mut left = TURN_BYTES;
            while left > 0 && self.lanes[at].retry_at.is_none() {
                match self.read(at) {
                    0 => break,
                    count => {
                        self.pass(at, count, false, file);
                        left = left.saturating_sub(count);
                    }
                }
            }
        }
    }

    pub(super) fn retry(&mut self, files: [&File; 2], now_boot_ms: u64) {
        for (at, file) in files.into_iter().enumerate() {
            if self.lanes[at].retry_at.is_some_and(|retry_at| now_boot_ms >= retry_at) {
                self.lanes[at].retry_at = None;
                self.write_gathered(at, file);
            }
        }
    }

    /// Takes what the pipes hold. They may be open elsewhere still, in a process that got away: what comes
    /// later is not waited for. Returns what could not be written.
    pub(super) fn finish(&mut self, files: [&File; 2]) -> [u64; 2] {
        self.retry(files, u64::MAX);
        self.pump(files);
        let mut lost = [0; 2];
        for (at, file) in files.into_iter().enumerate() {
            self.lanes[at].pipe = None;
            self.window.clear();
            self.window.append(&mut self.lanes[at].kept_back);
            self.pass(at, 0, true, file);
            lost[at] = self.lanes[at].gathered.len() as u64;
        }
        lost
    }

    /// Reads behind what was kept back; 0: nothing is there now.
    fn read(&mut self, at: usize) -> usize {
        let lane = &mut self.lanes[at];
        let Some(pipe) = &lane.pipe else { return 0 };
        let before = lane.kept_back.len();
        if self.window.len() < before + READ_BYTES {
            self.window.resize(before + READ_BYTES, 0);
        }
        self.window[..before].copy_from_slice(&lane.kept_back);
        let count = match rustix::io::read(pipe, &mut self.window[before..before + READ_BYTES]) {
            Ok(0) => {
                lane.pipe = None;
                return 0;
            }
            Ok(count) => count,
            // Nothing there; or interrupted: it is polled again.
            Err(_) => return 0,
        };
        self.operations += 1;
        self.read_bytes += count as u64;
        count
    }

    /// Hands on what is behind what was kept back: `count` bytes.
    fn pass(&mut self, at: usize, count: usize, last: bool, mut file: &File) {
        let lane = &mut self.lanes[at];
        let window = &self.window[..if last { self.window.len() } else { lane.kept_back.len() + count }];
        let (written, operations) = (&mut self.written_bytes, &mut self.operations);
        let mut failed = lane.retry_at.is_some();
        let gathered = &mut lane.gathered;
        let done = lane.redactor.pass(&self.needles, window, last, |part| {
            if failed || part.len() < GATHER_BYTES {
                gathered.extend_from_slice(part);
                return;
            }
            failed = !write_out(file, gathered, written, operations);
            if failed {
                gathered.extend_from_slice(part);
                return;
            }
            match write_some(&mut file, part, written, operations) {
                count if count == part.len() => {}
                count => {
                    gathered.extend_from_slice(&part[count..]);
                    failed = true;
                }
            }
        });
        lane.kept_back.clear();
        lane.kept_back.extend_from_slice(&window[done..]);
        self.write_gathered(at, file);
    }

    fn write_gathered(&mut self, at: usize, file: &File) {
        let lane = &mut self.lanes[at];
        let is_written = write_out(file, &mut lane.gathered, &mut self.written_bytes, &mut self.operations);
        lane.retry_at = (!is_written).then(|| boot_ms() + RETRY_MS);
    }
}

/// Writes all that was gathered; what cannot be written stays.
fn write_out(mut file: &File, gathered: &mut Vec<u8>, written: &mut u64, operations: &mut u64) -> bool {
    let count = write_some(&mut file, gathered, written, operations);
    gathered.drain(..count);
    gathered.is_empty()
}

/// How much of it could be written.
fn write_some(file: &mut &File, bytes: &[u8], written: &mut u64, operations: &mut u64) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        *operations += 1;
        match file.write(&bytes[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    *written += done as u64;
    done
}

fn open_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    // Alone on our side: most programs take a full pipe that does not block for an error.
    fcntl_setfl(&reading, OFlags::NONBLOCK)?;
    // A user with very many pipes gets small ones: slower, and no worse.
    let _ = fcntl_setpipe_size(&reading, PIPE_BYTES);
    Ok((reading, writing))
}
