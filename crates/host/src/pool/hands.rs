//! The pool's own thread: starts workers, hands them assignments, and settles what has become of one. Knows the
//! folder of an assignment and the pool's state; unaware of what workers say (that is `link`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

use super::overdue::Due;
use super::{Chore, Link, Shared, State, WORKERS_MAX, WorkerEvent, leftover, spawn_thread};
use crate::clock::{boot_ms, wall_ms};
use crate::containment::mark::Killed;
use crate::containment::remove_stale;
use crate::durable::{FileError, read_record};
use crate::identity::ProcessIdentity;
use crate::socket;
use crate::worker::protocol::{Assignment, ToWorker, encode};
use crate::worker::record::{self, AgentNote, End, ExitRecord, WorkerNote};
use crate::worker::socket_name;

/// How long a worker may take to end once its socket is closed: it has only its exit left.
pub(super) const END_WAIT_MS: u32 = 500;

/// The pause before the second try, a fourth of it; doubled each time. All of them take more than a second: a killed
/// daemon's descriptors are closed one by one, its lock among the first.
const TRY_PAUSE: Duration = Duration::from_millis(2);

/// How often an assignment is settled anew before its worker is given up: each time means that a worker hung
/// up on us while it lived.
const TRIES_MAX: u32 = 8;

/// Workers in a row that end at once before we stop starting them: the program is broken, not unlucky.
const FAILURES_MAX: u32 = 3;

/// How long a message may stay unread before its worker counts as stuck.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// The workers' log: they write when something is wrong, so a megabyte holds years.
const LOG_BYTES_MAX: u64 = 1 << 20;

/// What to do next, found under the lock and done without it.
enum Step {
    Hand { stream: Arc<UnixStream>, assignment: Box<Assignment> },
    Skip { key: String, end: End },
    Start { number: u32 },
    Nothing,
}

impl Shared {
    pub(super) fn work(self: Arc<Self>) {
        while let Some(chore) = self.next_chore() {
            match chore {
                None => {}
                Some(Chore::Sweep) => self.sweep(),
                Some(Chore::Settle { key, worker }) => self.settle(&key, worker),
                Some(Chore::Stop { key, kill }) => self.stop(&key, kill),
                Some(Chore::Quit) => {
                    self.quit();
                    // An earlier daemon's worker may have been at work when we began and idle since.
                    self.sweep();
                }
            }
            self.keep_time();
            self.pair();
        }
    }

    /// Waits for a chore, or (`Some(None)`) for a reason to look around; `None` when the pool is closed.
    fn next_chore(&self) -> Option<Option<Chore>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(chore) = state.chores.pop_front() {
                return Some(Some(chore));
            }
            if std::mem::take(&mut state.look) {
                return Some(None);
            }
            // With neither worker nor chore left nothing else would tell the one who closes the pool.
            self.changed.notify_all();
            let wait_ms = state.wait_ms(self.warm);
            if wait_ms == Some(0) {
                return Some(None);
            }
            state = match wait_ms {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(ms) => {
                    let waited = self.changed.wait_timeout(state, Duration::from_millis(ms));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Brings assignments that wait and workers that are idle together, starting workers as needed.
    fn pair(self: &Arc<Self>) {
        loop {
            let step = self.next_step(&mut self.lock());
            match step {
                Step::Nothing => return,
                Step::Skip { key, end } => {
                    let record = ExitRecord::of_nothing(&key, end, wall_ms());
                    self.end(&key.clone(), WorkerEvent::Ended { key, record });
                }
                Step::Hand { stream, assignment } => self.hand(&stream, *assignment),
                Step::Start { number } => self.start(number),
            }
        }
    }

    fn next_step(&self, state: &mut State) -> Step {
        if state.closing {
            return Step::Nothing;
        }
        if let Some(key) = state.waiting.front().cloned() {
            let Some(entry) = state.running.get_mut(&key) else {
                state.waiting.pop_front();
                return Step::Skip { key, end: End::Stopped };
            };
            if entry.stop.is_some() {
                state.waiting.pop_front();
                return Step::Skip { key, end: End::Stopped };
            }
            if let Some(number) = state.idle.pop()
                && let Some(link) = state.links.get_mut(&number)
            {
                state.waiting.pop_front();
                link.key = Some(key);
                link.idle_since = None;
                entry.link = Some(number);
                let assignment = &entry.assignment;
                let deadline = boot_ms().saturating_add(assignment.timeout_ms);
                entry.due = Some(Due::after_deadline(deadline, assignment.grace_ms));
                return Step::Hand {
                    stream: Arc::clone(&link.stream),
                    assignment: Box::new(entry.assignment.clone()),
                };
            }
            if state.failures >= FAILURES_MAX {
                state.waiting.pop_front();
                if state.waiting.is_empty() {
                    // The next assignment may try once more.
                    state.failures = FAILURES_MAX - 1;
                }
                let reason = format!("no worker can be started: {}", state.fault);
                return Step::Skip { key, end: End::NotStarted { reason, passing: true } };
            }
        }
        let starting = state.links.values().filter(|link| link.own && link.worker.is_none()).count();
        let wanted = state.waiting.len() > starting + state.idle.len()
            || (state.workers() < self.warm && state.failures == 0);
        if wanted && state.links.len() < WORKERS_MAX {
            state.next_number += 1;
            return Step::Start { number: state.next_number - 1 };
        }
        Step::Nothing
    }

    fn hand(&self, stream: &UnixStream, assignment: Assignment) {
        let key = assignment.key.clone();
        match encode(&ToWorker::Assign { assignment: Box::new(assignment) }) {
            Ok(line) => write_or_hang_up(stream, &line),
            Err(error) => {
                let mut state = self.lock();
                let number = state.running.get(&key).and_then(|entry| entry.link);
                if let Some(number) = number {
                    state.set_idle(number);
                }
                drop(state);
                let reason = format!("the assignment is too long: {error}");
                let end = End::NotStarted { reason, passing: false };
                let record = ExitRecord::of_nothing(&key, end, wall_ms());
                self.end(&key.clone(), WorkerEvent::Ended { key, record });
            }
        }
    }

    /// Starts a worker whose standard input is its first connection: no socket to wait for, no moment in which
    /// it exists and cannot be reached, and if we die it notices.
    fn start(self: &Arc<Self>, number: u32) {
        let started = UnixStream::pair().and_then(|(ours, theirs)| {
            ours.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok((ours, self.spawn(number, theirs)?))
        });
        match started {
            Ok((stream, child)) => {
                self.lock().children += 1;
                self.link(number, stream, None, Some(child));
            }
            Err(error) => {
                let mut state = self.lock();
                state.failures += 1;
                let program = self.program.first().map(|program| program.display().to_string());
                state.fault = format!("{}: {error}", program.unwrap_or_default());
            }
        }
    }

    fn spawn(&self, number: u32, theirs: UnixStream) -> io::Result<Child> {
        let (program, arguments) = self.program.split_first().ok_or(ErrorKind::NotFound)?;
        // No `pre_exec`: that would make it a fork, which copies a large daemon's page tables.
        let mut command = Command::new(program);
        command.args(arguments).arg("--home").arg(&self.home).arg("--number").arg(number.to_string());
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(self.log()?);
        command.spawn()
    }

    fn log(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(self.folder.join("log"))?;
        if file.metadata()?.len() > LOG_BYTES_MAX {
            file.set_len(0)?;
        }
        Ok(file)
    }

    /// Registers a connection, then hears it. `key` is what its worker is expected to run.
    fn link(self: &Arc<Self>, number: u32, stream: UnixStream, key: Option<String>, child: Option<Child>) {
        let stream = Arc::new(stream);
        let own = child.is_some();
        let mut state = self.lock();
        if let Some(entry) = key.as_ref().and_then(|key| state.running.get_mut(key)) {
            entry.link = Some(number);
        }
        let link = Link {
            stream: Arc::clone(&stream),
            worker: None,
            key,
            own,
            idle_since: None,
            is_dismissed: false,
        };
        state.links.insert(number, link);
        // Closed meanwhile: nobody else would hang up.
        let closed = state.closed;
        drop(state);
        if closed {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let (shared, held) = (Arc::clone(self), Arc::clone(&stream));
        if spawn_thread(&format!("worker {number}"), move || shared.hear(number, held, child)).is_err() {
            // No thread to be had: the connection is as good as lost, and an idle worker ends with it.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            let mut state = self.lock();
            state.children -= usize::from(own);
            state.links.remove(&number);
            state.failures += 1;
            "no thread is left to hear it".clone_into(&mut state.fault);
        }
    }

    fn stop(&self, key: &str, kill: bool) {
        let mut state = self.lock();
        let Some(entry) = state.running.get_mut(key) else { return };
        entry.stop = Some(kill || entry.stop == Some(true));
        if !entry.is_recording {
            entry.due = Some(Due::after_stop(kill, entry.grace_ms).sooner(entry.due));
        }
        let Some(number) = entry.link else {
            if state.waiting.iter().any(|waiting| waiting == key) {
                state.waiting.retain(|waiting| waiting != key);
                drop(state);
                let record = ExitRecord::of_nothing(key, End::Stopped, wall_ms());
                self.end(key, WorkerEvent::Ended { key: key.to_owned(), record });
            }
            // Else it is to be settled, which sees the wish.
            return;
        };
        let stream = state.links.get(&number).map(|link| Arc::clone(&link.stream));
        drop(state);
        if let Some(stream) = stream {
            say(&stream, &ToWorker::Stop { key: key.to_owned(), kill });
        }
    }

    fn quit(&self) {
        let mut state = self.lock();
        for entry in state.running.values_mut().filter(|entry| !entry.is_recording) {
            // For a worker, to quit is to stop first: and one that does not answer is to hold up no end.
            entry.due = Some(Due::after_stop(false, entry.grace_ms).sooner(entry.due));
        }
        let streams: Vec<_> = state.links.values().map(|link| Arc::clone(&link.stream)).collect();
        drop(state);
        for stream in streams {
            say(&stream, &ToWorker::Quit);
        }
    }

    /// Removes dead workers' cgroups and sockets and lets go of idle workers of an earlier daemon: to be connected to and
    /// hung up on is, for a worker without work, to be told to quit. One at work does not mind.
    fn sweep(&self) {
        remove_stale();
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.ends_with(".sock")) else { continue };
            if socket::connect(&self.folder, name).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Decides by an assignment's folder (see [`record`]).
    fn settle(self: &Arc<Self>, key: &str, last: Option<ProcessIdentity>) {
        let (assignment, tries, stop) = {
            let mut state = self.lock();
            let Some(entry) = state.running.get_mut(key) else { return };
            entry.tries += 1;
            (entry.assignment.clone(), entry.tries, entry.stop)
        };
        if let Err(error) = self.settle_by_folder(&assignment, last.clone(), tries, stop) {
            if tries <= TRIES_MAX {
                // A shortage of the moment, most likely: looked at again a little later.
                std::thread::park_timeout(TRY_PAUSE * (1 << tries.min(TRIES_MAX)));
                let mut state = self.lock();
                return self.leave(&mut state, Chore::Settle { key: key.to_owned(), worker: last });
            }
            // A record that is there and cannot be read is neither success nor absence. Nothing of it may live on.
            leftover::end(&assignment.folder);
            let detail = error.to_string();
            self.end(key, WorkerEvent::Lost { key: key.to_owned(), detail });
        }
    }

    fn settle_by_folder(
        self: &Arc<Self>,
        assignment: &Assignment,
        last: Option<ProcessIdentity>,
        tries: u32,
        stop: Option<bool>,
    ) -> Result<(), FileError> {
        if self.ended_by_record(assignment)? {
            return Ok(());
        }
        let note: Option<WorkerNote> = read_record(&record::worker_note(&assignment.folder))?;
        let Some(worker) = note.as_ref().map(|note| note.worker.clone()).or(last) else {
            self.wait_for_worker(&assignment.key);
            return Ok(());
        };
        if let Some(note) = &note {
            self.expect_end(&assignment.key, note);
        }
        if self.is_linked(&worker) {
            // It is alive, it is ours, and it has just said that it does not run this.
            match note {
                None => self.wait_for_worker(&assignment.key),
                Some(_) if self.ended_by_record(assignment)? => {}
                Some(_) => self.lose(assignment, &worker, "its worker knows nothing of it"),
            }
            return Ok(());
        }
        if tries > 1 {
            // It hung up on us: perhaps it has yet to hear that the daemon before us has died.
            std::thread::park_timeout(TRY_PAUSE * (1 << tries.min(TRIES_MAX)));
        }
        if tries <= TRIES_MAX && self.adopt(assignment, &worker, stop) {
            return Ok(());
        }
        // Not reachable: it is on its way out, or somebody has removed its socket.
        if !worker.wait_for_end(END_WAIT_MS).unwrap_or(true) {
            let _ = worker.signal(Signal::KILL);
            let _ = worker.wait_for_end(END_WAIT_MS);
        }
        if self.ended_by_record(assignment)? {
            return Ok(());
        }
        let note: Option<WorkerNote> = read_record(&record::worker_note(&assignment.folder))?;
        match note {
            // It ended before it began: nothing was started, another worker may take it.
            None if tries <= TRIES_MAX => self.wait_for_worker(&assignment.key),
            None => self.lose(assignment, &worker, "one worker after another ended before it began"),
            Some(_) => self.lose(assignment, &worker, "its worker ended without a record"),
        }
        Ok(())
    }

    pub(super) fn ended_by_record(&self, assignment: &Assignment) -> Result<bool, FileError> {
        let found: Option<ExitRecord> = read_record(&record::exit_record(&assignment.folder))?;
        let Some(record) = found else { return Ok(false) };
        let key = assignment.key.clone();
        self.end(&assignment.key, WorkerEvent::Ended { key, record });
        Ok(true)
    }

    fn wait_for_worker(&self, key: &str) {
        self.lock().waiting.push_back(key.to_owned());
    }

    /// Its worker's note says when it has to be over, with or without a stop that came meanwhile.
    fn expect_end(&self, key: &str, note: &WorkerNote) {
        if let Some(entry) = self.lock().running.get_mut(key) {
            entry.grace_ms = note.grace_ms;
            let deadline = Due::after_deadline(note.deadline_boot_ms, note.grace_ms).in_time_to_answer();
            let asked = entry.stop.map(|kill| Due::after_stop(kill, note.grace_ms));
            entry.due = Some(deadline.sooner(asked));
        }
    }

    fn is_linked(&self, worker: &ProcessIdentity) -> bool {
        self.lock().links.values().any(|link| link.worker.as_ref() == Some(worker))
    }

    /// Connects to a living worker that should have this assignment; what it says first decides further.
    fn adopt(
        self: &Arc<Self>,
        assignment: &Assignment,
        worker: &ProcessIdentity,
        stop: Option<bool>,
    ) -> bool {
        if !worker.is_alive() {
            return false;
        }
        let connected = socket::connect(&self.folder, &socket_name(worker.pid)).and_then(|stream| {
            stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
            Ok((stream.try_clone()?, stream))
        });
        let Ok((writer, stream)) = connected else { return false };
        let number = {
            let mut state = self.lock();
            state.next_number += 1;
            state.next_number - 1
        };
        self.link(number, stream, Some(assignment.key.clone()), None);
        if let Some(kill) = stop {
            say(&writer, &ToWorker::Stop { key: assignment.key.clone(), kill });
        }
        true
    }

    pub(super) fn lose(&self, assignment: &Assignment, worker: &ProcessIdentity, why: &str) {
        let killed = self.kill_leftover(assignment, worker);
        let mut detail = format!("{why} (worker pid {})", worker.pid);
        if killed.count > 0 {
            detail.push_str(&format!("; {} processes that it left were killed", killed.count));
        }
        if killed.some_left {
            detail.push_str("; some may be left");
        }
        let key = assignment.key.clone();
        self.end(&assignment.key, WorkerEvent::Lost { key, detail });
    }

    pub(super) fn kill_leftover(&self, assignment: &Assignment, worker: &ProcessIdentity) -> Killed {
        let agent: Option<AgentNote> =
            read_record(&record::agent_note(&assignment.folder)).unwrap_or_default();
        let note: Option<WorkerNote> =
            read_record(&record::worker_note(&assignment.folder)).unwrap_or_default();
        leftover::kill(worker, &assignment.key, note.as_ref(), agent.as_ref())
    }
}

pub(super) fn say(stream: &UnixStream, message: &ToWorker) {
    if let Ok(line) = encode(message) {
        write_or_hang_up(stream, &line);
    }
}

/// A worker that cannot be written to is hung up on: its reader then settles what it had.
fn write_or_hang_up(mut stream: &UnixStream, line: &[u8]) {
    if stream.write_all(line).is_err() {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}
