//! What is reported of a stretch of raw samples: rate and interval, pattern, onset, plateau, time to limit.

use crate::models::{Candidate, Class, Form};
use crate::passive::{Evidence, Units};
use crate::repair::Readings;
use crate::series::{Axis, Terms};
use crate::stats::{deviation, mean, median, pearson, quantile, theil_sen};
use crate::trend::Trend;
use crate::verdict::{Growth, Interval, Onset, Pattern, Plateau, TimeToLimit};

/// What the rate may be: the union of what the leak models within reach of the best one say, of the straight line with
/// correlated errors, and of the slopes of the later parts of the record. A heap that is still being sized, or an
/// allocator that works in chunks, bends a leak without changing it; an interval from the noise alone would be far too
/// short (0.65 instead of 0.95 on the public corpus).
pub(crate) fn interval(
    candidates: &[Candidate],
    best: Option<&Candidate>,
    (growth, full): (f64, f64),
    (u, m): (&[f64], &[f64]),
    error: f64,
    trend: Option<&Trend>,
    loaded: bool,
) -> Interval {
    let mut low = vec![growth - error];
    let mut high = vec![growth + error];
    let mut include = |rate: f64, error: f64| {
        low.push(rate - error);
        high.push(rate + error);
    };
    if !loaded {
        include(full, error);
    }
    if let Some(best) = best {
        for c in candidates {
            if c.class == Class::Leak && c.pattern == Pattern::Linear && c.bic - best.bic < 4.0 {
                include(c.beta[1], error);
            }
        }
        if best.pattern == Pattern::Linear && !loaded {
            if let Some(i) = trend.map(Trend::interval) {
                include(i.low, 0.0);
                include(i.high, 0.0);
            }
            let start = stretch_of_leak(u, Some(best));
            let left = u.len() - start;
            for part in [left / 4, left / 2] {
                if left - part >= 6 {
                    include(theil_sen(&u[start + part..], &m[start + part..]), error);
                }
            }
            for part in [left * 3 / 4, left / 2] {
                if part >= 6 {
                    include(
                        theil_sen(&u[start..start + part], &m[start..start + part]),
                        error,
                    );
                }
            }
        }
    }
    Interval {
        low: low.into_iter().fold(f64::INFINITY, f64::min),
        high: high.into_iter().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// Growth per stretch as the best leak model sees it.
pub(crate) fn growth_of(best: Option<&Candidate>, full: f64, tail: f64, loaded: bool) -> f64 {
    match best {
        Some(c) => match c.form {
            Form::WarmLinear | Form::FillLinear | Form::Onset | Form::WarmOnset => c.beta[1],
            Form::Exponential | Form::Quadratic => tail,
            Form::Steps => c.beta.iter().sum(),
            _ if loaded => c.beta[1],
            _ => full,
        },
        None => full,
    }
}

/// Where the growth of the best leak model starts to be straight.
pub(crate) fn stretch_of_leak(u: &[f64], best: Option<&Candidate>) -> usize {
    let corner = best.map_or(0.0, |c| match c.form {
        Form::WarmLinear => 2.0 * c.shape[0],
        Form::FillLinear | Form::Onset | Form::WarmOnset => c.shape[0],
        Form::Exponential | Form::Quadratic => 0.5,
        _ => 0.0,
    });
    let latest = u.len().saturating_sub((u.len() / 4).max(4));
    u.partition_point(|at| *at < corner).min(latest)
}

/// The shape of the series, as a leak or as a healthy one.
pub(crate) fn pattern(e: &Evidence<'_>, leak: bool) -> Pattern {
    if leak {
        let Some(best) = e.contest.best_leak else {
            return Pattern::Linear;
        };
        if best.form == Form::Steps {
            let at: Vec<f64> = best.steps.iter().map(|&i| e.u[i]).collect();
            let gaps: Vec<f64> = at.windows(2).map(|w| w[1] - w[0]).collect();
            let irregular = deviation(&best.beta) > 0.55 * mean(&best.beta)
                || (gaps.len() >= 2 && deviation(&gaps) > 0.6 * mean(&gaps));
            return if irregular {
                Pattern::Sporadic
            } else {
                Pattern::Stepped
            };
        }
        let length = e.blocks.x.last().copied().unwrap_or(0.0);
        if best.pattern == Pattern::Linear && e.cyclic && e.blocks.period > length / 25.0 {
            return Pattern::Cyclic;
        }
        return best.pattern;
    }
    match e.contest.best_healthy.map_or(Pattern::Flat, |c| c.pattern) {
        Pattern::Flat if e.loaded => Pattern::Load,
        Pattern::Flat if e.cyclic => Pattern::Cyclic,
        other => other,
    }
}

/// Everything the verdict says about the growth.
pub(crate) fn estimate(
    e: &Evidence<'_>,
    r: &Readings,
    terms: &Terms,
    leak: bool,
    units: &Units,
) -> Growth {
    let last = e.m.len() - 1;
    let best_leak = e.contest.best_leak;
    let onset = best_leak
        .filter(|c| leak && matches!(c.form, Form::Onset | Form::WarmOnset))
        .map(|c| {
            let block = e.u.partition_point(|at| *at < c.shape[0]).min(last);
            let operations = e
                .blocks
                .first
                .get(block)
                .and_then(|&i| r.ops.get(i).copied());
            Onset {
                t_ns: block_start(e, r, block),
                operations,
            }
        });
    let healthy = e
        .contest
        .best_healthy
        .filter(|c| !leak && c.pattern == Pattern::Plateau);
    let plateau = healthy.map(|c| {
        let reached = match c.form {
            Form::Saturating => 3.0 * c.shape[0],
            Form::TwoPhases => 3.0 * c.shape[1],
            Form::Clamp | Form::WarmClamp => c.shape[0],
            Form::Steps => c.steps.last().map_or(0.0, |&i| e.u[i]),
            _ => 0.5,
        };
        let block = e.u.partition_point(|at| *at < reached).min(last);
        Plateau {
            level: median(&e.m[block..]),
            t_ns: block_start(e, r, block),
        }
    });
    let limit = terms.limit.filter(|l| leak && l.is_finite());
    let increments: Vec<f64> = e.m.windows(2).map(|w| w[1] - w[0]).collect();
    let same_way = increments.iter().filter(|d| **d * e.growth > 0.0).count();
    let per = |growth: f64, unit: f64| growth / unit;
    let scaled = |unit: f64| Interval {
        low: per(e.interval.low, unit),
        high: per(e.interval.high, unit),
    };
    Growth {
        rate: per(e.growth, units.of_axis),
        interval: scaled(units.of_axis),
        per: units.axis,
        per_second: Some(per(e.growth, units.elapsed)),
        per_second_interval: Some(scaled(units.elapsed)),
        per_operation: units.operations.map(|d| per(e.growth, d)),
        onset,
        plateau,
        time_to_limit: limit.map(|limit| time_to_limit(e, terms, limit, units)),
        // The octave ratio of a line is 2.
        acceleration: (0.5 * e.octave).clamp(-100.0, 100.0),
        consistency: same_way as f64 / increments.len().max(1) as f64,
        correlation: pearson(&r.ops, &r.value),
    }
}

/// When a block began, in nanoseconds of the run.
fn block_start(e: &Evidence<'_>, r: &Readings, block: usize) -> u64 {
    let seconds = e.blocks.first.get(block).map_or(0.0, |&i| r.seconds[i]);
    r.start_ns.saturating_add((seconds * 1e9) as u64)
}

/// Until the tops of the cycles, not their bottoms, reach the limit; exponential growth by its own formula.
fn time_to_limit(e: &Evidence<'_>, terms: &Terms, limit: f64, units: &Units) -> TimeToLimit {
    let above: Vec<f64> = e
        .blocks
        .high
        .iter()
        .zip(&e.blocks.low)
        .map(|(h, l)| h - l)
        .collect();
    let left = (limit - e.m[e.m.len() - 1] - quantile(&above, 0.75)).max(0.0);
    let speed = terms.expected_rate.filter(|v| v.is_finite() && *v > 0.0);
    // Seconds for one stretch of growth, at the asked operation rate if there is one.
    let stretch = match (speed, units.operations) {
        (Some(v), Some(d)) => d / v,
        _ => units.elapsed,
    };
    let seconds = |growth: f64| match e.contest.best_leak {
        _ if growth <= 0.0 => f64::INFINITY,
        // y grows as amplitude x exp(rate (u - 1)): solve for u beyond 1.
        Some(c) if c.form == Form::Exponential => {
            let amplitude = c.beta[1] * growth / e.growth.max(1e-300);
            (left / amplitude.max(1e-300)).ln_1p() / c.shape[0] * stretch
        }
        _ => left / growth * stretch,
    };
    TimeToLimit {
        limit,
        seconds: seconds(e.growth),
        interval: Interval {
            low: seconds(e.interval.high),
            high: seconds(e.interval.low),
        },
        at_rate: match units.axis {
            Axis::Operations => speed.or(units.operations.map(|d| d / units.elapsed)),
            Axis::Time => speed.filter(|_| units.operations.is_some()),
        },
    }
}
