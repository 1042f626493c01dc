//! What the pilot rounds of the warm-up say: whether it has settled, and how noisy one measurement is.

use std::time::Duration;

/// Two pilot increments agree within this many bytes per operation, or within [`AGREEMENT`] of their size.
const FLOOR: f64 = 16.0;
const AGREEMENT: f64 = 0.10;

/// Operations that take `length` if one takes `cost`.
pub(crate) fn in_time(length: Duration, cost: Duration) -> u64 {
    (length.as_secs_f64() / cost.as_secs_f64().max(1e-6)).ceil() as u64
}

/// Whether pilot increments (bytes per operation) agree with their median.
pub(crate) fn agree(increments: &[f64]) -> bool {
    let mut sorted = increments.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted[sorted.len() / 2];
    increments
        .iter()
        .all(|i| (i - middle).abs() <= FLOOR.max(AGREEMENT * middle.abs()))
}

/// Noise of one measurement, in the unit of the increments: increments differ by the noise of two readings.
pub(crate) fn noise(increments: &[f64]) -> f64 {
    robust_sd(increments) / std::f64::consts::SQRT_2
}

/// The median; 0 of nothing.
pub(crate) fn middle(values: &[f64]) -> f64 {
    let mut known: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    known.sort_by(f64::total_cmp);
    known.get(known.len() / 2).copied().unwrap_or(0.0)
}

/// Standard deviation by the median absolute deviation, which one spike does not move.
pub(crate) fn robust_sd(values: &[f64]) -> f64 {
    let centre = middle(values);
    let deviations: Vec<f64> = values.iter().map(|v| (v - centre).abs()).collect();
    1.4826 * middle(&deviations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pilots_agree_within_the_floor_or_a_tenth() {
        assert!(agree(&[3.0, -8.0, 10.0]));
        assert!(agree(&[1880.0, 1900.0, 1850.0]));
        assert!(!agree(&[400.0, 120.0, 60.0]));
        assert!(!agree(&[f64::NAN, 1.0, 2.0]));
    }

    #[test]
    fn one_spike_does_not_move_the_noise() {
        assert!(robust_sd(&[1.0, -1.0, 2.0, -2.0, 0.5, 200_000.0]) < 10.0);
    }
}
