//! The instants in a change. Kept as one number, so that a start need not read every row for the latest.

use ropewalk_core::attempt::Attempt;
use ropewalk_core::candidate::{Candidate, CandidateState};
use ropewalk_core::change::Change;
use ropewalk_core::row::{Prd, PrdState};
use ropewalk_core::task::TaskState;
use ropewalk_core::time::Time;

/// The latest instant that the change says has come. A wait's end (`not_before`) has not come, and is left out:
/// time must not jump ahead to it over a restart.
pub(crate) fn latest(change: &Change) -> Option<Time> {
    match change {
        Change::ProjectPut(project) => Some(project.created_at),
        Change::PrdPut { prd, .. } | Change::PrdMoved(prd) => of_prd(prd),
        Change::TaskPut(task) => of_state(&task.state).max(Some(task.created_at)),
        Change::TaskMoved(moved) => of_state(&moved.state),
        Change::AttemptPut(attempt) => of_attempt(attempt),
        Change::CandidatePut(candidate) => of_candidate(candidate),
        Change::Noted(note) => Some(note.at),
        Change::CheckpointPut { checkpoint, .. } => Some(checkpoint.at),
        Change::SampleAdded(sample) => Some(sample.at),
        Change::StoryPut(_)
        | Change::StoryRemoved { .. }
        | Change::SamplesForgotten(_)
        | Change::CheckpointsForgotten { .. } => None,
    }
}

fn of_prd(prd: &Prd) -> Option<Time> {
    let ended = match &prd.state {
        PrdState::Draft | PrdState::Active => None,
        PrdState::Completed { at } | PrdState::Abandoned { at, .. } => Some(*at),
    };
    ended.max(Some(prd.created_at)).max(Some(prd.updated_at))
}

fn of_state(state: &TaskState) -> Option<Time> {
    match state {
        TaskState::Blocked => None,
        TaskState::Ready { since, .. } | TaskState::Leased { since } | TaskState::Landing { since } => {
            Some(*since)
        }
        TaskState::Done { at, .. } | TaskState::Parked { at, .. } | TaskState::Cancelled { at, .. } => {
            Some(*at)
        }
    }
}

fn of_attempt(attempt: &Attempt) -> Option<Time> {
    attempt.finished_at.max(attempt.started_at).max(Some(attempt.created_at))
}

fn of_candidate(candidate: &Candidate) -> Option<Time> {
    let ended = match &candidate.state {
        CandidateState::Waiting
        | CandidateState::Merging
        | CandidateState::Checking { .. }
        | CandidateState::Landing { .. } => None,
        CandidateState::Landed { at, .. } | CandidateState::Returned { at, .. } => Some(*at),
    };
    ended.max(Some(candidate.queued_at))
}
