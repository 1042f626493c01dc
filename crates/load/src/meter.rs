//! Counts what a round did. Its size does not depend on the number of operations.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::trust::TlsFailure;
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
    Tls(TlsFailure),
    /// What answers speaks another protocol.
    NotHttp2,
    StreamReset,
    NotUpgraded,
    Other,
    /// An answer with a good status that is wrong all the same; index of what was expected.
    Check(u16),
    /// Something the request needs was never found; index as above.
    NoValue,
    Redirects,
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
            Self::Tls(failure) => return failure.fmt(f),
            Self::NotHttp2 => "no HTTP/2 is spoken there",
            Self::StreamReset => "stream reset",
            Self::NotUpgraded => "the WebSocket was not confirmed",
            Self::Other => "connection failed",
            Self::NoValue => "a variable has no value",
            Self::Redirects => "too many redirects",
            Self::Check(index) => return write!(f, "check {index}"),
        })
    }
}

impl Failure {
    /// Whether there cannot be an operation at all, however often it is tried.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Tls(failure) => failure.is_final(),
            Self::NotHttp2 => true,
            _ => false,
        }
    }
}

/// How far a round is, to be read from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    ended: AtomicU64,
    errors: AtomicU64,
    bytes_in: AtomicU64,
}

impl Progress {
    /// Operations that ended, and those of them that failed.
    pub fn ended(&self) -> (u64, u64) {
        let ended = self.ended.load(Ordering::Relaxed);
        (ended, self.errors.load(Ordering::Relaxed))
    }

    /// Bytes received.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }
}

/// Latencies: a histogram and the slowest, which a histogram only knows roughly.
#[derive(Debug)]
struct Times {
    histogram: Histogram<u64>,
    slowest: Duration,
}

impl Times {
    fn new(longest: Duration, digits: u8) -> Self {
        let highest = nanoseconds(longest.max(Duration::from_mins(1)));
        Self {
            histogram: Histogram::new_with_bounds(1_000, highest, digits)
                .expect("1 µs is at least 1, and 60 s at least twice that"),
            slowest: Duration::ZERO,
        }
    }

    fn reset(&mut self) {
        self.histogram.reset();
        self.slowest = Duration::ZERO;
    }

    fn record(&mut self, time: Duration) {
        self.histogram.saturating_record(nanoseconds(time));
        self.slowest = self.slowest.max(time);
    }

    fn latency(&self) -> Latency {
        let slowest = nanoseconds(self.slowest);
        let at = |q| self.histogram.value_at_quantile(q).min(slowest);
        Latency {
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p95_ns: at(0.95),
            p99_ns: at(0.99),
            p99_9_ns: at(0.999),
            max_ns: slowest,
        }
    }
}

/// What happened to one kind of operation.
#[derive(Debug)]
struct Kind {
    done: u64,
    errors: BTreeMap<Failure, u64>,
    bytes_in: u64,
    bytes_out: u64,
    /// Two significant digits: there may be a hundred kinds.
    times: Times,
}

/// How one operation went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) operation: usize,
    /// From when it was due to its last byte; `None` if no answer came.
    pub(crate) latency: Option<Duration>,
    /// From when it began.
    pub(crate) service: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) failure: Option<Failure>,
}

/// Counts one round, and is used again for the next.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    cpu_at_begin: Duration,
    /// One per kind of operation.
    kinds: Vec<Kind>,
    /// Of all kinds, three significant digits.
    times: Times,
    /// From the beginning of operations, where that is not when they were due.
    service: Option<Times>,
    lateness: Option<Times>,
    /// Texts of [`Failure::Check`].
    checks: Vec<String>,
    longest: Duration,
    progress: Arc<Progress>,
    ended: u64,
    failed: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) reconnects: u64,
    pub(crate) refreshed: u64,
}

impl Meter {
    /// For so many kinds of operation that take no longer than `longest`.
    pub(crate) fn new(longest: Duration, kinds: usize, checks: Vec<String>) -> Self {
        let kind = || Kind {
            done: 0,
            errors: BTreeMap::new(),
            bytes_in: 0,
            bytes_out: 0,
            // A single kind is the whole.
            times: Times::new(longest, if kinds == 1 { 0 } else { 2 }),
        };
        Self {
            begun: Instant::now(),
            cpu_at_begin: Duration::ZERO,
            kinds: (0..kinds).map(|_| kind()).collect(),
            times: Times::new(longest, 3),
            service: None,
            lateness: None,
            checks,
            longest,
            progress: Arc::default(),
            ended: 0,
            failed: 0,
            bytes_in: 0,
            bytes_out: 0,
            reconnects: 0,
            refreshed: 0,
        }
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Starts a round, in which operations are due at times of their own or not.
    pub(crate) fn begin(&mut self, open: bool) {
        self.begun = Instant::now();
        self.cpu_at_begin = thread_cpu();
        for kind in &mut self.kinds {
            kind.done = 0;
            kind.errors.clear();
            kind.bytes_in = 0;
            kind.bytes_out = 0;
            kind.times.reset();
        }
        self.times.reset();
        let times = || Times::new(self.longest, 3);
        (self.service, self.lateness) = (open.then(times), open.then(times));
        (self.ended, self.failed) = (0, 0);
        self.bytes_in = 0;
        self.bytes_out = 0;
        self.reconnects = 0;
        self.refreshed = 0;
        self.progress.ended.store(0, Ordering::Relaxed);
        self.progress.errors.store(0, Ordering::Relaxed);
        self.progress.bytes_in.store(0, Ordering::Relaxed);
    }

    /// An operation of an open loop began so much after it was due.
    pub(crate) fn late(&mut self, lateness: Duration) {
        if let Some(times) = &mut self.lateness {
            times.record(lateness);
        }
    }

    /// An operation ended.
    pub(crate) fn ended(&mut self, ended: Ended) {
        let several = self.kinds.len() > 1;
        let kind = &mut self.kinds[ended.operation];
        kind.bytes_in += ended.bytes_in;
        kind.bytes_out += ended.bytes_out;
        match ended.failure {
            None => kind.done += 1,
            Some(failure) => {
                *kind.errors.entry(failure).or_default() += 1;
                self.failed += 1;
            }
        }
        if let Some(latency) = ended.latency {
            if several {
                kind.times.record(latency);
            }
            self.times.record(latency);
            if let Some(service) = &mut self.service {
                service.record(ended.service);
            }
        }
        self.ended += 1;
        self.progress.ended.store(self.ended, Ordering::Relaxed);
        self.progress.errors.store(self.failed, Ordering::Relaxed);
        self.progress
            .bytes_in
            .store(self.bytes_in, Ordering::Relaxed);
    }

    /// Answers of this status that were not expected.
    pub(crate) fn unexpected(&self, status: u16) -> u64 {
        let of = |kind: &Kind| kind.errors.get(&Failure::Status(status)).copied();
        self.kinds.iter().filter_map(of).sum()
    }

    /// What a failure is called.
    pub(crate) fn text(&self, failure: Failure) -> String {
        match failure {
            Failure::Check(index) => self.checks.get(usize::from(index)).cloned(),
            _ => None,
        }
        .unwrap_or_else(|| failure.to_string())
    }

    /// What the round did so far.
    pub(crate) fn stats(&self, connections: u32) -> RoundStats {
        let latency = self.times.latency();
        let several = self.kinds.len() > 1;
        let per_operation: Vec<OpStats> = self
            .kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| OpStats {
                operation: OpId(u32::try_from(index).unwrap_or(u32::MAX)),
                done: kind.done,
                errors: kind.errors.values().sum(),
                errors_by_kind: kind
                    .errors
                    .iter()
                    .map(|(f, n)| (self.text(*f), *n))
                    .collect(),
                bytes_in: kind.bytes_in,
                bytes_out: kind.bytes_out,
                latency: if several {
                    kind.times.latency()
                } else {
                    latency
                },
            })
            .collect();
        let mut errors_by_kind: BTreeMap<String, u64> = BTreeMap::new();
        for (kind, n) in per_operation.iter().flat_map(|o| &o.errors_by_kind) {
            *errors_by_kind.entry(kind.clone()).or_default() += n;
        }
        RoundStats {
            done: per_operation.iter().map(|o| o.done).sum(),
            errors_by_kind,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            connections,
            reconnects: self.reconnects,
            cpu: thread_cpu().saturating_sub(self.cpu_at_begin),
            elapsed: self.begun.elapsed(),
            latency,
            service: self.service.as_ref().map_or(latency, Times::latency),
            lateness: self.lateness.as_ref().map(Times::latency),
            refreshed: self.refreshed,
            per_operation,
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

    fn ended(operation: usize, latency: Option<Duration>, failure: Option<Failure>) -> Ended {
        Ended {
            operation,
            latency,
            service: latency.unwrap_or_default() / 2,
            bytes_in: 10,
            bytes_out: 1,
            failure,
        }
    }

    #[test]
    fn a_round_is_forgotten_when_the_next_begins() {
        let mut meter = Meter::new(Duration::from_secs(30), 1, Vec::new());
        meter.begin(true);
        for millis in 1..=100 {
            meter.ended(ended(0, Some(Duration::from_millis(millis)), None));
        }
        let slow = Some(Duration::from_secs(40));
        meter.ended(ended(0, slow, Some(Failure::Status(500))));
        meter.ended(ended(0, None, Some(Failure::Timeout)));
        let stats = meter.stats(3);
        assert_eq!((stats.done, stats.errors(), stats.connections), (100, 2, 3));
        assert_eq!(stats.errors_by_kind["status 500"], 1);
        assert_eq!(stats.latency.max_ns, 40_000_000_000);
        for (seen, expected) in [(stats.latency.p50_ns, 51e6), (stats.service.p95_ns, 48e6)] {
            assert!((seen as f64 / expected - 1.0).abs() < 0.001, "{seen}");
        }
        assert_eq!(meter.progress().ended(), (102, 2));

        meter.begin(false);
        let stats = meter.stats(0);
        assert_eq!((stats.done, stats.errors()), (0, 0));
        assert_eq!((stats.latency, stats.lateness), (Latency::default(), None));
    }

    #[test]
    fn kinds_are_counted_apart() {
        let mut meter = Meter::new(Duration::ZERO, 2, vec!["expected /ok".to_owned()]);
        meter.begin(false);
        meter.ended(ended(0, Some(Duration::from_millis(10)), None));
        meter.ended(ended(
            1,
            Some(Duration::from_millis(30)),
            Some(Failure::Check(0)),
        ));
        let stats = meter.stats(1);
        let [a, b] = &stats.per_operation[..] else {
            panic!("two kinds")
        };
        assert_eq!((a.done, a.errors, a.bytes_in, a.bytes_out), (1, 0, 10, 1));
        assert_eq!(
            (b.done, b.errors, b.errors_by_kind["expected /ok"]),
            (0, 1, 1)
        );
        assert!(a.latency.max_ns < b.latency.p50_ns);
    }

    #[test]
    fn cpu_time_is_that_of_the_thread() {
        let mut meter = Meter::new(Duration::ZERO, 1, Vec::new());
        meter.begin(false);
        let mut x = 1_u64;
        while meter.stats(0).cpu < Duration::from_millis(2) {
            x = x.wrapping_mul(6_364_136_223_846_793_005);
        }
        std::hint::black_box(x);
        assert!(meter.stats(0).elapsed >= Duration::from_millis(2));
    }
}
