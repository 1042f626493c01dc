//! What this process says of its memory.

use std::fs;
use std::path::Path;

use crate::meter::{Source, resident};

/// One look at the process. What is not known is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessReading {
    /// What the budget of the process is about: live bytes where an allocator of ours counts them, else resident anonymous
    /// memory.
    pub total_bytes: Option<u64>,
    /// What growth is about; the same.
    pub live_bytes: Option<u64>,
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Resident memory in percent of the control group's limit; `None` where there is no limit.
    pub heap_full_percent: Option<f64>,
}

/// Reads the process, by the best there is in it.
pub(super) fn read(limit: Option<u64>) -> (ProcessReading, Source) {
    let resident = resident();
    let (total_bytes, source) = match (plimsoll_alloc::installed(), resident) {
        (Some(_), _) => {
            let live = plimsoll_alloc::stats().live_bytes;
            (Some(live.max(0).cast_unsigned()), Source::Process)
        }
        (None, Some(resident)) => (Some(resident.anonymous_bytes), Source::Resident),
        (None, None) => (None, Source::Nothing),
    };
    let resident_bytes = resident.map(|resident| resident.bytes);
    let of_limit = |bytes: u64| Some(100.0 * bytes as f64 / limit? as f64);
    let reading = ProcessReading {
        total_bytes,
        live_bytes: total_bytes,
        resident_bytes,
        heap_full_percent: resident_bytes.and_then(of_limit),
    };
    (reading, source)
}

/// The least limit of memory of this process's control group and those above it (version 2).
pub(super) fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = Path::new("/sys/fs/cgroup").join(own);
    let above = own
        .ancestors()
        .filter(|group| group.starts_with("/sys/fs/cgroup"));
    // A group without a limit says `max`, the root has no such file.
    let limits = above.filter_map(|group| {
        fs::read_to_string(group.join("memory.max"))
            .ok()?
            .trim()
            .parse()
            .ok()
    });
    limits.filter(|limit| *limit > 0).min()
}
