//! OS signals sent to a worker, as something that `poll` can wait for. Unaware of what they lead to.
//!
//! SIGINT and SIGHUP are taken and forgotten: a worker outlives the terminal and the daemon. They are caught
//! and not ignored, because an ignored signal stays ignored in the programs that we start.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

/// Readable whenever a child has ended or SIGTERM has come.
#[derive(Debug)]
pub(crate) struct OsSignals {
    wake: UnixStream,
    terms: Arc<AtomicUsize>,
}

impl OsSignals {
    pub(crate) fn catch() -> io::Result<OsSignals> {
        let (wake, sender) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let terms = Arc::new(AtomicUsize::new(0));
        // Counted before the wake-up is written: handlers run in the order of their registration.
        signal_hook::flag::register_usize(SIGTERM, Arc::clone(&terms), 1)?;
        signal_hook::low_level::pipe::register(SIGTERM, sender.try_clone()?)?;
        signal_hook::low_level::pipe::register(SIGCHLD, sender)?;
        for os_signal in [SIGINT, SIGHUP] {
            signal_hook::flag::register(os_signal, Arc::new(AtomicBool::new(false)))?;
        }
        Ok(OsSignals { wake, terms })
    }

    /// Whether SIGTERM has come since the last call. Forgets all wake-ups up to now.
    pub(crate) fn take_term(&mut self) -> bool {
        let mut bytes = [0; 64];
        while matches!(self.wake.read(&mut bytes), Ok(n) if n > 0) {}
        self.terms.swap(0, Ordering::SeqCst) > 0
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
