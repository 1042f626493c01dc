//! One subject under observation: started, ready, watched from outside and inside, and ended for certain.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use plimsoll_load::HttpDriver;
use plimsoll_model::{
    Cancel, Cx, Event, Finding, Gap, Limits, Metric, Ns, Phase, ProcessInfo, Role, RuntimeInfo,
    Sample, Scope, Source, SourceId, SubjectInfo,
};
use plimsoll_probe::{Hub, HubEvent, HubOptions, IsolateInfo, Launch, Process, Runtime, Subject};
use plimsoll_store::{Record, Recorder, RecorderHandle};

use crate::config::{Config, Ready};
use crate::error::Error;
use crate::judged::PROCESS_SOURCE;
use crate::watch::Watch;

/// How long the service's probe may take to say hello once the service is ready.
const HELLO_PATIENCE: Duration = Duration::from_secs(2);
/// How long a subject may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How long a forced collection may take before the subject counts as hanging.
const COLLECT_DEADLINE: Duration = Duration::from_mins(1);
/// Poll period while waiting for readiness.
const READY_POLL: Duration = Duration::from_millis(25);

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
    pub(crate) ready: Option<Ns>,
    pub(crate) pause: Duration,
    pub(crate) dropped: u64,
    isolates: Vec<IsolateInfo>,
    hub: Hub,
    /// Whether a driver of ours will force collections, so that the sampler's noise does not matter.
    collect_deadline: Duration,
}

/// The process the verdict is about.
pub(crate) struct Service {
    pub(crate) process: Process,
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
        let hub = Hub::start(epoch, &options)?;
        let given = config
            .env
            .iter()
            .find(|(name, _)| name == "NODE_OPTIONS")
            .map(|(_, v)| OsString::from(v));
        let existing = given.or_else(|| std::env::var_os("NODE_OPTIONS"));
        let mut env: Vec<(OsString, OsString)> = config
            .env
            .iter()
            .map(|(k, v)| (OsString::from(k), OsString::from(v)))
            .collect();
        env.retain(|(name, _)| name != "NODE_OPTIONS");
        env.push((
            OsString::from("NODE_OPTIONS"),
            hub.node_options(existing.as_deref()),
        ));
        let subject = Subject::spawn(&Launch {
            command: config.command.clone(),
            env,
            output_dir: None,
        })?;
        let recorder = recorder.handle();
        let watch = Watch::start(epoch, recorder.clone());
        let mut session = Self {
            config,
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
            ready: None,
            pause: Duration::ZERO,
            dropped: 0,
            isolates: Vec::new(),
            hub,
            collect_deadline: COLLECT_DEADLINE,
        };
        let command = config
            .command
            .iter()
            .map(|w| w.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
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

    pub(crate) fn found(&mut self, finding: Finding) {
        if self.findings.iter().any(|f| f.id == finding.id) {
            return;
        }
        self.findings.push(finding.clone());
        self.tell(Event::Found(finding));
    }

    /// Waits until the subject is ready, then finds the service in its tree and the probe inside it.
    pub(crate) fn get_ready(&mut self) -> Result<(), Stop> {
        let started = Instant::now();
        let deadline = started + self.config.ready_timeout;
        let lines = match &self.config.ready {
            Ready::Log(pattern) => Some(self.subject.on_line(pattern.clone())),
            _ => None,
        };
        let mut told = started;
        loop {
            if self.cancel.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            self.absorb_hub_events();
            let ready = match &self.config.ready {
                Ready::Url(url, statuses) => {
                    plimsoll_load::probe_ready(url, Duration::from_secs(2), statuses).is_ok()
                }
                Ready::Port(port) => std::net::TcpStream::connect_timeout(
                    &std::net::SocketAddr::from(([127, 0, 0, 1], *port)),
                    Duration::from_millis(500),
                )
                .is_ok(),
                Ready::Log(_) => lines.as_ref().is_some_and(|l| l.try_recv().is_ok()),
                Ready::Started => {
                    !self.isolates.is_empty() || started.elapsed() > Duration::from_secs(1)
                }
            };
            if ready {
                break;
            }
            // A parent that forks its service and leaves is fine as long as something of the tree lives.
            if let Some(exit) = self.subject.exit() {
                if matches!(self.config.ready, Ready::Started)
                    && exit == plimsoll_model::Exit::Status(0)
                {
                    break;
                }
                if self.subject.tree().is_empty() {
                    return Err(Stop::Failed {
                        what: format!(
                            "the subject exited before it was ready ({exit}, after {})",
                            plimsoll_model::units::duration(started.elapsed().as_secs_f64())
                        ),
                        details: self.command_and_last_lines(),
                        hint: Some("run the command alone first".to_owned()),
                    });
                }
            }
            if Instant::now() >= deadline {
                return Err(Stop::Failed {
                    what: format!(
                        "the subject was not ready within {}: {}",
                        plimsoll_model::units::duration(self.config.ready_timeout.as_secs_f64()),
                        self.waited_for()
                    ),
                    details: self.command_and_last_lines(),
                    hint: Some("raise `--ready-timeout`, or name another sign of readiness with `--ready-url`, `--ready-port` or `--ready-log`".to_owned()),
                });
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                let last_line = self.subject.last_lines(1).pop();
                self.tell(Event::Waiting {
                    seconds: started.elapsed().as_secs_f64(),
                    last_line,
                });
            }
            self.subject.wait_exit(READY_POLL, self.cancel);
        }
        self.ready = Some(self.now());
        self.find_service()?;
        let detail = format!(
            "ready after {}",
            plimsoll_model::units::duration(started.elapsed().as_secs_f64())
        );
        self.tell(Event::PhaseEnded {
            phase: Phase::Start,
            detail,
        });
        Ok(())
    }

    fn waited_for(&self) -> String {
        match &self.config.ready {
            Ready::Url(url, _) => format!("{url} did not answer"),
            Ready::Port(port) => format!("port {port} accepts no connection"),
            Ready::Log(pattern) => format!("no line of its output matches `{pattern}`"),
            Ready::Started => "it did not start".to_owned(),
        }
    }

    /// The command and the subject's last lines, for an error.
    pub(crate) fn command_and_last_lines(&self) -> Vec<String> {
        let command = self
            .config
            .command
            .iter()
            .map(|w| w.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let mut details = vec![format!("command: {command}")];
        let lines = self.subject.last_lines(5);
        if lines.is_empty() {
            details.push("it printed nothing".to_owned());
        } else {
            details.extend(lines.into_iter().map(|line| format!("last lines: {line}")));
        }
        details
    }

    fn find_service(&mut self) -> Result<(), Stop> {
        let port = match (&self.config.ready, &self.config.load) {
            (_, Some(load)) => Some(load.url.port),
            (Ready::Url(url, _), None) => Some(url.port),
            (Ready::Port(port), None) => Some(*port),
            _ => None,
        };
        let Some(members) = plimsoll_probe::members(&self.subject, port) else {
            if port.is_none() {
                // A program that has already ended has no service to watch; its short life is judged as it is.
                return Ok(());
            }
            let port = port.unwrap_or_default();
            let holder = plimsoll_probe::port_holder(port)
                .map(|p| format!(" (pid {}: {})", p.id.pid, p.command.join(" ")))
                .unwrap_or_default();
            return Err(Stop::failed(format!(
                "port {port} is answered by a process that is not part of the subject{holder}"
            ))
            .hint("give the subject and `--url` a port of their own"));
        };
        let service = members.service;
        let process = Source {
            id: PROCESS_SOURCE,
            process: service.id(),
            isolate: None,
            role: Role::Service,
        };
        self.sources.push(process.clone());
        self.recorder.record(Record::Source(process));
        self.watch.watch(PROCESS_SOURCE, service.clone());
        let info = service.info(Role::Service);
        self.service = Some(Service {
            process: service,
            info,
            processes: members.processes,
            runtime: None,
        });
        self.find_probe();
        Ok(())
    }

    /// Waits a moment for the service's probe to say hello, and says loudly why it did not.
    fn find_probe(&mut self) {
        let Some(service) = self.service.as_ref() else {
            return;
        };
        let id = service.process.id();
        let patience = if may_carry_probe(&service.info) {
            HELLO_PATIENCE
        } else {
            Duration::from_millis(200)
        };
        let deadline = Instant::now() + patience;
        let found = loop {
            self.absorb_hub_events();
            if let Some(found) = self
                .isolates
                .iter()
                .find(|i| i.process.pid == id.pid && i.isolate == 0)
            {
                break Some(found.clone());
            }
            if Instant::now() >= deadline || self.cancel.is_cancelled() {
                break None;
            }
            match self.hub.events().recv_timeout(Duration::from_millis(50)) {
                Ok(event) => self.absorb(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        if let Some(isolate) = found {
            let source = self.add_isolate_source(&isolate);
            let runtime = self.hub.runtime(&isolate);
            self.gaps.extend(isolate.capabilities.gaps.iter().cloned());
            let info = isolate.capabilities.runtime.clone();
            if let Some(service) = self.service.as_mut() {
                service.info.runtime = Some(info.clone());
                service.runtime = Some(Inside {
                    runtime,
                    source,
                    info,
                    heap_limit: isolate.heap_limit,
                    key: isolate.key,
                });
            }
        } else {
            let why = self.why_no_probe();
            self.gaps.push(Gap {
                what: "live bytes".to_owned(),
                why: why.clone(),
            });
            self.found(Finding::warning(
                "probe-not-loaded",
                format!("probe not loaded: {why}; process level only"),
                None,
            ));
        }
    }

    fn why_no_probe(&self) -> String {
        let Some(service) = &self.service else {
            return "there is no service process".to_owned();
        };
        let name = service
            .info
            .executable
            .as_deref()
            .map_or("the service", |path| {
                path.rsplit('/').next().unwrap_or(path)
            });
        if !may_carry_probe(&service.info) {
            return format!("`{name}` is not Node.js");
        }
        if service.process.started_with("NODE_OPTIONS") == Some(false) {
            return "something between the command and the service removed NODE_OPTIONS".to_owned();
        }
        format!(
            "`{name}` did not say hello within {}",
            plimsoll_model::units::duration(HELLO_PATIENCE.as_secs_f64())
        )
    }

    fn add_isolate_source(&mut self, isolate: &IsolateInfo) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        let source = Source {
            id,
            process: isolate.process,
            isolate: Some(isolate.isolate),
            role: Role::Service,
        };
        self.recorder.record(Record::Source(source.clone()));
        self.sources.push(source);
        id
    }

    pub(crate) fn absorb_hub_events(&mut self) {
        while let Ok(event) = self.hub.events().try_recv() {
            self.absorb(event);
        }
    }

    fn absorb(&mut self, event: HubEvent) {
        match event {
            HubEvent::Up(isolate) => self.isolates.push(isolate),
            HubEvent::Down { key } => {
                let at = self.now();
                self.recorder.record(Record::Gap {
                    at,
                    what: format!("isolate {key}"),
                    why: "its probe closed the connection".to_owned(),
                });
            }
            HubEvent::Samples { key, at, values } => {
                if let Some(source) = self.source_of(key) {
                    for (metric, value) in values {
                        self.recorder.sample(Sample {
                            at,
                            source,
                            metric,
                            value,
                        });
                    }
                }
            }
            HubEvent::Gc {
                key,
                at,
                used_after,
                ..
            } => {
                if let (Some(source), Some(value)) = (self.source_of(key), used_after) {
                    self.recorder.sample(Sample {
                        at,
                        source,
                        metric: Metric::HEAP_USED_AFTER_GC,
                        value,
                    });
                }
            }
            HubEvent::Dropped { count, .. } => self.dropped += count,
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
        let inside = self.service.as_ref()?.runtime.as_ref()?;
        (inside.key == key).then_some(inside.source)
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

    fn subject_lost(&self, exit: Option<plimsoll_model::Exit>) -> Stop {
        let how = exit.map_or_else(|| "its process is gone".to_owned(), |e| e.to_string());
        Stop::Failed {
            what: format!("the subject died ({how})"),
            details: self.command_and_last_lines(),
            hint: None,
        }
    }

    /// Reads everything there is to read about the service now, after a forced collection if there is a probe.
    pub(crate) fn measure(&mut self, census: bool) -> Result<Measurement, Stop> {
        self.check_alive()?;
        let mut values = BTreeMap::new();
        let mut collected = false;
        let mut census_taken = None;
        let cx = Cx::within(self.cancel, self.collect_deadline);
        if let Some(inside) = self.service.as_mut().and_then(|s| s.runtime.as_mut()) {
            match inside.runtime.collect(&cx) {
                Ok(answer) => {
                    self.pause += Duration::from_nanos(answer.pause_ns);
                    collected = true;
                    values.extend(answer.values);
                }
                Err(plimsoll_probe::Error::Deadline { .. }) => {
                    self.check_alive()?;
                    return Err(Stop::failed(format!(
                        "the subject hangs: it did not answer a forced collection within {}",
                        plimsoll_model::units::duration(self.collect_deadline.as_secs_f64())
                    )));
                }
                Err(plimsoll_probe::Error::Cancelled) => return Err(Stop::Interrupted),
                Err(error) => {
                    self.check_alive()?;
                    return Err(Stop::failed(format!("the probe was lost: {error}")));
                }
            }
        }
        let at = self.now();
        self.read_process(&mut values);
        if census && let Some(inside) = self.service.as_mut().and_then(|s| s.runtime.as_mut()) {
            match inside.runtime.census(Scope::Resources, &cx) {
                Ok(answer) => {
                    self.pause += Duration::from_nanos(answer.pause_ns);
                    census_taken = Some(answer);
                }
                Err(plimsoll_probe::Error::Cancelled) => return Err(Stop::Interrupted),
                Err(error) => {
                    self.check_alive()?;
                    self.gaps.push(Gap {
                        what: "counts of listeners and timers".to_owned(),
                        why: error.to_string(),
                    });
                    self.found(Finding::warning(
                        "census-failed",
                        format!("no census: {error}"),
                        None,
                    ));
                }
            }
        }
        for row in census_taken.iter().flat_map(|c| &c.rows) {
            values.insert(Metric::counted(&row.family, &row.kind), row.count as f64);
        }
        if collected && let Some(inside) = self.service.as_ref().and_then(|s| s.runtime.as_ref()) {
            for metric in [Metric::LIVE_BYTES, Metric::HEAP_USED, Metric::EXTERNAL] {
                if let Some(&value) = values.get(&metric) {
                    self.recorder.sample(Sample {
                        at,
                        source: inside.source,
                        metric,
                        value,
                    });
                }
            }
        }
        Ok(Measurement {
            at,
            collected,
            values,
            census: census_taken,
        })
    }

    /// Level 0 of one measurement: memory, threads, descriptors by target, and what of resident memory the runtime
    /// does not account for.
    fn read_process(&self, values: &mut BTreeMap<Metric, f64>) {
        let Some(service) = &self.service else { return };
        if let Some(memory) = service.process.memory() {
            values.insert(Metric::RSS, memory.rss as f64);
            if let Some(anon) = memory.rss_anon {
                values.insert(Metric::RSS_ANON, anon as f64);
                if let (Some(&heap), Some(&external)) = (
                    values.get(&Metric::HEAP_PHYSICAL),
                    values.get(&Metric::EXTERNAL),
                ) {
                    values.insert(Metric::OUTSIDE_HEAP, anon as f64 - heap - external);
                }
            }
        }
        if let Some(kinds) = service.process.descriptors_by_target() {
            values.insert(Metric::DESCRIPTORS, kinds.values().sum::<u64>() as f64);
            for (kind, count) in kinds {
                values.insert(Metric::counted("descriptors", &kind), count as f64);
            }
        }
    }

    /// Memory limits that apply to the service.
    pub(crate) fn limits(&self) -> Limits {
        let service = self.service.as_ref();
        Limits {
            heap: service
                .and_then(|s| s.runtime.as_ref())
                .and_then(|r| r.heap_limit),
            cgroup: service.and_then(|s| s.process.cgroup_limit()),
            host: plimsoll_probe::host_memory(),
        }
    }

    /// A driver for the configured load.
    pub(crate) fn driver(&self) -> Option<Result<HttpDriver, plimsoll_load::Error>> {
        let load = self.config.load.as_ref()?;
        Some(HttpDriver::try_new(load.request.clone(), load.concurrency))
    }

    /// Ends the subject for certain and says what is known about it.
    pub(crate) fn end(mut self) -> (Ended, Subject) {
        // How the command ended by itself must be asked before we end it.
        let exit = self.subject.exit();
        let limits = self.limits();
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
        let judged = self
            .service
            .as_ref()
            .and_then(|s| s.runtime.as_ref())
            .map(|r| r.key);
        let context_isolates = self
            .isolates
            .iter()
            .filter(|i| Some(i.key) != judged)
            .filter(|i| {
                self.service
                    .as_ref()
                    .is_some_and(|s| s.process.id().pid == i.process.pid)
            })
            .map(|i| {
                i.name
                    .clone()
                    .unwrap_or_else(|| format!("worker thread {}", i.isolate))
            })
            .collect();
        let info = SubjectInfo {
            command: self
                .config
                .command
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

/// What is left of a session once its subject has ended.
pub(crate) struct Ended {
    pub(crate) info: SubjectInfo,
    pub(crate) sources: Vec<Source>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) pause: Duration,
    pub(crate) dropped: u64,
}

/// Readings at one moment.
pub(crate) struct Measurement {
    pub(crate) at: Ns,
    pub(crate) collected: bool,
    pub(crate) values: BTreeMap<Metric, f64>,
    pub(crate) census: Option<plimsoll_model::Census>,
}

/// Whether this executable reads `NODE_OPTIONS`.
fn may_carry_probe(info: &ProcessInfo) -> bool {
    let name = info
        .executable
        .as_deref()
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or_default();
    name.starts_with("node") || name == "electron"
}
