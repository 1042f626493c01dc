//! The hub's thread: accepts, reads, writes, and waits for nobody.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use plimsoll_model::{Capabilities, Gap, Metric, RuntimeInfo};

use super::call::Command;
use super::connection::{self, Connection};
use super::{Epoch, HubEvent, HubOptions, IsolateInfo};
use crate::os::net::{self, Poller, Ready, Wake};
use crate::process::Process;
use crate::protocol::{Frame, FromProbe, Hello, MAX_BODY, PROTOCOL, ToProbe, Violation};

const LISTENER: u64 = 0;
const WAKE: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// Isolates of a run; more are refused.
const MAX_CONNECTIONS: usize = 1024;

/// Time from connecting to hello. The probe says it at the first turn of its event loop, which a subject that computes
/// first may take long to reach; nobody waits for it, so this only bounds how long a stranger keeps a descriptor.
const GREETING_TIME: Duration = Duration::from_mins(10);

/// Undelivered refusals; what exceeds this is noise.
const MAX_REFUSALS: usize = 64;

const MAX_SCHEMA: usize = 64;

/// What a worker starts with.
pub(super) struct Setup {
    pub(super) wake: Arc<Wake>,
    pub(super) commands: Receiver<Command>,
    pub(super) events: Sender<HubEvent>,
    pub(super) token: String,
    pub(super) epoch: Epoch,
    pub(super) options: HubOptions,
}

/// The thread's state.
pub(super) struct Worker {
    setup: Setup,
    poller: Poller,
    /// Where probes connect, and of which user they must be.
    listeners: BTreeMap<u64, (UnixListener, u32)>,
    connections: BTreeMap<u64, Connection>,
    next_key: u64,
    /// Events that must not be lost and wait for room.
    backlog: VecDeque<HubEvent>,
    buffer: Vec<u8>,
}

impl Worker {
    pub(super) fn try_new(setup: Setup, listener: UnixListener) -> io::Result<Self> {
        let poller = Poller::try_new()?;
        poller.add(&listener, LISTENER)?;
        poller.add(&*setup.wake, WAKE)?;
        Ok(Self {
            setup,
            poller,
            listeners: BTreeMap::from([(LISTENER, (listener, net::own_uid()))]),
            connections: BTreeMap::new(),
            next_key: FIRST_CONNECTION,
            backlog: VecDeque::new(),
            buffer: vec![0; 64 * 1024],
        })
    }

    pub(super) fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            // A broken poller cannot be mended; callers hear that their isolates are gone.
            if self.poller.wait(self.patience(), &mut ready).is_err() {
                return;
            }
            for &event in &ready {
                match event.key {
                    key if self.listeners.contains_key(&key) => self.accept(key),
                    WAKE => {
                        self.setup.wake.reset();
                        if self.obey() {
                            return;
                        }
                    }
                    _ => self.serve(event),
                }
            }
            self.expire();
            self.deliver_backlog();
        }
    }

    /// How long to wait when nothing happens: for ever unless something here has its own time.
    fn patience(&self) -> Option<Duration> {
        if !self.backlog.is_empty() {
            Some(Duration::from_millis(20))
        } else if self.connections.values().any(|c| !c.greeted) {
            Some(Duration::from_secs(10))
        } else {
            None
        }
    }

    fn accept(&mut self, listener: u64) {
        while let Some((listener, user)) = self.listeners.get(&listener) {
            let user = *user;
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // No descriptors left: the peer stays in the queue, and a short rest keeps us from spinning on it.
                    self.refuse(format!("a probe could not be accepted: {error}"));
                    std::thread::sleep(Duration::from_millis(10));
                    return;
                }
            };
            let peer = match net::credentials(stream.as_fd()) {
                Ok(peer) if peer.uid == user => peer,
                Ok(peer) => {
                    self.refuse(format!("user {} connected, not {user}", peer.uid));
                    continue;
                }
                Err(error) => {
                    self.refuse(format!("a peer without credentials: {error}"));
                    continue;
                }
            };
            if self.connections.len() >= MAX_CONNECTIONS {
                self.refuse(format!("more than {MAX_CONNECTIONS} isolates"));
                continue;
            }
            let key = self.next_key;
            if stream.set_nonblocking(true).is_err() || self.poller.add(&stream, key).is_err() {
                self.refuse("a connection could not be watched".to_owned());
                continue;
            }
            self.next_key += 1;
            self.connections.insert(key, Connection::new(stream, peer));
        }
    }

    /// Carries out what was asked; `true` if it was to stop.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.setup.commands.try_recv() {
            match command {
                Command::Stop => return true,
                Command::Listen { listener, user } => {
                    let key = self.next_key;
                    self.next_key += 1;
                    if self.poller.add(&listener, key).is_ok() {
                        self.listeners.insert(key, (listener, user));
                    }
                }
                Command::Send {
                    key,
                    message,
                    answer,
                } => {
                    // Without a connection the answer is dropped here, which tells its caller.
                    let Some(connection) = self.connections.get_mut(&key) else {
                        continue;
                    };
                    if let Some((id, answer)) = answer {
                        connection.await_reply(id, answer);
                    }
                    self.send(key, &message);
                }
                Command::Forget { key, id } => {
                    let waited = self.connections.get_mut(&key).is_some_and(|c| c.forget(id));
                    if waited {
                        self.send(key, &ToProbe::Cancel { id });
                    }
                }
                Command::Tie { key, line } => match self.connections.get_mut(&key) {
                    Some(connection) => connection.tied = line,
                    None => connection::cut(&line),
                },
            }
        }
        false
    }

    fn send(&mut self, key: u64, message: &ToProbe) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.send(message) {
            self.watch(key);
        } else {
            self.close(key);
        }
    }

    /// Keeps the poller's interest equal to what there is to write.
    fn watch(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let wanted = connection.has_outgoing();
        if wanted == connection.watching {
            return;
        }
        connection.watching = wanted;
        if self
            .poller
            .watch_writing(&connection.stream, key, wanted)
            .is_err()
        {
            self.close(key);
        }
    }

    fn serve(&mut self, event: Ready) {
        let key = event.key;
        if event.writable {
            if self.connections.get_mut(&key).is_some_and(|c| !c.flush()) {
                self.close(key);
            }
            self.watch(key);
        }
        if !event.readable {
            return;
        }
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let alive = connection.read(&mut self.buffer);
        match self.take_frames(key) {
            Ok(()) if alive => {}
            Ok(()) => self.close(key),
            Err(violation) => {
                self.refuse(violation.to_string());
                self.close(key);
            }
        }
    }

    fn take_frames(&mut self, key: u64) -> Result<(), Violation> {
        loop {
            let Some(connection) = self.connections.get_mut(&key) else {
                return Ok(());
            };
            let Some(frame) = connection.decoder.next_frame()? else {
                return Ok(());
            };
            let greeted = connection.greeted;
            match frame {
                Frame::Json(body) => {
                    let message = FromProbe::parse(&body)?;
                    if greeted {
                        self.take(key, message)?;
                    } else if let FromProbe::Hello(hello) = message {
                        self.greet(key, hello)?;
                    } else {
                        return Err(Violation::OutOfTurn("a message before hello"));
                    }
                }
                // No operation of ours answers in chunks.
                Frame::Chunk(_) if greeted => {}
                Frame::Chunk(_) => return Err(Violation::OutOfTurn("a chunk before hello")),
            }
        }
    }

    fn greet(&mut self, key: u64, hello: Hello) -> Result<(), Violation> {
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        if hello.token != self.setup.token {
            return Err(Violation::OutOfTurn("a probe with another run's token"));
        }
        if hello.proto != PROTOCOL {
            return Err(Violation::OutOfTurn("a probe of another protocol version"));
        }
        // The kernel's word counts more than the probe's: inside a container it knows itself by another number.
        let pid = connection.peer.pid.unwrap_or(hello.pid);
        let Ok(process) = Process::open(pid) else {
            return Err(Violation::OutOfTurn("a probe whose process is gone"));
        };
        connection.greeted = true;
        connection.decoder.set_limit(MAX_BODY);
        let info = IsolateInfo {
            key,
            process: process.id(),
            isolate: hello.isolate,
            capabilities: Capabilities {
                runtime: RuntimeInfo {
                    name: hello.runtime,
                    version: hello.version,
                },
                operations: hello.caps,
                gaps: hello
                    .gaps
                    .into_iter()
                    .map(|gap| Gap {
                        what: gap.what,
                        why: gap.why,
                    })
                    .collect(),
            },
            argv: hello.argv,
            exec_argv: hello.exec_argv,
            heap_limit: hello.heap_limit.filter(|&b| b > 0.0).map(|b| b as u64),
            name: hello.name,
        };
        self.emit(HubEvent::Up(info));
        let values: Vec<_> = hello
            .values
            .into_iter()
            .take(MAX_SCHEMA)
            .filter_map(|(name, value)| Some((metric(name)?, value)))
            .collect();
        if !values.is_empty() {
            let at = self.setup.epoch.at(hello.at_us);
            self.offer(key, HubEvent::Samples { key, at, values });
        }
        let config = ToProbe::Config {
            hz: self.setup.options.sample_hz,
            gc: self.setup.options.follow_gc,
        };
        self.send(key, &config);
        Ok(())
    }

    fn take(&mut self, key: u64, message: FromProbe) -> Result<(), Violation> {
        let epoch = self.setup.epoch;
        let Some(connection) = self.connections.get_mut(&key) else {
            return Ok(());
        };
        match message {
            FromProbe::Hello(_) => return Err(Violation::OutOfTurn("a second hello")),
            FromProbe::Schema { names } => {
                connection.schema = names.into_iter().take(MAX_SCHEMA).map(metric).collect();
            }
            FromProbe::S { at_us, values } => {
                let values: Vec<_> = connection
                    .schema
                    .iter()
                    .zip(values)
                    .filter_map(|(metric, value)| Some((metric.clone()?, value?)))
                    .collect();
                let at = epoch.at(at_us);
                self.offer(key, HubEvent::Samples { key, at, values });
            }
            FromProbe::Gc(gc) => {
                let event = HubEvent::Gc {
                    key,
                    at: epoch.at(gc.at_us),
                    kind: gc.kind,
                    pause_ns: (gc.pause_us * 1e3) as u64,
                    used_after: gc.used_after,
                };
                self.offer(key, event);
            }
            FromProbe::Drop { n } => connection.dropped = connection.dropped.saturating_add(n),
            FromProbe::Gap { what, why } => {
                // Said once for each thing it is about; a probe that repeats itself is cut short like its samples.
                self.offer(key, HubEvent::Gap { key, what, why });
            }
            FromProbe::Reply(reply) => connection.answer(reply),
            FromProbe::Unknown => {}
        }
        Ok(())
    }

    /// Ends a connection; its callers hear of it by their answers being dropped.
    fn close(&mut self, key: u64) {
        let Some(connection) = self.connections.remove(&key) else {
            return;
        };
        if connection.greeted {
            if connection.dropped > 0 {
                self.emit(HubEvent::Dropped {
                    key,
                    count: connection.dropped,
                });
            }
            self.emit(HubEvent::Down { key });
        }
    }

    /// Closes those who connected and never said who they are.
    fn expire(&mut self) {
        let now = Instant::now();
        let silent: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| !c.greeted && now.duration_since(c.since) > GREETING_TIME)
            .map(|(&key, _)| key)
            .collect();
        for key in silent {
            self.refuse("a connection that never said hello".to_owned());
            self.close(key);
        }
    }

    fn refuse(&mut self, why: String) {
        if self.backlog.len() < MAX_REFUSALS {
            self.emit(HubEvent::Refused { why });
        }
    }

    /// Passes on what must not be lost.
    fn emit(&mut self, event: HubEvent) {
        self.deliver_backlog();
        self.backlog.push_back(event);
        self.deliver_backlog();
    }

    fn deliver_backlog(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(event)) = self.setup.events.try_send(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }

    /// Passes on what may be lost: where nobody takes it, it is counted, and the count goes out when there is room.
    fn offer(&mut self, key: u64, event: HubEvent) {
        let lost = !self.backlog.is_empty()
            || self
                .setup
                .events
                .try_send(event)
                .is_err_and(|e| e.is_full());
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if lost {
            connection.dropped = connection.dropped.saturating_add(1);
        } else if connection.dropped > 0 {
            let event = HubEvent::Dropped {
                key,
                count: connection.dropped,
            };
            if self.setup.events.try_send(event).is_ok() {
                connection.dropped = 0;
            }
        }
    }
}

/// A metric by the name a probe gives it; names go into files and onto screens, so only plain ones count.
pub(crate) fn metric(name: String) -> Option<Metric> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'/' | b'.' | b'-');
    (name.len() <= 80 && !name.is_empty() && name.bytes().all(plain)).then(|| Metric::named(name))
}
