//! Explains growth by containers: what a runtime counted between the marks of an explanation (`holders`, `types`,
//! `allocated`) becomes kind × holder × place. Pure.
//!
//! Every such row is a gain since the first window. It counts only if it grew by the same amount per operation in both
//! windows and was not given back after idling: a cache that fills, or a pool that empties, is no culprit.

use plimsoll_model::{CensusRow, Culprit, Facts, Window, units};

/// Entries that a container gained, by its path and the type of what it holds.
pub(crate) const HOLDERS: &str = "holders";
/// Objects that live, by type.
pub(crate) const TYPES: &str = "types";
/// Bytes alive that were allocated since tracing began, by line.
pub(crate) const ALLOCATED: &str = "allocated";

/// Fewer than one in two hundred operations is not called growth.
const LEAST_RATE: f64 = 0.005;
/// Both windows must agree within this share of the rate.
const TOLERANCE: f64 = 0.25;
/// What is told; the rest hangs on the first.
const MOST: usize = 3;
/// A type belongs to a holder if it gains as many objects as the holder entries, within this share.
const SAME: f64 = 0.1;

/// Whether rows of this family are ours to explain.
pub(crate) fn is_ours(family: &str) -> bool {
    [HOLDERS, TYPES, ALLOCATED].contains(&family)
}

/// Who holds the growth, if the runtime counted containers.
pub(crate) fn culprits(facts: &Facts) -> Vec<Culprit> {
    let Some(gains) = Gains::of(facts) else {
        return Vec::new();
    };
    let holders = gains.that_grow(HOLDERS);
    let lines = gains.that_grow(ALLOCATED);
    let bytes: f64 = lines.iter().map(|line| line.rate).sum();
    let judged = facts.bytes_per_operation();
    let share = judged
        .filter(|rate| *rate > 0.0 && bytes > 0.0)
        .map(|rate| (bytes / rate).min(1.0));
    let place = lines.first().map(|line| line.kind.to_owned());
    let mut found: Vec<Culprit> = holders
        .iter()
        .take(MOST)
        .enumerate()
        .map(|(rank, holder)| {
            // `store.CARTS (dict) of store.Cart`; a path may hold the word itself: `lru_cache of f`.
            let end = holder
                .kind
                .find(") of ")
                .map_or(holder.kind.len(), |at| at + 1);
            let (path, held) = holder.kind.split_at(end);
            let held = held.strip_prefix(" of ");
            let kind = held.map_or_else(|| gains.type_like(holder.rate), |k| Some(k.to_owned()));
            let (pattern, advice) = pattern(path);
            let first = rank == 0;
            Culprit {
                kind: kind.unwrap_or_else(|| "entries".to_owned()),
                holder: Some(path.to_owned()),
                place: place.clone().filter(|_| first),
                count_per_op: Some(holder.rate),
                bytes_per_op: (first && bytes > 0.0).then_some(bytes),
                share: share.filter(|_| first),
                pattern: pattern.to_owned(),
                advice: advice.to_owned(),
                evidence: vec![holder.to_string()],
            }
        })
        .collect();
    if found.is_empty() && (!lines.is_empty() || judged.is_some()) {
        found.push(without_holder(&gains, &lines, bytes, share));
    }
    found
}

/// Growth that no container holds: objects that hang on each other, or memory that the runtime does not see.
fn without_holder(
    gains: &Gains<'_>,
    lines: &[Grown<'_>],
    bytes: f64,
    share: Option<f64>,
) -> Culprit {
    let types = gains.that_grow(TYPES);
    let kind = types.first().map(|t| (t.kind.to_owned(), Some(t.rate)));
    let native = kind.is_none() && lines.is_empty();
    let (kind, count_per_op) =
        kind.unwrap_or_else(|| ("native memory without an owner in Python".to_owned(), None));
    Culprit {
        kind,
        holder: None,
        place: lines.first().map(|line| line.kind.to_owned()),
        count_per_op,
        bytes_per_op: (bytes > 0.0).then_some(bytes),
        share,
        pattern: if native { "native block" } else { "global reference" }.to_owned(),
        advice: if native {
            "an extension module allocates per operation and never frees: look at what the operation calls outside Python"
        } else {
            "each operation leaves objects that stay reachable: see what the line above hands out, and who keeps it"
        }
        .to_owned(),
        evidence: types
            .iter()
            .take(MOST)
            .chain(lines.iter().take(MOST))
            .map(ToString::to_string)
            .collect(),
    }
}

/// The pattern's name and one line of advice, by how the holder is reached.
fn pattern(path: &str) -> (&'static str, &'static str) {
    let lower = path.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if lower.starts_with("logging.") || lower.contains(".handlers") {
        (
            "event listeners",
            "a log handler is added per operation: add it once, where the logger is made",
        )
    } else if says(&["listener", "callback", "observer", "subscriber"]) {
        (
            "event listeners",
            "a listener is added per operation and never removed: remove it when the operation ends",
        )
    } else if lower.starts_with("lru_cache") {
        (
            "unbounded map/cache",
            "the cache has no limit: give it a `maxsize`, and keep keys that never come again out of it",
        )
    } else if lower.starts_with("default argument") {
        (
            "global reference",
            "a mutable default argument is made once and shared by all calls: default to `None`",
        )
    } else if lower.starts_with("closure cell") {
        (
            "closure capture",
            "a function that lives on keeps what it closes over: give it what it needs, or let it go",
        )
    } else if says(&["(dict)", "(set)", "(ordereddict)", "(defaultdict)"]) {
        (
            "unbounded map/cache",
            "nothing deletes what each operation adds: bound it (LRU, time to live), or delete the entry with its owner",
        )
    } else if says(&["(deque)", ".queue"]) {
        (
            "queue build-up",
            "more is put in than taken out: bound the queue, or let its consumer keep up",
        )
    } else {
        (
            "global reference",
            "each operation adds to a list that lives as long as the process: clear it, or keep it with its request",
        )
    }
}

/// Gains of each kind at the windows, and operations between them.
struct Gains<'a> {
    windows: [&'a [CensusRow]; 3],
    operations: [f64; 2],
}

/// One kind that grows alike in both windows.
struct Grown<'a> {
    kind: &'a str,
    family: &'a str,
    /// Per operation.
    rate: f64,
    counts: [f64; 3],
}

impl<'a> Gains<'a> {
    /// None where no containers were counted, or a window is missing.
    fn of(facts: &'a Facts) -> Option<Self> {
        let rows = |window: Window| {
            let found = facts.censuses.iter().find(|(at, _)| *at == window)?;
            Some(found.1.rows.as_slice())
        };
        let operations = |window: Window| {
            let found = facts.operations.iter().find(|(at, _)| *at == window)?;
            Some(found.1 as f64)
        };
        let [baseline, plus_n, plus_2n, last] = Window::ALL;
        rows(baseline)?.iter().find(|row| row.family == HOLDERS)?;
        Some(Self {
            windows: [rows(plus_n)?, rows(plus_2n)?, rows(last)?],
            operations: [
                operations(plus_n)? - operations(baseline)?,
                operations(plus_2n)? - operations(plus_n)?,
            ],
        })
    }

    fn count(&self, window: usize, family: &str, kind: &str) -> f64 {
        let same = |row: &&CensusRow| row.family == family && row.kind == kind;
        self.windows[window]
            .iter()
            .find(same)
            .map_or(0.0, |row| row.count as f64)
    }

    /// Kinds of a family that grow alike in both windows and are not given back, the fastest first.
    fn that_grow(&self, family: &'a str) -> Vec<Grown<'a>> {
        let mut found: Vec<Grown<'a>> = self.windows[1]
            .iter()
            .filter(|row| row.family == family)
            .filter_map(|row| {
                let counts = [0, 1, 2].map(|window| self.count(window, family, &row.kind));
                let [first, second, last] = counts;
                let rate = second / (self.operations[0] + self.operations[1]).max(1.0);
                let alike = |gained: f64, operations: f64| {
                    operations > 0.0 && (gained / operations - rate).abs() <= TOLERANCE * rate
                };
                let grows = rate >= LEAST_RATE
                    && alike(first, self.operations[0])
                    && alike(second - first, self.operations[1])
                    && last >= 0.75 * second;
                grows.then_some(Grown {
                    kind: &row.kind,
                    family,
                    rate,
                    counts,
                })
            })
            .collect();
        found.sort_by(|a, b| b.rate.total_cmp(&a.rate).then_with(|| a.kind.cmp(b.kind)));
        found
    }

    /// A type of the program's own that gains about as many objects as a holder gains entries.
    fn type_like(&self, rate: f64) -> Option<String> {
        let alike: Vec<Grown<'_>> = self
            .that_grow(TYPES)
            .into_iter()
            .filter(|t| (t.rate - rate).abs() <= SAME * rate)
            .collect();
        let own = alike.iter().find(|t| t.kind.contains('.'));
        own.or(alike.first()).map(|t| t.kind.to_owned())
    }
}

impl std::fmt::Display for Grown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c] = self.counts.map(|count| {
            if self.family == ALLOCATED {
                units::bytes(count)
            } else {
                units::count(count)
            }
        });
        write!(
            f,
            "{}: +{a} after +N, +{b} after +2N, +{c} after idling",
            self.kind
        )
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_model::{Census, Method, Ns};

    use super::*;

    fn facts(rows: &[(&str, &str, [u64; 3])]) -> Facts {
        let row = |family: &str, kind: &str, count| CensusRow {
            family: family.to_owned(),
            kind: kind.to_owned(),
            count,
            bytes: None,
        };
        let census = |rows| Census {
            at: Ns(0),
            method: Method::Exact,
            rows,
            pause_ns: 0,
        };
        let at = |window: usize| {
            rows.iter()
                .map(|(family, kind, counts)| row(family, kind, counts[window]))
                .collect()
        };
        let [baseline, plus_n, plus_2n, last] = Window::ALL;
        Facts {
            verdicts: vec![],
            operations: vec![(baseline, 5000), (plus_n, 6000), (plus_2n, 7000)],
            rate: None,
            censuses: vec![
                (baseline, census(vec![row(HOLDERS, "none", 0)])),
                (plus_n, census(at(0))),
                (plus_2n, census(at(1))),
                (last, census(at(2))),
            ],
            part: vec![],
            answered: vec![],
            native: vec![],
        }
    }

    #[test]
    fn kind_holder_and_place_come_together() {
        let found = culprits(&facts(&[
            (
                HOLDERS,
                "shop.CARTS (dict) of shop.Cart",
                [1000, 2000, 2000],
            ),
            (TYPES, "shop.Cart", [1000, 2000, 2000]),
            (ALLOCATED, "shop.py:7", [400_000, 800_000, 800_000]),
        ]));
        assert_eq!(found.len(), 1);
        let culprit = &found[0];
        assert_eq!(culprit.kind, "shop.Cart");
        assert_eq!(culprit.holder.as_deref(), Some("shop.CARTS (dict)"));
        assert_eq!(culprit.place.as_deref(), Some("shop.py:7"));
        assert_eq!(culprit.count_per_op, Some(1.0));
        assert_eq!(culprit.bytes_per_op, Some(400.0));
        assert_eq!(culprit.pattern, "unbounded map/cache");
    }

    #[test]
    fn what_fills_or_empties_is_no_culprit() {
        for counts in [[1000, 1000, 1000], [1000, 2000, 100], [0, 2000, 2000]] {
            assert!(culprits(&facts(&[(HOLDERS, "a.B (dict)", counts)])).is_empty());
        }
    }

    #[test]
    fn a_type_stands_in_where_the_holder_does_not_know_what_it_holds() {
        let found = culprits(&facts(&[
            (HOLDERS, "lru_cache of a.f", [1000, 2000, 2000]),
            (TYPES, "list", [1000, 2000, 2000]),
            (TYPES, "a.Row", [1001, 2003, 2003]),
        ]));
        assert_eq!(found[0].kind, "a.Row");
    }

    #[test]
    fn without_a_holder_type_and_line_are_told() {
        let found = culprits(&facts(&[
            (TYPES, "a.Node", [1000, 2000, 2000]),
            (ALLOCATED, "a.py:3", [48_000, 96_000, 96_000]),
        ]));
        assert_eq!(found[0].kind, "a.Node");
        assert_eq!(found[0].holder, None);
        assert_eq!(found[0].place.as_deref(), Some("a.py:3"));
    }

    #[test]
    fn a_runtime_that_counted_no_containers_has_none() {
        assert!(culprits(&Facts::default()).is_empty());
    }
}
