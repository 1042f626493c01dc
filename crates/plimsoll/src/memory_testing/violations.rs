//! Which limits were crossed, and what follows.

use plimsoll_model::units;

use super::config::MemoryTestConfig;
use super::results::{MemoryTestResult, ThresholdViolation, ViolationSeverity, ViolationType};

/// The limits of `config` that a result crosses.
pub(crate) fn of(result: &MemoryTestResult, config: &MemoryTestConfig) -> Vec<ThresholdViolation> {
    let limits = &config.thresholds;
    let stats = &result.memory_stats;
    let mut found = Vec::new();
    let mut cross = |violation_type, threshold: f64, actual: f64, description: String| {
        if actual > threshold {
            found.push(ThresholdViolation {
                violation_type,
                threshold,
                actual,
                severity: severity(actual / threshold),
                description,
            });
        }
    };
    let baseline = stats.baseline_memory_bytes as f64;
    cross(
        ViolationType::MemoryBaseline,
        limits.max_baseline_memory_bytes as f64,
        baseline,
        format!("idle, the process has {}", units::bytes(baseline)),
    );
    let rate = result.verdict.as_ref().and_then(|verdict| {
        let growth = verdict.growth.as_ref()?;
        Some((growth.per_second?, growth.per_second_interval?))
    });
    // A rate that may be below the limit has not crossed it.
    if let Some((rate, interval)) = rate
        && interval.low > limits.max_memory_growth_rate as f64
    {
        cross(
            ViolationType::MemoryGrowthRate,
            limits.max_memory_growth_rate as f64,
            rate,
            format!(
                "memory grows by {} per second (95 % CI {} … {})",
                units::bytes(rate),
                units::bytes(interval.low),
                units::bytes(interval.high)
            ),
        );
    }
    let per_operation = stats.memory_per_operation;
    cross(
        ViolationType::MemoryPerOperation,
        limits.max_memory_per_operation as f64,
        per_operation,
        format!(
            "an operation has {} alive at once",
            units::bytes(per_operation)
        ),
    );
    let leak = &result.leak_detection;
    if leak.leak_detected {
        // A run that the judge ended early tells what it would have come to.
        let amount = leak.leak_rate * result.planned.max(result.duration).as_secs_f64();
        let threshold = limits.leak_threshold_bytes as f64;
        cross(
            ViolationType::MemoryLeak,
            threshold,
            amount,
            format!(
                "memory leaks by {} per second (confidence {:.1} %): {} within the planned {}",
                units::bytes(leak.leak_rate),
                100.0 * leak.confidence,
                units::bytes(amount),
                units::duration(result.planned.as_secs_f64())
            ),
        );
    }
    of_cleanup(result, config, &mut found);
    of_exhaustion(result, &mut found);
    found
}

/// Memory that was not given back in time.
fn of_cleanup(
    result: &MemoryTestResult,
    config: &MemoryTestConfig,
    found: &mut Vec<ThresholdViolation>,
) {
    let limits = &config.thresholds;
    if let Some(cleanup) = &result.cleanup {
        let timeout = limits.cleanup_timeout_seconds;
        let mut late = |what: &str, left: u64| {
            found.push(ThresholdViolation {
                violation_type: ViolationType::CleanupTimeout,
                threshold: limits.leak_threshold_bytes as f64,
                actual: left as f64,
                severity: severity(left as f64 / limits.leak_threshold_bytes.max(1) as f64),
                description: format!(
                    "{} {what} were still there after {timeout} s",
                    units::bytes(left as f64)
                ),
            });
        };
        if cleanup.seconds.is_none() {
            late(
                "of a burst of work",
                cleanup.after_bytes.saturating_sub(cleanup.before_bytes),
            );
        }
        if cleanup.stop_seconds.is_none() {
            late(
                "of the stopped service",
                cleanup
                    .after_stop_bytes
                    .saturating_sub(cleanup.before_start_bytes),
            );
        }
    }
}

/// A service that memory was too little for.
fn of_exhaustion(result: &MemoryTestResult, found: &mut Vec<ThresholdViolation>) {
    if let Some(exhaustion) = &result.exhaustion {
        let mut end = |severity, description| {
            found.push(ThresholdViolation {
                violation_type: ViolationType::ResourceExhaustion,
                threshold: exhaustion.room_bytes as f64,
                actual: exhaustion
                    .refused
                    .as_ref()
                    .map_or(exhaustion.largest_accepted_bytes, |(bytes, _)| *bytes)
                    as f64,
                severity,
                description,
            });
        };
        if let Some(death) = &exhaustion.died {
            end(
                ViolationSeverity::Critical,
                format!(
                    "with {} of room the service died instead of refusing: {death}",
                    units::bytes(exhaustion.room_bytes as f64)
                ),
            );
        } else if !exhaustion.recovered {
            end(
                ViolationSeverity::High,
                "after a payload was refused, ordinary operations went on failing".to_owned(),
            );
        }
    }
}

fn severity(times: f64) -> ViolationSeverity {
    match times {
        ..=1.1 => ViolationSeverity::Low,
        ..=1.5 => ViolationSeverity::Medium,
        ..=4.0 => ViolationSeverity::High,
        _ => ViolationSeverity::Critical,
    }
}

/// What follows from the violations, each with the figure it rests on. (What follows from a leak's sources is theirs to say.)
pub(crate) fn advice(result: &MemoryTestResult) -> Vec<String> {
    let mut advice = Vec::new();
    let largest = |metrics: &std::collections::BTreeMap<String, f64>| {
        let bytes = metrics.iter().filter(|(name, _)| name.ends_with(" bytes"));
        bytes
            .max_by(|a, b| a.1.total_cmp(b.1))
            .filter(|(_, bytes)| **bytes > 0.0)
            .map(|(name, bytes)| format!("{} are `{name}`", units::bytes(*bytes)))
    };
    for violation in &result.violations {
        match violation.violation_type {
            ViolationType::MemoryBaseline => {
                let over = violation.actual - violation.threshold;
                let of = largest(&result.profile.custom_metrics)
                    .map_or(String::new(), |of| format!("; {of}"));
                advice.push(format!(
                    "load less at the start, or allow more: the idle service is {} above its limit{of}",
                    units::bytes(over)
                ));
            }
            ViolationType::MemoryPerOperation => {
                let most = result
                    .operations
                    .iter()
                    .max_by(|a, b| a.peak_bytes.total_cmp(&b.peak_bytes));
                if let Some(most) = most {
                    advice.push(format!(
                        "make `{}` work in smaller pieces: it has {} alive at once and allocates {} in {} blocks",
                        most.kind,
                        units::bytes(most.peak_bytes),
                        units::bytes(most.allocated_bytes),
                        most.allocated_blocks
                    ));
                }
            }
            ViolationType::ResourceExhaustion => {
                let taken = result
                    .exhaustion
                    .as_ref()
                    .map_or(0, |exhaustion| exhaustion.largest_accepted_bytes);
                advice.push(format!(
                    "refuse payloads by their size before they are copied (`try_reserve` tells): the largest that was taken in had {}",
                    units::bytes(taken as f64)
                ));
            }
            ViolationType::CleanupTimeout if !result.leak_detection.leak_detected => {
                advice.push(format!(
                    "see what is kept after work: {}",
                    violation.description
                ));
            }
            _ => {}
        }
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::severity;
    use crate::memory_testing::ViolationSeverity;

    #[test]
    fn severity_follows_by_how_much_a_limit_is_crossed() {
        for (times, expected) in [
            (1.05, ViolationSeverity::Low),
            (1.2, ViolationSeverity::Medium),
            (3.0, ViolationSeverity::High),
            (f64::INFINITY, ViolationSeverity::Critical),
        ] {
            assert_eq!(severity(times), expected);
        }
    }
}
