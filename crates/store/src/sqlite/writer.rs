//! The one thread that writes. Knows group commit; unaware of what the changes mean.
//!
//! Full durability costs one fsync per transaction, whatever is in it. So the thread takes all the commits that
//! are waiting, writes each in a savepoint of its own, and commits them together: with 64 callers that is some
//! 25 times as many commits a second as one by one, and each is still answered only after the disk has it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use ropewalk_core::change::Change;
use ropewalk_core::port::StoreError;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::batch;
use super::fault::{Fault, io};

/// Commits that may wait for the thread; more callers than that block, which is the back-pressure.
const WAITING_MAX: usize = 1_024;

/// Commits in one transaction: as many as may wait.
const COMMITS_PER_TRANSACTION_MAX: usize = WAITING_MAX;

/// No further commit joins a transaction that holds so many changes: the first callers should not wait long for
/// the last, and an import of 100,000 stories should not have others hang on it.
const CHANGES_PER_TRANSACTION_MAX: usize = 10_000;

/// How much was written since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Commits that were acknowledged.
    pub commits: u64,
    /// Transactions that reached the disk for them.
    pub transactions: u64,
}

struct Job {
    changes: Vec<Change>,
    reply: SyncSender<Result<(), StoreError>>,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    transactions: AtomicU64,
}

/// The callers' end of the thread. The file is closed when the last of them is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    path: PathBuf,
}

impl Writer {
    pub(crate) fn start(connection: Connection, path: &Path) -> Result<Writer, StoreError> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let counters = Arc::new(Counters::default());
        let group =
            Group { connection, path: path.to_owned(), counters: Arc::clone(&counters), failure: None };
        let thread = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || group.serve(&waiting))
            .map_err(|e| io("start the writer", path, &e))?;
        Ok(Writer { jobs: Some(jobs), thread: Some(thread), counters, path: path.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn counts(&self) -> WriteCounts {
        WriteCounts {
            commits: self.counters.commits.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
        }
    }

    /// Returns when the changes are on the disk, or refused.
    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let gone = || io("commit", &self.path, &"the writer has ended");
        let (reply, answer) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(Job { changes, reply }).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Writer {
    /// Waits for the thread: after it the file is closed, and may be opened anew or copied.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told to every caller already, as a writer that has ended.
            let _ = thread.join();
        }
    }
}

struct Group {
    connection: Connection,
    path: PathBuf,
    counters: Arc<Counters>,
    /// Why nothing is written any more. After a failed fsync the kernel may have dropped the pages and calls the
    /// next fsync a success, so only a new process that reads the file again can know what is in it.
    failure: Option<String>,
}

impl Group {
    fn serve(mut self, waiting: &Receiver<Job>) {
        while let Ok(first) = waiting.recv() {
            let mut size = first.changes.len();
            let mut jobs = vec![first];
            while size < CHANGES_PER_TRANSACTION_MAX && jobs.len() < COMMITS_PER_TRANSACTION_MAX {
                let Ok(next) = waiting.try_recv() else { break };
                size += next.changes.len();
                jobs.push(next);
            }
            self.commit(jobs);
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let answers = match self.failure.clone() {
            Some(failure) => jobs.iter().map(|_| Err(self.failed(&failure))).collect(),
            None => self.transaction(&jobs),
        };
        let commits = answers.iter().filter(|answer| answer.is_ok()).count() as u64;
        self.counters.commits.fetch_add(commits, Ordering::Relaxed);
        for (job, answer) in jobs.into_iter().zip(answers) {
            // A caller that has gone needs no answer.
            let _ = job.reply.send(answer);
        }
    }

    /// One answer per job, in their order.
    fn transaction(&mut self, jobs: &[Job]) -> Vec<Result<(), StoreError>> {
        match self.write(jobs) {
            Ok(answers) => {
                self.counters.transactions.fetch_add(1, Ordering::Relaxed);
                answers
            }
            Err((operation, fault)) => {
                self.roll_back(&fault);
                let detail = format!("{fault:?}");
                let mut whole = Some(fault);
                let told = |fault: Fault| fault.told(operation, &self.path);
                jobs.iter()
                    .map(|_| Err(whole.take().map_or_else(|| io(operation, &self.path, &detail), told)))
                    .collect()
            }
        }
    }

    /// The outer error: nothing of the transaction is known to be written.
    fn write(&self, jobs: &[Job]) -> Result<Vec<Result<(), StoreError>>, (&'static str, Fault)> {
        // IMMEDIATE: a read that becomes a write in the middle gives up at once when another process writes.
        self.connection.execute_batch("begin immediate").map_err(|e| ("begin", e.into()))?;
        let mut answers = Vec::with_capacity(jobs.len());
        let mut latest = None;
        for job in jobs {
            match batch::write(&self.connection, &job.changes) {
                Ok(instant) => {
                    latest = latest.max(instant);
                    answers.push(Ok(()));
                }
                Err(fault) if self.connection.is_autocommit() || !fault.is_harmless() => {
                    return Err(("write", fault));
                }
                Err(fault) => answers.push(Err(fault.told("commit", &self.path))),
            }
        }
        if let Some(latest) = latest {
            batch::write_latest(&self.connection, latest).map_err(|fault| ("write", fault))?;
        }
        self.connection.execute_batch("commit").map_err(|e| ("commit", e.into()))?;
        Ok(answers)
    }

    /// No room and a busy file are no fault of the disk: the write came to nothing, and the next may succeed.
    /// After anything else nobody knows what the file holds, and nothing is written to it again.
    fn roll_back(&mut self, fault: &Fault) {
        let rolled_back =
            self.connection.is_autocommit() || self.connection.execute_batch("rollback").is_ok();
        if fault.is_harmless() && rolled_back {
            return;
        }
        self.failure = Some(format!("{fault:?}"));
        // The connection's end would copy the log into the file, on the word of a disk that has just failed. If
        // this cannot be set, the copy takes only what an earlier fsync has confirmed.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn failed(&self, failure: &str) -> StoreError {
        let detail = format!("an earlier write failed ({failure}); nothing is written before a new start");
        io("commit", &self.path, &detail)
    }
}
