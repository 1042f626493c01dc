//! `cargo xtask tidy`: the rules that neither the compiler nor clippy knows.
//!
//! Each check is a function from the files of the checkout to a list of problems. It reads nothing else,
//! so that its tests can hand it files that break the rule.

mod arrows;
mod calls;
mod documents;
mod manifests;
mod names;
mod source;
mod words;

use std::fmt;
use std::process::ExitCode;

use crate::workspace::{self, File, Tree};

/// One thing that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    /// Counted from 1; `None` where the file as a whole is meant.
    line: Option<usize>,
    what: String,
}

impl Problem {
    fn of_file(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: None,
            what: what.into(),
        }
    }

    fn of_line(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self {
            path: file.path.clone(),
            line: Some(line),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.path, self.what),
            None => write!(out, "{}: {}", self.path, self.what),
        }
    }
}

/// All checks on the checkout.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let problems = check(&Tree::read(workspace::root())?)?;
    for problem in &problems {
        println!("{problem}");
    }
    println!("tidy: {} problems", problems.len());
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Everything wrong with `tree`, check by check.
pub(crate) fn check(tree: &Tree) -> anyhow::Result<Vec<Problem>> {
    let mut problems = arrows::check(tree, &arrows::members(&workspace::metadata()?));
    problems.extend(manifests::check(tree));
    problems.extend(calls::check(tree));
    problems.extend(source::check(tree));
    problems.extend(names::check(tree));
    problems.extend(words::check(tree, &words::machine_paths(workspace::root())));
    problems.extend(documents::check(tree));
    Ok(problems)
}

/// What the checks' tests share.
#[cfg(test)]
mod testing {
    use super::Problem;

    /// The problems as printed.
    pub(super) fn printed(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }
}
