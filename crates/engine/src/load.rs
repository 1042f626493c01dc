//! What drives a subject: from flags and file to a driver that can be built again and again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_load::{
    Asked, Counter, Driver, ExternalDriver, HttpDriver, HttpRequest, Language, LineCount, Module,
    ModuleDriver, ModuleHost, Plan, StatusRanges, Trust, Url, Wire, WorkerDriver,
};
use plimsoll_model::{Finding, Mode};
use regex_lite::Regex;

use crate::around::Around;
use crate::config::{
    DEFAULT_CONCURRENCY, DEFAULT_MAX_ERRORS, MOST_CONCURRENCY, parse_statuses, parse_url, positive,
    share, within,
};
use crate::error::Error;
use crate::import::Imported;
use crate::scenario::Scenario;

/// Operations per second at most; beyond it a machine drives itself.
const FASTEST: f64 = 1_000_000.0;

/// How long a service may take to describe itself, and the largest description.
pub(crate) const DESCRIPTION: Duration = Duration::from_secs(10);
pub(crate) const LARGEST_DESCRIPTION: usize = 64 << 20;

/// What drives a subject, and how hard.
#[derive(Debug, Clone)]
pub struct Load {
    /// What makes the operations.
    pub means: Means,
    /// Where the server is: what answers there is ready.
    pub url: Option<Url>,
    /// What it is, for people.
    pub name: String,
    /// Names of the kinds of operation.
    pub operations: Vec<String>,
    /// What is to be said about it beforehand.
    pub findings: Vec<Finding>,
    /// Operations in flight.
    pub concurrency: u32,
    /// Operations per second; `None` = the next begins when one ends.
    pub rate: Option<f64>,
    /// Share of a round's operations that may fail, 0 to 1.
    pub max_errors: f64,
}

/// Who counts operations that are not ours.
#[derive(Debug, Clone, Default)]
pub struct Count {
    /// Lines of output that tell of them.
    pub log: Option<LineCount>,
    /// A counter that the subject serves.
    pub counter: Option<Counter>,
}

impl Count {
    /// Whether anybody does.
    pub(crate) fn is_some(&self) -> bool {
        self.log.is_some() || self.counter.is_some()
    }
}

/// What makes operations.
#[derive(Debug, Clone)]
pub enum Means {
    /// Our own client.
    Http(Box<Plan>),
    /// A worker that is told how many to do.
    Worker(Vec<OsString>),
    /// A load test that is run anew each round.
    External(Vec<OsString>),
    /// A module whose function is the operation: it is the subject as well.
    Module(Module),
}

impl Load {
    /// How rounds issue operations.
    pub(crate) fn mode(&self) -> Mode {
        let concurrency = self.concurrency;
        match self.rate {
            // A server pays for every connection: between rounds that are compared their number is the same.
            Some(rate) => Mode::Open {
                rate,
                concurrency,
                most: concurrency,
            },
            None => Mode::Closed { concurrency },
        }
    }

    /// Longest time an operation may take.
    pub(crate) fn timeout(&self) -> Duration {
        match &self.means {
            Means::Http(plan) => plan.timeout(),
            // Its driver tells an operation that hangs from a round that takes long; the round must not end before it.
            Means::Module(module) => module.timeout * 2,
            // Nobody but the program knows.
            Means::Worker(_) | Means::External(_) => HttpRequest::DEFAULT_TIMEOUT,
        }
    }

    /// Whether operations have inputs of their own, and can be given the same one instead.
    pub(crate) fn has_inputs(&self) -> bool {
        matches!(&self.means, Means::Http(plan) if plan.has_inputs())
    }

    /// What one operation is called.
    pub(crate) fn word(&self) -> &'static str {
        match &self.means {
            Means::Http(_) => "request",
            Means::Worker(_) | Means::External(_) | Means::Module(_) => "operation",
        }
    }

    /// The host that loads the module, if it is a module that is driven. Its files go into a private directory.
    pub(crate) fn host(
        &self,
        directory: &Path,
    ) -> Result<Option<ModuleHost>, plimsoll_load::Error> {
        match &self.means {
            Means::Module(module) => ModuleHost::try_new(directory, module).map(Some),
            _ => Ok(None),
        }
    }

    /// A driver for it. `asked` says what the subject itself has counted; `host` has loaded the module, if there is one.
    pub(crate) fn driver(
        &self,
        count: &Count,
        asked: Option<Asked>,
        host: Option<ModuleHost>,
    ) -> Result<Box<dyn Driver>, plimsoll_load::Error> {
        if let Some(host) = host {
            return Ok(Box::new(ModuleDriver::new(host)));
        }
        Ok(match &self.means {
            Means::Module(module) => {
                return Err(plimsoll_load::Error::Unsupported {
                    what: module.path.display().to_string(),
                    instead: "its host was not started".to_owned(),
                });
            }
            Means::Http(plan) => {
                Box::new(HttpDriver::with_plan((**plan).clone(), self.concurrency)?)
            }
            Means::Worker(command) => {
                Box::new(WorkerDriver::new(command.clone(), self.concurrency))
            }
            Means::External(command) => Box::new(ExternalDriver::try_new(
                command.clone(),
                self.concurrency,
                count.log.as_ref().map(|log| log.regex().clone()),
                asked,
            )?),
        })
    }
}

/// What flags and file said about the driver.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct DriverFlags {
    /// `--url`, each an operation of its own
    pub urls: Vec<String>,
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
    /// `--rate`
    pub rate: Option<f64>,
    /// `--max-errors`, 0 to 1
    pub max_errors: Option<f64>,
    /// `--cookies`
    pub cookies: bool,
    /// `--churn`
    pub churn: bool,
    /// `--http2`
    pub http2: bool,
    /// `--ca`
    pub ca: Option<PathBuf>,
    /// `--insecure`
    pub insecure: bool,
    /// `--allow-remote`
    pub allow_remote: bool,
    /// `--openapi`
    pub openapi: Option<PathBuf>,
    /// `--openapi-operation`
    pub openapi_operations: Vec<String>,
    /// `--har`
    pub har: Option<PathBuf>,
    /// `--module`
    pub module: Option<PathBuf>,
    /// `--op-cmd`
    pub op_cmd: Option<String>,
    /// `--driver`
    pub driver: Option<String>,
    /// `--ops-log`
    pub ops_log: Option<String>,
    /// `--ops-counter`
    pub ops_counter: Option<String>,
    /// What happens around it.
    pub around: Around,
    /// Steps of the configuration file, and where it is.
    pub scenario: Option<(PathBuf, Scenario)>,
}

impl DriverFlags {
    /// These flags, and where they say nothing, the lower ones.
    pub(crate) fn or(self, lower: Self) -> Self {
        // What the file drives is for another subject than what is named beside it.
        let makes_operations = self.is_some();
        let lower = match self.module {
            Some(_) => Self {
                around: lower.around,
                ..Self::default()
            },
            None => lower,
        };
        let list = |own: Vec<String>, lower: Vec<String>| if own.is_empty() { lower } else { own };
        Self {
            urls: list(self.urls, lower.urls),
            method: self.method.or(lower.method),
            headers: list(self.headers, lower.headers),
            body: self.body.or(lower.body),
            expect_status: self.expect_status.or(lower.expect_status),
            timeout: self.timeout.or(lower.timeout),
            concurrency: self.concurrency.or(lower.concurrency),
            rate: self.rate.or(lower.rate),
            max_errors: self.max_errors.or(lower.max_errors),
            cookies: self.cookies || lower.cookies,
            churn: self.churn || lower.churn,
            http2: self.http2 || lower.http2,
            ca: self.ca.or(lower.ca),
            insecure: self.insecure || lower.insecure,
            allow_remote: self.allow_remote || lower.allow_remote,
            openapi: self.openapi.or(lower.openapi),
            openapi_operations: list(self.openapi_operations, lower.openapi_operations),
            har: self.har.or(lower.har),
            module: self.module.or(lower.module.filter(|_| !makes_operations)),
            op_cmd: self.op_cmd.or(lower.op_cmd),
            driver: self.driver.or(lower.driver),
            ops_log: self.ops_log.or(lower.ops_log),
            ops_counter: self.ops_counter.or(lower.ops_counter),
            around: self.around.or(lower.around),
            scenario: self.scenario.or(lower.scenario),
        }
    }

    /// What is spoken below the requests.
    pub(crate) fn wire(&self) -> Wire {
        Wire {
            http2: self.http2,
            trust: Trust::new(self.ca.clone(), self.insecure),
        }
    }

    /// Whether anything is driven.
    pub(crate) fn is_some(&self) -> bool {
        !self.urls.is_empty()
            || self.scenario.is_some()
            || self.openapi.is_some()
            || self.har.is_some()
            || self.module.is_some()
            || self.op_cmd.is_some()
            || self.driver.is_some()
    }

    /// The module whose function is the operation, if one is named.
    pub(crate) fn module(&self) -> Result<Option<Module>, Error> {
        let Some(path) = &self.module else {
            return Ok(None);
        };
        let shown = path.display();
        let rivals = [
            ("--url", !self.urls.is_empty()),
            ("the steps of the configuration", self.scenario.is_some()),
            ("--openapi", self.openapi.is_some()),
            ("--har", self.har.is_some()),
            ("--op-cmd", self.op_cmd.is_some()),
            ("--driver", self.driver.is_some()),
            ("--rate", self.rate.is_some()),
        ];
        if let Some((rival, _)) = rivals.into_iter().find(|(_, given)| *given) {
            return Err(Error::usage(
                format!("--module and {rival} exclude each other"),
                "the operations are calls of the module's own `operation(i)`",
            ));
        }
        let Some(language) = Language::of(path) else {
            return Err(Error::usage(
                format!("--module {shown}: what it is written in is not known by its extension"),
                "there are .mjs, .cjs, .js, .mts, .cts, .ts, .jsx, .tsx and .py",
            ));
        };
        if !path.is_file() {
            return Err(Error::usage(
                format!("--module {shown}: there is no such file"),
                "name the file that exports `operation`, relative to this directory",
            ));
        }
        let timeout = self.timeout.unwrap_or(HttpRequest::DEFAULT_TIMEOUT);
        Ok(Some(Module {
            path: path.clone(),
            language,
            timeout: positive("--timeout", timeout)?,
        }))
    }

    /// Who counts the operations, where it is not our client.
    pub(crate) fn count(&self) -> Result<Count, Error> {
        let requests = self.driver.is_none() && self.is_some();
        for (flag, given) in [
            ("--ops-log", self.ops_log.is_some()),
            ("--ops-counter", self.ops_counter.is_some()),
        ] {
            if requests && given {
                return Err(Error::usage(
                    format!("{flag} is for operations that are not counted here"),
                    "leave it out: requests and workers are counted as they end",
                ));
            }
        }
        let log = self.ops_log.as_deref().map(|pattern| {
            Regex::new(pattern).map(LineCount::new).map_err(|e| {
                Error::usage(
                    format!("--ops-log: `{pattern}` is no regular expression: {e}"),
                    "escape `(`, `[` and `.` by `\\`",
                )
            })
        });
        let counter = self.ops_counter.as_deref().map(|text| {
            let counter = Counter::parse(text)?;
            parse_url(&counter.url.to_string(), self.allow_remote)?;
            Ok::<_, Error>(counter)
        });
        Ok(Count {
            log: log.transpose()?,
            counter: counter.transpose()?,
        })
    }

    /// What drives, if anything does.
    /// A description that a URL names is asked for there, so something must answer by now; `answer` is it where it is known.
    pub(crate) fn load(&self, wire: &Wire, answer: Option<&[u8]>) -> Result<Option<Load>, Error> {
        if !self.is_some() {
            return Ok(None);
        }
        if let Some(module) = self.module()? {
            let name = "operation(i)".to_owned();
            let operations = vec!["operation".to_owned()];
            return self
                .with_means(Means::Module(module), None, name, operations)
                .map(Some);
        }
        if let Some(means) = self.program()? {
            let shown = self.op_cmd.as_ref().or(self.driver.as_ref());
            let name = shown.cloned().unwrap_or_default();
            return self
                .with_means(means, None, name, vec!["operation".to_owned()])
                .map(Some);
        }
        let defaults = Defaults {
            headers: self
                .headers
                .iter()
                .map(|h| parse_header(h))
                .collect::<Result<_, _>>()?,
            expect_status: parse_statuses(self.expect_status.as_deref())?,
            timeout: positive(
                "--timeout",
                self.timeout.unwrap_or(HttpRequest::DEFAULT_TIMEOUT),
            )?,
        };
        let mut findings = Vec::new();
        let imported = self.imported(&defaults, wire, answer)?;
        let scenario = self.scenario.as_ref().filter(|_| imported.is_none());
        let mut plan = match (imported, scenario) {
            (Some(imported), _) => {
                findings = imported.findings;
                imported.plan
            }
            (None, Some((path, scenario))) => scenario.plan(path, self.urls.first(), &defaults)?,
            (None, None) => self.requests(&defaults),
        };
        plan.wire = wire.clone();
        plan.cookies |= self.cookies;
        plan.keep_alive &= !self.churn;
        let operations = match (plan.check(), scenario) {
            (Ok(names), _) => names,
            (Err(error), Some((path, scenario))) => return Err(scenario.located(path, error)),
            (Err(error), None) => return Err(error.into()),
        };
        let first = &plan.steps[0].request;
        let name = match &operations[..] {
            [_] if first.url.starts_with("ws") => first.url.clone(),
            [_] => format!("{} {}", first.method, first.url),
            [..] => format!("{} operations of {}", operations.len(), origin(&first.url)),
        };
        let ready = plan.setup.first().unwrap_or(&plan.steps[0]);
        let url = parse_url(&ready.request.url, self.allow_remote)?;
        // What a variable will stand for is not known yet; any path tells whether somebody listens.
        let url = if url.path_and_query.contains("{{") && !url.path_and_query.contains("{{seq}}") {
            parse_url(&origin(&ready.request.url), self.allow_remote)?
        } else {
            url
        };
        let means = Means::Http(Box::new(plan));
        let load = self.with_means(means, Some(url), name, operations)?;
        Ok(Some(Load { findings, ..load }))
    }

    /// Where the service itself describes its operations, if that is a URL.
    pub(crate) fn description(&self) -> Result<Option<Url>, Error> {
        let text = self.openapi.as_ref().map(|path| path.to_string_lossy());
        let text = text.filter(|text| text.contains("://"));
        text.map(|url| parse_url(&url, self.allow_remote))
            .transpose()
    }

    /// The operations of a description or recording, if one is named.
    fn imported(
        &self,
        defaults: &Defaults,
        wire: &Wire,
        answer: Option<&[u8]>,
    ) -> Result<Option<Imported>, Error> {
        if let (Some(url), None) = (self.description()?, &self.har) {
            let named = &self.openapi_operations;
            let asked;
            let answer = if let Some(answer) = answer {
                answer
            } else {
                asked = plimsoll_load::fetch(&url, wire, DESCRIPTION, LARGEST_DESCRIPTION)?;
                &asked
            };
            let url = url.to_string();
            let imported =
                crate::import::openapi_of(&url, answer, self.urls.first(), named, defaults);
            return imported.map(Some);
        }
        let base = self.urls.first();
        match (&self.openapi, &self.har) {
            (Some(_), Some(_)) => Err(Error::usage(
                "--openapi and --har exclude each other",
                "name one",
            )),
            (Some(path), None) => {
                crate::import::openapi(path, base, &self.openapi_operations, defaults).map(Some)
            }
            (None, Some(path)) => crate::import::har(path, base, defaults).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn with_means(
        &self,
        means: Means,
        url: Option<Url>,
        name: String,
        operations: Vec<String>,
    ) -> Result<Load, Error> {
        // Requests come from many; a function is called by one.
        let usual = match &means {
            Means::Module(_) => 1,
            _ => DEFAULT_CONCURRENCY,
        };
        Ok(Load {
            means,
            url,
            name,
            findings: Vec::new(),
            operations,
            concurrency: within(
                "--concurrency",
                self.concurrency.unwrap_or(usual),
                1,
                MOST_CONCURRENCY,
            )?,
            rate: self.rate.map(rate).transpose()?,
            max_errors: share(
                "--max-errors",
                self.max_errors.unwrap_or(DEFAULT_MAX_ERRORS),
            )?,
        })
    }

    /// The program that makes the operations, if one is named.
    fn program(&self) -> Result<Option<Means>, Error> {
        let cut = |flag: &str, text: &str| -> Result<Vec<OsString>, Error> {
            let words = plimsoll_load::words(text).map_err(|why| {
                Error::usage(format!("{flag} `{text}`: {why}"), "quote it as for a shell")
            })?;
            if words.is_empty() {
                return Err(Error::usage(
                    format!("{flag} names no program"),
                    "an example: --op-cmd 'node worker.js'",
                ));
            }
            Ok(words)
        };
        let means = match (&self.op_cmd, &self.driver) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(Error::usage(
                    "--op-cmd and --driver exclude each other",
                    "name one",
                ));
            }
            (Some(text), None) => Means::Worker(cut("--op-cmd", text)?),
            (None, Some(text)) => {
                let command = cut("--driver", text)?;
                let takes_n = command.iter().any(|w| w.to_string_lossy().contains("{n}"));
                if !takes_n && !self.count()?.is_some() {
                    // Refused by the driver itself, in its own words.
                    ExternalDriver::try_new(command.clone(), 1, None, None)?;
                }
                Means::External(command)
            }
        };
        if !self.urls.is_empty() || self.scenario.is_some() {
            return Err(Error::usage(
                "a program and requests of our own exclude each other",
                "name the URL that tells readiness with `--ready-url`",
            ));
        }
        if self.rate.is_some() {
            return Err(Error::usage(
                "--rate is for requests of our own",
                "give the rate to the program itself",
            ));
        }
        Ok(Some(means))
    }

    /// Each URL a request of its own.
    fn requests(&self, defaults: &Defaults) -> Plan {
        let usual = if self.body.is_some() { "POST" } else { "GET" };
        let method = self.method.as_deref().unwrap_or(usual);
        Plan::of(self.urls.iter().map(|url| HttpRequest {
            method: method.to_owned(),
            url: url.clone(),
            headers: defaults.headers.clone(),
            body: self.body.clone().map(String::into_bytes),
            expect_status: defaults.expect_status.clone(),
            timeout: defaults.timeout,
        }))
    }
}

/// What holds for every request that says nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Defaults {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) expect_status: StatusRanges,
    pub(crate) timeout: Duration,
}

fn rate(rate: f64) -> Result<f64, Error> {
    if rate > 0.0 && rate <= FASTEST {
        Ok(rate)
    } else {
        Err(Error::usage(
            "--rate is out of range",
            "operations per second, more than 0, an example: --rate 200",
        ))
    }
}

/// Scheme, host and port of a URL.
pub(crate) fn origin(url: &str) -> String {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url[after..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| after + at);
    url[..end].to_owned()
}

/// Reads `Name: value`. A word `env:NAME` in the value is what that environment variable says: a secret that stands
/// neither in a file nor in a command line, and in no record.
pub(crate) fn parse_header(text: &str) -> Result<(String, String), Error> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), with_environment(value.trim())?))
        }
        _ => Err(Error::usage(
            format!("--header `{text}` has no name"),
            "an example: --header 'Accept: application/json'",
        )),
    }
}

/// The text with its words `env:NAME` replaced.
pub(crate) fn with_environment(text: &str) -> Result<String, Error> {
    let mut words = Vec::new();
    for word in text.split(' ') {
        match word.strip_prefix("env:") {
            Some(name) if !name.is_empty() => words.push(std::env::var(name).map_err(|_| {
                Error::usage(
                    format!("the environment variable {name} is not set"),
                    format!("`env:{name}` stands for its value; `export {name}=…` first"),
                )
            })?),
            _ => words.push(word.to_owned()),
        }
    }
    Ok(words.join(" "))
}

/// Reads a file that the configuration names, relative to the configuration.
pub(crate) fn beside(config: &Path, named: &str) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_secrets_come_from_the_environment() {
        assert_eq!(
            parse_header("Accept:  a:b ").unwrap(),
            ("Accept".to_owned(), "a:b".to_owned())
        );
        assert!(parse_header("no name").is_err());
        let path = std::env::var("PATH").unwrap();
        assert_eq!(
            with_environment("Bearer env:PATH").unwrap(),
            format!("Bearer {path}")
        );
        let error = with_environment("env:PLIMSOLL_NO_SUCH_THING").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("PLIMSOLL_NO_SUCH_THING is not set")
        );
    }

    #[test]
    fn the_origin_is_everything_before_the_path() {
        for (url, expected) in [
            ("http://a:1/b/c?d", "http://a:1"),
            ("http://a", "http://a"),
            ("http://[::1]:2?x", "http://[::1]:2"),
        ] {
            assert_eq!(origin(url), expected);
        }
    }
}
