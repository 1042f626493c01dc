//! What probes answer, as types: the source that is put into Node subjects, and the [`Runtime`] behind every probe.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_model::{
    Cancel, Capabilities, Census, CensusRow, Collected, Cx, Evidence, EvidenceRequest, Gap, Mark,
    Method, Metric, Scope, Sink,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::hub::{Epoch, Link};
use crate::pipe::Pipe;
use crate::{Cdp, Error, Runtime, evidence, os};

/// The probe, kept once in `node/`; the link lies inside this crate so that it can be packaged.
const SOURCE: &str = include_str!("node_probe.cjs");

/// The place in the source where the run's configuration goes.
const PLACE: &str = "const CONFIG = null;";

/// The most rows a census may have: ours send 201, foreign ones are cut.
const MAX_ROWS: usize = 512;

/// The most readings of one collection.
const MAX_VALUES: usize = 64;

/// The probe's source with what it needs to find this run.
pub(crate) fn carrier_source(socket: &str, token: &str) -> String {
    let config = configuration(socket, token);
    SOURCE.replacen(PLACE, &format!("const CONFIG = {config};"), 1)
}

/// The probe as an expression to be evaluated in a process that runs already: a function of the configuration. The text is
/// the same in every run, because a runtime keeps what it compiled: 60 kB a time if each were another.
pub(crate) fn injection() -> String {
    // A function body keeps our names out of the global scope; `require` is lent by the inspector.
    let body = SOURCE.replacen(PLACE, "", 1);
    format!("((require) => (CONFIG) => {{{body}\n}})(require)")
}

/// What a probe needs to find this run.
pub(crate) fn configuration(socket: &str, token: &str) -> Value {
    json!({ "socket": socket, "token": token })
}

/// One isolate, asked through the hub. Not only Node's: every probe speaks the same protocol.
#[derive(Debug)]
pub(crate) struct ProbeRuntime {
    key: u64,
    capabilities: Capabilities,
    link: Link,
    epoch: Epoch,
    /// Where it may write what we read, if it sees our files.
    directory: Option<PathBuf>,
    opened: Option<Opened>,
    /// Whether its probe was asked to open the inspector.
    is_open: bool,
}

impl ProbeRuntime {
    pub(crate) fn new(
        key: u64,
        capabilities: Capabilities,
        link: Link,
        epoch: Epoch,
        directory: Option<PathBuf>,
    ) -> Self {
        Self {
            key,
            capabilities,
            link,
            epoch,
            directory,
            opened: None,
            is_open: false,
        }
    }

    fn call<T: DeserializeOwned>(
        &self,
        op: &'static str,
        args: Value,
        cx: &Cx,
    ) -> Result<T, Error> {
        let supported = |known: &String| known == op;
        if !self.capabilities.operations.iter().any(supported) {
            return Err(Error::Unsupported {
                operation: op.to_owned(),
            });
        }
        let value = self.link.call(self.key, op, args, cx)?;
        serde_json::from_value(value).map_err(|error| Error::Protocol {
            message: format!("the reply to {op} does not parse: {error}"),
        })
    }
}

impl Runtime for ProbeRuntime {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn mark(&mut self, mark: Mark) {
        let args = serde_json::to_value(&mark).unwrap_or_default();
        self.link.tell(self.key, "mark", json!({ "mark": args }));
    }

    fn collect(&mut self, cx: &Cx) -> Result<Collected, Error> {
        let reply: CollectReply = self.call("collect", json!({}), cx)?;
        let values: Vec<(Metric, f64)> = reply
            .values
            .into_iter()
            .filter(|(_, value)| *value >= 0.0 && value.is_finite())
            .filter_map(|(name, value)| Some((crate::hub::metric(name)?, value)))
            .take(MAX_VALUES)
            .collect();
        if !values
            .iter()
            .any(|(metric, _)| *metric == Metric::LIVE_BYTES)
        {
            return Err(Error::Protocol {
                message: "a collection without live bytes".to_owned(),
            });
        }
        Ok(Collected {
            at: self.epoch.at(reply.at_us),
            values,
            passes: reply.passes,
            settled: reply.settled,
            pause_ns: nanoseconds(reply.pause_us),
        })
    }

    fn census(&mut self, scope: Scope, cx: &Cx) -> Result<Census, Error> {
        let op = match scope {
            Scope::Classes => "classes",
            Scope::Handles => "resources",
            _ => "census",
        };
        let reply: CensusReply = self.call(op, json!({ "scope": scope }), cx)?;
        for gap in reply.gaps {
            // A gap found while counting belongs to what this isolate cannot answer, like those it began with.
            let gap = Gap {
                what: gap.what,
                why: gap.why,
            };
            if !self.capabilities.gaps.contains(&gap) && self.capabilities.gaps.len() < MAX_ROWS {
                self.capabilities.gaps.push(gap);
            }
        }
        let mut rows: Vec<CensusRow> = reply
            .rows
            .into_iter()
            .take(MAX_ROWS)
            .map(|row| CensusRow {
                family: clean(&row.family),
                kind: clean(&row.kind),
                count: row.count as u64,
                bytes: row.bytes.map(|bytes| bytes as u64),
            })
            .collect();
        rows.sort_by(|a, b| (&a.family, &a.kind).cmp(&(&b.family, &b.kind)));
        Ok(Census {
            at: self.epoch.at(reply.at_us),
            method: reply.method,
            rows,
            pause_ns: nanoseconds(reply.pause_us),
        })
    }

    fn capture(
        &mut self,
        request: &EvidenceRequest,
        sink: &mut dyn Sink,
        cx: &Cx,
    ) -> Result<Evidence, Error> {
        match request {
            EvidenceRequest::Census(scope) => {
                let census = self.census(*scope, cx)?;
                let bytes = serde_json::to_vec(&census).map_err(|error| Error::Protocol {
                    message: error.to_string(),
                })?;
                sink.write(&bytes)
                    .map_err(|error| Error::io("keep a census", error))?;
                Ok(Evidence {
                    at: census.at,
                    bytes: bytes.len() as u64,
                    note: None,
                })
            }
            EvidenceRequest::Snapshot => {
                let result = self.snapshot(sink, cx);
                if result.is_err() {
                    self.forsake();
                }
                result
            }
            EvidenceRequest::Scripts => {
                let Some(opened) = &mut self.opened else {
                    return Err(Error::Unsupported {
                        operation: "scripts without a snapshot before".to_owned(),
                    });
                };
                let scripts = evidence::scripts(&mut opened.cdp, cx)?;
                let bytes = serde_json::to_vec(&scripts).map_err(|error| Error::Protocol {
                    message: error.to_string(),
                })?;
                sink.write(&bytes)
                    .and_then(|()| sink.end())
                    .map_err(|error| Error::io("keep a list of scripts", error))?;
                Ok(Evidence {
                    at: self.epoch.now(),
                    bytes: bytes.len() as u64,
                    note: None,
                })
            }
            EvidenceRequest::SampleAllocations => {
                let _: Value = self.call("sampling", json!({ "begin": true }), cx)?;
                Ok(Evidence {
                    at: self.epoch.now(),
                    bytes: 0,
                    note: None,
                })
            }
            EvidenceRequest::Allocations => {
                let reply: SamplingReply = self.call("sampling", json!({}), cx)?;
                let bytes = reply.stacks.get().as_bytes();
                sink.write(bytes)
                    .and_then(|()| sink.end())
                    .map_err(|error| Error::io("keep sampled allocations", error))?;
                Ok(Evidence {
                    at: self.epoch.now(),
                    bytes: bytes.len() as u64,
                    note: None,
                })
            }
            _ => Err(Error::Unsupported {
                operation: "capture".to_owned(),
            }),
        }
    }

    fn release(&mut self) {
        // Our connection goes first: the isolate's close waits for all to go.
        self.opened = None;
        if self.is_open {
            self.is_open = false;
            self.link.tell(self.key, "snapshot", json!({ "end": true }));
        }
    }
}

/// The inspector that a probe opened for us, and our connection to it.
#[derive(Debug)]
struct Opened {
    cdp: Cdp,
    /// It was open already, and is the user's.
    shared: bool,
}

impl ProbeRuntime {
    /// Gives up a snapshot in the middle. A Node whose client goes away while it still writes one can die of it (20.20.2
    /// did, by SIGSEGV, once in a few times), so what it has begun is read to its end, or for so long, and thrown away.
    fn forsake(&mut self) {
        const PATIENCE: Duration = Duration::from_mins(2);
        let Some(mut opened) = self.opened.take() else {
            return self.release();
        };
        let Ok(cancel) = Cancel::try_new() else {
            return self.release();
        };
        self.is_open = false;
        let (link, key) = (self.link.clone(), self.key);
        let drain = move || {
            // Answered after the snapshot: commands are carried out one after another.
            let cx = Cx::within(&cancel, PATIENCE);
            let _ = opened
                .cdp
                .call("HeapProfiler.disable", &json!({}), &cx, &mut |_| Ok(()));
            drop(opened);
            link.tell(key, "snapshot", json!({ "end": true }));
        };
        // Without a thread the connection is dropped after all.
        let name = "forsaken snapshot".to_owned();
        let _ = std::thread::Builder::new().name(name).spawn(drain);
    }

    fn snapshot(&mut self, sink: &mut dyn Sink, cx: &Cx) -> Result<Evidence, Error> {
        if self.opened.is_none() {
            let reply: DoorReply = self.call("snapshot", json!({}), cx)?;
            // From here on it has to be closed again, whether we get in or not.
            self.is_open = true;
            let cdp = evidence::connect(&reply.url, cx)?;
            self.link.tie(self.key, cdp.line());
            self.opened = Some(Opened {
                cdp,
                shared: reply.shared,
            });
        }
        let Some(opened) = &mut self.opened else {
            return Err(Error::IsolateGone);
        };
        evidence::note_line_ends(&mut opened.cdp, cx);
        let shared = opened.shared;
        let written = match self.directory.clone() {
            Some(directory) => self.written_snapshot(&directory, sink, cx)?,
            None => None,
        };
        let bytes = match (written, &mut self.opened) {
            (Some(bytes), _) => bytes,
            (None, Some(opened)) => evidence::stream_snapshot(&mut opened.cdp, sink, cx)?,
            (None, None) => return Err(Error::IsolateGone),
        };
        Ok(Evidence {
            at: self.epoch.now(),
            bytes,
            note: shared.then(|| {
                "a debugger has the inspector open: it was shared, and left open".to_owned()
            }),
        })
    }

    /// The isolate writes it into a pipe by itself: over the inspector every character is copied six times, and what we have
    /// not read yet lies in the subject's memory. `None` where it may not, or does not know how to.
    fn written_snapshot(
        &self,
        directory: &Path,
        sink: &mut dyn Sink,
        cx: &Cx,
    ) -> Result<Option<u64>, Error> {
        const PIECE: usize = 256 << 10;
        let Ok(pipe) = Pipe::make(directory) else {
            return Ok(None);
        };
        let args = json!({ "into": pipe.path() });
        let mut asked = self.link.ask(self.key, "snapshot", args, cx)?;
        let (mut bytes, mut buffer) = (0, vec![0; PIECE]);
        loop {
            // What was written before the answer is in the pipe when the answer is there.
            let answer = asked.answer();
            loop {
                let read = pipe.read(&mut buffer);
                let length = read.map_err(|error| Error::io("read a snapshot", error))?;
                if length == 0 {
                    break;
                }
                bytes += length as u64;
                sink.write(&buffer[..length])
                    .map_err(|error| Error::io("keep a snapshot", error))?;
                if cx.is_over() {
                    break;
                }
            }
            match answer {
                Some(Ok(_)) if bytes > 0 => break,
                Some(Err(error)) if bytes > 0 || !matches!(error, Error::Refused { .. }) => {
                    return Err(error);
                }
                // A process that may write nowhere, or whose runtime is too old.
                Some(_) => return Ok(None),
                None if cx.cancel.is_cancelled() => return Err(Error::Cancelled),
                None if cx.is_over() => {
                    return Err(Error::Deadline {
                        operation: "snapshot".to_owned(),
                    });
                }
                None => {
                    let ready = [asked.as_fd(), pipe.as_fd(), cx.cancel.fd()];
                    os::wait_any_readable(&ready, cx.deadline)
                        .map_err(|error| Error::io("wait for a snapshot", error))?;
                }
            }
        }
        sink.end()
            .map_err(|error| Error::io("keep a snapshot", error))?;
        Ok(Some(bytes))
    }
}

impl Drop for ProbeRuntime {
    fn drop(&mut self) {
        self.release();
    }
}

/// Names come from the subject and go onto screens: no control characters, and an end.
fn clean(name: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    name.chars().take(200).map(visible).collect()
}

fn nanoseconds(microseconds: f64) -> u64 {
    (microseconds * 1e3) as u64
}

#[derive(Debug, Deserialize)]
struct SamplingReply {
    stacks: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct DoorReply {
    url: String,
    #[serde(default)]
    shared: bool,
}

#[derive(Debug, Deserialize)]
struct CollectReply {
    at_us: f64,
    values: BTreeMap<String, f64>,
    passes: u32,
    settled: bool,
    pause_us: f64,
}

#[derive(Debug, Deserialize)]
struct CensusReply {
    at_us: f64,
    method: Method,
    rows: Vec<WireRow>,
    #[serde(default)]
    gaps: Vec<crate::protocol::WireGap>,
    pause_us: f64,
}

#[derive(Debug, Deserialize)]
struct WireRow {
    family: String,
    kind: String,
    count: f64,
    #[serde(default)]
    bytes: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_has_one_place_for_the_configuration() {
        assert_eq!(SOURCE.matches(PLACE).count(), 1);
        let source = carrier_source(r#"/a"b/hub"#, "t0ken");
        assert!(source.contains(r#"const CONFIG = {"socket":"/a\"b/hub","token":"t0ken"};"#));
    }
}
