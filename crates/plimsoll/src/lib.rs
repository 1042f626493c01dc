//! Leak tests in Rust: does this operation keep memory, how much each time, and which lines hold it?
//!
//! ```
//! use std::sync::Mutex;
//!
//! #[global_allocator]
//! static ALLOCATOR: plimsoll::Scoped = plimsoll::Scoped::new();
//!
//! static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
//!
//! let verdict = plimsoll::check(|| LOG.lock().unwrap().push("GET /".repeat(10)));
//! assert!(verdict.is_leak());
//! // 50 bytes of text, 24 of the string, and the room that the vector keeps for more.
//! assert!(verdict.growth().unwrap().rate > 70.0, "{verdict}");
//!
//! plimsoll::assert_no_leak!(|| "GET /".repeat(10));
//! plimsoll::assert_allocations!(<= 1, || "GET /".repeat(10));
//! plimsoll::assert_peak!(<= 50, || "GET /".repeat(10));
//! ```
//!
//! The operation is repeated in rounds, and the judge of `plimsoll check` decides: leak, no leak or inconclusive, never by a
//! bare threshold. With [`Scoped`] as the global allocator of the tests, only what the operation itself allocates counts, to
//! the byte, however many tests run beside it. Without, resident memory is read, which is coarse, and the verdict says so.

mod arc;
mod block_on;
mod check;
mod gauge;
mod grown;
mod limits;
mod macros;
#[cfg(feature = "memory-testing")]
pub mod memory_testing;
mod meter;
mod stacks;
mod text;
mod track;
mod verdict;

pub use arc::{Arc, Cycle, Holds, Weak};
pub use block_on::block_on;
pub use check::Check;
pub use gauge::{GaugeSource, Gauges, Registration, gauge, gauges};
pub use grown::Grown;
pub use limits::{Allocations, NotCounted, allocations, peak};
#[doc(hidden)]
pub use limits::{assert_allocations, assert_peak};
pub use meter::Source;
pub use plimsoll_alloc::{
    Counted, Entered, InScope, Peak, Scope, Scoped, SizeClass, Stats, TooManyScopes,
};
pub use plimsoll_judge::{Growth, Outcome, Reason};
pub use stacks::Survivors;
pub use track::{Kind, Live, Track, Tracked, kinds};
pub use verdict::Verdict;

/// Checks whether an operation keeps memory, by rounds of it. See [`Check`] for what can be set.
///
/// # Panics
/// If the operation does.
pub fn check<T>(operation: impl FnMut() -> T) -> Verdict {
    Check::new().run(operation)
}

/// The same for an asynchronous operation; see [`Check::run_async`].
///
/// ```
/// # #[global_allocator]
/// # static ALLOCATOR: plimsoll::Scoped = plimsoll::Scoped::new();
/// let verdict = plimsoll::check_async(plimsoll::block_on, || async {
///     std::future::ready(vec![0_u8; 100]).await.len()
/// });
/// assert!(verdict.is_no_leak(), "{verdict}");
/// ```
///
/// # Panics
/// If the operation does.
pub fn check_async<F: Future>(
    block_on: impl FnMut(InScope<F>) -> F::Output,
    operation: impl FnMut() -> F,
) -> Verdict {
    Check::new().run_async(block_on, operation)
}
