//! Free evidence: what the runtime itself said about leaks on the subject's standard error.
//!
//! Nothing is asked and nothing is installed for it: no listener in the subject, only its output is read.

use plimsoll_model::{Culprit, Finding};

/// Something the runtime warned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// Its name: `MaxListenersExceededWarning`.
    name: String,
    /// Its text, in one line.
    text: String,
}

/// Words that tell a line of the runtime from one of the program: `(node:4121) Name: text`.
const RUNTIMES: [&str; 2] = ["(node:", "(bun:"];

/// Warnings that speak of things kept, by name, and the pattern they speak of.
const SPEAKING: [(&str, &str); 3] = [
    ("MaxListenersExceededWarning", "event listeners"),
    ("UnhandledPromiseRejectionWarning", "pending promises/tasks"),
    ("TimeoutOverflowWarning", "timers"),
];

/// Lengths beyond this are cut: a warning is a line, not a page.
const LONGEST: usize = 300;

/// Warnings of the runtime in these lines, each text once.
pub(crate) fn warnings<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Warning> {
    let mut found: Vec<Warning> = Vec::new();
    for line in lines {
        let Some(warning) = parse(line) else { continue };
        if !found.contains(&warning) {
            found.push(warning);
        }
    }
    found
}

fn parse(line: &str) -> Option<Warning> {
    let line = line.trim();
    let rest = RUNTIMES.iter().find_map(|r| line.strip_prefix(r))?;
    let (pid, rest) = rest.split_once(") ")?;
    if !pid.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // `[DEP0106] DeprecationWarning: text` has its code in front.
    let rest = rest
        .strip_prefix('[')
        .and_then(|r| r.split_once("] "))
        .map_or(rest, |(_, r)| r);
    let (name, text) = rest.split_once(": ")?;
    let is_name = name.ends_with("Warning") && name.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name.then(|| Warning {
        name: name.to_owned(),
        text: text.chars().take(LONGEST).collect(),
    })
}

/// Joins warnings to the culprits they speak of; those that nobody is joined to are told as findings.
pub(crate) fn join(warnings: &[Warning], culprits: &mut [Culprit]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for warning in warnings {
        let pattern = SPEAKING
            .iter()
            .find(|(name, _)| *name == warning.name)
            .map(|(_, pattern)| *pattern);
        let Some(pattern) = pattern else { continue };
        let said = format!("the runtime says: {}: {}", warning.name, warning.text);
        // `11 price listeners added to [PriceFeed]`: the culprit that names emitter and event is meant.
        let matches = |c: &&mut Culprit| c.pattern == pattern && speaks_of(&warning.text, c);
        let mut of_pattern = culprits.iter_mut().filter(|c| c.pattern == pattern);
        if let Some(culprit) = culprits_first(culprits.iter_mut().find(matches)) {
            culprit.evidence.push(said);
        } else if let (Some(culprit), None) = (of_pattern.next(), of_pattern.next()) {
            culprit.evidence.push(said);
        } else {
            findings.push(Finding::info("runtime-warning", said));
        }
    }
    findings
}

fn culprits_first(found: Option<&mut Culprit>) -> Option<&mut Culprit> {
    found
}

/// Whether the text of a warning names what the culprit names.
fn speaks_of(text: &str, culprit: &Culprit) -> bool {
    let (Some(class), Some(event)) = (
        text.split_once('[').and_then(|(_, r)| r.split_once(']')).map(|(c, _)| c),
        text.split_once(" listeners added").and_then(|(l, _)| l.rsplit(' ').next()),
    ) else {
        return false;
    };
    let all = [Some(&culprit.kind), culprit.holder.as_ref()];
    let names = |word: &str| all.iter().flatten().any(|t| t.contains(word));
    names(class) && names(event)
}
