//! Scenarios on a small service: each does what its name says, each field of the configuration acts, and faults are told.

#![expect(
    clippy::unwrap_used,
    reason = "what every test asks for first either works or fails it"
)]

#[path = "memory_testing/schema.rs"]
mod schema;
#[path = "memory_testing/telling.rs"]
mod telling;

use std::collections::{BTreeMap, HashMap};
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use plimsoll::memory_testing::*;
use plimsoll::{Gauges, Live, Registration, Scoped};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

/// What is wrong with the notes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// A note is kept with each operation.
    Leak,
    /// A note is kept every few milliseconds.
    LeakWhileIdle,
    /// Payloads are kept.
    LeakOfPayloads,
    /// Every tenth operation fails.
    Errors,
    Panics,
    NeverEnds,
    DoesNothing,
    DoesNotStart,
    /// Has a mebibyte from the start.
    Heavy,
    /// Copies payloads whether or not there is room.
    Careless,
    /// What is written is erased long after.
    Slow,
}

struct Notes(Fault);

struct Note {
    text: String,
    _live: Live<Note>,
}
plimsoll::track!(Note);

impl Note {
    fn new(text: String) -> Self {
        Self {
            text,
            _live: Live::new(),
        }
    }
}

struct Running {
    notes: std::sync::Arc<Mutex<BTreeMap<u64, Note>>>,
    archive: std::sync::Arc<Mutex<Vec<Note>>>,
    hits: std::sync::Arc<AtomicU64>,
    /// What it has from the start.
    ballast: Vec<u8>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _gauges: [Registration; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Bytes that a note has; no two neighbours the same.
fn length(number: u64) -> usize {
    100 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

impl Service for Notes {
    type Running = Running;

    fn service_type(&self) -> ServiceType {
        ServiceType::Custom("notes".to_owned())
    }

    fn operations(&self) -> Vec<&'static str> {
        vec!["write", "read"]
    }

    async fn start(&self) -> Result<Running, ServiceError> {
        if self.0 == Fault::DoesNotStart {
            return Err("the drawer is locked".into());
        }
        let notes = std::sync::Arc::new(Mutex::new(BTreeMap::new()));
        let archive = std::sync::Arc::new(Mutex::new(Vec::<Note>::new()));
        let hits = std::sync::Arc::new(AtomicU64::new(0));
        let shared = (notes.clone(), hits.clone());
        let drawer = plimsoll::gauge("drawer", move || {
            let notes: &Mutex<BTreeMap<u64, Note>> = &shared.0;
            let notes = notes.lock().unwrap();
            let hits = shared.1.load(Ordering::Relaxed);
            Gauges {
                entries: Some(notes.len() as u64),
                bytes: Some(notes.values().map(|note| note.text.len() as u64).sum()),
                hits: Some(hits),
                misses: Some(hits / 3),
                ..Gauges::default()
            }
        });
        let readers = plimsoll::gauge("readers", || Gauges {
            connections: Some(1),
            capacity: Some(4),
            ..Gauges::default()
        });
        let mut tasks = Vec::new();
        if self.0 == Fault::LeakWhileIdle {
            let archive = archive.clone();
            tasks.push(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    archive.lock().unwrap().push(Note::new("x".repeat(4000)));
                }
            }));
        }
        Ok(Running {
            notes,
            archive,
            hits,
            ballast: vec![1; if self.0 == Fault::Heavy { 1 << 20 } else { 0 }],
            tasks,
            _gauges: [drawer, readers],
        })
    }

    async fn operate(&self, running: &Running, asked: &Operation) -> Result<u64, ServiceError> {
        let number = asked.number;
        match self.0 {
            Fault::Errors if number.is_multiple_of(10) => return Err("out of ink".into()),
            Fault::Panics if number.is_multiple_of(10) => panic!("the pen broke"),
            Fault::NeverEnds => pending().await,
            Fault::DoesNothing => return Ok(0),
            _ => {}
        }
        let text = "x".repeat(length(number));
        if matches!(self.0, Fault::Leak) {
            let mut archive = running.archive.lock().map_err(|e| e.to_string())?;
            archive.push(Note::new(text.clone()));
        }
        if self.0 == Fault::Slow {
            let kept = vec![1_u8; 4000];
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(400)).await;
                drop(kept);
            });
        }
        let mut notes = running.notes.lock().map_err(|e| e.to_string())?;
        if asked.kind == "write" {
            notes.insert(number % 50, Note::new(text));
            return Ok(0);
        }
        running.hits.fetch_add(3, Ordering::Relaxed);
        let read = notes.get(&(number % 50)).map(|note| note.text.clone());
        Ok(read.map_or(running.ballast.len() as u64, |note| note.len() as u64))
    }

    async fn process(&self, running: &Running, payload: &Payload) -> Result<u64, ServiceError> {
        let mut copy = String::new();
        if self.0 != Fault::Careless {
            copy.try_reserve_exact(payload.text.len())?;
        }
        copy.push_str(&payload.text);
        copy.make_ascii_uppercase();
        let bytes = copy.len() as u64;
        if self.0 == Fault::LeakOfPayloads {
            let mut archive = running.archive.lock().map_err(|e| e.to_string())?;
            archive.push(Note::new(copy));
        }
        Ok(bytes)
    }
}

/// Seconds become fractions, bytes become few.
fn quick() -> MemoryTestConfig {
    MemoryTestConfig {
        test_durations: TestDurations {
            short_test_seconds: 8,
            medium_test_seconds: 8,
            long_test_seconds: 2,
            measurement_interval_ms: 5,
        },
        thresholds: MemoryThresholds {
            leak_threshold_bytes: 64 * 1024,
            cleanup_timeout_seconds: 1,
            ..MemoryThresholds::default()
        },
        load_testing: LoadTestingConfig {
            concurrent_operations: 8,
            operations_per_second: 4000,
            large_data_size_bytes: 1024 * 1024,
            max_payload_size_bytes: 128 * 1024,
        },
        leak_detection: LeakDetectionConfig {
            sampling_interval_ms: 20,
            // At the document's 95 % one of twenty healthy runs may be called a leak.
            significance_threshold: 0.999,
            ..LeakDetectionConfig::default()
        },
    }
}

async fn run_with(
    config: MemoryTestConfig,
    fault: Fault,
    scenario: TestScenario,
    data: &[(&str, u64)],
) -> Result<MemoryTestResult, MemoryTestError> {
    let runner = MemoryTestRunner::new(config)
        .await?
        .with_service(Notes(fault))
        .operation_timeout(match fault {
            Fault::NeverEnds => Duration::from_millis(200),
            _ => Duration::from_secs(30),
        });
    let notes = ServiceType::Custom("notes".to_owned());
    let data: HashMap<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()))
        .collect();
    runner.run_test_scenario(notes, scenario, data).await
}

async fn run(fault: Fault, scenario: TestScenario) -> MemoryTestResult {
    run_with(quick(), fault, scenario, &[]).await.unwrap()
}

fn kinds_of(result: &MemoryTestResult) -> Vec<ViolationType> {
    result.violations.iter().map(|v| v.violation_type).collect()
}

#[track_caller]
fn assert_clean(result: &MemoryTestResult) {
    assert_eq!(result.status, TestStatus::Completed, "{result:#?}");
    assert!(!result.leak_detection.leak_detected, "{result:#?}");
    assert_eq!(result.violations, [], "{result:#?}");
    assert!(result.recommendations.is_empty(), "{result:#?}");
}

#[track_caller]
fn assert_found(result: &MemoryTestResult, source: &str) {
    assert!(result.leak_detection.leak_detected, "{result:#?}");
    assert!(
        kinds_of(result).contains(&ViolationType::MemoryLeak),
        "{result:#?}"
    );
    let sources = &result.leak_detection.suspected_sources;
    assert!(
        sources.iter().any(|line| line.contains(source)),
        "{source} is not among {sources:#?}"
    );
    assert!(!result.recommendations.is_empty(), "{result:#?}");
}

/// Runs a test while no other does: the memory of a process is one, and a runtime that begins or ends is a part of it.
fn alone(test: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

/// Every struct as its document writes it: each field is public, and there are no others.
#[test]
fn literals_have_the_fields_of_the_document() {
    let config = MemoryTestConfig {
        test_durations: TestDurations {
            short_test_seconds: 300,
            medium_test_seconds: 3600,
            long_test_seconds: 28800,
            measurement_interval_ms: 1000,
        },
        thresholds: MemoryThresholds {
            max_baseline_memory_bytes: 100 * 1024 * 1024,
            max_memory_growth_rate: 1024 * 1024,
            max_memory_per_operation: 10 * 1024 * 1024,
            leak_threshold_bytes: 5 * 1024 * 1024,
            cleanup_timeout_seconds: 60,
        },
        load_testing: LoadTestingConfig {
            concurrent_operations: 100,
            operations_per_second: 1000,
            large_data_size_bytes: 100 * 1024 * 1024,
            max_payload_size_bytes: 10 * 1024 * 1024,
        },
        leak_detection: LeakDetectionConfig {
            enabled: true,
            sampling_interval_ms: 500,
            min_samples: 10,
            significance_threshold: 0.95,
            enable_pattern_analysis: true,
        },
    };
    assert_eq!(config, MemoryTestConfig::default());
    let _ = MemoryStatistics {
        baseline_memory_bytes: 52_428_800,
        peak_memory_bytes: 104_857_600,
        average_memory_bytes: 75_497_472,
        memory_growth_rate: 1024.0,
        memory_volatility: 0.15,
        cleanup_efficiency: 0.95,
        memory_per_operation: 1_048_576.0,
    };
    let _ = LeakDetectionResult {
        leak_detected: true,
        leak_rate: 2048.0,
        confidence: 0.98,
        pattern_analysis: Some(LeakPatternAnalysis {
            pattern_type: LeakPatternType::Linear,
            growth_characteristics: GrowthCharacteristics {
                rate: 2048.0,
                acceleration: 0.0,
                consistency: 0.95,
            },
            operation_correlation: 0.85,
            time_patterns: vec![],
        }),
        suspected_sources: vec!["Cache memory accumulation".to_string()],
    };
    let _ = PerformanceMetrics {
        operations_per_second: 150.5,
        average_response_time_ms: 45.2,
        p95_response_time_ms: 120.0,
        error_rate: 0.01,
        throughput: 15_728_640.0,
        resource_utilization: ResourceUtilization {
            cpu_utilization: 0.35,
            memory_utilization: 0.72,
            connection_utilization: 0.20,
            cache_hit_rate: 0.85,
        },
    };
    let _ = ThresholdViolation {
        violation_type: ViolationType::MemoryLeak,
        threshold: 5_242_880.0,
        actual: 6_291_456.0,
        severity: ViolationSeverity::High,
        description: "Memory leak detected: 6MB/s (confidence: 98%)".to_string(),
    };
}

mod each_scenario {
    use super::*;

    #[test]
    fn idle_measures_the_service_left_alone() {
        alone(async {
            let result = run(Fault::None, TestScenario::IdleBaseline).await;
            assert_clean(&result);
            assert!(
                result
                    .readings
                    .iter()
                    .all(|reading| reading.operations == 0)
            );
            assert!(result.performance_metrics.operations_per_second.is_nan());
            let why = result.unmeasured.iter().find(|u| u.figure == "error_rate");
            assert_eq!(why.unwrap().reason, "the scenario has no operations");
            let leak = run(Fault::LeakWhileIdle, TestScenario::IdleBaseline).await;
            assert_found(&leak, "Note +");
        });
    }

    #[test]
    fn single_operations_are_measured_by_kind() {
        alone(async {
            let result = run(Fault::None, TestScenario::SingleOperation).await;
            assert_clean(&result);
            let kinds: Vec<_> = result.operations.iter().map(|o| &*o.kind).collect();
            assert_eq!(kinds, ["write", "read"]);
            // The text of a note, at least, and not much more.
            for operation in &result.operations {
                assert!(
                    (100.0..2000.0).contains(&operation.peak_bytes),
                    "{operation:?}"
                );
            }
            let leak = run(Fault::Leak, TestScenario::SingleOperation).await;
            assert_found(&leak, "Note +1.00 per operation, tracked at ");
            let sources = &leak.leak_detection.suspected_sources;
            assert!(
                sources.iter().any(|s| s.contains("memory_testing.rs:")),
                "{sources:#?}"
            );
            // A note: its text, and itself in the archive that doubles.
            let rate = leak.verdict.unwrap().growth.unwrap().rate;
            assert!((100.0..500.0).contains(&rate), "{rate}");
        });
    }

    #[test]
    fn a_high_frequency_is_kept_and_judged() {
        alone(async {
            let result = run(Fault::None, TestScenario::HighFrequencyOperations).await;
            assert_clean(&result);
            assert_found(
                &run(Fault::Leak, TestScenario::HighFrequencyOperations).await,
                "Note +1.00",
            );
        });
    }

    #[test]
    fn large_data_goes_through_in_payloads() {
        alone(async {
            let result = run(Fault::None, TestScenario::LargeDataProcessing).await;
            assert_clean(&result);
            let sizes: Vec<_> = result.operations.iter().map(|o| &*o.kind).collect();
            assert_eq!(sizes, ["8.00 KiB", "32.0 KiB", "128 KiB"]);
            // Exactly the copy, and what an operation takes beside it.
            let most = result.operations[2].peak_bytes;
            assert!((131_072.0..135_000.0).contains(&most), "{most}");
            let leak = run(Fault::LeakOfPayloads, TestScenario::LargeDataProcessing).await;
            assert_found(&leak, "Note +1.00");
        });
    }

    #[test]
    fn concurrency_rises_and_falls() {
        alone(async {
            let result = run(Fault::None, TestScenario::ConcurrentOperations).await;
            assert_clean(&result);
            let levels: Vec<_> = result
                .levels
                .iter()
                .map(|level| level.concurrency)
                .collect();
            assert_eq!(levels, [1, 3, 8, 1]);
            assert_found(
                &run(Fault::Leak, TestScenario::ConcurrentOperations).await,
                "Note +1.00",
            );
        });
    }

    #[test]
    fn stability_takes_its_time() {
        alone(async {
            let result = run(Fault::None, TestScenario::LongRunningStability).await;
            assert_clean(&result);
            assert!(result.duration >= Duration::from_secs(1), "{result:#?}");
            assert_eq!(result.planned, Duration::from_secs(2));
            let config = MemoryTestConfig {
                thresholds: MemoryThresholds {
                    leak_threshold_bytes: 1024,
                    ..quick().thresholds
                },
                ..quick()
            };
            let leak = run_with(config, Fault::Leak, TestScenario::LongRunningStability, &[]);
            assert_found(&leak.await.unwrap(), "Note +1.00");
        });
    }

    /// A child runs the first such scenario that it comes to, so each has a test of its own.
    async fn exhausted(fault: Fault) -> MemoryTestResult {
        let config = MemoryTestConfig {
            load_testing: LoadTestingConfig {
                large_data_size_bytes: 32 << 20,
                ..quick().load_testing
            },
            ..quick()
        };
        let ran = run_with(config, fault, TestScenario::ResourceExhaustion, &[]);
        ran.await.unwrap()
    }

    #[test]
    fn exhaustion_is_refused() {
        alone(async {
            let result = exhausted(Fault::None).await;
            assert_clean(&result);
            let seen = result.exhaustion.unwrap();
            // What it copies has to fit into the room, and may be where another copy was.
            let (refused, said) = seen.refused.unwrap();
            assert!((32 << 20..=64 << 20).contains(&refused), "{refused}");
            assert_eq!(seen.largest_accepted_bytes, refused / 2);
            assert!(seen.recovered);
            assert!(said.starts_with("memory allocation failed"), "{said}");
        });
    }

    #[test]
    fn a_leak_is_found_after_exhaustion() {
        alone(async {
            assert_found(&exhausted(Fault::Leak).await, "Note +1.00");
        });
    }

    #[test]
    fn exhaustion_is_deadly_to_who_copies_regardless() {
        alone(async {
            let result = exhausted(Fault::Careless).await;
            assert_eq!(kinds_of(&result), [ViolationType::ResourceExhaustion]);
            let death = result.exhaustion.unwrap().died.unwrap();
            let begins = "it was killed by SIGABRT on a payload of ";
            assert!(death.starts_with(begins), "{death}");
            assert!(death.contains("memory allocation of"), "{death}");
            assert!(matches!(result.status, TestStatus::Failed(_)));
            assert!(result.recommendations[0].contains("try_reserve"));
        });
    }

    #[test]
    fn cleanup_waits_until_memory_is_back() {
        alone(async {
            let result = run(Fault::None, TestScenario::CleanupValidation).await;
            assert_clean(&result);
            let cleanup = result.cleanup.unwrap();
            assert!(cleanup.peak_bytes > cleanup.before_bytes, "{cleanup:?}");
            assert!(cleanup.seconds.is_some() && cleanup.stop_seconds.is_some());
            let slow = run(Fault::Slow, TestScenario::CleanupValidation).await;
            let waited = slow.cleanup.as_ref().unwrap().seconds.unwrap();
            assert!((0.1..1.0).contains(&waited), "{waited}");
            assert!(
                !kinds_of(&slow).contains(&ViolationType::CleanupTimeout),
                "{slow:#?}"
            );
            assert_found(
                &run(Fault::Leak, TestScenario::CleanupValidation).await,
                "Note +1.00",
            );
        });
    }
}

mod each_field {
    use super::*;

    async fn single(change: impl FnOnce(&mut MemoryTestConfig), fault: Fault) -> MemoryTestResult {
        of(change, fault, TestScenario::SingleOperation).await
    }

    async fn of(
        change: impl FnOnce(&mut MemoryTestConfig),
        fault: Fault,
        scenario: TestScenario,
    ) -> MemoryTestResult {
        let mut config = quick();
        change(&mut config);
        run_with(config, fault, scenario, &[]).await.unwrap()
    }

    #[test]
    fn durations_bound_their_scenarios() {
        alone(async {
            let endless = |config: &mut MemoryTestConfig| {
                // So many rounds do not fit into a second, and nobody looks before.
                config.leak_detection.sampling_interval_ms = 150;
                config.leak_detection.min_samples = 40;
            };
            for (scenario, field) in [
                (TestScenario::IdleBaseline, 0),
                (TestScenario::HighFrequencyOperations, 1),
                (TestScenario::LongRunningStability, 2),
            ] {
                let result = of(
                    |config| {
                        endless(config);
                        let durations = &mut config.test_durations;
                        *[
                            &mut durations.short_test_seconds,
                            &mut durations.medium_test_seconds,
                            &mut durations.long_test_seconds,
                        ][field] = 1;
                    },
                    Fault::None,
                    scenario,
                )
                .await;
                assert_eq!(result.planned, Duration::from_secs(1), "{scenario}");
                // What a single reading takes more is the machine's.
                assert!(result.duration < Duration::from_secs(4), "{scenario}");
            }
        });
    }

    #[test]
    fn the_measurement_interval_is_that_of_the_statistics() {
        alone(async {
            let result = single(
                |config| config.test_durations.measurement_interval_ms = 3_600_000,
                Fault::None,
            )
            .await;
            assert!(result.memory_stats.memory_volatility.is_nan());
            assert!(
                result
                    .unmeasured
                    .iter()
                    .any(|u| u.figure == "memory_volatility")
            );
            let result = single(
                |config| config.test_durations.measurement_interval_ms = 1,
                Fault::None,
            )
            .await;
            assert!(result.memory_stats.memory_volatility.is_finite());
        });
    }

    #[test]
    fn thresholds_are_crossed_by_what_is_measured() {
        alone(async {
            let heavy = single(
                |config| config.thresholds.max_baseline_memory_bytes = 1 << 20,
                Fault::Heavy,
            )
            .await;
            assert_eq!(kinds_of(&heavy), [ViolationType::MemoryBaseline]);
            assert!(heavy.violations[0].actual > f64::from(1 << 20));
            assert!(
                heavy.recommendations[0].contains("above its limit"),
                "{heavy:#?}"
            );

            let greedy = single(
                |config| config.thresholds.max_memory_per_operation = 80,
                Fault::None,
            )
            .await;
            assert_eq!(kinds_of(&greedy), [ViolationType::MemoryPerOperation]);
            assert_eq!(
                greedy.violations[0].actual,
                greedy.memory_stats.memory_per_operation
            );

            let fast = single(
                |config| config.thresholds.max_memory_growth_rate = 10,
                Fault::Leak,
            )
            .await;
            assert!(
                kinds_of(&fast).contains(&ViolationType::MemoryGrowthRate),
                "{fast:#?}"
            );

            let patient = single(
                |config| {
                    config.thresholds.leak_threshold_bytes = 1 << 40;
                    config.thresholds.max_memory_growth_rate = 1 << 40;
                },
                Fault::Leak,
            )
            .await;
            assert!(patient.leak_detection.leak_detected);
            assert_eq!(kinds_of(&patient), []);
        });
    }

    #[test]
    fn the_cleanup_timeout_is_waited_for_and_no_longer() {
        alone(async {
            let result = of(
                |config| config.thresholds.cleanup_timeout_seconds = 2,
                Fault::Leak,
                TestScenario::CleanupValidation,
            )
            .await;
            assert!(
                kinds_of(&result).contains(&ViolationType::MemoryLeak),
                "{result:#?}"
            );
            let result = of(
                |config| {
                    config.thresholds.leak_threshold_bytes = 1;
                    config.thresholds.cleanup_timeout_seconds = 1;
                },
                Fault::LeakWhileIdle,
                TestScenario::CleanupValidation,
            )
            .await;
            assert!(
                kinds_of(&result).contains(&ViolationType::CleanupTimeout),
                "{result:#?}"
            );
            assert!(result.duration >= Duration::from_secs(1));
        });
    }

    #[test]
    fn the_load_is_as_configured() {
        alone(async {
            let slow = of(
                |config| config.load_testing.operations_per_second = 200,
                Fault::None,
                TestScenario::HighFrequencyOperations,
            )
            .await;
            // Never above what was asked for, whatever the machine is busy with.
            let rate = slow.performance_metrics.operations_per_second;
            assert!((20.0..300.0).contains(&rate), "{rate}");
            let crowd = of(
                |config| config.load_testing.concurrent_operations = 25,
                Fault::None,
                TestScenario::ConcurrentOperations,
            )
            .await;
            assert_eq!(crowd.levels[2].concurrency, 25);
            let large = of(
                |config| {
                    config.load_testing.large_data_size_bytes = 96 * 1024;
                    config.load_testing.max_payload_size_bytes = 32 * 1024;
                },
                Fault::None,
                TestScenario::LargeDataProcessing,
            )
            .await;
            assert_eq!(large.operations[2].kind, "32.0 KiB");
            assert_eq!(large.readings[0].operations, 3);
        });
    }

    #[test]
    fn leak_detection_is_as_configured() {
        alone(async {
            let off = single(|config| config.leak_detection.enabled = false, Fault::Leak).await;
            assert!(!off.leak_detection.leak_detected && off.verdict.is_none());
            let why = off.unmeasured.iter().find(|u| u.figure == "confidence");
            assert_eq!(why.unwrap().reason, "leak detection is off");

            let many = single(|config| config.leak_detection.min_samples = 20, Fault::Leak).await;
            assert!(many.readings.len() >= 20);
            let few = single(|config| config.leak_detection.min_samples = 6, Fault::Leak).await;
            assert!(few.readings.len() < 20);

            let sure = single(
                |config| config.leak_detection.significance_threshold = 0.999_999_9,
                Fault::Leak,
            )
            .await;
            assert!(sure.verdict.unwrap().alpha < 1e-6);

            // 4,000 operations a second, for as long as a round takes.
            for (interval, operations) in [(60, 240), (5, 20)] {
                let result = of(
                    |config| config.leak_detection.sampling_interval_ms = interval,
                    Fault::None,
                    TestScenario::HighFrequencyOperations,
                )
                .await;
                assert_eq!(result.readings[0].operations, operations);
            }

            // Twenty readings: a shape of six may be anything.
            let shaped = many.leak_detection.pattern_analysis.unwrap();
            assert!(
                matches!(
                    shaped.pattern_type,
                    LeakPatternType::Linear | LeakPatternType::Stepped
                ),
                "{shaped:?}"
            );
            assert!(shaped.operation_correlation > 0.9);
            assert!(shaped.growth_characteristics.rate > 0.0);
            let plain = single(
                |config| config.leak_detection.enable_pattern_analysis = false,
                Fault::Leak,
            )
            .await;
            assert_eq!(plain.leak_detection.pattern_analysis, None);
        });
    }

    #[test]
    fn test_data_takes_precedence() {
        alone(async {
            // A leak found early would end it early.
            let mut config = quick();
            config.leak_detection.significance_threshold = 0.999_999_9;
            let result = run_with(
                config,
                Fault::None,
                TestScenario::LargeDataProcessing,
                &[("payload_size_mb", 1), ("iterations", 33)],
            )
            .await
            .unwrap();
            assert_eq!(result.operations[2].kind, "1.00 MiB");
            assert_eq!(result.readings.last().unwrap().operations, 33);
        });
    }
}

mod faults {
    use super::*;

    async fn failure(fault: Fault) -> String {
        match run(fault, TestScenario::SingleOperation).await.status {
            TestStatus::Failed(why) => why,
            TestStatus::Completed => "completed".to_owned(),
        }
    }

    #[test]
    fn operations_that_fail_fail_the_scenario_and_say_why() {
        alone(async {
            let said = failure(Fault::Errors).await;
            assert!(
                said.contains("% of the operations failed: out of ink ("),
                "{said}"
            );
            let said = failure(Fault::Panics).await;
            assert!(said.contains("panicked: the pen broke"), "{said}");
            let said = failure(Fault::NeverEnds).await;
            assert!(said.contains("did not end within 200ms"), "{said}");
        });
    }

    #[test]
    fn a_service_that_does_nothing_has_failed() {
        alone(async {
            let said = failure(Fault::DoesNothing).await;
            assert!(said.contains("do not reach the service"), "{said}");
        });
    }

    #[test]
    fn what_cannot_be_run_is_an_error() {
        alone(async {
            let single = TestScenario::SingleOperation;
            let error = run_with(quick(), Fault::DoesNotStart, single, &[])
                .await
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                "notes did not start: the drawer is locked"
            );
            let runner = MemoryTestRunner::new(quick()).await.unwrap();
            let error = runner.run_comprehensive_tests().await.unwrap_err();
            assert!(
                error.to_string().starts_with("there is no service\n"),
                "{error}"
            );
            let wanted = ServiceType::DataStore;
            let error = runner
                .run_test_scenario(wanted, single, HashMap::new())
                .await
                .unwrap_err();
            assert!(
                error.to_string().starts_with("no service is DataStore\n"),
                "{error}"
            );
            let mut config = quick();
            config.load_testing.concurrent_operations = 0;
            let error = MemoryTestRunner::new(config).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "`concurrent_operations` is 0, and may be 1 to 100000"
            );
        });
    }

    #[test]
    fn results_are_written_whole_or_not_at_all() {
        alone(async {
            let runner = MemoryTestRunner::new(quick()).await.unwrap();
            let result = run(Fault::None, TestScenario::IdleBaseline).await;
            let folder =
                std::env::temp_dir().join(format!("plimsoll-results-{}", std::process::id()));
            let path = folder.join("results.json");
            let results = [result];
            let error = runner.export_results(&results, &path).await.unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("results cannot be written to "),
                "{error}"
            );
            std::fs::create_dir(&folder).unwrap();
            runner.export_results(&results, &path).await.unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(document["schema"], "plimsoll.memory-test/1");
            // What was not measured is null, and comes back as it was.
            let result = &document["results"][0];
            assert!(result["memory_stats"]["memory_per_operation"].is_null());
            let again: MemoryTestResult = serde_json::from_value(result.clone()).unwrap();
            assert!(again.memory_stats.memory_per_operation.is_nan());
            assert_eq!(again.readings.len(), results[0].readings.len());
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
            runner.record_runs(&results, &folder).await.unwrap();
            let run = folder
                .join("runs")
                .join(results[0].to_run().id)
                .join("run.json");
            let run: plimsoll_model::Run =
                serde_json::from_slice(&std::fs::read(run).unwrap()).unwrap();
            assert_eq!(run.subject.command, ["notes IdleBaseline"]);
            std::fs::remove_dir_all(&folder).unwrap();
        });
    }

    #[test]
    fn a_result_is_a_run_document() {
        alone(async {
            let leak = run(Fault::Leak, TestScenario::SingleOperation).await;
            let run = leak.to_run();
            let text = serde_json::to_string(&run).unwrap();
            let again: plimsoll_model::Run = serde_json::from_str(&text).unwrap();
            assert_eq!(again.schema, "plimsoll.run/1");
            assert_eq!(again.exit_code, 1);
            assert_eq!(again.rounds.len(), leak.readings.len());
            assert!(
                again.culprits[0].kind.starts_with("Note +1.00"),
                "{again:#?}"
            );
            assert!(again.series[again.headline.unwrap()].is(plimsoll_model::Outcome::Leak));
        });
    }
}
