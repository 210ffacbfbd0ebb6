//! The two ports of the core: where rows are kept, and the world where effects happen.

use crate::attempt::Attempt;
use crate::candidate::Candidate;
use crate::change::{Change, Note};
use crate::checkpoint::Checkpoint;
use crate::command::Answer;
use crate::effect::Effect;
use crate::event::ReplyTo;
use crate::id::{PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use crate::row::{Prd, PrdContent, Progress, Project, Story};
use crate::sample::Sample;
use crate::search::Query;
use crate::task::Task;
use crate::time::Time;

/// What a store can say. Reads see the last commit and block on nothing but the disk.
pub trait Read {
    fn projects(&self) -> Result<Vec<Project>, StoreError>;
    /// All PRDs that pass the filter, by number.
    fn prds(&self, filter: &PrdFilter) -> Result<Vec<(Prd, Progress)>, StoreError>;
    fn prd(&self, number: PrdNumber) -> Result<Option<(Prd, PrdContent, Progress)>, StoreError>;
    /// PRDs of that key, compared without regard to ASCII case: at most one per project.
    fn prds_by_key(&self, key: &PrdKey) -> Result<Vec<Prd>, StoreError>;
    /// The PRD of a project that was imported from this path; the latest, should there be several.
    fn prd_by_source(&self, project: ProjectId, source: &str) -> Result<Option<Prd>, StoreError>;
    /// PRDs whose key, title, description, tags, owner or story titles match, best first.
    fn search(&self, query: &Query, limit: usize) -> Result<Vec<PrdNumber>, StoreError>;
    /// A PRD's stories in the file's order, from position `from` on.
    fn stories(&self, prd: PrdNumber, from: u32, limit: usize) -> Result<Vec<Story>, StoreError>;
    fn story(&self, prd: PrdNumber, id: &StoryId) -> Result<Option<Story>, StoreError>;
    /// Tasks that pass the filter, by id.
    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, StoreError>;
    /// Those of the ids that exist, by id.
    fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError>;
    /// A task's attempts by number.
    fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError>;
    /// A task's checkpoints, oldest first.
    fn checkpoints(&self, task: TaskId) -> Result<Vec<Checkpoint>, StoreError>;
    /// Samples from an instant on, oldest first.
    fn samples(&self, since: Time, limit: usize) -> Result<Vec<Sample>, StoreError>;
    /// A task's candidates by number.
    fn candidates(&self, task: TaskId) -> Result<Vec<Candidate>, StoreError>;
    /// Candidates in a state of that name, those of the latest tasks first.
    fn candidates_in(&self, state: &'static str, limit: usize) -> Result<Vec<Candidate>, StoreError>;
    /// The latest notes that pass the filter, oldest first, each with its sequence number (from 1, no gaps).
    fn notes(&self, filter: &NoteFilter) -> Result<Vec<(u64, Note)>, StoreError>;
    /// Everything that the engine needs in order to go on.
    fn load(&self) -> Result<Snapshot, StoreError>;
}

/// Where rows are kept.
///
/// Durability: when `commit` returns, the changes survive `kill -9` and power loss. Atomicity: all of them or
/// none. Blocking: `commit` waits for the disk.
pub trait Store: Read {
    /// Commits the changes of one turn.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a task's version does not follow on the stored one (somebody else wrote):
    /// nothing was written, and the caller must rebuild from the store. Others: nothing was acknowledged, and
    /// whether it was written is unknown; the caller must rebuild from the store as well.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// The world: where effects happen.
///
/// Each effect is idempotent, keyed by its attempt, candidate or PRD, and may be asked for again after a
/// restart. `perform` does not wait for it: the result comes back as an event.
pub trait World {
    fn perform(&mut self, effect: Effect);
    fn reply(&mut self, to: ReplyTo, answer: Answer);
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrdFilter {
    pub project: Option<ProjectId>,
    /// Names of states (`PrdState::name`); empty: all.
    pub states: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFilter {
    pub project: Option<ProjectId>,
    pub prd: Option<PrdNumber>,
    /// Names of states (`TaskState::name`); empty: all.
    pub states: Vec<&'static str>,
    /// Only tasks with a greater id.
    pub after: Option<TaskId>,
    pub limit: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteFilter {
    pub after: u64,
    pub prd: Option<PrdNumber>,
    pub task: Option<TaskId>,
    pub limit: usize,
}

/// The live part of the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    pub projects: Vec<Project>,
    /// PRDs that are draft or active, or that a task below belongs to, with the number of their tasks by state.
    pub prds: Vec<(Prd, Progress)>,
    /// Tasks that are neither done nor cancelled, and cancelled ones that such a task depends on, by id. Their
    /// `depends_on` lists only tasks that are not done: the others are met for good.
    pub tasks: Vec<Task>,
    /// The latest attempt of each such task that is leased.
    pub attempts: Vec<Attempt>,
    /// The latest candidate of each such task that is landing or parked.
    pub candidates: Vec<Candidate>,
    /// The highest numbers in use; 0 when none.
    pub last_task: u64,
    pub last_prd: u32,
    pub last_project: u32,
    /// The latest instant in any row, so that time never runs backwards over a restart.
    pub last_time: Time,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A task's version does not follow on the stored one, or a row it belongs to is missing.
    #[error("the store refused {operation} of {object}: {detail}")]
    Refused { operation: &'static str, object: String, detail: String },
    /// Not a Ropewalk database, damaged, or written by a newer version. Nothing was touched.
    #[error("{path} cannot be used: {detail}")]
    Unusable { path: String, detail: String },
    /// The disk is full. Nothing was acknowledged; when there is room again it works again.
    #[error("{operation} failed: no room is left for {path}: {detail}")]
    Full { operation: &'static str, path: String, detail: String },
    #[error("{operation} failed on {path}: {detail}")]
    Io { operation: &'static str, path: String, detail: String },
}
