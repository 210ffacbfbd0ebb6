//! `status`: what runs, lands and waits.

use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;

use super::system;
use crate::cli::Status;
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::table::{span, table};

pub(crate) fn status(how: &Status, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let mut session = Session::open(&place.home)?;
    if how.system {
        return system::show(&place, &mut session, out);
    }
    let board = match place.ask(&mut session, Request::Board)? {
        Response::Board(board) => *board,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&serde_json::json!({"engine": session.has_engine(), "board": board}));
        return Ok(0);
    }
    out.say(match session.has_engine() {
        true if board.is_stopping => "an engine is stopping",
        true => "an engine is running",
        false => "no engine is running; `ropewalk run` starts it",
    });
    if let Some(shortage) = &board.shortage {
        out.say(&inert(&format!("no new work starts: {shortage}; make room, and it goes on by itself")));
    }
    if !board.prds.is_empty() {
        let rows = board.prds.iter().map(|prd| {
            let p = &prd.progress;
            let landed = format!("{}/{}", p.done, p.stories - p.cancelled);
            let numbers = [p.running, p.landing, p.ready, p.blocked, p.parked].map(|n| n.to_string());
            let [running, landing, ready, blocked, parked] = numbers;
            vec![
                prd.key.clone(),
                prd.state.clone(),
                landed,
                running,
                landing,
                ready,
                blocked,
                parked,
                prd.title.clone(),
            ]
        });
        let headings =
            ["prd", "state", "landed", "running", "landing", "ready", "blocked", "parked", "title"];
        out.say(&format!("\n{}", table(&headings, rows)));
    }
    if !board.running.is_empty() {
        let rows = board.running.iter().map(|run| {
            let attempt = run.attempt.to_string();
            vec![
                run.name.clone(),
                run.task.to_string(),
                attempt,
                if run.is_near_deadline {
                    format!("{}, near its deadline", run.state)
                } else {
                    run.state.clone()
                },
                span(run.age_ms),
                run.title.clone(),
            ]
        });
        out.say(&format!("\n{}", table(&["running", "task", "attempt", "state", "time", "title"], rows)));
    }
    for line in &board.landing {
        out.say(&inert(&format!("landing: {} {} on {}", line.name, line.state, line.target)));
    }
    for line in &board.parked {
        out.say(&inert(&format!("waits for you: {} (task {}): {}", line.name, line.task, line.reason)));
    }
    Ok(0)
}
