//! The trampoline: a moment of this program between worker and agent, in which what is bounded by the process
//! itself is set. Knows rlimits, nice and the files to join; unaware of why. Replaces itself by the agent, with the
//! same pid; only when that fails it leaves a file that says why.
//!
//! It exists because nothing may be done between fork and exec without `unsafe`, and because a limit set by the
//! worker on itself would be its own. Attempts without bounds do without it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use ropewalk_core::resource::Bounds;
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use serde::{Deserialize, Serialize};

use crate::durable::{FileError, read_record, write_record};

/// The word by which this program is started as trampoline.
pub(crate) const LAUNCH: &str = "launch";

/// What it exits with when it could not become the agent; the same code may be the agent's own, so the file decides.
pub(crate) const FAULT_CODE: u8 = 125;

/// By how much the kernel's bound on one process's CPU time lies above that on the whole attempt, which the worker
/// keeps: a backstop for a worker that was killed.
const CPU_BACKSTOP_S: u64 = 2;

/// What is to be done before the program is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    /// Where to leave the fault.
    pub(crate) fault: PathBuf,
    /// `cgroup.procs` files to write ourselves into.
    pub(crate) join: Vec<PathBuf>,
    pub(crate) bounds: Bounds,
}

/// `launch-fault` in the attempt's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) reason: String,
    pub(crate) passing: bool,
}

pub(crate) fn fault_path(folder: &Path) -> PathBuf {
    folder.join("launch-fault")
}

/// The fault that a trampoline left, if it left one.
pub(crate) fn fault(folder: &Path) -> Result<Option<Fault>, FileError> {
    read_record(&fault_path(folder))
}

/// The body of the hidden subcommand `launch SPEC NAME ARGUMENT…`. Returns only when it has failed.
pub(super) fn launch(words: &[OsString]) -> ExitCode {
    let [spec, name, arguments @ ..] = words else { return ExitCode::from(2) };
    let Some(spec) = spec.to_str().and_then(|text| serde_json::from_str::<Spec>(text).ok()) else {
        return ExitCode::from(2);
    };
    let fault = become_agent(&spec, name, arguments);
    // Nobody reads our output but the user; the worker misses the file, and tells the exit code.
    let _ = write_record(&spec.fault, &fault);
    ExitCode::from(FAULT_CODE)
}

fn become_agent(spec: &Spec, name: &OsString, arguments: &[OsString]) -> Fault {
    if let Err((what, error)) = prepare(spec) {
        return Fault { reason: format!("cannot set {what}: {error}"), passing: true };
    }
    let error = Command::new(&spec.program).arg0(name).args(arguments).exec();
    let passing = matches!(
        error.kind(),
        std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::WouldBlock | std::io::ErrorKind::ResourceBusy
    );
    Fault { reason: format!("cannot start {}: {error}", spec.program.display()), passing }
}

fn prepare(spec: &Spec) -> Result<(), (&'static str, std::io::Error)> {
    for file in &spec.join {
        // Opened, not made: see `containment`.
        std::fs::OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"0"))
            .map_err(|error| ("the cgroup", error))?;
    }
    let bounds = &spec.bounds;
    if let Some(nice) = bounds.nice {
        // Never below what we were given: that takes a privilege.
        let before = rustix::process::getpriority_process(None).unwrap_or(0);
        setpriority_process(None, before.max(i32::from(nice))).map_err(|error| ("nice", error.into()))?;
    }
    if let Some(cpu_ms) = bounds.cpu_ms {
        // Some kernels take 0 for 1. The soft bound asks (SIGXCPU), the hard one ends.
        let seconds = cpu_ms.div_ceil(1000).saturating_add(CPU_BACKSTOP_S);
        lower(Resource::Cpu, seconds, seconds.saturating_add(CPU_BACKSTOP_S))
            .map_err(|error| ("the bound on CPU time", error))?;
    }
    if let Some(count) = bounds.open_files {
        lower(Resource::Nofile, count, count).map_err(|error| ("the bound on open files", error))?;
    }
    if let Some(bytes) = bounds.file_bytes {
        lower(Resource::Fsize, bytes, bytes).map_err(|error| ("the bound on file size", error))?;
    }
    Ok(())
}

/// Sets a bound, never above one that is there already.
fn lower(resource: Resource, soft: u64, hard: u64) -> std::io::Result<()> {
    let before = getrlimit(resource);
    let least = |wanted: u64, there: Option<u64>| there.map_or(wanted, |there| wanted.min(there));
    let hard = least(hard, before.maximum);
    setrlimit(resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })?;
    Ok(())
}
