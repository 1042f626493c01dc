//! An early window: which objects were alive then, and how many of which class. A few bytes an object.
//!
//! To tell what grew between two moments only the last snapshot's references matter; of the earlier ones it
//! is enough to know the ids, which V8 keeps for an object's whole life.

use std::fs::File;
use std::io::Read;

use rustc_hash::FxHashMap;

use crate::error::{Error, Result};
use crate::meta::{MOST_FIELDS, Meta, NodeKind};
use crate::parse::numbers::Rows;
use crate::parse::{Keep, Reader};
use crate::snapshot::Snapshot;
use crate::strings::decode;

/// How many, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Objects.
    pub count: u64,
    /// Their own bytes.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// Ids and class tallies of one snapshot.
///
/// ```
/// # fn main() -> Result<(), plimsoll_heap::Error> {
/// # let chunks: [&[u8]; 0] = [];
/// let mut parser = plimsoll_heap::WindowParser::new();
/// for chunk in chunks {
///     parser.feed(chunk)?;
/// }
/// assert!(parser.finish().is_err(), "nothing is no snapshot");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Window {
    ids: Ids,
    pub(crate) sample: Sample,
    classes: Vec<(String, Tally)>,
    total: Tally,
}

impl Window {
    /// Reads a snapshot file, compressed or not.
    pub fn open(file: &File) -> Result<Self> {
        let mut parser = WindowParser::new();
        crate::source::stream_file(file, &mut |chunk| parser.feed(chunk))?;
        parser.finish()
    }

    /// Reads a stream, compressed or not.
    pub fn read(reader: impl Read) -> Result<Self> {
        let mut parser = WindowParser::new();
        crate::source::stream(reader, &mut |chunk| parser.feed(chunk))?;
        parser.finish()
    }

    /// Whether the object with this id was alive then.
    pub fn contains(&self, id: u32) -> bool {
        self.ids.contains(id)
    }

    /// Tallies by class, most bytes first. Plain objects are all `Object` here: telling their shapes apart
    /// needs their properties.
    pub fn classes(&self) -> &[(String, Tally)] {
        &self.classes
    }

    /// The tally of one class.
    pub fn class(&self, name: &str) -> Tally {
        self.classes
            .iter()
            .find(|(known, _)| known == name)
            .map_or_else(Tally::default, |(_, tally)| *tally)
    }

    /// All nodes with bytes of their own.
    pub fn total(&self) -> Tally {
        self.total
    }
}

/// One in so many ids is sampled.
const SAMPLED: u32 = 61;

/// Of the objects with one id in two snapshots none changes its kind, if they are of one process.
const MOST_CHANGED: f64 = 0.01;

/// Some objects and functions with their kind: what tells one process from another. V8 counts ids from the same
/// start in every process, so that equal ids alone say nothing.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    /// Sorted by id once complete.
    objects: Vec<(u32, NodeKind)>,
}

impl Sample {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut sample = Self::default();
        for node in snapshot.nodes() {
            sample.add(snapshot.id(node), snapshot.kind(node));
        }
        sample.objects.sort_unstable();
        sample
    }

    fn add(&mut self, id: u32, kind: NodeKind) {
        let sampled = (id / 2).is_multiple_of(SAMPLED);
        if sampled && matches!(kind, NodeKind::Object | NodeKind::Closure) {
            self.objects.push((id, kind));
        }
    }

    /// Refuses a snapshot of another process, or of the same under new ids. `which` is what this sample was taken of.
    pub(crate) fn check(&self, snapshot: &Snapshot, which: &str) -> Result<()> {
        let (mut all, mut other) = (0_u32, 0_u32);
        for node in snapshot.nodes() {
            let id = snapshot.id(node);
            if !(id / 2).is_multiple_of(SAMPLED) {
                continue;
            }
            if let Ok(at) = self.objects.binary_search_by_key(&id, |(known, _)| *known) {
                all += 1;
                other += u32::from(self.objects[at].1 != snapshot.kind(node));
            }
        }
        if all == 0 || f64::from(other) > MOST_CHANGED * f64::from(all) {
            return Err(Error::Unrelated {
                what: format!(
                    "{which} numbers other objects: of {all} with the same id {other} are of another kind"
                ),
            });
        }
        Ok(())
    }
}

/// A push parser that keeps a [`Window`].
#[derive(Debug)]
pub struct WindowParser {
    reader: Reader,
}

impl Default for WindowParser {
    fn default() -> Self {
        Self::new()
    }
}

impl WindowParser {
    /// A parser that has seen nothing.
    pub fn new() -> Self {
        Self {
            reader: Reader::new(Keep::Window, None),
        }
    }

    /// Takes the next bytes, any number of them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.reader.feed(bytes)
    }

    /// The end of the snapshot.
    pub fn finish(self) -> Result<Window> {
        self.reader.finish().map(|parts| parts.tallies.finish())
    }
}

/// A set of ids. V8 gives objects odd numbers in order of appearance, so that one bit for each second
/// number is denser than a list; ids that do not fit the pattern are listed.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    odd: Vec<u64>,
    /// Sorted once complete.
    others: Vec<u32>,
}

/// Above this an odd id is listed, so that one hostile id cannot make the bits large.
const MOST_SPREAD: usize = 64;

impl Ids {
    pub(crate) fn insert(&mut self, id: u32, seen: usize) {
        let bit = (id / 2) as usize;
        if id.is_multiple_of(2)
            || bit / 64 > self.odd.len().max(1 << 16) * 2 + seen * MOST_SPREAD / 64
        {
            self.others.push(id);
            return;
        }
        if self.odd.len() <= bit / 64 {
            self.odd.resize(bit / 64 + 1, 0);
        }
        self.odd[bit / 64] |= 1 << (bit % 64);
    }

    pub(crate) fn complete(&mut self) {
        self.others.sort_unstable();
        self.others.shrink_to_fit();
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        let bit = (id / 2) as usize;
        let in_bits = id % 2 == 1
            && self
                .odd
                .get(bit / 64)
                .is_some_and(|word| word >> (bit % 64) & 1 == 1);
        in_bits || self.others.binary_search(&id).is_ok()
    }
}

/// What a window keeps while it is read.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    ids: Ids,
    sample: Sample,
    nodes: u64,
    total: Tally,
    /// Kinds whose class is not their name.
    by_kind: [Tally; 17],
    /// Objects and natives by the index of their name.
    by_name: FxHashMap<u32, Tally>,
    /// Bytes of the strings that name classes, each with its closing quote.
    texts: FxHashMap<u32, Vec<u8>>,
    current: u32,
}

/// Takes node records into [`Tallies`].
pub(crate) struct TallyRows<'a> {
    meta: &'a Meta,
    tallies: &'a mut Tallies,
}

impl Rows for TallyRows<'_> {
    #[inline]
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> std::result::Result<(), String> {
        let columns = &self.meta.nodes;
        let tallies = &mut *self.tallies;
        let id = u32::try_from(record[columns.id])
            .map_err(|_| format!("an id of {}, beyond 2^32", record[columns.id]))?;
        tallies.ids.insert(id, tallies.nodes as usize);
        tallies.nodes += 1;
        let kind = usize::try_from(record[columns.kind])
            .ok()
            .and_then(|kind| self.meta.node_kinds.get(kind))
            .copied()
            .unwrap_or(NodeKind::Other);
        tallies.sample.add(id, kind);
        let size = record[columns.size];
        if size == 0 {
            return Ok(());
        }
        tallies.total.add(size);
        match kind {
            NodeKind::Object | NodeKind::Native => {
                let name = record[columns.name] as u32;
                tallies.by_name.entry(name).or_default().add(size);
            }
            kind => tallies.by_kind[kind as usize].add(size),
        }
        Ok(())
    }
}

impl Tallies {
    pub(crate) fn rows<'a>(&'a mut self, meta: &'a Meta) -> TallyRows<'a> {
        TallyRows {
            meta,
            tallies: self,
        }
    }

    pub(crate) fn nodes(&self) -> u64 {
        self.nodes
    }

    /// A string begins; whether its bytes are wanted.
    pub(crate) fn begin_string(&mut self, index: u32) -> bool {
        self.current = index;
        self.by_name.contains_key(&index)
    }

    pub(crate) fn string_bytes(&mut self, bytes: &[u8]) {
        self.texts
            .entry(self.current)
            .or_default()
            .extend_from_slice(bytes);
    }

    fn finish(mut self) -> Window {
        self.ids.complete();
        let mut classes: FxHashMap<String, Tally> = FxHashMap::default();
        let mut add = |name: String, tally: Tally| {
            let sum = classes.entry(name).or_default();
            sum.count += tally.count;
            sum.bytes += tally.bytes;
        };
        let mut by_name: Vec<(u32, Tally)> = self.by_name.into_iter().collect();
        by_name.sort_unstable_by_key(|(name, _)| *name);
        for (name, tally) in by_name {
            let raw = self.texts.get(&name).map(Vec::as_slice).unwrap_or_default();
            let text = decode(raw.strip_suffix(b"\"").unwrap_or(raw));
            add(
                crate::classes::without_attributes(&text).into_owned(),
                tally,
            );
        }
        for (code, tally) in self.by_kind.iter().enumerate() {
            if tally.count > 0 {
                add(
                    crate::classes::class_of_kind(NodeKind::of_code(code as u8)),
                    *tally,
                );
            }
        }
        let mut classes: Vec<(String, Tally)> = classes.into_iter().collect();
        classes.sort_unstable_by(|a, b| b.1.bytes.cmp(&a.1.bytes).then_with(|| a.0.cmp(&b.0)));
        self.sample.objects.sort_unstable();
        Window {
            ids: self.ids,
            sample: self.sample,
            classes,
            total: self.total,
        }
    }
}
