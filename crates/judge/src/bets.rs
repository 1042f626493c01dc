//! The second opinion: bets on the sign of single increments.
//!
//! The slope test needs to know how noise behaves; this one only counts. Under "an increment exceeds the floor no more
//! often than not, whatever came before", a gambler who bets on each increment being above it cannot expect to win.
//! Betting the share q on `above` multiplies the stake by 2q where it is and by 2(1 - q) where it is not; averaged over
//! q with a Beta(8, 1) prior cut to q > 1/2 (a leak rises in nearly every round), k of n above give the wealth
//!
//! ```text
//! e = 2^n B(8 + k, 1 + n - k) I(8 + k, 1 + n - k) / (B(8, 1) I(8, 1)),   I(a, b) = P(Beta(a, b) > 1/2)
//! ```
//!
//! which is an e-process (Shafer 2021; Ramdas et al. 2023): it exceeds 1/alpha at any time at all with probability alpha
//! at most, so that p = min(1, 1/e) needs no correction for the number of looks. Eleven of eleven give 1/863.
//!
//! What it is not good for: growth in rare steps (most increments are zero), and telling a cache that fills from a leak
//! (both rise in every round). So it decides nothing alone. Counts, whose noise is the least like any model, are given
//! the better of both tests at the price of two (Bonferroni); a verdict that the bets contradict at 1 % is withdrawn.

use crate::stats::{beta_above_half, ln_gamma};

/// First parameter of the prior.
const PRIOR: f64 = 8.0;

/// The p-value below which bets contradict a verdict.
pub(crate) const CONTRADICTS: f64 = 0.01;

/// What the increments of a series say, each way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bets {
    /// min(1, 1/e) against "above the floor no more often than not".
    pub(crate) p_above: f64,
    /// min(1, 1/e) against "below the floor no more often than not".
    pub(crate) p_below: f64,
}

impl Bets {
    /// Bets on the increments of `y` per unit of `x` being above or below `floor`. One that meets it exactly wins
    /// neither.
    pub(crate) fn on(x: &[f64], y: &[f64], floor: f64) -> Self {
        let (mut above, mut below, mut n) = (0_u32, 0_u32, 0_u32);
        for (x, y) in x.windows(2).zip(y.windows(2)) {
            let excess = y[1] - y[0] - floor * (x[1] - x[0]);
            n += 1;
            above += u32::from(excess > 0.0);
            below += u32::from(excess < 0.0);
        }
        Self {
            p_above: (-ln_wealth(above, n)).exp().min(1.0),
            p_below: (-ln_wealth(below, n)).exp().min(1.0),
        }
    }
}

/// Logarithm of the wealth after `won` of `n` bets.
fn ln_wealth(won: u32, n: u32) -> f64 {
    let (k, n) = (f64::from(won), f64::from(n));
    let ln_beta = |a: f64, b: f64| {
        ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b) + beta_above_half(a, b).max(1e-300).ln()
    };
    n * std::f64::consts::LN_2 + ln_beta(PRIOR + k, 1.0 + n - k) - ln_beta(PRIOR, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sure_thing_is_worth_what_the_formula_says() {
        // 2^11 B(19, 1) / B(8, 1) = 2048 x 8 / 19, and the cut prior adds one part in 256.
        let wealth = ln_wealth(11, 11).exp();
        assert!(
            (wealth / (2048.0 * 8.0 / 19.0) - 256.0 / 255.0).abs() < 1e-3,
            "{wealth}"
        );
        assert!(ln_wealth(0, 11).exp() < 1e-2);
        assert!(ln_wealth(0, 0).abs() < 1e-9);
    }

    #[test]
    fn fair_bets_win_nothing_on_average() {
        // The mean of the wealth over all outcomes of n fair coins is 1.
        for n in [1_u32, 5, 12, 40] {
            let choose = |k: u32| {
                (ln_gamma(f64::from(n) + 1.0)
                    - ln_gamma(f64::from(k) + 1.0)
                    - ln_gamma(f64::from(n - k) + 1.0)
                    - f64::from(n) * std::f64::consts::LN_2)
                    .exp()
            };
            let mean: f64 = (0..=n).map(|k| choose(k) * ln_wealth(k, n).exp()).sum();
            assert!((mean - 1.0).abs() < 1e-6, "{n}: {mean}");
        }
    }

    #[test]
    fn increments_are_counted_against_the_floor() {
        let x: Vec<f64> = (0..12).map(|i| f64::from(i) * 1000.0).collect();
        let y: Vec<f64> = x.iter().map(|v| 0.01 * v).collect();
        let b = Bets::on(&x, &y, 0.005);
        assert!(b.p_above < 0.002 && b.p_below == 1.0, "{b:?}");
        let b = Bets::on(&x, &y, 0.02);
        assert!(b.p_below < 0.002 && b.p_above == 1.0, "{b:?}");
        assert_eq!(Bets::on(&[], &[], 0.0).p_above, 1.0);
    }
}
