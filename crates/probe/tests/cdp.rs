//! The protocol client against a real runtime.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::net::SocketAddr;

use common::{DEADLINE, line, regex, spawn};
use plimsoll_model::{Cancel, Cx, Sink};
use plimsoll_probe::{Cdp, CdpEvent, Subject, stream_snapshot, targets};
use serde_json::json;

fn inspected(script: &str) -> (Subject, SocketAddr) {
    let subject = spawn(&["node", "--inspect=127.0.0.1:0", "-e", script]);
    let lines = subject.on_line(regex("^Debugger listening on ws://"));
    let said = line(&lines);
    let address = said.split('/').nth(2).unwrap().parse().unwrap();
    // The inspector listens before the script has run.
    line(&subject.on_line(regex("^busy$")));
    (subject, address)
}

#[test]
fn node_answers_while_it_computes_and_streams_a_snapshot() {
    let (_subject, address) = inspected(
        "globalThis.kept = new Array(5e4).fill().map(() => ({})); console.log('busy'); for (;;);",
    );
    let cx = Cx::within(&Cancel::try_new().unwrap(), DEADLINE);
    let found = targets(address, &cx).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, "node");
    let mut cdp = Cdp::connect(address, &found[0], &cx).unwrap();

    let expression = json!({ "expression": "process.pid + 0", "returnByValue": true });
    let answer = cdp
        .call("Runtime.evaluate", &expression, &cx, &mut |_| Ok(()))
        .unwrap();
    assert_eq!(answer["result"]["type"], "number");
    let refused = cdp
        .call("Nobody.knows", &json!({}), &cx, &mut |_| Ok(()))
        .unwrap_err();
    assert!(refused.to_string().contains("Nobody.knows"), "{refused}");

    let mut text = String::new();
    let mut keep = |event: CdpEvent<'_>| {
        if event.method == "HeapProfiler.addHeapSnapshotChunk" {
            let params: serde_json::Value = serde_json::from_str(event.params).unwrap();
            text.push_str(params["chunk"].as_str().unwrap());
        }
        Ok(())
    };
    cdp.call("HeapProfiler.takeHeapSnapshot", &json!({}), &cx, &mut keep)
        .unwrap();
    let snapshot: serde_json::Value =
        serde_json::from_str(&text).expect("the chunks are one document");
    assert!(snapshot["snapshot"]["node_count"].as_u64().unwrap() > 50_000);
}

/// Counts what comes.
struct Counted(u64);

impl Sink for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

/// Reading ten megabytes for each of sixty thousand functions takes minutes.
#[test]
fn functions_of_a_large_script_do_not_delay_a_snapshot() {
    let (_subject, address) = inspected(
        "const text = '//\\n'.repeat(1e6) + ' '.repeat(7e6) + '[' + '() => 1,'.repeat(6e4) + ']';
         globalThis.kept = require('vm').runInThisContext(text, { filename: 'bundle.js' });
         console.log('busy'); setInterval(() => {}, 1e6);",
    );
    let cx = Cx::within(&Cancel::try_new().unwrap(), DEADLINE);
    let target = targets(address, &cx).unwrap().remove(0);
    let mut cdp = Cdp::connect(address, &target, &cx).unwrap();
    let mut sink = Counted(0);
    let bytes = stream_snapshot(&mut cdp, &mut sink, &cx).unwrap();
    assert_eq!(bytes, sink.0);
    assert!(bytes > 1_000_000, "{bytes}");
}
