//! Processes seen from outside: those that the fake agents have listed, and the workers above them. Linux's
//! `/proc`; unaware of what anybody wants of them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Bench;

/// A process of the fake agents' list. Pid and start time name it: a pid alone may be somebody else's by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The task, or the task and `-left`.
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) parent: u32,
    pub(crate) start_time: u64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Option<Stat> {
        let bytes = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        // The name in parentheses may hold anything; what follows it begins with field 3.
        let fields: Vec<_> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }

    pub(crate) fn is_zombie(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

impl Listed {
    fn read(line: &str) -> Option<Listed> {
        let fields: Vec<_> = line.split(' ').collect();
        let [name, attempt, pid, start_time] = fields[..] else { return None };
        Some(Listed {
            name: name.to_owned(),
            attempt: attempt.parse().ok()?,
            pid: pid.parse().ok()?,
            start_time: start_time.parse().ok()?,
        })
    }

    pub(crate) fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start_time == self.start_time && !stat.is_zombie())
    }

    pub(crate) fn is_of(&self, task: u64, attempt: u32) -> bool {
        let name = self.name.strip_suffix("-left").unwrap_or(&self.name);
        self.attempt == attempt && name.parse() == Ok(task)
    }
}

impl Bench {
    /// Everything that the fake agents have started.
    pub(crate) fn listed(&self) -> Vec<Listed> {
        let text = fs::read_to_string(self.agent_folder().join("pids")).unwrap_or_default();
        text.lines().filter_map(Listed::read).collect()
    }

    /// A record that a worker left in an attempt's folder.
    pub(crate) fn note(&self, key: &str, file: &str) -> Option<Value> {
        let text = fs::read(self.home.join("attempts").join(key).join(file)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// The pid of the worker that has, or had, an attempt.
    pub(crate) fn worker_of(&self, key: &str) -> Option<u32> {
        u32::try_from(self.note(key, "worker.json")?["worker"]["pid"].as_u64()?).ok()
    }

    /// The pids of all live workers of this bench.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let is_worker = |(_, line): &(u32, String)| line.split(' ').nth(1) == Some("worker");
        self.processes().into_iter().filter(is_worker).map(|(pid, _)| pid).collect()
    }
}

/// Zombies whose parent is one of these.
pub(crate) fn zombies_of(parents: &[u32]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| Stat::of(*pid).is_some_and(|stat| stat.is_zombie() && parents.contains(&stat.parent)))
        .collect()
}

/// What these processes hold in memory together, in bytes. Shared pages are counted in parts (`Pss`), so that the
/// one program of many workers counts once.
pub(crate) fn memory_of(pids: &[u32]) -> u64 {
    let of = |pid: &u32| -> Option<u64> {
        let text = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse().ok()
    };
    pids.iter().filter_map(of).sum::<u64>() << 10
}
