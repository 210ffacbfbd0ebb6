//! The loop: events in, one commit a turn, then effects and answers. Owns the engine; nobody else touches it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_core::command::{Command, Refusal, RefusalKind};
use ropewalk_core::engine::Engine;
use ropewalk_core::event::{Event, ReplyTo};
use ropewalk_core::port::{Read, StoreError};
use ropewalk_core::time::Time;
use ropewalk_core::turn::{start, turn};
use ropewalk_host::clock::Clock;
use ropewalk_host::disk::Reserve;
use ropewalk_host::lock::{EngineLock, LockError, acquire};
use ropewalk_store::SqliteStore;

use crate::door::{Ask, Door, Message, Options, Pulse, database};
use crate::machine::Machine;

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
        // Before any thread of ours: making a private socket narrows the whole process's umask for a moment.
        let socket = crate::ipc::bind(&options.home).map_err(DriverError::Machine)?;
        let machine = Machine::open(&options, &store, inbox.clone()).map_err(DriverError::Machine)?;
        let door = Door::new(inbox, options.home.clone());
        let listener = crate::ipc::listen(socket, &door).map_err(DriverError::Machine)?;
        let reserve = Reserve::open(&options.home, options.floor);
        let crank = Crank {
            options,
            pulse: door.pulse(),
            store,
            messages,
            machine,
            next_reply: 0,
            reserve,
            is_reserve_given: false,
        };
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

/// The loop's own things.
struct Crank {
    options: Options,
    pulse: Arc<Pulse>,
    /// The only one: it goes, and with it the log, when the loop ends.
    store: SqliteStore,
    messages: Receiver<Message>,
    machine: Machine,
    next_reply: u64,
    reserve: Reserve,
    /// The reserve was given back, and is to be taken again once there is room.
    is_reserve_given: bool,
}

/// How often in a row the engine may be rebuilt from the store after a failed commit before it gives up: a
/// full disk clears or it does not, and whoever started us sees the error either way.
const REBUILDS_MAX: u32 = 3;

/// How soon a full disk is tried again: it heals by somebody else's hand, and nothing tells us.
const FULL_RETRY_MS: u64 = 1_000;

/// A timer that is looked at so much too late was slept over: the machine was suspended, or this process stopped.
const LATE_MS: u64 = 5_000;

impl Crank {
    fn run(mut self) -> Result<(), DriverError> {
        let ended = self.turn_until_stopped();
        // Nobody listens from here on, and closing takes as long as teardowns do: whoever asks is told so at once, and
        // no hand waits for room in the inbox.
        drop(self.messages);
        // An engine that failed ends like one that was killed: what works goes on alone. And whoever waits for an
        // answer must not wait for ever.
        if let Ok(leave) = ended {
            self.machine.wait_for_teardowns(leave);
        }
        self.machine.close(*ended.as_ref().unwrap_or(&true));
        self.pulse.end();
        ended.map(drop)
    }

    /// Answers whether workers are to go on alone.
    fn turn_until_stopped(&mut self) -> Result<bool, DriverError> {
        let clock = Clock::starting_at(self.store.load()?.last_time);
        let mut rebuilds = 0;
        let mut engine = match self.restore(clock.now(), |_| {}) {
            Err(StoreError::Full { .. }) => {
                let mut held = Engine::restore(self.options.limits.clone(), self.store.load()?);
                held.set_slots(self.options.slots);
                if self.options.focus_on_nothing {
                    held.focus_on_nothing();
                }
                self.wait_for_room(held, &clock)?
            }
            restored => restored?,
        };
        let mut pulse = self.pulse.beat();
        while !(engine.is_stopping() && engine.is_quiet()) {
            let (events, asks) = self.drain(&engine, &clock);
            if engine.next_timer().is_some_and(|at| clock.now().ms_since(at) > LATE_MS) {
                engine.renew_leases(clock.now());
            }
            let is_news = !events.is_empty();
            let commits = self.store.write_counts().commits;
            match turn(&mut engine, &mut self.store, &mut self.machine, clock.now(), events) {
                // A turn that had nothing to write shows nothing.
                Ok(()) if self.store.write_counts().commits == commits => {}
                Ok(()) => rebuilds = 0,
                Err(StoreError::Full { .. }) => {
                    // Nothing of the turn happened. What is kept back is for this: with it the next try has room.
                    self.machine.drop_replies();
                    engine = self.wait_for_room(engine, &clock)?;
                }
                Err(error) => {
                    // Nothing of the turn happened, and nobody may wait for its answers.
                    self.machine.drop_replies();
                    rebuilds += 1;
                    if rebuilds > REBUILDS_MAX || matches!(error, StoreError::Unusable { .. }) {
                        return Err(error.into());
                    }
                    let old = engine.clone_settings();
                    engine = self.restore(clock.now(), |engine| engine.take_settings(old))?;
                }
            }
            if self.is_reserve_given && engine.shortage().is_none() {
                self.is_reserve_given = !self.reserve.restore();
            }
            self.machine.see(&engine);
            if is_news {
                pulse = self.pulse.beat();
            }
            for ask in asks {
                ask(&engine, clock.now(), pulse);
            }
        }
        Ok(engine.leaves_attempts())
    }

    /// The disk is full. Tries again and again to build the engine anew, from the reserve's room first, and answers
    /// everybody meanwhile that it is full. Events that come are left unheard: recovery asks for what they told.
    fn wait_for_room(&mut self, engine: Engine, clock: &Clock) -> Result<Engine, DriverError> {
        let old = engine.clone_settings();
        self.reserve.release();
        self.is_reserve_given = true;
        loop {
            let error = match self.restore(clock.now(), |engine| engine.take_settings(old.clone())) {
                Ok(engine) => return Ok(engine),
                Err(full @ StoreError::Full { .. }) => full.to_string(),
                Err(error) => return Err(error.into()),
            };
            let until = clock.now().plus_ms(FULL_RETRY_MS);
            while clock.now() < until {
                let wait = Duration::from_millis(until.ms_since(clock.now()).max(1));
                match self.messages.recv_timeout(wait) {
                    // Whoever wants us to end gets that, and the next engine what is left.
                    Ok(Message::Command { command, .. }) if matches!(*command, Command::Stop { .. }) => {
                        return Err(DriverError::Machine(format!(
                            "stopped while the disk was full: {error}"
                        )));
                    }
                    Ok(Message::Command { reply, .. }) => {
                        let refusal = Refusal::new(RefusalKind::Busy, error.clone());
                        drop(reply.send(Err(refusal.hint("make room; it goes on by itself"))));
                    }
                    Ok(Message::Ask(ask)) => ask(&engine, clock.now(), self.pulse.beat()),
                    Ok(Message::Event(_)) => {}
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        }
    }

    /// The one path of start and recovery. `set_up` has the last word on what is not durable.
    fn restore(&mut self, now: Time, set_up: impl FnOnce(&mut Engine)) -> Result<Engine, StoreError> {
        let (slots, focus_on_nothing) = (self.options.slots, self.options.focus_on_nothing);
        let shortage = self.machine.monitor.shortage();
        start(self.options.limits.clone(), &mut self.store, &mut self.machine, now, |engine| {
            engine.set_slots(slots);
            engine.set_shortage(shortage);
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
