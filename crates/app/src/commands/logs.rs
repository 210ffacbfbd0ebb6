//! `logs`: what an attempt printed, as it is in its file.

use std::fs::File;
use std::io::{ErrorKind, IsTerminal, Read, Write};
use std::path::Path;

use ropewalk_daemon::api::Request;
use ropewalk_daemon::session::Session;

use super::task::view;
use crate::cli::Logs;
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;

/// How long to wait for the engine's news before looking at the file again. Its growth is no news to the
/// engine, which stays out of the output's way.
const LOOK_AGAIN_MS: u64 = 250;

pub(crate) fn logs(logs: &Logs, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let mut session = Session::open(&place.home)?;
    let task = view(&mut session, &place, &logs.name.id)?;
    let id = task.line.id;
    let number = logs.attempt.or_else(|| task.attempts_made.last().map(|attempt| attempt.id.number.0));
    let Some(number) = number else {
        return Err(Failure::not_found(format!("task {id} has had no attempt yet"))
            .hint(format!("ropewalk why {id}   # says what it waits for")));
    };
    if !task.attempts_made.iter().any(|attempt| attempt.id.number.0 == number) {
        return Err(Failure::not_found(format!("task {id} has no attempt {number}")));
    }
    let stream = if logs.stderr { "stderr" } else { "stdout" };
    let path = place.home.join("attempts").join(format!("{id}.{number}")).join(stream);
    if out.is_json() {
        return json(&path, id.0, number, stream, out);
    }
    let mut file = open(&path)?;
    let mut rest = copy(&mut file, &[])?;
    let mut seen = 0;
    // Looked at before the last copy: what is written before the end is printed for sure.
    loop {
        if !logs.follow {
            break;
        }
        let is_live = is_live(&mut session, &place, &id.to_string(), number)?;
        if file.is_none() {
            file = open(&path)?;
        }
        rest = copy(&mut file, &rest)?;
        if !is_live {
            break;
        }
        if let Ok(ropewalk_daemon::api::Response::Board(board)) =
            session.ask(None, Request::Watch { seen, timeout_ms: LOOK_AGAIN_MS })
        {
            // Only the waiting matters: news of others must not make us spin.
            seen = board.pulse.max(seen);
        }
    }
    flush(&rest);
    Ok(0)
}

fn is_live(session: &mut Session, place: &Place, name: &str, number: u32) -> Result<bool, Failure> {
    if !session.has_engine() {
        return Ok(false);
    }
    // An engine that ends while we follow it leaves nothing to follow.
    let Ok(task) = view(session, place, name) else { return Ok(false) };
    let attempt = task.attempts_made.iter().find(|attempt| attempt.id.number.0 == number);
    Ok(attempt.is_some_and(|attempt| attempt.outcome.is_none()))
}

fn open(path: &Path) -> Result<Option<File>, Failure> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::broken(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// Copies what has come since the last time. To a pipe byte for byte; to a terminal harmless, in whole lines:
/// what follows the last line's end is given back for the next time.
fn copy(file: &mut Option<File>, before: &[u8]) -> Result<Vec<u8>, Failure> {
    let Some(file) = file else { return Ok(before.to_vec()) };
    let mut stdout = std::io::stdout().lock();
    let broken = |error: std::io::Error| Failure::broken(format!("the output cannot be read: {error}"));
    if !stdout.is_terminal() {
        return match std::io::copy(file, &mut stdout) {
            Ok(_) => Ok(Vec::new()),
            // Whoever reads has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(broken(error)),
        };
    }
    let mut rest = before.to_vec();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk).map_err(broken)?;
        if count == 0 {
            return Ok(rest);
        }
        rest.extend_from_slice(&chunk[..count]);
        let end = match rest.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if rest.len() > LINE_BYTES_MAX => rest.len(),
            None => continue,
        };
        let text = inert(&String::from_utf8_lossy(&rest[..end]));
        let _ = stdout.write_all(text.as_bytes());
        rest.drain(..end);
    }
}

/// One read: large enough that a gigabyte takes few calls, small enough to hold.
const CHUNK_BYTES: usize = 64 << 10;
/// A line longer than this is shown in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;

fn flush(rest: &[u8]) {
    if !rest.is_empty() {
        let _ = writeln!(std::io::stdout().lock(), "{}", inert(&String::from_utf8_lossy(rest)));
    }
}

/// Bytes of output that go into one JSON value: more belongs into a pipe.
const JSON_BYTES_MAX: u64 = 16 << 20;

fn json(path: &Path, task: u64, attempt: u32, stream: &str, out: &Out) -> Result<u8, Failure> {
    let mut bytes = Vec::new();
    if let Some(file) = open(path)? {
        file.take(JSON_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::broken(format!("{} cannot be read: {error}", path.display())))?;
    }
    let is_cut = bytes.len() as u64 > JSON_BYTES_MAX;
    bytes.truncate(JSON_BYTES_MAX as usize);
    let text = String::from_utf8_lossy(&bytes);
    out.json(&serde_json::json!({"task": task, "attempt": attempt, "stream": stream, "file": path, "text": text, "cut": is_cut}));
    Ok(0)
}
