//! `demo`: the main job on an embedded default. No AI, no network, no server: a repository, twelve stories, a
//! shell script for an agent.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ropewalk_daemon::session::Session;
use ropewalk_host::{git, shell};
use serde_json::json;

use super::{prd, run};
use crate::cli::{AtStop, Demo, Run, Set};
use crate::config;
use crate::failure::{Failure, WAITS_FOR_PERSON};
use crate::out::Out;
use crate::place::Place;
use crate::table::span;

const AGENT: &str = include_str!("../demo/agent.sh");
const CHECK: &str = include_str!("../demo/check.sh");
const PRD: &str = include_str!("../demo/prd.json");

/// Lines of the drawn history: twelve stories and their merges fit twice.
const GRAPH_LINES_MAX: usize = 80;

pub(crate) fn demo(demo: &Demo, out: &Out) -> Result<u8, Failure> {
    let started = Instant::now();
    let folder = new_folder(demo.dir.as_deref())?;
    let project = make_project(&folder)?;
    out.remark(&format!(
        "a repository in {}, its PRD in {}",
        project.display(),
        folder.join("prd.json").display()
    ));
    let place = demo_place(&folder, &project)?;
    let run = Run {
        file: Some(folder.join("prd.json")),
        set: Set {
            command: Some(shell::quote(&folder.join("agent.sh").to_string_lossy())),
            checks: vec![shell::quote(&folder.join("check.sh").to_string_lossy())],
            ..Set::default()
        },
        workers: Some("4".into()),
        max_prds: None,
        all: false,
        id: None,
        trust_passes: false,
        detach: false,
        attach: false,
        at_stop: AtStop::default(),
        detached: false,
    };
    let (imported, board) = run::execute(&place, &run, out)?;
    if board.is_none() {
        return Ok(crate::failure::INTERRUPTED);
    }
    let key = imported.map(|imported| imported.key.to_string()).unwrap_or_default();
    let landing = prd::land_now(&place, &key, false, out)?;
    let prd = prd::view(&mut Session::open(&place.home)?, &place, &key)?;
    let graph = graph_of(&place)?;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let is_whole = landing.line.state == "done" && prd.line.progress.done == prd.line.progress.stories;
    if out.is_json() {
        let landed = &landing.line.state;
        out.json(&json!({"folder": folder, "took_ms": took_ms, "landed_on_base": landed, "prd": prd, "graph": graph}));
    }
    out.say(&prd::story_table(&prd));
    out.say(&format!("\n{graph}"));
    let done = prd.line.progress.done;
    let remark = &landing.line.remark;
    out.say(&format!(
        "\n{done} stories landed on main in {} with 4 workers: {remark}\n\ntry next:",
        span(took_ms)
    ));
    out.say(&format!("  cd {} && export ROPEWALK_HOME={}", project.display(), place.home.display()));
    out.say(&format!("  ropewalk prd show {key}"));
    out.say(&format!("  ropewalk task show {key}/US-012   # the one that conflicted"));
    out.say(&format!("  ropewalk logs {key}/US-008 --attempt 1 --stderr"));
    Ok(if is_whole { 0 } else { WAITS_FOR_PERSON })
}

/// The folder to work in: new, or empty.
fn new_folder(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = match asked {
        Some(folder) => {
            std::path::absolute(folder).map_err(|e| Failure::input(format!("{}: {e}", folder.display())))?
        }
        None => std::env::temp_dir().join(format!("ropewalk-demo-{}", std::process::id())),
    };
    let is_used = fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || folder.is_file() {
        return Err(
            Failure::input(format!("{} is not empty", folder.display())).hint("name a new folder with --dir")
        );
    }
    fs::create_dir_all(&folder).map_err(|error| write_fault(&folder, &error))?;
    Ok(folder)
}

fn write_fault(path: &Path, error: &std::io::Error) -> Failure {
    Failure::broken(format!("cannot write {}: {error}", path.display()))
}

fn make_project(folder: &Path) -> Result<PathBuf, Failure> {
    for (name, text, mode) in
        [("agent.sh", AGENT, 0o755), ("check.sh", CHECK, 0o755), ("prd.json", PRD, 0o644)]
    {
        let path = folder.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)))
            .map_err(|error| write_fault(&path, &error))?;
    }
    let project = folder.join("project");
    let strands: String = (1..=12).map(|n| format!("strand {n}: ?\n")).collect();
    let files = [
        ("README.md", "# A rope\n\nMade by the demo of Ropewalk.\n"),
        ("strands.txt", strands.as_str()),
        ("length.txt", "length = ?\n"),
    ];
    git::create(&project, "main", &files, "Start").map_err(|error| Failure::broken(error.to_string()))?;
    Ok(project)
}

/// The demo keeps its state to itself, and nothing of the user's settings reaches it.
fn demo_place(folder: &Path, project: &Path) -> Result<Place, Failure> {
    let mut env: Vec<_> =
        config::environment()?.into_iter().filter(|(name, _)| !name.starts_with("ROPEWALK_")).collect();
    env.push(("ROPEWALK_HOME".into(), folder.join("state").display().to_string()));
    env.retain(|(name, _)| name != "XDG_CONFIG_HOME");
    env.push(("XDG_CONFIG_HOME".into(), folder.join("no-config").display().to_string()));
    Place::at(project, env)
}

fn graph_of(place: &Place) -> Result<String, Failure> {
    let broken = |error: git::GitError| Failure::broken(error.to_string());
    let found = place.repository()?;
    let repository = git::Repository::open(&found.top, &found.common_dir, &place.home.join("git").join("1"))
        .map_err(broken)?;
    repository.log_graph(None, &found.base, GRAPH_LINES_MAX).map_err(broken)
}
