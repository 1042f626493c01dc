//! The hands of a check: what can be done with the subject, what is measured of it, and how a check comes to its state.

use std::time::{Duration, Instant};

use plimsoll_judge as judge;
use plimsoll_model::{
    Cancel, CheckRecord, CheckState, Culprit, Event, Figure, FigureUnit, MemoryColumns, Outcome,
    SeriesVerdict, Side, Verdict, units,
};
use serde_json::{Value, json};

use super::child::{Child, Trouble};
use super::{Check, Suite, Test};
use crate::error::Error;

/// The documents' MB.
pub(crate) const MB: f64 = 1024.0 * 1024.0;
/// Share of the operations that may fail where nothing was meant to.
const MOST_ERRORS: f64 = 0.01;
/// A reading waits so long at least for finalisers.
const LEAST_WAIT: Duration = Duration::from_millis(25);
/// Rounds without operations until the host is at rest, at most.
const MOST_SETTLING: u32 = 24;
/// It is where so many readings in a row are this close to each other.
const LEVEL: u32 = 3;
const SETTLED: f64 = 64.0;
/// A test may take so many times its limit by the clock, as long as it does not by its own time: a busy machine fails nobody.
const OVERLOADED: u32 = 5;
/// Objects of so many cells are large, and growth of one below so many bytes is no leak.
const LARGE_CELLS: u64 = 1_000;
const LARGE_FLOOR: f64 = 256.0;
/// Counts are judged where there are so many operations; fewer must leave nothing.
const COUNTED: u64 = 1_000;
/// Rounds to warm up at most.
const MOST_WARM_UP: u32 = 4;
/// Two readings this close to each other agree.
const AGREES: f64 = 1024.0;
/// How often more rounds are added while the judge is not sure.
const LOOKS: u32 = 5;
/// One thing may take so long beyond the end of its test, so that a test that is late is told from one that hangs.
const OVERTIME: Duration = Duration::from_secs(5);

/// What a collection left.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Collected {
    pub(crate) memory: MemoryColumns,
    /// Seconds until nothing was left that should be gone; `None` if the wait was over before.
    pub(crate) finalised: Option<f64>,
}

/// What became of a batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) done: u64,
    /// Errors that were meant.
    pub(crate) planned: u64,
    /// Invalid input that was taken.
    pub(crate) accepted: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_heap: f64,
    /// Before what had grown too much was collected.
    pub(crate) highest_heap: f64,
    pub(crate) peak_linear: f64,
}

/// Rounds of one command.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    pub(crate) command: Value,
    pub(crate) count: u32,
    /// What is judged of them.
    pub(crate) judged: Judged,
}

/// Rounds of a command, by which the heap is judged.
pub(crate) fn rounds(command: Value, count: u32) -> Rounds {
    Rounds {
        command,
        count,
        judged: Judged::JavaScript,
    }
}

/// Which memory a test is about. Each is judged in one place, so that a leak is told where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// The heap, and what its objects own outside of linear memory.
    JavaScript,
    /// The linear memory of WebAssembly, and what the subject counts as alive.
    Linear,
}

impl Rounds {
    /// Whether there are enough operations for counts to be judged. Those by time are many.
    pub(crate) fn counts(&self) -> bool {
        let planned = self.command["n"]
            .as_u64()
            .map(|n| n * u64::from(self.count));
        planned.is_none_or(|planned| planned >= COUNTED)
    }

    /// Growth below which nothing is a leak, where the default cannot be reached: a hundred operations on objects of some
    /// hundred KB are not told apart to the byte.
    fn floor(&self) -> Option<f64> {
        let of = |name: &str| self.command[name].as_u64().unwrap_or(1);
        (of("rows") * of("columns") >= LARGE_CELLS).then_some(LARGE_FLOOR)
    }
}

/// Readings of rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readings {
    pub(crate) before: MemoryColumns,
    pub(crate) after: MemoryColumns,
    pub(crate) operations: u64,
    pub(crate) planned: u64,
    pub(crate) accepted: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_heap: f64,
    /// Before what had grown too much was collected.
    pub(crate) highest_heap: f64,
    pub(crate) peak_linear: f64,
}

impl Readings {
    pub(crate) fn heap_growth(&self) -> f64 {
        self.after.heap_used - self.before.heap_used
    }

    pub(crate) fn linear_growth(&self) -> f64 {
        self.after.linear - self.before.linear
    }
}

/// What a check has found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) figures: Vec<Figure>,
    pub(crate) verdicts: Vec<SeriesVerdict>,
    pub(crate) memory: Option<(MemoryColumns, MemoryColumns)>,
    /// What it came to, in words of its own.
    pub(crate) outcome: Option<String>,
    /// Why it cannot be said, where neither rules nor verdicts know.
    pub(crate) open: Option<String>,
    pub(crate) culprits: Vec<Culprit>,
    pub(crate) hints: Vec<String>,
    /// What made it grow, to be done again for an explanation.
    pub(crate) replay: Option<Value>,
}

impl Findings {
    pub(crate) fn told(&mut self, name: &str, value: f64, unit: FigureUnit) {
        self.figures.push(Figure::told(name, value, unit));
    }

    pub(crate) fn ruled(
        &mut self,
        name: &str,
        value: f64,
        unit: FigureUnit,
        side: Side,
        limit: f64,
    ) {
        self.figures
            .push(Figure::ruled(name, value, unit, side, limit));
    }

    /// Growth that must stay below so many MB.
    pub(crate) fn growth(&mut self, name: &str, bytes: f64, below_mb: f64) {
        self.ruled(
            name,
            bytes,
            FigureUnit::BytesChange,
            Side::Below,
            below_mb * MB,
        );
    }

    /// The document's rule that growth may be linear but not exponential; the judge's word on it is what counts.
    pub(crate) fn not_exponential(&mut self) {
        let grows =
            |v: &&SeriesVerdict| v.outcome() == Outcome::Leak && v.verdict.pattern == "exponential";
        let exponential = self.verdicts.iter().filter(grows).count() as f64;
        self.ruled(
            "series that grow exponentially",
            exponential,
            FigureUnit::Count,
            Side::AtMost,
            0.0,
        );
    }

    /// Memory at the beginning and the end, as it is shown: the first beginning and the last end.
    pub(crate) fn span(&mut self, before: MemoryColumns, after: MemoryColumns) {
        let first = self.memory.map_or(before, |(first, _)| first);
        self.memory = Some((first, after));
    }

    /// What it comes to, and why.
    pub(crate) fn state(&self) -> (CheckState, String) {
        let broken = self.figures.iter().filter(|f| f.holds == Some(false));
        let broken: Vec<String> = match &self.outcome {
            Some(outcome) => broken.take(1).map(|_| outcome.clone()).collect(),
            None => broken.map(broken_rule).collect(),
        };
        let of = |outcome| self.verdicts.iter().find(move |v| v.outcome() == outcome);
        if let Some(leak) = of(Outcome::Leak) {
            let mut why = vec![leaks(leak)];
            why.extend(broken);
            return (CheckState::Leak, why.join("; "));
        }
        if !broken.is_empty() {
            return (CheckState::Broken, broken.join("; "));
        }
        if let Some(open) = &self.open {
            return (CheckState::Inconclusive, open.clone());
        }
        match of(Outcome::Inconclusive) {
            Some(open) => {
                let why = format!("{}: {}", open.series, open.verdict.reason);
                (CheckState::Inconclusive, why)
            }
            None => (CheckState::Passed, self.outcome.clone().unwrap_or_default()),
        }
    }
}

/// `heap growth +7.2 MiB, and must be below 5 MiB`.
fn broken_rule(figure: &Figure) -> String {
    let Some(limit) = figure.limit else {
        return String::new();
    };
    let value = if figure.value.is_finite() {
        figure.unit.show(figure.value)
    } else {
        "not reached".to_owned()
    };
    format!(
        "{} {value}, must be {}",
        figure.name,
        limit.phrase(figure.unit)
    )
}

fn leaks(leak: &SeriesVerdict) -> String {
    let Some(growth) = &leak.verdict.growth else {
        return format!("{} grows", leak.series);
    };
    let per = &growth.per;
    let (low, high) = (growth.interval.low, growth.interval.high);
    if leak.series.ends_with("memory") {
        let (rate, interval) = units::signed_bytes_with_interval(growth.rate, low, high);
        format!(
            "{} grows by {rate} per {per} (95 % CI {interval})",
            leak.series
        )
    } else {
        format!(
            "{} grow by {} per {per} (95 % CI {} … {})",
            leak.series,
            units::count(growth.rate),
            units::count(low),
            units::count(high)
        )
    }
}

/// One process with the subject in it, for one test.
pub(crate) struct Bench<'a> {
    events: &'a mut dyn FnMut(Event),
    pub(crate) suite: &'a Suite,
    pub(crate) test: &'static Test,
    pub(crate) child: Child<'a>,
    pub(crate) cancel: &'a Cancel,
    /// Time that counts for no check: explanations.
    pub(crate) aside: Duration,
    /// CPU seconds of processes of this test that are gone, and those that do not count.
    spent: f64,
    /// How long finalisers are waited for at present.
    patience: Duration,
    pub(crate) begun: Instant,
    /// Whether the subject has linear memory, once that is known.
    pub(crate) linear: Option<bool>,
    /// How many objects fit in the slack of linear memory, if that could be told.
    pub(crate) fits: Option<u64>,
}

impl<'a> Bench<'a> {
    pub(crate) fn start(
        suite: &'a Suite,
        test: &'static Test,
        events: &'a mut dyn FnMut(Event),
        cancel: &'a Cancel,
    ) -> Result<Result<Self, Trouble>, Error> {
        let child = match Child::start(suite, cancel)? {
            Ok(child) => child,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let mut bench = Self {
            events,
            suite,
            test,
            child,
            cancel,
            aside: Duration::ZERO,
            spent: 0.0,
            patience: suite.finalizer_wait,
            begun: Instant::now(),
            linear: None,
            fits: None,
        };
        Ok(bench.settle().map(|()| bench))
    }

    /// Tells a line at once.
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        (self.events)(Event::Line(line.into()));
    }

    /// Goes on in a new process: what was done so far has left no trace in it.
    pub(crate) fn restart(&mut self) -> Result<(), Trouble> {
        self.spent += self.child.cpu_seconds();
        self.child = Child::start(self.suite, self.cancel)
            .map_err(|error| Trouble::failed(error.to_string()))??;
        self.settle()
    }

    /// Lets the host itself come to rest: what it is told and answers grows for its first dozen commands.
    fn settle(&mut self) -> Result<(), Trouble> {
        let mut last = f64::NAN;
        let mut level = 0;
        for _ in 0..MOST_SETTLING {
            self.batch(&json!({ "n": 0 }))?;
            let used = self.collect(None)?.memory.heap_used;
            level = if (used - last).abs() <= SETTLED {
                level + 1
            } else {
                0
            };
            if level == LEVEL {
                break;
            }
            last = used;
        }
        Ok(())
    }

    /// Refuses what the subject does not have.
    pub(crate) fn needs(&self, what: &[&str]) -> Result<(), Trouble> {
        match what.iter().find(|what| !self.child.abilities.has(what)) {
            Some(missing) => Err(Trouble::Skipped(format!(
                "the subject exports no `{missing}`"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses a runtime that cannot finalise.
    pub(crate) fn needs_finalizers(&self) -> Result<(), Trouble> {
        if self.child.abilities.finalizers {
            return Ok(());
        }
        Err(Trouble::Skipped(format!(
            "{} has no FinalizationRegistry, so nothing is cleaned up automatically: it came with Node 14.6",
            self.child.abilities.runtime
        )))
    }

    pub(crate) fn tell(&mut self, command: &Value) -> Result<Value, Trouble> {
        let limit = self.suite.limit(self.test);
        if self.is_late(limit) {
            let limit = units::duration(limit.as_secs_f64());
            return Err(Trouble::Late(format!(
                "{} took longer than its {limit}",
                self.test.name
            )));
        }
        self.tell_for(command, limit)
    }

    /// The same for something that takes so long by itself.
    pub(crate) fn tell_for(&mut self, command: &Value, length: Duration) -> Result<Value, Trouble> {
        self.child.tell(command, Instant::now() + length + OVERTIME)
    }

    /// Whether the time of the test is over, by the CPU it took and, where it only waits, by the clock.
    fn is_late(&self, limit: Duration) -> bool {
        let passed = self.begun.elapsed().saturating_sub(self.aside);
        let busy = self.spent + self.child.cpu_seconds();
        passed >= limit && (busy >= limit.as_secs_f64() || passed >= limit * OVERLOADED)
    }

    /// Does what counts for no check.
    pub(crate) fn apart<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let (begun, busy) = (Instant::now(), self.child.cpu_seconds());
        let done = work(self);
        self.aside += begun.elapsed();
        self.spent -= self.child.cpu_seconds() - busy;
        done
    }

    /// A batch, whose errors are counted; unexpected ones end the check.
    pub(crate) fn batch(&mut self, command: &Value) -> Result<Batch, Trouble> {
        let mut command = command.clone();
        command["do"] = "batch".into();
        let said = self.tell(&command)?;
        let number = |name: &str| said[name].as_f64().unwrap_or(0.0);
        let batch = Batch {
            done: number("done") as u64,
            planned: number("planned") as u64,
            accepted: number("accepted") as u64,
            seconds: number("ms") / 1e3,
            peak_heap: number("peak"),
            highest_heap: number("highest"),
            peak_linear: number("peak_linear"),
        };
        self.check_errors(&said, batch.done)?;
        Ok(batch)
    }

    pub(crate) fn check_errors(&self, said: &Value, done: u64) -> Result<(), Trouble> {
        let kinds: Vec<(String, u64)> = said["errors"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(kind, count)| Some((kind.clone(), count.as_u64()?)))
            .collect();
        let errors: u64 = kinds.iter().map(|(_, count)| count).sum();
        if errors as f64 <= MOST_ERRORS * done as f64 {
            return Ok(());
        }
        let kinds: Vec<String> = kinds
            .iter()
            .map(|(kind, n)| format!("{} x {kind}", units::count(*n as f64)))
            .collect();
        Err(Trouble::Failed {
            what: format!(
                "{} of {} operations failed ({}; allowed: {})",
                units::count(errors as f64),
                units::count(done as f64),
                kinds.join(", "),
                units::percent(MOST_ERRORS)
            ),
            details: self.child.details(),
            hint: Some(
                "errors change what the operations retain: mend the subject first".to_owned(),
            ),
        })
    }

    /// Collects, and waits for finalisers until no more is alive than at `expect`.
    pub(crate) fn collect(&mut self, expect: Option<&MemoryColumns>) -> Result<Collected, Trouble> {
        self.collect_within(expect, self.suite.finalizer_wait)
    }

    fn collect_within(
        &mut self,
        expect: Option<&MemoryColumns>,
        wait: Duration,
    ) -> Result<Collected, Trouble> {
        let expected = expect.map(|m| json!({ "live": m.live, "resources": m.resources }));
        let said = self.tell(&json!({
            "do": "collect", "wait_ms": wait.as_millis() as u64, "expect": expected,
        }))?;
        Ok(Collected {
            memory: columns(&said),
            finalised: said["finalised_ms"].as_f64().map(|ms| ms / 1e3),
        })
    }

    /// Memory as it stands, uncollected.
    pub(crate) fn measure(&mut self) -> Result<MemoryColumns, Trouble> {
        Ok(columns(&self.tell(&json!({ "do": "measure" }))?))
    }

    /// Lets go of what is kept, by disposing of it or by forgetting it; seconds that took.
    pub(crate) fn release(&mut self, fate: &str) -> Result<f64, Trouble> {
        let said = self.tell(&json!({ "do": "release", "fate": fate }))?;
        self.check_errors(&said, said["done"].as_u64().unwrap_or(0))?;
        Ok(said["ms"].as_f64().unwrap_or(0.0) / 1e3)
    }

    /// Rounds of one command after one to warm up, each followed by a collection; more of them while the judge is not
    /// sure and time is left.
    pub(crate) fn rounds(
        &mut self,
        plan: &Rounds,
        findings: &mut Findings,
    ) -> Result<Readings, Trouble> {
        let (warm_up, mut last) = self.warm_up(&plan.command)?;
        let mut readings = Readings {
            before: last,
            after: last,
            peak_heap: last.heap_used,
            highest_heap: last.heap_used,
            peak_linear: last.linear,
            ..Readings::default()
        };
        let mut series = SeriesOf::begin(&last, plan.judged, plan.counts());
        series.push(self.begun.elapsed(), 0, &last);
        let mut verdicts = Vec::new();
        for look in 1..=LOOKS {
            for round in 1..=plan.count {
                let batch = self.batch(&plan.command)?;
                readings.operations += batch.done;
                readings.planned += batch.planned;
                readings.accepted += batch.accepted;
                readings.seconds += batch.seconds;
                readings.peak_heap = readings.peak_heap.max(batch.peak_heap);
                readings.highest_heap = readings.highest_heap.max(batch.highest_heap);
                readings.peak_linear = readings.peak_linear.max(batch.peak_linear);
                last = if round < plan.count {
                    self.patiently(&last)?
                } else {
                    // What the rules are held against is waited for as long as it was at the beginning: one round in which a
                    // busy machine let the finalisers wait must not make the rest of them hasty.
                    self.patience = self.suite.finalizer_wait;
                    self.patiently(&readings.before)?
                };
                series.push(self.begun.elapsed(), readings.operations, &last);
            }
            verdicts = series.judge(look, warm_up, plan.floor());
            let is_open = verdicts
                .iter()
                .any(|v| v.outcome() == Outcome::Inconclusive);
            let is_leak = verdicts.iter().any(|v| v.outcome() == Outcome::Leak);
            // As long again must still leave time for the checks that follow.
            if !is_open || is_leak || self.is_late(self.suite.limit(self.test) * 2 / 3) {
                break;
            }
        }
        readings.after = last;
        findings.verdicts.extend(verdicts);
        findings.span(readings.before, readings.after);
        findings.replay = Some(plan.command.clone());
        self.patience = self.suite.finalizer_wait;
        Ok(readings)
    }

    /// The command until two readings agree, or a few times: how many operations that were, and the last reading.
    fn warm_up(&mut self, command: &Value) -> Result<(u64, MemoryColumns), Trouble> {
        let before = self.collect(None)?.memory;
        let mut operations = self.batch(command)?.done;
        let mut last = self.patiently(&before)?;
        for _ in 1..MOST_WARM_UP {
            operations += self.batch(command)?.done;
            let next = self.patiently(&before)?;
            let agrees = (next.javascript() - last.javascript()).abs() <= AGREES;
            last = next;
            if agrees {
                break;
            }
        }
        Ok((operations, last))
    }

    /// Collects after a round. What does not go within the wait is not waited for as long again: it stays, or its
    /// finaliser is slow, and both show.
    fn patiently(&mut self, before: &MemoryColumns) -> Result<MemoryColumns, Trouble> {
        let collected = self.collect_within(Some(before), self.patience)?;
        if collected.finalised.is_none() {
            self.patience = (self.patience / 4).max(LEAST_WAIT);
        }
        Ok(collected.memory)
    }
}

/// A check that was not begun, or came to nothing, has a record too.
pub(crate) fn record_of(
    (suite, test, check): (&Suite, &Test, &Check),
    seconds: f64,
    (state, why): (CheckState, String),
    findings: Findings,
) -> CheckRecord {
    CheckRecord {
        test: test.name.to_owned(),
        name: check.name.to_owned(),
        title: check.title.to_owned(),
        state,
        why,
        seconds,
        limit_s: suite.limit(test).as_secs_f64(),
        figures: findings.figures,
        memory: findings.memory,
        verdicts: findings.verdicts,
        culprits: findings.culprits,
        hints: findings.hints,
    }
}

/// A measurement as the host says it.
pub(crate) fn columns(said: &Value) -> MemoryColumns {
    let number = |name: &str| said[name].as_f64();
    MemoryColumns {
        heap_used: number("heap_used").unwrap_or(f64::NAN),
        external: number("external").unwrap_or(0.0),
        array_buffers: number("array_buffers"),
        linear: number("linear").unwrap_or(0.0),
        memories: said["memories"].as_u64().unwrap_or(0),
        rss: number("rss").unwrap_or(f64::NAN),
        live: number("live"),
        resources: number("resources"),
    }
}

/// The series that a test judges.
pub(crate) struct SeriesOf {
    series: Vec<(&'static str, judge::Series, Read)>,
}

/// What of a measurement is a series.
type Read = fn(&MemoryColumns) -> f64;

impl SeriesOf {
    pub(crate) fn begin(first: &MemoryColumns, judged: Judged, counts: bool) -> Self {
        let mut of: Vec<(&'static str, judge::Quantity, Read)> = Vec::new();
        match judged {
            Judged::JavaScript => {
                of.push((
                    "JavaScript memory",
                    judge::Quantity::Bytes,
                    MemoryColumns::javascript,
                ));
            }
            Judged::Linear => {
                of.push(("linear memory", judge::Quantity::Bytes, |m| m.linear));
                if counts && first.resources.is_some() {
                    let resources: Read = |m| m.resources.unwrap_or(f64::NAN);
                    of.push(("live resources", judge::Quantity::Count, resources));
                }
            }
        }
        if counts && first.live.is_some() {
            let live: Read = |m| m.live.unwrap_or(f64::NAN);
            of.push(("live objects", judge::Quantity::Count, live));
        }
        let series = of
            .into_iter()
            .map(|(metric, quantity, read)| {
                let series = judge::Series {
                    metric: metric.replace(' ', "_").to_lowercase(),
                    quantity,
                    resolution: 1.0,
                    ..judge::Series::default()
                };
                (metric, series, read)
            })
            .collect();
        Self { series }
    }

    pub(crate) fn push(&mut self, at: Duration, operations: u64, memory: &MemoryColumns) {
        for (_, series, read) in &mut self.series {
            series.push(judge::Reading {
                t_ns: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
                value: read(memory),
                ops: operations as f64,
                collected: true,
                ..judge::Reading::default()
            });
        }
    }

    pub(crate) fn judge(&self, look: u32, warm_up: u64, floor: Option<f64>) -> Vec<SeriesVerdict> {
        let terms = |quantity| judge::Terms {
            floor: floor.filter(|_| quantity == judge::Quantity::Bytes),
            look,
            looks: LOOKS,
            warm_up_operations: warm_up,
            ..judge::Terms::default()
        };
        let series = self.series.iter();
        let mut family: Vec<judge::Verdict> = series
            .map(|(_, s, _)| judge::judge(s, &terms(s.quantity)))
            .collect();
        judge::correct_family(&mut family);
        let named = self.series.iter().zip(&family);
        named
            .map(|((name, ..), verdict)| SeriesVerdict {
                series: (*name).to_owned(),
                verdict: Verdict::from(verdict),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(read: impl Fn(u64) -> f64) -> SeriesOf {
        let at = |i: u64| MemoryColumns {
            heap_used: read(i),
            live: Some(0.0),
            ..MemoryColumns::default()
        };
        let mut series = SeriesOf::begin(&at(0), Judged::JavaScript, true);
        for i in 0..=10 {
            series.push(Duration::from_millis(i * 20), i * 1_000, &at(i));
        }
        series
    }

    #[test]
    fn what_grows_is_a_leak_and_what_stays_is_none() {
        let outcomes = |series: &SeriesOf| -> Vec<Outcome> {
            series
                .judge(1, 1_000, None)
                .iter()
                .map(SeriesVerdict::outcome)
                .collect()
        };
        let level = series(|i| 4e6 + (i % 2) as f64 * 200.0);
        assert_eq!(outcomes(&level), [Outcome::NoLeak, Outcome::NoLeak]);
        let grows = series(|i| 4e6 + i as f64 * 100_000.0);
        assert_eq!(outcomes(&grows), [Outcome::Leak, Outcome::NoLeak]);
    }

    #[test]
    fn a_leak_is_said_before_a_broken_rule_and_both_before_doubt() {
        let mut findings = Findings {
            open: Some("not enough".to_owned()),
            ..Findings::default()
        };
        assert_eq!(findings.state().0, CheckState::Inconclusive);
        findings.growth("heap growth", 6.0 * MB, 5.0);
        let (state, why) = findings.state();
        assert_eq!(state, CheckState::Broken);
        assert_eq!(why, "heap growth +6.00 MiB, must be below 5.00 MiB");
        findings.verdicts = series(|i| 4e6 + i as f64 * 100_000.0).judge(1, 0, None);
        let (state, why) = findings.state();
        assert_eq!(state, CheckState::Leak);
        assert!(
            why.starts_with("JavaScript memory grows by +100 B per operation"),
            "{why}"
        );
    }
}
