//! Judges a very long recording and says how long that took: `long [READINGS] [MODE]`, mode `generate` only builds it.
//!
//! Run it under `/usr/bin/time -v` with both modes: the difference of the peaks is what the judge needs beside its input.
#![expect(clippy::print_stdout, reason = "an example program")]
#![expect(
    clippy::disallowed_methods,
    reason = "the judge is pure; the example around it times it"
)]

use plimsoll_judge::{Axis, Series, Terms, judge};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let readings: u64 = arguments
        .next()
        .and_then(|a| a.parse().ok())
        .unwrap_or(10_000_000);
    let only_generate = arguments.next().is_some_and(|m| m == "generate");
    let n = readings as usize;
    let mut series = Series {
        metric: "heap_used".into(),
        axis: Axis::Time,
        t_ns: Vec::with_capacity(n),
        value: Vec::with_capacity(n),
        ..Series::default()
    };
    let mut state = 1_u64;
    for i in 0..readings {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let noise = (state >> 40) as f64;
        let sawtooth = 20.0 * (i % 997) as f64 * 1000.0;
        series.t_ns.push(i * 100_000_000);
        series
            .value
            .push(6e7 + 0.5 * i as f64 + sawtooth + noise * 0.01);
    }
    let bytes = n * 16;
    println!("{n} readings, {:.0} MB of input", bytes as f64 / 1e6);
    if only_generate {
        return;
    }
    let start = std::time::Instant::now();
    let verdict = judge(&series, &Terms::default());
    println!("judged in {:.3} s", start.elapsed().as_secs_f64());
    println!("{:?} {:?}", verdict.outcome, verdict.pattern);
    if let Some(growth) = verdict.estimate {
        println!("{:.3} B/s, {:?}; true 5", growth.rate, growth.interval);
    }
}
