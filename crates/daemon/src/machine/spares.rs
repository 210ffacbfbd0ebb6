//! Spares of worktrees: washed, made ahead and thrown away beside the work, by one thread. Nobody waits for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use ropewalk_core::disk::Floor;
use ropewalk_core::id::{Oid, ProjectId};
use ropewalk_host::disk;
use ropewalk_host::git::{GitError, Spare, Spares};

use super::{Hand, lock};

/// Spares that are made ahead: for the check of what is worked on now, and for the attempt after it. More come by
/// themselves: each attempt gives one back.
const AHEAD: usize = 2;

/// Errands that wait. They say where to look, not what is there: one that finds no place is made good by the next.
const ERRANDS_MAX: usize = 64;

/// What the thread is told.
pub(super) enum Errand {
    /// A worktree of the project was given back, or an engine has started.
    Wash(ProjectId),
    /// An attempt began at that commit; more are likely to.
    Warm(ProjectId, Oid),
    /// The disk is short of room.
    DropAll,
    /// The engine ends.
    End,
}

/// How much spares may take.
#[derive(Clone, Copy)]
pub(super) struct SpareRules {
    /// All spares of all projects together.
    pub(super) bytes_max: u64,
    pub(super) floor: Floor,
}

/// The way to the thread that looks after spares.
pub(super) struct Groom {
    errands: SyncSender<Errand>,
}

impl Groom {
    pub(super) fn new() -> (Groom, Receiver<Errand>) {
        let (errands, queue) = sync_channel(ERRANDS_MAX);
        (Groom { errands }, queue)
    }

    pub(super) fn tell(&self, errand: Errand) {
        // After the engine's end nobody looks; the next one begins with a look at all.
        let _ = self.errands.try_send(errand);
    }

    /// Starts the thread. It ends soon after `is_over` is true and it is told anything.
    pub(super) fn start(
        hand: Hand,
        queue: Receiver<Errand>,
        rules: SpareRules,
        is_over: std::sync::Arc<AtomicBool>,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("spares".into())
            .spawn(move || hand.look_after_spares(&queue, rules, &is_over))
    }
}

impl Hand {
    fn look_after_spares(&self, queue: &Receiver<Errand>, rules: SpareRules, is_over: &AtomicBool) {
        while let Ok(first) = queue.recv() {
            // What came meanwhile is looked at once.
            let mut projects: BTreeMap<ProjectId, Option<Oid>> = BTreeMap::new();
            for errand in std::iter::once(first).chain(queue.try_iter()) {
                match errand {
                    Errand::Wash(project) => drop(projects.entry(project).or_default()),
                    Errand::Warm(project, commit) => drop(projects.insert(project, Some(commit))),
                    Errand::End => {}
                    Errand::DropAll => self.told(self.drop_spares()),
                }
            }
            for (project, commit) in projects {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                self.told(self.look_after(project, commit.as_ref(), rules, is_over));
            }
            // After all of them: what is washed takes less.
            self.told(self.trim(rules.bytes_max));
            if is_over.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    fn told(&self, ended: Result<(), String>) {
        if let Err(detail) = ended {
            self.complain(&format!("a spare: {detail}"));
        }
    }

    fn look_after(
        &self,
        project: ProjectId,
        commit: Option<&Oid>,
        rules: SpareRules,
        is_over: &AtomicBool,
    ) -> Result<(), String> {
        let spares = self.repository(project)?.spares(&self.worktrees());
        let text = |error: GitError| error.to_string();
        let tidied = spares.tidy().map_err(text);
        // The shortage ends only when there is room, and what was told of it once may not have been heard.
        let goes_on = || !is_over.load(Ordering::Relaxed) && !self.site.is_disk_low();
        while goes_on() && spares.wash_one().map_err(text)? {}
        if self.site.is_disk_low() {
            return self.drop_spares().and(tidied);
        }
        if let Some(commit) = commit
            && !is_over.load(Ordering::Relaxed)
            && self.has_room_for_one_more(rules)
        {
            spares.warm(commit, AHEAD).map_err(text)?;
        }
        tidied
    }

    /// The oldest go first, whatever project they are of; before them those that are still to be washed, as when their
    /// errand found no place: a build's output is in them.
    fn trim(&self, bytes_max: u64) -> Result<(), String> {
        let mut all = self.all_spares();
        all.sort_by_key(|(_, spare)| spare.since);
        let washed = all.into_iter().map(|(spares, spare)| (spares, spare.number, spare.bytes));
        let all: Vec<_> = self.unwashed().into_iter().chain(washed).collect();
        let mut bytes: u64 = all.iter().map(|(_, _, bytes)| bytes).sum();
        let mut ended = Ok(());
        for (spares, number, its_bytes) in all {
            if bytes <= bytes_max {
                break;
            }
            bytes -= its_bytes;
            ended = ended.and(spares.discard(number).map_err(|error| error.to_string()));
        }
        ended
    }

    /// Whether one more, as large as the largest, keeps to the budget and leaves twice the floor: spares must never be
    /// the reason why work waits.
    fn has_room_for_one_more(&self, rules: SpareRules) -> bool {
        let sizes: Vec<u64> = self.all_spares().iter().map(|(_, spare)| spare.bytes).collect();
        let one = sizes.iter().max().copied().unwrap_or_default();
        let unwashed: u64 = self.unwashed().iter().map(|(_, _, bytes)| bytes).sum();
        let Ok(free) = disk::free(&self.worktrees()) else { return false };
        let floor = rules.floor.bytes_of(free.total_bytes);
        rules.bytes_max > 0
            && sizes.iter().sum::<u64>().saturating_add(unwashed).saturating_add(one) <= rules.bytes_max
            && free.free_bytes >= floor.saturating_mul(2).saturating_add(one)
            && rules.floor.check("", &free).is_ok()
    }

    /// One that cannot be removed does not keep the others.
    fn drop_spares(&self) -> Result<(), String> {
        let mut ended = Ok(());
        for spares in self.projects() {
            ended = ended.and(spares.discard_all().map_err(|error| error.to_string()));
        }
        ended
    }

    fn all_spares(&self) -> Vec<(Spares, Spare)> {
        let all = self.projects().into_iter();
        all.flat_map(|spares| spares.list().into_iter().map(move |spare| (spares.clone(), spare))).collect()
    }

    /// Numbers and bytes of what is still to be washed.
    fn unwashed(&self) -> Vec<(Spares, u32, u64)> {
        let of = |spares: Spares| {
            let found = spares.unwashed().into_iter();
            found.map(|(number, bytes)| (spares.clone(), number, bytes)).collect::<Vec<_>>()
        };
        self.projects().into_iter().flat_map(of).collect()
    }

    /// The spares of each project that is open.
    fn projects(&self) -> Vec<Spares> {
        let repositories: Vec<_> = lock(&self.site.repositories).values().cloned().collect();
        repositories.iter().map(|repository| repository.spares(&self.worktrees())).collect()
    }

    fn worktrees(&self) -> PathBuf {
        self.site.home.join("worktrees")
    }
}
