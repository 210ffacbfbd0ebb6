//! A process that ends in the middle of its work with git and worktrees, for tests: as if by `kill -9`, at a chosen
//! step. Compiled only with the feature `failpoints`; else a step is nothing.

/// One step: before and after each run of git, and between the steps that make and take away worktrees.
/// `FAILPOINT_CRASH_AT_GIT=n` ends the process at the `n`th, from 1, of all its threads together.
#[cfg(feature = "failpoints")]
pub(crate) fn step() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static AT: LazyLock<Option<u64>> =
        LazyLock::new(|| std::env::var("FAILPOINT_CRASH_AT_GIT").ok().and_then(|text| text.parse().ok()));
    static STEPS: AtomicU64 = AtomicU64::new(0);
    if Some(STEPS.fetch_add(1, Ordering::SeqCst) + 1) == *AT {
        // Nothing is flushed, dropped or told. SIGABRT leaves the disk as SIGKILL does; a git that runs goes on alone.
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
pub(crate) fn step() {}
