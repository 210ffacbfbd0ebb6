//! What a worker that was killed has left behind. Knows marks and sessions; unaware of why it is to go.
//!
//! While a worker lives, its descendants are known exactly. When it is killed they go to init, and what is left
//! to know them by is weaker: the agent's recorded identity, the mark in their environment
//! ([`crate::worker::MARK`]), and the session of any process so recognised (a session's number cannot be used
//! again while a member lives, and all sessions of an assignment were made by it). A process that both cleared
//! its environment and made a session in which no marked process is left escapes; the rung above, a cgroup,
//! knows that one too. Nothing is killed that is not recognised for certain.

use std::collections::BTreeSet;

use rustix::process::{Signal, pidfd_send_signal};

use crate::identity::{ProcessIdentity, wait_for_end};
use crate::procfs::{self, Stat};
use crate::worker;

/// Rounds of scan and kill. Each kills all that it sees, so what comes after the second was forked in between.
const ROUNDS_MAX: usize = 20;
/// How long a round waits for the killed to be gone, at most, for each.
const ROUND_MS: u32 = 200;
/// Pidfds held at once.
const WATCHED_MAX: usize = 64;

/// How many were killed, and whether some may be left.
#[derive(Debug, Default)]
pub(super) struct Killed {
    pub(super) count: usize,
    pub(super) some_left: bool,
}

/// Kills what is left of the assignment `key` of a worker that is gone.
pub(super) fn kill(worker: &ProcessIdentity, key: &str, agent: Option<&ProcessIdentity>) -> Killed {
    let mark = format!("{}={}", worker::MARK, worker::mark(worker, key));
    let mut met = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let left = recognised(&procfs::all(), worker, agent, &mark);
        if left.is_empty() {
            return Killed { count: met.len(), some_left: false };
        }
        let mut watched = Vec::new();
        for stat in left {
            met.insert((stat.pid, stat.start_time));
            if let Ok(Some(pidfd)) = ProcessIdentity::from_stat(&stat).open()
                && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
                && watched.len() < WATCHED_MAX
            {
                watched.push(pidfd);
            }
        }
        for pidfd in &watched {
            let _ = wait_for_end(pidfd, ROUND_MS);
        }
    }
    Killed { count: met.len(), some_left: true }
}

fn recognised(
    all: &[Stat],
    worker: &ProcessIdentity,
    agent: Option<&ProcessIdentity>,
    mark: &str,
) -> Vec<Stat> {
    let same_boot = ProcessIdentity::own().is_some_and(|own| own.boot_id == worker.boot_id);
    if !same_boot {
        return Vec::new();
    }
    // None of them is older than its worker, and most of the machine is: their environments are not read.
    let young: Vec<&Stat> =
        all.iter().filter(|stat| !stat.is_zombie() && stat.start_time >= worker.start_time).collect();
    let is_agent = |stat: &Stat| agent.is_some_and(|a| a.pid == stat.pid && a.start_time == stat.start_time);
    let known = |stat: &&&Stat| is_agent(stat) || procfs::environment_holds(stat.pid, mark);
    let sessions: BTreeSet<i32> = young.iter().filter(known).map(|stat| stat.session).collect();
    young.into_iter().filter(|stat| sessions.contains(&stat.session)).copied().collect()
}
