//! The process that loads the subject and obeys, and everything that may go wrong with it.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_load::{Error as LoadError, SuiteHost};
use plimsoll_model::{Cancel, Cx, units};
use plimsoll_probe::{Hub, HubEvent, HubOptions, IsolateInfo, Launch, Subject};
use serde_json::Value;

use super::Suite;
use crate::error::Error;
use crate::session::last_words;

/// How long a subject may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How long a process that is gone may take to be known as such.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Poll period while waiting for the module.
const POLL: Duration = Duration::from_millis(10);

/// Why a check, a test or all of a suite ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Somebody asked for it.
    Interrupted,
    /// What the check needs is missing.
    Skipped(String),
    /// Its time was over.
    Late(String),
    /// The subject failed.
    Failed {
        what: String,
        details: Vec<String>,
        hint: Option<String>,
    },
}

impl Trouble {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            details: Vec::new(),
            hint: None,
        }
    }
}

/// What a subject module has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abilities {
    pub(crate) kind: Option<String>,
    pub(crate) runtime: String,
    has: Vec<String>,
    /// Whether its runtime tells of objects that are gone.
    pub(crate) finalizers: bool,
}

impl Abilities {
    fn of(ready: &Value) -> Self {
        let text = |name: &str| ready[name].as_str().map(str::to_owned);
        let has = ready["has"].as_array().into_iter().flatten();
        Self {
            kind: text("kind"),
            runtime: text("runtime").unwrap_or_default(),
            has: has.filter_map(|h| h.as_str().map(str::to_owned)).collect(),
            finalizers: ready["finalizers"].as_bool() == Some(true),
        }
    }

    pub(crate) fn has(&self, what: &str) -> bool {
        self.has.iter().any(|has| has == what)
    }

    /// What its objects are called.
    pub(crate) fn objects(&self) -> &str {
        self.kind.as_deref().unwrap_or("object")
    }
}

/// A process with the subject in it.
pub(crate) struct Child<'a> {
    suite: &'a Suite,
    cancel: &'a Cancel,
    subject: Subject,
    host: SuiteHost,
    pub(crate) hub: Hub,
    pub(crate) abilities: Abilities,
    /// The isolate that the module is in, once its probe has said hello.
    isolate: Option<IsolateInfo>,
}

impl<'a> Child<'a> {
    /// Starts the subject and waits until it is set up.
    pub(crate) fn start(
        suite: &'a Suite,
        cancel: &'a Cancel,
    ) -> Result<Result<Self, Trouble>, Error> {
        // Nothing is sampled: what is measured here is compared byte by byte.
        let options = HubOptions {
            sample_hz: 0.0,
            ..HubOptions::default()
        };
        let hub = Hub::start(Instant::now(), &options)?;
        let host = SuiteHost::try_new(hub.directory(), &suite.subject)?;
        let command = host.command(&suite.runtime);
        let (env, _) = crate::environment::environment(&command, &[], &hub);
        let subject = Subject::spawn(&Launch {
            command,
            env,
            output_dir: None,
        })?;
        let mut child = Self {
            suite,
            cancel,
            subject,
            host,
            hub,
            abilities: Abilities::default(),
            isolate: None,
        };
        let ready = child.get_ready();
        Ok(ready.map(|()| child))
    }

    fn get_ready(&mut self) -> Result<(), Trouble> {
        let begun = Instant::now();
        loop {
            if self.cancel.is_cancelled() {
                return Err(Trouble::Interrupted);
            }
            match self.host.ready() {
                Ok(Some(ready)) => {
                    self.abilities = Abilities::of(&ready);
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => {
                    // It ends by itself, once it has said why at length.
                    self.subject.wait_exit(LAST_MOMENT, self.cancel);
                    return Err(self.unloaded(&error));
                }
            }
            if let Some(exit) = self.subject.exit() {
                // It may have said why in its last moment.
                if let Err(error) = self.host.ready() {
                    return Err(self.unloaded(&error));
                }
                return Err(Trouble::Failed {
                    what: format!("the subject exited before it was loaded ({exit})"),
                    details: self.details(),
                    hint: Some(
                        "the suites need Node 14 or newer; another runtime follows `--`".to_owned(),
                    ),
                });
            }
            if begun.elapsed() >= self.suite.ready_timeout {
                return Err(Trouble::Failed {
                    what: format!(
                        "the subject was not loaded and set up within {}",
                        units::duration(self.suite.ready_timeout.as_secs_f64())
                    ),
                    details: self.details(),
                    hint: Some("raise `--ready-timeout`".to_owned()),
                });
            }
            self.subject.wait_exit(POLL, self.cancel);
        }
    }

    fn unloaded(&self, error: &LoadError) -> Trouble {
        Trouble::Failed {
            what: error.to_string(),
            details: self.details(),
            hint: error.hint().map(str::to_owned),
        }
    }

    /// Has the subject do one thing until `deadline` at most.
    pub(crate) fn tell(&mut self, command: &Value, deadline: Instant) -> Result<Value, Trouble> {
        let cx = Cx {
            deadline,
            cancel: self.cancel.clone(),
        };
        match self.host.tell(command, &cx) {
            Ok(done) => Ok(done),
            Err(LoadError::Cancelled { .. }) => Err(Trouble::Interrupted),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// What happened to it, from what its host said last and how its process is.
    pub(crate) fn lost(&self, error: &LoadError) -> Trouble {
        if self.cancel.is_cancelled() {
            return Trouble::Interrupted;
        }
        self.death().unwrap_or_else(|| Trouble::Failed {
            what: error.to_string(),
            hint: error.hint().map(str::to_owned),
            details: self.details(),
        })
    }

    /// How it ended, if it is at its end.
    pub(crate) fn death(&self) -> Option<Trouble> {
        let exit = self.subject.wait_exit(LAST_MOMENT, self.cancel)?;
        let details = self.details();
        let out_of_memory = details
            .iter()
            .any(|line| line.contains("heap out of memory"));
        Some(Trouble::Failed {
            what: if out_of_memory {
                format!("the subject ran out of memory ({exit})")
            } else {
                format!("the subject died ({exit})")
            },
            hint: out_of_memory.then(|| {
                "what is kept per object outgrew the heap; `plimsoll suite snapshot` names the holder".to_owned()
            }),
            details,
        })
    }

    /// The command and the last lines, for an error.
    pub(crate) fn details(&self) -> Vec<String> {
        let words = self.suite.runtime.iter().map(|w| w.to_string_lossy());
        let command: Vec<_> = words
            .chain([self.suite.subject.to_string_lossy()])
            .collect();
        last_words(&command.join(" "), &self.subject)
    }

    /// CPU seconds it has used so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.subject.process().cpu_seconds().unwrap_or(0.0)
    }

    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The isolate the module is in, if a probe came with it.
    pub(crate) fn isolate(&mut self) -> Option<&IsolateInfo> {
        let pid = self.subject.process().id().pid;
        while let Ok(event) = self.hub.events().try_recv() {
            // A runtime behind a wrapper is another process; the last to come is the one that loaded the module.
            if let HubEvent::Up(isolate) = event
                && isolate.isolate == 0
                && self
                    .isolate
                    .as_ref()
                    .is_none_or(|known| known.process.pid != pid)
            {
                self.isolate = Some(isolate);
            }
        }
        self.isolate.as_ref()
    }
}

impl Drop for Child<'_> {
    fn drop(&mut self) {
        self.subject.end(GRACE);
    }
}

/// Whether it is a file that a runtime can load.
pub(crate) fn is_module(path: &Path) -> bool {
    plimsoll_load::Language::of(path) == Some(plimsoll_load::Language::JavaScript)
}

/// What runs a module unless somebody says otherwise.
pub(crate) fn runtime(given: &[OsString]) -> Vec<OsString> {
    if given.is_empty() {
        vec!["node".into()]
    } else {
        given.to_vec()
    }
}
