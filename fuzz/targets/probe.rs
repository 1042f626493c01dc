//! What a subject may send to the probe hub: any stream of bytes, in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the hub's side is not under test")]
#[path = "../../crates/probe/src/protocol.rs"]
mod protocol;

use protocol::{Decoder, Frame, FromProbe, MAX_BODY};

fuzz_target!(|bytes: &[u8]| {
    let Some((&cut, stream)) = bytes.split_first() else {
        return;
    };
    let frames = |piece: usize| {
        let mut decoder = Decoder::new(MAX_BODY);
        let mut found = Vec::new();
        for piece in stream.chunks(piece) {
            decoder.push(piece);
            loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => found.push(frame),
                    Ok(None) => break,
                    Err(_) => return found,
                }
            }
        }
        found
    };
    let whole = frames(stream.len().max(1));
    for frame in &whole {
        let (Frame::Json(body) | Frame::Chunk(body)) = frame;
        assert!(body.len() <= MAX_BODY);
        let _ = FromProbe::parse(body);
    }
    assert_eq!(
        frames(usize::from(cut).max(1)),
        whole,
        "the same stream, cut elsewhere"
    );
});
