//! `JUnit` XML: what continuous-integration servers read.

use std::io;

use plimsoll_model::{ExitCode, Outcome, RuleResult, RuleState, Run, RunStatus, Unit, units};
use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::page::{Style, disarm};
use crate::rules;
use crate::text::text;
use crate::words::Rates;

/// What a test came to.
enum TestResult {
    Passed,
    /// Kind and message.
    Failure(&'static str, String),
    Error(&'static str, String),
    Skipped(String),
}

/// Renders a run as a test suite: the test `no leak`, one for each kind of operation that was driven alone, and one for each rule. A leak is a failure; a subject that
/// failed and an interrupted run are errors; inconclusive is skipped, unless the run's exit code says that it is to count
/// as a failure. A broken rule is a failure, one that says nothing about the run is skipped.
#[expect(
    clippy::missing_panics_doc,
    reason = "it cannot: writing to memory does not fail"
)]
pub fn junit(run: &Run) -> String {
    document(|writer| write(run, writer)).expect("writing to memory does not fail")
}

/// A document of XML with what `write` puts into it.
pub(crate) fn document(
    write: impl FnOnce(&mut Writer<Vec<u8>>) -> io::Result<()>,
) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    write(&mut writer)?;
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    out.push_str(&String::from_utf8_lossy(&writer.into_inner()));
    out.push('\n');
    Ok(out)
}

fn write(run: &Run, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let result = result(run);
    let seconds = format!("{:.3}", run.duration.as_secs_f64());
    let rules: Vec<(String, TestResult)> = run.rules.iter().map(|r| rule_test(r, run)).collect();
    let kinds: Vec<(String, TestResult)> = kind_tests(run);
    let further = || kinds.iter().chain(&rules);
    let all = || further().map(|(_, r)| r).chain([&result]);
    let tests = all().count().to_string();
    let failures = count(all(), |r| matches!(r, TestResult::Failure(..)));
    let errors = count(all(), |r| matches!(r, TestResult::Error(..)));
    let skipped = count(all(), |r| matches!(r, TestResult::Skipped(_)));
    let counts = [
        ("tests", tests.as_str()),
        ("failures", &failures),
        ("errors", &errors),
        ("skipped", &skipped),
        ("time", &seconds),
    ];
    // Schemas of JUnit allow neither a fraction nor a zone.
    let mut timestamp = units::timestamp(run.started_unix_ns);
    timestamp.truncate("2026-11-21T05:14:00".len());
    let class = attribute(&format!("plimsoll.{}", run.verb));
    let details = text(
        run,
        Style {
            color: false,
            width: 100,
            ascii: false,
        },
    );
    writer
        .create_element("testsuites")
        .with_attribute(("name", "plimsoll"))
        .with_attributes(counts)
        .write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attribute(("name", "plimsoll"))
                .with_attributes(counts)
                .with_attribute(("timestamp", timestamp.as_str()))
                .write_inner_content(|writer| {
                    properties(run, writer)?;
                    writer
                        .create_element("testcase")
                        .with_attribute(("classname", class.as_str()))
                        .with_attribute(("name", "no leak"))
                        .with_attribute(("time", seconds.as_str()))
                        .write_inner_content(|writer| outcome(&result, &details, writer))?;
                    for (name, result) in further() {
                        writer
                            .create_element("testcase")
                            .with_attribute(("classname", class.as_str()))
                            .with_attribute(("name", attribute(name).as_str()))
                            .with_attribute(("time", "0.000"))
                            .write_inner_content(|writer| outcome(result, "", writer))?;
                    }
                    writer
                        .create_element("system-out")
                        .write_text_content(BytesText::new(&details))?;
                    Ok(())
                })?;
            Ok(())
        })?;
    Ok(())
}

fn count<'a>(
    results: impl Iterator<Item = &'a TestResult>,
    is: impl Fn(&TestResult) -> bool,
) -> String {
    results.filter(|r| is(r)).count().to_string()
}

/// The tests of the kinds of operation, where each was driven alone: whether it leaks.
fn kind_tests(run: &Run) -> Vec<(String, TestResult)> {
    let growth = run.load.iter().flat_map(|load| &load.growth);
    growth
        .map(|kind| {
            let (rate, interval) =
                units::signed_bytes_with_interval(kind.rate, kind.interval.low, kind.interval.high);
            let shown = format!("{rate} per operation (95 % CI {interval})");
            let result = match kind.outcome {
                Outcome::NoLeak => TestResult::Passed,
                Outcome::Leak => TestResult::Failure("leak", format!("leak: {shown}")),
                Outcome::Inconclusive => TestResult::Skipped(format!("not clear: {shown}")),
            };
            (format!("no leak by {}", kind.name), result)
        })
        .collect()
}

/// The test of one rule: its name with the limit, and what it came to.
fn rule_test(rule: &RuleResult, run: &Run) -> (String, TestResult) {
    let word = run.load.as_ref().map(|l| l.operation_word.as_str());
    let result = match rule.state {
        RuleState::Holds => TestResult::Passed,
        RuleState::Broken => TestResult::Failure("rule broken", rules::phrase(rule, word)),
        RuleState::NotApplicable => TestResult::Skipped(rule.why.clone().unwrap_or_default()),
    };
    (format!("rule {}", rules::criterion(rule, word)), result)
}

fn outcome(result: &TestResult, details: &str, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let (element, kind, message) = match result {
        TestResult::Passed => return Ok(()),
        TestResult::Failure(kind, message) => ("failure", Some(*kind), message),
        TestResult::Error(kind, message) => ("error", Some(*kind), message),
        TestResult::Skipped(message) => ("skipped", None, message),
    };
    let message = attribute(message);
    let mut element = writer
        .create_element(element)
        .with_attribute(("message", message.as_str()));
    if let Some(kind) = kind {
        element = element.with_attribute(("type", kind));
        element.write_text_content(BytesText::new(details))?;
    } else {
        element.write_empty()?;
    }
    Ok(())
}

fn result(run: &Run) -> TestResult {
    match &run.status {
        RunStatus::Failed { what, .. } => {
            return TestResult::Error("subject failed", what.clone());
        }
        RunStatus::Interrupted => {
            return TestResult::Error("interrupted", "the run was interrupted".to_owned());
        }
        _ => {}
    }
    let outcome = run
        .verdict
        .as_ref()
        .map_or(Outcome::Inconclusive, |v| v.outcome);
    match outcome {
        Outcome::NoLeak => TestResult::Passed,
        Outcome::Leak => {
            let estimate = run
                .verdict
                .as_ref()
                .and_then(|v| Some((v, v.growth.as_ref()?)))
                .map(|(v, growth)| rates(run, v).estimate(growth))
                .unwrap_or_default();
            TestResult::Failure("leak", format!("leak: {estimate}"))
        }
        Outcome::Inconclusive => {
            let reason = match (&run.verdict_reason, &run.verdict) {
                (reason, _) if !reason.is_empty() => reason.clone(),
                (_, Some(verdict)) => verdict.reason.clone(),
                _ => "nothing could be judged".to_owned(),
            };
            let message = format!("inconclusive: {reason}");
            if run.exit_code == ExitCode::Broken.code() {
                TestResult::Failure("inconclusive", message)
            } else {
                TestResult::Skipped(message)
            }
        }
    }
}

fn rates<'a>(run: &'a Run, verdict: &plimsoll_model::Verdict) -> Rates<'a> {
    let unit = headline_unit(run).unwrap_or(Unit::Bytes);
    let word = run.load.as_ref().map(|l| l.operation_word.as_str());
    Rates::of(verdict, unit, word)
}

fn headline_unit(run: &Run) -> Option<Unit> {
    Some(run.series.get(run.headline?)?.unit)
}

/// The figures behind the verdict, plain numbers.
fn properties(run: &Run, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let mut list = vec![
        ("run", run.id.clone()),
        ("tool_version", run.tool_version.clone()),
        ("command", run.subject.command.join(" ")),
    ];
    if let Some(load) = &run.load {
        list.push(("load", load.name.clone()));
    }
    if let Some(verdict) = &run.verdict {
        if let Some(series) = run.headline.and_then(|i| run.series.get(i)) {
            list.push(("metric", series.metric.as_str().to_owned()));
        }
        list.push(("verdict", verdict.outcome.as_str().to_owned()));
        list.push(("confidence", number(verdict.leak_probability)));
        list.push(("pattern", verdict.pattern.clone()));
        if let Some(growth) = &verdict.growth {
            list.push(("rate", number(growth.rate)));
            list.push(("rate_per", growth.per.clone()));
            list.push(("rate_ci_low", number(growth.interval.low)));
            list.push(("rate_ci_high", number(growth.interval.high)));
        }
        list.push(("floor", number(verdict.floor)));
    }
    writer
        .create_element("properties")
        .write_inner_content(|writer| {
            for (name, value) in &list {
                let value = attribute(value);
                writer
                    .create_element("property")
                    .with_attribute(("name", *name))
                    .with_attribute(("value", value.as_str()))
                    .write_empty()?;
            }
            Ok(())
        })?;
    Ok(())
}

fn number(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        "unknown".to_owned()
    }
}

/// XML cannot hold most control characters, not even escaped: they are shown instead.
fn attribute(text: &str) -> String {
    disarm(text)
}
