//! `plimsoll profile`: allocations by stack, recorded by a profiler while the program runs, kept in a run, and asked
//! afterwards.
//!
//! What is a recording's own lies here: the run it is kept in, the program's memory alongside, how it ended. What is a
//! profiler's own (how it is started, what it is asked with) lies in a file of its name; memray, for Python, is the first.

mod memray;
mod python;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plimsoll_model::{Artefact, Cancel, Event, Exit, ExitCode, Finding, Run, RunStatus, units};
use plimsoll_probe::Process;
use plimsoll_store::Store;

use crate::document::not_judged;
use crate::error::Error;
use crate::monitor::{Monitor, Wrapper, shell_status};
use crate::place::{Chosen, unix_now};

use memray::{Memray, RECORD};
pub use memray::{Options, live};

/// Time between readings of the program's memory.
const INTERVAL: Duration = Duration::from_secs(1);
/// The signals that people and supervisors end a program with.
const ASKED_TO_END: [i32; 2] = [2, 15];
/// Which interpreter the profiler was found in: a text of one line beside what it recorded.
const INTERPRETER: &str = "interpreter";

/// What a recording is asked about, and how the answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A page of HTML.
    Flamegraph,
    /// A page of HTML with a table.
    Table,
    /// On the terminal, the largest first.
    Summary,
    /// On the terminal, to be walked through.
    Tree,
    /// On the terminal: sizes, kinds of allocator, the largest places.
    Stats,
}

/// What other tools read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `profile.proto`, packed with gzip.
    Pprof,
    /// The JSON of speedscope.app.
    Speedscope,
    /// A line per stack.
    Folded,
}

/// Which recording is meant, and how it is read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The run; `None` = the newest recording.
    pub run: Option<String>,
    /// The process, where forks were followed; `None` = the one that was started.
    pub process: Option<u32>,
    /// Memory that was never freed, instead of what was alive when most was.
    pub unfreed: bool,
    /// Where a file goes; `None` = beside the recording.
    pub output: Option<PathBuf>,
    /// An interpreter that has the profiler; `None` = the one that recorded.
    pub interpreter: Option<PathBuf>,
}

/// Runs a Python command under memray, in front of it as a monitor is: streams, terminal and signals are the command's.
/// Only for a program's `main`, before it has threads that should act on signals.
///
/// # Errors
/// If it is no Python command, memray is missing in its interpreter, or nothing can be kept. What happens later is part of
/// the run.
pub fn record(
    command: &[OsString],
    options: Options,
    directories: &[PathBuf],
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Run, Error> {
    let memray = Memray::of_command(command)?;
    let (place, folder) = place(directories)?;
    keep_interpreter(&folder, &memray)?;
    let runner = memray.run(&folder, options);
    let wrapper = Wrapper::start_by(runner, command.to_vec(), place)?;
    let (exit, watched) = wrapper.watch(&config(None, directories), events, |run| {
        let status = match run.subject.exit {
            Some(exit) => ended(exit),
            None => RunStatus::Completed,
        };
        complete(run, &folder, &memray, status);
    });
    match watched {
        Some(run) => run,
        None => Err(Error::Internal(format!(
            "watching failed; the command ended with {}, and its recording is in {}",
            shell_status(exit),
            folder.display()
        ))),
    }
}

/// Puts memray into a Python process that runs already, until the time is over, `cancel` is asked for, or it ends.
///
/// # Errors
/// If memray is missing there, or could not be put in.
pub fn record_running(
    pid: u32,
    options: Options,
    duration: Option<Duration>,
    directories: &[PathBuf],
    events: &mut dyn FnMut(Event),
    cancel: &Cancel,
) -> Result<Run, Error> {
    let epoch = Instant::now();
    let process = Process::open(pid)?;
    let memray = Memray::of_process(&process)?;
    let (place, folder) = place(directories)?;
    if let Err(error) =
        keep_interpreter(&folder, &memray).and_then(|()| memray.attach(&process, &folder, options))
    {
        place.discard();
        return Err(error);
    }
    events(Event::Found(Finding::info(
        "attached",
        format!(
            "memray {} is in pid {pid}; it leaves when plimsoll ends",
            memray.version
        ),
    )));
    let config = config(duration, directories);
    let watched = vec![process.clone()];
    let concluded =
        crate::monitor::alongside(&config, watched, Some(place), epoch, events, cancel)?;
    let stays = process
        .is_alive()
        .then(|| memray.detach(&process).err())
        .flatten();
    Ok(concluded.keep_with(|run| {
        complete(run, &folder, &memray, RunStatus::Completed);
        run.findings.extend(stays.map(|why| {
            Finding::warning(
                "not-detached",
                format!("memray still records in pid {pid}: {why}"),
                Some("it stops when the process ends"),
            )
        }));
    }))
}

/// Shows a recording. What is shown on the terminal was shown when this returns; a file is told.
///
/// # Errors
/// If there is no such recording, or the profiler cannot show it.
pub fn view(store: &Store, reading: &Reading, view: View) -> Result<Option<PathBuf>, Error> {
    let (recording, memray) = find(store, reading)?;
    memray.view(&recording, reading, view)
}

/// Writes a recording for other tools; says where.
///
/// # Errors
/// If there is no such recording, or it cannot be read or written.
pub fn export(store: &Store, reading: &Reading, form: Form) -> Result<PathBuf, Error> {
    let (recording, memray) = find(store, reading)?;
    memray.export(&recording, reading, form)
}

fn config(duration: Option<Duration>, directories: &[PathBuf]) -> Monitor {
    Monitor {
        interval: INTERVAL,
        duration,
        floor: None,
        attach: false,
        fail_on_leak: false,
        directories: directories.to_vec(),
    }
}

/// Where the run is kept; a recording that cannot be kept is worth nothing.
fn place(directories: &[PathBuf]) -> Result<(Chosen, PathBuf), Error> {
    let place = Chosen::among(directories, unix_now());
    let folder = place.kept.as_ref().map(|kept| kept.path().to_owned());
    // The program writes there, wherever it may go.
    match folder.map(std::path::absolute) {
        Some(Ok(folder)) => Ok((place, folder)),
        _ => Err(Error::usage(
            "there is no place to keep what is recorded",
            "set PLIMSOLL_DIR to a directory that can be written",
        )),
    }
}

fn keep_interpreter(folder: &Path, memray: &Memray) -> Result<(), Error> {
    let mut line = memray.executable.as_os_str().to_owned();
    line.push("\n");
    std::fs::write(folder.join(INTERPRETER), line.as_encoded_bytes()).map_err(|error| {
        Error::usage(
            format!("{} cannot be written: {error}", folder.display()),
            "set PLIMSOLL_DIR to a directory that can be written",
        )
    })
}

/// How a program that was recorded ended. To be told to end is the usual end of a service.
fn ended(exit: Exit) -> RunStatus {
    let failed = |what: String| RunStatus::Failed {
        what,
        details: Vec::new(),
        hint: Some("what was recorded until then is kept".to_owned()),
    };
    match exit {
        Exit::Status(0) => RunStatus::Completed,
        Exit::Signal(signal) if ASKED_TO_END.contains(&signal) => RunStatus::Interrupted,
        Exit::Status(status) if ASKED_TO_END.contains(&(status - 128)) => RunStatus::Interrupted,
        Exit::Status(status) => failed(format!("the program failed (status {status})")),
        Exit::Signal(signal) => failed(format!("signal {signal} ended the program")),
    }
}

fn complete(run: &mut Run, folder: &Path, memray: &Memray, status: RunStatus) {
    "profile".clone_into(&mut run.verb);
    not_judged(run);
    run.artefacts.extend(recordings(folder));
    let bytes: u64 = run.artefacts.iter().map(|artefact| artefact.bytes).sum();
    run.status = status;
    if run.artefacts.is_empty() {
        run.status = RunStatus::Failed {
            what: "memray recorded nothing".to_owned(),
            details: Vec::new(),
            hint: None,
        };
    } else {
        run.findings.push(Finding::info(
            "recorded",
            format!(
                "memray {} recorded {} in {}: `plimsoll profile flamegraph --leaks` shows what was never freed",
                memray.version,
                units::bytes(bytes as f64),
                folder.display()
            ),
        ));
    }
    run.exit_code = match run.status {
        RunStatus::Failed { .. } => ExitCode::Failed,
        RunStatus::Interrupted => ExitCode::Interrupted,
        _ => ExitCode::Holds,
    }
    .code();
}

/// What lies in the folder of a run: one file, and one for each process that was forked.
fn recordings(folder: &Path) -> Vec<Artefact> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<Artefact> = entries
        .filter_map(|entry| {
            let path = entry.file_name().into_string().ok()?;
            let bytes = entry.metadata().ok()?.len();
            path.starts_with(RECORD).then(|| Artefact {
                kind: "memray".to_owned(),
                path,
                bytes,
            })
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The file that is meant, and the profiler that can read it.
fn find(store: &Store, reading: &Reading) -> Result<(PathBuf, Memray), Error> {
    let folder = match &reading.run {
        Some(name) => store.find(name)?,
        None => newest(store)?,
    };
    let name = match reading.process {
        Some(pid) => format!("{RECORD}.{pid}"),
        None => RECORD.to_owned(),
    };
    let recording = folder.join(&name);
    if !recording.is_file() {
        let there: Vec<String> = recordings(&folder).into_iter().map(|a| a.path).collect();
        let hint = if there.is_empty() {
            "`plimsoll profile record --memray -- python app.py` makes one".to_owned()
        } else {
            format!("it has {}", there.join(", "))
        };
        let what = format!("{} holds no recording {name}", folder.display());
        return Err(Error::usage(what, hint));
    }
    let interpreter = match &reading.interpreter {
        Some(path) => path.clone(),
        None => std::fs::read_to_string(folder.join(INTERPRETER)).map_or_else(
            |_| PathBuf::from("python3"),
            |line| PathBuf::from(line.trim_end_matches('\n')),
        ),
    };
    Ok((recording, Memray::of_interpreter(interpreter.as_os_str())?))
}

fn newest(store: &Store) -> Result<PathBuf, Error> {
    let runs = store.list()?;
    let mut recorded = runs
        .into_iter()
        .filter(|run| run.path.join(RECORD).is_file());
    recorded.next().map(|run| run.path).ok_or_else(|| {
        Error::usage(
            "nothing was recorded here",
            "`plimsoll profile record --memray -- python app.py` makes a recording",
        )
    })
}
