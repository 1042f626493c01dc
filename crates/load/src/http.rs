//! The driver of requests: so many operations in flight, the next begins when one ends (closed loop) or when it is due
//! (open loop).
//!
//! One thread, the caller's, waits for all connections, for the next operation that is due and for the cancel request
//! at once. An operation is numbered when it begins and ends exactly once, so `done + errors` is the number begun;
//! nothing is sent twice.

mod ending;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use plimsoll_model::{
    Cx, Finding, Mode, OpId, OperationKind, Quiet, RoundSpec, RoundStats, SubjectHandle,
};

use crate::clock::{Schedule, Timer};
use crate::connection::{BUFFER, Closing, Connection, Readiness, State, Step, connect_failure};
use crate::error::is_out_of_descriptors;
use crate::meter::{Failure, Meter, Progress};
use crate::plan::{Plan, Walk};
use crate::ready::first_that_accepts;
use crate::response::BODY_LIMIT;
use crate::script::{Action, Script};
use crate::trust::TlsFailure;
use crate::user::{Doing, User};
use crate::{Driver, Error, HttpRequest, Url};

/// So long nobody may listen before the server counts as lost: a process manager restarts one faster than this.
const LOST_AFTER: Duration = Duration::from_secs(2);

/// Pause of a slot after a refused connection, so that a restart does not use up the round's operations.
const PAUSE: Duration = Duration::from_millis(50);

/// Longest wait for the server to close its side of the connections that are given up between rounds.
const ENDING: Duration = Duration::from_millis(200);

const CANCEL: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);

/// Drives requests and messages in rounds, over connections that are kept alive: HTTP/1.1, HTTP/2, WebSocket, with TLS or
/// without.
///
/// - Before a round there are exactly as many connections as operations in flight, however few operations there are.
///   One that the server closed while it was idle is opened again before anything is sent on it.
/// - A connection that breaks under an operation costs this operation one error, and is replaced.
/// - After a round the connections stay open, those that ended with their answer are opened again, and so their number
///   is always the same. Where the server closes idle ones, or ends most with their answer, all are closed after every
///   round from there on, and the number is 0.
/// - Each connection is that of one virtual user, with variables and cookies of its own if the plan has any.
#[derive(Debug)]
pub struct HttpDriver {
    script: Script,
    operations: Vec<OperationKind>,

    poll: Poll,
    events: Events,
    timer: Option<Timer>,
    buffer: Box<[u8]>,
    scratch: Vec<u8>,
    /// Where the server was found, if its name has several addresses.
    address: Option<SocketAddr>,
    connections: Vec<Connection>,
    /// One per connection.
    users: Vec<User>,
    /// Connections that the last round had.
    concurrency: u32,
    meter: Meter,
    round: Round,
    /// Longest time that anything may take.
    timeout: Duration,

    next_number: u64,
    next_row: usize,
    closes_idle: bool,
    /// Whether most answers of the last round announced the end of their connection.
    churns: bool,
    announced_ends: u64,
    set_cookie_answers: u64,
    login_redirects: u64,
    noticed: Noticed,
    /// Longest part of a body that is looked into.
    body_limit: usize,
    /// What was spoken, if it was not plain HTTP/1.1.
    spoken: Option<&'static str>,
}

/// Answers over all rounds that deserve an advice.
#[derive(Debug, Default, Clone, Copy)]
struct Noticed {
    answers: u64,
    unauthorized: u64,
    forbidden: u64,
    too_many: u64,
    no_port: u64,
}

/// How far a round is.
#[derive(Debug)]
struct Round {
    operations: u64,
    begun: u64,
    ended: u64,
    /// Setup steps under way.
    setups: usize,
    /// Complete answers, right or wrong, and those of them that announced the end of their connection.
    answers: u64,
    announced_ends: u64,
    distinct: bool,
    address: SocketAddr,
    /// The steps of this round, in order.
    order: Vec<u32>,
    walk: Walk,
    /// Where all users are in it, if they share it.
    position: usize,
    /// Users at most; more than there are at first only in an open loop.
    most: usize,
    /// When operations are due; `None` = as soon as a user is free.
    schedule: Option<Schedule>,
    /// From here on none begins.
    until: Option<Instant>,
    /// Users that can take the next operation, connected or not; who waited longest first.
    free: VecDeque<usize>,
    /// Users that pause, and until when; earliest first.
    paused: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Slots with more to read than their turn allowed.
    again: Vec<usize>,
    /// No operation times out before this.
    next_timeout: Instant,
    /// Since when every attempt to connect was refused and nothing answered.
    refused_since: Option<Instant>,
    /// A virtual user that cannot be set up.
    broken: Option<(usize, String)>,
    /// Why no operation is possible, however often it is tried.
    unfit: Option<Failure>,
}

/// Why a round stops early.
enum Stop {
    Deadline,
    Cancelled,
    Lost(Duration),
    /// Index of the setup step, and what came of it.
    Setup(usize, String),
    Unfit(Failure),
    Failed(Error),
}

impl HttpDriver {
    /// Checks and renders one request; nothing is connected yet. Rounds bring their own concurrency, `concurrency` is
    /// what to make room for.
    ///
    /// # Errors
    /// If the request cannot be sent as it is.
    pub fn try_new(request: HttpRequest, concurrency: u32) -> Result<Self, Error> {
        Self::with_plan(Plan::of([request]), concurrency)
    }

    /// The same for several requests, or steps that depend on each other.
    ///
    /// # Errors
    /// If a step cannot be carried out.
    pub fn with_plan(plan: Plan, concurrency: u32) -> Result<Self, Error> {
        let timeout = plan.timeout();
        let mut script = Script::try_new(plan)?;
        if concurrency == 0 {
            return Err(no_concurrency());
        }
        let io = |source| Error::Io {
            doing: "wait for connections (epoll)",
            source,
        };
        let capacity = (concurrency as usize).min(1_024);
        let operations: Vec<_> = (0..)
            .zip(&script.steps)
            .map(|(id, step)| OperationKind {
                id: OpId(id),
                name: step.name.clone(),
            })
            .collect();
        let checks = mem::take(&mut script.checks);
        Ok(Self {
            meter: Meter::new(timeout, operations.len(), checks),
            operations,
            poll: Poll::new().map_err(io)?,
            events: Events::with_capacity(1_024),
            timer: None,
            buffer: vec![0; BUFFER].into(),
            scratch: Vec::new(),
            address: None,
            connections: Vec::with_capacity(capacity),
            users: Vec::with_capacity(capacity),
            concurrency: 0,
            round: Round {
                operations: 0,
                begun: 0,
                ended: 0,
                setups: 0,
                answers: 0,
                announced_ends: 0,
                distinct: false,
                address: SocketAddr::from(([127, 0, 0, 1], script.url.port)),
                order: Vec::new(),
                walk: script.walk,
                position: 0,
                most: 0,
                schedule: None,
                until: None,
                free: VecDeque::with_capacity(capacity),
                paused: BinaryHeap::new(),
                again: Vec::new(),
                next_timeout: Instant::now(),
                refused_since: None,
                broken: None,
                unfit: None,
            },
            timeout,
            next_number: 1,
            next_row: 0,
            closes_idle: false,
            churns: !script.keep_alive,
            announced_ends: 0,
            set_cookie_answers: 0,
            login_redirects: 0,
            noticed: Noticed::default(),
            body_limit: BODY_LIMIT,
            spoken: None,
            script,
        })
    }

    /// Where it drives.
    pub fn url(&self) -> &Url {
        &self.script.url
    }

    /// Has every virtual user keep so much of a body, where it looks into bodies.
    pub(crate) fn keep_bodies_up_to(&mut self, bytes: usize) {
        self.body_limit = bytes;
    }

    /// The body of the answer that the first virtual user has got last, as far as it was kept.
    pub(crate) fn last_body(&self) -> &[u8] {
        let first = self.connections.first();
        first.map_or(&[], |connection| connection.parser.kept_body())
    }

    /// The status of the answer that the first virtual user has got last.
    pub(crate) fn last_status(&self) -> u16 {
        let first = self.connections.first();
        first.map_or(0, |connection| connection.parser.answer().status)
    }

    /// How far the round is, for another thread.
    pub fn progress(&self) -> Arc<Progress> {
        self.meter.progress()
    }

    /// Answers so far that set a cookie. Where none is sent back, each may have made a new session on the server.
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
            Stop::Setup(step, reason) => Error::Setup {
                step: self.script.setup[step].name.clone(),
                reason,
                stats,
            },
            Stop::Unfit(failure) => Error::Unfit {
                address: self.script.url.authority.clone(),
                reason: failure.to_string(),
                hint: match failure {
                    Failure::Tls(failure) => failure.advice(),
                    _ => TlsFailure::NoHttp2.advice(),
                },
                stats,
            },
            Stop::Failed(error) => error,
        }
    }

    fn drive(&mut self, spec: &RoundSpec, cx: &Cx) -> Result<(), Stop> {
        self.connect_all(cx, true)?;
        let start = Instant::now();
        self.round.until = spec.duration.and_then(|d| start.checked_add(d));
        self.round.schedule = match spec.mode {
            Mode::Open { rate, .. } => Some(Schedule::new(start, rate, spec.ramp)),
            _ => None,
        };
        if self.round.schedule.is_some() && self.timer.is_none() {
            self.timer = Some(self.start_timer()?);
        }
        for slot in 0..self.connections.len() {
            // In a closed loop the users come one after the other while the load rises.
            let share = slot as f64 / self.connections.len() as f64;
            let wait = spec.ramp.mul_f64(share);
            if self.round.schedule.is_some() || wait.is_zero() {
                self.round.free.push_back(slot);
            } else {
                self.round.paused.push(Reverse((start + wait, slot)));
            }
        }
        self.round.next_timeout = start + self.timeout;
        loop {
            if let Some(failure) = self.round.unfit {
                return Err(Stop::Unfit(failure));
            }
            self.begin_operations()?;
            if let Some((step, reason)) = self.round.broken.take() {
                return Err(Stop::Setup(step, reason));
            }
            let now = Instant::now();
            if self.round.ended == self.round.begun && self.round.setups == 0 && self.is_over(now) {
                break;
            }
            let mut wake = self.round.next_timeout;
            if let Some(Reverse((at, _))) = self.round.paused.peek() {
                wake = wake.min(*at);
            }
            if let Some(until) = self.round.until
                && self.round.begun < self.round.operations
                && now < until
            {
                wake = wake.min(until);
            }
            self.set_timer(now)?;
            self.wait(cx, wake)?;

            let now = Instant::now();
            if now >= self.round.next_timeout {
                self.expire(now);
            }
            while let Some(Reverse((at, slot))) = self.round.paused.peek().copied()
                && at <= now
            {
                self.round.paused.pop();
                self.round.free.push_back(slot);
            }
            if let Some(since) = self.round.refused_since
                && now - since >= LOST_AFTER
                && self.open_connections() == 0
            {
                return Err(Stop::Lost(now - since));
            }
        }
        if let Some(failure) = self.round.unfit {
            return Err(Stop::Unfit(failure));
        }
        // All operations are used up, and to begin the next round would say the same.
        match self.round.refused_since {
            Some(since) if self.open_connections() == 0 => Err(Stop::Lost(since.elapsed())),
            _ => Ok(()),
        }
    }

    /// Whether no further operation begins.
    fn is_over(&self, now: Instant) -> bool {
        self.round.begun >= self.round.operations
            || self.round.until.is_some_and(|until| now >= until)
    }

    fn start_timer(&self) -> Result<Timer, Stop> {
        let io = |source| {
            Stop::Failed(Error::Io {
                doing: "make a timer",
                source,
            })
        };
        let timer = Timer::try_new().map_err(io)?;
        let registry = self.poll.registry();
        registry
            .register(&mut SourceFd(&timer.raw()), TIMER, Interest::READABLE)
            .map_err(io)?;
        Ok(timer)
    }

    /// Wakes when the next operation is due, if there is somebody to do it.
    fn set_timer(&mut self, now: Instant) -> Result<(), Stop> {
        let Some((schedule, timer)) = self.round.schedule.zip(self.timer.as_mut()) else {
            return Ok(());
        };
        let busy = self.round.free.is_empty() && self.connections.len() >= self.round.most;
        if busy || self.round.begun >= self.round.operations {
            return Ok(());
        }
        let due = schedule.due(self.round.begun);
        timer.set(due, now).map_err(|source| {
            Stop::Failed(Error::Io {
                doing: "set a timer",
                source,
            })
        })
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
        let concurrency = self.concurrency as usize;
        self.connections.resize_with(concurrency, Connection::new);
        self.users.truncate(concurrency);
        for number in self.users.len()..concurrency {
            self.users.push(User::new(number as u64 + 1, &self.script));
        }
        for user in &mut self.users {
            user.doing = Doing::Nothing;
        }
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

    /// Gives operations to free users while there are both and the time has come.
    fn begin_operations(&mut self) -> Result<(), Stop> {
        while self.round.begun < self.round.operations {
            let now = Instant::now();
            if self.round.until.is_some_and(|until| now >= until) {
                break;
            }
            let due = self.round.schedule.map(|s| s.due(self.round.begun));
            if due.is_some_and(|due| due > now) {
                break;
            }
            let Some(slot) = self.round.free.pop_front().or_else(|| self.one_more()) else {
                break;
            };
            if !self.users[slot].is_set_up {
                self.users[slot].take_row(&self.script, &mut self.next_row);
                self.users[slot].begin_setup(&self.script);
                self.round.setups += 1;
                self.begin(slot, Doing::Setup(0), now)?;
                continue;
            }
            self.users[slot].due = due.unwrap_or(now);
            if let Some(due) = due {
                self.meter.late(now - due);
            }
            self.round.begun += 1;
            let step = self.next_step(slot);
            let user = &mut self.users[slot];
            if self.round.distinct {
                user.seq = self.next_number;
                self.next_number += 1;
            } else {
                user.seq = 0;
                user.use_same_input();
            }
            self.begin(slot, Doing::Step(step), now)?;
        }
        Ok(())
    }

    /// One more virtual user, where all are busy and there may be more.
    fn one_more(&mut self) -> Option<usize> {
        let slot = self.connections.len();
        (slot < self.round.most).then(|| {
            self.connections.push(Connection::new());
            self.users.push(User::new(slot as u64 + 1, &self.script));
            slot
        })
    }

    /// The step this user does next.
    fn next_step(&mut self, slot: usize) -> usize {
        let user = &mut self.users[slot];
        let position = match self.round.walk {
            Walk::Shared => &mut self.round.position,
            Walk::Own => &mut user.position,
        };
        if *position >= self.round.order.len() {
            *position = 0;
        }
        let at = *position;
        *position += 1;
        if at == 0 || self.round.walk == Walk::Shared {
            user.take_row(&self.script, &mut self.next_row);
        }
        self.round.order[at] as usize
    }

    /// Sends the request of what the user is to do, or connects first.
    fn begin(&mut self, slot: usize, doing: Doing, now: Instant) -> Result<(), Stop> {
        let Some(action) = action(&self.script, doing) else {
            return Ok(());
        };
        let user = &mut self.users[slot];
        let connection = &mut self.connections[slot];
        user.doing = doing;
        user.begun = now;
        let mut capture = action.capture;
        capture.head |= self.script.cookies;
        let (is_head, is_message) = (action.rendering.is_head, action.rendering.is_message);
        if action.timeout < self.timeout {
            self.round.next_timeout = self.round.next_timeout.min(now + action.timeout);
        }
        let rendered = user.render(
            &action.rendering,
            &self.script,
            &mut self.scratch,
            &mut connection.request,
        );
        connection.begin(now, is_head, is_message, capture);
        connection.parser.keep_up_to(self.body_limit);
        if let Err(failure) = rendered {
            self.end(slot, None, Err(failure));
            return Ok(());
        }
        self.send(slot)
    }

    /// Sends the request of this slot, or connects first.
    fn send(&mut self, slot: usize) -> Result<(), Stop> {
        let connection = &mut self.connections[slot];
        if connection.state() == State::Idle && !connection.suits() {
            let started = connection.started;
            connection.close(Closing::Planned);
            connection.started = started;
        }
        if connection.state() == State::Idle {
            let fixed = fixed(&self.script, &self.users[slot]);
            let step = connection.send(fixed, &mut self.buffer, &mut self.meter);
            self.settle(slot, step);
            Ok(())
        } else {
            self.connect(slot)
        }
    }

    fn connect(&mut self, slot: usize) -> Result<(), Stop> {
        let connected = TcpStream::connect(self.round.address).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(slot), interest)?;
            Ok(stream)
        });
        let connected = connected.and_then(|stream| {
            let reach = &self.script.reach;
            self.connections[slot].connecting(stream, reach)
        });
        match connected {
            Ok(()) => {}
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
            if event.token() != CANCEL && event.token() != TIMER {
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
        let fixed = fixed(&self.script, &self.users[slot]);
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

    /// Where to connect. A name with several addresses is tried; the first that accepts is kept.
    fn find_address(&mut self, cx: Option<&Cx>) -> Result<SocketAddr, Error> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let io = |source| Error::Io {
            doing: "look up the host of the URL",
            source,
        };
        let addresses = self.script.url.addresses().map_err(io)?;
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
        let concurrency = spec.mode.concurrency();
        if concurrency == 0 {
            return Err(no_concurrency());
        }
        self.round.most = concurrency as usize;
        let open = match spec.mode {
            Mode::Closed { .. } => false,
            Mode::Open { rate, most, .. } if rate.is_finite() && rate > 0.0 => {
                self.round.most = most.max(concurrency) as usize;
                true
            }
            other => {
                return Err(Error::Unsupported {
                    what: format!("{other:?}"),
                    instead: "a rate is more than 0 operations a second".into(),
                });
            }
        };
        self.round.order.clear();
        match spec.only {
            None => self.round.order.extend_from_slice(&self.script.order),
            Some(OpId(id)) => {
                let Some(steps) = self.script.only(id as usize) else {
                    return Err(Error::Unsupported {
                        what: format!("operation {id}"),
                        instead: format!("there are {} of them, from 0", self.operations.len()),
                    });
                };
                self.round.order.extend_from_slice(steps);
            }
        }
        // What one step finds is known to the same user only.
        self.round.walk = if spec.only.is_some() {
            Walk::Own
        } else {
            self.script.walk
        };
        self.round.position = 0;
        for user in &mut self.users {
            user.position = 0;
        }
        self.round.address = self.find_address(Some(cx))?;
        self.concurrency = concurrency;
        self.round.operations = spec.operations;
        self.round.begun = 0;
        self.round.ended = 0;
        self.round.setups = 0;
        self.round.broken = None;
        self.round.unfit = None;
        self.round.answers = 0;
        self.round.announced_ends = 0;
        self.round.distinct = spec.distinct;
        for connection in &mut self.connections {
            connection.carried = 0;
        }
        self.meter.begin(open);
        let driven = self.watched(cx, |driver| driver.drive(spec, cx));
        self.noticed.answers += self.round.ended;
        self.noticed.unauthorized += self.meter.unexpected(401);
        self.noticed.forbidden += self.meter.unexpected(403);
        self.noticed.too_many += self.meter.unexpected(429);
        self.noticed.no_port += self.meter.failures(Failure::NoLocalPort);
        let mut stats = self.meter.stats(self.open_connections());
        let carriers = self.connections.iter().filter(|c| c.carried > 0);
        stats.per_port = carriers
            .filter_map(|c| Some((c.port()?, c.carried)))
            .collect();
        // From here on they belong to the next round.
        self.meter.reconnects = 0;
        if self.round.answers > 0 && self.script.keep_alive {
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

    fn close(self: Box<Self>) -> Option<Finding> {
        None
    }

    fn findings(&self) -> Vec<Finding> {
        self.advice()
    }
}

/// The step that somebody does.
fn action(script: &Script, doing: Doing) -> Option<&Action> {
    match doing {
        Doing::Nothing => None,
        Doing::Step(step) => script.steps.get(step),
        Doing::Setup(step) => script.setup.get(step),
    }
}

/// The request of what a user does, unless it has one of its own.
fn fixed<'s>(script: &'s Script, user: &User) -> Option<&'s [u8]> {
    if user.own_request {
        return None;
    }
    action(script, user.doing)?.rendering.fixed()
}

fn no_concurrency() -> Error {
    Error::Unsupported {
        what: "a round without concurrency".into(),
        instead: "at least one operation must be in flight".into(),
    }
}
