//! Rounds against well-behaved servers: exactly N operations, a constant number of connections.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plimsoll_load::{Driver, HttpDriver, HttpRequest};
use plimsoll_model::{RoundSpec, RoundStats};

use crate::server::{Reply, Server, answer, text};
use crate::{cx, driver, spec};

/// Drives a round that must go without an error.
fn clean(driver: &mut HttpDriver, operations: u64, concurrency: u32) -> RoundStats {
    let stats = driver.round(&spec(operations, concurrency), &cx()).unwrap();
    assert_eq!(
        stats.errors_by_kind,
        [].into(),
        "{operations} × {concurrency}"
    );
    assert_eq!(stats.done, operations);
    stats
}

#[test]
fn a_round_is_exactly_n_operations_on_the_same_connections() {
    for concurrency in [1, 7, 64] {
        let server = Server::start(|_| answer("200 OK", "hello"));
        let mut driver = driver(HttpRequest::get(server.url("/")));
        let mut total = 0;
        for operations in [0, 1, 3, 100, 1_001, 0, 50] {
            let stats = clean(&mut driver, operations, concurrency);
            total += operations;
            assert_eq!(stats.connections, concurrency);
            assert_eq!(stats.reconnects, 0);
            assert_eq!(stats.per_operation[0].done, operations);
            let quiet = driver.quiesce(&cx()).unwrap();
            assert_eq!((quiet.connections, quiet.settled), (concurrency, true));
            let counts = server.wait("accepted", |c| c.accepted >= u64::from(concurrency));
            assert_eq!(counts.requests, total);
            assert_eq!(counts.accepted, u64::from(concurrency));
        }
    }
}

#[test]
fn the_server_counts_the_same_as_we_do() {
    let server = Server::start(|_| answer("200 OK", &"x".repeat(300)));
    let mut driver = driver(HttpRequest {
        method: "POST".into(),
        body: Some(b"{\"n\":{{seq}}}".to_vec()),
        ..HttpRequest::get(server.url("/{{seq}}"))
    });
    let stats = clean(&mut driver, 10_000, 16);
    let counts = server.counts();
    assert_eq!((counts.requests, counts.answers), (10_000, 10_000));
    assert_eq!(
        (counts.bytes_in, counts.bytes_out),
        (stats.bytes_out, stats.bytes_in)
    );
    let latency = stats.latency;
    assert!(0 < latency.p50_ns && latency.p50_ns <= latency.p90_ns);
    assert!(latency.p90_ns <= latency.p99_ns && latency.p99_ns <= latency.max_ns);
    assert!(stats.cpu > Duration::ZERO && stats.cpu <= stats.elapsed);
    assert!(latency.max_ns <= stats.elapsed.as_nanos() as u64);
}

#[test]
fn the_number_of_connections_follows_the_round() {
    let server = Server::start(|_| answer("200 OK", ""));
    let mut driver = driver(HttpRequest::get(server.url("/")));
    for concurrency in [4, 9, 2] {
        let stats = clean(&mut driver, 20, concurrency);
        assert_eq!((stats.connections, stats.reconnects), (concurrency, 0));
        server.wait("as many", |c| c.open == u64::from(concurrency));
    }
    Box::new(driver).close();
    server.wait("closed", |c| c.open == 0);
}

#[test]
fn announced_ends_are_no_reconnects_and_leave_nothing_open() {
    let bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    let server = Server::start(|_| Reply::SendAndClose(bytes.to_vec()));
    let mut driver = driver(HttpRequest::get(server.url("/")));
    for round in 1..=3 {
        let stats = clean(&mut driver, 500, 7);
        assert_eq!(stats.reconnects, 0);
        assert_eq!(driver.announced_ends(), round * 500);
        let quiet = driver.quiesce(&cx()).unwrap();
        assert_eq!((quiet.connections, quiet.settled), (0, true));
        server.wait("closed", |c| c.open == 0);
    }
    assert_eq!(server.counts().requests, 1_500);
    assert!(!driver.closes_idle());
}

#[test]
fn a_rare_announced_end_is_made_up_for() {
    let server = Server::start(|exchange| {
        if exchange.number % 10 == 9 {
            Reply::SendAndClose(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".into(),
            )
        } else {
            answer("200 OK", "")
        }
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    for _ in 0..3 {
        let stats = clean(&mut driver, 200, 4);
        assert_eq!(stats.reconnects, 0);
        let quiet = driver.quiesce(&cx()).unwrap();
        assert_eq!((quiet.connections, quiet.settled), (4, true));
        server.wait("as many", |c| c.open == 4);
    }
    assert_eq!(driver.announced_ends(), 60);
}

#[test]
fn a_server_that_serves_one_connection_at_a_time_is_not_blocked() {
    let bytes = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n";
    let server = Server::one_at_a_time(|_| Reply::SendAndClose(bytes.to_vec()));
    let mut driver = driver(HttpRequest::get(server.url("/")));
    for operations in [50, 3, 0, 50] {
        clean(&mut driver, operations, 7);
        driver.quiesce(&cx()).unwrap();
    }
}

#[test]
fn connections_closed_while_idle_are_opened_before_anything_is_sent() {
    let server = Server::start(|_| answer("200 OK", ""));
    let mut driver = driver(HttpRequest::get(server.url("/")));
    clean(&mut driver, 100, 5);
    assert_eq!(driver.quiesce(&cx()).unwrap().connections, 5);
    assert!(!driver.closes_idle());

    server.close_connections();
    server.wait("closed", |c| c.open == 0);
    let stats = clean(&mut driver, 100, 5);
    assert_eq!((stats.connections, stats.reconnects), (5, 5));
    assert!(driver.closes_idle());

    // From now on nothing stays open, and that is no reconnection.
    for _ in 0..2 {
        let quiet = driver.quiesce(&cx()).unwrap();
        assert_eq!((quiet.connections, quiet.settled), (0, true));
        server.wait("closed", |c| c.open == 0);
        let stats = clean(&mut driver, 100, 5);
        assert_eq!((stats.connections, stats.reconnects), (5, 0));
    }
    assert_eq!(server.counts().requests, 400);
}

#[test]
fn a_connection_about_to_be_closed_is_not_used() {
    // As if it had been idle for as long as the server said it would bear.
    let server = Server::start(|_| {
        text("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 0\r\n\r\n")
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    clean(&mut driver, 100, 3);
    let stats = clean(&mut driver, 100, 3);
    assert_eq!((stats.connections, stats.reconnects), (3, 0));
    assert_eq!(server.wait("opened", |c| c.accepted >= 6).accepted, 6);
}

#[test]
fn numbers_are_unique_over_all_rounds() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start({
        let seen = seen.clone();
        move |exchange| {
            let path = exchange.head.split(' ').nth(1).unwrap().to_owned();
            let number = path.trim_start_matches("/user/").to_owned();
            let body = String::from_utf8(exchange.body.clone()).unwrap();
            assert!(
                exchange
                    .head
                    .contains(&format!("\r\nX-Request: r-{number}\r\n"))
            );
            assert_eq!(body, format!("{{\"id\":{number}}}"));
            seen.lock().unwrap().push(number);
            answer("200 OK", "")
        }
    });
    let mut driver = driver(HttpRequest {
        method: "POST".into(),
        headers: vec![("X-Request".into(), "r-{{seq}}".into())],
        body: Some(b"{\"id\":{{seq}}}".to_vec()),
        ..HttpRequest::get(server.url("/user/{{seq}}"))
    });
    clean(&mut driver, 150, 5);
    clean(&mut driver, 99, 8);
    let distinct = BTreeSet::from_iter(mem_take(&seen));
    assert_eq!(distinct.len(), 249);

    // On request all operations are the same, which tells whether distinct inputs are what leaks.
    let same = RoundSpec {
        distinct: false,
        ..spec(20, 5)
    };
    assert_eq!(driver.round(&same, &cx()).unwrap().done, 20);
    let same = BTreeSet::from_iter(mem_take(&seen));
    assert_eq!(same.len(), 1);
    clean(&mut driver, 1, 1);
    let after = BTreeSet::from_iter(mem_take(&seen));
    assert!(distinct.is_disjoint(&same) && distinct.is_disjoint(&after));
}

fn mem_take(seen: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *seen.lock().unwrap())
}

/// A server that always replies so is driven without an error, on connections that stay open or do not.
fn check_reply(method: &str, stays_open: bool, reply: impl Fn() -> Reply + Send + Sync + 'static) {
    let server = Server::start(move |_| reply());
    let mut driver = driver(HttpRequest {
        method: method.into(),
        ..HttpRequest::get(server.url("/"))
    });
    let stats = clean(&mut driver, 40, 3);
    assert_eq!(stats.reconnects, 0);
    assert_eq!(driver.announced_ends(), if stays_open { 0 } else { 40 });
    assert_eq!(server.counts().requests, 40);
}

#[test]
fn answers_of_all_shapes_are_read_to_their_end() {
    let segments = |text: &str| Reply::Send(text.bytes().map(|b| vec![b]).collect());
    check_reply("GET", true, move || {
        segments(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n6;a=b\r\npedia.\r\n0\r\nDigest: x\r\n\r\n",
        )
    });
    check_reply("GET", true, move || {
        segments("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    });
    check_reply("GET", true, || {
        let body = "0123456789abcdef".repeat(64 * 1024);
        text(&format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    });
    check_reply("GET", true, || text("HTTP/1.1 204 No Content\r\n\r\n"));
    check_reply("GET", true, || {
        text("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n")
    });
    check_reply("HEAD", true, || {
        text("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
    });
    check_reply("GET", true, || {
        Reply::Send(vec![
            b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
            b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 200".to_vec(),
            b" OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ])
    });
    check_reply("GET", false, || {
        Reply::SendAndClose(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec())
    });
}

#[test]
fn cookies_are_counted_and_not_sent() {
    let server = Server::start(|exchange| {
        assert!(!exchange.head.to_ascii_lowercase().contains("\r\ncookie:"));
        text("HTTP/1.1 200 OK\r\nSet-Cookie: sid=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n")
    });
    let mut driver = driver(HttpRequest::get(server.url("/")));
    clean(&mut driver, 30, 3);
    clean(&mut driver, 30, 3);
    assert_eq!(driver.set_cookie_answers(), 60);
}

#[test]
fn localhost_is_found_on_either_address() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = std::net::TcpListener::bind(address) else {
            eprintln!("skipped: this machine has no {address}");
            continue;
        };
        let server = Server::on(listener, true, true, |exchange| {
            assert!(exchange.head.contains("\r\nHost: localhost:"));
            answer("200 OK", "")
        });
        let url = format!("http://localhost:{}/", server.address.port());
        let stats = clean(&mut driver(HttpRequest::get(url)), 10, 2);
        assert_eq!((stats.connections, stats.reconnects), (2, 0));
    }
}
