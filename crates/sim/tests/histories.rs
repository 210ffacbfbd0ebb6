//! A hundred histories, the kept seeds and the crash matrix. `cargo run -p ropewalk-sim` runs thousands.

use ropewalk_sim::{enumerate, kept_seeds, run};

#[test]
fn a_hundred_seeds_and_the_kept_ones_break_no_rule() {
    for seed in kept_seeds().into_iter().chain(1..=100) {
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn a_crash_before_or_after_any_commit_changes_nothing_of_what_lands() {
    match enumerate() {
        Ok(points) => assert!(points > 100, "only {points} crash points"),
        Err(failure) => panic!("{failure}: {}", failure.what),
    }
}

#[test]
fn the_same_seed_gives_the_same_transcript() {
    for seed in 1..=40 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn histories_hold_what_they_are_meant_to_try() {
    let reports: Vec<_> = (1..=100).filter_map(|seed| run(seed).ok()).collect();
    assert!(reports.iter().map(|r| r.crashes).sum::<u64>() > 50, "too few crashes");
    assert!(reports.iter().map(|r| r.tasks).sum::<usize>() > 500, "too few tasks");
    assert!(reports.iter().map(|r| r.landed.len()).sum::<usize>() > 500, "too little lands");
}
