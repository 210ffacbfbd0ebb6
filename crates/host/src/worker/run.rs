//! One assignment from its start to its exit record. Knows the deadline, the grace, the bounds and the tree; unaware
//! of sockets and of who asked.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use ropewalk_core::resource::{Bounds, Resource, Rung, Usage};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use wait4::Wait4;

use super::agent::{self, StartFault};
use super::capture::{Capture, Captured};
use super::launch;
use super::meter::{Held, Meter};
use super::protocol::{Assignment, FromWorker, WorkerState};
use super::record::{self, AgentNote, End, ExitRecord, WorkerNote};
use super::tree::{self, Children, Owned};
use super::watch::{Finding, Watch};
use crate::clock::{boot_ms, wall_ms};
use crate::containment::mark::mark;
use crate::containment::{Confines, Container};
use crate::durable::{record_bytes, write_record, write_whole};
use crate::identity::ProcessIdentity;

/// How often a stopping assignment is looked at on the rung where the end of its orphans is told by nothing.
const GROUP_LOOK_MS: u64 = 100;

/// The part of its time after which an assignment is told to be near its deadline.
const NEAR_PERCENT: u64 = 90;

const SIGXCPU: i32 = 24;
const SIGXFSZ: i32 = 25;
/// What a shell adds to the number of the OS signal that its command died of.
const BY_OS_SIGNAL: i32 = 128;

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) assignment: Assignment,
    pub(crate) capture: Capture,
    worker: ProcessIdentity,
    note: AgentNote,
    agent: Agent,
    started_at_ms: i64,
    started_boot_ms: u64,
    deadline: u64,
    /// When it is said that the deadline is near; `None` once it was.
    near_at: Option<u64>,
    meter: Meter,
    watch: Watch,
    phase: Phase,
}

/// The agent's own process.
#[derive(Debug)]
struct Agent {
    child: Child,
    /// Set once it is reaped; its descendants may go on.
    ended: Option<ExitStatus>,
    /// The most that it, or one that it had reaped, held at once. It counts from before the program was executed, so
    /// it is never less than this worker's own few megabytes.
    rss_max_bytes: Option<u64>,
}

#[derive(Debug)]
enum Phase {
    Running,
    /// Everything was told to end. What is left at `kill_at` is killed.
    Stopping {
        end: End,
        kill_at: u64,
        look_at: u64,
    },
}

impl Run {
    /// Starts the agent; `worker` is this process, and this its `number`th assignment.
    ///
    /// # Errors
    /// The record to write when nothing was started.
    pub(crate) fn start(
        assignment: Assignment,
        worker: &ProcessIdentity,
        container: &Container,
        number: u64,
    ) -> Result<Run, Box<ExitRecord>> {
        let (started_at_ms, started_boot_ms) = (wall_ms(), boot_ms());
        let deadline = started_boot_ms.saturating_add(assignment.timeout_ms);
        let meter = Meter::start();
        let confines = Confines::make(container, worker, number, &assignment.bounds);
        let note = WorkerNote {
            key: assignment.key.clone(),
            worker: worker.clone(),
            started_at_ms,
            deadline_boot_ms: deadline,
            timeout_ms: assignment.timeout_ms,
            grace_ms: assignment.grace_ms,
            rung: Some(container.rung()),
            cgroup: container.cgroup().map(std::path::Path::to_owned),
        };
        let (child, capture, agent) = match launch(&assignment, &note, &confines) {
            Ok(launched) => launched,
            Err(fault) => {
                confines.remove();
                let end = End::NotStarted { reason: fault.to_string(), passing: fault.is_passing() };
                return Err(Box::new(ExitRecord::of_nothing(&assignment.key, end, started_at_ms)));
            }
        };
        let watch = Watch::start(assignment.bounds, confines, assignment.stall_ms, started_boot_ms);
        let near_ms =
            assignment.timeout_ms / 100 * NEAR_PERCENT + assignment.timeout_ms % 100 * NEAR_PERCENT / 100;
        Ok(Run {
            assignment,
            capture,
            worker: worker.clone(),
            note: agent,
            agent: Agent { child, ended: None, rss_max_bytes: None },
            started_at_ms,
            started_boot_ms,
            deadline,
            near_at: Some(started_boot_ms.saturating_add(near_ms)),
            meter,
            watch,
            phase: Phase::Running,
        })
    }

    pub(crate) fn started(&self) -> FromWorker {
        FromWorker::Started {
            key: self.assignment.key.clone(),
            agent: self.note.agent.clone(),
            started_at_ms: self.started_at_ms,
        }
    }

    /// What there is to say about its deadline to one who has not heard it: nothing before it is near.
    pub(crate) fn near_deadline(&self) -> Option<FromWorker> {
        let is_near = self.near_at.is_none() && matches!(self.phase, Phase::Running);
        let left_ms = self.deadline.saturating_sub(boot_ms());
        is_near.then(|| FromWorker::NearDeadline { key: self.assignment.key.clone(), left_ms })
    }

    /// The same, once: when it has just become near.
    pub(crate) fn take_near_deadline(&mut self) -> Option<FromWorker> {
        let is_due = matches!(self.phase, Phase::Running) && self.near_at.is_some_and(|at| boot_ms() >= at);
        if !is_due {
            return None;
        }
        self.near_at = None;
        self.near_deadline()
    }

    pub(crate) fn state(&self) -> WorkerState {
        match self.phase {
            Phase::Running => WorkerState::Running,
            Phase::Stopping { .. } => WorkerState::Stopping,
        }
    }

    /// When [`Run::advance`] has something to do even if nothing happens.
    pub(crate) fn next_at(&self) -> u64 {
        let own = match self.phase {
            Phase::Running => {
                let at = self.deadline.min(self.watch.next_at());
                self.near_at.map_or(at, |near_at| near_at.min(at))
            }
            Phase::Stopping { kill_at, look_at, .. } => kill_at.min(look_at),
        };
        self.capture.next_at().map_or(own, |at| at.min(own))
    }

    /// Asked to stop. A second request can only shorten the grace.
    pub(crate) fn stop(&mut self, kill: bool, container: &Container) {
        let grace_ms = if kill { 0 } else { self.assignment.grace_ms };
        self.stop_with(End::Stopped, grace_ms, container);
    }

    fn stop_with(&mut self, end: End, grace_ms: u64, container: &Container) {
        let now = boot_ms();
        let kill_at = now.saturating_add(grace_ms);
        match &mut self.phase {
            Phase::Stopping { kill_at: before, .. } => *before = kill_at.min(*before),
            Phase::Running => {
                let look_at = match container.rung() {
                    Rung::Group => now.saturating_add(GROUP_LOOK_MS),
                    Rung::Cgroup | Rung::Subreaper => u64::MAX,
                };
                self.phase = Phase::Stopping { end, kill_at, look_at };
                if grace_ms > 0 {
                    let living = tree::living(container, self.owned());
                    self.meter.note(&Held::of(&living));
                    // A stopped process takes no SIGTERM before it goes on.
                    tree::signal_all(&living, &[Signal::TERM, Signal::CONT]);
                }
            }
        }
    }

    fn owned(&self) -> Owned<'_> {
        Owned { worker: &self.worker, note: &self.note }
    }

    /// Takes note of what has ended, of what was used and of the time. Returns the record once nothing is alive any
    /// more: then there is nothing left of it.
    pub(crate) fn advance(&mut self, container: &Container) -> Option<ExitRecord> {
        let now = boot_ms();
        let left = self.agent.reap();
        let over_output = self.capture.advance(now);
        // In this order: an agent that ended by itself just before its deadline has ended by itself.
        let over = match &mut self.phase {
            Phase::Running => self.agent.ended.is_some(),
            // The agent's own children have the grace too: a shell dies of SIGTERM at once, and what it runs
            // still has to save its work.
            Phase::Stopping { kill_at, look_at, .. } => {
                let mut is_over = now >= *kill_at || left == Children::None;
                if *look_at != u64::MAX && left == Children::None && now < *kill_at {
                    let owned = Owned { worker: &self.worker, note: &self.note };
                    is_over = tree::living(container, owned).is_empty();
                    *look_at = now.saturating_add(GROUP_LOOK_MS);
                }
                is_over
            }
        };
        if over {
            return Some(self.finish(container));
        }
        if matches!(self.phase, Phase::Running) {
            self.hold_to_limits(now, over_output, container);
        }
        None
    }

    fn hold_to_limits(&mut self, now: u64, over_output: Option<Resource>, container: &Container) {
        let grace_ms = self.assignment.grace_ms;
        if now >= self.deadline {
            self.stop_with(End::TimedOut { stalled: false }, grace_ms, container);
            return;
        }
        let finding = match over_output {
            Some(resource) => Some(Finding::Over(resource)),
            None => self.watch.look(now, &mut self.meter, &self.capture),
        };
        match finding {
            None => {}
            Some(Finding::Stalled) => self.stop_with(End::TimedOut { stalled: true }, grace_ms, container),
            Some(Finding::Over(resource)) => {
                // With memory and processes the whole machine is at stake: no grace.
                let at_once = matches!(resource, Resource::Memory | Resource::Processes);
                self.stop_with(self.over_limit(resource), if at_once { 0 } else { grace_ms }, container);
            }
        }
    }

    fn over_limit(&self, resource: Resource) -> End {
        let output_bytes_max = self.assignment.output.bytes_max;
        End::OverLimit { resource, detail: detail(resource, &self.assignment.bounds, output_bytes_max) }
    }

    fn finish(&mut self, container: &Container) -> ExitRecord {
        let agent_lived = u32::from(self.agent.ended.is_none());
        let owned = Owned { worker: &self.worker, note: &self.note };
        let met = tree::kill(container, owned, || self.agent.reap());
        let confines = self.watch.confines();
        let breach = confines.breach();
        for peak in [self.agent.rss_max_bytes, confines.memory_peak_bytes()].into_iter().flatten() {
            self.meter.note_peak(peak);
        }
        confines.remove();
        let wall_ms = boot_ms().saturating_sub(self.started_boot_ms);
        let io = self.meter.io();
        let usage = Usage {
            wall_ms,
            cpu_ms: self.meter.cpu_ms(),
            memory_peak_bytes: self.meter.memory_peak_bytes(),
            memory_mean_bytes: self.meter.memory_mean_bytes(),
            io_read_bytes: io.read_bytes,
            io_written_bytes: io.written_bytes,
            io_operations: io.operations,
            ..Usage::default()
        };
        let end = match &self.phase {
            Phase::Stopping { end, .. } => end.clone(),
            Phase::Running => self.end_by_itself(&usage, breach.map(|breach| breach.0)),
        };
        ExitRecord {
            key: self.assignment.key.clone(),
            end,
            started_at_ms: self.started_at_ms,
            finished_at_ms: self.started_at_ms.saturating_add(i64::try_from(wall_ms).unwrap_or(i64::MAX)),
            usage,
            rung: Some(container.rung()),
            boot_id: self.worker.boot_id.clone(),
            leaked: met.saturating_sub(agent_lived),
        }
    }

    /// How the agent ended, when it was not told to.
    fn end_by_itself(&self, usage: &Usage, breach: Option<Resource>) -> End {
        let end = end_of(self.agent.ended);
        let bounds = &self.assignment.bounds;
        if end == (End::Exited { code: i32::from(launch::FAULT_CODE) }) && !bounds.is_empty() {
            match launch::fault(&self.assignment.folder) {
                Ok(Some(fault)) => return End::NotStarted { reason: fault.reason, passing: fault.passing },
                Ok(None) => {}
                Err(error) => return End::NotStarted { reason: error.to_string(), passing: true },
            }
        }
        let ended_of = |os_signal: i32| {
            end == End::Signalled { os_signal } || end == End::Exited { code: BY_OS_SIGNAL + os_signal }
        };
        let over = if let Some(resource) = breach {
            Some(resource)
        } else if bounds.file_bytes.is_some() && ended_of(SIGXFSZ) {
            Some(Resource::FileSize)
        } else if bounds.cpu_ms.is_some_and(|bound| usage.cpu_ms > bound || ended_of(SIGXCPU)) {
            Some(Resource::CpuTime)
        } else {
            None
        };
        over.map_or(end, |resource| self.over_limit(resource))
    }
}

/// Ends the run's output. Taken apart from [`Run::advance`], because it consumes the capture.
pub(crate) fn close_output(run: Run, record: &mut ExitRecord) {
    let Captured { stdout_bytes, stderr_bytes, dropped_bytes, .. } = run.capture.finish();
    record.usage.stdout_bytes = stdout_bytes;
    record.usage.stderr_bytes = stderr_bytes;
    record.usage.output_dropped_bytes = dropped_bytes;
}

impl Agent {
    /// Reaps whatever has ended, the agent itself with an account of its memory.
    fn reap(&mut self) -> Children {
        if self.ended.is_none() && self.has_ended()
            // It has ended, so this does not wait.
            && let Ok(used) = self.child.wait4()
        {
            self.rss_max_bytes = Some(used.rusage.maxrss);
            self.ended = Some(used.status);
        }
        let pid = self.child.id();
        let ended = &mut self.ended;
        tree::reap(|reaped, status| {
            if u32::try_from(reaped.as_raw_nonzero().get()) == Ok(pid) {
                *ended = Some(ExitStatus::from_raw(status.as_raw()));
            }
        })
    }

    fn has_ended(&self) -> bool {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) else {
            return false;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)))
    }
}

fn launch(
    assignment: &Assignment,
    note: &WorkerNote,
    confines: &Confines,
) -> Result<(Child, Capture, AgentNote), StartFault> {
    // Before the start: from here on nobody may run this folder a second time.
    write_record(&record::worker_note(&assignment.folder), note)?;
    let mark = mark(&note.worker, &assignment.key);
    let (child, capture) = agent::start(assignment, &mark, confines.joined_by())?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    // It cannot have been reaped yet, so it is there, dead or alive.
    let agent = ProcessIdentity::of(pid).unwrap_or_else(|| ProcessIdentity {
        pid,
        start_time: 0,
        boot_id: note.worker.boot_id.clone(),
    });
    let path = record::agent_note(&assignment.folder);
    let note = AgentNote { key: assignment.key.clone(), agent };
    // It only serves to clean up after a worker that was killed; without it the mark has to do.
    let _ = record_bytes(&path, &note).and_then(|bytes| write_whole(&path, &bytes));
    Ok((child, capture, note))
}

fn end_of(status: Option<ExitStatus>) -> End {
    match (status.and_then(|status| status.code()), status.and_then(|status| status.signal())) {
        (Some(code), _) => End::Exited { code },
        (None, Some(os_signal)) => End::Signalled { os_signal },
        // Not reachable: an end is reported by one or the other. Never taken for success all the same.
        (None, None) => End::Signalled { os_signal: 0 },
    }
}

/// What was allowed, in words.
fn detail(resource: Resource, bounds: &Bounds, output_bytes_max: u64) -> String {
    let allowed = match resource {
        Resource::Memory => bounds.memory_bytes.map(bytes_in_words),
        Resource::CpuTime => bounds.cpu_ms.map(|ms| format!("{}.{:03} s", ms / 1000, ms % 1000)),
        Resource::Processes => bounds.processes.map(|count| count.to_string()),
        Resource::OpenFiles => bounds.open_files.map(|count| format!("{count} of one process")),
        Resource::FileSize => bounds.file_bytes.map(bytes_in_words),
        Resource::Output => Some(bytes_in_words(output_bytes_max)),
    };
    format!("{}: {} allowed", resource.name(), allowed.unwrap_or_default())
}

fn bytes_in_words(bytes: u64) -> String {
    for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{} {unit}", bytes / size);
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_says_what_was_allowed() {
        let bounds = Bounds {
            memory_bytes: Some(512 << 20),
            cpu_ms: Some(1_500),
            processes: Some(20),
            open_files: Some(64),
            file_bytes: Some(1_000),
            nice: None,
        };
        for (resource, expected) in [
            (Resource::Memory, "memory: 512 MiB allowed"),
            (Resource::CpuTime, "CPU time: 1.500 s allowed"),
            (Resource::Processes, "processes: 20 allowed"),
            (Resource::OpenFiles, "open files: 64 of one process allowed"),
            (Resource::FileSize, "file size: 1000 bytes allowed"),
            (Resource::Output, "output: 1 GiB allowed"),
        ] {
            assert_eq!(detail(resource, &bounds, 1 << 30), expected);
        }
    }
}
