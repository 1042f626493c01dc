//! The step `node`: builds the npm package and runs the tests of package, probe and examples. The chore `runners`: the
//! package inside the test runners it has adapters for.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};

use crate::runner::{self, Ran};
use crate::tally::{Runner, Tally};
use crate::workspace::{Tree, cargo, command, root};

/// Builds `node/`, checks its types, and runs the files named `*.test.mjs`.
pub(crate) fn test(tree: &Tree) -> anyhow::Result<Ran> {
    // Named one by one: what a folder means to `node --test` differs between versions of Node.
    let files: Vec<&str> = tree
        .files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| path.starts_with("node/test/") || path.starts_with("examples/test/"))
        .filter(|path| path.ends_with(".test.mjs"))
        .collect();
    if files.is_empty() {
        bail!("no file matches node/test/*.test.mjs or examples/test/*.test.mjs");
    }
    let succeeded = build()?;
    let mut node = command("node");
    node.args(["--test", "--test-reporter=spec"]).args(files);
    let ran = runner::run(&mut node, Some(Runner::Node))?;
    Ok(Ran {
        succeeded: succeeded && ran.succeeded,
        tally: Tally {
            failed: ran.tally.failed + u64::from(!succeeded),
            ..ran.tally
        },
    })
}

/// Test runners, with the versions that the adapters were written against.
const RUNNERS: [&str; 4] = ["bun@1.4.5", "jest@30", "mocha@11", "vitest@4"];

/// `cargo xtask runners`: installs them into `target/runners` and runs the same cases in each. Kept apart from `test`, which
/// would become slow by it.
pub(crate) fn runners() -> anyhow::Result<ExitCode> {
    ensure!(build()?, "the npm package could not be built");
    let folder = root().join("target/runners");
    fs::create_dir_all(&folder).context("make target/runners")?;
    fs::write(folder.join("package.json"), "{ \"private\": true }\n")?;
    let mut npm = command("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(RUNNERS)
        .current_dir(&folder);
    ensure!(
        runner::run(&mut npm, None)?.succeeded,
        "npm could not install into target/runners"
    );
    let mut node = command("node");
    node.args(["node/test/runners/run.mjs", "target/runners"]);
    let ran = runner::run(&mut node, None)?;
    Ok(if ran.succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The package as its tests import it, and the judge they ask; whether all of it succeeded.
fn build() -> anyhow::Result<bool> {
    install()?;
    let mut succeeded = runner::run(
        cargo().args(["build", "--quiet", "--package", "plimsoll-cli"]),
        None,
    )?
    .succeeded;
    for script in ["build", "types"] {
        let mut npm = command("npm");
        npm.args(["run", "--silent", script])
            .current_dir(root().join("node"));
        succeeded &= runner::run(&mut npm, None)?.succeeded;
    }
    Ok(succeeded)
}

/// What the tests need, with the versions that each `package.json` pins: the compiler, and what an example is made of.
fn install() -> anyhow::Result<()> {
    for folder in ["node", "examples/wasm-dataframe"] {
        install_in(&root().join(folder))?;
    }
    Ok(())
}

/// What the `package.json` of a folder names, unless it is there already.
///
/// Without a lock file: the binaries of the platforms, which are versioned with this checkout, cannot be in one before they
/// are published. npm leaves out optional packages that it does not find.
pub(crate) fn install_in(folder: &Path) -> anyhow::Result<()> {
    let manifest = folder.join("package.json");
    let wanted = fs::read_to_string(&manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let stamp = folder.join("node_modules/.wanted");
    if fs::read_to_string(&stamp).is_ok_and(|has| has == wanted) {
        return Ok(());
    }
    let mut npm = command("npm");
    npm.args([
        "install",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--prefer-offline",
        "--loglevel=error",
    ])
    .current_dir(folder);
    if !runner::run(&mut npm, None)?.succeeded {
        bail!("npm could not install into {}", folder.display());
    }
    fs::write(stamp, wanted).context("cannot write the stamp of node_modules")
}
