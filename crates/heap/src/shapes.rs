//! Plain objects told apart: `{id, name}` instead of one class `Object` that holds everything.
//!
//! As in `DevTools`, a shape is a list of properties that at least two plain objects and one in a thousand
//! begin with; an object belongs to the largest shape whose properties it all has.

use std::fmt::Write;

use rustc_hash::FxHashMap;

use crate::meta::{EdgeKind, NodeKind};
use crate::names;
use crate::snapshot::{Node, Snapshot};

/// A shape stops growing at this length of its name, in UTF-16 units.
const MOST_NAME: usize = 120;
const FEWEST_OBJECTS: usize = 2;
/// A shape is worth a name if one in this many plain objects has it.
const OBJECTS_PER_SHAPE: usize = 1000;
/// Longer lists of properties are dictionaries, each of its own; remembering them would only cost memory.
const MOST_REMEMBERED: usize = 64;

/// A named list of properties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) properties: Vec<String>,
}

/// What the plain objects of a snapshot look like. Applied to another snapshot of the same process, it makes
/// classes comparable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shapes {
    pub(crate) shapes: Vec<Shape>,
}

/// The plain objects of a snapshot and their properties.
struct Plain<'a> {
    snapshot: &'a Snapshot,
    /// String index of `Object`.
    name: Option<u32>,
}

impl<'a> Plain<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            name: snapshot.name_of_kind(NodeKind::Object, "Object"),
        }
    }

    fn nodes(&self) -> impl Iterator<Item = u32> + use<'a> {
        let snapshot = self.snapshot;
        let name = self.name;
        (0..snapshot.node_count()).filter(move |node| {
            Some(snapshot.nodes.names[*node as usize]) == name
                && snapshot.nodes.kind(*node) == NodeKind::Object
        })
    }

    /// String indices of the properties, in order.
    fn properties(&self, node: u32) -> impl Iterator<Item = u32> + use<'a> {
        let snapshot = self.snapshot;
        snapshot
            .edge_range(node)
            .filter(|edge| snapshot.edges.kind(*edge) == EdgeKind::Property)
            .map(|edge| snapshot.edges.name(edge))
    }
}

impl Shapes {
    /// The shapes that this snapshot's own objects suggest.
    pub fn infer(snapshot: &Snapshot) -> Self {
        let plain = Plain::of(snapshot);
        let mut lengths: FxHashMap<u32, Option<usize>> = FxHashMap::default();
        let mut candidates: FxHashMap<Vec<u32>, usize> = FxHashMap::default();
        let mut counts: Vec<usize> = Vec::new();
        let mut objects = 0;
        let mut properties = Vec::new();
        for node in plain.nodes() {
            objects += 1;
            properties.clear();
            let mut length = 1;
            for name in plain.properties(node) {
                // None for the property that is not one.
                let known = *lengths.entry(name).or_insert_with(|| {
                    let text = snapshot.strings.text(name);
                    (text != "__proto__").then(|| names::property(&text).encode_utf16().count())
                });
                let Some(own) = known else { continue };
                if length > 1 && length + own > MOST_NAME {
                    break;
                }
                length += own + if length > 1 { 2 } else { 0 };
                properties.push(name);
            }
            if properties.is_empty() {
                continue;
            }
            if let Some(index) = candidates.get(properties.as_slice()) {
                counts[*index] += 1;
            } else {
                candidates.insert(properties.clone(), counts.len());
                counts.push(1);
            }
        }
        // At least one in a thousand, which need not be a whole number.
        let frequent =
            |count: usize| count >= FEWEST_OBJECTS && count * OBJECTS_PER_SHAPE >= objects;
        let mut chosen: Vec<(usize, Vec<u32>)> = candidates
            .into_iter()
            .map(|(properties, index)| (index, properties))
            .filter(|(index, _)| frequent(counts[*index]))
            .collect();
        chosen.sort_unstable_by_key(|(index, _)| (std::cmp::Reverse(counts[*index]), *index));
        let shapes = chosen
            .into_iter()
            .map(|(_, properties)| {
                let properties: Vec<String> = properties
                    .iter()
                    .map(|property| snapshot.strings.text(*property).into_owned())
                    .collect();
                Shape {
                    name: named(properties.iter().map(String::as_str)),
                    properties,
                }
            })
            .collect();
        Self { shapes }
    }

    /// The name of a class of plain objects with those properties, too, that one of its objects has but a snapshot has no
    /// references for: small numbers. The object's map lists all properties in order; those after the last of the shape
    /// may be of other objects that share the list, and are left out.
    pub(crate) fn with_numbers(
        &self,
        snapshot: &Snapshot,
        name: &str,
        node: u32,
    ) -> Option<String> {
        let shape = self.shapes.iter().find(|shape| shape.name == name)?;
        let follow = |from, label| snapshot.follow(from, EdgeKind::Internal, label);
        let listed = follow(follow(Node(node), "map")?, "descriptors")?;
        let names: Vec<String> = snapshot
            .edges(listed)
            .filter(|edge| {
                snapshot.edge_kind(*edge) == EdgeKind::Internal
                    && snapshot
                        .edge_name(*edge)
                        .bytes()
                        .all(|b| b.is_ascii_digit())
            })
            .map(|edge| snapshot.edge_to(edge))
            .filter(|name| snapshot.kind(*name).is_string())
            .map(|name| snapshot.name(name).into_owned())
            .collect();
        let ends: Option<Vec<usize>> = shape
            .properties
            .iter()
            .map(|property| names.iter().position(|name| name == property))
            .collect();
        let end = ends?.into_iter().max()?;
        Some(named(names[..=end].iter().map(String::as_str)))
    }

    /// The shape of each plain object, by index; nodes without one are left out.
    pub(crate) fn apply(&self, snapshot: &Snapshot) -> FxHashMap<u32, u32> {
        let mut found = FxHashMap::default();
        if self.shapes.is_empty() {
            return found;
        }
        let plain = Plain::of(snapshot);
        let mut matcher = Matcher::of(self, snapshot);
        let mut remembered: FxHashMap<Vec<u32>, Option<u32>> = FxHashMap::default();
        let mut properties = Vec::new();
        for node in plain.nodes() {
            properties.clear();
            properties.extend(plain.properties(node));
            let shape = if let Some(shape) = remembered.get(properties.as_slice()) {
                *shape
            } else {
                let shape = matcher.best(&properties);
                if properties.len() <= MOST_REMEMBERED {
                    remembered.insert(properties.clone(), shape);
                }
                shape
            };
            if let Some(shape) = shape {
                found.insert(node, shape);
            }
        }
        found
    }
}

/// `{id, name}`.
fn named<'a>(properties: impl Iterator<Item = &'a str>) -> String {
    let mut name = String::from("{");
    for property in properties {
        let separator = if name.len() > 1 { ", " } else { "" };
        let _ = write!(name, "{separator}{}", names::property(property));
    }
    name.push('}');
    name
}

/// Finds the largest shape that is part of a list of properties.
///
/// Shapes are sorted lists in a tree; an object's sorted properties are run through it with a set of states.
struct Matcher<'a> {
    snapshot: &'a Snapshot,
    /// Next state by state and property.
    next: FxHashMap<(u32, u32), u32>,
    /// The last property that leads on from each state: past it the state is done with.
    last: Vec<Option<u32>>,
    /// The shape that ends in each state, and its number of properties.
    ends: Vec<Option<(usize, u32)>>,
    /// Properties of shapes by text, and the property of each string index looked up so far.
    symbols: FxHashMap<&'a str, u32>,
    known: FxHashMap<u32, Option<u32>>,
}

impl<'a> Matcher<'a> {
    fn of(shapes: &'a Shapes, snapshot: &'a Snapshot) -> Self {
        let mut matcher = Self {
            snapshot,
            next: FxHashMap::default(),
            last: vec![None],
            ends: vec![None],
            symbols: FxHashMap::default(),
            known: FxHashMap::default(),
        };
        for (index, shape) in shapes.shapes.iter().enumerate() {
            let mut symbols: Vec<u32> = shape
                .properties
                .iter()
                .map(|property| {
                    let next = matcher.symbols.len() as u32;
                    *matcher.symbols.entry(property).or_insert(next)
                })
                .collect();
            symbols.sort_unstable();
            let mut state = 0;
            for symbol in &symbols {
                let fresh = matcher.ends.len() as u32;
                let last = &mut matcher.last[state as usize];
                *last = (*last).max(Some(*symbol));
                state = *matcher.next.entry((state, *symbol)).or_insert(fresh);
                if state == fresh {
                    matcher.ends.push(None);
                    matcher.last.push(None);
                }
            }
            let end = &mut matcher.ends[state as usize];
            if end.is_none() {
                *end = Some((symbols.len(), index as u32));
            }
        }
        matcher
    }

    fn best(&mut self, properties: &[u32]) -> Option<u32> {
        let mut symbols: Vec<u32> = properties
            .iter()
            .filter_map(|name| {
                *self.known.entry(*name).or_insert_with(|| {
                    let text = self.snapshot.strings.text(*name);
                    self.symbols.get(&*text).copied()
                })
            })
            .collect();
        symbols.sort_unstable();
        let mut states = vec![0_u32];
        let mut best: Option<(usize, u32)> = None;
        for symbol in symbols {
            states.retain(|state| self.last[*state as usize] >= Some(symbol));
            for at in 0..states.len() {
                let Some(next) = self.next.get(&(states[at], symbol)).copied() else {
                    continue;
                };
                if states.contains(&next) {
                    continue;
                }
                states.push(next);
                if let Some((size, index)) = self.ends[next as usize] {
                    let better = best.is_none_or(|(known, first)| {
                        size > known || (size == known && index < first)
                    });
                    if better {
                        best = Some((size, index));
                    }
                }
            }
        }
        best.map(|(_, index)| index)
    }
}
