//! From raw samples to the lower envelope: one low value per collector or batch cycle.
//!
//! A line through a sawtooth follows where in the cycle the record happens to end (questdb/c-questdb-client#181);
//! the bottoms of the cycles do not. Cycles are found by a zig-zag of 30 % of the detrended range, blocks are made at
//! least 1.25 cycles long, and each block is reduced to its 5 % quantile, median and 95 % quantile. Blocks are also
//! the reduction of very long records: everything here is linear in the number of samples.

use crate::least_squares;
use crate::stats::{deviation, mean, median, quantile_sorted};

/// Most blocks made.
const MOST: usize = 64;

/// A series reduced to blocks. All vectors have one entry per block.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocks {
    /// Mean position on the axis.
    pub(crate) x: Vec<f64>,
    /// 5 % quantile (the minimum of short blocks).
    pub(crate) low: Vec<f64>,
    /// Minimum: steadier than the quantile where each block holds whole cycles.
    pub(crate) least: Vec<f64>,
    /// Median.
    pub(crate) middle: Vec<f64>,
    /// 95 % quantile.
    pub(crate) high: Vec<f64>,
    /// Mean load; empty if not known.
    pub(crate) load: Vec<f64>,
    /// Readings before the first of each block.
    pub(crate) first: Vec<usize>,
    /// Cycles seen in the raw series.
    pub(crate) cycles: usize,
    /// Median length of a cycle on the axis; 0 if there are too few.
    pub(crate) period: f64,
}

impl Blocks {
    /// Drops the first `count` blocks.
    pub(crate) fn skip(&mut self, count: usize) {
        for v in [
            &mut self.x,
            &mut self.low,
            &mut self.least,
            &mut self.middle,
            &mut self.high,
            &mut self.load,
        ] {
            v.drain(..count.min(v.len()));
        }
        self.first.drain(..count.min(self.first.len()));
    }
}

/// Positions (peak, trough) of the swings that exceed `threshold`.
fn zigzag(y: &[f64], threshold: f64) -> Vec<(usize, usize)> {
    let mut swings = Vec::new();
    let (mut peak, mut trough, mut rising) = (0, 0, true);
    for (i, &v) in y.iter().enumerate().skip(1) {
        if rising {
            if v > y[peak] {
                peak = i;
            } else if y[peak] - v > threshold {
                rising = false;
                trough = i;
            }
        } else if v < y[trough] {
            trough = i;
        } else if v - y[trough] > threshold {
            swings.push((peak, trough));
            rising = true;
            peak = i;
        }
    }
    swings
}

/// The cycles of a series, found once and used for every block length.
#[derive(Debug)]
pub(crate) struct Cycles {
    count: usize,
    period: f64,
    regular: bool,
}

impl Cycles {
    /// Finds the cycles of `y` over `x`.
    pub(crate) fn of(x: &[f64], y: &[f64]) -> Self {
        let none = Self {
            count: 0,
            period: 0.0,
            regular: false,
        };
        let n = y.len();
        let ones = vec![1.0; n];
        let Some(line) = least_squares::fit(&[&ones, x], y, None) else {
            return none;
        };
        let mut off = line.residuals.clone();
        off.sort_unstable_by(f64::total_cmp);
        let threshold = 0.3 * (quantile_sorted(&off, 0.98) - quantile_sorted(&off, 0.02));
        if threshold.is_nan() || threshold <= 0.0 {
            return none;
        }
        let swings = zigzag(&line.residuals, threshold);
        if swings.len() < 4 {
            return Self {
                count: swings.len(),
                ..none
            };
        }
        let lengths: Vec<f64> = swings.windows(2).map(|w| x[w[1].1] - x[w[0].1]).collect();
        let regular = swings.len() >= 5 && deviation(&lengths) < 0.15 * mean(&lengths);
        Self {
            count: swings.len(),
            period: median(&lengths),
            regular,
        }
    }
}

/// Cuts the series into blocks; `coarser` divides their number.
pub(crate) fn blocks(
    x: &[f64],
    y: &[f64],
    load: &[f64],
    cycles: &Cycles,
    coarser: usize,
) -> Blocks {
    let n = y.len();
    let span = x[n - 1] - x[0];
    let few = n * 10 <= MOST * 17;
    let mut count = if n >= 120 {
        MOST.min(n / 6)
    } else if few {
        n.min(MOST)
    } else {
        MOST
    };
    if cycles.period > 0.0 {
        let fitting = if cycles.regular {
            (span / cycles.period).round()
        } else {
            (span / (1.25 * cycles.period)).floor()
        };
        count = count.min(fitting as usize).max(8);
    }
    if coarser > 1 {
        count = (count / coarser).max(8);
    }
    if few && cycles.period <= 0.0 {
        count = n;
    }
    let count = count.clamp(6, n.max(6));
    let width = (span + 1e-9) / count as f64;
    let mut out = Blocks {
        cycles: cycles.count,
        period: cycles.period,
        ..Blocks::default()
    };
    let mut from = 0;
    let mut sorted = Vec::new();
    while from < n {
        let index = (((x[from] - x[0]) / width) as usize).min(count - 1);
        let end = x[0] + width * (index + 1) as f64;
        let mut to = from + 1;
        while to < n && (x[to] < end || index == count - 1) {
            to += 1;
        }
        sorted.clear();
        sorted.extend_from_slice(&y[from..to]);
        sorted.sort_unstable_by(f64::total_cmp);
        out.x.push(mean(&x[from..to]));
        out.low.push(if sorted.len() > 10 {
            quantile_sorted(&sorted, 0.05)
        } else {
            sorted[0]
        });
        out.least.push(sorted[0]);
        out.middle.push(quantile_sorted(&sorted, 0.5));
        out.high.push(quantile_sorted(&sorted, 0.95));
        if !load.is_empty() {
            out.load.push(mean(&load[from..to]));
        }
        out.first.push(from);
        from = to;
    }
    out
}

/// How rough a sequence is: the median size of its second differences.
pub(crate) fn roughness(v: &[f64]) -> f64 {
    if v.len() <= 4 {
        return 0.0;
    }
    median(
        &v.windows(3)
            .map(|w| (w[2] - 2.0 * w[1] + w[0]).abs())
            .collect::<Vec<_>>(),
    )
}

/// The blocks on which a slope is known best: full resolution, or two to four times coarser where collections are
/// nested (minor and major).
pub(crate) fn best_blocks(x: &[f64], y: &[f64], load: &[f64]) -> Blocks {
    let cycles = Cycles::of(x, y);
    let finest = blocks(x, y, load, &cycles, 1);
    if finest.x.len() < 24 || finest.cycles < 4 {
        return finest;
    }
    let span = x[x.len() - 1] - x[0];
    let mut best = (slope_error(&finest, x[0], span), finest);
    for coarser in 2..=4 {
        let b = blocks(x, y, load, &cycles, coarser);
        if b.x.len() >= 10 {
            let error = slope_error(&b, x[0], span) * 1.25;
            if error < best.0 {
                best = (error, b);
            }
        }
    }
    best.1
}

/// Standard error of the slope around a flexible curve, corrected for first-order correlation.
fn slope_error(b: &Blocks, start: f64, span: f64) -> f64 {
    let k = b.x.len();
    if k < 8 {
        return f64::INFINITY;
    }
    let ones = vec![1.0; k];
    let u: Vec<f64> = b.x.iter().map(|v| (v - start) / span).collect();
    let early: Vec<f64> = u.iter().map(|v| v.min(0.3)).collect();
    let warm: Vec<f64> = u.iter().map(|v| -(-v / 0.1).exp_m1()).collect();
    [&b.low, &b.middle]
        .into_iter()
        .filter_map(|m| {
            let f = least_squares::fit(&[&ones, &u, &early, &warm], m, None)?;
            let c = correlation(&f.residuals).clamp(0.0, 0.95);
            Some(
                (f.rss / (k - 4) as f64).sqrt() * ((1.0 + c) / (1.0 - c)).sqrt()
                    / (k as f64).sqrt(),
            )
        })
        .fold(f64::INFINITY, f64::min)
}

/// First-order correlation of residuals.
pub(crate) fn correlation(residuals: &[f64]) -> f64 {
    let power: f64 = residuals.iter().map(|v| v * v).sum();
    let product: f64 = residuals.windows(2).map(|w| w[0] * w[1]).sum();
    if power > 0.0 {
        (product / power).clamp(-1.0, 1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sawtooth of period 50 samples on a slowly rising base.
    fn sawtooth(n: usize) -> (Vec<f64>, Vec<f64>) {
        let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let y = x
            .iter()
            .map(|v| 1e6 + 10.0 * v + 2e4 * (v % 50.0))
            .collect();
        (x, y)
    }

    #[test]
    fn the_envelope_of_a_sawtooth_is_its_base() {
        let (x, y) = sawtooth(3000);
        let b = best_blocks(&x, &y, &[]);
        assert!(b.cycles > 50, "{}", b.cycles);
        assert!((b.period - 50.0).abs() < 1.0, "{}", b.period);
        let slope = crate::stats::theil_sen(&b.x, &b.low);
        assert!((slope - 10.0).abs() < 3.0, "{slope}");
    }

    #[test]
    fn a_trough_survives_reduction() {
        let x: Vec<f64> = (0..100_000).map(f64::from).collect();
        let y: Vec<f64> = x
            .iter()
            .map(|v| if v % 1000.0 < 100.0 { 1e6 } else { 5e6 })
            .collect();
        let b = best_blocks(&x, &y, &[]);
        assert!(b.low.iter().all(|v| *v < 1.1e6));
        assert!(b.x.len() <= MOST);
    }

    #[test]
    fn a_constant_has_no_cycles() {
        let x: Vec<f64> = (0..200).map(f64::from).collect();
        let b = best_blocks(&x, &[7.0; 200], &[]);
        assert_eq!((b.cycles, b.period), (0, 0.0));
        assert!(b.low.iter().chain(&b.high).all(|v| *v == 7.0));
    }
}
