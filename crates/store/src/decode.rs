//! Frames to records. Reads whatever is whole, and says how much was not.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use plimsoll_model::{Metric, Ns, Sample, SourceId};

use crate::column::{self, as_integral};
use crate::frame::{
    Cursor, ENTRY_COLLECTION, ENTRY_ROW, ENTRY_SERIES, FRAME_HEADER_LEN, HAS_AFTER, HAS_BEFORE,
    HEADER_LEN, Header, KIND_BATCH, KIND_END, KIND_SCHEMA, MAX_PAYLOAD, MAX_RAW, MAX_RECORD,
    MAX_ROW, MAX_VALUES, VERSION, checksum, parse_frame_header, parse_header, unzigzag,
};
use crate::pack::Unpacker;
use crate::record::EVENT_NAMES;
use crate::times::Expectation;
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
    kinds: Vec<Kind>,
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

/// What rows look like.
#[derive(Debug)]
struct Kind {
    /// Its series: of the readings, or of the figures of a collection.
    series: Arc<[u32]>,
    collection: Option<Collection>,
    expectation: Expectation,
}

#[derive(Debug)]
struct Collection {
    source: SourceId,
    name: String,
    has: u8,
}

/// A decoded batch, given out item by item so that a batch never stands in memory as records.
#[derive(Debug, Default)]
struct Batch {
    /// 0 is a record, `k` a row of kind `k - 1`.
    order: std::vec::IntoIter<u32>,
    times: std::vec::IntoIter<u64>,
    columns: Vec<Column>,
    records: VecDeque<Option<Record>>,
    /// The row of which readings are left: its time, its series, how many have been given out.
    row: Option<(u64, Arc<[u32]>, usize)>,
}

/// Values of one series in a batch.
#[derive(Debug)]
struct Column {
    series: u32,
    values: std::vec::IntoIter<f64>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.order.len() == 0 && self.row.is_none()
    }

    fn value(&mut self, series: u32) -> Option<f64> {
        let column = self
            .columns
            .binary_search_by_key(&series, |c| c.series)
            .ok()?;
        self.columns[column].values.next()
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
                    known: format!("log version {VERSION}"),
                });
            }
            Header::Foreign(message) => return Err(not_a_log(message)),
        }
        Ok(Self {
            input,
            series: Vec::new(),
            kinds: Vec::new(),
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
        let (mut series, mut kinds) = (Vec::new(), Vec::new());
        let unnamed = |source, metric: &str| Series {
            source,
            metric: metric.into(),
            previous: 0.0,
        };
        while !cursor.is_empty() {
            let known = self.series.len() + series.len();
            match cursor.byte()? {
                ENTRY_SERIES => series.push(unnamed(source(&mut cursor)?, name(&mut cursor)?)),
                ENTRY_ROW => {
                    let count = cursor.count().filter(|&c| (1..=MAX_ROW).contains(&c))?;
                    let numbers: Option<Arc<[u32]>> = (0..count)
                        .map(|_| {
                            let number = cursor.varint()?;
                            ((number as usize) < known).then_some(number as u32)
                        })
                        .collect();
                    kinds.push(Kind {
                        series: numbers?,
                        collection: None,
                        expectation: Expectation::default(),
                    });
                }
                ENTRY_COLLECTION => {
                    let source = source(&mut cursor)?;
                    let name = name(&mut cursor)?.to_owned();
                    let has = cursor.byte().filter(|&has| has <= HAS_BEFORE | HAS_AFTER)?;
                    let last = known + has.count_ones() as usize;
                    series.extend((known..=last).map(|_| unnamed(source, "")));
                    kinds.push(Kind {
                        series: (known as u32..=last as u32).collect(),
                        collection: Some(Collection { source, name, has }),
                        expectation: Expectation::default(),
                    });
                }
                _ => return None,
            }
        }
        self.series.append(&mut series);
        self.kinds.append(&mut kinds);
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
        // Work follows what the batch holds, not how much was ever announced.
        let records = order.iter().filter(|&&item| item == 0).count();
        let mut at = self.previous_at;
        let mut times = Vec::with_capacity(items - records);
        let mut expectations: BTreeMap<u32, Expectation> = BTreeMap::new();
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut values = 0;
        for &item in order.iter().filter(|&&item| item != 0) {
            let kind = self.kinds.get(item as usize - 1)?;
            let expectation = expectations.entry(item - 1).or_insert(kind.expectation);
            let surprise = unzigzag(cursor.varint()?);
            let neighbour = at;
            at = expectation.next(neighbour).wrapping_add_signed(surprise);
            expectation.learn(at, neighbour);
            times.push(at);
            values += kind.series.len();
            if values > MAX_VALUES {
                return None;
            }
            for &series in &*kind.series {
                *counts.entry(series).or_default() += 1;
            }
        }

        let mut columns = Vec::with_capacity(counts.len());
        for (series, count) in counts {
            let previous = self.series.get(series as usize)?.previous;
            columns.push((series, column::read(&mut cursor, count, previous)?));
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
                self.series[*series as usize].previous = last;
            }
        }
        for (kind, expectation) in expectations {
            self.kinds[kind as usize].expectation = expectation;
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
            row: None,
        };
        Some(())
    }
}

impl<R: Read> Iterator for LogReader<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some((at, series, given)) = &mut self.batch.row
                && let Some(&number) = series.get(*given)
            {
                *given += 1;
                let at = Ns(*at);
                let about = self.series.get(number as usize)?;
                return Some(Record::Sample(Sample {
                    at,
                    source: about.source,
                    metric: Metric::named(&*about.metric),
                    value: self.batch.value(number)?,
                }));
            }
            self.batch.row = None;
            if self.batch.is_empty() {
                self.refill();
            }
            let Some(kind) = self.batch.order.next()?.checked_sub(1) else {
                // A record this version does not know is skipped.
                match self.batch.records.pop_front()? {
                    Some(record) => return Some(record),
                    None => continue,
                }
            };
            let at = self.batch.times.next()?;
            let kind = self.kinds.get(kind as usize)?;
            match &kind.collection {
                None => self.batch.row = Some((at, Arc::clone(&kind.series), 0)),
                Some(collection) => return collection.record(at, &kind.series, &mut self.batch),
            }
        }
    }
}

impl Collection {
    fn record(&self, at: u64, series: &[u32], batch: &mut Batch) -> Option<Record> {
        let mut figures = series.iter().map(|&number| {
            let figure = as_integral(batch.value(number)?)?;
            u64::try_from(figure).ok()
        });
        let pause_ns = figures.next()??;
        let mut figure = |bit| match self.has & bit {
            0 => Some(None),
            _ => figures.next()?.map(Some),
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
