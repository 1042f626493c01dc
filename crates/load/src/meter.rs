//! Counts what a round did. Its size does not depend on the number of operations.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use plimsoll_model::{Latency, OpId, OpStats, RoundStats};
use rustix::time::{ClockId, clock_gettime};

/// What went wrong with one operation. As text, the kind of error by which rounds count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    Status(u16),
    Timeout,
    Reset,
    ClosedBefore,
    ClosedInside,
    Malformed,
    HeadTooLong,
    Refused,
    Unreachable,
    NoLocalPort,
    Connect,
    Other,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "status {status}"),
            Self::Timeout => "timeout",
            Self::Reset => "connection reset",
            Self::ClosedBefore => "closed before the answer",
            Self::ClosedInside => "closed inside the answer",
            Self::Malformed => "malformed response",
            Self::HeadTooLong => "response head over 64 KiB",
            Self::Refused => "connection refused",
            Self::Unreachable => "host unreachable",
            Self::NoLocalPort => "no local port left",
            Self::Connect => "cannot connect",
            Self::Other => "connection failed",
        })
    }
}

/// Counts one round, and is used again for the next.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    cpu_at_begin: Duration,
    done: u64,
    errors: BTreeMap<Failure, u64>,
    /// Latency of answered operations in nanoseconds, three significant digits.
    latency: Histogram<u64>,
    slowest: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) reconnects: u64,
}

impl Meter {
    /// For operations that take no longer than `longest`.
    pub(crate) fn new(longest: Duration) -> Self {
        let highest = nanoseconds(longest.max(Duration::from_mins(1)));
        Self {
            begun: Instant::now(),
            cpu_at_begin: Duration::ZERO,
            done: 0,
            errors: BTreeMap::new(),
            latency: Histogram::new_with_bounds(1_000, highest, 3)
                .expect("1 µs is at least 1, and 60 s at least twice that"),
            slowest: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            reconnects: 0,
        }
    }

    /// Starts a round.
    pub(crate) fn begin(&mut self) {
        self.begun = Instant::now();
        self.cpu_at_begin = thread_cpu();
        self.done = 0;
        self.errors.clear();
        self.latency.reset();
        self.slowest = Duration::ZERO;
        self.bytes_in = 0;
        self.bytes_out = 0;
        self.reconnects = 0;
    }

    /// An operation was answered after `latency`, rightly or not.
    pub(crate) fn answered(&mut self, latency: Duration, failure: Option<Failure>) {
        self.latency.saturating_record(nanoseconds(latency));
        self.slowest = self.slowest.max(latency);
        match failure {
            None => self.done += 1,
            Some(failure) => self.failed(failure),
        }
    }

    /// An operation failed.
    pub(crate) fn failed(&mut self, failure: Failure) {
        *self.errors.entry(failure).or_default() += 1;
    }

    /// What the round did so far.
    pub(crate) fn stats(&self, connections: u32) -> RoundStats {
        let percentile = |q| {
            self.latency
                .value_at_quantile(q)
                .min(nanoseconds(self.slowest))
        };
        RoundStats {
            done: self.done,
            errors_by_kind: self
                .errors
                .iter()
                .map(|(f, n)| (f.to_string(), *n))
                .collect(),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            connections,
            reconnects: self.reconnects,
            cpu: thread_cpu().saturating_sub(self.cpu_at_begin),
            elapsed: self.begun.elapsed(),
            latency: Latency {
                p50_ns: percentile(0.5),
                p90_ns: percentile(0.9),
                p99_ns: percentile(0.99),
                max_ns: nanoseconds(self.slowest),
            },
            per_operation: vec![OpStats {
                operation: OpId(0),
                done: self.done,
                errors: self.errors.values().sum(),
            }],
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// CPU time of the calling thread, which is all a driver uses.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_forgotten_when_the_next_begins() {
        let mut meter = Meter::new(Duration::from_secs(30));
        meter.begin();
        for millis in 1..=100 {
            meter.answered(Duration::from_millis(millis), None);
        }
        meter.answered(Duration::from_secs(40), Some(Failure::Status(500)));
        meter.failed(Failure::Timeout);
        let stats = meter.stats(3);
        assert_eq!((stats.done, stats.errors(), stats.connections), (100, 2, 3));
        assert_eq!(stats.errors_by_kind["status 500"], 1);
        assert_eq!(stats.latency.max_ns, 40_000_000_000);
        let p50 = stats.latency.p50_ns as f64;
        assert!((p50 / 51e6 - 1.0).abs() < 0.001, "{p50}");

        meter.begin();
        let stats = meter.stats(0);
        assert_eq!((stats.done, stats.errors()), (0, 0));
        assert_eq!(stats.latency, Latency::default());
    }

    #[test]
    fn cpu_time_is_that_of_the_thread() {
        let mut meter = Meter::new(Duration::ZERO);
        meter.begin();
        let mut x = 1_u64;
        while meter.stats(0).cpu < Duration::from_millis(2) {
            x = x.wrapping_mul(6_364_136_223_846_793_005);
        }
        std::hint::black_box(x);
        assert!(meter.stats(0).elapsed >= Duration::from_millis(2));
    }
}
