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
        .expect_said("95 % CI")
        .expect_said("held by")
        .expect_said("AuthenticatedSession in Map `sessionsByToken` (server.js)")
        .expect_said("plimsoll explain unbounded-map");

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
    let culprit = &document["culprits"][0];
    assert_eq!(culprit["pattern"], "unbounded map");
    assert!(
        culprit["share"].as_f64().expect("a share") > 0.8,
        "{culprit}"
    );
    let made = culprit["place"].as_str().expect("a place");
    assert!(made.contains("session-map/server.js:"), "{made}");

    place.run(&["history"]).expect_code(0).expect_said("leak");
    place
        .run(&["report", "last", "--format", "junit"])
        .expect_code(0)
        .expect_said("<failure")
        .expect_said("sessionsByToken");
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
        .expect_said("config-reloaded");
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
        .expect_unsaid("held by");
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
fn a_list_that_grows_with_its_table_is_never_a_leak() {
    let place = Place::new();
    let server = example("faults/growing-list.js");
    let url = place.url("/");
    let run = |flag: &[&str]| {
        // A warm-up of so many requests, however fast the machine is: what the rounds add is to be much beside it.
        let mut all = vec!["check", "--url", url.as_str(), "--warm-up", "2000"];
        all.extend(["--operations", "1000", "--", "node", &server]);
        all.extend(flag);
        place.run(&all)
    };
    run(&[])
        .expect_code(3)
        .expect_said("the work changed: answers grew")
        .expect_said("a page of fixed size");
    assert_eq!(
        place.last_run()["verdict"]["work_change"]["work"],
        "response_bytes"
    );
    // The same table behind answers that stay the same is what it is.
    run(&["--paged"]).expect_code(1).expect_said("LEAK");
}

#[test]
fn memory_that_grows_without_a_driver_is_judged_on_time() {
    let place = Place::new();
    let program = example("faults/grow.py");
    let run = |arguments: &[&str]| {
        let mut all = vec!["check", "--duration", "20s", "--", "python3"];
        all.extend(arguments);
        place.run(&all)
    };
    // Isolated mode does not read PYTHONPATH: process level only.
    run(&["-I", &program])
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("probe not loaded");
    run(&["-I", &program, "--flat"])
        .expect_code(0)
        .expect_said("NO LEAK");
    run(&[&program]).expect_code(1).expect_said("LEAK");
}

#[test]
fn buffers_outside_the_heap_are_counted_as_external() {
    let place = Place::new();
    let url = place.url("/");
    let subject = example("faults/external-leak.js");
    place
        .run(&["check", "--url", &url, "--", "node", &subject])
        .expect_code(1)
        .expect_said("LEAK");
    let shares = place.last_run()["shares"].clone();
    let external = shares
        .as_array()
        .and_then(|all| all.iter().find(|s| s["name"] == "external"))
        .and_then(|s| s["ratio"].as_f64())
        .expect("a share");
    assert!(external > 0.5, "{shares}");
}

#[test]
fn what_cannot_be_settled_is_inconclusive_and_ci_chooses_what_that_means() {
    let place = Place::new();
    let file = place.directory.path().join("short.csv");
    std::fs::write(&file, "t_s,bytes\n0,100\n1,101\n2,103\n").expect("written");
    let file = file.to_str().expect("readable");
    place
        .run(&["analyze", file])
        .expect_code(3)
        .expect_said("INCONCLUSIVE");
    for (how, code) in [("exit", 3), ("pass", 0), ("fail", 1)] {
        let run = place.run(&[
            "check",
            "--inconclusive",
            how,
            "--duration",
            "300ms",
            "--",
            "sh",
            "-c",
            "sleep 30",
        ]);
        run.expect_code(code).expect_said("INCONCLUSIVE");
    }
}

#[test]
fn growth_that_does_not_need_requests_is_told_per_time() {
    let place = Place::new();
    let url = place.url("/");
    let subject = example("faults/grows-with-time.js");
    place
        .run(&["check", "--url", &url, "--", "node", &subject])
        .expect_code(1)
        .expect_said("grows with time, not with operations");
    assert_eq!(place.last_run()["verdict"]["growth"]["per"], "second");
}

#[test]
fn timers_and_descriptors_that_are_never_closed_are_named() {
    for (subject, pattern, each) in [
        ("timer-leak.js", "timers", 1.0),
        ("descriptor-leak.js", "descriptors", 0.01),
    ] {
        let place = Place::new();
        let url = place.url("/");
        let subject = example(&format!("faults/{subject}"));
        place
            .run(&["check", "--url", &url, "--", "node", &subject])
            .expect_code(1);
        let culprit = place.last_run()["culprits"][0].clone();
        assert_eq!(culprit["pattern"], pattern, "{culprit}");
        let counted = culprit["count_per_op"]
            .as_f64()
            .expect("a count per operation");
        assert!((counted / each - 1.0).abs() < 0.1, "{culprit}");
    }
}

#[test]
fn a_log_line_can_tell_readiness_before_the_port_listens() {
    let place = Place::new();
    let url = place.url("/login");
    let server = example("node/session-map/server.js");
    let script = format!("echo starting; sleep 1; exec node {server} --fixed");
    let run = place.run(&[
        "check",
        "--ready-log",
        "^start",
        "--url",
        &url,
        "--",
        "sh",
        "-c",
        &script,
    ]);
    assert!([0, 3].contains(&run.code), "{}", run.said());
    assert_eq!(
        place.last_run()["subject"]["service"]["runtime"]["name"],
        "node"
    );
}

#[test]
fn a_choice_for_ci_is_part_of_the_run() {
    let place = Place::new();
    place
        .run(&[
            "check",
            "--inconclusive",
            "fail",
            "--duration",
            "300ms",
            "--",
            "sh",
            "-c",
            "sleep 30",
        ])
        .expect_code(1);
    assert_eq!(place.last_run()["exit_code"], 1);
    place
        .run(&["report", "last", "--format", "junit"])
        .expect_said("<failure");
}

#[test]
fn npm_is_not_taken_for_the_program_it_starts() {
    let place = Place::new();
    let program = "setInterval(() => {}, 1000)";
    std::fs::write(place.directory.path().join("app.js"), program).expect("written");
    let manifest =
        r#"{ "name": "app", "version": "1.0.0", "scripts": { "start": "node app.js" } }"#;
    std::fs::write(place.directory.path().join("package.json"), manifest).expect("written");
    let run = place.run(&["check", "--duration", "8s", "--", "npm", "start"]);
    assert!([0, 3].contains(&run.code), "{}", run.said());
    let service = place.last_run()["subject"]["service"]["command"].clone();
    assert_eq!(service, serde_json::json!(["node", "app.js"]));
}
