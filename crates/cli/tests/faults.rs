//! What goes wrong: each fault has its exit code and a message that says what, where and what to do, and nothing that was
//! recorded is lost.

mod common;

use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use common::{Place, example, finish, is_alive};

// ---- knowable before the start: exit 2 ----

#[test]
fn a_command_that_does_not_exist() {
    let place = Place::new();
    place
        .run(&["check", "--duration", "5s", "--", "no-such-command-here"])
        .expect_code(2)
        .expect_said("no-such-command-here")
        .expect_said("hint:");
}

#[test]
fn a_file_that_is_not_executable() {
    let place = Place::new();
    let file = place.directory.path().join("service");
    std::fs::write(&file, "just text").expect("written");
    place
        .run(&["check", "--duration", "5s", "--", "./service"])
        .expect_code(2)
        .expect_said("chmod +x");
}

#[test]
fn a_port_that_somebody_else_holds_is_not_measured() {
    let place = Place::new();
    let holder = std::net::TcpListener::bind(("127.0.0.1", place.port)).expect("the port is free");
    let url = place.url("/");
    place
        .run(&[
            "check",
            "--url",
            &url,
            "--",
            "node",
            &example("faults/all-500.js"),
        ])
        .expect_code(2)
        .expect_said("already taken")
        .expect_said(&place.port.to_string());
    drop(holder);
}

#[test]
fn an_unknown_flag_names_the_nearest_one() {
    let place = Place::new();
    place
        .run(&["check", "--max-tim", "4m", "--", "true"])
        .expect_code(2)
        .expect_said("--max-time");
}

#[test]
fn an_unknown_configuration_key_names_its_place_and_the_nearest_one() {
    let place = Place::new();
    std::fs::write(
        place.directory.path().join("plimsoll.toml"),
        "[check]\n\nmax_tme = \"4m\"\n",
    )
    .expect("written");
    place
        .run(&["check", "--", "true"])
        .expect_code(2)
        .expect_said("plimsoll.toml:3:1")
        .expect_said("did you mean `max_time`?");
}

#[test]
fn another_machine_is_not_loaded() {
    let place = Place::new();
    place
        .run(&["check", "--url", "http://192.0.2.1/", "--", "true"])
        .expect_code(2)
        .expect_said("not on this machine")
        .expect_said("--allow-remote");
}

// ---- the subject or the load failed: exit 4, the verdict "until then" ----

#[test]
fn a_subject_that_dies_at_start_shows_its_last_lines() {
    let place = Place::new();
    let url = place.url("/");
    place
        .run(&[
            "check",
            "--url",
            &url,
            "--",
            "node",
            &example("faults/dies-at-start.js"),
        ])
        .expect_code(4)
        .expect_said("exited before it was ready (status 1")
        .expect_said("last lines:");
    assert_eq!(place.last_run()["status"]["state"], "failed");
}

#[test]
fn a_subject_that_never_gets_ready() {
    let place = Place::new();
    let url = place.url("/");
    place
        .run(&[
            "check",
            "--ready-timeout",
            "2s",
            "--url",
            &url,
            "--",
            "node",
            &example("faults/never-ready.js"),
        ])
        .expect_code(4)
        .expect_said("was not ready within 2.0 s")
        .expect_said("--ready-timeout");
}

#[test]
fn a_wrong_port_is_told_at_once_and_at_the_end() {
    let place = Place::new();
    let url = place.url("/");
    let elsewhere = common::free_port().to_string();
    let server = example("faults/all-500.js");
    let mut command = place.command(&[
        "check",
        "--ready-timeout",
        "4s",
        "--url",
        &url,
        "--",
        "node",
        &server,
    ]);
    command.env("PORT", &elsewhere);
    let told = format!("the subject listens on port {elsewhere}, not on");
    let run = common::finish(&command.output().expect("plimsoll starts"));
    run.expect_code(4).expect_said(&told);
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    assert!(run.stdout.contains(&told), "{}", run.stdout);
}

#[test]
fn answers_that_are_all_errors_are_no_verdict() {
    let place = Place::new();
    let url = place.url("/");
    place
        .run(&[
            "check",
            "--url",
            &url,
            "--",
            "node",
            &example("faults/all-500.js"),
        ])
        .expect_code(4)
        .expect_said("status 500")
        .expect_said("--expect-status")
        .expect_unsaid("NO LEAK");
}

#[test]
fn a_path_that_is_not_there_is_no_verdict_but_can_be_declared_right() {
    let place = Place::new();
    let server = example("node/session-map/server.js");
    let url = place.url("/nowhere");
    place
        .run(&["check", "--url", &url, "--", "node", &server])
        .expect_code(4)
        .expect_said("status 404");
    place
        .run(&[
            "check",
            "--url",
            &url,
            "--expect-status",
            "404",
            "--rounds",
            "6",
            "--warm-up",
            "3000",
            "--",
            "node",
            &server,
        ])
        .expect_unsaid("failed in");
}

/// Environment, what is said.
fn in_round(place: &Place, subject: &str, environment: &[(&str, &str)], said: &[&str]) {
    let url = place.url("/");
    let subject = example(subject);
    let arguments = [
        "check",
        "--warm-up",
        "1000",
        "--operations",
        "500",
        "--rounds",
        "12",
        "--timeout",
        "2s",
        "--url",
        &url,
        "--",
        "node",
        &subject,
    ];
    let mut command = place.command(&arguments);
    command.envs(environment.iter().copied());
    let run = finish(&command.output().expect("plimsoll starts"));
    run.expect_code(4).expect_unsaid("NO LEAK");
    for part in said {
        run.expect_said(part);
    }
    let document = place.last_run();
    assert_eq!(document["status"]["state"], "failed");
    assert_ne!(
        document["verdict"]["outcome"], "no_leak",
        "until then is no proof of health"
    );
    let measured = document["rounds"]
        .as_array()
        .expect("rounds")
        .iter()
        .filter(|r| r["kind"] == "measured")
        .count();
    assert!((1..12).contains(&measured), "{measured} rounds were kept");
}

// 200 to learn the cost, 800 and 3 x 500 of warm-up, then 500 a round: round 7 starts after 5,500 operations.
const ROUND_7: &str = "5600";

#[test]
fn every_fiftieth_answer_dropped_in_mid_run() {
    in_round(
        &Place::new(),
        "faults/drop-50th.js",
        &[("AFTER", ROUND_7), ("EVERY", "50")],
        &["round 7", "failed in", "--max-errors"],
    );
}

#[test]
fn a_server_that_is_killed_in_mid_run() {
    in_round(
        &Place::new(),
        "faults/dies-after.js",
        &[("AFTER", ROUND_7), ("SIGNAL", "SIGKILL")],
        &["the subject died (killed by SIGKILL)", "round 7"],
    );
}

#[test]
fn a_server_that_hangs_in_mid_run() {
    in_round(
        &Place::new(),
        "faults/hangs-after.js",
        &[("AFTER", ROUND_7)],
        &["round 7"],
    );
}

// ---- nothing is lost, nothing is left behind ----

#[test]
fn a_store_that_cannot_be_written_still_gives_the_verdict() {
    let place = Place::new();
    // A file where the directory should be: not even root can create runs below it.
    let blocked = place.directory.path().join("blocked");
    std::fs::write(&blocked, "").expect("written");
    let url = place.url("/login");
    let server = example("node/session-map/server.js");
    let mut command = place.command(&["check", "--url", &url, "--", "node", &server]);
    command.env("PLIMSOLL_DIR", &blocked);
    finish(&command.output().expect("plimsoll starts"))
        .expect_code(1)
        .expect_said("LEAK")
        .expect_said("the run is not kept");
}

#[test]
fn an_interrupt_ends_the_subject_in_every_phase() {
    // What is on standard error when the interrupt comes, and the subject.
    for (line, subject, environment) in [
        ("start:", "faults/never-ready.js", vec![]),
        ("start: ready", "node/session-map/server.js", vec![]),
        ("warm-up:", "node/session-map/server.js", vec![]),
    ] {
        let place = Place::new();
        let url = place.url("/login");
        let mut command = place.command(&["check", "--url", &url, "--", "node", &example(subject)]);
        command.envs(environment.iter().copied::<(&str, &str)>());
        let mut child = command.spawn().expect("plimsoll starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let seen = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|l| l.starts_with(line));
        assert!(seen.is_some(), "`{line}` was not said");
        let pid = send_interrupt(child.id());
        assert!(pid, "the interrupt was sent");
        // Keep reading, so that it never blocks on a full pipe.
        let drain = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
        let finished = finish(&child.wait_with_output().expect("it ends"));
        drain.join().expect("drained");
        finished.expect_code(130);
        let document = place.last_run();
        assert_eq!(document["status"]["state"], "interrupted", "{line}");
        if let Some(pid) = document["subject"]["service"]["id"]["pid"].as_i64() {
            assert!(
                !is_alive(pid),
                "the subject survived an interrupt at `{line}`"
            );
        }
    }
}

/// Sends SIGINT by the `kill` utility: the tests need no system calls of their own.
fn send_interrupt(pid: u32) -> bool {
    std::process::Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .is_ok_and(|s| s.success())
}

#[test]
fn a_parent_that_forks_its_service_and_leaves_is_followed() {
    let place = Place::new();
    let url = place.url("/");
    let run = place.run(&[
        "check",
        "--url",
        &url,
        "--",
        "node",
        &example("faults/fork-and-exit.js"),
    ]);
    assert!([0, 3].contains(&run.code), "{}", run.said());
    let pid = place.last_run()["subject"]["service"]["id"]["pid"]
        .as_i64()
        .expect("the service was found");
    assert!(!is_alive(pid), "the daemon survived");
}

#[test]
fn a_shell_in_front_is_listed_apart() {
    let place = Place::new();
    let url = place.url("/");
    let run = place.run(&[
        "check",
        "--url",
        &url,
        "--",
        "sh",
        &example("faults/wrapper.sh"),
        "node",
        &example("node/session-map/server.js"),
        "--fixed",
    ]);
    // The root of that example answers 404: what matters here is who was found.
    run.expect_code(4);
    let document = place.last_run();
    assert_eq!(document["subject"]["service"]["runtime"]["name"], "node");
    let roles: Vec<&str> = document["subject"]["processes"]
        .as_array()
        .expect("processes")
        .iter()
        .filter_map(|p| p["role"].as_str())
        .collect();
    assert!(
        roles.contains(&"wrapper") && roles.contains(&"service"),
        "{roles:?}"
    );
}

#[test]
fn a_subject_that_prints_without_end_is_bounded() {
    let place = Place::new();
    let url = place.url("/");
    let mut command = place.command(&[
        "check",
        "--url",
        &url,
        "--",
        "node",
        &example("faults/noisy.js"),
    ]);
    command.env("BYTES", (64 << 20).to_string());
    let run = finish(&command.output().expect("plimsoll starts"));
    assert!([0, 3, 4].contains(&run.code), "{}", run.said());
    let document = place.last_run();
    let output = &document["subject"]["output"];
    let (printed, dropped) = (
        output["bytes"].as_u64().expect("bytes"),
        output["dropped_bytes"].as_u64().expect("dropped"),
    );
    assert!(
        printed - dropped <= 9 << 20,
        "{printed} printed, {dropped} dropped"
    );
}

#[test]
fn our_own_failure_has_its_own_code_and_ends_the_subject() {
    // Only development builds can be made to fail.
    if !cfg!(debug_assertions) {
        return;
    }
    let place = Place::new();
    let url = place.url("/login");
    let server = example("node/session-map/server.js");
    let mut command = place.command(&["check", "--url", &url, "--", "node", &server]);
    command.env("PLIMSOLL_TEST_PANIC", "1");
    finish(&command.output().expect("plimsoll starts"))
        .expect_code(70)
        .expect_said("plimsoll itself failed");
    // Nobody answers any more: the port is free at once.
    std::net::TcpListener::bind(("127.0.0.1", place.port)).expect("the subject was ended");
}

#[test]
fn values_out_of_range_are_refused() {
    let place = Place::new();
    for (flag, value, said) in [
        ("--rounds", "60", "at most 48"),
        ("--rounds", "3", "at least 6"),
        ("--concurrency", "4000000000", "at most 10000"),
        ("--max-time", "10000000000000000000s", "too long"),
        ("--max-time", "0s", "longer than nothing"),
        ("--max-time", "240", "is no length of time"),
        ("--url", "ftp://127.0.0.1/", "http://"),
        ("--ready-log", "(", "no regular expression"),
    ] {
        let url = place.url("/");
        let mut arguments = vec!["check", flag, value];
        if flag != "--url" {
            arguments.extend(["--url", url.as_str()]);
        }
        arguments.extend(["--", "true"]);
        place.run(&arguments).expect_code(2).expect_said(said);
    }
}

#[test]
fn a_second_interrupt_does_not_wait_and_leaves_nobody_behind() {
    let place = Place::new();
    let url = place.url("/login");
    let server = example("node/session-map/server.js");
    let script = format!("node {server}; true");
    let mut child = place.spawn(&["check", "--url", &url, "--", "sh", "-c", &script]);
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|l| l.starts_with("start: ready"))
    );
    // The second one may come after the orderly end: then there is nobody to take it.
    let pid = child.id();
    assert!(send_interrupt(pid));
    send_interrupt(pid);
    let drain = std::thread::spawn(move || lines.map_while(Result::ok).count());
    child.wait().expect("it ends");
    drain.join().expect("nobody holds the pipe any more");
    // The kernel takes a killed process apart in its own time: on a busy machine its socket outlives the signal.
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::net::TcpListener::bind(("127.0.0.1", place.port)).is_err() {
        assert!(
            Instant::now() < deadline,
            "the service behind the shell survived"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
