//! Opening the file: what is found there, making a new one, and the connection's settings.
//!
//! A file that is not ours, is damaged or is newer must stay as it is, byte for byte. So everything is looked at
//! read-only first, and nothing but SQLite ever opens the database file itself once it is in use: closing a
//! plain file descriptor would drop SQLite's locks on it (POSIX locks belong to the process).

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ropewalk_core::port::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::{Fault, damaged, io, unusable};
use super::migration::{APPLICATION_ID, check_applied, check_header, migrate};
use super::sql::STATEMENTS_KEPT;
use super::wal::{self, Wal};

/// How long a connection waits for another process's lock. Only a second program on the same file, or a shell,
/// ever holds one for longer than a commit.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// After a crash the whole file is read through before it is used, if it is smaller than this: some 0.3 s then.
/// A larger one would keep a restart from its 5 s; its pages are still checked as they are read.
const QUICK_CHECK_BYTES_MAX: u64 = 64 << 20;

/// The writing connection, to a file that is made when there is none at the path.
pub(crate) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let is_clean = match inspect(path)? {
        Found::Nothing => {
            create(path)?;
            true
        }
        Found::Ours { is_clean } => is_clean,
    };
    // Ours, so it may be narrowed; SQLite gives the files beside it the same mode.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|e| io("narrow", path, &e))?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    check(&connection, path, is_clean)?;
    configure_writer(&mut connection).map_err(|fault| fault.told("open", path))?;
    Ok(connection)
}

/// A connection that can only read.
pub(crate) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.pragma_update(None, "query_only", true).map_err(|e| Fault::from(e).told("open", path))?;
    Ok(connection)
}

enum Found {
    Nothing,
    /// Clean: whoever used it last closed it in order, which removes the log.
    Ours {
        is_clean: bool,
    },
}

/// Looks at what is there without changing it.
fn inspect(path: &Path) -> Result<Found, StoreError> {
    let log = beside(path, "-wal");
    let wal = wal::inspect(&log).map_err(|e| io("look at", &log, &e))?;
    let bytes = match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound && wal == Wal::Absent => return Ok(Found::Nothing),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            // SQLite would take the log for the new file's own.
            let detail = "it is missing, but its -wal file is there; nothing was changed: restore a backup, or \
                          move the -wal file away to begin anew";
            return Err(unusable(path, detail));
        }
        Err(e) => return Err(io("look at", path, &e)),
        Ok(meta) if !meta.is_file() => return Err(unusable(path, "it is no file: name another path")),
        Ok(meta) => meta.len(),
    };
    if bytes == 0 {
        return Err(unusable(
            path,
            "empty file; nothing was changed: restore a backup, or remove it to begin anew",
        ));
    }
    match wal {
        Wal::Committed { header: Some(header) } => check_header(path, header.application_id, header.version)?,
        // Between a crash and recovery the file's pages need not fit together, except the first.
        Wal::Committed { header: None } => look(path, |c| check_own_header(c, path))?,
        Wal::Absent | Wal::Void => look(path, |c| {
            check_own_header(c, path)?;
            check_applied(c, path)
        })?,
    }
    Ok(Found::Ours { is_clean: wal == Wal::Absent })
}

/// Opens the file as if nobody could ever change it: no locks, no log, no file made beside it.
fn look(path: &Path, at: impl FnOnce(&Connection) -> Result<(), StoreError>) -> Result<(), StoreError> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                uri.push(char::from(*byte))
            }
            _ => uri += &format!("%{byte:02x}"),
        }
    }
    uri += "?immutable=1";
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(uri, flags).map_err(|e| Fault::from(e).told_of_probe("look at", path))?;
    guard(&connection).map_err(|e| Fault::from(e).told_of_probe("look at", path))?;
    at(&connection)
}

fn check_own_header(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let value = |pragma| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(|e| Fault::from(e).told_of_probe("look at", path))
    };
    check_header(path, value("application_id")?, value("user_version")?)
}

/// A new database is made under another name and then given its own, whole: a crash in between leaves nothing
/// at the path, not an empty file that nobody dares to use.
fn create(path: &Path) -> Result<(), StoreError> {
    static CREATED: AtomicU32 = AtomicU32::new(0);
    let folder = path.parent().ok_or_else(|| unusable(path, "it is in no folder: name another path"))?;
    make_folder(folder)?;
    let prefix = beside(path, ".new-");
    // One of a kind among the living, so that nobody gives the database's name to another's half of a file.
    let mut name = prefix.clone().into_os_string();
    name.push(format!("{}-{}", std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed)));
    let new = PathBuf::from(name);
    let failed = |step: &'static str| move |e: std::io::Error| io(step, path, &e);
    // What another process of this number left behind when it crashed.
    remove_if_there(&new).map_err(failed("create"))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed("create"))?;
    fs::set_permissions(&new, Permissions::from_mode(0o600)).map_err(failed("create"))?;
    fill(&new).map_err(|fault| fault.told("create", path))?;
    let linked = fs::hard_link(&new, path);
    // Another process was faster: its file is as good as ours.
    if linked.is_err() && !path.exists() {
        linked.map_err(failed("create"))?;
    }
    remove_litter(folder, &prefix).map_err(failed("create"))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("create"))
}

fn fill(new: &Path) -> Result<(), Fault> {
    let mut connection = Connection::open_with_flags(
        new,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    guard(&connection)?;
    // It is thrown away after a crash, so it needs no journal on the disk; FULL still brings it there at its end.
    connection.pragma_update(None, "journal_mode", "memory")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate(&mut connection)?;
    connection.close().map_err(|(_, e)| e.into())
}

/// Removes what crashed attempts to create the database left, and our own second name of it.
fn remove_litter(folder: &Path, prefix: &Path) -> std::io::Result<()> {
    let Some(prefix) = prefix.file_name() else { return Ok(()) };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Only a folder that is made here is narrowed: one that was there before is its owner's to judge.
fn make_folder(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    let failed = |e: std::io::Error| io("create", folder, &e);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)?;
    if let Some(above) = folder.parent() {
        File::open(above).and_then(|above| above.sync_all()).map_err(failed)?;
    }
    Ok(())
}

fn connect(path: &Path, mode: OpenFlags) -> Result<Connection, StoreError> {
    let open = || -> Result<Connection, Fault> {
        let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // Until it is known to be good, closing it must not copy the log into it.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        guard(&connection)?;
        Ok(connection)
    };
    open().map_err(|fault| fault.told("open", path))
}

/// Settings of every connection: what a damaged or hostile file could abuse is off.
fn guard(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    // Mapped memory would turn an I/O error into a SIGBUS.
    connection.pragma_update(None, "mmap_size", 0)
}

/// Everything again, now with the log's pages, and the whole file after a crash.
fn check(connection: &Connection, path: &Path, is_clean: bool) -> Result<(), StoreError> {
    check_own_header(connection, path)?;
    check_applied(connection, path)?;
    let bytes = fs::metadata(path).map_err(|e| io("look at", path, &e))?.len();
    if is_clean || bytes > QUICK_CHECK_BYTES_MAX {
        return Ok(());
    }
    let verdict: String = connection
        .query_row("pragma quick_check(1)", [], |row| row.get(0))
        .map_err(|e| Fault::from(e).told_of_probe("check", path))?;
    if verdict == "ok" { Ok(()) } else { Err(damaged(path, &verdict)) }
}

fn configure_writer(connection: &mut Connection) -> Result<(), Fault> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Damaged(format!(
            "its journal mode stays {mode:?}; the file system may be remote"
        )));
    }
    // NORMAL would lose the last commits at a power cut.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A savepoint keeps the pages that it changes aside: in memory, not in a temporary file.
    connection.pragma_update(None, "temp_store", "memory")?;
    // The log is overwritten from its start after a checkpoint and never cut while it is open: a file that keeps
    // its size needs no write of its inode at each fsync.
    connection.pragma_update(None, "journal_size_limit", -1)?;
    // `wal_autocheckpoint` stays at its 1,000 pages (4 MB): readers are short, so the log does not grow far
    // beyond, and a larger one would lengthen recovery.
    migrate(connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
