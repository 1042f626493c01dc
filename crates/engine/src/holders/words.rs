//! From nodes to words: how a holder is called, where its growth is made, and in which pattern.

use plimsoll_heap::{EdgeKind, Heap, Node, NodeKind, Place, Step};

use super::rank::{self, Gain};
use crate::snapshot::object::cut;

/// A reference by a name that somebody gave.
fn given_name(heap: &Heap, step: &Step) -> Option<String> {
    let edge = step.edge?;
    let name = match heap.snapshot().edge_kind(edge) {
        EdgeKind::Property | EdgeKind::Context => heap.snapshot().edge_name(edge),
        _ => return None,
    };
    let internal = ["__proto__", "context", "this", "constructor", "prototype"];
    (!internal.contains(&&*name)).then(|| name.into_owned())
}

/// What is known of a holder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Holder {
    /// `Map`, `Array`, `EventEmitter`, `variable`.
    pub(super) container: String,
    /// The names on the way to it, outermost first, as far as they are the program's own.
    pub(super) names: Vec<String>,
    /// The script it belongs to.
    pub(super) script: Option<String>,
    /// Where something on the way to it is written: the class that has it as a property, the function that has it as a
    /// variable.
    pub(super) near: Option<Place>,
    /// Kinds of objects on the way.
    pub(super) classes: Vec<String>,
}

impl Holder {
    /// `Map sessions (store.js)`.
    pub(super) fn text(&self) -> String {
        let mut text = self.container.clone();
        if !self.names.is_empty() {
            text.push_str(&format!(" `{}`", self.names.join(".")));
        }
        if let Some(script) = &self.script {
            let file = script.rsplit('/').next().unwrap_or(script);
            text.push_str(&format!(" ({file})"));
        }
        text
    }

    pub(super) fn of(heap: &Heap, gain: &Gain) -> Self {
        let container = gain.containers.first().copied().unwrap_or(gain.owner);
        let snapshot = heap.snapshot();
        let mut path = heap.retainer_path(container);
        if rank::is_context(heap, container) {
            // A scope holds by its variables: the one that leads to what is new is meant.
            path.extend(variable(heap, container, gain.sample));
        }
        // What is the runtime's own on the way in is of no interest: the path of the program begins at its first name
        // after the last function or module of the runtime.
        let script_of = |node: Node| -> Option<Place> {
            let place = snapshot.place(node)?;
            (!place.script.is_empty()).then_some(place)
        };
        let user = path
            .iter()
            .rposition(|s| script_of(s.node).is_some_and(|p| rank::is_user(&p.script)));
        let library = path
            .iter()
            .rposition(|s| script_of(s.node).is_some_and(|p| rank::is_library(&p.script)));
        let from = user
            .or(library)
            .unwrap_or_else(|| path.len().saturating_sub(4));
        let near = path.get(from).and_then(|s| script_of(s.node));
        let mut names: Vec<String> = path[from + 1..]
            .iter()
            .filter_map(|step| given_name(heap, step))
            .collect();
        if names.is_empty() {
            names.extend(path.iter().rev().find_map(|step| given_name(heap, step)));
        }
        if names.len() > 4 {
            names.drain(..names.len() - 4);
        }
        let last = path.last().map_or(container, |s| s.node);
        let word = if rank::is_context(heap, container) && last == container {
            "scope".to_owned()
        } else {
            let name = heap.display_name(last);
            match snapshot.kind(last) {
                NodeKind::Closure => format!("function {}", cut(&name)),
                kind if kind.is_string() => "string".to_owned(),
                _ => cut(&name),
            }
        };
        let classes = path
            .iter()
            .map(|s| snapshot.name(s.node).into_owned())
            .collect();
        Self {
            container: word,
            script: near.as_ref().map(|p| p.script.clone()),
            names,
            near,
            classes,
        }
    }
}

/// The variable of a scope through which the object is reached.
fn variable(heap: &Heap, context: Node, sample: Node) -> Option<Step> {
    let snapshot = heap.snapshot();
    let mut chain = vec![sample];
    chain.extend(heap.dominator_chain(sample).take_while(|n| *n != context));
    let edges: Vec<_> = snapshot
        .edges(context)
        .filter(|e| snapshot.edge_kind(*e) == EdgeKind::Context)
        .collect();
    let edge = edges
        .iter()
        .find(|e| chain.contains(&snapshot.edge_to(**e)))
        .copied()?;
    Some(Step {
        edge: Some(edge),
        node: snapshot.edge_to(edge),
    })
}

/// The pattern of a gain, by how it is held.
pub(super) fn pattern(heap: &Heap, gain: &Gain, holder: &Holder) -> &'static str {
    let snapshot = heap.snapshot();
    let class = gain.class.as_str();
    let named = |word: &str| holder.names.iter().any(|n| n == word);
    let passes = |words: &[&str]| holder.classes.iter().any(|c| words.iter().any(|w| c == w));
    let way: Vec<String> = heap
        .dominator_chain(gain.sample)
        .take(12)
        .map(|n| snapshot.name(n).into_owned())
        .collect();
    let below = |word: &str| class == word || way.iter().any(|c| c == word);
    if passes(&["TimersList", "PriorityQueue"])
        || ["Timeout", "Immediate", "TimersList"]
            .iter()
            .any(|w| below(w))
    {
        return "timers";
    }
    if class == "Module" && named("children") {
        return "module reload";
    }
    if passes(&["WebAssembly.Memory", "WebAssembly.Instance"]) || class.starts_with("WebAssembly") {
        return "WebAssembly memory";
    }
    if named("pipes") {
        return "streams left open";
    }
    let listening = [
        "_events",
        "_listeners",
        "listeners",
        "observers",
        "currentObservers",
        "<symbol kEvents>",
    ];
    if listening.iter().any(|w| named(w)) || passes(&["EventTarget", "AbortSignal"]) {
        return "event listeners";
    }
    if gain.native_per_op > 0.6 * gain.bytes_per_op {
        return "native block";
    }
    if ["AsyncResource", "AsyncContextFrame"]
        .iter()
        .any(|w| below(w))
    {
        return "async context";
    }
    let container = holder.container.as_str();
    let settled =
        container == "Promise" || below("PromiseReaction") || below("system / PromiseReaction");
    if settled && container != "Map" && container != "Array" {
        return "pending promises/tasks";
    }
    let through_scopes = || way.iter().any(|c| c.starts_with("system / Context"));
    match container {
        "Map" | "MapCache" => "unbounded map",
        "Set" => "unbounded set",
        "Array" => "queue build-up",
        "WeakMap" | "WeakSet" => "weak map misuse",
        "global" => "global reference",
        _ if gain.chained && through_scopes() => "closure capture",
        _ if gain.chained => "queue build-up",
        "scope" => "closure capture",
        _ if container.starts_with("function ") => "global reference",
        _ => "unbounded map",
    }
}
