//! A run with something in every field.

use plimsoll_model::{
    Artefact, Band, Culprit, Exit, Finding, Gap, Growth, Interval, Latency, Level, Limits,
    LoadInfo, Metric, Ns, Observer, OpId, OperationKind, Outcome, Output, Part, Plan, PointSet,
    ProcessId, ProcessInfo, Role, RoundKind, RoundRecord, Run, RunStatus, RuntimeInfo, SCHEMA,
    SeriesRecord, Share, Source, SourceId, SubjectInfo, TimeToLimit, Unit, Verdict,
};

const SECOND: u64 = 1_000_000_000;

fn process(pid: u32, role: Role, command: &[&str]) -> ProcessInfo {
    ProcessInfo {
        id: ProcessId {
            pid,
            start_ticks: 730_112,
        },
        parent: 4100,
        role,
        executable: Some(format!("/usr/bin/{}", command[0])),
        command: command.iter().map(|&s| s.to_owned()).collect(),
        runtime: (command[0] == "node").then(|| RuntimeInfo {
            name: "node".to_owned(),
            version: "20.20.2".to_owned(),
        }),
    }
}

fn verdict() -> Verdict {
    Verdict {
        outcome: Outcome::Leak,
        reason: String::new(),
        more_operations: None,
        more_seconds: None,
        leak_probability: 0.996,
        pattern: "linear".to_owned(),
        growth: Some(Growth {
            rate: 1884.16,
            interval: Interval {
                low: 1832.96,
                high: 1945.6,
            },
            per: "operation".to_owned(),
            per_second: Some(94_208.1),
            per_second_interval: None,
            per_operation: Some(1884.16),
            onset_s: Some(12.5),
            plateau: None,
            time_to_limit: Some(TimeToLimit {
                limit: 2_147_483_648.0,
                seconds: 22_200.0,
                low: 21_300.0,
                high: Some(23_280.0),
                at_rate: Some(50.0),
            }),
            acceleration: 1.0 / 3.0,
            consistency: 1.0,
            correlation: Some(0.99),
        }),
        bound: None,
        detectable: Some(22.4),
        floor: 4.0,
        alpha: 0.01,
        warm_up_operations: 5000,
        repairs: vec!["1 clock jumps mended".to_owned()],
        bets_p_value: Some(0.001),
        work_change: None,
        slowdown: None,
        curve: None,
    }
}

fn round(index: u32) -> RoundRecord {
    RoundRecord {
        index,
        kind: RoundKind::Measured,
        start: Ns(u64::from(index) * SECOND),
        end: Ns(u64::from(index) * SECOND + 812_345_678),
        done: 499,
        errors: 1,
        operations_so_far: 5000 + 500 * u64::from(index),
        reconnects: 2,
        connections: 10,
        latency: Latency {
            p50_ns: 812_000,
            p90_ns: 1_400_000,
            p95_ns: 2_000_000,
            p99_ns: 3_100_000,
            p99_9_ns: 6_000_000,
            max_ns: 9_000_000,
        },
        bytes_in: 75_000,
        driver_cpu_s: 0.062,
        collected: true,
        counted: true,
        parts: Vec::new(),
        values: [
            (
                Metric::LIVE_BYTES,
                22_439_526.0 + 942_080.0 * f64::from(index),
            ),
            (
                Metric::counted("listeners", "Server:request"),
                500.0 * f64::from(index),
            ),
        ]
        .into(),
    }
}

/// The run with this name and start.
#[expect(clippy::too_many_lines, reason = "a table of every field there is")]
pub(crate) fn run(id: &str, started_unix_ns: u64) -> Run {
    let service = process(4121, Role::Service, &["node", "server.js"]);
    Run {
        schema: SCHEMA.to_owned(),
        tool_version: "0.1.0".to_owned(),
        id: id.to_owned(),
        verb: "check".to_owned(),
        started_unix_ns,
        duration: Ns(48 * SECOND),
        status: RunStatus::Failed {
            what: "the server was lost in round 7".to_owned(),
            details: vec!["command: node server.js".to_owned()],
            hint: Some("run it alone first".to_owned()),
        },
        exit_code: 4,
        verdict: Some(verdict()),
        verdict_reason: String::new(),
        headline: Some(0),
        subject: SubjectInfo {
            command: vec![
                "sh".to_owned(),
                "-c".to_owned(),
                "node server.js".to_owned(),
            ],
            service: Some(service.clone()),
            processes: vec![
                process(4100, Role::Wrapper, &["sh", "-c", "node server.js"]),
                service,
            ],
            context_isolates: vec!["worker 1".to_owned()],
            exit: Some(Exit::Signal(9)),
            ready: Some(Ns(600_000_000)),
            limits: Limits {
                heap: Some(2_147_483_648),
                cgroup: None,
                host: Some(8_589_934_592),
                ..Limits::default()
            },
            output: Output {
                bytes: 1234,
                dropped_bytes: 0,
                last_lines: vec!["listening on 3000".to_owned()],
            },
        },
        load: Some(LoadInfo {
            name: "GET http://127.0.0.1:3000/api/items".to_owned(),
            operation_word: "request".to_owned(),
            operations: vec![OperationKind {
                id: OpId(0),
                name: "GET /api/items".to_owned(),
            }],
            concurrency: 10,
            total_operations: 6000,
            errors_by_kind: [("connection reset".to_owned(), 3)].into(),
            operations_per_second: Some(612.5),
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
        gaps: vec![Gap {
            what: "timers".to_owned(),
            why: "not asked".to_owned(),
        }],
        sources: vec![Source {
            id: SourceId(0),
            process: ProcessId {
                pid: 4121,
                start_ticks: 730_112,
            },
            isolate: Some(0),
            role: Role::Service,
        }],
        rounds: vec![round(4), round(5)],
        series: vec![SeriesRecord {
            metric: Metric::LIVE_BYTES,
            unit: Unit::Bytes,
            part: Part::Judged,
            source: SourceId(0),
            points: Some(PointSet {
                t: vec![Ns(4 * SECOND), Ns(5 * SECOND)],
                operations: vec![7000.0, 7500.0],
                value: vec![22_439_526.0, 23_381_606.0],
            }),
            band: Some(Band {
                start: Ns(0),
                step: Ns(100_000_000),
                min: vec![Some(1.5), None, Some(2.0)],
                max: vec![Some(0.1 + 0.2), None, Some(2.0)],
            }),
            verdict: Some(verdict()),
        }],
        shares: vec![Share {
            name: "V8 heap".to_owned(),
            rate: 1846.0,
            ratio: 0.98,
        }],
        culprits: vec![Culprit {
            kind: "request listeners on Server".to_owned(),
            holder: None,
            place: Some("src/store.js:14".to_owned()),
            count_per_op: Some(1.0),
            bytes_per_op: None,
            share: Some(0.98),
            pattern: "event listeners".to_owned(),
            advice: "remove the listener when the request ends".to_owned(),
            evidence: vec!["6,000 more in 6,000 requests".to_owned()],
        }],
        findings: vec![Finding::warning(
            "probe-slow",
            "the probe answered late",
            Some("raise `--timeout`"),
        )],
        rules: vec![plimsoll_model::RuleResult {
            name: "end-start".to_owned(),
            state: plimsoll_model::RuleState::Broken,
            metric: Some(Metric::LIVE_BYTES),
            measured: Some(11_304_960.0),
            sign: "<".to_owned(),
            limit: 5_242_880.0,
            unit: plimsoll_model::RuleUnit::Bytes,
            why: None,
            source: "Rozes DataFrame, memory leak testing".to_owned(),
        }],
        observer: Observer {
            cpu_ratio: 0.008,
            driver_cpu_ratio: 0.12,
            rss_peak: 18_874_368,
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
