//! The engine's rules, event by event. A test feeds events and looks at exactly what comes back; each step ends
//! with the invariants.

mod attempts;
mod checkpoints;
mod commands;
mod dependencies;
mod imports;
mod landing;
mod recovery;
mod stops;
mod trains;

use super::{Engine, Known, Step};
use crate::attempt::{Collected, Exit, ExitKind};
use crate::candidate::{CandidateState, MergedCommit};
use crate::command::AtStop;
use crate::command::{AddTasks, Answer, Command, Done, ImportPrd, Imported, Place};
use crate::effect::Effect;
use crate::event::{BranchResult, CheckResult, Event, LandResult, MergeResult, ReplyTo};
use crate::id::{AttemptId, AttemptNumber, BranchName, Oid, PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use crate::limits::Limits;
use crate::prd::{PrdDocument, StoryDocument};
use crate::priority::Priority;
use crate::row::{Prd, Progress, Story};
use crate::settings::Settings;
use crate::task::{Task, TaskState};
use crate::time::Time;

const PRD: PrdNumber = PrdNumber(1);

/// An engine with a clock, and the stories that a store would hold.
struct Bench {
    engine: Engine,
    now: Time,
    stories: Vec<Story>,
}

fn oid(digit: char) -> Oid {
    Oid::new(&digit.to_string().repeat(40)).expect("hexadecimal")
}

fn branch(name: &str) -> BranchName {
    BranchName::new(name).expect(name)
}

fn attempt(task: u64, number: u32) -> AttemptId {
    AttemptId { task: TaskId(task), number: AttemptNumber(number) }
}

fn exit(kind: ExitKind) -> Exit {
    Exit { tail: "last line".into(), ..Exit::new(kind, "seen") }
}

/// A stop that gives nobody time.
fn stop_now() -> Command {
    Command::Stop { grace_ms: 0, then: AtStop::End }
}

fn merged(digit: char) -> MergedCommit {
    MergedCommit { onto: oid('0'), commit: oid(digit), tree: oid('f') }
}

/// A document whose stories are `US-1`, `US-2` …; each names the places, from 1, of what it depends on.
fn document(stories: &[&[u32]]) -> PrdDocument {
    let story = |(at, on): (usize, &&[u32])| StoryDocument {
        id: StoryId::new(&format!("US-{}", at + 1)).expect("a plain id"),
        title: format!("story {}", at + 1),
        priority: Priority::ABSENT,
        depends_on: on.iter().map(|n| n - 1).collect(),
        claimed: false,
        files: Vec::new(),
        criteria: Vec::new(),
        description: String::new(),
        body: "{}".into(),
        hash: at as u64,
    };
    PrdDocument {
        key: PrdKey::new("PRD-001").ok(),
        stories: stories.iter().enumerate().map(story).collect(),
        ..PrdDocument::default()
    }
}

fn import(document: PrdDocument) -> ImportPrd {
    ImportPrd {
        project: ProjectId(1),
        document,
        key: None,
        source: Some("/prd.json".into()),
        approve: true,
        trust_passes: false,
        settings: Settings::default(),
    }
}

impl Bench {
    /// A project of these settings, and nothing else.
    fn with(settings: Settings) -> Bench {
        let mut bench = Bench { engine: Engine::new(Limits::default()), now: Time(0), stories: Vec::new() };
        let command = Command::AddProject {
            top: "/p".into(),
            common_dir: "/p/.git".into(),
            base: branch("main"),
            settings: Box::new(settings),
        };
        bench.ask(command).expect("a new project");
        bench
    }

    /// An approved PRD with its branch made; tasks 1, 2 … are its stories.
    fn of(stories: &[&[u32]]) -> Bench {
        Bench::of_with(stories, Settings::default()).0
    }

    /// The same in a project of these settings, with the effects of its last step.
    fn of_with(stories: &[&[u32]], settings: Settings) -> (Bench, Vec<Effect>) {
        let mut bench = Bench::with(settings);
        bench.import(import(document(stories))).expect("accepted");
        let effects = bench.make_branch();
        (bench, effects)
    }

    fn make_branch(&mut self) -> Vec<Effect> {
        let planned = BranchResult::Planned { name: branch("feature/PRD-001"), at: oid('0') };
        let _ = self.feed(Event::Branch { prd: PRD, result: planned });
        self.feed(Event::Branch { prd: PRD, result: BranchResult::Made }).effects
    }

    fn step(&mut self, event: Event, known: Known) -> Step {
        let mut step = self.engine.decide(self.now, event, known);
        let scheduled = self.engine.schedule(self.now);
        step.changes.extend(scheduled.changes);
        step.effects.extend(scheduled.effects);
        self.engine.forget_finished();
        self.engine.check().expect("the invariants hold");
        for change in &step.changes {
            if let crate::change::Change::StoryPut(story) = change {
                self.stories.retain(|old| old.id != story.id);
                self.stories.push((**story).clone());
            }
        }
        step
    }

    fn feed(&mut self, event: Event) -> Step {
        self.step(event, Known::default())
    }

    fn command(&mut self, command: Command) -> (Answer, Vec<Effect>) {
        self.command_knowing(command, Known::default())
    }

    fn command_knowing(&mut self, command: Command, known: Known) -> (Answer, Vec<Effect>) {
        let event = Event::Command { reply_to: ReplyTo(1), command: Box::new(command) };
        let mut step = self.step(event, known);
        assert_eq!(step.replies.len(), 1);
        let (_, answer) = step.replies.remove(0);
        if answer.is_err() {
            assert_eq!(step.changes, [], "a refused command changes nothing");
        }
        (answer, step.effects)
    }

    fn ask(&mut self, command: Command) -> Answer {
        self.command(command).0
    }

    /// Imports as the loop does: what the store would know of the PRD is handed in.
    fn import(&mut self, import: ImportPrd) -> Result<Imported, String> {
        let known = match self.engine.prd(PRD) {
            Some((prd, progress)) => self.known(prd.clone(), *progress, Vec::new()),
            None => Known::default(),
        };
        let command = Command::ImportPrd(Box::new(import));
        match self.command_knowing(command, known).0 {
            Ok(Done::Imported(imported)) => Ok(imported),
            Ok(other) => Err(format!("{other:?}")),
            Err(refusal) => Err(refusal.text),
        }
    }

    fn known(&self, prd: Prd, progress: Progress, tasks: Vec<Task>) -> Known {
        Known { prds: vec![(prd, progress)], stories: self.stories.clone(), tasks, ..Known::default() }
    }

    fn after_ms(&mut self, ms: u64) -> &mut Bench {
        self.now = self.now.plus_ms(ms);
        self
    }

    fn state(&self, task: u64) -> &'static str {
        self.engine.task(TaskId(task)).map_or("forgotten", |task| task.state.name())
    }

    fn task(&self, task: u64) -> &Task {
        self.engine.task(TaskId(task)).expect("in memory")
    }

    fn exits(&mut self, id: AttemptId, kind: ExitKind) -> Vec<Effect> {
        self.feed(Event::AttemptExited { attempt: id, exit: exit(kind) }).effects
    }

    fn collected(&mut self, id: AttemptId) -> Vec<Effect> {
        let collected = Collected::Commit { head: oid('a'), changed: true };
        self.feed(Event::AttemptCollected { attempt: id, collected }).effects
    }

    /// The attempt's agent ends so, and what it left is read.
    fn ends(&mut self, id: AttemptId, kind: ExitKind) -> Vec<Effect> {
        self.exits(id, kind);
        self.collected(id)
    }

    fn merges(&mut self, id: AttemptId, result: MergeResult) -> Vec<Effect> {
        self.merges_all(vec![(id, result)])
    }

    /// The train's merges, in their order.
    fn merges_all(&mut self, results: Vec<(AttemptId, MergeResult)>) -> Vec<Effect> {
        let target = self.engine.candidates.get(&results[0].0.task).map(|c| c.target.clone());
        let target = target.unwrap_or_else(|| branch("feature/PRD-001"));
        self.feed(Event::Merged { project: ProjectId(1), target, results }).effects
    }

    fn checks(&mut self, id: AttemptId, result: CheckResult) -> Vec<Effect> {
        let (commit, run) = match self.engine.candidates.get(&id.task).map(|candidate| &candidate.state) {
            Some(CandidateState::Checking { merged, reds }) => (merged.commit.to_string(), reds + 1),
            _ => (String::new(), 1),
        };
        self.feed(Event::Checked { candidate: id, commit, run, result }).effects
    }

    fn lands(&mut self, id: AttemptId, result: LandResult) -> Vec<Effect> {
        self.feed(Event::Landed { candidate: id, result }).effects
    }

    /// The attempt passes and lands without checks.
    fn succeeds(&mut self, id: AttemptId) -> Vec<Effect> {
        self.ends(id, ExitKind::Success);
        self.merges(id, MergeResult::Merged(merged('b')));
        self.lands(id, LandResult::Landed)
    }

    /// Brings a task's first attempt to the point where its branch is about to move.
    fn bring_to_landing(&mut self, id: AttemptId) {
        self.ends(id, ExitKind::Success);
        self.merges(id, MergeResult::Merged(merged('b')));
    }

    fn add(&mut self, place: Place, after: &[u64]) -> Vec<TaskId> {
        let add = AddTasks {
            title: "single".into(),
            place,
            priority: Priority::ABSENT,
            after: after.iter().map(|id| TaskId(*id)).collect(),
            count: 1,
            settings: Settings::default(),
        };
        match self.ask(Command::AddTasks(Box::new(add))) {
            Ok(Done::Tasks { tasks }) => tasks,
            other => panic!("{other:?}"),
        }
    }

    fn why(&self, task: u64) -> String {
        self.engine.why(TaskId(task)).expect("in memory").reasons.join("; ")
    }
}

fn folder() -> Place {
    Place::Folder { project: None, folder: "/tmp".into() }
}

fn start(task: u64, number: u32) -> Effect {
    Effect::Start { attempt: attempt(task, number) }
}

fn merge(task: u64, number: u32, at: Time) -> Effect {
    merge_all(&[(task, number, at)])
}

/// A train of attempts' commits.
fn merge_all(cars: &[(u64, u32, Time)]) -> Effect {
    let car = |&(task, number, date): &(u64, u32, Time)| crate::effect::Car {
        candidate: attempt(task, number),
        source: crate::candidate::Source::Commit(oid('a')),
        date,
        method: crate::settings::LandMethod::Merge,
    };
    let cars = cars.iter().map(car).collect();
    Effect::Merge { project: ProjectId(1), target: branch("feature/PRD-001"), cars }
}

fn check(task: u64, number: u32, merged: MergedCommit, run: u32) -> Effect {
    Effect::Check { candidate: attempt(task, number), project: ProjectId(1), merged, run }
}

fn red() -> CheckResult {
    CheckResult::Failed { text: "test FAILED".into() }
}

fn land(task: u64, number: u32, digit: char) -> Effect {
    Effect::Land {
        candidate: attempt(task, number),
        project: ProjectId(1),
        target: branch("feature/PRD-001"),
        merged: merged(digit),
        follow: None,
    }
}

fn checked() -> Settings {
    Settings { checks: Some(vec!["make check".into()]), ..Settings::default() }
}

fn is_landing_state(state: &CandidateState) -> bool {
    matches!(state, CandidateState::Landing { .. })
}

fn is_ready_later(task: &Task, now: Time) -> bool {
    matches!(task.state, TaskState::Ready { not_before, .. } if not_before > now)
}
