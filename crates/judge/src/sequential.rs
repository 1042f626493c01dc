//! Looking while the run goes on, at an error rate that holds over all looks.
//!
//! Whoever looks after every reading and stops at the first alarm finds a leak in 40 to 90 of 100 healthy runs at
//! 5 % (simulated; `tests/it/sequential.rs`). Three rules mend that:
//!
//! 1. Looks are spaced geometrically, each at 1.2 times the readings of the one before, and look j may spend
//!    6 alpha / (pi² j²), which sums to alpha however many looks there will be. In between no alpha is spent: the
//!    answer stays what it was.
//! 2. No look before 30 % of the plan: whatever starts, grows at first.
//! 3. A leak has to be found by two looks in a row. [`Judge::finish`] looks at everything once more and is final.
//!
//! What remains is what no test can do: a warm-up longer than the one declared looks like a leak, and readings must lie
//! further apart than their noise remembers (collected rounds do; raw samples are reduced to blocks first).

use crate::series::{Reading, Series, Terms};
use crate::verdict::{Guarantee, More, Outcome, Pattern, Reason, Verdict};

/// Each look has this many times the readings of the one before.
const SPACING: f64 = 1.2;
/// Share of the plan before which nobody looks.
const MINIMUM_SHARE: f64 = 0.3;
/// Fewest readings of the first look.
const FEWEST: usize = 6;

/// A judge who watches one series grow.
///
/// ```
/// use plimsoll_judge::{Judge, Outcome, Reading, Series, Terms};
///
/// let mut judge = Judge::new(Series::default(), Terms::default(), Some(12));
/// for round in 1..=12_u32 {
///     judge.push(Reading {
///         t_ns: u64::from(round) * 500_000_000,
///         value: 21e6 + 64_000.0 * f64::from(round),
///         ops: 1000.0 * f64::from(round),
///         collected: true,
///         ..Reading::default()
///     });
///     if judge.look().outcome == Outcome::Leak {
///         break;
///     }
/// }
/// assert!(judge.readings() < 12, "two looks in a row were enough");
/// assert_eq!(judge.finish().outcome, Outcome::Leak);
/// ```
#[derive(Debug, Clone)]
pub struct Judge {
    series: Series,
    terms: Terms,
    planned: Option<usize>,
    /// Looks taken.
    looks: u32,
    /// Readings at the last look.
    looked_at: usize,
    /// Looks in a row, up to the last one, that found a leak.
    in_a_row: u32,
    last: Option<Verdict>,
}

impl Judge {
    /// Watches a series that begins as `series` (usually empty but for its name and axis). The plan is
    /// [`Terms::planned_ns`], or a number of readings, or both; without any a look is allowed from the sixth reading.
    /// `terms.look` and `terms.looks` are kept by the judge.
    pub fn new(series: Series, terms: Terms, planned_readings: Option<usize>) -> Self {
        Self {
            series,
            terms,
            planned: planned_readings,
            looks: 0,
            looked_at: 0,
            in_a_row: 0,
            last: None,
        }
    }

    /// Adds a reading. Costs nothing but its memory.
    pub fn push(&mut self, reading: Reading) {
        self.series.push(reading);
    }

    /// Number of readings so far.
    pub fn readings(&self) -> usize {
        self.series.t_ns.len()
    }

    /// The readings so far.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Whether [`look`](Self::look) would look now: enough of the plan is over, and enough came since the last look.
    pub fn is_due(&self) -> bool {
        let n = self.readings();
        self.share() >= MINIMUM_SHARE && n >= FEWEST && n as f64 >= SPACING * self.looked_at as f64
    }

    /// The verdict so far. A leak is one that two looks in a row have found; the first of them is inconclusive
    /// ([`Reason::Unconfirmed`]). Before the first look that is due: inconclusive ([`Reason::TooEarly`]). Looks that
    /// are not due repeat the last answer and spend nothing. A `no leak` holds for what has been seen so far.
    pub fn look(&mut self) -> Verdict {
        if self.is_due() {
            let mut verdict = self.judge();
            if verdict.outcome == Outcome::Leak {
                self.in_a_row += 1;
                if self.in_a_row < 2 {
                    verdict.outcome = Outcome::Inconclusive {
                        reason: Reason::Unconfirmed,
                        more: self.more(SPACING * self.readings() as f64),
                    };
                }
            } else {
                self.in_a_row = 0;
            }
            self.last = Some(verdict);
        }
        self.last.clone().unwrap_or_else(|| self.too_early())
    }

    /// The last look, at everything, with what alpha it has left: one look suffices, for there is none to confirm it.
    /// If nothing came since the last look and that was a confirmed leak, its verdict is repeated.
    pub fn finish(mut self) -> Verdict {
        match self.last.take() {
            Some(last) if self.in_a_row >= 2 && self.looked_at == self.readings() => last,
            _ => self.judge(),
        }
    }

    fn judge(&mut self) -> Verdict {
        self.looks += 1;
        self.looked_at = self.readings();
        let terms = Terms {
            look: self.looks,
            looks: self.planned_looks().max(self.looks).max(2),
            ..self.terms.clone()
        };
        crate::judge(&self.series, &terms)
    }

    /// Looks there will be if the plan is kept; what the guarantee quotes. The alpha of a look does not depend on it.
    fn planned_looks(&self) -> u32 {
        let growth = match self.planned {
            Some(planned) => {
                planned.max(1) as f64 / (MINIMUM_SHARE * planned as f64).max(FEWEST as f64)
            }
            None => 1.0 / MINIMUM_SHARE,
        };
        1 + (growth.max(1.0).ln() / SPACING.ln()).ceil() as u32
    }

    /// Share of the plan that is over; 1 without a plan.
    fn share(&self) -> f64 {
        let of_time = match (self.terms.planned_ns, self.series.t_ns.as_slice()) {
            (Some(planned), [first, .., last]) if planned > 0 => {
                last.saturating_sub(*first) as f64 / planned as f64
            }
            (Some(_), _) => 0.0,
            (None, _) => 1.0,
        };
        let of_readings = self.planned.map_or(1.0, |planned| {
            self.readings() as f64 / planned.max(1) as f64
        });
        of_time.min(of_readings)
    }

    /// What is missing until there are so many readings.
    fn more(&self, readings: f64) -> More {
        let n = self.readings();
        let per_reading = |first: f64, last: f64| (last - first) / (n.max(2) - 1) as f64;
        let missing = (readings.ceil() - n as f64).max(1.0);
        More {
            operations: match self.series.ops.as_slice() {
                [first, .., last] if last > first => {
                    Some((per_reading(*first, *last) * missing).ceil() as u64)
                }
                _ => None,
            },
            seconds: match self.series.t_ns.as_slice() {
                [first, .., last] if last > first => {
                    Some(per_reading(*first as f64, *last as f64) * missing / 1e9)
                }
                _ => None,
            },
        }
    }

    fn too_early(&self) -> Verdict {
        let planned = self.planned.map_or(0.0, |p| MINIMUM_SHARE * p as f64);
        Verdict {
            outcome: Outcome::Inconclusive {
                reason: Reason::TooEarly,
                more: self.more(planned.max(FEWEST as f64)),
            },
            estimate: None,
            leak_probability: 0.5,
            p_value: 1.0,
            pattern: Pattern::Flat,
            detectable: None,
            floor: self.terms.floor.unwrap_or(0.0),
            guarantee: Guarantee {
                alpha: self.terms.alpha,
                warm_up_operations: self.terms.warm_up_operations,
                looks: self.planned_looks(),
                effective_readings: 0.0,
            },
            repairs: Vec::new(),
            bets_p_value: None,
            slowdown: None,
            fit: None,
        }
    }
}
