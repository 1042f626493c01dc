//! Which crate may know which: `cargo metadata` against the list in `ARCHITECTURE.md`.
//!
//! The list is a fenced block marked `arrows`, one line a crate, `crate: crate crate`. Both directions
//! are compared: an arrow that is not listed is a change of design, a listed arrow that is gone is a
//! document that lies. What only tests need (`[dev-dependencies]`) is not part of the architecture.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Problem;
use crate::workspace::Tree;

const DOCUMENT: &str = "ARCHITECTURE.md";

/// Crates that bring asynchronous types. The engine is threads and channels.
const ASYNCHRONOUS: [&str; 9] = [
    "tokio",
    "async-std",
    "smol",
    "futures",
    "futures-core",
    "futures-util",
    "hyper",
    "reqwest",
    "async-trait",
];

/// Crates whose traits are implemented, without their runtime: no features of theirs may be on.
const TRAITS_ONLY: [(&str, &str); 1] = [("plimsoll-load", "tokio")];

/// Runtimes that are their user's, behind features that nobody has on unless asked for.
const ON_DEMAND: [(&str, &str); 1] = [("plimsoll", "tokio")];

/// A crate of the workspace and what it depends on outside its tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Crates of this workspace.
    own: BTreeSet<String>,
    /// Crates from elsewhere.
    foreign: BTreeSet<String>,
}

/// The crates of the workspace, from the output of `cargo metadata`.
pub(crate) fn members(metadata: &Value) -> BTreeMap<String, Member> {
    let packages = || metadata["packages"].as_array().into_iter().flatten();
    let names: BTreeSet<&str> = packages()
        .filter_map(|package| package["name"].as_str())
        .collect();
    packages()
        .filter_map(|package| {
            let mut member = Member::default();
            for dependency in package["dependencies"].as_array()? {
                let name = dependency["name"].as_str()?;
                if dependency["kind"].as_str() == Some("dev") {
                    continue;
                }
                let list = if names.contains(name) {
                    &mut member.own
                } else {
                    &mut member.foreign
                };
                let features = dependency["features"].as_array().map_or(0, Vec::len);
                let is_bare =
                    features == 0 && dependency["uses_default_features"] == Value::Bool(false);
                let package = package["name"].as_str()?;
                if is_bare && TRAITS_ONLY.contains(&(package, name)) {
                    continue;
                }
                let is_optional = dependency["optional"] == Value::Bool(true);
                if is_optional && ON_DEMAND.contains(&(package, name)) {
                    continue;
                }
                list.insert(name.to_owned());
            }
            Some((package["name"].as_str()?.to_owned(), member))
        })
        .collect()
}

/// Compares `members` with the block in `ARCHITECTURE.md`.
pub(crate) fn check(tree: &Tree, members: &BTreeMap<String, Member>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, member) in members {
        for foreign in member
            .foreign
            .iter()
            .filter(|foreign| ASYNCHRONOUS.contains(&foreign.as_str()))
        {
            let what =
                format!("{name} depends on {foreign}; the workspace is threads and channels");
            problems.push(Problem::of_file("Cargo.toml", what));
        }
    }
    let Some(listed) = tree
        .file(DOCUMENT)
        .and_then(|document| listed(&document.text))
    else {
        problems.push(Problem::of_file(DOCUMENT, "has no block marked `arrows`"));
        return problems;
    };
    for (name, member) in members {
        let Some(allowed) = listed.get(name) else {
            problems.push(Problem::of_file(
                DOCUMENT,
                format!("the arrows do not list {name}"),
            ));
            continue;
        };
        for extra in member.own.difference(allowed) {
            let what = format!("{name} depends on {extra}, an arrow that is not listed");
            problems.push(Problem::of_file(DOCUMENT, what));
        }
        for gone in allowed.difference(&member.own) {
            let what = format!("{name} is said to depend on {gone}, but does not");
            problems.push(Problem::of_file(DOCUMENT, what));
        }
    }
    for name in listed.keys().filter(|name| !members.contains_key(*name)) {
        problems.push(Problem::of_file(
            DOCUMENT,
            format!("the arrows list {name}, which is no crate here"),
        ));
    }
    problems
}

/// The first block marked `arrows`; nothing where there is none.
fn listed(document: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let (_, after) = document.split_once("```arrows\n")?;
    let (block, _) = after.split_once("```")?;
    let line = |line: &str| {
        let (name, allowed) = line.split_once(':')?;
        Some((
            name.trim().to_owned(),
            allowed.split_whitespace().map(str::to_owned).collect(),
        ))
    };
    Some(block.lines().filter_map(line).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{check, members};
    use crate::tidy::testing::printed;
    use crate::workspace::Tree;

    fn problems(arrows: &str) -> Vec<String> {
        let metadata = json!({"packages": [
            {"name": "judge", "dependencies": [{"name": "proptest", "kind": "dev"}]},
            {"name": "model", "dependencies": [{"name": "judge", "kind": null}, {"name": "serde", "kind": null}]},
            {"name": "load", "dependencies": [
                {"name": "model", "kind": null}, {"name": "judge", "kind": "dev"}, {"name": "mio", "kind": null},
            ]},
        ]});
        let tree = Tree::of(&[("ARCHITECTURE.md", arrows)]);
        printed(&check(&tree, &members(&metadata)))
    }

    #[test]
    fn the_list_that_cargo_confirms_is_accepted() {
        assert_eq!(
            problems("text\n```arrows\njudge:\nmodel: judge\nload: model\n```\n"),
            [""; 0]
        );
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_a_problem() {
        assert_eq!(
            problems("```arrows\njudge:\nmodel:\nload: model\n```\n"),
            ["ARCHITECTURE.md: model depends on judge, an arrow that is not listed"]
        );
    }

    #[test]
    fn an_arrow_or_a_crate_that_is_gone_is_a_problem() {
        assert_eq!(
            problems("```arrows\njudge: model\nmodel: judge\nload: model\nnative:\n```\n"),
            [
                "ARCHITECTURE.md: judge is said to depend on model, but does not",
                "ARCHITECTURE.md: the arrows list native, which is no crate here",
            ]
        );
    }

    #[test]
    fn a_crate_or_block_that_is_missing_is_a_problem() {
        assert_eq!(
            problems("```arrows\njudge:\nload: model\n```\n"),
            ["ARCHITECTURE.md: the arrows do not list model"]
        );
        assert_eq!(
            problems("judge: model"),
            ["ARCHITECTURE.md: has no block marked `arrows`"]
        );
    }

    #[test]
    fn an_asynchronous_runtime_is_a_problem() {
        let metadata = json!({"packages": [{"name": "load", "dependencies": [{"name": "tokio", "kind": null}]}]});
        let tree = Tree::of(&[("ARCHITECTURE.md", "```arrows\nload:\n```")]);
        assert_eq!(
            printed(&check(&tree, &members(&metadata))),
            ["Cargo.toml: load depends on tokio; the workspace is threads and channels"]
        );
    }

    #[test]
    fn traits_without_a_runtime_are_none() {
        let problems = |features: &[&str]| {
            let metadata = json!({"packages": [{"name": "plimsoll-load", "dependencies": [
                {"name": "tokio", "kind": null, "features": features, "uses_default_features": false},
            ]}]});
            let tree = Tree::of(&[("ARCHITECTURE.md", "```arrows\nplimsoll-load:\n```")]);
            check(&tree, &members(&metadata)).len()
        };
        assert_eq!((problems(&[]), problems(&["rt"])), (0, 1));
    }
}
