//! Who starts next, and what a task's move means for its dependents.

use std::collections::BTreeSet;

use super::{Engine, LivePrd, Step};
use crate::attempt::Attempt;
use crate::change::{Change, NoteKind, TaskMoved};
use crate::effect::Effect;
use crate::id::{AttemptId, AttemptNumber, PrdNumber, TaskId};
use crate::row::PrdState;
use crate::scope::may_meet;
use crate::settings::OnDependencyFailure;
use crate::task::{CancelReason, TaskState};
use crate::time::Time;

impl Engine {
    /// Fills free slots with the best ready tasks. Called once a turn, after all its events.
    pub fn schedule(&mut self, now: Time) -> Step {
        self.now = self.now.max(now);
        let mut step = Step::default();
        self.give_turns();
        self.wake_waiting();
        while !self.is_stopping() && self.shortage.is_none() && self.attempts.len() < self.slots as usize {
            let Some(task) = self.next_ready() else { break };
            self.lease(&mut step, task);
        }
        step
    }

    /// The best ready task that means to touch no file of one that runs or lands; the best of all where none is like
    /// that.
    fn next_ready(&self) -> Option<TaskId> {
        /// So far down the line it is looked: who is further behind is not to overtake so many.
        const LOOKED_AT_MAX: usize = 32;
        /// Scopes that are held against each of those: each pair costs a look at their patterns.
        const BUSY_MAX: usize = 64;
        let &(_, first) = self.ready.first()?;
        let waits_since = match self.tasks.get(&first).map(|live| &live.task.state) {
            Some(TaskState::Ready { since, .. }) => *since,
            _ => return Some(first),
        };
        if self.now.ms_since(waits_since) >= self.limits.priority_step_ms {
            // As long as a step of priority is worth, and no longer: a broad scope is not to starve.
            return Some(first);
        }
        let landing = self.candidates.values().filter(|candidate| !candidate.state.is_final());
        let busy = self.attempts.keys().copied().chain(landing.map(|candidate| candidate.id.task));
        let scope = |id: TaskId| {
            let task = &self.tasks.get(&id)?.task;
            (!task.scope.is_empty()).then_some((task.project, &task.scope))
        };
        let busy: Vec<_> = busy.filter_map(scope).take(BUSY_MAX).collect();
        let is_free = |id: &TaskId| {
            scope(*id).is_none_or(|(project, own)| {
                !busy.iter().any(|(other, scope)| *other == project && may_meet(own, scope))
            })
        };
        let mut looked_at = self.ready.iter().take(LOOKED_AT_MAX).map(|(_, id)| *id);
        if busy.is_empty() { Some(first) } else { looked_at.find(is_free).or(Some(first)) }
    }

    /// Gives PRDs their turn: one that was begun before one that was not, then the older. A PRD keeps its place while
    /// any of its tasks runs, lands or is ready.
    fn give_turns(&mut self) {
        let has_work = |live: &LivePrd| {
            live.prd.state == PrdState::Active
                && live.progress.running + live.progress.landing + live.progress.ready > 0
        };
        let prds = &self.prds;
        let focus = &self.focus;
        let may_start = |number: &PrdNumber| focus.as_ref().is_none_or(|focus| focus.contains(number));
        self.at_work.retain(|number| prds.get(number).is_some_and(has_work) && may_start(number));
        let room = (self.prds_at_once as usize).saturating_sub(self.at_work.len());
        if room == 0 {
            return;
        }
        let may_begin = |live: &&LivePrd| {
            has_work(live)
                && !live.prd.is_collection
                && self.is_in_focus(live)
                && live.prd.branch.made().is_some()
                && !self.at_work.contains(&live.prd.number)
        };
        let has_begun = |live: &LivePrd| {
            let progress = &live.progress;
            progress.done + progress.running + progress.landing + progress.parked > 0
        };
        let mut next: Vec<_> =
            prds.values().filter(may_begin).map(|l| (!has_begun(l), l.prd.number)).collect();
        next.sort_unstable();
        for (_, number) in next.into_iter().take(room) {
            self.at_work.insert(number);
            self.relist_prd(number);
        }
    }

    fn wake_waiting(&mut self) {
        while let Some(&(at, task)) = self.waiting.first() {
            if at > self.now {
                break;
            }
            self.waiting.remove(&(at, task));
            if let Some(live) = self.tasks.get(&task) {
                self.ready.insert((self.rank(&live.task), task));
            }
        }
    }

    fn lease(&mut self, step: &mut Step, task: TaskId) {
        let since = self.now;
        let mut resume = None;
        self.move_task(step, task, |moved| {
            moved.attempts += 1;
            moved.state = TaskState::Leased { since };
            resume = moved.resume.take();
        });
        let Some(live) = self.tasks.get(&task) else { return };
        let id = AttemptId { task, number: AttemptNumber(live.task.attempts) };
        self.emit(step, Change::AttemptPut(Box::new(Attempt::new(id, since, resume))));
        step.effects.push(Effect::Start { attempt: id });
    }

    /// When the engine wants a `Tick` at the latest; `None`: never.
    pub fn next_timer(&self) -> Option<Time> {
        let backoff = if self.is_stopping() { None } else { self.waiting.first().map(|(at, _)| *at) };
        let lease = self.attempts.values().map(|live| live.lease_until).min();
        let checkpoint = self.attempts.values().filter_map(|live| live.checkpoint_at).min();
        let stop = self.stopping.filter(|stopping| !stopping.is_over).map(|stopping| stopping.until);
        [backoff, lease, checkpoint, stop].into_iter().flatten().min()
    }

    /// Carries a task's move on to its dependents, and theirs: what became free gets ready, what lost its ground
    /// is blocked again, what is to be skipped is cancelled. A work list, not recursion: chains are long.
    pub(super) fn settle_dependents(&mut self, step: &mut Step, first: TaskId) {
        let mut moved = vec![first];
        let mut skipped_of = BTreeSet::new();
        while let Some(id) = moved.pop() {
            let dependents = self.tasks.get(&id).map(|live| live.dependents.clone()).unwrap_or_default();
            for dependent in dependents {
                let Some(state) = self.state_after(id, dependent) else { continue };
                let Some(live) = self.tasks.get(&dependent) else { continue };
                let change = TaskMoved {
                    task: dependent,
                    version: live.task.version + 1,
                    state,
                    attempts: live.task.attempts,
                    tally: live.task.tally,
                    resume: live.task.resume.clone(),
                };
                let is_skipped = change.state.is_final();
                self.emit(step, Change::TaskMoved(change));
                if is_skipped {
                    let about = self.about(dependent);
                    self.note(step, NoteKind::TaskCancelled, about, "its dependency failed");
                    skipped_of.extend(about.prd);
                }
                moved.push(dependent);
            }
        }
        for prd in skipped_of {
            self.settle_prd(step, prd);
        }
    }

    /// The state that `dependent` goes to now that `on` has moved; `None`: it stays.
    fn state_after(&self, on: TaskId, dependent: TaskId) -> Option<TaskState> {
        let live = self.tasks.get(&dependent)?;
        let has_failed =
            matches!(self.tasks.get(&on)?.task.state, TaskState::Parked { .. } | TaskState::Cancelled { .. });
        let idle = matches!(live.task.state, TaskState::Blocked | TaskState::Ready { .. });
        if idle && has_failed && self.policy_of(&live.task) == OnDependencyFailure::Skip {
            return Some(TaskState::Cancelled {
                at: self.now,
                reason: CancelReason::DependencyFailed { task: on },
            });
        }
        self.idle_state(dependent)
    }

    /// Where a task that is not started belongs: ready or blocked; `None`: where it is.
    pub(super) fn idle_state(&self, task: TaskId) -> Option<TaskState> {
        let live = self.tasks.get(&task)?;
        let is_open = match live.task.prd {
            None => true,
            Some(prd) => self.prds.get(&prd).is_some_and(|prd| prd.prd.state == PrdState::Active),
        };
        match (&live.task.state, is_open && live.unmet == 0) {
            (TaskState::Blocked, true) => Some(TaskState::Ready { since: self.now, not_before: self.now }),
            (TaskState::Ready { .. }, false) => Some(TaskState::Blocked),
            _ => None,
        }
    }

    /// Puts every task of the list where it belongs, after something changed for all of them.
    pub(super) fn settle(&mut self, step: &mut Step, tasks: impl IntoIterator<Item = TaskId>) {
        for task in tasks {
            if let Some(state) = self.idle_state(task) {
                self.move_task(step, task, |moved| moved.state = state);
            }
        }
    }
}
