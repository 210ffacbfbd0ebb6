//! What ended attempts leave in the state folder: compressed, and in time purged. Which of it is due is core's rule;
//! this finds what there is and does as told, at the lowest priority.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use ropewalk_core::attempt::{AttemptState, Outcome};
use ropewalk_core::event::Event;
use ropewalk_core::id::{AttemptId, ProjectId};
use ropewalk_core::port::Read as _;
use ropewalk_core::retention::{DUE_MAX, Due, Kept, OutputForm, ROUND_MS_MIN, Retention, due, next_due};
use ropewalk_core::sample::{History, thin};
use ropewalk_core::time::Time;
use ropewalk_host::clock::Clock;
use ropewalk_host::durable::read_record;
use ropewalk_host::worker::record::{End, ExitRecord, exit_record};
use ropewalk_host::{content, idle, output};

use super::attempts::PROMPTS;
use super::landing::candidate_of;
use super::setup::attempt_of;
use super::{Hand, lock};
use crate::door::tell;

/// The longest wait between two rounds: what ended meanwhile is found by the next.
const ROUND_MS_MAX: u64 = 60 * 60_000;

/// Rounds for samples, checkpoints and prompts are so far apart: none of them grows quickly, and each round is a commit.
const HISTORY_ROUND_MS: u64 = 60 * 60_000;

/// Whatever is set, checkpoints of a task that runs or waits are not old within a day.
const HISTORY_KEPT_MS_MIN: u64 = 24 * 60 * 60_000;

/// And a prompt is not while its attempt may still run: a week is the longest time that one can have.
const PROMPTS_KEPT_MS_MIN: u64 = 8 * 24 * 60 * 60_000;

/// Samples looked at in one round: more than a day and a month leave.
const SAMPLES_MAX: usize = 100_000;

/// Tells the keeper when to go home.
#[derive(Default)]
pub(crate) struct Bell {
    has_rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.has_rung) = true;
        self.changed.notify_all();
    }

    pub(super) fn has_rung(&self) -> bool {
        *lock(&self.has_rung)
    }

    /// Waits for it, at most so long; whether it has rung.
    fn wait(&self, wait_ms: u64) -> bool {
        let is_silent = |has_rung: &mut bool| !*has_rung;
        let waited =
            self.changed.wait_timeout_while(lock(&self.has_rung), Duration::from_millis(wait_ms), is_silent);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What is in the attempts' folder.
struct Found {
    kept: Vec<Kept>,
    live_bytes: u64,
}

impl Hand {
    /// The keeper's thread.
    pub(super) fn keep_house(&self, bell: &Bell, retention: &Retention) {
        idle::yield_to_others();
        // Not the wall clock itself: a date that jumps must not make everything old at once.
        let clock = Clock::starting_at(Time::default());
        let mut history_at = Time(i64::MIN);
        let mut wait_ms = ROUND_MS_MIN;
        while !bell.wait(wait_ms) {
            wait_ms = self.keep_once(bell, clock.now(), &mut history_at, retention);
        }
    }

    /// One round; how long until the next.
    fn keep_once(&self, bell: &Bell, now: Time, history_at: &mut Time, retention: &Retention) -> u64 {
        let found = self.found();
        let list = due(&found.kept, found.live_bytes, now, retention);
        // A folder that stays with its worktree is named again, and is no reason to begin anew at once.
        let is_held = |item: &Due| matches!(item, Due::PurgeFolder(key) if self.site.has_worktree(key));
        let is_full = list.len() == DUE_MAX && !list.iter().all(is_held);
        let mut failed = false;
        for item in list {
            if bell.has_rung() {
                return 0;
            }
            if let Err(detail) = self.carry_out_due(&item) {
                failed = true;
                self.complain(&format!("{item:?}: {detail}"));
            }
        }
        self.trim_kept(|| !bell.has_rung());
        self.trim_caches(bell);
        if now.ms_since(*history_at) >= HISTORY_ROUND_MS {
            *history_at = now;
            self.forget_history(bell, now, retention);
        }
        if is_full && !failed {
            return 0;
        }
        let next = next_due(&found.kept, found.live_bytes, now, retention);
        next.map_or(ROUND_MS_MAX, |at| at.ms_since(now)).clamp(ROUND_MS_MIN, ROUND_MS_MAX)
    }

    fn carry_out_due(&self, item: &Due) -> Result<(), String> {
        match item {
            Due::Compress(key) => output::compress(&self.site.attempt_folder(key)).map_err(|e| e.to_string()),
            Due::PurgeOutput(key) => output::purge(&self.site.attempt_folder(key)).map_err(|e| e.to_string()),
            // Which of the worktree's files are secrets stands there, and that it is kept.
            Due::PurgeFolder(key) if self.site.has_worktree(key) => {
                output::purge(&self.site.attempt_folder(key)).map_err(|e| e.to_string())
            }
            Due::PurgeFolder(key) => {
                // Set aside first: half a folder must not be taken for an attempt that never ended.
                let folder = self.site.attempt_folder(key);
                let aside = self.site.attempt_folder(&format!("{key}.gone"));
                fs::rename(&folder, &aside)
                    .and_then(|()| fs::remove_dir_all(&aside))
                    .map_err(|e| e.to_string())
            }
        }
    }

    fn found(&self) -> Found {
        let mut found = Found { kept: Vec::new(), live_bytes: 0 };
        let Ok(entries) = fs::read_dir(self.site.home.join("attempts")) else { return found };
        for entry in entries.flatten() {
            let Ok(key) = entry.file_name().into_string() else { continue };
            let folder = entry.path();
            if key.ends_with(".gone") {
                // An engine ended in the middle of its removal.
                let _ = fs::remove_dir_all(&folder);
                continue;
            }
            let (form, output_bytes, rest_bytes) = sizes(&folder);
            match self.end_of(&key, &folder) {
                Some((finished_at, has_passed)) => {
                    found.kept.push(Kept {
                        key,
                        finished_at,
                        has_passed,
                        output: form,
                        output_bytes,
                        rest_bytes,
                    });
                }
                None => found.live_bytes = found.live_bytes.saturating_add(output_bytes + rest_bytes),
            }
        }
        found
    }

    /// When an attempt ended and whether it passed; nothing while it is live, or when nothing is known of it.
    fn end_of(&self, key: &str, folder: &Path) -> Option<(Time, bool)> {
        if candidate_of(key).is_some() {
            let record: ExitRecord = read_record(&exit_record(folder)).ok()??;
            return Some((Time(record.finished_at_ms), record.end == End::Exited { code: 0 }));
        }
        if self.site.pool.keys_running().iter().any(|running| running == key) {
            return None;
        }
        // A set-up's and a teardown's folder go with their attempt's.
        let id: AttemptId = attempt_of(key).or_else(|| key.parse().ok())?;
        let rows = self.reader.attempts(id.task).ok()?;
        let row = rows.into_iter().find(|row| row.id == id)?;
        let AttemptState::Finished { outcome } = row.state else { return None };
        Some((row.finished_at.unwrap_or(row.created_at), outcome == Outcome::Passed))
    }

    fn forget_history(&self, bell: &Bell, now: Time, retention: &Retention) {
        let keep_ms = retention.keep_ms.max(retention.keep_failed_ms).max(HISTORY_KEPT_MS_MIN);
        content::forget_unused(&self.site.home.join(PROMPTS), now, keep_ms.max(PROMPTS_KEPT_MS_MIN));
        let times: Vec<Time> = match self.reader.samples(Time(i64::MIN), SAMPLES_MAX) {
            Ok(samples) => samples.iter().map(|sample| sample.at).collect(),
            Err(_) => Vec::new(),
        };
        let samples = thin(&times, now, &History::default());
        let checkpoints_before = Time(now.0.saturating_sub(i64::try_from(keep_ms).unwrap_or(i64::MAX)));
        tell(&self.site.inbox, Event::HistoryOld { samples, checkpoints_before });
        for project in self.reader.projects().unwrap_or_default() {
            if bell.has_rung() {
                return;
            }
            // One that has moved away must not keep the others from being looked after.
            if let Err(detail) = self.forget_checkpoints(bell, project.id) {
                self.complain(&format!("old checkpoints of {} are kept: {detail}", project.top));
            }
            if let Err(detail) = self.forget_refs(bell, project.id, now) {
                self.complain(&format!("old rescues of {} are kept: {detail}", project.top));
            }
        }
    }

    /// Lets go of the commits whose rows have gone.
    fn forget_checkpoints(&self, bell: &Bell, project: ProjectId) -> Result<(), String> {
        let repository = self.repository(project)?;
        for task in repository.tasks_with_checkpoints().map_err(|error| error.to_string())? {
            if bell.has_rung() || self.is_live(task)? {
                continue;
            }
            let rows = self.reader.checkpoints(task).map_err(|error| error.to_string())?;
            let tasks = self.reader.tasks_by_id(&[task]).map_err(|error| error.to_string())?;
            let wanted =
                tasks.iter().filter_map(|task| task.resume.as_ref()).map(|resume| resume.commit.clone());
            let kept = rows.into_iter().map(|row| row.facts.commit).chain(wanted).collect();
            repository.forget_checkpoints(task, &kept).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Whether a checkpoint of the task may be on its way into the store.
    fn is_live(&self, task: ropewalk_core::id::TaskId) -> Result<bool, String> {
        let attempts = self.reader.attempts(task).map_err(|error| error.to_string())?;
        Ok(attempts.last().is_some_and(|attempt| !attempt.state.is_finished()))
    }
}

/// In which form the output is, what it takes of the disk, and what the rest of the folder takes.
fn sizes(folder: &Path) -> (OutputForm, u64, u64) {
    const BLOCK_BYTES: u64 = 512;
    let (mut form, mut output_bytes, mut rest_bytes) = (OutputForm::Purged, 0_u64, 0_u64);
    let Ok(entries) = fs::read_dir(folder) else { return (form, 0, 0) };
    for entry in entries.flatten() {
        let Ok(facts) = entry.metadata() else { continue };
        let bytes = facts.blocks().saturating_mul(BLOCK_BYTES);
        let name = entry.file_name();
        match name.to_str().unwrap_or_default() {
            "stdout" | "stderr" => {
                form = OutputForm::Raw;
                output_bytes += bytes;
            }
            "index" => output_bytes += bytes,
            other if other.ends_with(".zst") => {
                form = form.min(OutputForm::Compressed);
                output_bytes += bytes;
            }
            _ => rest_bytes += bytes,
        }
    }
    (form, output_bytes, rest_bytes)
}
