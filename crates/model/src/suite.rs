//! What a suite found: checks with their figures beside their limits, the verdict of the judge beside the rules.

use serde::{Deserialize, Serialize};

use crate::{Culprit, ExitCode, Outcome, RunStatus, Verdict, units};

/// Schema name of what a suite found.
pub const SUITE_SCHEMA: &str = "plimsoll.suite/1";

/// All that one invocation of a suite found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteRun {
    /// [`SUITE_SCHEMA`].
    pub schema: String,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// The name of its directory; nothing where it was not kept.
    #[serde(default)]
    pub id: String,
    /// Which suite: `fast`.
    pub suite: String,
    /// The subject module, as it was named.
    pub subject: String,
    /// What the module calls its objects.
    pub kind: Option<String>,
    /// What runs it, with its version.
    pub runtime: Option<String>,
    /// Wall clock at the start, nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// How long all of it took.
    pub seconds: f64,
    /// How it ended.
    pub status: RunStatus,
    /// What the process exits with.
    pub exit_code: u8,
    /// The checks, in the order in which they were run.
    pub checks: Vec<CheckRecord>,
    /// What must be said beside them: what a compressed run cannot show.
    pub notes: Vec<String>,
}

impl SuiteRun {
    /// What the process exits with: the worst of all checks, of how the run ended, and of checks that found nothing to do.
    pub fn code(&self) -> ExitCode {
        let ended = match self.status {
            RunStatus::Interrupted => ExitCode::Interrupted,
            RunStatus::Failed { .. } => ExitCode::Failed,
            RunStatus::Completed => ExitCode::Holds,
        };
        // Where every check was skipped, nothing was shown.
        let shown = if self.checks.iter().any(|c| c.state != CheckState::Skipped) {
            ExitCode::Holds
        } else {
            ExitCode::Inconclusive
        };
        let checks = self.checks.iter().map(|c| c.state.code());
        checks.fold(ended.worst(shown), ExitCode::worst)
    }
}

/// One check: what was done is in its title, what came of it in its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// The test it belongs to: `gc_verification`.
    pub test: String,
    /// Its own name: `high_volume`.
    pub name: String,
    /// What is done, in a phrase.
    pub title: String,
    /// What came of it.
    pub state: CheckState,
    /// Why it is so, in a phrase; empty where it passed.
    pub why: String,
    /// How long it took.
    pub seconds: f64,
    /// What its test may take, in seconds.
    pub limit_s: f64,
    /// What was measured, with the limits of the rule.
    pub figures: Vec<Figure>,
    /// Memory at its beginning and at its end, collected.
    pub memory: Option<(MemoryColumns, MemoryColumns)>,
    /// What the judge says of each series.
    pub verdicts: Vec<SeriesVerdict>,
    /// Who holds what grew.
    pub culprits: Vec<Culprit>,
    /// What to try, where it is not well.
    pub hints: Vec<String>,
}

impl CheckRecord {
    /// `gc_verification.high_volume`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.test, self.name)
    }
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckState {
    /// All rules hold, and the judge says no leak of everything that it judged.
    Passed,
    /// A rule is broken.
    Broken,
    /// The judge says leak; the rules may hold all the same.
    Leak,
    /// Neither can be said.
    Inconclusive,
    /// What it needs is missing.
    Skipped,
    /// The subject failed: it threw where it should not, died, or did not answer in time.
    Failed,
}

impl CheckState {
    /// The word for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Broken => "FAIL",
            Self::Leak => "LEAK",
            Self::Inconclusive => "INCONCLUSIVE",
            Self::Skipped => "skipped",
            Self::Failed => "ERROR",
        }
    }

    /// What it makes the process exit with.
    pub const fn code(self) -> ExitCode {
        match self {
            Self::Passed | Self::Skipped => ExitCode::Holds,
            Self::Broken | Self::Leak => ExitCode::Broken,
            Self::Inconclusive => ExitCode::Inconclusive,
            Self::Failed => ExitCode::Failed,
        }
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FigureUnit {
    /// Bytes.
    Bytes,
    /// More or fewer bytes.
    BytesChange,
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// A part of a whole, 0 to 1.
    Ratio,
    /// So many times.
    Times,
    /// Bytes an operation.
    BytesPerOperation,
    /// A part of the level, 0 to 1, an hour.
    RatioPerHour,
    /// Bytes a minute.
    BytesPerMinute,
    /// Times a minute.
    PerMinute,
}

impl FigureUnit {
    /// A figure for people.
    pub fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "unknown".to_owned();
        }
        match self {
            Self::Bytes => units::bytes(value),
            Self::BytesChange => units::signed_bytes(value),
            Self::Count => units::count(value),
            Self::Seconds if value < 1.0 => units::latency((value * 1e9) as u64),
            Self::Seconds => units::duration(value),
            Self::Ratio => units::percent(value),
            Self::Times => format!("{}x", units::count((value * 100.0).round() / 100.0)),
            Self::BytesPerOperation => format!("{}/op", units::signed_bytes(value)),
            Self::RatioPerHour => format!("{}/h", units::percent(value)),
            Self::BytesPerMinute => format!("{}/min", units::signed_bytes(value)),
            Self::PerMinute => format!("{}/min", units::count((value * 10.0).round() / 10.0)),
        }
    }

    /// The same as a limit: without a sign.
    fn show_limit(self, value: f64) -> String {
        match self {
            Self::BytesChange => units::bytes(value),
            Self::BytesPerOperation => format!("{}/op", units::bytes(value)),
            Self::BytesPerMinute => format!("{}/min", units::bytes(value)),
            _ => self.show(value),
        }
    }
}

/// On which side of a limit a figure must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Less than the limit.
    Below,
    /// The limit at most.
    AtMost,
    /// More than the limit.
    Above,
    /// The limit at least.
    AtLeast,
}

/// What a rule asks of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FigureLimit {
    /// On which side.
    pub side: Side,
    /// Of what.
    pub value: f64,
}

impl FigureLimit {
    /// Whether a figure is where it must be; what is not a number is not.
    pub fn holds(self, figure: f64) -> bool {
        match self.side {
            Side::Below => figure < self.value,
            Side::AtMost => figure <= self.value,
            Side::Above => figure > self.value,
            Side::AtLeast => figure >= self.value,
        }
    }

    /// `below 5.00 MiB`.
    pub fn phrase(self, unit: FigureUnit) -> String {
        let side = match self.side {
            Side::Below => "below",
            Side::AtMost => "at most",
            Side::Above => "above",
            Side::AtLeast => "at least",
        };
        format!("{side} {}", unit.show_limit(self.value))
    }
}

/// One measured figure, with the limit that a rule sets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured, in a phrase.
    pub name: String,
    /// The figure; not a number (`null`) where it could not be measured.
    #[serde(with = "crate::units::nullable")]
    pub value: f64,
    /// What it counts.
    pub unit: FigureUnit,
    /// What the rule asks of it, if it is more than told.
    pub limit: Option<FigureLimit>,
    /// Whether the limit holds.
    pub holds: Option<bool>,
}

impl Figure {
    /// A figure that is told and nothing is asked of.
    pub fn told(name: impl Into<String>, value: f64, unit: FigureUnit) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            limit: None,
            holds: None,
        }
    }

    /// A figure with its limit.
    pub fn ruled(
        name: impl Into<String>,
        value: f64,
        unit: FigureUnit,
        side: Side,
        limit: f64,
    ) -> Self {
        let limit = FigureLimit { side, value: limit };
        Self {
            holds: Some(limit.holds(value)),
            limit: Some(limit),
            ..Self::told(name, value, unit)
        }
    }
}

/// Memory at one moment, by where it is. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MemoryColumns {
    /// On the heap of the runtime.
    pub heap_used: f64,
    /// Off the heap and owned by its objects; WebAssembly memory is part of it.
    pub external: f64,
    /// Of that, buffers.
    pub array_buffers: Option<f64>,
    /// Linear memory of WebAssembly: it grows and never shrinks.
    pub linear: f64,
    /// How many memories of WebAssembly there are.
    pub memories: u64,
    /// Resident set.
    pub rss: f64,
    /// Objects of the subject that are alive, by their finalisers.
    pub live: Option<f64>,
    /// What the subject itself counts as alive.
    pub resources: Option<f64>,
}

impl MemoryColumns {
    /// Heap and what its objects own outside of linear memory, which never shrinks and is a column of its own.
    pub fn javascript(&self) -> f64 {
        self.heap_used + (self.external - self.linear).max(0.0)
    }
}

/// What the judge says of one series of a check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesVerdict {
    /// What was judged: `heap`, `linear memory`, `live objects`.
    pub series: String,
    /// The verdict.
    pub verdict: Verdict,
}

impl SeriesVerdict {
    /// Leak, no leak, or inconclusive.
    pub fn outcome(&self) -> Outcome {
        self.verdict.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(state: CheckState) -> CheckRecord {
        CheckRecord {
            test: "gc_verification".to_owned(),
            name: "basic".to_owned(),
            title: String::new(),
            state,
            why: String::new(),
            seconds: 1.0,
            limit_s: 30.0,
            figures: Vec::new(),
            memory: None,
            verdicts: Vec::new(),
            culprits: Vec::new(),
            hints: Vec::new(),
        }
    }

    fn run(states: &[CheckState], status: RunStatus) -> SuiteRun {
        SuiteRun {
            schema: SUITE_SCHEMA.to_owned(),
            tool_version: String::new(),
            id: String::new(),
            suite: "fast".to_owned(),
            subject: "frames.mjs".to_owned(),
            kind: None,
            runtime: None,
            started_unix_ns: 0,
            seconds: 1.0,
            status,
            exit_code: 0,
            checks: states.iter().copied().map(check).collect(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_worst_check_decides() {
        use CheckState::{Broken, Failed, Inconclusive, Leak, Passed, Skipped};
        for (states, code) in [
            (&[Passed, Skipped] as &[_], ExitCode::Holds),
            (&[Passed, Inconclusive], ExitCode::Inconclusive),
            (&[Inconclusive, Leak], ExitCode::Broken),
            (&[Broken, Failed], ExitCode::Failed),
            // Nothing was shown.
            (&[Skipped], ExitCode::Inconclusive),
            (&[], ExitCode::Inconclusive),
        ] {
            assert_eq!(run(states, RunStatus::Completed).code(), code, "{states:?}");
        }
        let interrupted = run(&[Leak], RunStatus::Interrupted);
        assert_eq!(interrupted.code(), ExitCode::Interrupted);
    }

    #[test]
    fn a_figure_that_is_none_breaks_its_limit() {
        let figure = |value| Figure::ruled("", value, FigureUnit::Ratio, Side::Above, 0.5).holds;
        assert_eq!(figure(0.6), Some(true));
        assert_eq!(figure(0.5), Some(false));
        assert_eq!(figure(f64::NAN), Some(false));
    }

    #[test]
    fn linear_memory_is_no_memory_of_javascript() {
        let columns = MemoryColumns {
            heap_used: 5e6,
            external: 12e6,
            linear: 10e6,
            ..MemoryColumns::default()
        };
        assert_eq!(columns.javascript(), 7e6);
        // One that is told as a number is not external.
        let told = MemoryColumns {
            external: 1e6,
            ..columns
        };
        assert_eq!(told.javascript(), 5e6);
    }
}
