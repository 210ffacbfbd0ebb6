//! Many agents that print as fast as they can: every byte is kept, and we stay small.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::support::plain::{number_of, tell};
use crate::support::processes::memory_of;
use crate::support::{Bench, Chance, wait_for};

const FLOODS: u64 = 8;

/// Of each flood; `ROPEWALK_TEST_FLOOD_BYTES` asks for another size.
const BYTES: u64 = 32 << 20;

/// What the engine and its workers may hold together.
const MEMORY_BYTES_MAX: u64 = 100 << 20;

const BLOCK_BYTES: usize = 64 << 10;

/// The first block of the fake agent's flood; of each later one only the number differs.
fn block(seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed);
    let mut block: Vec<u8> = (0..BLOCK_BYTES).map(|_| b'0' + chance.below(64) as u8).collect();
    block.iter_mut().skip(127).step_by(128).for_each(|byte| *byte = b'\n');
    block
}

/// The place of the first byte that is not what was printed.
fn first_difference(path: &Path, seed: u64, bytes: u64) -> Option<u64> {
    let mut file = File::open(path).expect("the output");
    let (mut wanted, mut read) = (block(seed), vec![0; BLOCK_BYTES]);
    for number in 0..bytes.div_ceil(BLOCK_BYTES as u64) {
        let head = format!("{seed:016x} {number:016x} ");
        wanted[..head.len()].copy_from_slice(head.as_bytes());
        let start = number * BLOCK_BYTES as u64;
        let count = (bytes - start).min(BLOCK_BYTES as u64) as usize;
        if let Err(error) = file.read_exact(&mut read[..count]) {
            tell(&format!("{}: {error}", path.display()));
            return Some(start);
        }
        if wanted[..count] != read[..count] {
            let at = wanted.iter().zip(&read).position(|(wanted, read)| wanted != read);
            return Some(start + at.unwrap_or(0) as u64);
        }
    }
    let more = file.read(&mut read).expect("the output's end");
    (more > 0).then_some(bytes)
}

fn floods_are_kept(furnish: &[&str]) {
    let bytes = number_of("ROPEWALK_TEST_FLOOD_BYTES", BYTES);
    let bench = Bench::bare_of_repository();
    let tasks: Vec<_> = (1..=FLOODS)
        .map(|seed| bench.add(&bench.agent(&format!("gate go; flood {bytes} {seed}; mark flooded")), furnish))
        .collect();
    let token = |command: &mut std::process::Command| {
        command.env("A_TOKEN", "correct-horse-battery-staple");
    };
    let engine = bench.engine("8", token);
    let ours = || bench.workers().into_iter().chain([engine.child.id()]).collect::<Vec<_>>();
    wait_for("all agents", || (bench.record().len() >= tasks.len()).then_some(()));
    let ours = ours();
    let began = std::time::Instant::now();
    bench.open_gate("go");
    let mut most = 0;
    let flooded = || bench.record().iter().filter(|record| record.what == "flooded").count();
    wait_for("the floods", || {
        most = most.max(memory_of(&ours));
        (flooded() == tasks.len()).then_some(())
    });
    let took = began.elapsed();
    engine.wait().expect(0);
    let rate = (bytes * FLOODS) as f64 / took.as_secs_f64() / 1e6;
    tell(&format!(
        "{FLOODS} floods of {bytes} bytes in {took:?} ({rate:.0} MB/s), {} kB in memory",
        most >> 10
    ));
    for (task, seed) in tasks.iter().zip(1..) {
        let stdout = bench.home.join(format!("attempts/{task}.1/stdout"));
        assert_eq!(first_difference(&stdout, seed, bytes), None, "the output of task {task}");
    }
    assert!(most > 0 && most < MEMORY_BYTES_MAX, "{most} bytes of memory");
}

#[test]
fn eight_floods_at_once_are_kept_byte_for_byte_in_little_memory() {
    floods_are_kept(&[]);
}

#[test]
fn eight_filtered_floods_at_once_are_kept_byte_for_byte_in_little_memory() {
    floods_are_kept(&["--env", "A_TOKEN", "--secret", "A_TOKEN"]);
}
