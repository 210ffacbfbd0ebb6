//! A PRD's own branch, and its way to the base.

use super::{About, Engine, Step};
use crate::candidate::{Candidate, CandidateState, Source};
use crate::change::{Change, NoteKind};
use crate::effect::Effect;
use crate::event::BranchResult;
use crate::id::{AttemptId, AttemptNumber, PrdNumber, ProjectId, TaskId};
use crate::priority::Priority;
use crate::row::{Prd, PrdBranch, PrdState};
use crate::settings::Settings;
use crate::task::{Tally, Task, TaskKind, TaskState};

impl Engine {
    /// Asks for the PRD's branch when it has work to do and none yet.
    pub(super) fn ensure_branch(&mut self, step: &mut Step, number: PrdNumber) {
        let Some(live) = self.prds.get(&number) else { return };
        let prd = &live.prd;
        // A name that was planned keeps others waiting: it is made, in focus or not.
        let is_planned = matches!(prd.branch, PrdBranch::Planned { .. });
        let in_focus = prd.is_collection
            || is_planned
            || self.focus.as_ref().is_none_or(|focus| focus.contains(&number));
        let has_work = live.progress.done + live.progress.cancelled < live.progress.stories;
        if prd.state != PrdState::Active || !in_focus || !has_work || self.branches_asked.contains(&number) {
            return;
        }
        let project = prd.project;
        if self.must_wait_for_a_branch(prd) {
            return;
        }
        let effect = match (&prd.branch, self.base_of(prd)) {
            (PrdBranch::Unplanned, Some(base)) => {
                Effect::PlanBranch { prd: number, project, wanted: prd.wanted_branch.clone(), base }
            }
            (PrdBranch::Planned { name, at }, _) => {
                Effect::MakeBranch { prd: number, project, name: name.clone(), at: at.clone() }
            }
            (PrdBranch::Unplanned | PrdBranch::Made { .. }, _) => return,
        };
        self.branches_asked.insert(number);
        step.effects.push(effect);
    }

    /// One branch at a time per project: two PRDs that ask for the same name must not both find it free. A name that
    /// is planned is taken, so it is made before another is looked for.
    fn must_wait_for_a_branch(&self, prd: &Prd) -> bool {
        let is_unplanned = prd.branch == PrdBranch::Unplanned;
        let mut others = self.prds.values().filter(|other| {
            other.prd.project == prd.project
                && other.prd.number != prd.number
                && !self.branch_faults.contains_key(&other.prd.number)
        });
        others.any(|other| {
            let has_work = other.progress.done + other.progress.cancelled < other.progress.stories;
            let is_next = matches!(other.prd.branch, PrdBranch::Planned { .. })
                && other.prd.state == PrdState::Active
                && has_work;
            self.branches_asked.contains(&other.prd.number) || (is_unplanned && is_next)
        })
    }

    /// Gives the next PRD of the project its turn.
    fn ensure_branches(&mut self, step: &mut Step, project: ProjectId) {
        let of_project = self.prds.values().filter(|live| live.prd.project == project);
        for prd in of_project.map(|live| live.prd.number).collect::<Vec<_>>() {
            self.ensure_branch(step, prd);
        }
    }

    pub(super) fn on_branch(&mut self, step: &mut Step, number: PrdNumber, result: BranchResult) {
        // Answered, whether or not the PRD is still there: nobody waits for it any more.
        self.branches_asked.remove(&number);
        let Some(mut prd) = self.prds.get(&number).map(|live| live.prd.clone()) else {
            for project in self.projects.keys().copied().collect::<Vec<_>>() {
                self.ensure_branches(step, project);
            }
            return;
        };
        let project = prd.project;
        match (result, &prd.branch) {
            (BranchResult::Planned { name, at }, PrdBranch::Unplanned) => {
                prd.branch = PrdBranch::Planned { name, at };
                self.emit(step, Change::PrdMoved(Box::new(prd)));
            }
            (BranchResult::Made, PrdBranch::Planned { name, at }) => {
                let text = format!("{name} at {}", at.short());
                prd.branch = PrdBranch::Made { name: name.clone(), at: at.clone() };
                prd.updated_at = self.now;
                self.emit(step, Change::PrdMoved(Box::new(prd)));
                self.note(step, NoteKind::BranchMade, About::prd(number), &text);
            }
            (BranchResult::Taken, PrdBranch::Planned { .. }) => {
                prd.branch = PrdBranch::Unplanned;
                self.emit(step, Change::PrdMoved(Box::new(prd)));
            }
            (BranchResult::Failed { detail }, _) => {
                self.note(step, NoteKind::BranchFailed, About::prd(number), &detail);
                self.branch_faults.insert(number, detail);
                // Marked as asked: it is not asked again before somebody acts or the engine starts anew.
                self.branches_asked.insert(number);
                return self.ensure_branches(step, project);
            }
            // Told twice, as after a restart.
            (BranchResult::Planned { .. } | BranchResult::Made | BranchResult::Taken, _) => return,
        }
        self.branch_faults.remove(&number);
        self.ensure_branch(step, number);
        self.ensure_branches(step, project);
    }

    /// Looks at a PRD after one of its stories ended: lands it by itself where that is wished, and completes one
    /// that has nothing to land.
    pub(super) fn settle_prd(&mut self, step: &mut Step, number: PrdNumber) {
        let Some(live) = self.prds.get(&number) else { return };
        let prd = live.prd.clone();
        let progress = live.progress;
        let all_ended = progress.done + progress.cancelled == progress.stories;
        if prd.state != PrdState::Active || !all_ended {
            return;
        }
        if !prd.is_collection && prd.branch == PrdBranch::Unplanned {
            return self.complete(step, number);
        }
        let project = self.projects.get(&prd.project).map(|p| p.settings.clone()).unwrap_or_default();
        let auto_land = prd.settings.over(&project).auto_land.unwrap_or(false);
        if auto_land && progress.done > 0 && self.landing_of(number).is_none() {
            self.queue_landing(step, number);
        }
    }

    pub(super) fn complete_landed(&mut self, step: &mut Step, number: PrdNumber) {
        let Some(live) = self.prds.get(&number) else { return };
        let all_ended = live.progress.done + live.progress.cancelled == live.progress.stories;
        if all_ended && !live.prd.is_collection {
            self.complete(step, number);
        }
    }

    pub(super) fn complete(&mut self, step: &mut Step, number: PrdNumber) {
        let Some(mut prd) = self.prds.get(&number).map(|live| live.prd.clone()) else { return };
        prd.state = PrdState::Completed { at: self.now };
        prd.updated_at = self.now;
        self.emit(step, Change::PrdMoved(Box::new(prd)));
        self.note(step, NoteKind::PrdCompleted, About::prd(number), "");
    }

    /// The PRD's landing that has not ended, if any.
    pub(super) fn landing_of(&self, number: PrdNumber) -> Option<TaskId> {
        let live = self.prds.get(&number)?;
        let is_landing = |id: &&TaskId| {
            self.tasks.get(id).is_some_and(|t| t.task.kind == TaskKind::Land && !t.task.state.is_final())
        };
        live.tasks.iter().find(is_landing).copied()
    }

    /// Puts the PRD's branch into the base's merge queue. Whoever calls has checked that it has a branch.
    pub(super) fn queue_landing(&mut self, step: &mut Step, number: PrdNumber) -> Option<TaskId> {
        let prd = self.prds.get(&number).map(|live| live.prd.clone())?;
        let (branch, base) = (prd.branch.made()?.clone(), self.base_of(&prd)?);
        let now = self.now;
        let id = TaskId(self.last_task + 1);
        let task = Task {
            id,
            project: Some(prd.project),
            prd: Some(number),
            story: None,
            kind: TaskKind::Land,
            title: format!("land {} on {base}", prd.key),
            priority: Priority::ABSENT,
            state: TaskState::Landing { since: now },
            attempts: 1,
            tally: Tally::default(),
            resume: None,
            scope: Vec::new(),
            version: 1,
            settings: Settings::default(),
            depends_on: Vec::new(),
            created_at: now,
        };
        self.emit(step, Change::TaskPut(Box::new(task)));
        let candidate = Candidate {
            id: AttemptId { task: id, number: AttemptNumber(1) },
            project: prd.project,
            target: base,
            source: Source::Branch(branch),
            state: CandidateState::Waiting,
            remerges: 0,
            queued_at: now,
            priority: Priority::ABSENT,
            flakes: 0,
            feedback: None,
            resume_at: None,
        };
        let queue = (candidate.project, candidate.target.clone());
        self.emit(step, Change::CandidatePut(Box::new(candidate)));
        self.advance_queue(step, &queue);
        Some(id)
    }
}
