//! The merge queues. Of each target the first candidates are merged one upon the other (a train), checked together, and
//! land together; see [`super::train`] for what a red check means.

use super::attempts::Backoff;
use super::train::{self, Next};
use super::{Engine, Step, Target};
use crate::candidate::{Candidate, CandidateState, MergedCommit, ReturnWhy, Source};
use crate::change::{Change, NoteKind};
use crate::effect::{Car, Effect};
use crate::event::{CheckResult, LandResult, MergeResult};
use crate::id::{AttemptId, BranchName, Oid};
use crate::limits::shorten;
use crate::settings::LandMethod;
use crate::task::{DoneHow, ParkReason, Task, TaskKind, TaskState};

impl Engine {
    /// Starts a train of the first waiting candidates, where none is under way.
    pub(super) fn advance_queue(&mut self, step: &mut Step, target: &Target) {
        if self.is_stopping() || self.trains.contains_key(target) {
            return;
        }
        let members = self.next_train(target);
        for id in &members {
            self.move_candidate(step, *id, |candidate| candidate.state = CandidateState::Merging);
        }
        self.ask_for_merges(step, target, &members);
    }

    /// Those that go together: the first of the queue, and who follows it with the same checks.
    fn next_train(&self, target: &Target) -> Vec<AttemptId> {
        let Some(queue) = self.queues.get(target) else { return Vec::new() };
        let task = |id: &AttemptId| self.tasks.get(&id.task).map(|live| &live.task);
        let mut waiting = queue.iter().map(|(_, id)| *id);
        let Some(first) = waiting.next() else { return Vec::new() };
        let Some(settings) = task(&first).map(|task| self.settings_of(task)) else { return vec![first] };
        let train_max =
            settings.train_max.unwrap_or(self.limits.train_max).clamp(1, self.limits.train_max_max);
        let fits = |id: &AttemptId| {
            task(id).is_some_and(|task| {
                let other = self.settings_of(task);
                (&other.checks, other.check_timeout_ms, &other.env)
                    == (&settings.checks, settings.check_timeout_ms, &settings.env)
            })
        };
        let others = waiting.take_while(fits).take(train_max as usize - 1);
        std::iter::once(first).chain(others).collect()
    }

    fn ask_for_merges(&self, step: &mut Step, target: &Target, members: &[AttemptId]) {
        let cars: Vec<_> = members.iter().filter_map(|id| self.car(*id)).collect();
        if !cars.is_empty() {
            step.effects.push(Effect::Merge { project: target.0, target: target.1.clone(), cars });
        }
    }

    fn car(&self, id: AttemptId) -> Option<Car> {
        let candidate = self.candidates.get(&id.task)?;
        let task = &self.tasks.get(&id.task)?.task;
        let method = match task.kind {
            TaskKind::Land => self.settings_of(task).land_method.unwrap_or_default(),
            // A PRD's branch shows what each story did, and when it landed.
            TaskKind::Implement | TaskKind::Command { .. } => LandMethod::Merge,
        };
        Some(Car { candidate: id, source: candidate.source.clone(), date: candidate.queued_at, method })
    }

    /// What the trains' states call for; also what recovery asks for again.
    pub(super) fn ask_for_trains(&mut self, step: &mut Step) {
        for target in self.trains.keys().cloned().collect::<Vec<_>>() {
            let mut merging = self.cars_of(&target);
            merging.retain(|car| car.state == CandidateState::Merging);
            merging.sort_by_key(|car| car.place(self.limits.priority_step_ms));
            let merging: Vec<_> = merging.iter().map(|car| car.id).collect();
            self.ask_for_merges(step, &target, &merging);
            self.ask_for_landing(step, &target);
        }
        self.ask_for_checks(step);
    }

    fn cars_of(&self, target: &Target) -> Vec<&Candidate> {
        let tasks = self.trains.get(target).into_iter().flatten();
        tasks.filter_map(|task| self.candidates.get(task)).collect()
    }

    /// The train of a target, in its order.
    pub(super) fn train_of(&self, target: &Target) -> Vec<AttemptId> {
        train::in_order(self.cars_of(target))
    }

    fn members_in(
        &self,
        target: &Target,
        is_wanted: impl Fn(&CandidateState) -> bool,
    ) -> Vec<(AttemptId, MergedCommit)> {
        let member = |id: AttemptId| {
            let candidate = self.candidates.get(&id.task)?;
            is_wanted(&candidate.state).then(|| Some((id, candidate.merged()?.clone())))?
        };
        self.train_of(target).into_iter().filter_map(member).collect()
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

    // Merging.

    pub(super) fn on_merged(
        &mut self,
        step: &mut Step,
        target: &Target,
        results: Vec<(AttemptId, MergeResult)>,
    ) {
        let (mut is_first, mut is_broken) = (true, false);
        let is_alone = results.len() == 1;
        for (id, result) in results {
            if self.expected(id, |state| *state == CandidateState::Merging).is_none() {
                // Cancelled meanwhile: what was merged onto it stands on nothing that lands.
                is_broken |= matches!(result, MergeResult::Merged(_));
                continue;
            }
            match result {
                MergeResult::Merged(merged) if !is_broken => {
                    is_first = false;
                    self.couple(step, id, merged);
                }
                // Whoever put it there has not checked it.
                MergeResult::Contained { commit, tree } if is_first && !is_broken => {
                    is_first = false;
                    self.couple(step, id, MergedCommit { onto: commit.clone(), commit, tree });
                }
                MergeResult::Conflict { files, text } if is_first && !is_broken => {
                    self.conflict(step, id, &files, &text);
                }
                // A fault of the moment is not to set a whole train aside for a person.
                MergeResult::Fault { .. } if !is_alone && self.may_be_merged_anew(id) => {
                    self.move_candidate(step, id, |candidate| {
                        candidate.state = CandidateState::Waiting;
                        candidate.remerges += 1;
                    });
                }
                MergeResult::Fault { detail } => {
                    self.stuck(step, id, ReturnWhy::GitFault, ParkReason::Git { detail });
                }
                // What it met may yet be found red: its turn comes when that has landed or gone.
                MergeResult::Merged(_) | MergeResult::Contained { .. } | MergeResult::Conflict { .. } => {
                    self.move_candidate(step, id, |candidate| candidate.state = CandidateState::Waiting);
                }
            }
        }
        let untold = self.cars_of(target).into_iter().filter(|car| car.state == CandidateState::Merging);
        for id in untold.map(|car| car.id).collect::<Vec<_>>() {
            self.move_candidate(step, id, |candidate| candidate.state = CandidateState::Waiting);
        }
        self.go_on(step, target);
    }

    fn may_be_merged_anew(&self, id: AttemptId) -> bool {
        let remerges = self.candidates.get(&id.task).map_or(0, |candidate| candidate.remerges);
        remerges + 1 < self.limits.misfortunes_max
    }

    fn couple(&mut self, step: &mut Step, id: AttemptId, merged: MergedCommit) {
        self.move_candidate(step, id, |c| c.state = CandidateState::Checking { merged, reds: 0 });
    }

    /// The next step of a target's train, or the next train.
    pub(super) fn go_on(&mut self, step: &mut Step, target: &Target) {
        if !self.trains.contains_key(target) {
            self.checking.remove(target);
            self.advance_queue(step, target);
        } else if !self.has_checks(target) {
            self.land_up_to(step, target, usize::MAX);
        }
        // Where another train's checks have ended there is room for these.
        self.ask_for_checks(step);
    }

    /// Whether the cars of a train, which all have the same checks, have any.
    fn has_checks(&self, target: &Target) -> bool {
        let Some(task) = self.trains.get(target).and_then(|train| train.first()) else { return false };
        let task = self.tasks.get(task).map(|live| &live.task);
        task.is_some_and(|task| self.settings_of(task).checks.is_some_and(|checks| !checks.is_empty()))
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

    // Checking.

    /// Asks for the checks that the trains want next, of as many targets as may run at once.
    fn ask_for_checks(&mut self, step: &mut Step) {
        if self.is_stopping() {
            return;
        }
        // The train that has waited longest first.
        let mut targets: Vec<_> = self
            .trains
            .keys()
            .map(|target| (self.cars_of(target).iter().map(|car| car.queued_at).min(), target.clone()))
            .collect();
        targets.sort();
        for (_, target) in targets {
            if self.checking.len() >= self.limits.checks_at_once as usize {
                return;
            }
            if self.checking.contains_key(&target) || !self.has_checks(&target) {
                continue;
            }
            if let Some((id, merged, run)) = self.wanted_check(&target) {
                self.checking.insert(target.clone(), id);
                step.effects.push(Effect::Check { candidate: id, project: target.0, merged, run });
            }
        }
    }

    /// The car to check, its merge as seen from the target, and which run it is; none while a train is merged or lands.
    fn wanted_check(&self, target: &Target) -> Option<(AttemptId, MergedCommit, u32)> {
        let train = self.train_of(target);
        let cars: Vec<&Candidate> = train.iter().filter_map(|id| self.candidates.get(&id.task)).collect();
        if !cars.iter().all(|car| matches!(car.state, CandidateState::Checking { .. })) {
            return None;
        }
        let reds: Vec<u32> = cars.iter().map(|car| car.reds()).collect();
        match train::next(&reds)? {
            Next::Check { place, run } => {
                let onto = cars[0].merged()?.onto.clone();
                let merged = MergedCommit { onto, ..cars[place].merged()?.clone() };
                Some((cars[place].id, merged, run))
            }
            Next::Blame => None,
        }
    }

    pub(super) fn on_checked(
        &mut self,
        step: &mut Step,
        id: AttemptId,
        (commit, run): (&str, u32),
        result: CheckResult,
    ) {
        let Some(candidate) = self.expected(id, |state| matches!(state, CandidateState::Checking { .. }))
        else {
            return;
        };
        let CandidateState::Checking { merged, reds } = candidate.state.clone() else { return };
        // Told twice, as after a restart, or meanwhile it was merged anew: this verdict is another's.
        if commit.is_empty() || !merged.commit.as_str().starts_with(commit) || run != reds + 1 {
            return;
        }
        let target = (candidate.project, candidate.target.clone());
        let Some(place) = self.train_of(&target).iter().position(|car| *car == id) else { return };
        let is_ours_to_end = self.is_stopping() && result != CheckResult::Passed;
        self.checking.remove(&target);
        match result {
            CheckResult::Passed => {
                if reds > 0 {
                    self.call_flaky(step, id, &merged);
                }
                self.land_up_to(step, &target, place);
            }
            // We ended it ourselves: it says nothing of the tree, and is asked for again after the next start.
            CheckResult::Failed { .. } | CheckResult::Fault { .. } | CheckResult::Lost { .. }
                if is_ours_to_end => {}
            CheckResult::Failed { text } => self.red(step, id, place, &text),
            CheckResult::Fault { detail } => {
                self.uncouple_from(step, &target, place + 1);
                self.stuck(step, id, ReturnWhy::CheckFailed, ParkReason::CheckSetUp { detail });
            }
            // Once more from the merge; counted with the other reasons to merge anew, so that it ends.
            CheckResult::Lost { detail } if candidate.remerges + 1 >= self.limits.misfortunes_max => {
                self.uncouple_from(step, &target, place + 1);
                self.stuck(step, id, ReturnWhy::CheckFailed, ParkReason::ChecksLost { detail });
            }
            CheckResult::Lost { .. } => {
                self.uncouple_from(step, &target, 0);
                self.move_candidate(step, id, |c| c.remerges += 1);
            }
        }
        self.go_on(step, &target);
    }

    fn call_flaky(&mut self, step: &mut Step, id: AttemptId, merged: &MergedCommit) {
        let text = format!("{} was red and then green; it lands", merged.commit.short());
        let about = self.about(id.task);
        self.note(step, NoteKind::CheckFlaky, about, &text);
        self.move_candidate(step, id, |candidate| candidate.flakes += 1);
    }

    /// A red check: of several, whose fault it is is looked for; a first car is blamed after a second look.
    fn red(&mut self, step: &mut Step, id: AttemptId, place: usize, text: &str) {
        let Some(candidate) = self.candidates.get(&id.task).cloned() else { return };
        let CandidateState::Checking { merged, reds } = candidate.state else { return };
        let reds = reds + 1;
        if place > 0 || reds < train::REDS_TO_BLAME {
            return self.move_candidate(step, id, |c| c.state = CandidateState::Checking { merged, reds });
        }
        self.uncouple_from(step, &(candidate.project, candidate.target), 1);
        self.blame(step, id, merged.commit, text);
    }

    fn blame(&mut self, step: &mut Step, id: AttemptId, merged: Oid, text: &str) {
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

    /// The cars from this place on go back into the line: what they stand on will not land as it is.
    fn uncouple_from(&mut self, step: &mut Step, target: &Target, place: usize) {
        for id in self.train_of(target).into_iter().skip(place) {
            self.move_candidate(step, id, |candidate| candidate.state = CandidateState::Waiting);
        }
    }

    /// Takes a candidate out of its train, to be cancelled or put off: who stands on it is merged anew, who stands
    /// before it goes on. Its own state is the caller's to set.
    pub(super) fn leave_train(&mut self, step: &mut Step, id: AttemptId) {
        let Some(candidate) = self.candidates.get(&id.task) else { return };
        let target = (candidate.project, candidate.target.clone());
        let train = self.train_of(&target);
        let Some(place) = train.iter().position(|car| *car == id) else { return };
        if !matches!(candidate.state, CandidateState::Checking { .. }) {
            return;
        }
        let checked = self.checking.get(&target).copied();
        if let Some(checked) = checked.filter(|checked| train[place..].contains(checked)) {
            self.checking.remove(&target);
            step.effects.push(Effect::StopCheck { candidate: checked });
        }
        self.uncouple_from(step, &target, place + 1);
    }

    // Landing.

    /// The cars up to this place have passed: the target is to move to the last of them.
    fn land_up_to(&mut self, step: &mut Step, target: &Target, place: usize) {
        let cars = self.members_in(target, |state| matches!(state, CandidateState::Checking { .. }));
        for (id, merged) in cars.into_iter().take(place.saturating_add(1)) {
            if merged.onto == merged.commit {
                // The target holds it already.
                self.landed(step, id, merged.commit);
            } else {
                self.move_candidate(step, id, |c| c.state = CandidateState::Landing { merged });
            }
        }
        self.ask_for_landing(step, target);
        if !self.trains.contains_key(target) {
            self.advance_queue(step, target);
        }
    }

    fn landing_cars(&self, target: &Target) -> Vec<(AttemptId, MergedCommit)> {
        self.members_in(target, |state| matches!(state, CandidateState::Landing { .. }))
    }

    fn ask_for_landing(&self, step: &mut Step, target: &Target) {
        let cars = self.landing_cars(target);
        let (Some((_, first)), Some((id, last))) = (cars.first(), cars.last()) else { return };
        let follow =
            cars.iter().find_map(|(id, _)| self.candidates.get(&id.task).and_then(|car| self.follower(car)));
        step.effects.push(Effect::Land {
            candidate: *id,
            project: target.0,
            target: target.1.clone(),
            merged: MergedCommit { onto: first.onto.clone(), ..last.clone() },
            follow,
        });
    }

    /// The branch of single tasks follows the base once it has landed there, so that the next task starts from
    /// what everybody sees.
    fn follower(&self, candidate: &Candidate) -> Option<BranchName> {
        let task = &self.tasks.get(&candidate.id.task)?.task;
        let prd = &self.prds.get(&task.prd?)?.prd;
        match &candidate.source {
            Source::Branch(branch) if prd.is_collection => Some(branch.clone()),
            Source::Branch(_) | Source::Commit(_) => None,
        }
    }

    pub(super) fn on_landed(&mut self, step: &mut Step, id: AttemptId, result: LandResult) {
        let Some(candidate) = self.expected(id, |state| matches!(state, CandidateState::Landing { .. }))
        else {
            return;
        };
        let target = (candidate.project, candidate.target);
        let cars = self.landing_cars(&target);
        match result {
            LandResult::Landed => {
                for (id, merged) in cars {
                    self.landed(step, id, merged.commit);
                }
            }
            LandResult::TargetMoved => self.target_moved(step, &target),
            LandResult::CheckoutDirty { checkout, detail } => {
                let reason = ParkReason::CheckoutDirty { checkout, detail };
                self.all_stuck(step, &target, ReturnWhy::CheckoutDirty, &reason);
            }
            LandResult::Fault { detail } => {
                self.all_stuck(step, &target, ReturnWhy::GitFault, &ParkReason::Git { detail });
            }
        }
        self.go_on(step, &target);
    }

    /// Those that were to land wait for a person; who stands on them waits for them.
    fn all_stuck(&mut self, step: &mut Step, target: &Target, why: ReturnWhy, reason: &ParkReason) {
        let cars = self.landing_cars(target);
        self.uncouple_from(step, target, cars.len());
        for (id, _) in cars {
            self.stuck(step, id, why, reason.clone());
        }
    }

    fn target_moved(&mut self, step: &mut Step, target: &Target) {
        let cars = self.landing_cars(target);
        if let Some((first, _)) = cars.first() {
            let about = self.about(first.task);
            let text = format!("{} moved while the merge was checked; merging anew", target.1);
            self.note(step, NoteKind::TargetMoved, about, &text);
        }
        self.uncouple_from(step, target, 0);
        for (id, _) in cars {
            let remerges = self.candidates.get(&id.task).map_or(0, |candidate| candidate.remerges) + 1;
            self.move_candidate(step, id, |candidate| candidate.remerges = remerges);
            if remerges >= self.limits.remerges_max {
                self.stuck(
                    step,
                    id,
                    ReturnWhy::TargetKeepsMoving,
                    ParkReason::TargetKeepsMoving { remerges },
                );
            }
        }
    }

    fn landed(&mut self, step: &mut Step, id: AttemptId, commit: Oid) {
        let at = self.now;
        let Some(task): Option<Task> = self.tasks.get(&id.task).map(|live| live.task.clone()) else { return };
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
}
