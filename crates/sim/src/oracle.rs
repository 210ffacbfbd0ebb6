//! What must be true of a history: after each turn, and at its end.

use std::collections::BTreeMap;

use ropewalk_core::engine::Engine;
use ropewalk_core::id::TaskId;
use ropewalk_core::limits::Limits;
use ropewalk_core::port::Read;
use ropewalk_core::row::PrdState;
use ropewalk_core::settings::OnDependencyFailure;
use ropewalk_core::task::{DoneHow, ParkReason, Task, TaskKind, TaskState};

use crate::store::{Rows, SimStore};
use crate::world::{Broken, SimWorld};

fn broken(rule: &'static str, what: impl Into<String>) -> Result<(), Broken> {
    Err(Broken { rule, what: what.into() })
}

/// The live engine agrees with the rows, and with an engine that is built from them.
pub(crate) fn live_state_is_the_rows(
    engine: &Engine,
    store: &SimStore,
    limits: &Limits,
) -> Result<(), Broken> {
    let snapshot = store.load().map_err(|e| Broken { rule: "rows are read", what: e.to_string() })?;
    let restored = Engine::restore(limits.clone(), snapshot);
    if let Err(violation) = restored.check() {
        return broken("an engine built from the rows is sound", violation.to_string());
    }
    let rows = store.rows();
    for (id, row) in &rows.tasks {
        let seen = |task: &Task| (task.state.clone(), task.version, task.attempts, task.tally);
        for (which, engine) in [("the live engine", engine), ("one built from the rows", &restored)] {
            match engine.task(*id) {
                Some(task) if seen(task) != seen(row) => {
                    let what = format!("task {id}: {:?}, {which}: {:?}", seen(row), seen(task));
                    return broken("the engine agrees with the rows", what);
                }
                None if !row.state.is_final() => {
                    return broken("every unfinished task is in memory", format!("task {id}, {which}"));
                }
                Some(_) | None => {}
            }
        }
    }
    for (number, (prd, _)) in rows.prds.iter().filter(|(_, (prd, _))| !prd.state.is_final()) {
        let counted = rows.progress(*number);
        match engine.prd(*number) {
            Some((live, progress)) if live == prd && *progress == counted => {}
            other => {
                let what = format!("PRD {number}: {prd:?}, {counted:?}, but {other:?}");
                return broken("progress equals a recount", what);
            }
        }
    }
    Ok(())
}

/// What must be true once everything has come to rest.
pub(crate) fn end(store: &SimStore, world: &SimWorld, policies_changed: bool) -> Result<(), Broken> {
    let rows = store.rows();
    for task in rows.tasks.values() {
        has_ended(&rows, task)?;
    }
    landed_is_done(&rows, world)?;
    dependencies_came_first(&rows, world, policies_changed)?;
    if let Some(attempt) = rows.attempts.values().find(|attempt| !attempt.state.is_finished()) {
        return broken("no attempt is left live", attempt.id.to_string());
    }
    if let Some(candidate) = rows.candidates.values().find(|candidate| !candidate.state.is_final()) {
        return broken("no candidate is left in a queue", candidate.id.to_string());
    }
    match world.left_over().as_slice() {
        [] => Ok(()),
        left => broken("no process and no worktree is left", left.join(", ")),
    }
}

fn has_ended(rows: &Rows, task: &Task) -> Result<(), Broken> {
    let rule = "every task is done, parked, cancelled, or blocked behind such a one";
    let prd = task.prd.and_then(|prd| rows.prds.get(&prd)).map(|(prd, _)| &prd.state);
    match &task.state {
        TaskState::Done { .. } | TaskState::Cancelled { .. } => Ok(()),
        TaskState::Parked { reason: ParkReason::BaseConflict { .. }, .. } if task.kind == TaskKind::Land => {
            Ok(())
        }
        TaskState::Blocked if prd == Some(&PrdState::Draft) => Ok(()),
        TaskState::Blocked if prd.is_none_or(|prd| *prd == PrdState::Active) => {
            let is_ground = |on: &TaskId| {
                rows.tasks
                    .get(on)
                    .is_none_or(|on| !matches!(on.state, TaskState::Done { .. } | TaskState::Ready { .. }))
            };
            if task.depends_on.iter().any(is_ground) {
                return Ok(());
            }
            broken(rule, format!("task {} is blocked by nothing", task.id))
        }
        state => broken(rule, format!("task {} is {state:?}; its PRD is {prd:?}", task.id)),
    }
}

/// A task is done as landed if and only if its commit is on its target, once.
fn landed_is_done(rows: &Rows, world: &SimWorld) -> Result<(), Broken> {
    let rule = "a story is done if and only if its commit has landed, once";
    let mut landed = BTreeMap::new();
    for project in rows.projects.keys() {
        let Some(git) = world.git(*project) else { continue };
        for landing in &git.landings {
            if landed.insert(landing.by.task, landing).is_some() {
                return broken(rule, format!("task {} landed twice", landing.by.task));
            }
        }
    }
    for (task, landing) in &landed {
        let how = DoneHow::Landed { commit: landing.commit.clone() };
        match rows.tasks.get(task).map(|task| &task.state) {
            Some(TaskState::Done { how: done, .. }) if *done == how => {}
            state => {
                return broken(rule, format!("task {task} landed as {}, but is {state:?}", landing.commit));
            }
        }
    }
    for task in rows.tasks.values() {
        let TaskState::Done { how: DoneHow::Landed { commit }, .. } = &task.state else { continue };
        if landed.contains_key(&task.id) {
            continue;
        }
        // What the target held already is done without a landing of its own.
        let candidate = rows.candidates.range(..).rfind(|(id, _)| id.task == task.id).map(|(_, c)| c);
        let is_there = candidate.is_some_and(|candidate| {
            world.git(candidate.project).is_some_and(|git| git.holds(&candidate.target, commit))
        });
        if !is_there {
            return broken(rule, format!("task {} is done, but {commit} is on no branch", task.id));
        }
    }
    Ok(())
}

fn dependencies_came_first(rows: &Rows, world: &SimWorld, policies_changed: bool) -> Result<(), Broken> {
    let rule = "what a task depends on is done before it";
    let mut order = BTreeMap::new();
    for project in rows.projects.keys() {
        for (at, landing) in world.git(*project).iter().flat_map(|git| git.landings.iter().enumerate()) {
            order.insert(landing.by.task, (landing.target.clone(), at));
        }
    }
    for task in rows.tasks.values().filter(|_| !policies_changed) {
        let TaskState::Done { how: DoneHow::Landed { .. } | DoneHow::Passed, .. } = task.state else {
            continue;
        };
        if policy(rows, task) == OnDependencyFailure::Run {
            continue;
        }
        for on in &task.depends_on {
            match rows.tasks.get(on).map(|on| &on.state) {
                Some(TaskState::Done { .. }) => {}
                state => return broken(rule, format!("task {} is done, task {on} is {state:?}", task.id)),
            }
            if let (Some((one, first)), Some((other, second))) = (order.get(on), order.get(&task.id))
                && one == other
                && first > second
            {
                return broken(rule, format!("task {} landed before task {on}", task.id));
            }
        }
    }
    Ok(())
}

fn policy(rows: &Rows, task: &Task) -> OnDependencyFailure {
    let prd = || rows.prds.get(&task.prd?)?.0.settings.on_dependency_failure;
    let project = || rows.projects.get(&task.project?)?.settings.on_dependency_failure;
    task.settings.on_dependency_failure.or_else(prd).or_else(project).unwrap_or_default()
}

/// Tasks that a person would try again.
pub(crate) fn to_retry(store: &SimStore) -> Vec<TaskId> {
    let rows = store.rows();
    let is_hopeless = |task: &Task| {
        task.kind == TaskKind::Land
            && matches!(&task.state, TaskState::Parked { reason: ParkReason::BaseConflict { .. }, .. })
    };
    let waits = |task: &&Task| matches!(task.state, TaskState::Parked { .. }) && !is_hopeless(task);
    rows.tasks.values().filter(waits).map(|task| task.id).collect()
}
