//! Which DOM nodes are in no document: the states in the file, spread as `DevTools` spreads them.

use crate::bits::Bits;
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::Snapshot;

/// Completes the sets of nodes with a known state and of detached nodes.
///
/// A native node reachable from an attached one is attached; reachable from a detached one and not attached,
/// it is detached. The states do not spread through JavaScript objects, which know no state.
pub(crate) fn complete(snapshot: &mut Snapshot) {
    if snapshot.meta.nodes.detachedness.is_none() {
        by_name(snapshot);
        return;
    }
    if snapshot.nodes.attachment_known.is_empty() {
        return;
    }
    let count = snapshot.node_count();
    let (mut attached, mut detached) = (Vec::new(), Vec::new());
    let mut visited = Bits::new(count as usize);
    let mut is_detached = Bits::new(count as usize);
    for node in 0..count {
        if !snapshot.nodes.attachment_known.contains(node) {
            continue;
        }
        visited.insert(node);
        let state = snapshot.nodes.detached.contains(node);
        if snapshot.nodes.kind(node) != NodeKind::Native {
            // The state of the file stands, but goes no further.
            if state {
                is_detached.insert(node);
            }
        } else if state {
            is_detached.insert(node);
            detached.push(node);
        } else {
            attached.push(node);
        }
    }
    for (mut list, state) in [(attached, false), (detached, true)] {
        while let Some(node) = list.pop() {
            for edge in snapshot.edge_range(node) {
                let child = snapshot.edges.to[edge as usize];
                let spreads = !matches!(
                    snapshot.edges.kind(edge),
                    EdgeKind::Hidden | EdgeKind::Weak | EdgeKind::Other
                );
                if !spreads || visited.contains(child) {
                    continue;
                }
                visited.insert(child);
                if snapshot.nodes.kind(child) == NodeKind::Native {
                    if state {
                        is_detached.insert(child);
                    }
                    list.push(child);
                }
            }
        }
    }
    snapshot.nodes.detached = is_detached;
}

/// Old files have no states; there the names say it.
fn by_name(snapshot: &mut Snapshot) {
    let mut detached = Bits::new(snapshot.nodes.len());
    for node in 0..snapshot.node_count() {
        if snapshot.nodes.kind(node) == NodeKind::Native
            && snapshot.raw_name(node).starts_with(b"Detached ")
        {
            detached.insert(node);
        }
    }
    snapshot.nodes.detached = detached;
}
