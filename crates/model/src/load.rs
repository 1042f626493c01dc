//! What makes operations happen: rounds, and what came of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Index of a kind of operation within its driver.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct OpId(pub u32);

/// A kind of operation: an endpoint, a step, a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationKind {
    /// Its index.
    pub id: OpId,
    /// Name for people, e.g. `GET /api/items`.
    pub name: String,
}

/// How operations of a round are issued.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Mode {
    /// So many operations in flight at once; the next starts when one ends.
    Closed {
        /// Operations in flight.
        concurrency: u32,
    },
    /// One operation is due every `1/rate` seconds, whatever became of those before. What cannot begin in time because
    /// all connections are busy begins later, and its latency counts from when it was due.
    Open {
        /// Operations per second.
        rate: f64,
        /// Connections to begin with.
        concurrency: u32,
        /// Operations in flight at most: where all connections are busy, more are opened. At least `concurrency`.
        most: u32,
    },
}

impl Mode {
    /// Operations in flight, of an open loop those to begin with.
    pub const fn concurrency(self) -> u32 {
        match self {
            Self::Closed { concurrency } | Self::Open { concurrency, .. } => concurrency,
        }
    }
}

/// One round to drive.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundSpec {
    /// Exactly so many operations.
    pub operations: u64,
    /// How they are issued.
    pub mode: Mode,
    /// Only this kind of operation, and before it each time those that it needs.
    pub only: Option<OpId>,
    /// Whether every operation gets an input of its own (`{{seq}}`).
    pub distinct: bool,
    /// Over so long the load rises from nothing to the whole.
    pub ramp: Duration,
    /// After so long no further operation begins, whatever `operations` says.
    pub duration: Option<Duration>,
}

impl RoundSpec {
    /// A round of `operations` operations of all kinds, each with an input of its own.
    pub const fn new(operations: u64, mode: Mode) -> Self {
        Self {
            operations,
            mode,
            only: None,
            distinct: true,
            ramp: Duration::ZERO,
            duration: None,
        }
    }
}

/// What a round did. `done + errors == operations`, and nothing was retried.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RoundStats {
    /// Operations that were answered as expected.
    pub done: u64,
    /// Operations that were not, by kind of error (`status 500`, `timeout`, `connection reset`).
    pub errors_by_kind: BTreeMap<String, u64>,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections open at the end of the round.
    pub connections: u32,
    /// Connections that had to be opened again during the round.
    pub reconnects: u64,
    /// CPU time the driver itself used.
    pub cpu: Duration,
    /// Wall time of the round.
    pub elapsed: Duration,
    /// Latency of the operations, from when they were due to the last byte of the answer.
    pub latency: Latency,
    /// The same from when they began: in an open loop the wait for a free connection is not in it.
    pub service: Latency,
    /// How late operations of an open loop began; `None` in a closed loop, where nothing is due.
    pub lateness: Option<Latency>,
    /// Answers 401 after which a virtual user set itself up again; these operations count as done.
    pub refreshed: u64,
    /// The same by kind of operation.
    pub per_operation: Vec<OpStats>,
    /// Operations by our port of the connection that carried them, of those still open at the end: it tells which process of
    /// the server answered.
    pub per_port: Vec<(u16, u64)>,
}

impl RoundStats {
    /// Operations that failed, of all kinds.
    pub fn errors(&self) -> u64 {
        self.errors_by_kind.values().sum()
    }
}

/// Latency percentiles of a round, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 95th percentile.
    #[serde(default)]
    pub p95_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    #[serde(default)]
    pub p99_9_ns: u64,
    /// Slowest.
    pub max_ns: u64,
}

/// What a round did to one kind of operation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OpStats {
    /// Which kind.
    pub operation: OpId,
    /// Answered as expected.
    pub done: u64,
    /// Not answered as expected.
    pub errors: u64,
    /// The errors by kind.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// Bytes of its answers.
    pub bytes_in: u64,
    /// Bytes of its requests.
    pub bytes_out: u64,
    /// Latency, as of the whole round.
    pub latency: Latency,
}

/// How quiet the driver got after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quiet {
    /// Connections still open.
    pub connections: u32,
    /// Whether nothing was in flight before the deadline.
    pub settled: bool,
}
