//! Prints how the judge does on simulated rounds: leak / no leak / inconclusive, and coverage of the interval.
#![expect(clippy::print_stdout, reason = "an example program")]

#[path = "../tests/it/common.rs"]
mod common;

use std::fmt::Write as _;

use common::{Noise, simulate};
use plimsoll_judge::{Outcome, Terms};

/// Live bytes after so many operations, in rounds of so many.
type Shape = fn(f64, f64) -> f64;

fn main() {
    let noises = [
        Noise::None,
        Noise::White(1e4),
        Noise::Heavy(1e4),
        Noise::Correlated(1e4),
        Noise::Walk(4e3),
        Noise::Spikes(1e4),
        Noise::Flush(1e4),
    ];
    let shapes: [(&str, f64, Shape); 16] = [
        ("flat", 0.0, |_, _| 0.0),
        ("leak 4", 4.0, |x, _| 4.0 * x),
        ("leak 10", 10.0, |x, _| 10.0 * x),
        ("leak 24", 24.0, |x, _| 24.0 * x),
        ("leak 64", 64.0, |x, _| 64.0 * x),
        ("leak 1880", 1880.0, |x, _| 1880.0 * x),
        ("fill+24", 24.0, |x, n| {
            24.0 * x + 1e6 * (x / n / 4.0).min(1.0)
        }),
        ("rare15k", 20.0, |x, _| {
            ((x + 5000.0) / 15000.0).floor() * 3e5
        }),
        ("once", 0.0, |x, _| if x > 5000.0 { 3e5 } else { 0.0 }),
        ("warm+24", 24.0, |x, n| {
            24.0 * x + 1e6 * (1.0 - (-x / n / 2.0).exp())
        }),
        ("fill2", 0.0, |x, n| 2e6 * (1.0 - (-x / n / 2.0).exp())),
        ("fill4", 0.0, |x, n| 2e6 * (1.0 - (-x / n / 4.0).exp())),
        ("fill10", 0.0, |x, n| 2e6 * (1.0 - (-x / n / 10.0).exp())),
        ("clamp4", 0.0, |x, n| 2e6 * (x / n / 4.0).min(1.0)),
        ("clamp8", 0.0, |x, n| 2e6 * (x / n / 8.0).min(1.0)),
        ("double", 10.0, |x, _| {
            let mut capacity = 16.0;
            while capacity < x + 5000.0 {
                capacity = (capacity * 1.5 + 16.0_f64).floor();
            }
            8.0 * capacity
        }),
    ];
    for operations in [2000.0] {
        for n in [6, 8, 12, 24] {
            println!(
                "\n{n} rounds of {operations}: leak/no leak/inconclusive in 50, coverage %, median half-width"
            );
            for (name, rate, shape) in shapes {
                let mut line = format!("{name:10}");
                for noise in noises {
                    let v = simulate(
                        50,
                        n,
                        operations,
                        noise,
                        &Terms {
                            warm_up_operations: 5000,
                            ..Terms::default()
                        },
                        |x| shape(x, operations),
                    );
                    let leak = v.iter().filter(|v| v.outcome == Outcome::Leak).count();
                    let none = v
                        .iter()
                        .filter(|v| matches!(v.outcome, Outcome::NoLeak(_)))
                        .count();
                    let mut half: Vec<f64> = v
                        .iter()
                        .map(|v| {
                            v.estimate
                                .as_ref()
                                .map_or(0.0, |g| 0.5 * (g.interval.high - g.interval.low))
                        })
                        .collect();
                    half.sort_by(f64::total_cmp);
                    let covered = v
                        .iter()
                        .filter(|v| {
                            v.estimate.as_ref().is_some_and(|g| {
                                g.interval.low - 1e-3 <= rate && rate <= g.interval.high + 1e-3
                            })
                        })
                        .count();
                    let _ = write!(
                        line,
                        " | {leak:3} {none:3} {:3} {:3}% {:6.2}",
                        50 - leak - none,
                        covered * 2,
                        half[25]
                    );
                }
                println!("{line}");
            }
        }
    }
}
