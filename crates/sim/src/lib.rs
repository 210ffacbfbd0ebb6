//! Seeded simulation: the real engine and the real loop, on a store and a world with virtual time and faults.
//! One seed is one history; an oracle looks at it while it runs and at its end.

pub mod chance;
mod document;
mod git;
mod oracle;
mod plan;
mod run;
pub mod store;
mod transcript;
mod world;

pub use run::{Failure, Report, enumerate, run, traced};
pub use store::{CrashPoint, SimStore};

/// Seeds that failed once: always run first.
pub fn kept_seeds() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines();
    lines.filter_map(|line| line.split('#').next()?.trim().parse().ok()).collect()
}
