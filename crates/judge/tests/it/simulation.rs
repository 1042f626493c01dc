//! Error rates and coverage by simulation with fixed seeds. The tolerances are wide enough never to flake (the seeds
//! are fixed, so they cannot) and narrow enough to catch a broken rule.

use crate::common::{Generator, Noise, rounds, simulate};
use plimsoll_judge::{Axis, Outcome, Reason, Series, Terms, Verdict, judge};

const NOISES: [Noise; 4] = [
    Noise::White(1e4),
    Noise::Heavy(1e4),
    Noise::Correlated(1e4),
    Noise::Spikes(1e4),
];

fn leaks(verdicts: &[Verdict]) -> usize {
    verdicts
        .iter()
        .filter(|v| v.outcome == Outcome::Leak)
        .count()
}

fn clears(verdicts: &[Verdict]) -> usize {
    verdicts
        .iter()
        .filter(|v| matches!(v.outcome, Outcome::NoLeak(_)))
        .count()
}

fn warm() -> Terms {
    Terms {
        warm_up_operations: 5000,
        ..Terms::default()
    }
}

#[test]
fn flat_memory_is_never_a_leak() {
    for noise in [
        NOISES.as_slice(),
        &[Noise::None, Noise::Walk(4e3), Noise::Flush(1e4)],
    ]
    .concat()
    {
        let found: usize = [6, 12, 24]
            .map(|n| leaks(&simulate(60, n, 2000.0, noise, &warm(), |_| 0.0)))
            .iter()
            .sum();
        assert!(
            found <= 1,
            "{found} of 180 flat runs with {noise:?} were called leaks"
        );
    }
}

#[test]
fn flat_memory_is_cleared_in_twelve_rounds() {
    for noise in NOISES {
        let cleared = clears(&simulate(60, 12, 2000.0, noise, &warm(), |_| 0.0));
        assert!(
            cleared >= 50,
            "only {cleared} of 60 flat runs with {noise:?} were cleared"
        );
    }
}

#[test]
fn a_leak_of_24_bytes_is_found_in_twelve_rounds_and_never_cleared() {
    for noise in NOISES {
        let v = simulate(60, 12, 2000.0, noise, &warm(), |x| 24.0 * x);
        assert_eq!(clears(&v), 0, "{noise:?}");
        assert!(leaks(&v) >= 42, "{} of 60 with {noise:?}", leaks(&v));
    }
}

#[test]
fn the_interval_covers_the_true_rate() {
    for noise in NOISES {
        for n in [10, 12, 24, 48] {
            let v = simulate(60, n, 2000.0, noise, &warm(), |x| 64.0 * x);
            let covered = v
                .iter()
                .filter_map(|v| v.estimate.as_ref())
                .filter(|g| g.interval.low <= 64.0 && 64.0 <= g.interval.high)
                .count();
            assert!(
                covered >= 52,
                "{covered} of 60 intervals cover, {n} rounds, {noise:?}"
            );
        }
    }
}

#[test]
fn a_bounded_cache_is_never_a_leak() {
    // 2 MB of random keys, filled after two or four rounds, or unique keys up to a cap in the fourth.
    let caches: [fn(f64) -> f64; 3] = [
        |x| 2e6 * (1.0 - (-x / 4000.0).exp()),
        |x| 2e6 * (1.0 - (-x / 8000.0).exp()),
        |x| 2e6 * (x / 8000.0).min(1.0),
    ];
    for (i, cache) in caches.into_iter().enumerate() {
        for n in [8, 12, 24] {
            for noise in [Noise::None, Noise::White(1e4), Noise::Heavy(1e4)] {
                let v = simulate(30, n, 2000.0, noise, &warm(), cache);
                assert_eq!(leaks(&v), 0, "cache {i}, {n} rounds, {noise:?}");
            }
        }
    }
}

#[test]
fn a_cache_that_filled_early_is_cleared_and_has_its_plateau() {
    let v = simulate(30, 24, 2000.0, Noise::White(1e4), &warm(), |x| {
        2e6 * (x / 8000.0).min(1.0)
    });
    assert!(clears(&v) >= 28, "{}", clears(&v));
    let plateau = v[0]
        .estimate
        .as_ref()
        .and_then(|g| g.plateau)
        .expect("a plateau");
    assert!((plateau.level - 23e6).abs() < 3e4, "{plateau:?}");
}

#[test]
fn a_cache_that_is_still_filling_says_so() {
    let v = simulate(1, 12, 2000.0, Noise::None, &warm(), |x| {
        2e6 * (1.0 - (-x / 8000.0).exp())
    });
    assert!(
        matches!(v[0].outcome, Outcome::Inconclusive { reason: Reason::StillFilling, more } if more.operations > Some(0)),
        "{:?}",
        v[0].outcome
    );
}

#[test]
fn a_doubling_container_is_never_cleared_and_found_in_the_end() {
    let doubling = |x: f64| {
        let mut capacity = 16.0;
        while capacity < x + 5000.0 {
            capacity = (capacity * 1.5 + 16.0_f64).floor();
        }
        8.0 * capacity
    };
    let noise = Noise::White(8e3);
    for n in [8, 12, 18, 24] {
        assert!(
            clears(&simulate(30, n, 2000.0, noise, &warm(), doubling)) <= 1,
            "{n} rounds"
        );
    }
    assert!(leaks(&simulate(30, 24, 2000.0, noise, &warm(), doubling)) >= 20);
}

#[test]
fn a_rare_leak_is_not_cleared_after_its_first_step() {
    // 300 kB kept every 15,000 operations: one step in twelve rounds, three in 24.
    let rare = |x: f64| ((x + 5000.0) / 15_000.0).floor() * 3e5;
    for noise in [Noise::None, Noise::White(1e4), Noise::Heavy(1e4)] {
        assert!(
            clears(&simulate(30, 12, 2000.0, noise, &warm(), rare)) <= 1,
            "{noise:?}"
        );
        let found = leaks(&simulate(30, 24, 2000.0, noise, &warm(), rare));
        assert!(found >= 25, "{found} of 30 with {noise:?}");
    }
}

#[test]
fn one_early_allocation_is_cleared() {
    let once = |x: f64| if x > 3000.0 { 3e5 } else { 0.0 };
    let cleared = clears(&simulate(30, 24, 2000.0, Noise::White(1e4), &warm(), once));
    assert!(cleared >= 28, "{cleared}");
}

#[test]
fn a_leak_beside_a_cache_that_fills_is_found() {
    let v = simulate(30, 24, 2000.0, Noise::White(1e4), &warm(), |x| {
        24.0 * x + 1e6 * (x / 8000.0).min(1.0)
    });
    assert!(leaks(&v) >= 28, "{}", leaks(&v));
    let covered = v.iter().filter_map(|v| v.estimate.as_ref());
    let covered = covered
        .filter(|g| g.interval.low <= 24.0 && 24.0 <= g.interval.high)
        .count();
    assert!(covered >= 27, "{covered}");
}

#[test]
fn repeated_looks_keep_the_error_rate() {
    // The same flat run, looked at after 6, 12, 18, … 48 rounds.
    let mut alarms = 0;
    for seed in 0..100 {
        let mut g = Generator::new(seed);
        let noise = Noise::Correlated(1e4).draw(48, &mut g);
        alarms += usize::from((1..=8_u32).any(|look| {
            let n = 6 * look as usize;
            let terms = Terms {
                look,
                looks: 8,
                ..warm()
            };
            judge(&rounds(n, 1000.0, |_| 0.0, &noise[..n]), &terms).outcome == Outcome::Leak
        }));
    }
    assert!(
        alarms <= 2,
        "{alarms} of 100 healthy runs gave a leak at some look"
    );
}

/// Ten minutes at 5 Hz: a collector sawtooth of 20 MB over 60 MB, with AR(1) noise and a leak.
fn sawtooth(seed: u64, rate: f64) -> Series {
    let mut g = Generator::new(seed);
    let (mut noise, mut young) = (0.0, 0.0);
    let mut series = Series {
        metric: "heap_used".into(),
        axis: Axis::Time,
        ..Series::default()
    };
    for i in 0..3000_u64 {
        noise = 0.8 * noise + 6e4 * g.normal();
        young += 2e5 * g.uniform();
        if young > 2e7 * (0.9 + 0.2 * g.uniform()) {
            young = 0.0;
        }
        let seconds = i as f64 * 0.2;
        series.t_ns.push((seconds * 1e9) as u64);
        series.value.push(6e7 + rate * seconds + young + noise);
    }
    series
}

#[test]
fn a_sawtooth_alone_is_not_a_leak_and_one_on_a_leak_is() {
    let healthy: Vec<Verdict> = (0..30)
        .map(|s| judge(&sawtooth(s, 0.0), &Terms::default()))
        .collect();
    assert!(
        leaks(&healthy) <= 1,
        "{} false alarms of 30",
        leaks(&healthy)
    );
    assert!(clears(&healthy) >= 14, "{} cleared of 30", clears(&healthy));
    let leaky: Vec<Verdict> = (0..30)
        .map(|s| judge(&sawtooth(s, 20_000.0), &Terms::default()))
        .collect();
    assert!(leaks(&leaky) >= 28, "{} found of 30", leaks(&leaky));
    assert_eq!(clears(&leaky), 0);
    let covered = leaky
        .iter()
        .filter_map(|v| v.estimate.as_ref())
        .filter(|g| g.interval.low <= 20_000.0 && 20_000.0 <= g.interval.high)
        .count();
    assert!(covered >= 26, "{covered} of 30 intervals cover");
}

#[test]
fn a_million_readings_are_judged_like_a_thousand() {
    // A sawtooth at 100 Hz for three hours; one trough in a thousand readings.
    let long = |rate: f64| {
        let mut g = Generator::new(5);
        let mut series = Series {
            metric: "heap_used".into(),
            axis: Axis::Time,
            ..Series::default()
        };
        for i in 0..1_000_000_u64 {
            let seconds = i as f64 * 0.01;
            series.t_ns.push((seconds * 1e9) as u64);
            let young = 1e4 * (i % 1000) as f64;
            let gap = i % 5000 == 4;
            let value = 6e7 + rate * seconds + young + 1e4 * g.normal();
            series.value.push(if gap { f64::NAN } else { value });
        }
        series
    };
    let leaky = judge(&long(500.0), &Terms::default());
    assert_eq!(leaky.outcome, Outcome::Leak);
    assert!(
        leaky.repairs.contains(&plimsoll_judge::Repair::Gaps(200)),
        "{:?}",
        leaky.repairs
    );
    let growth = leaky.estimate.expect("a rate");
    assert!(
        growth.interval.low <= 500.0 && 500.0 <= growth.interval.high,
        "{growth:?}"
    );
    let healthy = judge(&long(0.0), &Terms::default());
    assert!(
        matches!(healthy.outcome, Outcome::NoLeak(_)),
        "{:?}",
        healthy.outcome
    );
}

#[test]
fn a_slowly_filling_cache_is_rarely_taken_for_a_leak() {
    // Its time constant is the whole record and more: a bend of some 10 % is all there is to see.
    for n in [8, 12] {
        for noise in [Noise::White(1e4), Noise::Heavy(1e4)] {
            let v = simulate(50, n, 2000.0, noise, &warm(), |x| {
                2e6 * (1.0 - (-x / 20_000.0).exp())
            });
            assert!(leaks(&v) <= 4, "{} of 50, {n} rounds, {noise:?}", leaks(&v));
            assert_eq!(clears(&v), 0);
        }
    }
}

#[test]
fn a_bend_is_not_overlooked_however_slow_the_filling() {
    // Four times the record is its time constant: the last round adds a quarter less than the first.
    for (noise, most) in [(Noise::None, 0), (Noise::White(3e3), 8)] {
        for n in [6, 8, 12] {
            let v = simulate(60, n, 1000.0, noise, &warm(), |x| {
                2e6 * (1.0 - (-x / 20_000.0).exp())
            });
            assert!(
                leaks(&v) <= most,
                "{} of 60, {n} rounds, {noise:?}",
                leaks(&v)
            );
            assert_eq!(clears(&v), 0);
            // And a leak as large is found all the same.
            let v = simulate(60, n, 1000.0, noise, &warm(), |x| 100.0 * x);
            assert!(
                leaks(&v) >= 57,
                "{} of 60, {n} rounds, {noise:?}",
                leaks(&v)
            );
        }
    }
}
