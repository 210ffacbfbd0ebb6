//! One history: documents, commands, crashes and restarts from a seed, and the loop that drives them.

use std::collections::BTreeMap;
use std::fmt;

use ropewalk_core::command::{AddTasks, AtStop, Command, FromCheckpoint, ImportPrd, Place};
use ropewalk_core::engine::Engine;
use ropewalk_core::event::{Event, ReplyTo};
use ropewalk_core::id::{BranchName, PrdNumber, ProjectId, TaskId};
use ropewalk_core::limits::Limits;
use ropewalk_core::priority::Priority;
use ropewalk_core::row::{PrdBranch, PrdState};
use ropewalk_core::settings::{OnDependencyFailure, Settings};
use ropewalk_core::task::TaskState;
use ropewalk_core::time::Time;
use ropewalk_core::turn;

use crate::chance::{Chance, join};
use crate::document::{self, Draft};
use crate::oracle;
use crate::plan::Wildness;
use crate::store::{CrashPoint, SimStore};
use crate::world::{Broken, SimWorld};

/// A history that has not come to rest after so many turns never will.
const TURNS_MAX: u64 = 60_000;
/// Virtual time that a history may take: a week.
const TIME_MAX_MS: i64 = 7 * 24 * 3_600_000;
/// How long a stop may take: the longest grace, and what git and the checks need.
const STOP_MS_MAX: i64 = 10 * 60_000;
/// Rounds of retrying what is parked once nothing fails by itself any more.
const ROUNDS_MAX: u32 = 40;

/// What a history came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    pub turns: u64,
    pub commits: u64,
    pub crashes: u64,
    pub tasks: usize,
    /// Titles of what landed, sorted.
    pub landed: Vec<String>,
    /// The same seed gives the same number.
    pub transcript: u64,
}

/// A rule that a history broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    pub rule: String,
    pub what: String,
    /// The transcript, when asked for.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {}: {}\n  cargo run --release -p ropewalk-sim -- --seed {} --trace",
            self.seed, self.rule, self.what, self.seed
        )
    }
}

impl std::error::Error for Failure {}

/// Runs the history of a seed.
///
/// # Errors
/// The first rule that it breaks.
pub fn run(seed: u64) -> Result<Report, Failure> {
    traced(seed, false).0
}

/// As [`run`], with the transcript as text. A panic of the engine is a broken rule like any other.
pub fn traced(seed: u64, trace: bool) -> (Result<Report, Failure>, String) {
    let mut history = History::random(seed, trace);
    let play = || history.play().and_then(|()| history.finish());
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned()));
        Err(Broken { rule: "the engine does not panic", what: text.unwrap_or_default() })
    });
    history.report(result)
}

/// Crashes a small fixed history at every commit, before and after it, one after another.
///
/// # Errors
/// The first crash point at which a rule breaks, or another set lands than without a crash.
pub fn enumerate() -> Result<u64, Failure> {
    let play = |point| {
        let mut history = History::fixed(point);
        let result = history.play().and_then(|()| history.finish());
        history.report(result).0
    };
    let whole = play(None)?;
    for commit in 1..=whole.commits {
        for point in [CrashPoint::Before(commit), CrashPoint::After(commit)] {
            let report = play(Some(point))?;
            if report.landed != whole.landed {
                let what = format!("{point:?}: {:?} instead of {:?}", report.landed, whole.landed);
                let rule = "the same lands whatever the crash".to_owned();
                return Err(Failure { seed: 0, rule, what, trace: String::new() });
            }
        }
    }
    Ok(whole.commits * 2)
}

struct History {
    seed: u64,
    chance: Chance,
    limits: Limits,
    store: SimStore,
    world: SimWorld,
    engine: Engine,
    slots: u32,
    drafts: Vec<(ProjectId, Draft)>,
    /// What people ask for, and when.
    script: BTreeMap<(Time, u32), Asked>,
    /// Asked again after each crash, as a person would who got no answer.
    again: Option<Asked>,
    crashes_left: u32,
    crashes: u64,
    turns: u64,
    replies: u64,
    policies_changed: bool,
}

/// A person's intent; what it names is chosen when its time has come.
#[derive(Clone, Debug)]
enum Asked {
    Import {
        draft: usize,
        edited: bool,
        approve: bool,
        trust_passes: bool,
    },
    Something,
    /// There is room on the disk again.
    Room,
}

impl History {
    fn random(seed: u64, trace: bool) -> History {
        let mut chance = Chance::new(join(&[seed, 0xda7a]));
        let levels = [0, 60, 150, 300];
        let wild = Wildness {
            ends_badly: levels[chance.below(4) as usize],
            check_is_red: levels[chance.below(4) as usize],
            git_fault: if chance.thousandths(300) { 20 } else { 0 },
            files: *chance.pick(&[4, 20, 200]).unwrap_or(&20),
        };
        let crashes = if chance.thousandths(600) { chance.between(1, 8) as u32 } else { 0 };
        let mut history = History::new(seed, chance, wild, trace);
        history.crashes_left = crashes;
        let projects = history.chance.between(1, 2) as u32;
        for number in 1..=projects {
            history.add_project(number);
        }
        let prds = history.chance.between(1, 3);
        for at in 0..prds {
            let project = ProjectId(1 + history.chance.below(u64::from(projects)) as u32);
            let key = history.chance.thousandths(700).then(|| format!("PRD-{:03}", at + 1));
            let draft = document::random(&mut history.chance, key);
            history.drafts.push((project, draft));
            let when = if at == 0 { 1 } else { history.chance.below(200_000) };
            history.ask_import(when, at as usize, false);
        }
        let commands = if history.chance.thousandths(700) { history.chance.below(30) } else { 0 };
        for _ in 0..commands {
            let when = history.chance.below(900_000);
            history.ask(when, Asked::Something);
        }
        history
    }

    /// A diamond, a chain, two that conflict, and nothing that fails by itself.
    fn fixed(crash_at: Option<CrashPoint>) -> History {
        let wild = Wildness { files: 3, ..Wildness::default() };
        let mut history = History::new(7, Chance::new(7), wild, false);
        history.add_project(1);
        let story = |number: u32, depends_on: &[u32]| document::DraftStory {
            number,
            title: format!("story {number}"),
            priority: None,
            claimed: false,
            depends_on: depends_on.to_vec(),
        };
        let stories = vec![
            story(1, &[]),
            story(2, &[1]),
            story(3, &[1]),
            story(4, &[2, 3]),
            story(5, &[4]),
            story(6, &[]),
            story(7, &[]),
        ];
        let key = Some("PRD-001".to_owned());
        let draft = Draft { key, title: "fixed".into(), branch: None, has_placeholders: false, stories };
        history.drafts.push((ProjectId(1), draft));
        let import = Asked::Import { draft: 0, edited: false, approve: true, trust_passes: false };
        history.again = Some(import.clone());
        history.ask(1, import);
        history.store.crash_at(crash_at);
        history
    }

    fn new(seed: u64, mut chance: Chance, wild: Wildness, trace: bool) -> History {
        let store = SimStore::new();
        let limits = Limits::default();
        let slots = chance.between(1, 6) as u32;
        let mut world = SimWorld::new(&store, seed, wild, trace);
        world.set_slots(slots);
        let mut engine = Engine::new(limits.clone());
        engine.set_slots(slots);
        History {
            seed,
            chance,
            limits,
            store,
            world,
            engine,
            slots,
            drafts: Vec::new(),
            script: BTreeMap::new(),
            again: None,
            crashes_left: 0,
            crashes: 0,
            turns: 0,
            replies: 0,
            policies_changed: false,
        }
    }

    fn report(self, result: Result<(), Broken>) -> (Result<Report, Failure>, String) {
        let text = self.world.transcript.text().to_owned();
        let result = match result {
            Ok(()) => {
                let rows = self.store.rows();
                let is_landed = |state: &TaskState| matches!(state, TaskState::Done { .. });
                let landed = rows.tasks.values().filter(|task| is_landed(&task.state));
                let mut landed: Vec<String> = landed.map(|task| task.title.clone()).collect();
                landed.sort();
                Ok(Report {
                    seed: self.seed,
                    turns: self.turns,
                    commits: self.store.commits(),
                    crashes: self.crashes,
                    tasks: rows.tasks.len(),
                    landed,
                    transcript: self.world.transcript.hash(),
                })
            }
            Err(broken) => Err(Failure {
                seed: self.seed,
                rule: broken.rule.to_owned(),
                what: broken.what,
                trace: text.clone(),
            }),
        };
        (result, text)
    }

    fn ask(&mut self, after_ms: u64, asked: Asked) {
        let at = self.world.now().plus_ms(after_ms);
        let number = self.script.len() as u32;
        self.script.insert((at, number), asked);
    }

    fn ask_import(&mut self, after_ms: u64, draft: usize, edited: bool) {
        let approve = self.chance.thousandths(800);
        let trust_passes = self.chance.thousandths(150);
        self.ask(after_ms, Asked::Import { draft, edited, approve, trust_passes });
    }

    fn settings(&mut self) -> Settings {
        let policy = match self.chance.below(6) {
            0 => Some(OnDependencyFailure::Skip),
            1 => Some(OnDependencyFailure::Run),
            2 => Some(OnDependencyFailure::Block),
            _ => None,
        };
        Settings {
            on_dependency_failure: policy,
            auto_land: self.chance.thousandths(400).then_some(true),
            attempts_max: self.chance.thousandths(300).then(|| self.chance.between(1, 4) as u32),
            ..Settings::default()
        }
    }

    /// The repository, and its row: without a crash, since everything else names it.
    fn add_project(&mut self, number: u32) {
        let base = BranchName::new("main").expect("a plain branch");
        self.world.add_repository(ProjectId(number), base);
        let checks = (number == 1).then(|| vec!["make check".to_owned()]);
        let settings = Settings { checks, ..self.settings() };
        let command = self.project_command(number, settings);
        let event = Event::Command { reply_to: ReplyTo(0), command: Box::new(command) };
        let now = self.world.now();
        turn::turn(&mut self.engine, &mut self.store, &mut self.world, now, [event])
            .expect("no crash is set yet");
        self.world.take_answers();
    }

    fn project_command(&self, number: u32, settings: Settings) -> Command {
        Command::AddProject {
            top: format!("/home/user/project-{number}"),
            common_dir: format!("/home/user/project-{number}/.git"),
            base: BranchName::new("main").expect("a plain branch"),
            settings: Box::new(settings),
        }
    }

    /// Everything that the script holds, with faults.
    fn play(&mut self) -> Result<(), Broken> {
        self.plan_crash();
        self.drive()
    }

    /// The faults stop; what is parked is tried again; then the oracle looks.
    fn finish(&mut self) -> Result<(), Broken> {
        self.world.calm_down();
        self.crashes_left = 0;
        self.store.crash_at(None);
        if self.slots == 0 {
            self.slots = 2;
            self.world.set_slots(2);
        }
        self.restart()?;
        for _ in 0..ROUNDS_MAX {
            self.drive()?;
            let parked = oracle::to_retry(&self.store);
            if parked.is_empty() {
                break;
            }
            let commands = parked.into_iter().map(|task| Command::Retry { task, from: None }).collect();
            self.turn(commands, Vec::new())?;
        }
        self.drain()?;
        oracle::live_state_is_the_rows(&self.engine, &self.store, &self.limits)?;
        oracle::end(&self.store, &self.world, self.policies_changed)
    }

    /// Lets end what nobody waits for.
    fn drain(&mut self) -> Result<(), Broken> {
        while self.world.is_busy() {
            self.step(Vec::new())?;
        }
        self.drive()
    }

    /// Until nothing is asked for any more and the engine is at rest.
    fn drive(&mut self) -> Result<(), Broken> {
        while !(self.script.is_empty() && self.engine.is_at_rest() && self.world.is_idle()) {
            self.step(Vec::new())?;
        }
        Ok(())
    }

    /// Goes on to the next thing that happens, is due or is asked for.
    fn step(&mut self, mut commands: Vec<Command>) -> Result<(), Broken> {
        let now = self.world.now();
        let asked = self.script.keys().next().map(|(at, _)| *at);
        let timer = self.engine.next_timer();
        let Some(next) = self.world.next().into_iter().chain(asked).chain(timer).min() else {
            let what = "the engine waits, and nothing will ever happen".to_owned();
            return Err(Broken { rule: "everything comes to rest", what });
        };
        let to = next.max(now);
        if to.0 > TIME_MAX_MS || self.turns > TURNS_MAX {
            let what = format!("{} turns, {} ms", self.turns, to.0);
            return Err(Broken { rule: "everything comes to rest", what });
        }
        let mut events = self.world.advance(to);
        if timer.is_some_and(|timer| timer <= to) {
            events.push(Event::Tick);
        }
        while let Some(entry) = self.script.first_entry().filter(|entry| entry.key().0 <= to) {
            let asked = entry.remove();
            commands.extend(self.command(asked));
        }
        let is_stop = commands.iter().any(|command| matches!(command, Command::Stop { .. }));
        self.turn(commands, events)?;
        if is_stop && self.engine.is_stopping() {
            return self.stop();
        }
        Ok(())
    }

    /// A stop was asked for: everything ends, and then the engine is left and started again.
    fn stop(&mut self) -> Result<(), Broken> {
        let until = self.world.now().0 + STOP_MS_MAX;
        while self.engine.is_stopping() && !self.engine.is_quiet() {
            if self.world.now().0 > until {
                let what = format!("{} attempts are left", self.engine.slots_used());
                return Err(Broken { rule: "a stop comes to its end", what });
            }
            self.step(Vec::new())?;
        }
        if self.engine.is_stopping() {
            self.restart()?;
        }
        Ok(())
    }

    fn turn(&mut self, commands: Vec<Command>, mut events: Vec<Event>) -> Result<(), Broken> {
        self.turns += 1;
        let asked: Vec<ReplyTo> = commands
            .into_iter()
            .map(|command| {
                self.replies += 1;
                let reply_to = ReplyTo(self.replies);
                events.push(Event::Command { reply_to, command: Box::new(command) });
                reply_to
            })
            .collect();
        let now = self.world.now();
        for event in &events {
            self.world.transcript.line(now, event);
        }
        let result = turn::turn(&mut self.engine, &mut self.store, &mut self.world, now, events);
        let answered: Vec<ReplyTo> = self.world.take_answers().into_iter().map(|(to, _)| to).collect();
        self.look()?;
        if result.is_err() || self.world.has_stopped() {
            return self.restart_after_crash();
        }
        if answered != asked {
            let what = format!("{asked:?} asked, {answered:?} answered");
            return Err(Broken { rule: "each command is answered once, in order", what });
        }
        self.check()
    }

    fn look(&self) -> Result<(), Broken> {
        self.world.broken().cloned().map_or(Ok(()), Err)
    }

    fn check(&mut self) -> Result<(), Broken> {
        if let Err(violation) = self.engine.check() {
            return Err(Broken { rule: violation.rule, what: violation.what });
        }
        if self.turns.is_multiple_of(32) {
            oracle::live_state_is_the_rows(&self.engine, &self.store, &self.limits)?;
        }
        Ok(())
    }

    fn restart_after_crash(&mut self) -> Result<(), Broken> {
        self.crashes += 1;
        if let Some(asked) = self.again.clone() {
            self.ask(100, asked);
        }
        self.restart()
    }

    /// The engine's process ends, now, and another one starts a while later.
    fn restart(&mut self) -> Result<(), Broken> {
        loop {
            self.world.crash();
            self.store.crash_at(None);
            let downtime = if self.chance.thousandths(100) { 300_000 } else { 2_000 };
            let to = self.world.now().plus_ms(self.chance.below(downtime));
            // What happens meanwhile, nobody hears.
            self.world.advance(to);
            self.plan_crash();
            let (limits, slots) = (self.limits.clone(), self.slots);
            let started = turn::start(limits, &mut self.store, &mut self.world, to, |engine| {
                engine.set_slots(slots);
            });
            self.look()?;
            match started {
                Ok(engine) if !self.world.has_stopped() => {
                    self.engine = engine;
                    self.check()?;
                    return oracle::live_state_is_the_rows(&self.engine, &self.store, &self.limits);
                }
                Ok(_) | Err(_) => self.crashes += 1,
            }
        }
    }

    /// Draws the next crash: at a commit, or in the middle of the effects after one.
    fn plan_crash(&mut self) {
        if self.crashes_left == 0 {
            return;
        }
        self.crashes_left -= 1;
        let after = self.store.commits() + self.chance.between(1, 60);
        match self.chance.below(3) {
            0 => self.store.crash_at(Some(CrashPoint::Before(after))),
            1 => self.store.crash_at(Some(CrashPoint::After(after))),
            _ => self.world.stop_after(Some(self.chance.between(1, 60) as u32)),
        }
    }

    // What people ask for.

    fn command(&mut self, asked: Asked) -> Option<Command> {
        match asked {
            Asked::Import { draft, edited, approve, trust_passes } => {
                Some(self.import(draft, edited, approve, trust_passes))
            }
            Asked::Something => self.something(),
            Asked::Room => {
                self.world.room(None);
                None
            }
        }
    }

    fn import(&mut self, at: usize, edited: bool, approve: bool, trust_passes: bool) -> Command {
        if edited {
            document::edit(&mut self.chance, &mut self.drafts[at].1);
        }
        let (project, draft) = self.drafts[at].clone();
        let settings = if edited && self.chance.thousandths(800) {
            Settings::default()
        } else {
            // A file with a key may mean a PRD that another file without one was given this key for.
            let is_known = draft
                .key
                .as_ref()
                .is_some_and(|key| self.store.rows().prds.values().any(|(prd, _)| prd.key.as_str() == key));
            self.policies_changed |= edited || is_known;
            self.settings()
        };
        Command::ImportPrd(Box::new(ImportPrd {
            project,
            document: document::document(&draft),
            key: None,
            source: Some(format!("/home/user/prd-{at}.json")),
            approve,
            trust_passes,
            settings,
        }))
    }

    fn any_task(&mut self) -> Option<TaskId> {
        let ids: Vec<TaskId> = self.store.rows().tasks.keys().copied().collect();
        self.chance.pick(&ids).copied()
    }

    fn any_prd(&mut self) -> Option<PrdNumber> {
        let numbers: Vec<PrdNumber> = self.store.rows().prds.keys().copied().collect();
        self.chance.pick(&numbers).copied()
    }

    fn something(&mut self) -> Option<Command> {
        match self.chance.below(24) {
            0..=3 => {
                let count = self.chance.between(1, 3);
                Some(Command::Cancel { tasks: (0..count).filter_map(|_| self.any_task()).collect() })
            }
            4..=7 => Some(Command::Retry { task: self.any_task()?, from: None }),
            8 => Some(Command::Retry { task: self.any_task()?, from: Some(FromCheckpoint::Latest) }),
            9 if self.chance.thousandths(400) => Some(Command::Hold { prd: self.any_prd()? }),
            10 if self.chance.thousandths(300) => {
                Some(Command::SetPrdsAtOnce { prds: self.chance.between(1, 3) as u32 })
            }
            9 | 10 => Some(Command::Approve { prd: self.any_prd()? }),
            11 if self.chance.thousandths(300) => {
                Some(Command::Abandon { prd: self.any_prd()?, reason: "no more".into() })
            }
            12 if self.chance.thousandths(300) => {
                Some(Command::Complete { prd: self.any_prd()?, force: self.chance.thousandths(500) })
            }
            11..=13 => Some(Command::Land { prd: self.any_prd()?, partial: self.chance.thousandths(500) }),
            14 | 15 => {
                let draft = self.chance.below(self.drafts.len() as u64) as usize;
                let (approve, trust) = (self.chance.thousandths(500), self.chance.thousandths(100));
                Some(self.import(draft, true, approve, trust))
            }
            16 | 17 => self.add_tasks(),
            18 => {
                self.slots = self.chance.below(6) as u32;
                if self.slots == 0 {
                    self.slots = 1;
                }
                self.world.set_slots(self.slots);
                Some(Command::SetSlots { slots: self.slots })
            }
            19 => {
                // A person comes back to the rest of the work in the end.
                self.ask(120_000, Asked::Something);
                let on = if self.chance.thousandths(500) { None } else { Some(vec![self.any_prd()?]) };
                Some(Command::Focus { on })
            }
            20 if self.chance.thousandths(300) => {
                self.policies_changed = true;
                let checks = Some(vec!["make check".to_owned()]);
                let settings = Settings { checks, ..self.settings() };
                Some(self.project_command(1, settings))
            }
            20 | 21 => {
                self.stranger();
                None
            }
            22 if self.chance.thousandths(600) => Some(Command::Checkpoint { task: self.any_task()? }),
            22 => {
                // Somebody makes room again in the end.
                let is_full = self.chance.thousandths(500);
                if is_full {
                    self.ask(90_000, Asked::Room);
                }
                self.world.room(is_full.then(|| "the disk is full".to_owned()));
                None
            }
            _ => {
                let grace_ms = *self.chance.pick(&[0, 500, 45_000])?;
                let then = if self.chance.thousandths(500) { AtStop::End } else { AtStop::Leave };
                Some(Command::Stop { grace_ms, then })
            }
        }
    }

    fn add_tasks(&mut self) -> Option<Command> {
        let project = self.drafts.first()?.0;
        let place = if self.chance.thousandths(500) {
            Place::Worktree { project }
        } else {
            Place::Folder { project: None, folder: "/tmp/folder".into() }
        };
        let after = (0..self.chance.below(3)).filter_map(|_| self.any_task()).collect();
        Some(Command::AddTasks(Box::new(AddTasks {
            title: "a single task".into(),
            place,
            priority: Priority::default(),
            after,
            count: self.chance.between(1, 3) as u32,
            settings: Settings::default(),
        })))
    }

    /// Somebody outside commits to the base or to a PRD's branch.
    fn stranger(&mut self) {
        let project = self.drafts[0].0;
        let of_project = |branch: &PrdBranch| branch.made().cloned();
        let mut branches = vec![BranchName::new("main").expect("a plain branch")];
        branches.extend(
            self.store
                .rows()
                .prds
                .values()
                .filter(|(prd, _)| prd.project == project && prd.state == PrdState::Active)
                .filter_map(|(prd, _)| of_project(&prd.branch)),
        );
        let file = self.chance.below(200) as u32;
        if let Some(branch) = self.chance.pick(&branches).cloned() {
            self.world.stranger(project, &branch, file);
        }
    }
}
