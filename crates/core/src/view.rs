//! Read-only pictures made for people: what front ends show. Plain data, in the user's words.

use serde::{Deserialize, Serialize};

use crate::attempt::Attempt;
use crate::candidate::{Candidate, CandidateState};
use crate::checkpoint::Checkpoint;
use crate::engine::{Engine, Why};
use crate::id::{AttemptId, PrdNumber, TaskId};
use crate::resource::{Rung, Usage};
use crate::row::{Prd, PrdBranch, PrdContent, PrdState, Progress, Story};
use crate::task::{DoneHow, Task, TaskKind, TaskState};
use crate::time::Time;

/// What is going on this moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Board {
    /// Rises with each turn that changed something.
    pub pulse: u64,
    pub now: Time,
    pub slots: u32,
    pub is_stopping: bool,
    /// How long attempts still have to end by themselves before a stop goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_left_ms: Option<u64>,
    /// Why no new work starts for want of room on a disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortage: Option<String>,
    /// Nothing runs, and nothing will before somebody asks for something.
    pub is_at_rest: bool,
    pub prds: Vec<PrdLine>,
    pub running: Vec<RunLine>,
    pub landing: Vec<LandLine>,
    pub parked: Vec<ParkLine>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrdLine {
    pub number: PrdNumber,
    pub key: String,
    pub title: String,
    pub state: String,
    pub progress: Progress,
    pub branch: Option<String>,
    /// Why it has no branch.
    pub fault: Option<String>,
    /// Its own agent's command, where its import set one.
    pub command: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunLine {
    pub task: TaskId,
    pub name: String,
    pub title: String,
    pub attempt: u32,
    pub state: String,
    /// Milliseconds since the attempt was created.
    pub age_ms: u64,
    /// Nine tenths of its time are gone.
    #[serde(default)]
    pub is_near_deadline: bool,
    /// How surely its processes can be ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Rung>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LandLine {
    pub task: TaskId,
    pub name: String,
    pub target: String,
    pub state: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParkLine {
    pub task: TaskId,
    pub prd: Option<PrdNumber>,
    pub name: String,
    pub reason: String,
    /// What a person does about it, as a command.
    pub next: String,
}

/// A board line is for the eye: more than these are not drawn.
const BOARD_LINES_MAX: usize = 1_000;

impl Board {
    pub fn of(engine: &Engine, now: Time, pulse: u64) -> Board {
        let name = |task: &Task| name_of(task, task.prd.and_then(|prd| engine.prd(prd)).map(|(prd, _)| prd));
        let faults: std::collections::BTreeMap<_, _> = engine.branch_faults().collect();
        let mut parked: Vec<_> = engine
            .parked()
            .filter_map(|task| match &task.state {
                TaskState::Parked { reason, .. } => Some(ParkLine {
                    task: task.id,
                    prd: task.prd,
                    name: name(task),
                    reason: reason.text(),
                    next: reason.next(task.id),
                }),
                _ => None,
            })
            .collect();
        parked.sort_by_key(|line| line.task);
        parked.truncate(BOARD_LINES_MAX);
        Board {
            pulse,
            now,
            slots: engine.slots(),
            is_stopping: engine.is_stopping(),
            stop_left_ms: engine.stop_left_ms(now),
            shortage: engine.shortage().map(str::to_owned),
            is_at_rest: engine.is_at_rest(),
            prds: engine
                .prds()
                .take(BOARD_LINES_MAX)
                .map(|(prd, progress)| PrdLine::of(prd, progress, faults.get(&prd.number).copied()))
                .collect(),
            running: engine
                .attempts()
                .map(|(task, attempt)| RunLine {
                    task: task.id,
                    name: name(task),
                    title: task.title.clone(),
                    attempt: attempt.id.number.0,
                    state: attempt.state.name().into(),
                    age_ms: now.ms_since(attempt.created_at),
                    is_near_deadline: attempt.warned_at.is_some(),
                    rung: attempt.rung,
                })
                .collect(),
            landing: engine
                .candidates()
                .take(BOARD_LINES_MAX)
                .filter_map(|candidate| {
                    let task = engine.task(candidate.id.task)?;
                    Some(LandLine {
                        task: task.id,
                        name: name(task),
                        target: candidate.target.to_string(),
                        state: candidate.state.name().into(),
                    })
                })
                .collect(),
            parked,
        }
    }
}

impl PrdLine {
    pub fn of(prd: &Prd, progress: &Progress, fault: Option<&str>) -> PrdLine {
        PrdLine {
            number: prd.number,
            key: prd.key.to_string(),
            title: prd.title.clone(),
            state: prd.state.name().into(),
            progress: *progress,
            branch: match &prd.branch {
                PrdBranch::Unplanned => None,
                PrdBranch::Planned { name, .. } | PrdBranch::Made { name, .. } => Some(name.to_string()),
            },
            fault: fault.map(str::to_owned),
            command: prd.settings.command.clone(),
        }
    }
}

/// What people call a task: `PRD-001/US-003` for a story, `task 7` else.
pub fn name_of(task: &Task, prd: Option<&Prd>) -> String {
    match (prd, &task.story, &task.kind) {
        (Some(prd), Some(story), _) => format!("{}/{story}", prd.key),
        (Some(prd), None, TaskKind::Land) => format!("{} (landing)", prd.key),
        (_, _, _) => format!("task {}", task.id),
    }
}

/// One PRD, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrdView {
    #[serde(flatten)]
    pub line: PrdLine,
    pub base: Option<String>,
    pub description: String,
    pub source: Option<String>,
    pub tags: Vec<String>,
    pub owner: Option<String>,
    pub approval: String,
    pub abandoned_because: Option<String>,
    pub created_at: Time,
    pub updated_at: Time,
    pub stories: Vec<StoryLine>,
    /// Stories of the PRD that are not in `stories`.
    pub more_stories: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoryLine {
    pub id: String,
    pub title: String,
    pub task: TaskId,
    pub state: String,
    pub attempts: u32,
    /// The file says that it passes; it has not landed by that.
    pub claimed: bool,
    pub commit: Option<String>,
    pub depends_on: Vec<TaskId>,
    /// Milliseconds from the first attempt's creation to the landing; absent before it.
    pub took_ms: Option<u64>,
}

impl StoryLine {
    pub fn of(story: &Story, task: &Task, first_attempt_at: Option<Time>) -> StoryLine {
        let (commit, took_ms) = match &task.state {
            TaskState::Done { how: DoneHow::Landed { commit }, at } => {
                (Some(commit.to_string()), first_attempt_at.map(|first| at.ms_since(first)))
            }
            TaskState::Done { .. }
            | TaskState::Blocked
            | TaskState::Ready { .. }
            | TaskState::Leased { .. }
            | TaskState::Landing { .. }
            | TaskState::Parked { .. }
            | TaskState::Cancelled { .. } => (None, None),
        };
        StoryLine {
            id: story.id.to_string(),
            title: story.title.clone(),
            task: task.id,
            state: task.state.name().into(),
            attempts: task.attempts,
            claimed: story.claimed,
            commit,
            depends_on: task.depends_on.clone(),
            took_ms,
        }
    }
}

impl PrdView {
    pub fn of(prd: &Prd, content: &PrdContent, progress: &Progress, stories: Vec<StoryLine>) -> PrdView {
        PrdView {
            line: PrdLine::of(prd, progress, None),
            base: prd.settings.base.as_ref().map(ToString::to_string),
            description: content.description.clone(),
            source: content.source.clone(),
            tags: content.tags.clone(),
            owner: content.owner.clone(),
            approval: content.approval.clone(),
            abandoned_because: match &prd.state {
                PrdState::Abandoned { reason, .. } => Some(reason.clone()),
                PrdState::Draft | PrdState::Active | PrdState::Completed { .. } => None,
            },
            created_at: prd.created_at,
            updated_at: prd.updated_at,
            more_stories: progress.stories.saturating_sub(u32::try_from(stories.len()).unwrap_or(u32::MAX)),
            stories,
        }
    }
}

/// In which order a PRD's open stories can be worked off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    pub prd: String,
    /// Stories that are open.
    pub stories: usize,
    /// Fewer steps are not possible, whatever the number of workers.
    pub longest_chain: usize,
    /// More workers than this stay idle.
    pub max_parallelism: usize,
    /// Ids; each batch depends on earlier ones only.
    pub batches: Vec<Vec<String>>,
}

/// One task in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskLine {
    pub id: TaskId,
    pub name: String,
    pub title: String,
    pub state: String,
    pub priority: String,
    pub attempts: u32,
    pub created_at: Time,
    /// Why it is parked, where it landed.
    pub remark: String,
}

impl TaskLine {
    pub fn of(task: &Task, prd: Option<&Prd>) -> TaskLine {
        TaskLine {
            id: task.id,
            name: name_of(task, prd),
            title: task.title.clone(),
            state: task.state.name().into(),
            priority: task.priority.to_string(),
            attempts: task.attempts,
            created_at: task.created_at,
            remark: match &task.state {
                TaskState::Parked { reason, .. } => reason.text(),
                TaskState::Done { how: DoneHow::Landed { commit }, .. } => {
                    format!("landed as {}", commit.short())
                }
                TaskState::Done { how: DoneHow::Trusted, .. } => "trusted".into(),
                TaskState::Done { how: DoneHow::Passed, .. }
                | TaskState::Blocked
                | TaskState::Ready { .. }
                | TaskState::Leased { .. }
                | TaskState::Landing { .. }
                | TaskState::Cancelled { .. } => String::new(),
            },
        }
    }
}

/// One task, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    #[serde(flatten)]
    pub line: TaskLine,
    pub depends_on: Vec<TaskId>,
    pub attempts_made: Vec<AttemptLine>,
    /// What `retry --from` can go on from, oldest first.
    #[serde(default)]
    pub checkpoints: Vec<CheckpointLine>,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptLine {
    pub id: AttemptId,
    pub state: String,
    pub outcome: Option<String>,
    pub detail: String,
    pub created_at: Time,
    pub started_at: Option<Time>,
    pub finished_at: Option<Time>,
    pub start: Option<String>,
    pub head: Option<String>,
    /// What became of its commit in the merge queue.
    pub candidate: Option<String>,
    /// Why it was returned.
    pub returned: Option<String>,
    /// What it went on from, as `ATTEMPT.NUMBER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<Rung>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// One checkpoint of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointLine {
    /// `ATTEMPT.NUMBER`.
    pub name: String,
    pub at: Time,
    pub why: String,
    pub commit: String,
    pub session: Option<String>,
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
}

impl CheckpointLine {
    pub fn of(checkpoint: &Checkpoint) -> CheckpointLine {
        let facts = &checkpoint.facts;
        CheckpointLine {
            name: format!("{}.{}", checkpoint.attempt.number, checkpoint.number),
            at: checkpoint.at,
            why: checkpoint.why.name().into(),
            commit: facts.commit.to_string(),
            session: facts.session.clone(),
            stdout_bytes: facts.stdout_bytes,
            stderr_bytes: facts.stderr_bytes,
        }
    }
}

impl AttemptLine {
    pub fn of(attempt: &Attempt, candidate: Option<&Candidate>) -> AttemptLine {
        AttemptLine {
            id: attempt.id,
            state: attempt.state.name().into(),
            outcome: attempt.outcome_text(),
            detail: attempt.detail.clone(),
            created_at: attempt.created_at,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            start: attempt.start.as_ref().map(ToString::to_string),
            head: attempt.head.as_ref().map(ToString::to_string),
            candidate: candidate.map(|c| match &c.state {
                CandidateState::Landed { commit, .. } => format!("landed as {}", commit.short()),
                CandidateState::Waiting
                | CandidateState::Merging
                | CandidateState::Checking { .. }
                | CandidateState::Landing { .. }
                | CandidateState::Returned { .. } => c.state.name().into(),
            }),
            returned: candidate.and_then(|c| c.feedback.clone()),
            resumed: attempt.resume.as_ref().map(|resume| format!("{}.{}", resume.of.number, resume.number)),
            rung: attempt.rung,
            usage: attempt.usage,
        }
    }
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoteLine {
    pub sequence: u64,
    pub at: Time,
    pub what: String,
    pub name: String,
    pub attempt: Option<u32>,
    pub text: String,
}
