//! STYLE's rules on Rust sources.

use super::Problem;
use crate::workspace::{File, Tree};

/// Past this a file holds a second idea.
const MOST_LINES: usize = 1000;

/// The system-call modules, the map of a snapshot file and the global allocator: the only places for `unsafe`.
const UNSAFE_ROOMS: [&str; 4] = [
    "crates/alloc/src/",
    "crates/probe/src/os.rs",
    "crates/probe/src/os/",
    "crates/heap/src/map.rs",
];

/// Scenarios run on the runtime of the service that they test.
const ASYNC_ROOM: &str = "crates/plimsoll/src/memory_testing/";

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| file.extension() == "rs") {
        let lines = file.text.lines().count();
        if lines > MOST_LINES {
            let what = format!("{lines} lines; past {MOST_LINES} look for the second idea inside");
            problems.push(Problem::of_file(&file.path, what));
        }
        let is_module = file.path.starts_with("xtask/src/") || is_crate_source(&file.path);
        if is_module && !file.text.starts_with("//!") {
            problems.push(Problem::of_line(
                file,
                1,
                "a module opens with `//!`: what it is for",
            ));
        }
        attributes(file, &mut problems);
        if is_crate_source(&file.path) {
            words(file, &mut problems);
        }
    }
    problems
}

fn is_crate_source(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), ["crates", _, "src", ..])
}

/// Lints are expected with a reason and never merely allowed; tests are ignored with a reason.
fn attributes(file: &File, problems: &mut Vec<Problem>) {
    for (number, line) in file.lines() {
        let attribute = line.trim();
        let Some(inner) = attribute
            .strip_prefix("#[")
            .or_else(|| attribute.strip_prefix("#!["))
        else {
            continue;
        };
        let has_reason = || attribute_text(&file.text, number).contains("reason =");
        // What several test binaries share is used by some of them, so nothing can be expected there.
        if inner.starts_with("allow(") && (is_crate_source(&file.path) || !has_reason()) {
            problems.push(Problem::of_line(
                file,
                number,
                "write `expect` with a reason instead of `allow`",
            ));
        }
        if inner.starts_with("expect(") && !has_reason() {
            problems.push(Problem::of_line(
                file,
                number,
                "an expected lint needs a reason",
            ));
        }
        if inner.starts_with("ignore]") {
            problems.push(Problem::of_line(
                file,
                number,
                "an ignored test needs a reason",
            ));
        }
    }
}

/// The attribute that begins in line `number`, over all its lines.
fn attribute_text(text: &str, number: usize) -> String {
    let mut attribute = String::new();
    for line in text.lines().skip(number - 1) {
        attribute.push_str(line);
        if line.trim_end().ends_with(']') {
            break;
        }
    }
    attribute
}

/// `unsafe` outside its rooms, and asynchronous code anywhere.
fn words(file: &File, problems: &mut Vec<Problem>) {
    let may_be_unsafe = UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room));
    for (number, line) in file.lines() {
        let code = code_of(line);
        let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        if words.clone().any(|word| word == "unsafe") && !may_be_unsafe {
            problems.push(Problem::of_line(
                file,
                number,
                "`unsafe` lives in the system-call module only",
            ));
        }
        let may_be_async = file.path.starts_with(ASYNC_ROOM);
        if words.any(|word| word == "async" || word == "await") && !may_be_async {
            problems.push(Problem::of_line(
                file,
                number,
                "no asynchronous code: the workspace is threads and channels",
            ));
        }
    }
}

/// `line` without its comment and without what stands in quotes. Good enough for single words: text that
/// spans lines is not followed.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut characters = line.chars().peekable();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if quoted => {
                characters.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && characters.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => code.push(character),
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::testing::printed;
    use crate::workspace::Tree;

    const PATH: &str = "crates/x/src/lib.rs";

    fn problems(path: &str, text: &str) -> Vec<String> {
        printed(&check(&Tree::of(&[(path, text)])))
    }

    #[test]
    fn a_file_has_at_most_a_thousand_lines() {
        let long = format!("//! A room.\n{}", "\n".repeat(1000));
        assert_eq!(
            problems(PATH, &long),
            ["crates/x/src/lib.rs: 1001 lines; past 1000 look for the second idea inside"]
        );
        assert_eq!(problems(PATH, &long[..long.len() - 1]), [""; 0]);
    }

    #[test]
    fn a_module_opens_with_its_purpose() {
        let expected = "crates/x/src/lib.rs:1: a module opens with `//!`: what it is for";
        assert_eq!(problems(PATH, "use std::fs;\n"), [expected]);
        assert_eq!(problems(PATH, ""), [expected]);
        assert_eq!(problems("crates/x/tests/it.rs", "use std::fs;\n"), [""; 0]);
    }

    #[test]
    fn lints_are_expected_with_a_reason() {
        let path = "crates/x/tests/it.rs";
        assert_eq!(
            problems(path, "#![allow(dead_code)]\n"),
            ["crates/x/tests/it.rs:1: write `expect` with a reason instead of `allow`"]
        );
        let with_reason = "#![allow(dead_code, reason = \"shared\")]\n";
        assert_eq!(problems(path, with_reason), [""; 0]);
        assert_eq!(
            problems(PATH, &format!("//! A room.\n{with_reason}")),
            ["crates/x/src/lib.rs:2: write `expect` with a reason instead of `allow`"]
        );
        assert_eq!(
            problems(path, "  #[expect(dead_code)]\n"),
            ["crates/x/tests/it.rs:1: an expected lint needs a reason"]
        );
        assert_eq!(
            problems(
                path,
                "#[expect(\n    dead_code,\n    reason = \"later\"\n)]\nfn x() {}\n"
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_test_is_ignored_with_a_reason() {
        let path = "crates/x/tests/it.rs";
        assert_eq!(
            problems(path, "#[ignore]\n"),
            ["crates/x/tests/it.rs:1: an ignored test needs a reason"]
        );
        assert_eq!(problems(path, "#[ignore = \"a measurement\"]\n"), [""; 0]);
    }

    #[test]
    fn unsafe_lives_with_the_system_calls() {
        let text = "//! A room.\nlet x = unsafe { y() };\n";
        assert_eq!(
            problems(PATH, text),
            ["crates/x/src/lib.rs:2: `unsafe` lives in the system-call module only"]
        );
        assert_eq!(problems("crates/probe/src/os/net.rs", text), [""; 0]);
        assert_eq!(
            problems(
                PATH,
                "//! A room.\n// unsafe\nlet x = \"an \\\"unsafe\\\" word\"; // unsafe\nunsafe_code();\n"
            ),
            [""; 0]
        );
    }

    #[test]
    fn no_code_is_asynchronous() {
        let expected =
            "crates/x/src/lib.rs:2: no asynchronous code: the workspace is threads and channels";
        assert_eq!(
            problems(PATH, "//! A room.\npub async fn run() {}\n"),
            [expected]
        );
        let room = "crates/plimsoll/src/memory_testing/x.rs";
        assert_eq!(
            problems(room, "//! A room.\npub async fn run() {}\n"),
            [""; 0]
        );
        assert_eq!(
            problems(PATH, "//! A room.\nlet x = y.await;\n"),
            [expected]
        );
    }
}
