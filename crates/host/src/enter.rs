//! A shell for a person in some folder. Knows `$SHELL`; unaware of why they look there.

use std::io;
use std::path::Path;
use std::process::Command;

/// What a shell's exit code is when an OS signal ended it: as shells themselves say it.
const SIGNALLED: u8 = 128;

/// Runs the person's own shell in `folder`, on their terminal, until they leave it. Gives its exit code.
///
/// # Errors
/// When it cannot be started.
pub fn shell(folder: &Path) -> io::Result<u8> {
    let program =
        std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let status = Command::new(program).current_dir(folder).status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(SIGNALLED))
}
