//! A series that was recorded before, with its verdict: what `plimsoll analyze` renders.

use crate::{Metric, RuleResult, Verdict};

/// One series of a file or a run, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Where it is from: the file, and the column or process if it holds several.
    pub name: String,
    /// The metric.
    pub metric: Metric,
    /// The verdict.
    pub verdict: Verdict,
    /// Seconds since the start of the recording, one per reading.
    pub t_s: Vec<f64>,
    /// The readings; NaN is a gap.
    pub value: Vec<f64>,
    /// What was assumed about the file, a phrase each.
    pub assumptions: Vec<String>,
    /// What the user's criteria came to.
    pub rules: Vec<RuleResult>,
}
