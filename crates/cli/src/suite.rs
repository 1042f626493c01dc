//! `plimsoll suite`: the flags of each suite, and its report.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help, read in a terminal"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use plimsoll_engine::{HoursFlags, Suite, SuiteFlags, SuiteKind, Supervisor, parse_duration};
use plimsoll_model::{Cancel, ExitCode, SuiteRun};

use crate::args::{Color, Format, Output};
use crate::progress::Progress;
use crate::{cancel_on_signals, exit_code, print, style};

/// Puts a library with managed resources through what is known to leak there.
///
/// SUBJECT is a module that exports create(i, {rows, columns, cleanup, invalid}), and where it can use(x), dispose(x), kind,
/// live(), memory(), parse(text), filter(x), aggregate(x). What is missing makes its checks "skipped: why".
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// Five tests in five minutes at most, for every commit
    Fast(FastArgs),
    /// A million objects in a tight loop, a turn each 1,000
    TightLoop(TightLoopArgs),
    /// Three heap snapshots: before, with 1,000 alive, after
    Snapshot(SnapshotArgs),
    /// Objects created and used for hours, a row of CSV a minute
    Soak(SoakArgs),
    /// A real server around the subject, loaded for hours
    Http(HttpArgs),
    /// Twelve tests of sessions that share a process
    Session(SessionArgs),
}

#[derive(Debug, Args)]
struct FastArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// One test or check, such as gc_verification.basic; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Debug, Args)]
struct TightLoopArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Objects in all [default: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10_000..=1_000_000_000))]
    operations: Option<u64>,
}

#[derive(Debug, Args)]
struct SnapshotArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Objects that are alive in the second snapshot [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    operations: Option<u64>,
    /// Keep the snapshots in this directory
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// 100 objects a minute for a day: 144,000 in all.
///
/// A soak that was interrupted, even killed, goes on after the last row of its table with --resume.
#[derive(Debug, Args)]
struct SoakArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Hours of the plan [default: 24]
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// So many times faster: equal operations, not equal hours [default: 1]
    #[arg(long, value_name = "FACTOR")]
    compress: Option<f64>,
    /// Objects of a sample [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    per_sample: Option<u64>,
    /// Time between samples of the plan [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    interval: Option<Duration>,
    /// The table [default: soak_test_results.csv]
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Go on after the last row of the table
    #[arg(long)]
    resume: bool,
}

/// 10,000 requests an hour for two hours: a table uploaded, parsed, filtered, aggregated, JSON back.
#[derive(Debug, Args)]
struct HttpArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Hours of the plan [default: 2]
    #[arg(long, value_name = "H")]
    hours: Option<f64>,
    /// Requests an hour [default: 10000]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// So many times faster: equal requests, not equal hours [default: 1]
    #[arg(long, value_name = "FACTOR")]
    compress: Option<f64>,
}

/// A session is what create(i) makes, use(x) works with and dispose(x) destroys.
///
/// monitor(options), cache() and pool() are tested too, where the module has them: see docs/suites.md.
#[derive(Debug, Args)]
struct SessionArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// One test, such as sessions.listeners; repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Before a deployment: 15 sessions for 10 minutes, and snapshots
    #[arg(long)]
    pre_deploy: bool,
    /// Length of the simulation [default: 5s; before a deployment 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    simulate: Option<Duration>,
    /// Keep the snapshots of --pre-deploy in this directory
    #[arg(long, short, value_name = "DIR", requires = "pre_deploy")]
    output: Option<PathBuf>,
}

/// What all suites take.
#[derive(Debug, Args)]
struct CommonArgs {
    /// The subject module (.mjs, .cjs, .js, .ts …)
    subject: PathBuf,
    /// How long finalisers are waited for [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    finalizer_wait: Option<Duration>,
    /// Wait for the module and its setup() [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ready_timeout: Option<Duration>,
    #[command(flatten)]
    report: Output,
    /// What runs the subject [default: node]
    #[arg(last = true, value_name = "RUNTIME")]
    runtime: Vec<OsString>,
}

impl CommonArgs {
    fn flags(self, kind: SuiteKind) -> (SuiteFlags, Output) {
        let flags = SuiteFlags {
            kind,
            subject: self.subject,
            runtime: self.runtime,
            only: Vec::new(),
            finalizer_wait: self.finalizer_wait,
            ready_timeout: self.ready_timeout,
            operations: None,
            output: None,
            hours: HoursFlags::default(),
            pre_deploy: false,
            simulate: None,
        };
        (flags, self.report)
    }
}

pub(crate) fn suite(args: SuiteArgs, color: Color, quiet: bool) -> anyhow::Result<ExitCode> {
    let (flags, output) = match args.which {
        Which::Fast(args) => {
            let (mut flags, output) = args.common.flags(SuiteKind::Fast);
            flags.only = args.only;
            (flags, output)
        }
        Which::TightLoop(args) => {
            let (mut flags, output) = args.common.flags(SuiteKind::TightLoop);
            flags.operations = args.operations;
            (flags, output)
        }
        Which::Snapshot(args) => {
            let (mut flags, output) = args.common.flags(SuiteKind::Snapshot);
            flags.operations = args.operations;
            flags.output = args.output;
            (flags, output)
        }
        Which::Soak(args) => {
            let (mut flags, output) = args.common.flags(SuiteKind::Soak);
            flags.hours = HoursFlags {
                hours: args.hours,
                compress: args.compress,
                per_sample: args.per_sample,
                interval: args.interval,
                csv: args.csv,
                resume: args.resume,
                rate: None,
            };
            (flags, output)
        }
        Which::Http(args) => {
            let (mut flags, output) = args.common.flags(SuiteKind::Http);
            flags.hours = HoursFlags {
                hours: args.hours,
                rate: args.rate,
                compress: args.compress,
                ..HoursFlags::default()
            };
            (flags, output)
        }
        Which::Session(args) => {
            let (mut flags, output) = args.common.flags(SuiteKind::Session);
            flags.only = args.only;
            flags.pre_deploy = args.pre_deploy;
            flags.simulate = args.simulate;
            flags.output = args.output;
            (flags, output)
        }
    };
    let here = std::env::current_dir().context("the working directory is not readable")?;
    let named = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let suite = Suite::resolve(flags)?;
    let cancel = Cancel::try_new().context("no descriptors left")?;
    cancel_on_signals(&cancel)?;
    let supervisor = Supervisor::of_process().unwrap_or_default();
    let mut progress = Progress::new(quiet);
    let run = plimsoll_engine::suite(
        &suite,
        &plimsoll_engine::directories(named, &here),
        &supervisor,
        &mut |event| progress.tell(&event),
        &cancel,
    )?;
    progress.clear();
    print(&render(&run, output.format(), color))?;
    Ok(exit_code(run.exit_code))
}

pub(crate) fn render(run: &SuiteRun, format: Format, color: Color) -> String {
    match format {
        Format::Text => plimsoll_report::suite_text(run, style(color)),
        Format::Json => plimsoll_report::suite_json(run),
        Format::Junit => plimsoll_report::suite_junit(run),
    }
}
