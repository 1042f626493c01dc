//! `plimsoll monitor`: watches running processes, or a command that it stands before, at a fixed interval, and judges in the
//! end what was seen.
//!
//! Reads only: nothing is signalled, attached or collected, unless attaching is asked for. What it watches lives on when it
//! fails.

mod tracks;
mod watcher;
mod wrapper;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Cx, Event, Exit, Finding, Run, units};
use plimsoll_probe::{Hub, HubOptions, NotAttached, Process};

use crate::error::Error;
use crate::place::{Chosen, unix_now};

pub(crate) use watcher::Concluded;
use watcher::Watcher;
pub use wrapper::Wrapper;

/// Processes one name may mean.
const MOST_NAMED: usize = 1000;
/// How long putting the probe into one process may take.
const ATTACH: Duration = Duration::from_secs(10);

/// How to watch.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Time between readings.
    pub interval: Duration,
    /// How long; `None` = until everything has ended or somebody says stop.
    pub duration: Option<Duration>,
    /// Growth rate in bytes per second below which nothing is called a leak.
    pub floor: Option<f64>,
    /// Whether the probe is put into the running Node and Python processes that are watched.
    pub attach: bool,
    /// Whether a leak is a failure: exit code 1 whatever the command ended with.
    pub fail_on_leak: bool,
    /// Directories for runs, the first usable one is taken.
    pub directories: Vec<PathBuf>,
}

/// What a shell would exit with for a command that ended like that: its status, or 128 and the number of the signal.
pub fn shell_status(exit: Exit) -> u8 {
    let code = match exit {
        Exit::Status(status) => status,
        Exit::Signal(signal) => 128 + signal,
    };
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// What is watched.
struct Watched<'a> {
    /// As it was started; empty for what we did not start.
    command: &'a [OsString],
    roots: Vec<Process>,
    /// Where probes inside connect to, if it carries any.
    hub: Option<&'a Hub>,
    /// Why it carries none, for what we started ourselves.
    no_probe: Option<String>,
    /// What was done to them before.
    said: Vec<Finding>,
    /// How the command ended, once it has.
    exit: &'a OnceLock<Exit>,
    /// Where the run is kept, if that had to be known before.
    place: Option<Chosen>,
}

/// Watches running processes and their descendants until the planned time is over, they have all ended, or `cancel` is
/// asked for. Reads only.
///
/// # Errors
/// If nothing can be watched at all. What happens later is part of the run.
pub fn monitor(
    config: &Monitor,
    processes: Vec<Process>,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Run, Error> {
    let epoch = Instant::now();
    let hub = if config.attach {
        Some(Hub::start(epoch, &hub_options(config.interval))?)
    } else {
        None
    };
    let said: Vec<Finding> = hub
        .iter()
        .flat_map(|hub| attach(&processes, hub, cancel))
        .collect();
    for finding in &said {
        events(Event::Found(finding.clone()));
    }
    let watched = Watched {
        command: &[],
        roots: processes,
        hub: hub.as_ref(),
        no_probe: None,
        said,
        exit: &OnceLock::new(),
        place: None,
    };
    conclude(config, watched, epoch, events, cancel).map(Concluded::keep)
}

/// What probes are asked to tell of their own: as often as we read, and their collections.
fn hub_options(interval: Duration) -> HubOptions {
    HubOptions {
        sample_hz: (1.0 / interval.as_secs_f64()).clamp(1.0, 10.0),
        follow_gc: true,
    }
}

/// Puts the probe into each process that takes it in, and says what was done to whom.
fn attach(processes: &[Process], hub: &Hub, cancel: &Cancel) -> Vec<Finding> {
    let mut said = Vec::new();
    for process in processes {
        let pid = process.id().pid;
        match plimsoll_probe::attach(process, hub, &Cx::within(cancel, ATTACH)) {
            Ok(attached) => {
                let size = units::bytes(attached.injected_bytes as f64);
                said.push(Finding::info(
                    &format!("attached-{pid}"),
                    format!("attached to pid {pid}: {size} of probe were put in; it goes when plimsoll ends"),
                ));
            }
            Err(NotAttached::NoRuntime(_)) if processes.len() > 1 => {}
            Err(why) => said.push(Finding::warning(
                &format!("not-attached-{pid}"),
                format!("pid {pid} is seen from outside only: {why}"),
                why.remedy(),
            )),
        }
    }
    said
}

/// Watches processes while something else happens to them, until `cancel`; the run is the caller's to complete and keep.
pub(crate) fn alongside(
    config: &Monitor,
    processes: Vec<Process>,
    place: Option<Chosen>,
    epoch: Instant,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Concluded, Error> {
    let watched = Watched {
        command: &[],
        roots: processes,
        hub: None,
        no_probe: None,
        said: Vec::new(),
        exit: &OnceLock::new(),
        place,
    };
    conclude(config, watched, epoch, events, cancel)
}

fn conclude(
    config: &Monitor,
    mut watched: Watched<'_>,
    epoch: Instant,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Concluded, Error> {
    let started_unix_ns =
        unix_now().saturating_sub(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(0));
    let chosen = watched.place.take();
    let place = chosen
        .unwrap_or_else(|| Chosen::among(&config.directories, started_unix_ns))
        .record()?;
    for finding in &place.findings {
        events(Event::Found(finding.clone()));
    }
    let mut watcher = Watcher::new(config, watched, epoch, place.recorder.handle(), events);
    watcher.watch(cancel);
    if cancel.is_cancelled() {
        watcher.read_last();
    }
    Ok(watcher.conclude(place, started_unix_ns))
}

/// Takes hold of processes by their pids.
///
/// # Errors
/// If one does not exist or has ended.
pub fn processes_by_pid(pids: &[u32]) -> Result<Vec<Process>, Error> {
    pids.iter()
        .map(|&pid| Process::open(pid).map_err(Error::from))
        .collect()
}

/// Takes hold of the running processes of a name: that of the executable, of the program as it calls itself, or of the
/// script that an interpreter runs.
///
/// # Errors
/// If there is none.
pub fn processes_by_name(name: &str) -> Result<Vec<Process>, Error> {
    let found = plimsoll_probe::processes_named(name, MOST_NAMED)?;
    if found.is_empty() {
        return Err(Error::usage(
            format!("no running process is named `{name}`"),
            "the name of the executable or of the script counts, for example `node` or `server.js`; `--pid` names one by number",
        ));
    }
    Ok(found)
}
