//! Judges raw samples against time: any metric of any process, without rounds and mostly without collections.
//!
//! Here noise is large and has a memory (collector cycles, allocator chunks, batch jobs), so the record is reduced to
//! its lower envelope, models compete with an effective number of readings, and several guards look at the tail alone,
//! where a leak must still be growing and a healthy program must not.

use crate::envelope::{self, Blocks, correlation, roughness};
use crate::models::{self, Candidate, Class, Contest, Form, Noise};
use crate::repair::Readings;
use crate::rounds::look_alpha;
use crate::series::{Axis, Repair, Series, Terms};
use crate::stats::{deviation, fair_coin_upper, mean, median, quantile, theil_sen};
use crate::steps;
use crate::trend::Trend;
use crate::verdict::{
    Bound, Growth, Guarantee, Interval, More, Onset, Outcome, Pattern, Plateau, Reason,
    TimeToLimit, Verdict,
};

/// Fewest samples judged.
pub(crate) const FEWEST: usize = 12;
/// A leak must reach this probability.
const CERTAIN: f64 = 0.98;

/// Whether the metric counts resident pages.
fn is_resident(series: &Series) -> bool {
    series.resolution >= 4096.0
        || ["rss", "anon", "pss", "resident"]
            .iter()
            .any(|w| series.metric.to_ascii_lowercase().contains(w))
}

/// The stretches between restarts, at least [`FEWEST`] readings long: by epoch where the recorder knew, else by a
/// collapse of resident memory to its start-up level.
fn segments(readings: &Readings, resident: bool) -> Vec<(usize, usize)> {
    let n = readings.value.len();
    let mut cuts = vec![0];
    if readings.epoch.is_empty() {
        if resident && n > 60 {
            cuts.extend(collapses(&readings.value));
            if cuts.len() > 4 {
                cuts.truncate(1);
            }
        }
    } else {
        cuts.extend((1..n).filter(|&i| readings.epoch[i] != readings.epoch[i - 1]));
    }
    cuts.push(n);
    cuts.windows(2)
        .map(|w| (w[0], w[1]))
        .filter(|(a, b)| b - a >= FEWEST)
        .collect()
}

/// Where memory falls by more than a quarter, to near its level at the start, and stays there.
fn collapses(y: &[f64]) -> Vec<usize> {
    let n = y.len();
    let width = 3.max(n / 100);
    let stride = (width / 10).max(1);
    let start = median(&y[..width]);
    let mut found = Vec::new();
    let mut i = width;
    while i + width < n {
        let lowest = y[i.saturating_sub(5 * width)..i]
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        // The median of what follows decides; the cheap test first.
        if y[i] < 0.72 * lowest || y[i + width / 2] < 0.72 * lowest {
            let after = median(&y[i..i + width]);
            if after < 0.72 * lowest
                && after < 1.25 * start
                && after < 0.8 * median(&y[i - width..i])
            {
                found.push(i);
                i += 5 * width;
                continue;
            }
        }
        i += stride;
    }
    found
}

/// The axis growth is measured against: operations where their rate varies by more than a quarter, else time. Scaled
/// to the length of the record in seconds, so that rates per operation and per second differ by one factor.
fn axis(series: &Series, r: &Readings) -> (Vec<f64>, bool) {
    let length = r.seconds.last().copied().unwrap_or(0.0);
    let done = match r.ops.as_slice() {
        [first, .., last] => last - first,
        _ => 0.0,
    };
    if done <= 0.0 || done.is_nan() {
        return (r.seconds.clone(), false);
    }
    let wanted = series.axis == Axis::Operations || {
        let pieces: Vec<f64> = (0..13)
            .map(|k| at(&r.seconds, &r.ops, length * f64::from(k) / 12.0))
            .collect();
        let steps: Vec<f64> = pieces.windows(2).map(|w| w[1] - w[0]).collect();
        deviation(&steps) > 0.25 * mean(&steps)
    };
    if !wanted {
        return (r.seconds.clone(), false);
    }
    let scale = if length > 0.0 { length } else { 1.0 };
    // Readings without an operation between them stay in order by a hair.
    let hair = scale * 1e-12;
    let x = r
        .ops
        .iter()
        .enumerate()
        .map(|(i, o)| (o - r.ops[0]) / done * scale + i as f64 * hair)
        .collect();
    (x, true)
}

/// Linear interpolation of a column at a time.
fn at(seconds: &[f64], column: &[f64], when: f64) -> f64 {
    let i = seconds.partition_point(|s| *s <= when);
    if i == 0 {
        return column[0];
    }
    if i >= seconds.len() {
        return column[column.len() - 1];
    }
    let span = seconds[i] - seconds[i - 1];
    let part = if span > 0.0 {
        (when - seconds[i - 1]) / span
    } else {
        1.0
    };
    column[i - 1] + part * (column[i] - column[i - 1])
}

/// Load as covariates: its level, and its running maximum (pools that grow with the load and never shrink).
fn covariates(load: &[f64]) -> Vec<Vec<f64>> {
    let most = load.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if load.is_empty() || deviation(load) <= 0.05 * mean(load).abs().max(1.0) || most <= 0.0 {
        return Vec::new();
    }
    let mut top = f64::NEG_INFINITY;
    let running = load.iter().map(|l| {
        top = top.max(*l);
        top / most
    });
    let running: Vec<f64> = running.collect();
    vec![load.iter().map(|l| l / most).collect(), running]
}

/// What was measured of one stretch, before any decision.
struct Evidence<'a> {
    /// Progress of each block, 0 to 1 of the stretch.
    u: Vec<f64>,
    /// The envelope that was judged.
    m: Vec<f64>,
    blocks: Blocks,
    contest: Contest<'a>,
    /// Whether load explains part of the series.
    loaded: bool,
    level: f64,
    /// Noise of one block around the best model.
    sigma: f64,
    effective: f64,
    /// Theil–Sen growth per stretch, over everything and over the second half.
    full: f64,
    tail: f64,
    /// Standard error of `tail`.
    tail_error: f64,
    /// Growth of the best leak model per stretch.
    growth: f64,
    interval: Interval,
    p_value: f64,
    signs: Signs,
    octave: f64,
    undecided: bool,
    cyclic: bool,
}

/// The increments of the last 70 % of the record in twelve pieces.
struct Signs {
    /// Chance that so many of eleven increments rise by luck.
    p_value: f64,
    /// Growth of the later half of the pieces over that of the earlier.
    ratio: f64,
}

/// Growth that matters, per stretch: what it takes to call a leak, and what may remain for no leak.
struct Scale {
    floor: f64,
    /// Bound for a stretch that no leak model fits well.
    wide: f64,
    /// Bound where the models disagree.
    tight: f64,
}

/// Judges the longest stretch without a restart.
pub(crate) fn judge(series: &Series, all: &Readings, terms: &Terms) -> Verdict {
    let resident = is_resident(series);
    let stretches = segments(all, resident);
    let guarantee = Guarantee {
        alpha: look_alpha(terms),
        warm_up_operations: terms.warm_up_operations,
        looks: terms.looks.max(1),
        effective_readings: all.value.len() as f64,
    };
    let longest = stretches
        .iter()
        .copied()
        .max_by_key(|(a, b)| (b - a, usize::MAX - a));
    let Some((a, b)) = longest else {
        return crate::rounds::too_few(series, all, terms, guarantee, FEWEST);
    };
    let mut r = all.slice(a, b);
    if b - a < all.value.len() {
        r.repairs.push(Repair::Restarts {
            segments: stretches.len(),
            kept: b - a,
        });
    }
    if r.seconds.last().is_none_or(|s| *s <= 0.0) {
        return crate::rounds::too_few(series, &r, terms, guarantee, FEWEST);
    }
    let (x, by_operations) = axis(series, &r);
    let length = x[x.len() - 1] - x[0];
    let mut blocks = envelope::best_blocks(&x, &r.value, &r.load);
    // The first 3 % never count: whatever starts, starts with allocations.
    let burnt = match blocks.x.len() {
        21.. => blocks
            .x
            .iter()
            .take_while(|v| (**v - x[0]) / length < 0.03)
            .count(),
        9..=20 => 1,
        _ => 0,
    };
    blocks.skip(burnt);
    let k = blocks.x.len();
    if k < 5 {
        return crate::rounds::too_few(series, &r, terms, guarantee, FEWEST);
    }
    let lowest = roughness(&blocks.low) <= roughness(&blocks.middle) * 1.1 || blocks.cycles >= 4;
    let m = if lowest {
        blocks.low.clone()
    } else {
        blocks.middle.clone()
    };
    let u: Vec<f64> = blocks.x.iter().map(|v| (v - x[0]) / length).collect();
    let level = median(&m);
    let noise = Noise {
        floor: noise_floor(series, resident, level, r.collected),
        heavy_tails: false,
    };

    let load = covariates(&blocks.load);
    let mut candidates = models::compete(&u, &m, &load, noise);
    let effective = effective_readings(&candidates, k);
    if load.is_empty() {
        candidates.extend(steps::candidates(&u, &m, noise, 0.0));
    }
    models::rescore(&mut candidates, k, effective);
    let contest = models::weigh(&candidates);
    let evidence = measure(
        &r,
        &x,
        u,
        m,
        blocks,
        contest,
        &candidates,
        noise,
        effective,
        !load.is_empty(),
    );
    decide(series, &r, terms, &evidence, by_operations, guarantee)
}

/// Variance of a block that is always there: page size or counter step, and 20 ppm of a level that was not collected.
fn noise_floor(series: &Series, resident: bool, level: f64, collected: bool) -> f64 {
    let step = match series.quantity {
        crate::Quantity::Count => 0.1,
        crate::Quantity::Bytes if resident => 4096.0 / 12_f64.sqrt(),
        crate::Quantity::Bytes => 8.0,
    };
    let drift = if collected { 0.0 } else { 2e-5 * level };
    step * step + drift * drift
}

/// Blocks corrected for the correlation around the richest model; the correlation itself is corrected for its bias in
/// short series (Kendall 1954).
fn effective_readings(candidates: &[Candidate], k: usize) -> f64 {
    let n = k as f64;
    let rho = candidates
        .iter()
        .min_by(|a, b| a.variance.total_cmp(&b.variance))
        .filter(|_| k > 6)
        .map_or(0.0, |c| correlation(&c.residuals));
    let rho = (rho + (1.0 + 3.0 * rho) / n).clamp(0.0, 0.97);
    (n * (1.0 - rho) / (1.0 + rho)).max(3.0)
}

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where all that is known comes together"
)]
fn measure<'a>(
    r: &Readings,
    x: &[f64],
    u: Vec<f64>,
    m: Vec<f64>,
    blocks: Blocks,
    contest: Contest<'a>,
    candidates: &[Candidate],
    noise: Noise,
    effective: f64,
    loaded: bool,
) -> Evidence<'a> {
    let k = u.len();
    let variance = candidates
        .iter()
        .map(|c| c.variance)
        .fold(f64::INFINITY, f64::min)
        .max(noise.floor);
    let sigma = variance.sqrt();
    let full = theil_sen(&u, &m);
    let half = u.partition_point(|at| *at < u[0] + 0.5 * (u[k - 1] - u[0]));
    let (tail, tail_error) = tail_growth(&u[half..], &m[half..], noise.floor);
    let growth = growth_of(contest.best_leak, full, tail, loaded);
    let signs = signs(&u, &m, loaded);
    let over = excess(r, x, &blocks);
    let level = median(&m);
    let undecided = contest.undecided > 2.0 * contest.leak
        && contest.undecided > 0.3
        && !grows_on_after_a_drop(&u, &m, full, contest.leak_share());
    let stretch = stretch_of_leak(&u, contest.best_leak);
    let trend = Trend::of(&u[stretch..], &m[stretch..], noise.floor);
    let error = 2.2 * sigma * (12.0 / effective).sqrt();
    let interval = interval(candidates, contest.best_leak, (growth, full), (&u, &m), error, trend.as_ref(), loaded);
    let slope_p = trend.as_ref().map_or(1.0, Trend::p_value);
    Evidence {
        octave: octave(&u, &m),
        cyclic: blocks.cycles >= 3 && over > 0.03 * level,
        p_value: (2.0 * slope_p.min(signs.p_value)).min(1.0),
        u,
        m,
        blocks,
        contest,
        loaded,
        level,
        sigma,
        effective,
        full,
        tail,
        tail_error,
        growth,
        interval,
        signs,
        undecided,
    }
}

/// Growth of the second half with its standard error, corrected for first-order correlation.
fn tail_growth(u: &[f64], m: &[f64], noise_floor: f64) -> (f64, f64) {
    let k = u.len();
    if k < 4 {
        return (0.0, f64::INFINITY);
    }
    let n = k as f64;
    let slope = theil_sen(u, m);
    let base = median(m) - slope * median(u);
    let off: Vec<f64> = u
        .iter()
        .zip(m)
        .map(|(at, v)| v - base - slope * at)
        .collect();
    let rss: f64 = off.iter().map(|v| v * v).sum();
    let rho = (correlation(&off) + 1.0 / n).clamp(0.0, 0.9);
    let error = (rss / (n - 2.0) + noise_floor).sqrt()
        * (12.0 * (1.0 + rho) / (1.0 - rho) / n).sqrt()
        / (u[k - 1] - u[0]).max(0.05);
    (slope, error)
}

/// Growth per stretch as the best leak model sees it.
fn growth_of(best: Option<&Candidate>, full: f64, tail: f64, loaded: bool) -> f64 {
    match best {
        Some(c) => match c.form {
            Form::WarmLinear | Form::Onset | Form::WarmOnset => c.beta[1],
            Form::Exponential | Form::Quadratic => tail,
            Form::Steps => c.beta.iter().sum(),
            _ if loaded => c.beta[1],
            _ => full,
        },
        None => full,
    }
}

/// Where the growth of the best leak model starts to be straight.
fn stretch_of_leak(u: &[f64], best: Option<&Candidate>) -> usize {
    let corner = best.map_or(0.0, |c| match c.form {
        Form::WarmLinear => 2.0 * c.shape[0],
        Form::Onset | Form::WarmOnset => c.shape[0],
        Form::Exponential | Form::Quadratic => 0.5,
        _ => 0.0,
    });
    let latest = u.len().saturating_sub((u.len() / 4).max(4));
    u.partition_point(|at| *at < corner).min(latest)
}

/// A late major collection makes a leak look capped: then what follows the last big drop must still grow.
fn grows_on_after_a_drop(u: &[f64], m: &[f64], full: f64, share: f64) -> bool {
    let k = m.len();
    if k < 16 || full <= 0.0 || share <= 0.9 {
        return false;
    }
    let steps: Vec<f64> = m.windows(2).map(|w| w[1] - w[0]).collect();
    let middle = median(&steps);
    let usual = median(&steps.iter().map(|s| (s - middle).abs()).collect::<Vec<_>>()).max(1.0);
    let drop = steps
        .iter()
        .rposition(|s| *s < middle - 5.0 * usual)
        .map(|i| i + 1)
        .filter(|i| *i * 2 > k);
    let from = drop.unwrap_or(k * 85 / 100);
    k - from >= 3 && theil_sen(&u[from..], &m[from..]) > 0.5 * full
}

fn signs(u: &[f64], m: &[f64], loaded: bool) -> Signs {
    let from = u.partition_point(|at| *at < 0.3);
    let late = &m[from..];
    if late.len() < 14 || loaded {
        return Signs {
            p_value: 1.0,
            ratio: 0.0,
        };
    }
    let n = late.len();
    let piece: Vec<f64> = (0..12)
        .map(|i| mean(&late[i * n / 12..(i + 1) * n / 12]))
        .collect();
    let rises = piece.windows(2).filter(|w| w[1] > w[0]).count();
    let (earlier, later) = (piece[6] - piece[0], piece[11] - piece[5]);
    let ratio = if earlier > 0.0 {
        later / earlier
    } else if later > 0.0 {
        9.0
    } else {
        0.0
    };
    Signs {
        p_value: fair_coin_upper(rises, 11),
        ratio,
    }
}

/// Growth of the last half over that of the quarter before it: 2 for a line, 1.4 for a square root, 1 for a
/// logarithm, 0 for saturation.
fn octave(u: &[f64], m: &[f64]) -> f64 {
    let around = |low: f64, high: f64| {
        let within: Vec<f64> = u
            .iter()
            .zip(m)
            .filter(|(at, _)| (low..=high).contains(*at))
            .map(|(_, v)| *v)
            .collect();
        if within.is_empty() {
            f64::NAN
        } else {
            median(&within)
        }
    };
    let (quarter, half, end) = (around(0.2, 0.3), around(0.45, 0.55), around(0.9, 1.01));
    if half > quarter {
        (end - half) / (half - quarter)
    } else if end > half {
        9.0
    } else {
        0.0
    }
}

/// How far the raw samples rise above the lower envelope (95 % quantile).
fn excess(r: &Readings, x: &[f64], blocks: &Blocks) -> f64 {
    let above: Vec<f64> = x
        .iter()
        .zip(&r.value)
        .map(|(when, v)| v - at(&blocks.x, &blocks.low, *when))
        .collect();
    quantile(&above, 0.95)
}

/// What the rate may be: the union of what the leak models within reach of the best one say, of the straight line with
/// correlated errors, and of the slopes of the later parts of the record. A heap that is still being sized, or an
/// allocator that works in chunks, bends a leak without changing it; an interval from the noise alone would be far too
/// short (0.65 instead of 0.95 on the public corpus).
fn interval(
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
                    include(theil_sen(&u[start..start + part], &m[start..start + part]), error);
                }
            }
        }
    }
    Interval {
        low: low.into_iter().fold(f64::INFINITY, f64::min),
        high: high.into_iter().fold(f64::NEG_INFINITY, f64::max),
    }
}

fn scale(
    series: &Series,
    e: &Evidence<'_>,
    collected: bool,
    floor_rate: Option<f64>,
    operations: Option<f64>,
    per_stretch: f64,
) -> Scale {
    let (least, wide, tight) = match (series.quantity, collected) {
        (crate::Quantity::Count, _) => (5.0, 10.0, 8.0),
        (crate::Quantity::Bytes, true) => (16_384.0, 0.0, 32_768.0),
        (crate::Quantity::Bytes, false) => (98_304.0, 262_144.0, 196_608.0),
    };
    let floor = match (floor_rate, operations) {
        (Some(rate), _) => rate * per_stretch,
        (None, Some(done)) => {
            let per_op = if series.quantity == crate::Quantity::Count {
                0.005
            } else {
                16.0
            };
            (per_op * done).max(0.0)
        }
        (None, None) => (0.004 * e.level).max(least),
    };
    Scale {
        floor,
        wide: (0.02 * e.level).max(wide).max(3.0 * e.sigma),
        tight: (0.01 * e.level).max(tight),
    }
}

fn decide(
    series: &Series,
    r: &Readings,
    terms: &Terms,
    e: &Evidence<'_>,
    by_operations: bool,
    guarantee: Guarantee,
) -> Verdict {
    let elapsed = r.seconds[r.seconds.len() - 1];
    let done = match r.ops.as_slice() {
        [first, .., last] if last > first => Some(last - first),
        _ => None,
    };
    let _ = by_operations;
    let per_operation = series.axis == Axis::Operations && done.is_some();
    // Units of the axis in the stretch: growth per stretch divided by this is the rate.
    let units = if per_operation {
        done.unwrap_or(1.0)
    } else {
        elapsed
    };
    let planned = terms.planned_ns.map_or(0.0, |p| p as f64 / 1e9);
    let early = planned > 1.06 * elapsed;
    let scale = scale(
        series,
        e,
        r.collected,
        terms.floor,
        done.filter(|_| per_operation),
        units,
    );
    let share = e.contest.leak_share();

    let best = e.contest.best_leak;
    let early_enough = !early || (e.octave >= 1.3 && !(e.blocks.cycles > 0 && e.blocks.cycles < 8));
    let by_signs = e.signs.p_value <= 0.006 && share >= 0.5 && e.signs.ratio >= 0.6;
    let certain = if early {
        1.0 - 0.25 * (1.0 - CERTAIN)
    } else {
        CERTAIN
    };
    let sure = share >= certain;
    let matters = e.growth
        >= if by_signs && !sure {
            3.0 * scale.floor
        } else {
            scale.floor
        };
    let visible = by_signs || e.growth > 4.0 * e.sigma / (e.effective / 4.0).max(1.0).sqrt();
    let tail_grows = best.is_some_and(|c| {
        c.pattern == Pattern::Stepped
            || ((e.tail - 1.64 * e.tail_error > 0.0
                || by_signs
                || c.pattern == Pattern::Exponential)
                && if e.loaded { c.beta[1] } else { e.tail } > 0.25 * e.growth)
            || (e.loaded && c.form != Form::Steps && c.beta[1] > 0.0)
    });
    let leaks = best.is_some()
        && early_enough
        && !e.undecided
        && (sure || by_signs)
        && matters
        && visible
        && tail_grows;

    let stretch_to_plan = if early { planned / elapsed } else { 1.0 };
    let bound = (e.tail + 1.96 * e.tail_error) * stretch_to_plan;
    let already = (e.m[e
        .u
        .partition_point(|at| *at < e.u[0] + 0.5 * (e.u[e.u.len() - 1] - e.u[0]))
        .min(e.m.len() - 1)]
        - e.m[0])
        .max(0.0);
    let wide = if share < 0.02 {
        scale.wide.max(0.2 * already)
    } else {
        scale.wide
    };
    let level = !e.undecided
        && ((share <= 0.2 && bound <= wide)
            || (share <= 0.7 && bound <= scale.tight)
            || (e.growth < scale.floor && bound < scale.tight)
            || (share <= 0.03 && e.full <= 0.0 && e.tail <= scale.tight));

    let outcome = if leaks {
        Outcome::Leak
    } else if level {
        Outcome::NoLeak(Bound {
            rate: bound / stretch_to_plan / units,
        })
    } else {
        let reason = if best.is_some_and(|_| e.undecided) {
            match e.contest.best {
                Some(c) if c.form == Form::Steps => Reason::FewSteps,
                _ => Reason::StillFilling,
            }
        } else if share > 0.2 && share < certain {
            Reason::Ambiguous
        } else {
            Reason::Noise
        };
        Outcome::Inconclusive {
            reason,
            more: more(e, elapsed, done, per_operation, &scale),
        }
    };
    let leak = outcome == Outcome::Leak;
    let pattern = pattern(e, leak, e.u[e.u.len() - 1] - e.u[0]);
    let estimate = estimate(e, r, terms, leak, units, elapsed, done, per_operation);
    Verdict {
        leak_probability: if e.undecided { 0.5 } else { share },
        p_value: e.p_value,
        pattern,
        detectable: Some(
            (scale
                .floor
                .max(4.0 * e.sigma / (e.effective / 4.0).max(1.0).sqrt()))
                / units,
        ),
        floor: scale.floor / units,
        guarantee: Guarantee {
            effective_readings: e.effective,
            ..guarantee
        },
        repairs: r.repairs.clone(),
        estimate: Some(estimate),
        outcome,
    }
}

/// What would settle it: half-widths shrink with the length to the power 3/2, and a filling cache needs three time
/// constants.
fn more(
    e: &Evidence<'_>,
    elapsed: f64,
    done: Option<f64>,
    per_operation: bool,
    scale: &Scale,
) -> More {
    let half = 0.5 * (e.interval.high - e.interval.low);
    let gap = (e.growth - scale.floor).abs().max(0.25 * scale.floor);
    let mut factor = (half / gap).max(0.0).powf(2.0 / 3.0).clamp(1.5, 6.0);
    if let Some(Candidate {
        form: Form::Saturating,
        shape,
        ..
    }) = e.contest.best
    {
        factor = factor.max((3.0 * shape[0]).min(6.0));
    }
    More {
        seconds: (!per_operation).then_some(elapsed * (factor - 1.0)),
        operations: done.map(|d| (d * (factor - 1.0)).ceil() as u64),
    }
}

fn pattern(e: &Evidence<'_>, leak: bool, _span: f64) -> Pattern {
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

#[expect(clippy::too_many_arguments, reason = "all parts of one estimate")]
fn estimate(
    e: &Evidence<'_>,
    r: &Readings,
    terms: &Terms,
    leak: bool,
    units: f64,
    elapsed: f64,
    done: Option<f64>,
    per_operation: bool,
) -> Growth {
    let last = e.m.len() - 1;
    let at_ns = |block: usize| {
        let seconds = e.blocks.first.get(block).map_or(0.0, |&i| r.seconds[i]);
        r.start_ns.saturating_add((seconds * 1e9) as u64)
    };
    let (growth, interval) = (e.growth, e.interval);
    let onset = e
        .contest
        .best_leak
        .filter(|c| leak && matches!(c.form, Form::Onset | Form::WarmOnset))
        .map(|c| {
            let block = e.u.partition_point(|at| *at < c.shape[0]).min(last);
            Onset {
                t_ns: at_ns(block),
                operations: e
                    .blocks
                    .first
                    .get(block)
                    .and_then(|&i| r.ops.get(i).copied()),
            }
        });
    let plateau = e
        .contest
        .best_healthy
        .filter(|c| !leak && c.pattern == Pattern::Plateau)
        .map(|c| {
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
                t_ns: at_ns(block),
            }
        });
    let speed = terms.expected_rate.filter(|v| v.is_finite() && *v > 0.0);
    let time_to_limit = terms.limit.filter(|l| leak && l.is_finite()).map(|limit| {
        let x: Vec<f64> = e.blocks.x.clone();
        let over = {
            let above: Vec<f64> = e
                .blocks
                .high
                .iter()
                .zip(&e.blocks.low)
                .map(|(h, l)| h - l)
                .collect();
            let _ = x;
            quantile(&above, 0.75)
        };
        let left = (limit - e.m[last] - over).max(0.0);
        // Seconds for one stretch of growth, at the asked operation rate if there is one.
        let per_stretch = match (speed, done) {
            (Some(v), Some(d)) => d / v,
            _ => elapsed,
        };
        let seconds = |g: f64| -> f64 {
            if g <= 0.0 {
                return f64::INFINITY;
            }
            match e.contest.best_leak {
                Some(c) if c.form == Form::Exponential => {
                    // y grows as amplitude x exp(rate u): solve for u beyond 1.
                    let amplitude = c.beta[1] * (g / growth.max(1e-300));
                    let now = 1.0;
                    ((left / amplitude.max(1e-300) + now).ln() / c.shape[0]).max(0.0) * per_stretch
                }
                _ => left / g * per_stretch,
            }
        };
        TimeToLimit {
            limit,
            seconds: seconds(growth),
            interval: Interval {
                low: seconds(interval.high),
                high: seconds(interval.low),
            },
            at_rate: if per_operation {
                speed.or(done.map(|d| d / elapsed))
            } else {
                None
            },
        }
    });
    let increments: Vec<f64> = e.m.windows(2).map(|w| w[1] - w[0]).collect();
    let same_way = increments.iter().filter(|d| **d * growth > 0.0).count();
    Growth {
        rate: growth / units,
        interval: Interval {
            low: interval.low / units,
            high: interval.high / units,
        },
        per: if per_operation {
            Axis::Operations
        } else {
            Axis::Time
        },
        per_second: Some(growth / elapsed),
        per_second_interval: Some(Interval { low: interval.low / elapsed, high: interval.high / elapsed }),
        per_operation: done.map(|d| growth / d),
        onset,
        plateau,
        time_to_limit,
        acceleration: (0.5 * e.octave).clamp(-100.0, 100.0),
        consistency: same_way as f64 / increments.len().max(1) as f64,
    }
}
