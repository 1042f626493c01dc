//! Immediate dominators by the semi-NCA algorithm (Georgiadis, *Linear-Time Algorithms for Dominators and
//! Related Problems*, Princeton 2005, section 2.2).
//!
//! All work arrays are in the order of the depth-first search, which is also the order of the result:
//! a dominator stands before what it dominates. Nothing is recursive.

use crate::bits::Bits;

/// A graph whose edges are grouped by where they start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Graph<'a> {
    /// First edge of each node, and the number of edges.
    pub(crate) first_edge: &'a [u32],
    pub(crate) to: &'a [u32],
    /// The edges that count.
    pub(crate) essential: &'a Bits,
    pub(crate) root: u32,
}

/// The dominator tree.
#[derive(Debug)]
pub(crate) struct Dominators {
    /// Immediate dominator of each node; the root's is itself.
    pub(crate) immediate: Vec<u32>,
    /// All nodes, each after its dominator; the root first.
    pub(crate) order: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Graph<'_> {
    fn nodes(&self) -> u32 {
        self.first_edge.len() as u32 - 1
    }

    fn range(&self, node: u32) -> std::ops::Range<u32> {
        self.first_edge[node as usize]..self.first_edge[node as usize + 1]
    }

    /// Essential successors of `node`.
    fn successors(&self, node: u32) -> impl Iterator<Item = u32> {
        self.range(node)
            .filter(|edge| self.essential.contains(*edge))
            .map(|edge| self.to[edge as usize])
    }
}

/// A depth-first search: numbers by node, nodes by number, parents by number.
struct Search {
    number: Vec<u32>,
    order: Vec<u32>,
    parent: Vec<u32>,
    stack: Vec<(u32, u32)>,
}

impl Search {
    fn visit(&mut self, graph: &Graph<'_>, start: u32) {
        self.enter(start, 0);
        self.stack.push((start, graph.first_edge[start as usize]));
        while let Some((node, next)) = self.stack.last_mut() {
            let node = *node;
            let end = graph.first_edge[node as usize + 1];
            let mut found = None;
            while *next < end {
                let edge = *next;
                *next += 1;
                if graph.essential.contains(edge) {
                    let to = graph.to[edge as usize];
                    if self.number[to as usize] == NONE {
                        found = Some(to);
                        break;
                    }
                }
            }
            match found {
                Some(to) => {
                    self.enter(to, self.number[node as usize]);
                    self.stack.push((to, graph.first_edge[to as usize]));
                }
                None => {
                    self.stack.pop();
                }
            }
        }
    }

    fn enter(&mut self, node: u32, parent: u32) {
        self.number[node as usize] = self.order.len() as u32;
        self.order.push(node);
        self.parent.push(parent);
    }
}

/// The dominator tree of `graph`.
///
/// Nodes that the root does not reach are its children, as in `DevTools`: first those that nothing retains,
/// with what is reachable from them; then, each by itself, those that retain one another.
pub(crate) fn compute(graph: &Graph<'_>) -> Dominators {
    let count = graph.nodes();
    let mut search = Search {
        number: vec![NONE; count as usize],
        order: Vec::with_capacity(count as usize),
        parent: Vec::with_capacity(count as usize),
        stack: Vec::new(),
    };
    search.visit(graph, graph.root);
    if search.order.len() < count as usize {
        let mut retained = Bits::new(count as usize);
        for node in 0..count {
            for to in graph.successors(node) {
                retained.insert(to);
            }
        }
        for node in 0..count {
            if search.number[node as usize] == NONE && !retained.contains(node) {
                search.visit(graph, node);
            }
        }
    }
    let Search {
        number,
        mut order,
        parent,
        ..
    } = search;
    let (first, predecessors) = predecessors(graph, &number, &parent);
    let reached = order.len();
    order.extend((0..count).filter(|node| number[*node as usize] == NONE));
    drop(number);
    let immediate = semi_nca(parent, &first, &predecessors);
    drop((first, predecessors));
    let mut by_node = vec![graph.root; count as usize];
    for (node, dominator) in order[..reached].iter().zip(&immediate) {
        by_node[*node as usize] = order[*dominator as usize];
    }
    Dominators {
        immediate: by_node,
        order,
    }
}

/// Predecessors by number, but those that are the parent in the search: a quarter of all edges that adds
/// nothing.
fn predecessors(graph: &Graph<'_>, number: &[u32], parent: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0_u32; parent.len() + 1];
    for_each_pair(graph, number, parent, |to, _| first[to] += 1);
    let mut sum = 0;
    for entry in &mut first {
        sum += *entry;
        *entry = sum;
    }
    let mut list = vec![0_u32; sum as usize];
    // Filled from the back, so that each entry ends as the first place of its node.
    for_each_pair(graph, number, parent, |to, from| {
        first[to] -= 1;
        list[first[to] as usize] = from;
    });
    (first, list)
}

fn for_each_pair(
    graph: &Graph<'_>,
    number: &[u32],
    parent: &[u32],
    mut take: impl FnMut(usize, u32),
) {
    for node in 0..graph.nodes() {
        let from = number[node as usize];
        if from == NONE {
            continue;
        }
        for to in graph.successors(node) {
            let to = number[to as usize] as usize;
            if to != 0 && parent[to] != from {
                take(to, from);
            }
        }
    }
}

/// A vertex of the forest of processed vertices.
#[derive(Clone, Copy)]
struct Link {
    ancestor: u32,
    /// The smallest semidominator on the way to the ancestor.
    best: u32,
}

/// Immediate dominators by number, from parents by number.
fn semi_nca(mut parent: Vec<u32>, first: &[u32], predecessors: &[u32]) -> Vec<u32> {
    let mut semi = vec![0_u32; parent.len()];
    let mut links: Vec<Link> = parent
        .iter()
        .map(|parent| Link {
            ancestor: *parent,
            best: NONE,
        })
        .collect();
    let mut stack = Vec::new();
    for vertex in (1..parent.len() as u32).rev() {
        let at = vertex as usize;
        let mut smallest = parent[at];
        for from in &predecessors[first[at] as usize..first[at + 1] as usize] {
            let candidate = if *from <= vertex {
                *from
            } else {
                evaluate(&mut links, &mut stack, *from, vertex)
            };
            smallest = smallest.min(candidate);
        }
        semi[at] = smallest;
        links[at].best = smallest;
    }
    drop(links);
    // The dominator is the nearest ancestor in the dominator tree that is not below the semidominator.
    for at in 1..parent.len() {
        let mut dominator = parent[at];
        while dominator > semi[at] {
            dominator = parent[dominator as usize];
        }
        parent[at] = dominator;
    }
    parent
}

/// The smallest semidominator from `vertex` up to where the forest ends, which is at vertices up to `last`.
fn evaluate(links: &mut [Link], stack: &mut Vec<u32>, vertex: u32, last: u32) -> u32 {
    let mut top = vertex;
    while links[top as usize].ancestor > last {
        stack.push(top);
        top = links[top as usize].ancestor;
    }
    let Link { ancestor, mut best } = links[top as usize];
    while let Some(below) = stack.pop() {
        let link = &mut links[below as usize];
        best = best.min(link.best);
        *link = Link { ancestor, best };
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bits, Graph, compute};

    /// Edges grouped by start.
    fn grouped(count: u32, edges: &[(u32, u32)]) -> (Vec<u32>, Vec<u32>) {
        let mut sorted = edges.to_vec();
        sorted.sort_by_key(|(from, _)| *from);
        let first = (0..=count)
            .map(|node| sorted.partition_point(|(from, _)| *from < node) as u32)
            .collect();
        (first, sorted.into_iter().map(|(_, to)| to).collect())
    }

    fn reachable(
        first: &[u32],
        to: &[u32],
        essential: &Bits,
        starts: &[u32],
        without: Option<u32>,
    ) -> Vec<bool> {
        let mut seen = vec![false; first.len() - 1];
        let mut list: Vec<u32> = starts
            .iter()
            .copied()
            .filter(|start| Some(*start) != without)
            .collect();
        for start in &list {
            seen[*start as usize] = true;
        }
        while let Some(node) = list.pop() {
            for edge in first[node as usize]..first[node as usize + 1] {
                let next = to[edge as usize];
                if essential.contains(edge) && Some(next) != without && !seen[next as usize] {
                    seen[next as usize] = true;
                    list.push(next);
                }
            }
        }
        seen
    }

    proptest! {
        /// a dominates b if b cannot be reached without a. The immediate dominator is the one that all
        /// others dominate.
        #[test]
        fn dominators_agree_with_their_definition(
            count in 1_u32..24,
            pairs in prop::collection::vec((0_u32..24, 0_u32..24, prop::bool::weighted(0.9)), 0..60),
            root in 0_u32..24,
        ) {
            let root = root % count;
            let edges: Vec<(u32, u32)> = pairs.iter().map(|(a, b, _)| (a % count, b % count)).collect();
            let (first, to) = grouped(count, &edges);
            let mut essential = Bits::new(to.len());
            for (edge, (_, _, counts)) in pairs.iter().enumerate() {
                if *counts {
                    essential.insert(edge as u32);
                }
            }
            // Orphans are reached from the root; what then is still unreached hangs there by itself.
            let mut starts = vec![root];
            let from_root = reachable(&first, &to, &essential, &starts, None);
            for node in 0..count {
                let retained = (0..to.len() as u32).any(|edge| essential.contains(edge) && to[edge as usize] == node);
                if !from_root[node as usize] && !retained {
                    starts.push(node);
                }
            }
            let all = reachable(&first, &to, &essential, &starts, None);
            let found = compute(&Graph { first_edge: &first, to: &to, essential: &essential, root });
            let without: Vec<Vec<bool>> = (0..count)
                .map(|node| if node == root { vec![false; count as usize] } else { reachable(&first, &to, &essential, &starts, Some(node)) })
                .collect();
            let dominates = |a: u32, b: u32| a == b || (all[b as usize] && !without[a as usize][b as usize]);
            for node in 0..count {
                let immediate = found.immediate[node as usize];
                if node == root || !all[node as usize] {
                    prop_assert_eq!(immediate, root);
                    continue;
                }
                prop_assert!(immediate != node && (immediate == root || dominates(immediate, node)));
                for other in (0..count).filter(|other| *other != node && dominates(*other, node)) {
                    prop_assert!(immediate == other || other == root || dominates(other, immediate));
                }
            }
            let mut place = vec![usize::MAX; count as usize];
            for (at, node) in found.order.iter().enumerate() {
                place[*node as usize] = at;
            }
            prop_assert_eq!(found.order.len(), count as usize);
            for node in (0..count).filter(|node| *node != root) {
                prop_assert!(place[found.immediate[node as usize] as usize] < place[node as usize]);
            }
        }
    }

    #[test]
    fn a_million_nodes_in_a_chain_need_no_recursion() {
        let count = 1_000_000;
        let edges: Vec<(u32, u32)> = (0..count - 1).map(|node| (node, node + 1)).collect();
        let (first, to) = grouped(count, &edges);
        let mut essential = Bits::new(to.len());
        (0..to.len() as u32).for_each(|edge| essential.insert(edge));
        let found = compute(&Graph {
            first_edge: &first,
            to: &to,
            essential: &essential,
            root: 0,
        });
        assert_eq!(found.immediate[999_999], 999_998);
    }
}
