//! A pool with workers of the real kind, shell scripts as agents, and events to wait for.

#![expect(dead_code, reason = "each test program uses its part")]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ropewalk_core::resource::{Bounds, Rung};
use ropewalk_host::containment::survey;
use ropewalk_host::identity::ProcessIdentity;
use ropewalk_host::pool::{Pool, WorkerEvent};
use ropewalk_host::worker::protocol::{Assignment, OutputRules};
use ropewalk_host::worker::record::{End, ExitRecord, WorkerNote};
use ropewalk_host::{durable, shell};

/// Only a bound on a broken program: every wait is for an event.
const PATIENCE: Duration = Duration::from_secs(60);

/// `examples/worker.rs`, which `cargo test -p ropewalk-host` builds beside the tests.
pub(crate) fn program() -> Vec<OsString> {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().unwrap().parent().unwrap().join("examples/worker");
    assert!(path.exists(), "{} is not built: cargo test -p ropewalk-host builds it", path.display());
    vec![path.into_os_string(), "worker".into()]
}

/// The same with options of a worker.
pub(crate) fn program_with(options: &[&str]) -> Vec<OsString> {
    program().into_iter().chain(options.iter().map(OsString::from)).collect()
}

/// Workers that take this rung and no other.
pub(crate) fn program_on(rung: Rung) -> Vec<OsString> {
    program_with(&["--containment", rung.name()])
}

/// Whether this machine has it.
pub(crate) fn has(rung: Rung) -> bool {
    survey().rungs.iter().any(|offer| offer.rung == rung && offer.is_available)
}

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) home: PathBuf,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        Bench { folder, home }
    }

    pub(crate) fn open(&self, warm: usize) -> Daemon {
        self.open_with(program(), warm)
    }

    pub(crate) fn open_with(&self, program: Vec<OsString>, warm: usize) -> Daemon {
        let (sender, events) = channel();
        let on_event = move |event| drop(sender.send(event));
        let pool = Pool::open(&self.home, program, warm, on_event).unwrap();
        Daemon { pool, events: Mutex::new(events) }
    }

    /// An assignment that runs a shell command, with generous limits.
    pub(crate) fn script(&self, key: &str, command: &str) -> Assignment {
        let folder = self.folder.path().join(key);
        fs::create_dir_all(&folder).unwrap();
        let env = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("FOLDER".to_owned(), folder.to_str().unwrap().to_owned()),
        ];
        Assignment {
            key: key.to_owned(),
            dir: folder.clone(),
            folder,
            argv: shell::argv_of(command),
            env,
            stdin: None,
            timeout_ms: 60_000,
            grace_ms: 5_000,
            program: None,
            bounds: Bounds::default(),
            stall_ms: None,
            output: OutputRules::default(),
        }
    }

    /// A pipe with a name, by which scripts say what they have come to.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

/// Waits until somebody has written into the pipe and closed it; returns the identities of the pids in it.
pub(crate) fn pids_from(fifo: &Path) -> Vec<ProcessIdentity> {
    let text = fs::read_to_string(fifo).unwrap();
    text.split_whitespace().map(|pid| ProcessIdentity::of(pid.parse().unwrap()).expect(pid)).collect()
}

pub(crate) struct Daemon {
    pub(crate) pool: Pool,
    events: Mutex<Receiver<WorkerEvent>>,
}

impl Daemon {
    pub(crate) fn next(&self) -> WorkerEvent {
        self.events.lock().unwrap().recv_timeout(PATIENCE).expect("an event in time")
    }

    pub(crate) fn nothing_more(&self) {
        let event = self.events.lock().unwrap().try_recv();
        assert!(event.is_err(), "{event:?}");
    }

    pub(crate) fn record_of(&self, key: &str) -> ExitRecord {
        loop {
            match self.next() {
                WorkerEvent::Ended { key: ended, record } if ended == key => return record,
                WorkerEvent::Lost { key, detail } => panic!("{key} is lost: {detail}"),
                WorkerEvent::Started { .. }
                | WorkerEvent::Alive { .. }
                | WorkerEvent::NearDeadline { .. }
                | WorkerEvent::Ended { .. } => {}
            }
        }
    }

    pub(crate) fn started(&self, key: &str) -> ProcessIdentity {
        match self.next() {
            WorkerEvent::Started { key: started, agent, .. } if started == key => agent,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn run(&self, assignment: &Assignment) -> ExitRecord {
        self.pool.run(assignment.clone()).unwrap();
        self.record_of(&assignment.key)
    }

    pub(crate) fn end_of(&self, assignment: &Assignment) -> End {
        self.run(assignment).end
    }
}

pub(crate) fn worker_of(assignment: &Assignment) -> ProcessIdentity {
    let note: WorkerNote = durable::read_record(&assignment.folder.join("worker.json")).unwrap().unwrap();
    note.worker
}

/// Pids whose parent is `pid`, zombies included.
pub(crate) fn children_of(pid: i32) -> Vec<String> {
    let parent_of = |stat: &str| {
        let tail = stat.rsplit_once(')')?.1;
        tail.split_whitespace().nth(1)?.parse::<i32>().ok()
    };
    let stats =
        fs::read_dir("/proc").unwrap().filter_map(|e| fs::read_to_string(e.ok()?.path().join("stat")).ok());
    stats.filter(|stat| parent_of(stat) == Some(pid)).collect()
}
