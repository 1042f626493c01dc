//! What is tested, how long and against which limits.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::MemoryTestError;

/// Everything that can be set. [`Default`] is production's: minutes to hours for each scenario.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryTestConfig {
    /// How long scenarios may take.
    pub test_durations: TestDurations,
    /// Limits whose crossing is a violation.
    pub thresholds: MemoryThresholds,
    /// How the service is driven.
    pub load_testing: LoadTestingConfig,
    /// How leaks are looked for.
    pub leak_detection: LeakDetectionConfig,
}

/// How long scenarios may take. They end as soon as the judge has decided; only the stability scenario takes all of its time
/// unless it finds a leak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TestDurations {
    /// Most seconds of an idle, single-operation, large-data, exhaustion or cleanup scenario.
    pub short_test_seconds: u64,
    /// Most seconds of a high-frequency or concurrent scenario.
    pub medium_test_seconds: u64,
    /// Seconds of a stability scenario.
    pub long_test_seconds: u64,
    /// Milliseconds between two readings of memory for peak, average and volatility.
    pub measurement_interval_ms: u64,
}

impl Default for TestDurations {
    fn default() -> Self {
        Self {
            short_test_seconds: 300,
            medium_test_seconds: 3600,
            long_test_seconds: 28_800,
            measurement_interval_ms: 1000,
        }
    }
}

/// Limits whose crossing is a [`ThresholdViolation`](super::ThresholdViolation).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryThresholds {
    /// Memory of the process with the service started and idle, in bytes.
    pub max_baseline_memory_bytes: u64,
    /// Growth, in bytes per second; it counts as more only if the lower end of the rate's interval is.
    pub max_memory_growth_rate: u64,
    /// The most that one operation has alive at once, in bytes.
    pub max_memory_per_operation: u64,
    /// What a leak may amount to within the scenario's planned time, and what may be left after cleaning up, in bytes.
    pub leak_threshold_bytes: u64,
    /// Seconds in which memory has to be back at its level after operations, and after the service has stopped.
    pub cleanup_timeout_seconds: u64,
}

impl Default for MemoryThresholds {
    fn default() -> Self {
        Self {
            max_baseline_memory_bytes: 100 * 1024 * 1024,
            max_memory_growth_rate: 1024 * 1024,
            max_memory_per_operation: 10 * 1024 * 1024,
            leak_threshold_bytes: 5 * 1024 * 1024,
            cleanup_timeout_seconds: 60,
        }
    }
}

/// How the service is driven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadTestingConfig {
    /// Operations in flight of a concurrent scenario; of a high-frequency one, the most.
    pub concurrent_operations: u32,
    /// Operations that a high-frequency scenario begins each second.
    pub operations_per_second: u32,
    /// Bytes that a large-data scenario passes through the service in each round, and that a service may take beyond what it
    /// has when it starts before resource exhaustion limits it.
    pub large_data_size_bytes: u64,
    /// Bytes of the largest payload of one operation.
    pub max_payload_size_bytes: u64,
}

impl Default for LoadTestingConfig {
    fn default() -> Self {
        Self {
            concurrent_operations: 100,
            operations_per_second: 1000,
            large_data_size_bytes: 100 * 1024 * 1024,
            max_payload_size_bytes: 10 * 1024 * 1024,
        }
    }
}

/// How leaks are looked for. The judge is the product's; these are its terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeakDetectionConfig {
    /// Off, memory is measured and not judged.
    pub enabled: bool,
    /// Milliseconds of a round of operations, after each of which memory is read for the judge.
    pub sampling_interval_ms: u64,
    /// Rounds before the judge first looks; it looks up to five times, at the last after four times as many.
    pub min_samples: u32,
    /// One less the probability of calling a leak what is none, over all looks; and the least confidence of a leak.
    pub significance_threshold: f64,
    /// Whether the pattern of the growth is told.
    pub enable_pattern_analysis: bool,
}

impl Default for LeakDetectionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sampling_interval_ms: 500,
            min_samples: 10,
            significance_threshold: 0.95,
            enable_pattern_analysis: true,
        }
    }
}

impl MemoryTestConfig {
    /// Seconds for each scenario and frequent readings: for the desk.
    pub fn development() -> Self {
        Self {
            test_durations: TestDurations {
                short_test_seconds: 10,
                medium_test_seconds: 20,
                long_test_seconds: 60,
                measurement_interval_ms: 20,
            },
            load_testing: LoadTestingConfig {
                concurrent_operations: 16,
                operations_per_second: 500,
                large_data_size_bytes: 16 * 1024 * 1024,
                max_payload_size_bytes: 2 * 1024 * 1024,
            },
            leak_detection: LeakDetectionConfig {
                sampling_interval_ms: 50,
                ..LeakDetectionConfig::default()
            },
            ..Self::default()
        }
    }

    /// Production's load for minutes instead of hours: for every release.
    pub fn staging() -> Self {
        Self {
            test_durations: TestDurations {
                short_test_seconds: 60,
                medium_test_seconds: 300,
                long_test_seconds: 1800,
                measurement_interval_ms: 250,
            },
            ..Self::default()
        }
    }

    /// The default: minutes, an hour, eight hours.
    pub fn production() -> Self {
        Self::default()
    }

    /// Whether every value is within its range.
    ///
    /// # Errors
    /// With the first field that is not, its value and its range.
    pub fn validate(&self) -> Result<(), MemoryTestError> {
        const MONTH: u64 = 30 * 86_400;
        const HOUR_MS: u64 = 3_600_000;
        let (durations, thresholds) = (&self.test_durations, &self.thresholds);
        let (load, leaks) = (&self.load_testing, &self.leak_detection);
        let ranges = [
            ("short_test_seconds", durations.short_test_seconds, MONTH),
            ("medium_test_seconds", durations.medium_test_seconds, MONTH),
            ("long_test_seconds", durations.long_test_seconds, MONTH),
            (
                "measurement_interval_ms",
                durations.measurement_interval_ms,
                HOUR_MS,
            ),
            (
                "cleanup_timeout_seconds",
                thresholds.cleanup_timeout_seconds,
                MONTH,
            ),
            (
                "concurrent_operations",
                u64::from(load.concurrent_operations),
                100_000,
            ),
            (
                "operations_per_second",
                u64::from(load.operations_per_second),
                1_000_000,
            ),
            ("large_data_size_bytes", load.large_data_size_bytes, 1 << 40),
            (
                "max_payload_size_bytes",
                load.max_payload_size_bytes,
                load.large_data_size_bytes,
            ),
            ("sampling_interval_ms", leaks.sampling_interval_ms, HOUR_MS),
        ];
        for (field, value, most) in ranges {
            out_of_range(field, value, 1, most)?;
        }
        out_of_range("min_samples", u64::from(leaks.min_samples), 5, 40)?;
        let significance = leaks.significance_threshold;
        if !(0.5..1.0).contains(&significance) {
            return Err(MemoryTestError::OutOfRange {
                field: "significance_threshold".to_owned(),
                value: significance.to_string(),
                allowed: "0.5 up to but not including 1".to_owned(),
            });
        }
        Ok(())
    }
}

/// A preset by its name: `development`, `staging` or `production`, so that whoever runs the tests can choose.
///
/// ```
/// use plimsoll::memory_testing::MemoryTestConfig;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let preset = std::env::var("MEMORY_TEST_PRESET");
/// let config: MemoryTestConfig = preset.as_deref().unwrap_or("development").parse()?;
/// # assert_eq!(config, MemoryTestConfig::development());
/// # Ok(())
/// # }
/// ```
impl FromStr for MemoryTestConfig {
    type Err = MemoryTestError;

    fn from_str(name: &str) -> Result<Self, MemoryTestError> {
        match name {
            "development" => Ok(Self::development()),
            "staging" => Ok(Self::staging()),
            "production" => Ok(Self::production()),
            _ => Err(MemoryTestError::OutOfRange {
                field: "preset".to_owned(),
                value: format!("'{name}'"),
                allowed: "development, staging or production".to_owned(),
            }),
        }
    }
}

fn out_of_range(field: &str, value: u64, least: u64, most: u64) -> Result<(), MemoryTestError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(MemoryTestError::OutOfRange {
        field: field.to_owned(),
        value: value.to_string(),
        allowed: format!("{least} to {most}"),
    })
}

#[cfg(test)]
mod tests {
    use super::{LeakDetectionConfig, LoadTestingConfig, MemoryTestConfig, TestDurations};

    #[test]
    fn what_is_out_of_range_is_named_with_its_range() {
        let check = |config: MemoryTestConfig, expected: &str| {
            assert_eq!(config.validate().unwrap_err().to_string(), expected);
        };
        let of_durations = |test_durations| MemoryTestConfig {
            test_durations,
            ..MemoryTestConfig::default()
        };
        check(
            of_durations(TestDurations {
                short_test_seconds: 0,
                ..TestDurations::default()
            }),
            "`short_test_seconds` is 0, and may be 1 to 2592000",
        );
        check(
            MemoryTestConfig {
                load_testing: LoadTestingConfig {
                    large_data_size_bytes: 1024,
                    ..LoadTestingConfig::default()
                },
                ..MemoryTestConfig::default()
            },
            "`max_payload_size_bytes` is 10485760, and may be 1 to 1024",
        );
        check(
            MemoryTestConfig {
                leak_detection: LeakDetectionConfig {
                    significance_threshold: f64::NAN,
                    ..LeakDetectionConfig::default()
                },
                ..MemoryTestConfig::default()
            },
            "`significance_threshold` is NaN, and may be 0.5 up to but not including 1",
        );
    }

    #[test]
    fn presets_have_names_and_are_within_their_ranges() {
        for (name, config) in [
            ("development", MemoryTestConfig::development()),
            ("staging", MemoryTestConfig::staging()),
            ("production", MemoryTestConfig::production()),
        ] {
            assert_eq!(name.parse::<MemoryTestConfig>().unwrap(), config);
            config.validate().unwrap();
        }
        assert_eq!(
            "nightly"
                .parse::<MemoryTestConfig>()
                .unwrap_err()
                .to_string(),
            "`preset` is 'nightly', and may be development, staging or production"
        );
    }
}
