//! What the system under us offers, and how much of it. Knows where the kernel tells its bounds; unaware of how much
//! is needed. Looks only: nothing is changed by being asked.

use std::fs;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::process::{PidfdFlags, Resource, getpid, getrlimit, pidfd_open};

/// How many descriptors this process may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// In force; absent: no bound.
    pub soft: Option<u64>,
    /// As far as anybody may raise it without being root.
    pub hard: Option<u64>,
}

pub fn open_files() -> OpenFiles {
    let told = getrlimit(Resource::Nofile);
    OpenFiles { soft: told.current, hard: told.maximum }
}

/// How many watches for changed files this user may have, all processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inotify {
    pub instances_max: u64,
    pub watches_max: u64,
}

/// Nothing on a kernel without inotify.
pub fn inotify() -> Option<Inotify> {
    let number = |name: &str| first_line(&format!("/proc/sys/fs/inotify/{name}"))?.parse().ok();
    Some(Inotify { instances_max: number("max_user_instances")?, watches_max: number("max_user_watches")? })
}

/// Whether a process can be named for ever by a descriptor (Linux 5.3).
pub fn has_pidfd() -> bool {
    pidfd_open(getpid(), PidfdFlags::empty()).is_ok()
}

/// Whether orphans of what we start can be given to us (Linux 3.4).
pub fn has_subreaper() -> bool {
    rustix::process::child_subreaper().is_ok()
}

/// What the kernel counts time with, such as `tsc`.
pub fn clock_source() -> Option<String> {
    first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")
}

/// Whether this process may make files in a folder.
///
/// # Errors
/// Why not.
pub fn may_write(folder: &Path) -> std::io::Result<()> {
    Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// Whose files this process may change.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn first_line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_can_be_true() {
        let files = open_files();
        assert!(
            files.soft.is_none_or(|soft| soft > 0 && files.hard.is_none_or(|hard| soft <= hard)),
            "{files:?}"
        );
        if let Some(inotify) = inotify() {
            assert!(inotify.instances_max > 0 && inotify.watches_max > 0, "{inotify:?}");
        }
        // The worker's own tests could not run without these two.
        assert!(has_pidfd() && has_subreaper());
        assert!(clock_source().is_none_or(|name| !name.contains('\n')));
    }

    #[test]
    fn a_folder_that_may_not_be_written_says_why() {
        let folder = tempfile::tempdir().unwrap();
        assert!(may_write(folder.path()).is_ok());
        let error = may_write(&folder.path().join("no")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
