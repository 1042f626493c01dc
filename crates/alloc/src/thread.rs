//! What a thread knows of itself, and the paths that count.
//!
//! The fast paths are a load of the thread's shard, additions to it, and a branch that is hardly ever taken. That branch
//! covers everything rare at once: a thread without a shard, the peak of the process, a sample that is due.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::region::{REGION, Row, SHARDS, SHARED, Shard, add, class, tag};
use crate::sample;

/// Bytes after which a thread tells the process what it holds: the peak is known to so many bytes per thread.
pub(crate) const TELL_BYTES: i64 = 64 * 1024;
/// Scopes one inside another on a thread.
const DEPTH: usize = 64;

/// A side of the gate that does not open: what passes is subtracted from it, and it takes 2^62 bytes to bring it around.
const CLOSED: i64 = i64::MIN / 2;

/// Where the counts of a thread go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    /// Nowhere yet.
    Unborn,
    /// Into a shard of its own.
    Own,
    /// Into the shard that is shared: all others are taken, or the thread is ending.
    Shared,
}

struct Thread {
    /// Bytes that may be allocated, and freed, until something is due. Both are [`CLOSED`] while there is no own shard.
    to_allocate: Cell<i64>,
    to_free: Cell<i64>,
    /// The own shard; null without one.
    shard: Cell<*const Shard>,
    /// The number of the own shard; that of the shared one without.
    number: Cell<usize>,
    /// The row of the current scope in the own shard; null without one.
    row: Cell<*const Row>,
    home: Cell<Home>,
    /// What `to_allocate` was last set to.
    opened_with: Cell<i64>,
    /// Mean bytes between samples in the current scope; 0 = none.
    sample_every: Cell<u64>,
    /// Bytes until the next sample, counted from when `to_allocate` was set.
    to_sample: Cell<i64>,
    random: Cell<u64>,
    /// Set while a stack is walked: whatever the walk allocates is counted and not sampled.
    is_sampling: Cell<bool>,
    depth: Cell<usize>,
    /// Tags of the scopes entered, outermost first; 0 = left out of order.
    entered: [Cell<u64>; DEPTH],
}

thread_local! {
    // Constant and without a destructor: two instructions to reach, and there until the thread's very end.
    static THREAD: Thread = const {
        Thread {
            to_allocate: Cell::new(CLOSED),
            to_free: Cell::new(CLOSED),
            shard: Cell::new(ptr::null()),
            number: Cell::new(SHARED),
            row: Cell::new(ptr::null()),
            home: Cell::new(Home::Unborn),
            opened_with: Cell::new(0),
            sample_every: Cell::new(0),
            to_sample: Cell::new(0),
            random: Cell::new(0),
            is_sampling: Cell::new(false),
            depth: Cell::new(0),
            entered: [const { Cell::new(0) }; DEPTH],
        }
    };
    // Hands the shard on when the thread ends. It is registered by the thread's first allocation, so before nearly
    // everything else that has a destructor, and therefore runs after it.
    static RETIREMENT: Retirement = const { Retirement };
}

struct Retirement;

impl Drop for Retirement {
    fn drop(&mut self) {
        THREAD.with(Thread::retire);
    }
}

/// Counts a new block; what to write behind it, if blocks have trailers (`SCOPED`).
#[inline]
pub(crate) fn allocated<const SCOPED: bool>(block: *mut u8, size: usize) -> u64 {
    THREAD.with(|thread| {
        if pass(&thread.to_allocate, size) {
            // SAFETY: the gate is open only while there is a shard of the static region, and a row set with it.
            let (shard, row) = unsafe { (&*thread.shard.get(), &*thread.row.get()) };
            count_allocated::<SCOPED>(shard, row, size)
        } else {
            allocated_slow::<SCOPED>(block, size)
        }
    })
}

/// Counts a block that ends, if that is quickly done. If not, nothing has happened, and [`freed_slow`] has to.
#[inline]
pub(crate) fn freed_fast<const SCOPED: bool>(size: usize, trailer: u64) -> bool {
    THREAD.with(|thread| {
        let is_open = pass(&thread.to_free, size);
        if is_open {
            // SAFETY: as in `allocated`.
            let shard = unsafe { &*thread.shard.get() };
            if !SCOPED {
                add(&shard.freed_bytes, size as u64);
                add(&shard.freed_blocks, 1);
                return true;
            }
            let row = &shard.rows[tag::slot(trailer)];
            if row.tag.load(Relaxed) == trailer {
                count_freed(shard, row, size);
                return true;
            }
        }
        false
    })
}

/// Counts a block that ends. `trailer` is what stood behind it.
fn freed<const SCOPED: bool>(block: *mut u8, size: usize, trailer: u64) {
    if !freed_fast::<SCOPED>(size, trailer) {
        freed_slow::<SCOPED>(block, size, trailer);
    }
}

/// Counts a block that changed its size: the end of one block and the beginning of another. The new one belongs to the
/// current scope, which made it what it is; where there is none, it stays with its owner.
#[inline]
pub(crate) fn moved<const SCOPED: bool>(
    old: *mut u8,
    old_size: usize,
    trailer: u64,
    block: *mut u8,
    size: usize,
) -> u64 {
    freed::<SCOPED>(old, old_size, trailer);
    let owner = tag::scope(trailer);
    if !SCOPED || owner == 0 || current() != 0 || !is_open(owner) {
        return allocated::<SCOPED>(block, size);
    }
    let place = enter(owner);
    let trailer = allocated::<SCOPED>(block, size);
    if let Some(place) = place {
        leave(place);
    }
    trailer
}

/// The number of the calling thread's shard, which nobody else has meanwhile; [`SHARED`] if it has none.
#[inline]
pub(crate) fn number() -> usize {
    THREAD.with(|thread| {
        if thread.home.get() == Home::Unborn {
            thread.settle();
        }
        thread.number.get()
    })
}

/// Enters a scope; the place to [`leave`] it from. `None` where too many are entered already.
pub(crate) fn enter(tag: u64) -> Option<usize> {
    THREAD.with(|thread| {
        if thread.home.get() == Home::Unborn {
            thread.settle();
        }
        let place = thread.depth.get();
        thread.entered.get(place)?.set(tag);
        thread.depth.set(place + 1);
        thread.turn_to(tag);
        Some(place)
    })
}

/// Leaves the scope entered at `place`, in whatever order.
pub(crate) fn leave(place: usize) {
    THREAD.with(|thread| {
        thread.entered[place].set(0);
        while let Some(top) = thread.depth.get().checked_sub(1)
            && thread.entered[top].get() == 0
        {
            thread.depth.set(top);
        }
        thread.turn_to(thread.current());
    });
}

/// Tag of the scope this thread is in; 0 = none.
pub(crate) fn current() -> u64 {
    THREAD.with(Thread::current)
}

/// Has this thread heed a rate of sampling that has changed.
pub(crate) fn resample() {
    THREAD.with(|thread| thread.turn_to(thread.current()));
}

/// Takes `size` from a side of the gate; whether it stays open.
#[inline]
fn pass(side: &Cell<i64>, size: usize) -> bool {
    side.set(side.get().wrapping_sub(size.cast_signed() as i64));
    side.get() >= 0
}

#[inline]
fn count_allocated<const SCOPED: bool>(shard: &Shard, row: &Row, size: usize) -> u64 {
    add(&shard.allocated_bytes, size as u64);
    if !SCOPED {
        add(&shard.allocated_blocks, 1);
        return 0;
    }
    add(&shard.allocated[class(size)], 1);
    add(&row.allocated_blocks, 1);
    let allocated = row.allocated_bytes.load(Relaxed).wrapping_add(size as u64);
    row.allocated_bytes.store(allocated, Relaxed);
    let live = allocated
        .wrapping_sub(row.freed_bytes.load(Relaxed))
        .cast_signed();
    if live > row.peak.load(Relaxed) {
        row.peak.store(live, Relaxed);
    }
    row.tag.load(Relaxed)
}

#[inline]
fn count_freed(shard: &Shard, row: &Row, size: usize) {
    add(&shard.freed_bytes, size as u64);
    add(&shard.freed[class(size)], 1);
    add(&row.freed_bytes, size as u64);
    add(&row.freed_blocks, 1);
}

/// Whether blocks of `scope` still count to something.
fn is_open(scope: u64) -> bool {
    scope == 0 || REGION.slots[tag::slot(scope)].tag.load(Acquire) == scope
}

/// The row of `scope` in `shard`, which the calling thread owns.
fn row_of(shard: &Shard, scope: u64) -> &Row {
    let row = &shard.rows[tag::slot(scope)];
    if row.tag.load(Relaxed) != scope {
        restart(row, scope);
    }
    row
}

/// Makes a row that of `scope`, with nothing counted. Who reads the row of this scope finds the tag only after the zeros.
pub(crate) fn restart(row: &Row, scope: u64) {
    row.tag.store(u64::MAX, Release);
    row.allocated_bytes.store(0, Release);
    row.freed_bytes.store(0, Release);
    row.allocated_blocks.store(0, Release);
    row.freed_blocks.store(0, Release);
    row.peak.store(0, Release);
    row.tag.store(scope, Release);
}

/// Tells the process what `shard` holds, for the peak.
fn tell(shard: &Shard) {
    let live = shard.live();
    let more = live - shard.told.load(Relaxed);
    shard.told.store(live, Relaxed);
    tell_more(more);
}

fn tell_more(more: i64) {
    let told = REGION.head.told.fetch_add(more, Relaxed) + more;
    REGION.head.peak.fetch_max(told, Relaxed);
}

impl Thread {
    fn current(&self) -> u64 {
        match self.depth.get().checked_sub(1) {
            Some(top) => self.entered[top].get(),
            None => 0,
        }
    }

    /// The own shard, if there is one.
    fn own(&self) -> Option<&'static Shard> {
        // SAFETY: with a home of its own, the pointer is to a shard of the static region.
        (self.home.get() == Home::Own).then(|| unsafe { &*self.shard.get() })
    }

    /// Finds a shard for a thread that has none.
    #[cold]
    fn settle(&self) {
        #[cfg(all(target_os = "linux", not(miri)))]
        crate::publish::once();
        // From here on, whatever this allocates is counted to the shared shard.
        self.home.set(Home::Shared);
        if RETIREMENT.try_with(|_| ()).is_err() {
            return;
        }
        let is_free = |shard: &Shard| {
            shard.taken.load(Relaxed) == 0
                && shard.taken.compare_exchange(0, 1, AcqRel, Relaxed).is_ok()
        };
        let Some(number) = REGION.shards[..SHARDS].iter().position(is_free) else {
            return;
        };
        REGION
            .head
            .shards_used
            .fetch_max(number as u32 + 1, Release);
        let shard = &REGION.shards[number];
        self.to_free.set(TELL_BYTES);
        self.random
            .set((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.shard.set(shard);
        self.number.set(number);
        self.home.set(Home::Own);
        self.sample_every.set(0);
        self.turn_to(self.current());
        self.open();
    }

    fn retire(&self) {
        if let Some(shard) = self.own() {
            tell(shard);
            self.home.set(Home::Shared);
            self.to_allocate.set(CLOSED);
            self.to_free.set(CLOSED);
            self.shard.set(ptr::null());
            self.number.set(SHARED);
            self.row.set(ptr::null());
            shard.taken.store(0, Release);
        }
    }

    /// Counts to `scope` from now on, and samples as it wants.
    fn turn_to(&self, scope: u64) {
        let Some(shard) = self.own() else {
            return;
        };
        self.row.set(row_of(shard, scope));
        self.heed(scope);
    }

    /// Samples as `scope` wants, or else the process: what is wanted may have been changed by others, even from outside.
    fn heed(&self, scope: u64) {
        let every = match REGION.slots[tag::slot(scope)].sample_every.load(Relaxed) {
            0 => REGION.head.sample_every.load(Relaxed),
            every => every,
        };
        if every != self.sample_every.get() {
            self.sample_every.set(every);
            self.to_sample.set(self.gap());
            self.open();
        }
    }

    /// Opens the allocating side for as much as nothing is due.
    fn open(&self) {
        let bytes = match self.sample_every.get() {
            0 => TELL_BYTES,
            _ => self.to_sample.get().clamp(0, TELL_BYTES),
        };
        self.opened_with.set(bytes);
        self.to_allocate.set(bytes);
    }

    /// Bytes to the next sample: exponentially distributed, so that a block of n bytes is sampled with the probability
    /// 1 - exp(-n / every), whatever was allocated before it.
    fn gap(&self) -> i64 {
        let every = self.sample_every.get();
        if every <= 1 {
            return 0;
        }
        // Xorshift64* (Vigna 2016). Seeded by the shard: the same program samples the same blocks.
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        let uniform =
            ((x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        (-uniform.ln() * every as f64) as i64
    }
}

/// Counts a new block where something else is due too.
#[cold]
#[inline(never)]
fn allocated_slow<const SCOPED: bool>(block: *mut u8, size: usize) -> u64 {
    THREAD.with(|thread| {
        if thread.home.get() == Home::Unborn {
            thread.settle();
            let level = if SCOPED { 2 } else { 1 };
            REGION.head.level.fetch_max(level, Relaxed);
            // The gate was closed when this block came.
            pass(&thread.to_allocate, size);
        }
        let Some(shard) = thread.own() else {
            return shared_allocated::<SCOPED>(size, thread.current());
        };
        // SAFETY: set together with the shard.
        let row = unsafe { &*thread.row.get() };
        let mut trailer = count_allocated::<SCOPED>(shard, row, size);
        if thread.to_allocate.get() >= 0 {
            return trailer;
        }
        tell(shard);
        if thread.sample_every.get() != 0 {
            let used = thread.opened_with.get() - thread.to_allocate.get();
            thread.to_sample.set(thread.to_sample.get() - used);
            if thread.to_sample.get() < 0 {
                if SCOPED && !thread.is_sampling.replace(true) {
                    trailer = sample::take(block, size, trailer, thread.sample_every.get());
                    thread.is_sampling.set(false);
                }
                thread.to_sample.set(thread.gap());
            }
        }
        thread.heed(thread.current());
        thread.open();
        trailer
    })
}

/// Counts a block that ends where something else is due too: a thread without a shard, the peak, a block that was sampled,
/// or one of a scope that this thread has not met, or of one that has ended.
#[cold]
#[inline(never)]
pub(crate) fn freed_slow<const SCOPED: bool>(block: *mut u8, size: usize, trailer: u64) {
    THREAD.with(|thread| {
        if thread.home.get() == Home::Unborn {
            thread.settle();
        }
        if SCOPED && let Some(number) = tag::sample(trailer) {
            sample::forget(number, block);
        }
        let Some(shard) = thread.own() else {
            return shared_freed::<SCOPED>(size, trailer);
        };
        let scope = tag::scope(trailer);
        if !SCOPED {
            add(&shard.freed_bytes, size as u64);
            add(&shard.freed_blocks, 1);
        } else if is_open(scope) {
            count_freed(shard, row_of(shard, scope), size);
        } else {
            add(&shard.freed_bytes, size as u64);
            add(&shard.freed[class(size)], 1);
        }
        if thread.to_free.get() < 0 {
            tell(shard);
            thread.to_free.set(TELL_BYTES);
        }
    });
}

/// The same into the shard of everybody, with locked instructions and without samples.
fn shared_allocated<const SCOPED: bool>(size: usize, scope: u64) -> u64 {
    let shard = &REGION.shards[SHARED];
    let bytes = size as u64;
    shard.allocated_bytes.fetch_add(bytes, Relaxed);
    tell_more(bytes.cast_signed());
    if !SCOPED {
        shard.allocated_blocks.fetch_add(1, Relaxed);
        return 0;
    }
    shard.allocated[class(size)].fetch_add(1, Relaxed);
    // The row was made that of the scope when the scope was opened.
    let row = &shard.rows[tag::slot(scope)];
    row.allocated_blocks.fetch_add(1, Relaxed);
    let allocated = row.allocated_bytes.fetch_add(bytes, Relaxed) + bytes;
    let live = allocated
        .wrapping_sub(row.freed_bytes.load(Relaxed))
        .cast_signed();
    row.peak.fetch_max(live, Relaxed);
    scope
}

fn shared_freed<const SCOPED: bool>(size: usize, trailer: u64) {
    let shard = &REGION.shards[SHARED];
    let bytes = size as u64;
    shard.freed_bytes.fetch_add(bytes, Relaxed);
    tell_more(-(bytes.cast_signed()));
    if !SCOPED {
        shard.freed_blocks.fetch_add(1, Relaxed);
        return;
    }
    shard.freed[class(size)].fetch_add(1, Relaxed);
    let scope = tag::scope(trailer);
    let row = &shard.rows[tag::slot(scope)];
    if row.tag.load(Acquire) == scope {
        row.freed_bytes.fetch_add(bytes, Relaxed);
        row.freed_blocks.fetch_add(1, Relaxed);
    }
}
