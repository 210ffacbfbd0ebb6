//! What an attempt's events mean: it started, it lives, it ended, this is what it left.

use super::{Engine, Step};
use crate::attempt::{Attempt, AttemptState, Collected, Exit, ExitKind, Fault, Outcome, StopWhy, verdict};
use crate::candidate::{Candidate, CandidateState, ReturnWhy, Source};
use crate::change::{Change, NoteKind};
use crate::checkpoint::Resume;
use crate::effect::Effect;
use crate::id::{AttemptId, Oid, TaskId};
use crate::limits::shorten;
use crate::resource::Rung;
use crate::retry::{backoff_ms, is_enough, policy, wait_ms};
use crate::row::PrdState;
use crate::task::{CancelReason, DoneHow, ParkReason, Tally, TaskKind, TaskState};
use crate::time::Time;

impl Engine {
    pub(super) fn on_started(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        start: Option<Oid>,
        rung: Option<Rung>,
    ) {
        let Some(mut attempt) = self.live_attempt(id) else { return };
        if attempt.state != AttemptState::Preparing {
            return self.on_alive(id);
        }
        attempt.state = AttemptState::Running;
        attempt.started_at = Some(self.now);
        attempt.start = start;
        attempt.rung = rung;
        self.emit(step, Change::AttemptPut(Box::new(attempt)));
        self.time_checkpoint(id.task);
        let about = self.about(id.task);
        self.note(step, NoteKind::AttemptStarted, about, "");
    }

    pub(super) fn on_alive(&mut self, id: AttemptId) {
        let until = self.now.plus_ms(self.limits.lease_ms);
        if let Some(live) = self.attempts.get_mut(&id.task).filter(|live| live.attempt.id == id) {
            live.lease_until = until;
        }
    }

    pub(super) fn on_exited(&mut self, step: &mut Step, id: AttemptId, exit: Exit) {
        let Some(mut attempt) = self.live_attempt(id) else { return };
        let why = match &attempt.state {
            AttemptState::Preparing | AttemptState::Running => None,
            AttemptState::Stopping { why } => Some(*why),
            // Told twice, as after a restart: the first word counts.
            AttemptState::Checking { .. } | AttemptState::Finished { .. } => return,
        };
        let exit = Exit {
            // Silent for a lease, but it ended well: its work counts.
            kind: match (why, exit.kind) {
                (Some(StopWhy::LeaseRanOut), kind) if kind != ExitKind::Success => ExitKind::Lost,
                (_, kind) => kind,
            },
            detail: shorten(&exit.detail, self.limits.detail_bytes_max),
            tail: shorten(&exit.tail, self.limits.feedback_bytes_max),
            ..exit
        };
        let has_worktree = self.tasks.get(&id.task).is_some_and(|live| live.task.kind == TaskKind::Implement)
            && !matches!(exit.kind, ExitKind::SetUpFault | ExitKind::CouldNotStart);
        if has_worktree {
            attempt.state = AttemptState::Checking { exit, why };
            self.emit(step, Change::AttemptPut(Box::new(attempt)));
            step.effects.push(Effect::Collect { attempt: id });
        } else {
            self.conclude(step, attempt, &exit, why, None);
        }
    }

    pub(super) fn on_collected(&mut self, step: &mut Step, id: AttemptId, collected: Collected) {
        let Some(attempt) = self.live_attempt(id) else { return };
        let AttemptState::Checking { exit, why } = attempt.state.clone() else { return };
        self.conclude(step, attempt, &exit, why, Some(&collected));
    }

    /// Leases that ran out: the attempt is asked to end, again and again until the machine says that it has. The
    /// machine ends a worker that does not answer (see the port), so nothing is concluded here from silence: what may
    /// still be alive would work in a worktree that is being read.
    pub(super) fn on_tick(&mut self, step: &mut Step) {
        self.tick_stop(step);
        self.tick_checkpoints(step);
        let overdue: Vec<_> = self
            .attempts
            .values()
            .filter(|live| live.lease_until <= self.now)
            .map(|live| live.attempt.clone())
            .collect();
        for mut attempt in overdue {
            let id = attempt.id;
            match attempt.state {
                // Making a worktree is ours to do, and slow for a large repository: ask again.
                AttemptState::Preparing => {
                    self.on_alive(id);
                    step.effects.push(Effect::Start { attempt: id });
                }
                AttemptState::Running => {
                    attempt.state = AttemptState::Stopping { why: StopWhy::LeaseRanOut };
                    self.emit(step, Change::AttemptPut(Box::new(attempt)));
                    step.effects.push(Effect::Stop { attempt: id, at_once: true });
                }
                AttemptState::Stopping { .. } => {
                    self.on_alive(id);
                    step.effects.push(Effect::Start { attempt: id });
                    step.effects.push(Effect::Stop { attempt: id, at_once: true });
                }
                // So is reading what it left.
                AttemptState::Checking { .. } => {
                    self.on_alive(id);
                    step.effects.push(Effect::Collect { attempt: id });
                }
                AttemptState::Finished { .. } => {}
            }
        }
    }

    /// Gives every worker a whole lease anew: the engine itself was away (a suspended machine, a stopped process), so
    /// their silence says nothing.
    pub fn renew_leases(&mut self, now: Time) {
        self.now = self.now.max(now);
        let until = self.now.plus_ms(self.limits.lease_ms);
        self.attempts.values_mut().for_each(|live| live.lease_until = until);
    }

    /// Asks a live attempt to end.
    pub(super) fn stop_attempt(&mut self, step: &mut Step, task: TaskId, why: StopWhy) {
        let Some(live) = self.attempts.get(&task) else { return };
        let mut attempt = live.attempt.clone();
        match attempt.state {
            AttemptState::Preparing | AttemptState::Running => attempt.state = AttemptState::Stopping { why },
            // A cancel outweighs every other reason; nothing else changes a stop under way.
            AttemptState::Stopping { why: StopWhy::EngineStops | StopWhy::LeaseRanOut }
                if why == StopWhy::Cancelled =>
            {
                attempt.state = AttemptState::Stopping { why };
            }
            AttemptState::Checking {
                exit,
                why: None | Some(StopWhy::EngineStops | StopWhy::LeaseRanOut),
            } if why == StopWhy::Cancelled => {
                attempt.state = AttemptState::Checking { exit, why: Some(why) };
            }
            AttemptState::Stopping { .. } | AttemptState::Checking { .. } | AttemptState::Finished { .. } => {
                return;
            }
        }
        let id = attempt.id;
        let is_stop = matches!(attempt.state, AttemptState::Stopping { .. });
        self.emit(step, Change::AttemptPut(Box::new(attempt)));
        if is_stop {
            step.effects.push(Effect::Stop { attempt: id, at_once: false });
        }
    }

    /// The attempt with exactly this id, if it is live: an event that bears an older number meets nothing.
    fn live_attempt(&self, id: AttemptId) -> Option<Attempt> {
        self.attempts.get(&id.task).map(|live| &live.attempt).filter(|attempt| attempt.id == id).cloned()
    }

    /// Ends an attempt and sends its task on.
    fn conclude(
        &mut self,
        step: &mut Step,
        mut attempt: Attempt,
        exit: &Exit,
        why: Option<StopWhy>,
        collected: Option<&Collected>,
    ) {
        let id = attempt.id;
        let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
        let settings = self.settings_of(&task);
        let require_change = settings.require_change.unwrap_or(true);
        let (outcome, detail) = verdict(exit, collected, require_change);
        if let Some(Collected::Commit { head, .. } | Collected::Tampered { head: Some(head), .. }) = collected
        {
            attempt.head = Some(head.clone());
        }
        attempt.state = AttemptState::Finished { outcome };
        attempt.finished_at = Some(self.now);
        attempt.detail = shorten(&detail, self.limits.detail_bytes_max);
        attempt.fault = fault_of(outcome, exit.kind);
        attempt.usage = exit.usage;
        attempt.rung = exit.rung.or(attempt.rung);
        attempt.feedback = (outcome != Outcome::Passed && !exit.tail.is_empty()).then(|| exit.tail.clone());
        let head = attempt.head.clone();
        let fault = attempt.fault;
        let said = attempt.outcome_text().unwrap_or_default();
        let resumed = attempt.resume.clone();
        let session = exit.session.clone();
        let resume = self.checkpoint_end(step, &mut attempt, &task, &settings, session);
        self.count_end(&attempt);
        self.emit(step, Change::AttemptPut(Box::new(attempt)));
        let about = self.about(id.task);
        let text = if detail.is_empty() { said } else { format!("{said}: {detail}") };
        self.note(step, NoteKind::AttemptFinished, about, &text);
        step.effects.push(Effect::Release { attempt: id });
        if why == Some(StopWhy::Cancelled) {
            return self.cancel_now(step, id.task);
        }
        if let Some(Collected::Tampered { detail, .. }) = collected {
            // Another attempt would begin in the same repository: a person looks first, however this one ended.
            let detail = shorten(detail, self.limits.detail_bytes_max);
            return self.park_with(step, id.task, ParkReason::Tampered { detail }, Tally::end_row);
        }
        match (outcome, fault) {
            (Outcome::Passed, _) => self.pass(step, id, head),
            // What did not get going leaves its checkpoint to the next.
            (Outcome::NotStarted | Outcome::Lost, Some(fault)) => {
                self.count_fault(step, id, fault, &detail, resumed);
            }
            (_, Some(fault)) => self.count_fault(step, id, fault, &detail, None),
            // Ended for the engine's sake: the next attempt goes on where this one was.
            (Outcome::Cancelled, None) if why == Some(StopWhy::EngineStops) => {
                self.make_ready_on(step, id, 0, resume.or(resumed), |_| {});
            }
            // Somebody else told its worker to end: a machine that goes down, or the agent itself.
            (Outcome::Cancelled, None) => {
                self.count_fault(step, id, Fault::Lost, &detail, resume.or(resumed));
            }
            (_, None) => self.count_failure(step, id, &detail, Backoff::Yes),
        }
    }

    fn pass(&mut self, step: &mut Step, id: AttemptId, head: Option<Oid>) {
        let at = self.now;
        let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
        let target =
            task.prd.and_then(|prd| self.prds.get(&prd)).and_then(|live| live.prd.branch.made().cloned());
        let needs_review = self.settings_of(&task).review.unwrap_or(false);
        match (task.kind, task.project, target, head) {
            (TaskKind::Implement, Some(project), Some(target), Some(head)) => {
                let candidate = Candidate {
                    id,
                    project,
                    target,
                    source: Source::Commit(head),
                    state: CandidateState::Waiting,
                    remerges: 0,
                    queued_at: at,
                    priority: task.priority,
                    flakes: 0,
                    feedback: None,
                    resume_at: None,
                };
                if needs_review {
                    let state = CandidateState::Returned { why: ReturnWhy::Review, at };
                    self.emit(step, Change::CandidatePut(Box::new(Candidate { state, ..candidate })));
                    return self.park_with(step, id.task, ParkReason::Review, Tally::end_row);
                }
                self.move_task(step, id.task, |moved| {
                    moved.state = TaskState::Landing { since: at };
                    moved.tally.end_row();
                });
                let queue = (candidate.project, candidate.target.clone());
                self.emit(step, Change::CandidatePut(Box::new(candidate)));
                self.advance_queue(step, &queue);
            }
            (TaskKind::Command { .. }, ..) => {
                self.move_task(step, id.task, |moved| {
                    moved.state = TaskState::Done { at, how: DoneHow::Passed }
                });
            }
            // An agent's attempt without a commit or a target cannot pass; should it come here, it is no success.
            (TaskKind::Implement | TaskKind::Land, ..) => {
                self.count_fault(step, id, Fault::Lost, "it passed, but left no commit to land", None);
            }
        }
    }

    /// One failure more: another attempt, after a wait or at once, or a person.
    pub(super) fn count_failure(&mut self, step: &mut Step, id: AttemptId, detail: &str, backoff: Backoff) {
        let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
        let failures = task.tally.failures + 1;
        let most = self.settings_of(&task).attempts_max.unwrap_or(self.limits.attempts_max);
        if failures >= most {
            let detail = shorten(detail, self.limits.detail_bytes_max);
            return self.park_with(
                step,
                id.task,
                ParkReason::TooManyFailures { failures, detail },
                |tally| {
                    tally.failures = failures;
                },
            );
        }
        let wait_ms = match backoff {
            Backoff::Yes => backoff_ms(id, failures, &self.limits),
            Backoff::No => 0,
        };
        self.make_ready(step, id, wait_ms, |tally| {
            tally.failures = failures;
            tally.end_row();
        });
    }

    /// What ended it was not its own work: another attempt by the fault's own policy, or a person.
    fn count_fault(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        fault: Fault,
        detail: &str,
        resume: Option<Resume>,
    ) {
        let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
        let same_fault_max = self.settings_of(&task).same_fault_max.unwrap_or(self.limits.same_fault_max);
        let policy = policy(fault, same_fault_max, &self.limits);
        let mut tally = task.tally;
        tally.count_fault(fault);
        if !is_enough(&tally, &policy, same_fault_max) {
            let times = tally.repeats.max(tally.faults);
            let wait = wait_ms(id, times, policy.wait_ms, policy.wait_ms_max);
            return self.make_ready_on(step, id, wait, resume, |counted| *counted = tally);
        }
        let repeats = tally.repeats.max(tally.faults);
        let detail = detail.to_owned();
        let reason = match fault {
            Fault::SetUp => ParkReason::SetUp { detail },
            Fault::TimedOut
            | Fault::Stalled
            | Fault::OverLimit(_)
            | Fault::RateLimited
            | Fault::Lost
            | Fault::MachineEnded
            | Fault::CouldNotStart => ParkReason::SameFault { fault, repeats, detail },
        };
        self.park_with(step, id.task, reason, |counted| *counted = tally);
    }

    pub(super) fn make_ready(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        wait_ms: u64,
        count: impl FnOnce(&mut crate::task::Tally),
    ) {
        self.make_ready_on(step, id, wait_ms, None, count);
    }

    fn make_ready_on(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        wait_ms: u64,
        resume: Option<Resume>,
        count: impl FnOnce(&mut crate::task::Tally),
    ) {
        let since = self.now;
        let not_before = since.plus_ms(wait_ms);
        self.move_task(step, id.task, |moved| {
            moved.state = TaskState::Ready { since, not_before };
            moved.resume = resume;
            count(&mut moved.tally);
        });
        // A dependency that it ran without may be on its way again.
        self.settle(step, [id.task]);
    }

    pub(super) fn park(&mut self, step: &mut Step, task: TaskId, reason: ParkReason) {
        self.park_with(step, task, reason, |_| {});
    }

    pub(super) fn park_with(
        &mut self,
        step: &mut Step,
        task: TaskId,
        reason: ParkReason,
        count: impl FnOnce(&mut crate::task::Tally),
    ) {
        let at = self.now;
        let text = reason.text();
        self.move_task(step, task, |moved| {
            moved.state = TaskState::Parked { at, reason };
            count(&mut moved.tally);
        });
        let about = self.about(task);
        self.note(step, NoteKind::TaskParked, about, &text);
    }

    /// The end of a task that nobody wants any more and that has no live attempt.
    pub(super) fn cancel_now(&mut self, step: &mut Step, task: TaskId) {
        let at = self.now;
        let prd = self.tasks.get(&task).and_then(|live| live.task.prd);
        let is_abandoned = prd
            .and_then(|prd| self.prds.get(&prd))
            .is_some_and(|live| matches!(live.prd.state, PrdState::Abandoned { .. }));
        let reason = if is_abandoned { CancelReason::PrdAbandoned } else { CancelReason::Asked };
        self.move_task(step, task, |moved| moved.state = TaskState::Cancelled { at, reason });
        let about = self.about(task);
        self.note(step, NoteKind::TaskCancelled, about, "");
        if let Some(prd) = prd {
            self.settle_prd(step, prd);
        }
    }
}

/// The fault that an outcome stands for. What an agent left that could not be read is lost, however it exited.
fn fault_of(outcome: Outcome, kind: ExitKind) -> Option<Fault> {
    match outcome {
        Outcome::Passed | Outcome::Failed | Outcome::Cancelled => None,
        Outcome::Lost => kind.fault().or(Some(Fault::Lost)),
        Outcome::TimedOut | Outcome::OverLimit | Outcome::RateLimited | Outcome::NotStarted => kind.fault(),
    }
}

/// Whether a failed task waits before its next attempt. A red check does not: the agent can start on it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backoff {
    Yes,
    No,
}
