//! Where a name is declared: the line of a script that makes the variable or property a holder is called by.
//!
//! Reads the script from disk. Not a parser: the first line that declares or assigns the name is meant, and none is told
//! where there is none.

use std::fs::File;
use std::io::Read as _;

use crate::snapshot::object;

/// Larger scripts are bundles: a line of theirs says nothing.
const LARGEST: u64 = 4 << 20;
/// Longer lines are generated.
const LONGEST_LINE: usize = 1_000;

/// `file:line` of the declaration of `name` in `script`.
pub(super) fn declaration(script: &str, name: &str) -> Option<String> {
    let path = object::file(script);
    let line = line_of(&text_of(path)?, name)?;
    Some(format!("{}:{line}", object::relative(path)))
}

fn text_of(path: &str) -> Option<String> {
    read(path, LARGEST)
}

/// A script as it lies on disk, its first so many bytes.
pub(super) fn read(path: &str, most: u64) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(most).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Which of these names is a variable that begins as an object of this class: `const kept = []` is an Array.
pub(super) fn initialised<'n>(script: &str, names: &'n [String], class: &str) -> Option<&'n str> {
    let text = text_of(object::file(script))?;
    let is_it = |name: &&String| {
        text.lines().any(|line| {
            let assigned = match line.match_indices(name.as_str()).next() {
                Some((at, _)) if declares(line, name) == Some(0) => &line[at + name.len()..],
                _ => return false,
            };
            let value = assigned.trim_start().strip_prefix('=');
            value.is_some_and(|value| begins_as(value, class))
        })
    };
    names.iter().find(is_it).map(String::as_str)
}

/// Whether code makes an object of this class.
pub(super) fn begins_as(code: &str, class: &str) -> bool {
    let begins: &[&str] = match class {
        "Array" => &["[", "Array."],
        "Object" => &["{", "Object."],
        "function" => &["function", "(", "async"],
        _ => &[],
    };
    let code = code.trim_start();
    code.starts_with(&format!("new {class}")) || begins.iter().any(|begin| code.starts_with(begin))
}

/// The line, from 1, that declares the name best: a declaration before an assignment before a key.
fn line_of(text: &str, name: &str) -> Option<usize> {
    let ranked = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.len() <= LONGEST_LINE)
        .filter_map(|(index, line)| Some((declares(line, name)?, index + 1)));
    ranked.min().map(|(_, line)| line)
}

/// Whether what stands behind a colon declares: a value that is made there and not named, or the type of a field.
fn is_made(value: &str) -> bool {
    let value = value.trim();
    let begins = ["[", "{", "new ", "function", "async ", "Object.", "Array."];
    let is_field = value.ends_with(';') && !value.contains(['}', ')']);
    begins.iter().any(|begin| value.starts_with(begin))
        || value.contains("=>")
        || value.contains(" = ")
        || is_field
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// How well a line declares the name, 0 best.
fn declares(line: &str, name: &str) -> Option<u8> {
    let code = line.trim_start();
    if code.starts_with("//") || code.starts_with('*') {
        return None;
    }
    line.match_indices(name)
        .filter_map(|(at, _)| {
            let before = &line[..at];
            let after = &line[at + name.len()..];
            if before.ends_with(is_word) || after.starts_with(is_word) {
                return None;
            }
            let assigned = after.trim_start().trim_start_matches(['?', '|', '&']);
            let assigned = assigned.starts_with('=')
                && !assigned.starts_with("==")
                && !assigned.starts_with("=>");
            let word = before
                .trim_end()
                .rsplit(|c: char| !is_word(c))
                .next()
                .unwrap_or("");
            match word {
                "const" | "let" | "var" | "static" => Some(0),
                _ if assigned
                    && (before.trim().is_empty()
                        || before.ends_with('.')
                        || before.ends_with('#')) =>
                {
                    Some(1)
                }
                _ if assigned => Some(2),
                _ => {
                    let value = after
                        .trim_start_matches(['?', '!', ' '])
                        .strip_prefix(':')?;
                    is_made(value).then_some(3)
                }
            }
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_told_by_what_it_begins_as() {
        let script = tempfile::NamedTempFile::new().unwrap();
        let text = "const limit = 3;\n  const kept = [];\n  const seen = new Map();\nlet last;\n";
        std::fs::write(script.path(), text).unwrap();
        let path = script.path().to_str().unwrap();
        let names = ["limit", "last", "kept", "seen"].map(str::to_owned);
        assert_eq!(initialised(path, &names, "Array"), Some("kept"));
        assert_eq!(initialised(path, &names, "Map"), Some("seen"));
        assert_eq!(initialised(path, &names, "Set"), None);
    }

    #[test]
    fn a_declaration_comes_before_an_assignment_before_a_key() {
        let text =
            "// const kept = 1\nkept = 2;\nf({ kept: [] });\nconst kept = new Map();\nkept == 4";
        assert_eq!(line_of(text, "kept"), Some(4));
        assert_eq!(line_of("a.kept = 1;\nx = { kept: [] }", "kept"), Some(1));
        assert_eq!(line_of("answer({ kept: await last() });", "kept"), None);
        for field in [
            "private kept: Visit[] = [];",
            "  kept?: Map<string, Visit>;",
        ] {
            assert_eq!(line_of(field, "kept"), Some(1), "{field}");
        }
        assert_eq!(line_of("  static all = [];", "all"), Some(1));
        assert_eq!(line_of("f({\n  kept: [],\n})", "kept"), Some(2));
        assert_eq!(
            line_of("keptBack = 1; if (kept === 2) kept => 3;", "kept"),
            None
        );
        assert_eq!(line_of("this.#rows = [];", "#rows"), Some(1));
    }
}
