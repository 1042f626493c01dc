//! Work that changes while it is measured, and what counts say twice.

use crate::common::{Generator, Noise, rounds, simulate};
use plimsoll_judge::{Outcome, Quantity, Reason, Series, Terms, Work, judge};

/// Twelve rounds that keep 2 kB per operation.
fn growing() -> Series {
    rounds(12, 1000.0, |x| 2000.0 * x, &[0.0; 12])
}

fn with(change: impl FnOnce(&mut Series)) -> Outcome {
    let mut series = growing();
    change(&mut series);
    judge(&series, &Terms::default()).outcome
}

fn column(of: impl Fn(f64) -> f64) -> Vec<f64> {
    (0..12).map(|i| of(f64::from(i))).collect()
}

#[test]
fn a_list_over_a_table_that_fills_is_work_that_changed_and_no_leak() {
    let outcome = with(|s| s.response_bytes_per_op = column(|i| 900.0 + 60_000.0 * i));
    assert!(
        matches!(outcome, Outcome::Inconclusive { reason: Reason::WorkChanged(c), .. }
            if c.work == Work::ResponseBytes && c.to > 5.0 * c.from),
        "{outcome:?}"
    );
}

#[test]
fn the_same_work_throughout_leaves_the_leak_a_leak() {
    let mut g = Generator::new(7);
    let noise: Vec<f64> = (0..12).map(|_| 30.0 * g.normal()).collect();
    assert_eq!(
        with(|s| s.response_bytes_per_op = column(|i| 900.0 + noise[i as usize])),
        Outcome::Leak
    );
    assert_eq!(with(|s| s.error_share = column(|_| 0.002)), Outcome::Leak);
    assert_eq!(
        with(|s| s.response_bytes_per_op = column(|_| f64::NAN)),
        Outcome::Leak
    );
    assert_eq!(
        with(|s| s.response_bytes_per_op = vec![1.0, 2.0]),
        Outcome::Leak
    );
}

#[test]
fn operations_that_fail_more_and_more_are_work_that_changed() {
    let outcome = with(|s| s.error_share = column(|i| 0.03 * i));
    assert!(
        matches!(outcome, Outcome::Inconclusive { reason: Reason::WorkChanged(c), .. } if c.work == Work::ErrorShare),
        "{outcome:?}"
    );
}

#[test]
fn operations_that_only_slow_down_are_told_and_still_a_leak() {
    let mut series = growing();
    series.operation_ns = column(|i| 1e6 * (1.0 + i));
    let v = judge(&series, &Terms::default());
    assert_eq!(v.outcome, Outcome::Leak);
    assert_eq!(v.slowdown.map(|c| c.work), Some(Work::OperationTime));
}

#[test]
fn bounded_memory_is_no_leak_whatever_the_work_does() {
    let mut series = rounds(12, 1000.0, |_| 0.0, &[0.0; 12]);
    series.response_bytes_per_op = column(|i| 900.0 + 60_000.0 * i);
    assert!(matches!(
        judge(&series, &Terms::default()).outcome,
        Outcome::NoLeak(_)
    ));
}

#[test]
fn the_bets_agree_with_a_leak_of_counts_and_are_silent_about_none() {
    let counts = |per_op: f64| {
        judge(
            &Series {
                quantity: Quantity::Count,
                resolution: 1.0,
                ..rounds(12, 1000.0, |x| per_op * x, &[0.0; 12])
            },
            &Terms::default(),
        )
    };
    let (leaky, flat) = (counts(1.0), counts(0.0));
    assert_eq!(leaky.outcome, Outcome::Leak);
    assert!(leaky.bets_p_value.is_some_and(|p| p < 0.002) && leaky.p_value < 0.003);
    assert_eq!(flat.bets_p_value, Some(1.0));
}

#[test]
fn bets_hardly_ever_contradict_an_honest_verdict() {
    for noise in [
        Noise::White(1e4),
        Noise::Heavy(1e4),
        Noise::Correlated(1e4),
        Noise::Spikes(1e4),
    ] {
        for rate in [0.0, 24.0, 64.0] {
            let v = simulate(40, 24, 2000.0, noise, &Terms::default(), |x| rate * x);
            let withdrawn = v
                .iter()
                .filter(|v| {
                    matches!(
                        v.outcome,
                        Outcome::Inconclusive {
                            reason: Reason::Contradiction,
                            ..
                        }
                    )
                })
                .count();
            assert!(withdrawn <= 1, "{withdrawn} of 40 with {noise:?} at {rate}");
        }
    }
}

#[test]
fn a_falling_line_with_one_huge_jump_is_no_leak_whatever_the_slope() {
    // Every round frees a little; one round in the middle adds far more than all of them free.
    let v = judge(
        &rounds(
            24,
            1000.0,
            |x| -20.0 * x + if x > 11_500.0 { 4e6 } else { 0.0 },
            &[0.0; 24],
        ),
        &Terms::default(),
    );
    assert_ne!(v.outcome, Outcome::Leak);
}

#[test]
fn correlation_with_the_operations_is_told() {
    let leak = judge(&growing(), &Terms::default())
        .estimate
        .and_then(|g| g.correlation);
    assert!(leak.is_some_and(|c| c > 0.999), "{leak:?}");
    let mut g = Generator::new(3);
    let noise = Noise::White(1e4).draw(40, &mut g);
    let flat = judge(&rounds(40, 1000.0, |_| 0.0, &noise), &Terms::default());
    let flat = flat.estimate.and_then(|g| g.correlation);
    assert!(flat.is_some_and(|c| c.abs() < 0.6), "{flat:?}");
}
