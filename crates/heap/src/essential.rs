//! The one set of references that dominators, retained sizes and paths are about.
//!
//! The rules are `DevTools`': weak references, references to oneself, the table's half of a weak map's entry,
//! shortcuts (but the root's), and what the debugger holds of the page's objects do not retain.

use crate::bits::Bits;
use crate::ephemerons::Ephemerons;
use crate::meta::EdgeKind;
use crate::snapshot::Snapshot;

/// Nodes reachable from the user's globals and documents.
fn page_owned(snapshot: &Snapshot) -> Bits {
    let mut owned = Bits::new(snapshot.nodes.len());
    let mut list = Vec::new();
    for edge in snapshot.edge_range(snapshot.meta.root) {
        let to = snapshot.edges.to[edge as usize];
        let starts = match snapshot.edges.kind(edge) {
            EdgeKind::Element => snapshot.is_document_trees(to),
            EdgeKind::Shortcut => true,
            _ => false,
        };
        if starts && !owned.contains(to) {
            owned.insert(to);
            list.push(to);
        }
    }
    while let Some(node) = list.pop() {
        for edge in snapshot.edge_range(node) {
            let to = snapshot.edges.to[edge as usize];
            if !owned.contains(to) && snapshot.edges.kind(edge) != EdgeKind::Weak {
                owned.insert(to);
                list.push(to);
            }
        }
    }
    owned
}

/// The references that retain, as bits over all edges.
pub(crate) fn edges(snapshot: &Snapshot, ephemerons: &Ephemerons) -> Bits {
    let owned = page_owned(snapshot);
    let mut essential = Bits::new(snapshot.edges.len());
    for node in 0..snapshot.node_count() {
        let is_root = node == snapshot.meta.root;
        let is_owned = is_root || owned.contains(node);
        for edge in snapshot.edge_range(node) {
            let to = snapshot.edges.to[edge as usize];
            let retains = match snapshot.edges.kind(edge) {
                EdgeKind::Weak => false,
                EdgeKind::Shortcut => is_root,
                EdgeKind::Internal => {
                    ephemerons
                        .entry(snapshot.edges.name(edge))
                        .is_none_or(|entry| {
                            entry.table != u64::from(snapshot.nodes.ids[node as usize])
                        })
                }
                _ => true,
            };
            if retains && to != node && (is_owned || !owned.contains(to)) {
                essential.insert(edge);
            }
        }
    }
    essential
}
