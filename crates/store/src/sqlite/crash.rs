//! A process that ends in the middle, for tests: as if by `kill -9`, at a chosen point. Compiled only with the
//! feature `failpoints`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `FAILPOINT_CRASH_AT=n` with n from 1: odd, before the commit number (n + 1) / 2 of this process; even, after
/// commit number n / 2, before anybody hears of it. (Not `ROPEWALK_…`: such names are settings, and the program
/// refuses those that it does not know.)
static CRASH_AT: LazyLock<Option<u64>> =
    LazyLock::new(|| std::env::var("FAILPOINT_CRASH_AT").ok().and_then(|text| text.parse().ok()));

static POINTS: AtomicU64 = AtomicU64::new(0);

/// Two points a commit: before it and after it.
pub(super) fn at_next_point() {
    if Some(POINTS.fetch_add(1, Ordering::SeqCst) + 1) == *CRASH_AT {
        // Nothing is flushed, dropped or told. SIGABRT leaves the disk as SIGKILL does.
        std::process::abort();
    }
}
