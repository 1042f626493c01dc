//! The verb `load`: drives a service that runs already, with the memory of the process behind the port alongside.
//!
//! Nothing is started, collected or judged. The driver has a thread of its own; this one reads memory and tells
//! progress, so that neither waits for the other.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use plimsoll_load::{Driver, HttpDriver, Plan, Url};
use plimsoll_model::{
    Cancel, Cx, Event, ExitCode, Finding, LoadFigures, LoadInfo, Metric, Mode, Ns, OpId,
    OperationKind, Part, Role, RoundSpec, RoundStats, Run, RunStatus, SCHEMA, Sample, SeriesRecord,
    Source, SourceId, SubjectHandle, SubjectInfo, Unit, units,
};
use plimsoll_probe::Process;
use plimsoll_store::{Record, Recorder};

use crate::config::{MOST_OPERATIONS, positive, within};
use crate::document::{levels, observer};
use crate::error::Error;
use crate::file::File;
use crate::limits::Room;
use crate::load::{DriverFlags, Load, Means};
use crate::place::unix_now;

/// What is driven unless something is named.
const DEFAULT_URL: &str = "http://localhost:3000";
/// How long unless `-n` or `-d` says otherwise.
const DEFAULT_DURATION: Duration = Duration::from_mins(1);
/// How long the load rises in a closed loop that lasts a time, unless `-r` says otherwise.
const DEFAULT_RAMP: Duration = Duration::from_secs(5);
/// Connections of an open loop at most, unless `-c` says otherwise.
const MOST_OPEN: u32 = 1_000;
/// Memory is read and progress told so often.
const PERIOD: Duration = Duration::from_millis(250);
/// Share of the machine's CPU time above which the client itself is worth a warning.
const CLIENT_SHARE: f64 = 0.30;

/// What flags said.
#[derive(Debug, Clone, Default)]
pub struct LoadFlags {
    /// What drives.
    pub driver: DriverFlags,
    /// `--operations`
    pub operations: Option<u64>,
    /// `--duration`
    pub duration: Option<Duration>,
    /// `--ramp`
    pub ramp: Option<Duration>,
    /// `--config`
    pub config: Option<PathBuf>,
}

/// A load, complete.
#[derive(Debug, Clone)]
pub struct LoadRun {
    load: Load,
    plan: Plan,
    url: Url,
    length: Length,
    ramp: Duration,
    /// Whether the user said how many operations may be in flight.
    fixed_concurrency: bool,
}

#[derive(Debug, Clone, Copy)]
enum Length {
    Operations(u64),
    Time(Duration),
}

impl LoadRun {
    /// Fills up the flags from the configuration file and the defaults.
    ///
    /// # Errors
    /// If the file cannot be read, or a value makes no sense.
    pub fn resolve(flags: LoadFlags, working_directory: &Path) -> Result<Self, Error> {
        let file = match &flags.config {
            Some(path) => File::read(path)?,
            None => File::read_if_there(&working_directory.join("plimsoll.toml"))?,
        };
        let mut driver = flags.driver.or(crate::config::Flags::from(file).driver);
        if driver.urls.is_empty() && driver.openapi.is_none() {
            driver.urls.push(DEFAULT_URL.to_owned());
        }
        let fixed_concurrency = driver.concurrency.is_some();
        let load = driver
            .load(&driver.wire(), None)?
            .ok_or_else(|| Error::Internal("a load without a URL".to_owned()))?;
        let length = match (flags.operations, flags.duration) {
            (Some(n), _) => Length::Operations(within("--operations", n, 1, MOST_OPERATIONS)?),
            (None, duration) => Length::Time(positive(
                "--duration",
                duration.unwrap_or(DEFAULT_DURATION),
            )?),
        };
        let ramp = flags.ramp.unwrap_or(match (length, load.rate) {
            (Length::Time(time), None) => DEFAULT_RAMP.min(time / 4),
            _ => Duration::ZERO,
        });
        if let Length::Time(time) = length
            && ramp > time
        {
            return Err(Error::usage(
                "--ramp is longer than --duration",
                "the load would end before it has risen",
            ));
        }
        let (Means::Http(plan), Some(url)) = (&load.means, &load.url) else {
            return Err(Error::usage(
                "`plimsoll load` makes requests of its own",
                "programs drive `plimsoll check`: leave `op_cmd` and `driver` out of the configuration",
            ));
        };
        Ok(Self {
            plan: (**plan).clone(),
            url: url.clone(),
            load,
            length,
            ramp,
            fixed_concurrency,
        })
    }

    /// Operations that are planned, if that is known before.
    fn planned(&self) -> Option<u64> {
        match (self.length, self.load.rate) {
            (Length::Operations(n), _) => Some(n),
            (Length::Time(time), Some(rate)) => {
                let full = time.as_secs_f64() - self.ramp.as_secs_f64() / 2.0;
                Some((rate * full).round() as u64)
            }
            (Length::Time(_), None) => None,
        }
    }

    /// Nobody compares rounds here: unless their number is named, an open loop may have as many connections as it needs
    /// to send on time.
    fn mode(&self) -> Mode {
        match self.load.mode() {
            Mode::Open {
                rate, concurrency, ..
            } => Mode::Open {
                rate,
                concurrency,
                most: if self.fixed_concurrency {
                    concurrency
                } else {
                    MOST_OPEN
                },
            },
            mode => mode,
        }
    }

    fn spec(&self) -> RoundSpec {
        let duration = match (self.length, self.load.rate) {
            (Length::Operations(_), _) => None,
            (Length::Time(time), None) => Some(time),
            // What could not begin in time may still do so, but not for ever.
            (Length::Time(time), Some(_)) => Some(time + self.load.timeout()),
        };
        RoundSpec {
            ramp: self.ramp,
            duration,
            ..RoundSpec::new(self.planned().unwrap_or(u64::MAX), self.mode())
        }
    }
}

/// The process behind the port, its memory read from time to time.
struct Watched {
    process: Process,
    source: Source,
    recorder: Recorder,
    started: Instant,
    first: Option<u64>,
    last: Option<u64>,
}

impl Watched {
    fn find(port: u16, epoch: Instant, unix_ns: u64) -> Result<Option<(Self, SubjectInfo)>, Error> {
        let Some(info) = plimsoll_probe::port_holder(port) else {
            return Ok(None);
        };
        let Ok(process) = Process::open(info.id.pid) else {
            return Ok(None);
        };
        let source = Source {
            id: SourceId(0),
            process: process.id(),
            isolate: None,
            role: Role::Service,
        };
        let recorder = Recorder::start(None, unix_ns)?;
        recorder.handle().record(Record::Source(source.clone()));
        let subject = SubjectInfo {
            command: Vec::new(),
            processes: vec![info.clone()],
            service: Some(info),
            context_isolates: Vec::new(),
            exit: None,
            ready: Some(Ns(0)),
            limits: Room::of(Some(&process), None).limits,
            output: plimsoll_model::Output::default(),
        };
        let watched = Self {
            process,
            source,
            recorder,
            started: epoch,
            first: None,
            last: None,
        };
        Ok(Some((watched, subject)))
    }

    fn read(&mut self) -> Option<u64> {
        let memory = self.process.memory()?;
        let at = Ns::from_duration(self.started.elapsed());
        let readings = [
            (Metric::RSS, Some(memory.rss)),
            (Metric::RSS_ANON, memory.rss_anon),
        ];
        let handle = self.recorder.handle();
        for (metric, value) in readings {
            if let Some(value) = value {
                handle.sample(Sample {
                    at,
                    source: self.source.id,
                    metric,
                    value: value as f64,
                });
            }
        }
        self.first.get_or_insert(memory.rss);
        self.last = Some(memory.rss);
        Some(memory.rss)
    }

    fn series(self) -> Vec<SeriesRecord> {
        let recorded = self.recorder.close();
        let bytes = recorded
            .bands
            .into_iter()
            .filter(|(_, metric, _)| metric.unit() == Unit::Bytes);
        bytes
            .map(|(source, metric, band)| SeriesRecord {
                unit: metric.unit(),
                metric,
                part: Part::Context,
                source,
                points: None,
                band: Some(band),
                verdict: None,
            })
            .collect()
    }
}

/// Drives, and returns what came of it.
///
/// # Errors
/// Only for what is knowable before the start. A server that is lost or answers with errors is a run that failed.
pub fn load(run: &LoadRun, events: &mut dyn FnMut(Event), cancel: &Cancel) -> Result<Run, Error> {
    let epoch = Instant::now();
    let unix_ns = unix_now();
    let mut driver = HttpDriver::with_plan(run.plan.clone(), run.load.concurrency)?;
    let mut watched = if run.url.is_loopback() {
        Watched::find(run.url.port, epoch, unix_ns)?
    } else {
        None
    };
    let process = watched.as_ref().map(|(w, _)| w.process.id());
    let (stats, error) = drive(
        run,
        &mut driver,
        process,
        watched.as_mut().map(|(w, _)| w),
        events,
        cancel,
    );
    let mut said = run.load.findings.clone();
    said.extend(findings(
        &driver,
        &stats,
        watched.is_none() && run.url.is_loopback(),
    ));
    let findings = said;
    Box::new(driver).close();
    let (status, exit) = outcome(run, &stats, error, cancel);
    let (series, subject, sources) = match watched {
        Some((watched, subject)) => {
            let source = watched.source.clone();
            (watched.series(), subject, vec![source])
        }
        None => (Vec::new(), nobody(), Vec::new()),
    };
    let duration = Ns::from_duration(epoch.elapsed());
    Ok(Run {
        schema: SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        id: plimsoll_store::run_id(unix_ns, std::process::id()),
        verb: "load".to_owned(),
        started_unix_ns: unix_ns,
        duration,
        status,
        exit_code: exit.code(),
        verdict: None,
        verdict_reason: "memory was read, not judged".to_owned(),
        headline: None,
        subject,
        plan: plimsoll_model::Plan {
            operations_per_round: run.planned().unwrap_or(0),
            ..plimsoll_model::Plan::default()
        },
        levels: levels(false, false),
        gaps: Vec::new(),
        sources,
        rounds: Vec::new(),
        series,
        shares: Vec::new(),
        culprits: Vec::new(),
        findings,
        rules: Vec::new(),
        observer: observer(duration, stats.cpu, Duration::ZERO, 0),
        artefacts: Vec::new(),
        load: Some(info(run, stats)),
    })
}

/// Runs the one round on a thread of its own, and reads memory meanwhile.
fn drive(
    run: &LoadRun,
    driver: &mut HttpDriver,
    process: Option<plimsoll_model::ProcessId>,
    mut watched: Option<&mut Watched>,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> (RoundStats, Option<plimsoll_load::Error>) {
    if let Some(process) = process
        && let Err(error) = driver.prepare(&SubjectHandle { process })
    {
        return (RoundStats::default(), Some(error));
    }
    let spec = run.spec();
    // Only the operations end it, or whoever cancels.
    let cx = Cx::within(cancel, Duration::from_hours(24 * 366));
    let progress = driver.progress();
    let begun = Instant::now();
    let (report, reported) = channel();
    let result = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("driver".to_owned());
        let started = thread.spawn_scoped(scope, || {
            let result = driver.round(&spec, &cx);
            // Nobody listens only if this thread is already being waited for.
            let _ = report.send(result);
        });
        if let Err(source) = started {
            let doing = "start a thread";
            return Err(plimsoll_load::Error::Io { doing, source });
        }
        let mut before = (begun, 0);
        loop {
            let rss = watched.as_mut().and_then(|w| w.read());
            match reported.recv_timeout(PERIOD) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(plimsoll_load::Error::Unsupported {
                        what: "this load".to_owned(),
                        instead: "its driver ended without a result, which is a bug".to_owned(),
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let (done, errors) = progress.ended();
            let seconds = before.0.elapsed().as_secs_f64();
            events(Event::Driving {
                done,
                errors,
                planned: run.planned(),
                per_second: (done - before.1) as f64 / seconds.max(1e-3),
                rss: rss.map(|b| b as f64),
                seconds: begun.elapsed().as_secs_f64(),
            });
            before = (Instant::now(), done);
        }
    });
    if let Some(watched) = watched {
        watched.read();
    }
    match result {
        Ok(stats) => (stats, None),
        Err(error) => (error.stats().cloned().unwrap_or_default(), Some(error)),
    }
}

/// How it ended, and what the process exits with.
fn outcome(
    run: &LoadRun,
    stats: &RoundStats,
    error: Option<plimsoll_load::Error>,
    cancel: &Cancel,
) -> (RunStatus, ExitCode) {
    let failed = |what: String, hint: Option<String>| {
        let details = Vec::new();
        (
            RunStatus::Failed {
                what,
                details,
                hint,
            },
            ExitCode::Failed,
        )
    };
    if cancel.is_cancelled() {
        return (RunStatus::Interrupted, ExitCode::Interrupted);
    }
    if let Some(error) = error {
        let hint = match &error {
            plimsoll_load::Error::ServerLost { .. } if stats.done == 0 => {
                Some("start the service first, or name its URL with `--url`".to_owned())
            }
            other => other.hint().map(str::to_owned),
        };
        return failed(error.to_string(), hint);
    }
    let (errors, all) = (stats.errors(), stats.done + stats.errors());
    if errors as f64 > run.load.max_errors * all as f64 {
        let kinds: Vec<String> = stats
            .errors_by_kind
            .iter()
            .map(|(kind, n)| format!("{} x {kind}", units::count(*n as f64)))
            .collect();
        let what = format!(
            "{} of {} operations failed ({}; allowed: {})",
            units::count(errors as f64),
            units::count(all as f64),
            kinds.join(", "),
            units::percent(run.load.max_errors)
        );
        let hint = (errors == all && kinds.len() == 1 && kinds[0].contains("status")).then(|| {
            "if that status is the right answer, name it with `--expect-status`".to_owned()
        });
        return failed(what, hint);
    }
    if let (Some(planned), Some(rate)) = (run.planned(), run.load.rate)
        && all < planned
    {
        return failed(
            format!(
                "only {} of {} planned operations could be sent: the service is slower than {} a second",
                units::count(all as f64),
                units::count(planned as f64),
                units::count(rate)
            ),
            Some(
                "lower `--rate`, or raise `--concurrency` if the service can do more at once"
                    .to_owned(),
            ),
        );
    }
    (RunStatus::Completed, ExitCode::Holds)
}

fn findings(driver: &HttpDriver, stats: &RoundStats, unseen: bool) -> Vec<Finding> {
    let mut findings = driver.findings();
    if unseen {
        findings.push(Finding::info(
            "no-memory",
            "the process behind the port is not visible: its memory is not shown",
        ));
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = stats.cpu.as_secs_f64() / (stats.elapsed.as_secs_f64().max(1e-3) * cores as f64);
    if share > CLIENT_SHARE {
        findings.push(Finding::info(
            "client-cpu",
            format!(
                "the client itself used {} of the machine: the service had the rest",
                units::percent(share)
            ),
        ));
    }
    findings
}

fn nobody() -> SubjectInfo {
    SubjectInfo {
        command: Vec::new(),
        service: None,
        processes: Vec::new(),
        context_isolates: Vec::new(),
        exit: None,
        ready: None,
        limits: plimsoll_model::Limits::default(),
        output: plimsoll_model::Output::default(),
    }
}

fn info(run: &LoadRun, stats: RoundStats) -> LoadInfo {
    let load = &run.load;
    let seconds = stats.elapsed.as_secs_f64();
    let all = stats.done + stats.errors();
    let operations: Vec<OperationKind> = (0..)
        .zip(&load.operations)
        .map(|(id, name)| OperationKind {
            id: OpId(id),
            name: name.clone(),
        })
        .collect();
    LoadInfo {
        name: load.name.clone(),
        operation_word: "request".to_owned(),
        concurrency: load.concurrency,
        total_operations: all,
        errors_by_kind: stats.errors_by_kind.clone(),
        operations_per_second: (seconds > 0.0).then(|| all as f64 / seconds),
        figures: Some(LoadFigures {
            planned: run.planned(),
            sent: all,
            done: stats.done,
            rate: match load.mode() {
                Mode::Open { rate, .. } => Some(rate),
                _ => None,
            },
            seconds,
            ramp_s: run.ramp.as_secs_f64(),
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            reconnects: stats.reconnects,
            cpu_s: stats.cpu.as_secs_f64(),
            latency: stats.latency,
            service: stats.service,
            lateness: stats.lateness,
            refreshed: stats.refreshed,
            per_operation: if operations.len() > 1 {
                stats.per_operation
            } else {
                Vec::new()
            },
        }),
        operations,
        growth: Vec::new(),
    }
}
