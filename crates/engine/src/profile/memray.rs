//! memray, the profiler of Python: found in the interpreter of the program, run in front of it or put into it, and asked
//! about what it recorded. Never linked, never bundled, and its files are read by itself alone.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_model::Role;
use plimsoll_probe::Process;

use super::python::{Python, is_python};
use super::{Form, Reading, View};
use crate::error::Error;

/// What it writes in the folder of a run; for forked processes with their pids behind it.
pub(super) const RECORD: &str = "memray.bin";
/// Reads what was recorded, in an interpreter that has memray. The same file as the package's own.
const READER: &str = include_str!("memray.py");
/// Answers with version and interpreter.
const WHO: &str = "import sys, memray; print(memray.__version__); print(sys.executable)";
const INSTALL: &str = "pip install memray";

/// What memray is asked to record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// C and C++ frames as well.
    pub native: bool,
    /// In forked processes as well, each in a file of its own.
    pub follow_fork: bool,
    /// Only what reaches the C allocator: cheaper, and blind to small objects.
    pub large_only: bool,
}

impl Options {
    fn flags(self) -> impl Iterator<Item = &'static str> {
        [
            // Without it a block of 256 KiB stands for the objects in it, and what is never freed is not seen.
            (!self.large_only, "--trace-python-allocators"),
            (self.native, "--native"),
            (self.follow_fork, "--follow-fork"),
        ]
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
    }
}

/// A memray that answered.
#[derive(Debug)]
pub(super) struct Memray {
    pub(super) version: String,
    /// The interpreter that has it.
    pub(super) executable: PathBuf,
    python: Option<Python>,
}

impl Memray {
    /// That of the interpreter which runs a command, with its options: `-I` and the like hide packages.
    pub(super) fn of_command(command: &[OsString]) -> Result<Self, Error> {
        let python = Python::of(command)?;
        Ok(Self {
            python: Some(python.clone()),
            ..ask(&python.interpreter, &python.options)?
        })
    }

    pub(super) fn of_interpreter(interpreter: &OsStr) -> Result<Self, Error> {
        ask(interpreter, &[])
    }

    /// That of a running process. Its executable is behind its virtual environment, whose path its first word has.
    pub(super) fn of_process(process: &Process) -> Result<Self, Error> {
        let pid = process.id().pid;
        if !process.is_python() {
            return Err(Error::usage(
                format!("process {pid} is no Python: it runs `{}`", process.name()),
                "memray records Python alone",
            ));
        }
        let info = process.info(Role::Other);
        let first = info
            .command
            .first()
            .filter(|word| word.contains('/') && is_python(OsStr::new(word)))
            .map(|word| {
                Path::new("/proc")
                    .join(pid.to_string())
                    .join("cwd")
                    .join(word)
            });
        let environment = process
            .variable("VIRTUAL_ENV")
            .map(|folder| Path::new(&folder).join("bin/python"));
        let executable = info.executable.map(PathBuf::from);
        let mut refused = None;
        for path in [first, environment, executable].into_iter().flatten() {
            match ask(path.as_os_str(), &[]) {
                Ok(memray) => return Ok(memray),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused.unwrap_or_else(|| {
            Error::usage(
                format!("the interpreter of process {pid} cannot be seen"),
                "run plimsoll as the user of the process",
            )
        }))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(["-m", "memray"]);
        command
    }

    /// The words that run the program under it.
    pub(super) fn run(&self, folder: &Path, options: Options) -> Vec<OsString> {
        let output = folder.join(RECORD);
        let words = ["-q".into(), "-o".into(), output.into_os_string()];
        self.wrapped(words.into_iter().chain(options.flags().map(OsString::from)))
    }

    fn wrapped(&self, flags: impl Iterator<Item = OsString>) -> Vec<OsString> {
        let Some(python) = &self.python else {
            return Vec::new();
        };
        let mut words = vec![python.interpreter.clone()];
        words.extend(python.options.iter().cloned());
        words.extend(["-m", "memray", "run"].map(OsString::from));
        words.extend(flags);
        words.extend(python.program.iter().cloned());
        words
    }

    /// Puts it into a running process.
    pub(super) fn attach(
        &self,
        process: &Process,
        folder: &Path,
        options: Options,
    ) -> Result<(), Error> {
        let mut command = self.command();
        command
            .args(["attach", "-o"])
            .arg(folder.join(RECORD))
            .args(options.flags())
            .arg(process.id().pid.to_string());
        quietly(&mut command).map_err(|why| {
            Error::usage(
                format!("memray could not be put into process {}: {why}", process.id().pid),
                "that takes memray in its environment, the right to trace it, and, below Python 3.14, a debugger (gdb or lldb)",
            )
        })
    }

    /// Takes it out again.
    pub(super) fn detach(&self, process: &Process) -> Result<(), String> {
        quietly(
            self.command()
                .args(["detach", &process.id().pid.to_string()]),
        )
    }

    pub(super) fn view(
        &self,
        recording: &Path,
        reading: &Reading,
        view: View,
    ) -> Result<Option<PathBuf>, Error> {
        let (name, is_page) = match view {
            View::Flamegraph => ("flamegraph", true),
            View::Table => ("table", true),
            View::Summary => ("summary", false),
            View::Tree => ("tree", false),
            View::Stats => ("stats", false),
        };
        if view == View::Tree {
            takes_a_terminal(
                "the tree is walked",
                "`plimsoll profile summary` prints, `flamegraph` and `table` write a page",
            )?;
        }
        let mut command = self.command();
        command.arg(name);
        if !is_page {
            return match command.arg(recording).status() {
                Ok(status) if status.success() => Ok(None),
                Ok(status) => Err(unread(recording, &status.to_string())),
                Err(error) => Err(unread(recording, &error.to_string())),
            };
        }
        let output = output(recording, reading, name, "html");
        if reading.unfreed {
            command.arg("--leaks");
        }
        command.arg("-f").arg("-o").arg(&output).arg(recording);
        quietly(&mut command).map_err(|why| unread(recording, &why))?;
        Ok(Some(output))
    }

    pub(super) fn export(
        &self,
        recording: &Path,
        reading: &Reading,
        form: Form,
    ) -> Result<PathBuf, Error> {
        let (name, extension) = match form {
            Form::Pprof => ("pprof", "pb.gz"),
            Form::Speedscope => ("speedscope", "speedscope.json"),
            Form::Folded => ("folded", "folded"),
        };
        let output = output(recording, reading, "memory", extension);
        let mut command = Command::new(&self.executable);
        command
            .args(["-c", READER, name])
            .arg(if reading.unfreed { "unfreed" } else { "peak" })
            .args([recording, &output]);
        quietly(&mut command).map_err(|why| unread(recording, &why))?;
        Ok(output)
    }
}

/// Becomes memray's live view of a command: it returns only if that fails.
///
/// # Errors
/// If it is no Python command, memray is missing in its interpreter, or there is no terminal.
pub fn live(command: &[OsString], options: Options) -> Result<std::convert::Infallible, Error> {
    takes_a_terminal(
        "a live view is shown",
        "`plimsoll profile record` records the same, and shows it afterwards",
    )?;
    let memray = Memray::of_command(command)?;
    let flags = options.flags().map(OsString::from);
    let words = memray.wrapped(std::iter::once(OsString::from("--live")).chain(flags));
    let error = Command::new(words.first().cloned().unwrap_or_default())
        .args(words.iter().skip(1))
        .exec();
    Err(Error::usage(
        format!("memray cannot be started: {error}"),
        "run it by hand to see more: `python -m memray`",
    ))
}

/// Without one memray draws into a pipe and waits for keys that nobody can press.
fn takes_a_terminal(what: &str, otherwise: &str) -> Result<(), Error> {
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Error::usage(
        format!("{what} in a terminal, and there is none"),
        otherwise,
    ))
}

/// Whether an interpreter has memray, and which.
fn ask(interpreter: &OsStr, options: &[OsString]) -> Result<Memray, Error> {
    let program = plimsoll_probe::program_of(interpreter)?;
    let shown = interpreter.to_string_lossy();
    let told = Command::new(&program)
        .args(options)
        .args(["-c", WHO])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Error::usage(
                format!("`{shown}` cannot be started: {error}"),
                "give the interpreter by its path",
            )
        })?;
    let text = String::from_utf8_lossy(&told.stdout);
    let mut lines = text.lines();
    match (lines.next(), lines.next()) {
        (Some(version), Some(executable)) if told.status.success() => Ok(Memray {
            version: version.to_owned(),
            executable: PathBuf::from(executable),
            python: None,
        }),
        _ => {
            let said = String::from_utf8_lossy(&told.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            Err(Error::usage(
                match last {
                    Some(why) if !why.contains("No module named 'memray'") => {
                        format!("memray does not work in `{shown}`: {why}")
                    }
                    _ => format!("memray is not installed for `{shown}`"),
                },
                format!(
                    "`{shown} -m {INSTALL}` installs it; `pytest-plimsoll[memray]` brings it along"
                ),
            ))
        }
    }
}

/// Runs a command whose output only matters if it fails.
fn quietly(command: &mut Command) -> Result<(), String> {
    let told = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if told.status.success() {
        return Ok(());
    }
    let said = [told.stdout, told.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Err(match lines.as_slice() {
        [] => told.status.to_string(),
        // The reason stands at the end; what comes before is how it got there.
        [.., a, b] => format!("{a} {b}"),
        [a] => (*a).to_owned(),
    })
}

fn output(recording: &Path, reading: &Reading, name: &str, extension: &str) -> PathBuf {
    let moment = if reading.unfreed { "-unfreed" } else { "" };
    let process = reading
        .process
        .map_or(String::new(), |pid| format!("-{pid}"));
    reading
        .output
        .clone()
        .unwrap_or_else(|| recording.with_file_name(format!("{name}{moment}{process}.{extension}")))
}

fn unread(recording: &Path, why: &str) -> Error {
    Error::usage(
        format!("{} cannot be shown: {why}", recording.display()),
        "a memray of the version that recorded it reads it: `--python` names its interpreter",
    )
}
