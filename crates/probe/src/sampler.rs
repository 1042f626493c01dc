//! Level 0: what the kernel knows of a process, read again and again on a clock of its own.
//!
//! Three descriptors per process stay open; a tick is two reads and one `fstat` per process and allocates nothing.
//! `smaps_rollup` is not read: it holds the subject's memory lock for milliseconds per gigabyte.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use plimsoll_model::{Metric, Ns, Sample, SourceId};

use crate::process::Process;
use crate::procfs::{Memory, Stat};
use crate::{Sampler, os};

/// Samples memory, threads, descriptors, CPU time and page faults of the processes it watches.
///
/// A process that has ended gives no samples, never zeros; a single file that cannot be read leaves out its metrics.
#[derive(Debug)]
pub struct ProcessSampler {
    watched: Vec<Watched>,
    buffer: Vec<u8>,
    ticks_per_second: f64,
}

#[derive(Debug)]
struct Watched {
    source: SourceId,
    process: Process,
    status: Option<OwnedFd>,
    stat: Option<OwnedFd>,
    descriptors: Option<OwnedFd>,
}

impl Default for ProcessSampler {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessSampler {
    /// Watches nobody yet.
    pub fn new() -> Self {
        Self {
            watched: Vec::new(),
            buffer: vec![0; 4096],
            ticks_per_second: os::ticks_per_second(),
        }
    }

    /// From the next tick on, samples of `process` carry `source`. Watching a source again replaces its process.
    pub fn watch(&mut self, source: SourceId, process: Process) {
        self.unwatch(source);
        let mut watched = Watched {
            source,
            process,
            status: None,
            stat: None,
            descriptors: None,
        };
        watched.open();
        self.watched.push(watched);
    }

    /// Ends the samples of `source`.
    pub fn unwatch(&mut self, source: SourceId) {
        self.watched.retain(|watched| watched.source != source);
    }

    /// The sources watched.
    pub fn sources(&self) -> impl Iterator<Item = SourceId> + '_ {
        self.watched.iter().map(|watched| watched.source)
    }
}

impl Sampler for ProcessSampler {
    fn tick(&mut self, now: Ns, out: &mut dyn FnMut(Sample)) {
        let started = Instant::now();
        for watched in &mut self.watched {
            // Of a hundred processes the last is read milliseconds after the first; each says when it was.
            let at = Ns(now.0.saturating_add(Ns::from_duration(started.elapsed()).0));
            let source = watched.source;
            let mut emit = |metric: Metric, value: Option<f64>| {
                if let Some(value) = value {
                    out(Sample {
                        at,
                        source,
                        metric,
                        value,
                    });
                }
            };
            watched.read(&mut self.buffer, self.ticks_per_second, &mut emit);
        }
    }
}

impl Watched {
    /// Opens what is not open yet. Fails for a process that is gone or belongs to somebody else, or when we have no
    /// descriptors left, which may pass.
    fn open(&mut self) {
        if self.status.is_none() {
            self.status = self.process.open_file(c"status");
        }
        if self.stat.is_none() {
            self.stat = self.process.open_file(c"stat");
        }
        if self.descriptors.is_none() {
            self.descriptors = self.process.open_descriptors();
        }
    }

    fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        ticks_per_second: f64,
        emit: &mut dyn FnMut(Metric, Option<f64>),
    ) {
        if self.status.is_none() || self.stat.is_none() {
            self.open();
        }
        // A zombie has a status without memory: it has ended, whatever its other files still say.
        let Some(memory) = self
            .status
            .as_ref()
            .and_then(|file| Memory::parse(os::read_from_start(file.as_fd(), buffer).ok()?))
        else {
            return;
        };
        let number = |value: Option<u64>| value.map(|value| value as f64);
        emit(Metric::RSS, Some(memory.rss as f64));
        emit(Metric::RSS_ANON, number(memory.rss_anon));
        emit(Metric::RSS_FILE, number(memory.rss_file));
        emit(Metric::RSS_SHMEM, number(memory.rss_shmem));
        emit(Metric::RSS_PEAK, number(memory.rss_peak));
        emit(Metric::SWAP, number(memory.swap));
        if let Some(stat) = self
            .stat
            .as_ref()
            .and_then(|file| Stat::parse(os::read_from_start(file.as_fd(), buffer).ok()?))
            .filter(|stat| !stat.is_dead())
        {
            let ticks = stat.user_ticks + stat.system_ticks;
            emit(Metric::THREADS, Some(stat.threads as f64));
            emit(Metric::CPU_SECONDS, Some(ticks as f64 / ticks_per_second));
            emit(Metric::MINOR_FAULTS, Some(stat.minor_faults as f64));
            emit(Metric::MAJOR_FAULTS, Some(stat.major_faults as f64));
        }
        emit(Metric::DESCRIPTORS, number(self.count_descriptors()));
    }

    /// Open descriptors: since Linux 6.2 the size of the directory, before that the number of its entries.
    fn count_descriptors(&self) -> Option<u64> {
        let directory = self.descriptors.as_ref()?.as_fd();
        match os::size_of(directory) {
            Ok(count) if count > 0 => Some(count),
            _ => {
                let mut count = 0;
                os::each_entry(directory, |_| count += 1).ok()?;
                Some(count)
            }
        }
    }
}
