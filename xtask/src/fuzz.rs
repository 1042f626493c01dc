//! `cargo xtask fuzz [TARGET...] [--seconds N]`: the fuzz targets, coverage-guided, on the stable toolchain.
//!
//! `cargo fuzz` wants a nightly for the sanitizers. Nothing here needs them: the targets are safe code, and what a fuzzer must see
//! (which edges ran, what was compared) is an LLVM pass that stable knows too. So the targets are built as `cargo fuzz`
//! would with `--sanitizer none`, and libFuzzer runs them. What it learns is kept in `fuzz/target/corpus`, so that the next
//! run goes on from there; crashers go to `fuzz/target/artifacts`, and belong into `fuzz/regressions/TARGET` with a name that says
//! what they are.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::workspace::{cargo, command, root};

/// The targets, in the order in which they run.
const TARGETS: [&str; 6] = ["table", "judge", "log", "probe", "snapshot", "cdp"];
/// How long each runs, in seconds, unless said otherwise.
const SECONDS: u64 = 60;
/// An input may take so long, in seconds, and so much memory, in MiB.
const PATIENCE: &str = "10";
const MEMORY: &str = "1024";

/// Coverage by edge, with the operands of comparisons.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (targets, seconds) = asked(arguments)?;
    let triple = host()?;
    let built = cargo()
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        // With a target, what runs while building is not instrumented.
        .args(["--target", &triple])
        .env("RUSTFLAGS", INSTRUMENTED)
        .status()
        .context("cannot start cargo")?;
    if !built.success() {
        bail!("the fuzz targets do not build");
    }
    let mut found = Vec::new();
    for target in targets {
        println!("\nfuzz {target}, {seconds} s");
        if !one(target, seconds, &triple)? {
            found.push(target);
        }
    }
    if found.is_empty() {
        println!("\nfuzz ok");
        return Ok(ExitCode::SUCCESS);
    }
    bail!(
        "{} failed; the input is in fuzz/target/artifacts. Mend it, and keep the input in fuzz/regressions/TARGET",
        found.join(", ")
    );
}

fn asked(arguments: &[String]) -> anyhow::Result<(Vec<&'static str>, u64)> {
    let mut targets = Vec::new();
    let mut seconds = SECONDS;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().context("--seconds needs a number")?;
            seconds = number
                .parse()
                .with_context(|| format!("'{number}' is no number of seconds"))?;
        } else if let Some(target) = TARGETS.iter().find(|target| *target == argument) {
            targets.push(*target);
        } else {
            bail!(
                "no target is called '{argument}'; there are: {}",
                TARGETS.join(", ")
            );
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    Ok((targets, seconds))
}

/// Runs a target on what is known and on what it makes of it; whether nothing was found.
fn one(target: &str, seconds: u64, triple: &str) -> anyhow::Result<bool> {
    let corpus = format!("fuzz/target/corpus/{target}");
    let artifacts = format!("fuzz/target/artifacts/{target}");
    for folder in [&corpus, &artifacts] {
        let path = root().join(folder);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
    }
    let known = ["seeds", "regressions"].map(|kind| format!("fuzz/{kind}/{target}"));
    let status = command(
        Path::new("fuzz/target")
            .join(triple)
            .join("release")
            .join(target),
    )
    .arg(&corpus)
    .args(known.iter().filter(|folder| root().join(folder).is_dir()))
    .arg(format!("-max_total_time={seconds}"))
    .arg(format!("-timeout={PATIENCE}"))
    .arg(format!("-rss_limit_mb={MEMORY}"))
    .arg(format!("-artifact_prefix={artifacts}/"))
    .args(["-print_final_stats=1", "-max_len=65536", "-verbosity=1"])
    .status()
    .with_context(|| format!("cannot start the target {target}"))?;
    Ok(status.success())
}

/// The triple of this machine, as rustc calls it.
fn host() -> anyhow::Result<String> {
    let said = crate::workspace::output_of(command("rustc").arg("-vV"))?;
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not say its host")
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, asked};

    #[test]
    fn targets_and_seconds_are_read() {
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(asked(&[]).unwrap(), (TARGETS.to_vec(), 60));
        assert_eq!(asked(&words("log --seconds 5")).unwrap(), (vec!["log"], 5));
        for wrong in ["lgo", "--seconds", "--seconds soon"] {
            assert!(asked(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
