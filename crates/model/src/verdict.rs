//! The verdict on the wire. The judge's own types stay free of serde; this is their published form.

use plimsoll_judge as judge;
use serde::{Deserialize, Serialize};

/// Schema name of a verdict alone (`plimsoll analyze --json`).
pub const VERDICT_SCHEMA: &str = "plimsoll.verdict/1";

/// Leak, no leak, or inconclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Memory grows beyond the floor.
    Leak,
    /// Growth is bounded below the floor.
    NoLeak,
    /// The data cannot settle it.
    Inconclusive,
}

impl Outcome {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::NoLeak => "no leak",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The answer for one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer.
    pub outcome: Outcome,
    /// Why it is inconclusive, or what bounds it, in a sentence without a full stop.
    pub reason: String,
    /// What would settle an inconclusive verdict: further operations.
    pub more_operations: Option<u64>,
    /// What would settle an inconclusive verdict: further seconds.
    pub more_seconds: Option<f64>,
    /// P(leak), 0 to 1.
    pub leak_probability: f64,
    /// `linear`, `exponential`, `stepped`, `sporadic`, `cyclic`, `plateau`, `flat`, `load`, `declining`.
    pub pattern: String,
    /// Measured growth.
    pub growth: Option<Growth>,
    /// Upper bound of the growth rate where the outcome is no leak.
    pub bound: Option<f64>,
    /// Smallest rate that could have been detected.
    pub detectable: Option<f64>,
    /// Rate below which growth is not called a leak.
    pub floor: f64,
    /// Probability of a false leak verdict that the guarantee promises.
    pub alpha: f64,
    /// Warm-up operations on which the guarantee is conditional.
    pub warm_up_operations: u64,
    /// What was mended before judging, a phrase each.
    pub repairs: Vec<String>,
    /// The second opinion: p-value of betting on single increments being above the floor. It needs no correction for the
    /// number of looks. Absent where nobody betted (raw samples).
    #[serde(default)]
    pub bets_p_value: Option<f64>,
    /// The work itself changed while it was measured, which is why nothing can be said.
    #[serde(default)]
    pub work_change: Option<WorkChange>,
    /// Operations became at least twice as slow; says nothing against the verdict, for a leak may be what slows them.
    #[serde(default)]
    pub slowdown: Option<WorkChange>,
    /// What was judged and the curve through it, for whoever draws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

/// What was judged, the model that describes it, and what the interval of the rate leaves open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Seconds since the run's start, clock jumps mended.
    pub t_s: Vec<f64>,
    /// What the models were fitted to: the rounds' readings, or the lower envelope of raw samples.
    pub envelope: Vec<f64>,
    /// The model the verdict rests on.
    pub model: Vec<f64>,
    /// The model turned to the lower end of the rate's interval, and to its upper end, around the middle of the stretch the
    /// rate was measured on. Absent where the interval is not known per second.
    pub interval: Option<(Vec<f64>, Vec<f64>)>,
}

impl Curve {
    /// `None` where a number is beyond what can be written.
    fn of(fit: &judge::Fit, growth: Option<&judge::Growth>) -> Option<Self> {
        let t_s: Vec<f64> = fit.t_ns.iter().map(|t| *t as f64 / 1e9).collect();
        let from = growth.and_then(|g| g.onset).map(|o| o.t_ns as f64 / 1e9);
        let rate = growth.and_then(|g| {
            let interval = match g.per {
                judge::Axis::Time => Some(g.interval),
                judge::Axis::Operations => g.per_second_interval,
            };
            Some((g.per_second?, interval?))
        });
        let rate = rate.filter(|(_, i)| i.low.is_finite() && i.high.is_finite());
        let ends = t_s.first().copied().zip(t_s.last().copied());
        let interval = rate.zip(ends).map(|((rate, interval), (first, last))| {
            let middle = f64::midpoint(from.unwrap_or(first).clamp(first, last.max(first)), last);
            let turned = |end: f64| -> Vec<f64> {
                let off = |t: f64| (end - rate) * (t - middle);
                let each = t_s.iter().zip(&fit.model);
                each.map(|(t, v)| v + off(*t)).collect()
            };
            (turned(interval.low), turned(interval.high))
        });
        let finite = |v: &[f64]| v.iter().all(|v| v.is_finite());
        let interval = interval.filter(|(low, high)| finite(low) && finite(high));
        (finite(&fit.envelope) && finite(&fit.model)).then(|| Self {
            t_s,
            envelope: fit.envelope.clone(),
            model: fit.model.clone(),
            interval,
        })
    }
}

impl Verdict {
    /// The same measurement, but inconclusive for a reason that the series alone does not show.
    #[must_use]
    pub fn reopened(self, reason: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Inconclusive,
            reason: reason.into(),
            bound: None,
            ..self
        }
    }
}

/// Work that is not the same at the end of a series as at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorkChange {
    /// What of it.
    pub work: Work,
    /// Its level in the first third of the series.
    pub from: f64,
    /// Its level in the last third.
    pub to: f64,
}

/// What an operation consists of, seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Work {
    /// Bytes of the answer, per operation.
    ResponseBytes,
    /// Nanoseconds an operation takes.
    OperationNs,
    /// Share of the operations that fail, 0 to 1.
    ErrorShare,
}

/// Measured growth on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// Growth per operation or per second.
    #[serde(with = "crate::units::nullable")]
    pub rate: f64,
    /// 95 % interval of the rate.
    pub interval: Interval,
    /// `operation` or `second`.
    pub per: String,
    /// Growth per second.
    pub per_second: Option<f64>,
    /// 95 % interval of `per_second`.
    pub per_second_interval: Option<Interval>,
    /// Growth per operation.
    pub per_operation: Option<f64>,
    /// Seconds since the run's start at which growth began; absent = since the start.
    pub onset_s: Option<f64>,
    /// Level it tends to.
    pub plateau: Option<f64>,
    /// Until the limit is met.
    pub time_to_limit: Option<TimeToLimit>,
    /// Growth of the second half over that of the first.
    #[serde(with = "crate::units::nullable")]
    pub acceleration: f64,
    /// Share of increments that point the way of the growth.
    #[serde(with = "crate::units::nullable")]
    pub consistency: f64,
    /// Pearson's correlation of the readings with the operations done. Near 1 says no more than that both grew; far below
    /// it, that operations are not what memory follows.
    #[serde(default)]
    pub correlation: Option<f64>,
}

/// A closed 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    #[serde(with = "crate::units::nullable")]
    pub low: f64,
    /// Upper end.
    #[serde(with = "crate::units::nullable")]
    pub high: f64,
}

/// Seconds until a limit is met.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeToLimit {
    /// The limit, in bytes.
    pub limit: f64,
    /// Seconds from the last reading.
    pub seconds: f64,
    /// Lower end of the 95 % interval.
    #[serde(with = "crate::units::nullable")]
    pub low: f64,
    /// Upper end; absent if the growth may be zero.
    pub high: Option<f64>,
    /// Operations per second it is meant at.
    pub at_rate: Option<f64>,
}

impl From<judge::Interval> for Interval {
    fn from(i: judge::Interval) -> Self {
        Self {
            low: i.low,
            high: i.high,
        }
    }
}

impl From<&judge::Growth> for Growth {
    fn from(g: &judge::Growth) -> Self {
        Self {
            rate: g.rate,
            interval: g.interval.into(),
            per: match g.per {
                judge::Axis::Operations => "operation",
                judge::Axis::Time => "second",
            }
            .to_owned(),
            per_second: g.per_second,
            per_second_interval: g.per_second_interval.map(Interval::from),
            per_operation: g.per_operation,
            onset_s: g.onset.map(|o| o.t_ns as f64 / 1e9),
            plateau: g.plateau.map(|p| p.level),
            time_to_limit: g.time_to_limit.as_ref().map(|t| TimeToLimit {
                limit: t.limit,
                seconds: t.seconds,
                low: t.interval.low,
                high: t.interval.high.is_finite().then_some(t.interval.high),
                at_rate: t.at_rate,
            }),
            acceleration: g.acceleration,
            consistency: g.consistency,
            correlation: g.correlation,
        }
    }
}

impl From<judge::WorkChange> for WorkChange {
    fn from(change: judge::WorkChange) -> Self {
        Self {
            work: match change.work {
                judge::Work::ResponseBytes => Work::ResponseBytes,
                judge::Work::ErrorShare => Work::ErrorShare,
                _ => Work::OperationNs,
            },
            from: change.from,
            to: change.to,
        }
    }
}

impl From<&judge::Verdict> for Verdict {
    fn from(v: &judge::Verdict) -> Self {
        let (outcome, reason, bound, more) = match &v.outcome {
            judge::Outcome::Leak => (Outcome::Leak, String::new(), None, judge::More::default()),
            judge::Outcome::NoLeak(b) => (
                Outcome::NoLeak,
                String::new(),
                Some(b.rate),
                judge::More::default(),
            ),
            judge::Outcome::Inconclusive { reason, more } => {
                (Outcome::Inconclusive, reason_text(reason), None, *more)
            }
        };
        Self {
            outcome,
            reason,
            more_operations: more.operations,
            more_seconds: more.seconds,
            leak_probability: v.leak_probability,
            pattern: pattern_text(v.pattern).to_owned(),
            growth: v.estimate.as_ref().map(Growth::from),
            bound,
            detectable: v.detectable,
            floor: v.floor,
            alpha: v.guarantee.alpha,
            warm_up_operations: v.guarantee.warm_up_operations,
            repairs: v.repairs.iter().map(repair_text).collect(),
            bets_p_value: v.bets_p_value,
            work_change: match v.outcome {
                judge::Outcome::Inconclusive {
                    reason: judge::Reason::WorkChanged(change),
                    ..
                } => Some(change.into()),
                _ => None,
            },
            slowdown: v.slowdown.map(WorkChange::from),
            curve: v
                .fit
                .as_ref()
                .and_then(|fit| Curve::of(fit, v.estimate.as_ref())),
        }
    }
}

fn reason_text(reason: &judge::Reason) -> String {
    match reason {
        judge::Reason::TooFewReadings { have, need } => {
            let word = if *have == 1 { "reading" } else { "readings" };
            format!("{have} {word}, {need} are needed")
        }
        judge::Reason::Noise => "the noise is larger than the growth in question".to_owned(),
        judge::Reason::StillFilling => {
            "still growing, but ever more slowly: a cache that fills, or a leak".to_owned()
        }
        judge::Reason::WarmingUp => "the warm-up had not settled".to_owned(),
        judge::Reason::FewSteps => {
            "too few steps to tell a rare leak from one-time growth".to_owned()
        }
        judge::Reason::Ambiguous => {
            "a leak and a healthy program would explain the readings about equally".to_owned()
        }
        judge::Reason::GrowsWhileIdle => "it grows with time, not with operations".to_owned(),
        judge::Reason::TooEarly => "too little of the planned run is over".to_owned(),
        judge::Reason::Unconfirmed => {
            "a leak at this look, which the next one has to confirm".to_owned()
        }
        judge::Reason::WorkChanged(change) => work_text(*change),
        judge::Reason::Contradiction => {
            "the rate and the signs of the single increments contradict each other".to_owned()
        }
        _ => "undecided".to_owned(),
    }
}

/// What changed, and how to test so that it does not.
fn work_text(change: judge::WorkChange) -> String {
    let judge::WorkChange { work, from, to } = change;
    match work {
        judge::Work::ResponseBytes => format!(
            "the work changed: answers grew from {} to {} each, and memory may follow them",
            crate::units::bytes(from),
            crate::units::bytes(to)
        ),
        judge::Work::ErrorShare => format!(
            "the work changed: {:.1} % of the operations failed at first and {:.1} % in the end",
            100.0 * from,
            100.0 * to
        ),
        _ => format!(
            "the work changed: an operation took {:.2} ms at first and {:.2} ms in the end",
            from / 1e6,
            to / 1e6
        ),
    }
}

fn pattern_text(pattern: judge::Pattern) -> &'static str {
    match pattern {
        judge::Pattern::Linear => "linear",
        judge::Pattern::Exponential => "exponential",
        judge::Pattern::Stepped => "stepped",
        judge::Pattern::Sporadic => "sporadic",
        judge::Pattern::Cyclic => "cyclic",
        judge::Pattern::Plateau => "plateau",
        judge::Pattern::Load => "load",
        judge::Pattern::Declining => "declining",
        _ => "flat",
    }
}

fn repair_text(repair: &judge::Repair) -> String {
    match repair {
        judge::Repair::ClockJumps(n) => format!("{n} clock jumps mended"),
        judge::Repair::Gaps(n) => format!("{n} readings missing"),
        judge::Repair::Restarts { segments, kept } => {
            format!("restarted: the longest of {segments} stretches judged ({kept} readings)")
        }
        judge::Repair::Unsorted(n) => format!("{n} readings sorted by time"),
        _ => "mended".to_owned(),
    }
}
