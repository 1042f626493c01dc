//! What the clocks of a run say, in words.

use std::time::Duration;

use plimsoll_model::{Gap, units};
use plimsoll_probe::ClockChange;

/// What was not seen, or not when it seems to have been.
pub(crate) fn gaps(change: &ClockChange) -> impl Iterator<Item = Gap> {
    let length = |d: Duration| units::duration(d.as_secs_f64());
    let asleep = change.suspended.map(|d| {
        (
            "readings",
            format!("the machine was suspended for {}", length(d)),
        )
    });
    let late = change.late.map(|d| {
        (
            "readings",
            format!("plimsoll did not run for {}", length(d)),
        )
    });
    let jumped = change.jumped_ns.map(|ns| {
        let sign = if ns < 0 { "back" } else { "forward" };
        let far = length(Duration::from_nanos(ns.unsigned_abs()));
        ("wall clock", format!("it was set {sign} by {far}"))
    });
    asleep
        .into_iter()
        .chain(late)
        .chain(jumped)
        .map(|(what, why)| Gap {
            what: what.to_owned(),
            why,
        })
}
