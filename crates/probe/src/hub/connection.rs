//! One connection: bytes in and out, and the calls that wait for its answers.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Weak;
use std::time::Instant;

use plimsoll_model::Metric;

use super::call::{Answer, RemoteError};
use crate::os::net::Credentials;
use crate::protocol::{Decoder, Reply, ToProbe, encode};

/// A hello is small; who sends more before it is nobody we know.
const GREETING_LIMIT: usize = 64 * 1024;

/// Bytes for a probe that does not read; more are never queued.
const OUTGOING_LIMIT: usize = 64 * 1024;

/// Ends a line to an inspector. A thread or process that ends waits until nobody is connected to its inspector any more.
pub(super) fn cut(line: &Weak<TcpStream>) {
    if let Some(line) = line.upgrade() {
        // It may have ended by itself.
        let _ = line.shutdown(Shutdown::Both);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        cut(&self.tied);
    }
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    pub(super) peer: Credentials,
    pub(super) since: Instant,
    /// Whether it said hello as a probe of this run.
    pub(super) greeted: bool,
    pub(super) decoder: Decoder,
    /// Metrics of its samples, in their order; `None` for names that are none.
    pub(super) schema: Vec<Option<Metric>>,
    /// Samples lost that nobody has been told of.
    pub(super) dropped: u64,
    waiting: BTreeMap<u64, Answer>,
    outgoing: Vec<u8>,
    /// A line to the isolate's inspector.
    pub(super) tied: Weak<TcpStream>,
    /// Whether the poller watches for room to write.
    pub(super) watching: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, peer: Credentials) -> Self {
        Self {
            stream,
            peer,
            since: Instant::now(),
            greeted: false,
            decoder: Decoder::new(GREETING_LIMIT),
            schema: Vec::new(),
            dropped: 0,
            waiting: BTreeMap::new(),
            outgoing: Vec::new(),
            tied: Weak::new(),
            watching: false,
        }
    }

    /// Reads what is there, at most one buffer: the others want their turn. `false` at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read(buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.decoder.push(&buffer[..length]);
                true
            }
            Err(error) => is_transient(&error),
        }
    }

    /// Sends or queues a message; `false` if the connection is lost or its probe does not read.
    pub(super) fn send(&mut self, message: &ToProbe) -> bool {
        self.outgoing.extend_from_slice(&encode(message));
        self.flush() && self.outgoing.len() <= OUTGOING_LIMIT
    }

    /// Writes what is queued as far as it goes; `false` if the connection is lost.
    pub(super) fn flush(&mut self) -> bool {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(0) => return false,
                Ok(written) => {
                    self.outgoing.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Whether bytes wait for room.
    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(super) fn await_reply(&mut self, id: u64, answer: Answer) {
        self.waiting.insert(id, answer);
    }

    /// Whether somebody waited for this call until now.
    pub(super) fn forget(&mut self, id: u64) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// Hands a reply to who waits for it; late ones are nobody's.
    pub(super) fn answer(&mut self, reply: Reply) {
        let Some(answer) = self.waiting.remove(&reply.id) else {
            return;
        };
        answer.set(match (reply.ok, reply.error) {
            (_, Some(failure)) => Err(RemoteError::Failed(failure)),
            (Some(value), None) => Ok(value),
            (None, None) => Err(RemoteError::Empty),
        });
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
