//! Following an attempt's output while it runs. Knows what tells that there is more, and what tells that
//! there will be none; unaware of what is in it.
//!
//! Woken by inotify, and by the end of the attempt's worker: nothing is looked at on a timer. The weaker rung
//! is `watch`'s.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::stored::Stored;
use crate::durable::read_record;
use crate::watch::{LOOK_AGAIN_MS, Watch};
use crate::worker::record::{self, WorkerNote};

/// How an attempt stands, as its folder and its worker tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No worker has taken it yet. If none ever does, the folder does not tell: ask whoever gave it out.
    NotBegun,
    Running,
    /// What is stored now is all.
    Over,
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    watch: Option<Watch>,
    worker: Option<OwnedFd>,
}

impl Follower {
    pub fn new(folder: &Path) -> Follower {
        let watch = Watch::new().and_then(|watch| watch.folder(folder).map(|()| watch)).ok();
        Follower { folder: folder.to_owned(), watch, worker: None }
    }

    /// To be asked before what there is is read: then [`Follower::wait`] ends for whatever comes later.
    pub fn look(&mut self, stored: &Stored) -> Progress {
        if let (Some(watch), Some(file)) = (&self.watch, stored.raw_file()) {
            watch.clear();
            if watch.arm(file).is_err() {
                self.watch = None;
            }
        }
        // In this order: the worker's end is news only if it left no record before.
        let progress = self.worker_progress();
        if record::exit_record(&self.folder).exists() { Progress::Over } else { progress }
    }

    fn worker_progress(&mut self) -> Progress {
        let note = read_record::<WorkerNote>(&record::worker_note(&self.folder));
        let Ok(Some(note)) = note else { return Progress::NotBegun };
        if !note.worker.is_alive() {
            return Progress::Over;
        }
        if self.worker.is_none() {
            self.worker = note.worker.open().ok().flatten();
        }
        Progress::Running
    }

    /// Waits until something may have come.
    pub fn wait(&self) {
        // With both, whatever can happen is told.
        let is_told = self.watch.is_some() && self.worker.is_some();
        let fds = self.watch.iter().map(|watch| PollFd::new(watch, PollFlags::IN));
        let mut fds: Vec<_> =
            fds.chain(self.worker.iter().map(|worker| PollFd::new(worker, PollFlags::IN))).collect();
        let look_again = Timespec { tv_sec: (LOOK_AGAIN_MS / 1_000) as i64, tv_nsec: 0 };
        // Interrupted: the caller looks again, as after any news.
        let _ = poll(&mut fds, (!is_told).then_some(&look_again));
    }
}
