//! The verb `load`: drives a service that runs already, with the memory of the process behind the port and of all
//! below it alongside.
//!
//! Nothing is started, collected or judged. The driver has a thread of its own; this one watches as a monitor does and tells
//! progress, so that neither waits for the other.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use plimsoll_load::{Driver, HttpDriver, Plan, Progress, Url};
use plimsoll_model::{
    Cancel, Cx, Event, ExitCode, Finding, LoadFigures, LoadInfo, Metric, Mode, Ns, OpId,
    OperationKind, ProcessOperations, RoundSpec, RoundStats, Run, RunStatus, SubjectHandle, units,
};
use plimsoll_probe::Process;

use crate::config::{MOST_OPERATIONS, directories, positive, within};
use crate::document::{not_judged, observer};
use crate::error::Error;
use crate::file::File;
use crate::load::{DriverFlags, Load, Means};
use crate::monitor::{Concluded, Monitor};

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
    /// `PLIMSOLL_DIR`
    pub directory: Option<PathBuf>,
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
    /// Directories for runs, the first usable one is taken.
    directories: Vec<PathBuf>,
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
        let mut driver = flags
            .driver
            .clone()
            .or(crate::config::Flags::from(file).driver);
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
            directories: directories(flags.directory, working_directory),
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

/// Drives, and returns what came of it.
///
/// # Errors
/// Only for what is knowable before the start. A server that is lost or answers with errors is a run that failed.
pub fn load(run: &LoadRun, events: &mut dyn FnMut(Event), cancel: &Cancel) -> Result<Run, Error> {
    let epoch = Instant::now();
    let mut driver = HttpDriver::with_plan(run.plan.clone(), run.load.concurrency)?;
    // Whoever holds the port, and all below it: workers share the work.
    let holder = plimsoll_probe::port_holder(run.url.port).filter(|_| run.url.is_loopback());
    let root = holder.and_then(|info| Process::open(info.id.pid).ok());
    let unseen = root.is_none() && run.url.is_loopback();
    let drive = Drive {
        run,
        epoch,
        root,
        cancel,
    };
    let (concluded, stats, error) = drive.carry_out(&mut driver, events)?;
    let per_process = per_process(&concluded.run, run.url.port, &stats);
    let mut said = run.load.findings.clone();
    said.extend(findings(&driver, &stats, unseen));
    said.extend(by_process(&per_process, stats.done + stats.errors()));
    Box::new(driver).close();
    let (status, exit) = outcome(run, &stats, error, cancel);
    Ok(concluded.keep_with(|document| {
        "load".clone_into(&mut document.verb);
        document.status = status;
        document.exit_code = exit.code();
        not_judged(document);
        document.plan.operations_per_round = run.planned().unwrap_or(0);
        document.duration = Ns::from_duration(epoch.elapsed());
        document.observer = observer(document.duration, stats.cpu, Duration::ZERO, 0);
        document.findings.extend(said);
        document.load = Some(LoadInfo {
            per_process,
            ..info(run, stats)
        });
    }))
}

/// A load under way: who drives, who is watched.
struct Drive<'a> {
    run: &'a LoadRun,
    epoch: Instant,
    /// The process behind the port, if it is visible.
    root: Option<Process>,
    cancel: &'a Cancel,
}

impl Drive<'_> {
    /// Runs the one round on a thread of its own, and watches the tree of the process behind the port meanwhile.
    fn carry_out(
        &self,
        driver: &mut HttpDriver,
        events: &mut dyn FnMut(Event),
    ) -> Result<(Concluded, RoundStats, Option<plimsoll_load::Error>), Error> {
        if let Some(root) = &self.root {
            let process = root.id();
            driver.prepare(&SubjectHandle { process })?;
        }
        let spec = self.run.spec();
        // Only the operations end it, or whoever cancels.
        let cx = Cx::within(self.cancel, Duration::from_hours(24 * 366));
        let progress = driver.progress();
        let over = Cancel::try_new().map_err(|source| plimsoll_load::Error::Io {
            doing: "watch the load",
            source,
        })?;
        let (report, reported) = channel();
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("driver".to_owned());
            let started = thread.spawn_scoped(scope, || {
                let result = driver.round(&spec, &cx);
                over.cancel();
                // Nobody listens only if this thread is already being waited for.
                let _ = report.send(result);
            });
            if let Err(source) = started {
                let doing = "start a thread";
                return Err(plimsoll_load::Error::Io { doing, source }.into());
            }
            let mut teller = Teller {
                planned: self.run.planned(),
                begun: Instant::now(),
                before: (Instant::now(), 0),
                progress: &progress,
            };
            let config = Monitor {
                interval: PERIOD,
                duration: None,
                floor: None,
                attach: false,
                fail_on_leak: false,
                directories: self.run.directories.clone(),
            };
            let roots = self.root.iter().cloned().collect();
            let concluded = crate::monitor::alongside(
                &config,
                roots,
                None,
                self.epoch,
                &mut |event| match event {
                    Event::Reading(reading) => teller.tell(events, reading.sum(&Metric::RSS)),
                    Event::Found(finding) => events(Event::Found(finding)),
                    _ => {}
                },
                &over,
            );
            // Whoever is watched may end before the load does, or not be there at all.
            let result = loop {
                match reported.recv_timeout(PERIOD) {
                    Ok(result) => break result,
                    Err(RecvTimeoutError::Timeout) => teller.tell(events, None),
                    Err(RecvTimeoutError::Disconnected) => {
                        let what = "the driver of this load ended without a result".to_owned();
                        return Err(Error::Internal(what));
                    }
                }
            };
            let (stats, error) = match result {
                Ok(stats) => (stats, None),
                Err(error) => (error.stats().cloned().unwrap_or_default(), Some(error)),
            };
            Ok((concluded?, stats, error))
        })
    }
}

/// Tells how far a load is.
struct Teller<'a> {
    planned: Option<u64>,
    begun: Instant,
    before: (Instant, u64),
    progress: &'a Progress,
}

impl Teller<'_> {
    fn tell(&mut self, events: &mut dyn FnMut(Event), rss: Option<f64>) {
        let (done, errors) = self.progress.ended();
        let seconds = self.before.0.elapsed().as_secs_f64();
        events(Event::Driving {
            done,
            errors,
            planned: self.planned,
            per_second: (done - self.before.1) as f64 / seconds.max(1e-3),
            rss,
            seconds: self.begun.elapsed().as_secs_f64(),
        });
        self.before = (Instant::now(), done);
    }
}

/// Which process answered how many operations, where there are several.
fn per_process(watched: &Run, port: u16, stats: &RoundStats) -> Vec<ProcessOperations> {
    let family = watched.subject.processes.iter();
    let family: Vec<Process> = family
        .filter_map(|info| Process::open(info.id.pid).ok())
        .collect();
    if family.len() < 2 {
        return Vec::new();
    }
    crate::shared_work::operations_by_process(port, &family, &stats.per_port)
}

/// How evenly the work was shared.
pub(crate) fn by_process(shares: &[ProcessOperations], all: u64) -> Option<Finding> {
    if shares.len() < 2 {
        return None;
    }
    let known: u64 = shares.iter().map(|s| s.operations).sum();
    let each: Vec<String> = shares
        .iter()
        .map(|s| {
            format!(
                "pid {} {}",
                s.process.pid,
                units::count(s.operations as f64)
            )
        })
        .collect();
    let rest = match all.saturating_sub(known) {
        0 => String::new(),
        rest => format!("; of {} more it is not known", units::count(rest as f64)),
    };
    let what = format!("operations by process: {}{rest}", each.join(", "));
    Some(Finding::info("by-process", what))
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
        ..LoadInfo::default()
    }
}
