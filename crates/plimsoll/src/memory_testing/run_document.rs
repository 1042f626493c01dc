//! A result as the product's run document, so that its reports, history and exporters work on it.

use std::collections::BTreeMap;

use plimsoll_model::{
    Culprit, ExitCode, Finding, Latency, Level, LoadInfo, Metric, Ns, Observer, OpId,
    OperationKind, Outcome, Part, Plan, PointSet, ProcessId, ProcessInfo, Role, RoundKind,
    RoundRecord, Run, RunStatus, SCHEMA, SeriesRecord, Source, SourceId, SubjectInfo, Unit,
    Verdict, units,
};

use super::results::{MemoryTestResult, TestScenario, TestStatus};

impl MemoryTestResult {
    /// The run document of this result: written as `run.json` into a folder of its own under `.plimsoll/runs`, `plimsoll report`
    /// and `plimsoll history` know it.
    pub fn to_run(&self) -> Run {
        let process = ProcessId {
            pid: std::process::id(),
            start_ticks: 0,
        };
        let metric = Metric::named(self.metric.as_str());
        let counted = metric == Metric::LIVE_BYTES;
        let is_driven = self.scenario != TestScenario::IdleBaseline;
        let all = self.series(&metric, is_driven);
        let leaks = |series: &SeriesRecord| series.is(Outcome::Leak);
        let headline = all.iter().position(leaks).unwrap_or_default();
        let verdict = all[headline].verdict.clone();
        let name = format!("{} {}", self.service_type, self.scenario);
        let first = self.readings.first().copied();
        Run {
            schema: SCHEMA.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            id: self.run_id(),
            verb: "scenario".to_owned(),
            started_unix_ns: self.started_unix_ns,
            duration: Ns::from_duration(self.duration),
            status: match &self.status {
                TestStatus::Completed => RunStatus::Completed,
                TestStatus::Failed(why) => RunStatus::Failed {
                    what: why.clone(),
                    details: Vec::new(),
                    hint: None,
                },
            },
            exit_code: self.exit_code().code(),
            headline: verdict.is_some().then_some(headline),
            verdict,
            verdict_reason: String::new(),
            subject: SubjectInfo {
                command: vec![name.clone()],
                service: Some(ProcessInfo {
                    id: process,
                    parent: 0,
                    role: Role::Service,
                    executable: None,
                    command: vec![name.clone()],
                    runtime: None,
                }),
                processes: Vec::new(),
                context_isolates: Vec::new(),
                exit: None,
                ready: self.ready.map(Ns::from_duration),
                limits: plimsoll_model::Limits::default(),
                output: plimsoll_model::Output::default(),
            },
            load: is_driven.then(|| self.load(name)),
            plan: Plan {
                operations_per_round: first.map_or(0, |reading| reading.operations),
                rounds: self.readings.len() as u32,
                warm_up_operations: self.warm_up_operations,
                warm_up_settled: self.warm_up_settled,
                max_time_s: self.planned.as_secs_f64(),
                idle_growth_per_round: None,
            },
            levels: vec![if counted {
                Level::Allocator
            } else {
                Level::Process
            }],
            gaps: Vec::new(),
            sources: vec![Source {
                id: SourceId(0),
                process,
                isolate: None,
                role: Role::Service,
            }],
            rounds: self.rounds(&metric),
            series: all,
            shares: Vec::new(),
            culprits: self.culprits(),
            findings: self.findings(),
            rules: Vec::new(),
            observer: Observer::default(),
            artefacts: Vec::new(),
        }
    }

    /// Sorts by time, as the names of all runs.
    fn run_id(&self) -> String {
        let mut time = units::timestamp(self.started_unix_ns);
        time.retain(|c| c != '-' && c != ':');
        format!("{time}-{}", std::process::id())
    }

    fn exit_code(&self) -> ExitCode {
        let is = |outcome| self.verdict.as_ref().is_some_and(|v| v.outcome == outcome);
        let leaks = self.leak_detection.leak_detected;
        match &self.status {
            TestStatus::Failed(_) => ExitCode::Failed,
            TestStatus::Completed if leaks || !self.violations.is_empty() => ExitCode::Broken,
            TestStatus::Completed if is(Outcome::NoLeak) => ExitCode::Holds,
            TestStatus::Completed => ExitCode::Inconclusive,
        }
    }

    fn load(&self, name: String) -> LoadInfo {
        let measured = &self.performance_metrics;
        let total = self.readings.last().map_or(0, |reading| reading.operations);
        LoadInfo {
            name,
            operation_word: "operation".to_owned(),
            operations: self
                .operations
                .iter()
                .enumerate()
                .map(|(number, operation)| OperationKind {
                    id: OpId(number as u32),
                    name: operation.kind.clone(),
                })
                .collect(),
            concurrency: self
                .levels
                .iter()
                .map(|level| level.concurrency)
                .max()
                .unwrap_or(1),
            total_operations: total + self.warm_up_operations,
            errors_by_kind: self.errors.clone(),
            operations_per_second: Some(measured.operations_per_second)
                .filter(|rate| rate.is_finite()),
            figures: None,
            growth: Vec::new(),
            per_process: Vec::new(),
        }
    }

    /// Of bytes, and of blocks where they were judged.
    fn series(&self, metric: &Metric, is_driven: bool) -> Vec<SeriesRecord> {
        let of = |metric: Metric, unit, value: Vec<f64>, verdict: &Option<Verdict>| {
            let operations = self.readings.iter().map(|r| r.operations as f64);
            SeriesRecord {
                metric,
                unit,
                part: Part::Judged,
                source: SourceId(0),
                points: Some(PointSet {
                    t: self.readings.iter().map(|r| Ns(r.t_ns)).collect(),
                    operations: operations.filter(|_| is_driven).collect(),
                    value,
                }),
                band: None,
                verdict: verdict.clone(),
            }
        };
        let bytes = self.readings.iter().map(|r| r.bytes).collect();
        let mut all = vec![of(metric.clone(), Unit::Bytes, bytes, &self.verdict)];
        if self.blocks_verdict.is_some() {
            let blocks = self.readings.iter().map(|r| r.blocks).collect();
            let metric = Metric::named("live_blocks");
            all.push(of(metric, Unit::Count, blocks, &self.blocks_verdict));
        }
        all
    }

    fn rounds(&self, metric: &Metric) -> Vec<RoundRecord> {
        let mut before = (0, 0);
        let records = self.readings.iter().enumerate().map(|(index, reading)| {
            let (start, operations) = before;
            before = (reading.t_ns, reading.operations);
            RoundRecord {
                index: index as u32,
                kind: RoundKind::Measured,
                start: Ns(start),
                end: Ns(reading.t_ns),
                done: reading.operations - operations,
                errors: 0,
                operations_so_far: reading.operations,
                reconnects: 0,
                connections: 0,
                latency: Latency::default(),
                bytes_in: 0,
                driver_cpu_s: 0.0,
                collected: true,
                counted: false,
                values: BTreeMap::from([(metric.clone(), reading.bytes)]),
                parts: Vec::new(),
            }
        });
        records.collect()
    }

    fn culprits(&self) -> Vec<Culprit> {
        let sources = &self.leak_detection.suspected_sources;
        let of = |source: &String| Culprit {
            kind: source.clone(),
            holder: None,
            place: None,
            count_per_op: None,
            bytes_per_op: None,
            share: None,
            pattern: String::new(),
            // What to do is said of the run as a whole.
            advice: String::new(),
            evidence: Vec::new(),
        };
        sources.iter().map(of).collect()
    }

    fn findings(&self) -> Vec<Finding> {
        let violations = self.violations.iter().map(|violation| {
            let id = format!("{:?}", violation.violation_type);
            Finding::warning(&id, violation.description.clone(), None)
        });
        let unmeasured = self.unmeasured.iter().map(|figure| {
            let message = format!("{} was not measured: {}", figure.figure, figure.reason);
            Finding::info("unmeasured", message)
        });
        let advice = self.recommendations.iter();
        let advice = advice.map(|text| Finding::info("recommendation", text.clone()));
        violations.chain(advice).chain(unmeasured).collect()
    }
}
