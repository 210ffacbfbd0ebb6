//! `bench git`: what git costs us, beside git as a person would use it, all in one run on one generated repository.
//! Each part measures one promise and checks that every way ends with the same files.

mod train;
mod worktree;

use std::time::{Duration, Instant};

use ropewalk_host::git::{GitError, Specimen};
use ropewalk_host::measure;
use serde_json::json;

use super::folder::Folder;
use crate::cli::BenchGit;
use crate::failure::Failure;
use crate::out::Out;
use crate::table::table;

/// What one part found.
struct Part {
    name: &'static str,
    ways: Vec<Way>,
    promises: Vec<Promise>,
}

/// One way to do a thing, and how long each round took.
struct Way {
    name: &'static str,
    rounds: Vec<Duration>,
}

/// So many times as fast as another way.
struct Promise {
    name: &'static str,
    ratio: f64,
    goal: f64,
}

impl Way {
    fn new(name: &'static str) -> Way {
        Way { name, rounds: Vec::new() }
    }

    /// Times one round of it, on a disk that has nothing left to write.
    fn time<T>(&mut self, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        measure::settle();
        let start = Instant::now();
        let result = run()?;
        self.rounds.push(start.elapsed());
        Ok(result)
    }

    fn median_ms(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_unstable();
        rounds.get(rounds.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    /// How many times as fast as `other` this way is.
    fn beside(&self, other: &Way, goal: f64) -> Promise {
        Promise { name: other.name, ratio: other.median_ms() / self.median_ms(), goal }
    }
}

pub(super) fn git(bench: &BenchGit, out: &Out) -> Result<u8, Failure> {
    let folder = Folder::new(bench.dir.as_deref())?;
    let specimen = Specimen::generate(&folder.0.join("repository"), bench.files).map_err(refused)?;
    let parts =
        [train::train(&specimen, bench, &folder.0)?, worktree::worktree(&specimen, bench, &folder.0)?];
    report(&parts, bench, out);
    Ok(0)
}

fn refused(error: GitError) -> Failure {
    Failure::broken(error.to_string())
}

fn report(parts: &[Part], bench: &BenchGit, out: &Out) {
    if out.is_json() {
        let way = |way: &Way| {
            let rounds_ms: Vec<f64> = way.rounds.iter().map(|time| time.as_secs_f64() * 1e3).collect();
            json!({"way": way.name, "median_ms": way.median_ms(), "rounds_ms": rounds_ms})
        };
        let promise = |promise: &Promise| {
            let Promise { name, ratio, goal } = promise;
            json!({"beside": name, "ratio": ratio, "goal": goal, "reached": ratio >= goal})
        };
        let part = |part: &Part| {
            let ways: Vec<_> = part.ways.iter().map(way).collect();
            let promises: Vec<_> = part.promises.iter().map(promise).collect();
            json!({"part": part.name, "ways": ways, "promises": promises, "identical": true})
        };
        let parts: Vec<_> = parts.iter().map(part).collect();
        return out.json(&json!({"files": bench.files, "rounds": bench.rounds, "parts": parts}));
    }
    let rows = parts.iter().flat_map(|part| {
        part.ways.iter().map(|way| {
            let promise = part.promises.iter().find(|promise| promise.name == way.name);
            let beside = promise.map(|promise| format!("{:.1}", promise.ratio)).unwrap_or_default();
            let goal = promise.map(|promise| format!("{:.0}", promise.goal)).unwrap_or_default();
            vec![
                part.name.to_owned(),
                way.name.to_owned(),
                format!("{:.1} ms", way.median_ms()),
                beside,
                goal,
            ]
        })
    });
    out.say(&table(&["part", "way", "median", "times ours", "goal"], rows));
    out.say(&format!("all ways gave the same files: {} files, {} rounds", bench.files, bench.rounds));
}
