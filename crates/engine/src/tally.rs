//! Operations that are not ours: counted by lines of the subject's output, or by a counter that it serves.

use std::time::{Duration, Instant};

use plimsoll_load::{Asked, Counter, LineCount, Wire};
use plimsoll_probe::Lines;

/// So long output may be on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// What counts them.
pub(crate) enum Tally {
    /// Lines of the subject's output.
    Log(Lines, LineCount),
    /// A page of the subject.
    Counter(Counter, Wire),
}

impl Tally {
    /// How a driver asks for what was counted so far.
    pub(crate) fn into_asked(self) -> Asked {
        match self {
            Self::Counter(counter, wire) => Box::new(move || counter.read(&wire)),
            Self::Log(lines, mut count) => Box::new(move || {
                while let Ok(line) = lines.recv_timeout(ON_ITS_WAY) {
                    count.take(&line.text);
                }
                Ok(count.operations())
            }),
        }
    }

    /// Takes what was printed until now, or asks the counter: when there were how many operations. Waits for output until
    /// `until`.
    pub(crate) fn news(&mut self, until: Instant) -> Vec<(Instant, f64)> {
        match self {
            Self::Log(lines, count) => {
                let mut news = Vec::new();
                let mut line = lines.recv_deadline(until).ok();
                while let Some(read) = line {
                    if count.take(&read.text) {
                        news.push((read.at, count.operations()));
                    }
                    line = lines.try_recv().ok();
                }
                news
            }
            Self::Counter(counter, wire) => {
                let answer = counter.read(wire).ok();
                answer
                    .map(|operations| (Instant::now(), operations))
                    .into_iter()
                    .collect()
            }
        }
    }
}
