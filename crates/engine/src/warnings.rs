//! Free evidence: what the runtime itself said about leaks on the subject's standard error.
//!
//! Nothing is asked and nothing is installed for it: no listener in the subject, only its output is read.

use plimsoll_model::{Culprit, Finding};
use regex_lite::Regex;

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

/// Matches the lines in which a runtime warns.
pub(crate) fn of_the_runtime() -> Regex {
    // The only place it could fail is this text, and a test reads it.
    Regex::new(r"^\s*\((node|bun):[0-9]+\) (\[[A-Z0-9]+\] )?[A-Za-z0-9]+Warning: ")
        .unwrap_or_else(|_| unreachable!("the expression is a constant"))
}

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
        let of_pattern = |c: &Culprit| c.pattern == pattern;
        // `11 price listeners added to [PriceFeed]`: the culprit that names emitter and event is meant, or the only one.
        let named = culprits
            .iter()
            .position(|c| of_pattern(c) && speaks_of(&warning.text, c));
        let only = || {
            let mut all = (0..culprits.len()).filter(|i| of_pattern(&culprits[*i]));
            all.next().filter(|_| all.next().is_none())
        };
        match named.or_else(only) {
            Some(index) => culprits[index].evidence.push(said),
            None => findings.push(Finding::info("runtime-warning", said)),
        }
    }
    findings
}

/// Whether the text of a warning names what the culprit names.
fn speaks_of(text: &str, culprit: &Culprit) -> bool {
    let (Some(class), Some(event)) = (
        text.split_once('[')
            .and_then(|(_, r)| r.split_once(']'))
            .map(|(c, _)| c),
        text.split_once(" listeners added")
            .and_then(|(l, _)| l.rsplit(' ').next()),
    ) else {
        return false;
    };
    let all = [Some(&culprit.kind), culprit.holder.as_ref()];
    let names = |word: &str| all.iter().flatten().any(|t| t.contains(word));
    names(class) && names(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "(node:4121) MaxListenersExceededWarning: Possible EventEmitter memory leak detected. 11 change listeners added to [Bus]. Use emitter.setMaxListeners() to increase limit";

    fn culprit(kind: &str, pattern: &str) -> Culprit {
        Culprit {
            kind: kind.to_owned(),
            holder: None,
            place: None,
            count_per_op: None,
            bytes_per_op: None,
            share: None,
            pattern: pattern.to_owned(),
            advice: String::new(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn the_runtime_is_told_from_the_program() {
        let lines = [
            LINE,
            LINE,
            "MaxListenersExceededWarning: not from the runtime",
            "(node:x) MaxListenersExceededWarning: no pid",
            "(node:1) [DEP0106] DeprecationWarning: old",
            "(node:1) that is all",
        ];
        assert_eq!(
            lines.map(|l| of_the_runtime().is_match(l)),
            [true, true, false, false, true, false]
        );
        let found = warnings(lines);
        let names: Vec<&str> = found.iter().map(|w| w.name.as_str()).collect();
        assert_eq!(names, ["MaxListenersExceededWarning", "DeprecationWarning"]);
    }

    #[test]
    fn a_warning_joins_the_culprit_it_names() {
        let said = warnings([LINE]);
        let mut culprits = [
            culprit("listeners for `end` on Bus", "event listeners"),
            culprit("listeners for `change` on Bus", "event listeners"),
        ];
        assert!(join(&said, &mut culprits).is_empty());
        assert!(culprits[0].evidence.is_empty());
        assert!(culprits[1].evidence[0].contains("11 change listeners"));
    }

    #[test]
    fn without_one_it_is_told_by_itself() {
        let said = warnings([LINE, "(node:1) DeprecationWarning: old"]);
        let mut culprits = [culprit("Session", "unbounded map")];
        assert_eq!(join(&said, &mut culprits).len(), 1);
        assert!(culprits[0].evidence.is_empty());
    }
}
