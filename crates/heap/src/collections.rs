//! Collections that are mostly empty: Maps, Sets, arrays and dictionaries whose store has room for far more than
//! they hold.
//!
//! A snapshot lists references, so that slots with small whole numbers look empty: what is told is the largest
//! share that can be empty, and arrays of nothing but numbers are left out.

use crate::heap::Heap;
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::Node;

/// A collection and its store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sparse {
    /// The Map, Set, array or object.
    pub collection: Node,
    /// Bytes of its store.
    pub store_bytes: u64,
    /// References that the store has room for.
    pub slots: u64,
    /// References that it holds.
    pub references: u64,
}

impl Sparse {
    /// References per slot, 0 to 1.
    pub fn fill_ratio(&self) -> f64 {
        self.references as f64 / self.slots.max(1) as f64
    }
}

/// Smaller stores are not worth a line.
const SMALLEST_STORE: u64 = 1024;
/// Header of a store.
const HEADER_BYTES: u64 = 16;

/// Collections whose store is filled to less than `most_filled` (0 to 1), the largest waste first.
pub fn sparse(heap: &Heap, most_filled: f64) -> Vec<Sparse> {
    let snapshot = &heap.snapshot;
    // With pointer compression a reference takes four bytes; Node does without, browsers and Electron do not.
    let slot_bytes = pointer_bytes(heap);
    let mut found = Vec::new();
    for node in snapshot.nodes() {
        if snapshot.kind(node) != NodeKind::Object {
            continue;
        }
        for edge in snapshot.edge_range(node.0) {
            let is_store = snapshot.edges.kind(edge) == EdgeKind::Internal
                && matches!(
                    snapshot.strings.raw(snapshot.edges.name(edge)),
                    b"table" | b"elements" | b"properties"
                );
            let store = snapshot.edges.to[edge as usize];
            let bytes = snapshot.nodes.sizes.get(store);
            if !is_store
                || bytes < SMALLEST_STORE
                || snapshot.nodes.kind(store) != NodeKind::Array
                || heap.dominators.immediate[store as usize] != node.0
            {
                continue;
            }
            let references = snapshot
                .edge_range(store)
                .filter(|edge| !is_header(snapshot.strings.raw(snapshot.edges.name(*edge))))
                .count() as u64;
            let sparse = Sparse {
                collection: node,
                store_bytes: bytes,
                slots: (bytes - HEADER_BYTES) / slot_bytes,
                references,
            };
            if references > 0 && sparse.fill_ratio() < most_filled {
                found.push(sparse);
            }
        }
    }
    found.sort_by(|a, b| {
        let waste = |sparse: &Sparse| sparse.store_bytes as f64 * (1.0 - sparse.fill_ratio());
        waste(b)
            .total_cmp(&waste(a))
            .then(a.collection.cmp(&b.collection))
    });
    found
}

/// References of every store that are no slots.
fn is_header(name: &[u8]) -> bool {
    name == b"map"
}

/// Bytes of a reference: a plain closure has at least five of them, in 32 bytes only if they are compressed.
fn pointer_bytes(heap: &Heap) -> u64 {
    let snapshot = &heap.snapshot;
    let smallest = snapshot
        .nodes()
        .filter(|node| snapshot.kind(*node) == NodeKind::Closure)
        .map(|node| snapshot.self_size(node))
        .filter(|size| *size > 0)
        .min();
    if smallest.is_some_and(|size| size <= 36) {
        4
    } else {
        8
    }
}
