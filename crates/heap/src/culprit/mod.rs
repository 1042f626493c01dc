//! From growth to one name: what grows, who holds it, where it is written, and how much of the growth it is.
//!
//! An owner is a culprit only if it gained the same amount per operation in every window: a cache that fills,
//! a pool, a plateau do not. The thresholds below were set on ideas, on the small programs of `tests/leaks` and on
//! `examples/culprits`, and then frozen, before anybody saw the pairs that they are scored on.

mod holder;
mod pattern;
mod place;
mod spread;

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use crate::classes::Classes;
use crate::error::Result;
use crate::growth::{Gain, Growth, Owner, Windows};
use crate::heap::Heap;
use crate::meta::NodeKind;
use crate::snapshot::{Node, Place};
use crate::source_map::SourceMaps;
use crate::window::Window;

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
/// Texts that enter with objects, one for one, are their keys, unless they weigh this many times as much.
const TEXT_OUTWEIGHS: u64 = 10;
/// A second container that gained at least this share of the first's entries holds the same leak.
const SAME_LEAK: f64 = 0.8;

/// Who makes memory grow.
#[derive(Debug, Clone, PartialEq)]
pub struct Culprit {
    /// Class of what piles up.
    pub kind: String,
    /// Classes that pile up with it in the same place, one for one: the keys of a Map beside its values.
    pub kinds_beside: Vec<String>,
    /// Where that class is written, if it has a constructor.
    pub kind_place: Option<Place>,
    /// The old object that holds it.
    pub holder: Holder,
    /// Other old objects that hold the same things: clearing one alone frees nothing.
    pub also_held_by: Vec<Holder>,
    /// Where what piles up is made: the function itself, or the constructor. None where no code of anybody's is known for it.
    pub place: Option<Place>,
    /// Whether that is a function, which may only hang on what piles up.
    pub place_is_function: bool,
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
    /// Where it is made; where that is not known, the place of the holder.
    pub fn nearest_place(&self) -> Option<&Place> {
        self.place.as_ref().or(self.holder.place.as_ref())
    }

    /// Says places, and the names of minified constructors, as they are in the sources.
    pub fn map_back(&mut self, maps: &SourceMaps) {
        if let Some(original) = self
            .kind_place
            .as_ref()
            .and_then(|place| maps.original(place))
        {
            // What a compiler made of a class keeps the name; its constructor is what stood there.
            if let Some(name) = original.name.filter(|name| name != "constructor") {
                let minified = format!(" {} ", self.kind);
                for line in &mut self.evidence {
                    *line = line.replace(&minified, &format!(" {name} "));
                }
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
        if let Some(place) = self.nearest_place() {
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
    let mut owners = spread::together(heap, &growth, growth.owners(heap, classes));
    owners.sort_unstable_by_key(|(node, owner)| (Reverse(owner.all.total_bytes()), *node));
    for (node, owner) in &owners {
        if owner.all.total_bytes() as f64 <= SMALLEST_SHARE * total as f64 {
            break;
        }
        let judged = Judged {
            heap,
            classes,
            growth: &growth,
            earlier: windows.earlier,
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
    earlier: &'a [Window],
    node: u32,
    owner: &'a Owner,
}

impl Judged<'_> {
    fn culprit(&self, total: u64) -> Option<Culprit> {
        let (class, gain, enters) = self.kind()?;
        let holders = self.holders(class, gain);
        let container = holders.first().copied().unwrap_or(self.node);
        let sample = self.owner.samples.get(&class).copied()?;
        // What is spread over the containers of a table is lost in the way in which each of them loses it.
        let member = self.owner.members.first().copied();
        let inner = member.filter(|_| container == self.node);
        let replaced = || holder::replaced(self.heap, self.growth, container);
        let within = inner.or_else(|| holders.is_empty().then(replaced).flatten());
        let pattern = pattern::of(
            self.heap,
            self.growth,
            within.unwrap_or(container),
            sample,
            enters,
        );
        let best = place::best(
            self.heap,
            &self.owner.places,
            pattern.is_about_functions(),
            |gain| self.is_steady(gain),
        );
        let holder = match inner {
            Some(member) if self.owner.is_tree => Holder::of_tree(self.heap, container, member),
            Some(member) => Holder::of_spread(self.heap, container, member),
            None if container == self.heap.snapshot.meta.root => Holder::of_root(self.heap, sample),
            None if holders.is_empty() => {
                Holder::of_inner(self.heap, self.growth, container, sample)
            }
            None => Holder::of(self.heap, Node(container)),
        };
        let place = best.map(|(position, _)| self.heap.snapshot.place_of(position));
        let rate = self.steady_bytes();
        let operations: u64 = self.growth.operations.iter().sum();
        let counts: Vec<u64> = gain.counts[..self.growth.operations.len()]
            .iter()
            .map(|count| u64::from(*count))
            .collect();
        let outermost = self.known_class(class, gain, pattern);
        let outermost = outermost.unwrap_or_else(|| self.outermost(class, sample));
        let kind = self.class_name(outermost);
        let kind_place = self.classes.row(outermost).place.clone();
        let mut evidence = vec![self.count_line(&kind, &counts)];
        if let Some(member) = inner {
            evidence.push(format!(
                "spread over {} objects of class {} in it",
                self.owner.members.len(),
                self.heap.snapshot.name(Node(member))
            ));
        }
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
            kinds_beside: self.beside(class, gain, container),
            also_held_by,
            origin: place
                .as_ref()
                .or(holder.place.as_ref())
                .map_or(Origin::Unknown, |place| origin(&place.script)),
            place,
            place_is_function: best.is_some_and(|(_, is_function)| is_function),
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

    /// The class that piles up, its gain, and whether it is entries that do. Entries speak first; where there are none
    /// (a chain), all new objects do.
    fn kind(&self) -> Option<(u32, Gain, bool)> {
        let entries = self.steady(&self.owner.entries);
        // Of a chain only the last link is an entry, and what else enters weighs next to nothing.
        let carried: u64 = entries.iter().map(|(_, gain)| gain.total_bytes()).sum();
        let carries = carried * ENTRIES_CARRY >= self.owner.all.total_bytes();
        let first = |gains, per_object| self.first_of(gains, per_object);
        let entry = first(entries, false).filter(|_| carries);
        entry.map(|(class, gain)| (class, gain, true)).or_else(|| {
            let (class, gain) = first(self.steady(&self.owner.classes), true)?;
            Some((class, gain, false))
        })
    }

    fn steady(&self, gains: &FxHashMap<u32, Gain>) -> Vec<(u32, Gain)> {
        gains
            .iter()
            .filter(|(_, gain)| self.is_steady(gain))
            .map(|(class, gain)| (*class, *gain))
            .collect()
    }

    /// The code of the user before libraries before the runtime, where it weighs enough to matter.
    fn first_of(&self, mut steady: Vec<(u32, Gain)>, per_object: bool) -> Option<(u32, Gain)> {
        let most = steady.iter().map(|(_, gain)| gain.total_bytes()).max()?;
        let is_text = |class: u32| {
            let name = &self.classes.row(class).name;
            name.starts_with('(') && (name.ends_with("string)") || name == "(number)")
        };
        let objects: Vec<Gain> = steady
            .iter()
            .filter(|(class, _)| !is_text(*class))
            .map(|(_, gain)| *gain)
            .collect();
        let is_key = |text: &Gain| {
            objects.iter().any(|object| {
                alike(object, text) && object.total_bytes() * TEXT_OUTWEIGHS >= text.total_bytes()
            })
        };
        steady.sort_unstable_by_key(|(class, gain)| {
            let row = self.classes.row(*class);
            let origin = row
                .place
                .as_ref()
                .map_or(Origin::Unknown, |place| origin(&place.script));
            let weighty = gain.total_bytes() * if per_object { 10 } else { 3 } >= most;
            // Of a chain the links are meant, not the texts they carry; of a Map its values, not their keys.
            let is_aside = is_text(*class) && (per_object || is_key(gain));
            // What a class is called says what a collection inside of it is for.
            let is_named = !["Array", "Object", "Map", "Set"].contains(&row.name.as_str());
            (
                is_aside,
                Reverse(weighty && origin == Origin::User),
                Reverse(weighty && per_object && is_named),
                Reverse(gain.total_bytes()),
                *class,
            )
        });
        steady.first().copied()
    }

    /// What a class is called; plain objects by all of their properties that are known.
    fn class_name(&self, class: u32) -> String {
        let name = &self.classes.row(class).name;
        let sample = self.owner.samples.get(&class);
        sample
            .and_then(|node| {
                let shapes = self.classes.shapes();
                shapes.with_numbers(&self.heap.snapshot, name, *node)
            })
            .unwrap_or_else(|| name.clone())
    }

    /// The class of the outermost object around one that piles up, if as many of it came: one that is made anew again and
    /// again, as a job is that goes back into its queue, has no age that would tell.
    fn outermost(&self, class: u32, sample: u32) -> u32 {
        let snapshot = &self.heap.snapshot;
        let mut top = sample;
        let mut current = sample;
        while self.growth.owner_of(current) != current {
            if snapshot.nodes.kind(current) == NodeKind::Object {
                top = current;
            }
            let above = self.heap.dominators.immediate[current as usize];
            if above == current {
                break;
            }
            current = above;
        }
        let outer = self.growth.class(self.classes, top);
        let row = self.classes.row(outer);
        let is_user = |place: &Place| origin(&place.script) == Origin::User;
        if outer == class || !row.place.as_ref().is_some_and(is_user) {
            return class;
        }
        let counts: Vec<u64> = self
            .earlier
            .iter()
            .map(|w| w.class(&row.name).count)
            .collect();
        let mut gain = Gain::default();
        for (count, pair) in gain.counts.iter_mut().zip(counts.windows(2)) {
            *count = u32::try_from(pair[1].saturating_sub(pair[0])).unwrap_or(u32::MAX);
        }
        let is_confirmed = self.growth.operations.len() > 1 && self.is_steady(&gain);
        if is_confirmed { outer } else { class }
    }

    /// What people know the pattern by, if the class is the runtime's and as many of that came: what enters may only be a handle
    /// or an entry of a table.
    fn known_class(&self, class: u32, gain: Gain, pattern: Pattern) -> Option<u32> {
        let row = self.classes.row(class);
        let is_user = |place: &Place| origin(&place.script) == Origin::User;
        if row.place.as_ref().is_some_and(is_user) {
            return None;
        }
        let names = pattern.known_classes();
        let rank = |class: u32| {
            let name = &self.classes.row(class).name;
            names.iter().position(|known| known == name)
        };
        let steady = self.steady(&self.owner.classes).into_iter();
        steady
            .filter(|(_, other)| alike(other, &gain))
            .filter_map(|(class, _)| Some((rank(class)?, class)))
            .min()
            .map(|(_, class)| class)
    }

    /// Classes that enter the same container as often.
    fn beside(&self, class: u32, gain: Gain, container: u32) -> Vec<String> {
        let mut found: Vec<(Reverse<u64>, u32)> = self
            .owner
            .holders
            .iter()
            .filter(|((at, of), held)| {
                *at == container && *of != class && self.is_steady(held) && alike(held, &gain)
            })
            .map(|((_, of), held)| (Reverse(held.total_bytes()), *of))
            .collect();
        found.sort_unstable();
        // Texts, numbers and the like are no classes of anybody's.
        found
            .into_iter()
            .map(|(_, of)| self.class_name(of))
            .filter(|name| !name.starts_with('('))
            .collect()
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

    fn owns(&self, node: u32) -> bool {
        let owner = self.growth.owner_of(node);
        owner == self.node || self.owner.members.binary_search(&owner).is_ok()
    }

    /// Ids of a few of the objects that pile up.
    fn samples(&self, class: u32) -> Vec<u32> {
        const MOST: usize = 3;
        let snapshot = &self.heap.snapshot;
        let all = (0..snapshot.node_count()).filter(|node| {
            self.growth.class(self.classes, *node) == class
                && self.growth.window(*node).is_some()
                && self.owns(*node)
        });
        // What enters by itself is meant before what hangs on it: a function before those that it made.
        let (entries, others): (Vec<u32>, Vec<u32>) =
            all.partition(|node| self.growth.is_entry(*node));
        entries
            .into_iter()
            .chain(others)
            .take(MOST)
            .map(|node| snapshot.nodes.ids[node as usize])
            .collect()
    }
}

/// Whether as many of one came as of the other.
fn alike(one: &Gain, other: &Gain) -> bool {
    let (one, other) = (one.total_count() as f64, other.total_count() as f64);
    one >= SAME_LEAK * other && other >= SAME_LEAK * one
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_map::SourceMap;

    /// What grows is of a class `Z` at the start of a script, whose map calls that place `name` in `zone.ts`.
    fn kind_after(name: &str) -> (String, Option<Place>) {
        let place = Place {
            script: "/srv/app/all.js".to_owned(),
            script_id: 3,
            line: 1,
            column: 1,
        };
        let mut culprit = Culprit {
            kind: "Z".to_owned(),
            kinds_beside: Vec::new(),
            kind_place: Some(place),
            holder: Holder {
                name: "zones".to_owned(),
                alternatives: Vec::new(),
                class: "Map".to_owned(),
                id: 1,
                place: None,
                class_place: None,
                path: Vec::new(),
            },
            also_held_by: Vec::new(),
            place: None,
            place_is_function: false,
            origin: Origin::User,
            pattern: Pattern::UnboundedMap,
            count_per_op: 1.0,
            bytes_per_op: 1.0,
            share: 1.0,
            counts: Vec::new(),
            samples: Vec::new(),
            evidence: vec!["new and still there: 9 Z after 9 operations".to_owned()],
        };
        let map = format!(
            r#"{{"version":3,"sources":["zone.ts"],"names":["{name}"],"mappings":"AAEAA"}}"#
        );
        let mut maps = SourceMaps::new();
        maps.insert(
            3,
            SourceMap::parse(map.as_bytes(), "/srv/app/all.js").unwrap(),
        );
        culprit.map_back(&maps);
        let told = format!("new and still there: 9 {} after 9 operations", culprit.kind);
        assert_eq!(culprit.evidence, [told]);
        (culprit.kind, culprit.kind_place)
    }

    #[test]
    fn a_class_is_called_by_its_name_and_not_by_its_constructor() {
        let (kind, place) = kind_after("TimeZone");
        assert_eq!(kind, "TimeZone");
        assert!(place.is_some_and(|place| place.script.ends_with("zone.ts") && place.line == 3));
        // Compiled to a function, a class is mapped to the word that began its constructor.
        assert_eq!(kind_after("constructor").0, "Z");
    }
}
