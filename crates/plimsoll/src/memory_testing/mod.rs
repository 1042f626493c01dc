//! Scenarios for services: eight ways to put a service under load, each judged by the product's judge.
//!
//! ```no_run
//! use plimsoll::memory_testing::*;
//! use std::collections::HashMap;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // Create configuration
//!     let config = MemoryTestConfig::default();
//!
//!     // Create test runner
//!     let runner = MemoryTestRunner::new(config).await?;
//!
//!     // Run comprehensive tests for all services
//!     let results = runner.run_comprehensive_tests().await?;
//!
//!     // Export results
//!     runner.export_results(&results, "memory_test_results.json").await?;
//!
//!     Ok(())
//! }
//! ```
//!
//! What is to be tested is made known by [`MemoryTestRunner::with_service`]; a [`Service`] takes some thirty lines. One scenario of
//! one service:
//!
//! ```no_run
//! # use plimsoll::memory_testing::*;
//! # use std::collections::HashMap;
//! # async fn one(runner: MemoryTestRunner) -> Result<(), MemoryTestError> {
//! // Test specific service and scenario
//! let test_data = HashMap::from([
//!     ("payload_size_mb".to_string(), 10.into()),
//!     ("iterations".to_string(), 100.into()),
//! ]);
//!
//! let result = runner.run_test_scenario(
//!     ServiceType::ScriptEngine,
//!     TestScenario::LargeDataProcessing,
//!     test_data,
//! ).await?;
//!
//! println!("Memory per operation: {:.2} MB",
//!          result.memory_stats.memory_per_operation / (1024.0 * 1024.0));
//! # Ok(())
//! # }
//! ```
//!
//! Live bytes are the process's, read from [`Scoped`](crate::Scoped) or [`Counted`](crate::Counted) if one of them is the global
//! allocator, else by pages. So nothing else should allocate meanwhile: scenarios take turns, and tests beside them want a process
//! of their own. A figure that cannot be measured is NaN, and [`MemoryTestResult::unmeasured`] says why.
//!
//! A service that is a program of its own is started and measured from outside: [`ServiceProcess`].
//!
//! This does not time how fast a service is (a debug build is as good a subject as any), and it is no load generator for services
//! over the network: `plimsoll check` is.

mod apart;
mod config;
mod data;
mod error;
mod exhaustion;
mod finding;
mod load;
mod results;
mod rounds;
mod run_document;
mod runner;
mod sampler;
mod scenario;
mod service;
mod sources;
mod system;
mod violations;

pub use apart::ServiceProcess;
pub(crate) use apart::Whose;
pub use config::{
    LeakDetectionConfig, LoadTestingConfig, MemoryTestConfig, MemoryThresholds, TestDurations,
};
pub use error::MemoryTestError;
pub use results::{
    Cleanup, Exhaustion, GrowthCharacteristics, LeakDetectionResult, LeakPatternAnalysis,
    LeakPatternType, LoadLevel, MemoryProfile, MemoryStatistics, MemoryTestResult, OperationMemory,
    PerformanceMetrics, ResourceUtilization, RoundReading, SCHEMA, TestScenario, TestStatus,
    ThresholdViolation, TimePattern, Unmeasured, ViolationSeverity, ViolationType,
};
pub use runner::MemoryTestRunner;
pub use service::{Operation, Payload, Service, ServiceError, ServiceType};
