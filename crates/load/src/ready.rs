//! Whether a URL answers, and whether its port is silent: asked before and while a subject starts.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Cx, Mode, RoundSpec};
use tungstenite::handshake::client::generate_key;

use crate::connection::is_own_end;
use crate::meter::Failure;
use crate::request::Rendering;
use crate::response::{Capture, Fed, ResponseParser};
use crate::values::{Names, Random, Values};
use crate::{
    Driver as _, Error, Expect, HttpDriver, HttpRequest, Plan, Scheme, StatusRange, Step, Url, Wire,
};

/// What is read of a body so that the server need not see us hang up on it.
const POLITE_BYTES: usize = 1024 * 1024;
/// And for how long.
const POLITE_TIME: Duration = Duration::from_millis(250);

/// Asks `url` once, by `GET` with `Connection: close`, and returns the status of its answer. `{{seq}}` is 0. A WebSocket is
/// asked to open, and left at once.
///
/// Any answer counts, whatever its status, unless `accept` names some.
///
/// # Errors
/// [`Error::NotReady`] if there is no answer within `timeout`, or one with another status; [`Error::Unfit`] if there never
/// will be one: no certificate that is trusted, another protocol.
pub fn probe_ready(
    url: &Url,
    wire: &Wire,
    timeout: Duration,
    accept: &[StatusRange],
) -> Result<u16, Error> {
    let not_ready = |status, reason: String| Error::NotReady {
        url: url.to_string(),
        status,
        reason,
    };
    let deadline = Instant::now() + timeout;
    let asked = Url {
        scheme: if url.scheme.is_secure() {
            Scheme::Https
        } else {
            Scheme::Http
        },
        ..url.clone()
    };
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let request = HttpRequest {
        headers: if url.scheme.is_websocket() {
            vec![
                header("Connection", "Upgrade"),
                header("Upgrade", "websocket"),
                header("Sec-WebSocket-Version", "13"),
                header("Sec-WebSocket-Key", &generate_key()),
            ]
        } else {
            vec![header("Connection", "close")]
        },
        timeout,
        ..HttpRequest::get(asked.to_string())
    };
    let is_right = |status| {
        if accept.is_empty() || accept.iter().any(|range| range.contains(status)) {
            return Ok(status);
        }
        Err(not_ready(
            Some(status),
            format!("it answered with status {status}"),
        ))
    };
    if url.scheme.is_secure() || wire.http2 {
        return match ask_by_driver(request, url, wire)? {
            Ok(status) => is_right(status),
            Err(reason) => Err(not_ready(None, reason)),
        };
    }
    let rendering = Rendering::try_new(&request, &asked, &Names::default())?;
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
            Ok(status) => return is_right(status),
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

/// The body of the answer to a `GET` of `url`, redirects on the same server followed.
///
/// # Errors
/// [`Error::NotReady`] if there is none with a status of 200 to 299 and at most `most` bytes within `timeout`.
pub fn fetch(url: &Url, wire: &Wire, timeout: Duration, most: usize) -> Result<Vec<u8>, Error> {
    let not_ready = |status, reason: String| Error::NotReady {
        url: url.to_string(),
        status,
        reason,
    };
    let request = HttpRequest {
        timeout,
        ..HttpRequest::get(url.to_string())
    };
    let (status, body) =
        exchange(request, wire.clone(), most + 1)?.map_err(|reason| not_ready(None, reason))?;
    match status {
        200..=299 if body.len() <= most => Ok(body),
        200..=299 => {
            let most = plimsoll_model::units::bytes(most as f64);
            Err(not_ready(
                Some(status),
                format!("its answer has more than {most}"),
            ))
        }
        _ => Err(not_ready(
            Some(status),
            format!("it answered with status {status}"),
        )),
    }
}

/// One request through a driver, which speaks everything; the status of its answer, or why there is none.
fn ask_by_driver(
    request: HttpRequest,
    url: &Url,
    wire: &Wire,
) -> Result<Result<u16, String>, Error> {
    let wire = Wire {
        http2: wire.http2 && !url.scheme.is_websocket(),
        trust: wire.trust.clone(),
    };
    Ok(exchange(request, wire, 0)?.map(|(status, _)| status))
}

/// One request; status and body of its answer, the latter up to `kept` bytes, or why there is none.
fn exchange(
    request: HttpRequest,
    wire: Wire,
    kept: usize,
) -> Result<Result<(u16, Vec<u8>), String>, Error> {
    let timeout = request.timeout;
    let any = StatusRange::new(100, 999).into_iter().collect::<Vec<_>>();
    let step = Step {
        redirects: if kept > 0 { 5 } else { 0 },
        expect: Expect {
            // Every text holds nothing; to look for it is why a body is kept.
            contains: (kept > 0).then(String::new),
            ..Expect::default()
        },
        ..Step::of(HttpRequest {
            expect_status: any.into(),
            ..request
        })
    };
    let plan = Plan {
        steps: vec![step],
        keep_alive: false,
        wire,
        ..Plan::of([])
    };
    let mut driver = HttpDriver::with_plan(plan, 1)?;
    driver.keep_bodies_up_to(kept);
    let cancel = Cancel::try_new().map_err(|source| Error::Io {
        doing: "ask whether it is ready",
        source,
    })?;
    let cx = Cx::within(&cancel, timeout + Duration::from_millis(100));
    let spec = RoundSpec::new(1, Mode::Closed { concurrency: 1 });
    Ok(match driver.round(&spec, &cx) {
        Ok(stats) => match stats.errors_by_kind.into_keys().next() {
            None => Ok((driver.last_status(), driver.last_body().to_vec())),
            Some(kind) => Err(kind),
        },
        Err(Error::ServerLost { .. }) => Err("nobody listens".to_owned()),
        Err(error @ (Error::Unfit { .. } | Error::Io { .. })) => return Err(error),
        Err(error) => Err(error.to_string()),
    })
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
