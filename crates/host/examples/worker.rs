//! The worker program alone, for this crate's tests: `worker --home DIR --number N`. The real one is the hidden
//! subcommand of `ropewalk`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    match arguments.as_slice() {
        [_, home_flag, home, number_flag, number] if home_flag == "--home" && number_flag == "--number" => {
            ropewalk_host::worker::serve(Path::new(home), number.parse().unwrap_or(0))
        }
        _ => ExitCode::from(2),
    }
}
