//! `cargo xtask dist`: one archive with the stripped binary, for machines without a compiler, and the packages of npm with it.
//!
//! Static where the installed target allows it: the C library is linked in, and the binary runs on any
//! Linux of the same processor. Where that does not link, a dynamic binary is made instead, and said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};

use crate::node;
use crate::workspace::{cargo, command, metadata, output_of, root};

/// A binary beyond this is no longer something to fetch for one check.
const MOST_BYTES: u64 = 12 << 20;

const PACKAGE: &str = "plimsoll-cli";
const BINARY: &str = "plimsoll";

/// Processors with a package of npm: as Node calls them, and the targets that make a binary for them, the best first.
const PLATFORMS: [(&str, [&str; 2]); 2] = [
    (
        "x64",
        ["x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl"],
    ),
    (
        "arm64",
        ["aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"],
    ),
];

/// What goes along, from the root.
const COMPANIONS: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

/// Builds, checks and packs.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let metadata = metadata()?;
    let version = version_of(&metadata)?;
    let target = host()?;
    let target_directory = metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?;
    // A folder of its own: other flags would make cargo build everything anew each time it is asked for the usual.
    let build = Path::new(target_directory).join("dist");

    let binary = match link(&target, &build, true) {
        Ok(binary) => binary,
        Err(error) => {
            println!("dist: no static binary on this machine ({error:#}); making a dynamic one");
            link(&target, &build, false)?
        }
    };
    let image = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let linkage = if needs_loader(&image)? {
        "dynamic"
    } else {
        "static"
    };
    let bytes = image.len() as u64;
    ensure!(
        bytes <= MOST_BYTES,
        "the binary has {bytes} bytes, more than the {MOST_BYTES} it may have"
    );
    starts(&binary, &version)?;

    let name = format!("{BINARY}-{version}-{target}");
    let archive = pack(&binary, &name)?;
    println!("dist: {linkage} binary, {bytes} bytes, starts in an empty environment");
    println!(
        "dist: {}, {} bytes",
        archive.display(),
        fs::metadata(root().join(&archive))?.len()
    );
    print!("{}", output_of(command("sha256sum").arg(&archive))?);
    if linkage == "static" {
        packages(&target, &binary, &build)?;
    } else {
        println!("dist: no packages of npm: they go to any Linux, and this binary does not");
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the packages of npm: the one with the binary of this machine, those of others whose targets are installed, and the
/// one that they belong to. What is made for this machine is installed and used.
fn packages(host: &str, binary: &Path, build: &Path) -> anyhow::Result<()> {
    ensure!(node::build()?, "the npm package could not be built");
    let mut own = None;
    let mut binaries = Vec::new();
    for (architecture, targets) in PLATFORMS {
        if targets.contains(&host) {
            own = Some(architecture);
            binaries.push(format!("{architecture}={}", binary.display()));
            continue;
        }
        let Some(target) = targets.into_iter().find(|target| has_target(target)) else {
            println!(
                "dist: @plimsoll/linux-{architecture} is not made: neither {} nor {} is installed here",
                targets[0], targets[1]
            );
            continue;
        };
        let other = match link(target, build, true) {
            Ok(other) => other,
            Err(error) => {
                println!("dist: @plimsoll/linux-{architecture} is not made: {error:#}");
                continue;
            }
        };
        ensure!(
            !needs_loader(&fs::read(&other)?)?,
            "the binary for {target} is not static"
        );
        println!("dist: the binary for {target} cannot be started here, so nobody tried it");
        binaries.push(format!("{architecture}={}", other.display()));
    }
    let mut pack = command("node");
    pack.args(["node/pack.mjs", "dist"]).args(&binaries);
    let said = output_of(&mut pack)?;
    let archives: Vec<&str> = said.lines().collect();
    for archive in &archives {
        println!("dist: {archive}, {} bytes", fs::metadata(archive)?.len());
    }
    let Some(own) = own else {
        println!("dist: there is no package for {host}, so none was tried");
        return Ok(());
    };
    let of_host = format!("plimsoll-linux-{own}-");
    let tried: Vec<&str> = archives
        .iter()
        .copied()
        .filter(|path| path.contains(&of_host) || !path.contains("plimsoll-linux-"))
        .collect();
    let mut test = command("node");
    test.args(["--test", "node/test/install.test.mjs"])
        .env("PLIMSOLL_ARCHIVES", tried.join(":"));
    output_of(&mut test).context("the packages do not work when npm has installed them")?;
    println!("dist: npm installs both, and they judge");
    Ok(())
}

/// Whether the standard library for a target is there.
fn has_target(target: &str) -> bool {
    let libraries =
        output_of(command("rustc").args(["--print", "target-libdir", "--target", target]));
    libraries.is_ok_and(|path| Path::new(path.trim()).is_dir())
}

fn version_of(metadata: &serde_json::Value) -> anyhow::Result<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let package = packages
        .into_iter()
        .find(|package| package["name"] == PACKAGE);
    let version = package.and_then(|package| package["version"].as_str());
    Ok(version
        .with_context(|| format!("the workspace has no package {PACKAGE}"))?
        .to_owned())
}

/// The target of this machine's compiler, e.g. `x86_64-unknown-linux-gnu`.
fn host() -> anyhow::Result<String> {
    let text = output_of(command("rustc").arg("-vV"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc -vV names no host")?.to_owned())
}

/// Builds with the profile of what is given away; returns the binary.
fn link(target: &str, build: &Path, with_libc: bool) -> anyhow::Result<PathBuf> {
    // `--target` keeps the flags away from build scripts, which could not be loaded as static binaries.
    let mut cargo = cargo();
    cargo
        .args([
            "build",
            "--profile",
            "dist",
            "--package",
            PACKAGE,
            "--target",
            target,
        ])
        .env("CARGO_TARGET_DIR", build);
    if with_libc {
        cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
    }
    let status = cargo.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo build failed");
    Ok(build.join(target).join("dist").join(BINARY))
}

/// The binary says its version where no variable is set and nothing is in the current folder.
fn starts(binary: &Path, version: &str) -> anyhow::Result<()> {
    let said = output_of(
        command(binary)
            .arg("--version")
            .env_clear()
            .current_dir("/"),
    )?;
    ensure!(
        said.trim() == format!("{BINARY} {version}"),
        "--version says '{}'",
        said.trim()
    );
    Ok(())
}

/// Packs the binary and its companions into one folder of one archive under `dist/`; returns its path from the root.
fn pack(binary: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let staging = root().join("dist").join(name);
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    fs::create_dir_all(&staging).with_context(|| format!("cannot make {}", staging.display()))?;
    fs::copy(binary, staging.join(BINARY))?;
    for companion in COMPANIONS {
        fs::copy(root().join(companion), staging.join(companion))
            .with_context(|| format!("cannot copy {companion}"))?;
    }
    let archive = Path::new("dist").join(format!("{name}.tar.gz"));
    // No owner, no times: the same binary makes the same archive.
    let options = [
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
    ];
    let mut tar = command("tar");
    tar.args(options)
        .args(["--use-compress-program", "gzip -9n", "-C", "dist", "-cf"])
        .arg(&archive)
        .arg(name);
    output_of(&mut tar)?;
    fs::remove_dir_all(&staging)?;
    Ok(archive)
}

/// Whether an ELF image names a dynamic loader (a program header of type `PT_INTERP`), which a static
/// binary does not. 64-bit little-endian images only: those are the ones made here.
fn needs_loader(image: &[u8]) -> anyhow::Result<bool> {
    const PT_INTERP: u64 = 3;
    let number = |offset: usize, bytes: usize| -> anyhow::Result<u64> {
        let field = image
            .get(offset..offset + bytes)
            .context("the ELF image is cut short")?;
        Ok(field
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    if !image.starts_with(b"\x7fELF\x02\x01") {
        bail!("the binary is no 64-bit little-endian ELF image");
    }
    let table = usize::try_from(number(32, 8)?)?;
    let (entry_bytes, entries) = (
        usize::try_from(number(54, 2)?)?,
        usize::try_from(number(56, 2)?)?,
    );
    for entry in 0..entries {
        if number(table + entry * entry_bytes, 4)? == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::needs_loader;

    /// The head of an image with program headers of the types given.
    fn image(types: &[u8]) -> Vec<u8> {
        let mut image = b"\x7fELF\x02\x01".to_vec();
        image.resize(64, 0);
        image[32] = 64;
        image[54] = 56;
        image[56] = u8::try_from(types.len()).unwrap();
        for kind in types {
            image.push(*kind);
            image.extend([0; 55]);
        }
        image
    }

    #[test]
    fn a_loader_is_seen_in_the_program_headers() {
        assert!(needs_loader(&image(&[6, 3, 1])).unwrap());
        assert!(!needs_loader(&image(&[1, 2, 1])).unwrap());
        assert!(!needs_loader(&image(&[])).unwrap());
    }

    #[test]
    fn the_program_that_runs_this_test_is_read() {
        let image = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(
            needs_loader(&image).unwrap(),
            cfg!(not(target_feature = "crt-static"))
        );
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        assert!(needs_loader(b"#!/bin/sh\n").is_err());
        assert!(needs_loader(&image(&[1, 1])[..110]).is_err());
    }
}
