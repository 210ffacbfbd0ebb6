//! `bench output`: how much of a child's speed the capture of its output leaves, beside the child alone and
//! beside the least work possible, all in one run. Every stored byte is compared with what was printed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ropewalk_host::durable::create_private_folder;
use ropewalk_host::measure;
use ropewalk_host::pool::{Pool, WorkerEvent};
use ropewalk_host::worker::protocol::{Assignment, OutputRules};
use ropewalk_host::worker::record::End;
use serde_json::json;

use super::folder::Folder;
use super::log;
use crate::cli::BenchOutput;
use crate::failure::Failure;
use crate::out::Out;
use crate::table::table;

/// For one child on the slowest disk; what it takes is what is measured.
const TIMEOUT_MS: u64 = 30 * 60_000;

/// How a child's output gets into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    OwnFile,
    Direct,
    Splice,
    Filtered,
}

impl Way {
    const ALL: [Way; 4] = [Way::OwnFile, Way::Direct, Way::Splice, Way::Filtered];

    fn name(self) -> &'static str {
        match self {
            Way::OwnFile => "the child alone, into its own file",
            Way::Direct => "captured by a worker, directly",
            Way::Splice => "moved by splice from its pipe",
            Way::Filtered => "captured by a worker, filtered",
        }
    }
}

pub(super) fn output(bench: &BenchOutput, out: &Out) -> Result<u8, Failure> {
    let folder = Folder::new(bench.dir.as_deref())?;
    let site = Site::new(&folder.0, bench.mib)?;
    let mut rounds = Vec::new();
    for _ in 0..bench.rounds.max(1) {
        let mut times = [Duration::ZERO; 4];
        for (way, time) in Way::ALL.into_iter().zip(&mut times) {
            *time = site.measure(way)?;
        }
        rounds.push(times);
    }
    let memory = [Way::Direct, Way::Filtered].map(|way| site.memory_peak_bytes(way));
    site.direct.pool.close(false);
    site.filtered.pool.close(false);
    report(&rounds, site.bytes(), memory, out);
    Ok(0)
}

/// Speeds are those of each way's best round: what else the machine does only ever takes away.
fn report(rounds: &[[Duration; 4]], bytes: u64, memory: [Option<u64>; 2], out: &Out) {
    let seconds = |way: usize| rounds.iter().map(move |times| times[way].as_secs_f64());
    let best = |way: usize| seconds(way).fold(f64::INFINITY, f64::min);
    let speed = |way: usize| bytes as f64 / best(way) / 1e6;
    let direct = best(0) / best(1);
    let filtered = best(2) / best(3);
    let kilobytes =
        |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| format!("{} kB", bytes / 1_000));
    let ways: Vec<_> = Way::ALL
        .iter()
        .enumerate()
        .map(|(at, way)| {
            let seconds: Vec<f64> = seconds(at).collect();
            json!({"way": way.name(), "mb_per_s": speed(at), "seconds": seconds})
        })
        .collect();
    if out.is_json() {
        out.json(&json!({
            "bytes": bytes, "rounds": rounds.len(), "ways": ways, "identical": true,
            "direct_to_own_file": direct, "filtered_to_splice": filtered,
            "worker_memory_peak_bytes": {"direct": memory[0], "filtered": memory[1]},
        }));
        return;
    }
    let rows = Way::ALL.iter().enumerate().map(|(at, way)| {
        let beside = match way {
            Way::Direct => format!("{direct:.2} of the child alone"),
            Way::Filtered => format!("{filtered:.2} of splice"),
            Way::OwnFile | Way::Splice => String::new(),
        };
        let memory = match way {
            Way::Direct => kilobytes(memory[0]),
            Way::Filtered => kilobytes(memory[1]),
            Way::OwnFile | Way::Splice => String::new(),
        };
        vec![way.name().to_owned(), format!("{:.0} MB/s", speed(at)), beside, memory]
    });
    out.say(&table(&["way", "best speed", "beside", "worker's memory"], rows));
    out.say(&format!("every stored byte was compared: {} MiB each, {} rounds", bytes >> 20, rounds.len()));
}

struct Site {
    folder: PathBuf,
    /// This program, which is also the child.
    program: PathBuf,
    printed: Vec<u8>,
    redacted: Vec<u8>,
    times: u64,
    direct: Crew,
    filtered: Crew,
}

/// A pool with one worker, and what it tells.
struct Crew {
    pool: Pool,
    events: Receiver<WorkerEvent>,
}

fn failed(what: &str) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| Failure::broken(format!("{what}: {error}"))
}

impl Site {
    fn new(folder: &Path, mib: u64) -> Result<Site, Failure> {
        let program = std::env::current_exe().map_err(failed("this program's own path cannot be read"))?;
        let crew = |name: &str| -> Result<Crew, Failure> {
            let (sender, events) = channel();
            let start = vec![program.clone().into_os_string(), "worker".into()];
            // The receiver is gone only when nobody measures any more.
            let pool = Pool::open(&folder.join(name), start, 1, move |event| drop(sender.send(event)));
            Ok(Crew { pool: pool.map_err(|error| Failure::broken(error.to_string()))?, events })
        };
        let (direct, filtered) = (crew("direct")?, crew("filtered")?);
        let printed = log::block(false);
        fs::write(folder.join("log"), &printed).map_err(failed("the log cannot be written"))?;
        let times = (mib << 20).div_ceil(printed.len() as u64);
        let redacted = log::block(true);
        Ok(Site { folder: folder.to_owned(), program, printed, redacted, times, direct, filtered })
    }

    fn bytes(&self) -> u64 {
        self.printed.len() as u64 * self.times
    }

    fn measure(&self, way: Way) -> Result<Duration, Failure> {
        measure::settle();
        let (time, stored) = match way {
            Way::OwnFile => self.own_file()?,
            Way::Splice => self.splice()?,
            Way::Direct => self.captured(way, &self.direct, OutputRules::default())?,
            Way::Filtered => {
                let rules = OutputRules { secrets: vec![log::SECRET.to_owned()], ..OutputRules::default() };
                self.captured(way, &self.filtered, rules)?
            }
        };
        let expected = if way == Way::Filtered { &self.redacted } else { &self.printed };
        if !is_repeated(&stored, expected, self.times).map_err(failed("what was stored cannot be read"))? {
            return Err(Failure::broken(format!("{}: what was stored is not what was printed", way.name()))
                .hint(format!("it was in {}", stored.display())));
        }
        fs::remove_file(&stored).map_err(failed("what was stored cannot be removed"))?;
        Ok(time)
    }

    /// The child's arguments.
    fn arguments(&self) -> Vec<String> {
        let log = self.folder.join("log").display().to_string();
        ["bench", "print", &log, &self.times.to_string()].map(str::to_owned).into()
    }

    fn own_file(&self) -> Result<(Duration, PathBuf), Failure> {
        let path = self.folder.join("own");
        let time = measure::own_file(&self.program, &self.arguments(), &path).map_err(failed("the child"))?;
        Ok((time, path))
    }

    fn splice(&self) -> Result<(Duration, PathBuf), Failure> {
        let path = self.folder.join("spliced");
        let time = measure::spliced(&self.program, &self.arguments(), &path).map_err(failed("the child"))?;
        Ok((time, path))
    }

    fn captured(&self, way: Way, crew: &Crew, output: OutputRules) -> Result<(Duration, PathBuf), Failure> {
        let folder = self.attempt(way);
        // Of the round before.
        let _ = fs::remove_dir_all(&folder);
        create_private_folder(&folder).map_err(|error| Failure::broken(error.to_string()))?;
        let mut argv = vec![self.program.display().to_string()];
        argv.extend(self.arguments());
        // The cap is no part of the measurement.
        let output = OutputRules { bytes_max: u64::MAX, ..output };
        let assignment = Assignment {
            key: format!("bench-{way:?}"),
            folder: folder.clone(),
            argv,
            dir: folder.clone(),
            env: Vec::new(),
            stdin: None,
            timeout_ms: TIMEOUT_MS,
            grace_ms: 0,
            program: None,
            bounds: Default::default(),
            stall_ms: None,
            output,
        };
        crew.pool.run(assignment).map_err(|error| Failure::broken(error.to_string()))?;
        loop {
            match crew.events.recv() {
                Ok(WorkerEvent::Ended { record, .. }) if record.end == (End::Exited { code: 0 }) => {
                    // Without the writing of notes before and after, which has nothing to do with how much is
                    // printed.
                    return Ok((Duration::from_millis(record.usage.wall_ms.max(1)), folder.join("stdout")));
                }
                Ok(WorkerEvent::Ended { record, .. }) => {
                    return Err(Failure::broken(format!("the child ended as {:?}", record.end)));
                }
                Ok(WorkerEvent::Lost { detail, .. }) => return Err(Failure::broken(detail)),
                Ok(_) => {}
                Err(_) => return Err(Failure::broken("the pool has ended")),
            }
        }
    }

    fn attempt(&self, way: Way) -> PathBuf {
        self.folder.join(format!("attempt-{way:?}"))
    }

    fn memory_peak_bytes(&self, way: Way) -> Option<u64> {
        measure::worker_memory_peak_bytes(&self.attempt(way)).ok().flatten()
    }
}

/// Whether a file holds a block so many times and nothing else.
fn is_repeated(path: &Path, block: &[u8], times: u64) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != block.len() as u64 * times {
        return Ok(false);
    }
    let mut buffer = vec![0; block.len()];
    for _ in 0..times {
        file.read_exact(&mut buffer)?;
        if buffer != block {
            return Ok(false);
        }
    }
    Ok(true)
}
