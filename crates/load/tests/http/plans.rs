//! Several requests and scenarios: exactly N of them, in their order, with what answers gave before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plimsoll_load::{
    Driver, Error, Expect, Extract, Form, HttpDriver, HttpRequest, Plan, Step, Table, Walk,
};
use plimsoll_model::{Mode, OpId, RoundSpec, RoundStats};

use crate::server::{Reply, Server, answer, text};
use crate::{cx, spec};

fn round(driver: &mut HttpDriver, spec: &RoundSpec) -> RoundStats {
    let stats = driver.round(spec, &cx()).unwrap();
    assert_eq!(stats.done + stats.errors(), spec.operations);
    let by_kind: u64 = stats.per_operation.iter().map(|o| o.done + o.errors).sum();
    assert_eq!(by_kind, spec.operations);
    stats
}

/// A server that remembers what it was asked.
fn remembering(
    reply: impl Fn(&str, &str) -> Reply + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let server = Server::start({
        let seen = seen.clone();
        move |exchange| {
            let line = exchange.head.lines().next().unwrap();
            let line = line.strip_suffix(" HTTP/1.1").unwrap().to_owned();
            seen.lock().unwrap().push(line.clone());
            reply(&line, &exchange.head)
        }
    });
    (server, seen)
}

fn counts(seen: &Mutex<Vec<String>>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in seen.lock().unwrap().drain(..) {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn step(server: &Server, method: &str, path: &str) -> Step {
    Step::of(HttpRequest {
        method: method.into(),
        ..HttpRequest::get(server.url(path))
    })
}

fn extract(variable: &str, from: &str) -> Extract {
    Extract {
        variable: variable.into(),
        from: from.parse().unwrap(),
    }
}

fn own_walk(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        walk: Walk::Own,
        cookies: true,
        ..Plan::of([])
    }
}

#[test]
fn several_requests_come_as_often_as_their_weights_say() {
    let (server, seen) = remembering(|_, _| answer("200 OK", "hello"));
    let mut plan = Plan::of(["/a", "/b", "/c"].map(|path| HttpRequest::get(server.url(path))));
    plan.steps[1].weight = 3;
    let mut driver = HttpDriver::with_plan(plan, 4).unwrap();
    let names: Vec<_> = driver.operations().iter().map(|o| o.name.clone()).collect();
    assert_eq!(names, ["GET /a", "GET /b", "GET /c"]);
    for churn in [false, true] {
        let stats = round(&mut driver, &spec(500, if churn { 1 } else { 4 }));
        let done: Vec<u64> = stats.per_operation.iter().map(|o| o.done).collect();
        assert_eq!(done, [100, 300, 100]);
        assert_eq!(
            counts(&seen),
            [("GET /a", 100), ("GET /b", 300), ("GET /c", 100)]
                .map(|(line, n)| (line.to_owned(), n))
                .into()
        );
        assert!(stats.per_operation.iter().all(|o| o.bytes_in > o.done * 5));
    }
    let only = RoundSpec {
        only: Some(OpId(2)),
        ..spec(70, 4)
    };
    assert_eq!(round(&mut driver, &only).per_operation[2].done, 70);
    assert_eq!(counts(&seen), [("GET /c".to_owned(), 70)].into());
    let beyond = RoundSpec {
        only: Some(OpId(3)),
        ..spec(1, 1)
    };
    assert!(matches!(
        driver.round(&beyond, &cx()),
        Err(Error::Unsupported { .. })
    ));
}

#[test]
fn a_connection_for_each_request_is_exactly_n_too() {
    let server = Server::start(|_| answer("200 OK", "hello"));
    let mut plan = Plan::of([HttpRequest::get(server.url("/"))]);
    plan.keep_alive = false;
    let mut driver = HttpDriver::with_plan(plan, 7).unwrap();
    for n in 1..=3 {
        let stats = round(&mut driver, &spec(333, 7));
        assert_eq!((stats.done, stats.reconnects), (333, 0));
        assert_eq!(server.counts().requests, n * 333);
        let quiet = driver.quiesce(&cx()).unwrap();
        assert_eq!((quiet.connections, quiet.settled), (0, true));
        server.wait("closed", |c| c.open == 0);
        assert_eq!(server.counts().accepted, n * 333);
    }
}

#[test]
fn an_open_loop_sends_all_that_was_planned_and_counts_from_when_it_was_due() {
    // Every answer waits while the server stands still for 300 ms.
    let begun = Instant::now();
    let server = Server::start(move |exchange| {
        if exchange.number == 20 {
            let until = Instant::now() + Duration::from_millis(300);
            while Instant::now() < until {
                std::thread::park_timeout(until - Instant::now());
            }
        }
        answer("200 OK", "")
    });
    let mut driver = HttpDriver::try_new(HttpRequest::get(server.url("/")), 1).unwrap();
    let open = RoundSpec::new(
        100,
        Mode::Open {
            rate: 200.0,
            concurrency: 1,
            most: 1,
        },
    );
    let stats = round(&mut driver, &open);
    assert_eq!((stats.done, server.counts().requests), (100, 100));
    // Operations due during the standstill waited for it though they were sent behind it: about 60 of 100.
    assert!(stats.latency.p50_ns > 20_000_000, "{:?}", stats.latency);
    assert!(stats.service.p50_ns < stats.latency.p50_ns);
    assert!(stats.lateness.is_some_and(|l| l.max_ns > 100_000_000));
    // The last is due after 495 ms: not before, whatever the server can do.
    assert!(begun.elapsed() >= Duration::from_millis(495));
}

#[test]
fn an_open_loop_opens_more_connections_where_all_are_busy() {
    // Every answer takes longer than the time to the next operation.
    let server = Server::start(|_| {
        let until = Instant::now() + Duration::from_millis(40);
        while Instant::now() < until {
            std::thread::park_timeout(until - Instant::now());
        }
        answer("200 OK", "")
    });
    let mut driver = HttpDriver::try_new(HttpRequest::get(server.url("/")), 1).unwrap();
    let open = Mode::Open {
        rate: 200.0,
        concurrency: 1,
        most: 50,
    };
    let stats = round(&mut driver, &RoundSpec::new(60, open));
    assert_eq!((stats.done, server.counts().requests), (60, 60));
    assert!(server.counts().accepted > 4 && server.counts().accepted <= 50);
    // Afterwards there are as many as at first.
    assert_eq!(driver.quiesce(&cx()).unwrap().connections, 1);
}

#[test]
fn a_round_ends_with_its_time() {
    let server = Server::start(|_| answer("200 OK", ""));
    let mut driver = HttpDriver::try_new(HttpRequest::get(server.url("/")), 3).unwrap();
    let timed = RoundSpec {
        duration: Some(Duration::from_millis(100)),
        ramp: Duration::from_millis(50),
        ..spec(u64::MAX, 3)
    };
    let stats = driver.round(&timed, &cx()).unwrap();
    assert!(stats.elapsed >= Duration::from_millis(100));
    assert_eq!(stats.done, server.counts().requests);
    assert!(stats.done > 3);
}

#[test]
fn steps_follow_each_other_with_what_was_found() {
    let next = AtomicU64::new(1);
    let (server, seen) = remembering(move |line, head| {
        if line == "POST /items" {
            let id = next.fetch_add(1, Ordering::Relaxed);
            let body = format!(r#"{{"item":{{"id":{id}}},"ok":true}}"#);
            text(&format!(
                "HTTP/1.1 201 Created\r\nX-Tag: t {id}\r\nSet-Cookie: last={id}; Path=/\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
        } else {
            let id = line.rsplit('/').next().unwrap();
            let id = id.split('?').next().unwrap();
            assert!(head.contains(&format!("Cookie: last={id}\r\n")), "{head}");
            assert!(head.contains(&format!("X-Tag: t {id}\r\n")), "{head}");
            answer("200 OK", &format!("<b>item {id}</b>"))
        }
    });
    let mut create = step(&server, "POST", "/items");
    create.extract = vec![
        extract("id", "json:/item/id"),
        extract("tag", "header:X-Tag"),
    ];
    create.expect.json = vec![("/ok".into(), true.into())];
    let mut read = step(&server, "GET", "/items/{{id}}?again={{last}}");
    read.request.headers = vec![("X-Tag".into(), "{{tag}}".into())];
    read.extract = vec![extract("shown", r"regex:item (\d+)")];
    let mut remove = step(&server, "DELETE", "/items/{{id}}");
    remove.request.headers = vec![("X-Tag".into(), "{{tag}}".into())];
    create.extract.push(extract("last", "cookie:last"));
    let mut driver = HttpDriver::with_plan(own_walk(vec![create, read, remove]), 3).unwrap();

    let stats = round(&mut driver, &spec(90, 3));
    assert_eq!(stats.errors_by_kind, [].into());
    let done: Vec<u64> = stats.per_operation.iter().map(|o| o.done).collect();
    // Each user walks at its own pace, and stops where the round ends.
    assert!(done.iter().all(|n| (27..=33).contains(n)), "{done:?}");
    let lines = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(lines.len(), 90);
    assert!(lines.contains(&"GET /items/7?again=7".to_owned()));
    assert!(lines.contains(&"DELETE /items/7".to_owned()));
    // The deletion needs the creation, and not the reading.
    let only = RoundSpec {
        only: Some(OpId(2)),
        ..spec(40, 3)
    };
    let stats = round(&mut driver, &only);
    assert_eq!(stats.errors_by_kind, [].into());
    assert_eq!(stats.per_operation[1].done, 0);
    assert!(
        (18..=22).contains(&stats.per_operation[2].done),
        "{stats:?}"
    );
}

#[test]
fn wrong_answers_are_told_apart() {
    let check = |expect: Expect, form: Form, body: &'static str, kind: Option<&str>| {
        let server = Server::start(move |_| answer("200 OK", body));
        let mut step = step(&server, "GET", "/");
        (step.expect, step.form) = (expect, form);
        let mut driver = HttpDriver::with_plan(own_walk(vec![step]), 2).unwrap();
        let stats = round(&mut driver, &spec(10, 2));
        let kinds: Vec<&str> = stats.errors_by_kind.keys().map(String::as_str).collect();
        assert_eq!(kinds, kind.into_iter().collect::<Vec<_>>(), "{body}");
        // The answer came all the same.
        assert_eq!(stats.connections, 2);
    };
    let json = |pointer: &str, value: serde_json::Value| Expect {
        json: vec![(pointer.to_owned(), value)],
        ..Expect::default()
    };
    check(
        json("/ok", true.into()),
        Form::Plain,
        r#"{"ok":true}"#,
        None,
    );
    check(json("/n", 1.into()), Form::Plain, r#"{"n":1.0}"#, None);
    check(
        json("/ok", true.into()),
        Form::Plain,
        r#"{"ok":false}"#,
        Some("expected /ok = true"),
    );
    check(
        json("/ok", true.into()),
        Form::Plain,
        "<html>",
        Some("expected /ok = true"),
    );
    let contains = Expect {
        contains: Some("welcome".into()),
        ..Expect::default()
    };
    check(
        contains,
        Form::Plain,
        "go away",
        Some("expected text `welcome`"),
    );
    let within = Expect {
        within: Some(Duration::from_nanos(1)),
        ..Expect::default()
    };
    check(within, Form::Plain, "", Some("slower than 0 ms"));
    check(
        Expect::default(),
        Form::Graphql,
        r#"{"data":null,"errors":[{"message":"no"}]}"#,
        Some("GraphQL errors in the answer"),
    );
    check(
        Expect::default(),
        Form::Trpc,
        r#"[{"result":{"data":1}},{"error":{}}]"#,
        Some("tRPC error in the answer"),
    );
}

#[test]
fn what_an_answer_does_not_hold_is_an_error_of_each_that_needs_it() {
    let server = Server::start(|_| answer("200 OK", "{}"));
    let mut first = step(&server, "GET", "/first");
    first.extract = vec![extract("id", "json:/id")];
    let second = step(&server, "GET", "/second/{{id}}");
    let mut driver = HttpDriver::with_plan(own_walk(vec![first, second]), 1).unwrap();
    let stats = round(&mut driver, &spec(20, 1));
    assert_eq!(
        stats.errors_by_kind,
        [
            ("`id` is not in the answer".to_owned(), 10),
            ("a variable has no value".to_owned(), 10)
        ]
        .into()
    );
    assert_eq!(
        server.counts().requests,
        10,
        "nothing is sent without its value"
    );
}

#[test]
fn users_log_in_once_and_again_when_their_token_is_over() {
    // Each token is good for 20 requests.
    let tokens: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let (server, seen) = remembering(move |line, head| {
        let mut tokens = tokens.lock().unwrap();
        if let Some(user) = line.strip_prefix("POST /login?user=") {
            assert!(["ann", "bob", "eve"].contains(&user), "{line}");
            let token = format!("{user}-{}", tokens.len());
            tokens.insert(token.clone(), 20);
            return answer("200 OK", &format!(r#"{{"token":"{token}"}}"#));
        }
        let token = head
            .lines()
            .find_map(|l| l.strip_prefix("Authorization: Bearer "))
            .unwrap();
        match tokens.get_mut(token) {
            Some(left @ 1..) => {
                *left -= 1;
                answer("200 OK", "{}")
            }
            _ => answer("401 Unauthorized", ""),
        }
    });
    let mut login = step(&server, "POST", "/login?user={{csv.user}}");
    login.extract = vec![extract("token", "json:/token")];
    let mut work = step(&server, "GET", "/work");
    work.request.headers = vec![("Authorization".into(), "Bearer {{token}}".into())];
    let plan = Plan {
        setup: vec![login],
        table: Table::parse("user\nann\nbob\neve\n").ok(),
        ..own_walk(vec![work])
    };
    let mut driver = HttpDriver::with_plan(plan, 3).unwrap();
    for _ in 0..2 {
        let stats = round(&mut driver, &spec(300, 3));
        assert_eq!(stats.errors_by_kind, [].into());
        assert!(stats.refreshed >= 12, "{stats:?}");
    }
    let seen = counts(&seen);
    assert_eq!(
        seen["GET /work"], 600,
        "logins are not counted, and nothing is sent twice"
    );
    assert_eq!(seen.len(), 4, "each user logs in as itself: {seen:?}");
}

#[test]
fn a_login_that_fails_ends_the_round() {
    let server = Server::start(|_| answer("403 Forbidden", ""));
    let plan = Plan {
        setup: vec![step(&server, "POST", "/login")],
        ..own_walk(vec![step(&server, "GET", "/")])
    };
    let mut driver = HttpDriver::with_plan(plan, 2).unwrap();
    let error = driver.round(&spec(100, 2), &cx()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the setup step `POST /login` failed: status 403"
    );
    assert_eq!(error.stats().map(|s| s.done + s.errors()), Some(0));
}

#[test]
fn redirects_are_part_of_their_operation() {
    let (server, seen) = remembering(|line, head| match line {
        "POST /form" => text(
            "HTTP/1.1 303 See Other\r\nLocation: /done\r\nSet-Cookie: sid=7; Path=/\r\nContent-Length: 0\r\n\r\n",
        ),
        "GET /done" => {
            assert!(
                head.contains("Cookie: sid=7\r\n") && !head.contains("Content-"),
                "{head}"
            );
            answer("200 OK", "welcome")
        }
        _ => text("HTTP/1.1 302 Found\r\nLocation: loop\r\nContent-Length: 0\r\n\r\n"),
    });
    let mut form = step(&server, "POST", "/form");
    form.request.body = Some(b"a=b".to_vec());
    form.redirects = 5;
    form.expect.contains = Some("welcome".into());
    let mut driver = HttpDriver::with_plan(own_walk(vec![form]), 2).unwrap();
    let stats = round(&mut driver, &spec(50, 2));
    assert_eq!(stats.errors_by_kind, [].into());
    assert_eq!(
        counts(&seen),
        [("GET /done".to_owned(), 50), ("POST /form".to_owned(), 50)].into()
    );

    let mut circle = step(&server, "GET", "/loop");
    circle.redirects = 3;
    let mut driver = HttpDriver::with_plan(own_walk(vec![circle]), 2).unwrap();
    let stats = round(&mut driver, &spec(10, 2));
    assert_eq!(
        stats.errors_by_kind,
        [("too many redirects".to_owned(), 10)].into()
    );
    assert_eq!(counts(&seen)["GET /loop"], 40);
}

#[test]
fn what_answers_suggest_is_advised() {
    let advice = |reply: fn() -> Reply| {
        let server = Server::start(move |_| reply());
        let mut driver = HttpDriver::try_new(HttpRequest::get(server.url("/")), 2).unwrap();
        driver.round(&spec(20, 2), &cx()).unwrap();
        let ids: Vec<String> = driver.findings().into_iter().map(|f| f.id).collect();
        ids.join(" ")
    };
    assert_eq!(advice(|| answer("200 OK", "")), "");
    assert_eq!(advice(|| answer("401 Unauthorized", "")), "unauthorized");
    assert_eq!(advice(|| answer("403 Forbidden", "")), "forbidden");
    assert_eq!(
        advice(|| answer("429 Too Many Requests", "")),
        "rate-limited"
    );
    assert_eq!(
        advice(|| text(
            "HTTP/1.1 302 Found\r\nLocation: /login?next=/\r\nContent-Length: 0\r\n\r\n"
        )),
        "login"
    );
    assert_eq!(
        advice(|| text("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")),
        "new-session-per-request"
    );
}

#[test]
fn plans_that_cannot_be_carried_out_are_refused_by_step() {
    let server = Server::start(|_| answer("200 OK", ""));
    let refused = |plan: Plan| HttpDriver::with_plan(plan, 1).unwrap_err().to_string();
    assert_eq!(
        refused(Plan::of([])),
        "a plan without steps cannot be driven: name at least one"
    );
    let mut named = step(&server, "GET", "/{{who}}");
    named.name = "read".into();
    assert_eq!(
        refused(own_walk(vec![step(&server, "GET", "/"), named])),
        "step `read`: URL: `{{who}}` is unknown, known are seq, uuid, rand A B"
    );
    let elsewhere = Step::of(HttpRequest::get("http://127.0.0.1:1/"));
    assert!(
        refused(own_walk(vec![step(&server, "GET", "/"), elsewhere]))
            .ends_with("one driver has one server")
    );
}
