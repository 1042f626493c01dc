//! The step `node`: builds the npm package and runs the tests of package, probe and examples.

use std::fs;

use anyhow::{Context as _, bail};

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

/// The compiler, with the version that `package.json` pins, unless it is there already.
///
/// Without a lock file: the binaries of the platforms, which are versioned with this checkout, cannot be in one before they
/// are published. npm leaves out optional packages that it does not find.
fn install() -> anyhow::Result<()> {
    let folder = root().join("node");
    let wanted =
        fs::read_to_string(folder.join("package.json")).context("cannot read node/package.json")?;
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
    .current_dir(&folder);
    if !runner::run(&mut npm, None)?.succeeded {
        bail!("npm could not install the TypeScript compiler into node/node_modules");
    }
    fs::write(stamp, wanted).context("cannot write the stamp of node/node_modules")
}
