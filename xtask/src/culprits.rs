//! `cargo xtask culprits [NAMES]`: every pair of `examples/culprits`, leaky and fixed, with the score.
//!
//! The npm packages that some of them need are installed into `target/culprits`, once.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use crate::workspace::{cargo, command, root};

pub(crate) fn run(names: &[String]) -> anyhow::Result<ExitCode> {
    install()?;
    let status = cargo()
        .args([
            "test",
            "--package",
            "plimsoll-cli",
            "--test",
            "culprits",
            "--",
        ])
        .args(["--ignored", "--exact", "all_pairs", "--nocapture"])
        .env("PLIMSOLL_CULPRITS", names.join(" "))
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn install() -> anyhow::Result<()> {
    let place = root().join("target/culprits");
    let manifest = fs::read_to_string(root().join("examples/culprits/package.json"))?;
    let here = place.join("package.json");
    let is_current = fs::read_to_string(&here).is_ok_and(|text| text == manifest);
    if is_current && place.join("node_modules").is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&place)?;
    let _ = fs::remove_file(&here);
    fs::write(&here, &manifest)?;
    let status = command("npm")
        .args(["install", "--no-audit", "--no-fund"])
        .current_dir(&place)
        .status()
        .context("npm cannot be started")?;
    if !status.success() {
        // The next try shall not take it for installed.
        let _ = fs::remove_file(&here);
    }
    ensure!(
        status.success(),
        "the packages of the pairs could not be installed"
    );
    Ok(())
}
