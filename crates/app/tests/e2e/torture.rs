//! Thirty agents in mixed states, and `kill -9` of the engine alone, of the workers alone and of both, at random
//! moments: nobody is lost who lived, no task ever has two live attempts, and all pass in the end.
//! `scripts/torture` runs it for many rounds.

use std::time::Duration;

use crate::support::plain::{number_of, tell};
use crate::support::processes::Listed;
use crate::support::{Bench, Chance, Running, send_all, wait_at_most};

/// A few in each run of the tests; `ROPEWALK_TEST_ROUNDS` asks for more.
const ROUNDS: u64 = 2;

const AGENTS: u64 = 30;
/// Fewer than agents, so that some wait in the queue.
const SLOTS: &str = "24";

/// The longest time between two kills.
const PAUSE_MS: u64 = 900;

/// A round that is not over by then will never be.
const ROUND: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kill {
    Engine,
    Workers,
    Both,
}

/// What an agent does, by chance: all pass, at the latest in their third attempt.
fn steps(chance: &mut Chance) -> String {
    let wait = chance.below(1_500);
    match chance.below(10) {
        0 => format!("become deaf; wait {wait}"),
        1 => format!("leave orphan+session hang; wait {wait}"),
        2 => format!("leave session hang; wait {wait}"),
        3 => format!("flood 3000000; wait {wait}"),
        4 => format!("wait {wait}; fail 1"),
        5 => format!("become bare; wait {wait}"),
        6 => format!("wait {wait}; first 1 vanish"),
        7 => format!("forks 5; wait {wait}"),
        8 => "say at once".to_owned(),
        _ => format!("wait {wait}"),
    }
}

struct Round {
    bench: Bench,
    number: u64,
    /// `None` before the first start and after a kill.
    engine: Option<Running>,
    tasks: Vec<u64>,
    /// Agents that an engine's death must not have touched.
    must_end: Vec<Listed>,
}

impl Round {
    fn new(number: u64, chance: &mut Chance) -> Round {
        let bench = Bench::bare_of_repository();
        let mut tasks: Vec<u64> = Vec::new();
        for number in 0..AGENTS {
            let agent = format!("exec {}", bench.agent(&steps(chance)));
            // Every fifth waits for one before it.
            let on =
                tasks.get(usize::try_from(chance.below(number.max(1))).unwrap_or(0)).map(ToString::to_string);
            let task = match on {
                Some(on) if number % 5 == 4 => bench.add(&agent, &["--after", &on]),
                _ => bench.add(&agent, &[]),
            };
            tasks.push(task);
        }
        Round { bench, number, engine: None, tasks, must_end: Vec::new() }
    }

    fn start(&mut self) {
        if self.engine.is_none() {
            self.engine = Some(self.bench.spawn_engine(SLOTS, |_| ()));
        }
    }

    fn kill(&mut self, kill: Kill) {
        match kill {
            Kill::Engine => {
                let living = self.agents_alive();
                self.engine.take().map(Running::kill);
                self.must_end.extend(living);
            }
            Kill::Workers => {
                self.bench.kill_workers();
                // Their agents are killed for it, and tried again.
                self.must_end.clear();
            }
            Kill::Both => {
                let mut pids = self.bench.workers();
                pids.extend(self.engine.as_ref().map(|engine| engine.child.id()));
                send_all("-KILL", &pids);
                self.engine.take().map(Running::kill);
                self.must_end.clear();
            }
        }
    }

    /// Agents, without what they left behind, that a worker has reported: an attempt whose `agent.json` is written. One whose
    /// worker was killed before is on its way to its end, though nobody may have got to it yet.
    fn agents_alive(&self) -> Vec<Listed> {
        let workers = self.bench.workers();
        let is_agent = |listed: &Listed| {
            let key = format!("{}.{}", listed.name, listed.attempt);
            let has_worker = self.bench.worker_of(&key).is_some_and(|pid| workers.contains(&pid));
            let is_reported = self.bench.note(&key, "agent.json").is_some();
            listed.is_alive() && !listed.name.contains('-') && is_reported && has_worker
        };
        self.bench.listed().into_iter().filter(is_agent).collect()
    }

    /// To the end: all pass.
    fn finish(&mut self) {
        self.start();
        let Some(engine) = self.engine.take() else { return };
        let ran = engine.wait();
        if ran.code != Some(0) {
            let open = self.bench.not_done(&self.tasks);
            let tasks: Vec<_> = open.iter().map(|(task, _)| self.bench.task(*task).to_string()).collect();
            panic!("round {}: {ran}\n{}", self.number, tasks.join("\n"));
        }
    }

    fn assert_well(&self) {
        let open = self.bench.not_done(&self.tasks);
        assert!(open.is_empty(), "round {}: not done: {open:?}", self.number);
        self.bench.assert_no_clash();
        let record = self.bench.record();
        for agent in &self.must_end {
            let mut own = record.iter().filter(|record| record.pid == agent.pid && record.task == agent.name);
            let attempt = self.bench.task(agent.name.parse().expect("a task"))["attempts_made"]
                [agent.attempt as usize - 1]
                .clone();
            // `vanish` leaves no end in the record.
            let has_ended = own.any(|record| record.what == "end") || attempt["outcome"] == "failed";
            assert!(has_ended, "round {}: {agent:?} was lost with its engine: {attempt}", self.number);
        }
        let gone = wait_at_most(Duration::from_secs(10), || self.bench.processes().is_empty().then_some(()));
        assert!(gone.is_some(), "round {}: left over: {:#?}", self.number, self.bench.processes());
        assert!(self.bench.listed().iter().all(|listed| !listed.is_alive()));
    }
}

fn torture(rounds: u64, seed: u64) {
    tell(&format!("seed {seed}; again with scripts/torture {rounds} {seed}"));
    let mut chance = Chance(seed);
    for number in 1..=rounds {
        let mut round = Round::new(number, &mut chance);
        let began = std::time::Instant::now();
        // Two of the three at most cost an attempt: a task that is lost three times running waits for a person.
        let mut kills = [Kill::Engine, Kill::Workers, Kill::Both];
        let at = usize::try_from(chance.below(3)).unwrap_or(0);
        kills.rotate_left(at);
        if chance.below(2) == 0 {
            kills.swap(1, 2);
        }
        for kill in kills {
            round.start();
            let until = std::time::Instant::now() + Duration::from_millis(chance.below(PAUSE_MS));
            while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
                std::thread::park_timeout(left);
            }
            round.kill(kill);
        }
        round.finish();
        round.assert_well();
        assert!(began.elapsed() < ROUND, "round {number} took {:?}", began.elapsed());
        let attempts = round.bench.record().iter().filter(|record| record.what == "start").count();
        tell(&format!("round {number}: {kills:?}, {attempts} starts, {:?}", began.elapsed()));
    }
}

fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    number_of("ROPEWALK_TEST_SEED", u64::from(clock.subsec_nanos()) | 1)
}

#[test]
fn killed_at_random_moments_nobody_is_lost_who_lived_and_nobody_lives_twice() {
    torture(number_of("ROPEWALK_TEST_ROUNDS", ROUNDS), seed());
}
