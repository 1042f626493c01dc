//! Verdicts on recorded series alone: text and flat JSON objects.

use plimsoll_model::{
    Outcome, Recorded, RuleResult, Unit, VERDICT_SCHEMA, Verdict, WorkChange, units,
};
use serde::Serialize;

use crate::page::{Page, Style, Tone};
use crate::plot;
use crate::rules;
use crate::to_json;
use crate::words::{self, Rates};

/// Renders series with their verdicts for a terminal: each with its plot, then what they say together.
pub fn analyze_text(series: &[Recorded], style: Style) -> String {
    let mut page = Page::new(style);
    for (i, one) in series.iter().enumerate() {
        if i > 0 {
            page.blank();
        }
        one_series(one, &mut page);
    }
    if series.len() > 1 {
        page.blank();
        let outcome = overall(series);
        let tone = match outcome {
            Outcome::Leak => Tone::Bad,
            Outcome::NoLeak => Tone::Good,
            Outcome::Inconclusive => Tone::Unsure,
        };
        let head = words::headline(outcome);
        let alike = series
            .iter()
            .filter(|s| s.verdict.outcome == outcome)
            .count();
        let what = format!("{alike} of {} series", series.len());
        page.flow(0, Some((head, tone, head.len() + 3)), &[what]);
    }
    page.finish()
}

/// What several series say together: leak beats inconclusive beats no leak.
fn overall(series: &[Recorded]) -> Outcome {
    let any = |outcome| series.iter().any(|s| s.verdict.outcome == outcome);
    if any(Outcome::Leak) {
        Outcome::Leak
    } else if any(Outcome::Inconclusive) || series.is_empty() {
        Outcome::Inconclusive
    } else {
        Outcome::NoLeak
    }
}

fn one_series(series: &Recorded, page: &mut Page) {
    let known = series.value.iter().filter(|v| v.is_finite()).count();
    let mut extent = words::several(known as u64, "reading");
    // Not last minus first: rows may stand in any order.
    let times = || series.t_s.iter().copied().filter(|t| t.is_finite());
    let (first, last) = (times().reduce(f64::min), times().reduce(f64::max));
    if let (Some(first), Some(last)) = (first, last) {
        extent = format!("{extent} in {}", units::duration(last - first));
    }
    let head = Some(("plimsoll analyze", Tone::Plain, 18));
    page.flow(0, head, &[series.name.clone(), extent]);
    page.blank();
    verdict_lines(&series.verdict, series.metric.unit(), page);
    let mut read: Vec<String> = series.assumptions.clone();
    if let Some(first) = read.first_mut() {
        first.insert_str(0, "read as: ");
        page.flow(7, None, &read);
    }
    plot::draw(series, page);
    rules::lines(&series.rules, page);
}

fn verdict_lines(verdict: &Verdict, unit: Unit, page: &mut Page) {
    let growth = verdict.growth.as_ref();
    // Without a growth the axis is not known; the words for time need none.
    let word = growth.filter(|g| g.per == "operation").map(|_| "operation");
    let rates = Rates::of(verdict, unit, word);
    let mut parts = Vec::new();
    let tone = match verdict.outcome {
        Outcome::Leak => {
            if let Some(growth) = growth {
                parts.push(rates.signed(growth.rate));
                parts.push(rates.interval(growth.rate, growth.interval));
            }
            Tone::Bad
        }
        Outcome::NoLeak => {
            parts.push(rates.bound(verdict));
            Tone::Good
        }
        Outcome::Inconclusive => {
            parts.push(verdict.reason.clone());
            Tone::Unsure
        }
    };
    parts.push(words::confidence(verdict));
    parts.push(words::shape(verdict));
    let head = words::headline(verdict.outcome);
    page.flow(0, Some((head, tone, head.len() + 3)), &parts);

    let mut below = |parts: &[String]| page.flow(7, None, parts);
    if verdict.outcome == Outcome::Leak {
        if let Some(time) = growth.and_then(|g| g.time_to_limit.as_ref()) {
            below(&[words::time_to_limit(time, "the limit", "operation")]);
        }
    } else {
        if let Some(growth) = growth {
            let floor = format!("floor {}", rates.plain(verdict.floor));
            below(&[format!("measured {}", rates.estimate(growth)), floor]);
        }
        if let Some(detectable) = verdict.detectable.filter(|d| d.is_finite()) {
            let least = rates.plain(detectable);
            below(&[format!(
                "smallest leak this series could have shown: {least}"
            )]);
        }
    }
    let more = match (verdict.more_operations, verdict.more_seconds) {
        (Some(operations), _) => Some(words::several(operations, "operation")),
        (_, Some(seconds)) if seconds.is_finite() => Some(units::duration(seconds)),
        _ => None,
    };
    if let Some(more) = more.filter(|_| verdict.outcome == Outcome::Inconclusive) {
        below(&[format!("to settle it: record {more} more")]);
    }
    if !verdict.repairs.is_empty() {
        below(&[format!("mended: {}", verdict.repairs.join(", "))]);
    }
}

/// The flat object of `plimsoll analyze --json`. Rates are bytes per second on both axes, so that series can be
/// compared; unknown is `null`.
#[derive(Debug, Serialize)]
struct Flat<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    schema: &'static str,
    tool_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    verdict: Outcome,
    pattern: &'a str,
    confidence: Option<f64>,
    rate_bytes_per_s: Option<f64>,
    rate_bytes_per_op: Option<f64>,
    rate_ci_low: Option<f64>,
    rate_ci_high: Option<f64>,
    tte_s: Option<f64>,
    tte_lo_s: Option<f64>,
    tte_hi_s: Option<f64>,
    onset_s: Option<f64>,
    detectable_bytes_per_s: Option<f64>,
    /// Growth of the second half over that of the first.
    acceleration: Option<f64>,
    /// Share of the increments that point the way of the growth.
    consistency: Option<f64>,
    /// Pearson's, of the readings with the operations done.
    correlation: Option<f64>,
    bets_p_value: Option<f64>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    work_change: Option<WorkChange>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slowdown: Option<WorkChange>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    repairs: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    assumptions: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [RuleResult],
}

/// Several series at once.
#[derive(Debug, Serialize)]
struct Several<'a> {
    schema: &'static str,
    tool_version: &'static str,
    verdict: Outcome,
    series: Vec<Flat<'a>>,
}

/// A request of the stream that could not be judged.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    id: &'a serde_json::Value,
    error: &'a str,
}

/// Renders series with their verdicts as JSON: one as one flat object `plimsoll.verdict/1`, several as a list of them.
pub fn verdict_json(series: &[Recorded]) -> String {
    let of = |one| Flat::recorded(one);
    match series {
        [one] => to_json(&Flat::recorded(one)),
        several => to_json(&Several {
            schema: VERDICT_SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            verdict: overall(several),
            series: several.iter().map(of).collect(),
        }),
    }
}

/// Renders the answer to one request of `plimsoll analyze --stream`: a line of JSON with the request's `id`.
pub fn answer_json(id: &serde_json::Value, verdict: Result<&Verdict, &str>) -> String {
    match verdict {
        Ok(verdict) => to_json(&Flat {
            id: Some(id),
            ..Flat::of(verdict)
        }),
        Err(error) => to_json(&Refused { id, error }),
    }
}

impl<'a> Flat<'a> {
    fn recorded(series: &'a Recorded) -> Self {
        Self {
            name: Some(&series.name),
            metric: Some(series.metric.as_str()),
            assumptions: &series.assumptions,
            rules: &series.rules,
            ..Self::of(&series.verdict)
        }
    }

    fn of(verdict: &'a Verdict) -> Self {
        let finite = |v: f64| v.is_finite().then_some(v);
        let growth = verdict.growth.as_ref();
        let per_time = growth.is_some_and(|g| g.per == "second");
        let per_second = growth.and_then(|g| if per_time { Some(g.rate) } else { g.per_second });
        let per_operation = growth.and_then(|g| {
            if per_time {
                g.per_operation
            } else {
                Some(g.rate)
            }
        });
        // Operations per second: what turns the unit of the axis into seconds. Growth of nothing per anything tells no ratio.
        let scale = match (per_time, per_second, per_operation) {
            (true, ..) => Some(1.0),
            (false, Some(s), Some(op)) if op != 0.0 => finite(s / op),
            _ => None,
        };
        let scaled = |v: f64| match scale {
            Some(scale) => finite(v * scale),
            None => (v == 0.0).then_some(0.0),
        };
        let time = growth.and_then(|g| g.time_to_limit);
        Self {
            id: None,
            name: None,
            metric: None,
            repairs: &verdict.repairs,
            assumptions: &[],
            rules: &[],
            schema: VERDICT_SCHEMA,
            tool_version: env!("CARGO_PKG_VERSION"),
            verdict: verdict.outcome,
            pattern: &verdict.pattern,
            confidence: finite(verdict.leak_probability),
            rate_bytes_per_s: per_second.and_then(finite),
            rate_bytes_per_op: per_operation.and_then(finite),
            // Its own interval knows how unsteady the operations were; the scaled one of the axis does not.
            rate_ci_low: growth.and_then(|g| match g.per_second_interval {
                Some(interval) => finite(interval.low),
                None => scaled(g.interval.low),
            }),
            rate_ci_high: growth.and_then(|g| match g.per_second_interval {
                Some(interval) => finite(interval.high),
                None => scaled(g.interval.high),
            }),
            tte_s: time.and_then(|t| finite(t.seconds)),
            tte_lo_s: time.and_then(|t| finite(t.low)),
            tte_hi_s: time.and_then(|t| t.high).and_then(finite),
            onset_s: growth.and_then(|g| g.onset_s).and_then(finite),
            detectable_bytes_per_s: verdict.detectable.and_then(scaled),
            acceleration: growth.and_then(|g| finite(g.acceleration)),
            consistency: growth.and_then(|g| finite(g.consistency)),
            correlation: growth.and_then(|g| g.correlation).and_then(finite),
            bets_p_value: verdict.bets_p_value.and_then(finite),
            work_change: verdict.work_change,
            slowdown: verdict.slowdown,
            reason: &verdict.reason,
        }
    }
}
