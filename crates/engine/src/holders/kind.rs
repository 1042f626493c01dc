//! What grows, by a name that stands in the source: functions and scopes have no class that says anything.

use plimsoll_heap::culprit::Culprit;
use plimsoll_heap::{EdgeKind, Heap, Node, NodeKind};

use crate::snapshot::object::cut;

/// The kind of a culprit, in words.
pub(super) fn of(heap: &Heap, found: &Culprit) -> String {
    let snapshot = heap.snapshot();
    let samples: Vec<Node> = found
        .samples
        .iter()
        .filter_map(|id| snapshot.find(*id))
        .collect();
    let functions = samples
        .iter()
        .filter(|n| snapshot.kind(**n) == NodeKind::Closure);
    // Of several sorts of functions the one whose place is told is meant.
    let function = functions
        .clone()
        .find(|n| snapshot.place(**n) == found.place)
        .or_else(|| functions.clone().next());
    if let Some(function) = function {
        let name = snapshot.name(*function);
        let name = if name.is_empty() {
            kept_as(heap, *function).unwrap_or_else(|| "(anonymous)".to_owned())
        } else {
            name.into_owned()
        };
        return format!("function {}", cut(&name));
    }
    let scope = samples.iter().find(|n| is_scope(heap, **n));
    if let Some(function) = scope.and_then(|scope| function_of(heap, *scope)) {
        return format!("variables of function {}", cut(&function));
    }
    cut(&found.kind)
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
        .find(|name| name != "constructor")
}

/// The name of the function whose variables a scope holds: a function in it, or one that is suspended there.
fn function_of(heap: &Heap, scope: Node) -> Option<String> {
    let snapshot = heap.snapshot();
    let edges = heap.retainers(&[scope]).pop()?;
    edges.into_iter().find_map(|edge| {
        let from = snapshot.edge_from(edge);
        let function = match snapshot.kind(from) {
            NodeKind::Closure => from,
            _ => snapshot.follow(from, EdgeKind::Internal, "function")?,
        };
        let name = snapshot.name(function);
        (!name.is_empty()).then(|| name.into_owned())
    })
}
