//! What a worker that was killed has left behind. Knows its container and its marks; unaware of why it is to go.
//!
//! First the container as a whole, where the worker had a cgroup: nothing in it escapes. Then whatever is recognised
//! by its mark or session, which is all there is on the weaker rungs; see [`crate::containment`].

use std::path::Path;

use rustix::process::Signal;

use crate::containment::mark::{self, Killed};
use crate::containment::{LeftInside, kill_left, remove_of};
use crate::durable::read_record;
use crate::identity::ProcessIdentity;
use crate::worker::record::{AgentNote, WorkerNote, agent_note, worker_note};

/// Ends an assignment that nobody will take up any more, by what its folder says: its worker first, then all that it
/// started.
pub fn end(folder: &Path) {
    let note: Option<WorkerNote> = read_record(&worker_note(folder)).unwrap_or_default();
    let agent: Option<AgentNote> = read_record(&agent_note(folder)).unwrap_or_default();
    let Some(note) = note else { return };
    let _ = note.worker.signal(Signal::KILL);
    let _ = note.worker.wait_for_end(END_WAIT_MS);
    kill(&note.worker, &note.key, Some(&note), agent.as_ref());
}

/// How long a killed worker may take to be gone.
const END_WAIT_MS: u32 = 2_000;

/// Kills what is left of the assignment `key` of `worker`. One that lives has its container in use, perhaps for
/// another assignment: then only what is recognised is killed.
pub(super) fn kill(
    worker: &ProcessIdentity,
    key: &str,
    note: Option<&WorkerNote>,
    agent: Option<&AgentNote>,
) -> Killed {
    let cgroup = note.filter(|note| note.worker == *worker).and_then(|note| note.cgroup.as_deref());
    let inside = if worker.is_alive() { None } else { kill_left(worker, cgroup) };
    let inside = inside.unwrap_or(LeftInside { killed: 0, is_empty: true });
    let marked = mark::kill(worker, key, agent.map(|note| &note.agent), || {});
    // Also what bounded it, in other hierarchies: empty by now.
    remove_of(worker);
    Killed { count: inside.killed + marked.count, some_left: !inside.is_empty || marked.some_left }
}
