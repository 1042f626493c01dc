//! Judges raw samples against time: any metric of any process, without rounds and mostly without collections.
//!
//! Here noise is large and has a memory (collector cycles, allocator chunks, batch jobs), so the record is reduced to
//! its lower envelope, models compete with an effective number of readings, and several guards look at the tail alone,
//! where a leak must still be growing and a healthy program must not.

use crate::envelope::{self, Blocks, correlation, roughness};
use crate::growth::{estimate, growth_of, interval, pattern, stretch_of_leak};
use crate::models::{self, Candidate, Contest, Form, Noise};
use crate::repair::Readings;
use crate::rounds::look_alpha;
use crate::series::{Axis, Quantity, Repair, Series, Terms};
use crate::stats::{fair_coin_upper, mean, median, quantile, student_upper, theil_sen};
use crate::steps;
use crate::stretch::{FEWEST, at, axis, covariates, is_resident, segments};
use crate::trend::Trend;
use crate::verdict::{Bound, Fit, Guarantee, Interval, More, Outcome, Pattern, Reason, Verdict};

/// A leak must reach this probability.
const CERTAIN: f64 = 0.98;

/// What was measured of one stretch, before any decision.
pub(crate) struct Evidence<'a> {
    /// Progress of each block, 0 to 1 of the stretch.
    pub(crate) u: Vec<f64>,
    /// Seconds of the stretch at the middle of each block.
    seconds: Vec<f64>,
    /// The envelope that was judged.
    pub(crate) m: Vec<f64>,
    pub(crate) blocks: Blocks,
    pub(crate) contest: Contest<'a>,
    /// Whether load explains part of the series.
    pub(crate) loaded: bool,
    pub(crate) level: f64,
    /// Noise of one block around the best model.
    pub(crate) sigma: f64,
    pub(crate) effective: f64,
    /// Theil–Sen growth per stretch, over everything and over the second half.
    pub(crate) full: f64,
    pub(crate) tail: f64,
    /// Standard error of `tail`.
    pub(crate) tail_error: f64,
    /// Growth of the best leak model per stretch.
    pub(crate) growth: f64,
    pub(crate) interval: Interval,
    pub(crate) p_value: f64,
    pub(crate) signs: Signs,
    pub(crate) octave: f64,
    pub(crate) undecided: bool,
    pub(crate) cyclic: bool,
    /// Growth per stretch that the rounds without operations would explain.
    idle: f64,
}

/// The increments of the last 70 % of the record in twelve pieces.
pub(crate) struct Signs {
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
    let x = axis(series, &r);
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
    let cyclic = blocks.cycles >= 4;
    let rough = [&blocks.low, &blocks.least, &blocks.middle].map(|v| roughness(v));
    let m = if cyclic && rough[1] < 0.9 * rough[0] {
        blocks.least.clone()
    } else if cyclic || rough[0] <= 1.1 * rough[2] {
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
    let mut evidence = measure(
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
    // As for rounds: never subtracted from the rate, but it may be part of it.
    evidence.idle = match Units::of(series, &r) {
        Units {
            axis: Axis::Operations,
            of_axis,
            ..
        } if terms.idle_growth_per_op.is_finite() => terms.idle_growth_per_op * of_axis,
        _ => 0.0,
    };
    evidence.interval.low -= evidence.idle.max(0.0);
    evidence.interval.high -= evidence.idle.min(0.0);
    decide(series, &r, terms, &evidence, guarantee)
}

/// Variance of a block that is always there: page size or counter step, and 20 ppm of a level that was not collected.
fn noise_floor(series: &Series, resident: bool, level: f64, collected: bool) -> f64 {
    let step = match series.quantity {
        Quantity::Count => 0.1,
        Quantity::Bytes if resident => 4096.0 / 12_f64.sqrt(),
        Quantity::Bytes => 8.0,
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
    let interval = interval(
        candidates,
        contest.best_leak,
        (growth, full),
        (&u, &m),
        error,
        trend.as_ref(),
        loaded,
    );
    let slope_p = trend.as_ref().map_or(1.0, Trend::p_value);
    Evidence {
        octave: octave(&u, &m),
        cyclic: blocks.cycles >= 3 && over > 0.03 * level,
        p_value: (2.0 * slope_p.min(signs.p_value)).min(1.0),
        seconds: blocks.x.iter().map(|b| at(x, &r.seconds, *b)).collect(),
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
        idle: 0.0,
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

/// The sign test. It needs no model of the noise, so it still speaks when growth comes irregularly.
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

/// What growth per stretch is divided by to become a rate.
pub(crate) struct Units {
    /// What rates are per.
    pub(crate) axis: Axis,
    /// Length of the stretch on that axis.
    pub(crate) of_axis: f64,
    /// Seconds.
    pub(crate) elapsed: f64,
    /// Operations, if known.
    pub(crate) operations: Option<f64>,
}

impl Units {
    fn of(series: &Series, r: &Readings) -> Self {
        let elapsed = r.seconds[r.seconds.len() - 1];
        let operations = match r.ops.as_slice() {
            [first, .., last] if last > first => Some(last - first),
            _ => None,
        };
        match (series.axis, operations) {
            (Axis::Operations, Some(done)) => Self {
                axis: Axis::Operations,
                of_axis: done,
                elapsed,
                operations,
            },
            _ => Self {
                axis: Axis::Time,
                of_axis: elapsed,
                elapsed,
                operations,
            },
        }
    }
}

impl Scale {
    /// Against time, a leak must add 0.4 % of the level or 96 KiB over the stretch, and no leak may remain that would
    /// add 2 % or 256 KiB (a wider margin: raw samples rarely allow a narrower one, and the bound is always printed).
    /// Against operations, and where the user gives a floor, both are the floor.
    fn of(
        series: &Series,
        e: &Evidence<'_>,
        collected: bool,
        floor: Option<f64>,
        units: &Units,
    ) -> Self {
        let (least, wide, tight) = match (series.quantity, collected) {
            (Quantity::Count, _) => (5.0, 10.0, 8.0),
            (Quantity::Bytes, true) => (16_384.0, 0.0, 32_768.0),
            (Quantity::Bytes, false) => (98_304.0, 262_144.0, 196_608.0),
        };
        let per_operation = match (series.quantity, collected) {
            (Quantity::Count, _) => 0.005,
            (Quantity::Bytes, true) => 4.0,
            (Quantity::Bytes, false) => 16.0,
        };
        let floor = floor
            .filter(|f| f.is_finite())
            .or((units.axis == Axis::Operations).then_some(per_operation));
        match floor {
            Some(rate) => {
                let floor = rate * units.of_axis;
                Self {
                    floor,
                    wide: floor,
                    tight: floor,
                }
            }
            None => Self {
                floor: (0.004 * e.level).max(least),
                wide: (0.02 * e.level).max(wide).max(3.0 * e.sigma),
                tight: (0.01 * e.level).max(tight),
            },
        }
    }
}

/// P(leak) once the sign test has spoken too: a p-value is worth at most odds of 1 / (-e p ln p) (Sellke, Bayarri and
/// Berger 2001).
fn with_signs(share: f64, p_value: f64) -> f64 {
    let odds = 1.0 / (-std::f64::consts::E * p_value * p_value.ln());
    let combined = share / (1.0 - share).max(1e-12) * odds.max(1.0);
    combined / (1.0 + combined)
}

fn decide(
    series: &Series,
    r: &Readings,
    terms: &Terms,
    e: &Evidence<'_>,
    guarantee: Guarantee,
) -> Verdict {
    let units = Units::of(series, r);
    let scale = Scale::of(series, e, r.collected, terms.floor, &units);
    let planned = terms.planned_ns.map_or(0.0, |p| p as f64 / 1e9);
    let to_plan = if planned > 1.06 * units.elapsed {
        planned / units.elapsed
    } else {
        1.0
    };
    let share = e.contest.leak_share();
    let probability = if e.signs.p_value <= 0.006 && share >= 0.5 && e.signs.ratio >= 0.6 {
        with_signs(share, e.signs.p_value)
    } else {
        share
    };
    let bound = e.tail + 1.96 * e.tail_error;

    let outcome = if is_leak(e, terms, &scale, to_plan > 1.0, share, probability)
        && e.p_value <= guarantee.alpha
    {
        if e.growth - e.idle.max(0.0) > scale.floor {
            Outcome::Leak
        } else {
            Outcome::Inconclusive {
                reason: Reason::GrowsWhileIdle,
                more: more(e, &units, &scale),
            }
        }
    } else if is_level(e, &scale, share, (bound - e.idle.min(0.0)) * to_plan) {
        Outcome::NoLeak(Bound {
            rate: bound / units.of_axis,
        })
    } else {
        let reason = match e.contest.best {
            Some(c) if e.undecided && c.form == Form::Steps => Reason::FewSteps,
            Some(_) if e.undecided => Reason::StillFilling,
            _ if !terms.settled && share >= CERTAIN => Reason::WarmingUp,
            _ if (0.2..CERTAIN).contains(&share) => Reason::Ambiguous,
            _ => Reason::Noise,
        };
        Outcome::Inconclusive {
            reason,
            more: more(e, &units, &scale),
        }
    };
    let leak = outcome == Outcome::Leak;
    let leak_probability = match outcome {
        // That it goes on, and that it goes on above the floor.
        Outcome::NoLeak(_) => {
            share
                * student_upper(
                    (scale.floor - e.tail) / e.tail_error.max(1e-300),
                    e.effective.max(3.0),
                )
        }
        _ if e.undecided => 0.5,
        _ => probability,
    };
    Verdict {
        // Never minus zero.
        leak_probability: leak_probability.clamp(0.0, 1.0) + 0.0,
        p_value: e.p_value,
        pattern: pattern(e, leak),
        detectable: Some(scale.floor.max(visible(e)) / units.of_axis),
        floor: scale.floor / units.of_axis,
        guarantee: Guarantee {
            effective_readings: e.effective,
            ..guarantee
        },
        repairs: r.repairs.clone(),
        bets_p_value: None,
        slowdown: None,
        fit: Fit::of(e.contest.best_for(&outcome), r.start_ns, &e.seconds, &e.m),
        estimate: Some(estimate(e, r, terms, leak, &units)),
        outcome,
    }
}

/// Growth per stretch that stands out from the noise by four standard errors.
fn visible(e: &Evidence<'_>) -> f64 {
    4.0 * e.sigma / (e.effective / 4.0).max(1.0).sqrt()
}

/// All guards of a leak. `early` = the run was planned to be longer, so that a slow start has to be ruled out.
fn is_leak(
    e: &Evidence<'_>,
    terms: &Terms,
    scale: &Scale,
    early: bool,
    share: f64,
    probability: f64,
) -> bool {
    let Some(best) = e.contest.best_leak else {
        return false;
    };
    let certain = if early {
        1.0 - 0.25 * (1.0 - CERTAIN)
    } else {
        CERTAIN
    };
    let too_early = early && (e.octave < 1.3 || (1..8).contains(&e.blocks.cycles));
    let slows_down = !terms.settled && e.octave < 1.6;
    if e.undecided || too_early || slows_down || probability < certain {
        return false;
    }
    // The sign test alone cannot tell a leak from a random walk of the same size: then three floors are asked.
    let by_signs = probability > share;
    let matters = e.growth
        >= if share < certain {
            3.0 * scale.floor
        } else {
            scale.floor
        };
    let stands_out = by_signs || e.growth > visible(e);
    let tail = if e.loaded { best.beta[1] } else { e.tail };
    let rises =
        e.tail - 1.64 * e.tail_error > 0.0 || by_signs || best.pattern == Pattern::Exponential;
    let still_grows = best.pattern == Pattern::Stepped
        || (rises && tail > 0.25 * e.growth)
        || (e.loaded && best.form != Form::Steps && best.beta[1] > 0.0);
    matters && stands_out && still_grows
}

/// The equivalence test: whatever still grows is small, by a margin that depends on how sure the models are.
fn is_level(e: &Evidence<'_>, scale: &Scale, share: f64, bound: f64) -> bool {
    let middle = e.u[0] + 0.5 * (e.u[e.u.len() - 1] - e.u[0]);
    let half = e.u.partition_point(|at| *at < middle).min(e.m.len() - 1);
    let already = (e.m[half] - e.m[0]).max(0.0);
    // After a large fill that has clearly ended, a fifth of it may be uncertain.
    let wide = if share < 0.02 {
        scale.wide.max(0.2 * already)
    } else {
        scale.wide
    };
    !e.undecided
        && ((share <= 0.2 && bound <= wide)
            || (share <= 0.7 && bound <= scale.tight)
            || (e.growth < scale.floor && bound < scale.tight)
            || (share <= 0.03 && e.full <= 0.0 && e.tail <= scale.tight))
}

/// What would settle it: half-widths shrink with the length to the power 3/2, and a filling cache needs three time
/// constants.
fn more(e: &Evidence<'_>, units: &Units, scale: &Scale) -> More {
    let half = 0.5 * (e.interval.high - e.interval.low);
    let gap = (e.growth - scale.floor).abs().max(0.25 * scale.floor);
    let mut factor = (half / gap.max(1e-300))
        .max(0.0)
        .powf(2.0 / 3.0)
        .clamp(1.5, 6.0);
    if let Some(c) = e.contest.best.filter(|c| c.form == Form::Saturating) {
        factor = factor.max((3.0 * c.shape[0]).min(6.0));
    }
    More {
        seconds: (units.axis == Axis::Time).then_some(units.elapsed * (factor - 1.0)),
        operations: units.operations.map(|d| (d * (factor - 1.0)).ceil() as u64),
    }
}
