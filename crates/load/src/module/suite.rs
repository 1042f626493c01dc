//! The host of the suites: a program that loads a subject module and does what it is told, one command at a time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_model::{Cx, units};
use serde_json::{Value, json};

use super::channel::Channel;
use super::hint;
use crate::Error;

/// The host, kept once beside the probe of its language.
const HOST: &str = include_str!("suite.cjs");

/// How long a host whose event loop turns may take to say where it is.
const ANSWER: Duration = Duration::from_millis(500);

/// A program that loads a subject module and obeys.
#[derive(Debug)]
pub struct SuiteHost {
    module: PathBuf,
    channel: Channel,
}

impl SuiteHost {
    /// Puts the host for `module` into a private directory, and a socket beside it.
    ///
    /// # Errors
    /// If one of them cannot be made.
    pub fn try_new(directory: &Path, module: &Path) -> Result<Self, Error> {
        Ok(Self {
            module: module.to_owned(),
            channel: Channel::try_new(directory, "suite.cjs", HOST)?,
        })
    }

    /// The command that starts it in `runtime`, a program with its flags.
    pub fn command(&self, runtime: &[OsString]) -> Vec<OsString> {
        let ours = [&self.channel.file, &self.channel.socket, &self.module];
        runtime
            .iter()
            .cloned()
            .chain(ours.map(|path| path.clone().into_os_string()))
            .collect()
    }

    /// What the module has, once it is loaded and set up; never waits.
    ///
    /// # Errors
    /// [`Error::Module`] if the host says that it cannot be.
    pub fn ready(&mut self) -> Result<Option<Value>, Error> {
        if !self.channel.is_connected()? {
            return Ok(None);
        }
        self.channel.read();
        let Some(line) = self.channel.take() else {
            return Ok(None);
        };
        let said = self.understand(&line)?;
        if let Some(why) = said["failed"].as_str() {
            let mut failed = self.failed(why);
            if let Error::Module { hint: told, .. } = &mut failed {
                *told = hint(said["code"].as_str().unwrap_or_default());
            }
            return Err(failed);
        }
        Ok(said.get("ready").cloned())
    }

    /// Has it do one thing, and returns what it says of it.
    ///
    /// # Errors
    /// [`Error::Module`] if it refuses, is gone, or takes longer than `cx` allows: then it is told where it hangs.
    /// [`Error::Cancelled`] if that was asked.
    pub fn tell(&mut self, command: &Value, cx: &Cx) -> Result<Value, Error> {
        let begun = Instant::now();
        if self.channel.tell(&command.to_string()).is_err() {
            return Err(self.failed("it ended the connection to plimsoll"));
        }
        loop {
            match self.channel.hear(cx) {
                Ok(Some(line)) => {
                    let mut said = self.understand(&line)?;
                    if let Some(done) = said.get_mut("done") {
                        return Ok(done.take());
                    }
                    if let Some(why) = said["refused"].as_str() {
                        return Err(self.failed(why));
                    }
                }
                Ok(None) => return Err(self.failed("it ended the connection to plimsoll")),
                Err(Error::Deadline { .. }) => return Err(self.late(begun.elapsed(), cx)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Why it has not answered in time.
    fn late(&mut self, waited: Duration, cx: &Cx) -> Error {
        let waited = units::duration(waited.as_secs_f64());
        let asked = Cx::within(&cx.cancel, ANSWER);
        let _ = self.channel.tell(&json!({ "do": "where" }).to_string());
        while let Ok(Some(line)) = self.channel.hear(&asked) {
            let Ok(said) = self.understand(&line) else {
                break;
            };
            if let Some(at) = said["at"].as_str() {
                return self.failed(&format!(
                    "{at} has not settled; the step went on for {waited}"
                ));
            }
        }
        self.failed(&format!(
            "the step has not come back for {waited}, and nothing else gets its turn meanwhile"
        ))
    }

    fn failed(&self, why: &str) -> Error {
        Error::Module {
            reason: format!("{} {why}", self.module.display()),
            hint: None,
            stats: Box::default(),
        }
    }

    fn understand(&self, line: &[u8]) -> Result<Value, Error> {
        serde_json::from_slice(line)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| self.failed("is loaded by something else than its host"))
    }
}
