//! The world with virtual time: workers that outlive the engine, git, checks, strangers. Knows what was recorded,
//! and refuses to do what was not.

use std::collections::{BTreeMap, BTreeSet};

use ropewalk_core::attempt::{Collected, Exit, ExitKind};
use ropewalk_core::candidate::{CandidateState, MergedCommit};
use ropewalk_core::checkpoint::{CheckpointFacts, CheckpointWhy};
use ropewalk_core::command::Answer;
use ropewalk_core::effect::Effect;
use ropewalk_core::event::{BranchResult, CheckResult, Event, LandResult, MergeResult, ReplyTo};
use ropewalk_core::id::{AttemptId, AttemptNumber, BranchName, Oid, PrdNumber, ProjectId, TaskId};
use ropewalk_core::port::World;
use ropewalk_core::resource::Resource;
use ropewalk_core::row::PrdBranch;
use ropewalk_core::task::{TaskKind, TaskState};
use ropewalk_core::time::Time;

use crate::chance::{Chance, number_of};
use crate::git::Git;
use crate::plan::{End, Plan, Wildness};
use crate::store::SimStore;
use crate::transcript::Transcript;

/// Between two signs of life of a worker: a third of a lease, so that one may be lost.
const BEAT_MS: u64 = 20_000;
/// The most between asking an agent to end and its end.
const GRACE_MS: u64 = 5_000;
/// An attempt's time in these histories.
const TIMEOUT_MS: u64 = 4 * 60_000;

/// A rule that the engine broke, as the world sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

#[derive(Debug)]
pub(crate) struct SimWorld {
    witness: SimStore,
    seed: u64,
    chance: Chance,
    wild: Wildness,
    is_calm: bool,
    now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    /// Counts engines: what was promised to an earlier one reaches nobody.
    engine: u32,
    slots: u32,
    /// So many effects more, then the machine stops; `None`: no end.
    effects_left: Option<u32>,
    workers: BTreeMap<AttemptId, Worker>,
    git: BTreeMap<ProjectId, Git>,
    checked: BTreeSet<Oid>,
    answers: Vec<(ReplyTo, Answer)>,
    broken: Option<Broken>,
    pub(crate) transcript: Transcript,
}

#[derive(Clone, Debug)]
struct Worker {
    state: WorkerState,
    plan: Plan,
    start: Option<Oid>,
    has_worktree: bool,
    /// The engine that its news goes to.
    engine: u32,
    is_released: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum WorkerState {
    Preparing,
    Running,
    Ended(Exit),
    /// It left no record.
    Gone,
}

#[derive(Clone, Debug)]
enum Happening {
    Tell {
        engine: u32,
        event: Event,
    },
    Prepared {
        engine: u32,
        attempt: AttemptId,
    },
    Ends {
        attempt: AttemptId,
        kind: ExitKind,
    },
    Vanishes {
        attempt: AttemptId,
    },
    Beats {
        attempt: AttemptId,
    },
    /// What the engine's own threads do, and what dies with them.
    Acts {
        engine: u32,
        effect: Effect,
    },
}

impl SimWorld {
    pub(crate) fn new(store: &SimStore, seed: u64, wild: Wildness, trace: bool) -> SimWorld {
        SimWorld {
            witness: store.witness(),
            seed,
            chance: Chance::new(seed ^ 0x5eed_0f0e_571d),
            wild,
            is_calm: false,
            now: Time(1_000_000),
            queue: BTreeMap::new(),
            sequence: 0,
            engine: 0,
            slots: u32::MAX,
            effects_left: None,
            workers: BTreeMap::new(),
            git: BTreeMap::new(),
            checked: BTreeSet::new(),
            answers: Vec::new(),
            broken: None,
            transcript: Transcript::new(trace),
        }
    }

    pub(crate) fn add_repository(&mut self, project: ProjectId, base: BranchName) {
        self.git.insert(project, Git::new(base, self.seed ^ u64::from(project.0)));
    }

    pub(crate) fn git(&self, project: ProjectId) -> Option<&Git> {
        self.git.get(&project)
    }

    pub(crate) fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// From now on nothing fails by itself any more.
    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
    }

    pub(crate) fn stop_after(&mut self, effects: Option<u32>) {
        self.effects_left = effects;
    }

    /// Whether the machine stopped in the middle of the effects.
    pub(crate) fn has_stopped(&self) -> bool {
        self.effects_left == Some(0)
    }

    pub(crate) fn take_answers(&mut self) -> Vec<(ReplyTo, Answer)> {
        std::mem::take(&mut self.answers)
    }

    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    pub(crate) fn breach(&mut self, rule: &'static str, what: String) {
        self.broken.get_or_insert(Broken { rule, what });
    }

    /// The engine's process dies: its threads with it, the workers not.
    pub(crate) fn crash(&mut self) {
        self.transcript.line(self.now, &"crash");
        self.engine += 1;
        self.effects_left = None;
        self.workers.retain(|_, worker| worker.state != WorkerState::Preparing);
        let engine = self.engine;
        self.queue.retain(|_, happening| match happening {
            Happening::Tell { engine: of, .. }
            | Happening::Prepared { engine: of, .. }
            | Happening::Acts { engine: of, .. } => *of == engine,
            Happening::Ends { .. } | Happening::Vanishes { .. } | Happening::Beats { .. } => true,
        });
    }

    /// Somebody else commits to a branch, now.
    pub(crate) fn stranger(&mut self, project: ProjectId, branch: &BranchName, file: u32) {
        let number = self.chance.draw();
        if let Some(git) = self.git.get_mut(&project) {
            git.stranger(branch, file, number);
        }
    }

    /// When something happens next.
    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Whether something is under way that the engine will hear of.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Goes on to an instant and lets happen what is due by then; answers what the engine hears of it.
    pub(crate) fn advance(&mut self, to: Time) -> Vec<Event> {
        self.now = self.now.max(to);
        let mut heard = Vec::new();
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= to) {
            match entry.remove() {
                Happening::Tell { engine, event } if engine == self.engine => heard.push(event),
                Happening::Tell { .. } => {}
                Happening::Prepared { engine, attempt } => self.prepared(engine, attempt),
                Happening::Ends { attempt, kind } => self.ends(attempt, kind),
                Happening::Vanishes { attempt } => self.vanishes(attempt),
                Happening::Beats { attempt } => self.beats(attempt),
                Happening::Acts { engine, effect } if engine == self.engine => self.act(effect),
                Happening::Acts { .. } => {}
            }
        }
        heard
    }

    fn after(&mut self, ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now.plus_ms(ms), self.sequence), happening);
    }

    fn tell(&mut self, event: Event) {
        let delay = self.chance.below(30);
        self.after(delay, Happening::Tell { engine: self.engine, event });
    }

    fn fault(&mut self) -> bool {
        !self.is_calm && self.chance.thousandths(self.wild.git_fault)
    }

    // Workers.

    fn start(&mut self, id: AttemptId) {
        let is_recorded = {
            let rows = self.witness.rows();
            rows.attempts.get(&id).is_some_and(|attempt| !attempt.state.is_finished())
                && rows.tasks.get(&id.task).is_some_and(|task| {
                    task.attempt() == id && matches!(task.state, TaskState::Leased { .. })
                })
        };
        if !is_recorded {
            return self.breach("no effect before its commit", format!("start of {id}"));
        }
        let engine = self.engine;
        let Some(worker) = self.workers.get_mut(&id) else { return self.start_new(id) };
        if worker.is_released {
            return self.breach("a released attempt is not started again", id.to_string());
        }
        worker.engine = engine;
        let start = worker.start.clone();
        match worker.state.clone() {
            WorkerState::Preparing => {}
            WorkerState::Running => self.tell(started(id, start)),
            WorkerState::Ended(exit) => self.tell(Event::AttemptExited { attempt: id, exit }),
            WorkerState::Gone => {
                let exit = exit(ExitKind::Lost);
                self.tell(Event::AttemptExited { attempt: id, exit });
            }
        }
    }

    fn start_new(&mut self, id: AttemptId) {
        let of_task: Vec<_> =
            self.live().filter(|other| other.task == id.task).map(|other| other.to_string()).collect();
        if !of_task.is_empty() {
            let what = format!("{id} starts while {} lives", of_task.join(", "));
            self.breach("a task has one live attempt", what);
        }
        let live = self.live().count();
        // One that was leased before a crash starts after it, whatever the slots are by then.
        let is_new =
            self.witness.rows().attempts.get(&id).is_some_and(|attempt| attempt.created_at == self.now);
        if is_new && live >= self.slots as usize {
            let what = format!("{id} starts as number {} of {}", live + 1, self.slots);
            self.breach("no more run than there are slots", what);
        }
        let plan = Plan::new(self.seed, id, self.wild, self.is_calm);
        let prepare_ms = plan.prepare_ms;
        let worker = Worker {
            state: WorkerState::Preparing,
            plan,
            start: None,
            has_worktree: false,
            engine: self.engine,
            is_released: false,
        };
        self.workers.insert(id, worker);
        self.after(prepare_ms, Happening::Prepared { engine: self.engine, attempt: id });
    }

    fn live(&self) -> impl Iterator<Item = AttemptId> {
        self.workers
            .iter()
            .filter(|(_, worker)| matches!(worker.state, WorkerState::Preparing | WorkerState::Running))
            .map(|(id, _)| *id)
    }

    fn prepared(&mut self, engine: u32, id: AttemptId) {
        let start = self.start_of(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if engine != self.engine || worker.state != WorkerState::Preparing {
            return;
        }
        let plan = worker.plan.clone();
        worker.has_worktree = true;
        let kind = match plan.end {
            End::SetUpFault => Some(ExitKind::SetUpFault),
            End::CouldNotStart => Some(ExitKind::CouldNotStart),
            _ => None,
        };
        if let Some(kind) = kind {
            worker.state = WorkerState::Ended(exit(kind));
            return self.tell(Event::AttemptExited { attempt: id, exit: exit(kind) });
        }
        worker.state = WorkerState::Running;
        worker.start = start.clone();
        self.tell(started(id, start));
        self.after(BEAT_MS, Happening::Beats { attempt: id });
        let (ms, kind) = match plan.end {
            End::Passes | End::ChangesNothing | End::LeavesUnfinished | End::Tampered => {
                (plan.work_ms, ExitKind::Success)
            }
            End::Hangs => (TIMEOUT_MS, ExitKind::TimedOut),
            End::Stalls => (plan.work_ms, ExitKind::Stalled),
            End::OverLimit => (plan.work_ms, ExitKind::OverLimit(Resource::Memory)),
            End::Fails => (plan.work_ms, ExitKind::Failure),
            End::Vanishes { .. } => return self.after(plan.work_ms, Happening::Vanishes { attempt: id }),
            End::SetUpFault | End::CouldNotStart => return,
        };
        self.after(ms, Happening::Ends { attempt: id, kind });
    }

    /// Where an attempt's worktree begins: the red merge of its predecessor, else the tip of its target.
    fn start_of(&self, id: AttemptId) -> Option<Oid> {
        let rows = self.witness.rows();
        let task = rows.tasks.get(&id.task)?;
        if task.kind != TaskKind::Implement {
            return None;
        }
        if let Some(resume) = rows.attempts.get(&id).and_then(|attempt| attempt.resume.clone()) {
            return Some(resume.commit);
        }
        let last = AttemptId { task: id.task, number: AttemptNumber(id.number.0 - 1) };
        if let Some(resume_at) = rows.candidates.get(&last).and_then(|c| c.resume_at.clone()) {
            return Some(resume_at);
        }
        let (prd, _) = rows.prds.get(&task.prd?)?;
        self.git.get(&prd.project)?.tip(prd.branch.made()?)
    }

    fn ends(&mut self, id: AttemptId, kind: ExitKind) {
        let Some(worker) = self.workers.get_mut(&id).filter(|w| w.state == WorkerState::Running) else {
            return;
        };
        worker.state = WorkerState::Ended(exit(kind));
        if worker.engine == self.engine {
            self.tell(Event::AttemptExited { attempt: id, exit: exit(kind) });
        }
    }

    fn vanishes(&mut self, id: AttemptId) {
        let Some(worker) = self.workers.get_mut(&id).filter(|w| w.state == WorkerState::Running) else {
            return;
        };
        worker.state = WorkerState::Gone;
        let is_noticed = worker.plan.end == End::Vanishes { is_noticed: true };
        if is_noticed && worker.engine == self.engine {
            self.tell(Event::AttemptExited { attempt: id, exit: exit(ExitKind::Lost) });
        }
    }

    fn beats(&mut self, id: AttemptId) {
        let Some(worker) = self.workers.get(&id).filter(|w| w.state == WorkerState::Running) else { return };
        if worker.engine == self.engine && !worker.plan.is_mute {
            self.tell(Event::AttemptAlive { attempt: id });
        }
        self.after(BEAT_MS, Happening::Beats { attempt: id });
    }

    fn stop(&mut self, id: AttemptId, at_once: bool) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.state {
            WorkerState::Preparing => {
                worker.state = WorkerState::Ended(exit(ExitKind::Stopped));
                self.tell(Event::AttemptExited { attempt: id, exit: exit(ExitKind::Stopped) });
            }
            WorkerState::Running => {
                let grace = if worker.plan.is_stubborn && !at_once { GRACE_MS } else { 400 };
                let ms = self.chance.between(1, grace);
                self.after(ms, Happening::Ends { attempt: id, kind: ExitKind::Stopped });
            }
            // The machine does not wait for a worker that does not answer: it says that it is gone.
            WorkerState::Gone => self.tell(Event::AttemptExited { attempt: id, exit: exit(ExitKind::Lost) }),
            WorkerState::Ended(_) => {}
        }
    }

    fn release(&mut self, id: AttemptId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if matches!(worker.state, WorkerState::Preparing | WorkerState::Running) {
            worker.state = WorkerState::Ended(exit(ExitKind::Stopped));
        }
        worker.has_worktree = false;
        worker.is_released = true;
    }

    fn sweep(&mut self, live: &[AttemptId]) {
        let stray: Vec<_> = self.workers.keys().filter(|id| !live.contains(id)).copied().collect();
        for id in stray {
            self.release(id);
        }
    }

    fn collect(&mut self, id: AttemptId) {
        let fault = self.fault();
        let Some(worker) = self.workers.get(&id) else {
            let detail = "it never began".to_owned();
            return self.tell(Event::AttemptCollected { attempt: id, collected: Collected::Gone { detail } });
        };
        let (start, plan, is_released) = (worker.start.clone(), worker.plan.clone(), worker.is_released);
        if is_released {
            // Asked for once more while the first answer was on its way; the engine has moved on.
            return;
        }
        let detail = "simulated".to_owned();
        let collected = match start {
            None => Collected::Gone { detail },
            Some(_) if fault => Collected::Fault { detail },
            Some(_) if plan.end == End::LeavesUnfinished => Collected::Unfinished { detail },
            Some(start) if plan.end == End::Tampered => {
                Collected::Tampered { head: Some(self.head(id, &start, &plan, true)), detail }
            }
            Some(start) => {
                let changed = plan.end != End::ChangesNothing;
                Collected::Commit { head: self.head(id, &start, &plan, changed), changed }
            }
        };
        self.tell(Event::AttemptCollected { attempt: id, collected });
    }

    fn checkpoint(&mut self, id: AttemptId, why: CheckpointWhy, fault: bool) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.has_worktree) else { return };
        let (start, plan) = (worker.start.clone(), worker.plan.clone());
        let result = match start {
            Some(start) if !fault => {
                let commit = self.head(id, &start, &plan, true);
                Ok(CheckpointFacts { commit, start, session: None, stdout_bytes: 1, stderr_bytes: 0 })
            }
            Some(_) | None => Err("simulated".to_owned()),
        };
        self.tell(Event::Checkpointed { attempt: id, why, result });
    }

    /// The disk fills up or is emptied.
    pub(crate) fn room(&mut self, shortage: Option<String>) {
        self.tell(Event::Room { shortage });
    }

    fn head(&mut self, id: AttemptId, start: &Oid, plan: &Plan, changed: bool) -> Oid {
        let project = self.witness.rows().tasks.get(&id.task).and_then(|task| task.project);
        match project.and_then(|project| self.git.get_mut(&project)).filter(|_| changed) {
            Some(git) => git.commit(start, plan.files.clone(), &[id.task.0, u64::from(id.number.0)]),
            None => start.clone(),
        }
    }

    // Git and checks.

    fn act(&mut self, effect: Effect) {
        let fault = self.fault();
        let detail = || "git is busy".to_owned();
        match effect {
            Effect::PlanBranch { prd, project, wanted, base } => {
                let result = match self.git.get(&project) {
                    Some(git) if !fault => git.plan_branch(&wanted, &base),
                    _ => BranchResult::Failed { detail: detail() },
                };
                self.tell(Event::Branch { prd, result });
            }
            Effect::MakeBranch { prd, project, name, at } => {
                let result = match self.git.get_mut(&project) {
                    Some(git) if !fault => git.make_branch(&name, &at),
                    _ => BranchResult::Failed { detail: detail() },
                };
                self.tell(Event::Branch { prd, result });
            }
            Effect::Merge { project, target, cars } => {
                let results = match self.git.get_mut(&project) {
                    Some(git) if !fault => git.train(&target, &cars),
                    _ => {
                        let fault = || MergeResult::Fault { detail: detail() };
                        cars.iter().map(|car| (car.candidate, fault())).collect()
                    }
                };
                self.tell(Event::Merged { project, target, results });
            }
            Effect::Check { candidate, merged, run, .. } => {
                let result = if fault {
                    CheckResult::Fault { detail: "there is no such program".into() }
                } else if Plan::new(
                    // One run in a few says something else of the same tree.
                    self.seed ^ number_of(&merged.commit) ^ u64::from(run),
                    candidate,
                    self.wild,
                    self.is_calm,
                )
                .check_is_red
                {
                    CheckResult::Failed { text: "test tree ... FAILED".into() }
                } else {
                    self.checked.insert(merged.commit.clone());
                    CheckResult::Passed
                };
                let commit = merged.commit.short().to_owned();
                self.tell(Event::Checked { candidate, commit, run, result });
            }
            Effect::Land { candidate, project, target, merged, follow } => {
                self.land(candidate, project, &target, &merged, follow.as_ref(), fault);
            }
            Effect::Collect { attempt } => self.collect(attempt),
            Effect::Checkpoint { attempt, why } => self.checkpoint(attempt, why, fault),
            Effect::Start { .. }
            | Effect::Stop { .. }
            | Effect::Release { .. }
            | Effect::StopCheck { .. }
            | Effect::Sweep { .. } => {}
        }
    }

    fn land(
        &mut self,
        candidate: AttemptId,
        project: ProjectId,
        target: &BranchName,
        merged: &MergedCommit,
        follow: Option<&BranchName>,
        fault: bool,
    ) {
        let (is_recorded, has_checks) = {
            let rows = self.witness.rows();
            let state = rows.candidates.get(&candidate).map(|row| row.state.clone());
            let has_checks = rows
                .projects
                .get(&project)
                .and_then(|project| project.settings.checks.as_ref())
                .is_some_and(|checks| !checks.is_empty());
            let lands = |state| matches!(state, CandidateState::Landing { merged: own } if own.commit == merged.commit);
            (state.is_some_and(lands), has_checks)
        };
        if !is_recorded {
            self.breach("no effect before its commit", format!("landing of {candidate}"));
        }
        if has_checks && !self.checked.contains(&merged.commit) {
            self.breach("what lands has passed its checks", candidate.to_string());
        }
        let is_dirty = !self.is_calm && self.chance.thousandths(self.wild.git_fault);
        let Some(git) = self.git.get_mut(&project) else { return };
        let has_landed = git.holds(target, &merged.commit);
        let result = if fault && !has_landed {
            LandResult::Fault { detail: "git is busy".into() }
        } else if is_dirty && !has_landed {
            LandResult::CheckoutDirty { checkout: "/home/user/project".into(), detail: "M file-1".into() }
        } else {
            git.land(target, merged, follow)
        };
        self.tell(Event::Landed { candidate, result });
    }

    // What the run asks the world at the end.

    /// Processes and worktrees that nobody released.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let is_left = |worker: &Worker| {
            worker.has_worktree || matches!(worker.state, WorkerState::Preparing | WorkerState::Running)
        };
        self.workers
            .iter()
            .filter(|(_, worker)| is_left(worker))
            .map(|(id, w)| format!("{id} {:?}", w.state))
            .collect()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.live().next().is_none()
    }

    fn check_branch(&mut self, prd: PrdNumber, name: &BranchName, at: &Oid) {
        let planned = PrdBranch::Planned { name: name.clone(), at: at.clone() };
        let is_recorded = self.witness.rows().prds.get(&prd).is_some_and(|(prd, _)| prd.branch == planned);
        if !is_recorded {
            self.breach("no effect before its commit", format!("the branch of PRD {prd}"));
        }
    }

    /// Tasks that an answer spoke of are stored.
    fn check_answer(&mut self, answer: &Answer) {
        use ropewalk_core::command::Done;
        let named: Vec<TaskId> = match answer {
            Ok(Done::Tasks { tasks }) => tasks.clone(),
            _ => return,
        };
        let lost: Vec<_> = {
            let rows = self.witness.rows();
            named.iter().filter(|id| !rows.tasks.contains_key(id)).map(TaskId::to_string).collect()
        };
        if !lost.is_empty() {
            self.breach("an answer is sent after the commit that holds it", lost.join(", "));
        }
    }
}

impl World for SimWorld {
    fn perform(&mut self, effect: Effect) {
        match &mut self.effects_left {
            Some(0) => return,
            Some(left) => *left -= 1,
            None => {}
        }
        self.transcript.line(self.now, &effect);
        match effect {
            Effect::Start { attempt } => self.start(attempt),
            Effect::Stop { attempt, at_once } => self.stop(attempt, at_once),
            Effect::Release { attempt } => self.release(attempt),
            Effect::Sweep { live } => self.sweep(&live),
            Effect::StopCheck { candidate } => {
                let happenings = self.queue.values_mut();
                let mut commit = None;
                for happening in happenings {
                    if let Happening::Acts {
                        effect: Effect::Check { candidate: of, merged, run, .. },
                        engine,
                    } = happening
                        && *of == candidate
                    {
                        *engine = u32::MAX;
                        commit = Some((merged.commit.short().to_owned(), *run));
                    }
                }
                if let Some((commit, run)) = commit
                    && self.chance.thousandths(500)
                {
                    let result = CheckResult::Failed { text: "ended by OS signal 15".into() };
                    self.tell(Event::Checked { candidate, commit, run, result });
                }
            }
            slow => {
                if let Effect::MakeBranch { prd, name, at, .. } = &slow {
                    self.check_branch(*prd, &name.clone(), &at.clone());
                }
                let ms = match &slow {
                    Effect::Check { .. } => self.chance.between(10, 40_000),
                    _ => self.chance.between(1, 1_500),
                };
                self.after(ms, Happening::Acts { engine: self.engine, effect: slow });
            }
        }
    }

    fn reply(&mut self, to: ReplyTo, answer: Answer) {
        if self.effects_left == Some(0) {
            return;
        }
        self.transcript.line(self.now, &answer);
        self.check_answer(&answer);
        self.answers.push((to, answer));
    }
}

fn started(attempt: AttemptId, start: Option<Oid>) -> Event {
    Event::AttemptStarted { attempt, start, rung: None }
}

fn exit(kind: ExitKind) -> Exit {
    Exit { tail: "the last line".into(), ..Exit::new(kind, format!("{kind:?}")) }
}
