//! Puts the probe into a process that runs already, and leaves it as it was. Node: `SIGUSR1` opens its inspector, the same
//! probe that spawned subjects load is evaluated through it, the inspector is closed again. Python: see `python.rs`.
//!
//! The observed comes first. It is signalled only if its binary is Node and has a handler for the signal, and once: what
//! does not open its inspector within [`PATIENCE`] is left alone for good. A process that was started with its inspector
//! open keeps it open. Everything that is not done is said, with its reason.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::time::{Duration, Instant};

use plimsoll_model::{Cx, Gap};
use serde_json::{Value, json};

use crate::cdp::{self, Cdp};
use crate::hub::Hub;
use crate::network::Network;
use crate::os::net::own_uid;
use crate::process::Process;
use crate::sockets::{self, Listener};
use crate::surroundings::may_enter_namespaces;
use crate::{Error, node};

mod python;

/// How long an inspector may take to open.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long all of attaching may take.
const WHOLE: Duration = Duration::from_secs(5);
/// How long the worker threads may take to let the probe in.
const WORKERS: Duration = Duration::from_secs(1);
/// Between two looks at the kernel's table of sockets, which costs some 50 µs.
const LOOK: Duration = Duration::from_millis(2);
/// The port that Node opens its inspector on unless it was told another.
const DEFAULT_PORT: u16 = 9229;
const SIGUSR1: i32 = 10;
const ROOT: u32 = 0;

/// What was done to a process to observe it from inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Which way the probe went in.
    pub way: Way,
    /// Bytes of source that were put into each isolate.
    pub injected_bytes: usize,
    /// Worker threads the probe was put into as well.
    pub workers: u32,
    /// What could not be reached.
    pub gaps: Vec<Gap>,
}

/// How a probe gets into a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// Through the inspector of Node.
    Inspector {
        /// Where it was reached.
        address: SocketAddr,
        /// Whether it was open before and has been left open; else it was opened by a signal and is closed.
        was_open: bool,
    },
    /// Python was asked to run it (`sys.remote_exec`), which it does as soon as it runs Python code.
    RemoteExec,
}

/// Why a process is observed from outside only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotAttached {
    /// Its executable is none that reads our probe.
    #[error("`{0}` is neither Node.js nor Python")]
    NoRuntime(String),
    /// Its Python takes nothing in while it runs.
    #[error("Python {0} takes no probe in while it runs; 3.14 and newer do")]
    OldPython(String),
    /// Its Python was told to take nothing in, or the system forbids it.
    #[error("its Python does not take the probe in: {0}")]
    Refused(String),
    /// What it runs is kept from us.
    #[error("the system does not let us see what it runs")]
    Unreadable,
    /// Somebody else's process, where our socket is not to be seen.
    #[error("it belongs to user {owner}, and we are user {own}")]
    OtherUser {
        /// Its user.
        owner: u32,
        /// Ours.
        own: u32,
    },
    /// It lives in other namespaces, where our socket or its inspector is not to be seen, and which we may not enter.
    #[error("it lives in another {name} namespace, which takes {needs} to enter")]
    OtherNamespace {
        /// Of what.
        name: &'static str,
        /// The capability.
        needs: &'static str,
    },
    /// The signal would end it.
    #[error("it does not wait for SIGUSR1 (started with `--disable-sigusr1`, or not that far yet)")]
    NoHandler,
    /// The port its inspector would open on belongs to somebody.
    #[error("its inspector would open on port {port}, which {holder} holds")]
    PortHeld {
        /// The port.
        port: u16,
        /// Who holds it.
        holder: String,
    },
    /// It got the signal and did something else.
    #[error(
        "it got SIGUSR1 and opened no inspector within 1 s (it may have a handler of its own); it is not asked again"
    )]
    Silent,
    /// Another debugger, or an inspector that does not behave.
    #[error("its inspector at {address} did not let the probe in: {error}")]
    Inspector {
        /// Where.
        address: SocketAddr,
        /// Why not.
        error: Error,
    },
    /// It ended, or the system refused something.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl NotAttached {
    /// What would help, if anything would.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable => Some(
                "run plimsoll as root or with CAP_SYS_PTRACE, or start the program by plimsoll",
            ),
            Self::OtherUser { .. } => Some("run plimsoll as that user, or as root"),
            Self::OtherNamespace { .. } => {
                Some("run plimsoll as root, or inside: `nsenter -at PID plimsoll`")
            }
            Self::NoHandler => Some(
                "start it by plimsoll, without `--disable-sigusr1`, or with `--inspect=127.0.0.1:0`",
            ),
            Self::PortHeld { .. } => Some("start it with `--inspect-port=0`, or by plimsoll"),
            Self::Silent => Some("start it by plimsoll, or with `--inspect=127.0.0.1:0`"),
            Self::OldPython(_) => Some("start it by plimsoll"),
            Self::Refused(_) => Some(
                "start it without PYTHON_DISABLE_REMOTE_DEBUG, run plimsoll as root or with CAP_SYS_PTRACE, or start it by plimsoll",
            ),
            Self::NoRuntime(_) | Self::Inspector { .. } | Self::Failed(_) => None,
        }
    }
}

/// Puts the probe into every isolate of a running Node process, or into a running Python. It then says hello to the hub.
///
/// Attaches of one machine's user are done one after another: all inspectors open on the same port.
///
/// # Errors
/// [`NotAttached`]; only [`NotAttached::Silent`] and [`NotAttached::Inspector`] have touched the process.
pub fn attach(process: &Process, hub: &Hub, cx: &Cx) -> Result<Attached, NotAttached> {
    let cx = cx.at_most(WHOLE);
    may_be_attached(process)?;
    if process.is_python() {
        return python::attach(process, hub);
    }
    // Its inspector opens in its own network.
    let _network = Network::of(process)?;
    let _turn = Turn::take(&cx)?;
    let (_, mut words) = process.command();
    words.extend(
        process
            .variable("NODE_OPTIONS")
            .iter()
            .flat_map(|o| o.split(' ').map(str::to_owned)),
    );
    let wishes = Wishes::of(&words);
    if wishes.is_open
        && let Some(listener) = own_listeners(process)?
            .into_iter()
            .find(|l| wishes.may_be(l))
    {
        return inject(process, hub, listener.address, true, &cx);
    }
    let address = open(process, &wishes, &cx)?;
    inject(process, hub, address, false, &cx)
}

/// Whether it could be attached, as far as can be known without touching it.
///
/// # Errors
/// [`NotAttached`], and never because it was touched.
pub fn may_be_attached(process: &Process) -> Result<(), NotAttached> {
    if !process.is_alive() {
        return Err(gone(process));
    }
    let own = own_uid();
    match process.owner() {
        // Root may give our socket to others.
        Some(owner) if owner != own && own != ROOT => {
            return Err(NotAttached::OtherUser { owner, own });
        }
        Some(_) => {}
        None => return Err(gone(process)),
    }
    let name = process.name();
    if name.is_empty() {
        return Err(NotAttached::Unreadable);
    }
    if process.is_python() {
        return python::may_be_attached(process);
    }
    if !process.is_node() {
        return Err(NotAttached::NoRuntime(name));
    }
    let closed = |name, needs| Err(NotAttached::OtherNamespace { name, needs });
    if process.other_namespace(&["net"]).is_some() && !may_enter_namespaces() {
        return closed("network", "CAP_SYS_ADMIN");
    }
    if process.other_namespace(&["mnt"]).is_some() && process.root().is_err() {
        return closed("mount", "CAP_SYS_PTRACE");
    }
    Ok(())
}

fn gone(process: &Process) -> NotAttached {
    NotAttached::Failed(Error::NoSuchProcess {
        pid: process.id().pid,
    })
}

/// What a command line says of its inspector.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    /// Whether it is open from the start.
    is_open: bool,
    /// Where it opens; 0 = anywhere.
    port: u16,
    /// The address was chosen by hand, perhaps another than loopback.
    by_hand: bool,
}

impl Wishes {
    fn of(words: &[String]) -> Self {
        let mut wishes = Self {
            is_open: false,
            port: DEFAULT_PORT,
            by_hand: false,
        };
        for word in words {
            let (flag, value) = word.split_once('=').unwrap_or((word, ""));
            let opens = matches!(flag, "--inspect" | "--inspect-brk" | "--inspect-wait");
            if opens || matches!(flag, "--inspect-port" | "--debug-port") {
                wishes.is_open |= opens;
                // `[host:]port`, both left out at will.
                let port = value.rsplit(':').next().unwrap_or(value);
                wishes.port = port.parse().unwrap_or(wishes.port);
                wishes.by_hand |= value.contains(':');
            }
        }
        wishes
    }

    fn may_be(&self, listener: &Listener) -> bool {
        self.port == 0 || listener.address.port() == self.port
    }
}

/// The sockets that this process, and nobody else we know, listens on.
fn own_listeners(process: &Process) -> Result<Vec<Listener>, NotAttached> {
    let mut all =
        sockets::all_listeners().map_err(|e| Error::io("read the table of sockets", e))?;
    let held = sockets::sockets_of(process);
    all.retain(|listener| held.contains(&listener.inode));
    Ok(all)
}

/// Signals the process and waits for the socket that opens on it.
fn open(process: &Process, wishes: &Wishes, cx: &Cx) -> Result<SocketAddr, NotAttached> {
    if !process.catches(SIGUSR1).ok_or_else(|| gone(process))? {
        return Err(NotAttached::NoHandler);
    }
    if wishes.port != 0 {
        let taken = sockets::listeners(wishes.port)
            .map_err(|e| Error::io("read the table of sockets", e))?;
        if !taken.is_empty() {
            let holder = sockets::port_holder(wishes.port);
            return Err(NotAttached::PortHeld {
                port: wishes.port,
                holder: holder.map_or_else(
                    || "somebody else".to_owned(),
                    |p| format!("pid {} ({})", p.id.pid, p.command.join(" ")),
                ),
            });
        }
    }
    let before: BTreeSet<u64> = own_listeners(process)?.iter().map(|l| l.inode).collect();
    process.signal(SIGUSR1)?;
    let patience = cx.at_most(PATIENCE);
    loop {
        let mut opened = own_listeners(process)?;
        opened.retain(|listener| !before.contains(&listener.inode));
        // The program may have chosen another port by itself; what answers there is asked who it is.
        let listener = opened.iter().find(|l| wishes.may_be(l));
        if let Some(listener) = listener.or(opened.first().filter(|_| patience.is_over())) {
            return Ok(listener.address);
        }
        if !process.is_alive() {
            return Err(gone(process));
        }
        if cx.cancel.is_cancelled() {
            return Err(Error::Cancelled.into());
        }
        if patience.is_over() {
            return Err(NotAttached::Silent);
        }
        std::thread::sleep(LOOK);
    }
}

/// Evaluates the probe through an inspector, and closes it if it was us who opened it.
fn inject(
    process: &Process,
    hub: &Hub,
    address: SocketAddr,
    was_open: bool,
    cx: &Cx,
) -> Result<Attached, NotAttached> {
    let refused = |error: Error| NotAttached::Inspector { address, error };
    let address = reachable(address);
    let target = cdp::targets(address, cx)
        .map_err(refused)?
        .into_iter()
        .next()
        .ok_or_else(|| {
            refused(Error::Inspector {
                message: "it has nothing to debug".to_owned(),
            })
        })?;
    let mut inspector = Cdp::connect(address, &target, cx).map_err(refused)?;
    let probe = Probe {
        source: node::injection(),
        configuration: hub.configuration(process)?,
    };
    let result = enter(&mut inspector, process, &probe, cx);
    if !was_open {
        // Closed whatever became of the rest; it goes away before it can answer.
        let close = evaluation("require('inspector').close()");
        let _ = inspector.call(
            "Runtime.evaluate",
            &close,
            &cx.at_most(PATIENCE),
            &mut |_| Ok(()),
        );
    }
    let (workers, gaps) = result.map_err(refused)?;
    Ok(Attached {
        way: Way::Inspector { address, was_open },
        injected_bytes: probe.source.len(),
        workers,
        gaps,
    })
}

/// An inspector that listens everywhere is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let loopback: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        return SocketAddr::new(loopback, address.port());
    }
    address
}

/// What is put into an isolate.
struct Probe {
    /// An expression that gives a function.
    source: String,
    /// Its argument.
    configuration: Value,
}

/// Puts the probe into the main isolate and the worker threads there are.
fn enter(
    inspector: &mut Cdp,
    process: &Process,
    probe: &Probe,
    cx: &Cx,
) -> Result<(u32, Vec<Gap>), Error> {
    let mut main = Isolate {
        inspector,
        worker: None,
        last_id: 0,
    };
    // Whoever answers must be the process that was meant: the port could have changed hands.
    let answer = main.call("Runtime.evaluate", &evaluation("process.pid"), cx)?;
    let pid = answer["result"]["value"].as_u64();
    let expected = [Some(process.id().pid), process.own_pid()];
    if !expected
        .into_iter()
        .flatten()
        .any(|expected| pid == Some(expected.into()))
    {
        return Err(broken("it answers for another process"));
    }
    main.load(probe, cx)?;
    let mut gaps = Vec::new();
    let workers = enter_workers(main.inspector, probe, cx).unwrap_or_else(|error| {
        gaps.push(Gap {
            what: "worker threads that ran before".to_owned(),
            why: error.to_string(),
        });
        0
    });
    Ok((workers, gaps))
}

/// Node lets its worker threads be debugged through the main one.
fn enter_workers(inspector: &mut Cdp, probe: &Probe, cx: &Cx) -> Result<u32, Error> {
    let cx = cx.at_most(WORKERS);
    let mut workers: Vec<String> = Vec::new();
    let no_wait = json!({ "waitForDebuggerOnStart": false });
    inspector.call("NodeWorker.enable", &no_wait, &cx, &mut |event| {
        if event.method == "NodeWorker.attachedToWorker" {
            let params: Value = serde_json::from_str(event.params).unwrap_or_default();
            workers.extend(params["sessionId"].as_str().map(str::to_owned));
        }
        Ok(())
    })?;
    let mut entered = 0;
    for worker in workers {
        let mut isolate = Isolate {
            inspector: &mut *inspector,
            worker: Some(worker),
            last_id: 0,
        };
        isolate.load(probe, &cx)?;
        entered += 1;
    }
    inspector.call("NodeWorker.disable", &json!({}), &cx, &mut |_| Ok(()))?;
    Ok(entered)
}

/// One isolate of the process, reached through its inspector.
struct Isolate<'a> {
    inspector: &'a mut Cdp,
    /// The session of a worker thread; `None` for the main one.
    worker: Option<String>,
    last_id: u64,
}

impl Isolate<'_> {
    /// Puts the probe in and lets it connect.
    fn load(&mut self, probe: &Probe, cx: &Cx) -> Result<(), Error> {
        let mut source = evaluation(&probe.source);
        source["returnByValue"] = false.into();
        source["objectGroup"] = "plimsoll".into();
        let function = self.call("Runtime.evaluate", &source, cx)?;
        let call = json!({
            "objectId": function["result"]["objectId"],
            "functionDeclaration": "function (configuration) { this(configuration); }",
            "arguments": [{ "value": probe.configuration }],
            "returnByValue": true,
            "silent": true,
        });
        let called = self.call("Runtime.callFunctionOn", &call, cx);
        self.call(
            "Runtime.releaseObjectGroup",
            &json!({ "objectGroup": "plimsoll" }),
            cx,
        )?;
        called.map(drop)
    }

    fn call(&mut self, method: &str, params: &Value, cx: &Cx) -> Result<Value, Error> {
        let answer = match &self.worker {
            None => self.inspector.call(method, params, cx, &mut |_| Ok(()))?,
            Some(worker) => {
                self.last_id += 1;
                let id = self.last_id;
                let message = json!({ "id": id, "method": method, "params": params }).to_string();
                let envelope = json!({ "sessionId": worker, "message": message });
                let answer = std::cell::RefCell::new(None);
                // It comes as an event, before or after the receipt of the envelope.
                let open = |event: cdp::Event<'_>| {
                    if event.method == "NodeWorker.receivedMessageFromWorker" {
                        let params: Value = serde_json::from_str(event.params).unwrap_or_default();
                        let inner = params["message"].as_str().unwrap_or_default();
                        let inner: Value = serde_json::from_str(inner).unwrap_or_default();
                        if params["sessionId"] == **worker && inner["id"] == id {
                            answer.replace(Some(inner["result"].clone()));
                        }
                    }
                    answer.borrow().is_some()
                };
                self.inspector.call(
                    "NodeWorker.sendMessageToWorker",
                    &envelope,
                    cx,
                    &mut |event| {
                        open(event);
                        Ok(())
                    },
                )?;
                if answer.borrow().is_none() {
                    self.inspector.listen(cx, &mut |event| open(event))?;
                }
                answer.take().unwrap_or_default()
            }
        };
        match answer.get("exceptionDetails") {
            None => Ok(answer),
            Some(details) => Err(broken(format!(
                "the probe threw: {}",
                details["exception"]["description"].as_str().unwrap_or("?")
            ))),
        }
    }
}

/// `require` is there only for the time of an evaluation, and nothing is left in the global scope.
fn evaluation(expression: &str) -> Value {
    json!({ "expression": expression, "includeCommandLineAPI": true, "returnByValue": true, "silent": true })
}

fn broken(message: impl Into<String>) -> Error {
    Error::Inspector {
        message: message.into(),
    }
}

/// The right to attach: held by one of a user's processes at a time, and given back by the kernel if that one dies.
struct Turn(#[expect(dead_code, reason = "held, not used")] Option<UnixListener>);

impl Turn {
    fn take(cx: &Cx) -> Result<Self, Error> {
        let failed = |error| Error::io("wait for another attach to end", error);
        let name = UnixAddress::from_abstract_name(format!("plimsoll-attach-{}", own_uid()))
            .map_err(failed)?;
        let until = Instant::now() + cx.left() / 2;
        loop {
            match UnixListener::bind_addr(&name) {
                Ok(turn) => return Ok(Self(Some(turn))),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(failed(error)),
            }
            if cx.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if Instant::now() >= until {
                // A stranger who sits on the name must not keep us out.
                return Ok(Self(None));
            }
            std::thread::sleep(LOOK);
        }
    }
}
