//! `cargo xtask scenarios [SERVICES]`: every scenario of every service of `examples/services`, clean and with a leak; and the
//! shop, leaky and fixed, from outside by `plimsoll check`.
//!
//! Each cell is a process of its own: a leak of one is no baseline of the next. A clean cell has to pass, a leaky one to be
//! found with its source; no two clean cells may report the same bytes per operation, or one of them was not measured; and a
//! service whose engine is left out has to fail wherever it is asked.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::workspace::{cargo, command, root};

const MANIFEST: &str = "examples/services/Cargo.toml";
const TARGET: &str = "target/scenarios";

/// The services, as the program calls them.
const SERVICES: [&str; 4] = ["DataStore", "InferenceEngine", "McpGateway", "ScriptEngine"];

/// The scenario in which nothing is asked.
const IDLE: &str = "IdleBaseline";

const SCENARIOS: [&str; 8] = [
    IDLE,
    "SingleOperation",
    "HighFrequencyOperations",
    "LargeDataProcessing",
    "ConcurrentOperations",
    "LongRunningStability",
    "ResourceExhaustion",
    "CleanupValidation",
];

/// A service that is checked from outside, and knows nothing of scenarios.
const SHOP: &str = "shop";

/// Leaks, with what a finding of each names. They take turns over the cells, so that each service has each.
const LEAKS: [(&str, &str); 5] = [
    ("session-map", "Session +"),
    ("arc-cycle", "a cycle of Arcs: Call"),
    ("unbounded-cache", "answers entries +"),
    ("channel", "audit entries +"),
    ("forgotten-task", "waiting tasks entries +"),
];

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let unknown = arguments
        .iter()
        .find(|name| !SERVICES.contains(&name.as_str()) && *name != SHOP);
    if let Some(unknown) = unknown {
        bail!(
            "no service is called '{unknown}'; there are: {}, {SHOP}",
            SERVICES.join(", ")
        );
    }
    let is_wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|own| own == name);
    let build = cargo()
        .args(["build", "--quiet", "--manifest-path", MANIFEST])
        .args(["--target-dir", TARGET])
        .status()?;
    ensure!(build.success(), "the services could not be built");
    let begun = Instant::now();
    let mut failures = Vec::new();
    let mut figures: BTreeMap<u64, String> = BTreeMap::new();
    let mut cells = 0;
    for (row, service) in SERVICES.iter().enumerate() {
        if !is_wanted(service) {
            continue;
        }
        for (column, scenario) in SCENARIOS.iter().enumerate() {
            let clean = cell(service, scenario, &[])?;
            let (leak, source) = LEAKS[(row + column) % LEAKS.len()];
            let leaky = cell(service, scenario, &["--leak", leak])?;
            let mut wrong = unclean(&clean);
            let bytes = clean["memory_stats"]["memory_per_operation"].as_f64();
            if let Some(bytes) = bytes
                && let Some(other) =
                    figures.insert(bytes.to_bits(), format!("{service} {scenario}"))
            {
                wrong.push(format!("the same bytes per operation as {other}: {bytes}"));
            }
            wrong.extend(unfound(&leaky, leak, source));
            cells += 2;
            // A service that is left alone asks its engine nothing.
            if *scenario != IDLE {
                let hollow = cell(service, scenario, &["--engine", "removed"])?;
                wrong.extend(unfailed(&hollow));
                cells += 1;
            }
            let seconds = |result: &Value| result["duration"]["secs"].as_u64().unwrap_or_default();
            println!(
                "{service:<16} {scenario:<24} {:>12} B/op   clean {:>2} s   {leak:<16} {:>2} s   {}",
                bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0}")),
                seconds(&clean),
                seconds(&leaky),
                if wrong.is_empty() { "ok" } else { "FAILED" }
            );
            for what in &wrong {
                println!("    {what}");
            }
            failures.extend(wrong);
        }
    }
    if cells > 0 {
        println!(
            "{cells} cells, {} complaints, {:.0} s",
            failures.len(),
            begun.elapsed().as_secs_f64()
        );
    }
    if is_wanted(SHOP) {
        failures.extend(shop()?);
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one cell in a process of its own; its result.
fn cell(service: &str, scenario: &str, more: &[&str]) -> anyhow::Result<Value> {
    let out = root().join(TARGET).join("cell.json");
    let _ = fs::remove_file(&out);
    let program = root().join(TARGET).join("debug/plimsoll-services");
    let mut program = command(&program);
    program
        .args(["--service", service, "--scenario", scenario])
        .args(more)
        .arg("--out")
        .arg(&out);
    let output = program.output().context("the services cannot be started")?;
    let text = fs::read_to_string(&out).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("{service} {scenario} left no result, and said: {said}")
    })?;
    let document: Value = serde_json::from_str(&text)?;
    Ok(document["results"][0].clone())
}

/// Builds the shop alone, with optimisation; where it lies.
pub(crate) fn build_shop() -> anyhow::Result<PathBuf> {
    let build = cargo()
        .args(["build", "--quiet", "--release", "--manifest-path", MANIFEST])
        .args(["--target-dir", TARGET, "--bin", SHOP])
        .args(["--no-default-features", "--features", SHOP])
        .status()?;
    ensure!(build.success(), "the shop could not be built");
    Ok(root().join(TARGET).join("release").join(SHOP))
}

/// Checks the shop from outside, leaky and fixed; what is wrong.
fn shop() -> anyhow::Result<Vec<String>> {
    let build = cargo()
        .args(["build", "--quiet", "--package", "plimsoll-cli"])
        .status()?;
    ensure!(build.success(), "the command line could not be built");
    let mut wrong = Vec::new();
    for (kind, code) in [("leaky", 1), ("fixed", 0)] {
        let begun = Instant::now();
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let output = command(root().join("target/debug/plimsoll"))
            .args(["check", "--json", "--url"])
            .arg(format!("http://127.0.0.1:{port}/cart"))
            .arg("--")
            .arg(root().join(TARGET).join("debug").join(SHOP))
            .args([kind, &port.to_string()])
            .env("PLIMSOLL_DIR", root().join(TARGET).join("runs"))
            .output()
            .context("plimsoll cannot be started")?;
        let run: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("the check of the {kind} shop answered with no document, and said: {said}")
        })?;
        let complaints = unchecked(&run, code);
        println!(
            "{SHOP:<16} {kind:<24} {:>12} B/op   {:>3.0} s   {}",
            run["verdict"]["growth"]["rate"]
                .as_f64()
                .map_or("-".to_owned(), |rate| format!("{rate:.1}")),
            begun.elapsed().as_secs_f64(),
            if complaints.is_empty() {
                "ok"
            } else {
                "FAILED"
            }
        );
        for what in &complaints {
            println!("    {what}");
        }
        wrong.extend(complaints);
    }
    Ok(wrong)
}

/// What is wrong with a check of the shop that should end with this code.
fn unchecked(run: &Value, code: i32) -> Vec<String> {
    let mut wrong = Vec::new();
    if run["exit_code"] != code {
        wrong.push(format!(
            "exit code {} instead of {code}: {}",
            run["exit_code"], run["verdict"]["reason"]
        ));
    }
    let levels = run["levels"].as_array();
    if !levels.is_some_and(|levels| levels.iter().any(|level| level == "allocator")) {
        wrong.push("its allocator was not read".to_owned());
    }
    if code == 0 {
        return wrong;
    }
    let culprit = &run["culprits"][0];
    let is_named = culprit["holder"] == "scope `carts`"
        && culprit["place"]
            .as_str()
            .is_some_and(|place| place.contains("src/bin/shop.rs:"));
    if !is_named {
        wrong.push(format!(
            "the line that opens carts is not the culprit: {culprit}"
        ));
    }
    wrong
}

/// What is wrong with a cell that should be clean.
fn unclean(result: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if result["status"] != "Completed" {
        wrong.push(format!("clean: {}", result["status"]));
    }
    for violation in result["violations"].as_array().into_iter().flatten() {
        wrong.push(format!("clean: {}", violation["description"]));
    }
    if result["leak_detection"]["leak_detected"] == true {
        wrong.push(format!(
            "clean: {}",
            result["leak_detection"]["suspected_sources"]
        ));
    }
    wrong
}

/// What is wrong with a cell in which a leak should be found.
fn unfound(result: &Value, leak: &str, source: &str) -> Option<String> {
    let found = &result["leak_detection"];
    if found["leak_detected"] != true {
        let verdict = &result["verdict"];
        return Some(format!(
            "{leak}: not found: {} {}",
            verdict["outcome"], verdict["reason"]
        ));
    }
    let violations = result["violations"].as_array().into_iter().flatten();
    if !violations
        .clone()
        .any(|violation| violation["violation_type"] == "MemoryLeak")
    {
        return Some(format!("{leak}: found, and no violation"));
    }
    let mut sources = found["suspected_sources"].as_array().into_iter().flatten();
    let is_named = sources.any(|line| line.as_str().is_some_and(|line| line.contains(source)));
    (!is_named).then(|| {
        format!(
            "{leak}: `{source}` is not among {}",
            found["suspected_sources"]
        )
    })
}

/// What is wrong with a cell in which the engine is never asked.
fn unfailed(result: &Value) -> Option<String> {
    let failed = result["status"]["Failed"].as_str();
    failed
        .is_none()
        .then(|| format!("it passed without its engine: {}", result["status"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{unchecked, unclean, unfailed, unfound};

    #[test]
    fn a_check_from_outside_is_held_to_its_code_and_its_culprit() {
        let culprit = json!({"holder": "scope `carts`", "place": "src/bin/shop.rs:61"});
        let leaky =
            json!({"exit_code": 1, "levels": ["process", "allocator"], "culprits": [culprit]});
        assert!(unchecked(&leaky, 1).is_empty());
        assert_eq!(unchecked(&leaky, 0).len(), 1);
        let nobody = json!({"exit_code": 1, "levels": ["process"], "culprits": []});
        assert_eq!(unchecked(&nobody, 1).len(), 2);
    }

    #[test]
    fn a_cell_is_held_to_what_it_should_find() {
        let clean = json!({"status": "Completed", "violations": [], "leak_detection": {"leak_detected": false}});
        assert!(unclean(&clean).is_empty());
        assert!(unfound(&clean, "channel", "audit").is_some());
        let found = json!({
            "status": "Completed",
            "violations": [{"violation_type": "MemoryLeak", "description": "leaks"}],
            "leak_detection": {"leak_detected": true, "suspected_sources": ["audit entries +1.00 per operation"]}
        });
        assert_eq!(unclean(&found).len(), 2);
        assert_eq!(unfound(&found, "channel", "audit entries +"), None);
        assert!(unfound(&found, "channel", "Session +").is_some());
        assert!(unfailed(&clean).is_some());
        assert_eq!(unfailed(&json!({"status": {"Failed": "no"}})), None);
    }
}
