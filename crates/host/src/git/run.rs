//! How git is run. Knows the environment and the settings every call gets, the time limit and the bounds on
//! output; unaware of what any command means. Nothing else in Ropewalk starts git.
//!
//! git is a program that runs other programs when told so by configuration, hooks or the environment. All three
//! are replaced here, so that what an agent writes into a repository stays text.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::crash;

/// No call of ours takes seconds on a healthy machine; the largest known checkouts take under a minute.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// What git gets to remove its lock files between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Listing an index of half a million files needs about this much.
const STDOUT_BYTES_MAX: usize = 64 << 20;
/// Errors are for people; what is longer is repetition.
const STDERR_BYTES_MAX: usize = 16 << 10;

/// Settings of every call. The command line outranks every configuration file.
const SETTINGS: [&str; 16] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "commit.gpgSign=false",
    // Even a look at a signature would run a program that the repository's configuration names.
    "gpg.program=false",
    "gpg.ssh.program=false",
    "gpg.x509.program=false",
    "submodule.recurse=false",
    "core.fsync=objects,derived-metadata,reference",
    "core.quotePath=false",
    // Another git holds a ref's lock for moments only: wait for it instead of failing after 100 ms.
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=5000",
    // Since git 2.48 the pointers between worktree and repository may be relative; ours are compared as text.
    "worktree.useRelativePaths=false",
    "advice.addEmbeddedRepo=false",
];

/// git could not be run, refused, or ran out of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("git {operation} in {}: {detail}", repository.display())]
pub struct GitError {
    /// What was being done, such as `worktree add`.
    pub operation: &'static str,
    pub repository: PathBuf,
    /// A lowercase fragment, usually git's own words.
    pub detail: String,
    /// git was killed after two minutes.
    pub timed_out: bool,
    /// There is no git program to run.
    pub git_missing: bool,
}

impl GitError {
    pub(crate) fn new(operation: &'static str, repository: &Path, detail: impl Into<String>) -> Self {
        GitError {
            operation,
            repository: repository.to_owned(),
            detail: detail.into(),
            timed_out: false,
            git_missing: false,
        }
    }

    pub(crate) fn io(operation: &'static str, path: &Path, error: &io::Error) -> Self {
        Self::new(operation, path, format!("{}: {error}", path.display()))
    }
}

/// What a finished git said.
#[derive(Debug)]
pub(crate) struct Said {
    pub code: i32,
    pub stdout: Vec<u8>,
}

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

/// One call of git, to be completed and run.
#[derive(Debug)]
pub(crate) struct Call {
    operation: &'static str,
    repository: PathBuf,
    command: Command,
    stdin: Option<Vec<u8>>,
    stdout_bytes_max: usize,
    cut: bool,
}

impl Call {
    /// A call that runs in `folder`. Without a `--git-dir` argument git discovers one from there.
    pub(crate) fn new(operation: &'static str, folder: &Path) -> Self {
        let mut command = Command::new("git");
        command.env_clear().current_dir(folder).process_group(0);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin")));
        command.envs([
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            // A setting for one protocol outranks that for all, and an address may name a program: a missing object
            // would be "fetched" by it. The variables outrank both; the second is heeded since git 2.45.
            ("GIT_ALLOW_PROTOCOL", ""),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("HOME", "/nonexistent"),
        ]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let repository = folder.to_owned();
        Call { operation, repository, command, stdin: None, stdout_bytes_max: STDOUT_BYTES_MAX, cut: false }
    }

    /// Lets this call read the configuration of the person who started us. For reading only.
    pub(crate) fn with_callers_configuration(mut self) -> Self {
        self.command.env_remove("GIT_CONFIG_NOSYSTEM").env_remove("GIT_CONFIG_GLOBAL");
        for name in ["HOME", "XDG_CONFIG_HOME"] {
            if let Some(value) = std::env::var_os(name) {
                self.command.env(name, value);
            }
        }
        self
    }

    /// The repository that errors name, when it is not the folder the call runs in.
    pub(crate) fn about(mut self, repository: &Path) -> Self {
        repository.clone_into(&mut self.repository);
        self
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Keeps the first `bytes_max` bytes of the output and drops the rest, instead of failing.
    pub(crate) fn cut_at(mut self, bytes_max: usize) -> Self {
        self.stdout_bytes_max = bytes_max;
        self.cut = true;
        self
    }

    /// Runs git; any exit code but 0 is an error.
    pub(crate) fn run(self) -> Result<Said, GitError> {
        self.run_accepting(&[0])
    }

    /// Runs git; exit codes not in `codes` are errors. Blocks for up to two minutes.
    pub(crate) fn run_accepting(mut self, codes: &[i32]) -> Result<Said, GitError> {
        let failed = |detail: String| GitError::new(self.operation, &self.repository, detail);
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        crash::step();
        let mut child = self.command.spawn().map_err(|error| GitError {
            git_missing: error.kind() == io::ErrorKind::NotFound && self.repository.is_dir(),
            ..failed(format!("cannot start git: {error}"))
        })?;
        let deadline = Instant::now() + TIME_LIMIT;
        let input = self.stdin.take().unwrap_or_default();
        let talked = converse(&mut child, &input, self.stdout_bytes_max, self.cut, deadline)
            .and_then(|streams| Ok((streams, wait_until(&mut child, deadline)?)));
        crash::step();
        match talked {
            Ok(((stdout, stderr), status)) => {
                let stderr = String::from_utf8_lossy(&stderr).into_owned();
                match status.code() {
                    Some(code) if codes.contains(&code) => Ok(Said { code, stdout }),
                    _ => Err(failed(explain(&stderr, &status.to_string()))),
                }
            }
            Err(error) => {
                end(&mut child);
                let timed_out = error.kind() == io::ErrorKind::TimedOut;
                Err(GitError { timed_out, ..failed(error.to_string()) })
            }
        }
    }
}

/// git's own words as one fragment, or the exit status when it said nothing.
fn explain(stderr: &str, status: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(|line| line.trim().trim_start_matches("fatal: ").trim_start_matches("error: "))
        .filter(|line| !line.is_empty() && !line.starts_with("hint:"))
        .take(12)
        .collect();
    if lines.is_empty() { format!("it ended with {status}") } else { lines.join("; ") }
}

/// Feeds and reads the child until it has closed both its outputs.
fn converse(
    child: &mut Child,
    mut input: &[u8],
    stdout_bytes_max: usize,
    cut: bool,
    deadline: Instant,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut stdin = child.stdin.take();
    if let Some(pipe) = &stdin {
        // A blocking write could wait for a git that itself waits for us to read.
        rustix::io::ioctl_fionbio(pipe, true)?;
    }
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        if input.is_empty() {
            stdin = None;
        }
        if stdout.is_none() && stderr.is_none() {
            return Ok((out, err));
        }
        let ready = poll_pipes(
            [
                stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::OUT)),
                stdout.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
                stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN)),
            ],
            deadline,
        )?;
        if let (true, Some(pipe)) = (ready[0], &mut stdin) {
            match pipe.write(input) {
                Ok(count) => input = &input[count..],
                // git stopped reading early; its exit code says whether that matters.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => input = &[],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if ready[1] && !read_some(&mut stdout, &mut out, stdout_bytes_max, cut)? {
            stdout = None;
        }
        if ready[2] && !read_some(&mut stderr, &mut err, STDERR_BYTES_MAX, true)? {
            stderr = None;
        }
    }
}

fn poll_pipes(pipes: [Option<(BorrowedFd<'_>, PollFlags)>; 3], deadline: Instant) -> io::Result<[bool; 3]> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(out_of_time());
    }
    let mut fds = Vec::with_capacity(3);
    for (fd, flags) in pipes.iter().flatten() {
        fds.push(PollFd::from_borrowed_fd(*fd, *flags));
    }
    let timeout = Timespec::try_from(left).map_err(|_| out_of_time())?;
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) => return Err(out_of_time()),
        Err(rustix::io::Errno::INTR) => return Ok([false; 3]),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut polled = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(pipes.map(|pipe| pipe.is_some() && polled.next().unwrap_or(false)))
}

/// Reads what is there. False at the end of the stream.
fn read_some(
    pipe: &mut Option<impl Read>,
    into: &mut Vec<u8>,
    bytes_max: usize,
    cut: bool,
) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let mut buffer = [0; 64 << 10];
    let count = pipe.read(&mut buffer)?;
    let room = bytes_max.saturating_sub(into.len());
    if count > room && !cut {
        return Err(io::Error::other(format!("it printed more than {bytes_max} bytes")));
    }
    into.extend_from_slice(&buffer[..count.min(room)]);
    Ok(count > 0)
}

fn out_of_time() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("it did not end within {} s", TIME_LIMIT.as_secs()))
}

/// Waits for a child that has closed its outputs, which git does only on its way out. Looking again every
/// millisecond costs nothing then, and works on every system, which a process descriptor does not.
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(out_of_time());
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Ends the child's process group: SIGTERM first, at which git removes its lock files.
fn end(child: &mut Child) {
    // The group cannot have been reused: its leader is not yet waited for.
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
    }
    let _ = wait_until(child, Instant::now() + TERM_GRACE);
    if let (Ok(None), Some(group)) = (child.try_wait(), group) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}
