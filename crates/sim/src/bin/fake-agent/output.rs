//! The fake agent's output. Unaware of who reads it.

use std::fs::File;
use std::io::{Stdout, Write};
use std::os::fd::AsFd;

use super::Fault;

/// How much a flood writes at once: what a pipe holds, and what makes a fast child.
const BLOCK_BYTES: usize = 64 << 10;

/// Standard output without the standard library's buffer, which cuts at line ends.
fn stdout() -> Result<File, Fault> {
    Ok(File::from(Stdout::as_fd(&std::io::stdout()).try_clone_to_owned()?))
}

/// Lines that differ from block to block, so that one that is missing, doubled or out of place is seen: each block
/// begins with the seed and its number, and is filled from a table that the seed chose.
pub(super) fn flood(bytes: u64, seed: u64) -> Result<(), Fault> {
    let mut chance = Chance(seed);
    let mut block: Vec<u8> = (0..BLOCK_BYTES).map(|_| b'0' + (chance.next() % 64) as u8).collect();
    block.iter_mut().skip(127).step_by(128).for_each(|byte| *byte = b'\n');
    blocks(bytes, seed, block)
}

/// As a flood, with every value that a byte can have.
pub(super) fn noise(bytes: u64, seed: u64) -> Result<(), Fault> {
    let mut chance = Chance(seed);
    let block = (0..BLOCK_BYTES).map(|_| chance.next() as u8).collect();
    blocks(bytes, seed, block)
}

fn blocks(bytes: u64, seed: u64, mut block: Vec<u8>) -> Result<(), Fault> {
    let mut out = stdout()?;
    let mut left = bytes;
    let mut number = 0_u64;
    while left > 0 {
        let head = format!("{seed:016x} {number:016x} ");
        block[..head.len()].copy_from_slice(head.as_bytes());
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        out.write_all(&block[..count])?;
        left -= count as u64;
        number += 1;
    }
    Ok(())
}

pub(super) fn endless(bytes: u64) -> Result<(), Fault> {
    let mut out = stdout()?;
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(4_096);
        out.write_all(&[b'~'; 4_096][..count])?;
        left -= count as u64;
    }
    Ok(())
}

/// The value stands across the border of two pieces, where pieces are long enough to have it in one.
pub(super) fn pieces(size: usize, form: &str, name: &str) -> Result<(), Fault> {
    let value = std::env::var(name).map_err(|_| format!("{name} is not set"))?;
    let said = in_form(form, &value)?;
    let before = (size + 8).saturating_sub(said.len() / 2);
    let text = format!("{}{said}{}\n", ".".repeat(before), ".".repeat(size));
    let mut out = stdout()?;
    for piece in text.as_bytes().chunks(size.max(1)) {
        out.write_all(piece)?;
    }
    Ok(())
}

fn in_form(form: &str, value: &str) -> Result<String, Fault> {
    let hex = |before: &str| value.bytes().map(|byte| format!("{before}{byte:02x}")).collect();
    match form {
        "plain" => Ok(value.to_owned()),
        "hex" => Ok(hex("")),
        "percent" => Ok(hex("%")),
        "base64" => Ok(base64(value.as_bytes())),
        other => Err(format!("{other:?} is no form").into()),
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
