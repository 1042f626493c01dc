//! Judges collected readings: one per round of operations, each after a forced collection.
//!
//! This is the product's main job. Readings are few (6 to 60), scatter by some 10 kB whatever the round's length, now
//! and then by 200 kB, and the rate per operation is what counts. The models of [`crate::models`] compete with heavy
//! tailed errors and say what shape the growth has; [`Trend`] says how fast the judged stretch grows and how surely;
//! the verdict needs both to agree.
//!
//! **Leak**: P(leak) = P(shape goes on) x P(rate above the floor) reaches 0.98, the p-value stays within what this look
//! may spend, the lower end of the interval is above the floor, and the last third does not grow clearly slower than
//! the one before. **No leak**: the upper end of the interval is below the floor, over all readings or, where a healthy
//! model explains the growth before, over the level stretch that follows. The floor rises with the noise up to 16 B per
//! operation and no further, so a noisier series can still be a (large) leak, but never be cleared.
//!
//! **Containers** that double (maps, arrays) jump once in a while and grow between the jumps by what they hold. Jumps are
//! taken out of the residuals ([`steps::jumps`]) and the growth between them is judged: it is a leak by its own interval,
//! however far the jumps throw a straight line. The rate reported is the average over a period of doubling, each jump
//! spread over the operations it makes room for; the interval reaches from the growth between jumps alone to the most
//! that average can be. Room that doubles outside the record is not in the rate: where no jump was seen, only the growth
//! between jumps is known.
//!
//! What no method can do: a cache that fills at a constant rate and is not full at the end is called a leak (its rate
//! is right, its future is not in the data); exponential filling with a time constant near the length of the record is
//! told from a leak only as well as the noise allows.

use crate::bets::{Bets, CONTRADICTS};
use crate::models::{self, Candidate, Class, Contest, Form, Noise};
use crate::repair::Readings;
use crate::series::{Axis, Quantity, Series, Terms};
use crate::stats::{median, pearson, theil_sen};
use crate::steps::{self, Amortised};
use crate::trend::Trend;
use crate::verdict::{
    Bound, Fit, Growth, Guarantee, Interval, More, Onset, Outcome, Pattern, Plateau, Reason,
    TimeToLimit, Verdict,
};

/// Fewest readings that can be judged.
pub(crate) const FEWEST: usize = 5;
/// Most readings judged as rounds; more are reduced to blocks first.
pub(crate) const MOST: usize = 200;
/// The same against time, where more than the most rounds there can be are a recording.
pub(crate) const MOST_ON_TIME: usize = 60;
/// A leak must reach this probability.
const CERTAIN: f64 = 0.98;
/// Growth of the second half over that of the first from which growth counts as not slowing down.
const STEADY: f64 = 0.8;
/// A difference in the criterion that is positive to strong evidence (Kass and Raftery 1995).
const CLEARLY: f64 = 4.0;
/// One that is very strong.
const VERY_CLEARLY: f64 = 10.0;
/// A rise is a rise if it is so many standard deviations of a reading high.
const RISE: f64 = 3.0;
/// Fewest readings that can show that growth had not begun.
const BEFORE_ONSET: usize = 3;
/// Default floor per operation: the smallest object V8 can leak is about this large.
const FLOOR_BYTES: f64 = 4.0;
/// Above this the floor does not rise however noisy the series is: psleak's 16 B/call (giampaolo/psleak#9).
const FLOOR_BYTES_MOST: f64 = 16.0;
/// Default floor against time: bytes, or things, that the whole record may add.
const LEAST_PER_RUN: f64 = 16_384.0;
const LEAST_COUNT_PER_RUN: f64 = 5.0;
/// Default floor for counts: one thing kept in two hundred operations.
const FLOOR_COUNT: f64 = 0.005;

/// Alpha that the present look may spend: 6 alpha / (pi^2 j^2) sums to alpha over all looks.
pub(crate) fn look_alpha(terms: &Terms) -> f64 {
    if terms.looks <= 1 && terms.look <= 1 {
        return terms.alpha;
    }
    let j = f64::from(terms.look.max(1));
    6.0 * terms.alpha / (std::f64::consts::PI * j).powi(2)
}

/// Variance of a reading that is always there: the resolution of the counter, and for bytes a small object.
fn noise_floor(series: &Series) -> f64 {
    let resolution = if series.resolution.is_finite() {
        series.resolution.abs()
    } else {
        0.0
    };
    let least = match series.quantity {
        Quantity::Bytes => 16.0,
        Quantity::Count => 0.1,
    };
    resolution.powi(2) / 12.0 + f64::powi(least, 2)
}

/// Everything the decision looks at.
struct Evidence<'a> {
    x: &'a [f64],
    y: &'a [f64],
    contest: Contest<'a>,
    /// The criterion of the level model, and the best among the lines that grow from the first reading.
    flat_bic: Option<f64>,
    line_bic: Option<f64>,
    /// First reading of the stretch the rate is measured on.
    from: usize,
    /// The readings without the jumps of the best leak model.
    smooth: &'a [f64],
    /// What those jumps add, spread over the stretches they make room for.
    doubling: Amortised,
    /// Growth as the leak models see it, between jumps, and its 95 % interval.
    growth: Trend,
    grown: Interval,
    /// Growth over the stretch that a healthy model calls level, and where that starts.
    tail: Option<(usize, Trend)>,
    /// Growth over all readings, and its 95 % interval.
    whole: Trend,
    overall: Interval,
    acceleration: f64,
    decelerates: bool,
    floor: f64,
    /// What the growth of a run that may not grow at all is held against: what the floor would be however noisy it were.
    highest_floor: f64,
    axis: Axis,
    quantity: Quantity,
    idle: f64,
}

/// Judges the readings against operations, or against time if the series asks for that (rounds that grow while idle).
pub(crate) fn judge(series: &Series, readings: &Readings, terms: &Terms) -> Verdict {
    let on_time = series.axis == Axis::Time;
    let (x, before) = if on_time {
        (&readings.seconds, 0.0)
    } else {
        (&readings.ops, terms.warm_up_operations as f64)
    };
    let y = &readings.value;
    let guarantee = Guarantee {
        alpha: look_alpha(terms),
        warm_up_operations: terms.warm_up_operations,
        looks: terms.looks.max(1),
        effective_readings: y.len() as f64,
    };
    let span = x.last().copied().unwrap_or(0.0) - x.first().copied().unwrap_or(0.0);
    let noise = Noise {
        floor: noise_floor(series),
        heavy_tails: true,
    };
    let whole = if y.len() < FEWEST {
        None
    } else {
        Trend::of(x, y, noise.floor)
    };
    let Some(whole) = whole else {
        return too_few(series, readings, terms, guarantee, FEWEST);
    };
    let u: Vec<f64> = x.iter().map(|v| (v - x[0]) / span).collect();
    let between_jumps = (!on_time).then(|| between_jumps(&u, y, noise, before / span));
    let mut candidates = between_jumps
        .flatten()
        .unwrap_or_else(|| all_models(&u, y, noise, before / span, &[]));
    let effective = effective_readings(&candidates, y.len());
    models::rescore(&mut candidates, y.len(), effective);
    let contest = models::weigh(&candidates);

    let from = stretch_of_leak(&u, contest.best_leak);
    let smooth = contest
        .best_leak
        .map_or_else(|| y.clone(), |c| c.without_jumps(y));
    let growth = growth(
        &candidates,
        contest.best_leak,
        &u,
        (y, &smooth),
        noise.floor,
        span,
    )
    .unwrap_or_else(|| whole.clone());
    let tail = stretch_of_level(&u, contest.best_healthy)
        .and_then(|start| Some((start, Trend::of(&x[start..], &y[start..], noise.floor)?)));
    let between = contest.best_leak.is_some_and(|c| !c.jumps().is_empty());
    let trends = [
        Some(&whole),
        tail.as_ref().map(|t| &t.1),
        between.then_some(&growth),
    ];
    let floor = terms
        .floor
        .filter(|f| f.is_finite())
        .unwrap_or_else(|| default_floor(series.quantity, y, trends, on_time.then_some(span)));
    let bic_of = |forms: &[Form]| {
        let of = candidates.iter().filter(|c| forms.contains(&c.form));
        of.map(|c| c.bic).min_by(f64::total_cmp)
    };
    let evidence = Evidence {
        flat_bic: bic_of(&[Form::Flat]),
        line_bic: bic_of(&[Form::Linear, Form::WarmLinear, Form::FillLinear]),
        x,
        y,
        acceleration: acceleration(&u[from..], &smooth[from..]),
        decelerates: decelerates(x, &smooth, noise.floor),
        doubling: doubling(x, contest.best_leak, before),
        smooth: &smooth,
        contest,
        from,
        grown: growth.interval(),
        growth,
        tail,
        overall: whole.interval(),
        whole,
        floor,
        highest_floor: highest_floor(series, terms).unwrap_or(floor),
        axis: series.axis,
        quantity: series.quantity,
        idle: if terms.idle_growth_per_op.is_finite() && !on_time {
            terms.idle_growth_per_op
        } else {
            0.0
        },
    };
    decide(
        &evidence,
        readings,
        terms,
        Guarantee {
            effective_readings: effective,
            ..guarantee
        },
    )
}

/// The floor where the user has set none. The noise is that of the trend known best: jumps are not noise, nor is the
/// growth before a level tail. `seconds` is the length of a record judged against time.
fn default_floor(
    quantity: Quantity,
    y: &[f64],
    trends: [Option<&Trend>; 3],
    seconds: Option<f64>,
) -> f64 {
    let errors = trends.into_iter().flatten().map(|t| t.error);
    let error = errors.fold(f64::INFINITY, f64::min);
    match (quantity, seconds) {
        // Against time there is no object size to compare with: what the run may add, as for raw samples.
        (Quantity::Bytes, Some(span)) => (0.004 * median(y)).max(LEAST_PER_RUN) / span,
        (Quantity::Count, Some(span)) => LEAST_COUNT_PER_RUN / span,
        (Quantity::Bytes, None) => (3.0 * error).clamp(FLOOR_BYTES, FLOOR_BYTES_MOST),
        (Quantity::Count, None) => FLOOR_COUNT,
    }
}

/// The most that the default floor of a series can be, where it is the noise that says.
fn highest_floor(series: &Series, terms: &Terms) -> Option<f64> {
    let by_noise = terms.floor.is_none()
        && series.quantity == Quantity::Bytes
        && series.axis == Axis::Operations;
    by_noise.then_some(FLOOR_BYTES_MOST)
}

/// Every model, with the given jumps and without.
///
/// What grows between jumps is judged to 0.3 % of its own range: real leaks are not perfectly straight, and without
/// this allowance the criterion would split hairs between curves that a person could not tell apart.
fn all_models(u: &[f64], y: &[f64], noise: Noise, before: f64, jumps: &[usize]) -> Vec<Candidate> {
    let jumped: f64 = jumps.iter().map(|&i| y[i] - y[i - 1]).sum();
    let range = y.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        - y.iter().copied().fold(f64::INFINITY, f64::min);
    let noise = Noise {
        floor: noise.floor + (0.003 * (range - jumped).max(0.0)).powi(2),
        ..noise
    };
    let mut candidates = models::compete(u, y, &[], noise);
    candidates.extend(models::compete_with_jumps(u, y, jumps, noise));
    candidates.extend(steps::candidates(u, y, noise, before));
    candidates
}

/// The same if growth between the jumps has earned its place: it must describe the readings clearly better than jumps
/// alone, and than curves without any. Otherwise the steps say all there is to say.
fn between_jumps(u: &[f64], y: &[f64], noise: Noise, before: f64) -> Option<Vec<Candidate>> {
    let jumps = steps::jumps(u, y, noise.floor);
    if jumps.is_empty() {
        return None;
    }
    let candidates = all_models(u, y, noise, before, &jumps);
    let grows = |c: &Candidate| !c.jumps().is_empty() && c.form != Form::Flat;
    let best = |between: bool| {
        let of = candidates.iter().filter(|c| grows(c) == between);
        of.map(|c| c.bic).min_by(f64::total_cmp)
    };
    (best(true)? + VERY_CLEARLY < best(false)?).then_some(candidates)
}

fn decide(e: &Evidence<'_>, readings: &Readings, terms: &Terms, guarantee: Guarantee) -> Verdict {
    let interval = widened(e.grown, e.idle);
    let bets = Bets::on(e.x, e.y, e.floor);
    let p_value = match e.quantity {
        Quantity::Bytes => e.growth.p_value(),
        Quantity::Count => (2.0 * e.growth.p_value().min(bets.p_above)).min(1.0),
    };
    let shape = e.contest.leak_share();
    let by_steps = e.contest.best_leak.is_some_and(|c| c.form == Form::Steps);
    let steady = acceleration(e.x, e.smooth) >= STEADY;
    let undecided = e.undecided();
    let undecided_leak = undecided || e.may_only_bend(steady || by_steps);
    // P(leak) = P(the growth goes on) x P(it goes on above the floor).
    let leak_probability = shape * e.growth.probability_above(e.floor);
    let tail_slope = {
        let k = (e.y.len() / 2).max(3);
        theil_sen(&e.x[e.y.len() - k..], &e.smooth[e.y.len() - k..])
    };
    let keeps_growing =
        by_steps || (tail_slope > 0.33 * e.growth.rate && tail_slope > 0.0 && !e.decelerates);
    let would_leak = leak_probability >= CERTAIN
        && p_value <= guarantee.alpha
        && !undecided_leak
        && keeps_growing
        && e.grown.low > e.floor;
    let whole = widened(e.overall, e.idle);
    let tail = e.tail.as_ref().map(|t| t.1.interval());
    let span = e.x[e.x.len() - 1] - e.x[0];

    let outcome = if would_leak && interval.low <= e.floor {
        Outcome::Inconclusive {
            reason: Reason::GrowsWhileIdle,
            more: more(e),
        }
    } else if would_leak && interval.low * span <= terms.sway {
        Outcome::Inconclusive {
            reason: Reason::Noise,
            more: more(e),
        }
    } else if would_leak && !terms.settled && !steady {
        Outcome::Inconclusive {
            reason: Reason::WarmingUp,
            more: more(e),
        }
    } else if would_leak {
        // Rare steps are most increments' silence: there the bets have no say.
        if !by_steps && e.bets_from(e.from).p_below <= CONTRADICTS {
            contradiction(e)
        } else {
            Outcome::Leak
        }
    } else if e.is_level(e.overall) {
        if bets.p_above <= CONTRADICTS {
            contradiction(e)
        } else {
            Outcome::NoLeak(Bound { rate: whole.high })
        }
    } else if let (Some(tail), true) = (
        tail.filter(|tail| e.is_level(*tail)),
        shape <= 0.5 && !undecided,
    ) {
        let start = e.tail.as_ref().map_or(0, |t| t.0);
        if e.bets_from(start).p_above <= CONTRADICTS {
            contradiction(e)
        } else {
            Outcome::NoLeak(Bound {
                rate: widened(tail, e.idle).high,
            })
        }
    } else {
        Outcome::Inconclusive {
            reason: reason(e, undecided, shape, terms),
            more: more(e),
        }
    };
    let leak_probability = match outcome {
        Outcome::NoLeak(_) => leak_probability.min(1.0 - e.whole_or_tail_certainty()),
        Outcome::Inconclusive { .. } if undecided => 0.5,
        _ => leak_probability,
    };
    let floor = e.floor_of(&outcome);
    let pattern = pattern(e, &outcome);
    let fit = Fit::of(
        e.contest.best_for(&outcome),
        readings.start_ns,
        &readings.seconds,
        e.y,
    );
    let estimate = estimate(e, readings, terms, &outcome, interval);
    Verdict {
        outcome,
        estimate: Some(estimate),
        // Never minus zero.
        leak_probability: leak_probability.clamp(0.0, 1.0) + 0.0,
        p_value,
        pattern,
        detectable: Some(detectable(e)),
        floor,
        guarantee,
        repairs: readings.repairs.clone(),
        bets_p_value: Some(bets.p_above),
        slowdown: None,
        fit,
    }
}

fn contradiction(e: &Evidence<'_>) -> Outcome {
    Outcome::Inconclusive {
        reason: Reason::Contradiction,
        more: more(e),
    }
}

impl Evidence<'_> {
    /// A saturation that would end after the record fits at least as well as a leak: over a dozen readings a leak behind a
    /// warm-up can imitate any smooth curve, so the simpler explanation has to be given its due.
    fn undecided(&self) -> bool {
        self.contest.undecided > self.contest.leak && self.contest.undecided > 0.3
    }

    /// A bend that the leak models explain by a warm-up or a cache beside the leak, or that a line leaves in the readings:
    /// with few of them after it, that there is a straight part at all is known only if the saturation is clearly worse.
    fn may_only_bend(&self, straight: bool) -> bool {
        let beside = self
            .contest
            .best_leak
            .is_some_and(|c| matches!(c.form, Form::WarmLinear | Form::FillLinear));
        let odds = match self.y.len() {
            ..12 => 0.05,
            12..18 => 0.1,
            _ => 1.0,
        };
        (beside || !straight) && self.contest.undecided > odds * self.contest.leak
    }

    /// Bets on the increments of the stretch that begins at reading `start`.
    fn bets_from(&self, start: usize) -> Bets {
        Bets::on(&self.x[start..], &self.y[start..], self.floor)
    }

    /// Whether a model that becomes level rises to that level by more than the readings scatter by, and is clearly
    /// better than no rise at all. One low reading is not enough for that.
    fn rose(&self, c: &Candidate) -> bool {
        let fitted = |i: usize| self.y[i] - c.residuals[i];
        let rise = fitted(self.y.len() - 1) - fitted(0);
        let worth = self.flat_bic.is_none_or(|flat| flat - c.bic > CLEARLY);
        rise > RISE * c.variance.sqrt() && worth
    }

    /// Whether the growth is preceded by readings that are level in comparison, and the straight lines that begin at
    /// the first reading are clearly worse.
    fn begins_late(&self) -> bool {
        let Some(best) = self.contest.best_leak else {
            return false;
        };
        matches!(best.form, Form::Onset | Form::WarmOnset)
            && self.from >= BEFORE_ONSET
            && theil_sen(&self.x[..=self.from], &self.smooth[..=self.from]) < 0.5 * self.growth.rate
            && self.line_bic.is_none_or(|line| line - best.bic > CLEARLY)
    }

    /// Whether what grew, as it was measured, is below the floor. What may not grow at all is held against the highest one;
    /// that growth while idle would explain all of it is another matter.
    fn is_level(&self, measured: Interval) -> bool {
        let high = widened(measured, self.idle).high;
        high < self.floor || (measured.low <= 0.0 && high < self.highest_floor)
    }

    /// The floor that the outcome was held against.
    fn floor_of(&self, outcome: &Outcome) -> f64 {
        match outcome {
            Outcome::NoLeak(bound) if bound.rate >= self.floor => self.highest_floor,
            _ => self.floor,
        }
    }

    /// Probability that the level stretch really grows slower than the floor.
    fn whole_or_tail_certainty(&self) -> f64 {
        let of = |t: &Trend| 1.0 - t.probability_above(self.floor);
        of(&self.whole).max(self.tail.as_ref().map_or(0.0, |t| of(&t.1)))
    }
}

/// Growth while idle may be part of what was measured: it lowers the low end (or, if memory falls while idle, raises
/// the high end), and is never subtracted from the rate.
fn widened(interval: Interval, idle: f64) -> Interval {
    Interval {
        low: interval.low - idle.max(0.0),
        high: interval.high - idle.min(0.0),
    }
}

/// The rate of growth, averaged over all leak models within reach of the best one: which of them is right (whether
/// there was a warm-up, when it ended) is not known, and the interval has to say so.
fn growth(
    candidates: &[Candidate],
    best: Option<&Candidate>,
    u: &[f64],
    (y, smooth): (&[f64], &[f64]),
    noise_floor: f64,
    span: f64,
) -> Option<Trend> {
    let best = best?;
    let x: Vec<f64> = u.iter().map(|at| at * span).collect();
    match best.form {
        Form::Steps => Trend::of(&x, y, noise_floor),
        Form::Exponential | Form::Quadratic => {
            let half = (u.len() / 2).min(u.len().saturating_sub(FEWEST));
            Trend::of(&x[half..], &smooth[half..], noise_floor)
        }
        _ => {
            let mut near: Vec<(&Candidate, f64)> = candidates
                .iter()
                .filter(|c| {
                    c.class == Class::Leak && c.pattern == Pattern::Linear && c.bic - best.bic < 8.0
                })
                .map(|c| (c, (-0.5 * (c.bic - best.bic)).exp()))
                .collect();
            // A line that fits to the last bit needs no warm-up to explain it.
            let exact = candidates
                .iter()
                .find(|c| c.form == Form::Linear && mean_square(&c.residuals) <= 4.0 * noise_floor);
            if let Some(exact) = exact {
                near = vec![(exact, 1.0)];
            }
            near.sort_by(|a, b| b.1.total_cmp(&a.1));
            near.truncate(8);
            Trend::average(&near, u, y, noise_floor, span)
        }
    }
}

/// What the jumps of a leak model add per unit of the axis.
fn doubling(x: &[f64], best: Option<&Candidate>, before: f64) -> Amortised {
    let (sizes, at): (&[f64], Vec<f64>) = match best {
        // A jump lies between two readings.
        Some(c) => (
            c.jump_sizes(),
            c.jumps()
                .iter()
                .map(|&i| 0.5 * (x[i - 1] + x[i]) - x[0])
                .collect(),
        ),
        None => (&[], Vec::new()),
    };
    let span = x[x.len() - 1] - x[0];
    steps::amortised(sizes, &at, span / (x.len() - 1) as f64, span, before)
}

fn mean_square(residuals: &[f64]) -> f64 {
    residuals.iter().map(|r| r * r).sum::<f64>() / residuals.len().max(1) as f64
}

/// Whether the last third grows clearly slower than the third before: a saturation that the leak models can imitate
/// over a dozen readings. The difference must exceed its own error.
fn decelerates(x: &[f64], y: &[f64], noise_floor: f64) -> bool {
    let n = y.len();
    let third = (n / 3 + 1).max(3);
    if n < 2 * third - 1 {
        return false;
    }
    let last = Trend::of(&x[n - third..], &y[n - third..], noise_floor);
    let before = Trend::of(
        &x[n + 1 - 2 * third..=n - third],
        &y[n + 1 - 2 * third..=n - third],
        noise_floor,
    );
    match (before, last) {
        (Some(before), Some(last)) => {
            before.rate > 0.0 && last.rate + (last.error + 0.6 * before.error) < 0.6 * before.rate
        }
        _ => false,
    }
}

/// Readings corrected for the correlation left in the residuals of the best model.
fn effective_readings(candidates: &[Candidate], n: usize) -> f64 {
    let Some(best) = candidates.iter().min_by(|a, b| a.bic.total_cmp(&b.bic)) else {
        return n as f64;
    };
    let r = &best.residuals;
    let power: f64 = r.iter().map(|v| v * v).sum();
    let product: f64 = r.windows(2).map(|w| w[0] * w[1]).sum();
    let correlation = if power > 0.0 {
        (product / power).clamp(0.0, 0.9)
    } else {
        0.0
    };
    (n as f64 * (1.0 - correlation) / (1.0 + correlation)).max(3.0)
}

/// Where the growth of the best leak model starts to be straight.
fn stretch_of_leak(u: &[f64], best: Option<&Candidate>) -> usize {
    let Some(best) = best else { return 0 };
    let corner = match best.form {
        Form::WarmLinear => 2.5 * best.shape[0],
        Form::FillLinear | Form::Onset | Form::WarmOnset => best.shape[0],
        Form::Exponential | Form::Quadratic => 0.5,
        _ => 0.0,
    };
    let latest = u.len().saturating_sub(FEWEST.max(u.len() / 3));
    u.iter()
        .position(|&at| at >= corner)
        .unwrap_or(0)
        .min(latest)
}

/// Where the best healthy model has become level; `None` if too little follows to say so.
fn stretch_of_level(u: &[f64], best: Option<&Candidate>) -> Option<usize> {
    let best = best?;
    let corner = match best.form {
        Form::Saturating => 3.0 * best.shape[0],
        Form::TwoPhases => 3.0 * best.shape[1],
        Form::Clamp | Form::WarmClamp => best.shape[0],
        Form::Logarithm => 0.5,
        _ => 0.0,
    };
    let corner = best.steps.last().map_or(corner, |&i| corner.max(u[i]));
    let start = u.iter().position(|&at| at >= corner)?;
    (u.len() - start >= FEWEST.max(u.len() / 4)).then_some(start)
}

/// Growth of the second half over that of the first.
fn acceleration(u: &[f64], y: &[f64]) -> f64 {
    let n = u.len();
    if n < 4 {
        return 1.0;
    }
    let half = n / 2;
    let first = theil_sen(&u[..=half], &y[..=half]);
    let second = theil_sen(&u[n - 1 - half..], &y[n - 1 - half..]);
    if first > 0.0 {
        (second / first).clamp(-100.0, 100.0)
    } else if second > 0.0 {
        100.0
    } else {
        1.0
    }
}

fn reason(e: &Evidence<'_>, undecided: bool, shape: f64, terms: &Terms) -> Reason {
    let grows = e.grown.low > e.floor || e.overall.low > e.floor;
    let undecidable = undecided && e.whole.rate > e.floor;
    if grows && !terms.settled && acceleration(e.x, e.smooth) < STEADY {
        Reason::WarmingUp
    } else if e
        .contest
        .best
        .is_some_and(|c| c.form == Form::Steps && c.class == Class::Undecided)
    {
        Reason::FewSteps
    } else if undecidable || (grows && (shape < 0.5 || e.decelerates || e.acceleration < 0.6)) {
        Reason::StillFilling
    } else if grows {
        Reason::Ambiguous
    } else {
        Reason::Noise
    }
}

/// How many more operations would settle it. Half-widths shrink with the length to the power 3/2.
fn more(e: &Evidence<'_>) -> More {
    let span = e.x[e.x.len() - 1] - e.x[0];
    let interval = e.grown;
    let half = 0.5 * (interval.high - interval.low);
    let gap = (e.growth.rate - e.floor).abs().max(0.25 * e.floor);
    let factor = (half / gap).max(0.0).powf(2.0 / 3.0).clamp(1.5, 5.0);
    let further = span * (factor - 1.0);
    match e.axis {
        Axis::Operations => More {
            operations: Some(further.ceil().max(1.0) as u64),
            seconds: None,
        },
        Axis::Time => More {
            operations: None,
            seconds: Some(further),
        },
    }
}

/// Smallest rate that would have been called a leak: its lower bound must clear the floor.
fn detectable(e: &Evidence<'_>) -> f64 {
    let i = e.overall;
    e.floor + 0.5 * (i.high - i.low) + e.idle.max(0.0)
}

/// The shape of the verdict's own side; of an open verdict, that of whatever describes the readings best. Readings that
/// never rose beyond their noise are flat, whichever curve fits that noise best.
fn pattern(e: &Evidence<'_>, outcome: &Outcome) -> Pattern {
    match (e.contest.best_for(outcome), outcome) {
        (Some(c), Outcome::NoLeak(_)) if c.pattern == Pattern::Plateau && !e.rose(c) => {
            Pattern::Flat
        }
        (Some(c), _) => c.pattern,
        (None, Outcome::Leak) => Pattern::Linear,
        (None, _) => Pattern::Flat,
    }
}

fn estimate(
    e: &Evidence<'_>,
    readings: &Readings,
    terms: &Terms,
    outcome: &Outcome,
    interval: Interval,
) -> Growth {
    // The stretch that the verdict speaks of: after a plateau, its tail.
    let (from, rate, interval) = match (outcome, &e.tail) {
        (Outcome::NoLeak(bound), Some((start, tail)))
            if widened(e.overall, e.idle).high > bound.rate =>
        {
            (*start, tail.rate, widened(tail.interval(), e.idle))
        }
        (Outcome::NoLeak(_), _) => (0, e.whole.rate, widened(e.overall, e.idle)),
        // Between the jumps at the least; with them, once they are spread over what they make room for, on average.
        _ => (
            e.from,
            e.growth.rate + e.doubling.rate,
            Interval {
                high: interval.high + e.doubling.most,
                ..interval
            },
        ),
    };
    let last = e.y.len() - 1;
    let at_ns = |i: usize| {
        readings
            .start_ns
            .saturating_add((readings.seconds[i] * 1e9) as u64)
    };
    let on_time = e.axis == Axis::Time;
    let elapsed = readings.seconds[last] - readings.seconds[from];
    let done = match readings.ops.get(from..) {
        Some([first, .., last]) if last > first => Some(last - first),
        _ => None,
    };
    // Units of the axis per second: operations, or seconds themselves.
    let own_speed = if on_time {
        Some(1.0)
    } else {
        done.filter(|_| elapsed > 0.0).map(|d| d / elapsed)
    };
    let expected = terms
        .expected_rate
        .filter(|r| r.is_finite() && *r > 0.0 && !on_time);
    let speed = expected.or(own_speed);
    let onset = (matches!(outcome, Outcome::Leak) && e.begins_late()).then(|| Onset {
        t_ns: at_ns(e.from),
        operations: readings.ops.get(e.from).copied(),
    });
    let plateau = match (&e.tail, outcome) {
        (Some((start, _)), Outcome::NoLeak(_)) if *start > 0 => Some(Plateau {
            level: median(&e.y[*start..]),
            t_ns: at_ns(*start),
        }),
        _ => None,
    };
    let time_to_limit = match (terms.limit, outcome, speed) {
        (Some(limit), Outcome::Leak, Some(speed)) => {
            let left = (limit - median(&e.y[last.saturating_sub(2)..])).max(0.0);
            let seconds = |rate: f64| {
                if rate > 0.0 {
                    left / (rate * speed)
                } else {
                    f64::INFINITY
                }
            };
            Some(TimeToLimit {
                limit,
                seconds: seconds(rate),
                interval: Interval {
                    low: seconds(interval.high),
                    high: seconds(interval.low),
                },
                at_rate: (!on_time).then_some(speed),
            })
        }
        _ => None,
    };
    let increments: Vec<f64> = e.y[from..].windows(2).map(|w| w[1] - w[0]).collect();
    let same_way = increments.iter().filter(|d| **d * rate > 0.0).count();
    Growth {
        rate,
        interval,
        per: e.axis,
        per_second: own_speed.map(|s| rate * s),
        per_second_interval: own_speed.map(|s| {
            let (slow, fast) = speeds(&e.x[from..], &readings.seconds[from..], s);
            let by = |r: f64, speed: f64, other: f64| r * if r > 0.0 { speed } else { other };
            Interval {
                low: by(interval.low, slow, fast),
                high: by(interval.high, fast, slow),
            }
        }),
        per_operation: if on_time {
            done.map(|d| rate * elapsed / d)
        } else {
            Some(rate)
        },
        onset,
        plateau,
        time_to_limit,
        acceleration: e.acceleration,
        consistency: same_way as f64 / increments.len().max(1) as f64,
        correlation: match (readings.ops.get(from..), e.y.get(from..)) {
            (Some(ops), Some(y)) => pearson(ops, y),
            _ => None,
        },
    }
}

/// The slowest and fastest operation rate of the three thirds of a stretch, and `own` over all of it.
fn speeds(x: &[f64], seconds: &[f64], own: f64) -> (f64, f64) {
    let n = x.len();
    let cut = [0, n / 3, 2 * n / 3, n - 1];
    let third = cut.windows(2).filter_map(|w| {
        let elapsed = seconds[w[1]] - seconds[w[0]];
        (elapsed > 0.0).then(|| (x[w[1]] - x[w[0]]) / elapsed)
    });
    third.fold((own, own), |(slow, fast), v| (slow.min(v), fast.max(v)))
}

/// The verdict on fewer readings than a rate needs.
pub(crate) fn too_few(
    series: &Series,
    readings: &Readings,
    terms: &Terms,
    guarantee: Guarantee,
    need: usize,
) -> Verdict {
    let have = readings.value.len();
    let floor = terms
        .floor
        .filter(|f| f.is_finite())
        .unwrap_or(match series.quantity {
            Quantity::Bytes => FLOOR_BYTES_MOST,
            Quantity::Count => FLOOR_COUNT,
        });
    let per_reading = match readings.ops.as_slice() {
        [first, .., last] => (last - first) / (have - 1) as f64,
        _ => 0.0,
    };
    let missing = (need + 1).saturating_sub(have).max(1) as f64;
    Verdict {
        outcome: Outcome::Inconclusive {
            reason: Reason::TooFewReadings { have, need },
            more: More {
                operations: (per_reading > 0.0).then_some((per_reading * missing) as u64),
                seconds: None,
            },
        },
        estimate: None,
        leak_probability: 0.5,
        p_value: 1.0,
        pattern: Pattern::Flat,
        detectable: None,
        floor,
        guarantee,
        repairs: readings.repairs.clone(),
        bets_p_value: None,
        slowdown: None,
        fit: None,
    }
}
