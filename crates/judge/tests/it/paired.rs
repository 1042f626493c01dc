//! A run against its baseline: what both do cancels, what only one does is found.

use crate::common::{Generator, Noise, rounds};
use plimsoll_judge::{
    Axis, Outcome, PairedOutcome, PairedVerdict, Quantity, Series, Terms, judge, judge_paired,
};

const RUNS: u64 = 40;

/// A cache that is not full when the run ends: alone it cannot be told from a leak.
fn filling(x: f64) -> f64 {
    3e6 * (1.0 - (-x / 12_000.0).exp())
}

fn series(seed: u64, n: usize, noise: Noise, signal: impl Fn(f64) -> f64) -> Series {
    let drawn = noise.draw(n, &mut Generator::new(seed));
    rounds(n, 2000.0, signal, &drawn)
}

fn pairs(noise: Noise, n: usize, more: f64) -> Vec<PairedVerdict> {
    (0..RUNS)
        .map(|seed| {
            let baseline = series(2 * seed, n, noise, filling);
            let new = series(2 * seed + 1, n, noise, |x| filling(x) + more * x);
            judge_paired(&new, &baseline, &Terms::default())
        })
        .collect()
}

fn count(verdicts: &[PairedVerdict], is: impl Fn(&PairedOutcome) -> bool) -> u64 {
    verdicts.iter().filter(|v| is(&v.outcome)).count() as u64
}

fn covered(verdicts: &[PairedVerdict], rate: f64) -> u64 {
    let covers = |v: &&PairedVerdict| v.interval.is_some_and(|i| i.low <= rate && rate <= i.high);
    verdicts.iter().filter(covers).count() as u64
}

#[test]
fn what_both_runs_do_cancels() {
    for noise in [Noise::White(1e4), Noise::Heavy(1e4), Noise::Correlated(1e4)] {
        let v = pairs(noise, 24, 0.0);
        let changed = count(&v, |o| {
            matches!(o, PairedOutcome::Worse | PairedOutcome::Better)
        });
        let same = count(&v, |o| matches!(o, PairedOutcome::Equivalent { .. }));
        assert!(
            changed <= 1,
            "{changed} of {RUNS} equal pairs with {noise:?} differ"
        );
        assert!(
            same >= 30,
            "{same} of {RUNS} equal pairs with {noise:?} are equivalent"
        );
        assert!(
            covered(&v, 0.0) >= 36,
            "{} cover with {noise:?}",
            covered(&v, 0.0)
        );
    }
}

#[test]
fn a_leak_behind_a_cache_that_fills_is_worse_by_what_it_leaks() {
    for noise in [Noise::White(1e4), Noise::Heavy(1e4), Noise::Correlated(1e4)] {
        let v = pairs(noise, 24, 40.0);
        let worse = count(&v, |o| *o == PairedOutcome::Worse);
        assert!(worse >= 36, "{worse} of {RUNS} with {noise:?}");
        assert!(
            covered(&v, 40.0) >= 34,
            "{} cover with {noise:?}",
            covered(&v, 40.0)
        );
        let same = count(&v, |o| matches!(o, PairedOutcome::Equivalent { .. }));
        assert_eq!(same, 0, "{noise:?}");
    }
    let alone = judge(
        &series(1, 24, Noise::White(1e4), filling),
        &Terms::default(),
    );
    assert_ne!(alone.outcome, Outcome::Leak);
}

#[test]
fn a_leak_that_was_mended_is_better() {
    let v: Vec<PairedVerdict> = (0..RUNS)
        .map(|seed| {
            let leaky = series(2 * seed, 12, Noise::White(1e4), |x| 64.0 * x);
            let mended = series(2 * seed + 1, 12, Noise::White(1e4), |_| 0.0);
            judge_paired(&mended, &leaky, &Terms::default())
        })
        .collect();
    let better = count(&v, |o| *o == PairedOutcome::Better);
    assert!(better >= 36, "{better}");
    assert!(covered(&v, -64.0) >= 34);
}

#[test]
fn the_same_leak_in_both_is_equivalent() {
    let run = |offset: f64| rounds(12, 1000.0, |x| 64.0 * x + offset, &[0.0; 12]);
    let v = judge_paired(&run(1e6), &run(0.0), &Terms::default());
    assert!(
        matches!(v.outcome, PairedOutcome::Equivalent { within } if within < 4.0),
        "{v:?}"
    );
    assert_eq!(v.compared, 12);
}

#[test]
fn runs_of_other_lengths_and_rounds_are_compared_where_both_were_read() {
    let baseline = rounds(30, 700.0, |x| 10.0 * x, &[0.0; 30]);
    let new = rounds(12, 1000.0, |x| 60.0 * x, &[0.0; 12]);
    let v = judge_paired(&new, &baseline, &Terms::default());
    assert_eq!((v.outcome.clone(), v.compared), (PairedOutcome::Worse, 12));
    assert!(v.rate.is_some_and(|r| (r - 50.0).abs() < 0.5), "{v:?}");
    let shorter = judge_paired(&baseline, &new, &Terms::default());
    assert_eq!(shorter.outcome, PairedOutcome::Better);
    assert_eq!(shorter.compared, 16);
}

#[test]
fn counts_have_their_own_floor() {
    let counts = |per_op: f64| Series {
        quantity: Quantity::Count,
        resolution: 1.0,
        ..rounds(12, 1000.0, |x| per_op * x, &[0.0; 12])
    };
    let v = |new, old| judge_paired(&counts(new), &counts(old), &Terms::default()).outcome;
    assert_eq!(v(0.1, 0.0), PairedOutcome::Worse);
    assert!(matches!(v(0.1, 0.1), PairedOutcome::Equivalent { .. }));
}

/// Ten minutes at 5 Hz: warm-up, sawtooth, noise, and a leak.
fn recording(seed: u64, rate: f64) -> Series {
    let mut g = Generator::new(seed);
    let mut young = 0.0;
    let mut series = Series {
        metric: "heap_used".into(),
        axis: Axis::Time,
        ..Series::default()
    };
    for i in 0..3000_u64 {
        young += 2e5 * g.uniform();
        if young > 1e7 * (0.9 + 0.2 * g.uniform()) {
            young = 0.0;
        }
        let seconds = i as f64 * 0.2;
        let warm = 3e7 * (1.0 - (-seconds / 300.0).exp());
        series.t_ns.push((seconds * 1e9) as u64);
        series
            .value
            .push(6e7 + warm + rate * seconds + young + 6e4 * g.normal());
    }
    series
}

#[test]
fn recordings_are_compared_by_their_envelopes() {
    let verdicts = |rate: f64| -> Vec<PairedVerdict> {
        (0..20)
            .map(|s| {
                judge_paired(
                    &recording(2 * s, rate),
                    &recording(2 * s + 1, 0.0),
                    &Terms::default(),
                )
            })
            .collect()
    };
    let same = verdicts(0.0);
    assert!(
        count(&same, |o| matches!(
            o,
            PairedOutcome::Worse | PairedOutcome::Better
        )) <= 1
    );
    let leaky = verdicts(20_000.0);
    let worse = count(&leaky, |o| *o == PairedOutcome::Worse);
    assert!(worse >= 18, "{worse} of 20");
    assert!(
        covered(&leaky, 20_000.0) >= 17,
        "{}",
        covered(&leaky, 20_000.0)
    );
}

#[test]
fn nothing_to_compare_is_inconclusive_and_never_a_panic() {
    let good = rounds(12, 1000.0, |x| x, &[0.0; 12]);
    let empty = Series::default();
    let one = rounds(1, 1000.0, |x| x, &[0.0]);
    let odd = Series {
        value: vec![f64::NAN, 1.0, f64::INFINITY],
        ..good.clone()
    };
    for (a, b) in [
        (&good, &empty),
        (&empty, &good),
        (&empty, &empty),
        (&one, &good),
        (&good, &odd),
        (&odd, &one),
    ] {
        for axis in [Axis::Operations, Axis::Time] {
            let a = Series { axis, ..a.clone() };
            let v = judge_paired(&a, b, &Terms::default());
            assert!(
                matches!(v.outcome, PairedOutcome::Inconclusive { .. }),
                "{v:?}"
            );
        }
    }
}
