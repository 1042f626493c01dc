//! `cargo xtask culprits [DIR] [NAMES]`: every pair of `examples/culprits`, or of a folder of the same shape, leaky and
//! fixed, with the score.
//!
//! The npm packages that some of them need are installed under `target/culprits`, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

use crate::workspace::{cargo, command, root};

/// The pairs that are ours.
const OURS: &str = "examples/culprits";

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (folder, names) = match arguments.split_first() {
        Some((first, rest)) if Path::new(first).is_dir() => (fs::canonicalize(first)?, rest),
        _ => (root().join(OURS), arguments),
    };
    let table = folder.join("truth.json");
    ensure!(table.is_file(), "there is no {}", table.display());
    let packages = install(&folder)?;
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
        .env("PLIMSOLL_CULPRITS_FOLDER", &folder)
        .env("PLIMSOLL_CULPRITS_PACKAGES", packages)
        .status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Installs what a folder's `package.json` names; where it has none, what ours names. Where to is returned.
fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    let ours = root().join(OURS);
    let own = folder.join("package.json");
    let (own, place) = if folder == ours || !own.is_file() {
        (ours.join("package.json"), root().join("target/culprits"))
    } else {
        let name: String = folder
            .to_string_lossy()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        (own, root().join("target/culprits/of").join(name))
    };
    let packages = place.join("node_modules");
    let manifest = fs::read_to_string(&own).with_context(|| format!("read {}", own.display()))?;
    let here = place.join("package.json");
    let is_current = fs::read_to_string(&here).is_ok_and(|text| text == manifest);
    if is_current && packages.is_dir() {
        return Ok(packages);
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
    Ok(packages)
}
