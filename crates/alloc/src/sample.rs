//! Some of the blocks that are alive, with the stacks that allocated them.
//!
//! Tables of fixed size without locks: an entry is claimed by one exchange and given back by one store. What finds no
//! room is counted as dropped. A stack is kept for ever, a block as long as it lives.

use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::region::{FRAMES, REGION, SAMPLES, STACKS, tag};

/// Entries looked at before a sample or a stack is dropped.
const TRIES: usize = 64;
/// Instead of its block: the sample is being filled.
pub(crate) const CLAIMED: u64 = 1;

static FIRST: OnceLock<Instant> = OnceLock::new();

fn now_ns() -> u64 {
    let elapsed = FIRST.get_or_init(Instant::now).elapsed();
    elapsed.as_nanos() as u64
}

/// A sampled block that is alive.
#[derive(Debug, Clone, Copy)]
pub struct Survivor<'a> {
    /// Its size in bytes.
    pub size: usize,
    /// Mean bytes between two samples when it was taken; 1 = every block was.
    pub every: u64,
    /// How long it has been alive.
    pub age: Duration,
    /// Return addresses, innermost first. The first few are the allocator's own.
    pub frames: &'a [usize],
}

impl Survivor<'_> {
    /// How many blocks of this size the sample stands for, without bias: 1 / (1 - exp(-size / every)).
    pub fn weight(&self) -> f64 {
        weight(self.size as u64, self.every)
    }
}

/// How many blocks of `size` bytes a sample stands for that was taken at a mean of `every` bytes.
pub(crate) fn weight(size: u64, every: u64) -> f64 {
    if every <= 1 {
        return 1.0;
    }
    let chance = -(-(size.max(1) as f64) / every as f64).exp_m1();
    1.0 / chance
}

/// Calls `each` with every sampled block alive that belongs to a scope that `includes` accepts. Allocates nothing, but
/// `each` may.
pub(crate) fn survivors(includes: impl Fn(u64) -> bool, each: &mut dyn FnMut(&Survivor<'_>)) {
    let now = now_ns();
    for sample in &REGION.samples {
        let block = sample.block.load(Acquire);
        if block <= CLAIMED || !includes(sample.tag.load(Relaxed)) {
            continue;
        }
        let stack = &REGION.stacks[sample.stack.load(Relaxed) as usize % STACKS];
        let depth = (stack.depth.load(Acquire) as usize).min(FRAMES);
        let mut frames = [0; FRAMES];
        for (frame, kept) in frames.iter_mut().zip(&stack.frames[..depth]) {
            *frame = kept.load(Relaxed) as usize;
        }
        let survivor = Survivor {
            size: sample.size.load(Relaxed) as usize,
            every: sample.every.load(Relaxed),
            age: Duration::from_nanos(now.saturating_sub(sample.born_ns.load(Relaxed))),
            frames: &frames[..depth],
        };
        // Whoever freed it meanwhile may have had the entry filled anew.
        if sample.block.load(Acquire) == block {
            each(&survivor);
        }
    }
}

/// Keeps a sample; the trailer of the block, which is `scope` alone if there is no room.
pub(crate) fn take(block: *mut u8, size: usize, scope: u64, every: u64) -> u64 {
    let kept = keep_stack().and_then(|stack| {
        let number = claim()?;
        let sample = &REGION.samples[number];
        sample.size.store(size as u64, Relaxed);
        sample.tag.store(scope, Relaxed);
        sample.every.store(every, Relaxed);
        sample.born_ns.store(now_ns(), Relaxed);
        sample.stack.store(stack as u32, Relaxed);
        sample.block.store(block.addr() as u64, Release);
        Some(tag::with_sample(scope, number))
    });
    kept.unwrap_or_else(|| {
        REGION.head.dropped.fetch_add(1, Relaxed);
        scope
    })
}

/// Gives the entry of a block back that is being freed.
pub(crate) fn forget(number: usize, block: *mut u8) {
    // A program that wrote past its block may have written any number.
    if let Some(sample) = REGION.samples.get(number) {
        let block = block.addr() as u64;
        let _ = sample.block.compare_exchange(block, 0, AcqRel, Relaxed);
    }
}

fn claim() -> Option<usize> {
    let start = REGION.head.next_sample.fetch_add(1, Relaxed) as usize;
    (start..start + TRIES)
        .map(|at| at % SAMPLES)
        .find(|&number| {
            let block = &REGION.samples[number].block;
            block.load(Relaxed) == 0 && block.compare_exchange(0, CLAIMED, AcqRel, Relaxed).is_ok()
        })
}

/// The number of the calling stack, kept once.
fn keep_stack() -> Option<usize> {
    let mut frames = [0; FRAMES];
    let depth = unwind::walk(&mut frames);
    // FNV-1a, by words.
    let hash = frames[..depth]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &frame| {
            (hash ^ frame as u64)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23)
        });
    let hash = hash.max(1);
    for at in 0..TRIES.min(STACKS) {
        let number = (hash as usize).wrapping_add(at) % STACKS;
        let stack = &REGION.stacks[number];
        match stack.hash.compare_exchange(0, hash, AcqRel, Acquire) {
            Ok(_) => {
                for (kept, frame) in stack.frames.iter().zip(&frames[..depth]) {
                    kept.store(*frame as u64, Relaxed);
                }
                stack.depth.store(depth as u64, Release);
                return Some(number);
            }
            Err(there) if there == hash => return Some(number),
            Err(_) => {}
        }
    }
    None
}

/// The unwinder that std itself uses: no dependency, and it does not allocate. It costs some 0.2 µs a frame, once per
/// sample.
#[cfg(all(unix, not(miri)))]
mod unwind {
    use std::ffi::{c_int, c_void};
    use std::ptr;

    use super::FRAMES;

    type Context = c_void;
    type Visit = extern "C" fn(*mut Context, *mut c_void) -> c_int;

    const GO_ON: c_int = 0;
    const END_OF_STACK: c_int = 5;

    // SAFETY: declared as in the Itanium C++ ABI (level I); std links the library.
    unsafe extern "C" {
        fn _Unwind_Backtrace(visit: Visit, state: *mut c_void) -> c_int;
        fn _Unwind_GetIP(context: *mut Context) -> usize;
    }

    struct Walk<'a> {
        frames: &'a mut [usize; FRAMES],
        depth: usize,
    }

    extern "C" fn visit(context: *mut Context, state: *mut c_void) -> c_int {
        // SAFETY: `walk` passes its own `Walk`, which outlives the call.
        let walk = unsafe { &mut *state.cast::<Walk<'_>>() };
        let Some(frame) = walk.frames.get_mut(walk.depth) else {
            return END_OF_STACK;
        };
        // SAFETY: the unwinder hands a context that is valid during this call.
        *frame = unsafe { _Unwind_GetIP(context) };
        walk.depth += 1;
        GO_ON
    }

    /// Fills in return addresses from the innermost; how many.
    pub(super) fn walk(frames: &mut [usize; FRAMES]) -> usize {
        let mut walk = Walk { frames, depth: 0 };
        // SAFETY: `visit` neither unwinds nor keeps what it is given.
        unsafe { _Unwind_Backtrace(visit, ptr::from_mut(&mut walk).cast()) };
        walk.depth
    }
}

/// Without an unwinder a sample has no stack.
#[cfg(not(all(unix, not(miri))))]
mod unwind {
    use super::FRAMES;

    pub(super) fn walk(_: &mut [usize; FRAMES]) -> usize {
        0
    }
}
