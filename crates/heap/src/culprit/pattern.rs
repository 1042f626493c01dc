//! The shape of the mistake, told by what piles up and where.

use std::borrow::Cow;

use crate::growth::{Growth, is_context};
use crate::heap::Heap;
use crate::meta::{EdgeKind, NodeKind};
use crate::snapshot::{Edge, Node};

use super::place::Origin;
use super::{holder, spread};

/// A known way to leak. [`Pattern::name`] is what people read, [`Pattern::id`] what advice is filed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pattern {
    /// Handlers added again and again and never removed.
    EventListeners,
    /// Intervals and timeouts that are never cleared.
    Timers,
    /// A Map, Set or object that only grows.
    UnboundedMap,
    /// An array that only grows.
    UnboundedArray,
    /// Objects that hold one another in a row.
    LinkedList,
    /// Functions kept, and with them the variables they captured.
    ClosureCapture,
    /// Something reached from a global.
    GlobalReference,
    /// Promises that never settle, or whose reactions pile up.
    PendingPromises,
    /// Sockets, requests and responses that are never closed.
    OpenConnections,
    /// Streams that are never ended or destroyed.
    OpenStreams,
    /// Modules loaded again and again.
    ModuleReload,
    /// WebAssembly memories and instances.
    WebAssembly,
    /// Workers.
    Workers,
    /// What the runtime keeps until it is closed: the ports of a channel, watchers of files.
    OpenHandles,
    /// State attached to asynchronous resources.
    AsyncResources,
    /// DOM nodes that are in no document.
    DetachedDom,
    /// Entries of a weak map whose keys somebody keeps alive.
    WeakMapKeys,
    /// What a registry keeps for when an object is collected, and by which that object is never collected.
    FinalizerCycle,
}

impl Pattern {
    /// Words for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::EventListeners => "event listeners",
            Self::Timers => "timers",
            Self::UnboundedMap => "unbounded map/cache",
            Self::UnboundedArray => "unbounded array",
            Self::LinkedList => "linked list",
            Self::ClosureCapture => "closure capture",
            Self::GlobalReference => "global reference",
            Self::PendingPromises => "pending promises",
            Self::OpenConnections => "connections left open",
            Self::OpenStreams => "streams left open",
            Self::ModuleReload => "module reload",
            Self::WebAssembly => "WebAssembly memory",
            Self::Workers => "workers left running",
            Self::OpenHandles => "handles left open",
            Self::AsyncResources => "async resources",
            Self::DetachedDom => "detached DOM",
            Self::WeakMapKeys => "weak map with kept keys",
            Self::FinalizerCycle => "reference cycle with a finaliser",
        }
    }

    /// A stable word for machines.
    pub fn id(self) -> &'static str {
        match self {
            Self::EventListeners => "event-listeners",
            Self::Timers => "timers",
            Self::UnboundedMap => "unbounded-map",
            Self::UnboundedArray => "unbounded-array",
            Self::LinkedList => "linked-list",
            Self::ClosureCapture => "closure-capture",
            Self::GlobalReference => "global-reference",
            Self::PendingPromises => "pending-promises",
            Self::OpenConnections => "open-connections",
            Self::OpenStreams => "open-streams",
            Self::ModuleReload => "module-reload",
            Self::WebAssembly => "webassembly-memory",
            Self::Workers => "workers",
            Self::OpenHandles => "open-handles",
            Self::AsyncResources => "async-resources",
            Self::DetachedDom => "detached-dom",
            Self::WeakMapKeys => "weak-map-keys",
            Self::FinalizerCycle => "reference-cycle-with-a-finaliser",
        }
    }

    /// The classes of the runtimes that it is told by, those that people know first; none where others say as much.
    pub(super) fn known_classes(self) -> &'static [&'static str] {
        match self {
            Self::OpenConnections | Self::ModuleReload => BY_CLASS
                .iter()
                .find(|(_, pattern)| *pattern == self)
                .map_or(&[], |(names, _)| names),
            _ => &[],
        }
    }

    /// Whether the function that was registered says more than the constructor of what holds it.
    pub fn is_about_functions(self) -> bool {
        matches!(
            self,
            Self::EventListeners
                | Self::Timers
                | Self::ClosureCapture
                | Self::PendingPromises
                | Self::AsyncResources
        )
    }
}

/// Classes of the runtimes that are patterns by themselves.
const BY_CLASS: [(&[&str], Pattern); 9] = [
    (
        &[
            "Timeout",
            "Immediate",
            "TimersList",
            "DOMTimer",
            "ScheduledAction",
        ],
        Pattern::Timers,
    ),
    (
        &[
            "Promise",
            "PromiseReaction",
            "system / PromiseReaction",
            "AsyncFunction",
            "AsyncGenerator",
            "PromiseCapability",
        ],
        Pattern::PendingPromises,
    ),
    (
        &[
            "Socket",
            "TLSSocket",
            "TCP",
            "Pipe",
            "Server",
            "ClientRequest",
            "IncomingMessage",
            "ServerResponse",
            "HTTPParser",
            "Http2Session",
            "ClientHttp2Session",
            "ServerHttp2Session",
            "Http2Stream",
            "WebSocket",
            "UDP",
        ],
        Pattern::OpenConnections,
    ),
    (
        &[
            "Readable",
            "Writable",
            "Duplex",
            "Transform",
            "PassThrough",
            "ReadStream",
            "WriteStream",
            "ReadableStream",
            "WritableStream",
            "Gzip",
            "Gunzip",
            "Deflate",
            "Inflate",
            "FSReqCallback",
            "FileHandle",
        ],
        Pattern::OpenStreams,
    ),
    (
        &[
            "Module",
            "ModuleWrap",
            "ModuleJob",
            "SourceTextModule",
            "ContextifyScript",
        ],
        Pattern::ModuleReload,
    ),
    (
        &[
            "Memory",
            "Instance",
            "WebAssembly.Memory",
            "WebAssembly.Instance",
            "WebAssembly.Module",
            "WebAssembly.Table",
            "Table",
        ],
        Pattern::WebAssembly,
    ),
    (&["Worker"], Pattern::Workers),
    (
        &[
            "MessagePort",
            "MessageChannel",
            "BroadcastChannel",
            "FSWatcher",
            "FSEvent",
            "StatWatcher",
        ],
        Pattern::OpenHandles,
    ),
    (&CONTEXTS_OF_WORK, Pattern::AsyncResources),
];

/// Classes of the runtimes that carry the context of an operation.
const CONTEXTS_OF_WORK: [&str; 3] = ["AsyncResource", "AsyncLocalStorage", "AsyncContextFrame"];

/// What runtimes call their caches of modules.
const CACHES_OF_MODULES: [&[u8]; 3] = [b"LoadCache", b"ModuleMap", b"ResolveCache"];

/// Names on the way to a container of listeners: of Node's emitters, of event targets, of the DOM.
const LISTENERS: [&str; 5] = [
    "_events",
    "<symbol kEvents>",
    "<symbol events>",
    "eventListeners",
    "<symbol nodejs.event_handlers>",
];

/// How far up the way to a container its listeners' names may stand.
const NEAR: usize = 6;

/// The pattern of what `container` gains; `enters` tells that it gains entries, each of them there by itself.
pub(super) fn of(
    heap: &Heap,
    growth: &Growth,
    container: u32,
    sample: u32,
    enters: bool,
) -> Pattern {
    let snapshot = &heap.snapshot;
    let name = snapshot.name(Node(sample));
    if snapshot.is_detached(Node(sample)) {
        return Pattern::DetachedDom;
    }
    if is_listener(heap, container, &name) {
        return Pattern::EventListeners;
    }
    let kind = snapshot.nodes.kind(sample);
    let is_object = matches!(
        kind,
        NodeKind::Object | NodeKind::Native | NodeKind::WasmObject
    );
    let by_class = BY_CLASS
        .iter()
        .find(|(names, _)| is_object && names.contains(&&*name))
        .map(|(_, pattern)| *pattern);
    let container_name = match collection(heap, container) {
        Some(name) => Cow::Borrowed(name),
        None => snapshot.name(Node(container)),
    };
    let is_collection = matches!(&*container_name, "Map" | "Set" | "Array");
    if CACHES_OF_MODULES.contains(&snapshot.raw_name(container)) {
        return Pattern::ModuleReload;
    }
    // A runtime keeps an event target as long as somebody listens to it.
    let is_listened_to = || {
        let listeners = |name: &&str| snapshot.follow(Node(sample), EdgeKind::Property, name);
        LISTENERS.iter().any(|name| listeners(name).is_some())
    };
    if is_collection && is_called_for_listeners(heap, container) {
        return Pattern::EventListeners;
    }
    if is_object
        && is_collection
        && holder::steps_origin(heap, container) == Origin::Runtime
        && is_listened_to()
    {
        return Pattern::EventListeners;
    }
    // Promises under keys are a cache of answers, not what waits for one; a timer that is over waits for nothing either,
    // and a connection that was closed is only kept.
    let is_over = |pattern: &Pattern| match pattern {
        Pattern::PendingPromises => true,
        Pattern::Timers => !is_pending(heap, sample),
        Pattern::OpenConnections => is_closed(heap, sample),
        _ => false,
    };
    let over = by_class.filter(|pattern| is_collection && is_over(pattern));
    if let Some(pattern) = by_class.filter(|_| over.is_none()) {
        return pattern;
    }
    if is_object && over.is_none() && is_stream(heap, sample) {
        return Pattern::OpenStreams;
    }
    if container_name == "TimersList" {
        return Pattern::Timers;
    }
    if container_name == "Promise" {
        return Pattern::PendingPromises;
    }
    // A text that is added to again and again is a row of its pieces.
    let piece_of = heap.dominators.immediate[sample as usize];
    if !is_collection
        && [container, piece_of]
            .iter()
            .any(|node| snapshot.nodes.kind(*node) == NodeKind::ConsString)
    {
        return Pattern::LinkedList;
    }
    if kind == NodeKind::Closure && is_bound_to_context(heap, growth, sample) {
        return Pattern::AsyncResources;
    }
    if kind == NodeKind::Closure && is_list_by_topic(heap, container) {
        return Pattern::EventListeners;
    }
    // Functions under keys are kept by who holds the keys, whatever they capture.
    let has_keys = matches!(&*container_name, "Map" | "Set")
        || container_name == "Object" && spread::is_table(heap, container);
    if kind == NodeKind::Closure && !has_keys {
        return Pattern::ClosureCapture;
    }
    // What enters by itself may be made of its like, as a joined text is; it is no row for that.
    if !enters && is_in_row(heap, growth, sample) {
        return Pattern::LinkedList;
    }
    if !is_collection && is_row_both_ways(heap, growth, sample) {
        return Pattern::LinkedList;
    }
    if is_key(heap, sample) {
        return Pattern::WeakMapKeys;
    }
    match &*container_name {
        "Map" | "Set" => Pattern::UnboundedMap,
        "WeakMap" | "WeakSet" => Pattern::WeakMapKeys,
        // Who else held the object would be the holder.
        "FinalizationRegistry" => Pattern::FinalizerCycle,
        "Array" if is_column(heap, container) => Pattern::UnboundedMap,
        "Array" => Pattern::UnboundedArray,
        _ if is_of_function(heap, container) => Pattern::ClosureCapture,
        "Window" | "global" => Pattern::GlobalReference,
        _ => Pattern::UnboundedMap,
    }
}

fn is_listener(heap: &Heap, container: u32, name: &str) -> bool {
    const OF_TARGETS: [&str; 4] = [
        "V8EventListener",
        "EventListener",
        "RegisteredEventListener",
        "Listener",
    ];
    // An event target holds its listeners in a row: one may be held by the one before.
    let before = heap.snapshot.name(Node(container));
    if OF_TARGETS.contains(&name) || OF_TARGETS.contains(&&*before) {
        return true;
    }
    let snapshot = &heap.snapshot;
    // What a function holds, by a variable or by what it is bound to, is not what holds the function.
    let of_function = |edge: &Edge| snapshot.kind(snapshot.edge_from(*edge)) == NodeKind::Closure;
    heap.retainer_path(Node(container))
        .iter()
        .rev()
        .take(NEAR)
        .filter_map(|step| step.edge)
        .take_while(|edge| snapshot.edge_kind(*edge) != EdgeKind::Context && !of_function(edge))
        .any(|edge| {
            snapshot.edge_kind(edge) == EdgeKind::Property
                && LISTENERS.contains(&&*snapshot.edge_name(edge))
        })
}

/// Whether it is a function, or the variables of one.
fn is_of_function(heap: &Heap, node: u32) -> bool {
    let snapshot = &heap.snapshot;
    snapshot.nodes.kind(node) == NodeKind::Closure || is_context(snapshot.raw_name(node))
}

/// Whether the variable or property that a collection is kept in is called by what listens.
fn is_called_for_listeners(heap: &Heap, container: u32) -> bool {
    const WORDS: [&str; 4] = ["listener", "observer", "subscriber", "subscription"];
    let snapshot = &heap.snapshot;
    let steps = heap.retainer_path(Node(container));
    let edge = steps.last().and_then(|step| step.edge);
    edge.is_some_and(|edge| {
        let is_name = matches!(
            snapshot.edge_kind(edge),
            EdgeKind::Property | EdgeKind::Context
        );
        let name = snapshot.edge_name(edge).to_lowercase();
        is_name && WORDS.iter().any(|word| name.contains(word))
    })
}

/// Whether it has the state of one of Node's streams, whatever its class is called.
fn is_stream(heap: &Heap, sample: u32) -> bool {
    let snapshot = &heap.snapshot;
    ["_readableState", "_writableState"].iter().any(|name| {
        snapshot
            .follow(Node(sample), EdgeKind::Property, name)
            .is_some()
    })
}

/// Whether a function was bound to the asynchronous context it was made in, and keeps that: by the new resource that
/// stands for the context, as its receiver or among the variables that it captured.
fn is_bound_to_context(heap: &Heap, growth: &Growth, function: u32) -> bool {
    let snapshot = &heap.snapshot;
    let follow = |name| snapshot.follow(Node(function), EdgeKind::Internal, name);
    let captured = follow("context").into_iter().flat_map(|scope| {
        let edges = snapshot.edges(scope);
        // Variables of the runtime's own functions may have lost their names.
        let is_variable = |kind| matches!(kind, EdgeKind::Context | EdgeKind::Hidden);
        edges.filter(move |edge| is_variable(snapshot.edge_kind(*edge)))
    });
    follow("bound_this")
        .into_iter()
        .chain(captured.map(|edge| snapshot.edge_to(edge)))
        .any(|node| {
            growth.window(node.0).is_some() && CONTEXTS_OF_WORK.contains(&&*snapshot.name(node))
        })
}

/// Whether a timer still stands in the list of those to come.
fn is_pending(heap: &Heap, timer: u32) -> bool {
    let snapshot = &heap.snapshot;
    let next = snapshot.follow(Node(timer), EdgeKind::Property, "_idleNext");
    next.is_some_and(|next| snapshot.kind(next) == NodeKind::Object)
}

/// Whether a connection, or what speaks over one, has lost its handle, or a message the connection it came by. What keeps its
/// handle elsewhere counts as open.
fn is_closed(heap: &Heap, connection: u32) -> bool {
    let snapshot = &heap.snapshot;
    let follow = |node, name| {
        let to = snapshot.follow(node, EdgeKind::Property, name);
        to.filter(|to| snapshot.kind(*to) == NodeKind::Object)
    };
    let message = Node(connection);
    let socket = ["_socket", "socket", "connection"]
        .iter()
        .find_map(|name| follow(message, name));
    let Some(socket) = socket else {
        // A response lets go of its socket when it has been sent.
        return snapshot.raw_name(connection) == b"ServerResponse";
    };
    if follow(socket, "_handle").is_none() {
        return true;
    }
    // One connection carries many messages, and knows which one it is at.
    let is_message =
        ["ServerResponse", "ClientRequest", "IncomingMessage"].contains(&&*snapshot.name(message));
    let present = follow(socket, "_httpMessage");
    let is_of = |at: Node| {
        at == message
            || ["req", "res"]
                .iter()
                .any(|name| follow(at, name) == Some(message))
    };
    is_message && !present.is_some_and(is_of)
}

/// Whether an array lies in one object with a Map of as many keys: a table whose values stand in a row of their own.
fn is_column(heap: &Heap, array: u32) -> bool {
    let snapshot = &heap.snapshot;
    let slots = |node, store| {
        let store = snapshot.follow(node, EdgeKind::Internal, store);
        store.map_or(0, |store| snapshot.edges(store).count())
    };
    let Some(edge) = heap
        .retainer_path(Node(array))
        .last()
        .and_then(|step| step.edge)
    else {
        return false;
    };
    let least = slots(Node(array), "elements") / 2;
    snapshot
        .edges(snapshot.edge_from(edge))
        .filter(|edge| snapshot.edge_kind(*edge) == EdgeKind::Property)
        .map(|edge| snapshot.edge_to(edge))
        .any(|beside| {
            snapshot.raw_name(beside.0) == b"Map" && slots(beside, "table") > least.max(1)
        })
}

/// The collection of the language that an object is, by its own name or by a class that it extends.
fn collection(heap: &Heap, node: u32) -> Option<&'static str> {
    const COLLECTIONS: [&str; 6] = [
        "Map",
        "Set",
        "Array",
        "WeakMap",
        "WeakSet",
        "FinalizationRegistry",
    ];
    const MOST_CLASSES: usize = 8;
    let snapshot = &heap.snapshot;
    let known = |name: &[u8]| COLLECTIONS.into_iter().find(|c| c.as_bytes() == name);
    if snapshot.nodes.kind(node) != NodeKind::Object {
        return None;
    }
    let follow = |from, name| snapshot.follow(from, EdgeKind::Property, name);
    let above = std::iter::successors(Some(Node(node)), |at| follow(*at, "__proto__"));
    let classes = above.skip(1).take(MOST_CLASSES);
    known(snapshot.raw_name(node)).or_else(|| {
        classes
            .filter_map(|prototype| follow(prototype, "constructor"))
            .filter(|class| snapshot.kind(*class) == NodeKind::Closure)
            .find_map(|class| known(snapshot.raw_name(class.0)))
    })
}

/// Whether a new object stands in a row of its like in which each knows the one before and the one after.
fn is_row_both_ways(heap: &Heap, growth: &Growth, sample: u32) -> bool {
    const ROW: usize = 3;
    let snapshot = &heap.snapshot;
    let name = snapshot.nodes.names[sample as usize];
    let likes = |node: u32| {
        let properties = snapshot
            .edge_range(node)
            .filter(|edge| snapshot.edges.kind(*edge) == EdgeKind::Property);
        properties
            .map(|edge| snapshot.edges.to[edge as usize])
            .filter(move |to| *to != node && snapshot.nodes.names[*to as usize] == name)
            .filter(|to| snapshot.nodes.kind(*to) == NodeKind::Object)
    };
    let next_of = |before: Option<u32>, current: u32| {
        likes(current).find(|to| {
            let is_new = Some(*to) != before && growth.window(*to).is_some();
            is_new && likes(*to).any(|back| back == current)
        })
    };
    // One end of the row may be near.
    likes(sample).any(|first| {
        let (mut before, mut current) = (sample, first);
        (1..ROW).all(|_| {
            let next = next_of(Some(before), current);
            before = current;
            current = next.unwrap_or(current);
            next.is_some()
        })
    })
}

/// Whether it is one of several lists by name: functions in it are called when something happens to their key.
fn is_list_by_topic(heap: &Heap, list: u32) -> bool {
    /// One alone is a list that somebody has.
    const FEWEST: usize = 2;
    let snapshot = &heap.snapshot;
    let is_list = |node: u32| matches!(snapshot.raw_name(node), b"Array" | b"Set");
    if !is_list(list) {
        return false;
    }
    let mut above = heap.dominators.immediate[list as usize];
    if snapshot.nodes.kind(above) == NodeKind::Array {
        above = heap.dominators.immediate[above as usize];
    }
    if snapshot.raw_name(above) == b"Object" {
        let properties = snapshot
            .edges(Node(above))
            .filter(|edge| snapshot.edge_kind(*edge) == EdgeKind::Property)
            .filter(|edge| snapshot.edge_name(*edge) != "__proto__");
        let lists: Vec<bool> = properties
            .map(|edge| is_list(snapshot.edge_to(edge).0))
            .collect();
        return lists.len() >= FEWEST && lists.iter().all(|is_list| *is_list);
    }
    snapshot.raw_name(above) == b"Map"
}

/// Whether a weak map has an entry for the object.
fn is_key(heap: &Heap, sample: u32) -> bool {
    let snapshot = &heap.snapshot;
    snapshot.edge_range(sample).any(|edge| {
        snapshot.edges.kind(edge) == EdgeKind::Internal
            && memchr::memmem::find(
                snapshot.strings.raw(snapshot.edges.name(edge)),
                b" pair in WeakMap (table @",
            )
            .is_some()
    })
}

/// Whether a new object, or one of the new objects around it, is a link of a row.
fn is_in_row(heap: &Heap, growth: &Growth, sample: u32) -> bool {
    const MOST_AROUND: usize = 3;
    let snapshot = &heap.snapshot;
    let above = |node: &u32| Some(heap.dominators.immediate[*node as usize]);
    // Variables hold those of the function around by nature.
    let is_link = |node: &u32| {
        growth.window(*node).is_some()
            && snapshot.nodes.kind(*node) == NodeKind::Object
            && !is_context(snapshot.raw_name(*node))
    };
    holds_its_like(heap, growth, sample)
        || std::iter::successors(Some(sample), above)
            .skip(1)
            .take(MOST_AROUND)
            .take_while(is_link)
            .any(|link| holds_its_like(heap, growth, link))
}

/// Whether a new object is held by a new object of its own class, which is held by another.
fn holds_its_like(heap: &Heap, growth: &Growth, sample: u32) -> bool {
    const ROW: usize = 3;
    let snapshot = &heap.snapshot;
    let name = snapshot.nodes.names[sample as usize];
    let mut current = sample;
    for _ in 0..ROW {
        let next = snapshot.edge_range(current).find_map(|edge| {
            let to = snapshot.edges.to[edge as usize];
            let alike = to != current
                && snapshot.nodes.names[to as usize] == name
                && snapshot.nodes.kind(to) == snapshot.nodes.kind(sample)
                && growth.window(to).is_some()
                && matches!(
                    snapshot.edges.kind(edge),
                    EdgeKind::Property | EdgeKind::Element | EdgeKind::Internal
                )
                && heap.dominators.immediate[to as usize] == current;
            alike.then_some(to)
        });
        match next {
            Some(next) => current = next,
            None => return false,
        }
    }
    true
}
