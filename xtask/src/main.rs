//! Chores of the workspace: `cargo xtask test`, `tidy`, `fuzz`, `dist`, `bench`, `culprits`, `figures`, `wrappers`,
//! `runners`, `services`, `frameworks`, `scenarios` and `suites`.
//!
//! Everything a continuous build needs is here and not in its configuration, so that the same command
//! gives the same answer on every machine. Standard library, `anyhow` and `serde_json` only: this crate
//! is built before anything else.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore talks to whoever started it"
)]

mod culprits;
mod dist;
mod figures;
mod frameworks;
mod fuzz;
mod node;
mod python;
mod runner;
mod scenarios;
mod services;
mod suites;
mod tally;
mod test;
mod tidy;
mod workspace;
mod wrappers;

use std::process::ExitCode;

use anyhow::bail;

/// The chores, by the word that starts them. Tidy checks the commands of the documents against this list.
const CHORES: [(&str, &str); 13] = [
    (
        "test",
        "every check and every test; `cargo xtask test STEP...` does only the steps named",
    ),
    (
        "tidy",
        "what no other tool checks: dependency arrows, STYLE's rules, names of examples",
    ),
    (
        "fuzz",
        "the fuzz targets, a minute each; `cargo xtask fuzz TARGET... --seconds N`",
    ),
    (
        "dist",
        "a stripped binary with its licences and the packages of npm in `dist/`, and proof that they work",
    ),
    (
        "bench",
        "what observing costs: `cargo xtask bench sampler`, `recorder LOG`, `alloc [TURNS]`, `tracked`, `service [TURNS]`",
    ),
    (
        "figures",
        "what the changelog quotes, measured here; takes most of an hour",
    ),
    (
        "wrappers",
        "tests behind package managers, loaders and other runtimes, which it installs from npm",
    ),
    (
        "runners",
        "the npm package inside vitest, jest, mocha and Bun, which it installs from npm",
    ),
    (
        "services",
        "Python's frameworks under check, and memray, which it installs from PyPI; `cargo xtask services NAME...`",
    ),
    (
        "frameworks",
        "services on Express, Fastify, Next.js, Bun and BullMQ under check; `cargo xtask frameworks NAME... --runs N`",
    ),
    (
        "culprits",
        "whether the culprit of every known leak is named; takes half an hour",
    ),
    (
        "scenarios",
        "the services of `examples/services` under every scenario, clean and leaky; minutes",
    ),
    (
        "suites",
        "every suite on real subjects, clean and with each of their bugs; hours, `cargo xtask suites WORDS...` a part",
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (chore, rest) = match arguments.split_first() {
        Some((chore, rest)) => (chore.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    match chore {
        "test" => test::run(rest),
        "tidy" => tidy::run(),
        "fuzz" => fuzz::run(rest),
        "dist" => dist::run(),
        "bench" => bench(rest),
        "culprits" => culprits::run(rest),
        "frameworks" => frameworks::run(rest),
        "figures" => figures::run(rest).map(|()| ExitCode::SUCCESS),
        "wrappers" => wrappers::run(),
        "runners" => node::runners(),
        "scenarios" => scenarios::run(rest),
        "suites" => suites::run(rest),
        "services" => services::run(rest),
        "help" | "--help" | "-h" => {
            println!("usage: cargo xtask CHORE\n");
            for (name, does) in CHORES {
                println!("  {name:<10} {does}");
            }
            println!("\nsteps of test: {}", test::step_names().join(", "));
            Ok(ExitCode::SUCCESS)
        }
        unknown => bail!(
            "no chore is called '{unknown}'; there are: {}",
            CHORES.map(|(name, _)| name).join(", ")
        ),
    }
}

/// Benches of `bench/alloc`, a workspace of its own, with the program of each.
const APART: [(&str, &str); 3] = [
    ("alloc", "compare"),
    ("service", "service"),
    ("tracked", "tracked"),
];

/// Builds a bench with optimisation and runs it.
fn bench(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some((name, rest)) = arguments.split_first() else {
        bail!("which bench? there are: sampler, recorder, alloc, tracked, service");
    };
    let mut cargo = workspace::cargo();
    if let Some((_, program)) = APART.iter().find(|(known, _)| known == name) {
        // One binary per allocator, which must lie beside the one that compares them.
        let apart = [
            "--manifest-path",
            "bench/alloc/Cargo.toml",
            "--target-dir",
            "target/bench-alloc",
        ];
        let built = workspace::cargo()
            .args(["build", "--quiet", "--release", "--bins"])
            .args(apart)
            .status()?;
        if !built.success() {
            return Ok(ExitCode::FAILURE);
        }
        cargo
            .args(["run", "--quiet", "--release"])
            .args(apart)
            .args(["--bin", program, "--"]);
        if name == "service" {
            cargo.args(["/cart".as_ref(), scenarios::build_shop()?.as_os_str()]);
            cargo.arg("fixed");
        }
    } else {
        cargo
            .args(["run", "--quiet", "--release", "--package", "plimsoll-bench"])
            .args(["--bin", name, "--"]);
    }
    let status = cargo.args(rest).status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn an_unknown_chore_names_the_known_ones() {
        let error = run(&["tset".to_owned()]).unwrap_err().to_string();
        assert_eq!(
            error,
            "no chore is called 'tset'; there are: test, tidy, fuzz, dist, bench, figures, wrappers, runners, services, frameworks, culprits, scenarios, suites"
        );
    }
}
