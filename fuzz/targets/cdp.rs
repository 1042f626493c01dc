//! What may come out of an inspector's port: answers to HTTP, web socket frames, messages. A real connection over loopback, so that
//! lengths, masks and fragments go through the same code as in a run.
#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use plimsoll_model::{Cancel, Cx};
use plimsoll_probe::{Cdp, Target, targets};
use tungstenite::handshake::derive_accept_key;

/// The last input, for the thread that answers.
static TO_SAY: std::sync::Mutex<Vec<u8>> = std::sync::Mutex::new(Vec::new());

fn address() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || listener.incoming().flatten().for_each(|mut s| drop(answer(&mut s))));
        address
    })
}

/// Says the input, behind the handshake if one is asked for, and ends.
fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        asked.push(byte[0]);
    }
    let asked = String::from_utf8_lossy(&asked);
    let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    if let Some(key) = key {
        write!(
            stream,
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.trim().as_bytes())
        )?;
    }
    let said = TO_SAY.lock().map(|bytes| bytes.clone()).unwrap_or_default();
    stream.write_all(&said)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Until the other side has gone, or what it says would be answered by a reset.
    while stream.read(&mut [0; 512])? > 0 {}
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, said)) = bytes.split_first() else {
        return;
    };
    if let Ok(mut to_say) = TO_SAY.lock() {
        to_say.clear();
        to_say.extend_from_slice(said);
    }
    let address = address();
    let cx = Cx::within(&Cancel::try_new().expect("descriptors"), Duration::from_secs(5));
    if mode % 4 == 0 {
        let _ = targets(address, &cx);
        return;
    }
    let target = Target::at(&format!("ws://{address}/id"));
    let mut heard = 0_usize;
    if let Ok(mut cdp) = Cdp::connect(address, &target, &cx) {
        let _ = cdp.call("Runtime.enable", &serde_json::json!({}), &cx, &mut |event| {
            heard += event.params.len();
            Ok(())
        });
    }
    assert!(heard <= said.len(), "more was heard than said");
});
