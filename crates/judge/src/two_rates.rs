//! Growth per operation apart from growth per second: operations done fast and done slowly.
//!
//! A round of *n* operations that takes *t* seconds grows by *a·n + b·t*. Two sorts of rounds, in which an operation takes differently
//! long, are two equations for *a* and *b*. The growth of either sort is the median over its rounds; the noise is that of
//! measuring, common to both (see [`crate::judge_kinds`]).

use crate::stats::{median, student_quantile};
use crate::verdict::Interval;

/// Rounds of a sort below which nothing is said.
const FEWEST: usize = 3;
/// Standard error of a median over that of a mean, for normal noise: √(π/2).
const MEDIAN_COST: f64 = 1.2533;
/// The standard deviation over the median absolute difference of two normal readings: 1.4826/√2.
const PAIR_SCALE: f64 = 1.0483;
/// How many times as long as in the fast rounds an operation must take in the slow ones.
const LEAST_RATIO: f64 = 1.5;

/// A round of one of the two sorts. All of a sort have as many operations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedRound {
    /// Operations that were done in it.
    pub operations: f64,
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

/// Splits the growth of two sorts of rounds. `None` with fewer than three finite rounds of a sort, without operations, or where an operation
/// of the slow rounds did not take one and a half times as long.
pub fn split_growth(fast: &[TimedRound], slow: &[TimedRound]) -> Option<Split> {
    let (fast, slow) = (Sort::of(fast)?, Sort::of(slow)?);
    if slow.seconds * fast.operations < LEAST_RATIO * fast.seconds * slow.operations {
        return None;
    }
    let differences: Vec<f64> = pairs(&fast.growths).chain(pairs(&slow.growths)).collect();
    let noise = PAIR_SCALE * median(&differences);
    let degrees = (fast.growths.len() + slow.growths.len() - 2) / 2;
    let degrees = u32::try_from(degrees).unwrap_or(u32::MAX);
    let t = student_quantile(0.025, degrees.clamp(1, 10_000));
    let variance = |sort: &Sort| (MEDIAN_COST * noise).powi(2) / sort.growths.len() as f64;
    let (fast_variance, slow_variance) = (variance(&fast), variance(&slow));

    let (little, much) = (median(&fast.growths), median(&slow.growths));
    let apart = fast.operations * slow.seconds - slow.operations * fast.seconds;
    let around = |rate: f64, variance: f64| {
        let width = t * variance.sqrt();
        Interval {
            low: rate - width,
            high: rate + width,
        }
    };
    // The two equations solved: each rate is a sum of both growths, with weights that are known.
    let solved = |of_fast: f64, of_slow: f64| {
        let (of_fast, of_slow) = (of_fast / apart, of_slow / apart);
        let rate = of_fast * little + of_slow * much;
        let variance = of_fast.powi(2) * fast_variance + of_slow.powi(2) * slow_variance;
        (rate, around(rate, variance))
    };
    let (per_operation, per_operation_interval) = solved(slow.seconds, -fast.seconds);
    let (per_second, per_second_interval) = solved(-slow.operations, fast.operations);
    Some(Split {
        per_operation,
        per_operation_interval,
        per_second,
        per_second_interval,
    })
}

/// What is known of one sort of rounds.
struct Sort {
    operations: f64,
    seconds: f64,
    growths: Vec<f64>,
}

impl Sort {
    fn of(rounds: &[TimedRound]) -> Option<Self> {
        let known = rounds
            .iter()
            .filter(|r| r.growth.is_finite() && r.seconds.is_finite());
        let (seconds, growths): (Vec<f64>, Vec<f64>) = known.map(|r| (r.seconds, r.growth)).unzip();
        let operations = rounds.first()?.operations;
        (growths.len() >= FEWEST && operations > 0.0).then(|| Self {
            operations,
            seconds: median(&seconds),
            growths,
        })
    }
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

    /// Rounds with alternating noise of 2 kB.
    fn rounds(
        per_operation: f64,
        per_second: f64,
        operations: f64,
        seconds: f64,
    ) -> Vec<TimedRound> {
        let noise = [1_000.0, -1_500.0, 2_000.0, -700.0];
        noise
            .iter()
            .map(|noise| TimedRound {
                operations,
                seconds,
                growth: per_operation * operations + per_second * seconds + noise,
            })
            .collect()
    }

    fn holds(interval: Interval, value: f64) -> bool {
        interval.low <= value && value <= interval.high
    }

    #[test]
    fn operations_and_time_are_told_apart() {
        for (per_operation, per_second) in
            [(120.0, 0.0), (0.0, 500e3), (120.0, 500e3), (120.0, -50e3)]
        {
            // Equally many operations, or fewer of them slowly.
            for slow in [(1_000.0, 0.8), (200.0, 0.8)] {
                let of =
                    |(operations, seconds)| rounds(per_operation, per_second, operations, seconds);
                let split = split_growth(&of((1_000.0, 0.2)), &of(slow)).unwrap();
                assert!(
                    holds(split.per_operation_interval, per_operation),
                    "{split:?}"
                );
                assert!(holds(split.per_second_interval, per_second), "{split:?}");
                if per_operation == 0.0 {
                    assert!(split.per_operation_interval.high < 16.0, "{split:?}");
                    assert!(split.per_second_interval.low > 400e3, "{split:?}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_tell_says_nothing() {
        let of = |operations, seconds| rounds(100.0, 0.0, operations, seconds);
        let (fast, slow) = (of(1_000.0, 0.2), of(1_000.0, 0.8));
        assert_eq!(split_growth(&fast, &of(1_000.0, 0.25)), None);
        // As long for a fifth of the operations is slow, and for five times as many is not.
        assert!(split_growth(&fast, &of(200.0, 0.2)).is_some());
        assert_eq!(split_growth(&fast, &of(5_000.0, 0.8)), None);
        assert_eq!(split_growth(&fast[..2], &slow), None);
        assert_eq!(split_growth(&of(0.0, 0.2), &of(0.0, 0.8)), None);
        assert_eq!(split_growth(&[], &[]), None);
    }
}
