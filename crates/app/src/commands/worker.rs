//! The hidden subcommand: this program as a worker. Not for people, hence not in the command line's definition.

use std::path::Path;
use std::process::ExitCode;

/// Serves as a worker when called as `ropewalk worker --home DIR --number N`; `None`: it was not.
pub(crate) fn serve_if_asked() -> Option<ExitCode> {
    let words: Vec<_> = std::env::args_os().collect();
    match words.as_slice() {
        [_, worker, home_flag, home, number_flag, number]
            if worker == "worker" && home_flag == "--home" && number_flag == "--number" =>
        {
            let number = number.to_string_lossy().parse().unwrap_or(0);
            Some(ropewalk_host::worker::serve(Path::new(home), number))
        }
        _ => None,
    }
}
