//! Where all counts lie: one piece of memory with a fixed layout, of nothing but atomic numbers.
//!
//! Every allocating thread writes a [`Shard`] of its own, so no count is ever a locked instruction; who reads adds up the
//! shards. A shard holds a [`Row`] per scope, so the same is true of scopes. Nothing is ever allocated: the region is a
//! static of zeros, of which the kernel gives memory only to the pages that are used.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

/// "PLIMSREG", as a little-endian number.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"PLIMSREG");
/// Grows with every change of the layout.
pub(crate) const VERSION: u32 = 1;
/// Mean bytes between two samples in a process that publishes, until something else is asked for.
pub const SAMPLED_EVERY: u64 = 512 * 1024;
/// Scopes that can be open at once; number 0 is "no scope".
pub(crate) const SCOPES: usize = if cfg!(miri) { 16 } else { 1024 };
/// Threads that can allocate at once with a shard of their own. Further ones share [`SHARED`], by locked instructions
/// and without samples.
pub(crate) const SHARDS: usize = if cfg!(miri) { 8 } else { 256 };
/// The shard of everybody without one.
pub(crate) const SHARED: usize = SHARDS;
/// Size classes: class `c` holds sizes from 2^c to below 2^(c+1); 0 and 1 are in class 0.
pub(crate) const CLASSES: usize = 64;
/// Sampled blocks that can be alive at once.
pub(crate) const SAMPLES: usize = if cfg!(miri) { 16 } else { 8192 };
/// Different stacks that can be kept.
pub(crate) const STACKS: usize = if cfg!(miri) { 16 } else { 2048 };
/// Deepest frames kept of a stack.
pub(crate) const FRAMES: usize = 46;
/// Longest name of a scope, in bytes; longer ones are cut.
pub(crate) const NAME: usize = 88;

/// Everything.
#[repr(C, align(4096))]
pub(crate) struct Region {
    pub(crate) head: Head,
    pub(crate) slots: [Slot; SCOPES],
    pub(crate) samples: [Sample; SAMPLES],
    pub(crate) stacks: [Stack; STACKS],
    pub(crate) shards: [Shard; SHARDS + 1],
}

/// What belongs to the process as a whole.
#[repr(C, align(64))]
pub(crate) struct Head {
    /// What the file is, where the region is published in one: see `publish`.
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU32,
    pub(crate) region_bytes: AtomicU64,
    /// Live bytes as of the last time each thread told; for the peak only.
    pub(crate) told: AtomicI64,
    /// The most `told` has been.
    pub(crate) peak: AtomicI64,
    /// What counts: 0 nothing, 1 totals only, 2 scopes too.
    pub(crate) level: AtomicU32,
    /// Shards that were ever used.
    pub(crate) shards_used: AtomicU32,
    /// Slots that were ever used.
    pub(crate) slots_used: AtomicU32,
    /// Mean bytes between two samples where the scope asks for nothing else; 0 = none.
    pub(crate) sample_every: AtomicU64,
    /// Samples not kept because a table was full.
    pub(crate) dropped: AtomicU64,
    /// Where the search for a free sample begins.
    pub(crate) next_sample: AtomicU32,
}

/// A scope.
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// The tag of the scope that is open here; 0 = none.
    pub(crate) tag: AtomicU64,
    /// How often a scope was opened here; part of its tag, so that no tag occurs twice.
    pub(crate) generation: AtomicU64,
    /// Handles and running futures that hold the scope.
    pub(crate) holders: AtomicU32,
    pub(crate) name_bytes: AtomicU32,
    /// Tag of the scope in which it was opened.
    pub(crate) parent: AtomicU64,
    /// Mean bytes between two samples; 0 = as everywhere.
    pub(crate) sample_every: AtomicU64,
    pub(crate) name: [AtomicU64; NAME / 8],
}

/// What one thread counts.
#[repr(C, align(64))]
pub(crate) struct Shard {
    pub(crate) allocated_bytes: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    /// Blocks, where no size classes are kept.
    pub(crate) allocated_blocks: AtomicU64,
    pub(crate) freed_blocks: AtomicU64,
    /// Live bytes that this shard has told to the head.
    pub(crate) told: AtomicI64,
    /// 1 while a thread has it.
    pub(crate) taken: AtomicU32,
    pub(crate) allocated: [AtomicU64; CLASSES],
    pub(crate) freed: [AtomicU64; CLASSES],
    pub(crate) rows: [Row; SCOPES],
}

/// What one thread counts of one scope.
#[repr(C, align(64))]
pub(crate) struct Row {
    /// The scope these counts are of. Another tag means that they are of a scope that has ended.
    pub(crate) tag: AtomicU64,
    pub(crate) allocated_bytes: AtomicU64,
    pub(crate) freed_bytes: AtomicU64,
    pub(crate) allocated_blocks: AtomicU64,
    pub(crate) freed_blocks: AtomicU64,
    /// The most that `allocated_bytes - freed_bytes` of this row has been.
    pub(crate) peak: AtomicI64,
}

/// A sampled block that is alive.
#[repr(C, align(64))]
pub(crate) struct Sample {
    /// Address of the block; 0 = free, 1 = being filled.
    pub(crate) block: AtomicU64,
    pub(crate) size: AtomicU64,
    pub(crate) tag: AtomicU64,
    /// Mean bytes between two samples when it was taken.
    pub(crate) every: AtomicU64,
    /// Nanoseconds since the first sample.
    pub(crate) born_ns: AtomicU64,
    /// Number of its stack.
    pub(crate) stack: AtomicU32,
}

/// A stack, innermost frame first.
#[repr(C, align(64))]
pub(crate) struct Stack {
    /// Hash of the frames; 0 = free.
    pub(crate) hash: AtomicU64,
    /// Frames, stored after the last of them; 0 = being filled.
    pub(crate) depth: AtomicU64,
    pub(crate) frames: [AtomicU64; FRAMES],
}

/// The one region of the process.
pub(crate) static REGION: Region = Region {
    head: Head {
        magic: AtomicU64::new(0),
        version: AtomicU32::new(0),
        region_bytes: AtomicU64::new(0),
        told: AtomicI64::new(0),
        peak: AtomicI64::new(0),
        level: AtomicU32::new(0),
        shards_used: AtomicU32::new(0),
        slots_used: AtomicU32::new(0),
        sample_every: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        next_sample: AtomicU32::new(0),
    },
    slots: [const {
        Slot {
            tag: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            holders: AtomicU32::new(0),
            name_bytes: AtomicU32::new(0),
            parent: AtomicU64::new(0),
            sample_every: AtomicU64::new(0),
            name: [const { AtomicU64::new(0) }; NAME / 8],
        }
    }; SCOPES],
    samples: [const {
        Sample {
            block: AtomicU64::new(0),
            size: AtomicU64::new(0),
            tag: AtomicU64::new(0),
            every: AtomicU64::new(0),
            born_ns: AtomicU64::new(0),
            stack: AtomicU32::new(0),
        }
    }; SAMPLES],
    stacks: [const {
        Stack {
            hash: AtomicU64::new(0),
            depth: AtomicU64::new(0),
            frames: [const { AtomicU64::new(0) }; FRAMES],
        }
    }; STACKS],
    shards: [const { Shard::new() }; SHARDS + 1],
};

impl Shard {
    #[expect(
        clippy::large_stack_arrays,
        reason = "made by the compiler, for a static of zeros"
    )]
    const fn new() -> Self {
        Self {
            allocated_bytes: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            allocated_blocks: AtomicU64::new(0),
            freed_blocks: AtomicU64::new(0),
            told: AtomicI64::new(0),
            taken: AtomicU32::new(0),
            allocated: [const { AtomicU64::new(0) }; CLASSES],
            freed: [const { AtomicU64::new(0) }; CLASSES],
            rows: [const {
                Row {
                    tag: AtomicU64::new(0),
                    allocated_bytes: AtomicU64::new(0),
                    freed_bytes: AtomicU64::new(0),
                    allocated_blocks: AtomicU64::new(0),
                    freed_blocks: AtomicU64::new(0),
                    peak: AtomicI64::new(0),
                }
            }; SCOPES],
        }
    }

    /// Live bytes as this shard alone sees them: negative where its thread frees what others allocated.
    pub(crate) fn live(&self) -> i64 {
        self.allocated_bytes
            .load(Relaxed)
            .wrapping_sub(self.freed_bytes.load(Relaxed))
            .cast_signed()
    }
}

/// The class of a size.
#[inline]
pub(crate) fn class(size: usize) -> usize {
    (size | 1).ilog2() as usize & (CLASSES - 1)
}

/// Adds to a count that only one thread writes: no locked instruction.
#[inline]
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// What stands behind a block: which scope owns it, and which sample it is, if it is one.
///
/// From the low end: slot, generation, sample + 1. The trailer of a block that is no sample equals the tag of its scope,
/// so that one comparison in the fast path tells the usual case from all others.
pub(crate) mod tag {
    use super::SCOPES;

    const SLOT_BITS: u32 = 10;
    const SAMPLE_AT: u32 = 42;
    const GENERATIONS: u64 = (1 << (SAMPLE_AT - SLOT_BITS)) - 1;

    /// The tag of a scope; never 0, because generations begin at 1.
    pub(crate) fn of(slot: usize, generation: u64) -> u64 {
        ((generation % GENERATIONS + 1) << SLOT_BITS) | slot as u64
    }

    /// The slot of a tag or trailer. In range whatever the number, even where a program has written past its block.
    #[inline]
    pub(crate) fn slot(trailer: u64) -> usize {
        trailer as usize & (SCOPES - 1)
    }

    /// The scope of a trailer.
    pub(crate) fn scope(trailer: u64) -> u64 {
        trailer & ((1 << SAMPLE_AT) - 1)
    }

    /// The sample of a trailer.
    pub(crate) fn sample(trailer: u64) -> Option<usize> {
        ((trailer >> SAMPLE_AT) as usize).checked_sub(1)
    }

    /// The trailer of a sampled block.
    pub(crate) fn with_sample(scope: u64, sample: usize) -> u64 {
        scope | (sample as u64 + 1) << SAMPLE_AT
    }
}
