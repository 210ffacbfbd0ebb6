//! The store on one machine: one SQLite file, one thread that writes, any number of readers.
//!
//! `open` finds or makes the file, `writer` groups commits, `batch` writes one of them, a file per noun holds its
//! SQL, `snapshot` loads the live part, `text` searches. Nobody in here knows why a row changes.

mod attempt;
mod batch;
mod checkpoint;
#[cfg(feature = "failpoints")]
mod crash;
mod fault;
mod instant;
mod migration;
mod note;
mod open;
mod prd;
mod progress;
mod project;
mod reader;
mod sample;
mod snapshot;
mod sql;
mod story;
mod task;
mod text;
mod wal;
mod writer;

use std::cell::OnceCell;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use ropewalk_core::attempt::Attempt;
use ropewalk_core::candidate::Candidate;
use ropewalk_core::change::{Change, Note};
use ropewalk_core::checkpoint::Checkpoint;
use ropewalk_core::id::{PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use ropewalk_core::port::{NoteFilter, PrdFilter, Read, Snapshot, Store, StoreError, TaskFilter};
use ropewalk_core::row::{Prd, PrdContent, Progress, Project, Story};
use ropewalk_core::sample::Sample;
use ropewalk_core::search::Query;
use ropewalk_core::task::Task;
use ropewalk_core::time::Time;

pub use reader::SqliteReader;
pub use writer::WriteCounts;

use writer::Writer;

/// A handle on an open database. Clones share its writer; each reads by a connection of its own, opened when
/// first needed. The file is closed when the last clone is dropped.
#[derive(Debug)]
pub struct SqliteStore {
    // Before the writer, so that on drop the writer's connection is the last one and leaves no log behind.
    reader: OnceCell<SqliteReader>,
    writer: Arc<Writer>,
}

impl SqliteStore {
    /// Opens the database at the path, or makes one when nothing is there (files 0600, a new folder 0700).
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a file that is empty, damaged, newer or somebody else's: it stays as it was.
    /// After an unclean end the whole file is checked if it is below 64 MB; its header and schema always are.
    pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        let path = std::path::absolute(path).map_err(|e| fault::io("open", path, &e))?;
        let writer = Writer::start(open::writer(&path)?, &path)?;
        Ok(SqliteStore { reader: OnceCell::new(), writer: Arc::new(writer) })
    }

    /// A reader for another thread.
    ///
    /// # Errors
    /// When the file cannot be opened once more.
    pub fn reader(&self) -> Result<SqliteReader, StoreError> {
        SqliteReader::open(self.writer.path())
    }

    /// Commits and transactions so far: how well commits are grouped.
    pub fn write_counts(&self) -> WriteCounts {
        self.writer.counts()
    }

    fn read(&self) -> Result<&SqliteReader, StoreError> {
        if self.reader.get().is_none() {
            // Nobody else can have set it: the cell belongs to one thread.
            let _ = self.reader.set(self.reader()?);
        }
        self.reader.get().ok_or_else(|| fault::io("open", self.writer.path(), &"no reader"))
    }
}

impl Clone for SqliteStore {
    fn clone(&self) -> SqliteStore {
        SqliteStore { reader: OnceCell::new(), writer: Arc::clone(&self.writer) }
    }
}

impl SqliteStore {
    #[cfg(not(feature = "failpoints"))]
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.writer.commit(changes.to_vec())
    }

    #[cfg(feature = "failpoints")]
    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        crash::failed(|| self.writer.commit(changes.to_vec()))
    }
}

impl Store for SqliteStore {
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        #[cfg(feature = "failpoints")]
        crash::at_next_point();
        let written = self.write(changes);
        #[cfg(feature = "failpoints")]
        crash::at_next_point();
        written
    }
}

impl Read for SqliteStore {
    fn projects(&self) -> Result<Vec<Project>, StoreError> {
        self.read()?.projects()
    }

    fn prds(&self, filter: &PrdFilter) -> Result<Vec<(Prd, Progress)>, StoreError> {
        self.read()?.prds(filter)
    }

    fn prd(&self, number: PrdNumber) -> Result<Option<(Prd, PrdContent, Progress)>, StoreError> {
        self.read()?.prd(number)
    }

    fn prds_by_key(&self, key: &PrdKey) -> Result<Vec<Prd>, StoreError> {
        self.read()?.prds_by_key(key)
    }

    fn prd_by_source(&self, project: ProjectId, source: &str) -> Result<Option<Prd>, StoreError> {
        self.read()?.prd_by_source(project, source)
    }

    fn search(&self, query: &Query, limit: usize) -> Result<Vec<PrdNumber>, StoreError> {
        self.read()?.search(query, limit)
    }

    fn stories(&self, prd: PrdNumber, from: u32, limit: usize) -> Result<Vec<Story>, StoreError> {
        self.read()?.stories(prd, from, limit)
    }

    fn story(&self, prd: PrdNumber, id: &StoryId) -> Result<Option<Story>, StoreError> {
        self.read()?.story(prd, id)
    }

    fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, StoreError> {
        self.read()?.tasks(filter)
    }

    fn tasks_by_id(&self, ids: &[TaskId]) -> Result<Vec<Task>, StoreError> {
        self.read()?.tasks_by_id(ids)
    }

    fn attempts(&self, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
        self.read()?.attempts(task)
    }

    fn checkpoints(&self, task: TaskId) -> Result<Vec<Checkpoint>, StoreError> {
        self.read()?.checkpoints(task)
    }

    fn samples(&self, since: Time, limit: usize) -> Result<Vec<Sample>, StoreError> {
        self.read()?.samples(since, limit)
    }

    fn candidates_in(&self, state: &'static str, limit: usize) -> Result<Vec<Candidate>, StoreError> {
        self.read()?.candidates_in(state, limit)
    }

    fn candidates(&self, task: TaskId) -> Result<Vec<Candidate>, StoreError> {
        self.read()?.candidates(task)
    }

    fn notes(&self, filter: &NoteFilter) -> Result<Vec<(u64, Note)>, StoreError> {
        self.read()?.notes(filter)
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        self.read()?.load()
    }
}

/// Lower-case hexadecimal.
/// The version of the SQLite that is built in, such as `3.50.4`.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
