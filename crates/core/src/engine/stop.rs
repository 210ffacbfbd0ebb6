//! Ending well: nothing new starts, what runs gets time, and then it is ended or left to its workers.

use super::{Engine, Step, Stopping};
use crate::attempt::StopWhy;
use crate::candidate::CandidateState;
use crate::command::{AtStop, Done};
use crate::effect::Effect;

impl Engine {
    pub(super) fn stop_asked(&mut self, step: &mut Step, grace_ms: u64, then: AtStop) -> Done {
        let wished = self.now.plus_ms(grace_ms);
        let until = self.stopping.map_or(wished, |before| before.until.min(wished));
        self.stopping = Some(Stopping { until, then, is_over: false });
        self.stop(step);
        let running = self.attempts.len();
        let (attempts, have, go, are) = match running {
            1 => ("1 attempt".to_owned(), "has", "goes", "is"),
            n => (format!("{n} attempts"), "have", "go", "are"),
        };
        let seconds = until.ms_since(self.now).div_ceil(1_000);
        let text = match (running, seconds, then) {
            (0, _, _) => "stopping; nothing runs".to_owned(),
            (_, 0, AtStop::End) => format!("stopping; {attempts} {are} ended now"),
            (_, 0, AtStop::Leave) => format!("stopping; {attempts} {go} on alone"),
            (_, _, AtStop::End) => format!("stopping; {attempts} {have} {seconds} s to end by themselves"),
            (_, _, AtStop::Leave) => {
                format!("stopping; {attempts} {have} {seconds} s to end, and then {go} on alone")
            }
        };
        Done::Changed { text }
    }

    /// What a stop asks for at this moment. Called when it is asked for, when its time is over, and after a recovery.
    pub(super) fn stop(&mut self, step: &mut Step) {
        let Some(stopping) = self.stopping else { return };
        // All of them: an engine that was built anew does not know which of a train's is being checked.
        for candidate in self.candidates.values() {
            if matches!(candidate.state, CandidateState::Checking { .. }) {
                step.effects.push(Effect::StopCheck { candidate: candidate.id });
            }
        }
        if stopping.until > self.now {
            return;
        }
        self.stopping = Some(Stopping { is_over: true, ..stopping });
        if stopping.then == AtStop::End {
            for task in self.attempts.keys().copied().collect::<Vec<_>>() {
                self.stop_attempt(step, task, StopWhy::EngineStops);
            }
        }
    }

    /// The time of a stop may be over.
    pub(super) fn tick_stop(&mut self, step: &mut Step) {
        if self.stopping.is_some_and(|stopping| !stopping.is_over && stopping.until <= self.now) {
            self.stop(step);
        }
    }
}
