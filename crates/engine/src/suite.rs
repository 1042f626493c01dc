//! `plimsoll suite`: a library with managed resources is put through everything that is known to leak there.
//!
//! A suite is a table of tests, a test a table of checks. Every test has a process of its own, in which a host obeys simple
//! commands (`node/suite.cjs`); what is done, what its limits are and what is judged stands here. Each figure is told
//! beside the limit of the rule it is for, and beside the rules stands the verdict of the one judge.

mod bench;
mod child;
mod fast;
mod holder;
mod http;
mod session;
mod snapshot;
mod soak;
mod tight_loop;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use plimsoll_model::{
    Cancel, CheckRecord, CheckState, Event, Phase, RunStatus, SUITE_SCHEMA, SuiteRun, units,
};

use self::bench::{Bench, Findings, record_of};
use self::child::Trouble;
use crate::check::Supervisor;
use crate::error::Error;
use crate::place::{Chosen, unix_now};

/// How long finalisers are waited for unless `--finalizer-wait` says otherwise.
pub const DEFAULT_FINALIZER_WAIT: Duration = Duration::from_millis(500);
/// Wait for the module unless `--ready-timeout` says otherwise.
const DEFAULT_READY_TIMEOUT: Duration = Duration::from_mins(1);
/// Longest wait for finalisers; what takes longer is no clean-up.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// Checks of a suite that are explained at most: an explanation takes a second or more, and few culprits repeat.
const MOST_EXPLAINED: usize = 4;

/// Which suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuiteKind {
    /// Five tests for every commit.
    Fast,
    /// A million objects in a tight loop.
    TightLoop,
    /// Three heap snapshots.
    Snapshot,
    /// Hours at a slow pace.
    Soak,
    /// A server around the subject.
    Http,
    /// Sessions in one process.
    Session,
}

impl SuiteKind {
    /// As it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::TightLoop => "tight-loop",
            Self::Snapshot => "snapshot",
            Self::Soak => "soak",
            Self::Http => "http",
            Self::Session => "session",
        }
    }

    fn tests(self) -> &'static [Test] {
        match self {
            Self::Fast => &fast::TESTS,
            Self::TightLoop => &tight_loop::TESTS,
            Self::Snapshot => &snapshot::TESTS,
            Self::Soak => &soak::TESTS,
            Self::Http => &http::TESTS,
            Self::Session => &session::TESTS,
        }
    }
}

/// What flags said of a suite.
#[derive(Debug, Clone)]
pub struct SuiteFlags {
    /// Which.
    pub kind: SuiteKind,
    /// The subject module.
    pub subject: PathBuf,
    /// What runs it, after `--`.
    pub runtime: Vec<OsString>,
    /// `--only`
    pub only: Vec<String>,
    /// `--finalizer-wait`
    pub finalizer_wait: Option<Duration>,
    /// `--ready-timeout`
    pub ready_timeout: Option<Duration>,
    /// `--operations`
    pub operations: Option<u64>,
    /// `--output`
    pub output: Option<PathBuf>,
    /// How long a suite of hours is.
    pub hours: HoursFlags,
    /// `--pre-deploy`
    pub pre_deploy: bool,
    /// `--simulate`
    pub simulate: Option<Duration>,
}

/// What flags said of a suite of hours.
#[derive(Debug, Clone, Default)]
pub struct HoursFlags {
    /// `--hours`
    pub hours: Option<f64>,
    /// `--compress`
    pub compress: Option<f64>,
    /// `--per-sample`
    pub per_sample: Option<u64>,
    /// `--interval`
    pub interval: Option<Duration>,
    /// `--csv`
    pub csv: Option<PathBuf>,
    /// `--resume`
    pub resume: bool,
    /// `--rate`, requests an hour
    pub rate: Option<f64>,
}

/// A suite that can be run.
#[derive(Debug, Clone)]
pub struct Suite {
    kind: SuiteKind,
    subject: PathBuf,
    runtime: Vec<OsString>,
    only: Vec<String>,
    finalizer_wait: Duration,
    ready_timeout: Duration,
    operations: Option<u64>,
    output: Option<PathBuf>,
    soak: Option<soak::Plan>,
    http: Option<http::Plan>,
    /// Whether snapshots are part of the suite of sessions.
    pre_deploy: bool,
    simulated: Option<Duration>,
}

/// A test: checks that share a process, and the time all of them may take.
#[derive(Debug)]
struct Test {
    name: &'static str,
    /// The row of the requirements that it answers.
    row: &'static str,
    limit: Duration,
    checks: &'static [Check],
}

/// One check.
#[derive(Debug)]
struct Check {
    name: &'static str,
    title: &'static str,
    run: fn(&mut Bench<'_>, &mut Findings) -> Result<(), Trouble>,
}

impl Check {
    const fn new(
        name: &'static str,
        title: &'static str,
        run: fn(&mut Bench<'_>, &mut Findings) -> Result<(), Trouble>,
    ) -> Self {
        Self { name, title, run }
    }
}

impl Suite {
    /// Puts together what flags said.
    ///
    /// # Errors
    /// If there is no such module, no such check, or a time makes no sense.
    pub fn resolve(flags: SuiteFlags) -> Result<Self, Error> {
        let shown = flags.subject.display();
        if !child::is_module(&flags.subject) {
            return Err(Error::usage(
                format!("{shown}: a subject is a module of JavaScript or TypeScript"),
                "there are .mjs, .cjs, .js, .mts, .cts, .ts, .jsx and .tsx",
            ));
        }
        if !flags.subject.is_file() {
            return Err(Error::usage(
                format!("{shown}: there is no such file"),
                "name the module that exports `create`, `use` and `dispose`, relative to this directory",
            ));
        }
        let finalizer_wait = flags.finalizer_wait.unwrap_or(DEFAULT_FINALIZER_WAIT);
        if finalizer_wait.is_zero() || finalizer_wait > LONGEST_WAIT {
            return Err(Error::usage(
                format!(
                    "--finalizer-wait {} is not between 1 ms and {}",
                    units::duration(finalizer_wait.as_secs_f64()),
                    units::duration(LONGEST_WAIT.as_secs_f64())
                ),
                "500 ms are the default; what finalises later than in seconds is to be disposed of by hand",
            ));
        }
        let hours = &flags.hours;
        let soak = matches!(flags.kind, SuiteKind::Soak).then(|| soak::Plan::of(hours));
        let http = matches!(flags.kind, SuiteKind::Http).then(|| http::Plan::of(hours));
        let suite = Self {
            pre_deploy: flags.pre_deploy,
            simulated: flags
                .simulate
                .or(flags.pre_deploy.then_some(session::PRE_DEPLOY)),
            soak: soak.transpose()?,
            http: http.transpose()?,
            kind: flags.kind,
            subject: flags.subject,
            runtime: child::runtime(&flags.runtime),
            only: flags.only,
            finalizer_wait,
            ready_timeout: flags.ready_timeout.unwrap_or(DEFAULT_READY_TIMEOUT),
            operations: flags.operations,
            output: flags.output,
        };
        suite.only.iter().try_for_each(|name| suite.known(name))?;
        Ok(suite)
    }

    /// What a test may take.
    fn limit(&self, test: &Test) -> Duration {
        let soak = self.soak.as_ref().map(soak::Plan::length);
        let http = self.http.as_ref().map(http::Plan::length);
        test.limit + soak.or(http).or(self.simulated).unwrap_or_default()
    }

    /// Where snapshots of an explanation are kept, if they are.
    fn snapshots(&self) -> Option<PathBuf> {
        self.soak.as_ref().map(soak::Plan::snapshots)
    }

    fn tests(&self) -> impl Iterator<Item = &'static Test> {
        let before = if self.pre_deploy {
            &snapshot::TESTS
        } else {
            &[] as &[Test]
        };
        self.kind.tests().iter().chain(before)
    }

    /// What must be said of what was planned.
    fn notes(&self) -> Vec<String> {
        let soak = self.soak.as_ref().map(soak::Plan::notes);
        let http = self.http.as_ref().map(http::Plan::notes);
        soak.or(http).unwrap_or_default()
    }

    /// Refuses a name that no test or check has.
    fn known(&self, wanted: &str) -> Result<(), Error> {
        let names: Vec<String> = self
            .tests()
            .flat_map(|test| {
                let checks = test.checks.iter();
                let checks = checks.map(|check| format!("{}.{}", test.name, check.name));
                std::iter::once(test.name.to_owned()).chain(checks)
            })
            .collect();
        if names.iter().any(|name| name == wanted) {
            return Ok(());
        }
        let nearest = names
            .iter()
            .max_by(|a, b| {
                let alike = |name: &str| strsim::jaro_winkler(name, wanted);
                alike(a).total_cmp(&alike(b))
            })
            .map_or_else(String::new, |name| format!("the nearest is `{name}`; "));
        let tests: Vec<_> = self.tests().map(|test| test.name).collect();
        Err(Error::usage(
            format!(
                "--only {wanted}: the suite {} has no such test or check",
                self.kind.as_str()
            ),
            format!("{nearest}the tests are {}", tests.join(", ")),
        ))
    }

    fn wants(&self, test: &Test, check: &Check) -> bool {
        let full = format!("{}.{}", test.name, check.name);
        self.only.is_empty() || self.only.iter().any(|o| *o == test.name || *o == full)
    }
}

/// Runs a suite.
///
/// `events` is called from this thread alone, in order. `cancel` ends it early; what was found until then is kept.
///
/// # Errors
/// Only what can be known before the first process starts.
pub fn suite(
    suite: &Suite,
    directories: &[PathBuf],
    supervisor: &Supervisor,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<SuiteRun, Error> {
    let begun = Instant::now();
    let started_unix_ns = unix_now();
    let mut run = SuiteRun {
        schema: SUITE_SCHEMA.to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        id: String::new(),
        suite: suite.kind.as_str().to_owned(),
        subject: suite.subject.display().to_string(),
        kind: None,
        runtime: None,
        started_unix_ns,
        seconds: 0.0,
        status: RunStatus::Completed,
        exit_code: 0,
        checks: Vec::new(),
        notes: suite.notes(),
    };
    let mut explained = 0;
    for test in suite.tests() {
        let wanted: Vec<&Check> = test
            .checks
            .iter()
            .filter(|c| suite.wants(test, c))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        events(Event::PhaseStarted {
            phase: Phase::Start,
            detail: format!("{} ({})", test.name, test.row),
        });
        let ended = of_test(
            suite,
            test,
            &wanted,
            &mut run,
            &mut explained,
            events,
            cancel,
        )?;
        supervisor.reap();
        if let Some(status) = ended {
            run.status = status;
            break;
        }
    }
    run.seconds = begun.elapsed().as_secs_f64();
    run.exit_code = run.code().code();
    keep(&mut run, directories);
    Ok(run)
}

/// Adds it to the runs there are. That it could not be kept takes nothing from what it found.
fn keep(run: &mut SuiteRun, directories: &[PathBuf]) {
    let (kept, findings) = Chosen::among(directories, run.started_unix_ns).kept();
    run.notes.extend(findings.into_iter().map(|f| f.message));
    let Some(directory) = kept else {
        return;
    };
    directory.id().clone_into(&mut run.id);
    if let Err(error) = directory.write_run(run) {
        run.id.clear();
        run.notes.push(format!("the run is not kept: {error}"));
        directory.discard();
    }
}

/// Runs the checks of one test; why the suite ends with it, if it does.
fn of_test(
    suite: &Suite,
    test: &'static Test,
    wanted: &[&Check],
    run: &mut SuiteRun,
    explained: &mut usize,
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Option<RunStatus>, Error> {
    let mut bench = match Bench::start(suite, test, events, cancel)? {
        Ok(bench) => bench,
        // What cannot be loaded once cannot be loaded for the other tests.
        Err(trouble) => return Ok(Some(status(trouble))),
    };
    let abilities = &bench.child.abilities;
    run.kind.clone_from(&abilities.kind);
    run.runtime = Some(abilities.runtime.clone());
    for (at, check) in wanted.iter().enumerate() {
        let begun = Instant::now();
        let mut findings = Findings::default();
        let result = (check.run)(&mut bench, &mut findings);
        let mut broke = None;
        let state = match result {
            Ok(()) => findings.state(),
            Err(Trouble::Interrupted) => return Ok(Some(RunStatus::Interrupted)),
            Err(Trouble::Skipped(why)) => (CheckState::Skipped, why),
            Err(Trouble::Late(why)) => {
                broke = Some(why.clone());
                let (found, reason) = findings.state();
                match found {
                    CheckState::Leak => (found, format!("{reason}; {why}")),
                    _ => (CheckState::Broken, why),
                }
            }
            Err(Trouble::Failed {
                what,
                details,
                hint,
            }) => {
                broke = Some("the subject failed in an earlier check".to_owned());
                findings.hints.extend(hint);
                findings.hints.extend(details);
                (CheckState::Failed, what)
            }
        };
        if matches!(
            state.0,
            CheckState::Broken | CheckState::Leak | CheckState::Inconclusive
        ) {
            findings.hints.extend(hints(&findings, bench.suite));
        }
        if matches!(state.0, CheckState::Broken | CheckState::Leak)
            && broke.is_none()
            && *explained < MOST_EXPLAINED
        {
            *explained += 1;
            match holder::culprits(&mut bench, &findings) {
                Ok(culprits) => findings.culprits = culprits,
                Err(Trouble::Interrupted) => return Ok(Some(RunStatus::Interrupted)),
                // What cannot be explained was still found.
                Err(_) => {}
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let record = record_of((suite, test, check), seconds, state, findings);
        bench.say(line(&record));
        run.checks.push(record);
        if let Some(why) = broke {
            for check in &wanted[at + 1..] {
                let state = (CheckState::Skipped, why.clone());
                let of = (suite, test, *check);
                run.checks
                    .push(record_of(of, 0.0, state, Findings::default()));
            }
            break;
        }
    }
    Ok(None)
}

/// What became of a check, as it is told while the others go on.
fn line(record: &CheckRecord) -> String {
    let state = record.state.as_str();
    let seconds = units::duration(record.seconds);
    let line = format!("{}: {state} ({seconds})", record.full_name());
    match record.why.as_str() {
        "" => line,
        why => format!("{line} {why}"),
    }
}

fn status(trouble: Trouble) -> RunStatus {
    match trouble {
        Trouble::Interrupted => RunStatus::Interrupted,
        Trouble::Skipped(what) | Trouble::Late(what) => RunStatus::Failed {
            what,
            details: Vec::new(),
            hint: None,
        },
        Trouble::Failed {
            what,
            details,
            hint,
        } => RunStatus::Failed {
            what,
            details,
            hint,
        },
    }
}

/// What to try, by what is not well.
fn hints(findings: &Findings, suite: &Suite) -> Vec<String> {
    let mut hints = Vec::new();
    let broken = |part: &str| {
        findings
            .figures
            .iter()
            .any(|f| f.holds == Some(false) && f.name.contains(part))
    };
    if broken("finalisation") {
        let longer = suite.finalizer_wait.as_millis() * 4;
        hints.push(format!(
            "finalisers run when the runtime likes, and a subject may put off what they do: `--finalizer-wait {longer}ms` waits longer"
        ));
    }
    if broken("left alive") {
        hints.push(
            "something still refers to the objects: a listener, a global, a closure or a cache; `plimsoll suite snapshot` names it"
                .to_owned(),
        );
    }
    if broken("linear memory")
        || findings
            .verdicts
            .iter()
            .any(|v| v.series == "linear memory" && v.outcome() == plimsoll_model::Outcome::Leak)
    {
        hints.push(
            "linear memory never shrinks: what grows there was not freed by the library, by `dispose()` or by its finalisers"
                .to_owned(),
        );
    }
    hints
}
