//! One scenario of one service, from before its start to after its stop.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plimsoll_alloc::{Level, Scope};
use plimsoll_judge::Outcome;
use plimsoll_model::units;

use super::apart::{Other, Whose};
use super::config::MemoryTestConfig;
use super::data::TestData;
use super::error::MemoryTestError;
use super::exhaustion::{self, Journal};
use super::finding::{self, CacheRequests};
use super::load::{Complaints, Load, Pace, Tally, Work};
use super::results::{
    Cleanup, Exhaustion, LoadLevel, MemoryProfile, MemoryStatistics, MemoryTestResult,
    OperationMemory, PerformanceMetrics, TestScenario, TestStatus, Unmeasured,
};
use super::rounds::{Judged, Plan, Rounds};
use super::sampler::{Sampler, Samples};
use super::service::{Known, Started};
use super::sources::Sources;
use super::{system, violations};
use crate::meter::{Meter, Source};

/// Operations of a kind that are run alone, and before them those that do not count.
const ALONE: u64 = 6;
const ALONE_WARM_UP: u64 = 2;
/// Share of failed operations above which a scenario has failed.
const MOST_ERRORS: f64 = 0.01;
/// No two scenarios give an operation the same number.
const NUMBERS: u64 = 1_000_003;

/// One scenario to run.
pub(crate) struct Order<'a> {
    pub(crate) known: &'a dyn Known,
    pub(crate) scenario: TestScenario,
    pub(crate) config: &'a MemoryTestConfig,
    pub(crate) data: TestData,
    pub(crate) operation_timeout: Duration,
    /// In a process that may take only so much: where what happens is written down.
    pub(crate) journal: Option<Journal>,
}

impl Order<'_> {
    pub(crate) fn planned(&self) -> Duration {
        let durations = &self.config.test_durations;
        Duration::from_secs(match self.scenario {
            TestScenario::IdleBaseline
            | TestScenario::SingleOperation
            | TestScenario::LargeDataProcessing
            | TestScenario::ResourceExhaustion
            | TestScenario::CleanupValidation => durations.short_test_seconds,
            TestScenario::HighFrequencyOperations | TestScenario::ConcurrentOperations => {
                durations.medium_test_seconds
            }
            TestScenario::LongRunningStability => durations.long_test_seconds,
        })
    }

    fn payload_bytes(&self) -> u64 {
        let configured = self.config.load_testing.max_payload_size_bytes;
        self.data.payload_bytes.unwrap_or(configured)
    }

    /// What the rounds of the scenario consist of.
    fn plan(&self) -> Plan {
        let load = &self.config.load_testing;
        let plan = |work, pace| Plan {
            work,
            pace,
            operations: None,
            spread: false,
        };
        let operations = Some(Work::Operations);
        let at_once = load.concurrent_operations;
        match self.scenario {
            TestScenario::IdleBaseline => plan(None, Pace::Closed(1)),
            TestScenario::SingleOperation | TestScenario::ResourceExhaustion => {
                plan(operations, Pace::Closed(1))
            }
            TestScenario::HighFrequencyOperations => plan(
                operations,
                Pace::Open(f64::from(load.operations_per_second), at_once),
            ),
            TestScenario::LargeDataProcessing => {
                let bytes = self.payload_bytes();
                Plan {
                    operations: Some((load.large_data_size_bytes / bytes).max(1)),
                    ..plan(Some(Work::Payloads(bytes)), Pace::Closed(1))
                }
            }
            TestScenario::ConcurrentOperations | TestScenario::CleanupValidation => {
                plan(operations, Pace::Closed(at_once))
            }
            TestScenario::LongRunningStability => Plan {
                spread: true,
                ..plan(operations, Pace::Closed(at_once.min(4)))
            },
        }
    }
}

/// What a scenario gathers on its way.
struct Course<'a> {
    order: &'a Order<'a>,
    meter: Meter,
    load: Load,
    sampler: Sampler,
    operations: Vec<OperationMemory>,
    levels: Vec<LoadLevel>,
    exhaustion: Option<Exhaustion>,
    cleanup: Option<Cleanup>,
    before_start: f64,
}

/// What the rounds measured beside memory.
struct Measured {
    judged: Judged,
    tally: Tally,
    wall: Duration,
    cpu: Option<f64>,
    cache: CacheRequests,
    /// Memory after the last round.
    last: f64,
    profile: MemoryProfile,
    is_driven: bool,
}

/// Runs it.
pub(crate) async fn run(order: &Order<'_>) -> Result<MemoryTestResult, MemoryTestError> {
    let service = order.known.service_type();
    let (begun, planned) = (Instant::now(), order.planned());
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    tracing::info!(phase = "start", %service, scenario = %order.scenario);
    let own = Meter::of(Whose::Own);
    // Whatever counts operations is ours: it is there before the first reading and after the last.
    let tally = Tally::new();
    let before_start = own.read().bytes;
    let started = start(order, planned).await?;
    let (meter, before_start) = match started.whose() {
        Whose::Own => (own, before_start),
        // A process that was not there had nothing.
        other @ Whose::Other(_) => (Meter::of(other), 0.0),
    };
    let ready = begun.elapsed();
    let number = TestScenario::ALL.iter().position(|s| *s == order.scenario);
    let mut load = Load::new(
        started,
        order.known.operations(),
        order.operation_timeout,
        tally,
    );
    load.number_from(number.unwrap_or_default() as u64 * NUMBERS);
    load.settle().await;
    let baseline = meter.read().bytes;
    let interval = Duration::from_millis(order.config.test_durations.measurement_interval_ms);
    let mut course = Course {
        order,
        sampler: Sampler::start(interval, meter.whose.clone()),
        meter,
        load,
        operations: Vec::new(),
        levels: Vec::new(),
        exhaustion: None,
        cleanup: None,
        before_start,
    };
    course.before_rounds().await;
    let measured = course.rounds(begun).await;
    let Course {
        sampler,
        operations,
        levels,
        exhaustion,
        mut cleanup,
        load,
        meter,
        ..
    } = course;
    let samples = sampler.stop();
    let complaints = stop(order, load, &meter, &mut cleanup).await;

    let mut unmeasured = Vec::new();
    let memory_stats = statistics(
        &[baseline, measured.last],
        &samples,
        cleanup.as_ref(),
        &operations,
        meter.whose.other().is_some(),
        &mut unmeasured,
    );
    let performance_metrics = measured.performance(&mut unmeasured);
    explain_absence(&measured.profile, &mut unmeasured);
    let judged = measured.judged;
    let [verdict, blocks_verdict] = finding::verdicts(&judged);
    let mut result = MemoryTestResult {
        started_unix_ns: since_1970.map_or(0, |since| since.as_nanos() as u64),
        ready: Some(ready),
        duration: begun.elapsed(),
        metric: metric(meter.source).to_owned(),
        memory_stats,
        profile: measured.profile,
        leak_detection: finding::leak(&judged, order.config, &mut unmeasured),
        verdict,
        blocks_verdict,
        performance_metrics,
        levels,
        exhaustion,
        cleanup,
        readings: judged.readings,
        warm_up_operations: judged.warm_up_operations,
        warm_up_settled: judged.warm_up_settled,
        unmeasured,
        ..MemoryTestResult::unknown(
            service,
            order.scenario,
            planned,
            status(&complaints, measured.tally.bytes_out, &operations),
        )
    };
    result.operations = operations;
    result.errors = complaints.by_words;
    result.tell_growth();
    result.conclude(order.config, &judged.sources);
    Ok(result)
}

fn metric(source: Source) -> &'static str {
    match source {
        Source::Scope | Source::Process => "live_bytes",
        Source::Resident | Source::Nothing => "rss_anon",
    }
}

impl Measured {
    fn performance(&self, unmeasured: &mut Vec<Unmeasured>) -> PerformanceMetrics {
        finding::performance(
            &self.tally,
            self.wall,
            self.cpu,
            (&self.profile, &self.cache),
            self.is_driven,
            unmeasured,
        )
    }
}

impl MemoryTestResult {
    /// The rate that was judged, per second.
    fn tell_growth(&mut self) {
        if let Some(growth) = self.verdict.as_ref().and_then(|v| v.growth.as_ref()) {
            self.memory_stats.memory_growth_rate = growth.per_second.unwrap_or(f64::NAN);
        }
        finding::missing(
            &mut self.unmeasured,
            "memory_growth_rate",
            self.memory_stats.memory_growth_rate,
            "nothing was judged, or too few rounds fitted into the time",
        );
    }

    /// Limits crossed, and what follows from all that is known.
    pub(crate) fn conclude(&mut self, config: &MemoryTestConfig, sources: &Sources) {
        self.violations = violations::of(self, config);
        for violation in &self.violations {
            tracing::warn!(
                phase = "violation",
                service = %self.service_type,
                scenario = %self.scenario,
                "{}", violation.description
            );
        }
        if self.leak_detection.leak_detected {
            self.recommendations = sources.advice();
        }
        let further = violations::advice(self);
        self.recommendations.extend(further);
        tracing::info!(
            phase = "end",
            service = %self.service_type,
            scenario = %self.scenario,
            violations = self.violations.len(),
            leak = self.leak_detection.leak_detected
        );
    }
}

async fn start(order: &Order<'_>, within: Duration) -> Result<Arc<dyn Started>, MemoryTestError> {
    let not_started = |why: String| MemoryTestError::NotStarted {
        service: order.known.service_type().to_string(),
        why,
    };
    // A task of its own: a panic there is an answer.
    let starting = tokio::time::timeout(within, tokio::spawn(order.known.start()));
    match starting.await {
        Ok(Ok(started)) => started.map_err(|error| not_started(error.to_string())),
        Ok(Err(error)) => Err(not_started(format!("it panicked: {error}"))),
        Err(_) => Err(not_started(format!("not within {within:?}"))),
    }
}

impl Course<'_> {
    /// The rounds, what they cost, and after a leak what grew.
    async fn rounds(&mut self, begun: Instant) -> Measured {
        let order = self.order;
        let plan = order.plan();
        let proc = self.meter.whose.proc();
        let rounds = Rounds {
            config: order.config,
            meter: &Meter::of(self.meter.whose.clone()),
            begun,
            deadline: begun + order.planned(),
            iterations: order.data.iterations,
            warm_up_operations: order.known.warm_up_operations(),
        };
        let cache_before = finding::cache_requests();
        let cpu_before = system::cpu_seconds(&proc);
        let rounds_begun = Instant::now();
        let judged = rounds.run(&mut self.load, plan).await;
        let cpu = system::cpu_seconds(&proc).zip(cpu_before);
        let mut measured = Measured {
            judged,
            wall: rounds_begun.elapsed(),
            cpu: cpu.map(|(now, before)| now - before),
            cache: finding::cache_requests().since(cache_before),
            last: self.meter.read().bytes,
            profile: profile(&self.meter),
            tally: self.load.take_tally(),
            is_driven: plan.work.is_some(),
        };
        if measured.judged.outcome == Outcome::Leak && !self.load.is_stuck() {
            rounds
                .explain(&mut self.load, plan, &mut measured.judged)
                .await;
        }
        measured
    }

    /// What belongs to the scenario alone, before its rounds.
    async fn before_rounds(&mut self) {
        match self.order.scenario {
            TestScenario::IdleBaseline => {}
            TestScenario::SingleOperation
            | TestScenario::HighFrequencyOperations
            | TestScenario::LongRunningStability => self.look_at_operations().await,
            TestScenario::LargeDataProcessing => {
                let most = self.order.payload_bytes();
                for bytes in [most / 16, most / 4, most] {
                    if bytes > 0 {
                        self.look_at(Work::Payloads(bytes), None, units::bytes(bytes as f64))
                            .await;
                    }
                }
            }
            TestScenario::ConcurrentOperations => {
                self.look_at_operations().await;
                self.climb().await;
            }
            TestScenario::ResourceExhaustion => {
                self.look_at_operations().await;
                if let Some(journal) = &self.order.journal {
                    self.exhaustion =
                        exhaustion::climb(&mut self.load, journal, &self.meter.whose).await;
                }
            }
            TestScenario::CleanupValidation => {
                self.look_at_operations().await;
                self.burst().await;
            }
        }
    }

    async fn look_at_operations(&mut self) {
        for kind in self.load.kinds().to_vec() {
            self.look_at(Work::Operations, Some(kind), kind.to_owned())
                .await;
        }
    }

    /// What operations of one kind take, one by one.
    async fn look_at(&mut self, work: Work, kind: Option<&'static str>, name: String) {
        tracing::debug!(phase = "alone", kind = name);
        let apart = self.meter.whose.clone();
        let published = || apart.other().and_then(Other::published);
        let by_scope =
            apart.other().is_none() && plimsoll_alloc::installed() == Some(Level::Scopes);
        let is_counted = by_scope || published().is_some();
        let (mut allocated, mut blocks, mut peak, mut kept) = (0, 0, 0, 0);
        let (mut seen, mut taken) = (0, Duration::ZERO);
        for turn in 0..ALONE_WARM_UP + ALONE {
            if self.load.is_stuck() {
                break;
            }
            let scope = by_scope
                .then(|| Scope::open("one operation").ok())
                .flatten();
            self.load.scope.clone_from(&scope);
            let before = published();
            let begun = Instant::now();
            let succeeded = self.load.alone(work, kind).await;
            if turn < ALONE_WARM_UP || !succeeded {
                continue;
            }
            seen += 1;
            taken += begun.elapsed();
            if let Some(scope) = scope {
                let stats = scope.stats();
                allocated += stats.allocated_bytes;
                blocks += stats.allocated_blocks;
                peak += stats.peak.at_least;
                kept += stats.live_bytes;
            }
            if let Some((now, before)) = published().zip(before) {
                allocated += now.allocated_bytes - before.allocated_bytes;
                blocks += now.allocated_blocks - before.allocated_blocks;
                kept += now.live_bytes - before.live_bytes;
            }
        }
        self.load.scope = None;
        let mean = |sum: f64| {
            if is_counted {
                sum / seen as f64
            } else {
                f64::NAN
            }
        };
        self.operations.push(OperationMemory {
            kind: name,
            operations: seen,
            allocated_bytes: mean(allocated as f64),
            allocated_blocks: mean(blocks as f64),
            // What it has at once is known by its scope alone.
            peak_bytes: if by_scope {
                mean(peak as f64)
            } else {
                f64::NAN
            },
            kept_bytes: mean(kept as f64),
            milliseconds: 1e3 * taken.as_secs_f64() / seen.max(1) as f64,
        });
    }

    /// More and more operations at once, and one at a time again.
    async fn climb(&mut self) {
        let most = self.order.config.load_testing.concurrent_operations;
        let between = f64::from(most).sqrt().ceil() as u32;
        let mut levels = vec![1, between, most];
        levels.dedup();
        levels.push(1);
        for concurrency in levels {
            tracing::debug!(phase = "level", concurrency);
            let operations = u64::from(most).max(4 * u64::from(concurrency));
            self.sampler.peak_since();
            self.load.restart();
            self.load
                .round(Work::Operations, Pace::Closed(concurrency), operations)
                .await;
            let full = self.meter.read().bytes;
            let peak = self.sampler.peak_since().max(full);
            self.load.settle().await;
            let tally = &self.load.tally;
            self.levels.push(LoadLevel {
                concurrency,
                operations: tally.done,
                operations_per_second: tally.done as f64 / tally.busy.as_secs_f64(),
                peak_memory_bytes: peak as u64,
                memory_after_bytes: self.meter.read().bytes as u64,
            });
        }
    }

    /// Caches full, then much at once, then rest until memory is back or time is over.
    async fn burst(&mut self) {
        let limits = &self.order.config.thresholds;
        let at_once = self.order.config.load_testing.concurrent_operations;
        let operations = self
            .order
            .known
            .warm_up_operations()
            .max(u64::from(at_once));
        let pace = Pace::Closed(at_once);
        tracing::debug!(phase = "burst", operations);
        self.load.round(Work::Operations, pace, operations).await;
        self.load.settle().await;
        let before = self.meter.read().bytes;
        self.sampler.peak_since();
        let mut peak = before;
        let payload = Work::Payloads(self.order.payload_bytes());
        for work in [Work::Operations, payload, Work::Operations] {
            let many = match work {
                Work::Operations => operations,
                Work::Payloads(_) => 2,
            };
            self.load.round(work, pace, many).await;
            peak = peak.max(self.meter.read().bytes);
        }
        peak = peak.max(self.sampler.peak_since());
        let back = before + limits.leak_threshold_bytes as f64;
        let timeout = Duration::from_secs(limits.cleanup_timeout_seconds);
        tracing::debug!(phase = "cleanup");
        let load = &self.load;
        let seconds = until(back, timeout, &self.meter, || load.settle()).await;
        self.cleanup = Some(Cleanup {
            before_bytes: before as u64,
            peak_bytes: peak as u64,
            after_bytes: self.meter.read().bytes as u64,
            seconds,
            before_start_bytes: self.before_start as u64,
            after_stop_bytes: 0,
            stop_seconds: None,
        });
    }
}

/// Seconds until memory is at most `back`; `None` if not within `timeout`.
async fn until<F: Future<Output = ()>>(
    back: f64,
    timeout: Duration,
    meter: &Meter,
    mut settle: impl FnMut() -> F,
) -> Option<f64> {
    let begun = Instant::now();
    loop {
        settle().await;
        if left(meter) <= back {
            return Some(begun.elapsed().as_secs_f64());
        }
        if begun.elapsed() >= timeout {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10).min(timeout)).await;
    }
}

/// Memory now; that of a process that has ended is none.
fn left(meter: &Meter) -> f64 {
    match meter.whose.other().and_then(Other::ended) {
        Some(_) => 0.0,
        None => meter.read().bytes,
    }
}

/// Stops the service, and where that is what is tested, waits until its memory is given back.
async fn stop(
    order: &Order<'_>,
    load: Load,
    meter: &Meter,
    cleanup: &mut Option<Cleanup>,
) -> Complaints {
    tracing::debug!(phase = "stop");
    let is_stuck = load.is_stuck();
    let (started, complaints) = load.end();
    let stopping = tokio::spawn(Arc::clone(&started).stop());
    if tokio::time::timeout(order.operation_timeout, stopping)
        .await
        .is_err()
    {
        tracing::warn!(
            phase = "stop",
            "the service did not stop within {:?}",
            order.operation_timeout
        );
    }
    drop(started);
    let Some(cleanup) = cleanup else {
        return complaints;
    };
    let limits = &order.config.thresholds;
    let back = (cleanup.before_start_bytes + limits.leak_threshold_bytes) as f64;
    let timeout = Duration::from_secs(limits.cleanup_timeout_seconds);
    // What operations without an end hold stays whatever the service does.
    if !is_stuck {
        cleanup.stop_seconds = until(back, timeout, meter, || async {}).await;
    }
    cleanup.after_stop_bytes = left(meter) as u64;
    complaints
}

fn status(complaints: &Complaints, bytes_out: u64, operations: &[OperationMemory]) -> TestStatus {
    if complaints.error_rate() > MOST_ERRORS {
        let loudest = complaints
            .loudest()
            .map_or(String::new(), |(words, times)| {
                format!(": {words} ({times} times)")
            });
        return TestStatus::Failed(format!(
            "{:.1} % of the operations failed{loudest}",
            100.0 * complaints.error_rate()
        ));
    }
    // An operation that allocates no block and answers with no byte is none.
    let nothing = |operation: &OperationMemory| operation.allocated_blocks == 0.0;
    if !operations.is_empty() && operations.iter().all(nothing) && bytes_out == 0 {
        return TestStatus::Failed(
            "the operations allocate nothing and answer with no bytes: they do not reach the service"
                .to_owned(),
        );
    }
    TestStatus::Completed
}

fn statistics(
    [baseline, last]: &[f64; 2],
    samples: &Samples,
    cleanup: Option<&Cleanup>,
    operations: &[OperationMemory],
    is_apart: bool,
    unmeasured: &mut Vec<Unmeasured>,
) -> MemoryStatistics {
    let peak = samples.most.max(*last).max(*baseline);
    let peak = cleanup.map_or(peak, |cleanup| peak.max(cleanup.peak_bytes as f64));
    let (from, to, top) = cleanup.map_or((*baseline, *last, peak), |cleanup| {
        let [from, to, top] = [
            cleanup.before_bytes,
            cleanup.after_bytes,
            cleanup.peak_bytes,
        ];
        (from as f64, to as f64, top as f64)
    });
    let cleanup_efficiency = if top > from {
        ((top - to) / (top - from)).clamp(0.0, 1.0)
    } else {
        f64::NAN
    };
    let peaks = operations
        .iter()
        .filter(|operation| operation.operations > 0);
    let peaks: Vec<f64> = peaks.map(|operation| operation.peak_bytes).collect();
    let memory_per_operation = peaks.iter().sum::<f64>() / peaks.len() as f64;
    let stats = MemoryStatistics {
        baseline_memory_bytes: *baseline as u64,
        peak_memory_bytes: peak as u64,
        average_memory_bytes: samples.mean as u64,
        memory_growth_rate: f64::NAN,
        memory_volatility: samples.volatility(),
        cleanup_efficiency,
        memory_per_operation,
    };
    let why = if operations.is_empty() {
        "the scenario has no operations"
    } else if is_apart {
        "what an operation has alive at once is counted in the process of the tests only"
    } else if plimsoll_alloc::installed() == Some(Level::Scopes) {
        "no operation succeeded alone"
    } else {
        "plimsoll::Scoped is not the global allocator"
    };
    finding::missing(
        unmeasured,
        "memory_per_operation",
        memory_per_operation,
        why,
    );
    finding::missing(
        unmeasured,
        "memory_volatility",
        stats.memory_volatility,
        "the scenario was shorter than two measurement intervals",
    );
    finding::missing(
        unmeasured,
        "cleanup_efficiency",
        cleanup_efficiency,
        "memory did not rise above the baseline at any measurement",
    );
    stats
}

/// Memory by where it lies, now.
fn profile(meter: &Meter) -> MemoryProfile {
    let proc = meter.whose.proc();
    let mut profile = MemoryProfile {
        heap_bytes: (meter.source == Source::Process).then(|| meter.read().bytes.max(0.0) as u64),
        stack_bytes: system::stack_bytes(&proc),
        resident_bytes: system::status_bytes(&proc, "VmRSS"),
        mapped_bytes: system::status_bytes(&proc, "VmSize"),
        ..MemoryProfile::default()
    };
    for kind in crate::kinds() {
        profile
            .live_values
            .insert(kind.name().to_owned(), kind.live());
    }
    for (name, gauges) in crate::gauges() {
        let of = if gauges.connections.is_some() {
            &mut profile.connection_bytes
        } else {
            &mut profile.cache_bytes
        };
        if let Some(bytes) = gauges.bytes {
            *of = Some(of.unwrap_or_default() + bytes);
        }
        for (figure, value) in gauges.all() {
            if let Some(value) = value {
                let metric = format!("{name} {figure}");
                profile.custom_metrics.insert(metric, value as f64);
            }
        }
    }
    profile
}

fn explain_absence(profile: &MemoryProfile, unmeasured: &mut Vec<Unmeasured>) {
    let figures = [
        (
            "heap_bytes",
            profile.heap_bytes,
            "neither plimsoll::Scoped nor plimsoll::Counted is the global allocator",
        ),
        ("stack_bytes", profile.stack_bytes, "/proc does not tell"),
        (
            "resident_bytes",
            profile.resident_bytes,
            "/proc does not tell",
        ),
        ("mapped_bytes", profile.mapped_bytes, "/proc does not tell"),
        (
            "cache_bytes",
            profile.cache_bytes,
            "no gauge without connections tells bytes",
        ),
        (
            "connection_bytes",
            profile.connection_bytes,
            "no gauge with connections tells bytes",
        ),
    ];
    for (figure, value, reason) in figures {
        if value.is_none() {
            unmeasured.push(Unmeasured {
                figure: figure.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
}
