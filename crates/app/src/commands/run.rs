//! `run`: import, approve, run to the end.

use std::path::Path;

use ropewalk_core::command::{Done, Imported};
use ropewalk_core::view::{Board, ParkLine, PrdView};
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::driver::Driver;
use ropewalk_daemon::session::{Found, Session, find};
use serde_json::json;

use super::prd;
use super::watch::{Interrupts, follow, stopper};
use crate::cli::Run;
use crate::failure::{Failure, INTERRUPTED, WAITS_FOR_PERSON};
use crate::out::{Out, inert};
use crate::place::Place;

pub(crate) fn run(run: &Run, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let (imported, board) = execute(&place, run, out)?;
    summary(&place, imported.as_ref(), board.as_ref(), out)
}

/// Runs to the end. What was imported, and the last look at the board; no board: it was interrupted.
pub(crate) fn execute(place: &Place, run: &Run, out: &Out) -> Result<Ran, Failure> {
    let config = place.config(&run.set, run.workers.as_ref())?;
    // Everything that can be wrong is said before anything is stored or started.
    let import = match &run.file {
        Some(file) => {
            place.repository()?;
            let import = prd::read_file(place, file, &run.set, run.id.clone(), run.trust_passes, true)?;
            place.check_agent(&place.anchored(&config))?;
            Some(import)
        }
        None => None,
    };
    loop {
        match find(&place.home)? {
            Found::Serving(session) => {
                // No board: the engine that we followed has ended before our work had. It is our turn then.
                if let (imported, Some(board)) = attach(session, place, import.clone(), out)? {
                    return Ok((imported, Some(board)));
                }
            }
            Found::Free(lock) => {
                let options = place.options(config.workers(), import.is_some())?;
                let driver = Driver::begin_with(options, lock)?;
                let interrupts = Interrupts::listen(stopper(driver.door()))?;
                let mut session = Session::here(driver.door())?;
                let ran = drive(&mut session, place, import, out, &interrupts);
                // Its reader must be gone when the store is closed, or the store's log stays behind.
                drop(session);
                drop(driver.door().ask(ropewalk_core::command::Command::Stop));
                driver.join()?;
                return ran;
            }
        }
    }
}

type Ran = (Option<Imported>, Option<Board>);
type Import = Box<ropewalk_daemon::api::Import>;

fn drive(
    session: &mut Session,
    place: &Place,
    import: Option<Import>,
    out: &Out,
    interrupts: &Interrupts,
) -> Result<Ran, Failure> {
    if place.repository().is_ok() {
        place.add_project(session)?;
    }
    let imported = match import {
        Some(import) => {
            let imported = send(session, place, import, out)?;
            place.done(session, Request::FocusAlso { prd: imported.key.to_string() })?;
            Some(imported)
        }
        None => None,
    };
    let board = follow(session, place, out, interrupts, |_, board| Ok(board.is_at_rest))?;
    Ok((imported, board))
}

/// Another process runs the engine: hand the PRD over and look on until it has ended.
fn attach(mut session: Session, place: &Place, import: Option<Import>, out: &Out) -> Result<Ran, Failure> {
    out.remark(
        "another ropewalk runs the engine of this state folder; following it (Ctrl-C leaves it running)",
    );
    let imported = match import {
        Some(import) => {
            place.add_project(&mut session)?;
            let imported = send(&mut session, place, import, out)?;
            place.done(&mut session, Request::FocusAlso { prd: imported.key.to_string() })?;
            Some(imported)
        }
        None => None,
    };
    let interrupts = Interrupts::listen(|| std::process::exit(i32::from(INTERRUPTED)))?;
    let number = imported.as_ref().map(|imported| imported.prd);
    let board = follow(&mut session, place, out, &interrupts, |_, board| {
        let open = |prd| {
            board.prds.iter().any(|line| {
                line.number == prd && line.fault.is_none() && {
                    let progress = &line.progress;
                    progress.running + progress.landing + progress.ready > 0
                }
            })
        };
        Ok(board.is_at_rest || number.is_some_and(|prd| !open(prd)))
    })?;
    Ok((imported, board))
}

fn send(session: &mut Session, place: &Place, import: Import, out: &Out) -> Result<Imported, Failure> {
    let source = import.source.clone();
    match place.ask(session, Request::Import(import))? {
        Response::Done(Done::Imported(imported)) => {
            prd::tell_import(&imported, &source, out);
            Ok(imported)
        }
        Response::Faults(faults) => Err(Failure::document(&source, faults)),
        response => Err(Failure::unexpected(&response)),
    }
}

/// The end of a run, in words and as an exit code.
fn summary(
    place: &Place,
    imported: Option<&Imported>,
    board: Option<&Board>,
    out: &Out,
) -> Result<u8, Failure> {
    let mut session = Session::open(&place.home)?;
    let prd = match imported {
        Some(imported) => match place.ask(&mut session, Request::Prd { prd: imported.key.to_string() })? {
            Response::Prd(prd) => Some(*prd),
            response => return Err(Failure::unexpected(&response)),
        },
        None => None,
    };
    let Some(board) = board else {
        out.remark("stopped; the same command goes on where this one ended");
        if out.is_json() {
            out.json(&json!({"ended": "interrupted", "prd": prd}));
        }
        return Ok(INTERRUPTED);
    };
    let parked: Vec<_> = board
        .parked
        .iter()
        .filter(|line| prd.is_none() || line.prd == prd.as_ref().map(|p| p.line.number))
        .collect();
    let faults: Vec<_> =
        board.prds.iter().filter_map(|line| line.fault.as_ref().map(|fault| (&line.key, fault))).collect();
    let blocked: u32 = match &prd {
        Some(prd) => prd.line.progress.blocked,
        None => {
            board.prds.iter().filter(|line| line.state == "active").map(|line| line.progress.blocked).sum()
        }
    };
    let waits = !parked.is_empty() || !faults.is_empty() || blocked > 0;
    if out.is_json() {
        let ended = if waits { "waits" } else { "done" };
        out.json(&json!({"ended": ended, "prd": prd, "parked": parked, "blocked": blocked}));
    }
    out.say(&words(prd.as_ref(), board, &parked, blocked));
    for (key, fault) in faults {
        out.remark(&inert(&format!("{key} has no branch to land on: {fault}")));
    }
    Ok(if waits { WAITS_FOR_PERSON } else { 0 })
}

fn words(prd: Option<&PrdView>, board: &Board, parked: &[&ParkLine], blocked: u32) -> String {
    let mut text = String::new();
    let lines: Vec<_> = match prd {
        Some(prd) => vec![&prd.line],
        None => board.prds.iter().collect(),
    };
    for line in lines {
        let progress = &line.progress;
        let branch = line.branch.as_deref().unwrap_or("no branch");
        let wanted = progress.stories - progress.cancelled;
        text += &format!("{}: {} of {wanted} stories landed on {branch}", line.key, progress.done);
        if progress.cancelled > 0 {
            text += &format!(", {} cancelled", progress.cancelled);
        }
        text += "\n";
        if progress.done == wanted && line.state == "active" && wanted > 0 {
            text += &format!("next: ropewalk prd land {}\n", line.key);
        }
    }
    for line in parked {
        text += &format!("waits for you: {} (task {}): {}\n", line.name, line.task, line.reason);
    }
    if blocked > 0 {
        text += &format!("{blocked} blocked behind what waits; `ropewalk why ID` says behind what\n");
    }
    if text.is_empty() {
        text += "nothing is queued\n";
    }
    inert(&text)
}

/// The file's folder and name, absolute, for people and as the PRD's identity.
pub(crate) fn absolute(place: &Place, file: &Path) -> std::path::PathBuf {
    let joined = place.folder.join(file);
    std::fs::canonicalize(&joined).unwrap_or(joined)
}
