//! What `/proc` tells about processes. Knows the layout of its files; unaware of workers and of what anybody does
//! with a process. Linux only; the border behind which another system would go.

use std::fs;
use std::path::Path;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    /// `R`, `S`, `D`, `T`, `Z` …
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// User and system time of its own and of its children that were waited for, in ticks of 10 ms.
    pub(crate) ticks: u64,
    pub(crate) threads: u64,
    /// Ticks from boot to start. With the pid it names one process of this boot.
    pub(crate) start_time: u64,
}

/// Milliseconds in a tick of `/proc`: the kernel fixes `USER_HZ` at 100 on every architecture we build for.
pub(crate) const TICK_MS: u64 = 10;

impl Stat {
    /// `None` when there is no such process (any more).
    pub(crate) fn of(pid: i32) -> Option<Stat> {
        // The name in it is raw bytes, cut in the middle of a character where it is long: not always UTF-8.
        parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// Whether the process has ended and only waits to be reaped. A leader whose other threads go on is also
    /// shown as `Z`; its `pidfd` tells the difference, and the kernel sends it signals all the same.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

fn parse(line: &str) -> Option<Stat> {
    // The name is in parentheses and may itself hold spaces, parentheses and line ends: the last `)` counts.
    let (head, tail) = line.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    // proc(5) counts from 1 with the pid; `fields` begins with field 3.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    Some(Stat {
        pid: head.split_once(' ')?.0.parse().ok()?,
        state: field(3)?.chars().next()?,
        parent: field(4)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        ticks: (14..=17).map(number).try_fold(0_u64, |sum, ticks| Some(sum.saturating_add(ticks?)))?,
        threads: number(20)?,
        start_time: number(22)?,
    })
}

/// This process.
pub(crate) fn own() -> Option<Stat> {
    Stat::of(rustix::process::getpid().as_raw_nonzero().get())
}

/// Every process of the machine (of this PID namespace). A process that starts or ends meanwhile may or may
/// not be there: who needs certainty scans again.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(Stat::of).collect()
}

/// The children of a process, of whichever thread of it; `None` when it has ended, or the kernel shows none
/// (it is built without `CONFIG_PROC_CHILDREN`).
pub(crate) fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    let mut is_told = false;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may end meanwhile; its children are its process's.
        if let Ok(text) = fs::read_to_string(task.path().join("children")) {
            is_told = true;
            found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    is_told.then_some(found)
}

/// What one process holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resident {
    /// Its own, which no file and no other process shares.
    pub(crate) private_bytes: u64,
    /// Pages of files and shared memory that it has mapped.
    pub(crate) shared_bytes: u64,
}

/// `None` once it has ended.
pub(crate) fn resident(pid: i32) -> Option<Resident> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = statm.split_ascii_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    let (all, shared) = (fields.next()?, fields.next()?);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    Some(Resident {
        private_bytes: all.saturating_sub(shared).saturating_mul(page),
        shared_bytes: shared.saturating_mul(page),
    })
}

/// Memory with each shared page counted in parts, so that sums over processes are right. It makes the kernel walk
/// page tables: for confirming, not for watching.
pub(crate) fn proportional_bytes(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    kib_of(&rollup, "Pss:")
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// How many descriptors a process has open. `None` when it has ended or is another user's.
pub(crate) fn open_files(pid: i32) -> Option<u64> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64)
}

/// What went through read and write calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Io {
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) operations: u64,
}

impl Io {
    /// Of this process's children that were waited for, and of theirs: what is told of the whole process less what
    /// is told of this thread, in a process that has no other. Zeroes where the kernel keeps no such account.
    pub(crate) fn of_children() -> Io {
        Io::read(Path::new("/proc/self/io")).since(&Io::read(Path::new("/proc/thread-self/io")))
    }

    fn read(path: &Path) -> Io {
        let text = fs::read_to_string(path).unwrap_or_default();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        Io {
            read_bytes: number("rchar:"),
            written_bytes: number("wchar:"),
            operations: number("syscr:").saturating_add(number("syscw:")),
        }
    }

    pub(crate) fn since(&self, before: &Io) -> Io {
        Io {
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
            operations: self.operations.saturating_sub(before.operations),
        }
    }
}

/// Whether a process was started with exactly this `NAME=value` in its environment. `false` when it cannot
/// be read.
pub(crate) fn environment_holds(pid: i32, entry: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|found| found == entry.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_traps_does_not_shift_the_fields() {
        let line = "42 (a) R 1 (b) S 7 42 9 0 -1 4194304 1 2 3 4 5 6 70 80 20 0 1 0 987654 1 2\n";
        let expected =
            Stat { pid: 42, state: 'S', parent: 7, session: 9, ticks: 161, threads: 1, start_time: 987_654 };
        assert_eq!(parse(line), Some(expected));
        for broken in ["", "42", "42 (a", "42 (a) S", "x (a) S 1 1 1"] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn the_own_process_is_told_of_and_one_that_is_none_is_not() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let resident = resident(own).unwrap();
        assert!(resident.private_bytes > 0 && resident.shared_bytes > 0, "{resident:?}");
        assert!(proportional_bytes(own).is_none_or(|bytes| bytes > 0));
        assert!(open_files(own).unwrap() >= 3);
        assert_eq!((children(-1), super::resident(-1), open_files(-1)), (None, None, None));
    }
}
