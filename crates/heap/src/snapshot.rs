//! A snapshot as columns: nodes, edges and strings by index, nothing computed yet but attachment.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::attachment;
use crate::columns::{Edges, Locations, Nodes, Position, Table};
use crate::error::Result;
use crate::map::Map;
use crate::meta::{EdgeKind, Format, Meta, NodeKind};
use crate::parse::tree::TraceTree;
use crate::parse::{Keep, Parts, Reader};
use crate::source::{self, CHUNK};
use crate::strings::{Bytes, Strings};

/// An object of the heap, by its place in the snapshot it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub(crate) u32);

impl Node {
    /// Its number in the order of the file, from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A reference of the heap, by its place in the snapshot it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge(pub(crate) u32);

/// A place in a script. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// URL or path as the runtime names it; empty if the snapshot does not say.
    pub script: String,
    /// The runtime's number of the script, which the debugger knows too.
    pub script_id: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// One frame of an allocation stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Name of the function; may be empty.
    pub function: String,
    /// Where the function is written; line and column 0 where V8 does not say.
    pub place: Place,
}

/// A parsed snapshot.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) meta: Meta,
    pub(crate) nodes: Nodes,
    pub(crate) edges: Edges,
    pub(crate) strings: Strings,
    pub(crate) locations: Locations,
    pub(crate) trace_functions: Table,
    pub(crate) trace_tree: TraceTree,
    pub(crate) scopes: [Table; 3],
    /// Script names by the runtime's number.
    scripts: FxHashMap<u32, u32>,
}

/// A push parser: chunks in, a [`Snapshot`] out. Chunks may be cut anywhere.
///
/// ```
/// # fn main() -> Result<(), plimsoll_heap::Error> {
/// let mut parser = plimsoll_heap::Parser::new();
/// parser.feed(br#"{"snapshot":{"meta":{"node_fields":["type","name","id","self_size","edge_count"],"#)?;
/// parser.feed(br#""node_types":[["synthetic"]],"edge_fields":["type","name_or_index","to_node"],"#)?;
/// parser.feed(br#""edge_types":[["element"]]},"node_count":1,"edge_count":0},"#)?;
/// parser.feed(br#""nodes":[0,0,1,0,0],"edges":[],"strings":[""]}"#)?;
/// assert_eq!(parser.finish()?.node_count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Parser {
    reader: Reader,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// A parser that has seen nothing.
    pub fn new() -> Self {
        Self {
            reader: Reader::new(Keep::Everything, None),
        }
    }

    /// Takes the next bytes, any number of them. After an error the parser is of no more use.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.feed(bytes)
    }

    /// The end of the snapshot.
    pub fn finish(self) -> Result<Snapshot> {
        self.reader.finish().map(Snapshot::of_parts)
    }
}

/// The file of a script: of an URL without the query by which it is loaded once more.
pub(crate) fn without_query(script: &str) -> &str {
    match script.split_once('?') {
        Some((file, _)) if script.starts_with("file://") => file,
        _ => script,
    }
}

impl Snapshot {
    /// Reads a snapshot file: mapped if it is plain, streamed if it is compressed or no regular file.
    ///
    /// A mapped file must not be cut short while the snapshot lives.
    pub fn open(file: &File) -> Result<Self> {
        if !source::is_plain(file)? {
            return Self::read(file);
        }
        let map = Map::of(file)?;
        let mut reader = Reader::new(Keep::EverythingMapped, Some(map.len() as u64));
        for (index, chunk) in map.chunks(CHUNK).enumerate() {
            reader.feed(chunk)?;
            map.release(index * CHUNK, (index + 1) * CHUNK);
        }
        let mut parts = reader.finish()?;
        if parts.meta.format == Format::V8 {
            map.expect_random_access();
            parts.strings.bytes = Bytes::Mapped(map);
        }
        Ok(Self::of_parts(parts))
    }

    /// Reads a stream to its end; gzip and zstd are told by their first bytes.
    pub fn read(reader: impl Read) -> Result<Self> {
        let mut parser = Parser::new();
        source::stream(reader, &mut |chunk| parser.feed(chunk))?;
        parser.finish()
    }

    fn of_parts(parts: Parts) -> Self {
        let mut snapshot = Self {
            meta: parts.meta,
            nodes: parts.nodes,
            edges: parts.edges,
            strings: parts.strings,
            locations: parts.locations,
            trace_functions: parts.trace_functions,
            trace_tree: parts.trace_tree,
            scopes: parts.scopes,
            scripts: FxHashMap::default(),
        };
        attachment::complete(&mut snapshot);
        snapshot.scripts = script_names(&snapshot);
        snapshot
    }

    /// Who wrote it.
    pub fn format(&self) -> Format {
        self.meta.format
    }

    /// Number of objects.
    pub fn node_count(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Number of references.
    pub fn edge_count(&self) -> u32 {
        self.edges.len() as u32
    }

    /// All objects, in the order of the file.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        (0..self.node_count()).map(Node)
    }

    /// Where reachability starts.
    pub fn root(&self) -> Node {
        Node(self.meta.root)
    }

    /// Whether the file has V8's tables of scopes, which tell what captured variables are still read.
    pub fn has_scopes(&self) -> bool {
        self.scopes.iter().all(|table| !table.values.is_empty())
    }

    /// Bytes that V8 knows of outside the objects, from the header.
    pub fn extra_native_bytes(&self) -> u64 {
        self.meta.extra_native_bytes
    }

    /// The object with this id. Linear in the number of objects.
    pub fn find(&self, id: u32) -> Option<Node> {
        let at = self.nodes.ids.iter().position(|known| *known == id)?;
        Some(Node(at as u32))
    }

    /// What the object is.
    pub fn kind(&self, node: Node) -> NodeKind {
        self.nodes.kind(node.0)
    }

    /// V8's number of the object, the same in all snapshots of a process.
    pub fn id(&self, node: Node) -> u32 {
        self.nodes.ids[node.0 as usize]
    }

    /// Its own bytes as the file says. [`crate::Heap::shallow`] is what `DevTools` shows.
    pub fn self_size(&self, node: Node) -> u64 {
        self.nodes.sizes.get(node.0)
    }

    /// The name of the constructor, function or node, with `Detached ` before detached DOM nodes.
    pub fn name(&self, node: Node) -> Cow<'_, str> {
        let text = self.strings.text(self.nodes.names[node.0 as usize]);
        if self.is_renamed(node.0) {
            return Cow::Owned(format!("Detached {text}"));
        }
        text
    }

    /// Whether the object is a DOM node that is in no document.
    pub fn is_detached(&self, node: Node) -> bool {
        self.nodes.detached.contains(node.0)
    }

    /// Where the object's constructor, or the function itself, is written.
    pub fn place(&self, node: Node) -> Option<Place> {
        let position = self.locations.position(node.0)?;
        Some(self.place_of(self.locations.positions[position as usize]))
    }

    pub(crate) fn place_of(&self, position: Position) -> Place {
        Place {
            script: self.script_name(position.script).into_owned(),
            script_id: position.script,
            line: position.line.saturating_add(1),
            column: position.column.saturating_add(1),
        }
    }

    /// For each position the first that reads the same: in a module that is loaded again, scripts have another number each
    /// time and the same name.
    pub(crate) fn alike_positions(&self) -> Vec<u32> {
        let mut first: FxHashMap<(Option<u32>, u32, u32, u32), u32> = FxHashMap::default();
        // A module is loaded anew under another query each time.
        let mut files: FxHashMap<String, u32> = FxHashMap::default();
        let mut names: Vec<(u32, u32)> = self.scripts.iter().map(|(k, v)| (*k, *v)).collect();
        names.sort_unstable();
        let files: FxHashMap<u32, u32> = names
            .into_iter()
            .map(|(script, name)| {
                let file = without_query(&self.script_name(script)).to_owned();
                (script, *files.entry(file).or_insert(name))
            })
            .collect();
        let positions = self.locations.positions.iter().zip(0..);
        positions
            .map(|(position, index)| {
                let name = files.get(&position.script).copied();
                let script = if name.is_none() { position.script } else { 0 };
                let key = (name, script, position.line, position.column);
                *first.entry(key).or_insert(index)
            })
            .collect()
    }

    pub(crate) fn script_name(&self, script: u32) -> Cow<'_, str> {
        self.scripts.get(&script).map_or(Cow::Borrowed(""), |name| {
            let text = self.strings.text(*name);
            match text.strip_prefix(SCRIPT) {
                Some(name) => Cow::Owned(name.to_owned()),
                None => text,
            }
        })
    }

    /// The references that an object holds.
    pub fn edges(&self, node: Node) -> impl DoubleEndedIterator<Item = Edge> + use<> {
        self.edge_range(node.0).map(Edge)
    }

    /// What the reference is.
    pub fn edge_kind(&self, edge: Edge) -> EdgeKind {
        self.edges.kind(edge.0)
    }

    /// The name of the property or variable, or the index as a number.
    pub fn edge_name(&self, edge: Edge) -> Cow<'_, str> {
        let name = self.edges.name(edge.0);
        if self.edges.kind(edge.0).has_number() {
            Cow::Owned(name.to_string())
        } else {
            self.strings.text(name)
        }
    }

    /// The object it leads to.
    pub fn edge_to(&self, edge: Edge) -> Node {
        Node(self.edges.to[edge.0 as usize])
    }

    /// The object it starts from. Logarithmic in the number of objects.
    pub fn edge_from(&self, edge: Edge) -> Node {
        let after = self
            .nodes
            .first_edge
            .partition_point(|first| *first <= edge.0);
        Node(after.saturating_sub(1) as u32)
    }

    /// The target of the first edge of this kind and name.
    pub fn follow(&self, node: Node, kind: EdgeKind, name: &str) -> Option<Node> {
        self.edges(node)
            .find(|edge| {
                self.edges.kind(edge.0) == kind
                    && self.strings.raw(self.edges.name(edge.0)) == name.as_bytes()
            })
            .map(|edge| self.edge_to(edge))
    }

    /// The stack that allocated the object, innermost frame first. Empty unless the snapshot was taken while
    /// allocations were recorded.
    pub fn allocation_stack(&self, node: Node) -> Vec<Frame> {
        let mut stack = Vec::new();
        let trace = self.nodes.traces.get(node.0 as usize).copied().unwrap_or(0);
        let mut at = self
            .trace_tree
            .nodes
            .iter()
            .position(|frame| trace != 0 && frame.id == trace);
        let fields = &self.meta.trace_functions;
        while let Some(index) = at {
            let frame = self.trace_tree.nodes[index];
            let first = frame.function as usize * fields.count();
            let value = |name: &str| {
                let column = fields.find(name)?;
                self.trace_functions.values.get(first + column).copied()
            };
            let text = |name: &str| {
                let index = value(name)?;
                Some(self.strings.text(index).into_owned())
            };
            // The file counts from 1 here and writes 0 for unknown, unlike the locations.
            stack.push(Frame {
                function: text("name").unwrap_or_default(),
                place: Place {
                    script: text("script_name").unwrap_or_default(),
                    script_id: value("script_id").unwrap_or(0),
                    line: value("line").unwrap_or(0),
                    column: value("column").unwrap_or(0),
                },
            });
            at = (frame.parent as usize != index).then_some(frame.parent as usize);
        }
        stack
    }

    pub(crate) fn edge_range(&self, node: u32) -> Range<u32> {
        self.nodes.first_edge[node as usize]..self.nodes.first_edge[node as usize + 1]
    }

    /// The bytes of a node's name, without the prefix of detached nodes.
    pub(crate) fn raw_name(&self, node: u32) -> &[u8] {
        self.strings.raw(self.nodes.names[node as usize])
    }

    /// Whether the name shown is longer than the name in the file.
    pub(crate) fn is_renamed(&self, node: u32) -> bool {
        self.meta.nodes.detachedness.is_some()
            && self.nodes.detached.contains(node)
            && self.nodes.kind(node) == NodeKind::Native
    }

    /// The string index that nodes of `kind` called `name` have.
    pub(crate) fn name_of_kind(&self, kind: NodeKind, name: &str) -> Option<u32> {
        let mut tried = rustc_hash::FxHashSet::default();
        let code = kind as u8;
        for (node_kind, index) in self.nodes.kinds.iter().zip(&self.nodes.names) {
            if *node_kind == code
                && tried.insert(*index)
                && self.strings.raw(*index) == name.as_bytes()
            {
                return Some(*index);
            }
        }
        None
    }

    /// Whether `root` refers to it as something of the user's.
    pub(crate) fn is_user_root(&self, node: u32) -> bool {
        self.nodes.kind(node) != NodeKind::Synthetic || self.is_document_trees(node)
    }

    pub(crate) fn is_document_trees(&self, node: u32) -> bool {
        self.nodes.kind(node) == NodeKind::Synthetic
            && self.raw_name(node) == b"(Document DOM trees)"
    }
}

const SCRIPT: &str = "system / Script / ";

/// Names of scripts by number. Newer files say which node a script is; in older ones its number stands nowhere
/// but in the locations of its functions, so it is found through one of them.
fn script_names(snapshot: &Snapshot) -> FxHashMap<u32, u32> {
    let mut names = FxHashMap::default();
    let mut known: Vec<(u32, u32)> = snapshot
        .locations
        .scripts
        .iter()
        .map(|(script, node)| (*script, *node))
        .collect();
    known.sort_unstable();
    for (script, node) in known {
        if let Some(name) = script_name(snapshot, Node(node)) {
            names.insert(script, name);
        }
    }
    for (node, position) in &snapshot.locations.of_node {
        let script = snapshot.locations.positions[*position as usize].script;
        if names.contains_key(&script) || snapshot.nodes.kind(*node) != NodeKind::Closure {
            continue;
        }
        let follow = |node, name| snapshot.follow(node, EdgeKind::Internal, name);
        let name = follow(Node(*node), "shared")
            .and_then(|shared| {
                follow(shared, "script").or_else(|| follow(shared, "script_or_debug_info"))
            })
            .and_then(|script| script_name(snapshot, script));
        if let Some(name) = name {
            names.insert(script, name);
        }
    }
    names
}

/// A script's node has its name either in its own name or behind it.
fn script_name(snapshot: &Snapshot, script: Node) -> Option<u32> {
    let name_of = |node: Node| snapshot.nodes.names[node.0 as usize];
    if snapshot.raw_name(script.0).starts_with(SCRIPT.as_bytes()) {
        return Some(name_of(script));
    }
    let follow = |name| snapshot.follow(script, EdgeKind::Internal, name);
    let name = follow("name").or_else(|| follow("source_url"))?;
    snapshot.kind(name).is_string().then(|| name_of(name))
}
