//! Who holds what a check saw grow: the check's own operations once more, with a heap snapshot before and after.

use std::time::Duration;

use plimsoll_model::{Culprit, Cx, EvidenceRequest, Facts, Window};
use serde_json::json;

use super::bench::{Bench, Findings};
use super::child::Trouble;
use crate::explain::Explainer;
use crate::holders::Holders;
use crate::limits::Room;

/// Operations of a window.
const WINDOW: u64 = 200;
/// How long one snapshot may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// The rest before the last snapshot, in milliseconds.
const REST_MS: u64 = 100;

/// The culprits, or none where memory does not suffice for a look or nothing grows by itself.
pub(crate) fn culprits(
    bench: &mut Bench<'_>,
    findings: &Findings,
) -> Result<Vec<Culprit>, Trouble> {
    let Some(replay) = &findings.replay else {
        return Ok(Vec::new());
    };
    let mut window = replay.clone();
    window["n"] = window["n"].as_u64().unwrap_or(WINDOW).min(WINDOW).into();
    if let Some(window) = window.as_object_mut() {
        // Rounds by time become rounds by number: windows are compared operation by operation.
        window.remove("ms");
    }
    bench.apart(|bench| windows(bench, &window))
}

fn windows(bench: &mut Bench<'_>, window: &serde_json::Value) -> Result<Vec<Culprit>, Trouble> {
    let Some(isolate) = bench.child.isolate().cloned() else {
        return Ok(Vec::new());
    };
    let copies = bench.suite.snapshots();
    if let Some(directory) = &copies
        && let Err(error) = std::fs::create_dir_all(directory)
    {
        return Err(Trouble::failed(format!(
            "{} cannot be made: {error}",
            directory.display()
        )));
    }
    // One handle for all of them: objects are numbered anew when it is let go.
    let mut runtime = bench.child.hub.runtime(&isolate);
    let mut explainer = Box::new(Holders::new(None, copies.as_deref()));
    let mut facts = Facts::default();
    let mut operations = 0;
    let mut live = Vec::new();
    for at in Window::ALL {
        match at {
            Window::PlusN | Window::Plus2N => operations += bench.batch(window)?.done,
            Window::Final => {
                bench.tell(&json!({ "do": "rest", "ms": REST_MS }))?;
            }
            _ => {}
        }
        let memory = bench.collect(None)?.memory;
        live.push(memory.javascript());
        facts.operations.push((at, operations));
        for request in explainer.wants(at, &facts) {
            let needed = plimsoll_probe::headroom_for_snapshot(memory.heap_used as u64);
            let room = Room::of(Some(bench.child.subject().process()), isolate.heap_limit);
            if room.left().is_some_and(|left| left < needed) {
                return Ok(Vec::new());
            }
            let mut sink = explainer.sink(at, &request);
            let cx = Cx::within(bench.cancel, PATIENCE);
            let captured = runtime.capture(&request, sink.as_mut(), &cx);
            if bench.cancel.is_cancelled() {
                return Err(Trouble::Interrupted);
            }
            // Without what comes beside it, places are told as the snapshot has them.
            if captured.is_err() && request == EvidenceRequest::Snapshot {
                return Ok(Vec::new());
            }
        }
    }
    let grown = live[2] - live[0];
    facts.rate = (grown > 0.0 && operations > 0).then(|| grown / operations as f64);
    Ok(explainer.culprits(&facts))
}
