//! Leaks into containers whose room doubles, caches in the same containers, and jumps that are neither: error rates by
//! simulation with fixed seeds, and recorded rounds of Node services.

use crate::common::{Noise, simulate};
use plimsoll_judge::{Outcome, Pattern, Series, Terms, Verdict, judge};

fn leaks(verdicts: &[Verdict]) -> usize {
    let leaks = |v: &&Verdict| v.outcome == Outcome::Leak;
    verdicts.iter().filter(leaks).count()
}

fn clears(verdicts: &[Verdict]) -> usize {
    let clears = |v: &&Verdict| matches!(v.outcome, Outcome::NoLeak(_));
    verdicts.iter().filter(clears).count()
}

/// What a container holds at once: entries it has room for, and bytes of each.
#[derive(Debug, Clone, Copy)]
enum Container {
    /// V8's ordered hash map: room doubles, and 40 bytes per entry of room come at once.
    Map,
    /// An array of doubles: room grows by half and 16, of 8 bytes each.
    Array,
}

impl Container {
    /// Bytes of room after so many operations that each add an entry.
    fn room(self, entries: f64) -> f64 {
        let mut room = 16.0_f64;
        while room < entries {
            room = match self {
                Self::Map => 2.0 * room,
                Self::Array => (1.5 * room + 16.0).floor(),
            };
        }
        match self {
            Self::Map => 40.0 * room,
            Self::Array => 8.0 * room,
        }
    }

    /// Bytes of room per entry, averaged over a period of growth.
    fn per_entry(self) -> f64 {
        match self {
            Self::Map => 40.0,
            Self::Array => 8.0,
        }
    }
}

const CONTAINERS: [Container; 2] = [Container::Map, Container::Array];
/// Entries that the warm-up leaves in a container.
const BEFORE: f64 = 20_000.0;

/// Rounds of so many operations with noise of this scale, and what is simulated with them.
fn with_containers(mut check: impl FnMut(Container, f64, f64, &Terms)) {
    let terms = Terms {
        warm_up_operations: BEFORE as u64,
        ..Terms::default()
    };
    for container in CONTAINERS {
        for operations in [1000.0, 4000.0] {
            for scatter in [5e3, 1.5e4] {
                check(container, operations, scatter, &terms);
            }
        }
    }
}

#[test]
fn a_leak_into_a_container_is_found_whatever_its_jumps() {
    let (mut runs, mut found, mut steady, mut average) = (0, 0, 0, 0);
    with_containers(|container, operations, scatter, terms| {
        for bytes in [16.0, 32.0, 64.0, 200.0] {
            for n in [8, 12, 24, 48] {
                let noise = Noise::Heavy(scatter);
                let v = simulate(20, n, operations, noise, terms, |x| {
                    bytes * x + container.room(BEFORE + x)
                });
                let name = format!(
                    "{bytes} B into {container:?}, {n} rounds of {operations}, {scatter} B of noise"
                );
                assert_eq!(clears(&v), 0, "{name}");
                // A round that adds no more than a reading scatters by takes longer.
                if n < 24 || bytes * operations < 1.5 * scatter {
                    continue;
                }
                assert!(leaks(&v) >= 15, "{} of 20: {name}", leaks(&v));
                runs += 20;
                found += leaks(&v);
                let long_run = bytes + container.per_entry();
                for g in v.iter().filter_map(|v| v.estimate.as_ref()) {
                    steady += usize::from(g.interval.low <= bytes);
                    average += usize::from(g.interval.high >= long_run);
                }
            }
        }
    });
    println!(
        "{found} of {runs} found; the interval holds the slope between jumps in {steady}, the average in {average}"
    );
    assert!(100 * found >= 95 * runs, "{found} of {runs} found");
    assert!(
        100 * steady >= 95 * runs,
        "{steady} of {runs} intervals hold the growth between jumps"
    );
    assert!(
        100 * average >= 95 * runs,
        "{average} of {runs} intervals hold the average"
    );
}

#[test]
fn a_full_cache_in_a_container_is_never_a_leak() {
    let (mut runs, mut alarms, mut cleared) = (0, 0, 0);
    with_containers(|container, operations, scatter, terms| {
        for bytes in [16.0, 64.0, 200.0] {
            for n in [8, 12, 24, 48] {
                for full in [0.2, 0.4, 0.6] {
                    let cap = full * (n as f64 - 1.0) * operations;
                    let v = simulate(10, n, operations, Noise::Heavy(scatter), terms, |x| {
                        let entries = x.min(cap);
                        bytes * entries + container.room(BEFORE + entries)
                    });
                    runs += 10;
                    alarms += leaks(&v);
                    cleared += clears(&v);
                }
            }
        }
    });
    println!("{alarms} of {runs} full caches called a leak, {cleared} cleared");
    assert!(1000 * alarms <= runs, "{alarms} of {runs}");
    assert!(10 * cleared >= 5 * runs, "{cleared} of {runs} cleared");
}

#[test]
fn a_jump_alone_is_never_a_leak() {
    // 200 kB of code that is flushed, compiled, or both, once or twice.
    let shapes: [fn(f64) -> f64; 4] = [
        |u| if u > 0.5 { 2e5 } else { 0.0 },
        |u| if u > 0.4 && u < 0.7 { 2e5 } else { 0.0 },
        |u| if u > 0.3 && u < 0.8 { -2e5 } else { 0.0 },
        |u| {
            if u > 0.8 {
                3e5
            } else if u > 0.3 {
                1e5
            } else {
                0.0
            }
        },
    ];
    let terms = Terms {
        warm_up_operations: 5000,
        ..Terms::default()
    };
    let (mut runs, mut alarms) = (0, 0);
    for shape in shapes {
        for n in [8, 12, 24, 48] {
            for scatter in [5e3, 1.5e4] {
                for operations in [1000.0, 4000.0] {
                    let noise = Noise::Heavy(scatter);
                    let length = (n as f64 - 1.0) * operations;
                    let v = simulate(20, n, operations, noise, &terms, |x| shape(x / length));
                    runs += 20;
                    alarms += leaks(&v);
                }
            }
        }
    }
    println!("{alarms} of {runs} single jumps called a leak");
    assert!(100 * alarms <= runs, "{alarms} of {runs}");
}

/// Rounds that a Node service was measured with.
fn recorded(csv: &str) -> Series {
    let mut series = Series {
        metric: "live_bytes".into(),
        resolution: 8.0,
        ..Series::default()
    };
    for line in csv.lines().skip(1) {
        let mut cells = line.split(',').map(|v| v.parse::<f64>().expect("numbers"));
        let mut next = || cells.next().expect("three columns");
        series.t_ns.push(next() as u64);
        series.ops.push(next());
        series.value.push(next());
        series.collected.push(true);
    }
    series
}

/// A rate limiter that keeps a map entry per client, and a translation service that keeps one per request.
#[test]
fn recorded_maps_that_double_are_leaks_at_their_average_rate() {
    for (csv, warm_up_operations, slope, average) in [
        (
            include_str!("../recorded/three-doublings.csv"),
            37_800,
            33.0,
            64.0,
        ),
        (
            include_str!("../recorded/one-doubling.csv"),
            36_518,
            33.0,
            79.5,
        ),
    ] {
        let terms = Terms {
            warm_up_operations,
            ..Terms::default()
        };
        let v = judge(&recorded(csv), &terms);
        assert_eq!(v.outcome, Outcome::Leak, "{v:?}");
        let g = v.estimate.expect("enough readings");
        assert!(
            g.interval.low <= slope && average <= g.interval.high,
            "{:?}",
            g.interval
        );
        assert!((g.rate / average - 1.0).abs() < 0.25, "{}", g.rate);
        assert!(g.onset.is_none());
    }
}

#[test]
fn one_low_first_reading_is_no_plateau() {
    let terms = Terms {
        warm_up_operations: 94_760,
        ..Terms::default()
    };
    let v = judge(
        &recorded(include_str!("../recorded/first-reading-low.csv")),
        &terms,
    );
    assert!(matches!(v.outcome, Outcome::NoLeak(_)), "{v:?}");
    assert_eq!(v.pattern, Pattern::Flat);
}
