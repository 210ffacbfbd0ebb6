//! Turns requests into commands and views. Resolves names; has no rules of its own.

mod conflicts;
mod merges;

use std::path::Path;
use std::sync::MutexGuard;
use std::time::Duration;

use ropewalk_core::command::{AddTasks, Answer, Command, Place, Refusal, RefusalKind};
use ropewalk_core::engine::{Engine, Why};
use ropewalk_core::graph::PlanCache;
use ropewalk_core::id::{PrdKey, PrdNumber, ProjectId, StoryId, TaskId};
use ropewalk_core::plan;
use ropewalk_core::port::{NoteFilter, PrdFilter, Read, StoreError, TaskFilter};
use ropewalk_core::priority::Priority;
use ropewalk_core::row::Prd;
use ropewalk_core::search::Query;
use ropewalk_core::settings::Settings;
use ropewalk_core::task::{DoneHow, Task, TaskKind, TaskState};
use ropewalk_core::time::Time;
use ropewalk_core::view::{
    AttemptLine, Board, CheckpointLine, NoteLine, PlanView, PrdLine, PrdView, StoryLine, TaskLine, TaskView,
    name_of,
};
use ropewalk_store::SqliteReader;

use crate::api::{Ask, NewTasks, ProjectLine, Request, Response};
use crate::door::Door;
use crate::import;

/// Where requests are answered: a running engine, or one that exists for this question only.
pub(crate) trait Desk {
    fn command(&mut self, command: Command) -> Answer;
    fn board(&mut self) -> Result<Board, Refusal>;
    /// Waits for news; `false`: the engine has ended.
    fn wait(&mut self, seen: u64, timeout: Duration) -> bool;
    fn why(&mut self, task: TaskId) -> Result<Option<Why>, Refusal>;
    fn reader(&self) -> &SqliteReader;
    /// The state folder.
    fn home(&self) -> &Path;
    /// Plans of states that were asked for before.
    fn plans(&mut self) -> MutexGuard<'_, PlanCache>;
}

/// A running engine, and a reader of its store.
pub(crate) struct DoorDesk {
    pub(crate) door: Door,
    pub(crate) reader: SqliteReader,
}

fn ended() -> Refusal {
    Refusal::new(RefusalKind::Gone, "the engine has ended")
}

impl Desk for DoorDesk {
    fn command(&mut self, command: Command) -> Answer {
        self.door.ask(command)
    }

    fn board(&mut self) -> Result<Board, Refusal> {
        self.door.look(Board::of).ok_or_else(ended)
    }

    fn wait(&mut self, seen: u64, timeout: Duration) -> bool {
        self.door.wait(seen, timeout)
    }

    fn why(&mut self, task: TaskId) -> Result<Option<Why>, Refusal> {
        self.door.look(move |engine: &Engine, _: Time, _: u64| engine.why(task)).ok_or_else(ended)
    }

    fn reader(&self) -> &SqliteReader {
        &self.reader
    }

    fn home(&self) -> &Path {
        self.door.home()
    }

    fn plans(&mut self) -> MutexGuard<'_, PlanCache> {
        self.door.plans()
    }
}

pub(crate) fn answer(desk: &mut dyn Desk, ask: Ask) -> Response {
    match try_answer(desk, ask) {
        Ok(response) => response,
        Err(refusal) => Response::Refused(refusal),
    }
}

fn store_failed(error: StoreError) -> Refusal {
    Refusal::new(RefusalKind::Failed, error.to_string())
}

fn try_answer(desk: &mut dyn Desk, ask: Ask) -> Result<Response, Refusal> {
    let Ask { repository, request } = ask;
    let scope = Scope::find(desk, repository.as_deref())?;
    match request {
        Request::AddProject { top, base, settings } => {
            let common_dir = repository.ok_or_else(no_repository)?;
            done(desk.command(Command::AddProject { top, common_dir, base, settings }))
        }
        Request::Import(request) => {
            let project = scope.project.ok_or_else(no_repository)?;
            match import::read(*request, project)? {
                Ok(command) => done(desk.command(Command::ImportPrd(Box::new(command)))),
                Err(faults) => Ok(Response::Faults(faults)),
            }
        }
        Request::Approve { prd } => {
            let prd = scope.prd(desk, &prd)?.number;
            done(desk.command(Command::Approve { prd }))
        }
        Request::Hold { prd } => {
            let prd = scope.prd(desk, &prd)?.number;
            done(desk.command(Command::Hold { prd }))
        }
        Request::Review { task, verdict } => {
            let task = scope.task(desk, &task)?.id;
            done(desk.command(Command::Review { task, verdict }))
        }
        Request::Merges => merges::all(desk.reader()),
        Request::Conflicts => conflicts::all(desk),
        Request::Merge { task } => {
            let task = scope.task(desk, &task)?;
            merges::one(desk.reader(), &task)
        }
        Request::Diff { task, attempt, stat } => {
            let task = scope.task(desk, &task)?;
            merges::diff(desk, &task, attempt, stat)
        }
        Request::PrdsAtOnce { prds } => done(desk.command(Command::SetPrdsAtOnce { prds })),
        Request::Abandon { prd, reason } => {
            let prd = scope.prd(desk, &prd)?.number;
            done(desk.command(Command::Abandon { prd, reason }))
        }
        Request::Complete { prd, force } => {
            let prd = scope.prd(desk, &prd)?.number;
            done(desk.command(Command::Complete { prd, force }))
        }
        Request::Land { prd, partial } => {
            let prd = scope.prd(desk, &prd)?.number;
            done(desk.command(Command::Land { prd, partial }))
        }
        Request::AddTasks(request) => {
            let command = scope.new_tasks(desk, *request)?;
            done(desk.command(Command::AddTasks(Box::new(command))))
        }
        Request::AddDependency { task, on } => {
            let (task, on) = (scope.task(desk, &task)?.id, scope.task(desk, &on)?.id);
            done(desk.command(Command::AddDependency { task, on }))
        }
        Request::Cancel { tasks } => {
            let tasks =
                tasks.iter().map(|name| Ok(scope.task(desk, name)?.id)).collect::<Result<_, Refusal>>()?;
            done(desk.command(Command::Cancel { tasks }))
        }
        Request::Retry { task, from } => {
            let task = scope.task(desk, &task)?.id;
            done(desk.command(Command::Retry { task, from }))
        }
        Request::Checkpoint { task } => {
            let task = scope.task(desk, &task)?.id;
            done(desk.command(Command::Checkpoint { task }))
        }
        Request::Focus { on } => {
            let numbers = |names: Vec<String>| -> Result<Vec<PrdNumber>, Refusal> {
                names.iter().map(|name| Ok(scope.prd(desk, name)?.number)).collect()
            };
            let on = on.map(numbers).transpose()?;
            done(desk.command(Command::Focus { on }))
        }
        Request::FocusAlso { prd } => {
            let prd = scope.prd(desk, &prd)?.number;
            done(desk.command(Command::FocusAlso { prd }))
        }
        Request::Stop { grace_ms, then } => done(desk.command(Command::Stop { grace_ms, then })),
        Request::Samples { since, limit } => {
            let samples = desk.reader().samples(since, limit.min(SAMPLES_MAX)).map_err(store_failed)?;
            Ok(Response::Samples(samples))
        }
        Request::Board => Ok(Response::Board(Box::new(desk.board()?))),
        Request::Watch { seen, timeout_ms } => {
            if !desk.wait(seen, Duration::from_millis(timeout_ms.min(WATCH_MS_MAX))) {
                return Err(ended());
            }
            Ok(Response::Board(Box::new(desk.board()?)))
        }
        Request::Prds { states } => {
            let states = prd_states(&states)?;
            // A repository that is not known has none; without this it would be shown those of all others.
            if repository.is_some() && scope.project.is_none() {
                return Ok(Response::Prds(Vec::new()));
            }
            let filter = PrdFilter { project: scope.project, states };
            let rows = desk.reader().prds(&filter).map_err(store_failed)?;
            Ok(Response::Prds(rows.iter().map(|(prd, progress)| PrdLine::of(prd, progress, None)).collect()))
        }
        Request::Prd { prd } => {
            let number = scope.prd(desk, &prd)?.number;
            prd_view(desk.reader(), number)
        }
        Request::Plan { prd } => {
            let prd = scope.prd(desk, &prd)?;
            plan_view(desk, &prd)
        }
        Request::Search { text } => search(desk.reader(), &text),
        Request::Export { prd } => {
            let number = scope.prd(desk, &prd)?.number;
            export(desk.reader(), number)
        }
        Request::Tasks { prd, states, after, limit } => {
            let prd = prd.map(|name| scope.prd(desk, &name)).transpose()?.map(|prd| prd.number);
            let filter = TaskFilter {
                project: None,
                prd,
                states: task_states(&states)?,
                after: Some(TaskId(after)),
                limit: limit.min(LIST_MAX),
            };
            tasks(desk.reader(), &filter)
        }
        Request::Task { task } => {
            let task = scope.task(desk, &task)?;
            task_view(desk, task)
        }
        Request::Project { task } => {
            let id = match task {
                Some(task) => scope.task(desk, &task)?.project,
                None => scope.project,
            };
            let projects = desk.reader().projects().map_err(store_failed)?;
            let found = projects.into_iter().find(|project| Some(project.id) == id);
            let absent = || {
                Refusal::new(RefusalKind::NotFound, "nothing has been run for this repository yet")
                    .hint("ask from inside the repository, or name a task of it")
            };
            found.map(|row| Response::Project(ProjectLine::of(&row))).ok_or_else(absent)
        }
        Request::Notes { after, prd, limit } => {
            let prd = prd.map(|name| scope.prd(desk, &name)).transpose()?.map(|prd| prd.number);
            notes(desk.reader(), &NoteFilter { after, prd, task: None, limit: limit.min(LIST_MAX) })
        }
    }
}

/// The longest that a watcher is kept waiting: it asks again, which shows both sides that the other lives.
const WATCH_MS_MAX: u64 = 30_000;

/// Samples in one answer: a day of them, and a fifth more.
const SAMPLES_MAX: usize = 10_000;

/// Rows in one answer: a page, not the table.
const LIST_MAX: usize = 10_000;

/// Stories that `prd show` holds.
const STORIES_MAX: usize = 10_000;

fn done(answer: Answer) -> Result<Response, Refusal> {
    answer.map(Response::Done)
}

fn no_repository() -> Refusal {
    Refusal::new(RefusalKind::Invalid, "this is asked from outside any project")
        .hint("go into the repository, or run `ropewalk init` in it")
}

/// Where names are looked up.
struct Scope {
    project: Option<ProjectId>,
}

impl Scope {
    fn find(desk: &dyn Desk, repository: Option<&str>) -> Result<Scope, Refusal> {
        let Some(repository) = repository else { return Ok(Scope { project: None }) };
        let projects = desk.reader().projects().map_err(store_failed)?;
        Ok(Scope { project: projects.into_iter().find(|p| p.common_dir == repository).map(|p| p.id) })
    }

    /// A PRD by its key: the asker's project's first, else the only one of that key.
    fn prd(&self, desk: &dyn Desk, name: &str) -> Result<Prd, Refusal> {
        let absent = || {
            Refusal::new(RefusalKind::NotFound, format!("there is no PRD {name}"))
                .hint("`ropewalk prd list` shows all")
        };
        let key = PrdKey::new(name).map_err(|_| absent())?;
        let mut found = desk.reader().prds_by_key(&key).map_err(store_failed)?;
        if let Some(at) = found.iter().position(|prd| Some(prd.project) == self.project) {
            return Ok(found.swap_remove(at));
        }
        match found.len() {
            0 => Err(absent()),
            1 => Ok(found.swap_remove(0)),
            n => Err(Refusal::new(RefusalKind::Conflict, format!("{n} projects have a PRD {name}"))
                .hint("ask from inside the repository that you mean")),
        }
    }

    /// A task by its number, or a story's by PRD and id.
    fn task(&self, desk: &dyn Desk, name: &str) -> Result<Task, Refusal> {
        let absent = || {
            Refusal::new(RefusalKind::NotFound, format!("there is no task {name}"))
                .hint("a task is named by its number, or PRD/STORY; `ropewalk task list` shows all")
        };
        let id = match name.split_once('/') {
            Some((prd, story)) => {
                let prd = self.prd(desk, prd)?;
                let story = StoryId::new(story).map_err(|_| absent())?;
                desk.reader().story(prd.number, &story).map_err(store_failed)?.ok_or_else(absent)?.task
            }
            None => TaskId(name.parse().map_err(|_| absent())?),
        };
        desk.reader().tasks_by_id(&[id]).map_err(store_failed)?.into_iter().next().ok_or_else(absent)
    }

    fn new_tasks(&self, desk: &dyn Desk, request: NewTasks) -> Result<AddTasks, Refusal> {
        let invalid = |text: String| Refusal::new(RefusalKind::Invalid, text);
        let title = request.title.trim().to_owned();
        if title.is_empty() || title.contains('\0') {
            return Err(invalid("a task's text is blank or holds a NUL".into()));
        }
        let place = match (request.folder, self.project) {
            (Some(folder), project) => Place::Folder { project, folder },
            (None, Some(project)) => Place::Worktree { project },
            (None, None) => {
                return Err(no_repository().hint("or give --no-worktree for a plain command in this folder"));
            }
        };
        let priority = match request.priority {
            None => Priority::ABSENT,
            Some(word) => Priority::from_word(&word)
                .ok_or_else(|| invalid(format!("{word:?} is no priority; P0, P1, P2 or a number is")))?,
        };
        let after =
            request.after.iter().map(|name| Ok(self.task(desk, name)?.id)).collect::<Result<_, Refusal>>()?;
        let settings: Settings = request.settings;
        Ok(AddTasks { title, place, priority, after, count: request.count, settings })
    }
}

fn prd_states(names: &[String]) -> Result<Vec<&'static str>, Refusal> {
    const STATES: [&str; 4] = ["draft", "active", "completed", "abandoned"];
    known_states(names, &STATES)
}

fn task_states(names: &[String]) -> Result<Vec<&'static str>, Refusal> {
    const STATES: [&str; 7] = ["blocked", "ready", "leased", "landing", "done", "parked", "cancelled"];
    known_states(names, &STATES)
}

fn known_states(names: &[String], states: &[&'static str]) -> Result<Vec<&'static str>, Refusal> {
    let find = |name: &String| {
        states.iter().find(|state| state.eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
            let text = format!("{name:?} is no state; these are: {}", states.join(", "));
            Refusal::new(RefusalKind::Invalid, text)
        })
    };
    names.iter().map(find).collect()
}

fn prd_view(reader: &SqliteReader, number: PrdNumber) -> Result<Response, Refusal> {
    let Some((prd, content, progress)) = reader.prd(number).map_err(store_failed)? else {
        return Err(Refusal::new(RefusalKind::NotFound, format!("there is no PRD number {number}")));
    };
    let stories = reader.stories(number, 0, STORIES_MAX).map_err(store_failed)?;
    let ids: Vec<_> = stories.iter().map(|story| story.task).collect();
    let tasks = reader.tasks_by_id(&ids).map_err(store_failed)?;
    let by_id: std::collections::BTreeMap<_, _> = tasks.iter().map(|task| (task.id, task)).collect();
    let mut lines = Vec::with_capacity(stories.len());
    for story in &stories {
        let Some(task) = by_id.get(&story.task) else { continue };
        let first = match &task.state {
            TaskState::Done { how: DoneHow::Landed { .. }, .. } => {
                reader.attempts(task.id).map_err(store_failed)?.first().map(|attempt| attempt.created_at)
            }
            _ => None,
        };
        lines.push(StoryLine::of(story, task, first));
    }
    Ok(Response::Prd(Box::new(PrdView::of(&prd, &content, &progress, lines))))
}

fn plan_view(desk: &mut dyn Desk, prd: &Prd) -> Result<Response, Refusal> {
    let filter = TaskFilter {
        project: None,
        prd: Some(prd.number),
        states: Vec::new(),
        after: None,
        limit: usize::MAX,
    };
    let mut tasks = desk.reader().tasks(&filter).map_err(store_failed)?;
    tasks.retain(|task| task.kind != TaskKind::Land);
    let made = desk.plans().plan(plan::state_hash(&tasks), || plan::plan(&tasks));
    let made = made.map_err(|cycle| {
        let text = format!("the stored dependencies of {} hold a cycle of {} tasks", prd.key, cycle.len());
        Refusal::new(RefusalKind::Failed, text)
    })?;
    let open = plan::open_tasks(&tasks);
    let name = |node: &u32| {
        let task = open[*node as usize];
        task.story.as_ref().map_or_else(|| task.id.to_string(), ToString::to_string)
    };
    Ok(Response::Plan(Box::new(PlanView {
        prd: prd.key.to_string(),
        stories: open.len(),
        longest_chain: made.longest_chain(),
        max_parallelism: made.max_parallelism(),
        batches: made.batches.iter().map(|batch| batch.iter().map(name).collect()).collect(),
    })))
}

fn search(reader: &SqliteReader, text: &str) -> Result<Response, Refusal> {
    let query = Query::parse(text).map_err(|error| Refusal::new(RefusalKind::Invalid, error.to_string()))?;
    let numbers = reader.search(&query, LIST_MAX).map_err(store_failed)?;
    let mut lines = Vec::with_capacity(numbers.len());
    for number in numbers {
        let row = reader.prd(number).map_err(store_failed)?;
        lines.extend(row.map(|(prd, _, progress)| PrdLine::of(&prd, &progress, None)));
    }
    Ok(Response::Prds(lines))
}

fn export(reader: &SqliteReader, number: PrdNumber) -> Result<Response, Refusal> {
    let Some((_, content, _)) = reader.prd(number).map_err(store_failed)? else {
        return Err(Refusal::new(RefusalKind::NotFound, format!("there is no PRD number {number}")));
    };
    let stories = reader.stories(number, 0, usize::MAX).map_err(store_failed)?;
    let ids: Vec<_> = stories.iter().map(|story| story.task).collect();
    let tasks = reader.tasks_by_id(&ids).map_err(store_failed)?;
    let landed: std::collections::BTreeSet<_> = tasks
        .iter()
        .filter(|task| matches!(task.state, TaskState::Done { .. }))
        .map(|task| task.id)
        .collect();
    import::export(
        &content.shell,
        stories.iter().map(|story| (story.body.as_str(), landed.contains(&story.task))),
    )
    .map(Response::Text)
}

fn tasks(reader: &SqliteReader, filter: &TaskFilter) -> Result<Response, Refusal> {
    let rows = reader.tasks(filter).map_err(store_failed)?;
    let mut prds = Prds::default();
    let mut lines = Vec::with_capacity(rows.len());
    for task in &rows {
        let prd = prds.get(reader, task)?;
        lines.push(TaskLine::of(task, prd));
    }
    Ok(Response::Tasks(lines))
}

/// PRDs met while a list is written, each read once.
#[derive(Default)]
struct Prds(std::collections::BTreeMap<PrdNumber, Option<Prd>>);

impl Prds {
    fn get(&mut self, reader: &SqliteReader, task: &Task) -> Result<Option<&Prd>, Refusal> {
        let Some(number) = task.prd else { return Ok(None) };
        if let std::collections::btree_map::Entry::Vacant(entry) = self.0.entry(number) {
            entry.insert(reader.prd(number).map_err(store_failed)?.map(|(prd, _, _)| prd));
        }
        Ok(self.0.get(&number).and_then(Option::as_ref))
    }
}

fn task_view(desk: &mut dyn Desk, task: Task) -> Result<Response, Refusal> {
    let live = desk.why(task.id)?;
    let reader = desk.reader();
    let mut prds = Prds::default();
    let prd = prds.get(reader, &task)?;
    let attempts = reader.attempts(task.id).map_err(store_failed)?;
    let candidates = reader.candidates(task.id).map_err(store_failed)?;
    let line = TaskLine::of(&task, prd);
    let attempts_made = attempts
        .iter()
        .map(|attempt| {
            AttemptLine::of(attempt, candidates.iter().find(|candidate| candidate.id == attempt.id))
        })
        .collect();
    let why = live.unwrap_or_else(|| {
        let remark = if line.remark.is_empty() { line.state.clone() } else { line.remark.clone() };
        Why { state: line.state.clone(), reasons: vec![remark], next: Vec::new() }
    });
    let checkpoints = reader.checkpoints(task.id).map_err(store_failed)?;
    let checkpoints = checkpoints.iter().map(CheckpointLine::of).collect();
    let depends_on = task.depends_on.clone();
    Ok(Response::Task(Box::new(TaskView { line, depends_on, attempts_made, checkpoints, why })))
}

fn notes(reader: &SqliteReader, filter: &NoteFilter) -> Result<Response, Refusal> {
    let rows = reader.notes(filter).map_err(store_failed)?;
    let mut prds = Prds::default();
    let mut lines = Vec::with_capacity(rows.len());
    for (sequence, note) in rows {
        let task = match note.task {
            Some(id) => reader.tasks_by_id(&[id]).map_err(store_failed)?.into_iter().next(),
            None => None,
        };
        let name = match (&task, note.prd) {
            (Some(task), _) => name_of(task, prds.get(reader, task)?),
            (None, Some(number)) => reader
                .prd(number)
                .map_err(store_failed)?
                .map(|(prd, _, _)| prd.key.to_string())
                .unwrap_or_default(),
            (None, None) => String::new(),
        };
        let what = note.kind.name().to_owned();
        lines.push(NoteLine { sequence, at: note.at, what, name, attempt: note.attempt, text: note.text });
    }
    Ok(Response::Notes(lines))
}

/// The answer to a command that only a running engine can carry out.
pub(crate) fn is_for_engine(request: &Request) -> bool {
    matches!(
        request,
        Request::Focus { .. }
            | Request::FocusAlso { .. }
            | Request::Checkpoint { .. }
            | Request::Stop { .. }
            | Request::Watch { .. }
    )
}
