//! `plimsoll monitor`: watches running processes, or a command that it stands before, at a fixed interval, and judges in the
//! end what was seen.
//!
//! Reads only: nothing is signalled, attached or collected. What it watches lives on when it fails.

mod tracks;
mod watcher;
mod wrapper;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Event, Exit, Run};
use plimsoll_probe::{Hub, Process};

use crate::error::Error;
use crate::place::{Place, unix_now};

use watcher::Watcher;
pub use wrapper::Wrapper;

/// Processes one name may mean.
const MOST_NAMED: usize = 1000;

/// How to watch.
#[derive(Debug, Clone)]
pub struct Monitor {
    /// Time between readings.
    pub interval: Duration,
    /// How long; `None` = until everything has ended or somebody says stop.
    pub duration: Option<Duration>,
    /// Growth rate in bytes per second below which nothing is called a leak.
    pub floor: Option<f64>,
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
    /// How the command ended, once it has.
    exit: &'a OnceLock<Exit>,
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
    let watched = Watched {
        command: &[],
        roots: processes,
        hub: None,
        no_probe: None,
        exit: &OnceLock::new(),
    };
    watch(config, watched, Instant::now(), events, cancel)
}

fn watch(
    config: &Monitor,
    watched: Watched<'_>,
    epoch: Instant,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Run, Error> {
    let started_unix_ns =
        unix_now().saturating_sub(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(0));
    let place = Place::open(&config.directories, started_unix_ns)?;
    for finding in &place.findings {
        events(Event::Found(finding.clone()));
    }
    let mut watcher = Watcher::new(config, watched, epoch, place.recorder.handle(), events);
    watcher.watch(cancel);
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
