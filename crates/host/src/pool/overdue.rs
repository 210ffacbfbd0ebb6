//! What the pool does because time has passed: ends an assignment whose worker does not, and lets surplus workers go.
//! Knows when each is due; unaware of what workers say.
//!
//! A worker keeps its own deadline and obeys a stop. This is for one that cannot: stopped by a debugger or by its own
//! agent, hung on a dead disk, deaf. It is killed by its identity, its container with it.

use std::sync::Arc;

use rustix::process::Signal;

use super::hands::{END_WAIT_MS, say};
use super::{Shared, State, WorkerEvent};
use crate::clock::{boot_ms, wall_ms};
use crate::durable::{FileError, read_record, write_record};
use crate::identity::ProcessIdentity;
use crate::worker::ALIVE_MS;
use crate::worker::protocol::{Assignment, ToWorker};
use crate::worker::record::{self, End, ExitRecord, WorkerNote};

/// How long after the end of its grace a worker may take to tell an end. The rest of the two seconds, in which nothing
/// of an ended assignment may be alive any more, is for killing what it did not.
const ESCALATE_MS: u64 = 1_500;

/// How long a worker beyond those that are wanted stays idle: a burst of work comes again sooner, and starting one
/// takes milliseconds.
const IDLE_MS: u64 = 10_000;

/// The longest wait for something that is due. The clock that threads wait by stands still while the machine sleeps,
/// and deadlines do not.
const LOOK_MS: u64 = 60_000;

/// When an assignment is ended although its worker says nothing, and how that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: u64,
    pub(super) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was asked to stop.
    Stop,
    /// Its time is up.
    Deadline,
    /// It said that it cannot write its record, and then nothing more.
    Silence,
}

impl Due {
    pub(super) fn after_stop(kill: bool, grace_ms: u64) -> Due {
        let grace_ms = if kill { 0 } else { grace_ms };
        Due { at: boot_ms().saturating_add(grace_ms).saturating_add(ESCALATE_MS), why: Why::Stop }
    }

    pub(super) fn after_deadline(deadline_boot_ms: u64, grace_ms: u64) -> Due {
        let at = deadline_boot_ms.saturating_add(grace_ms).saturating_add(ESCALATE_MS);
        Due { at, why: Why::Deadline }
    }

    pub(super) fn after_sign_of_recording() -> Due {
        Due { at: boot_ms().saturating_add(2 * ALIVE_MS).saturating_add(ESCALATE_MS), why: Why::Silence }
    }

    /// For a worker that is only just called: it may be over already and say so.
    pub(super) fn in_time_to_answer(self) -> Due {
        Due { at: self.at.max(boot_ms().saturating_add(ESCALATE_MS)), ..self }
    }

    /// The earlier of two.
    pub(super) fn sooner(self, other: Option<Due>) -> Due {
        other.filter(|other| other.at < self.at).unwrap_or(self)
    }
}

impl State {
    /// How long the pool's thread may wait for something to happen. `None`: for ever.
    pub(super) fn wait_ms(&self, warm: usize) -> Option<u64> {
        let dues = self.running.values().filter_map(|entry| entry.due).map(|due| due.at);
        let idle = self.surplus(warm).and_then(|number| self.idle_until(number));
        let next = dues.chain(idle).min()?;
        Some(next.saturating_sub(boot_ms()).min(LOOK_MS))
    }

    /// The worker that has been idle for longest, when there are more workers than are wanted.
    fn surplus(&self, warm: usize) -> Option<u32> {
        let is_over = self.workers() > warm.max(self.wanted) && !self.closing;
        is_over.then(|| self.idle.first().copied()).flatten()
    }

    fn idle_until(&self, number: u32) -> Option<u64> {
        Some(self.links.get(&number)?.idle_since?.saturating_add(IDLE_MS))
    }

    /// Workers that are not on their way out.
    pub(super) fn workers(&self) -> usize {
        self.links.values().filter(|link| !link.is_dismissed).count()
    }

    /// Makes a worker one that waits for work.
    pub(super) fn set_idle(&mut self, number: u32) {
        if let Some(link) = self.links.get_mut(&number) {
            link.key = None;
            link.idle_since = Some(boot_ms());
            self.idle.push(number);
        }
    }
}

impl Shared {
    /// Does what is due.
    pub(super) fn keep_time(self: &Arc<Self>) {
        self.dismiss_idle();
        while let Some((assignment, worker, why)) = self.take_overdue() {
            if let Err(error) = self.end_by_force(&assignment, worker, why) {
                // As in `settle`: a record that cannot be read is neither success nor absence.
                let (key, detail) = (assignment.key.clone(), error.to_string());
                self.end(&assignment.key, WorkerEvent::Lost { key, detail });
            }
        }
    }

    fn dismiss_idle(&self) {
        let mut dismissed = Vec::new();
        let mut state = self.lock();
        while let Some(number) = state.surplus(self.warm)
            && state.idle_until(number).is_none_or(|until| boot_ms() >= until)
        {
            // Out of the idle ones before it is told, so that it is handed nothing meanwhile.
            state.idle.retain(|idle| *idle != number);
            if let Some(link) = state.links.get_mut(&number) {
                link.is_dismissed = true;
                dismissed.push(Arc::clone(&link.stream));
            }
        }
        drop(state);
        for stream in dismissed {
            say(&stream, &ToWorker::Quit);
        }
    }

    fn take_overdue(&self) -> Option<(Assignment, Option<ProcessIdentity>, Why)> {
        let now = boot_ms();
        let mut state = self.lock();
        let is_due = |due: Option<Due>| due.is_some_and(|due| now >= due.at);
        let entry = state.running.values_mut().find(|entry| is_due(entry.due))?;
        let due = entry.due.take()?;
        let (assignment, number) = (entry.assignment.clone(), entry.link);
        let worker = number.and_then(|number| state.links.get(&number)?.worker.clone());
        Some((assignment, worker, due.why))
    }

    /// Its worker had its time and more. What it has on disk still counts.
    fn end_by_force(
        &self,
        assignment: &Assignment,
        linked: Option<ProcessIdentity>,
        why: Why,
    ) -> Result<(), FileError> {
        if self.ended_by_record(assignment)? {
            return Ok(());
        }
        let note: Option<WorkerNote> = read_record(&record::worker_note(&assignment.folder))?;
        let Some(worker) = note.as_ref().map(|note| note.worker.clone()).or(linked) else {
            // Nobody has it yet: `pair` and `settle` see that it is to stop.
            return Ok(());
        };
        let _ = worker.signal(Signal::KILL);
        let _ = worker.wait_for_end(END_WAIT_MS);
        if self.ended_by_record(assignment)? {
            return Ok(());
        }
        match (why, note) {
            (Why::Deadline, Some(note)) => self.end_timed_out(assignment, &note),
            _ => self.lose(assignment, &worker, "its worker did not answer and was killed"),
        }
        Ok(())
    }

    /// Writes the record that its worker did not: the next to ask is to hear the same.
    fn end_timed_out(&self, assignment: &Assignment, note: &WorkerNote) {
        let killed = self.kill_leftover(assignment, &note.worker);
        let end = End::TimedOut { stalled: false };
        let mut record = ExitRecord::of_nothing(&assignment.key, end, note.started_at_ms);
        let started_boot_ms = note.deadline_boot_ms.saturating_sub(note.timeout_ms);
        record.usage.wall_ms = boot_ms().saturating_sub(started_boot_ms);
        record.finished_at_ms = wall_ms().max(note.started_at_ms);
        record.rung = note.rung;
        record.leaked = u32::try_from(killed.count).unwrap_or(u32::MAX);
        // When it cannot be written, the next to ask hears that it is lost, which is no success either.
        let _ = write_record(&record::exit_record(&assignment.folder), &record);
        self.end(&assignment.key, WorkerEvent::Ended { key: assignment.key.clone(), record });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sooner_of_two_dues_counts() {
        let deadline = Due::after_deadline(1_000, 500);
        assert_eq!(deadline.at, 1_500 + ESCALATE_MS);
        let stop = Due::after_stop(true, 60_000);
        assert!(stop.at <= boot_ms() + ESCALATE_MS);
        assert_eq!(stop.sooner(None), stop);
        assert_eq!(stop.sooner(Some(deadline)), deadline);
        assert_eq!(deadline.sooner(Some(stop)), deadline);
    }
}
