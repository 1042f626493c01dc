//! Rules in every report: beside the verdict, as tests for machines, and the list of all.

use plimsoll_model::{Metric, Recorded, RuleInfo, RuleResult, RuleState, RuleUnit, Run};
use plimsoll_report::{Style, analyze_text, junit, rules_json, rules_text, text, verdict_json};

#[expect(dead_code, reason = "the other tests render its other runs")]
mod common;

const STYLE: Style = Style {
    color: false,
    width: 100,
    ascii: false,
};

fn rule(name: &str, state: RuleState, measured: f64, limit: f64, unit: RuleUnit) -> RuleResult {
    RuleResult {
        name: name.to_owned(),
        state,
        metric: Some(Metric::LIVE_BYTES),
        measured: (state != RuleState::NotApplicable).then_some(measured),
        sign: "<".to_owned(),
        limit,
        unit,
        why: None,
        source: "a document".to_owned(),
    }
}

fn asked() -> Vec<RuleResult> {
    let mut significant = rule(
        "ols-significance",
        RuleState::Holds,
        1_048_576.0,
        5_242_880.0,
        RuleUnit::Bytes,
    );
    significant.why = Some("not significant, p = 0.31".to_owned());
    let mut heap = rule(
        "max-heap",
        RuleState::NotApplicable,
        0.0,
        104_857_600.0,
        RuleUnit::Bytes,
    );
    heap.why = Some("heap_used was not measured".to_owned());
    vec![
        rule(
            "max-rss",
            RuleState::Holds,
            123_731_968.0,
            536_870_912.0,
            RuleUnit::Bytes,
        ),
        significant,
        heap,
        rule(
            "max-per-op",
            RuleState::Broken,
            1884.0,
            64.0,
            RuleUnit::BytesPerOperation,
        ),
    ]
}

fn run() -> Run {
    let mut run = common::leak();
    run.rules = asked();
    run
}

#[test]
fn rules_stand_beside_the_verdict_broken_ones_first() {
    let report = text(&run(), STYLE);
    let from = report.find("  rules ").expect("a line of rules");
    insta::assert_snapshot!(report[from..].lines().take(3).collect::<Vec<_>>().join("\n"), @r"
      rules     FAIL max-per-op < 64 B/request (1.84 KiB/request)   ok max-rss < 512 MiB (118 MiB)
                ok ols-significance < 5.00 MiB (1.00 MiB, not significant, p = 0.31)
                not applicable max-heap < 100 MiB (heap_used was not measured)
    ");
    assert!(!text(&common::leak(), STYLE).contains("  rules "));
}

#[test]
fn each_rule_is_a_test_of_its_own() {
    let xml = junit(&run());
    assert!(
        xml.contains("tests=\"5\" failures=\"2\" errors=\"0\" skipped=\"1\""),
        "{xml}"
    );
    let tests: Vec<&str> = xml
        .lines()
        .map(str::trim)
        .filter(|l| l.contains("name=\"rule ") || l.contains("rule broken"))
        .collect();
    insta::assert_snapshot!(tests.join("\n"), @r#"
    <testcase classname="plimsoll.check" name="rule max-rss &lt; 512 MiB" time="0.000">
    <testcase classname="plimsoll.check" name="rule ols-significance &lt; 5.00 MiB" time="0.000">
    <testcase classname="plimsoll.check" name="rule max-heap &lt; 100 MiB" time="0.000">
    <testcase classname="plimsoll.check" name="rule max-per-op &lt; 64 B/request" time="0.000">
    <failure message="FAIL max-per-op &lt; 64 B/request (1.84 KiB/request)" type="rule broken"></failure>
    "#);
}

#[test]
fn a_verdict_alone_carries_its_rules_only_if_asked() {
    let series = |rules| Recorded {
        name: "x.csv".to_owned(),
        metric: Metric::RSS,
        verdict: common::leak().verdict.expect("judged"),
        t_s: vec![],
        value: vec![],
        assumptions: vec![],
        rules,
    };
    let with = [series(asked())];
    let value: serde_json::Value = serde_json::from_str(&verdict_json(&with)).expect("JSON");
    assert_eq!(value["rules"][3]["name"], "max-per-op");
    assert_eq!(value["rules"][3]["state"], "broken");
    assert_eq!(value["rules"][3]["measured"], 1884.0);
    assert!(analyze_text(&with, STYLE).contains("FAIL max-per-op < 64 B/operation"));
    let without = [series(vec![])];
    assert!(!verdict_json(&without).contains("\"rules\""));
    assert!(!analyze_text(&without, STYLE).contains("rules"));
}

#[test]
fn the_list_reads_with_source_and_figures() {
    let all = RuleInfo::all();
    let list = rules_text(&all, STYLE);
    for rule in &all {
        assert!(list.contains(&format!("\n{} ", rule.name)), "{}", rule.name);
    }
    let from = list.find("\nmann-kendall ").expect("listed") + 1;
    insta::assert_snapshot!(list[from..].split("\n\n").next().unwrap_or_default(), @r"
    mann-kendall > 0.05   false alarms 37 of 49 (76 %)   leaks missed 0 of 47 (0 %)
      holds     while the Mann–Kendall test does not find a rise at this level (two-sided p, rising S)
      source    software ageing studies; called highly vulnerable to false positives by Machida et al.
                (ISSREW 2013)
      differs   any warm-up and any slow cycle is a trend; it says nothing of how much
    ");
    let value: serde_json::Value = serde_json::from_str(&rules_json(&all)).expect("JSON");
    assert_eq!(value["schema"], "plimsoll.rules/1");
    assert_eq!(value["rules"].as_array().map(Vec::len), Some(all.len()));
}
