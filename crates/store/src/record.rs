//! What a log is made of.

use plimsoll_model::{Exit, Ns, ProcessId, ProcessInfo, RoundRecord, Sample, Source, SourceId};
use serde::{Deserialize, Serialize};

/// One entry of the log. Samples and collections may be dropped when the writer cannot keep up, and are then counted
/// in a [`Record::Drops`]; nothing else is ever dropped.
///
/// All but the samples, which have columns of their own, are written as JSON: a later version can add fields, and a
/// reader can skip what it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// A new source of samples.
    Source(Source),
    /// One reading.
    #[serde(skip)]
    Sample(Sample),
    /// A point in the run: a phase or round begins or ends.
    Mark {
        /// When.
        at: Ns,
        /// Which.
        what: String,
    },
    /// From here on something was not observed. Never interpolated.
    Gap {
        /// When.
        at: Ns,
        /// What is missing.
        what: String,
        /// Why.
        why: String,
    },
    /// A process of the subject's tree was first seen, or told more about itself.
    Process {
        /// When.
        at: Ns,
        /// Which, and what is known of it.
        process: Box<ProcessInfo>,
    },
    /// A process of the subject's tree ended.
    Exit {
        /// When.
        at: Ns,
        /// Which.
        process: ProcessId,
        /// How, if we were told.
        exit: Option<Exit>,
    },
    /// The runtime collected garbage by itself.
    Collection {
        /// When it ended.
        at: Ns,
        /// In which isolate.
        source: SourceId,
        /// The runtime's name for it: `scavenge`, `mark-sweep-compact`.
        kind: String,
        /// How long it paused the isolate, in nanoseconds.
        pause_ns: u64,
        /// Heap used before it, in bytes.
        before: Option<u64>,
        /// Heap used after it, in bytes.
        after: Option<u64>,
    },
    /// A round was measured.
    Round(Box<RoundRecord>),
    /// What the wall clock said, in nanoseconds since 1970.
    Clock {
        /// When.
        at: Ns,
        /// The wall clock.
        unix_ns: u64,
    },
    /// Records that may be dropped were, since the last such record.
    Drops {
        /// When it was noticed.
        at: Ns,
        /// How many.
        count: u64,
    },
}

/// Names of the records that are written as JSON, to tell a damaged record from one of a later version.
pub(crate) const EVENT_NAMES: [&str; 9] = [
    "source",
    "mark",
    "gap",
    "process",
    "exit",
    "collection",
    "round",
    "clock",
    "drops",
];

impl Record {
    /// When it happened, if it says so.
    pub fn at(&self) -> Option<Ns> {
        match self {
            Self::Source(_) => None,
            Self::Sample(sample) => Some(sample.at),
            Self::Round(round) => Some(round.end),
            Self::Mark { at, .. }
            | Self::Gap { at, .. }
            | Self::Process { at, .. }
            | Self::Exit { at, .. }
            | Self::Collection { at, .. }
            | Self::Clock { at, .. }
            | Self::Drops { at, .. } => Some(*at),
        }
    }

    /// Whether it may be dropped (and counted) when the writer cannot keep up.
    pub(crate) fn may_be_dropped(&self) -> bool {
        matches!(self, Self::Sample(_) | Self::Collection { .. })
    }
}
