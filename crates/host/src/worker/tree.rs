//! Everything that an assignment started, however it detached. Knows processes and their parents; unaware of
//! why they are to end.
//!
//! The worker is a child subreaper and has no other children, so whatever loses its parent comes back to it:
//! its descendants are exactly the assignment's processes, in whatever group or session. The rung above, for
//! machines that have it, is a cgroup of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, pidfd_send_signal, wait};

use crate::identity::{ProcessIdentity, wait_for_end};
use crate::procfs::{self, Stat};

/// How long one round of killing waits for the killed before it looks again. Only a bound: they are waited
/// for, and a process in uninterruptible sleep is the one that takes longer.
const ROUND_MS: u32 = 200;

/// Pidfds held at once while waiting: a fork bomb has more processes than we may have descriptors.
const WATCHED_MAX: usize = 64;

/// All living descendants of this process, zombies aside.
pub(crate) fn descendants() -> Vec<Stat> {
    below(getpid().as_raw_nonzero().get(), &procfs::all())
        .into_iter()
        .filter(|stat| !stat.is_zombie())
        .collect()
}

fn below(root: i32, all: &[Stat]) -> Vec<Stat> {
    let mut children: BTreeMap<i32, Vec<Stat>> = BTreeMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(*stat);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        // Taken out: a scan is not a snapshot, and pids that changed hands during it could make a cycle.
        for stat in children.remove(&parent).unwrap_or_default() {
            open.push(stat.pid);
            found.push(stat);
        }
    }
    found
}

/// Sends an OS signal to each of `processes` that is still the one that was seen.
pub(crate) fn signal_all(processes: &[Stat], os_signals: &[Signal]) {
    for stat in processes {
        if let Ok(Some(pidfd)) = ProcessIdentity::from_stat(stat).open() {
            for os_signal in os_signals {
                // It may have ended since, or have become another user's by a set-uid program.
                let _ = pidfd_send_signal(&pidfd, *os_signal);
            }
        }
    }
}

/// How often in a row a child may be left that cannot be signalled, and the pause between: two seconds in all, the
/// time in which everything of an attempt has to be gone.
const EMPTY_ROUNDS_MAX: u32 = 400;
const EMPTY_ROUND: std::time::Duration = std::time::Duration::from_millis(5);

/// Kills and reaps until no descendant is left that this user may kill. Returns how many
/// living processes it met. Zombies are reaped by the way, `reaped` is told of each.
pub(crate) fn kill_tree(mut reaped: impl FnMut(Pid, WaitStatus)) -> u32 {
    let mut met = BTreeSet::new();
    let mut empty_rounds = 0;
    // Mostly the agent was alone: then the first reaping says so, and nothing is scanned.
    while reap(&mut reaped) == Children::Left {
        // Zombies too: one whose first thread has ended looks like a zombie while its others go on.
        let below = below(getpid().as_raw_nonzero().get(), &procfs::all());
        let mut watched: Vec<OwnedFd> = Vec::new();
        for stat in &below {
            if !stat.is_zombie() {
                met.insert((stat.pid, stat.start_time));
            }
            if let Ok(Some(pidfd)) = ProcessIdentity::from_stat(stat).open()
                && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
                && watched.len() < WATCHED_MAX
            {
                watched.push(pidfd);
            }
        }
        for pidfd in &watched {
            let _ = wait_for_end(pidfd, ROUND_MS);
        }
        if watched.is_empty() {
            // A child is left but none could be signalled: it is just ending, started during the scan, or is
            // another user's by a set-uid program. The last kind never goes; it must not hold the record back.
            empty_rounds += 1;
            if empty_rounds > EMPTY_ROUNDS_MAX {
                break;
            }
            std::thread::park_timeout(EMPTY_ROUND);
        } else {
            empty_rounds = 0;
        }
    }
    u32::try_from(met.len()).unwrap_or(u32::MAX)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    None,
    Left,
}

/// Reaps whatever has ended, waiting for nothing.
pub(crate) fn reap(mut reaped: impl FnMut(Pid, WaitStatus)) -> Children {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => reaped(pid, status),
            Ok(None) => return Children::Left,
            Err(Errno::INTR) => {}
            // ECHILD; nothing else is possible here.
            Err(_) => return Children::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_what_hangs_below_its_root_even_when_the_scan_was_torn() {
        let stat =
            |pid, parent| Stat { pid, parent, state: 'S', session: 0, children_ticks: 0, start_time: 1 };
        let all = [stat(1, 0), stat(5, 1), stat(6, 5), stat(7, 6), stat(8, 1), stat(9, 10), stat(10, 9)];
        let mut pids: Vec<i32> = below(5, &all).iter().map(|stat| stat.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [6, 7]);
        assert_eq!(below(9, &all).len(), 2, "a cycle ends");
    }
}
