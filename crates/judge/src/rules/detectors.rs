//! Rules of existing leak detectors, adapted to one series where they were made for something finer.

use super::{Measured, at_least, ends, length, operations};
use crate::repair::Readings;
use crate::rules::lines::Line;

type Answer = Result<Measured, String>;

/// A fall by this share of the whole range is the work of a collector.
const COLLECTION: f64 = 0.3;

/// Most collections in a row after each of which more was used than after the one before.
pub(super) fn memwatch(readings: &Readings, _: f64) -> Answer {
    let after = after_collections(readings);
    if after.len() < 3 {
        return Err("fewer than 3 collections are seen".to_owned());
    }
    Ok(longest_rise(&after).into())
}

/// What is used after each collection: every reading if all were taken after one, else the lowest reading before each
/// rise that follows a deep fall.
fn after_collections(readings: &Readings) -> Vec<f64> {
    let value = &readings.value;
    if readings.collected {
        return value.clone();
    }
    let range = |v: &[f64]| {
        let low = v.iter().copied().fold(f64::INFINITY, f64::min);
        let high = v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        high - low
    };
    let deep = COLLECTION * range(value);
    let mut troughs = Vec::new();
    if deep <= 0.0 {
        return troughs;
    }
    let (mut high, mut low, mut falling) = (value[0], value[0], false);
    for &v in value {
        if falling {
            if v < low {
                low = v;
            } else if v > low + deep {
                troughs.push(low);
                (high, falling) = (v, false);
            }
        } else if v > high {
            high = v;
        } else if v < high - deep {
            (low, falling) = (v, true);
        }
    }
    if falling {
        troughs.push(low);
    }
    troughs
}

fn longest_rise(value: &[f64]) -> f64 {
    let (mut best, mut now) = (0_u32, 0);
    for pair in value.windows(2) {
        now = if pair[1] > pair[0] { now + 1 } else { 0 };
        best = best.max(now);
    }
    f64::from(best)
}

/// Most chunks of six in a row that grew by more than 1 KiB.
pub(super) fn leakage(readings: &Readings, _: f64) -> Answer {
    const CHUNKS: usize = 6;
    const SENSITIVITY: f64 = 1024.0;
    at_least(readings, CHUNKS + 1)?;
    let n = readings.value.len();
    // A chunk is measured between two collections. Where none was forced, the lowest reading of a piece stands for it.
    let boundary: Vec<f64> = (0..=CHUNKS)
        .map(|i| {
            if readings.collected {
                readings.value[i * (n - 1) / CHUNKS]
            } else {
                let piece = &readings.value[i * n / (CHUNKS + 1)..(i + 1) * n / (CHUNKS + 1)];
                piece.iter().copied().fold(f64::INFINITY, f64::min)
            }
        })
        .collect();
    let (mut best, mut now) = (0_u32, 0);
    for pair in boundary.windows(2) {
        now = if pair[1] - pair[0] > SENSITIVITY {
            now + 1
        } else {
            0
        };
        best = best.max(now);
    }
    Ok(f64::from(best).into())
}

/// Laplace's rule of succession over new peaks: f of a were given back before the next one came.
#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature")]
pub(super) fn scalene(readings: &Readings, _: f64) -> Answer {
    const GROWTH: f64 = 0.01;
    let (first, last) = ends(readings);
    let (mut peaks, mut freed) = (0.0, 0.0);
    // The level that a peak rose from; memory back at it means that what the peak took was freed.
    let (mut peak, mut base, mut is_freed) = (first, first, true);
    let mut lowest = first;
    for &v in &readings.value[1..] {
        if v > peak {
            if peaks > 0.0 && is_freed {
                freed += 1.0;
            }
            peaks += 1.0;
            base = lowest;
            (peak, lowest, is_freed) = (v, v, false);
        } else {
            lowest = lowest.min(v);
            is_freed |= v <= base;
        }
    }
    let score: f64 = 1.0 - (freed + 1.0) / (peaks - freed + 2.0);
    let score = score.max(0.0);
    Ok(if last - first >= GROWTH * first {
        score.into()
    } else {
        Measured::excused(score, "grew by less than 1 %")
    })
}

/// Growth per operation over ten runs of escalating length, broken only if each grew more than the one before.
pub(super) fn psleak(readings: &Readings, _: f64) -> Answer {
    const RUNS: usize = 10;
    at_least(readings, RUNS + 1)?;
    let (first, last) = ends(readings);
    let average = (last - first) / operations(readings)?;
    let n = readings.value.len() - 1;
    let whole = RUNS * (RUNS + 1) / 2;
    let mut before = 0.0;
    for run in 1..=RUNS {
        let from = run * (run - 1) / 2 * n / whole;
        let to = run * (run + 1) / 2 * n / whole;
        let growth = readings.value[to] - readings.value[from];
        if growth <= before {
            return Ok(Measured::excused(
                average,
                format!("run {run} of {RUNS} did not grow more than the one before"),
            ));
        }
        before = growth;
    }
    Ok(average.into())
}

/// Growth of the last hour after the last restart, broken only if it is still going on and above 10 % an hour.
pub(super) fn coroot(readings: &Readings, _: f64) -> Answer {
    const RESTART: f64 = 0.5;
    const STILL: f64 = 0.3;
    const PERCENT_PER_HOUR: f64 = 10.0;
    at_least(readings, 8)?;
    let value = &readings.value;
    let mut cuts = vec![0];
    cuts.extend((1..value.len()).filter(|&i| value[i] < RESTART * value[i - 1]));
    cuts.push(value.len());
    let longest = cuts
        .windows(2)
        .max_by_key(|w| w[1] - w[0])
        .map_or((0, value.len()), |w| (w[0], w[1]));
    let kept = readings.slice(longest.0, longest.1);
    at_least(&kept, 8)?;
    let seconds = length(&kept)?;
    let line = super::lines::over_time(&kept)?;
    let n = kept.value.len();
    let quarter = n - n / 4;
    let tail = Line::through(&kept.seconds[quarter..], &kept.value[quarter..]);
    let hour = line.slope * seconds.min(3600.0);
    let level = kept.value.iter().sum::<f64>() / n as f64;
    let percent = 100.0 * 3600.0 * line.slope / level;
    Ok(if line.slope <= 0.0 {
        Measured::excused(hour, "the line does not rise")
    } else if tail.is_none_or(|t| t.slope < STILL * line.slope) {
        Measured::excused(hour, "the last quarter grows no more")
    } else if percent <= PERCENT_PER_HOUR {
        Measured::excused(hour, format!("{percent:.1} % an hour, it alerts above 10"))
    } else {
        hour.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(value: Vec<f64>) -> Readings {
        Readings {
            seconds: (0..value.len()).map(|i| 60.0 * i as f64).collect(),
            ops: (0..value.len()).map(|i| 1000.0 * i as f64).collect(),
            value,
            ..Readings::default()
        }
    }

    fn collected(value: Vec<f64>) -> Readings {
        Readings {
            collected: true,
            ..readings(value)
        }
    }

    #[test]
    fn memwatch_counts_collections_that_rise_in_a_row() {
        let measured = memwatch(&collected(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 2.0]), 0.0);
        assert_eq!(measured.unwrap().value, 5.0);
        let measured = memwatch(&collected(vec![1.0, 2.0, 1.0, 2.0, 3.0]), 0.0);
        assert_eq!(measured.unwrap().value, 2.0);
    }

    #[test]
    fn memwatch_finds_the_troughs_of_a_sawtooth() {
        // Teeth from 10 + k to 20: the troughs are 10, 11, 12, 13 after the first fall.
        let mut value = vec![10.0];
        for k in 0..4_u32 {
            value.extend([15.0, 20.0, 10.0 + f64::from(k)]);
        }
        assert_eq!(
            after_collections(&readings(value)),
            [10.0, 11.0, 12.0, 13.0]
        );
        assert!(memwatch(&readings(vec![1.0, 2.0, 3.0]), 0.0).is_err());
    }

    #[test]
    fn leakage_wants_more_than_four_chunks_in_a_row() {
        let grow: Vec<f64> = (0..13).map(|i| 1024.0 * f64::from(i)).collect();
        assert_eq!(leakage(&collected(grow.clone()), 0.0).unwrap().value, 6.0);
        // 512 bytes a reading, two readings a chunk: exactly 1 KiB is within the sensitivity.
        let slow = grow.iter().map(|v| v / 2.0).collect();
        assert_eq!(leakage(&collected(slow), 0.0).unwrap().value, 0.0);
        let mut dip = grow;
        dip[6] = 0.0;
        assert_eq!(leakage(&collected(dip), 0.0).unwrap().value, 3.0);
    }

    #[test]
    fn eighteen_peaks_that_nothing_frees_make_scalene_speak() {
        let peaks = |n: u32| (0..=n).map(|i| 100.0 + f64::from(i)).collect();
        // 1 - 1 / (18 + 2).
        assert!((scalene(&readings(peaks(18)), 0.0).unwrap().value - 0.95).abs() < 1e-12);
        assert!(scalene(&readings(peaks(17)), 0.0).unwrap().value < 0.95);
        // Each peak falls back before the next: all but the last are freed.
        let mut value = Vec::new();
        for i in 0..20 {
            value.extend([100.0, 200.0 + f64::from(i)]);
        }
        assert!(scalene(&readings(value), 0.0).unwrap().value < 0.1);
    }

    #[test]
    fn psleak_wants_every_run_to_grow_more() {
        let steady: Vec<f64> = (0..=55).map(|i| 32_000.0 * f64::from(i)).collect();
        let measured = psleak(&readings(steady.clone()), 0.0).unwrap();
        assert_eq!((measured.value, measured.excused), (32.0, None));
        let mut once = steady;
        once[20..].fill(1e6);
        assert!(psleak(&readings(once), 0.0).unwrap().excused.is_some());
    }

    #[test]
    fn coroot_looks_at_the_longest_stretch_and_its_last_quarter() {
        const MIB: f64 = 1_048_576.0;
        // An hour and a half at 1 MiB a minute, after a restart from 500 MiB.
        let mut value = vec![500.0 * MIB; 5];
        value.extend((0..=90).map(|i| (100.0 + f64::from(i)) * MIB));
        let measured = coroot(&readings(value.clone()), 0.0).unwrap();
        assert_eq!(measured.excused, None);
        assert!((measured.value / MIB - 60.0).abs() < 1e-6, "{measured:?}");
        let last = value.len() - 30;
        let level = value[last];
        value[last..].fill(level);
        let stopped = coroot(&readings(value), 0.0).unwrap();
        assert!(stopped.excused.unwrap().contains("last quarter"));
    }
}
