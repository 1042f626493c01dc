//! The memory monitor: the vectors that every implementation passes, real figures, and what it leaves: nothing.

#![expect(clippy::unwrap_used, reason = "what is missing fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plimsoll::{
    Action, Alert, AlertKind, Budgets, Event, MemoryMonitor, Method, Outcome, ProcessReading,
    Scope, Scoped, Severity, Source,
};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: Scoped = Scoped::new();

const MIB: u64 = 1024 * 1024;

fn budgets(options: &Value) -> Budgets {
    let mut budgets = Budgets::default();
    for (name, value) in options.as_object().unwrap() {
        let bytes = || value.as_u64().unwrap();
        let number = || value.as_f64().unwrap();
        let duration = || Duration::from_millis(bytes());
        match name.as_str() {
            "perSession" => budgets.per_session = bytes(),
            "totalSystem" => budgets.total_system = bytes(),
            "alertThreshold" => budgets.alert_threshold = number(),
            "hysteresis" => budgets.hysteresis = number(),
            "growthPerMinute" => budgets.growth_per_minute = bytes(),
            "growthWindowMs" => budgets.growth_window = duration(),
            "heapFull" => budgets.heap_full = number(),
            "cooldownMs" => budgets.cooldown = duration(),
            "dryRun" => budgets.dry_run = value.as_bool().unwrap(),
            "components" => {
                let components = value.as_object().unwrap().iter();
                budgets.components = components
                    .map(|(name, bytes)| (name.clone(), bytes.as_u64().unwrap()))
                    .collect();
            }
            "actions" => {}
            other => panic!("no option is called {other}"),
        }
    }
    budgets
}

const ACTIONS: [(&str, Action); 4] = [
    ("collect", Action::Collect),
    ("clear caches", Action::ClearCaches),
    ("evict", Action::Evict),
    ("callback", Action::Callback),
];

fn told(alert: &Alert) -> Value {
    let severity = match alert.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Critical => "critical",
        Severity::Recovered => "recovered",
    };
    let kind = match alert.kind {
        AlertKind::Session => "session",
        AlertKind::Component => "component",
        AlertKind::System => "system",
        AlertKind::Growth => "growth",
        AlertKind::Pressure => "pressure",
    };
    let mut told = vec![json!(severity), json!(kind)];
    told.extend(
        [&alert.session, &alert.component]
            .into_iter()
            .flatten()
            .map(|who| json!(who)),
    );
    told.push(json!(alert.value));
    Value::Array(told)
}

/// Figures are the same but for rounding.
fn assert_near(found: &Value, expected: &Value, at: &str) {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (found - expected).abs() <= 1e-9 * expected.abs(),
                "{at}: {found}"
            );
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            for (found, expected) in found.iter().zip(expected) {
                assert_near(found, expected, at);
            }
        }
        _ => assert_eq!(found, expected, "{at}"),
    }
}

#[derive(Default)]
struct World {
    now: Duration,
    reading: ProcessReading,
    sources: BTreeMap<String, u64>,
    evict_to: Option<u64>,
    events: Vec<Value>,
}

fn monitored(options: &Value) -> (MemoryMonitor, Arc<Mutex<World>>) {
    let world = Arc::new(Mutex::new(World::default()));
    let (of_clock, of_read) = (Arc::clone(&world), Arc::clone(&world));
    let monitor = MemoryMonitor::with_clock(
        budgets(options),
        move || of_clock.lock().unwrap().now,
        move || (of_read.lock().unwrap().reading, Source::Process),
    );
    let heard = Arc::clone(&world);
    monitor.on(move |event| {
        let event = match event {
            Event::Alert(alert) => {
                let who = alert.session.as_deref().unwrap_or_default();
                assert!(alert.to_string().contains(who));
                told(alert)
            }
            Event::Action(action, _) => {
                json!([
                    "action",
                    ACTIONS.iter().find(|(_, of)| of == action).unwrap().0
                ])
            }
            _ => return,
        };
        heard.lock().unwrap().events.push(event);
    });
    for wanted in options["actions"].as_array().into_iter().flatten() {
        let (_, action) = ACTIONS
            .into_iter()
            .find(|(name, _)| wanted == name)
            .unwrap();
        let world = Arc::clone(&world);
        monitor.act(action, move |monitor, alert| {
            let evict_to = world.lock().unwrap().evict_to;
            if let (Action::Evict, Some(bytes)) = (action, evict_to) {
                monitor.charge(alert.session.as_deref().unwrap(), bytes);
            }
        });
    }
    (monitor, world)
}

fn take(monitor: &MemoryMonitor, world: &Arc<Mutex<World>>, step: &Value, at: &str) {
    if let Some(session) = step.get("register") {
        let session = session.as_str().unwrap().to_owned();
        world.lock().unwrap().sources.insert(session.clone(), 0);
        if step["source"].as_bool().unwrap() {
            let (world, of) = (Arc::clone(world), session.clone());
            monitor.register_with(&session, move || world.lock().unwrap().sources[&of]);
        } else {
            monitor.register(&session);
        }
    } else if let Some(source) = step.get("source") {
        let session = source[0].as_str().unwrap().to_owned();
        world
            .lock()
            .unwrap()
            .sources
            .insert(session, source[1].as_u64().unwrap());
    } else if let Some(charge) = step.get("charge") {
        let (session, bytes) = (charge[0].as_str().unwrap(), charge[1].as_u64().unwrap());
        let fits = match charge[2].as_str() {
            Some(component) => monitor.charge_component(session, component, bytes),
            None => monitor.charge(session, bytes),
        };
        assert_eq!(json!(fits), step["fits"], "{at}");
    } else if let Some(session) = step.get("end") {
        let ended = monitor.end(session.as_str().unwrap());
        assert_eq!(json!(ended), step["ended"], "{at}");
    } else if let Some(bytes) = step.get("evict_to") {
        world.lock().unwrap().evict_to = bytes.as_u64();
    } else if let Some(sample) = step.get("sample") {
        world.lock().unwrap().reading = ProcessReading {
            total_bytes: sample["total_bytes"].as_u64(),
            live_bytes: sample["live_bytes"].as_u64(),
            heap_full_percent: sample["heap_full_percent"].as_f64(),
            ..ProcessReading::default()
        };
        monitor.sample();
    } else {
        world.lock().unwrap().reading = ProcessReading::default();
        let metrics = monitor.metrics();
        let bytes = metrics
            .sessions
            .iter()
            .map(|(name, session)| (name.clone(), session.bytes));
        let found = json!({
            "sessions": metrics.sessions.len(), "session_bytes": bytes.collect::<BTreeMap<_, _>>(),
            "components": metrics.components, "total_bytes": metrics.process.total_bytes,
        });
        for (name, expected) in step["status"].as_object().unwrap() {
            match name.as_str() {
                "growth_bytes_per_minute" => {
                    assert_near(&json!(metrics.growth_per_minute), expected, at);
                }
                name => assert_eq!(&found[name], expected, "{at}"),
            }
        }
    }
}

#[test]
fn the_vectors_hold() {
    for vector in common::vectors("monitor") {
        let (monitor, world) = monitored(&vector.options);
        for (step, at) in &vector.steps {
            if let Some(ms) = step["at_ms"].as_u64() {
                world.lock().unwrap().now = Duration::from_millis(ms);
            }
            take(&monitor, &world, step, at);
            let events = std::mem::take(&mut world.lock().unwrap().events);
            assert_near(&json!(events), &step["events"], at);
        }
    }
}

#[test]
fn a_session_is_measured_by_what_its_scope_allocates() {
    let monitor = MemoryMonitor::new(Budgets {
        per_session: 4 * MIB,
        ..Budgets::default()
    })
    .unwrap();
    let scope = Scope::open("session a").unwrap();
    monitor.register_scope("a", scope.clone());
    assert_eq!(monitor.metrics().sessions["a"].bytes, None);
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&alerts);
    monitor.on(move |event| {
        if let Event::Alert(alert) = event {
            heard.lock().unwrap().push((alert.severity, alert.value));
        }
    });
    let kept = scope.run(|| black_box(vec![1_u8; 5 << 20]));
    let sample = monitor.sample();
    assert_eq!(sample.sessions["a"].bytes, Some(5 * MIB));
    assert_eq!(sample.sessions["a"].method, Method::Measured);
    drop(kept);
    monitor.sample();
    let bytes = (5 * MIB) as f64;
    assert_eq!(
        *alerts.lock().unwrap(),
        [(Severity::Error, bytes), (Severity::Recovered, 0.0)]
    );
}

#[test]
fn the_process_is_read_exactly() {
    let monitor = MemoryMonitor::new(Budgets::default()).unwrap();
    let before = monitor.sample();
    let kept = black_box(vec![1_u8; 64 << 20]);
    let after = monitor.sample();
    assert_eq!(after.source, Source::Process);
    let grown = after.process.total_bytes.unwrap() - before.process.total_bytes.unwrap();
    // Other tests of this binary may run beside it.
    assert!(grown >= 60 * MIB, "{grown}");
    if cfg!(target_os = "linux") {
        let resident = after.process.resident_bytes.unwrap();
        assert!(resident >= kept.len() as u64, "{resident}");
    }
}

#[test]
fn growth_is_judged() {
    let now_s = Arc::new(AtomicU64::new(0));
    let (clock, read) = (Arc::clone(&now_s), Arc::clone(&now_s));
    let monitor = |per_second: u64| {
        let (clock, read) = (Arc::clone(&clock), Arc::clone(&read));
        MemoryMonitor::with_clock(
            Budgets::default(),
            move || Duration::from_secs(clock.load(Ordering::Relaxed)),
            move || {
                let at = read.load(Ordering::Relaxed);
                let live = Some(50 * MIB + per_second * at + at * 7919 % 1009);
                let reading = ProcessReading {
                    live_bytes: live,
                    ..ProcessReading::default()
                };
                (reading, Source::Process)
            },
        )
    };
    let (leaky, level) = (monitor(32 * 1024), monitor(0));
    for minute in 0..200 {
        now_s.store(60 * minute, Ordering::Relaxed);
        leaky.sample();
        level.sample();
    }
    let verdict = leaky.verdict();
    assert_eq!(verdict.outcome, Outcome::Leak);
    let rate = verdict.estimate.unwrap().rate;
    assert!((rate / 32_768.0 - 1.0).abs() < 0.02, "{rate}");
    let slope = leaky.metrics().growth_per_minute.unwrap();
    assert!((slope / (60.0 * 32_768.0) - 1.0).abs() < 0.02, "{slope}");
    assert!(
        matches!(level.verdict().outcome, Outcome::NoLeak(_)),
        "{:?}",
        level.verdict()
    );
    // Of a long time each two readings become one.
    for minute in 200..5000 {
        now_s.store(60 * minute, Ordering::Relaxed);
        leaky.sample();
    }
    assert_eq!(leaky.verdict().outcome, Outcome::Leak);
}

/// Threads of this process by name.
#[cfg(target_os = "linux")]
fn monitor_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("plimsoll-monito"))
        .count()
}

/// The thread may be the last to let go of the monitor: then it ends a moment later.
#[cfg(target_os = "linux")]
fn assert_no_thread_is_left() {
    let deadline = Instant::now() + Duration::from_secs(30);
    while monitor_threads() > 0 {
        assert!(
            Instant::now() < deadline,
            "the thread of the monitor goes on"
        );
        std::thread::yield_now();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_thread_samples_and_ends_with_the_monitor() {
    let (heard, samples) = channel();
    let monitor = MemoryMonitor::new(Budgets::default()).unwrap();
    monitor.on(move |event| {
        if matches!(event, Event::Sample(_)) {
            let _ = heard.send(());
        }
    });
    monitor.start(Duration::from_millis(1)).unwrap();
    monitor.start(Duration::from_millis(1)).unwrap();
    for _ in 0..3 {
        samples.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    assert_eq!(monitor_threads(), 1);
    monitor.stop();
    assert_eq!(monitor_threads(), 0);
    while samples.try_recv().is_ok() {}
    assert!(samples.recv_timeout(Duration::from_millis(20)).is_err());
    monitor.start(Duration::from_hours(1)).unwrap();
    samples.recv_timeout(Duration::from_secs(30)).unwrap();
    drop(monitor);
    assert_no_thread_is_left();
    // A listener may end it too, and one may be the last that knows it.
    let (ended, end) = channel();
    let own = Arc::new(Mutex::new(None::<MemoryMonitor>));
    let last = Arc::clone(&own);
    let monitor = MemoryMonitor::new(Budgets::default()).unwrap();
    monitor.on(move |_| {
        let monitor = last.lock().unwrap().take();
        if let Some(monitor) = monitor {
            monitor.stop();
            drop(monitor);
            let _ = ended.send(());
        }
    });
    *own.lock().unwrap() = Some(monitor.clone());
    monitor.start(Duration::from_millis(1)).unwrap();
    drop(monitor);
    end.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_no_thread_is_left();
}

#[test]
fn a_monitor_that_is_gone_has_left_nothing() {
    let verdict = plimsoll::check(|| {
        let monitor = MemoryMonitor::new(Budgets::default()).unwrap();
        monitor.on(|_| {});
        monitor.act(Action::Callback, |_, _| {});
        monitor.register_with("a", || 5);
        monitor.charge("b", 11 * MIB);
        monitor.sample();
        monitor.end("a");
    });
    assert!(verdict.is_no_leak(), "{verdict}");
}

#[test]
fn sessions_that_come_and_go_leave_nothing_in_a_monitor_that_stays() {
    let monitor = MemoryMonitor::new(Budgets::default()).unwrap();
    let mut number = 0_u64;
    let verdict = plimsoll::check(|| {
        number += 1;
        let session = format!("session {number}");
        monitor.charge_component(&session, "cache", 11 * MIB);
        monitor.end(&session);
    });
    assert!(verdict.is_no_leak(), "{verdict}");
    assert!(monitor.metrics().sessions.is_empty());
}

#[test]
fn a_monitor_that_samples_is_not_what_grows() {
    let monitor = MemoryMonitor::new(Budgets::default()).unwrap();
    monitor.charge_component("a", "cache", MIB);
    let verdict = plimsoll::check(|| monitor.sample());
    assert!(verdict.is_no_leak(), "{verdict}");
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |budgets: Budgets| MemoryMonitor::new(budgets).unwrap_err().to_string();
    let hysteresis = f64::NAN;
    assert_eq!(
        refused(Budgets {
            hysteresis,
            ..Budgets::default()
        }),
        "hysteresis is percent, 0 to 100, not NaN"
    );
    assert_eq!(
        refused(Budgets {
            alert_threshold: 101.0,
            ..Budgets::default()
        }),
        "alert_threshold is percent, 1 to 100, not 101"
    );
    assert_eq!(
        refused(Budgets {
            per_session: 0,
            ..Budgets::default()
        }),
        "per_session is above 0"
    );
}

#[test]
fn alerts_are_sentences() {
    let monitor = MemoryMonitor::new(Budgets {
        components: BTreeMap::from([("cache".to_owned(), 5 * MIB)]),
        ..Budgets::default()
    })
    .unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    monitor.on(move |event| {
        if let Event::Alert(alert) = event {
            heard.lock().unwrap().push(alert.to_string());
        }
    });
    monitor.charge_component("a", "cache", 11 * MIB);
    monitor.end("a");
    assert_eq!(
        *said.lock().unwrap(),
        [
            "session a: 11.0 MiB of 10.0 MiB",
            "cache of session a: 11.0 MiB of 5.00 MiB",
            "session a recovered: 0 B of 10.0 MiB",
            "cache of session a recovered: 0 B of 5.00 MiB",
        ]
    );
}
