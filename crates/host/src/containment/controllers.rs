//! Bounds that the kernel keeps: the memory and pids controllers of cgroups, v2 where they are delegated, else v1
//! where its hierarchies are writable. Knows their files; unaware of what a breach leads to.
//!
//! One small cgroup per attempt and hierarchy, made before the agent starts and joined by the agent itself, so that
//! the counts in it are this attempt's alone.

use std::fs;
use std::path::{Path, PathBuf};

use ropewalk_core::resource::{Bounds, Resource};
use rustix::fs::{Access, access};

use super::cgroup::{name_of, write};
use super::{Container, mounts};
use crate::identity::ProcessIdentity;

/// A bound that the kernel says was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breach(pub(crate) Resource);

/// The controllers that hold one attempt. What is not held here is left to whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Confines {
    memory: Option<Confine>,
    processes: Option<Confine>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Confine {
    folder: PathBuf,
    is_v2: bool,
}

impl Confines {
    /// Best effort: whatever fails is as if it were not offered. `number` tells a worker's attempts apart.
    pub(crate) fn make(
        container: &Container,
        worker: &ProcessIdentity,
        number: u64,
        bounds: &Bounds,
    ) -> Confines {
        let is_wanted = bounds.memory_bytes.is_some() || bounds.processes.is_some();
        if !container.has_controllers || !is_wanted {
            return Confines::default();
        }
        let v2 = container.cgroup().and_then(|top| make_v2(top, number, bounds));
        let mounts = mounts::mounts();
        let name = format!("{}-{number}", name_of(worker));
        let v1 = |controller: &str, fill: &dyn Fn(&Path) -> std::io::Result<()>| {
            make_v1(&mounts::own_v1(&mounts, controller)?.join(&name), fill)
        };
        let holds = |controller: &str| v2.as_ref().filter(|(_, held)| held.iter().any(|h| h == controller));
        let of_v2 = |folder: &PathBuf| Confine { folder: folder.clone(), is_v2: true };
        let memory = bounds.memory_bytes.and_then(|bytes| match holds("memory") {
            Some((folder, _)) => Some(of_v2(folder)),
            None => v1("memory", &|folder| fill_memory_v1(folder, bytes)),
        });
        let processes = bounds.processes.and_then(|count| match holds("pids") {
            Some((folder, _)) => Some(of_v2(folder)),
            None => v1("pids", &|folder| write(&folder.join("pids.max"), &count.to_string())),
        });
        Confines { memory, processes }
    }

    pub(crate) fn holds_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub(crate) fn holds_processes(&self) -> bool {
        self.processes.is_some()
    }

    /// The files that the agent's first process writes itself into.
    pub(crate) fn joined_by(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            self.folders().into_iter().map(|folder| folder.join("cgroup.procs")).collect();
        files.dedup();
        files
    }

    /// Whether the kernel has refused something since the start.
    pub(crate) fn breach(&self) -> Option<Breach> {
        let counted = |confine: &Option<Confine>, files: [&str; 2], name: &str| {
            confine.as_ref().is_some_and(|confine| {
                let file = files[usize::from(!confine.is_v2)];
                number_in(&confine.folder.join(file), name).is_some_and(|count| count > 0)
            })
        };
        if counted(&self.memory, ["memory.events", "memory.oom_control"], "oom_kill") {
            Some(Breach(Resource::Memory))
        } else if counted(&self.processes, ["pids.events", "pids.events"], "max") {
            Some(Breach(Resource::Processes))
        } else {
            None
        }
    }

    /// The most that was held at once, by all processes together.
    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        let confine = self.memory.as_ref()?;
        let file = if confine.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(confine.folder.join(file)).ok()?.trim().parse().ok()
    }

    /// To be called when nothing is alive in them. What is still busy stays for the next sweep.
    pub(crate) fn remove(&self) {
        for folder in self.folders() {
            let _ = fs::remove_dir(folder);
        }
    }

    fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> =
            [&self.memory, &self.processes].into_iter().flatten().map(|c| c.folder.as_path()).collect();
        folders.dedup();
        folders
    }
}

/// A cgroup beside `agents` with the controllers that we were given and could set; `None` when there is none.
fn make_v2(top: &Path, number: u64, bounds: &Bounds) -> Option<(PathBuf, Vec<String>)> {
    let offered = fs::read_to_string(top.join("cgroup.controllers")).ok()?;
    let offers = |name: &str| offered.split_ascii_whitespace().any(|offer| offer == name);
    let asked = [("memory", bounds.memory_bytes.is_some()), ("pids", bounds.processes.is_some())];
    let folder = top.join(format!("limited-{number}"));
    let mut held = Vec::new();
    for (name, _) in asked.iter().filter(|(name, is_asked)| *is_asked && offers(name)) {
        if write(&top.join("cgroup.subtree_control"), &format!("+{name}")).is_ok() {
            held.push((*name).to_owned());
        }
    }
    if held.is_empty() || fs::create_dir(&folder).is_err() {
        return None;
    }
    held.retain(|name| match name.as_str() {
        "memory" => bounds.memory_bytes.is_some_and(|bytes| fill_memory_v2(&folder, bytes).is_ok()),
        _ => {
            bounds.processes.is_some_and(|count| write(&folder.join("pids.max"), &count.to_string()).is_ok())
        }
    });
    if held.is_empty() || access(folder.join("cgroup.procs"), Access::WRITE_OK).is_err() {
        let _ = fs::remove_dir(&folder);
        return None;
    }
    Some((folder, held))
}

fn fill_memory_v2(folder: &Path, bytes: u64) -> std::io::Result<()> {
    write(&folder.join("memory.max"), &bytes.to_string())?;
    // Swapped out it would still be held, and the machine would be slow instead of the attempt over. Absent on
    // machines without swap.
    let _ = write(&folder.join("memory.swap.max"), "0");
    // The whole attempt is to end, not the one process that asked last.
    let _ = write(&folder.join("memory.oom.group"), "1");
    Ok(())
}

fn fill_memory_v1(folder: &Path, bytes: u64) -> std::io::Result<()> {
    // Before Linux 4.13 an end for want of memory is not counted, and could not be told from others.
    if number_in(&folder.join("memory.oom_control"), "oom_kill").is_none() {
        return Err(std::io::ErrorKind::Unsupported.into());
    }
    write(&folder.join("memory.limit_in_bytes"), &bytes.to_string())?;
    // Memory and swap together; only where swap is accounted.
    let _ = write(&folder.join("memory.memsw.limit_in_bytes"), &bytes.to_string());
    Ok(())
}

fn make_v1(folder: &Path, fill: &dyn Fn(&Path) -> std::io::Result<()>) -> Option<Confine> {
    fs::create_dir(folder).ok()?;
    if fill(folder).is_err() || access(folder.join("cgroup.procs"), Access::WRITE_OK).is_err() {
        let _ = fs::remove_dir(folder);
        return None;
    }
    Some(Confine { folder: folder.to_owned(), is_v2: false })
}

/// The number behind a name in a file of `name number` lines.
fn number_in(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (found, number) = line.split_once(' ')?;
        (found == name).then(|| number.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_counts_is_read_from_both_versions() {
        let place = tempfile::tempdir().unwrap();
        let confine = |is_v2| Some(Confine { folder: place.path().to_owned(), is_v2 });
        let file = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        let v1 = Confines { memory: confine(false), processes: confine(false) };
        let v2 = Confines { memory: confine(true), processes: confine(true) };
        assert_eq!((v1.breach(), v1.memory_peak_bytes()), (None, None));
        assert_eq!(v2.joined_by(), [place.path().join("cgroup.procs")], "one folder for both");

        file("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        file("memory.events", "low 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 0\n");
        file("pids.events", "max 0\n");
        file("memory.max_usage_in_bytes", "4096\n");
        file("memory.peak", "8192\n");
        assert_eq!((v1.breach(), v2.breach()), (None, None));
        assert_eq!((v1.memory_peak_bytes(), v2.memory_peak_bytes()), (Some(4096), Some(8192)));
        file("pids.events", "max 3\n");
        assert_eq!(v1.breach(), Some(Breach(Resource::Processes)));
        file("memory.events", "oom 1\noom_kill 2\n");
        assert_eq!(v2.breach(), Some(Breach(Resource::Memory)));
        assert_eq!(v1.breach(), Some(Breach(Resource::Processes)));
    }
}
