//! The snapshot engine from outside: what `DevTools` computes, and what it does with damaged files.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data fails")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]
#![expect(
    clippy::disallowed_methods,
    reason = "the engine is pure, its tests have files"
)]

mod damaged;
mod digest;
mod jsc;
mod leaks;
mod parity;
mod synthetic;
mod waste;
