//! Rows of attempts and of candidates, which are keyed alike: by task and number.

use ropewalk_core::attempt::Attempt;
use ropewalk_core::candidate::Candidate;
use ropewalk_core::id::{AttemptId, TaskId};
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::sql::{all, from_json, run, signed, to_json};

pub(crate) fn put_attempt(connection: &Connection, attempt: &Attempt) -> Result<(), Fault> {
    const SQL: &str = "insert into attempt (task, number, state, body) values ($1, $2, $3, $4)
        on conflict (task, number) do update set state = excluded.state, body = excluded.body";
    put(connection, SQL, attempt.id, attempt.state.name(), &to_json(attempt)?)
}

pub(crate) fn put_candidate(connection: &Connection, candidate: &Candidate) -> Result<(), Fault> {
    const SQL: &str = "insert into candidate (task, number, state, body) values ($1, $2, $3, $4)
        on conflict (task, number) do update set state = excluded.state, body = excluded.body";
    put(connection, SQL, candidate.id, candidate.state.name(), &to_json(candidate)?)
}

fn put(connection: &Connection, sql: &str, id: AttemptId, state: &str, body: &str) -> Result<(), Fault> {
    run(connection, sql, params![signed(id.task.0)?, id.number.0, state, body])?;
    Ok(())
}

pub(crate) fn attempts(connection: &Connection, task: TaskId) -> Result<Vec<Attempt>, Fault> {
    const SQL: &str = "select body from attempt where task = $1 order by number";
    all(connection, SQL, [signed(task.0)?], |row| from_json(row, 0))
}

pub(crate) fn candidates(connection: &Connection, task: TaskId) -> Result<Vec<Candidate>, Fault> {
    const SQL: &str = "select body from candidate where task = $1 order by number";
    all(connection, SQL, [signed(task.0)?], |row| from_json(row, 0))
}

pub(crate) fn candidates_in(
    connection: &Connection,
    state: &str,
    limit: usize,
) -> Result<Vec<Candidate>, Fault> {
    const SQL: &str = "select body from candidate where state = $1 order by task desc, number desc limit $2";
    all(connection, SQL, params![state, signed(limit as u64)?], |row| from_json(row, 0))
}

/// The latest attempt of each task that is leased, by task.
pub(crate) fn of_leased(connection: &Connection) -> Result<Vec<Attempt>, Fault> {
    const SQL: &str = "select attempt.body from task join attempt on attempt.task = task.id
        where task.state = 'leased'
            and attempt.number = (select max(number) from attempt where attempt.task = task.id)
        order by task.id";
    all(connection, SQL, [], |row| from_json(row, 0))
}

/// The latest candidate of each task that is landing or parked, by task.
pub(crate) fn of_landing_and_parked(connection: &Connection) -> Result<Vec<Candidate>, Fault> {
    const SQL: &str = "select candidate.body from task join candidate on candidate.task = task.id
        where task.state in ('landing', 'parked')
            and candidate.number = (select max(number) from candidate where candidate.task = task.id)
        order by task.id";
    all(connection, SQL, [], |row| from_json(row, 0))
}
