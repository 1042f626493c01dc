//! The rate of growth over a stretch of readings, with an interval that holds for few readings whose errors may hang
//! together.
//!
//! A straight line is fitted by generalised least squares with AR(1) errors, for a grid of correlations from white
//! noise to nearly a random walk. The rates are mixed by the restricted likelihood of each correlation (flat prior on
//! the line, 1/sigma on the noise): with twelve readings the correlation cannot be estimated, only averaged over, and
//! plugging in a point estimate would give intervals that are far too short. Spikes are first pulled in to 3.5 robust
//! standard deviations. Coverage is checked by simulation in `tests/simulation.rs`.

use crate::least_squares;
use crate::models::{Noise, fit_noisy};
use crate::stats::{robust_deviation, student_quantile, student_upper, theil_sen};
use crate::verdict::Interval;

/// Correlations tried, and the width of the prior each stands for (uniform on 0 to 1).
const CORRELATIONS: [(f64, f64); 12] = [
    (0.0, 0.05),
    (0.1, 0.1),
    (0.2, 0.1),
    (0.3, 0.1),
    (0.4, 0.1),
    (0.5, 0.1),
    (0.6, 0.1),
    (0.7, 0.1),
    (0.8, 0.1),
    (0.9, 0.075),
    (0.95, 0.05),
    (0.99, 0.025),
];

/// One Student distribution of the mixture.
#[derive(Debug, Clone, Copy)]
struct Component {
    weight: f64,
    centre: f64,
    error: f64,
}

/// A rate of growth and what is known about it.
#[derive(Debug, Clone)]
pub(crate) struct Trend {
    /// Growth per unit of x.
    pub(crate) rate: f64,
    /// Standard error of the rate.
    pub(crate) error: f64,
    /// Readings' worth of independent information.
    pub(crate) effective: f64,
    degrees: f64,
    components: Vec<Component>,
}

impl Trend {
    /// Fits the line. `noise_floor` is the variance of one reading that is always there. `None` below three readings
    /// or when x does not move.
    pub(crate) fn of(x: &[f64], y: &[f64], noise_floor: f64) -> Option<Self> {
        let n = y.len();
        let span = x.last()? - x.first()?;
        if n < 3 || span.is_nan() || span <= 0.0 {
            return None;
        }
        let u: Vec<f64> = x.iter().map(|v| (v - x[0]) / span).collect();
        let y = pull_in_spikes(&u, y, noise_floor);
        let degrees = (n - 2) as f64;
        let mut components = Vec::with_capacity(CORRELATIONS.len());
        let mut effective = 0.0;
        let mut highest = f64::NEG_INFINITY;
        for (correlation, prior) in CORRELATIONS {
            let (ones, line, values) = whiten(&u, &y, correlation);
            let Some(fit) = least_squares::fit(&[&ones, &line], &values, None) else {
                continue;
            };
            // The floor is white on the readings; whitening by the correlation scales it by 1 + correlation^2.
            let floor = n as f64 * noise_floor * (1.0 + correlation * correlation);
            let rss = fit.rss + floor;
            let ln_weight = prior.ln() + 0.5 * (1.0 - correlation * correlation).ln()
                - 0.5 * fit.ln_determinant
                - 0.5 * degrees * rss.ln();
            highest = highest.max(ln_weight);
            components.push((
                Component {
                    weight: ln_weight,
                    centre: fit.beta[1],
                    error: (rss / degrees * fit.unit_variance[1]).sqrt(),
                },
                (1.0 - correlation) / (1.0 + correlation),
            ));
        }
        let total: f64 = components
            .iter()
            .map(|c| (c.0.weight - highest).exp())
            .sum();
        if total.is_nan() || total <= 0.0 {
            return None;
        }
        let mut mixed = Vec::with_capacity(components.len());
        for (mut c, information) in components {
            c.weight = (c.weight - highest).exp() / total;
            c.centre /= span;
            c.error /= span;
            effective += c.weight * n as f64 * information;
            mixed.push(c);
        }
        let rate = mixed.iter().map(|c| c.weight * c.centre).sum::<f64>();
        let spread = mixed
            .iter()
            .map(|c| c.weight * (c.error * c.error + (c.centre - rate).powi(2)))
            .sum::<f64>();
        Some(Self {
            rate,
            error: spread.sqrt(),
            effective: effective.max(2.0),
            degrees,
            components: mixed,
        })
    }

    /// Probability that the rate is above `level`.
    pub(crate) fn probability_above(&self, level: f64) -> f64 {
        self.components
            .iter()
            .map(|c| {
                c.weight * student_upper((level - c.centre) / c.error.max(1e-300), self.degrees)
            })
            .sum::<f64>()
            .clamp(0.0, 1.0)
    }

    /// The rate that is exceeded with probability `upper`.
    pub(crate) fn quantile_above(&self, upper: f64) -> f64 {
        let reach = student_quantile(upper.min(1.0 - upper).max(1e-9), self.degrees);
        let low = self
            .components
            .iter()
            .map(|c| c.centre - reach * c.error)
            .fold(f64::INFINITY, f64::min);
        let high = self
            .components
            .iter()
            .map(|c| c.centre + reach * c.error)
            .fold(f64::NEG_INFINITY, f64::max);
        let (mut low, mut high) = (low, high);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            if self.probability_above(middle) > upper {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }

    /// The central 95 % interval.
    pub(crate) fn interval(&self) -> Interval {
        Interval {
            low: self.quantile_above(0.975),
            high: self.quantile_above(0.025),
        }
    }

    /// One-sided p-value against "does not grow".
    pub(crate) fn p_value(&self) -> f64 {
        self.components
            .iter()
            .map(|c| c.weight * student_upper(c.centre / c.error.max(1e-300), self.degrees))
            .sum::<f64>()
            .clamp(0.0, 1.0)
    }
}

/// Prais–Winsten transform: the columns (1, u) and the values, freed of AR(1) correlation.
fn whiten(u: &[f64], y: &[f64], correlation: f64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let first = (1.0 - correlation * correlation).sqrt();
    let pass = |v: &[f64]| -> Vec<f64> {
        std::iter::once(first * v[0])
            .chain(v.windows(2).map(|w| w[1] - correlation * w[0]))
            .collect()
    };
    (pass(&vec![1.0; u.len()]), pass(u), pass(y))
}

/// Pulls readings that lie more than 3.5 robust standard deviations off a robust line in to that distance.
fn pull_in_spikes(u: &[f64], y: &[f64], noise_floor: f64) -> Vec<f64> {
    if y.len() < 5 {
        return y.to_vec();
    }
    let slope = theil_sen(u, y);
    let level = crate::stats::median(
        &y.iter()
            .zip(u)
            .map(|(v, at)| v - slope * at)
            .collect::<Vec<_>>(),
    );
    let off: Vec<f64> = y
        .iter()
        .zip(u)
        .map(|(v, at)| v - level - slope * at)
        .collect();
    let scale = robust_deviation(&off, 0.0).max(noise_floor.sqrt());
    let pulled: Vec<f64> = off
        .iter()
        .zip(u)
        .map(|(r, at)| level + slope * at + r.clamp(-3.5 * scale, 3.5 * scale))
        .collect();
    // A second pass by likelihood would change little; the line is only needed to know which readings are far off.
    let ones = vec![1.0; u.len()];
    match fit_noisy(
        &[&ones, u],
        &pulled,
        Noise {
            floor: noise_floor,
            heavy_tails: true,
        },
    ) {
        Some((fit, variance, _)) => {
            let limit = 3.5 * variance.sqrt() * 1.2;
            y.iter()
                .enumerate()
                .map(|(i, v)| {
                    let line = fit.beta[0] + fit.beta[1] * u[i];
                    line + (v - line).clamp(-limit, limit)
                })
                .collect()
        }
        None => pulled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_line_has_a_tight_interval() {
        let x: Vec<f64> = (0..12).map(|i| f64::from(i) * 1000.0).collect();
        let y: Vec<f64> = x.iter().map(|v| 2.0 * v).collect();
        let t = Trend::of(&x, &y, 1.0 / 12.0).unwrap();
        let i = t.interval();
        assert!((t.rate - 2.0).abs() < 1e-9);
        assert!(i.low > 1.999 && i.high < 2.001, "{i:?}");
        assert!(t.p_value() < 1e-9);
    }

    #[test]
    fn a_spike_does_not_move_the_rate() {
        let x: Vec<f64> = (0..12).map(|i| f64::from(i) * 1000.0).collect();
        let mut y: Vec<f64> = x
            .iter()
            .enumerate()
            .map(|(i, v)| 20.0 * v + [3e3, -5e3, 1e3, 4e3][i % 4])
            .collect();
        y[10] += 2e5;
        let t = Trend::of(&x, &y, 1.0).unwrap();
        assert!((t.rate - 20.0).abs() < 2.0, "{}", t.rate);
        assert!(t.interval().high < 30.0, "{:?}", t.interval());
    }

    #[test]
    fn two_readings_have_no_trend() {
        assert!(Trend::of(&[0.0, 1.0], &[0.0, 1.0], 1.0).is_none());
        assert!(Trend::of(&[1.0, 1.0, 1.0], &[0.0, 1.0, 2.0], 1.0).is_none());
    }
}
