//! What is new and still there: objects of the last snapshot by the window in which they first appeared, and
//! the old objects that hold them.
//!
//! Only the last snapshot has references; of the earlier ones the ids are enough.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::bits::Bits;
use crate::classes::Classes;
use crate::error::{Error, Result};
use crate::heap::Heap;
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::{Node, Snapshot};
use crate::window::{Tally, Window};

/// Snapshots of one process in order, with what happened between them.
#[derive(Debug, Clone, Copy)]
pub struct Windows<'a> {
    /// The earlier snapshots, the baseline first.
    pub earlier: &'a [Window],
    /// Operations between each of them and the next, the last entry up to the final snapshot. 0 where the
    /// process only rested: what appears then is no growth per operation.
    pub operations: &'a [u64],
}

impl Windows<'_> {
    /// Refuses windows that do not match their operations or number other objects.
    pub(crate) fn check(&self, snapshot: &Snapshot) -> Result<()> {
        let count = self.earlier.len();
        if count == 0 || count != self.operations.len() || count > MOST_WINDOWS {
            return Err(Error::Unrelated {
                what: format!(
                    "{count} earlier snapshots need {count} counts of operations, not {}; at most {MOST_WINDOWS}",
                    self.operations.len()
                ),
            });
        }
        for (index, window) in self.earlier.iter().enumerate() {
            window
                .sample
                .check(snapshot, &format!("snapshot {}", index + 1))?;
        }
        Ok(())
    }

    /// The first snapshot that knew an object, counted from 0; the number of earlier ones if only the last does.
    pub(crate) fn first_seen(&self, id: u32) -> usize {
        self.earlier
            .iter()
            .position(|window| window.contains(id))
            .unwrap_or(self.earlier.len())
    }
}

/// Most windows told apart.
pub(crate) const MOST_WINDOWS: usize = 8;
/// A count per window with operations.
pub(crate) type PerWindow<T> = [T; MOST_WINDOWS];

/// Something that gained in the windows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gain {
    pub(crate) counts: PerWindow<u32>,
    pub(crate) bytes: PerWindow<u64>,
}

impl Gain {
    fn add(&mut self, window: u8, bytes: u64) {
        self.counts[usize::from(window)] += 1;
        self.bytes[usize::from(window)] += bytes;
    }

    fn absorb(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for (bytes, more) in self.bytes.iter_mut().zip(other.bytes) {
            *bytes += more;
        }
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    pub(crate) fn total_count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }
}

/// A node that was there at the baseline.
const OLD: u8 = u8::MAX;
/// A node that appeared while the process rested.
const LATE: u8 = u8::MAX - 1;

/// Objects by age, and their owners.
#[derive(Debug)]
pub(crate) struct Growth {
    /// Window of each node, or one of the two ages above.
    age: Vec<u8>,
    /// The nearest old dominator that a program can hold.
    owner: Vec<u32>,
    /// Nodes below a new object that a program can hold.
    nested: Bits,
    /// Bytes of new nodes in each dominator subtree.
    new_bytes: Vec<u64>,
    /// Of each class and position the first that reads the same.
    alike_classes: Vec<u32>,
    alike_positions: Vec<u32>,
    /// Operations of the windows that have any.
    pub(crate) operations: Vec<u64>,
    /// All new objects that are still there.
    pub(crate) survivors: Tally,
}

/// What one owner gained.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    /// All new nodes that it owns.
    pub(crate) all: Gain,
    /// By class: all new objects.
    pub(crate) classes: FxHashMap<u32, Gain>,
    /// By class: new objects with no new object above them, with all that is new below.
    pub(crate) entries: FxHashMap<u32, Gain>,
    /// New backing stores of its own, and how many of the references in them lead to new objects. A store
    /// that was reallocated is new as a whole, though most of it may be filled with old objects.
    pub(crate) store: Gain,
    pub(crate) store_edges: (u64, u64),
    /// By place: functions and objects whose constructor is known.
    pub(crate) places: FxHashMap<(u32, bool), Gain>,
    /// References from old containers to entries, by container and class of the entry.
    pub(crate) holders: FxHashMap<(u32, u32), Gain>,
    /// One entry or new object of each class, the latest.
    pub(crate) samples: FxHashMap<u32, u32>,
    /// The containers in it that gained, where it is a table of many, or the nodes, where it has a tree; sorted.
    pub(crate) members: Vec<u32>,
    pub(crate) is_tree: bool,
}

impl Owner {
    /// Takes in what one of the containers of a table gained.
    #[expect(
        clippy::iter_over_hash_type,
        reason = "sums and maxima are the same in any order"
    )]
    pub(crate) fn absorb(&mut self, other: Self, member: u32, table: u32) {
        fn sum<K: Hash + Eq>(all: &mut FxHashMap<K, Gain>, more: FxHashMap<K, Gain>) {
            for (key, gain) in more {
                all.entry(key).or_default().absorb(&gain);
            }
        }
        self.all.absorb(&other.all);
        self.store.absorb(&other.store);
        self.store_edges.0 += other.store_edges.0;
        self.store_edges.1 += other.store_edges.1;
        sum(&mut self.classes, other.classes);
        sum(&mut self.entries, other.entries);
        sum(&mut self.places, other.places);
        for ((container, class), gain) in other.holders {
            let container = if container == member {
                table
            } else {
                container
            };
            let all = self.holders.entry((container, class)).or_default();
            all.absorb(&gain);
        }
        for (class, node) in other.samples {
            let sample = self.samples.entry(class).or_insert(node);
            *sample = node.max(*sample);
        }
    }
}

impl Growth {
    /// Sorts the objects of `heap` by age.
    pub(crate) fn of(heap: &Heap, classes: &Classes, windows: &Windows<'_>) -> Result<Self> {
        let snapshot = &heap.snapshot;
        windows.check(snapshot)?;
        // Windows without operations have no number of their own.
        let mut numbers = Vec::new();
        let mut operations = Vec::new();
        for count in windows.operations {
            numbers.push(if *count == 0 {
                LATE
            } else {
                operations.push(*count);
                operations.len() as u8 - 1
            });
        }
        let mut survivors = Tally::default();
        let age: Vec<u8> = (0..snapshot.node_count())
            .map(
                |node| match windows.first_seen(snapshot.nodes.ids[node as usize]) {
                    0 => OLD,
                    window => numbers[window - 1],
                },
            )
            .collect();
        let mut growth = Self {
            owner: vec![snapshot.meta.root; age.len()],
            nested: Bits::new(age.len()),
            new_bytes: vec![0; age.len()],
            alike_classes: classes.alike(),
            alike_positions: snapshot.alike_positions(),
            age,
            operations,
            survivors,
        };
        for node in &heap.dominators.order {
            let at = *node as usize;
            let above = heap.dominators.immediate[at];
            let is_below_new = growth.nested.contains(above) || holds(snapshot, above);
            if above != *node && !growth.is_old(above) && is_below_new {
                growth.nested.insert(*node);
            }
            growth.owner[at] = if growth.is_old(*node) && holds(snapshot, *node) {
                *node
            } else {
                growth.owner[heap.dominators.immediate[at] as usize]
            };
        }
        for node in heap.dominators.order.iter().skip(1).rev() {
            let at = *node as usize;
            if growth.window(*node).is_some() {
                let bytes = snapshot.nodes.sizes.get(*node);
                growth.new_bytes[at] += bytes;
                survivors.add(bytes);
            }
            growth.new_bytes[heap.dominators.immediate[at] as usize] += growth.new_bytes[at];
        }
        growth.survivors = survivors;
        Ok(growth)
    }

    pub(crate) fn is_old(&self, node: u32) -> bool {
        self.age[node as usize] == OLD
    }

    /// The window in which a new object appeared.
    pub(crate) fn window(&self, node: u32) -> Option<u8> {
        let age = self.age[node as usize];
        (age != OLD && age != LATE).then_some(age)
    }

    /// The class of an object, whichever copy of its module made it.
    pub(crate) fn class(&self, classes: &Classes, node: u32) -> u32 {
        self.alike_classes[classes.index(node) as usize]
    }

    /// Bytes of the new objects that a node dominates.
    pub(crate) fn bytes_below(&self, node: u32) -> u64 {
        self.new_bytes[node as usize]
    }

    /// The owner of a new object.
    pub(crate) fn owner_of(&self, node: u32) -> u32 {
        self.owner[node as usize]
    }

    /// What every owner gained. Owners without any new object are left out.
    pub(crate) fn owners(&self, heap: &Heap, classes: &Classes) -> FxHashMap<u32, Owner> {
        let snapshot = &heap.snapshot;
        let mut owners: FxHashMap<u32, Owner> = FxHashMap::default();
        for node in 0..snapshot.node_count() {
            let bytes = snapshot.nodes.sizes.get(node);
            let is_store = matches!(
                snapshot.nodes.kind(node),
                NodeKind::Array | NodeKind::Hidden
            );
            if is_store && !self.is_old(node) && self.is_entry(node) {
                let owner = owners.entry(self.owner[node as usize]).or_default();
                owner.store.add(self.window(node).unwrap_or(0), bytes);
                for edge in snapshot.edge_range(node) {
                    let to = snapshot.edges.to[edge as usize];
                    if holds(snapshot, to) {
                        owner.store_edges.0 += u64::from(self.window(to).is_some());
                        owner.store_edges.1 += 1;
                    }
                }
                continue;
            }
            let Some(window) = self.window(node) else {
                continue;
            };
            let owner = owners.entry(self.owner[node as usize]).or_default();
            owner.all.add(window, bytes);
            if !is_evidence(snapshot, node) {
                continue;
            }
            let class = self.class(classes, node);
            owner.classes.entry(class).or_default().add(window, bytes);
            if self.is_entry(node) {
                let below = self.new_bytes[node as usize];
                owner.entries.entry(class).or_default().add(window, below);
                owner.samples.insert(class, node);
            } else {
                owner.samples.entry(class).or_insert(node);
            }
        }
        for (node, position) in &snapshot.locations.of_node {
            if let Some(window) = self.window(*node)
                && !is_prototype(snapshot, *node)
                && let Some(owner) = owners.get_mut(&self.owner[*node as usize])
            {
                let is_function = snapshot.nodes.kind(*node) == NodeKind::Closure;
                let position = self.alike_positions[*position as usize];
                owner
                    .places
                    .entry((position, is_function))
                    .or_default()
                    .add(window, self.new_bytes[*node as usize]);
            }
        }
        self.add_holders(heap, classes, &mut owners);
        owners
    }

    /// References to entries from old containers, through their backing stores.
    fn add_holders(&self, heap: &Heap, classes: &Classes, owners: &mut FxHashMap<u32, Owner>) {
        let snapshot = &heap.snapshot;
        // The container of a backing store is the nearest dominator that a program can hold.
        let container_of = |node: u32| {
            let mut current = node;
            for _ in 0..8 {
                if holds(snapshot, current) {
                    return Some(current);
                }
                let dominator = heap.dominators.immediate[current as usize];
                if dominator == current {
                    break;
                }
                current = dominator;
            }
            None
        };
        for from in 0..snapshot.node_count() {
            let mut container = None;
            for edge in snapshot.edge_range(from) {
                let to = snapshot.edges.to[edge as usize];
                let Some(window) = self.window(to) else {
                    continue;
                };
                if !heap.essential.contains(edge)
                    || !is_evidence(snapshot, to)
                    || !self.is_entry(to)
                {
                    continue;
                }
                let container = *container.get_or_insert_with(|| {
                    container_of(from).filter(|container| self.is_old(*container))
                });
                if let Some(container) = container
                    && let Some(owner) = owners.get_mut(&self.owner[to as usize])
                {
                    owner
                        .holders
                        .entry((container, self.class(classes, to)))
                        .or_default()
                        .add(window, self.new_bytes[to as usize]);
                }
            }
        }
    }

    /// Whether no new object stands between the node and its owner.
    pub(crate) fn is_entry(&self, node: u32) -> bool {
        !self.nested.contains(node)
    }
}

/// Whether a program can hold something in it: V8's internals are looked through, so that a new backing store
/// does not hide the old Map it belongs to. Contexts count, because captured variables live there.
fn holds(snapshot: &Snapshot, node: u32) -> bool {
    match snapshot.nodes.kind(node) {
        NodeKind::Hidden
        | NodeKind::Array
        | NodeKind::Code
        | NodeKind::ObjectShape
        | NodeKind::Other
        | NodeKind::Synthetic => false,
        NodeKind::Object | NodeKind::Native => {
            let name = snapshot.raw_name(node);
            !name.starts_with(b"system / ") || is_context(name)
        }
        _ => true,
    }
}

pub(crate) fn is_context(name: &[u8]) -> bool {
    name == b"system / Context" || name.starts_with(b"system / Context / ")
}

/// Whether an object came with a class or a function, as what its instances inherit from. It is no instance itself, though it reads
/// as one of the class above.
fn is_prototype(snapshot: &Snapshot, node: u32) -> bool {
    let follow = |from, name| snapshot.follow(from, EdgeKind::Property, name);
    let class = follow(Node(node), "constructor");
    class.is_some_and(|class| {
        snapshot.kind(class) == NodeKind::Closure && follow(class, "prototype") == Some(Node(node))
    })
}

/// Whether an object may be what leaks: nothing that V8 makes by itself while it compiles and optimises.
fn is_evidence(snapshot: &Snapshot, node: u32) -> bool {
    holds(snapshot, node)
        && snapshot.nodes.kind(node) != NodeKind::Symbol
        && !is_prototype(snapshot, node)
}
