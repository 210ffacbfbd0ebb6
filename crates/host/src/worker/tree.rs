//! Everything that an assignment started, however it detached. Knows processes and their parents, and how each
//! rung ends them; unaware of why they are to end.
//!
//! The worker is a child subreaper and has no other children, so whatever loses its parent comes back to it:
//! its descendants are exactly the assignment's processes, in whatever group or session. Only on the weakest rung
//! they are not, and marks and sessions have to do.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use ropewalk_core::resource::Rung;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, pidfd_send_signal, wait};

use super::record::AgentNote;
use crate::containment::{Container, mark};
use crate::identity::{ProcessIdentity, wait_for_end};
use crate::procfs::{self, Stat};

/// How long one round of killing waits for the killed before it looks again. Only a bound: they are waited
/// for, and a process in uninterruptible sleep is the one that takes longer.
const ROUND_MS: u32 = 200;

/// Pidfds held at once while waiting: a fork bomb has more processes than we may have descriptors.
const WATCHED_MAX: usize = 64;

/// Up to this many processes are killed one by one first, which takes less than the two moves between cgroups
/// (6 ms each) that it takes to kill all at once.
const FEW: usize = 16;

/// How often all is killed at once, for one assignment. What is left then has left the cgroup, which only a privileged
/// agent can, and is killed one by one.
const WHOLE_KILLS_MAX: u32 = 2;

/// Processes that one look takes in: as many as Linux runs by default. Only a fork bomb has more.
const LOOK_MAX: usize = 32_768;

/// Whose processes are meant on the rung that knows them by their marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owned<'a> {
    pub(crate) worker: &'a ProcessIdentity,
    pub(crate) note: &'a AgentNote,
}

/// All living processes of the assignment, zombies aside, parents before their children.
pub(crate) fn living(container: &Container, owned: Owned<'_>) -> Vec<Stat> {
    match container.rung() {
        Rung::Group => mark::recognised(owned.worker, &owned.note.key, Some(&owned.note.agent)),
        Rung::Cgroup | Rung::Subreaper => descendants(),
    }
}

/// All living descendants of this process, zombies aside, parents before their children.
pub(crate) fn descendants() -> Vec<Stat> {
    let mut below = below_own(LOOK_MAX);
    below.retain(|stat| !stat.is_zombie());
    below
}

fn below_own(most: usize) -> Vec<Stat> {
    let own = getpid().as_raw_nonzero().get();
    match walk(own, most, procfs::children) {
        Some(pids) => pids.into_iter().filter_map(Stat::of).collect(),
        None => below(own, &procfs::all()),
    }
}

/// By the children of each, so that the cost is that of the tree and not of the machine. `None` when the kernel
/// does not show them.
fn walk(root: i32, most: usize, children: impl Fn(i32) -> Option<Vec<i32>>) -> Option<Vec<i32>> {
    let mut found = children(root)?;
    let mut met: BTreeSet<i32> = found.iter().copied().collect();
    let mut next = 0;
    while next < found.len() && found.len() < most {
        // None: it has ended meanwhile, and its children are the root's now; the next look sees them.
        for pid in children(found[next]).unwrap_or_default() {
            if met.insert(pid) {
                found.push(pid);
            }
        }
        next += 1;
    }
    Some(found)
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

/// Kills and reaps until nothing of the assignment is left that this user may kill. Returns how many living
/// processes it met. Zombies are reaped by the way, `reap` does that and says whether children are left.
pub(crate) fn kill(container: &Container, owned: Owned<'_>, mut reap: impl FnMut() -> Children) -> u32 {
    if container.rung() == Rung::Group {
        let killed = mark::kill(owned.worker, &owned.note.key, Some(&owned.note.agent), || {
            reap();
        });
        return u32::try_from(killed.count).unwrap_or(u32::MAX);
    }
    let mut met = BTreeSet::new();
    let mut empty_rounds = 0;
    let mut round = 0;
    let mut whole_kills = 0;
    // Mostly the agent was alone: then the first reaping says so, and nothing is looked for.
    while reap() == Children::Left {
        // Zombies too: one whose first thread has ended looks like a zombie while its others go on.
        let below = below_own(LOOK_MAX);
        met.extend(below.iter().filter(|stat| !stat.is_zombie()).map(|stat| (stat.pid, stat.start_time)));
        round += 1;
        // Many, or some that came while we killed: all at once, so that no fork escapes.
        if (below.len() > FEW || round > 1) && whole_kills < WHOLE_KILLS_MAX {
            whole_kills += 1;
            if container.kill_agents(|| {
                reap();
            }) {
                continue;
            }
        }
        let watched = kill_each(&below);
        for pidfd in &watched {
            let _ = wait_for_end(pidfd, ROUND_MS);
        }
        if watched.is_empty() {
            // A child is left but none could be signalled: it is just ending, started during the look, or is
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

/// Parents first: one that starts a new child for each that ends comes to no second.
fn kill_each(processes: &[Stat]) -> Vec<OwnedFd> {
    let mut watched: Vec<OwnedFd> = Vec::new();
    for stat in processes {
        if let Ok(Some(pidfd)) = ProcessIdentity::from_stat(stat).open()
            && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
            && watched.len() < WATCHED_MAX
        {
            watched.push(pidfd);
        }
    }
    watched
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
            |pid, parent| Stat { pid, parent, state: 'S', session: 0, ticks: 0, threads: 1, start_time: 1 };
        let all = [stat(1, 0), stat(5, 1), stat(6, 5), stat(7, 6), stat(8, 1), stat(9, 10), stat(10, 9)];
        let mut pids: Vec<i32> = below(5, &all).iter().map(|stat| stat.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [6, 7]);
        assert_eq!(below(9, &all).len(), 2, "a cycle ends");

        let children = |pid| Some(all.iter().filter(|stat| stat.parent == pid).map(|s| s.pid).collect());
        assert_eq!(walk(1, 99, children), Some(vec![5, 8, 6, 7]), "parents first");
        assert_eq!(walk(9, 99, children), Some(vec![10, 9]), "a cycle ends");
        assert_eq!(walk(1, 2, children), Some(vec![5, 8]));
        assert_eq!(walk(1, 99, |_| None), None);
    }
}
