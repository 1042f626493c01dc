//! Worse than a baseline? The same subject under the same load, before and after a change.
//!
//! Caches fill, compilers warm up, pools grow: in both runs alike. The difference of the two runs at the same number of
//! operations is free of all of it, so a leak that the first minutes of either run hide shows from the first round
//! (Matias et al. 2013 compare versions this way). The difference is judged as any collected series is, twice: as it is
//! for "worse", and turned over for "better". Neither, both bounded: equivalent, by so much at most.
//!
//! Each run's readings are first brought to common positions: rounds are interpolated, raw samples reduced to the lower
//! envelope of as many stretches. What cannot be told is a leak that both runs have: that is for
//! [`judge`](crate::judge) to say.

use crate::repair::{self, Readings};
use crate::rounds;
use crate::series::{Axis, Quantity, Series, Terms};
use crate::stats::{median, quantile};
use crate::stretch::{at, is_resident};
use crate::verdict::{Interval, More, Outcome, Reason, Verdict};

/// Raw samples are reduced to so many stretches.
const STRETCHES: usize = 40;

/// How a series compares with its baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedVerdict {
    /// The answer.
    pub outcome: PairedOutcome,
    /// Growth of the series beyond that of the baseline, per operation or per second; `None` with too few readings.
    pub rate: Option<f64>,
    /// 95 % interval of `rate`.
    pub interval: Option<Interval>,
    /// What `rate` is per.
    pub per: Axis,
    /// A difference below this rate does not count, in the unit of the axis; as [`Verdict::floor`].
    pub floor: f64,
    /// P(worse), 0 to 1.
    pub worse_probability: f64,
    /// One-sided evidence against "not worse".
    pub p_value: f64,
    /// Smallest difference that could have been detected.
    pub detectable: Option<f64>,
    /// Positions at which both runs were read.
    pub compared: usize,
}

/// Worse, better, the same, or not known.
#[derive(Debug, Clone, PartialEq)]
pub enum PairedOutcome {
    /// Grows faster than the baseline, by more than the floor.
    Worse,
    /// Grows slower than the baseline, by more than the floor.
    Better,
    /// Grows as the baseline does, within this rate either way: an equivalence statement.
    Equivalent {
        /// 97.5 % bound of the difference on each side.
        within: f64,
    },
    /// The data cannot settle it.
    Inconclusive {
        /// Why.
        reason: Reason,
        /// What would settle it.
        more: More,
    },
}

/// Compares a series with an earlier run of the same subject under the same load.
///
/// Both are laid over each other from their first reading on; what one has beyond the length of the other is left out.
/// On the operations axis both need their operations. The terms are those of the series.
pub fn judge_paired(series: &Series, baseline: &Series, terms: &Terms) -> PairedVerdict {
    let (new, old) = (repair::repair(series), repair::repair(baseline));
    let on_time = series.axis == Axis::Time;
    let difference = difference(&new, &old, on_time).unwrap_or_default();
    let level = median(&new.value).abs();
    let terms = Terms {
        floor: terms
            .floor
            .or_else(|| floor_on_time(series, &new, &difference, level)),
        limit: None,
        ..terms.clone()
    };
    let one_way = |sign: f64| {
        let readings = Readings {
            value: difference.value.iter().map(|v| sign * v).collect(),
            ..difference.clone()
        };
        rounds::judge(series, &readings, &terms)
    };
    let worse = one_way(1.0);
    let better = one_way(-1.0);
    let growth = worse.estimate.as_ref();
    PairedVerdict {
        rate: growth.map(|g| g.rate),
        interval: growth.map(|g| g.interval),
        per: series.axis,
        floor: worse.floor,
        worse_probability: worse.leak_probability,
        p_value: worse.p_value,
        detectable: worse.detectable,
        compared: difference.value.len(),
        outcome: outcome(worse, better),
    }
}

fn outcome(worse: Verdict, better: Verdict) -> PairedOutcome {
    match (worse.outcome, better.outcome) {
        (Outcome::Leak, _) => PairedOutcome::Worse,
        (_, Outcome::Leak) => PairedOutcome::Better,
        (Outcome::NoLeak(up), Outcome::NoLeak(down)) => PairedOutcome::Equivalent {
            within: up.rate.max(down.rate).max(0.0),
        },
        (Outcome::Inconclusive { reason, more }, _)
        | (_, Outcome::Inconclusive { reason, more }) => {
            PairedOutcome::Inconclusive { reason, more }
        }
    }
}

/// The floor of a difference against time: it has no level of its own to take 0.4 % of.
fn floor_on_time(
    series: &Series,
    new: &Readings,
    difference: &Readings,
    level: f64,
) -> Option<f64> {
    let span = difference.seconds.last().filter(|s| **s > 0.0)?;
    let least = match (series.quantity, new.collected) {
        (Quantity::Count, _) => 5.0,
        (Quantity::Bytes, true) => 16_384.0,
        (Quantity::Bytes, false) => 98_304.0,
    };
    let least = if is_resident(series) {
        f64::max(least, 98_304.0)
    } else {
        least
    };
    (series.axis == Axis::Time).then_some((0.004 * level).max(least) / span)
}

/// The run minus its baseline, at common positions. `None` if they do not overlap or lack their axis.
fn difference(new: &Readings, old: &Readings, on_time: bool) -> Option<Readings> {
    let (x_new, x_old) = (positions(new, on_time)?, positions(old, on_time)?);
    let common = x_new.last()?.min(*x_old.last()?);
    if common.is_nan() || common <= 0.0 {
        return None;
    }
    let few = |r: &Readings| r.collected && r.value.len() <= rounds::MOST;
    let (x, value): (Vec<f64>, Vec<f64>) = if few(new) && few(old) {
        // A hair of rounding must not cost the last round.
        let within = x_new
            .iter()
            .zip(&new.value)
            .filter(|(x, _)| **x <= common * (1.0 + 1e-9));
        within
            .map(|(x, v)| (*x, v - at(&x_old, &old.value, *x)))
            .unzip()
    } else {
        let (low_new, low_old) = (
            envelope(&x_new, &new.value, common),
            envelope(&x_old, &old.value, common),
        );
        (0..STRETCHES)
            .filter_map(|i| {
                let x = (i as f64 + 0.5) / STRETCHES as f64 * common;
                Some((x, low_new[i]? - low_old[i]?))
            })
            .unzip()
    };
    let first = x.first().copied().unwrap_or(0.0);
    let seconds: Vec<f64> = if on_time {
        x.iter().map(|v| v - first).collect()
    } else {
        let when: Vec<f64> = x.iter().map(|v| at(&x_new, &new.seconds, *v)).collect();
        when.iter().map(|s| s - when[0]).collect()
    };
    Some(Readings {
        seconds,
        start_ns: new.start_ns,
        ops: if on_time { Vec::new() } else { x },
        value,
        collected: true,
        ..Readings::default()
    })
}

/// Operations or seconds since the first reading.
fn positions(r: &Readings, on_time: bool) -> Option<Vec<f64>> {
    let x = if on_time { &r.seconds } else { &r.ops };
    let first = *x.first()?;
    Some(x.iter().map(|v| v - first).collect())
}

/// The 5 % quantile of each stretch; `None` where a stretch is empty.
fn envelope(x: &[f64], value: &[f64], common: f64) -> Vec<Option<f64>> {
    (0..STRETCHES)
        .map(|i| {
            let edge = |k: usize| k as f64 / STRETCHES as f64 * common;
            let from = x.partition_point(|v| *v < edge(i));
            let to = x.partition_point(|v| *v < edge(i + 1));
            (to > from).then(|| quantile(&value[from..to], 0.05))
        })
        .collect()
}
