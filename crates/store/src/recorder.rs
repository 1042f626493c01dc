//! The only writer of the log: a thread of its own behind a queue that never makes the sampler wait.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plimsoll_model::{Band, Metric, Ns, Sample, SourceId};

use crate::writer::{LogFile, Writer};
use crate::{Error, Record, RunDir};

/// Records that may be dropped are, once so many wait. At 200 samples a second that is a disk that hangs for 80 s; the
/// queue is then about 1 MiB.
const QUEUE: usize = 16_384;
/// The writer is woken early once so many wait.
const WAKE: usize = 2048;
/// Longest that a record waits for its batch. A second is promised; the rest is for the write.
const BATCH_EVERY: Duration = Duration::from_millis(900);

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
    waiting: Waiting,
    /// Dropped since the writer last looked.
    newly_dropped: u64,
    /// Dropped since the start.
    dropped: u64,
    closed: bool,
}

/// What was given to the recorder, in order.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) samples: Vec<Sample>,
    /// Everything else, each with the number of samples before it.
    pub(crate) records: Vec<(usize, Record)>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.samples.len() + self.records.len()
    }
}

impl Shared {
    /// A panic while holding the lock cannot leave the queue half changed, so poison is no reason to stop recording.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) {
        let mut queue = self.lock();
        let waiting = queue.waiting.len();
        if queue.closed || (waiting >= QUEUE && record.may_be_dropped()) {
            queue.newly_dropped += 1;
            queue.dropped += 1;
            return;
        }
        match record {
            Record::Sample(sample) => queue.waiting.samples.push(sample),
            record => {
                let before = queue.waiting.samples.len();
                queue.waiting.records.push((before, record));
            }
        }
        drop(queue);
        self.wake(waiting, waiting + 1);
    }

    fn push_row(&self, row: &mut Vec<Sample>) {
        let mut queue = self.lock();
        let waiting = queue.waiting.len();
        if queue.closed || waiting >= QUEUE {
            queue.newly_dropped += row.len() as u64;
            queue.dropped += row.len() as u64;
            row.clear();
            return;
        }
        queue.waiting.samples.append(row);
        let wait = queue.waiting.len();
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
            .spawn(move || run(writer, &for_writer))
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

fn run(mut writer: Writer, shared: &Shared) -> Recorded {
    let mut batch = Waiting::default();
    loop {
        let (dropped, closed) = wait_for_batch(shared, &mut batch);
        writer.take(&mut batch);
        if dropped > 0 {
            writer.dropped(dropped);
        }
        writer.flush();
        if closed {
            break;
        }
    }
    let dropped = shared.lock().dropped;
    writer.end(dropped)
}

/// Waits for the first record, then for its batch to be due; takes all that waits.
fn wait_for_batch(shared: &Shared, batch: &mut Waiting) -> (u64, bool) {
    let mut queue = shared.lock();
    while queue.waiting.len() == 0 && queue.newly_dropped == 0 && !queue.closed {
        queue = shared
            .wake
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner);
    }
    let due = Instant::now() + BATCH_EVERY;
    while queue.waiting.len() < WAKE && !queue.closed {
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
    std::mem::swap(&mut queue.waiting, batch);
    (std::mem::take(&mut queue.newly_dropped), queue.closed)
}
