//! Growth per operation apart from growth per second: equally many operations, done fast and done slowly.
//!
//! A round of *n* operations that takes *t* seconds grows by *a·n + b·t*. With *n* the same in all rounds and two lengths *t₁* < *t₂*,
//! the difference of the two growths is *b·(t₂ − t₁)*, and what is left is *a·n*. The growth of either sort is the median over its
//! rounds; the noise is that of measuring, common to both (see [`crate::judge_kinds`]).

use crate::stats::{median, student_quantile};
use crate::verdict::Interval;

/// Rounds of a sort below which nothing is said.
const FEWEST: usize = 3;
/// Standard error of a median over that of a mean, for normal noise: √(π/2).
const MEDIAN_COST: f64 = 1.2533;
/// The standard deviation over the median absolute difference of two normal readings: 1.4826/√2.
const PAIR_SCALE: f64 = 1.0483;
/// How many times as long as the fast rounds the slow ones must last.
const LEAST_RATIO: f64 = 1.5;

/// A round of as many operations as every other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedRound {
    /// Seconds from the reading before to the one after.
    pub seconds: f64,
    /// Bytes by which what is left after a collection grew.
    pub growth: f64,
}

/// What grows with operations, and what with time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// Bytes per operation.
    pub per_operation: f64,
    /// Its 95 % interval.
    pub per_operation_interval: Interval,
    /// Bytes per second.
    pub per_second: f64,
    /// Its 95 % interval.
    pub per_second_interval: Interval,
}

/// Splits the growth of rounds of `operations` operations each. `None` with fewer than three finite rounds of a sort, without operations, or where the
/// slow rounds did not take one and a half times as long.
pub fn split_growth(operations: f64, fast: &[TimedRound], slow: &[TimedRound]) -> Option<Split> {
    let finite = |rounds: &[TimedRound]| -> (Vec<f64>, Vec<f64>) {
        let known = rounds
            .iter()
            .filter(|r| r.growth.is_finite() && r.seconds.is_finite());
        known.map(|r| (r.seconds, r.growth)).unzip()
    };
    let ((fast_seconds, fast), (slow_seconds, slow)) = (finite(fast), finite(slow));
    if fast.len() < FEWEST || slow.len() < FEWEST || operations <= 0.0 {
        return None;
    }
    let (short, long) = (median(&fast_seconds), median(&slow_seconds));
    if long < LEAST_RATIO * short {
        return None;
    }
    let differences: Vec<f64> = pairs(&fast).chain(pairs(&slow)).collect();
    let noise = PAIR_SCALE * median(&differences);
    let degrees = u32::try_from((fast.len() + slow.len() - 2) / 2).unwrap_or(u32::MAX);
    let t = student_quantile(0.025, degrees.clamp(1, 10_000));
    let error_of = |rounds: usize| (MEDIAN_COST * noise).powi(2) / rounds as f64;
    let (fast_variance, slow_variance) = (error_of(fast.len()), error_of(slow.len()));

    let (little, much) = (median(&fast), median(&slow));
    let apart = long - short;
    let around = |rate: f64, variance: f64| {
        let width = t * variance.sqrt();
        Interval {
            low: rate - width,
            high: rate + width,
        }
    };
    let per_second = (much - little) / apart;
    let per_operation = (long * little - short * much) / (operations * apart);
    Some(Split {
        per_operation,
        per_operation_interval: around(
            per_operation,
            (long.powi(2) * fast_variance + short.powi(2) * slow_variance)
                / (operations * apart).powi(2),
        ),
        per_second,
        per_second_interval: around(per_second, (fast_variance + slow_variance) / apart.powi(2)),
    })
}

fn pairs(values: &[f64]) -> impl Iterator<Item = f64> + '_ {
    values
        .iter()
        .enumerate()
        .flat_map(|(i, a)| values[i + 1..].iter().map(move |b| (a - b).abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of 1,000 operations in 0.2 and 0.8 s, with alternating noise of 2 kB.
    fn rounds(per_operation: f64, per_second: f64, seconds: f64) -> Vec<TimedRound> {
        let noise = [1_000.0, -1_500.0, 2_000.0, -700.0];
        noise
            .iter()
            .map(|noise| TimedRound {
                seconds,
                growth: per_operation * 1_000.0 + per_second * seconds + noise,
            })
            .collect()
    }

    fn split(per_operation: f64, per_second: f64) -> Split {
        let of = |seconds| rounds(per_operation, per_second, seconds);
        split_growth(1_000.0, &of(0.2), &of(0.8)).unwrap()
    }

    fn holds(interval: Interval, value: f64) -> bool {
        interval.low <= value && value <= interval.high
    }

    #[test]
    fn operations_and_time_are_told_apart() {
        for (per_operation, per_second) in
            [(120.0, 0.0), (0.0, 500e3), (120.0, 500e3), (120.0, -50e3)]
        {
            let split = split(per_operation, per_second);
            assert!(
                holds(split.per_operation_interval, per_operation),
                "{split:?}"
            );
            assert!(holds(split.per_second_interval, per_second), "{split:?}");
        }
        let by_time = split(0.0, 500e3);
        assert!(by_time.per_operation_interval.high < 16.0, "{by_time:?}");
        assert!(by_time.per_second_interval.low > 400e3, "{by_time:?}");
    }

    #[test]
    fn what_cannot_tell_says_nothing() {
        let fast = rounds(100.0, 0.0, 0.2);
        assert_eq!(
            split_growth(1_000.0, &fast, &rounds(100.0, 0.0, 0.25)),
            None
        );
        assert_eq!(
            split_growth(1_000.0, &fast[..2], &rounds(100.0, 0.0, 0.8)),
            None
        );
        assert_eq!(split_growth(0.0, &fast, &rounds(100.0, 0.0, 0.8)), None);
        assert_eq!(split_growth(1_000.0, &[], &[]), None);
    }
}
