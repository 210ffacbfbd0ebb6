//! `logs`: what an attempt printed, in whatever form it is stored, while it runs and after.

mod since;
mod view;

use std::io::IsTerminal;
use std::path::Path;

use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;
use ropewalk_host::clock::wall_ms;
use ropewalk_host::durable::FileError;
use ropewalk_host::output::follow::{Follower, Progress};
use ropewalk_host::output::index::Index;
use ropewalk_host::output::stored::{PIECE_BYTES, Piece};
use ropewalk_host::output::{Stored, Stream};

use self::view::{Page, View};
use super::task::view as task_view;
use crate::cli::Logs;
use crate::failure::Failure;
use crate::out::Out;
use crate::place::Place;

/// How long an engine may keep us waiting for news of an attempt that no worker has taken yet.
const NEWS_WAIT_MS: u64 = 30_000;

pub(crate) fn logs(logs: &Logs, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let since_ms = logs.since.as_deref().map(|text| since::instant(text, wall_ms())).transpose()?;
    let mut session = Session::open(&place.home)?;
    let task = task_view(&mut session, &place, &logs.name.id)?;
    let id = task.line.id;
    let number = logs.attempt.or_else(|| task.attempts_made.last().map(|attempt| attempt.id.number.0));
    let Some(number) = number else {
        return Err(Failure::not_found(format!("task {id} has had no attempt yet"))
            .hint(format!("ropewalk why {id}   # says what it waits for")));
    };
    if !task.attempts_made.iter().any(|attempt| attempt.id.number.0 == number) {
        return Err(Failure::not_found(format!("task {id} has no attempt {number}")));
    }
    let stream = if logs.stderr { Stream::Stderr } else { Stream::Stdout };
    let folder = place.home.join("attempts").join(format!("{id}.{number}"));
    let mut reading = Reading { stored: Stored::open(&folder, stream).map_err(unreadable)?, at: 0 };
    reading.at = begin(&mut reading.stored, &folder, stream, logs, since_ms).map_err(unreadable)?;
    let live = Live { id: id.to_string(), number, folder: &folder, stream };
    let grep = logs.grep.as_deref().map(str::as_bytes);
    if out.is_json() {
        if logs.follow {
            // The one value can only be given once there is all of it.
            live.follow(session, &place, &mut reading, |_| Ok(()))?;
        }
        let page = Page::read(&mut reading, grep)?;
        let mut value = serde_json::json!({
            "task": id.0, "attempt": number, "stream": stream.name(), "folder": folder,
        });
        page.add_to(&mut value);
        out.json(&value);
        return Ok(0);
    }
    let mut view = View::new(grep, std::io::stdout().is_terminal());
    if logs.follow {
        live.follow(session, &place, &mut reading, |reading| reading.show_rest(|news| view.show(news)))?;
    } else {
        reading.show_rest(|news| view.show(news))?;
    }
    view.finish();
    Ok(0)
}

fn unreadable(error: FileError) -> Failure {
    Failure::broken(format!("the output cannot be read: {error}"))
}

/// The latest of the beginnings that were asked for.
fn begin(
    stored: &mut Stored,
    folder: &Path,
    stream: Stream,
    logs: &Logs,
    since_ms: Option<i64>,
) -> Result<u64, FileError> {
    let mut at = logs.offset.unwrap_or(0);
    if let Some(since_ms) = since_ms {
        let offset = Index::read(folder, stream)?.offset_at(since_ms);
        at = at.max(stored.line_start(offset)?);
    }
    if let Some(lines) = logs.tail {
        at = at.max(stored.tail_offset(lines)?);
    }
    Ok(at)
}

/// A stream that is read from an offset on.
struct Reading {
    stored: Stored,
    at: u64,
}

/// What comes next of it.
enum News<'a> {
    Bytes(&'a [u8]),
    /// So many bytes were not kept.
    Hole(u64),
}

impl Reading {
    /// Shows all that there is by now.
    fn show_rest(&mut self, mut show: impl FnMut(News<'_>)) -> Result<(), Failure> {
        let mut buffer = vec![0; PIECE_BYTES];
        while self.step(&mut buffer, &mut show)? {}
        Ok(())
    }

    /// Shows the next piece; `false`: there is none now.
    fn step(&mut self, buffer: &mut [u8], show: &mut impl FnMut(News<'_>)) -> Result<bool, Failure> {
        match self.stored.read_at(self.at, buffer).map_err(unreadable)? {
            Piece::End => return Ok(false),
            Piece::Bytes(count) => {
                self.at += count as u64;
                show(News::Bytes(&buffer[..count]));
            }
            Piece::Hole(hole) => {
                self.at = hole.end;
                show(News::Hole(hole.end - hole.start));
            }
        }
        Ok(true)
    }
}

/// An attempt that may still run.
struct Live<'a> {
    id: String,
    number: u32,
    folder: &'a Path,
    stream: Stream,
}

impl Live<'_> {
    /// Calls `more` whenever more may have come, the last time after the attempt's end.
    fn follow(
        &self,
        session: Session,
        place: &Place,
        reading: &mut Reading,
        mut more: impl FnMut(&mut Reading) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        // Without an engine a session holds what the next engine needs: whoever only looks on must let it go.
        let mut session = Some(session).filter(Session::has_engine);
        let mut follower = Follower::new(self.folder);
        let mut seen = 0;
        loop {
            if reading.stored.is_absent() {
                reading.stored = Stored::open(self.folder, self.stream).map_err(unreadable)?;
            }
            // Asked before the reading: what is written before the end is shown for sure.
            let progress = match follower.look(&reading.stored) {
                Progress::NotBegun if !self.is_unfinished(session.as_mut(), place) => Progress::Over,
                progress => progress,
            };
            if progress == Progress::Over && reading.stored.is_absent() {
                reading.stored = Stored::open(self.folder, self.stream).map_err(unreadable)?;
            }
            more(reading)?;
            match progress {
                Progress::Over => return Ok(()),
                Progress::Running => follower.wait(),
                // Its start is news to the engine, and so is that it will not start.
                Progress::NotBegun => {
                    let request = Request::Watch { seen, timeout_ms: NEWS_WAIT_MS };
                    if let Some(Ok(Response::Board(board))) = session.as_mut().map(|s| s.ask(None, request)) {
                        seen = board.pulse.max(seen);
                    }
                }
            }
        }
    }

    fn is_unfinished(&self, session: Option<&mut Session>, place: &Place) -> bool {
        // An engine that ends while we follow it leaves nothing to follow.
        let Some(session) = session else { return false };
        task_view(session, place, &self.id).is_ok_and(|task| {
            let attempt = task.attempts_made.iter().find(|attempt| attempt.id.number.0 == self.number);
            attempt.is_some_and(|attempt| attempt.outcome.is_none())
        })
    }
}
