//! What else grew while memory did: tracked types, and gauges.

use crate::gauge::gauges;
use crate::track::{Kind, kinds};

/// A count of the program's own that grew with every operation of a leak.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Grown {
    /// `Session`, or `sessions entries`.
    pub name: String,
    /// `file:line` where the type is declared as tracked; none of a gauge.
    pub place: Option<String>,
    /// By how much per operation.
    pub per_op: f64,
}

/// All counts at one moment.
#[derive(Debug)]
pub(crate) struct Counts {
    kinds: Vec<(&'static Kind, i64)>,
    gauges: Vec<(String, i64)>,
}

/// Less than so many per operation is no growth of theirs.
const LEAST_PER_OP: f64 = 0.002;

impl Counts {
    pub(crate) fn read() -> Self {
        let mut counts = Self {
            kinds: kinds()
                .into_iter()
                .map(|kind| (kind, kind.live()))
                .collect(),
            gauges: Vec::new(),
        };
        for (name, gauges) in gauges() {
            for (of, value) in gauges.kept() {
                if let Some(value) = value {
                    counts
                        .gauges
                        .push((format!("{name} {of}"), value.cast_signed()));
                }
            }
        }
        counts
    }

    /// What grew in each of two windows of `operations` operations: counts before, between and after them.
    pub(crate) fn grown(windows: &[Self; 3], operations: u64) -> Vec<Grown> {
        let [before, between, after] = windows;
        let mut grown = Vec::new();
        let mut grew = |name: &str, place: Option<String>, counts: [Option<i64>; 3]| {
            // What there was none of yet, is not known yet.
            let [before, between, after] = counts.map(Option::unwrap_or_default);
            let (first, second) = ((between - before) as f64, (after - between) as f64);
            let per_op = (first + second) / (2 * operations.max(1)) as f64;
            if first.min(second) >= 0.5 * first.max(second) && per_op >= LEAST_PER_OP {
                grown.push(Grown {
                    name: name.to_owned(),
                    place,
                    per_op,
                });
            }
        };
        for (kind, last) in &after.kinds {
            let of = |counts: &Self| {
                let mut kinds = counts.kinds.iter();
                kinds
                    .find(|(other, _)| std::ptr::eq(*other, *kind))
                    .map(|(_, live)| *live)
            };
            grew(
                kind.name(),
                Some(kind.place()),
                [of(before), of(between), Some(*last)],
            );
        }
        for (name, last) in &after.gauges {
            let of = |counts: &Self| {
                let mut gauges = counts.gauges.iter();
                gauges
                    .find(|(other, _)| other == name)
                    .map(|(_, value)| *value)
            };
            grew(name, None, [of(before), of(between), Some(*last)]);
        }
        grown.sort_by(|a, b| b.per_op.total_cmp(&a.per_op));
        grown
    }
}
