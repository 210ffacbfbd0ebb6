//! The hidden subcommands: this program as a worker, and for a moment in place of an agent. Not for people, hence not
//! in the command line's definition.

use std::ffi::OsString;
use std::process::ExitCode;

/// Serves when called as `ropewalk worker --home DIR --number N` or `ropewalk launch SPEC NAME …`; `None`: it was not.
pub(crate) fn serve_if_asked() -> Option<ExitCode> {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    ropewalk_host::worker::serve_if_asked(&words)
}
