//! `run`: import, approve, run to the end.

use std::path::Path;

use ropewalk_core::command::{AtStop, Command, Done, Imported};
use ropewalk_core::row::COLLECTION_KEY;
use ropewalk_core::view::{Board, ParkLine, PrdLine, PrdView};
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::door::Door;
use ropewalk_daemon::driver::Driver;
use ropewalk_daemon::session::{Found, Session, find};
use serde_json::json;

use super::stop::wish;
use super::watch::{Interrupts, follow, stopper};
use super::{detach, prd};
use crate::cli::Run;
use crate::config::Config;
use crate::failure::{Failure, INTERRUPTED, WAITS_FOR_PERSON};
use crate::out::{Out, inert};
use crate::place::Place;

pub(crate) fn run(run: &Run, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    if run.attach {
        return look_on(&place, out);
    }
    if run.detached {
        detach::become_background();
    }
    let (imported, board) = match prepare(&place, run, out)? {
        (_, import) if run.detach && matches!(find(&place.home)?, Found::Free(_)) => {
            drop(import);
            return detach::detach(&place, out);
        }
        (config, import) if run.detach => return hand_over(&place, import, &config, out),
        (config, import) => execute_prepared(&place, run, &config, import, out)?,
    };
    summary(&place, imported.as_ref(), board.as_ref(), out)
}

/// Runs to the end. What was imported, and the last look at the board; no board: it was interrupted.
pub(crate) fn execute(place: &Place, run: &Run, out: &Out) -> Result<Ran, Failure> {
    let (config, import) = prepare(place, run, out)?;
    execute_prepared(place, run, &config, import, out)
}

/// Reads all that this command brings.
fn prepare(place: &Place, run: &Run, out: &Out) -> Result<(Config, Option<Import>), Failure> {
    crate::trust::settle(place, out)?;
    let config = place.config_at_once(&run.set, run.workers.as_ref(), run.max_prds.as_ref())?;
    // Everything that can be wrong is said before anything is stored or started.
    place.check_secrets(&config.settings(), out)?;
    let import = match &run.file {
        Some(file) => {
            place.repository()?;
            let import = prd::read_file(place, file, &run.set, run.id.clone(), run.trust_passes, true, out)?;
            let settings = place.anchored(&config);
            place.check_agent(&settings)?;
            place.check_base(&settings)?;
            Some(import)
        }
        None => {
            refuse_overrides(run)?;
            refuse_without_agent(place)?;
            None
        }
    };
    Ok((config, import))
}

fn execute_prepared(
    place: &Place,
    run: &Run,
    config: &Config,
    import: Option<Import>,
    out: &Out,
) -> Result<Ran, Failure> {
    loop {
        match find(&place.home)? {
            Found::Serving(session) => {
                // No board: the engine that we followed has ended before our work had. It is our turn then.
                match attach(session, place, import.clone(), out) {
                    Ok((_, None)) => {}
                    Err(failure) if failure.is_engine_gone() => {}
                    ended => return ended,
                }
            }
            Found::Free(lock) => {
                let options = place.options(config, config.workers(), import.is_some())?;
                let driver = Driver::begin_with(options, lock)?;
                let interrupts =
                    Interrupts::listen(stopper(driver.door(), wish(config.engine(), run.at_stop), out))?;
                let mut session = Session::here(driver.door())?;
                let ran = drive(&mut session, place, import, config, driver.door(), out, &interrupts);
                // Its reader must be gone when the store is closed, or the store's log stays behind.
                drop(session);
                // At its rest nothing runs; what a fault of ours breaks off goes on alone.
                drop(driver.door().ask(Command::Stop { grace_ms: 0, then: AtStop::Leave }));
                driver.join()?;
                return ran;
            }
        }
    }
}

/// What is queued has its settings from its file's import and from the project. Flags would have to be laid over
/// some of it; said nothing, they would be ignored.
fn refuse_overrides(run: &Run) -> Result<(), Failure> {
    let set = &run.set;
    let given = [
        ("--command", set.command.is_some()),
        ("--check", !set.checks.is_empty()),
        ("--timeout", set.timeout.is_some()),
        ("--stall", set.stall.is_some()),
        ("--memory", set.memory.is_some()),
        ("--cpu-time", set.cpu_time.is_some()),
        ("--processes", set.processes.is_some()),
        ("--open-files", set.open_files.is_some()),
        ("--file-size", set.file_size.is_some()),
        ("--nice", set.nice.is_some()),
        ("--attempts", set.attempts.is_some()),
        ("--env", !set.env.is_empty()),
        ("--secret", !set.secrets.is_empty()),
        ("--base", set.base.is_some()),
        ("--id", run.id.is_some()),
        ("--trust-passes", run.trust_passes),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((flag, _)) => Err(Failure::input(format!("{flag} belongs to a PRD file, and none is given"))
            .hint(
                "ropewalk run prd.json … sets it for that PRD; ropewalk.toml sets it for all that is queued",
            )),
    }
}

/// Names PRDs that nobody could work on: started, each of their stories would be parked for the same reason.
fn refuse_without_agent(place: &Place) -> Result<(), Failure> {
    if place.repository().is_err() || place.project_settings()?.command.is_some() {
        return Ok(());
    }
    let request = Request::Prds { states: vec!["active".into()] };
    let Response::Prds(prds) = place.ask(&mut Session::open(&place.home)?, request)? else { return Ok(()) };
    let is_idle = |prd: &&PrdLine| {
        let progress = &prd.progress;
        // Single tasks bring their own command.
        prd.key != COLLECTION_KEY && prd.command.is_none() && progress.ready + progress.blocked > 0
    };
    match prds.iter().find(is_idle) {
        None => Ok(()),
        Some(prd) => Err(Failure::input(format!("no agent is set for {}", prd.key))
            .hint("set it in ropewalk.toml: [agent.shell] command = \"./agent.sh\"")),
    }
}

type Ran = (Option<Imported>, Option<Board>);
type Import = Box<ropewalk_daemon::api::Import>;

fn drive(
    session: &mut Session,
    place: &Place,
    import: Option<Import>,
    config: &Config,
    door: &Door,
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
    // Only now: settings and focus of this command are in force before the first attempt.
    door.ask(Command::SetPrdsAtOnce { prds: config.max_prds() })?;
    door.ask(Command::SetSlots { slots: config.workers() })?;
    let board = follow(session, place, out, interrupts, |_, board| Ok(board.is_at_rest))?;
    Ok((imported, board))
}

/// Another process runs the engine: hand the PRD over, and leave it to it.
fn hand_over(place: &Place, import: Option<Import>, config: &Config, out: &Out) -> Result<u8, Failure> {
    let mut session = Session::open(&place.home)?;
    if let Some(import) = import {
        place.add_project(&mut session)?;
        let imported = send(&mut session, place, import, out)?;
        place.done(&mut session, Request::FocusAlso { prd: imported.key.to_string() })?;
    } else {
        place.done(&mut session, Request::Focus { on: None })?;
    }
    out.say("the engine that runs already has it; `ropewalk run --attach` looks on");
    if out.is_json() {
        out.json(&json!({"detached": true, "workers": config.workers()}));
    }
    Ok(0)
}

/// Looks on while an engine of another process works. Nothing is asked of it.
fn look_on(place: &Place, out: &Out) -> Result<u8, Failure> {
    let Some(mut session) = Session::connect(&place.home) else {
        return Err(Failure::conflict("no engine is running").hint("ropewalk run"));
    };
    out.remark("Ctrl-C leaves it running");
    let interrupts = Interrupts::listen(|| std::process::exit(i32::from(INTERRUPTED)))?;
    let followed =
        follow(&mut session, place, out, &interrupts, |_, board| Ok(board.is_at_rest && board.slots > 0));
    // An engine that ends at the first question has ended like one that ends later.
    let board = match followed {
        Err(failure) if failure.is_engine_gone() => None,
        followed => followed?,
    };
    drop(session);
    match board {
        Some(board) => summary(place, None, Some(&board), out),
        // It ended while we looked: what came of it stands in the store.
        None => match place.ask(&mut Session::open(&place.home)?, Request::Board)? {
            Response::Board(board) => summary(place, None, Some(&board), out),
            response => Err(Failure::unexpected(&response)),
        },
    }
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
        None => {
            place.done(&mut session, Request::Focus { on: None })?;
            None
        }
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
        // An engine without slots only lands something, or is about to get them: it is at rest by accident.
        Ok(number.map_or(board.is_at_rest && board.slots > 0, |prd| !open(prd)))
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
        for line in left_at_work(place, &mut session)? {
            out.remark(&inert(&format!("goes on alone: {line}")));
        }
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

/// Attempts that were left to their workers.
fn left_at_work(place: &Place, session: &mut Session) -> Result<Vec<String>, Failure> {
    match place.ask(session, Request::Board)? {
        Response::Board(board) => {
            Ok(board.running.iter().map(|run| format!("{} attempt {}", run.name, run.attempt)).collect())
        }
        response => Err(Failure::unexpected(&response)),
    }
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
        let what = if line.key == COLLECTION_KEY { "tasks" } else { "stories" };
        text += &format!("{}: {} of {wanted} {what} landed on {branch}", line.key, progress.done);
        if progress.cancelled > 0 {
            text += &format!(", {} cancelled", progress.cancelled);
        }
        text += "\n";
        if progress.done == wanted && line.state == "active" && wanted > 0 {
            text += &format!("next: ropewalk prd land {}\n", line.key);
        }
        if line.state == "draft" {
            text += &format!("it is a draft; next: ropewalk prd approve {}\n", line.key);
        }
    }
    for line in parked {
        let own = format!("task {}", line.task);
        let name = if line.name == own { own } else { format!("{} ({own})", line.name) };
        text += &format!("waits for you: {name}: {}\n", line.reason);
    }
    if let Some(first) = parked.first() {
        text += &format!("next: ropewalk why {}\n      {}\n", first.task, first.next);
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
