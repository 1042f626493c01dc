//! Growth without new objects: one buffer or memory that is replaced by a larger one again and again.
//!
//! Told by the class tallies of the windows: bytes that grow alike in both while the number of objects stays.

use plimsoll_heap::culprit::{Holder, Origin, origin};
use plimsoll_heap::{Heap, Node, Tally, Window};
use plimsoll_model::{Culprit, units};

use super::{source, told};
use crate::patterns;
use crate::snapshot::object;

/// Bytes per operation below which nothing is told.
const LEAST: f64 = 16.0;
/// Growth of the windows may differ by this share: it comes in steps of whole pages.
const AGREEMENT: f64 = 0.3;
/// Objects of the class may come and go by this share of them and still count as the same number.
const SAME_COUNT: f64 = 0.02;

/// The holder of what grew in place, if something did.
pub(super) fn in_place(
    heap: &Heap,
    earlier: &[Window],
    operations: &[u64],
    rate: Option<f64>,
) -> Option<Culprit> {
    let [baseline, first, more @ ..] = earlier else {
        return None;
    };
    let snapshot = heap.snapshot();
    // A third snapshot may have been spared the subject; the last one is told what is asked of it.
    let second = |name: &str| {
        if let Some(window) = more.first() {
            return window.class(name);
        }
        let mut tally = Tally::default();
        for node in snapshot.nodes().filter(|n| snapshot.name(*n) == name) {
            tally.count += 1;
            tally.bytes += snapshot.self_size(node);
        }
        tally
    };
    let steps = [operations.first()?, operations.get(1)?].map(|n| *n as f64);
    let (class, per_op) = baseline
        .classes()
        .iter()
        .filter_map(|(name, _)| {
            let [a, b] = [baseline, first].map(|w| w.class(name));
            let same = |x: u64, y: u64| x.abs_diff(y) as f64 <= SAME_COUNT * x as f64 + 2.0;
            if !same(a.count, b.count) || b.bytes <= a.bytes {
                return None;
            }
            let c = second(name);
            let grown = [
                (b.bytes as f64 - a.bytes as f64) / steps[0].max(1.0),
                (c.bytes as f64 - b.bytes as f64) / steps[1].max(1.0),
            ];
            let alike = (grown[0] - grown[1]).abs() <= AGREEMENT * grown[0].max(grown[1]);
            let is_meant = same(b.count, c.count) && alike;
            (is_meant && grown[0] >= LEAST && grown[1] >= LEAST)
                .then(|| (name.as_str(), f64::midpoint(grown[0], grown[1])))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let largest = snapshot
        .nodes()
        .filter(|n| snapshot.name(*n) == class)
        .max_by_key(|n| snapshot.self_size(*n))?;
    // The growth must be this one's: as large as what came.
    let came = per_op * (steps[0] + steps[1]);
    if (snapshot.self_size(largest) as f64) < 0.9 * came {
        return None;
    }
    Some(culprit(heap, class, largest, per_op, rate))
}

fn culprit(heap: &Heap, class: &str, largest: Node, per_op: f64, rate: Option<f64>) -> Culprit {
    let snapshot = heap.snapshot();
    // The path to what grows says more than its nearest owner, which is a wrapper.
    let path = heap.retainer_path(largest);
    let visible =
        |n: &Node| heap.is_visible(*n) && snapshot.kind(*n) != plimsoll_heap::NodeKind::Native;
    let wrapper = path.iter().rev().map(|s| s.node).find(visible);
    let memory = path
        .iter()
        .rev()
        .map(|s| s.node)
        .find(|n| ["Memory", "WebAssembly.Memory"].contains(&&*snapshot.name(*n)));
    let node = memory.or(wrapper).unwrap_or(largest);
    let holder = Holder::of(heap, node);
    let pattern = patterns::pattern(if memory.is_some() {
        "WebAssembly memory"
    } else {
        "native block"
    });
    let script = holder.place.as_ref().map(|p| p.script.as_str());
    let last = holder.name.rsplit(['.', '[']).next().unwrap_or("");
    let declared = script
        .filter(|s| origin(s) == Origin::User)
        .and_then(|s| source::declaration(s, last));
    Culprit {
        kind: match (memory, wrapper) {
            (Some(_), _) => "WebAssembly.Memory".to_owned(),
            (None, Some(node)) => object::cut(&snapshot.name(node)),
            (None, None) => class.to_owned(),
        },
        holder: Some(told(&holder)),
        place: declared.or_else(|| holder.place.as_ref().and_then(object::place)),
        count_per_op: None,
        bytes_per_op: Some(per_op),
        share: rate.filter(|r| *r > 0.0).map(|r| (per_op / r).min(1.0)),
        pattern: pattern.map_or("native block", |p| p.name).to_owned(),
        advice: pattern.map_or("", |p| p.advice).to_owned(),
        evidence: vec![format!(
            "one that grows in place: {} now, no more of them than before",
            units::bytes(snapshot.self_size(largest) as f64)
        )],
    }
}
