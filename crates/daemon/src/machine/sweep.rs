//! After a start: what belongs to no live attempt goes, once what it holds is kept.

use std::collections::BTreeSet;

use ropewalk_core::id::AttemptId;
use ropewalk_core::port::Read;
use ropewalk_host::git::name_before_removal;

use ropewalk_host::worker::record::{exit_record, worker_note};

use super::attempts::found_again;
use super::landing::candidate_of;
use super::spares::Errand;
use super::{Hand, lock};

impl Hand {
    pub(super) fn sweep(&self, live: &[AttemptId]) {
        let live: BTreeSet<_> = live.iter().copied().collect();
        let entries = std::fs::read_dir(self.site.home.join("worktrees")).into_iter().flatten();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // An engine may have died while it removed one.
            let name = name_before_removal(&name);
            if let Some(candidate) = candidate_of(name) {
                self.sweep_check(name, candidate);
            } else if let Ok(attempt) = name.parse::<AttemptId>()
                && !live.contains(&attempt)
                && !self.is_kept(attempt)
                && self.is_over(attempt)
            {
                self.release(attempt);
            }
        }
        self.sweep_slots();
        self.sweep_repositories(&live);
    }

    /// What no folder tells of: branches of attempts that are over, and spares, which outlive an engine.
    fn sweep_repositories(&self, live: &BTreeSet<AttemptId>) {
        for project in self.reader.projects().unwrap_or_default() {
            let control = self.site.home.join("git").join(project.id.to_string());
            // Where nothing was ever made there is nothing to look for; and the repository may be gone.
            let Some(repository) = control.is_dir().then(|| self.repository(project.id).ok()).flatten()
            else {
                continue;
            };
            for attempt in repository.attempts_on_record() {
                if !live.contains(&attempt) && !self.is_kept(attempt) && self.is_over(attempt) {
                    self.release(attempt);
                }
            }
            self.site.groom.tell(Errand::Wash(project.id));
        }
    }

    /// The row decides, not only the list: attempts that began after the list was made are live too, and what
    /// has no row is nothing that we know enough of to take it away.
    pub(super) fn is_over(&self, attempt: AttemptId) -> bool {
        let row = self.history(attempt).ok().and_then(|history| history.this);
        row.is_some_and(|row| row.state.is_finished())
    }

    /// A check's worktree is wanted only while its candidate is being checked.
    fn sweep_check(&self, key: &str, candidate: AttemptId) {
        if lock(&self.site.checking).contains(key) || self.is_check_wanted(key, candidate) {
            return;
        }
        self.end_check(key);
    }

    /// Clears up after a check that nobody waits for. One that still runs is taken up first, so that it can be ended; its
    /// end clears up.
    pub(super) fn end_check(&self, key: &str) {
        let folder = self.site.attempt_folder(key);
        if worker_note(&folder).exists() && !exit_record(&folder).exists() {
            if self.site.pool.run(found_again(key, &folder)).is_ok() {
                self.site.pool.stop(key, true);
            }
        } else {
            self.clear_check(key, false);
        }
    }
}
