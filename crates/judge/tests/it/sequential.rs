//! Alpha over all looks, by simulation: whoever looks after every reading is still wrong in no more than one healthy
//! run of a hundred.

use crate::common::Generator;
use plimsoll_judge::{Axis, Judge, Outcome, Reading, Reason, Series, Terms, Verdict, judge};

/// Looks after every reading (or every `stride`-th) and says after how many a leak was found.
fn watch(terms: &Terms, like: &Series, values: &[Reading], stride: usize) -> Option<usize> {
    let mut judge = Judge::new(like.clone(), terms.clone(), Some(values.len()));
    for (i, reading) in values.iter().enumerate() {
        judge.push(*reading);
        if i % stride == 0 && judge.look().outcome == Outcome::Leak {
            return Some(i + 1);
        }
    }
    (judge.finish().outcome == Outcome::Leak).then_some(values.len())
}

fn round(i: usize, value: f64) -> Reading {
    Reading {
        t_ns: i as u64 * 700_000_000,
        value: 21e6 + value.round(),
        ops: 2000.0 * i as f64,
        collected: true,
        ..Reading::default()
    }
}

fn sample(i: usize, value: f64) -> Reading {
    Reading {
        t_ns: i as u64 * 200_000_000,
        value: 6e7 + value,
        ..Reading::default()
    }
}

fn raw() -> (Terms, Series) {
    let terms = Terms {
        planned_ns: Some(240_000_000_000),
        ..Terms::default()
    };
    let series = Series {
        metric: "heap_used".into(),
        axis: Axis::Time,
        ..Series::default()
    };
    (terms, series)
}

/// Alarms among so many runs of 48 rounds, looked at after each.
fn alarms_of_rounds(runs: u64, noise: impl Fn(&mut Generator) -> Vec<f64>) -> usize {
    (0..runs)
        .filter(|seed| {
            let mut g = Generator::new(*seed);
            let values: Vec<Reading> = noise(&mut g)
                .into_iter()
                .enumerate()
                .map(|(i, v)| round(i, v))
                .collect();
            watch(&Terms::default(), &Series::default(), &values, 1).is_some()
        })
        .count()
}

/// Alarms among so many recordings of 1,200 raw samples, looked at after each tenth.
fn alarms_of_samples(runs: u64, noise: impl Fn(&mut Generator) -> Vec<f64>) -> usize {
    let (terms, like) = raw();
    (0..runs)
        .filter(|seed| {
            let mut g = Generator::new(*seed);
            let values: Vec<Reading> = noise(&mut g)
                .into_iter()
                .enumerate()
                .map(|(i, v)| sample(i, v))
                .collect();
            watch(&terms, &like, &values, 10).is_some()
        })
        .count()
}

fn correlated(g: &mut Generator, n: usize, correlation: f64, deviation: f64) -> Vec<f64> {
    let mut state = g.normal();
    (0..n)
        .map(|_| {
            state = correlation * state + (1.0 - correlation * correlation).sqrt() * g.normal();
            deviation * state
        })
        .collect()
}

#[test]
fn alpha_holds_for_collected_rounds() {
    let white = alarms_of_rounds(100, |g| correlated(g, 48, 0.0, 1e4));
    let hanging = alarms_of_rounds(100, |g| correlated(g, 48, 0.5, 1e4));
    let heavy = alarms_of_rounds(100, |g| (0..48).map(|_| 1e4 * g.heavy()).collect());
    // What the first three tenths, where nobody looks, may hide: a warm-up that is over by then.
    let warm = alarms_of_rounds(100, |g| {
        let noise = correlated(g, 48, 0.0, 1e4);
        noise
            .iter()
            .enumerate()
            .map(|(i, v)| v + 2e6 * (1.0 - (-(i as f64) / 3.0).exp()))
            .collect()
    });
    assert!(
        [white, hanging, heavy, warm].iter().all(|a| *a <= 3)
            && white + hanging + heavy + warm <= 4,
        "of 100 runs each: white {white}, AR(.5) {hanging}, heavy tails {heavy}, warm-up {warm}"
    );
}

#[test]
fn alpha_holds_for_raw_samples() {
    let white = alarms_of_samples(40, |g| correlated(g, 1200, 0.0, 3e5));
    let hanging = alarms_of_samples(40, |g| correlated(g, 1200, 0.5, 3e5));
    let sawtooth = alarms_of_samples(40, |g| {
        let (mut young, top) = (0.0, 1e7);
        (0..1200)
            .map(|_| {
                young += 4e5 * g.uniform();
                if young > top * (0.9 + 0.2 * g.uniform()) {
                    young = 0.0;
                }
                young + 6e4 * g.normal()
            })
            .collect()
    });
    let warm = alarms_of_samples(40, |g| {
        let noise = correlated(g, 1200, 0.5, 3e5);
        noise
            .iter()
            .enumerate()
            .map(|(i, v)| v + 2e7 * (1.0 - (-(i as f64) / 70.0).exp()))
            .collect()
    });
    assert!(
        [white, hanging, sawtooth, warm].iter().all(|a| *a <= 1),
        "of 40 recordings each: white {white}, AR(.5) {hanging}, sawtooth {sawtooth}, warm-up {warm}"
    );
}

#[test]
fn a_leak_is_found_before_the_plan_is_over() {
    let mut stops = Vec::new();
    for seed in 0..60 {
        let mut g = Generator::new(seed);
        let values: Vec<Reading> = correlated(&mut g, 48, 0.0, 1e4)
            .into_iter()
            .enumerate()
            .map(|(i, v)| round(i, v + 24.0 * 2000.0 * i as f64))
            .collect();
        stops.push(watch(&Terms::default(), &Series::default(), &values, 1).unwrap_or(999));
    }
    stops.sort_unstable();
    assert!(stops[30] <= 24 && stops[57] <= 48, "{stops:?}");
}

fn leaking(rounds: usize) -> Judge {
    let mut judge = Judge::new(Series::default(), Terms::default(), Some(20));
    for i in 0..rounds {
        judge.push(round(i, 1e6 * i as f64));
    }
    judge
}

fn reason(verdict: &Verdict) -> Option<Reason> {
    match &verdict.outcome {
        Outcome::Inconclusive { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

#[test]
fn one_look_is_not_enough_and_two_are() {
    let mut judge = leaking(7);
    assert!(judge.is_due());
    assert_eq!(reason(&judge.look()), Some(Reason::Unconfirmed));
    // Another look at the same readings costs nothing and says nothing new.
    assert!(!judge.is_due());
    assert_eq!(reason(&judge.look()), Some(Reason::Unconfirmed));
    judge.push(round(7, 7e6));
    assert_eq!(
        reason(&judge.look()),
        Some(Reason::Unconfirmed),
        "8 readings are not 1.2 x 7"
    );
    judge.push(round(8, 8e6));
    assert_eq!(judge.look().outcome, Outcome::Leak);
    assert_eq!(judge.clone().finish(), judge.look());
}

#[test]
fn nobody_looks_before_the_minimum_share_of_the_plan() {
    let mut judge = leaking(5);
    assert_eq!(reason(&judge.look()), Some(Reason::TooEarly));
    // The end of the run is no question of patience: what there is is judged.
    assert_eq!(judge.finish().outcome, Outcome::Leak);
}

#[test]
fn each_look_spends_its_share_of_alpha_and_no_more() {
    let mut judge = leaking(6);
    let mut spent = 0.0;
    for i in 6..200 {
        judge.push(round(i, 0.0));
        if judge.is_due() {
            spent += judge.look().guarantee.alpha;
        }
    }
    let left = judge.finish().guarantee.alpha;
    assert!(left > 0.0 && spent + left < 0.01, "{spent} and {left}");
}

#[test]
fn the_last_verdict_is_that_on_the_whole_series() {
    let judge_at_end = leaking(20).finish();
    let series = leaking(20).series().clone();
    let alone = judge(&series, &Terms::default());
    assert_eq!(judge_at_end.outcome, alone.outcome);
    assert_eq!(judge_at_end.estimate, alone.estimate);
}
