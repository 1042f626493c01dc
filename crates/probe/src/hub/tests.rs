//! The hub against real Node subjects, golden transcripts, and peers that misbehave.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Cx, EvidenceRequest, Metric, Scope, Sink};
use serde_json::{Value, json};

use super::carrier::{Carrier, options};
use super::{Epoch, Hub, HubEvent, HubOptions, IsolateInfo};
use crate::Error;
use crate::protocol::{Decoder, Frame, MAX_BODY};

/// Far beyond what anything here takes; only a hang meets it.
const PATIENCE: Duration = Duration::from_mins(1);

/// A child that dies with its test.
struct Subject(Child);

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `node -e SCRIPT` with the carrier, or says loudly that there is none.
fn node(options: impl AsRef<std::ffi::OsStr>, script: &str) -> Option<Subject> {
    let started = Command::new("node")
        .args(["-e", script])
        .env("NODE_OPTIONS", options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    match started {
        Ok(child) => Some(Subject(child)),
        Err(error) => {
            eprintln!("SKIPPED: node cannot be started: {error}");
            None
        }
    }
}

fn hub(options: &HubOptions) -> Hub {
    Hub::start(Instant::now(), options).unwrap()
}

fn quiet() -> HubOptions {
    HubOptions {
        sample_hz: 0.0,
        ..HubOptions::default()
    }
}

/// The next event that `wanted` accepts.
fn next<T>(hub: &Hub, mut wanted: impl FnMut(HubEvent) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let event = hub.events().recv_deadline(end).expect("an event in time");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

fn up(hub: &Hub) -> IsolateInfo {
    next(hub, |event| match event {
        HubEvent::Up(info) => Some(info),
        _ => None,
    })
}

fn refused(hub: &Hub) -> String {
    next(hub, |event| match event {
        HubEvent::Refused { why } => Some(why),
        _ => None,
    })
}

fn cx(timeout: Duration) -> Cx {
    Cx::within(&Cancel::try_new().unwrap(), timeout)
}

/// A peer that speaks whatever bytes a test likes.
struct Peer {
    stream: UnixStream,
    decoder: Decoder,
}

impl Peer {
    fn connect(hub: &Hub) -> Self {
        let socket = hub.carrier().with_file_name("hub");
        Self::of(UnixStream::connect(socket).unwrap())
    }

    fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            decoder: Decoder::new(MAX_BODY),
        }
    }

    fn send(&mut self, message: &Value) {
        self.stream.write_all(&frame(message)).unwrap();
    }

    fn hello(&mut self, hub: &Hub) {
        let token = hub.carrier.token().to_owned();
        self.send(&hello(&token));
    }

    /// The next message, `None` at the end of the stream.
    fn next(&mut self) -> Option<Value> {
        let mut buffer = [0; 4096];
        loop {
            match self.decoder.next_frame().unwrap() {
                Some(Frame::Json(body)) => return Some(serde_json::from_slice(&body).unwrap()),
                Some(Frame::Chunk(_)) => panic!("a chunk"),
                None => {}
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => self.decoder.push(&buffer[..length]),
                // What the other side had not read when it closed makes the end of the stream an error.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no message: {error}"),
            }
        }
    }
}

fn hello(token: &str) -> Value {
    json!({"type": "hello", "proto": 1, "token": token, "pid": std::process::id(), "isolate": 0, "runtime": "node",
           "version": "20.0.0", "caps": ["collect"]})
}

fn frame(message: &Value) -> Vec<u8> {
    let body = message.to_string().into_bytes();
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.push(0);
    bytes.extend(body);
    bytes
}

const IDLE: &str = "setInterval(() => {}, 1000)";

#[test]
fn a_node_subject_is_collected_counted_and_missed() {
    let hub = hub(&HubOptions::default());
    let script = "const e = new (require('events'))(); e.on('tick', () => {}); globalThis.e = e; setInterval(() => {}, 1000)";
    let Some(subject) = node(hub.node_options(None), script) else {
        return;
    };
    let info = up(&hub);
    assert_eq!(info.process.pid, subject.0.id());
    assert_eq!(info.isolate, 0);
    assert_eq!(info.capabilities.runtime.name, "node");
    assert!(info.heap_limit.is_some_and(|bytes| bytes > 1 << 20));

    let mut runtime = hub.runtime(&info);
    runtime.mark(plimsoll_model::Mark::RoundStart(1));
    let collected = runtime.collect(&cx(PATIENCE)).unwrap();
    let get = |metric: &Metric| collected.get(metric).unwrap();
    assert_eq!(
        get(&Metric::LIVE_BYTES),
        get(&Metric::HEAP_USED) + get(&Metric::EXTERNAL)
    );
    assert!(collected.passes >= 2);

    let census = runtime.census(Scope::Resources, &cx(PATIENCE)).unwrap();
    let ticks = census
        .rows
        .iter()
        .find(|row| row.kind == "EventEmitter:tick");
    assert_eq!(ticks.map(|row| row.count), Some(1));

    let mut kept = Kept(Vec::new());
    let request = EvidenceRequest::Census(Scope::Resources);
    let receipt = runtime.capture(&request, &mut kept, &cx(PATIENCE)).unwrap();
    assert_eq!(receipt.bytes, kept.0.len() as u64);

    let (at, values) = next(&hub, |event| match event {
        HubEvent::Samples { at, values, .. } => Some((at, values)),
        _ => None,
    });
    assert!(at <= hub.epoch.now());
    assert!(
        values
            .iter()
            .any(|(metric, _)| *metric == Metric::HEAP_USED)
    );

    drop(subject);
    next(&hub, |event| {
        matches!(event, HubEvent::Down { key } if key == info.key).then_some(())
    });
    assert!(matches!(
        runtime.collect(&cx(PATIENCE)),
        Err(Error::IsolateGone)
    ));
    let carrier = hub.carrier().to_owned();
    hub.close();
    assert!(!carrier.exists());
    assert!(!carrier.parent().is_some_and(Path::exists));
    assert!(matches!(
        runtime.collect(&cx(PATIENCE)),
        Err(Error::IsolateGone)
    ));
}

struct Kept(Vec<u8>);

impl Sink for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn a_blocked_event_loop_ends_at_the_deadline_and_a_dead_one_at_once() {
    let hub = hub(&quiet());
    let script = "process.stdin.on('data', () => { for (;;); })";
    let Some(mut subject) = node(hub.node_options(None), script) else {
        return;
    };
    let info = up(&hub);
    let mut runtime = hub.runtime(&info);
    runtime.collect(&cx(PATIENCE)).unwrap();
    subject.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    // The loop may still turn once or twice before it meets the byte.
    let error = loop {
        if let Err(error) = runtime.collect(&cx(Duration::from_millis(500))) {
            break error;
        }
    };
    assert!(matches!(error, Error::Deadline { .. }), "{error}");

    let cancel = Cancel::try_new().unwrap();
    let waiting = Cx::within(&cancel, PATIENCE);
    let waiter = std::thread::spawn(move || (runtime.collect(&waiting), runtime));
    cancel.cancel();
    let (outcome, mut runtime) = waiter.join().unwrap();
    assert!(matches!(outcome, Err(Error::Cancelled)));

    let waiter = std::thread::spawn(move || runtime.collect(&cx(PATIENCE)));
    drop(subject);
    assert!(matches!(waiter.join().unwrap(), Err(Error::IsolateGone)));
}

#[test]
fn an_isolate_is_asked_only_what_it_can() {
    let hub = hub(&quiet());
    let mut peer = Peer::connect(&hub);
    peer.hello(&hub);
    let mut runtime = hub.runtime(&up(&hub));
    let refused = runtime.census(Scope::Resources, &cx(PATIENCE));
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
}

/// What a peer does to be refused.
fn misbehave(send: impl FnOnce(&mut Peer, &Hub)) -> String {
    let hub = hub(&quiet());
    let mut peer = Peer::connect(&hub);
    send(&mut peer, &hub);
    let why = refused(&hub);
    while peer.next().is_some() {}
    why
}

#[test]
fn strangers_are_refused() {
    assert!(misbehave(|peer, _| peer.send(&hello("guess"))).contains("token"));
    assert!(
        misbehave(|peer, _| peer.send(&json!({"type": "drop", "n": 1}))).contains("before hello")
    );
    assert!(misbehave(|peer, _| peer.stream.write_all(&[0xff; 64]).unwrap()).contains("frame"));
    // 64 KiB are allowed before hello, the frame limit only after.
    assert!(
        misbehave(|peer, _| peer.stream.write_all(&[0, 0, 8, 0, 0]).unwrap()).contains("524288")
    );
    assert!(
        misbehave(|peer, _| peer.stream.write_all(b"\x02\0\0\0\0{x").unwrap()).contains("parse")
    );
    let newer = |peer: &mut Peer, hub: &Hub| {
        let mut hello = hello(hub.carrier.token());
        hello["proto"] = json!(2);
        peer.send(&hello);
    };
    assert!(misbehave(newer).contains("version"));
    let twice = |peer: &mut Peer, hub: &Hub| {
        peer.hello(hub);
        peer.hello(hub);
    };
    assert!(misbehave(twice).contains("second hello"));
}

#[test]
fn silent_and_slow_peers_hold_nobody_up() {
    let hub = hub(&quiet());
    let silent: Vec<Peer> = (0..20).map(|_| Peer::connect(&hub)).collect();
    let mut half = Peer::connect(&hub);
    half.stream.write_all(&[200, 0, 0, 0, 0, b'{']).unwrap();
    let mut peer = Peer::connect(&hub);
    peer.hello(&hub);
    let mut runtime = hub.runtime(&up(&hub));
    let waiter = std::thread::spawn(move || runtime.collect(&cx(PATIENCE)));
    assert_eq!(peer.next().unwrap()["type"], "config");
    let command = peer.next().unwrap();
    assert_eq!(command["op"], "collect");
    peer.send(&json!({"type": "reply", "id": 999, "ok": {}}));
    peer.send(&json!({"type": "reply", "id": command["id"], "ok": {
        "at_us": -5, "values": {"live_bytes": 7, "bad name": 1, "lost": -1}, "passes": 2, "settled": true, "pause_us": 3}}));
    let collected = waiter.join().unwrap().unwrap();
    assert_eq!(collected.at.0, 0);
    assert_eq!(collected.values, [(Metric::LIVE_BYTES, 7.0)]);
    drop(silent);
}

#[test]
fn a_peer_that_never_reads_loses_its_connection_not_the_hub() {
    let hub = hub(&quiet());
    let mut peer = Peer::connect(&hub);
    peer.hello(&hub);
    let info = up(&hub);
    let mut runtime = hub.runtime(&info);
    // More commands than a socket and our queue hold, and nobody reads them.
    for round in 0..40_000 {
        runtime.mark(plimsoll_model::Mark::RoundStart(round));
    }
    next(&hub, |event| {
        matches!(event, HubEvent::Down { key } if key == info.key).then_some(())
    });
    let mut other = Peer::connect(&hub);
    other.hello(&hub);
    up(&hub);
}

#[test]
fn samples_that_nobody_takes_are_dropped_and_counted() {
    const SENT: u64 = 20_000;
    let hub = hub(&quiet());
    let mut peer = Peer::connect(&hub);
    peer.hello(&hub);
    peer.send(&json!({"type": "schema", "names": ["heap_used"]}));
    let sample = frame(&json!({"type": "s", "seq": 0, "at_us": 1, "values": [1]}));
    for _ in 0..SENT {
        peer.stream.write_all(&sample).unwrap();
    }
    peer.send(&json!({"type": "drop", "n": 5}));
    // Its end must arrive even though the channel is full.
    drop(peer);
    let (mut taken, mut dropped) = (0, 0);
    next(&hub, |event| {
        match event {
            HubEvent::Samples { .. } => taken += 1,
            HubEvent::Dropped { count, .. } => dropped += count,
            HubEvent::Down { .. } => return Some(()),
            _ => {}
        }
        None
    });
    assert!(dropped > 5, "{taken} taken, {dropped} dropped");
    assert_eq!(taken + dropped, SENT + 5);
}

#[test]
fn times_of_a_probe_lie_within_the_run() {
    let epoch = Epoch::of(Instant::now());
    let start_us = epoch.start_ns as f64 / 1e3;
    assert_eq!(epoch.at(start_us - 1e9).0, 0);
    assert_eq!(epoch.at(0.0).0, 0);
    assert_eq!(epoch.at(f64::MIN).0, 0);
    for future in [f64::MAX, f64::INFINITY, f64::NAN, start_us + 1e12] {
        let at = epoch.at(future);
        assert!(at <= epoch.now());
    }
}

/* ---------------------------------------------------------------- golden transcripts */

/// Messages a transcript does not mention unless it is about them.
const SKIPPED: [&str; 5] = ["s", "gc", "drop", "gap", "schema"];

fn matches(actual: &Value, expected: &Value, token: &str, place: &str) {
    match expected {
        Value::String(text) if text.starts_with('<') => {
            let fits = match text.as_str() {
                "<number>" => actual.is_number(),
                "<string>" => actual.is_string(),
                "<boolean>" => actual.is_boolean(),
                "<array>" => actual.is_array(),
                "<token>" => actual == token,
                other => panic!("{other} means nothing"),
            };
            assert!(fits, "{place}: {actual} is no {text}");
        }
        Value::Array(items) => {
            let actual = actual.as_array().unwrap();
            assert_eq!(actual.len(), items.len(), "{place}");
            for (actual, item) in actual.iter().zip(items) {
                matches(actual, item, token, place);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "<contains>" {
                    for item in value.as_array().unwrap() {
                        assert!(actual.as_array().unwrap().contains(item), "{place}: {item}");
                    }
                } else {
                    matches(&actual[name], value, token, &format!("{place}.{name}"));
                }
            }
        }
        exact => assert_eq!(actual, exact, "{place}"),
    }
}

fn perform(path: &Path) {
    let base = tempfile::tempdir().unwrap();
    let (carrier, listener) = Carrier::create_in(base.path()).unwrap();
    let Some(mut subject) = node(options("--require", carrier.path(), None), IDLE) else {
        return;
    };
    listener.set_nonblocking(false).unwrap();
    let mut peer = Peer::of(listener.accept().unwrap().0);
    for (number, line) in std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .enumerate()
        .skip(1)
    {
        let place = format!("{}:{}", path.display(), number + 1);
        let step: Value = serde_json::from_str(line).unwrap();
        if let Some(expected) = step.get("probe") {
            let message = loop {
                let message = peer.next().expect(&place);
                let kind = message["type"].as_str().unwrap();
                if message["type"] == expected["type"] || !SKIPPED.contains(&kind) {
                    break message;
                }
            };
            matches(&message, expected, carrier.token(), &place);
        } else if let Some(said) = step.get("hub") {
            let said = said
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![said.clone()]);
            let bytes: Vec<u8> = said.iter().flat_map(frame).collect();
            peer.stream.write_all(&bytes).unwrap();
        } else if let Some(hex) = step.get("raw").and_then(Value::as_str) {
            let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            peer.stream.write_all(&bytes).unwrap();
        } else {
            assert_eq!(peer.next(), None, "{place}");
        }
    }
    assert!(subject.0.try_wait().unwrap().is_none(), "the subject lives");
}

#[test]
fn the_node_probe_passes_the_golden_transcripts() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/probe");
    let mut performed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "jsonl")
        {
            perform(&path);
            performed += 1;
        }
    }
    assert!(performed >= 10, "{performed} transcripts");
}
