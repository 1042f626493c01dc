//! Min–max bands in bounded memory: what a report draws of a series, however long the run.

use plimsoll_model::{Band, Ns};

/// Most buckets of a band.
pub(crate) const MAX_BUCKETS: usize = 2000;
/// Length of a bucket at first: ten readings of the fastest sampling. Doubles whenever the buckets run out.
const FIRST_STEP_NS: u64 = 100_000_000;

/// A band that grows with the samples, one at a time.
#[derive(Debug)]
pub(crate) struct BandBuilder {
    start: u64,
    step: u64,
    /// When the bucket of the latest reading began and which it is: the next is mostly of the same.
    latest_start: u64,
    latest: usize,
    /// Smallest and largest reading of each bucket; NaN where there is none.
    buckets: Vec<(f64, f64)>,
}

impl BandBuilder {
    /// An empty band whose first bucket begins `at`.
    pub(crate) const fn starting(at: Ns) -> Self {
        Self {
            start: at.0,
            step: FIRST_STEP_NS,
            latest_start: 0,
            latest: 0,
            buckets: Vec::new(),
        }
    }

    /// Takes a reading in. What is not a number is a gap and leaves no trace; a time before the start counts as the start.
    pub(crate) fn add(&mut self, at: Ns, value: f64) {
        if !value.is_finite() {
            return;
        }
        let since = at.0.saturating_sub(self.start);
        // Mostly it is the bucket of the reading before, or the next one: told without a division.
        match since.checked_sub(self.latest_start) {
            Some(ahead) if ahead < self.step => {}
            Some(ahead) if ahead - self.step < self.step && self.latest < MAX_BUCKETS - 1 => {
                self.latest += 1;
                self.latest_start += self.step;
            }
            _ => self.find(since),
        }
        if let Some(bucket) = self.buckets.get_mut(self.latest) {
            // `min` and `max` of a number and NaN are the number.
            *bucket = (bucket.0.min(value), bucket.1.max(value));
        } else {
            self.buckets.resize(self.latest, (f64::NAN, f64::NAN));
            self.buckets.push((value, value));
        }
    }

    /// Makes the bucket of a time the latest.
    fn find(&mut self, since: u64) {
        while since / self.step >= MAX_BUCKETS as u64 {
            self.double();
        }
        self.latest = (since / self.step) as usize;
        self.latest_start = self.latest as u64 * self.step;
    }

    fn double(&mut self) {
        // Saturates after 2^64 ns / 2,000, where 2,000 buckets cover every time there is.
        self.step = self.step.saturating_mul(2);
        let merged = self.buckets.chunks(2).map(|pair| {
            pair.iter().fold((f64::NAN, f64::NAN), |(low, high), b| {
                (low.min(b.0), high.max(b.1))
            })
        });
        self.buckets = merged.collect();
    }

    /// The band so far.
    pub(crate) fn build(&self) -> Band {
        let number = |v: f64| v.is_finite().then_some(v);
        Band {
            start: Ns(self.start),
            step: Ns(self.step),
            min: self.buckets.iter().map(|b| number(b.0)).collect(),
            max: self.buckets.iter().map(|b| number(b.1)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_at_ten_hertz_fits_and_keeps_every_extreme() {
        let mut band = BandBuilder::starting(Ns(0));
        for tick in 0..864_000_u64 {
            let value = if tick == 123_456 {
                1e9
            } else {
                (tick % 100) as f64
            };
            band.add(Ns(tick * 100_000_000), value);
        }
        let band = band.build();
        assert!((MAX_BUCKETS / 2..=MAX_BUCKETS).contains(&band.min.len()));
        assert_eq!(band.min.len(), band.max.len());
        assert_eq!(band.max.iter().flatten().copied().fold(0.0, f64::max), 1e9);
        let bucket = (123_456 * 100_000_000 / band.step.0) as usize;
        assert_eq!(band.max[bucket], Some(1e9));
    }

    #[test]
    fn gaps_stay_gaps() {
        let mut band = BandBuilder::starting(Ns(5));
        band.add(Ns(5), 1.0);
        band.add(Ns(6), f64::NAN);
        band.add(Ns(5 + 3 * FIRST_STEP_NS), 2.0);
        band.add(Ns(0), 0.5);
        let band = band.build();
        assert_eq!(band.min, [Some(0.5), None, None, Some(2.0)]);
        assert_eq!(band.max, [Some(1.0), None, None, Some(2.0)]);
    }

    #[test]
    fn the_last_moment_there_is_has_a_bucket() {
        let mut band = BandBuilder::starting(Ns(0));
        band.add(Ns(1), 1.0);
        band.add(Ns(u64::MAX), 2.0);
        let band = band.build();
        assert!(band.min.len() <= MAX_BUCKETS);
        assert_eq!(band.max.last(), Some(&Some(2.0)));
    }
}
