//! Records to frames. Pure: it is told everything and returns bytes.

use plimsoll_model::{Metric, Ns, SourceId};

use crate::Record;
use crate::frame::{
    KIND_BATCH, KIND_END, KIND_SCHEMA, MAX_RECORD, append_frame, append_varint, header, zigzag,
};
use crate::pack::Packer;

/// Samples after which a batch is full.
const FULL_SAMPLES: usize = 4096;
/// Bytes of records after which a batch is full.
const FULL_RECORD_BYTES: usize = 1 << 20;

/// How the values of one column of one batch are written.
pub(crate) const VALUES_INTEGRAL: u8 = 0;
/// See [`VALUES_INTEGRAL`].
pub(crate) const VALUES_BITS: u8 = 1;

/// Collects records into a batch and writes batches as frames. Series are numbered by the caller, from 0, in the order
/// of their first sample.
pub(crate) struct Encoder {
    /// Frames not yet taken.
    out: Vec<u8>,
    /// Names of series announced since the last batch.
    schema: Vec<u8>,
    /// Items of the batch in order: 0 is a record, `k` a sample of series `k - 1`.
    order: Vec<u8>,
    items: u64,
    samples: usize,
    times: Vec<u8>,
    columns: Vec<Column>,
    records: Vec<u8>,
    previous_at: u64,
    packer: Packer,
}

/// Values of one series in the batch, and where the last batch left off.
#[derive(Default)]
struct Column {
    previous: f64,
    values: Vec<f64>,
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
            records: Vec::new(),
            previous_at: 0,
            packer: Packer::try_new()?,
        })
    }

    /// Announces the next series.
    pub(crate) fn series(&mut self, source: SourceId, metric: &Metric) {
        let name = metric.as_str().as_bytes();
        append_varint(&mut self.schema, u64::from(source.0));
        append_varint(&mut self.schema, name.len() as u64);
        self.schema.extend_from_slice(name);
        self.columns.push(Column::default());
    }

    /// Adds a reading of a series announced before.
    pub(crate) fn sample(&mut self, series: usize, at: Ns, value: f64) {
        append_varint(&mut self.order, series as u64 + 1);
        self.items += 1;
        self.samples += 1;
        // Modulo 2^64, so that any two times have a difference; real ones are small and mostly zero, since the metrics
        // of one tick share their time.
        append_varint(
            &mut self.times,
            zigzag(at.0.wrapping_sub(self.previous_at).cast_signed()),
        );
        self.previous_at = at.0;
        self.columns[series].values.push(value);
    }

    /// Adds a record other than a sample. One that is too long to be read back is replaced by a gap that says so.
    pub(crate) fn record(&mut self, record: &Record) {
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
        if !self.schema.is_empty() {
            append_frame(&mut self.out, KIND_SCHEMA, &self.schema);
            self.schema.clear();
        }
        if self.items == 0 {
            return Ok(());
        }
        let mut raw = Vec::with_capacity(
            self.order.len() + self.times.len() + self.records.len() + 9 * self.samples + 10,
        );
        append_varint(&mut raw, self.items);
        raw.extend_from_slice(&self.order);
        raw.extend_from_slice(&self.times);
        for column in &mut self.columns {
            column.append_to(&mut raw);
        }
        raw.extend_from_slice(&self.records);

        let mut payload = (raw.len() as u32).to_le_bytes().to_vec();
        self.packer.pack(&raw, &mut payload)?;
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

impl Column {
    fn append_to(&mut self, raw: &mut Vec<u8>) {
        if self.values.is_empty() {
            return;
        }
        if let Some(previous) = as_integral(self.previous)
            && self.values.iter().all(|&v| as_integral(v).is_some())
        {
            raw.push(VALUES_INTEGRAL);
            let mut previous = previous;
            for value in self.values.iter().filter_map(|&v| as_integral(v)) {
                append_varint(raw, zigzag(value - previous));
                previous = value;
            }
        } else {
            raw.push(VALUES_BITS);
            let mut previous = self.previous.to_bits();
            for value in &self.values {
                // Neighbours share sign, exponent and the first digits: what differs is a small number.
                append_varint(raw, value.to_bits() ^ previous);
                previous = value.to_bits();
            }
        }
        self.previous = self.values.last().copied().unwrap_or(self.previous);
        self.values.clear();
    }
}

/// The integer that is exactly this number, to the last bit; negative zero is none.
pub(crate) fn as_integral(value: f64) -> Option<i64> {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    let integer = value as i64;
    (value.abs() <= LIMIT && (integer as f64).to_bits() == value.to_bits()).then_some(integer)
}
