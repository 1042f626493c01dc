//! Services whose work several processes or threads share.

mod common;

use common::{Finished, Place, example};

/// Enough to see a kilobyte a request, short enough to be run in pairs.
const SHORT: [&str; 8] = [
    "--warm-up",
    "2000",
    "--operations",
    "500",
    "--rounds",
    "12",
    "--floor",
    "256B",
];

fn check(place: &Place, command: &[&str], environment: &[(&str, &str)]) -> Finished {
    let url = place.url("/");
    let mut arguments = vec!["check", "--url", &url];
    arguments.extend(SHORT);
    arguments.push("--");
    arguments.extend(command);
    let mut command = place.command(&arguments);
    command.envs(environment.iter().copied());
    common::finish(&command.output().expect("plimsoll starts"))
}

/// Sources of judged live bytes, by role and isolate.
fn judged(place: &Place) -> Vec<(String, Option<u64>)> {
    let run = place.last_run();
    let sources = run["sources"].as_array().expect("sources").clone();
    let mut found: Vec<_> = run["series"]
        .as_array()
        .expect("series")
        .iter()
        .filter(|s| s["metric"] == "live_bytes" && !s["verdict"].is_null())
        .map(|s| {
            let source = sources
                .iter()
                .find(|o| o["id"] == s["source"])
                .expect("its source");
            let role = source["role"].as_str().expect("a role").to_owned();
            (role, source["isolate"].as_u64())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn workers_of_a_cluster_are_judged_each_and_together() {
    let place = Place::new();
    let server = example("faults/cluster.js");
    check(&place, &["node", &server], &[])
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("grew most: its heap was searched for holders")
        .expect_said("Array `kept` (cluster.js)")
        .expect_said("worker pid");
    let part = |role: &str, isolate| (role.to_owned(), isolate);
    assert_eq!(
        judged(&place),
        [
            part("service", Some(0)),
            part("sum", None),
            part("worker", Some(0)),
            part("worker", Some(0))
        ]
    );
    let run = place.last_run();
    let headline = &run["series"][run["headline"].as_u64().expect("a headline") as usize];
    let source = &run["sources"][headline["source"].as_u64().expect("its source") as usize];
    assert_eq!(source["role"], "sum");
    let rate = run["verdict"]["growth"]["rate"].as_f64().expect("a rate");
    assert!((900.0..1_300.0).contains(&rate), "{rate} B per request");

    check(&place, &["node", &server, "--fixed"], &[])
        .expect_code(0)
        .expect_said("NO LEAK")
        .expect_unsaid("worker pid");
}

#[test]
fn worker_threads_are_judged_and_a_sleeping_one_is_context() {
    let place = Place::new();
    let server = example("faults/worker-threads.js");
    check(&place, &["node", &server], &[("SLEEPER", "1")])
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said(", thread 1")
        .expect_said("grew most: its heap was searched for holders")
        .expect_said("Array `kept` (worker-threads.js)")
        .expect_said("worker thread 3 does not answer");
    assert_eq!(judged(&place).len(), 4, "{:?}", judged(&place));

    check(&place, &["node", &server, "--fixed"], &[("SLEEPER", "1")])
        .expect_code(0)
        .expect_said("NO LEAK")
        .expect_said("not judged by themselves: worker thread 3");
    assert_eq!(
        place.last_run()["subject"]["context_isolates"][0],
        "worker thread 3"
    );
}

#[test]
fn memory_that_recycling_bounds_is_never_no_leak() {
    let place = Place::new();
    let server = example("faults/cluster.js");
    let often = [("RESTART_AFTER", "700"), ("KEEP_ALIVE_MS", "60000")];
    let run = check(&place, &["node", &server, "--fixed"], &often);
    run.expect_code(3).expect_said("bounded by recycling");
}
