//! Names of what is measured, with their units and their part in the verdict.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A named quantity. The fixed ones are constants; counted kinds make their own with [`Metric::counted`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metric(Cow<'static, str>);

/// The unit of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
    /// Seconds.
    Seconds,
}

/// What a metric is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// Its verdict counts.
    Judged,
    /// Its growth raises the run to inconclusive: "growth outside the heap".
    Guard,
    /// Shown, never judged.
    Context,
}

/// The family of a heap's parts: `space/old_space` is bytes, not a count.
const SPACES: &str = "space";

impl Metric {
    /// Heap used + external after a forced collection: the headline of a driven run with a probe.
    pub const LIVE_BYTES: Self = Self(Cow::Borrowed("live_bytes"));
    /// Bytes the runtime's heap says it uses.
    pub const HEAP_USED: Self = Self(Cow::Borrowed("heap_used"));
    /// Bytes the runtime's heap has reserved.
    pub const HEAP_TOTAL: Self = Self(Cow::Borrowed("heap_total"));
    /// Bytes of the runtime's heap that are resident: what of its reservation was ever touched.
    pub const HEAP_PHYSICAL: Self = Self(Cow::Borrowed("heap_physical"));
    /// Off-heap bytes owned by heap objects, array buffers included.
    pub const EXTERNAL: Self = Self(Cow::Borrowed("external"));
    /// Bytes in array buffers (a part of `external`).
    pub const ARRAY_BUFFERS: Self = Self(Cow::Borrowed("array_buffers"));
    /// Heap used right after a collection the runtime made by itself.
    pub const HEAP_USED_AFTER_GC: Self = Self(Cow::Borrowed("heap_used_after_gc"));
    /// Resident set size.
    pub const RSS: Self = Self(Cow::Borrowed("rss"));
    /// Resident anonymous pages: what a leak can grow.
    pub const RSS_ANON: Self = Self(Cow::Borrowed("rss_anon"));
    /// Resident pages of mapped files.
    pub const RSS_FILE: Self = Self(Cow::Borrowed("rss_file"));
    /// Resident shared memory.
    pub const RSS_SHMEM: Self = Self(Cow::Borrowed("rss_shmem"));
    /// Largest resident set so far.
    pub const RSS_PEAK: Self = Self(Cow::Borrowed("rss_peak"));
    /// Swapped-out bytes.
    pub const SWAP: Self = Self(Cow::Borrowed("swap"));
    /// `RssAnon` less the resident part of the runtime's own heap and external: growth nobody inside the runtime can see.
    pub const OUTSIDE_HEAP: Self = Self(Cow::Borrowed("outside_heap"));
    /// Threads.
    pub const THREADS: Self = Self(Cow::Borrowed("threads"));
    /// Open descriptors.
    pub const DESCRIPTORS: Self = Self(Cow::Borrowed("descriptors"));
    /// CPU time used, user and system.
    pub const CPU_SECONDS: Self = Self(Cow::Borrowed("cpu_seconds"));
    /// Minor page faults.
    pub const MINOR_FAULTS: Self = Self(Cow::Borrowed("minor_faults"));
    /// Major page faults.
    pub const MAJOR_FAULTS: Self = Self(Cow::Borrowed("major_faults"));
    /// Resident anonymous pages of all processes of the subject together.
    pub const RSS_ANON_SUM: Self = Self(Cow::Borrowed("rss_anon_sum"));
    /// Collections the runtime made by itself so far.
    pub const GC_COUNT: Self = Self(Cow::Borrowed("gc_count"));
    /// Time they took.
    pub const GC_SECONDS: Self = Self(Cow::Borrowed("gc_seconds"));
    /// Memory charged to the control group, file cache included.
    pub const CGROUP_USAGE: Self = Self(Cow::Borrowed("cgroup_usage"));
    /// The same without what the kernel would drop first.
    pub const CGROUP_WORKING_SET: Self = Self(Cow::Borrowed("cgroup_working_set"));
    /// How often the control group was slowed down at its `high`.
    pub const CGROUP_HIGH_EVENTS: Self = Self(Cow::Borrowed("cgroup_high_events"));
    /// How often the control group met its hard limit.
    pub const CGROUP_LIMIT_EVENTS: Self = Self(Cow::Borrowed("cgroup_limit_events"));
    /// Processes of the control group that the kernel killed for want of memory.
    pub const CGROUP_OOM_KILLS: Self = Self(Cow::Borrowed("cgroup_oom_kills"));
    /// Time in which some process of the control group waited for memory.
    pub const MEMORY_STALL_SECONDS: Self = Self(Cow::Borrowed("memory_stall_seconds"));
    /// Operations completed.
    pub const OPERATIONS: Self = Self(Cow::Borrowed("operations"));

    /// A counted kind within a family: `listeners` of `Server:request`, `descriptors` of `socket`.
    pub fn counted(family: &str, kind: &str) -> Self {
        Self(Cow::Owned(format!("{family}/{kind}")))
    }

    /// A metric by its name, as read from a file. One of the fixed ones is the constant, which costs nothing to clone.
    pub fn named<'n>(name: impl Into<Cow<'n, str>>) -> Self {
        let name = name.into();
        match FIXED.iter().find(|fixed| fixed.0 == name) {
            Some(fixed) => fixed.clone(),
            None => Self(Cow::Owned(name.into_owned())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Family and kind of a counted metric.
    pub fn as_counted(&self) -> Option<(&str, &str)> {
        self.0
            .split_once('/')
            .filter(|(family, _)| *family != SPACES)
    }

    /// The unit. Names that are not ours count things unless they say bytes.
    pub fn unit(&self) -> Unit {
        match self.0.as_ref() {
            "cpu_seconds" | "gc_seconds" | "memory_stall_seconds" => Unit::Seconds,
            "threads"
            | "descriptors"
            | "minor_faults"
            | "major_faults"
            | "operations"
            | "gc_count"
            | "cgroup_high_events"
            | "cgroup_limit_events"
            | "cgroup_oom_kills" => Unit::Count,
            _ if self.as_counted().is_some() => Unit::Count,
            _ => Unit::Bytes,
        }
    }
}

/// All that have a constant.
static FIXED: [Metric; 29] = [
    Metric::LIVE_BYTES,
    Metric::HEAP_USED,
    Metric::HEAP_TOTAL,
    Metric::HEAP_PHYSICAL,
    Metric::EXTERNAL,
    Metric::ARRAY_BUFFERS,
    Metric::HEAP_USED_AFTER_GC,
    Metric::RSS,
    Metric::RSS_ANON,
    Metric::RSS_FILE,
    Metric::RSS_SHMEM,
    Metric::RSS_PEAK,
    Metric::SWAP,
    Metric::OUTSIDE_HEAP,
    Metric::THREADS,
    Metric::DESCRIPTORS,
    Metric::CPU_SECONDS,
    Metric::MINOR_FAULTS,
    Metric::MAJOR_FAULTS,
    Metric::RSS_ANON_SUM,
    Metric::GC_COUNT,
    Metric::GC_SECONDS,
    Metric::CGROUP_USAGE,
    Metric::CGROUP_WORKING_SET,
    Metric::CGROUP_HIGH_EVENTS,
    Metric::CGROUP_LIMIT_EVENTS,
    Metric::CGROUP_OOM_KILLS,
    Metric::MEMORY_STALL_SECONDS,
    Metric::OPERATIONS,
];

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
