//! The worker program alone, for this crate's tests: `worker worker --home DIR --number N`, and the trampoline. The
//! real ones are hidden subcommands of `ropewalk`.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    ropewalk_host::worker::serve_if_asked(&words).unwrap_or(ExitCode::from(2))
}
