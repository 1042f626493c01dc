//! A million objects in a tight loop: whether finalisers keep up with churn.
//!
//! The document's loop never gives the event loop a turn, and without one no finaliser can run, so that it measures its
//! own method. Here a turn follows every collection; what the loop without turns does to a tenth of them is told beside it.

use std::time::Duration;

use plimsoll_model::{FigureUnit, units};
use serde_json::{Value, json};

use super::bench::{Bench, Findings, Judged, MB, SeriesOf, columns};
use super::child::Trouble;
use super::{Check, Test};

const TOTAL: u64 = 1_000_000;
/// Objects between two collections.
const EVERY: u64 = 1_000;
/// Readings, and lines of progress.
const STEPS: u64 = 10;
/// Readings after the peak has passed its limit, ten times closer together: a rule that is broken for good needs no million objects
/// more, and whoever keeps all of them may have no room for them.
const READINGS_WHEN_BROKEN: u32 = 8;
/// What the heap may rise by in between, in MB.
const PEAK_MB: f64 = 50.0;
const WARM_UP: u64 = 10_000;
/// Objects of the loop without turns: all of them pile up, so that each collection takes longer than the one before.
const PILED_UP: u64 = 100_000;

pub(crate) static TESTS: [Test; 1] = [Test {
    name: "tight_loop",
    row: "A9",
    limit: Duration::from_mins(30),
    checks: &[
        Check::new(
            "yielding",
            "collected and given a turn each 1,000",
            yielding,
        ),
        Check::new(
            "never_yielding",
            "the document's loop, which never gives finalisers a turn",
            never_yielding,
        ),
    ],
}];

fn total(bench: &Bench<'_>) -> u64 {
    bench.suite.operations.unwrap_or(TOTAL)
}

fn churn(bench: &mut Bench<'_>, n: u64, turns: bool) -> Result<Value, Trouble> {
    let said = bench.tell(&json!({ "do": "churn", "n": n, "every": EVERY, "turns": turns }))?;
    bench.check_errors(&said, n)?;
    Ok(said)
}

fn yielding(bench: &mut Bench<'_>, out: &mut Findings) -> Result<(), Trouble> {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let total = total(bench);
    churn(bench, WARM_UP.min(total), true)?;
    let before = bench.collect(None)?.memory;
    let mut last = before;
    let mut series = SeriesOf::begin(&before, Judged::JavaScript, true);
    series.push(bench.begun.elapsed(), 0, &before);
    let mut done = 0;
    let (mut peak, mut peak_linear) = (before.heap_used, before.linear);
    let mut readings_left = None;
    while done < total && readings_left != Some(0) {
        let whole = total.div_ceil(STEPS);
        let step = match readings_left {
            Some(_) => whole.div_ceil(10),
            None => whole,
        };
        let step = step.min(total - done);
        let said = churn(bench, step, true)?;
        done += step;
        peak = peak.max(said["peak"].as_f64().unwrap_or(0.0));
        peak_linear = peak_linear.max(said["peak_linear"].as_f64().unwrap_or(0.0));
        last = bench.collect(Some(&before))?.memory;
        series.push(bench.begun.elapsed(), done, &last);
        bench.say(format!(
            "{}: heap {} (peak {})",
            units::count(done as f64),
            units::bytes(last.heap_used),
            units::bytes(peak)
        ));
        readings_left = match readings_left {
            Some(left) => Some(left - 1),
            None => (peak - before.heap_used > PEAK_MB * MB).then_some(READINGS_WHEN_BROKEN),
        };
    }
    if done < total {
        out.hints.push(format!(
            "ended after {} of {} objects: the peak of the heap had passed its limit for good",
            units::count(done as f64),
            units::count(total as f64)
        ));
    }
    out.verdicts = series.judge(1, WARM_UP, None);
    out.span(before, last);
    out.told("created", done as f64, FigureUnit::Count);
    out.growth("heap growth", last.heap_used - before.heap_used, 5.0);
    out.growth(
        "peak of the heap, above its beginning",
        peak - before.heap_used,
        PEAK_MB,
    );
    out.told(
        "peak of linear memory",
        peak_linear - before.linear,
        FigureUnit::BytesChange,
    );
    out.not_exponential();
    out.replay = Some(json!({ "rows": 3, "columns": 1, "fate": "drop" }));
    Ok(())
}

fn never_yielding(bench: &mut Bench<'_>, out: &mut Findings) -> Result<(), Trouble> {
    bench.needs(&["create"])?;
    bench.restart()?;
    churn(bench, WARM_UP, true)?;
    let before = bench.collect(None)?.memory;
    let total = total(bench).min(PILED_UP);
    let after = match churn(bench, total, false) {
        Ok(said) => columns(&said),
        Err(Trouble::Failed { what, .. }) => {
            // What a loop without turns dies of says nothing against the subject.
            out.outcome = Some(format!("without a turn it did not end: {what}"));
            return bench.restart();
        }
        Err(trouble) => return Err(trouble),
    };
    out.told("created", total as f64, FigureUnit::Count);
    out.told(
        "heap growth",
        after.heap_used - before.heap_used,
        FigureUnit::BytesChange,
    );
    out.told(
        "linear memory growth",
        after.linear - before.linear,
        FigureUnit::BytesChange,
    );
    out.told(
        "growth of the resident set",
        after.rss - before.rss,
        FigureUnit::BytesChange,
    );
    out.outcome = Some("told, not judged: no finaliser can run in it".to_owned());
    Ok(())
}
