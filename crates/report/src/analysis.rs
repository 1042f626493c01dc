//! A verdict on a recorded series alone: text and the flat JSON object.

use plimsoll_model::{Outcome, RuleResult, Unit, VERDICT_SCHEMA, Verdict, units};
use serde::Serialize;

use crate::page::{Page, Style, Tone};
use crate::spark::sparkline;
use crate::to_json;
use crate::words::{self, Rates};

/// Renders the verdict on a series of bytes for a terminal. `t_s` are seconds since its start, `value` the readings
/// (NaN = gap); both have the same length.
pub fn analyze_text(
    name: &str,
    verdict: &Verdict,
    t_s: &[f64],
    value: &[f64],
    style: Style,
) -> String {
    let mut page = Page::new(style);
    let known = value.iter().filter(|v| v.is_finite()).count();
    let mut extent = words::several(known as u64, "reading");
    if let (Some(first), Some(last)) = (t_s.first(), t_s.last()) {
        extent = format!("{extent} in {}", units::duration(last - first));
    }
    let head = Some(("plimsoll analyze", Tone::Plain, 18));
    page.flow(0, head, &[name.to_owned(), extent]);
    page.blank();
    verdict_lines(verdict, &mut page);
    plot(value, &mut page);
    page.finish()
}

fn verdict_lines(verdict: &Verdict, page: &mut Page) {
    let growth = verdict.growth.as_ref();
    // Without a growth the axis is not known; the words for time need none.
    let word = growth.filter(|g| g.per == "operation").map(|_| "operation");
    let rates = Rates::of(verdict, Unit::Bytes, word);
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

fn plot(value: &[f64], page: &mut Page) {
    let style = page.style();
    let cells = usize::from(style.width.clamp(40, 100)) - 12;
    let line = sparkline(value, cells, style.ascii);
    let known = || value.iter().copied().filter(|v| v.is_finite());
    if line.is_empty() {
        return;
    }
    let low = known().fold(f64::INFINITY, f64::min);
    let high = known().fold(f64::NEG_INFINITY, f64::max);
    page.blank();
    page.flow(7, None, &[line]);
    let (low, high) = (units::bytes(low), units::bytes(high));
    page.flow(
        7,
        None,
        &[format!(
            "floor of the readings; lowest {low}, highest {high}"
        )],
    );
}

/// The flat object of `plimsoll analyze --json`. Rates are bytes per second on both axes, so that series can be
/// compared; unknown is `null`.
#[derive(Debug, Serialize)]
struct Flat<'a> {
    schema: &'static str,
    tool_version: &'static str,
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
    reason: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [RuleResult],
}

/// Renders a verdict as one flat JSON object, `plimsoll.verdict/1`.
pub fn verdict_json(verdict: &Verdict) -> String {
    verdict_json_with_rules(verdict, &[])
}

/// The same, with `rules` where any were asked for.
pub fn verdict_json_with_rules(verdict: &Verdict, rules: &[RuleResult]) -> String {
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
    to_json(&Flat {
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
        reason: &verdict.reason,
        rules,
    })
}
