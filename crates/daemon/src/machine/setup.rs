//! What a worktree gets before the agent and after it: a slot, copies of the user's ignored files, set-up and teardown
//! commands. The commands run in workers, as agents do: they outlive the engine, and end in time.
//!
//! `attempts/setup-7.2/exit.json` says that the set-up of attempt 7.2 has ended, and how; whoever starts the attempt, once
//! or again after a restart, goes on from there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use ropewalk_core::attempt::{Exit, ExitKind};
use ropewalk_core::event::Event;
use ropewalk_core::id::{AttemptId, Oid};
use ropewalk_core::setup::{
    PORTS_PER_SLOT, Pattern, SETUP_TIMEOUT_MS, TEARDOWN_TIMEOUT_MS, TEARDOWN_TIMEOUT_MS_MAX, database,
};
use ropewalk_host::cache::{self, keep_within};
use ropewalk_host::durable::{create_private_folder, read_record};
use ropewalk_host::git::Repository;
use ropewalk_host::pool::WorkerEvent;
use ropewalk_host::worker::protocol::Assignment;
use ropewalk_host::worker::record::{End, ExitRecord, exit_record, worker_note};
use ropewalk_host::{included, shell};

use super::attempts::{NoStart, exit_of, found_again, is_this_boot, read_start};
use super::landing::candidate_of;
use super::rows::Case;
use super::{Chore, Hand, Site, lock};

const SET_UP: &str = "setup-";
const TEAR_DOWN: &str = "teardown-";

/// How long an engine that ends waits for teardowns: each has its own time, and some to be killed.
const TEARDOWNS_WAIT: Duration = Duration::from_millis(TEARDOWN_TIMEOUT_MS_MAX + 60_000);

/// Runs each argument as a command and stops at the first that fails, saying which. The words stand in the `$0`.
pub(super) const SCRIPT: &str = r#"for command in "$@"; do
  printf '+ %s\n' "$command"
  /bin/sh -c "$command" </dev/null || {
    status=$?
    printf '%s failed with exit status %s: %s\n' "$0" "$status" "$command"
    exit 1
  }
done"#;

/// The key under which an attempt's set-up runs.
pub(super) fn set_up_key(id: AttemptId) -> String {
    format!("{SET_UP}{id}")
}

fn tear_down_key(id: AttemptId) -> String {
    format!("{TEAR_DOWN}{id}")
}

pub(super) fn is_tear_down(key: &str) -> bool {
    key.starts_with(TEAR_DOWN)
}

/// The attempt whose set-up or teardown runs under this key.
pub(super) fn attempt_of(key: &str) -> Option<AttemptId> {
    key.strip_prefix(SET_UP).or_else(|| key.strip_prefix(TEAR_DOWN))?.parse().ok()
}

/// What the end of a set-up or a teardown leaves to do.
pub(super) fn chore_of(event: &WorkerEvent) -> Option<Chore> {
    let (key, ended) = match event {
        WorkerEvent::Ended { key, record } => (key, Ok(record.clone())),
        WorkerEvent::Lost { key, detail } => (key, Err(detail.clone())),
        WorkerEvent::Started { .. } | WorkerEvent::Alive { .. } | WorkerEvent::NearDeadline { .. } => {
            return None;
        }
    };
    let attempt = attempt_of(key)?;
    Some(match key.starts_with(SET_UP) {
        true => Chore::SetUpEnded { attempt, ended: ended.map(Box::new) },
        false => Chore::TornDown { attempt },
    })
}

/// Worktrees on their way back. An engine that ends waits for them: a teardown that was begun is seen to its end, and its
/// worktree goes.
#[derive(Default)]
pub(super) struct Releases {
    under_way: Mutex<BTreeSet<AttemptId>>,
    changed: Condvar,
    /// Those whose teardown has ended, however: it is not run once more.
    torn_down: Mutex<BTreeSet<AttemptId>>,
    /// Those whose set-up still runs: its end releases them.
    set_ups: Mutex<BTreeSet<AttemptId>>,
    /// Those whose set-up is known to be over: one that was lost has no record that says so.
    set_ups_over: Mutex<BTreeSet<AttemptId>>,
}

impl Releases {
    pub(super) fn begin(&self, id: AttemptId) {
        lock(&self.under_way).insert(id);
    }

    fn end(&self, id: AttemptId) {
        lock(&self.torn_down).remove(&id);
        lock(&self.set_ups_over).remove(&id);
        lock(&self.under_way).remove(&id);
        self.changed.notify_all();
    }

    pub(super) fn wait(&self) {
        let busy = |under_way: &mut BTreeSet<AttemptId>| !under_way.is_empty();
        let waited = self.changed.wait_timeout_while(lock(&self.under_way), TEARDOWNS_WAIT, busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether an attempt's set-up is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetUp {
    Done,
    /// Its end starts the attempt once more.
    UnderWay,
}

impl Hand {
    /// Whether the attempt's set-up has begun and has not ended. It is taken up, so that its end is told; whatever the
    /// settings and the worktree are by now, it is what it was when it began.
    pub(super) fn is_setting_up(&self, id: AttemptId) -> Result<bool, String> {
        let key = set_up_key(id);
        let folder = self.site.attempt_folder(&key);
        let is_ours = self.site.pool.keys_running().contains(&key);
        let is_noted = worker_note(&folder).exists();
        if exit_record(&folder).exists() || !(is_ours || is_noted) {
            return Ok(false);
        }
        // Without the note nobody but this pool knows of it.
        if is_noted {
            self.site.pool.run(found_again(&key, &folder)).map_err(|error| error.to_string())?;
        }
        if lock(&self.site.stopping).contains(&id) {
            self.site.pool.stop(&key, false);
        }
        Ok(true)
    }

    /// Whether a set-up has ended here well. One of before the machine's start is none: nobody knows which of its files
    /// reached the disk.
    pub(super) fn was_set_up(&self, id: AttemptId) -> Result<bool, NoStart> {
        let folder = self.site.attempt_folder(&set_up_key(id));
        let record: Option<ExitRecord> =
            read_record(&exit_record(&folder)).map_err(|error| NoStart::Passing(error.to_string()))?;
        let Some(record) = record else { return Ok(false) };
        match record.end {
            End::Exited { code: 0 } if !is_this_boot(&record.boot_id) => {
                Err(NoStart::Passing("the machine went down after the set-up; its files may be torn".into()))
            }
            End::Exited { code: 0 } => Ok(true),
            _ => Err(NoStart::Ended(Box::new(self.set_up_exit(&record, &folder)))),
        }
    }

    /// Whether the worktree cannot go yet because its set-up still runs. It is ended then, and its end lets go.
    pub(super) fn waits_for_set_up(&self, id: AttemptId) -> bool {
        if lock(&self.site.releases.set_ups_over).contains(&id) {
            return false;
        }
        // Before the look: an end between the two is one's own or the other's, never nobody's.
        lock(&self.site.releases.set_ups).insert(id);
        match self.is_setting_up(id) {
            Ok(true) => {
                self.site.pool.stop(&set_up_key(id), true);
                true
            }
            Ok(false) => !lock(&self.site.releases.set_ups).remove(&id),
            Err(detail) => {
                lock(&self.site.releases.set_ups).remove(&id);
                self.complain(&format!("the worktree of attempt {id} is kept: {detail}"));
                self.site.releases.end(id);
                true
            }
        }
    }

    /// Gives a worktree what it is to have before its agent. Asked for again, it goes on where it was.
    pub(super) fn set_up(
        &self,
        id: AttemptId,
        case: &Case,
        repository: &Repository,
        worktree: &Path,
        start: &Oid,
    ) -> Result<SetUp, NoStart> {
        let key = set_up_key(id);
        let commands = case.settings.worktree.setup.clone().unwrap_or_default();
        let is_stopping = || lock(&self.site.stopping).contains(&id);
        if is_stopping() && !commands.is_empty() {
            return Err(NoStart::Ended(Box::new(Exit::new(ExitKind::Stopped, "asked to end"))));
        }
        self.include(id, case, repository, worktree)?;
        if commands.is_empty() {
            return Ok(SetUp::Done);
        }
        let timeout_ms = case.settings.worktree.setup_timeout_ms.unwrap_or(SETUP_TIMEOUT_MS);
        let run = Run { key: &key, name: "the set-up", commands, timeout_ms };
        let assignment = self.commands_in(id, case, worktree, Some(start), run).map_err(NoStart::SetUp)?;
        self.site.pool.run(assignment).map_err(|error| error.to_string())?;
        if is_stopping() {
            self.site.pool.stop(&key, false);
        }
        Ok(SetUp::UnderWay)
    }

    /// The set-up's end: the attempt goes on, or has ended without a beginning.
    pub(super) fn set_up_ended(
        &self,
        id: AttemptId,
        ended: Result<Box<ExitRecord>, String>,
    ) -> Option<Event> {
        let folder = self.site.attempt_folder(&set_up_key(id));
        lock(&self.site.releases.set_ups_over).insert(id);
        if lock(&self.site.releases.set_ups).remove(&id) {
            self.release(id);
            return None;
        }
        match ended {
            Ok(record) if record.end == (End::Exited { code: 0 }) => self.start_again(id),
            Ok(record) => Some(self.give_up(id, self.set_up_exit(&record, &folder))),
            Err(detail) => {
                let exit = Exit::new(ExitKind::CouldNotStart, format!("the set-up was lost: {detail}"));
                Some(self.give_up(id, exit))
            }
        }
    }

    /// What the end of a set-up means for its attempt.
    fn set_up_exit(&self, record: &ExitRecord, folder: &Path) -> Exit {
        let seen = exit_of(record, folder, self.site.limits.feedback_bytes_max);
        let said =
            |start: &str| seen.tail.lines().rev().find(|line| line.starts_with(start)).map(str::to_owned);
        let (kind, detail) = match seen.kind {
            ExitKind::Stopped | ExitKind::CouldNotStart => (seen.kind, seen.detail.clone()),
            ExitKind::Failure | ExitKind::RateLimited | ExitKind::Success => {
                let failed =
                    said("the set-up failed").unwrap_or_else(|| format!("the set-up: {}", seen.detail));
                (ExitKind::SetUpFault, failed)
            }
            ExitKind::TimedOut | ExitKind::Stalled | ExitKind::OverLimit(_) => {
                let at = said("+ ").map(|line| format!(", at: {}", line.trim_start_matches("+ ")));
                (ExitKind::SetUpFault, format!("the set-up: {}{}", seen.detail, at.unwrap_or_default()))
            }
            ExitKind::SetUpFault | ExitKind::Lost | ExitKind::MachineEnded => {
                (ExitKind::SetUpFault, format!("the set-up: {}", seen.detail))
            }
        };
        Exit { tail: seen.tail, ..Exit::new(kind, detail) }
    }

    /// Copies the user's ignored files. The list is on the disk before the first of them: from then on they are kept out of
    /// all that is stored.
    fn include(
        &self,
        id: AttemptId,
        case: &Case,
        repository: &Repository,
        worktree: &Path,
    ) -> Result<(), NoStart> {
        let patterns = case.settings.worktree.include.clone().unwrap_or_default();
        if patterns.is_empty() || self.site.pool.keys_running().contains(&id.to_string()) {
            return Ok(());
        }
        let Some(project) = &case.project else { return Ok(()) };
        let top = Path::new(&project.top);
        let set_up = |detail: String| NoStart::SetUp(detail);
        let patterns: Vec<Pattern> =
            patterns.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(set_up)?;
        let found = included::find(top, &patterns).map_err(|error| set_up(error.to_string()))?;
        let paths: Vec<PathBuf> = found.iter().map(|(path, _)| path.clone()).collect();
        let ignored = repository.ignored(&paths).map_err(|error| error.to_string())?;
        if let Some((path, _)) = found.iter().find(|(path, is_named)| *is_named && !ignored.contains(path)) {
            let name = path.display();
            return Err(set_up(format!(
                "worktree.include names {name}, which git does not ignore in {}",
                project.top
            )));
        }
        let list = self.site.attempt_folder(&id.to_string()).join(included::LIST);
        let before = included::read_list(&list).map_err(|error| error.to_string())?;
        let wanted = included::wanted(worktree, ignored, &before).map_err(|error| error.to_string())?;
        let gone = before.iter().filter(|path| !wanted.contains(path)).cloned();
        let all: Vec<PathBuf> = wanted.iter().cloned().chain(gone).collect();
        included::write_list(&list, &all).map_err(|error| error.to_string())?;
        included::copy(top, worktree, &wanted).map_err(|error| set_up(error.to_string()))
    }

    /// The files that were copied into an attempt's worktree.
    pub(super) fn included(&self, id: AttemptId) -> Result<Vec<PathBuf>, String> {
        let list = self.site.attempt_folder(&id.to_string()).join(included::LIST);
        included::read_list(&list).map_err(|error| error.to_string())
    }

    /// Runs the teardown if it has not been run. Whether it is under way: its end lets the worktree go.
    ///
    /// # Errors
    /// When what the worktree holds cannot be kept: a teardown may remove any of it.
    pub(super) fn tear_down(&self, id: AttemptId, case: &Case, worktree: &Path) -> Result<bool, String> {
        let key = tear_down_key(id);
        let folder = self.site.attempt_folder(&key);
        if worker_note(&folder).exists() && !lock(&self.site.releases.torn_down).contains(&id) {
            // An earlier engine's, whatever the settings are by now: it may still run, and its end is told.
            self.site.pool.run(found_again(&key, &folder)).map_err(|error| error.to_string())?;
            return Ok(true);
        }
        let commands = case.settings.worktree.teardown.clone().unwrap_or_default();
        let own = self.site.attempt_folder(&id.to_string());
        let has_begun = |folder: &Path| worker_note(folder).exists() || exit_record(folder).exists();
        let was_used = has_begun(&own) || has_begun(&self.site.attempt_folder(&set_up_key(id)));
        if commands.is_empty() || !was_used || !worktree.is_dir() {
            return Ok(false);
        }
        if lock(&self.site.releases.torn_down).contains(&id) {
            return Ok(false);
        }
        if !has_begun(&folder) && !self.site.pool.keys_running().contains(&key) {
            self.rescue(id, case, worktree)?;
        }
        let timeout_ms = case.settings.worktree.teardown_timeout_ms.unwrap_or(TEARDOWN_TIMEOUT_MS);
        let run = Run { key: &key, name: "the teardown", commands, timeout_ms };
        let started = self
            .commands_in(id, case, worktree, read_start(&own).as_ref(), run)
            .and_then(|assignment| self.site.pool.run(assignment).map_err(|error| error.to_string()));
        if let Err(detail) = &started {
            self.complain(&format!("the teardown of attempt {id} was not run: {detail}"));
        }
        Ok(started.is_ok())
    }

    /// The teardown's end, however it was: the worktree goes as any other.
    pub(super) fn torn_down(&self, id: AttemptId) {
        let folder = self.site.attempt_folder(&tear_down_key(id));
        let record: Option<ExitRecord> = read_record(&exit_record(&folder)).ok().flatten();
        let complaint = match &record {
            Some(record) if record.end == (End::Exited { code: 0 }) => None,
            Some(record) => {
                let seen = exit_of(record, &folder, self.site.limits.feedback_bytes_max);
                let said = seen.tail.lines().rev().find(|line| line.starts_with("the teardown failed"));
                Some(said.map_or(seen.detail.clone(), str::to_owned))
            }
            None => Some("nothing is known of its end".to_owned()),
        };
        if let Some(detail) = complaint {
            self.complain(&format!(
                "the teardown of attempt {id}: {detail}; its output is in {}",
                folder.display()
            ));
        }
        lock(&self.site.releases.torn_down).insert(id);
        self.release(id);
    }

    /// A worktree has gone, or is kept without anybody in it: its slot is free, and the release is over.
    pub(super) fn released(&self, id: AttemptId, case: Option<&Case>) {
        self.give_slot_back(&id.to_string(), case);
        self.site.releases.end(id);
    }

    /// What runs commands in a worktree.
    fn commands_in(
        &self,
        id: AttemptId,
        case: &Case,
        worktree: &Path,
        start: Option<&Oid>,
        run: Run<'_>,
    ) -> Result<Assignment, String> {
        let folder = self.site.attempt_folder(run.key);
        create_private_folder(&folder).map_err(|error| error.to_string())?;
        let mut given = case.named(id);
        given.push(("ROPEWALK_WORKTREE", worktree.to_string_lossy().into_owned()));
        given.extend(start.map(|start| ("ROPEWALK_BASE", start.to_string())));
        self.furnish(&id.to_string(), case, &mut given)?;
        let env = shell::environment(shell::own_environment(), &case.settings.env, &given);
        Site::refuse_short_secrets(&case.settings, &env)?;
        let mut argv = shell::argv_of(SCRIPT);
        argv.push(run.name.to_owned());
        argv.extend(run.commands);
        Ok(Assignment {
            argv,
            dir: worktree.to_owned(),
            timeout_ms: run.timeout_ms,
            ..self.site.supervised(run.key.to_owned(), &folder, &case.settings, env)
        })
    }

    /// Adds what a worktree has to itself: ports, a database, a cache. `key` is an attempt's or a check's.
    pub(super) fn furnish(
        &self,
        key: &str,
        case: &Case,
        given: &mut Vec<(&'static str, String)>,
    ) -> Result<(), String> {
        let Some(project) = &case.project else { return Ok(()) };
        let ports = case.settings.worktree.ports.unwrap_or_default();
        let slot = self.site.slots.take(key, ports).map_err(|error| error.to_string())?;
        let cache = self.cache(key, case, slot.number);
        create_private_folder(&cache).map_err(|error| error.to_string())?;
        // Without the mark it only goes earlier, once nobody holds it.
        let _ = cache::mark_used(&cache);
        given.push(("ROPEWALK_PORT", slot.port.to_string()));
        given.push(("ROPEWALK_PORTS", PORTS_PER_SLOT.to_string()));
        given.push(("ROPEWALK_DATABASE", database(u64::from(project.id.0), slot.number)));
        given.push(("ROPEWALK_CACHE", cache.to_string_lossy().into_owned()));
        Ok(())
    }

    /// Checks have caches of their own: what an agent leaves in one must not make a check green.
    fn cache(&self, key: &str, case: &Case, slot: u32) -> PathBuf {
        let project = case.project.as_ref().map(|project| project.id.to_string()).unwrap_or_default();
        let kind = if candidate_of(key).is_some() { ".check" } else { "" };
        self.site.home.join("caches").join(format!("{project}.{slot}{kind}"))
    }

    /// Lets go of the slot of an attempt or a check, and of its cache when that has become too large.
    pub(super) fn give_slot_back(&self, key: &str, case: Option<&Case>) {
        // Its cache first: the next holder of the number may use it at once.
        if let (Some(case), Some(slot)) = (case, self.site.slots.of(key)) {
            let cache = self.cache(key, case, slot.number);
            if let Err(error) = keep_within(&cache, cache::Bound::default()) {
                self.complain(&format!("{} has become too large, and stays: {error}", cache.display()));
            }
            let _ = cache::mark_used(&cache);
        }
        self.site.slots.give_back(key);
    }

    /// After a start: slots of attempts that are over and have no worktree, and of checks that nobody waits for.
    pub(super) fn sweep_slots(&self) {
        for key in self.site.slots.holders() {
            // Also one that nobody wants has its ports and its cache until it has ended; its end gives them back.
            if self.site.pool.keys_running().contains(&key) {
                continue;
            }
            let is_free = match (key.parse::<AttemptId>(), candidate_of(&key)) {
                (Ok(attempt), _) => self.is_over(attempt) && !self.site.worktree(&key).exists(),
                (Err(_), Some(candidate)) => {
                    !lock(&self.site.checking).contains(&key) && !self.is_check_wanted(&key, candidate)
                }
                (Err(_), None) => true,
            };
            if is_free {
                self.give_slot_back(&key, None);
            }
        }
    }
}

/// Commands to be run.
struct Run<'k> {
    key: &'k str,
    /// For people.
    name: &'static str,
    commands: Vec<String>,
    timeout_ms: u64,
}
