//! Why a task is not running: in words, from the live state.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::attempt::AttemptState;
use crate::candidate::CandidateState;
use crate::id::TaskId;
use crate::row::{PrdBranch, PrdState};
use crate::task::{CancelReason, DoneHow, Task, TaskState};

/// The answer of `why`: the state, what holds the task there, and what a person can do about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    pub state: String,
    pub reasons: Vec<String>,
    pub next: Vec<String>,
}

/// Dependencies named one by one; of more, the number is told.
const NAMED_MAX: usize = 10;

impl Engine {
    /// Says why a task in memory is where it is; `None` when it is not in memory.
    pub fn why(&self, id: TaskId) -> Option<Why> {
        let task = &self.tasks.get(&id)?.task;
        let mut why = Why { state: task.state.name().into(), ..Why::default() };
        match &task.state {
            TaskState::Blocked => self.why_blocked(task, &mut why),
            TaskState::Ready { not_before, .. } => self.why_ready(task, *not_before, &mut why),
            TaskState::Leased { .. } => self.why_leased(task, &mut why),
            TaskState::Landing { .. } => self.why_landing(task, &mut why),
            TaskState::Done { how, .. } => why.reasons.push(match how {
                DoneHow::Landed { commit } => format!("it has landed as {}", commit.short()),
                DoneHow::Passed => "its attempt passed".into(),
                DoneHow::Trusted => "the file said so, and --trust-passes believed it".into(),
            }),
            TaskState::Parked { reason, .. } => {
                why.reasons.push(format!("it waits for a person: {}", reason.text()));
                why.next.push(format!("ropewalk task show {id}   # its attempts, and what was returned"));
                why.next.push(format!("ropewalk logs {id}    # what the last attempt printed"));
                why.next.push(reason.next(id));
            }
            TaskState::Cancelled { reason, .. } => {
                why.reasons.push(match reason {
                    CancelReason::Asked => "somebody cancelled it".into(),
                    CancelReason::PrdAbandoned => "its PRD was abandoned".into(),
                    CancelReason::Removed => "its PRD's file no longer holds it".into(),
                    CancelReason::DependencyFailed { task } => {
                        format!(
                            "its dependency {} failed, and on_dependency_failure is \"skip\"",
                            self.call(*task)
                        )
                    }
                });
                why.next.push(format!("ropewalk retry {id}"));
            }
        }
        Some(why)
    }

    fn why_prd(&self, task: &Task, why: &mut Why) {
        let Some(live) = task.prd.and_then(|prd| self.prds.get(&prd)) else { return };
        let prd = &live.prd;
        match &prd.state {
            PrdState::Draft => {
                why.reasons.push(format!("its PRD {} is a draft", prd.key));
                why.next.push(format!("ropewalk prd approve {}", prd.key));
            }
            PrdState::Completed { .. } | PrdState::Abandoned { .. } => {
                why.reasons.push(format!("its PRD {} is {}", prd.key, prd.state.name()));
            }
            PrdState::Active => {
                if let Some(fault) = self.branch_faults.get(&prd.number) {
                    why.reasons.push(format!("{} has no branch to land on: {fault}", prd.key));
                } else if matches!(prd.branch, PrdBranch::Unplanned | PrdBranch::Planned { .. }) {
                    why.reasons.push(format!("the branch of {} has not been made yet", prd.key));
                }
                if !prd.is_collection && self.focus.as_ref().is_some_and(|focus| !focus.contains(&prd.number))
                {
                    why.reasons
                        .push(format!("the engine works on other PRDs; {} is not among them", prd.key));
                    why.next.push("ropewalk run   # everything that is queued".into());
                }
            }
        }
    }

    fn why_blocked(&self, task: &Task, why: &mut Why) {
        self.why_prd(task, why);
        let policy = self.policy_of(task);
        let unmet: Vec<_> = task
            .depends_on
            .iter()
            .filter_map(|on| self.tasks.get(on))
            .filter(|on| !super::apply::is_met(&on.task.state, policy))
            .collect();
        for on in unmet.iter().take(NAMED_MAX) {
            let name = self.call(on.task.id);
            let state = on.task.state.name();
            match &on.task.state {
                TaskState::Parked { reason, .. } => {
                    why.reasons
                        .push(format!("it depends on {name}, which waits for a person: {}", reason.text()));
                    why.next.push(reason.next(on.task.id));
                }
                TaskState::Cancelled { .. } => {
                    why.reasons.push(format!("it depends on {name}, which is cancelled"));
                    why.next.push(format!("ropewalk retry {}", on.task.id));
                }
                TaskState::Blocked
                | TaskState::Ready { .. }
                | TaskState::Leased { .. }
                | TaskState::Landing { .. }
                | TaskState::Done { .. } => {
                    why.reasons.push(format!("it depends on {name}, which is {state}"))
                }
            }
        }
        if unmet.len() > NAMED_MAX {
            why.reasons.push(format!("and on {} more", unmet.len() - NAMED_MAX));
        }
    }

    fn why_ready(&self, task: &Task, not_before: crate::time::Time, why: &mut Why) {
        self.why_prd(task, why);
        if let Some(shortage) = &self.shortage {
            why.reasons.push(format!("no new work starts: {shortage}"));
            why.next.push("make room there; it goes on by itself".into());
        }
        if self.is_stopping() {
            why.reasons.push("the engine is stopping".into());
        }
        if not_before > self.now {
            let seconds = not_before.ms_since(self.now).div_ceil(1_000);
            why.reasons.push(format!("its last attempt ended badly; the next starts in {seconds} s"));
            why.next.push(format!("ropewalk retry {}   # to start now", task.id));
        }
        let waits_its_turn = task.prd.and_then(|prd| self.prds.get(&prd)).is_some_and(|live| {
            !live.prd.is_collection && self.is_in_focus(live) && !self.at_work.contains(&live.prd.number)
        });
        if waits_its_turn && self.at_work.len() >= self.prds_at_once as usize {
            let others: Vec<_> =
                self.at_work.iter().filter_map(|prd| Some(self.prds.get(prd)?.prd.key.to_string())).collect();
            why.reasons.push(format!("its PRD waits for its turn behind {}", others.join(", ")));
            why.next.push("ropewalk run --max-prds N   # more at once".into());
        }
        if self.attempts.len() >= self.slots as usize {
            let ahead = self.ready.iter().take_while(|(_, id)| *id != task.id).count();
            why.reasons
                .push(format!("all {} slots are in use, and {ahead} tasks are ahead of it", self.slots));
            why.next.push("ropewalk run --workers N   # more at once".into());
        }
        if why.reasons.is_empty() {
            why.reasons.push("nothing holds it: it starts as soon as an engine runs".into());
            why.next.push("ropewalk run".into());
        }
    }

    fn why_leased(&self, task: &Task, why: &mut Why) {
        let Some(live) = self.attempts.get(&task.id) else { return };
        let attempt = &live.attempt;
        why.reasons.push(match &attempt.state {
            AttemptState::Preparing => format!("attempt {} is being prepared", attempt.id.number),
            AttemptState::Running => format!("attempt {} is running", attempt.id.number),
            AttemptState::Stopping { .. } => format!("attempt {} is being ended", attempt.id.number),
            AttemptState::Checking { .. } => {
                format!("attempt {} has ended; its work is being read", attempt.id.number)
            }
            AttemptState::Finished { .. } => format!("attempt {} has ended", attempt.id.number),
        });
        let seconds = live.lease_until.ms_since(self.now) / 1_000;
        why.reasons.push(format!("its lease is good for {seconds} s more without a sign of life"));
        why.next.push(format!("ropewalk logs {} --follow", task.id));
    }

    fn why_landing(&self, task: &Task, why: &mut Why) {
        let Some(candidate) = self.candidates.get(&task.id) else { return };
        let target = (candidate.project, candidate.target.clone());
        let ahead = self.queues.get(&target).map_or(0, |queue| {
            queue.iter().take_while(|(_, id)| *id != candidate.id).count()
                + self.trains.get(&target).map_or(0, |train| train.len())
        });
        why.reasons.push(match &candidate.state {
            CandidateState::Waiting => {
                format!("{ahead} candidates are ahead of it in the queue of {}", target.1)
            }
            CandidateState::Merging => format!("it is being merged onto {}", target.1),
            CandidateState::Checking { .. } => format!("the checks run on it merged onto {}", target.1),
            CandidateState::Landing { .. } => format!("{} is about to move to it", target.1),
            CandidateState::Landed { .. } | CandidateState::Returned { .. } => {
                "its candidate has ended".into()
            }
        });
    }

    /// What people call a task: its story where it has one.
    fn call(&self, id: TaskId) -> String {
        let Some(task) = self.tasks.get(&id).map(|live| &live.task) else { return format!("task {id}") };
        let key = task.prd.and_then(|prd| self.prds.get(&prd)).map(|live| live.prd.key.as_str());
        match (key, &task.story) {
            (Some(key), Some(story)) => format!("{key}/{story} (task {id})"),
            (_, None) | (None, _) => format!("task {id}"),
        }
    }
}
