//! The verdict on simple series whose answer is known.

use crate::common::{Noise, rounds, simulate};
use plimsoll_judge::{
    Axis, Outcome, Overall, Pattern, Quantity, Reason, Repair, Series, Terms, judge, judge_family,
    overall,
};

fn exact(n: usize, signal: impl Fn(f64) -> f64) -> Series {
    rounds(n, 1000.0, signal, &vec![0.0; n])
}

#[test]
fn exact_growth_is_a_leak_with_a_tight_interval() {
    for n in [6, 12, 48] {
        let v = judge(&exact(n, |x| 40.0 * x), &Terms::default());
        let g = v.estimate.unwrap();
        assert_eq!(
            (v.outcome, v.pattern),
            (Outcome::Leak, Pattern::Linear),
            "{n}"
        );
        assert!((g.rate - 40.0).abs() < 0.01, "{}", g.rate);
        assert!(g.interval.high - g.interval.low < 0.5, "{:?}", g.interval);
        assert!(v.leak_probability >= 0.98 && v.p_value < 1e-3);
        assert!((g.acceleration - 1.0).abs() < 0.01 && g.consistency == 1.0);
    }
}

#[test]
fn exact_counts_are_judged_by_their_own_floor() {
    let counts = |per_op: f64| Series {
        quantity: Quantity::Count,
        resolution: 1.0,
        ..exact(12, |x| per_op * x)
    };
    assert_eq!(
        judge(&counts(1.0), &Terms::default()).outcome,
        Outcome::Leak
    );
    assert_eq!(
        judge(&counts(0.05), &Terms::default()).outcome,
        Outcome::Leak
    );
    assert!(
        matches!(judge(&counts(0.0), &Terms::default()).outcome, Outcome::NoLeak(b) if b.rate < 0.005)
    );
    assert!(
        matches!(judge(&counts(0.001), &Terms::default()).outcome, Outcome::NoLeak(b) if b.rate < 0.005)
    );
}

#[test]
fn exactly_flat_is_no_leak() {
    for n in [6, 12, 48] {
        let v = judge(&exact(n, |_| 0.0), &Terms::default());
        assert!(
            matches!(v.outcome, Outcome::NoLeak(b) if b.rate.abs() < 1.0),
            "{:?}",
            v.outcome
        );
        assert!(v.leak_probability < 0.02, "{}", v.leak_probability);
        assert_eq!(v.pattern, Pattern::Flat);
    }
}

#[test]
fn growth_below_the_floor_is_no_leak_and_a_users_floor_is_obeyed() {
    let slow = exact(12, |x| 2.0 * x);
    assert!(matches!(
        judge(&slow, &Terms::default()).outcome,
        Outcome::NoLeak(_)
    ));
    assert_eq!(
        judge(
            &slow,
            &Terms {
                floor: Some(1.0),
                ..Terms::default()
            }
        )
        .outcome,
        Outcome::Leak
    );
    let fast = exact(12, |x| 40.0 * x);
    assert!(matches!(
        judge(
            &fast,
            &Terms {
                floor: Some(64.0),
                ..Terms::default()
            }
        )
        .outcome,
        Outcome::NoLeak(_)
    ));
}

#[test]
fn too_few_readings_say_how_many_are_needed() {
    for n in 0..5 {
        let v = judge(&exact(n, |x| 40.0 * x), &Terms::default());
        assert!(
            matches!(v.outcome, Outcome::Inconclusive { reason: Reason::TooFewReadings { have, need: 5 }, .. } if have == n)
        );
        assert!(v.estimate.is_none());
    }
}

#[test]
fn growth_while_idle_is_not_blamed_on_operations_without_collections_either() {
    let series = Series {
        axis: Axis::Operations,
        collected: vec![false; 60],
        ..exact(60, |x| 400.0 * x)
    };
    let idle = |per_op: f64| Terms {
        idle_growth_per_op: per_op,
        ..Terms::default()
    };
    assert_eq!(judge(&series, &idle(0.0)).outcome, Outcome::Leak);
    assert_eq!(judge(&series, &idle(40.0)).outcome, Outcome::Leak);
    let v = judge(&series, &idle(390.0));
    let Outcome::Inconclusive { reason, .. } = v.outcome else {
        panic!("{:?}", v.outcome);
    };
    assert_eq!(reason, Reason::GrowsWhileIdle);
    let g = v.estimate.unwrap();
    assert!(
        (g.rate - 400.0).abs() < 1.0 && g.interval.low < 12.0,
        "{g:?}"
    );
}

/// Live bytes over rounds of 500 requests of a healthy server: compiled code came, and had not gone yet.
#[test]
fn what_a_healthy_runtime_rises_by_is_no_leak() {
    let level = [0, 2_984, 17_024, 39_344, 54_288, 76_128, 98_288];
    let series = Series {
        value: level.iter().map(|v| 7.4e6 + f64::from(*v)).collect(),
        ..exact(7, |_| 0.0)
    };
    let within = |sway| Terms {
        sway,
        ..Terms::default()
    };
    assert_eq!(judge(&series, &within(0.0)).outcome, Outcome::Leak);
    let v = judge(&series, &within(131_072.0));
    let Outcome::Inconclusive { reason, .. } = v.outcome else {
        panic!("{:?}", v.outcome);
    };
    assert_eq!(reason, Reason::Noise);
    // Ten times as much is no sway.
    let series = Series {
        value: level.iter().map(|v| 7.4e6 + f64::from(10 * v)).collect(),
        ..series
    };
    assert_eq!(judge(&series, &within(131_072.0)).outcome, Outcome::Leak);
}

/// Readings of a healthy server on a machine with much else to do.
#[test]
fn what_may_not_grow_at_all_is_held_against_the_highest_floor() {
    let level = [
        0, 31_128, 23_872, 32_056, 47_056, 52_376, 29_680, 31_000, 44_000, 30_500, 47_500, 33_000,
    ];
    let series = |more: f64| Series {
        value: (0_u32..)
            .zip(level)
            .map(|(i, v)| 7.4e6 + 3.0 * f64::from(v) + more * 3_842.0 * f64::from(i))
            .collect(),
        ..rounds(12, 3_842.0, |_| 0.0, &[0.0; 12])
    };
    let v = judge(&series(0.0), &Terms::default());
    let Outcome::NoLeak(bound) = v.outcome else {
        panic!("{v:?}");
    };
    assert!(bound.rate < v.floor && v.floor == 16.0, "{v:?}");
    // A floor of the user's stands.
    let own = Terms {
        floor: Some(1.0),
        ..Terms::default()
    };
    let v = judge(&series(0.0), &own);
    assert!(matches!(v.outcome, Outcome::Inconclusive { .. }), "{v:?}");
    assert_eq!(v.floor, 1.0);
    // What grows for certain is no less of a leak.
    let v = judge(&series(8.0), &Terms::default());
    assert!(!matches!(v.outcome, Outcome::NoLeak(_)), "{v:?}");
}

/// Readings of a server that keeps 64 KiB a second, whether requests come or not.
#[test]
fn what_growth_while_idle_explains_is_not_called_level() {
    let level = [
        0, 22_192, 86_368, 174_512, 251_720, 260_216, 290_896, 369_765, 440_311, 450_280, 504_656,
        545_880, 573_872,
    ];
    let series = Series {
        value: level.iter().map(|v| 6_926_856.0 + f64::from(*v)).collect(),
        ..rounds(13, 3_798.0, |_| 0.0, &[0.0; 13])
    };
    let terms = Terms {
        idle_growth_per_op: 10.4,
        warm_up_operations: 31_376,
        looks: 8,
        look: 3,
        ..Terms::default()
    };
    let v = judge(&series, &terms);
    assert!(matches!(v.outcome, Outcome::Inconclusive { .. }), "{v:?}");
}

#[test]
fn growth_while_idle_is_not_blamed_on_operations() {
    let series = exact(12, |x| 40.0 * x);
    let v = judge(
        &series,
        &Terms {
            idle_growth_per_op: 39.0,
            ..Terms::default()
        },
    );
    assert!(
        matches!(
            v.outcome,
            Outcome::Inconclusive {
                reason: Reason::GrowsWhileIdle,
                ..
            }
        ),
        "{:?}",
        v.outcome
    );
    let g = v.estimate.unwrap();
    assert!(
        (g.rate - 40.0).abs() < 0.1,
        "idle growth is never subtracted: {}",
        g.rate
    );
    assert!(
        g.interval.low < 1.5,
        "it widens the interval: {:?}",
        g.interval
    );
    assert_eq!(
        judge(
            &series,
            &Terms {
                idle_growth_per_op: 3.0,
                ..Terms::default()
            }
        )
        .outcome,
        Outcome::Leak
    );
}

#[test]
fn an_unsettled_warm_up_needs_growth_that_does_not_slow_down() {
    let unsettled = Terms {
        settled: false,
        ..Terms::default()
    };
    assert_eq!(
        judge(&exact(18, |x| 40.0 * x), &unsettled).outcome,
        Outcome::Leak
    );
    let slowing = exact(18, |x| 40.0 * x + 4e5 * (1.0 - (-x / 3000.0).exp()));
    assert!(matches!(
        judge(&slowing, &unsettled).outcome,
        Outcome::Inconclusive { .. }
    ));
}

#[test]
fn the_time_to_limit_is_at_the_runs_own_rate_or_the_expected_one() {
    // 40 bytes per operation, 1,000 operations in 0.7 s, 23 MB to go.
    let series = exact(12, |x| 40.0 * x);
    let limit = 21e6 + 40.0 * 11_000.0 + 23e6;
    let at = |expected_rate| {
        let v = judge(
            &series,
            &Terms {
                limit: Some(limit),
                expected_rate,
                ..Terms::default()
            },
        );
        v.estimate.unwrap().time_to_limit.unwrap()
    };
    let own = at(None);
    assert!(
        (own.seconds / (23e6 / 40.0 / 1000.0 * 0.7) - 1.0).abs() < 0.01,
        "{own:?}"
    );
    assert!(own.interval.low <= own.seconds && own.seconds <= own.interval.high);
    assert!((at(Some(50.0)).seconds / (23e6 / 40.0 / 50.0) - 1.0).abs() < 0.01);
}

#[test]
fn a_leak_that_begins_mid_run_has_an_onset() {
    let v = judge(
        &exact(24, |x| 40.0 * (x - 12_000.0).max(0.0)),
        &Terms::default(),
    );
    assert_eq!(v.outcome, Outcome::Leak);
    let onset = v.estimate.unwrap().onset.expect("an onset");
    assert!(
        (onset.operations.unwrap() - 12_000.0).abs() <= 2500.0,
        "{onset:?}"
    );
}

#[test]
fn a_family_pays_for_its_size() {
    // One series that is only just significant, alone and among many healthy ones.
    let flat = exact(12, |_| 0.0);
    let verdicts = simulate(40, 8, 1000.0, Noise::White(1e4), &Terms::default(), |x| {
        30.0 * x
    });
    let just = verdicts
        .iter()
        .position(|v| v.outcome == Outcome::Leak && v.p_value > 1e-4)
        .expect("a close call");
    let mut g = crate::common::Generator::new(just as u64 + 8000);
    let noise = Noise::White(1e4).draw(8, &mut g);
    let close = rounds(8, 1000.0, |x| 30.0 * x, &noise);
    assert_eq!(judge(&close, &Terms::default()).outcome, Outcome::Leak);
    let mut family = vec![flat; 200];
    family.push(close);
    let judged = judge_family(&family, &Terms::default());
    assert!(
        matches!(judged[200].outcome, Outcome::Inconclusive { .. }),
        "{:?}",
        judged[200]
    );
    assert_eq!(overall(&judged), Overall::Inconclusive);
    assert_eq!(overall(&judged[..200]), Overall::NoLeak);
    assert_eq!(overall(&[]), Overall::Inconclusive);
}

#[test]
fn a_restart_splits_the_series_and_the_longest_stretch_is_judged() {
    let n = 2000_u64;
    let series = Series {
        metric: "rss".into(),
        axis: Axis::Time,
        t_ns: (0..n).map(|i| i * 200_000_000).collect(),
        value: (0..n)
            .map(|i| {
                4e7 + 100_000.0 * 0.2 * (if i < 1400 { i } else { i - 1400 }) as f64
                    + ((i * 7919) % 97) as f64 * 300.0
            })
            .collect(),
        ..Series::default()
    };
    let v = judge(&series, &Terms::default());
    assert_eq!(v.outcome, Outcome::Leak);
    assert!(
        matches!(
            v.repairs[..],
            [Repair::Restarts {
                segments: 2,
                kept: 1380..=1420
            }]
        ),
        "{:?}",
        v.repairs
    );
    let g = v.estimate.unwrap();
    assert!((g.rate / 100_000.0 - 1.0).abs() < 0.05, "{}", g.rate);
    assert_eq!(g.per, Axis::Time);
}

#[test]
fn memory_that_follows_the_load_is_no_leak() {
    let n = 1500_usize;
    let load = |i: usize| (i as f64 / 5.0).min(200.0).floor();
    let series = Series {
        metric: "rss".into(),
        axis: Axis::Time,
        t_ns: (0..n as u64).map(|i| i * 200_000_000).collect(),
        value: (0..n)
            .map(|i| 5e7 + 1e5 * load(i) + ((i * 7919) % 97) as f64 * 3000.0)
            .collect(),
        load: (0..n).map(load).collect(),
        ..Series::default()
    };
    let v = judge(&series, &Terms::default());
    assert!(!matches!(v.outcome, Outcome::Leak), "{v:?}");
}

#[test]
fn rounds_can_be_judged_against_time() {
    // 40 bytes per operation at 1,000 operations per 0.7 s.
    let series = Series {
        axis: Axis::Time,
        ..exact(12, |x| 40.0 * x)
    };
    let v = judge(
        &series,
        &Terms {
            limit: Some(1e9),
            ..Terms::default()
        },
    );
    assert_eq!(v.outcome, Outcome::Leak);
    let g = v.estimate.unwrap();
    assert_eq!(g.per, Axis::Time);
    assert!((g.rate * 0.7 / 40_000.0 - 1.0).abs() < 0.01, "{}", g.rate);
    assert!((g.per_operation.unwrap() - 40.0).abs() < 0.1);
    assert!((g.time_to_limit.unwrap().seconds * g.rate / (1e9 - 21.4e6) - 1.0).abs() < 0.01);
    let flat = Series {
        axis: Axis::Time,
        ..exact(12, |_| 0.0)
    };
    assert!(matches!(
        judge(&flat, &Terms::default()).outcome,
        Outcome::NoLeak(_)
    ));
}
