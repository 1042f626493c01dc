//! `plimsoll monitor`: lines, tables and files while it watches, the verdict in the end.
//!
//! All that a monitor says while it watches goes to standard error. As a wrapper its report goes there too: standard
//! output belongs to the command.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use plimsoll_engine::{Error, Monitor, Wrapper};
use plimsoll_model::{Cancel, Event, Finding, Run, Severity, units};
use plimsoll_report::Columns;

use crate::args::{Color, FailOn, MonitorArgs};
use crate::{cancel_on_signals, complain, print, render};

pub(crate) fn monitor(args: MonitorArgs, color: Color, quiet: bool) -> anyhow::Result<u8> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let named = std::env::var_os("PLIMSOLL_DIR").map(Into::into);
    let config = Monitor {
        interval: args.interval,
        duration: args.duration,
        floor: args.floor,
        attach: args.attach,
        fail_on_leak: args.fail_on == Some(FailOn::Leak),
        directories: plimsoll_engine::directories(named, &here),
    };
    let mut told = Told::open(&args, quiet)?;
    if args.command.is_empty() {
        let processes = match &args.name {
            Some(name) => plimsoll_engine::processes_by_name(name)?,
            None => plimsoll_engine::processes_by_pid(&args.pids)?,
        };
        let cancel = Cancel::try_new().context("no descriptors left")?;
        cancel_on_signals(&cancel)?;
        let run =
            plimsoll_engine::monitor(&config, processes, &mut |event| told.tell(&event), &cancel)?;
        told.write(&run);
        print(&render(&run, args.output.format(), color))?;
        return Ok(run.exit_code);
    }
    let wrapper = Wrapper::start(args.command, config.interval)?;
    let (exit, watched) = wrapper.monitor(&config, &mut |event| told.tell(&event));
    let code = plimsoll_engine::shell_status(exit);
    match watched {
        Some(Ok(run)) => {
            told.write(&run);
            if !quiet {
                let _ =
                    io::stderr().write_all(render(&run, args.output.format(), color).as_bytes());
            }
            Ok(run.exit_code)
        }
        Some(Err(error)) => {
            complain(&format!("not watched: {error}"), error.hint().as_deref());
            Ok(code)
        }
        None => {
            complain("watching failed; the command was not touched by it", None);
            Ok(code)
        }
    }
}

/// Everything that is told while it goes on. A file that cannot be written any more is given up and said; it stops nothing.
struct Told {
    quiet: bool,
    table: Option<(File, PathBuf, Columns)>,
    log: Option<(File, PathBuf)>,
    output: Option<(File, PathBuf)>,
}

impl Told {
    fn open(args: &MonitorArgs, quiet: bool) -> Result<Self, Error> {
        let create = |path: &PathBuf| {
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
                .map(|file| (file, path.clone()))
                .map_err(|error| unwritable(path, &error))
        };
        let append = |path: &PathBuf| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .map(|file| (file, path.clone()))
                .map_err(|error| unwritable(path, &error))
        };
        let mut table = None;
        if let Some(path) = &args.csv {
            let (mut file, path) = create(path)?;
            file.write_all(args.columns.header().as_bytes())
                .map_err(|error| unwritable(&path, &error))?;
            table = Some((file, path, args.columns.clone()));
        }
        Ok(Self {
            quiet,
            table,
            log: args.log.as_ref().map(append).transpose()?,
            output: args.output_file.as_ref().map(create).transpose()?,
        })
    }

    fn tell(&mut self, event: &Event) {
        // Development builds can be made to fail on purpose: a test sees that the command does not notice.
        assert!(
            !(cfg!(debug_assertions)
                && matches!(event, Event::Reading(_))
                && std::env::var_os("PLIMSOLL_TEST_PANIC").is_some()),
            "a failure on purpose"
        );
        match event {
            Event::Reading(reading) => {
                let text = plimsoll_report::reading_text(reading);
                self.say(reading.unix_ns, &text);
                if let Some((file, path, columns)) = &mut self.table
                    && let Err(error) = file.write_all(columns.rows(reading).as_bytes())
                {
                    give_up(path, &error);
                    self.table = None;
                }
            }
            Event::Found(Finding {
                severity: Severity::Warning,
                message,
                ..
            }) => {
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(0));
                self.say(now, &format!("warning: {message}\n"));
            }
            _ => {}
        }
    }

    fn say(&mut self, unix_ns: u64, text: &str) {
        if !self.quiet {
            let _ = io::stderr().write_all(text.as_bytes());
        }
        if let Some((file, path)) = &mut self.log {
            let line = format!("{}  {text}", units::timestamp(unix_ns));
            if let Err(error) = file.write_all(line.as_bytes()) {
                give_up(path, &error);
                self.log = None;
            }
        }
    }

    /// Writes the run where it was asked for.
    fn write(&mut self, run: &Run) {
        if let Some((file, path)) = &mut self.output
            && let Err(error) = file.write_all(plimsoll_report::json(run).as_bytes())
        {
            give_up(path, &error);
        }
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::Usage {
        message: format!("{} cannot be written: {error}", path.display()),
        hint: Some("name a file in a directory that this user may write".to_owned()),
    }
}

fn give_up(path: &Path, error: &io::Error) {
    complain(
        &format!("{} is not written any more: {error}", path.display()),
        None,
    );
}

/// Parses columns for the command line.
pub(crate) fn columns(text: &str) -> Result<Columns, String> {
    Columns::parse(text).map_err(|name| {
        format!(
            "`{name}` is no column; there are {}, and each of bytes as NAME_mb",
            Columns::NAMES.join(", ")
        )
    })
}
