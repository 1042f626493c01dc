//! What grows, by a name that stands in the source: functions and scopes have no class that says anything.

use plimsoll_heap::culprit::{Culprit, Origin};
use plimsoll_heap::{Classes, EdgeKind, Heap, Node, NodeKind, Place};

use crate::snapshot::object::cut;

/// Classes of the runtime whose place is that of the function which is suspended.
const SUSPENDED: [&str; 3] = ["Generator", "AsyncGenerator", "AsyncFunction"];

/// The kind of a culprit, in words.
pub(super) fn of(heap: &Heap, classes: &Classes, found: &Culprit) -> String {
    let snapshot = heap.snapshot();
    let samples: Vec<Node> = found
        .samples
        .iter()
        .filter_map(|id| snapshot.find(*id))
        .collect();
    let function = samples
        .iter()
        .find(|n| snapshot.kind(**n) == NodeKind::Closure);
    let scope = samples.iter().find(|n| is_scope(heap, **n));
    if function.is_some() || scope.is_some() {
        // Functions and variables that keep objects of the user's: these are what people know.
        let class = classes.rows().find(|row| {
            let is_there = row.place.is_some() && row.place == found.place;
            found.origin == Origin::User && is_there && !SUSPENDED.contains(&row.name.as_str())
        });
        if let Some(class) = class {
            return cut(&class.name);
        }
    }
    if let Some(function) = function {
        // Of several sorts of functions the one whose place is told is meant, wherever it hangs.
        let told = found.place.as_ref();
        let name = told
            .and_then(|place| name_at(heap, place))
            .or_else(|| own_name(heap, *function))
            .or_else(|| kept_as(heap, *function))
            .unwrap_or_else(|| "(anonymous)".to_owned());
        return format!("function {}", cut(&name));
    }
    if let Some(function) = scope.and_then(|scope| function_of(heap, *scope)) {
        return format!("variables of function {}", cut(&function));
    }
    if scope.is_some() {
        // Of what the runtime wrote, the function of the user's that it was given says more.
        let given = found.place.as_ref().filter(|_| found.place_is_function);
        if let Some(name) = given.and_then(|place| name_at(heap, place)) {
            return format!("variables behind function {}", cut(&name));
        }
        // What waits for a promise is the runtime's own: nobody wrote the function.
        let is_reaction = found.holder.class == "Promise";
        return if is_reaction {
            "Promise reactions".to_owned()
        } else {
            "variables of a function".to_owned()
        };
    }
    let kinds = std::iter::once(&found.kind).chain(&found.kinds_beside);
    let kinds: Vec<&str> = kinds.map(String::as_str).collect();
    cut(&kinds.join(" and "))
}

fn is_scope(heap: &Heap, node: Node) -> bool {
    heap.snapshot().name(node).starts_with("system / Context")
}

/// The property or variable a function is kept under.
fn kept_as(heap: &Heap, function: Node) -> Option<String> {
    let snapshot = heap.snapshot();
    let edges = heap.retainers(&[function]).pop()?;
    edges
        .into_iter()
        .filter(|e| {
            matches!(
                snapshot.edge_kind(*e),
                EdgeKind::Property | EdgeKind::Context
            )
        })
        .map(|e| snapshot.edge_name(e).into_owned())
        .find(|name| !["constructor", "__proto__", "prototype"].contains(&name.as_str()))
}

/// The name that a function was given; of one that `bind` made, that of the function which was bound.
fn own_name(heap: &Heap, function: Node) -> Option<String> {
    let snapshot = heap.snapshot();
    if let Some(bound) = snapshot.follow(function, EdgeKind::Internal, "bound_function") {
        let own = snapshot.name(bound).into_owned();
        // A method that was assigned has no name of its own.
        let name = Some(own).filter(|name| !name.is_empty());
        let name = name.or_else(|| kept_as(heap, bound)).unwrap_or_default();
        return Some(format!("bound {name}").trim_end().to_owned());
    }
    let name = snapshot.name(function);
    (!name.is_empty()).then(|| name.into_owned())
}

/// The name of a function that is written at this place.
fn name_at(heap: &Heap, place: &Place) -> Option<String> {
    let snapshot = heap.snapshot();
    let written_there = |n: &Node| {
        snapshot.kind(*n) == NodeKind::Closure && snapshot.place(*n).as_ref() == Some(place)
    };
    let function = snapshot.nodes().find(written_there)?;
    own_name(heap, function).or_else(|| kept_as(heap, function))
}

/// The name of the function whose variables a scope holds: a function in it, or one that is suspended there.
fn function_of(heap: &Heap, scope: Node) -> Option<String> {
    let snapshot = heap.snapshot();
    let suspended = snapshot.follow(scope, EdgeKind::Internal, "extension");
    if let Some(place) = suspended.and_then(|node| snapshot.place(node)) {
        return name_at(heap, &place);
    }
    let edges = heap.retainers(&[scope]).pop()?;
    let mut holders = edges.into_iter().map(|edge| snapshot.edge_from(edge));
    holders.find_map(|node| {
        let function = snapshot.kind(node) == NodeKind::Closure;
        function.then(|| own_name(heap, node)).flatten()
    })
}
