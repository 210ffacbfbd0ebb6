//! The world as the engine knows it: effects in, events out. Knows git, workers and files; makes no decisions.
//!
//! Effects are handed to a few threads (hands), because git takes milliseconds to seconds and the loop must
//! not wait. What a hand finds out goes back to the loop as an event.

mod attempts;
mod caches;
mod guards;
mod keeping;
mod kept;
mod landing;
mod monitor;
mod rows;
mod setup;
mod spares;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use ropewalk_core::attempt::Exit;
use ropewalk_core::command::Answer;
use ropewalk_core::disk::Floor;
use ropewalk_core::effect::Effect;
use ropewalk_core::engine::Engine;
use ropewalk_core::event::{BranchResult, CheckResult, Event, ReplyTo};
use ropewalk_core::id::{AttemptId, PrdNumber, ProjectId};
use ropewalk_core::limits::Limits;
use ropewalk_core::port::World;
use ropewalk_core::settings::{OnOutputFull, Settings};
use ropewalk_host::durable::create_private_folder;
use ropewalk_host::git::Repository;
use ropewalk_host::output::rules::{OutputRules, OverOutput};
use ropewalk_host::pool::Pool;
use ropewalk_host::redact::VALUE_BYTES_MIN;
use ropewalk_host::slots::Slots;
use ropewalk_host::worker::protocol::Assignment;
use ropewalk_host::worker::record::ExitRecord;
use ropewalk_store::{SqliteReader, SqliteStore};

pub(crate) use self::attempts::read_start;
use self::keeping::Bell;
use self::monitor::Monitor;
use self::spares::{Errand, Groom, SpareRules};
use crate::door::{Message, Options, tell};

/// Threads that carry effects out. Git is bound by the disk and by its own locks: beyond four, more of them only
/// queue inside git.
const HANDS: usize = 4;

/// Workers started ahead; a worker takes about 2 ms to start.
const WARM_MAX: u32 = 8;

/// What a hand is given.
enum Chore {
    Effect(Effect),
    /// A check's process has ended: clear up, then tell.
    CheckEnded {
        key: String,
        event: Event,
    },
    /// The set-up of an attempt's worktree has ended, or was lost.
    SetUpEnded {
        attempt: AttemptId,
        ended: Result<Box<ExitRecord>, String>,
    },
    /// A worktree's teardown is over: it may go.
    TornDown {
        attempt: AttemptId,
    },
    /// One hand goes home.
    End,
}

pub(crate) struct Machine {
    /// Bounded by the engine: at most a few effects per slot and one per merge queue are under way, and repeated ones
    /// cost nothing, so a bound here could only make the loop wait for hands that wait for the loop.
    work: Option<Sender<Chore>>,
    hands: Vec<JoinHandle<()>>,
    site: Arc<Site>,
    keeper: Option<JoinHandle<()>>,
    bell: Arc<Bell>,
    /// Looks after spares.
    groom: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
    /// The groom was told of the shortage that is on.
    is_short: bool,
    pub(crate) monitor: Monitor,
    /// As the pool was told.
    slots: u32,
    replies: BTreeMap<ReplyTo, Sender<Answer>>,
}

/// What the hands share.
struct Site {
    home: PathBuf,
    limits: Limits,
    inbox: SyncSender<Message>,
    pool: Pool,
    groom: Groom,
    repositories: Mutex<BTreeMap<ProjectId, Repository>>,
    /// Attempts that were asked to end, so that one which is still being prepared does not start after all.
    stopping: Mutex<BTreeSet<AttemptId>>,
    /// Attempts that were told as not started, and why.
    given_up: Mutex<BTreeMap<AttemptId, Exit>>,
    /// Checks that are being prepared, by key, so that one asked for twice is prepared once and not swept away.
    checking: Mutex<BTreeSet<String>>,
    checkpointing: Mutex<BTreeSet<AttemptId>>,
    collecting: Mutex<BTreeSet<AttemptId>>,
    /// Starts under way, so that one asked for twice is prepared once; and whether it is to be gone through once more,
    /// because its set-up has ended meanwhile.
    starting: Mutex<BTreeMap<AttemptId, bool>>,
    slots: Slots,
    releases: setup::Releases,
    /// Held while kept worktrees are counted and let go: the hands and the keeper must not take the same one.
    letting_go: Mutex<()>,
    floor: Floor,
}

/// One hand: the site, and a reader of its own.
struct Hand {
    site: Arc<Site>,
    reader: SqliteReader,
}

impl Machine {
    pub(crate) fn open(
        options: &Options,
        store: &SqliteStore,
        inbox: SyncSender<Message>,
    ) -> Result<Machine, String> {
        for folder in ["attempts", "worktrees", "git"] {
            create_private_folder(&options.home.join(folder)).map_err(|error| error.to_string())?;
        }
        let events = inbox.clone();
        let home = options.home.clone();
        let tail_max = options.limits.feedback_bytes_max;
        let (work, queue) = channel();
        let clear_ups = work.clone();
        let on_event = move |event| {
            // After the engine's end nobody does any of these; the next one's start and sweep do.
            if let Some(chore) = setup::chore_of(&event) {
                let _ = clear_ups.send(chore);
                return;
            }
            match attempts::read_worker_event(&home, tail_max, event) {
                Some((key, event @ Event::Checked { .. })) => {
                    let _ = clear_ups.send(Chore::CheckEnded { key, event });
                }
                Some((_, event)) => tell(&events, event),
                None => {}
            }
        };
        let warm = options.warm.min(WARM_MAX) as usize;
        let pool = Pool::open(&options.home, options.worker_program.clone(), warm, on_event)
            .map_err(|e| e.to_string())?;
        let (groom, errands) = Groom::new();
        let site = Arc::new(Site {
            home: options.home.clone(),
            limits: options.limits.clone(),
            inbox,
            pool,
            groom,
            repositories: Mutex::default(),
            stopping: Mutex::default(),
            given_up: Mutex::default(),
            checking: Mutex::default(),
            checkpointing: Mutex::default(),
            collecting: Mutex::default(),
            letting_go: Mutex::default(),
            floor: options.floor,
            starting: Mutex::default(),
            slots: Slots::open(&options.home).map_err(|error| error.to_string())?,
            releases: setup::Releases::default(),
        });
        let queue = Arc::new(Mutex::new(queue));
        let mut hands = Vec::new();
        for number in 0..HANDS {
            let hand =
                Hand { site: Arc::clone(&site), reader: store.reader().map_err(|error| error.to_string())? };
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new()
                .name(format!("hand {number}"))
                .spawn(move || hand.work(&queue))
                .map_err(|error| error.to_string())?;
            hands.push(thread);
        }
        let monitor = Monitor::start(&options.home, options.floor, site.inbox.clone())?;
        let bell = Arc::<Bell>::default();
        let keeper = {
            let hand =
                Hand { site: Arc::clone(&site), reader: store.reader().map_err(|error| error.to_string())? };
            let (bell, retention) = (Arc::clone(&bell), options.retention);
            std::thread::Builder::new()
                .name("keeper".into())
                .spawn(move || hand.keep_house(&bell, &retention))
                .map_err(|error| error.to_string())?
        };
        let keeper = Some(keeper);
        let is_over = Arc::new(AtomicBool::new(false));
        let groom = {
            let hand =
                Hand { site: Arc::clone(&site), reader: store.reader().map_err(|error| error.to_string())? };
            let rules = SpareRules { bytes_max: options.spare_bytes_max, floor: options.floor };
            Groom::start(hand, errands, rules, Arc::clone(&is_over)).map_err(|error| error.to_string())?
        };
        Ok(Machine {
            work: Some(work),
            hands,
            site,
            keeper,
            bell,
            groom: Some(groom),
            is_over,
            is_short: false,
            monitor,
            slots: 0,
            replies: BTreeMap::new(),
        })
    }

    pub(crate) fn expect_reply(&mut self, to: ReplyTo, reply: Sender<Answer>) {
        self.replies.insert(to, reply);
    }

    /// After a turn: whether there is work to look after, and how many workers it wants.
    pub(crate) fn see(&mut self, engine: &Engine) {
        self.monitor.see(engine);
        if self.is_short != engine.shortage().is_some() {
            self.is_short = engine.shortage().is_some();
            if self.is_short {
                self.site.groom.tell(Errand::DropAll);
            }
        }
        if self.slots != engine.slots() {
            self.slots = engine.slots();
            self.site.pool.set_wanted(self.slots as usize);
        }
    }

    /// Answers everybody who still waits with the end of the line: what they asked for was not done.
    pub(crate) fn drop_replies(&mut self) {
        self.replies.clear();
    }

    /// Sees teardowns to their end. Not when other work is left to go on alone: then they go on beside it.
    pub(crate) fn wait_for_teardowns(&self, leave: bool) {
        if !(leave && self.site.pool.keys_running().iter().any(|key| !setup::is_tear_down(key))) {
            self.site.releases.wait();
        }
    }

    /// Ends the hands once they have done what they hold, and the workers.
    /// With `leave`, workers that are at work go on alone, teardowns too: the next engine's sweep takes them up.
    pub(crate) fn close(&mut self, leave: bool) {
        self.bell.ring();
        self.monitor.close();
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        // One end for each hand, behind all that they still hold.
        if let Some(work) = self.work.take() {
            for _ in 0..self.hands.len() {
                let _ = work.send(Chore::End);
            }
        }
        for hand in std::mem::take(&mut self.hands) {
            // A hand that panicked has told nobody anything; recovery asks again.
            let _ = hand.join();
        }
        // After the hands: none is left that could tell it anything.
        self.is_over.store(true, Ordering::Relaxed);
        self.site.groom.tell(Errand::End);
        if let Some(groom) = self.groom.take() {
            let _ = groom.join();
        }
        self.replies.clear();
        self.site.pool.close(leave);
    }
}

impl World for Machine {
    fn perform(&mut self, effect: Effect) {
        match effect {
            // Not in the line behind slow git: whoever asks to stop wants it now.
            Effect::Stop { attempt, at_once } => {
                lock(&self.site.stopping).insert(attempt);
                self.site.pool.stop(&setup::set_up_key(attempt), at_once);
                self.site.pool.stop(&attempt.to_string(), at_once);
            }
            Effect::StopCheck { candidate } => landing::stop_check(&self.site, candidate),
            effect => {
                if let Effect::Release { attempt } = &effect {
                    self.site.releases.begin(*attempt);
                }
                if let Some(work) = &self.work {
                    // Closed only in `close`, after the loop's end.
                    let _ = work.send(Chore::Effect(effect));
                }
            }
        }
    }

    fn reply(&mut self, to: ReplyTo, answer: Answer) {
        if let Some(reply) = self.replies.remove(&to) {
            // The asker may have hung up; the answer is in the store.
            let _ = reply.send(answer);
        }
    }
}

impl Hand {
    fn work(self, queue: &Mutex<Receiver<Chore>>) {
        loop {
            // The lock is held while waiting: the others wait for the lock instead of the queue, which is the same.
            let next = lock(queue).recv();
            let event = match next {
                Ok(Chore::Effect(effect)) => self.carry_out(effect),
                Ok(Chore::CheckEnded { key, event }) => {
                    let has_passed = matches!(event, Event::Checked { result: CheckResult::Passed, .. });
                    self.clear_check(&key, has_passed);
                    Some(event)
                }
                Ok(Chore::SetUpEnded { attempt, ended }) => self.set_up_ended(attempt, ended),
                Ok(Chore::TornDown { attempt }) => {
                    self.torn_down(attempt);
                    None
                }
                Ok(Chore::End) | Err(_) => return,
            };
            if let Some(event) = event {
                tell(&self.site.inbox, event);
            }
        }
    }

    fn carry_out(&self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::PlanBranch { prd, project, wanted, base } => {
                Some(self.branch(prd, project, |repository| {
                    match repository.plan_branch(&wanted, &base).map_err(|error| error.to_string())? {
                        Some((name, at)) => Ok(BranchResult::Planned { name, at }),
                        None => Err(format!("there is no branch {base} to start from")),
                    }
                }))
            }
            Effect::MakeBranch { prd, project, name, at } => Some(self.branch(prd, project, |repository| {
                match repository.make_branch(&name, &at).map_err(|error| error.to_string())? {
                    ropewalk_host::git::MadeBranch::Made => Ok(BranchResult::Made),
                    ropewalk_host::git::MadeBranch::Taken => Ok(BranchResult::Taken),
                }
            })),
            Effect::Start { attempt } => self.start(attempt),
            Effect::Checkpoint { attempt, why } => self.checkpoint(attempt, why),
            Effect::Collect { attempt } => self.collect(attempt),
            Effect::Release { attempt } => {
                self.release(attempt);
                None
            }
            Effect::Merge { project, target, cars } => Some(self.merge(project, target, &cars)),
            Effect::Check { candidate, project, merged, run } => self.check(candidate, project, &merged, run),
            Effect::Land { candidate, project, target, merged, follow } => {
                Some(self.land(candidate, project, &target, &merged, follow.as_ref()))
            }
            Effect::Sweep { live } => {
                self.sweep(&live);
                None
            }
            Effect::Stop { .. } | Effect::StopCheck { .. } => None,
        }
    }

    fn branch(
        &self,
        prd: PrdNumber,
        project: ProjectId,
        ask: impl FnOnce(&Repository) -> Result<BranchResult, String>,
    ) -> Event {
        let result = self.repository(project).and_then(|repository| ask(&repository));
        Event::Branch { prd, result: result.unwrap_or_else(|detail| BranchResult::Failed { detail }) }
    }

    /// The project's repository, opened once.
    fn repository(&self, project: ProjectId) -> Result<Repository, String> {
        // Held while one is opened: two at once would make the control folder twice.
        let mut repositories = lock(&self.site.repositories);
        if let Some(repository) = repositories.get(&project) {
            return Ok(repository.clone());
        }
        let row = self.project(project)?;
        let control = self.site.home.join("git").join(project.to_string());
        let repository = Repository::open(Path::new(&row.top), Path::new(&row.common_dir), &control)
            .map_err(|error| error.to_string())?;
        repositories.insert(project, repository.clone());
        Ok(repository)
    }
}

impl Site {
    fn attempt_folder(&self, key: &str) -> PathBuf {
        attempt_folder(&self.home, key)
    }

    /// A secret that is too short to be looked for must not be handed out: it would be stored wherever it is printed.
    fn refuse_short_secrets(settings: &Settings, env: &[(String, String)]) -> Result<(), String> {
        let secrets = settings.secrets.as_deref().unwrap_or_default();
        let short = env.iter().find(|(name, value)| {
            let bytes = value.trim().len();
            secrets.contains(name) && bytes > 0 && bytes < VALUE_BYTES_MIN
        });
        short.map_or(Ok(()), |(name, _)| {
            Err(format!(
                "the secret {name} has fewer than {VALUE_BYTES_MIN} bytes: it cannot be kept off the disk"
            ))
        })
    }

    /// An assignment with all that its settings say of how it is supervised; what it runs is still to be filled in.
    fn supervised(
        &self,
        key: String,
        folder: &Path,
        settings: &Settings,
        env: Vec<(String, String)>,
    ) -> Assignment {
        let secrets = settings.secrets.as_deref().unwrap_or_default();
        let is_secret = |name: &&(String, String)| secrets.contains(&name.0);
        let output = OutputRules {
            bytes_max: settings.output_bytes_max.unwrap_or(self.limits.output_bytes_max),
            over: match settings.on_output_full.unwrap_or_default() {
                OnOutputFull::Drop => OverOutput::Drop,
                OnOutputFull::End => OverOutput::End,
            },
            secrets: env.iter().filter(is_secret).map(|(_, value)| value.clone()).collect(),
            filtered: settings.filter_output.unwrap_or(false),
        };
        Assignment {
            bounds: settings.bounds,
            grace_ms: settings.kill_grace_ms.unwrap_or(self.limits.kill_grace_ms),
            env,
            output,
            ..attempts::found_again(&key, folder)
        }
    }

    fn worktree(&self, key: &str) -> PathBuf {
        worktree_folder(&self.home, key)
    }
}

/// Where what is known of an attempt or a check lies.
pub(crate) fn attempt_folder(home: &Path, key: &str) -> PathBuf {
    home.join("attempts").join(key)
}

/// Where an attempt or a check works.
pub(crate) fn worktree_folder(home: &Path, key: &str) -> PathBuf {
    home.join("worktrees").join(key)
}

/// A hand that panicked leaves plain sets behind, never half a change: the lock's poison says nothing.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
