//! Acknowledged means durable: after `kill -9`, on a disk that fails, and in the order of the system calls.
//!
//! A test here starts this very program again as a child that commits; `CHILD` tells it which part to play.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use ropewalk_core::change::{Change, Note, NoteKind};
use ropewalk_core::port::{NoteFilter, Read, Store, StoreError};
use ropewalk_core::time::Time;
use ropewalk_store::SqliteStore;

const CHILD: &str = "ROPEWALK_STORE_CHILD";

fn this_program() -> PathBuf {
    env::current_exe().expect("this program")
}

fn noted(text: &str, bytes: usize) -> Change {
    let text = format!("{text:x<bytes$}");
    Change::Noted(Note { at: Time(1), kind: NoteKind::Landed, prd: None, task: None, attempt: None, text })
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the parent listens");
}

/// No test of its own: the child's parts.
#[test]
fn child() {
    let Ok(part) = env::var(CHILD) else { return };
    let path = PathBuf::from(env::var_os("DB").expect("a path"));
    let store = SqliteStore::open(&path).expect("it opens");
    match part.as_str() {
        "for ever" => commit_for_ever(&store),
        "until it fails" => commit_until_it_fails(store),
        "ten" => commit_ten(store),
        "full disk" => commit_on_a_full_disk(store, &path),
        other => panic!("{other}"),
    }
}

/// Eight threads, each telling every acknowledged commit.
fn commit_for_ever(store: &SqliteStore) {
    let pid = std::process::id();
    thread::scope(|scope| {
        for thread in 0..8 {
            let mut store = store.clone();
            scope.spawn(move || {
                for n in 0.. {
                    let id = format!("{pid}-{thread}-{n}.");
                    store.commit(&[noted(&id, 200), noted(&id, 200)]).expect("committed");
                    say(&format!("\nacked {id}"));
                }
            });
        }
    });
}

fn commit_until_it_fails(mut store: SqliteStore) {
    for n in 0.. {
        let id = format!("{n}.");
        match store.commit(&[noted(&id, 9_000)]) {
            Ok(()) => say(&format!("\nacked {id}")),
            Err(StoreError::Io { detail, .. }) => {
                say(&format!("\nfailed {detail}"));
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    for _ in 0..3 {
        let again = store.commit(&[noted("later", 1)]);
        assert!(
            matches!(&again, Err(StoreError::Io { detail, .. }) if detail.contains("earlier")),
            "{again:?}"
        );
    }
    assert!(store.load().is_ok(), "it can still be read");
    say("\nrefused");
}

fn commit_ten(mut store: SqliteStore) {
    say("\nbegin");
    for n in 0..10 {
        store.commit(&[noted("x", 100)]).expect("committed");
        say(&format!("\nacked {n}"));
    }
}

fn commit_on_a_full_disk(mut store: SqliteStore, path: &Path) {
    let ballast = path.with_extension("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).expect("written");
    let refused = (0..1_000).find_map(|_| store.commit(&[noted("x", 30_000)]).err());
    assert!(matches!(&refused, Some(StoreError::Full { .. })), "{refused:?}");
    let before = notes(&store);
    assert!(store.commit(&[noted("x", 30_000)]).is_err(), "still full");
    std::fs::remove_file(&ballast).expect("removed");
    store.commit(&[noted("there is room again", 30_000)]).expect("no new start is needed");
    assert_eq!(notes(&store).len(), before.len() + 1, "what was refused is not there");
    say("\nresumed");
}

fn notes(store: &SqliteStore) -> Vec<(u64, Note)> {
    store.notes(&NoteFilter { after: 0, prd: None, task: None, limit: usize::MAX }).expect("notes")
}

fn texts(path: &Path) -> Vec<String> {
    let store = SqliteStore::open(path).expect("it opens again");
    let notes = notes(&store);
    assert!(notes.iter().map(|(seq, _)| *seq).eq(1..=notes.len() as u64), "no gaps");
    notes.into_iter().map(|(_, note)| note.text).collect()
}

fn ids(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| text.split_inclusive('.').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_acknowledged_commit_outlives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let mut acked: BTreeSet<String> = BTreeSet::new();
    for round in 0..20u64 {
        let mut child = Command::new(this_program())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, "for ever")
            .env("DB", &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let reading = thread::spawn(move || {
            let lines = out.split(b'\n').map_while(Result::ok);
            lines
                .filter_map(|line| String::from_utf8(line).ok()?.strip_prefix("acked ").map(String::from))
                .filter(|id| id.ends_with('.'))
                .collect::<Vec<_>>()
        });
        // From before the file is there to well into the checkpoints.
        // No event marks a random instant: this is the one wait for time that a test of kills needs.
        thread::park_timeout(Duration::from_millis(3 + round * round * 7 % 290));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        acked.extend(reading.join().expect("read"));
        if !path.exists() {
            continue;
        }
        let ids = ids(&texts(&path));
        let there: BTreeSet<_> = ids.iter().cloned().collect();
        let missing: Vec<_> = acked.difference(&there).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?}");
        assert_eq!(ids.len(), there.len() * 2, "each commit has two notes, both or none");
    }
    assert!(acked.len() > 1_000, "only {} commits were tried", acked.len());
}

#[test]
fn a_store_whose_disk_failed_accepts_nothing_more_and_lost_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    drop(SqliteStore::open(&path).expect("it opens"));
    // A file that may not grow: writes to the log fail with EFBIG, once the OS signal for it is ignored.
    let limited = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact child --nocapture --test-threads=1";
    let mut command = Command::new("sh");
    command.arg("-c").arg(limited).arg(this_program()).env(CHILD, "until it fails").env("DB", &path);
    let output = command.output().expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\nfailed ") && said.contains("\nrefused"), "{said}");
    let acked: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("acked ")).collect();
    assert!(acked.len() > 10, "{said}");
    let there = ids(&texts(&path));
    assert_eq!(there[..acked.len()], acked, "what was acknowledged is there, in order");
    assert!(there.len() <= acked.len() + 1, "and nothing after the failure");
}

#[test]
fn a_full_disk_refuses_commits_until_there_is_room_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = |then: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount -t tmpfs -o size=6m none \"$1\" || exit 9; {then}");
        command.args(["-rm", "sh", "-c", &script]).arg(this_program()).arg(folder.path());
        command.env(CHILD, "full disk").env("DB", folder.path().join("db"));
        command.output()
    };
    if !mounted("true").is_ok_and(|output| output.status.success()) {
        let mut out = std::io::stderr();
        writeln!(out, "skipped: no small file system can be mounted here").expect("told");
        return;
    }
    let output = mounted("exec \"$0\" --exact child --nocapture").expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\nresumed"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_commit_is_acknowledged_only_after_the_log_was_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, trace) = (folder.path().join("db"), folder.path().join("trace"));
    let strace = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync,write", "-s", "64", "-o"])
        .arg(&trace)
        .arg(this_program())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CHILD, "ten")
        .env("DB", &path)
        .output();
    if !strace.is_ok_and(|output| output.status.success()) {
        let mut out = std::io::stderr();
        writeln!(out, "skipped: strace is missing or may not trace").expect("told");
        return;
    }
    let calls = std::fs::read(&trace).expect("a trace");
    let (mut unsynced, mut acked) = (false, 0);
    let mut synced_since_ack = false;
    for line in calls.lines().map_while(Result::ok).skip_while(|line| !line.contains("begin")).skip(1) {
        if line.contains("pwrite64") && line.contains("-wal>") {
            (unsynced, synced_since_ack) = (true, false);
        } else if line.contains("sync(") && line.contains("-wal>") {
            (unsynced, synced_since_ack) = (false, true);
        } else if line.contains("acked ") {
            assert!(!unsynced && synced_since_ack, "acknowledged before the sync: {line}");
            (acked, synced_since_ack) = (acked + 1, false);
        }
    }
    assert_eq!(acked, 10);
}
