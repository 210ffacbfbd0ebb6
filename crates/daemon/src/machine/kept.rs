//! Worktrees of attempts that did not pass, which stay for a person to look at, and the refs that hold what attempts left.
//! Which of them may go is core's rule (`core::keep`); nothing goes that is not rescued.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ropewalk_core::attempt::{AttemptState, Outcome};
use ropewalk_core::id::{AttemptId, ProjectId, TaskId};
use ropewalk_core::keep::{
    KeptWorktree, Standing, is_attempt_due, is_rescue_due, is_worth_a_look, worktrees_due,
};
use ropewalk_core::port::Read as _;
use ropewalk_core::task::{Task, TaskKind, TaskState};
use ropewalk_core::time::Time;
use ropewalk_host::durable::write_durably;
use ropewalk_host::git::{Parting, Repository};
use ropewalk_host::{clock, disk};

use super::keeping::Bell;
use super::rows::Case;
use super::setup::attempt_of;
use super::spares::Errand;
use super::{Hand, Site};
use crate::api::KEPT;

/// Where the worktree is, or was, of the attempt that this folder of attempts belongs to; none for that of a check.
fn worktree_of(home: &Path, key: &str) -> Option<PathBuf> {
    let attempt = attempt_of(key).or_else(|| key.parse().ok())?;
    Some(home.join("worktrees").join(attempt.to_string()))
}

fn is_there(path: &Path) -> bool {
    // What cannot be looked at may be there.
    path.symlink_metadata().err().is_none_or(|error| error.kind() != ErrorKind::NotFound)
}

impl Site {
    /// Whether the attempt's worktree was rescued and stays. The mark of one that has gone, as by a person's hand, says
    /// nothing: its branch is still to be cleared up.
    fn is_kept(&self, id: AttemptId) -> bool {
        self.attempt_folder(&id.to_string()).join(KEPT).exists() && is_there(&self.worktree(&id.to_string()))
    }

    /// Whether the attempt of this folder still has its worktree.
    pub(super) fn has_worktree(&self, key: &str) -> bool {
        worktree_of(&self.home, key).is_some_and(|path| is_there(&path))
    }

    pub(super) fn is_disk_low(&self) -> bool {
        // What cannot be measured is no shortage.
        let free = disk::free(&self.home).ok();
        free.is_some_and(|free| self.floor.check("", &free).is_err())
    }
}

impl Hand {
    pub(super) fn is_kept(&self, id: AttemptId) -> bool {
        self.site.is_kept(id)
    }

    /// Keeps what the worktree of an ended attempt holds, and changes nothing in it.
    pub(super) fn rescue(&self, id: AttemptId, case: &Case, worktree: &Path) -> Result<(), String> {
        let project = case.project.as_ref().ok_or_else(|| "the task has no project".to_owned())?;
        let parting = self.parting(id, self.outcome(id)?)?;
        let rescued = self.repository(project.id)?.rescue_worktree(id, worktree, &parting);
        rescued.map(drop).map_err(|error| error.to_string())
    }

    fn outcome(&self, id: AttemptId) -> Result<Option<Outcome>, String> {
        Ok(self.history(id)?.this.and_then(|attempt| match attempt.state {
            AttemptState::Finished { outcome } => Some(outcome),
            _ => None,
        }))
    }

    fn parting(&self, id: AttemptId, outcome: Option<Outcome>) -> Result<Parting, String> {
        let folder = self.site.attempt_folder(&id.to_string());
        Ok(Parting {
            ended: outcome.map(|outcome| outcome.name().to_owned()).unwrap_or_default(),
            at_ms: clock::wall_ms(),
            has_passed: outcome == Some(Outcome::Passed),
            secrets: Parting::secrets_in(&folder).map_err(|error| error.to_string())?,
        })
    }

    /// Rescues what a worktree of an ended attempt holds, and removes it unless a person may want to look at it.
    pub(super) fn let_go(
        &self,
        repository: &Repository,
        id: AttemptId,
        task: &Task,
        worktree: &Path,
    ) -> Result<(), String> {
        let outcome = self.outcome(id)?;
        let folder = self.site.attempt_folder(&id.to_string());
        let parting = self.parting(id, outcome)?;
        let is_cancelled = matches!(task.state, TaskState::Cancelled { .. });
        let stays = outcome.is_some_and(|outcome| is_worth_a_look(outcome, is_cancelled))
            && !matches!(task.state, TaskState::Done { .. })
            && worktree.is_dir()
            && !self.site.is_disk_low()
            && repository.is_out_of_the_way(id, worktree).map_err(|error| error.to_string())?;
        if !stays {
            self.part(repository, id, &parting)?;
            return Ok(());
        }
        repository.rescue_worktree(id, worktree, &parting).map_err(|error| error.to_string())?;
        // Without the mark, as when the folder has been purged, the next sweep rescues once more and finds nothing new.
        let _ = write_durably(&folder.join(KEPT), b"");
        self.trim_kept(|| true);
        Ok(())
    }

    /// Removes kept worktrees that may go by now. What fails stays, and is tried again in the next round.
    /// Nobody waits for somebody else who is at it: a rescue may take long, and the keeper gives way to all others.
    pub(super) fn trim_kept(&self, goes_on: impl Fn() -> bool) {
        let Ok(_turn) = self.site.letting_go.try_lock() else { return };
        let kept = self.kept_worktrees();
        let now = Time(clock::wall_ms());
        for id in worktrees_due(&kept, now, self.site.is_disk_low()) {
            if !goes_on() {
                return;
            }
            if let Err(detail) = self.remove_kept(id) {
                self.complain(&format!("the worktree of attempt {id} is kept: {detail}"));
            }
        }
    }

    fn remove_kept(&self, id: AttemptId) -> Result<(), String> {
        let Case { project, task, .. } = self.case(id.task)?;
        let (Some(project), TaskKind::Implement) = (project, &task.kind) else { return Ok(()) };
        let folder = self.site.attempt_folder(&id.to_string());
        let parting = Parting {
            ended: "kept, then removed".into(),
            at_ms: clock::wall_ms(),
            has_passed: false,
            secrets: Parting::secrets_in(&folder).map_err(|error| error.to_string())?,
        };
        let parted = self.part(&self.repository(project.id)?, id, &parting);
        self.site.groom.tell(Errand::Wash(project.id));
        parted
    }

    /// Lets go of the attempt's worktree. On a low disk its folder becomes no spare.
    fn part(&self, repository: &Repository, id: AttemptId, parting: &Parting) -> Result<(), String> {
        let path = self.site.worktree(&id.to_string());
        let parted = match self.site.is_disk_low() {
            true => repository.remove_worktree_after(id, &path, parting),
            false => repository.release_worktree_after(id, &path, parting),
        };
        parted.map_err(|error| error.to_string())?;
        let _ = std::fs::remove_file(self.site.attempt_folder(&id.to_string()).join(KEPT));
        Ok(())
    }

    fn kept_worktrees(&self) -> Vec<KeptWorktree> {
        let Ok(entries) = std::fs::read_dir(self.site.home.join("worktrees")) else { return Vec::new() };
        let kept = |name: &str| {
            let attempt: AttemptId = name.parse().ok()?;
            if !self.site.is_kept(attempt) {
                return None;
            }
            let row = self.history(attempt).ok()?.this?;
            let tasks = self.reader.tasks_by_id(&[attempt.task]).ok()?;
            let task_is_done = tasks.first().is_some_and(|t| matches!(t.state, TaskState::Done { .. }));
            Some(KeptWorktree { attempt, finished_at: row.finished_at?, task_is_done })
        };
        entries.flatten().filter_map(|entry| kept(entry.file_name().to_str()?)).collect()
    }

    /// Lets go of rescues and collected commits of tasks that have long been over. Those of another state folder on the
    /// same repository are none of ours.
    pub(super) fn forget_refs(&self, bell: &Bell, project: ProjectId, now: Time) -> Result<(), String> {
        let repository = self.repository(project)?;
        for rescue in repository.rescues().map_err(|error| error.to_string())? {
            if bell.has_rung() {
                return Ok(());
            }
            let Some(standing) = self.standing(project, rescue.attempt.task)? else { continue };
            if repository.is_own(&rescue) && is_rescue_due(Time(rescue.at_ms), standing, now) {
                repository.forget_rescue(&rescue).map_err(|error| error.to_string())?;
            }
        }
        for (attempt, commit) in repository.collected().map_err(|error| error.to_string())? {
            if bell.has_rung() {
                return Ok(());
            }
            let Some(standing) = self.standing(project, attempt.task)? else { continue };
            // The row names what was collected: another state folder's attempt of the same number has another commit.
            let row = self.history(attempt)?.this;
            let is_own = row.is_some_and(|row| row.head.as_ref() == Some(&commit));
            if is_own && is_attempt_due(standing, now) {
                repository.forget_collected(attempt, &commit).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// How a task of this project stands; nothing when there is none of that number.
    fn standing(&self, project: ProjectId, task: TaskId) -> Result<Option<Standing>, String> {
        let tasks = self.reader.tasks_by_id(&[task]).map_err(|error| error.to_string())?;
        let task = tasks.into_iter().find(|task| task.project == Some(project));
        Ok(task.map(|task| match task.state {
            TaskState::Done { at, .. } => Standing::Done(at),
            TaskState::Cancelled { at, .. } => Standing::Cancelled(at),
            TaskState::Blocked
            | TaskState::Ready { .. }
            | TaskState::Leased { .. }
            | TaskState::Landing { .. }
            | TaskState::Parked { .. } => Standing::Open,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::setup::set_up_key;
    use super::*;

    #[test]
    fn a_folder_belongs_to_the_worktree_of_its_attempt_also_that_of_a_set_up() {
        let home = tempfile::tempdir().unwrap();
        let id: AttemptId = "7.2".parse().unwrap();
        for key in ["7.2".to_owned(), set_up_key(id)] {
            let path = worktree_of(home.path(), &key).unwrap();
            let _ = std::fs::remove_dir_all(&path);
            assert!(!is_there(&path), "{key}");
            std::fs::create_dir_all(&path).unwrap();
            assert!(is_there(&path), "{key}");
        }
        assert_eq!(worktree_of(home.path(), "check-7.2-abcdef-1"), None);
    }
}
