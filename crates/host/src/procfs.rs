//! What `/proc` tells about processes. Knows the layout of `stat` and `status`; unaware of workers and of
//! what anybody does with a process. Linux only; the border behind which another system would go.

use std::fs;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    /// `R`, `S`, `D`, `T`, `Z` …
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// User and system time of children that were waited for, in ticks of 10 ms.
    pub(crate) children_ticks: u64,
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
        children_ticks: number(16)?.saturating_add(number(17)?),
        start_time: number(22)?,
    })
}

/// Every process of the machine (of this PID namespace). A process that starts or ends meanwhile may or may
/// not be there: who needs certainty scans again.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(Stat::of).collect()
}

/// The most memory that a living process has held at once, in bytes. `None` once it has ended.
pub(crate) fn rss_peak_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
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
            Stat { pid: 42, state: 'S', parent: 7, session: 9, children_ticks: 150, start_time: 987_654 };
        assert_eq!(parse(line), Some(expected));
        for broken in ["", "42", "42 (a", "42 (a) S", "x (a) S 1 1 1"] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
    }
}
