//! The step `python`: lints, types and tests of the Python package, in an environment of their own under `target/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::runner::{self, Ran};
use crate::tally::{Runner, Tally};
use crate::workspace::{cargo, command, output_of, root};

/// What the step needs besides the package itself. Bounds keep a new release from breaking an old checkout.
const TOOLS: [&str; 11] = [
    "pytest>=8,<10",
    "pytest-asyncio>=0.24,<2",
    "anyio>=4,<5",
    "pytest-xdist>=3,<4",
    "pytest-rerunfailures>=14",
    "pytest-cov>=5,<8",
    "pytest-timeout>=2,<3",
    "pytest-django>=4.8,<5",
    "django>=4.2,<6",
    "mypy>=1.11,<3",
    "ruff>=0.6,<1",
];

/// Runs lints, types and tests of `python/`.
pub(crate) fn test() -> anyhow::Result<Ran> {
    // The tests ask the judge of this checkout.
    if !runner::run(
        cargo().args(["build", "--quiet", "--package", "plimsoll-cli"]),
        None,
    )?
    .succeeded
    {
        bail!("the judge could not be built");
    }
    let environment = environment()?;
    let python = environment.join("bin/python");
    let mut succeeded = true;
    for arguments in [
        ["-m", "ruff", "check", "python"].as_slice(),
        &["-m", "ruff", "format", "--check", "--quiet", "python"],
        &[
            "-m",
            "mypy",
            "--config-file",
            "python/pyproject.toml",
            "python/src",
        ],
    ] {
        let mut lint = command(&python);
        lint.args(arguments)
            .env("RUFF_CACHE_DIR", "target/python-cache/ruff")
            .env("MYPY_CACHE_DIR", "target/python-cache/mypy");
        succeeded &= runner::run(&mut lint, None)?.succeeded;
    }
    let mut tests = command(&python);
    tests
        .args([
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            "python/pyproject.toml",
            "python/tests",
        ])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = runner::run(&mut tests, Some(Runner::Pytest))?;
    Ok(Ran {
        succeeded: succeeded && ran.succeeded,
        tally: Tally {
            failed: ran.tally.failed + u64::from(!succeeded),
            ..ran.tally
        },
    })
}

/// The virtual environment, made or brought up to date if what it should hold has changed.
fn environment() -> anyhow::Result<PathBuf> {
    let folder = root().join("target/python");
    let project = fs::read_to_string(root().join("python/pyproject.toml"))
        .context("cannot read python/pyproject.toml")?;
    let version = output_of(command("python3").arg("--version"))?;
    let wanted = format!("{version}{}\n{project}", TOOLS.join("\n"));
    let stamp = folder.join("stamp");
    if fs::read_to_string(&stamp).is_ok_and(|has| has == wanted) {
        return Ok(folder);
    }
    make(&folder)?;
    fs::write(&stamp, wanted).context("cannot write the environment's stamp")?;
    Ok(folder)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    let name = folder.to_string_lossy().into_owned();
    let mut create = command("python3");
    create.args(["-m", "venv", "--clear", &name]);
    let mut install = command(folder.join("bin/python"));
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--editable", "python"])
        .args(TOOLS);
    for step in [&mut create, &mut install] {
        if !runner::run(step, None)?.succeeded {
            bail!("the Python environment in {name} could not be made: is python3-venv installed?");
        }
    }
    Ok(())
}
