//! Snapshots of a real runtime, through the inspector that its probe opens, and what becomes of it when things go wrong.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::ffi::OsString;
use std::io;
use std::time::{Duration, Instant};

use common::{DEADLINE, launch, line, regex, until};
use plimsoll_model::{Cancel, Cx, EvidenceRequest, Sink};
use plimsoll_probe::{Error, Hub, HubEvent, HubOptions, Launch, Runtime, Subject};

const SCRIPT: &str = "
  class Kept { constructor(i) { this.text = `\u{e9}\u{4e16} \"${i}\"\\n`; } }
  globalThis.kept = Array.from({ length: 60_000 }, (_, i) => new Kept(i));
  setInterval(() => {}, 1000);
  console.log('ready');";

/// A thread that keeps something, and ends when the process is told to end it.
const WITH_THREAD: &str = "
  const { Worker } = require('worker_threads');
  const thread = new Worker(`
    class Kept { constructor(i) { this.i = i; } }
    globalThis.kept = Array.from({ length: 5_000 }, (_, i) => new Kept(i));
    setInterval(() => {}, 1000);
    require('worker_threads').parentPort.postMessage('up');`, { eval: true });
  process.on('SIGUSR2', () => thread.terminate().then(() => console.log('terminated')));
  thread.once('message', () => console.log('ready'));
  setInterval(() => {}, 1000);";

struct Observed {
    runtime: Box<dyn Runtime>,
    subject: Subject,
    _hub: Hub,
}

fn observe(flags: &[&str]) -> Observed {
    observe_isolate(flags, SCRIPT, 0)
}

fn observe_isolate(flags: &[&str], script: &str, wanted: u32) -> Observed {
    let hub = Hub::start(
        Instant::now(),
        &HubOptions {
            sample_hz: 0.0,
            ..HubOptions::default()
        },
    )
    .unwrap();
    let command: Vec<&str> = ["node"]
        .into_iter()
        .chain(flags.iter().copied())
        .chain(["-e", script])
        .collect();
    let subject = Subject::spawn(&Launch {
        env: vec![(OsString::from("NODE_OPTIONS"), hub.node_options(None))],
        ..launch(&command)
    })
    .unwrap();
    line(&subject.on_line(regex("^ready$")));
    let isolate = loop {
        if let HubEvent::Up(isolate) = hub.events().recv_timeout(DEADLINE).unwrap()
            && isolate.isolate == wanted
        {
            break isolate;
        }
    };
    Observed {
        runtime: hub.runtime(&isolate),
        subject,
        _hub: hub,
    }
}

fn within(time: Duration) -> Cx {
    Cx::within(&Cancel::try_new().unwrap(), time)
}

/// Keeps what comes; `at` is called with the number of bytes so far.
struct Kept<F> {
    bytes: Vec<u8>,
    ended: bool,
    at: F,
}

impl<F: FnMut(usize) -> io::Result<()>> Sink for Kept<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        (self.at)(self.bytes.len())
    }

    fn end(&mut self) -> io::Result<()> {
        self.ended = true;
        Ok(())
    }
}

fn kept<F: FnMut(usize) -> io::Result<()>>(at: F) -> Kept<F> {
    Kept {
        bytes: Vec::new(),
        ended: false,
        at,
    }
}

/// Ports that the subject listens on.
fn open_ports(subject: &Subject) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let listening: Vec<String> = table
        .lines()
        .map(|row| row.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|row| row.get(3) == Some(&"0A"))
        .map(|row| format!("socket:[{}]", row[9]))
        .collect();
    let open = std::fs::read_dir(format!("/proc/{}/fd", subject.process().id().pid)).unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| listening.iter().any(|l| target.as_os_str() == l.as_str()))
        .count()
}

/// Ids of the objects of the script's class, from the columns of the file.
fn ids_of_kept(document: &serde_json::Value) -> std::collections::BTreeSet<u64> {
    let fields = document["snapshot"]["meta"]["node_fields"]
        .as_array()
        .unwrap();
    let column = |name: &str| fields.iter().position(|f| f == name).unwrap();
    let [kind, name, id] = ["type", "name", "id"].map(column);
    let texts = document["strings"].as_array().unwrap();
    let wanted = texts.iter().position(|text| text == "Kept").unwrap() as u64;
    let numbers: Vec<u64> = document["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect();
    let found: std::collections::BTreeSet<u64> = numbers
        .chunks(fields.len())
        .filter(|row| row[kind] == 3 && row[name] == wanted)
        .map(|row| row[id])
        .collect();
    assert!(found.len() >= 60_000);
    found
}

#[test]
fn a_snapshot_passes_through_and_the_inspector_is_closed_behind_it() {
    let mut observed = observe(&[]);
    let mut sink = kept(|_| Ok(()));
    let receipt = observed
        .runtime
        .capture(&EvidenceRequest::Snapshot, &mut sink, &within(DEADLINE))
        .unwrap();
    assert!(sink.ended);
    assert_eq!(receipt.bytes, sink.bytes.len() as u64);
    assert_eq!(receipt.note, None);
    let document: serde_json::Value = serde_json::from_slice(&sink.bytes).unwrap();
    assert!(document["snapshot"]["node_count"].as_u64().unwrap() > 60_000);
    let texts = document["strings"].as_array().unwrap();
    assert!(texts.iter().any(|text| text == "Kept"));

    // Ids stay as they are until the captures are over, whatever is counted in between.
    observed
        .runtime
        .census(plimsoll_model::Scope::Resources, &within(DEADLINE))
        .unwrap();
    let mut again = kept(|_| Ok(()));
    observed
        .runtime
        .capture(&EvidenceRequest::Snapshot, &mut again, &within(DEADLINE))
        .unwrap();
    let later: serde_json::Value = serde_json::from_slice(&again.bytes).unwrap();
    assert_eq!(ids_of_kept(&document), ids_of_kept(&later));
    observed.runtime.release();
    until("the inspector is closed", || {
        open_ports(&observed.subject) == 0
    });
    // And the probe goes on.
    observed.runtime.collect(&within(DEADLINE)).unwrap();
}

#[test]
fn a_sink_that_is_full_ends_the_capture_not_the_subject() {
    let mut observed = observe(&[]);
    let mut sink = kept(|length| {
        if length > 200_000 {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        } else {
            Ok(())
        }
    });
    let error = observed
        .runtime
        .capture(&EvidenceRequest::Snapshot, &mut sink, &within(DEADLINE))
        .unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(!sink.ended);
    until("the inspector is closed", || {
        open_ports(&observed.subject) == 0
    });
    observed.runtime.collect(&within(DEADLINE)).unwrap();
}

#[test]
fn a_subject_that_dies_in_between_is_an_error() {
    let mut observed = observe(&[]);
    let pid = observed.subject.process().id().pid.to_string();
    let mut sink = kept(|_| {
        let killed = std::process::Command::new("kill")
            .args(["-KILL", &pid])
            .status()?;
        assert!(killed.success());
        Ok(())
    });
    let error = observed
        .runtime
        .capture(&EvidenceRequest::Snapshot, &mut sink, &within(DEADLINE))
        .unwrap_err();
    assert!(
        matches!(error, Error::Inspector { .. } | Error::IsolateGone),
        "{error}"
    );
}

#[test]
fn a_subject_that_stalls_meets_the_deadline_and_is_left_whole() {
    let mut observed = observe(&[]);
    let pid = observed.subject.process().id().pid.to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    };
    let mut sink = kept(|_| {
        signal("-STOP");
        Ok(())
    });
    let error = observed
        .runtime
        .capture(
            &EvidenceRequest::Snapshot,
            &mut sink,
            &within(Duration::from_secs(4)),
        )
        .unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    signal("-CONT");
    until("the inspector is closed", || {
        open_ports(&observed.subject) == 0
    });
    let collected = observed.runtime.collect(&within(DEADLINE));
    let (exit, lines) = (observed.subject.exit(), observed.subject.last_lines(20));
    assert!(collected.is_ok(), "{collected:?} {exit:?} {lines:#?}");
}

#[test]
fn an_inspector_of_the_user_is_shared_and_it_is_said() {
    let mut observed = observe(&["--inspect=127.0.0.1:0"]);
    let mut sink = kept(|_| Ok(()));
    let receipt = observed
        .runtime
        .capture(&EvidenceRequest::Snapshot, &mut sink, &within(DEADLINE))
        .unwrap();
    assert!(receipt.note.unwrap().contains("debugger"));
    observed.runtime.release();
    assert_eq!(open_ports(&observed.subject), 1);
}

#[test]
fn a_worker_thread_tells_its_own_heap_and_is_not_held_when_it_ends() {
    let mut observed = observe_isolate(&[], WITH_THREAD, 1);
    let mut sink = kept(|_| Ok(()));
    observed
        .runtime
        .capture(&EvidenceRequest::Snapshot, &mut sink, &within(DEADLINE))
        .unwrap();
    let text = String::from_utf8(sink.bytes).unwrap();
    assert!(text.contains("\"Kept\""));
    // We stay connected between two snapshots; a thread that ends would wait for us to go.
    let terminated = observed.subject.on_line(regex("^terminated$"));
    let pid = observed.subject.process().id().pid.to_string();
    let sent = std::process::Command::new("kill")
        .args(["-USR2", &pid])
        .status();
    assert!(sent.unwrap().success());
    line(&terminated);
    until("the inspector is closed", || {
        open_ports(&observed.subject) == 0
    });
}
