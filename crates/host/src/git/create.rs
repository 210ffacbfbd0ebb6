//! A new repository with one commit: for the demo. Unaware of everything that happens in it later.

use std::path::Path;

use super::run::{Call, GitError};

/// Makes a repository in `folder` (made when absent) with these files committed on `branch`. The identity is its
/// own, so that it works on a machine where git was never set up.
///
/// # Errors
/// When the folder cannot be written or git refuses.
pub fn create(folder: &Path, branch: &str, files: &[(&str, &str)], message: &str) -> Result<(), GitError> {
    std::fs::create_dir_all(folder).map_err(|error| GitError::io("init", folder, &error))?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| GitError::io("init", &path, &error))?;
    }
    let call = |operation| Call::new(operation, folder);
    call("init").args(["init", "--quiet", "--initial-branch", branch, "."]).run()?;
    call("config").args(["config", "user.name", "Ropewalk demo"]).run()?;
    call("config").args(["config", "user.email", "demo@ropewalk.invalid"]).run()?;
    call("add").args(["add", "--all", "."]).run()?;
    call("commit").args(["commit", "--quiet", "--message", message]).run()?;
    Ok(())
}
