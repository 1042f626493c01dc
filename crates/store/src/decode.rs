//! Frames to records. Reads whatever is whole, and says how much was not.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use plimsoll_model::{Metric, Ns, Sample, SourceId};

use crate::encode::{VALUES_BITS, VALUES_INTEGRAL, as_integral};
use crate::frame::{
    Cursor, FRAME_HEADER_LEN, HEADER_LEN, Header, KIND_BATCH, KIND_END, KIND_SCHEMA, MAX_PAYLOAD,
    MAX_RAW, MAX_RECORD, VERSION, checksum, parse_frame_header, parse_header, unzigzag,
};
use crate::pack::Unpacker;
use crate::record::EVENT_NAMES;
use crate::{Error, Record};

/// Opens a log.
///
/// # Errors
/// If the file cannot be read, is not a log, or is one of another version. Damage further in is no error: reading ends
/// there, and [`LogReader::torn_bytes`] tells how much was cut.
pub fn read_log(path: &Path) -> Result<LogReader<BufReader<File>>, Error> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    LogReader::try_new(BufReader::new(file), path)
}

/// Reads the records of a log in the order in which they were recorded.
#[derive(Debug)]
pub struct LogReader<R> {
    input: R,
    series: Vec<Series>,
    previous_at: u64,
    unpacker: Unpacker,
    batch: Batch,
    torn_bytes: u64,
    unknown_records: u64,
    ended: bool,
    closed: bool,
}

#[derive(Debug)]
struct Series {
    source: SourceId,
    /// Every sample of the series carries the name: cloned from here.
    metric: Arc<str>,
    previous: f64,
}

/// A decoded batch, given out item by item so that a batch never stands in memory as records.
#[derive(Debug, Default)]
struct Batch {
    /// 0 is a record, `k` a sample of `columns[k - 1]`.
    order: std::vec::IntoIter<u32>,
    times: std::vec::IntoIter<u64>,
    columns: Vec<Column>,
    records: VecDeque<Option<Record>>,
}

/// Values of one series in a batch.
#[derive(Debug)]
struct Column {
    series: usize,
    values: std::vec::IntoIter<f64>,
}

impl<R: Read> LogReader<R> {
    /// Reads a log from anywhere; `name` stands for it in errors.
    ///
    /// # Errors
    /// As [`read_log`].
    pub fn try_new(mut input: R, name: &Path) -> Result<Self, Error> {
        let mut bytes = [0; HEADER_LEN];
        let not_a_log = |message| Error::NotALog {
            path: name.to_owned(),
            message,
        };
        match input.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                return Err(not_a_log("it is too short"));
            }
            Err(e) => return Err(Error::io("read", name)(e)),
        }
        match parse_header(&bytes) {
            Header::Ours => {}
            Header::Version(found) => {
                return Err(Error::Version {
                    path: name.to_owned(),
                    found: format!("log version {found}"),
                    known: format!("log version {VERSION}"),
                });
            }
            Header::Foreign(message) => return Err(not_a_log(message)),
        }
        Ok(Self {
            input,
            series: Vec::new(),
            previous_at: 0,
            unpacker: Unpacker::try_new().map_err(Error::io("read", name))?,
            batch: Batch::default(),
            torn_bytes: 0,
            unknown_records: 0,
            ended: false,
            closed: false,
        })
    }

    /// Bytes at the end that could not be read: what was being written when the recorder was killed, or damage. Known
    /// once the iterator has ended.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// Whether the recorder closed the log in good order. Known once the iterator has ended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Records of a kind this version does not know; they were skipped.
    pub fn unknown_records(&self) -> u64 {
        self.unknown_records
    }

    /// Reads frames until there is something to give out, or nothing more to read.
    fn refill(&mut self) {
        while self.batch.order.len() == 0 && !self.ended {
            let mut head = [0; FRAME_HEADER_LEN];
            let got = read_up_to(&mut self.input, &mut head);
            if got == 0 {
                self.ended = true;
                return;
            }
            let mut payload = Vec::new();
            if got < FRAME_HEADER_LEN || self.frame(head, &mut payload).is_none() {
                self.cut((got + payload.len()) as u64);
            }
        }
    }

    /// Reads and takes in the frame that begins with `head`. `None` if it is not whole or makes no sense; nothing of it
    /// has been taken in then, and `payload` holds what was read of it.
    fn frame(&mut self, head: [u8; FRAME_HEADER_LEN], payload: &mut Vec<u8>) -> Option<()> {
        let (length, expected, kind) = parse_frame_header(head);
        if length > MAX_PAYLOAD {
            return None;
        }
        // Grows with what is there, not with what the length promises.
        let wanted = length as u64;
        self.input.by_ref().take(wanted).read_to_end(payload).ok()?;
        if payload.len() != length
            || checksum((length as u32).to_le_bytes(), kind, payload) != expected
        {
            return None;
        }
        match kind {
            KIND_SCHEMA => self.schema(payload),
            KIND_BATCH => self.take_batch(payload),
            KIND_END if payload.is_empty() => {
                self.ended = true;
                self.closed = true;
                // What follows the end was not written by a recorder.
                self.torn_bytes += drain(&mut self.input);
                Some(())
            }
            _ => None,
        }
    }

    /// Ends reading at a frame of which `consumed` bytes have been read.
    fn cut(&mut self, consumed: u64) {
        self.ended = true;
        self.torn_bytes += consumed + drain(&mut self.input);
    }

    fn schema(&mut self, payload: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(payload);
        let mut announced = Vec::new();
        while !cursor.is_empty() {
            let source = SourceId(u32::try_from(cursor.varint()?).ok()?);
            let length = cursor.count()?;
            let name = std::str::from_utf8(cursor.bytes(length)?).ok()?;
            announced.push(Series {
                source,
                metric: name.into(),
                previous: 0.0,
            });
        }
        self.series.append(&mut announced);
        Some(())
    }

    fn take_batch(&mut self, payload: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(payload);
        let mut length = [0; 4];
        length.copy_from_slice(cursor.bytes(4)?);
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_RAW {
            return None;
        }
        let packed = cursor.bytes(cursor.len())?;
        let raw = self.unpacker.unpack(packed, length).ok()?;
        self.batch(&raw)
    }

    fn batch(&mut self, raw: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(raw);
        let items = cursor.count()?;
        let mut order = Vec::with_capacity(items);
        for _ in 0..items {
            order.push(u32::try_from(cursor.varint()?).ok()?);
        }
        // Work follows what the batch holds, not how many series were ever announced.
        let mut by_series = order.clone();
        by_series.sort_unstable();
        let runs: Vec<(u32, usize)> = by_series
            .chunk_by(|a, b| a == b)
            .map(|run| (run[0], run.len()))
            .collect();
        let (records, present) = match runs.split_first() {
            Some((&(0, records), present)) => (records, present),
            _ => (0, runs.as_slice()),
        };

        let mut at = self.previous_at;
        let mut times = Vec::with_capacity(items - records);
        for _ in 0..items - records {
            at = at.wrapping_add_signed(unzigzag(cursor.varint()?));
            times.push(at);
        }

        let mut columns = Vec::with_capacity(present.len());
        for &(item, count) in present {
            let series = item as usize - 1;
            let previous = self.series.get(series)?.previous;
            columns.push((series, column(&mut cursor, count, previous)?));
        }
        for item in &mut order {
            if let Ok(index) = present.binary_search_by_key(item, |&(item, _)| item) {
                *item = index as u32 + 1;
            }
        }

        let mut taken = VecDeque::new();
        let mut unknown = 0;
        for _ in 0..records {
            let length = cursor.count().filter(|&l| l <= MAX_RECORD)?;
            let record = record(cursor.bytes(length)?)?;
            unknown += u64::from(record.is_none());
            taken.push_back(record);
        }
        if !cursor.is_empty() {
            return None;
        }

        // Whole and sensible: only now does anything change.
        self.previous_at = at;
        self.unknown_records += unknown;
        for (series, values) in &columns {
            if let Some(&last) = values.last() {
                self.series[*series].previous = last;
            }
        }
        self.batch = Batch {
            order: order.into_iter(),
            times: times.into_iter(),
            columns: columns
                .into_iter()
                .map(|(series, values)| Column {
                    series,
                    values: values.into_iter(),
                })
                .collect(),
            records: taken,
        };
        Some(())
    }
}

impl<R: Read> Iterator for LogReader<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if self.batch.order.len() == 0 {
                self.refill();
            }
            let Some(column) = self.batch.order.next()?.checked_sub(1) else {
                // A record this version does not know is skipped.
                match self.batch.records.pop_front()? {
                    Some(record) => return Some(record),
                    None => continue,
                }
            };
            let column = self.batch.columns.get_mut(column as usize)?;
            let about = self.series.get(column.series)?;
            return Some(Record::Sample(Sample {
                at: Ns(self.batch.times.next()?),
                source: about.source,
                metric: Metric::named(&*about.metric),
                value: column.values.next()?,
            }));
        }
    }
}

/// The values of one series in a batch.
fn column(cursor: &mut Cursor<'_>, count: usize, previous: f64) -> Option<Vec<f64>> {
    let mut values = Vec::with_capacity(count);
    if count == 0 {
        return Some(values);
    }
    match cursor.byte()? {
        VALUES_INTEGRAL => {
            let mut previous = as_integral(previous)?;
            for _ in 0..count {
                previous = previous.wrapping_add(unzigzag(cursor.varint()?));
                values.push(previous as f64);
            }
        }
        VALUES_BITS => {
            let mut previous = previous.to_bits();
            for _ in 0..count {
                previous ^= cursor.varint()?;
                values.push(f64::from_bits(previous));
            }
        }
        _ => return None,
    }
    Some(values)
}

/// A record from its JSON. `Some(None)` if it is one of a later version, `None` if it makes no sense.
#[expect(
    clippy::option_option,
    reason = "damaged and unknown are different answers: one ends the log, the other is skipped"
)]
fn record(json: &[u8]) -> Option<Option<Record>> {
    if let Ok(record) = serde_json::from_slice(json) {
        return Some(Some(record));
    }
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let name = match &value {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(fields) if fields.len() == 1 => fields.keys().next()?,
        _ => return None,
    };
    (!EVENT_NAMES.contains(&name.as_str())).then_some(None)
}

/// Fills `buffer` as far as there is input; an error ends the input.
fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut got = 0;
    while got < buffer.len() {
        match input.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    got
}

/// Reads to the end, counting.
fn drain(input: &mut impl Read) -> u64 {
    std::io::copy(input, &mut std::io::sink()).unwrap_or(0)
}
