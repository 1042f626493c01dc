//! The fast suite: five tests in five minutes at most, each in a process of its own, fit for every commit.
//!
//! Numbers and rules are those of the document that the suite is from; what is measured is mended where its own method says
//! nothing (readings before anything was warm, one collection without a turn for finalisers). Sizes are binary.

use std::time::Duration;

use plimsoll_model::{FigureUnit, MemoryColumns, Side};
use serde_json::{Value, json};

use super::bench::{Bench, Findings, Judged, MB, Readings, Rounds, rounds};
use super::child::Trouble;
use super::{Check, Test};

type Result<T = ()> = std::result::Result<T, Trouble>;

/// Growth of the heap, or of linear memory, that the document allows, in MB.
const GROWTH: f64 = 5.0;
/// Rows of what the document calls large.
const LARGE: u64 = 1_000;
/// The least memory of which a recovered share says anything.
const ENOUGH: f64 = 64.0 * 1024.0;
/// Objects that are held at most to find out how many fit in the slack of linear memory.
const MOST_HELD: u64 = 20_000;
/// As many are let go at most to use it up twice.
const MOST_CYCLED: u64 = 40_000;
/// Time for holding them.
const HOLDING: Duration = Duration::from_secs(5);
/// What the heap may rise by while objects are created and used, in MB.
const PEAK_MB: f64 = 50.0;
/// Length of a round of objects that are created without a pause.
const CONTINUOUS_MS: u64 = 850;
/// After cleaning up, both ways may differ by so much.
const ALIKE: f64 = 1.0;

/// All tests of it.
pub(crate) static TESTS: [Test; 5] = [
    Test {
        name: "gc_verification",
        row: "A2",
        limit: Duration::from_secs(30),
        checks: &[
            Check::new("basic", "1,000 held, then let go", basic),
            Check::new(
                "high_volume",
                "10,000 let go at once, in batches of 1,000",
                high_volume,
            ),
            Check::new(
                "interleaved",
                "every other one disposed of, the others let go",
                interleaved,
            ),
            Check::new(
                "rapid",
                "created and disposed of at once, never used",
                rapid,
            ),
            Check::new(
                "finalisation",
                "time until 1,000 are finalised, five times",
                finalisation,
            ),
        ],
    },
    Test {
        name: "wasm_memory",
        row: "A3",
        limit: Duration::from_secs(30),
        checks: &[
            Check::new("slack", "held until linear memory grew twice", slack),
            Check::new(
                "auto_cycles",
                "5,000 or more let go, in cycles",
                auto_cycles,
            ),
            Check::new(
                "manual_vs_auto",
                "5,000 disposed of beside 5,000 let go",
                manual_vs_auto,
            ),
            Check::new("large", "50 of 1,000 rows", large_linear),
            Check::new("continuous", "created for 10 s", continuous),
            Check::new("mixed", "used, every other one disposed of", mixed_linear),
        ],
    },
    Test {
        name: "error_recovery",
        row: "A4",
        limit: Duration::from_secs(10),
        checks: &[
            Check::new("after_create", "1,000 errors after creation", after_create),
            Check::new("during_use", "1,000 errors during an operation", during_use),
            Check::new("finally", "1,000 errors with try and finally", with_finally),
            Check::new("mixed", "1,000 errors of all sorts", mixed_errors),
            Check::new("invalid", "1,000 invalid inputs", invalid),
            Check::new("async", "1,000 errors after an await", after_await),
            Check::new("nested", "1,000 errors in errors", nested),
        ],
    },
    Test {
        name: "auto_vs_manual",
        row: "A5",
        limit: Duration::from_mins(1),
        checks: &[
            Check::new("footprint", "1,000 each way", footprint),
            Check::new("clean_up_time", "1,000 each way, timed", clean_up_time),
            Check::new(
                "pressure",
                "100 of 1,000 rows disposed of, in rounds",
                pressure,
            ),
            Check::new(
                "interleaved",
                "every other one each way, used",
                interleaved_use,
            ),
            Check::new("batches", "10 batches of 200 each way", batches),
            Check::new(
                "http_handler",
                "created, used, disposed of, as a handler does",
                http_handler,
            ),
            Check::new(
                "cli_tool",
                "created, used, left to the runtime, as a tool does",
                cli_tool,
            ),
        ],
    },
    Test {
        name: "memory_pressure",
        row: "A6",
        limit: Duration::from_mins(2),
        checks: &[
            Check::new("large", "100 of 1,000 rows held, then let go", large),
            Check::new("sustained", "created and used for 30 s", sustained),
            Check::new("spike", "200 of 1,000 rows held, then let go", spike),
            Check::new("wide", "100 of 100 columns", wide),
            Check::new("stability", "10 cycles of 100", stability),
        ],
    },
];

/// `n` a round that are let go.
fn drop_of(n: u64) -> Value {
    json!({ "n": n, "fate": "drop" })
}

/// The same, disposed of.
fn dispose_of(n: u64) -> Value {
    json!({ "n": n, "fate": "dispose", "use": true })
}

fn linear(command: Value, count: u32) -> Rounds {
    Rounds {
        judged: Judged::Linear,
        ..rounds(command, count)
    }
}

/// Rounds of one command, and the heap growth of them against a limit in MB.
fn heap_rounds(
    bench: &mut Bench<'_>,
    out: &mut Findings,
    command: Value,
    count: u32,
    below: f64,
) -> Result<Readings> {
    let plan = rounds(command, count);
    let readings = bench.rounds(&plan, out)?;
    out.told("operations", readings.operations as f64, FigureUnit::Count);
    out.growth("heap growth", readings.heap_growth(), below);
    left_alive(out, &readings.before, &readings.after, plan.counts());
    Ok(readings)
}

fn linear_rounds(
    bench: &mut Bench<'_>,
    out: &mut Findings,
    command: Value,
    count: u32,
) -> Result<Readings> {
    needs_linear(bench)?;
    let plan = linear(command, count);
    let readings = bench.rounds(&plan, out)?;
    out.told("operations", readings.operations as f64, FigureUnit::Count);
    out.growth("linear memory growth", readings.linear_growth(), GROWTH);
    left_alive(out, &readings.before, &readings.after, plan.counts());
    Ok(readings)
}

/// Where counts are not judged, nothing may be left.
fn left_alive(out: &mut Findings, before: &MemoryColumns, after: &MemoryColumns, judged: bool) {
    let (Some(before), Some(after)) = (before.live, after.live) else {
        return;
    };
    let left = (after - before).max(0.0);
    if judged {
        out.told("left alive", left, FigureUnit::Count);
    } else {
        out.ruled("left alive", left, FigureUnit::Count, Side::AtMost, 0.0);
    }
}

/// Memory before `n` were made, while all of them were held, and after they were let go.
struct Held {
    before: MemoryColumns,
    alive: MemoryColumns,
    after: MemoryColumns,
}

impl Held {
    fn of(bench: &mut Bench<'_>, command: &Value, fate: &str) -> Result<Self> {
        let mut once = command.clone();
        once["fate"] = "keep".into();
        once["cleanup"] = if fate == "dispose" { "manual" } else { "auto" }.into();
        // The first of them bring what stays for all: it is no growth.
        let mut few = once.clone();
        few["n"] = (command["n"].as_u64().unwrap_or(10) / 10).max(1).into();
        let first = bench.collect(None)?.memory;
        bench.batch(&few)?;
        bench.release(fate)?;
        let before = bench.collect(Some(&first))?.memory;
        bench.batch(&once)?;
        let held = bench.collect(None)?.memory;
        bench.release(fate)?;
        let after = bench.collect(Some(&before))?.memory;
        Ok(Self {
            before,
            alive: held,
            after,
        })
    }

    fn allocated(&self) -> f64 {
        self.alive.javascript() - self.before.javascript()
    }

    /// Share of what they took that came back; says nothing where they took next to nothing.
    fn recovered(&self) -> f64 {
        let back = self.alive.javascript() - self.after.javascript();
        back / self.allocated()
    }

    fn tell(&self, out: &mut Findings, more_than: f64) {
        out.told("allocated", self.allocated(), FigureUnit::Bytes);
        if self.allocated() >= ENOUGH {
            out.ruled(
                "recovered",
                self.recovered(),
                FigureUnit::Ratio,
                Side::Above,
                more_than,
            );
        }
        if let (Some(before), Some(after)) = (self.before.live, self.after.live) {
            out.ruled(
                "left alive",
                after - before,
                FigureUnit::Count,
                Side::AtMost,
                0.0,
            );
        }
        out.span(self.before, self.after);
    }
}

/* A2 */

fn basic(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let held = Held::of(bench, &drop_of(1_000), "drop")?;
    held.tell(out, 0.5);
    out.growth(
        "heap growth",
        held.after.heap_used - held.before.heap_used,
        GROWTH,
    );
    out.replay = Some(drop_of(1_000));
    Ok(())
}

fn high_volume(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    heap_rounds(bench, out, drop_of(1_000), 10, GROWTH).map(drop)
}

fn interleaved(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    let command = json!({ "n": 200, "alternate": true, "use": true });
    heap_rounds(bench, out, command, 10, GROWTH).map(drop)
}

fn rapid(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    let command = json!({ "n": 500, "fate": "dispose" });
    heap_rounds(bench, out, command, 10, GROWTH).map(drop)
}

fn finalisation(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let before = bench.collect(None)?.memory;
    let mut slowest: f64 = 0.0;
    let mut last = before;
    for _ in 0..5 {
        bench.batch(&drop_of(1_000))?;
        let collected = bench.collect(Some(&before))?;
        slowest = slowest.max(collected.finalised.unwrap_or(f64::NAN));
        last = collected.memory;
        if collected.finalised.is_none() {
            slowest = f64::NAN;
            break;
        }
    }
    let limit = bench.suite.finalizer_wait.as_secs_f64();
    out.ruled(
        "slowest finalisation",
        slowest,
        FigureUnit::Seconds,
        Side::Below,
        limit,
    );
    out.span(before, last);
    Ok(())
}

/* A3 */

/// Whether there is linear memory at all, once something was created.
fn needs_linear(bench: &mut Bench<'_>) -> Result {
    bench.needs(&["create"])?;
    if bench.linear.is_none() {
        bench.batch(&drop_of(1))?;
        let memory = bench.collect(None)?.memory;
        bench.linear = Some(memory.memories > 0);
    }
    if bench.linear == Some(true) {
        return Ok(());
    }
    Err(Trouble::Skipped(
        "the subject has no WebAssembly memory (none was made, and it exports no `memory`)"
            .to_owned(),
    ))
}

/// How many fit: in a process of its own, because what was held once is free for whatever leaks later.
fn slack(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_linear(bench)?;
    bench.batch(&drop_of(100))?;
    let first = bench.collect(None)?.memory;
    let step = 50;
    let fate = if bench.child.abilities.has("dispose") {
        "dispose"
    } else {
        "drop"
    };
    let cleanup = if fate == "dispose" { "manual" } else { "auto" };
    let keep = json!({ "n": step, "fate": "keep", "cleanup": cleanup });
    let mut held = 0;
    let mut grown = Vec::new();
    let mut level = first.linear;
    let mut last = first;
    let begun = std::time::Instant::now();
    while grown.len() < 2 && held < MOST_HELD && begun.elapsed() < HOLDING {
        bench.batch(&keep)?;
        held += step;
        last = bench.measure()?;
        if last.linear > level {
            level = last.linear;
            grown.push((held, level));
        }
    }
    bench.release(fate)?;
    out.told("held", held as f64, FigureUnit::Count);
    out.told(
        "linear memory growth",
        last.linear - first.linear,
        FigureUnit::BytesChange,
    );
    if let [(fits, _), (second, _)] = grown[..] {
        // Between two growths all that was free before is used up.
        let bytes = (grown[0].1 - first.linear) / (second - fits).max(1) as f64;
        out.told(
            "operations that fit in the slack",
            fits as f64,
            FigureUnit::Count,
        );
        out.told("linear memory of one", bytes, FigureUnit::Bytes);
        bench.fits = Some(fits);
    } else {
        out.open = Some(format!(
            "{held} operations fit in the slack of linear memory, which grew {} while they were held: what leaks there does not show sooner",
            match grown.len() {
                0 => "not at all",
                _ => "once",
            }
        ));
    }
    out.span(first, last);
    bench.restart()
}

fn auto_cycles(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_linear(bench)?;
    bench.needs_finalizers()?;
    // What leaks must have used up the slack twice.
    let needed = bench
        .fits
        .map_or(5_000, |fits| (2 * fits).clamp(5_000, MOST_CYCLED));
    let readings = linear_rounds(bench, out, drop_of(needed.div_ceil(10)), 10)?;
    match bench.fits {
        Some(fits) if readings.operations >= 2 * fits => {}
        _ => {
            out.open = Some(format!(
                "{} operations fit in the slack: a leak of linear memory need not have shown",
                readings.operations
            ));
        }
    }
    Ok(())
}

fn manual_vs_auto(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_linear(bench)?;
    bench.needs(&["dispose"])?;
    bench.needs_finalizers()?;
    let manual = bench.rounds(&linear(dispose_of(500), 10), out)?;
    let begun = std::time::Instant::now();
    let auto = bench.rounds(&linear(drop_of(500), 10), out)?;
    let auto_seconds = begun.elapsed().as_secs_f64();
    let per = |seconds: f64, readings: &Readings| seconds / readings.operations.max(1) as f64;
    out.growth(
        "linear memory growth, disposed of",
        manual.linear_growth(),
        GROWTH,
    );
    out.growth("linear memory growth, let go", auto.linear_growth(), GROWTH);
    let manual_time = per(manual.seconds, &manual);
    // Letting go includes the collections without which nothing would be cleaned up; the rounds' own warm-up too.
    let auto_time = auto_seconds / (auto.operations + 500) as f64;
    out.told("time of one, disposed of", manual_time, FigureUnit::Seconds);
    out.told(
        "time of one, let go and collected",
        auto_time,
        FigureUnit::Seconds,
    );
    out.told(
        "let go : disposed of (the document expects 3x)",
        auto_time / manual_time,
        FigureUnit::Times,
    );
    Ok(())
}

fn large_linear(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    let command = json!({ "n": 10, "rows": LARGE, "fate": "drop" });
    linear_rounds(bench, out, command, 5).map(drop)
}

fn continuous(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    needs_linear(bench)?;
    // A high-water mark is the same for rounds of the same number alone: what fits in a second is counted once.
    let timed = bench.batch(&json!({ "ms": CONTINUOUS_MS, "fate": "drop" }))?;
    linear_rounds(bench, out, drop_of(timed.done), 10).map(drop)
}

fn mixed_linear(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["use", "dispose"])?;
    let command = json!({ "n": 200, "alternate": true, "use": true });
    linear_rounds(bench, out, command, 10).map(drop)
}

/* A4 */

fn errors(
    bench: &mut Bench<'_>,
    out: &mut Findings,
    faults: &[&str],
    fate: &str,
) -> Result<Readings> {
    bench.needs(&["create"])?;
    if fate == "dispose" {
        bench.needs(&["dispose"])?;
    } else {
        bench.needs_finalizers()?;
    }
    let command = json!({ "n": 125, "faults": faults, "fate": fate });
    let readings = bench.rounds(&rounds(command, 8), out)?;
    out.told("errors", readings.planned as f64, FigureUnit::Count);
    out.growth("heap growth", readings.heap_growth(), GROWTH);
    if let (Some(before), Some(after)) = (readings.before.live, readings.after.live) {
        out.ruled(
            "left alive",
            after - before,
            FigureUnit::Count,
            Side::AtMost,
            0.0,
        );
    }
    Ok(readings)
}

fn after_create(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    errors(bench, out, &["after-create"], "drop").map(drop)
}

fn during_use(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["use"])?;
    errors(bench, out, &["during-use"], "drop").map(drop)
}

fn with_finally(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    errors(bench, out, &["finally"], "dispose").map(drop)
}

fn mixed_errors(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    errors(bench, out, &["after-create", "during-use", "async"], "drop").map(drop)
}

fn invalid(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    let readings = errors(bench, out, &["invalid"], "drop")?;
    if readings.accepted > 0 {
        out.told(
            "invalid inputs that were accepted",
            readings.accepted as f64,
            FigureUnit::Count,
        );
    }
    if readings.planned == 0 {
        return Err(Trouble::Skipped(
            "`create` accepts everything: it throws nothing when `invalid` is true".to_owned(),
        ));
    }
    Ok(())
}

fn after_await(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    errors(bench, out, &["async"], "drop").map(drop)
}

fn nested(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    let fate = if bench.child.abilities.has("dispose") {
        "dispose"
    } else {
        "drop"
    };
    errors(bench, out, &["nested"], fate).map(drop)
}

/* A5 */

fn footprint(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    bench.needs_finalizers()?;
    let command = drop_of(1_000);
    let auto = Held::of(bench, &command, "drop")?;
    let manual = Held::of(bench, &command, "dispose")?;
    let after = |held: &Held| held.after.javascript() - held.before.javascript();
    out.told("1,000 let go, alive", auto.allocated(), FigureUnit::Bytes);
    out.told(
        "1,000 disposed of, alive",
        manual.allocated(),
        FigureUnit::Bytes,
    );
    out.growth("let go, after collecting", after(&auto), GROWTH);
    out.growth("disposed of, after collecting", after(&manual), GROWTH);
    out.ruled(
        "difference",
        (after(&auto) - after(&manual)).abs(),
        FigureUnit::Bytes,
        Side::Below,
        ALIKE * MB,
    );
    out.span(auto.before, manual.after);
    Ok(())
}

fn clean_up_time(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    bench.needs_finalizers()?;
    let keep = |cleanup: &str| json!({ "n": 1_000, "fate": "keep", "cleanup": cleanup });
    let before = bench.collect(None)?.memory;
    bench.batch(&keep("manual"))?;
    let manual = bench.release("dispose")?;
    let between = bench.collect(Some(&before))?.memory;
    bench.batch(&keep("auto"))?;
    bench.release("drop")?;
    let gone = bench.collect(Some(&between))?;
    let auto = gone.finalised.unwrap_or(f64::NAN);
    out.told("disposing of 1,000", manual, FigureUnit::Seconds);
    out.told("collecting and finalising 1,000", auto, FigureUnit::Seconds);
    out.told(
        "let go : disposed of (the document expects 3x)",
        auto / manual,
        FigureUnit::Times,
    );
    out.span(before, gone.memory);
    Ok(())
}

fn pressure(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    let command = json!({ "n": 10, "rows": LARGE, "fate": "dispose", "use": true });
    heap_rounds(bench, out, command, 10, GROWTH).map(drop)
}

fn interleaved_use(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    let command = json!({ "n": 100, "alternate": true, "use": true });
    heap_rounds(bench, out, command, 10, GROWTH).map(drop)
}

fn batches(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "dispose"])?;
    bench.needs_finalizers()?;
    let auto = bench.rounds(
        &rounds(json!({ "n": 200, "fate": "drop", "use": true }), 10),
        out,
    )?;
    let manual = bench.rounds(&rounds(dispose_of(200), 10), out)?;
    out.growth("heap growth, let go", auto.heap_growth(), GROWTH);
    out.growth("heap growth, disposed of", manual.heap_growth(), GROWTH);
    Ok(())
}

fn http_handler(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "use", "dispose"])?;
    let command = json!({ "n": 100, "rows": 100, "fate": "dispose", "use": true });
    heap_rounds(bench, out, command, 10, GROWTH).map(drop)
}

fn cli_tool(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create", "use"])?;
    bench.needs_finalizers()?;
    let command = json!({ "n": 100, "rows": 100, "fate": "drop", "use": true });
    heap_rounds(bench, out, command, 10, GROWTH).map(drop)
}

/* A6 */

fn large(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let held = Held::of(bench, &json!({ "n": 100, "rows": LARGE }), "drop")?;
    out.told("100 alive", held.allocated(), FigureUnit::Bytes);
    out.growth(
        "heap growth",
        held.after.heap_used - held.before.heap_used,
        20.0,
    );
    left_alive(out, &held.before, &held.after, false);
    out.span(held.before, held.after);
    out.replay = Some(json!({ "n": 20, "rows": LARGE }));
    Ok(())
}

fn sustained(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    // Far enough below the limit for what a round began with.
    let command = json!({
        "ms": 1_800, "rows": 10, "fate": "drop", "use": true, "peak": 10, "collect_above": 0.8 * PEAK_MB * MB,
    });
    let readings = bench.rounds(&rounds(command, 15), out)?;
    out.told("operations", readings.operations as f64, FigureUnit::Count);
    let above = |heap: f64| heap - readings.before.heap_used;
    out.growth(
        "peak of the heap, above its beginning",
        above(readings.peak_heap),
        PEAK_MB,
    );
    out.told(
        "the same with what waits for a collection",
        above(readings.highest_heap),
        FigureUnit::BytesChange,
    );
    out.growth("heap growth", readings.heap_growth(), 20.0);
    let peak_linear = readings.peak_linear - readings.before.linear;
    out.told(
        "peak of linear memory",
        peak_linear,
        FigureUnit::BytesChange,
    );
    left_alive(out, &readings.before, &readings.after, true);
    Ok(())
}

fn spike(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let held = Held::of(bench, &json!({ "n": 200, "rows": LARGE }), "drop")?;
    held.tell(out, 0.8);
    out.replay = Some(json!({ "n": 20, "rows": LARGE }));
    Ok(())
}

fn wide(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let command = json!({ "n": 10, "rows": 10, "columns": 100, "fate": "drop" });
    heap_rounds(bench, out, command, 10, 15.0).map(drop)
}

fn stability(bench: &mut Bench<'_>, out: &mut Findings) -> Result {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let command = json!({ "n": 100, "rows": 100, "fate": "drop", "use": true });
    let readings = bench.rounds(&rounds(command, 10), out)?;
    out.growth("drift of the heap", readings.heap_growth(), GROWTH);
    left_alive(out, &readings.before, &readings.after, true);
    Ok(())
}
