//! The live part of the rows, read in a few sweeps: no statement runs once per task.

use std::collections::BTreeSet;

use ropewalk_core::id::TaskId;
use ropewalk_core::port::{PrdFilter, Snapshot};
use ropewalk_core::row::{Prd, PrdState, Progress};
use ropewalk_core::task::Task;
use ropewalk_core::time::Time;
use rusqlite::{Connection, Row};

use super::fault::Fault;
use super::sql::{all, number, one, signed};
use super::{attempt, prd, project, task};

pub(crate) fn load(connection: &Connection) -> Result<Snapshot, Fault> {
    let live = PrdFilter { project: None, states: vec![PrdState::Draft.name(), PrdState::Active.name()] };
    let last = |sql| one(connection, sql, [], |row| number(row, 0)).map(|n| n.unwrap_or(0u64));
    let narrow =
        |n: u64| u32::try_from(n).map_err(|_| Fault::Damaged(format!("the number {n} is too great")));
    let tasks = tasks(connection)?;
    Ok(Snapshot {
        projects: project::list(connection)?,
        prds: prds_of(connection, prd::list(connection, &live)?, &tasks)?,
        tasks,
        attempts: attempt::of_leased(connection)?,
        candidates: attempt::of_landing_and_parked(connection)?,
        last_task: last("select coalesce(max(id), 0) from task")?,
        last_prd: narrow(last("select coalesce(max(number), 0) from prd")?)?,
        last_project: narrow(last("select coalesce(max(id), 0) from project")?)?,
        last_time: latest(connection)?,
    })
}

/// The PRDs that are open, and those that ended before their last task did.
fn prds_of(
    connection: &Connection,
    mut prds: Vec<(Prd, Progress)>,
    tasks: &[Task],
) -> Result<Vec<(Prd, Progress)>, Fault> {
    let mut numbers: BTreeSet<_> = tasks.iter().filter_map(|task| task.prd).collect();
    prds.iter().for_each(|(prd, _)| _ = numbers.remove(&prd.number));
    for number in numbers {
        prds.extend(prd::get(connection, number)?.map(|(prd, _, progress)| (prd, progress)));
    }
    prds.sort_unstable_by_key(|(prd, _)| prd.number);
    Ok(prds)
}

fn latest(connection: &Connection) -> Result<Time, Fault> {
    let instant = one(connection, "select instant from latest", [], |row| Ok(row.get(0)?))?;
    instant.map(Time).ok_or_else(|| Fault::Damaged("the row of the latest instant is missing".into()))
}

/// Unfinished tasks and the cancelled ones that they depend on, by id, without the dependencies that are done.
fn tasks(connection: &Connection) -> Result<Vec<Task>, Fault> {
    const UNFINISHED: &str = concat!(
        "select ",
        task::task_columns!(),
        " from task where state in ('blocked', 'ready', 'leased', 'landing', 'parked') order by id"
    );
    let mut tasks = all(connection, UNFINISHED, [], task::read)?;
    let open = open_dependencies(connection)?;
    join(&mut tasks, &open);

    let elsewhere: BTreeSet<TaskId> = open.iter().map(|(_, on_task)| *on_task).collect();
    let mut cancelled = Vec::new();
    for id in elsewhere.into_iter().filter(|id| tasks.binary_search_by_key(id, |t| t.id).is_err()) {
        cancelled.extend(one_cancelled(connection, id)?);
    }
    tasks.extend(cancelled);
    tasks.sort_unstable_by_key(|task| task.id);
    Ok(tasks)
}

/// Dependencies of unfinished tasks on tasks that are not done, by task and in the task's own order.
fn open_dependencies(connection: &Connection) -> Result<Vec<(TaskId, TaskId)>, Fault> {
    const SQL: &str = "select dependency.task, dependency.on_task
        from task join dependency on dependency.task = task.id
            left join task as other on other.id = dependency.on_task
        where task.state in ('blocked', 'ready', 'leased', 'landing', 'parked') and other.state is not 'done'
        order by dependency.task, dependency.position";
    all(connection, SQL, [], pair)
}

fn pair(row: &Row<'_>) -> Result<(TaskId, TaskId), Fault> {
    Ok((TaskId(number(row, 0)?), TaskId(number(row, 1)?)))
}

/// Both are sorted by task.
fn join(tasks: &mut [Task], dependencies: &[(TaskId, TaskId)]) {
    let mut rest = dependencies;
    for task in tasks {
        let own = rest.iter().take_while(|(of, _)| *of == task.id).count();
        task.depends_on = rest[..own].iter().map(|(_, on_task)| *on_task).collect();
        rest = &rest[own..];
    }
}

fn one_cancelled(connection: &Connection, id: TaskId) -> Result<Option<Task>, Fault> {
    const TASK: &str =
        concat!("select ", task::task_columns!(), " from task where id = $1 and state = 'cancelled'");
    const OPEN: &str = "select dependency.task, dependency.on_task
        from dependency left join task as other on other.id = dependency.on_task
        where dependency.task = $1 and other.state is not 'done' order by dependency.position";
    let Some(task) = one(connection, TASK, [signed(id.0)?], task::read)? else {
        return Ok(None);
    };
    let open = all(connection, OPEN, [signed(id.0)?], pair)?;
    Ok(Some(Task { depends_on: open.into_iter().map(|(_, on_task)| on_task).collect(), ..task }))
}
