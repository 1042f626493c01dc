//! What a scenario found.
//!
//! A figure that could not be measured is NaN, `null` in JSON, and stands in [`MemoryTestResult::unmeasured`] with the reason.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_model::Verdict;
use serde::{Deserialize, Deserializer, Serialize};

use super::service::ServiceType;

/// The name of the document that [`export_results`](super::MemoryTestRunner::export_results) writes.
pub const SCHEMA: &str = "plimsoll.memory-test/1";

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TestScenario {
    /// Started, and left alone.
    IdleBaseline,
    /// One operation after the other; what each kind takes.
    SingleOperation,
    /// As many operations a second as are configured, whether or not those before are done.
    HighFrequencyOperations,
    /// Payloads as large as are configured.
    LargeDataProcessing,
    /// As many operations at once as are configured.
    ConcurrentOperations,
    /// Work and rest in turns, for as long as is configured.
    LongRunningStability,
    /// In a process of its own that may take only so much memory: ever larger payloads, until one is refused.
    ResourceExhaustion,
    /// Whether memory is given back after a burst of work, and after the service has stopped.
    CleanupValidation,
}

impl TestScenario {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::IdleBaseline,
        Self::SingleOperation,
        Self::HighFrequencyOperations,
        Self::LargeDataProcessing,
        Self::ConcurrentOperations,
        Self::LongRunningStability,
        Self::ResourceExhaustion,
        Self::CleanupValidation,
    ];
}

impl std::fmt::Display for TestScenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Whether a scenario was run to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TestStatus {
    /// It was. Whether something was found is another matter.
    Completed,
    /// It was not, or its operations failed: what was measured holds until then.
    Failed(String),
}

/// All that one scenario found of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryTestResult {
    /// The service.
    pub service_type: ServiceType,
    /// The scenario.
    pub scenario: TestScenario,
    /// Whether it was run to its end.
    pub status: TestStatus,
    /// Wall clock at its start, nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// How long the service took to start.
    pub ready: Option<Duration>,
    /// How long it took, from before the service's start to after its stop.
    pub duration: Duration,
    /// How long it might have taken.
    pub planned: Duration,
    /// Where memory was read: `live_bytes`, exactly from the allocator, or `rss_anon`, by pages.
    pub metric: String,
    /// Memory.
    pub memory_stats: MemoryStatistics,
    /// The same by where it lies, at the end of the work.
    pub profile: MemoryProfile,
    /// Whether it leaks.
    pub leak_detection: LeakDetectionResult,
    /// The judge's verdict on bytes, with the rate and its interval; `None` if nothing was judged.
    pub verdict: Option<Verdict>,
    /// The same on live blocks, which can be a leak where bytes are too uneven to tell; `None` where they are not counted.
    pub blocks_verdict: Option<Verdict>,
    /// Operations and time.
    pub performance_metrics: PerformanceMetrics,
    /// What each kind of operation takes alone; of payloads, each size.
    pub operations: Vec<OperationMemory>,
    /// What concurrency costs, level by level.
    pub levels: Vec<LoadLevel>,
    /// What the service did as memory ran out.
    pub exhaustion: Option<Exhaustion>,
    /// How memory was given back.
    pub cleanup: Option<Cleanup>,
    /// Readings after each round.
    pub readings: Vec<RoundReading>,
    /// Operations before the first round.
    pub warm_up_operations: u64,
    /// Whether memory grew evenly by then.
    pub warm_up_settled: bool,
    /// Operations that failed, by what they said.
    pub errors: BTreeMap<String, u64>,
    /// Limits that were crossed.
    pub violations: Vec<ThresholdViolation>,
    /// What to do, each from what was measured.
    pub recommendations: Vec<String>,
    /// Figures that could not be measured.
    pub unmeasured: Vec<Unmeasured>,
}

impl MemoryTestResult {
    /// Whether the scenario was run to its end and no limit was crossed. A verdict that is inconclusive crosses none.
    pub fn holds(&self) -> bool {
        self.status == TestStatus::Completed && self.violations.is_empty()
    }

    /// Of a scenario that could not be measured.
    pub(crate) fn failed(
        service_type: ServiceType,
        scenario: TestScenario,
        planned: Duration,
        why: String,
    ) -> Self {
        let status = TestStatus::Failed(why.clone());
        let unmeasured = vec![Unmeasured {
            figure: "everything".to_owned(),
            reason: why,
        }];
        Self {
            unmeasured,
            ..Self::unknown(service_type, scenario, planned, status)
        }
    }

    /// Of which nothing is known yet.
    pub(crate) fn unknown(
        service_type: ServiceType,
        scenario: TestScenario,
        planned: Duration,
        status: TestStatus,
    ) -> Self {
        let unknown = f64::NAN;
        Self {
            service_type,
            scenario,
            status,
            started_unix_ns: 0,
            ready: None,
            duration: Duration::ZERO,
            planned,
            metric: String::new(),
            memory_stats: MemoryStatistics {
                baseline_memory_bytes: 0,
                peak_memory_bytes: 0,
                average_memory_bytes: 0,
                memory_growth_rate: unknown,
                memory_volatility: unknown,
                cleanup_efficiency: unknown,
                memory_per_operation: unknown,
            },
            profile: MemoryProfile::default(),
            leak_detection: LeakDetectionResult {
                leak_detected: false,
                leak_rate: 0.0,
                confidence: unknown,
                pattern_analysis: None,
                suspected_sources: Vec::new(),
            },
            verdict: None,
            blocks_verdict: None,
            performance_metrics: PerformanceMetrics {
                operations_per_second: unknown,
                average_response_time_ms: unknown,
                p95_response_time_ms: unknown,
                error_rate: unknown,
                throughput: unknown,
                resource_utilization: ResourceUtilization {
                    cpu_utilization: unknown,
                    memory_utilization: unknown,
                    connection_utilization: unknown,
                    cache_hit_rate: unknown,
                },
            },
            operations: Vec::new(),
            levels: Vec::new(),
            exhaustion: None,
            cleanup: None,
            readings: Vec::new(),
            warm_up_operations: 0,
            warm_up_settled: false,
            errors: BTreeMap::new(),
            violations: Vec::new(),
            recommendations: Vec::new(),
            unmeasured: Vec::new(),
        }
    }
}

/// A figure that is NaN, `None` or empty, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmeasured {
    /// Its name.
    pub figure: String,
    /// Why it could not be measured.
    pub reason: String,
}

/// Memory of the process over a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryStatistics {
    /// With the service started and idle, in bytes.
    pub baseline_memory_bytes: u64,
    /// The most, in bytes.
    pub peak_memory_bytes: u64,
    /// The mean over the work, in bytes.
    pub average_memory_bytes: u64,
    /// Bytes per second over the rounds that were judged.
    #[serde(deserialize_with = "nullable")]
    pub memory_growth_rate: f64,
    /// Standard deviation over the mean.
    #[serde(deserialize_with = "nullable")]
    pub memory_volatility: f64,
    /// How much of what rose above the baseline was given back by the end, 0 to 1.
    #[serde(deserialize_with = "nullable")]
    pub cleanup_efficiency: f64,
    /// The most that an operation has alive at once, in bytes, as the mean over operations alone.
    #[serde(deserialize_with = "nullable")]
    pub memory_per_operation: f64,
}

/// Memory by where it lies. What nobody could tell is `None`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MemoryProfile {
    /// Live bytes of the allocator.
    pub heap_bytes: Option<u64>,
    /// Resident bytes of the stacks of all threads.
    pub stack_bytes: Option<u64>,
    /// Resident bytes of the process.
    pub resident_bytes: Option<u64>,
    /// Bytes of mappings of the process, resident or not.
    pub mapped_bytes: Option<u64>,
    /// Bytes that gauges without connections count.
    pub cache_bytes: Option<u64>,
    /// Bytes that gauges with connections count.
    pub connection_bytes: Option<u64>,
    /// Live values by tracked type: among them every [`Arc`](crate::Arc).
    pub live_values: BTreeMap<String, i64>,
    /// What gauges tell, each as `gauge figure`.
    pub custom_metrics: BTreeMap<String, f64>,
}

/// Whether memory leaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakDetectionResult {
    /// The judge says leak, with the confidence that was asked for.
    pub leak_detected: bool,
    /// Bytes per second, at the rate of the rounds; 0 where no leak was detected.
    pub leak_rate: f64,
    /// P(leak), 0 to 1.
    #[serde(deserialize_with = "nullable")]
    pub confidence: f64,
    /// The shape of the growth.
    pub pattern_analysis: Option<LeakPatternAnalysis>,
    /// What grew with a leak: cycles, tracked types, gauges, lines that allocated what stays.
    pub suspected_sources: Vec<String>,
}

/// The shape of growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeakPatternAnalysis {
    /// Its kind.
    pub pattern_type: LeakPatternType,
    /// Its figures.
    pub growth_characteristics: GrowthCharacteristics,
    /// Pearson's correlation of memory with operations.
    #[serde(deserialize_with = "nullable")]
    pub operation_correlation: f64,
    /// Periods in it; none where growth is no sawtooth.
    pub time_patterns: Vec<TimePattern>,
}

/// Kinds of growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LeakPatternType {
    /// At a constant rate.
    Linear,
    /// Ever faster.
    Exponential,
    /// In regular steps.
    Stepped,
    /// In rare steps.
    Sporadic,
    /// Under a sawtooth.
    Cyclic,
}

/// Figures of growth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthCharacteristics {
    /// Bytes per second.
    #[serde(deserialize_with = "nullable")]
    pub rate: f64,
    /// Bytes per second, per second.
    #[serde(deserialize_with = "nullable")]
    pub acceleration: f64,
    /// Share of the steps from reading to reading that go the way of the growth, 0 to 1.
    #[serde(deserialize_with = "nullable")]
    pub consistency: f64,
}

/// A period in memory over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimePattern {
    /// How long it is.
    pub period: Duration,
    /// From its lowest to its highest, in bytes.
    pub amplitude: u64,
    /// Where in a period the rounds began, 0 to 1.
    #[serde(deserialize_with = "nullable")]
    pub phase: f64,
}

/// Operations and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PerformanceMetrics {
    /// Operations done per second of the rounds.
    #[serde(deserialize_with = "nullable")]
    pub operations_per_second: f64,
    /// Mean milliseconds of an operation, from when it was due.
    #[serde(deserialize_with = "nullable")]
    pub average_response_time_ms: f64,
    /// The 95th percentile of it.
    #[serde(deserialize_with = "nullable")]
    pub p95_response_time_ms: f64,
    /// Share of the operations that failed, 0 to 1.
    #[serde(deserialize_with = "nullable")]
    pub error_rate: f64,
    /// Bytes of payloads and answers per second.
    #[serde(deserialize_with = "nullable")]
    pub throughput: f64,
    /// What of the machine and the service was in use.
    pub resource_utilization: ResourceUtilization,
}

/// Shares in use, 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResourceUtilization {
    /// CPU time of the process, of all cores it may use.
    #[serde(deserialize_with = "nullable")]
    pub cpu_utilization: f64,
    /// Resident memory, of what the control group or the machine has.
    #[serde(deserialize_with = "nullable")]
    pub memory_utilization: f64,
    /// Connections, of those that gauges say there can be.
    #[serde(deserialize_with = "nullable")]
    pub connection_utilization: f64,
    /// Requests to caches that they could answer, by their gauges.
    #[serde(deserialize_with = "nullable")]
    pub cache_hit_rate: f64,
}

/// What operations of one kind take, each run alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationMemory {
    /// The kind, or the size of a payload.
    pub kind: String,
    /// How many were looked at.
    pub operations: u64,
    /// Bytes that one allocates.
    #[serde(deserialize_with = "nullable")]
    pub allocated_bytes: f64,
    /// Blocks that one allocates.
    #[serde(deserialize_with = "nullable")]
    pub allocated_blocks: f64,
    /// The most bytes it has alive at once.
    #[serde(deserialize_with = "nullable")]
    pub peak_bytes: f64,
    /// Bytes of them that are alive after it.
    #[serde(deserialize_with = "nullable")]
    pub kept_bytes: f64,
    /// Mean milliseconds it takes.
    pub milliseconds: f64,
}

/// What a number of operations at once costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadLevel {
    /// Operations in flight.
    pub concurrency: u32,
    /// Operations done.
    pub operations: u64,
    /// Operations per second.
    pub operations_per_second: f64,
    /// The most memory of the process meanwhile, in bytes.
    pub peak_memory_bytes: u64,
    /// Memory of the process afterwards, in bytes.
    pub memory_after_bytes: u64,
}

/// What a service did as memory ran out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exhaustion {
    /// What it might take beyond what it had when it started, in bytes.
    pub room_bytes: u64,
    /// The largest payload that it took in; 0 if none.
    pub largest_accepted_bytes: u64,
    /// The payload that it refused, and what it said.
    pub refused: Option<(u64, String)>,
    /// Whether ordinary operations succeeded afterwards.
    pub recovered: bool,
    /// How the process died, and on what payload, if it did.
    pub died: Option<String>,
}

/// How memory was given back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cleanup {
    /// Level before the burst of work, caches full, in bytes.
    pub before_bytes: u64,
    /// The most during the burst.
    pub peak_bytes: u64,
    /// After it, when memory was back or time was over.
    pub after_bytes: u64,
    /// Seconds until it was back; `None` if it was not in time.
    pub seconds: Option<f64>,
    /// Before the service was started.
    pub before_start_bytes: u64,
    /// After it had stopped and memory was back, or time was over.
    pub after_stop_bytes: u64,
    /// Seconds from the stop until memory was back; `None` if it was not in time.
    pub stop_seconds: Option<f64>,
}

/// Memory after a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundReading {
    /// Nanoseconds since the scenario's start.
    pub t_ns: u64,
    /// Operations since the first round began.
    pub operations: u64,
    /// Bytes.
    pub bytes: f64,
    /// Live blocks; NaN where not counted.
    #[serde(deserialize_with = "nullable")]
    pub blocks: f64,
}

/// A limit that was crossed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdViolation {
    /// Which.
    pub violation_type: ViolationType,
    /// The limit.
    pub threshold: f64,
    /// What was measured.
    pub actual: f64,
    /// How bad it is: by how many times the limit was crossed.
    pub severity: ViolationSeverity,
    /// In a sentence.
    pub description: String,
}

/// Limits that can be crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ViolationType {
    /// Memory of the idle service.
    MemoryBaseline,
    /// Bytes per second.
    MemoryGrowthRate,
    /// Bytes that an operation has alive.
    MemoryPerOperation,
    /// Bytes that a leak amounts to.
    MemoryLeak,
    /// Seconds until memory is given back.
    CleanupTimeout,
    /// The service died of too little memory, or did not recover.
    ResourceExhaustion,
}

/// How bad a violation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ViolationSeverity {
    /// Up to a tenth above the limit.
    Low,
    /// Up to one and a half times the limit.
    Medium,
    /// Up to four times the limit.
    High,
    /// Beyond, or the end of the service.
    Critical,
}

/// `null` is NaN again.
fn nullable<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(input)?.unwrap_or(f64::NAN))
}
