//! Rules that compare single readings: end and start, peaks, levels.

use super::{Measured, at_least, ends, operations};
use crate::repair::Readings;
use crate::stats::mean;

type Answer = Result<Measured, String>;

#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
pub(super) fn growth(readings: &Readings, _: f64) -> Answer {
    let (first, last) = ends(readings);
    Ok((last - first).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
pub(super) fn peak(readings: &Readings, _: f64) -> Answer {
    Ok(highest(readings).into())
}

#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
pub(super) fn first(readings: &Readings, _: f64) -> Answer {
    Ok(ends(readings).0.into())
}

#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
pub(super) fn peak_growth(readings: &Readings, _: f64) -> Answer {
    Ok((highest(readings) - ends(readings).0).into())
}

pub(super) fn last_over_first(readings: &Readings, _: f64) -> Answer {
    let (first, last) = positive_start(readings)?;
    Ok((last / first).into())
}

/// How much of what was taken at the peak was given back, in percent.
#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
pub(super) fn recovery(readings: &Readings, _: f64) -> Answer {
    let (first, last) = ends(readings);
    let peak = highest(readings);
    if peak <= first {
        return Ok(Measured::excused(100.0, "memory never rose"));
    }
    Ok((100.0 * (peak - last) / (peak - first)).into())
}

/// Growth over operations, both from the first reading to the last.
pub(super) fn per_operation(readings: &Readings, _: f64) -> Answer {
    let (first, last) = ends(readings);
    Ok(((last - first) / operations(readings)?).into())
}

/// Mean of the last of ten cycles less that of the first.
pub(super) fn drift(readings: &Readings, _: f64) -> Answer {
    at_least(readings, 10)?;
    let value = &readings.value;
    let tenth = value.len() / 10;
    let (first, last) = (&value[..tenth], &value[value.len() - tenth..]);
    Ok((mean(last) - mean(first)).into())
}

/// Growth in percent once the first tenth of the time is left out.
pub(super) fn drift_percent(readings: &Readings, _: f64) -> Answer {
    let from = super::length(readings)? * 0.1;
    let start = readings
        .seconds
        .iter()
        .position(|s| *s >= from)
        .map_or(f64::NAN, |i| readings.value[i]);
    if start <= 0.0 || start.is_nan() {
        return Err("there is no level to compare with".to_owned());
    }
    Ok((100.0 * (ends(readings).1 - start) / start).into())
}

/// Growth in percent, broken only if it is 20 MiB too.
pub(super) fn percent_and_bytes(readings: &Readings, _: f64) -> Answer {
    const BYTES: f64 = 20.0 * 1_048_576.0;
    let (first, last) = positive_start(readings)?;
    let percent = 100.0 * (last - first) / first;
    Ok(if last - first > BYTES {
        percent.into()
    } else {
        Measured::excused(percent, "grew by no more than 20 MiB")
    })
}

fn positive_start(readings: &Readings) -> Result<(f64, f64), String> {
    let (first, last) = ends(readings);
    if first > 0.0 {
        Ok((first, last))
    } else {
        Err("there is no level to compare with".to_owned())
    }
}

fn highest(readings: &Readings) -> f64 {
    readings
        .value
        .iter()
        .copied()
        .fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(value: &[f64]) -> Readings {
        Readings {
            seconds: (0..value.len()).map(|i| i as f64).collect(),
            ops: (0..value.len()).map(|i| 100.0 * i as f64).collect(),
            value: value.to_vec(),
            ..Readings::default()
        }
    }

    #[track_caller]
    fn check(rule: fn(&Readings, f64) -> Answer, value: &[f64], expected: f64) {
        assert_eq!(rule(&readings(value), 0.0).unwrap().value, expected);
    }

    #[test]
    fn levels_are_those_of_single_readings() {
        let rise_and_fall = [10.0, 30.0, 50.0, 20.0];
        check(growth, &rise_and_fall, 10.0);
        check(peak, &rise_and_fall, 50.0);
        check(first, &rise_and_fall, 10.0);
        check(peak_growth, &rise_and_fall, 40.0);
        check(last_over_first, &rise_and_fall, 2.0);
        // 30 of the 40 that were taken came back.
        check(recovery, &rise_and_fall, 75.0);
        // 10 bytes over 300 operations.
        check(per_operation, &rise_and_fall, 10.0 / 300.0);
    }

    #[test]
    fn drift_compares_the_first_tenth_with_the_last() {
        let value: Vec<f64> = (0..20).map(f64::from).collect();
        // (18 + 19) / 2 - (0 + 1) / 2.
        check(drift, &value, 18.0);
        assert!(drift(&readings(&value[..9]), 0.0).is_err());
    }

    #[test]
    fn drift_in_percent_leaves_the_warm_up_out() {
        let mut value = vec![100.0; 21];
        value[0] = 50.0;
        value[20] = 105.0;
        check(drift_percent, &value, 5.0);
    }

    #[test]
    fn percent_alone_does_not_break_the_rule_of_both() {
        const MIB: f64 = 1_048_576.0;
        let small = percent_and_bytes(&readings(&[10.0 * MIB, 29.0 * MIB]), 0.0).unwrap();
        assert!(small.excused.is_some());
        let large = percent_and_bytes(&readings(&[100.0 * MIB, 121.0 * MIB]), 0.0).unwrap();
        assert!(large.excused.is_none());
        assert!((large.value - 21.0).abs() < 1e-9);
    }

    #[test]
    fn memory_that_never_rose_is_recovered() {
        assert!(
            recovery(&readings(&[5.0, 4.0, 3.0]), 0.0)
                .unwrap()
                .excused
                .is_some()
        );
        assert!(last_over_first(&readings(&[0.0, 4.0]), 0.0).is_err());
    }
}
