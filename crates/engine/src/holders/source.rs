//! Where a name is declared: the line of a script that makes the variable or property a holder is called by.
//!
//! Reads the script from disk. Not a parser: the first line that declares or assigns the name is meant, and none is told
//! where there is none.

use std::fs::File;
use std::io::Read as _;

use plimsoll_heap::Place;

use crate::snapshot::object;

/// How well the key of an object declares: least of all.
const KEY: u8 = 4;
/// Larger scripts are bundles: a line of theirs says nothing.
const LARGEST: u64 = 4 << 20;
/// Longer lines are generated.
const LONGEST_LINE: usize = 1_000;

/// `file:line` of the declaration of `name` in `script`.
pub(super) fn declaration(script: &str, name: &str) -> Option<String> {
    let path = object::file(script);
    let (_, line) = best(&text_of(path)?, name)?;
    Some(format!("{}:{line}", object::relative(path)))
}

/// The same of a property of what the variable `first` holds. The key of an object declares it only where that object is what the
/// variable begins as: elsewhere somebody else's property has the same name, and the variable's own line is meant.
pub(super) fn declaration_within(script: &str, first: &str, last: &str) -> Option<String> {
    let path = object::file(script);
    let line = line_within(&text_of(path)?, first, last)?;
    Some(format!("{}:{line}", object::relative(path)))
}

/// `file:line` of the first call of something of that name in a function.
pub(super) fn call(function: &Place, name: &str) -> Option<String> {
    let path = object::file(&function.script);
    let line = line_of_call(&text_of(path)?, function.line as usize, name)?;
    Some(format!("{}:{line}", object::relative(path)))
}

fn line_of_call(text: &str, function: usize, name: &str) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let lines = statement(text, function);
    let calls = |line: &str| {
        line.match_indices(name).any(|(at, _)| {
            let after = line[at + name.len()..].trim_start_matches(['?', '.']);
            !line[..at].ends_with(is_word) && after.starts_with(['(', '`'])
        })
    };
    let inside = text.lines().enumerate().skip(function - 1);
    inside
        .map(|(index, line)| (index + 1, line))
        .take_while(|(number, _)| lines.contains(number))
        .filter(|(_, line)| line.len() <= LONGEST_LINE)
        .find(|(_, line)| calls(line))
        .map(|(number, _)| number)
}

fn line_within(text: &str, first: &str, last: &str) -> Option<usize> {
    let (how, line) = best(text, last)?;
    let variable = best(text, first).filter(|(how, _)| *how == 0 && first != last);
    // A key that is given only now and then is not where the variable's own comes from: `...(short && { kept: new Set() })`.
    let is_given = |line: usize| {
        let code = text.lines().nth(line - 1).unwrap_or_default();
        let before = code.split(last).next().unwrap_or_default();
        !["...", "&&", " ? "]
            .iter()
            .any(|word| before.contains(word))
    };
    match variable {
        Some((_, begin)) if how == KEY => {
            let is_own = statement(text, begin).contains(&line) && is_given(line);
            Some(if is_own { line } else { begin })
        }
        _ => Some(line),
    }
}

/// The lines of the statement that begins at line `begin`, as far as brackets tell.
fn statement(text: &str, begin: usize) -> std::ops::RangeInclusive<usize> {
    let (mut opened, mut closed) = (0, 0);
    let rest = text.lines().enumerate().skip(begin - 1);
    let end = rest
        .map(|(index, line)| (index + 1, line))
        .find(|(_, line)| {
            opened += line.matches(['(', '[', '{']).count();
            closed += line.matches([')', ']', '}']).count();
            opened <= closed
        });
    begin..=end.map_or(begin, |(line, _)| line)
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

/// The line, from 1, that declares the name best, and how well: a declaration before an assignment before a field before a key.
fn best(text: &str, name: &str) -> Option<(u8, usize)> {
    let ranked = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.len() <= LONGEST_LINE)
        .filter_map(|(index, line)| Some((declares(line, name)?, index + 1)));
    ranked.min()
}

/// Whether what stands behind a colon is the type of a field.
fn is_field(value: &str) -> bool {
    let value = value.trim();
    value.contains(" = ") || value.ends_with(';') && !value.contains(['}', ')'])
}

/// Whether what stands behind a colon is a value that is made there and not named.
fn is_made(value: &str) -> bool {
    let value = value.trim();
    let begins = ["[", "{", "new ", "function", "async ", "Object.", "Array."];
    begins.iter().any(|begin| value.starts_with(begin)) || value.contains("=>")
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
                    if is_field(value) {
                        Some(3)
                    } else {
                        is_made(value).then_some(KEY)
                    }
                }
            }
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(text: &str, name: &str) -> Option<usize> {
        best(text, name).map(|(_, line)| line)
    }

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

    #[test]
    fn a_key_elsewhere_is_not_that_of_the_variable() {
        let text = "const desk = new Desk({\n  rows: [],\n});\nopen({ drawers: { a: 1 } });\nthis.keys = [];";
        assert_eq!(line_within(text, "desk", "rows"), Some(2));
        assert_eq!(line_within(text, "desk", "drawers"), Some(1));
        assert_eq!(line_within(text, "desk", "keys"), Some(5));
        assert_eq!(line_within(text, "other", "drawers"), Some(4));
        assert_eq!(line_within(text, "desk", "lamp"), None);
        let text = "const desk = new Desk({\n  trays: { rows: [] },\n  ...(short ? { keys: new Set() } : {}),\n});";
        assert_eq!(line_within(text, "desk", "rows"), Some(2));
        assert_eq!(line_within(text, "desk", "keys"), Some(1));
    }
}
