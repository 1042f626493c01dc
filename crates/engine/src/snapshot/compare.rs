//! Two snapshots of one process: what came, what went.

use std::path::Path;

use plimsoll_heap::{Base, Classes, Format};
use plimsoll_model::{Cell, Sheet};

use super::{analyse, failed, object};
use crate::error::Error;

/// What came and what went between two snapshots, by class.
///
/// # Errors
/// If a file is no snapshot, or they are of different processes.
pub fn diff(a: &Path, b: &Path, rows: usize) -> Result<Sheet, Error> {
    let first = analyse(a)?;
    let before = first.total();
    let base = Base::of(&first, &Classes::of(&first));
    drop(first);
    let second = analyse(b)?;
    let changes = base.compare(&second).map_err(failed(b))?;
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
    if second.snapshot().format() == Format::JavaScriptCore {
        sheet.notes.push(
            "JavaScriptCore numbers its objects anew in each snapshot: of each class only what is more or less is known"
                .to_owned(),
        );
    }
    let after = second.total();
    sheet.fact("before", Cell::Bytes(before));
    sheet.fact("after", Cell::Bytes(after));
    sheet.fact(
        "grown",
        Cell::Change(after.cast_signed() - before.cast_signed()),
    );
    sheet.rows = changes
        .iter()
        .map(|change| {
            vec![
                object::cut(&change.name).into(),
                Cell::Count(change.added.count),
                Cell::Count(change.removed.count),
                Cell::CountChange(change.count()),
                Cell::Change(change.bytes()),
                change.place.as_ref().and_then(object::place).into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    Ok(sheet)
}
