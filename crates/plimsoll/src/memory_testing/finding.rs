//! From counts and verdicts to the figures of a result.

use std::time::Duration;

use plimsoll_judge::{Outcome, Pattern};
use plimsoll_model as model;

use super::config::MemoryTestConfig;
use super::load::Tally;
use super::results::{
    GrowthCharacteristics, LeakDetectionResult, LeakPatternAnalysis, LeakPatternType,
    MemoryProfile, PerformanceMetrics, ResourceUtilization, RoundReading, TimePattern, Unmeasured,
};
use super::rounds::Judged;
use super::system;

/// Says why a figure is NaN, if it is.
pub(crate) fn missing(unmeasured: &mut Vec<Unmeasured>, figure: &str, value: f64, reason: &str) {
    if value.is_nan() {
        unmeasured.push(Unmeasured {
            figure: figure.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

/// Requests to all caches that have gauges.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CacheRequests {
    hits: u64,
    misses: u64,
}

impl CacheRequests {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(before.hits),
            misses: self.misses.saturating_sub(before.misses),
        }
    }
}

pub(crate) fn cache_requests() -> CacheRequests {
    let mut all = CacheRequests::default();
    for (_, gauges) in crate::gauges() {
        all.hits += gauges.hits.unwrap_or_default();
        all.misses += gauges.misses.unwrap_or_default();
    }
    all
}

/// Connections in use, of those there can be.
fn connections() -> f64 {
    let (mut open, mut most) = (0, 0);
    for (_, gauges) in crate::gauges() {
        if let (Some(connections), Some(capacity)) = (gauges.connections, gauges.capacity) {
            open += connections;
            most += capacity;
        }
    }
    // No capacity, no share: 0 of 0 is NaN.
    open as f64 / most as f64
}

pub(crate) fn performance(
    tally: &Tally,
    wall: Duration,
    cpu: Option<f64>,
    (profile, cache): (&MemoryProfile, &CacheRequests),
    is_driven: bool,
    unmeasured: &mut Vec<Unmeasured>,
) -> PerformanceMetrics {
    let busy = tally.busy.as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let of_limit = profile.resident_bytes.zip(system::memory_limit());
    let has_times = !tally.times.is_empty();
    let milliseconds = |microseconds: f64| {
        if has_times {
            microseconds / 1e3
        } else {
            f64::NAN
        }
    };
    let metrics = PerformanceMetrics {
        operations_per_second: tally.done as f64 / busy,
        average_response_time_ms: milliseconds(tally.times.mean()),
        p95_response_time_ms: milliseconds(tally.times.value_at_quantile(0.95) as f64),
        error_rate: tally.error_rate(),
        throughput: (tally.bytes_in + tally.bytes_out) as f64 / busy,
        resource_utilization: ResourceUtilization {
            cpu_utilization: cpu.map_or(f64::NAN, |cpu| {
                (cpu / (wall.as_secs_f64() * cores as f64)).min(1.0)
            }),
            memory_utilization: of_limit
                .map_or(f64::NAN, |(resident, limit)| resident as f64 / limit as f64),
            connection_utilization: connections(),
            cache_hit_rate: cache.hits as f64 / (cache.hits + cache.misses) as f64,
        },
    };
    let undriven = if is_driven {
        "no operation was done"
    } else {
        "the scenario has no operations"
    };
    let used = &metrics.resource_utilization;
    for (figure, value, reason) in [
        (
            "operations_per_second",
            metrics.operations_per_second,
            undriven,
        ),
        (
            "average_response_time_ms",
            metrics.average_response_time_ms,
            undriven,
        ),
        (
            "p95_response_time_ms",
            metrics.p95_response_time_ms,
            undriven,
        ),
        ("error_rate", metrics.error_rate, undriven),
        ("throughput", metrics.throughput, undriven),
        (
            "cpu_utilization",
            used.cpu_utilization,
            "/proc does not tell",
        ),
        (
            "memory_utilization",
            used.memory_utilization,
            "/proc does not tell",
        ),
        (
            "connection_utilization",
            used.connection_utilization,
            "no gauge tells connections and how many there can be",
        ),
        (
            "cache_hit_rate",
            used.cache_hit_rate,
            "no gauge told hits or misses during the rounds",
        ),
    ] {
        missing(unmeasured, figure, value, reason);
    }
    metrics
}

/// The verdict that the outcome is about.
fn headline(judged: &Judged) -> Option<&plimsoll_judge::Verdict> {
    let mut verdicts = judged.verdicts.iter();
    let bytes = verdicts.next()?;
    let of_blocks = verdicts.find(|verdict| verdict.outcome == Outcome::Leak);
    let is_of_blocks = judged.outcome == Outcome::Leak && bytes.outcome != Outcome::Leak;
    of_blocks.filter(|_| is_of_blocks).or(Some(bytes))
}

/// The verdicts on bytes and on blocks.
pub(crate) fn verdicts(judged: &Judged) -> [Option<model::Verdict>; 2] {
    [0, 1].map(|of| {
        let verdict = model::Verdict::from(judged.verdicts.get(of)?);
        let is_withdrawn = judged.withdrawn && verdict.outcome == model::Outcome::Leak;
        Some(if is_withdrawn {
            verdict.reopened("growth stopped in the windows that were to explain it")
        } else {
            verdict
        })
    })
}

pub(crate) fn leak(
    judged: &Judged,
    config: &MemoryTestConfig,
    unmeasured: &mut Vec<Unmeasured>,
) -> LeakDetectionResult {
    let settings = &config.leak_detection;
    let headline = headline(judged);
    let confidence = headline.map_or(f64::NAN, |verdict| verdict.leak_probability);
    missing(
        unmeasured,
        "confidence",
        confidence,
        if settings.enabled {
            "too few rounds fitted into the time"
        } else {
            "leak detection is off"
        },
    );
    let leak_detected =
        judged.outcome == Outcome::Leak && confidence >= settings.significance_threshold;
    let estimate = judged.verdicts.first().and_then(|v| v.estimate.as_ref());
    let rate = estimate.and_then(|growth| growth.per_second);
    let pattern = headline
        .filter(|_| leak_detected && settings.enable_pattern_analysis)
        .and_then(|verdict| pattern_type(verdict.pattern));
    let analysis = pattern.zip(estimate).map(|(pattern_type, growth)| {
        let rate = rate.unwrap_or(f64::NAN);
        let readings = &judged.readings;
        LeakPatternAnalysis {
            pattern_type,
            growth_characteristics: GrowthCharacteristics {
                rate,
                acceleration: acceleration(rate, growth.acceleration, seconds_of(readings)),
                consistency: growth.consistency,
            },
            operation_correlation: growth.correlation.unwrap_or(f64::NAN),
            time_patterns: if pattern_type == LeakPatternType::Cyclic {
                period(readings).into_iter().collect()
            } else {
                Vec::new()
            },
        }
    });
    LeakDetectionResult {
        leak_detected,
        leak_rate: if leak_detected {
            rate.unwrap_or_default().max(0.0)
        } else {
            0.0
        },
        confidence,
        pattern_analysis: analysis,
        suspected_sources: if leak_detected {
            judged.sources.lines()
        } else {
            Vec::new()
        },
    }
}

fn pattern_type(pattern: Pattern) -> Option<LeakPatternType> {
    Some(match pattern {
        Pattern::Linear => LeakPatternType::Linear,
        Pattern::Exponential => LeakPatternType::Exponential,
        Pattern::Stepped => LeakPatternType::Stepped,
        Pattern::Sporadic => LeakPatternType::Sporadic,
        Pattern::Cyclic => LeakPatternType::Cyclic,
        _ => return None,
    })
}

fn seconds_of(readings: &[RoundReading]) -> f64 {
    match readings {
        [first, .., last] => last.t_ns.saturating_sub(first.t_ns) as f64 / 1e9,
        _ => f64::NAN,
    }
}

/// Bytes per second per second, from the mean rate and the second half's growth over the first's: each half's rate is known then,
/// and half the time lies between their middles.
fn acceleration(rate: f64, ratio: f64, seconds: f64) -> f64 {
    let first = 2.0 * rate / (1.0 + ratio);
    (ratio - 1.0) * first / (seconds / 2.0)
}

/// The period of a sawtooth: the first lag at which what is left of the readings without their line resembles itself.
fn period(readings: &[RoundReading]) -> Option<TimePattern> {
    let n = readings.len();
    if n < 8 {
        return None;
    }
    let x: Vec<f64> = readings.iter().map(|r| r.t_ns as f64 / 1e9).collect();
    let y: Vec<f64> = readings.iter().map(|r| r.bytes).collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / n as f64;
    let (mx, my) = (mean(&x), mean(&y));
    let slope = x
        .iter()
        .zip(&y)
        .map(|(x, y)| (x - mx) * (y - my))
        .sum::<f64>()
        / x.iter().map(|x| (x - mx).powi(2)).sum::<f64>();
    let left: Vec<f64> = x
        .iter()
        .zip(&y)
        .map(|(x, y)| y - my - slope * (x - mx))
        .collect();
    let power = left.iter().map(|v| v * v).sum::<f64>();
    let alike = |lag: usize| {
        let pairs = left.iter().zip(&left[lag..]);
        pairs.map(|(a, b)| a * b).sum::<f64>() / power * n as f64 / (n - lag) as f64
    };
    let lag = (2..n / 2).find(|&lag| {
        let [before, here, after] = [alike(lag - 1), alike(lag), alike(lag + 1)];
        here > 0.5 && here >= before && here > after
    })?;
    let (low, high) = left.iter().fold((f64::MAX, f64::MIN), |(low, high), v| {
        (low.min(*v), high.max(*v))
    });
    let top = (0..lag).max_by(|a, b| left[*a].total_cmp(&left[*b]))?;
    Some(TimePattern {
        period: Duration::from_secs_f64((lag as f64 * (x[n - 1] - x[0]) / (n - 1) as f64).max(0.0)),
        amplitude: (high - low) as u64,
        phase: 1.0 - top as f64 / lag as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::{acceleration, period};
    use crate::memory_testing::results::RoundReading;

    #[test]
    fn the_period_of_a_sawtooth_is_found_under_its_growth() {
        let reading = |round: u64| RoundReading {
            t_ns: round * 500_000_000,
            operations: round,
            bytes: 1e6 + 100.0 * round as f64 + 4000.0 * (round % 6) as f64,
            blocks: f64::NAN,
        };
        let readings: Vec<_> = (0..40).map(reading).collect();
        let found = period(&readings).unwrap();
        assert!((found.period.as_secs_f64() - 3.0).abs() < 0.01, "{found:?}");
        assert!((18_000..23_000).contains(&found.amplitude), "{found:?}");
        let line = |round: u64| RoundReading {
            bytes: 100.0 * round as f64,
            ..reading(round)
        };
        assert_eq!(period(&(0..40).map(line).collect::<Vec<_>>()), None);
    }

    #[test]
    fn acceleration_is_the_change_of_the_rate() {
        // 10 B/s over the first ten seconds, 30 B/s over the next: 20 B/s more after ten seconds.
        assert!((acceleration(20.0, 3.0, 20.0) - 2.0).abs() < 1e-12);
        assert_eq!(acceleration(20.0, 1.0, 20.0), 0.0);
    }
}
