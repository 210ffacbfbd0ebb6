//! What an attempt may use of the machine, what it did use, and how surely it can be ended. Unaware of how any of
//! that is measured or enforced.

use serde::{Deserialize, Serialize};

/// Something of the machine that is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Memory,
    CpuTime,
    Processes,
    OpenFiles,
    FileSize,
    Output,
}

impl Resource {
    pub fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::CpuTime => "CPU time",
            Resource::Processes => "processes",
            Resource::OpenFiles => "open files",
            Resource::FileSize => "file size",
            Resource::Output => "output",
        }
    }
}

/// Hard bounds on what an attempt's processes may use; absent: no bound of ours. Time has its own, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// All its processes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// User and system time of all its processes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Processes and threads at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
    /// Descriptors of one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Any one file that it writes, its output included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// 0 (as usual) to 19 (only when nobody else wants the processor).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<u8>,
}

impl Bounds {
    /// These laid over `below`: what is given here wins.
    pub fn over(&self, below: &Bounds) -> Bounds {
        Bounds {
            memory_bytes: self.memory_bytes.or(below.memory_bytes),
            cpu_ms: self.cpu_ms.or(below.cpu_ms),
            processes: self.processes.or(below.processes),
            open_files: self.open_files.or(below.open_files),
            file_bytes: self.file_bytes.or(below.file_bytes),
            nice: self.nice.or(below.nice),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Bounds::default()
    }
}

/// What an attempt has used. Counts cover every process that it started, in whatever session; what a system does
/// not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// From start until nothing was alive any more, on the boot-time clock.
    pub wall_ms: u64,
    /// User and system time.
    pub cpu_ms: u64,
    /// The most that it held at once: of all its processes together where a cgroup tells, else of samples.
    pub memory_peak_bytes: Option<u64>,
    /// The mean of the samples.
    pub memory_mean_bytes: Option<u64>,
    /// What went through read and write calls, files or not.
    pub io_read_bytes: u64,
    pub io_written_bytes: u64,
    /// Read and write calls.
    pub io_operations: u64,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    /// Output beyond its cap, which was not kept.
    pub output_dropped_bytes: u64,
}

/// How surely an attempt's processes can be found and ended, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// A cgroup v2 of its own: whatever was started in it is in it, also after its worker's death.
    Cgroup,
    /// The worker is child subreaper: all that descends from it is found while the worker lives; after its death a
    /// process that has both a session of its own and a cleared environment escapes.
    Subreaper,
    /// Process group, session and environment mark. Weak: such a process escapes always.
    Group,
}

impl Rung {
    pub fn name(self) -> &'static str {
        match self {
            Rung::Cgroup => "cgroup",
            Rung::Subreaper => "subreaper",
            Rung::Group => "group",
        }
    }

    pub fn is_weak(self) -> bool {
        self == Rung::Group
    }
}
