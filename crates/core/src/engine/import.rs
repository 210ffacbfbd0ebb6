//! A PRD's document becomes rows: new ones, changed ones that have not started, and a list of what is fixed
//! because it has.

use std::collections::BTreeMap;

use super::refusals::{conflict, has_placeholders};
use super::{About, Engine, Step};
use crate::change::{Change, NoteKind, TaskMoved};
use crate::command::{Answer, Done, ImportPrd, Imported, Refusal, RefusalKind};
use crate::id::{BranchName, PrdKey, PrdNumber, TaskId};
use crate::prd::StoryDocument;
use crate::row::{COLLECTION_KEY, Prd, PrdBranch, PrdContent, PrdState, Progress, Story};
use crate::settings::Settings;
use crate::task::{CancelReason, DoneHow, Tally, Task, TaskKind, TaskState};

impl Engine {
    /// `prds`: those that the import may mean, read from the store, the same key's first; `stories`: theirs.
    pub(super) fn import(
        &mut self,
        step: &mut Step,
        import: ImportPrd,
        prds: &[(Prd, Progress)],
        stories: Vec<Story>,
        naming: Naming,
    ) -> Answer {
        if !self.projects.contains_key(&import.project) {
            return Err(Refusal::new(
                RefusalKind::NotFound,
                format!("there is no project {}", import.project),
            ));
        }
        let old = prds.first().and_then(|(prd, _)| self.prds.get(&prd.number)).map(|live| live.prd.clone());
        if let Some(old) = &old {
            refuse_takeover(&import, old, naming.source.as_deref())?;
        }
        let key = self.key_for(&import, old.as_ref(), naming.free_key)?;
        if let Some(old) = &old
            && matches!(old.state, PrdState::Abandoned { .. })
        {
            return Err(
                conflict(format!("{} is abandoned", old.key)).hint("give the file another id, or use --id")
            );
        }
        if import.approve && import.document.has_placeholders {
            return Err(has_placeholders(&key));
        }
        self.refuse_overflow(import.document.stories.len())?;
        let number = old.as_ref().map_or(PrdNumber(self.last_prd + 1), |prd| prd.number);
        let mut report = Imported {
            prd: number,
            key: key.clone(),
            added: 0,
            updated: 0,
            unchanged: 0,
            removed: 0,
            trusted: 0,
            fixed: Vec::new(),
            approved: false,
        };
        self.put_document(step, &import, old.as_ref(), number, &key)?;
        self.put_stories(step, &import, number, &stories, &mut report);
        if import.trust_passes {
            self.trust(step, &import.document.stories, number, &mut report);
        }
        let text = format!(
            "{key}: {} added, {} updated, {} unchanged, {} removed, {} fixed",
            report.added,
            report.updated,
            report.unchanged,
            report.removed,
            report.fixed.len()
        );
        self.note(step, NoteKind::PrdImported, About::prd(number), &text);
        self.reopen(step, number, &report);
        if old.is_some() && !import.settings.is_empty() {
            self.recount_unmet(step);
        }
        let tasks = self.tasks_of(number);
        self.settle(step, tasks);
        if import.approve {
            let state = self.prds.get(&number).map(|live| live.prd.state.clone());
            if state == Some(PrdState::Draft) {
                self.approve(step, number)?;
            }
            report.approved = true;
        }
        self.ensure_branch(step, number);
        self.settle_prd(step, number);
        Ok(Done::Imported(report))
    }

    fn key_for(
        &self,
        import: &ImportPrd,
        old: Option<&Prd>,
        free: Option<PrdKey>,
    ) -> Result<PrdKey, Refusal> {
        let given = import.key.clone().or_else(|| import.document.key.clone());
        if given.as_ref().is_some_and(|key| key.folded() == COLLECTION_KEY.to_lowercase()) {
            return Err(conflict(format!("{COLLECTION_KEY} is the collection of single tasks"))
                .hint("give the PRD another id with --id"));
        }
        let key = old.map(|prd| prd.key.clone()).or(given).or(free);
        key.ok_or_else(|| Refusal::new(RefusalKind::Failed, "no free PRD id was found"))
    }

    fn put_document(
        &mut self,
        step: &mut Step,
        import: &ImportPrd,
        old: Option<&Prd>,
        number: PrdNumber,
        key: &PrdKey,
    ) -> Result<(), Refusal> {
        let document = &import.document;
        let wanted = match document.branch.clone() {
            Some(branch) => branch,
            None => BranchName::new(&format!("feature/{key}"))
                .map_err(|error| Refusal::new(RefusalKind::Invalid, error.to_string()))?,
        };
        let keep = |old: Option<&Prd>| old.map(|prd| prd.settings.clone()).unwrap_or_default();
        let settings = if import.settings.is_empty() { keep(old) } else { import.settings.over(&keep(old)) };
        let prd = Prd {
            number,
            project: import.project,
            key: key.clone(),
            title: document.title.clone(),
            state: old.map_or(PrdState::Draft, |prd| prd.state.clone()),
            wanted_branch: wanted,
            branch: old.map_or(PrdBranch::Unplanned, |prd| prd.branch.clone()),
            settings,
            has_own_key: old.is_some_and(|prd| prd.has_own_key)
                || import.key.is_some()
                || document.key.is_some(),
            is_collection: false,
            has_placeholders: document.has_placeholders,
            created_at: old.map_or(self.now, |prd| prd.created_at),
            updated_at: self.now,
        };
        let content = PrdContent {
            description: document.description.clone(),
            source: import.source.clone(),
            hash: document.hash.clone(),
            tags: document.tags.clone(),
            owner: document.owner.clone(),
            shell: document.shell.to_text(),
            approval: document.approval_text(),
        };
        self.emit(step, Change::PrdPut { prd: Box::new(prd), content: Box::new(content) });
        Ok(())
    }

    fn put_stories(
        &mut self,
        step: &mut Step,
        import: &ImportPrd,
        prd: PrdNumber,
        old: &[Story],
        report: &mut Imported,
    ) {
        let documents = &import.document.stories;
        let by_id: BTreeMap<String, &Story> = old.iter().map(|story| (story.id.folded(), story)).collect();
        let mut next = self.last_task;
        let tasks: Vec<TaskId> = documents
            .iter()
            .map(|document| match by_id.get(&document.id.folded()) {
                Some(story) => story.task,
                None => {
                    next += 1;
                    TaskId(next)
                }
            })
            .collect();
        for (position, document) in documents.iter().enumerate() {
            let task = tasks[position];
            let depends_on =
                document.depends_on.iter().filter_map(|i| tasks.get(*i as usize).copied()).collect();
            let story = story_row(prd, position as u32, document, task);
            match by_id.get(&document.id.folded()) {
                None => {
                    let project = import.project;
                    let row = Task {
                        project: Some(project),
                        prd: Some(prd),
                        ..new_task(document, task, depends_on)
                    };
                    self.emit(step, Change::TaskPut(Box::new(Task { created_at: self.now, ..row })));
                    self.emit(step, Change::StoryPut(Box::new(story)));
                    report.added += 1;
                }
                Some(old) if old.hash == document.hash => {
                    if old.position != story.position {
                        self.emit(step, Change::StoryPut(Box::new(story)));
                    }
                    report.unchanged += 1;
                }
                // What is parked waits for just this: somebody who mends it.
                Some(_) => match self.fixed_because(task).filter(|_| !self.waits_for_a_mend(task)) {
                    Some(why) => {
                        report.fixed.push(format!("{} {why}: the changed text is not used", document.id))
                    }
                    None => {
                        self.edit_task(step, document, task, depends_on);
                        self.emit(step, Change::StoryPut(Box::new(story)));
                        report.updated += 1;
                    }
                },
            }
        }
        self.link_forward(documents, &tasks);
        self.remove_stories(step, prd, documents, old, report);
    }

    /// A story may depend on one further down the file, whose task was not in memory when its own was put.
    fn link_forward(&mut self, documents: &[StoryDocument], tasks: &[TaskId]) {
        for (position, document) in documents.iter().enumerate() {
            if document.depends_on.iter().any(|on| *on as usize > position)
                && let Some(live) = self.tasks.get(&tasks[position])
            {
                self.put_task(live.task.clone());
            }
        }
    }

    fn remove_stories(
        &mut self,
        step: &mut Step,
        prd: PrdNumber,
        documents: &[StoryDocument],
        old: &[Story],
        report: &mut Imported,
    ) {
        let kept: std::collections::BTreeSet<String> = documents.iter().map(|d| d.id.folded()).collect();
        for story in old.iter().filter(|story| !kept.contains(&story.id.folded())) {
            if let Some(why) = self.fixed_because(story.task) {
                report
                    .fixed
                    .push(format!("{} {why}: it stays although the file no longer holds it", story.id));
                continue;
            }
            let at = self.now;
            // Cancelled before: by way of blocked, so that the reason is the one that no retry overrules.
            self.reopen_ended(step, story.task);
            self.move_task(step, story.task, |moved| {
                moved.state = TaskState::Cancelled { at, reason: CancelReason::Removed };
            });
            self.emit(step, Change::StoryRemoved { prd, task: story.task });
            report.removed += 1;
        }
    }

    /// Why a story's task can no longer be changed by its file; `None`: it can.
    fn fixed_because(&self, task: TaskId) -> Option<&'static str> {
        let task = &self.tasks.get(&task)?.task;
        match &task.state {
            TaskState::Done { how: DoneHow::Landed { .. }, .. } => Some("has landed"),
            TaskState::Done { how: DoneHow::Passed | DoneHow::Trusted, .. } => Some("is done"),
            TaskState::Leased { .. } => Some("is running"),
            TaskState::Landing { .. } => Some("is landing"),
            TaskState::Blocked
            | TaskState::Ready { .. }
            | TaskState::Parked { .. }
            | TaskState::Cancelled { .. } => (task.attempts > 0).then_some("has started"),
        }
    }

    fn waits_for_a_mend(&self, task: TaskId) -> bool {
        let state = self.tasks.get(&task).map(|live| &live.task.state);
        matches!(state, Some(TaskState::Parked { reason, .. }) if !reason.keeps_candidate())
    }

    fn reopen_ended(&mut self, step: &mut Step, id: TaskId) {
        let state = self.tasks.get(&id).map(|live| &live.task.state);
        if matches!(state, Some(TaskState::Cancelled { .. } | TaskState::Parked { .. })) {
            self.move_task(step, id, |moved| moved.state = TaskState::Blocked);
        }
    }

    fn edit_task(&mut self, step: &mut Step, document: &StoryDocument, id: TaskId, depends_on: Vec<TaskId>) {
        // Its dependents may count a cancelled task as met: they must hear that it is no longer.
        self.reopen_ended(step, id);
        let Some(old) = self.tasks.get(&id).map(|live| live.task.clone()) else { return };
        let edited = Task {
            title: document.title.clone(),
            priority: document.priority,
            scope: document.files.clone(),
            state: TaskState::Blocked,
            // Another text is another task to fail at.
            tally: Tally::default(),
            resume: None,
            version: old.version + 1,
            depends_on,
            ..old
        };
        self.emit(step, Change::TaskPut(Box::new(edited)));
    }

    /// Takes the file's word for stories that were never started.
    fn trust(&mut self, step: &mut Step, documents: &[StoryDocument], prd: PrdNumber, report: &mut Imported) {
        let claimed: std::collections::BTreeSet<String> =
            documents.iter().filter(|d| d.claimed).map(|d| d.id.folded()).collect();
        let at = self.now;
        for id in self.tasks_of(prd) {
            let Some(task) = self.tasks.get(&id).map(|live| live.task.clone()) else { continue };
            let is_claimed = task.story.as_ref().is_some_and(|story| claimed.contains(&story.folded()));
            if !is_claimed
                || task.attempts > 0
                || !matches!(task.state, TaskState::Blocked | TaskState::Ready { .. })
            {
                continue;
            }
            if matches!(task.state, TaskState::Ready { .. }) {
                self.move_task(step, id, |moved| moved.state = TaskState::Blocked);
            }
            let Some(version) = self.tasks.get(&id).map(|live| live.task.version + 1) else { continue };
            let state = TaskState::Done { at, how: DoneHow::Trusted };
            let moved = TaskMoved { task: id, version, state, attempts: 0, tally: task.tally, resume: None };
            self.emit(step, Change::TaskMoved(moved));
            self.settle_dependents(step, id);
            report.trusted += 1;
        }
    }

    /// A completed PRD that got new stories is active again.
    fn reopen(&mut self, step: &mut Step, number: PrdNumber, report: &Imported) {
        let Some(mut prd) = self.prds.get(&number).map(|live| live.prd.clone()) else { return };
        if matches!(prd.state, PrdState::Completed { .. }) && report.added + report.updated > 0 {
            prd.state = PrdState::Active;
            self.emit(step, Change::PrdMoved(Box::new(prd)));
        }
    }
}

/// What the store says about the names that an import may take.
#[derive(Debug)]
pub(super) struct Naming {
    pub(super) free_key: Option<PrdKey>,
    /// The file of the PRD that the import means.
    pub(super) source: Option<String>,
}

/// A file that names itself `PRD-002` must not take over the PRD that got this key from us and belongs to
/// another file: all of that one's stories would be gone.
pub(super) fn refuse_takeover(import: &ImportPrd, old: &Prd, source: Option<&str>) -> Result<(), Refusal> {
    let is_same_file = source == import.source.as_deref();
    match source {
        Some(source) if !old.has_own_key && !is_same_file => {
            Err(conflict(format!("{} is the id that {source} got when it was imported", old.key))
                .hint("give this file another id with --id"))
        }
        Some(_) | None => Ok(()),
    }
}

fn story_row(prd: PrdNumber, position: u32, document: &StoryDocument, task: TaskId) -> Story {
    Story {
        prd,
        position,
        id: document.id.clone(),
        title: document.title.clone(),
        task,
        claimed: document.claimed,
        body: document.body.clone(),
        hash: document.hash,
    }
}

fn new_task(document: &StoryDocument, id: TaskId, depends_on: Vec<TaskId>) -> Task {
    Task {
        id,
        project: None,
        prd: None,
        story: Some(document.id.clone()),
        kind: TaskKind::Implement,
        title: document.title.clone(),
        priority: document.priority,
        state: TaskState::Blocked,
        attempts: 0,
        tally: Tally::default(),
        resume: None,
        scope: document.files.clone(),
        version: 1,
        settings: Settings::default(),
        depends_on,
        created_at: Default::default(),
    }
}
