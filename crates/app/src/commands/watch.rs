//! Follows an engine until something is reached, showing progress, and stops it cleanly on Ctrl-C.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ropewalk_core::command::{AtStop, Command, Done};
use ropewalk_core::view::{Board, NoteLine};
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::door::Door;
use ropewalk_daemon::session::Session;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Failure, INTERRUPTED};
use crate::out::Out;
use crate::place::Place;
use crate::progress::Progress;

/// How often the user asked to end, and what the first time does.
#[derive(Clone)]
pub(crate) struct Interrupts {
    count: Arc<AtomicU32>,
    stop: Arc<Mutex<Stop>>,
}

type Stop = Box<dyn Fn() + Send>;

/// One for the process: a second listener would count for itself.
static INTERRUPTS: OnceLock<Interrupts> = OnceLock::new();

impl Interrupts {
    /// Listens for Ctrl-C and its kin; called again, only the action changes. The first calls `stop`; the second ends
    /// this process at once, as safe as `kill -9`: the next run recovers.
    pub(crate) fn listen(stop: impl Fn() + Send + 'static) -> Result<Interrupts, Failure> {
        if let Some(interrupts) = INTERRUPTS.get() {
            *interrupts.stop.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(stop);
            return Ok(interrupts.clone());
        }
        let interrupts = Interrupts { count: Arc::default(), stop: Arc::new(Mutex::new(Box::new(stop))) };
        let mut os_signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|error| Failure::broken(format!("OS signals cannot be listened for: {error}")))?;
        let seen = interrupts.clone();
        let spawned = std::thread::Builder::new().name("os signals".into()).spawn(move || {
            for _ in os_signals.forever() {
                if seen.count.fetch_add(1, Ordering::SeqCst) > 0 {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                (seen.stop.lock().unwrap_or_else(PoisonError::into_inner))();
            }
        });
        spawned.map_err(|error| Failure::broken(error.to_string()))?;
        // Called from the main thread only: nobody can have come before.
        let _ = INTERRUPTS.set(interrupts.clone());
        Ok(interrupts)
    }

    pub(crate) fn any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }
}

/// Stops the engine behind this door as wished: what a first Ctrl-C does.
pub(crate) fn stopper(door: &Door, wish: (u64, AtStop), out: &Out) -> impl Fn() + Send + 'static {
    let (door, out, (grace_ms, then)) = (door.clone(), *out, wish);
    move || {
        let door = door.clone();
        // Not waited for here: the next Ctrl-C must be heard even if the engine hangs.
        let asked = std::thread::Builder::new().name("stop".into()).spawn(move || {
            if let Ok(Done::Changed { text }) = door.ask(Command::Stop { grace_ms, then }) {
                out.remark(&format!("{text} (Ctrl-C once more leaves at once, and agents go on alone)"));
            }
        });
        drop(asked);
    }
}

/// Follows the board until `is_enough`; `None`: the engine ended, or the user did.
pub(crate) fn follow(
    session: &mut Session,
    place: &Place,
    out: &Out,
    interrupts: &Interrupts,
    mut is_enough: impl FnMut(&mut Session, &Board) -> Result<bool, Failure>,
) -> Result<Option<Board>, Failure> {
    let mut progress = Progress::new(out);
    let mut told = last_note(session, place)?;
    let mut seen = 0;
    let ended = loop {
        let timeout_ms = u64::try_from(progress.patience().as_millis()).unwrap_or(1_000);
        let board = match session.ask(place.common_dir().as_deref(), Request::Watch { seen, timeout_ms }) {
            Ok(Response::Board(board)) => *board,
            // The engine has ended: by our own stop, or by somebody else's.
            Ok(_) | Err(_) => break None,
        };
        seen = board.pulse;
        if !out.is_quiet() {
            let notes = notes_after(session, place, told)?;
            told = notes.last().map_or(told, |note| note.sequence);
            progress.show(&board, &notes);
        }
        if !interrupts.any() && is_enough(session, &board)? {
            break Some(board);
        }
    };
    progress.end();
    Ok(ended)
}

/// Lines of history fetched at once: more than one turn of the loop can write, so that none is passed over.
const NOTES_MAX: usize = 10_000;

fn notes_after(session: &mut Session, place: &Place, after: u64) -> Result<Vec<NoteLine>, Failure> {
    match session.ask(place.common_dir().as_deref(), Request::Notes { after, prd: None, limit: NOTES_MAX }) {
        Ok(Response::Notes(notes)) => Ok(notes),
        Ok(_) | Err(_) => Ok(Vec::new()),
    }
}

fn last_note(session: &mut Session, place: &Place) -> Result<u64, Failure> {
    match place.ask(session, Request::Notes { after: 0, prd: None, limit: 1 })? {
        Response::Notes(notes) => Ok(notes.last().map_or(0, |note| note.sequence)),
        response => Err(Failure::unexpected(&response)),
    }
}
