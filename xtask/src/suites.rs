//! `cargo xtask suites [WORDS]`: suites on real subjects, clean and with each of their bugs.
//!
//! A clean subject has to pass all suites. A bug has to turn its own test red, and no other: so that each is put through all
//! suites of its subject, not through its own alone. A word is a suite, a subject or a bug, and chooses what has to do with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::node;
use crate::workspace::{binary, command, root};

/// A suite, and how its hours are shortened.
struct Suite {
    name: &'static str,
    flags: &'static [&'static str],
}

static SUITES: [Suite; 6] = [
    Suite {
        name: "snapshot",
        flags: &[],
    },
    Suite {
        name: "fast",
        flags: &[],
    },
    Suite {
        name: "http",
        flags: &["--compress", "360"],
    },
    Suite {
        name: "tight-loop",
        flags: &[],
    },
    Suite {
        name: "soak",
        flags: &["--compress", "720"],
    },
    Suite {
        name: "session",
        flags: &[],
    },
];

/// What suites are put to the test with.
struct Subject {
    name: &'static str,
    module: &'static str,
    /// The environment variable that chooses a bug.
    variable: &'static str,
    suites: &'static [&'static str],
    bugs: &'static [Bug],
}

/// A bug, the tests that it turns red, and a word of the culprit where it is the same for all of them.
struct Bug {
    name: &'static str,
    red: &'static [&'static str],
    culprit: Option<&'static str>,
}

const fn bug(name: &'static str, red: &'static [&'static str]) -> Bug {
    Bug {
        name,
        red,
        culprit: None,
    }
}

/// One that keeps whatever is created, so that it shows wherever it is looked for.
const fn leak(name: &'static str, culprit: &'static str) -> Bug {
    Bug {
        name,
        red: &["heap_snapshots", "http_server", "soak"],
        culprit: Some(culprit),
    }
}

const OF_OBJECTS: &[&str] = &["snapshot", "fast", "http", "tight-loop", "soak"];

static SUBJECTS: [Subject; 5] = [
    Subject {
        name: "ledger",
        module: "testdata/suite/ledger.mjs",
        variable: "MUTANT",
        suites: OF_OBJECTS,
        bugs: &[
            bug("", &[]),
            bug("rapid", &["gc_verification"]),
            bug("block", &["wasm_memory"]),
            bug("invalid", &["error_recovery"]),
            bug("archive", &["auto_vs_manual"]),
            bug("headings", &["memory_pressure"]),
            bug("readings", &["soak"]),
            bug("totals", &["http_server"]),
            bug("single", &["tight_loop"]),
            bug("pairs", &["heap_snapshots"]),
        ],
    },
    Subject {
        name: "desks",
        module: "testdata/suite/desks.mjs",
        variable: "MUTANT",
        suites: &["session"],
        bugs: &[
            bug("", &[]),
            bug(
                "history",
                &["sessions.heap_growth", "sessions.heap_stability"],
            ),
            bug("listener", &["sessions.listeners"]),
            bug("timer", &["sessions.timers"]),
            bug("file", &["sessions.file_handles"]),
            bug("shared", &["sessions.isolation"]),
            bug("unbounded", &["sessions.cache_entries"]),
            bug("heavy", &["sessions.cache_bytes"]),
            bug("silent", &["sessions.budget_enforcement"]),
            bug("fresh", &["sessions.pool_reuse"]),
        ],
    },
    Subject {
        name: "frames",
        module: "examples/wasm-dataframe/subject.mjs",
        variable: "LEAK",
        suites: &["snapshot", "fast", "http", "tight-loop", "soak", "session"],
        bugs: &[bug("", &[])],
    },
    Subject {
        name: "leaks",
        module: "examples/wasm-dataframe/subject.mjs",
        variable: "LEAK",
        suites: &["snapshot", "http", "soak"],
        bugs: &[
            leak("listener", "numberFormat"),
            leak("global", "framesForDebugging"),
            leak("cycle", "frameAges"),
            leak("closure", "pendingSummaries"),
        ],
    },
    Subject {
        name: "mutants",
        module: "examples/wasm-dataframe/mutants.mjs",
        variable: "MUTANT",
        suites: OF_OBJECTS,
        bugs: &[
            bug("late-finaliser", &["gc_verification"]),
            bug("forgotten-copy", &["wasm_memory"]),
            bug("kept-errors", &["error_recovery"]),
            bug("sorted-copies", &["auto_vs_manual"]),
            bug("wide-index", &["memory_pressure"]),
            bug("journal-drift", &["soak"]),
            bug("kept-answers", &["http_server"]),
            bug("series-numbers", &["tight_loop"]),
        ],
    },
];

/// One run of a suite.
type Case = (&'static Subject, &'static Bug, &'static Suite);

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let cases = chosen(arguments)?;
    let binary = binary()?;
    if cases.iter().any(|(s, ..)| s.module.starts_with("examples")) {
        node::install_in(&root().join("examples/wasm-dataframe"))?;
    }
    if cases.iter().any(|(s, ..)| s.name == "desks") {
        ensure!(node::build()?, "the npm package could not be built");
    }
    let begun = Instant::now();
    let mut wrong = 0;
    for (subject, bug, suite) in &cases {
        let begun = Instant::now();
        let found = found(subject, bug, suite, &binary)?;
        let expected = expected(bug, &found);
        let is_right = found.red == expected && found.is_named(bug);
        wrong += u32::from(!is_right);
        println!(
            "{}  {:8} {:15} {:10} red: {} ({:.0} s)",
            if is_right { "ok   " } else { "WRONG" },
            subject.name,
            if bug.name.is_empty() {
                "clean"
            } else {
                bug.name
            },
            suite.name,
            if found.red.is_empty() {
                "none".to_owned()
            } else {
                found.why.join("; ")
            },
            begun.elapsed().as_secs_f64()
        );
        if !is_right {
            println!(
                "       expected red: {expected:?}; culprits: {:?}",
                found.culprits
            );
        }
    }
    println!(
        "{} runs, {wrong} wrong, {:.0} min",
        cases.len(),
        begun.elapsed().as_secs_f64() / 60.0
    );
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What words choose: suites, subjects and bugs, each of them all unless one is named.
fn chosen(words: &[String]) -> anyhow::Result<Vec<Case>> {
    let mut all: Vec<Case> = Vec::new();
    for subject in &SUBJECTS {
        for bug in subject.bugs {
            let suites = SUITES.iter().filter(|s| subject.suites.contains(&s.name));
            all.extend(suites.map(|suite| (subject, bug, suite)));
        }
    }
    let parts: [fn(&Case) -> &'static str; 3] = [
        |(subject, ..)| subject.name,
        |(_, bug, _)| {
            if bug.name.is_empty() {
                "clean"
            } else {
                bug.name
            }
        },
        |(.., suite)| suite.name,
    ];
    for word in words {
        let is_known = all
            .iter()
            .any(|case| parts.iter().any(|part| part(case) == word));
        ensure!(
            is_known,
            "'{word}' is neither a suite ({}) nor a subject ({}) nor one of their bugs",
            SUITES.each_ref().map(|s| s.name).join(", "),
            SUBJECTS.each_ref().map(|s| s.name).join(", "),
        );
    }
    for part in parts {
        let named: BTreeSet<&str> = all.iter().map(part).collect();
        let wanted: Vec<&String> = words
            .iter()
            .filter(|w| named.contains(w.as_str()))
            .collect();
        if !wanted.is_empty() {
            all.retain(|case| wanted.iter().any(|word| *word == part(case)));
        }
    }
    Ok(all)
}

/// What a run of a suite found.
#[derive(Default)]
struct Found {
    /// The tests that were run, and their checks by full name.
    names: BTreeSet<String>,
    /// Those of which a check is not well; of the suite of sessions, the checks.
    red: BTreeSet<String>,
    /// Each check that is not well, and why.
    why: Vec<String>,
    culprits: Vec<String>,
}

impl Found {
    /// Whether a culprit has the name that it must have, if anything is red.
    fn is_named(&self, bug: &Bug) -> bool {
        match bug.culprit {
            Some(word) if !self.red.is_empty() => {
                self.culprits.iter().any(|culprit| culprit.contains(word))
            }
            _ => true,
        }
    }
}

/// Of the tests that a bug turns red, those that were run.
fn expected(bug: &Bug, found: &Found) -> BTreeSet<String> {
    let red = bug.red.iter().map(|test| (*test).to_owned());
    red.filter(|test| found.names.contains(test)).collect()
}

fn found(subject: &Subject, bug: &Bug, suite: &Suite, binary: &Path) -> anyhow::Result<Found> {
    // A table of a soak that was run before would be refused.
    let place = root().join("target/suites");
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place)?;
    let ran = command(binary)
        .args(["suite", suite.name])
        .arg(root().join(subject.module))
        .args(["--json", "--quiet"])
        .args(suite.flags)
        .env(subject.variable, bug.name)
        .current_dir(&place)
        .output()?;
    let run: Value = serde_json::from_slice(&ran.stdout)
        .with_context(|| String::from_utf8_lossy(&ran.stderr).into_owned())?;
    ensure!(
        run["status"]["state"] == "completed",
        "{} {}: {}",
        suite.name,
        bug.name,
        run["status"]
    );
    Ok(of(&run))
}

/// Reads what a suite wrote.
fn of(run: &Value) -> Found {
    let mut found = Found::default();
    for check in run["checks"].as_array().into_iter().flatten() {
        let text = |name: &str| check[name].as_str().unwrap_or_default();
        let full = format!("{}.{}", text("test"), text("name"));
        // Twelve checks of sessions answer one row; each is a test of its own.
        let name = if text("test") == "sessions" {
            full.clone()
        } else {
            text("test").to_owned()
        };
        found.names.insert(name.clone());
        if !matches!(text("state"), "passed" | "skipped") {
            found.red.insert(name);
            found
                .why
                .push(format!("{full} {} ({})", text("state"), text("why")));
        }
        let culprits = check["culprits"].as_array().into_iter().flatten();
        found.culprits.extend(culprits.map(|culprit| {
            ["kind", "holder", "place"]
                .iter()
                .filter_map(|part| culprit[part].as_str())
                .collect::<Vec<_>>()
                .join(" | ")
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<(&'static str, &'static str, &'static str)> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let cases = chosen(&words).expect("known words").into_iter();
        cases.map(|(s, b, t)| (s.name, b.name, t.name)).collect()
    }

    #[test]
    fn words_choose_suites_subjects_and_bugs() {
        assert_eq!(names("frames fast"), [("frames", "", "fast")]);
        assert_eq!(names("rapid fast http").len(), 2);
        assert_eq!(names("clean fast").len(), 2);
        let ledger = SUBJECTS[0].bugs.len() * OF_OBJECTS.len();
        assert_eq!(names("ledger").len(), ledger);
        let error = chosen(&["fats".to_owned()]).err().map(|e| e.to_string());
        assert!(error.is_some_and(|e| e.starts_with("'fats' is neither a suite")));
    }

    #[test]
    fn red_is_what_is_not_well_and_a_leak_has_its_name() {
        let check = |test: &str, name: &str, state: &str| serde_json::json!({"test": test, "name": name, "state": state, "why": "", "culprits": [{"kind": "Frame", "holder": "Map `frames`"}]});
        let found = of(&serde_json::json!({"checks": [
            check("soak", "stability", "leak"),
            check("sessions", "timers", "inconclusive"),
            check("sessions", "listeners", "passed"),
        ]}));
        let red: Vec<&str> = found.red.iter().map(String::as_str).collect();
        assert_eq!(red, ["sessions.timers", "soak"]);
        assert!(found.is_named(&leak("x", "frames")));
        assert!(!found.is_named(&leak("x", "pages")));
        assert_eq!(expected(&leak("x", "frames"), &found).len(), 1);
    }
}
