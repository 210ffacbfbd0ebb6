//! Rows of PRDs and of their content.

use ropewalk_core::id::{PrdKey, PrdNumber, ProjectId};
use ropewalk_core::port::PrdFilter;
use ropewalk_core::row::{Prd, PrdContent, Progress};
use rusqlite::{Connection, ToSql, params, params_from_iter};

use super::fault::Fault;
use super::progress::{self, progress_columns};
use super::sql::{all, from_json, one, run, to_json};

pub(crate) fn put(connection: &Connection, prd: &Prd, content: &PrdContent) -> Result<(), Fault> {
    const SQL: &str = "insert into prd (number, project, folded, state, body) values ($1, $2, $3, $4, $5)
        on conflict (number) do update set project = excluded.project, folded = excluded.folded,
            state = excluded.state, body = excluded.body";
    let body = to_json(prd)?;
    run(connection, SQL, params![prd.number.0, prd.project.0, prd.key.folded(), prd.state.name(), body])?;
    put_content(connection, prd.number, content)
}

/// Leaves `indexed` alone: it says what the index holds, not what the row holds.
fn put_content(connection: &Connection, prd: PrdNumber, content: &PrdContent) -> Result<(), Fault> {
    const SQL: &str = "insert into prd_content (prd, source, body) values ($1, $2, $3)
        on conflict (prd) do update set source = excluded.source, body = excluded.body";
    run(connection, SQL, params![prd.0, content.source, to_json(content)?])?;
    Ok(())
}

pub(crate) fn moved(connection: &Connection, prd: &Prd) -> Result<(), Fault> {
    const SQL: &str = "update prd set project = $1, folded = $2, state = $3, body = $4 where number = $5";
    let body = to_json(prd)?;
    let changed =
        run(connection, SQL, params![prd.project.0, prd.key.folded(), prd.state.name(), body, prd.number.0])?;
    if changed == 0 {
        return Err(Fault::Refused {
            object: format!("PRD {}", prd.number),
            detail: "it is not stored".into(),
        });
    }
    Ok(())
}

pub(crate) fn list(connection: &Connection, filter: &PrdFilter) -> Result<Vec<(Prd, Progress)>, Fault> {
    let mut sql = String::from(concat!(
        "select body, ",
        progress_columns!(),
        " from prd left join progress on progress.prd = prd.number where true"
    ));
    let mut params: Vec<&dyn ToSql> = Vec::new();
    if let Some(project) = &filter.project {
        params.push(&project.0);
        sql += " and project = $1";
    }
    push_states(&mut sql, &mut params, "prd.state", &filter.states);
    sql += " order by number";
    all(connection, &sql, params_from_iter(params), |row| Ok((from_json(row, 0)?, progress::read(row, 1)?)))
}

/// `and <column> in (…)`, unless the list is empty.
pub(crate) fn push_states<'a>(
    sql: &mut String,
    params: &mut Vec<&'a dyn ToSql>,
    column: &str,
    states: &'a [&'static str],
) {
    if states.is_empty() {
        return;
    }
    let first = params.len() + 1;
    let places: Vec<_> = (first..first + states.len()).map(|n| format!("${n}")).collect();
    *sql += &format!(" and {column} in ({})", places.join(", "));
    params.extend(states.iter().map(|state| state as &dyn ToSql));
}

pub(crate) fn get(
    connection: &Connection,
    number: PrdNumber,
) -> Result<Option<(Prd, PrdContent, Progress)>, Fault> {
    const SQL: &str = concat!(
        "select prd.body, prd_content.body, ",
        progress_columns!(),
        " from prd join prd_content on prd_content.prd = prd.number
            left join progress on progress.prd = prd.number
        where number = $1"
    );
    one(connection, SQL, [number.0], |row| {
        Ok((from_json(row, 0)?, from_json(row, 1)?, progress::read(row, 2)?))
    })
}

pub(crate) fn by_key(connection: &Connection, key: &PrdKey) -> Result<Vec<Prd>, Fault> {
    const SQL: &str = "select body from prd where folded = $1 order by number";
    all(connection, SQL, [key.folded()], |row| from_json(row, 0))
}

/// The latest one, should a file have been imported under several keys.
pub(crate) fn by_source(
    connection: &Connection,
    project: ProjectId,
    source: &str,
) -> Result<Option<Prd>, Fault> {
    const SQL: &str = "select prd.body from prd_content join prd on prd.number = prd_content.prd
        where prd_content.source = $1 and prd.project = $2 order by prd.number desc limit 1";
    one(connection, SQL, params![source, project.0], |row| from_json(row, 0))
}
