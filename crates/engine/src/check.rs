//! `plimsoll check`: one verdict on one subject, from the first process to the run document.

use std::time::{Duration, Instant};

use plimsoll_model::{
    Artefact, Cancel, Culprit, Event, ExitCode, Finding, LoadInfo, Metric, Ns, Outcome, Phase,
    Plan, ProcessId, Role, Run, RunStatus, SCHEMA, SeriesRecord, Source, SourceId, SubjectInfo,
    Unit, Verdict, units,
};
use plimsoll_probe::{Network, Process, Subject};
use plimsoll_store::{Recorded, RunDir};

use crate::config::{Config, Origin, Ready};
use crate::document::{incomplete_log, levels, observer};
use crate::error::Error;
use crate::explain::{All, Explainer};
use crate::holders::Holders;
use crate::judged::{Judgement, shares};
use crate::load::Load;
use crate::passive::Vigil;
use crate::place::{Place, unix_now};
use crate::ready::accepts;
use crate::rounds::Journey;
use crate::session::{Ended, Session, Stop};

/// Below this, what nobody explains is said.
const EXPLAINED: f64 = 0.7;

/// Who looks after processes that are not our children.
///
/// Being a subreaper and handling signals are properties of a whole process, so only a program may claim them, never a
/// library: the command line makes a [`Supervisor::of_process`], everyone else a [`Supervisor::none`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Supervisor {
    subreaper: bool,
}

impl Supervisor {
    /// A library run: only processes we started ourselves are waited for.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes this process the one that orphans of its subjects are re-parented to.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn of_process() -> Result<Self, Error> {
        plimsoll_probe::become_subreaper()?;
        // Connections, pipes and kept procfs files of a large tree add up; the subject keeps the limit there was.
        let _ = plimsoll_probe::raise_descriptor_limit();
        Ok(Self { subreaper: true })
    }

    /// Kills the subjects of this process at once: for a second interrupt, which does not wait for an orderly end.
    pub fn kill_subjects() {
        plimsoll_probe::kill_subjects();
    }

    pub(crate) fn reap(self) {
        if self.subreaper {
            plimsoll_probe::reap_strangers();
        }
    }
}

/// Checks one subject: starts it, drives it, measures it, judges it, ends it.
///
/// `events` is called from this thread alone, in order. `cancel` ends the run early; what was recorded is kept and the
/// verdict "until then" is in the run.
///
/// # Errors
/// Only what can be known before the subject starts. Everything later is part of the run: see [`RunStatus`].
pub fn check(
    config: &Config,
    supervisor: &Supervisor,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Run, Error> {
    let epoch = Instant::now();
    let started_unix_ns = unix_now();
    config.around.before()?;
    let _network = match config.origin {
        Origin::Command(_) => {
            port_must_be_silent(config)?;
            None
        }
        Origin::Running { pid } => network_of(pid, config)?,
    };
    let described = crate::describe::described(config, cancel)?;
    let config = described.as_ref().unwrap_or(config);

    let Place {
        id,
        kept,
        recorder,
        mut findings,
    } = Place::open(&config.directories, started_unix_ns)?;
    for finding in &findings {
        events(Event::Found(finding.clone()));
    }

    let session = match Session::start(config, *supervisor, cancel, events, epoch, &recorder) {
        Ok(session) => session,
        Err(error) => {
            // Nothing was measured: an empty run in the list would only puzzle.
            recorder.close();
            if let Some(directory) = kept {
                directory.discard();
            }
            return Err(error);
        }
    };
    let (finished, subject) = journey(session, config, kept.as_ref());
    let recorded = recorder.close();
    supervisor.reap();
    if let Some(command) = &config.around.cleanup
        && let Err(why) = crate::around::run(command)
    {
        findings.push(Finding::warning(
            "cleanup",
            format!("--cleanup `{command}` {why}"),
            None,
        ));
    }
    let log_bytes = recorded.log_bytes;
    let on_inconclusive = config.check.on_inconclusive;
    let mut run = document(
        &id,
        started_unix_ns,
        epoch,
        finished,
        recorded,
        findings,
        on_inconclusive,
    );
    crate::rules::apply(&config.rules, &mut run);
    keep(&mut run, &subject, log_bytes, kept.as_ref());
    Ok(run)
}

/// What a finished journey leaves behind.
struct Finished {
    stop: Option<Stop>,
    judgement: Option<Judgement>,
    rounds: Vec<plimsoll_model::RoundRecord>,
    plan: Plan,
    load: Option<LoadInfo>,
    culprits: Vec<Culprit>,
    driver_cpu: Duration,
    probe_on: bool,
    allocator_on: bool,
    runtime: Option<String>,
    ended: Ended,
}

/// Drives or watches the subject, judges, explains, ends it.
fn journey(
    mut session: Session<'_>,
    config: &Config,
    kept: Option<&RunDir>,
) -> (Finished, Subject) {
    let copies = kept.filter(|_| config.check.keep_snapshots);
    let mut explainer = Box::new(All::default());
    explainer.holders = Holders::new(
        config.check.source_maps.as_deref(),
        copies.map(RunDir::path),
    );
    let mut driven = Journey::new(config.check.max_time);
    let mut vigil = Vigil::default();
    let mut stop = session.get_ready().err();
    if stop.is_none() {
        stop = match &config.load {
            Some(load) => {
                driven = Journey::new(config.check.max_time);
                for finding in &load.findings {
                    session.found(finding.clone());
                }
                match session.driver() {
                    Some(Ok(mut driver)) => {
                        let result =
                            driven.travel(&mut session, driver.as_mut(), load, explainer.as_mut());
                        let shared = crate::verb_load::by_process(
                            &shares_of(&driven),
                            driven.totals.measured_operations,
                        );
                        let noticed = driver.findings();
                        for finding in noticed.into_iter().chain(shared).chain(driver.close()) {
                            session.found(finding);
                        }
                        result.err()
                    }
                    Some(Err(error)) => {
                        Some(Stop::failed(format!("the load cannot start: {error}")))
                    }
                    None => None,
                }
            }
            None => vigil.watch(&mut session).err(),
        };
    }
    session.tell(Event::PhaseStarted {
        phase: Phase::Close,
        detail: String::new(),
    });
    let probe_on = session
        .service
        .as_ref()
        .is_some_and(|s| s.runtime.is_some());
    let allocator_on = session.has_allocator();
    let runtime = session
        .service
        .as_ref()
        .and_then(|s| s.runtime.as_ref())
        .map(|r| r.info.name.clone());
    let (judgement, rounds) = if config.load.is_some() {
        driven.conclude(&mut session);
        if let Some(finding) = driven.combine_alone() {
            session.found(finding);
        }
        (driven.judgement.take(), std::mem::take(&mut driven.rounds))
    } else {
        vigil.conclude(&mut session);
        (vigil.judgement.take(), std::mem::take(&mut vigil.rounds))
    };
    let load = match (&config.load, vigil.operations()) {
        (Some(load), _) => Some(load_info(load, &driven)),
        (None, Some(operations)) => Some(counted_info(config, operations)),
        (None, None) => None,
    };
    driven.facts.verdicts = judgement
        .iter()
        .flat_map(|j| &j.series)
        .filter_map(|s| Some((s.metric.clone(), s.verdict.clone()?)))
        .collect();
    let verdict = judgement.as_ref().and_then(|j| j.verdict.as_ref());
    if verdict.is_some_and(|v| v.outcome == Outcome::Leak) {
        let driven_to = Some(driven.totals.operations as f64).filter(|n| *n > 0.0);
        session.explain_the_end(&mut driven.facts, driven_to.or(vigil.operations()));
    }
    let mut culprits = explainer.culprits(&driven.facts);
    for finding in crate::warnings::join(&session.warnings(), &mut culprits) {
        session.found(finding);
    }
    let limits = session.room().told_for(judgement.as_ref());
    let (mut ended, subject) = session.end();
    ended.info.limits = limits;
    let finished = Finished {
        stop,
        judgement,
        rounds,
        plan: driven.plan,
        load,
        culprits,
        driver_cpu: driven.driver_cpu,
        probe_on,
        allocator_on,
        runtime,
        ended,
    };
    (finished, subject)
}

/// Who answered how many of the measured operations.
fn shares_of(driven: &Journey) -> Vec<plimsoll_model::ProcessOperations> {
    let shares = driven.totals.per_process.iter();
    shares
        .map(|(process, operations)| plimsoll_model::ProcessOperations {
            process: *process,
            operations: *operations,
        })
        .collect()
}

/// What is known of operations that were counted and not driven.
fn counted_info(config: &Config, operations: f64) -> LoadInfo {
    LoadInfo {
        name: match &config.count.counter {
            Some(counter) => format!("watched, operations counted at {}", counter.url),
            None => "watched, operations counted in its output".to_owned(),
        },
        operation_word: "operation".to_owned(),
        total_operations: operations as u64,
        ..LoadInfo::default()
    }
}

fn load_info(load: &Load, driven: &Journey) -> LoadInfo {
    let totals = &driven.totals;
    let seconds = totals.measured_time.as_secs_f64();
    LoadInfo {
        name: load.name.clone(),
        operation_word: load.word().to_owned(),
        operations: (0..)
            .zip(&load.operations)
            .map(|(id, name)| plimsoll_model::OperationKind {
                id: plimsoll_model::OpId(id),
                name: name.clone(),
            })
            .collect(),
        concurrency: load.concurrency,
        total_operations: totals.operations,
        errors_by_kind: totals.errors_by_kind.clone(),
        operations_per_second: (seconds > 0.0).then(|| totals.measured_operations as f64 / seconds),
        growth: driven.growth.clone(),
        per_process: shares_of(driven),
        ..LoadInfo::default()
    }
}

/// The load comes from where the service listens, and its inspector is there too.
fn network_of(pid: u32, config: &Config) -> Result<Option<Network>, Error> {
    match Network::of(&Process::open(pid)?) {
        Ok(network) => Ok(network),
        Err(why) if config.load.as_ref().is_some_and(|load| load.url.is_some()) => {
            Err(Error::usage(
                format!("process {pid} cannot be reached by its port: {why}"),
                why.remedy().unwrap_or("run plimsoll where it runs"),
            ))
        }
        // Said when it is not attached for that.
        Err(_) => Ok(None),
    }
}

/// The service must be ours: whatever answers before we start anything is not.
fn port_must_be_silent(config: &Config) -> Result<(), Error> {
    let urls = config
        .load
        .iter()
        .filter_map(|l| l.url.as_ref())
        .chain(match &config.ready {
            Ready::Url(url, _) => Some(url),
            _ => None,
        });
    let taken = |port: u16| {
        let holder = plimsoll_probe::port_holder(port);
        Error::PortTaken {
            port,
            holder: holder.map(|p| format!("pid {} ({})", p.id.pid, p.command.join(" "))),
        }
    };
    for url in urls {
        if !plimsoll_load::port_is_silent(url) {
            return Err(taken(url.port));
        }
    }
    match config.ready {
        Ready::Port(port) if accepts(port) => Err(taken(port)),
        _ => Ok(()),
    }
}

fn document(
    id: &str,
    started_unix_ns: u64,
    epoch: Instant,
    finished: Finished,
    recorded: Recorded,
    mut findings: Vec<Finding>,
    on_inconclusive: ExitCode,
) -> Run {
    let duration = Ns::from_duration(epoch.elapsed());
    let Finished {
        stop,
        judgement,
        rounds,
        plan,
        load,
        culprits,
        driver_cpu,
        probe_on,
        allocator_on,
        runtime,
        ended,
    } = finished;
    findings.extend(ended.findings);
    findings.extend(incomplete_log(&recorded));
    let (mut series, headline, verdict, verdict_reason) = match judgement {
        Some(j) => (j.series, j.headline, j.verdict, j.reason),
        None => (Vec::new(), None, None, String::new()),
    };
    let who = (&ended.info, ended.sources.as_slice());
    let (verdict, verdict_reason) = qualified(verdict, verdict_reason, stop.as_ref(), who, &series);
    let leaks = verdict.as_ref().is_some_and(|v| v.outcome == Outcome::Leak);
    findings.extend(unexplained(&culprits, probe_on).filter(|_| leaks));
    let shares = shares(&series, runtime.as_deref());
    attach_bands(&mut series, recorded.bands, &ended.sources);
    let status = match stop {
        None => RunStatus::Completed,
        Some(Stop::Interrupted) => RunStatus::Interrupted,
        Some(Stop::Failed {
            what,
            details,
            hint,
        }) => RunStatus::Failed {
            what,
            details,
            hint,
        },
    };
    let dropped = recorded.dropped_samples + ended.dropped;
    let mut run = Run {
        schema: SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        id: id.to_owned(),
        verb: "check".to_owned(),
        started_unix_ns,
        duration,
        status,
        exit_code: 0,
        verdict,
        verdict_reason,
        headline,
        subject: ended.info,
        load,
        plan,
        levels: levels(probe_on, allocator_on),
        gaps: ended.gaps,
        sources: ended.sources,
        rounds,
        series,
        shares,
        culprits,
        findings,
        rules: Vec::new(),
        observer: observer(duration, driver_cpu, ended.pause, dropped),
        artefacts: Vec::new(),
    };
    run.exit_code = exit_code(&run, on_inconclusive).code();
    run
}

/// What nobody explains is said.
fn unexplained(culprits: &[Culprit], probe_on: bool) -> Option<Finding> {
    let explained: f64 = culprits.iter().filter_map(|c| c.share).sum();
    let what = if culprits.is_empty() && probe_on {
        "what holds the growth is not known: no holder, listener, timer, handle or descriptor grows with it".to_owned()
    } else if explained > 0.0 && explained < EXPLAINED {
        format!(
            "{} of the growth is held by nobody who grows alike in both windows",
            units::percent(1.0 - explained)
        )
    } else {
        return None;
    };
    Some(Finding::info("unexplained", what))
}

/// The verdict of the run: no leak only where the whole plan was carried out on everything that does the work.
fn qualified(
    verdict: Option<Verdict>,
    reason: String,
    stop: Option<&Stop>,
    who: (&SubjectInfo, &[Source]),
    series: &[SeriesRecord],
) -> (Option<Verdict>, String) {
    let unsettled = match stop {
        // What was seen until then is no proof of health.
        Some(_) => Some("it ended before its plan; until then no growth was seen".to_owned()),
        None => unjudged_workers(who, series),
    };
    match (verdict, unsettled) {
        (Some(v), Some(why)) if v.outcome == Outcome::NoLeak => (Some(v.reopened(&why)), why),
        (verdict, _) => (verdict, reason),
    }
}

/// Why a level service proves nothing: processes that share its work and could not be judged.
fn unjudged_workers(
    (subject, sources): (&SubjectInfo, &[Source]),
    series: &[SeriesRecord],
) -> Option<String> {
    let is_judged = |process: ProcessId| {
        let own = sources.iter().filter(|source| source.process == process);
        own.clone().any(|source| {
            let mut judged = series.iter().filter(|s| s.verdict.is_some());
            judged.any(|s| s.source == source.id)
        })
    };
    let workers: Vec<String> = subject
        .processes
        .iter()
        .filter(|p| p.role == Role::Worker && !is_judged(p.id))
        .map(|p| p.id.pid.to_string())
        .collect();
    (!workers.is_empty()).then(|| {
        format!(
            "not everybody who does the work is judged: worker pid {}",
            workers.join(", ")
        )
    })
}

/// What the process exits with, from how the run ended and what it says.
fn exit_code(run: &Run, on_inconclusive: ExitCode) -> ExitCode {
    match (&run.status, run.verdict.as_ref().map(|v| v.outcome)) {
        (RunStatus::Interrupted, _) => ExitCode::Interrupted,
        (RunStatus::Failed { .. }, _) => ExitCode::Failed,
        (_, Some(Outcome::Leak)) => ExitCode::Broken,
        (_, Some(Outcome::NoLeak)) => ExitCode::Holds,
        _ => on_inconclusive,
    }
}

/// Gives each judged series the band of its raw samples, and adds what was sampled but not judged as context.
pub(crate) fn attach_bands(
    series: &mut Vec<SeriesRecord>,
    bands: Vec<(SourceId, Metric, plimsoll_model::Band)>,
    sources: &[Source],
) {
    for (source, metric, band) in bands {
        let free = |s: &&mut SeriesRecord| s.metric == metric && s.band.is_none();
        let is_service = sources.first().is_some_and(|first| first.id == source);
        let own = series
            .iter_mut()
            .filter(free)
            .position(|s| s.source == source);
        // What the kernel knows of the service is judged with what its main isolate says.
        let at = own.or_else(|| is_service.then_some(0));
        if let Some(record) = at.and_then(|at| series.iter_mut().filter(free).nth(at)) {
            record.band = Some(band);
        } else if metric.unit() == Unit::Bytes && sources.iter().any(|s| s.id == source) {
            series.push(SeriesRecord {
                unit: metric.unit(),
                part: plimsoll_model::Part::Context,
                source,
                points: None,
                band: Some(band),
                verdict: None,
                metric,
            });
        }
    }
}

/// Writes what the subject printed and the run document; what cannot be written is said in the run.
fn keep(run: &mut Run, subject: &Subject, log_bytes: u64, directory: Option<&RunDir>) {
    let Some(directory) = directory else { return };
    if log_bytes > 0 {
        run.artefacts.push(Artefact {
            kind: "log".to_owned(),
            path: plimsoll_store::LOG_NAME.to_owned(),
            bytes: log_bytes,
        });
    }
    match subject.keep_output(directory.path()) {
        Ok(files) => run
            .artefacts
            .extend(files.into_iter().map(|(path, bytes)| Artefact {
                kind: "output".to_owned(),
                path,
                bytes,
            })),
        Err(error) => run.findings.push(Finding::warning(
            "output-not-kept",
            format!("the subject's output is not kept: {error}"),
            None,
        )),
    }
    if let Err(error) = directory.write_run(run) {
        run.findings.push(Finding::warning(
            "not-kept",
            format!("the run is not kept: {error}"),
            None,
        ));
    }
}
