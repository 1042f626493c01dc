//! The rate of growth over a stretch of readings, with an interval that holds for few readings whose errors may hang
//! together.
//!
//! A straight line is fitted by generalised least squares with AR(1) errors, for a grid of correlations from white
//! noise to nearly a random walk. The rates are mixed by the restricted likelihood of each correlation (flat prior on
//! the line, 1/sigma on the noise): with twelve readings the correlation cannot be estimated, only averaged over, and
//! plugging in a point estimate would give intervals that are far too short. Spikes are first pulled in to 3.5 robust
//! standard deviations. Coverage is checked by simulation in `tests/simulation.rs`.

use crate::least_squares;
use crate::models::{Candidate, Noise, fit_noisy};
use crate::stats::{
    robust_deviation, student_quantile, student_upper, student_upper_fast, theil_sen,
};
use crate::verdict::Interval;

/// Correlations tried, and the width of the prior each stands for. Uniform, with more mass near the random walk, where
/// a mistake costs most.
const CORRELATIONS: [(f64, f64); 12] = [
    (0.0, 0.1),
    (0.1, 0.1),
    (0.2, 0.1),
    (0.3, 0.1),
    (0.4, 0.1),
    (0.5, 0.1),
    (0.6, 0.1),
    (0.7, 0.1),
    (0.8, 0.1),
    (0.9, 0.1),
    (0.95, 0.1),
    (0.99, 0.1),
];

/// One Student distribution of the mixture.
#[derive(Debug, Clone, Copy)]
struct Component {
    weight: f64,
    centre: f64,
    error: f64,
    degrees: u32,
}

/// A rate of growth and what is known about it.
#[derive(Debug, Clone)]
pub(crate) struct Trend {
    /// Growth per unit of x.
    pub(crate) rate: f64,
    /// Standard error of the rate.
    pub(crate) error: f64,
    components: Vec<Component>,
}

impl Trend {
    /// Fits a straight line. `noise_floor` is the variance of one reading that is always there. `None` below three
    /// readings or when x does not move.
    pub(crate) fn of(x: &[f64], y: &[f64], noise_floor: f64) -> Option<Self> {
        let span = x.last()? - x.first()?;
        if y.len() < 3 || span.is_nan() || span <= 0.0 {
            return None;
        }
        let u: Vec<f64> = x.iter().map(|v| (v - x[0]) / span).collect();
        let y = pull_in_spikes(&u, y, noise_floor);
        Self::mixed(correlations(&[u], &y, noise_floor), 1.0 / span)
    }

    /// Averages the growth over several models, each with its weight: the first column of a model is its growth per
    /// unit of progress, and one unit of progress is `span` on the axis.
    pub(crate) fn average(
        candidates: &[(&Candidate, f64)],
        u: &[f64],
        y: &[f64],
        noise_floor: f64,
        span: f64,
    ) -> Option<Self> {
        let mut all = Vec::new();
        for (candidate, weight) in candidates {
            let pulled = candidate.pulled_in(y, 4.0);
            let mut found = correlations(&candidate.columns(u), &pulled, noise_floor);
            for c in &mut found {
                c.weight *= weight;
            }
            all.append(&mut found);
        }
        Self::mixed(all, 1.0 / span)
    }

    fn mixed(mut components: Vec<Component>, scale: f64) -> Option<Self> {
        let total: f64 = components.iter().map(|c| c.weight).sum();
        if total.is_nan() || total <= 0.0 || !scale.is_finite() {
            return None;
        }
        for c in &mut components {
            c.weight /= total;
            c.centre *= scale;
            c.error *= scale;
        }
        components.retain(|c| c.weight > 2e-4);
        let rate = components.iter().map(|c| c.weight * c.centre).sum::<f64>();
        let spread = components
            .iter()
            .map(|c| c.weight * (c.error * c.error + (c.centre - rate).powi(2)))
            .sum::<f64>();
        Some(Self {
            rate,
            error: spread.sqrt(),
            components,
        })
    }

    /// Probability that the rate is above `level`.
    pub(crate) fn probability_above(&self, level: f64) -> f64 {
        self.components
            .iter()
            .map(|c| {
                c.weight * student_upper_fast((level - c.centre) / c.error.max(1e-300), c.degrees)
            })
            .sum::<f64>()
            .clamp(0.0, 1.0)
    }

    /// The rate that is exceeded with probability `upper`.
    pub(crate) fn quantile_above(&self, upper: f64) -> f64 {
        let tail = upper.min(1.0 - upper).max(1e-9);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        // Dozens of components share two or three numbers of degrees, and a quantile costs as much as fifty probabilities.
        let mut known: Vec<(u32, f64)> = Vec::with_capacity(4);
        for c in &self.components {
            let found = known.iter().find(|(degrees, _)| *degrees == c.degrees);
            let quantile = found.map_or_else(|| student_quantile(tail, c.degrees), |(_, q)| *q);
            if found.is_none() {
                known.push((c.degrees, quantile));
            }
            low = low.min(c.centre - quantile * c.error);
            high = high.max(c.centre + quantile * c.error);
        }
        for _ in 0..30 {
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
            .map(|c| c.weight * student_upper(c.centre / c.error.max(1e-300), f64::from(c.degrees)))
            .sum::<f64>()
            .clamp(0.0, 1.0)
    }
}

/// Fits a constant and the columns under each correlation; the coefficient of the first column is the centre. Weights
/// sum to 1.
fn correlations(columns: &[Vec<f64>], y: &[f64], noise_floor: f64) -> Vec<Component> {
    let (n, k) = (y.len(), 1 + columns.len());
    if n <= k || columns.is_empty() {
        return Vec::new();
    }
    let degrees = n - k;
    let mut found = Vec::with_capacity(CORRELATIONS.len());
    let ones = vec![1.0; n];
    for (correlation, prior) in CORRELATIONS {
        let white: Vec<Vec<f64>> = std::iter::once(&ones)
            .chain(columns)
            .map(|c| whiten(c, correlation))
            .collect();
        let columns: Vec<&[f64]> = white.iter().map(Vec::as_slice).collect();
        let Some(fit) = least_squares::fit(&columns, &whiten(y, correlation), None) else {
            continue;
        };
        // The floor is white on the readings; whitening by the correlation scales it by 1 + correlation^2.
        let rss = fit.rss + n as f64 * noise_floor * (1.0 + correlation * correlation);
        let ln_weight = prior.ln() + 0.5 * (1.0 - correlation * correlation).ln()
            - 0.5 * fit.ln_determinant()
            - 0.5 * degrees as f64 * rss.ln();
        found.push(Component {
            weight: ln_weight,
            centre: fit.beta[1],
            error: (rss / degrees as f64 * fit.unit_variance(1)).sqrt(),
            degrees: degrees as u32,
        });
    }
    let highest = found
        .iter()
        .map(|c| c.weight)
        .fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = found.iter().map(|c| (c.weight - highest).exp()).sum();
    for c in &mut found {
        c.weight = (c.weight - highest).exp() / total;
    }
    found
}

/// Prais–Winsten transform: frees a column of AR(1) correlation.
fn whiten(v: &[f64], correlation: f64) -> Vec<f64> {
    let first = (1.0 - correlation * correlation).sqrt();
    std::iter::once(first * v[0])
        .chain(v.windows(2).map(|w| w[1] - correlation * w[0]))
        .collect()
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
