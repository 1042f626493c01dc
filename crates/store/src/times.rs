//! What the next time of a kind of row is expected to be. Encoder and decoder expect the same, so only the surprise is written.
//!
//! Rows of a sampler come with a period, on top of which lies the jitter of the machine; what happens by itself comes near
//! what was recorded just before. Which of both a kind does is learnt from its past, so nothing has to say it.

/// The past of one kind of row. All arithmetic is modulo 2^64, so that any times can be told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expectation {
    previous: u64,
    /// Smoothed time from one to the next.
    period: i64,
    /// How many bits the surprise had of late, by the period and by the row before; in eighths.
    by_period: u32,
    by_neighbour: u32,
}

impl Expectation {
    /// The time to expect after a row of any kind at `neighbour`.
    pub(crate) const fn next(&self, neighbour: u64) -> u64 {
        if self.by_period < self.by_neighbour {
            self.previous.wrapping_add_signed(self.period)
        } else {
            neighbour
        }
    }

    /// Learns from what it was.
    pub(crate) fn learn(&mut self, at: u64, neighbour: u64) {
        let bits = |expected: u64| {
            64 - at
                .wrapping_sub(expected)
                .cast_signed()
                .unsigned_abs()
                .leading_zeros()
        };
        let by_period = bits(self.previous.wrapping_add_signed(self.period));
        self.by_period += by_period;
        self.by_period -= self.by_period / 8;
        self.by_neighbour += bits(neighbour);
        self.by_neighbour -= self.by_neighbour / 8;
        let step = at.wrapping_sub(self.previous).cast_signed();
        let change = step.wrapping_sub(self.period);
        // A period that is far off is no jitter: it is taken as it is.
        self.period = if change.unsigned_abs() > step.unsigned_abs() / 2 {
            step
        } else {
            self.period.wrapping_add(change / 8)
        };
        self.previous = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_period_is_expected_and_a_close_neighbour_too() {
        let (mut sampler, mut echo) = (Expectation::default(), Expectation::default());
        let mut neighbour = 0;
        let mut surprises = (0, 0);
        for tick in 1..100_u64 {
            let at = tick * 100_000_000 + (tick * 7919) % 50_000;
            surprises.0 = at.abs_diff(sampler.next(neighbour));
            sampler.learn(at, neighbour);
            surprises.1 = (at + 3).abs_diff(echo.next(at));
            echo.learn(at + 3, at);
            neighbour = at + 3;
        }
        assert!(surprises.0 < 100_000 && surprises.1 == 3, "{surprises:?}");
    }

    #[test]
    fn any_times_at_all_are_expected_without_overflow() {
        let mut row = Expectation::default();
        for at in [u64::MAX, 0, 1 << 63, u64::MAX, (1 << 63) - 1, 5] {
            row.next(at);
            row.learn(at, !at);
        }
    }
}
