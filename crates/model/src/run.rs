//! The run document: all that one invocation recorded, from which every report is rendered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Culprit, Exit, Finding, Gap, Interval, Latency, Metric, Ns, OpId, OpStats, OperationKind,
    Outcome, Part, ProcessId, ProcessInfo, RuleResult, Share, Source, SourceId, Unit, Verdict,
};

/// Schema name of the run document.
pub const SCHEMA: &str = "plimsoll.run/1";

/// All that one invocation recorded. `run.json` is this type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// Name of the run, sortable by time.
    pub id: String,
    /// The verb: `check`.
    pub verb: String,
    /// Wall clock at the run's start, nanoseconds since 1970: the offset of every [`Ns`].
    pub started_unix_ns: u64,
    /// Length of the run.
    pub duration: Ns,
    /// How it ended.
    pub status: RunStatus,
    /// What the process exited with.
    pub exit_code: u8,
    /// The headline: one verdict on the run. `None` if nothing could be judged.
    pub verdict: Option<Verdict>,
    /// Why the run's outcome is what it is, where no single series says it ("growth outside the heap").
    pub verdict_reason: String,
    /// Index into `series` of the one the headline is about.
    pub headline: Option<usize>,
    /// The subject.
    pub subject: SubjectInfo,
    /// What drove it; `None` = nothing did.
    pub load: Option<LoadInfo>,
    /// What was planned.
    pub plan: Plan,
    /// Levels of observation that were on.
    pub levels: Vec<Level>,
    /// What could not be observed, and why.
    pub gaps: Vec<Gap>,
    /// Where samples came from.
    pub sources: Vec<Source>,
    /// The rounds, in order.
    pub rounds: Vec<RoundRecord>,
    /// The series, judged and not.
    pub series: Vec<SeriesRecord>,
    /// How growth divides over the places memory can be in.
    pub shares: Vec<Share>,
    /// Who holds the growth.
    pub culprits: Vec<Culprit>,
    /// What else is worth telling.
    pub findings: Vec<Finding>,
    /// The user's criteria, in the order in which they were asked for.
    #[serde(default)]
    pub rules: Vec<RuleResult>,
    /// What observing cost.
    pub observer: Observer,
    /// Files kept with the run, relative to its directory.
    pub artefacts: Vec<Artefact>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum RunStatus {
    /// As planned.
    Completed,
    /// The subject or the load failed; the verdict is "until then".
    Failed {
        /// What happened, in a phrase.
        what: String,
        /// Further lines: the command, its last lines of output.
        details: Vec<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// Interrupted; the verdict is "until then".
    Interrupted,
}

/// A level of observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// L0: procfs, any process.
    Process,
    /// L1: a probe inside the runtime.
    Probe,
    /// L3: a counting allocator in the program (`plimsoll-alloc`), whose counts are exact.
    Allocator,
}

/// The subject of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectInfo {
    /// The command as given; empty when attached.
    pub command: Vec<String>,
    /// The service: what the verdict is about. `None` if it never got ready.
    pub service: Option<ProcessInfo>,
    /// Every process of the tree that was seen, the service included.
    pub processes: Vec<ProcessInfo>,
    /// Isolates that said hello but are not judged: worker threads, by name.
    pub context_isolates: Vec<String>,
    /// How the command ended by itself, if it did.
    pub exit: Option<Exit>,
    /// When it was ready.
    pub ready: Option<Ns>,
    /// Memory limits that apply.
    pub limits: Limits,
    /// What it printed.
    pub output: Output,
}

/// Memory limits of the subject, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Limit of the runtime's heap.
    pub heap: Option<u64>,
    /// Limit of the control group.
    pub cgroup: Option<u64>,
    /// Memory of the machine.
    pub host: Option<u64>,
    /// Above this the control group is slowed down (`memory.high`).
    #[serde(default)]
    pub cgroup_high: Option<u64>,
    /// Which of them would be met first; what the time to limit counts to.
    #[serde(default)]
    pub effective: Option<EffectiveLimit>,
}

/// The limit that would be met first by growth of what was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EffectiveLimit {
    /// Which.
    pub kind: LimitKind,
    /// What was left below it, in bytes.
    pub room: u64,
    /// The level of the judged series at which it is met, in bytes.
    pub level: u64,
}

/// A sort of memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitKind {
    /// The runtime's heap.
    Heap,
    /// The hard limit of a control group.
    Cgroup,
    /// The limit above which a control group is slowed down.
    CgroupHigh,
    /// What the machine has available.
    Host,
}

impl LimitKind {
    /// For people, with its article.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Heap => "the heap limit",
            Self::Cgroup => "the limit of the control group",
            Self::CgroupHigh => "memory.high of the control group",
            Self::Host => "the memory of the machine",
        }
    }
}

/// What was kept of the subject's output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Output {
    /// Bytes printed in all.
    pub bytes: u64,
    /// Bytes that were not kept.
    pub dropped_bytes: u64,
    /// The last lines.
    pub last_lines: Vec<String>,
}

/// What drove the subject.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadInfo {
    /// What it is, for people: `GET http://127.0.0.1:3000/api/items`.
    pub name: String,
    /// One operation, for people: `request`.
    pub operation_word: String,
    /// Kinds of operation.
    pub operations: Vec<OperationKind>,
    /// Operations in flight.
    pub concurrency: u32,
    /// Operations done in the whole run, warm-up included.
    pub total_operations: u64,
    /// Errors by kind in the whole run.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// Operations per second of the measured rounds.
    pub operations_per_second: Option<f64>,
    /// What the load itself measured, if it was the purpose of the run.
    #[serde(default)]
    pub figures: Option<LoadFigures>,
    /// Which kinds of operation make it grow, if rounds of each were run.
    #[serde(default)]
    pub growth: Vec<OperationGrowth>,
    /// How many operations each process answered, where several share the work and their connections tell it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_process: Vec<ProcessOperations>,
}

/// What one of several processes did of a load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessOperations {
    /// Which process.
    pub process: ProcessId,
    /// Operations it answered over connections that were still open at the end of their round.
    pub operations: u64,
}

/// How much one kind of operation makes the subject grow, by rounds of that kind alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationGrowth {
    /// Which kind.
    pub operation: OpId,
    /// Its name.
    pub name: String,
    /// Whether it leaks: corrected for the number of kinds.
    pub outcome: Outcome,
    /// Bytes per operation.
    pub rate: f64,
    /// Its 95 % interval.
    pub interval: Interval,
    /// p-value of "it does not grow", Holm-adjusted over the kinds.
    pub p: f64,
    /// Operations of this kind in its rounds.
    pub operations: u64,
    /// Rounds of it.
    pub rounds: u32,
}

/// What driving measured: latency, throughput, errors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadFigures {
    /// Operations that were planned; `None` = as many as the time allowed.
    pub planned: Option<u64>,
    /// Operations that were begun.
    pub sent: u64,
    /// Operations that were answered as expected.
    pub done: u64,
    /// Operations per second that were asked for; `None` = a closed loop.
    pub rate: Option<f64>,
    /// From the first operation to the last answer, in seconds.
    pub seconds: f64,
    /// Seconds over which the load rose.
    pub ramp_s: f64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Connections that had to be opened again.
    pub reconnects: u64,
    /// CPU seconds the client used.
    pub cpu_s: f64,
    /// From when an operation was due to the last byte of its answer.
    pub latency: Latency,
    /// From when it began.
    pub service: Latency,
    /// How late operations of an open loop began.
    pub lateness: Option<Latency>,
    /// Virtual users that set themselves up again after an answer 401.
    pub refreshed: u64,
    /// The same by kind of operation, if there are several.
    pub per_operation: Vec<OpStats>,
}

/// What was planned, and what of it was settled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Operations of a round.
    pub operations_per_round: u64,
    /// Rounds at first.
    pub rounds: u32,
    /// Warm-up operations that were done.
    pub warm_up_operations: u64,
    /// Whether the warm-up settled.
    pub warm_up_settled: bool,
    /// Ceiling of the time after readiness, in seconds.
    pub max_time_s: f64,
    /// Growth per round without operations, in bytes, if measured.
    pub idle_growth_per_round: Option<f64>,
}

/// What a round was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RoundKind {
    /// Before measuring counts.
    WarmUp,
    /// Without operations.
    Idle,
    /// Judged.
    Measured,
    /// After the verdict, for the explanation; judged against the verdict.
    Explain,
    /// One kind of operation alone, to tell which of several leaks.
    Alone,
}

/// One round and what was measured after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRecord {
    /// Counted from 0 through all kinds.
    pub index: u32,
    /// What it was for.
    pub kind: RoundKind,
    /// When it began.
    pub start: Ns,
    /// When its measurement was taken.
    pub end: Ns,
    /// Operations answered as expected.
    pub done: u64,
    /// Operations that were not.
    pub errors: u64,
    /// Operations since the run's start, errors included.
    pub operations_so_far: u64,
    /// Connections that had to be opened again.
    pub reconnects: u64,
    /// Connections open while measuring.
    pub connections: u32,
    /// Latency of its operations.
    pub latency: Latency,
    /// Bytes of all its answers, heads included; 0 where not known.
    #[serde(default)]
    pub bytes_in: u64,
    /// CPU seconds the driver used.
    pub driver_cpu_s: f64,
    /// Whether a collection was forced before measuring.
    pub collected: bool,
    /// Whether listeners, timers and other resources were counted: what is absent then is zero.
    #[serde(default)]
    pub counted: bool,
    /// Readings by metric: of all processes and isolates that share the work, together.
    pub values: BTreeMap<Metric, f64>,
    /// Readings of each of them, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartReadings>,
}

/// Readings of one of several processes or isolates that share the work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartReadings {
    /// Which.
    pub source: SourceId,
    /// Its readings by metric.
    pub values: BTreeMap<Metric, f64>,
}

/// One series as it is kept in the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeriesRecord {
    /// What was measured.
    pub metric: Metric,
    /// Its unit.
    pub unit: Unit,
    /// Its part in the verdict.
    pub part: Part,
    /// Where it was read.
    pub source: SourceId,
    /// The points that were judged (one per round), if it was judged by rounds.
    pub points: Option<PointSet>,
    /// The min–max band of the raw samples.
    pub band: Option<Band>,
    /// Its verdict.
    pub verdict: Option<Verdict>,
}

impl SeriesRecord {
    /// Whether its verdict says so.
    pub fn is(&self, outcome: Outcome) -> bool {
        self.verdict.as_ref().is_some_and(|v| v.outcome == outcome)
    }
}

/// Points of a series, one per round.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PointSet {
    /// When.
    pub t: Vec<Ns>,
    /// Operations so far; empty where nothing was driven.
    #[serde(with = "crate::units::nullable_column")]
    pub operations: Vec<f64>,
    /// The readings; NaN (`null` in JSON) is a gap.
    #[serde(with = "crate::units::nullable_column")]
    pub value: Vec<f64>,
}

/// At most 2,000 buckets of the raw samples: report size follows pixels, never samples.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Band {
    /// Start of the first bucket.
    pub start: Ns,
    /// Length of a bucket.
    pub step: Ns,
    /// Smallest reading of each bucket; `None` where there is none.
    pub min: Vec<Option<f64>>,
    /// Largest reading of each bucket.
    pub max: Vec<Option<f64>>,
}

/// What observing cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Observer {
    /// CPU time of our own process over the run's wall time, load generation apart, 0 to 1 of one core.
    pub cpu_ratio: f64,
    /// CPU time the driver used over the run's wall time.
    pub driver_cpu_ratio: f64,
    /// Largest resident set of our own process, in bytes.
    pub rss_peak: u64,
    /// Seconds the subject was paused by collections and censuses we forced.
    pub subject_pause_s: f64,
    /// Samples that were dropped by probe or recorder.
    pub dropped_samples: u64,
}

/// A file kept with the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artefact {
    /// What it is: `log`, `output`.
    pub kind: String,
    /// Path relative to the run's directory.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}
