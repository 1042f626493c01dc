//! One typed, complete configuration. Flags override the environment, which overrides `plimsoll.toml`, which overrides
//! the defaults; nothing downstream of here sees a missing value.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_load::{Module, StatusRanges, Url, Wire};
use plimsoll_model::ExitCode;
use regex_lite::Regex;

use crate::around::Around;
use crate::error::Error;
use crate::file::File;
use crate::load::{Count, DriverFlags, Load};
use crate::rules::RuleRequest;

/// Ceiling of the time after readiness unless `--max-time` says otherwise.
pub const DEFAULT_MAX_TIME: Duration = Duration::from_mins(4);
/// Wait for readiness unless `--ready-timeout` says otherwise.
pub const DEFAULT_READY_TIMEOUT: Duration = Duration::from_mins(2);
/// Operations in flight unless `--concurrency` says otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 10;
/// Share of a round's operations that may fail unless `--max-errors` says otherwise.
pub const DEFAULT_MAX_ERRORS: f64 = 0.01;
/// Measured rounds unless `--rounds` says otherwise.
pub const DEFAULT_ROUNDS: u32 = 12;
/// Operations per round at most.
pub(crate) const MOST_OPERATIONS: u64 = 1_000_000_000;
/// Operations in flight at most: each is a connection.
pub(crate) const MOST_CONCURRENCY: u32 = 10_000;
/// Longest of all times; a run that long wants a monitor.
const LONGEST: Duration = Duration::from_hours(30 * 24);
/// Measured rounds at least: fewer readings give no rate.
const FEWEST_ROUNDS: u32 = 6;
/// Measured rounds at most, where more are needed to settle it.
pub const MAX_ROUNDS: u32 = 48;

/// Everything a check needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the subject comes from.
    pub origin: Origin,
    /// Whether a process that runs without a probe may be signalled to take one in.
    pub attach: bool,
    /// Environment variables added to the subject's.
    pub env: Vec<(String, String)>,
    /// When the subject counts as ready.
    pub ready: Ready,
    /// How long to wait for that.
    pub ready_timeout: Duration,
    /// What drives it; `None` = nothing does, memory is judged on time.
    pub load: Option<Load>,
    /// What drives it once it has described itself at a URL; then `load` is not known before.
    pub described: Option<Box<(Url, DriverFlags)>>,
    /// Who counts operations that are not ours.
    pub count: Count,
    /// What is spoken with it below requests.
    pub wire: Wire,
    /// How it is judged.
    pub check: Check,
    /// What happens around the load.
    pub around: Around,
    /// The user's criteria, reported beside the verdict.
    pub rules: Vec<RuleRequest>,
    /// Directories for runs, the first usable one is taken.
    pub directories: Vec<PathBuf>,
}

/// Where a subject comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// We start it, and end it.
    Command(Vec<OsString>),
    /// It runs already, and goes on when we leave.
    Running {
        /// Its process, or the one at the top of its processes.
        pid: u32,
    },
}

/// When a subject is ready.
#[derive(Debug, Clone)]
pub enum Ready {
    /// An URL answers, with one of these statuses if any are named.
    Url(Url, StatusRanges),
    /// A TCP port of this machine accepts connections.
    Port(u16),
    /// A line of its output matches.
    Log(Regex),
    /// The module that is driven is loaded and set up.
    Module,
    /// Its probe says hello, or one second has passed: there is nothing else to wait for.
    Started,
}

/// How a subject is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Operations per round; `None` = sized from the measured noise.
    pub operations: Option<u64>,
    /// Measured rounds; fixed if given.
    pub rounds: Option<u32>,
    /// Warm-up operations; `None` = until settled.
    pub warm_up: Option<u64>,
    /// Ceiling of the time after readiness.
    pub max_time: Duration,
    /// How long the subject keeps things on purpose; nothing is judged before twice of it.
    pub max_ttl: Option<Duration>,
    /// Planned length without a driver.
    pub duration: Option<Duration>,
    /// Growth rate below which nothing is called a leak, in bytes per operation or per second.
    pub floor: Option<f64>,
    /// When the explanation windows are run.
    pub explain: Explain,
    /// Whether copies of the snapshots taken for it stay with the run.
    pub keep_snapshots: bool,
    /// Take them also where memory may not suffice.
    pub force_snapshot: bool,
    /// Where source maps lie that neither the runtime nor the scripts name.
    pub source_maps: Option<PathBuf>,
    /// Operations per second at which the time to limit is told; `None` = the measured rate.
    pub expect_rate: Option<f64>,
    /// What an inconclusive run exits with: 3, or what CI chose instead.
    pub on_inconclusive: ExitCode,
}

/// When the explanation windows are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Explain {
    /// After a leak verdict.
    #[default]
    OnLeak,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What flags and environment said; everything may be missing. Filled up by [`Config::resolve`].
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `-- COMMAND`
    pub command: Vec<OsString>,
    /// `--pid`
    pub pid: Option<u32>,
    /// `--no-attach`
    pub no_attach: bool,
    /// `--config`
    pub config: Option<PathBuf>,
    /// What drives it.
    pub driver: DriverFlags,
    /// `--ready-url`
    pub ready_url: Option<String>,
    /// `--ready-status`
    pub ready_status: Option<String>,
    /// `--ready-port`
    pub ready_port: Option<u16>,
    /// `--ready-log`
    pub ready_log: Option<String>,
    /// `--ready-timeout`
    pub ready_timeout: Option<Duration>,
    /// `--operations`
    pub operations: Option<u64>,
    /// `--rounds`
    pub rounds: Option<u32>,
    /// `--warm-up`
    pub warm_up: Option<u64>,
    /// `--max-time`
    pub max_time: Option<Duration>,
    /// `--max-ttl`
    pub max_ttl: Option<Duration>,
    /// `--duration`
    pub duration: Option<Duration>,
    /// `--floor`
    pub floor: Option<f64>,
    /// `--explain`
    pub explain: Option<Explain>,
    /// `--keep-snapshots`
    pub keep_snapshots: bool,
    /// `--force-snapshot`
    pub force_snapshot: bool,
    /// `--source-maps`
    pub source_maps: Option<PathBuf>,
    /// `--expect-rate`
    pub expect_rate: Option<f64>,
    /// `--inconclusive`
    pub on_inconclusive: Option<ExitCode>,
    /// `--rule`
    pub rules: Vec<String>,
    /// `PLIMSOLL_DIR`
    pub directory: Option<PathBuf>,
}

impl Config {
    /// The subject's command as given; empty for one that runs already.
    pub(crate) fn command(&self) -> &[OsString] {
        match &self.origin {
            Origin::Command(words) => words,
            Origin::Running { .. } => &[],
        }
    }

    /// The subject's command, for people.
    pub(crate) fn command_line(&self) -> String {
        match &self.origin {
            Origin::Command(words) => {
                let words: Vec<_> = words.iter().map(|w| w.to_string_lossy()).collect();
                words.join(" ")
            }
            Origin::Running { pid } => format!("process {pid}"),
        }
    }

    /// Whether the subject ran before us.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.origin, Origin::Running { .. })
    }

    /// Fills up the flags from the configuration file and the defaults.
    ///
    /// The file is `--config FILE`, or `plimsoll.toml` in `working_directory` if there is one.
    ///
    /// # Errors
    /// If the file cannot be read or holds unknown keys, or a value makes no sense.
    pub fn resolve(flags: Flags, working_directory: &Path) -> Result<Self, Error> {
        let file = match &flags.config {
            Some(path) => File::read(path)?,
            None => File::read_if_there(&working_directory.join("plimsoll.toml"))?,
        };
        let env = file.subject.env.clone().into_iter().collect();
        let asked = flags.rules.iter().map(|r| RuleRequest::parse(r));
        let rules = RuleRequest::merge(asked.collect::<Result<_, _>>()?, file.rules.clone());
        let given = flags.or(Flags::from(file));
        if given.duration.is_some() && given.driver.is_some() {
            return Err(Error::usage(
                "--duration and --url exclude each other",
                "with `--url` the length is set by `--rounds` and `--operations`, and bounded by `--max-time`",
            ));
        }
        let wire = given.driver.wire();
        let origin = given.origin()?;
        // A service that we start describes itself only then.
        let url = given.driver.description()?;
        let url =
            url.filter(|_| matches!(origin, Origin::Command(_)) && given.driver.har.is_none());
        let load = match &url {
            Some(_) => None,
            None => given.driver.load(&wire, None)?,
        };
        let mut ready = given.ready(load.as_ref())?;
        if let (Ready::Started, Some(url)) = (&ready, &url) {
            ready = Ready::Url(url.clone(), StatusRanges::default());
        }
        Ok(Self {
            described: url.map(|url| Box::new((url, given.driver.clone()))),
            origin,
            attach: !given.no_attach,
            ready,
            ready_timeout: positive(
                "--ready-timeout",
                given.ready_timeout.unwrap_or(DEFAULT_READY_TIMEOUT),
            )?,
            check: given.check()?,
            around: given.driver.around.clone(),
            rules,
            directories: directories(given.directory, working_directory),
            count: given.driver.count()?,
            env,
            load,
            wire,
        })
    }
}

impl Flags {
    /// These flags, and where they say nothing, the lower ones.
    fn or(self, lower: Self) -> Self {
        let list = |own: Vec<String>, lower: Vec<String>| if own.is_empty() { lower } else { own };
        Self {
            // Whoever names a process or a module on the command line does not mean the command in the file.
            command: if self.command.is_empty()
                && self.pid.is_none()
                && self.driver.module.is_none()
            {
                lower.command
            } else {
                self.command
            },
            driver: self.driver.or(DriverFlags {
                module: lower.driver.module.filter(|_| self.pid.is_none()),
                ..lower.driver
            }),
            pid: self.pid,
            no_attach: self.no_attach,
            config: self.config.or(lower.config),
            ready_url: self.ready_url.or(lower.ready_url),
            ready_status: self.ready_status.or(lower.ready_status),
            ready_port: self.ready_port.or(lower.ready_port),
            ready_log: self.ready_log.or(lower.ready_log),
            ready_timeout: self.ready_timeout.or(lower.ready_timeout),
            operations: self.operations.or(lower.operations),
            rounds: self.rounds.or(lower.rounds),
            warm_up: self.warm_up.or(lower.warm_up),
            max_time: self.max_time.or(lower.max_time),
            max_ttl: self.max_ttl.or(lower.max_ttl),
            duration: self.duration.or(lower.duration),
            floor: self.floor.or(lower.floor),
            explain: self.explain.or(lower.explain),
            keep_snapshots: self.keep_snapshots || lower.keep_snapshots,
            force_snapshot: self.force_snapshot || lower.force_snapshot,
            source_maps: self.source_maps.or(lower.source_maps),
            expect_rate: self.expect_rate.or(lower.expect_rate),
            on_inconclusive: self.on_inconclusive.or(lower.on_inconclusive),
            rules: list(self.rules, lower.rules),
            directory: self.directory.or(lower.directory),
        }
    }

    fn origin(&self) -> Result<Origin, Error> {
        if let Some(module) = self.driver.module()? {
            return self.of_module(&module);
        }
        match (self.pid, self.command.is_empty()) {
            (Some(_), false) => Err(Error::usage(
                "--pid and a command exclude each other",
                "leave out `--pid` to start the command, or the command to check a process that runs",
            )),
            (Some(_), true) if self.ready_log.is_some() => Err(Error::usage(
                "--ready-log reads the output of a command we start, not that of --pid",
                "use `--ready-url` or `--ready-port`, or leave it out: the process runs already",
            )),
            (Some(pid), true) => Ok(Origin::Running { pid }),
            (None, true) => Err(Error::usage(
                "no subject: nothing to start",
                "name a command after `--`, for example `plimsoll check --url http://127.0.0.1:3000/ -- node server.js`, or a running process with `--pid`",
            )),
            (None, false) => Ok(Origin::Command(self.command.clone())),
        }
    }

    /// A module is the last word of the command that runs it.
    fn of_module(&self, module: &Module) -> Result<Origin, Error> {
        if self.pid.is_some() {
            return Err(Error::usage(
                "--pid and --module exclude each other",
                "a module is loaded into a runtime of its own; `--url` drives a service that runs",
            ));
        }
        let ready =
            self.ready_url.is_some() || self.ready_port.is_some() || self.ready_log.is_some();
        if ready {
            return Err(Error::usage(
                "a module is ready when it is loaded and its setup() is done",
                "leave `--ready-url`, `--ready-port` and `--ready-log` out; what takes long belongs into setup()",
            ));
        }
        let mut command = self.command.clone();
        if command.is_empty() {
            command.push(module.language.runtime().into());
        }
        if command == ["deno"] {
            // By itself it would ask for every permission, and nobody answers.
            command.extend(["run", "-A"].map(OsString::from));
        }
        command.push(module.path.clone().into_os_string());
        Ok(Origin::Command(command))
    }

    fn ready(&self, load: Option<&Load>) -> Result<Ready, Error> {
        if self.driver.module.is_some() {
            return Ok(Ready::Module);
        }
        let statuses = parse_statuses(self.ready_status.as_deref())?;
        if let Some(url) = &self.ready_url {
            return Ok(Ready::Url(
                parse_url(url, self.driver.allow_remote)?,
                statuses,
            ));
        }
        if let Some(port) = self.ready_port {
            return Ok(Ready::Port(port));
        }
        if let Some(pattern) = &self.ready_log {
            let regex = Regex::new(pattern).map_err(|e| {
                Error::usage(
                    format!("--ready-log: `{pattern}` is no regular expression: {e}"),
                    "escape `(`, `[` and `.` by `\\`",
                )
            })?;
            return Ok(Ready::Log(regex));
        }
        Ok(load
            .and_then(|l| l.url.clone())
            .map_or(Ready::Started, |url| Ready::Url(url, statuses)))
    }

    fn check(&self) -> Result<Check, Error> {
        Ok(Check {
            operations: self
                .operations
                .map(|n| within("--operations", n, 1, MOST_OPERATIONS))
                .transpose()?,
            rounds: self
                .rounds
                .map(|n| within("--rounds", n, FEWEST_ROUNDS, MAX_ROUNDS))
                .transpose()?,
            warm_up: self.warm_up,
            max_time: positive("--max-time", self.max_time.unwrap_or(DEFAULT_MAX_TIME))?,
            max_ttl: self.max_ttl.map(|d| positive("--max-ttl", d)).transpose()?,
            duration: self
                .duration
                .map(|d| positive("--duration", d))
                .transpose()?,
            floor: self.floor,
            explain: self.explain.unwrap_or_default(),
            keep_snapshots: self.keep_snapshots,
            force_snapshot: self.force_snapshot,
            source_maps: self.source_maps.clone(),
            expect_rate: self.expect_rate,
            on_inconclusive: self.on_inconclusive.unwrap_or(ExitCode::Inconclusive),
        })
    }
}

/// Where runs may be kept, best first.
pub fn directories(named: Option<PathBuf>, working_directory: &Path) -> Vec<PathBuf> {
    match named {
        Some(directory) => vec![directory],
        None => vec![
            working_directory.join(".plimsoll"),
            std::env::temp_dir().join("plimsoll"),
        ],
    }
}

pub(crate) fn parse_url(text: &str, allow_remote: bool) -> Result<Url, Error> {
    let url = Url::parse(text)?;
    if !url.is_loopback() && !allow_remote {
        return Err(Error::usage(
            format!("{text} is not on this machine"),
            "only loopback addresses are loaded; `--allow-remote` lifts that for a service you own",
        ));
    }
    Ok(url)
}

pub(crate) fn parse_statuses(text: Option<&str>) -> Result<StatusRanges, Error> {
    Ok(text.map(str::parse).transpose()?.unwrap_or_default())
}

pub(crate) fn within<T: PartialOrd + Copy + std::fmt::Display>(
    flag: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, Error> {
    if value < least {
        return Err(Error::usage(
            format!("{flag} {value} is too small"),
            format!("at least {least}"),
        ));
    }
    if value > most {
        return Err(Error::usage(
            format!("{flag} {value} is too large"),
            format!("at most {most}"),
        ));
    }
    Ok(value)
}

pub(crate) fn positive(flag: &str, value: Duration) -> Result<Duration, Error> {
    if value.is_zero() {
        return Err(Error::usage(
            format!("{flag} must be longer than nothing"),
            "an example: 30s",
        ));
    }
    if value > LONGEST {
        return Err(Error::usage(
            format!("{flag} is too long"),
            "at most 30 days",
        ));
    }
    Ok(value)
}

pub(crate) fn share(flag: &str, value: f64) -> Result<f64, Error> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(Error::usage(
            format!("{flag} is out of range"),
            "between 0% and 100%",
        ))
    }
}
