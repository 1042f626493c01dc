//! Limits that one operation has to keep: allocations, and the peak.

use std::fmt;
use std::hint::black_box;

use plimsoll_alloc::{Level, Peak, Scope};

use crate::text::{bytes, count};

/// Runs before anything counts: lazy statics, thread-locals.
const WARM_UP: usize = 3;
/// Runs that count. Limits hold for each.
const RUNS: usize = 20;

/// What a single operation allocates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocations {
    /// The most blocks that one of the runs allocated. A block that changes its size is another one.
    pub most_blocks: u64,
    /// The fewest.
    pub fewest_blocks: u64,
    /// The most bytes that one of the runs allocated.
    pub most_bytes: u64,
}

/// Why allocations of an operation cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCounted {
    /// `plimsoll::Scoped` is not the global allocator.
    NotInstalled,
    /// All allocation scopes are in use.
    TooManyScopes,
}

impl fmt::Display for NotCounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => write!(
                f,
                "allocations cannot be counted: plimsoll::Scoped is not the global allocator\n  \
                 hint: `#[global_allocator] static ALLOCATOR: plimsoll::Scoped = plimsoll::Scoped::new();` in the test's crate"
            ),
            Self::TooManyScopes => write!(f, "{}", plimsoll_alloc::TooManyScopes),
        }
    }
}

impl std::error::Error for NotCounted {}

/// Counts what an operation allocates, over 20 runs after 3 to warm up.
///
/// # Errors
/// Without [`Scoped`](crate::Scoped), or a free scope.
pub fn allocations<T>(mut operation: impl FnMut() -> T) -> Result<Allocations, NotCounted> {
    let mut seen: Option<Allocations> = None;
    each_run(&mut operation, |scope| {
        let stats = scope.stats();
        let (blocks, bytes) = (stats.allocated_blocks, stats.allocated_bytes);
        seen = Some(seen.map_or(
            Allocations {
                most_blocks: blocks,
                fewest_blocks: blocks,
                most_bytes: bytes,
            },
            |seen| Allocations {
                most_blocks: seen.most_blocks.max(blocks),
                fewest_blocks: seen.fewest_blocks.min(blocks),
                most_bytes: seen.most_bytes.max(bytes),
            },
        ));
    })?;
    seen.ok_or(NotCounted::NotInstalled)
}

/// The most live bytes that an operation has at once, over 20 runs after 3 to warm up.
///
/// # Errors
/// Without [`Scoped`](crate::Scoped), or a free scope.
pub fn peak<T>(mut operation: impl FnMut() -> T) -> Result<Peak, NotCounted> {
    let mut most = Peak::default();
    each_run(&mut operation, |scope| {
        let peak = scope.stats().peak;
        most.at_least = most.at_least.max(peak.at_least);
        most.at_most = most.at_most.max(peak.at_most);
    })?;
    Ok(most)
}

/// Calls `then` after each run with the scope it was alone in.
fn each_run<T>(
    operation: &mut dyn FnMut() -> T,
    mut then: impl FnMut(&Scope),
) -> Result<(), NotCounted> {
    if plimsoll_alloc::installed() != Some(Level::Scopes) {
        return Err(NotCounted::NotInstalled);
    }
    for run in 0..WARM_UP + RUNS {
        let scope = Scope::open("one operation").map_err(|_| NotCounted::TooManyScopes)?;
        scope.run(|| drop(black_box(operation())));
        if run >= WARM_UP {
            then(&scope);
        }
    }
    Ok(())
}

#[doc(hidden)]
#[track_caller]
pub fn assert_allocations<T>(most: u64, operation: impl FnMut() -> T) {
    match allocations(operation) {
        Ok(counted) if counted.most_blocks <= most => {}
        Ok(counted) => {
            let range = if counted.fewest_blocks == counted.most_blocks {
                String::new()
            } else {
                format!(" ({} to {})", counted.fewest_blocks, counted.most_blocks)
            };
            panic!(
                "{} per operation{range}, {} in all; {most} allowed",
                count(counted.most_blocks, "allocation"),
                bytes(counted.most_bytes as f64)
            );
        }
        Err(error) => panic!("{error}"),
    }
}

#[doc(hidden)]
#[track_caller]
pub fn assert_peak<T>(most: u64, operation: impl FnMut() -> T) {
    let allowed = bytes(most as f64);
    match peak(operation) {
        Ok(peak) if peak.at_most <= most => {}
        Ok(peak) if peak.at_least > most => panic!(
            "the operation has {} alive at once ({} bytes), {allowed} allowed ({most} bytes)",
            bytes(peak.at_least as f64),
            peak.at_least
        ),
        Ok(peak) => panic!(
            "the operation has between {} and {} alive at once, {allowed} allowed: several threads allocate for each other, so \
             that it is not known more exactly\n  hint: allow {} bytes, or measure what each thread does",
            bytes(peak.at_least as f64),
            bytes(peak.at_most as f64),
            peak.at_most
        ),
        Err(error) => panic!("{error}"),
    }
}
