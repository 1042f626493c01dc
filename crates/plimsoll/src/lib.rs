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
mod cache;
mod check;
mod gauge;
mod grown;
mod heap_bytes;
mod limits;
mod macros;
#[cfg(feature = "memory-testing")]
pub mod memory_testing;
mod meter;
mod monitor;
mod sizing;
mod stacks;
mod text;
mod track;
mod verdict;

pub use arc::{Arc, Cycle, Holds, Weak};
pub use block_on::block_on;
pub use cache::{
    BoundedCache, CacheOptions, CacheStatistics, Eviction, EvictionPolicy, EvictionReason,
    cache_key,
};
pub use check::Check;
pub use gauge::{GaugeSource, Gauges, Registration, gauge, gauges};
pub use grown::Grown;
pub use heap_bytes::HeapBytes;
pub use limits::{Allocations, NotCounted, allocations, peak};
#[doc(hidden)]
pub use limits::{assert_allocations, assert_peak};
pub use meter::Source;
pub use monitor::{
    Action, Alert, AlertKind, BadBudget, Budgets, Event, MemoryMonitor, Method, MonitorSample,
    ProcessReading, SessionStatus, Severity,
};
pub use plimsoll_alloc::{
    Counted, Entered, InScope, Peak, Scope, Scoped, SizeClass, Stats, TooManyScopes,
};
pub use plimsoll_judge::{Growth, Outcome, Reason};
/// A test whose body is repeated, and may not keep memory; limits of a single run stand in brackets.
///
/// ```
/// #[plimsoll::test]
/// fn parsing_keeps_nothing() {
///     "1 2 3".split(' ').map(str::to_owned).collect::<Vec<_>>();
/// }
///
/// #[plimsoll::test(allocations <= 5, peak <= 1024)]
/// fn parsing_is_frugal() {
///     "1 2 3".split(' ').map(str::to_owned).collect::<Vec<_>>();
/// }
/// ```
///
/// An asynchronous one is run by [`block_on`](crate::block_on) each time, or by a function of the same shape that is named:
///
/// ```
/// fn on_runtime<F: Future>(future: F) -> F::Output {
///     // `RUNTIME.block_on(future)`, of tokio
///     plimsoll::block_on(future)
/// }
///
/// #[plimsoll::test(block_on = on_runtime)]
/// async fn a_request_keeps_nothing() {
///     std::future::ready(vec![0_u8; 100]).await;
/// }
/// ```
///
/// Whatever the test needs that is made once is made outside of it, in a static. A test has no parameters, and returns nothing:
///
/// ```compile_fail
/// #[plimsoll::test]
/// fn what_it_returns_would_be_dropped() -> Result<(), std::fmt::Error> {
///     Ok(())
/// }
/// ```
///
/// ```compile_fail
/// #[plimsoll::test(alocations <= 5)]
/// fn a_limit_that_does_not_exist() {}
/// ```
pub use plimsoll_macros::test;
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
