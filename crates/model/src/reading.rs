//! What a monitor tells at each interval: every process of the subject, and their sum.

use std::collections::BTreeMap;

use crate::{Metric, Ns, ProcessId, Role};

/// All that was read at one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When, since the run's start.
    pub at: Ns,
    /// When, by the wall clock, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// Each living process, oldest first.
    pub rows: Vec<ReadingRow>,
    /// What the control group of the subject says, by metric.
    pub group: BTreeMap<Metric, f64>,
}

/// One process at one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingRow {
    /// Which process.
    pub process: ProcessId,
    /// What it does.
    pub role: Role,
    /// Its program, in a word or two.
    pub name: String,
    /// What was read, by metric; what could not be read is absent.
    pub values: BTreeMap<Metric, f64>,
    /// CPU time over the time since the interval before, 1 for a whole core.
    pub cpu_ratio: Option<f64>,
}

impl Reading {
    /// A metric summed over the processes that tell it; `None` if none does. Shared memory counts for each that maps it.
    pub fn sum(&self, metric: &Metric) -> Option<f64> {
        let mut values = self.rows.iter().filter_map(|row| row.values.get(metric));
        let first = *values.next()?;
        Some(values.fold(first, |sum, value| sum + value))
    }

    /// CPU time of all processes together, 1 for a whole core.
    pub fn cpu_ratio(&self) -> Option<f64> {
        let mut values = self.rows.iter().filter_map(|row| row.cpu_ratio);
        let first = values.next()?;
        Some(values.fold(first, |sum, value| sum + value))
    }
}
