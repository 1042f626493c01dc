//! Rounds against servers that fail: every failure is counted once, none is retried, and no round hangs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plimsoll_load::{Driver, Error, HttpDriver, HttpRequest};
use plimsoll_model::{Cancel, Cx, RoundStats};

use crate::server::{Reply, Server, answer, silent_address, text};
use crate::{cx, driver, spec};

/// More than any of these rounds should take, less than the driver's own timeout of an operation.
const PROMPT: Duration = Duration::from_secs(20);

/// Drives one round and holds it to its promise.
fn round(driver: &mut HttpDriver, operations: u64, concurrency: u32) -> RoundStats {
    let stats = driver.round(&spec(operations, concurrency), &cx()).unwrap();
    assert_eq!(stats.done + stats.errors(), operations);
    assert_eq!(stats.per_operation[0].errors, stats.errors());
    stats
}

fn kinds(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected
        .iter()
        .map(|(kind, n)| ((*kind).to_owned(), *n))
        .collect()
}

#[test]
fn wrong_statuses_are_errors_and_keep_the_connection() {
    let server = Server::start(|exchange| match exchange.number % 4 {
        0 => answer("404 Not Found", ""),
        1 => answer("200 OK", ""),
        2 => answer("302 Found", ""),
        _ => answer("500 Internal Server Error", "oh"),
    });
    let mut default = driver(HttpRequest::get(server.url("/")));
    let stats = round(&mut default, 400, 7);
    assert_eq!(stats.done, 200);
    assert_eq!(
        stats.errors_by_kind,
        kinds(&[("status 404", 100), ("status 500", 100)])
    );
    assert_eq!((stats.connections, stats.reconnects), (7, 0));

    let mut picky = driver(HttpRequest {
        expect_status: "5xx,404".parse().unwrap(),
        ..HttpRequest::get(server.url("/"))
    });
    let stats = round(&mut picky, 400, 7);
    assert_eq!(
        stats.errors_by_kind,
        kinds(&[("status 200", 100), ("status 302", 100)])
    );
}

#[test]
fn dropped_answers_are_counted_to_the_last() {
    for (reply, kind) in [
        ("close", "closed before the answer"),
        ("reset", "connection reset"),
        ("half", "closed inside the answer"),
        ("garbage", "malformed response"),
        ("upgrade", "status 101"),
    ] {
        let server = Server::start(move |exchange| {
            if exchange.number % 50 != 49 {
                return answer("200 OK", "hello");
            }
            match reply {
                "close" => Reply::Close,
                "reset" => Reply::Reset,
                "half" => {
                    Reply::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe".into())
                }
                "garbage" => text("\x16\x03\x01 what is this"),
                _ => text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x01"),
            }
        });
        let mut driver = driver(HttpRequest::get(server.url("/")));
        for n in 1..=2 {
            let stats = round(&mut driver, 1_000, 7);
            assert_eq!(stats.errors_by_kind, kinds(&[(kind, 20)]));
            assert_eq!(stats.done, 980);
            assert_eq!(server.counts().requests, n * 1_000, "none is retried");
            assert_eq!(driver.quiesce(&cx()).unwrap().connections, 7);
        }
    }
}

#[test]
fn replaced_connections_are_counted() {
    let server = Server::start(|exchange| {
        if exchange.number == 10 {
            Reply::Close
        } else {
            answer("200 OK", "")
        }
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    let stats = round(&mut driver, 200, 2);
    assert_eq!((stats.connections, stats.reconnects), (2, 1));
    assert_eq!(round(&mut driver, 200, 2).reconnects, 0);
}

#[test]
fn a_connection_closed_after_its_answer_costs_nothing_or_one_error() {
    // Nobody can know whether a request still reaches a server that is just closing; what was answered is certain.
    let server = Server::start(|exchange| {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if exchange.number_on_connection == 9 {
            Reply::SendAndClose(bytes.to_vec())
        } else {
            Reply::Send(vec![bytes.to_vec()])
        }
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    for _ in 0..3 {
        let before = server.counts().answers;
        let stats = round(&mut driver, 1_000, 7);
        assert_eq!(server.counts().answers - before, stats.done);
        assert!(stats.reconnects > 50);
        for kind in stats.errors_by_kind.keys() {
            assert!(
                ["connection reset", "closed before the answer"].contains(&kind.as_str()),
                "{kind}"
            );
        }
        assert_eq!(driver.quiesce(&cx()).unwrap().connections, 7);
    }
    assert!(!driver.closes_idle());
}

#[test]
fn a_server_that_closes_at_once_does_not_hang_the_round() {
    let server = Server::start(|_| Reply::Close);
    let mut driver = driver(HttpRequest::get(server.url("/")));
    let stats = round(&mut driver, 300, 7);
    assert_eq!(
        stats.errors_by_kind,
        kinds(&[("closed before the answer", 300)])
    );
}

#[test]
fn what_lies_behind_an_answer_is_not_the_next_one() {
    let server = Server::start(|_| {
        text(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        )
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    let stats = round(&mut driver, 50, 3);
    assert_eq!((stats.done, server.counts().requests), (50, 50));
    assert!(stats.reconnects >= 47);
}

#[test]
fn slow_answers_time_out() {
    let server = Server::start(|_| Reply::Hang);
    let mut driver = driver(HttpRequest {
        timeout: Duration::from_millis(100),
        ..HttpRequest::get(server.url("/"))
    });
    let stats = round(&mut driver, 10, 4);
    assert_eq!(stats.errors_by_kind, kinds(&[("timeout", 10)]));
    assert!(
        stats.elapsed >= Duration::from_millis(300),
        "{:?}",
        stats.elapsed
    );
}

#[test]
fn an_answer_without_end_times_out() {
    let server = Server::start(|_| {
        text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    });
    let mut driver = driver(HttpRequest {
        timeout: Duration::from_millis(100),
        ..HttpRequest::get(server.url("/"))
    });
    assert_eq!(
        round(&mut driver, 4, 4).errors_by_kind,
        kinds(&[("timeout", 4)])
    );
}

/// The first operation is answered without end; it costs one error, and the others of the round are answered.
fn check_flood(start: &'static str, more: &'static str, operations: u64, timeout: Duration) {
    let server = Server::start(move |exchange| {
        if exchange.number == 0 {
            Reply::Flood(start.as_bytes(), more.as_bytes())
        } else {
            answer("200 OK", "")
        }
    });
    let mut driver = driver(HttpRequest {
        timeout,
        ..HttpRequest::get(server.url("/"))
    });
    let stats = round(&mut driver, operations, 2);
    assert_eq!(stats.errors_by_kind, kinds(&[("timeout", 1)]));
}

#[test]
fn a_flood_times_out_and_leaves_the_others_their_turn() {
    let short = Duration::from_millis(200);
    check_flood(
        "HTTP/1.1 200 OK\r\n\r\n",
        "abcdefgh",
        200,
        Duration::from_secs(3),
    );
    check_flood(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "1\r\na\r\n",
        1,
        short,
    );
    check_flood("", "HTTP/1.1 100 Continue\r\n\r\n", 1, short);
}

#[test]
fn all_at_once_is_counted_by_kind() {
    let server = Server::start(|exchange| match exchange.number % 8 {
        0 => answer("500 Internal Server Error", "oh"),
        1 => Reply::Close,
        2 => Reply::Reset,
        3 => text("no HTTP"),
        4 => Reply::SendAndClose(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".into()),
        5 => Reply::SendAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhe".into()),
        6 => text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
        _ => answer("200 OK", "hello"),
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    for _ in 0..3 {
        let stats = round(&mut driver, 800, 16);
        let each = [
            "status 500",
            "closed before the answer",
            "connection reset",
            "malformed response",
            "closed inside the answer",
        ]
        .map(|kind| (kind, 100));
        assert_eq!(stats.errors_by_kind, kinds(&each));
        assert_eq!(stats.done, 300);
        assert_eq!(driver.quiesce(&cx()).unwrap().connections, 16);
    }
    assert_eq!(server.counts().requests, 2_400);
}

#[test]
fn an_answer_to_an_unread_body_counts() {
    // It announces the end: a body that was sent whole before the answer came would leave the connection usable.
    let server = Server::ignoring_bodies(|_| {
        text("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    });
    let mut driver = driver(HttpRequest {
        method: "POST".into(),
        body: Some(vec![b'x'; 16 * 1024 * 1024]),
        ..HttpRequest::get(server.url("/"))
    });
    assert_eq!(
        round(&mut driver, 6, 2).errors_by_kind,
        kinds(&[("status 413", 6)])
    );
}

#[test]
fn nobody_listening_is_a_lost_server() {
    let address = silent_address();
    let mut driver = driver(HttpRequest::get(format!("http://{address}/")));
    let begun = Instant::now();
    for operations in [20, 0] {
        let error = driver.round(&spec(operations, 10), &cx()).unwrap_err();
        assert!(matches!(error, Error::ServerLost { .. }), "{error:?}");
        let stats = error.stats().unwrap();
        assert_eq!((stats.done, stats.errors()), (0, operations));
    }
    // With more operations than can fail in this time it is given up all the same.
    let error = driver.round(&spec(1_000_000, 10), &cx()).unwrap_err();
    assert!(matches!(error, Error::ServerLost { .. }), "{error:?}");
    let refused = error.stats().unwrap().errors_by_kind["connection refused"];
    assert!((10..=1_000).contains(&refused), "{refused}");
    assert!(begun.elapsed() < PROMPT);
}

#[test]
fn a_server_killed_in_a_round_is_lost_with_what_was_done() {
    let server = Arc::new(Server::start(|_| answer("200 OK", "")));
    let mut driver = driver(HttpRequest::get(server.url("/")));
    let killer = std::thread::spawn({
        let server = server.clone();
        move || {
            server.wait("500 requests", |c| c.requests >= 500);
            server.kill();
        }
    });
    let begun = Instant::now();
    let error = driver.round(&spec(100_000_000, 10), &cx()).unwrap_err();
    killer.join().unwrap();
    assert!(matches!(error, Error::ServerLost { .. }), "{error:?}");
    let stats = error.stats().unwrap();
    assert!(stats.done >= 490, "{}", stats.done);
    assert!(stats.errors() > 0 && stats.done + stats.errors() < 100_000_000);
    assert_eq!(stats.connections, 0);
    assert!(begun.elapsed() < PROMPT);

    let error = driver.quiesce(&cx()).unwrap_err();
    assert_eq!(
        error.stats().unwrap().done,
        0,
        "the round's counts are told once"
    );
}

#[test]
fn a_restart_costs_errors_and_not_the_round() {
    let first = Arc::new(Server::start(|_| answer("200 OK", "")));
    let address = first.address;
    let mut driver = driver(HttpRequest::get(first.url("/")));
    let restarter = std::thread::spawn({
        let first = first.clone();
        move || {
            first.wait("500 requests", |c| c.requests >= 500);
            first.kill();
            let listener = TcpListener::bind(address).unwrap();
            Server::on(listener, true, true, |_| answer("200 OK", ""))
        }
    });
    let stats = round(&mut driver, 20_000, 10);
    let second = restarter.join().unwrap();
    assert!(stats.errors() <= 1_000, "{:?}", stats.errors_by_kind);
    assert!(second.counts().answers >= 10_000);
    assert_eq!(stats.connections, 10);
    assert!(stats.reconnects >= 10);
}

#[test]
fn cancelled_and_late_rounds_return_at_once() {
    let hangs = Arc::new(AtomicBool::new(true));
    let server = Arc::new(Server::start({
        let hangs = hangs.clone();
        move |exchange| {
            if exchange.number >= 20 && hangs.load(Ordering::SeqCst) {
                Reply::Hang
            } else {
                answer("200 OK", "")
            }
        }
    }));
    let mut driver = driver(HttpRequest::get(server.url("/")));
    let begun = Instant::now();

    let cancel = Cancel::try_new().unwrap();
    let canceller = std::thread::spawn({
        let (server, cancel) = (server.clone(), cancel.clone());
        move || {
            server.wait("all hang", |c| c.requests >= 24);
            cancel.cancel();
        }
    });
    let error = driver
        .round(
            &spec(1_000, 4),
            &Cx::within(&cancel, Duration::from_mins(2)),
        )
        .unwrap_err();
    canceller.join().unwrap();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    let stats = error.stats().unwrap();
    assert_eq!(
        (stats.done, stats.errors()),
        (20, 0),
        "those in flight are in neither count"
    );
    let cx_over = Cx::within(&cancel, Duration::from_mins(2));
    assert!(matches!(
        driver.quiesce(&cx_over),
        Err(Error::Cancelled { .. })
    ));

    let soon = Cx::within(&Cancel::try_new().unwrap(), Duration::from_millis(100));
    let error = driver.round(&spec(1_000, 4), &soon).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error:?}");
    assert_eq!(error.stats().unwrap().done, 0);
    assert!(begun.elapsed() < PROMPT);

    // Nothing of them is left for the round after.
    hangs.store(false, Ordering::SeqCst);
    let stats = round(&mut driver, 100, 4);
    assert_eq!((stats.done, stats.reconnects), (100, 0));
}

#[test]
fn what_cannot_be_driven_is_said() {
    let try_new = |request| HttpDriver::try_new(request, 10).unwrap_err().to_string();
    assert!(try_new(HttpRequest::get("ftp://localhost/")).contains("only http, https"));
    assert!(try_new(HttpRequest::get("localhost")).contains("http://"));
    assert!(HttpDriver::try_new(HttpRequest::get("http://localhost/"), 0).is_err());
    let zero = HttpRequest {
        timeout: Duration::ZERO,
        ..HttpRequest::get("http://localhost/")
    };
    assert!(try_new(zero).contains("timeout"));
}

#[test]
fn heads_without_end_and_letters_that_are_none_are_survived() {
    // A megabyte of one header, and bytes that are no UTF-8 where a step looks into them.
    let server = Server::start(|exchange| {
        if exchange.number % 2 == 0 {
            let long = "x".repeat(1 << 20);
            Reply::SendAndClose(format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n").into_bytes())
        } else {
            Reply::Send(vec![
                b"HTTP/1.1 200 OK\r\nX-Id: \xff\xfe\r\nSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\n\xff\x00x".to_vec(),
            ])
        }
    });
    let mut step = plimsoll_load::Step::of(HttpRequest::get(server.url("/?{{id}}")));
    step.extract = vec![plimsoll_load::Extract {
        variable: "id".into(),
        from: "header:X-Id".parse().unwrap(),
    }];
    let plan = plimsoll_load::Plan {
        steps: vec![step],
        variables: vec![("id".into(), "0".into())],
        cookies: true,
        ..plimsoll_load::Plan::of([])
    };
    let mut driver = HttpDriver::with_plan(plan, 1).unwrap();
    let stats = round(&mut driver, 20, 1);
    assert_eq!(
        stats.errors_by_kind,
        kinds(&[("response head over 64 KiB", 10)])
    );
}

#[test]
fn a_round_of_refusals_for_haste_is_counted_and_advised() {
    let server = Server::start(|exchange| {
        if exchange.number % 5 == 4 {
            text("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        } else {
            answer("200 OK", "")
        }
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    let stats = round(&mut driver, 100, 5);
    assert_eq!(stats.errors_by_kind, kinds(&[("status 429", 20)]));
    let advice = driver.findings();
    assert!(
        advice[0].hint.as_ref().unwrap().contains("--rate"),
        "{advice:?}"
    );
}
