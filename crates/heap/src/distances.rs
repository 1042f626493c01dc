//! Distances from the roots, and the shortest path to everything.
//!
//! First from the user's roots (globals, documents), then, a hundred million further, from V8's own.

use crate::bits::Bits;
use crate::ephemerons::Ephemerons;
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::Snapshot;

/// What `DevTools` adds to the distance of what only V8 reaches.
pub const SYSTEM_DISTANCE: i32 = 100_000_000;
/// The distance of what nothing reaches.
pub const UNREACHED: i32 = -5;
/// No reference leads there on a shortest path.
pub(crate) const NO_EDGE: u32 = u32::MAX;

/// Distances and how they came about.
#[derive(Debug)]
pub(crate) struct Distances {
    pub(crate) of_node: Vec<i32>,
    /// The edge over which each node was reached first; [`NO_EDGE`] for the roots themselves.
    pub(crate) via: Vec<u32>,
}

struct Walk<'a> {
    snapshot: &'a Snapshot,
    ephemerons: &'a Ephemerons,
    /// Pairs of which one edge was seen.
    half_seen: Bits,
    descriptors: Option<u32>,
    found: Distances,
    queue: Vec<u32>,
}

pub(crate) fn compute(snapshot: &Snapshot, ephemerons: &Ephemerons) -> Distances {
    let count = snapshot.nodes.len();
    let mut walk = Walk {
        snapshot,
        ephemerons,
        half_seen: Bits::default(),
        descriptors: snapshot.name_of_kind(NodeKind::Array, "(map descriptors)"),
        found: Distances {
            of_node: vec![UNREACHED; count],
            via: vec![NO_EDGE; count],
        },
        queue: Vec::with_capacity(count),
    };
    let root = snapshot.meta.root;
    for edge in snapshot.edge_range(root) {
        let to = snapshot.edges.to[edge as usize];
        if snapshot.is_user_root(to) {
            if walk.found.of_node[to as usize] == UNREACHED {
                walk.found.via[to as usize] = edge;
                walk.queue.push(to);
            }
            walk.found.of_node[to as usize] = 1;
        }
    }
    let has_user_root = !walk.queue.is_empty();
    walk.spread();
    walk.found.of_node[root as usize] = if has_user_root { SYSTEM_DISTANCE } else { 0 };
    walk.found.via[root as usize] = NO_EDGE;
    walk.queue.clear();
    walk.queue.push(root);
    walk.spread();
    walk.found
}

impl Walk<'_> {
    fn spread(&mut self) {
        let mut at = 0;
        while at < self.queue.len() {
            let node = self.queue[at];
            at += 1;
            let distance = self.found.of_node[node as usize] + 1;
            let special = matches!(
                self.snapshot.nodes.kind(node),
                NodeKind::Hidden | NodeKind::Array
            );
            for edge in self.snapshot.edge_range(node) {
                let kind = self.snapshot.edges.kind(edge);
                let to = self.snapshot.edges.to[edge as usize];
                if kind == EdgeKind::Weak || self.found.of_node[to as usize] != UNREACHED {
                    continue;
                }
                if special {
                    match self.decided_by_node(node, edge) {
                        Some(false) => continue,
                        Some(true) => {
                            self.reach(to, edge, distance);
                            continue;
                        }
                        None => {}
                    }
                }
                if kind == EdgeKind::Internal && !self.is_second_half(edge) {
                    continue;
                }
                self.reach(to, edge, distance);
            }
        }
    }

    fn reach(&mut self, to: u32, edge: u32, distance: i32) {
        self.found.of_node[to as usize] = distance;
        self.found.via[to as usize] = edge;
        self.queue.push(to);
    }

    /// Two kinds of internals have references that say nothing about distance: the context's map of sloppy
    /// functions, and descriptors that maps share (<https://crbug.com/413608>).
    fn decided_by_node(&self, node: u32, edge: u32) -> Option<bool> {
        let snapshot = self.snapshot;
        let name = snapshot.edges.name(edge);
        if snapshot.nodes.kind(node) == NodeKind::Hidden {
            let has_text = !snapshot.edges.kind(edge).has_number();
            let skipped = has_text
                && snapshot.strings.raw(name) == b"sloppy_function_map"
                && snapshot.raw_name(node) == b"system / NativeContext";
            return skipped.then_some(false);
        }
        if Some(snapshot.nodes.names[node as usize]) != self.descriptors {
            return None;
        }
        let index = if snapshot.edges.kind(edge).has_number() {
            Some(u64::from(name))
        } else {
            leading_integer(snapshot.strings.raw(name))
        };
        Some(index.is_none_or(|index| index < 2 || index % 3 != 1))
    }

    /// A weak map's value is as far as the farther of its table and its key: the first of the two edges is
    /// passed over (<https://crbug.com/1290800>).
    fn is_second_half(&mut self, edge: u32) -> bool {
        let Some(entry) = self.ephemerons.entry(self.snapshot.edges.name(edge)) else {
            return true;
        };
        if self.half_seen.contains(entry.pair) {
            self.half_seen.remove(entry.pair);
            return true;
        }
        self.half_seen.insert_anywhere(entry.pair);
        false
    }
}

fn leading_integer(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}
