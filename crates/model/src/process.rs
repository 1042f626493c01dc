//! Processes and isolates: who is who in a subject.

use serde::{Deserialize, Serialize};

/// One process for ever: a pid alone can be reused, with its start time it cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
}

/// What a process does in the subject's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Owns the listening socket that answered, or is the command itself where nothing listens.
    Service,
    /// A descendant of the service that runs the same executable and script.
    Worker,
    /// Stands between the command line and the service: a shell, npm.
    Wrapper,
    /// Any other descendant.
    Other,
    /// No process of its own: the service and its workers, added up.
    Sum,
}

impl Role {
    /// The word for people and series.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Worker => "worker",
            Self::Wrapper => "wrapper",
            Self::Other => "other",
            Self::Sum => "sum",
        }
    }
}

/// A language runtime, as its probe says it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// `node`, `deno`, `bun`, `python`.
    pub name: String,
    /// Its version, e.g. `20.20.2`.
    pub version: String,
}

/// A process of the subject's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Which process.
    pub id: ProcessId,
    /// Its parent when first seen.
    pub parent: u32,
    /// What it does.
    pub role: Role,
    /// Path of the executable, if readable.
    pub executable: Option<String>,
    /// Its arguments.
    pub command: Vec<String>,
    /// The runtime whose probe answered from it.
    pub runtime: Option<RuntimeInfo>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

/// The usual name of a signal number on Linux.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// Index of a [`Source`] within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(pub u32);

/// Where samples come from: a process as seen from outside, or one isolate inside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its index; samples carry this.
    pub id: SourceId,
    /// The process.
    pub process: ProcessId,
    /// The thread of the runtime whose probe speaks; `None` = the process as the kernel sees it.
    pub isolate: Option<u32>,
    /// What the process does.
    pub role: Role,
}

impl std::fmt::Display for Source {
    /// Where a reading is from, in words: `worker pid 4121, thread 2`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.role {
            Role::Sum => f.write_str("all together"),
            role => {
                write!(f, "{} pid {}", role.as_str(), self.process.pid)?;
                match self.isolate {
                    None | Some(0) => Ok(()),
                    Some(thread) => write!(f, ", thread {thread}"),
                }
            }
        }
    }
}

/// What a driver is told about the subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectHandle {
    /// The service process.
    pub process: ProcessId,
}
