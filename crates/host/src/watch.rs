//! Being told that a file or a folder changes. Knows inotify; unaware of what is in them and why anybody waits.
//!
//! The weaker rung, where no watch can be had (the user's limit is reached, or the system has none): the
//! caller looks again after [`LOOK_AGAIN_MS`].

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// On the weaker rung: seldom enough to cost nothing, often enough for somebody who watches.
pub(crate) const LOOK_AGAIN_MS: u64 = 1_000;

#[derive(Debug)]
pub(crate) struct Watch {
    inotify: OwnedFd,
}

impl Watch {
    /// # Errors
    /// Where there is no inotify, or the user has as many as allowed.
    pub(crate) fn new() -> io::Result<Watch> {
        Ok(Watch { inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)? })
    }

    /// Tells the next writing to this open file, once: while nobody is armed a flood of writes costs nothing.
    pub(crate) fn arm(&self, file: &File) -> io::Result<()> {
        // By descriptor: the name may lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(&self.inotify, path, WatchFlags::MODIFY | WatchFlags::ONESHOT)?;
        Ok(())
    }

    /// Tells whatever comes into a folder or goes from it, until the watch is dropped.
    pub(crate) fn folder(&self, folder: &Path) -> io::Result<()> {
        let flags = WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.inotify, folder, flags | WatchFlags::DELETE_SELF)?;
        Ok(())
    }

    /// Forgets what has been told so far.
    pub(crate) fn clear(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4 << 10];
        while let Ok(count) = rustix::io::read(&self.inotify, &mut buffer[..]).map(|(told, _)| told.len()) {
            if count == 0 {
                return;
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_told(watch: &Watch) -> bool {
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_file_is_told_once_per_arming_and_a_folder_always() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::create(folder.path().join("x")).unwrap();
        let watch = Watch::new().unwrap();
        watch.arm(&file).unwrap();
        assert!(!is_told(&watch));
        file.write_all(b"1").unwrap();
        assert!(is_told(&watch));
        watch.clear();
        file.write_all(b"2").unwrap();
        assert!(!is_told(&watch));
        watch.folder(folder.path()).unwrap();
        for name in ["a", "b"] {
            File::create(folder.path().join(name)).unwrap();
            assert!(is_told(&watch));
            watch.clear();
        }
    }
}
