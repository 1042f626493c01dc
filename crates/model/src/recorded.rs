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
    /// The growth of the verdict as a line through the readings, to be drawn.
    pub trend: Option<Trend>,
    /// What was assumed about the file, a phrase each.
    pub assumptions: Vec<String>,
    /// What the user's criteria came to.
    pub rules: Vec<RuleResult>,
}

/// A straight line with the lines of its interval, all of them through one point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Where it begins, in seconds.
    pub from_s: f64,
    /// The point: seconds.
    pub at_s: f64,
    /// The point: level, in the unit of the metric.
    pub level: f64,
    /// Growth per second.
    pub rate: f64,
    /// 95 % interval of `rate`, where it is known per second.
    pub interval: Option<(f64, f64)>,
}
