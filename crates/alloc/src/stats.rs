//! What was counted, added up over all threads.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::region::{CLASSES, REGION, SHARDS, SHARED, Shard};
use crate::thread::TELL_BYTES;

/// What is counted in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// Totals: [`Counted`](crate::Counted) is installed.
    Totals,
    /// Totals, scopes, size classes and samples: [`Scoped`](crate::Scoped) is installed.
    Scopes,
}

/// Counts of blocks, of the process or of a scope.
///
/// Exact for everything that happened before the call; what other threads do during the call may be in it or not, in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes asked for in blocks that are alive. Negative only while threads are counted one after the other that
    /// allocate and free for each other.
    pub live_bytes: i64,
    /// Blocks that are alive.
    pub live_blocks: i64,
    /// Bytes allocated since the beginning. A block that changes its size counts as one that ends and one that begins.
    pub allocated_bytes: u64,
    /// Blocks allocated since the beginning.
    pub allocated_blocks: u64,
    /// The most `live_bytes` has been.
    pub peak: Peak,
}

impl Stats {
    /// What is alive: all that was allocated without what was freed.
    pub(crate) fn take_off(&mut self, freed_bytes: u64, freed_blocks: u64) {
        let alive = |allocated: u64, freed| allocated.wrapping_sub(freed).cast_signed();
        self.live_bytes = alive(self.allocated_bytes, freed_bytes);
        self.live_blocks = alive(self.allocated_blocks, freed_blocks);
    }
}

/// The most live bytes there have been, as exactly as it is known.
///
/// Of a scope in which one thread allocates and frees, exact. Of a scope of several threads, the sum of each thread's own
/// peak is the most it can be. Of the process, each thread tells what it holds after 64 KiB of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// It was no less.
    pub at_least: u64,
    /// It was no more.
    pub at_most: u64,
}

impl Peak {
    /// The peak, where it is known to the byte.
    pub fn exact(self) -> Option<u64> {
        (self.at_least == self.at_most).then_some(self.at_least)
    }
}

/// Blocks of one class of sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeClass {
    /// The smallest size in it, in bytes; 0 for the first, else a power of two. The next class begins at twice as much.
    pub from: u64,
    /// Blocks of it that are alive.
    pub live_blocks: i64,
    /// Blocks of it allocated since the beginning.
    pub allocated_blocks: u64,
}

/// What counts here; `None` where none of this crate's allocators has been asked for a block.
pub fn installed() -> Option<Level> {
    match REGION.head.level.load(Relaxed) {
        0 => None,
        1 => Some(Level::Totals),
        _ => Some(Level::Scopes),
    }
}

/// The shards that were ever used.
pub(crate) fn shards() -> impl Iterator<Item = &'static Shard> {
    let used = (REGION.head.shards_used.load(Acquire) as usize).min(SHARDS);
    REGION.shards[..used]
        .iter()
        .chain(std::iter::once(&REGION.shards[SHARED]))
}

/// Counts of the whole process.
pub fn stats() -> Stats {
    let (mut stats, mut freed_blocks, mut freed_bytes, mut seen) =
        (Stats::default(), 0_u64, 0_u64, 0);
    for shard in shards() {
        // Ends first: a block that ends in between is then seen alive rather than freed twice over.
        freed_bytes = freed_bytes.wrapping_add(shard.freed_bytes.load(Acquire));
        freed_blocks += shard.freed_blocks.load(Acquire);
        freed_blocks += shard.freed.iter().map(|c| c.load(Acquire)).sum::<u64>();
        seen += 1;
    }
    for shard in shards() {
        stats.allocated_bytes += shard.allocated_bytes.load(Acquire);
        stats.allocated_blocks += shard.allocated_blocks.load(Acquire);
        stats.allocated_blocks += shard.allocated.iter().map(|c| c.load(Acquire)).sum::<u64>();
    }
    stats.take_off(freed_bytes, freed_blocks);
    // Each thread may hold what it has not told, on either side of its gate.
    let untold = 2 * TELL_BYTES * seen;
    let (told, live) = (REGION.head.peak.load(Relaxed), stats.live_bytes);
    stats.peak = Peak {
        at_least: (told - untold).max(live).max(0) as u64,
        at_most: (told + untold).max(live).max(0) as u64,
    };
    stats
}

/// Blocks by size, smallest first, classes without any left out. Empty where [`Scoped`](crate::Scoped) is not installed.
/// Allocates only the iterator's result of whoever collects it.
pub fn size_classes() -> impl Iterator<Item = SizeClass> {
    (0..CLASSES).filter_map(|class| {
        let sum = |count: &dyn Fn(&Shard) -> u64| shards().map(count).sum::<u64>();
        let freed = sum(&|shard| shard.freed[class].load(Acquire));
        let allocated = sum(&|shard| shard.allocated[class].load(Acquire));
        (allocated > 0).then(|| SizeClass {
            from: if class == 0 { 0 } else { 1 << class },
            live_blocks: allocated.wrapping_sub(freed).cast_signed(),
            allocated_blocks: allocated,
        })
    })
}
