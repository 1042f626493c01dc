//! The columns that the flat arrays become.

use rustc_hash::FxHashMap;

use crate::bits::Bits;
use crate::meta::{EdgeKind, MOST_FIELDS, Meta, NodeKind};
use crate::parse::numbers::Rows;
use crate::sizes::Sizes;

/// Script positions and the objects that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) script: u32,
    /// Counted from 0.
    pub(crate) line: u32,
    /// Counted from 0.
    pub(crate) column: u32,
}

/// What is known of each node, 17 bytes a node.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// [`NodeKind`] as a number.
    pub(crate) kinds: Vec<u8>,
    /// String index.
    pub(crate) names: Vec<u32>,
    pub(crate) ids: Vec<u32>,
    /// As in the file. The analysis shifts owned sizes to their owners in its own copy.
    pub(crate) sizes: Sizes,
    /// First edge of each node; one more entry than nodes once complete.
    pub(crate) first_edge: Vec<u32>,
    /// Nodes with a known state of attachment, and those of them that are detached.
    pub(crate) attachment_known: Bits,
    pub(crate) detached: Bits,
    /// Allocation stack, where the snapshot has them.
    pub(crate) traces: Vec<u32>,
    pub(crate) largest_name: u32,
}

/// Takes records into [`Nodes`].
pub(crate) struct NodeRows<'a> {
    pub(crate) meta: &'a Meta,
    pub(crate) nodes: &'a mut Nodes,
    /// Edges announced so far.
    pub(crate) edges: &'a mut u64,
}

impl Rows for NodeRows<'_> {
    #[inline]
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> Result<(), String> {
        let columns = &self.meta.nodes;
        let nodes = &mut *self.nodes;
        let index = nodes.kinds.len() as u32;
        if u64::from(index) >= self.meta.node_count {
            return Err(format!(
                "more nodes than the {} of the header",
                self.meta.node_count
            ));
        }
        let kind = usize::try_from(record[columns.kind])
            .ok()
            .and_then(|kind| self.meta.node_kinds.get(kind))
            .copied()
            .ok_or_else(|| {
                format!(
                    "node type {}, which the header does not name",
                    record[columns.kind]
                )
            })?;
        let name = narrow(record[columns.name], "a name")?;
        nodes.largest_name = nodes.largest_name.max(name);
        nodes.kinds.push(kind as u8);
        nodes.names.push(name);
        nodes.ids.push(narrow(record[columns.id], "an id")?);
        nodes.sizes.push(record[columns.size]);
        nodes.first_edge.push(*self.edges as u32);
        *self.edges = self.edges.saturating_add(record[columns.edge_count]);
        if *self.edges > self.meta.edge_count {
            return Err(format!(
                "the nodes up to here have more edges than the {} of the header",
                self.meta.edge_count
            ));
        }
        if let Some(column) = columns.detachedness {
            match record[column] & 3 {
                1 => nodes.attachment_known.insert_anywhere(index),
                2 => {
                    nodes.attachment_known.insert_anywhere(index);
                    nodes.detached.insert_anywhere(index);
                }
                _ => {}
            }
        }
        if let Some(column) = columns.trace
            && self.meta.trace_function_count > 0
        {
            nodes.traces.push(narrow(record[column], "a trace node")?);
        }
        Ok(())
    }
}

/// What is known of each edge, 8 bytes an edge.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// Kind in the upper 3 bits, name or number in the lower 29.
    labels: Vec<u32>,
    /// Names that need more than 29 bits.
    long_labels: FxHashMap<u32, u32>,
    pub(crate) to: Vec<u32>,
    pub(crate) largest_name: u32,
}

const NAME_BITS: u32 = 29;
const LONG_NAME: u32 = (1 << NAME_BITS) - 1;

impl Edges {
    pub(crate) fn reserve(&mut self, count: usize) -> bool {
        self.labels.try_reserve_exact(count).is_ok() && self.to.try_reserve_exact(count).is_ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.to.len()
    }

    #[inline]
    pub(crate) fn kind(&self, edge: u32) -> EdgeKind {
        EdgeKind::of_code(self.labels[edge as usize] >> NAME_BITS)
    }

    /// String index or number.
    #[inline]
    pub(crate) fn name(&self, edge: u32) -> u32 {
        match self.labels[edge as usize] & LONG_NAME {
            LONG_NAME => self.long_labels.get(&edge).copied().unwrap_or(LONG_NAME),
            name => name,
        }
    }

    pub(crate) fn push(&mut self, kind: EdgeKind, name: u32, to: u32) {
        let short = if name < LONG_NAME {
            name
        } else {
            self.long_labels.insert(self.labels.len() as u32, name);
            LONG_NAME
        };
        self.labels.push((kind as u32) << NAME_BITS | short);
        self.to.push(to);
    }
}

/// Takes records into [`Edges`].
pub(crate) struct EdgeRows<'a> {
    pub(crate) meta: &'a Meta,
    pub(crate) edges: &'a mut Edges,
}

impl Rows for EdgeRows<'_> {
    #[inline]
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> Result<(), String> {
        let columns = &self.meta.edges;
        if self.edges.len() as u64 >= self.meta.edge_count {
            return Err(format!(
                "more edges than the {} of the header",
                self.meta.edge_count
            ));
        }
        let kind = usize::try_from(record[columns.kind])
            .ok()
            .and_then(|kind| self.meta.edge_kinds.get(kind))
            .copied()
            .ok_or_else(|| {
                format!(
                    "edge type {}, which the header does not name",
                    record[columns.kind]
                )
            })?;
        let fields = self.meta.nodes.fields as u64;
        let to = record[columns.to];
        let node = match u32::try_from(to) {
            // Divisions of 32 bits are several times cheaper than those of 64.
            Ok(to) => u64::from(to / fields as u32),
            Err(_) => to / fields,
        };
        if node * fields != to || node >= self.meta.node_count {
            return Err(format!("an edge to {to}, which is no node"));
        }
        let name = narrow(record[columns.name], "a name")?;
        if !kind.has_number() {
            self.edges.largest_name = self.edges.largest_name.max(name);
        }
        self.edges.push(kind, name, node as u32);
        Ok(())
    }
}

/// Objects with a script position, sorted by node.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    /// Node and index into `positions`.
    pub(crate) of_node: Vec<(u32, u32)>,
    pub(crate) positions: Vec<Position>,
    /// Nodes of scripts by the runtime's number, where the file says it.
    pub(crate) scripts: FxHashMap<u32, u32>,
    known: FxHashMap<Position, u32>,
}

impl Locations {
    /// Index into `positions`, if the node has one.
    pub(crate) fn position(&self, node: u32) -> Option<u32> {
        let at = self.of_node.partition_point(|(known, _)| *known <= node);
        match at.checked_sub(1).map(|at| self.of_node[at]) {
            Some((known, position)) if known == node => Some(position),
            _ => None,
        }
    }

    /// Sorts; of several positions of one node the last counts, as in `DevTools`.
    pub(crate) fn complete(&mut self) {
        if !self.of_node.is_sorted_by_key(|(node, _)| *node) {
            self.of_node.sort_by_key(|(node, _)| *node);
        }
        self.known = FxHashMap::default();
        self.of_node.shrink_to_fit();
    }
}

/// Takes records into [`Locations`].
pub(crate) struct LocationRows<'a> {
    pub(crate) meta: &'a Meta,
    /// Columns of node, script, line, column.
    pub(crate) columns: [usize; 4],
    /// Column of the script's node, which newer versions have.
    pub(crate) script_node: Option<usize>,
    pub(crate) locations: &'a mut Locations,
}

impl Rows for LocationRows<'_> {
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> Result<(), String> {
        let [node, script, line, column] = self.columns.map(|column| record[column]);
        let fields = self.meta.nodes.fields as u64;
        if node % fields != 0 || node / fields >= self.meta.node_count {
            return Err(format!("a location of {node}, which is no node"));
        }
        let (Ok(script), Ok(line), Ok(column)) = (
            u32::try_from(script),
            u32::try_from(line),
            u32::try_from(column),
        ) else {
            // V8 writes -1 for a place it does not know.
            return Ok(());
        };
        let position = Position {
            script,
            line,
            column,
        };
        let locations = &mut *self.locations;
        if let Some(script_node) = self.script_node {
            let node = record[script_node] / fields;
            if node < self.meta.node_count {
                locations.scripts.insert(script, node as u32);
            }
        }
        let next = locations.positions.len() as u32;
        let index = *locations.known.entry(position).or_insert_with(|| {
            locations.positions.push(position);
            next
        });
        locations.of_node.push(((node / fields) as u32, index));
        Ok(())
    }
}

/// A flat array kept as it is; negative numbers in two's complement.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) fields: usize,
    pub(crate) values: Vec<u32>,
}

impl Rows for Table {
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> Result<(), String> {
        for value in &record[..self.fields] {
            let value = value.cast_signed();
            let fits = i32::try_from(value).map(i32::cast_unsigned);
            let fits = fits.or_else(|_| u32::try_from(value));
            self.values
                .push(fits.map_err(|_| format!("a value of {value}, beyond 2^32"))?);
        }
        Ok(())
    }
}

pub(crate) fn narrow(value: u64, what: &str) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{what} of {value}, beyond 2^32"))
}

impl Nodes {
    pub(crate) fn kind(&self, node: u32) -> NodeKind {
        NodeKind::of_code(self.kinds[node as usize])
    }

    pub(crate) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there is room for `count` nodes.
    pub(crate) fn reserve(&mut self, count: usize) -> bool {
        self.kinds.try_reserve_exact(count).is_ok()
            && self.names.try_reserve_exact(count).is_ok()
            && self.ids.try_reserve_exact(count).is_ok()
            && self.sizes.reserve(count)
            && self.first_edge.try_reserve_exact(count + 1).is_ok()
    }
}
