//! Files that are not ours, damaged, newer or empty: refused with a reason, and left byte for byte as they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ropewalk_core::change::{Change, Note, NoteKind};
use ropewalk_core::port::{NoteFilter, Read, Store, StoreError};
use ropewalk_core::time::Time;
use ropewalk_store::SqliteStore;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;

fn note() -> Change {
    let text = "x".repeat(3_000);
    Change::Noted(Note { at: Time(1), kind: NoteKind::TaskAdded, prd: None, task: None, attempt: None, text })
}

/// A folder with a database of ours that was closed in order.
fn ours() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ropewalk.db");
    let mut store = SqliteStore::open(&path).expect("it opens");
    for _ in 0..50 {
        store.commit(&[note()]).expect("committed");
    }
    (folder, path)
}

/// The same, then changed by SQL; the changes are in the file.
fn changed(sql: &str) -> (TempDir, PathBuf) {
    let (folder, path) = ours();
    Connection::open(&path).expect("open").execute_batch(sql).expect(sql);
    assert!(!log(&path).exists(), "the log was taken in");
    (folder, path)
}

/// The same, with the changes only in the log, as a crash leaves them.
fn crashed(sql: &str) -> (TempDir, PathBuf) {
    let (folder, path) = ours();
    let connection = Connection::open(&path).expect("open");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("set");
    connection.execute_batch(sql).expect(sql);
    drop(connection);
    assert!(fs::metadata(log(&path)).expect("a log").len() > 0);
    // The index of the log is not on the disk after a power cut.
    fs::remove_file(path.with_extension("db-shm")).expect("removed");
    (folder, path)
}

fn log(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).expect("read"))).collect()
}

/// Opens it, wants this in the reason, and every file as it was.
#[track_caller]
fn refused(what: &(TempDir, PathBuf), reason: &str) {
    let before = files(what.0.path());
    match SqliteStore::open(&what.1) {
        Err(StoreError::Unusable { path, detail }) => {
            assert_eq!(Path::new(&path), what.1);
            assert!(detail.contains(reason), "{detail}");
        }
        other => panic!("it must be refused: {other:?}"),
    }
    assert!(files(what.0.path()) == before, "the files were touched");
}

/// As [`refused`], but SQLite may make its index of the log, which holds nothing of its own.
#[track_caller]
fn refused_but_for_the_index(what: &(TempDir, PathBuf), reason: &str) {
    let index = what.1.with_extension("db-shm");
    let before = files(what.0.path());
    match SqliteStore::open(&what.1) {
        Err(StoreError::Unusable { detail, .. }) => assert!(detail.contains(reason), "{detail}"),
        other => panic!("it must be refused: {other:?}"),
    }
    let mut after = files(what.0.path());
    after.remove(&index);
    assert!(after == before, "the files were touched");
}

fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ropewalk.db");
    fs::write(&path, bytes).expect("written");
    (folder, path)
}

#[test]
fn a_newer_database_is_refused() {
    let newer = "pragma user_version = 99; insert into migration values (99, 'later', 'x')";
    refused(&changed(newer), "newer Ropewalk");
    refused(&changed("insert into migration values (4, 'later', 'x')"), "newer Ropewalk");
    refused(&crashed(newer), "newer Ropewalk");
}

#[test]
fn a_database_with_another_history_is_refused() {
    let other = "update migration set sha256 = 'x'";
    refused(&changed(other), "not the one that this Ropewalk has");
    refused_but_for_the_index(&crashed(other), "not the one that this Ropewalk has");
    refused(&changed("delete from migration"), "empty");
    refused(&changed("pragma user_version = 0"), "schema version is missing");
    refused(&changed("drop table migration"), "damaged");
}

#[test]
fn a_database_of_another_program_is_refused() {
    let foreign = |sql: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ropewalk.db");
        let connection = Connection::open(&path).expect("open");
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).expect("set");
        connection.execute_batch(sql).expect(sql);
        drop(connection);
        (folder, path)
    };
    refused(&foreign("create table x (y)"), "another program");
    refused(&foreign("pragma application_id = 77; create table x (y)"), "application id 77");
    refused(&foreign("pragma journal_mode = wal; create table x (y)"), "another program");
    refused(
        &foreign("pragma journal_mode = wal; pragma application_id = 7; pragma user_version = 1"),
        "id 7)",
    );
}

#[test]
fn an_empty_file_is_refused() {
    refused(&file(b""), "empty file");
}

#[test]
fn what_is_no_database_is_refused() {
    refused(&file(b"{}"), "damaged");
    refused(&file(&vec![b'x'; 100_000]), "damaged");
    refused(&file(&[0; 8_192]), "damaged");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ropewalk.db");
    fs::create_dir(&path).expect("made");
    refused(&(folder, path), "no file");
}

#[test]
fn a_damaged_header_is_refused() {
    let bytes = fs::read(ours().1).expect("read");
    // The magic text, the page size, the format versions, the schema's format, the text encoding.
    for (at, reason) in [(3, "damaged"), (16, "damaged"), (18, "damaged"), (44, "damaged"), (56, "damaged")] {
        let mut bytes = bytes.clone();
        bytes[at..at + 4].fill(0xfe);
        refused(&file(&bytes), reason);
    }
    refused(&file(&bytes[..bytes.len() / 2]), "damaged");
    refused(&file(&bytes[..300]), "damaged");
}

#[test]
fn a_page_that_was_damaged_in_a_crash_is_found() {
    let damaged = || {
        let what = crashed("insert into note (at, kind, text) values (1, '\"landed\"', 'x')");
        let mut bytes = fs::read(&what.1).expect("read");
        let root: usize = Connection::open_with_flags(
            format!("file:{}?immutable=1", what.1.display()),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_URI,
        )
        .expect("open")
        .query_row("select rootpage from sqlite_schema where name = 'task'", [], |row| row.get::<_, i64>(0))
        .expect("a root page")
        .try_into()
        .expect("small");
        bytes[(root - 1) * 4_096..root * 4_096].fill(0x5a);
        fs::write(&what.1, bytes).expect("written");
        what
    };
    refused_but_for_the_index(&damaged(), "damaged");
}

#[test]
fn a_log_without_its_database_is_not_given_to_a_new_one() {
    let what = crashed("pragma user_version = 1");
    fs::remove_file(&what.1).expect("removed");
    refused(&what, "-wal");
}

#[test]
fn the_log_of_a_crash_is_taken_in() {
    let (_folder, path) = crashed("insert into note (at, kind, text) values (7, '\"landed\"', 'the last')");
    let store = SqliteStore::open(&path).expect("it opens");
    let last = store.notes(&NoteFilter { after: 0, prd: None, task: None, limit: 1 }).expect("notes");
    assert_eq!((last[0].0, last[0].1.text.as_str()), (51, "the last"));
}

#[test]
fn a_torn_end_of_the_log_is_left_out() {
    let (_folder, path) = crashed("insert into note (at, kind, text) values (7, '\"landed\"', 'the last')");
    let bytes = fs::read(log(&path)).expect("read");
    fs::write(log(&path), &bytes[..bytes.len() - 100]).expect("written");
    let store = SqliteStore::open(&path).expect("it opens");
    let last = store.notes(&NoteFilter { after: 0, prd: None, task: None, limit: 1 }).expect("notes");
    assert_eq!(last[0].0, 50);
}

#[test]
fn what_a_crash_left_of_a_new_database_is_swept_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ropewalk.db");
    fs::write(folder.path().join("ropewalk.db.new-1"), b"half").expect("written");
    fs::write(folder.path().join("ropewalk.db.new-2-journal"), b"half").expect("written");
    fs::write(folder.path().join("another"), b"kept").expect("written");
    drop(SqliteStore::open(&path).expect("it opens"));
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(names, [folder.path().join("another"), path]);
}
