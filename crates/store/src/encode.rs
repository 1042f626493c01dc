//! Records to frames. Pure: it is told everything and returns bytes.

use std::collections::HashMap;

use plimsoll_model::{Metric, Ns, SourceId};

use crate::Record;
use crate::column::{self, as_integral};
use crate::frame::{
    ENTRY_COLLECTION, ENTRY_ROW, ENTRY_SERIES, HAS_AFTER, HAS_BEFORE, KIND_BATCH, KIND_END,
    KIND_SCHEMA, MAX_RECORD, MAX_ROW, append_frame, append_varint, header, zigzag,
};
use crate::pack::Packer;
use crate::times::Expectation;

/// Samples after which a batch is full.
const FULL_SAMPLES: usize = 4096;
/// Bytes of records after which a batch is full.
const FULL_RECORD_BYTES: usize = 1 << 20;
/// Kinds of rows that are kept. Beyond them (a sampler that finds something else every time) rows are written as single
/// readings, so that memory follows the number of series.
const MAX_KINDS: usize = 16_384;

/// Collects records into a batch and writes batches as frames. Series are numbered by the caller, from 0, in the order
/// of their first sample.
pub(crate) struct Encoder {
    /// Frames not yet taken.
    out: Vec<u8>,
    /// Series and kinds of rows announced since the last batch.
    schema: Vec<u8>,
    /// Items of the batch in order: 0 is a record, `k` a row of kind `k - 1`.
    order: Vec<u8>,
    items: u64,
    samples: usize,
    times: Vec<u8>,
    columns: Vec<Column>,
    /// The columns of this batch that have values.
    touched: Vec<u32>,
    records: Vec<u8>,
    /// Column and source of each series, by the caller's number.
    series: Vec<(u32, SourceId)>,
    row: Row,
    kinds: Vec<Kind>,
    kind_of_row: HashMap<Box<[u32]>, u32>,
    kind_of_collection: HashMap<(SourceId, u8), Vec<(String, u32)>>,
    latest_kind: usize,
    previous_at: u64,
    packer: Packer,
    raw: Vec<u8>,
}

/// Values of one series in the batch, and where the last batch left off.
#[derive(Default)]
struct Column {
    previous: f64,
    values: Vec<f64>,
}

/// The samples of one source at one time, of which more may come.
struct Row {
    at: u64,
    source: SourceId,
    columns: Vec<u32>,
}

/// What rows look like: their columns, and when they come.
struct Kind {
    columns: Box<[u32]>,
    expectation: Expectation,
    /// Which came next, when it was last seen: a look there is cheaper than a hash.
    next: u32,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder")
            .field("items", &self.items)
            .finish_non_exhaustive()
    }
}

impl Encoder {
    /// An empty log: its header is the first thing to take.
    pub(crate) fn try_new() -> std::io::Result<Self> {
        Ok(Self {
            out: header().to_vec(),
            schema: Vec::new(),
            order: Vec::new(),
            items: 0,
            samples: 0,
            times: Vec::new(),
            columns: Vec::new(),
            touched: Vec::new(),
            records: Vec::new(),
            series: Vec::new(),
            row: Row {
                at: 0,
                source: SourceId(0),
                columns: Vec::new(),
            },
            kinds: Vec::new(),
            kind_of_row: HashMap::new(),
            kind_of_collection: HashMap::new(),
            latest_kind: 0,
            previous_at: 0,
            packer: Packer::try_new()?,
            raw: Vec::new(),
        })
    }

    /// Announces the next series.
    pub(crate) fn series(&mut self, source: SourceId, metric: &Metric) {
        self.schema.push(ENTRY_SERIES);
        append_varint(&mut self.schema, u64::from(source.0));
        append_name(&mut self.schema, metric.as_str());
        self.series.push((self.columns.len() as u32, source));
        self.columns.push(Column::default());
    }

    /// Adds a reading of a series announced before.
    pub(crate) fn sample(&mut self, series: usize, at: Ns, value: f64) {
        let (column, source) = self.series[series];
        let row = &self.row;
        if row.at != at.0 || row.source != source || row.columns.len() >= MAX_ROW {
            self.end_row();
            self.row.at = at.0;
            self.row.source = source;
        }
        self.row.columns.push(column);
        self.value(column, value);
    }

    fn value(&mut self, column: u32, value: f64) {
        let values = &mut self.columns[column as usize].values;
        if values.is_empty() {
            self.touched.push(column);
        }
        values.push(value);
        self.samples += 1;
    }

    /// Adds the row of the samples that came last, if there is one.
    fn end_row(&mut self) {
        if self.row.columns.is_empty() {
            return;
        }
        let columns = std::mem::take(&mut self.row.columns);
        let at = self.row.at;
        let guess = self.kinds.get(self.latest_kind).map_or(0, |kind| kind.next);
        let known = match self.kinds.get(guess as usize) {
            Some(kind) if *kind.columns == *columns => Some(guess),
            _ => self.kind_of_row.get(&*columns).copied(),
        };
        if let Some(kind) = known {
            self.item(kind, at);
        } else if self.kinds.len() < MAX_KINDS {
            let kind = self.new_row(&columns);
            self.item(kind, at);
        } else {
            for column in &columns {
                let single = std::slice::from_ref(column);
                let known = self.kind_of_row.get(single).copied();
                let kind = known.unwrap_or_else(|| self.new_row(single));
                self.item(kind, at);
            }
        }
        self.row.columns = columns;
        self.row.columns.clear();
    }

    fn new_row(&mut self, columns: &[u32]) -> u32 {
        self.schema.push(ENTRY_ROW);
        append_varint(&mut self.schema, columns.len() as u64);
        for &column in columns {
            append_varint(&mut self.schema, u64::from(column));
        }
        let number = self.new_kind(columns);
        self.kind_of_row.insert(columns.into(), number);
        number
    }

    fn new_kind(&mut self, columns: &[u32]) -> u32 {
        let number = self.kinds.len() as u32;
        self.kinds.push(Kind {
            columns: columns.into(),
            expectation: Expectation::default(),
            next: number,
        });
        number
    }

    fn item(&mut self, number: u32, at: u64) {
        if let Some(latest) = self.kinds.get_mut(self.latest_kind) {
            latest.next = number;
        }
        self.latest_kind = number as usize;
        let expectation = &mut self.kinds[number as usize].expectation;
        let surprise = at.wrapping_sub(expectation.next(self.previous_at));
        expectation.learn(at, self.previous_at);
        append_varint(&mut self.order, u64::from(number) + 1);
        append_varint(&mut self.times, zigzag(surprise.cast_signed()));
        self.previous_at = at;
        self.items += 1;
    }

    /// Adds a record other than a sample. One that is too long to be read back is replaced by a gap that says so.
    pub(crate) fn record(&mut self, record: &Record) {
        self.end_row();
        if self.collection(record).is_some() {
            return;
        }
        let json = serde_json::to_vec(record).unwrap_or_default();
        let json = if json.is_empty() || json.len() > MAX_RECORD {
            let gap = Record::Gap {
                at: record.at().unwrap_or_default(),
                what: "record".to_owned(),
                why: format!("{} bytes are too many for one record", json.len()),
            };
            serde_json::to_vec(&gap).unwrap_or_default()
        } else {
            json
        };
        append_varint(&mut self.order, 0);
        self.items += 1;
        append_varint(&mut self.records, json.len() as u64);
        self.records.extend_from_slice(&json);
    }

    /// Adds a collection as a row. `None` if this is none, or one whose figures a column cannot hold: it is written as
    /// other records are.
    fn collection(&mut self, record: &Record) -> Option<()> {
        let &Record::Collection {
            at,
            source,
            ref kind,
            pause_ns,
            before,
            after,
        } = record
        else {
            return None;
        };
        let mut figures = [0.0; 3];
        let mut count = 0;
        for figure in [Some(pause_ns), before, after].into_iter().flatten() {
            let exact = figure as f64;
            as_integral(exact).filter(|&integer| integer.cast_unsigned() == figure)?;
            figures[count] = exact;
            count += 1;
        }
        let has = u8::from(before.is_some()) * HAS_BEFORE + u8::from(after.is_some()) * HAS_AFTER;
        let named = self.kind_of_collection.entry((source, has)).or_default();
        let number = if let Some((_, number)) = named.iter().find(|(name, _)| name == kind) {
            *number
        } else {
            if self.kinds.len() >= MAX_KINDS || kind.len() > MAX_RECORD {
                return None;
            }
            let number = self.kinds.len() as u32;
            named.push((kind.clone(), number));
            self.schema.push(ENTRY_COLLECTION);
            append_varint(&mut self.schema, u64::from(source.0));
            append_name(&mut self.schema, kind);
            self.schema.push(has);
            let first = self.columns.len() as u32;
            self.columns.extend((0..count).map(|_| Column::default()));
            let columns: Vec<u32> = (first..first + count as u32).collect();
            self.new_kind(&columns)
        };
        self.item(number, at.0);
        let first = self.kinds[number as usize].columns[0];
        for (column, &figure) in (first..).zip(&figures[..count]) {
            self.value(column, figure);
        }
        Some(())
    }

    /// Whether the batch should be written before anything is added.
    pub(crate) fn is_full(&self) -> bool {
        self.samples >= FULL_SAMPLES
            || self.records.len() >= FULL_RECORD_BYTES
            || self.schema.len() >= FULL_RECORD_BYTES
    }

    /// Ends the batch, if there is anything in it.
    ///
    /// # Errors
    /// If it cannot be compressed (no memory).
    pub(crate) fn end_batch(&mut self) -> std::io::Result<()> {
        self.end_row();
        if !self.schema.is_empty() {
            append_frame(&mut self.out, KIND_SCHEMA, &self.schema);
            self.schema.clear();
        }
        if self.items == 0 {
            return Ok(());
        }
        let raw = &mut self.raw;
        raw.clear();
        append_varint(raw, self.items);
        raw.extend_from_slice(&self.order);
        raw.extend_from_slice(&self.times);
        self.touched.sort_unstable();
        for number in self.touched.drain(..) {
            let column = &mut self.columns[number as usize];
            column::append(raw, &column.values, column.previous);
            column.previous = column.values.last().copied().unwrap_or(column.previous);
            column.values.clear();
        }
        raw.extend_from_slice(&self.records);

        let mut payload = (raw.len() as u32).to_le_bytes().to_vec();
        self.packer.pack(raw, &mut payload)?;
        append_frame(&mut self.out, KIND_BATCH, &payload);

        self.order.clear();
        self.times.clear();
        self.records.clear();
        self.items = 0;
        self.samples = 0;
        Ok(())
    }

    /// Ends the log in good order.
    pub(crate) fn end_log(&mut self) -> std::io::Result<()> {
        self.end_batch()?;
        append_frame(&mut self.out, KIND_END, &[]);
        Ok(())
    }

    /// Takes the frames written so far.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

fn append_name(out: &mut Vec<u8>, name: &str) {
    append_varint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}
