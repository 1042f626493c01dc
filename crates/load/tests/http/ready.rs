//! Readiness: who answers is ready, who listens is not silent.

use std::time::{Duration, Instant};

use crate::server::{Reply, Server, answer, silent_address, text};
use plimsoll_load::{Error, StatusRanges, Url, Wire, port_is_silent, probe_ready};

const PATIENT: Duration = Duration::from_secs(20);

fn check(
    accept: &str,
    timeout: Duration,
    expected: &str,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) {
    let server = Server::start(move |exchange| {
        assert!(exchange.head.starts_with("GET /health/0 HTTP/1.1\r\n"));
        assert!(exchange.head.contains("\r\nConnection: close\r\n"));
        reply()
    });
    let url = Url::parse(&server.url("/health/{{seq}}")).unwrap();
    let accept = if accept.is_empty() {
        StatusRanges::default()
    } else {
        accept.parse().unwrap()
    };
    assert!(!port_is_silent(&url));
    let seen = match probe_ready(&url, &Wire::default(), timeout, &accept) {
        Ok(status) => status.to_string(),
        Err(Error::NotReady { status, reason, .. }) => format!("{status:?}: {reason}"),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(seen, expected);
}

#[test]
fn any_answer_counts_unless_statuses_are_named() {
    check("", PATIENT, "200", || answer("200 OK", "hi"));
    check("", PATIENT, "503", || {
        answer("503 Service Unavailable", "starting")
    });
    check("2xx,401", PATIENT, "401", || answer("401 Unauthorized", ""));
    check(
        "2xx",
        PATIENT,
        "Some(503): it answered with status 503",
        || answer("503 Service Unavailable", ""),
    );
    check("", PATIENT, "204", || {
        text("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    });
}

#[test]
fn a_body_without_end_is_not_waited_for() {
    let begun = Instant::now();
    check("", PATIENT, "200", || {
        text("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
    });
    check("", PATIENT, "200", || {
        text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense")
    });
    assert!(begun.elapsed() < PATIENT);
}

#[test]
fn no_answer_is_not_ready() {
    check(
        "",
        Duration::from_millis(50),
        "None: no answer within 50 ms",
        || Reply::Hang,
    );
    check("", PATIENT, "None: closed before the answer", || {
        Reply::Close
    });
    check("", PATIENT, "None: malformed response", || {
        text("SSH-2.0-OpenSSH\r\n")
    });
}

#[test]
fn nobody_is_silent() {
    let url = Url::parse(&format!("http://{}/", silent_address())).unwrap();
    assert!(port_is_silent(&url));
    let error = probe_ready(&url, &Wire::default(), PATIENT, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{url} is not ready: nobody listens")
    );
}

#[test]
fn localhost_is_silent_only_if_both_addresses_are() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = std::net::TcpListener::bind(address) else {
            eprintln!("skipped: this machine has no {address}");
            continue;
        };
        let server = Server::on(listener, true, true, |_| answer("200 OK", ""));
        let url = Url::parse(&format!("http://localhost:{}/", server.address.port())).unwrap();
        assert!(!port_is_silent(&url));
        assert_eq!(
            probe_ready(&url, &Wire::default(), PATIENT, &[]).unwrap(),
            200
        );
        server.kill();
        assert!(port_is_silent(&url));
    }
}
