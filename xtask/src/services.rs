//! Checks the Python examples with the frameworks they are written for, and records programs with memray; both come from
//! `PyPI` into `target/services`. Kept apart from `test`, which must do without a network and within minutes.

use std::process::ExitCode;

use anyhow::ensure;

use crate::workspace::{cargo, command, root};

/// `cargo xtask services [NAME...]`: installs and tests. What is there already is not fetched again.
pub(crate) fn run(names: &[String]) -> anyhow::Result<ExitCode> {
    let built = cargo()
        .args(["build", "--quiet", "--package", "plimsoll-cli"])
        .status()?;
    ensure!(built.success(), "plimsoll could not be built");
    let checked = command("python3")
        .args(["python/bench/services.py", "--into", "target/services"])
        .args(names)
        .env("PLIMSOLL_BINARY", root().join("target/debug/plimsoll"))
        .current_dir(root())
        .status()?;
    ensure!(
        checked.success(),
        "a service was not judged as it should be"
    );
    let recorded = cargo()
        .args(["test", "--package", "plimsoll-cli", "--test", "profile"])
        .status()?;
    ensure!(recorded.success(), "memray was not driven as it should be");
    Ok(ExitCode::SUCCESS)
}
