//! What `--help` says, and that no message names a flag or verb that it does not.

mod common;

use std::path::{Path, PathBuf};

use common::{Place, repository};

const VERBS: [&str; 12] = [
    "check", "load", "analyze", "snapshot", "explain", "monitor", "profile", "doctor", "export",
    "report", "history", "suite",
];

/// What `profile` does has flags of its own too.
const WISHES: [&str; 9] = [
    "record",
    "live",
    "flamegraph",
    "table",
    "summary",
    "tree",
    "stats",
    "export",
    "help",
];

/// So has each suite.
const SUITES: [&str; 6] = ["fast", "tight-loop", "snapshot", "soak", "http", "session"];

/// Questions of `snapshot` have flags of their own.
const QUESTIONS: [&str; 12] = [
    "take",
    "summary",
    "diff",
    "leaks",
    "retainers",
    "dominators",
    "strings",
    "contexts",
    "query",
    "anonymize",
    "browse",
    "help",
];

/// Flags of other programs that our messages may name.
const FOREIGN: [&str; 4] = [
    "--permission",
    "--experimental-permission",
    "--source-map",
    "--sourcemap",
];

#[test]
fn the_short_help_of_each_verb_fits_a_screen() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.run(&["--help"]).stdout);
    for verb in VERBS {
        let help = place.run(&[verb, "-h"]);
        help.expect_code(0);
        assert!(help.stdout.lines().count() <= 50, "{}", help.stdout);
        assert!(
            help.stdout.lines().all(|l| l.chars().count() <= 100),
            "{}",
            help.stdout
        );
        insta::assert_snapshot!(format!("help_{verb}"), help.stdout);
    }
    for suite in SUITES {
        let help = place.run(&["suite", suite, "-h"]);
        help.expect_code(0);
        insta::assert_snapshot!(format!("help_suite_{suite}"), help.stdout);
    }
}

#[test]
fn every_exit_code_is_documented() {
    let place = Place::new();
    let help = place.run(&["--help"]).stdout;
    for code in plimsoll_model::ExitCode::ALL {
        let line = format!("  {:<4}{}", code.code(), code.meaning());
        assert!(
            help.contains(line.trim_end()),
            "`{line}` is not in:\n{help}"
        );
    }
}

#[test]
fn messages_name_only_flags_and_verbs_that_exist() {
    let place = Place::new();
    let verbs = VERBS.iter().map(|verb| vec![*verb]);
    let questions = QUESTIONS.iter().map(|q| vec!["snapshot", *q]);
    let wishes = WISHES.iter().map(|w| vec!["profile", *w]);
    let suites = SUITES.iter().map(|s| vec!["suite", *s]);
    let help: String = verbs
        .chain(questions)
        .chain(wishes)
        .chain(suites)
        .map(|words| place.run(&[words.as_slice(), &["--help"]].concat()).stdout)
        .collect();
    let known = |flag: &str| {
        FOREIGN.contains(&flag) || help.split(|c: char| !is_flag(c)).any(|word| word == flag)
    };
    let mut named = 0;
    for file in sources(Path::new(&repository("crates"))) {
        let text = std::fs::read_to_string(&file).expect("readable");
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            // Messages quote flags and commands in backticks.
            for quoted in line.split('`').skip(1).step_by(2) {
                let place = format!("{}:{}", file.display(), number + 1);
                for flag in quoted
                    .split(|c: char| !is_flag(c))
                    .filter(|w| w.starts_with("--") && w.len() > 2)
                {
                    named += 1;
                    assert!(known(flag), "{place} names `{flag}`");
                }
                if let Some(verb) = quoted
                    .strip_prefix("plimsoll ")
                    .and_then(|rest| rest.split(' ').next())
                {
                    named += 1;
                    assert!(VERBS.contains(&verb), "{place} names the verb `{verb}`");
                }
            }
        }
    }
    assert!(named > 20, "only {named} flags found: the search is broken");
}

fn is_flag(c: char) -> bool {
    c.is_ascii_lowercase() || c == '-'
}

/// Product sources of the rooms whose words reach a user.
fn sources(crates: &Path) -> Vec<PathBuf> {
    let rooms = ["cli", "engine", "load", "model", "report", "store"];
    let mut open: Vec<PathBuf> = rooms
        .iter()
        .map(|room| crates.join(room).join("src"))
        .collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
