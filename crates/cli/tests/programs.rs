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
        "300",
        "--warm-up",
        "600",
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
    assert!(document["load"]["total_operations"].as_u64() >= Some(2_400));
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
