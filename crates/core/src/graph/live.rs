//! A graph that changes while it is worked off. Knows what each node waits for and in which order nodes may
//! go; unaware of what working off a node means.

use std::collections::BTreeSet;

use super::Graph;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Taken,
    Complete,
}

#[derive(Clone, Debug)]
struct LiveNode<K> {
    priority: K,
    /// Its place in a topological order: behind all that it depends on.
    order: u32,
    on: Vec<u32>,
    dependants: Vec<u32>,
    /// Edges to nodes that are not complete. An edge given twice counts twice.
    unmet: u32,
    progress: Progress,
}

/// A graph that changes while it is worked off: it counts what each node waits for, serves the ready ones by
/// priority, and never holds a cycle.
#[derive(Clone, Debug)]
pub struct LiveGraph<K> {
    nodes: Vec<LiveNode<K>>,
    ready: BTreeSet<(K, u32)>,
}

impl<K> Default for LiveGraph<K> {
    fn default() -> Self {
        LiveGraph { nodes: Vec::new(), ready: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> LiveGraph<K> {
    /// Builds a graph of many nodes at once, numbered in the order of their priorities. O(nodes + edges)
    /// where edges added one by one against their numbering may cost the square of that.
    ///
    /// # Errors
    /// A cycle, as [`Graph::cycle`] gives it, or an empty path for an edge that names no node.
    pub fn build(priorities: impl IntoIterator<Item = K>, edges: &[(u32, u32)]) -> Result<Self, Vec<u32>> {
        let mut live = LiveGraph::default();
        for priority in priorities {
            live.add_node(priority);
        }
        let plan = Graph::build(live.nodes.len(), edges).plan(|_| ())?;
        for (order, node) in (0..).zip(plan.batches.into_iter().flatten()) {
            live.at(node).order = order;
        }
        edges.iter().try_for_each(|&(node, on)| live.add_edge(node, on))?;
        Ok(live)
    }

    /// Adds a node that depends on nothing, hence ready; answers with its index, counted from 0. O(log ready).
    pub fn add_node(&mut self, priority: K) -> u32 {
        let index = self.nodes.len() as u32;
        self.ready.insert((priority.clone(), index));
        self.nodes.push(LiveNode {
            priority,
            order: index,
            on: Vec::new(),
            dependants: Vec::new(),
            unmet: 0,
            progress: Progress::Waiting,
        });
        index
    }

    /// Makes `node` depend on `on`. A ready node stops being ready unless `on` is complete; one that was
    /// taken goes on.
    ///
    /// O(1) when the order holds already. Otherwise only nodes between the two in the order are searched and
    /// moved (Pearce and Kelly, "A dynamic topological sort algorithm for directed acyclic graphs", ACM
    /// Journal of Experimental Algorithmics 11, 2006).
    ///
    /// # Errors
    /// The cycle that the edge would close, as a path along dependencies with its first node repeated at
    /// the end; the graph stays as it was. An index without a node is a mistake of the caller's and answered
    /// with an empty path.
    pub fn add_edge(&mut self, node: u32, on: u32) -> Result<(), Vec<u32>> {
        if node.max(on) as usize >= self.nodes.len() {
            return Err(Vec::new());
        }
        if node == on {
            return Err(vec![node, node]);
        }
        if self.order(on) > self.order(node) {
            self.reorder(node, on)?;
        }
        self.at(node).on.push(on);
        self.at(on).dependants.push(node);
        if self.nodes[on as usize].progress != Progress::Complete {
            let waiting = self.at(node);
            waiting.unmet += 1;
            let entry = (waiting.priority.clone(), node);
            self.ready.remove(&entry);
        }
        Ok(())
    }

    /// Marks a node complete and gives the nodes that became ready by it, in the order of their edges.
    /// Nothing where it is complete already. O(its dependants), and O(log ready) for each that is ready now.
    pub fn complete(&mut self, node: u32) -> Vec<u32> {
        let Some(done) = self.nodes.get_mut(node as usize) else { return Vec::new() };
        if std::mem::replace(&mut done.progress, Progress::Complete) == Progress::Complete {
            return Vec::new();
        }
        let entry = (done.priority.clone(), node);
        let dependants = std::mem::take(&mut done.dependants);
        self.ready.remove(&entry);
        let mut freed = Vec::new();
        for &dependant in &dependants {
            let waiting = self.at(dependant);
            waiting.unmet -= 1;
            if waiting.unmet == 0 && waiting.progress == Progress::Waiting {
                let entry = (waiting.priority.clone(), dependant);
                self.ready.insert(entry);
                freed.push(dependant);
            }
        }
        self.at(node).dependants = dependants;
        freed
    }

    /// Takes the most urgent ready node (lowest priority, then lowest index). O(log ready).
    pub fn take_ready(&mut self) -> Option<u32> {
        let (_, node) = self.ready.pop_first()?;
        self.at(node).progress = Progress::Taken;
        Some(node)
    }

    /// The ready nodes that nobody took, most urgent first.
    pub fn ready(&self) -> impl Iterator<Item = u32> + '_ {
        self.ready.iter().map(|(_, node)| *node)
    }

    /// Edges of a node to nodes that are not complete.
    pub fn unmet(&self, node: u32) -> u32 {
        self.nodes.get(node as usize).map_or(0, |node| node.unmet)
    }

    fn at(&mut self, node: u32) -> &mut LiveNode<K> {
        &mut self.nodes[node as usize]
    }

    fn order(&self, node: u32) -> u32 {
        self.nodes[node as usize].order
    }

    /// Moves `on` and what it depends on before `node` and what depends on it, within the places they hold.
    fn reorder(&mut self, node: u32, on: u32) -> Result<(), Vec<u32>> {
        let (low, high) = (self.order(node), self.order(on));
        let forward = self.reach(node, |live| &live.dependants, |order| order <= high);
        if let Some(end) = forward.iter().position(|(reached, _)| *reached == on) {
            return Err(self.path_back(&forward, end));
        }
        let backward = self.reach(on, |live| &live.on, |order| order >= low);
        let in_order = |found: Vec<(u32, usize)>| {
            let mut nodes: Vec<u32> = found.into_iter().map(|(node, _)| node).collect();
            nodes.sort_unstable_by_key(|&node| self.order(node));
            nodes
        };
        let moved = [in_order(backward), in_order(forward)].concat();
        let mut places: Vec<u32> = moved.iter().map(|&node| self.order(node)).collect();
        places.sort_unstable();
        for (node, place) in moved.into_iter().zip(places) {
            self.at(node).order = place;
        }
        Ok(())
    }

    /// All nodes that can be reached within the bound, each with the position of the one it was reached from.
    fn reach(
        &self,
        from: u32,
        neighbours: impl Fn(&LiveNode<K>) -> &Vec<u32>,
        within: impl Fn(u32) -> bool,
    ) -> Vec<(u32, usize)> {
        let mut seen = BTreeSet::from([from]);
        let mut reached = vec![(from, 0)];
        let mut next = 0;
        while let Some(&(node, _)) = reached.get(next) {
            for &neighbour in neighbours(&self.nodes[node as usize]) {
                if within(self.order(neighbour)) && seen.insert(neighbour) {
                    reached.push((neighbour, next));
                }
            }
            next += 1;
        }
        reached
    }

    /// The path from the reached node at `end` back to the start, closed by the edge that was asked for.
    fn path_back(&self, reached: &[(u32, usize)], end: usize) -> Vec<u32> {
        let mut at = end;
        let mut path = vec![reached[0].0];
        while at != 0 {
            path.push(reached[at].0);
            at = reached[at].1;
        }
        path.push(reached[0].0);
        path
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_is_cycle(cycle: &[u32], given: &[(u32, u32)]) {
        assert!(cycle.len() >= 2 && cycle.first() == cycle.last(), "{cycle:?}");
        for pair in cycle.windows(2) {
            assert!(given.contains(&(pair[0], pair[1])), "{pair:?} of {cycle:?} is no edge");
        }
    }

    proptest! {
        #[test]
        fn a_live_graph_agrees_with_one_built_anew(
            steps in prop::collection::vec((0_u8..8, 0_u32..10, 0_u32..10), 1..80)
        ) {
            let priority = |node: u32| (7 * node) % 4;
            let mut live = LiveGraph::default();
            for node in 0..10 {
                prop_assert_eq!(live.add_node(priority(node)), node);
            }
            let mut given: Vec<(u32, u32)> = Vec::new();
            let (mut complete, mut taken) = (BTreeSet::new(), BTreeSet::new());
            for (kind, a, b) in steps {
                match kind {
                    0 => {
                        let before: Vec<u32> = live.ready().collect();
                        let freed = live.complete(a);
                        complete.insert(a);
                        prop_assert!(freed.iter().all(|node| !before.contains(node)));
                    }
                    1 => {
                        let first = live.ready().next();
                        prop_assert_eq!(live.take_ready(), first);
                        taken.extend(first);
                    }
                    _ => {
                        let with = [given.as_slice(), &[(a, b)]].concat();
                        match live.add_edge(a, b) {
                            Ok(()) => {
                                prop_assert_eq!(Graph::build(10, &with).cycle(), None);
                                given = with;
                            }
                            Err(cycle) => assert_is_cycle(&cycle, &with),
                        }
                    }
                }
                let unmet = |node: u32| given.iter().filter(|(n, on)| *n == node && !complete.contains(on)).count();
                let mut ready: Vec<u32> = (0..10)
                    .filter(|&node| unmet(node) == 0 && !complete.contains(&node) && !taken.contains(&node))
                    .collect();
                ready.sort_by_key(|&node| (priority(node), node));
                prop_assert_eq!(live.ready().collect::<Vec<_>>(), ready);
                for node in 0..10 {
                    prop_assert_eq!(live.unmet(node) as usize, unmet(node));
                }
            }
        }
    }

    #[test]
    fn a_refused_edge_tells_the_cycle_it_would_close() {
        let mut live = LiveGraph::default();
        (0..3).for_each(|_| _ = live.add_node(()));
        assert_eq!((live.add_edge(1, 0), live.add_edge(2, 1)), (Ok(()), Ok(())));
        assert_eq!(live.add_edge(0, 2), Err(vec![0, 2, 1, 0]));
        assert_eq!(live.add_edge(1, 1), Err(vec![1, 1]));
        assert_eq!(live.add_edge(1, 9), Err(vec![]));
    }

    #[test]
    fn a_live_chain_of_100_000_is_worked_off_in_order() {
        let mut live = LiveGraph::default();
        let count = 100_000;
        for node in 0..count {
            live.add_node(count - node);
            if node > 0 {
                assert_eq!(live.add_edge(node, node - 1), Ok(()));
            }
        }
        for node in 0..count {
            assert_eq!(live.take_ready(), Some(node));
            assert_eq!(live.complete(node).len(), usize::from(node + 1 < count));
        }
        assert_eq!(live.take_ready(), None);
    }

    #[test]
    fn a_live_chain_against_the_numbering_is_built_at_once() {
        let count = 100_000;
        let edges: Vec<(u32, u32)> = (1..count).map(|node| (node - 1, node)).collect();
        let mut live = LiveGraph::build((0..count).map(|_| ()), &edges).expect("a chain has no cycle");
        assert_eq!(live.ready().collect::<Vec<_>>(), [count - 1]);
        assert_eq!(live.add_edge(count - 1, 0).map_err(|cycle| cycle.len()), Err(count as usize + 1));
    }
}
