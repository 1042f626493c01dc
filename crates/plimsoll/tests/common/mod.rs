//! The vectors of `testdata`, which every implementation of the same thing passes.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A vector: what it is set up with, and its steps, each with its place for messages.
pub(crate) struct Vector {
    pub(crate) options: Value,
    pub(crate) steps: Vec<(Value, String)>,
}

/// All of a folder.
pub(crate) fn vectors(folder: &str) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata")
        .join(folder);
    let mut vectors = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut vector: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().display();
        let steps = vector["steps"].as_array().unwrap().iter();
        vectors.push(Vector {
            steps: steps
                .map(|step| (step.clone(), format!("{name}: {step}")))
                .collect(),
            options: vector["options"].take(),
        });
    }
    let found = vectors.len();
    assert!(found >= 15, "{found} vectors in {}", folder.display());
    vectors
}
