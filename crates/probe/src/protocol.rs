//! The wire between hub and probes: frames and messages.
//!
//! A frame is a u32 LE body length, a u8 type (0 JSON, 1 chunk of a reply) and a body of at most [`MAX_BODY`] bytes.
//! What arrives is written by a process we do not trust: a decoder never holds more than one frame, and what does not
//! parse is a [`Violation`], never a panic. Unknown messages and unknown fields are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that both sides speak.
pub(crate) const PROTOCOL: u32 = 1;

/// The longest body of a frame, in bytes.
pub(crate) const MAX_BODY: usize = 1 << 20;

const HEADER: usize = 5;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message.
    Json(Vec<u8>),
    /// A part of a reply's bytes.
    Chunk(Vec<u8>),
}

/// The other side broke the protocol; its connection cannot be trusted any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// A body longer than allowed here.
    #[error("a frame of {length} bytes, {limit} are allowed")]
    TooLong {
        /// What the frame's head says.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A frame type nobody knows: the stream is out of step.
    #[error("a frame of unknown type {0}")]
    UnknownType(u8),
    /// A body that is no message.
    #[error("a message that does not parse: {0}")]
    Message(String),
    /// A message at the wrong moment.
    #[error("{0}")]
    OutOfTurn(&'static str),
}

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    start: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder that refuses bodies above `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            limit: limit.min(MAX_BODY),
        }
    }

    /// Changes the limit for frames not yet begun.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(MAX_BODY);
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` until more bytes have come. After a [`Violation`] the decoder stays where it is.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, Violation> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let Some((head, rest)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [a, b, c, d, kind] = *head;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > self.limit {
            return Err(Violation::TooLong {
                length,
                limit: self.limit,
            });
        }
        if kind > 1 {
            return Err(Violation::UnknownType(kind));
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let body = body.to_vec();
        self.start += HEADER + length;
        Ok(Some(if kind == 0 {
            Frame::Json(body)
        } else {
            Frame::Chunk(body)
        }))
    }

    /// Bytes held that belong to no whole frame yet.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.bytes.len() - self.start
    }
}

/// A message as a frame.
pub(crate) fn encode(message: &ToProbe) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    // Serialising to a vector fails only for maps with keys that are no strings; our messages have none.
    let written = serde_json::to_writer(&mut frame, message);
    debug_assert!(written.is_ok(), "messages of ours serialise");
    let length = (frame.len() - HEADER) as u32;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame
}

/// What the hub says.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToProbe {
    /// What to report unasked.
    Config {
        /// Samples per second, 0 for none.
        hz: f64,
        /// Whether to follow the collections the runtime makes by itself.
        gc: bool,
    },
    /// A call.
    Cmd {
        /// Its answer carries the same.
        id: u64,
        /// What to do.
        op: &'static str,
        /// With what.
        args: Value,
        /// Time until nobody waits for the answer any more.
        deadline_ms: u64,
    },
    /// Nobody waits for this call any more.
    Cancel {
        /// Of the call.
        id: u64,
    },
}

/// What a probe says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromProbe {
    /// Who it is; the first message.
    Hello(Hello),
    /// Names of the values in samples.
    Schema {
        /// In their order.
        names: Vec<String>,
    },
    /// A sample.
    S {
        /// Microseconds on the monotonic clock.
        at_us: f64,
        /// By the schema; `None` where a value was not read this time.
        values: Vec<Option<f64>>,
    },
    /// A collection the runtime made by itself.
    Gc(GcEvent),
    /// Messages the probe dropped because we were slow.
    Drop {
        /// How many.
        n: u64,
    },
    /// Something it cannot observe any more.
    Gap {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// The answer to a call.
    Reply(Reply),
    /// Anything newer than we are.
    #[serde(other)]
    Unknown,
}

impl FromProbe {
    /// Reads a message.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Violation> {
        serde_json::from_slice(body).map_err(|error| Violation::Message(error.to_string()))
    }
}

/// Who a probe is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Hello {
    pub(crate) proto: u32,
    #[serde(default)]
    pub(crate) token: String,
    pub(crate) pid: u32,
    pub(crate) isolate: u32,
    pub(crate) runtime: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) caps: Vec<String>,
    #[serde(default)]
    pub(crate) gaps: Vec<WireGap>,
    #[serde(default)]
    pub(crate) argv: Vec<String>,
    #[serde(default)]
    pub(crate) exec_argv: Vec<String>,
    #[serde(default)]
    pub(crate) heap_limit: Option<f64>,
    /// When the first readings were taken, with which it introduces itself.
    #[serde(default)]
    pub(crate) at_us: f64,
    #[serde(default)]
    pub(crate) values: BTreeMap<String, f64>,
}

/// Something a probe cannot observe.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct WireGap {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// A collection the runtime made by itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct GcEvent {
    pub(crate) at_us: f64,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) pause_us: f64,
    #[serde(default)]
    pub(crate) used_after: Option<f64>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    #[serde(default)]
    pub(crate) ok: Option<Value>,
    #[serde(default)]
    pub(crate) error: Option<Failure>,
}

/// Why a probe did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Failure {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) message: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_giant_frame_is_refused_by_its_head() {
        let mut decoder = Decoder::new(MAX_BODY);
        decoder.push(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert!(matches!(
            decoder.next_frame(),
            Err(Violation::TooLong { .. })
        ));
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let mut decoder = Decoder::new(MAX_BODY);
        decoder.push(&frame(2, b"x"));
        assert_eq!(decoder.next_frame(), Err(Violation::UnknownType(2)));
    }

    #[test]
    fn unknown_messages_and_fields_are_ignored() {
        let newer = FromProbe::parse(br#"{"type":"telepathy","n":[1,{}]}"#);
        assert_eq!(newer, Ok(FromProbe::Unknown));
        let drop = FromProbe::parse(br#"{"type":"drop","n":3,"why":"slow"}"#);
        assert_eq!(drop, Ok(FromProbe::Drop { n: 3 }));
    }

    #[test]
    fn a_message_of_ours_is_one_frame() {
        let bytes = encode(&ToProbe::Cancel { id: 7 });
        let mut decoder = Decoder::new(MAX_BODY);
        decoder.push(&bytes);
        let Ok(Some(Frame::Json(body))) = decoder.next_frame() else {
            panic!("one JSON frame");
        };
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value, serde_json::json!({"type": "cancel", "id": 7}));
        assert_eq!(decoder.held(), 0);
    }

    proptest! {
        /// However the stream is cut, the same frames come out.
        #[test]
        fn frames_survive_any_cut(
            bodies in prop::collection::vec((0..2_u8, prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            cuts in prop::collection::vec(1..64_usize, 1..200),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|(kind, body)| frame(*kind, body)).collect();
            let mut decoder = Decoder::new(MAX_BODY);
            let mut found = Vec::new();
            let mut rest = stream.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                decoder.push(now);
                rest = later;
                while let Some(frame) = decoder.next_frame().unwrap() {
                    found.push(frame);
                }
            }
            let expected: Vec<Frame> = bodies
                .into_iter()
                .map(|(kind, body)| if kind == 0 { Frame::Json(body) } else { Frame::Chunk(body) })
                .collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(decoder.held(), 0);
        }

        /// Arbitrary bytes end in frames, in waiting or in a violation: never in a panic or in more memory than they are.
        #[test]
        fn arbitrary_bytes_never_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
            let mut decoder = Decoder::new(4096);
            let mut pushed = 0;
            'stream: for chunk in chunks {
                decoder.push(&chunk);
                pushed += chunk.len();
                loop {
                    match decoder.next_frame() {
                        Ok(Some(Frame::Json(body) | Frame::Chunk(body))) => {
                            prop_assert!(body.len() <= 4096);
                            let _ = FromProbe::parse(&body);
                        }
                        Ok(None) => break,
                        Err(_) => break 'stream,
                    }
                }
                prop_assert!(decoder.held() <= pushed);
            }
        }

        /// As above, with a head that is in step, so that the parser sees its share of bytes.
        #[test]
        fn arbitrary_messages_never_panic(body in "\\PC{0,200}") {
            let _ = FromProbe::parse(body.as_bytes());
        }
    }
}
