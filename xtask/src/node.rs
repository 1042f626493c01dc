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

/// Versions of Node beside the one that runs the tests: the oldest that the package loads in, the last of each line before leak
/// tests begin, and newer ones.
const NODES: [&str; 5] = ["14.6.0", "16.20.2", "18.20.8", "22.22.0", "24.14.0"];

/// `cargo xtask runners`: installs them into `target/runners` and runs the same cases in each; then other versions of Node. Kept
/// apart from `test`, which would become slow by it.
pub(crate) fn runners() -> anyhow::Result<ExitCode> {
    ensure!(build()?, "the npm package could not be built");
    let folder = root().join("target/runners");
    fs::create_dir_all(&folder).context("make target/runners")?;
    fs::write(folder.join("package.json"), "{ \"private\": true }\n")?;
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    // By the packages that hold a binary and nothing else: `node` itself fetches one of them by a script.
    let nodes = NODES.map(|v| format!("node-{v}@npm:node-linux-{architecture}@{v}"));
    let mut npm = command("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefer-offline"])
        .args(RUNNERS)
        .args(nodes)
        .current_dir(&folder);
    ensure!(
        runner::run(&mut npm, None)?.succeeded,
        "npm could not install into target/runners"
    );
    let mut succeeded = true;
    for (script, words) in [("run.mjs", &[][..]), ("versions.mjs", &NODES[..])] {
        let mut node = command("node");
        node.arg(format!("node/test/runners/{script}"))
            .arg("target/runners")
            .args(words);
        succeeded &= runner::run(&mut node, None)?.succeeded;
    }
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The package as its tests import it, and the judge they ask; whether all of it succeeded.
pub(crate) fn build() -> anyhow::Result<bool> {
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
