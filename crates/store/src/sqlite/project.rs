//! Rows of projects.

use ropewalk_core::row::Project;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::sql::{all, from_json, run, to_json};

pub(crate) fn put(connection: &Connection, project: &Project) -> Result<(), Fault> {
    const SQL: &str = "insert into project (id, body) values ($1, $2)
        on conflict (id) do update set body = excluded.body";
    run(connection, SQL, params![project.id.0, to_json(project)?])?;
    Ok(())
}

pub(crate) fn list(connection: &Connection) -> Result<Vec<Project>, Fault> {
    all(connection, "select body from project order by id", [], |row| from_json(row, 0))
}
