//! Rules asked for by name: beside the verdict, in the exit code, from flags and file.

mod common;

use common::{Place, example};
use serde_json::Value;

/// A recording in this place: one reading a second.
fn recording(place: &Place, name: &str, value: impl Fn(u32) -> f64) -> String {
    let rows: Vec<String> = (0..600).map(|i| format!("{i},{}", value(i))).collect();
    let csv = format!("t_s,bytes\n{}\n", rows.join("\n"));
    let path = place.directory.path().join(name);
    std::fs::write(&path, csv).expect("writable");
    path.to_str().expect("readable").to_owned()
}

#[test]
fn a_broken_rule_exits_with_1_and_leaves_the_verdict() {
    let place = Place::new();
    // Two MiB more at the end than at the start, by the last reading alone.
    let file = recording(&place, "flat.csv", |i| {
        2e7 + f64::from(i % 7) * 1e3 + if i == 599 { 2_097_152.0 } else { 0.0 }
    });
    place.run(&["analyze", &file]).expect_code(0);
    place
        .run(&["analyze", &file, "--rule", "end-start=4MiB"])
        .expect_code(0)
        .expect_said("ok end-start < 4.00 MiB (2.00 MiB)");
    let broken = place.run(&[
        "analyze",
        &file,
        "--json",
        "--rule",
        "end-start=1MiB",
        "--rule",
        "max-heap",
    ]);
    broken.expect_code(1);
    let value: Value = serde_json::from_str(&broken.stdout).expect("JSON");
    assert_eq!(value["verdict"], "no_leak");
    assert_eq!(value["rules"][0]["state"], "broken");
    assert_eq!(value["rules"][1]["state"], "not_applicable");
}

#[test]
fn a_rule_that_holds_does_not_clear_a_leak() {
    let place = Place::new();
    let file = recording(&place, "slow.csv", |i| {
        2e7 + 4096.0 * f64::from(i) + f64::from(i % 7) * 1e3
    });
    place
        .run(&["analyze", &file, "--rule", "end-start"])
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("ok end-start < 5.00 MiB");
}

#[test]
fn a_rule_that_does_not_exist_names_the_nearest() {
    let place = Place::new();
    let file = recording(&place, "flat.csv", |_| 2e7);
    place
        .run(&["analyze", &file, "--rule", "end-strat=5MiB"])
        .expect_code(2)
        .expect_said("no rule is named `end-strat`")
        .expect_said("did you mean `end-start`?");
    place
        .run(&["check", "--rule", "end-start=5", "--", "true"])
        .expect_code(2)
        .expect_said("an example: end-start=10MiB");
    std::fs::write(
        place.directory.path().join("plimsoll.toml"),
        "[[rule]]\nname = \"max-rsss\"\n",
    )
    .expect("writable");
    place
        .run(&["check", "--", "true"])
        .expect_code(2)
        .expect_said("plimsoll.toml:1:1")
        .expect_said("did you mean `max-rss`?");
}

#[test]
fn the_list_says_source_and_figures_of_each() {
    let place = Place::new();
    place
        .run(&["analyze", "--rules"])
        .expect_code(0)
        .expect_said("end-start < 5.00 MiB   false alarms 27 of 49 (55 %)")
        .expect_said("source")
        .expect_said("differs");
    let json = place.run(&["analyze", "--rules", "--json"]).stdout;
    let value: Value = serde_json::from_str(&json).expect("JSON");
    assert!(value["rules"].as_array().map_or(0, Vec::len) >= 30);
}

#[test]
fn a_check_tells_the_rules_of_flags_and_file() {
    let place = Place::new();
    std::fs::write(
        place.directory.path().join("plimsoll.toml"),
        "[[rule]]\nname = \"max-rss\"\nlimit = \"1 MiB\"\n[[rule]]\nname = \"final-vs-initial\"\nlimit = 50\n",
    )
    .expect("writable");
    let server = example("node/session-map/server.js");
    let url = place.url("/login");
    place
        .run(&[
            "check",
            "--url",
            &url,
            "--rounds",
            "6",
            "--operations",
            "500",
            "--warm-up",
            "500",
            "--rule",
            "max-heap=1GiB",
            "--",
            "node",
            &server,
            "--fixed",
        ])
        .expect_code(1)
        .expect_said("FAIL max-rss < 1.00 MiB")
        .expect_said("ok max-heap < 1.00 GiB")
        .expect_said("ok final-vs-initial < 50x");
    let document = place.last_run();
    assert_eq!(document["exit_code"], 1);
    assert_ne!(document["verdict"]["outcome"], "leak");
    assert_eq!(document["rules"][0]["name"], "max-heap");
    assert_eq!(document["rules"][1]["metric"], "rss");
    assert_eq!(document["rules"][1]["state"], "broken");
    place
        .run(&["report", "last", "--format", "junit"])
        .expect_code(0)
        .expect_said("rule max-rss &lt; 1.00 MiB");
}
