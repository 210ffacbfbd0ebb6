//! `worktree`: where agents work, and what is kept of attempts that failed.

use std::path::PathBuf;

use ropewalk_core::disk::size;
use ropewalk_core::id::AttemptId;
use ropewalk_core::view::AttemptLine;
use ropewalk_daemon::api::KEPT;
use ropewalk_daemon::session::Session;
use ropewalk_host::clock::wall_ms;
use ropewalk_host::disk::bytes_in;
use ropewalk_host::enter;
use ropewalk_host::git::Parting;
use serde_json::json;

use super::rescue::{failed, repository};
use super::task::view as task_view;
use crate::cli::Worktree as Command;
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::table::{span, table};

pub(crate) fn worktree(command: &Command, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    match command {
        Command::List => list(&place, out),
        Command::Enter { id, print } => enter(&place, id, *print, out),
        Command::Prune { ids, all } => prune(&place, ids, *all, out),
    }
}

/// A worktree of an attempt.
struct Found {
    attempt: AttemptId,
    path: PathBuf,
    /// The attempt's row, if there is one.
    line: Option<AttemptLine>,
    /// The name of its task.
    name: String,
}

impl Found {
    fn all(place: &Place, session: &mut Session) -> Result<Vec<Found>, Failure> {
        let folder = place.home.join("worktrees");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut attempts: Vec<AttemptId> = names.filter_map(|name| name.parse().ok()).collect();
        attempts.sort();
        let find = |attempt: &AttemptId| {
            let task = task_view(session, place, &attempt.task.to_string())?;
            let line = task.attempts_made.into_iter().find(|line| line.id == *attempt);
            let path = folder.join(attempt.to_string());
            Ok(Found { attempt: *attempt, path, line, name: task.line.name })
        };
        attempts.iter().map(find).collect()
    }

    fn one(place: &Place, session: &mut Session, id: &str) -> Result<Found, Failure> {
        let all = Found::all(place, session)?;
        all.into_iter().find(|found| found.attempt.to_string() == id).ok_or_else(|| {
            Failure::not_found(format!("there is no worktree {id}"))
                .hint("`ropewalk worktree list` shows all; what was in one that has gone is in `ropewalk rescue list`")
        })
    }

    fn is_live(&self) -> bool {
        self.line.as_ref().is_none_or(|line| line.outcome.is_none())
    }

    /// Where the attempt's records are.
    fn folder(&self, place: &Place) -> PathBuf {
        place.home.join("attempts").join(self.attempt.to_string())
    }

    fn state(&self) -> &'static str {
        if self.is_live() { "live" } else { "kept" }
    }

    fn refuse_live(&self) -> Result<(), Failure> {
        if self.is_live() {
            let text = format!("attempt {} is still at work in {}", self.attempt, self.path.display());
            return Err(Failure::conflict(text).hint(format!("ropewalk cancel {}", self.attempt.task)));
        }
        Ok(())
    }

    fn age_ms(&self) -> u64 {
        let since = self.line.as_ref().map(|line| line.finished_at.unwrap_or(line.created_at));
        since.map_or(0, |since| u64::try_from(wall_ms().saturating_sub(since.0)).unwrap_or(0))
    }
}

fn list(place: &Place, out: &Out) -> Result<u8, Failure> {
    let found = Found::all(place, &mut Session::open(&place.home)?)?;
    if out.is_json() {
        let value = |found: &Found| {
            json!({
                "id": found.attempt.to_string(),
                "task": found.attempt.task,
                "attempt": found.attempt.number,
                "state": found.state(),
                "outcome": found.line.as_ref().and_then(|line| line.outcome.clone()),
                "path": found.path,
                "bytes": bytes_in(&found.path),
                "age_ms": found.age_ms(),
            })
        };
        out.json(&found.iter().map(value).collect::<Vec<_>>());
        return Ok(0);
    }
    if found.is_empty() {
        out.say("no worktrees");
        return Ok(0);
    }
    let rows = found.iter().map(|found| {
        let outcome = found.line.as_ref().and_then(|line| line.outcome.clone()).unwrap_or_default();
        let (id, path) = (found.attempt.to_string(), found.path.display().to_string());
        let (bytes, age) = (size(bytes_in(&found.path)), span(found.age_ms()));
        vec![id, found.name.clone(), found.state().to_owned(), outcome, bytes, age, path]
    });
    out.say(&table(&["id", "task", "state", "outcome", "size", "age", "path"], rows));
    Ok(0)
}

fn enter(place: &Place, id: &str, print: bool, out: &Out) -> Result<u8, Failure> {
    let found = Found::one(place, &mut Session::open(&place.home)?, id)?;
    found.refuse_live()?;
    let path = found.path.to_string_lossy().into_owned();
    if print || out.is_json() {
        if out.is_json() {
            out.json(&json!({"id": id, "path": path}));
        } else {
            out.document(&format!("{path}\n"));
        }
        return Ok(0);
    }
    out.remark(&inert(&format!(
        "a shell in {path}; what you change is rescued too. git there runs what the agent has set up; `exit` comes back"
    )));
    let status = enter::shell(&found.path)
        .map_err(|error| Failure::broken(format!("the shell cannot be started: {error}")))?;
    Ok(status)
}

fn prune(place: &Place, ids: &[String], all: bool, out: &Out) -> Result<u8, Failure> {
    let mut session = Session::open(&place.home)?;
    let chosen = match all {
        true => Found::all(place, &mut session)?.into_iter().filter(|found| !found.is_live()).collect(),
        false => {
            let mut chosen = Vec::new();
            for id in ids {
                let found = Found::one(place, &mut session, id)?;
                found.refuse_live()?;
                chosen.push(found);
            }
            chosen
        }
    };
    let mut pruned = Vec::new();
    for found in &chosen {
        let folder = found.folder(place);
        if session.has_engine() && !folder.join(KEPT).exists() {
            out.remark(&format!("{} is just being put by; it stays for now", found.attempt));
            continue;
        }
        let task = found.attempt.task.to_string();
        let parting = Parting {
            ended: found.line.as_ref().and_then(|line| line.outcome.clone()).unwrap_or_default(),
            at_ms: wall_ms(),
            has_passed: false,
            secrets: Parting::secrets_in(&folder).map_err(failed)?,
        };
        let rescue = repository(place, &mut session, Some(&task))?
            .remove_worktree_after(found.attempt, &found.path, &parting)
            .map_err(failed)?;
        let _ = std::fs::remove_file(folder.join(KEPT));
        out.say(&match &rescue {
            Some(name) => format!("removed {}; what it held is kept at {name}", found.attempt),
            None => format!("removed {}; it held nothing that is not a commit", found.attempt),
        });
        pruned.push(json!({"id": found.attempt.to_string(), "ref": rescue}));
    }
    if out.is_json() {
        out.json(&json!({ "pruned": pruned }));
    } else if pruned.is_empty() {
        out.say("nothing to remove");
    }
    Ok(0)
}
