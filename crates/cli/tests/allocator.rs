//! A native service that counts its own allocations: judged by live bytes, exactly, without a collection, and explained by the stacks
//! that allocated what it keeps.
//!
//! The service is this program once more: a test of its own name, that serves where it is told a port.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use common::{Finished, Place};
use plimsoll_alloc::Scope;

#[global_allocator]
static ALLOCATOR: plimsoll_alloc::Scoped = plimsoll_alloc::Scoped::new();

const PORT: &str = "PLIMSOLL_TEST_PORT";
/// What a leaking request keeps, in bytes.
const KEEPS: usize = 200;
/// And one of the service that is killed: enough to be in the samples that it takes unasked.
const KEEPS_MUCH: usize = 16 * 1024;
/// The request that kills it, in the seventh of eight rounds.
const LAST: usize = 5_900;

/// Requests to `/keep` leave something behind.
static KEPT: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

#[test]
fn serve() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse().ok()) else {
        return;
    };
    // Its room is not what is asked about.
    KEPT.lock().unwrap().reserve(1_000_000);
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for connection in listener.incoming() {
        let connection = connection.unwrap();
        std::thread::spawn(|| answer(connection));
    }
}

fn answer(connection: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let mut request = String::new();
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            if request.is_empty() {
                request.clone_from(&line);
            }
            line.clear();
        }
        if request.is_empty() {
            return None;
        }
        if request.starts_with("GET /keep ") {
            keep(KEEPS);
        }
        if request.starts_with("GET /keep-much ") {
            keep(KEEPS_MUCH);
        }
        let body = format!("{} bytes of request", request.len());
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        writer.write_all((head + &body).as_bytes()).ok()?;
    }
}

fn keep(bytes: usize) {
    static REQUESTS: OnceLock<Scope> = OnceLock::new();
    let scope = REQUESTS.get_or_init(|| Scope::open("requests").expect("a scope"));
    let kept = scope.run(|| vec![1_u8; bytes].into_boxed_slice());
    let mut all = KEPT.lock().expect("nobody panics");
    all.push(kept);
    if bytes == KEEPS_MUCH && all.len() == LAST {
        let end = format!("kill -9 {}", std::process::id());
        let _ = Command::new("sh").args(["-c", &end]).status();
    }
}

fn check(place: &Place, path: &str) -> Finished {
    let url = place.url(path);
    let itself = std::env::current_exe().expect("the path of this program");
    let itself = itself.to_str().expect("a path of text");
    let mut command = place.command(&[
        "check",
        "--url",
        &url,
        "--warm-up",
        "1000",
        "--operations",
        "500",
        "--rounds",
        "8",
        "--",
        itself,
        "--exact",
        "serve",
    ]);
    let port = url
        .split([':', '/'])
        .find_map(|part| part.parse::<u16>().ok());
    command.env(PORT, port.expect("a port").to_string());
    common::finish(&command.output().expect("plimsoll starts"))
}

fn level_and_rate(place: &Place) -> (bool, f64) {
    let run = place.last_run();
    let headline = &run["series"][run["headline"].as_u64().expect("a headline") as usize];
    assert_eq!(headline["metric"], "live_bytes");
    let levels = run["levels"].as_array().expect("levels");
    let rate = run["verdict"]["growth"]["rate"].as_f64().expect("a rate");
    (levels.iter().any(|level| level == "allocator"), rate)
}

#[test]
fn what_a_request_keeps_is_told_to_the_byte() {
    let place = Place::new();
    check(&place, "/keep")
        .expect_code(1)
        .expect_said("LEAK   +200 B per request")
        .expect_said("live bytes by its allocator")
        .expect_unsaid("probe not loaded");
    let (by_allocator, rate) = level_and_rate(&place);
    assert!(by_allocator);
    assert!((rate - KEEPS as f64).abs() < 0.5, "{rate}");
}

/// The first culprit of the last run is `keep`, by its line and its scope; what it is said to keep.
fn kept_by_keep(place: &Place) -> f64 {
    let run = place.last_run();
    let culprit = &run["culprits"][0];
    let said = |field: &str| culprit[field].as_str().unwrap_or_default().to_owned();
    assert!(said("kind").contains("allocator::keep"), "{culprit}");
    assert!(
        said("place").contains("crates/cli/tests/allocator.rs:"),
        "{culprit}"
    );
    assert_eq!(said("holder"), "scope `requests`");
    assert_eq!(said("pattern"), "kept allocations");
    culprit["bytes_per_op"]
        .as_f64()
        .expect("bytes per operation")
}

#[test]
fn the_line_that_allocates_what_stays_is_named_with_its_scope() {
    let place = Place::new();
    check(&place, "/keep")
        .expect_code(1)
        .expect_said("memory allocated by `allocator::keep");
    let kept = kept_by_keep(&place);
    // Every third or so of its blocks is a sample: an estimate.
    assert!((100.0..400.0).contains(&kept), "{kept}");
}

#[test]
fn what_a_killed_service_left_behind_is_named_too() {
    let place = Place::new();
    check(&place, "/keep-much")
        .expect_code(4)
        .expect_said("killed by SIGKILL");
    let kept = kept_by_keep(&place);
    let really = KEEPS_MUCH as f64;
    assert!((0.5 * really..1.5 * really).contains(&kept), "{kept}");
}

#[test]
fn its_fixed_twin_keeps_nothing() {
    let place = Place::new();
    check(&place, "/")
        .expect_code(0)
        .expect_said("NO LEAK")
        .expect_said("live bytes by its allocator");
    assert!(level_and_rate(&place).0);
}
