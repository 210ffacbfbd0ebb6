//! The merge queues: one candidate at a time per target is merged, checked and landed.

use super::attempts::Backoff;
use super::{About, Engine, Step, Target};
use crate::candidate::{Candidate, CandidateState, MergedCommit, ReturnWhy, Source};
use crate::change::{Change, NoteKind};
use crate::effect::Effect;
use crate::event::{BranchResult, CheckResult, LandResult, MergeResult};
use crate::id::{AttemptId, AttemptNumber, Oid, PrdNumber, ProjectId, TaskId};
use crate::limits::shorten;
use crate::priority::Priority;
use crate::row::{Prd, PrdBranch, PrdState};
use crate::settings::Settings;
use crate::task::{DoneHow, ParkReason, Tally, Task, TaskKind, TaskState};

impl Engine {
    /// Starts the first waiting candidate of a queue whose place is free.
    pub(super) fn advance_queue(&mut self, step: &mut Step, target: &Target) {
        if self.is_stopping() || self.under_way.contains_key(target) {
            return;
        }
        let Some(&(_, id)) = self.queues.get(target).and_then(|queue| queue.first()) else { return };
        self.move_candidate(step, id, |candidate| candidate.state = CandidateState::Merging);
        self.ask_for_candidate(step, id);
    }

    /// The effect that a candidate's state calls for; also what recovery asks for again.
    pub(super) fn ask_for_candidate(&self, step: &mut Step, id: AttemptId) {
        let Some(candidate) = self.candidates.get(&id.task) else { return };
        let project = candidate.project;
        let target = candidate.target.clone();
        match &candidate.state {
            CandidateState::Merging => step.effects.push(Effect::Merge {
                candidate: id,
                project,
                target,
                source: candidate.source.clone(),
                date: candidate.queued_at,
            }),
            CandidateState::Checking { merged } if !self.is_stopping() => {
                step.effects.push(Effect::Check { candidate: id, project, merged: merged.clone() });
            }
            CandidateState::Landing { merged } => step.effects.push(Effect::Land {
                candidate: id,
                project,
                target,
                merged: merged.clone(),
                follow: self.follower(candidate),
            }),
            CandidateState::Waiting
            | CandidateState::Checking { .. }
            | CandidateState::Landed { .. }
            | CandidateState::Returned { .. } => {}
        }
    }

    /// The branch of single tasks follows the base once it has landed there, so that the next task starts from
    /// what everybody sees.
    fn follower(&self, candidate: &Candidate) -> Option<crate::id::BranchName> {
        let task = &self.tasks.get(&candidate.id.task)?.task;
        let prd = &self.prds.get(&task.prd?)?.prd;
        match &candidate.source {
            Source::Branch(branch) if prd.is_collection => Some(branch.clone()),
            Source::Branch(_) | Source::Commit(_) => None,
        }
    }

    fn move_candidate(&mut self, step: &mut Step, id: AttemptId, edit: impl FnOnce(&mut Candidate)) {
        let Some(mut candidate) = self.candidates.get(&id.task).cloned() else { return };
        let from = candidate.state.clone();
        edit(&mut candidate);
        debug_assert!(
            from == candidate.state || from.may_become(&candidate.state),
            "candidate {id}: {} -> {}",
            from.name(),
            candidate.state.name()
        );
        self.emit(step, Change::CandidatePut(Box::new(candidate)));
    }

    /// The candidate with exactly this id in a state that `expected` accepts; others are stale news.
    fn expected(&self, id: AttemptId, expected: impl Fn(&CandidateState) -> bool) -> Option<Candidate> {
        self.candidates.get(&id.task).filter(|c| c.id == id && expected(&c.state)).cloned()
    }

    pub(super) fn on_merged(&mut self, step: &mut Step, id: AttemptId, result: MergeResult) {
        let Some(candidate) = self.expected(id, |state| *state == CandidateState::Merging) else { return };
        let target = (candidate.project, candidate.target.clone());
        match result {
            MergeResult::Merged(merged) => self.check_or_land(step, id, merged),
            // Whoever put it there has not checked it.
            MergeResult::Contained { commit, tree } => {
                self.check_or_land(step, id, MergedCommit { onto: commit.clone(), commit, tree });
            }
            MergeResult::Conflict { files, text } => self.conflict(step, id, &files, &text),
            MergeResult::Fault { detail } => {
                self.stuck(step, id, ReturnWhy::GitFault, ParkReason::Git { detail })
            }
        }
        self.advance_queue(step, &target);
    }

    fn check_or_land(&mut self, step: &mut Step, id: AttemptId, merged: MergedCommit) {
        let has_checks = self
            .tasks
            .get(&id.task)
            .is_some_and(|live| self.settings_of(&live.task).checks.is_some_and(|checks| !checks.is_empty()));
        if has_checks {
            self.move_candidate(step, id, |candidate| candidate.state = CandidateState::Checking { merged });
            self.ask_for_candidate(step, id);
        } else {
            self.land_merged(step, id, merged);
        }
    }

    /// Moves the target, unless it stands there already.
    fn land_merged(&mut self, step: &mut Step, id: AttemptId, merged: MergedCommit) {
        if merged.onto == merged.commit {
            return self.landed(step, id, merged.commit);
        }
        self.move_candidate(step, id, |candidate| candidate.state = CandidateState::Landing { merged });
        self.ask_for_candidate(step, id);
    }

    fn conflict(&mut self, step: &mut Step, id: AttemptId, files: &[String], text: &str) {
        let detail = format!("conflict in {}", files.join(", "));
        let about = self.about(id.task);
        self.note(step, NoteKind::Conflict, about, &detail);
        let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
        if task.kind == TaskKind::Land {
            return self.stuck(step, id, ReturnWhy::Conflict, ParkReason::BaseConflict { detail });
        }
        let feedback = shorten(text, self.limits.feedback_bytes_max);
        self.give_back(step, id, ReturnWhy::Conflict, Some(feedback), None);
        let conflicts = task.tally.conflicts + 1;
        if conflicts >= self.limits.conflicts_max {
            let reason = ParkReason::TooManyConflicts { conflicts, detail };
            return self.park_with(step, id.task, reason, |tally| tally.conflicts = conflicts);
        }
        self.make_ready(step, id, 0, |tally| tally.conflicts = conflicts);
    }

    pub(super) fn on_checked(&mut self, step: &mut Step, id: AttemptId, commit: &str, result: CheckResult) {
        let Some(candidate) = self.expected(id, |state| matches!(state, CandidateState::Checking { .. }))
        else {
            return;
        };
        let CandidateState::Checking { merged } = candidate.state else { return };
        // Told twice, as after a restart, and meanwhile it was merged anew: this verdict is another tree's.
        if commit.is_empty() || !merged.commit.as_str().starts_with(commit) {
            return;
        }
        let target = (candidate.project, candidate.target);
        match result {
            CheckResult::Passed => self.land_merged(step, id, merged),
            // We ended it ourselves: it says nothing of the tree, and is asked for again after the next start.
            CheckResult::Failed { .. } | CheckResult::Fault { .. } | CheckResult::Lost { .. }
                if self.is_stopping() => {}
            CheckResult::Failed { text } => self.red_check(step, id, merged.commit, &text),
            CheckResult::Fault { detail } => {
                self.stuck(step, id, ReturnWhy::CheckFailed, ParkReason::CheckSetUp { detail });
            }
            // Once more from the merge; counted with the other reasons to merge anew, so that it ends.
            CheckResult::Lost { detail } if candidate.remerges + 1 >= self.limits.misfortunes_max => {
                let reason = ParkReason::ChecksLost { detail };
                self.stuck(step, id, ReturnWhy::CheckFailed, reason);
            }
            CheckResult::Lost { .. } => self.move_candidate(step, id, |c| {
                c.state = CandidateState::Waiting;
                c.remerges += 1;
            }),
        }
        self.advance_queue(step, &target);
    }

    fn red_check(&mut self, step: &mut Step, id: AttemptId, merged: Oid, text: &str) {
        let about = self.about(id.task);
        let detail = text.lines().next().unwrap_or("the check failed").to_owned();
        self.note(step, NoteKind::CheckFailed, about, &detail);
        if self.tasks.get(&id.task).is_some_and(|live| live.task.kind == TaskKind::Land) {
            return self.stuck(step, id, ReturnWhy::CheckFailed, ParkReason::BaseCheckFailed { detail });
        }
        let feedback = shorten(text, self.limits.feedback_bytes_max);
        self.give_back(step, id, ReturnWhy::CheckFailed, Some(feedback), Some(merged));
        self.count_failure(step, id, &detail, Backoff::No);
    }

    pub(super) fn on_landed(&mut self, step: &mut Step, id: AttemptId, result: LandResult) {
        let Some(candidate) = self.expected(id, |state| matches!(state, CandidateState::Landing { .. }))
        else {
            return;
        };
        let CandidateState::Landing { merged } = candidate.state else { return };
        let target = (candidate.project, candidate.target);
        match result {
            LandResult::Landed => self.landed(step, id, merged.commit),
            LandResult::TargetMoved => {
                let about = self.about(id.task);
                let text = format!("{} moved while the merge was checked; merging anew", target.1);
                self.note(step, NoteKind::TargetMoved, about, &text);
                let remerges = candidate.remerges + 1;
                if remerges >= self.limits.remerges_max {
                    let reason = ParkReason::TargetKeepsMoving { remerges };
                    self.stuck(step, id, ReturnWhy::TargetKeepsMoving, reason);
                } else {
                    self.move_candidate(step, id, |c| {
                        c.state = CandidateState::Waiting;
                        c.remerges = remerges;
                    });
                }
            }
            LandResult::CheckoutDirty { checkout, detail } => {
                let reason = ParkReason::CheckoutDirty { checkout, detail };
                self.stuck(step, id, ReturnWhy::CheckoutDirty, reason);
            }
            LandResult::Fault { detail } => {
                self.stuck(step, id, ReturnWhy::GitFault, ParkReason::Git { detail })
            }
        }
        self.advance_queue(step, &target);
    }

    fn landed(&mut self, step: &mut Step, id: AttemptId, commit: Oid) {
        let at = self.now;
        let Some(task) = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
        let target = self.candidates.get(&id.task).map(|c| c.target.to_string()).unwrap_or_default();
        self.move_candidate(step, id, |c| c.state = CandidateState::Landed { commit: commit.clone(), at });
        let about = self.about(id.task);
        self.note(step, NoteKind::Landed, about, &format!("{} on {target}", commit.short()));
        self.move_task(step, id.task, |moved| {
            moved.state = TaskState::Done { at, how: DoneHow::Landed { commit } }
        });
        let Some(prd) = task.prd else { return };
        if task.kind == TaskKind::Land {
            self.complete_landed(step, prd);
        } else {
            self.settle_prd(step, prd);
        }
    }

    /// Returns a candidate and parks its task; the candidate is good as it is, and a retry lands it.
    fn stuck(&mut self, step: &mut Step, id: AttemptId, why: ReturnWhy, reason: ParkReason) {
        self.give_back(step, id, why, None, None);
        self.park(step, id.task, reason);
    }

    pub(super) fn give_back(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        why: ReturnWhy,
        feedback: Option<String>,
        resume_at: Option<Oid>,
    ) {
        let at = self.now;
        self.move_candidate(step, id, |candidate| {
            candidate.state = CandidateState::Returned { why, at };
            candidate.feedback = feedback;
            candidate.resume_at = resume_at;
        });
    }

    // The PRD's own branch, and its way to the base.

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

    fn complete_landed(&mut self, step: &mut Step, number: PrdNumber) {
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
            feedback: None,
            resume_at: None,
        };
        let queue = (candidate.project, candidate.target.clone());
        self.emit(step, Change::CandidatePut(Box::new(candidate)));
        self.advance_queue(step, &queue);
        Some(id)
    }
}
