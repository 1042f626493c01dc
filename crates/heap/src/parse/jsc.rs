//! Snapshots of `JavaScriptCore` (Bun, Safari), brought into the same columns as V8's.
//!
//! The format (`HeapSnapshotBuilder.cpp` of `WebKit`, versions 2 and 3, type `Inspector`) has no header: records of four
//! numbers each, `nodes` (number, bytes, class, flags) and `edges` (from, to, type, name or index), and three lists of
//! strings that come after the records which refer to them. So the columns are made at the end, when all is there.
//!
//! It does not say what strings say, where anything is written, or what lies outside the heap; and an object has another
//! number in each snapshot.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::Parts;
use super::numbers::Rows;
use super::tree::TraceTree;
use crate::columns::{Edges, Locations, Nodes, Table, narrow};
use crate::error::{Error, Result};
use crate::meta::{EdgeKind, MOST_FIELDS, Meta, NodeKind};
use crate::strings::Strings;
use crate::window::Tallies;

/// Numbers in a record of either array.
pub(super) const FIELDS: usize = 4;
/// A node that no program can hold: it belongs to no global object.
const INTERNAL: u8 = 1;

/// One of its arrays of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    Nodes,
    Edges,
}

/// One of its lists of strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    Classes,
    EdgeTypes,
    Edges,
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Jsc {
    nodes: Nodes,
    /// As they stand in the file: the nodes that edges name may come in any order.
    from: Vec<u32>,
    to: Vec<u32>,
    types: Vec<u8>,
    names: Vec<u32>,
    /// Where each list lies in the one table of strings.
    lists: [Option<Range<u32>>; 3],
}

impl Jsc {
    /// Another list of strings begins where the table has `count`.
    pub(super) fn begin(&mut self, names: Names, count: u64) {
        self.lists[names as usize] = Some(count as u32..count as u32);
    }

    /// The list that was begun last ends where the table has `count`.
    pub(super) fn end(&mut self, count: u64) {
        let lists = self.lists.iter_mut().flatten();
        if let Some(last) = lists.max_by_key(|list| list.start) {
            last.end = count as u32;
        }
    }

    pub(super) fn node_rows(&mut self) -> NodeRows<'_> {
        NodeRows(self)
    }

    pub(super) fn edge_rows(&mut self) -> EdgeRows<'_> {
        EdgeRows(self)
    }

    /// The columns; `at` is where the input ends, `count` how many strings it has.
    pub(super) fn finish(mut self, strings: Strings, count: u64, at: u64) -> Result<Parts> {
        let wrong = |section: &str, what: String| Error::Malformed {
            what,
            section: section.to_owned(),
            at,
        };
        let list = |names: Names, key: &str| {
            let known = self.lists[names as usize].clone();
            known.ok_or_else(|| wrong("the snapshot", format!("it has no '{key}'")))
        };
        let classes = list(Names::Classes, "nodeClassNames")?;
        let types = list(Names::EdgeTypes, "edgeTypes")?;
        let edge_names = list(Names::Edges, "edgeNames")?;

        let mut index_of: FxHashMap<u32, u32> = FxHashMap::default();
        for (id, index) in self.nodes.ids.iter().zip(0..) {
            if index_of.insert(*id, index).is_some() {
                return Err(wrong("nodes", format!("two nodes have the number {id}")));
            }
        }
        let Some(root) = index_of.get(&0).copied() else {
            return Err(wrong(
                "nodes",
                "no node has the number 0, the root's".to_owned(),
            ));
        };
        let kinds: Vec<NodeKind> = classes
            .clone()
            .map(|name| kind_of(strings.raw(name)))
            .collect();
        for (kind, name) in self.nodes.kinds.iter_mut().zip(&mut self.nodes.names) {
            let Some(known) = kinds.get(*name as usize) else {
                let all = classes.len();
                return Err(wrong(
                    "nodes",
                    format!("a node of class {name}, of {all} classes"),
                ));
            };
            let is_internal = *kind & INTERNAL != 0 && *known == NodeKind::Object;
            *kind = if is_internal {
                NodeKind::Hidden
            } else {
                *known
            } as u8;
            *name += classes.start;
        }

        let node = |id: u32| {
            let known = index_of.get(&id).copied();
            known.ok_or_else(|| wrong("edges", format!("an edge of {id}, which is no node")))
        };
        for (from, to) in self.from.iter_mut().zip(&mut self.to) {
            (*from, *to) = (node(*from)?, node(*to)?);
        }
        let kinds: Vec<EdgeKind> = types
            .map(|name| match strings.raw(name) {
                b"Property" => EdgeKind::Property,
                b"Index" => EdgeKind::Element,
                b"Variable" => EdgeKind::Context,
                _ => EdgeKind::Internal,
            })
            .collect();
        let (first_edge, edges) = self
            .edges(&kinds, &edge_names, count)
            .map_err(|what| wrong("edges", what))?;
        self.nodes.first_edge = first_edge;
        Ok(Parts {
            meta: Meta::of_jsc(self.nodes.len() as u64, edges.len() as u64, root),
            nodes: self.nodes,
            edges,
            locations: Locations::default(),
            strings,
            trace_functions: Table::default(),
            trace_tree: TraceTree::default(),
            scopes: [Table::default(), Table::default(), Table::default()],
            tallies: Tallies::default(),
        })
    }

    /// The edges, which lead from node to node by now, grouped by where they start and in the order of the file; and where
    /// those of each node begin.
    fn edges(
        &self,
        kinds: &[EdgeKind],
        names: &Range<u32>,
        count: u64,
    ) -> std::result::Result<(Vec<u32>, Edges), String> {
        let mut first_edge = vec![0_u32; self.nodes.len() + 1];
        for from in &self.from {
            first_edge[*from as usize + 1] += 1;
        }
        for index in 1..first_edge.len() {
            first_edge[index] += first_edge[index - 1];
        }
        let mut next = first_edge.clone();
        let mut order = vec![0_u32; self.from.len()];
        for (from, edge) in self.from.iter().zip(0..) {
            let place = &mut next[*from as usize];
            order[*place as usize] = edge;
            *place += 1;
        }
        let mut edges = Edges::default();
        let _ = edges.reserve(order.len());
        for edge in order {
            let at = edge as usize;
            let kind = kinds.get(usize::from(self.types[at])).copied();
            let kind = kind
                .ok_or_else(|| format!("an edge of type {}, which has no name", self.types[at]))?;
            let name = match kind {
                EdgeKind::Element => self.names[at],
                // An index beyond the table reads as no name.
                EdgeKind::Internal => count as u32,
                _ => names
                    .start
                    .checked_add(self.names[at])
                    .filter(|name| *name < names.end)
                    .ok_or_else(|| {
                        format!(
                            "an edge called {}, of {} names",
                            self.names[at],
                            names.len()
                        )
                    })?,
            };
            edges.push(kind, name, self.to[at]);
        }
        Ok((first_edge, edges))
    }
}

/// What V8 would call a node of this class.
fn kind_of(class: &[u8]) -> NodeKind {
    match class {
        b"<root>" => NodeKind::Synthetic,
        b"string" => NodeKind::String,
        b"symbol" => NodeKind::Symbol,
        b"BigInt" => NodeKind::Bigint,
        b"RegExp" => NodeKind::Regexp,
        class if class.ends_with(b"CodeBlock") || class.ends_with(b"Executable") => NodeKind::Code,
        _ => NodeKind::Object,
    }
}

/// Takes records of nodes.
pub(super) struct NodeRows<'a>(&'a mut Jsc);

impl Rows for NodeRows<'_> {
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> std::result::Result<(), String> {
        let nodes = &mut self.0.nodes;
        if nodes.len() as u64 >= u64::from(u32::MAX) - 1 {
            return Err("more than 2^32 nodes".to_owned());
        }
        nodes.ids.push(narrow(record[0], "a number")?);
        nodes.sizes.push(record[1]);
        nodes.names.push(narrow(record[2], "a class")?);
        // The flags, until the names of classes are known.
        nodes.kinds.push(record[3] as u8);
        Ok(())
    }
}

/// Takes records of edges.
pub(super) struct EdgeRows<'a>(&'a mut Jsc);

impl Rows for EdgeRows<'_> {
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> std::result::Result<(), String> {
        let jsc = &mut *self.0;
        if jsc.from.len() as u64 >= u64::from(u32::MAX) - 1 {
            return Err("more than 2^32 edges".to_owned());
        }
        let kind = u8::try_from(record[2]);
        jsc.from.push(narrow(record[0], "a number")?);
        jsc.to.push(narrow(record[1], "a number")?);
        jsc.types
            .push(kind.map_err(|_| format!("an edge of type {}", record[2]))?);
        jsc.names.push(narrow(record[3], "a name")?);
        Ok(())
    }
}
