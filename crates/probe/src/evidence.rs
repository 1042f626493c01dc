//! Evidence over the `DevTools` protocol: heap snapshots streamed, live objects counted, allocations sampled.
//!
//! Nothing is buffered here beyond one message: a snapshot of any size passes through into a [`Sink`]. The memory it costs
//! is the subject's, so whoever asks checks [`headroom_for_snapshot`] first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use plimsoll_model::{Cx, Sink};
use serde::Deserialize;
use serde_json::{Value, json};

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

#[derive(Debug, Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    chunk: Cow<'a, str>,
}

/// Where a script came from, by the runtime's number of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
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

/// Live objects by class: all that have `Object.prototype` or a function's prototype in their chain, counted in the
/// subject. Costs a full collection and a visit of the heap, but no copy of it.
///
/// # Errors
/// As [`Cdp::call`], or if the count throws.
pub fn live_by_class(cdp: &mut Cdp, cx: &Cx) -> Result<BTreeMap<String, u64>, Error> {
    let mut call = |method: &str, params: Value| cdp.call(method, &params, cx, &mut |_| Ok(()));
    let group = json!("plimsoll");
    let prototype = call(
        "Runtime.evaluate",
        json!({ "expression": "Object.prototype", "objectGroup": group, "silent": true }),
    )?;
    let found = call(
        "Runtime.queryObjects",
        json!({ "prototypeObjectId": prototype["result"]["objectId"], "objectGroup": group }),
    )?;
    let counted = call(
        "Runtime.callFunctionOn",
        json!({
            "objectId": found["objects"]["objectId"],
            "functionDeclaration": COUNT_BY_CLASS,
            "returnByValue": true,
            "silent": true,
        }),
    );
    // What was found must not stay alive, whatever became of the count.
    call(
        "Runtime.releaseObjectGroup",
        json!({ "objectGroup": group }),
    )?;
    let counted = counted?;
    if counted.get("exceptionDetails").is_some() {
        return Err(Error::Refused {
            operation: "count objects".to_owned(),
            message: "the count threw".to_owned(),
        });
    }
    serde_json::from_value(counted["result"]["value"].clone()).map_err(|error| Error::Inspector {
        message: format!("counts that do not parse: {error}"),
    })
}

/// Runs no getter of the subject: own data properties only.
const COUNT_BY_CLASS: &str = "function () {
  const names = new Map();
  const own = (o, k) => { const d = Reflect.getOwnPropertyDescriptor(o, k); return d && d.value; };
  const nameOf = (prototype) => {
    let name = names.get(prototype);
    if (name === undefined) {
      name = 'Object';
      for (let p = prototype, i = 0; p && i < 8; p = Reflect.getPrototypeOf(p), i++) {
        const c = own(p, 'constructor');
        if (typeof c === 'function') { name = String(own(c, 'name') || 'anonymous').slice(0, 200); break; }
      }
      names.set(prototype, name);
    }
    return name;
  };
  const counts = Object.create(null);
  for (let i = 0; i < this.length; i++) {
    let name;
    try { name = nameOf(Reflect.getPrototypeOf(this[i])); } catch (_) { continue; }
    counts[name] = (counts[name] || 0) + 1;
  }
  return counts;
}";

/// Bytes alive that were allocated since sampling began, by the function that allocated them.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocation {
    /// The function.
    pub function: String,
    /// Its script.
    pub script: String,
    /// Where it is written, from 1.
    pub line: u32,
    /// Live bytes, scaled up from the sample.
    pub bytes: f64,
}

/// Begins to sample allocations, one each `interval` bytes on average.
///
/// # Errors
/// As [`Cdp::call`].
pub fn start_sampling(cdp: &mut Cdp, interval: u32, cx: &Cx) -> Result<(), Error> {
    let params = json!({ "samplingInterval": interval });
    cdp.call("HeapProfiler.startSampling", &params, cx, &mut |_| Ok(()))?;
    Ok(())
}

/// Ends sampling; what is still alive, by function, the most bytes first.
///
/// # Errors
/// As [`Cdp::call`].
pub fn stop_sampling(cdp: &mut Cdp, cx: &Cx) -> Result<Vec<Allocation>, Error> {
    let answer = cdp.call("HeapProfiler.stopSampling", &json!({}), cx, &mut |_| Ok(()))?;
    let mut found: BTreeMap<(String, String, u32), f64> = BTreeMap::new();
    let mut open = vec![&answer["profile"]["head"]];
    while let Some(node) = open.pop() {
        let bytes = node["selfSize"].as_f64().unwrap_or(0.0);
        if bytes > 0.0 {
            let frame = &node["callFrame"];
            let text = |key: &str| frame[key].as_str().unwrap_or_default().to_owned();
            let line = frame["lineNumber"].as_u64().unwrap_or(0) as u32;
            *found
                .entry((text("functionName"), text("url"), line.saturating_add(1)))
                .or_default() += bytes;
        }
        open.extend(node["children"].as_array().into_iter().flatten());
    }
    let mut found: Vec<Allocation> = found
        .into_iter()
        .map(|((function, script, line), bytes)| Allocation {
            function,
            script,
            line,
            bytes,
        })
        .collect();
    found.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    Ok(found)
}
