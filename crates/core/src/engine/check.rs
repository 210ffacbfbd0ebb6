//! The invariants of the live state, checked after each step of every simulated history.

use super::Engine;
use super::apply::is_met;
use crate::candidate::CandidateState;
use crate::id::TaskId;
use crate::row::PrdState;
use crate::task::{Task, TaskKind, TaskState};

/// An invariant that does not hold: always a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Violation {
    pub rule: &'static str,
    pub what: String,
}

impl Engine {
    /// Looks at everything. O(tasks + edges): for tests and simulation.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let mut ids: Vec<_> = self.tasks.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let live = &self.tasks[&id];
            self.check_dependencies(&live.task, live.unmet)?;
            self.check_leases(&live.task)?;
            self.check_landing(&live.task)?;
            self.check_lists(&live.task)?;
        }
        let stray = |id: &&TaskId| {
            !matches!(self.tasks.get(id).map(|t| &t.task.state), Some(TaskState::Leased { .. }))
        };
        if let Some(id) = self.attempts.keys().find(stray) {
            return broken("a live attempt belongs to a leased task", format!("task {id}"));
        }
        self.check_queues()
    }

    fn check_dependencies(&self, task: &Task, unmet: u32) -> Result<(), Violation> {
        // What an ended task depends on may be forgotten; it is counted anew if the task is tried again.
        if task.state.is_final() {
            return Ok(());
        }
        let policy = self.policy_of(task);
        let is_unmet = |on: &&TaskId| self.tasks.get(on).is_some_and(|on| !is_met(&on.task.state, policy));
        let counted = task.depends_on.iter().filter(is_unmet).count();
        if counted != unmet as usize {
            return broken(
                "unmet counts agree with the edges",
                format!("task {}: {unmet}, counted {counted}", task.id),
            );
        }
        let is_open = task
            .prd
            .is_none_or(|prd| self.prds.get(&prd).is_some_and(|prd| prd.prd.state == PrdState::Active));
        let is_free = is_open && unmet == 0;
        match task.state {
            TaskState::Blocked if is_free => {
                broken("a blocked task waits for something", format!("task {}", task.id))
            }
            TaskState::Ready { .. } if !is_free => {
                broken("a ready task waits for nothing but capacity", format!("task {}", task.id))
            }
            _ => Ok(()),
        }
    }

    fn check_leases(&self, task: &Task) -> Result<(), Violation> {
        let TaskState::Leased { .. } = task.state else { return Ok(()) };
        match self.attempts.get(&task.id) {
            Some(live) if live.attempt.id == task.attempt() && !live.attempt.state.is_finished() => Ok(()),
            _ => broken("a leased task has exactly its latest attempt live", format!("task {}", task.id)),
        }
    }

    fn check_landing(&self, task: &Task) -> Result<(), Violation> {
        let candidate = self.candidates.get(&task.id);
        let is_live = candidate.is_some_and(|c| c.id == task.attempt() && !c.state.is_final());
        match task.state {
            TaskState::Landing { .. } if !is_live => {
                broken("a landing task has its candidate in the queue", format!("task {}", task.id))
            }
            TaskState::Landing { .. } => Ok(()),
            _ if is_live => {
                broken("a candidate in the queue belongs to a landing task", format!("task {}", task.id))
            }
            _ => Ok(()),
        }
    }

    fn check_lists(&self, task: &Task) -> Result<(), Violation> {
        let TaskState::Ready { not_before, .. } = task.state else { return Ok(()) };
        let listed = usize::from(self.ready.contains(&(self.rank(task), task.id)))
            + usize::from(self.waiting.contains(&(not_before, task.id)));
        let expected = usize::from(self.may_start(task) && task.kind != TaskKind::Land);
        if listed == expected {
            return Ok(());
        }
        broken(
            "a ready task stands in one list if it may start, else in none",
            format!("task {}: {listed}", task.id),
        )
    }

    fn check_queues(&self) -> Result<(), Violation> {
        for candidate in self.candidates.values() {
            let target = (candidate.project, candidate.target.clone());
            let place = candidate.place(self.limits.priority_step_ms);
            let queued = self.queues.get(&target).is_some_and(|queue| queue.contains(&place));
            if queued != (candidate.state == CandidateState::Waiting) {
                return broken("the queue holds exactly the waiting", format!("candidate {}", candidate.id));
            }
            let coupled = self.trains.get(&target).is_some_and(|train| train.contains(&candidate.id.task));
            if coupled != candidate.state.is_under_way() {
                return broken(
                    "the train holds exactly those under way",
                    format!("candidate {}", candidate.id),
                );
            }
        }
        self.trains.iter().try_for_each(|(target, train)| {
            let cars: Vec<_> = train.iter().filter_map(|task| self.candidates.get(task)).collect();
            if cars.len() != train.len() {
                return broken("a train is made of candidates", target.1.to_string());
            }
            let merging = cars.iter().filter(|car| car.state == CandidateState::Merging).count();
            if merging != 0 {
                let ok = merging == cars.len();
                return if ok {
                    Ok(())
                } else {
                    broken("a train is merged as a whole", target.1.to_string())
                };
            }
            self.check_chain(target)
        })
    }

    /// Each car stands on the one before, and those that land are the first.
    fn check_chain(&self, target: &super::Target) -> Result<(), Violation> {
        let order = self.train_of(target);
        let cars: Vec<_> = order.iter().filter_map(|id| self.candidates.get(&id.task)).collect();
        let stands = |pair: &[&crate::candidate::Candidate]| {
            pair[1].merged().map(|m| &m.onto) == pair[0].merged().map(|m| &m.commit)
        };
        let is_landing =
            |car: &&crate::candidate::Candidate| matches!(car.state, CandidateState::Landing { .. });
        let lands_first = cars.iter().skip_while(|car| is_landing(car)).all(|car| !is_landing(car));
        if cars.windows(2).all(stands) && lands_first && order.len() == self.trains[target].len() {
            Ok(())
        } else {
            broken("a train is a chain of merges that lands from its beginning", target.1.to_string())
        }
    }
}

fn broken(rule: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { rule, what })
}
