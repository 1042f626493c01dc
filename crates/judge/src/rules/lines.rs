//! Rules that lay a straight line through the readings.

use super::{Measured, at_least, ends, length};
use crate::repair::Readings;
use crate::stats::{mean, student_upper};

type Answer = Result<Measured, String>;

/// Smallest confidence the source of `ols-significance` calls a leak.
const SIGNIFICANCE: f64 = 0.95;

/// An ordinary least-squares line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) start: f64,
    /// Share of the scatter that the line explains.
    pub(super) r_squared: f64,
    /// Squared residuals, summed.
    residual: f64,
    /// Squared deviations of `x` from their mean, summed.
    spread: f64,
    readings: usize,
}

impl Line {
    /// `None` if all `x` are the same.
    pub(super) fn through(x: &[f64], y: &[f64]) -> Option<Self> {
        let n = x.len().min(y.len());
        let (x, y) = (&x[..n], &y[..n]);
        let (centre_x, centre_y) = (mean(x), mean(y));
        let spread: f64 = x.iter().map(|v| (v - centre_x).powi(2)).sum();
        if n < 2 || spread <= 0.0 {
            return None;
        }
        let both: f64 = x
            .iter()
            .zip(y)
            .map(|(a, b)| (a - centre_x) * (b - centre_y))
            .sum();
        let total: f64 = y.iter().map(|v| (v - centre_y).powi(2)).sum();
        let slope = both / spread;
        let residual = (total - slope * both).max(0.0);
        Some(Self {
            slope,
            start: centre_y - slope * centre_x,
            r_squared: if total > 0.0 {
                1.0 - residual / total
            } else {
                0.0
            },
            residual,
            spread,
            readings: n,
        })
    }

    /// Two-sided probability of a slope as steep without any growth, if readings were independent.
    fn p(self) -> f64 {
        let degrees = self.readings as f64 - 2.0;
        if degrees < 1.0 {
            return 1.0;
        }
        let error = (self.residual / degrees / self.spread).sqrt();
        if error == 0.0 {
            return if self.slope == 0.0 { 1.0 } else { 0.0 };
        }
        2.0 * student_upper((self.slope / error).abs(), degrees)
    }
}

pub(super) fn over_time(readings: &Readings) -> Result<Line, String> {
    Line::through(&readings.seconds, &readings.value)
        .ok_or_else(|| "no time passes between the readings".to_owned())
}

pub(super) fn per_second(readings: &Readings, _: f64) -> Answer {
    Ok(over_time(readings)?.slope.into())
}

pub(super) fn per_minute(readings: &Readings, _: f64) -> Answer {
    Ok((60.0 * over_time(readings)?.slope).into())
}

pub(super) fn per_sample(readings: &Readings, _: f64) -> Answer {
    let index: Vec<f64> = (0..readings.value.len()).map(|i| i as f64).collect();
    let line = Line::through(&index, &readings.value).ok_or("there are fewer than 2 readings")?;
    Ok(line.slope.into())
}

pub(super) fn percent_per_hour(readings: &Readings, _: f64) -> Answer {
    let start = ends(readings).0;
    if start <= 0.0 {
        return Err("there is no level to compare with".to_owned());
    }
    Ok((100.0 * 3600.0 * over_time(readings)?.slope / start).into())
}

/// Growth of the line over the whole series, broken only if the slope is significant too.
pub(super) fn significant_growth(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 10)?;
    let line = over_time(readings)?;
    let growth = line.slope * length(readings)?;
    let p = line.p();
    Ok(if 1.0 - p >= SIGNIFICANCE {
        growth.into()
    } else {
        Measured::excused(growth, format!("not significant, p = {p:.2}"))
    })
}

/// How straight the rise is, broken only by a rise.
pub(super) fn r_squared(readings: &Readings, _: f64) -> Answer {
    let line = over_time(readings)?;
    Ok(if line.slope > 0.0 {
        line.r_squared.into()
    } else {
        Measured::excused(line.r_squared, "the line does not rise")
    })
}

/// How much more a line leaves unexplained than an exponential does.
pub(super) fn exponential(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 10)?;
    let line = over_time(readings)?;
    if line.slope <= 0.0 {
        return Ok(Measured::excused(0.0, "the line does not rise"));
    }
    if readings.value.iter().any(|v| *v <= 0.0) {
        return Err("readings that are not positive have no exponential".to_owned());
    }
    let logarithms: Vec<f64> = readings.value.iter().map(|v| v.ln()).collect();
    let curve = Line::through(&readings.seconds, &logarithms)
        .ok_or("no time passes between the readings")?;
    let left: f64 = readings
        .seconds
        .iter()
        .zip(&readings.value)
        .map(|(s, v)| (v - (curve.start + curve.slope * s).exp()).powi(2))
        .sum();
    if line.residual == 0.0 {
        return Ok(0.0.into());
    }
    Ok((line.residual / left).into())
}

/// The largest rate that every one of ten minutes in a row kept up.
pub(super) fn sustained(readings: &Readings, _: f64) -> Answer {
    const MINUTES: usize = 10;
    let minutes = (length(readings)? / 60.0).floor() as usize;
    if minutes < MINUTES {
        return Err(format!("{minutes} whole minutes, it needs {MINUTES}"));
    }
    // The last reading of each minute; a minute without one ends as the one before. No window reaches across more than
    // `MINUTES` of those, so that a longer gap needs no more: readings may lie years apart.
    let mut level = vec![readings.value[0]];
    let mut minute = 0;
    for (&seconds, &value) in readings.seconds.iter().zip(&readings.value) {
        let now = (seconds / 60.0).floor() as usize;
        let passed = now.saturating_sub(minute).min(MINUTES + 1);
        minute = minute.max(now);
        let before = level[level.len() - 1];
        level.extend(std::iter::repeat_n(before, passed));
        if let Some(last) = level.last_mut() {
            *last = value;
        }
    }
    let growth: Vec<f64> = level.windows(2).map(|w| w[1] - w[0]).collect();
    let best = growth
        .windows(MINUTES)
        .map(|w| w.iter().copied().fold(f64::INFINITY, f64::min))
        .fold(f64::NEG_INFINITY, f64::max);
    Ok(best.into())
}

/// The best line among windows that all end now and grow backwards.
pub(super) fn backward_windows(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 10)?;
    let n = readings.value.len();
    let best = (1..=10)
        .map(|tenths| n - (n * tenths / 10).max(5))
        .filter_map(|from| Line::through(&readings.seconds[from..], &readings.value[from..]))
        .filter(|line| line.slope > 0.0)
        .map(|line| line.r_squared)
        .fold(f64::NEG_INFINITY, f64::max);
    Ok(if best.is_finite() {
        best.into()
    } else {
        Measured::excused(0.0, "no window rises")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(step: f64, value: Vec<f64>) -> Readings {
        Readings {
            seconds: (0..value.len()).map(|i| step * i as f64).collect(),
            value,
            ..Readings::default()
        }
    }

    fn line(n: u32, start: f64, slope: f64) -> Readings {
        readings(1.0, (0..n).map(|i| start + slope * f64::from(i)).collect())
    }

    #[track_caller]
    fn near(measured: &Measured, expected: f64) {
        let size = expected.abs().max(1.0);
        assert!(
            (measured.value - expected).abs() < 1e-6 * size,
            "{} is not {expected}",
            measured.value
        );
    }

    #[test]
    fn slopes_in_the_units_of_their_sources() {
        let growing = readings(2.0, vec![1000.0, 1010.0, 1020.0, 1030.0]);
        near(&per_second(&growing, 0.0).unwrap(), 5.0);
        near(&per_minute(&growing, 0.0).unwrap(), 300.0);
        near(&per_sample(&growing, 0.0).unwrap(), 10.0);
        // 18,000 bytes an hour on 1,000.
        near(&percent_per_hour(&growing, 0.0).unwrap(), 1800.0);
        near(&r_squared(&growing, 0.0).unwrap(), 1.0);
    }

    #[test]
    fn a_textbook_line_has_its_textbook_p() {
        // y = 2, 1, 4, 3, 5 on 1..5: slope 0.8, r² = 0.64, t = 2.3094, p = 0.1041 (t with 3 degrees of freedom).
        let line = Line::through(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 4.0, 3.0, 5.0]).unwrap();
        assert!((line.slope - 0.8).abs() < 1e-12);
        assert!((line.r_squared - 0.64).abs() < 1e-12);
        assert!((line.p() - 0.1041).abs() < 1e-4, "{}", line.p());
    }

    #[test]
    fn growth_without_significance_is_excused() {
        let jagged = readings(
            1.0,
            (0..12)
                .map(|i| if i % 2 == 0 { 0.0 } else { 1e7 })
                .collect(),
        );
        let measured = significant_growth(&jagged, 0.0).unwrap();
        assert!(measured.excused.unwrap().starts_with("not significant"));
        let steady = significant_growth(&line(11, 1e7, 1e6), 0.0).unwrap();
        assert_eq!(steady.excused, None);
        near(&steady, 1e7);
        assert!(significant_growth(&line(9, 1e7, 1e6), 0.0).is_err());
    }

    #[test]
    fn a_falling_line_is_no_rise() {
        assert!(
            r_squared(&line(5, 1e7, -1e3), 0.0)
                .unwrap()
                .excused
                .is_some()
        );
        assert!(
            backward_windows(&line(20, 1e7, -1e3), 0.0)
                .unwrap()
                .excused
                .is_some()
        );
    }

    #[test]
    fn an_exponential_is_told_from_a_line() {
        let doubling = readings(1.0, (0..20).map(|i| 1e6 * 2f64.powi(i)).collect());
        assert!(exponential(&doubling, 0.0).unwrap().value > 1e3);
        let mut straight = line(20, 1e6, 1e5);
        straight.value[7] += 5e3;
        assert!(exponential(&straight, 0.0).unwrap().value < 1.0);
    }

    #[test]
    fn a_rate_is_sustained_only_if_no_minute_is_below_it() {
        // 12 minutes, one reading each: +3 a minute, but +1 in the eleventh.
        let mut level = 0.0;
        let value: Vec<f64> = (0..13)
            .map(|i| {
                level += match i {
                    0 => 0.0,
                    11 => 1.0,
                    _ => 3.0,
                };
                level
            })
            .collect();
        near(
            &sustained(&readings(60.0, value.clone()), 0.0).unwrap(),
            3.0,
        );
        // Without the first minutes no ten in a row are left that all grow by 3.
        near(
            &sustained(&readings(60.0, value[2..].to_vec()), 0.0).unwrap(),
            1.0,
        );
        assert!(sustained(&readings(60.0, value[..10].to_vec()), 0.0).is_err());
        // Ten thousand years without a reading are a gap as any other.
        let mut apart = readings(60.0, [value.clone(), value].concat());
        for seconds in &mut apart.seconds[13..] {
            *seconds += 3e11;
        }
        near(&sustained(&apart, 0.0).unwrap(), 3.0);
    }

    #[test]
    fn the_best_backward_window_counts() {
        // Flat and noisy first, then a straight rise: only windows at the end see it.
        let value: Vec<f64> = (0..40)
            .map(|i| {
                if i < 30 {
                    f64::from(i % 2) * 100.0
                } else {
                    f64::from(i) * 10.0
                }
            })
            .collect();
        let measured = backward_windows(&readings(1.0, value), 0.0).unwrap();
        assert!(measured.value > 0.999, "{measured:?}");
    }
}
