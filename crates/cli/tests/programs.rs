//! Subjects driven by programs, and commands around the load.

mod common;

use common::{Place, example};

/// A worker that asks the service of this place by hand, one connection for each operation.
fn worker(place: &Place, keeps_its_word: bool) -> String {
    let lie = if keeps_its_word { "" } else { "+ 1" };
    let script = format!(
        r#"
const http = require("http");
const agent = new http.Agent({{ keepAlive: true, maxSockets: 4 }});
const ask = () => new Promise((resolve) => http.get({{ port: {}, host: "127.0.0.1", path: "/prices", agent }}, (r) => {{
  r.resume(); r.once("end", () => resolve(r.statusCode === 200));
}}).once("error", () => resolve(false)));
require("readline").createInterface({{ input: process.stdin }}).on("line", async (line) => {{
  const n = Number(line.split(" ")[1]);
  let left = n, errors = 0;
  await Promise.all(Array.from({{ length: 4 }}, async () => {{ while (left-- > 0) if (!(await ask())) errors += 1; }}));
  console.log(`done ${{n {lie}}} errors ${{errors}}`);
}}).on("close", () => process.exit(0));
"#,
        place.port
    );
    let path = place.directory.path().join("worker.js");
    std::fs::write(&path, script).expect("written");
    format!("node '{}'", path.display())
}

#[test]
fn a_worker_drives_the_subject_and_commands_run_around_it() {
    let place = Place::new();
    let server = example("node/parcel-desk/server.js");
    let port = place.port.to_string();
    let run = place.run(&[
        "check",
        "--op-cmd",
        &worker(&place, true),
        "--ready-port",
        &port,
        "--max-time",
        "40s",
        "--rounds",
        "6",
        "--operations",
        "500",
        "--warm-up",
        "5000",
        "--prepare",
        "echo prepared >> log",
        "--between-rounds",
        "echo between >> log",
        "--cleanup",
        "echo cleaned >> log",
        "--json",
        "--",
        "node",
        &server,
        "--fixed",
    ]);
    let document: serde_json::Value =
        serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.said()));
    assert_eq!(document["status"]["state"], "completed", "{}", run.said());
    assert_ne!(document["verdict"]["outcome"], "leak");
    assert_eq!(document["load"]["operation_word"], "operation");
    assert!(document["load"]["total_operations"].as_u64() >= Some(8_000));
    let log =
        std::fs::read_to_string(place.directory.path().join("log")).expect("the commands ran");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("prepared", "cleaned"));
    assert!(lines.iter().filter(|l| **l == "between").count() >= 6);
}

#[test]
fn programs_that_fail_or_lie_fail_the_run() {
    let place = Place::new();
    let server = example("node/parcel-desk/server.js");
    let port = place.port.to_string();
    let check = |how: &[&str], code: i32, said: &str| {
        let head = [
            "check",
            "--ready-port",
            &port,
            "--cleanup",
            "echo cleaned >> log",
        ];
        let tail = ["--", "node", &server];
        place
            .run(&[&head[..], how, &tail].concat())
            .expect_code(code)
            .expect_said(said);
    };
    check(&["--op-cmd", &worker(&place, false)], 4, "was told `run");
    check(
        &["--op-cmd", "sh -c 'read x; echo no broker >&2; exit 9'"],
        4,
        "no broker",
    );
    check(
        &["--driver", "sh -c 'echo {n}; exit 99'"],
        4,
        "exit status: 99",
    );
    check(&["--driver", "k6 run s.js"], 2, "--ops-log");
    check(&["--op-cmd", "node 'x"], 2, "a quote is not closed");
    check(
        &["--driver", "true {n}", "--needs", "tcp:127.0.0.1:1"],
        2,
        "nothing answers at tcp:127.0.0.1:1",
    );
    check(
        &[
            "--driver",
            "true {n}",
            "--prepare",
            "echo no schema >&2; false",
        ],
        2,
        "no schema",
    );
    check(
        &["--driver", "true {n}", "--between-rounds", "false"],
        4,
        "--between-rounds",
    );
    let cleaned =
        std::fs::read_to_string(place.directory.path().join("log")).expect("the cleanup ran");
    assert_eq!(
        cleaned.lines().count(),
        4,
        "only what started is cleaned up"
    );
}

/// Does its work by itself, prints how far it is, and keeps something of every item.
const BATCH: &str = r#"
const kept = [];
const leaks = process.env.KEEPS === "yes";
let done = 0;
const step = () => {
  for (let i = 0; i < 500; i++) {
    done += 1;
    if (leaks) kept.push({ number: done, tags: new Array(20).fill(done) });
  }
  console.log(`processed ${done.toLocaleString("en-US")} items`);
  if (done < 30000) setTimeout(step, 20);
};
step();
"#;

#[test]
fn a_program_that_prints_its_progress_is_judged_by_its_operations() {
    let place = Place::new();
    let check = |keeps: &str, codes: &[i32]| -> serde_json::Value {
        let arguments = [
            "check",
            "--ops-log",
            r"processed ([\d,]+) items",
            "--json",
            "--",
            "node",
            "-e",
            BATCH,
        ];
        let output = place.command(&arguments).env("KEEPS", keeps).output();
        let run = common::finish(&output.expect("starts"));
        assert!(codes.contains(&run.code), "{}", run.said());
        serde_json::from_str(&run.stdout).expect("JSON")
    };
    let run = check("yes", &[1]);
    let growth = &run["verdict"]["growth"];
    assert_eq!(growth["per"], "operation", "{run}");
    let rate = growth["rate"].as_f64();
    // An object of two fields, an array of twenty, and their place in a list.
    assert!(
        rate.is_some_and(|r| (180.0..330.0).contains(&r)),
        "{rate:?}"
    );
    assert_eq!(run["load"]["total_operations"], 30_000);
    // In its first second a runtime takes more from the system than it keeps; that may leave it open, and is no leak.
    check("no", &[0, 3]);
}

/// Counts what it answers, and tells it in two ways.
const COUNTING: &str = r#"
let answered = 0;
require("http").createServer((request, response) => {
  answered += 1;
  if (request.url === "/stats") return response.end(JSON.stringify({ http: { answered } }));
  if (request.url === "/metrics") return response.end(`# TYPE answered counter\nanswered{code="200"} ${answered}\n`);
  if (answered % 100 === 0) console.log(`answered ${answered}`);
  response.end("ok");
}).listen(Number(process.env.PORT), "127.0.0.1");
"#;

/// A load test that does as many requests as it likes and says nothing.
fn silent_load(place: &Place, requests: u32) -> String {
    let script = format!(
        r#"
const http = require("http");
const agent = new http.Agent({{ keepAlive: true, maxSockets: 4 }});
const ask = () => new Promise((resolve) => http.get({{ port: {}, host: "127.0.0.1", agent }}, (r) => {{ r.resume(); r.once("end", resolve); }}));
(async () => {{ for (let i = 0; i < {requests}; i++) await ask(); process.exit(0); }})();
"#,
        place.port
    );
    let path = place.directory.path().join("load.js");
    std::fs::write(&path, script).expect("written");
    format!("node '{}'", path.display())
}

#[test]
fn a_subject_may_count_what_a_driver_does() {
    let port = |place: &Place| place.port.to_string();
    for (flag, value) in [
        ("--ops-counter", "/stats#/http/answered"),
        ("--ops-counter", "/metrics#answered"),
        ("--ops-log", r"answered (\d+)"),
    ] {
        let place = Place::new();
        let value = if flag == "--ops-counter" {
            place.url(value)
        } else {
            value.to_owned()
        };
        let port = port(&place);
        let run = place.run(&[
            "check",
            "--driver",
            &silent_load(&place, 200),
            flag,
            &value,
            "--ready-port",
            &port,
            "--rounds",
            "6",
            "--warm-up",
            "200",
            "--operations",
            "200",
            "--explain",
            "never",
            "--json",
            "--",
            "node",
            "-e",
            COUNTING,
        ]);
        let document: serde_json::Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{}", run.said()));
        assert_eq!(document["status"]["state"], "completed", "{}", run.said());
        let rounds = document["rounds"].as_array().expect("rounds");
        let driven = rounds.iter().filter(|r| r["kind"] == "measured");
        let done: Vec<u64> = driven.filter_map(|r| r["done"].as_u64()).collect();
        assert_eq!(done, [200; 6], "{flag} {value}");
    }
    let place = Place::new();
    for (arguments, said) in [
        (
            &["--url", "http://127.0.0.1:1/", "--ops-log", "x"][..],
            "not counted here",
        ),
        (
            &["--driver", "true", "--ops-log", "("],
            "no regular expression",
        ),
        (
            &["--driver", "true", "--ops-counter", "stats"],
            "does not start with",
        ),
    ] {
        place
            .run(&[&["check"], arguments, &["--", "true"]].concat())
            .expect_code(2)
            .expect_said(said);
    }
}
