//! The holder in words: the way from something that has a name in the source down to the container.

use std::fmt;

use crate::columns::Position;
use crate::growth::{Growth, is_context};
use crate::heap::{Heap, Step};
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::{Edge, Node, Place, Snapshot};

use super::place::{Origin, origin};

/// One reference on the way from a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The reference as one writes it: `.cache`, `->sessions`, `[3]`, `{table}`; empty at the start.
    pub edge: String,
    /// What it leads to, by its name.
    pub name: String,
    /// Its id.
    pub id: u32,
}

/// An object that holds what grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// How a program reaches it: `sessions`, `globalThis.cache`, `Registry.all`, `server._events.request`.
    pub name: String,
    /// Names that the variable may have, where a snapshot leaves it open: they stand in `name`, with `|` between them.
    pub alternatives: Vec<String>,
    /// Its class.
    pub class: String,
    /// Its id.
    pub id: u32,
    /// A function of the file that declares the variable, if one is known.
    pub place: Option<Place>,
    /// Where the class is written whose instance has it as a property: the file that makes it, if not the one that
    /// declares the variable.
    pub class_place: Option<Place>,
    /// The whole way, from the root.
    pub path: Vec<Hop>,
}

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.name, self.class)?;
        if let Some(place) = self.place.as_ref().filter(|place| !place.script.is_empty()) {
            write!(out, " of {}", place.script)?;
        }
        Ok(())
    }
}

impl Holder {
    /// How this object is reached.
    pub fn of(heap: &Heap, node: Node) -> Self {
        let steps = heap.retainer_path(node);
        let (name, place) = name(heap, &steps);
        Self {
            alternatives: alternatives(heap, &steps),
            name,
            class: class(heap, node),
            id: heap.snapshot.id(node),
            place,
            class_place: class_place(heap, &steps),
            path: steps
                .iter()
                .map(|step| Hop {
                    edge: step
                        .edge
                        .map_or_else(String::new, |edge| heap.edge_label(edge)),
                    name: short(&heap.display_name(step.node)),
                    id: heap.snapshot.id(step.node),
                })
                .collect(),
        }
    }
}

/// The reference of an old owner that leads to most of what is new below it, by something that is new itself: what is replaced
/// again and again by something larger.
fn leading(heap: &Heap, growth: &Growth, owner: u32) -> Option<u32> {
    let snapshot = &heap.snapshot;
    let is_named = |edge: &u32| {
        matches!(
            snapshot.edges.kind(*edge),
            EdgeKind::Context | EdgeKind::Property | EdgeKind::Element
        )
    };
    let (bytes, edge) = snapshot
        .edge_range(owner)
        .filter(is_named)
        .map(|edge| (growth.bytes_below(snapshot.edges.to[edge as usize]), edge))
        .max_by_key(|(bytes, edge)| (*bytes, std::cmp::Reverse(*edge)))?;
    let is_new = !growth.is_old(snapshot.edges.to[edge as usize]);
    (bytes * 2 > growth.bytes_below(owner) && is_new).then_some(edge)
}

/// The collection or function that an old owner replaces again and again.
pub(super) fn replaced(heap: &Heap, growth: &Growth, owner: u32) -> Option<u32> {
    let snapshot = &heap.snapshot;
    let node = snapshot.edges.to[leading(heap, growth, owner)? as usize];
    let is_function = snapshot.nodes.kind(node) == NodeKind::Closure;
    (is_function || matches!(snapshot.raw_name(node), b"Map" | b"Set" | b"Array")).then_some(node)
}

impl Holder {
    /// The holder of a chain or of something replaced again and again: no old container gained entries, so the
    /// reference of the old owner that leads to what is new is named, and of a chain its beginning.
    pub(crate) fn of_inner(heap: &Heap, growth: &Growth, owner: u32, sample: u32) -> Self {
        let snapshot = &heap.snapshot;
        let alike = |node: u32| {
            snapshot.nodes.kind(node) == snapshot.nodes.kind(sample)
                && snapshot.nodes.names[node as usize] == snapshot.nodes.names[sample as usize]
        };
        if alike(owner) {
            let path = heap.retainer_path(Node(owner));
            let start = path.iter().rev().find(|step| !alike(step.node.0));
            return start.map_or_else(
                || Self::of(heap, Node(owner)),
                |start| Self::of(heap, start.node),
            );
        }
        let mut holder = Self::of(heap, Node(owner));
        if let Some(edge) = leading(heap, growth, owner) {
            let label = snapshot.edge_name(Edge(edge));
            holder.name = if is_context(snapshot.raw_name(owner)) {
                holder.alternatives.clear();
                label.into_owned()
            } else if snapshot.edges.kind(edge) == EdgeKind::Element {
                format!("{}[{label}]", holder.name)
            } else {
                holder.class_place = snapshot.place(Node(owner));
                format!("{}.{label}", holder.name)
            };
            holder.class = class(heap, Node(snapshot.edges.to[edge as usize]));
        }
        holder
    }
}

impl Holder {
    /// The holder of what is spread over the containers of a table: `carts[…].lines`, where `member` is one of them.
    pub(crate) fn of_spread(heap: &Heap, table: u32, member: u32) -> Self {
        let mut holder = Self::of(heap, Node(table));
        let steps = heap.retainer_path(Node(member));
        let Some(at) = steps.iter().position(|step| step.node.0 == table) else {
            return holder;
        };
        let below = &steps[at + 1..];
        let properties = below.iter().filter_map(|step| step.edge).filter(|edge| {
            heap.snapshot.edge_kind(*edge) == EdgeKind::Property
                && heap.snapshot.edge_from(*edge).0 != table
        });
        let mut labels: Vec<_> = properties
            .map(|edge| heap.snapshot.edge_name(edge))
            .collect();
        // Of a tree one branch in a branch says as much as all.
        labels.dedup();
        if !labels.is_empty() {
            holder.name = format!("{}[…].{}", holder.name, labels.join("."));
            holder.class = class(heap, Node(member));
            holder.class_place = class_place(heap, &steps);
        }
        holder
    }
}

impl Holder {
    /// What has a tree, of which `member` is a node: the property or the variable that its root is, if it is one.
    pub(crate) fn of_tree(heap: &Heap, top: u32, member: u32) -> Self {
        let mut holder = Self::of(heap, Node(top));
        let steps = heap.retainer_path(Node(member));
        let below = steps.iter().position(|step| step.node.0 == top);
        let root = below.and_then(|at| steps.get(at + 1));
        let Some((root, edge)) = root.and_then(|root| Some((root, root.edge?))) else {
            return holder;
        };
        match heap.snapshot.edge_kind(edge) {
            EdgeKind::Context => return Self::of(heap, root.node),
            EdgeKind::Property => {
                holder.name = format!("{}.{}", holder.name, heap.snapshot.edge_name(edge));
                holder.class = class(heap, root.node);
                holder.class_place = class_place(heap, &steps);
            }
            _ => {}
        }
        holder
    }

    /// The holder of what no object of the program holds, by the way to one such object: the runtime keeps open handles,
    /// and whoever may still be called back.
    pub(crate) fn of_root(heap: &Heap, sample: u32) -> Self {
        let mut holder = Self::of(heap, Node(sample));
        let is_of_runtime = |node: Node| heap.snapshot.kind(node) == NodeKind::Synthetic;
        let known = heap.retainer_path(Node(sample)).into_iter();
        let lasts = known.take_while(|step| is_of_runtime(step.node)).count();
        holder.path.truncate(lasts.max(1));
        if let Some(last) = holder.path.last() {
            holder.id = last.id;
        }
        "handles that the runtime keeps open".clone_into(&mut holder.name);
        "GC root".clone_into(&mut holder.class);
        (holder.place, holder.class_place) = (None, None);
        holder.alternatives.clear();
        holder
    }
}

/// The class of the object that has the last step's object as a property.
fn class_place(heap: &Heap, steps: &[Step]) -> Option<Place> {
    let [.., owner, last] = steps else {
        return None;
    };
    let is_property = heap.snapshot.edge_kind(last.edge?) == EdgeKind::Property;
    let is_instance = heap.snapshot.kind(owner.node) == NodeKind::Object;
    heap.snapshot
        .place(owner.node)
        .filter(|_| is_property && is_instance)
}

/// Names of strings and objects can be pages long.
fn short(name: &str) -> String {
    const MOST: usize = 80;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn class(heap: &Heap, node: Node) -> String {
    match heap.snapshot.kind(node) {
        NodeKind::Closure => "function".to_owned(),
        _ if is_context(heap.snapshot.raw_name(node.0)) => "captured variables".to_owned(),
        _ => short(&heap.snapshot.name(node)),
    }
}

/// The dotted name, from the last anchor on the way: a global, a variable, a function. And a place of the
/// script that the anchor is in.
fn name(heap: &Heap, steps: &[Step]) -> (String, Option<Place>) {
    let snapshot = &heap.snapshot;
    let mut parts: Vec<String> = Vec::new();
    let mut place = None;
    for (at, step) in steps.iter().enumerate().rev() {
        let node = step.node;
        let from = at.checked_sub(1).map(|before| steps[before].node);
        let Some(edge) = step.edge else { break };
        let label = snapshot.edge_name(edge);
        let kind = snapshot.edge_kind(edge);
        if let Some(context) = from.filter(|from| is_context(snapshot.raw_name(from.0)))
            && let Some(variable) = variable(snapshot, context, edge)
        {
            parts.push(variable.join("|"));
            place = place_of_context(heap, context);
            return (dotted(parts), place);
        }
        if is_context(snapshot.raw_name(node.0)) && parts.is_empty() {
            // The variables themselves hold it: say whose they are.
            place = place_of_context(heap, node);
            let function = from.map(|from| snapshot.name(from).into_owned());
            let function =
                function.filter(|name| !name.is_empty() && !name.starts_with("system / "));
            return (
                function.map_or_else(
                    || "variables of a function".to_owned(),
                    |name| format!("variables of {name}()"),
                ),
                place,
            );
        }
        if snapshot.kind(node) == NodeKind::Closure
            && (kind != EdgeKind::Internal || parts.is_empty())
        {
            let own = snapshot.name(node);
            place = snapshot.place(node);
            if !own.is_empty() && at + 1 != steps.len() {
                parts.push(own.into_owned());
                return (dotted(parts), place);
            }
        }
        if from.is_none_or(|from| snapshot.kind(from) == NodeKind::Synthetic) {
            let own = snapshot.name(node);
            parts.push(if is_global(&own) {
                "globalThis".to_owned()
            } else {
                short(&own)
            });
            break;
        }
        if let Some((variable, of)) = from.and_then(|from| exported(heap, from)) {
            parts.push(variable);
            return (dotted(parts), of);
        }
        // What a module exports is reached from the list of modules on ways that nobody wrote.
        if kind == EdgeKind::Property
            && label == "exports"
            && let Some(script) = from.and_then(|module| script_of_module(snapshot, module))
        {
            parts.push(label.into_owned());
            let start = Place {
                script,
                script_id: 0,
                line: 1,
                column: 1,
            };
            return (dotted(parts), place.or(Some(start)));
        }
        if kind == EdgeKind::Property || kind == EdgeKind::Element {
            parts.push(match kind {
                EdgeKind::Element => format!("[{label}]"),
                _ => label.into_owned(),
            });
            let parent = from.map(|from| snapshot.name(from));
            if parent.as_deref().is_some_and(is_global) {
                parts.push("globalThis".to_owned());
                break;
            }
        } else if snapshot.kind(node) == NodeKind::Object
            && parts.is_empty()
            && at + 1 == steps.len()
        {
            parts.push(short(&snapshot.name(node)));
        }
    }
    (dotted(parts), place)
}

/// The file of a `CommonJS` module.
fn script_of_module(snapshot: &Snapshot, module: Node) -> Option<String> {
    let file = snapshot.follow(module, EdgeKind::Property, "filename")?;
    let is_module = snapshot.raw_name(module.0) == b"Module" && snapshot.kind(file).is_string();
    is_module.then(|| snapshot.name(file).into_owned())
}

/// The name under which an ES module exports the variable in this cell, and a place in that module. Whoever imports it reaches the
/// same cell, on ways that carry no name; in the table of exports it stands behind its name.
fn exported(heap: &Heap, cell: Node) -> Option<(String, Option<Place>)> {
    let snapshot = &heap.snapshot;
    if snapshot.raw_name(cell.0) != b"system / Cell" {
        return None;
    }
    let retainers = |node: Node| heap.retainers(&[node]).pop().unwrap_or_default();
    let (table, name) = retainers(cell).into_iter().find_map(|edge| {
        let table = snapshot.edge_from(edge);
        let at: u32 = snapshot.edge_name(edge).parse().ok()?;
        let before = at.checked_sub(1)?.to_string();
        let name = snapshot.follow(table, EdgeKind::Internal, &before)?;
        let is_name = snapshot.kind(name).is_string();
        is_name.then(|| (table, snapshot.name(name).into_owned()))
    })?;
    // A module stands in the context of its own code.
    let place = retainers(table).into_iter().find_map(|edge| {
        let module = snapshot.edge_from(edge);
        if snapshot.raw_name(module.0) != b"system / SourceTextModule" {
            return None;
        }
        let contexts = retainers(module).into_iter();
        let mut contexts = contexts
            .map(|edge| snapshot.edge_from(edge))
            .filter(|from| is_context(snapshot.raw_name(from.0)));
        contexts.find_map(|context| place_of_context(heap, context))
    });
    Some((name, place))
}

/// The name of a captured variable, or the names it may have. V8 names the variables of functions; those of blocks only
/// stand in the description of the scope, in order, while references leave out all that are small numbers.
fn variable(snapshot: &Snapshot, context: Node, edge: Edge) -> Option<Vec<String>> {
    match snapshot.edge_kind(edge) {
        EdgeKind::Context => return Some(vec![snapshot.edge_name(edge).into_owned()]),
        EdgeKind::Hidden => {}
        _ => return None,
    }
    let hidden = |node: Node| {
        let edges = snapshot.edges(node);
        edges.filter(|edge| snapshot.edge_kind(*edge) == EdgeKind::Hidden)
    };
    let info = snapshot.follow(context, EdgeKind::Internal, "scope_info")?;
    let names: Vec<Node> = hidden(info)
        .map(|edge| snapshot.edge_to(edge))
        .filter(|node| snapshot.kind(*node).is_string())
        .collect();
    let at = hidden(context).position(|known| known == edge)?;
    let left_out = names.len().checked_sub(hidden(context).count())?;
    let may_be = names.get(at..=at + left_out)?;
    let may_be = may_be.iter().map(|node| snapshot.name(*node).into_owned());
    Some(may_be.collect())
}

/// The names that the variable on the way to a container may have, if there are several.
fn alternatives(heap: &Heap, steps: &[Step]) -> Vec<String> {
    let snapshot = &heap.snapshot;
    let named = steps.iter().zip(steps.iter().skip(1)).rev();
    let mut variables = named
        .filter(|(from, _)| is_context(snapshot.raw_name(from.node.0)))
        .filter_map(|(from, step)| variable(snapshot, from.node, step.edge?));
    variables
        .next()
        .filter(|names| names.len() > 1)
        .unwrap_or_default()
}

fn is_global(name: &str) -> bool {
    matches!(name, "global" | "globalThis" | "Window" | "global / ")
        || name.starts_with("Window ")
        || name.starts_with("Window / ")
}

/// Parts come from the container upwards.
fn dotted(parts: Vec<String>) -> String {
    const MOST_PARTS: usize = 6;
    let mut text = String::new();
    let count = parts.len();
    for (index, part) in parts.into_iter().rev().enumerate() {
        // The middle of a long way says little.
        if count > MOST_PARTS && index > 1 && index + MOST_PARTS - 2 < count {
            if index == 2 {
                text.push_str(".…");
            }
            continue;
        }
        if index > 0 && !part.starts_with('[') {
            text.push('.');
        }
        text.push_str(&part);
    }
    text
}

/// The first function, by position, that shares the variables.
fn place_of_context(heap: &Heap, context: Node) -> Option<Place> {
    let snapshot = &heap.snapshot;
    let retainers = heap.retainers(&[context]).pop()?;
    let mut positions: Vec<Position> = retainers
        .iter()
        .filter(|edge| snapshot.edge_kind(**edge) == EdgeKind::Internal)
        .map(|edge| snapshot.edge_from(*edge))
        .filter(|from| snapshot.kind(*from) == NodeKind::Closure)
        .filter_map(|from| snapshot.locations.position(from.0))
        .map(|position| snapshot.locations.positions[position as usize])
        .collect();
    positions.sort_unstable();
    positions
        .first()
        .map(|position| snapshot.place_of(*position))
}

/// Which of several containers of one leak to name first: one of the user's that is a collection, in code
/// that can be named.
pub(super) fn rank(heap: &Heap, node: u32) -> (bool, Origin, u32) {
    let snapshot = &heap.snapshot;
    let name = snapshot.raw_name(node);
    let is_collection = [&b"Map"[..], b"Set", b"Array", b"Object"].contains(&name);
    let whose = steps_origin(heap, node);
    let kind = match name {
        b"Map" => 0,
        b"Set" => 1,
        b"Object" => 2,
        _ => 3,
    };
    (!is_collection, whose, kind)
}

/// Whose variables the container is reached through.
pub(super) fn steps_origin(heap: &Heap, node: u32) -> Origin {
    let steps = heap.retainer_path(Node(node));
    let (_, place) = name(heap, &steps);
    place.map_or(Origin::Unknown, |place| origin(&place.script))
}
