//! The merge queues and what attempts changed, as they are asked for.

use std::path::Path;

use ropewalk_core::command::{Refusal, RefusalKind};
use ropewalk_core::id::{AttemptId, AttemptNumber, Oid, ProjectId};
use ropewalk_core::merges::{MergeLine, MergesView};
use ropewalk_core::port::Read;
use ropewalk_core::task::Task;
use ropewalk_core::view::name_of;
use ropewalk_host::git::Repository;
use ropewalk_store::SqliteReader;

use super::{Desk, Prds, store_failed};
use crate::api::Response;

/// Candidates under way and waiting that are shown; a queue beyond it is a number, not a list.
const QUEUE_MAX: usize = 1_000;
/// Candidates that have ended, of each kind, that are shown.
const ENDED_MAX: usize = 20;
/// Bytes of a diff that are shown: more is for git itself.
const DIFF_BYTES_MAX: usize = 4 << 20;

pub(super) fn all(reader: &SqliteReader) -> Result<Response, Refusal> {
    let mut prds = Prds::default();
    let mut lines = |state, limit| {
        let candidates = reader.candidates_in(state, limit).map_err(store_failed)?;
        let mut lines = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            let task = reader.tasks_by_id(&[candidate.id.task]).map_err(store_failed)?.into_iter().next();
            let name = match &task {
                Some(task) => name_of(task, prds.get(reader, task)?),
                None => format!("task {}", candidate.id.task),
            };
            lines.push(MergeLine::of(&candidate, name));
        }
        Ok::<_, Refusal>(lines)
    };
    let mut queue = Vec::new();
    for state in ["landing", "checking", "merging", "waiting"] {
        let mut found = lines(state, QUEUE_MAX)?;
        found.sort_by_key(|line: &MergeLine| (line.queued_at, line.candidate));
        queue.extend(found);
    }
    queue.sort_by(|a, b| a.target.cmp(&b.target));
    let latest = |mut lines: Vec<MergeLine>| {
        lines.sort_by_key(|line| std::cmp::Reverse(line.ended_at));
        lines
    };
    let returned = latest(lines("returned", ENDED_MAX)?);
    let landed = latest(lines("landed", ENDED_MAX)?);
    Ok(Response::Merges(Box::new(MergesView { queue, returned, landed })))
}

pub(super) fn one(reader: &SqliteReader, task: &Task) -> Result<Response, Refusal> {
    let mut prds = Prds::default();
    let candidates = reader.candidates(task.id).map_err(store_failed)?;
    let Some(candidate) = candidates.last() else {
        return Err(Refusal::new(
            RefusalKind::NotFound,
            format!("task {} has brought nothing to land yet", task.id),
        )
        .hint(format!("ropewalk why {}", task.id)));
    };
    let name = name_of(task, prds.get(reader, task)?);
    Ok(Response::Merge(Box::new(MergeLine::of(candidate, name))))
}

/// From where the attempt's work began to its commit, or to what its worktree holds by its latest checkpoint.
pub(super) fn diff(
    desk: &dyn Desk,
    task: &Task,
    attempt: Option<u32>,
    stat: bool,
) -> Result<Response, Refusal> {
    let reader = desk.reader();
    let attempts = reader.attempts(task.id).map_err(store_failed)?;
    let number = attempt.map(AttemptNumber);
    let found = match number {
        Some(number) => attempts.iter().find(|attempt| attempt.id.number == number),
        None => attempts.last(),
    };
    let absent = |what: String| Refusal::new(RefusalKind::NotFound, what);
    let found = found.ok_or_else(|| absent(format!("task {} has no such attempt", task.id)))?;
    let checkpoints = reader.checkpoints(task.id).map_err(store_failed)?;
    let latest = checkpoints.iter().rfind(|checkpoint| checkpoint.attempt == found.id);
    let ends = match (&found.start, &found.head, latest) {
        (Some(start), Some(head), _) => Some((start.clone(), head.clone())),
        (_, _, Some(checkpoint)) => Some((checkpoint.facts.start.clone(), checkpoint.facts.commit.clone())),
        (_, _, None) => None,
    };
    let (from, to): (Oid, Oid) = ends.ok_or_else(|| {
        absent(format!("nothing of attempt {} is committed yet", found.id))
            .hint(format!("ropewalk checkpoint {}   # puts by what it has done so far", task.id))
    })?;
    let repository = repository(desk, task, found.id)?;
    let failed = |error: ropewalk_host::git::GitError| Refusal::new(RefusalKind::Failed, error.to_string());
    Ok(Response::Text(repository.diff(&from, &to, stat, DIFF_BYTES_MAX).map_err(failed)?))
}

fn repository(desk: &dyn Desk, task: &Task, attempt: AttemptId) -> Result<Repository, Refusal> {
    let absent = || Refusal::new(RefusalKind::Invalid, format!("attempt {attempt} worked in no repository"));
    open(desk, task.project.ok_or_else(absent)?)
}

/// A project's repository.
pub(super) fn open(desk: &dyn Desk, project: ProjectId) -> Result<Repository, Refusal> {
    let projects = desk.reader().projects().map_err(store_failed)?;
    let absent = || Refusal::new(RefusalKind::NotFound, format!("project {project} is not in the store"));
    let project = projects.into_iter().find(|row| row.id == project).ok_or_else(absent)?;
    let control = desk.home().join("git").join(project.id.to_string());
    if !control.is_dir() {
        // The engine makes it with its first work, and nobody else at the same moment.
        return Err(Refusal::new(RefusalKind::NotFound, "no attempt has worked in this repository yet"));
    }
    Repository::open(Path::new(&project.top), Path::new(&project.common_dir), &control)
        .map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string()))
}
