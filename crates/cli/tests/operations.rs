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
    let holder = run["culprits"][0]["holder"].as_str().unwrap_or_default();
    assert!(holder.contains("`printedLabels`"), "{}", run["culprits"]);
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

/// Keeps something for every path it was ever asked for.
const BY_PATH: &str = r#"
const http = require("http");
const seen = new Map();
http.createServer((request, response) => {
  if (!seen.has(request.url)) seen.set(request.url, { at: Date.now(), tags: ["a", "b", request.url] });
  response.end("ok");
}).listen(Number(process.env.PORT), "127.0.0.1");
"#;

#[test]
fn a_leak_that_takes_new_inputs_is_told_so() {
    let place = Place::new();
    let url = place.url("/item/{{seq}}");
    let run = place.run(&["check", "--url", &url, "--", "node", "-e", BY_PATH]);
    run.expect_code(1)
        .expect_said("LEAK")
        .expect_said("only inputs never seen before make it grow");
}

#[test]
fn nothing_is_judged_before_what_is_kept_on_purpose_could_go() {
    let place = Place::new();
    let url = place.url("/item/{{seq}}");
    let run = place.run(&[
        "check",
        "--url",
        &url,
        "--max-time",
        "20s",
        "--max-ttl",
        "10m",
        "--rounds",
        "6",
        "--warm-up",
        "500",
        "--operations",
        "500",
        "--",
        "node",
        "-e",
        BY_PATH,
    ]);
    run.expect_code(3)
        .expect_said("what lives up to 10 min is known after 20 min");
}

/// Describes itself, keeps something for each request for `/basket`, nothing for `/price`; says 404 to everything else.
const DESCRIBED: &str = r#"
const http = require("http");
const kept = [];
const paths = { "/basket": { get: {} }, "/price/{id}": { get: { parameters: [{ name: "id", in: "path", example: 7 }] }, delete: {} } };
http.createServer((request, response) => {
  if (request.url === "/openapi.json") return response.end(JSON.stringify({ openapi: "3.1.0", paths }));
  if (request.url === "/basket") kept.push({ at: Date.now(), lines: [kept.length, "a line"] });
  else if (request.url !== "/price/7") response.statusCode = 404;
  response.end("ok");
}).listen(Number(process.env.PORT), "127.0.0.1");
"#;

/// The description is asked of the service itself, which check starts for that once before.
#[test]
fn a_whole_interface_is_checked_from_the_description_the_service_gives() {
    let place = Place::new();
    let described = place.url("/openapi.json");
    let subject = ["--", "node", "-e", DESCRIBED];
    let mut arguments = vec!["check", "--openapi", &described];
    arguments.extend(["--warm-up", "200", "--operations", "200", "--rounds", "6"]);
    arguments.extend(subject);
    let run = place.run(&arguments);
    run.expect_code(1)
        .expect_said("started once before")
        .expect_said("GET /basket");
    let document = place.last_run();
    let kinds = document["load"]["growth"].as_array().expect("kinds");
    let outcome = |name: &str| {
        let of_name = kinds
            .iter()
            .find(|kind| kind["name"].as_str().is_some_and(|n| n.contains(name)));
        let kind = of_name.unwrap_or_else(|| panic!("{name}: {kinds:?}"));
        kind["outcome"].clone()
    };
    assert_eq!(outcome("/basket"), "leak", "{}", run.said());
    assert_ne!(outcome("/price"), "leak", "{}", run.said());

    let missing = place.url("/nowhere.json");
    let mut arguments = vec!["check", "--openapi", &missing];
    arguments.extend(subject);
    place
        .run(&arguments)
        .expect_code(2)
        .expect_said("404")
        .expect_said("names the page at which the service answers");
}
