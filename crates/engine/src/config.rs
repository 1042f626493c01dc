//! One typed, complete configuration. Flags override the environment, which overrides `plimsoll.toml`, which overrides
//! the defaults; nothing downstream of here sees a missing value.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_load::{HttpRequest, StatusRanges, Url};
use regex_lite::Regex;

use crate::error::Error;
use crate::file::File;

/// Ceiling of the time after readiness unless `--max-time` says otherwise.
pub const DEFAULT_MAX_TIME: Duration = Duration::from_secs(240);
/// Wait for readiness unless `--ready-timeout` says otherwise.
pub const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(120);
/// Operations in flight unless `--concurrency` says otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 10;
/// Share of a round's operations that may fail unless `--max-errors` says otherwise.
pub const DEFAULT_MAX_ERRORS: f64 = 0.01;
/// Measured rounds unless `--rounds` says otherwise.
pub const DEFAULT_ROUNDS: u32 = 12;
/// Measured rounds at most, where more are needed to settle it.
pub const MAX_ROUNDS: u32 = 48;

/// Everything a check needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// What to start.
    pub command: Vec<OsString>,
    /// Environment variables added to the subject's.
    pub env: Vec<(String, String)>,
    /// When the subject counts as ready.
    pub ready: Ready,
    /// How long to wait for that.
    pub ready_timeout: Duration,
    /// What drives it; `None` = nothing does, memory is judged on time.
    pub load: Option<Load>,
    /// How it is judged.
    pub check: Check,
    /// Directories for runs, the first usable one is taken.
    pub directories: Vec<PathBuf>,
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
    /// Its probe says hello, or one second has passed: there is nothing else to wait for.
    Started,
}

/// HTTP load in rounds.
#[derive(Debug, Clone)]
pub struct Load {
    /// The operation.
    pub request: HttpRequest,
    /// Its URL, parsed.
    pub url: Url,
    /// Operations in flight.
    pub concurrency: u32,
    /// Share of a round's operations that may fail, 0 to 1.
    pub max_errors: f64,
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
    /// Planned length without a driver.
    pub duration: Option<Duration>,
    /// Growth rate below which nothing is called a leak, in bytes per operation or per second.
    pub floor: Option<f64>,
    /// When the explanation windows are run.
    pub explain: Explain,
    /// Operations per second at which the time to limit is told; `None` = the measured rate.
    pub expect_rate: Option<f64>,
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
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--url`
    pub url: Option<String>,
    /// `--method`
    pub method: Option<String>,
    /// `--header`
    pub headers: Vec<String>,
    /// `--body`
    pub body: Option<String>,
    /// `--expect-status`
    pub expect_status: Option<String>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--concurrency`
    pub concurrency: Option<u32>,
    /// `--max-errors`, 0 to 1
    pub max_errors: Option<f64>,
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
    /// `--duration`
    pub duration: Option<Duration>,
    /// `--floor`
    pub floor: Option<f64>,
    /// `--explain`
    pub explain: Option<Explain>,
    /// `--expect-rate`
    pub expect_rate: Option<f64>,
    /// `--allow-remote`
    pub allow_remote: bool,
    /// `PLIMSOLL_DIR`
    pub directory: Option<PathBuf>,
}

impl Config {
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
        let command = if flags.command.is_empty() {
            file.subject
                .command
                .into_iter()
                .map(OsString::from)
                .collect()
        } else {
            flags.command
        };
        if command.is_empty() {
            return Err(Error::usage(
                "no subject: nothing to start",
                "name a command after `--`, for example `plimsoll check --url http://127.0.0.1:3000/ -- node server.js`",
            ));
        }

        let load = match flags.url.or(file.driver.url) {
            Some(url) => {
                let headers = if flags.headers.is_empty() {
                    file.driver.headers
                } else {
                    flags.headers
                };
                let expect = flags.expect_status.or(file.driver.expect_status);
                let method = flags.method.or(file.driver.method);
                let body = flags.body.or(file.driver.body);
                let parsed = parse_url(&url, flags.allow_remote)?;
                Some(Load {
                    request: HttpRequest {
                        method: method.unwrap_or_else(|| {
                            if body.is_some() { "POST" } else { "GET" }.to_owned()
                        }),
                        url,
                        headers: headers
                            .iter()
                            .map(|h| parse_header(h))
                            .collect::<Result<_, _>>()?,
                        body: body.map(String::into_bytes),
                        expect_status: expect
                            .as_deref()
                            .map(parse_statuses)
                            .transpose()?
                            .unwrap_or_default(),
                        timeout: positive(
                            "--timeout",
                            flags
                                .timeout
                                .or(file.driver.timeout)
                                .unwrap_or(Duration::from_secs(30)),
                        )?,
                    },
                    url: parsed,
                    concurrency: at_least(
                        "--concurrency",
                        flags
                            .concurrency
                            .or(file.driver.concurrency)
                            .unwrap_or(DEFAULT_CONCURRENCY),
                        1,
                    )?,
                    max_errors: ratio(
                        "--max-errors",
                        flags
                            .max_errors
                            .or(file.driver.max_errors)
                            .unwrap_or(DEFAULT_MAX_ERRORS),
                    )?,
                })
            }
            None => None,
        };

        let ready_status = flags.ready_status.or(file.subject.ready_status);
        let statuses = ready_status
            .as_deref()
            .map(parse_statuses)
            .transpose()?
            .unwrap_or_default();
        let ready = if let Some(url) = flags.ready_url.or(file.subject.ready_url) {
            Ready::Url(parse_url(&url, flags.allow_remote)?, statuses)
        } else if let Some(port) = flags.ready_port.or(file.subject.ready_port) {
            Ready::Port(port)
        } else if let Some(pattern) = flags.ready_log.or(file.subject.ready_log) {
            Ready::Log(Regex::new(&pattern).map_err(|e| {
                Error::usage(
                    format!("--ready-log: `{pattern}` is no regular expression: {e}"),
                    "escape `(`, `[` and `.` by `\\`",
                )
            })?)
        } else if let Some(load) = &load {
            Ready::Url(load.url.clone(), statuses)
        } else {
            Ready::Started
        };

        let duration = flags.duration.or(file.check.duration);
        if duration.is_some() && load.is_some() {
            return Err(Error::usage(
                "--duration and --url exclude each other",
                "with `--url` the length is set by `--rounds` and `--operations`, and bounded by `--max-time`",
            ));
        }
        let check = Check {
            operations: flags
                .operations
                .or(file.check.operations)
                .map(|n| at_least("--operations", n, 1))
                .transpose()?,
            rounds: flags
                .rounds
                .or(file.check.rounds)
                .map(|n| at_least("--rounds", n, 6))
                .transpose()?,
            warm_up: flags.warm_up.or(file.check.warm_up),
            max_time: positive(
                "--max-time",
                flags
                    .max_time
                    .or(file.check.max_time)
                    .unwrap_or(DEFAULT_MAX_TIME),
            )?,
            duration: duration.map(|d| positive("--duration", d)).transpose()?,
            floor: flags.floor.or(file.check.floor),
            explain: flags.explain.or(file.check.explain).unwrap_or_default(),
            expect_rate: flags.expect_rate.or(file.check.expect_rate),
        };
        Ok(Self {
            command,
            env: file.subject.env.into_iter().collect(),
            ready,
            ready_timeout: positive(
                "--ready-timeout",
                flags
                    .ready_timeout
                    .or(file.subject.ready_timeout)
                    .unwrap_or(DEFAULT_READY_TIMEOUT),
            )?,
            load,
            check,
            directories: directories(flags.directory, working_directory),
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

fn parse_url(text: &str, allow_remote: bool) -> Result<Url, Error> {
    let url = Url::parse(text).map_err(|e| {
        Error::usage(
            format!("--url {text}: {e}"),
            "an example: http://127.0.0.1:3000/api",
        )
    })?;
    if !url.is_loopback() && !allow_remote {
        return Err(Error::usage(
            format!("--url {text} is not on this machine"),
            "only loopback addresses are loaded; `--allow-remote` lifts that for a service you own",
        ));
    }
    Ok(url)
}

fn parse_header(text: &str) -> Result<(String, String), Error> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Error::usage(
            format!("--header `{text}` has no name"),
            "an example: --header 'Accept: application/json'",
        )),
    }
}

fn parse_statuses(text: &str) -> Result<StatusRanges, Error> {
    text.parse().map_err(|e| {
        Error::usage(
            format!("status list `{text}`: {e}"),
            "an example: --expect-status 200-299,405",
        )
    })
}

fn at_least<T: PartialOrd + std::fmt::Display>(flag: &str, value: T, least: T) -> Result<T, Error> {
    if value < least {
        return Err(Error::usage(
            format!("{flag} {value} is too small"),
            format!("at least {least}"),
        ));
    }
    Ok(value)
}

fn positive(flag: &str, value: Duration) -> Result<Duration, Error> {
    if value.is_zero() {
        return Err(Error::usage(
            format!("{flag} must be longer than nothing"),
            "an example: 30s",
        ));
    }
    Ok(value)
}

fn ratio(flag: &str, value: f64) -> Result<f64, Error> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(Error::usage(
            format!("{flag} is out of range"),
            "between 0% and 100%",
        ))
    }
}
