//! What a benchmark needs of the machine. Knows pipes, the page cache and /proc; unaware of what is measured.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};

use crate::durable::{FileError, read_record};
use crate::worker::record::{WorkerNote, worker_note};

/// What one call moves at most, and what the pipe holds: the most that any user may ask for.
const SPLICE_BYTES: usize = 1 << 20;

/// How long a child takes that writes into its own file.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn own_file(program: &Path, arguments: &[String], path: &Path) -> io::Result<Duration> {
    let file = File::options().append(true).create(true).open(path)?;
    let start = Instant::now();
    let status = child(program, arguments, file.into()).status()?;
    timed(start, status)
}

/// How long the same child takes whose output is moved from its pipe into a file without being copied: the least
/// work that anybody between a child and a file can have.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn spliced(program: &Path, arguments: &[String], path: &Path) -> io::Result<Duration> {
    let file = File::create(path)?;
    let start = Instant::now();
    let mut child = child(program, arguments, Stdio::piped()).spawn()?;
    if let Some(pipe) = child.stdout.take() {
        splice_to_end(pipe, &file)?;
    }
    timed(start, child.wait()?)
}

fn child(program: &Path, arguments: &[String], stdout: Stdio) -> Command {
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null()).stdout(stdout);
    child
}

fn timed(start: Instant, status: ExitStatus) -> io::Result<Duration> {
    let time = start.elapsed();
    if status.success() { Ok(time) } else { Err(io::Error::other(format!("it failed: {status}"))) }
}

fn splice_to_end(pipe: impl AsFd, file: &File) -> io::Result<u64> {
    let _ = fcntl_setpipe_size(&pipe, SPLICE_BYTES);
    let mut total = 0;
    loop {
        match splice(&pipe, None, file, None, SPLICE_BYTES, SpliceFlags::MOVE)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

/// Waits until all that was written is on the disk, so that one measurement does not pay for the one before.
pub fn settle() {
    rustix::fs::sync();
}

/// The most memory that the worker of this folder's assignment has had so far, while it lives.
///
/// # Errors
/// When its note cannot be read.
pub fn worker_memory_peak_bytes(folder: &Path) -> Result<Option<u64>, FileError> {
    let note: Option<WorkerNote> = read_record(&worker_note(folder))?;
    Ok(note.and_then(|note| memory_peak_bytes(note.worker.pid)))
}

fn memory_peak_bytes(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
