//! `rescue`: what was kept of worktrees before they went, and how it is had again.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ropewalk_core::disk::size;
use ropewalk_core::id::{BranchName, Oid, TaskId};
use ropewalk_daemon::api::{ProjectLine, Request, Response};
use ropewalk_daemon::session::Session;
use ropewalk_host::git::{GitError, MadeBranch, Repository, Rescue};
use serde_json::{Value, json};

use super::task::view as task_view;
use crate::cli::{Rescue as Command, RescueRestore};
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::progress::date;
use crate::table::table;

/// Files in the way that are named; one more says it as well as a hundred.
const IN_THE_WAY_SHOWN: usize = 10;

pub(crate) fn rescue(command: &Command, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    match command {
        Command::List { task } => list(&place, task.as_deref(), out),
        Command::Show { id, stat, patch } => show(&place, id, *stat, *patch, out),
        Command::Restore(restore) => self::restore(&place, restore, out),
    }
}

/// The repository of a task, or of the asker, as git knows it.
pub(super) fn repository(
    place: &Place,
    session: &mut Session,
    task: Option<&str>,
) -> Result<Repository, Failure> {
    let line: ProjectLine = match place.ask(session, Request::Project { task: task.map(str::to_owned) })? {
        Response::Project(line) => line,
        response => return Err(Failure::unexpected(&response)),
    };
    let control = place.home.join("git").join(line.id.to_string());
    Repository::open(Path::new(&line.top), Path::new(&line.common_dir), &control).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "a map_err hands it over")]
pub(super) fn failed(error: GitError) -> Failure {
    Failure::broken(error.to_string())
}

fn list(place: &Place, task: Option<&str>, out: &Out) -> Result<u8, Failure> {
    let mut session = Session::open(&place.home)?;
    let of_task: Option<TaskId> = match task {
        Some(name) => Some(task_view(&mut session, place, name)?.line.id),
        None => None,
    };
    let mut rescues = repository(place, &mut session, task)?.rescues().map_err(failed)?;
    rescues.retain(|rescue| of_task.is_none_or(|task| rescue.attempt.task == task));
    if out.is_json() {
        out.json(&rescues.iter().map(value).collect::<Vec<_>>());
        return Ok(0);
    }
    if rescues.is_empty() {
        out.say("no rescues: nothing was left in a worktree that no commit holds");
        return Ok(0);
    }
    let rows = rescues.iter().map(|rescue| {
        let left = left_out(rescue);
        let left = if left == 0 { String::new() } else { left.to_string() };
        let (files, bytes) = (rescue.files.to_string(), size(rescue.bytes));
        vec![
            rescue.id.clone(),
            date(rescue.at_ms),
            rescue.ended.clone(),
            files,
            bytes,
            left,
            rescue.why.clone(),
        ]
    });
    out.say(&table(&["id", "when", "ended", "files", "size", "left out", "what"], rows));
    Ok(0)
}

fn left_out(rescue: &Rescue) -> u64 {
    rescue.left_out.len() as u64 + rescue.left_out_more
}

fn value(rescue: &Rescue) -> Value {
    let part =
        |(name, commit): &(String, Oid)| json!({"id": format!("{}:{name}", rescue.id), "commit": commit});
    json!({
        "id": rescue.id,
        "task": rescue.attempt.task,
        "attempt": rescue.attempt.number,
        "ref": rescue.name,
        "commit": rescue.commit,
        "made_at": rescue.at_ms,
        "ended": rescue.ended,
        "why": rescue.why,
        "files": rescue.files,
        "bytes": rescue.bytes,
        "ignored": rescue.ignored,
        "parts": rescue.parts.iter().map(part).collect::<Vec<_>>(),
        "left_out": rescue.left_out,
        "left_out_more": rescue.left_out_more,
    })
}

/// A rescue, or a part of one.
struct Source {
    rescue: Rescue,
    /// The name with which it was asked for.
    id: String,
    commit: Oid,
}

impl Source {
    fn find(repository: &Repository, id: &str) -> Result<Source, Failure> {
        let (own, part) = match id.split_once(':') {
            Some((own, part)) => (own, Some(part)),
            None => (id, None),
        };
        let rescues = repository.rescues().map_err(failed)?;
        let rescue = rescues.into_iter().find(|rescue| rescue.id == own).ok_or_else(|| {
            Failure::not_found(format!("there is no rescue {own} in this repository"))
                .hint("`ropewalk rescue list` shows all")
        })?;
        let commit = match part {
            None => rescue.commit.clone(),
            Some(name) => match rescue.parts.iter().find(|(known, _)| known == name) {
                Some((_, commit)) => commit.clone(),
                None => {
                    return Err(Failure::not_found(format!("the rescue {own} has no part {name:?}"))
                        .hint(format!("`ropewalk rescue show {own}` lists its parts")));
                }
            },
        };
        Ok(Source { rescue, id: id.to_owned(), commit })
    }
}

fn show(place: &Place, id: &str, stat: bool, patch: bool, out: &Out) -> Result<u8, Failure> {
    let repository = repository(place, &mut Session::open(&place.home)?, None)?;
    let Source { rescue, .. } = Source::find(&repository, id)?;
    let changes = match stat || patch {
        true => Some(repository.rescue_changes(&rescue, patch).map_err(failed)?),
        false => None,
    };
    let changes = changes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if out.is_json() {
        let mut value = value(&rescue);
        if let Some(changes) = changes {
            value["changes"] = changes.into();
        }
        out.json(&value);
        return Ok(0);
    }
    if let Some(changes) = changes {
        out.say(&inert(&changes));
        return Ok(0);
    }
    out.say(&inert(&describe(&rescue)));
    Ok(0)
}

fn describe(rescue: &Rescue) -> String {
    let Rescue { id, attempt, name, files, bytes, .. } = rescue;
    let mut text = format!("rescue {id}  of attempt {attempt}, {}\n", date(rescue.at_ms));
    if !rescue.ended.is_empty() {
        text += &format!("ended     {}\n", rescue.ended);
    }
    text += &format!("holds     {}\nfiles     {files} ({})\nref       {name}\n", rescue.why, size(*bytes));
    for left in &rescue.left_out {
        text += &format!("left out  {} ({}, {})\n", left.path, size(left.bytes), left.why);
    }
    if rescue.left_out_more > 0 {
        text += &format!("left out  and {} more\n", rescue.left_out_more);
    }
    text += &format!("\nropewalk rescue restore {id}\n");
    for (part, commit) in &rescue.parts {
        let what = match part.split('-').next().unwrap_or_default() {
            "index" => "what stood in the index alone",
            "stash" => "a stash",
            "nested" => "the history of a repository inside the worktree",
            "head" => "the commit that the worktree was at",
            _ => "a commit that no branch has",
        };
        let short: String = commit.as_str().chars().take(10).collect();
        text += &format!("ropewalk rescue restore {id}:{part}   # {what}, {short}\n");
    }
    text
}

fn restore(place: &Place, restore: &RescueRestore, out: &Out) -> Result<u8, Failure> {
    let repository = repository(place, &mut Session::open(&place.home)?, None)?;
    let source = Source::find(&repository, &restore.id)?;
    let branch = restore.branch.as_deref().map(|name| make_branch(&repository, &source, name)).transpose()?;
    let mut told = json!({"id": source.id, "branch": branch, "to": null, "files": 0});
    if let Some(branch) = &branch {
        out.say(&format!("made the branch {branch} at {}", source.commit));
    }
    if restore.to.is_some() || branch.is_none() {
        let to = match &restore.to {
            Some(to) => place.folder.join(to),
            None => place.folder.join(format!("rescue-{}", source.id.replace(':', "-"))),
        };
        let files = write(&repository, &source, restore, &to)?;
        told["to"] = to.to_string_lossy().into_owned().into();
        told["files"] = files.into();
        let word = if files == 1 { "file" } else { "files" };
        out.say(&inert(&format!("wrote {files} {word} of {} to {}", source.id, to.display())));
    }
    out.say(&format!("nothing else was changed; the rescue stays at {}", source.rescue.name));
    let has_more = restore.id == source.rescue.id && !source.rescue.parts.is_empty() && !out.is_json();
    if has_more {
        out.remark(&format!("it holds more than files: `ropewalk rescue show {}`", source.rescue.id));
    }
    if out.is_json() {
        out.json(&told);
    }
    Ok(0)
}

fn make_branch(repository: &Repository, source: &Source, name: &str) -> Result<String, Failure> {
    let branch = BranchName::new(name)
        .map_err(|error| Failure::input(format!("{name:?} cannot be the name of a branch: {error}")))?;
    match repository.make_branch(&branch, &source.commit).map_err(failed)? {
        MadeBranch::Made => Ok(branch.as_str().to_owned()),
        MadeBranch::Taken => {
            Err(Failure::conflict(format!("there is a branch {name}, or one too close to it"))
                .hint("nothing was changed; give another name"))
        }
    }
}

fn write(
    repository: &Repository,
    source: &Source,
    restore: &RescueRestore,
    to: &Path,
) -> Result<usize, Failure> {
    let inside = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
    let paths: Vec<Vec<u8>> = restore.paths.iter().map(inside).collect();
    let done = repository.restore(&source.commit, to, &paths, restore.force).map_err(failed)?;
    if !done.in_the_way.is_empty() {
        let shown = done.in_the_way.iter().take(IN_THE_WAY_SHOWN);
        let shown: Vec<_> = shown.map(|path| path.display().to_string()).collect();
        let more = done.in_the_way.len().saturating_sub(IN_THE_WAY_SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let text = format!("nothing was written, for these are in the way: {}{more}", shown.join(", "));
        return Err(Failure::conflict(text).hint("write elsewhere with --to DIR, or over them with --force"));
    }
    if done.files == 0 && !paths.is_empty() {
        let names: Vec<_> = paths.iter().map(|path| OsStr::from_bytes(path).to_string_lossy()).collect();
        return Err(Failure::not_found(format!("{} holds none of these: {}", source.id, names.join(", ")))
            .hint(format!("`ropewalk rescue show {} --stat` lists what differs", source.rescue.id)));
    }
    Ok(done.files)
}
