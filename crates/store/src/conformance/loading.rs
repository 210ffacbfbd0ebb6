//! The live part of the rows, to the letter, and that it outlives the handle.

use ropewalk_core::attempt::AttemptState;
use ropewalk_core::candidate::CandidateState;
use ropewalk_core::change::Change;
use ropewalk_core::id::{PrdNumber, TaskId};
use ropewalk_core::port::{NoteFilter, PrdFilter, Snapshot, Store};
use ropewalk_core::row::{Prd, PrdState, Progress};
use ropewalk_core::search::Query;
use ropewalk_core::task::{Task, TaskKind, TaskState};
use ropewalk_core::time::Time;

use super::sample;
use super::{Open, ok};

pub(super) fn an_empty_store_loads_as_nothing<S: Store>(open: Open<'_, S>) {
    let store = open("load-empty");
    assert_eq!(ok(store.load()), Snapshot::default());
}

/// Tasks in every state, with dependencies on every state; attempts and candidates that count and that do not.
fn rows() -> Vec<Change> {
    let at = Time(100);
    let with = |id: u64, state: TaskState, on: &[u64]| Task {
        state,
        depends_on: on.iter().copied().map(TaskId).collect(),
        ..sample::task(id)
    };
    let land = Task { kind: TaskKind::Land, ..with(12, TaskState::Landing { since: at }, &[]) };
    let tasks = [
        with(1, sample::done(), &[]),
        // Cancelled, and a live task depends on it; it depends on another cancelled one and on a done one.
        with(2, sample::cancelled(), &[3, 1]),
        // Cancelled, and only a cancelled task depends on it.
        with(3, sample::cancelled(), &[]),
        // Cancelled, and only a done task depends on it.
        with(4, sample::cancelled(), &[]),
        with(5, sample::done(), &[4]),
        // The order of what is left is the task's own.
        with(6, TaskState::Blocked, &[8, 1, 2, 7, 5]),
        with(7, sample::ready(), &[1]),
        with(8, TaskState::Leased { since: at }, &[]),
        with(9, TaskState::Landing { since: at }, &[]),
        with(10, sample::parked(), &[]),
        with(11, sample::parked(), &[]),
        land,
        with(20, sample::done(), &[]),
    ];
    let mut changes: Vec<_> = tasks.iter().map(sample::put_task).collect();
    for (task, numbers) in [(5, 1..=1), (7, 1..=2), (8, 1..=11), (9, 1..=1), (10, 1..=1)] {
        changes.extend(numbers.map(|n| sample::put_attempt(&sample::attempt(task, n))));
    }
    for (task, numbers) in [(5, 1..=1), (7, 1..=1), (8, 1..=1), (9, 1..=2), (10, 2..=10), (12, 1..=1)] {
        changes.extend(numbers.map(|n| sample::put_candidate(&sample::candidate(task, n))));
    }
    changes.push(Change::ProjectPut(Box::new(sample::project(3))));
    changes.push(Change::ProjectPut(Box::new(sample::project(2))));
    for (number, state) in (1..).zip(sample::prd_states()) {
        let prd = Prd { state, ..sample::prd(number) };
        changes.push(sample::put_prd(&prd, &sample::content()));
    }
    changes
}

fn loaded() -> Snapshot {
    let at = Time(100);
    let with = |id: u64, state: TaskState, on: &[u64]| Task {
        state,
        depends_on: on.iter().copied().map(TaskId).collect(),
        ..sample::task(id)
    };
    Snapshot {
        projects: vec![sample::project(2), sample::project(3)],
        prds: vec![
            (
                Prd { state: PrdState::Draft, ..sample::prd(1) },
                Progress {
                    stories: 12,
                    done: 3,
                    cancelled: 3,
                    parked: 2,
                    running: 1,
                    landing: 1,
                    ready: 1,
                    blocked: 1,
                },
            ),
            (sample::prd(2), Progress::default()),
        ],
        tasks: vec![
            with(2, sample::cancelled(), &[3]),
            with(6, TaskState::Blocked, &[8, 2, 7]),
            with(7, sample::ready(), &[]),
            with(8, TaskState::Leased { since: at }, &[]),
            with(9, TaskState::Landing { since: at }, &[]),
            with(10, sample::parked(), &[]),
            with(11, sample::parked(), &[]),
            Task { kind: TaskKind::Land, ..with(12, TaskState::Landing { since: at }, &[]) },
        ],
        attempts: vec![sample::attempt(8, 11)],
        candidates: vec![sample::candidate(9, 2), sample::candidate(10, 10), sample::candidate(12, 1)],
        last_task: 20,
        last_prd: 4,
        last_project: 3,
        last_time: Time(6_000),
    }
}

pub(super) fn load_is_exactly_the_live_part<S: Store>(open: Open<'_, S>) {
    let mut store = open("load-exact");
    ok(store.commit(&rows()));
    assert_eq!(ok(store.load()), loaded());
}

pub(super) fn the_latest_instant_of_every_kind_of_row_is_seen<S: Store>(open: Open<'_, S>) {
    let task = sample::task(1);
    let mut now = 1_000_000;
    let mut tick = || {
        now += 1;
        Time(now)
    };
    let mut project = sample::project(1);
    project.created_at = tick();
    let mut prd = sample::prd(1);
    prd.created_at = tick();
    let mut prd_moved = prd.clone();
    prd_moved.updated_at = tick();
    let mut prd_ended = prd_moved.clone();
    prd_ended.state = PrdState::Completed { at: tick() };
    let added = Task { created_at: tick(), ..sample::task(2) };
    let landing = TaskState::Landing { since: tick() };
    let parked = match sample::parked() {
        TaskState::Parked { reason, .. } => TaskState::Parked { at: tick(), reason },
        other => other,
    };
    let far = Time(9_000_000);
    let ready = TaskState::Ready { since: tick(), not_before: far };
    let mut created = sample::attempt(1, 1);
    created.created_at = tick();
    let mut started = sample::attempt(1, 1);
    started.started_at = Some(tick());
    let mut finished = sample::attempt(1, 1);
    finished.finished_at = Some(tick());
    finished.state = AttemptState::Running;
    let mut queued = sample::candidate(1, 1);
    queued.queued_at = tick();
    let mut landed = sample::candidate(1, 1);
    landed.state = CandidateState::Landed { commit: sample::oid('a'), at: tick() };
    let noted = sample::note(tick().0, "noted");

    let mut store = open("load-instants");
    ok(store.commit(&[sample::put_task(&task)]));
    let changes = [
        Change::ProjectPut(Box::new(project)),
        sample::put_prd(&prd, &sample::content()),
        Change::PrdMoved(Box::new(prd_moved)),
        Change::PrdMoved(Box::new(prd_ended)),
        sample::put_task(&added),
        sample::moved(&task, 2, landing),
        sample::moved(&task, 3, parked),
        sample::moved(&task, 4, ready),
        sample::put_attempt(&created),
        sample::put_attempt(&started),
        sample::put_attempt(&finished),
        sample::put_candidate(&queued),
        sample::put_candidate(&landed),
        Change::Noted(noted),
    ];
    for (change, time) in changes.iter().zip(1_000_001..) {
        ok(store.commit(std::slice::from_ref(change)));
        assert_eq!(ok(store.load()).last_time, Time(time), "{change:?}");
    }
    ok(store.commit(&[Change::Noted(sample::note(5, "an older one"))]));
    assert_eq!(ok(store.load()).last_time, Time(1_000_014), "it never goes back");
}

pub(super) fn everything_is_there_after_opening_again<S: Store>(open: Open<'_, S>) {
    let look = |store: &S| {
        let notes = NoteFilter { after: 0, prd: None, task: None, limit: 10 };
        (
            ok(store.load()),
            ok(store.prds(&PrdFilter::default())),
            ok(store.prd(PrdNumber(2))),
            ok(store.stories(PrdNumber(1), 0, 10)),
            ok(store.attempts(TaskId(8))),
            ok(store.candidates(TaskId(10))),
            ok(store.notes(&notes)),
            ok(store.search(&Query::Phrase(vec!["weather".into()]), 10)),
        )
    };
    let mut store = open("load-again");
    ok(store.commit(&rows()));
    let mut story = sample::story(1, 0, "US-1", 6);
    story.title = "Weather".into();
    ok(store.commit(&[sample::put_story(&story), Change::Noted(sample::note(1, "one"))]));
    let before = look(&store);
    assert_eq!(before.7, [PrdNumber(1)]);
    drop(store);
    let mut store = open("load-again");
    assert_eq!(look(&store), before);

    ok(store.commit(&[
        sample::moved(&sample::task(7), 2, sample::done()),
        Change::Noted(sample::note(1, "two")),
    ]));
    let before = look(&store);
    assert_eq!(before.6.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2]);
    drop(store);
    assert_eq!(look(&open("load-again")), before);
}
