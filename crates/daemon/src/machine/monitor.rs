//! Looks at the machine while there is work: how busy it is, and whether its disks have room for more. One look for
//! all attempts together. Knows intervals; unaware of what comes of a shortage (that is the engine's).

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ropewalk_core::disk::Floor;
use ropewalk_core::engine::Engine;
use ropewalk_core::event::Event;
use ropewalk_core::sample::INTERVAL_MS;
use ropewalk_host::clock::boot_ms;
use ropewalk_host::disk;
use ropewalk_host::system::Sampler;

use super::lock;
use crate::door::{Message, tell};

/// Between two looks at the disks: no event tells that one fills up, and the quickest agents write a gigabyte in so
/// much time.
const LOOK_MS: u64 = 2_000;

pub(crate) struct Monitor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    home: PathBuf,
    floor: Floor,
    inbox: SyncSender<Message>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    has_work: bool,
    has_ended: bool,
    /// The shortage that the engine knows of.
    known: Option<String>,
    /// The checkouts of the projects: their objects and our worktrees' files go there.
    tops: Vec<PathBuf>,
}

impl Monitor {
    pub(crate) fn start(home: &Path, floor: Floor, inbox: SyncSender<Message>) -> Result<Monitor, String> {
        let shared = Arc::new(Shared {
            home: home.to_owned(),
            floor,
            inbox,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("monitor".into())
            .spawn(move || own.work())
            .map_err(|error| error.to_string())?;
        Ok(Monitor { shared, thread: Some(thread) })
    }

    /// Whether there is work, and where: without work nothing is looked at, and an idle engine sleeps.
    pub(crate) fn see(&self, engine: &Engine) {
        let has_work = !engine.is_at_rest() || engine.shortage().is_some();
        let mut state = lock(&self.shared.state);
        if state.known.as_deref() != engine.shortage() {
            state.known = engine.shortage().map(str::to_owned);
        }
        if state.tops.len() != engine.projects().count() {
            state.tops = engine.projects().map(|project| PathBuf::from(&project.top)).collect();
        }
        if state.has_work != has_work {
            state.has_work = has_work;
            self.shared.changed.notify_all();
        }
    }

    /// Why no new work may start now, for want of room.
    pub(crate) fn shortage(&self) -> Option<String> {
        self.shared.shortage()
    }

    pub(crate) fn close(&mut self) {
        lock(&self.shared.state).has_ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // One that panicked has told its last.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut sampler = Sampler::new();
        let mut sample_at = boot_ms() + INTERVAL_MS;
        while self.wait() {
            let shortage = self.shortage();
            // Compared with what the engine has, not with what it was told: it may never have heard.
            let known = lock(&self.state).known.clone();
            if known != shortage {
                tell(&self.inbox, Event::Room { shortage });
            }
            if boot_ms() >= sample_at {
                sample_at = boot_ms() + INTERVAL_MS;
                tell(&self.inbox, Event::Sampled { machine: sampler.sample() });
            }
        }
    }

    /// Until the next look; `false` at the end.
    fn wait(&self) -> bool {
        let mut state = lock(&self.state);
        if state.has_work {
            let is_on = |state: &mut State| !state.has_ended;
            let interval = Duration::from_millis(LOOK_MS);
            let waited = self.changed.wait_timeout_while(state, interval, is_on);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while !state.has_work && !state.has_ended {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        !state.has_ended
    }

    fn shortage(&self) -> Option<String> {
        let tops = lock(&self.state).tops.clone();
        let short = |path: &PathBuf| {
            // What cannot be measured is no shortage: what is wrong with it will be told by whoever needs it.
            let free = disk::free(path).ok()?;
            self.floor.check(&path.display().to_string(), &free).err()
        };
        std::iter::once(&self.home).chain(&tops).find_map(short).map(|low| low.to_string())
    }
}
