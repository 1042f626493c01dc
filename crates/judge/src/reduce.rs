//! Very long recordings, made short before anything is copied or sorted.
//!
//! A day at 100 Hz is 10 million readings, and all that is asked of them are 64 blocks. Consecutive readings are taken in
//! buckets, and of each its lowest, its highest and its middle one stay, with their own times and in their order: no
//! trough is lost, no peak, and the middle ones keep the distribution in between. One pass, no memory but the result.

use std::borrow::Cow;

use crate::series::Series;

/// Recordings longer than this are reduced.
const LONG: usize = 150_000;
/// Buckets made of one.
const BUCKETS: usize = 40_000;

/// The series itself, or its reduction and the number of gaps that were left out on the way.
pub(crate) fn reduce(series: &Series) -> (Cow<'_, Series>, usize) {
    let n = series.t_ns.len().min(series.value.len());
    if n <= LONG {
        return (Cow::Borrowed(series), 0);
    }
    let backwards = series.t_ns[..n].windows(2).filter(|w| w[1] < w[0]).count();
    if backwards > n / 1000 {
        // Not a clock that was set back now and then: out of order, and to be sorted as a whole.
        return (Cow::Borrowed(series), 0);
    }
    let mut kept = Vec::with_capacity(3 * BUCKETS);
    let mut gaps = 0;
    for bucket in 0..BUCKETS {
        let (from, to) = (bucket * n / BUCKETS, (bucket + 1) * n / BUCKETS);
        gaps += keep(&series.value[from..to], from, &mut kept);
    }
    let pick = |column: &[f64]| -> Vec<f64> {
        if column.len() < n {
            Vec::new()
        } else {
            kept.iter().map(|&i| column[i]).collect()
        }
    };
    let all_collected = series.collected.len() >= n && series.collected[..n].iter().all(|c| *c);
    let short = Series {
        id: series.id.clone(),
        metric: series.metric.clone(),
        quantity: series.quantity,
        axis: series.axis,
        t_ns: kept.iter().map(|&i| series.t_ns[i]).collect(),
        value: pick(&series.value),
        ops: pick(&series.ops),
        load: pick(&series.load),
        collected: vec![all_collected; kept.len()],
        epoch: if series.epoch.len() < n {
            Vec::new()
        } else {
            kept.iter().map(|&i| series.epoch[i]).collect()
        },
        resolution: series.resolution,
        ..Series::default()
    };
    (Cow::Owned(short), gaps)
}

/// Adds the positions of the lowest, the middle and the highest value, in their order; returns the number of gaps.
fn keep(values: &[f64], offset: usize, kept: &mut Vec<usize>) -> usize {
    let (mut lowest, mut highest) = (None, None);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut gaps = 0;
    for (i, &v) in values.iter().enumerate() {
        if !v.is_finite() {
            gaps += 1;
            continue;
        }
        if v < least || lowest.is_none() {
            (least, lowest) = (v, Some(i));
        }
        if v > most || highest.is_none() {
            (most, highest) = (v, Some(i));
        }
    }
    let middle = values.len() / 2;
    let middle = values[middle..]
        .iter()
        .position(|v| v.is_finite())
        .map(|i| middle + i);
    let mut three = [lowest, middle, highest];
    three.sort_unstable();
    let mut last = None;
    for i in three.into_iter().flatten() {
        if last != Some(i) {
            kept.push(offset + i);
        }
        last = Some(i);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(value: impl Fn(usize) -> f64) -> Series {
        Series {
            t_ns: (0..1_000_000).map(|i| i * 1_000_000).collect(),
            value: (0..1_000_000).map(value).collect(),
            ..Series::default()
        }
    }

    #[test]
    fn every_trough_and_every_peak_survives() {
        let series = long(|i| match i % 9973 {
            17 => 1e6,
            1234 => 9e6,
            j => 5e6 + j as f64,
        });
        let (short, gaps) = reduce(&series);
        assert!(short.value.len() <= 3 * BUCKETS && gaps == 0);
        let count = |s: &Series, v: f64| s.value.iter().filter(|x| **x == v).count();
        for v in [1e6, 9e6] {
            assert_eq!(count(&short, v), count(&series, v));
        }
        assert!(short.t_ns.windows(2).all(|w| w[0] < w[1]));
    }

    #[test]
    fn gaps_are_counted_and_left_out() {
        let series = long(|i| if i % 3 == 0 { f64::NAN } else { 1.0 });
        let (short, gaps) = reduce(&series);
        assert_eq!(gaps, 333_334);
        assert!(short.value.iter().all(|v| *v == 1.0));
    }

    #[test]
    fn short_and_shuffled_series_are_left_alone() {
        assert!(matches!(reduce(&Series::default()).0, Cow::Borrowed(_)));
        let mut shuffled = long(|_| 0.0);
        shuffled.t_ns.reverse();
        assert!(matches!(reduce(&shuffled).0, Cow::Borrowed(_)));
    }
}
