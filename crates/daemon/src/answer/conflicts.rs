//! Where work that runs or waits to land would meet, as it is at this moment.

use std::path::Path;

use ropewalk_core::attempt::AttemptState;
use ropewalk_core::candidate::Source;
use ropewalk_core::command::{Refusal, RefusalKind};
use ropewalk_core::id::{AttemptId, Oid, ProjectId};
use ropewalk_core::merges::{MeetingKind, MeetingLine};
use ropewalk_core::port::Read;
use ropewalk_core::scope::may_meet;
use ropewalk_core::task::{Task, TaskKind};
use ropewalk_core::view::name_of;
use ropewalk_host::clock::wall_ms;
use ropewalk_host::git::{GitError, Meeting, Repository, Work};
use ropewalk_host::included;

use super::{Desk, Prds, store_failed};
use crate::api::Response;
use crate::machine::{attempt_folder, read_start, worktree_folder};

/// Pieces of work that are held against each other: each pair costs up to one run of git.
const WORKS_MAX: usize = 64;

/// One attempt that runs, or one candidate that waits.
struct OnTheWay {
    task: Task,
    name: String,
    project: ProjectId,
    /// Nothing: its worktree could not be read, or holds nothing yet.
    work: Option<Work>,
}

pub(super) fn all(desk: &mut dyn Desk) -> Result<Response, Refusal> {
    let running: Vec<_> = desk.board()?.running.iter().map(|line| line.task).collect();
    let reader = desk.reader();
    let mut repositories = Repositories::default();
    let mut prds = Prds::default();
    let mut works = Vec::new();
    for task in reader.tasks_by_id(&running).map_err(store_failed)? {
        let (TaskKind::Implement, Some(project)) = (&task.kind, task.project) else { continue };
        let id = task.attempt();
        let attempt = reader.attempts(task.id).map_err(store_failed)?.into_iter().find(|a| a.id == id);
        let start = attempt.filter(|a| a.state != AttemptState::Preparing).and_then(|a| a.start);
        let repository = repositories.of(desk, project)?;
        let work = live(desk.home(), repository, id, start);
        works.push(OnTheWay { name: name_of(&task, prds.get(reader, &task)?), task, project, work });
    }
    for state in ["waiting", "merging", "checking"] {
        for candidate in reader.candidates_in(state, WORKS_MAX).map_err(store_failed)? {
            let task = reader.tasks_by_id(&[candidate.id.task]).map_err(store_failed)?.into_iter().next();
            let (Some(task), Source::Commit(head)) = (task, &candidate.source) else { continue };
            let attempts = reader.attempts(task.id).map_err(store_failed)?;
            let start = attempts.into_iter().find(|a| a.id == candidate.id).and_then(|a| a.start);
            let repository = repositories.of(desk, candidate.project)?;
            let work = start.and_then(|start| repository.work_of(&start, head).ok());
            let name = name_of(&task, prds.get(reader, &task)?);
            works.push(OnTheWay { name, task, project: candidate.project, work });
        }
    }
    works.truncate(WORKS_MAX);
    let mut lines = Vec::new();
    for (at, one) in works.iter().enumerate() {
        for other in works[at + 1..].iter().filter(|other| other.project == one.project) {
            lines.extend(meet(repositories.of(desk, one.project)?, one, other)?);
        }
    }
    lines.sort_by_key(|line: &MeetingLine| (line.how, line.one_task, line.other_task));
    Ok(Response::Meetings(lines))
}

/// What a worktree holds now; nothing where it cannot be read, as when the attempt ends this moment.
fn live(home: &Path, repository: &Repository, id: AttemptId, start: Option<Oid>) -> Option<Work> {
    let key = id.to_string();
    let folder = attempt_folder(home, &key);
    let start = start.or_else(|| read_start(&folder))?;
    let kept_out = included::read_list(&folder.join(included::LIST)).ok()?;
    repository.work_in(id, &worktree_folder(home, &key), &start, wall_ms(), &kept_out).ok()
}

fn meet(repository: &Repository, one: &OnTheWay, other: &OnTheWay) -> Result<Option<MeetingLine>, Refusal> {
    let failed = |error: GitError| Refusal::new(RefusalKind::Failed, error.to_string());
    let meeting = match (&one.work, &other.work) {
        (Some(one), Some(other)) => repository.meeting(one, other).map_err(failed)?,
        (_, None) | (None, _) => Meeting::Apart,
    };
    let (how, files) = match meeting {
        Meeting::Conflict(files) => (MeetingKind::Conflict, files),
        Meeting::SameFiles(files) => (MeetingKind::SameFiles, files),
        Meeting::Apart if may_meet(&one.task.scope, &other.task.scope) => {
            (MeetingKind::SameScope, one.task.scope.iter().chain(&other.task.scope).cloned().collect())
        }
        Meeting::Apart => return Ok(None),
    };
    Ok(Some(MeetingLine {
        one: one.name.clone(),
        one_task: one.task.id,
        other: other.name.clone(),
        other_task: other.task.id,
        how,
        files,
    }))
}

/// Each project's repository, opened once.
#[derive(Default)]
struct Repositories {
    open: Vec<(ProjectId, Repository)>,
}

impl Repositories {
    fn of(&mut self, desk: &dyn Desk, project: ProjectId) -> Result<&Repository, Refusal> {
        let at = match self.open.iter().position(|(id, _)| *id == project) {
            Some(at) => at,
            None => {
                self.open.push((project, super::merges::open(desk, project)?));
                self.open.len() - 1
            }
        };
        Ok(&self.open[at].1)
    }
}
