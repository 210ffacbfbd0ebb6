//! Order, filters and limits of what is listed, and the counters beside it.

use ropewalk_core::change::{Change, Note};
use ropewalk_core::id::{PrdNumber, ProjectId, TaskId};
use ropewalk_core::port::{NoteFilter, PrdFilter, Store, TaskFilter};
use ropewalk_core::row::{Prd, PrdContent, Progress, Story};
use ropewalk_core::task::{Task, TaskKind, TaskState};
use ropewalk_core::time::Time;

use super::sample;
use super::{Open, ok};

pub(super) fn prds_are_filtered_and_ordered<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-prds");
    for (number, state) in (1..).zip(sample::prd_states()).collect::<Vec<_>>().into_iter().rev() {
        let prd = Prd { state, project: ProjectId(1 + number % 2), ..sample::prd(number) };
        ok(store.commit(&[sample::put_prd(&prd, &sample::content())]));
    }
    let list = |store: &S, project: Option<u32>, states: &[&'static str]| -> Vec<u32> {
        let filter = PrdFilter { project: project.map(ProjectId), states: states.to_vec() };
        ok(store.prds(&filter)).iter().map(|(prd, _)| prd.number.0).collect()
    };
    assert_eq!(list(&store, None, &[]), [1, 2, 3, 4]);
    assert_eq!(list(&store, Some(2), &[]), [1, 3]);
    assert_eq!(list(&store, Some(9), &[]), [] as [u32; 0]);
    assert_eq!(list(&store, None, &["draft", "abandoned"]), [1, 4]);
    assert_eq!(list(&store, Some(1), &["active", "completed"]), [2]);
    let moved = Prd { project: ProjectId(1), ..sample::prd(2) };
    ok(store.commit(&[Change::PrdMoved(Box::new(Prd { state: sample::prd_states()[2].clone(), ..moved }))]));
    assert_eq!(list(&store, None, &["completed"]), [2, 3]);
}

pub(super) fn prds_are_found_by_key_whatever_the_case<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-keys");
    for (number, project, key) in [(1, 1, "Int-001"), (2, 2, "INT-001"), (3, 1, "INT-002")] {
        let prd = Prd { project: ProjectId(project), key: sample::key(key), ..sample::prd(number) };
        ok(store.commit(&[sample::put_prd(&prd, &sample::content())]));
    }
    let find = |key| -> Vec<_> {
        ok(store.prds_by_key(&sample::key(key))).iter().map(|p| (p.number.0, p.key.to_string())).collect()
    };
    assert_eq!(find("int-001"), [(1, "Int-001".to_owned()), (2, "INT-001".to_owned())]);
    assert_eq!(find("INT-002"), [(3, "INT-002".to_owned())]);
    assert_eq!(find("INT-003"), []);
}

pub(super) fn a_prd_is_found_by_its_file<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-sources");
    let content = |source: Option<&str>| PrdContent { source: source.map(Into::into), ..sample::content() };
    for (number, project, source) in
        [(1, 1, Some("/a")), (2, 2, Some("/a")), (3, 1, Some("/b")), (4, 1, None)]
    {
        let prd = Prd { project: ProjectId(project), ..sample::prd(number) };
        ok(store.commit(&[sample::put_prd(&prd, &content(source))]));
    }
    let find = |store: &S, project, source| {
        ok(store.prd_by_source(ProjectId(project), source)).map(|prd| prd.number.0)
    };
    assert_eq!(find(&store, 1, "/a"), Some(1));
    assert_eq!(find(&store, 2, "/a"), Some(2));
    assert_eq!(find(&store, 1, "/b"), Some(3));
    assert_eq!(find(&store, 2, "/b"), None);
    assert_eq!(find(&store, 1, "/A"), None, "paths are compared to the letter");
    ok(store.commit(&[sample::put_prd(&sample::prd(3), &content(Some("/c")))]));
    assert_eq!((find(&store, 1, "/b"), find(&store, 1, "/c")), (None, Some(3)));
}

pub(super) fn stories_are_read_in_pages_and_removed<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-stories");
    let mut changes = vec![sample::put_prd(&sample::prd(1), &sample::content())];
    let stories: Vec<Story> =
        (0..10).map(|n| sample::story(1, n, &format!("US-{n}"), 100 - u64::from(n))).collect();
    changes.extend(stories.iter().map(|story| sample::put_task(&sample::task(story.task.0))));
    changes.extend(stories.iter().rev().map(sample::put_story));
    ok(store.commit(&changes));
    assert_eq!(ok(store.stories(PrdNumber(1), 0, 100)), stories);
    assert_eq!(ok(store.stories(PrdNumber(1), 3, 2)), stories[3..5]);
    assert_eq!(ok(store.stories(PrdNumber(1), 10, 2)), []);
    assert_eq!(ok(store.stories(PrdNumber(2), 0, 2)), []);

    let removed = |prd, story: &Story| Change::StoryRemoved { prd: PrdNumber(prd), task: story.task };
    ok(store.commit(&[removed(1, &stories[4]), removed(2, &stories[5])]));
    assert_eq!(ok(store.story(PrdNumber(1), &stories[4].id)), None);
    assert_eq!(ok(store.story(PrdNumber(1), &stories[5].id)), Some(stories[5].clone()), "of another PRD");
    assert_eq!(ok(store.stories(PrdNumber(1), 3, 2)), [stories[3].clone(), stories[5].clone()]);
    assert_eq!(ok(store.tasks_by_id(&[stories[4].task])).len(), 1, "its task stays");
}

pub(super) fn a_story_put_again_is_replaced<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-replaced");
    let story = sample::story(1, 0, "US-1", 1);
    let mut changes = vec![
        sample::put_prd(&sample::prd(1), &sample::content()),
        sample::put_prd(&sample::prd(2), &sample::content()),
    ];
    changes.extend((1..=3).map(|id| sample::put_task(&sample::task(id))));
    changes.extend(
        [&story, &sample::story(1, 1, "US-2", 2), &sample::story(2, 0, "US-1", 3)].map(sample::put_story),
    );
    ok(store.commit(&changes));
    // The file was turned round, and the id is written otherwise.
    let turned = [sample::story(1, 1, "us-1", 1), sample::story(1, 0, "US-2", 2)];
    ok(store.commit(&turned.clone().map(|story| sample::put_story(&story))));
    assert_eq!(ok(store.stories(PrdNumber(1), 0, 9)), [turned[1].clone(), turned[0].clone()]);
    assert_eq!(ok(store.story(PrdNumber(1), &story.id)), Some(turned[0].clone()));
    assert_eq!(ok(store.stories(PrdNumber(2), 0, 9)).len(), 1, "ids are a PRD's own");
}

pub(super) fn tasks_are_filtered_ordered_and_limited<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-tasks");
    let states = [TaskState::Blocked, sample::ready(), sample::done(), sample::parked(), sample::cancelled()];
    let tasks: Vec<Task> = (1..=40u32)
        .map(|n| Task {
            project: (n % 4 != 0).then_some(ProjectId(n % 4)),
            prd: (n % 3 != 0).then_some(PrdNumber(n % 3)),
            state: states[n as usize % states.len()].clone(),
            depends_on: vec![TaskId(1)],
            ..sample::task(n.into())
        })
        .collect();
    ok(store.commit(&tasks.iter().rev().map(sample::put_task).collect::<Vec<_>>()));
    for project in [None, Some(ProjectId(1)), Some(ProjectId(9))] {
        for prd in [None, Some(PrdNumber(2)), Some(PrdNumber(9))] {
            for states in [vec![], vec!["ready"], vec!["done", "blocked"], vec!["landing"]] {
                for (after, limit) in
                    [(None, usize::MAX), (Some(TaskId(7)), 5), (Some(TaskId(40)), 5), (None, 0)]
                {
                    let filter = TaskFilter { project, prd, states: states.clone(), after, limit };
                    let wanted: Vec<Task> = tasks
                        .iter()
                        .filter(|t| project.is_none() || t.project == project)
                        .filter(|t| prd.is_none() || t.prd == prd)
                        .filter(|t| states.is_empty() || states.contains(&t.state.name()))
                        .filter(|t| Some(t.id) > after)
                        .take(limit)
                        .cloned()
                        .collect();
                    assert_eq!(ok(store.tasks(&filter)), wanted, "{filter:?}");
                }
            }
        }
    }
}

pub(super) fn tasks_are_read_by_id<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-by-id");
    let tasks: Vec<Task> = [3, 5, 7].map(sample::task).to_vec();
    ok(store.commit(&tasks.iter().map(sample::put_task).collect::<Vec<_>>()));
    let read = |ids: &[u64]| -> Vec<u64> {
        let ids: Vec<_> = ids.iter().copied().map(TaskId).collect();
        ok(store.tasks_by_id(&ids)).iter().map(|task| task.id.0).collect()
    };
    assert_eq!(read(&[7, 4, 3, 7, 3]), [3, 7]);
    assert_eq!(read(&[]), [] as [u64; 0]);
}

pub(super) fn progress_counts_implement_tasks_by_state<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-progress");
    let progress = |store: &S| {
        let (_, _, one) = ok(store.prd(PrdNumber(1))).expect("it was put");
        let listed = ok(store.prds(&PrdFilter::default()));
        let loaded = ok(store.load()).prds;
        assert_eq!(listed[0].1, one, "a list shows what the PRD shows");
        assert_eq!(loaded[0].1, one, "and so does a start");
        (one, listed[1].1)
    };
    let two = [1, 2].map(|n| sample::put_prd(&sample::prd(n), &sample::content()));
    ok(store.commit(&two));
    assert_eq!(progress(&store), (Progress::default(), Progress::default()));

    let mut tasks: Vec<Task> = (1..=8).map(sample::task).collect();
    tasks[6].kind = TaskKind::Land;
    tasks[7].prd = None;
    ok(store.commit(&tasks.iter().map(sample::put_task).collect::<Vec<_>>()));
    let blocked = Progress { stories: 6, blocked: 6, ..Progress::default() };
    assert_eq!(progress(&store).0, blocked);

    let since = Time(1);
    let to = [
        sample::ready(),
        TaskState::Leased { since },
        TaskState::Landing { since },
        sample::done(),
        sample::parked(),
        sample::cancelled(),
        sample::ready(),
        sample::done(),
    ];
    let moves: Vec<_> = tasks.iter().zip(to).map(|(task, state)| sample::moved(task, 2, state)).collect();
    ok(store.commit(&moves));
    let one_each = Progress {
        stories: 6,
        done: 1,
        cancelled: 1,
        parked: 1,
        running: 1,
        landing: 1,
        ready: 1,
        blocked: 0,
    };
    assert_eq!(progress(&store), (one_each, Progress::default()));

    // Several moves of one task in one commit, an edit that gives a task to another PRD, and one to no PRD.
    let mut given = Task { version: 3, prd: Some(PrdNumber(2)), state: sample::done(), ..tasks[3].clone() };
    ok(store.commit(&[
        sample::moved(&tasks[0], 3, TaskState::Leased { since }),
        sample::moved(&tasks[0], 4, sample::ready()),
        sample::moved(&tasks[0], 5, sample::done()),
        sample::put_task(&given),
    ]));
    let wanted = Progress { ready: 0, stories: 5, ..one_each };
    assert_eq!(progress(&store), (wanted, Progress { stories: 1, done: 1, ..Progress::default() }));
    (given.version, given.prd) = (4, None);
    ok(store.commit(&[sample::put_task(&given)]));
    assert_eq!(progress(&store), (wanted, Progress::default()));
}

pub(super) fn notes_have_no_gaps_and_the_latest_come_oldest_first<S: Store>(open: Open<'_, S>) {
    let mut store = open("list-notes");
    let mut written: Vec<(u64, Note)> = Vec::new();
    for n in 1..=30u32 {
        let mut note = sample::note(i64::from(n % 7), &format!("note {n}"));
        note.prd = (n % 2 == 0).then_some(PrdNumber(1));
        note.task = (n % 3 == 0).then_some(TaskId(5));
        // A refused commit takes no number.
        let refused = [Change::Noted(note.clone()), sample::moved(&sample::task(1), 9, sample::done())];
        assert!(store.commit(&refused).is_err());
        ok(store.commit(&[Change::Noted(note.clone())]));
        written.push((n.into(), note));
    }
    for after in [0, 12, 29, 30, 99, u64::MAX] {
        for prd in [None, Some(PrdNumber(1)), Some(PrdNumber(2))] {
            for task in [None, Some(TaskId(5))] {
                for limit in [0, 1, 4, usize::MAX] {
                    let filter = NoteFilter { after, prd, task, limit };
                    let mut wanted: Vec<_> = written
                        .iter()
                        .filter(|(seq, _)| *seq > after)
                        .filter(|(_, note)| prd.is_none() || note.prd == prd)
                        .filter(|(_, note)| task.is_none() || note.task == task)
                        .cloned()
                        .collect();
                    wanted.drain(..wanted.len().saturating_sub(limit));
                    assert_eq!(ok(store.notes(&filter)), wanted, "{filter:?}");
                }
            }
        }
    }
}
