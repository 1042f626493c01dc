//! Words that may not stay in any file: promises without an issue, paths of one machine.

use std::path::Path;

use super::Problem;
use crate::workspace::Tree;

/// Words that promise work. Written in two halves, so that this file does not break its own rule.
const PROMISES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Folders that lie on every machine: a checkout below one of them does not make it a secret.
const COMMON: [&str; 12] = [
    "/",
    "/tmp",
    "/var/tmp",
    "/home",
    "/opt",
    "/srv",
    "/usr/src",
    "/src",
    "/app",
    "/mnt",
    "/builds",
    "/workspace",
];

/// Paths by which a file would speak of this machine: the checkout, the folder around it, the home.
pub(crate) fn machine_paths(root: &Path) -> Vec<String> {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    let mut paths: Vec<String> = [
        Some(root.to_owned()),
        root.parent().map(Path::to_owned),
        home,
    ]
    .into_iter()
    .flatten()
    .filter_map(|path| path.to_str().map(str::to_owned))
    .filter(|path| !COMMON.contains(&path.as_str()))
    .map(|path| format!("{path}/"))
    .collect();
    paths.sort();
    paths.dedup();
    paths
}

pub(crate) fn check(tree: &Tree, machine_paths: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree
        .files
        .iter()
        .filter(|file| file.link.is_none() && file.extension() != "lock")
    {
        let is_code =
            ["rs", "js", "mjs", "cjs", "py", "c", "sh", "toml"].contains(&file.extension());
        for (number, line) in file.lines() {
            for word in PROMISES
                .iter()
                .filter(|word| is_code && promises_without_issue(line, word))
            {
                let what = format!("{word} needs the number of an issue: {word}(#12)");
                problems.push(Problem::of_line(file, number, what));
            }
            for path in machine_paths.iter().filter(|path| has_path(line, path)) {
                problems.push(Problem::of_line(
                    file,
                    number,
                    format!("'{path}' exists on one machine only"),
                ));
            }
        }
    }
    problems
}

/// Whether `word` stands in `line` by itself with no `(#12)` or ` #12` behind it.
fn promises_without_issue(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let rest = &line[start + word.len()..];
        let is_whole = !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let number = rest
            .strip_prefix("(#")
            .or_else(|| rest.strip_prefix(" #"))
            .unwrap_or_default();
        is_whole && !number.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Whether `path` begins in `line` and is not the end of another path, as in `/proc/1/root/`.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-./}*~$%".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PROMISES, check, machine_paths};
    use crate::tidy::testing::printed;
    use crate::workspace::Tree;

    fn problems(path: &str, text: &str) -> Vec<String> {
        printed(&check(
            &Tree::of(&[(path, text)]),
            &["/home/ann/".to_owned()],
        ))
    }

    #[test]
    fn a_promise_needs_an_issue() {
        for word in PROMISES {
            let expected = format!("a.rs:1: {word} needs the number of an issue: {word}(#12)");
            for line in [
                format!("// {word}: later"),
                format!("// {word}(ann) later"),
                format!("/* {word} */"),
            ] {
                assert_eq!(problems("a.rs", &line), [expected.as_str()], "{line}");
            }
            for line in [
                format!("// {word}(#7): later"),
                format!("// {word} #7"),
                format!("let {word}S = 1;"),
            ] {
                assert_eq!(problems("a.rs", &line), [""; 0], "{line}");
            }
            assert_eq!(problems("NOTES.md", word), [""; 0]);
        }
    }

    #[test]
    fn a_path_of_this_machine_is_a_problem_anywhere() {
        assert_eq!(
            problems("docs/guide.md", "see\n`/home/ann/plimsoll/x`"),
            ["docs/guide.md:2: '/home/ann/' exists on one machine only"]
        );
        assert_eq!(
            problems("docs/guide.md", "$ROOT/home/ann/x /home/anna/ /home/bob/"),
            [""; 0]
        );
    }

    #[test]
    fn folders_of_every_machine_are_no_secret() {
        let paths = machine_paths(Path::new("/tmp/plimsoll"));
        assert!(paths.contains(&"/tmp/plimsoll/".to_owned()), "{paths:?}");
        assert!(!paths.contains(&"/tmp/".to_owned()), "{paths:?}");
    }
}
