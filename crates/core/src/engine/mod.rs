//! The engine: the live part of the rows, and the one function that changes it.
//!
//! [`Engine::decide`] turns one event into changes, effects and answers. Each change goes through
//! [`Engine::apply`] the moment it is decided, because a decision's later changes build on its earlier ones (a
//! story lands, its dependents become ready, one of them takes the slot). Recovery uses the same `apply` on the
//! rows. The engine knows no store and no world: if a commit fails, it is thrown away and built anew.

mod apply;
mod attempts;
mod check;
mod checkpoints;
mod commands;
mod dependencies;
mod import;
mod landing;
mod queue;
mod recover;
mod refusals;
mod sampling;
mod schedule;
mod stop;
#[cfg(test)]
mod tests;
mod train;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::attempt::Attempt;
use crate::candidate::Candidate;
use crate::change::{Change, Note, NoteKind, TaskMoved};
use crate::checkpoint::Checkpoint;
use crate::command::{Answer, AtStop, Command};
use crate::effect::Effect;
use crate::event::{Event, ReplyTo};
use crate::id::{AttemptId, BranchName, PrdKey, PrdNumber, ProjectId, TaskId};
use crate::limits::{Limits, shorten};
use crate::port::Snapshot;
use crate::row::{Prd, Progress, Project, Story};
use crate::settings::{OnDependencyFailure, Settings};
use crate::task::{Task, TaskState};
use crate::time::Time;

pub use check::Violation;
pub use why::Why;

/// The live state. See the module's text.
#[derive(Clone, Debug)]
pub struct Engine {
    limits: Limits,
    now: Time,
    projects: BTreeMap<ProjectId, Project>,
    prds: BTreeMap<PrdNumber, LivePrd>,
    tasks: FxHashMap<TaskId, LiveTask>,
    /// The live attempt of each leased task.
    attempts: BTreeMap<TaskId, LiveAttempt>,
    /// The latest candidate of each task that is landing, or parked with a candidate worth keeping.
    candidates: BTreeMap<TaskId, Candidate>,
    /// The merge queues: who waits, by target, in order of urgency and age.
    queues: BTreeMap<Target, BTreeSet<(i64, AttemptId)>>,
    /// The train of each target: the tasks whose candidates are being merged, checked or landed together.
    trains: BTreeMap<Target, BTreeSet<TaskId>>,
    /// Tasks that could start now, best first.
    ready: BTreeSet<(i64, TaskId)>,
    /// Tasks that could start later (backoff), soonest first.
    waiting: BTreeSet<(Time, TaskId)>,
    last_task: u64,
    last_prd: u32,
    last_project: u32,
    /// Tasks that became final: forgotten at the end of the turn.
    finished: Vec<TaskId>,
    // From here on: not durable, set anew by whoever runs the engine.
    slots: u32,
    prds_at_once: u32,
    /// PRDs that are being worked on; the others wait for one of these to end or to have nothing to do.
    at_work: BTreeSet<PrdNumber>,
    /// PRDs that may start work; `None`: all.
    focus: Option<BTreeSet<PrdNumber>>,
    stopping: Option<Stopping>,
    /// Why no new work may start for want of room on a disk.
    shortage: Option<String>,
    pace: Pace,
    branches_asked: BTreeSet<PrdNumber>,
    branch_faults: BTreeMap<PrdNumber, String>,
    /// The candidate of each target on whose merge checks were asked for.
    checking: BTreeMap<Target, AttemptId>,
}

type Target = (ProjectId, BranchName);

#[derive(Clone, Debug)]
struct LivePrd {
    prd: Prd,
    progress: Progress,
    /// Its tasks that are in memory.
    tasks: BTreeSet<TaskId>,
}

#[derive(Clone, Debug)]
struct LiveTask {
    task: Task,
    /// Dependencies that are not met.
    unmet: u32,
    dependents: Vec<TaskId>,
}

#[derive(Clone, Debug)]
struct LiveAttempt {
    attempt: Attempt,
    /// When its worker counts as gone. Not durable: sign-of-life is no news worth a disk write.
    lease_until: Time,
    /// When the next checkpoint is due; `None`: only at its end.
    checkpoint_at: Option<Time>,
}

/// What one event brought about.
#[derive(Debug, Default, PartialEq)]
#[must_use = "changes must be committed before effects are performed"]
pub struct Step {
    pub changes: Vec<Change>,
    pub effects: Vec<Effect>,
    pub replies: Vec<(ReplyTo, Answer)>,
}

/// Rows that a command speaks of and that the engine does not hold, read from the store before it decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    pub prds: Vec<(Prd, Progress)>,
    pub stories: Vec<Story>,
    pub tasks: Vec<Task>,
    pub checkpoints: Vec<Checkpoint>,
    /// For an import without a key of its own: `PRD-NNN` that nothing in the store bears.
    pub free_key: Option<PrdKey>,
    /// For an import that means a PRD of ours: the file that one came from.
    pub source: Option<String>,
}

/// What a command needs to be read from the store first.
#[derive(Clone, Debug, PartialEq)]
pub enum Wants {
    Nothing,
    Tasks(Vec<TaskId>),
    Prd(PrdNumber),
    /// The checkpoints of a task, and the task if it is not in memory.
    Checkpoints(TaskId),
    /// The PRD that an import may mean, with all its stories and their tasks, or a free key from this number on.
    Import {
        next: u32,
    },
}

impl Engine {
    /// An engine that holds nothing: for a new store.
    pub fn new(limits: Limits) -> Engine {
        let (slots, prds_at_once) = (limits.slots, limits.prds_at_once);
        Engine {
            limits,
            prds_at_once,
            at_work: BTreeSet::new(),
            now: Time::default(),
            projects: BTreeMap::new(),
            prds: BTreeMap::new(),
            tasks: FxHashMap::default(),
            attempts: BTreeMap::new(),
            candidates: BTreeMap::new(),
            queues: BTreeMap::new(),
            trains: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            last_task: 0,
            last_prd: 0,
            last_project: 0,
            finished: Vec::new(),
            slots,
            focus: None,
            stopping: None,
            shortage: None,
            pace: Pace::default(),
            branches_asked: BTreeSet::new(),
            branch_faults: BTreeMap::new(),
            checking: BTreeMap::new(),
        }
    }

    /// Turns one event into what must become durable and what to do next. `known` holds what [`Engine::wants`]
    /// asked for.
    pub fn decide(&mut self, now: Time, event: Event, known: Known) -> Step {
        self.now = self.now.max(now);
        let mut step = Step::default();
        match event {
            Event::Command { reply_to, command } => {
                let answer = self.on_command(&mut step, *command, known);
                step.replies.push((reply_to, answer));
            }
            Event::Tick => self.on_tick(&mut step),
            Event::Branch { prd, result } => self.on_branch(&mut step, prd, result),
            Event::AttemptStarted { attempt, start, rung } => {
                self.on_started(&mut step, attempt, start, rung)
            }
            Event::AttemptNearDeadline { attempt, left_ms } => {
                self.on_near_deadline(&mut step, attempt, left_ms)
            }
            Event::Checkpointed { attempt, why, result } => {
                self.on_checkpointed(&mut step, attempt, why, result)
            }
            Event::Sampled { machine } => self.on_sampled(&mut step, machine),
            Event::HistoryOld { samples, checkpoints_before } => {
                if !samples.is_empty() {
                    self.emit(&mut step, Change::SamplesForgotten(samples));
                }
                self.emit(&mut step, Change::CheckpointsForgotten { before: checkpoints_before });
            }
            Event::Room { shortage } => self.shortage = shortage,
            Event::AttemptAlive { attempt } => self.on_alive(attempt),
            Event::AttemptExited { attempt, exit } => self.on_exited(&mut step, attempt, exit),
            Event::AttemptCollected { attempt, collected } => {
                self.on_collected(&mut step, attempt, collected)
            }
            Event::Merged { project, target, results } => {
                self.on_merged(&mut step, &(project, target), results)
            }
            Event::Checked { candidate, commit, run, result } => {
                self.on_checked(&mut step, candidate, (&commit, run), result)
            }
            Event::Landed { candidate, result } => self.on_landed(&mut step, candidate, result),
        }
        step
    }

    /// What must be read before this command can be decided.
    pub fn wants(&self, command: &Command) -> Wants {
        let absent = |tasks: &[TaskId]| {
            let absent: Vec<_> = tasks.iter().copied().filter(|id| !self.tasks.contains_key(id)).collect();
            if absent.is_empty() { Wants::Nothing } else { Wants::Tasks(absent) }
        };
        match command {
            Command::ImportPrd(_) => Wants::Import { next: self.last_prd + 1 },
            Command::AddTasks(add) => absent(&add.after),
            Command::AddDependency { task, on } => Wants::Tasks(vec![*task, *on]),
            Command::Cancel { tasks } => absent(tasks),
            // What a cancelled task depends on may have been cancelled too, and be forgotten.
            Command::Retry { task, from: Some(_) } => Wants::Checkpoints(*task),
            Command::Retry { task, from: None } => match self.tasks.get(task).map(|live| &live.task) {
                Some(task) if task.state.is_final() => absent(&task.depends_on),
                Some(_) => Wants::Nothing,
                None => Wants::Tasks(vec![*task]),
            },
            Command::Approve { prd }
            | Command::Abandon { prd, .. }
            | Command::Complete { prd, .. }
            | Command::Hold { prd }
            | Command::Land { prd, .. } => {
                if self.prds.contains_key(prd) {
                    Wants::Nothing
                } else {
                    Wants::Prd(*prd)
                }
            }
            Command::AddProject { .. }
            | Command::Focus { .. }
            | Command::FocusAlso { .. }
            | Command::SetSlots { .. }
            | Command::SetPrdsAtOnce { .. }
            | Command::Checkpoint { .. }
            | Command::Review { .. }
            | Command::Stop { .. } => Wants::Nothing,
        }
    }

    /// Decides a change, applies it and puts it down for the commit.
    fn emit(&mut self, step: &mut Step, change: Change) {
        self.apply(&change);
        step.changes.push(change);
    }

    /// Moves a task. Whoever calls has looked at its state; an illegal move is a defect of ours.
    fn move_task(&mut self, step: &mut Step, task: TaskId, edit: impl FnOnce(&mut TaskMoved)) {
        let Some(live) = self.tasks.get(&task) else { return };
        let mut moved = TaskMoved {
            task,
            version: live.task.version + 1,
            state: live.task.state.clone(),
            attempts: live.task.attempts,
            tally: live.task.tally,
            resume: live.task.resume.clone(),
        };
        edit(&mut moved);
        if moved.state == live.task.state
            && moved.attempts == live.task.attempts
            && moved.tally == live.task.tally
            && moved.resume == live.task.resume
        {
            return;
        }
        debug_assert!(
            live.task.state.may_become(&moved.state),
            "task {task}: {} -> {}",
            live.task.state.name(),
            moved.state.name()
        );
        self.emit(step, Change::TaskMoved(moved));
        self.settle_dependents(step, task);
    }

    /// Puts a line into the history.
    fn note(&mut self, step: &mut Step, kind: NoteKind, about: About, text: &str) {
        let note = Note {
            at: self.now,
            kind,
            prd: about.prd,
            task: about.task,
            attempt: about.attempt,
            text: shorten(text, self.limits.detail_bytes_max),
        };
        self.emit(step, Change::Noted(note));
    }

    fn about(&self, task: TaskId) -> About {
        let live = self.tasks.get(&task);
        About {
            prd: live.and_then(|live| live.task.prd),
            task: Some(task),
            attempt: live.map(|live| live.task.attempts).filter(|n| *n > 0),
        }
    }

    /// The settings in force for a task: its own over its PRD's over its project's.
    fn settings_of(&self, task: &Task) -> Settings {
        let project = task
            .project
            .and_then(|id| self.projects.get(&id))
            .map(|p| p.settings.clone())
            .unwrap_or_default();
        let prd = task
            .prd
            .and_then(|id| self.prds.get(&id))
            .map(|p| p.prd.settings.over(&project))
            .unwrap_or(project);
        task.settings.over(&prd)
    }

    /// The policy alone, without copying environments: asked once per edge.
    fn policy_of(&self, task: &Task) -> OnDependencyFailure {
        let prd =
            || task.prd.and_then(|id| self.prds.get(&id)).and_then(|p| p.prd.settings.on_dependency_failure);
        let project = || {
            task.project.and_then(|id| self.projects.get(&id)).and_then(|p| p.settings.on_dependency_failure)
        };
        task.settings.on_dependency_failure.or_else(prd).or_else(project).unwrap_or_default()
    }

    /// The branch that a PRD starts from and lands on.
    fn base_of(&self, prd: &Prd) -> Option<BranchName> {
        let project = self.projects.get(&prd.project)?;
        let set = prd.settings.base.clone().or_else(|| project.settings.base.clone());
        Some(set.unwrap_or_else(|| project.base.clone()))
    }

    /// Attempts that are live, hence slots in use.
    pub fn slots_used(&self) -> usize {
        self.attempts.len()
    }

    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// Sets the number of slots. Attempts beyond a smaller number run to their end.
    pub fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// What is not durable: slots, focus, and whether it is stopping.
    pub fn clone_settings(&self) -> EngineSettings {
        EngineSettings {
            slots: self.slots,
            prds_at_once: self.prds_at_once,
            at_work: self.at_work.clone(),
            focus: self.focus.clone(),
            stopping: self.stopping,
            pace: self.pace,
        }
    }

    /// Takes what is not durable over from an engine that was thrown away.
    pub fn take_settings(&mut self, settings: EngineSettings) {
        self.slots = settings.slots;
        self.prds_at_once = settings.prds_at_once;
        self.at_work = settings.at_work;
        self.focus = settings.focus;
        self.stopping = settings.stopping;
        self.pace = settings.pace;
        for prd in self.prds.keys().copied().collect::<Vec<_>>() {
            self.relist_prd(prd);
        }
    }

    /// Lets no PRD start work until it is put in focus. Single tasks may.
    pub fn focus_on_nothing(&mut self) {
        self.focus = Some(BTreeSet::new());
        for prd in self.prds.keys().copied().collect::<Vec<_>>() {
            self.relist_prd(prd);
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Nothing runs that is not to go on alone, and no ref is about to move: the engine may be left.
    pub fn is_quiet(&self) -> bool {
        (self.attempts.is_empty() || self.leaves_attempts())
            && !self.trains.values().flatten().any(|task| {
                self.candidates.get(task).is_some_and(|c| {
                    use crate::candidate::CandidateState::*;
                    matches!(c.state, Merging | Landing { .. })
                })
            })
    }

    /// Nothing runs or lands, and nothing will before somebody asks for something.
    pub fn is_at_rest(&self) -> bool {
        let branch_pending = self.branches_asked.iter().any(|prd| !self.branch_faults.contains_key(prd));
        self.attempts.is_empty()
            && self.trains.is_empty()
            && self.queues.values().all(BTreeSet::is_empty)
            && (self.slots == 0 || self.ready.is_empty())
            && self.waiting.is_empty()
            && !branch_pending
    }

    pub fn projects(&self) -> impl Iterator<Item = &Project> {
        self.projects.values()
    }

    /// What is known of the room on the disks before the first look of whoever watches them.
    pub fn set_shortage(&mut self, shortage: Option<String>) {
        self.shortage = shortage;
    }

    pub fn project(&self, id: ProjectId) -> Option<&Project> {
        self.projects.get(&id)
    }

    /// A PRD that is draft or active, or was a moment ago.
    pub fn prd(&self, number: PrdNumber) -> Option<(&Prd, &Progress)> {
        self.prds.get(&number).map(|live| (&live.prd, &live.progress))
    }

    /// PRDs in memory, by number.
    pub fn prds(&self) -> impl Iterator<Item = (&Prd, &Progress)> {
        self.prds.values().map(|live| (&live.prd, &live.progress))
    }

    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id).map(|live| &live.task)
    }

    /// Live attempts, by task.
    pub fn attempts(&self) -> impl Iterator<Item = (&Task, &Attempt)> {
        self.attempts.iter().filter_map(|(id, live)| Some((&self.tasks.get(id)?.task, &live.attempt)))
    }

    /// Candidates that are not final, by task.
    pub fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.values().filter(|c| !c.state.is_final())
    }

    /// Tasks in memory that wait for a person.
    pub fn parked(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values().map(|live| &live.task).filter(|t| matches!(t.state, TaskState::Parked { .. }))
    }

    /// The faults that keep PRDs from having a branch.
    pub fn branch_faults(&self) -> impl Iterator<Item = (PrdNumber, &str)> {
        self.branch_faults.iter().map(|(prd, text)| (*prd, text.as_str()))
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Whether attempts that still run are to be left to their workers now.
    pub fn leaves_attempts(&self) -> bool {
        self.stopping.is_some_and(|stopping| stopping.is_over && stopping.then == AtStop::Leave)
    }

    /// How long attempts still have to end by themselves before a stop goes on.
    pub fn stop_left_ms(&self, now: Time) -> Option<u64> {
        self.stopping.filter(|stopping| !stopping.is_over).map(|stopping| stopping.until.ms_since(now))
    }

    /// Why no new work may start for want of room.
    pub fn shortage(&self) -> Option<&str> {
        self.shortage.as_deref()
    }

    /// Builds the engine from what a store holds.
    pub fn restore(limits: Limits, snapshot: Snapshot) -> Engine {
        recover::restore(limits, snapshot)
    }
}

/// The part of an engine that no store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    slots: u32,
    prds_at_once: u32,
    at_work: BTreeSet<PrdNumber>,
    focus: Option<BTreeSet<PrdNumber>>,
    stopping: Option<Stopping>,
    pace: Pace,
}

/// A stop under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stopping {
    /// Until then attempts may end by themselves.
    until: Time,
    then: AtStop,
    /// Whether that time is over.
    is_over: bool,
}

/// How attempts have ended since the last sample. Not durable: a picture, not a fact that anything rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pace {
    ended: u64,
    ended_ms: u64,
    done: u64,
    failed: u64,
}

/// What a note is about.
#[derive(Clone, Copy, Debug, Default)]
struct About {
    prd: Option<PrdNumber>,
    task: Option<TaskId>,
    attempt: Option<u32>,
}

impl About {
    fn prd(prd: PrdNumber) -> About {
        About { prd: Some(prd), ..About::default() }
    }
}
