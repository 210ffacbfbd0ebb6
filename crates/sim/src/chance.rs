//! Chance from a seed. The same seed draws the same numbers on every machine.

use ropewalk_core::id::Oid;

/// SplitMix64 (G. Steele, D. Lea, C. Flood, 2014): small, fast, and any seed will do.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.draw() % bound }
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a thousand.
    pub fn thousandths(&mut self, of: u64) -> bool {
        self.below(1_000) < of
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

pub fn mix(seed: u64) -> u64 {
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Joins numbers to one that depends on each and on their order.
pub fn join(parts: &[u64]) -> u64 {
    parts.iter().fold(0x243f_6a88_85a3_08d3, |sum, part| mix(sum ^ mix(part.wrapping_add(0x9e37_79b9))))
}

/// A git object's id that stands for these numbers.
pub fn oid(parts: &[u64]) -> Oid {
    let first = join(parts);
    let text = format!("{first:016x}{:016x}{:08x}", mix(first ^ 1), mix(first ^ 2) as u32);
    Oid::new(&text).expect("40 hexadecimal digits")
}

/// The number that stands for an object's id.
pub fn number_of(oid: &Oid) -> u64 {
    u64::from_str_radix(&oid.as_str()[..16], 16).unwrap_or_default()
}
