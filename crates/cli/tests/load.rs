//! `plimsoll load` against real servers: what it sends is what they count, and a load that failed never looks well.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use common::{Place, finish};
use serde_json::Value;

/// A Node server of a few lines that prints a line once it listens.
const SERVER: &str = r#"
const http = require("http");
let count = 0;
const kept = [];
const server = http.createServer((request, response) => {
  if (request.url === "/count") return response.end(String(count));
  count += 1;
  if (request.url === "/secret" && request.headers.authorization !== "Bearer " + process.env.TOKEN) response.statusCode = 401;
  if (request.url === "/broken") response.statusCode = 500;
  if (request.url === "/openapi.json") return response.end(JSON.stringify({ openapi: "3.1.0", paths: { "/b": { get: {} }, "/c": { get: {} } } }));
  if (request.url === "/dies" && kept.push(1) === 300) process.exit(3);
  response.end(JSON.stringify({ ok: true, count }));
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
"#;

struct Server(Child);

impl Server {
    fn start(place: &Place) -> Self {
        let mut child = Command::new("node")
            .args(["-e", SERVER])
            .env("PORT", place.port.to_string())
            .env("TOKEN", "s3cret-value")
            .env_remove("NODE_OPTIONS")
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("readable");
        assert_eq!(line.trim(), "listening");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn json(place: &Place, arguments: &[&str], code: i32) -> Value {
    let mut all = vec!["load", "--json"];
    all.extend(arguments);
    let finished = place.run(&all);
    finished.expect_code(code);
    serde_json::from_str(&finished.stdout).expect("the report is JSON")
}

/// What the server counted, asked by hand: the client keeps no bodies.
fn counted(place: &Place) -> u64 {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", place.port)).expect("listens");
    write!(
        stream,
        "GET /count HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let body = text.split("\r\n\r\n").nth(1).expect("a body");
    body.trim().parse().expect("a number")
}

#[test]
fn exactly_n_requests_are_sent_however() {
    let place = Place::new();
    let _server = Server::start(&place);
    let mut expected = 0;
    for (n, more) in [
        ("1000", &["-c", "1"][..]),
        ("777", &["-c", "50", "--churn"]),
        ("300", &["--rate", "2000"]),
    ] {
        let url = place.url("/");
        let run = json(&place, &[&["-u", &url, "-n", n], more].concat(), 0);
        let figures = &run["load"]["figures"];
        assert_eq!(figures["sent"], figures["planned"]);
        assert_eq!(figures["done"].to_string(), n);
        expected += n.parse::<u64>().expect("a number");
        assert_eq!(counted(&place), expected);
        assert!(
            run["series"].as_array().is_some_and(|s| !s.is_empty()),
            "memory is shown"
        );
    }
}

#[test]
fn a_load_that_failed_exits_with_4() {
    let place = Place::new();
    place
        .run(&["load", "-u", &place.url("/"), "-n", "10"])
        .expect_code(4)
        .expect_said("refused connections");
    let _server = Server::start(&place);
    place
        .run(&["load", "-u", &place.url("/broken"), "-n", "200"])
        .expect_code(4)
        .expect_said("200 of 200 operations failed (200 x status 500")
        .expect_said("--expect-status");
    place
        .run(&[
            "load",
            "-u",
            &place.url("/broken"),
            "-n",
            "200",
            "--expect-status",
            "500",
        ])
        .expect_code(0);
    place
        .run(&["load", "-u", &place.url("/dies"), "-n", "100000"])
        .expect_code(4)
        .expect_said("FAILED");
}

#[test]
fn several_operations_are_told_apart_and_secrets_are_not_told() {
    let place = Place::new();
    let _server = Server::start(&place);
    let mut command = place.command(&[
        "load",
        "-u",
        &place.url("/secret"),
        "-u",
        &place.url("/"),
        "-n",
        "400",
        "--header",
        "Authorization: Bearer env:TOKEN",
        "--json",
    ]);
    let finished = finish(
        &command
            .env("TOKEN", "s3cret-value")
            .output()
            .expect("starts"),
    );
    finished.expect_code(0).expect_unsaid("s3cret");
    let run: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let rows = run["load"]["figures"]["per_operation"]
        .as_array()
        .expect("rows");
    assert_eq!(rows.len(), 2);
    assert!(
        rows.iter()
            .all(|r| r["done"] == 200 && r["latency"]["p99_9_ns"].as_u64() > Some(0))
    );
    // Without it, the way out is said.
    place
        .run(&["load", "-u", &place.url("/secret"), "-n", "10"])
        .expect_code(4)
        .expect_said("answered 401")
        .expect_said("env:TOKEN");
    place
        .run(&[
            "load",
            "-u",
            &place.url("/"),
            "-n",
            "1",
            "--header",
            "A: env:PLIMSOLL_NOT_SET_ANYWHERE",
        ])
        .expect_code(2)
        .expect_said("PLIMSOLL_NOT_SET_ANYWHERE is not set");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    let place = Place::new();
    for (arguments, said) in [
        (&["-n", "0"][..], "too small"),
        (&["-n", "5", "-d", "10s"], "cannot be used with"),
        (&["--rate", "0"], "more than 0"),
        (&["-d", "100", "-r", "1s"], "longer than"),
        (&["-u", "http://example.org/"], "not on this machine"),
        (
            &["-u", "http://127.0.0.1:1/{{who}}"],
            "`{{who}}` is unknown",
        ),
        (
            &["-u", "http://127.0.0.1:1/", "-u", "http://127.0.0.1:2/"],
            "one server",
        ),
    ] {
        place
            .run(&[&["load"], arguments].concat())
            .expect_code(2)
            .expect_said(said);
    }
}

#[test]
fn a_scenario_is_driven_and_its_mistakes_are_located() {
    let place = Place::new();
    let _server = Server::start(&place);
    let file = place.directory.path().join("plimsoll.toml");
    let scenario = format!(
        r#"
[driver]
url = "{}"

[[driver.setup]]
url = "/"
extract = {{ count = "json:/count" }}

[[driver.step]]
name = "read"
url = "/read/{{{{count}}}}?r={{{{rand 1 9}}}}"
expect = {{ status = "200", json = {{ "/ok" = true }} }}

[[driver.step]]
name = "write"
url = "/write"
json = {{ id = "{{{{seq}}}}", who = "{{{{uuid}}}}" }}
"#,
        place.url("")
    );
    std::fs::write(&file, &scenario).expect("written");
    let run = json(&place, &["-n", "500", "-c", "5"], 0);
    let rows = run["load"]["figures"]["per_operation"]
        .as_array()
        .expect("rows");
    assert_eq!(
        rows.iter()
            .map(|r| r["done"].as_u64().unwrap_or(0))
            .sum::<u64>(),
        500
    );
    assert_eq!(
        counted(&place),
        505,
        "the setup of five users is not among the 500"
    );

    for (from, to, place_in_file, said) in [
        ("{{count}}", "{{cuont}}", ":11:14", "`{{cuont}}` is unknown"),
        ("json:/count", "json:count", ":5:1", "begins with `/`"),
        (
            "name = \"write\"",
            "nmae = \"write\"",
            ":15:1",
            "did you mean `name`?",
        ),
        ("status = \"200\"", "status = 200", ":12:21", "string"),
    ] {
        std::fs::write(&file, scenario.replacen(from, to, 1)).expect("written");
        place
            .run(&["load", "-n", "1"])
            .expect_code(2)
            .expect_said(&format!("plimsoll.toml{place_in_file}"))
            .expect_said(said);
    }
}

#[test]
fn descriptions_and_recordings_are_driven() {
    let place = Place::new();
    let _server = Server::start(&place);
    let write = |name: &str, text: &str| {
        std::fs::write(place.directory.path().join(name), text).expect("written");
    };
    write(
        "api.json",
        r#"{"openapi":"3.1.0","paths":{"/a/{id}":{"get":{"parameters":[{"name":"id","in":"path","example":7}]},"put":{}},"/b":{"get":{}}}}"#,
    );
    let url = place.url("");
    let run = json(
        &place,
        &["--openapi", "api.json", "-u", &url, "-n", "100"],
        0,
    );
    let names: Vec<&str> = run["load"]["operations"]
        .as_array()
        .expect("operations")
        .iter()
        .filter_map(|o| o["name"].as_str())
        .collect();
    assert_eq!(names, ["GET /a/{id}", "GET /b"]);
    assert!(run["findings"].to_string().contains("PUT /a/{id}"));

    write(
        "session.har",
        r#"{"log":{"entries":[{"request":{"method":"GET","url":"https://shop.example/items?token=s3cret-value","headers":[]}},
            {"request":{"method":"GET","url":"https://shop.example/style.css","headers":[]}}]}}"#,
    );
    let finished = place.run(&["load", "--har", "session.har", "-u", &url, "-n", "50"]);
    finished
        .expect_code(0)
        .expect_said("1 secrets")
        .expect_unsaid("s3cret");
    assert_eq!(counted(&place), 150);
    // The same in YAML, and as the service itself tells it.
    write(
        "api.yaml",
        "openapi: 3.1.0\npaths:\n  /a/{id}:\n    get:\n      parameters:\n        - { name: id, in: path, example: 7 }\n  /b: { get: {} }\n",
    );
    let run = json(
        &place,
        &["--openapi", "api.yaml", "-u", &url, "-n", "100"],
        0,
    );
    assert_eq!(run["load"]["operations"][0]["name"], "GET /a/{id}");
    let described = place.url("/openapi.json");
    let run = json(&place, &["--openapi", &described, "-n", "99"], 0);
    let names = run["load"]["operations"].as_array().map(Vec::len);
    assert_eq!(names, Some(2), "{run}");
    assert_eq!(counted(&place), 150 + 100 + 1 + 99);
    write("broken.yaml", "openapi: 3.1.0\npaths: [1, 2\n");
    place
        .run(&["load", "--openapi", "broken.yaml", "-n", "1"])
        .expect_code(2)
        .expect_said("broken.yaml:");
    place
        .run(&["load", "--openapi", &place.url("/broken"), "-n", "1"])
        .expect_code(2)
        .expect_said("status 500");
    place
        .run(&["load", "--openapi", "nowhere.json", "-n", "1"])
        .expect_code(2)
        .expect_said("nowhere.json");
}
