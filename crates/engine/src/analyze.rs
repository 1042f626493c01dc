//! `plimsoll analyze`: judges what was recorded elsewhere.

use std::path::Path;

use plimsoll_judge as judge;
use plimsoll_model::{Metric, RuleResult, Unit, Verdict};

use crate::error::Error;
use crate::rules::RuleRequest;

/// What is asked of a file.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Name of the metric; `None` = by the column's name.
    pub metric: Option<String>,
    /// Length the recording was planned to have, in seconds.
    pub planned_s: Option<f64>,
    /// The metric's limit in bytes.
    pub limit: Option<f64>,
    /// Growth rate below which nothing is called a leak.
    pub floor: Option<f64>,
    /// Judge on operations even if they advance evenly in time.
    pub on_operations: bool,
    /// The user's criteria.
    pub rules: Vec<RuleRequest>,
}

/// The answer for one series of a file.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The metric.
    pub metric: Metric,
    /// The verdict.
    pub verdict: Verdict,
    /// Seconds since the start of the recording.
    pub t_s: Vec<f64>,
    /// The readings.
    pub value: Vec<f64>,
    /// What was assumed about the file, a phrase each.
    pub assumptions: Vec<String>,
    /// What the user's criteria came to.
    pub rules: Vec<RuleResult>,
}

/// Judges the series of a CSV file with the columns `t_s,bytes[,ops][,load][,post_gc][,epoch]`.
///
/// # Errors
/// If the file cannot be read as such a table.
pub fn analyze(path: &Path, question: &Question) -> Result<Analysis, Error> {
    let table = plimsoll_store::csv::read(path)?;
    let metric = Metric::named(question.metric.clone().unwrap_or_else(|| "rss".to_owned()));
    let ops_known =
        table.operations.iter().filter(|o| o.is_finite()).count() * 10 > table.operations.len() * 9;
    let all_collected = !table.collected.is_empty() && table.collected.iter().all(|c| *c);
    let axis =
        if ops_known && (question.on_operations || (all_collected && table.value.len() <= 160)) {
            judge::Axis::Operations
        } else {
            judge::Axis::Time
        };
    let resident = matches!(metric.as_str(), "rss" | "rss_anon" | "anon");
    let series = judge::Series {
        metric: metric.as_str().to_owned(),
        quantity: if metric.unit() == Unit::Count {
            judge::Quantity::Count
        } else {
            judge::Quantity::Bytes
        },
        axis,
        t_ns: table.t_ns,
        value: table.value,
        ops: if ops_known {
            table.operations
        } else {
            Vec::new()
        },
        load: table.load,
        collected: table.collected,
        epoch: table.epoch,
        resolution: if resident { 4096.0 } else { 1.0 },
        ..judge::Series::default()
    };
    let terms = judge::Terms {
        floor: question.floor,
        planned_ns: question
            .planned_s
            .filter(|s| *s > 0.0)
            .map(|s| (s * 1e9) as u64),
        limit: question.limit.filter(|l| *l > 0.0),
        ..judge::Terms::default()
    };
    let verdict = judge::judge(&series, &terms);
    let start = series.t_ns.first().copied().unwrap_or(0);
    Ok(Analysis {
        metric,
        verdict: Verdict::from(&verdict),
        rules: question
            .rules
            .iter()
            .map(|r| r.on_series(&series))
            .collect(),
        t_s: series
            .t_ns
            .iter()
            .map(|t| t.saturating_sub(start) as f64 / 1e9)
            .collect(),
        value: series.value,
        assumptions: table.assumptions,
    })
}
