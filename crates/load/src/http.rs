//! The closed-loop HTTP/1.1 driver: so many operations in flight, the next begins when one ends.
//!
//! One thread, the caller's, waits for all connections and for the cancel request at once. An operation is numbered
//! when it begins and ends exactly once, so `done + errors` is the number begun; nothing is sent twice.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use plimsoll_model::{Cx, Mode, OpId, OperationKind, Quiet, RoundSpec, RoundStats, SubjectHandle};

use crate::connection::{BUFFER, Closing, Connection, Readiness, State, Step, connect_failure};
use crate::error::is_out_of_descriptors;
use crate::meter::{Failure, Meter};
use crate::ready::first_that_accepts;
use crate::request::Rendering;
use crate::{Driver, Error, HttpRequest, StatusRange, StatusRanges, Url};

/// So long nobody may listen before the server counts as lost: a process manager restarts one faster than this.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Pause of a slot after a refused connection, so that a restart does not use up the round's operations.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for the server to close its side of the connections that are given up between rounds.
const ENDING: Duration = Duration::from_millis(200);

const CANCEL: Token = Token(usize::MAX);

/// Drives one HTTP request in rounds, over connections that are kept alive.
///
/// - Before a round there are exactly as many connections as operations in flight, however few operations there are.
///   One that the server closed while it was idle is opened again before anything is sent on it.
/// - A connection that breaks under an operation costs this operation one error, and is replaced.
/// - After a round the connections stay open, those that ended with their answer are opened again, and so their number
///   is always the same. Where the server closes idle ones, or ends most with their answer, all are closed after every
///   round from there on, and the number is 0.
/// - No cookies are sent, redirects are not followed: an answer is an answer.
#[derive(Debug)]
pub struct HttpDriver {
    url: Url,
    rendering: Rendering,
    expect: StatusRanges,
    timeout: Duration,
    operations: [OperationKind; 1],

    poll: Poll,
    events: Events,
    buffer: Box<[u8]>,
    /// Where the server was found, if its name has several addresses.
    address: Option<SocketAddr>,
    connections: Vec<Connection>,
    /// Connections that the last round had.
    concurrency: u32,
    meter: Meter,
    round: Round,

    next_number: u64,
    closes_idle: bool,
    /// Whether most answers of the last round announced the end of their connection.
    churns: bool,
    announced_ends: u64,
    set_cookie_answers: u64,
}

/// How far a round is.
#[derive(Debug)]
struct Round {
    operations: u64,
    begun: u64,
    ended: u64,
    /// Complete answers, right or wrong, and those of them that announced the end of their connection.
    answers: u64,
    announced_ends: u64,
    distinct: bool,
    address: SocketAddr,
    /// Slots that can take the next operation, connected or not.
    free: Vec<usize>,
    /// Slots that may try to connect again, and when; in order of time.
    paused: VecDeque<(Instant, usize)>,
    /// Slots with more to read than their turn allowed.
    again: Vec<usize>,
    /// No operation times out before this.
    next_timeout: Instant,
    /// Since when every attempt to connect was refused and nothing answered.
    refused_since: Option<Instant>,
}

/// Why a round stops early.
enum Stop {
    Deadline,
    Cancelled,
    Lost(Duration),
    Failed(Error),
}

impl HttpDriver {
    /// Checks and renders the request; nothing is connected yet. Rounds bring their own concurrency, `concurrency` is
    /// what to make room for.
    ///
    /// # Errors
    /// If the request cannot be sent as it is.
    pub fn try_new(request: HttpRequest, concurrency: u32) -> Result<Self, Error> {
        let url = Url::parse(&request.url)?;
        let rendering = Rendering::try_new(&request, &url)?;
        if concurrency == 0 {
            return Err(no_concurrency());
        }
        if request.timeout.is_zero() {
            return Err(Error::Request {
                what: "timeout".into(),
                reason: "it must be longer than nothing".into(),
            });
        }
        let expect = if request.expect_status.is_empty() {
            StatusRange::new(200, 399)
                .into_iter()
                .collect::<Vec<_>>()
                .into()
        } else {
            request.expect_status
        };
        let io = |source| Error::Io {
            doing: "wait for connections (epoll)",
            source,
        };
        let capacity = (concurrency as usize).min(1_024);
        Ok(Self {
            operations: [OperationKind {
                id: OpId(0),
                name: rendering.name.clone(),
            }],
            poll: Poll::new().map_err(io)?,
            events: Events::with_capacity(1_024),
            buffer: vec![0; BUFFER].into(),
            address: None,
            connections: Vec::with_capacity(capacity),
            concurrency: 0,
            meter: Meter::new(request.timeout),
            round: Round {
                operations: 0,
                begun: 0,
                ended: 0,
                answers: 0,
                announced_ends: 0,
                distinct: false,
                address: SocketAddr::from(([127, 0, 0, 1], url.port)),
                free: Vec::with_capacity(capacity),
                paused: VecDeque::new(),
                again: Vec::new(),
                next_timeout: Instant::now(),
                refused_since: None,
            },
            next_number: 1,
            closes_idle: false,
            churns: false,
            announced_ends: 0,
            set_cookie_answers: 0,
            expect,
            timeout: request.timeout,
            rendering,
            url,
        })
    }

    /// Where it drives.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Answers so far that set a cookie. As none is sent back, each may have made a new session on the server.
    pub fn set_cookie_answers(&self) -> u64 {
        self.set_cookie_answers
    }

    /// Connections so far that the server ended with an answer, as announced by `Connection: close`. Opening them
    /// again is not in `reconnects`.
    pub fn announced_ends(&self) -> u64 {
        self.announced_ends
    }

    /// Whether the server closed connections because they were idle between two rounds.
    pub fn closes_idle(&self) -> bool {
        self.closes_idle
    }

    fn open_connections(&self) -> u32 {
        self.connections.iter().filter(|c| c.is_open()).count() as u32
    }

    /// Runs `work` while waiting for the cancel request too.
    fn watched(
        &mut self,
        cx: &Cx,
        work: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let fd = cx.cancel.fd().as_raw_fd();
        let registered =
            self.poll
                .registry()
                .register(&mut SourceFd(&fd), CANCEL, Interest::READABLE);
        if let Err(source) = registered {
            return Err(Stop::Failed(Error::Io {
                doing: "wait for the cancel request",
                source,
            }));
        }
        let result = work(self);
        // It was registered, and is open as long as `cx` lives.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        if result.is_err() {
            // An answer to come would be taken for that of the next operation.
            for connection in &mut self.connections {
                if connection.state() != State::Idle {
                    connection.close(Closing::Planned);
                }
            }
        }
        result
    }

    fn error(&self, stop: Stop, stats: RoundStats) -> Error {
        let stats = Box::new(stats);
        match stop {
            Stop::Deadline => Error::Deadline { stats },
            Stop::Cancelled => Error::Cancelled { stats },
            Stop::Lost(since) => Error::ServerLost {
                address: self.round.address.to_string(),
                since,
                stats,
            },
            Stop::Failed(error) => error,
        }
    }

    fn drive(&mut self, cx: &Cx) -> Result<(), Stop> {
        self.connect_all(cx, true)?;
        self.round.free.extend((0..self.connections.len()).rev());
        self.round.next_timeout = Instant::now() + self.timeout;
        loop {
            self.begin_operations()?;
            if self.round.ended == self.round.operations {
                break;
            }
            let pause_ends = self.round.paused.front().map(|(at, _)| *at);
            let wake = self.round.next_timeout;
            self.wait(cx, pause_ends.map_or(wake, |at| at.min(wake)))?;

            let now = Instant::now();
            if now >= self.round.next_timeout {
                self.expire(now);
            }
            while let Some((_, slot)) = self.round.paused.pop_front_if(|(at, _)| *at <= now) {
                self.round.free.push(slot);
            }
            if let Some(since) = self.round.refused_since
                && now - since >= LOST_AFTER
                && self.open_connections() == 0
            {
                return Err(Stop::Lost(now - since));
            }
        }
        // All operations are used up, and to begin the next round would say the same.
        match self.round.refused_since {
            Some(since) if self.open_connections() == 0 => Err(Stop::Lost(since.elapsed())),
            _ => Ok(()),
        }
    }

    /// Brings the connections to their number. Those that cannot be opened stay closed.
    ///
    /// `after_rest` says that they were found alive after the last round and left alone since.
    fn connect_all(&mut self, cx: &Cx, after_rest: bool) -> Result<(), Stop> {
        let Round {
            free,
            paused,
            again,
            refused_since,
            ..
        } = &mut self.round;
        free.clear();
        paused.clear();
        again.clear();
        *refused_since = None;
        let now = Instant::now();
        for connection in &mut self.connections {
            if connection.state() == State::Idle {
                if connection.is_over(&mut self.buffer) {
                    self.closes_idle |= after_rest;
                    connection.close(Closing::Lost);
                } else if connection.is_about_to_be_closed(now) {
                    connection.close(Closing::Planned);
                }
            }
        }
        self.connections
            .resize_with(self.concurrency as usize, Connection::new);
        for slot in 0..self.connections.len() {
            if !self.connections[slot].is_open() {
                self.connect(slot)?;
            }
        }
        let until = now + self.timeout;
        while self
            .connections
            .iter()
            .any(|c| c.state() == State::Connecting)
        {
            if Instant::now() >= until {
                for connection in &mut self.connections {
                    if connection.state() == State::Connecting {
                        connection.close(Closing::Planned);
                    }
                }
                break;
            }
            self.wait(cx, until)?;
        }
        Ok(())
    }

    /// Closes all connections and waits a moment for the server to do the same.
    fn close_all(&mut self, cx: &Cx) -> Result<(), Stop> {
        for connection in &mut self.connections {
            if connection.state() == State::Idle {
                connection.end();
            }
        }
        let until = Instant::now() + ENDING;
        while Instant::now() < until && self.connections.iter().any(|c| c.state() == State::Ending)
        {
            self.wait(cx, until)?;
        }
        for connection in &mut self.connections {
            connection.close(Closing::Planned);
        }
        Ok(())
    }

    /// Gives operations to free slots while there are both.
    fn begin_operations(&mut self) -> Result<(), Stop> {
        while self.round.begun < self.round.operations {
            let Some(slot) = self.round.free.pop() else {
                break;
            };
            self.round.begun += 1;
            let number = if self.round.distinct {
                self.next_number
            } else {
                0
            };
            self.next_number += u64::from(self.round.distinct);
            let connection = &mut self.connections[slot];
            if self.rendering.fixed().is_none() {
                self.rendering.render(number, &mut connection.request);
            }
            connection.begin(Instant::now(), self.rendering.is_head);
            if connection.state() == State::Idle {
                let step =
                    connection.send(self.rendering.fixed(), &mut self.buffer, &mut self.meter);
                self.settle(slot, step);
            } else {
                self.connect(slot)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, slot: usize) -> Result<(), Stop> {
        let connected = TcpStream::connect(self.round.address).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(slot), interest)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => self.connections[slot].connecting(stream),
            Err(source) if is_out_of_descriptors(&source) => {
                return Err(Stop::Failed(Error::Io {
                    doing: "open another connection",
                    source,
                }));
            }
            Err(error) => self.connect_failed(slot, connect_failure(&error)),
        }
        Ok(())
    }

    /// Waits for events until `until` at most and acts on them.
    fn wait(&mut self, cx: &Cx, until: Instant) -> Result<(), Stop> {
        if cx.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let now = Instant::now();
        if now >= cx.deadline {
            return Err(Stop::Deadline);
        }
        let again = mem::take(&mut self.round.again);
        let timeout = if again.is_empty() {
            until.min(cx.deadline).saturating_duration_since(now)
        } else {
            Duration::ZERO
        };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(e) if e.kind() != std::io::ErrorKind::Interrupted => {
                return Err(Stop::Failed(Error::Io {
                    doing: "wait for answers (epoll)",
                    source: e,
                }));
            }
            // Interrupted, there are no events.
            Ok(()) | Err(_) => {}
        }
        for slot in again {
            self.advance(slot, Readiness::READ);
        }
        // Taken out for the time of the loop, which changes all the rest.
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() != CANCEL {
                self.advance(event.token().0, event.into());
            }
        }
        self.events = events;
        Ok(())
    }

    fn advance(&mut self, slot: usize, ready: Readiness) {
        // Fewer connections than in the round before, and an event of one that is gone.
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let fixed = self.rendering.fixed();
        let mut step = connection.advance(ready, fixed, &mut self.buffer, &mut self.meter);
        if let Step::Connected = step {
            self.round.refused_since = None;
            self.meter.reconnects += u64::from(connection.closing == Closing::Lost);
            connection.closing = Closing::Planned;
            step = if connection.started.is_some() {
                connection.send(fixed, &mut self.buffer, &mut self.meter)
            } else {
                Step::Wait
            };
        }
        self.settle(slot, step);
    }

    fn settle(&mut self, slot: usize, step: Step) {
        match step {
            Step::Wait | Step::Connected => {}
            Step::Again => self.round.again.push(slot),
            Step::Answered { answer, open } => {
                let now = Instant::now();
                let connection = &mut self.connections[slot];
                let started = connection.started.unwrap_or(now);
                if open {
                    connection.rest(now, answer.idle_timeout);
                } else if answer.closes {
                    self.announced_ends += 1;
                    self.round.announced_ends += 1;
                    connection.close(Closing::Planned);
                } else {
                    connection.close(Closing::Lost);
                }
                self.round.refused_since = None;
                self.set_cookie_answers += u64::from(answer.sets_cookie);
                let failure = (!self.expect.contains(answer.status))
                    .then_some(Failure::Status(answer.status));
                self.meter.answered(now - started, failure);
                self.round.answers += 1;
                self.round.ended += 1;
                self.round.free.push(slot);
            }
            Step::Failed(failure) => {
                if self.connections[slot].state() == State::Connecting {
                    self.connect_failed(slot, failure);
                } else {
                    self.fail(slot, failure);
                    self.round.free.push(slot);
                }
            }
        }
    }

    /// Counts the operation of this slot, if it has one, and closes the connection.
    fn fail(&mut self, slot: usize, failure: Failure) {
        let connection = &mut self.connections[slot];
        if connection.started.is_some() {
            self.meter.failed(failure);
            self.round.ended += 1;
        }
        connection.close(Closing::Lost);
    }

    fn connect_failed(&mut self, slot: usize, failure: Failure) {
        let now = Instant::now();
        if matches!(failure, Failure::Refused | Failure::Unreachable) {
            self.round.refused_since.get_or_insert(now);
        }
        if self.connections[slot].started.is_some() {
            self.round.paused.push_back((now + PAUSE, slot));
        }
        self.fail(slot, failure);
    }

    /// Gives up operations that take too long. As all have the same time, those that begin later end later: until the
    /// earliest of those left nobody has to look again.
    fn expire(&mut self, now: Instant) {
        let mut next = now + self.timeout;
        for slot in 0..self.connections.len() {
            let Some(started) = self.connections[slot].started else {
                continue;
            };
            let end = started + self.timeout;
            if end <= now {
                self.fail(slot, Failure::Timeout);
                self.round.free.push(slot);
            } else {
                next = next.min(end);
            }
        }
        self.round.next_timeout = next;
    }

    /// Where to connect. A name with several addresses is tried; the first that accepts is kept.
    fn find_address(&mut self, cx: Option<&Cx>) -> Result<SocketAddr, Error> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let io = |source| Error::Io {
            doing: "look up the host of the URL",
            source,
        };
        let addresses = self.url.addresses().map_err(io)?;
        if let [only] = addresses[..] {
            self.address = Some(only);
            return Ok(only);
        }
        let patience = cx.map_or(Duration::from_secs(1), |cx| {
            cx.left().min(Duration::from_secs(1))
        });
        self.address = first_that_accepts(&addresses, patience);
        Ok(self.address.unwrap_or(addresses[0]))
    }
}

impl Driver for HttpDriver {
    fn operations(&self) -> &[OperationKind] {
        &self.operations
    }

    fn prepare(&mut self, _subject: &SubjectHandle) -> Result<(), Error> {
        self.find_address(None).map(|_| ())
    }

    fn round(&mut self, spec: &RoundSpec, cx: &Cx) -> Result<RoundStats, Error> {
        let concurrency = match spec.mode {
            Mode::Closed { concurrency } if concurrency > 0 => concurrency,
            Mode::Closed { .. } => return Err(no_concurrency()),
            other => {
                return Err(Error::Unsupported {
                    what: format!("{other:?}"),
                    instead: "only a closed loop is supported".into(),
                });
            }
        };
        if let Some(OpId(id)) = spec.only.filter(|id| *id != OpId(0)) {
            return Err(Error::Unsupported {
                what: format!("operation {id}"),
                instead: "there is only operation 0".into(),
            });
        }
        self.round.address = self.find_address(Some(cx))?;
        self.concurrency = concurrency;
        self.round.operations = spec.operations;
        self.round.begun = 0;
        self.round.ended = 0;
        self.round.answers = 0;
        self.round.announced_ends = 0;
        self.round.distinct = spec.distinct;
        self.meter.begin();
        let driven = self.watched(cx, |driver| driver.drive(cx));
        let stats = self.meter.stats(self.open_connections());
        // From here on they belong to the next round.
        self.meter.reconnects = 0;
        if self.round.answers > 0 {
            self.churns = self.round.announced_ends * 2 > self.round.answers;
        }
        match driven {
            Ok(()) => Ok(stats),
            Err(stop) => Err(self.error(stop, stats)),
        }
    }

    fn quiesce(&mut self, cx: &Cx) -> Result<Quiet, Error> {
        let closes = self.closes_idle || self.churns;
        let quiet = self.watched(cx, |driver| {
            if closes {
                driver.close_all(cx)
            } else {
                driver.connect_all(cx, false)
            }
        });
        // No operation was under way: the counts of the last round were returned with it.
        quiet.map_err(|stop| self.error(stop, RoundStats::default()))?;
        let connections = self.open_connections();
        let wanted = if closes { 0 } else { self.concurrency };
        if connections == 0
            && wanted > 0
            && let Some(since) = self.round.refused_since
        {
            return Err(self.error(Stop::Lost(since.elapsed()), RoundStats::default()));
        }
        Ok(Quiet {
            connections,
            settled: connections == wanted,
        })
    }

    fn close(self: Box<Self>) {}
}

fn no_concurrency() -> Error {
    Error::Unsupported {
        what: "a round without concurrency".into(),
        instead: "at least one operation must be in flight".into(),
    }
}
