//! What the bytes of a heap are: code, strings, arrays, memory outside the heap, detached DOM nodes.

use crate::heap::Heap;
use crate::meta::{EdgeKind, NodeKind};
use crate::window::Tally;

/// Bytes by what they are, as in `DevTools`' statistics view. The parts overlap with nothing but `arrays`, whose
/// backing stores may be counted with other kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Everything.
    pub total: u64,
    /// Outside V8's heap: DOM, buffers, what the embedder allocated, what the header says besides.
    pub native: u64,
    /// Of `native`, the memory of array buffers.
    pub typed_arrays: u64,
    /// Compiled code.
    pub code: u64,
    /// Text.
    pub strings: u64,
    /// Arrays with the elements that they alone hold.
    pub arrays: u64,
    /// V8's internals.
    pub system: u64,
    /// DOM nodes that are in no document.
    pub detached: Tally,
}

impl Statistics {
    /// Adds up a heap.
    pub fn of(heap: &Heap) -> Self {
        let snapshot = &heap.snapshot;
        let mut sums = Self {
            total: heap.total(),
            native: snapshot.extra_native_bytes(),
            ..Self::default()
        };
        // An array's elements count with it if nothing else refers to them.
        let mut arrays = Vec::new();
        for node in 0..snapshot.node_count() {
            let size = heap.shallow.get(node);
            if snapshot.nodes.detached.contains(node) {
                sums.detached.add(size);
            }
            match snapshot.nodes.kind(node) {
                NodeKind::Hidden => sums.system += size,
                NodeKind::Native => {
                    sums.native += size;
                    let name = snapshot.raw_name(node);
                    if name == b"system / JSArrayBufferData" && !snapshot.is_renamed(node) {
                        sums.typed_arrays += size;
                    }
                }
                NodeKind::Code => sums.code += size,
                NodeKind::String | NodeKind::ConsString | NodeKind::SlicedString => {
                    sums.strings += size;
                }
                _ if snapshot.raw_name(node) == b"Array" => {
                    sums.arrays += size;
                    arrays.extend(
                        snapshot
                            .edge_range(node)
                            .find(|edge| {
                                snapshot.edges.kind(*edge) == EdgeKind::Internal
                                    && snapshot.strings.raw(snapshot.edges.name(*edge))
                                        == b"elements"
                            })
                            .map(|edge| snapshot.edges.to[edge as usize]),
                    );
                }
                _ => {}
            }
        }
        let mut references = vec![0_u8; snapshot.nodes.len()];
        for to in &snapshot.edges.to {
            let count = &mut references[*to as usize];
            *count = count.saturating_add(1);
        }
        for elements in arrays {
            if references[elements as usize] == 1 {
                sums.arrays += heap.shallow.get(elements);
            }
        }
        sums
    }
}
