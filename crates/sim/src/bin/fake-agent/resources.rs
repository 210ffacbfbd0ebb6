//! What the fake agent takes of the machine. Unaware of any limit: it finds out.

use std::fs::File;
use std::hint::black_box;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Fault;

/// Touched, so that it counts, and never given back.
pub(super) fn eat(megabytes: usize) {
    for _ in 0..megabytes {
        Box::leak(vec![0xa5_u8; 1 << 20].into_boxed_slice());
    }
}

pub(super) fn burn(span: Duration) {
    let until = Instant::now() + span;
    while Instant::now() < until {
        let _ = (0..10_000_u64).fold(0, |sum, number| black_box(sum ^ number));
    }
}

/// The word for the record: whether there were no more, or so many are open.
pub(super) fn open_files(count: u64) -> &'static str {
    let mut open = Vec::new();
    let mut word = "opened";
    for _ in 0..count {
        match File::open("/dev/null") {
            Ok(file) => open.push(file),
            Err(_) => {
                word = "full";
                break;
            }
        }
    }
    // All but a few, which writing the record takes.
    open.truncate(open.len().saturating_sub(4));
    open.leak();
    word
}

/// The word for the record: whether the disk is full, or the file is written.
pub(super) fn fill(path: &Path, bytes: u64) -> Result<&'static str, Fault> {
    let mut file = File::create(path)?;
    let block = vec![0x5a_u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        match file.write(&block[..count]) {
            Ok(written) => left -= written as u64,
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok("full"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok("filled")
}
