//! What would settle an inconclusive verdict, as flags to run again with.

use plimsoll_model::{RoundKind, Run, Verdict, Work, units};

use crate::words::plural;

/// Rounds beyond which more operations to a round are asked for instead.
const MOST_ROUNDS: u64 = 48;
/// Rounds that `check` insists on.
const FEWEST_ROUNDS: u64 = 6;
/// Rounds that are asked for where nobody knows how many it takes.
const SOME_ROUNDS: u64 = 24;

/// What to run again with, `None` if no flag would settle it.
pub(crate) fn to_settle(run: &Run, verdict: Option<&Verdict>) -> Option<String> {
    let reason = verdict.map_or("", |v| v.reason.as_str());
    let Some(load) = &run.load else {
        return longer_watch(run, verdict);
    };
    if let Some(change) = verdict.and_then(|v| v.work_change) {
        return Some(same_work(change.work).to_owned());
    }
    if reason.contains("with time, not with operations") {
        return Some(
            "watch it without load: leave `--url` out and run with `--duration 10m`".to_owned(),
        );
    }
    if reason.contains("worker processes") {
        return Some("run it with a single worker: the others are not judged yet".to_owned());
    }
    if reason.contains("warm-up") {
        let warm_up = (2 * run.plan.warm_up_operations).max(10_000);
        let minutes = minutes(1.5 * run.plan.max_time_s);
        return Some(format!(
            "run again with `--warm-up {warm_up} --max-time {minutes}m`"
        ));
    }

    let rounds: Vec<_> = run
        .rounds
        .iter()
        .filter(|r| r.kind == RoundKind::Measured)
        .collect();
    let measured = rounds.len() as u64;
    let size = run.plan.operations_per_round;
    if measured == 0 || size == 0 {
        let minutes = minutes(2.0 * run.plan.max_time_s);
        return Some(format!("run again with `--max-time {minutes}m`"));
    }
    let more = verdict.and_then(|v| v.more_operations);
    let needed = match more {
        Some(operations) => measured + operations.div_ceil(size).max(1),
        None => (2 * measured).max(SOME_ROUNDS),
    };
    let needed = needed.max(FEWEST_ROUNDS);
    let mut flags = if needed <= MOST_ROUNDS {
        // With the size of the rounds left open, more rounds would only be smaller ones.
        format!("--operations {size} --rounds {needed}")
    } else {
        let larger = (needed.saturating_mul(size) / MOST_ROUNDS).div_ceil(100) * 100;
        format!("--operations {larger} --rounds {MOST_ROUNDS}")
    };
    // The run ends at `--max-time` whatever the rounds: a hint that runs into it settles nothing.
    let spent = run.duration.since(run.subject.ready.unwrap_or_default());
    let per_round = rounds
        .iter()
        .map(|r| r.end.since(r.start).as_secs_f64())
        .sum::<f64>()
        / measured as f64;
    let wanted = spent.as_secs_f64() + per_round * (needed - measured) as f64;
    if wanted * 1.1 > run.plan.max_time_s {
        flags = format!("{flags} --max-time {}m", minutes(wanted * 1.2));
    }
    let extent = more.map_or_else(String::new, |operations| {
        let word = &load.operation_word;
        let word = if operations == 1 {
            word.clone()
        } else {
            plural(word)
        };
        format!(" ({} more {word})", units::count(operations as f64))
    });
    Some(format!("run again with `{flags}`{extent}"))
}

/// How to change a test whose operations are not the same from first to last.
fn same_work(work: Work) -> &'static str {
    match work {
        Work::ErrorShare => "mend the errors first: operations that fail do other work",
        _ => {
            "make the work the same from first to last: ask for a page of fixed size, or empty the table between requests"
        }
    }
}

fn longer_watch(run: &Run, verdict: Option<&Verdict>) -> Option<String> {
    if run.subject.exit.is_some() {
        // It ended by itself: no flag makes it live longer.
        return Some("the program ended by itself: give it more to do".to_owned());
    }
    let watched = run
        .duration
        .since(run.subject.ready.unwrap_or_default())
        .as_secs_f64();
    let more = verdict
        .and_then(|v| v.more_seconds)
        .filter(|s| s.is_finite());
    let wanted = watched + more.unwrap_or(watched);
    (wanted > 0.0).then(|| format!("run again with `--duration {}m`", minutes(wanted)))
}

/// Whole minutes, rounded up.
fn minutes(seconds: f64) -> u64 {
    (seconds / 60.0).ceil().max(1.0) as u64
}
