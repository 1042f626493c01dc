//! From objects that are new to who holds them: the owner that gained the same number per operation in both windows.
//!
//! New is what was not alive at the baseline; its age is the window it appeared in. The owner of a new object is its first
//! dominator that is old and can be named. A cache that only fills gains in the first window and not in the second, a queue
//! that is emptied has nothing left at the end, and neither is an owner to blame.

use std::collections::BTreeMap;

use plimsoll_heap::{Classes, EdgeKind, Heap, Node, NodeKind};

/// Fewer new objects of a class than this in a window prove nothing.
const FEWEST: u32 = 8;
/// Growth of the two windows may differ by this share.
const AGREEMENT: f64 = 0.25;
/// Bytes per operation below which growth of one owner is noise.
const LEAST_BYTES_PER_OP: f64 = 8.0;
/// Objects whose direct holders are looked up.
const SAMPLES: usize = 3_000;
/// A direct holder counts if it holds this share of the objects.
const HOLDS: f64 = 0.8;

/// When an object appeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Before the windows.
    Old,
    /// In the first.
    First,
    /// In the second.
    Second,
    /// After them.
    Later,
}

/// The early snapshots: which ids were alive at the baseline, after the first window, after the second.
pub(super) struct Windows<'a> {
    pub(super) baseline: &'a plimsoll_heap::Window,
    pub(super) first: &'a plimsoll_heap::Window,
    /// Without it there is one window, and nothing to compare it with.
    pub(super) second: Option<&'a plimsoll_heap::Window>,
    /// Operations in each window.
    pub(super) operations: [f64; 2],
}

impl Windows<'_> {
    fn age(&self, id: u32) -> Age {
        if self.baseline.contains(id) {
            Age::Old
        } else if self.first.contains(id) {
            Age::First
        } else if self.second.is_some_and(|s| s.contains(id)) {
            Age::Second
        } else {
            Age::Later
        }
    }

    /// Whether both windows gained alike.
    fn agree(&self, gained: [f64; 2]) -> bool {
        if self.second.is_none() {
            return true;
        }
        let [a, b] = [0, 1].map(|i| gained[i] / self.operations[i].max(1.0));
        (a - b).abs() <= AGREEMENT * a.max(b)
    }

    /// Whether each window gained enough to prove anything.
    fn enough(&self, counts: [u32; 2]) -> bool {
        counts[0] >= FEWEST && (self.second.is_none() || counts[1] >= FEWEST)
    }

    fn per_op(&self, gained: [f64; 2]) -> f64 {
        if self.second.is_none() {
            return gained[0] / self.operations[0].max(1.0);
        }
        (gained[0] + gained[1]) / (self.operations[0] + self.operations[1]).max(1.0)
    }
}

/// An owner that grew.
#[derive(Debug, Clone)]
pub(super) struct Gain {
    /// Who dominates what is new.
    pub(super) owner: Node,
    /// Old containers that each hold all of it; more than one where it is indexed twice.
    pub(super) containers: Vec<Node>,
    /// One of what is new.
    pub(super) sample: Node,
    /// Its class.
    pub(super) class: String,
    /// How many more of it per operation.
    pub(super) count_per_op: f64,
    /// How many more in each window.
    pub(super) counts: [u32; 2],
    /// Bytes that came with it, per operation.
    pub(super) bytes_per_op: f64,
    /// Of these, bytes outside the heap.
    pub(super) native_per_op: f64,
    /// Whether most of it hangs on another new one: a chain.
    pub(super) chained: bool,
}

/// Whose code makes objects of a class: the user's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    User,
    Unknown,
    Library,
    Runtime,
}

fn origin(script: &str) -> Origin {
    if script.is_empty() {
        Origin::Unknown
    } else if script.starts_with("node:") || script.starts_with("ext:") || !script.contains('/') {
        Origin::Runtime
    } else if is_library(script) {
        Origin::Library
    } else {
        Origin::User
    }
}

/// Whether a script is somebody else's. A package of the same workspace is reached by a link, and its real path has no
/// `node_modules` in it.
pub(super) fn is_library(script: &str) -> bool {
    script.contains("/node_modules/")
}

/// Whether a script is the user's own.
pub(super) fn is_user(script: &str) -> bool {
    origin(script) == Origin::User
}

/// New objects of one class below one owner.
#[derive(Debug, Clone)]
struct Kin {
    counts: [u32; 2],
    /// Retained by those that no other new object dominates, or that the chain begins with.
    outermost: [u32; 2],
    shallow: u64,
    retained: u64,
    origin: Origin,
    rank: u8,
    sample: Node,
}

#[derive(Debug, Default)]
struct Group {
    bytes: [u64; 2],
    native: [u64; 2],
    kin: BTreeMap<String, Kin>,
}

/// Owners that grew alike in both windows, the most bytes first.
pub(super) fn rank(heap: &Heap, classes: &Classes, windows: &Windows<'_>) -> Vec<Gain> {
    let snapshot = heap.snapshot();
    let ages: Vec<Age> = snapshot
        .nodes()
        .map(|node| windows.age(snapshot.id(node)))
        .collect();
    let is_new = |node: Node| matches!(ages[node.index()], Age::First | Age::Second);
    let mut owners: Vec<Option<Node>> = vec![None; ages.len()];
    let mut groups: BTreeMap<Node, Group> = BTreeMap::new();
    let mut members: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    for node in snapshot.nodes().filter(|n| is_new(*n)) {
        let owner = owner_of(heap, node, &ages, &mut owners);
        let window = usize::from(ages[node.index()] == Age::Second);
        let group = groups.entry(owner).or_default();
        let bytes = heap.shallow(node);
        group.bytes[window] += bytes;
        if snapshot.kind(node) == NodeKind::Native {
            group.native[window] += bytes;
        }
        if !heap.is_visible(node) {
            continue;
        }
        let above = new_above(heap, node, &ages);
        let class = classes.class(node);
        let kin = group.kin.entry(key(class)).or_insert_with(|| Kin {
            counts: [0; 2],
            outermost: [0; 2],
            shallow: 0,
            retained: 0,
            origin: class
                .place
                .as_ref()
                .map_or_else(|| place_origin(snapshot, node), |p| origin(&p.script)),
            rank: sort_of(snapshot.kind(node), &class.name),
            sample: node,
        });
        kin.counts[window] += 1;
        kin.shallow += bytes;
        match above {
            None => {
                kin.outermost[window] += 1;
                kin.retained += heap.retained(node);
            }
            // Those of one class that hang on each other would count the last of them over and over.
            Some(above) if key(classes.class(above)) == key(class) => {}
            Some(_) => kin.retained += heap.retained(node),
        }
        kin.sample = node;
        members.entry(owner).or_default().push(node);
    }
    let mut gains: Vec<Gain> = groups
        .iter()
        .filter_map(|(owner, group)| {
            let own = members.get(owner).map_or(&[][..], Vec::as_slice);
            gain(heap, classes, windows, (*owner, group, own), &ages)
        })
        .collect();
    gains.sort_by(|a, b| b.bytes_per_op.total_cmp(&a.bytes_per_op));
    gains
}

fn key(class: &plimsoll_heap::Class) -> String {
    match &class.place {
        Some(place) => format!("{}\n{}:{}", class.name, place.script, place.line),
        None => class.name.clone(),
    }
}

/// Functions have no class of their own: each is as good as its place.
fn place_origin(snapshot: &plimsoll_heap::Snapshot, node: Node) -> Origin {
    match snapshot.kind(node) {
        NodeKind::Closure => snapshot
            .place(node)
            .map_or(Origin::Runtime, |p| origin(&p.script)),
        _ => Origin::Unknown,
    }
}

/// Objects before functions before what only fills them.
fn sort_of(kind: NodeKind, class: &str) -> u8 {
    match kind {
        NodeKind::Object if class == "Array" => 3,
        NodeKind::Object => 0,
        NodeKind::Closure => 1,
        NodeKind::Native => 2,
        kind if kind.is_string() => 4,
        _ => 5,
    }
}

/// The first dominator that is old and can hold something by name.
fn owner_of(heap: &Heap, node: Node, ages: &[Age], known: &mut [Option<Node>]) -> Node {
    let mut way = Vec::new();
    let mut current = node;
    let owner = loop {
        if let Some(owner) = known[current.index()] {
            break owner;
        }
        way.push(current);
        let above = heap.dominator(current);
        if above == current {
            break current;
        }
        if ages[above.index()] == Age::Old && can_hold(heap, above) {
            break above;
        }
        current = above;
    };
    for node in way {
        known[node.index()] = Some(owner);
    }
    owner
}

/// Contexts are scopes: their variables have names.
pub(super) fn can_hold(heap: &Heap, node: Node) -> bool {
    heap.is_visible(node) || is_context(heap, node) || node == heap.snapshot().root()
}

pub(super) fn is_context(heap: &Heap, node: Node) -> bool {
    heap.snapshot().name(node).starts_with("system / Context")
}

/// The nearest new object above, if there is one a program can see.
fn new_above(heap: &Heap, node: Node, ages: &[Age]) -> Option<Node> {
    let mut current = node;
    loop {
        let above = heap.dominator(current);
        let is_new = matches!(ages[above.index()], Age::First | Age::Second);
        if above == current || (!is_new && can_hold(heap, above)) {
            return None;
        }
        if is_new && heap.is_visible(above) {
            return Some(above);
        }
        current = above;
    }
}

fn gain(
    heap: &Heap,
    classes: &Classes,
    windows: &Windows<'_>,
    (owner, group, members): (Node, &Group, &[Node]),
    ages: &[Age],
) -> Option<Gain> {
    let bytes = group.bytes.map(|b| b as f64);
    let bytes_per_op = windows.per_op(bytes);
    if bytes_per_op < LEAST_BYTES_PER_OP {
        return None;
    }
    let matches =
        |kin: &&Kin| windows.enough(kin.counts) && windows.agree(kin.counts.map(f64::from));
    let kins: Vec<(&String, &Kin)> = group.kin.iter().filter(|(_, kin)| matches(kin)).collect();
    let heaviest = kins.iter().map(|(_, kin)| weight(kin)).max()?;
    // What weighs next to nothing is not what leaks, whoever's it is.
    let (name, kin) = kins
        .into_iter()
        .filter(|(_, kin)| weight(kin) * 20 >= heaviest)
        .min_by_key(|(_, kin)| {
            let user = kin.origin == Origin::User && kin.rank < 2;
            let outer = kin.outermost[0] + kin.outermost[1] > 0;
            (
                !user,
                kin.rank >= 3,
                !outer,
                kin.origin,
                kin.rank,
                std::cmp::Reverse(weight(kin)),
            )
        })?;
    let owner = above_the_chain(heap, classes, windows, owner, group);
    let of_class: Vec<Node> = members
        .iter()
        .copied()
        .filter(|n| key(classes.class(*n)) == *name)
        .collect();
    let count: u32 = kin.counts.iter().sum();
    Some(Gain {
        owner,
        containers: containers(heap, owner, &of_class, ages),
        sample: kin.sample,
        class: classes.class(kin.sample).name.clone(),
        count_per_op: windows.per_op(kin.counts.map(f64::from)),
        counts: kin.counts,
        bytes_per_op,
        native_per_op: windows.per_op(group.native.map(|b| b as f64)),
        chained: is_chain(group, count),
    })
}

/// Whether most of what is new hangs on other new things: a list, or scopes that refer to the one before.
fn is_chain(group: &Group, count: u32) -> bool {
    let outermost: u32 = group.kin.values().flat_map(|k| k.outermost).sum();
    5 * outermost < count
}

/// What is added to a list hangs on what was added before: the owner is who holds the first of them.
fn above_the_chain(
    heap: &Heap,
    classes: &Classes,
    windows: &Windows<'_>,
    owner: Node,
    group: &Group,
) -> Node {
    let mut current = owner;
    while group
        .kin
        .get(&key(classes.class(current)))
        .is_some_and(|kin| windows.enough(kin.counts))
    {
        let next = heap.dominator_chain(current).find(|n| can_hold(heap, *n));
        match next {
            Some(next) => current = next,
            None => break,
        }
    }
    current
}

fn weight(kin: &Kin) -> u64 {
    kin.retained.max(kin.shallow)
}

/// Old containers that hold (nearly) all of these objects by references of their own, through what is new or unnamed.
fn containers(heap: &Heap, owner: Node, of_class: &[Node], ages: &[Age]) -> Vec<Node> {
    let snapshot = heap.snapshot();
    let step = of_class.len().div_ceil(SAMPLES).max(1);
    let asked: Vec<Node> = of_class.iter().copied().step_by(step).collect();
    let mut found: BTreeMap<Node, usize> = BTreeMap::new();
    let mut level: Vec<(Node, usize)> = asked.iter().copied().zip(0..).collect();
    let mut reached: std::collections::BTreeSet<(Node, usize)> = level.iter().copied().collect();
    // A few steps through entries, backing stores and wrappers; each level is one pass over all references.
    for _ in 0..6 {
        let nodes: Vec<Node> = level.iter().map(|(n, _)| *n).collect();
        let mut next = Vec::new();
        for ((_, of), edges) in level.iter().zip(heap.retainers(&nodes)) {
            for edge in edges {
                if matches!(snapshot.edge_kind(edge), EdgeKind::Weak) || !heap.is_essential(edge) {
                    continue;
                }
                let from = snapshot.edge_from(edge);
                let old = ages[from.index()] == Age::Old;
                if old && can_hold(heap, from) {
                    if reached.insert((from, *of)) {
                        *found.entry(from).or_default() += 1;
                    }
                } else if ages[from.index()] != Age::Later && reached.insert((from, *of)) {
                    next.push((from, *of));
                }
            }
        }
        let best = found.values().max().copied().unwrap_or(0);
        if next.is_empty() || best as f64 >= HOLDS * asked.len() as f64 || next.len() > 8 * SAMPLES
        {
            break;
        }
        level = next;
    }
    let enough = HOLDS * asked.len() as f64;
    let mut holding: Vec<Node> = found
        .into_iter()
        .filter(|(_, count)| *count as f64 >= enough)
        .map(|(node, _)| node)
        .collect();
    holding.sort_by_key(|node| {
        let below = *node == owner || heap.dominator_chain(*node).any(|d| d == owner);
        (!below, std::cmp::Reverse(heap.retained(*node)))
    });
    holding
}
