//! What is refused, and that nothing of it is written.

use ropewalk_core::change::Change;
use ropewalk_core::id::{PrdNumber, TaskId};
use ropewalk_core::port::{NoteFilter, PrdFilter, Store};
use ropewalk_core::task::Task;

use super::sample;
use super::{Open, ok, refused};

pub(super) fn a_version_that_does_not_follow_on_is_refused<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-versions");
    let task = sample::task(1);
    ok(store.commit(&[sample::put_task(&task), sample::moved(&task, 2, sample::ready())]));
    for version in [0, 1, 2, 4] {
        refused(store.commit(&[sample::moved(&task, version, sample::done())]));
        refused(store.commit(&[sample::put_task(&Task { version, ..task.clone() })]));
    }
    refused(store.commit(&[sample::moved(&sample::task(2), 1, sample::done())]));
    ok(store.commit(&[sample::moved(&task, 3, sample::done())]));
    ok(store.commit(&[sample::put_task(&Task { version: 4, ..task.clone() })]));
    assert_eq!(ok(store.tasks_by_id(&[TaskId(1)])), [Task { version: 4, ..task }]);
}

pub(super) fn a_refused_commit_leaves_nothing<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-whole");
    let (task, prd) = (sample::task(1), sample::prd(1));
    ok(store.commit(&[
        Change::ProjectPut(Box::new(sample::project(1))),
        sample::put_prd(&prd, &sample::content()),
        sample::put_task(&task),
        Change::Noted(sample::note(1, "first")),
    ]));
    let look = |store: &S| {
        let notes = NoteFilter { after: 0, prd: None, task: None, limit: 10 };
        let found = ok(store.search(&ropewalk_core::search::Query::Phrase(vec!["sesame".into()]), 10));
        let prds = ok(store.prds(&PrdFilter::default()));
        (ok(store.load()), ok(store.notes(&notes)), found, prds, ok(store.stories(PrdNumber(1), 0, 10)))
    };
    let before = look(&store);
    let mut renamed = prd.clone();
    renamed.title = "sesame".into();
    let stale = sample::moved(&task, 9, sample::done());
    refused(store.commit(&[
        Change::ProjectPut(Box::new(sample::project(2))),
        sample::put_prd(&renamed, &sample::content()),
        sample::put_prd(&sample::prd(2), &sample::content()),
        sample::moved(&task, 2, sample::ready()),
        sample::put_task(&sample::task(2)),
        sample::put_story(&sample::story(1, 0, "US-1", 1)),
        sample::put_attempt(&sample::attempt(1, 1)),
        sample::put_candidate(&sample::candidate(1, 1)),
        Change::Noted(sample::note(99_999, "second")),
        stale,
    ]));
    assert_eq!(look(&store), before);
    assert_eq!(ok(store.attempts(TaskId(1))), []);
    assert_eq!(ok(store.candidates(TaskId(1))), []);
    assert_eq!(ok(store.projects()).len(), 1);
}

pub(super) fn a_new_task_begins_with_version_one<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-first");
    refused(store.commit(&[sample::put_task(&Task { version: 2, ..sample::task(1) })]));
    refused(store.commit(&[sample::put_task(&Task { version: 0, ..sample::task(1) })]));
    ok(store.commit(&[sample::put_task(&sample::task(1))]));
    refused(store.commit(&[sample::put_task(&sample::task(1))]));
}

pub(super) fn rows_of_a_missing_task_are_refused<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-orphans");
    ok(store.commit(&[sample::put_prd(&sample::prd(1), &sample::content())]));
    for change in [
        sample::put_story(&sample::story(1, 0, "US-1", 1)),
        sample::put_attempt(&sample::attempt(1, 1)),
        sample::put_candidate(&sample::candidate(1, 1)),
    ] {
        refused(store.commit(std::slice::from_ref(&change)));
        assert_eq!(ok(store.stories(PrdNumber(1), 0, 10)), []);
        assert_eq!(ok(store.attempts(TaskId(1))), []);
        assert_eq!(ok(store.candidates(TaskId(1))), []);
    }
}

pub(super) fn a_move_of_a_missing_prd_is_refused<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-prd");
    refused(store.commit(&[Change::PrdMoved(Box::new(sample::prd(1)))]));
    assert_eq!(ok(store.prd(PrdNumber(1))), None);
}

pub(super) fn a_store_goes_on_after_a_refusal<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-go-on");
    for id in 1..=5 {
        ok(store.commit(&[sample::put_task(&sample::task(id))]));
        refused(store.commit(&[sample::put_task(&sample::task(id))]));
    }
    assert_eq!(ok(store.load()).tasks.len(), 5);
}

pub(super) fn an_empty_commit_is_accepted<S: Store>(open: Open<'_, S>) {
    let mut store = open("refuse-nothing");
    ok(store.commit(&[]));
    assert_eq!(ok(store.load()).last_task, 0);
}
