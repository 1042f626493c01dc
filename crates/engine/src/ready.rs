//! From a started command to a service that can be measured: waits for readiness, finds the process that answered, and the
//! probe inside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use plimsoll_model::{Cx, Event, Exit, Finding, Gap, Phase, Role, units};
use plimsoll_probe::{IsolateInfo, Members, NotAttached, Process, Way};

use crate::config::Ready;
use crate::session::{Inside, Service, Session, Stop};

/// How long the service's probe may take to say hello once the service is ready.
const HELLO_PATIENCE: Duration = Duration::from_secs(2);
/// The same where nothing suggests that there is a probe.
const HELLO_PATIENCE_ELSEWHERE: Duration = Duration::from_millis(200);
/// Where nothing tells readiness, a program that lived so long has started.
const STARTED_AFTER: Duration = Duration::from_secs(1);
/// A wrapper that has started nothing for so long is taken for the program.
const WRAPPER_PATIENCE: Duration = Duration::from_secs(5);
/// How long attaching to one process may take.
const ATTACH_PATIENCE: Duration = Duration::from_secs(10);
/// How long a host that has given up may take to end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Poll period while waiting.
const POLL: Duration = Duration::from_millis(25);

impl Session<'_> {
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
                    let wire = &self.config.wire;
                    let patience = Duration::from_secs(2);
                    match plimsoll_load::probe_ready(url, wire, patience, statuses) {
                        Err(error @ plimsoll_load::Error::Unfit { .. }) => {
                            let hint = error.hint().unwrap_or_default();
                            return Err(Stop::failed(error.to_string()).hint(hint));
                        }
                        asked => asked.is_ok(),
                    }
                }
                Ready::Port(port) => accepts(*port),
                Ready::Log(_) => lines.as_ref().is_some_and(|l| l.try_recv().is_ok()),
                Ready::Module => self.is_loaded()?,
                Ready::Started => {
                    self.config.is_attached()
                        // What tells of its operations may do all of them in a moment.
                        || (!self.isolates.is_empty()
                            || self.config.count.is_some()
                            || started.elapsed() > STARTED_AFTER)
                            && !self.still_wraps(started)
                }
            };
            if ready {
                break;
            }
            if self.config.is_attached() && self.subject.tree().is_empty() {
                return Err(Stop::failed("the subject ended before it was ready"));
            }
            // A parent that forks its service and leaves is fine as long as something of the tree lives.
            if let Some(exit) = self.subject.exit() {
                // It may have said why in its last moment.
                self.is_loaded()?;
                if matches!(self.config.ready, Ready::Started) && exit == Exit::Status(0) {
                    break;
                }
                if self.subject.tree().is_empty() {
                    return Err(Stop::Failed {
                        what: format!(
                            "the subject exited before it was ready ({exit}, after {})",
                            units::duration(started.elapsed().as_secs_f64())
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
                        units::duration(self.config.ready_timeout.as_secs_f64()),
                        self.waited_for()
                    ),
                    details: self.command_and_last_lines(),
                    hint: Some(self.listens_elsewhere().unwrap_or_else(|| "raise `--ready-timeout`, or name another sign of readiness with `--ready-url`, `--ready-port` or `--ready-log`".to_owned())),
                });
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                let last_line = self.subject.last_lines(1).pop();
                let doubt = self.listens_elsewhere();
                self.tell(Event::Waiting {
                    seconds: started.elapsed().as_secs_f64(),
                    last_line,
                    doubt,
                });
            }
            self.nap(POLL);
        }
        self.ready = Some(self.now());
        self.find_service(deadline)?;
        let detail = format!(
            "ready after {}",
            units::duration(started.elapsed().as_secs_f64())
        );
        self.tell(Event::PhaseEnded {
            phase: Phase::Start,
            detail,
        });
        Ok(())
    }

    /// Whether all there is so far is a shell or npm that has not started its program yet. Some never do: a shell that
    /// only uses its built-in commands is the program.
    fn still_wraps(&self, started: Instant) -> bool {
        started.elapsed() < WRAPPER_PATIENCE
            && plimsoll_probe::members(&self.subject, None).is_some_and(|m| m.is_wrapper)
    }

    /// Whether the module is; what is wrong with it is in its runtime's own words among the last lines.
    fn is_loaded(&mut self) -> Result<bool, Stop> {
        let Some(host) = &mut self.host else {
            return Ok(false);
        };
        host.is_ready().map_err(|error| {
            // It ends by itself, once it has said why at length.
            self.subject.wait_exit(LAST_WORDS, self.cancel);
            Stop::Failed {
                what: error.to_string(),
                details: self.command_and_last_lines(),
                hint: error.hint().map(str::to_owned),
            }
        })
    }

    /// That the subject listens, but not where it is waited for: most often the port is mistyped, or another than the
    /// service's default.
    fn listens_elsewhere(&self) -> Option<String> {
        let wanted = match &self.config.ready {
            Ready::Url(url, _) => url.port,
            Ready::Port(port) => *port,
            _ => return None,
        };
        let ports = plimsoll_probe::listening_ports(&self.subject.tree());
        if ports.is_empty() || ports.contains(&wanted) {
            return None;
        }
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        Some(format!(
            "the subject listens on port {}, not on {wanted}: is the URL right?",
            ports.join(", ")
        ))
    }

    fn waited_for(&self) -> String {
        match &self.config.ready {
            Ready::Module => "its module is not loaded, or its setup() not done".to_owned(),
            Ready::Url(url, _) => format!("{url} did not answer"),
            Ready::Port(port) => format!("port {port} accepts no connection"),
            Ready::Log(pattern) => format!("no line of its output matches `{pattern}`"),
            Ready::Started => "it did not start".to_owned(),
        }
    }

    /// Finds the process that does the work, by the socket it listens on where there is one.
    fn find_service(&mut self, deadline: Instant) -> Result<(), Stop> {
        let port = self.service_port();
        let members = loop {
            if let Some(members) = plimsoll_probe::members(&self.subject, port) {
                break members;
            }
            let Some(port) = port else {
                // A program that has already ended has no service to watch; its short life is judged as it is.
                return Ok(());
            };
            // It may have begun to listen between the two looks: only a holder that is not ours on a second one counts.
            let holder = plimsoll_probe::port_holder(port);
            if let Some(holder) =
                holder.filter(|_| plimsoll_probe::members(&self.subject, Some(port)).is_none())
            {
                return Err(Stop::failed(format!(
                    "port {port} is answered by a process that is not part of the subject (pid {}: {})",
                    holder.id.pid,
                    holder.command.join(" ")
                ))
                .hint(if self.config.is_attached() {
                    format!("check it with `--pid {}`", holder.id.pid)
                } else {
                    "give the subject and `--url` a port of their own".to_owned()
                }));
            }
            // A log line or another port can say ready before this one listens.
            if self.cancel.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            if Instant::now() >= deadline || self.subject.tree().is_empty() {
                return Err(Stop::Failed {
                    what: format!("the subject is ready, but nobody listens on port {port}"),
                    details: self.command_and_last_lines(),
                    hint: Some("check the port of `--url`".to_owned()),
                });
            }
            self.nap(POLL);
        };
        self.adopt(members);
        self.name_development_server();
        Ok(())
    }

    /// Makes this the service, with its probe and all who share its work. Its own source is the first of its life.
    pub(crate) fn adopt(&mut self, members: Members) {
        let process = members.service;
        let source = self.add_source(process.id(), None, Role::Service);
        self.watch.watch(source, process.clone());
        let info = process.info(Role::Service);
        // Those of a life before were there too.
        let mut processes = self.service.take().map_or(Vec::new(), |s| s.processes);
        processes.retain(|known| members.processes.iter().all(|p| p.id != known.id));
        processes.extend(members.processes);
        self.service = Some(Service {
            process,
            source,
            info,
            processes,
            runtime: None,
        });
        self.find_probe();
        self.remember_code();
        self.find_parts();
    }

    /// The port the service must listen on, if it must.
    pub(crate) fn service_port(&self) -> Option<u16> {
        let driven = self.config.load.as_ref().and_then(|load| load.url.as_ref());
        match (driven, &self.config.ready) {
            (Some(url), _) | (None, Ready::Url(url, _)) => Some(url.port),
            (None, Ready::Port(port)) => Some(*port),
            _ => None,
        }
    }

    /// A server made for development does much beside its work: its verdict is about itself.
    fn name_development_server(&mut self) {
        let Some(service) = &self.service else { return };
        let mut fronts = service
            .processes
            .iter()
            .filter(|process| matches!(process.role, Role::Service | Role::Wrapper));
        let found = fronts.find_map(|process| development_server(&process.command));
        if let Some((name, what)) = found {
            self.found(Finding::warning(
                "development-server",
                format!("`{name}` is for development: it {what}"),
                Some("build the service and check what production starts"),
            ));
        }
    }

    /// Waits a moment for the service's probe to say hello, and says loudly why it did not.
    fn find_probe(&mut self) {
        let Some(service) = self.service.as_ref() else {
            return;
        };
        let process = service.process.clone();
        let patience = if self.no_carrier.is_some() {
            Duration::ZERO
        } else if process.may_carry_probe() {
            HELLO_PATIENCE
        } else {
            HELLO_PATIENCE_ELSEWHERE
        };
        let mut not_attached = None;
        let mut found = None;
        if !self.config.is_attached() {
            found = self.hello_of(&process, patience);
        }
        if found.is_none() && self.may_attach(&process) {
            match self.enter(&process) {
                Ok(()) => found = self.hello_of(&process, HELLO_PATIENCE),
                Err(why) => not_attached = Some(why),
            }
        }
        let inside = found.and_then(|isolate| {
            let runtime = self.hub.as_ref()?.runtime(&isolate);
            Some((isolate, runtime))
        });
        if let Some((isolate, runtime)) = inside {
            let source = self.add_source(isolate.process, Some(isolate.isolate), Role::Service);
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
        } else if let Some(Err(error)) = self.hub.as_ref().map(|hub| hub.published(process.id())) {
            self.found(Finding::warning(
                "allocator-not-read",
                format!("the counts of its allocator cannot be read: {error}; process level only"),
                None,
            ));
        } else if !self.has_allocator() {
            let why = not_attached
                .as_ref()
                .map_or_else(|| self.why_no_probe(), ToString::to_string);
            self.found(Finding::warning(
                "probe-not-loaded",
                format!("probe not loaded: {why}; process level only"),
                not_attached.as_ref().and_then(NotAttached::remedy),
            ));
        }
    }

    /// Waits for the main isolate of a process to say hello.
    pub(crate) fn hello_of(
        &mut self,
        process: &Process,
        patience: Duration,
    ) -> Option<IsolateInfo> {
        let deadline = Instant::now() + patience;
        loop {
            self.absorb_hub_events();
            let id = process.id();
            let mut isolates = self.isolates.iter();
            if let Some(found) = isolates.find(|i| i.process.pid == id.pid && i.isolate == 0) {
                return Some(found.clone());
            }
            if Instant::now() >= deadline || self.cancel.is_cancelled() {
                return None;
            }
            let hub = self.hub.as_ref()?;
            match hub.events().recv_timeout(Duration::from_millis(50)) {
                Ok(event) => self.absorb(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Whether the probe may be put into a process that has none: one that ran before us, or that lost its environment
    /// between the command and itself.
    pub(crate) fn may_attach(&self, process: &Process) -> bool {
        let lost_its_environment =
            || process.is_node() && process.started_with("NODE_OPTIONS") == Some(false);
        self.config.attach
            && self.hub.is_some()
            && (self.config.is_attached() || self.no_carrier.is_none() && lost_its_environment())
    }

    /// Puts the probe into a running process, and says what was done to it; why not, if not.
    pub(crate) fn enter(&mut self, process: &Process) -> Result<(), NotAttached> {
        let pid = process.id().pid;
        let cx = Cx::within(self.cancel, ATTACH_PATIENCE);
        // Whoever asked `may_attach` has one.
        let Some(hub) = &self.hub else { return Ok(()) };
        let done = plimsoll_probe::attach(process, hub, &cx)?;
        for gap in done.gaps {
            self.gap(gap);
        }
        if let Way::Inspector { .. } = done.way {
            self.gap(Gap {
                what: "worker threads that start later".to_owned(),
                why: "the probe is put into those that run; in a process that plimsoll starts it is in all".to_owned(),
            });
        }
        let how = match done.way {
            Way::Inspector { address, was_open } if was_open => {
                format!("through its inspector at {address}, which stays open")
            }
            Way::Inspector { address, .. } => {
                format!("through its inspector at {address}, opened by SIGUSR1 and closed again")
            }
            _ => "by `sys.remote_exec`".to_owned(),
        };
        if done.way == Way::RemoteExec {
            self.wake();
        }
        let workers = match done.workers {
            0 => String::new(),
            1 => " and 1 worker thread".to_owned(),
            n => format!(" and {n} worker threads"),
        };
        let size = units::bytes(done.injected_bytes as f64);
        self.found(Finding::info(
            &format!("attached-{pid}"),
            format!("attached to pid {pid}{workers}: {size} of probe were put in {how}; it goes when plimsoll ends"),
        ));
        Ok(())
    }

    /// Makes a service run some code: one that sleeps until somebody connects would take the probe in only then. Nothing is
    /// asked of it.
    fn wake(&self) {
        if let Some(port) = self.service_port() {
            let _ = accepts(port);
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
        if service.process.is_python() && self.config.is_attached() {
            return format!(
                "`{name}` was asked to run it and has not within {}: it sleeps in a system call, or runs no Python code",
                units::duration(HELLO_PATIENCE.as_secs_f64())
            );
        }
        if service.process.is_python() {
            return format!(
                "`{name}` did not load it: started with `-I`, `-E` or `-S`, frozen into one file, or older than Python 3.9"
            );
        }
        if !service.process.may_carry_probe() {
            return format!("`{name}` is no runtime with a probe");
        }
        if let Some(why) = &self.no_carrier {
            return why.clone();
        }
        if service.process.started_with("NODE_OPTIONS") == Some(false) {
            return "something between the command and the service removed NODE_OPTIONS".to_owned();
        }
        format!(
            "`{name}` did not say hello within {}",
            units::duration(HELLO_PATIENCE.as_secs_f64())
        )
    }
}

/// The name and the habit of a server or watcher that is made for development, by its command.
fn development_server(command: &[String]) -> Option<(String, &'static str)> {
    const RESTARTS: &str = "starts it anew when a file changes";
    const COMPILES: &str = "compiles while it serves, and keeps what it compiled";
    let name = |word: &String| -> String {
        let file = word.rsplit('/').next().unwrap_or(word);
        file.split('.').next().unwrap_or(file).to_owned()
    };
    // A title written over the arguments is one word.
    let words: Vec<String> = command
        .iter()
        .flat_map(|w| w.split(' ').map(str::to_owned))
        .collect();
    let names: Vec<String> = words.iter().take(4).map(name).collect();
    let has = |word: &str| {
        words
            .iter()
            .any(|w| w == word || w.starts_with(&format!("{word}=")))
    };
    let tool = |tool: &str| names.iter().any(|name| name == tool);
    for watcher in ["nodemon", "ts-node-dev", "tsnd"] {
        if tool(watcher) {
            return Some((watcher.to_owned(), RESTARTS));
        }
    }
    if tool("tsx") && has("watch") {
        return Some(("tsx watch".to_owned(), RESTARTS));
    }
    let flags = words
        .iter()
        .skip(1)
        .take_while(|w| w.starts_with('-') || *w == "run");
    let watches = flags
        .into_iter()
        .any(|w| w == "--watch" || w.starts_with("--watch="));
    if ["node", "bun", "deno"].contains(&names.first().map_or("", String::as_str)) && watches {
        return Some((format!("{} --watch", names[0]), RESTARTS));
    }
    if tool("nest") && has("start") && has("--watch") {
        return Some(("nest start --watch".to_owned(), RESTARTS));
    }
    for compiler in ["next", "nuxt", "vite", "remix", "astro"] {
        if tool(compiler) && has("dev") {
            return Some((format!("{compiler} dev"), COMPILES));
        }
    }
    None
}

/// Whether a port of this machine accepts connections, over either protocol.
pub(crate) fn accepts(port: u16) -> bool {
    let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    loopback.into_iter().any(|address| {
        TcpStream::connect_timeout(
            &SocketAddr::from((address, port)),
            Duration::from_millis(500),
        )
        .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_servers_are_known_by_their_commands() {
        let name = |command: &str| {
            let words: Vec<String> = command.split('|').map(str::to_owned).collect();
            development_server(&words).map(|(name, _)| name)
        };
        for (command, expected) in [
            ("node|/srv/node_modules/.bin/next|dev", Some("next dev")),
            ("node|/srv/node_modules/.bin/next|start", None),
            (
                "node|/srv/node_modules/nodemon/bin/nodemon.js|server.js",
                Some("nodemon"),
            ),
            (
                "node|/srv/node_modules/.bin/tsx|watch|server.ts",
                Some("tsx watch"),
            ),
            ("node|/srv/node_modules/.bin/tsx|server.ts", None),
            ("node|--watch|server.js", Some("node --watch")),
            ("node|server.js|dev", None),
            ("node|server.js|--watch", None),
            ("npm run dev", None),
        ] {
            assert_eq!(name(command).as_deref(), expected, "{command}");
        }
    }
}
