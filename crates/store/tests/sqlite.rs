//! What every store must do, on SQLite; and what only it can show: grouped commits, several handles, its files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use ropewalk_core::change::{Change, Note, NoteKind, TaskMoved};
use ropewalk_core::id::{PrdNumber, ProjectId, TaskId};
use ropewalk_core::port::{NoteFilter, Read, Store, StoreError};
use ropewalk_core::priority::Priority;
use ropewalk_core::row::{Prd, PrdBranch, PrdContent, PrdState, Story};
use ropewalk_core::search::Query;
use ropewalk_core::settings::Settings;
use ropewalk_core::task::{Tally, Task, TaskKind, TaskState};
use ropewalk_core::time::Time;
use ropewalk_store::{STORY_TITLES_BYTES_MAX, SqliteStore, conformance};

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).expect("it opens")
}

fn task(id: u64) -> Task {
    Task {
        id: TaskId(id),
        project: None,
        prd: Some(PrdNumber(1)),
        story: None,
        kind: TaskKind::Implement,
        title: format!("Task {id}"),
        priority: Priority::ABSENT,
        state: TaskState::Blocked,
        attempts: 0,
        tally: Tally::default(),
        resume: None,
        scope: Vec::new(),
        version: 1,
        settings: Settings::default(),
        depends_on: Vec::new(),
        created_at: Time(1),
    }
}

fn put(task: Task) -> Change {
    Change::TaskPut(Box::new(task))
}

fn moved(task: u64, version: u64) -> Change {
    let state = TaskState::Leased { since: Time(1) };
    let (tally, resume) = (Tally::default(), None);
    Change::TaskMoved(TaskMoved { task: TaskId(task), version, state, attempts: 0, tally, resume })
}

fn noted(text: String) -> Change {
    Change::Noted(Note { at: Time(1), kind: NoteKind::TaskAdded, prd: None, task: None, attempt: None, text })
}

fn prd() -> Change {
    let branch = |name: &str| ropewalk_core::id::BranchName::new(name).expect("a name");
    let prd = Prd {
        number: PrdNumber(1),
        project: ProjectId(1),
        key: ropewalk_core::id::PrdKey::new("PRD-001").expect("a key"),
        title: "Title".into(),
        state: PrdState::Active,
        wanted_branch: branch("feature/PRD-001"),
        branch: PrdBranch::Unplanned,
        settings: Settings::default(),
        has_own_key: false,
        is_collection: false,
        has_placeholders: false,
        created_at: Time(1),
        updated_at: Time(1),
    };
    Change::PrdPut { prd: Box::new(prd), content: Box::new(PrdContent::default()) }
}

fn story(position: u32, title: String) -> Change {
    let id = ropewalk_core::id::StoryId::new(&format!("US-{position}")).expect("an id");
    let task = TaskId(u64::from(position) + 1);
    let body = String::new();
    Change::StoryPut(Box::new(Story {
        prd: PrdNumber(1),
        position,
        id,
        title,
        task,
        claimed: false,
        body,
        hash: 1,
    }))
}

#[test]
fn sqlite_meets_every_demand() {
    let folder = tempfile::tempdir().expect("a folder");
    conformance::exercise(|name| open(&folder.path().join(name)));
}

#[test]
fn commits_of_many_threads_share_transactions() {
    const THREADS: u64 = 64;
    const COMMITS: u64 = 20;
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("db"));
    let start = Barrier::new(usize::try_from(THREADS).expect("few"));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (mut store, start) = (store.clone(), &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..COMMITS {
                    let id = thread * COMMITS + n + 1;
                    store.commit(&[put(task(id))]).expect("committed");
                    assert_eq!(
                        store.tasks_by_id(&[TaskId(id)]).expect("read").len(),
                        1,
                        "seen once acknowledged"
                    );
                }
            });
        }
    });
    let counts = store.write_counts();
    assert_eq!(counts.commits, THREADS * COMMITS);
    assert!(counts.transactions * 4 < counts.commits, "{counts:?}");
    assert_eq!(store.load().expect("load").tasks.len() as u64, THREADS * COMMITS);
}

#[test]
fn a_refused_commit_does_no_harm_to_those_that_share_its_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("db"));
    store.commit(&[put(task(1_000))]).expect("committed");
    let start = Barrier::new(32);
    thread::scope(|scope| {
        for id in 1..=32 {
            let (mut store, start) = (store.clone(), &start);
            scope.spawn(move || {
                start.wait();
                let stale = id % 2 == 0;
                let last = if stale { moved(1_000, 9) } else { noted(format!("{id}")) };
                let answer = store.commit(&[put(task(id)), last]);
                assert_eq!(matches!(answer, Err(StoreError::Refused { .. })), stale, "{answer:?}");
                assert_eq!(answer.is_ok(), !stale, "{answer:?}");
            });
        }
    });
    let there: Vec<_> = store.load().expect("load").tasks.iter().map(|task| task.id.0).collect();
    assert_eq!(there, (1..=32).filter(|id| id % 2 == 1).chain([1_000]).collect::<Vec<_>>());
    let notes = store.notes(&NoteFilter { after: 0, prd: None, task: None, limit: 99 }).expect("notes");
    assert_eq!(notes.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (1..=16).collect::<Vec<_>>());
}

#[test]
fn of_two_writers_on_one_file_neither_loses_an_update() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("db");
    let mut first = open(&path);
    first.commit(&[put(task(1))]).expect("committed");
    let second = open(&path);
    let won: u64 = thread::scope(|scope| {
        let race = |mut store: SqliteStore| {
            move || {
                let mut won = 0;
                for _ in 0..100 {
                    let version = store.tasks_by_id(&[TaskId(1)]).expect("read")[0].version;
                    match store.commit(&[moved(1, version + 1)]) {
                        Ok(()) => won += 1,
                        Err(StoreError::Refused { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                won
            }
        };
        let runners = [scope.spawn(race(first.clone())), scope.spawn(race(second.clone()))];
        runners.map(|runner| runner.join().expect("it ran")).iter().sum()
    });
    for store in [&first, &second] {
        assert_eq!(store.tasks_by_id(&[TaskId(1)]).expect("read")[0].version, won + 1);
    }
}

#[test]
fn a_reader_goes_on_beside_the_writer_and_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("db"));
    let reader = store.reader().expect("a reader");
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut last = 0;
            while last < 300 {
                let seen = reader.load().expect("load").last_task;
                assert!(seen >= last);
                last = seen;
            }
        });
        for id in 1..=300 {
            store.commit(&[put(task(id))]).expect("committed");
        }
    });
    drop(store);
    let reader = open(&folder.path().join("db")).reader().expect("a reader");
    assert_eq!(reader.load().expect("load").last_task, 300);
}

#[test]
fn files_are_for_their_owner_only_and_a_clean_end_leaves_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("a/b");
    let path = state.join("odd %3f?#é name.db");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let mut store = open(&path);
    store.commit(&[put(task(1))]).expect("committed");
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> = fs::read_dir(&state).expect("a folder").map(|e| e.expect("a file").path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    drop(store);
    assert_eq!(fs::read_dir(&state).expect("a folder").count(), 1);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("widened");
    let store = open(&path);
    assert_eq!((mode(&path), store.load().expect("load").last_task), (0o600, 1));
}

#[test]
fn the_log_keeps_its_size_while_the_store_is_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("db"));
    let size = || fs::metadata(folder.path().join("db-wal")).map_or(0, |meta| meta.len());
    let mut last = 0;
    for _ in 0..40 {
        store.commit(&[noted("x".repeat(1 << 20))]).expect("committed");
        assert!(size() >= last, "a checkpoint must not cut it");
        last = size();
    }
    assert!(last < 16 << 20, "checkpoints keep the log small: {last}");
}

#[test]
fn story_titles_are_searched_up_to_their_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("db"));
    let mut changes = vec![prd()];
    changes.extend((1..=4).map(|id| put(task(id))));
    let long = "filler ".repeat(STORY_TITLES_BYTES_MAX / 7 - 1);
    for (position, title) in (0..).zip(["early".to_owned(), long, "late".to_owned(), "later".to_owned()]) {
        changes.push(story(position, title));
    }
    store.commit(&changes).expect("committed");
    let found = |word| store.search(&Query::parse(word).expect("a word"), 9).expect("search").len();
    assert_eq!((found("early"), found("filler"), found("late"), found("later")), (1, 1, 1, 0));
}

#[test]
fn the_longest_searches_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(&folder.path().join("db"));
    store.commit(&[prd()]).expect("committed");
    let nested = format!("{}title{}", "(absent OR NOT (x ".repeat(7), "))".repeat(7));
    for query in ["title ".repeat(64), "title OR ".repeat(31) + "title", "NOT ".repeat(62) + "title", nested]
    {
        let parsed = Query::parse(&query).expect("a search");
        assert_eq!(store.search(&parsed, 9).expect(&query), [PrdNumber(1)], "{query}");
    }
}
