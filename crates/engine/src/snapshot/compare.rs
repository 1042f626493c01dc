//! Two snapshots of one process: what came, what went.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_heap::{Classes, Heap, Node, NodeKind, Snapshot};
use plimsoll_model::{Cell, Sheet};

use super::{object, open};
use crate::error::Error;

/// Objects that are looked at to tell whether two snapshots number alike.
const LOOKS: usize = 4_000;
/// Of those with the same number, this share must have the same name.
const ALIKE: f64 = 0.7;

/// What some objects of a snapshot are called, by their number.
pub(super) struct Names(BTreeMap<u32, (NodeKind, String)>);

impl Names {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let lasting = |node: &Node| {
            matches!(snapshot.kind(*node), NodeKind::Object | NodeKind::Closure)
                && !snapshot.name(*node).is_empty()
        };
        let all: Vec<Node> = snapshot.nodes().filter(lasting).collect();
        let step = all.len().div_ceil(LOOKS).max(1);
        let named = all.into_iter().step_by(step).map(|node| {
            let name = snapshot.name(node).into_owned();
            (snapshot.id(node), (snapshot.kind(node), name))
        });
        Self(named.collect())
    }

    /// Whether the other numbers the same objects alike; not if it is of another process, or taken by another debugger.
    pub(super) fn agree(&self, other: &Snapshot) -> bool {
        let (mut same, mut different) = (0_u32, 0_u32);
        for node in other.nodes() {
            if let Some((kind, name)) = self.0.get(&other.id(node)) {
                if *kind == other.kind(node) && *name == other.name(node) {
                    same += 1;
                } else {
                    different += 1;
                }
            }
        }
        // Nothing in common is no agreement either.
        f64::from(same) >= ALIKE * f64::from(same + different) && same > 0
    }
}

pub(super) fn not_comparable(a: &Path, b: &Path) -> Error {
    Error::usage(
        format!(
            "{} and {} do not number their objects alike: they are of two processes, or a debugger left in between",
            a.display(),
            b.display()
        ),
        "take them in one go: `plimsoll snapshot take --pid PID --count 3`",
    )
}

/// What came and what went between two snapshots, by class.
///
/// # Errors
/// If a file is no snapshot, or they are of different processes.
pub fn diff(a: &Path, b: &Path, rows: usize) -> Result<Sheet, Error> {
    let first = open(a)?;
    let second = open(b)?;
    if !Names::of(&first).agree(&second) {
        return Err(not_comparable(a, b));
    }
    let first = Heap::of(first);
    let second = Heap::of(second);
    let before = Classes::of(&first);
    let after = Classes::with_shapes(&second, before.shapes().clone());
    let old = ids(first.snapshot());
    let new = ids(second.snapshot());
    let mut changes: BTreeMap<(String, Option<String>), Change> = BTreeMap::new();
    for (heap, classes, others, came) in [
        (&first, &before, &new, false),
        (&second, &after, &old, true),
    ] {
        for node in heap.snapshot().nodes() {
            let bytes = heap.shallow(node);
            if bytes == 0 {
                continue;
            }
            let class = classes.class(node);
            let place = class.place.as_ref().and_then(object::place);
            let change = changes.entry((class.name.clone(), place)).or_default();
            let is_other = others.binary_search(&heap.snapshot().id(node)).is_err();
            let (sign, moved) = if came {
                (1, &mut change.came)
            } else {
                (-1, &mut change.went)
            };
            *moved += u64::from(is_other);
            change.bytes += sign * bytes as i64;
            change.count += sign;
        }
    }
    let mut sheet = Sheet::new(
        "diff",
        &[
            ("class", "class"),
            ("new", "new"),
            ("gone", "gone"),
            ("count", "count"),
            ("bytes", "bytes"),
            ("place", "place"),
        ],
    );
    sheet.fact("before", Cell::Bytes(first.total()));
    sheet.fact("after", Cell::Bytes(second.total()));
    sheet.fact(
        "grown",
        Cell::Change(second.total() as i64 - first.total() as i64),
    );
    let mut changed: Vec<_> = changes
        .into_iter()
        .filter(|(_, c)| c.came + c.went > 0 || c.bytes != 0)
        .collect();
    changed.sort_by_key(|(_, c)| std::cmp::Reverse(c.bytes));
    sheet.rows = changed
        .into_iter()
        .map(|((name, place), c)| {
            vec![
                object::cut(&name).into(),
                Cell::Count(c.came),
                Cell::Count(c.went),
                Cell::CountChange(c.count),
                Cell::Change(c.bytes),
                place.into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    Ok(sheet)
}

#[derive(Default)]
struct Change {
    came: u64,
    went: u64,
    count: i64,
    bytes: i64,
}

fn ids(snapshot: &Snapshot) -> Vec<u32> {
    let mut ids: Vec<u32> = snapshot.nodes().map(|n| snapshot.id(n)).collect();
    ids.sort_unstable();
    ids
}
