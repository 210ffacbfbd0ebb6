//! Processes without a terminal. Knows sessions; unaware of what such a process does.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Leads a session of its own: no terminal is its any more, and none takes it along when it is closed.
///
/// # Errors
/// When the process leads a process group already.
pub fn lead() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// A process that was started to outlive this one.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts this very program with other arguments; what it prints goes to the end of `log` (0600).
    ///
    /// # Errors
    /// When the log cannot be written or the process not be started.
    pub fn start(
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        folder: &Path,
        log: &Path,
    ) -> io::Result<Background> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        let twin = log.try_clone()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).current_dir(folder);
        command.stdin(Stdio::null()).stdout(log).stderr(twin);
        command.spawn().map(Background)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}
