//! The one function that changes the engine's rows, and the views derived from them: unmet counts, ready sets,
//! merge queues, progress. Decisions and recovery both come through here.

use super::{Engine, LiveAttempt, LivePrd, LiveTask};
use crate::candidate::{Candidate, CandidateState};
use crate::change::{Change, TaskMoved};
use crate::id::{PrdNumber, TaskId};
use crate::row::{Prd, PrdState, Progress};
use crate::settings::OnDependencyFailure;
use crate::task::{Task, TaskKind, TaskState};

impl Engine {
    /// Applies one change. Total: a change about a thing that is not in memory changes nothing here.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::ProjectPut(project) => {
                self.last_project = self.last_project.max(project.id.0);
                self.projects.insert(project.id, (**project).clone());
            }
            Change::PrdPut { prd, .. } | Change::PrdMoved(prd) => self.put_prd(prd, None),
            Change::TaskPut(task) => self.put_task((**task).clone()),
            Change::TaskMoved(moved) => self.apply_move(moved),
            Change::AttemptPut(attempt) => {
                let task = attempt.id.task;
                if attempt.state.is_finished() {
                    self.attempts.remove(&task);
                } else {
                    let lease_until = self.now.plus_ms(self.limits.lease_ms);
                    let checkpoint_at = self.attempts.get(&task).and_then(|live| live.checkpoint_at);
                    let attempt = (**attempt).clone();
                    self.attempts.insert(task, LiveAttempt { attempt, lease_until, checkpoint_at });
                }
            }
            Change::CandidatePut(candidate) => self.put_candidate((**candidate).clone()),
            Change::StoryPut(_)
            | Change::StoryRemoved { .. }
            | Change::CheckpointPut { .. }
            | Change::CheckpointsForgotten { .. }
            | Change::SampleAdded(_)
            | Change::SamplesForgotten(_)
            | Change::Noted(_) => {}
        }
    }

    pub(super) fn put_prd(&mut self, prd: &Prd, progress: Option<Progress>) {
        self.last_prd = self.last_prd.max(prd.number.0);
        match self.prds.get_mut(&prd.number) {
            Some(live) => live.prd = prd.clone(),
            None => {
                let live = LivePrd {
                    prd: prd.clone(),
                    progress: progress.unwrap_or_default(),
                    tasks: Default::default(),
                };
                self.prds.insert(prd.number, live);
            }
        }
        self.relist_prd(prd.number);
    }

    /// Lists the PRD's ready tasks anew, after something changed that decides whether they may start.
    pub(super) fn relist_prd(&mut self, prd: PrdNumber) {
        let Some(live) = self.prds.get(&prd) else { return };
        for task in live.tasks.clone() {
            self.relist(task);
        }
    }

    /// Puts the task into the ready or the waiting set, or takes it out of both.
    fn relist(&mut self, id: TaskId) {
        let Some(live) = self.tasks.get(&id) else { return };
        let TaskState::Ready { not_before, .. } = live.task.state else { return };
        let rank = self.rank(&live.task);
        let may_start = self.may_start(&live.task);
        self.ready.remove(&(rank, id));
        self.waiting.remove(&(not_before, id));
        if !may_start {
            return;
        }
        if not_before > self.now {
            self.waiting.insert((not_before, id));
        } else {
            self.ready.insert((rank, id));
        }
    }

    fn unlist(&mut self, id: TaskId) {
        let Some(live) = self.tasks.get(&id) else { return };
        if let TaskState::Ready { not_before, .. } = live.task.state {
            let rank = self.rank(&live.task);
            self.ready.remove(&(rank, id));
            self.waiting.remove(&(not_before, id));
        }
    }

    /// Inserts a task, or replaces an edited one with its dependencies.
    pub(super) fn put_task(&mut self, task: Task) {
        self.last_task = self.last_task.max(task.id.0);
        self.unlist(task.id);
        let dependents = self.tasks.get(&task.id).map(|live| live.dependents.clone()).unwrap_or_default();
        if let Some(old) = self.tasks.get(&task.id).map(|live| live.task.clone()) {
            self.count(&old, -1);
            for on in &old.depends_on {
                if let Some(live) = self.tasks.get_mut(on) {
                    live.dependents.retain(|id| *id != task.id);
                }
            }
        }
        let policy = self.policy_of(&task);
        let mut unmet = 0;
        for on in &task.depends_on {
            // A dependency that is not in memory is done: the others are loaded with their dependents.
            if let Some(live) = self.tasks.get_mut(on) {
                live.dependents.push(task.id);
                unmet += u32::from(!is_met(&live.task.state, policy));
            }
        }
        self.count(&task, 1);
        if let Some(prd) = task.prd.and_then(|prd| self.prds.get_mut(&prd)) {
            prd.tasks.insert(task.id);
        }
        if task.state.is_final() {
            self.finished.push(task.id);
        }
        let id = task.id;
        self.tasks.insert(id, LiveTask { task, unmet, dependents });
        self.relist(id);
    }

    fn apply_move(&mut self, moved: &TaskMoved) {
        let id = moved.task;
        self.unlist(id);
        let Some(live) = self.tasks.get_mut(&id) else { return };
        let before = live.task.clone();
        live.task.state = moved.state.clone();
        live.task.version = moved.version;
        live.task.attempts = moved.attempts;
        live.task.tally = moved.tally;
        live.task.resume = moved.resume.clone();
        let after = live.task.clone();
        let dependents = live.dependents.clone();
        self.count(&before, -1);
        self.count(&after, 1);
        for dependent in dependents {
            let Some(policy) = self.tasks.get(&dependent).map(|live| self.policy_of(&live.task)) else {
                continue;
            };
            let was_met = is_met(&before.state, policy);
            let met = is_met(&after.state, policy);
            if let Some(live) = self.tasks.get_mut(&dependent) {
                live.unmet = live.unmet + u32::from(was_met && !met) - u32::from(!was_met && met);
            }
        }
        if matches!(after.state, TaskState::Leased { .. }) || after.state.is_final() {
            self.forget_candidate(id);
        }
        if after.state.is_final() {
            self.finished.push(id);
        }
        self.relist(id);
    }

    fn put_candidate(&mut self, candidate: Candidate) {
        self.forget_candidate(candidate.id.task);
        let target = (candidate.project, candidate.target.clone());
        if candidate.state == CandidateState::Waiting {
            let place = candidate.place(self.limits.priority_step_ms);
            self.queues.entry(target).or_default().insert(place);
        } else if candidate.state.is_under_way() {
            self.trains.entry(target).or_default().insert(candidate.id.task);
        }
        if !matches!(candidate.state, CandidateState::Landed { .. }) {
            self.candidates.insert(candidate.id.task, candidate);
        }
    }

    fn forget_candidate(&mut self, task: TaskId) {
        let Some(old) = self.candidates.remove(&task) else { return };
        let place = old.place(self.limits.priority_step_ms);
        let target = (old.project, old.target);
        if let Some(queue) = self.queues.get_mut(&target) {
            queue.remove(&place);
            if queue.is_empty() {
                self.queues.remove(&target);
            }
        }
        if let Some(train) = self.trains.get_mut(&target) {
            train.remove(&task);
            if train.is_empty() {
                self.trains.remove(&target);
            }
        }
    }

    /// Adds a task to, or takes it from, its PRD's progress. Landings of whole PRDs are no stories.
    fn count(&mut self, task: &Task, by: i32) {
        if task.kind != TaskKind::Implement {
            return;
        }
        let Some(live) = task.prd.and_then(|prd| self.prds.get_mut(&prd)) else { return };
        let progress = &mut live.progress;
        progress.stories = progress.stories.saturating_add_signed(by);
        let field = match task.state {
            TaskState::Blocked => &mut progress.blocked,
            TaskState::Ready { .. } => &mut progress.ready,
            TaskState::Leased { .. } => &mut progress.running,
            TaskState::Landing { .. } => &mut progress.landing,
            TaskState::Done { .. } => &mut progress.done,
            TaskState::Parked { .. } => &mut progress.parked,
            TaskState::Cancelled { .. } => &mut progress.cancelled,
        };
        *field = field.saturating_add_signed(by);
    }

    /// Drops what became final and what nothing live refers to. Called after the commit: until then a later
    /// event of the same turn may still speak of it.
    pub fn forget_finished(&mut self) {
        let mut kept = Vec::new();
        for id in std::mem::take(&mut self.finished) {
            let Some(live) = self.tasks.get(&id) else { continue };
            if !live.task.state.is_final() {
                continue;
            }
            let is_needed = !matches!(live.task.state, TaskState::Done { .. })
                && live
                    .dependents
                    .iter()
                    .any(|d| self.tasks.get(d).is_some_and(|d| !d.task.state.is_final()));
            if is_needed {
                kept.push(id);
                continue;
            }
            let task = live.task.clone();
            self.tasks.remove(&id);
            if let Some(prd) = task.prd.and_then(|prd| self.prds.get_mut(&prd)) {
                prd.tasks.remove(&id);
            }
        }
        self.finished = kept;
        self.prds.retain(|_, live| !live.prd.state.is_final() || !live.tasks.is_empty());
    }

    /// Whether a ready task may start at all: everything but a slot and its time.
    pub(super) fn may_start(&self, task: &Task) -> bool {
        let Some(number) = task.prd else { return true };
        let Some(live) = self.prds.get(&number) else { return false };
        let has_its_turn = live.prd.is_collection || self.at_work.contains(&number);
        has_its_turn
            && self.is_in_focus(live)
            && live.prd.state == PrdState::Active
            && live.prd.branch.made().is_some()
    }

    pub(super) fn is_in_focus(&self, live: &LivePrd) -> bool {
        live.prd.is_collection || self.focus.as_ref().is_none_or(|focus| focus.contains(&live.prd.number))
    }

    /// A task's place in the line.
    pub(super) fn rank(&self, task: &Task) -> i64 {
        let TaskState::Ready { since, .. } = task.state else { return i64::MAX };
        task.priority.rank(since, self.limits.priority_step_ms)
    }
}

/// Whether a dependency in this state holds its dependents back no longer.
pub(super) fn is_met(state: &TaskState, policy: OnDependencyFailure) -> bool {
    match state {
        TaskState::Done { .. } => true,
        TaskState::Parked { .. } | TaskState::Cancelled { .. } => policy == OnDependencyFailure::Run,
        TaskState::Blocked
        | TaskState::Ready { .. }
        | TaskState::Leased { .. }
        | TaskState::Landing { .. } => false,
    }
}
