//! Frames to records. Reads whatever is whole, and says how much was not.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::vec::IntoIter;

use plimsoll_model::{Metric, Ns, Sample, SourceId};

use crate::coder::BitReader;
use crate::column::as_integral;
use crate::first::First;
use crate::frame::{
    Cursor, ENTRY_COLLECTION, ENTRY_ROW, ENTRY_SERIES, FRAME_HEADER_LEN, HAS_AFTER, HAS_BEFORE,
    HEADER_LEN, Header, KIND_CODED, KIND_COLUMNS, KIND_END, KIND_SCHEMA, MAX_ITEMS, MAX_PAYLOAD,
    MAX_RAW, MAX_RECORD, MAX_ROW, VERSION, checksum, parse_frame_header, parse_header,
};
use crate::pack::Unpacker;
use crate::record::EVENT_NAMES;
use crate::stream::{RECORD, Stream};
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
    /// Of each kind of row, the first of which is none: whether it is a collection.
    collections: Vec<Option<Collection>>,
    stream: Stream,
    first: First,
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
    metric: Metric,
}

#[derive(Debug)]
struct Collection {
    source: SourceId,
    name: String,
    has: u8,
}

/// A decoded batch, given out item by item so that a batch never stands in memory as records.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The kind of each item.
    order: IntoIter<u32>,
    /// Of each row.
    times: IntoIter<u64>,
    /// Of all rows.
    values: IntoIter<f64>,
    records: VecDeque<Option<Record>>,
    /// The row of which readings are left: its time, its kind, how many have been given out.
    row: Option<(u64, u32, usize)>,
}

impl Batch {
    pub(crate) fn new(
        order: Vec<u32>,
        times: Vec<u64>,
        values: Vec<f64>,
        records: VecDeque<Option<Record>>,
    ) -> Self {
        Self {
            order: order.into_iter(),
            times: times.into_iter(),
            values: values.into_iter(),
            records,
            row: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.order.len() == 0 && self.row.is_none()
    }
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
                    known: format!("log versions 1 to {VERSION}"),
                });
            }
            Header::Foreign(message) => return Err(not_a_log(message)),
        }
        Ok(Self {
            input,
            series: Vec::new(),
            collections: vec![None],
            stream: Stream::new(),
            first: First::default(),
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
        while self.batch.is_empty() && !self.ended {
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
            KIND_COLUMNS => self.columns(payload),
            KIND_CODED => self.coded(payload),
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

    /// Series and kinds of rows. If it makes no sense the log ends here, so it matters not what of it was taken in.
    fn schema(&mut self, payload: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(payload);
        while !cursor.is_empty() {
            match cursor.byte()? {
                ENTRY_SERIES => {
                    let source = source(&mut cursor)?;
                    let metric = Metric::named(name(&mut cursor)?);
                    self.series.push(Series { source, metric });
                    self.stream.add_series(1);
                }
                ENTRY_ROW => {
                    let count = cursor.count().filter(|&c| (1..=MAX_ROW).contains(&c))?;
                    let known = self.stream.series_count() as u64;
                    let numbers: Option<Vec<u32>> = (0..count)
                        .map(|_| Some(cursor.varint().filter(|&n| n < known)? as u32))
                        .collect();
                    self.stream.kind(&numbers?);
                    self.collections.push(None);
                }
                ENTRY_COLLECTION => {
                    let source = source(&mut cursor)?;
                    let name = name(&mut cursor)?.to_owned();
                    let has = cursor.byte().filter(|&has| has <= HAS_BEFORE | HAS_AFTER)?;
                    let known = self.stream.series_count() as u32;
                    let count = 1 + has.count_ones();
                    self.series.extend((0..count).map(|_| Series {
                        source,
                        metric: Metric::named(""),
                    }));
                    self.stream.add_series(count as usize);
                    let numbers: Vec<u32> = (known..known + count).collect();
                    self.stream.kind(&numbers);
                    self.collections
                        .push(Some(Collection { source, name, has }));
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// A batch of version 1.
    fn columns(&mut self, payload: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(payload);
        let mut length = [0; 4];
        length.copy_from_slice(cursor.bytes(4)?);
        let length = u32::from_le_bytes(length) as usize;
        let raw = self.unpack(&mut cursor, payload.len() - 4, length)?;
        let (batch, unknown) = self.first.batch(&raw, &self.stream)?;
        self.batch = batch;
        self.unknown_records += unknown;
        Some(())
    }

    fn coded(&mut self, payload: &[u8]) -> Option<()> {
        let mut cursor = Cursor::new(payload);
        let at_most = |count: Option<u64>, most: usize| {
            count
                .and_then(|c| usize::try_from(c).ok())
                .filter(|&c| c <= most)
        };
        let items = at_most(cursor.varint(), MAX_ITEMS)?;
        let length = at_most(cursor.varint(), MAX_RAW)?;
        let text = if length > 0 {
            let packed = cursor.count()?;
            self.unpack(&mut cursor, packed, length)?
        } else {
            Vec::new()
        };
        let mut coder = BitReader::new(cursor.bytes(cursor.len())?);
        let stream = &mut self.stream;
        let (mut order, mut times, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let mut record_count = 0;
        for _ in 0..items {
            let kind = stream.item(&mut coder, RECORD);
            if kind as usize >= stream.kind_count() {
                return None;
            }
            order.push(kind);
            if kind == RECORD {
                record_count += 1;
                continue;
            }
            times.push(stream.time(&mut coder, kind, 0));
            stream.values(&mut coder, kind, std::iter::empty(), |value| {
                values.push(value);
            });
            if values.len() > MAX_ITEMS || coder.is_overdrawn() {
                return None;
            }
        }
        let mut cursor = Cursor::new(&text);
        let mut taken = VecDeque::new();
        let unknown = records(&mut cursor, record_count, &mut taken)?;
        if !cursor.is_empty() || coder.is_overdrawn() {
            return None;
        }
        self.unknown_records += unknown;
        self.batch = Batch::new(order, times, values, taken);
        Some(())
    }

    /// Takes `packed` bytes, which hold exactly `length`.
    fn unpack(&mut self, cursor: &mut Cursor<'_>, packed: usize, length: usize) -> Option<Vec<u8>> {
        if length > MAX_RAW {
            return None;
        }
        self.unpacker.unpack(cursor.bytes(packed)?, length).ok()
    }
}

impl<R: Read> Iterator for LogReader<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some((at, kind, given)) = &mut self.batch.row
                && let Some(&number) = self.stream.columns(*kind).get(*given)
            {
                *given += 1;
                let about = self.series.get(number as usize)?;
                return Some(Record::Sample(Sample {
                    at: Ns(*at),
                    source: about.source,
                    metric: about.metric.clone(),
                    value: self.batch.values.next()?,
                }));
            }
            self.batch.row = None;
            if self.batch.is_empty() {
                self.refill();
            }
            let kind = self.batch.order.next()?;
            if kind == RECORD {
                // A record this version does not know is skipped.
                match self.batch.records.pop_front()? {
                    Some(record) => return Some(record),
                    None => continue,
                }
            }
            let at = self.batch.times.next()?;
            match self.collections.get(kind as usize)? {
                None => self.batch.row = Some((at, kind, 0)),
                Some(collection) => return collection.record(at, &mut self.batch.values),
            }
        }
    }
}

impl Collection {
    fn record(&self, at: u64, values: &mut IntoIter<f64>) -> Option<Record> {
        let mut figure = || u64::try_from(as_integral(values.next()?)?).ok();
        let pause_ns = figure()?;
        let mut figure = |bit| match self.has & bit {
            0 => Some(None),
            _ => figure().map(Some),
        };
        Some(Record::Collection {
            at: Ns(at),
            source: self.source,
            kind: self.name.clone(),
            pause_ns,
            before: figure(HAS_BEFORE)?,
            after: figure(HAS_AFTER)?,
        })
    }
}

/// Takes so many records; how many of them this version does not know. `None` if one makes no sense.
pub(crate) fn records(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut VecDeque<Option<Record>>,
) -> Option<u64> {
    let mut unknown = 0;
    for _ in 0..count {
        let length = cursor.count().filter(|&l| l <= MAX_RECORD)?;
        let record = record(cursor.bytes(length)?)?;
        unknown += u64::from(record.is_none());
        out.push_back(record);
    }
    Some(unknown)
}

fn source(cursor: &mut Cursor<'_>) -> Option<SourceId> {
    Some(SourceId(u32::try_from(cursor.varint()?).ok()?))
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let length = cursor.count()?;
    std::str::from_utf8(cursor.bytes(length)?).ok()
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
