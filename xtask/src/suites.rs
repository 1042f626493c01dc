//! `cargo xtask suites [SUITES]`: every suite on the subject of `testdata/suite`, clean and with each of its bugs.
//!
//! The clean subject has to pass all checks; each bug has to turn its own test red, and no other.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::workspace::{cargo, command, root};

/// What a suite is given, the subject it is about, and its bugs with the tests that they turn red.
struct Suite {
    name: &'static str,
    subject: &'static str,
    flags: &'static [&'static str],
    bugs: &'static [(&'static str, &'static str)],
}

const SUITES: [Suite; 6] = [
    Suite {
        name: "fast",
        subject: "ledger.mjs",
        flags: &[],
        bugs: &[
            ("rapid", "gc_verification"),
            ("block", "wasm_memory"),
            ("invalid", "error_recovery"),
            ("archive", "auto_vs_manual"),
            ("headings", "memory_pressure"),
        ],
    },
    Suite {
        name: "soak",
        subject: "ledger.mjs",
        flags: &["--compress", "720"],
        bugs: &[("readings", "soak")],
    },
    Suite {
        name: "http",
        subject: "ledger.mjs",
        flags: &["--compress", "180"],
        bugs: &[("totals", "http_server")],
    },
    Suite {
        name: "tight-loop",
        subject: "ledger.mjs",
        flags: &[],
        bugs: &[("single", "tight_loop")],
    },
    Suite {
        name: "snapshot",
        subject: "ledger.mjs",
        flags: &[],
        bugs: &[("pairs", "heap_snapshots")],
    },
    Suite {
        name: "session",
        subject: "desks.mjs",
        flags: &[],
        bugs: &[
            ("history", "sessions"),
            ("listener", "sessions"),
            ("timer", "sessions"),
            ("file", "sessions"),
            ("shared", "sessions"),
            ("unbounded", "sessions"),
            ("heavy", "sessions"),
            ("silent", "sessions"),
            ("fresh", "sessions"),
        ],
    },
];

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
    if let Some(unknown) = arguments.iter().find(|a| !names.contains(&a.as_str())) {
        bail!(
            "no suite is called '{unknown}'; there are: {}",
            names.join(", ")
        );
    }
    let build = cargo().args(["build", "--quiet"]).status()?;
    ensure!(build.success(), "plimsoll could not be built");
    let mut wrong = 0;
    for suite in SUITES
        .iter()
        .filter(|s| arguments.is_empty() || arguments.iter().any(|a| a == s.name))
    {
        let clean = std::iter::once(("", ""));
        for (bug, expected) in clean.chain(suite.bugs.iter().copied()) {
            let begun = Instant::now();
            let red = red(suite, bug)?;
            let is_right = red
                .iter()
                .map(String::as_str)
                .eq((!expected.is_empty()).then_some(expected));
            wrong += u32::from(!is_right);
            println!(
                "{}  {:10} {:10} red: {} ({:.0} s)",
                if is_right { "ok   " } else { "WRONG" },
                suite.name,
                if bug.is_empty() { "clean" } else { bug },
                if red.is_empty() {
                    "none".to_owned()
                } else {
                    red.iter().cloned().collect::<Vec<_>>().join(", ")
                },
                begun.elapsed().as_secs_f64()
            );
        }
    }
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The tests of which a check is not well.
fn red(suite: &Suite, bug: &str) -> anyhow::Result<BTreeSet<String>> {
    // A table of a soak that was run before would be refused.
    let place = root().join("target/suites");
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place)?;
    let subject = root().join("testdata/suite").join(suite.subject);
    let ran = command(root().join("target/debug/plimsoll"))
        .args(["suite", suite.name])
        .arg(&subject)
        .args(["--json", "--quiet"])
        .args(suite.flags)
        .env("MUTANT", bug)
        .current_dir(&place)
        .output()?;
    let run: Value = serde_json::from_slice(&ran.stdout)
        .with_context(|| String::from_utf8_lossy(&ran.stderr).into_owned())?;
    ensure!(
        run["status"]["state"] == "completed",
        "{} {bug}: {}",
        suite.name,
        run["status"]
    );
    let checks = run["checks"].as_array().context("no checks")?.iter();
    let red = checks.filter(|check| check["state"] != "passed" && check["state"] != "skipped");
    Ok(red
        .filter_map(|check| check["test"].as_str().map(str::to_owned))
        .collect())
}
