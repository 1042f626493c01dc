//! Where probes connect: the listening socket, the carrier that names it, and the thread that owns both.
//!
//! Nothing listens in the subject; its probes connect out to a Unix socket in a private directory. One thread owns the
//! listener and all connections and never waits for any of them: a slow, silent or hostile probe costs itself its
//! connection. Samples flow to [`Hub::events`] and are dropped and counted when nobody takes them; calls go through
//! [`Hub::runtime`].

mod call;
mod carrier;
mod connection;
mod door;
#[cfg(test)]
mod tests;
mod thread;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use plimsoll_alloc::{Published, Surviving};
use plimsoll_model::{Cancel, Capabilities, Cx, Metric, Ns, ProcessId};

pub(crate) use call::Link;
use carrier::Carrier;
pub(crate) use carrier::random_hex;
use door::Door;
pub(crate) use thread::metric;

use crate::node::ProbeRuntime;
use crate::os::net::{self, Wake};
use crate::process::Process;
use crate::{Error, Runtime};

/// Events that wait for somebody to take them; what exceeds this is dropped if it is a sample.
const EVENT_CAPACITY: usize = 4096;

/// What probes are told to report unasked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HubOptions {
    /// Samples per second and isolate, at most 100; 0 for none.
    pub sample_hz: f64,
    /// Whether to follow the collections a runtime makes by itself ([`HubEvent::Gc`]). Off by default: the runtime keeps
    /// about 3 kB a collection until its event loop turns, which a subject that computes for a minute pays in memory.
    pub follow_gc: bool,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            sample_hz: 10.0,
            follow_gc: false,
        }
    }
}

/// One isolate (process x thread) whose probe said hello.
#[derive(Debug, Clone, PartialEq)]
pub struct IsolateInfo {
    /// Its connection; never used twice in a run.
    pub key: u64,
    /// Its process.
    pub process: ProcessId,
    /// 0 for the main thread, else the thread's id within its runtime.
    pub isolate: u32,
    /// What it can and cannot answer.
    pub capabilities: Capabilities,
    /// The arguments of its process as the runtime sees them; `argv[1]` is the script.
    pub argv: Vec<String>,
    /// The runtime's own flags.
    pub exec_argv: Vec<String>,
    /// Where its heap ends, in bytes.
    pub heap_limit: Option<u64>,
    /// What the subject calls this thread.
    pub name: Option<String>,
}

/// What happened among the probes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum HubEvent {
    /// An isolate said hello.
    Up(IsolateInfo),
    /// An isolate ended, or its connection was lost.
    Down {
        /// Which.
        key: u64,
    },
    /// Readings taken unasked.
    Samples {
        /// From which isolate.
        key: u64,
        /// When they were taken.
        at: Ns,
        /// The readings.
        values: Vec<(Metric, f64)>,
    },
    /// The runtime collected by itself.
    Gc {
        /// Which isolate.
        key: u64,
        /// When it was seen: up to one sample's period after it happened.
        at: Ns,
        /// The runtime's name for this sort of collection.
        kind: String,
        /// How long it took, in nanoseconds.
        pause_ns: u64,
        /// Heap used after it, in bytes.
        used_after: Option<f64>,
    },
    /// Samples were lost, in the probe or here, because nobody took them in time.
    Dropped {
        /// From which isolate.
        key: u64,
        /// How many since this was last said.
        count: u64,
    },
    /// An isolate can no longer observe something.
    Gap {
        /// Which isolate.
        key: u64,
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// A connection was closed because it did not behave like a probe of this run.
    Refused {
        /// How it misbehaved.
        why: String,
    },
}

/// The meeting point of all probes of one run. Dropping it closes every connection, ends its thread and removes its files.
///
/// The carrier must outlive every process that may still start in the subject's tree, so drop the hub only after the
/// subject has ended: a runtime whose `--require` file is missing does not start.
#[derive(Debug)]
pub struct Hub {
    carrier: Carrier,
    doors: Mutex<Vec<Door>>,
    link: Link,
    events: Receiver<HubEvent>,
    epoch: Epoch,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// Makes the private directory, the socket and the carrier, and starts the thread. `run_epoch` is t = 0 of all times.
    ///
    /// # Errors
    /// If no directory for it can be made, or the process has no descriptors left.
    pub fn start(run_epoch: Instant, options: &HubOptions) -> Result<Self, Error> {
        let (carrier, listener) = Carrier::create()?;
        let epoch = Epoch::of(run_epoch);
        let wake = Arc::new(Wake::try_new().map_err(|e| Error::io("make an event descriptor", e))?);
        let (commands, inbox) = crossbeam_channel::unbounded();
        let (sender, events) = crossbeam_channel::bounded(EVENT_CAPACITY);
        let setup = thread::Setup {
            wake: Arc::clone(&wake),
            commands: inbox,
            events: sender,
            token: carrier.token().to_owned(),
            epoch,
            options: *options,
        };
        let worker = thread::Worker::try_new(setup, listener)
            .map_err(|e| Error::io("watch the probe socket", e))?;
        let thread = std::thread::Builder::new()
            .name("probe-hub".to_owned())
            .spawn(move || worker.run())
            .map_err(|e| Error::io("start the hub's thread", e))?;
        Ok(Self {
            carrier,
            doors: Mutex::default(),
            link: Link::new(commands, wake),
            events,
            epoch,
            thread: Some(thread),
        })
    }

    /// `NODE_OPTIONS` that load the probe, with what is there kept: ours first, so that the probe takes the runtime's
    /// functions before another preload replaces them.
    pub fn node_options(&self, existing: Option<&OsStr>) -> OsString {
        carrier::options("--require", self.carrier.path(), existing)
    }

    /// The same for `BUN_OPTIONS`.
    pub fn bun_options(&self, existing: Option<&OsStr>) -> OsString {
        carrier::options("--preload", self.carrier.path(), existing)
    }

    /// `PYTHONPATH` that loads the probe into Python, with what is there kept behind it.
    pub fn python_path(&self, existing: Option<&OsStr>) -> OsString {
        crate::python::python_path(&self.carrier.python(), existing)
    }

    /// The script that loads the probe into a Python that runs already.
    pub(crate) fn python_entry(&self) -> std::path::PathBuf {
        crate::python::entry(&self.carrier.python())
    }

    /// What makes a program that has `plimsoll-alloc` publish its counts: a variable and its value.
    pub fn region_variable(&self) -> (&'static str, OsString) {
        let folder = self.carrier.regions().into_os_string();
        (plimsoll_alloc::REGION_VARIABLE, folder)
    }

    /// What the allocator of a process has published, exact at this moment; `None` where it has not.
    ///
    /// # Errors
    /// If it published something that cannot be read: by another version of `plimsoll-alloc`, say.
    pub fn published(&self, process: ProcessId) -> std::io::Result<Option<Published>> {
        let file = self.region(process, File::options().read(true))?;
        file.map_or(Ok(None), |file| plimsoll_alloc::read_published(&file))
    }

    /// Which blocks it sampled and still has, and what its scopes hold; also after its end.
    ///
    /// # Errors
    /// As [`Hub::published`].
    pub fn surviving(&self, process: ProcessId) -> std::io::Result<Option<Surviving>> {
        let file = self.region(process, File::options().read(true))?;
        file.map_or(Ok(None), |file| plimsoll_alloc::read_surviving(&file))
    }

    /// Has it keep the stack of one block every so many bytes.
    ///
    /// # Errors
    /// As [`Hub::published`], or if the file cannot be written.
    pub fn ask_for_samples(&self, process: ProcessId, every: u64) -> std::io::Result<()> {
        let file = self.region(process, File::options().read(true).write(true))?;
        file.map_or(Ok(()), |file| plimsoll_alloc::ask_for_samples(&file, every))
    }

    fn region(&self, process: ProcessId, how: &OpenOptions) -> std::io::Result<Option<File>> {
        match how.open(self.carrier.regions().join(process.pid.to_string())) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The private directory of this run, removed with everything in it when the hub ends.
    pub fn directory(&self) -> &Path {
        self.carrier.directory()
    }

    /// The file that `NODE_OPTIONS` names.
    pub fn carrier(&self) -> &Path {
        self.carrier.path()
    }

    /// What a probe in this process needs to find this hub: another socket where ours is not to be seen by it.
    pub(crate) fn configuration(&self, process: &Process) -> Result<serde_json::Value, Error> {
        let token = self.carrier.token();
        let owner = process.owner().unwrap_or_else(net::own_uid);
        if sees_our_files(process) {
            return Ok(crate::node::configuration(self.carrier.socket(), token));
        }
        let (door, listener) = Door::open(process, owner)
            .map_err(|error| Error::io("make a socket that it can reach", error))?;
        self.link.listen(listener, owner);
        let configuration = crate::node::configuration(door.socket(), token);
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.push(door);
        Ok(configuration)
    }

    /// What happens among the probes. Bounded: samples that nobody takes are dropped and counted.
    pub fn events(&self) -> &Receiver<HubEvent> {
        &self.events
    }

    /// A handle to ask one isolate. Handles outlive the isolate and the hub; they then answer [`Error::IsolateGone`].
    pub fn runtime(&self, isolate: &IsolateInfo) -> Box<dyn Runtime> {
        let process = Process::open(isolate.process.pid).ok();
        let shared = process.filter(sees_our_files);
        Box::new(ProbeRuntime::new(
            isolate.key,
            isolate.capabilities.clone(),
            self.link.clone(),
            self.epoch,
            shared.map(|_| self.directory().to_owned()),
        ))
    }

    /// Tells probes to let go, and waits until they have: what was attached to lives on without us.
    pub fn dismiss(&self, keys: impl IntoIterator<Item = u64>, patience: Duration) {
        // Not to be cancelled: an interrupted run leaves as little behind as any other.
        let Ok(cancel) = Cancel::try_new() else {
            return;
        };
        let cx = Cx::within(&cancel, patience);
        for key in keys {
            // A probe that does not answer lets go when its connection is closed.
            let _ = self.link.call(key, "bye", serde_json::json!({}), &cx);
        }
    }

    /// Ends it; the same as dropping it.
    pub fn close(self) {
        drop(self);
    }
}

/// Whether a process finds what lies in our directory, and may open it.
fn sees_our_files(process: &Process) -> bool {
    process.owner().is_none_or(|owner| owner == net::own_uid())
        && process.shares_files() != Some(false)
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.link.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; there is nobody to tell twice.
            let _ = thread.join();
        }
    }
}

/// The start of the run on the clock that probes read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epoch {
    /// Nanoseconds of `CLOCK_MONOTONIC` at t = 0.
    start_ns: i128,
}

impl Epoch {
    fn of(run_epoch: Instant) -> Self {
        // `Instant` is this clock, but does not show its number.
        let elapsed = run_epoch.elapsed().as_nanos();
        Self {
            start_ns: net::monotonic_ns() - i128::try_from(elapsed).unwrap_or(0),
        }
    }

    /// Now, since the start of the run.
    pub(crate) fn now(self) -> Ns {
        Ns(u64::try_from(net::monotonic_ns() - self.start_ns).unwrap_or(0))
    }

    /// A probe's time in microseconds. Never before the run and never in the future, whatever the probe says: its clock
    /// may be another (time namespaces) or a lie.
    pub(crate) fn at(self, probe_us: f64) -> Ns {
        let now = self.now();
        if !probe_us.is_finite() {
            return now;
        }
        let ns = ((probe_us * 1e3) as i128).saturating_sub(self.start_ns);
        Ns(u64::try_from(ns.max(0)).unwrap_or(u64::MAX)).min(now)
    }
}
