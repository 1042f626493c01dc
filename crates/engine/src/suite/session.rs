//! Sessions in one process: twelve tests, the table of success, and what is to be shown before a deployment.
//!
//! A session is what the subject creates, uses and disposes of. Its `monitor`, `cache` and `pool`, where it has them, are put
//! to the test as well. Listeners, timers and handles are counted by the probe, files by the system: nobody says of himself
//! that he has closed everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plimsoll_model::{Cx, FigureUnit, MemoryColumns, Scope, Side, units};
use serde_json::{Value, json};

use super::bench::{Bench, Findings, MB, rounds};
use super::child::Trouble;
use super::{Check, Test};

type Result<T = ()> = std::result::Result<T, Trouble>;

/// Sessions at once.
const PARALLEL: u64 = 15;
/// The document's KB.
const KB: f64 = 1024.0;
/// What a session may take, and all of them.
const SESSION_MB: f64 = 10.0;
const SYSTEM_MB: f64 = 150.0;
/// Entries of a session and MB of all that a cache holds at most.
const ENTRIES: f64 = 20.0;
const CACHE_MB: f64 = 5.0;
/// How long a count of what is open may take.
const COUNTING: Duration = Duration::from_secs(20);
/// Length of the simulation before a deployment.
pub(crate) const PRE_DEPLOY: Duration = Duration::from_mins(10);
const SIMULATED: Duration = Duration::from_secs(5);
/// How often a session polls in the document.
const POLLS: Duration = Duration::from_secs(1);
/// So long without a collection excludes one a minute, with 95 % confidence.
const ENOUGH_POLLED: Duration = Duration::from_mins(3);
/// From here on the collector is thrashing: so many collections a minute, or so full a heap.
const THRASH_PER_MINUTE: f64 = 50.0;
const THRASH_FULL: f64 = 0.9;

pub(crate) static TESTS: [Test; 1] = [Test {
    name: "sessions",
    row: "B6",
    limit: Duration::from_mins(2),
    checks: &[
        Check::new(
            "heap_growth",
            "1,000 sessions created, used, destroyed",
            heap_growth,
        ),
        Check::new(
            "heap_stability",
            "10 samples of 20 sessions",
            heap_stability,
        ),
        Check::new(
            "session_churn",
            "100 sessions created and destroyed",
            session_churn,
        ),
        Check::new("listeners", "listeners after 100 sessions", listeners),
        Check::new(
            "timers",
            "timers after 100 sessions, samples after stop",
            timers,
        ),
        Check::new(
            "budget_enforcement",
            "alerts at 80 % and 100 % of a session's budget",
            budget_enforcement,
        ),
        Check::new(
            "cache_entries",
            "1,000 values for one session",
            cache_entries,
        ),
        Check::new("cache_bytes", "large values for many sessions", cache_bytes),
        Check::new("isolation", "two sessions with the same keys", isolation),
        Check::new(
            "file_handles",
            "open files after 100 sessions",
            file_handles,
        ),
        Check::new(
            "pool_reuse",
            "objects of the pool taken and given back",
            pool_reuse,
        ),
        Check::new(
            "real_world",
            "15 sessions at once, the table of success",
            real_world,
        ),
    ],
}];

/// A session's whole life, so many times.
fn lives(n: u64) -> Value {
    json!({ "n": n, "fate": "dispose", "use": true })
}

fn needs_sessions(bench: &Bench<'_>) -> Result {
    bench.needs(&["create", "dispose"])
}

fn heap_growth(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_sessions(bench)?;
    let readings = bench.rounds(&rounds(lives(100), 10), out)?;
    out.told("sessions", readings.operations as f64, FigureUnit::Count);
    out.growth("heap growth", readings.heap_growth(), 1.0);
    Ok(())
}

fn heap_stability(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_sessions(bench)?;
    let readings = bench.rounds(&rounds(lives(20), 10), out)?;
    // Rounds that were added while the judge was not sure are samples too.
    let samples = (readings.operations / 20).max(1) as f64;
    let slope = readings.heap_growth() / samples;
    out.ruled(
        "growth a sample",
        slope,
        FigureUnit::BytesChange,
        Side::Below,
        100.0 * KB,
    );
    Ok(())
}

fn session_churn(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_sessions(bench)?;
    bench.needs_finalizers()?;
    bench.batch(&lives(10))?;
    let before = bench.collect(None)?.memory;
    bench.batch(&lives(100))?;
    let after = bench.collect(Some(&before))?.memory;
    retained(out, &before, &after);
    out.span(before, after);
    out.replay = Some(lives(100));
    Ok(())
}

fn retained(out: &mut Findings, before: &MemoryColumns, after: &MemoryColumns) {
    let left = after.live.unwrap_or(f64::NAN) - before.live.unwrap_or(f64::NAN);
    out.ruled(
        "retained sessions",
        left,
        FigureUnit::Count,
        Side::AtMost,
        0.0,
    );
}

/// What the probe counts of a family, by kind.
fn census(bench: &mut Bench<'_>, families: &[&str]) -> Result<BTreeMap<String, u64>> {
    let Some(isolate) = bench.child.isolate().cloned() else {
        return Err(Trouble::Skipped(
            "its probe did not say hello: nothing is counted".to_owned(),
        ));
    };
    let mut runtime = bench.child.hub.runtime(&isolate);
    let cx = Cx::within(bench.cancel, COUNTING);
    let census = runtime
        .census(Scope::Resources, &cx)
        .map_err(|error| Trouble::Skipped(format!("this runtime does not count them: {error}")))?;
    let rows = census
        .rows
        .into_iter()
        .filter(|row| families.contains(&row.family.as_str()));
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts
            .entry(format!("{} {}", row.family, row.kind))
            .or_default() += row.count;
    }
    Ok(counts)
}

/// What is more after 100 sessions than before, as a figure and by name.
fn left_open(bench: &mut Bench<'_>, out: &mut Findings, families: &[&str], what: &str) -> Result {
    needs_sessions(bench)?;
    bench.batch(&lives(10))?;
    let first = bench.collect(None)?.memory;
    let before = census(bench, families)?;
    bench.batch(&lives(100))?;
    let last = bench.collect(Some(&first))?.memory;
    let after = census(bench, families)?;
    out.span(first, last);
    let more: Vec<(&String, u64)> = after
        .iter()
        .filter_map(|(kind, count)| {
            let more = count.saturating_sub(before.get(kind).copied().unwrap_or(0));
            (more > 0).then_some((kind, more))
        })
        .collect();
    let total: u64 = more.iter().map(|(_, count)| count).sum();
    out.ruled(what, total as f64, FigureUnit::Count, Side::AtMost, 0.0);
    for (kind, count) in more {
        out.hints
            .push(format!("{} more {kind}", units::count(count as f64)));
    }
    Ok(())
}

fn listeners(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    left_open(bench, out, &["listeners"], "listeners left")
}

fn timers(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    left_open(bench, out, &["timers"], "timers left")?;
    if bench.child.abilities.has("monitor") {
        let said = bench.tell(&json!({ "do": "monitor_stops" }))?;
        out.told(
            "samples of the monitor",
            said["during"].as_f64().unwrap_or(f64::NAN),
            FigureUnit::Count,
        );
        let after = said["after"].as_f64().unwrap_or(f64::NAN);
        out.ruled(
            "samples after it was stopped",
            after,
            FigureUnit::Count,
            Side::AtMost,
            0.0,
        );
    }
    Ok(())
}

fn budget_enforcement(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["monitor"])?;
    let said = bench.tell(&json!({ "do": "monitor_alerts", "budget": MB }))?;
    let number = |name: &str| said[name].as_f64().unwrap_or(f64::NAN);
    out.ruled(
        "alerts at 50 %",
        number("half"),
        FigureUnit::Count,
        Side::AtMost,
        0.0,
    );
    out.ruled(
        "warnings at 85 %",
        number("warning"),
        FigureUnit::Count,
        Side::AtLeast,
        1.0,
    );
    out.ruled(
        "errors at 110 %",
        number("error"),
        FigureUnit::Count,
        Side::AtLeast,
        1.0,
    );
    Ok(())
}

fn cache_entries(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["cache"])?;
    let said =
        bench.tell(&json!({ "do": "cache_fill", "sessions": 1, "values": 1_000, "bytes": 100 }))?;
    let most = said["entries"].as_f64().unwrap_or(f64::NAN);
    out.ruled(
        "most entries of one session",
        most,
        FigureUnit::Count,
        Side::AtMost,
        ENTRIES,
    );
    Ok(())
}

fn cache_bytes(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["cache"])?;
    let said = bench.tell(&json!({
        "do": "cache_fill", "sessions": PARALLEL, "values": 10, "bytes": 256 * 1024,
    }))?;
    let most = said["bytes"].as_f64().unwrap_or(f64::NAN);
    out.ruled(
        "most bytes of all sessions",
        most,
        FigureUnit::Bytes,
        Side::AtMost,
        CACHE_MB * MB,
    );
    Ok(())
}

fn isolation(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["cache"])?;
    let said = bench.tell(&json!({ "do": "cache_isolation" }))?;
    let share = said["own"].as_f64().unwrap_or(0.0) / said["asked"].as_f64().unwrap_or(f64::NAN);
    out.ruled(
        "values that are the session's own",
        share,
        FigureUnit::Ratio,
        Side::AtLeast,
        1.0,
    );
    Ok(())
}

fn file_handles(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_sessions(bench)?;
    bench.batch(&lives(10))?;
    let first = bench.collect(None)?.memory;
    let before = descriptors(bench)?;
    bench.batch(&lives(100))?;
    let last = bench.collect(Some(&first))?.memory;
    let after = descriptors(bench)?;
    out.span(first, last);
    let total = |all: &BTreeMap<String, u64>| all.values().sum::<u64>() as f64;
    out.ruled(
        "descriptors left",
        (total(&after) - total(&before)).max(0.0),
        FigureUnit::Count,
        Side::AtMost,
        0.0,
    );
    for (target, count) in &after {
        let more = count.saturating_sub(before.get(target).copied().unwrap_or(0));
        if more > 0 {
            out.hints
                .push(format!("{} more of {target}", units::count(more as f64)));
        }
    }
    Ok(())
}

fn descriptors(bench: &Bench<'_>) -> Result<BTreeMap<String, u64>> {
    let process = bench.child.subject().process();
    process
        .descriptors_by_target()
        .ok_or_else(|| Trouble::Skipped("the system does not tell its descriptors".to_owned()))
}

fn pool_reuse(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["pool"])?;
    let said = bench.tell(&json!({ "do": "pool_reuse", "rounds": 100, "at_once": 10 }))?;
    let share = said["reused"].as_f64().unwrap_or(f64::NAN);
    out.ruled(
        "objects that were used before",
        share,
        FigureUnit::Ratio,
        Side::AtLeast,
        0.9,
    );
    Ok(())
}

/// Sessions side by side for a while: the table of success.
fn real_world(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_sessions(bench)?;
    let length = bench.suite.simulated();
    let work = json!({ "n": PARALLEL, "fate": "keep", "cleanup": "manual", "use": true });
    bench.batch(&work)?;
    bench.release("dispose")?;
    let before = bench.collect(None)?.memory;
    bench.batch(&work)?;
    // A long simulation works half of its time, and polls in the other.
    let polled = (length >= ENOUGH_POLLED * 2).then_some(length / 2);
    let length = length.saturating_sub(polled.unwrap_or_default());
    let begun = Instant::now();
    let said = use_kept(bench, length, Duration::ZERO)?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let alive = bench.collect(None)?.memory;
    if let Some(polled) = polled {
        collections_at_rest(bench, out, polled)?;
    } else {
        out.hints.push(format!(
            "whether the heap is collected less than once a minute shows with `--simulate {}` or more",
            units::duration(ENOUGH_POLLED.as_secs_f64() * 2.0)
        ));
    }
    bench.release("dispose")?;
    let after = bench.collect(Some(&before))?.memory;
    out.span(before, after);
    let number = |name: &str| said[name].as_f64().unwrap_or(f64::NAN);

    let per_session = (alive.javascript() - before.javascript()) / PARALLEL as f64;
    out.ruled(
        "heap of a session (alive, after collecting, by 15)",
        per_session,
        FigureUnit::Bytes,
        Side::Below,
        SESSION_MB * MB,
    );
    out.ruled(
        "heap of the process with 15",
        alive.heap_used,
        FigureUnit::Bytes,
        Side::Below,
        SYSTEM_MB * MB,
    );
    out.growth("heap growth", after.heap_used - before.heap_used, 5.0);
    let rate = number("growth_per_minute");
    out.ruled(
        "growth while they work (least squares after collecting)",
        rate,
        FigureUnit::BytesPerMinute,
        Side::Below,
        100.0 * KB,
    );
    out.told(
        "collections of the runtime while they work",
        number("collections") / minutes,
        FigureUnit::PerMinute,
    );
    let full = number("fullest");
    out.ruled(
        "fullest heap, of its limit",
        full,
        FigureUnit::Ratio,
        Side::Below,
        THRASH_FULL,
    );
    out.ruled(
        "collections of the whole heap",
        number("major") / minutes,
        FigureUnit::PerMinute,
        Side::Below,
        THRASH_PER_MINUTE,
    );
    if full >= THRASH_FULL || number("major") / minutes >= THRASH_PER_MINUTE {
        out.hints.push(
            "gc-thrash: the collector runs all the time; reuse objects on the hottest paths"
                .to_owned(),
        );
        let sites = said["sites"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        out.hints
            .extend(sites.map(|site| format!("allocates most: {site}")));
    }
    retained(out, &before, &after);
    out.replay = Some(lives(PARALLEL));
    Ok(())
}

/// Uses the sessions that are kept, as fast as it goes or each once in `every`.
fn use_kept(bench: &mut Bench<'_>, length: Duration, every: Duration) -> Result<Value> {
    let command = json!({
        "do": "use_kept", "ms": length.as_millis() as u64, "every_ms": every.as_millis() as u64,
    });
    let said = bench.tell_for(&command, length)?;
    bench.check_errors(&said, said["done"].as_u64().unwrap_or(0))?;
    Ok(said)
}

/// How often the runtime collects by itself while sessions poll. The document reads it from statistics of the heap, which do not
/// have it; what it means by a collection is that of the whole heap, those of the young generation follow every few MiB.
fn collections_at_rest(bench: &mut Bench<'_>, out: &mut Findings, length: Duration) -> Result {
    let said = use_kept(bench, length, POLLS)?;
    let minutes = length.as_secs_f64() / 60.0;
    let a_minute = |name: &str| said[name].as_f64().unwrap_or(f64::NAN) / minutes;
    out.ruled(
        "collections of the whole heap while each polls once a second",
        a_minute("major"),
        FigureUnit::PerMinute,
        Side::Below,
        1.0,
    );
    out.told(
        "all collections meanwhile",
        a_minute("collections"),
        FigureUnit::PerMinute,
    );
    Ok(())
}

impl super::Suite {
    /// How long sessions are simulated.
    fn simulated(&self) -> Duration {
        self.simulated.unwrap_or(SIMULATED)
    }
}
