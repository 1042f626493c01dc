//! From growth to one name: what grows, who holds it, where it is written, and how much of the growth it is.
//!
//! An owner is a culprit only if it gained the same amount per operation in every window: a cache that fills,
//! a pool, a plateau do not. The thresholds below were set on ideas, on the small programs of `tests/leaks` and on
//! `examples/culprits`, and then frozen, before anybody saw the pairs that they are scored on.

mod holder;
mod pattern;
mod place;

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::classes::{Class, Classes};
use crate::error::Result;
use crate::growth::{Gain, Growth, Owner, Windows};
use crate::heap::Heap;
use crate::snapshot::{Node, Place};
use crate::source_map::SourceMaps;

pub use holder::{Holder, Hop};
pub use pattern::Pattern;
pub use place::{Origin, origin};

/// Counts of windows agree within this share of what is expected …
const COUNT_TOLERANCE: f64 = 0.03;
/// … and this many standard deviations of a count, for what only some operations leave behind.
const COUNT_DEVIATIONS: f64 = 2.0;
/// … and this many objects that came or went at the edges of a window.
const COUNT_SLACK: f64 = 2.0;
/// Fewer per operation are noise.
const FEWEST_PER_OPERATION: f64 = 0.005;
/// In each window at least so many must have stayed.
const FEWEST: f64 = 4.0;
/// With one window only a simple fraction of the operations is believed: p/q with q up to this …
const LARGEST_DENOMINATOR: u64 = 3;
/// … within this share.
const FRACTION_TOLERANCE: f64 = 0.02;
/// A culprit that explains less than this share of the surviving growth is not told.
const SMALLEST_SHARE: f64 = 0.02;
/// Bytes per operation below which nothing is told.
const FEWEST_BYTES_PER_OPERATION: f64 = 4.0;
/// Entries carry at least one in this many of the bytes of their owner, or they are not what piles up.
const ENTRIES_CARRY: u64 = 4;
/// A second container that gained at least this share of the first's entries holds the same leak.
const SAME_LEAK: f64 = 0.8;

/// Who makes memory grow.
#[derive(Debug, Clone, PartialEq)]
pub struct Culprit {
    /// Class of what piles up.
    pub kind: String,
    /// Where that class is written, if it has a constructor.
    pub kind_place: Option<Place>,
    /// The old object that holds it.
    pub holder: Holder,
    /// Other old objects that hold the same things: clearing one alone frees nothing.
    pub also_held_by: Vec<Holder>,
    /// Where what piles up is made: the function itself, or the constructor.
    pub place: Option<Place>,
    /// Whose code the place is.
    pub origin: Origin,
    /// The shape of the mistake.
    pub pattern: Pattern,
    /// Objects per operation.
    pub count_per_op: f64,
    /// Bytes per operation, with everything that hangs on the objects.
    pub bytes_per_op: f64,
    /// Share of the surviving growth that it explains, 0 to 1.
    pub share: f64,
    /// Objects that stayed in each window.
    pub counts: Vec<u64>,
    /// Ids of some of them, to be looked up in the snapshot.
    pub samples: Vec<u32>,
    /// What it rests on, a line each.
    pub evidence: Vec<String>,
}

impl Culprit {
    /// Says places, and the names of minified constructors, as they are in the sources.
    pub fn map_back(&mut self, maps: &SourceMaps) {
        if let Some(original) = self
            .kind_place
            .as_ref()
            .and_then(|place| maps.original(place))
        {
            if let Some(name) = original.name {
                self.kind = name;
            }
            self.kind_place = Some(original.place);
        }
        let holders = std::iter::once(&mut self.holder).chain(&mut self.also_held_by);
        let places = holders.flat_map(|holder| [&mut holder.place, &mut holder.class_place]);
        for place in places.chain([&mut self.place]) {
            if let Some(original) = place.as_ref().and_then(|place| maps.original(place)) {
                *place = Some(original.place);
            }
        }
        if let Some(place) = &self.place {
            self.origin = origin(&place.script);
        }
    }
}

/// The answer to "who holds what grows".
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The largest first.
    pub culprits: Vec<Culprit>,
    /// Bytes per operation that appeared in the windows and are still there.
    pub bytes_per_op: f64,
    /// Share of them that no culprit explains.
    pub unexplained: f64,
    /// Whether two windows confirmed one another. If not, a cache that fills looks the same.
    pub confirmed: bool,
}

/// Names who holds what grew between the earlier windows and `heap`.
///
/// # Errors
///
/// The windows and operations do not match, or the snapshots are not of one process.
pub fn rank(heap: &Heap, classes: &Classes, windows: &Windows<'_>) -> Result<Ranking> {
    let growth = Growth::of(heap, classes, windows)?;
    let operations: u64 = growth.operations.iter().sum();
    let per_op = |bytes: u64| bytes as f64 / operations.max(1) as f64;
    let total = growth.survivors.bytes;
    let mut ranking = Ranking {
        culprits: Vec::new(),
        bytes_per_op: per_op(total),
        unexplained: 1.0,
        confirmed: growth.operations.len() > 1,
    };
    if operations == 0 {
        return Ok(ranking);
    }
    let mut owners: Vec<(u32, Owner)> = growth.owners(heap, classes).into_iter().collect();
    owners.sort_unstable_by_key(|(node, owner)| (Reverse(owner.all.total_bytes()), *node));
    for (node, owner) in &owners {
        if owner.all.total_bytes() as f64 <= SMALLEST_SHARE * total as f64 {
            break;
        }
        let judged = Judged {
            heap,
            classes,
            growth: &growth,
            node: *node,
            owner,
        };
        if let Some(culprit) = judged.culprit(total)
            && culprit.bytes_per_op >= FEWEST_BYTES_PER_OPERATION
            && culprit.share >= SMALLEST_SHARE
        {
            ranking.culprits.push(culprit);
        }
    }
    merge(&mut ranking.culprits);
    ranking
        .culprits
        .sort_by(|a, b| b.bytes_per_op.total_cmp(&a.bytes_per_op));
    let explained: f64 = ranking.culprits.iter().map(|culprit| culprit.share).sum();
    ranking.unexplained = (1.0 - explained).max(0.0);
    Ok(ranking)
}

/// One holder is one culprit: the names of a dictionary's entries may have another dominator than their values.
fn merge(culprits: &mut Vec<Culprit>) {
    culprits.sort_by(|a, b| b.bytes_per_op.total_cmp(&a.bytes_per_op));
    let mut kept: Vec<Culprit> = Vec::new();
    for culprit in culprits.drain(..) {
        match kept
            .iter_mut()
            .find(|known| known.holder.id == culprit.holder.id)
        {
            Some(known) => {
                known.bytes_per_op += culprit.bytes_per_op;
                known.share = (known.share + culprit.share).min(1.0);
                known.evidence.extend(culprit.evidence);
            }
            None => kept.push(culprit),
        }
    }
    *culprits = kept;
}

/// One owner on trial.
struct Judged<'a> {
    heap: &'a Heap,
    classes: &'a Classes,
    growth: &'a Growth,
    node: u32,
    owner: &'a Owner,
}

impl Judged<'_> {
    fn culprit(&self, total: u64) -> Option<Culprit> {
        let (class, gain) = self.kind()?;
        let holders = self.holders(class, gain);
        let container = holders.first().copied().unwrap_or(self.node);
        let sample = self.owner.samples.get(&class).copied()?;
        let pattern = pattern::of(self.heap, self.growth, container, sample);
        let position = place::best(
            self.heap,
            &self.owner.places,
            pattern.is_about_functions(),
            |gain| self.is_steady(gain),
        );
        let holder = if holders.is_empty() {
            Holder::of_inner(self.heap, self.growth, container, sample)
        } else {
            Holder::of(self.heap, Node(container))
        };
        let place = position.map(|position| self.heap.snapshot.place_of(position));
        let place = place.or_else(|| holder.place.clone());
        let rate = self.steady_bytes();
        let operations: u64 = self.growth.operations.iter().sum();
        let counts: Vec<u64> = gain.counts[..self.growth.operations.len()]
            .iter()
            .map(|count| u64::from(*count))
            .collect();
        let Class {
            name: kind,
            place: kind_place,
            ..
        } = self.classes.row(class).clone();
        let mut evidence = vec![self.count_line(&kind, &counts)];
        let also_held_by: Vec<Holder> = holders
            .iter()
            .skip(1)
            .map(|holder| Holder::of(self.heap, Node(*holder)))
            .collect();
        for other in &also_held_by {
            evidence.push(format!("also held by {other}"));
        }
        Some(Culprit {
            kind,
            kind_place,
            also_held_by,
            origin: place
                .as_ref()
                .map_or(Origin::Unknown, |place| origin(&place.script)),
            place,
            pattern,
            count_per_op: gain.total_count() as f64 / operations as f64,
            bytes_per_op: rate,
            share: (rate * operations as f64 / total as f64).min(1.0),
            counts,
            samples: self.samples(class),
            evidence,
            holder,
        })
    }

    /// The class that piles up, and its gain. Entries speak first; where there are none (a chain), all new
    /// objects do.
    fn kind(&self) -> Option<(u32, Gain)> {
        let best = |gains: &FxHashMap<u32, Gain>, per_object: bool| {
            let mut steady: Vec<(u32, Gain)> = gains
                .iter()
                .filter(|(_, gain)| self.is_steady(gain))
                .map(|(class, gain)| (*class, *gain))
                .collect();
            // The code of the user before libraries before the runtime, where it weighs enough to matter.
            let most = steady.iter().map(|(_, gain)| gain.total_bytes()).max()?;
            steady.sort_unstable_by_key(|(class, gain)| {
                let row = self.classes.row(*class);
                let origin = row
                    .place
                    .as_ref()
                    .map_or(Origin::Unknown, |place| origin(&place.script));
                let weighty = gain.total_bytes() * if per_object { 10 } else { 3 } >= most;
                // Of a chain the links are meant, not the texts they carry.
                let is_text =
                    per_object && row.name.starts_with('(') && row.name.ends_with("string)");
                (
                    is_text,
                    Reverse(weighty && origin == Origin::User),
                    Reverse(gain.total_bytes()),
                    *class,
                )
            });
            steady.first().copied()
        };
        // Of a chain only the last link is an entry, and what else enters weighs next to nothing.
        let carries =
            |gain: &Gain| gain.total_bytes() * ENTRIES_CARRY >= self.owner.all.total_bytes();
        best(&self.owner.entries, false)
            .filter(|(_, gain)| carries(gain))
            .or_else(|| best(&self.owner.classes, true))
    }

    /// Old containers that hold the entries, the likeliest first; the owner itself where none gained.
    fn holders(&self, class: u32, gain: Gain) -> Vec<u32> {
        let mut found: Vec<(u32, Gain)> = self
            .owner
            .holders
            .iter()
            .filter(|((_, of), held)| *of == class && self.is_steady(held))
            .map(|((container, _), held)| (*container, *held))
            .filter(|(_, held)| held.total_count() as f64 >= SAME_LEAK * gain.total_count() as f64)
            .collect();
        found.sort_by_cached_key(|(container, held)| {
            (
                holder::rank(self.heap, *container),
                Reverse(held.total_count()),
                *container,
            )
        });
        found.into_iter().map(|(container, _)| container).collect()
    }

    /// The same amount per operation in every window.
    fn is_steady(&self, gain: &Gain) -> bool {
        let operations = &self.growth.operations;
        let counts = &gain.counts[..operations.len()];
        let all: u64 = operations.iter().sum();
        let rate = gain.total_count() as f64 / all as f64;
        if rate < FEWEST_PER_OPERATION {
            return false;
        }
        if let [only] = operations.as_slice() {
            return is_simple_fraction(u64::from(counts[0]), *only);
        }
        counts.iter().zip(operations).all(|(count, operations)| {
            let (count, expected) = (f64::from(*count), rate * *operations as f64);
            // A whole number per operation has no chance in it.
            let whole = (rate - rate.round()).abs() < FRACTION_TOLERANCE * rate && rate > 0.5;
            let deviations = if whole { 0.0 } else { COUNT_DEVIATIONS };
            let tolerance = COUNT_TOLERANCE * expected + deviations * expected.sqrt() + COUNT_SLACK;
            count >= FEWEST && (count - expected).abs() <= tolerance
        })
    }

    /// Bytes per operation that every window confirms: the smallest of the windows' rates, so that what only
    /// the first one needed (compiled code, filled pools) is not counted.
    fn steady_bytes(&self) -> f64 {
        self.growth
            .operations
            .iter()
            .zip(self.owner.all.bytes)
            .map(|(operations, bytes)| bytes as f64 / *operations as f64)
            .fold(f64::INFINITY, f64::min)
            + self.store_bytes()
    }

    /// What the backing stores grew by: of each new store the part that new objects fill.
    fn store_bytes(&self) -> f64 {
        let operations: u64 = self.growth.operations.iter().sum();
        let (new, all) = self.owner.store_edges;
        let part = new as f64 / all.max(1) as f64;
        self.owner.store.total_bytes() as f64 * part / operations as f64
    }

    fn count_line(&self, kind: &str, counts: &[u64]) -> String {
        let windows: Vec<String> = counts
            .iter()
            .zip(&self.growth.operations)
            .enumerate()
            .map(|(window, (count, operations))| match window {
                0 => format!("{count} {kind} after {operations} operations"),
                _ => format!("{count} after {operations} more"),
            })
            .collect();
        format!("new and still there: {}", windows.join(", "))
    }

    /// Ids of a few of the objects that pile up.
    fn samples(&self, class: u32) -> Vec<u32> {
        let snapshot = &self.heap.snapshot;
        (0..snapshot.node_count())
            .filter(|node| {
                self.growth.class(self.classes, *node) == class
                    && self.growth.window(*node).is_some()
                    && self.growth.owner_of(*node) == self.node
            })
            .take(3)
            .map(|node| snapshot.nodes.ids[node as usize])
            .collect()
    }
}

/// Whether `count` is p/q of `operations` for a small q, or a whole multiple.
fn is_simple_fraction(count: u64, operations: u64) -> bool {
    let rate = count as f64 / operations as f64;
    count as f64 >= FEWEST
        && (1..=LARGEST_DENOMINATOR).any(|denominator| {
            let scaled = rate * denominator as f64;
            scaled > 0.5 && (scaled - scaled.round()).abs() <= FRACTION_TOLERANCE * scaled.round()
        })
}
