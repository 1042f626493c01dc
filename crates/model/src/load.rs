//! What makes operations happen: rounds, and what came of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Index of a kind of operation within its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
}

/// One round to drive.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundSpec {
    /// Exactly so many operations.
    pub operations: u64,
    /// How they are issued.
    pub mode: Mode,
    /// Only this kind of operation.
    pub only: Option<OpId>,
    /// Whether every operation gets an input of its own (`{{seq}}`).
    pub distinct: bool,
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
    /// Latency of the operations.
    pub latency: Latency,
    /// The same by kind of operation.
    pub per_operation: Vec<OpStats>,
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
    /// 99th percentile.
    pub p99_ns: u64,
    /// Slowest.
    pub max_ns: u64,
}

/// What a round did to one kind of operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OpStats {
    /// Which kind.
    pub operation: OpId,
    /// Answered as expected.
    pub done: u64,
    /// Not answered as expected.
    pub errors: u64,
}

/// How quiet the driver got after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quiet {
    /// Connections still open.
    pub connections: u32,
    /// Whether nothing was in flight before the deadline.
    pub settled: bool,
}
