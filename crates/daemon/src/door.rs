//! The way into a running engine: what may be sent, how news is waited for. Knows the inbox; unaware of the loop
//! behind it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropewalk_core::command::{Answer, Command, Refusal, RefusalKind};
use ropewalk_core::disk::Floor;
use ropewalk_core::engine::Engine;
use ropewalk_core::event::Event;
use ropewalk_core::graph::PlanCache;
use ropewalk_core::limits::Limits;
use ropewalk_core::port::StoreError;
use ropewalk_core::retention::Retention;
use ropewalk_core::time::Time;
use ropewalk_store::SqliteReader;

/// The way into a running engine: cheap to clone.
#[derive(Clone)]
pub struct Door {
    inbox: SyncSender<Message>,
    pulse: Arc<Pulse>,
    plans: Arc<Mutex<PlanCache>>,
    home: PathBuf,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Counts turns that changed something, so that watchers wait for news instead of looking again and again.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    state: Mutex<Beat>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    count: u64,
    has_ended: bool,
}

impl Pulse {
    pub(crate) fn beat(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        self.changed.notify_all();
        state.count
    }

    pub(crate) fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        self.changed.notify_all();
    }

    /// Waits until there is news after `seen`, at most `timeout`. `false`: the engine has ended.
    fn wait(&self, seen: u64, timeout: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |beat: &mut Beat| beat.count <= seen && !beat.has_ended;
        let (state, _) =
            self.changed.wait_timeout_while(state, timeout, is_old).unwrap_or_else(PoisonError::into_inner);
        !state.has_ended
    }
}

impl Door {
    /// The door of an engine whose loop reads from the other end of `inbox`.
    pub(crate) fn new(inbox: SyncSender<Message>, home: PathBuf) -> Door {
        Door { inbox, pulse: Arc::default(), plans: Arc::default(), home }
    }

    /// Where the loop tells that something has changed.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Asks for something and waits for the answer, which follows its commit.
    pub fn ask(&self, command: Command) -> Answer {
        let gone = || Refusal::new(RefusalKind::Gone, "the engine has ended");
        let (reply, answer) = channel();
        self.inbox.send(Message::Command { command: Box::new(command), reply }).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// Looks at the live state between two turns; `None` when the engine has ended.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine, Time, u64) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = channel();
        let ask = Message::Ask(Box::new(move |engine, now, pulse| {
            // The asker may have gone: nobody is left to tell.
            let _ = reply.send(look(engine, now, pulse));
        }));
        self.inbox.send(ask).ok()?;
        answer.recv().ok()
    }

    /// Waits for news after `seen`; `false` when the engine has ended.
    pub fn wait(&self, seen: u64, timeout: Duration) -> bool {
        self.pulse.wait(seen, timeout)
    }

    /// A reader of the store.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(&database(&self.home))
    }

    /// Plans that were asked for before, shared by all who ask.
    pub(crate) fn plans(&self) -> MutexGuard<'_, PlanCache> {
        // A cache is whole after any panic: its one change is a push.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn home(&self) -> &Path {
        &self.home
    }
}

/// What the loop is told.
pub(crate) enum Message {
    Event(Event),
    Command {
        command: Box<Command>,
        reply: Sender<Answer>,
    },
    /// A look at the live state, between two turns.
    Ask(Ask),
}

/// A look at the engine, the time and the pulse.
pub(crate) type Ask = Box<dyn FnOnce(&Engine, Time, u64) + Send>;

/// How to run an engine.
#[derive(Clone, Debug)]
pub struct Options {
    pub home: PathBuf,
    pub limits: Limits,
    /// Attempts at once from the start; `SetSlots` changes it. 0 lets the caller say first what is to be known
    /// before anything starts.
    pub slots: u32,
    /// Workers to start ahead.
    pub warm: u32,
    /// Start with no PRD in focus, until somebody names one.
    pub focus_on_nothing: bool,
    /// The argument vector that starts a worker.
    pub worker_program: Vec<OsString>,
    /// How long what attempts leave is kept.
    pub retention: Retention,
    /// The room below which no new work starts.
    pub floor: Floor,
    /// What the spares of all projects may take together.
    pub spare_bytes_max: u64,
}

/// The path of a state folder's database.
pub fn database(home: &Path) -> PathBuf {
    home.join("ropewalk.db")
}

/// Sends an event to the loop, waiting while its inbox is full: back-pressure. After the engine's end there is
/// nobody to tell, and recovery will find the fact itself.
pub(crate) fn tell(inbox: &SyncSender<Message>, event: Event) {
    if let Err(TrySendError::Full(message)) = inbox.try_send(Message::Event(event)) {
        let _ = inbox.send(message);
    }
}
