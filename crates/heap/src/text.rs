//! Strings that waste memory: the same text many times, small pieces that keep a large text alive.

use rustc_hash::FxHashMap;

use crate::heap::Heap;
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::{Node, Snapshot};

/// One text that the heap has more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The text, as far as the snapshot has it.
    pub text: String,
    /// How often.
    pub count: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes of all but the largest: what one string instead would save.
    pub waste: u64,
    /// One of them.
    pub sample: Node,
}

/// A piece of a text that keeps the whole of it alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The piece.
    pub slice: Node,
    /// The whole, which nothing but pieces of it refers to.
    pub whole: Node,
    /// Bytes of the whole.
    pub bytes: u64,
}

/// What tells two texts of one beginning apart where the snapshot cut them.
type Rest = Option<(i64, i64)>;

#[derive(Default)]
struct Group {
    count: u64,
    bytes: u64,
    largest: u64,
    sample: u32,
}

impl Group {
    fn add(&mut self, node: u32, size: u64) {
        self.count += 1;
        self.bytes += size;
        self.largest = self.largest.max(size);
        self.sample = node;
    }
}

/// Texts that occur more than once, the largest waste first. As in `DevTools`, joined strings count with their
/// text unless they are already flat, and long texts are the same only if length and hash are.
pub fn duplicates(heap: &Heap) -> Vec<Duplicate> {
    let snapshot = &heap.snapshot;
    let mut by_index: FxHashMap<(u32, Rest), Group> = FxHashMap::default();
    let mut by_text: FxHashMap<(String, Rest), Group> = FxHashMap::default();
    for node in 0..snapshot.node_count() {
        let size = heap.shallow.get(node);
        if size == 0 {
            continue;
        }
        match snapshot.nodes.kind(node) {
            NodeKind::String => by_index
                .entry((snapshot.nodes.names[node as usize], rest(snapshot, node)))
                .or_default()
                .add(node, size),
            NodeKind::ConsString if !is_flat(heap, node) => {
                let text = heap.display_name(Node(node)).into_owned();
                by_text
                    .entry((text, rest(snapshot, node)))
                    .or_default()
                    .add(node, size);
            }
            _ => {}
        }
    }
    // A joined string may have the text of a plain one.
    let mut plain: Vec<((u32, Rest), Group)> = by_index.into_iter().collect();
    plain.sort_unstable_by_key(|(key, _)| *key);
    let mut found: Vec<Duplicate> = Vec::new();
    for ((index, rest), mut group) in plain {
        let mut text = snapshot.strings.text(index);
        if !by_text.is_empty() {
            let key = (text.into_owned(), rest);
            if let Some(joined) = by_text.remove(&key) {
                group.count += joined.count;
                group.bytes += joined.bytes;
                group.largest = group.largest.max(joined.largest);
            }
            text = key.0.into();
        }
        if group.count > 1 {
            found.push(duplicate(text.into_owned(), &group));
        }
    }
    let joined = by_text.into_iter().filter(|(_, group)| group.count > 1);
    found.extend(joined.map(|((text, _), group)| duplicate(text, &group)));
    found.sort_by(|a, b| (b.waste, &a.text, a.sample).cmp(&(a.waste, &b.text, b.sample)));
    found
}

fn duplicate(text: String, group: &Group) -> Duplicate {
    Duplicate {
        text,
        count: group.count,
        bytes: group.bytes,
        waste: group.bytes - group.largest,
        sample: Node(group.sample),
    }
}

/// Pieces of texts that are alive only because of them, the largest whole first, one piece for each.
pub fn slices(heap: &Heap) -> Vec<Slice> {
    let snapshot = &heap.snapshot;
    let mut found: FxHashMap<u32, u32> = FxHashMap::default();
    let mut other: rustc_hash::FxHashSet<u32> = rustc_hash::FxHashSet::default();
    for node in 0..snapshot.node_count() {
        if snapshot.nodes.kind(node) == NodeKind::SlicedString
            && let Some(whole) = snapshot.follow(Node(node), EdgeKind::Internal, "parent")
        {
            found.entry(whole.0).or_insert(node);
        }
    }
    for node in 0..snapshot.node_count() {
        if snapshot.nodes.kind(node) != NodeKind::SlicedString {
            for edge in snapshot.edge_range(node) {
                let to = snapshot.edges.to[edge as usize];
                if heap.essential.contains(edge) && found.contains_key(&to) {
                    other.insert(to);
                }
            }
        }
    }
    let mut slices: Vec<Slice> = found
        .into_iter()
        .filter(|(whole, _)| !other.contains(whole))
        .map(|(whole, slice)| Slice {
            slice: Node(slice),
            whole: Node(whole),
            bytes: heap.retained[whole as usize],
        })
        .collect();
    slices.sort_by_key(|slice| (std::cmp::Reverse(slice.bytes), slice.whole));
    slices
}

/// V8 joins strings in place: one part is then empty, and the text is the other part's.
fn is_flat(heap: &Heap, node: u32) -> bool {
    heap.snapshot.edge_range(node).any(|edge| {
        let snapshot = &heap.snapshot;
        snapshot.edges.kind(edge) == EdgeKind::Internal
            && matches!(
                snapshot.strings.raw(snapshot.edges.name(edge)),
                b"first" | b"second"
            )
            && heap
                .display_name(Node(snapshot.edges.to[edge as usize]))
                .is_empty()
    })
}

/// Length and hash of a text that the snapshot cut, where it says so.
fn rest(snapshot: &Snapshot, node: u32) -> Rest {
    let value = |name: &str| {
        let number = snapshot.follow(Node(node), EdgeKind::Internal, name)?;
        crate::contexts::number(snapshot, number)
    };
    let cut = snapshot.follow(Node(node), EdgeKind::Internal, "truncated")?;
    let is_cut = snapshot
        .follow(cut, EdgeKind::Internal, "value")
        .is_some_and(|value| snapshot.raw_name(value.0) == b"true");
    is_cut.then(|| (value("length").unwrap_or(-1), value("hash").unwrap_or(-1)))
}
