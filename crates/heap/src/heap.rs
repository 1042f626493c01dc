//! A snapshot with everything computed that `DevTools` shows of an object: dominator, shallow and retained
//! size, distance.

use std::borrow::Cow;

use crate::distances::{self, Distances, NO_EDGE};
use crate::dominators::{self, Dominators, Graph};
use crate::ephemerons::Ephemerons;
use crate::meta::{EdgeKind, NodeKind};
use crate::sizes::Sizes;
use crate::snapshot::{Edge, Node, Snapshot};
use crate::{essential, shallow};

/// An analysed snapshot.
///
/// All of it is computed at once, in time nearly linear in the number of references.
#[derive(Debug)]
pub struct Heap {
    pub(crate) snapshot: Snapshot,
    pub(crate) dominators: Dominators,
    pub(crate) shallow: Sizes,
    pub(crate) retained: Vec<u64>,
    pub(crate) distances: Distances,
    pub(crate) essential: crate::bits::Bits,
}

/// One step of a retainer path: the object, and the reference that leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The reference; none for the root.
    pub edge: Option<Edge>,
    /// The object it leads to.
    pub node: Node,
}

impl Heap {
    /// Analyses a snapshot.
    pub fn of(snapshot: Snapshot) -> Self {
        let ephemerons = Ephemerons::of(&snapshot.strings);
        let essential = essential::edges(&snapshot, &ephemerons);
        let dominators = dominators::compute(&Graph {
            first_edge: &snapshot.nodes.first_edge,
            to: &snapshot.edges.to,
            essential: &essential,
            root: snapshot.meta.root,
        });
        let shallow = shallow::sizes(&snapshot);
        let mut retained: Vec<u64> = (0..shallow.len() as u32)
            .map(|node| shallow.get(node))
            .collect();
        for node in dominators.order.iter().skip(1).rev() {
            let own = retained[*node as usize];
            let dominator = dominators.immediate[*node as usize] as usize;
            retained[dominator] = retained[dominator].saturating_add(own);
        }
        let distances = distances::compute(&snapshot, &ephemerons);
        Self {
            snapshot,
            dominators,
            shallow,
            retained,
            distances,
            essential,
        }
    }

    /// The snapshot: names, edges, places.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Gives the snapshot back.
    pub fn into_snapshot(self) -> Snapshot {
        self.snapshot
    }

    /// The object that goes last before this one can go; the root's is itself.
    pub fn dominator(&self, node: Node) -> Node {
        Node(self.dominators.immediate[node.0 as usize])
    }

    /// Bytes of the object itself and of the internals that it alone owns.
    pub fn shallow(&self, node: Node) -> u64 {
        self.shallow.get(node.0)
    }

    /// Bytes that would be freed with it.
    pub fn retained(&self, node: Node) -> u64 {
        self.retained[node.0 as usize]
    }

    /// Steps from the nearest root: 1 for globals, [`crate::SYSTEM_DISTANCE`] and more for what only V8
    /// reaches, [`crate::UNREACHED`] for what nothing reaches.
    pub fn distance(&self, node: Node) -> i32 {
        self.distances.of_node[node.0 as usize]
    }

    /// All bytes: what the root retains and what the header says is outside.
    pub fn total(&self) -> u64 {
        self.retained[self.snapshot.meta.root as usize]
            .saturating_add(self.snapshot.extra_native_bytes())
    }

    /// A shortest path from a root, the object last. Only the object itself if nothing reaches it.
    pub fn retainer_path(&self, node: Node) -> Vec<Step> {
        let mut path = Vec::new();
        let mut current = node;
        loop {
            let via = self.distances.via[current.0 as usize];
            if via == NO_EDGE {
                path.push(Step {
                    edge: None,
                    node: current,
                });
                break;
            }
            let edge = Edge(via);
            path.push(Step {
                edge: Some(edge),
                node: current,
            });
            current = self.snapshot.edge_from(edge);
        }
        path.reverse();
        path
    }

    /// The chain of dominators, nearest first, the root last.
    pub fn dominator_chain(&self, node: Node) -> impl Iterator<Item = Node> {
        let mut current = node;
        std::iter::from_fn(move || {
            let next = self.dominator(current);
            (next != current).then(|| {
                current = next;
                next
            })
        })
    }

    /// All references to each of `nodes`, weak ones too. Linear in the number of references, however many
    /// objects are asked about.
    pub fn retainers(&self, nodes: &[Node]) -> Vec<Vec<Edge>> {
        let mut wanted: Vec<(u32, usize)> = nodes.iter().map(|node| node.0).zip(0..).collect();
        wanted.sort_unstable();
        let mut asked = crate::bits::Bits::new(self.snapshot.nodes.len());
        for node in nodes {
            asked.insert(node.0);
        }
        let mut found = vec![Vec::new(); nodes.len()];
        for (edge, to) in self.snapshot.edges.to.iter().enumerate() {
            if asked.contains(*to) {
                let first = wanted.partition_point(|(node, _)| node < to);
                for (_, index) in wanted[first..].iter().take_while(|(node, _)| node == to) {
                    found[*index].push(Edge(edge as u32));
                }
            }
        }
        found
    }

    /// The name `DevTools` shows: joined strings as one, plain objects by their properties.
    pub fn display_name(&self, node: Node) -> Cow<'_, str> {
        crate::names::display(&self.snapshot, node)
    }

    /// Whether the reference counts for dominators and retained sizes.
    pub fn is_essential(&self, edge: Edge) -> bool {
        self.essential.contains(edge.0)
    }

    /// A reference as a person writes it: `.name`, `[3]`, `{internal}`, `->variable`.
    pub fn edge_label(&self, edge: Edge) -> String {
        let name = self.snapshot.edge_name(edge);
        match self.snapshot.edge_kind(edge) {
            EdgeKind::Context => format!("->{name}"),
            EdgeKind::Element => format!("[{name}]"),
            EdgeKind::Weak => format!("[[{name}]]"),
            EdgeKind::Property | EdgeKind::Shortcut => {
                if name.contains(' ') {
                    format!("[\"{name}\"]")
                } else {
                    format!(".{name}")
                }
            }
            EdgeKind::Internal | EdgeKind::Hidden | EdgeKind::Other => format!("{{{name}}}"),
        }
    }

    /// Whether it is something a program can hold: no internals of V8.
    pub fn is_visible(&self, node: Node) -> bool {
        !matches!(
            self.snapshot.kind(node),
            NodeKind::Hidden
                | NodeKind::Array
                | NodeKind::Code
                | NodeKind::Synthetic
                | NodeKind::ObjectShape
                | NodeKind::Other
        ) && !self.snapshot.raw_name(node.0).starts_with(b"system / ")
    }
}
