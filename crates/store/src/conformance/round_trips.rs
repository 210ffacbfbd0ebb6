//! What is put is what is read, field by field.

use ropewalk_core::attempt::Fault;
use ropewalk_core::candidate::Source;
use ropewalk_core::change::{Change, Note, NoteKind, TaskMoved};
use ropewalk_core::checkpoint::Checkpoint;
use ropewalk_core::id::{PrdNumber, ProjectId, TaskId};
use ropewalk_core::port::{NoteFilter, Store};
use ropewalk_core::priority::Priority;
use ropewalk_core::resource::Resource;
use ropewalk_core::row::{PrdBranch, PrdContent, Project};
use ropewalk_core::sample::Sample;
use ropewalk_core::settings::Settings;
use ropewalk_core::task::{Tally, TaskKind};
use ropewalk_core::time::Time;

use super::sample::{self, TEXT};
use super::{Open, ok};

pub(super) fn projects_come_back_whole<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-projects");
    let first = sample::project(1);
    let second = Project { settings: Settings::default(), ..sample::project(2) };
    let put = |project: &Project| Change::ProjectPut(Box::new(project.clone()));
    ok(store.commit(&[put(&second), put(&first)]));
    assert_eq!(ok(store.projects()), [first.clone(), second.clone()]);

    let renewed = Project { settings: Settings::default(), base: sample::branch("dev"), ..first };
    ok(store.commit(&[put(&renewed)]));
    assert_eq!(ok(store.projects()), [renewed, second]);
}

pub(super) fn prds_come_back_whole_in_every_state<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-prds");
    let made = |at| PrdBranch::Made { name: sample::branch("feature/x-1"), at };
    let planned = PrdBranch::Planned { name: sample::branch("feature/y"), at: sample::oid('c') };
    let branches = [PrdBranch::Unplanned, planned, made(sample::oid('a')), made(sample::oid('b'))];
    for (number, (state, branch)) in (1..).zip(sample::prd_states().into_iter().zip(branches)) {
        let mut prd = sample::prd(number);
        (prd.state, prd.branch) = (state, branch);
        prd.is_collection = number % 2 == 0;
        prd.has_placeholders = number > 2;
        let content = if number == 1 { PrdContent::default() } else { sample::content() };
        ok(store.commit(&[sample::put_prd(&prd, &content)]));
        let read = ok(store.prd(prd.number)).expect("it was put");
        assert_eq!((&read.0, &read.1), (&prd, &content));

        prd.title = "Moved".into();
        prd.updated_at = Time(9_999);
        prd.branch = PrdBranch::Unplanned;
        ok(store.commit(&[Change::PrdMoved(Box::new(prd.clone()))]));
        let read = ok(store.prd(prd.number)).expect("it was put");
        assert_eq!((&read.0, &read.1), (&prd, &content), "a move leaves the content as it was");
    }
    assert_eq!(ok(store.prd(PrdNumber(99))), None);
}

pub(super) fn stories_come_back_whole<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-stories");
    let mut story = sample::story(1, 7, "{{ID}}-001", 1);
    ok(store.commit(&[
        sample::put_prd(&sample::prd(1), &sample::content()),
        sample::put_task(&sample::task(1)),
        sample::put_story(&story),
    ]));
    assert_eq!(ok(store.story(PrdNumber(1), &story.id)), Some(story.clone()));
    story.claimed = false;
    story.hash = 0;
    story.title = TEXT.into();
    story.body = TEXT.into();
    story.position = 0;
    ok(store.commit(&[sample::put_story(&story)]));
    assert_eq!(ok(store.story(PrdNumber(1), &story.id)), Some(story.clone()));
    assert_eq!(ok(store.story(PrdNumber(2), &story.id)), None);
    assert_eq!(ok(store.story(PrdNumber(1), &sample::story_id("other"))), None);
}

pub(super) fn tasks_come_back_whole_in_every_state_and_kind<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-tasks");
    let mut tasks = Vec::new();
    for (id, state) in (1..).zip(sample::task_states()) {
        let mut task = sample::task(id);
        task.state = state;
        // Not in the order of their ids, and one that is not there yet.
        task.depends_on = vec![TaskId(id + 2), TaskId(id + 1)];
        tasks.push(task);
    }
    for (task, kind) in
        tasks.iter_mut().zip([TaskKind::Land, TaskKind::Command { folder: "/é".into() }, TaskKind::Implement])
    {
        task.kind = kind;
    }
    tasks[1].project = None;
    tasks[1].prd = None;
    tasks[1].story = None;
    tasks[2].settings = Settings::default();
    tasks[2].depends_on.clear();
    ok(store.commit(&tasks.iter().map(sample::put_task).collect::<Vec<_>>()));
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(ok(store.tasks_by_id(&ids)), tasks);

    // An edit replaces everything, the dependencies included.
    let mut edited = sample::task(1);
    edited.version = 2;
    edited.kind = TaskKind::Command { folder: "/other".into() };
    edited.title = "Edited".into();
    edited.prd = Some(PrdNumber(7));
    edited.project = Some(ProjectId(8));
    edited.story = None;
    edited.depends_on = vec![TaskId(3)];
    edited.settings = Settings::default();
    edited.created_at = Time(1);
    ok(store.commit(&[sample::put_task(&edited)]));
    assert_eq!(ok(store.tasks_by_id(&[TaskId(1)])), [edited]);
}

pub(super) fn a_moved_task_keeps_the_rest_of_its_row<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-moves");
    let mut task = sample::task(1);
    task.depends_on = vec![TaskId(5), TaskId(4)];
    ok(store.commit(&[sample::put_task(&task)]));
    for (version, state) in (2..).zip(sample::task_states()) {
        task.version = version;
        task.state = state;
        task.attempts += 1;
        task.resume = (version % 2 == 0).then(sample::resume);
        task.tally = Tally {
            failures: 7,
            conflicts: task.attempts,
            fault: Some(Fault::Stalled),
            repeats: 9,
            faults: 11,
        };
        let to = TaskMoved {
            task: task.id,
            version,
            state: task.state.clone(),
            attempts: task.attempts,
            tally: task.tally,
            resume: task.resume.clone(),
        };
        ok(store.commit(&[Change::TaskMoved(to)]));
        assert_eq!(ok(store.tasks_by_id(&[TaskId(1)])), [task.clone()]);
    }
}

pub(super) fn attempts_come_back_whole_in_every_state<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-attempts");
    ok(store.commit(&[sample::put_task(&sample::task(1)), sample::put_task(&sample::task(2))]));
    let mut attempts = Vec::new();
    for (number, state) in (1..).zip(sample::attempt_states()) {
        let mut attempt = sample::attempt(1, number);
        attempt.state = state;
        if number == 1 {
            (attempt.started_at, attempt.finished_at) = (None, None);
            (attempt.start, attempt.head, attempt.feedback) = (None, None, None);
            attempt.detail = String::new();
        }
        attempts.push(attempt);
    }
    // Put backwards: they are read by number.
    ok(store.commit(&attempts.iter().rev().map(sample::put_attempt).collect::<Vec<_>>()));
    assert_eq!(ok(store.attempts(TaskId(1))), attempts);
    assert_eq!(ok(store.attempts(TaskId(2))), []);
    attempts[0] = sample::attempt(1, 1);
    ok(store.commit(&[sample::put_attempt(&attempts[0])]));
    assert_eq!(ok(store.attempts(TaskId(1))), attempts);
}

pub(super) fn candidates_come_back_whole_in_every_state<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-candidates");
    ok(store.commit(&[sample::put_task(&sample::task(1)), sample::put_task(&sample::task(2))]));
    let mut candidates = Vec::new();
    for (number, state) in (1..).zip(sample::candidate_states()) {
        let mut candidate = sample::candidate(1, number);
        candidate.state = state;
        if number == 1 {
            candidate.source = Source::Branch(sample::branch("feature/PRD-001"));
            (candidate.feedback, candidate.resume_at) = (None, None);
        }
        candidates.push(candidate);
    }
    ok(store.commit(&candidates.iter().rev().map(sample::put_candidate).collect::<Vec<_>>()));
    assert_eq!(ok(store.candidates(TaskId(1))), candidates);
    assert_eq!(ok(store.candidates(TaskId(2))), []);
    let waiting: Vec<_> = candidates.iter().rev().filter(|c| c.state.name() == "waiting").cloned().collect();
    assert_eq!(ok(store.candidates_in("waiting", 100)), waiting);
    assert_eq!(ok(store.candidates_in("waiting", 0)), []);
    candidates[0] = sample::candidate(1, 1);
    ok(store.commit(&[sample::put_candidate(&candidates[0])]));
    assert_eq!(ok(store.candidates(TaskId(1))), candidates);
}

pub(super) fn of_a_tasks_checkpoints_the_latest_stay<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-checkpoints");
    ok(store.commit(&[sample::put_task(&sample::task(1)), sample::put_task(&sample::task(2))]));
    let put = |checkpoint: &Checkpoint, kept| Change::CheckpointPut {
        checkpoint: Box::new(checkpoint.clone()),
        kept,
    };
    let other = sample::checkpoint(2, 1, 1);
    let own: Vec<_> = [(1, 1), (1, 2), (2, 1), (10, 1)].map(|(a, n)| sample::checkpoint(1, a, n)).into();
    ok(store.commit(&[put(&other, 1)]));
    for checkpoint in &own {
        ok(store.commit(&[put(checkpoint, 3)]));
    }
    assert_eq!(ok(store.checkpoints(TaskId(1))), own[1..]);
    assert_eq!(ok(store.checkpoints(TaskId(2))), [other]);
    assert!(store.commit(&[put(&sample::checkpoint(9, 1, 1), 3)]).is_err(), "it belongs to no task");
    ok(store.commit(&[Change::CheckpointsForgotten { before: own[0].at }]));
    assert_eq!(ok(store.checkpoints(TaskId(1))), own[1..]);
    ok(store.commit(&[Change::CheckpointsForgotten { before: own[0].at.plus_ms(1) }]));
    assert_eq!(ok(store.checkpoints(TaskId(1))), []);
}

pub(super) fn samples_are_listed_by_time_and_forgotten<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-samples");
    let samples: Vec<_> = [30, 10, 20].map(sample::machine_sample).into();
    let added: Vec<_> = samples.iter().map(|s| Change::SampleAdded(Box::new(*s))).collect();
    ok(store.commit(&added));
    let at = |samples: Vec<Sample>| samples.iter().map(|s| s.at.0).collect::<Vec<_>>();
    assert_eq!(ok(store.samples(Time(20), 9)), [samples[2], samples[0]]);
    assert_eq!(at(ok(store.samples(Time(0), 2))), [10, 20]);
    ok(store.commit(&[Change::SamplesForgotten(vec![Time(10), Time(30), Time(99)])]));
    assert_eq!(at(ok(store.samples(Time(0), 9))), [20]);
}

pub(super) fn notes_come_back_whole_of_every_kind<S: Store>(open: Open<'_, S>) {
    use NoteKind::*;
    let kinds = [
        EngineStarted,
        ProjectAdded,
        PrdImported,
        PrdApproved,
        PrdCompleted,
        PrdAbandoned,
        BranchMade,
        BranchFailed,
        TaskAdded,
        TaskCancelled,
        TaskRetried,
        TaskParked,
        AttemptStarted,
        AttemptNearDeadline,
        AttemptFinished,
        Checkpointed,
        CheckpointFailed,
        Conflict,
        CheckFailed,
        TargetMoved,
        Landed,
        Refused,
    ];
    let mut store = open("round-notes");
    let notes: Vec<(u64, Note)> = (1..)
        .zip(kinds)
        .map(|(seq, kind)| {
            let mut note = Note { kind, ..sample::note(-5, TEXT) };
            if seq > 1 {
                note.prd = Some(PrdNumber(u32::MAX));
                note.task = Some(TaskId(seq));
                note.attempt = Some(3);
            }
            (seq, note)
        })
        .collect();
    ok(store.commit(&notes.iter().map(|(_, note)| Change::Noted(note.clone())).collect::<Vec<_>>()));
    let all = NoteFilter { after: 0, prd: None, task: None, limit: usize::MAX };
    assert_eq!(ok(store.notes(&all)), notes);
}

pub(super) fn the_extremes_of_numbers_and_texts_survive<S: Store>(open: Open<'_, S>) {
    let mut store = open("round-extremes");
    let mut task = sample::task(i64::MAX.cast_unsigned());
    task.priority = Priority::ABSENT;
    task.project = Some(ProjectId(u32::MAX));
    task.prd = Some(PrdNumber(u32::MAX));
    task.attempts = u32::MAX;
    task.tally = Tally {
        failures: u32::MAX,
        conflicts: u32::MAX,
        fault: Some(Fault::OverLimit(Resource::CpuTime)),
        repeats: u32::MAX,
        faults: u32::MAX,
    };
    task.created_at = Time(i64::MIN);
    task.title = "x".repeat(1 << 20);
    let mut low = sample::task(1);
    low.priority = Priority::from_thousandths(i64::MIN);
    low.title = String::new();
    ok(store.commit(&[sample::put_task(&task), sample::put_task(&low)]));
    assert_eq!(ok(store.tasks_by_id(&[task.id, low.id])), [low, task]);
}
