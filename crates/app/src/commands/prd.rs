//! `prd`: import, list, show, approve, abandon, complete, land, search, export.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ropewalk_core::command::{AtStop, Command, Done, Imported};
use ropewalk_core::id::TaskId;
use ropewalk_core::limits::Limits;
use ropewalk_core::prd::{self, Source};
use ropewalk_core::view::{PrdLine, PrdView, TaskView};
use ropewalk_daemon::api::{Import, Request, Response};
use ropewalk_daemon::driver::Driver;
use ropewalk_daemon::import::fault_line;
use ropewalk_daemon::session::{Found, Session, find};
use serde_json::json;

use super::run::absolute;
use super::watch::{Interrupts, follow, stopper};
use crate::cli::{Prd, PrdImport, PrdList, Set};
use crate::failure::{Failure, INTERRUPTED, WAITS_FOR_PERSON};
use crate::out::{Out, inert};
use crate::place::Place;
use crate::table::{span, table};
use crate::trust;

pub(crate) fn prd(command: &Prd, out: &Out) -> Result<u8, Failure> {
    let place = Place::look()?;
    let change = |request| -> Result<u8, Failure> {
        let done = place.done(&mut Session::open(&place.home)?, request)?;
        tell_done(&done, out);
        Ok(0)
    };
    match command {
        Prd::Import(import) => import_file(&place, import, out),
        Prd::List(list) => show_list(&place, list, out),
        Prd::Show(name) => show(&place, &name.id, out),
        Prd::Plan(name) => plan(&place, &name.id, out),
        Prd::Approve(name) => change(Request::Approve { prd: name.id.clone() }),
        Prd::Abandon { name, reason } => {
            change(Request::Abandon { prd: name.id.clone(), reason: reason.clone() })
        }
        Prd::Complete { name, force } => change(Request::Complete { prd: name.id.clone(), force: *force }),
        Prd::Land { name, partial } => land(&place, &name.id, *partial, out),
        Prd::Search { query } => search(&place, &query.join(" "), out),
        Prd::Export(name) => export(&place, &name.id, out),
    }
}

pub(crate) fn tell_done(done: &Done, out: &Out) {
    if out.is_json() {
        return out.json(done);
    }
    match done {
        Done::Changed { text } => out.say(&inert(text)),
        Done::Tasks { tasks } => {
            let list: Vec<_> = tasks.iter().map(TaskId::to_string).collect();
            out.say(&format!("task {}", list.join(", ")));
        }
        Done::Project { project } => out.say(&format!("project {project}")),
        Done::Imported(imported) => out.say(&import_words(imported)),
    }
}

/// Reads a PRD file and checks it whole, so that all its faults are said before anything is stored.
pub(crate) fn read_file(
    place: &Place,
    file: &Path,
    set: &Set,
    key: Option<String>,
    trust_passes: bool,
    approve: bool,
    out: &Out,
) -> Result<Box<Import>, Failure> {
    let path = absolute(place, file);
    let shown = file.display().to_string();
    let bytes = read_bounded(&path, &shown)?;
    let manifest_path = path.with_file_name("MANIFEST.yaml");
    let manifest =
        if manifest_path.is_file() { Some(read_bounded(&manifest_path, "MANIFEST.yaml")?) } else { None };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let source = Source { bytes: &bytes, file_stem: &stem, manifest: manifest.as_deref() };
    let document = prd::read(source, &Limits::default())
        .map_err(|faults| Failure::document(&shown, faults.iter().map(fault_line).collect()))?;
    if approve && document.has_placeholders {
        let faults =
            document.warnings.iter().filter(|fault| fault.rule == "placeholders").map(fault_line).collect();
        return Err(Failure::document(&shown, faults)
            .hint("fill the placeholders in; `prd import` takes it as a draft"));
    }
    for warning in &document.warnings {
        out.remark(&inert(&format!("{shown}: {warning}")));
    }
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|error| Failure::input(format!("{shown}: {error}")))
    };
    Ok(Box::new(Import {
        source: path.to_string_lossy().into_owned(),
        content: text(bytes)?,
        manifest: manifest.map(text).transpose()?,
        key,
        approve,
        trust_passes,
        settings: place.overrides(set)?,
    }))
}

fn read_bounded(path: &Path, shown: &str) -> Result<Vec<u8>, Failure> {
    let most = Limits::default().prd_bytes_max;
    let opened = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::not_found(format!("there is no file {shown}")),
        _ => Failure::input(format!("{shown} cannot be read: {error}")),
    })?;
    let is_file = opened.metadata().map(|metadata| !metadata.is_dir()).unwrap_or(false);
    if !is_file {
        return Err(Failure::input(format!("{shown} is a folder, not a PRD file")));
    }
    let mut bytes = Vec::new();
    opened
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::input(format!("{shown} cannot be read: {e}")))?;
    if bytes.len() as u64 > most {
        return Err(Failure::input(format!("{shown} has more than {} MiB", most >> 20))
            .hint("a PRD of 100,000 stories is smaller; split it"));
    }
    Ok(bytes)
}

fn import_file(place: &Place, import: &PrdImport, out: &Out) -> Result<u8, Failure> {
    place.repository()?;
    trust::settle(place, out)?;
    let settings = place.anchored(&place.config(&import.set, None)?);
    place.check_base(&settings)?;
    place.check_secrets(&settings, out)?;
    let (id, trust_passes) = (import.id.clone(), import.trust_passes);
    let read = read_file(place, &import.file, &import.set, id, trust_passes, import.approve, out)?;
    let source = read.source.clone();
    let mut session = Session::open(&place.home)?;
    place.add_project(&mut session)?;
    match place.ask(&mut session, Request::Import(read))? {
        Response::Done(Done::Imported(imported)) => {
            if out.is_json() {
                out.json(&imported);
            } else {
                tell_import(&imported, &source, out);
                out.say(&imported.key.to_string());
            }
            Ok(0)
        }
        Response::Faults(faults) => Err(Failure::document(&source, faults)),
        response => Err(Failure::unexpected(&response)),
    }
}

/// Says on stderr what came of an import.
pub(crate) fn tell_import(imported: &Imported, source: &str, out: &Out) {
    out.remark(&inert(&format!("{source}: {}", import_words(imported))));
    for fixed in &imported.fixed {
        out.remark(&inert(&format!("  not changed: {fixed}")));
    }
}

fn import_words(imported: &Imported) -> String {
    let mut text = imported.key.to_string();
    let mut parts = Vec::new();
    for (count, word) in [
        (imported.added, "added"),
        (imported.updated, "updated"),
        (imported.unchanged, "unchanged"),
        (imported.removed, "removed"),
        (imported.trusted, "taken as done"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if parts.is_empty() {
        parts.push("no stories".into());
    }
    text += &format!(", stories: {}", parts.join(", "));
    if !imported.approved {
        text += &format!("; a draft until `ropewalk prd approve {}`", imported.key);
    }
    text
}

fn show_list(place: &Place, list: &PrdList, out: &Out) -> Result<u8, Failure> {
    let mut session = Session::open(&place.home)?;
    let scope = if list.all { None } else { place.common_dir() };
    match session.ask(scope.as_deref(), Request::Prds { states: list.state.clone() })? {
        Response::Prds(prds) => tell_prds(&prds, out),
        Response::Refused(refusal) => return Err(refusal.into()),
        response => return Err(Failure::unexpected(&response)),
    }
    Ok(0)
}

fn tell_prds(prds: &[PrdLine], out: &Out) {
    if out.is_json() {
        return out.json(&prds);
    }
    if prds.is_empty() {
        return out.say("no PRDs");
    }
    let rows = prds.iter().map(|prd| {
        let progress = &prd.progress;
        vec![
            prd.key.clone(),
            prd.state.clone(),
            format!("{}/{}", progress.done, progress.stories - progress.cancelled),
            progress.parked.to_string(),
            prd.branch.clone().unwrap_or_default(),
            prd.title.clone(),
        ]
    });
    out.say(&table(&["id", "state", "landed", "parked", "branch", "title"], rows));
}

pub(crate) fn view(session: &mut Session, place: &Place, name: &str) -> Result<PrdView, Failure> {
    match place.ask(session, Request::Prd { prd: name.to_owned() })? {
        Response::Prd(prd) => Ok(*prd),
        response => Err(Failure::unexpected(&response)),
    }
}

fn show(place: &Place, name: &str, out: &Out) -> Result<u8, Failure> {
    let prd = view(&mut Session::open(&place.home)?, place, name)?;
    if out.is_json() {
        out.json(&prd);
        return Ok(0);
    }
    let progress = &prd.line.progress;
    let mut text = format!("{}  {}\n", prd.line.key, prd.line.title);
    text += &format!("state     {}", prd.line.state);
    if let Some(reason) = &prd.abandoned_because {
        text += &format!(": {reason}");
    }
    text += &format!("\nlanded    {} of {}\n", progress.done, progress.stories - progress.cancelled);
    for (name, value) in [
        ("branch", prd.line.branch.as_deref()),
        ("base", prd.base.as_deref()),
        ("file", prd.source.as_deref()),
        ("owner", prd.owner.as_deref()),
        ("approval", Some(prd.approval.as_str()).filter(|text| !text.is_empty())),
    ] {
        if let Some(value) = value {
            text += &format!("{name:<9} {value}\n");
        }
    }
    if !prd.tags.is_empty() {
        text += &format!("tags      {}\n", prd.tags.join(", "));
    }
    if !prd.description.is_empty() {
        text += &format!("\n{}\n", prd.description);
    }
    out.say(&inert(&text));
    out.say(&story_table(&prd));
    if prd.more_stories > 0 {
        out.say(&format!("… and {} more; --json shows up to 10,000", prd.more_stories));
    }
    Ok(0)
}

/// Story, state, attempts, time, commit.
pub(crate) fn story_table(prd: &PrdView) -> String {
    let rows = prd.stories.iter().map(|story| {
        let state = match (story.state.as_str(), story.claimed) {
            ("done", _) | (_, false) => story.state.clone(),
            (state, true) => format!("{state} (claimed)"),
        };
        vec![
            story.id.clone(),
            story.task.to_string(),
            state,
            story.attempts.to_string(),
            story.took_ms.map(span).unwrap_or_default(),
            story
                .commit
                .as_deref()
                .map(|commit| commit[..10.min(commit.len())].to_owned())
                .unwrap_or_default(),
            story.title.clone(),
        ]
    });
    table(&["story", "task", "state", "attempts", "time", "commit", "title"], rows)
}

fn plan(place: &Place, name: &str, out: &Out) -> Result<u8, Failure> {
    let plan = match place.ask(&mut Session::open(&place.home)?, Request::Plan { prd: name.to_owned() })? {
        Response::Plan(plan) => *plan,
        response => return Err(Failure::unexpected(&response)),
    };
    if out.is_json() {
        out.json(&plan);
        return Ok(0);
    }
    for (number, batch) in (1..).zip(&plan.batches) {
        out.say(&inert(&format!("{number:>4}  {}", batch.join(" "))));
    }
    let (stories, chain, wide) = (plan.stories, plan.longest_chain, plan.max_parallelism);
    out.say(&format!("{stories} open stories in {chain} batches; more than {wide} workers would stay idle"));
    Ok(0)
}

fn search(place: &Place, text: &str, out: &Out) -> Result<u8, Failure> {
    match place.ask(&mut Session::open(&place.home)?, Request::Search { text: text.to_owned() })? {
        Response::Prds(prds) => tell_prds(&prds, out),
        response => return Err(Failure::unexpected(&response)),
    }
    Ok(0)
}

fn export(place: &Place, name: &str, out: &Out) -> Result<u8, Failure> {
    match place.ask(&mut Session::open(&place.home)?, Request::Export { prd: name.to_owned() })? {
        Response::Text(text) => out.document(&text),
        response => return Err(Failure::unexpected(&response)),
    }
    Ok(0)
}

fn land(place: &Place, name: &str, partial: bool, out: &Out) -> Result<u8, Failure> {
    let view = land_now(place, name, partial, out)?;
    tell_landing(name, &view, out)
}

/// Lands a PRD's branch on its base and waits for it: the landing's task as it ended.
pub(crate) fn land_now(place: &Place, name: &str, partial: bool, out: &Out) -> Result<TaskView, Failure> {
    let request = Request::Land { prd: name.to_owned(), partial };
    let task = match find(&place.home)? {
        Found::Serving(mut session) => {
            let interrupts = Interrupts::listen(|| std::process::exit(i32::from(INTERRUPTED)))?;
            land_and_wait(&mut session, place, request, out, &interrupts)?
        }
        Found::Free(lock) => {
            trust::settle(place, out)?;
            // An engine for this landing alone: no slots, nothing in focus.
            let config = place.config(&Set::default(), None)?;
            let driver = Driver::begin_with(place.options(&config, 0, true)?, lock)?;
            let interrupts = Interrupts::listen(stopper(driver.door(), (0, AtStop::Leave), out))?;
            let mut session = Session::here(driver.door())?;
            let landed = land_and_wait(&mut session, place, request, out, &interrupts);
            drop(session);
            drop(driver.door().ask(Command::Stop { grace_ms: 0, then: AtStop::Leave }));
            driver.join()?;
            landed?
        }
    };
    super::task::view(&mut Session::open(&place.home)?, place, &task.to_string())
}

/// Queues the landing and waits until its task has ended; its number.
fn land_and_wait(
    session: &mut Session,
    place: &Place,
    request: Request,
    out: &Out,
    interrupts: &Interrupts,
) -> Result<TaskId, Failure> {
    let Done::Tasks { tasks } = place.done(session, request)? else {
        return Err(Failure::broken("the landing has no task"));
    };
    let task = tasks.first().copied().ok_or_else(|| Failure::broken("the landing has no task"))?;
    follow(session, place, out, interrupts, |_, board| {
        Ok(!board.landing.iter().any(|line| line.task == task))
    })?;
    Ok(task)
}

fn tell_landing(name: &str, view: &TaskView, out: &Out) -> Result<u8, Failure> {
    let is_done = view.line.state == "done";
    if out.is_json() {
        out.json(
            &json!({"prd": name, "task": view.line.id, "state": view.line.state, "remark": view.line.remark}),
        );
    }
    match view.line.state.as_str() {
        "done" => out.say(&inert(&format!("{name} {}", view.line.remark))),
        state => {
            out.say(&inert(&format!("{name} has not landed; it is {state}: {}", view.line.remark)));
            out.say(&format!("next: ropewalk prd land {name}   # once the cause is removed"));
        }
    }
    Ok(if is_done { 0 } else { WAITS_FOR_PERSON })
}
