//! What a suite found: for a terminal, as JSON, and as `JUnit` with a test for each check.

use std::io;

use plimsoll_model::{
    CheckRecord, CheckState, Culprit, Figure, MemoryColumns, Outcome, RunStatus, SeriesVerdict,
    SuiteRun, units,
};
use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::junit::document;
use crate::page::{Page, Style, Tone, columns, disarm};
use crate::to_json;

/// Columns of the state of a check.
const STATE: usize = 14;

/// Renders it for a terminal: a line for each check, and below it what is not well.
pub fn suite_text(run: &SuiteRun, style: Style) -> String {
    let mut page = Page::new(style);
    let mut head = vec![format!("plimsoll suite {}  {}", run.suite, run.subject)];
    head.extend(run.kind.clone());
    head.extend(run.runtime.clone());
    head.push(units::duration(run.seconds));
    page.flow(0, None, &head);
    match &run.status {
        RunStatus::Failed {
            what,
            details,
            hint,
        } => {
            page.blank();
            page.flow(0, Some(("ERROR", Tone::Bad, 11)), &[what]);
            for line in details {
                page.flow(2, None, &[line]);
            }
            if let Some(hint) = hint {
                page.flow(2, None, &[format!("hint: {hint}")]);
            }
        }
        RunStatus::Interrupted => {
            page.blank();
            page.flow(
                0,
                Some(("INTERRUPTED", Tone::Unsure, 13)),
                &["what was found until then"],
            );
        }
        _ => {}
    }
    let mut test = "";
    let width = run.checks.iter().map(|c| columns(&c.name)).max();
    for check in &run.checks {
        if check.test != test {
            test = &check.test;
            page.blank();
            test_head(run, test, &mut page);
        }
        check_lines(check, width.unwrap_or(0) + 2, &mut page);
    }
    if !run.notes.is_empty() {
        page.blank();
    }
    for note in &run.notes {
        page.entry("note", Tone::Label, &[note]);
    }
    if !run.checks.is_empty() {
        page.blank();
        page.flow(0, None, &[summary(run)]);
    }
    if !run.id.is_empty() {
        page.entry(
            "report",
            Tone::Label,
            &[&format!("plimsoll report {}", run.id)],
        );
    }
    page.finish()
}

/// The name of a test, its time, and what it may take.
fn test_head(run: &SuiteRun, test: &str, page: &mut Page) {
    let checks = || run.checks.iter().filter(|c| c.test == test);
    let seconds: f64 = checks().map(|c| c.seconds).sum();
    let limit = checks().next().map_or(0.0, |c| c.limit_s);
    let time = format!("{} of {}", units::duration(seconds), units::duration(limit));
    page.flow(0, None, &[test.to_owned(), time]);
}

fn tone(state: CheckState) -> Tone {
    match state {
        CheckState::Passed => Tone::Good,
        CheckState::Broken | CheckState::Leak | CheckState::Failed => Tone::Bad,
        CheckState::Inconclusive => Tone::Unsure,
        _ => Tone::Label,
    }
}

fn check_lines(check: &CheckRecord, width: usize, page: &mut Page) {
    let mut parts = vec![format!("{:width$}{}", check.name, check.title)];
    if !check.why.is_empty() && check.figures.is_empty() {
        parts.push(check.why.clone());
    }
    page.flow(
        2,
        Some((check.state.as_str(), tone(check.state), STATE)),
        &parts,
    );
    let indent = 2 + STATE;
    if !check.why.is_empty() && !check.figures.is_empty() {
        page.flow(indent, None, &[&check.why]);
    }
    let figures: Vec<String> = check.figures.iter().map(figure).collect();
    if !figures.is_empty() {
        page.flow(indent, None, &figures);
    }
    if let Some((before, after)) = &check.memory {
        page.flow(indent, None, &memory(before, after));
    }
    let verdicts: Vec<String> = check.verdicts.iter().map(verdict).collect();
    if !verdicts.is_empty() {
        page.flow(indent, None, &verdicts);
    }
    for culprit in &check.culprits {
        page.flow(indent, Some(("held by", Tone::Label, 9)), &held(culprit));
    }
    for hint in &check.hints {
        page.flow(indent, None, &[format!("hint: {hint}")]);
    }
}

/// `heap growth +12.0 KiB (below 5.00 MiB)`.
fn figure(figure: &Figure) -> String {
    let value = figure.unit.show(figure.value);
    match (figure.limit, figure.holds) {
        (Some(limit), Some(false)) => format!(
            "{} {value} (FAIL: {})",
            figure.name,
            limit.phrase(figure.unit)
        ),
        (Some(limit), _) => format!("{} {value} ({})", figure.name, limit.phrase(figure.unit)),
        _ => format!("{} {value}", figure.name),
    }
}

/// The columns: where memory is, at the beginning and at the end.
fn memory(before: &MemoryColumns, after: &MemoryColumns) -> Vec<String> {
    let of = |name: &str, read: fn(&MemoryColumns) -> f64| {
        format!("{name} {}", units::bytes_range(read(before), read(after)))
    };
    let mut parts = vec![of("heap", |m| m.heap_used), of("external", |m| m.external)];
    if after.memories > 0 {
        parts.push(of("linear", |m| m.linear));
    }
    parts.push(of("RSS", |m| m.rss));
    for (name, from, to) in [
        ("alive", before.live, after.live),
        ("resources", before.resources, after.resources),
    ] {
        if let (Some(from), Some(to)) = (from, to) {
            parts.push(format!(
                "{name} {} → {}",
                units::count(from),
                units::count(to)
            ));
        }
    }
    parts
}

/// `judge: JavaScript memory no leak, below 3.1 B/op`.
fn verdict(of: &SeriesVerdict) -> String {
    let verdict = &of.verdict;
    let is_bytes = of.series.ends_with("memory");
    let rate = |value: f64| {
        if is_bytes {
            units::signed_bytes(value)
        } else {
            units::count(value)
        }
    };
    let more = match (verdict.outcome, verdict.bound, &verdict.growth) {
        (Outcome::NoLeak, Some(bound), _) => {
            format!(" (grows less than {} an operation)", rate(bound))
        }
        (Outcome::Leak, _, Some(growth)) => format!(
            " {}/{} ({} … {}), {}",
            rate(growth.rate),
            growth.per,
            rate(growth.interval.low),
            rate(growth.interval.high),
            verdict.pattern
        ),
        _ => String::new(),
    };
    format!("judge: {} {}{more}", of.series, verdict.outcome.as_str())
}

fn held(culprit: &Culprit) -> Vec<String> {
    let mut parts = vec![match &culprit.holder {
        Some(holder) => format!("{} in {holder}", culprit.kind),
        None => culprit.kind.clone(),
    }];
    parts.extend(
        culprit
            .bytes_per_op
            .map(|b| format!("{}/op", units::signed_bytes(b))),
    );
    parts.extend(culprit.place.clone());
    if !culprit.pattern.is_empty() {
        parts.push(format!("pattern: {} · {}", culprit.pattern, culprit.advice));
    }
    parts
}

fn summary(run: &SuiteRun) -> String {
    let states = [
        (CheckState::Passed, "ok"),
        (CheckState::Leak, "leak"),
        (CheckState::Broken, "failed"),
        (CheckState::Inconclusive, "inconclusive"),
        (CheckState::Failed, "errors"),
        (CheckState::Skipped, "skipped"),
    ];
    let counts: Vec<String> = states
        .iter()
        .filter_map(|(state, word)| {
            let count = run.checks.iter().filter(|c| c.state == *state).count();
            (count > 0).then(|| format!("{count} {word}"))
        })
        .collect();
    format!("{} checks: {}", run.checks.len(), counts.join(", "))
}

/// The same for machines: one line of JSON, schema `plimsoll.suite/1`.
pub fn suite_json(run: &SuiteRun) -> String {
    to_json(run)
}

/// `JUnit`: a test for each check.
#[expect(
    clippy::missing_panics_doc,
    reason = "it cannot: writing to memory does not fail"
)]
pub fn suite_junit(run: &SuiteRun) -> String {
    document(|writer| write(run, writer)).expect("writing to memory does not fail")
}

fn write(run: &SuiteRun, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let style = Style {
        color: false,
        width: 100,
        ascii: false,
    };
    let of = |states: &[CheckState]| {
        let count = run
            .checks
            .iter()
            .filter(|c| states.contains(&c.state))
            .count();
        count.to_string()
    };
    // A suite that broke off is an error, though no check says it.
    let broke = !matches!(run.status, RunStatus::Completed);
    let failures = of(&[CheckState::Leak, CheckState::Broken]);
    let errors = of(&[CheckState::Failed]);
    let errors = if broke && errors == "0" {
        "1".to_owned()
    } else {
        errors
    };
    let skipped = of(&[CheckState::Skipped, CheckState::Inconclusive]);
    let tests = (run.checks.len() + usize::from(broke)).to_string();
    let seconds = format!("{:.3}", run.seconds);
    let counts = [
        ("tests", tests.as_str()),
        ("failures", &failures),
        ("errors", &errors),
        ("skipped", &skipped),
        ("time", &seconds),
    ];
    let name = disarm(&format!("plimsoll suite {}", run.suite));
    writer
        .create_element("testsuites")
        .with_attribute(("name", "plimsoll"))
        .with_attributes(counts)
        .write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attribute(("name", name.as_str()))
                .with_attributes(counts)
                .write_inner_content(|writer| {
                    for check in &run.checks {
                        test_case(check, writer)?;
                    }
                    if broke {
                        broken_off(run, writer)?;
                    }
                    writer
                        .create_element("system-out")
                        .write_text_content(BytesText::new(&suite_text(run, style)))?;
                    Ok(())
                })?;
            Ok(())
        })?;
    Ok(())
}

fn test_case(check: &CheckRecord, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let class = disarm(&format!("plimsoll.suite.{}", check.test));
    let name = disarm(&check.name);
    let time = format!("{:.3}", check.seconds);
    let (element, kind) = match check.state {
        CheckState::Passed => {
            writer
                .create_element("testcase")
                .with_attributes([
                    ("classname", class.as_str()),
                    ("name", name.as_str()),
                    ("time", time.as_str()),
                ])
                .write_empty()?;
            return Ok(());
        }
        CheckState::Leak => ("failure", Some("leak")),
        CheckState::Broken => ("failure", Some("rule broken")),
        CheckState::Failed => ("error", Some("subject failed")),
        _ => ("skipped", None),
    };
    let message = disarm(&check.why);
    let mut page = Page::new(Style {
        color: false,
        width: 100,
        ascii: false,
    });
    check_lines(check, columns(&check.name) + 2, &mut page);
    let details = page.finish();
    writer
        .create_element("testcase")
        .with_attributes([
            ("classname", class.as_str()),
            ("name", name.as_str()),
            ("time", time.as_str()),
        ])
        .write_inner_content(|writer| {
            let element = writer
                .create_element(element)
                .with_attribute(("message", message.as_str()));
            match kind {
                Some(kind) => element
                    .with_attribute(("type", kind))
                    .write_text_content(BytesText::new(&details))?,
                None => element.write_empty()?,
            };
            Ok(())
        })?;
    Ok(())
}

fn broken_off(run: &SuiteRun, writer: &mut Writer<Vec<u8>>) -> io::Result<()> {
    let (kind, message) = match &run.status {
        RunStatus::Failed { what, .. } => ("subject failed", disarm(what)),
        _ => ("interrupted", "the suite was interrupted".to_owned()),
    };
    writer
        .create_element("testcase")
        .with_attributes([("classname", "plimsoll.suite"), ("name", "runs to its end")])
        .write_inner_content(|writer| {
            writer
                .create_element("error")
                .with_attributes([("message", message.as_str()), ("type", kind)])
                .write_empty()?;
            Ok(())
        })?;
    Ok(())
}
