//! One connection and the operation on it: closed, connecting, idle, busy, ending.
//!
//! All sockets are non-blocking and watched edge-triggered: what an event announces is used up before the next wait,
//! or [`Step::Again`] says that some is left.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;

use crate::meter::{Failure, Meter};
use crate::response::{Answer, Capture, ResponseParser};

/// Bytes read at once, from whichever connection has some.
pub(crate) const BUFFER: usize = 64 * 1024;

/// Reads from one connection before the others get a turn.
const READS_AT_ONCE: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Closed,
    Connecting,
    Idle,
    Busy,
    /// We said that we are done and wait for the server to say so too.
    Ending,
}

/// Why a connection is closed, which decides how opening it again is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// We meant to, or the answer announced it.
    Planned,
    /// The server or the network did, unannounced.
    Lost,
}

/// What an event led to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Nothing more until the next event.
    Wait,
    /// There may be more to read: call again without waiting.
    Again,
    /// The operation was answered; whether the connection can carry another.
    Answered { answer: Answer, open: bool },
    /// The operation or the attempt to connect failed.
    Failed(Failure),
    /// The connection is established.
    Connected,
}

/// What an event said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Readiness {
    readable: bool,
    writable: bool,
    /// The server has sent its last byte, though there may be unread ones.
    ended: bool,
}

impl Readiness {
    /// Read until there is nothing more, whatever was announced.
    pub(crate) const READ: Self = Self {
        readable: true,
        writable: false,
        ended: true,
    };
}

impl From<&Event> for Readiness {
    fn from(event: &Event) -> Self {
        let ended = event.is_read_closed() || event.is_write_closed() || event.is_error();
        Self {
            readable: event.is_readable() || ended,
            writable: event.is_writable() || ended,
            ended,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: Option<TcpStream>,
    state: State,
    /// Start of the operation under way, connecting included.
    pub(crate) started: Option<Instant>,
    pub(crate) closing: Closing,
    /// The request, where every operation has its own.
    pub(crate) request: Vec<u8>,
    written: usize,
    /// Bytes of the answer so far, and of the request.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) parser: ResponseParser,
    idle_since: Instant,
    idle_timeout: Option<Duration>,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            stream: None,
            state: State::Closed,
            started: None,
            closing: Closing::Planned,
            request: Vec::new(),
            written: 0,
            received: 0,
            sent: 0,
            parser: ResponseParser::new(),
            idle_since: Instant::now(),
            idle_timeout: None,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether it is established and can carry operations.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Idle | State::Busy)
    }

    /// Takes a stream that is being connected.
    pub(crate) fn connecting(&mut self, stream: TcpStream) {
        self.stream = Some(stream);
        self.state = State::Connecting;
        self.idle_timeout = None;
    }

    /// Closes it, and gives up what was under way.
    pub(crate) fn close(&mut self, closing: Closing) {
        // A failed attempt does not make a planned reconnection an unplanned one.
        if self.state != State::Connecting && self.state != State::Closed {
            self.closing = closing;
        }
        self.stream = None;
        self.state = State::Closed;
        self.started = None;
    }

    /// Says that we are done, so that the server closes its side.
    pub(crate) fn end(&mut self) {
        let said = self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.shutdown(Shutdown::Write).is_ok());
        if said {
            self.closing = Closing::Planned;
            self.state = State::Ending;
        } else {
            self.close(Closing::Planned);
        }
    }

    /// Begins an operation at `now`; the request was rendered before. Sent by [`Connection::send`] once connected.
    pub(crate) fn begin(&mut self, now: Instant, to_head_request: bool, capture: Capture) {
        self.started = Some(now);
        self.written = 0;
        self.received = 0;
        self.sent = 0;
        self.parser.begin(to_head_request, capture);
    }

    /// Whether the server closed it, or said something nobody asked for, while it was idle.
    pub(crate) fn is_over(&mut self, buffer: &mut [u8]) -> bool {
        let Some(stream) = &mut self.stream else {
            return true;
        };
        loop {
            match stream.read(buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() != ErrorKind::WouldBlock,
                // Nothing, or bytes like those of a `408 Request Timeout` that announces the end.
                Ok(_) => return true,
            }
        }
    }

    /// Whether the server said it would close it about now.
    pub(crate) fn is_about_to_be_closed(&self, now: Instant) -> bool {
        self.idle_timeout.is_some_and(|timeout| {
            let margin = (timeout / 2).min(Duration::from_secs(1));
            now.saturating_duration_since(self.idle_since) + margin >= timeout
        })
    }

    /// Goes on with what `ready` allows. `fixed` is the request unless every operation has its own.
    pub(crate) fn advance(
        &mut self,
        ready: Readiness,
        fixed: Option<&[u8]>,
        buffer: &mut [u8],
        meter: &mut Meter,
    ) -> Step {
        match self.state {
            State::Connecting if ready.writable => self.check_connected(),
            State::Closed | State::Connecting => Step::Wait,
            State::Idle => {
                if ready.readable && self.is_over(buffer) {
                    self.close(Closing::Lost);
                }
                Step::Wait
            }
            State::Busy => {
                if ready.writable
                    && self.written < self.length(fixed)
                    && let Step::Failed(failure) = self.send(fixed, buffer, meter)
                {
                    return Step::Failed(failure);
                }
                if ready.readable {
                    self.receive(ready.ended, fixed, buffer, meter)
                } else {
                    Step::Wait
                }
            }
            State::Ending => {
                while let Some(stream) = &mut self.stream {
                    match stream.read(buffer) {
                        Ok(1..) => {}
                        Err(e) if e.kind() == ErrorKind::Interrupted => {}
                        Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                        Ok(0) | Err(_) => self.close(Closing::Planned),
                    }
                }
                Step::Wait
            }
        }
    }

    fn check_connected(&mut self) -> Step {
        let Some(stream) = &self.stream else {
            return Step::Wait;
        };
        let peer = match stream.take_error() {
            Ok(None) => stream.peer_addr(),
            Ok(Some(e)) | Err(e) => return Step::Failed(connect_failure(&e)),
        };
        match peer {
            Ok(peer) if is_own_end(stream.local_addr(), peer) => Step::Failed(Failure::Refused),
            Ok(_) => {
                // Only speed is lost if it fails.
                let _ = stream.set_nodelay(true);
                self.state = State::Idle;
                self.idle_since = Instant::now();
                Step::Connected
            }
            // Left over from an earlier connection of this slot, or not there yet.
            Err(e) if e.kind() == ErrorKind::NotConnected => Step::Wait,
            Err(e) => Step::Failed(connect_failure(&e)),
        }
    }

    /// Sends what is left of the request. Whatever the server says meanwhile is an answer all the same.
    pub(crate) fn send(
        &mut self,
        fixed: Option<&[u8]>,
        buffer: &mut [u8],
        meter: &mut Meter,
    ) -> Step {
        self.state = State::Busy;
        let request = fixed.unwrap_or(&self.request);
        let Some(stream) = &mut self.stream else {
            return Step::Failed(Failure::Other);
        };
        while self.written < request.len() {
            match stream.write(&request[self.written..]) {
                Ok(sent) => {
                    self.written += sent;
                    self.sent += sent as u64;
                    meter.bytes_out += sent as u64;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                // A server may refuse a long body, answer and close: the answer counts.
                Err(e) => {
                    return match self.receive(true, fixed, buffer, meter) {
                        Step::Wait => Step::Failed(failure(&e)),
                        step => step,
                    };
                }
            }
        }
        Step::Wait
    }

    fn receive(
        &mut self,
        ended: bool,
        fixed: Option<&[u8]>,
        buffer: &mut [u8],
        meter: &mut Meter,
    ) -> Step {
        for _ in 0..READS_AT_ONCE {
            let Some(stream) = &mut self.stream else {
                return Step::Failed(Failure::Other);
            };
            let received = match stream.read(buffer) {
                Ok(0) => {
                    return match self.parser.end() {
                        Ok(()) => Step::Answered {
                            answer: self.parser.answer(),
                            open: false,
                        },
                        Err(failure) => Step::Failed(failure),
                    };
                }
                Ok(received) => received,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(e) => return Step::Failed(failure(&e)),
            };
            self.received += received as u64;
            meter.bytes_in += received as u64;
            let fed = match self.parser.feed(&buffer[..received]) {
                Ok(fed) => fed,
                Err(failure) => return Step::Failed(failure),
            };
            // Less than was asked for: nothing is left, and more will be a new event (epoll(7), question 9). An end
            // that was already announced is not announced again.
            let drained = received < buffer.len() && !ended;
            if fed.complete {
                let answer = self.parser.answer();
                let open = !answer.closes
                    // Bytes behind the answer would be taken for the next one.
                    && fed.consumed == received
                    && self.written == self.length(fixed)
                    && (drained || !self.is_over(buffer));
                return Step::Answered { answer, open };
            }
            if drained {
                return Step::Wait;
            }
        }
        Step::Again
    }

    /// Ready for the next operation.
    pub(crate) fn rest(&mut self, now: Instant, idle_timeout: Option<Duration>) {
        self.state = State::Idle;
        self.started = None;
        self.idle_since = now;
        self.idle_timeout = idle_timeout;
    }

    fn length(&self, fixed: Option<&[u8]>) -> usize {
        fixed.unwrap_or(&self.request).len()
    }
}

/// Whether a connection leads to itself: on loopback the kernel may pick the port one connects to as one's own where
/// nobody listens, and the two ends meet (simultaneous open, RFC 9293 §3.5).
pub(crate) fn is_own_end(local: io::Result<SocketAddr>, peer: SocketAddr) -> bool {
    local.is_ok_and(|local| local == peer)
}

pub(crate) fn connect_failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Failure::Unreachable,
        ErrorKind::AddrNotAvailable => Failure::NoLocalPort,
        ErrorKind::TimedOut => Failure::Timeout,
        ErrorKind::ConnectionReset => Failure::Reset,
        _ => Failure::Connect,
    }
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Failure::Reset
        }
        _ => Failure::Other,
    }
}
