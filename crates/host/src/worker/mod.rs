//! The worker process: supervises one assignment at a time and outlives the daemon. Knows its socket, its
//! timer and the run in hand; unaware of tasks, of git, and of why an assignment is to run.
//!
//! One thread and one `poll` over {OS signals, timer, listening socket, connection}; nothing is polled for.
//! Whatever it must remember is in the assignment's folder before anybody is told.

mod agent;
mod capture;
mod connection;
mod launch;
mod meter;
mod os_signal;
pub mod protocol;
pub mod record;
mod run;
mod tree;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use self::connection::Connection;
use self::os_signal::OsSignals;
use self::protocol::{Assignment, FromWorker, ToWorker, WorkerState};
use self::record::ExitRecord;
use self::run::Run;
use crate::clock::{boot_ms, boot_timespec};
use crate::containment::{Choice, Container};
use crate::durable::{create_private_folder, write_record};
use crate::identity::ProcessIdentity;
use crate::socket;

/// The longest silence of a worker that supervises something: a sixth of a lease.
pub const ALIVE_MS: u64 = 10_000;

/// How long a worker without work waits for a daemon before it exits: a restarting daemon is back sooner, and
/// all that it would find is on disk.
const IDLE_MS: u64 = 5_000;

/// How soon an exit record that could not be written is tried again: a full disk heals without a restart.
const RECORD_RETRY_MS: u64 = 1_000;

/// Where the sockets are, and `log`.
pub fn folder(home: &Path) -> PathBuf {
    home.join("workers")
}

pub(crate) fn socket_name(pid: i32) -> String {
    format!("{pid}.sock")
}

/// How a worker is to be: the words behind the hidden subcommand `worker`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    home: PathBuf,
    /// Only tells workers apart for people.
    number: u32,
    containment: Choice,
    /// Whether bounds may be left to cgroup controllers, or are all to be watched.
    has_controllers: bool,
}

impl Options {
    /// `--home DIR --number N`, `--containment auto|cgroup|subreaper|group`, `--controllers auto|none`.
    fn parse(words: &[OsString]) -> Option<Options> {
        let mut home = None;
        let mut options =
            Options { home: PathBuf::new(), number: 0, containment: Choice::Auto, has_controllers: true };
        for pair in words.chunks(2) {
            let [name, value] = pair else { return None };
            match (name.to_str()?, value.to_str()) {
                ("--home", _) => home = Some(PathBuf::from(value)),
                ("--number", Some(number)) => options.number = number.parse().ok()?,
                ("--containment", Some(word)) => options.containment = Choice::parse(word)?,
                ("--controllers", Some("auto")) => options.has_controllers = true,
                ("--controllers", Some("none")) => options.has_controllers = false,
                _ => return None,
            }
        }
        home.map(|home| Options { home, ..options })
    }
}

/// Serves as a worker, or becomes an agent, when the program's words (without its own name) are those of the hidden
/// subcommands `worker` and `launch`; `None`: they are not. Must be called before the process starts a thread.
///
/// A worker's standard input may be a connected Unix socket: then a daemon is on the other end already.
pub fn serve_if_asked(words: &[OsString]) -> Option<ExitCode> {
    let (first, words) = words.split_first()?;
    match first.to_str()? {
        "worker" => Options::parse(words).map(|options| serve(&options)),
        launch::LAUNCH => Some(launch::launch(words)),
        _ => None,
    }
}

fn serve(options: &Options) -> ExitCode {
    match Worker::open(options).and_then(|mut worker| worker.work()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(options.number, &format!("ends: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error, which the pool directs into `workers/log`.
fn log(number: u32, text: &str) {
    let _ = writeln!(io::stderr(), "worker {number} (pid {}): {text}", std::process::id());
}

#[derive(Debug)]
struct Worker {
    number: u32,
    identity: ProcessIdentity,
    container: Container,
    /// Assignments so far.
    assigned: u64,
    folder: PathBuf,
    os_signals: OsSignals,
    listener: UnixListener,
    timer: OwnedFd,
    connection: Option<Connection>,
    alive_at: u64,
    slot: Slot,
    /// Exit as soon as the slot is empty.
    quitting: bool,
}

#[derive(Debug)]
enum Slot {
    Empty { since: u64 },
    Running(Box<Run>),
    Recording { record: Box<ExitRecord>, path: PathBuf, retry_at: u64 },
}

impl Worker {
    fn open(options: &Options) -> io::Result<Worker> {
        let home = std::path::absolute(&options.home)?;
        let folder = folder(&home);
        create_private_folder(&folder).map_err(io::Error::other)?;
        // So that no worktree or mount is held by a worker's working directory.
        std::env::set_current_dir("/")?;
        // Fails only for one that leads a group already (started by hand): then it has what matters.
        let _ = rustix::process::setsid();
        let os_signals = OsSignals::catch()?;
        let identity = ProcessIdentity::own().ok_or(io::ErrorKind::NotFound)?;
        let container = Container::enter(options.containment, &identity, options.has_controllers)?;
        let listener = socket::listen(&folder, &socket_name(identity.pid))?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let slot = Slot::Empty { since: boot_ms() };
        let mut worker = Worker {
            number: options.number,
            identity,
            container,
            assigned: 0,
            folder,
            os_signals,
            listener,
            timer,
            connection: None,
            alive_at: 0,
            slot,
            quitting: false,
        };
        if let Some(connection) = Connection::from_stdin()? {
            worker.greet(connection);
        }
        Ok(worker)
    }

    fn work(&mut self) -> io::Result<()> {
        loop {
            self.advance();
            if self.is_done() {
                // It may be gone already, with the whole state folder: that is no reason to fail now.
                let _ = std::fs::remove_file(self.folder.join(socket_name(self.identity.pid)));
                self.container.leave();
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// Whatever time and the agent have brought about.
    fn advance(&mut self) {
        let now = boot_ms();
        match &mut self.slot {
            Slot::Empty { .. } => {
                // Only what could not be killed, because it is another user's, ends this late.
                let _ = tree::reap(|_, _| {});
            }
            Slot::Running(run) => match run.advance(&self.container) {
                Some(record) => self.finish(record),
                None => {
                    if let Some(warning) = run.take_near_deadline() {
                        self.say(&warning);
                    }
                    if now >= self.alive_at {
                        self.say_alive();
                    }
                }
            },
            Slot::Recording { record, path, retry_at } if now >= *retry_at => {
                let (record, path) = (ExitRecord::clone(record), path.clone());
                self.record(record, path);
            }
            Slot::Recording { .. } if now >= self.alive_at => self.say_alive(),
            Slot::Recording { .. } => {}
        }
    }

    fn say_alive(&mut self) {
        let recording = matches!(self.slot, Slot::Recording { .. });
        if let Some(key) = self.key().map(str::to_owned) {
            self.say(&FromWorker::Alive { key, recording });
        }
    }

    /// Nothing of what ran is alive any more.
    fn finish(&mut self, mut record: ExitRecord) {
        let slot = std::mem::replace(&mut self.slot, Slot::Empty { since: boot_ms() });
        if let Slot::Running(run) = slot {
            let path = record::exit_record(&run.assignment.folder);
            run::close_output(*run, &mut record);
            self.record(record, path);
        }
    }

    /// First on disk, then told. Until it is on disk the assignment is not over.
    fn record(&mut self, record: ExitRecord, path: PathBuf) {
        match write_record(&path, &record) {
            Ok(()) => self.tell_end(record),
            // The assignment's folder was removed: there is nobody left to ask, and to try for ever would keep
            // this process for ever.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {
                log(self.number, &format!("{}: {error}; given up", record.key));
                self.tell_end(record);
            }
            Err(error) => {
                let is_new = !matches!(self.slot, Slot::Recording { .. });
                if is_new {
                    log(self.number, &format!("{}: {error}; trying again every second", record.key));
                }
                self.slot =
                    Slot::Recording { record: Box::new(record), path, retry_at: boot_ms() + RECORD_RETRY_MS };
                if is_new {
                    self.say_alive();
                }
            }
        }
    }

    fn tell_end(&mut self, record: ExitRecord) {
        self.slot = Slot::Empty { since: boot_ms() };
        self.say(&FromWorker::Ended { key: record.key.clone(), record });
    }

    fn is_done(&self) -> bool {
        match self.slot {
            Slot::Empty { since } => {
                self.quitting || (self.connection.is_none() && boot_ms() >= since + IDLE_MS)
            }
            Slot::Running(_) | Slot::Recording { .. } => false,
        }
    }

    fn next_at(&self) -> Option<u64> {
        let connected = self.connection.is_some();
        match &self.slot {
            Slot::Empty { since } => (!connected).then_some(since + IDLE_MS),
            Slot::Running(run) if connected => Some(run.next_at().min(self.alive_at)),
            Slot::Running(run) => Some(run.next_at()),
            Slot::Recording { retry_at, .. } if connected => Some((*retry_at).min(self.alive_at)),
            Slot::Recording { retry_at, .. } => Some(*retry_at),
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        self.arm()?;
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.os_signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.timer.as_fd(), PollFlags::IN),
        ];
        if let Some(connection) = &self.connection {
            fds.push(PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN));
        }
        let captured_from = fds.len();
        if let Slot::Running(run) = &self.slot {
            fds.extend(run.capture.fds().into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (os_signal, caller) = (ready(&fds[0]), ready(&fds[1]));
        let said = captured_from > 3 && ready(&fds[3]);
        let captured = fds[captured_from..].iter().any(ready);
        drop(fds);
        if captured && let Slot::Running(run) = &mut self.slot {
            run.capture.ready();
        }
        if os_signal && self.os_signals.take_term() {
            // The second one waits for no grace.
            let again = std::mem::replace(&mut self.quitting, true);
            self.stop(again);
        }
        // Before the callers: that this connection has ended is why the next daemon calls.
        if said {
            self.listen_to_daemon();
        }
        if caller {
            self.accept();
        }
        Ok(())
    }

    /// Sets the timer to the next thing to do, on the boot-time clock: neither a changed date nor a machine
    /// asleep moves it. What is past fires at once. The timer is never read: arming clears it.
    fn arm(&self) -> io::Result<()> {
        let it_value = boot_timespec(self.next_at().map_or(0, |at| at.max(1)));
        let spec = Itimerspec { it_interval: boot_timespec(0), it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }

    fn listen_to_daemon(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let (said, open) = connection.receive();
        for message in said {
            self.obey(message);
        }
        if !open {
            self.hang_up();
            // Nothing to supervise and nobody to wait for.
            self.quitting |= matches!(self.slot, Slot::Empty { .. });
        }
    }

    fn obey(&mut self, message: ToWorker) {
        match message {
            ToWorker::Assign { assignment } => self.assign(*assignment),
            ToWorker::Stop { key, kill } => {
                if self.key().is_some_and(|own| own == key) {
                    self.stop(kill);
                }
            }
            ToWorker::Quit => {
                self.quitting = true;
                self.stop(false);
            }
        }
    }

    fn assign(&mut self, assignment: Assignment) {
        if let Some(own) = self.key() {
            log(self.number, &format!("busy with {own}, takes no {}", assignment.key));
            return;
        }
        let path = record::exit_record(&assignment.folder);
        self.assigned += 1;
        match Run::start(assignment, &self.identity, &self.container, self.assigned) {
            Ok(run) => {
                let started = run.started();
                self.slot = Slot::Running(Box::new(run));
                self.say(&started);
            }
            Err(record) => self.record(*record, path),
        }
    }

    fn stop(&mut self, kill: bool) {
        if let Slot::Running(run) = &mut self.slot {
            run.stop(kill, &self.container);
        }
    }

    fn key(&self) -> Option<&str> {
        match &self.slot {
            Slot::Empty { .. } => None,
            Slot::Running(run) => Some(&run.assignment.key),
            Slot::Recording { record, .. } => Some(&record.key),
        }
    }

    fn accept(&mut self) {
        // One daemon at a time. A caller while a connection lives is not the daemon, which holds the lock on
        // this state folder, so it is turned away.
        if let Ok((stream, _)) = self.listener.accept()
            && self.connection.is_none()
            && let Ok(connection) = Connection::over(stream)
        {
            self.greet(connection);
            // Hung up before it could be greeted: as in `listen_to_daemon`.
            self.quitting |= self.connection.is_none() && matches!(self.slot, Slot::Empty { .. });
        }
    }

    fn greet(&mut self, connection: Connection) {
        self.connection = Some(connection);
        let state = match &self.slot {
            Slot::Empty { .. } => WorkerState::Idle,
            Slot::Running(run) => run.state(),
            Slot::Recording { .. } => WorkerState::Recording,
        };
        let assignment = self.key().map(str::to_owned);
        self.say(&FromWorker::Hello { worker: self.identity.clone(), assignment, state });
        // A daemon that takes over may never have heard it.
        if let Slot::Running(run) = &self.slot {
            let (started, warning) = (run.started(), run.near_deadline());
            self.say(&started);
            if let Some(warning) = warning {
                self.say(&warning);
            }
        } else if matches!(self.slot, Slot::Recording { .. }) {
            self.say_alive();
        }
    }

    fn say(&mut self, message: &FromWorker) {
        self.alive_at = boot_ms() + ALIVE_MS;
        if let Some(connection) = &mut self.connection
            && connection.send(message).is_err()
        {
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        self.connection = None;
        if let Slot::Empty { since } = &mut self.slot {
            *since = boot_ms();
        }
    }
}
