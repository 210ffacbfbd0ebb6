//! The queue's part of a sample of the machine.

use super::{Engine, Pace, Step};
use crate::attempt::{Attempt, AttemptState, Outcome};
use crate::change::Change;
use crate::sample::{Machine, Sample};

impl Engine {
    pub(super) fn on_sampled(&mut self, step: &mut Step, machine: Machine) {
        let pace = self.pace;
        let sample = Sample {
            at: self.now,
            machine,
            running: self.attempts.len() as u64,
            queued: (self.ready.len() + self.waiting.len()) as u64,
            done: pace.done,
            failed: pace.failed,
            mean_attempt_ms: pace.ended_ms.checked_div(pace.ended),
        };
        self.pace = Pace { ended: 0, ended_ms: 0, ..pace };
        self.emit(step, Change::SampleAdded(Box::new(sample)));
    }

    /// Counts an attempt that has ended for the next sample.
    pub(super) fn count_end(&mut self, attempt: &Attempt) {
        let AttemptState::Finished { outcome } = attempt.state else { return };
        self.pace.ended += 1;
        self.pace.ended_ms += self.now.ms_since(attempt.started_at.unwrap_or(attempt.created_at));
        match outcome {
            Outcome::Passed => self.pace.done += 1,
            Outcome::Cancelled => {}
            Outcome::Failed
            | Outcome::TimedOut
            | Outcome::OverLimit
            | Outcome::RateLimited
            | Outcome::Lost
            | Outcome::NotStarted => self.pace.failed += 1,
        }
    }
}
