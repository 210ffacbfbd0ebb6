//! Rows to write, with no field left at a value that a forgotten column would have by chance.

use std::collections::BTreeMap;

use ropewalk_core::attempt::{Attempt, AttemptState, Exit, ExitKind, Fault, Outcome, StopWhy};
use ropewalk_core::candidate::{Candidate, CandidateState, MergedCommit, ReturnWhy, Source};
use ropewalk_core::change::{Change, Note, NoteKind, TaskMoved};
use ropewalk_core::checkpoint::{Checkpoint, CheckpointFacts, CheckpointWhy, Resume};
use ropewalk_core::id::{
    AttemptId, AttemptNumber, BranchName, Oid, PrdKey, PrdNumber, ProjectId, StoryId, TaskId,
};
use ropewalk_core::priority::Priority;
use ropewalk_core::resource::{Bounds, Resource, Rung, Usage};
use ropewalk_core::row::{Prd, PrdBranch, PrdContent, PrdState, Project, Story};
use ropewalk_core::sample::{Machine, Pressure, Sample};
use ropewalk_core::settings::{EnvValue, LandMethod, OnDependencyFailure, OnOutputFull, Settings};
use ropewalk_core::setup::{Ports, WorktreeSettings};
use ropewalk_core::task::{CancelReason, DoneHow, ParkReason, Tally, Task, TaskKind, TaskState};
use ropewalk_core::time::Time;

/// A text with what breaks careless quoting, encoding and ends of lines.
pub(super) const TEXT: &str = "it's \"quoted\"\r\n\ttab \u{1f9f5} \u{0} % ; -- $1 ?1 é";

pub(super) fn branch(name: &str) -> BranchName {
    BranchName::new(name).expect("a branch's name")
}

pub(super) fn key(key: &str) -> PrdKey {
    PrdKey::new(key).expect("a PRD's key")
}

pub(super) fn story_id(id: &str) -> StoryId {
    StoryId::new(id).expect("a story's id")
}

pub(super) fn oid(digit: char) -> Oid {
    Oid::new(&digit.to_string().repeat(40)).expect("an object's id")
}

pub(super) fn settings() -> Settings {
    Settings {
        command: Some(TEXT.into()),
        checks: Some(vec!["cargo test".into(), String::new()]),
        timeout_ms: Some(u64::MAX),
        stall_ms: Some(1),
        kill_grace_ms: Some(2),
        bounds: Bounds {
            memory_bytes: Some(3),
            cpu_ms: Some(4),
            processes: Some(5),
            open_files: Some(6),
            file_bytes: Some(7),
            nice: Some(19),
        },
        secrets: Some(vec!["TOKEN".into()]),
        filter_output: Some(true),
        output_bytes_max: Some(8),
        on_output_full: Some(OnOutputFull::End),
        checkpoint_every_ms: Some(9),
        checkpoints_kept: Some(10),
        same_fault_max: Some(11),
        check_timeout_ms: Some(0),
        attempts_max: Some(u32::MAX),
        env: BTreeMap::from([("A".into(), EnvValue::Inherit), ("B".into(), EnvValue::Text(TEXT.into()))]),
        base: Some(branch("release/1.2")),
        auto_land: Some(false),
        land_method: Some(LandMethod::Squash),
        review: Some(true),
        train_max: Some(12),
        on_dependency_failure: Some(OnDependencyFailure::Skip),
        require_change: Some(true),
        worktree: WorktreeSettings {
            include: Some(vec![".env".into()]),
            setup: Some(vec!["npm ci".into()]),
            teardown: Some(vec![]),
            setup_timeout_ms: Some(600_000),
            teardown_timeout_ms: Some(60_000),
            ports: Some(Ports { first: 20_000, last: 20_099 }),
        },
    }
}

pub(super) fn project(id: u32) -> Project {
    Project {
        id: ProjectId(id),
        top: format!("/repositories/{id}/é"),
        common_dir: format!("/repositories/{id}/.git"),
        base: branch("main"),
        settings: settings(),
        created_at: Time(1_000 + i64::from(id)),
    }
}

pub(super) fn prd(number: u32) -> Prd {
    Prd {
        number: PrdNumber(number),
        project: ProjectId(1),
        key: key(&format!("PRD-{number:03}")),
        title: format!("Title {number} {TEXT}"),
        state: PrdState::Active,
        wanted_branch: branch(&format!("feature/PRD-{number:03}")),
        branch: PrdBranch::Made { name: branch("feature/x-1"), at: oid('b') },
        settings: settings(),
        has_own_key: true,
        is_collection: true,
        has_placeholders: true,
        created_at: Time(2_000 + i64::from(number)),
        updated_at: Time(3_000 + i64::from(number)),
    }
}

pub(super) fn content() -> PrdContent {
    PrdContent {
        description: TEXT.into(),
        source: Some("/repositories/1/prd.json".into()),
        hash: "0123".into(),
        tags: vec!["Memory".into(), String::new(), "web/front end".into()],
        owner: Some("Ada".into()),
        shell: "{\"project\": \"x\", \"stories\": []}\n".into(),
        approval: "{\"status\":\"approved\"}".into(),
    }
}

pub(super) fn story(prd: u32, position: u32, id: &str, task: u64) -> Story {
    Story {
        prd: PrdNumber(prd),
        position,
        id: story_id(id),
        title: format!("Story {id}"),
        task: TaskId(task),
        claimed: true,
        body: format!("{{\"id\": \"{id}\",  \"x\": 1.50}}"),
        hash: u64::MAX - u64::from(position),
    }
}

/// A blocked implement task of PRD 1, with every field set.
pub(super) fn task(id: u64) -> Task {
    Task {
        id: TaskId(id),
        project: Some(ProjectId(1)),
        prd: Some(PrdNumber(1)),
        story: Some(story_id(&format!("US-{id:03}"))),
        kind: TaskKind::Implement,
        title: format!("Task {id} {TEXT}"),
        priority: Priority::from_thousandths(31_100),
        state: TaskState::Blocked,
        attempts: 3,
        tally: Tally { failures: 4, conflicts: 5, fault: Some(Fault::Lost), repeats: 6, faults: 7 },
        resume: Some(resume()),
        scope: vec!["src/**/*.rs".into(), TEXT.into()],
        version: 1,
        settings: settings(),
        depends_on: Vec::new(),
        created_at: Time(4_000),
    }
}

pub(super) fn resume() -> Resume {
    Resume {
        of: AttemptId { task: TaskId(1), number: AttemptNumber(2) },
        number: 3,
        commit: oid('3'),
        start: oid('4'),
        session: Some(TEXT.into()),
    }
}

pub(super) fn usage() -> Usage {
    Usage {
        wall_ms: 1,
        cpu_ms: 2,
        memory_peak_bytes: Some(3),
        memory_mean_bytes: Some(4),
        io_read_bytes: 5,
        io_written_bytes: 6,
        io_operations: 7,
        stdout_bytes: 8,
        stderr_bytes: 9,
        output_dropped_bytes: u64::MAX,
    }
}

pub(super) fn checkpoint(task: u64, attempt: u32, number: u32) -> Checkpoint {
    Checkpoint {
        attempt: AttemptId { task: TaskId(task), number: AttemptNumber(attempt) },
        number,
        at: Time(5_003),
        why: CheckpointWhy::Timer,
        facts: CheckpointFacts {
            commit: oid('5'),
            start: oid('6'),
            session: Some(TEXT.into()),
            stdout_bytes: u64::MAX,
            stderr_bytes: 1,
        },
    }
}

pub(super) fn machine_sample(at: i64) -> Sample {
    Sample {
        at: Time(at),
        machine: Machine {
            cpu_permille: Some(1_000),
            memory_total_bytes: Some(2),
            memory_available_bytes: Some(3),
            load_1m_milli: Some(4),
            load_5m_milli: Some(5),
            load_15m_milli: Some(6),
            pressure: Some(Pressure { io_full_permille: 7, ..Pressure::default() }),
        },
        running: 8,
        queued: 9,
        done: 10,
        failed: 11,
        mean_attempt_ms: Some(12),
    }
}

pub(super) fn attempt(task: u64, number: u32) -> Attempt {
    Attempt {
        id: AttemptId { task: TaskId(task), number: AttemptNumber(number) },
        state: AttemptState::Running,
        created_at: Time(5_000),
        started_at: Some(Time(5_001)),
        finished_at: Some(Time(5_002)),
        start: Some(oid('1')),
        head: Some(oid('2')),
        detail: TEXT.into(),
        feedback: Some(TEXT.into()),
        resume: Some(resume()),
        fault: Some(Fault::OverLimit(Resource::Processes)),
        rung: Some(Rung::Cgroup),
        usage: Some(usage()),
        warned_at: Some(Time(4_999)),
        checkpoints: 3,
    }
}

pub(super) fn candidate(task: u64, number: u32) -> Candidate {
    Candidate {
        id: AttemptId { task: TaskId(task), number: AttemptNumber(number) },
        project: ProjectId(1),
        target: branch("feature/PRD-001"),
        source: Source::Commit(oid('3')),
        state: CandidateState::Waiting,
        remerges: 2,
        queued_at: Time(6_000),
        priority: Priority::from_thousandths(31_100),
        flakes: 1,
        feedback: Some(TEXT.into()),
        resume_at: Some(oid('4')),
    }
}

pub(super) fn note(at: i64, text: &str) -> Note {
    Note { at: Time(at), kind: NoteKind::TaskAdded, prd: None, task: None, attempt: None, text: text.into() }
}

pub(super) fn moved(task: &Task, version: u64, state: TaskState) -> Change {
    let (tally, resume) = (task.tally, task.resume.clone());
    Change::TaskMoved(TaskMoved { task: task.id, version, state, attempts: task.attempts, tally, resume })
}

pub(super) fn put_prd(prd: &Prd, content: &PrdContent) -> Change {
    Change::PrdPut { prd: Box::new(prd.clone()), content: Box::new(content.clone()) }
}

pub(super) fn put_task(task: &Task) -> Change {
    Change::TaskPut(Box::new(task.clone()))
}

pub(super) fn put_story(story: &Story) -> Change {
    Change::StoryPut(Box::new(story.clone()))
}

pub(super) fn put_attempt(attempt: &Attempt) -> Change {
    Change::AttemptPut(Box::new(attempt.clone()))
}

pub(super) fn put_candidate(candidate: &Candidate) -> Change {
    Change::CandidatePut(Box::new(candidate.clone()))
}

pub(super) fn ready() -> TaskState {
    TaskState::Ready { since: Time(10), not_before: Time(20) }
}

pub(super) fn done() -> TaskState {
    TaskState::Done { at: Time(11), how: DoneHow::Passed }
}

pub(super) fn cancelled() -> TaskState {
    TaskState::Cancelled { at: Time(12), reason: CancelReason::Asked }
}

pub(super) fn parked() -> TaskState {
    TaskState::Parked { at: Time(13), reason: ParkReason::SetUp { detail: TEXT.into() } }
}

pub(super) fn task_states() -> Vec<TaskState> {
    let at = Time(30);
    let detail = || TEXT.to_owned();
    let parked = [
        ParkReason::TooManyFailures { failures: 1, detail: detail() },
        ParkReason::TooManyConflicts { conflicts: 2, detail: detail() },
        ParkReason::SameFault { fault: Fault::Lost, repeats: 3, detail: detail() },
        ParkReason::SetUp { detail: detail() },
        ParkReason::CheckoutDirty { checkout: "/x".into(), detail: detail() },
        ParkReason::TargetKeepsMoving { remerges: 4 },
        ParkReason::BaseConflict { detail: detail() },
        ParkReason::BaseCheckFailed { detail: detail() },
        ParkReason::ChecksLost { detail: detail() },
        ParkReason::CheckSetUp { detail: detail() },
        ParkReason::Git { detail: detail() },
        ParkReason::Tampered { detail: detail() },
    ];
    let cancelled = [
        CancelReason::Asked,
        CancelReason::PrdAbandoned,
        CancelReason::Removed,
        CancelReason::DependencyFailed { task: TaskId(9) },
    ];
    let mut states = vec![
        TaskState::Blocked,
        TaskState::Ready { since: at, not_before: Time(31) },
        TaskState::Leased { since: at },
        TaskState::Landing { since: at },
        TaskState::Done { at, how: DoneHow::Landed { commit: oid('5') } },
        TaskState::Done { at, how: DoneHow::Passed },
        TaskState::Done { at, how: DoneHow::Trusted },
    ];
    states.extend(parked.map(|reason| TaskState::Parked { at, reason }));
    states.extend(cancelled.map(|reason| TaskState::Cancelled { at, reason }));
    states
}

pub(super) fn attempt_states() -> Vec<AttemptState> {
    let exit = Exit {
        kind: ExitKind::OverLimit(Resource::Memory),
        detail: TEXT.into(),
        tail: TEXT.into(),
        usage: Some(usage()),
        rung: Some(Rung::Subreaper),
        session: Some(TEXT.into()),
    };
    let mut states = vec![
        AttemptState::Preparing,
        AttemptState::Running,
        AttemptState::Checking { exit: exit.clone(), why: Some(StopWhy::Cancelled) },
        AttemptState::Checking { exit, why: None },
    ];
    let whys = [StopWhy::Cancelled, StopWhy::EngineStops, StopWhy::LeaseRanOut];
    states.extend(whys.map(|why| AttemptState::Stopping { why }));
    let outcomes = [
        Outcome::Passed,
        Outcome::Failed,
        Outcome::TimedOut,
        Outcome::OverLimit,
        Outcome::RateLimited,
        Outcome::Cancelled,
        Outcome::Lost,
        Outcome::NotStarted,
    ];
    states.extend(outcomes.map(|outcome| AttemptState::Finished { outcome }));
    states
}

pub(super) fn candidate_states() -> Vec<CandidateState> {
    let merged = MergedCommit { onto: oid('6'), commit: oid('7'), tree: oid('8') };
    let mut states = vec![
        CandidateState::Waiting,
        CandidateState::Merging,
        CandidateState::Checking { merged: merged.clone(), reds: 1 },
        CandidateState::Landing { merged },
        CandidateState::Landed { commit: oid('9'), at: Time(40) },
    ];
    let whys = [
        ReturnWhy::Conflict,
        ReturnWhy::CheckFailed,
        ReturnWhy::CheckoutDirty,
        ReturnWhy::TargetKeepsMoving,
        ReturnWhy::Cancelled,
        ReturnWhy::GitFault,
    ];
    states.extend(whys.map(|why| CandidateState::Returned { why, at: Time(41) }));
    states
}

pub(super) fn prd_states() -> Vec<PrdState> {
    vec![
        PrdState::Draft,
        PrdState::Active,
        PrdState::Completed { at: Time(50) },
        PrdState::Abandoned { at: Time(51), reason: TEXT.into() },
    ]
}
