//! `run --detach`: the engine in a process of its own, without this terminal.

use std::time::Duration;

use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;
use ropewalk_host::session::Background;

use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;

/// The word that the background's process is started with in place of `--detach`.
const DETACHED: &str = "--detached";

/// Where the background's process tells what it cannot tell anybody.
const LOG: &str = "engine.log";

/// How soon it is looked again whether the engine serves: nothing tells, and it takes some ten milliseconds.
const LOOK: Duration = Duration::from_millis(10);

/// Makes this process the background's: its terminal's end is no concern of it any more.
pub(super) fn become_background() {
    // Refused only to a process that leads a group, which a child that was just started does not.
    let _ = ropewalk_host::session::lead();
}

/// Starts the same command again in the background, and waits until its engine has taken in what was asked for. What
/// is wrong with it has been said before.
pub(super) fn detach(place: &Place, out: &Out) -> Result<u8, Failure> {
    let mut child = start(place)?;
    let pid = child.pid();
    loop {
        if let Some(status) = child.ended() {
            return ended(place, status, out);
        }
        if is_at_work(place) {
            break;
        }
        std::thread::park_timeout(LOOK);
    }
    out.say(&format!(
        "running in the background (pid {pid})\nnext: ropewalk run --attach   # look on\n      ropewalk status\n      \
         ropewalk stop"
    ));
    if out.is_json() {
        out.json(&serde_json::json!({"detached": true, "pid": pid}));
    }
    Ok(0)
}

fn start(place: &Place) -> Result<Background, Failure> {
    // First, so that nothing that the user ends the flags with can turn ours into names.
    let words = std::env::args_os().skip(1).filter(|word| word != "--detach" && word != "--json");
    let (before, after): (Vec<_>, Vec<_>) = split_after(words, "run");
    let words = before.into_iter().chain([DETACHED.into(), "--quiet".into()]).chain(after);
    Background::start(words, &place.folder, &place.home.join(LOG))
        .map_err(|error| Failure::broken(format!("the background's process cannot be started: {error}")))
}

/// The words up to this one and with it, and the others.
fn split_after(
    words: impl Iterator<Item = std::ffi::OsString>,
    last: &str,
) -> (Vec<std::ffi::OsString>, Vec<std::ffi::OsString>) {
    let words: Vec<_> = words.collect();
    let at = words.iter().position(|word| word == last).map_or(0, |at| at + 1);
    let (before, after) = words.split_at(at);
    (before.to_vec(), after.to_vec())
}

/// Slots are given after all that was asked for has been taken in.
fn is_at_work(place: &Place) -> bool {
    let Some(mut session) = Session::connect(&place.home) else { return false };
    matches!(session.ask(None, Request::Board), Ok(Response::Board(board)) if board.slots > 0)
}

/// It ended before anybody could look: it had nothing to do, or could not do it.
fn ended(place: &Place, status: std::process::ExitStatus, out: &Out) -> Result<u8, Failure> {
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    if code != 0 && code != crate::failure::WAITS_FOR_PERSON {
        let log = place.home.join(LOG);
        return Err(Failure::broken(format!("the background's process ended at once ({status})"))
            .hint(format!("{} says why", log.display())));
    }
    out.say("it has ended already; `ropewalk status` shows what came of it");
    if out.is_json() {
        out.json(&serde_json::json!({"detached": false, "exit": code}));
    }
    Ok(code)
}
