//! Rows of the history. Only ever appended.

use ropewalk_core::change::{Note, NoteKind};
use ropewalk_core::id::{PrdNumber, TaskId};
use ropewalk_core::port::NoteFilter;
use ropewalk_core::time::Time;
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};

use super::fault::Fault;
use super::sql::{all, from_json, limit, number, optional_number, run, signed, to_json};

pub(crate) fn append(connection: &Connection, note: &Note) -> Result<(), Fault> {
    const SQL: &str = "insert into note (at, kind, prd, task, attempt, text) values ($1, $2, $3, $4, $5, $6)";
    let task = note.task.map(|task| signed(task.0)).transpose()?;
    let kind = to_json(&note.kind)?;
    run(connection, SQL, params![note.at.0, kind, note.prd.map(|prd| prd.0), task, note.attempt, note.text])?;
    Ok(())
}

/// The latest are found from the end and turned round.
pub(crate) fn list(connection: &Connection, filter: &NoteFilter) -> Result<Vec<(u64, Note)>, Fault> {
    let mut sql = String::from("select seq, at, kind, prd, task, attempt, text from note where seq > $1");
    let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
    let most = limit(filter.limit);
    let task = filter.task.map(|task| signed(task.0)).transpose()?;
    let mut params: Vec<&dyn ToSql> = vec![&after];
    if let Some(prd) = &filter.prd {
        params.push(&prd.0);
        sql += &format!(" and prd = ${}", params.len());
    }
    if let Some(task) = &task {
        params.push(task);
        sql += &format!(" and task = ${}", params.len());
    }
    params.push(&most);
    sql += &format!(" order by seq desc limit ${}", params.len());
    let mut notes = all(connection, &sql, params_from_iter(params), read)?;
    notes.reverse();
    Ok(notes)
}

fn read(row: &Row<'_>) -> Result<(u64, Note), Fault> {
    let note = Note {
        at: Time(row.get(1)?),
        kind: from_json::<NoteKind>(row, 2)?,
        prd: optional_number(row, 3)?.map(PrdNumber),
        task: optional_number(row, 4)?.map(TaskId),
        attempt: optional_number(row, 5)?,
        text: row.get(6)?,
    };
    Ok((number(row, 0)?, note))
}
