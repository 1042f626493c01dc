//! Runs a scenario of a service, clean or leaky: `services [--service NAME] [--scenario NAME] [--leak NAME] [--engine removed] [--out FILE]
//! [--runs FOLDER]`.

use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use plimsoll_services::memory_testing::{
    LeakDetectionConfig, LoadTestingConfig, MemoryTestConfig, MemoryTestResult, MemoryTestRunner,
    MemoryThresholds, ServiceType, TestDurations, TestScenario,
};
use plimsoll_services::{Engine, Leak, Setup};

#[global_allocator]
static ALLOCATOR: plimsoll::Scoped = plimsoll::Scoped::new();

/// A few seconds for each scenario.
fn quick() -> MemoryTestConfig {
    MemoryTestConfig {
        test_durations: TestDurations {
            short_test_seconds: 6,
            medium_test_seconds: 6,
            long_test_seconds: 4,
            measurement_interval_ms: 5,
        },
        thresholds: MemoryThresholds {
            leak_threshold_bytes: 256 * 1024,
            cleanup_timeout_seconds: 2,
            ..MemoryThresholds::default()
        },
        load_testing: LoadTestingConfig {
            concurrent_operations: 16,
            operations_per_second: 500,
            large_data_size_bytes: 16 * 1024 * 1024,
            max_payload_size_bytes: 512 * 1024,
        },
        leak_detection: LeakDetectionConfig {
            sampling_interval_ms: 60,
            ..LeakDetectionConfig::default()
        },
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let (mut service, mut scenario, mut out, mut runs) = (None, None, None, None);
    let mut setup = Setup::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--service" => service = Some(serde_json::from_value::<ServiceType>(value.into())?),
            "--scenario" => scenario = Some(serde_json::from_value::<TestScenario>(value.into())?),
            "--leak" => setup.leak = Some(value.parse::<Leak>().map_err(anyhow::Error::msg)?),
            "--engine" if value == "removed" => setup.engine = Engine::Removed,
            "--out" => out = Some(value),
            "--runs" => runs = Some(value),
            unknown => bail!(
                "no flag is called {unknown}; there are --service, --scenario, --leak, --engine removed, --out, --runs"
            ),
        }
    }
    let runner = MemoryTestRunner::with_setup(quick(), setup).await?;
    let results = match (service, scenario) {
        (Some(service), Some(scenario)) => {
            vec![
                runner
                    .run_test_scenario(service, scenario, HashMap::new())
                    .await?,
            ]
        }
        (Some(service), None) => {
            let mut results = Vec::new();
            for scenario in TestScenario::ALL {
                let result = runner.run_test_scenario(service.clone(), scenario, HashMap::new());
                results.push(result.await?);
            }
            results
        }
        (None, None) => runner.run_comprehensive_tests().await?,
        (None, Some(_)) => bail!("--scenario needs a --service"),
    };
    for result in &results {
        tell(result);
    }
    if let Some(out) = out {
        runner.export_results(&results, out).await?;
    }
    if let Some(runs) = runs {
        runner.record_runs(&results, runs).await?;
    }
    Ok(if results.iter().all(MemoryTestResult::holds) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(result: &MemoryTestResult) {
    let leak = &result.leak_detection;
    let verdict = result
        .verdict
        .as_ref()
        .map_or("not judged", |v| v.outcome.as_str());
    println!(
        "{} {}   {verdict}   {:.0} B per operation   {:.1} s   {:?}",
        result.service_type,
        result.scenario,
        result.memory_stats.memory_per_operation,
        result.duration.as_secs_f64(),
        result.status
    );
    for violation in &result.violations {
        println!(
            "  {:?} {:?}: {}",
            violation.severity, violation.violation_type, violation.description
        );
    }
    for source in &leak.suspected_sources {
        println!("  by {source}");
    }
    for advice in &result.recommendations {
        println!("  do {advice}");
    }
}
