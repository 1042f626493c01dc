//! The soak: a hundred objects a minute for a day or for days, a row of CSV for each minute, and what the rows say.
//!
//! The table is the memory of a soak. A row is written as a whole or not at all, so that a soak that was killed goes on
//! where its table ends; each start is noted beside it, because memory begins anew with a new process. Time is the
//! monotonic clock's: a wall clock that is set changes nothing but the stamps.

mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use plimsoll_model::{FigureUnit, MemoryColumns, Outcome, Side, units};
use serde_json::json;

use self::table::{Row, Table};
use super::bench::{Bench, Findings, Judged, SeriesOf};
use super::child::Trouble;
use super::{Check, HoursFlags, Suite, Test};
use crate::error::Error;

/// The document's length, in hours.
pub(crate) const HOURS: f64 = 24.0;
/// Objects of a sample.
pub(crate) const PER_SAMPLE: u64 = 100;
/// The document's table.
const CSV: &str = "soak_test_results.csv";
/// Between samples.
pub(crate) const INTERVAL: Duration = Duration::from_mins(1);
/// Samples from one forced collection to the next: the document's is one in a hundred, too few to be judged in a day.
const EVERY: u64 = 10;
/// Objects that a soak creates at least.
const LEAST_CREATED: u64 = 100_000;
/// What a start and the last collection may take beside the hours.
const BESIDE: Duration = Duration::from_mins(5);
/// Collected readings that can be judged.
const FEWEST: usize = 6;
/// Lines of progress of all of it.
const LINES: u64 = 24;
/// Warm-up before the first row of a process, in samples.
const WARM_UP: u64 = 10;

pub(crate) static TESTS: [Test; 1] = [Test {
    name: "soak",
    row: "A7",
    limit: BESIDE,
    checks: &[Check::new(
        "stability",
        "objects created and used for hours",
        stability,
    )],
}];

/// How long a soak is, and how it is shortened.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) hours: f64,
    pub(crate) per_sample: u64,
    pub(crate) interval: Duration,
    /// How many times faster than planned.
    pub(crate) compress: f64,
    pub(crate) csv: PathBuf,
    pub(crate) resume: bool,
}

impl Plan {
    /// # Errors
    /// If a number makes no sense, or a table that is there would be overwritten.
    pub(crate) fn of(flags: &HoursFlags) -> Result<Self, Error> {
        let plan = Self {
            hours: positive("--hours", flags.hours, HOURS)?,
            per_sample: flags.per_sample.unwrap_or(PER_SAMPLE),
            interval: flags.interval.unwrap_or(INTERVAL),
            compress: positive("--compress", flags.compress, 1.0)?,
            csv: flags.csv.clone().unwrap_or_else(|| CSV.into()),
            resume: flags.resume,
        };
        if plan.interval.is_zero() || plan.per_sample == 0 {
            return Err(Error::usage(
                "a soak without objects or without time between samples is none",
                "--per-sample 100 --interval 60s are the defaults",
            ));
        }
        if !plan.resume && plan.csv.exists() {
            return Err(Error::usage(
                format!("{} is there already", plan.csv.display()),
                "`--resume` goes on where it ends, `--csv` names another one",
            ));
        }
        Ok(plan)
    }

    /// Where the heap is written to where it grew.
    pub(crate) fn snapshots(&self) -> PathBuf {
        let mut name = self.csv.as_os_str().to_owned();
        name.push(".snapshots");
        name.into()
    }

    /// Samples of all of it.
    fn samples(&self) -> u64 {
        (self.hours * 3600.0 / self.interval.as_secs_f64())
            .round()
            .max(1.0) as u64
    }

    /// Time from sample to sample as it is run.
    fn period(&self) -> Duration {
        self.interval.div_f64(self.compress)
    }

    /// How long all of it takes.
    pub(crate) fn length(&self) -> Duration {
        self.period().mul_f64(self.samples() as f64)
    }

    /// What must be said of it: what a shorter one does not show.
    pub(crate) fn notes(&self) -> Vec<String> {
        let created = self.samples() * self.per_sample;
        let mut notes = Vec::new();
        if created < LEAST_CREATED {
            notes.push(format!(
                "{} objects in all are fewer than the {} that a soak is to create",
                units::count(created as f64),
                units::count(LEAST_CREATED as f64)
            ));
        }
        if self.compress > 1.0 {
            let rate = self.per_sample as f64 / self.interval.as_secs_f64();
            notes.push(format!(
                "compressed {}x: {} hours of the plan in {}, {} objects and {} forced collections as in the whole length, {} a second in place of {}",
                units::count(self.compress),
                units::count(self.hours),
                units::duration(self.length().as_secs_f64()),
                units::count(created as f64),
                units::count((self.samples() / EVERY) as f64),
                units::count(rate * self.compress),
                units::count(rate),
            ));
            notes.push(
                "equal operations are not equal hours: what follows time is not shown (timers, cron jobs, time-outs, log rotation), caches with a time to live hold more than they would, the collector is never idle, and the table's elapsed hours are those of the plan"
                    .to_owned(),
            );
        }
        notes
    }
}

fn stability(bench: &mut Bench<'_>, out: &mut Findings) -> Result<(), Trouble> {
    bench.needs(&["create"])?;
    bench.needs_finalizers()?;
    let suite: &Suite = bench.suite;
    let Some(plan) = &suite.soak else {
        return Err(Trouble::Skipped("no soak was planned".to_owned()));
    };
    let (mut table, resumed) = Table::open(&plan.csv, plan.resume)?;
    let samples = plan.samples();
    let done_before = resumed.rows.len() as u64;
    if done_before > 0 {
        bench.say(format!(
            "goes on after row {} of {}",
            units::count(done_before as f64),
            units::count(samples as f64)
        ));
    }
    let command =
        json!({ "n": plan.per_sample, "fate": "drop", "use": bench.child.abilities.has("use") });
    let start = bench.collect(None)?.memory;
    for _ in 0..WARM_UP {
        bench.batch(&command)?;
    }
    let first = bench.collect(Some(&start))?.memory;
    let mut series = SeriesOf::begin(&first, Judged::JavaScript, true);
    let begun = Instant::now();
    series.push(Duration::ZERO, 0, &first);
    let mut last = first;
    let mut created_now = 0;
    let mut collected: Vec<(f64, f64)> = vec![(plan.hours_at(done_before), first.heap_used)];
    for sample in done_before..samples {
        // Late samples are not made up for: the next ones come at their own time.
        let due = plan.period().mul_f64((sample - done_before) as f64);
        rest_until(bench, begun + due)?;
        created_now += bench.batch(&command)?.done;
        let is_collected = (sample + 1) % EVERY == 0 || sample + 1 == samples;
        let memory = if is_collected {
            bench.collect(Some(&first))?.memory
        } else {
            bench.measure()?
        };
        // A compressed hour is one of the plan: a machine that lags does not stretch it.
        let hours = if plan.compress > 1.0 {
            plan.hours_at(sample)
        } else {
            plan.hours_at(done_before) + begun.elapsed().as_secs_f64() / 3600.0
        };
        if is_collected {
            series.push(begun.elapsed(), created_now, &memory);
            collected.push((hours, memory.heap_used));
            last = memory;
        }
        table.add(Row {
            unix_ms: crate::place::unix_now() / 1_000_000,
            hours,
            heap: memory.heap_used,
            rss: memory.rss,
            created: (sample + 1) * plan.per_sample,
        })?;
        if (sample + 1) % samples.div_ceil(LINES) == 0 {
            bench.say(format!(
                "{:.1} h: {} created, heap {}, RSS {}",
                hours,
                units::count(((sample + 1) * plan.per_sample) as f64),
                units::bytes(memory.heap_used),
                units::bytes(memory.rss)
            ));
        }
    }
    out.verdicts = series.judge(1, WARM_UP * plan.per_sample, None);
    out.span(first, last);
    if plan.compress > 1.0 && done_before == 0 {
        let reached = plan.hours * 3600.0 / begun.elapsed().as_secs_f64();
        out.told("compression that was reached", reached, FigureUnit::Times);
    }
    conclude(plan, out, (first, last), &collected, samples, resumed.lives);
    out.replay = Some(command);
    Ok(())
}

/// The rules of the document on what this process lived through.
fn conclude(
    plan: &Plan,
    out: &mut Findings,
    (first, last): (MemoryColumns, MemoryColumns),
    collected: &[(f64, f64)],
    samples: u64,
    lives: u64,
) {
    out.told("rows", samples as f64, FigureUnit::Count);
    out.told(
        "created",
        (samples * plan.per_sample) as f64,
        FigureUnit::Count,
    );
    if lives > 0 {
        out.told(
            "processes, of which the last is judged",
            (lives + 1) as f64,
            FigureUnit::Count,
        );
    }
    let hourly = slope(collected) / first.heap_used;
    out.ruled(
        "growth of the heap",
        hourly,
        FigureUnit::RatioPerHour,
        Side::Below,
        0.01,
    );
    let ratio = last.heap_used / first.heap_used;
    out.ruled(
        "heap at the end : at the beginning",
        ratio,
        FigureUnit::Times,
        Side::Below,
        2.0,
    );
    out.not_exponential();
    let leak = out.verdicts.iter().find(|v| v.outcome() == Outcome::Leak);
    if let Some(leak) = leak.filter(|v| v.verdict.pattern != "exponential") {
        out.hints.push(format!(
            "the growth is {}: the document calls linear growth acceptable, the judge does not, whatever its shape",
            leak.verdict.pattern
        ));
    }
    if collected.len() < FEWEST {
        out.hints.push(
            "too few collected readings since the last start to judge it: a longer soak has more"
                .to_owned(),
        );
    }
}

impl Plan {
    /// Where in the plan the rows before stand.
    fn hours_at(&self, rows: u64) -> f64 {
        rows as f64 * self.interval.as_secs_f64() / 3600.0
    }
}

/// A number of a flag that must be more than nothing.
pub(crate) fn positive(flag: &str, given: Option<f64>, default: f64) -> Result<f64, Error> {
    const MOST: f64 = 1e6;
    match given.unwrap_or(default) {
        value if value > 0.0 && value <= MOST => Ok(value),
        value => Err(Error::usage(
            format!("{flag} {value} is not between 0 and {MOST}"),
            format!("{flag} {default} is the default"),
        )),
    }
}

/// Least squares, in the unit of the readings an hour; level where there is nothing to fit.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let (mut above, mut below) = (0.0, 0.0);
    for point in points {
        above += (point.0 - x) * (point.1 - y);
        below += (point.0 - x) * (point.0 - x);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

/// Lets time pass, watching the subject and the cancel request.
fn rest_until(bench: &Bench<'_>, until: Instant) -> Result<(), Trouble> {
    let left = until.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        bench.child.subject().wait_exit(left, bench.cancel);
    }
    if bench.cancel.is_cancelled() {
        return Err(Trouble::Interrupted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_1440_samples_whatever_its_speed() {
        let plan = Plan {
            hours: HOURS,
            per_sample: PER_SAMPLE,
            interval: INTERVAL,
            compress: 360.0,
            csv: "soak.csv".into(),
            resume: false,
        };
        assert_eq!(plan.samples(), 1_440);
        assert_eq!(plan.length().as_secs(), 240);
        let notes = plan.notes().join("\n");
        assert!(
            notes.contains("compressed 360x") && notes.contains("144,000 objects"),
            "{notes}"
        );
        assert!(notes.contains("not equal hours"), "{notes}");
        let whole = Plan {
            compress: 1.0,
            ..plan
        };
        assert_eq!(whole.notes(), [""; 0]);
    }

    #[test]
    fn a_line_has_its_slope() {
        assert!((slope(&[(0.0, 10.0), (1.0, 12.0), (2.0, 14.0)]) - 2.0).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 10.0)]), 0.0);
    }
}
