//! `plimsoll analyze --stream`: one request per line in, one verdict per line out. See `docs/analyze-stream.md`.

use plimsoll_judge as judge;
use plimsoll_model::{Metric, Unit, Verdict};
use serde::Deserialize;
use serde_json::Value;

/// The answer to one line.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The request's `id`, whatever it was; null where the line has none.
    pub id: Value,
    /// The verdict, or what is wrong with the request.
    pub verdict: Result<Verdict, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    id: Value,
    series: Series,
    #[serde(default)]
    terms: Terms,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    metric: Option<String>,
    #[serde(default)]
    axis: Axis,
    quantity: Option<Quantity>,
    t_s: Vec<f64>,
    /// `null` is a gap.
    value: Vec<Option<f64>>,
    #[serde(default)]
    ops: Vec<Option<f64>>,
    #[serde(default)]
    load: Vec<Option<f64>>,
    #[serde(default)]
    response_bytes_per_op: Vec<Option<f64>>,
    #[serde(default)]
    operation_ns: Vec<Option<f64>>,
    #[serde(default)]
    error_share: Vec<Option<f64>>,
    #[serde(default)]
    collected: Collected,
    #[serde(default)]
    epoch: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Axis {
    #[serde(alias = "operation", alias = "ops")]
    Op,
    #[default]
    Time,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Quantity {
    Bytes,
    Count,
}

/// Whether readings follow a forced collection: all of them, or each by itself.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Collected {
    All(bool),
    Each(Vec<bool>),
}

impl Default for Collected {
    fn default() -> Self {
        Self::All(false)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Terms {
    floor: Option<f64>,
    limit: Option<f64>,
    planned_s: Option<f64>,
    alpha: Option<f64>,
    look: Option<u32>,
    looks: Option<u32>,
    warm_up_operations: u64,
    settled: Option<bool>,
    idle_growth_per_op: f64,
}

/// Answers one line of the stream. Never fails: what is wrong with a request is its answer.
pub fn answer(line: &str) -> Answer {
    match serde_json::from_str::<Request>(line) {
        Ok(request) => Answer {
            verdict: judged(request.series, &request.terms),
            id: request.id,
        },
        Err(error) => {
            // A request that is wrong inside may still say which one it is.
            let id = serde_json::from_str::<Value>(line)
                .ok()
                .and_then(|mut v| v.get_mut("id").map(Value::take))
                .unwrap_or_default();
            Answer {
                id,
                verdict: Err(error.to_string()),
            }
        }
    }
}

fn judged(series: Series, terms: &Terms) -> Result<Verdict, String> {
    let n = series.t_s.len();
    let lengths = [
        ("value", series.value.len(), true),
        ("ops", series.ops.len(), false),
        ("load", series.load.len(), false),
        (
            "response_bytes_per_op",
            series.response_bytes_per_op.len(),
            false,
        ),
        ("operation_ns", series.operation_ns.len(), false),
        ("error_share", series.error_share.len(), false),
        ("epoch", series.epoch.len(), false),
        (
            "collected",
            match &series.collected {
                Collected::All(_) => 0,
                Collected::Each(each) => each.len(),
            },
            false,
        ),
    ];
    for (name, length, required) in lengths {
        if length != n && (required || length != 0) {
            return Err(format!(
                "`series.{name}` holds {length} entries, `series.t_s` {n}"
            ));
        }
    }
    if matches!(series.axis, Axis::Op) && series.ops.is_empty() {
        return Err("`series.axis` is `op`, but `series.ops` is missing".to_owned());
    }
    let start = series.t_s.iter().copied().fold(f64::INFINITY, f64::min);
    let unknown = |column: Vec<Option<f64>>| -> Vec<f64> {
        column.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect()
    };
    let metric = Metric::named(series.metric.unwrap_or_else(|| "live_bytes".to_owned()));
    let counts = match series.quantity {
        Some(quantity) => matches!(quantity, Quantity::Count),
        None => metric.unit() == Unit::Count,
    };
    let resident = matches!(metric.as_str(), "rss" | "rss_anon" | "anon");
    let series = judge::Series {
        metric: metric.as_str().to_owned(),
        quantity: if counts {
            judge::Quantity::Count
        } else {
            judge::Quantity::Bytes
        },
        axis: match series.axis {
            Axis::Op => judge::Axis::Operations,
            Axis::Time => judge::Axis::Time,
        },
        t_ns: series
            .t_s
            .iter()
            .map(|t| ((t - start) * 1e9) as u64)
            .collect(),
        value: unknown(series.value),
        ops: unknown(series.ops),
        load: unknown(series.load),
        response_bytes_per_op: unknown(series.response_bytes_per_op),
        operation_ns: unknown(series.operation_ns),
        error_share: unknown(series.error_share),
        collected: match series.collected {
            Collected::All(all) => vec![all; n],
            Collected::Each(each) => each,
        },
        epoch: series.epoch,
        resolution: if resident { 4096.0 } else { 1.0 },
        ..judge::Series::default()
    };
    let usual = judge::Terms::default();
    let terms = judge::Terms {
        alpha: terms.alpha.unwrap_or(usual.alpha),
        floor: terms.floor,
        planned_ns: terms
            .planned_s
            .filter(|s| *s > 0.0)
            .map(|s| (s * 1e9) as u64),
        look: terms.look.unwrap_or(usual.look),
        looks: terms.looks.unwrap_or(usual.looks),
        limit: terms.limit.filter(|l| *l > 0.0),
        warm_up_operations: terms.warm_up_operations,
        settled: terms.settled.unwrap_or(usual.settled),
        idle_growth_per_op: terms.idle_growth_per_op,
        ..usual
    };
    Ok(Verdict::from(&judge::judge(&series, &terms)))
}

#[cfg(test)]
mod tests {
    use plimsoll_model::Outcome;

    use super::*;

    #[test]
    fn a_request_gets_the_verdict_of_its_series() {
        let rounds = 0..12;
        let numbers = |f: &dyn Fn(u32) -> f64| -> Vec<f64> { rounds.clone().map(f).collect() };
        let line = serde_json::json!({
            "id": {"any": 7},
            "series": {
                "metric": "live_bytes", "axis": "op", "collected": true,
                "t_s": numbers(&|i| f64::from(i) * 0.5),
                "value": numbers(&|i| 21e6 + 64e3 * f64::from(i)),
                "ops": numbers(&|i| 1e3 * f64::from(i)),
            },
            "terms": {"limit": 1e9},
        });
        let answer = answer(&line.to_string());
        assert_eq!(answer.id["any"], 7);
        let verdict = answer.verdict.unwrap();
        assert_eq!(verdict.outcome, Outcome::Leak);
        let growth = verdict.growth.unwrap();
        assert!((growth.rate - 64.0).abs() < 0.1 && growth.time_to_limit.is_some());
    }

    #[test]
    fn work_that_grows_is_told_from_a_leak() {
        let numbers = |f: &dyn Fn(u32) -> f64| -> Vec<f64> { (0..12).map(f).collect() };
        let line = serde_json::json!({"series": {
            "axis": "op", "collected": true,
            "t_s": numbers(&f64::from),
            "value": numbers(&|i| 21e6 + 64e3 * f64::from(i)),
            "ops": numbers(&|i| 1e3 * f64::from(i)),
            "response_bytes_per_op": numbers(&|i| 500.0 + 90.0 * f64::from(i)),
        }});
        let verdict = answer(&line.to_string()).verdict.unwrap();
        assert_eq!(verdict.outcome, Outcome::Inconclusive);
        assert!(verdict.work_change.is_some(), "{verdict:?}");
    }

    #[test]
    fn a_wrong_request_says_what_is_wrong_and_which_it_is() {
        for (line, id, part) in [
            ("{", Value::Null, "EOF"),
            ("7", Value::Null, "invalid type"),
            (r#"{"id":1}"#, 1.into(), "missing field `series`"),
            (
                r#"{"id":"a","series":{"t_s":[1],"value":[]}}"#,
                "a".into(),
                "`series.value` holds 0 entries, `series.t_s` 1",
            ),
            (
                r#"{"id":2,"series":{"t_s":[1],"value":[1],"axis":"op"}}"#,
                2.into(),
                "`series.ops` is missing",
            ),
            (
                r#"{"id":3,"series":{"t_s":[],"value":[]},"terms":{"flor":1}}"#,
                3.into(),
                "unknown field `flor`",
            ),
        ] {
            let answer = answer(line);
            assert_eq!(answer.id, id, "{line}");
            let error = answer.verdict.unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn little_and_odd_data_is_inconclusive() {
        for line in [
            r#"{"series":{"t_s":[],"value":[]}}"#,
            r#"{"series":{"t_s":[5],"value":[null]}}"#,
            r#"{"series":{"t_s":[5,1e300,-1e300],"value":[1e308,-1e308,0]},"terms":{"planned_s":1e300,"floor":-1}}"#,
        ] {
            let verdict = answer(line).verdict.unwrap();
            assert_eq!(verdict.outcome, Outcome::Inconclusive, "{line}");
        }
    }
}
