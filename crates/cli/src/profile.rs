//! `plimsoll profile`: arguments → engine → where the result lies.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use plimsoll_engine::parse_duration;
use plimsoll_engine::profile::{self, Form, Options, Reading, View};
use plimsoll_model::{Cancel, Event, ExitCode, Severity};

use crate::args::{Color, Format};
use crate::{cancel_on_signals, complain, exit_code, print, render, store};

/// Allocations by stack: recorded by a profiler, kept in a run, shown as flame graph, table or text
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll profile record --memray -- python app.py
  plimsoll profile flamegraph --leaks
  plimsoll profile export --format pprof -o leaks.pb.gz --leaks

memray (for Python) is not a part of plimsoll: `pip install memray`, in the environment of the program.")]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    wish: Wish,
}

#[derive(Debug, Subcommand)]
enum Wish {
    /// Run a command, or enter a process, and record
    Record(RecordArgs),
    /// Run a command and show it live, in the terminal
    Live(LiveArgs),
    /// A page of HTML: who allocated what
    Flamegraph(PageArgs),
    /// A page of HTML with a sortable table
    Table(PageArgs),
    /// The largest functions, in the terminal
    Summary(WhichArgs),
    /// The stacks as a tree to walk, in the terminal
    Tree(WhichArgs),
    /// Sizes, allocators and places, in the terminal
    Stats(WhichArgs),
    /// A file for other tools
    Export(ExportArgs),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("profiler").args(["memray"]).required(true)))]
#[command(group(clap::ArgGroup::new("subject").args(["pid", "command"]).required(true)))]
struct RecordArgs {
    /// Record a Python program by memray
    #[arg(long)]
    memray: bool,
    /// A process that runs already
    ///
    /// memray has to be installed in its environment. Below Python 3.14 it is put in by a debugger (gdb or lldb).
    #[arg(long, short, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// How long it is recorded [default: to its end, or Ctrl-C]
    #[arg(long, short, value_name = "TIME", value_parser = parse_duration, requires = "pid")]
    duration: Option<Duration>,
    #[command(flatten)]
    recorded: Recorded,
    /// Forked processes too, each in a file of its own
    #[arg(long)]
    follow_fork: bool,
    /// Command to run: python and a script, -m or -c; or a script
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct Recorded {
    /// C and C++ frames too
    #[arg(long)]
    native: bool,
    /// Only what reaches the C allocator: cheaper, and blind to small objects
    #[arg(long)]
    large_only: bool,
}

impl Recorded {
    fn options(&self, follow_fork: bool) -> Options {
        Options {
            native: self.native,
            large_only: self.large_only,
            follow_fork,
        }
    }
}

#[derive(Debug, Args)]
struct LiveArgs {
    #[command(flatten)]
    recorded: Recorded,
    /// Command to run: python and a script, -m or -c; or a script
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
struct WhichArgs {
    /// The run: an id or its beginning, or a path [default: the newest]
    run: Option<String>,
    /// The forked process of this pid
    #[arg(long, value_name = "PID")]
    process: Option<u32>,
    /// Interpreter that has memray [default: the one that recorded]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PageArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, Args)]
struct FileArgs {
    /// What was never freed, not what was alive at the peak
    #[arg(long)]
    leaks: bool,
    /// Where to [default: beside the recording]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    file: FileArgs,
    /// pprof, speedscope or folded
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    format: Formats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Formats {
    Pprof,
    Speedscope,
    Folded,
}

impl WhichArgs {
    fn reading(self, file: Option<FileArgs>) -> Reading {
        Reading {
            run: self.run,
            process: self.process,
            unfreed: file.as_ref().is_some_and(|file| file.leaks),
            output: file.and_then(|file| file.output),
            interpreter: self.python,
        }
    }
}

pub(crate) fn profile(args: ProfileArgs, color: Color, quiet: bool) -> anyhow::Result<ExitCode> {
    match args.wish {
        Wish::Record(args) => record(&args, color, quiet),
        Wish::Live(args) => match profile::live(&args.command, args.recorded.options(false))? {},
        Wish::Flamegraph(args) => view(&args.which.reading(Some(args.file)), View::Flamegraph),
        Wish::Table(args) => view(&args.which.reading(Some(args.file)), View::Table),
        Wish::Summary(args) => view(&args.reading(None), View::Summary),
        Wish::Tree(args) => view(&args.reading(None), View::Tree),
        Wish::Stats(args) => view(&args.reading(None), View::Stats),
        Wish::Export(args) => {
            let form = match args.format {
                Formats::Pprof => Form::Pprof,
                Formats::Speedscope => Form::Speedscope,
                Formats::Folded => Form::Folded,
            };
            let reading = args.which.reading(Some(args.file));
            told(&profile::export(&store()?, &reading, form)?)
        }
    }
}

fn record(args: &RecordArgs, color: Color, quiet: bool) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("the working directory is not readable")?;
    let named = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let directories = plimsoll_engine::directories(named, &here);
    let options = args.recorded.options(args.follow_fork);
    let mut tell = |event: Event| {
        if let Event::Found(finding) = event
            && finding.severity == Severity::Warning
            && !quiet
        {
            complain(&finding.message, finding.hint.as_deref());
        }
    };
    let run = match args.pid {
        None => profile::record(&args.command, options, &directories, &mut tell)?,
        Some(pid) => {
            let cancel = Cancel::try_new().context("no descriptors left")?;
            cancel_on_signals(&cancel)?;
            let (length, tell) = (args.duration, &mut tell);
            profile::record_running(pid, options, length, &directories, tell, &cancel)?
        }
    };
    if !quiet {
        // The standard output is the command's.
        eprint_text(&render(&run, Format::Text, color));
    }
    Ok(exit_code(run.exit_code))
}

fn eprint_text(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn view(reading: &Reading, view: View) -> anyhow::Result<ExitCode> {
    match profile::view(&store()?, reading, view)? {
        Some(path) => told(&path),
        None => Ok(ExitCode::Holds),
    }
}

fn told(path: &std::path::Path) -> anyhow::Result<ExitCode> {
    print(&path.display().to_string())?;
    Ok(ExitCode::Holds)
}
