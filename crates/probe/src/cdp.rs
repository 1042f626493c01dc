//! A small client for the `DevTools` protocol of Chrome, as Node, Deno and Chromium speak it: one connection, one call at a
//! time, every wait with a deadline and a cancel.
//!
//! It knows no methods and keeps nothing: a message that arrives during a call is either its answer or an [`Event`] whose
//! text is lent to the caller and gone when he returns. So a heap snapshot of any size passes through in the memory of
//! its largest chunk. Only loopback is spoken to.

use std::borrow::Cow;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Weak};
use std::time::Duration;

use plimsoll_model::Cx;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, Utf8Bytes, WebSocket};

use crate::{Error, os};

/// The list of targets is a page or two of JSON.
const LIST_LIMIT: usize = 1 << 20;
/// A snapshot's message is as long as its longest chunk, and a census may be long. What is announced is reserved at once, so
/// it must end somewhere.
const MESSAGE_LIMIT: usize = 256 << 20;

/// Something that can be debugged at an inspector's address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its id.
    pub id: String,
    /// What it says it is: `node`, `page`, `deno`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Its script or page.
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    web_socket_debugger_url: String,
}

impl Target {
    /// The target behind the URL of its socket.
    pub fn at(url: &str) -> Self {
        Self {
            id: String::new(),
            kind: String::new(),
            title: String::new(),
            web_socket_debugger_url: url.to_owned(),
        }
    }

    /// The path of its socket, whatever host the list names: the address is known already.
    fn path(&self) -> Option<&str> {
        let (_, rest) = self.web_socket_debugger_url.split_once("://")?;
        rest.find('/').map(|slash| &rest[slash..])
    }
}

/// What an inspector can debug, asked over HTTP.
///
/// # Errors
/// If nobody answers there before the deadline, or not as an inspector does.
pub fn targets(address: SocketAddr, cx: &Cx) -> Result<Vec<Target>, Error> {
    let mut stream = connect(address, cx)?;
    // 1.1 as older versions answer nothing else; they close after one answer all the same, or say how long it is.
    let request =
        format!("GET /json/list HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let (mut sent, mut answer, mut buffer) = (0, Vec::new(), [0; 4096]);
    loop {
        let moved = if sent < request.len() {
            stream.write(&request.as_bytes()[sent..]).map(|n| sent += n)
        } else {
            match stream.read(&mut buffer) {
                Ok(0) => return Err(broken("the list of targets ends early")),
                Ok(n) => {
                    answer.extend_from_slice(&buffer[..n]);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        };
        match moved {
            Err(error) if is_transient(&error) => {
                wait(&stream, sent < request.len(), cx, "list targets")?;
            }
            Err(error) => return Err(lost(&error)),
            Ok(()) => {}
        }
        if let Some(body) = whole_body(&answer) {
            return serde_json::from_slice(body)
                .map_err(|error| broken(format!("the list of targets does not parse: {error}")));
        }
        if answer.len() > LIST_LIMIT {
            return Err(broken("the list of targets does not end"));
        }
    }
}

/// The body of an HTTP answer with status 200, once it has arrived as a whole.
fn whole_body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let length: usize = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })?;
    answer.get(end..end.checked_add(length)?)
}

/// A message that nobody asked for, lent for the time of the call it arrived in.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its name: `HeapProfiler.addHeapSnapshotChunk`.
    pub method: &'a str,
    /// Its parameters, as JSON text.
    pub params: &'a str,
}

/// A connection to one target.
pub struct Cdp {
    socket: WebSocket<TcpStream>,
    line: Arc<TcpStream>,
    last_id: u64,
}

impl std::fmt::Debug for Cdp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cdp")
            .field("last_id", &self.last_id)
            .finish_non_exhaustive()
    }
}

impl Cdp {
    /// Connects to a target that [`targets`] listed at this address.
    ///
    /// # Errors
    /// If it does not take us before the deadline: others may be connected already.
    pub fn connect(address: SocketAddr, target: &Target, cx: &Cx) -> Result<Self, Error> {
        let path = target
            .path()
            .ok_or_else(|| broken(format!("the target {} has no socket", target.id)))?;
        let url = format!("ws://{address}{path}");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let stream = connect(address, cx)?;
        let waiting = stream
            .try_clone()
            .map_err(|e| Error::io("copy a descriptor", e))?;
        let mut attempt = tungstenite::client::client_with_config(url, stream, Some(config));
        loop {
            match attempt {
                Ok((socket, _)) => {
                    return Ok(Self {
                        socket,
                        line: Arc::new(waiting),
                        last_id: 0,
                    });
                }
                Err(HandshakeError::Interrupted(half)) => {
                    wait(&waiting, false, cx, "connect to the inspector")?;
                    attempt = half.handshake();
                }
                Err(HandshakeError::Failure(error)) => return Err(failure(error)),
            }
        }
    }

    /// The connection, for somebody else to cut; gone when this is dropped.
    pub(crate) fn line(&self) -> Weak<TcpStream> {
        Arc::downgrade(&self.line)
    }

    /// Calls a method and waits for its answer. Events that arrive meanwhile go to `on_event`; its error ends the call.
    ///
    /// # Errors
    /// [`Error::Refused`] if the other side says no, [`Error::Deadline`] or [`Error::Cancelled`] by `cx` (a late answer
    /// is ignored by later calls), [`Error::Inspector`] if the connection is lost.
    pub fn call(
        &mut self,
        method: &str,
        params: &Value,
        cx: &Cx,
        on_event: &mut dyn FnMut(Event<'_>) -> Result<(), Error>,
    ) -> Result<Value, Error> {
        self.last_id += 1;
        let id = self.last_id;
        let request = json!({ "id": id, "method": method, "params": params }).to_string();
        let mut sending = self.socket.send(Message::text(request));
        loop {
            match sending {
                Ok(()) => break,
                Err(tungstenite::Error::Io(error)) if is_transient(&error) => {
                    wait(self.socket.get_ref(), true, cx, method)?;
                    sending = self.socket.flush();
                }
                Err(error) => return Err(failure(error)),
            }
        }
        loop {
            let text = self.next(cx, method)?;
            let incoming = Incoming::parse(&text)?;
            if let Some(event) = incoming.event() {
                on_event(event)?;
            } else if incoming.id == Some(id) {
                return incoming.answer(method);
            }
            // Endless events must not hold a call beyond its deadline.
            if cx.is_over() {
                return Err(over(cx, method));
            }
        }
    }

    /// Waits for events until `is_last` says that this was the one.
    ///
    /// # Errors
    /// As [`Cdp::call`].
    pub fn listen(
        &mut self,
        cx: &Cx,
        is_last: &mut dyn FnMut(Event<'_>) -> bool,
    ) -> Result<(), Error> {
        const WHAT: &str = "wait for events";
        loop {
            let text = self.next(cx, WHAT)?;
            if Incoming::parse(&text)?.event().is_some_and(&mut *is_last) {
                return Ok(());
            }
            if cx.is_over() {
                return Err(over(cx, WHAT));
            }
        }
    }

    /// The next message with text in it.
    fn next(&mut self, cx: &Cx, operation: &str) -> Result<Utf8Bytes, Error> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(text),
                // Pings are answered inside `read`.
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if is_transient(&error) => {
                    wait(self.socket.get_ref(), false, cx, operation)?;
                }
                Err(error) => return Err(failure(error)),
            }
        }
    }
}

/// Any message, its parts borrowed from its text.
#[derive(Debug, Deserialize)]
struct Incoming<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<CallError>,
}

#[derive(Debug, Deserialize)]
struct CallError {
    #[serde(default)]
    message: String,
}

impl<'a> Incoming<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .map_err(|error| broken(format!("a message that does not parse: {error}")))
    }

    fn event(&self) -> Option<Event<'_>> {
        Some(Event {
            method: self.method.as_deref()?,
            params: self.params.map_or("{}", RawValue::get),
        })
    }

    fn answer(self, method: &str) -> Result<Value, Error> {
        if let Some(error) = self.error {
            return Err(Error::Refused {
                operation: method.to_owned(),
                message: error.message,
            });
        }
        serde_json::from_str(self.result.map_or("{}", RawValue::get))
            .map_err(|error| broken(format!("the answer to {method} does not parse: {error}")))
    }
}

fn connect(address: SocketAddr, cx: &Cx) -> Result<TcpStream, Error> {
    if !address.ip().is_loopback() {
        return Err(broken(format!("{address} is not on this machine")));
    }
    // On loopback, who listens takes us at once, and else there is nobody: there is nothing to wait for in between.
    let patience = cx
        .left()
        .clamp(Duration::from_millis(1), Duration::from_secs(1));
    let stream = TcpStream::connect_timeout(&address, patience).map_err(|error| lost(&error))?;
    let ready = stream
        .set_nonblocking(true)
        .and_then(|()| stream.set_nodelay(true));
    ready.map_err(|error| Error::io("set up a socket", error))?;
    Ok(stream)
}

/// Waits until there is something to read, or room to write.
fn wait(stream: &TcpStream, to_write: bool, cx: &Cx, operation: &str) -> Result<(), Error> {
    if !cx.is_over() {
        let fds = [(stream.as_fd(), to_write), (cx.cancel.fd(), false)];
        os::wait_ready(fds, Some(cx.deadline))
            .map_err(|e| Error::io("wait for the inspector", e))?;
    }
    if cx.is_over() {
        Err(over(cx, operation))
    } else {
        Ok(())
    }
}

fn over(cx: &Cx, operation: &str) -> Error {
    if cx.cancel.is_cancelled() {
        return Error::Cancelled;
    }
    Error::Deadline {
        operation: operation.to_owned(),
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn broken(message: impl Into<String>) -> Error {
    Error::Inspector {
        message: message.into(),
    }
}

fn lost(error: &io::Error) -> Error {
    broken(format!("the connection is lost: {error}"))
}

fn failure(error: tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Io(error) => lost(&error),
        tungstenite::Error::Http(answer) => broken(format!(
            "it answers with status {}",
            answer.status().as_u16()
        )),
        other => broken(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use plimsoll_model::Cancel;

    use super::*;

    /// An inspector that answers each call by what `say` makes of it: messages in order.
    fn inspector(say: impl Fn(&Value) -> Vec<Message> + Send + 'static) -> (Cdp, Cx) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut socket = tungstenite::accept(stream).unwrap();
            while let Ok(Message::Text(text)) = socket.read() {
                for message in say(&serde_json::from_str(&text).unwrap()) {
                    if socket.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        let target = Target {
            id: "t".to_owned(),
            kind: "node".to_owned(),
            title: String::new(),
            web_socket_debugger_url: format!("ws://elsewhere:1/{}", "t"),
        };
        let cx = Cx::within(&Cancel::try_new().unwrap(), Duration::from_secs(20));
        (Cdp::connect(address, &target, &cx).unwrap(), cx)
    }

    #[test]
    fn events_are_lent_in_order_before_the_answer() {
        let (mut cdp, cx) = inspector(|call| {
            let chunk = |text: &str| {
                Message::text(json!({"method": "chunk", "params": {"chunk": text}}).to_string())
            };
            vec![
                chunk("a"),
                Message::Ping(vec![1].into()),
                chunk(&"b".repeat(3 << 20)),
                Message::text(json!({"id": call["id"], "result": {"n": 2}}).to_string()),
            ]
        });
        let mut lengths = Vec::new();
        let mut on_event = |event: Event<'_>| {
            assert_eq!(event.method, "chunk");
            lengths.push(event.params.len());
            Ok(())
        };
        let answer = cdp.call("take", &json!({}), &cx, &mut on_event).unwrap();
        assert_eq!(answer, json!({"n": 2}));
        assert_eq!(lengths, [13, 12 + (3 << 20)]);
    }

    #[test]
    fn a_call_ends_by_refusal_deadline_cancel_or_loss() {
        let (mut cdp, cx) = inspector(|call| match call["method"].as_str().unwrap() {
            "refuse" => vec![Message::text(
                json!({"id": call["id"], "error": {"code": 1, "message": "no"}}).to_string(),
            )],
            "nonsense" => vec![Message::text("{]")],
            "leave" => vec![Message::Close(None)],
            // The answer to somebody else's call is nobody's.
            _ => vec![Message::text(json!({"id": 999, "result": {}}).to_string())],
        });
        let mut call = |method: &str, cx: &Cx| cdp.call(method, &json!({}), cx, &mut |_| Ok(()));
        assert!(
            matches!(call("refuse", &cx), Err(Error::Refused { message, .. }) if message == "no")
        );
        let short = cx.at_most(Duration::from_millis(30));
        assert!(
            matches!(call("silence", &short), Err(Error::Deadline { operation }) if operation == "silence")
        );
        assert!(matches!(
            call("nonsense", &cx),
            Err(Error::Inspector { .. })
        ));
        assert!(matches!(call("leave", &cx), Err(Error::Inspector { .. })));
        assert!(matches!(call("more", &cx), Err(Error::Inspector { .. })));
        cx.cancel.cancel();
        assert!(matches!(
            call("silence", &cx),
            Err(Error::Cancelled | Error::Inspector { .. })
        ));
    }

    #[test]
    fn an_error_of_the_listener_ends_the_call() {
        let (mut cdp, cx) =
            inspector(|_| vec![Message::text(json!({"method": "event"}).to_string())]);
        let mut full = |event: Event<'_>| {
            assert_eq!(event.params, "{}");
            Err(Error::Cancelled)
        };
        assert!(matches!(
            cdp.call("x", &json!({}), &cx, &mut full),
            Err(Error::Cancelled)
        ));
    }

    #[test]
    fn only_loopback_is_spoken_to_and_nobody_is_waited_for() {
        let cx = Cx::within(&Cancel::try_new().unwrap(), Duration::from_secs(20));
        let elsewhere = "192.0.2.1:9229".parse().unwrap();
        assert!(matches!(
            targets(elsewhere, &cx),
            Err(Error::Inspector { .. })
        ));
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(matches!(targets(free, &cx), Err(Error::Inspector { .. })));
    }

    #[test]
    fn a_body_counts_only_when_it_is_whole() {
        let answer =
            b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\ncontent-length: 4\r\n\r\n[{}]";
        assert_eq!(whole_body(answer), Some(&b"[{}]"[..]));
        for cut in 0..answer.len() {
            assert_eq!(whole_body(&answer[..cut]), None, "{cut}");
        }
        assert_eq!(
            whole_body(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n"),
            None
        );
        assert_eq!(
            whole_body(b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nx"),
            None
        );
    }
}
