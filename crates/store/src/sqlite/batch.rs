//! The changes of one commit, written inside a savepoint. Unaware of other commits in the same transaction.

use std::collections::BTreeSet;

use ropewalk_core::change::Change;
use ropewalk_core::id::PrdNumber;
use ropewalk_core::time::Time;
use rusqlite::Connection;

use super::fault::Fault;
use super::progress::Delta;
use super::sql::run;
use super::{attempt, checkpoint, instant, note, prd, project, sample, story, task, text};

/// Writes all the changes or, on a fault, leaves the transaction as it was (unless SQLite has ended it).
/// Answers the latest instant in them.
pub(crate) fn write(connection: &Connection, changes: &[Change]) -> Result<Option<Time>, Fault> {
    run(connection, "savepoint batch", [])?;
    match write_all(connection, changes) {
        Ok(latest) => {
            run(connection, "release batch", [])?;
            Ok(latest)
        }
        Err(fault) => {
            // SQLite ends the whole transaction on the worst errors; the writer looks at that.
            if !connection.is_autocommit() {
                run(connection, "rollback to batch", [])?;
                run(connection, "release batch", [])?;
            }
            Err(fault)
        }
    }
}

fn write_all(connection: &Connection, changes: &[Change]) -> Result<Option<Time>, Fault> {
    let mut delta = Delta::default();
    // A PRD's text is known only after all its stories: each is indexed once, at the end.
    let mut to_index: BTreeSet<PrdNumber> = BTreeSet::new();
    for change in changes {
        match change {
            Change::ProjectPut(project) => project::put(connection, project)?,
            Change::PrdPut { prd, content } => {
                prd::put(connection, prd, content)?;
                to_index.insert(prd.number);
            }
            Change::PrdMoved(prd) => prd::moved(connection, prd)?,
            Change::StoryPut(story) => {
                let object = || format!("story {} of task {}", story.id, story.task);
                story::put(connection, story).map_err(|e| named(e, object))?;
                to_index.insert(story.prd);
            }
            Change::StoryRemoved { prd, task } => {
                story::remove(connection, *prd, *task)?;
                to_index.insert(*prd);
            }
            Change::TaskPut(task) => task::put(connection, task, &mut delta)?,
            Change::TaskMoved(moved) => task::moved(connection, moved, &mut delta)?,
            Change::AttemptPut(attempt) => {
                let object = || format!("attempt {}", attempt.id);
                attempt::put_attempt(connection, attempt).map_err(|e| named(e, object))?;
            }
            Change::CandidatePut(candidate) => {
                let object = || format!("candidate {}", candidate.id);
                attempt::put_candidate(connection, candidate).map_err(|e| named(e, object))?;
            }
            Change::CheckpointPut { checkpoint, kept } => {
                let object = || format!("checkpoint of attempt {}", checkpoint.attempt);
                checkpoint::put(connection, checkpoint, *kept).map_err(|e| named(e, object))?;
            }
            Change::CheckpointsForgotten { before } => checkpoint::forget_before(connection, *before)?,
            Change::SampleAdded(sample) => sample::put(connection, sample)?,
            Change::SamplesForgotten(times) => sample::forget(connection, times)?,
            Change::Noted(note) => note::append(connection, note)?,
        }
    }
    delta.write(connection)?;
    for prd in to_index {
        text::index(connection, prd)?;
    }
    Ok(changes.iter().filter_map(instant::latest).max())
}

fn named(fault: Fault, object: impl Fn() -> String) -> Fault {
    if fault.is_missing_row() {
        Fault::Refused { object: object(), detail: "its task is not stored".into() }
    } else {
        fault
    }
}

/// Called once per transaction.
pub(crate) fn write_latest(connection: &Connection, latest: Time) -> Result<(), Fault> {
    run(connection, "update latest set instant = $1 where instant < $1", [latest.0])?;
    Ok(())
}
