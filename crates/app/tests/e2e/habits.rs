//! Every bad habit of an agent x every way that an attempt ends x every rung of containment: nothing that it
//! started is alive two seconds after its end, no zombie is left, the outcome has the right name, and nobody else is
//! disturbed. Many cells share an engine: most of them wait most of the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_core::resource::Rung;
use serde_json::Value;

use crate::support::processes::{Listed, zombies_of};
use crate::support::{Bench, Record, Running, send, wait_at_most, wait_for};

/// What the issue promises: so long after an attempt's end nothing of it is alive.
const GONE_MS: i64 = 2_000;

/// By how much a look comes late: it reads every process of a hundred agents, beside another test, on two cores.
const LOOK_MS: i64 = 1_000;

/// A cell that has not come to its end by then never will.
const CELL: Duration = Duration::from_secs(60);

/// Attempts at once: enough for the waits to overlap, few enough for two slow cores.
const SLOTS: &str = "24";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    /// The agent comes to its own end.
    Itself,
    Cancel,
    Timeout,
    WorkerKilled,
    /// The engine is killed, the next one is told to leave, each time the next one adopts the attempt, and it comes
    /// to its own end.
    EngineKilled,
    /// The engine is told to stop, and to end what runs.
    Stop,
}

use Ending::{Cancel, EngineKilled, Itself, Stop, Timeout, WorkerKilled};

/// The endings that one engine's life sees many of.
const SMALL: [Ending; 4] = [Itself, Cancel, Timeout, WorkerKilled];

struct Habit {
    name: &'static str,
    /// What the fake agent does before it says that it is ready, and waits.
    steps: &'static str,
    /// The endings that it lives to see.
    endings: &'static [Ending],
}

const ALL: &[Ending] = &[Itself, Cancel, Timeout, WorkerKilled, EngineKilled, Stop];

const fn habit(name: &'static str, steps: &'static str) -> Habit {
    Habit { name, steps, endings: ALL }
}

// Those that the code below names, because they end otherwise.
const HALTS: &str = "stops itself";
const DIES: &str = "dies of SIGKILL";
const KILLS_PARENT: &str = "kills its parent";
const KILLS_WORKER: &str = "kills its worker";
const ESCAPES_MOST: &str = "double-forks, a session of its own, no environment, deaf";
const CHAIN: &str = "a chain of ever new processes";

const HABITS: [Habit; 23] = [
    Habit { name: "exits at once", steps: "say done", endings: &[Itself] },
    Habit { name: DIES, steps: "mark ready; vanish", endings: &[Itself] },
    Habit { name: KILLS_PARENT, steps: "leave orphan+session hang; mark ready; orphan", endings: &[Itself] },
    Habit { name: KILLS_WORKER, steps: "leave orphan+session hang; mark ready; orphan", endings: &[Itself] },
    habit("sleeps", ""),
    habit("ignores TERM", "become deaf"),
    habit(HALTS, "mark ready; halt"),
    habit("double-forks", "leave orphan hang"),
    habit("leads a session", "become session"),
    habit("leaves a session", "leave session hang"),
    habit("clears its environment", "become bare"),
    habit("leaves one without environment", "leave bare hang"),
    habit(ESCAPES_MOST, "leave orphan+session+bare+deaf hang"),
    habit("closes its output", "become shut"),
    habit("holds the pipe", "leave plain hang"),
    habit("floods", "flood 8000000"),
    habit("prints one endless line", "endless 4000000"),
    habit("prints random bytes", "noise 4000000 7"),
    habit("eats memory", "eat 64"),
    habit("forks often", "forks 100"),
    habit(CHAIN, "leave orphan chain"),
    habit("opens all descriptors", "files 100000"),
    habit("burns processor and fills a disk", "leave plain burn 60000; fill big 8000000"),
];

/// What a rung is known not to hold: documented weakness, not to be taken for strength. Everything else is held.
fn may_escape(rung: Rung, habit: &str, ending: Ending) -> bool {
    match rung {
        Rung::Cgroup => false,
        // With the worker goes the knowledge of who descended from it.
        Rung::Subreaper => [ESCAPES_MOST, CHAIN].contains(&habit) && ending == WorkerKilled,
        Rung::Group => [ESCAPES_MOST, CHAIN].contains(&habit),
    }
}

struct Cell {
    habit: &'static str,
    ending: Ending,
    task: u64,
    is_ready: bool,
    has_ended: bool,
    /// Milliseconds since 1970 from when on none of its processes was alive any more.
    gone_at_ms: Option<i64>,
}

impl Cell {
    fn key(&self) -> String {
        format!("{}.1", self.task)
    }

    fn gate(&self) -> String {
        gate(self.habit, self.ending)
    }

    fn is_it(&self, record: &Record, what: &str) -> bool {
        record.what == what && record.attempt == 1 && record.task == self.task.to_string()
    }
}

fn gate(habit: &str, ending: Ending) -> String {
    let place = HABITS.iter().position(|other| other.name == habit).unwrap_or_default();
    format!("go-{place}-{ending:?}")
}

struct World {
    bench: Bench,
    rung: Rung,
    faults: Vec<String>,
}

fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl World {
    fn new(rung: Rung) -> World {
        World { bench: Bench::bare_of_repository(), rung, faults: Vec::new() }
    }

    fn engine(&self) -> Running {
        self.bench.engine(SLOTS, |command| {
            command.env("ROPEWALK_ENGINE_CONTAINMENT", self.rung.name());
            command.env("ROPEWALK_ATTEMPT_KILL_GRACE", "1s");
        })
    }

    fn cells(&self, endings: &[Ending]) -> Vec<Cell> {
        let mut cells = Vec::new();
        for habit in &HABITS {
            for ending in endings.iter().copied().filter(|ending| habit.endings.contains(ending)) {
                // Only the first attempt has the habit: what was lost is tried again, and passes.
                let steps = format!("{}; mark ready; gate {}", habit.steps, gate(habit.name, ending));
                let steps = steps.split(';').map(str::trim).filter(|step| !step.is_empty());
                let steps = steps.map(|step| format!("first 1 {step}")).collect::<Vec<_>>().join("; ");
                let more: &[&str] = if ending == Timeout { &["--timeout", "3s"] } else { &[] };
                let agent = self.bench.agent(&steps);
                // Without a shell in between the parent of an agent is its worker.
                let agent =
                    if habit.name == KILLS_PARENT { agent + "; exit $?" } else { format!("exec {agent}") };
                let task = self.bench.add(&agent, more);
                cells.push(Cell {
                    habit: habit.name,
                    ending,
                    task,
                    is_ready: false,
                    has_ended: false,
                    gone_at_ms: None,
                });
            }
        }
        cells
    }

    fn fault(&mut self, cell: &Cell, what: &str) {
        let Cell { habit, ending, task, .. } = cell;
        self.faults.push(format!("{:?}, {habit}, {ending:?} (task {task}): {what}", self.rung));
    }

    /// Notes which cells have become ready; the value: those that just did.
    fn look_for_ready(&self, cells: &mut [Cell]) -> Vec<usize> {
        let record = self.bench.record();
        let mut news = Vec::new();
        for (at, cell) in cells.iter_mut().enumerate().filter(|(_, cell)| !cell.is_ready) {
            if record.iter().any(|record| cell.is_it(record, "ready")) {
                cell.is_ready = true;
                news.push(at);
            }
        }
        news
    }

    fn wait_until_ready(&mut self, cells: &mut [Cell]) {
        let ready = wait_at_most(CELL, || {
            self.look_for_ready(cells);
            cells.iter().all(|cell| cell.is_ready).then_some(())
        });
        if ready.is_none() {
            let late: Vec<_> = cells.iter().filter(|cell| !cell.is_ready).collect();
            late.into_iter().for_each(|cell| self.fault(cell, "never became ready"));
        }
    }

    /// Lets the agent come to its own end.
    fn let_go(&self, cell: &Cell) {
        self.bench.open_gate(&cell.gate());
        if cell.habit == HALTS {
            let own = self.bench.listed().into_iter().filter(|listed| listed.is_of(cell.task, 1));
            own.for_each(|listed| send("-CONT", listed.pid));
        }
    }

    fn end(&mut self, cells: &[Cell], ready: &[usize]) {
        let mut cancelled = vec!["cancel".to_owned()];
        for cell in ready.iter().map(|at| &cells[*at]) {
            match cell.ending {
                Itself | EngineKilled => self.let_go(cell),
                Cancel => cancelled.push(cell.task.to_string()),
                WorkerKilled => match self.bench.worker_of(&cell.key()) {
                    Some(pid) => send("-KILL", pid),
                    None => self.fault(cell, "has no worker.json"),
                },
                Timeout | Stop => {}
            }
        }
        if cancelled.len() > 1 {
            self.bench.expect(0, &cancelled.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }

    /// Notes which cells' first attempts have ended, and of which all processes are gone. A chain of processes may
    /// seem so for a moment.
    fn look_for_gone(&self, cells: &mut [Cell]) {
        let mut alive: BTreeSet<u64> = BTreeSet::new();
        for listed in self.bench.listed().iter().filter(|listed| listed.attempt == 1 && listed.is_alive()) {
            let name = listed.name.strip_suffix("-left").unwrap_or(&listed.name);
            alive.extend(name.parse::<u64>());
        }
        let second = self.bench.record().into_iter().filter(|record| record.attempt == 2);
        let tried_again: BTreeSet<_> = second.map(|record| record.task).collect();
        for cell in cells.iter_mut() {
            cell.has_ended |= tried_again.contains(&cell.task.to_string())
                || self.bench.note(&cell.key(), "exit.json").is_some();
            match cell.gone_at_ms {
                _ if alive.contains(&cell.task) => cell.gone_at_ms = None,
                Some(_) => {}
                None => cell.gone_at_ms = Some(wall_ms()),
            }
        }
    }

    fn alive_of(&self, task: u64) -> Vec<Listed> {
        self.bench.listed().into_iter().filter(|listed| listed.is_of(task, 1) && listed.is_alive()).collect()
    }

    /// Drives cells to their end: each as soon as it is ready.
    fn drive(&mut self, cells: &mut [Cell]) {
        let until = Instant::now() + CELL;
        loop {
            let ready = self.look_for_ready(cells);
            self.end(cells, &ready);
            self.look_for_gone(cells);
            let is_over = |cell: &Cell| {
                let escapes = may_escape(self.rung, cell.habit, cell.ending);
                cell.has_ended && (cell.gone_at_ms.is_some() || escapes)
            };
            if cells.iter().all(is_over) || Instant::now() > until {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Ended in time, and rightly named.
    fn judge(&mut self, cells: &mut [Cell]) {
        let firsts: Vec<_> = cells.iter().map(|cell| self.first_attempt(cell)).collect();
        let last = firsts.iter().flatten().filter_map(|first| first["finished_at"].as_i64()).max();
        let is_late = || Some(()).filter(|()| wall_ms() > last.unwrap_or_default() + GONE_MS);
        wait_at_most(Duration::from_millis(GONE_MS as u64), is_late);
        self.look_for_gone(cells);
        for (cell, first) in cells.iter().zip(&firsts) {
            match first {
                None => self.fault(cell, "its first attempt never ended"),
                Some(first) if first["outcome"] != wanted(cell) => {
                    self.fault(cell, &format!("{} is wanted: {first}", wanted(cell)));
                }
                Some(first) if first["rung"] != self.rung.name() => {
                    self.fault(cell, &format!("it was held by another rung: {first}"));
                }
                Some(_) => {}
            }
            self.judge_end(cell, first.as_ref().and_then(|first| first["finished_at"].as_i64()));
        }
    }

    fn first_attempt(&self, cell: &Cell) -> Option<Value> {
        wait_at_most(Duration::from_secs(5), || {
            Some(self.bench.task(cell.task)["attempts_made"][0].clone())
                .filter(|first| !first["outcome"].is_null())
        })
    }

    fn judge_end(&mut self, cell: &Cell, finished_at: Option<i64>) {
        let finished_at = finished_at.unwrap_or_else(wall_ms);
        let escapes = may_escape(self.rung, cell.habit, cell.ending);
        match cell.gone_at_ms {
            _ if escapes => {
                self.end_chain(cell.task);
                self.alive_of(cell.task).iter().for_each(|listed| send("-KILL", listed.pid));
            }
            Some(gone_at) if gone_at - finished_at <= GONE_MS + LOOK_MS => {}
            Some(gone_at) => {
                self.fault(cell, &format!("was gone {} ms after its end", gone_at - finished_at))
            }
            None => {
                let alive = self.alive_of(cell.task);
                self.fault(cell, &format!("{} are still alive, such as {:?}", alive.len(), alive.first()));
                self.end_chain(cell.task);
                alive.iter().for_each(|listed| send("-KILL", listed.pid));
            }
        }
    }

    /// A chain that escaped is not caught by its pids.
    fn end_chain(&self, task: u64) {
        self.bench.open_gate(&format!("end-{task}"));
    }

    /// An engine that goes leaves every agent as it is.
    fn judge_survivors(&mut self, cells: &[Cell], before: &BTreeMap<u64, Vec<Listed>>, how: &str) {
        for cell in cells {
            let gone: Vec<_> = before[&cell.task].iter().filter(|listed| !listed.is_alive()).collect();
            // Their pids change all the time, engine or not.
            if !gone.is_empty() && cell.habit != CHAIN {
                self.fault(cell, &format!("died when the engine {how}: {gone:?}"));
            }
        }
    }

    fn judge_zombies(&mut self, engine: u32) {
        let parents = || self.bench.workers().into_iter().chain([engine]).collect::<Vec<_>>();
        let none = || zombies_of(&parents()).is_empty().then_some(());
        if wait_at_most(Duration::from_millis(GONE_MS as u64), none).is_none() {
            self.faults.push(format!("{:?}: zombies of the engine or its workers", self.rung));
        }
    }
}

/// The outcome of a cell's first attempt.
fn wanted(cell: &Cell) -> &'static str {
    match (cell.habit, cell.ending) {
        (DIES | KILLS_PARENT, _) => "failed",
        (KILLS_WORKER, _) | (_, WorkerKilled) => "lost",
        (_, Itself | EngineKilled) => "passed",
        (_, Cancel | Stop) => "cancelled",
        (_, Timeout) => "timed out",
    }
}

/// One matrix at a time: each keeps two cores busy, and they are to be late by nobody's fault but their own.
static ALONE: Mutex<()> = Mutex::new(());

impl Drop for World {
    fn drop(&mut self) {
        self.bench.open_gate("end");
    }
}

fn every_habit_and_ending(rung: Rung) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = World::new(rung);
    let agent = world.bench.agent("gate neighbour; say well");
    let neighbours: Vec<_> = (0..2).map(|_| world.bench.add(&agent, &[])).collect();
    let mut cells = world.cells(&SMALL);
    let engine = world.engine();
    world.drive(&mut cells);
    world.judge(&mut cells);
    world.judge_zombies(engine.child.id());

    // The engine alone is killed under all of them: every agent that lived goes on.
    let mut cells = world.cells(&[EngineKilled]);
    world.wait_until_ready(&mut cells);
    let before: BTreeMap<_, _> = cells.iter().map(|cell| (cell.task, world.alive_of(cell.task))).collect();
    engine.kill();
    let engine = world.engine();
    world.judge_survivors(&cells, &before, "was killed");
    world.bench.expect(0, &["stop", "--leave", "--grace", "0s"]);
    engine.wait();
    let engine = world.engine();
    world.judge_survivors(&cells, &before, "left");
    let all: Vec<_> = (0..cells.len()).collect();
    world.end(&cells, &all);
    world.drive(&mut cells);
    world.judge(&mut cells);
    world.judge_zombies(engine.child.id());

    // Before the neighbours end, or the engine has nothing more to do.
    let mut cells = world.cells(&[Stop]);
    world.bench.open_gate("neighbour");
    for task in neighbours {
        let done = wait_at_most(CELL, || (world.bench.task(task)["state"] == "done").then_some(()));
        let attempts = world.bench.task(task)["attempts"].clone();
        if done.is_none() || attempts != 1 {
            world.faults.push(format!("{rung:?}: a neighbour was disturbed: {}", world.bench.task(task)));
        }
    }

    world.wait_until_ready(&mut cells);
    // It ends when the engine has.
    let stop = world.bench.spawn(&["stop", "--end", "--grace", "0s"]);
    world.drive(&mut cells);
    stop.wait().expect(0);
    engine.wait();
    world.judge(&mut cells);

    world.bench.assert_no_clash();
    let escaped = || Some(()).filter(|()| world.bench.processes().is_empty());
    if wait_at_most(Duration::from_secs(10), escaped).is_none() {
        world.faults.push(format!("{rung:?}: left over in the end: {:#?}", world.bench.processes()));
        world.bench.kill_all();
    }
    assert!(world.faults.is_empty(), "{} faults:\n{}", world.faults.len(), world.faults.join("\n"));
}

/// How many processes the one attempt leaves behind.
const MANY: usize = 5_000;

/// Its worker's end, or its own: for what was started both are the same.
fn thousands_are_gone(rung: Rung, ending: Ending) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = World::new(rung);
    let agent =
        format!("exec {}", world.bench.agent(&format!("first 1 forks {MANY}; mark ready; first 1 gate go")));
    let task = world.bench.add(&agent, &[]);
    let engine = world.engine();
    world.bench.wait_for_record("five thousand", |record| record.what == "ready");
    assert_eq!(world.alive_of(task).len(), MANY + 1);
    match ending {
        WorkerKilled => send("-KILL", world.bench.worker_of(&format!("{task}.1")).expect("a worker")),
        Itself | Cancel | Timeout | EngineKilled | Stop => world.bench.open_gate("go"),
    }
    let mut cells = [Cell { habit: "", ending, task, is_ready: true, has_ended: false, gone_at_ms: None }];
    wait_for("the end of five thousand", || {
        world.look_for_gone(&mut cells);
        cells[0].gone_at_ms
    });
    engine.wait().expect(0);
    world.judge(&mut cells);
    assert!(world.faults.is_empty(), "{}", world.faults.join("\n"));
    assert_eq!(world.bench.processes(), []);
}

#[test]
fn five_thousand_processes_in_a_cgroup_are_gone_with_their_worker() {
    thousands_are_gone(Rung::Cgroup, WorkerKilled);
}

#[test]
fn five_thousand_processes_under_a_subreaper_are_gone_with_their_attempt() {
    thousands_are_gone(Rung::Subreaper, Itself);
}

#[test]
fn five_thousand_processes_in_a_group_are_gone_with_their_worker() {
    thousands_are_gone(Rung::Group, WorkerKilled);
}

#[test]
fn every_habit_is_survived_at_every_ending_in_a_cgroup() {
    every_habit_and_ending(Rung::Cgroup);
}

#[test]
fn every_habit_is_survived_at_every_ending_under_a_subreaper() {
    every_habit_and_ending(Rung::Subreaper);
}

#[test]
fn every_habit_is_survived_at_every_ending_in_a_process_group() {
    every_habit_and_ending(Rung::Group);
}
