//! `stop`: ends the engine that runs in the background or in another terminal.

use ropewalk_core::command::AtStop;
use ropewalk_core::view::RunLine;
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;

use super::prd::tell_done;
use crate::cli;
use crate::config::duration::parse_duration;
use crate::config::{EngineSettings, STOP_GRACE_MS_MAX};
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;

pub(crate) fn stop(how: &cli::Stop, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    if let Some(prd) = &how.prd {
        let request = Request::Hold { prd: prd.clone() };
        tell_done(&place.done(&mut Session::open(&place.home)?, request)?, out);
        return Ok(0);
    }
    let config = place.untrusted_config(&cli::Set::default(), None)?;
    let (mut grace_ms, then) = wish(config.engine(), how.at_stop);
    if let Some(text) = &how.grace {
        grace_ms = grace(text)?;
    }
    let mut session = Session::open(&place.home)?;
    if !session.has_engine() {
        drop(session);
        out.say(match left(&place)?.len() {
            0 => "no engine is running",
            _ => "no engine is running; agents that go on alone are taken up, or ended, by the next `ropewalk run`",
        });
        if out.is_json() {
            out.json(&serde_json::json!({"stopped": false}));
        }
        return Ok(0);
    }
    match place.done(&mut session, Request::Stop { grace_ms, then }) {
        Ok(stopping) if !out.is_json() => tell_done(&stopping, out),
        Ok(_) => {}
        // It was at its end anyway.
        Err(failure) if failure.is_engine_gone() => {}
        Err(failure) => return Err(failure),
    }
    let mut seen = 0;
    // Each answer comes with news or after a while; an engine that has ended answers no more.
    while let Ok(Response::Board(board)) = session.ask(None, Request::Watch { seen, timeout_ms: 10_000 }) {
        seen = board.pulse;
    }
    // The lock is free when this opens: nothing of that engine is left but what it was told to leave.
    let left = left(&place)?;
    match left.len() {
        0 => out.say("stopped"),
        1 => out.say("stopped; 1 attempt goes on alone, and the next run takes it up"),
        n => out.say(&format!("stopped; {n} attempts go on alone, and the next run takes them up")),
    }
    if out.is_json() {
        out.json(&serde_json::json!({"stopped": true, "left": left}));
    }
    Ok(0)
}

/// What goes on alone. The engine that has just ended may still be met on its way out: then it is asked once more,
/// and the lock is waited for.
fn left(place: &Place) -> Result<Vec<RunLine>, Failure> {
    loop {
        match place.ask(&mut Session::open(&place.home)?, Request::Board) {
            Ok(Response::Board(board)) => return Ok(board.running),
            Ok(response) => return Err(Failure::unexpected(&response)),
            Err(failure) if failure.is_engine_gone() => {}
            Err(failure) => return Err(failure),
        }
    }
}

fn grace(text: &str) -> Result<u64, Failure> {
    if text == "0s" {
        return Ok(0);
    }
    let parsed = parse_duration(text).map_err(|rule| format!("--grace {text:?} {rule}")).and_then(|ms| {
        if ms <= STOP_GRACE_MS_MAX { Ok(ms) } else { Err(format!("--grace {text:?} is longer than 1h")) }
    });
    parsed.map_err(|fault| Failure::input(fault).hint("for example --grace 30s, or 0s for at once"))
}

/// What a stop is to do: the flags over the settings.
pub(super) fn wish(settings: &EngineSettings, flags: cli::AtStop) -> (u64, AtStop) {
    let then = match (flags.end, flags.leave) {
        (true, _) => AtStop::End,
        (_, true) => AtStop::Leave,
        (false, false) => settings.at_stop,
    };
    (settings.stop_grace_ms, then)
}
