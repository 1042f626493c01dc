//! Examples must stay strangers to the product: a tool that knows the names in its own examples proves
//! nothing on them.
//!
//! Each folder with a `names.txt` lists, one a line, the identifiers that belong to it alone. None may
//! occur as a whole word in product code, and each must really occur in its folder or be its name.

use super::Problem;
use crate::workspace::{File, Tree};

const LIST: &str = "names.txt";

/// Shorter names are common words; a list of those would protect nothing.
const SHORTEST: usize = 5;

pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for list in tree
        .files
        .iter()
        .filter(|file| file.path.starts_with("examples/"))
    {
        let Some(folder) = list.path.strip_suffix(LIST) else {
            continue;
        };
        for (number, name) in list.lines() {
            if name.len() < SHORTEST || name.trim() != name {
                problems.push(Problem::of_line(
                    list,
                    number,
                    format!("'{name}' is no unmistakable name"),
                ));
                continue;
            }
            let belongs = |file: &&File| file.path.starts_with(folder) && file.path != list.path;
            let known = folder.contains(&format!("/{name}/"))
                || tree
                    .files
                    .iter()
                    .filter(belongs)
                    .any(|file| has_word(&file.text, name));
            if !known {
                problems.push(Problem::of_line(
                    list,
                    number,
                    format!("'{name}' does not occur in {folder}"),
                ));
            }
            for file in tree.files.iter().filter(|file| is_product(&file.path)) {
                for (line, _) in file.lines().filter(|(_, text)| has_word(text, name)) {
                    let what =
                        format!("'{name}' belongs to {folder}; product code may not know it");
                    problems.push(Problem::of_line(file, line, what));
                }
            }
        }
    }
    problems
}

/// Code that is built into what users run. Tests and documents may speak of the examples.
fn is_product(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["crates", _, "src", ..] | ["python" | "node", "src", ..] => true,
        ["node", file] => [".cjs", ".mjs", ".js"]
            .iter()
            .any(|end| file.ends_with(end)),
        _ => false,
    }
}

/// Whether `name` stands in `text` by itself and not as a part of a longer word.
fn has_word(text: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let joins = |inner: Option<char>, outer: Option<char>| {
        inner.is_some_and(is_word) && outer.is_some_and(is_word)
    };
    text.match_indices(name).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + name.len()..].chars().next();
        !joins(name.chars().next(), before) && !joins(name.chars().next_back(), after)
    })
}

#[cfg(test)]
mod tests {
    use super::{check, has_word};
    use crate::tidy::testing::printed;
    use crate::workspace::Tree;

    fn problems(product: (&str, &str)) -> Vec<String> {
        let tree = Tree::of(&[
            ("examples/node/shop/names.txt", "openBaskets\n/basket\n"),
            (
                "examples/node/shop/server.js",
                "const openBaskets = new Map(); // GET /basket",
            ),
            product,
        ]);
        printed(&check(&tree))
    }

    #[test]
    fn a_name_of_an_example_in_product_code_is_a_problem() {
        for path in [
            "crates/engine/src/explain.rs",
            "node/probe.cjs",
            "python/src/plimsoll/probe.py",
        ] {
            assert_eq!(
                problems((path, "first\nif name == \"openBaskets\" {}\n")),
                [format!(
                    "{path}:2: 'openBaskets' belongs to examples/node/shop/; product code may not know it"
                )]
            );
        }
    }

    #[test]
    fn tests_documents_and_other_examples_may_know_it() {
        for path in [
            "crates/cli/tests/check.rs",
            "README.md",
            "node/test/probe.test.mjs",
            "examples/test/x.mjs",
        ] {
            assert_eq!(problems((path, "GET /basket openBaskets")), [""; 0]);
        }
    }

    #[test]
    fn whole_words_count_and_case_does() {
        assert!(has_word("a.openBaskets;", "openBaskets"));
        assert!(!has_word(
            "reopenBaskets openBasketsOf openbaskets",
            "openBaskets"
        ));
        assert!(has_word("http://host/basket?x", "/basket"));
        assert!(!has_word("http://host/baskets", "/basket"));
    }

    #[test]
    fn a_list_names_what_is_there_and_nothing_common() {
        let tree = Tree::of(&[
            ("examples/node/shop/names.txt", "shop/\nitem\nlongGone\n"),
            ("examples/node/shop/server.js", "const item = 1;"),
        ]);
        assert_eq!(
            printed(&check(&tree)),
            [
                "examples/node/shop/names.txt:1: 'shop/' does not occur in examples/node/shop/",
                "examples/node/shop/names.txt:2: 'item' is no unmistakable name",
                "examples/node/shop/names.txt:3: 'longGone' does not occur in examples/node/shop/",
            ]
        );
    }
}
