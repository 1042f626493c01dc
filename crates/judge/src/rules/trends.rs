//! Rules that test for a trend by ranks: Mann–Kendall and its repairs against correlated readings.

use super::{Measured, at_least, length};
use crate::repair::Readings;
use crate::stats::{mean, student_upper, theil_sen};

type Answer = Result<Measured, String>;

/// Readings that quadratic rules are evaluated on at most.
const MOST: usize = 500;
/// Level below which a trend counts as significant.
const ALPHA: f64 = 0.05;
/// Growth below this share of the level is no finding of the repaired tests.
const LEVEL_SHARE: f64 = 0.01;

/// Kendall's S and its variance without correlation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kendall {
    s: f64,
    variance: f64,
}

impl Kendall {
    /// Counts pairs that rise less pairs that fall. n log n, exact with ties (Kendall 1975).
    fn of(value: &[f64]) -> Self {
        let n = value.len();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| value[a].total_cmp(&value[b]));
        // Dense ranks from 1; equal values share one.
        let mut rank = vec![0_usize; n];
        let mut ties = Vec::new();
        let mut ranks = 0;
        for (place, &i) in order.iter().enumerate() {
            if place == 0 || value[order[place - 1]] != value[i] {
                ranks += 1;
                ties.push(0.0);
            }
            rank[i] = ranks;
            ties[ranks - 1] += 1.0;
        }
        // Fenwick tree of the ranks seen so far.
        let mut tree = vec![0_u32; ranks + 1];
        let sum = |tree: &[u32], mut at: usize| {
            let mut total = 0_u64;
            while at > 0 {
                total += u64::from(tree[at]);
                at &= at - 1;
            }
            total as f64
        };
        let mut s = 0.0;
        for (seen, &r) in rank.iter().enumerate() {
            let (below, up_to) = (sum(&tree, r - 1), sum(&tree, r));
            s += below - (seen as f64 - up_to);
            let mut at = r;
            while at <= ranks {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
        let terms = |t: f64| t * (t - 1.0) * (2.0 * t + 5.0);
        let variance = (terms(n as f64) - ties.iter().map(|t| terms(*t)).sum::<f64>()) / 18.0;
        Self { s, variance }
    }

    /// Two-sided probability without a trend, by the normal approximation with continuity correction.
    fn p(self) -> f64 {
        if self.variance <= 0.0 || self.s == 0.0 {
            return 1.0;
        }
        let z = (self.s.abs() - 1.0) / self.variance.sqrt();
        2.0 * student_upper(z, 1e9)
    }
}

/// The p-value of a rise.
pub(super) fn mann_kendall(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 4)?;
    let kendall = Kendall::of(&readings.value);
    let p = kendall.p();
    Ok(if kendall.s > 0.0 {
        p.into()
    } else {
        Measured::excused(p, "the ranks do not rise")
    })
}

/// Theil–Sen growth over the series, broken only if pre-whitened readings show a trend and it is 1 % of the level.
pub(super) fn pre_whitened(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 10)?;
    let (seconds, value) = thinned(readings);
    let centre = mean(&value);
    let off: Vec<f64> = value.iter().map(|v| v - centre).collect();
    let correlation = autocorrelation(&off, 1);
    let white: Vec<f64> = value
        .windows(2)
        .map(|w| w[1] - correlation * w[0])
        .collect();
    sen_growth(readings, &seconds, &value, Kendall::of(&white).p())
}

/// The same with the variance of S corrected for the correlation of the ranks (Hamed and Rao 1998).
pub(super) fn hamed_rao(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 10)?;
    let (seconds, value) = thinned(readings);
    let slope = theil_sen(&seconds, &value);
    let flat: Vec<f64> = value
        .iter()
        .zip(&seconds)
        .map(|(v, s)| v - slope * s)
        .collect();
    let ranks = centred_ranks(&flat);
    let n = value.len() as f64;
    let bound = 1.96 / n.sqrt();
    let extra: f64 = (1..value.len().saturating_sub(2))
        .map(|lag| (lag as f64, autocorrelation(&ranks, lag)))
        .filter(|(_, r)| r.abs() > bound)
        .map(|(k, r)| (n - k) * (n - k - 1.0) * (n - k - 2.0) * r)
        .sum();
    let factor = 1.0 + 2.0 * extra / (n * (n - 1.0) * (n - 2.0));
    let mut kendall = Kendall::of(&value);
    kendall.variance *= factor.max(0.0);
    sen_growth(readings, &seconds, &value, kendall.p())
}

fn sen_growth(readings: &Readings, seconds: &[f64], value: &[f64], p: f64) -> Answer {
    let growth = theil_sen(seconds, value) * length(readings)?;
    let level = mean(value);
    Ok(if p >= ALPHA {
        Measured::excused(growth, format!("no trend, p = {p:.2}"))
    } else if growth < LEVEL_SHARE * level {
        Measured::excused(growth, "less than 1 % of the level")
    } else {
        growth.into()
    })
}

/// At most [`MOST`] readings, evenly picked.
fn thinned(readings: &Readings) -> (Vec<f64>, Vec<f64>) {
    let n = readings.value.len();
    let count = n.min(MOST);
    (0..count)
        .map(|i| {
            let at = i * (n - 1) / (count - 1);
            (readings.seconds[at], readings.value[at])
        })
        .unzip()
}

/// Autocorrelation of values that are centred already; 0 if they do not vary.
fn autocorrelation(centred: &[f64], lag: usize) -> f64 {
    let all: f64 = centred.iter().map(|v| v * v).sum();
    if all <= 0.0 {
        return 0.0;
    }
    let shifted: f64 = centred
        .iter()
        .zip(&centred[lag..])
        .map(|(a, b)| a * b)
        .sum();
    shifted / all
}

/// Average ranks less their mean.
fn centred_ranks(value: &[f64]) -> Vec<f64> {
    let n = value.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| value[a].total_cmp(&value[b]));
    let mut ranks = vec![0.0; n];
    let mut from = 0;
    while from < n {
        let same = order[from..]
            .iter()
            .take_while(|&&i| value[i] == value[order[from]])
            .count()
            .max(1);
        let rank = from as f64 + (same as f64 - 1.0) / 2.0 - (n as f64 - 1.0) / 2.0;
        for &i in &order[from..from + same] {
            ranks[i] = rank;
        }
        from += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(value: Vec<f64>) -> Readings {
        Readings {
            seconds: (0..value.len()).map(|i| i as f64).collect(),
            value,
            ..Readings::default()
        }
    }

    #[test]
    fn kendall_counts_pairs_and_corrects_for_ties() {
        // 1 3 2 4: of six pairs one falls. Variance 4 * 3 * 13 / 18.
        let k = Kendall::of(&[1.0, 3.0, 2.0, 4.0]);
        assert_eq!(k.s, 4.0);
        assert!((k.variance - 156.0 / 18.0).abs() < 1e-12);
        // 1 2 2 3: five rising pairs and one tie. Variance (156 - 2 * 1 * 9) / 18.
        let k = Kendall::of(&[1.0, 2.0, 2.0, 3.0]);
        assert_eq!(k.s, 5.0);
        assert!((k.variance - 138.0 / 18.0).abs() < 1e-12);
        assert_eq!(Kendall::of(&[7.0; 5]).p(), 1.0);
    }

    #[test]
    fn ten_rising_readings_have_their_p() {
        // S = 45, variance 10 * 9 * 25 / 18 = 125, z = 44 / 11.18 = 3.9355, p = 8.3e-5.
        let measured = mann_kendall(&readings((0..10).map(f64::from).collect()), 0.0).unwrap();
        assert!((measured.value - 8.3e-5).abs() < 1e-6, "{measured:?}");
        assert_eq!(measured.excused, None);
        let falling = mann_kendall(&readings((0..10).map(|i| -f64::from(i)).collect()), 0.0);
        assert!(falling.unwrap().excused.is_some());
    }

    #[test]
    fn ranks_are_centred_and_shared() {
        assert_eq!(centred_ranks(&[5.0, 1.0, 5.0, 9.0]), [0.0, -1.5, 0.0, 1.5]);
    }

    #[test]
    fn repaired_tests_tell_the_growth_of_a_trend() {
        let rising: Vec<f64> = (0..100)
            .map(|i| 5e7 + 1e5 * f64::from(i) + 3e4 * f64::from(i * 7 % 5))
            .collect();
        for rule in [pre_whitened, hamed_rao] {
            let measured = rule(&readings(rising.clone()), 0.0).unwrap();
            assert_eq!(measured.excused, None);
            assert!((measured.value - 9.9e6).abs() < 1e5, "{measured:?}");
        }
    }

    #[test]
    fn repaired_tests_excuse_what_is_no_trend_or_too_small() {
        let level: Vec<f64> = (0..100).map(|i| 5e7 + 1e5 * f64::from(i * 7 % 5)).collect();
        let small: Vec<f64> = (0..100).map(|i| 5e7 + 1e3 * f64::from(i)).collect();
        for rule in [pre_whitened, hamed_rao] {
            for value in [&level, &small] {
                let measured = rule(&readings(value.clone()), 0.0).unwrap();
                assert!(measured.excused.is_some(), "{measured:?}");
            }
        }
    }
}
