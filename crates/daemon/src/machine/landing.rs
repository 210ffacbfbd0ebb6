//! Merging, checking and landing a candidate.

use std::path::Path;

use ropewalk_core::attempt::{Exit, ExitKind};
use ropewalk_core::candidate::{CandidateState, MergedCommit, Source};
use ropewalk_core::effect::Car;
use ropewalk_core::event::{CheckResult, Event, LandResult, MergeResult};
use ropewalk_core::id::{AttemptId, BranchName, Oid, ProjectId, TaskId};
use ropewalk_core::limits::shorten;
use ropewalk_core::port::Read;
use ropewalk_core::prompt::landing_message;
use ropewalk_core::settings::LandMethod;
use ropewalk_host::durable::{create_private_folder, read_record};
use ropewalk_host::git::{self, Coupled, Landing, Repository};
use ropewalk_host::shell;
use ropewalk_host::worker::protocol::Assignment;
use ropewalk_host::worker::record::{End, ExitRecord, exit_record, worker_note};

use super::rows::Case;
use super::setup::SCRIPT;
use super::spares::Errand;
use super::{Hand, Site, lock};

impl Hand {
    /// Merges the cars one upon the other; nothing moves.
    pub(super) fn merge(&self, project: ProjectId, target: BranchName, cars: &[Car]) -> Event {
        let results = self.try_merge(project, &target, cars).unwrap_or_else(|detail| {
            let fault = |car: &Car| (car.candidate, MergeResult::Fault { detail: detail.clone() });
            cars.iter().map(fault).collect()
        });
        Event::Merged { project, target, results }
    }

    fn try_merge(
        &self,
        project: ProjectId,
        target: &BranchName,
        cars: &[Car],
    ) -> Result<Vec<(AttemptId, MergeResult)>, String> {
        let repository = self.repository(project)?;
        let text_max = self.site.limits.feedback_bytes_max;
        let mut results: Vec<(AttemptId, Option<MergeResult>)> = Vec::new();
        let mut loaded = Vec::new();
        for car in cars {
            let load = self.load(&repository, car).and_then(|load| {
                // One that git cannot work with, as when its commits are gone, is not to hold the others up.
                let is_alone = cars.len() == 1;
                let known = if is_alone { Ok(true) } else { repository.is_commit(&load.head) };
                match known {
                    Ok(true) => Ok(load),
                    Ok(false) => Err(format!("its commit {} is not in the repository", load.head)),
                    Err(error) => Err(error.to_string()),
                }
            });
            results.push((car.candidate, load.as_ref().err().map(|detail| fault(detail))));
            loaded.extend(load);
        }
        let gone = format!("the branch {target} is gone; make it again with `git branch {target} COMMIT`");
        let loads: Vec<_> = loaded.iter().map(Load::as_car).collect();
        let train =
            repository.train(target, &loads, text_max).map_err(|error| error.to_string())?.ok_or(gone)?;
        if let Some(last) = train.cars.iter().rev().find_map(|car| match car {
            Coupled::Merged { commit, .. } => Some(commit),
            Coupled::Contained | Coupled::Conflict { .. } => None,
        }) {
            repository.keep_train(target, last).map_err(|error| error.to_string())?;
        }
        let mut line = train.onto;
        let mut coupled = loaded.iter().zip(train.cars);
        for (_, result) in results.iter_mut().filter(|(_, result)| result.is_none()) {
            let (load, coupled) = coupled.next().ok_or("git merged fewer than it was given")?;
            *result = Some(match coupled {
                Coupled::Merged { onto, commit, tree } => {
                    line = commit.clone();
                    MergeResult::Merged(MergedCommit { onto, commit, tree })
                }
                Coupled::Contained => {
                    let tree = repository.tree_of(&line).map_err(|error| error.to_string())?;
                    MergeResult::Contained { commit: line.clone(), tree }
                }
                Coupled::Conflict { files, text } => {
                    let others = self.landed_before(&repository, &line, &load.head, &files);
                    MergeResult::Conflict { files, text: shorten(&format!("{text}{others}"), text_max) }
                }
            });
        }
        Ok(results.into_iter().filter_map(|(id, result)| Some((id, result?))).collect())
    }

    /// What has landed in these files since this work began: who is to bring both sides together must know what the
    /// other one was for. A look that fails costs only the words.
    fn landed_before(&self, repository: &Repository, line: &Oid, head: &Oid, files: &[String]) -> String {
        let landed = repository.landed_in(line, head, files, "Ropewalk-Task", OTHERS_MAX).unwrap_or_default();
        let mut text = String::new();
        for number in landed.iter().filter_map(|number| number.parse().ok()) {
            let Ok(Case { task, .. }) = self.case(TaskId(number)) else { continue };
            text += &format!("\n--- what landed there before: {}\n", task.title);
            if let Ok(Some(story)) = self.story(&task) {
                text += &shorten(&story.body, OTHER_BYTES_MAX);
                text.push('\n');
            }
        }
        text
    }

    /// The commit that a car stands for now, and what its own commit is to say.
    fn load(&self, repository: &Repository, car: &Car) -> Result<Load, String> {
        let case = self.case(car.candidate.task)?;
        let head = match &car.source {
            Source::Commit(commit) => commit.clone(),
            Source::Branch(branch) => {
                let tip = repository.branch_tip(branch).map_err(|error| error.to_string())?;
                tip.ok_or_else(|| format!("the branch {branch} is gone"))?
            }
        };
        let message = landing_message(&case.task, case.prd.as_ref(), car.candidate.number.0);
        Ok(Load { head, message, at_ms: car.date.0, method: car.method })
    }

    /// Runs the checks in a clean worktree of exactly this commit, one after another, until one is red.
    pub(super) fn check(
        &self,
        id: AttemptId,
        project: ProjectId,
        merged: &MergedCommit,
        run: u32,
    ) -> Option<Event> {
        let key = check_key(id, merged, run);
        if !lock(&self.site.checking).insert(key.clone()) {
            return None;
        }
        let tried = self.try_check(id, project, merged, &key);
        if tried.is_err() {
            // Before it may be asked for once more.
            self.end_check(&key);
        }
        lock(&self.site.checking).remove(&key);
        match tried {
            Ok(()) => None,
            Err(detail) => {
                let commit = merged.commit.short().to_owned();
                Some(Event::Checked { candidate: id, commit, run, result: CheckResult::Fault { detail } })
            }
        }
    }

    fn try_check(
        &self,
        id: AttemptId,
        project: ProjectId,
        merged: &MergedCommit,
        key: &str,
    ) -> Result<(), String> {
        let repository = self.repository(project)?;
        let case = self.case(id.task)?;
        let folder = self.site.attempt_folder(key);
        let worktree = self.site.worktree(key);
        forget_stopped(&folder);
        create_private_folder(&folder).map_err(|error| error.to_string())?;
        let is_handed = worker_note(&folder).exists() || exit_record(&folder).exists();
        if !is_handed {
            repository
                .add_check_worktree(key, &worktree, &merged.commit)
                .map_err(|error| error.to_string())?;
        }
        let mut given = case.named(id);
        given.push(("ROPEWALK_WORKTREE", worktree.to_string_lossy().into_owned()));
        given.push(("ROPEWALK_BASE", merged.onto.to_string()));
        self.furnish(key, &case, &mut given)?;
        let checks = case.settings.checks.clone().unwrap_or_default();
        let env = shell::environment(shell::own_environment(), &case.settings.env, &given);
        Site::refuse_short_secrets(&case.settings, &env)?;
        if !is_handed {
            find_programs(&checks, &worktree, &env)?;
        }
        let mut argv = shell::argv_of(SCRIPT);
        argv.push("the check".into());
        argv.extend(checks);
        let assignment = Assignment {
            argv,
            dir: worktree,
            timeout_ms: case.settings.check_timeout_ms.unwrap_or(self.site.limits.check_timeout_ms),
            ..self.site.supervised(key.to_owned(), &folder, &case.settings, env)
        };
        self.site.pool.run(assignment).map_err(|error| error.to_string())?;
        // Cancelled while it was prepared: nobody could stop it then.
        if !self.is_check_wanted(key, id) {
            self.site.pool.stop(key, true);
        }
        Ok(())
    }

    /// Whether the candidate is still being checked, on the commit and in the run that the key names.
    pub(super) fn is_check_wanted(&self, key: &str, id: AttemptId) -> bool {
        // A store that cannot be read says nothing: what runs goes on.
        let Ok(candidates) = self.reader.candidates(id.task) else { return true };
        candidates.iter().any(|row| {
            row.id == id
                && matches!(&row.state, CandidateState::Checking { merged, reds }
                    if key == check_key(id, merged, reds + 1))
        })
    }

    pub(super) fn land(
        &self,
        id: AttemptId,
        project: ProjectId,
        target: &BranchName,
        merged: &MergedCommit,
        follow: Option<&BranchName>,
    ) -> Event {
        let result = self
            .try_land(id, project, target, merged, follow)
            .unwrap_or_else(|detail| LandResult::Fault { detail });
        Event::Landed { candidate: id, result }
    }

    fn try_land(
        &self,
        id: AttemptId,
        project: ProjectId,
        target: &BranchName,
        merged: &MergedCommit,
        follow: Option<&BranchName>,
    ) -> Result<LandResult, String> {
        let repository = self.repository(project)?;
        let reason = format!("ropewalk: land {id}");
        let landing = repository
            .land(target, &merged.onto, &merged.commit, &reason)
            .map_err(|error| error.to_string())?;
        Ok(match landing {
            Landing::Landed { .. } => {
                if let Some(branch) = follow
                    && let Err(error) = repository.follow(branch, &merged.commit)
                {
                    self.complain(&format!("{branch} could not follow {target}: {error}"));
                }
                LandResult::Landed
            }
            Landing::TargetMoved { .. } => LandResult::TargetMoved,
            Landing::Dirty { checkout, detail } => {
                LandResult::CheckoutDirty { checkout: checkout.to_string_lossy().into_owned(), detail }
            }
        })
    }

    /// Removes what a check was run in, and no other's: the next check of the same candidate may have begun. It is ours,
    /// made from a commit, and holds nothing that is not in it.
    fn remove_check_worktree(&self, key: &str, project: ProjectId) {
        let path = self.site.worktree(key);
        let removed = self
            .repository(project)
            .and_then(|repository| repository.remove_check_worktree(&path).map_err(|e| e.to_string()));
        if let Err(detail) = removed {
            self.complain(&format!("{} is kept: {detail}", path.display()));
        }
        self.site.groom.tell(Errand::Wash(project));
    }
}

/// Names a check whose program is not there: no agent can mend that, so none is asked to.
fn find_programs(checks: &[String], worktree: &Path, env: &[(String, String)]) -> Result<(), String> {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    for word in checks.iter().filter_map(|check| shell::program_of(check)) {
        shell::find_program(&word, worktree, path).map_err(|fault| {
            format!(
                "{fault}; a check runs in the merged tree, so its program must be committed or on the PATH"
            )
        })?;
    }
    Ok(())
}

/// A check's key holds the commit that it runs on and counts the runs: what is merged anew is checked anew.
fn check_key(id: AttemptId, merged: &MergedCommit, run: u32) -> String {
    format!("check-{id}-{}-{run}", merged.commit.short())
}

/// The candidate that a check's key speaks of, the beginning of the commit's id, and the run.
fn parts_of(key: &str) -> Option<(AttemptId, &str, u32)> {
    let (rest, run) = key.strip_prefix("check-")?.rsplit_once('-')?;
    let (candidate, commit) = rest.rsplit_once('-')?;
    Some((candidate.parse().ok()?, commit, run.parse().ok()?))
}

/// Stories of the other side that a conflict's text holds, and how much of each.
const OTHERS_MAX: usize = 3;
const OTHER_BYTES_MAX: usize = 2 << 10;

/// A car with what git is to make of it.
struct Load {
    head: Oid,
    message: String,
    at_ms: i64,
    method: LandMethod,
}

impl Load {
    fn as_car(&self) -> git::Car<'_> {
        git::Car { head: &self.head, message: &self.message, at_ms: self.at_ms, method: self.method }
    }
}

fn fault(detail: &str) -> MergeResult {
    MergeResult::Fault { detail: detail.to_owned() }
}

pub(super) fn candidate_of(key: &str) -> Option<AttemptId> {
    parts_of(key).map(|(candidate, ..)| candidate)
}

/// What the end of a check's process says of the candidate.
pub(super) fn check_ended(key: &str, exit: &Exit) -> Option<Event> {
    let (candidate, commit, run) = parts_of(key)?;
    let verdict = exit
        .tail
        .lines()
        .rev()
        .find(|line| line.starts_with("the check failed"))
        .unwrap_or("the check failed");
    let result = match exit.kind {
        ExitKind::Success => CheckResult::Passed,
        ExitKind::Failure | ExitKind::RateLimited => {
            CheckResult::Failed { text: format!("{verdict}\n\n{}", exit.tail) }
        }
        ExitKind::TimedOut | ExitKind::Stalled | ExitKind::OverLimit(_) => {
            CheckResult::Failed { text: format!("the checks: {}\n\n{}", exit.detail, exit.tail) }
        }
        ExitKind::SetUpFault | ExitKind::CouldNotStart => CheckResult::Fault { detail: exit.detail.clone() },
        ExitKind::Stopped | ExitKind::Lost | ExitKind::MachineEnded => {
            CheckResult::Lost { detail: exit.detail.clone() }
        }
    };
    Some(Event::Checked { candidate, commit: commit.to_owned(), run, result })
}

/// A check that we ended ourselves said nothing: its folder goes, and it is run anew. It holds a part of the
/// checks' output and nothing else.
fn forget_stopped(folder: &Path) {
    let record: Option<ExitRecord> = read_record(&exit_record(folder)).ok().flatten();
    if record.is_some_and(|record| record.end == End::Stopped) {
        let _ = std::fs::remove_dir_all(folder);
    }
}

impl Hand {
    /// A check has ended: what it ran in goes. Its record stays only where it passed: a red one may be green when the
    /// same merge is tried again, once a person has mended what was wrong. What it said is in the event.
    pub(super) fn clear_check(&self, key: &str, has_passed: bool) {
        let Some(candidate) = candidate_of(key) else { return };
        if !has_passed {
            let _ = std::fs::remove_dir_all(self.site.attempt_folder(key));
        }
        let case = self.case(candidate.task).ok();
        self.give_slot_back(key, case.as_ref());
        if let Some(project) = case.and_then(|case| case.task.project) {
            self.remove_check_worktree(key, project);
        }
    }
}

pub(super) fn stop_check(site: &Site, candidate: AttemptId) {
    for key in site.pool.keys_running() {
        if candidate_of(&key) == Some(candidate) {
            site.pool.stop(&key, true);
        }
    }
}
