//! Which stretch of a recording is judged, and against what: restarts, the progress axis, load.

use crate::repair::Readings;
use crate::series::{Axis, Series};
use crate::stats::{deviation, mean, median};

/// Fewest samples of a stretch.
pub(crate) const FEWEST: usize = 12;

/// Whether the metric counts resident pages.
pub(crate) fn is_resident(series: &Series) -> bool {
    series.resolution >= 4096.0
        || ["rss", "anon", "pss", "resident"]
            .iter()
            .any(|w| series.metric.to_ascii_lowercase().contains(w))
}

/// The stretches between restarts, at least [`FEWEST`] readings long: by epoch where the recorder knew, else by a
/// collapse of resident memory to its start-up level.
pub(crate) fn segments(readings: &Readings, resident: bool) -> Vec<(usize, usize)> {
    let n = readings.value.len();
    let mut cuts = vec![0];
    if readings.epoch.is_empty() {
        if resident && n > 60 {
            cuts.extend(collapses(&readings.value));
            if cuts.len() > 4 {
                cuts.truncate(1);
            }
        }
    } else {
        cuts.extend((1..n).filter(|&i| readings.epoch[i] != readings.epoch[i - 1]));
    }
    cuts.push(n);
    cuts.windows(2)
        .map(|w| (w[0], w[1]))
        .filter(|(a, b)| b - a >= FEWEST)
        .collect()
}

/// Where memory falls by more than a quarter, to near its level at the start, and stays there.
fn collapses(y: &[f64]) -> Vec<usize> {
    let n = y.len();
    let width = 3.max(n / 100);
    let stride = (width / 10).max(1);
    let start = median(&y[..width]);
    let mut found = Vec::new();
    let mut i = width;
    while i + width < n {
        let lowest = y[i.saturating_sub(5 * width)..i]
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        // The median of what follows decides; the cheap test first.
        if y[i] < 0.72 * lowest || y[i + width / 2] < 0.72 * lowest {
            let after = median(&y[i..i + width]);
            if after < 0.72 * lowest
                && after < 1.25 * start
                && after < 0.8 * median(&y[i - width..i])
            {
                found.push(i);
                i += 5 * width;
                continue;
            }
        }
        i += stride;
    }
    found
}

/// The axis growth is measured against: operations where their rate varies by more than a quarter, else time. Scaled
/// to the length of the record in seconds, so that rates per operation and per second differ by one factor.
pub(crate) fn axis(series: &Series, r: &Readings) -> Vec<f64> {
    let length = r.seconds.last().copied().unwrap_or(0.0);
    let done = match r.ops.as_slice() {
        [first, .., last] => last - first,
        _ => 0.0,
    };
    if done <= 0.0 || done.is_nan() {
        return r.seconds.clone();
    }
    let wanted = series.axis == Axis::Operations || {
        let pieces: Vec<f64> = (0..13)
            .map(|k| at(&r.seconds, &r.ops, length * f64::from(k) / 12.0))
            .collect();
        let steps: Vec<f64> = pieces.windows(2).map(|w| w[1] - w[0]).collect();
        deviation(&steps) > 0.25 * mean(&steps)
    };
    if !wanted {
        return r.seconds.clone();
    }
    let scale = if length > 0.0 { length } else { 1.0 };
    // Readings without an operation between them stay in order by a hair.
    let hair = scale * 1e-12;
    r.ops
        .iter()
        .enumerate()
        .map(|(i, o)| (o - r.ops[0]) / done * scale + i as f64 * hair)
        .collect()
}

/// Linear interpolation of a column at a time.
pub(crate) fn at(seconds: &[f64], column: &[f64], when: f64) -> f64 {
    let i = seconds.partition_point(|s| *s <= when);
    if i == 0 {
        return column[0];
    }
    if i >= seconds.len() {
        return column[column.len() - 1];
    }
    let span = seconds[i] - seconds[i - 1];
    let part = if span > 0.0 {
        (when - seconds[i - 1]) / span
    } else {
        1.0
    };
    column[i - 1] + part * (column[i] - column[i - 1])
}

/// Load as covariates: its level, and its running maximum (pools that grow with the load and never shrink).
pub(crate) fn covariates(load: &[f64]) -> Vec<Vec<f64>> {
    let most = load.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if load.is_empty() || deviation(load) <= 0.05 * mean(load).abs().max(1.0) || most <= 0.0 {
        return Vec::new();
    }
    let mut top = f64::NEG_INFINITY;
    let running = load.iter().map(|l| {
        top = top.max(*l);
        top / most
    });
    let running: Vec<f64> = running.collect();
    vec![load.iter().map(|l| l / most).collect(), running]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collapse_to_the_start_is_a_restart_and_a_sawtooth_is_not() {
        let climb = |i: usize| 4e7 + 3e4 * i as f64;
        let restarted: Vec<f64> = (0..2000).map(|i| climb(i % 1200)).collect();
        let found = collapses(&restarted);
        assert_eq!(found.len(), 1);
        assert!(found[0].abs_diff(1200) <= 20, "{found:?}");
        let sawtooth: Vec<f64> = (0..2000_u32)
            .map(|i| 4e7 + 1e6 * f64::from(i % 15))
            .collect();
        assert!(collapses(&sawtooth).is_empty());
    }

    #[test]
    fn epochs_cut_the_record() {
        let readings = Readings {
            value: vec![1.0; 40],
            seconds: (0..40).map(f64::from).collect(),
            epoch: (0..40).map(|i| u32::from(i >= 15)).collect(),
            ..Readings::default()
        };
        assert_eq!(segments(&readings, false), [(0, 15), (15, 40)]);
    }

    #[test]
    fn operations_are_the_axis_when_they_come_unevenly() {
        let seconds: Vec<f64> = (0..100).map(f64::from).collect();
        let even: Vec<f64> = seconds.iter().map(|s| s * 10.0).collect();
        let uneven: Vec<f64> = seconds.iter().map(|s| s * s).collect();
        let series = Series {
            axis: Axis::Time,
            ..Series::default()
        };
        let with = |ops: &[f64]| Readings {
            seconds: seconds.clone(),
            ops: ops.to_vec(),
            ..Readings::default()
        };
        assert_eq!(axis(&series, &with(&even)), seconds);
        let x = axis(&series, &with(&uneven));
        assert!((x[99] - 99.0).abs() < 1e-6 && x[50] < 30.0);
    }

    #[test]
    fn steady_load_explains_nothing() {
        assert!(covariates(&[100.0; 20]).is_empty());
        assert_eq!(
            covariates(&(0..20).map(f64::from).collect::<Vec<_>>()).len(),
            2
        );
    }
}
