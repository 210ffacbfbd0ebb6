//! An attempt's life on this machine: worktree, prompt, worker, what it left.

use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ropewalk_core::attempt::{Attempt, Collected, Exit, ExitKind};
use ropewalk_core::checkpoint::{CheckpointFacts, CheckpointWhy};
use ropewalk_core::event::Event;
use ropewalk_core::id::{AttemptId, Oid};
use ropewalk_core::prompt::{Before, leftover_message, prompt};
use ropewalk_core::resource::Bounds;
use ropewalk_core::task::TaskKind;
use ropewalk_host::content;
use ropewalk_host::durable::{create_private_folder, read_record, write_durably};
use ropewalk_host::git::Left;
use ropewalk_host::identity;
use ropewalk_host::included;
use ropewalk_host::output::rules::OutputRules;
use ropewalk_host::pool::{WorkerEvent, leftover};
use ropewalk_host::shell;
use ropewalk_host::worker::protocol::Assignment;
use ropewalk_host::worker::record::{End, ExitRecord, WorkerNote, exit_record, worker_note};

use super::rows::{Case, History};
use super::setup::{SetUp, set_up_key};
use super::spares::Errand;
use super::{Hand, Site, guards, landing, lock};

/// Where prompts are kept, in the state folder.
pub(crate) const PROMPTS: &str = "prompts";

/// The file in an attempt's folder in which an agent may name its conversation.
const SESSION: &str = "session";

/// The exit status by which an agent says that its provider wants it to come back later: `EX_TEMPFAIL` of sysexits.h.
const LATER: i32 = 75;

const NOT_WHOLE: &str = "after its set-up the worktree is none any more: .git in it was changed or removed";

/// Why an attempt did not start: once more may help, or not.
pub(super) enum NoStart {
    SetUp(String),
    Passing(String),
    /// It has ended already, as here.
    Ended(Box<Exit>),
}

impl From<String> for NoStart {
    fn from(detail: String) -> NoStart {
        NoStart::Passing(detail)
    }
}

impl Hand {
    /// Starts an attempt, or finds it again. Its folder decides which: see `Pool::run`.
    pub(super) fn start(&self, id: AttemptId) -> Option<Event> {
        if let Entry::Vacant(vacant) = lock(&self.site.starting).entry(id) {
            vacant.insert(false);
        } else {
            return None;
        }
        self.start_until_settled(id)
    }

    /// As [`start`](Self::start); one that is under way is gone through once more.
    pub(super) fn start_again(&self, id: AttemptId) -> Option<Event> {
        match lock(&self.site.starting).entry(id) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                return None;
            }
            Entry::Vacant(vacant) => drop(vacant.insert(false)),
        }
        self.start_until_settled(id)
    }

    fn start_until_settled(&self, id: AttemptId) -> Option<Event> {
        loop {
            let event = match self.try_start(id) {
                Ok(()) => None,
                Err(NoStart::SetUp(detail)) => {
                    Some(self.give_up(id, Exit::new(ExitKind::SetUpFault, detail)))
                }
                Err(NoStart::Passing(detail)) => {
                    Some(self.give_up(id, Exit::new(ExitKind::CouldNotStart, detail)))
                }
                Err(NoStart::Ended(exit)) => Some(self.give_up(id, *exit)),
            };
            let mut starting = lock(&self.site.starting);
            if event.is_some() || starting.get(&id) != Some(&true) {
                starting.remove(&id);
                return event;
            }
            starting.insert(id, false);
        }
    }

    /// What was told as not started must not start after all, should it be asked for once more meanwhile; nobody may have
    /// heard it, as when the disk is full, and then it is told again.
    pub(super) fn give_up(&self, id: AttemptId, exit: Exit) -> Event {
        self.site.pool.stop(&set_up_key(id), false);
        lock(&self.site.given_up).insert(id, exit.clone());
        Event::AttemptExited { attempt: id, exit }
    }

    fn try_start(&self, id: AttemptId) -> Result<(), NoStart> {
        let key = id.to_string();
        let folder = self.site.attempt_folder(&key);
        let is_stopping = || lock(&self.site.stopping).contains(&id);
        if worker_note(&folder).exists() || exit_record(&folder).exists() {
            // A worker has it, or had it: nothing is looked up, written or made again under a living agent.
            take_up(&folder)?;
            self.site.pool.run(found_again(&key, &folder)).map_err(|error| error.to_string())?;
            if is_stopping() {
                self.site.pool.stop(&key, false);
            }
            return Ok(());
        }
        let case = self.case(id.task)?;
        let history = self.history(id)?;
        let is_live = history.this.as_ref().is_some_and(|attempt| !attempt.state.is_finished());
        if !is_live {
            return Ok(());
        }
        if let Some(exit) = lock(&self.site.given_up).get(&id).cloned() {
            return Err(NoStart::Ended(Box::new(exit)));
        }
        create_private_folder(&folder).map_err(|error| error.to_string())?;
        let assignment = match &case.task.kind {
            TaskKind::Implement => match self.prepare_worktree(id, &case, &history, &folder)? {
                Some(assignment) => assignment,
                None => return Ok(()),
            },
            TaskKind::Command { folder: dir } => {
                self.assignment(id, &case, &folder, Path::new(dir), None, &history)?
            }
            TaskKind::Land => return Err(NoStart::SetUp("a landing has no attempt to start".into())),
        };
        // Asked to end while it was prepared: told to stop before it has begun, it ends without a beginning.
        let at_once = is_stopping();
        self.site.pool.run(assignment).map_err(|error| error.to_string())?;
        if at_once || is_stopping() {
            self.site.pool.stop(&key, at_once);
        }
        Ok(())
    }

    /// Nothing: its set-up is under way, and the end of that starts it once more.
    fn prepare_worktree(
        &self,
        id: AttemptId,
        case: &Case,
        history: &History,
        folder: &Path,
    ) -> Result<Option<Assignment>, NoStart> {
        // A living set-up, as a living agent: nothing is worked out or made again under it.
        if self.is_setting_up(id)? {
            return Ok(None);
        }
        let project = case.project.as_ref().ok_or_else(|| "the task has no project".to_owned())?;
        let branch = case.prd.as_ref().and_then(|prd| prd.branch.made());
        let branch = branch.ok_or_else(|| "the PRD has no branch".to_owned())?;
        let worktree = self.site.worktree(&id.to_string());
        let repository = self.repository(project.id)?;
        let start = match read_start(folder) {
            Some(start) => start,
            None => {
                let checkpoint = history.this.as_ref().and_then(|attempt| attempt.resume.as_ref());
                let resumed = match checkpoint {
                    Some(resume) => Some(resume.commit.clone()),
                    None => history.last_candidate.as_ref().and_then(|c| c.resume_at.clone()),
                };
                let tip = || repository.branch_tip(branch).map_err(|error| error.to_string());
                match resumed {
                    Some(start) => start,
                    None => tip()?.ok_or_else(|| NoStart::SetUp(format!("the branch {branch} is gone")))?,
                }
            }
        };
        if self.was_set_up(id)? {
            // Made again it would lack what the set-up left there.
            if !repository.is_worktree_whole(&worktree).map_err(|error| error.to_string())? {
                return Err(NoStart::SetUp(NOT_WHOLE.into()));
            }
            // After the set-up, which is the user's own: what it changes in the repository is no tampering.
            guards::keep(&repository, &worktree, folder)?;
            return self.assignment(id, case, folder, &worktree, Some(&start), history).map(Some);
        }
        repository
            .add_worktree_without(id, &worktree, &start, &self.included(id)?)
            .map_err(|error| error.to_string())?;
        self.site.groom.tell(Errand::Warm(project.id, start.clone()));
        write_durably(&folder.join("start"), start.as_str().as_bytes()).map_err(|error| error.to_string())?;
        match self.set_up(id, case, &repository, &worktree, &start)? {
            SetUp::UnderWay => Ok(None),
            SetUp::Done => {
                guards::keep(&repository, &worktree, folder)?;
                self.assignment(id, case, folder, &worktree, Some(&start), history).map(Some)
            }
        }
    }

    fn assignment(
        &self,
        id: AttemptId,
        case: &Case,
        folder: &Path,
        dir: &Path,
        start: Option<&Oid>,
        history: &History,
    ) -> Result<Assignment, NoStart> {
        let settings = &case.settings;
        let command = settings.command.clone().ok_or_else(|| {
            NoStart::SetUp(
                "no agent is set: give --command, or set [agent.shell] command in ropewalk.toml".into(),
            )
        })?;
        let text = self.prompt(id, case, history)?;
        let prompt_file =
            content::keep(&self.site.home.join(PROMPTS), &text, "md").map_err(|error| error.to_string())?;
        let mut given = case.named(id);
        given.push(("ROPEWALK_PROMPT", prompt_file.to_string_lossy().into_owned()));
        given.push(("ROPEWALK_SESSION_FILE", folder.join(SESSION).to_string_lossy().into_owned()));
        if let Some(resume) = history.this.as_ref().and_then(|attempt| attempt.resume.as_ref()) {
            given.push(("ROPEWALK_CHECKPOINT", resume.commit.to_string()));
            given.extend(resume.session.clone().map(|session| ("ROPEWALK_SESSION", session)));
        }
        if let Some(start) = start {
            given.push(("ROPEWALK_WORKTREE", dir.to_string_lossy().into_owned()));
            given.push(("ROPEWALK_BASE", start.to_string()));
            let last = history.last.as_ref().and_then(|attempt| attempt.head.as_ref());
            given.extend(last.map(|head| ("ROPEWALK_PREVIOUS", head.to_string())));
            self.furnish(&id.to_string(), case, &mut given)?;
        }
        let env = shell::environment(shell::own_environment(), &settings.env, &given);
        Site::refuse_short_secrets(settings, &env).map_err(NoStart::SetUp)?;
        Ok(Assignment {
            argv: shell::argv_of(&command),
            dir: dir.to_owned(),
            stdin: Some(prompt_file),
            timeout_ms: settings.timeout_ms.unwrap_or(self.site.limits.timeout_ms),
            stall_ms: settings.stall_ms.filter(|ms| *ms > 0),
            program: shell::program_of(&command),
            ..self.site.supervised(id.to_string(), folder, settings, env)
        })
    }

    fn prompt(&self, id: AttemptId, case: &Case, history: &History) -> Result<String, String> {
        let story = self.story(&case.task)?;
        let told = story.as_ref().map(|story| (story, ropewalk_core::prd::story_text(&story.body)));
        let ended =
            history.last.as_ref().map(|attempt| attempt.detail.as_str()).filter(|text| !text.is_empty());
        let before = Before {
            attempt: id.number.0,
            ended,
            output: history.last.as_ref().and_then(|attempt| attempt.feedback.as_deref()),
            returned: history.last_candidate.as_ref().and_then(|candidate| candidate.feedback.as_deref()),
            resume: history.this.as_ref().and_then(|attempt| attempt.resume.as_ref()),
        };
        let story =
            told.as_ref().map(|(story, text)| (*story, text.description.as_str(), text.criteria.as_slice()));
        let checks = case.settings.checks.clone().unwrap_or_default();
        Ok(prompt(&case.task, case.prd.as_ref(), story, &checks, &before))
    }

    /// Asked for again while it is under way, as with each lease on a large repository, it is done once.
    pub(super) fn collect(&self, id: AttemptId) -> Option<Event> {
        if !lock(&self.site.collecting).insert(id) {
            return None;
        }
        let collected = self.try_collect(id).unwrap_or_else(|detail| Collected::Fault { detail });
        lock(&self.site.collecting).remove(&id);
        Some(Event::AttemptCollected { attempt: id, collected })
    }

    fn try_collect(&self, id: AttemptId) -> Result<Collected, String> {
        let case = self.case(id.task)?;
        let project = case.project.as_ref().ok_or_else(|| "the task has no project".to_owned())?;
        let repository = self.repository(project.id)?;
        let attempt = self.history(id)?.this.ok_or_else(|| "the attempt is not in the store".to_owned())?;
        let folder = self.site.attempt_folder(&id.to_string());
        let Some(start) = start_of(&attempt, &folder) else {
            return Ok(Collected::Gone { detail: "it never had a worktree".into() });
        };
        let worktree = self.site.worktree(&id.to_string());
        let tampered = guards::compare(&repository, &worktree, &folder, attempt.started_at.is_some())?;
        if ended_before_this_boot(&folder) {
            if let Some(detail) = tampered {
                return Ok(Collected::Tampered { head: None, detail });
            }
            let detail = "the machine went down before its work was read; its files may be torn".to_owned();
            return Ok(Collected::Fault { detail });
        }
        let message = leftover_message(&case.task, case.prd.as_ref(), id.number.0);
        let left = repository
            .collect_without(id, &worktree, &start, &message, attempt.created_at.0, &self.included(id)?)
            .map_err(|error| error.to_string());
        if let Some(detail) = tampered {
            let head = match left {
                Ok(Left::Commit { head, .. }) => Some(head),
                Ok(Left::Unfinished { .. } | Left::Gone { .. }) | Err(_) => None,
            };
            return Ok(Collected::Tampered { head, detail });
        }
        Ok(match left? {
            Left::Commit { head, changed } => Collected::Commit { head, changed },
            Left::Unfinished { detail } => Collected::Unfinished { detail },
            Left::Gone { detail } => Collected::Gone { detail },
        })
    }

    /// Puts by what the worktree holds now.
    /// Asked for again while one is under way, as by a timer that is faster than git, it is taken once.
    pub(super) fn checkpoint(&self, id: AttemptId, why: CheckpointWhy) -> Option<Event> {
        if !lock(&self.site.checkpointing).insert(id) {
            return None;
        }
        let result = self.try_checkpoint(id);
        lock(&self.site.checkpointing).remove(&id);
        Some(Event::Checkpointed { attempt: id, why, result })
    }

    fn try_checkpoint(&self, id: AttemptId) -> Result<CheckpointFacts, String> {
        let case = self.case(id.task)?;
        let project = case.project.as_ref().ok_or_else(|| "the task has no project".to_owned())?;
        let repository = self.repository(project.id)?;
        let attempt = self.history(id)?.this.ok_or_else(|| "the attempt is not in the store".to_owned())?;
        let folder = self.site.attempt_folder(&id.to_string());
        let start = start_of(&attempt, &folder).ok_or_else(|| "it has no worktree yet".to_owned())?;
        let worktree = self.site.worktree(&id.to_string());
        let commit = repository
            .checkpoint_without(id, &worktree, &start, ropewalk_host::clock::wall_ms(), &self.included(id)?)
            .map_err(|error| error.to_string())?;
        let bytes = |name: &str| folder.join(name).symlink_metadata().map_or(0, |facts| facts.len());
        Ok(CheckpointFacts {
            commit,
            start,
            session: read_session(&folder),
            stdout_bytes: bytes("stdout"),
            stderr_bytes: bytes("stderr"),
        })
    }

    /// Lets the worktree go. Whatever fails keeps it: the next sweep tries again.
    pub(super) fn release(&self, id: AttemptId) {
        lock(&self.site.stopping).remove(&id);
        lock(&self.site.given_up).remove(&id);
        let worktree = self.site.worktree(&id.to_string());
        self.site.releases.begin(id);
        if self.waits_for_set_up(id) {
            return;
        }
        let case = self.case(id.task).ok();
        if let Some(case @ Case { project: Some(project), task, .. }) = &case
            && task.kind == TaskKind::Implement
        {
            // The user's own files first: nothing of them may be in what is kept.
            let let_go = || {
                let files = self.included(id)?;
                included::scrub(&worktree, &files).map_err(|error| error.to_string())?;
                self.let_go(&self.repository(project.id)?, id, task, &worktree)
            };
            let released = match self.tear_down(id, case, &worktree) {
                Ok(true) => return,
                Ok(false) => let_go(),
                Err(detail) => Err(detail),
            };
            if let Err(detail) = released {
                self.complain(&format!("the worktree of attempt {id} is kept: {detail}"));
            }
            self.site.groom.tell(Errand::Wash(project.id));
        }
        self.released(id, case.as_ref());
    }

    /// Puts down what no event can carry, for the person who looks.
    pub(super) fn complain(&self, text: &str) {
        let path = self.site.home.join("engine.log");
        let line = format!("{} {text}\n", ropewalk_host::clock::wall_ms());
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        // A log that cannot be written is not worth an attempt.
        let _ = opened.and_then(|mut file| std::io::Write::write_all(&mut file, line.as_bytes()));
    }
}

/// Stands for an assignment that was handed out before: its folder says all, and it is never started from this.
pub(super) fn found_again(key: &str, folder: &Path) -> Assignment {
    Assignment {
        key: key.to_owned(),
        folder: folder.to_owned(),
        argv: Vec::new(),
        dir: folder.to_owned(),
        env: Vec::new(),
        stdin: None,
        timeout_ms: 0,
        grace_ms: 0,
        stall_ms: None,
        bounds: Bounds::default(),
        output: OutputRules::default(),
        program: None,
    }
}

pub(crate) fn read_start(folder: &Path) -> Option<Oid> {
    Oid::new(std::fs::read_to_string(folder.join("start")).ok()?.trim()).ok()
}

fn read_note(folder: &Path) -> Option<WorkerNote> {
    read_record(&worker_note(folder)).ok().flatten()
}

/// Where the work in an attempt's worktree began.
fn start_of(attempt: &Attempt, folder: &Path) -> Option<Oid> {
    let resumed = attempt.resume.as_ref().map(|resume| resume.start.clone());
    resumed.or_else(|| attempt.start.clone()).or_else(|| read_start(folder))
}

pub(super) fn is_this_boot(boot_id: &str) -> bool {
    // A record of before such ids were kept says nothing.
    boot_id.is_empty() || boot_id == identity::boot_id()
}

/// The agent ended, and the machine was started anew since: nobody knows which of its files reached the disk.
fn ended_before_this_boot(folder: &Path) -> bool {
    let record: Option<ExitRecord> = read_record(&exit_record(folder)).ok().flatten();
    record.is_some_and(|record| !is_this_boot(&record.boot_id))
}

/// The agent's own name for its conversation, if it wrote one down: the first line of a file that it was told of.
fn read_session(folder: &Path) -> Option<String> {
    const SESSION_BYTES_MAX: usize = 256;
    let path = folder.join(SESSION);
    // A plain file only: see `read_tail`.
    let _ = std::fs::symlink_metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    let mut bytes = Vec::with_capacity(SESSION_BYTES_MAX + 1);
    File::open(&path).ok()?.take(SESSION_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let line = text.lines().next().filter(|line| line.len() <= SESSION_BYTES_MAX)?.trim();
    let is_plain = !line.is_empty() && line.chars().all(|c| c.is_ascii_graphic());
    is_plain.then(|| line.to_owned())
}

/// Engines that may end while they take an attempt of an earlier one up. Then it is set aside instead of ending the next.
const TAKEN_UP_MAX: u64 = 3;

fn taken_up(folder: &Path) -> PathBuf {
    folder.join("taken-up")
}

/// Marks that an attempt of an earlier engine is being taken up. The mark goes once anything is heard of it; an engine
/// that ends before leaves it.
fn take_up(folder: &Path) -> Result<(), NoStart> {
    let path = taken_up(folder);
    let before = path.symlink_metadata().map_or(0, |facts| facts.len());
    if before >= TAKEN_UP_MAX {
        // Nobody looks after it from here on.
        leftover::end(folder);
        return Err(NoStart::SetUp(format!(
            "{before} engines in a row ended while they took this attempt up"
        )));
    }
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    // Without the mark it is only less safe.
    let _ = opened.and_then(|mut file| std::io::Write::write_all(&mut file, b"."));
    Ok(())
}

/// What a worker's word means to the engine.
pub(super) fn read_worker_event(home: &Path, tail_max: usize, event: WorkerEvent) -> Option<(String, Event)> {
    let folder = |key: &str| home.join("attempts").join(key);
    let ended = |key: String, exit: Exit| {
        let event = match key.parse::<AttemptId>() {
            Ok(attempt) => Event::AttemptExited { attempt, exit },
            Err(_) => landing::check_ended(&key, &exit)?,
        };
        Some((key, event))
    };
    if let WorkerEvent::Started { key, .. } | WorkerEvent::Ended { key, .. } | WorkerEvent::Lost { key, .. } =
        &event
    {
        let _ = std::fs::remove_file(taken_up(&folder(key)));
    }
    match event {
        WorkerEvent::Started { key, .. } => {
            let attempt = key.parse().ok()?;
            let start = read_start(&folder(&key));
            let rung = read_note(&folder(&key)).and_then(|note| note.rung);
            Some((key, Event::AttemptStarted { attempt, start, rung }))
        }
        WorkerEvent::Alive { key } => {
            let attempt = key.parse().ok()?;
            Some((key, Event::AttemptAlive { attempt }))
        }
        WorkerEvent::NearDeadline { key, left_ms } => {
            let attempt = key.parse().ok()?;
            Some((key, Event::AttemptNearDeadline { attempt, left_ms }))
        }
        WorkerEvent::Ended { key, record } => {
            let exit = exit_of(&record, &folder(&key), tail_max);
            ended(key, exit)
        }
        WorkerEvent::Lost { key, detail } => {
            let folder = folder(&key);
            let note = read_note(&folder);
            let is_other_boot = note.as_ref().is_some_and(|note| !is_this_boot(&note.worker.boot_id));
            let kind = if is_other_boot { ExitKind::MachineEnded } else { ExitKind::Lost };
            let rung = note.and_then(|note| note.rung);
            let (tail, session) = (tail_of(&folder, tail_max), read_session(&folder));
            ended(key, Exit { tail, rung, session, ..Exit::new(kind, detail) })
        }
    }
}

pub(super) fn exit_of(record: &ExitRecord, folder: &Path, tail_max: usize) -> Exit {
    let (kind, detail) = match &record.end {
        End::Exited { code: 0 } => (ExitKind::Success, String::new()),
        End::Exited { code: LATER } => {
            (ExitKind::RateLimited, format!("it asked to come back later (exit status {LATER})"))
        }
        End::Exited { code } => (ExitKind::Failure, format!("exit status {code}")),
        End::Signalled { os_signal } => (ExitKind::Failure, format!("ended by OS signal {os_signal}")),
        End::TimedOut { stalled: true } => {
            (ExitKind::Stalled, "it neither printed nor computed anything for as long as it may".into())
        }
        End::TimedOut { stalled: false } => {
            let limit_ms = read_note(folder).map_or(record.usage.wall_ms, |note| note.timeout_ms);
            (ExitKind::TimedOut, format!("its time ran out after {limit_ms} ms"))
        }
        End::OverLimit { resource, detail } => (ExitKind::OverLimit(*resource), detail.clone()),
        End::Stopped => (ExitKind::Stopped, "asked to end".into()),
        End::NotStarted { reason, passing: true } => (ExitKind::CouldNotStart, reason.clone()),
        End::NotStarted { reason, passing: false } => (ExitKind::SetUpFault, reason.clone()),
    };
    Exit {
        kind,
        detail,
        tail: tail_of(folder, tail_max),
        usage: Some(record.usage),
        rung: record.rung,
        session: read_session(folder),
    }
}

/// The end of what it printed: half of the room for each stream.
fn tail_of(folder: &Path, bytes_max: usize) -> String {
    let read = |name: &str| read_tail(&folder.join(name), bytes_max / 2).unwrap_or_default();
    let (out, err) = (read("stdout"), read("stderr"));
    match (out.trim().is_empty(), err.trim().is_empty()) {
        (_, true) => out,
        (true, false) => err,
        (false, false) => format!("{out}\n--- stderr ---\n{err}"),
    }
}

fn read_tail(path: &PathBuf, bytes_max: usize) -> Option<String> {
    // A plain file only: an agent could have put a pipe there, and reading that never ends.
    let length = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?.len();
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max as u64))).ok()?;
    let mut bytes = Vec::with_capacity(bytes_max);
    file.take(bytes_max as u64).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
