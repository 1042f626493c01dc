//! Rules: what those that were asked for came to, and the list of all with how often each is wrong.

use plimsoll_model::{RuleInfo, RuleResult, RuleState, RuleTally, units};
use serde::Serialize;

use crate::page::{Page, Style, Tone};
use crate::to_json;

/// `FAIL end-start < 5.00 MiB (8.00 MiB)`, `ok max-rss < 500 MiB (118 MiB)`; broken ones first.
pub(crate) fn phrases(results: &[RuleResult], word: Option<&str>) -> Vec<String> {
    let of = |state| results.iter().filter(move |r| r.state == state);
    of(RuleState::Broken)
        .chain(of(RuleState::Holds))
        .chain(of(RuleState::NotApplicable))
        .map(|r| phrase(r, word))
        .collect()
}

pub(crate) fn phrase(result: &RuleResult, word: Option<&str>) -> String {
    let state = match result.state {
        RuleState::Holds => "ok",
        RuleState::Broken => "FAIL",
        RuleState::NotApplicable => "not applicable",
    };
    let mut inside: Vec<String> = Vec::new();
    if result.state != RuleState::NotApplicable {
        inside.push(match result.measured {
            Some(measured) => result.unit.show(measured, word.unwrap_or("operation")),
            None => "beyond all bounds".to_owned(),
        });
    }
    inside.extend(result.why.clone());
    let inside = if inside.is_empty() {
        String::new()
    } else {
        format!(" ({})", inside.join(", "))
    };
    format!("{state} {}{inside}", criterion(result, word))
}

/// `end-start < 5.00 MiB`.
pub(crate) fn criterion(result: &RuleResult, word: Option<&str>) -> String {
    let limit = result.unit.show(result.limit, word.unwrap_or("operation"));
    format!("{} {} {limit}", result.name, result.sign)
}

/// The rules of a file below its verdict; nothing if none was asked for.
pub(crate) fn lines(results: &[RuleResult], page: &mut Page) {
    if !results.is_empty() {
        page.blank();
        page.entry("rules", Tone::Label, &phrases(results, None));
    }
}

/// Every rule there is, for a terminal.
pub fn rules_text(rules: &[RuleInfo], style: Style) -> String {
    let mut page = Page::new(style);
    let intro = "Criteria that memory is judged by elsewhere, as their sources state them: \
        `plimsoll check --rule NAME[=LIMIT]` reports them beside the verdict, a broken one exits with 1.";
    page.flow(0, None, &[intro]);
    let figures = "Figures are from the public corpus of labelled series: how many healthy ones break the rule (false \
        alarms), and on how many leaking ones it holds (leaks missed).";
    page.flow(0, None, &[figures]);
    for rule in rules {
        page.blank();
        let limit = rule.unit.show(rule.limit, "op");
        let name = format!("{} {} {limit}", rule.name, rule.sign);
        let head = [
            name,
            format!("false alarms {}", share(rule.false_alarms)),
            format!("leaks missed {}", share(rule.missed)),
        ];
        page.flow(0, None, &head);
        page.entry("holds", Tone::Label, &[format!("while {}", rule.says)]);
        page.entry("source", Tone::Label, &[&rule.source]);
        page.entry("differs", Tone::Label, &[&rule.differs]);
    }
    page.finish()
}

/// `27 of 49 (55 %)`.
fn share(tally: RuleTally) -> String {
    if tally.of == 0 {
        return "not measured".to_owned();
    }
    let ratio = f64::from(tally.wrong) / f64::from(tally.of);
    format!(
        "{} of {} ({})",
        tally.wrong,
        tally.of,
        units::percent(ratio)
    )
}

#[derive(Debug, Serialize)]
struct List<'a> {
    schema: &'static str,
    tool_version: &'static str,
    rules: &'a [RuleInfo],
}

/// Every rule there is, for machines: `plimsoll.rules/1`.
pub fn rules_json(rules: &[RuleInfo]) -> String {
    to_json(&List {
        schema: "plimsoll.rules/1",
        tool_version: env!("CARGO_PKG_VERSION"),
        rules,
    })
}
