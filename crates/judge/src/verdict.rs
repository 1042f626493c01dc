//! What comes out of the judge.

use crate::models::Candidate;
use crate::series::{Axis, Repair, Series};
use crate::work;

/// A closed interval; 95 % unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The answer for one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Leak, no leak, or inconclusive.
    pub outcome: Outcome,
    /// The growth that was measured; `None` if there were too few readings to measure any.
    pub estimate: Option<Growth>,
    /// P(leak), 0 to 1.
    pub leak_probability: f64,
    /// One-sided evidence against "does not grow", before any correction for several series; 1 where not tested.
    pub p_value: f64,
    /// The shape that describes the series best.
    pub pattern: Pattern,
    /// Smallest rate this series could have detected, in the unit of the axis.
    pub detectable: Option<f64>,
    /// The rate below which growth is not called a leak, in the unit of the axis.
    ///
    /// Collected rounds: three standard errors of the rate, at least 4 and at most 16 B per operation; 0.005 per
    /// operation for counts; against time 16 KiB or 0.4 % of the level per record. Raw samples: 96 KiB (16 KiB if
    /// collected) or 0.4 % of the level per record; 16 B per operation. `Terms::floor` overrides all of them.
    pub floor: f64,
    /// What the error rate of this verdict really rests on.
    pub guarantee: Guarantee,
    /// What was mended before judging.
    pub repairs: Vec<Repair>,
    /// The second opinion: min(1, 1/e) of an e-process that bets on single increments being above the floor. Needs no
    /// correction for the number of looks. `None` where it was not asked (raw samples have a sign test of their own).
    pub bets_p_value: Option<f64>,
    /// Operations became at least twice as slow. Does not change the verdict: what leaks is often searched by every
    /// operation, so it may well be the leak's doing.
    pub slowdown: Option<WorkChange>,
    /// What was judged and the model that describes it, for whoever draws it; `None` where no model was fitted.
    pub fit: Option<Fit>,
}

/// The readings that were judged, and the curve through them.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Nanoseconds since the run's start, clock jumps mended.
    pub t_ns: Vec<u64>,
    /// What the models were fitted to: the rounds' readings, or the lower envelope of raw samples.
    pub envelope: Vec<f64>,
    /// The model that the verdict rests on: of a leak the best leak model, of no leak the best healthy one, of an open
    /// verdict the best of all.
    pub model: Vec<f64>,
}

impl Fit {
    /// The curve of a candidate through what it was fitted to, at seconds after `start_ns`.
    pub(crate) fn of(
        best: Option<&Candidate>,
        start_ns: u64,
        seconds: &[f64],
        envelope: &[f64],
    ) -> Option<Self> {
        let residuals = &best?.residuals;
        Some(Self {
            t_ns: seconds
                .iter()
                .map(|s| start_ns.saturating_add((s * 1e9) as u64))
                .collect(),
            envelope: envelope.to_vec(),
            model: envelope.iter().zip(residuals).map(|(v, r)| v - r).collect(),
        })
    }
}

impl Verdict {
    /// Work that grew takes the word leak from a verdict, and is what stands in the way of one that is open.
    pub(crate) fn heed_the_work(&mut self, series: &Series) {
        self.slowdown = work::slowdown(series);
        let open = match &self.outcome {
            Outcome::Leak => true,
            Outcome::NoLeak(_) => false,
            Outcome::Inconclusive { reason, .. } => {
                !matches!(reason, Reason::TooFewReadings { .. })
            }
        };
        if let Some(change) = work::change(series).filter(|_| open) {
            self.outcome = Outcome::Inconclusive {
                reason: Reason::WorkChanged(change),
                more: More::default(),
            };
            self.leak_probability = 0.5;
        }
    }
}

/// Leak, no leak, or inconclusive: the only three answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Memory grows with the axis, beyond the floor.
    Leak,
    /// Growth is bounded below the floor: an equivalence statement, never "not significant".
    NoLeak(Bound),
    /// The data cannot settle it.
    Inconclusive {
        /// Why.
        reason: Reason,
        /// What would settle it.
        more: More,
    },
}

/// An upper bound of the growth rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// Growth is below this, in the unit of the axis, with 97.5 % confidence.
    pub rate: f64,
}

/// Why a verdict is inconclusive.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Fewer readings than a rate needs.
    TooFewReadings {
        /// Readings there are.
        have: usize,
        /// Readings needed.
        need: usize,
    },
    /// The interval of the rate reaches across the floor.
    Noise,
    /// It still grows, but ever more slowly: a cache that fills, or a leak.
    StillFilling,
    /// Warm-up had not settled and the growth decelerates.
    WarmingUp,
    /// Too few steps to tell a rare leak from one-time growth.
    FewSteps,
    /// Models of a leak and of a healthy program explain the data about equally well.
    Ambiguous,
    /// Growth follows time and not operations: the zero-operation rounds grow too.
    GrowsWhileIdle,
    /// Too little of the planned run is over for a look (see [`Judge`](crate::Judge)).
    TooEarly,
    /// This look says leak, and the next one has to confirm it (see [`Judge`](crate::Judge)).
    Unconfirmed,
    /// The work itself grows with the operations, and memory may follow it: repeat the test with operations that cost
    /// the same from first to last (a bounded table, a page instead of the whole list, no errors).
    WorkChanged(WorkChange),
    /// The growth rate says one thing and the signs of the single increments the opposite.
    Contradiction,
}

/// Work that is not the same at the end of a series as at its beginning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkChange {
    /// What changed.
    pub work: Work,
    /// Its level in the first third of the series.
    pub from: f64,
    /// Its level in the last third.
    pub to: f64,
}

/// What an operation consists of, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// Bytes of the answer, per operation.
    ResponseBytes,
    /// Nanoseconds an operation takes.
    OperationTime,
    /// Share of the operations that fail, 0 to 1.
    ErrorShare,
}

/// How much more of the same would settle an inconclusive verdict.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct More {
    /// Further operations (operations axis).
    pub operations: Option<u64>,
    /// Further seconds (time axis).
    pub seconds: Option<f64>,
}

/// Measured growth.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    /// Growth per operation or per second, by the axis.
    ///
    /// A container that doubles adds much at once and little between. Where such jumps were seen, this is the average
    /// over a period of doubling (the growth between jumps, and each jump spread over the operations it makes room for),
    /// and the interval reaches from the growth between jumps to the most that average can be. It is not the difference
    /// between the last and first reading, which counts a jump that has just come in full. Room that doubles outside the
    /// record is not included.
    pub rate: f64,
    /// 95 % interval of `rate`.
    pub interval: Interval,
    /// What `rate` is per.
    pub per: Axis,
    /// Growth per second over the same stretch, if times are known.
    pub per_second: Option<f64>,
    /// 95 % interval of `per_second`; on the operations axis it also covers how unsteady the operations came.
    pub per_second_interval: Option<Interval>,
    /// Growth per operation over the same stretch, if operations are known.
    pub per_operation: Option<f64>,
    /// Where the growth began; `None` = since the start.
    pub onset: Option<Onset>,
    /// The level it tends to, if it does.
    pub plateau: Option<Plateau>,
    /// Until the limit is met.
    pub time_to_limit: Option<TimeToLimit>,
    /// Growth of the second half over that of the first: 1 is linear, below 1 slows down.
    pub acceleration: f64,
    /// Share of the increments that point the way of the growth, 0 to 1.
    pub consistency: f64,
    /// Pearson's correlation of the readings with the operations done, if known. Near 1 says no more than that both
    /// grew; far below it, that operations are not what memory follows.
    pub correlation: Option<f64>,
}

/// Where growth began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Onset {
    /// Nanoseconds since the run's start.
    pub t_ns: u64,
    /// Operations done by then, if known.
    pub operations: Option<f64>,
}

/// A level that is not exceeded any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plateau {
    /// The level, in the unit of the series.
    pub level: f64,
    /// Nanoseconds since the run's start at which it was reached.
    pub t_ns: u64,
}

/// Seconds until the limit is met, at the stated operation rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeToLimit {
    /// The limit, in bytes.
    pub limit: f64,
    /// Seconds from the last reading.
    pub seconds: f64,
    /// 95 % interval; `high` is infinite if the interval of the rate reaches zero.
    pub interval: Interval,
    /// Operations per second it is meant at; `None` on the time axis, unless an expected rate was asked for.
    pub at_rate: Option<f64>,
}

/// The shape of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Pattern {
    /// A leak at a constant rate.
    Linear,
    /// A leak that accelerates.
    Exponential,
    /// A leak in regular steps, as a doubling container makes.
    Stepped,
    /// A leak in rare, irregular steps.
    Sporadic,
    /// A leak under a sawtooth, or (healthy) a sawtooth alone.
    Cyclic,
    /// Healthy: rose and stays.
    Plateau,
    /// Healthy: no trend.
    Flat,
    /// Healthy: follows the load.
    Load,
    /// Healthy: falls.
    Declining,
}

/// What the verdict's error rate rests on. Printed with every verdict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guarantee {
    /// Probability of a false leak verdict, if the conditions below hold.
    pub alpha: f64,
    /// The condition: memory is stationary after so many warm-up operations.
    pub warm_up_operations: u64,
    /// Looks the alpha is spread over.
    pub looks: u32,
    /// Independent readings the verdict rests on, after correction for autocorrelation.
    pub effective_readings: f64,
}

/// The answer for a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Overall {
    /// At least one series leaks.
    Leak,
    /// Every series is bounded below its floor.
    NoLeak,
    /// No series leaks, but not every one is settled (or there is none).
    Inconclusive,
}
