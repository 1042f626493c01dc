//! The only writer of the log: a thread of its own behind a queue that never makes the sampler wait.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_model::{Band, Metric, Ns, Sample, SourceId};

use crate::band::BandBuilder;
use crate::encode::Encoder;
use crate::{Error, Record, RunDir};

/// Records that may be dropped are, once so many wait. At 200 samples a second that is a disk that hangs for 80 s; the
/// queue is then about 1 MiB.
const QUEUE: usize = 16_384;
/// The writer is woken early once so many wait.
const WAKE: usize = 2048;
/// Longest that a record waits for its batch. A second is promised; the rest is for the write.
const BATCH_EVERY: Duration = Duration::from_millis(900);
/// Longest time of samples in a batch, by their own clock: a recording that is replayed makes the batches it made.
const BATCH_SPAN_NS: u64 = 1_000_000_000;
/// The page cache survives `kill -9`, not a power cut: so often the disk is asked.
const SYNC_EVERY: Duration = Duration::from_secs(10);
/// Bands are kept for so many series at most (32 MiB if all were full); the log has all of them.
const MAX_BANDS: usize = 1024;

/// Takes records from many threads and writes them from one.
///
/// A full disk ends the recording, not the run: the log keeps what is whole, bands are still made, and
/// [`Recorded::error`] says what happened.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Recorded>>,
}

/// A way to give records to the recorder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RecorderHandle {
    shared: Arc<Shared>,
}

/// What became of a recording.
#[derive(Debug)]
pub struct Recorded {
    /// The min–max band of every series, sorted by source and metric.
    pub bands: Vec<(SourceId, Metric, Band)>,
    /// Samples and collections that were dropped because the writer could not keep up.
    pub dropped_samples: u64,
    /// Size of the log, in bytes.
    pub log_bytes: u64,
    /// Why recording stopped before the end, if it did.
    pub error: Option<Error>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    records: Vec<Record>,
    /// Dropped since the writer last looked.
    newly_dropped: u64,
    /// Dropped since the start.
    dropped: u64,
    closed: bool,
}

impl Shared {
    /// A panic while holding the lock cannot leave the queue half changed, so poison is no reason to stop recording.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) {
        let mut queue = self.lock();
        let waiting = queue.records.len();
        if queue.closed || (waiting >= QUEUE && record.may_be_dropped()) {
            queue.newly_dropped += 1;
            queue.dropped += 1;
            return;
        }
        queue.records.push(record);
        drop(queue);
        self.wake(waiting, waiting + 1);
    }

    fn push_row(&self, row: &mut Vec<Sample>) {
        let mut queue = self.lock();
        let waiting = queue.records.len();
        if queue.closed || waiting >= QUEUE {
            queue.newly_dropped += row.len() as u64;
            queue.dropped += row.len() as u64;
            row.clear();
            return;
        }
        queue.records.extend(row.drain(..).map(Record::Sample));
        let wait = queue.records.len();
        drop(queue);
        self.wake(waiting, wait);
    }

    /// The first record starts the writer's clock; after that it comes by itself.
    fn wake(&self, waited: usize, wait: usize) {
        if (waited == 0 && wait > 0) || (waited < WAKE && wait >= WAKE) {
            self.wake.notify_one();
        }
    }
}

impl RecorderHandle {
    /// Records a reading. Never waits for the disk; a reading too many is dropped and counted.
    pub fn sample(&self, sample: Sample) {
        self.shared.push(Record::Sample(sample));
    }

    /// Records the readings of a tick, all or none, and leaves `row` empty for the next: one lock instead of one each.
    pub fn row(&self, row: &mut Vec<Sample>) {
        self.shared.push_row(row);
    }

    /// Records anything. Never waits for the disk; only samples and collections can be dropped. After
    /// [`Recorder::close`] nothing is taken any more.
    pub fn record(&self, record: Record) {
        self.shared.push(record);
    }

    /// Records a collection of the runtime itself, and the heap it left as a reading where that is known.
    pub fn collection(
        &self,
        at: Ns,
        source: SourceId,
        kind: String,
        pause_ns: u64,
        used_after: Option<f64>,
    ) {
        self.record(Record::Collection {
            at,
            source,
            kind,
            pause_ns,
            before: None,
            after: used_after.map(|bytes| bytes as u64),
        });
        if let Some(value) = used_after {
            self.sample(Sample {
                at,
                source,
                metric: Metric::HEAP_USED_AFTER_GC,
                value,
            });
        }
    }

    /// Samples and collections dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl Recorder {
    /// Starts recording into the log of `dir`, or, where there is no directory to write, into memory: bands are made
    /// all the same. `started_unix_ns` is the wall clock at the run's start.
    ///
    /// # Errors
    /// If the log cannot be created, or there is no thread to be had.
    pub fn start(dir: Option<&RunDir>, started_unix_ns: u64) -> Result<Self, Error> {
        let path = dir.map(RunDir::log_path).unwrap_or_default();
        let log = match dir {
            Some(_) => Some(LogFile::create(&path)?),
            None => None,
        };
        Self::with_log(log, &path, started_unix_ns)
    }

    fn with_log(log: Option<LogFile>, path: &Path, started_unix_ns: u64) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        shared.push(Record::Clock {
            at: Ns(0),
            unix_ns: started_unix_ns,
        });
        let mut writer = Writer::try_new(log).map_err(Error::io("write", path))?;
        // The header at once: a log without one could not be told from a file that is no log.
        writer.flush();
        let for_writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("plimsoll-recorder".to_owned())
            .spawn(move || writer.run(&for_writer))
            .map_err(Error::io("start the recorder of", path))?;
        Ok(Self {
            shared,
            writer: Some(thread),
        })
    }

    /// A handle for whoever has something to record.
    pub fn handle(&self) -> RecorderHandle {
        RecorderHandle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Writes what waits, makes sure that it is on the disk, and ends the thread.
    pub fn close(mut self) -> Recorded {
        self.finish().unwrap_or_else(|| Recorded {
            bands: Vec::new(),
            dropped_samples: self.shared.lock().dropped,
            log_bytes: 0,
            error: Some(Error::RecorderLost),
        })
    }

    fn finish(&mut self) -> Option<Recorded> {
        let writer = self.writer.take()?;
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
        writer.join().ok()
    }
}

impl Drop for Recorder {
    /// A recorder that is not closed (an early return, a panic) still writes what it was given.
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

/// The file, and how much of it is whole.
#[derive(Debug)]
struct LogFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    synced: Instant,
}

impl LogFile {
    fn create(path: &Path) -> Result<Self, Error> {
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

/// What the thread works with.
struct Writer {
    encoder: Encoder,
    series: HashMap<(SourceId, Metric), usize>,
    /// The same by number, and which series came after each when it was last seen: a tick has the order of the one before,
    /// and a look is cheaper than a hash.
    keys: Vec<(SourceId, Metric)>,
    after: Vec<usize>,
    latest_index: usize,
    bands: Vec<BandBuilder>,
    log: Option<LogFile>,
    log_bytes: u64,
    error: Option<Error>,
    latest: Ns,
    /// When the first sample of the batch was taken.
    batch_start: Option<Ns>,
}

impl Writer {
    fn try_new(log: Option<LogFile>) -> io::Result<Self> {
        Ok(Self {
            encoder: Encoder::try_new()?,
            series: HashMap::new(),
            keys: Vec::new(),
            after: Vec::new(),
            latest_index: 0,
            bands: Vec::new(),
            log,
            log_bytes: 0,
            error: None,
            latest: Ns(0),
            batch_start: None,
        })
    }

    fn run(mut self, shared: &Shared) -> Recorded {
        let mut batch = Vec::new();
        loop {
            let (dropped, closed) = wait_for_batch(shared, &mut batch);
            for record in batch.drain(..) {
                self.take(record);
            }
            if dropped > 0 {
                self.take(Record::Drops {
                    at: self.latest,
                    count: dropped,
                });
            }
            self.flush();
            if closed {
                break;
            }
        }
        self.end();
        let dropped_samples = shared.lock().dropped;
        Recorded {
            bands: self.bands(),
            dropped_samples,
            log_bytes: self.log_bytes,
            error: self.error,
        }
    }

    fn take(&mut self, record: Record) {
        if let Some(at) = record.at() {
            self.latest = self.latest.max(at);
        }
        match record {
            Record::Sample(sample) => self.sample(sample),
            // Without a log there is nobody to read it.
            _ if self.log.is_none() => {}
            record => self.encoder.record(&record),
        }
        if self.encoder.is_full() {
            self.flush();
        }
    }

    fn sample(&mut self, sample: Sample) {
        let Sample {
            at,
            source,
            metric,
            value,
        } = sample;
        let start = *self.batch_start.get_or_insert(at);
        if at.0.saturating_sub(start.0) >= BATCH_SPAN_NS {
            self.flush();
            self.batch_start = Some(at);
        }
        let index = self.index_of((source, metric), at);
        if let Some(band) = self.bands.get_mut(index) {
            band.add(at, value);
        }
        if self.log.is_some() {
            self.encoder.sample(index, at, value);
        }
    }

    /// The number of a series; a new one is announced.
    fn index_of(&mut self, key: (SourceId, Metric), at: Ns) -> usize {
        let guess = self.after.get(self.latest_index).copied();
        if let Some(index) = guess.filter(|&index| self.keys.get(index) == Some(&key)) {
            self.latest_index = index;
            return index;
        }
        let next = self.series.len();
        let index = if let Some(&index) = self.series.get(&key) {
            index
        } else {
            self.encoder.series(key.0, &key.1);
            if next < MAX_BANDS {
                self.bands.push(BandBuilder::starting(at));
            }
            self.keys.push(key.clone());
            self.after.push(next);
            self.series.insert(key, next);
            next
        };
        if let Some(after) = self.after.get_mut(self.latest_index) {
            *after = index;
        }
        self.latest_index = index;
        index
    }

    /// Writes what was encoded. The first error ends the recording.
    fn flush(&mut self) {
        self.batch_start = None;
        let encoded = self.encoder.end_batch();
        self.write(encoded);
    }

    fn write(&mut self, encoded: io::Result<()>) {
        let frames = self.encoder.take();
        let Some(log) = &mut self.log else { return };
        if frames.is_empty() && encoded.is_ok() {
            return;
        }
        let written = encoded.and_then(|()| log.append(&frames));
        self.log_bytes = log.bytes;
        if let Err(error) = written {
            self.error = Some(Error::io("write", &log.path)(error));
            self.log = None;
        }
    }

    fn end(&mut self) {
        let encoded = self.encoder.end_log();
        self.write(encoded);
        if let Some(log) = &mut self.log
            && let Err(error) = log.file.sync_all()
        {
            self.error = Some(Error::io("write", &log.path)(error));
        }
    }

    fn bands(&mut self) -> Vec<(SourceId, Metric, Band)> {
        let mut bands: Vec<_> = std::mem::take(&mut self.series)
            .into_iter()
            .filter_map(|((source, metric), index)| {
                Some((source, metric, self.bands.get(index)?.build()))
            })
            .collect();
        bands.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        bands
    }
}

/// Waits for the first record, then for its batch to be due; takes all that waits.
fn wait_for_batch(shared: &Shared, batch: &mut Vec<Record>) -> (u64, bool) {
    let mut queue = shared.lock();
    while queue.records.is_empty() && queue.newly_dropped == 0 && !queue.closed {
        queue = shared
            .wake
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let due = Instant::now() + BATCH_EVERY;
    while queue.records.len() < WAKE && !queue.closed {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        queue = shared
            .wake
            .wait_timeout(queue, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    std::mem::swap(&mut queue.records, batch);
    (std::mem::take(&mut queue.newly_dropped), queue.closed)
}
