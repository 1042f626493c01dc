//! What machines read: JSON, `JUnit`, and the list of runs in both forms.

use std::path::PathBuf;

use plimsoll_model::{
    Curve, Metric, Outcome, Recorded, Run, RunHead, RunState, RunSummary, Verdict,
};
use plimsoll_report::{
    Style, analyze_text, answer_json, history_json, history_text, json, junit, verdict_json,
};
use quick_xml::Reader;
use quick_xml::events::Event;

mod common;

const STYLE: Style = Style {
    color: false,
    width: 100,
    ascii: false,
};

#[test]
fn json_is_the_run() {
    let run = common::leak();
    let json = json(&run);
    assert!(json.starts_with("{\"schema\":\"plimsoll.run/1\",\"tool_version\":"));
    assert!(serde_json::from_str::<Run>(&json).expect("a run") == run);
}

/// Elements with their attributes, in order; panics if it is not well-formed.
fn elements(xml: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut reader = Reader::from_str(xml);
    let mut found = Vec::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Eof => return found,
            Event::Start(e) | Event::Empty(e) => {
                let attributes = e
                    .attributes()
                    .map(|a| {
                        let a = a.expect("well-formed");
                        let value = a
                            .normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .expect("well-formed");
                        (AsRef::<str>::as_ref(&a.key).to_owned(), value.into_owned())
                    })
                    .collect();
                found.push((AsRef::<str>::as_ref(&e.name()).to_owned(), attributes));
            }
            _ => {}
        }
    }
}

fn attribute<'a>(
    elements: &'a [(String, Vec<(String, String)>)],
    element: &str,
    name: &str,
) -> Option<&'a str> {
    let (_, attributes) = elements.iter().find(|(e, _)| e == element)?;
    attributes
        .iter()
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.as_str())
}

#[test]
fn junit_of_a_leak_is_a_failure_with_its_figures() {
    insta::assert_snapshot!("junit_leak", junit(&common::leak()));
}

#[test]
fn every_outcome_has_its_place_in_junit() {
    let mut fails = common::inconclusive("the noise is larger than the growth in question", None);
    fails.exit_code = 1;
    let mut nothing = common::no_leak();
    nothing.verdict = None;
    nothing.verdict_reason = "nothing could be judged".to_owned();
    for (run, element, counts) in [
        (common::no_leak(), None, ["0", "0", "0"]),
        (common::leak(), Some("failure"), ["1", "0", "0"]),
        (common::failed(), Some("error"), ["0", "1", "0"]),
        (common::interrupted(), Some("error"), ["0", "1", "0"]),
        (
            common::inconclusive("noise", None),
            Some("skipped"),
            ["0", "0", "1"],
        ),
        (nothing, Some("skipped"), ["0", "0", "1"]),
        (fails, Some("failure"), ["1", "0", "0"]),
    ] {
        let found = elements(&junit(&run));
        for kind in ["failure", "error", "skipped"] {
            assert_eq!(
                found.iter().any(|(e, _)| e == kind),
                element == Some(kind),
                "{kind}"
            );
        }
        let got = ["failures", "errors", "skipped"]
            .map(|n| attribute(&found, "testsuite", n).expect("counted"));
        assert_eq!(got, counts);
    }
}

#[test]
fn a_subject_cannot_write_elements_into_junit() {
    let xml = junit(&common::hostile());
    assert!(
        xml.chars()
            .all(|c| c == '\n' || (!c.is_control() && c != '\u{fffe}')),
        "{xml:?}"
    );
    let found = elements(&xml);
    assert!(!found.iter().any(|(e, _)| e == "b"));
    let message = attribute(&found, "error", "message").expect("a message");
    assert_eq!(
        message,
        "the subject died \\u{1b}[2J\\u{1b}[H\\r\\nNO LEAK <b a=\"1\">&amp;]]></b>\\u{0}\\u{202e}\\u{fffe}"
    );
}

#[test]
fn a_verdict_alone_is_one_flat_object_in_bytes_per_second() {
    let verdict_json = |verdict: &Verdict| {
        let text = answer_json(&7.into(), Ok(verdict));
        text.strip_prefix("{\"id\":7,")
            .map(|rest| format!("{{{rest}"))
            .expect("the id comes first")
    };
    let verdict = common::leak().verdict.expect("judged");
    let value: serde_json::Value = serde_json::from_str(&verdict_json(&verdict)).expect("JSON");
    let fields: Vec<&str> = value
        .as_object()
        .expect("flat")
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = [
        "schema",
        "tool_version",
        "verdict",
        "pattern",
        "acceleration",
        "bets_p_value",
        "confidence",
        "consistency",
        "correlation",
        "rate_bytes_per_s",
        "rate_bytes_per_op",
        "rate_ci_low",
        "rate_ci_high",
        "tte_s",
        "tte_lo_s",
        "tte_hi_s",
        "onset_s",
        "detectable_bytes_per_s",
        "reason",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert!(
        verdict_json(&verdict).starts_with("{\"schema\":\"plimsoll.verdict/1\",\"tool_version\":")
    );
    assert_eq!(value["verdict"], "leak");
    assert_eq!(value["rate_bytes_per_op"], 1884.16);
    assert_eq!(value["rate_bytes_per_s"], 1884.16 * 612.0);
    // 612 operations a second: the interval is told in the unit of the rate beside it.
    let low = value["rate_ci_low"].as_f64().expect("known");
    assert!((low - 1832.96 * 612.0).abs() < 1e-3, "{low}");
    assert_eq!(value["tte_s"], 22_200.0);
    assert_eq!(value["onset_s"], serde_json::Value::Null);

    let on_time = common::passive().verdict.expect("judged");
    let value: serde_json::Value = serde_json::from_str(&verdict_json(&on_time)).expect("JSON");
    assert_eq!(value["rate_ci_low"], 580.0);
    assert_eq!(value["rate_bytes_per_op"], serde_json::Value::Null);
    assert_eq!(value["tte_hi_s"], serde_json::Value::Null);

    let mut unknown = common::verdict(
        Outcome::Inconclusive,
        f64::NAN,
        (f64::NEG_INFINITY, f64::INFINITY),
    );
    unknown.leak_probability = f64::NAN;
    let value: serde_json::Value = serde_json::from_str(&verdict_json(&unknown)).expect("JSON");
    assert_eq!(value["verdict"], "inconclusive");
    for field in [
        "confidence",
        "rate_bytes_per_s",
        "rate_ci_low",
        "rate_ci_high",
        "tte_s",
    ] {
        assert_eq!(value[field], serde_json::Value::Null, "{field}");
    }
}

fn recorded(name: &str, verdict: Verdict, t_s: &[f64], value: &[f64]) -> Recorded {
    Recorded {
        name: name.to_owned(),
        metric: Metric::RSS,
        verdict,
        t_s: t_s.to_vec(),
        value: value.to_vec(),
        assumptions: vec![],
        rules: vec![],
    }
}

#[test]
fn several_series_are_a_list_and_what_cannot_be_judged_is_an_error() {
    let leak = common::passive().verdict.expect("judged");
    let healthy = common::verdict(Outcome::NoLeak, 0.2, (-1.5, 1.9));
    let all = [
        recorded("a", healthy, &[], &[]),
        recorded("b", leak, &[], &[]),
    ];
    let value: serde_json::Value = serde_json::from_str(&verdict_json(&all)).expect("JSON");
    assert_eq!(value["schema"], "plimsoll.verdict/1");
    assert_eq!(value["verdict"], "leak");
    assert_eq!(value["series"][0]["verdict"], "no_leak");
    assert_eq!(value["series"][1]["name"], "b");
    let one: serde_json::Value = serde_json::from_str(&verdict_json(&all[..1])).expect("JSON");
    assert_eq!(one["verdict"], "no_leak");
    assert_eq!(one["metric"], "rss");
    assert_eq!(
        answer_json(&"x".into(), Err("what is wrong")),
        "{\"id\":\"x\",\"error\":\"what is wrong\"}\n"
    );
}

#[test]
fn a_recorded_series_reads_with_its_plot() {
    let t: Vec<f64> = (0..600).map(f64::from).collect();
    let value: Vec<f64> = (0..600)
        .map(|i| 4e7 + 611.0 * f64::from(i) + f64::from(i % 7) * 1e4)
        .collect();
    let mut leak = recorded(
        "service.csv",
        common::passive().verdict.expect("judged"),
        &t,
        &value,
    );
    // A warm-up that saturates, then a line.
    let steps: Vec<f64> = (0..40).map(|i| f64::from(i) * 15.0 + 7.0).collect();
    let model = |rate: f64| -> Vec<f64> {
        let at = |t: &f64| 4e7 - 6e4 * (-t / 40.0).exp() + 611.0 * t + rate * (t - 300.0);
        steps.iter().map(at).collect()
    };
    leak.verdict.curve = Some(Curve {
        t_s: steps.clone(),
        envelope: model(0.0).iter().map(|v| v - 4e3).collect(),
        model: model(0.0),
        interval: Some((model(-120.0), model(120.0))),
    });
    leak.assumptions = vec!["`t_s` is the time in seconds".to_owned()];
    let mut noise = common::verdict(Outcome::Inconclusive, 3.4, (-2.1, 8.9));
    noise.reason = "the noise is larger than the growth in question".to_owned();
    noise.more_operations = Some(12_000);
    noise.repairs = vec!["2 readings missing".to_owned()];
    let noise = recorded("noise.csv", noise, &t, &[5.0; 600]);
    let healthy = common::verdict(Outcome::NoLeak, 0.2, (-1.5, 1.9));
    let empty = recorded("empty.csv", healthy, &[], &[]);
    let alone = analyze_text(std::slice::from_ref(&leak), STYLE);
    assert!(alone.lines().count() <= 24, "{alone}");
    let ascii = Style {
        ascii: true,
        width: 60,
        ..STYLE
    };
    insta::assert_snapshot!(
        "analyze_ascii",
        analyze_text(std::slice::from_ref(&leak), ascii)
    );
    insta::assert_snapshot!("analyze", analyze_text(&[leak, noise, empty], STYLE));
}

#[test]
fn odd_series_are_drawn_or_left_out_without_a_panic() {
    let healthy = common::verdict(Outcome::NoLeak, 0.2, (-1.5, 1.9));
    for (t, value) in [
        (vec![0.0], vec![1.0]),
        (vec![0.0, 0.0], vec![1.0, 2.0]),
        (vec![5.0, 1.0, 3.0], vec![1.0, 2.0, f64::NAN]),
        (vec![0.0, 1.0], vec![-f64::MAX, f64::MAX]),
        (vec![0.0, f64::NAN, 1e300], vec![0.0, 1.0, 1e-300]),
    ] {
        let mut odd = recorded("odd", healthy.clone(), &t, &value);
        odd.verdict.curve = Some(Curve {
            t_s: vec![0.0, 0.0, f64::MAX],
            envelope: vec![1.0, f64::MIN, f64::MAX],
            model: vec![1.0],
            interval: Some((vec![f64::MIN; 3], vec![f64::NAN; 3])),
        });
        assert!(analyze_text(&[odd], STYLE).contains("NO LEAK"));
    }
}

fn summary(run: &Run) -> RunSummary {
    let series = run.headline.and_then(|i| run.series.get(i));
    RunSummary {
        id: run.id.clone(),
        path: PathBuf::from("runs").join(&run.id),
        state: RunState::Ended,
        started_unix_ns: Some(run.started_unix_ns),
        head: Some(RunHead {
            tool_version: run.tool_version.clone(),
            verb: run.verb.clone(),
            started_unix_ns: run.started_unix_ns,
            duration: run.duration,
            status: run.status.clone(),
            exit_code: run.exit_code,
            verdict: run.verdict.clone(),
            headline: series.map(|s| (s.metric.clone(), s.unit)),
            command: run.subject.command.clone(),
            load: run.load.as_ref().map(|l| l.name.clone()),
            operation_word: run.load.as_ref().map(|l| l.operation_word.clone()),
        }),
        problem: None,
    }
}

fn list() -> Vec<RunSummary> {
    let bare = |id: &str, state, problem: Option<&str>| RunSummary {
        id: id.to_owned(),
        path: PathBuf::from("runs").join(id),
        state,
        started_unix_ns: None,
        head: None,
        problem: problem.map(str::to_owned),
    };
    vec![
        summary(&common::leak()),
        summary(&common::count_only()),
        summary(&common::no_leak()),
        summary(&common::passive()),
        summary(&common::without_probe()),
        summary(&common::held()),
        summary(&common::failed()),
        summary(&common::interrupted()),
        bare("20261121T051300.000Z-7", RunState::Running, None),
        bare("20261121T051200.000Z-7", RunState::Unfinished, None),
        bare(
            "odd\x1b[2J",
            RunState::Ended,
            Some("the end is missing: it was cut off"),
        ),
    ]
}

#[test]
fn a_list_of_runs_reads_as_a_table() {
    insta::assert_snapshot!("history", history_text(&list(), STYLE));
}

#[test]
fn a_list_of_runs_for_machines_keeps_the_order_and_tells_problems() {
    let value: serde_json::Value = serde_json::from_str(&history_json(&list())).expect("JSON");
    assert_eq!(value["schema"], "plimsoll.history/1");
    let runs = value["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 11);
    assert_eq!(runs[0]["started"], "2026-11-21T05:14:00.000Z");
    assert_eq!(runs[0]["verdict"], "leak");
    assert_eq!(runs[0]["rate"], 1884.16);
    assert_eq!(runs[0]["per"], "operation");
    assert_eq!(runs[1]["unit"], "count");
    assert_eq!(runs[6]["outcome"], "failed");
    assert_eq!(runs[6]["exit_code"], 4);
    assert_eq!(runs[8]["state"], "running");
    assert_eq!(runs[10]["problem"], "the end is missing: it was cut off");
    assert!(runs[10].get("verdict").is_none());
}
