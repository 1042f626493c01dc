//! The checkout as the chores see it: its root, its files, what cargo says about it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// The root of the checkout this binary was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies inside the workspace")
}

/// A command that runs in the root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that started this chore.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The binary of `PLIMSOLL_BINARY`, or the one of this checkout.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os("PLIMSOLL_BINARY") {
        return fs::canonicalize(given).context("PLIMSOLL_BINARY leads nowhere");
    }
    let built = cargo()
        .args(["build", "--quiet", "--package", "plimsoll-cli"])
        .status()?;
    ensure!(built.success(), "plimsoll could not be built");
    Ok(root().join("target/debug/plimsoll"))
}

/// Standard output of a command that must succeed.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let name = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{name} printed bytes that are no text"))
}

/// What `cargo metadata` says; without dependencies from elsewhere.
pub(crate) fn metadata() -> anyhow::Result<serde_json::Value> {
    let text = output_of(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&text).context("cargo metadata printed no JSON")
}

/// Whether `program` can be started at all.
pub(crate) fn is_installed(program: &str, arguments: &[&str]) -> bool {
    command(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// One file of the checkout.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Contents; empty where they are no text. For a symlink, those of the file it leads to.
    pub(crate) text: String,
    /// Where it leads, if it is a symlink.
    pub(crate) link: Option<PathBuf>,
}

impl File {
    /// The name after the last dot of the file name, or nothing.
    pub(crate) fn extension(&self) -> &str {
        Path::new(&self.path)
            .extension()
            .and_then(OsStr::to_str)
            .unwrap_or_default()
    }

    /// Lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

/// Every file of the checkout that is not built, installed or recorded.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// In order of their paths.
    pub(crate) files: Vec<File>,
}

impl Tree {
    /// Reads the checkout under `root`.
    pub(crate) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// The file at `path` from the root.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether something lies at `path`: a file, or a folder with files in it.
    pub(crate) fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files.iter().any(|file| {
            file.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// A tree of the paths and texts given, for tests of the checks.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| File {
            path: path.to_owned(),
            text: text.to_owned(),
            link: None,
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }
}

/// Mirrors `.gitignore`; a walk needs no git, so the chores also work in an unpacked tarball.
fn is_ignored(name: &str) -> bool {
    name == "target"
        || name.starts_with("target-")
        || [
            ".git",
            ".next",
            ".plimsoll",
            "node_modules",
            "dist",
            "__pycache__",
        ]
        .contains(&name)
        || name.ends_with(".profraw")
        || name.ends_with(".egg-info")
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if is_ignored(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &path, files)?;
            continue;
        }
        if !kind.is_file() && !kind.is_symlink() {
            continue;
        }
        let name = path
            .strip_prefix(root)
            .expect("walked from the root")
            .to_string_lossy()
            .into_owned();
        files.push(File {
            path: name,
            text: fs::read(&path)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default(),
            link: if kind.is_symlink() {
                Some(fs::read_link(&path)?)
            } else {
                None
            },
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Tree, root};

    #[test]
    fn the_checkout_is_read_without_what_was_built() {
        let tree = Tree::read(root()).unwrap();
        assert!(
            tree.file("xtask/src/workspace.rs")
                .unwrap()
                .text
                .starts_with("//! The checkout")
        );
        assert!(tree.has("crates/judge") && tree.has("crates/judge/") && tree.has("Cargo.toml"));
        assert!(!tree.has("crates/jud") && !tree.has("target"));
    }
}
