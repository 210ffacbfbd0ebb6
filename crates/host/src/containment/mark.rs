//! What a process of an assignment is known by when it is no descendant any more. Knows marks and sessions;
//! unaware of why it is to go.
//!
//! While a worker that is subreaper lives, its descendants are known exactly. Else they go to init, and what is left
//! to know them by is weaker: the agent's recorded identity, the mark in their environment, and the session of any
//! process so recognised (a session's number cannot be used again while a member lives, and all sessions of an
//! assignment were made by it). A process that both cleared its environment and made a session in which no marked
//! process is left escapes; a cgroup knows that one too. Nothing is killed that is not recognised for certain.

use std::collections::BTreeSet;

use rustix::process::{Signal, pidfd_send_signal};

use crate::identity::{ProcessIdentity, wait_for_end};
use crate::procfs::{self, Stat};

/// The environment name by which a process is known as one of an assignment's, should its worker die: a mark
/// of this worker and this assignment that no other process has by accident.
pub(crate) const MARK: &str = "ROPEWALK_MARK";

/// Rounds of scan and kill. Each kills all that it sees, so what comes after the second was forked in between.
const ROUNDS_MAX: usize = 20;
/// How long a round waits for the killed to be gone, at most, for each.
const ROUND_MS: u32 = 200;
/// Pidfds held at once.
const WATCHED_MAX: usize = 64;

/// The value of [`MARK`] for one assignment of one worker.
pub(crate) fn mark(worker: &ProcessIdentity, key: &str) -> String {
    format!("{worker}:{key}")
}

/// How many were killed, and whether some may be left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Killed {
    pub(crate) count: usize,
    pub(crate) some_left: bool,
}

/// Kills all that is recognised as the assignment `key` of `worker`, which may live or be gone. `meanwhile` is called
/// after each round, to reap.
pub(crate) fn kill(
    worker: &ProcessIdentity,
    key: &str,
    agent: Option<&ProcessIdentity>,
    mut meanwhile: impl FnMut(),
) -> Killed {
    let mut met = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        meanwhile();
        let left = recognised(worker, key, agent);
        if left.is_empty() {
            // What ended between the last reaping and this scan is left out of it, and still to be reaped.
            meanwhile();
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
    meanwhile();
    Killed { count: met.len(), some_left: true }
}

/// All living processes that are recognised. A scan of the whole machine.
pub(crate) fn recognised(worker: &ProcessIdentity, key: &str, agent: Option<&ProcessIdentity>) -> Vec<Stat> {
    let same_boot = ProcessIdentity::own().is_some_and(|own| own.boot_id == worker.boot_id);
    if !same_boot {
        return Vec::new();
    }
    let mark = format!("{MARK}={}", mark(worker, key));
    let all = procfs::all();
    // None of them is older than its worker, and most of the machine is: their environments are not read.
    let young: Vec<&Stat> = all
        .iter()
        .filter(|stat| !stat.is_zombie() && stat.start_time >= worker.start_time && stat.pid != worker.pid)
        .collect();
    let is_agent = |stat: &Stat| agent.is_some_and(|a| a.pid == stat.pid && a.start_time == stat.start_time);
    let known: BTreeSet<i32> = young
        .iter()
        .filter(|stat| is_agent(stat) || procfs::environment_holds(stat.pid, &mark))
        .map(|stat| stat.pid)
        .collect();
    let mut sessions: BTreeSet<i32> =
        young.iter().filter(|stat| known.contains(&stat.pid)).map(|stat| stat.session).collect();
    // Not getsid: in a container it is 0 where the session began outside, which its wrapper takes for impossible.
    let own_session = procfs::own().map_or(0, |own| own.session);
    if own_session != worker.pid {
        // That of a worker started by hand, which could not make its own, holds strangers.
        sessions.remove(&own_session);
    }
    // A living worker leads a session, and whoever else is in it was started by it.
    let leads = |stat: &Stat| {
        (stat.pid, stat.start_time, stat.session) == (worker.pid, worker.start_time, worker.pid)
    };
    if all.iter().any(leads) {
        sessions.insert(worker.pid);
    }
    let is_ours = |stat: &&Stat| known.contains(&stat.pid) || sessions.contains(&stat.session);
    young.into_iter().filter(is_ours).copied().collect()
}
