//! What people ask for. A refused command changes nothing.

use super::checkpoints::chosen;
use super::import::Naming;
use super::refusals::{conflict, has_placeholders};
use super::{About, Engine, Known, Step};
use crate::attempt::StopWhy;
use crate::candidate::{CandidateState, ReturnWhy, Source};
use crate::change::{Change, NoteKind};
use crate::checkpoint::{Checkpoint, Resume};
use crate::command::{AddTasks, Answer, Command, Done, FromCheckpoint, Place, Refusal, RefusalKind, Verdict};
use crate::id::{BranchName, PrdKey, PrdNumber, ProjectId, TaskId};
use crate::limits::shorten;
use crate::row::{COLLECTION_KEY, Prd, PrdBranch, PrdContent, PrdState, Project};
use crate::settings::Settings;
use crate::task::{CancelReason, ParkReason, Tally, Task, TaskKind, TaskState};

impl Engine {
    pub(super) fn on_command(&mut self, step: &mut Step, command: Command, known: Known) -> Answer {
        let stories = known.stories.clone();
        let prds = known.prds.clone();
        let stored = known.tasks.clone();
        let checkpoints = known.checkpoints.clone();
        let naming = Naming { free_key: known.free_key.clone(), source: known.source.clone() };
        self.admit(step, known);
        match command {
            Command::AddProject { top, common_dir, base, settings } => {
                Ok(self.add_project(step, top, common_dir, base, *settings))
            }
            Command::ImportPrd(import) => self.import(step, *import, &prds, stories, naming),
            Command::Approve { prd } => self.approve(step, prd),
            Command::Abandon { prd, reason } => self.abandon(step, prd, reason),
            Command::Complete { prd, force } => self.complete_asked(step, prd, force),
            Command::Land { prd, partial } => self.land_asked(step, prd, partial),
            Command::AddTasks(add) => self.add_tasks(step, *add),
            Command::AddDependency { task, on } => self.add_dependency(step, task, on, &stored),
            Command::Cancel { tasks } => self.cancel(step, &tasks),
            Command::Retry { task, from: None } => self.retry(step, task),
            Command::Retry { task, from: Some(from) } => self.retry_from(step, task, from, &checkpoints),
            Command::Checkpoint { task } => self.checkpoint_asked(step, task),
            Command::Focus { on } => Ok(self.set_focus(step, on)),
            Command::FocusAlso { prd } => {
                let on = self.focus.clone().map(|focus| focus.into_iter().chain([prd]).collect());
                Ok(self.set_focus(step, on))
            }
            Command::SetSlots { slots } => {
                self.slots = slots;
                changed(format!("{slots} attempts at once"))
            }
            Command::SetPrdsAtOnce { prds } => {
                self.prds_at_once = prds.clamp(1, self.limits.prds_at_once_max);
                changed(format!("{} PRDs at once", self.prds_at_once))
            }
            Command::Hold { prd } => self.hold(step, prd),
            Command::Review { task, verdict } => self.review(step, task, verdict),
            Command::Stop { grace_ms, then } => Ok(self.stop_asked(step, grace_ms, then)),
        }
    }

    /// Takes rows from the store in, so that a command can speak of what is no longer live.
    fn admit(&mut self, step: &mut Step, known: Known) {
        for (prd, progress) in known.prds {
            if !self.prds.contains_key(&prd.number) {
                let number = prd.number;
                let own = self.tasks.values().filter(|live| live.task.prd == Some(number));
                let own: std::collections::BTreeSet<_> = own.map(|live| live.task.id).collect();
                let has_own = !own.is_empty();
                self.put_prd(&prd, Some(progress));
                if let Some(live) = self.prds.get_mut(&number) {
                    live.tasks = own;
                }
                // The policy of its tasks that are still ending is known again.
                if has_own {
                    self.recount_unmet(step);
                }
            }
        }
        for task in known.tasks {
            if !self.tasks.contains_key(&task.id) {
                // Who waited for it before it was forgotten is listed there still.
                for on in &task.depends_on {
                    if let Some(live) = self.tasks.get_mut(on) {
                        live.dependents.retain(|id| *id != task.id);
                    }
                }
                let progress = task.prd.and_then(|prd| self.prds.get(&prd)).map(|live| live.progress);
                let prd = task.prd;
                self.put_task(task);
                // The PRD's numbers from the store count this task already.
                if let (Some(progress), Some(live)) = (progress, prd.and_then(|prd| self.prds.get_mut(&prd)))
                {
                    live.progress = progress;
                }
            }
        }
    }

    fn add_project(
        &mut self,
        step: &mut Step,
        top: String,
        common_dir: String,
        base: BranchName,
        settings: Settings,
    ) -> Done {
        let known = self.projects.values().find(|p| p.common_dir == common_dir).cloned();
        let is_new = known.is_none();
        let project = Project {
            id: known.as_ref().map_or(ProjectId(self.last_project + 1), |p| p.id),
            created_at: known.as_ref().map_or(self.now, |p| p.created_at),
            // The base of the first day stays: a person who looks at another branch tomorrow has not moved it.
            base: known.as_ref().map_or(base, |p| p.base.clone()),
            top,
            common_dir,
            settings,
        };
        let id = project.id;
        if known.as_ref() != Some(&project) {
            let text = project.top.clone();
            self.emit(step, Change::ProjectPut(Box::new(project)));
            if is_new {
                self.note(step, NoteKind::ProjectAdded, About::default(), &text);
            }
            self.recount_unmet(step);
        }
        Done::Project { project: id }
    }

    fn live_prd(&self, number: PrdNumber) -> Result<Prd, Refusal> {
        let refusal = || Refusal::new(RefusalKind::NotFound, format!("there is no PRD number {number}"));
        self.prds.get(&number).map(|live| live.prd.clone()).ok_or_else(refusal)
    }

    pub(super) fn approve(&mut self, step: &mut Step, number: PrdNumber) -> Answer {
        let mut prd = self.live_prd(number)?;
        if prd.state == PrdState::Active {
            return changed(format!("{} is active already", prd.key));
        }
        if prd.state != PrdState::Draft {
            return Err(conflict(format!("{} is {} and stays so", prd.key, prd.state.name())));
        }
        if prd.has_placeholders {
            return Err(has_placeholders(&prd.key));
        }
        prd.state = PrdState::Active;
        prd.updated_at = self.now;
        let key = prd.key.clone();
        self.emit(step, Change::PrdMoved(Box::new(prd)));
        self.note(step, NoteKind::PrdApproved, About::prd(number), "");
        let tasks = self.tasks_of(number);
        self.settle(step, tasks);
        self.ensure_branch(step, number);
        self.settle_prd(step, number);
        changed(format!("{key} is approved"))
    }

    /// What runs is ended with its own grace and nothing is spent; what waits to land still lands.
    fn hold(&mut self, step: &mut Step, number: PrdNumber) -> Answer {
        let mut prd = self.live_prd(number)?;
        if prd.is_collection {
            return Err(
                conflict("the collection of single tasks is not stopped").hint("cancel its tasks instead")
            );
        }
        if prd.state != PrdState::Active {
            return Err(conflict(format!(
                "{} is {}; only an active PRD is stopped",
                prd.key,
                prd.state.name()
            )));
        }
        prd.state = PrdState::Draft;
        prd.updated_at = self.now;
        let key = prd.key.clone();
        self.emit(step, Change::PrdMoved(Box::new(prd)));
        self.note(step, NoteKind::PrdHeld, About::prd(number), "");
        let tasks = self.tasks_of(number);
        let running: Vec<_> = tasks.iter().filter(|task| self.attempts.contains_key(task)).copied().collect();
        for task in &running {
            self.stop_attempt(step, *task, StopWhy::EngineStops);
        }
        self.settle(step, tasks);
        changed(match running.len() {
            0 => format!("{key} is stopped; nothing of it ran"),
            1 => format!("{key} is stopped; its attempt is being ended"),
            n => format!("{key} is stopped; its {n} attempts are being ended"),
        })
    }

    pub(super) fn tasks_of(&self, number: PrdNumber) -> Vec<TaskId> {
        self.prds.get(&number).map(|live| live.tasks.iter().copied().collect()).unwrap_or_default()
    }

    fn abandon(&mut self, step: &mut Step, number: PrdNumber, reason: String) -> Answer {
        let mut prd = self.live_prd(number)?;
        if prd.is_collection {
            return Err(
                conflict("the collection of single tasks is not abandoned").hint("cancel its tasks instead")
            );
        }
        let next = PrdState::Abandoned { at: self.now, reason: reason.clone() };
        if !prd.state.may_become(&next) {
            return Err(conflict(format!("{} is {} and stays so", prd.key, prd.state.name())));
        }
        if let Some(task) = self.tasks_of(number).into_iter().find(|id| self.is_moving_a_ref(*id)) {
            return Err(Refusal::new(RefusalKind::Busy, format!("task {task} is landing this moment"))
                .hint("ask again in a second"));
        }
        prd.state = next;
        prd.updated_at = self.now;
        let key = prd.key.clone();
        self.emit(step, Change::PrdMoved(Box::new(prd)));
        self.note(step, NoteKind::PrdAbandoned, About::prd(number), &reason);
        for task in self.tasks_of(number) {
            self.cancel_one(step, task);
        }
        changed(format!("{key} is abandoned"))
    }

    fn complete_asked(&mut self, step: &mut Step, number: PrdNumber, force: bool) -> Answer {
        let prd = self.live_prd(number)?;
        if prd.state != PrdState::Active || prd.is_collection {
            let state = if prd.is_collection { "a collection of single tasks" } else { prd.state.name() };
            return Err(conflict(format!("{} is {state}; only an active PRD is completed", prd.key)));
        }
        let open = self.open_stories(number);
        if open > 0 && !force {
            return Err(conflict(format!("{open} stories of {} have not landed", prd.key))
                .hint("`prd show` lists them; --force cancels them"));
        }
        if let Some(task) = self.tasks_of(number).into_iter().find(|id| self.is_moving_a_ref(*id)) {
            return Err(Refusal::new(RefusalKind::Busy, format!("task {task} is landing this moment")));
        }
        for task in self.tasks_of(number) {
            self.cancel_one(step, task);
        }
        // Cancelling the last open story may have completed it already.
        if self.prds.get(&number).is_some_and(|live| live.prd.state == PrdState::Active) {
            self.complete(step, number);
        }
        changed(format!("{} is completed", prd.key))
    }

    fn open_stories(&self, number: PrdNumber) -> u32 {
        self.prds.get(&number).map_or(0, |live| {
            let progress = live.progress;
            progress.stories - progress.done - progress.cancelled
        })
    }

    fn land_asked(&mut self, step: &mut Step, number: PrdNumber, partial: bool) -> Answer {
        let prd = self.live_prd(number)?;
        if let Some(task) = self.landing_of(number) {
            if self.tasks.get(&task).is_some_and(|t| matches!(t.task.state, TaskState::Parked { .. })) {
                return self.retry(step, task);
            }
            return Ok(Done::Tasks { tasks: vec![task] });
        }
        if matches!(prd.state, PrdState::Abandoned { .. } | PrdState::Draft) {
            return Err(conflict(format!(
                "{} is {}; only an active or completed PRD lands",
                prd.key,
                prd.state.name()
            )));
        }
        let open = self.open_stories(number);
        if open > 0 && !partial {
            return Err(conflict(format!("{open} stories of {} have not landed on its branch", prd.key))
                .hint("`prd show` lists them; --partial lands what is there"));
        }
        if prd.branch.made().is_none() {
            return Err(conflict(format!("{} has no branch: nothing of it has landed", prd.key)));
        }
        match self.queue_landing(step, number) {
            Some(task) => Ok(Done::Tasks { tasks: vec![task] }),
            None => Err(conflict(format!("{} has no base to land on", prd.key))),
        }
    }

    fn add_tasks(&mut self, step: &mut Step, add: AddTasks) -> Answer {
        if add.count == 0 || add.count > self.limits.count_max {
            let text = format!("a count of {} is outside 1 to {}", add.count, self.limits.count_max);
            return Err(Refusal::new(RefusalKind::Invalid, text));
        }
        self.refuse_overflow(add.count as usize)?;
        for on in &add.after {
            match self.tasks.get(on).map(|live| &live.task.state) {
                None => {
                    return Err(Refusal::new(
                        RefusalKind::NotFound,
                        format!("there is no task {on} to come after"),
                    ));
                }
                Some(TaskState::Cancelled { .. }) => {
                    return Err(conflict(format!(
                        "task {on} is cancelled: nothing would ever come after it"
                    )));
                }
                Some(_) => {}
            }
        }
        let (project, prd, kind) = match add.place {
            Place::Folder { project, folder } => (project, None, TaskKind::Command { folder }),
            Place::Worktree { project } => {
                (Some(project), Some(self.collection(step, project)?), TaskKind::Implement)
            }
        };
        let mut depends_on = add.after.clone();
        depends_on.sort_unstable();
        depends_on.dedup();
        let mut ids = Vec::with_capacity(add.count as usize);
        for _ in 0..add.count {
            let id = TaskId(self.last_task + 1);
            let task = Task {
                id,
                project,
                prd,
                story: None,
                kind: kind.clone(),
                title: add.title.clone(),
                priority: add.priority,
                state: TaskState::Blocked,
                attempts: 0,
                tally: Tally::default(),
                resume: None,
                scope: Vec::new(),
                version: 1,
                settings: add.settings.clone(),
                depends_on: depends_on.clone(),
                created_at: self.now,
            };
            self.emit(step, Change::TaskPut(Box::new(task)));
            ids.push(id);
        }
        let first = ids.first().copied();
        let text = if ids.len() == 1 { add.title } else { format!("{} times: {}", ids.len(), add.title) };
        self.note(step, NoteKind::TaskAdded, About { prd, task: first, attempt: None }, &text);
        self.settle(step, ids.clone());
        if let Some(prd) = prd {
            self.ensure_branch(step, prd);
        }
        Ok(Done::Tasks { tasks: ids })
    }

    pub(super) fn refuse_overflow(&self, more: usize) -> Result<(), Refusal> {
        let most = self.limits.tasks_max;
        if self.tasks.len() + more > most {
            let text = format!(
                "{} tasks are unfinished; with {more} more they would exceed {most}",
                self.tasks.len()
            );
            return Err(Refusal::new(RefusalKind::Busy, text).hint("let some finish, or cancel some"));
        }
        Ok(())
    }

    /// The project's collection of single tasks, made when first needed.
    fn collection(&mut self, step: &mut Step, project: ProjectId) -> Result<PrdNumber, Refusal> {
        if !self.projects.contains_key(&project) {
            return Err(Refusal::new(RefusalKind::NotFound, format!("there is no project {project}")));
        }
        if let Some(live) =
            self.prds.values().find(|live| live.prd.project == project && live.prd.is_collection)
        {
            return Ok(live.prd.number);
        }
        let number = PrdNumber(self.last_prd + 1);
        let name = |error| Refusal::new(RefusalKind::Failed, format!("{error}"));
        let prd = Prd {
            number,
            project,
            key: PrdKey::new(COLLECTION_KEY).map_err(name)?,
            title: "Single tasks".into(),
            state: PrdState::Active,
            wanted_branch: BranchName::new("feature/tasks").map_err(name)?,
            branch: PrdBranch::Unplanned,
            settings: Settings::default(),
            has_own_key: true,
            is_collection: true,
            has_placeholders: false,
            created_at: self.now,
            updated_at: self.now,
        };
        let content =
            PrdContent { description: "Tasks that belong to no PRD".into(), ..PrdContent::default() };
        self.emit(step, Change::PrdPut { prd: Box::new(prd), content: Box::new(content) });
        Ok(number)
    }

    fn cancel(&mut self, step: &mut Step, tasks: &[TaskId]) -> Answer {
        for id in tasks {
            let Some(live) = self.tasks.get(id) else {
                return Err(Refusal::new(RefusalKind::NotFound, format!("there is no task {id}")));
            };
            if matches!(live.task.state, TaskState::Done { .. }) {
                return Err(conflict(format!("task {id} is done")));
            }
            if self.is_moving_a_ref(*id) {
                return Err(Refusal::new(RefusalKind::Busy, format!("task {id} is landing this moment")));
            }
        }
        for id in tasks {
            self.cancel_one(step, *id);
        }
        let list: Vec<_> = tasks.iter().map(TaskId::to_string).collect();
        changed(format!("cancelled: {}", list.join(", ")))
    }

    /// A compare-and-swap is under way: too late to take it back.
    fn is_moving_a_ref(&self, task: TaskId) -> bool {
        self.candidates.get(&task).is_some_and(|c| matches!(c.state, CandidateState::Landing { .. }))
    }

    fn cancel_one(&mut self, step: &mut Step, id: TaskId) {
        let Some(state) = self.tasks.get(&id).map(|live| live.task.state.clone()) else { return };
        match state {
            TaskState::Done { .. } | TaskState::Cancelled { .. } => {}
            TaskState::Leased { .. } => self.stop_attempt(step, id, StopWhy::Cancelled),
            TaskState::Landing { .. } => {
                let Some(candidate) = self.candidates.get(&id).cloned() else { return };
                self.leave_train(step, candidate.id);
                self.give_back(step, candidate.id, ReturnWhy::Cancelled, None, None);
                self.cancel_now(step, id);
                self.go_on(step, &(candidate.project, candidate.target));
            }
            TaskState::Blocked | TaskState::Ready { .. } | TaskState::Parked { .. } => {
                self.cancel_now(step, id)
            }
        }
    }

    /// A retry that goes on from a checkpoint: the agent starts anew, whatever may wait to land.
    fn retry_from(
        &mut self,
        step: &mut Step,
        id: TaskId,
        from: FromCheckpoint,
        checkpoints: &[Checkpoint],
    ) -> Answer {
        let resume = chosen(id, from, checkpoints)?;
        self.retry_on(step, id, Some(resume))
    }

    fn retry(&mut self, step: &mut Step, id: TaskId) -> Answer {
        let state = self.tasks.get(&id).map(|live| &live.task.state);
        if let Some(TaskState::Parked { reason: reason @ ParkReason::Review, .. }) = state {
            return Err(
                conflict(format!("the work of task {id} waits for your review")).hint(reason.next(id))
            );
        }
        self.retry_on(step, id, None)
    }

    fn retry_on(&mut self, step: &mut Step, id: TaskId, resume: Option<Resume>) -> Answer {
        let Some(task) = self.tasks.get(&id).map(|live| live.task.clone()) else {
            return Err(Refusal::new(RefusalKind::NotFound, format!("there is no task {id}")));
        };
        let now = self.now;
        match &task.state {
            TaskState::Done { .. } => return Err(conflict(format!("task {id} is done"))),
            TaskState::Leased { .. } => return Err(conflict(format!("task {id} is running"))),
            TaskState::Landing { .. } => return Err(conflict(format!("task {id} is landing"))),
            TaskState::Blocked => {
                let why = self.why(id).map(|why| why.reasons.join("; ")).unwrap_or_default();
                return Err(conflict(format!("task {id} is blocked: {why}")));
            }
            TaskState::Cancelled { reason, .. } => {
                // All PRDs that have not ended are in memory.
                let is_open = |prd| self.prds.get(&prd).is_some_and(|live| !live.prd.state.is_final());
                let prd_open = task.prd.is_none_or(is_open);
                if !prd_open || *reason == CancelReason::Removed || task.kind == TaskKind::Land {
                    return Err(conflict(format!("task {id} is cancelled for good")));
                }
                // Counts its dependencies anew: those that had been forgotten are in memory again.
                self.put_task(task.clone());
                self.open_again(step, id, resume);
            }
            TaskState::Ready { .. } => self.move_task(step, id, |moved| {
                moved.state = TaskState::Ready { since: now, not_before: now };
                moved.resume = resume.or(moved.resume.take());
            }),
            TaskState::Parked { reason, .. } => {
                // Checks that could not be run say nothing against the candidate of the latest attempt.
                let keeps_candidate = reason.keeps_candidate() || matches!(reason, ParkReason::SetUp { .. });
                if resume.is_none()
                    && keeps_candidate
                    && self.candidates.get(&id).is_some_and(|c| c.id == task.attempt())
                {
                    self.land_again(step, id);
                } else {
                    self.open_again(step, id, resume);
                }
            }
        }
        let about = self.about(id);
        self.note(step, NoteKind::TaskRetried, about, "");
        if let Some(prd) = task.prd {
            // Asked and not answered yet: the answer is on its way.
            if self.branch_faults.remove(&prd).is_some() {
                self.branches_asked.remove(&prd);
            }
            self.ensure_branch(step, prd);
        }
        Ok(Done::Tasks { tasks: vec![id] })
    }

    fn review(&mut self, step: &mut Step, id: TaskId, verdict: Verdict) -> Answer {
        let is_waiting =
            |task: &Task| matches!(&task.state, TaskState::Parked { reason: ParkReason::Review, .. });
        if !self.tasks.get(&id).is_some_and(|live| is_waiting(&live.task)) {
            return Err(conflict(format!("no work of task {id} waits for a review")));
        }
        match verdict {
            Verdict::Approve => self.retry_on(step, id, None),
            Verdict::Reject { comment } => {
                let Some(mut candidate) = self.candidates.get(&id).cloned() else {
                    return Err(conflict(format!("task {id} has no work to review")));
                };
                candidate.feedback = Some(shorten(&comment, self.limits.feedback_bytes_max));
                candidate.resume_at = match &candidate.source {
                    Source::Commit(commit) => Some(commit.clone()),
                    Source::Branch(_) => None,
                };
                self.emit(step, Change::CandidatePut(Box::new(candidate)));
                let about = self.about(id);
                self.note(step, NoteKind::Rejected, about, &comment);
                self.open_again(step, id, None);
                Ok(Done::Tasks { tasks: vec![id] })
            }
        }
    }

    fn open_again(&mut self, step: &mut Step, id: TaskId, resume: Option<Resume>) {
        self.move_task(step, id, |moved| {
            moved.state = TaskState::Blocked;
            moved.tally = Tally::default();
            moved.resume = resume;
        });
        self.settle(step, [id]);
    }

    fn land_again(&mut self, step: &mut Step, id: TaskId) {
        let now = self.now;
        self.move_task(step, id, |moved| moved.state = TaskState::Landing { since: now });
        let Some(mut candidate) = self.candidates.get(&id).cloned() else { return };
        candidate.state = CandidateState::Waiting;
        candidate.remerges = 0;
        candidate.queued_at = now;
        let queue = (candidate.project, candidate.target.clone());
        self.emit(step, Change::CandidatePut(Box::new(candidate)));
        self.advance_queue(step, &queue);
    }

    /// A checkout that was dirty may be clean by now; if not, it is parked again. Once for each start of an engine, which
    /// a person asks for.
    pub(super) fn land_what_was_in_the_way(&mut self, step: &mut Step) {
        let was_in_the_way = |live: &super::LiveTask| {
            matches!(&live.task.state, TaskState::Parked { reason: ParkReason::CheckoutDirty { .. }, .. })
                && self.candidates.get(&live.task.id).is_some_and(|c| c.id == live.task.attempt())
        };
        let mut tasks: Vec<_> =
            self.tasks.values().filter(|live| was_in_the_way(live)).map(|live| live.task.id).collect();
        tasks.sort_unstable();
        for task in tasks {
            self.land_again(step, task);
            let about = self.about(task);
            self.note(step, NoteKind::TaskRetried, about, "its target's checkout may be clean by now");
        }
    }

    fn set_focus(&mut self, step: &mut Step, on: Option<Vec<PrdNumber>>) -> Done {
        self.focus = on.map(|prds| prds.into_iter().collect());
        let prds: Vec<_> = self.prds.keys().copied().collect();
        for prd in prds {
            // The sets hold what may start: take all out under the old focus's rules, put back under the new.
            self.relist_prd(prd);
            self.ensure_branch(step, prd);
        }
        Done::Changed { text: "focus set".into() }
    }

    /// Counts every task's unmet dependencies anew, after a policy changed, and puts tasks where they belong.
    pub(super) fn recount_unmet(&mut self, step: &mut Step) {
        let ids: Vec<_> = self.tasks.keys().copied().collect();
        for id in &ids {
            let Some(live) = self.tasks.get(id) else { continue };
            let policy = self.policy_of(&live.task);
            let is_unmet = |on: &&TaskId| {
                self.tasks.get(on).is_some_and(|on| !super::apply::is_met(&on.task.state, policy))
            };
            let unmet = live.task.depends_on.iter().filter(is_unmet).count() as u32;
            if let Some(live) = self.tasks.get_mut(id) {
                live.unmet = unmet;
            }
        }
        let mut ids = ids;
        ids.sort_unstable();
        self.settle(step, ids);
    }
}

fn changed(text: String) -> Answer {
    Ok(Done::Changed { text })
}
