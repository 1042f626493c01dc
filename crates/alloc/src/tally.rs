//! Counting what comes and goes, as cheaply as allocations are counted.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::region::{SHARDS, SHARED, add};
use crate::thread;

/// How many of something there are and have been: each thread counts for itself, without a locked instruction, and what one
/// thread began another may end. Made to be a static: 16 KiB of zeros, of which only what is used takes memory.
///
/// Works without any of this crate's allocators being installed.
pub struct Tally {
    by_thread: [Counts; SHARDS + 1],
}

#[repr(align(64))]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    /// None yet.
    #[expect(
        clippy::large_stack_arrays,
        clippy::new_without_default,
        reason = "made by the compiler, for a static of zeros"
    )]
    pub const fn new() -> Self {
        Self {
            by_thread: [const {
                Counts {
                    begun: AtomicU64::new(0),
                    ended: AtomicU64::new(0),
                }
            }; SHARDS + 1],
        }
    }

    /// One more.
    #[inline]
    pub fn begin(&self) {
        self.count(|counts| &counts.begun);
    }

    /// One less.
    #[inline]
    pub fn end(&self) {
        self.count(|counts| &counts.ended);
    }

    #[inline]
    fn count(&self, which: impl Fn(&Counts) -> &AtomicU64) {
        let number = thread::number();
        let counter = which(&self.by_thread[number]);
        if number == SHARED {
            counter.fetch_add(1, Relaxed);
        } else {
            add(counter, 1);
        }
    }

    /// How many there are. Exact for all that happened before the call.
    pub fn live(&self) -> i64 {
        // Ends first: one that ends in between is then there still, rather than gone before it began.
        let sum = |which: fn(&Counts) -> &AtomicU64| {
            let counts = self.by_thread.iter();
            counts
                .map(|counts| which(counts).load(Acquire))
                .sum::<u64>()
        };
        let ended = sum(|counts| &counts.ended);
        sum(|counts| &counts.begun)
            .wrapping_sub(ended)
            .cast_signed()
    }

    /// How many there have been.
    pub fn begun(&self) -> u64 {
        let counts = self.by_thread.iter();
        counts.map(|counts| counts.begun.load(Acquire)).sum()
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally")
            .field("live", &self.live())
            .field("begun", &self.begun())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn what_begins_here_may_end_elsewhere() {
        static TALLY: Tally = Tally::new();
        let threads: Vec<_> = (0..16)
            .map(|_| {
                std::thread::spawn(|| {
                    for _ in 0..1000 {
                        TALLY.begin();
                        TALLY.begin();
                        TALLY.end();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((TALLY.live(), TALLY.begun()), (16_000, 32_000));
        for _ in 0..16_000 {
            TALLY.end();
        }
        assert_eq!((TALLY.live(), TALLY.begun()), (0, 32_000));
    }
}
