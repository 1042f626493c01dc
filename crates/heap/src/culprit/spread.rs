//! A leak that is spread over many containers of one table, or over the nodes of a tree: each gains little, together they are one
//! holder.

use rustc_hash::FxHashMap;

use crate::growth::{Growth, Owner, is_context};
use crate::heap::Heap;
use crate::meta::{EdgeKind, NodeKind};

/// Fewer containers are told one by one.
const FEWEST: usize = 4;
/// One that has more of the growth than this is told by itself.
const LARGEST_SHARE: f64 = 0.6;
/// A tree of tables is followed upwards so far.
const HIGHEST: usize = 256;
/// So many objects may stand between a container and the table: `sessions` → `Session` → `{…}` → `Array`.
const DEEPEST: usize = 3;

/// Owners that hang alike in one table become one, in its place; so do the nodes of a tree, in the place of what has the tree.
pub(super) fn together(
    heap: &Heap,
    growth: &Growth,
    mut owners: FxHashMap<u32, Owner>,
) -> Vec<(u32, Owner)> {
    let mut trees: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    let mut tables: FxHashMap<(u32, Vec<u32>), Vec<u32>> = FxHashMap::default();
    let mut nodes: Vec<u32> = owners.keys().copied().collect();
    nodes.sort_unstable();
    for node in nodes {
        if let Some((table, way)) = table_of(heap, growth, node) {
            let top = top_of(heap, growth, table, &way);
            tables.entry((top, way)).or_default().push(node);
        } else if let Some(top) = tree_of(heap, growth, node, &owners[&node]) {
            trees.entry(top).or_default().push(node);
        }
    }
    let mut found: Vec<(u32, Owner)> = Vec::new();
    let mut tables: Vec<_> = tables.into_iter().collect();
    tables.sort_unstable();
    for ((table, _), members) in tables {
        let bytes = |node: &u32| owners[node].all.total_bytes();
        let all: u64 = members.iter().map(bytes).sum();
        let largest = members.iter().map(bytes).max().unwrap_or(0);
        if members.len() < FEWEST || largest as f64 > LARGEST_SHARE * all as f64 {
            continue;
        }
        let mut whole = Owner::default();
        for member in &members {
            if let Some(owner) = owners.remove(member) {
                whole.absorb(owner, *member, table);
            }
        }
        whole.members = members;
        found.push((table, whole));
    }
    let mut trees: Vec<_> = trees.into_iter().collect();
    trees.sort_unstable();
    for (top, members) in trees {
        // A row has one end that gains.
        if members.len() < 2 {
            continue;
        }
        let mut whole = owners.remove(&top).unwrap_or_default();
        for member in &members {
            if let Some(owner) = owners.remove(member) {
                whole.absorb(owner, *member, top);
            }
        }
        whole.members = members;
        whole.is_tree = true;
        found.push((top, whole));
    }
    found.extend(owners);
    found
}

/// What has the tree in which an owner is a node: it gains objects of its own class, and so do those of that class which it hangs
/// in. What new nodes hang in is a matter of their keys.
fn tree_of(heap: &Heap, growth: &Growth, owner: u32, gained: &Owner) -> Option<u32> {
    /// Their like may be anything.
    const GENERAL: [&[u8]; 3] = [b"Object", b"Promise", b"Generator"];
    let snapshot = &heap.snapshot;
    let name = snapshot.nodes.names[owner as usize];
    let is_node = |node: u32| {
        snapshot.nodes.names[node as usize] == name
            && snapshot.nodes.kind(node) == NodeKind::Object
            && !GENERAL.contains(&snapshot.raw_name(node))
            && !is_context(snapshot.raw_name(node))
    };
    let gains_its_like = gained.samples.values().any(|sample| is_node(*sample));
    if !is_node(owner) || !gains_its_like {
        return None;
    }
    let above = |node: &u32| {
        let above = growth.owner_of(heap.dominators.immediate[*node as usize]);
        (above != *node).then_some(above)
    };
    let mut way = std::iter::successors(Some(owner), above).take(HIGHEST);
    let top = way.find(|node| !is_node(*node))?;
    (top != snapshot.meta.root).then_some(top)
}

/// The table that an owner hangs in, and what it and those between are called.
fn table_of(heap: &Heap, growth: &Growth, owner: u32) -> Option<(u32, Vec<u32>)> {
    let snapshot = &heap.snapshot;
    let mut way = Vec::new();
    let mut current = owner;
    for _ in 0..DEEPEST {
        way.push(snapshot.nodes.names[current as usize]);
        let above = growth.owner_of(heap.dominators.immediate[current as usize]);
        if above == snapshot.meta.root {
            return None;
        }
        if is_table(heap, above) {
            return Some((above, way));
        }
        current = above;
    }
    None
}

/// Where tables hang in tables of their like, as the branches of a tree do: the one that all of them hang in.
fn top_of(heap: &Heap, growth: &Growth, table: u32, way: &[u32]) -> u32 {
    let above = |table: &u32| {
        let (above, own) = table_of(heap, growth, *table)?;
        (own == way).then_some(above)
    };
    let all = std::iter::successors(Some(table), above);
    all.take(HIGHEST).last().unwrap_or(table)
}

/// Whether it is a collection, or an object used as one.
pub(super) fn is_table(heap: &Heap, node: u32) -> bool {
    /// An object with fewer properties has names for them.
    const DICTIONARY: usize = 8;
    let snapshot = &heap.snapshot;
    let is_entry = |edge: &u32| snapshot.edges.kind(*edge) == EdgeKind::Property;
    snapshot.nodes.kind(node) == NodeKind::Object
        && match snapshot.raw_name(node) {
            b"Map" | b"Set" | b"Array" => true,
            b"Object" => snapshot.edge_range(node).filter(is_entry).count() >= DICTIONARY,
            _ => false,
        }
}
