//! TLS, `HTTP/2` and `WebSocket`s against Node's own servers: what is sent is what they count, and what cannot be is said.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use common::Place;
use serde_json::Value;

/// Speaks one protocol on `PORT`, and on a second port, which it prints, tells what it counted.
const SERVER: &str = r#"
const { KIND, PORT, CERTIFICATES, NAME } = process.env;
const fs = require("fs"), crypto = require("crypto");
let operations = 0, connections = 0, bodies = 0, sessions = 0;
const tls = () => ({ cert: fs.readFileSync(`${CERTIFICATES}/${NAME}.pem`), key: fs.readFileSync(`${CERTIFICATES}/${NAME}.key`) });
const answer = (request, response) => {
  let length = 0;
  request.on("data", (piece) => { length += piece.length; });
  request.on("end", () => {
    operations += 1; bodies += length;
    if (request.url === "/large") return response.end("x".repeat(300000));
    response.setHeader("set-cookie", "sid=abc; Path=/");
    response.setHeader("x-version", request.httpVersion);
    response.end(JSON.stringify({ ok: true, url: request.url, length, cookie: request.headers.cookie ?? null }));
  });
};
// One frame at a time, unfragmented and masked, as clients send messages that are short.
const upgrade = (request, socket) => {
  if (request.url === "/forbidden") return socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
  const key = crypto.createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`);
  sessions += 1;
  const frame = (opcode, payload) => {
    const head = payload.length < 126 ? Buffer.from([0x80 | opcode, payload.length])
      : Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 255]);
    return Buffer.concat([head, payload]);
  };
  if (request.url === "/chatty") socket.write(frame(1, Buffer.from("welcome")));
  let unread = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (piece) => {
    unread = Buffer.concat([unread, piece]);
    while (unread.length >= 6) {
      let length = unread[1] & 127, at = 2;
      if (length === 126) { length = unread.readUInt16BE(2); at = 4; }
      if (unread.length < at + 4 + length) break;
      const mask = unread.subarray(at, at + 4), payload = Buffer.from(unread.subarray(at + 4, at + 4 + length));
      for (let i = 0; i < length; i++) payload[i] ^= mask[i & 3];
      const opcode = unread[0] & 15;
      unread = unread.subarray(at + 4 + length);
      if (opcode === 8) { socket.write(frame(8, payload)); return socket.end(); }
      if (opcode !== 1) continue;
      operations += 1;
      const text = payload.toString();
      if (text === "hang up") return socket.destroy();
      socket.write(frame(9, Buffer.from("ping")));
      socket.write(frame(1, Buffer.from(JSON.stringify({ ok: true, echo: text, cookie: request.headers.cookie ?? null }))));
    }
  });
};
const server = {
  https: () => require("https").createServer(tls(), answer),
  http: () => require("http").createServer(answer),
  h2: () => require("http2").createSecureServer(tls(), answer),
  h2c: () => require("http2").createServer(answer),
  ws: () => require("http").createServer(answer).on("upgrade", upgrade),
  wss: () => require("https").createServer(tls(), answer).on("upgrade", upgrade),
}[KIND]();
server.on(["https", "h2", "wss"].includes(KIND) ? "secureConnection" : "connection", () => { connections += 1; });
server.on("tlsClientError", () => {}).on("sessionError", () => {});
const control = require("http").createServer((_, response) => response.end(JSON.stringify({ operations, connections, bodies, sessions })));
control.listen(0, "127.0.0.1", () => server.listen(Number(PORT), "127.0.0.1", () => console.log("listening", control.address().port)));
"#;

fn certificate(name: &str) -> String {
    common::repository(&format!("testdata/tls/{name}"))
}

struct Server {
    child: Child,
    control: u16,
}

impl Server {
    fn start(place: &Place, kind: &str, name: &str) -> Self {
        let mut child = Command::new("node")
            .args(["-e", SERVER])
            .env("KIND", kind)
            .env("PORT", place.port.to_string())
            .env("CERTIFICATES", certificate(""))
            .env("NAME", name)
            .env_remove("NODE_OPTIONS")
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("readable");
        let control = line.trim().rsplit(' ').next().expect("a port");
        let control = control.parse().expect("a port");
        Self { child, control }
    }

    /// What it counted until now.
    fn counted(&self, what: &str) -> u64 {
        let mut stream =
            std::net::TcpStream::connect(("127.0.0.1", self.control)).expect("listens");
        write!(stream, "GET / HTTP/1.0\r\n\r\n").expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let body = text.split("\r\n\r\n").nth(1).expect("a body");
        let counts: Value = serde_json::from_str(body).expect("JSON");
        counts[what].as_u64().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn load(place: &Place, arguments: &[&str], code: i32) -> Value {
    let finished = place.run(&[&["load", "--json"], arguments].concat());
    finished.expect_code(code);
    serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{}", finished.said()))
}

/// Drives `n` operations and compares with the server; returns the run.
fn exactly(place: &Place, server: &Server, n: u64, arguments: &[&str]) -> Value {
    let before = server.counted("operations");
    let n_text = n.to_string();
    let run = load(place, &[arguments, &["-n", &n_text]].concat(), 0);
    assert_eq!(run["load"]["figures"]["done"], n, "{run}");
    assert_eq!(server.counted("operations") - before, n);
    run
}

fn spoken(run: &Value) -> String {
    let findings = run["findings"].as_array().expect("a list");
    let found = findings.iter().find(|f| f["id"] == "spoken");
    found.map_or(String::new(), |f| f["message"].to_string())
}

#[test]
fn requests_go_over_tls_and_http2_alike() {
    let ca = certificate("ca.pem");
    for (kind, scheme, flags, protocol) in [
        ("https", "https", &["--ca", &ca][..], "HTTP/1.1 over TLS"),
        ("https", "https", &["--insecure"], "HTTP/1.1 over TLS"),
        ("h2", "https", &["--ca", &ca], "HTTP/2 over TLS"),
        ("h2c", "http", &["--http2"], "HTTP/2"),
    ] {
        let place = Place::new();
        let server = Server::start(&place, kind, "server");
        let url = |path: &str| format!("{scheme}://127.0.0.1:{}{path}", place.port);
        let run = exactly(
            &place,
            &server,
            600,
            &[&["-u", &url("/a?n={{seq}}"), "-c", "5"], flags].concat(),
        );
        assert!(spoken(&run).contains(protocol), "{kind}: {run}");
        assert_eq!(server.counted("connections"), 5, "{kind}");
        exactly(
            &place,
            &server,
            120,
            &[&["-u", &url("/large"), "-c", "3"], flags].concat(),
        );
        let body = "y".repeat(100_000);
        exactly(
            &place,
            &server,
            60,
            &[&["-u", &url("/b"), "--body", &body, "-c", "3"], flags].concat(),
        );
        assert_eq!(server.counted("bodies"), 60 * 100_000, "{kind}");
        let before = server.counted("connections");
        exactly(
            &place,
            &server,
            100,
            &[&["-u", &url("/c"), "-c", "4", "--churn"], flags].concat(),
        );
        assert!(server.counted("connections") - before >= 100, "{kind}");
        exactly(
            &place,
            &server,
            200,
            &[&["-u", &url("/d"), "--rate", "1000"], flags].concat(),
        );
    }
}

#[test]
fn answers_over_http2_are_looked_into() {
    let place = Place::new();
    let server = Server::start(&place, "h2", "server");
    let file = place.directory.path().join("plimsoll.toml");
    std::fs::copy(
        certificate("ca.pem"),
        place.directory.path().join("authority.pem"),
    )
    .expect("copied");
    let scenario = format!(
        r#"
[driver]
url = "https://localhost:{}"
ca = "authority.pem"
http2 = true

[[driver.step]]
url = "/first"
extract = {{ version = "header:X-Version" }}

[[driver.step]]
url = "/second/{{{{version}}}}"
json = {{ n = "{{{{seq}}}}" }}
expect = {{ json = {{ "/ok" = true, "/url" = "/second/2.0", "/cookie" = "sid=abc" }} }}
"#,
        place.port
    );
    std::fs::write(&file, scenario).expect("written");
    exactly(&place, &server, 200, &["-c", "4"]);
}

#[test]
fn messages_are_operations_on_a_websocket() {
    let ca = certificate("ca.pem");
    for (kind, flags) in [("ws", &[][..]), ("wss", &["--ca", &ca])] {
        let place = Place::new();
        let server = Server::start(&place, kind, "server");
        let url = |path: &str| format!("{kind}://127.0.0.1:{}{path}", place.port);
        let run = exactly(
            &place,
            &server,
            500,
            &[
                &["-u", &url("/chatty"), "--body", "hello {{seq}}", "-c", "5"],
                flags,
            ]
            .concat(),
        );
        assert!(spoken(&run).contains("WebSocket"), "{run}");
        assert_eq!(server.counted("sessions"), 5);
        exactly(
            &place,
            &server,
            50,
            &[
                &["-u", &url("/"), "--body", "hi", "-c", "2", "--churn"],
                flags,
            ]
            .concat(),
        );
        assert_eq!(server.counted("sessions"), 55);
    }
}

#[test]
fn a_scenario_logs_in_and_talks_over_a_websocket() {
    let place = Place::new();
    let server = Server::start(&place, "ws", "server");
    let file = place.directory.path().join("plimsoll.toml");
    let scenario = format!(
        r#"
[driver]
url = "http://127.0.0.1:{}"

[[driver.setup]]
url = "/login"

[[driver.step]]
name = "ask"
url = "/talk"
message = {{ type = "ask", n = "{{{{seq}}}}" }}
expect = {{ json = {{ "/cookie" = "sid=abc" }}, contains = "ask" }}
extract = {{ said = "json:/echo" }}

[[driver.step]]
name = "repeat"
url = "/talk"
message = "{{{{said}}}}"
"#,
        place.port
    );
    std::fs::write(&file, scenario).expect("written");
    let run = load(&place, &["-n", "300", "-c", "3"], 0);
    assert_eq!(run["load"]["figures"]["done"], 300, "{run}");
    assert_eq!(
        server.counted("operations"),
        303,
        "three users logged in before"
    );
    assert_eq!(server.counted("sessions"), 3);
}

#[test]
fn what_cannot_be_spoken_is_said_with_a_way_out() {
    let ca = certificate("ca.pem");
    let own = certificate("self-signed.pem");
    let check = |kind: &str, name: &str, scheme: &str, flags: &[&str], code: i32, said: &[&str]| {
        let place = Place::new();
        let _server = Server::start(&place, kind, name);
        let url = format!("{scheme}://localhost:{}/", place.port);
        let finished = place.run(&[&["load", "-u", &url, "-n", "50", "-c", "2"], flags].concat());
        finished.expect_code(code);
        for said in said {
            finished.expect_said(said);
        }
    };
    let stranger = ["signed by nobody who is trusted", "--ca FILE"];
    check("https", "server", "https", &[], 4, &stranger);
    check("https", "self-signed", "https", &[], 4, &stranger);
    check("https", "self-signed", "https", &["--ca", &own], 0, &[]);
    check(
        "https",
        "self-signed",
        "https",
        &["--ca", &ca],
        4,
        &stranger,
    );
    check(
        "https",
        "expired",
        "https",
        &["--ca", &ca],
        4,
        &["has expired", "--insecure"],
    );
    check(
        "https",
        "elsewhere",
        "https",
        &["--ca", &ca],
        4,
        &["for another name", "--insecure"],
    );
    check(
        "http",
        "server",
        "https",
        &["--ca", &ca],
        4,
        &["no TLS is spoken there", "write http://"],
    );
    check(
        "https",
        "server",
        "https",
        &["--ca", &ca, "--http2"],
        4,
        &["does not speak HTTP/2", "--http2"],
    );
    check(
        "http",
        "server",
        "http",
        &["--http2"],
        4,
        &["no HTTP/2 is spoken there", "leave out `--http2`"],
    );
    check("http", "server", "http", &["--ca", "nowhere.pem"], 0, &[]);
    check(
        "https",
        "server",
        "https",
        &["--ca", "nowhere.pem"],
        2,
        &["nowhere.pem"],
    );
    check("ws", "server", "ws", &[], 2, &["sends a message"]);
    check(
        "http",
        "server",
        "ws",
        &["--body", "hi"],
        4,
        &["50 x status 200"],
    );
    check(
        "ws",
        "server",
        "ws",
        &["--body", "hang up"],
        4,
        &["closed before the answer"],
    );
}

#[test]
fn a_service_with_tls_is_checked_like_any_other() {
    let place = Place::new();
    let leaking = r#"
const fs = require("fs"), kept = [];
const at = process.env.CERTIFICATES;
require("https").createServer({ cert: fs.readFileSync(`${at}/server.pem`), key: fs.readFileSync(`${at}/server.key`) }, (request, response) => {
  kept.push({ url: request.url, tags: new Array(100).fill(kept.length) });
  response.end("ok");
}).listen(Number(process.env.PORT), "127.0.0.1");
"#;
    let url = format!("https://localhost:{}/", place.port);
    let script = place.directory.path().join("server.js");
    std::fs::write(&script, leaking).expect("written");
    let script = script.display().to_string();
    let run = |trust: &[&str]| {
        let head = ["check", "--url", &url, "--json", "--max-time", "60s"];
        let tail = ["--explain", "never", "--", "node", &script];
        let mut command = place.command(&[&head[..], trust, &tail].concat());
        command.env("CERTIFICATES", certificate(""));
        common::finish(&command.output().expect("starts"))
    };
    // The certificate is looked at before anything is measured.
    run(&[])
        .expect_code(4)
        .expect_said("signed by nobody who is trusted");
    let finished = run(&["--insecure"]);
    finished.expect_code(1);
    let document: Value = serde_json::from_str(&finished.stdout).expect("JSON");
    let rate = document["verdict"]["growth"]["rate"].as_f64();
    assert!(
        rate.is_some_and(|r| (800.0..1200.0).contains(&r)),
        "{rate:?}"
    );
}
