//! Rules by name: the criteria people judge memory by today, evaluated as their sources state them.
//!
//! A rule is a user's criterion, reported beside the verdict and never a part of it. Each is one item of
//! [`rules()`] with its source, its default limit, and how often it was wrong on the public corpus
//! (`tests/corpus`; `tests/it/rules.rs` measures the figures again and fails if one has changed).
//!
//! Nothing of the judge's care goes into a rule: readings are put in order and gaps left out, that is all. Where a source
//! leaves the arithmetic open (it speaks of per-line or per-call data, or gives a word and no formula), what was filled in
//! stands in `says`.
//!
//! ```
//! use plimsoll_judge::{RuleOutcome, Series, evaluate, rule};
//!
//! let series = Series { t_ns: vec![0, 60_000_000_000], value: vec![20e6, 28e6], ..Series::default() };
//! let outcome = evaluate(rule("end-start").unwrap(), &series, None);
//! assert!(matches!(outcome, RuleOutcome::Measured { holds: false, measured: 8e6, .. }));
//! ```

mod detectors;
mod levels;
mod lines;
mod table;
mod trends;

use crate::repair::{Readings, repair};
use crate::series::{Quantity, Series};

pub use table::rules;

/// What the limit of a rule, and what it measures, are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuleUnit {
    /// Bytes.
    Bytes,
    /// Bytes per second.
    BytesPerSecond,
    /// Bytes per minute.
    BytesPerMinute,
    /// Bytes from one reading to the next.
    BytesPerSample,
    /// Bytes per operation.
    BytesPerOperation,
    /// Percent.
    Percent,
    /// Percent per hour.
    PercentPerHour,
    /// A multiple.
    Ratio,
    /// A number of things.
    Count,
    /// A number without a unit, from 0 to 1.
    Share,
}

/// On which side of its limit a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holds {
    /// What is measured must be less than the limit.
    Below,
    /// It may reach the limit.
    AtMost,
    /// It must be more than the limit.
    Above,
}

impl Holds {
    /// The sign between what is measured and the limit: `<`, `<=`, `>`.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
        }
    }

    fn is_met(self, measured: f64, limit: f64) -> bool {
        match self {
            Self::Below => measured < limit,
            Self::AtMost => measured <= limit,
            Self::Above => measured > limit,
        }
    }
}

/// Which series of a run a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reads {
    /// Bytes: the series the run's verdict is about.
    Headline,
    /// What the runtime's heap uses.
    HeapUsed,
    /// Memory outside the heap that objects of the heap own.
    External,
    /// Resident memory of the process.
    Resident,
    /// A number of things.
    Count,
}

/// How often a rule was wrong, of how many series it could be evaluated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Wrong.
    pub wrong: u16,
    /// Of so many series.
    pub of: u16,
}

/// One criterion.
#[derive(Debug)]
pub struct Rule {
    /// What it is asked for by.
    pub name: &'static str,
    /// What must be so for the rule to hold; completes "holds while …".
    pub says: &'static str,
    /// Who states it.
    pub source: &'static str,
    /// The limit unless the user names one.
    pub limit: f64,
    /// Unit of the limit and of what is measured.
    pub unit: RuleUnit,
    /// On which side of the limit it holds.
    pub holds: Holds,
    /// The series it is about.
    pub reads: Reads,
    /// Healthy series of the public corpus on which it is broken.
    pub false_alarms: Tally,
    /// Leaking series of the public corpus on which it holds.
    pub missed: Tally,
    /// Why the verdict can differ from it.
    pub differs: &'static str,
    measure: fn(&Readings, f64) -> Result<Measured, String>,
}

/// What a rule came to.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleOutcome {
    /// It could be evaluated.
    Measured {
        /// Whether it holds.
        holds: bool,
        /// What was measured, in the rule's unit.
        measured: f64,
        /// The limit it was held against.
        limit: f64,
        /// What else decided, if the figure alone did not: "not significant, p = 0.31".
        why: Option<String>,
    },
    /// The series is not one the rule speaks about, or too short for it.
    NotApplicable {
        /// Why.
        why: String,
    },
}

/// What a rule measures, before it is held against the limit.
#[derive(Debug, Clone, PartialEq)]
struct Measured {
    value: f64,
    /// A condition of the source that is not met, so that the rule holds whatever the figure.
    excused: Option<String>,
}

impl From<f64> for Measured {
    fn from(value: f64) -> Self {
        Self {
            value,
            excused: None,
        }
    }
}

impl Measured {
    fn excused(value: f64, why: impl Into<String>) -> Self {
        Self {
            value,
            excused: Some(why.into()),
        }
    }
}

/// The rule of this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    rules().iter().find(|r| r.name == name)
}

/// Evaluates one rule on one series, by its own limit if none is given.
///
/// Never panics, whatever the series holds. Rules that are quadratic in their source are evaluated on at most 500
/// readings, evenly picked.
pub fn evaluate(rule: &Rule, series: &Series, limit: Option<f64>) -> RuleOutcome {
    let counts = rule.reads == Reads::Count;
    if counts != (series.quantity == Quantity::Count) {
        let what = if counts { "a count" } else { "bytes" };
        return not_applicable(format!("it is about {what}"));
    }
    let readings = repair(series);
    if readings.value.len() < 2 {
        return not_applicable("there are fewer than 2 readings");
    }
    let limit = limit.unwrap_or(rule.limit);
    match (rule.measure)(&readings, limit) {
        Ok(Measured { value, .. }) if value.is_nan() => {
            not_applicable("the readings give no figure")
        }
        Ok(Measured { value, excused }) => RuleOutcome::Measured {
            holds: excused.is_some() || rule.holds.is_met(value, limit),
            measured: value,
            limit,
            why: excused,
        },
        Err(why) => not_applicable(why),
    }
}

fn not_applicable(why: impl Into<String>) -> RuleOutcome {
    RuleOutcome::NotApplicable { why: why.into() }
}

/// First and last reading; the caller has seen that there are two.
fn ends(readings: &Readings) -> (f64, f64) {
    let value = &readings.value;
    (value[0], value[value.len() - 1])
}

/// Refuses series that are too short for a rule.
fn at_least(readings: &Readings, fewest: usize) -> Result<(), String> {
    let have = readings.value.len();
    if have < fewest {
        Err(format!("{have} readings, it needs {fewest}"))
    } else {
        Ok(())
    }
}

/// Seconds from the first reading to the last.
fn length(readings: &Readings) -> Result<f64, String> {
    match readings.seconds.last() {
        Some(&seconds) if seconds > 0.0 => Ok(seconds),
        _ => Err("no time passes between the readings".to_owned()),
    }
}

/// Operations from the first reading to the last.
fn operations(readings: &Readings) -> Result<f64, String> {
    match (readings.ops.first(), readings.ops.last()) {
        (Some(first), Some(last)) if last > first => Ok(last - first),
        _ => Err("operations are not known".to_owned()),
    }
}
