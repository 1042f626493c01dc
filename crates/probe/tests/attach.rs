//! Attaching to real processes that run already.
#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod common;

use std::net::TcpListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::*;
use plimsoll_model::{Cancel, Cx, EvidenceRequest, Metric, Sink};
use plimsoll_probe::{
    Attached, Hub, HubEvent, HubOptions, IsolateInfo, NotAttached, Process, Subject, Way, attach,
    listeners,
};

/// Node opens its inspector on one port of the machine: one test at a time, and a port of their own for most.
static PORT: Mutex<()> = Mutex::new(());

/// Attaches and detaches; as many before counting.
const CYCLES: u32 = 25;

fn alone() -> MutexGuard<'static, ()> {
    PORT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cx() -> Cx {
    Cx::within(&Cancel::try_new().unwrap(), DEADLINE)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn hub() -> Hub {
    Hub::start(Instant::now(), &HubOptions::default()).unwrap()
}

/// A node that says `up` once it is; its inspector would open on a port of its own.
fn node(port: u16, flags: &[&str], script: &str) -> Subject {
    let port = format!("--inspect-port={port}");
    let script = format!("console.log('up'); {script}");
    let mut command = vec!["node", &port];
    command.extend(flags);
    command.extend(["-e", &script]);
    let subject = spawn(&command);
    line(&subject.on_line(regex("^up$")));
    subject
}

fn next_up(hub: &Hub) -> IsolateInfo {
    loop {
        if let HubEvent::Up(isolate) = hub
            .events()
            .recv_timeout(DEADLINE)
            .expect("an isolate says hello")
        {
            return isolate;
        }
    }
}

fn printed(subject: &Subject, text: &str) -> bool {
    subject.last_lines(50).iter().any(|l| l.contains(text))
}

#[test]
fn an_idle_node_is_attached_and_its_inspector_is_closed() {
    let port = free_port();
    let subject = node(port, &[], "setInterval(() => {}, 1000)");
    let (hub, cx) = (hub(), cx());
    let attached = attach(subject.process(), &hub, &cx).unwrap();
    let Way::Inspector { address, was_open } = attached.way else {
        panic!("another way in: {:?}", attached.way);
    };
    assert_eq!(address.port(), port);
    assert!(!was_open);
    assert!(attached.injected_bytes > 10_000);
    assert!(attached.gaps.is_empty(), "{:?}", attached.gaps);
    let isolate = next_up(&hub);
    assert_eq!(isolate.process, subject.process().id());
    assert!(listeners(port).unwrap().is_empty());

    let mut runtime = hub.runtime(&isolate);
    let collected = runtime.collect(&cx).unwrap();
    assert!(collected.get(&Metric::LIVE_BYTES).unwrap() > 1e6);
    hub.dismiss([isolate.key], DEADLINE);
    drop(hub);
    assert!(subject.process().is_alive());
}

#[test]
fn a_node_that_computes_gives_its_first_reading_all_the_same() {
    let port = free_port();
    let subject = node(port, &[], "for (;;);");
    let (hub, cx) = (hub(), cx());
    attach(subject.process(), &hub, &cx).unwrap();
    let isolate = next_up(&hub);
    let first = hub.events().recv_timeout(DEADLINE).unwrap();
    let HubEvent::Samples { key, values, .. } = first else {
        panic!("{first:?}")
    };
    assert_eq!(key, isolate.key);
    assert!(
        values
            .iter()
            .any(|(m, v)| *m == Metric::HEAP_USED && *v > 1e5),
        "{values:?}"
    );
    assert!(listeners(port).unwrap().is_empty());
}

#[test]
fn worker_threads_are_entered_as_well_even_asleep() {
    let worker = "new (require('worker_threads').Worker)";
    let script = format!(
        "const w = {worker}('setInterval(() => {{}}, 1000)', {{ eval: true }});
         const s = {worker}('Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)', {{ eval: true }});
         let online = 0;
         for (const one of [w, s]) one.on('online', () => ++online === 2 && console.log('both'));"
    );
    let subject = node(free_port(), &[], &script);
    line(&subject.on_line(regex("^both$")));
    let (hub, cx) = (hub(), cx());
    let attached = attach(subject.process(), &hub, &cx).unwrap();
    assert_eq!(attached.workers, 2);
    let mut isolates = [0; 3].map(|_| next_up(&hub).isolate);
    isolates.sort_unstable();
    assert_eq!(isolates[0], 0);
    assert!(isolates[1] > 0 && isolates[2] > isolates[1]);
}

#[test]
fn an_inspector_that_was_open_before_stays_open() {
    let port = free_port();
    let flag = format!("--inspect={port}");
    let subject = node(port, &[&flag], "setInterval(() => {}, 1000)");
    let (hub, cx) = (hub(), cx());
    let attached = attach(subject.process(), &hub, &cx).unwrap();
    assert!(matches!(
        attached.way,
        Way::Inspector { was_open: true, .. }
    ));
    next_up(&hub);
    assert_eq!(listeners(port).unwrap().len(), 1);
}

#[test]
fn who_does_not_wait_for_the_signal_is_not_sent_it() {
    let (hub, cx) = (hub(), cx());
    // A handler of its own takes the place of the inspector's: that shows only when it was asked.
    let own = node(
        free_port(),
        &[],
        "process.on('SIGUSR1', () => console.log('mine')); console.log('armed'); setInterval(() => {}, 1000)",
    );
    line(&own.on_line(regex("^armed$")));
    assert!(matches!(
        attach(own.process(), &hub, &cx),
        Err(NotAttached::Silent)
    ));
    line(&own.on_line(regex("^mine$")));
    assert!(own.process().is_alive());

    let shell = shell("trap : USR1; echo up; while :; do sleep 0.05; done");
    line(&shell.on_line(regex("^up$")));
    let refused = attach(shell.process(), &hub, &cx).unwrap_err();
    assert!(matches!(refused, NotAttached::NoRuntime(_)), "{refused}");
    assert!(shell.process().is_alive());
    assert_eq!(
        own.last_lines(50).iter().filter(|l| *l == "mine").count(),
        1
    );
}

/// A file named like Node that would die of the signal.
#[test]
fn a_binary_without_the_handler_is_not_sent_the_signal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let sleeper = spawn(&[path.to_str().unwrap(), "60"]);
    until("it runs", || sleeper.process().name() == "node");
    let refused = attach(sleeper.process(), &hub(), &cx()).unwrap_err();
    assert!(matches!(refused, NotAttached::NoHandler), "{refused}");
    assert!(sleeper.process().is_alive());
}

#[test]
fn a_port_that_is_taken_is_named_with_its_holder() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let subject = node(port, &[], "setInterval(() => {}, 1000)");
    let refused = attach(subject.process(), &hub(), &cx()).unwrap_err();
    let NotAttached::PortHeld {
        port: named,
        holder,
    } = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!(*named, port);
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    assert!(!printed(&subject, "Starting inspector"), "it was signalled");
}

#[test]
fn several_are_attached_one_after_another_on_one_port() {
    let _alone = alone();
    let port = free_port();
    let subjects: Vec<Subject> = (0..3)
        .map(|_| node(port, &[], "setInterval(() => {}, 1000)"))
        .collect();
    let hub = hub();
    std::thread::scope(|scope| {
        for subject in &subjects {
            scope.spawn(|| attach(subject.process(), &hub, &cx()).unwrap());
        }
    });
    let mut found = [0; 3].map(|_| next_up(&hub).process.pid);
    let mut expected: Vec<u32> = subjects.iter().map(|s| s.process().id().pid).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found.to_vec(), expected);
}

#[test]
fn a_process_that_has_ended_is_not_attached() {
    let subject = node(free_port(), &[], "");
    wait(&subject);
    let refused = attach(subject.process(), &hub(), &cx()).unwrap_err();
    assert!(
        matches!(refused, NotAttached::Failed(_) | NotAttached::NoRuntime(_)),
        "{refused}"
    );
}

#[test]
fn a_process_whose_heap_was_looked_into_is_attached_again_on_its_own_port() {
    let port = free_port();
    let subject = node(port, &[], "setInterval(() => {}, 1000)");
    for _ in 0..2 {
        let (hub, cx) = (hub(), cx());
        let attached = attach(subject.process(), &hub, &cx).unwrap();
        assert_eq!(port_of(&attached), Some(port));
        let isolate = next_up(&hub);
        let mut runtime = hub.runtime(&isolate);
        runtime
            .capture(&EvidenceRequest::Snapshot, &mut Nowhere, &cx)
            .unwrap();
        runtime.release();
        hub.dismiss([isolate.key], DEADLINE);
    }
}

fn port_of(attached: &Attached) -> Option<u16> {
    match attached.way {
        Way::Inspector { address, .. } => Some(address.port()),
        _ => None,
    }
}

/// Takes what comes and forgets it.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_program_that_chose_another_port_by_itself_is_attached_there() {
    let port = free_port();
    let script = "process.debugPort = 0; setInterval(() => {}, 1000)";
    let subject = node(port, &[], script);
    let (hub, cx) = (hub(), cx());
    let attached = attach(subject.process(), &hub, &cx).unwrap();
    assert_ne!(port_of(&attached), Some(port));
    next_up(&hub);
}

#[test]
fn attaching_again_and_again_leaves_nothing_behind() {
    let _alone = alone();
    let port = free_port();
    let subject = node(
        port,
        &["--expose-gc"],
        "process.on('SIGUSR2', () => { for (let i = 0; i < 6; i++) gc(); const m = process.memoryUsage(); console.log(`state ${JSON.stringify({ heap: m.heapUsed + m.external, handles: process._getActiveHandles().length, keys: Object.getOwnPropertyNames(globalThis).length, listeners: process.eventNames().length })}`); }); console.log('armed'); setInterval(() => {}, 1000)",
    );
    line(&subject.on_line(regex("^armed$")));
    let states = subject.on_line(regex("^state "));
    let state = || -> serde_json::Value {
        subject.process().signal(12).unwrap();
        serde_json::from_str(&line(&states)["state ".len()..]).unwrap()
    };
    let cycle = || {
        let (hub, cx) = (hub(), cx());
        attach(subject.process(), &hub, &cx).unwrap();
        let isolate = next_up(&hub);
        hub.runtime(&isolate).collect(&cx).unwrap();
        hub.dismiss([isolate.key], DEADLINE);
    };
    let settled = || {
        let mut last = state();
        for _ in 0..3 {
            last = state();
        }
        last
    };
    // The first cycles leave some 200 kB once: modules of Node, code that is compiled because it is hot.
    for _ in 0..CYCLES {
        cycle();
    }
    let before = settled();
    let descriptors = subject.process().descriptors_by_target().unwrap();
    for _ in 0..CYCLES {
        cycle();
    }
    let after = settled();
    let grown = after["heap"].as_f64().unwrap() - before["heap"].as_f64().unwrap();
    assert!(
        grown < 2048.0 * f64::from(CYCLES),
        "{grown} bytes in {CYCLES} cycles"
    );
    for what in ["handles", "keys", "listeners"] {
        assert_eq!(before[what], after[what], "{what}");
    }
    assert_eq!(
        subject.process().descriptors_by_target().unwrap(),
        descriptors
    );
    assert!(listeners(port).unwrap().is_empty());
}

#[test]
fn a_running_subject_is_left_alive_with_its_tree_known() {
    let subject = node(
        free_port(),
        &[],
        "require('child_process').spawn('sleep', ['60']); setInterval(() => {}, 1000)",
    );
    let pid = subject.process().id().pid;
    let watched = Subject::running(Process::open(pid).unwrap());
    until("the child is seen", || watched.tree().len() == 2);
    assert_eq!(watched.exit(), None);
    let mut watched = watched;
    assert!(watched.end(Duration::ZERO).is_empty());
    drop(watched);
    assert!(subject.process().is_alive());
    assert_eq!(subject.tree().len(), 2);
}
