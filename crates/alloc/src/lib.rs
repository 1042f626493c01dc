//! A global allocator that counts exactly.
//!
//! [`Counted`] knows live and total bytes of the process. [`Scoped`] knows them by [`Scope`] too: by the test, the task, the
//! request or the component that allocated, also where tests run in parallel and tasks wander between threads. It can keep
//! the stacks of blocks that survive ([`sample_every`], [`Scope::survivors`]).
//!
//! Both stand in front of any other allocator, count in per-thread shards without a locked instruction, and never allocate.
//! They do not judge: the crate `plimsoll` does.
//!
//! Counted is what the program asks for, not what the allocator beneath reserves for it.
//!
//! On Linux a process that is started with `PLIMSOLL_REGION=FOLDER` publishes its counts in a file there, from which
//! `plimsoll check` reads them ([`read_published`]), with scopes and sampled stacks ([`read_surviving`]).

#![expect(
    unsafe_code,
    reason = "a global allocator is unsafe by its trait; each block says why it is sound"
)]

mod allocator;
#[cfg(all(target_os = "linux", not(miri)))]
mod publish;
mod published;
mod region;
mod sample;
mod scope;
mod stats;
mod tally;
mod thread;

pub use allocator::{Counted, Scoped};
pub use published::{
    Published, PublishedBlock, PublishedScope, REGION_VARIABLE, SAMPLED_EVERY, Surviving,
    ask_for_samples, read_published, read_surviving,
};
pub use sample::Survivor;
pub use scope::{Entered, InScope, Scope, TooManyScopes};
pub use stats::{Level, Peak, SizeClass, Stats, installed, size_classes, stats};
pub use tally::Tally;

use std::sync::atomic::Ordering::Relaxed;

/// Keeps the stacks of some blocks, one every so many bytes in the mean; 0 keeps none, and so it begins. Needs [`Scoped`].
/// Heeded by this thread now, by others when they next enter or leave a scope, or have allocated 64 KiB. 512 KiB costs a
/// service little. Of more than 256 threads at once, those that came last are counted and not sampled.
pub fn sample_every(bytes: u64) {
    region::REGION.head.sample_every.store(bytes, Relaxed);
    thread::resample();
}

/// Calls `each` with the sampled blocks that are alive, of all scopes and of none.
pub fn survivors(mut each: impl FnMut(&Survivor<'_>)) {
    sample::survivors(|_| true, &mut each);
}

/// A file of this crate, as the compiler names it: who shows stacks leaves its frames out.
#[doc(hidden)]
pub const SOURCE: &str = file!();

/// Samples that were not kept, because 8,192 were alive or the tables had no room for another stack.
pub fn dropped_samples() -> u64 {
    region::REGION.head.dropped.load(Relaxed)
}
