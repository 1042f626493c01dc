//! `plimsoll`: arguments → engine → exit code. No logic.

mod analyze;
mod args;
mod monitor;
mod profile;
mod progress;
mod snapshot;
mod suite;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode as ProcessExit;

use anyhow::Context;
use clap::Parser;
use plimsoll_engine::{Config, Error, LoadRun, Supervisor};
use plimsoll_model::{Cancel, Event, ExitCode, Health, Run};
use plimsoll_report::Style;
use plimsoll_store::{Document, ExportFormat, Store};

use crate::args::{
    CheckArgs, Cli, Color, DoctorArgs, ExportArgs, Format, HistoryArgs, LoadArgs, ReportArgs,
    Table, Verb, Verdictless,
};
use crate::progress::Progress;

fn main() -> ProcessExit {
    let cli = Cli::parse();
    // A panic is our bug: it must not look like a verdict, and the subject must still be ended (by unwinding).
    let code = std::panic::catch_unwind(|| dispatch(cli)).unwrap_or_else(|_| {
        complain(
            "plimsoll itself failed",
            Some("please report this with the command and the lines above"),
        );
        ExitCode::Internal.code()
    });
    ProcessExit::from(code)
}

fn dispatch(cli: Cli) -> u8 {
    let color = cli.color;
    let quiet = cli.quiet;
    let result = match cli.verb {
        Verb::Check(args) => check(*args, color, quiet),
        Verb::Load(args) => load(*args, color, quiet),
        Verb::Analyze(args) => analyze::analyze(&args, color),
        Verb::Doctor(args) => doctor(&args, color),
        Verb::Export(args) => export(&args),
        Verb::Snapshot(args) => snapshot::snapshot(&args, color),
        Verb::Explain(args) => snapshot::explain(&args),
        Verb::Suite(args) => suite::suite(args, color, quiet),
        Verb::Profile(args) => profile::profile(args, color, quiet),
        Verb::Report(args) => report(&args, color),
        Verb::History(args) => history(&args, color),
        // Alone repeats the status of another program.
        Verb::Monitor(args) => {
            return monitor::monitor(*args, color, quiet).unwrap_or_else(|e| failed(&e).code());
        }
    };
    result.unwrap_or_else(|error| failed(&error)).code()
}

/// Says what went wrong before anything was judged.
fn failed(error: &anyhow::Error) -> ExitCode {
    if let Some(known) = error.downcast_ref::<Error>() {
        complain(&known.to_string(), known.hint().as_deref());
        known.exit_code()
    } else {
        complain(&format!("{error:#}"), None);
        ExitCode::Usage
    }
}

fn check(mut args: CheckArgs, color: Color, quiet: bool) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("the working directory is not readable")?;
    let mut flags = args.flags();
    flags.on_inconclusive = match args.inconclusive {
        Verdictless::Exit => None,
        Verdictless::Pass => Some(ExitCode::Holds),
        Verdictless::Fail => Some(ExitCode::Broken),
    };
    flags.directory = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let config = Config::resolve(flags, &here)?;
    let cancel = Cancel::try_new().context("no descriptors left")?;
    cancel_on_signals(&cancel)?;
    let supervisor = Supervisor::of_process().unwrap_or_default();
    let mut progress = Progress::new(quiet);
    // Development builds can be made to fail on purpose: a test sees that the subject does not survive our own bugs.
    let fails_on_purpose =
        cfg!(debug_assertions) && std::env::var_os("PLIMSOLL_TEST_PANIC").is_some();
    let run = plimsoll_engine::check(
        &config,
        &supervisor,
        &mut |event| {
            assert!(
                !(fails_on_purpose && matches!(event, Event::Round(_))),
                "a failure on purpose"
            );
            progress.tell(&event);
        },
        &cancel,
    )?;
    progress.clear();
    print(&render(&run, args.output.format(), color))?;
    Ok(exit_code(run.exit_code))
}

fn load(mut args: LoadArgs, color: Color, quiet: bool) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("the working directory is not readable")?;
    let mut flags = args.flags();
    flags.directory = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let run = LoadRun::resolve(flags, &here)?;
    let cancel = Cancel::try_new().context("no descriptors left")?;
    cancel_on_signals(&cancel)?;
    // Each virtual user is a descriptor.
    let _ = plimsoll_engine::raise_descriptor_limit();
    let mut progress = Progress::new(quiet);
    let run = plimsoll_engine::load(&run, &mut |event| progress.tell(&event), &cancel)?;
    progress.clear();
    let format = if args.json {
        Format::Json
    } else {
        Format::Text
    };
    print(&render(&run, format, color))?;
    Ok(exit_code(run.exit_code))
}

fn report(args: &ReportArgs, color: Color) -> anyhow::Result<ExitCode> {
    let format = args.output.format();
    print(&match store()?.document(&args.run).map_err(Error::from)? {
        Document::Run(run) => render(&run, format, color),
        Document::Suite(run) => suite::render(&run, format, color),
    })?;
    // Rendering is not judging: a run that can be shown is a success, whatever it says.
    Ok(ExitCode::Holds)
}

fn doctor(args: &DoctorArgs, color: Color) -> anyhow::Result<ExitCode> {
    let here = std::env::current_dir().context("the working directory is not readable")?;
    let named = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let cancel = Cancel::try_new().context("no descriptors left")?;
    cancel_on_signals(&cancel)?;
    let directories = plimsoll_engine::directories(named, &here);
    let diagnosis = plimsoll_engine::doctor(args.pid, &directories, &cancel)?;
    print(&if args.json {
        plimsoll_report::doctor_json(&diagnosis)
    } else {
        plimsoll_report::doctor_text(&diagnosis, style(color))
    })?;
    Ok(match diagnosis.health() {
        Health::Missing => ExitCode::Broken,
        _ => ExitCode::Holds,
    })
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let log = store()?
        .find(&args.run)
        .map_err(Error::from)?
        .join(plimsoll_store::LOG_NAME);
    let format = match args.format {
        Table::Csv => ExportFormat::Csv,
        Table::Jsonl => ExportFormat::JsonLines,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    match plimsoll_store::export(&log, format, &args.metrics, &mut out) {
        Ok(exported) => {
            if exported.torn_bytes > 0 {
                complain(
                    &format!(
                        "the last {} bytes of the log are torn and left out; all before them is there",
                        exported.torn_bytes
                    ),
                    None,
                );
            }
            Ok(ExitCode::Holds)
        }
        // A reader that has left (`| head`) is no error.
        Err(plimsoll_store::Error::Io {
            what: "write",
            source,
            ..
        }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::Holds),
        Err(error) => Err(Error::from(error).into()),
    }
}

fn history(args: &HistoryArgs, color: Color) -> anyhow::Result<ExitCode> {
    let rows = store()?.list().map_err(Error::from)?;
    if args.json {
        print(&plimsoll_report::history_json(&rows))?;
    } else {
        print(&plimsoll_report::history_text(&rows, style(color)))?;
    }
    Ok(ExitCode::Holds)
}

/// The store of this directory, never created by reading it.
fn store() -> anyhow::Result<Store> {
    let here = std::env::current_dir().context("the working directory is not readable")?;
    let named = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let directories = plimsoll_engine::directories(named, &here);
    let first = directories
        .iter()
        .find(|d| d.join("runs").is_dir())
        .or(directories.first());
    Ok(Store::read_only(first.context("no directory for runs")?))
}

fn render(run: &Run, format: Format, color: Color) -> String {
    match format {
        Format::Text => plimsoll_report::text(run, style(color)),
        Format::Json => plimsoll_report::json(run),
        Format::Junit => plimsoll_report::junit(run),
    }
}

fn style(color: Color) -> Style {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            !set("NO_COLOR") && (set("CLICOLOR_FORCE") || (io::stdout().is_terminal() && !dumb))
        }
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
    // No locale at all is what CI containers have, and their logs are UTF-8.
    let ascii = locale.is_some_and(|l| {
        let l = l.to_ascii_lowercase();
        !l.contains("utf-8")
            && !l.contains("utf8")
            && l != "c.utf-8"
            && (l == "c" || l == "posix" || l.contains("iso"))
    });
    Style {
        color,
        width: progress::width(),
        ascii,
    }
}

/// Writes the report. A reader that has left (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}

fn complain(message: &str, hint: Option<&str>) {
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "error: {message}");
    if let Some(hint) = hint {
        let _ = writeln!(err, "  hint: {hint}");
    }
}

/// The first signal asks for an orderly end, the second ends at once.
fn cancel_on_signals(cancel: &Cancel) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("signals cannot be handled")?;
    let cancel = cancel.clone();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for signal in &mut signals {
                if cancel.is_cancelled() {
                    Supervisor::kill_subjects();
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
                cancel.cancel();
            }
        })
        .context("no thread for signals")?;
    Ok(())
}

fn exit_code(code: u8) -> ExitCode {
    ExitCode::ALL
        .into_iter()
        .find(|c| c.code() == code)
        .unwrap_or(ExitCode::Internal)
}
