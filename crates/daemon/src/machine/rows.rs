//! What a hand reads from the store before it acts.

use ropewalk_core::attempt::{Attempt, AttemptState, Outcome};
use ropewalk_core::candidate::Candidate;
use ropewalk_core::id::{AttemptId, ProjectId, TaskId};
use ropewalk_core::port::Read;
use ropewalk_core::row::{Prd, Project, Story};
use ropewalk_core::settings::Settings;
use ropewalk_core::task::Task;

use super::Hand;

/// A task with all that it stands in.
pub(super) struct Case {
    pub(super) task: Task,
    pub(super) project: Option<Project>,
    pub(super) prd: Option<Prd>,
    /// The settings in force: the task's over the PRD's over the project's.
    pub(super) settings: Settings,
}

impl Case {
    /// What an attempt and its checks are told of the task in their environment.
    pub(super) fn named(&self, id: AttemptId) -> Vec<(&'static str, String)> {
        let mut named =
            vec![("ROPEWALK_TASK", id.task.to_string()), ("ROPEWALK_ATTEMPT", id.number.to_string())];
        named.extend(self.task.story.as_ref().map(|story| ("ROPEWALK_STORY", story.to_string())));
        named.extend(self.prd.as_ref().map(|prd| ("ROPEWALK_PRD", prd.key.to_string())));
        named
    }
}

impl Hand {
    pub(super) fn project(&self, id: ProjectId) -> Result<Project, String> {
        let projects = self.reader.projects().map_err(|error| error.to_string())?;
        projects.into_iter().find(|p| p.id == id).ok_or_else(|| format!("project {id} is not in the store"))
    }

    pub(super) fn case(&self, id: TaskId) -> Result<Case, String> {
        let tasks = self.reader.tasks_by_id(&[id]).map_err(|error| error.to_string())?;
        let task = tasks.into_iter().next().ok_or_else(|| format!("task {id} is not in the store"))?;
        let project = task.project.map(|id| self.project(id)).transpose()?;
        let prd = match task.prd {
            Some(number) => {
                self.reader.prd(number).map_err(|error| error.to_string())?.map(|(prd, _, _)| prd)
            }
            None => None,
        };
        let base = project.as_ref().map(|p| p.settings.clone()).unwrap_or_default();
        let middle = prd.as_ref().map_or_else(|| base.clone(), |prd| prd.settings.over(&base));
        let settings = task.settings.over(&middle);
        Ok(Case { task, project, prd, settings })
    }

    pub(super) fn story(&self, task: &Task) -> Result<Option<Story>, String> {
        match (task.prd, &task.story) {
            (Some(prd), Some(story)) => self.reader.story(prd, story).map_err(|error| error.to_string()),
            (_, None) | (None, _) => Ok(None),
        }
    }

    /// The attempt's own row, the one before it, and what became of that one's candidate.
    pub(super) fn history(&self, id: AttemptId) -> Result<History, String> {
        let attempts = self.reader.attempts(id.task).map_err(|error| error.to_string())?;
        let candidates = self.reader.candidates(id.task).map_err(|error| error.to_string())?;
        // Attempts that were ended, lost or never began taught nothing: what was to be repaired before them still is.
        let has_something_to_say = |attempt: &&Attempt| {
            !matches!(
                attempt.state,
                AttemptState::Finished { outcome: Outcome::Cancelled | Outcome::Lost | Outcome::NotStarted }
            )
        };
        let mut earlier = attempts.iter().filter(|attempt| attempt.id.number < id.number);
        let last = earlier.rfind(has_something_to_say).cloned();
        let number = last.as_ref().map(|attempt| attempt.id.number);
        Ok(History {
            this: attempts.iter().find(|attempt| attempt.id == id).cloned(),
            last_candidate: candidates.into_iter().find(|candidate| Some(candidate.id.number) == number),
            last,
        })
    }
}

pub(super) struct History {
    pub(super) this: Option<Attempt>,
    pub(super) last: Option<Attempt>,
    pub(super) last_candidate: Option<Candidate>,
}
