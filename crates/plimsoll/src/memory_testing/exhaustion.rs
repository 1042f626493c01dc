//! What a service does as memory runs out.
//!
//! The program is started once more with the same arguments (of a test harness, with the test that asks). When that process comes
//! to the same service it runs this scenario there, under a limit, and ends. It writes down each step before it takes it, so that
//! what it died of is known.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plimsoll_model::units;
use serde::{Deserialize, Serialize};

use super::apart::{Other, Whose};
use super::error::MemoryTestError;
use super::load::{Load, Work};
use super::results::{Exhaustion, MemoryTestResult};
use super::scenario::Order;
use super::service::ServiceType;
use super::sources::Sources;
use super::system;

/// The variable that tells a process that it is such a child.
pub(crate) const VARIABLE: &str = "PLIMSOLL_EXHAUSTION";
/// Payloads to begin with.
const SMALLEST: u64 = 256 * 1024;
/// What the child gets beyond the scenario's own time, to start and to end.
const START_AND_END: Duration = Duration::from_mins(1);
/// Lines kept of what it said.
const LAST_LINES: usize = 5;

/// What a child is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) service: ServiceType,
    path: PathBuf,
    room: u64,
    pub(crate) iterations: Option<u64>,
}

/// The job of this process, if it is such a child.
pub(crate) fn job() -> Option<Job> {
    serde_json::from_str(&std::env::var(VARIABLE).ok()?).ok()
}

/// One line of the journal.
#[derive(Debug, Serialize, Deserialize)]
enum Step {
    Unlimited(String),
    Trying(u64),
    Accepted(u64),
    Refused(u64, String),
    Recovered(bool),
    Finished(Box<MemoryTestResult>),
    NotRun(String),
}

/// Where a child writes down what it does.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    room: u64,
}

impl Journal {
    pub(crate) fn of(job: &Job) -> Self {
        Self {
            path: job.path.clone(),
            room: job.room,
        }
    }

    fn write(&self, step: &Step) {
        // Whoever cannot write leaves a shorter story, and the parent says so.
        let Ok(mut line) = serde_json::to_vec(step) else {
            return;
        };
        line.push(b'\n');
        if let Ok(mut file) = OpenOptions::new().append(true).open(&self.path) {
            let _ = file.write_all(&line);
        }
    }

    /// The last thing a child does.
    pub(crate) fn finish(&self, outcome: Result<MemoryTestResult, MemoryTestError>) {
        self.write(&match outcome {
            Ok(result) => Step::Finished(Box::new(result)),
            Err(error) => Step::NotRun(error.to_string()),
        });
    }
}

/// Ever larger payloads, each with the same room to do something with it, and ordinary operations after one was refused.
pub(crate) async fn climb(load: &mut Load, journal: &Journal, whose: &Whose) -> Option<Exhaustion> {
    let room = journal.room;
    let mut found = Exhaustion {
        room_bytes: room,
        largest_accepted_bytes: 0,
        refused: None,
        recovered: true,
        died: None,
    };
    let pid = whose.other().map(|other| other.pid);
    let used = system::status_bytes(&whose.proc(), "VmData");
    // What is twice as large as the room nobody can copy. What takes even that in reads it piece by piece.
    for bytes in std::iter::successors(Some(SMALLEST), |bytes| Some(2 * bytes)) {
        if bytes / 2 > 2 * room {
            break;
        }
        // The payload is ours, and does not take from the service's room.
        let _ = system::limit_data(pid, None);
        let Some(payload) = load.payload(bytes) else {
            break;
        };
        let limited = used.map_or_else(
            || Err("/proc does not tell what it has".to_owned()),
            |used| {
                // A payload that comes from another process takes from the service's room.
                let limit = used + room + if pid.is_none() { bytes } else { 0 };
                system::limit_data(pid, Some(limit)).map_err(|error| error.to_string())
            },
        );
        if let Err(why) = limited {
            journal.write(&Step::Unlimited(why));
            return None;
        }
        journal.write(&Step::Trying(bytes));
        tracing::debug!(phase = "exhaustion", bytes);
        match load.offer(payload).await {
            Ok(_) => {
                journal.write(&Step::Accepted(bytes));
                found.largest_accepted_bytes = bytes;
            }
            Err(said) => {
                if let Some(ended) = whose.other().and_then(Other::ended) {
                    let at = units::bytes(bytes as f64);
                    found.died = Some(format!("it {} on a payload of {at}", how(ended)));
                    found.recovered = false;
                    return Some(found);
                }
                journal.write(&Step::Refused(bytes, said.clone()));
                found.refused = Some((bytes, said));
                break;
            }
        }
    }
    load.settle().await;
    for kind in load.kinds().to_vec() {
        found.recovered &= load.alone(Work::Operations, Some(kind)).await;
    }
    journal.write(&Step::Recovered(found.recovered));
    // What follows is our own: to name lines takes more than a service may have.
    let _ = system::limit_data(pid, None);
    Some(found)
}

/// A file in the folder for such, gone when this is.
struct Scratch(PathBuf);

impl Scratch {
    fn create(end: &str) -> std::io::Result<(Self, File)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("plimsoll-{}-{number}.{end}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok((Self(path), file))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Has a child run the scenario; what it found, or how it died.
pub(crate) async fn in_child(order: &Order<'_>) -> Result<MemoryTestResult, MemoryTestError> {
    let service = order.known.service_type();
    let no_child = |why: String| MemoryTestError::NoChild {
        service: service.to_string(),
        why,
    };
    let scratch = |end| Scratch::create(end).map_err(|error| no_child(error.to_string()));
    let ((journal, _), (output, errors)) = (scratch("jsonl")?, scratch("err")?);
    let room = order.config.load_testing.large_data_size_bytes;
    let job = Job {
        service: service.clone(),
        path: journal.0.clone(),
        room,
        iterations: order.data.iterations,
    };
    let job = serde_json::to_string(&job).map_err(|error| no_child(error.to_string()))?;
    let program = std::env::current_exe().map_err(|error| no_child(error.to_string()))?;
    let mut command = Command::new(program);
    command
        .args(arguments())
        .env(VARIABLE, job)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors);
    tracing::debug!(phase = "child", room);
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| no_child(error.to_string()))?;
    let patience = order.planned() + START_AND_END;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break how(status),
            Ok(None) if begun.elapsed() < patience => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                break format!("did not end within {patience:?}");
            }
            Err(error) => return Err(no_child(error.to_string())),
        }
    };
    let steps = read(&journal.0);
    let said = last_lines(&output.0);
    told(order, room, steps, &ended, &said, begun.elapsed())
}

/// Those of this process, unless a test harness called: then those that lead to the same test.
fn arguments() -> Vec<std::ffi::OsString> {
    let test = crate::verdict::name_of_test().filter(|name| !name.starts_with("tokio-"));
    match test {
        Some(test) => vec![test.into(), "--exact".into(), "--nocapture".into()],
        None => std::env::args_os().skip(1).collect(),
    }
}

fn told(
    order: &Order<'_>,
    room: u64,
    steps: Vec<Step>,
    ended: &str,
    said: &str,
    duration: Duration,
) -> Result<MemoryTestResult, MemoryTestError> {
    let service = order.known.service_type();
    let no_child = |why: String| MemoryTestError::NoChild {
        service: service.to_string(),
        why,
    };
    let mut found = Exhaustion {
        room_bytes: room,
        largest_accepted_bytes: 0,
        refused: None,
        recovered: false,
        died: None,
    };
    let mut on = None;
    let mut is_limited = false;
    for step in steps {
        match step {
            Step::Unlimited(why) => {
                return Err(no_child(format!("its memory cannot be limited: {why}")));
            }
            Step::Trying(bytes) => {
                is_limited = true;
                on = Some(bytes);
            }
            Step::Accepted(bytes) => {
                found.largest_accepted_bytes = bytes;
                on = None;
            }
            Step::Refused(bytes, said) => {
                found.refused = Some((bytes, said));
                on = None;
            }
            Step::Recovered(recovered) => found.recovered = recovered,
            Step::Finished(result) => return Ok(*result),
            Step::NotRun(why) => return Err(no_child(why)),
        }
    }
    if !is_limited {
        return Err(no_child(format!(
            "it {ended} before it came to the service{said}"
        )));
    }
    let at = on.map_or("after the payloads".to_owned(), |bytes| {
        format!("on a payload of {}", units::bytes(bytes as f64))
    });
    found.died = Some(format!("it {ended} {at}{said}"));
    let mut result = MemoryTestResult::failed(
        service,
        order.scenario,
        order.planned(),
        format!("the process {ended} {at}: nothing could be measured any more"),
    );
    result.duration = duration;
    result.exhaustion = Some(found);
    result.conclude(order.config, &Sources::default());
    Ok(result)
}

fn read(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may have been cut off by the end.
    let lines = text.lines().map(serde_json::from_str);
    lines.map_while(Result::ok).collect()
}

fn last_lines(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
    if last.is_empty() {
        return String::new();
    }
    format!(", and said: {}", last.join(" / "))
}

#[cfg(unix)]
fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was {}", plimsoll_model::Exit::Signal(signal)),
        (None, code) => format!("exited with {}", code.unwrap_or_default()),
    }
}

#[cfg(not(unix))]
fn how(status: ExitStatus) -> String {
    format!("exited with {}", status.code().unwrap_or_default())
}
