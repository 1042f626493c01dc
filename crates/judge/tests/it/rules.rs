//! Rules seen from outside: what each is on the public corpus, and that none fails on odd input.

use plimsoll_judge::{Quantity, Reads, Rule, RuleOutcome, Series, Tally, evaluate, rule, rules};

use crate::corpus::{LABELS, blocks, read, unpack};

/// A labelled series.
struct Labelled {
    leak: bool,
    metric: String,
    series: Series,
}

fn corpus() -> Vec<Labelled> {
    let text = unpack();
    let files = blocks(&text);
    LABELS
        .lines()
        .skip(1)
        .map(|row| row.splitn(20, ',').collect::<Vec<_>>())
        .filter(|cell| cell[9] == "1")
        .map(|cell| {
            let (_, lines) = files
                .iter()
                .find(|(name, _)| *name == cell[0])
                .expect("a series for each label");
            Labelled {
                leak: cell[6] == "yes",
                metric: cell[4].to_owned(),
                series: read(lines, cell[4], cell[5]),
            }
        })
        .collect()
}

fn is_about(rule: &Rule, metric: &str) -> bool {
    match rule.reads {
        Reads::Headline => true,
        Reads::HeapUsed => ["heap_used", "live_after_gc"].contains(&metric),
        Reads::External => metric == "external",
        Reads::Resident => metric == "rss",
        _ => false,
    }
}

/// How often the rule is broken on healthy series, and holds on leaking ones.
fn figures(rule: &Rule, corpus: &[Labelled]) -> (Tally, Tally) {
    let (mut false_alarms, mut missed) = (Tally { wrong: 0, of: 0 }, Tally { wrong: 0, of: 0 });
    for case in corpus.iter().filter(|c| is_about(rule, &c.metric)) {
        if let RuleOutcome::Measured { holds, .. } = evaluate(rule, &case.series, None) {
            let tally = if case.leak {
                &mut missed
            } else {
                &mut false_alarms
            };
            tally.of += 1;
            tally.wrong += u16::from(holds == case.leak);
        }
    }
    (false_alarms, missed)
}

#[test]
fn the_figures_of_the_table_are_those_of_the_corpus() {
    let corpus = corpus();
    let wrong: Vec<String> = rules()
        .iter()
        .filter_map(|rule| {
            let (false_alarms, missed) = figures(rule, &corpus);
            (rule.false_alarms != false_alarms || rule.missed != missed).then(|| {
                format!(
                    "{}: false_alarms: of({}, {}), missed: of({}, {})",
                    rule.name, false_alarms.wrong, false_alarms.of, missed.wrong, missed.of
                )
            })
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "the table says something else:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn names_are_unique_and_every_item_says_something() {
    for (i, rule) in rules().iter().enumerate() {
        assert!(
            rules()[..i].iter().all(|r| r.name != rule.name),
            "{}",
            rule.name
        );
        for text in [rule.says, rule.source, rule.differs] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{}", rule.name);
        }
        assert!(rule.limit.is_finite() && rule.limit >= 0.0, "{}", rule.name);
    }
}

/// Bytes once a minute, 1,000 operations between two readings, each after a collection.
fn minutes(value: &[f64]) -> Series {
    Series {
        t_ns: (0..value.len() as u64)
            .map(|i| i * 60_000_000_000)
            .collect(),
        value: value.to_vec(),
        ops: (0..value.len()).map(|i| 1000.0 * i as f64).collect(),
        collected: vec![true; value.len()],
        ..Series::default()
    }
}

#[test]
fn every_rule_holds_on_a_flat_service_and_breaks_on_a_runaway_one() {
    // A spike that is given back; 8 % more each minute; 100 MiB more each minute. A few rules see only one kind of growth.
    let mut flat = vec![20_971_520.0; 121];
    flat[60] += 65_536.0;
    let runaway: Vec<f64> = (0..121)
        .map(|i| 209_715_200.0 * (0.08 * f64::from(i)).exp())
        .collect();
    let steep: Vec<f64> = (0..121)
        .map(|i| 104_857_600.0 * (2.0 + f64::from(i)))
        .collect();
    for rule in rules() {
        let series = |value: &[f64]| {
            let mut series = minutes(value);
            if rule.reads == Reads::Count {
                series.quantity = Quantity::Count;
            }
            series
        };
        let holds = |value: &[f64]| match evaluate(rule, &series(value), None) {
            RuleOutcome::Measured { holds, .. } => holds,
            RuleOutcome::NotApplicable { why } => panic!("{}: {why}", rule.name),
        };
        assert!(holds(&flat), "{} is broken on a flat service", rule.name);
        assert!(
            !(holds(&runaway) && holds(&steep)),
            "{} holds on runaway ones",
            rule.name
        );
    }
}

#[test]
fn a_limit_of_ones_own_is_the_limit() {
    let growing = minutes(&[10e6, 11e6, 12e6]);
    let end_start = rule("end-start").expect("known");
    for (limit, expected) in [(2e6, false), (2e6 + 1.0, true)] {
        let RuleOutcome::Measured {
            holds, measured, ..
        } = evaluate(end_start, &growing, Some(limit))
        else {
            panic!("measured");
        };
        assert_eq!((holds, measured), (expected, 2e6));
    }
}

#[test]
fn no_rule_fails_on_odd_input() {
    let nan = f64::NAN;
    let odd: [&[f64]; 8] = [
        &[],
        &[1.0],
        &[nan, nan, nan],
        &[0.0; 40],
        &[f64::INFINITY, 1.0, f64::NEG_INFINITY, 2.0],
        &[
            -5.0, 3.0, -7.0, 1e300, -1e300, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0,
        ],
        &[1e308; 12],
        &[1.0, 2.0],
    ];
    for rule in rules() {
        for value in odd {
            for collected in [true, false] {
                for step in [0, 1, 60_000_000_000] {
                    let mut series = minutes(value);
                    series.t_ns = (0..value.len() as u64).map(|i| i * step).collect();
                    series.collected.fill(collected);
                    if rule.reads == Reads::Count {
                        series.quantity = Quantity::Count;
                    }
                    if let RuleOutcome::Measured { measured, .. } = evaluate(rule, &series, None) {
                        assert!(!measured.is_nan(), "{} on {value:?}", rule.name);
                    }
                }
            }
        }
    }
}

#[test]
fn a_rule_about_bytes_says_nothing_of_a_count() {
    let mut listeners = minutes(&[1.0, 2.0, 3.0]);
    listeners.quantity = Quantity::Count;
    let bytes = evaluate(rule("end-start").expect("known"), &listeners, None);
    assert!(matches!(bytes, RuleOutcome::NotApplicable { .. }));
    let count = evaluate(rule("live-count").expect("known"), &listeners, None);
    assert!(matches!(
        count,
        RuleOutcome::Measured {
            holds: false,
            measured: 2.0,
            ..
        }
    ));
}
