//! A server around the subject, loaded over HTTP: CSV uploaded, parsed, filtered, aggregated, JSON back.
//!
//! The document's simulation has no server, sends no heading and waits after the work instead of until the next request is
//! due. Here a real server listens on the loopback, requests come when they are due, each 1,000 of them are followed by a
//! collection, and in the end a spike shows whether memory comes back.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use plimsoll_load::{Driver, HttpDriver, HttpRequest};
use plimsoll_model::{Cx, FigureUnit, Mode, RoundSpec, RoundStats, Side, units};
use serde_json::json;

use super::bench::{Bench, Findings, Judged, MB, SeriesOf};
use super::child::Trouble;
use super::soak::positive;
use super::{Check, HoursFlags, Test};
use crate::error::Error;

/// The document's length, in hours.
const HOURS: f64 = 2.0;
/// The document's rate, an hour.
const RATE: f64 = 10_000.0;
/// Requests from one line, and one collection, to the next.
const STEP: u64 = 1_000;
/// Of fewer requests there are as many lines at least.
const FEWEST_STEPS: u64 = 12;
/// Requests before any that count.
const WARM_UP: u64 = 2_000;
const ROWS: u64 = 100;
/// Requests of the spike, all at once as far as connections go.
const SPIKE: u64 = 2_000;
const SPIKE_CONCURRENCY: u32 = 50;
const CONCURRENCY: u32 = 10;
/// Requests that may fail.
const MOST_ERRORS: f64 = 0.01;
/// What a start, the spike and the collections may take beside the hours.
const BESIDE: Duration = Duration::from_mins(5);
/// How long one step may take beyond its own time.
const PATIENCE: Duration = Duration::from_mins(1);
/// Within so much of the level before it, memory is back.
const BACK_MB: f64 = 1.0;
/// Below this an answer is fast whatever its neighbours took.
const FAST_S: f64 = 0.005;

pub(crate) static TESTS: [Test; 1] = [Test {
    name: "http_server",
    row: "A8",
    limit: BESIDE,
    checks: &[Check::new(
        "requests",
        "upload, parse, filter, aggregate, answer",
        requests,
    )],
}];

/// How many requests, and how fast.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    hours: f64,
    /// An hour.
    rate: f64,
    compress: f64,
}

impl Plan {
    /// # Errors
    /// If a number makes no sense.
    pub(crate) fn of(flags: &HoursFlags) -> Result<Self, Error> {
        Ok(Self {
            hours: positive("--hours", flags.hours, HOURS)?,
            rate: positive("--rate", flags.rate, RATE)?,
            compress: positive("--compress", flags.compress, 1.0)?,
        })
    }

    fn requests(&self) -> u64 {
        (self.hours * self.rate).round().max(1.0) as u64
    }

    /// Requests a second as it is run.
    fn per_second(&self) -> f64 {
        self.rate * self.compress / 3600.0
    }

    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.hours * 3600.0 / self.compress)
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        if self.compress <= 1.0 {
            return Vec::new();
        }
        vec![format!(
            "compressed {}x: {} requests as in {} hours, {} a second in place of {}; what follows time is not shown (time-outs, sessions and caches with a time to live, an idle collector)",
            units::count(self.compress),
            units::count(self.requests() as f64),
            units::count(self.hours),
            units::count(self.per_second()),
            units::count(self.rate / 3600.0)
        )]
    }
}

/// A table of people with a heading; the first of them is another in every request.
fn upload() -> String {
    let rows = (0..ROWS).map(|i| {
        let name = if i == 0 {
            "user{{seq}}".to_owned()
        } else {
            format!("user{i}")
        };
        format!("{name},{},{}.5\n", 20 + i % 50, i * 7 % 100)
    });
    std::iter::once("name,age,score\n".to_owned())
        .chain(rows)
        .collect()
}

/// A client of the server.
struct Client {
    driver: HttpDriver,
    per_second: f64,
}

impl Client {
    fn round(
        &mut self,
        bench: &Bench<'_>,
        operations: u64,
        mode: Mode,
    ) -> Result<RoundStats, Trouble> {
        let length = Duration::from_secs_f64(operations as f64 / self.per_second);
        let cx = Cx::within(bench.cancel, length + PATIENCE);
        let stats = match self.driver.round(&RoundSpec::new(operations, mode), &cx) {
            Ok(stats) => stats,
            Err(plimsoll_load::Error::Cancelled { .. }) => return Err(Trouble::Interrupted),
            Err(error) => return Err(bench.child.lost(&error)),
        };
        let errors = stats.errors();
        if errors as f64 > MOST_ERRORS * operations as f64 {
            let kinds: Vec<String> = stats
                .errors_by_kind
                .iter()
                .map(|(kind, n)| format!("{} x {kind}", units::count(*n as f64)))
                .collect();
            // A server that dies shows as errors first.
            if let Some(death) = bench.child.death() {
                return Err(death);
            }
            return Err(Trouble::Failed {
                what: format!(
                    "{} of {} requests failed ({})",
                    units::count(errors as f64),
                    units::count(operations as f64),
                    kinds.join(", ")
                ),
                details: bench.child.details(),
                hint: None,
            });
        }
        let cx = Cx::within(bench.cancel, PATIENCE);
        let _ = self.driver.quiesce(&cx);
        Ok(stats)
    }
}

fn requests(bench: &mut Bench<'_>, out: &mut Findings) -> Result<(), Trouble> {
    let own = bench.child.abilities.has("server");
    if !own {
        bench.needs(&["parse", "aggregate"])?;
    }
    let Some(plan) = bench.suite.http.clone() else {
        return Err(Trouble::Skipped("no requests were planned".to_owned()));
    };
    let mut client = begin(bench, own, plan.per_second())?;
    client.round(
        bench,
        WARM_UP,
        Mode::Closed {
            concurrency: CONCURRENCY,
        },
    )?;
    // As they come later, over as many connections: those are memory too.
    let mode = Mode::Open {
        rate: plan.per_second(),
        concurrency: CONCURRENCY,
        most: CONCURRENCY,
    };
    let total = plan.requests();
    let step = STEP.min(total.div_ceil(FEWEST_STEPS));
    client.round(bench, step, mode)?;
    let before = bench.collect(None)?.memory;
    let mut series = SeriesOf::begin(&before, Judged::JavaScript, true);
    let begun = Instant::now();
    series.push(begun.elapsed(), 0, &before);
    let mut last = before;
    let mut done = 0;
    let mut medians = Vec::new();
    while done < total {
        let step = step.min(total - done);
        let stats = client.round(bench, step, mode)?;
        done += step;
        medians.push(stats.latency.p50_ns as f64 / 1e9);
        last = bench.collect(Some(&before))?.memory;
        series.push(begun.elapsed(), done, &last);
        bench.say(format!(
            "{:.1} min: {} requests, heap {}, median {}",
            begun.elapsed().as_secs_f64() / 60.0,
            units::count(done as f64),
            units::bytes(last.heap_used),
            units::latency(stats.latency.p50_ns)
        ));
    }
    client.round(
        bench,
        SPIKE,
        Mode::Closed {
            concurrency: SPIKE_CONCURRENCY,
        },
    )?;
    // The connections of the spike are gone again before memory is looked at.
    client.round(
        bench,
        STEP.min(total),
        Mode::Closed {
            concurrency: CONCURRENCY,
        },
    )?;
    let back = bench.collect(Some(&before))?.memory;
    out.verdicts = series.judge(1, WARM_UP, None);
    out.span(before, back);
    out.told("requests", done as f64, FigureUnit::Count);
    out.growth("heap growth", last.heap_used - before.heap_used, 10.0);
    let above = back.javascript() - last.javascript();
    out.ruled(
        "above the level before the spike",
        above,
        FigureUnit::BytesChange,
        Side::Below,
        BACK_MB * MB,
    );
    out.told(
        "linear memory growth",
        back.linear - before.linear,
        FigureUnit::BytesChange,
    );
    consistent(out, &medians);
    out.replay = Some(json!({ "request": upload() }));
    Ok(())
}

/// Answers in the last third take no more than twice those of the first, unless all are fast.
fn consistent(out: &mut Findings, medians: &[f64]) {
    let third = medians.len().div_ceil(3);
    let median = |part: &[f64]| {
        let mut part = part.to_vec();
        part.sort_by(f64::total_cmp);
        part.get(part.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let first = median(&medians[..third.min(medians.len())]);
    let last = median(&medians[medians.len().saturating_sub(third)..]);
    out.told("median answer, first third", first, FigureUnit::Seconds);
    out.told("median answer, last third", last, FigureUnit::Seconds);
    let ratio = last / first;
    if last > FAST_S {
        out.ruled(
            "last third : first third",
            ratio,
            FigureUnit::Times,
            Side::AtMost,
            2.0,
        );
    } else {
        out.told("last third : first third", ratio, FigureUnit::Times);
    }
}

/// Starts the server in the subject's process, and a client.
fn begin(bench: &mut Bench<'_>, own: bool, per_second: f64) -> Result<Client, Trouble> {
    let port = if own {
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
        free.map_err(|error| Trouble::failed(format!("no free port: {error}")))?
            .port()
    } else {
        0
    };
    let said = bench.tell(&json!({ "do": "serve", "port": port }))?;
    let port = said["port"].as_u64().unwrap_or_default();
    let route = said["route"].as_str().unwrap_or("/");
    let until = Instant::now() + PATIENCE;
    while !crate::ready::accepts(u16::try_from(port).unwrap_or_default()) {
        if let Some(death) = bench.child.death() {
            return Err(death);
        }
        if Instant::now() >= until {
            return Err(Trouble::failed(format!(
                "nobody listens on port {port}, the PORT that its server was given"
            )));
        }
    }
    let request = HttpRequest {
        method: "POST".to_owned(),
        headers: vec![("content-type".to_owned(), "text/csv".to_owned())],
        body: Some(upload().into_bytes()),
        ..HttpRequest::get(format!("http://127.0.0.1:{port}{route}"))
    };
    let driver = HttpDriver::try_new(request, CONCURRENCY)
        .map_err(|error| Trouble::failed(error.to_string()))?;
    Ok(Client { driver, per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_a_heading_and_100_rows() {
        let text = upload();
        assert_eq!(text.lines().count(), 101);
        assert!(
            text.starts_with("name,age,score\nuser{{seq}},20,0.5\n"),
            "{text}"
        );
    }

    #[test]
    fn slow_answers_must_stay_as_slow_as_they_were() {
        let holds = |medians: &[f64]| {
            let mut out = Findings::default();
            consistent(&mut out, medians);
            out.figures.last().and_then(|f| f.holds)
        };
        assert_eq!(holds(&[0.010, 0.011, 0.012]), Some(true));
        assert_eq!(holds(&[0.010, 0.011, 0.022]), Some(false));
        assert_eq!(holds(&[0.001, 0.002, 0.004]), None);
        assert_eq!(holds(&[0.010]), Some(true));
    }
}
