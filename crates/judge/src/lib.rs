//! Decides whether a series of memory readings leaks.
//!
//! The judge is pure: no I/O, no clock, no randomness. The same bytes in give the same verdict out, on any machine.
//! It never answers with a bare threshold: a verdict is a growth rate with its interval, an equivalence statement
//! ("growth is bounded below the floor"), or "inconclusive" with the reason and what would settle it.

mod series;
mod verdict;

pub use series::{Axis, Quantity, Repair, Series, SeriesId, Terms};
pub use verdict::{
    Bound, Growth, Guarantee, Interval, More, Onset, Outcome, Pattern, Plateau, Reason, TimeToLimit, Verdict,
};
