//! Phases are told, and cost next to nothing.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::span;

use super::*;

/// Writes every event down at every level, as a log would, and adds up what that takes.
#[derive(Default)]
struct Log {
    phases: Mutex<BTreeMap<String, u64>>,
    nanoseconds: AtomicU64,
}

#[derive(Default)]
struct Line {
    text: String,
    phase: Option<String>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.text, " {field}={value:?}").unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "phase" {
            self.phase = Some(value.to_owned());
        }
        self.record_debug(field, &value);
    }
}

struct Shared(Arc<Log>);

impl tracing::Subscriber for Shared {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("plimsoll")
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let begun = Instant::now();
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(phase) = line.phase.take() {
            *self.0.phases.lock().unwrap().entry(phase).or_default() += 1;
        }
        let took = begun.elapsed().as_nanos() as u64;
        self.0.nanoseconds.fetch_add(took, Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// Phases and rounds are told, never operations: however many there are, it costs the same.
#[test]
fn every_phase_is_told_and_takes_a_hundredth_of_the_time_at_most() {
    let log = Arc::new(Log::default());
    let mut result = None;
    tracing::subscriber::with_default(Shared(Arc::clone(&log)), || {
        alone(async {
            result = Some(run(Fault::Leak, TestScenario::SingleOperation).await);
        });
    });
    let result = result.unwrap();
    let phases = log.phases.lock().unwrap();
    for phase in [
        "start", "alone", "warm-up", "round", "look", "explain", "stop", "end",
    ] {
        assert!(
            phases.contains_key(phase),
            "{phase} is not among {phases:?}"
        );
    }
    let told: u64 = phases.values().sum();
    let rounds = result.readings.len() as u64;
    assert!(
        told <= rounds + 30,
        "{told} events, {rounds} rounds: {phases:?}"
    );
    let telling = Duration::from_nanos(log.nanoseconds.load(Ordering::Relaxed));
    assert!(
        telling < result.duration / 100,
        "{telling:?} of {:?}",
        result.duration
    );
}
