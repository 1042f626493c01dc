//! Rules on the wire: what a user's criterion came to, and what can be asked for.

use plimsoll_judge as judge;
use serde::{Deserialize, Serialize};

use crate::{Metric, units};

/// What a rule came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleState {
    /// It holds.
    Holds,
    /// It is broken.
    Broken,
    /// It says nothing about what was recorded.
    NotApplicable,
}

/// What a rule measures in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

impl RuleUnit {
    /// A figure in this unit for people; `operation` is the word for one operation.
    pub fn show(self, value: f64, operation: &str) -> String {
        match self {
            Self::Bytes => units::bytes(value),
            Self::BytesPerSecond => format!("{}/s", units::bytes(value)),
            Self::BytesPerMinute => format!("{}/min", units::bytes(value)),
            Self::BytesPerSample => format!("{}/sample", units::bytes(value)),
            Self::BytesPerOperation => format!("{}/{operation}", units::bytes(value)),
            Self::Percent => format!("{} %", units::count(value)),
            Self::PercentPerHour => format!("{} %/h", units::count(value)),
            Self::Ratio => format!("{}x", units::count(value)),
            // What rounds to zero is not said to be zero: p-values live there.
            Self::Share if (0.0..0.000_05).contains(&value) => "below 0.0001".to_owned(),
            Self::Count | Self::Share => units::count(value),
        }
    }
}

impl From<judge::RuleUnit> for RuleUnit {
    fn from(unit: judge::RuleUnit) -> Self {
        match unit {
            judge::RuleUnit::BytesPerSecond => Self::BytesPerSecond,
            judge::RuleUnit::BytesPerMinute => Self::BytesPerMinute,
            judge::RuleUnit::BytesPerSample => Self::BytesPerSample,
            judge::RuleUnit::BytesPerOperation => Self::BytesPerOperation,
            judge::RuleUnit::Percent => Self::Percent,
            judge::RuleUnit::PercentPerHour => Self::PercentPerHour,
            judge::RuleUnit::Ratio => Self::Ratio,
            judge::RuleUnit::Count => Self::Count,
            judge::RuleUnit::Share => Self::Share,
            _ => Self::Bytes,
        }
    }
}

/// A user's criterion, evaluated. It stands beside the verdict and is no part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleResult {
    /// Name of the rule.
    pub name: String,
    /// What it came to.
    pub state: RuleState,
    /// The metric it was evaluated on; `None` if there was none.
    pub metric: Option<Metric>,
    /// What was measured, in `unit`.
    pub measured: Option<f64>,
    /// Sign between what is measured and the limit where the rule holds: `<`, `<=`, `>`.
    pub sign: String,
    /// The limit, in `unit`.
    pub limit: f64,
    /// Unit of `measured` and `limit`.
    pub unit: RuleUnit,
    /// What else decided, or why it is not applicable.
    pub why: Option<String>,
    /// Who states it.
    pub source: String,
}

impl RuleResult {
    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.state == RuleState::Broken
    }

    /// The result of `rule` on the series of `metric`, by its own limit if none is given.
    pub fn of(
        rule: &judge::Rule,
        metric: Metric,
        series: &judge::Series,
        limit: Option<f64>,
    ) -> Self {
        let blank = Self::not_applicable(rule, limit, String::new());
        match judge::evaluate(rule, series, limit) {
            judge::RuleOutcome::Measured {
                holds,
                measured,
                limit,
                why,
            } => Self {
                state: if holds {
                    RuleState::Holds
                } else {
                    RuleState::Broken
                },
                metric: Some(metric),
                measured: measured.is_finite().then_some(measured),
                limit,
                why,
                ..blank
            },
            judge::RuleOutcome::NotApplicable { why } => Self {
                metric: Some(metric),
                why: Some(why),
                ..blank
            },
        }
    }

    /// A rule that says nothing about what was recorded.
    pub fn not_applicable(rule: &judge::Rule, limit: Option<f64>, why: String) -> Self {
        Self {
            name: rule.name.to_owned(),
            state: RuleState::NotApplicable,
            metric: None,
            measured: None,
            sign: rule.holds.sign().to_owned(),
            limit: limit.unwrap_or(rule.limit),
            unit: rule.unit.into(),
            why: Some(why),
            source: rule.source.to_owned(),
        }
    }
}

/// How often a rule was wrong on the public corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTally {
    /// Wrong.
    pub wrong: u16,
    /// Of so many series that it could be evaluated on.
    pub of: u16,
}

impl From<judge::Tally> for RuleTally {
    fn from(tally: judge::Tally) -> Self {
        Self {
            wrong: tally.wrong,
            of: tally.of,
        }
    }
}

/// A rule that can be asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleInfo {
    /// Its name.
    pub name: String,
    /// What must be so for it to hold.
    pub says: String,
    /// Who states it.
    pub source: String,
    /// Sign between what is measured and the limit where it holds.
    pub sign: String,
    /// Its own limit, in `unit`.
    pub limit: f64,
    /// Unit of the limit.
    pub unit: RuleUnit,
    /// Healthy series of the public corpus on which it is broken.
    pub false_alarms: RuleTally,
    /// Leaking series of the public corpus on which it holds.
    pub missed: RuleTally,
    /// Why the verdict can differ from it.
    pub differs: String,
}

impl From<&judge::Rule> for RuleInfo {
    fn from(rule: &judge::Rule) -> Self {
        Self {
            name: rule.name.to_owned(),
            says: rule.says.to_owned(),
            source: rule.source.to_owned(),
            sign: rule.holds.sign().to_owned(),
            limit: rule.limit,
            unit: rule.unit.into(),
            false_alarms: rule.false_alarms.into(),
            missed: rule.missed.into(),
            differs: rule.differs.to_owned(),
        }
    }
}

impl RuleInfo {
    /// Every rule there is.
    pub fn all() -> Vec<Self> {
        judge::rules().iter().map(Self::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_in_the_unit_of_their_rule() {
        for (unit, value, text) in [
            (RuleUnit::Bytes, 5_242_880.0, "5.00 MiB"),
            (RuleUnit::BytesPerMinute, 1_048_576.0, "1.00 MiB/min"),
            (RuleUnit::BytesPerOperation, 64.0, "64 B/request"),
            (RuleUnit::PercentPerHour, 1.0, "1 %/h"),
            (RuleUnit::Ratio, 1.5, "1.50x"),
            (RuleUnit::Share, 0.05, "0.05"),
            (RuleUnit::Share, 1e-9, "below 0.0001"),
            (RuleUnit::Count, 0.0, "0"),
        ] {
            assert_eq!(unit.show(value, "request"), text);
        }
    }

    #[test]
    fn a_result_says_what_was_measured_and_where() {
        let series = judge::Series {
            t_ns: vec![0, 1],
            value: vec![10.0, 6e6],
            ..judge::Series::default()
        };
        let rule = judge::rule("end-start").unwrap();
        let result = RuleResult::of(rule, Metric::RSS, &series, None);
        assert!(result.is_broken());
        assert_eq!(result.measured, Some(5_999_990.0));
        assert_eq!(result.sign, "<");
        let short = judge::Series::default();
        let result = RuleResult::of(rule, Metric::RSS, &short, Some(7.0));
        assert_eq!(result.state, RuleState::NotApplicable);
        assert_eq!(result.limit, 7.0);
    }
}
