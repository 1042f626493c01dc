//! `cargo xtask test`: every check and every test, each step with its time.
//!
//! A step that fails does not stop the others: one run says everything that is wrong. The last line is
//! `N passed, N failed`, alone on its line, for whoever reads the log. A step that fails without having
//! reported a failed test (formatting, lints, a crash of the runner) counts as one failure itself, so
//! that `0 failed` and exit status 0 always mean the same.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::bail;

use crate::node;
use crate::python;
use crate::runner::{self, Ran};
use crate::tally::{Runner, Tally};
use crate::tidy;
use crate::workspace::{Tree, cargo, command, is_installed, root};

/// A step: its name and what it does.
type Step = (&'static str, fn(&Tree) -> anyhow::Result<Ran>);

const STEPS: [Step; 8] = [
    ("fmt", |_| {
        runner::run(cargo().args(["fmt", "--all", "--check"]), None)
    }),
    ("tidy", tidy_step),
    ("syntax", syntax_step),
    ("clippy", |_| {
        runner::run(
            cargo().arg("clippy").args(FEATURES).args([
                "--workspace",
                "--all-targets",
                "--quiet",
                "--keep-going",
                "--",
                "-D",
                "warnings",
            ]),
            None,
        )
    }),
    ("rust", rust_step),
    ("doc", |_| {
        runner::run(
            cargo().arg("test").args(FEATURES).args([
                "--workspace",
                "--doc",
                "--no-fail-fast",
                "--quiet",
            ]),
            Some(Runner::Libtest),
        )
    }),
    ("node", node::test),
    ("python", |_| python::test()),
];

/// What nobody has on unless asked for is tested all the same.
const FEATURES: [&str; 2] = ["--features", "plimsoll/memory-testing"];

/// The names by which steps can be chosen.
pub(crate) fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|(name, _)| *name).collect()
}

/// Runs the steps named, or all.
pub(crate) fn run(chosen: &[String]) -> anyhow::Result<ExitCode> {
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !step_names().contains(&name.as_str()))
    {
        bail!(
            "no step is called '{unknown}'; there are: {}",
            step_names().join(", ")
        );
    }
    require_tools()?;
    let tree = Tree::read(root())?;
    let begun = Instant::now();
    let mut total = Tally::default();
    let mut report = Vec::new();
    for (name, step) in STEPS {
        if !chosen.is_empty() && !chosen.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("--- {name}");
        let started = Instant::now();
        let (succeeded, tally) = match step(&tree) {
            Ok(Ran { succeeded, tally }) => (succeeded, tally),
            Err(error) => {
                eprintln!("error: {error:#}");
                (false, Tally::default())
            }
        };
        let tally = settle(succeeded, tally);
        total += tally;
        let seconds = started.elapsed().as_secs_f64();
        let line = describe(name, tally, seconds);
        println!("{line}\n");
        report.push(line);
    }
    println!("{}", report.join("\n"));
    println!("total    {:8.1} s", begun.elapsed().as_secs_f64());
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A step that failed without a failed test is one failure.
fn settle(succeeded: bool, tally: Tally) -> Tally {
    let failed = if succeeded {
        tally.failed
    } else {
        tally.failed.max(1)
    };
    Tally { failed, ..tally }
}

fn describe(name: &str, tally: Tally, seconds: f64) -> String {
    let outcome = if tally.failed == 0 { "ok" } else { "FAILED" };
    if tally == Tally::default() || (tally.passed == 0 && tally.failed == 1) {
        return format!("{name:<8} {seconds:8.1} s  {outcome}");
    }
    format!(
        "{name:<8} {seconds:8.1} s  {outcome}: {} passed, {} failed",
        tally.passed, tally.failed
    )
}

/// Says in one line what is missing on this machine. What rustup can add, it adds.
fn require_tools() -> anyhow::Result<()> {
    let components = [("fmt", "rustfmt"), ("clippy", "clippy")];
    let absent = |(subcommand, _): &&(&str, &str)| !is_cargo_command(subcommand);
    for (_, component) in components.iter().filter(absent) {
        // Whether it helped is seen below.
        let _ = command("rustup")
            .args(["component", "add", component])
            .status();
    }
    let mut missing: Vec<&str> = Vec::new();
    for (_, component) in components.iter().filter(absent) {
        missing.push(if *component == "clippy" {
            "clippy (rustup component add clippy)"
        } else {
            "rustfmt (rustup component add rustfmt)"
        });
    }
    for (program, arguments, hint) in [
        ("node", ["--version"], "node (Node.js 20 or newer)"),
        ("python3", ["--version"], "python3 (3.9 or newer)"),
        ("gcc", ["--version"], "gcc"),
    ] {
        if !is_installed(program, &arguments) {
            missing.push(hint);
        }
    }
    if !missing.is_empty() {
        bail!("missing on this machine: {}", missing.join(", "));
    }
    Ok(())
}

fn is_cargo_command(subcommand: &str) -> bool {
    cargo()
        .args([subcommand, "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn tidy_step(tree: &Tree) -> anyhow::Result<Ran> {
    let problems = tidy::check(tree)?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(Ran {
        succeeded: problems.is_empty(),
        tally: Tally::default(),
    })
}

/// Every script and program that no test may happen to load still has to parse.
fn syntax_step(tree: &Tree) -> anyhow::Result<Ran> {
    let mut succeeded = true;
    for file in tree.files.iter().filter(|file| file.link.is_none()) {
        let mut checker = match file.extension() {
            "js" | "mjs" | "cjs" => command("node"),
            "py" => command("python3"),
            "c" => command("gcc"),
            "sh" => command("sh"),
            _ => continue,
        };
        match file.extension() {
            "py" => checker.args([
                "-c",
                "import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])",
            ]),
            "c" => checker.args(["-fsyntax-only", "-Wall", "-Wextra", "-Werror"]),
            "sh" => checker.arg("-n"),
            _ => checker.arg("--check"),
        };
        succeeded &= runner::run(checker.arg(&file.path), None)?.succeeded;
    }
    Ok(Ran {
        succeeded,
        tally: Tally::default(),
    })
}

/// Unit, integration and end-to-end tests. nextest gives each test its own process and so uses both
/// cores to the end; cargo's own runner does the same work more slowly.
fn rust_step(_: &Tree) -> anyhow::Result<Ran> {
    let mut tests = cargo();
    // A snapshot that differs is a failure and never a file to review.
    tests.env("INSTA_UPDATE", "no");
    let runner = if is_cargo_command("nextest") {
        tests.args([
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--no-tests=pass",
            "--cargo-quiet",
        ]);
        if std::env::var_os("NEXTEST_STATUS_LEVEL").is_none() {
            tests.args(["--status-level", "slow", "--final-status-level", "fail"]);
        }
        Runner::Nextest
    } else {
        println!("cargo-nextest is not installed: cargo test does the same, more slowly");
        tests.args([
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--examples",
            "--no-fail-fast",
            "--quiet",
        ]);
        Runner::Libtest
    };
    runner::run(tests.args(FEATURES), Some(runner))
}

#[cfg(test)]
mod tests {
    use super::{describe, run, settle};
    use crate::tally::Tally;

    #[test]
    fn a_step_that_fails_without_a_failed_test_counts_once() {
        let passed = Tally {
            passed: 3,
            failed: 0,
        };
        assert_eq!(settle(true, passed), passed);
        assert_eq!(
            settle(false, passed),
            Tally {
                passed: 3,
                failed: 1
            }
        );
        assert_eq!(
            settle(
                false,
                Tally {
                    passed: 3,
                    failed: 2
                }
            ),
            Tally {
                passed: 3,
                failed: 2
            }
        );
    }

    #[test]
    fn a_step_is_described_on_one_line() {
        assert_eq!(
            describe("fmt", Tally::default(), 1.24),
            "fmt           1.2 s  ok"
        );
        assert_eq!(
            describe(
                "clippy",
                Tally {
                    passed: 0,
                    failed: 1
                },
                30.0
            ),
            "clippy       30.0 s  FAILED"
        );
        assert_eq!(
            describe(
                "rust",
                Tally {
                    passed: 310,
                    failed: 2
                },
                181.0
            ),
            "rust        181.0 s  FAILED: 310 passed, 2 failed"
        );
    }

    #[test]
    fn an_unknown_step_names_the_known_ones() {
        let error = run(&["lint".to_owned()]).unwrap_err().to_string();
        assert!(
            error.starts_with("no step is called 'lint'; there are: fmt, tidy, "),
            "{error}"
        );
    }
}
