//! What a batch codes, in order, and what both sides remember from batch to batch.
//!
//! The same code writes and reads, see [`Coder`]: what it is given is what is written, what it gives back is what was read.

use crate::coder::{Chance, Coder};
use crate::surprise::{Neighbour, Number, Past};
use crate::times::Expectation;

/// The kind of an item that is a record and no row.
pub(crate) const RECORD: u32 = 0;

/// All that was ever announced, and its past.
#[derive(Debug)]
pub(crate) struct Stream {
    kinds: Vec<Kind>,
    /// Of each series; made when it is first needed, so that what is only announced costs little.
    pasts: Vec<Option<Box<Past>>>,
    latest: u32,
    previous_at: u64,
    left: Neighbour,
    far: Number,
}

/// What rows look like, and what is known of them.
#[derive(Debug)]
struct Kind {
    columns: Box<[u32]>,
    expectation: Expectation,
    habits: Option<Box<Habits>>,
}

/// When rows of a kind come, and what comes after them.
#[derive(Debug)]
struct Habits {
    late: Number,
    /// What came after it of late, the latest first, and whether it is that again.
    next: [u32; 2],
    is_next: [Chance; 2],
}

impl Stream {
    pub(crate) fn new() -> Self {
        let mut stream = Self {
            kinds: Vec::new(),
            pasts: Vec::new(),
            latest: RECORD,
            previous_at: 0,
            left: Neighbour::default(),
            far: Number::NEW,
        };
        stream.kind(&[]);
        stream
    }

    /// How many series there are.
    pub(crate) fn series_count(&self) -> usize {
        self.pasts.len()
    }

    /// How many kinds of items there are, that of records included.
    pub(crate) fn kind_count(&self) -> usize {
        self.kinds.len()
    }

    /// So many more series.
    pub(crate) fn add_series(&mut self, count: usize) {
        self.pasts.resize_with(self.pasts.len() + count, || None);
    }

    /// A new kind of rows of these series; its number.
    pub(crate) fn kind(&mut self, columns: &[u32]) -> u32 {
        let number = self.kinds.len() as u32;
        self.kinds.push(Kind {
            columns: columns.into(),
            expectation: Expectation::default(),
            habits: None,
        });
        number
    }

    /// The series of a kind, in order; none if there is no such kind.
    pub(crate) fn columns(&self, kind: u32) -> &[u32] {
        self.kinds
            .get(kind as usize)
            .map_or(&[], |kind| &kind.columns)
    }

    /// The kind of the next item.
    pub(crate) fn item(&mut self, coder: &mut impl Coder, kind: u32) -> u32 {
        let Some(latest) = self.kinds.get_mut(self.latest as usize) else {
            return kind;
        };
        let habits = latest.habits();
        let [first, second] = habits.next;
        let kind = if coder.bit(&mut habits.is_next[0], kind == first) {
            first
        } else {
            let kind = if coder.bit(&mut habits.is_next[1], kind == second) {
                second
            } else {
                let far = self.far.unsigned(coder, u64::from(kind));
                u32::try_from(far).unwrap_or(u32::MAX)
            };
            habits.next = [kind, first];
            kind
        };
        self.latest = kind;
        kind
    }

    /// The time of a row of this kind.
    pub(crate) fn time(&mut self, coder: &mut impl Coder, kind: u32, at: u64) -> u64 {
        let Some(kind) = self.kinds.get_mut(kind as usize) else {
            return at;
        };
        let expected = kind.expectation.next(self.previous_at);
        let surprise = at.wrapping_sub(expected).cast_signed();
        let surprise = kind.habits().late.signed(coder, surprise);
        let at = expected.wrapping_add_signed(surprise);
        kind.expectation.learn(at, self.previous_at);
        self.previous_at = at;
        at
    }

    /// The values of a row of this kind; each is given to `out`, that counts them.
    pub(crate) fn values(
        &mut self,
        coder: &mut impl Coder,
        kind: u32,
        mut given: impl Iterator<Item = f64>,
        mut out: impl FnMut(f64),
    ) {
        let Some(kind) = self.kinds.get(kind as usize) else {
            return;
        };
        for &series in &*kind.columns {
            if let Some(past) = self.pasts.get_mut(series as usize) {
                let past = past.get_or_insert_with(|| Box::new(Past::NEW));
                out(past.value(coder, given.next().unwrap_or(0.0), &mut self.left));
            }
        }
    }
}

impl Kind {
    fn habits(&mut self) -> &mut Habits {
        self.habits.get_or_insert_with(|| {
            Box::new(Habits {
                late: Number::NEW,
                next: [RECORD; 2],
                is_next: [Chance::NEW; 2],
            })
        })
    }
}
