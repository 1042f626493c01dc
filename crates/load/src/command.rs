//! Drivers that are programs: a worker that is told how many operations to do, or a load test that is run anew each round.
//!
//! Both speak any protocol; what they count is checked, and a program that dies or miscounts fails the round. They run in
//! a process group of their own, which is killed with the driver.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll_model::{
    Cx, Finding, Latency, OpId, OpStats, OperationKind, Quiet, RoundSpec, RoundStats, SubjectHandle,
};
use regex_lite::Regex;
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::count::number;
use crate::wait::until_readable;
use crate::{Driver, Error};

/// Lines of output that are kept for an error.
const LAST_LINES: usize = 8;
/// Longest line that is read; the rest of it is dropped.
const LINE: usize = 64 * 1024;
/// How long a program may take to end after its last word.
const GRACE: Duration = Duration::from_secs(2);

/// A program with its output read as it comes.
#[derive(Debug)]
struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    unread: [Vec<u8>; 2],
    /// Lines of standard output that nobody has taken yet.
    lines: VecDeque<String>,
    last_lines: VecDeque<String>,
}

impl Program {
    fn start(
        command: &[OsString],
        environment: &[(&str, String)],
        with_input: bool,
    ) -> Result<Self, Error> {
        let name = command
            .iter()
            .map(|w| w.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ");
        let failed = |source: io::Error| Error::Program {
            command: name.clone(),
            reason: format!("cannot be started: {source}"),
            last_lines: Vec::new(),
            stats: Box::default(),
        };
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| failed(io::Error::other("no program is named")))?;
        let mut child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().map(|(k, v)| (k, v)))
            .stdin(if with_input {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let streams = [
            output.as_ref().map(AsFd::as_fd),
            errors.as_ref().map(AsFd::as_fd),
        ];
        for fd in streams.into_iter().flatten() {
            ioctl_fionbio(fd, true).map_err(|e| failed(e.into()))?;
        }
        Ok(Self {
            name,
            input: child.stdin.take(),
            output,
            errors,
            child,
            unread: [Vec::new(), Vec::new()],
            lines: VecDeque::new(),
            last_lines: VecDeque::new(),
        })
    }

    /// The next line of standard output; `None` if it says nothing more.
    fn line(&mut self, cx: &Cx) -> Result<Option<String>, Error> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            if self.output.is_none() && self.errors.is_none() {
                return Ok(None);
            }
            let own = [
                self.output.as_ref().map(AsFd::as_fd),
                self.errors.as_ref().map(AsFd::as_fd),
            ];
            until_readable(own.into_iter().flatten(), cx, "wait for a program")?;
            self.read();
        }
    }

    /// Takes what there is to read.
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        for stream in 0..2 {
            loop {
                let read = match stream {
                    0 => self.output.as_mut().map(|o| o.read(&mut buffer)),
                    _ => self.errors.as_mut().map(|e| e.read(&mut buffer)),
                };
                let ended = match read {
                    None => break,
                    Some(Ok(0)) => true,
                    Some(Ok(n)) => {
                        self.unread[stream].extend_from_slice(&buffer[..n]);
                        false
                    }
                    Some(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Some(Err(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Some(Err(_)) => true,
                };
                if ended {
                    if !self.unread[stream].is_empty() {
                        self.unread[stream].push(b'\n');
                    }
                    match stream {
                        0 => self.output = None,
                        _ => self.errors = None,
                    }
                }
                self.cut(stream);
                if ended {
                    break;
                }
            }
        }
    }

    /// Turns what was read into lines.
    fn cut(&mut self, stream: usize) {
        let unread = &mut self.unread[stream];
        while let Some(end) = unread.iter().position(|b| *b == b'\n') {
            let line = String::from_utf8_lossy(&unread[..end])
                .trim_end()
                .to_owned();
            unread.drain(..=end);
            if self.last_lines.len() == LAST_LINES {
                self.last_lines.pop_front();
            }
            self.last_lines.push_back(line.clone());
            if stream == 0 {
                self.lines.push_back(line);
            }
        }
        unread.truncate(LINE);
    }

    fn failed(&self, reason: impl Into<String>, stats: RoundStats) -> Error {
        Error::Program {
            command: self.name.clone(),
            reason: reason.into(),
            last_lines: self.last_lines.iter().cloned().collect(),
            stats: Box::new(stats),
        }
    }

    /// How it ended, once its output has.
    fn status(&mut self) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + GRACE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => {
                    std::thread::park_timeout(Duration::from_millis(5));
                }
                _ => return None,
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.input = None;
        if let Ok(None) = self.child.try_wait()
            && let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            // It may have ended just now; its group is ours as long as it is not reaped.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn kinds(name: &str) -> [OperationKind; 1] {
    [OperationKind {
        id: OpId(0),
        name: name.to_owned(),
    }]
}

/// What a round of `done` operations and `errors` was.
fn stats(done: u64, errors: u64, elapsed: Duration, kind: &str) -> RoundStats {
    let errors_by_kind: BTreeMap<String, u64> = (errors > 0)
        .then(|| (kind.to_owned(), errors))
        .into_iter()
        .collect();
    RoundStats {
        done,
        elapsed,
        per_operation: vec![OpStats {
            operation: OpId(0),
            done,
            errors,
            errors_by_kind: errors_by_kind.clone(),
            latency: Latency::default(),
            ..OpStats::default()
        }],
        errors_by_kind,
        ..RoundStats::default()
    }
}

/// A worker: it reads `run N` and answers `done N errors E`, round after round.
///
/// `E` of the `N` operations failed. Any other line it prints is kept for an error message only. It is started once, with
/// `PLIMSOLL_SUBJECT_PID` and `PLIMSOLL_CONCURRENCY` in its environment, and ends when its input does.
#[derive(Debug)]
pub struct WorkerDriver {
    command: Vec<OsString>,
    operations: [OperationKind; 1],
    concurrency: u32,
    program: Option<Program>,
}

impl WorkerDriver {
    /// A worker that is started when it is first needed.
    pub fn new(command: Vec<OsString>, concurrency: u32) -> Self {
        Self {
            operations: kinds("operation"),
            command,
            concurrency,
            program: None,
        }
    }
}

impl Driver for WorkerDriver {
    fn operations(&self) -> &[OperationKind] {
        &self.operations
    }

    fn prepare(&mut self, subject: &SubjectHandle) -> Result<(), Error> {
        let environment = [
            ("PLIMSOLL_SUBJECT_PID", subject.process.pid.to_string()),
            ("PLIMSOLL_CONCURRENCY", self.concurrency.to_string()),
        ];
        self.program = Some(Program::start(&self.command, &environment, true)?);
        Ok(())
    }

    fn round(&mut self, spec: &RoundSpec, cx: &Cx) -> Result<RoundStats, Error> {
        let started = Instant::now();
        let Some(program) = &mut self.program else {
            return Err(Error::Unsupported {
                what: "a worker that was not started".into(),
                instead: "prepare it first".into(),
            });
        };
        let asked = spec.operations;
        let sent = match &mut program.input {
            Some(input) => writeln!(input, "run {asked}").and_then(|()| input.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        loop {
            let line = match program.line(cx) {
                Err(Error::Deadline { .. }) if sent.is_err() => {
                    return Err(program.failed("does not read its input", RoundStats::default()));
                }
                line => line?,
            };
            let Some(line) = line else {
                let how = match program.status() {
                    Some(status) => format!("ended in a round ({status})"),
                    None => "closed its output in a round".to_owned(),
                };
                return Err(program.failed(how, RoundStats::default()));
            };
            match answer(&line) {
                None => {}
                Some((done, errors)) if done == asked && errors <= done => {
                    let elapsed = started.elapsed();
                    return Ok(stats(
                        done - errors,
                        errors,
                        elapsed,
                        "reported by the worker",
                    ));
                }
                Some((done, errors)) => {
                    return Err(program.failed(
                        format!(
                            "was told `run {asked}` and answered `done {done} errors {errors}`"
                        ),
                        RoundStats::default(),
                    ));
                }
            }
        }
    }

    fn quiesce(&mut self, _cx: &Cx) -> Result<Quiet, Error> {
        Ok(Quiet {
            connections: 0,
            settled: true,
        })
    }

    fn close(self: Box<Self>) -> Option<Finding> {
        None
    }
}

/// `done N errors E`, or `done N`.
fn answer(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_ascii_whitespace();
    let done = (words.next()? == "done")
        .then(|| words.next()?.parse().ok())
        .flatten()?;
    let errors = match (words.next(), words.next()) {
        (None, _) => 0,
        (Some("errors" | "error"), Some(errors)) => errors.parse().ok()?,
        _ => return None,
    };
    Some((done, errors))
}

/// A load test of its own: run anew each round, with `{n}` in its arguments replaced by the number of operations.
///
/// How many it did is read from its output (`count`: the last match of a regular expression, its first group if it has
/// one), or what the subject counted meanwhile, or taken to be `{n}`. A status other than 0 fails the round.
pub struct ExternalDriver {
    command: Vec<OsString>,
    operations: [OperationKind; 1],
    concurrency: u32,
    count: Option<Regex>,
    asked: Option<Asked>,
    /// What asking itself adds to what is counted.
    asking: f64,
    subject: String,
}

/// Says how many operations the subject has counted so far, or why it does not say so.
pub type Asked = Box<dyn FnMut() -> Result<f64, String> + Send>;

impl fmt::Debug for ExternalDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalDriver")
            .field("command", &self.command)
            .field("count", &self.count)
            .field("is_asked", &self.asked.is_some())
            .finish_non_exhaustive()
    }
}

impl ExternalDriver {
    /// Checks whether operations can be counted.
    ///
    /// # Errors
    /// If the command neither takes `{n}` nor is counted.
    pub fn try_new(
        command: Vec<OsString>,
        concurrency: u32,
        count: Option<Regex>,
        asked: Option<Asked>,
    ) -> Result<Self, Error> {
        let takes_n = command.iter().any(|w| w.to_string_lossy().contains("{n}"));
        if !takes_n && count.is_none() && asked.is_none() {
            return Err(Error::Unsupported {
                what: "a driver whose operations nobody counts".into(),
                instead: "put `{n}` where it takes their number, name a line of output with `--ops-log`, or a counter with `--ops-counter`".into(),
            });
        }
        Ok(Self {
            operations: kinds("operation"),
            command,
            concurrency,
            count,
            asked,
            asking: 0.0,
            subject: String::new(),
        })
    }

    /// What the subject has counted so far, if it is asked.
    fn ask(&mut self) -> Result<Option<f64>, Error> {
        let Some(asked) = &mut self.asked else {
            return Ok(None);
        };
        asked().map(Some).map_err(|reason| Error::Uncounted {
            reason,
            stats: Box::default(),
        })
    }
}

impl Driver for ExternalDriver {
    fn operations(&self) -> &[OperationKind] {
        &self.operations
    }

    fn prepare(&mut self, subject: &SubjectHandle) -> Result<(), Error> {
        self.subject = subject.process.pid.to_string();
        // A request for the counter may be counted as well.
        if let (Some(once), Some(twice)) = (self.ask()?, self.ask()?) {
            self.asking = twice - once;
        }
        Ok(())
    }

    fn round(&mut self, spec: &RoundSpec, cx: &Cx) -> Result<RoundStats, Error> {
        let started = Instant::now();
        let asked = spec.operations.to_string();
        let command: Vec<OsString> = self
            .command
            .iter()
            .map(|word| {
                word.to_str()
                    .map_or_else(|| word.clone(), |w| w.replace("{n}", &asked).into())
            })
            .collect();
        let environment = [
            ("PLIMSOLL_SUBJECT_PID", self.subject.clone()),
            ("PLIMSOLL_CONCURRENCY", self.concurrency.to_string()),
            ("PLIMSOLL_OPERATIONS", asked),
        ];
        let before = self.ask()?;
        let mut program = Program::start(&command, &environment, false)?;
        let nobody_counts = self.count.is_none() && before.is_none();
        let mut counted = nobody_counts.then_some(spec.operations);
        while let Some(line) = program.line(cx)? {
            let found = self.count.as_ref().and_then(|regex| {
                let groups = regex.captures(&line)?;
                number(groups.get(1).or(groups.get(0))?.as_str())
            });
            if let Some(found) = found {
                counted = Some(found as u64);
            }
        }
        let status = program.status();
        if counted.is_none()
            && let (Some(before), Some(after)) = (before, self.ask()?)
        {
            let grown = (after - before - self.asking).round();
            counted = (grown > 0.0).then_some(grown as u64);
        }
        let Some(done) = counted else {
            return Err(program.failed(
                "did no operation that is counted: neither its output nor the subject tells of one",
                RoundStats::default(),
            ));
        };
        match status {
            Some(status) if status.success() => Ok(stats(done, 0, started.elapsed(), "")),
            Some(status) => {
                Err(program.failed(format!("failed ({status})"), RoundStats::default()))
            }
            None => Err(program.failed("closed its output and goes on", RoundStats::default())),
        }
    }

    fn quiesce(&mut self, _cx: &Cx) -> Result<Quiet, Error> {
        Ok(Quiet {
            connections: 0,
            settled: true,
        })
    }

    fn close(self: Box<Self>) -> Option<Finding> {
        None
    }
}

/// The words of a command line, with quotes and backslashes as in a shell; nothing is expanded.
///
/// # Errors
/// If a quote is not closed.
pub fn words(text: &str) -> Result<Vec<OsString>, String> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                begun = true;
            }
            (None | Some('"'), '\\') => {
                word.extend(characters.next());
                begun = true;
            }
            (None, c) if c.is_whitespace() => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word).into());
                }
                begun = false;
            }
            (_, c) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    if begun || !word.is_empty() {
        words.push(word.into());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_workers_are_read() {
        for (line, expected) in [
            ("done 10 errors 2", Some((10, 2))),
            ("done 10", Some((10, 0))),
            ("  done   7 errors 0 ", Some((7, 0))),
            ("done", None),
            ("done -1", None),
            ("done 10 errors", None),
            ("working", None),
        ] {
            assert_eq!(answer(line), expected, "{line:?}");
        }
    }

    #[test]
    fn words_are_cut_as_a_shell_does() {
        let check = |text: &str, expected: &[&str]| {
            let found = words(text).unwrap();
            assert_eq!(
                found,
                expected.iter().map(OsString::from).collect::<Vec<_>>(),
                "{text}"
            );
        };
        check("k6 run  -i {n} s.js", &["k6", "run", "-i", "{n}", "s.js"]);
        check(
            r#"sh -c 'a "b" c' "" d\ e"#,
            &["sh", "-c", "a \"b\" c", "", "d e"],
        );
        check("", &[]);
        assert!(words("a 'b").is_err());
    }
}
