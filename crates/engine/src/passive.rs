//! The passive journey: nothing is driven, memory is judged on time.
//!
//! With a probe in a subject of our own, collections are forced at regular times and live bytes are judged. Without one,
//! resident anonymous memory is, by the lower envelope of its raw readings.
//!
//! A subject that tells of its own progress (`--ops-log`, `--ops-counter`) is judged by its operations instead of the time, and each
//! line that tells of some is a moment to read it at.

use std::time::{Duration, Instant};

use plimsoll_judge as judge;
use plimsoll_model::{
    Event, Metric, Ns, Outcome, Part, Phase, PointSet, RoundKind, RoundRecord, Sample,
    SeriesRecord, Unit, Verdict, units,
};
use plimsoll_store::Record;

use crate::judged::{Judgement, RoundTerms, judge_rounds};
use crate::parts::alone_in;
use crate::session::{Service, Session, Stop};
use crate::shared_work::{Turnover, bounded_by_recycling};
use crate::tally::Tally;

/// Forced collections over the planned length.
const COLLECTIONS: u32 = 40;
/// Never more often than that.
const COLLECTION_PERIOD_LEAST: Duration = Duration::from_millis(500);
/// Where no length is planned.
const COLLECTION_PERIOD_UNPLANNED: Duration = Duration::from_secs(5);
/// How long a forced collection is waited for.
const PATIENCE_LEAST: Duration = Duration::from_secs(1);
const PATIENCE_MOST: Duration = Duration::from_secs(10);
/// Moments at which operations were counted, kept at most; then every second one goes.
const MOST_MARKS: usize = 100_000;
/// Readings that need at least so many different counts to be judged by operations.
const FEWEST_COUNTS: usize = 5;
/// Share of the planned length that counts as warm-up.
const WARM_UP_SHARE: f64 = 0.10;

/// What the passive journey has so far.
#[derive(Default)]
pub(crate) struct Vigil {
    pub(crate) rounds: Vec<RoundRecord>,
    pub(crate) judgement: Option<Judgement>,
    resident: Vec<Sample>,
    planned: Option<Duration>,
    /// When there were how many operations, where somebody counts them.
    marks: Vec<(Ns, f64)>,
}

impl Vigil {
    /// Watches until the planned length is over or the subject has ended by itself with status 0.
    pub(crate) fn watch(&mut self, session: &mut Session<'_>) -> Result<(), Stop> {
        self.planned = session.config.check.duration;
        let started = Instant::now();
        let detail = match self.planned {
            Some(planned) => units::duration(planned.as_secs_f64()),
            None => "until it exits, or Ctrl-C".to_owned(),
        };
        session.tell(Event::PhaseStarted {
            phase: Phase::Watch,
            detail,
        });
        let period = self
            .planned
            .map_or(COLLECTION_PERIOD_UNPLANNED, |p| p / COLLECTIONS)
            .max(COLLECTION_PERIOD_LEAST);
        let collects = session
            .service
            .as_ref()
            .is_some_and(|s| s.runtime.is_some())
            || session.has_allocator();
        let mut next_collection = started + period;
        let mut not_before = started;
        let mut told = started;
        // Lines come by themselves; a counter is asked.
        let mut tally = session.tally();
        let asks = matches!(tally, Some(Tally::Counter(..)));
        let mut news = Vec::new();
        loop {
            let matched = self.count(session, &mut news);
            self.take_resident(session);
            if self.planned.is_some_and(|p| started.elapsed() >= p) {
                break;
            }
            if session.cancel.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            if let Some(exit) = session.subject.exit() {
                if exit == plimsoll_model::Exit::Status(0) {
                    break;
                }
                return session
                    .check_alive()
                    .and(Err(Stop::failed(format!("the subject ended with {exit}"))));
            }
            match service_lives(session) {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => self.begin_anew(session, stop)?,
            }
            let now = Instant::now();
            if (collects || asks) && (now >= next_collection || matched && now >= not_before) {
                let asked = now;
                if let Some(tally) = tally.as_mut().filter(|_| asks) {
                    self.count(session, &mut tally.news(asked));
                }
                let left = self
                    .planned
                    .map_or(PATIENCE_MOST, |p| p.saturating_sub(started.elapsed()));
                if collects {
                    let patience = left.clamp(PATIENCE_LEAST, PATIENCE_MOST);
                    match self.collect(session, patience) {
                        // It had done its work, and was going when it was asked.
                        Err(Stop::Failed { .. }) if ends_well(session) => {}
                        Err(stop) => self.begin_anew(session, stop)?,
                        Ok(()) => {}
                    }
                }
                not_before = Instant::now() + asked.elapsed() * rest(session, matched);
                next_collection = (next_collection + period).max(not_before);
            } else {
                if matched && !collects {
                    self.read_resident(session);
                }
                session.absorb_hub_events();
            }
            if told.elapsed() >= Duration::from_secs(1) {
                told = Instant::now();
                self.progress(session, started);
            }
            let nap = next_collection
                .saturating_duration_since(Instant::now())
                .min(Duration::from_millis(100));
            let nap = nap.max(Duration::from_millis(5));
            match &mut tally {
                Some(tally @ Tally::Log(..)) => {
                    session.nap(Duration::ZERO);
                    news = tally.news(Instant::now() + nap);
                }
                _ => session.nap(nap),
            }
        }
        if let Some(tally @ Tally::Log(..)) = &mut tally {
            self.count(session, &mut tally.news(Instant::now()));
        }
        session.tell(Event::PhaseEnded {
            phase: Phase::Watch,
            detail: units::duration(started.elapsed().as_secs_f64()),
        });
        Ok(())
    }

    /// Keeps what was counted; whether anything was.
    fn count(&mut self, session: &Session<'_>, news: &mut Vec<(Instant, f64)>) -> bool {
        let any = !news.is_empty();
        for (at, operations) in news.drain(..) {
            let at = Ns::from_duration(at.saturating_duration_since(session.epoch));
            self.marks.push((at, operations));
        }
        if self.marks.len() > MOST_MARKS {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 0
            });
        }
        any
    }

    /// Operations that had been counted by then.
    fn operations_at(&self, at: Ns) -> f64 {
        let known = self.marks.partition_point(|(t, _)| *t <= at);
        known.checked_sub(1).map_or(0.0, |i| self.marks[i].1)
    }

    /// Operations that were counted in all.
    pub(crate) fn operations(&self) -> Option<f64> {
        self.marks.last().map(|(_, operations)| *operations)
    }

    /// Whether these moments differ enough in what was counted to be judged by that.
    fn tells_operations(&self, moments: impl Iterator<Item = Ns>) -> bool {
        let mut counts: Vec<u64> = moments.map(|at| self.operations_at(at) as u64).collect();
        counts.dedup();
        counts.len() >= FEWEST_COUNTS
    }

    /// One more reading of resident memory, at a moment that tells of operations.
    fn read_resident(&mut self, session: &Session<'_>) {
        let Some(service) = &session.service else {
            return;
        };
        let memory = service.process.memory();
        if let Some(value) = memory.and_then(|memory| memory.rss_anon) {
            self.resident.push(Sample {
                at: session.now(),
                source: service.source,
                metric: Metric::RSS_ANON,
                value: value as f64,
            });
        }
    }

    /// The service's own readings since the last call.
    fn take_resident(&mut self, session: &Session<'_>) {
        let Some(service) = &session.service else {
            return;
        };
        let readings = session.watch.resident();
        self.resident
            .extend(readings.filter(|s| s.source == service.source));
    }

    /// Goes on with the service that took the place of the one that ended, if one did.
    fn begin_anew(&mut self, session: &mut Session<'_>, stop: Stop) -> Result<(), Stop> {
        self.take_resident(session);
        let before = session.judged_alone();
        session.await_replacement(stop)?;
        if let Some(source) = before {
            alone_in(&mut self.rounds, source);
        }
        Ok(())
    }

    fn collect(&mut self, session: &mut Session<'_>, patience: Duration) -> Result<(), Stop> {
        let start = session.now();
        // A program that computes without a pause does not answer; that is its right where nothing is driven.
        let Some(measurement) = session.try_measure(patience)? else {
            return Ok(());
        };
        let operations = self.operations_at(measurement.at) as u64;
        let before = self.rounds.last().map_or(0, |r| r.operations_so_far);
        let record = RoundRecord {
            index: u32::try_from(self.rounds.len()).unwrap_or(u32::MAX),
            kind: RoundKind::Measured,
            start,
            end: measurement.at,
            done: operations.saturating_sub(before),
            errors: 0,
            operations_so_far: operations,
            reconnects: 0,
            connections: 0,
            latency: plimsoll_model::Latency::default(),
            bytes_in: 0,
            driver_cpu_s: 0.0,
            collected: measurement.collected,
            counted: false,
            values: measurement.values,
            parts: measurement.parts,
        };
        session
            .recorder
            .record(Record::Round(Box::new(record.clone())));
        session.tell(Event::Round(Box::new(record.clone())));
        self.rounds.push(record);
        Ok(())
    }

    fn progress(&self, session: &mut Session<'_>, started: Instant) {
        let live_bytes = self
            .rounds
            .last()
            .and_then(|r| r.values.get(&Metric::LIVE_BYTES))
            .copied()
            .or_else(|| self.resident.last().map(|s| s.value));
        let seconds_left = self
            .planned
            .map(|p| p.saturating_sub(started.elapsed()).as_secs_f64());
        session.tell(Event::Progress {
            phase: Phase::Watch,
            done: started.elapsed().as_secs(),
            planned: self.planned.map(|p| p.as_secs()),
            live_bytes,
            rate: None,
            seconds_left,
        });
    }

    /// Judges what was seen.
    pub(crate) fn conclude(&mut self, session: &mut Session<'_>) {
        self.take_resident(session);
        let Some(service) = session.service.as_ref() else {
            return;
        };
        let room = session.room();
        let live_bytes = self
            .rounds
            .iter()
            .rev()
            .find_map(|r| r.values.get(&Metric::LIVE_BYTES));
        let resident = self.resident.last().map(|s| s.value);
        let terms = RoundTerms {
            floor: session.config.check.floor,
            look: 1,
            looks: 1,
            idle_growth_per_op: std::collections::BTreeMap::new(),
            is_v8: session.is_v8(),
            heap_limit: room.level(&Metric::LIVE_BYTES, live_bytes.copied()),
            process_limit: room.level(&Metric::RSS_ANON, resident),
            expected_rate: None,
            warm_up_operations: 0,
            settled: true,
            axis: judge::Axis::Time,
        };
        self.resident.sort_by_key(|s| s.at);
        let collected = service.runtime.as_ref().and_then(|_| {
            let warm_up = self.planned.map_or(Ns(0), |p| {
                let start = self.rounds.first().map_or(Ns(0), |r| r.start);
                Ns(start.0 + Ns::from_duration(p.mul_f64(WARM_UP_SHARE)).0)
            });
            let rounds: Vec<&RoundRecord> =
                self.rounds.iter().filter(|r| r.end >= warm_up).collect();
            let source = session.judged_source(&rounds)?;
            let mut terms = terms.clone();
            if self.tells_operations(rounds.iter().map(|r| r.end)) {
                terms.axis = judge::Axis::Operations;
            }
            (rounds.len() >= 5).then(|| judge_rounds(&rounds, &source, &session.sources, &terms))
        });
        let has_heap = service.runtime.is_some();
        let mut judgement = collected.unwrap_or_else(|| {
            let mut judgement = self.judge_resident(service, session, &terms);
            let verdict = judgement.verdict.as_mut();
            // What a runtime has taken from the system and not yet cleaned grows with all work, and at first with all time. One
            // that never answers leaves nothing else to judge.
            let waits = |v: &Verdict| match v.growth.as_ref() {
                Some(growth) if growth.per == "operation" => Some("let it do more"),
                _ => (!self.rounds.is_empty()).then_some("watch it for longer"),
            };
            if let Some(verdict) = verdict.filter(|v| has_heap && v.outcome == Outcome::Leak)
                && let Some(what) = waits(verdict)
            {
                judgement.reason = format!(
                    "too few collections to tell what is kept from what is not yet cleaned: {what}"
                );
                *verdict = verdict.clone().reopened(&judgement.reason);
            }
            judgement
        });
        if session.restarts > 0
            && let Some(verdict) = &mut judgement.verdict
            && verdict.outcome == Outcome::Leak
        {
            // Nothing tells when a life that began in mid-run has warmed up.
            let why = "bounded by a restart: what grew is a process that had just been started anew, as all do at first";
            *verdict = verdict.clone().reopened(why);
            why.clone_into(&mut judgement.reason);
        }
        self.judgement = Some(judgement);
    }

    fn judge_resident(
        &self,
        service: &Service,
        session: &Session<'_>,
        terms: &RoundTerms,
    ) -> Judgement {
        let process = service.process.id();
        let by_operations = self.tells_operations(self.resident.iter().map(|s| s.at));
        // One life has no epochs: what drops in it is judged as it is.
        let epoch = match session.restarts {
            0 => Vec::new(),
            _ => self.resident.iter().map(|s| s.source.0).collect(),
        };
        let series = judge::Series {
            id: judge::SeriesId {
                role: "service".to_owned(),
                pid: process.pid,
                start_ticks: process.start_ticks,
                ..judge::SeriesId::default()
            },
            metric: Metric::RSS_ANON.as_str().to_owned(),
            quantity: judge::Quantity::Bytes,
            axis: if by_operations {
                judge::Axis::Operations
            } else {
                judge::Axis::Time
            },
            ops: if by_operations {
                let counts = self.resident.iter().map(|s| self.operations_at(s.at));
                counts.collect()
            } else {
                Vec::new()
            },
            t_ns: self.resident.iter().map(|s| s.at.0).collect(),
            value: self.resident.iter().map(|s| s.value).collect(),
            epoch,
            resolution: 4096.0,
            ..judge::Series::default()
        };
        let verdict = Verdict::from(&judge::judge(
            &series,
            &judge::Terms {
                floor: terms.floor,
                planned_ns: self.planned.map(|p| Ns::from_duration(p).0),
                limit: terms.process_limit,
                ..judge::Terms::default()
            },
        ));
        let record = SeriesRecord {
            metric: Metric::RSS_ANON,
            unit: Unit::Bytes,
            part: Part::Judged,
            source: service.source,
            points: Some(thinned(&self.resident)),
            band: None,
            verdict: Some(verdict.clone()),
        };
        let judgement = Judgement {
            series: vec![record],
            headline: Some(0),
            verdict: Some(verdict),
            reason: String::new(),
        };
        bounded_by_recycling(judgement, Turnover::of(&[], &session.sources))
    }
}

/// How many times as long as a collection took the subject is left alone after it: it is not kept collecting for more than a
/// tenth of its time, a twentieth where it has other work to do than being tested. One that tells of its work may be done in
/// a moment, and is read at what it tells for up to half of its time.
fn rest(session: &Session<'_>, matched: bool) -> u32 {
    match (session.config.is_attached(), matched) {
        (true, _) => 19,
        (false, true) => 1,
        (false, false) => 9,
    }
}

/// Whether the subject ends with status 0, about now.
fn ends_well(session: &Session<'_>) -> bool {
    let exit = session
        .subject
        .wait_exit(Duration::from_secs(1), session.cancel);
    exit == Some(plimsoll_model::Exit::Status(0))
}

/// Whether the service still runs. Its command may outlive it for a moment, and end with status 0 like it.
fn service_lives(session: &mut Session<'_>) -> Result<bool, Stop> {
    if session
        .service
        .as_ref()
        .is_some_and(|s| s.process.is_alive())
    {
        return Ok(true);
    }
    if session.service.is_none() {
        return Ok(session.subject.exit().is_none());
    }
    match session
        .subject
        .wait_exit(Duration::from_secs(1), session.cancel)
    {
        Some(plimsoll_model::Exit::Status(0)) => Ok(false),
        _ => session.check_alive().map(|()| true),
    }
}

/// The lowest reading of each of at most 120 equal stretches: what a report draws. The log keeps all readings.
fn thinned(samples: &[Sample]) -> PointSet {
    let stride = samples.len().div_ceil(120).max(1);
    let mut points = PointSet::default();
    for chunk in samples.chunks(stride) {
        if let Some(lowest) = chunk.iter().min_by(|a, b| a.value.total_cmp(&b.value)) {
            points.t.push(lowest.at);
            points.value.push(lowest.value);
        }
    }
    points
}
