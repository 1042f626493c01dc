//! Runs to render: one that leaks, and what is changed to make the others.

use plimsoll_model::{
    Artefact, Band, Culprit, Finding, Growth, Interval, Latency, Level, Limits, LoadInfo, Metric,
    Ns, Observer, OpId, OperationKind, Outcome, Output, Part, Plan, PointSet, ProcessId,
    ProcessInfo, Role, RoundKind, RoundRecord, Run, RunStatus, RuntimeInfo, SCHEMA, SeriesRecord,
    Share, Source, SourceId, SubjectInfo, TimeToLimit, Unit, Verdict,
};

const SECOND: u64 = 1_000_000_000;
const MIB: f64 = 1_048_576.0;

pub(crate) fn verdict(outcome: Outcome, rate: f64, interval: (f64, f64)) -> Verdict {
    Verdict {
        outcome,
        reason: String::new(),
        more_operations: None,
        more_seconds: None,
        leak_probability: match outcome {
            Outcome::Leak => 0.9964,
            Outcome::NoLeak => 0.0031,
            Outcome::Inconclusive => 0.43,
        },
        pattern: if outcome == Outcome::Leak {
            "linear"
        } else {
            "flat"
        }
        .to_owned(),
        growth: Some(Growth {
            rate,
            interval: Interval {
                low: interval.0,
                high: interval.1,
            },
            per: "operation".to_owned(),
            per_second: Some(rate * 612.0),
            per_second_interval: None,
            per_operation: Some(rate),
            onset_s: None,
            plateau: None,
            time_to_limit: None,
            acceleration: 1.0,
            consistency: 1.0,
            correlation: Some(0.99),
        }),
        bound: (outcome == Outcome::NoLeak).then_some(interval.1),
        detectable: Some(6.1),
        floor: 4.0,
        alpha: 0.01,
        warm_up_operations: 5000,
        repairs: vec![],
        bets_p_value: Some(0.001),
        work_change: None,
        slowdown: None,
        curve: None,
    }
}

pub(crate) fn series(metric: Metric, values: &[f64], verdict: Option<Verdict>) -> SeriesRecord {
    SeriesRecord {
        unit: metric.unit(),
        metric,
        part: Part::Judged,
        source: SourceId(1),
        points: Some(PointSet {
            t: (0..values.len() as u64)
                .map(|i| Ns((10 + i) * SECOND))
                .collect(),
            operations: (0..values.len())
                .map(|i| 5000.0 + 500.0 * i as f64)
                .collect(),
            value: values.to_vec(),
        }),
        band: None,
        verdict,
    }
}

fn round(index: u32, live: f64) -> RoundRecord {
    RoundRecord {
        index,
        kind: RoundKind::Measured,
        start: Ns((9 + u64::from(index)) * SECOND),
        end: Ns((10 + u64::from(index)) * SECOND),
        done: 500,
        errors: 0,
        operations_so_far: 5000 + 500 * u64::from(index),
        reconnects: 0,
        connections: 10,
        latency: Latency::default(),
        bytes_in: 75_000,
        driver_cpu_s: 0.06,
        collected: true,
        counted: true,
        parts: Vec::new(),
        values: [(Metric::LIVE_BYTES, live)].into(),
    }
}

fn service() -> ProcessInfo {
    ProcessInfo {
        id: ProcessId {
            pid: 4121,
            start_ticks: 730_112,
        },
        parent: 4100,
        role: Role::Service,
        executable: Some("/usr/bin/node".to_owned()),
        command: vec!["node".to_owned(), "server.js".to_owned()],
        runtime: Some(RuntimeInfo {
            name: "node".to_owned(),
            version: "20.20.2".to_owned(),
        }),
    }
}

/// A session map that keeps every session.
#[expect(clippy::too_many_lines, reason = "a table of fields")]
pub(crate) fn leak() -> Run {
    let live: Vec<f64> = (0..13)
        .map(|i| 21.4 * MIB + 942_080.0 * f64::from(i))
        .collect();
    let mut main = verdict(Outcome::Leak, 1884.16, (1832.96, 1945.6));
    if let Some(growth) = &mut main.growth {
        growth.time_to_limit = Some(TimeToLimit {
            limit: 2048.0 * MIB,
            seconds: 22_200.0,
            low: 21_300.0,
            high: Some(23_280.0),
            at_rate: Some(50.0),
        });
    }
    Run {
        schema: SCHEMA.to_owned(),
        tool_version: "0.1.0".to_owned(),
        id: "20261121T051400.000Z-4100".to_owned(),
        verb: "check".to_owned(),
        started_unix_ns: 1_795_238_040 * SECOND,
        duration: Ns(48 * SECOND),
        status: RunStatus::Completed,
        exit_code: 1,
        verdict: Some(main.clone()),
        verdict_reason: String::new(),
        headline: Some(0),
        subject: SubjectInfo {
            command: vec!["node".to_owned(), "server.js".to_owned()],
            service: Some(service()),
            processes: vec![service()],
            context_isolates: vec![],
            exit: None,
            ready: Some(Ns(600_000_000)),
            limits: Limits {
                heap: Some(2048 << 20),
                cgroup: None,
                host: Some(8192 << 20),
                ..Limits::default()
            },
            output: Output::default(),
        },
        load: Some(LoadInfo {
            name: "GET http://127.0.0.1:3000/api/items".to_owned(),
            operation_word: "request".to_owned(),
            operations: vec![OperationKind {
                id: OpId(0),
                name: "GET /api/items".to_owned(),
            }],
            concurrency: 10,
            total_operations: 11_000,
            errors_by_kind: [].into(),
            operations_per_second: Some(612.0),
            ..LoadInfo::default()
        }),
        plan: Plan {
            operations_per_round: 500,
            rounds: 12,
            warm_up_operations: 5000,
            warm_up_settled: true,
            max_time_s: 240.0,
            idle_growth_per_round: Some(512.0),
        },
        levels: vec![Level::Process, Level::Probe],
        gaps: vec![],
        sources: vec![Source {
            id: SourceId(1),
            process: service().id,
            isolate: Some(0),
            role: Role::Service,
        }],
        rounds: live[1..]
            .iter()
            .zip(1..)
            .map(|(&v, i)| round(i, v))
            .collect(),
        series: vec![
            series(Metric::LIVE_BYTES, &live, Some(main.clone())),
            series(Metric::HEAP_USED, &live, Some(main)),
        ],
        shares: [
            ("V8 heap", 0.98),
            ("external", 0.01),
            ("outside the heap", 0.01),
        ]
        .map(|(name, ratio)| Share {
            name: name.to_owned(),
            rate: 1884.16 * ratio,
            ratio,
        })
        .to_vec(),
        culprits: vec![],
        findings: vec![],
        rules: Vec::new(),
        observer: Observer {
            cpu_ratio: 0.008,
            driver_cpu_ratio: 0.12,
            rss_peak: 18 << 20,
            subject_pause_s: 0.4,
            dropped_samples: 0,
        },
        artefacts: vec![Artefact {
            kind: "log".to_owned(),
            path: "samples.plog".to_owned(),
            bytes: 51_200,
        }],
    }
}

/// A listener for every request, beside the bytes it holds.
pub(crate) fn listeners() -> Run {
    let mut run = leak();
    let counts: Vec<f64> = (0..13).map(|i| 5000.0 + 500.0 * f64::from(i)).collect();
    let metric = Metric::counted("listeners", "Bus:change");
    let mut count = verdict(Outcome::Leak, 1.0, (1.0, 1.0));
    count.floor = 0.005;
    run.series.push(series(metric, &counts, Some(count)));
    run.culprits.push(Culprit {
        kind: "listeners for `change` on Bus".to_owned(),
        holder: None,
        place: None,
        count_per_op: Some(1.0),
        bytes_per_op: None,
        share: None,
        pattern: "event listeners".to_owned(),
        advice: "a listener is added per operation and never removed: use `once`, `off` in a `finally`, or an \
                 AbortSignal"
            .to_owned(),
        evidence: vec![
            "1 more per operation (95 % CI 1 … 1)".to_owned(),
            "counted 11,000, 11,500 after +N, 12,000 after +2N, 12,000 after idling".to_owned(),
        ],
    });
    run
}

/// A culprit with all that can be known of one.
pub(crate) fn held() -> Run {
    let mut run = leak();
    run.culprits.push(Culprit {
        kind: "Session x 6,000".to_owned(),
        holder: Some("Map `sessions` (module store.js)".to_owned()),
        place: Some("src/store.js:14".to_owned()),
        count_per_op: Some(1.0),
        bytes_per_op: Some(1853.4),
        share: Some(0.98),
        pattern: "unbounded map".to_owned(),
        advice: "nothing deletes what `set` adds".to_owned(),
        evidence: vec!["root → module store.js → sessions → Map → Session".to_owned()],
    });
    run
}

/// Only the count leaks; bytes are flat.
pub(crate) fn count_only() -> Run {
    let mut run = listeners();
    let flat: Vec<f64> = (0..13).map(|i| 21.4 * MIB + f64::from(i % 3)).collect();
    let bytes = verdict(Outcome::NoLeak, 0.2, (-1.5, 1.9));
    run.series[0] = series(Metric::LIVE_BYTES, &flat, Some(bytes));
    run.series.remove(1);
    run.headline = Some(1);
    run.verdict.clone_from(&run.series[1].verdict);
    run.culprits.clear();
    run.shares.clear();
    run
}

pub(crate) fn no_leak() -> Run {
    let mut run = leak();
    let flat: Vec<f64> = (0..13)
        .map(|i| 21.4 * MIB + 700.0 * f64::from(i % 3))
        .collect();
    let main = verdict(Outcome::NoLeak, 0.2, (-1.5, 1.9));
    run.exit_code = 0;
    run.verdict = Some(main.clone());
    run.series = vec![series(Metric::LIVE_BYTES, &flat, Some(main))];
    run.shares.clear();
    run
}

/// `reason` as the model words it.
pub(crate) fn inconclusive(reason: &str, more_operations: Option<u64>) -> Run {
    let mut run = no_leak();
    let mut main = verdict(Outcome::Inconclusive, 3.4, (-2.1, 8.9));
    main.reason = reason.into();
    main.more_operations = more_operations;
    run.exit_code = 3;
    run.series[0].verdict = Some(main.clone());
    run.verdict = Some(main);
    run
}

pub(crate) fn failed() -> Run {
    let mut run = leak();
    run.exit_code = 4;
    run.status = RunStatus::Failed {
        what: "the server was lost in round 7: connection refused".to_owned(),
        details: vec![
            "command: node server.js".to_owned(),
            "last lines: RangeError: Invalid array length".to_owned(),
            "            at push (server.js:14:9)".to_owned(),
        ],
        hint: Some("run it alone first, or raise `--ready-timeout 30s`".to_owned()),
    };
    run.rounds.truncate(6);
    run
}

pub(crate) fn interrupted() -> Run {
    let mut run = no_leak();
    run.exit_code = 130;
    run.status = RunStatus::Interrupted;
    run.rounds.truncate(5);
    run
}

/// A program that is watched, not driven: judged on time by resident memory.
pub(crate) fn passive() -> Run {
    let mut run = leak();
    let rate = 611.67;
    let mut main = verdict(Outcome::Leak, rate, (580.0, 640.0));
    if let Some(growth) = &mut main.growth {
        growth.per = "second".into();
        growth.per_second = Some(rate);
        growth.per_operation = None;
        growth.onset_s = Some(12.0);
        growth.time_to_limit = Some(TimeToLimit {
            limit: 8192.0 * MIB,
            seconds: 1.4e7,
            low: 1.3e7,
            high: None,
            at_rate: None,
        });
    }
    main.floor = 163.8;
    main.warm_up_operations = 0;
    let band = Band {
        start: Ns(0),
        step: Ns(100_000_000),
        min: (0..600)
            .map(|i| (i != 300).then_some(40.0 * MIB + 61.1 * f64::from(i)))
            .collect(),
        max: (0..600)
            .map(|i| (i != 300).then_some(41.0 * MIB + 61.1 * f64::from(i)))
            .collect(),
    };
    run.subject.command = vec!["./worker".to_owned(), "--verbose".to_owned()];
    if let Some(service) = &mut run.subject.service {
        service.runtime = None;
    }
    run.duration = Ns(60_600_000_000);
    run.load = None;
    run.plan = Plan::default();
    run.rounds.clear();
    run.shares.clear();
    run.levels = vec![Level::Process];
    run.series = vec![SeriesRecord {
        metric: Metric::RSS_ANON,
        unit: Unit::Bytes,
        part: Part::Judged,
        source: SourceId(0),
        points: None,
        band: Some(band),
        verdict: Some(main.clone()),
    }];
    run.verdict = Some(main);
    run
}

/// A Node service whose probe never said hello.
pub(crate) fn without_probe() -> Run {
    let mut run = inconclusive(
        "the noise is larger than the growth in question",
        Some(30_000),
    );
    run.series[0].metric = Metric::RSS_ANON;
    for round in &mut run.rounds {
        round.collected = false;
    }
    run.levels = vec![Level::Process];
    run.findings = vec![Finding::warning(
        "probe-not-loaded",
        "probe not loaded: NODE_OPTIONS was replaced by the start script; process level only",
        Some("start the service without its wrapper"),
    )];
    let wrapper = ProcessInfo {
        id: ProcessId {
            pid: 4100,
            start_ticks: 730_100,
        },
        role: Role::Wrapper,
        command: ["sh", "-c", "node server.js"].map(str::to_owned).to_vec(),
        runtime: None,
        ..service()
    };
    run.subject.command = vec!["npm".to_owned(), "start".to_owned()];
    run.subject.processes.insert(0, wrapper);
    run
}

/// Everything the subject can put into a report, as a subject would that wants to fool its reader.
pub(crate) fn hostile() -> Run {
    const EVIL: &str = "\x1b[2J\x1b[H\r\nNO LEAK <b a=\"1\">&amp;]]></b>\u{0}\u{202e}\u{fffe}";
    let mut run = failed();
    run.subject.command = vec!["node".to_owned(), EVIL.to_owned()];
    run.status = RunStatus::Failed {
        what: format!("the subject died {EVIL}"),
        details: vec![EVIL.to_owned()],
        hint: None,
    };
    if let Some(load) = &mut run.load {
        load.name = EVIL.into();
        load.errors_by_kind = [(EVIL.to_owned(), 3)].into();
    }
    run.findings = vec![Finding::info("x", EVIL)];
    run.series[0].metric = Metric::counted("listeners", EVIL);
    run.id = EVIL.into();
    run
}
