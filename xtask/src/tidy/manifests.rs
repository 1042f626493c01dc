//! Manifests, lints of the pure crates, symlinks: what holds the rooms apart.

use std::path::{Component, Path};

use super::Problem;
use crate::workspace::{File, Tree};

/// Crates that may not look at a clock, a file or the environment. Each bans them in its own `clippy.toml`.
const PURE: [&str; 1] = ["crates/judge"];

/// Workspaces of their own: the fuzz targets, a bench whose rivals are no dependencies of the product, and services on real
/// engines.
const APART: [&str; 3] = ["fuzz/", "bench/alloc/", "examples/services/"];

/// Files that exist once and are embedded elsewhere: the symlink, and where it leads from the root.
const EMBEDDED: [(&str, &str); 1] = [("crates/probe/src/node_probe.cjs", "node/probe.cjs")];

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in &tree.files {
        let is_apart = APART.iter().any(|folder| file.path.starts_with(folder));
        if file.path.ends_with("/Cargo.toml") && !is_apart {
            manifest(file, &mut problems);
        }
        if file.extension() == "rs" {
            embedding(tree, file, &mut problems);
        }
        if let Some(link) = &file.link
            && resolve(&file.path, link).is_none_or(|target| !tree.has(&target))
        {
            let what = format!(
                "the symlink leads to {}, which is no file of the project",
                link.display()
            );
            problems.push(Problem::of_file(&file.path, what));
        }
    }
    for folder in PURE.iter().filter(|folder| tree.has(folder)) {
        let path = format!("{folder}/clippy.toml");
        let bans = |file: &File| file.text.contains("disallowed-methods");
        if !tree.file(&path).is_some_and(bans) {
            problems.push(Problem::of_file(
                path,
                "must ban clocks, files and environment by `disallowed-methods`",
            ));
        }
    }
    for (path, source) in EMBEDDED {
        let target = tree
            .file(path)
            .and_then(|file| resolve(path, file.link.as_deref()?));
        if target.as_deref() != Some(source) {
            problems.push(Problem::of_file(
                path,
                format!("must be a symlink to {source}"),
            ));
        }
    }
    problems
}

/// The lint table is inherited, versions stand in the workspace's manifest only.
fn manifest(file: &File, problems: &mut Vec<Problem>) {
    let mut section = "";
    let mut inherits_lints = false;
    for (number, line) in file.lines() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        inherits_lints |= section == "lints" && key == "workspace" && value == "true";
        let inherits = key.ends_with(".workspace") || value.contains("workspace = true");
        if section.ends_with("dependencies") && !inherits {
            let what = format!(
                "{key}: versions stand in the workspace's manifest; write `{key}.workspace = true`"
            );
            problems.push(Problem::of_line(file, number, what));
        }
    }
    if !inherits_lints {
        problems.push(Problem::of_file(
            &file.path,
            "must inherit the lints: `[lints] workspace = true`",
        ));
    }
}

/// A path that climbs out of its crate builds here and breaks the published package.
fn embedding(tree: &Tree, file: &File, problems: &mut Vec<Problem>) {
    let Some(folder) = crate_of(tree, &file.path) else {
        return;
    };
    for (number, line) in file.lines() {
        for (position, _) in line.match_indices("include_") {
            let mut quoted = line[position..].splitn(3, '"');
            let (Some(macro_name), Some(path)) = (quoted.next(), quoted.next()) else {
                continue;
            };
            if !["include_str!(", "include_bytes!("].contains(&macro_name) {
                continue;
            }
            let inside = resolve(&file.path, Path::new(path))
                .is_some_and(|target| target.starts_with(folder));
            if !inside {
                let what = format!(
                    "embeds {path}, which lies outside {folder}; use a symlink inside the crate"
                );
                problems.push(Problem::of_line(file, number, what));
            }
        }
    }
}

/// The folder of the crate that `path` belongs to, with a slash at its end.
fn crate_of<'a>(tree: &Tree, path: &'a str) -> Option<&'a str> {
    let ends = path.match_indices('/').map(|(index, _)| index);
    ends.map(|end| &path[..=end])
        .rfind(|folder| tree.file(&format!("{folder}Cargo.toml")).is_some())
}

/// Where `link` leads, seen from the file at `from`; nothing if out of the project.
fn resolve(from: &str, link: &Path) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for component in link.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{EMBEDDED, check};
    use crate::tidy::testing::printed;
    use crate::workspace::{File, Tree};

    const MANIFEST: &str = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n";

    /// Problems of `files` in a tree in which everything else is right.
    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let mut tree = Tree::of(files);
        let (path, source) = EMBEDDED[0];
        tree.files.push(File {
            path: source.to_owned(),
            ..File::default()
        });
        tree.files.push(File {
            path: path.to_owned(),
            text: String::new(),
            link: Some("../../../node/probe.cjs".into()),
        });
        printed(&check(&tree))
    }

    #[test]
    fn versions_stand_in_the_workspace() {
        let good = format!(
            "{MANIFEST}[dependencies]\nserde.workspace = true\nzstd = {{ workspace = true, features = [] }}\n"
        );
        assert_eq!(problems(&[("crates/x/Cargo.toml", &good)]), [""; 0]);
        let bad = format!("{MANIFEST}[dev-dependencies]\nserde = \"1\"\n");
        assert_eq!(
            problems(&[("crates/x/Cargo.toml", &bad)]),
            [
                "crates/x/Cargo.toml:7: serde: versions stand in the workspace's manifest; write `serde.workspace = true`"
            ]
        );
    }

    #[test]
    fn lints_are_inherited() {
        assert_eq!(
            problems(&[("crates/x/Cargo.toml", "[package]\nname = \"x\"\n")]),
            ["crates/x/Cargo.toml: must inherit the lints: `[lints] workspace = true`"]
        );
    }

    #[test]
    fn a_pure_crate_bans_clocks() {
        assert_eq!(
            problems(&[
                ("crates/judge/Cargo.toml", MANIFEST),
                ("crates/judge/clippy.toml", "allow-unwrap-in-tests = true")
            ]),
            [
                "crates/judge/clippy.toml: must ban clocks, files and environment by `disallowed-methods`"
            ]
        );
        assert_eq!(
            problems(&[("crates/judge/clippy.toml", "disallowed-methods = []")]),
            [""; 0]
        );
    }

    #[test]
    fn an_embedded_file_is_a_symlink_to_the_one_source() {
        let copy = Tree::of(&[(EMBEDDED[0].0, "a copy"), (EMBEDDED[0].1, "the source")]);
        assert_eq!(
            printed(&check(&copy)),
            ["crates/probe/src/node_probe.cjs: must be a symlink to node/probe.cjs"]
        );
    }

    #[test]
    fn a_symlink_stays_inside_the_project() {
        for link in ["/etc/passwd", "../../outside", "missing"] {
            let mut tree = Tree::of(&[]);
            tree.files.push(File {
                path: "docs/link".to_owned(),
                text: String::new(),
                link: Some(link.into()),
            });
            let first = &printed(&check(&tree))[0];
            assert_eq!(
                *first,
                format!("docs/link: the symlink leads to {link}, which is no file of the project")
            );
        }
    }

    #[test]
    fn what_is_embedded_lies_inside_the_crate() {
        let embed = |path: &str| format!("const X: &str = include{}(\"{path}\");\n", "_str!");
        let files = |source: &str| {
            problems(&[
                ("crates/x/Cargo.toml", MANIFEST),
                ("crates/x/src/lib.rs", source),
            ])
        };
        assert_eq!(files(&embed("../README.md")), [""; 0]);
        assert_eq!(
            files(&embed("../../../README.md")),
            [
                "crates/x/src/lib.rs:1: embeds ../../../README.md, which lies outside crates/x/; use a symlink inside the crate"
            ]
        );
    }
}
