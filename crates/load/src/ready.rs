//! Whether a URL answers, and whether its port is silent: asked before and while a subject starts.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::connection::is_own_end;
use crate::meter::Failure;
use crate::request::Rendering;
use crate::response::{Capture, Fed, ResponseParser};
use crate::values::{Names, Random, Values};
use crate::{Error, HttpRequest, StatusRange, Url};

/// What is read of a body so that the server need not see us hang up on it.
const POLITE_BYTES: usize = 1024 * 1024;
/// And for how long.
const POLITE_TIME: Duration = Duration::from_millis(250);

/// Asks `url` once, by `GET` with `Connection: close`, and returns the status of its answer. `{{seq}}` is 0.
///
/// Any answer counts, whatever its status, unless `accept` names some.
///
/// # Errors
/// [`Error::NotReady`] if there is no answer within `timeout`, or one with another status.
pub fn probe_ready(url: &Url, timeout: Duration, accept: &[StatusRange]) -> Result<u16, Error> {
    let not_ready = |status, reason: String| Error::NotReady {
        url: url.to_string(),
        status,
        reason,
    };
    let deadline = Instant::now() + timeout;
    let request = HttpRequest {
        headers: vec![("Connection".into(), "close".into())],
        ..HttpRequest::get(url.to_string())
    };
    let rendering = Rendering::try_new(&request, url, &Names::default())?;
    let mut bytes = Vec::new();
    let mut values = Values {
        seq: 0,
        random: &mut Random::new(0),
        row: &[],
        variables: &[],
    };
    rendering
        .render(&mut values, &mut Vec::new(), &mut bytes, |_| {})
        .map_err(|_| not_ready(None, "it has variables".to_owned()))?;

    let addresses = url
        .addresses()
        .map_err(|e| not_ready(None, format!("its host cannot be looked up, {e}")))?;
    let mut reason = String::new();
    for address in addresses {
        match ask(address, &bytes, deadline) {
            Ok(status)
                if accept.is_empty() || accept.iter().any(|range| range.contains(status)) =>
            {
                return Ok(status);
            }
            Ok(status) => {
                return Err(not_ready(
                    Some(status),
                    format!("it answered with status {status}"),
                ));
            }
            // What the first address says is the reason, unless another gets further.
            Err(e) if reason.is_empty() || e.kind() != ErrorKind::ConnectionRefused => {
                reason = match e.kind() {
                    ErrorKind::ConnectionRefused => "nobody listens".into(),
                    ErrorKind::TimedOut | ErrorKind::WouldBlock => format!(
                        "no answer within {}",
                        plimsoll_model::units::duration(timeout.as_secs_f64())
                    ),
                    _ => e.to_string(),
                };
            }
            Err(_) => {}
        }
    }
    Err(not_ready(None, reason))
}

/// Whether nobody accepts a TCP connection at the port of `url`, on any address of its host.
///
/// A host that cannot be looked up is silent.
pub fn port_is_silent(url: &Url) -> bool {
    let addresses = url.addresses().unwrap_or_default();
    // On loopback a refusal is immediate; one who does not answer has a full queue, and is there.
    addresses
        .iter()
        .all(|address| match connect(*address, Duration::from_secs(1)) {
            Ok(_) => false,
            Err(e) => !(e.kind() == ErrorKind::TimedOut && address.ip().is_loopback()),
        })
}

/// The first address that accepts a connection, each tried for `patience`.
pub(crate) fn first_that_accepts(
    addresses: &[SocketAddr],
    patience: Duration,
) -> Option<SocketAddr> {
    addresses
        .iter()
        .copied()
        .find(|address| connect(*address, patience).is_ok())
}

fn connect(address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    // Zero is refused by std.
    let stream = TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))?;
    if is_own_end(stream.local_addr(), address) {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// One request, one status.
fn ask(address: SocketAddr, request: &[u8], deadline: Instant) -> io::Result<u16> {
    let left = |until: Instant| match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let failed = |failure: Failure| io::Error::new(ErrorKind::InvalidData, failure.to_string());
    let mut stream = connect(address, left(deadline)?)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request)?;

    let mut parser = ResponseParser::new();
    parser.begin(false, Capture::NOTHING);
    let mut buffer = vec![0; 16 * 1024];
    let mut until = deadline;
    let mut bytes = 0;
    loop {
        let status = parser.answer().status;
        let is_known = status != 0;
        let received = left(until)
            .and_then(|left| stream.set_read_timeout(Some(left)))
            .and_then(|()| stream.read(&mut buffer));
        let received = match received {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            // The status was the question; how the body ends is not.
            Ok(0) | Err(_) if is_known => return Ok(status),
            Ok(0) => return Err(failed(parser.end().err().unwrap_or(Failure::ClosedBefore))),
            received => received?,
        };
        bytes += received;
        let fed = parser.feed(&buffer[..received]);
        let answer = parser.answer();
        if answer.status != 0 {
            let goes_on = matches!(fed, Ok(Fed { complete, .. }) if !complete);
            if !goes_on || bytes > POLITE_BYTES {
                return Ok(answer.status);
            }
            until = until.min(Instant::now() + POLITE_TIME);
        } else if let Err(failure) = fed {
            return Err(failed(failure));
        }
    }
}
