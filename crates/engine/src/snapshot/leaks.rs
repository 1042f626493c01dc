//! Several snapshots of one process: what grew between them and is still there, and who holds it.

use std::path::{Path, PathBuf};

use plimsoll_heap::{Classes, Heap, Snapshot, Window};
use plimsoll_model::{Cell, Sheet};

use super::{analyse, failed, object, open, open_file};
use crate::error::Error;
use crate::holders;

fn window(path: &Path) -> Result<Window, Error> {
    Window::open(&open_file(path)?).map_err(failed(path))
}

/// Who holds what is new: snapshots before, after N operations, after 2N, and after cleaning up; or, with three, before,
/// after, and after cleaning up. `operations` are those of each window.
///
/// # Errors
/// If a file is no snapshot, or they are of different processes.
pub fn leaks(files: &[PathBuf], operations: u64, rows: usize) -> Result<Sheet, Error> {
    let (last, early) = match files {
        [early @ .., last] if (2..=3).contains(&early.len()) => (last, early),
        _ => {
            return Err(Error::usage(
                format!("{} snapshots are not three or four", files.len()),
                "name them in order: before, after N operations, after 2N operations, after cleaning up",
            ));
        }
    };
    let early: Vec<Window> = early
        .iter()
        .map(|path| window(path))
        .collect::<Result<_, _>>()?;
    let snapshot = open(last)?;
    let mut sheet = Sheet::new(
        "leaks",
        &[
            ("kind", "kind"),
            ("holder", "held by"),
            ("count", "per operation"),
            ("bytes", "bytes"),
            ("place", "place"),
            ("pattern", "pattern"),
        ],
    );
    // Between the last two the process only rested.
    let mut counts = vec![operations; early.len() - 1];
    counts.push(0);
    let culprits = holders::named(snapshot, &early, &counts, None, &holders::Maps::default())
        .map_err(failed(last))?;
    if culprits.is_empty() {
        sheet.notes.push(
            "nothing grew alike in both windows and stayed: no holder is to blame".to_owned(),
        );
    }
    if early.len() == 2 {
        sheet.notes.push(
            "three snapshots cannot tell a cache that fills from one that leaks: a fourth, after as many operations again, can"
                .to_owned(),
        );
    }
    sheet.rows = culprits
        .into_iter()
        .map(|c| {
            vec![
                c.kind.into(),
                c.holder.into(),
                c.count_per_op.map_or(Cell::Nothing, Cell::Number),
                c.bytes_per_op
                    .map_or(Cell::Nothing, |b| Cell::Change(b as i64)),
                c.place.into(),
                c.pattern.into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    Ok(sheet)
}

/// The table of three snapshots for one class: how many live in each, and whether the last is cleaned up.
///
/// # Errors
/// If a file is no snapshot.
pub fn leaks_of_class(files: &[PathBuf], class: &str) -> Result<Sheet, Error> {
    let mut sheet = Sheet::new(
        "leaks",
        &[
            ("snapshot", "snapshot"),
            ("total", "total"),
            ("count", "objects"),
            ("shallow", "shallow"),
            ("retained", "retained"),
            ("distance", "distance"),
            ("detached", "detached DOM"),
        ],
    );
    let mut counts = Vec::new();
    for path in files {
        let heap = analyse(path)?;
        let classes = Classes::of(&heap);
        let rows: Vec<_> = classes.rows().filter(|row| row.name == class).collect();
        let count: u64 = rows.iter().map(|row| row.count).sum();
        let nearest = rows.iter().map(|row| row.distance).min();
        counts.push(count);
        let name = path.file_name().unwrap_or(path.as_os_str());
        sheet.rows.push(vec![
            name.to_string_lossy().into_owned().into(),
            Cell::Bytes(heap.total()),
            Cell::Count(count),
            Cell::Bytes(rows.iter().map(|row| row.shallow).sum()),
            Cell::Bytes(rows.iter().map(|row| row.retained).sum()),
            nearest.map_or(Cell::Nothing, |d| Cell::Count(u64::from(d.unsigned_abs()))),
            Cell::Bytes(detached_bytes(&heap)),
        ]);
    }
    let first = counts.first().copied().unwrap_or(0);
    let peak = counts
        .iter()
        .copied()
        .max()
        .unwrap_or(0)
        .saturating_sub(first);
    let left = counts.last().copied().unwrap_or(0).saturating_sub(first);
    sheet.fact("class", object::cut(class));
    sheet.fact(
        "outcome",
        match (peak, left) {
            (0, _) => "none was made between the first snapshot and the others".to_owned(),
            (_, 0) => format!("cleaned up: all {peak} are gone"),
            _ => format!("leak: {left} of {peak} {} remain", object::cut(class)),
        },
    );
    Ok(sheet)
}

/// Own bytes of nodes that are in no document.
pub(crate) fn detached_bytes(heap: &Heap) -> u64 {
    let snapshot = heap.snapshot();
    if !has_documents(snapshot) {
        return 0;
    }
    snapshot
        .nodes()
        .filter(|node| snapshot.is_detached(*node))
        .map(|node| heap.shallow(node))
        .sum()
}

/// Whether it is a page's: a runtime without documents uses the same mark for things of its own.
pub(super) fn has_documents(snapshot: &Snapshot) -> bool {
    let root = snapshot.root();
    snapshot
        .edges(root)
        .any(|edge| snapshot.name(snapshot.edge_to(edge)) == "(Document DOM trees)")
}
