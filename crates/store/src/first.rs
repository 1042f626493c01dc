//! Batches as version 1 wrote them: columns of differences under zstd. Only read.

use std::collections::{BTreeMap, VecDeque};

use crate::column;
use crate::decode::{Batch, records};
use crate::frame::{Cursor, MAX_VALUES, unzigzag};
use crate::stream::{RECORD, Stream};
use crate::times::Expectation;

/// Where the last batch left off.
#[derive(Debug, Default)]
pub(crate) struct First {
    previous_at: u64,
    previous: BTreeMap<u32, f64>,
    expectations: BTreeMap<u32, Expectation>,
}

impl First {
    /// A batch, unpacked, and how many of its records this version does not know. `None` if it makes no sense; then nothing after it does.
    pub(crate) fn batch(&mut self, raw: &[u8], stream: &Stream) -> Option<(Batch, u64)> {
        let mut cursor = Cursor::new(raw);
        let items = cursor.count()?;
        let mut order = Vec::with_capacity(items);
        for _ in 0..items {
            let kind = u32::try_from(cursor.varint()?).ok()?;
            order.push(((kind as usize) < stream.kind_count()).then_some(kind)?);
        }
        // Work follows what the batch holds, not how much was ever announced.
        let record_count = order.iter().filter(|&&kind| kind == RECORD).count();
        let mut times = Vec::with_capacity(items - record_count);
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut value_count = 0;
        for &kind in order.iter().filter(|&&kind| kind != RECORD) {
            let neighbour = self.previous_at;
            let expectation = self.expectations.entry(kind).or_default();
            let surprise = unzigzag(cursor.varint()?);
            let at = expectation.next(neighbour).wrapping_add_signed(surprise);
            expectation.learn(at, neighbour);
            self.previous_at = at;
            times.push(at);
            let series = stream.columns(kind);
            value_count += series.len();
            if value_count > MAX_VALUES {
                return None;
            }
            for &series in series {
                *counts.entry(series).or_default() += 1;
            }
        }

        let mut columns = BTreeMap::new();
        for (series, count) in counts {
            let previous = self.previous.entry(series).or_default();
            let values = column::read(&mut cursor, count, *previous)?;
            *previous = values.last().copied().unwrap_or(*previous);
            columns.insert(series, values.into_iter());
        }
        let rows = order.iter().flat_map(|&kind| stream.columns(kind));
        let values: Option<Vec<f64>> = rows.map(|s| columns.get_mut(s)?.next()).collect();

        let mut taken = VecDeque::new();
        let unknown = records(&mut cursor, record_count, &mut taken)?;
        if !cursor.is_empty() {
            return None;
        }
        Some((Batch::new(order, times, values?, taken), unknown))
    }
}
