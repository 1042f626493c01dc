//! Mends what recordings suffer from: gaps, clock jumps, readings out of order, restarts. Says what it mended.

use crate::series::{Repair, Series};
use crate::stats::median;

/// The readings of a series that can be used, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readings {
    /// Seconds since the first reading; never falls.
    pub(crate) seconds: Vec<f64>,
    /// Nanoseconds of the run at the first reading.
    pub(crate) start_ns: u64,
    /// Finite values.
    pub(crate) value: Vec<f64>,
    /// Operations so far, never falling; empty if not known throughout.
    pub(crate) ops: Vec<f64>,
    /// Load level; empty if not known throughout.
    pub(crate) load: Vec<f64>,
    /// Whether every reading followed a collection.
    pub(crate) collected: bool,
    /// Starts of the process; empty if not known.
    pub(crate) epoch: Vec<u32>,
    /// What was mended.
    pub(crate) repairs: Vec<Repair>,
}

impl Readings {
    /// The readings `from..to` alone.
    pub(crate) fn slice(&self, from: usize, to: usize) -> Self {
        let cut = |v: &[f64]| {
            if v.is_empty() {
                Vec::new()
            } else {
                v[from..to].to_vec()
            }
        };
        let first = self.seconds.get(from).copied().unwrap_or(0.0);
        Self {
            seconds: self.seconds[from..to].iter().map(|s| s - first).collect(),
            start_ns: self.start_ns.saturating_add((first * 1e9) as u64),
            value: self.value[from..to].to_vec(),
            ops: cut(&self.ops),
            load: cut(&self.load),
            collected: self.collected,
            epoch: if self.epoch.is_empty() {
                Vec::new()
            } else {
                self.epoch[from..to].to_vec()
            },
            repairs: self.repairs.clone(),
        }
    }
}

/// Takes a series apart into usable readings.
pub(crate) fn repair(series: &Series) -> Readings {
    let n = series.t_ns.len().min(series.value.len());
    let mut repairs = Vec::new();
    let mut order: Vec<usize> = (0..n).collect();
    // A wall clock that is set back gives one or two backward steps; more than that is data out of order.
    let backwards = series.t_ns[..n].windows(2).filter(|w| w[1] < w[0]).count();
    if backwards > 3.max(n / 20) {
        order.sort_by_key(|&i| series.t_ns[i]);
        repairs.push(Repair::Unsorted(backwards));
    }
    let start_ns = order.first().map_or(0, |&i| series.t_ns[i]);
    let (clock, jumps) = mend_clock(&order.iter().map(|&i| series.t_ns[i]).collect::<Vec<_>>());
    if jumps > 0 {
        repairs.push(Repair::ClockJumps(jumps));
    }
    let usable: Vec<usize> = (0..n)
        .filter(|&k| series.value[order[k]].is_finite())
        .collect();
    if usable.len() < n {
        repairs.push(Repair::Gaps(n - usable.len()));
    }
    let first = usable.first().map_or(0.0, |&k| clock[k]);
    let seconds: Vec<f64> = usable.iter().map(|&k| clock[k] - first).collect();
    let pick = |column: &[f64]| -> Vec<f64> {
        if column.len() < n {
            Vec::new()
        } else {
            usable.iter().map(|&k| column[order[k]]).collect()
        }
    };
    Readings {
        start_ns: start_ns.saturating_add((first * 1e9) as u64),
        value: usable.iter().map(|&k| series.value[order[k]]).collect(),
        ops: fill(&seconds, pick(&series.ops), true),
        load: fill(&seconds, pick(&series.load), false),
        collected: series.collected.len() >= n
            && n > 0
            && usable.iter().all(|&k| series.collected[order[k]]),
        epoch: if series.epoch.len() < n {
            Vec::new()
        } else {
            usable.iter().map(|&k| series.epoch[order[k]]).collect()
        },
        seconds,
        repairs,
    }
}

/// Seconds since the first time stamp. A step backwards, or one that is longer than half of everything else and than
/// fifty ordinary steps, is a jump of the clock and counts as one ordinary step.
fn mend_clock(t_ns: &[u64]) -> (Vec<f64>, usize) {
    let mut steps: Vec<f64> = t_ns
        .windows(2)
        .map(|w| (w[1] as f64 - w[0] as f64) / 1e9)
        .collect();
    let ordinary = median(
        &steps
            .iter()
            .copied()
            .filter(|s| *s > 0.0)
            .collect::<Vec<_>>(),
    );
    let mut jumps = 0;
    for step in &mut steps {
        if *step < 0.0 {
            let jump = *step < -0.5 * ordinary;
            jumps += usize::from(jump);
            *step = if jump { ordinary } else { 0.0 };
        }
    }
    if steps.len() >= 8 {
        let mut total: f64 = steps.iter().sum();
        for _ in 0..6 {
            let Some((at, longest)) = steps
                .iter()
                .copied()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1))
            else {
                break;
            };
            if longest <= 0.5 * (total - longest) || longest <= 50.0 * ordinary {
                break;
            }
            total += ordinary - longest;
            steps[at] = ordinary;
            jumps += 1;
        }
    }
    let mut clock = Vec::with_capacity(t_ns.len());
    let mut now = 0.0;
    clock.extend(t_ns.first().map(|_| 0.0));
    for step in steps {
        now += step;
        clock.push(now);
    }
    (clock, jumps)
}

/// Fills missing values between known ones along time. Empty unless nine in ten are known.
fn fill(seconds: &[f64], mut column: Vec<f64>, counter: bool) -> Vec<f64> {
    let known: Vec<usize> = (0..column.len())
        .filter(|&i| column[i].is_finite())
        .collect();
    if column.is_empty() || known.len() * 10 < column.len() * 9 {
        return Vec::new();
    }
    let mut next = 0;
    for i in 0..column.len() {
        if column[i].is_finite() {
            continue;
        }
        while next < known.len() && known[next] < i {
            next += 1;
        }
        column[i] = match (next.checked_sub(1).map(|k| known[k]), known.get(next)) {
            (Some(a), Some(&b)) => {
                let span = seconds[b] - seconds[a];
                let part = if span > 0.0 {
                    (seconds[i] - seconds[a]) / span
                } else {
                    0.0
                };
                column[a] + part * (column[b] - column[a])
            }
            (Some(a), None) => column[a],
            (None, Some(&b)) => column[b],
            (None, None) => 0.0,
        };
    }
    if counter {
        for i in 1..column.len() {
            column[i] = column[i].max(column[i - 1]);
        }
    }
    column
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(t: &[u64], value: &[f64]) -> Series {
        Series {
            t_ns: t.to_vec(),
            value: value.to_vec(),
            ..Series::default()
        }
    }

    #[test]
    fn a_clock_set_forward_counts_as_one_step() {
        let mut t: Vec<u64> = (0..100).map(|i| i * 1_000_000_000).collect();
        t.iter_mut().skip(50).for_each(|v| *v += 3_600_000_000_000);
        let r = repair(&series(&t, &[1.0; 100]));
        assert!((r.seconds[99] - 99.0).abs() < 1e-6);
        assert_eq!(r.repairs, [Repair::ClockJumps(1)]);
    }

    #[test]
    fn a_clock_set_back_counts_as_one_step() {
        let mut t: Vec<u64> = (0..100)
            .map(|i| 10_000_000_000_000 + i * 1_000_000_000)
            .collect();
        t.iter_mut().skip(50).for_each(|v| *v -= 3_600_000_000_000);
        let r = repair(&series(&t, &[1.0; 100]));
        assert!((r.seconds[99] - 99.0).abs() < 1e-6);
        assert_eq!(r.repairs, [Repair::ClockJumps(1)]);
    }

    #[test]
    fn gaps_are_left_out_and_counted() {
        let r = repair(&series(&[0, 1, 2, 3], &[1.0, f64::NAN, f64::INFINITY, 4.0]));
        assert_eq!(r.value, [1.0, 4.0]);
        assert_eq!(r.repairs, [Repair::Gaps(2)]);
    }

    #[test]
    fn shuffled_readings_are_put_in_order() {
        let t = [5, 3, 9, 1, 8, 2, 7, 4, 6, 0];
        let value: Vec<f64> = t.iter().map(|&v| v as f64).collect();
        let r = repair(&series(&t, &value));
        assert!(r.value.windows(2).all(|w| w[0] < w[1]));
        assert!(matches!(r.repairs[0], Repair::Unsorted(_)));
    }

    #[test]
    fn missing_operations_are_interpolated() {
        let mut s = series(&(0..20).collect::<Vec<_>>(), &[0.0; 20]);
        s.ops = (0..20).map(f64::from).collect();
        s.ops[7] = f64::NAN;
        assert!((repair(&s).ops[7] - 7.0).abs() < 1e-9);
        s.ops[8..15].fill(f64::NAN);
        assert!(repair(&s).ops.is_empty());
    }
}
