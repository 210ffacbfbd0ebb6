//! The merge queue, what attempts changed, and a person's word on it.

use ropewalk_core::command::Verdict;
use ropewalk_core::merges::{MergeLine, MergesView};
use ropewalk_daemon::api::{Request, Response};
use ropewalk_daemon::session::Session;

use super::prd::tell_done;
use super::task;
use crate::cli::{Diff, Merge, Retry, Review};
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::progress::clock;
use crate::table::table;

pub(crate) fn merge(command: &Merge, out: &Out) -> Result<u8, Failure> {
    match command {
        Merge::List => list(out),
        Merge::Show(name) => show(&name.id, out),
        Merge::Retry(names) => task::retry(&Retry { names: names.clone(), from: None }, out),
    }
}

fn list(out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let merges: MergesView = match place.ask(&mut Session::open(&place.home)?, Request::Merges)? {
        Response::Merges(merges) => *merges,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&merges);
        return Ok(0);
    }
    if merges == MergesView::default() {
        out.say("nothing has come to be merged yet");
        return Ok(0);
    }
    let queue = merges.queue.iter().map(|line| {
        let since = clock(line.queued_at.0);
        let (state, target) = (line.state.clone(), line.target.clone());
        vec![line.task.to_string(), line.name.clone(), target, state, since, line.remark.clone()]
    });
    if merges.queue.is_empty() {
        out.say("nothing waits to land");
    } else {
        out.say(&table(&["task", "name", "target", "state", "since", "remark"], queue));
    }
    ended("came back", &merges.returned, out);
    ended("landed", &merges.landed, out);
    Ok(0)
}

fn ended(what: &str, lines: &[MergeLine], out: &Out) {
    if lines.is_empty() {
        return;
    }
    let rows = lines.iter().map(|line| {
        let commit = line.commit.as_deref().unwrap_or_default().chars().take(10).collect();
        let at = line.ended_at.map(|at| clock(at.0)).unwrap_or_default();
        vec![line.task.to_string(), line.name.clone(), line.target.clone(), at, commit, line.remark.clone()]
    });
    out.say(&format!("\n{}", table(&["task", "name", "target", what, "commit", "remark"], rows)));
}

fn show(name: &str, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let request = Request::Merge { task: name.to_owned() };
    let line = match place.ask(&mut Session::open(&place.home)?, request)? {
        Response::Merge(line) => *line,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&line);
        return Ok(0);
    }
    let mut text =
        format!("{} (attempt {}) to {}\nstate   {}", line.name, line.candidate, line.target, line.state);
    if !line.remark.is_empty() {
        text += &format!(": {}", line.remark);
    }
    text += &format!("\nsource  {}\n", line.source);
    for (what, value) in [("onto", &line.onto), ("commit", &line.commit), ("tree", &line.tree)] {
        if let Some(value) = value {
            text += &format!("{what:<7} {value}\n");
        }
    }
    if let Some(feedback) = &line.feedback {
        text += &format!("\n{feedback}\n");
    }
    out.say(inert(&text).trim_end());
    Ok(0)
}

pub(crate) fn conflicts(out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let meetings = match place.ask(&mut Session::open(&place.home)?, Request::Conflicts)? {
        Response::Meetings(meetings) => meetings,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&meetings);
        return Ok(0);
    }
    if meetings.is_empty() {
        out.say("nothing that runs or waits to land touches the same files");
        return Ok(0);
    }
    let rows = meetings.iter().map(|line| {
        vec![line.one.clone(), line.other.clone(), line.how.text().to_owned(), line.files.join(" ")]
    });
    out.say(&table(&["one", "other", "how", "files"], rows));
    Ok(0)
}

pub(crate) fn diff(diff: &Diff, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let request = Request::Diff { task: diff.name.id.clone(), attempt: diff.attempt, stat: diff.stat };
    let text = match place.ask(&mut Session::open(&place.home)?, request)? {
        Response::Text(text) => text,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&serde_json::json!({"task": diff.name.id, "diff": text}));
    } else if text.is_empty() {
        out.say("nothing was changed");
    } else {
        out.say(inert(&text).trim_end());
    }
    Ok(0)
}

pub(crate) fn review(review: &Review, out: &Out) -> Result<u8, Failure> {
    let verdict = match (review.approve, &review.reject) {
        (true, _) => Verdict::Approve,
        (false, Some(comment)) if comment.trim().is_empty() => {
            return Err(Failure::input("a rejection without a word teaches the next attempt nothing")
                .hint("ropewalk review ID --reject \"what is wrong\""));
        }
        (false, Some(comment)) => Verdict::Reject { comment: comment.clone() },
        (false, None) => {
            return Err(Failure::input("neither --approve nor --reject is given")
                .hint(format!("ropewalk diff {}   # shows what it is about", review.name.id)));
        }
    };
    let place = Place::look()?;
    let mut session = Session::open(&place.home)?;
    let request = Request::Review { task: review.name.id.clone(), verdict };
    tell_done(&place.done(&mut session, request)?, out);
    if !session.has_engine() {
        out.remark("no engine is running; `ropewalk run` starts it");
    }
    Ok(0)
}
