//! What attaching and loading the probe cost: `cargo bench -p plimsoll-probe --bench attach`.
//!
//! Time to the first sample of a running Node (idle, and with its event loop blocked), the heap that 50 cycles leave after
//! 30 before them, and the CPU time that the probe adds to the start of `node -e 0`, in pairs with an A/A control.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends where it cannot measure"
)]

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_model::{Cancel, Cx};
use plimsoll_probe::{Hub, HubEvent, HubOptions, IsolateInfo, Launch, Subject, attach, listeners};

const PATIENCE: Duration = Duration::from_mins(1);
const ATTACHES: usize = 40;
const PAIRS: usize = 30;
/// Starts per measurement: the kernel counts CPU time of children in steps of 10 ms.
const STARTS: u32 = 6;

fn main() {
    for (name, script) in [
        ("idle", "setInterval(() => {}, 1000)"),
        ("blocked", "for (;;);"),
    ] {
        let (first, whole): (Vec<f64>, Vec<f64>) =
            (0..ATTACHES).map(|_| first_sample(script)).unzip();
        for (what, mut times) in [("first sample", first), ("inspector closed", whole)] {
            times.sort_by(f64::total_cmp);
            println!(
                "{what}, {name}: p50 {:.0} ms, p95 {:.0} ms, max {:.0} ms of {ATTACHES}",
                times[ATTACHES / 2],
                times[ATTACHES * 95 / 100],
                times[ATTACHES - 1]
            );
        }
    }
    cycles();
    start_up();
}

fn node(script: &str) -> (Subject, u16) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let script = format!("console.log('up'); {script}");
    let command = [
        "node",
        "--expose-gc",
        &format!("--inspect-port={port}"),
        "-e",
        &script,
    ];
    let launch = Launch {
        command: command.iter().map(OsString::from).collect(),
        ..Launch::default()
    };
    let subject = Subject::spawn(&launch).unwrap();
    let lines = subject.on_line(regex_lite::Regex::new("^up$").unwrap());
    lines.recv_timeout(PATIENCE).unwrap();
    (subject, port)
}

fn hub() -> Hub {
    Hub::start(Instant::now(), &HubOptions::default()).unwrap()
}

/// Attaches; who said hello, and when its first sample was taken, since the hub's start.
fn enter(subject: &Subject, hub: &Hub) -> (IsolateInfo, Duration) {
    let cx = Cx::within(&Cancel::try_new().unwrap(), PATIENCE);
    attach(subject.process(), hub, &cx).unwrap();
    let mut up = None;
    loop {
        match hub.events().recv_timeout(PATIENCE).unwrap() {
            HubEvent::Up(isolate) => up = Some(isolate),
            HubEvent::Samples { at, .. } => return (up.unwrap(), Duration::from_nanos(at.0)),
            _ => {}
        }
    }
}

/// Milliseconds until the first sample was taken, and until nothing was left to do.
fn first_sample(script: &str) -> (f64, f64) {
    let (subject, port) = node(script);
    let started = Instant::now();
    let hub = Hub::start(started, &HubOptions::default()).unwrap();
    let (_, first) = enter(&subject, &hub);
    let whole = started.elapsed();
    assert!(listeners(port).unwrap().is_empty(), "an inspector listens");
    (first.as_secs_f64() * 1e3, whole.as_secs_f64() * 1e3)
}

fn cycles() {
    let (subject, port) = node(
        "process.on('SIGUSR2', () => { for (let i = 0; i < 6; i++) gc(); const m = process.memoryUsage(); console.log(`heap ${m.heapUsed + m.external}`); }); console.log('armed'); setInterval(() => {}, 1000)",
    );
    let armed = subject.on_line(regex_lite::Regex::new("^armed$").unwrap());
    armed.recv_timeout(PATIENCE).unwrap();
    let lines = subject.on_line(regex_lite::Regex::new("^heap ").unwrap());
    let heap = || -> f64 {
        let mut last = 0.0;
        for _ in 0..3 {
            subject.process().signal(12).unwrap();
            let line = lines.recv_timeout(PATIENCE).unwrap().text;
            last = line["heap ".len()..].parse().unwrap();
        }
        last
    };
    let cycle = || {
        let hub = hub();
        let (isolate, _) = enter(&subject, &hub);
        hub.dismiss([isolate.key], PATIENCE);
    };
    (0..30).for_each(|_| cycle());
    let before = heap();
    (0..50).for_each(|_| cycle());
    let after = heap();
    let open = listeners(port).unwrap().len();
    println!(
        "50 attaches: {:+.0} bytes a cycle, {open} inspectors listen",
        (after - before) / 50.0
    );
}

fn start_up() {
    let hub = hub();
    let probe = hub.node_options(None);
    let cost = |options: Option<&OsString>| -> f64 {
        let before = children_cpu_ms();
        for _ in 0..STARTS {
            let mut command = Command::new("node");
            command
                .args(["-e", "0"])
                .stdin(Stdio::null())
                .env_remove("NODE_OPTIONS");
            command.envs(options.map(|options| ("NODE_OPTIONS", options)));
            assert!(command.status().unwrap().success());
            while hub.events().try_recv().is_ok() {}
        }
        (children_cpu_ms() - before) / f64::from(STARTS)
    };
    let (mut added, mut control) = (Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let plain = cost(None);
        // Which comes first alternates; the third is the control.
        let (with, again) = if pair % 2 == 0 {
            (cost(Some(&probe)), cost(None))
        } else {
            let again = cost(None);
            (cost(Some(&probe)), again)
        };
        added.push(with - plain);
        control.push(again - plain);
    }
    for (name, list) in [
        ("with the probe", &mut added),
        ("A/A control", &mut control),
    ] {
        list.sort_by(f64::total_cmp);
        // The 95 % interval of a median of 30: ranks 10 and 21.
        println!(
            "node -e 0, {name}: {:+.1} ms CPU (95 % of the median {:+.1} … {:+.1}, {PAIRS} pairs of {STARTS})",
            list[PAIRS / 2],
            list[9],
            list[20]
        );
    }
}

/// CPU time of ended children in milliseconds.
fn children_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) * 10.0
}
