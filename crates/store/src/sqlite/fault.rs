//! What can go wrong in here, before it is told as a [`StoreError`]. Knows SQLite's codes; unaware of the caller.

use std::path::Path;

use ropewalk_core::port::StoreError;
use rusqlite::ErrorCode;

#[derive(Debug)]
pub(crate) enum Fault {
    Sqlite(rusqlite::Error),
    /// A row holds what this program never writes.
    Damaged(String),
    Refused {
        object: String,
        detail: String,
    },
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

impl Fault {
    pub(crate) fn told(self, operation: &'static str, path: &Path) -> StoreError {
        match self {
            Fault::Refused { object, detail } => StoreError::Refused { operation, object, detail },
            Fault::Damaged(detail) => damaged(path, &detail),
            Fault::Sqlite(error) if is_damage(&error) => damaged(path, &error.to_string()),
            // Two rows where the schema allows one: the changes do not fit what is stored.
            Fault::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                StoreError::Refused { operation, object: "a row".into(), detail: error.to_string() }
            }
            Fault::Sqlite(error) if is_full(&error) => {
                StoreError::Full { operation, path: path.display().to_string(), detail: error.to_string() }
            }
            Fault::Sqlite(error) => io(operation, path, &error),
        }
    }

    /// The same while a file is looked at: there a statement that makes no sense to SQLite (no such table, a
    /// format that it does not know) is the file's fault too.
    pub(crate) fn told_of_probe(self, operation: &'static str, path: &Path) -> StoreError {
        match self {
            Fault::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                damaged(path, &error.to_string())
            }
            other => other.told(operation, path),
        }
    }

    /// A row that another row belongs to is missing.
    pub(crate) fn is_missing_row(&self) -> bool {
        matches!(self, Fault::Sqlite(rusqlite::Error::SqliteFailure(e, _))
            if e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
    }

    /// Nothing is wrong with the file: the change does not fit what is stored, or there is no room.
    pub(crate) fn is_harmless(&self) -> bool {
        match self {
            Fault::Refused { .. } => true,
            Fault::Damaged(_) => false,
            Fault::Sqlite(error) => matches!(
                error.sqlite_error_code(),
                Some(
                    ErrorCode::ConstraintViolation
                        | ErrorCode::DiskFull
                        | ErrorCode::TooBig
                        | ErrorCode::DatabaseBusy
                )
            ),
        }
    }
}

pub(crate) fn io(operation: &'static str, path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Io { operation, path: path.display().to_string(), detail: error.to_string() }
}

pub(crate) fn unusable(path: &Path, detail: impl Into<String>) -> StoreError {
    StoreError::Unusable { path: path.display().to_string(), detail: detail.into() }
}

pub(crate) fn damaged(path: &Path, detail: &str) -> StoreError {
    unusable(
        path,
        format!(
            "it is damaged ({detail}); nothing was changed: stop Ropewalk, copy the file and the -wal file beside \
             it, then put a backup in their place"
        ),
    )
}

/// No room: also for the log's index, which SQLite tells as an error of its own.
fn is_full(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || matches!(error, rusqlite::Error::SqliteFailure(e, _) if e.extended_code == SQLITE_IOERR_SHMSIZE)
}

/// Codes and types that a sound file of ours cannot give.
fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::Utf8Error(..) => true,
        _ => matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)),
    }
}
