//! Commands in the documents: their chores, verbs, flags and files must exist.
//!
//! That they do what the document says is for the end-to-end tests; this finds what was renamed.

use super::Problem;
use crate::CHORES;
use crate::workspace::{File, Tree};

/// Where the verbs and flags of the command line are defined.
const ARGUMENTS: &str = "crates/cli/src/args.rs";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let arguments = tree
        .file(ARGUMENTS)
        .map(|file| file.text.as_str())
        .unwrap_or_default();
    let verbs = verbs(arguments);
    let mut problems = Vec::new();
    if !tree.has("README.md") {
        problems.push(Problem::of_file("README.md", "is missing"));
    }
    for document in tree
        .files
        .iter()
        .filter(|file| file.extension() == "md" && is_for_users(&file.path))
    {
        for (number, command) in commands(document) {
            let mut complain =
                |what: String| problems.push(Problem::of_line(document, number, what));
            let words: Vec<&str> = command.split_whitespace().collect();
            match words.as_slice() {
                ["cargo", "xtask", chore, ..]
                    if !CHORES.iter().any(|(known, _)| known == chore) =>
                {
                    complain(format!("no chore is called '{chore}'"));
                }
                ["plimsoll", rest @ ..] | ["cargo", "run", "--release", "--", rest @ ..] => {
                    if let Some(verb) = rest
                        .first()
                        .filter(|word| is_verb(word) && !verbs.iter().any(|v| v == *word))
                    {
                        complain(format!("no verb is called '{verb}'"));
                    }
                    let own = rest.iter().take_while(|word| **word != "--");
                    for flag in own
                        .filter_map(|word| word.strip_prefix("--"))
                        .filter(|flag| !knows(arguments, flag))
                    {
                        complain(format!("no flag is called '--{flag}'"));
                    }
                }
                _ => {}
            }
            for path in words
                .iter()
                .filter(|word| word.starts_with("examples/") && !word.contains(['*', '…']))
            {
                if !tree.has(path) {
                    complain(format!("there is no {path}"));
                }
            }
        }
    }
    problems
}

fn is_for_users(path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    folder.is_empty() || folder.starts_with("docs") || folder.starts_with("examples")
}

/// The lines of a document's code blocks that are commands, without prompt and comment.
fn commands(document: &File) -> Vec<(usize, String)> {
    let mut fenced = false;
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (number, line) in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if !fenced && !line.starts_with("    ") {
            continue;
        }
        let text = line.trim().trim_start_matches("$ ");
        let text = text
            .split_once("  #")
            .map_or(text, |(command, _)| command)
            .trim_end();
        let piece = text.trim_end_matches('\\');
        if continued && let Some((_, command)) = found.last_mut() {
            command.push_str(piece);
        } else if ["cargo ", "plimsoll ", "node "]
            .iter()
            .any(|start| text.starts_with(start))
        {
            found.push((number, piece.to_owned()));
        } else {
            continue;
        }
        continued = text.ends_with('\\');
    }
    // The heading of a report starts with the same words but runs on in columns: `plimsoll check  node …`.
    found.retain(|(_, command)| !command.trim_end().contains("  "));
    found
}

/// A word that can only be meant as a verb: small letters, no flag, no value.
fn is_verb(word: &str) -> bool {
    word.chars()
        .all(|character| character.is_ascii_lowercase() || character == '-')
        && !word.starts_with('-')
}

/// The variants of `enum Verb`, in the spelling of the command line.
fn verbs(arguments: &str) -> Vec<String> {
    let Some((_, after)) = arguments.split_once("enum Verb {") else {
        return Vec::new();
    };
    let Some((body, _)) = after.split_once("\n}") else {
        return Vec::new();
    };
    let name = |line: &str| {
        let name: String = line
            .trim()
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        name.starts_with(|c: char| c.is_ascii_uppercase())
            .then(|| name.to_ascii_lowercase())
    };
    body.lines()
        .filter(|line| !line.trim().starts_with(['/', '#']))
        .filter_map(name)
        .chain(["help".to_owned()])
        .collect()
}

/// Whether a flag has a field of its name, or is one of those that clap adds.
fn knows(arguments: &str, flag: &str) -> bool {
    let flag = flag.split('=').next().unwrap_or_default();
    let field = flag.replace('-', "_");
    ["help", "version"].contains(&flag)
        || arguments.contains(&format!("pub(crate) {field}:"))
        || arguments.contains(&format!(" {field}: "))
        || arguments.contains(&format!("long = \"{flag}\""))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::printed;
    use crate::workspace::Tree;

    const ARGS: &str = "enum Verb {\n    /// Judge one subject\n    Check(Box<CheckArgs>),\n    Report(ReportArgs),\n}\n\
        struct CheckArgs {\n    pub(crate) url: String,\n    pub(crate) warm_up: u64,\n    #[arg(long = \"max-time\")]\n    limit: u64,\n}\n";

    fn problems(readme: &str) -> Vec<String> {
        printed(&check(&Tree::of(&[
            ("README.md", readme),
            ("crates/cli/src/args.rs", ARGS),
            ("examples/node/shop/server.js", ""),
        ])))
    }

    #[test]
    fn commands_that_exist_are_accepted() {
        let readme = "Try it:\n\n    cargo run --release -- check --url http://h/ --max-time 4m -- node examples/node/shop/server.js --odd\n\n\
            ```sh\n$ plimsoll check --warm-up 500 \\\n    --url http://h/   # a comment\nplimsoll --help\ncargo xtask test\n```\n\
            \n    plimsoll check  node server.js   pid 4121\n\nplimsoll dances in prose.\n";
        assert_eq!(problems(readme), [""; 0]);
    }

    #[test]
    fn what_was_renamed_is_found() {
        assert_eq!(
            problems(
                "# x\n\n    plimsoll chek --ulr http://h/ -- node examples/node/gone/server.js --any\n    cargo xtask tset\n"
            ),
            [
                "README.md:3: no verb is called 'chek'",
                "README.md:3: no flag is called '--ulr'",
                "README.md:3: there is no examples/node/gone/server.js",
                "README.md:4: no chore is called 'tset'",
            ]
        );
    }

    #[test]
    fn a_missing_readme_is_a_problem() {
        assert_eq!(printed(&check(&Tree::of(&[]))), ["README.md: is missing"]);
    }
}
