//! How many operations fill a round.

use std::time::Duration;

/// Batches timed at least: the first may have waited for what is done once.
const BATCHES: u32 = 3;
/// Share of a round that a batch takes to tell how long a round is.
const LONG_ENOUGH: f64 = 0.25;

/// Batches, longer and longer, until they say how many operations fill a round.
pub(crate) struct Sizing {
    /// Operations of the next batch.
    pub(crate) batch: u64,
    /// Operations done so far.
    pub(crate) done: u64,
    /// Of the first batch; a round is a multiple of it.
    unit: u64,
    most: u64,
    round: Duration,
    timed: u32,
    /// Seconds per operation of the fastest batch: whatever interrupts makes one only longer.
    fastest: f64,
}

impl Sizing {
    /// For rounds of this length and of so many operations at most.
    pub(crate) fn new(round: Duration, unit: u64, most: u64) -> Self {
        let unit = unit.max(1);
        Self {
            batch: unit,
            done: 0,
            unit,
            most,
            round,
            timed: 0,
            fastest: f64::INFINITY,
        }
    }

    /// The batch took this long; whether no other is needed.
    pub(crate) fn is_known_after(&mut self, taken: Duration) -> bool {
        self.timed += 1;
        self.done += self.batch;
        self.fastest = self.fastest.min(taken.as_secs_f64() / self.batch as f64);
        let at_best = self.fastest * self.batch as f64;
        if at_best > LONG_ENOUGH * self.round.as_secs_f64() || self.batch >= self.most {
            return self.timed >= BATCHES;
        }
        self.batch *= 2;
        false
    }

    /// Operations that fill a round.
    pub(crate) fn operations(&self) -> u64 {
        let fits = self.round.as_secs_f64() / self.fastest.max(1e-9);
        let fits = fits.min(self.most as f64) as u64;
        (fits / self.unit).max(1) * self.unit
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Sizing;

    /// Operations of a round of 60 ms, if an operation takes this long in each batch in turn.
    fn operations(unit: u64, microseconds: impl Fn(u32) -> u64) -> u64 {
        let mut sizing = Sizing::new(Duration::from_millis(60), unit, 20_000);
        for batch in 0.. {
            let taken = Duration::from_micros(microseconds(batch) * sizing.batch);
            if sizing.is_known_after(taken) {
                break;
            }
        }
        sizing.operations()
    }

    #[test]
    fn a_round_is_full() {
        assert_eq!(operations(1, |_| 100), 600);
        assert_eq!(operations(16, |_| 100), 592);
        assert_eq!(operations(1, |_| 0), 20_000);
        assert_eq!(operations(16, |_| 200_000), 16);
    }

    #[test]
    fn one_slow_batch_does_not_make_rounds_short() {
        for slow in 0..6 {
            let of = |batch| if batch == slow { 50_000 } else { 100 };
            assert_eq!(operations(16, of), 592, "the slow batch is number {slow}");
        }
    }
}
