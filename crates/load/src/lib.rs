//! Drives subjects: operations in rounds of exactly N.
//!
//! A driver makes operations happen and says truthfully what came of them; it never judges. Nothing is retried, and no
//! per-operation data is kept.

mod driver;

pub use driver::Driver;
