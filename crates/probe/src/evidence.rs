//! Evidence over the `DevTools` protocol: heap snapshots streamed, scripts listed.
//!
//! Nothing is buffered here beyond one message: a snapshot of any size passes through into a [`Sink`]. The memory it costs
//! is the subject's, so whoever asks checks [`headroom_for_snapshot`] first.

use std::borrow::Cow;
use std::net::SocketAddr;

use plimsoll_model::{Cx, Sink};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Cdp, CdpEvent, Error, Target};

/// A snapshot costs the subject about so many times its heap on top of what it uses already (measured: 3.7).
const SNAPSHOT_FACTOR: u64 = 4;
/// And so much whatever its heap.
const SNAPSHOT_BYTES: u64 = 64 << 20;

/// Memory that must be left before a snapshot of a heap with `heap_used` bytes may be taken.
pub fn headroom_for_snapshot(heap_used: u64) -> u64 {
    heap_used
        .saturating_mul(SNAPSHOT_FACTOR)
        .saturating_add(SNAPSHOT_BYTES)
}

/// Connects to the socket that a probe opened: `ws://127.0.0.1:PORT/ID`.
///
/// # Errors
/// As [`Cdp::connect`], and for an URL that is none of this machine.
pub fn connect(url: &str, cx: &Cx) -> Result<Cdp, Error> {
    let address: Option<SocketAddr> = url
        .strip_prefix("ws://")
        .and_then(|rest| rest.split('/').next())
        .and_then(|host| host.parse().ok());
    let address = address.ok_or_else(|| Error::Inspector {
        message: format!("{url} is no address of an inspector"),
    })?;
    Cdp::connect(address, &Target::at(url), cx)
}

/// Takes a heap snapshot into `sink`, which is told its end; returns its bytes.
///
/// # Errors
/// As [`Cdp::call`], or if the sink refuses. The subject may go on writing until the connection is dropped.
pub fn stream_snapshot(cdp: &mut Cdp, sink: &mut dyn Sink, cx: &Cx) -> Result<u64, Error> {
    note_line_ends(cdp, cx);
    let mut bytes = 0;
    let mut keep = |event: CdpEvent<'_>| {
        if event.method != "HeapProfiler.addHeapSnapshotChunk" {
            return Ok(());
        }
        let params: Chunk<'_> =
            serde_json::from_str(event.params).map_err(|error| Error::Inspector {
                message: format!("a chunk that does not parse: {error}"),
            })?;
        bytes += params.chunk.len() as u64;
        sink.write(params.chunk.as_bytes())
            .map_err(|error| Error::io("keep a snapshot", error))
    };
    cdp.call("HeapProfiler.takeHeapSnapshot", &json!({}), cx, &mut keep)?;
    sink.end()
        .map_err(|error| Error::io("keep a snapshot", error))?;
    Ok(bytes)
}

/// Has V8 note where the lines of its scripts end. For the line of a function of a script for which it has not, it reads
/// the script from its beginning, for each function again: a process that has loaded a compiler of nine megabytes stood
/// still for 33 s in a snapshot of Node 20, and for 1.5 s so. A runtime that does not know the command needs no remedy,
/// and if the connection failed, the snapshot says so.
pub(crate) fn note_line_ends(cdp: &mut Cdp, cx: &Cx) {
    let _ = scripts(cdp, cx);
}

#[derive(Debug, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    chunk: Cow<'a, str>,
}

/// Where a script came from, by the runtime's number of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// The runtime's number.
    pub script_id: String,
    /// Path or URL.
    #[serde(default)]
    pub url: String,
    /// Its source map: an URL, a path beside it, or the map itself as a `data:` URL.
    #[serde(default, rename = "sourceMapURL")]
    pub source_map: String,
}

/// All scripts that are loaded.
///
/// # Errors
/// As [`Cdp::call`].
pub fn scripts(cdp: &mut Cdp, cx: &Cx) -> Result<Vec<Script>, Error> {
    let mut found = Vec::new();
    let mut keep = |event: CdpEvent<'_>| {
        if event.method == "Debugger.scriptParsed"
            && let Ok(script) = serde_json::from_str::<Script>(event.params)
        {
            found.push(script);
        }
        Ok(())
    };
    cdp.call("Debugger.enable", &json!({}), cx, &mut keep)?;
    cdp.call("Debugger.disable", &json!({}), cx, &mut |_| Ok(()))?;
    Ok(found)
}
