//! Work that nobody waits for. Knows priorities; unaware of what the work is.

/// Puts the calling thread behind everybody else's work for good: only what the processor has left over is its.
/// Where that cannot be had it works like any other.
pub fn yield_to_others() {
    // On Linux the priority is the thread's, in spite of the call's name. Elsewhere it would be the process's.
    if cfg!(target_os = "linux") {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19);
    }
}
