//! Records to frames. Pure: it is told everything and returns bytes.

use std::collections::HashMap;

use plimsoll_model::{Metric, Ns, SourceId};

use crate::Record;
use crate::coder::BitWriter;
use crate::column::as_integral;
use crate::frame::{
    ENTRY_COLLECTION, ENTRY_ROW, ENTRY_SERIES, HAS_AFTER, HAS_BEFORE, KIND_CODED, KIND_END,
    KIND_SCHEMA, MAX_ITEMS, MAX_RECORD, append_frame, append_varint, header,
};
use crate::pack::Packer;
use crate::stream::{RECORD, Stream};

/// Items or readings after which a batch is full; one more row must still fit.
const FULL: usize = MAX_ITEMS / 2;
/// Bytes of records after which a batch is full.
const FULL_RECORD_BYTES: usize = 1 << 20;
/// Kinds of collections that are kept; others are written as records.
const MAX_COLLECTIONS: usize = 16_384;

/// Collects records into a batch and writes batches as frames. Series are numbered by the caller, from 0, in the order in
/// which they are announced.
pub(crate) struct Encoder {
    /// Frames not yet taken.
    out: Vec<u8>,
    /// Series and kinds of rows announced since the last batch.
    schema: Vec<u8>,
    items: usize,
    readings: usize,
    coder: BitWriter,
    stream: Stream,
    /// JSON of the records of this batch.
    records: Vec<u8>,
    packer: Packer,
    /// Number of each series in the log, by the caller's.
    series: Vec<u32>,
    collections: HashMap<(SourceId, u8), Vec<(String, u32)>>,
    payload: Vec<u8>,
    packed: Vec<u8>,
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
            items: 0,
            readings: 0,
            coder: BitWriter::new(),
            stream: Stream::new(),
            records: Vec::new(),
            packer: Packer::try_new()?,
            series: Vec::new(),
            collections: HashMap::new(),
            payload: Vec::new(),
            packed: Vec::new(),
        })
    }

    /// Announces the next series.
    pub(crate) fn series(&mut self, source: SourceId, metric: &Metric) {
        self.schema.push(ENTRY_SERIES);
        append_varint(&mut self.schema, u64::from(source.0));
        append_name(&mut self.schema, metric.as_str());
        self.series.push(self.stream.series_count() as u32);
        self.stream.add_series(1);
    }

    /// Announces a kind of rows, of 1 to [`MAX_ROW`](crate::frame::MAX_ROW) series of one source; its number.
    pub(crate) fn row_kind(&mut self, series: &[u32]) -> u32 {
        let series: Vec<u32> = series.iter().map(|&s| self.series[s as usize]).collect();
        self.schema.push(ENTRY_ROW);
        append_varint(&mut self.schema, series.len() as u64);
        for &series in &series {
            append_varint(&mut self.schema, u64::from(series));
        }
        self.stream.kind(&series)
    }

    /// Adds a row: the readings of one source at one time, in the order of its kind.
    pub(crate) fn row(&mut self, kind: u32, at: Ns, values: impl Iterator<Item = f64>) {
        self.stream.item(&mut self.coder, kind);
        self.stream.time(&mut self.coder, kind, at.0);
        let readings = &mut self.readings;
        let count = |_| *readings += 1;
        self.stream.values(&mut self.coder, kind, values, count);
        self.items += 1;
    }

    /// Adds a record other than a sample. One that is too long to be read back is replaced by a gap that says so.
    pub(crate) fn record(&mut self, record: &Record) {
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
        self.stream.item(&mut self.coder, RECORD);
        self.items += 1;
        append_varint(&mut self.records, json.len() as u64);
        self.records.extend_from_slice(&json);
    }

    /// Adds a collection as a row. `None` if this is none, or one whose figures a series cannot hold: it is written as
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
        let named = self.collections.entry((source, has)).or_default();
        let number = if let Some((_, number)) = named.iter().find(|(name, _)| name == kind) {
            *number
        } else {
            if named.len() >= MAX_COLLECTIONS || kind.len() > MAX_RECORD {
                return None;
            }
            let first = self.stream.series_count() as u32;
            self.stream.add_series(count);
            let series: Vec<u32> = (first..first + count as u32).collect();
            let number = self.stream.kind(&series);
            named.push((kind.clone(), number));
            self.schema.push(ENTRY_COLLECTION);
            append_varint(&mut self.schema, u64::from(source.0));
            append_name(&mut self.schema, kind);
            self.schema.push(has);
            number
        };
        self.row(number, at, figures.into_iter().take(count));
        Some(())
    }

    /// Whether the batch should be written before anything is added.
    pub(crate) fn is_full(&self) -> bool {
        self.readings.max(self.items) >= FULL
            || self.records.len() >= FULL_RECORD_BYTES
            || self.schema.len() >= FULL_RECORD_BYTES
    }

    /// Ends the batch, if there is anything in it.
    ///
    /// # Errors
    /// If it cannot be compressed (no memory).
    pub(crate) fn end_batch(&mut self) -> std::io::Result<()> {
        if !self.schema.is_empty() {
            append_frame(&mut self.out, KIND_SCHEMA, &self.schema);
            self.schema.clear();
        }
        if self.items == 0 {
            return Ok(());
        }
        let payload = &mut self.payload;
        payload.clear();
        append_varint(payload, self.items as u64);
        append_varint(payload, self.records.len() as u64);
        if !self.records.is_empty() {
            self.packed.clear();
            self.packer.pack(&self.records, &mut self.packed)?;
            append_varint(payload, self.packed.len() as u64);
            payload.extend_from_slice(&self.packed);
        }
        self.coder.end(payload);
        append_frame(&mut self.out, KIND_CODED, payload);
        self.records.clear();
        self.items = 0;
        self.readings = 0;
        Ok(())
    }

    /// Ends the log in good order.
    pub(crate) fn end_log(&mut self) -> std::io::Result<()> {
        self.end_batch()?;
        append_frame(&mut self.out, KIND_END, &[]);
        Ok(())
    }

    /// The frames written so far, which are to be taken.
    pub(crate) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }
}

fn append_name(out: &mut Vec<u8>, name: &str) {
    append_varint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}
