//! The class table: how many objects of which class, how many bytes, and what they retain together.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::heap::Heap;
use crate::meta::NodeKind;
use crate::shapes::Shapes;
use crate::sizes::Sizes;
use crate::snapshot::{Node, Place, Snapshot};

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Constructor, shape (`{a, b}`) or V8's word in parentheses.
    pub name: String,
    /// Where the constructor is written: two constructors of one name are two classes.
    pub place: Option<Place>,
    /// Objects that have bytes.
    pub count: u64,
    /// Their own bytes.
    pub shallow: u64,
    /// What is freed when all of them go: the retained sizes of those that no other of the class dominates.
    /// 0 in a summary, which knows no dominators.
    pub retained: u64,
    /// The distance of the nearest; 0 in a summary.
    pub distance: i32,
}

/// The classes of a snapshot.
#[derive(Debug)]
pub struct Classes {
    rows: Vec<Class>,
    of_node: Vec<u32>,
    shapes: Shapes,
}

impl Classes {
    /// Classes by count and shallow size, without dominators: the cheap answer.
    pub fn summary(snapshot: &Snapshot) -> Self {
        let shapes = Shapes::infer(snapshot);
        let sizes = crate::shallow::sizes(snapshot);
        let mut classes = Self::sort(snapshot, shapes);
        classes.tally(&sizes, |_| 0);
        classes
    }

    /// The full table.
    pub fn of(heap: &Heap) -> Self {
        Self::with_shapes(heap, Shapes::infer(&heap.snapshot))
    }

    /// The full table under the shapes of another snapshot.
    pub fn with_shapes(heap: &Heap, shapes: Shapes) -> Self {
        let mut classes = Self::sort(&heap.snapshot, shapes);
        classes.tally(&heap.shallow, |node| heap.distances.of_node[node as usize]);
        classes.retain(heap);
        classes
    }

    /// Rows of objects that have bytes, in the order of their first object.
    pub fn rows(&self) -> impl Iterator<Item = &Class> {
        self.rows.iter().filter(|row| row.count > 0)
    }

    /// The class of an object.
    pub fn class(&self, node: Node) -> &Class {
        &self.rows[self.of_node[node.0 as usize] as usize]
    }

    /// The number of an object's class, the same for all of its objects.
    pub(crate) fn index(&self, node: u32) -> u32 {
        self.of_node[node as usize]
    }

    /// For each class the first that reads the same: a module that is loaded again makes each of its classes anew.
    pub(crate) fn alike(&self) -> Vec<u32> {
        let mut first: FxHashMap<_, u32> = FxHashMap::default();
        let rows = self.rows.iter().zip(0..);
        rows.map(|(row, index)| {
            let place = row.place.as_ref().map(|place| {
                let nameless = place.script.is_empty().then_some(place.script_id);
                let script = crate::snapshot::without_query(&place.script);
                (script, nameless, place.line, place.column)
            });
            *first.entry((row.name.as_str(), place)).or_insert(index)
        })
        .collect()
    }

    pub(crate) fn all(&self) -> &[Class] {
        &self.rows
    }

    pub(crate) fn row(&self, index: u32) -> &Class {
        &self.rows[index as usize]
    }

    /// The shapes that plain objects were told apart by.
    pub fn shapes(&self) -> &Shapes {
        &self.shapes
    }

    fn sort(snapshot: &Snapshot, shapes: Shapes) -> Self {
        let shape_of = shapes.apply(snapshot);
        let mut sorter = Sorter {
            snapshot,
            shapes: &shapes,
            texts: FxHashMap::default(),
            names: FxHashMap::default(),
            classes: FxHashMap::default(),
            by_kind: [None; 17],
            rows: Vec::new(),
        };
        let mut locations = snapshot.locations.of_node.iter().peekable();
        let of_node = (0..snapshot.node_count())
            .map(|node| {
                let mut position = None;
                while let Some((located, at)) = locations.next_if(|(located, _)| *located <= node) {
                    if *located == node {
                        position = Some(*at);
                    }
                }
                sorter.class(node, position, &shape_of)
            })
            .collect();
        let rows = sorter.rows;
        Self {
            rows,
            of_node,
            shapes,
        }
    }

    fn tally(&mut self, sizes: &Sizes, distance: impl Fn(u32) -> i32) {
        for (node, class) in self.of_node.iter().enumerate() {
            let size = sizes.get(node as u32);
            if size == 0 {
                continue;
            }
            let row = &mut self.rows[*class as usize];
            let distance = distance(node as u32);
            row.distance = if row.count == 0 {
                distance
            } else {
                row.distance.min(distance)
            };
            row.count += 1;
            row.shallow = row.shallow.saturating_add(size);
        }
    }

    /// Adds up the outermost objects of each class on every way down the dominator tree.
    fn retain(&mut self, heap: &Heap) {
        const NONE: u32 = u32::MAX;
        let root = heap.snapshot.meta.root;
        let count = heap.snapshot.nodes.len();
        // The tree as first child and next sibling, walked without a stack.
        let mut child = vec![NONE; count];
        let mut sibling = vec![NONE; count];
        for node in heap.dominators.order.iter().skip(1) {
            let parent = heap.dominators.immediate[*node as usize] as usize;
            sibling[*node as usize] = child[parent];
            child[parent] = *node;
        }
        let mut open = vec![0_u32; self.rows.len()];
        let mut node = root;
        loop {
            let class = self.of_node[node as usize] as usize;
            if heap.shallow.get(node) > 0 {
                if open[class] == 0 {
                    let row = &mut self.rows[class];
                    row.retained = row.retained.saturating_add(heap.retained[node as usize]);
                }
                open[class] += 1;
            }
            if child[node as usize] != NONE {
                node = child[node as usize];
                continue;
            }
            loop {
                if heap.shallow.get(node) > 0 {
                    open[self.of_node[node as usize] as usize] -= 1;
                }
                if node == root {
                    return;
                }
                if sibling[node as usize] != NONE {
                    node = sibling[node as usize];
                    break;
                }
                node = heap.dominators.immediate[node as usize];
            }
        }
    }
}

/// What a class is called, before it has a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    /// A string of the snapshot, perhaps with `Detached ` before it.
    String {
        index: u32,
        detached: bool,
    },
    Shape(u32),
    /// A text made here.
    Made(u32),
}

struct Sorter<'a> {
    snapshot: &'a Snapshot,
    shapes: &'a Shapes,
    texts: FxHashMap<String, u32>,
    /// The name of objects by string index and prefix.
    names: FxHashMap<(u32, bool), Name>,
    classes: FxHashMap<(Option<u32>, Name), u32>,
    by_kind: [Option<u32>; 17],
    rows: Vec<Class>,
}

impl Sorter<'_> {
    fn class(&mut self, node: u32, position: Option<u32>, shape_of: &FxHashMap<u32, u32>) -> u32 {
        let kind = self.snapshot.nodes.kind(node);
        if !matches!(kind, NodeKind::Object | NodeKind::Native) {
            if let Some(class) = self.by_kind[kind as usize] {
                return class;
            }
            let name = self.made(class_of_kind(kind));
            let class = self.named(None, name);
            self.by_kind[kind as usize] = Some(class);
            return class;
        }
        let name = match shape_of.get(&node) {
            Some(shape) => Name::Shape(*shape),
            None => self.object_name(node),
        };
        let position = position.filter(|_| kind == NodeKind::Object);
        self.named(position, name)
    }

    fn object_name(&mut self, node: u32) -> Name {
        let index = self.snapshot.nodes.names[node as usize];
        let detached = self.snapshot.is_renamed(node);
        if let Some(name) = self.names.get(&(index, detached)) {
            return *name;
        }
        let text = self.snapshot.name(Node(node));
        let is_markup = text.starts_with('<') || text.starts_with("Detached <");
        let name = if is_markup {
            let short = without_attributes(&text).into_owned();
            self.made(short)
        } else {
            Name::String { index, detached }
        };
        self.names.insert((index, detached), name);
        name
    }

    fn made(&mut self, text: String) -> Name {
        let next = self.texts.len() as u32;
        Name::Made(*self.texts.entry(text).or_insert(next))
    }

    fn named(&mut self, position: Option<u32>, name: Name) -> u32 {
        let next = self.rows.len() as u32;
        let class = *self.classes.entry((position, name)).or_insert(next);
        if class == next {
            let text = match name {
                Name::String { index, detached } => {
                    let prefix = if detached { "Detached " } else { "" };
                    format!("{prefix}{}", self.snapshot.strings.text(index))
                }
                Name::Shape(index) => self.shapes.shapes[index as usize].name.clone(),
                Name::Made(wanted) => self
                    .texts
                    .iter()
                    .find(|(_, index)| **index == wanted)
                    .map(|(text, _)| text.clone())
                    .unwrap_or_default(),
            };
            self.rows.push(Class {
                name: text,
                place: position.map(|position| {
                    self.snapshot
                        .place_of(self.snapshot.locations.positions[position as usize])
                }),
                count: 0,
                shallow: 0,
                retained: 0,
                distance: 0,
            });
        }
        class
    }
}

/// `<div id="a">` is of the class `<div>`.
pub(crate) fn without_attributes(name: &str) -> Cow<'_, str> {
    let after = if name.starts_with("Detached <") {
        10
    } else if name.starts_with('<') {
        0
    } else {
        return Cow::Borrowed(name);
    };
    match name[after..].find(' ') {
        Some(space) => Cow::Owned(format!("{}>", &name[..after + space])),
        None => Cow::Borrowed(name),
    }
}

/// The class of nodes whose name is not their class.
pub(crate) fn class_of_kind(kind: NodeKind) -> String {
    match kind {
        NodeKind::Hidden => "(system)".to_owned(),
        NodeKind::Code => "(compiled code)".to_owned(),
        NodeKind::Closure => "Function".to_owned(),
        NodeKind::Regexp => "RegExp".to_owned(),
        other => format!("({})", other.word()),
    }
}
