//! Calls to probes: a cheap link to the hub's thread, and the slot in which an answer arrives.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crossbeam_channel::Sender;
use plimsoll_model::Cx;
use serde_json::Value;

use crate::os::net::Wake;
use crate::protocol::{Failure, ToProbe};
use crate::{Error, os};

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;

/// What the hub's thread is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a message; its answer, if one is wanted, goes into the slot.
    Send {
        key: u64,
        message: ToProbe,
        answer: Option<(u64, Answer)>,
    },
    /// Accept probes of this user here too.
    Listen { listener: UnixListener, user: u32 },
    /// Nobody waits for this call any more.
    Forget { key: u64, id: u64 },
    /// This line to its inspector ends with the isolate's connection.
    Tie { key: u64, line: Weak<TcpStream> },
    /// End.
    Stop,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RemoteError {
    /// The connection is lost.
    Gone,
    /// The probe said no.
    Failed(Failure),
    /// The probe answered neither yes nor no.
    Empty,
}

type Outcome = Result<Value, RemoteError>;

#[derive(Debug)]
struct Slot {
    outcome: Mutex<Option<Outcome>>,
    ready: Wake,
}

/// The writing side of a slot. Dropped without an answer, it says that the isolate is gone: whatever ends a connection,
/// its callers hear of it at once.
#[derive(Debug)]
pub(crate) struct Answer(Arc<Slot>);

impl Answer {
    pub(crate) fn set(self, outcome: Outcome) {
        self.put(outcome);
    }

    fn put(&self, outcome: Outcome) {
        let mut slot = self
            .0
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(outcome);
            self.0.ready.wake();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.put(Err(RemoteError::Gone));
    }
}

/// A cheap handle on the hub's thread.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    commands: Sender<Command>,
    wake: Arc<Wake>,
    ids: Arc<AtomicU64>,
}

impl Link {
    pub(crate) fn new(commands: Sender<Command>, wake: Arc<Wake>) -> Self {
        Self {
            commands,
            wake,
            ids: Arc::new(AtomicU64::new(1)),
        }
    }

    fn send(&self, command: Command) {
        // Without a thread to take it, the command is dropped, and with it its answer: the caller hears "gone".
        let _ = self.commands.send(command);
        self.wake.wake();
    }

    pub(crate) fn stop(&self) {
        self.send(Command::Stop);
    }

    /// Cuts a line to the isolate's inspector as soon as the isolate ends.
    pub(crate) fn tie(&self, key: u64, line: Weak<TcpStream>) {
        self.send(Command::Tie { key, line });
    }

    /// Asks the hub's thread to accept probes of this user on another socket.
    pub(crate) fn listen(&self, listener: UnixListener, user: u32) {
        self.send(Command::Listen { listener, user });
    }

    /// Sends a call whose answer nobody waits for.
    pub(crate) fn tell(&self, key: u64, op: &'static str, args: Value) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let message = ToProbe::Cmd {
            id,
            op,
            args,
            deadline_ms: 1000,
        };
        self.send(Command::Send {
            key,
            message,
            answer: None,
        });
    }

    /// Asks an isolate and waits for its answer, its end, the deadline or a cancel request, whichever comes first.
    pub(crate) fn call(
        &self,
        key: u64,
        op: &'static str,
        args: Value,
        cx: &Cx,
    ) -> Result<Value, Error> {
        let mut asked = self.ask(key, op, args, cx)?;
        let [_, cancelled] = os::wait_readable([asked.as_fd(), cx.cancel.fd()], Some(cx.deadline))
            .map_err(|e| Error::io("wait for a probe", e))?;
        match asked.answer() {
            Some(answer) => answer,
            None if cancelled => Err(Error::Cancelled),
            None => Err(deadline(op)),
        }
    }

    /// Asks an isolate, and waits for nothing.
    pub(crate) fn ask(
        &self,
        key: u64,
        op: &'static str,
        args: Value,
        cx: &Cx,
    ) -> Result<Asked<'_>, Error> {
        if cx.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let ready = Wake::try_new().map_err(|e| Error::io("make an event descriptor", e))?;
        let slot = Arc::new(Slot {
            outcome: Mutex::new(None),
            ready,
        });
        self.send(Command::Send {
            key,
            message: ToProbe::Cmd {
                id,
                op,
                args,
                deadline_ms: u64::try_from(cx.left().as_millis())
                    .unwrap_or(u64::MAX)
                    .max(1),
            },
            answer: Some((id, Answer(Arc::clone(&slot)))),
        });
        Ok(Asked {
            link: self,
            key,
            id,
            op,
            slot,
            answered: false,
        })
    }
}

/// A call under way; dropped before its answer is there, it is forgotten. Its descriptor is readable once the answer is there.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    link: &'a Link,
    key: u64,
    id: u64,
    op: &'static str,
    slot: Arc<Slot>,
    answered: bool,
}

impl Asked<'_> {
    /// The answer, once, if it is there.
    pub(crate) fn answer(&mut self) -> Option<Result<Value, Error>> {
        let outcome = self
            .slot
            .outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        self.answered = true;
        Some(outcome.map_err(|error| refusal(self.op, error)))
    }
}

impl AsFd for Asked<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.slot.ready.as_fd()
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.answered {
            let (key, id) = (self.key, self.id);
            self.link.send(Command::Forget { key, id });
        }
    }
}

fn deadline(op: &str) -> Error {
    Error::Deadline {
        operation: op.to_owned(),
    }
}

fn refusal(op: &str, error: RemoteError) -> Error {
    let operation = op.to_owned();
    match error {
        RemoteError::Gone => Error::IsolateGone,
        RemoteError::Empty => Error::Protocol {
            message: format!("a reply to {op} with neither `ok` nor `error`"),
        },
        RemoteError::Failed(failure) => match failure.kind.as_str() {
            "unsupported" => Error::Unsupported { operation },
            "deadline" => deadline(op),
            "cancelled" => Error::Cancelled,
            _ => Error::Refused {
                operation,
                message: failure.message,
            },
        },
    }
}
