//! Snapshots of a running process, one or several in one go.
//!
//! V8 numbers its objects anew whenever an inspector leaves, so snapshots that are to be compared must be taken by one
//! that stays: that is what `count` and `next` are for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Cell, Cx, EvidenceRequest, Metric, Sheet, Sink, units};
use plimsoll_probe::{Error as ProbeError, Hub, HubEvent, HubOptions, Process, Runtime, Way};

use super::object;
use crate::error::Error;
use crate::limits::Room;

/// How long the probe may take to say hello.
const HELLO: Duration = Duration::from_secs(5);
/// How long one snapshot may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// What to take, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Of this process.
    pub pid: u32,
    /// Into this directory, which is made.
    pub directory: PathBuf,
    /// Take it also where memory may not suffice.
    pub force: bool,
    /// Replace what strings say.
    pub redact: bool,
}

/// Takes a snapshot, and as many more as `next` wants; it is called with the number of those taken, may wait, and says
/// whether another is wanted.
///
/// # Errors
/// If the process cannot be looked into, memory does not suffice, or a file cannot be written. What was taken before
/// stays.
pub fn take(
    wanted: &Take,
    cancel: &Cancel,
    next: &mut dyn FnMut(u32) -> bool,
) -> Result<Sheet, Error> {
    let process = Process::open(wanted.pid)?;
    std::fs::create_dir_all(&wanted.directory).map_err(|e| unwritable(&wanted.directory, &e))?;
    let options = HubOptions {
        sample_hz: 0.0,
        ..HubOptions::default()
    };
    if process.is_python() {
        return Err(Error::usage(
            format!(
                "process {} is Python, which has no heap snapshots",
                wanted.pid
            ),
            "`plimsoll check --pid` names what grows in it",
        ));
    }
    let hub = Hub::start(Instant::now(), &options)?;
    let attached = plimsoll_probe::attach(&process, &hub, &Cx::within(cancel, HELLO))
        .map_err(|why| refused(wanted.pid, &why.to_string()))?;
    let (mut runtime, heap_limit) = greeted(&hub, wanted.pid)?;
    let mut sheet = Sheet::new(
        "take",
        &[
            ("file", "file"),
            ("bytes", "size"),
            ("heap_used", "heap used"),
            ("seconds", "seconds"),
        ],
    );
    if let Way::Inspector { was_open: true, .. } = attached.way {
        sheet
            .notes
            .push("a debugger has the inspector open: it was shared, and left open".to_owned());
    }
    let mut taken = 0;
    loop {
        let cx = Cx::within(cancel, PATIENCE);
        let collected = runtime.collect(&cx)?;
        let heap_used = collected.get(&Metric::HEAP_USED).unwrap_or(0.0);
        let needed = plimsoll_probe::headroom_for_snapshot(heap_used as u64);
        let left = Room::of(Some(&process), heap_limit).left();
        if let Some(left) = left.filter(|left| *left < needed && !wanted.force) {
            return Err(no_headroom(heap_used, needed, left));
        }
        let begun = Instant::now();
        let path = free_name(&wanted.directory, wanted.pid);
        let bytes = write(runtime.as_mut(), &path, wanted.redact, &cx)?;
        taken += 1;
        sheet.rows.push(vec![
            object::relative(&path.to_string_lossy()).into(),
            Cell::Bytes(bytes),
            Cell::Bytes(heap_used as u64),
            Cell::Number((begun.elapsed().as_secs_f64() * 10.0).round() / 10.0),
        ]);
        if cancel.is_cancelled() || !next(taken) {
            return Ok(sheet);
        }
    }
}

/// The main isolate of the process, once its probe has said hello.
fn greeted(hub: &Hub, pid: u32) -> Result<(Box<dyn Runtime>, Option<u64>), Error> {
    let until = Instant::now() + HELLO;
    while let Ok(event) = hub.events().recv_deadline(until) {
        if let HubEvent::Up(isolate) = event
            && isolate.isolate == 0
            && isolate.process.pid == pid
        {
            return Ok((hub.runtime(&isolate), isolate.heap_limit));
        }
    }
    Err(refused(pid, "its probe did not say hello within 5 s"))
}

fn refused(pid: u32, why: &str) -> Error {
    Error::usage(
        format!("no snapshot of pid {pid}: {why}"),
        "`plimsoll check --keep-snapshots -- COMMAND` takes them of a process it starts itself",
    )
}

fn no_headroom(heap_used: f64, needed: u64, left: u64) -> Error {
    Error::usage(
        format!(
            "not taken: a snapshot of a heap of {} may take {} more, and {} are left",
            units::bytes(heap_used),
            units::bytes(needed as f64),
            units::bytes(left as f64)
        ),
        "raise the memory limit, or take it anyway with `--force-snapshot`",
    )
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::usage(
        format!("{} cannot be written: {error}", path.display()),
        "name another directory with `-o`",
    )
}

/// A name that no file has yet.
fn free_name(directory: &Path, pid: u32) -> PathBuf {
    let name = |n: u32| directory.join(format!("{pid}-{n}.heapsnapshot"));
    // A directory that is full of them is refused when the file is made.
    (1..u32::MAX)
        .map(name)
        .find(|path| !path.exists())
        .unwrap_or_else(|| name(u32::MAX))
}

/// Writes a snapshot; under its name stands a whole one or none.
fn write(runtime: &mut dyn Runtime, path: &Path, redact: bool, cx: &Cx) -> Result<u64, Error> {
    let partial = Partial::create(path.with_extension("partial"))?;
    let mut sink = Writing {
        file: io::BufWriter::new(partial.file.try_clone().map_err(|e| unwritable(path, &e))?),
    };
    runtime
        .capture(&EvidenceRequest::Snapshot, &mut sink, cx)
        .map_err(|error| match error {
            ProbeError::Io { source, .. } => unwritable(path, &source),
            error => error.into(),
        })?;
    drop(sink);
    if redact {
        super::redact(&partial.path, path)?;
    } else {
        std::fs::rename(&partial.path, path).map_err(|e| unwritable(path, &e))?;
    }
    std::fs::metadata(path)
        .map(|m| m.len())
        .map_err(|e| unwritable(path, &e))
}

/// A file that only we may read, gone again when dropped.
struct Partial {
    file: File,
    path: PathBuf,
}

impl Partial {
    fn create(path: PathBuf) -> Result<Self, Error> {
        let file = private_file(&path).map_err(|e| unwritable(&path, &e))?;
        Ok(Self { file, path })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Renamed already, as a rule.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Snapshots hold whatever the process holds: passwords, tokens, people.
pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

struct Writing {
    file: io::BufWriter<File>,
}

impl Sink for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
