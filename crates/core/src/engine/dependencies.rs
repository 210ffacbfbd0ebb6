//! An edge is added to the live graph: a task that has not started waits for one more.

use std::collections::BTreeMap;

use super::refusals::conflict;
use super::{Engine, Step};
use crate::change::{Change, NoteKind};
use crate::command::{Answer, Done, Refusal, RefusalKind};
use crate::id::TaskId;
use crate::task::{Task, TaskKind, TaskState};

impl Engine {
    /// `stored`: the task's row, whose list of dependencies is whole; the live one lacks those that are done.
    pub(super) fn add_dependency(
        &mut self,
        step: &mut Step,
        id: TaskId,
        on: TaskId,
        stored: &[Task],
    ) -> Answer {
        let absent = |id| Refusal::new(RefusalKind::NotFound, format!("there is no task {id}"));
        let task = self.tasks.get(&id).map(|live| live.task.clone()).ok_or_else(|| absent(id))?;
        let before = self.tasks.get(&on).map(|live| live.task.state.clone()).ok_or_else(|| absent(on))?;
        let is_idle = matches!(task.state, TaskState::Blocked | TaskState::Ready { .. });
        if !is_idle || task.kind == TaskKind::Land {
            return Err(conflict(format!("task {id} is {}: it waits for nothing more", task.state.name())));
        }
        if matches!(before, TaskState::Cancelled { .. }) {
            return Err(conflict(format!("task {on} is cancelled: nothing would ever come after it")));
        }
        if let Some(path) = self.path(on, id) {
            let names: Vec<_> = [id].iter().chain(&path).map(TaskId::to_string).collect();
            return Err(conflict(format!("tasks would wait for each other: {}", names.join(" -> "))));
        }
        let mut depends_on = stored.iter().find(|row| row.id == id).unwrap_or(&task).depends_on.clone();
        if !depends_on.contains(&on) {
            depends_on.push(on);
            let edited = Task { state: TaskState::Blocked, version: task.version + 1, depends_on, ..task };
            self.emit(step, Change::TaskPut(Box::new(edited)));
            let about = self.about(id);
            self.note(step, NoteKind::TaskAdded, about, &format!("now waits for task {on} too"));
            self.settle(step, [id]);
        }
        Ok(Done::Changed { text: format!("task {id} waits for task {on}") })
    }

    /// The way from one task to another along dependencies, both included; `None` when there is none. Looks at no
    /// more than `from` can reach.
    fn path(&self, from: TaskId, to: TaskId) -> Option<Vec<TaskId>> {
        let mut came_from = BTreeMap::from([(from, from)]);
        let mut open = vec![from];
        while let Some(id) = open.pop() {
            if id == to {
                let mut path = vec![to];
                let mut at = to;
                while at != from {
                    at = came_from[&at];
                    path.push(at);
                }
                path.reverse();
                return Some(path);
            }
            for on in self.tasks.get(&id).map(|live| live.task.depends_on.as_slice()).unwrap_or_default() {
                came_from.entry(*on).or_insert_with(|| {
                    open.push(*on);
                    id
                });
            }
        }
        None
    }
}
