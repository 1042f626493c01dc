//! Two snapshots of one process compared class by class, as `DevTools` does: by ids, under the base's shapes.

use rustc_hash::FxHashMap;

use crate::classes::Classes;
use crate::error::{Error, Result};
use crate::heap::Heap;
use crate::meta::Format;
use crate::shapes::Shapes;
use crate::snapshot::{Place, Snapshot};
use crate::window::{Sample, Tally};

/// What changed in one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Constructor, shape or V8's word.
    pub name: String,
    /// Where the constructor is written.
    pub place: Option<Place>,
    /// Objects only the later snapshot has.
    pub added: Tally,
    /// Objects only the earlier snapshot has.
    pub removed: Tally,
}

impl Change {
    /// Bytes gained, negative where more went than came.
    pub fn bytes(&self) -> i64 {
        self.added.bytes.cast_signed() - self.removed.bytes.cast_signed()
    }

    /// Objects gained.
    pub fn count(&self) -> i64 {
        self.added.count.cast_signed() - self.removed.count.cast_signed()
    }
}

/// What a later comparison needs of the earlier snapshot: 12 bytes an object, no references.
#[derive(Debug)]
pub struct Base {
    format: Format,
    sample: Sample,
    shapes: Shapes,
    classes: Vec<(String, Option<Place>)>,
    /// Class, id and shallow size of every object with bytes, sorted.
    objects: Vec<(u32, u32, u64)>,
}

impl Base {
    /// Keeps what is needed of an analysed snapshot.
    pub fn of(heap: &Heap, classes: &Classes) -> Self {
        let (classes, objects, shapes) = list(heap, classes);
        Self {
            format: heap.snapshot.format(),
            sample: Sample::of(&heap.snapshot),
            shapes,
            classes,
            objects,
        }
    }

    /// Compares with a later snapshot; classes that did not change are left out, the largest gain is first. Objects of
    /// `JavaScriptCore` cannot be told apart: of each class only what is more or less is known.
    ///
    /// # Errors
    ///
    /// The snapshots are not of one process, or not of one format.
    pub fn compare(&self, later: &Heap) -> Result<Vec<Change>> {
        if self.format != later.snapshot.format() {
            return Err(Error::Unrelated {
                what: "one is V8's and the other JavaScriptCore's".to_owned(),
            });
        }
        let by_number = self.format == Format::V8;
        if by_number {
            self.sample.check(&later.snapshot, "the earlier snapshot")?;
        }
        let classes = Classes::with_shapes(later, self.shapes.clone());
        let (names, objects, _) = list(later, &classes);
        // Both sides under one numbering, the base's.
        let mut numbers: FxHashMap<&(String, Option<Place>), u32> = FxHashMap::default();
        let mut all: Vec<&(String, Option<Place>)> = self.classes.iter().collect();
        for (number, class) in self.classes.iter().enumerate() {
            numbers.entry(class).or_insert(number as u32);
        }
        let translated: Vec<u32> = names
            .iter()
            .map(|class| {
                *numbers.entry(class).or_insert_with(|| {
                    all.push(class);
                    all.len() as u32 - 1
                })
            })
            .collect();
        let mut after: Vec<(u32, u32, u64)> = objects
            .iter()
            .map(|(class, id, size)| (translated[*class as usize], *id, *size))
            .collect();
        after.sort_unstable();
        let mut changes = vec![(Tally::default(), Tally::default()); all.len()];
        let (mut before, mut later) = (self.objects.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (before.peek(), later.peek()) {
                (None, None) => break,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) if by_number => (a.0, a.1).cmp(&(b.0, b.1)),
                (Some(_), _) => std::cmp::Ordering::Less,
            };
            if order.is_le()
                && let Some((class, _, size)) = before.next()
                && order.is_lt()
            {
                changes[*class as usize].1.add(*size);
            }
            if order.is_ge()
                && let Some((class, _, size)) = later.next()
                && order.is_gt()
            {
                changes[*class as usize].0.add(*size);
            }
        }
        if !by_number {
            changes.iter_mut().for_each(balance);
        }
        let mut changes: Vec<Change> = all
            .into_iter()
            .zip(changes)
            .filter(|(_, (added, removed))| {
                *added != Tally::default() || *removed != Tally::default()
            })
            .map(|((name, place), (added, removed))| Change {
                name: name.clone(),
                place: place.clone(),
                added,
                removed,
            })
            .collect();
        changes.sort_by(|a, b| (b.bytes(), &a.name, &a.place).cmp(&(a.bytes(), &b.name, &b.place)));
        Ok(changes)
    }
}

/// Leaves of what came and what went only what is more.
fn balance((added, removed): &mut (Tally, Tally)) {
    let both = Tally {
        count: added.count.min(removed.count),
        bytes: added.bytes.min(removed.bytes),
    };
    for side in [added, removed] {
        side.count -= both.count;
        side.bytes -= both.bytes;
    }
}

/// Class names, objects sorted by class and id, and shapes.
type Listed = (Vec<(String, Option<Place>)>, Vec<(u32, u32, u64)>, Shapes);

fn list(heap: &Heap, classes: &Classes) -> Listed {
    let snapshot: &Snapshot = &heap.snapshot;
    let mut objects: Vec<(u32, u32, u64)> = snapshot
        .nodes()
        .map(|node| (classes.index(node.0), snapshot.id(node), heap.shallow(node)))
        .filter(|(_, _, size)| *size > 0)
        .collect();
    objects.sort_unstable();
    let names = classes
        .all()
        .iter()
        .map(|row| (row.name.clone(), row.place.clone()))
        .collect();
    (names, objects, classes.shapes().clone())
}
