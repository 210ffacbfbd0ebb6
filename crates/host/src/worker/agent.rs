//! Starting an assignment's process. Knows programs, folders and descriptors; unaware of deadlines.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::io::Errno;

use super::protocol::Assignment;
use crate::durable::FileError;
use crate::shell::{ProgramFault, find_program};

/// The environment name by which a process is known as one of an assignment's, should its worker die: a mark
/// of this worker and this assignment that no other process has by accident.
pub(crate) const MARK: &str = "ROPEWALK_MARK";

/// Why nothing was started. A set-up fault, told to the user as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFault {
    #[error("the folder to start in, {0}, is not there")]
    NoFolder(String),
    #[error("the command is empty")]
    NoCommand,
    #[error(transparent)]
    Program(#[from] ProgramFault),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("cannot start {program}: {source}")]
    Spawn { program: String, source: std::io::Error },
}

impl StartFault {
    /// Whether it is a shortage of the moment: of disk, memory, processes or descriptors.
    pub(crate) fn is_passing(&self) -> bool {
        use std::io::ErrorKind::{OutOfMemory, StorageFull, WouldBlock};
        match self {
            StartFault::File(_) => true,
            // Without a kind of their own: too many open files, in this process and in the system.
            StartFault::Spawn { source, .. } => {
                matches!(source.kind(), OutOfMemory | StorageFull | WouldBlock)
                    || matches!(rustix::io::Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE))
            }
            StartFault::NoFolder(_) | StartFault::NoCommand | StartFault::Program(_) => false,
        }
    }
}

/// Starts the agent in a process group of its own and returns its pid. The caller reaps it.
///
/// Its output goes straight to files: nothing is copied, so nothing is lost when anything of ours dies, and a
/// background process that holds on to it delays nobody (measurement M4). They are opened for appending, as
/// two processes may write to one.
pub(crate) fn start(assignment: &Assignment, mark: &str) -> Result<i32, StartFault> {
    let program = check(assignment)?;
    let stdin = match &assignment.stdin {
        Some(path) => Stdio::from(File::open(path).map_err(FileError::at("open", path))?),
        None => Stdio::null(),
    };
    let mut command = Command::new(&program);
    command
        .arg0(&assignment.argv[0])
        .args(&assignment.argv[1..])
        .current_dir(&assignment.dir)
        .env_clear()
        .envs(assignment.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, mark)
        .stdin(stdin)
        .stdout(output(&assignment.folder.join("stdout"))?)
        .stderr(output(&assignment.folder.join("stderr"))?)
        // Not `pre_exec`: with it the standard library would fork instead of posix_spawn.
        .process_group(0);
    let child = command
        .spawn()
        .map_err(|source| StartFault::Spawn { program: program.display().to_string(), source })?;
    Ok(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// The program to execute, absolute.
fn check(assignment: &Assignment) -> Result<std::path::PathBuf, StartFault> {
    if !assignment.dir.is_dir() {
        return Err(StartFault::NoFolder(assignment.dir.display().to_string()));
    }
    let path = assignment.env.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let first = assignment.argv.first().ok_or(StartFault::NoCommand)?;
    if let Some(word) = &assignment.program {
        find_program(word, &assignment.dir, path)?;
    }
    Ok(find_program(first, &assignment.dir, path)?)
}

fn output(path: &Path) -> Result<Stdio, FileError> {
    let mut options = OpenOptions::new();
    let file =
        options.append(true).create(true).mode(0o600).open(path).map_err(FileError::at("open", path))?;
    Ok(Stdio::from(file))
}
