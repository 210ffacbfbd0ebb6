//! Starting an assignment's process. Knows programs, folders and descriptors; unaware of deadlines.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::io::Errno;

use super::capture::Capture;
use super::launch::{self, LAUNCH, Spec};
use super::protocol::Assignment;
use crate::containment::mark::MARK;
use crate::durable::FileError;
use crate::shell::{ProgramFault, find_program};

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

/// Starts the agent in a process group of its own. The caller reaps it. With bounds it is started by way of the
/// trampoline, which joins `join` and sets what is the process's own.
pub(crate) fn start(
    assignment: &Assignment,
    mark: &str,
    join: Vec<PathBuf>,
) -> Result<(Child, Capture), StartFault> {
    let program = check(assignment)?;
    let stdin = match &assignment.stdin {
        Some(path) => Stdio::from(File::open(path).map_err(FileError::at("open", path))?),
        None => Stdio::null(),
    };
    let (capture, stdout, stderr) = Capture::open(&assignment.folder, &assignment.output)?;
    let mut command = if assignment.bounds.is_empty() {
        let mut command = Command::new(&program);
        command.arg0(&assignment.argv[0]);
        command
    } else {
        by_trampoline(assignment, &program, join)?
    };
    command
        .args(&assignment.argv[1..])
        .current_dir(&assignment.dir)
        .env_clear()
        .envs(assignment.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, mark)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        // Not `pre_exec`: with it the standard library would fork instead of posix_spawn.
        .process_group(0);
    let child = command
        .spawn()
        .map_err(|source| StartFault::Spawn { program: program.display().to_string(), source })?;
    Ok((child, capture))
}

fn by_trampoline(assignment: &Assignment, program: &Path, join: Vec<PathBuf>) -> Result<Command, StartFault> {
    let spec = Spec {
        program: program.to_owned(),
        fault: launch::fault_path(&assignment.folder),
        join,
        bounds: assignment.bounds,
    };
    let spec = serde_json::to_string(&spec).map_err(|error| StartFault::Spawn {
        program: program.display().to_string(),
        source: error.into(),
    })?;
    // This very program, also when its file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ropewalk").arg(LAUNCH).arg(spec).arg(&assignment.argv[0]);
    Ok(command)
}

/// The program to execute, absolute.
fn check(assignment: &Assignment) -> Result<PathBuf, StartFault> {
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
