//! What the recorder's thread works with: readings to rows, rows to frames, frames to the file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_model::{Metric, Ns, Sample, SourceId};

use crate::band::BandBuilder;
use crate::encode::Encoder;
use crate::frame::MAX_ROW;
use crate::recorder::{Recorded, Waiting};
use crate::{Error, Record};

/// Longest time of samples in a batch, by their own clock: a recording that is replayed makes the batches it made.
const BATCH_SPAN_NS: u64 = 1_000_000_000;
/// The page cache survives `kill -9`, not a power cut: so often the disk is asked.
const SYNC_EVERY: Duration = Duration::from_secs(10);
/// Bands are kept for so many series at most (32 MiB if all were full); the log has all of them.
const MAX_BANDS: usize = 1024;
/// Kinds of rows that are kept. Beyond them (a sampler that finds something else every time) rows are written as single
/// readings, so that memory follows the number of series.
const MAX_KINDS: usize = 16_384;

/// The file, and how much of it is whole.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    synced: Instant,
}

impl LogFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::io("create", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            bytes: 0,
            synced: Instant::now(),
        })
    }

    /// Appends whole frames. After an error the file ends with the last whole frame.
    fn append(&mut self, frames: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(frames) {
            // Should this fail too, a reader cuts the torn frame.
            let _ = self.file.set_len(self.bytes);
            return Err(error);
        }
        self.bytes += frames.len() as u64;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = Instant::now();
        }
        Ok(())
    }
}

/// Takes in what was recorded, and writes it.
pub(crate) struct Writer {
    encoder: Encoder,
    /// Series by their number, in the order of their first reading.
    series: HashMap<(SourceId, Metric), u32>,
    kinds: Vec<Kind>,
    kind_of_series: HashMap<Box<[u32]>, usize>,
    latest_kind: usize,
    bands: Vec<BandBuilder>,
    log: Option<LogFile>,
    log_bytes: u64,
    error: Option<Error>,
    latest: Ns,
    /// When the first sample of the batch was taken.
    batch_start: Option<Ns>,
}

impl Writer {
    pub(crate) fn try_new(log: Option<LogFile>) -> io::Result<Self> {
        Ok(Self {
            encoder: Encoder::try_new()?,
            series: HashMap::new(),
            kinds: Vec::new(),
            kind_of_series: HashMap::new(),
            latest_kind: 0,
            bands: Vec::new(),
            log,
            log_bytes: 0,
            error: None,
            latest: Ns(0),
            batch_start: None,
        })
    }

    /// Takes in what waited, and leaves nothing of it.
    pub(crate) fn take(&mut self, batch: &mut Waiting) {
        let mut taken = 0;
        for (before, record) in batch.records.drain(..) {
            self.samples(&batch.samples[taken..before]);
            taken = before;
            self.record(&record);
        }
        self.samples(&batch.samples[taken..]);
        batch.samples.clear();
    }

    /// So many were dropped before they came here.
    pub(crate) fn dropped(&mut self, count: u64) {
        let at = self.latest;
        self.record(&Record::Drops { at, count });
    }

    fn record(&mut self, record: &Record) {
        if let Some(at) = record.at() {
            self.latest = self.latest.max(at);
        }
        // Without a log there is nobody to read it.
        if self.log.is_some() {
            self.encoder.record(record);
        }
        if self.encoder.is_full() {
            self.flush();
        }
    }

    fn samples(&mut self, samples: &[Sample]) {
        for row in samples.chunk_by(|a, b| a.at == b.at && a.source == b.source) {
            for row in row.chunks(MAX_ROW) {
                self.row(row);
            }
        }
    }

    /// Takes the readings of one source at one time.
    fn row(&mut self, samples: &[Sample]) {
        let Some(first) = samples.first() else { return };
        let at = first.at;
        self.latest = self.latest.max(at);
        let start = *self.batch_start.get_or_insert(at);
        if at.0.saturating_sub(start.0) >= BATCH_SPAN_NS {
            self.flush();
            self.batch_start = Some(at);
        }
        let Some(kind) = self.kind_of(samples) else {
            for single in samples.chunks(1) {
                self.row(single);
            }
            return;
        };
        let Some(kind) = self.kinds.get(kind) else {
            return;
        };
        for (sample, &series) in samples.iter().zip(&*kind.series) {
            if let Some(band) = self.bands.get_mut(series as usize) {
                band.add(at, sample.value);
            }
        }
        if self.log.is_some() {
            let values = samples.iter().map(|sample| sample.value);
            self.encoder.row(kind.number, at, values);
        }
        if self.encoder.is_full() {
            self.flush();
        }
    }

    /// The kind of a row; one that is new is announced. `None` if that would be too many: single readings are always known
    /// or announced.
    fn kind_of(&mut self, samples: &[Sample]) -> Option<usize> {
        // What comes next has mostly the shape of what came next before: a look at it is cheaper than a hash for each reading.
        let next = self.kinds.get(self.latest_kind).map_or([0; 2], |k| k.next);
        let fits = |&guess: &usize| self.kinds.get(guess).is_some_and(|kind| kind.fits(samples));
        if let Some(guess) = next.into_iter().find(fits) {
            self.latest_kind = guess;
            return Some(guess);
        }
        let series: Vec<u32> = samples
            .iter()
            .map(|sample| self.series_of(sample))
            .collect();
        let kind = if let Some(&kind) = self.kind_of_series.get(&*series) {
            kind
        } else if self.kinds.len() < MAX_KINDS || series.len() == 1 {
            self.announce(samples, &series)
        } else {
            return None;
        };
        if let Some(latest) = self.kinds.get_mut(self.latest_kind) {
            latest.next = [kind, latest.next[0]];
        }
        self.latest_kind = kind;
        Some(kind)
    }

    fn announce(&mut self, samples: &[Sample], series: &[u32]) -> usize {
        let number = self.kinds.len();
        self.kinds.push(Kind {
            source: samples.first().map_or(SourceId(0), |sample| sample.source),
            metrics: samples.iter().map(|sample| sample.metric.clone()).collect(),
            series: series.into(),
            number: self.encoder.row_kind(series),
            next: [number; 2],
        });
        self.kind_of_series.insert(series.into(), number);
        number
    }

    /// The number of a series; a new one is announced.
    fn series_of(&mut self, sample: &Sample) -> u32 {
        let next = self.series.len() as u32;
        let key = (sample.source, sample.metric.clone());
        *self
            .series
            .entry(key)
            .or_insert_with_key(|(source, metric)| {
                self.encoder.series(*source, metric);
                if self.bands.len() < MAX_BANDS {
                    self.bands.push(BandBuilder::starting(sample.at));
                }
                next
            })
    }

    /// Writes what was encoded. The first error ends the recording.
    pub(crate) fn flush(&mut self) {
        self.batch_start = None;
        let encoded = self.encoder.end_batch();
        self.write(encoded);
    }

    fn write(&mut self, encoded: io::Result<()>) {
        let frames = self.encoder.frames();
        if let Some(log) = &mut self.log
            && (encoded.is_err() || !frames.is_empty())
        {
            let written = encoded.and_then(|()| log.append(frames));
            self.log_bytes = log.bytes;
            if let Err(error) = written {
                self.error = Some(Error::io("write", &log.path)(error));
                self.log = None;
            }
        }
        frames.clear();
    }

    /// Closes the log in good order.
    pub(crate) fn end(mut self, dropped_samples: u64) -> Recorded {
        let encoded = self.encoder.end_log();
        self.write(encoded);
        if let Some(log) = &mut self.log
            && let Err(error) = log.file.sync_all()
        {
            self.error = Some(Error::io("write", &log.path)(error));
        }
        let mut bands: Vec<_> = self
            .series
            .into_iter()
            .filter_map(|((source, metric), number)| {
                let band = self.bands.get(number as usize)?;
                Some((source, metric, band.build()))
            })
            .collect();
        bands.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Recorded {
            bands,
            dropped_samples,
            log_bytes: self.log_bytes,
            error: self.error,
        }
    }
}

/// What rows look like: readings of one source, of these metrics in this order.
struct Kind {
    source: SourceId,
    metrics: Box<[Metric]>,
    series: Box<[u32]>,
    /// What the log calls it.
    number: u32,
    /// Which came next of late, the latest that was new first.
    next: [usize; 2],
}

impl Kind {
    fn fits(&self, samples: &[Sample]) -> bool {
        // Whoever takes readings has its names in one place: mostly they need not even be compared.
        let same = |a: &Metric, b: &Metric| std::ptr::eq(a.as_str(), b.as_str()) || a == b;
        samples.first().map(|first| first.source) == Some(self.source)
            && samples.len() == self.metrics.len()
            && samples
                .iter()
                .zip(&*self.metrics)
                .all(|(s, m)| same(&s.metric, m))
    }
}
