//! `task`, `why`, `cancel`, `retry`.

use ropewalk_core::command::{Done, FromCheckpoint};
use ropewalk_core::disk::size;
use ropewalk_core::resource::Usage;
use ropewalk_core::view::{AttemptLine, TaskView};
use ropewalk_daemon::api::{NewTasks, Request, Response};
use ropewalk_daemon::session::Session;

use super::prd::tell_done;
use crate::cli::{Retry, Task, TaskAdd, TaskList};
use crate::failure::Failure;
use crate::out::{Out, inert};
use crate::place::Place;
use crate::progress::clock;
use crate::table::{span, table};
use crate::trust;

pub(crate) fn task(command: &Task, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    match command {
        Task::Add(task) => add(&place, task, out),
        Task::After { name, on } => {
            let request = Request::AddDependency { task: name.id.clone(), on: on.clone() };
            tell_done(&place.done(&mut Session::open(&place.home)?, request)?, out);
            Ok(0)
        }
        Task::List(filter) => list(&place, filter, out),
        Task::Show(name) => show(&place, &name.id, out),
    }
}

fn add(place: &Place, task: &TaskAdd, out: &Out) -> Result<u8, Failure> {
    let is_plain = task.no_worktree || task.dir.is_some();
    trust::settle(place, out)?;
    let config = place.config(&task.set, None)?;
    let folder = match (&task.dir, is_plain) {
        (Some(dir), _) => Some(plain_folder(place, dir)?),
        (None, true) => Some(place.folder.to_string_lossy().into_owned()),
        (None, false) => {
            place.repository()?;
            None
        }
    };
    place.check_agent(&place.anchored(&config))?;
    place.check_secrets(&config.settings(), out)?;
    place.refuse_secret_in(&place.anchored(&config), &task.text, "the task's text")?;
    let mut session = Session::open(&place.home)?;
    let mut settings = place.overrides(&task.set)?;
    if place.common_dir().is_some() {
        place.add_project(&mut session)?;
    } else {
        // Outside any project the task carries all its settings itself.
        settings = place.anchored(&config);
    }
    let request = NewTasks {
        title: task.text.clone(),
        folder,
        priority: task.priority.clone(),
        after: task.after.clone(),
        count: task.count,
        settings,
    };
    let added = place.done(&mut session, Request::AddTasks(Box::new(request)))?;
    tell_done(&added, out);
    if !session.has_engine() {
        out.remark("no engine is running; `ropewalk run` starts it");
    }
    Ok(0)
}

fn plain_folder(place: &Place, dir: &std::path::Path) -> Result<String, Failure> {
    let path = place.folder.join(dir);
    match std::fs::canonicalize(&path) {
        Ok(found) if found.is_dir() => Ok(found.to_string_lossy().into_owned()),
        Ok(_) => Err(Failure::input(format!("{} is not a folder", dir.display()))),
        Err(error) => Err(Failure::input(format!("{} cannot be used: {error}", dir.display()))),
    }
}

fn list(place: &Place, filter: &TaskList, out: &Out) -> Result<u8, Failure> {
    let request = Request::Tasks {
        prd: filter.prd.clone(),
        states: filter.state.clone(),
        after: filter.after,
        limit: filter.limit,
    };
    let tasks = match place.ask(&mut Session::open(&place.home)?, request)? {
        Response::Tasks(tasks) => tasks,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&tasks);
        return Ok(0);
    }
    if tasks.is_empty() {
        out.say("no tasks");
        return Ok(0);
    }
    let rows = tasks.iter().map(|task| {
        let (id, priority, attempts) =
            (task.id.to_string(), task.priority.clone(), task.attempts.to_string());
        vec![
            id,
            task.name.clone(),
            task.state.clone(),
            priority,
            attempts,
            task.title.clone(),
            task.remark.clone(),
        ]
    });
    out.say(&table(&["id", "name", "state", "priority", "attempts", "title", "remark"], rows));
    if tasks.len() == filter.limit
        && let Some(last) = tasks.last()
    {
        out.remark(&format!("there may be more: --after {}", last.id));
    }
    Ok(0)
}

pub(crate) fn view(session: &mut Session, place: &Place, name: &str) -> Result<TaskView, Failure> {
    match place.ask(session, Request::Task { task: name.to_owned() })? {
        Response::Task(task) => Ok(*task),
        response => Err(Failure::unexpected(&response)),
    }
}

fn show(place: &Place, name: &str, out: &Out) -> Result<u8, Failure> {
    let task = view(&mut Session::open(&place.home)?, place, name)?;
    if out.is_json() {
        out.json(&task);
        return Ok(0);
    }
    let line = &task.line;
    let mut text = format!("task {}  {}\n{}\n", line.id, line.name, line.title);
    text += &format!("state     {}\npriority  {}\n", line.state, line.priority);
    if !task.depends_on.is_empty() {
        let list: Vec<_> = task.depends_on.iter().map(ToString::to_string).collect();
        text += &format!("after     {}\n", list.join(", "));
    }
    out.say(&inert(&text));
    let rows = task.attempts_made.iter().map(|attempt| {
        let ended = attempt.outcome.clone().unwrap_or_else(|| attempt.state.clone());
        let took = match (attempt.started_at, attempt.finished_at) {
            (Some(from), Some(to)) => span(to.ms_since(from)),
            (_, None) | (None, _) => String::new(),
        };
        let candidate = attempt.candidate.clone().unwrap_or_default();
        let [cpu, memory, output] = used(attempt.usage.as_ref());
        let number = attempt.id.number.to_string();
        vec![number, ended, took, cpu, memory, output, candidate, attempt.detail.clone()]
    });
    if !task.attempts_made.is_empty() {
        let headings = ["attempt", "ended", "time", "cpu", "memory", "output", "candidate", "detail"];
        out.say(&table(&headings, rows));
    }
    for attempt in &task.attempts_made {
        tell_more(attempt, out);
    }
    if !task.checkpoints.is_empty() {
        let rows = task.checkpoints.iter().map(|checkpoint| {
            let commit = checkpoint.commit.chars().take(12).collect();
            let session = checkpoint.session.clone().unwrap_or_default();
            vec![checkpoint.name.clone(), clock(checkpoint.at.0), checkpoint.why.clone(), commit, session]
        });
        out.say(&format!("\n{}", table(&["checkpoint", "at", "why", "commit", "session"], rows)));
    }
    if let Some(returned) = task.attempts_made.last().and_then(|attempt| attempt.returned.as_deref()) {
        out.say(&inert(&format!("\nits work was returned:\n{returned}\n")));
    }
    tell_why(&task, out);
    Ok(0)
}

/// What an attempt has used, for a table: CPU time, the most memory, output.
fn used(usage: Option<&Usage>) -> [String; 3] {
    let Some(usage) = usage else { return Default::default() };
    let memory = usage.memory_peak_bytes.map(size).unwrap_or_default();
    [span(usage.cpu_ms), memory, size(usage.stdout_bytes + usage.stderr_bytes)]
}

/// What only some attempts have.
fn tell_more(attempt: &AttemptLine, out: &Out) {
    let number = attempt.id.number;
    if let Some(resumed) = &attempt.resumed {
        out.say(&format!("attempt {number} went on from checkpoint {resumed}"));
    }
    if attempt.rung.is_some_and(|rung| rung.is_weak()) {
        out.say(&format!(
            "attempt {number}: its processes could not be told apart surely; see `ropewalk doctor`"
        ));
    }
    if let Some(dropped) = attempt.usage.map(|usage| usage.output_dropped_bytes).filter(|bytes| *bytes > 0) {
        out.say(&format!("attempt {number}: {} in the middle of its output were not kept", size(dropped)));
    }
}

pub(crate) fn why(name: &str, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let task = view(&mut Session::open(&place.home)?, &place, name)?;
    if out.is_json() {
        out.json(&serde_json::json!({"task": task.line.id, "name": task.line.name, "why": task.why}));
        return Ok(0);
    }
    let own = format!("task {}", task.line.id);
    let name = if task.line.name == own { own } else { format!("{own} {}", task.line.name) };
    out.say(&inert(&format!("{name} is {}", task.why.state)));
    tell_why(&task, out);
    Ok(0)
}

fn tell_why(task: &TaskView, out: &Out) {
    for reason in &task.why.reasons {
        out.say(&inert(&format!("  because {reason}")));
    }
    if let [first, rest @ ..] = task.why.next.as_slice() {
        out.say(&inert(&format!("next: {first}")));
        for next in rest {
            out.say(&inert(&format!("      {next}")));
        }
    }
}

pub(crate) fn cancel(tasks: &[String], out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let mut session = Session::open(&place.home)?;
    let cancelled = place.done(&mut session, Request::Cancel { tasks: tasks.to_vec() })?;
    tell_done(&cancelled, out);
    if !session.has_engine() {
        out.remark("no engine is running; an agent that goes on alone is ended by the next `ropewalk run`");
    }
    Ok(0)
}

pub(crate) fn retry(retry: &Retry, out: &Out) -> Result<u8, Failure> {
    let from = retry.from.as_deref().map(from_checkpoint).transpose()?;
    let place = Place::look()?;
    let mut session = Session::open(&place.home)?;
    let mut tasks = Vec::new();
    for task in &retry.names.ids {
        match place.done(&mut session, Request::Retry { task: task.clone(), from })? {
            Done::Tasks { tasks: retried } => tasks.extend(retried),
            Done::Changed { .. } | Done::Imported(_) | Done::Project { .. } => {}
        }
    }
    tell_done(&Done::Tasks { tasks }, out);
    if !session.has_engine() {
        out.remark("no engine is running; `ropewalk run` starts it");
    }
    Ok(0)
}

fn from_checkpoint(text: &str) -> Result<FromCheckpoint, Failure> {
    if text == "checkpoint" {
        return Ok(FromCheckpoint::Latest);
    }
    let parsed = text.split_once('.').and_then(|(attempt, number)| {
        Some(FromCheckpoint::Of { attempt: attempt.parse().ok()?, number: number.parse().ok()? })
    });
    parsed.ok_or_else(|| {
        Failure::input(format!("--from {text:?} is neither `checkpoint` nor ATTEMPT.NUMBER"))
            .hint("`ropewalk task show ID` lists a task's checkpoints")
    })
}

pub(crate) fn checkpoint(name: &str, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let taken =
        place.done(&mut Session::open(&place.home)?, Request::Checkpoint { task: name.to_owned() })?;
    tell_done(&taken, out);
    Ok(0)
}
