//! A connection that can only read. Each answer is taken from one moment of the database.

use std::path::{Path, PathBuf};

use ropewalk_core::attempt::Attempt;
use ropewalk_core::candidate::Candidate;
use ropewalk_core::change::Note;
use ropewalk_core::checkpoint::Checkpoint;
use ropewalk_core::id::{PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use ropewalk_core::port::{NoteFilter, PrdFilter, Read, Snapshot, StoreError, TaskFilter};
use ropewalk_core::row::{Prd, PrdContent, Progress, Project, Story};
use ropewalk_core::sample::Sample;
use ropewalk_core::search::Query;
use ropewalk_core::task::Task;
use ropewalk_core::time::Time;
use rusqlite::Connection;

use super::fault::Fault;
use super::{attempt, checkpoint, note, open, prd, project, sample, snapshot, story, task, text};

/// Reads by a connection of its own, beside the writer and other readers.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    path: PathBuf,
}

impl SqliteReader {
    /// Opens a connection of its own to a database that a [`SqliteStore`](super::SqliteStore) has opened.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> Result<SqliteReader, StoreError> {
        Ok(SqliteReader { connection: open::reader(path)?, path: path.to_owned() })
    }

    /// Runs in one read transaction, which ends with it: a long one would keep the log from being reused.
    fn read<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Connection) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let run = || {
            let transaction = self.connection.unchecked_transaction()?;
            let answer = body(&transaction)?;
            transaction.finish()?;
            Ok(answer)
        };
        run().map_err(|fault: Fault| fault.told(operation, &self.path))
    }
}

impl Read for SqliteReader {
    fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.read("list projects", project::list)
    }

    fn prds(&self, filter: &PrdFilter) -> Result<Vec<(Prd, Progress)>, StoreError> {
        self.read("list PRDs", |c| prd::list(c, filter))
    }

    fn prd(&self, number: PrdNumber) -> Result<Option<(Prd, PrdContent, Progress)>, StoreError> {
        self.read("read a PRD", |c| prd::get(c, number))
    }

    fn prds_by_key(&self, key: &PrdKey) -> Result<Vec<Prd>, StoreError> {
        self.read("find a PRD", |c| prd::by_key(c, key))
    }

    fn prd_by_source(&self, project: ProjectId, source: &str) -> Result<Option<Prd>, StoreError> {
        self.read("find a PRD by its file", |c| prd::by_source(c, project, source))
    }

    fn search(&self, query: &Query, limit: usize) -> Result<Vec<PrdNumber>, StoreError> {
        self.read("search", |c| text::search(c, query, limit))
    }

    fn stories(&self, prd: PrdNumber, from: u32, limit: usize) -> Result<Vec<Story>, StoreError> {
        self.read("list stories", |c| story::list(c, prd, from, limit))
    }

    fn story(&self, prd: PrdNumber, id: &StoryId) -> Result<Option<Story>, StoreError> {
        self.read("read a story", |c| story::get(c, prd, id))
    }

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, StoreError> {
        self.read("list tasks", |c| task::list(c, filter))
    }

    fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        self.read("read tasks", |c| task::by_id(c, ids))
    }

    fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
        self.read("list attempts", |c| attempt::attempts(c, task))
    }

    fn checkpoints(&self, task: TaskId) -> Result<Vec<Checkpoint>, StoreError> {
        self.read("list checkpoints", |c| checkpoint::list(c, task))
    }

    fn samples(&self, since: Time, limit: usize) -> Result<Vec<Sample>, StoreError> {
        self.read("list samples", |c| sample::list(c, since, limit))
    }

    fn candidates_in(&self, state: &'static str, limit: usize) -> Result<Vec<Candidate>, StoreError> {
        self.read("list candidates by state", |c| attempt::candidates_in(c, state, limit))
    }

    fn candidates(&self, task: TaskId) -> Result<Vec<Candidate>, StoreError> {
        self.read("list candidates", |c| attempt::candidates(c, task))
    }

    fn notes(&self, filter: &NoteFilter) -> Result<Vec<(u64, Note)>, StoreError> {
        self.read("read the history", |c| note::list(c, filter))
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        self.read("load", snapshot::load)
    }
}
