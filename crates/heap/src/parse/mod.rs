//! Bytes to columns, in one pass, in chunks of any size.
//!
//! A snapshot is one JSON object: `snapshot` (the header), flat arrays of numbers (`nodes`, `edges`,
//! `locations` …), one nested array (`trace_tree`) and `strings`. The header comes first and names every
//! column; arrays this version does not know are skipped. Memory grows with what was read, never with what
//! the header promises.

mod jsc;
pub(crate) mod numbers;
pub(crate) mod tree;

use crate::columns::{EdgeRows, Edges, LocationRows, Locations, NodeRows, Nodes, Table};
use crate::error::{Error, Result};
use crate::meta::{MOST_FIELDS, Meta};
use crate::strings::{Bytes, Strings};
use crate::window::Tallies;
use jsc::Jsc;
use numbers::{Numbers, Rows};
use tree::TraceTree;

/// A header is a few kilobytes.
const MOST_HEADER_BYTES: usize = 1 << 20;
/// The longest key of the format has 20 bytes.
const MOST_KEY_BYTES: usize = 256;
/// What a name of a weak map's entry takes at the least.
const SHORTEST_ENTRY_NAME: u64 = 40;

/// What to keep of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All columns, strings copied.
    Everything,
    /// All columns; strings stay where they are, in a map that [`Reader::finish`]'s caller holds.
    EverythingMapped,
    /// Ids and tallies by class.
    Window,
}

/// Everything that was kept.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) meta: Meta,
    pub(crate) nodes: Nodes,
    pub(crate) edges: Edges,
    pub(crate) locations: Locations,
    pub(crate) strings: Strings,
    pub(crate) trace_functions: Table,
    pub(crate) trace_tree: TraceTree,
    pub(crate) scopes: [Table; 3],
    pub(crate) tallies: Tallies,
}

/// Which flat array is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Nodes,
    Edges,
    Locations,
    TraceFunctions,
    /// One of the three tables of scopes.
    Scopes(usize),
    /// Records of `JavaScriptCore`.
    Jsc(jsc::Records),
}

#[derive(Debug)]
enum State {
    /// Before the first brace.
    Start,
    /// Before a key or the last brace.
    BetweenKeys,
    /// Inside a key.
    Key,
    /// After a key.
    Colon,
    /// Before a value.
    Value,
    /// Inside the header.
    Header(Nesting),
    Numbers(Section, Numbers),
    TraceTree,
    Strings(InStrings),
    /// Inside a value nobody asked for.
    Skip(Nesting),
    End,
}

/// Where in the string array.
#[derive(Debug, Clone, Copy)]
enum InStrings {
    Between,
    /// Inside a string that began at this position.
    Inside {
        start: u64,
        digit: bool,
        keep: bool,
    },
    /// After a backslash.
    Escaped {
        start: u64,
        digit: bool,
        keep: bool,
    },
}

/// How deep inside a value that is not looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Nesting {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// Takes one byte; whether the value ends with it.
    fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
                return self.depth == 0;
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

/// The push parser behind every way to read a snapshot.
#[derive(Debug)]
pub(crate) struct Reader {
    keep: Keep,
    /// Length of the whole input, where it is known: bounds what the header may promise.
    length: Option<u64>,
    state: State,
    /// Position of the current chunk.
    base: u64,
    key: Vec<u8>,
    header: Vec<u8>,
    meta: Option<Meta>,
    seen: Vec<&'static str>,
    /// Where arrays ended.
    ends: Vec<(&'static str, u64)>,
    announced_edges: u64,
    nodes: Nodes,
    edges: Edges,
    locations: Locations,
    strings: Strings,
    trace_functions: Table,
    trace_tree: TraceTree,
    scopes: [Table; 3],
    tallies: Tallies,
    string_count: u64,
    /// Whether it begins as `JavaScriptCore`'s snapshots do, and the word it says for its type.
    versioned: bool,
    word: Vec<u8>,
    jsc: Option<Box<Jsc>>,
}

impl Reader {
    pub(crate) fn new(keep: Keep, length: Option<u64>) -> Self {
        Self {
            keep,
            length,
            state: State::Start,
            base: 0,
            key: Vec::new(),
            header: Vec::new(),
            meta: None,
            seen: Vec::new(),
            ends: Vec::new(),
            announced_edges: 0,
            nodes: Nodes::default(),
            edges: Edges::default(),
            locations: Locations::default(),
            strings: Strings::default(),
            trace_functions: Table::default(),
            trace_tree: TraceTree::default(),
            scopes: [Table::default(), Table::default(), Table::default()],
            tallies: Tallies::default(),
            string_count: 0,
            versioned: false,
            word: Vec::new(),
            jsc: None,
        }
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        let mut at = 0;
        while at < bytes.len() {
            at = self.step(bytes, at)?;
        }
        self.base += bytes.len() as u64;
        Ok(())
    }

    /// Reads on from `bytes[at]`, which exists, and returns how far it got.
    fn step(&mut self, bytes: &[u8], at: usize) -> Result<usize> {
        let byte = bytes[at];
        let here = self.base + at as u64;
        match &mut self.state {
            State::Start => match byte {
                b'{' => self.state = State::BetweenKeys,
                _ if byte.is_ascii_whitespace() => {}
                _ => {
                    return Err(Error::NotASnapshot {
                        what: format!("'{}' instead of '{{'", char::from(byte).escape_default()),
                        at: here,
                    });
                }
            },
            State::BetweenKeys => match byte {
                b'"' => {
                    self.key.clear();
                    self.state = State::Key;
                }
                b',' => {}
                b'}' => self.state = State::End,
                _ if byte.is_ascii_whitespace() => {}
                _ => return Err(self.unexpected(byte, "a key", here)),
            },
            State::Key => match byte {
                b'"' => self.state = State::Colon,
                _ if self.key.len() < MOST_KEY_BYTES => self.key.push(byte),
                _ => return Err(self.unexpected(byte, "the end of a key", here)),
            },
            State::Colon => match byte {
                b':' => self.state = State::Value,
                _ if byte.is_ascii_whitespace() => {}
                _ => return Err(self.unexpected(byte, "':'", here)),
            },
            State::Value => return self.value(bytes, at),
            State::Header(nesting) => {
                if self.header.len() >= MOST_HEADER_BYTES {
                    return Err(Error::TooLarge {
                        what: format!("a header of more than {MOST_HEADER_BYTES} bytes"),
                    });
                }
                self.header.push(byte);
                if nesting.ends_with(byte) {
                    let meta = Meta::parse(&self.header, here)?;
                    self.header = Vec::new();
                    self.promise(&meta, here)?;
                    self.meta = Some(meta);
                    self.state = State::BetweenKeys;
                }
            }
            State::Numbers(..) => return self.numbers(bytes, at),
            State::TraceTree => {
                let (next, ended) = self.trace_tree.feed(bytes, at, self.base)?;
                if ended {
                    self.state = State::BetweenKeys;
                }
                return Ok(next);
            }
            State::Strings(place) => {
                let place = *place;
                return self.strings(place, bytes, at);
            }
            State::Skip(nesting) => {
                // Flat arrays of numbers are skipped at the speed of memory.
                if !nesting.in_string && !matches!(byte, b'"' | b'[' | b']' | b'{' | b'}') {
                    let rest = &bytes[at..];
                    let brackets = memchr::memchr3(b'[', b']', b'"', rest);
                    let limit = brackets.unwrap_or(rest.len());
                    let braces = memchr::memchr2(b'{', b'}', &rest[..limit]);
                    return Ok(at + braces.unwrap_or(limit));
                }
                if self.key == b"type" && self.word.len() < MOST_KEY_BYTES {
                    self.word.push(byte);
                }
                if nesting.ends_with(byte) {
                    self.state = State::BetweenKeys;
                }
            }
            State::End => {
                if !byte.is_ascii_whitespace() && byte != 0 {
                    return Err(self.unexpected(byte, "the end", here));
                }
            }
        }
        Ok(at + 1)
    }

    /// The first byte of a value decides what is read.
    fn value(&mut self, bytes: &[u8], at: usize) -> Result<usize> {
        let byte = bytes[at];
        let here = self.base + at as u64;
        if byte.is_ascii_whitespace() {
            return Ok(at + 1);
        }
        if self.meta.is_none() && (self.jsc.is_some() || self.versioned && self.key == b"nodes") {
            return self.foreign(bytes, at);
        }
        self.versioned |= self.meta.is_none() && self.key == b"version";
        let known = Self::KEYS.iter().find(|key| key.as_bytes() == self.key);
        let Some(key) = known.copied() else {
            return Ok(self.skip(byte, at));
        };
        if self.seen.contains(&key) {
            return Err(Self::malformed(format!("'{key}' occurs twice"), key, here));
        }
        self.seen.push(key);
        if key == "snapshot" {
            if byte != b'{' {
                return Err(self.unexpected(byte, "the header", here));
            }
            self.state = State::Header(Nesting::default());
            return Ok(at);
        }
        let Some(meta) = &self.meta else {
            return Err(Error::NotASnapshot {
                what: format!("'{key}' before the header 'snapshot'"),
                at: here,
            });
        };
        if byte != b'[' {
            return Err(self.unexpected(byte, "'['", here));
        }
        let window = self.keep == Keep::Window;
        let (section, fields) = match key {
            "nodes" => (Section::Nodes, meta.nodes.fields),
            "edges" if window => return Ok(self.skip(byte, at)),
            "edges" => (Section::Edges, meta.edges.fields),
            "strings" => {
                self.strings.begin = here + 1;
                self.state = State::Strings(InStrings::Between);
                return Ok(at + 1);
            }
            _ if window => return Ok(self.skip(byte, at)),
            "trace_tree" => {
                self.state = State::TraceTree;
                return Ok(at + 1);
            }
            "locations" => (Section::Locations, meta.locations.count()),
            "trace_function_infos" => (Section::TraceFunctions, meta.trace_functions.count()),
            "scopes" => (Section::Scopes(0), meta.scopes.count()),
            "scope_context_vars" => (Section::Scopes(1), meta.scope_variables.count()),
            "scope_uses" => (Section::Scopes(2), meta.scope_uses.count()),
            _ => return Ok(self.skip(byte, at)),
        };
        if fields == 0 {
            return Ok(self.skip(byte, at));
        }
        self.begin(section, fields, key, here)?;
        Ok(at + 1)
    }

    const KEYS: [&'static str; 10] = [
        "snapshot",
        "nodes",
        "edges",
        "strings",
        "locations",
        "trace_function_infos",
        "trace_tree",
        "scopes",
        "scope_context_vars",
        "scope_uses",
    ];

    fn begin(
        &mut self,
        section: Section,
        fields: usize,
        key: &'static str,
        here: u64,
    ) -> Result<()> {
        let order = |needed: &str| Self::malformed(format!("'{key}' before '{needed}'"), key, here);
        if section != Section::Nodes && !self.seen.contains(&"nodes") {
            return Err(order("nodes"));
        }
        // Room is reserved in full where it can be, because growing columns by doubling would need twice the
        // memory; pages nobody writes to cost nothing.
        let meta = self.meta.as_ref();
        let count = |count: Option<u64>| count.unwrap_or(0) as usize;
        match section {
            Section::Nodes if self.keep == Keep::Window => {}
            Section::Nodes => {
                let _ = self.nodes.reserve(count(meta.map(|meta| meta.node_count)));
            }
            Section::Edges => {
                let _ = self.edges.reserve(count(meta.map(|meta| meta.edge_count)));
            }
            Section::TraceFunctions => self.trace_functions.fields = fields,
            Section::Scopes(index) => self.scopes[index].fields = fields,
            Section::Locations | Section::Jsc(_) => {}
        }
        // Only what every snapshot has is held to being unsigned: scopes have negative ids.
        let numbers = match section {
            Section::Nodes | Section::Edges => Numbers::new(key, fields),
            _ => Numbers::signed(key, fields),
        };
        self.state = State::Numbers(section, numbers);
        Ok(())
    }

    /// A header that promises more records than bytes are left is refused before anything is reserved.
    fn promise(&self, meta: &Meta, here: u64) -> Result<()> {
        let Some(length) = self.length else {
            return Ok(());
        };
        let needed = (meta.node_count * meta.nodes.fields as u64
            + meta.edge_count * meta.edges.fields as u64)
            .saturating_mul(2);
        if needed > length.saturating_sub(here) + 2 {
            return Err(Error::Malformed {
                what: format!(
                    "{} nodes and {} edges are announced, more than fit into the {} bytes that follow",
                    meta.node_count,
                    meta.edge_count,
                    length.saturating_sub(here)
                ),
                section: "the header".to_owned(),
                at: here,
            });
        }
        Ok(())
    }

    fn numbers(&mut self, bytes: &[u8], at: usize) -> Result<usize> {
        let State::Numbers(section, numbers) = &mut self.state else {
            return Ok(at + 1);
        };
        let base = self.base;
        let key = numbers.section();
        if let (Section::Jsc(records), Some(jsc)) = (*section, &mut self.jsc) {
            let (next, ended) = match records {
                jsc::Records::Nodes => numbers.feed(bytes, at, base, &mut jsc.node_rows())?,
                jsc::Records::Edges => numbers.feed(bytes, at, base, &mut jsc.edge_rows())?,
            };
            if ended {
                self.state = State::BetweenKeys;
            }
            return Ok(next);
        }
        let Some(meta) = &self.meta else {
            return Ok(at + 1);
        };
        let (next, ended) = match section {
            Section::Nodes if self.keep == Keep::Window => {
                let tallies = &mut self.tallies;
                numbers.feed(bytes, at, base, &mut tallies.rows(meta))?
            }
            Section::Nodes => {
                let mut rows = NodeRows {
                    meta,
                    nodes: &mut self.nodes,
                    edges: &mut self.announced_edges,
                };
                numbers.feed(bytes, at, base, &mut rows)?
            }
            Section::Edges => {
                let mut rows = EdgeRows {
                    meta,
                    edges: &mut self.edges,
                };
                numbers.feed(bytes, at, base, &mut rows)?
            }
            Section::Locations => {
                let find = |name| meta.locations.find(name);
                match (
                    find("object_index"),
                    find("script_id"),
                    find("line"),
                    find("column"),
                ) {
                    (Some(node), Some(script), Some(line), Some(column)) => {
                        let mut rows = LocationRows {
                            meta,
                            columns: [node, script, line, column],
                            script_node: find("script_object_index"),
                            locations: &mut self.locations,
                        };
                        numbers.feed(bytes, at, base, &mut rows)?
                    }
                    _ => numbers.feed(bytes, at, base, &mut Ignored)?,
                }
            }
            Section::TraceFunctions => numbers.feed(bytes, at, base, &mut self.trace_functions)?,
            Section::Scopes(index) => numbers.feed(bytes, at, base, &mut self.scopes[*index])?,
            // Answered above.
            Section::Jsc(_) => return Ok(at + 1),
        };
        if ended {
            self.ends.push((key, base + next as u64 - 1));
            self.state = State::BetweenKeys;
        }
        Ok(next)
    }

    fn strings(&mut self, place: InStrings, bytes: &[u8], at: usize) -> Result<usize> {
        let here = self.base + at as u64;
        let byte = bytes[at];
        match place {
            InStrings::Between => match byte {
                b'"' => {
                    let index = self.string_count;
                    if index >= u64::from(u32::MAX) {
                        return Err(Error::TooLarge {
                            what: "2^32 strings".to_owned(),
                        });
                    }
                    self.string_count += 1;
                    let keep = match self.keep {
                        Keep::Everything => true,
                        Keep::EverythingMapped => false,
                        Keep::Window => self.tallies.begin_string(index as u32),
                    };
                    let start = match (&self.strings.bytes, self.keep) {
                        (Bytes::Owned(owned), Keep::Everything) => owned.len() as u64,
                        _ => here + 1,
                    };
                    if self.keep != Keep::Window {
                        self.strings.offsets.push(start);
                    }
                    let digit = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
                    // The first byte may be in the next chunk; then the string counts as one to look at.
                    let digit = digit || at + 1 == bytes.len();
                    self.state = State::Strings(InStrings::Inside {
                        start: here + 1,
                        digit,
                        keep,
                    });
                    Ok(at + 1)
                }
                b']' => {
                    if let Some(jsc) = &mut self.jsc {
                        jsc.end(self.string_count);
                    }
                    self.ends.push(("strings", here));
                    self.state = State::BetweenKeys;
                    Ok(at + 1)
                }
                b',' => Ok(at + 1),
                _ if byte.is_ascii_whitespace() => Ok(at + 1),
                _ => Err(self.unexpected(byte, "a string", here)),
            },
            InStrings::Inside { start, digit, keep } => {
                let rest = &bytes[at..];
                let Some(step) = memchr::memchr2(b'"', b'\\', rest) else {
                    if keep {
                        self.keep_bytes(rest);
                    }
                    return Ok(bytes.len());
                };
                if keep {
                    self.keep_bytes(&rest[..=step]);
                }
                if rest[step] == b'\\' {
                    self.state = State::Strings(InStrings::Escaped { start, digit, keep });
                } else {
                    if digit && here + step as u64 - start >= SHORTEST_ENTRY_NAME {
                        self.strings
                            .digits_first
                            .push((self.string_count - 1) as u32);
                    }
                    self.state = State::Strings(InStrings::Between);
                }
                Ok(at + step + 1)
            }
            InStrings::Escaped { start, digit, keep } => {
                if keep {
                    self.keep_bytes(&[byte]);
                }
                self.state = State::Strings(InStrings::Inside { start, digit, keep });
                Ok(at + 1)
            }
        }
    }

    fn keep_bytes(&mut self, bytes: &[u8]) {
        if self.keep == Keep::Window {
            self.tallies.string_bytes(bytes);
        } else if let Bytes::Owned(owned) = &mut self.strings.bytes {
            owned.extend_from_slice(bytes);
        }
    }

    /// The end of the input.
    pub(crate) fn finish(mut self) -> Result<Parts> {
        if !matches!(self.state, State::End) {
            if matches!(self.state, State::Start) {
                return Err(Error::NotASnapshot {
                    what: "nothing".to_owned(),
                    at: self.base,
                });
            }
            return Err(Error::Truncated {
                section: self.section(),
                at: self.base,
            });
        }
        if let Some(jsc) = self.jsc.take() {
            return jsc.finish(self.strings, self.string_count, self.base);
        }
        let Some(meta) = self.meta.take() else {
            return Err(Error::NotASnapshot {
                what: "no header 'snapshot'".to_owned(),
                at: self.base,
            });
        };
        let found = if self.keep == Keep::Window {
            self.tallies.nodes()
        } else {
            self.nodes.len() as u64
        };
        self.check_counts(&meta, found)?;
        self.nodes.first_edge.push(self.edges.len() as u32);
        self.locations.complete();
        if let Bytes::Owned(owned) = &mut self.strings.bytes {
            owned.shrink_to_fit();
        }
        Ok(Parts {
            meta,
            nodes: self.nodes,
            edges: self.edges,
            locations: self.locations,
            strings: self.strings,
            trace_functions: self.trace_functions,
            trace_tree: self.trace_tree,
            scopes: self.scopes,
            tallies: self.tallies,
        })
    }

    /// Holds the parts against the header and each other; what is wrong is said with the end of the part it is in.
    fn check_counts(&self, meta: &Meta, nodes: u64) -> Result<()> {
        let wrong = |key: &'static str, what: String| {
            let end = self.ends.iter().find(|(known, _)| *known == key);
            Err(Self::malformed(
                what,
                key,
                end.map_or(self.base, |(_, at)| *at),
            ))
        };
        if nodes != meta.node_count {
            let announced = meta.node_count;
            return wrong(
                "nodes",
                format!("the header announces {announced} nodes, {nodes} follow"),
            );
        }
        if nodes == 0 {
            return wrong("nodes", "it holds no nodes".to_owned());
        }
        if self.keep == Keep::Window {
            return Ok(());
        }
        let edges = self.edges.len() as u64;
        if edges != meta.edge_count {
            let announced = meta.edge_count;
            return wrong(
                "edges",
                format!("the header announces {announced} edges, {edges} follow"),
            );
        }
        if self.announced_edges != edges {
            let announced = self.announced_edges;
            return wrong(
                "nodes",
                format!("the nodes have {announced} edges, the snapshot {edges}"),
            );
        }
        let largest = u64::from(self.nodes.largest_name.max(self.edges.largest_name));
        if largest >= self.string_count {
            let count = self.string_count;
            return wrong(
                "strings",
                format!("a name is string {largest}, of {count} strings"),
            );
        }
        Ok(())
    }

    /// A value of a snapshot that `JavaScriptCore` wrote.
    fn foreign(&mut self, bytes: &[u8], at: usize) -> Result<usize> {
        let byte = bytes[at];
        let here = self.base + at as u64;
        let refused = |what: &str| {
            Err(Error::NotASnapshot {
                what: what.to_owned(),
                at: here,
            })
        };
        if self.keep == Keep::Window {
            return refused(
                "this is JavaScriptCore's format, in which an object has another number each time",
            );
        }
        if self.word == b"\"GCDebugging\"" {
            return refused("this is JavaScriptCore's format for debugging its collector");
        }
        // It is small beside V8's, and its strings are names only: they are copied.
        self.keep = Keep::Everything;
        let jsc = self.jsc.get_or_insert_default();
        let (key, records, names) = match self.key.as_slice() {
            b"nodes" => ("nodes", Some(jsc::Records::Nodes), None),
            b"edges" => ("edges", Some(jsc::Records::Edges), None),
            b"nodeClassNames" => ("nodeClassNames", None, Some(jsc::Names::Classes)),
            b"edgeTypes" => ("edgeTypes", None, Some(jsc::Names::EdgeTypes)),
            b"edgeNames" => ("edgeNames", None, Some(jsc::Names::Edges)),
            _ => return Ok(self.skip(byte, at)),
        };
        if self.seen.contains(&key) {
            return Err(Self::malformed(format!("'{key}' occurs twice"), key, here));
        }
        if byte != b'[' {
            return Err(self.unexpected(byte, "'['", here));
        }
        self.seen.push(key);
        if let Some(names) = names {
            jsc.begin(names, self.string_count);
            self.state = State::Strings(InStrings::Between);
        }
        if let Some(records) = records {
            let numbers = Numbers::new(key, jsc::FIELDS);
            self.state = State::Numbers(Section::Jsc(records), numbers);
        }
        Ok(at + 1)
    }

    /// Begins to skip the value that starts with `byte`.
    fn skip(&mut self, byte: u8, at: usize) -> usize {
        match byte {
            b'{' | b'[' | b'"' => {
                self.state = State::Skip(Nesting::default());
                at
            }
            // A bare number or word: its bytes up to the next comma or brace are skipped one by one.
            b',' | b'}' => {
                self.state = State::BetweenKeys;
                at
            }
            _ => at + 1,
        }
    }

    /// What the parser is in the middle of, for messages.
    fn section(&self) -> String {
        match &self.state {
            State::Header(_) => "the header".to_owned(),
            State::Numbers(_, numbers) => format!("'{}'", numbers.section()),
            State::TraceTree => "'trace_tree'".to_owned(),
            State::Strings(_) => "'strings'".to_owned(),
            State::Skip(_) | State::Colon | State::Value => {
                format!("'{}'", String::from_utf8_lossy(&self.key))
            }
            _ => "the snapshot".to_owned(),
        }
    }

    fn unexpected(&self, byte: u8, wanted: &str, at: u64) -> Error {
        Error::Malformed {
            what: format!(
                "'{}' where {wanted} belongs",
                char::from(byte).escape_default()
            ),
            section: self.section(),
            at,
        }
    }

    fn malformed(what: String, section: &str, at: u64) -> Error {
        Error::Malformed {
            what,
            section: section.to_owned(),
            at,
        }
    }
}

/// Takes records nobody can use.
struct Ignored;

impl Rows for Ignored {
    fn row(&mut self, _: &[u64; MOST_FIELDS]) -> std::result::Result<(), String> {
        Ok(())
    }
}
