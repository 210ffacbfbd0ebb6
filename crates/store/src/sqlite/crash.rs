//! A process that ends in the middle, or a disk that fails, for tests: as if by `kill -9`, at a chosen point. Compiled
//! only with the feature `failpoints`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ropewalk_core::port::StoreError;

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

/// `FAILPOINT_FAIL=KIND:FROM:COUNT`: the commits from number FROM (of this process, from 1) on, COUNT of them, fail.
/// `full`: as on a full disk, nothing is written. `eio`: all is written, and the disk says that it is not, which is
/// as much as anybody knows after a failed fsync.
static FAIL: LazyLock<Option<Fail>> = LazyLock::new(|| {
    let text = std::env::var("FAILPOINT_FAIL").ok()?;
    let mut words = text.split(':');
    let kind = match words.next()? {
        "full" => Kind::Full,
        "eio" => Kind::Io,
        _ => return None,
    };
    Some(Fail { kind, from: words.next()?.parse().ok()?, count: words.next()?.parse().ok()? })
});

static COMMITS: AtomicU64 = AtomicU64::new(0);

struct Fail {
    kind: Kind,
    from: u64,
    count: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    Io,
}

/// The error that this commit is to be told with; `write` writes it.
pub(super) fn failed(write: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let number = COMMITS.fetch_add(1, Ordering::SeqCst) + 1;
    let fail = FAIL.as_ref().filter(|fail| number >= fail.from && number - fail.from < fail.count);
    let (operation, path, detail) = ("commit", "the database".to_owned(), "injected".to_owned());
    match fail.map(|fail| fail.kind) {
        None => write(),
        Some(Kind::Full) => Err(StoreError::Full { operation, path, detail }),
        Some(Kind::Io) => write().and(Err(StoreError::Io { operation, path, detail })),
    }
}
