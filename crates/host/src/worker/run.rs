//! One assignment from its start to its exit record. Knows the deadline, the grace and the tree; unaware of
//! sockets and of who asked.

use rustix::process::{Pid, Signal, WaitStatus};

use super::agent::{self, StartFault};
use super::protocol::{Assignment, FromWorker, WorkerState};
use super::record::{self, AgentNote, End, ExitRecord, WorkerNote};
use super::tree::{self, Children};
use crate::clock::{boot_ms, wall_ms};
use crate::durable::{record_bytes, write_record, write_whole};
use crate::identity::ProcessIdentity;
use crate::procfs::{self, Stat, TICK_MS};

/// When memory is looked at first: most set-up faults have ended by then, and an agent has loaded.
const FIRST_LOOK_MS: u64 = 1_000;
/// And then: a look scans all processes, so it must stay rare.
const LOOK_MS: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) assignment: Assignment,
    agent: ProcessIdentity,
    started_at_ms: i64,
    started_boot_ms: u64,
    ticks_before: u64,
    /// Set once the agent itself is reaped; its descendants may go on.
    ended: Option<WaitStatus>,
    rss_max_bytes: Option<u64>,
    look_at: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Running {
        deadline: u64,
    },
    /// Everything was told to end. What is left at `kill_at` is killed.
    Stopping {
        end: End,
        kill_at: u64,
    },
}

impl Run {
    /// Starts the agent; `worker` is this process.
    ///
    /// # Errors
    /// The record to write when nothing was started.
    pub(crate) fn start(assignment: Assignment, worker: &ProcessIdentity) -> Result<Run, ExitRecord> {
        let (started_at_ms, started_boot_ms) = (wall_ms(), boot_ms());
        let deadline = started_boot_ms.saturating_add(assignment.timeout_ms);
        let ticks_before = reaped_ticks();
        match launch(&assignment, worker, started_at_ms, deadline) {
            Ok(agent) => Ok(Run {
                assignment,
                agent,
                started_at_ms,
                started_boot_ms,
                ticks_before,
                ended: None,
                rss_max_bytes: None,
                look_at: started_boot_ms.saturating_add(FIRST_LOOK_MS),
                phase: Phase::Running { deadline },
            }),
            Err(fault) => {
                let end = End::NotStarted { reason: fault.to_string(), passing: fault.is_passing() };
                Err(ExitRecord::of_nothing(&assignment.key, end, started_at_ms))
            }
        }
    }

    pub(crate) fn started(&self) -> FromWorker {
        FromWorker::Started {
            key: self.assignment.key.clone(),
            agent: self.agent.clone(),
            started_at_ms: self.started_at_ms,
        }
    }

    pub(crate) fn state(&self) -> WorkerState {
        match self.phase {
            Phase::Running { .. } => WorkerState::Running,
            Phase::Stopping { .. } => WorkerState::Stopping,
        }
    }

    /// When [`Run::advance`] has something to do even if nothing happens.
    pub(crate) fn next_at(&self) -> u64 {
        match self.phase {
            Phase::Running { deadline } => deadline.min(self.look_at),
            Phase::Stopping { kill_at, .. } => kill_at,
        }
    }

    /// Asked to stop. A second request can only shorten the grace.
    pub(crate) fn stop(&mut self, kill: bool) {
        let grace_ms = if kill { 0 } else { self.assignment.grace_ms };
        self.stop_with(End::Stopped, boot_ms().saturating_add(grace_ms), !kill);
    }

    fn stop_with(&mut self, end: End, kill_at: u64, ask: bool) {
        match &mut self.phase {
            Phase::Stopping { kill_at: before, .. } => *before = kill_at.min(*before),
            Phase::Running { .. } => {
                self.phase = Phase::Stopping { end, kill_at };
                let living = tree::descendants();
                self.look(&living);
                if ask {
                    // A stopped process takes no SIGTERM before it goes on.
                    tree::signal_all(&living, &[Signal::TERM, Signal::CONT]);
                }
            }
        }
    }

    /// Takes note of what has ended and of the time. Returns the record once nothing is alive any more.
    pub(crate) fn advance(&mut self) -> Option<ExitRecord> {
        let now = boot_ms();
        let pid = self.agent.pid;
        let left = tree::reap(note_end(pid, &mut self.ended));
        // In this order: an agent that ended by itself just before its deadline has ended by itself.
        let over = match self.phase {
            Phase::Running { .. } => self.ended.is_some(),
            // The agent's own children have the grace too: a shell dies of SIGTERM at once, and what it runs
            // still has to save its work.
            Phase::Stopping { kill_at, .. } => left == Children::None || now >= kill_at,
        };
        if over {
            return Some(self.finish());
        }
        if let Phase::Running { deadline } = self.phase
            && now >= deadline
        {
            self.stop_with(End::TimedOut, now.saturating_add(self.assignment.grace_ms), true);
        } else if now >= self.look_at {
            self.look(&tree::descendants());
            self.look_at = now.saturating_add(LOOK_MS);
        }
        None
    }

    fn look(&mut self, living: &[Stat]) {
        let most = living.iter().filter_map(|stat| procfs::rss_peak_bytes(stat.pid)).max();
        self.rss_max_bytes = self.rss_max_bytes.max(most);
    }

    fn finish(&mut self) -> ExitRecord {
        let agent_lived = u32::from(self.ended.is_none());
        let met = tree::kill_tree(note_end(self.agent.pid, &mut self.ended));
        let end = match &self.phase {
            Phase::Stopping { end, .. } => end.clone(),
            Phase::Running { .. } => end_of(self.ended),
        };
        let wall_ms = boot_ms().saturating_sub(self.started_boot_ms);
        ExitRecord {
            key: self.assignment.key.clone(),
            end,
            started_at_ms: self.started_at_ms,
            finished_at_ms: self.started_at_ms.saturating_add(i64::try_from(wall_ms).unwrap_or(i64::MAX)),
            wall_ms,
            cpu_ms: reaped_ticks().saturating_sub(self.ticks_before).saturating_mul(TICK_MS),
            rss_max_bytes: self.rss_max_bytes,
            leaked: met.saturating_sub(agent_lived),
        }
    }
}

fn launch(
    assignment: &Assignment,
    worker: &ProcessIdentity,
    started_at_ms: i64,
    deadline_boot_ms: u64,
) -> Result<ProcessIdentity, StartFault> {
    let note = WorkerNote {
        key: assignment.key.clone(),
        worker: worker.clone(),
        started_at_ms,
        deadline_boot_ms,
        timeout_ms: assignment.timeout_ms,
        grace_ms: assignment.grace_ms,
    };
    // Before the start: from here on nobody may run this folder a second time.
    write_record(&record::worker_note(&assignment.folder), &note)?;
    let pid = agent::start(assignment, &mark(worker, &assignment.key))?;
    // It cannot have been reaped yet, so it is there, dead or alive.
    let agent = ProcessIdentity::of(pid).unwrap_or_else(|| ProcessIdentity {
        pid,
        start_time: 0,
        boot_id: worker.boot_id.clone(),
    });
    let path = record::agent_note(&assignment.folder);
    let note = AgentNote { key: assignment.key.clone(), agent: agent.clone() };
    // It only serves to clean up after a worker that was killed; without it the mark has to do.
    let _ = record_bytes(&path, &note).and_then(|bytes| write_whole(&path, &bytes));
    Ok(agent)
}

/// The value of [`agent::MARK`] for one assignment of one worker.
pub(crate) fn mark(worker: &ProcessIdentity, key: &str) -> String {
    format!("{worker}:{key}")
}

fn note_end(pid: i32, ended: &mut Option<WaitStatus>) -> impl FnMut(Pid, WaitStatus) + '_ {
    move |reaped, status| {
        if reaped.as_raw_nonzero().get() == pid {
            *ended = Some(status);
        }
    }
}

fn end_of(status: Option<WaitStatus>) -> End {
    let code = status.and_then(|status| status.exit_status());
    let os_signal = status.and_then(|status| status.terminating_signal());
    match (code, os_signal) {
        (Some(code), _) => End::Exited { code },
        (None, Some(os_signal)) => End::Signalled { os_signal },
        // Not reachable: an end is reported by one or the other. Never taken for success all the same.
        (None, None) => End::Signalled { os_signal: 0 },
    }
}

/// CPU time of everything that this process has reaped so far, in ticks.
fn reaped_ticks() -> u64 {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    Stat::of(own).map_or(0, |stat| stat.children_ticks)
}
