//! A small HTTP server for tests: a thread per connection, and it counts for itself what it was asked and said.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request as the server sees it.
pub(crate) struct Exchange {
    /// Requests before it, on all connections.
    pub(crate) number: u64,
    /// Requests before it on its connection.
    pub(crate) number_on_connection: u64,
    /// Request line and headers.
    pub(crate) head: String,
    /// Body.
    pub(crate) body: Vec<u8>,
}

/// What the server does about a request.
pub(crate) enum Reply {
    /// Answers, in segments of their own, and reads the next request.
    Send(Vec<Vec<u8>>),
    /// Answers and closes.
    SendAndClose(Vec<u8>),
    /// Closes.
    Close,
    /// Resets.
    Reset,
    /// Never answers.
    Hang,
    /// Sends this a byte at a time, for ever so slowly.
    Drip(&'static [u8]),
    /// Says that it is done, says nothing else, and goes on reading.
    HalfClose,
    /// Starts with the first and repeats the second until the client goes away.
    Flood(&'static [u8], &'static [u8]),
}

/// An answer with this status and body, connection kept.
pub(crate) fn answer(status: &str, body: &str) -> Reply {
    let length = body.len();
    text(&format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// Exactly these bytes.
pub(crate) fn text(text: &str) -> Reply {
    Reply::Send(vec![text.as_bytes().to_vec()])
}

/// What the server counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) open: u64,
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

#[derive(Default)]
struct State {
    counts: Counts,
    streams: Vec<TcpStream>,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    handler: Box<dyn Fn(&Exchange) -> Reply + Send + Sync>,
    reads_bodies: bool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    /// Serves on a free port.
    pub(crate) fn start(handler: impl Fn(&Exchange) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, true, true, handler)
    }

    /// Serves one connection after the other, as simple servers do.
    pub(crate) fn one_at_a_time(
        handler: impl Fn(&Exchange) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, true, false, handler)
    }

    /// Answers when it has read the head, and leaves bodies unread.
    pub(crate) fn ignoring_bodies(
        handler: impl Fn(&Exchange) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::on(listener, false, true, handler)
    }

    pub(crate) fn on(
        listener: TcpListener,
        reads_bodies: bool,
        concurrent: bool,
        handler: impl Fn(&Exchange) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            handler: Box::new(handler),
            reads_bodies,
        });
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || {
                for stream in listener.incoming() {
                    let stream = stream.unwrap();
                    stream.set_nodelay(true).unwrap();
                    {
                        let mut state = shared.state.lock().unwrap();
                        if state.stopping {
                            break;
                        }
                        state.counts.accepted += 1;
                        state.counts.open += 1;
                        state.streams.push(stream.try_clone().unwrap());
                    }
                    shared.changed.notify_all();
                    let shared = shared.clone();
                    if concurrent {
                        std::thread::spawn(move || shared.serve(stream));
                    } else {
                        shared.serve(stream);
                    }
                }
            }
        });
        Self {
            address,
            shared,
            acceptor: Mutex::new(Some(acceptor)),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.state.lock().unwrap().counts
    }

    /// Waits until the counts are so, and fails the test if they never are.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Counts) -> bool) -> Counts {
        let until = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        while !holds(&state.counts) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "never {what}: {:?}", state.counts);
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
        state.counts
    }

    /// Closes all connections and keeps listening.
    pub(crate) fn close_connections(&self) {
        let streams = std::mem::take(&mut self.shared.state.lock().unwrap().streams);
        for stream in streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Stops listening and closes all connections.
    pub(crate) fn kill(&self) {
        let Some(acceptor) = self.acceptor.lock().unwrap().take() else {
            return;
        };
        self.shared.state.lock().unwrap().stopping = true;
        self.close_connections();
        // Wakes `accept`.
        drop(TcpStream::connect(self.address));
        acceptor.join().unwrap();
        self.close_connections();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.state.lock().unwrap().counts);
        self.changed.notify_all();
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut number_on_connection = 0;
        let mut unread = Vec::new();
        while let Some((head, body)) = self.read_request(&mut stream, &mut unread) {
            let mut number = 0;
            self.count(|counts| {
                number = counts.requests;
                counts.requests += 1;
                counts.bytes_in += (head.len() + body.len()) as u64;
            });
            let reply = (self.handler)(&Exchange {
                number,
                number_on_connection,
                head,
                body,
            });
            number_on_connection += 1;
            match reply {
                Reply::Send(segments) => {
                    // Counted before: the client may act on the last byte before we count.
                    self.count(|counts| {
                        counts.answers += 1;
                        counts.bytes_out += segments.iter().map(Vec::len).sum::<usize>() as u64;
                    });
                    if !segments
                        .iter()
                        .all(|segment| stream.write_all(segment).is_ok())
                    {
                        break;
                    }
                    if !self.reads_bodies {
                        while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
                    }
                }
                Reply::SendAndClose(bytes) => {
                    self.count(|counts| counts.answers += 1);
                    let _ = stream.write_all(&bytes);
                    break;
                }
                Reply::Close => break,
                Reply::Reset => {
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                    break;
                }
                Reply::Flood(start, more) => {
                    let more = more.repeat(1_000);
                    let _ = stream.write_all(start);
                    while stream.write_all(&more).is_ok() {}
                    break;
                }
                Reply::Drip(bytes) => {
                    for byte in bytes.iter().cycle() {
                        let gone = stream.write_all(&[*byte]).is_err();
                        if gone || self.state.lock().unwrap().stopping {
                            break;
                        }
                        std::thread::park_timeout(Duration::from_millis(20));
                    }
                    break;
                }
                Reply::HalfClose => {
                    let _ = stream.shutdown(Shutdown::Write);
                    while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
                    break;
                }
                Reply::Hang => {
                    while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
                    break;
                }
            }
        }
        // The clone kept for `close_connections` would keep it open, or delay a reset.
        let peer = stream.peer_addr().ok();
        self.state
            .lock()
            .unwrap()
            .streams
            .retain(|s| peer.is_none() || s.peer_addr().ok() != peer);
        drop(stream);
        self.count(|counts| counts.open -= 1);
    }

    fn read_request(
        &self,
        stream: &mut TcpStream,
        unread: &mut Vec<u8>,
    ) -> Option<(String, Vec<u8>)> {
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Some(end) = unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(unread[..end + 4].to_vec()).unwrap();
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.parse().unwrap());
                let length = if self.reads_bodies { length } else { 0 };
                if unread.len() >= end + 4 + length {
                    let body = unread[end + 4..end + 4 + length].to_vec();
                    unread.drain(..end + 4 + length);
                    return Some((head, body));
                }
            }
            match stream.read(&mut buffer) {
                Ok(received @ 1..) => unread.extend_from_slice(&buffer[..received]),
                Ok(0) | Err(_) => return None,
            }
        }
    }
}

/// An address where nobody listens.
pub(crate) fn silent_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
