//! Shallow sizes as `DevTools` shows them: what one object alone owns counts as its own bytes.
//!
//! Backing stores (`array`), V8's internals (`hidden`) and the data of external strings give their bytes to
//! their only owner. Sums stay the same, rows become what a developer expects: a Map has the bytes of its
//! table.

use crate::meta::{EdgeKind, NodeKind};
use crate::sizes::Sizes;
use crate::snapshot::Snapshot;

const UNVISITED: u32 = u32::MAX;
const SHARED: u32 = u32::MAX - 1;

pub(crate) fn sizes(snapshot: &Snapshot) -> Sizes {
    let mut sizes = snapshot.nodes.sizes.clone();
    let root = snapshot.meta.root;
    // No user root means V8's internals were exposed on purpose; then the file's sizes are what was asked for.
    let has_user_root = snapshot
        .edge_range(root)
        .any(|edge| snapshot.is_user_root(snapshot.edges.to[edge as usize]));
    if !has_user_root {
        return sizes;
    }
    let count = snapshot.node_count();
    let external_data = snapshot.name_of_kind(NodeKind::Native, "system / ExternalStringData");
    let is_owned_kind = |node: u32| match snapshot.nodes.kind(node) {
        NodeKind::Hidden | NodeKind::Array => true,
        NodeKind::Native => {
            Some(snapshot.nodes.names[node as usize]) == external_data && !snapshot.is_renamed(node)
        }
        _ => false,
    };
    let mut owners: Vec<u32> = (0..count)
        .map(|node| if is_owned_kind(node) { UNVISITED } else { node })
        .collect();
    // Each object that owns itself is looked at once, in order; only what is owned enters the list.
    let mut list = Vec::new();
    for start in 0..count {
        if owners[start as usize] != start {
            continue;
        }
        list.push(start);
        while let Some(node) = list.pop() {
            let owner = owners[node as usize];
            for edge in snapshot.edge_range(node) {
                if snapshot.edges.kind(edge) == EdgeKind::Weak {
                    continue;
                }
                let to = snapshot.edges.to[edge as usize];
                let known = &mut owners[to as usize];
                if *known == UNVISITED {
                    *known = owner;
                    list.push(to);
                } else if *known != to && *known != owner && *known != SHARED {
                    *known = SHARED;
                    list.push(to);
                }
            }
        }
    }
    for node in 0..count {
        let owner = owners[node as usize];
        if owner == node
            || owner >= SHARED
            || owner == root
            || snapshot.nodes.kind(owner) == NodeKind::Synthetic
        {
            continue;
        }
        let own = sizes.get(node);
        if own > 0 {
            sizes.set(node, 0);
            sizes.set(owner, sizes.get(owner).saturating_add(own));
        }
    }
    sizes
}
