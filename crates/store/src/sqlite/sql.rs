//! Running a statement. Every statement is prepared once per connection and kept; unaware of what it says.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::Fault;

/// Room for every statement of this crate, so that none is ever prepared twice.
pub(crate) const STATEMENTS_KEPT: usize = 128;

pub(crate) fn run(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, Fault> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

pub(crate) fn all<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(decode(row)?);
    }
    Ok(found)
}

pub(crate) fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    decode: impl Fn(&Row<'_>) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    rows.next()?.map(decode).transpose()
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value)
        .map_err(|e| Fault::Refused { object: "a row".into(), detail: format!("it is no JSON: {e}") })
}

pub(crate) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Result<T, Fault> {
    let text = text(row, column)?;
    serde_json::from_str(text).map_err(|e| Fault::Damaged(format!("a row cannot be read: {e}")))
}

/// JSON for a column that may be null.
pub(crate) fn optional_json<T: Serialize>(value: Option<&T>) -> Result<Option<String>, Fault> {
    value.map(to_json).transpose()
}

pub(crate) fn optional_from_json<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, Fault> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => from_json(row, column).map(Some),
    }
}

/// A column's text, without a copy.
pub(crate) fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, Fault> {
    row.get_ref(column)?.as_str().map_err(|e| Fault::Damaged(format!("a column is no text: {e}")))
}

/// An unsigned number read from a column.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> Result<T, Fault> {
    let stored: i64 = row.get(column)?;
    stored.try_into().map_err(|_| Fault::Damaged(format!("the number {stored} is out of its range")))
}

pub(crate) fn optional_number<T: TryFrom<i64>>(row: &Row<'_>, column: usize) -> Result<Option<T>, Fault> {
    match row.get::<_, Option<i64>>(column)? {
        None => Ok(None),
        Some(_) => number(row, column).map(Some),
    }
}

/// An unsigned number for a column, which is signed.
pub(crate) fn signed(number: u64) -> Result<i64, Fault> {
    i64::try_from(number).map_err(|_| Fault::Refused {
        object: format!("number {number}"),
        detail: "it is greater than a column can hold".into(),
    })
}

/// How many rows at most; more than a column can count is no limit.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
