//! Which process is meant. Knows pid, start time and boot id, and signals through a pidfd; unaware of
//! workers and agents.
//!
//! A pid alone names nothing: it is used again, and after a reboot it names somebody else. So nothing here
//! takes a bare pid to signal. Linux only. The weaker rung, for a system without pidfds: compare pid and start
//! time, then `kill`, with the window between the two that pidfds close.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::procfs::Stat;

/// One process, for ever: no other process of this or any later boot has the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: ticks of 10 ms from boot to start.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// What became of an OS signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalled {
    Sent,
    /// The process has ended (or the machine was restarted): nobody was signalled.
    Gone,
}

impl ProcessIdentity {
    /// The identity of the process that has this pid now; `None` when there is none.
    pub fn of(pid: i32) -> Option<ProcessIdentity> {
        Stat::of(pid).map(|stat| Self::from_stat(&stat))
    }

    pub fn own() -> Option<ProcessIdentity> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    pub(crate) fn from_stat(stat: &Stat) -> ProcessIdentity {
        ProcessIdentity { pid: stat.pid, start_time: stat.start_time, boot_id: boot_id().to_owned() }
    }

    /// Whether this very process still runs. One that has ended and waits to be reaped does not.
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id()
            && Stat::of(self.pid).is_some_and(|stat| stat.start_time == self.start_time && !stat.is_zombie())
    }

    /// A descriptor that means this process and no other: opened first, checked second, so that a pid used
    /// again in between is noticed. `None` when the process is gone.
    ///
    /// # Errors
    /// Whatever `pidfd_open` fails with, other than that there is no such process.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        if self.boot_id != boot_id() {
            return Ok(None);
        }
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // EINVAL: the number is now a thread's, not a process's.
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let same = Stat::of(self.pid).is_some_and(|stat| stat.start_time == self.start_time);
        Ok(same.then_some(pidfd))
    }

    /// Sends an OS signal to this process and no other.
    ///
    /// # Errors
    /// When it exists but may not be signalled, or no descriptor is left.
    pub fn signal(&self, os_signal: Signal) -> io::Result<Signalled> {
        match self.open()? {
            None => Ok(Signalled::Gone),
            Some(pidfd) => match pidfd_send_signal(&pidfd, os_signal) {
                Ok(()) => Ok(Signalled::Sent),
                Err(Errno::SRCH) => Ok(Signalled::Gone),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Waits until this process has ended, at most `timeout_ms`. Returns whether it has.
    ///
    /// # Errors
    /// When the kernel refuses to watch it.
    pub fn wait_for_end(&self, timeout_ms: u32) -> io::Result<bool> {
        match self.open()? {
            None => Ok(true),
            Some(pidfd) => wait_for_end(&pidfd, timeout_ms),
        }
    }
}

/// Waits on a pidfd: it is readable once the process has ended, reaped or not.
pub(crate) fn wait_for_end(pidfd: &OwnedFd, timeout_ms: u32) -> io::Result<bool> {
    let timeout =
        Timespec { tv_sec: i64::from(timeout_ms / 1000), tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000 };
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// This boot's id; empty where the kernel shows none, and then start times alone decide.
pub fn boot_id() -> &'static str {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    BOOT_ID.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.pid, self.start_time, self.boot_id)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_itself_and_nobody_else() {
        let own = ProcessIdentity::own().unwrap();
        assert!(own.is_alive());
        let earlier = ProcessIdentity { start_time: own.start_time - 1, ..own.clone() };
        let other_boot = ProcessIdentity { boot_id: "another".into(), ..own.clone() };
        for stranger in [earlier, other_boot] {
            assert!(!stranger.is_alive());
            // This would end the test if the identity were not checked.
            assert_eq!(stranger.signal(Signal::KILL).unwrap(), Signalled::Gone);
        }
    }

    #[test]
    fn an_ended_process_is_gone_before_and_after_it_is_reaped() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let identity = ProcessIdentity::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(identity.is_alive() && !identity.wait_for_end(0).unwrap());
        assert_eq!(identity.signal(Signal::KILL).unwrap(), Signalled::Sent);
        assert!(identity.wait_for_end(5_000).unwrap());
        assert!(!identity.is_alive());
        child.wait().unwrap();
        assert_eq!(identity.signal(Signal::TERM).unwrap(), Signalled::Gone);
    }
}
