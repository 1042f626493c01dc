//! Generations: of each class, how many objects of the last snapshot came in which window.

use crate::classes::Classes;
use crate::error::Result;
use crate::growth::Windows;
use crate::heap::Heap;
use crate::snapshot::Place;
use crate::window::Tally;

/// The living objects of one class by when they first appeared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survivors {
    /// Constructor, shape or V8's word.
    pub name: String,
    /// Where the constructor is written.
    pub place: Option<Place>,
    /// Objects that the baseline knew.
    pub old: Tally,
    /// Objects that came after each of the earlier snapshots and are still there.
    pub since: Vec<Tally>,
}

impl Survivors {
    /// Objects that are new since the baseline.
    pub fn new_objects(&self) -> Tally {
        Tally {
            count: self.since.iter().map(|tally| tally.count).sum(),
            bytes: self.since.iter().map(|tally| tally.bytes).sum(),
        }
    }

    /// New objects per operation of each window that had any.
    pub fn counts_per_op(&self, windows: &Windows<'_>) -> Vec<f64> {
        self.since
            .iter()
            .zip(windows.operations)
            .filter(|(_, operations)| **operations > 0)
            .map(|(tally, operations)| tally.count as f64 / *operations as f64)
            .collect()
    }
}

/// Classes with new objects, most new bytes first. Sizes are shallow sizes of [`Heap::shallow`].
///
/// # Errors
///
/// The windows and operations do not match, or the snapshots are not of one process.
pub fn survivors(heap: &Heap, classes: &Classes, windows: &Windows<'_>) -> Result<Vec<Survivors>> {
    windows.check(heap.snapshot())?;
    let mut rows: Vec<Survivors> = classes
        .all()
        .iter()
        .map(|row| Survivors {
            name: row.name.clone(),
            place: row.place.clone(),
            old: Tally::default(),
            since: vec![Tally::default(); windows.earlier.len()],
        })
        .collect();
    for node in heap.snapshot().nodes() {
        let size = heap.shallow(node);
        if size == 0 {
            continue;
        }
        let row = &mut rows[classes.index(node.0) as usize];
        match windows.first_seen(heap.snapshot().id(node)) {
            0 => row.old.add(size),
            window => row.since[window - 1].add(size),
        }
    }
    rows.retain(|row| row.new_objects().count > 0);
    rows.sort_by(|a, b| {
        (b.new_objects().bytes, &a.name, &a.place).cmp(&(a.new_objects().bytes, &b.name, &b.place))
    });
    Ok(rows)
}
