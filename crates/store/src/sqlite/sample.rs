//! Rows of samples of the machine, one for each instant.

use ropewalk_core::sample::Sample;
use ropewalk_core::time::Time;
use rusqlite::{Connection, params};

use super::fault::Fault;
use super::sql::{all, from_json, limit, run, to_json};

pub(crate) fn put(connection: &Connection, sample: &Sample) -> Result<(), Fault> {
    const SQL: &str = "insert into sample (at, body) values ($1, $2)
        on conflict (at) do update set body = excluded.body";
    run(connection, SQL, params![sample.at.0, to_json(sample)?])?;
    Ok(())
}

pub(crate) fn forget(connection: &Connection, times: &[Time]) -> Result<(), Fault> {
    for time in times {
        run(connection, "delete from sample where at = $1", [time.0])?;
    }
    Ok(())
}

pub(crate) fn list(connection: &Connection, since: Time, most: usize) -> Result<Vec<Sample>, Fault> {
    const SQL: &str = "select body from sample where at >= $1 order by at limit $2";
    all(connection, SQL, params![since.0, limit(most)], |row| from_json(row, 0))
}
