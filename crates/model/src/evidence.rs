//! What runtimes can be asked, and what they answer.

use std::io;

use serde::{Deserialize, Serialize};

use crate::{Metric, Ns, Outcome, RuntimeInfo, Verdict};

/// What an isolate can and cannot answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The runtime.
    pub runtime: RuntimeInfo,
    /// Operations of the protocol it answers.
    pub operations: Vec<String>,
    /// What it cannot answer, and why.
    pub gaps: Vec<Gap>,
}

/// Something that could not be observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// A point in a run that a runtime is told about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mark {
    /// A round starts.
    RoundStart(u32),
    /// A round ended.
    RoundEnd(u32),
    /// The windows of an explanation begin: what is too dear for every round may be counted until they end.
    ExplanationStart,
    /// They ended.
    ExplanationEnd,
}

/// Live bytes after a forced collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Collected {
    /// When the readings were taken.
    pub at: Ns,
    /// Readings after the collection; always holds [`Metric::LIVE_BYTES`].
    pub values: Vec<(Metric, f64)>,
    /// Collections it took until two readings agreed.
    pub passes: u32,
    /// Whether two readings did agree.
    pub settled: bool,
    /// Time the isolate spent on it, in nanoseconds.
    pub pause_ns: u64,
}

impl Collected {
    /// One of the readings.
    pub fn get(&self, metric: &Metric) -> Option<f64> {
        self.values
            .iter()
            .find(|(m, _)| m == metric)
            .map(|&(_, v)| v)
    }
}

/// What a census counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scope {
    /// What can be counted cheaply after a collection: listeners by emitter, timers, active resources.
    Resources,
    /// Of those only what takes no look at the whole heap: active resources and handles.
    Handles,
    /// Live objects by class, and from the second time on the functions that allocated what is alive: dearer, and no
    /// copy of the heap is made.
    Classes,
}

/// How a figure was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Counted, every one.
    Exact,
    /// Sampled and scaled up.
    Sampled,
    /// Estimated.
    Estimated,
}

/// Live count and bytes by kind, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// When.
    pub at: Ns,
    /// How it was obtained.
    pub method: Method,
    /// One row per kind, sorted by family and kind.
    pub rows: Vec<CensusRow>,
    /// Time the isolate spent on it, in nanoseconds.
    pub pause_ns: u64,
}

/// One kind in a census.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CensusRow {
    /// `listeners`, `timers`, `resources`, `descriptors`.
    pub family: String,
    /// The kind within its family: `Server:request`, `Timeout`, `TCPSocketWrap`.
    pub kind: String,
    /// How many live.
    pub count: u64,
    /// Their bytes, if known.
    pub bytes: Option<u64>,
}

/// A moment at which evidence may be captured, all of them after the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Window {
    /// The collected state after the last judged round.
    Baseline,
    /// N operations later.
    PlusN,
    /// 2N operations later.
    Plus2N,
    /// After idling and collecting.
    Final,
}

impl Window {
    /// All windows in the order in which they come.
    pub const ALL: [Self; 4] = [Self::Baseline, Self::PlusN, Self::Plus2N, Self::Final];
}

/// Evidence an explainer wants captured.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvidenceRequest {
    /// Count live kinds.
    Census(Scope),
    /// A heap snapshot, in the runtime's own format.
    Snapshot,
    /// The scripts that are loaded, with their source maps, as a JSON list.
    Scripts,
    /// Begin to sample who allocates.
    SampleAllocations,
    /// Who allocated what was made since then and is still there, as a JSON list of stacks; sampling ends.
    Allocations,
}

/// Where the bytes of evidence go.
pub trait Sink {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they cannot be kept, or make no sense; the capture then ends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// All bytes have come.
    ///
    /// # Errors
    /// If they make no whole.
    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The receipt of captured evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// When it was complete.
    pub at: Ns,
    /// Bytes that went into the sink.
    pub bytes: u64,
    /// What is worth telling about how it was captured.
    pub note: Option<String>,
}

/// What an explainer knows: verdicts, operations, and counts at the windows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// Verdicts by metric name.
    pub verdicts: Vec<(Metric, Verdict)>,
    /// Operations completed at each window that was reached. Where kinds of operation were driven alone one after the
    /// other, those of each of them.
    pub operations: Vec<(Window, u64)>,
    /// Growth of live bytes per operation in the windows, where they drove something else than what was judged.
    pub rate: Option<f64>,
    /// Censuses at each window.
    pub censuses: Vec<(Window, Census)>,
    /// Where several share the work: live bytes, at each window, of the one that is looked into.
    pub part: Vec<(Window, f64)>,
    /// Where several processes share the work: operations that the one that is looked into has answered since the first
    /// window, at each window.
    pub answered: Vec<(Window, u64)>,
    /// What a native program held at each window, by the stacks that allocated it. [`Window::Final`] alone where it ended before
    /// it could be explained.
    pub native: Vec<(Window, NativeHeap)>,
}

/// What a native program holds at one moment, as far as its allocator says whose it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NativeHeap {
    /// Blocks that were sampled, by the stack that allocated them.
    pub stacks: Vec<NativeStack>,
    /// What is counted to the program's own scopes, exactly.
    pub scopes: Vec<NativeScope>,
}

/// Blocks that one stack allocated, and that are alive.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NativeStack {
    /// Its lines, innermost first.
    pub lines: Vec<CodeLine>,
    /// The scope that owns them, if any.
    pub scope: Option<String>,
    /// How many the samples stand for.
    pub blocks: f64,
    /// Their bytes.
    pub bytes: f64,
    /// When each sample was allocated, in nanoseconds since the first of the program, in order.
    pub born_ns: Vec<u64>,
}

/// A line of code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CodeLine {
    /// The function.
    pub function: String,
    /// `src/store.rs:14`, if known.
    pub place: Option<String>,
    /// Whether it is in the program itself, and not in a library of somebody else's.
    pub own: bool,
}

/// What a scope holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeScope {
    /// Its name.
    pub name: String,
    /// Bytes alive.
    pub bytes: i64,
    /// Blocks alive.
    pub blocks: i64,
}

impl Facts {
    /// What is to be explained, if anything is: growth of live bytes in the windows, in bytes per operation.
    #[must_use]
    pub fn bytes_per_operation(&self) -> Option<f64> {
        let of_verdict = || {
            let (_, verdict) = self
                .verdicts
                .iter()
                .find(|(metric, _)| *metric == Metric::LIVE_BYTES)?;
            let growth = verdict.growth.as_ref()?;
            growth
                .per_operation
                .filter(|_| verdict.outcome == Outcome::Leak)
        };
        self.rate.or_else(of_verdict)
    }
}
