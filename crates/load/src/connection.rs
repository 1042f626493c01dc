//! One connection and the operation on it: closed, connecting, idle, busy, ending; whatever is spoken over it.
//!
//! All sockets are non-blocking and watched edge-triggered: what an event announces is used up before the next wait,
//! or [`Step::Again`] says that some is left.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;

use crate::http2::Http2;
use crate::meter::{Failure, Meter};
use crate::response::{Answer, Capture, ResponseParser};
use crate::transport::{Reach, Transport};
use crate::trust::TlsFailure;
use crate::websocket::{Opening, Socket};

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

/// How far an exchange is that is not HTTP/1.1.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Progress {
    Wait,
    Again,
    /// Whether the connection can carry another.
    Answered {
        open: bool,
    },
    Failed(Failure),
}

/// What is spoken.
#[derive(Debug)]
enum Link {
    /// HTTP/1.1, and everything else before it is agreed on.
    Http1(Transport),
    Http2(Box<Http2>),
    WebSocket(Box<Socket>),
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
    link: Option<Link>,
    state: State,
    /// Whether TCP is through, while the rest of connecting is not.
    is_reached: bool,
    /// Whether HTTP/2 is spoken without asking.
    http2: bool,
    /// Whether the operation under way is a message on a WebSocket, and the request that opens it meanwhile.
    is_message: bool,
    opening: Option<Opening>,
    /// Start of the operation under way, connecting included.
    pub(crate) started: Option<Instant>,
    pub(crate) closing: Closing,
    /// The request, where every operation has its own.
    pub(crate) request: Vec<u8>,
    written: usize,
    /// Bytes of the answer so far, and of the request.
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// What the link had counted the last time, where it counts for itself.
    counted: (u64, u64),
    pub(crate) parser: ResponseParser,
    idle_since: Instant,
    idle_timeout: Option<Duration>,
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self {
            link: None,
            state: State::Closed,
            is_reached: false,
            http2: false,
            is_message: false,
            opening: None,
            started: None,
            closing: Closing::Planned,
            request: Vec::new(),
            written: 0,
            received: 0,
            sent: 0,
            counted: (0, 0),
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
    pub(crate) fn connecting(&mut self, stream: TcpStream, reach: &Reach) -> io::Result<()> {
        self.link = Some(Link::Http1(Transport::try_new(stream, reach)?));
        self.http2 = reach.http2;
        self.is_reached = false;
        self.state = State::Connecting;
        self.idle_timeout = None;
        Ok(())
    }

    /// Whether the operation that was begun can go over what is open.
    pub(crate) fn suits(&self) -> bool {
        match &self.link {
            Some(Link::WebSocket(socket)) => self.is_message && socket.suits(&self.request),
            Some(Link::Http2(_)) => !self.is_message,
            Some(Link::Http1(_)) | None => true,
        }
    }

    /// What is spoken, for people, unless it is HTTP/1.1 as it is.
    pub(crate) fn spoken(&self) -> Option<&'static str> {
        Some(match self.link.as_ref()? {
            Link::Http1(Transport::Plain(_)) => return None,
            Link::Http1(Transport::Secure(_)) => "HTTP/1.1 over TLS",
            Link::Http2(http2) if http2.is_secure() => "HTTP/2 over TLS",
            Link::Http2(_) => "HTTP/2",
            Link::WebSocket(socket) if socket.is_secure() => "WebSocket over TLS",
            Link::WebSocket(_) => "WebSocket",
        })
    }

    /// Closes it, and gives up what was under way.
    pub(crate) fn close(&mut self, closing: Closing) {
        // A failed attempt does not make a planned reconnection an unplanned one.
        if self.state != State::Connecting && self.state != State::Closed {
            self.closing = closing;
        }
        if closing == Closing::Planned && matches!(self.state, State::Idle | State::Busy) {
            self.say_goodbye();
        }
        self.link = None;
        self.opening = None;
        self.state = State::Closed;
        self.started = None;
    }

    /// Says that we are done, so that the server closes its side.
    pub(crate) fn end(&mut self) {
        self.say_goodbye();
        let said = match &mut self.link {
            Some(Link::Http1(transport)) => transport.shutdown().is_ok(),
            Some(Link::Http2(_) | Link::WebSocket(_)) => true,
            None => false,
        };
        if said {
            self.closing = Closing::Planned;
            self.state = State::Ending;
        } else {
            self.close(Closing::Planned);
        }
    }

    /// Where a protocol has a word for the end, it is said.
    fn say_goodbye(&mut self) {
        match &mut self.link {
            Some(Link::Http2(http2)) => http2.end(),
            Some(Link::WebSocket(socket)) => socket.end(),
            Some(Link::Http1(_)) | None => {}
        }
    }

    /// Begins an operation at `now`; the request was rendered before. Sent by [`Connection::send`] once connected.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        to_head_request: bool,
        is_message: bool,
        capture: Capture,
    ) {
        self.started = Some(now);
        self.written = 0;
        self.received = 0;
        self.sent = 0;
        self.is_message = is_message;
        self.opening = None;
        self.parser.begin(to_head_request, capture);
    }

    /// Whether the server closed it, or said something nobody asked for, while it was idle.
    pub(crate) fn is_over(&mut self, buffer: &mut [u8]) -> bool {
        let transport = match &mut self.link {
            Some(Link::Http1(transport)) => transport,
            Some(Link::Http2(http2)) => return http2.is_over(),
            Some(Link::WebSocket(socket)) => return socket.is_over(),
            None => return true,
        };
        loop {
            match transport.read(buffer) {
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
            State::Connecting => self.go_on_connecting(ready),
            State::Closed => Step::Wait,
            State::Idle => {
                let is_plain = matches!(&self.link, Some(Link::Http1(Transport::Plain(_))));
                if (ready.readable || !is_plain) && self.is_over(buffer) {
                    self.close(Closing::Lost);
                }
                Step::Wait
            }
            State::Busy if matches!(self.link, Some(Link::Http1(_))) => {
                if ready.writable {
                    if self.written < self.outgoing(fixed).len()
                        && let Step::Failed(failure) = self.send(fixed, buffer, meter)
                    {
                        return Step::Failed(failure);
                    }
                    if let Some(Link::Http1(transport)) = &mut self.link
                        && let Err(error) = transport.flush()
                        && error.kind() != ErrorKind::WouldBlock
                    {
                        return Step::Failed(failure(&error));
                    }
                }
                if ready.readable {
                    self.receive(ready.ended, fixed, buffer, meter)
                } else {
                    Step::Wait
                }
            }
            State::Busy => self.exchange(meter),
            State::Ending => {
                if self.has_ended(buffer) {
                    self.close(Closing::Planned);
                }
                Step::Wait
            }
        }
    }

    fn has_ended(&mut self, buffer: &mut [u8]) -> bool {
        let transport = match &mut self.link {
            Some(Link::Http1(transport)) => transport,
            Some(Link::Http2(http2)) => return http2.has_ended(),
            Some(Link::WebSocket(socket)) => return socket.has_ended(),
            None => return true,
        };
        loop {
            match transport.read(buffer) {
                Ok(1..) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
                Ok(0) | Err(_) => return true,
            }
        }
    }

    /// TCP first, TLS over it if it is wanted, and what both sides speak then.
    fn go_on_connecting(&mut self, ready: Readiness) -> Step {
        let Some(Link::Http1(transport)) = &mut self.link else {
            return Step::Wait;
        };
        if !self.is_reached {
            if !ready.writable {
                return Step::Wait;
            }
            let stream = transport.tcp();
            let peer = match stream.take_error() {
                Ok(None) => stream.peer_addr(),
                Ok(Some(e)) | Err(e) => return Step::Failed(connect_failure(&e)),
            };
            match peer {
                Ok(peer) if is_own_end(stream.local_addr(), peer) => {
                    return Step::Failed(Failure::Refused);
                }
                Ok(_) => {
                    // Only speed is lost if it fails.
                    let _ = stream.set_nodelay(true);
                    self.is_reached = true;
                }
                // Left over from an earlier connection of this slot, or not there yet.
                Err(e) if e.kind() == ErrorKind::NotConnected => return Step::Wait,
                Err(e) => return Step::Failed(connect_failure(&e)),
            }
        }
        match transport.shake_hands() {
            Ok(true) => {}
            Ok(false) => return Step::Wait,
            Err(error) => return Step::Failed(failure(&error)),
        }
        let agreed = transport.protocol() == Some(b"h2");
        if self.http2 && !transport.is_plain() && !agreed {
            return Step::Failed(Failure::Tls(TlsFailure::NoHttp2));
        }
        if (self.http2 || agreed)
            && let Some(Link::Http1(transport)) = self.link.take()
        {
            self.link = Some(Link::Http2(Box::new(Http2::start(transport))));
            self.counted = (0, 0);
        }
        self.state = State::Idle;
        self.idle_since = Instant::now();
        Step::Connected
    }

    /// Goes on with an operation that is not HTTP/1.1.
    fn exchange(&mut self, meter: &mut Meter) -> Step {
        let progress = match &mut self.link {
            Some(Link::Http2(http2)) => http2.advance(&mut self.parser),
            Some(Link::WebSocket(socket)) => socket.advance(&mut self.parser),
            _ => return Step::Failed(Failure::Other),
        };
        self.count(meter);
        match progress {
            Progress::Wait => Step::Wait,
            Progress::Again => Step::Again,
            Progress::Answered { open } => Step::Answered {
                answer: self.parser.answer(),
                open,
            },
            Progress::Failed(failure) => Step::Failed(failure),
        }
    }

    /// Adds what went over a connection that counts for itself.
    fn count(&mut self, meter: &mut Meter) {
        let now = match &self.link {
            Some(Link::Http2(http2)) => http2.counts(),
            Some(Link::WebSocket(socket)) => socket.counts(),
            Some(Link::Http1(_)) | None => return,
        };
        let before = std::mem::replace(&mut self.counted, now);
        let (received, sent) = (now.0 - before.0, now.1 - before.1);
        self.received += received;
        self.sent += sent;
        meter.bytes_in += received;
        meter.bytes_out += sent;
    }

    /// Sends what is left of the request. Whatever the server says meanwhile is an answer all the same.
    pub(crate) fn send(
        &mut self,
        fixed: Option<&[u8]>,
        buffer: &mut [u8],
        meter: &mut Meter,
    ) -> Step {
        self.state = State::Busy;
        let begun = match &mut self.link {
            Some(Link::Http1(_)) | None => None,
            Some(Link::Http2(http2)) => Some(http2.begin(fixed.unwrap_or(&self.request))),
            Some(Link::WebSocket(socket)) => Some(socket.begin(&self.request)),
        };
        match begun {
            None => {}
            Some(Err(failure)) => return Step::Failed(failure),
            Some(Ok(())) => return self.exchange(meter),
        }
        if self.is_message && self.opening.is_none() {
            self.opening = Some(Opening::of(&self.request));
        }
        let request = match &self.opening {
            Some(opening) => &opening.request[..],
            None => fixed.unwrap_or(&self.request),
        };
        let Some(Link::Http1(stream)) = &mut self.link else {
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
            let Some(Link::Http1(transport)) = &mut self.link else {
                return Step::Failed(Failure::Other);
            };
            let is_plain = transport.is_plain();
            let received = match transport.read(buffer) {
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
            // that was already announced is not announced again. TLS gives a record at a time.
            let drained = received < buffer.len() && !ended && is_plain;
            if fed.complete {
                let answer = self.parser.answer();
                if self.opening.is_some() && answer.status == 101 {
                    return self.upgrade(&buffer[fed.consumed..received], meter);
                }
                let open = !answer.closes
                    // Bytes behind the answer would be taken for the next one.
                    && fed.consumed == received
                    && self.written == self.outgoing(fixed).len()
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

    /// What is written to the connection for the operation under way.
    fn outgoing<'a>(&'a self, fixed: Option<&'a [u8]>) -> &'a [u8] {
        match &self.opening {
            Some(opening) => &opening.request,
            None => fixed.unwrap_or(&self.request),
        }
    }

    /// The server agreed to speak WebSocket: the message of the operation follows.
    fn upgrade(&mut self, unread: &[u8], meter: &mut Meter) -> Step {
        let Some((opening, Link::Http1(transport))) = self.opening.take().zip(self.link.take())
        else {
            return Step::Failed(Failure::Other);
        };
        if !opening.is_confirmed_by(self.parser.kept_head()) {
            return Step::Failed(Failure::NotUpgraded);
        }
        let mut socket = Box::new(Socket::open(transport, unread, opening));
        let begun = socket.begin(&self.request);
        self.counted = (0, 0);
        self.link = Some(Link::WebSocket(socket));
        match begun {
            Ok(()) => self.exchange(meter),
            Err(failure) => Step::Failed(failure),
        }
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

pub(crate) fn failure(error: &io::Error) -> Failure {
    if let Some(failure) = TlsFailure::of(error) {
        return Failure::Tls(failure);
    }
    match error.kind() {
        ErrorKind::UnexpectedEof => Failure::ClosedBefore,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Failure::Reset
        }
        _ => Failure::Other,
    }
}
