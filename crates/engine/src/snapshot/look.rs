//! Questions to one snapshot.

use std::path::Path;

use plimsoll_heap::{Class, Classes, Heap, Node, SYSTEM_DISTANCE, Statistics};
use plimsoll_model::{Cell, Sheet};

use super::leaks::detached_bytes;
use super::object::{self, Target, words};
use super::{analyse, open};
use crate::error::Error;

/// Objects of a class that are listed.
const OBJECTS: usize = 20;
/// References to one object that are followed.
const STEPS: usize = 40;

/// The classes: how many, how large, what goes with them.
///
/// # Errors
/// If the file is no snapshot.
pub fn summary(path: &Path, rows: usize, quick: bool) -> Result<Sheet, Error> {
    let mut sheet = Sheet::new(
        "summary",
        &[
            ("class", "class"),
            ("count", "count"),
            ("shallow", "shallow"),
            ("retained", "retained"),
            ("share", "share"),
            ("distance", "distance"),
            ("place", "place"),
        ],
    );
    let (classes, total) = if quick {
        let snapshot = open(path)?;
        sheet.notes.extend(object::gaps(&snapshot));
        sheet.fact("objects", Cell::Count(u64::from(snapshot.node_count())));
        sheet.fact("references", Cell::Count(u64::from(snapshot.edge_count())));
        (Classes::summary(&snapshot), None)
    } else {
        let heap = analyse(path)?;
        let snapshot = heap.snapshot();
        sheet.notes.extend(object::gaps(snapshot));
        sheet.fact("objects", Cell::Count(u64::from(snapshot.node_count())));
        sheet.fact("references", Cell::Count(u64::from(snapshot.edge_count())));
        let sums = Statistics::of(&heap);
        sheet.fact("total", Cell::Bytes(sums.total));
        sheet.fact("outside the heap", Cell::Bytes(sums.native));
        sheet.fact("strings", Cell::Bytes(sums.strings));
        sheet.fact("code", Cell::Bytes(sums.code));
        let detached = detached_bytes(&heap);
        if detached > 0 {
            sheet.fact("detached DOM", Cell::Bytes(detached));
        }
        (Classes::of(&heap), Some(heap.total()))
    };
    let mut found: Vec<&Class> = classes.rows().collect();
    found.sort_by(|a, b| {
        (b.retained, b.shallow)
            .cmp(&(a.retained, a.shallow))
            .then_with(|| a.name.cmp(&b.name))
    });
    sheet.rows = found.iter().map(|row| class_row(row, total)).collect();
    sheet.truncate(rows);
    Ok(sheet)
}

fn class_row(row: &Class, total: Option<u64>) -> Vec<Cell> {
    let full = total.is_some();
    vec![
        object::cut(&row.name).into(),
        Cell::Count(row.count),
        Cell::Bytes(row.shallow),
        if full {
            Cell::Bytes(row.retained)
        } else {
            Cell::Nothing
        },
        match total {
            Some(total) if total > 0 => Cell::Ratio(row.retained as f64 / total as f64),
            _ => Cell::Nothing,
        },
        if full {
            distance(row.distance)
        } else {
            Cell::Nothing
        },
        row.place.as_ref().and_then(object::place).into(),
    ]
}

fn distance(steps: i32) -> Cell {
    if (0..SYSTEM_DISTANCE).contains(&steps) {
        Cell::Count(u64::from(steps.unsigned_abs()))
    } else {
        Cell::Nothing
    }
}

/// The objects meant, the largest first.
///
/// # Errors
/// If the file is no snapshot, or nothing in it is meant.
pub fn query(path: &Path, target: &Target, rows: usize) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let found = target.find(&heap)?;
    let mut sheet = Sheet::new("query", &OBJECT_COLUMNS);
    sheet.fact("found", Cell::Count(found.len() as u64));
    sheet.more = found.len().saturating_sub(rows) as u64;
    sheet.rows = found
        .iter()
        .take(rows)
        .map(|node| object_row(&heap, *node))
        .collect();
    Ok(sheet)
}

pub(super) const OBJECT_COLUMNS: [(&str, &str); 6] = [
    ("object", "object"),
    ("shallow", "shallow"),
    ("retained", "retained"),
    ("distance", "distance"),
    ("place", "place"),
    ("held_by", "held by"),
];

/// The last step of a shortest path to it: `Map @5{table}`.
pub(super) fn held_by(heap: &Heap, node: Node) -> Option<String> {
    let edge = heap.retainer_path(node).last()?.edge?;
    let holder = heap.snapshot().edge_from(edge);
    Some(format!("{}{}", words(heap, holder), heap.edge_label(edge)))
}

pub(super) fn object_row(heap: &Heap, node: Node) -> Vec<Cell> {
    let snapshot = heap.snapshot();
    vec![
        words(heap, node).into(),
        Cell::Bytes(heap.shallow(node)),
        Cell::Bytes(heap.retained(node)),
        distance(heap.distance(node)),
        snapshot.place(node).as_ref().and_then(object::place).into(),
        held_by(heap, node).into(),
    ]
}

/// How the objects meant are reached: a shortest path from a root to the largest one, and all references to it.
///
/// # Errors
/// As [`query`].
pub fn retainers(path: &Path, target: &Target, rows: usize) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let found = target.find(&heap)?;
    let Some(node) = found.first().copied() else {
        return Err(Error::Internal("a target without objects".to_owned()));
    };
    let mut sheet = retainers_of(&heap, node);
    sheet.truncate(rows);
    if found.len() > 1 {
        let count = found.len();
        sheet.notes.push(format!(
            "{count} objects are meant; this is the largest. Others: `plimsoll snapshot query`"
        ));
    }
    Ok(sheet)
}

pub(super) fn retainers_of(heap: &Heap, node: Node) -> Sheet {
    let snapshot = heap.snapshot();
    let mut sheet = Sheet::new(
        "retainers",
        &[
            ("holder", "holder"),
            ("by", "by"),
            ("distance", "distance"),
            ("retained", "retained"),
            ("place", "place"),
        ],
    );
    sheet.fact("object", words(heap, node));
    sheet.fact("retained", Cell::Bytes(heap.retained(node)));
    sheet.fact("path", path_of(heap, node).join(" → "));
    let mut edges = heap.retainers(&[node]).pop().unwrap_or_default();
    edges.sort_by_key(|edge| {
        let holder = snapshot.edge_from(*edge);
        (heap.distance(holder), snapshot.id(holder))
    });
    sheet.rows = edges
        .iter()
        .map(|edge| {
            let holder = snapshot.edge_from(*edge);
            vec![
                words(heap, holder).into(),
                heap.edge_label(*edge).into(),
                distance(heap.distance(holder)),
                Cell::Bytes(heap.retained(holder)),
                snapshot
                    .place(holder)
                    .as_ref()
                    .and_then(object::place)
                    .into(),
            ]
        })
        .collect();
    sheet
}

/// A shortest path from a root, a step a text.
pub(super) fn path_of(heap: &Heap, node: Node) -> Vec<String> {
    let steps = heap.retainer_path(node);
    let skipped = steps.len().saturating_sub(STEPS);
    steps
        .iter()
        .skip(skipped)
        .map(|step| match step.edge {
            Some(edge) => format!("{} {}", heap.edge_label(edge), words(heap, step.node)),
            None => words(heap, step.node),
        })
        .collect()
}

/// The chain of objects that must go before the largest of the objects meant can go; without a target, the largest
/// objects of all.
///
/// # Errors
/// As [`query`].
pub fn dominators(path: &Path, target: Option<&Target>, rows: usize) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let chain: Vec<Node> = match target {
        Some(target) => {
            let found = target.find(&heap)?;
            let node = found.first().copied();
            node.into_iter()
                .chain(node.into_iter().flat_map(|n| heap.dominator_chain(n)))
                .collect()
        }
        None => largest(&heap, rows.max(OBJECTS)),
    };
    let mut sheet = dominators_of(&heap, &chain);
    sheet.truncate(rows);
    Ok(sheet)
}

pub(super) fn dominators_of(heap: &Heap, chain: &[Node]) -> Sheet {
    let mut sheet = Sheet::new("dominators", &OBJECT_COLUMNS);
    sheet.fact("total", Cell::Bytes(heap.total()));
    sheet.rows = chain.iter().map(|n| object_row(heap, *n)).collect();
    sheet
}

/// The largest objects that are no part of a larger one that is mostly it: a program's own, not the roots.
fn largest(heap: &Heap, count: usize) -> Vec<Node> {
    let snapshot = heap.snapshot();
    let mut found: Vec<Node> = snapshot
        .nodes()
        .filter(|n| heap.is_visible(*n) && *n != snapshot.root())
        .collect();
    found.sort_by_key(|n| std::cmp::Reverse(heap.retained(*n)));
    found.truncate(count);
    found
}
