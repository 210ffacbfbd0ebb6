//! Rows of checkpoints. Knows that of a task only the latest few stay.

use ropewalk_core::checkpoint::Checkpoint;
use ropewalk_core::id::TaskId;
use ropewalk_core::time::Time;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::sql::{all, from_json, run, signed, to_json};

/// Writes a checkpoint, and forgets all of its task's but the latest `kept`.
pub(crate) fn put(connection: &Connection, checkpoint: &Checkpoint, kept: u32) -> Result<(), Fault> {
    const SQL: &str = "insert into checkpoint (task, attempt, number, at, body) values ($1, $2, $3, $4, $5)
        on conflict (task, attempt, number) do update set at = excluded.at, body = excluded.body";
    const FORGET: &str = "delete from checkpoint where task = $1 and (attempt, number) not in (
            select attempt, number from checkpoint where task = $1
            order by attempt desc, number desc limit $2)";
    let task = signed(checkpoint.attempt.task.0)?;
    let attempt = checkpoint.attempt.number.0;
    let params = params![task, attempt, checkpoint.number, checkpoint.at.0, to_json(checkpoint)?];
    run(connection, SQL, params)?;
    run(connection, FORGET, params![task, kept])?;
    Ok(())
}

/// Forgets those that are older.
pub(crate) fn forget_before(connection: &Connection, before: Time) -> Result<(), Fault> {
    run(connection, "delete from checkpoint where at < $1", [before.0])?;
    Ok(())
}

pub(crate) fn list(connection: &Connection, task: TaskId) -> Result<Vec<Checkpoint>, Fault> {
    const SQL: &str = "select body from checkpoint where task = $1 order by attempt, number";
    all(connection, SQL, [signed(task.0)?], |row| from_json(row, 0))
}
