//! The daemon's side of the workers: starts them, hands them assignments, hears them, and finds those of an
//! earlier daemon again. Knows keys, folders and workers; unaware of tasks, leases and what an end means.
//!
//! No call here waits for a process, a socket or a disk: calls leave a chore for the pool's one thread of its
//! own (`hands`), and every worker's connection has a small thread that reads it (`link`). What happened comes
//! back as [`WorkerEvent`]s from those threads; the receiver may block them (back-pressure), never the caller.
//!
//! For each accepted [`Pool::run`] there is exactly one [`WorkerEvent::Ended`] or [`WorkerEvent::Lost`], unless
//! the pool is closed first; then the next pool's `run` of the same assignment tells. No worker can hold that back: one
//! that does not answer is killed (`overdue`).

mod hands;
pub mod leftover;
mod link;
mod overdue;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::durable::{FileError, create_private_folder};
use crate::identity::ProcessIdentity;
use crate::worker;
use crate::worker::protocol::Assignment;
use crate::worker::record::ExitRecord;

/// Workers at once, hence assignments at once: each costs a process, a thread and a few descriptors, and a
/// thousand of them fit the usual limits on those.
pub const WORKERS_MAX: usize = 1_024;

/// How long [`Pool::close`] waits for workers that it has told to end: the default grace of five seconds, and
/// time to write down what happened.
pub const CLOSE_WAIT_MS: u64 = 10_000;

/// What the pool's threads tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// The agent's process exists. Told again after a reconnection.
    Started { key: String, agent: ProcessIdentity, started_at_ms: i64 },
    /// A sign of life, at least every [`worker::ALIVE_MS`].
    Alive { key: String },
    /// Nine tenths of its time are gone. Told again after a reconnection.
    NearDeadline { key: String, left_ms: u64 },
    /// It is over, nothing of it is alive, and its record is on disk (but for what never got a worker).
    Ended { key: String, record: ExitRecord },
    /// Its worker is gone and left no record. What it had started has been killed as far as it can be told
    /// from others'; see `leftover`.
    Lost { key: String, detail: String },
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("{WORKERS_MAX} assignments run already; {key} does not fit")]
    Full { key: String },
    #[error("the pool is closed; {key} is not taken")]
    Closed { key: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot start the thread {name}: {source}")]
    Thread { name: String, source: io::Error },
}

/// See the module. Dropping it leaves the workers at work, as does [`Pool::close`] with `leave`.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    /// `<home>/workers`.
    folder: PathBuf,
    home: PathBuf,
    /// How to start a worker; `--home` and `--number` are appended.
    program: Vec<OsString>,
    warm: usize,
    on_event: Box<dyn Fn(WorkerEvent) + Send + Sync>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// No assignment is taken or handed over any more.
    closing: bool,
    /// And nothing is told any more.
    closed: bool,
    /// All that was accepted and has not ended.
    running: BTreeMap<String, Entry>,
    /// Those that have no worker yet, in order.
    waiting: VecDeque<String>,
    links: BTreeMap<u32, Link>,
    /// Links whose worker has nothing to do. The last one was used last: its memory is warm.
    idle: Vec<u32>,
    next_number: u32,
    /// Assignments at once that are looked forward to; see [`Pool::set_wanted`].
    wanted: usize,
    /// Workers in a row that ended before they said anything, and why the last did.
    failures: u32,
    fault: String,
    /// Our own child processes that are not reaped yet.
    children: usize,
    chores: VecDeque<Chore>,
    /// Something changed that `hands` has to look at.
    look: bool,
}

#[derive(Debug)]
struct Entry {
    assignment: Assignment,
    link: Option<u32>,
    /// Asked for before there was a worker to ask: whether to kill.
    stop: Option<bool>,
    /// How often it had to be settled anew.
    tries: u32,
    /// What it really has: an assignment that is only found again need not know.
    grace_ms: u64,
    /// When it is ended without its worker.
    due: Option<overdue::Due>,
    /// Over, but its worker could not write that down yet. Killing it now would lose how it ended.
    is_recording: bool,
}

/// A connection to a worker.
#[derive(Debug)]
struct Link {
    stream: Arc<UnixStream>,
    /// Known once it has said hello.
    worker: Option<ProcessIdentity>,
    /// What it runs, or is expected to run.
    key: Option<String>,
    /// Whether this pool started it.
    own: bool,
    /// Boot clock: since when it has had nothing to do.
    idle_since: Option<u64>,
    /// It was told to quit.
    is_dismissed: bool,
}

#[derive(Debug)]
enum Chore {
    /// Clear away what an earlier daemon's workers left in the folder.
    Sweep,
    /// Find out by its folder what has become of an assignment; `worker` is who had it last, if known.
    Settle {
        key: String,
        worker: Option<ProcessIdentity>,
    },
    Stop {
        key: String,
        kill: bool,
    },
    Quit,
}

impl Entry {
    fn new(assignment: Assignment) -> Entry {
        let grace_ms = assignment.grace_ms;
        Entry { assignment, link: None, stop: None, tries: 0, grace_ms, due: None, is_recording: false }
    }
}

impl Pool {
    /// Opens the pool of a state folder whose lock the caller holds, and starts `warm` workers ahead.
    /// `program` is the argument vector that starts one (`[current_exe, "worker"]`, and after it any option of a worker
    /// such as `--containment group`).
    ///
    /// # Errors
    /// When the folder or the thread cannot be made. A program that cannot be started is told later, as
    /// `NotStarted`, by every assignment that needs it.
    pub fn open(
        home: &Path,
        program: Vec<OsString>,
        warm: usize,
        on_event: impl Fn(WorkerEvent) + Send + Sync + 'static,
    ) -> Result<Pool, PoolError> {
        let home = std::path::absolute(home).map_err(FileError::at("resolve", home))?;
        let folder = worker::folder(&home);
        create_private_folder(&folder)?;
        let state = State { chores: VecDeque::from([Chore::Sweep]), next_number: 1, ..State::default() };
        let shared = Arc::new(Shared {
            folder,
            home,
            program,
            warm: warm.min(WORKERS_MAX),
            on_event: Box::new(on_event),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        // Never-ending: all workers are started by one thread, whatever the kernel may tie to it (M3).
        let hands = Arc::clone(&shared);
        spawn_thread("worker hands", move || hands.work())?;
        Ok(Pool { shared })
    }

    /// Sees to it that this assignment is run exactly once, whatever has become of it before: its folder
    /// decides. Over: told at once. Alive under a worker: adopted. Never begun: handed to a worker. A key that
    /// runs here already is left alone.
    ///
    /// # Errors
    /// When the pool is full or closed; then nothing will be told of it.
    pub fn run(&self, assignment: Assignment) -> Result<(), PoolError> {
        let key = assignment.key.clone();
        let mut state = self.shared.lock();
        if state.closing {
            return Err(PoolError::Closed { key });
        }
        if state.running.contains_key(&key) {
            return Ok(());
        }
        if state.running.len() >= WORKERS_MAX {
            return Err(PoolError::Full { key });
        }
        state.running.insert(key.clone(), Entry::new(assignment));
        self.shared.leave(&mut state, Chore::Settle { key, worker: None });
        Ok(())
    }

    /// Ends what runs under this key: with its grace, or at once. One that has no worker yet ends as `Stopped`
    /// without having begun. An unknown key is over already. The end is told two seconds after the grace at the latest:
    /// a worker that does not tell it by then is killed, and `Lost` is told.
    pub fn stop(&self, key: &str, kill: bool) {
        let mut state = self.shared.lock();
        self.shared.leave(&mut state, Chore::Stop { key: key.to_owned(), kill });
    }

    /// How many assignments at once are looked forward to. Workers beyond that, and beyond those started ahead, are let
    /// go when they have been idle for ten seconds.
    pub fn set_wanted(&self, wanted: usize) {
        let mut state = self.shared.lock();
        if state.wanted != wanted {
            state.wanted = wanted;
            state.look = true;
            self.shared.changed.notify_all();
        }
    }

    /// All that was accepted and has not ended, in order.
    pub fn keys_running(&self) -> Vec<String> {
        self.shared.lock().running.keys().cloned().collect()
    }

    /// Ends the pool. With `leave`, workers go on with what they do and nothing more is told. Without, every
    /// worker is told to end what it runs, with grace, and itself, and is waited for, at most
    /// [`CLOSE_WAIT_MS`]. Returns how many assignments are still running.
    pub fn close(&self, leave: bool) -> usize {
        let mut state = self.shared.lock();
        state.closing = true;
        if !leave && !state.closed {
            for key in std::mem::take(&mut state.waiting) {
                state.running.remove(&key);
            }
            self.shared.leave(&mut state, Chore::Quit);
            let busy =
                |state: &mut State| state.children > 0 || !state.links.is_empty() || !state.chores.is_empty();
            let bound = Duration::from_millis(CLOSE_WAIT_MS);
            let waited = self.shared.changed.wait_timeout_while(state, bound, busy);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.closed = true;
        for link in state.links.values() {
            // Our reader gets its end of file at once, and so does the worker.
            let _ = link.stream.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
        state.running.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close(true);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("folder", &self.shared.folder).finish_non_exhaustive()
    }
}

impl Shared {
    /// No code that holds the lock can leave the state half-changed by a panic of the receiver's: events are
    /// told without it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, state: &mut State, chore: Chore) {
        state.chores.push_back(chore);
        self.changed.notify_all();
    }

    /// Tells the end of an assignment, once: whoever takes its entry out tells.
    fn end(&self, key: &str, event: WorkerEvent) {
        let told = {
            let mut state = self.lock();
            state.running.remove(key).is_some() && !state.closed
        };
        if told {
            (self.on_event)(event);
        }
    }
}

/// Enough for a thread that reads lines: hundreds of them would otherwise reserve 2 MiB each.
const STACK_BYTES: usize = 256 << 10;

fn spawn_thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    match builder.spawn(work) {
        Ok(_) => Ok(()),
        Err(source) => Err(PoolError::Thread { name: name.to_owned(), source }),
    }
}
