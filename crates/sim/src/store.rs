//! A store in memory that refuses and fails like a real one. Rows survive the engine's crash.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ropewalk_core::attempt::Attempt;
use ropewalk_core::candidate::{Candidate, CandidateState};
use ropewalk_core::change::{Change, Note, TaskMoved};
use ropewalk_core::checkpoint::Checkpoint;
use ropewalk_core::id::{AttemptId, AttemptNumber, PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use ropewalk_core::port::{NoteFilter, PrdFilter, Read, Snapshot, Store, StoreError, TaskFilter};
use ropewalk_core::row::{Prd, PrdContent, PrdState, Progress, Project, Story};
use ropewalk_core::sample::Sample;
use ropewalk_core::search::Query;
use ropewalk_core::task::{Task, TaskKind, TaskState};
use ropewalk_core::time::Time;

/// Bytes of story titles that a search looks at, per PRD: the bound that every store keeps.
const STORY_TITLES_BYTES_MAX: usize = 64 << 10;

/// At which commit the machine fails, and on which side of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// Nothing of the commit is written.
    Before(u64),
    /// All of it is written, and nobody hears of it.
    After(u64),
}

#[derive(Clone, Debug, Default)]
pub struct SimStore {
    rows: Arc<Mutex<Rows>>,
    /// Commits that were tried, from 1.
    commits: u64,
    crash_at: Option<CrashPoint>,
}

/// The rows, with nothing derived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    pub(crate) projects: BTreeMap<ProjectId, Project>,
    pub(crate) prds: BTreeMap<PrdNumber, (Prd, PrdContent)>,
    pub(crate) stories: BTreeMap<(PrdNumber, String), Story>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    pub(crate) candidates: BTreeMap<AttemptId, Candidate>,
    pub(crate) checkpoints: BTreeMap<(AttemptId, u32), Checkpoint>,
    pub(crate) samples: BTreeMap<Time, Sample>,
    notes: Vec<Note>,
    last_time: Time,
}

impl SimStore {
    pub fn new() -> SimStore {
        SimStore::default()
    }

    /// From now on the `n`th commit from the first fails as told; `None`: none does.
    pub fn crash_at(&mut self, point: Option<CrashPoint>) {
        self.crash_at = point;
    }

    pub fn commits(&self) -> u64 {
        self.commits
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same rows, for the world to compare what it is asked with what was recorded.
    pub(crate) fn witness(&self) -> SimStore {
        SimStore { rows: Arc::clone(&self.rows), commits: 0, crash_at: None }
    }
}

impl Store for SimStore {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.commits += 1;
        if self.crash_at == Some(CrashPoint::Before(self.commits)) {
            return Err(crash("before"));
        }
        let mut rows = self.rows();
        rows.refuse_unless_following(changes)?;
        for change in changes {
            rows.write(change);
        }
        drop(rows);
        if self.crash_at == Some(CrashPoint::After(self.commits)) {
            return Err(crash("after"));
        }
        Ok(())
    }
}

fn crash(side: &str) -> StoreError {
    StoreError::Io { operation: "commit", path: "memory".into(), detail: format!("a crash {side} it") }
}

fn refused(object: String, detail: impl Into<String>) -> StoreError {
    StoreError::Refused { operation: "commit", object, detail: detail.into() }
}

/// The rows that a commit will have added so far, while it is being looked at.
#[derive(Default)]
struct Coming {
    versions: BTreeMap<TaskId, u64>,
    prds: Vec<PrdNumber>,
}

impl Rows {
    /// Looks at all changes before any is written.
    fn refuse_unless_following(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut coming = Coming::default();
        for change in changes {
            match change {
                Change::TaskPut(task) => self.follow_on(&mut coming, task.id, task.version, true)?,
                Change::TaskMoved(moved) => self.follow_on(&mut coming, moved.task, moved.version, false)?,
                Change::AttemptPut(attempt) => {
                    self.has_task(&coming, attempt.id.task, || format!("attempt {}", attempt.id))?;
                }
                Change::CandidatePut(candidate) => {
                    self.has_task(&coming, candidate.id.task, || format!("candidate {}", candidate.id))?;
                }
                Change::StoryPut(story) => {
                    self.has_task(&coming, story.task, || format!("story {}", story.id))?;
                }
                Change::PrdPut { prd, .. } => coming.prds.push(prd.number),
                Change::PrdMoved(prd) => {
                    if !self.prds.contains_key(&prd.number) && !coming.prds.contains(&prd.number) {
                        return Err(refused(format!("PRD {}", prd.number), "it is not stored"));
                    }
                }
                Change::CheckpointPut { checkpoint, .. } => {
                    let of = checkpoint.attempt;
                    self.has_task(&coming, of.task, || format!("checkpoint of attempt {of}"))?;
                }
                Change::ProjectPut(_)
                | Change::StoryRemoved { .. }
                | Change::CheckpointsForgotten { .. }
                | Change::SampleAdded(_)
                | Change::SamplesForgotten(_)
                | Change::Noted(_) => {}
            }
        }
        Ok(())
    }

    fn follow_on(
        &self,
        coming: &mut Coming,
        task: TaskId,
        version: u64,
        may_be_new: bool,
    ) -> Result<(), StoreError> {
        let stored = coming.versions.get(&task).copied().or_else(|| Some(self.tasks.get(&task)?.version));
        let follows = match stored {
            Some(stored) => version == stored + 1,
            None => may_be_new && version == 1,
        };
        if !follows {
            let detail = format!("version {version} does not follow on {stored:?}");
            return Err(refused(format!("task {task}"), detail));
        }
        coming.versions.insert(task, version);
        Ok(())
    }

    fn has_task(
        &self,
        coming: &Coming,
        task: TaskId,
        object: impl FnOnce() -> String,
    ) -> Result<(), StoreError> {
        if self.tasks.contains_key(&task) || coming.versions.contains_key(&task) {
            return Ok(());
        }
        Err(refused(object(), "its task is not stored"))
    }

    fn write(&mut self, change: &Change) {
        self.last_time = self.last_time.max(latest(change));
        match change {
            Change::ProjectPut(project) => {
                self.projects.insert(project.id, (**project).clone());
            }
            Change::PrdPut { prd, content } => {
                self.prds.insert(prd.number, ((**prd).clone(), (**content).clone()));
            }
            Change::PrdMoved(prd) => {
                if let Some((row, _)) = self.prds.get_mut(&prd.number) {
                    row.clone_from(prd);
                }
            }
            Change::StoryPut(story) => {
                self.stories.insert((story.prd, story.id.folded()), (**story).clone());
            }
            Change::StoryRemoved { prd, task } => {
                self.stories.retain(|(of, _), story| of != prd || story.task != *task);
            }
            Change::TaskPut(task) => {
                self.tasks.insert(task.id, (**task).clone());
            }
            Change::TaskMoved(moved) => self.move_task(moved),
            Change::AttemptPut(attempt) => {
                self.attempts.insert(attempt.id, (**attempt).clone());
            }
            Change::CandidatePut(candidate) => {
                self.candidates.insert(candidate.id, (**candidate).clone());
            }
            Change::CheckpointPut { checkpoint, kept } => {
                let task = checkpoint.attempt.task;
                self.checkpoints.insert((checkpoint.attempt, checkpoint.number), (**checkpoint).clone());
                let own: Vec<_> =
                    self.checkpoints.keys().filter(|(of, _)| of.task == task).copied().collect();
                for old in own.iter().rev().skip(*kept as usize) {
                    self.checkpoints.remove(old);
                }
            }
            Change::CheckpointsForgotten { before } => self.checkpoints.retain(|_, row| row.at >= *before),
            Change::SampleAdded(sample) => {
                self.samples.insert(sample.at, **sample);
            }
            Change::SamplesForgotten(times) => times.iter().for_each(|time| _ = self.samples.remove(time)),
            Change::Noted(note) => self.notes.push(note.clone()),
        }
    }

    fn move_task(&mut self, moved: &TaskMoved) {
        if let Some(task) = self.tasks.get_mut(&moved.task) {
            task.version = moved.version;
            task.state = moved.state.clone();
            task.attempts = moved.attempts;
            task.resume = moved.resume.clone();
            task.tally = moved.tally;
        }
    }

    /// Counts a PRD's tasks by state, from the rows.
    pub(crate) fn progress(&self, prd: PrdNumber) -> Progress {
        let mut progress = Progress::default();
        let counted = |task: &&Task| task.prd == Some(prd) && task.kind == TaskKind::Implement;
        for task in self.tasks.values().filter(counted) {
            progress.stories += 1;
            *match task.state {
                TaskState::Blocked => &mut progress.blocked,
                TaskState::Ready { .. } => &mut progress.ready,
                TaskState::Leased { .. } => &mut progress.running,
                TaskState::Landing { .. } => &mut progress.landing,
                TaskState::Done { .. } => &mut progress.done,
                TaskState::Parked { .. } => &mut progress.parked,
                TaskState::Cancelled { .. } => &mut progress.cancelled,
            } += 1;
        }
        progress
    }

    fn stories_of(&self, prd: PrdNumber) -> Vec<Story> {
        let from = (Bound::Included((prd, String::new())), Bound::Unbounded);
        let own = self.stories.range(from).take_while(|((of, _), _)| *of == prd);
        let mut stories: Vec<_> = own.map(|(_, story)| story.clone()).collect();
        stories.sort_by_key(|story| (story.position, story.task));
        stories
    }

    /// The texts that a search looks at, each a field of its own: a phrase does not run on into the next.
    fn fields(&self, prd: &Prd, content: &PrdContent) -> Vec<String> {
        let mut fields = vec![prd.key.to_string(), prd.title.clone(), content.description.clone()];
        fields.extend(content.owner.clone());
        fields.extend(content.tags.clone());
        let mut room = STORY_TITLES_BYTES_MAX;
        fields.extend(self.stories_of(prd.number).into_iter().map_while(|story| {
            room = room.checked_sub(story.title.len())?;
            Some(story.title)
        }));
        fields
    }

    /// The latest row of a task in a map keyed by attempt.
    fn latest_of<T>(map: &BTreeMap<AttemptId, T>, task: TaskId) -> Option<&T> {
        map.range(of_task(task)).next_back().map(|(_, row)| row)
    }

    fn snapshot(&self) -> Snapshot {
        let is_live = |task: &&Task| !task.state.is_final();
        let mut ids: Vec<TaskId> = self.tasks.values().filter(is_live).map(|task| task.id).collect();
        let needed: Vec<TaskId> = ids.iter().flat_map(|id| self.tasks[id].depends_on.clone()).collect();
        let is_cancelled = |id: &TaskId| {
            self.tasks.get(id).is_some_and(|task| matches!(task.state, TaskState::Cancelled { .. }))
        };
        ids.extend(needed.into_iter().filter(is_cancelled));
        ids.sort_unstable();
        ids.dedup();
        let is_open =
            |on: &TaskId| !self.tasks.get(on).is_some_and(|on| matches!(on.state, TaskState::Done { .. }));
        let of = |id: &TaskId| {
            let task = self.tasks[id].clone();
            let depends_on = task.depends_on.iter().copied().filter(is_open).collect();
            Task { depends_on, ..task }
        };
        let tasks: Vec<Task> = ids.iter().map(of).collect();
        let in_state = |names: &'static [&'static str]| {
            tasks.iter().filter(move |task| names.contains(&task.state.name())).map(|task| task.id)
        };
        let live_prd = |prd: &Prd| {
            matches!(prd.state, PrdState::Draft | PrdState::Active)
                || tasks.iter().any(|task| task.prd == Some(prd.number))
        };
        Snapshot {
            projects: self.projects.values().cloned().collect(),
            prds: self
                .prds
                .values()
                .filter(|(prd, _)| live_prd(prd))
                .map(|(prd, _)| (prd.clone(), self.progress(prd.number)))
                .collect(),
            attempts: in_state(&["leased"])
                .filter_map(|task| Self::latest_of(&self.attempts, task).cloned())
                .collect(),
            candidates: in_state(&["landing", "parked"])
                .filter_map(|task| Self::latest_of(&self.candidates, task).cloned())
                .collect(),
            last_task: self.tasks.keys().next_back().map_or(0, |id| id.0),
            last_prd: self.prds.keys().next_back().map_or(0, |number| number.0),
            last_project: self.projects.keys().next_back().map_or(0, |id| id.0),
            last_time: self.last_time,
            tasks,
        }
    }
}

fn of_task(task: TaskId) -> std::ops::RangeInclusive<AttemptId> {
    AttemptId { task, number: AttemptNumber(0) }..=AttemptId { task, number: AttemptNumber(u32::MAX) }
}

/// Whether a search finds a text of these fields: [`Query::matches`], phrase by phrase and field by field.
fn matches(query: &Query, fields: &[String], tags: &[String]) -> bool {
    match query {
        Query::And(a, b) => matches(a, fields, tags) && matches(b, fields, tags),
        Query::Or(a, b) => matches(a, fields, tags) || matches(b, fields, tags),
        Query::Not(inner) => !matches(inner, fields, tags),
        Query::Tag(_) => query.matches("", tags),
        Query::Phrase(_) => fields.iter().any(|field| query.matches(field, &[])),
    }
}

/// The latest instant that a change holds.
fn latest(change: &Change) -> Time {
    let of_state = |state: &TaskState| match state {
        TaskState::Blocked => Time::default(),
        // `not_before` lies ahead: it is a plan, not an instant that was.
        TaskState::Ready { since, .. } | TaskState::Leased { since } | TaskState::Landing { since } => *since,
        TaskState::Done { at, .. } | TaskState::Parked { at, .. } | TaskState::Cancelled { at, .. } => *at,
    };
    match change {
        Change::ProjectPut(project) => project.created_at,
        Change::PrdPut { prd, .. } | Change::PrdMoved(prd) => {
            let ended = match &prd.state {
                PrdState::Completed { at } | PrdState::Abandoned { at, .. } => *at,
                PrdState::Draft | PrdState::Active => Time::default(),
            };
            ended.max(prd.updated_at).max(prd.created_at)
        }
        Change::TaskPut(task) => task.created_at.max(of_state(&task.state)),
        Change::TaskMoved(moved) => of_state(&moved.state),
        Change::AttemptPut(a) => {
            a.created_at.max(a.started_at.unwrap_or_default()).max(a.finished_at.unwrap_or_default())
        }
        Change::CandidatePut(candidate) => match &candidate.state {
            CandidateState::Landed { at, .. } | CandidateState::Returned { at, .. } => {
                (*at).max(candidate.queued_at)
            }
            CandidateState::Waiting
            | CandidateState::Merging
            | CandidateState::Checking { .. }
            | CandidateState::Landing { .. } => candidate.queued_at,
        },
        Change::Noted(note) => note.at,
        Change::CheckpointPut { checkpoint, .. } => checkpoint.at,
        Change::SampleAdded(sample) => sample.at,
        Change::StoryPut(_)
        | Change::StoryRemoved { .. }
        | Change::SamplesForgotten(_)
        | Change::CheckpointsForgotten { .. } => Time::default(),
    }
}

impl Read for SimStore {
    fn projects(&self) -> Result<Vec<Project>, StoreError> {
        Ok(self.rows().projects.values().cloned().collect())
    }

    fn prds(&self, filter: &PrdFilter) -> Result<Vec<(Prd, Progress)>, StoreError> {
        let rows = self.rows();
        let passes = |prd: &Prd| {
            filter.project.is_none_or(|project| prd.project == project)
                && (filter.states.is_empty() || filter.states.contains(&prd.state.name()))
        };
        let found = rows.prds.values().filter(|(prd, _)| passes(prd));
        Ok(found.map(|(prd, _)| (prd.clone(), rows.progress(prd.number))).collect())
    }

    fn prd(&self, number: PrdNumber) -> Result<Option<(Prd, PrdContent, Progress)>, StoreError> {
        let rows = self.rows();
        let found = rows.prds.get(&number);
        Ok(found.map(|(prd, content)| (prd.clone(), content.clone(), rows.progress(number))))
    }

    fn prds_by_key(&self, key: &PrdKey) -> Result<Vec<Prd>, StoreError> {
        let rows = self.rows();
        let found = rows.prds.values().filter(|(prd, _)| prd.key.folded() == key.folded());
        Ok(found.map(|(prd, _)| prd.clone()).collect())
    }

    fn prd_by_source(&self, project: ProjectId, source: &str) -> Result<Option<Prd>, StoreError> {
        let rows = self.rows();
        let is_it = |(prd, content): &&(Prd, PrdContent)| {
            prd.project == project && content.source.as_deref() == Some(source)
        };
        Ok(rows.prds.values().rev().find(is_it).map(|(prd, _)| prd.clone()))
    }

    fn search(&self, query: &Query, limit: usize) -> Result<Vec<PrdNumber>, StoreError> {
        let rows = self.rows();
        let mut found: Vec<(bool, PrdNumber)> = Vec::new();
        for (prd, content) in rows.prds.values() {
            let fields = rows.fields(prd, content);
            if matches(query, &fields, &content.tags) {
                // Key and title say best what a PRD is about.
                found.push((!matches(query, &fields[..2], &[]), prd.number));
            }
        }
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, number)| number).take(limit).collect())
    }

    fn stories(&self, prd: PrdNumber, from: u32, limit: usize) -> Result<Vec<Story>, StoreError> {
        let stories = self.rows().stories_of(prd);
        Ok(stories.into_iter().filter(|story| story.position >= from).take(limit).collect())
    }

    fn story(&self, prd: PrdNumber, id: &StoryId) -> Result<Option<Story>, StoreError> {
        Ok(self.rows().stories.get(&(prd, id.folded())).cloned())
    }

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, StoreError> {
        let passes = |task: &&Task| {
            filter.project.is_none_or(|project| task.project == Some(project))
                && filter.prd.is_none_or(|prd| task.prd == Some(prd))
                && (filter.states.is_empty() || filter.states.contains(&task.state.name()))
                && filter.after.is_none_or(|after| task.id > after)
        };
        Ok(self.rows().tasks.values().filter(passes).take(filter.limit).cloned().collect())
    }

    fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let rows = self.rows();
        Ok(ids.iter().filter_map(|id| rows.tasks.get(id).cloned()).collect())
    }

    fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
        Ok(self.rows().attempts.range(of_task(task)).map(|(_, row)| row.clone()).collect())
    }

    fn checkpoints(&self, task: TaskId) -> Result<Vec<Checkpoint>, StoreError> {
        Ok(self.rows().checkpoints.values().filter(|row| row.attempt.task == task).cloned().collect())
    }

    fn samples(&self, since: Time, limit: usize) -> Result<Vec<Sample>, StoreError> {
        Ok(self.rows().samples.range(since..).take(limit).map(|(_, row)| *row).collect())
    }

    fn candidates_in(&self, state: &'static str, limit: usize) -> Result<Vec<Candidate>, StoreError> {
        let rows = self.rows();
        let found = rows.candidates.values().rev().filter(|row| row.state.name() == state);
        Ok(found.take(limit).cloned().collect())
    }

    fn candidates(&self, task: TaskId) -> Result<Vec<Candidate>, StoreError> {
        Ok(self.rows().candidates.range(of_task(task)).map(|(_, row)| row.clone()).collect())
    }

    fn notes(&self, filter: &NoteFilter) -> Result<Vec<(u64, Note)>, StoreError> {
        let rows = self.rows();
        let numbered = rows.notes.iter().enumerate().rev().map(|(at, note)| (at as u64 + 1, note));
        let passes = |(number, note): &(u64, &Note)| {
            *number > filter.after
                && filter.prd.is_none_or(|prd| note.prd == Some(prd))
                && filter.task.is_none_or(|task| note.task == Some(task))
        };
        let mut latest: Vec<_> =
            numbered.filter(passes).take(filter.limit).map(|(number, note)| (number, note.clone())).collect();
        latest.reverse();
        Ok(latest)
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        Ok(self.rows().snapshot())
    }
}
