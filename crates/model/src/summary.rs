//! Runs as a list shows them.

use std::path::PathBuf;

use crate::{Metric, Ns, RunStatus, Unit, Verdict};

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunState {
    /// It has a document: it ended, well or not.
    Ended,
    /// Its writer is alive.
    Running,
    /// It has no document and no writer: it was killed. What its log holds can be read.
    Unfinished,
}

/// A run as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The name of its directory.
    pub id: String,
    /// Its directory.
    pub path: PathBuf,
    /// How far it got.
    pub state: RunState,
    /// Wall clock at its start, nanoseconds since 1970, if anything tells it.
    pub started_unix_ns: Option<u64>,
    /// What its document says about it; `None` if there is none that could be read.
    pub head: Option<RunHead>,
    /// Why its document could not be read.
    pub problem: Option<String>,
}

/// The beginning of a run document: what a list shows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunHead {
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// The verb: `check`.
    pub verb: String,
    /// Wall clock at the run's start, nanoseconds since 1970.
    pub started_unix_ns: u64,
    /// Length of the run.
    pub duration: Ns,
    /// How it ended.
    pub status: RunStatus,
    /// What the process exited with.
    pub exit_code: u8,
    /// The headline verdict.
    pub verdict: Option<Verdict>,
    /// What the headline is about, and its unit.
    pub headline: Option<(Metric, Unit)>,
    /// The subject's command; empty when attached.
    pub command: Vec<String>,
    /// What drove it, for people; `None` = nothing did.
    pub load: Option<String>,
    /// One operation, for people: `request`.
    pub operation_word: Option<String>,
}
