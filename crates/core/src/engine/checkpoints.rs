//! Checkpoints: when one is due, what becomes of it, and which one a retry goes on from.

use super::refusals::conflict;
use super::{Engine, Step};
use crate::attempt::{Attempt, AttemptState};
use crate::change::{Change, NoteKind};
use crate::checkpoint::{Checkpoint, CheckpointFacts, CheckpointWhy, Resume};
use crate::command::{Answer, Done, FromCheckpoint, Refusal, RefusalKind};
use crate::effect::Effect;
use crate::id::{AttemptId, TaskId};
use crate::limits::shorten;
use crate::settings::Settings;
use crate::task::{Task, TaskKind};

/// A session is named by an id: what is longer is none.
const SESSION_BYTES_MAX: usize = 256;

impl Engine {
    pub(super) fn checkpoint_asked(&mut self, step: &mut Step, task: TaskId) -> Answer {
        let Some(live) = self.tasks.get(&task) else {
            return Err(conflict(format!("task {task} does not run any more")));
        };
        if live.task.kind != TaskKind::Implement {
            return Err(conflict(format!("task {task} is a plain command: it has no worktree to put by")));
        }
        match self.attempts.get(&task).map(|live| (&live.attempt.state, live.attempt.id)) {
            Some((AttemptState::Running | AttemptState::Stopping { .. }, attempt)) => {
                step.effects.push(Effect::Checkpoint { attempt, why: CheckpointWhy::Asked });
                Ok(Done::Changed { text: format!("a checkpoint of attempt {attempt} is being taken") })
            }
            Some(_) | None => Err(conflict(format!("task {task} has no running attempt"))
                .hint("`ropewalk task show` lists the checkpoints that there are")),
        }
    }

    /// Asks for the checkpoints that are due, and sets the next time.
    pub(super) fn tick_checkpoints(&mut self, step: &mut Step) {
        let now = self.now;
        let due: Vec<AttemptId> = self
            .attempts
            .values()
            .filter(|live| live.checkpoint_at.is_some_and(|at| at <= now))
            .map(|live| live.attempt.id)
            .collect();
        for attempt in due {
            let is_running = self
                .attempts
                .get(&attempt.task)
                .is_some_and(|live| matches!(live.attempt.state, AttemptState::Running));
            if is_running {
                step.effects.push(Effect::Checkpoint { attempt, why: CheckpointWhy::Timer });
            }
            self.time_checkpoint(attempt.task);
        }
    }

    /// Sets when a running attempt's next checkpoint is due.
    pub(super) fn time_checkpoint(&mut self, task: TaskId) {
        let Some(of) = self.tasks.get(&task).map(|live| &live.task) else { return };
        let every_ms = match of.kind {
            TaskKind::Implement => self.settings_of(of).checkpoint_every_ms,
            TaskKind::Command { .. } | TaskKind::Land => Some(0),
        };
        let every_ms = every_ms.unwrap_or(self.limits.checkpoint_every_ms);
        let at = (every_ms > 0).then(|| self.now.plus_ms(every_ms));
        if let Some(live) = self.attempts.get_mut(&task) {
            live.checkpoint_at = at.filter(|_| matches!(live.attempt.state, AttemptState::Running));
        }
    }

    pub(super) fn on_checkpointed(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        why: CheckpointWhy,
        result: Result<CheckpointFacts, String>,
    ) {
        let Some(mut attempt) = self.attempts.get(&id.task).map(|live| live.attempt.clone()) else { return };
        if attempt.id != id {
            return;
        }
        let about = self.about(id.task);
        match result {
            Ok(facts) => {
                let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
                let settings = self.settings_of(&task);
                self.put_checkpoint(step, &mut attempt, why, facts, &settings);
                let text = format!("{id}.{} ({})", attempt.checkpoints, why.name());
                self.emit(step, Change::AttemptPut(Box::new(attempt)));
                self.note(step, NoteKind::Checkpointed, about, &text);
            }
            Err(detail) => self.note(step, NoteKind::CheckpointFailed, about, &detail),
        }
    }

    /// The checkpoint that an attempt's end is, when it left a commit of its own.
    pub(super) fn checkpoint_end(
        &mut self,
        step: &mut Step,
        attempt: &mut Attempt,
        task: &Task,
        settings: &Settings,
        session: Option<String>,
    ) -> Option<Resume> {
        if task.kind != TaskKind::Implement {
            return None;
        }
        let commit = attempt.head.clone()?;
        let start = match &attempt.resume {
            Some(resume) => resume.start.clone(),
            None => attempt.start.clone()?,
        };
        if commit == start {
            return None;
        }
        let usage = attempt.usage.unwrap_or_default();
        let facts = CheckpointFacts {
            commit,
            start,
            session,
            stdout_bytes: usage.stdout_bytes,
            stderr_bytes: usage.stderr_bytes,
        };
        Some(self.put_checkpoint(step, attempt, CheckpointWhy::End, facts, settings))
    }

    fn put_checkpoint(
        &mut self,
        step: &mut Step,
        attempt: &mut Attempt,
        why: CheckpointWhy,
        mut facts: CheckpointFacts,
        settings: &Settings,
    ) -> Resume {
        facts.session = facts.session.filter(|session| session.len() <= SESSION_BYTES_MAX);
        attempt.checkpoints += 1;
        let checkpoint =
            Checkpoint { attempt: attempt.id, number: attempt.checkpoints, at: self.now, why, facts };
        let resume = checkpoint.resume();
        let kept = settings.checkpoints_kept.unwrap_or(self.limits.checkpoints_kept).max(1);
        self.emit(step, Change::CheckpointPut { checkpoint: Box::new(checkpoint), kept });
        resume
    }

    /// Nine tenths of an attempt's time are gone: told once.
    pub(super) fn on_near_deadline(&mut self, step: &mut Step, id: AttemptId, left_ms: u64) {
        let Some(mut attempt) = self.attempts.get(&id.task).map(|live| live.attempt.clone()) else { return };
        self.on_alive(id);
        if attempt.id != id || attempt.warned_at.is_some() {
            return;
        }
        attempt.warned_at = Some(self.now);
        self.emit(step, Change::AttemptPut(Box::new(attempt)));
        let about = self.about(id.task);
        let text = shorten(&format!("{} s left", left_ms.div_ceil(1_000)), self.limits.detail_bytes_max);
        self.note(step, NoteKind::AttemptNearDeadline, about, &text);
    }
}

/// The checkpoint that a retry means.
pub(super) fn chosen(
    task: TaskId,
    from: FromCheckpoint,
    checkpoints: &[Checkpoint],
) -> Result<Resume, Refusal> {
    let found = match from {
        FromCheckpoint::Latest => checkpoints.last(),
        FromCheckpoint::Of { attempt, number } => {
            checkpoints.iter().find(|c| c.attempt.number.0 == attempt && c.number == number)
        }
    };
    found.map(Checkpoint::resume).ok_or_else(|| {
        let text = match from {
            FromCheckpoint::Latest => format!("task {task} has no checkpoint"),
            FromCheckpoint::Of { attempt, number } => {
                format!("task {task} has no checkpoint {attempt}.{number}")
            }
        };
        Refusal::new(RefusalKind::NotFound, text).hint(format!("ropewalk task show {task}   # lists them"))
    })
}
