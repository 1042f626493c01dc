//! HTTP/2 on one connection, one request at a time, as virtual users make them.
//!
//! `h2` is written for tasks that are woken; here the loop knows by itself when bytes have come or go again, so its futures
//! are asked whenever that happens, with a waker that wakes nobody. No runtime is behind it.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{HeaderName, HeaderValue, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Progress;
use crate::meter::Failure;
use crate::response::{HEAD_LIMIT, ResponseParser};
use crate::script::headers;
use crate::transport::Transport;

/// Bytes of an answer that may be under way.
const WINDOW: u32 = 1024 * 1024;
/// Pieces of a body taken from one connection before the others get a turn.
const PIECES_AT_ONCE: usize = 64;

/// Headers that speak of an HTTP/1.1 connection (RFC 9113 §8.2.2), and the one that is `:authority`.
const OF_THE_CONNECTION: [&str; 6] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

type Starting = Pin<
    Box<
        dyn Future<Output = Result<(SendRequest<Bytes>, Connection<Polled, Bytes>), h2::Error>>
            + Send,
    >,
>;

/// One connection.
pub(crate) struct Http2 {
    state: State,
    counts: Arc<Counts>,
    /// `https` or `http`.
    scheme: &'static str,
    /// Whether the server ever answered in this protocol.
    answered: bool,
}

enum State {
    Starting(Starting),
    Open(Box<Open>),
    Over,
}

/// Both sides speak HTTP/2.
struct Open {
    connection: Connection<Polled, Bytes>,
    /// `None` once we have said goodbye.
    requests: Option<SendRequest<Bytes>>,
    exchange: Exchange,
}

/// What is asked and answered now.
enum Exchange {
    None,
    /// Waits for the server to allow another stream.
    Asking(Box<Request<()>>, Bytes),
    Head(ResponseFuture),
    Body(RecvStream),
    /// All of the body is here.
    Trailers(RecvStream),
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Http2 {
    /// Begins to speak HTTP/2 over a stream that is connected.
    pub(crate) fn start(transport: Transport) -> Self {
        let counts = Arc::<Counts>::default();
        let scheme = if transport.is_plain() {
            "http"
        } else {
            "https"
        };
        let polled = Polled {
            transport,
            counts: counts.clone(),
        };
        let starting = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEAD_LIMIT as u32)
            .handshake::<_, Bytes>(polled);
        Self {
            state: State::Starting(Box::pin(starting)),
            counts,
            scheme,
            answered: false,
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// Bytes received and sent so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&self.counts.received), of(&self.counts.sent))
    }

    /// Whether the connection can carry no further request.
    pub(crate) fn is_over(&mut self) -> bool {
        let mut nobody = ResponseParser::new();
        let cx = &mut Context::from_waker(Waker::noop());
        matches!(self.advance(&mut nobody), Progress::Failed(_))
            || match &mut self.state {
                State::Open(open) => open
                    .requests
                    .as_mut()
                    .is_none_or(|requests| matches!(requests.poll_ready(cx), Poll::Ready(Err(_)))),
                State::Starting(_) => false,
                State::Over => true,
            }
    }

    /// Asks; `text` is the request as HTTP/1.1 writes it.
    pub(crate) fn begin(&mut self, text: &[u8]) -> Result<(), Failure> {
        let (request, body) = request(text, self.scheme).ok_or(Failure::Other)?;
        let cx = &mut Context::from_waker(Waker::noop());
        if let State::Starting(starting) = &mut self.state
            && let Poll::Ready(started) = starting.as_mut().poll(cx)
        {
            self.started(started)?;
        }
        match &mut self.state {
            State::Open(open) => {
                open.exchange = Exchange::Asking(Box::new(request), body);
                Ok(())
            }
            // A handshake is a few bytes into an empty socket buffer.
            State::Starting(_) => Err(Failure::Other),
            State::Over => Err(Failure::ClosedBefore),
        }
    }

    fn started(
        &mut self,
        started: Result<(SendRequest<Bytes>, Connection<Polled, Bytes>), h2::Error>,
    ) -> Result<(), Failure> {
        match started {
            Ok((requests, connection)) => {
                self.state = State::Open(Box::new(Open {
                    connection,
                    requests: Some(requests),
                    exchange: Exchange::None,
                }));
                Ok(())
            }
            Err(error) => {
                self.state = State::Over;
                Err(self.failure(&error))
            }
        }
    }

    /// Goes on with everything as far as it goes without waiting.
    pub(crate) fn advance(&mut self, parser: &mut ResponseParser) -> Progress {
        let cx = &mut Context::from_waker(Waker::noop());
        if let State::Starting(starting) = &mut self.state {
            let Poll::Ready(started) = starting.as_mut().poll(cx) else {
                return Progress::Wait;
            };
            if let Err(failure) = self.started(started) {
                return Progress::Failed(failure);
            }
        }
        let mut pieces = 0;
        loop {
            // The exchange is looked at after the connection ended too: its answer may have come with the end.
            let over = match &mut self.state {
                State::Open(open) => match Pin::new(&mut open.connection).poll(cx) {
                    Poll::Pending => None,
                    Poll::Ready(Ok(())) => Some(Failure::ClosedBefore),
                    Poll::Ready(Err(error)) => Some(self.failure(&error)),
                },
                _ => return Progress::Failed(Failure::ClosedBefore),
            };
            let step = self.exchange(parser, cx);
            match step {
                Ok(Exchanged::Waits) => {
                    return match over {
                        Some(failure) => {
                            self.state = State::Over;
                            Progress::Failed(failure)
                        }
                        None => Progress::Wait,
                    };
                }
                Ok(Exchanged::Progressed) => {
                    pieces += 1;
                    if pieces >= PIECES_AT_ONCE {
                        return Progress::Again;
                    }
                }
                Ok(Exchanged::Done) => {
                    self.answered = true;
                    // Says what the answer left to be said: windows, acknowledgements.
                    let open = over.is_none() && !self.is_over();
                    return Progress::Answered { open };
                }
                Err(failure) => return Progress::Failed(over.unwrap_or(failure)),
            }
        }
    }

    fn exchange(
        &mut self,
        parser: &mut ResponseParser,
        cx: &mut Context<'_>,
    ) -> Result<Exchanged, Failure> {
        let State::Open(open) = &mut self.state else {
            return Ok(Exchanged::Waits);
        };
        let Open {
            requests, exchange, ..
        } = &mut **open;
        let result = match exchange {
            Exchange::None => return Ok(Exchanged::Waits),
            Exchange::Asking(..) => {
                let Some(requests) = requests else {
                    return Err(Failure::ClosedBefore);
                };
                match requests.poll_ready(cx) {
                    Poll::Pending => return Ok(Exchanged::Waits),
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Ready(Ok(())) => {
                        let Exchange::Asking(request, body) =
                            std::mem::replace(exchange, Exchange::None)
                        else {
                            return Ok(Exchanged::Waits);
                        };
                        let sent = requests.send_request(*request, body.is_empty());
                        sent.and_then(|(answer, mut stream)| {
                            // Kept by `h2` until the server's window takes it.
                            if !body.is_empty() {
                                stream.send_data(body, true)?;
                            }
                            *exchange = Exchange::Head(answer);
                            Ok(Exchanged::Progressed)
                        })
                    }
                }
            }
            Exchange::Head(answer) => match Pin::new(answer).poll(cx) {
                Poll::Pending => return Ok(Exchanged::Waits),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    let fields = head.headers.iter();
                    parser.take_head(
                        head.status.as_u16(),
                        "HTTP/2",
                        fields.map(|(name, value)| (name.as_str(), value.as_bytes())),
                    );
                    *exchange = Exchange::Body(body);
                    Ok(Exchanged::Progressed)
                }
            },
            Exchange::Body(body) => match body.poll_data(cx) {
                Poll::Pending => return Ok(Exchanged::Waits),
                Poll::Ready(Some(Err(error))) => Err(error),
                Poll::Ready(Some(Ok(piece))) => {
                    parser.take_body(&piece);
                    body.flow_control()
                        .release_capacity(piece.len())
                        .map(|()| Exchanged::Progressed)
                }
                Poll::Ready(None) => {
                    let Exchange::Body(body) = std::mem::replace(exchange, Exchange::None) else {
                        return Ok(Exchanged::Waits);
                    };
                    *exchange = Exchange::Trailers(body);
                    Ok(Exchanged::Progressed)
                }
            },
            Exchange::Trailers(body) => match body.poll_trailers(cx) {
                Poll::Pending => return Ok(Exchanged::Waits),
                Poll::Ready(Err(error)) => Err(error),
                Poll::Ready(Ok(_)) => {
                    *exchange = Exchange::None;
                    Ok(Exchanged::Done)
                }
            },
        };
        result.map_err(|error| self.failure(&error))
    }

    /// Says that we are done (GOAWAY, and the end of the stream).
    pub(crate) fn end(&mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        if let State::Open(open) = &mut self.state {
            open.requests = None;
            open.exchange = Exchange::None;
            let _ = Pin::new(&mut open.connection).poll(cx);
        }
    }

    /// After [`Http2::end`]: whether the server is done too.
    pub(crate) fn has_ended(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        match &mut self.state {
            State::Open(open) => Pin::new(&mut open.connection).poll(cx).is_ready(),
            _ => true,
        }
    }

    fn failure(&self, error: &h2::Error) -> Failure {
        if let Some(io) = error.get_io() {
            return match io.kind() {
                ErrorKind::UnexpectedEof => Failure::ClosedBefore,
                _ => crate::connection::failure(io),
            };
        }
        if error.is_go_away() && error.is_remote() {
            return Failure::ClosedBefore;
        }
        if error.is_reset() && error.is_remote() {
            return Failure::StreamReset;
        }
        if self.answered {
            Failure::Malformed
        } else {
            // What answers in another protocol breaks the first frame.
            Failure::NotHttp2
        }
    }
}

/// How an exchange went on.
enum Exchanged {
    Waits,
    Progressed,
    Done,
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// The same request for HTTP/2, and its body.
fn request(text: &[u8], scheme: &str) -> Option<(Request<()>, Bytes)> {
    let end = text.windows(4).position(|w| w == b"\r\n\r\n")?;
    let (head, body) = (&text[..end + 2], &text[end + 4..]);
    let line = std::str::from_utf8(head.split(|b| *b == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let host = headers(head).find(|(name, _)| name.eq_ignore_ascii_case(b"host"))?;
    let authority = std::str::from_utf8(host.1).ok()?;
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).ok()?)
        .uri(format!("{scheme}://{authority}{path}"))
        .body(())
        .ok()?;
    for (name, value) in headers(head) {
        let name = HeaderName::from_bytes(name).ok()?;
        if !OF_THE_CONNECTION.contains(&name.as_str()) {
            let value = HeaderValue::from_bytes(value).ok()?;
            request.headers_mut().append(name, value);
        }
    }
    Some((request, Bytes::copy_from_slice(body)))
}

/// A stream that never blocks, as futures ask for one.
struct Polled {
    transport: Transport,
    counts: Arc<Counts>,
}

/// Whoever asks again later need not be woken: the loop does so after every event of the socket.
fn polled<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(e) if e.kind() == ErrorKind::WouldBlock => Poll::Pending,
        other => Poll::Ready(other),
    }
}

impl AsyncRead for Polled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = loop {
            match self.transport.read(buffer.initialize_unfilled()) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        polled(read.map(|bytes| {
            buffer.advance(bytes);
            self.counts
                .received
                .fetch_add(bytes as u64, Ordering::Relaxed);
        }))
    }
}

impl AsyncWrite for Polled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = loop {
            match self.transport.write(bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        polled(written.inspect(|bytes| {
            self.counts.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.transport.flush())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.transport.shutdown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_the_same_in_both_protocols() {
        let text = b"POST /a?b=1 HTTP/1.1\r\nHost: localhost:8443\r\nX-Id: 7\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        let (request, body) = request(text, "https").unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://localhost:8443/a?b=1");
        assert_eq!(request.headers()["x-id"], "7");
        assert_eq!(request.headers()["content-length"], "2");
        assert_eq!(request.headers().len(), 2);
        assert_eq!(&body[..], b"hi");
    }
}
