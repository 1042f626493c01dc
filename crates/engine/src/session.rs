//! One subject under observation: started, ready, watched from outside and inside, and ended for certain.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use plimsoll_load::{Driver, ModuleHost};
use plimsoll_model::{
    Cancel, Event, Exit, Finding, Gap, Ns, Phase, ProcessId, ProcessInfo, RuntimeInfo, Sample,
    Source, SourceId, SubjectInfo,
};
use plimsoll_probe::{
    Hub, HubEvent, HubOptions, IsolateInfo, Launch, Lines, Process, Runtime, Subject,
};
use plimsoll_store::{Record, Recorder, RecorderHandle};

use crate::check::Supervisor;
use crate::config::{Config, Origin, Ready};
use crate::environment::environment;
use crate::error::Error;

use crate::native::Native;
use crate::parts::{Part, State};
use crate::tally::Tally;
use crate::warnings::Warning;
use crate::watch::Watch;

/// How long a subject may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// Lines of the subject's output in an error: a Node stack with its first line.
const LAST_LINES: usize = 12;
/// Strangers are reaped at most so often.
const REAP_PERIOD: Duration = Duration::from_secs(1);
/// How long a process that is being ended may take to be gone, once its connections are.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// Longest sleep that no descriptor can end.
const SHORT_NAP: Duration = Duration::from_millis(25);

/// Why a run ended before its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The subject or the load failed.
    Failed {
        what: String,
        details: Vec<String>,
        hint: Option<String>,
    },
    /// Cancelled.
    Interrupted,
}

impl Stop {
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed {
            what: what.into(),
            details: Vec::new(),
            hint: None,
        }
    }

    pub(crate) fn hint(self, text: impl Into<String>) -> Self {
        match self {
            Self::Failed { what, details, .. } => Self::Failed {
                what,
                details,
                hint: Some(text.into()),
            },
            Self::Interrupted => self,
        }
    }
}

/// A subject that runs, with everything that observes it.
pub(crate) struct Session<'a> {
    pub(crate) config: &'a Config,
    supervisor: Supervisor,
    reaped: Instant,
    pub(crate) cancel: &'a Cancel,
    pub(crate) events: &'a mut dyn FnMut(Event),
    pub(crate) epoch: Instant,
    pub(crate) subject: Subject,
    pub(crate) recorder: RecorderHandle,
    pub(crate) watch: Watch,
    pub(crate) sources: Vec<Source>,
    pub(crate) service: Option<Service>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) gaps: Vec<Gap>,
    /// Processes of the subject's tree that the log has, living.
    pub(crate) told: BTreeSet<ProcessId>,
    /// How often the service was started anew.
    pub(crate) restarts: u32,
    /// Why the subject was given no probe, if it was not.
    pub(crate) no_carrier: Option<String>,
    pub(crate) ready: Option<Ns>,
    pub(crate) pause: Duration,
    pub(crate) dropped: u64,
    pub(crate) isolates: Vec<IsolateInfo>,
    /// Isolates whose connection is closed, by key.
    pub(crate) gone: BTreeSet<u64>,
    /// Who shares the service's work.
    pub(crate) parts: Vec<Part>,
    /// The source of what all of them have together.
    pub(crate) sum: Option<SourceId>,
    /// Whose heap is looked into after a leak, if not the service's main isolate's.
    pub(crate) explained: Option<SourceId>,
    /// Memory may not suffice for all snapshots: classes are counted too.
    pub(crate) counts_classes: bool,
    /// What loads the module that is driven, until its driver takes it over.
    pub(crate) host: Option<ModuleHost>,
    pub(crate) hub: Option<Hub>,
    /// What is known of the code of a native service.
    pub(crate) native: Native,
    /// Lines in which the runtime itself warns.
    warned: Lines,
}

/// The process the verdict is about.
pub(crate) struct Service {
    pub(crate) process: Process,
    /// What is read of it from outside.
    pub(crate) source: SourceId,
    pub(crate) info: ProcessInfo,
    pub(crate) processes: Vec<ProcessInfo>,
    pub(crate) runtime: Option<Inside>,
}

/// The service seen from inside.
pub(crate) struct Inside {
    pub(crate) runtime: Box<dyn Runtime>,
    pub(crate) source: SourceId,
    pub(crate) info: RuntimeInfo,
    pub(crate) heap_limit: Option<u64>,
    pub(crate) key: u64,
}

impl<'a> Session<'a> {
    /// Starts the subject with its probe carrier in the environment.
    pub(crate) fn start(
        config: &'a Config,
        supervisor: Supervisor,
        cancel: &'a Cancel,
        events: &'a mut dyn FnMut(Event),
        epoch: Instant,
        recorder: &Recorder,
    ) -> Result<Self, Error> {
        // Following the runtime's own collections costs it memory until its event loop turns: fine for watching, not
        // between readings that are compared byte by byte.
        let options = HubOptions {
            follow_gc: config.load.is_none(),
            ..HubOptions::default()
        };
        // Where there is no place for the files of a hub, the subject is seen from outside all the same.
        let (hub, mut no_carrier) = match Hub::start(epoch, &options) {
            Ok(hub) => (Some(hub), None),
            // A module cannot even be loaded without one.
            Err(error) if matches!(config.ready, Ready::Module) => return Err(error.into()),
            Err(error) => (None, Some(error.to_string())),
        };
        let host = match (&config.load, &hub) {
            (Some(load), Some(hub)) => load.host(hub.directory())?,
            _ => None,
        };
        let subject = match (&config.origin, &hub) {
            (Origin::Command(command), Some(hub)) => {
                let (mut env, why_not) = environment(command, &config.env, hub);
                no_carrier = why_not.map(str::to_owned);
                let (variable, folder) = hub.region_variable();
                env.push((variable.into(), folder));
                let command = match &host {
                    Some(host) => host.command(command),
                    None => command.clone(),
                };
                Subject::spawn(&Launch {
                    command: crate::environment::command(&command, hub),
                    env,
                    output_dir: None,
                })?
            }
            (Origin::Command(command), None) => Subject::spawn(&Launch {
                command: command.clone(),
                env: config
                    .env
                    .iter()
                    .map(|(k, v)| (k.into(), v.into()))
                    .collect(),
                output_dir: None,
            })?,
            (Origin::Running { pid }, _) => {
                if !config.attach {
                    no_carrier = Some("`--no-attach` was given".to_owned());
                }
                Subject::running(running(*pid)?)
            }
        };
        let warned = subject.on_line(crate::warnings::of_the_runtime());
        let recorder = recorder.handle();
        let watch = Watch::start(epoch, recorder.clone());
        let mut session = Self {
            config,
            supervisor,
            reaped: Instant::now(),
            cancel,
            events,
            epoch,
            subject,
            recorder,
            watch,
            sources: Vec::new(),
            service: None,
            findings: Vec::new(),
            gaps: Vec::new(),
            told: BTreeSet::new(),
            restarts: 0,
            no_carrier,
            ready: None,
            pause: Duration::ZERO,
            dropped: 0,
            isolates: Vec::new(),
            gone: BTreeSet::new(),
            parts: Vec::new(),
            sum: None,
            explained: None,
            counts_classes: false,
            host,
            hub,
            native: Native::default(),
            warned,
        };
        let command = config.command_line();
        session.tell(Event::PhaseStarted {
            phase: Phase::Start,
            detail: command,
        });
        Ok(session)
    }

    pub(crate) fn now(&self) -> Ns {
        Ns::from_duration(self.epoch.elapsed())
    }

    pub(crate) fn tell(&mut self, event: Event) {
        (self.events)(event);
    }

    /// Something could not be observed; said once.
    pub(crate) fn gap(&mut self, gap: Gap) {
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    pub(crate) fn found(&mut self, finding: Finding) {
        if self.findings.iter().any(|f| f.id == finding.id) {
            return;
        }
        self.findings.push(finding.clone());
        self.tell(Event::Found(finding));
    }

    /// The command and the subject's last lines, for an error.
    pub(crate) fn command_and_last_lines(&self) -> Vec<String> {
        let command = self.config.command_line();
        if self.config.is_attached() {
            return vec![format!("subject: {command}")];
        }
        last_words(&command, &self.subject)
    }

    pub(crate) fn absorb_hub_events(&mut self) {
        while let Some(event) = self
            .hub
            .as_ref()
            .and_then(|hub| hub.events().try_recv().ok())
        {
            self.absorb(event);
        }
    }

    pub(crate) fn absorb(&mut self, event: HubEvent) {
        match event {
            HubEvent::Up(isolate) => self.isolates.push(isolate),
            HubEvent::Down { key } => {
                self.gone.insert(key);
                if let Some(part) = self
                    .parts
                    .iter_mut()
                    .filter(|part| part.state == State::Working)
                    .find(|part| part.inside.as_ref().is_some_and(|i| i.key == key))
                {
                    part.state = State::Ended;
                }
                let at = self.now();
                self.recorder.record(Record::Gap {
                    at,
                    what: format!("isolate {key}"),
                    why: "its probe closed the connection".to_owned(),
                });
            }
            HubEvent::Samples { key, at, values } => {
                if let Some(source) = self.source_of(key) {
                    let sample = |(metric, value)| Sample {
                        at,
                        source,
                        metric,
                        value,
                    };
                    self.recorder
                        .row(&mut values.into_iter().map(sample).collect());
                }
            }
            HubEvent::Gc {
                key,
                at,
                kind,
                pause_ns,
                used_after,
            } => {
                let Some(source) = self.source_of(key) else {
                    return;
                };
                self.recorder
                    .collection(at, source, kind, pause_ns, used_after);
            }
            HubEvent::Dropped { count, .. } => {
                let at = self.now();
                self.recorder.record(Record::Drops { at, count });
                self.dropped += count;
            }
            HubEvent::Gap { what, why, .. } => self.gap(Gap { what, why }),
            HubEvent::Refused { why } => {
                self.found(Finding::warning(
                    "connection-refused",
                    format!("a connection to the probe hub was refused: {why}"),
                    None,
                ));
            }
            _ => {}
        }
    }

    fn source_of(&self, key: u64) -> Option<SourceId> {
        let main = self.service.as_ref()?.runtime.as_ref();
        let parts = self.parts.iter().filter_map(|part| part.inside.as_ref());
        main.into_iter()
            .chain(parts)
            .find(|inside| inside.key == key)
            .map(|inside| inside.source)
    }

    /// Lets a moment pass, less if the command ends or the run is cancelled.
    pub(crate) fn nap(&mut self, length: Duration) {
        // Orphans of the subject become ours; left unreaped they would fill its limit of processes.
        if self.reaped.elapsed() >= REAP_PERIOD {
            self.reaped = Instant::now();
            self.supervisor.reap();
        }
        if self.subject.process().is_alive() {
            self.subject.wait_exit(length, self.cancel);
        } else {
            // Its descriptor stays readable for ever once the command has ended; a daemon it left behind goes on.
            std::thread::sleep(length.min(SHORT_NAP));
        }
    }

    /// The same after errors, which a process that ends shows a moment before its end.
    pub(crate) fn check_alive_after_errors(&mut self) -> Result<(), Stop> {
        if let Some(service) = &self.service {
            let deadline = Instant::now() + LAST_MOMENT;
            plimsoll_probe::wait_for_end(&[&service.process], self.cancel, deadline);
        }
        self.check_alive()
    }

    /// What ended the subject, if it ended.
    pub(crate) fn check_alive(&mut self) -> Result<(), Stop> {
        self.absorb_hub_events();
        if self.cancel.is_cancelled() {
            return Err(Stop::Interrupted);
        }
        let gone = self.service.as_ref().is_none_or(|s| !s.process.is_alive());
        if !gone {
            return Ok(());
        }
        // The kernel makes the descriptor of a process readable a moment before its parent can reap it.
        let exit = self
            .subject
            .wait_exit(Duration::from_millis(200), self.cancel)
            .or_else(|| self.subject.exit());
        Err(self.subject_lost(exit))
    }

    fn subject_lost(&self, exit: Option<Exit>) -> Stop {
        if self.config.is_attached() {
            return Stop::Failed {
                what: "the subject ended (how, only its parent knows)".to_owned(),
                details: self.command_and_last_lines(),
                hint: None,
            };
        }
        let how = exit.map_or_else(|| "its process is gone".to_owned(), |e| e.to_string());
        Stop::Failed {
            what: format!("the subject died ({how})"),
            details: self.command_and_last_lines(),
            // The command that started it goes on: a script of several programs, perhaps.
            hint: exit.is_none().then(|| "name the program itself after `--`: what a script starts one after another is not judged as one".to_owned()),
        }
    }

    /// What the runtime itself has warned of so far.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let lines: Vec<String> = self.warned.try_iter().map(|line| line.text).collect();
        crate::warnings::warnings(lines.iter().map(String::as_str))
    }

    /// A driver for the configured load.
    pub(crate) fn driver(&mut self) -> Option<Result<Box<dyn Driver>, plimsoll_load::Error>> {
        let load = self.config.load.as_ref()?;
        let asked = self.tally().map(Tally::into_asked);
        Some(load.driver(&self.config.count, asked, self.host.take()))
    }

    /// What counts operations that are not ours, from here on.
    pub(crate) fn tally(&self) -> Option<Tally> {
        let count = &self.config.count;
        let log = count
            .log
            .as_ref()
            .map(|log| (self.subject.on_line(log.regex().clone()), log.clone()));
        let counter = count.counter.clone();
        match (counter, log) {
            (Some(counter), _) => Some(Tally::Counter(counter, self.config.wire.clone())),
            (None, Some((lines, log))) => Some(Tally::Log(lines, log)),
            (None, None) => None,
        }
    }

    /// Ends the subject for certain and says what is known about it.
    pub(crate) fn end(mut self) -> (Ended, Subject) {
        // How the command ended by itself must be asked before we end it.
        let exit = self.subject.exit();
        if exit.is_some() {
            let (at, process) = (self.now(), self.subject.process().id());
            self.recorder.record(Record::Exit { at, process, exit });
        }
        let limits = self.room().limits;
        // Workers come and go: who shares the work is looked up once more at the end.
        let members = plimsoll_probe::members(&self.subject, self.service_port());
        if let (Some(service), Some(members)) = (self.service.as_mut(), members) {
            let known: Vec<_> = service.processes.iter().map(|p| p.id).collect();
            service.processes.extend(
                members
                    .processes
                    .into_iter()
                    .filter(|p| !known.contains(&p.id)),
            );
        }
        if self.config.is_attached() {
            // It lives on: nothing of ours may stay in it.
            if let Some(hub) = &self.hub {
                hub.dismiss(self.isolates.iter().map(|i| i.key), GRACE);
            }
        }
        let survivors = self.subject.end(GRACE);
        if !survivors.is_empty() {
            let names: Vec<String> = survivors
                .iter()
                .map(|p| format!("pid {} ({})", p.id.pid, p.command.join(" ")))
                .collect();
            self.found(Finding::warning(
                "survivors",
                format!("could not be ended: {}", names.join(", ")),
                None,
            ));
        }
        self.absorb_hub_events();
        let context_isolates = self
            .parts
            .iter()
            .filter(|part| part.state == State::Silent)
            .map(|part| part.name.clone())
            .collect();
        let info = SubjectInfo {
            command: self
                .config
                .command()
                .iter()
                .map(|w| w.to_string_lossy().into_owned())
                .collect(),
            service: self.service.as_ref().map(|s| s.info.clone()),
            processes: self
                .service
                .as_ref()
                .map(|s| s.processes.clone())
                .unwrap_or_default(),
            context_isolates,
            exit,
            ready: self.ready,
            limits,
            output: self.subject.output(),
        };
        let Self {
            subject,
            hub,
            watch,
            sources,
            findings,
            gaps,
            pause,
            dropped,
            ..
        } = self;
        drop(watch);
        // The carrier file must outlive every process that may still start with it.
        drop(hub);
        (
            Ended {
                info,
                sources,
                findings,
                gaps,
                pause,
                dropped,
            },
            subject,
        )
    }
}

/// The command and what its subject printed last, for an error.
pub(crate) fn last_words(command: &str, subject: &Subject) -> Vec<String> {
    let mut details = vec![format!("command: {command}")];
    let lines = subject.last_lines(LAST_LINES);
    if lines.is_empty() {
        details.push("it printed nothing".to_owned());
    } else {
        details.push("last lines:".to_owned());
        details.extend(lines.into_iter().map(|line| format!("  {line}")));
    }
    details
}

/// Takes hold of a process that runs already.
fn running(pid: u32) -> Result<Process, Error> {
    if pid == std::process::id() {
        return Err(Error::usage(
            format!("--pid {pid} is plimsoll itself"),
            "name the process of the service",
        ));
    }
    let process = Process::open(pid)?;
    if process.memory().is_none() && process.is_alive() {
        return Err(Error::usage(
            format!("process {pid} has no memory of its own: it is a thread of the kernel"),
            "name the process of the service",
        ));
    }
    Ok(process)
}

/// What is left of a session once its subject has ended.
pub(crate) struct Ended {
    pub(crate) info: SubjectInfo,
    pub(crate) sources: Vec<Source>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) pause: Duration,
    pub(crate) dropped: u64,
}
