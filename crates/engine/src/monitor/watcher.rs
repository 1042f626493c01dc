//! The loop of a monitor: who is there, what each uses, what their runtimes say; once per interval, and more often for a
//! moment after the tree changed.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use plimsoll_model::{
    Artefact, Cancel, Event, ExitCode, Finding, Gap, Metric, Ns, Outcome, Output, Phase, Plan,
    ProcessId, ProcessInfo, Reading, ReadingRow, Role, Run, RunStatus, SCHEMA, Sample, Source,
    SourceId, SubjectInfo, Verdict, units,
};
use plimsoll_probe::{
    Cgroup, CgroupReading, ClockWatch, Family, HubEvent, IsolateInfo, Process, ProcessSampler,
    Sampler,
};
use plimsoll_store::{Record, RecorderHandle, RunDir};

use super::tracks::Tracks;
use super::{Monitor, Watched};
use crate::check::attach_bands;
use crate::clock::gaps;
use crate::document::{incomplete_log, levels, observer};
use crate::limits::Room;
use crate::pace::{Due, Pace};
use crate::place::{Place, unix_now};

/// Processes watched at most: each costs three descriptors.
const MOST_PROCESSES: usize = 4096;
/// The control group is read at most so often.
const GROUP_EVERY: Duration = Duration::from_secs(1);
/// How long the status of an ended command may take to be known.
const REAPED: Duration = Duration::from_secs(5);
/// How long what ended must have lived for its like to count as its replacement.
const LIVED: Duration = Duration::from_secs(2);

/// A run that is over and not written yet.
pub(crate) struct Concluded {
    pub(crate) run: Run,
    directory: Option<RunDir>,
    log_bytes: u64,
}

impl Concluded {
    /// Completes the run document and writes it.
    pub(crate) fn keep_with(mut self, complete: impl FnOnce(&mut Run)) -> Run {
        complete(&mut self.run);
        self.keep()
    }

    /// Writes the run document.
    pub(crate) fn keep(mut self) -> Run {
        if let Some(directory) = &self.directory {
            keep(&mut self.run, directory, self.log_bytes);
        }
        self.run
    }
}

pub(super) struct Watcher<'a> {
    config: &'a Monitor,
    watched: Watched<'a>,
    epoch: Instant,
    recorder: RecorderHandle,
    events: &'a mut dyn FnMut(Event),
    family: Family,
    sampler: ProcessSampler,
    /// Empty between ticks, kept for its room.
    readings: Vec<Sample>,
    clock: ClockWatch,
    pace: Pace,
    sources: Vec<Source>,
    processes: BTreeMap<ProcessId, Seen>,
    isolates: HashMap<u64, Inside>,
    group: Option<Cgroup>,
    group_reading: CgroupReading,
    group_read: Option<Instant>,
    group_first: Option<CgroupReading>,
    tracks: Tracks,
    limit_room: Room,
    findings: Vec<Finding>,
    gaps: Vec<Gap>,
    ended: Vec<(ProcessId, Ns)>,
    dropped: u64,
}

/// A process that is or was there.
struct Seen {
    source: SourceId,
    info: ProcessInfo,
    process: Process,
    first: Ns,
    values: BTreeMap<Metric, f64>,
    cpu: Option<(Ns, f64)>,
}

/// An isolate whose probe speaks.
struct Inside {
    source: SourceId,
    process: ProcessId,
    is_main: bool,
    heap_limit: Option<u64>,
    collections: u64,
    collecting: Duration,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(
        config: &'a Monitor,
        watched: Watched<'a>,
        epoch: Instant,
        recorder: RecorderHandle,
        events: &'a mut dyn FnMut(Event),
    ) -> Self {
        let group = watched.roots.first().and_then(Cgroup::of);
        Self {
            family: Family::of(watched.roots.clone()),
            config,
            watched,
            epoch,
            recorder,
            events,
            sampler: ProcessSampler::new(),
            readings: Vec::new(),
            clock: ClockWatch::start(),
            pace: Pace::every(config.interval, Instant::now()),
            sources: Vec::new(),
            processes: BTreeMap::new(),
            isolates: HashMap::new(),
            group,
            group_reading: CgroupReading::default(),
            group_read: None,
            group_first: None,
            tracks: Tracks::default(),
            limit_room: Room::default(),
            findings: Vec::new(),
            gaps: Vec::new(),
            ended: Vec::new(),
            dropped: 0,
        }
    }

    fn now(&self) -> Ns {
        Ns::from_duration(self.epoch.elapsed())
    }

    /// Watches until the planned time is over, nobody it began with is left, or somebody says stop.
    pub(super) fn watch(&mut self, cancel: &Cancel) {
        let started = Instant::now();
        let until = self.config.duration.map(|d| started + d);
        let detail = match self.config.duration {
            Some(planned) => units::duration(planned.as_secs_f64()),
            None => "until it ends, or Ctrl-C".to_owned(),
        };
        (self.events)(Event::PhaseStarted {
            phase: Phase::Watch,
            detail,
        });
        let mut looked = Instant::now();
        loop {
            let (at, due) = self.pace.next();
            let deadline = until.map_or(at, |until| until.min(at));
            self.wait(cancel, deadline);
            let over = until.is_some_and(|until| Instant::now() >= until);
            if cancel.is_cancelled() || over || !self.family.has_root() {
                break;
            }
            let began = Instant::now();
            self.look_at_clocks(deadline.saturating_duration_since(looked));
            looked = began;
            self.look_at_tree();
            if Instant::now() >= at {
                self.read(due);
                self.pace.taken(due, Instant::now(), began.elapsed());
            }
        }
        if !self.watched.command.is_empty() && !self.family.has_root() {
            // We see its end a moment before whoever reaps it knows how it ended, and says stop.
            plimsoll_probe::wait_for_end(&[], cancel, Instant::now() + REAPED);
        }
        self.absorb_probes();
        (self.events)(Event::PhaseEnded {
            phase: Phase::Watch,
            detail: units::duration(started.elapsed().as_secs_f64()),
        });
    }

    /// Until the next reading is due, or one of those it began with ends.
    fn wait(&self, cancel: &Cancel, deadline: Instant) {
        let roots: Vec<&Process> = self
            .watched
            .roots
            .iter()
            .filter(|process| process.is_alive())
            .collect();
        plimsoll_probe::wait_for_end(&roots, cancel, deadline);
    }

    /// `expected` is when this look was due, since the last one.
    fn look_at_clocks(&mut self, expected: Duration) {
        let change = self.clock.look(expected);
        let at = self.now();
        if let Some(unix_ns) = change.unix_ns {
            self.recorder.record(Record::Clock { at, unix_ns });
        }
        for Gap { what, why } in gaps(&change) {
            self.gap(at, &what, why);
        }
    }

    fn gap(&mut self, at: Ns, what: &str, why: String) {
        self.recorder.record(Record::Gap {
            at,
            what: what.to_owned(),
            why: why.clone(),
        });
        // The run lists a few; the log has them all.
        if self.gaps.len() < 20 {
            self.gaps.push(Gap {
                what: what.to_owned(),
                why,
            });
        }
    }

    fn look_at_tree(&mut self) {
        let change = self.family.look();
        let at = self.now();
        if !change.joined.is_empty() || !change.replaced.is_empty() || !change.left.is_empty() {
            self.pace.mark(Instant::now());
        }
        for process in change.left {
            let id = process.id();
            let exit = (self.watched.roots.iter().any(|root| root.id() == id))
                .then(|| self.watched.exit.get().copied())
                .flatten();
            self.recorder.record(Record::Exit {
                at,
                process: id,
                exit,
            });
            if let Some(seen) = self.processes.get_mut(&id) {
                self.sampler.unwatch(seen.source);
                seen.values.clear();
                self.ended.push((id, at));
            }
        }
        let any_new = !change.joined.is_empty() || !change.replaced.is_empty();
        for process in change.joined {
            self.join(process, at);
        }
        if any_new {
            self.assign_roles(at);
        }
    }

    fn join(&mut self, process: Process, at: Ns) {
        if self.processes.len() >= MOST_PROCESSES {
            let why = format!("more than {MOST_PROCESSES} processes");
            self.gap(at, "further processes", why);
            return;
        }
        let source = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        self.sources.push(Source {
            id: source,
            process: process.id(),
            isolate: None,
            role: Role::Other,
        });
        self.sampler.watch(source, process.clone());
        self.processes.insert(
            process.id(),
            Seen {
                source,
                info: process.info(Role::Other),
                process,
                first: at,
                values: BTreeMap::new(),
                cpu: None,
            },
        );
    }

    /// Who is what, again for all: a shell becomes its program, a worker joins its master. Told once per process and role.
    fn assign_roles(&mut self, at: Ns) {
        let mut living: Vec<Process> = self.family.members().cloned().collect();
        living.sort_by_key(|p| (p.id().start_ticks, p.id().pid));
        let mut roles: BTreeMap<ProcessId, ProcessInfo> = BTreeMap::new();
        for root in &self.watched.roots {
            let Some(members) = plimsoll_probe::roles_of(living.clone(), root.id().pid) else {
                continue;
            };
            for info in members.processes {
                // Of several roots, each is its own service; what is other to one may be a worker to the next.
                let known = roles.get(&info.id).map(|known| known.role);
                if known.is_none() || known == Some(Role::Other) {
                    roles.insert(info.id, info);
                }
            }
        }
        for (id, info) in roles {
            let Some(seen) = self.processes.get_mut(&id) else {
                continue;
            };
            let runtime = seen.info.runtime.clone();
            let is_news = seen.info.role != info.role
                || seen.info.command != info.command
                || seen.first == at;
            seen.info = ProcessInfo { runtime, ..info };
            if !is_news {
                continue;
            }
            if let Some(source) = self.sources.get_mut(seen.source.0 as usize) {
                source.role = seen.info.role;
                self.recorder.record(Record::Source(source.clone()));
            }
            self.recorder.record(Record::Process {
                at,
                process: Box::new(seen.info.clone()),
            });
        }
    }

    fn read(&mut self, due: Due) {
        self.absorb_probes();
        let at = self.now();
        let mut samples = std::mem::take(&mut self.readings);
        self.sampler.tick(at, &mut |sample| samples.push(sample));
        let owners: HashMap<SourceId, ProcessId> = self
            .processes
            .iter()
            .map(|(id, seen)| (seen.source, *id))
            .collect();
        let mut sum = 0.0;
        let mut counted = 0;
        for sample in &samples {
            let Some(seen) = owners
                .get(&sample.source)
                .and_then(|id| self.processes.get_mut(id))
            else {
                continue;
            };
            if sample.metric == Metric::RSS_ANON {
                sum += sample.value;
                counted += 1;
                if due == Due::Regular {
                    self.tracks
                        .add(sample.source, &Metric::RSS_ANON, sample.at, sample.value);
                }
            }
            seen.values.insert(sample.metric.clone(), sample.value);
        }
        self.recorder.row(&mut samples);
        self.readings = samples;
        if due == Due::Extra {
            return;
        }
        // A sum of one is no series of its own, until there was a second.
        if (counted > 1 || self.processes.len() > 1)
            && let Some(first) = self.sources.first()
        {
            let (source, metric) = (first.id, Metric::RSS_ANON_SUM);
            self.tracks.add(source, &metric, at, sum);
            self.recorder.sample(Sample {
                at,
                source,
                metric,
                value: sum,
            });
        }
        self.read_group(at);
        let reading = self.reading(at);
        (self.events)(Event::Reading(Box::new(reading)));
    }

    fn read_group(&mut self, at: Ns) {
        let Some(group) = &self.group else { return };
        if self
            .group_read
            .is_some_and(|read| read.elapsed() < GROUP_EVERY)
        {
            return;
        }
        self.group_read = Some(Instant::now());
        let before = self.group_reading;
        self.group_reading = group.read();
        let first = *self.group_first.get_or_insert(self.group_reading);
        if let Some(source) = self.sources.first().map(|s| s.id) {
            let sample = |(metric, value)| Sample {
                at,
                source,
                metric,
                value,
            };
            let mut row = group_values(&self.group_reading).map(sample).collect();
            self.recorder.row(&mut row);
        }
        let rose = |now: Option<u64>, then: Option<u64>| now.zip(then).is_some_and(|(n, t)| n > t);
        if rose(self.group_reading.oom_kills, before.oom_kills) {
            self.recorder.record(Record::Mark {
                at,
                what: "the kernel killed a process of the control group for want of memory"
                    .to_owned(),
            });
        }
        if rose(self.group_reading.oom_kills, first.oom_kills) {
            self.found(Finding::warning(
                "oom-kill",
                "the kernel killed a process of the control group for want of memory",
                Some("raise the limit of the group, or find what grows"),
            ));
        }
        if rose(self.group_reading.high_events, first.high_events) {
            self.found(Finding::warning(
                "slowed-at-high",
                "the control group was slowed down at its memory.high: what is measured here is not what it would use",
                None,
            ));
        }
    }

    fn reading(&mut self, at: Ns) -> Reading {
        let mut rows = Vec::new();
        for (id, seen) in &mut self.processes {
            if seen.values.is_empty() {
                continue;
            }
            let cpu = seen.values.get(&Metric::CPU_SECONDS).copied();
            let ratio = cpu.zip(seen.cpu).map(|(now, (then_at, then))| {
                (now - then).max(0.0) / at.since(then_at).as_secs_f64().max(1e-3)
            });
            seen.cpu = cpu.map(|seconds| (at, seconds)).or(seen.cpu);
            rows.push(ReadingRow {
                process: *id,
                role: seen.info.role,
                name: name_of(&seen.info),
                values: seen.values.clone(),
                cpu_ratio: ratio,
            });
        }
        rows.sort_by_key(|row| (row.process.start_ticks, row.process.pid));
        Reading {
            at,
            unix_ns: unix_now(),
            rows,
            group: group_values(&self.group_reading).collect(),
        }
    }

    fn absorb_probes(&mut self) {
        let Some(hub) = self.watched.hub else { return };
        while let Ok(event) = hub.events().try_recv() {
            match event {
                HubEvent::Up(isolate) => self.isolate_up(&isolate),
                HubEvent::Down { key } => {
                    if let Some(inside) = self.isolates.remove(&key) {
                        self.recorder.record(Record::Gap {
                            at: Ns::from_duration(self.epoch.elapsed()),
                            what: format!("source {}", inside.source.0),
                            why: "its probe closed the connection".to_owned(),
                        });
                    }
                }
                HubEvent::Samples { key, at, values } => self.probe_samples(key, at, values),
                HubEvent::Gc {
                    key,
                    at,
                    kind,
                    pause_ns,
                    used_after,
                } => self.collection(key, at, kind, pause_ns, used_after),
                HubEvent::Dropped { count, .. } => {
                    self.dropped += count;
                    self.recorder.record(Record::Drops {
                        at: Ns::from_duration(self.epoch.elapsed()),
                        count,
                    });
                }
                HubEvent::Gap { what, why, .. } => {
                    let at = self.now();
                    self.gap(at, &what, why);
                }
                HubEvent::Refused { why } => self.found(Finding::warning(
                    "connection-refused",
                    format!("a connection to the probe hub was refused: {why}"),
                    None,
                )),
                _ => {}
            }
        }
    }

    fn isolate_up(&mut self, isolate: &IsolateInfo) {
        let source = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        let role = self
            .processes
            .get(&isolate.process)
            .map_or(Role::Other, |seen| seen.info.role);
        let record = Source {
            id: source,
            process: isolate.process,
            isolate: Some(isolate.isolate),
            role,
        };
        self.recorder.record(Record::Source(record.clone()));
        self.sources.push(record);
        if let Some(seen) = self.processes.get_mut(&isolate.process) {
            seen.info.runtime = Some(isolate.capabilities.runtime.clone());
        }
        self.isolates.insert(
            isolate.key,
            Inside {
                source,
                process: isolate.process,
                is_main: isolate.isolate == 0,
                heap_limit: isolate.heap_limit,
                collections: 0,
                collecting: Duration::ZERO,
            },
        );
    }

    fn probe_samples(&mut self, key: u64, at: Ns, values: Vec<(Metric, f64)>) {
        let Some(inside) = self.isolates.get(&key) else {
            return;
        };
        let (source, is_main) = (inside.source, inside.is_main);
        let seen = self.processes.get_mut(&inside.process);
        if is_main && let Some(seen) = seen {
            seen.values.extend(values.iter().cloned());
        }
        for (metric, value) in &values {
            if is_main && *metric == Metric::HEAP_USED {
                self.tracks.add(source, metric, at, *value);
            }
        }
        let sample = |(metric, value)| Sample {
            at,
            source,
            metric,
            value,
        };
        self.recorder
            .row(&mut values.into_iter().map(sample).collect());
    }

    fn collection(
        &mut self,
        key: u64,
        at: Ns,
        kind: String,
        pause_ns: u64,
        used_after: Option<f64>,
    ) {
        let Some(inside) = self.isolates.get_mut(&key) else {
            return;
        };
        inside.collections += 1;
        inside.collecting += Duration::from_nanos(pause_ns);
        let source = inside.source;
        let values = [
            (Metric::GC_COUNT, Some(inside.collections as f64)),
            (Metric::GC_SECONDS, Some(inside.collecting.as_secs_f64())),
            (Metric::HEAP_USED_AFTER_GC, used_after),
        ];
        let seen = self
            .processes
            .get_mut(&inside.process)
            .filter(|_| inside.is_main);
        if let Some(seen) = seen {
            let known = values.iter().filter_map(|(m, v)| Some((m.clone(), (*v)?)));
            seen.values.extend(known);
        }
        self.recorder
            .collection(at, source, kind, pause_ns, used_after);
    }

    fn found(&mut self, finding: Finding) {
        if self.findings.iter().any(|f| f.id == finding.id) {
            return;
        }
        self.findings.push(finding.clone());
        (self.events)(Event::Found(finding));
    }

    /// One more reading of everybody, now.
    pub(super) fn read_last(&mut self) {
        self.look_at_tree();
        self.read(Due::Regular);
    }

    /// Judges what was seen, and closes the log.
    pub(super) fn conclude(mut self, place: Place, started_unix_ns: u64) -> Concluded {
        let duration = self.now();
        let services: Vec<ProcessInfo> = self.service();
        let service = services.first().cloned();
        let probe_on = self.sources.iter().any(|source| source.isolate.is_some());
        self.say_what_was_not_seen(&services, probe_on);
        let heap_limit = self.isolates.values().filter_map(|i| i.heap_limit).min();
        let living = service
            .as_ref()
            .and_then(|info| self.processes.get(&info.id))
            .map(|seen| &seen.process);
        self.limit_room = Room::of(living, heap_limit);
        let first = self.sources.first().map_or(Ns(0), |s| {
            let seen = self.processes.get(&s.process);
            seen.map_or(Ns(0), |seen| seen.first)
        });
        let judgement = std::mem::take(&mut self.tracks).judge(
            &self.sources,
            &self.limit_room,
            self.config.floor,
            self.config.duration,
            duration.since(first),
        );
        let limits = self.limit_room.told_for(Some(&judgement));
        let (verdict, verdict_reason) = self.qualified(judgement.verdict, judgement.reason);
        let mut series = judgement.series;
        let Place {
            id,
            kept,
            recorder,
            findings: place_findings,
        } = place;
        let recorded = recorder.close();
        let mut findings = place_findings;
        findings.append(&mut self.watched.said);
        findings.append(&mut self.findings);
        findings.extend(incomplete_log(&recorded));
        attach_bands(&mut series, recorded.bands, &self.sources);
        let dropped = recorded.dropped_samples + self.dropped;
        let words = self.watched.command.iter();
        let mut run = Run {
            schema: SCHEMA.to_owned(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            id,
            verb: "monitor".to_owned(),
            started_unix_ns,
            duration,
            status: RunStatus::Completed,
            exit_code: 0,
            verdict,
            verdict_reason,
            headline: judgement.headline,
            subject: SubjectInfo {
                command: words.map(|w| w.to_string_lossy().into_owned()).collect(),
                service,
                processes: self.processes.values().map(|s| s.info.clone()).collect(),
                context_isolates: Vec::new(),
                exit: self.watched.exit.get().copied(),
                ready: Some(first),
                limits,
                output: Output::default(),
            },
            load: None,
            plan: Plan::default(),
            levels: levels(probe_on, false),
            gaps: std::mem::take(&mut self.gaps),
            sources: std::mem::take(&mut self.sources),
            rounds: Vec::new(),
            series,
            shares: Vec::new(),
            culprits: Vec::new(),
            findings,
            rules: Vec::new(),
            observer: observer(duration, Duration::ZERO, Duration::ZERO, dropped),
            artefacts: Vec::new(),
        };
        run.exit_code = self.exit_code(&run);
        Concluded {
            run,
            directory: kept,
            log_bytes: recorded.log_bytes,
        }
    }

    /// What the process exits with: as the command did, unless a leak was to be a failure. 0 if the planned time was over
    /// before it ended, or somebody said stop.
    fn exit_code(&self, run: &Run) -> u8 {
        let leaks = run
            .verdict
            .as_ref()
            .is_some_and(|v| v.outcome == Outcome::Leak);
        if leaks && self.config.fail_on_leak {
            return ExitCode::Broken.code();
        }
        run.subject
            .exit
            .map_or(ExitCode::Holds.code(), super::shell_status)
    }

    /// Who does the work: of a command, what it wraps; of several processes, each.
    fn service(&self) -> Vec<ProcessInfo> {
        let infos = self.processes.values().map(|seen| &seen.info);
        let mut services: Vec<ProcessInfo> = infos
            .filter(|info| info.role == Role::Service)
            .cloned()
            .collect();
        services.sort_by_key(|info| (info.id.start_ticks, info.id.pid));
        services
    }

    fn say_what_was_not_seen(&mut self, services: &[ProcessInfo], probe_on: bool) {
        let unseen = self.processes.values().any(|seen| {
            seen.values.contains_key(&Metric::RSS)
                && !seen.values.contains_key(&Metric::DESCRIPTORS)
        });
        if unseen {
            self.gaps.push(Gap {
                what: "descriptors".to_owned(),
                why: "not permitted: run as the user of the process, or with CAP_SYS_PTRACE"
                    .to_owned(),
            });
        }
        if let Some(why) = self.watched.no_probe.take() {
            self.found(Finding::warning(
                "probe-not-loaded",
                format!("probe not loaded: {why}; process level only"),
                None,
            ));
        } else if !probe_on && services.iter().any(is_node) && !self.config.attach {
            self.found(Finding::info(
                "process-level",
                "seen from outside only: `--attach` puts the probe in and tells the heap apart",
            ));
        }
    }

    /// Workers that come and go bound what a leak can do: level memory is then no proof of health.
    fn qualified(&self, verdict: Option<Verdict>, reason: String) -> (Option<Verdict>, String) {
        let replaced = self
            .ended
            .iter()
            .filter(|(id, at)| {
                let Some(old) = self.processes.get(id) else {
                    return false;
                };
                let lived = at.since(old.first).as_secs_f64() >= LIVED.as_secs_f64();
                lived
                    && self
                        .processes
                        .values()
                        .any(|new| new.first >= *at && new.info.command == old.info.command)
            })
            .count();
        match verdict {
            Some(v) if v.outcome == Outcome::NoLeak && replaced > 0 => {
                let why = format!(
                    "bounded by recycling: {replaced} processes were replaced while it was watched, and memory starts anew with each"
                );
                let open = Verdict {
                    outcome: Outcome::Inconclusive,
                    reason: why.clone(),
                    bound: None,
                    ..v
                };
                (Some(open), why)
            }
            verdict => (verdict, reason),
        }
    }
}

/// Writes the run document; what cannot be written is said in the run.
fn keep(run: &mut Run, directory: &RunDir, log_bytes: u64) {
    if log_bytes > 0 {
        run.artefacts.push(Artefact {
            kind: "log".to_owned(),
            path: plimsoll_store::LOG_NAME.to_owned(),
            bytes: log_bytes,
        });
    }
    if let Err(error) = directory.write_run(run) {
        run.findings.push(Finding::warning(
            "not-kept",
            format!("the run is not kept: {error}"),
            None,
        ));
    }
}

fn group_values(reading: &CgroupReading) -> impl Iterator<Item = (Metric, f64)> {
    let number = |value: Option<u64>| value.map(|v| v as f64);
    [
        (Metric::CGROUP_USAGE, number(reading.usage)),
        (Metric::CGROUP_WORKING_SET, number(reading.working_set)),
        (Metric::CGROUP_HIGH_EVENTS, number(reading.high_events)),
        (Metric::CGROUP_LIMIT_EVENTS, number(reading.limit_events)),
        (Metric::CGROUP_OOM_KILLS, number(reading.oom_kills)),
        (Metric::MEMORY_STALL_SECONDS, reading.stall_seconds),
    ]
    .into_iter()
    .filter_map(|(metric, value)| Some((metric, value?)))
}

fn is_node(info: &ProcessInfo) -> bool {
    let executable = info.executable.as_deref().unwrap_or_default();
    let name = executable.rsplit('/').next().unwrap_or_default();
    name.starts_with("node")
}

/// The program, and the script if an interpreter runs one: `node server.js`.
fn name_of(info: &ProcessInfo) -> String {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let program = info
        .command
        .first()
        .map(String::as_str)
        .or(info.executable.as_deref())
        .map(base)
        .unwrap_or_default();
    let script = info
        .command
        .iter()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .filter(|word| word.contains(['.', '/']) && !word.contains([' ', '(', ';', '\n']))
        .map(|word| base(word));
    match script {
        Some(script) => format!("{program} {script}"),
        None => program,
    }
}
