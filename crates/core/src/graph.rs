//! Dependency graphs. Knows numbered nodes and edges "node depends on dependency"; unaware of stories, tasks
//! and what a node stands for.
//!
//! A [`Graph`] is built once, asked, and thrown away; the engine keeps the live counts itself. Nothing here
//! recurses: a chain of a million nodes needs no more stack than a chain of two.

use std::sync::Arc;

/// A graph over the nodes `0..n` in compressed sparse rows: one allocation per array.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Where each node's row begins in `on`; one more than there are nodes.
    rows: Vec<u32>,
    /// What the nodes depend on, row by row, in the order the edges were given.
    on: Vec<u32>,
}

/// In which order nodes may be worked off: each batch depends on earlier ones only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each sorted by priority, then by index.
    pub batches: Vec<Vec<u32>>,
}

impl Plan {
    /// Nodes of the longest chain of dependencies: no parallelism needs fewer steps.
    pub fn longest_chain(&self) -> usize {
        self.batches.len()
    }

    /// The largest batch: slots beyond it stay empty.
    pub fn max_parallelism(&self) -> usize {
        self.batches.iter().map(Vec::len).max().unwrap_or(0)
    }
}

impl Graph {
    /// Builds a graph of `nodes` nodes from edges `(node, what it depends on)`. Edges that name no node are
    /// left out; an edge given twice counts twice. O(nodes + edges), a counting sort.
    pub fn build(nodes: usize, edges: &[(u32, u32)]) -> Graph {
        let within = |edge: &&(u32, u32)| (edge.0 as usize) < nodes && (edge.1 as usize) < nodes;
        let mut rows = vec![0_u32; nodes + 1];
        for (node, _) in edges.iter().filter(within) {
            rows[*node as usize + 1] += 1;
        }
        for index in 1..rows.len() {
            rows[index] += rows[index - 1];
        }
        let mut next = rows.clone();
        let mut on = vec![0; rows[nodes] as usize];
        for (node, dependency) in edges.iter().filter(within) {
            on[next[*node as usize] as usize] = *dependency;
            next[*node as usize] += 1;
        }
        Graph { rows, on }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.rows.len() - 1
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a node depends on.
    pub fn dependencies(&self, node: u32) -> &[u32] {
        &self.on[self.rows[node as usize] as usize..self.rows[node as usize + 1] as usize]
    }

    /// One cycle as a path along dependencies, its first node repeated at the end. O(nodes + edges).
    pub fn cycle(&self) -> Option<Vec<u32>> {
        self.cycles(1).pop()
    }

    /// Up to `cycles_max` cycles, at least one of each knot of nodes that depend on each other; each begins
    /// with its lowest node. A depth-first search with its stack on the heap: O(nodes + edges), and the
    /// lengths of the cycles.
    pub fn cycles(&self, cycles_max: usize) -> Vec<Vec<u32>> {
        const UNSEEN: u8 = 0;
        const OPEN: u8 = 1;
        const CLOSED: u8 = 2;
        let mut seen = vec![UNSEEN; self.len()];
        let mut next = self.rows.clone();
        let mut path: Vec<u32> = Vec::new();
        let mut cycles = Vec::new();
        for root in 0..self.len() {
            if seen[root] != UNSEEN {
                continue;
            }
            seen[root] = OPEN;
            path.push(root as u32);
            while let Some(&node) = path.last() {
                let at = next[node as usize];
                if at == self.rows[node as usize + 1] {
                    seen[node as usize] = CLOSED;
                    path.pop();
                    continue;
                }
                next[node as usize] += 1;
                let dependency = self.on[at as usize];
                match seen[dependency as usize] {
                    UNSEEN => {
                        seen[dependency as usize] = OPEN;
                        path.push(dependency);
                    }
                    OPEN => {
                        let start = path.iter().rposition(|&on_path| on_path == dependency).unwrap_or(0);
                        cycles.push(close_cycle(&path[start..]));
                        if cycles.len() >= cycles_max {
                            return cycles;
                        }
                    }
                    _ => {}
                }
            }
        }
        cycles
    }

    /// Layers the graph (Kahn, "Topological sorting of large networks", 1962). O(nodes + edges), and the
    /// sorting of each batch.
    ///
    /// # Errors
    /// A cycle, as [`Graph::cycle`] gives it.
    pub fn plan<K: Ord>(&self, priority: impl Fn(u32) -> K) -> Result<Plan, Vec<u32>> {
        let nodes = || 0..self.len() as u32;
        let reversed: Vec<(u32, u32)> =
            nodes().flat_map(|node| self.dependencies(node).iter().map(move |&on| (on, node))).collect();
        let dependants = Graph::build(self.len(), &reversed);
        let mut unmet: Vec<usize> = nodes().map(|node| self.dependencies(node).len()).collect();
        let mut plan = Plan::default();
        let mut planned = 0;
        let mut batch: Vec<u32> = nodes().filter(|&node| unmet[node as usize] == 0).collect();
        while !batch.is_empty() {
            batch.sort_by_cached_key(|&node| (priority(node), node));
            let mut following = Vec::new();
            for &dependant in batch.iter().flat_map(|&node| dependants.dependencies(node)) {
                unmet[dependant as usize] -= 1;
                if unmet[dependant as usize] == 0 {
                    following.push(dependant);
                }
            }
            planned += batch.len();
            plan.batches.push(std::mem::replace(&mut batch, following));
        }
        if planned == self.len() { Ok(plan) } else { Err(self.cycle().unwrap_or_default()) }
    }
}

/// Turns the nodes of a cycle so that the lowest stands first, and repeats it at the end.
fn close_cycle(nodes: &[u32]) -> Vec<u32> {
    let lowest = nodes.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(index, _)| index);
    let mut cycle = Vec::with_capacity(nodes.len() + 1);
    cycle.extend_from_slice(&nodes[lowest..]);
    cycle.extend_from_slice(&nodes[..lowest]);
    cycle.extend(cycle.first().copied());
    cycle
}

/// Plans kept: one for each PRD that people look at in turn, with room.
pub const PLANS_KEPT_MAX: usize = 32;

/// Plans by the hash of the state they were made from, so that a question asked again costs a look-up.
/// The least recently used goes first.
#[derive(Clone, Debug, Default)]
pub struct PlanCache {
    /// Most recently used last.
    kept: Vec<(u64, Arc<Plan>)>,
}

impl PlanCache {
    /// The plan of a state: the one kept, or what `plan` makes. O([`PLANS_KEPT_MAX`]) when kept.
    ///
    /// # Errors
    /// What `plan` answers; it is not kept.
    pub fn plan<E>(&mut self, state: u64, plan: impl FnOnce() -> Result<Plan, E>) -> Result<Arc<Plan>, E> {
        let entry = match self.kept.iter().position(|(kept, _)| *kept == state) {
            Some(index) => self.kept.remove(index),
            None => (state, Arc::new(plan()?)),
        };
        if self.kept.len() >= PLANS_KEPT_MAX {
            self.kept.remove(0);
        }
        let plan = Arc::clone(&entry.1);
        self.kept.push(entry);
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use petgraph::graph::DiGraph;
    use proptest::prelude::*;

    use super::*;

    fn edges(nodes: u32, edges_max: usize) -> impl Strategy<Value = Vec<(u32, u32)>> {
        prop::collection::vec((0..nodes, 0..nodes), 0..edges_max)
    }

    fn assert_is_cycle(cycle: &[u32], given: &[(u32, u32)]) {
        assert!(cycle.len() >= 2 && cycle.first() == cycle.last(), "{cycle:?}");
        for pair in cycle.windows(2) {
            assert!(given.contains(&(pair[0], pair[1])), "{pair:?} of {cycle:?} is no edge");
        }
    }

    proptest! {
        #[test]
        fn cycles_are_found_where_petgraph_finds_them(given in edges(12, 24)) {
            let mut theirs = DiGraph::<(), (), u32>::from_edges(given.iter().copied());
            while theirs.node_count() < 12 {
                theirs.add_node(());
            }
            let graph = Graph::build(12, &given);
            match graph.cycle() {
                Some(cycle) => {
                    prop_assert!(petgraph::algo::is_cyclic_directed(&theirs));
                    assert_is_cycle(&cycle, &given);
                    prop_assert!(graph.plan(|_| ()).is_err());
                    graph.cycles(5).iter().for_each(|cycle| assert_is_cycle(cycle, &given));
                }
                None => prop_assert!(!petgraph::algo::is_cyclic_directed(&theirs)),
            }
        }

        #[test]
        fn plans_place_every_node_once_right_behind_its_last_dependency(given in edges(14, 30)) {
            let given: Vec<(u32, u32)> = given.into_iter().filter(|(node, on)| node > on).collect();
            let plan = Graph::build(14, &given).plan(|node| node % 3).expect("edges lead to lower nodes only");
            let batch_of = |node: u32| plan.batches.iter().position(|batch| batch.contains(&node)).expect("planned");
            prop_assert_eq!(plan.batches.iter().map(Vec::len).sum::<usize>(), 14);
            for node in 0..14 {
                let last = given.iter().filter(|(n, _)| *n == node).map(|(_, on)| batch_of(*on) + 1).max();
                prop_assert_eq!(batch_of(node), last.unwrap_or(0));
            }
            prop_assert!(plan.batches.iter().all(|batch| batch.is_sorted_by_key(|node| (node % 3, *node))));
        }

    }

    #[test]
    fn a_cycle_is_told_along_its_dependencies() {
        let graph = Graph::build(5, &[(4, 2), (2, 1), (1, 3), (3, 2)]);
        assert_eq!(graph.cycle(), Some(vec![1, 3, 2, 1]));
    }

    #[test]
    fn long_chains_need_no_stack() {
        let count = 1_000_000;
        let mut edges: Vec<(u32, u32)> = (1..count).map(|node| (node - 1, node)).collect();
        let plan = Graph::build(count as usize, &edges).plan(|_| ()).expect("a chain has no cycle");
        assert_eq!((plan.longest_chain(), plan.max_parallelism()), (count as usize, 1));
        edges.push((count - 1, 0));
        assert_eq!(
            Graph::build(count as usize, &edges).cycle().map(|cycle| cycle.len()),
            Some(count as usize + 1)
        );
    }

    #[test]
    fn a_plan_asked_for_again_is_not_made_again() {
        let mut cache = PlanCache::default();
        let made = std::cell::Cell::new(0);
        let mut ask = |state: u64| {
            let plan = cache.plan(state, || {
                made.set(made.get() + 1);
                Graph::build(state as usize, &[]).plan(|_| ())
            });
            plan.expect("no edges").max_parallelism()
        };
        assert_eq!((ask(3), ask(3), made.get()), (3, 3, 1));
        (10..10 + PLANS_KEPT_MAX as u64).for_each(|state| _ = ask(state));
        assert_eq!((ask(3), made.get()), (3, PLANS_KEPT_MAX as i32 + 2));
    }
}
