//! Several operations on one service: which of them grows is told, and no other.

mod common;

use common::{Place, example};
use serde_json::Value;

fn check(place: &Place, paths: &[&str], flags: &[&str], code: i32) -> Value {
    let urls: Vec<String> = paths.iter().map(|p| place.url(p)).collect();
    let mut arguments = vec!["check", "--json", "--max-time", "100s"];
    for url in &urls {
        arguments.extend(["--url", url]);
    }
    let server = example("node/parcel-desk/server.js");
    arguments.extend(["--", "node", &server]);
    arguments.extend(flags);
    let finished = place.run(&arguments);
    finished.expect_code(code);
    serde_json::from_str(&finished.stdout).expect("standard output is the run alone")
}

fn growth(run: &Value, name: &str) -> Value {
    let rows = run["load"]["growth"].as_array().expect("a table");
    let found = rows.iter().find(|row| row["name"] == name);
    found
        .unwrap_or_else(|| panic!("{name} is not in {rows:?}"))
        .clone()
}

#[test]
fn the_leaking_operation_is_named_and_no_other() {
    let place = Place::new();
    let run = check(&place, &["/prices", "/labels", "/calendar"], &[], 1);
    assert_eq!(run["verdict"]["outcome"], "leak");
    let labels = growth(&run, "GET /labels");
    assert_eq!(labels["outcome"], "leak");
    let rate = labels["rate"].as_f64().expect("a rate");
    assert!((50.0..150.0).contains(&rate), "{rate}");
    for other in ["GET /prices", "GET /calendar"] {
        assert_ne!(growth(&run, other)["outcome"], "leak");
    }
    place
        .run(&["report", "last"])
        .expect_code(0)
        .expect_said("by operation, each alone")
        .expect_said("GET /labels");
}

#[test]
fn where_none_grows_none_is_named() {
    let place = Place::new();
    let run = check(&place, &["/labels", "/prices"], &["--fixed"], 0);
    assert_eq!(run["verdict"]["outcome"], "no_leak");
    for name in ["GET /labels", "GET /prices"] {
        assert_ne!(growth(&run, name)["outcome"], "leak");
    }
}
