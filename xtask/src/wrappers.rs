//! Installs what stands between command lines and services, and other runtimes, from npm into `target/wrappers`, and runs
//! the tests that need it. Kept apart from `test`, which must do without a network.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, ensure};

use crate::workspace;

/// What the tests run, with the versions they were written against.
const PACKAGES: [&str; 20] = [
    "@nestjs/cli@12",
    "@nestjs/common@12",
    "@nestjs/core@12",
    "@nestjs/platform-express@12",
    "@types/node@20",
    "bun@1.4.5",
    "deno@2.9.6",
    "esbuild@0.28.2",
    "next@16",
    "nodemon@3",
    "pnpm@12",
    "react-dom@19",
    "react@19",
    "reflect-metadata@0.2",
    "rxjs@7",
    "ts-node@10",
    "tsx@4",
    "turbo@2",
    "typescript@5",
    "yarn@1.22",
];

/// `cargo xtask wrappers`: installs and tests. What is there already is not fetched again.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let directory = workspace::root().join("target/wrappers");
    std::fs::create_dir_all(&directory).context("make target/wrappers")?;
    std::fs::write(directory.join("package.json"), "{ \"private\": true }\n")?;
    let installed = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(PACKAGES)
        .current_dir(&directory)
        .status()
        .context("npm comes with Node")?;
    ensure!(
        installed.success(),
        "npm could not install into target/wrappers"
    );
    let tested = workspace::cargo()
        .args(["test", "--package", "plimsoll-cli", "--test", "wrappers"])
        .status()?;
    ensure!(tested.success(), "a wrapper hides its service");
    Ok(ExitCode::SUCCESS)
}
