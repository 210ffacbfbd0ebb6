//! The log that is printed in measurements: like an agent's, the same on every machine. And its printing:
//! from memory, so that the child is never what is slow.

use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use crate::failure::Failure;

/// Nobody's secret: what the filter has to find.
pub(super) const SECRET: &str = "benchmark-token-5d41402abc4b2a76b9719d911017c592";

/// Lines of the block that is printed again and again: 4 MB, more than a processor's own caches hold.
const LINES: u64 = 40_000;
/// One line in so many holds the secret.
const SECRET_EVERY: u64 = 1_000;

/// As much as programs that print a lot write at once.
const WRITE_BYTES: usize = 64 << 10;

const WORDS: [&str; 12] = [
    "test",
    "passed",
    "error",
    "reading",
    "src/lib.rs",
    "tool_use",
    "{\"type\":\"text\"",
    "running",
    "cargo",
    "warning:",
    "merge",
    "worktree",
];

/// The block; with `[redacted]` for the secret, if asked.
pub(super) fn block(redacted: bool) -> Vec<u8> {
    let secret = if redacted { "[redacted]" } else { SECRET };
    let mut text = String::new();
    // The multiplier and increment of Knuth's MMIX.
    let mut state: u64 = 3;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for line in 0..LINES {
        text.push_str(&format!("2026-01-01T00:{:02}:{:02}Z agent-{}", line / 60 % 60, line % 60, line % 50));
        for _ in 0..6 + random(15) {
            text.push(' ');
            text.push_str(WORDS[random(WORDS.len() as u64) as usize]);
        }
        if line % SECRET_EVERY == 7 {
            text.push_str(&format!(" token={secret}"));
        }
        text.push_str(&format!(" 0.{:09}{:09}\n", random(1_000_000_000), random(1_000_000_000)));
    }
    text.into_bytes()
}

/// Prints a file's content so many times, as quickly as stdout takes it.
pub(super) fn print(file: &Path, times: u64) -> Result<u8, Failure> {
    let content = std::fs::read(file)
        .map_err(|error| Failure::broken(format!("cannot read {}: {error}", file.display())))?;
    // Not by way of `Stdout`, which would look for line ends and copy.
    let copy = std::io::stdout().as_fd().try_clone_to_owned();
    let copy = copy.map_err(|error| Failure::broken(format!("cannot print: {error}")))?;
    let mut stdout = std::fs::File::from(copy);
    for _ in 0..times {
        for part in content.chunks(WRITE_BYTES) {
            stdout.write_all(part).map_err(|error| Failure::broken(format!("cannot print: {error}")))?;
        }
    }
    Ok(0)
}
