//! What the run documents of all verbs have in common.

use std::time::Duration;

use plimsoll_model::{Finding, Level, Ns, Observer, Part, Run, Unit};
use plimsoll_store::Recorded;

/// What observing cost: this process without what its own driver used.
pub(crate) fn observer(
    lasted: Ns,
    driver_cpu: Duration,
    pause: Duration,
    dropped_samples: u64,
) -> Observer {
    let own = plimsoll_probe::own_usage();
    let seconds = lasted.as_secs_f64().max(1e-3);
    let driver_cpu = driver_cpu.as_secs_f64();
    Observer {
        cpu_ratio: (own.cpu_seconds - driver_cpu).max(0.0) / seconds,
        driver_cpu_ratio: driver_cpu / seconds,
        rss_peak: own.rss_peak_bytes.unwrap_or(0),
        subject_pause_s: pause.as_secs_f64(),
        dropped_samples,
    }
}

/// The levels that were on.
pub(crate) fn levels(probe_on: bool, allocator_on: bool) -> Vec<Level> {
    let mut levels = vec![Level::Process];
    if probe_on {
        levels.push(Level::Probe);
    }
    if allocator_on {
        levels.push(Level::Allocator);
    }
    levels
}

/// A log that could not be written to its end.
pub(crate) fn incomplete_log(recorded: &Recorded) -> Option<Finding> {
    let error = recorded.error.as_ref()?;
    let what = format!("the log ends early: {error}");
    Some(Finding::warning("log-incomplete", what, None))
}

/// Takes the verdict out of a run of a verb that watches without judging; what was read stays as context.
pub(crate) fn not_judged(run: &mut Run) {
    run.verdict = None;
    "memory was read, not judged".clone_into(&mut run.verdict_reason);
    run.headline = None;
    for series in &mut run.series {
        series.part = Part::Context;
        series.verdict = None;
        series.points = None;
    }
    run.series.retain(|s| s.unit == Unit::Bytes);
    // It is about attaching, which such a verb does not offer.
    run.findings.retain(|f| f.id != "process-level");
}
