//! Decides whether a series of memory readings leaks.
//!
//! The judge is pure: no I/O, no clock, no randomness. The same bytes in give the same verdict out, on any machine.
//! It never answers with a bare threshold: a verdict is a growth rate with its interval, an equivalence statement
//! ("growth is bounded below the floor"), or "inconclusive" with the reason and what would settle it.
//!
//! ```
//! use plimsoll_judge::{Outcome, Series, Terms, judge};
//!
//! // Twelve rounds of 1,000 operations, each read after a forced collection; 64 bytes kept per operation.
//! let rounds = 0..12_u32;
//! let series = Series {
//!     metric: "live_bytes".into(),
//!     t_ns: rounds.clone().map(|i| u64::from(i) * 500_000_000).collect(),
//!     value: rounds.clone().map(|i| 21e6 + f64::from(i) * 64_000.0).collect(),
//!     ops: rounds.clone().map(|i| f64::from(i) * 1000.0).collect(),
//!     collected: rounds.map(|_| true).collect(),
//!     ..Series::default()
//! };
//! let verdict = judge(&series, &Terms::default());
//! assert_eq!(verdict.outcome, Outcome::Leak);
//! assert!((verdict.estimate.unwrap().rate - 64.0).abs() < 0.1);
//! ```

mod bets;
mod envelope;
mod family;
mod growth;
mod kinds;
mod least_squares;
mod models;
mod paired;
mod passive;
mod reduce;
mod repair;
mod rounds;
mod rules;
mod sequential;
mod series;
mod stats;
mod steps;
mod stretch;
mod trend;
mod two_rates;
mod verdict;
mod work;

pub use family::{correct_family, judge_family, overall};
pub use kinds::{KindOutcome, KindRound, KindTerms, KindVerdict, judge_kinds};
pub use paired::{PairedOutcome, PairedVerdict, judge_paired};
pub use rules::{Holds, Reads, Rule, RuleOutcome, RuleUnit, Tally, evaluate, rule, rules};
pub use sequential::Judge;
pub use series::{Axis, Quantity, Reading, Repair, Series, SeriesId, Terms};
pub use two_rates::{Split, TimedRound, split_growth};
pub use verdict::{
    Bound, Fit, Growth, Guarantee, Interval, More, Onset, Outcome, Overall, Pattern, Plateau,
    Reason, TimeToLimit, Verdict, Work, WorkChange,
};

/// Judges one series alone.
///
/// Never panics, whatever the series holds: columns of the wrong length are ignored, values that are not finite are
/// gaps. Cost: below 5 ms for 3,000 readings; longer records are reduced first and cost half a second for ten
/// million.
pub fn judge(series: &Series, terms: &Terms) -> Verdict {
    let whole = series;
    let (short, gaps) = reduce::reduce(series);
    let series = short.as_ref();
    let mut readings = repair::repair(series);
    if gaps > 0 {
        readings.repairs.push(Repair::Gaps(gaps));
    }
    let collected = readings.collected || readings.value.is_empty();
    let most = match series.axis {
        Axis::Operations => rounds::MOST,
        Axis::Time => rounds::MOST_ON_TIME,
    };
    let mut verdict = if collected && readings.value.len() <= most {
        rounds::judge(series, &readings, terms)
    } else {
        passive::judge(series, &readings, terms)
    };
    verdict.heed_the_work(whole);
    verdict
}
