//! Finds the engine that serves a state folder; when there is none, opens the store for as long as it needs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ropewalk_core::command::{Answer, Command, Refusal, RefusalKind};
use ropewalk_core::effect::Effect;
use ropewalk_core::engine::{Engine, Why};
use ropewalk_core::event::{Event, ReplyTo};
use ropewalk_core::graph::PlanCache;
use ropewalk_core::id::TaskId;
use ropewalk_core::limits::Limits;
use ropewalk_core::port::{Read, StoreError, World};
use ropewalk_core::time::Time;
use ropewalk_core::turn::turn;
use ropewalk_core::view::Board;
use ropewalk_host::clock::Clock;
use ropewalk_host::lock::{EngineLock, LockError, acquire};
use ropewalk_store::{SqliteReader, SqliteStore};

use crate::answer::{Desk, DoorDesk, answer, is_for_engine};
use crate::api::{Ask, Request, Response};
use crate::door::{Door, database};
use crate::ipc;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the engine of {home} does not answer: {detail}")]
    Connection { home: PathBuf, detail: String },
    #[error("the engine of {home} ended before it answered")]
    Gone { home: PathBuf },
}

/// A conversation with whatever serves a state folder.
pub enum Session {
    /// An engine in another process.
    Remote { stream: BufReader<UnixStream>, home: PathBuf },
    /// An engine in this process.
    Here(Box<Inner>),
    /// No engine: the store, under the engine's lock, for a moment.
    Alone(Box<Alone>),
}

/// An engine in this process, as a session sees it.
#[expect(missing_debug_implementations, reason = "a database connection has nothing to show")]
pub struct Inner {
    desk: DoorDesk,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Session::Remote { .. } => "Session::Remote",
            Session::Here(_) => "Session::Here",
            Session::Alone(_) => "Session::Alone",
        })
    }
}

/// How long a command waits for another that holds the lock just for its own question.
const LOCK_WAIT: Duration = Duration::from_secs(3);

/// What the lock attempt leads to.
#[derive(Debug)]
pub enum Found {
    /// An engine in another process answers.
    Serving(Session),
    /// Nobody serves this folder; the lock is ours now.
    Free(EngineLock),
}

/// Looks for an engine; takes the lock when there is none.
///
/// # Errors
/// When the lock is held by somebody who does not answer.
pub fn find(home: &Path) -> Result<Found, SessionError> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        if let Some(session) = Session::connect(home) {
            return Ok(Found::Serving(session));
        }
        match acquire(home) {
            Ok(lock) => return Ok(Found::Free(lock)),
            Err(LockError::Busy { .. }) if Instant::now() < until => {
                // Its holder is starting, ending, or asking a question of its own; none of them tells us when it
                // is through, so look again.
                std::thread::park_timeout(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Session {
    /// The engine if one serves, else the store itself.
    ///
    /// # Errors
    /// When neither can be had.
    pub fn open(home: &Path) -> Result<Session, SessionError> {
        match find(home)? {
            Found::Serving(session) => Ok(session),
            Found::Free(lock) => Ok(Session::Alone(Box::new(Alone::open(home, lock)?))),
        }
    }

    /// The engine in another process, if one serves this folder.
    pub fn connect(home: &Path) -> Option<Session> {
        let stream = ipc::connect(home).ok()?;
        Some(Session::Remote { stream: BufReader::new(stream), home: home.to_owned() })
    }

    /// A session with the engine behind this door.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn here(door: &Door) -> Result<Session, SessionError> {
        let reader = door.reader()?;
        Ok(Session::Here(Box::new(Inner { desk: DoorDesk { door: door.clone(), reader } })))
    }

    /// Whether an engine is at work.
    pub fn has_engine(&self) -> bool {
        !matches!(self, Session::Alone(_))
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the engine has gone.
    pub fn ask(&mut self, repository: Option<&str>, request: Request) -> Result<Response, SessionError> {
        let ask = Ask { repository: repository.map(str::to_owned), request };
        if let Some(response) = self.put(&ask)? {
            return Ok(response);
        }
        if ask.request.only_reads() {
            // It ended as we asked. Who serves now, or nobody, knows the same; engines do not end twice in a row.
            *self = Session::open(&self.served())?;
            if let Some(response) = self.put(&ask)? {
                return Ok(response);
            }
        }
        Err(SessionError::Gone { home: self.served() })
    }

    /// `None`: the engine in another process has gone.
    fn put(&mut self, ask: &Ask) -> Result<Option<Response>, SessionError> {
        match self {
            Session::Here(inner) => Ok(Some(answer(&mut inner.desk, ask.clone()))),
            Session::Alone(_) if is_for_engine(&ask.request) => {
                let refusal =
                    Refusal::new(RefusalKind::Conflict, "no engine is running").hint("ropewalk run");
                Ok(Some(Response::Refused(refusal)))
            }
            Session::Alone(alone) => Ok(Some(answer(&mut **alone, ask.clone()))),
            Session::Remote { stream, home } => {
                remote(stream, ask).map_err(|detail| SessionError::Connection { home: home.clone(), detail })
            }
        }
    }

    /// The state folder.
    fn served(&self) -> PathBuf {
        match self {
            Session::Remote { home, .. } => home.clone(),
            Session::Here(inner) => inner.desk.home().to_owned(),
            Session::Alone(alone) => alone.home().to_owned(),
        }
    }
}

/// `None`: the other end has gone. A socket on this machine fails for no other reason.
fn remote(stream: &mut BufReader<UnixStream>, ask: &Ask) -> Result<Option<Response>, String> {
    let mut line = serde_json::to_vec(ask).map_err(|error| error.to_string())?;
    line.push(b'\n');
    if stream.get_mut().write_all(&line).is_err() {
        return Ok(None);
    }
    let mut reply = String::new();
    match stream.read_line(&mut reply) {
        Ok(_) if reply.ends_with('\n') => serde_json::from_str(&reply)
            .map(Some)
            .map_err(|error| format!("its answer is not understood: {error}")),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// The store without an engine. Commands are decided and recorded; their effects wait for the next engine,
/// whose recovery asks for them again.
#[expect(missing_debug_implementations, reason = "a database connection has nothing to show")]
pub struct Alone {
    /// The engine as the rows have it, with a clock that runs on from the latest row. Built when something asks
    /// for the live state: a list does not.
    live: Option<(Engine, Clock)>,
    // In this order on drop: the writer's connection last, so that no log stays behind, and then the lock.
    reader: SqliteReader,
    store: SqliteStore,
    plans: Mutex<PlanCache>,
    home: PathBuf,
    _lock: EngineLock,
}

impl Alone {
    fn open(home: &Path, lock: EngineLock) -> Result<Alone, SessionError> {
        let store = SqliteStore::open(&database(home))?;
        let reader = store.reader()?;
        Ok(Alone { live: None, reader, store, plans: Mutex::default(), home: home.to_owned(), _lock: lock })
    }

    fn live(&mut self) -> Result<(&mut Engine, &mut SqliteStore, Time), Refusal> {
        let (engine, clock) = match self.live.take() {
            Some(live) => live,
            None => {
                let failed = |error: StoreError| Refusal::new(RefusalKind::Failed, error.to_string());
                let snapshot = self.store.load().map_err(failed)?;
                let clock = Clock::starting_at(snapshot.last_time);
                let mut engine = Engine::restore(Limits::default(), snapshot);
                // Nothing is to start: there is nobody to run it.
                engine.set_slots(0);
                (engine, clock)
            }
        };
        let now = clock.now();
        let (engine, _) = self.live.insert((engine, clock));
        Ok((engine, &mut self.store, now))
    }
}

/// A world in which nothing happens but answers.
#[derive(Default)]
struct Still {
    answer: Option<Answer>,
}

impl World for Still {
    fn perform(&mut self, _: Effect) {}

    fn reply(&mut self, _: ReplyTo, answer: Answer) {
        self.answer = Some(answer);
    }
}

impl Desk for Alone {
    fn command(&mut self, command: Command) -> Answer {
        let mut world = Still::default();
        let event = Event::Command { reply_to: ReplyTo(0), command: Box::new(command) };
        let (engine, store, now) = self.live()?;
        let turned = turn(engine, store, &mut world, now, [event]);
        match (world.answer, turned) {
            (Some(answer), _) => answer,
            (None, Err(error)) => Err(Refusal::new(RefusalKind::Failed, error.to_string())),
            (None, Ok(())) => Err(Refusal::new(RefusalKind::Failed, "the command was not answered")),
        }
    }

    fn board(&mut self) -> Result<Board, Refusal> {
        let (engine, _, now) = self.live()?;
        Ok(Board::of(engine, now, 0))
    }

    fn wait(&mut self, _: u64, _: Duration) -> bool {
        false
    }

    fn why(&mut self, task: TaskId) -> Result<Option<Why>, Refusal> {
        let why = self.live()?.0.why(task);
        Ok(why.map(|mut why| {
            // Slots are an engine's; without one, that none runs is the reason.
            if why.state == "leased" || why.state == "landing" {
                why.reasons = vec!["no engine is running; the next one takes it up where it is".into()];
                why.next = vec!["ropewalk run".into()];
            }
            if why.state == "ready" {
                why.reasons.retain(|reason| !reason.contains("slots are in use"));
                why.next.retain(|next| !next.contains("--workers"));
                why.reasons.push("no engine is running".into());
                why.next = vec!["ropewalk run".into()];
            }
            why
        }))
    }

    fn reader(&self) -> &SqliteReader {
        &self.reader
    }

    fn home(&self) -> &Path {
        &self.home
    }

    fn plans(&mut self) -> MutexGuard<'_, PlanCache> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
