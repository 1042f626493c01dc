//! The level-0 sampler on its own thread: ten readings a second of every process it is told to watch, more for a moment
//! after a mark, straight into the recorder. It never waits for a runtime, and a late tick is recorded at the time it really happened.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use plimsoll_model::{Metric, Ns, Sample, SourceId};
use plimsoll_probe::{ClockWatch, Process, ProcessSampler, Sampler};
use plimsoll_store::{Record, RecorderHandle};

use crate::clock::gaps;
use crate::pace::{Due, Pace};

/// Time between regular readings.
const PERIOD: Duration = Duration::from_millis(100);

/// Readings the engine has not looked at yet; beyond that the oldest interest is dropped, the log keeps all.
const TAP_CAPACITY: usize = 8192;

enum Command {
    Watch(SourceId, Process),
    Mark,
    Stop,
}

/// Handle on the sampler thread; stops it when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    commands: Sender<Command>,
    resident: Receiver<Sample>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(epoch: Instant, recorder: RecorderHandle) -> Self {
        let (commands, received) = unbounded();
        let (tap, resident) = bounded(TAP_CAPACITY);
        let thread = thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || run(epoch, &received, &recorder, &tap))
            .ok();
        Self {
            commands,
            resident,
            thread,
        }
    }

    /// Watches one more process.
    pub(crate) fn watch(&self, source: SourceId, process: Process) {
        let _ = self.commands.send(Command::Watch(source, process));
    }

    /// Something happened that is worth a closer look: for a moment readings are taken more often. The log has them; what is
    /// judged is not read at a pace of its own making.
    pub(crate) fn mark(&self) {
        let _ = self.commands.send(Command::Mark);
    }

    /// Readings of resident anonymous memory since the last call.
    pub(crate) fn resident(&self) -> impl Iterator<Item = Sample> + '_ {
        self.resident.try_iter()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    epoch: Instant,
    commands: &Receiver<Command>,
    recorder: &RecorderHandle,
    tap: &Sender<Sample>,
) {
    let mut sampler = ProcessSampler::new();
    let mut clock = ClockWatch::start();
    let mut pace = Pace::every(PERIOD, Instant::now());
    let mut looked = Instant::now();
    let mut readings = Vec::new();
    loop {
        let (next, due) = pace.next();
        match commands.recv_deadline(next) {
            Ok(Command::Watch(source, process)) => {
                sampler.watch(source, process);
                continue;
            }
            Ok(Command::Mark) => {
                pace.mark(Instant::now());
                continue;
            }
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let now = Instant::now();
        let at = Ns::from_duration(now.duration_since(epoch));
        let change = clock.look(next.saturating_duration_since(looked));
        looked = now;
        if let Some(unix_ns) = change.unix_ns {
            recorder.record(Record::Clock { at, unix_ns });
        }
        for gap in gaps(&change) {
            let (what, why) = (gap.what, gap.why);
            recorder.record(Record::Gap { at, what, why });
        }
        sampler.tick(at, &mut |sample| {
            if due == Due::Regular && sample.metric == Metric::RSS_ANON {
                let _ = tap.try_send(sample.clone());
            }
            readings.push(sample);
        });
        recorder.row(&mut readings);
        pace.taken(due, Instant::now(), now.elapsed());
    }
}
