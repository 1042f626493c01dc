//! When the next reading is due: at every interval, and more often for a moment after something happened.

use std::time::{Duration, Instant};

/// A burst lasts so long,
const BURST: Duration = Duration::from_secs(1);
/// reads at most so often,
const BURST_PERIOD: Duration = Duration::from_millis(10);
/// takes at most this share of a core (1/50),
const COST: u32 = 50;
/// and comes at most once in so long.
const BURST_EVERY: Duration = Duration::from_secs(10);

/// A reading that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// One of the regular ones.
    Regular,
    /// One between two regular ones.
    Extra,
}

/// The rhythm of one sampler.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    interval: Duration,
    regular: Instant,
    extra: Instant,
    burst_began: Option<Instant>,
}

impl Pace {
    /// Regular readings every `interval`, the first at once.
    pub(crate) fn every(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            regular: now,
            extra: now,
            burst_began: None,
        }
    }

    /// Something happened: what follows is worth a closer look.
    pub(crate) fn mark(&mut self, now: Instant) {
        if self.interval > BURST_PERIOD
            && self
                .burst_began
                .is_none_or(|began| now.duration_since(began) >= BURST_EVERY)
        {
            self.burst_began = Some(now);
            self.extra = now + BURST_PERIOD;
        }
    }

    /// When the next reading is due, and which sort it is.
    pub(crate) fn next(&self) -> (Instant, Due) {
        let bursts = self
            .burst_began
            .is_some_and(|began| self.extra < began + BURST);
        if bursts && self.extra < self.regular {
            (self.extra, Due::Extra)
        } else {
            (self.regular, Due::Regular)
        }
    }

    /// The reading that was due has been taken, and took so long.
    pub(crate) fn taken(&mut self, due: Due, now: Instant, took: Duration) {
        if due == Due::Regular {
            // A reading that was missed is missed: catching up would only bunch them.
            self.regular = (self.regular + self.interval).max(now);
        }
        self.extra = now + BURST_PERIOD.max(took * COST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings of the first ten seconds, each taking `cost`, with something happening at every one of `marks`.
    fn count(cost: Duration, marks: &[u64]) -> (usize, usize) {
        let start = Instant::now();
        let mut pace = Pace::every(Duration::from_secs(1), start);
        let mut marks = marks
            .iter()
            .map(|ms| start + Duration::from_millis(*ms))
            .peekable();
        let (mut regular, mut extra) = (0, 0);
        loop {
            let (at, due) = pace.next();
            if let Some(mark) = marks.next_if(|mark| *mark <= at) {
                pace.mark(mark);
                continue;
            }
            if at >= start + Duration::from_secs(10) {
                return (regular, extra);
            }
            match due {
                Due::Regular => regular += 1,
                Due::Extra => extra += 1,
            }
            pace.taken(due, at + cost, cost);
        }
    }

    #[test]
    fn without_events_only_the_interval_counts() {
        assert_eq!(count(Duration::ZERO, &[]), (10, 0));
    }

    #[test]
    fn a_burst_is_bounded_in_length_rate_and_number() {
        let (regular, extra) = count(Duration::ZERO, &[2500]);
        assert_eq!(regular, 10);
        assert!((90..=100).contains(&extra), "{extra}");
        // A tree that forks all the time gets one burst in ten seconds all the same.
        let all: Vec<u64> = (0..9000).step_by(50).collect();
        let (regular, extra) = count(Duration::ZERO, &all);
        assert_eq!(regular, 10);
        assert!(extra <= 100, "{extra}");
    }

    #[test]
    fn what_is_dear_is_read_less_often() {
        // 4 ms a reading: at most one in 200 ms.
        let (_, extra) = count(Duration::from_millis(4), &[2500]);
        assert!((3..=5).contains(&extra), "{extra}");
    }
}
