//! The nouns of Plimsoll as types: what a run is made of, on the wire and between the rooms.
//!
//! Nothing here measures, decides or prints. Every type that crosses a room's wall, and the one formatter for bytes,
//! rates, durations and counts, live here, so that an arrow of the pipeline is one type:
//! [`Sample`]s flow into a recorder, series into the judge, a [`Verdict`] asks for [`Culprit`]s, all end in one [`Run`].

mod cancel;
mod culprit;
mod diagnosis;
mod event;
mod evidence;
mod exit;
mod load;
mod metric;
mod process;
mod reading;
mod recorded;
mod rule;
mod run;
mod sheet;
mod suite;
mod summary;
pub mod units;
mod verdict;

pub use cancel::{Cancel, Cx};
pub use culprit::{Culprit, Finding, Severity, Share};
pub use diagnosis::{Answer, DIAGNOSIS_SCHEMA, Diagnosis, Health};
pub use event::{Event, Phase};
pub use evidence::{
    Capabilities, Census, CensusRow, CodeLine, Collected, Evidence, EvidenceRequest, Facts, Gap,
    Mark, Method, NativeHeap, NativeScope, NativeStack, Scope, Sink, Window,
};
pub use exit::ExitCode;
pub use load::{Latency, Mode, OpId, OpStats, OperationKind, Quiet, RoundSpec, RoundStats};
pub use metric::{Metric, Part, Unit};
pub use process::{
    Exit, ProcessId, ProcessInfo, Role, RuntimeInfo, Source, SourceId, SubjectHandle,
};
pub use reading::{Reading, ReadingRow};
pub use recorded::Recorded;
pub use rule::{RuleInfo, RuleResult, RuleState, RuleTally, RuleUnit};
pub use run::{
    Artefact, Band, EffectiveLimit, Level, LimitKind, Limits, LoadFigures, LoadInfo, Observer,
    OperationGrowth, Output, PartReadings, Plan, PointSet, ProcessOperations, RoundKind,
    RoundRecord, Run, RunStatus, SCHEMA, SeriesRecord, SubjectInfo,
};
pub use sheet::{Cell, Sheet};
pub use suite::{
    CheckRecord, CheckState, Figure, FigureLimit, FigureUnit, MemoryColumns, SUITE_SCHEMA,
    SeriesVerdict, Side, SuiteRun,
};
pub use summary::{RunHead, RunState, RunSummary};
pub use units::Ns;
pub use verdict::{
    Curve, Growth, Interval, Outcome, TimeToLimit, VERDICT_SCHEMA, Verdict, Work, WorkChange,
};

/// One reading of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it was taken.
    pub at: Ns,
    /// The isolate or process it was read from.
    pub source: SourceId,
    /// What was read.
    pub metric: Metric,
    /// The reading, in the metric's unit.
    pub value: f64,
}
