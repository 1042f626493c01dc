//! A WebSocket: an operation sends one message and ends with the next one that comes.

use std::io::ErrorKind;

use tungstenite::error::ProtocolError;
use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::connection::Progress;
use crate::meter::Failure;
use crate::response::ResponseParser;
use crate::script::headers;
use crate::transport::Transport;

/// Longest message that is read.
const LONGEST: usize = 16 * 1024 * 1024;
/// Bytes read at once; each virtual user has a buffer of this size.
const BUFFER: usize = 8 * 1024;
/// Messages taken from one connection before the others get a turn.
const MESSAGES_AT_ONCE: usize = 64;

/// The request that opens a WebSocket.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) request: Vec<u8>,
    key: String,
    head: Vec<u8>,
}

impl Opening {
    /// `operation` is what an operation is rendered to: the head of the opening request, a blank line, a message.
    pub(crate) fn of(operation: &[u8]) -> Self {
        let key = generate_key();
        let head = head(operation);
        let request = [head, b"Sec-WebSocket-Key: ", key.as_bytes(), b"\r\n\r\n"];
        Self {
            request: request.concat(),
            head: head.to_vec(),
            key,
        }
    }

    /// Whether this answer opens it.
    pub(crate) fn is_confirmed_by(&self, answer: &[u8]) -> bool {
        let accepted = derive_accept_key(self.key.as_bytes());
        headers(answer).any(|(name, value)| {
            name.eq_ignore_ascii_case(b"sec-websocket-accept") && value == accepted.as_bytes()
        })
    }
}

/// Everything up to the blank line, line ends included.
fn head(operation: &[u8]) -> &[u8] {
    let end = operation.windows(4).position(|w| w == b"\r\n\r\n");
    end.map_or(operation, |end| &operation[..end + 2])
}

fn message(operation: &[u8]) -> &[u8] {
    operation
        .get(head(operation).len() + 2..)
        .unwrap_or_default()
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocket<Transport>,
    /// By what request it was opened.
    head: Vec<u8>,
    waits: bool,
    received: u64,
    sent: u64,
}

impl Socket {
    /// Over a transport whose server agreed; `unread` came behind its answer.
    pub(crate) fn open(transport: Transport, unread: &[u8], opening: Opening) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        Self {
            stream: WebSocket::from_partially_read(
                transport,
                unread.to_vec(),
                Role::Client,
                Some(config),
            ),
            head: opening.head,
            waits: false,
            received: 0,
            sent: 0,
        }
    }

    /// Whether it was opened by what this operation would open it by.
    pub(crate) fn suits(&self, operation: &[u8]) -> bool {
        self.head == head(operation)
    }

    pub(crate) fn is_secure(&self) -> bool {
        !self.stream.get_ref().is_plain()
    }

    /// Bytes of messages received and sent so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.received, self.sent)
    }

    /// Sends the message of an operation.
    pub(crate) fn begin(&mut self, operation: &[u8]) -> Result<(), Failure> {
        // What the server said of its own accord before is no answer to it.
        if self.is_over() {
            return Err(Failure::ClosedBefore);
        }
        let bytes = message(operation);
        self.sent += bytes.len() as u64;
        let message = match std::str::from_utf8(bytes) {
            Ok(text) => Message::text(text),
            Err(_) => Message::binary(bytes.to_vec()),
        };
        self.waits = true;
        match self.stream.send(message) {
            Err(error) if !would_block(&error) => Err(failure(&error)),
            _ => Ok(()),
        }
    }

    /// Reads until the answer is there or nothing is.
    pub(crate) fn advance(&mut self, parser: &mut ResponseParser) -> Progress {
        if let Err(error) = self.stream.flush()
            && !would_block(&error)
        {
            return Progress::Failed(failure(&error));
        }
        for _ in 0..MESSAGES_AT_ONCE {
            match self.stream.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                    self.received += message.len() as u64;
                    if std::mem::take(&mut self.waits) {
                        parser.take_message(&message.into_data());
                        return Progress::Answered {
                            open: !self.is_over(),
                        };
                    }
                }
                // Pings are answered by the library, with the next read or write.
                Ok(_) => {}
                Err(error) if would_block(&error) => return Progress::Wait,
                Err(error) => return Progress::Failed(failure(&error)),
            }
        }
        Progress::Again
    }

    /// Reads what nobody waits for; whether the server is gone.
    pub(crate) fn is_over(&mut self) -> bool {
        // One that never stops talking is read on with its next event.
        matches!(
            self.advance(&mut ResponseParser::new()),
            Progress::Failed(_)
        )
    }

    /// Says goodbye.
    pub(crate) fn end(&mut self) {
        let _ = self.stream.close(None);
        let _ = self.stream.flush();
    }

    /// After [`Socket::end`]: whether the server is done too.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.is_over()
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted))
}

fn failure(error: &Error) -> Failure {
    match error {
        Error::Io(e) => crate::connection::failure(e),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::ReceivedAfterClosing
            | ProtocolError::SendAfterClosing,
        ) => Failure::ClosedBefore,
        _ => Failure::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_an_opening_and_a_message() {
        let operation = b"GET /s HTTP/1.1\r\nHost: a\r\n\r\nhello\r\n\r\n";
        assert_eq!(message(operation), b"hello\r\n\r\n");
        let opening = Opening::of(operation);
        let text = String::from_utf8(opening.request.clone()).unwrap();
        assert!(text.starts_with("GET /s HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: "));
        assert!(text.ends_with("==\r\n\r\n"));
        // RFC 6455 §1.3.
        let known = Opening {
            key: "dGhlIHNhbXBsZSBub25jZQ==".into(),
            ..opening
        };
        let answer =
            b"HTTP/1.1 101 x\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert!(known.is_confirmed_by(answer));
        assert!(!known.is_confirmed_by(b"HTTP/1.1 101 x\r\n\r\n"));
    }
}
