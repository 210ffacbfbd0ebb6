//! The versions of the schema, forward only. Knows which were applied, and that each is what it was.

use std::path::Path;

use ropewalk_core::port::StoreError;
use rusqlite::{Connection, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::fault::{Fault, unusable};
use super::sql::{all, number};

/// Marks a file as ours: "ROPE". SQLite keeps it at a fixed place of the file's header.
pub(crate) const APPLICATION_ID: i64 = 0x524f_5045;

struct Migration {
    name: &'static str,
    sql: &'static str,
}

/// Version 1 is the first. Never edit one that was released: its checksum is in every database.
const MIGRATIONS: &[Migration] = &[
    Migration { name: "initial", sql: include_str!("../../migrations/0001_initial.sqlite.sql") },
    Migration { name: "workers", sql: include_str!("../../migrations/0002_workers.sqlite.sql") },
    Migration { name: "trains", sql: include_str!("../../migrations/0003_trains.sqlite.sql") },
];

/// The version that this program writes.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

/// Refuses what the file's header says: it needs no table, so it works on whatever file it is.
pub(crate) fn check_header(path: &Path, application_id: i64, version: i64) -> Result<(), StoreError> {
    if application_id != APPLICATION_ID {
        return Err(unusable(
            path,
            format!(
                "it is a database of another program (application id {application_id}); nothing was changed: \
                 name another folder, or move the file away"
            ),
        ));
    }
    if version > newest() {
        return Err(newer(path, version));
    }
    if version < 1 {
        return Err(unusable(path, "its schema version is missing; nothing was changed: restore a backup"));
    }
    Ok(())
}

fn newer(path: &Path, version: i64) -> StoreError {
    unusable(
        path,
        format!(
            "a newer Ropewalk wrote it (schema version {version}, and this one knows {}); nothing was changed: \
             use that Ropewalk, or a backup from before it",
            newest()
        ),
    )
}

/// Refuses a file whose migrations are not those of this program.
pub(crate) fn check_applied(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    const SQL: &str = "select version, sha256 from migration order by version";
    let applied = all(connection, SQL, [], |row| Ok((number::<i64>(row, 0)?, row.get::<_, String>(1)?)))
        .map_err(|fault| fault.told_of_probe("read the schema's version", path))?;
    for (expected, (version, checksum)) in (1..).zip(&applied) {
        if *version > newest() {
            return Err(newer(path, *version));
        }
        let known = usize::try_from(version - 1).ok().and_then(|at| MIGRATIONS.get(at));
        if *version != expected || known.is_none_or(|migration| checksum != &sha256(migration)) {
            return Err(unusable(
                path,
                format!(
                    "its schema version {version} is not the one that this Ropewalk has under that number; \
                     nothing was changed: use the Ropewalk that made it, or restore a backup"
                ),
            ));
        }
    }
    if applied.is_empty() {
        return Err(unusable(
            path,
            "its list of schema versions is empty; nothing was changed: restore a backup",
        ));
    }
    Ok(())
}

/// Applies what is missing, all of it in one transaction.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    const TABLE: &str = "create table if not exists migration (
            version integer primary key, name text not null, sha256 text not null
        ) strict";
    const INSERT: &str = "insert into migration (version, name, sha256) values ($1, $2, $3)";
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let stored: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if stored < newest() {
        transaction.execute_batch(TABLE)?;
        for (version, migration) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > stored) {
            transaction.execute_batch(migration.sql)?;
            transaction.execute(INSERT, params![version, migration.name, sha256(migration)])?;
        }
        transaction.pragma_update(None, "user_version", newest())?;
    }
    Ok(transaction.commit()?)
}

fn sha256(migration: &Migration) -> String {
    super::hex(&Sha256::digest(migration.sql))
}
