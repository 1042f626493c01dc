//! A function of a module as the operation: the host that repeats it, and the driver that tells the host how often.
//!
//! Host and subject are one process: what is measured is the runtime in which the module was loaded. The host connects to
//! a socket in a private directory; its standard streams are the module's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_model::{
    Cancel, Cx, Finding, OpId, OpStats, OperationKind, Quiet, RoundSpec, RoundStats, SubjectHandle,
    units,
};
use serde_json::Value;

use crate::{Driver, Error};

use self::channel::Channel;

pub(crate) mod channel;
mod suite;

pub use self::suite::SuiteHost;

/// The hosts, kept once beside the probes of their languages; the links lie inside this crate so that it can be packaged.
const NODE: &str = include_str!("module/host.mjs");
const PYTHON: &str = include_str!("module/host.py");

/// How long `teardown()` may take.
const TEARDOWN: Duration = Duration::from_secs(5);

/// What a module is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// JavaScript or TypeScript.
    JavaScript,
    /// Python.
    Python,
}

impl Language {
    /// By the extension of the file.
    pub fn of(module: &Path) -> Option<Self> {
        match module.extension()?.to_str()? {
            "mjs" | "cjs" | "js" | "mts" | "cts" | "ts" | "jsx" | "tsx" => Some(Self::JavaScript),
            "py" => Some(Self::Python),
            _ => None,
        }
    }

    /// What runs it unless somebody says otherwise.
    pub fn runtime(self) -> &'static str {
        match self {
            Self::JavaScript => "node",
            Self::Python => "python3",
        }
    }

    /// Name and text of its host.
    fn host(self) -> (&'static str, &'static str) {
        match self {
            Self::JavaScript => ("host.mjs", NODE),
            Self::Python => ("host.py", PYTHON),
        }
    }
}

/// A module whose `operation(i)` is repeated.
#[derive(Debug, Clone)]
pub struct Module {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// How long one operation may take.
    pub timeout: Duration,
}

/// The program that loads a module and does rounds of its operation, once it is started.
#[derive(Debug)]
pub struct ModuleHost {
    module: Module,
    channel: Channel,
}

/// What a host says.
#[derive(Debug, PartialEq)]
enum Said {
    Ready,
    Failed {
        why: String,
        code: String,
    },
    Done {
        done: u64,
        errors: BTreeMap<String, u64>,
    },
    At(u64),
    Ended {
        threw: Option<String>,
    },
}

impl ModuleHost {
    /// Puts the host for `module` into a private directory, and a socket beside it.
    ///
    /// # Errors
    /// If one of them cannot be made.
    pub fn try_new(directory: &Path, module: &Module) -> Result<Self, Error> {
        let (name, text) = module.language.host();
        Ok(Self {
            module: module.clone(),
            channel: Channel::try_new(directory, name, text)?,
        })
    }

    /// The command that starts it: `given`, a runtime with its flags and the module, with the host before the module.
    pub fn command(&self, given: &[OsString]) -> Vec<OsString> {
        let mut command = given.to_vec();
        let at = command.len().saturating_sub(1);
        let ours =
            [&self.channel.file, &self.channel.socket].map(|path| path.clone().into_os_string());
        command.splice(at..at, ours);
        command
    }

    /// Whether the module is loaded and set up; never waits.
    ///
    /// # Errors
    /// [`Error::Module`] if the host says that it cannot be.
    pub fn is_ready(&mut self) -> Result<bool, Error> {
        if !self.channel.is_connected()? {
            return Ok(false);
        }
        self.channel.read();
        match self.take()? {
            Some(Said::Ready) => Ok(true),
            Some(Said::Failed { why, code }) => Err(Error::Module {
                reason: format!("{} {why}", self.name()),
                hint: hint(&code),
                stats: Box::default(),
            }),
            _ => Ok(false),
        }
    }

    fn name(&self) -> String {
        self.module.path.display().to_string()
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        self.channel.tell(line)
    }

    /// The next thing it says; `None` when it has closed the connection.
    fn hear(&mut self, cx: &Cx) -> Result<Option<Said>, Error> {
        let line = self.channel.hear(cx)?;
        line.map(|line| self.understand(&line)).transpose()
    }

    /// The first line that was read, as what it means.
    fn take(&mut self) -> Result<Option<Said>, Error> {
        let line = self.channel.take();
        line.map(|line| self.understand(&line)).transpose()
    }

    fn understand(&self, line: &[u8]) -> Result<Said, Error> {
        said(line).ok_or_else(|| Error::Module {
            reason: format!(
                "{}: something else answers in place of its host",
                self.name()
            ),
            hint: None,
            stats: Box::default(),
        })
    }
}

/// What a line of a host means.
fn said(line: &[u8]) -> Option<Said> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if value.get("ready").is_some() {
        return Some(Said::Ready);
    }
    if let Some(why) = text("failed") {
        let code = text("code").unwrap_or_default();
        return Some(Said::Failed { why, code });
    }
    if let Some(done) = value.get("done") {
        let errors = value.get("errors")?.as_object()?.iter();
        return Some(Said::Done {
            done: done.as_u64()?,
            errors: errors
                .map(|(kind, count)| Some((kind.clone(), count.as_u64()?)))
                .collect::<Option<_>>()?,
        });
    }
    if let Some(at) = value.get("at") {
        return Some(Said::At(at.as_u64().unwrap_or_default()));
    }
    value.get("ended")?;
    Some(Said::Ended {
        threw: text("ended"),
    })
}

/// What to do about a module that a runtime refuses, by the runtime's own code for it.
pub(crate) fn hint(code: &str) -> Option<&'static str> {
    match code {
        "ERR_UNKNOWN_FILE_EXTENSION" | "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX" => Some(
            "name a runtime that takes it after `--`: for TypeScript Node 22.18 or newer, or `-- tsx`, `-- bun`, `-- deno run -A`",
        ),
        "ERR_MODULE_NOT_FOUND" | "MODULE_NOT_FOUND" => {
            Some("what it imports is looked for from where it lies; install it there")
        }
        _ => None,
    }
}

/// Has the host of a module do rounds.
#[derive(Debug)]
pub struct ModuleDriver {
    host: ModuleHost,
    operations: [OperationKind; 1],
    /// An operation was given up: it is still in there, and nothing can be torn down around it.
    is_stuck: bool,
}

/// What is known of an operation that takes long.
#[derive(Debug, Default)]
struct Patience {
    /// When the host was asked where it is, while it has not answered.
    asked: Option<Instant>,
    /// The oldest operation in flight, and since when it is known to be.
    seen: Option<(u64, Instant)>,
}

impl ModuleDriver {
    /// Drives what a host has loaded.
    pub fn new(host: ModuleHost) -> Self {
        Self {
            operations: [OperationKind {
                id: OpId(0),
                name: "operation".to_owned(),
            }],
            host,
            is_stuck: false,
        }
    }

    fn failed(&self, why: &str) -> Error {
        Error::Module {
            reason: format!("{}: {why}", self.host.name()),
            hint: None,
            stats: Box::default(),
        }
    }

    /// Nothing was heard for a while: asks where the host is, and gives up on an operation that takes too long.
    fn wonder(&mut self, patience: &mut Patience) -> Result<(), Error> {
        let timeout = self.host.module.timeout;
        let length = units::duration(timeout.as_secs_f64());
        match patience.asked {
            Some(asked) if asked.elapsed() >= timeout => {
                self.is_stuck = true;
                Err(self.failed(&format!(
                    "an operation has not come back for {length}, and nothing else gets its turn meanwhile"
                )))
            }
            Some(_) => Ok(()),
            None => {
                patience.asked = Some(Instant::now());
                self.host
                    .tell("where")
                    .map_err(|_| self.failed("it ended the connection to plimsoll"))
            }
        }
    }
}

impl Driver for ModuleDriver {
    fn operations(&self) -> &[OperationKind] {
        &self.operations
    }

    fn prepare(&mut self, _subject: &SubjectHandle) -> Result<(), Error> {
        Ok(())
    }

    fn round(&mut self, spec: &RoundSpec, cx: &Cx) -> Result<RoundStats, Error> {
        let begun = Instant::now();
        let asked = spec.operations;
        let timeout = self.host.module.timeout;
        let told = self
            .host
            .tell(&format!("run {asked} {}", spec.mode.concurrency()));
        if told.is_err() {
            return Err(self.failed("it ended the connection to plimsoll"));
        }
        let mut patience = Patience::default();
        loop {
            match self.host.hear(&cx.at_most(timeout / 4)) {
                Ok(Some(Said::Done { done, errors })) => {
                    let failed: u64 = errors.values().sum();
                    if done != asked || failed > done {
                        return Err(self.failed(&format!(
                            "it was told {asked} operations and did {done}, {failed} of which failed"
                        )));
                    }
                    return Ok(stats(done - failed, errors, begun.elapsed()));
                }
                Ok(Some(Said::At(index))) => {
                    patience.asked = None;
                    match patience.seen {
                        Some((seen, since)) if seen == index => {
                            if since.elapsed() >= timeout {
                                self.is_stuck = true;
                                let length = units::duration(timeout.as_secs_f64());
                                return Err(self.failed(&format!(
                                    "operation {index} has not settled for {length}"
                                )));
                            }
                        }
                        _ => patience.seen = Some((index, Instant::now())),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.failed("it ended the connection to plimsoll")),
                Err(Error::Deadline { .. }) if !cx.left().is_zero() => {
                    self.wonder(&mut patience)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn quiesce(&mut self, _cx: &Cx) -> Result<Quiet, Error> {
        Ok(Quiet {
            connections: 0,
            settled: true,
        })
    }

    fn close(mut self: Box<Self>) -> Option<Finding> {
        if self.is_stuck {
            return None;
        }
        // An interrupted run is torn down like any other, so its request does not count here.
        let cancel = Cancel::try_new().ok()?;
        let cx = Cx::within(&cancel, TEARDOWN);
        // A host that is gone has been told of already.
        self.host.tell("end").ok()?;
        let what = loop {
            match self.host.hear(&cx) {
                Ok(Some(Said::Ended { threw: None }) | None) => return None,
                Ok(Some(Said::Ended { threw: Some(why) })) => break format!("failed: {why}"),
                // What a round that was broken off has to say still comes before.
                Ok(Some(_)) => {}
                Err(_) => {
                    break format!(
                        "did not end within {}",
                        units::duration(TEARDOWN.as_secs_f64())
                    );
                }
            }
        };
        Some(Finding::warning(
            "teardown",
            format!("teardown() of {} {what}", self.host.name()),
            None,
        ))
    }
}

/// What a round of `done` operations and these errors was.
fn stats(done: u64, errors: BTreeMap<String, u64>, elapsed: Duration) -> RoundStats {
    RoundStats {
        done,
        elapsed,
        per_operation: vec![OpStats {
            operation: OpId(0),
            done,
            errors: errors.values().sum(),
            errors_by_kind: errors.clone(),
            ..OpStats::default()
        }],
        errors_by_kind: errors,
        ..RoundStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_known_by_extensions() {
        for (path, expected) in [
            ("a/op.mjs", Some(Language::JavaScript)),
            ("op.d.ts", Some(Language::JavaScript)),
            ("op.py", Some(Language::Python)),
            ("op.rb", None),
            ("py", None),
        ] {
            assert_eq!(Language::of(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn what_hosts_say_is_read() {
        let errors = [("Error: #".to_owned(), 2)].into();
        for (line, expected) in [
            (r#"{"ready":true}"#, Some(Said::Ready)),
            (
                r#"{"done":10,"errors":{"Error: #":2}}"#,
                Some(Said::Done { done: 10, errors }),
            ),
            (r#"{"at":7}"#, Some(Said::At(7))),
            (r#"{"ended":null}"#, Some(Said::Ended { threw: None })),
            (
                r#"{"failed":"no","code":"E"}"#,
                Some(Said::Failed {
                    why: "no".to_owned(),
                    code: "E".to_owned(),
                }),
            ),
            (r#"{"done":-1,"errors":{}}"#, None),
            (r#"{"done":1}"#, None),
            ("hello", None),
            ("[]", None),
        ] {
            assert_eq!(said(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn the_host_comes_before_the_module() {
        let directory = tempfile::tempdir().unwrap();
        let module = Module {
            path: "op.ts".into(),
            language: Language::JavaScript,
            timeout: Duration::from_secs(1),
        };
        let host = ModuleHost::try_new(directory.path(), &module).unwrap();
        let given = ["node", "--flag", "op.ts"].map(OsString::from);
        let command = host.command(&given);
        assert_eq!(command[..2], given[..2]);
        assert_eq!(command[2], directory.path().join("host.mjs"));
        assert_eq!(
            command[3..],
            [directory.path().join("ops").into(), given[2].clone()]
        );
    }
}
