//! Rows of tasks and of their dependencies. Knows that a version must follow on the stored one.

use ropewalk_core::change::TaskMoved;
use ropewalk_core::id::{PrdNumber, ProjectId, StoryId, TaskId};
use ropewalk_core::port::TaskFilter;
use ropewalk_core::priority::Priority;
use ropewalk_core::settings::Settings;
use ropewalk_core::task::{Tally, Task, TaskKind};
use ropewalk_core::time::Time;
use rusqlite::{Connection, Row, ToSql, params, params_from_iter};

use super::fault::Fault;
use super::prd::push_states;
use super::progress::Delta;
use super::sql::{
    all, from_json, limit, number, one, optional_from_json, optional_json, optional_number, run, signed,
    text, to_json,
};

const IMPLEMENT: &str = "implement";
const COMMAND: &str = "command";
const LAND: &str = "land";

/// What [`read`] reads, in its order.
macro_rules! task_columns {
    () => {
        "id, version, attempts, failures, conflicts, repeats, detail, project, prd, kind, folder, priority, \
         created_at, story, title, settings, fault, resume, faults, scope"
    };
}
pub(crate) use task_columns;

/// What is stored of a task before a change to it.
struct Before {
    version: u64,
    state: String,
    /// The PRD whose progress counts it.
    counted_by: Option<PrdNumber>,
}

pub(crate) fn put(connection: &Connection, task: &Task, delta: &mut Delta) -> Result<(), Fault> {
    let before = before(connection, task.id)?;
    follow_on(task.id, task.version, before.as_ref().map(|b| b.version))?;
    let counted_by = task.prd.filter(|_| task.kind == TaskKind::Implement);
    if let Some((prd, before)) = before.as_ref().and_then(|b| Some((b.counted_by?, b))) {
        delta.count(prd, &before.state, -1)?;
    }
    if let Some(prd) = counted_by {
        delta.count(prd, task.state.name(), 1)?;
    }
    put_row(connection, task)?;
    if before.is_some() {
        run(connection, "delete from dependency where task = $1", [signed(task.id.0)?])?;
    }
    put_dependencies(connection, task)
}

fn put_row(connection: &Connection, task: &Task) -> Result<(), Fault> {
    const SQL: &str = "insert into task (id, version, state, attempts, failures, conflicts, repeats, detail,
            project, prd, kind, folder, priority, created_at, story, title, settings, fault, resume, faults,
            scope)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
        on conflict (id) do update set version = excluded.version, state = excluded.state,
            attempts = excluded.attempts, failures = excluded.failures, conflicts = excluded.conflicts,
            repeats = excluded.repeats, detail = excluded.detail, project = excluded.project,
            prd = excluded.prd, kind = excluded.kind, folder = excluded.folder,
            priority = excluded.priority, created_at = excluded.created_at, story = excluded.story,
            title = excluded.title, settings = excluded.settings, fault = excluded.fault,
            resume = excluded.resume, faults = excluded.faults, scope = excluded.scope";
    let (kind, folder) = match &task.kind {
        TaskKind::Implement => (IMPLEMENT, None),
        TaskKind::Command { folder } => (COMMAND, Some(folder)),
        TaskKind::Land => (LAND, None),
    };
    let params = params![
        signed(task.id.0)?,
        signed(task.version)?,
        task.state.name(),
        task.attempts,
        task.tally.failures,
        task.tally.conflicts,
        task.tally.repeats,
        to_json(&task.state)?,
        task.project.map(|project| project.0),
        task.prd.map(|prd| prd.0),
        kind,
        folder,
        task.priority.thousandths(),
        task.created_at.0,
        task.story.as_ref().map(StoryId::as_str),
        task.title,
        to_json(&task.settings)?,
        optional_json(task.tally.fault.as_ref())?,
        optional_json(task.resume.as_ref())?,
        task.tally.faults,
        optional_json((!task.scope.is_empty()).then_some(&task.scope))?,
    ];
    run(connection, SQL, params)?;
    Ok(())
}

fn put_dependencies(connection: &Connection, task: &Task) -> Result<(), Fault> {
    const SQL: &str = "insert into dependency (task, position, on_task) values ($1, $2, $3)";
    for (position, on_task) in task.depends_on.iter().enumerate() {
        run(connection, SQL, params![signed(task.id.0)?, limit(position), signed(on_task.0)?])?;
    }
    Ok(())
}

pub(crate) fn moved(connection: &Connection, to: &TaskMoved, delta: &mut Delta) -> Result<(), Fault> {
    const SQL: &str =
        "update task set version = $1, state = $2, attempts = $3, failures = $4, conflicts = $5,
        repeats = $6, detail = $7, fault = $8, resume = $9, faults = $10 where id = $11";
    let Some(before) = before(connection, to.task)? else {
        return Err(Fault::Refused {
            object: format!("task {}", to.task),
            detail: "it is not stored".into(),
        });
    };
    follow_on(to.task, to.version, Some(before.version))?;
    if let Some(prd) = before.counted_by.filter(|_| before.state != to.state.name()) {
        delta.count(prd, &before.state, -1)?;
        delta.count(prd, to.state.name(), 1)?;
    }
    let params = params![
        signed(to.version)?,
        to.state.name(),
        to.attempts,
        to.tally.failures,
        to.tally.conflicts,
        to.tally.repeats,
        to_json(&to.state)?,
        optional_json(to.tally.fault.as_ref())?,
        optional_json(to.resume.as_ref())?,
        to.tally.faults,
        signed(to.task.0)?,
    ];
    run(connection, SQL, params)?;
    Ok(())
}

fn before(connection: &Connection, task: TaskId) -> Result<Option<Before>, Fault> {
    const SQL: &str = "select version, state, prd, kind from task where id = $1";
    one(connection, SQL, [signed(task.0)?], |row| {
        let prd = optional_number(row, 2)?.map(PrdNumber);
        let is_counted = text(row, 3)? == IMPLEMENT;
        Ok(Before { version: number(row, 0)?, state: row.get(1)?, counted_by: prd.filter(|_| is_counted) })
    })
}

fn follow_on(task: TaskId, version: u64, stored: Option<u64>) -> Result<(), Fault> {
    let wanted = stored.map_or(Some(1), |stored| stored.checked_add(1));
    if wanted == Some(version) {
        return Ok(());
    }
    let detail = match stored {
        Some(stored) => format!("version {version} does not follow on the stored version {stored}"),
        None => format!("version {version} is not the first, and no earlier one is stored"),
    };
    Err(Fault::Refused { object: format!("task {task}"), detail })
}

pub(crate) fn list(connection: &Connection, filter: &TaskFilter) -> Result<Vec<Task>, Fault> {
    let mut sql = String::from(concat!("select ", task_columns!(), " from task where id > $1"));
    let after = filter.after.map_or(0, |task| i64::try_from(task.0).unwrap_or(i64::MAX));
    let most = limit(filter.limit);
    let mut params: Vec<&dyn ToSql> = vec![&after];
    if let Some(project) = &filter.project {
        params.push(&project.0);
        sql += &format!(" and project = ${}", params.len());
    }
    if let Some(prd) = &filter.prd {
        params.push(&prd.0);
        sql += &format!(" and prd = ${}", params.len());
    }
    push_states(&mut sql, &mut params, "state", &filter.states);
    params.push(&most);
    sql += &format!(" order by id limit ${}", params.len());
    with_dependencies(connection, all(connection, &sql, params_from_iter(params), read)?)
}

pub(crate) fn by_id(connection: &Connection, ids: &[TaskId]) -> Result<Vec<Task>, Fault> {
    const SQL: &str = concat!("select ", task_columns!(), " from task where id = $1");
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(one(connection, SQL, [signed(id.0)?], read)?);
    }
    with_dependencies(connection, found)
}

fn with_dependencies(connection: &Connection, mut tasks: Vec<Task>) -> Result<Vec<Task>, Fault> {
    const SQL: &str = "select on_task from dependency where task = $1 order by position";
    for task in &mut tasks {
        task.depends_on = all(connection, SQL, [signed(task.id.0)?], |row| Ok(TaskId(number(row, 0)?)))?;
    }
    Ok(tasks)
}

/// Reads [`task_columns`]; dependencies are rows of their own.
pub(crate) fn read(row: &Row<'_>) -> Result<Task, Fault> {
    let story =
        row.get_ref(13)?.as_str_or_null().map_err(|e| Fault::Damaged(format!("a story's id: {e}")))?;
    let kind = match (text(row, 9)?, row.get::<_, Option<String>>(10)?) {
        (IMPLEMENT, None) => TaskKind::Implement,
        (COMMAND, Some(folder)) => TaskKind::Command { folder },
        (LAND, None) => TaskKind::Land,
        (kind, _) => return Err(Fault::Damaged(format!("{kind:?} is no kind of task"))),
    };
    Ok(Task {
        id: TaskId(number(row, 0)?),
        version: number(row, 1)?,
        attempts: number(row, 2)?,
        tally: Tally {
            failures: number(row, 3)?,
            conflicts: number(row, 4)?,
            fault: optional_from_json(row, 16)?,
            repeats: number(row, 5)?,
            faults: number(row, 18)?,
        },
        resume: optional_from_json(row, 17)?,
        state: from_json(row, 6)?,
        project: optional_number(row, 7)?.map(ProjectId),
        prd: optional_number(row, 8)?.map(PrdNumber),
        kind,
        priority: Priority::from_thousandths(row.get(11)?),
        created_at: Time(row.get(12)?),
        story: story
            .map(StoryId::new)
            .transpose()
            .map_err(|e| Fault::Damaged(format!("a task's story: {e}")))?,
        title: row.get(14)?,
        settings: if text(row, 15)? == "{}" { Settings::default() } else { from_json(row, 15)? },
        scope: optional_from_json(row, 19)?.unwrap_or_default(),
        depends_on: Vec::new(),
    })
}
