//! From rows to a live engine, and from a live engine to the effects that were on their way. The one path of
//! start and recovery.

use super::{Engine, Step};
use crate::attempt::AttemptState;
use crate::change::Change;
use crate::effect::Effect;
use crate::id::AttemptId;
use crate::limits::Limits;
use crate::port::Snapshot;
use crate::time::Time;

pub(super) fn restore(limits: Limits, snapshot: Snapshot) -> Engine {
    let mut engine = Engine::new(limits);
    engine.now = snapshot.last_time;
    for project in snapshot.projects {
        engine.apply(&Change::ProjectPut(Box::new(project)));
    }
    for (prd, progress) in &snapshot.prds {
        engine.put_prd(prd, Some(*progress));
    }
    // First without edges, then with them: a dependency may have a higher number than its dependent.
    engine.tasks.reserve(snapshot.tasks.len());
    for task in &snapshot.tasks {
        let bare = crate::task::Task { depends_on: Vec::new(), ..task.clone() };
        engine.put_task(bare);
    }
    for task in snapshot.tasks {
        if !task.depends_on.is_empty() {
            engine.put_task(task);
        }
    }
    for (prd, progress) in snapshot.prds {
        if let Some(live) = engine.prds.get_mut(&prd.number) {
            live.progress = progress;
        }
    }
    for attempt in snapshot.attempts {
        engine.apply(&Change::AttemptPut(Box::new(attempt)));
    }
    for candidate in snapshot.candidates {
        engine.apply(&Change::CandidatePut(Box::new(candidate)));
    }
    engine.last_task = snapshot.last_task;
    engine.last_prd = snapshot.last_prd;
    engine.last_project = snapshot.last_project;
    engine.finished.clear();
    engine
}

impl Engine {
    /// Asks again for everything that was on its way when the engine last ended, and renews the leases.
    pub fn recover(&mut self, now: Time) -> Step {
        self.now = self.now.max(now);
        let mut step = Step::default();
        let live: Vec<AttemptId> = self.attempts.values().map(|live| live.attempt.id).collect();
        step.effects.push(Effect::Sweep { live });
        let until = self.now.plus_ms(self.limits.lease_ms);
        for attempt in self.attempts.values_mut() {
            attempt.lease_until = until;
            let id = attempt.attempt.id;
            match &attempt.attempt.state {
                AttemptState::Preparing | AttemptState::Running => {
                    step.effects.push(Effect::Start { attempt: id })
                }
                AttemptState::Stopping { .. } => {
                    step.effects.push(Effect::Start { attempt: id });
                    step.effects.push(Effect::Stop { attempt: id, at_once: false });
                }
                AttemptState::Checking { .. } => step.effects.push(Effect::Collect { attempt: id }),
                AttemptState::Finished { .. } => {}
            }
        }
        for task in self.attempts.keys().copied().collect::<Vec<_>>() {
            self.time_checkpoint(task);
        }
        self.ask_for_trains(&mut step);
        self.land_what_was_in_the_way(&mut step);
        for target in self.queues.keys().cloned().collect::<Vec<_>>() {
            self.advance_queue(&mut step, &target);
        }
        for prd in self.prds.keys().copied().collect::<Vec<_>>() {
            self.ensure_branch(&mut step, prd);
        }
        let mut tasks: Vec<_> = self.tasks.keys().copied().collect();
        tasks.sort_unstable();
        self.settle(&mut step, tasks);
        if self.is_stopping() {
            self.stop(&mut step);
        }
        step
    }
}
