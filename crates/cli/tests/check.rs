//! `plimsoll check` on real services: the verdict, its figures, its report, its exit code.

mod common;

use common::{Place, example};

#[test]
fn a_service_that_keeps_every_session_leaks() {
    let place = Place::new();
    let server = example("node/session-map/server.js");
    let url = place.url("/login");
    let run = place.run(&["check", "--url", &url, "--", "node", &server]);
    run.expect_code(1)
        .expect_said("LEAK")
        .expect_said("per request")
        .expect_said("95 % CI");

    let document = place.last_run();
    assert_eq!(document["schema"], "plimsoll.run/1");
    assert_eq!(document["verdict"]["outcome"], "leak");
    // What one session weighs was measured without Plimsoll: `node examples/truth.mjs`.
    let rate = document["verdict"]["growth"]["rate"]
        .as_f64()
        .expect("a rate");
    assert!((1_500.0..3_500.0).contains(&rate), "{rate} B per request");
    let low = document["verdict"]["growth"]["interval"]["low"]
        .as_f64()
        .expect("an interval");
    let high = document["verdict"]["growth"]["interval"]["high"]
        .as_f64()
        .expect("an interval");
    assert!(
        low <= rate && rate <= high && (high - low) / rate < 0.2,
        "{low} … {high}"
    );
    assert_eq!(document["subject"]["service"]["runtime"]["name"], "node");

    place.run(&["history"]).expect_code(0).expect_said("leak");
    place
        .run(&["report", "last", "--format", "junit"])
        .expect_code(0)
        .expect_said("<failure");
}

#[test]
fn its_fixed_twin_does_not() {
    let place = Place::new();
    let server = example("node/session-map/server.js");
    let url = place.url("/login");
    let run = place.run(&[
        "check", "--json", "--url", &url, "--", "node", &server, "--fixed",
    ]);
    run.expect_code(0);
    let document: serde_json::Value =
        serde_json::from_str(&run.stdout).expect("standard output is the run alone");
    assert_eq!(document["verdict"]["outcome"], "no_leak");
    assert!(document["verdict"]["bound"].as_f64().expect("a bound") <= 16.0);
}

#[test]
fn a_listener_per_request_is_named() {
    let place = Place::new();
    let server = example("node/request-listener/server.js");
    let url = place.url("/front-page");
    place
        .run(&["check", "--url", &url, "--", "node", &server])
        .expect_code(1)
        .expect_said("listeners for");
    let culprit = &place.last_run()["culprits"][0];
    assert_eq!(culprit["pattern"], "event listeners");
    let each = culprit["count_per_op"]
        .as_f64()
        .expect("a count per operation");
    assert!((0.95..1.05).contains(&each), "{each} listeners per request");
}

#[test]
fn its_fixed_twin_has_no_culprit() {
    let place = Place::new();
    let server = example("node/request-listener/server.js");
    let url = place.url("/front-page");
    place
        .run(&["check", "--url", &url, "--", "node", &server, "--fixed"])
        .expect_code(0)
        .expect_unsaid("listeners for");
}

#[test]
fn a_cache_that_fills_and_stays_is_never_a_leak() {
    let place = Place::new();
    let server = example("node/bounded-cache/server.js");
    let url = place.url("/catalogue?n={{seq}}");
    let run = place.run(&["check", "--url", &url, "--", "node", &server]);
    assert!([0, 3].contains(&run.code), "{}", run.said());
}

#[test]
fn memory_that_grows_without_a_driver_is_judged_on_time() {
    let place = Place::new();
    let program = example("faults/grow.py");
    let run = |arguments: &[&str]| {
        let mut all = vec![
            "check",
            "--duration",
            "20s",
            "--",
            "python3",
            program.as_str(),
        ];
        all.extend(arguments);
        place.run(&all)
    };
    run(&[])
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("probe not loaded");
    assert_eq!(run(&["--flat"]).expect_unsaid("LEAK").code, 0);
}
