//! `ropewalk-sim [--seeds N] [--from S] [--seed S --trace]`: runs the kept seeds, the crash matrix, and N fresh seeds.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_sim::{Failure, enumerate, kept_seeds, run, traced};

#[derive(Debug)]
struct Options {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    trace: bool,
}

fn main() -> ExitCode {
    match options() {
        Ok(options) => match options.seed {
            Some(seed) => one(seed, options.trace),
            None => many(&options),
        },
        Err(text) => {
            say(&format!("{text}\nusage: ropewalk-sim [--seeds N] [--from S] [--seed S [--trace]]"));
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { seeds: 1_000, from: 1, seed: None, trace: false };
    let mut arguments = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned());
    while let Some(name) = arguments.next() {
        if name == "--trace" {
            options.trace = true;
            continue;
        }
        let value = arguments.next().and_then(|text| text.parse().ok());
        let number: u64 = value.ok_or_else(|| format!("{name} wants a number"))?;
        match name.as_str() {
            "--seeds" => options.seeds = number,
            "--from" => options.from = number,
            "--seed" => options.seed = Some(number),
            _ => return Err(format!("there is no option {name}")),
        }
    }
    Ok(options)
}

/// A closed pipe ends the output, not the run.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn one(seed: u64, trace: bool) -> ExitCode {
    let (result, text) = traced(seed, trace);
    if trace {
        say(&text);
    }
    match result {
        Ok(report) => {
            say(&format!("{report:?}\n1 passed, 0 failed"));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&format!("{failure}\n0 passed, 1 failed"));
            ExitCode::FAILURE
        }
    }
}

fn many(options: &Options) -> ExitCode {
    let mut seeds = kept_seeds();
    seeds.extend(options.from..options.from.saturating_add(options.seeds));
    let mut failures: Vec<Failure> = Vec::new();
    match enumerate() {
        Ok(points) => say(&format!("crash matrix: {points} crash points")),
        Err(failure) => failures.push(failure),
    }
    failures.extend(run_all(&seeds));
    for failure in failures.iter().take(20) {
        say(&failure.to_string());
    }
    say(&format!("{} passed, {} failed", (seeds.len() + 1).saturating_sub(failures.len()), failures.len()));
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(seeds: &[u64]) -> Vec<Failure> {
    /// A sign of life every so many seeds.
    const PROGRESS: u64 = 1_000;
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = seeds.get(at as usize) else { break };
            if let Err(failure) = run(*seed)
                && let Ok(mut failures) = failures.lock()
            {
                failures.push(failure);
            }
            if at > 0 && at.is_multiple_of(PROGRESS) {
                say(&format!("{at} of {} seeds", seeds.len()));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort_by_key(|failure| failure.seed);
    failures
}
