//! The loop: events in, one commit a turn, then effects and answers. Owns the engine; nobody else touches it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_core::command::{Answer, Command, Refusal, RefusalKind};
use ropewalk_core::engine::Engine;
use ropewalk_core::event::{Event, ReplyTo};
use ropewalk_core::graph::PlanCache;
use ropewalk_core::limits::Limits;
use ropewalk_core::port::{Read, StoreError};
use ropewalk_core::time::Time;
use ropewalk_core::turn::{start, turn};
use ropewalk_host::clock::Clock;
use ropewalk_host::lock::{EngineLock, LockError, acquire};
use ropewalk_store::{SqliteReader, SqliteStore};

use crate::machine::Machine;

/// How to run an engine.
#[derive(Clone, Debug)]
pub struct Options {
    pub home: PathBuf,
    pub limits: Limits,
    pub slots: u32,
    /// Start with no PRD in focus, until somebody names one.
    pub focus_on_nothing: bool,
    /// The argument vector that starts a worker.
    pub worker_program: Vec<OsString>,
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

#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the engine cannot run: {0}")]
    Machine(String),
}

/// A running engine, in a thread of its own. Dropping it does not end it: `stop` and `join` do.
#[derive(Debug)]
pub struct Driver {
    door: Door,
    thread: Option<JoinHandle<Result<(), DriverError>>>,
}

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
struct Pulse {
    state: Mutex<Beat>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Beat {
    count: u64,
    has_ended: bool,
}

impl Pulse {
    fn beat(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        self.changed.notify_all();
        state.count
    }

    fn end(&self) {
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

/// The path of a state folder's database.
pub fn database(home: &Path) -> PathBuf {
    home.join("ropewalk.db")
}

impl Driver {
    /// Takes the state folder's lock, opens the store, recovers what was on its way, and begins.
    ///
    /// # Errors
    /// When another engine serves this folder, or the store or the machine cannot be used.
    pub fn begin(options: Options) -> Result<Driver, DriverError> {
        let lock = acquire(&options.home)?;
        Driver::begin_with(options, lock)
    }

    /// As [`Driver::begin`], with the lock in hand.
    ///
    /// # Errors
    /// When the store or the machine cannot be used.
    pub fn begin_with(options: Options, lock: EngineLock) -> Result<Driver, DriverError> {
        let store = SqliteStore::open(&database(&options.home))?;
        let (inbox, messages) = sync_channel(options.limits.events_waiting_max);
        let pulse = Arc::new(Pulse::default());
        // Before any thread of ours: making a private socket narrows the whole process's umask for a moment.
        let socket = crate::ipc::bind(&options.home).map_err(DriverError::Machine)?;
        let machine = Machine::open(&options, &store, inbox.clone()).map_err(DriverError::Machine)?;
        let door = Door { inbox, pulse, plans: Arc::default(), home: options.home.clone() };
        let listener = crate::ipc::listen(socket, &door).map_err(DriverError::Machine)?;
        let crank =
            Crank { options, pulse: Arc::clone(&door.pulse), store, messages, machine, next_reply: 0 };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || {
                let ended = crank.run();
                // Nobody may come in any more before the lock is free for the next engine.
                drop(listener);
                drop(lock);
                ended
            })
            .map_err(|error| DriverError::Machine(format!("no thread for the engine: {error}")))?;
        Ok(Driver { door, thread: Some(thread) })
    }

    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Waits for the engine's end, after a `Stop` command.
    ///
    /// # Errors
    /// What ended it, if that was no stop.
    pub fn join(mut self) -> Result<(), DriverError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|_| Err(DriverError::Machine("the engine's thread panicked".into())))
    }
}

impl Door {
    /// Asks for something and waits for the answer, which follows its commit.
    pub fn ask(&self, command: Command) -> Answer {
        let gone = || Refusal::new(RefusalKind::Busy, "the engine has ended");
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

/// The loop's own things.
struct Crank {
    options: Options,
    pulse: Arc<Pulse>,
    /// The only one: it goes, and with it the log, when the loop ends.
    store: SqliteStore,
    messages: Receiver<Message>,
    machine: Machine,
    next_reply: u64,
}

/// How often in a row the engine may be rebuilt from the store after a failed commit before it gives up: a
/// full disk clears or it does not, and whoever started us sees the error either way.
const REBUILDS_MAX: u32 = 3;

impl Crank {
    fn run(mut self) -> Result<(), DriverError> {
        let ended = self.turn_until_stopped();
        // Whoever waits for an answer must not wait for ever.
        self.machine.close();
        self.pulse.end();
        ended
    }

    fn turn_until_stopped(&mut self) -> Result<(), DriverError> {
        let clock = Clock::starting_at(self.store.load()?.last_time);
        let mut rebuilds = 0;
        let mut engine = self.restore(clock.now(), |_| {})?;
        let mut pulse = self.pulse.beat();
        while !(engine.is_stopping() && engine.is_quiet()) {
            let (events, asks) = self.drain(&engine, &clock);
            let is_news = !events.is_empty();
            match turn(&mut engine, &mut self.store, &mut self.machine, clock.now(), events) {
                Ok(()) => rebuilds = 0,
                Err(error) => {
                    rebuilds += 1;
                    if rebuilds > REBUILDS_MAX || matches!(error, StoreError::Unusable { .. }) {
                        return Err(error.into());
                    }
                    let old = engine.clone_settings();
                    engine = self.restore(clock.now(), |engine| engine.take_settings(old))?;
                }
            }
            if is_news {
                pulse = self.pulse.beat();
            }
            for ask in asks {
                ask(&engine, clock.now(), pulse);
            }
        }
        Ok(())
    }

    /// The one path of start and recovery. `set_up` has the last word on what is not durable.
    fn restore(&mut self, now: Time, set_up: impl FnOnce(&mut Engine)) -> Result<Engine, StoreError> {
        let (slots, focus_on_nothing) = (self.options.slots, self.options.focus_on_nothing);
        start(self.options.limits.clone(), &mut self.store, &mut self.machine, now, |engine| {
            engine.set_slots(slots);
            if focus_on_nothing {
                engine.focus_on_nothing();
            }
            set_up(engine);
        })
    }

    /// Waits for the first message or the next timer, then takes what else has come: one turn for all of it.
    fn drain(&mut self, engine: &Engine, clock: &Clock) -> (Vec<Event>, Vec<Ask>) {
        let mut events = Vec::new();
        let mut asks = Vec::new();
        let first = match engine.next_timer() {
            Some(at) => {
                let wait = Duration::from_millis(at.ms_since(clock.now()));
                self.messages.recv_timeout(wait).ok()
            }
            None => self.messages.recv().ok(),
        };
        match first {
            Some(message) => self.sort(message, &mut events, &mut asks),
            None => events.push(Event::Tick),
        }
        while events.len() + asks.len() < self.options.limits.events_per_turn_max {
            let Ok(message) = self.messages.try_recv() else { break };
            self.sort(message, &mut events, &mut asks);
        }
        (events, asks)
    }

    fn sort(&mut self, message: Message, events: &mut Vec<Event>, asks: &mut Vec<Ask>) {
        match message {
            Message::Event(event) => events.push(event),
            Message::Ask(ask) => asks.push(ask),
            Message::Command { command, reply } => {
                self.next_reply += 1;
                let reply_to = ReplyTo(self.next_reply);
                self.machine.expect_reply(reply_to, reply);
                events.push(Event::Command { reply_to, command });
            }
        }
    }
}

/// A look at the engine, the time and the pulse.
type Ask = Box<dyn FnOnce(&Engine, Time, u64) + Send>;

/// Sends an event to the loop, waiting while its inbox is full: back-pressure. After the engine's end there is
/// nobody to tell, and recovery will find the fact itself.
pub(crate) fn tell(inbox: &SyncSender<Message>, event: Event) {
    if let Err(TrySendError::Full(message)) = inbox.try_send(Message::Event(event)) {
        let _ = inbox.send(message);
    }
}
