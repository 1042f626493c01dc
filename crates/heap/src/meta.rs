//! The header: what the columns of this file are called and mean.

use serde_json::Value;

use crate::error::{Error, Result};

/// What a node is. The order is V8's and the number is what the column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "these are V8's own words")]
pub enum NodeKind {
    Hidden,
    Array,
    String,
    Object,
    Code,
    Closure,
    Regexp,
    Number,
    Native,
    Synthetic,
    ConsString,
    SlicedString,
    Symbol,
    Bigint,
    ObjectShape,
    WasmObject,
    /// A type this version does not know.
    Other,
}

impl NodeKind {
    const NAMES: [(&'static str, Self); 16] = [
        ("hidden", Self::Hidden),
        ("array", Self::Array),
        ("string", Self::String),
        ("object", Self::Object),
        ("code", Self::Code),
        ("closure", Self::Closure),
        ("regexp", Self::Regexp),
        ("number", Self::Number),
        ("native", Self::Native),
        ("synthetic", Self::Synthetic),
        ("concatenated string", Self::ConsString),
        ("sliced string", Self::SlicedString),
        ("symbol", Self::Symbol),
        ("bigint", Self::Bigint),
        ("object shape", Self::ObjectShape),
        ("wasm object", Self::WasmObject),
    ];

    /// V8's word.
    pub fn word(self) -> &'static str {
        Self::NAMES
            .get(self as usize)
            .map_or("other", |(name, _)| name)
    }

    fn parse(word: &str) -> Self {
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == word)
            .map_or(Self::Other, |(_, kind)| *kind)
    }

    pub(crate) fn of_code(code: u8) -> Self {
        Self::NAMES
            .get(usize::from(code))
            .map_or(Self::Other, |(_, kind)| *kind)
    }

    /// Whether it is one of V8's representations of a string.
    pub fn is_string(self) -> bool {
        matches!(self, Self::String | Self::ConsString | Self::SlicedString)
    }
}

/// What a reference is. The number is what the packed column holds, so there are at most eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[expect(missing_docs, reason = "these are V8's own words")]
pub enum EdgeKind {
    Context,
    Element,
    Property,
    Internal,
    Hidden,
    Shortcut,
    Weak,
    /// A type this version does not know.
    Other,
}

impl EdgeKind {
    const NAMES: [(&'static str, Self); 7] = [
        ("context", Self::Context),
        ("element", Self::Element),
        ("property", Self::Property),
        ("internal", Self::Internal),
        ("hidden", Self::Hidden),
        ("shortcut", Self::Shortcut),
        ("weak", Self::Weak),
    ];

    /// V8's word.
    pub fn word(self) -> &'static str {
        Self::NAMES
            .get(self as usize)
            .map_or("other", |(name, _)| name)
    }

    fn parse(word: &str) -> Self {
        Self::NAMES
            .iter()
            .find(|(name, _)| *name == word)
            .map_or(Self::Other, |(_, kind)| *kind)
    }

    pub(crate) fn of_code(code: u32) -> Self {
        Self::NAMES
            .get(code as usize)
            .map_or(Self::Other, |(_, kind)| *kind)
    }

    /// Whether the name column holds a number instead of a string's index.
    pub(crate) fn has_number(self) -> bool {
        matches!(self, Self::Element | Self::Hidden)
    }
}

/// Who wrote a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Node, Deno, Chromium, Electron, and Bun where it is asked to.
    V8,
    /// Bun and Safari. It has no texts of strings and no places, and numbers its objects anew in each snapshot.
    JavaScriptCore,
}

/// More columns than any V8 ever wrote, few enough for a fixed buffer.
pub(crate) const MOST_FIELDS: usize = 16;

/// The columns of one flat array of records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields {
    names: Vec<String>,
}

impl Fields {
    fn parse(meta: &Value, key: &str) -> std::result::Result<Self, String> {
        let names = strings(&meta[key]);
        if names.len() > MOST_FIELDS {
            return Err(format!(
                "the header names {} columns in {key}, more than {MOST_FIELDS}",
                names.len()
            ));
        }
        Ok(Self { names })
    }

    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    fn need(&self, array: &str, name: &str) -> std::result::Result<usize, String> {
        self.find(name)
            .ok_or_else(|| format!("the header names no column '{name}' in {array}"))
    }
}

/// Where the node columns are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeColumns {
    pub(crate) fields: usize,
    pub(crate) kind: usize,
    pub(crate) name: usize,
    pub(crate) id: usize,
    pub(crate) size: usize,
    pub(crate) edge_count: usize,
    pub(crate) trace: Option<usize>,
    pub(crate) detachedness: Option<usize>,
}

/// Where the edge columns are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EdgeColumns {
    pub(crate) fields: usize,
    pub(crate) kind: usize,
    pub(crate) name: usize,
    pub(crate) to: usize,
}

/// The header, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) format: Format,
    pub(crate) nodes: NodeColumns,
    pub(crate) edges: EdgeColumns,
    pub(crate) node_kinds: Vec<NodeKind>,
    pub(crate) edge_kinds: Vec<EdgeKind>,
    pub(crate) locations: Fields,
    pub(crate) trace_functions: Fields,
    pub(crate) scopes: Fields,
    pub(crate) scope_variables: Fields,
    pub(crate) scope_uses: Fields,
    pub(crate) node_count: u64,
    pub(crate) edge_count: u64,
    pub(crate) trace_function_count: u64,
    pub(crate) root: u32,
    pub(crate) extra_native_bytes: u64,
}

impl Meta {
    /// Reads the value of the key `snapshot`, which ends at byte `at`.
    pub(crate) fn parse(json: &[u8], at: u64) -> Result<Self> {
        let damaged = |what: String| Error::Malformed {
            what,
            section: "the header".to_owned(),
            at,
        };
        let header: Value =
            serde_json::from_slice(json).map_err(|error| damaged(error.to_string()))?;
        let meta = Self::of(&header).map_err(damaged)?;
        for (what, count) in [("nodes", meta.node_count), ("edges", meta.edge_count)] {
            if count >= u64::from(u32::MAX) {
                return Err(Error::TooLarge {
                    what: format!("{count} {what}; at most {} are supported", u32::MAX - 1),
                });
            }
        }
        Ok(meta)
    }

    /// That of a file without one, whose nodes and edges are in their columns already.
    pub(crate) fn of_jsc(node_count: u64, edge_count: u64, root: u32) -> Self {
        Self {
            format: Format::JavaScriptCore,
            nodes: NodeColumns {
                fields: 1,
                kind: 0,
                name: 0,
                id: 0,
                size: 0,
                edge_count: 0,
                trace: None,
                detachedness: None,
            },
            edges: EdgeColumns {
                fields: 1,
                kind: 0,
                name: 0,
                to: 0,
            },
            node_kinds: Vec::new(),
            edge_kinds: Vec::new(),
            locations: Fields::default(),
            trace_functions: Fields::default(),
            scopes: Fields::default(),
            scope_variables: Fields::default(),
            scope_uses: Fields::default(),
            node_count,
            edge_count,
            trace_function_count: 0,
            root,
            extra_native_bytes: 0,
        }
    }

    fn of(header: &Value) -> std::result::Result<Self, String> {
        let meta = &header["meta"];
        if !meta.is_object() {
            return Err("the header has no 'meta'".to_owned());
        }
        let node_fields = Fields::parse(meta, "node_fields")?;
        let edge_fields = Fields::parse(meta, "edge_fields")?;
        let node_need = |name| node_fields.need("node_fields", name);
        let edge_need = |name| edge_fields.need("edge_fields", name);
        let nodes = NodeColumns {
            fields: node_fields.count(),
            kind: node_need("type")?,
            name: node_need("name")?,
            id: node_need("id")?,
            size: node_need("self_size")?,
            edge_count: node_need("edge_count")?,
            trace: node_fields.find("trace_node_id"),
            detachedness: node_fields.find("detachedness"),
        };
        let edges = EdgeColumns {
            fields: edge_fields.count(),
            kind: edge_need("type")?,
            name: edge_need("name_or_index")?,
            to: edge_need("to_node")?,
        };
        let number = |key: &str| header[key].as_u64();
        let count = |key: &str| number(key).ok_or_else(|| format!("the header has no '{key}'"));
        let node_count = count("node_count")?;
        let edge_count = count("edge_count")?;
        let root_index = number("root_index").unwrap_or(0);
        let root = root_index / nodes.fields as u64;
        if !root_index.is_multiple_of(nodes.fields as u64) || root >= node_count.max(1) {
            return Err(format!("the root index {root_index} is no node"));
        }
        Ok(Self {
            format: Format::V8,
            nodes,
            edges,
            node_kinds: strings(&meta["node_types"][nodes.kind])
                .iter()
                .map(|word| NodeKind::parse(word))
                .collect(),
            edge_kinds: strings(&meta["edge_types"][edges.kind])
                .iter()
                .map(|word| EdgeKind::parse(word))
                .collect(),
            locations: Fields::parse(meta, "location_fields")?,
            trace_functions: Fields::parse(meta, "trace_function_info_fields")?,
            scopes: Fields::parse(meta, "scope_fields")?,
            scope_variables: Fields::parse(meta, "scope_context_var_fields")?,
            scope_uses: Fields::parse(meta, "scope_use_fields")?,
            node_count,
            edge_count,
            trace_function_count: number("trace_function_count").unwrap_or(0),
            root: root as u32,
            extra_native_bytes: number("extra_native_bytes").unwrap_or(0),
        })
    }
}

/// The strings of a JSON array; nothing for anything else.
fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| item.as_str().unwrap_or_default().to_owned())
        .collect()
}
