//! In which order a PRD's open stories can be worked off. Unaware of slots and of what runs.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use crate::graph::{Graph, Plan};
use crate::id::TaskId;
use crate::task::Task;

/// The tasks that are not final, in the order of the given ones: a plan's nodes.
pub fn open_tasks(tasks: &[Task]) -> Vec<&Task> {
    tasks.iter().filter(|task| !task.state.is_final()).collect()
}

/// Tells one state of a PRD from another as far as its plan goes: which tasks are open, what they depend on, how
/// urgent they are.
pub fn state_hash(tasks: &[Task]) -> u64 {
    let mut hasher = FxHasher::default();
    for task in open_tasks(tasks) {
        (task.id.0, task.priority.thousandths(), task.depends_on.len()).hash(&mut hasher);
        task.depends_on.iter().for_each(|on| on.0.hash(&mut hasher));
    }
    hasher.finish()
}

/// Batches of open tasks, by index into [`open_tasks`]: each depends on earlier batches only. Dependencies on tasks
/// that are final, or of another PRD, hold nothing back here.
///
/// # Errors
/// A cycle, as a path. None can be stored; it would be a defect.
pub fn plan(tasks: &[Task]) -> Result<Plan, Vec<u32>> {
    let open = open_tasks(tasks);
    let index: BTreeMap<TaskId, u32> = open.iter().zip(0..).map(|(task, at)| (task.id, at)).collect();
    let edges: Vec<(u32, u32)> = open
        .iter()
        .zip(0..)
        .flat_map(|(task, at)| task.depends_on.iter().filter_map(|on| index.get(on)).map(move |on| (at, *on)))
        .collect();
    Graph::build(open.len(), &edges).plan(|node| open[node as usize].priority)
}
