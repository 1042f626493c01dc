//! A program we start, watch, and end for certain; or one that runs already, which we only watch.
//!
//! A [`Subject`] that we start is the leader of a session of its own. Until it is ended it stays unreaped, so that neither its pid nor
//! the id of its group and session can come to mean somebody else: signalling the group is always safe. Dropping it kills
//! everything that belongs to it, also when a panic unwinds; when we are killed ourselves, the kernel sends the command
//! `SIGTERM`. One that ran before us is never signalled by anything in here.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use plimsoll_model::{Cancel, Exit, Output, ProcessInfo, Role};
use regex_lite::Regex;

use crate::output::{Kept, Lines};
use crate::process::Process;
use crate::tree::{self, Reach, Tree, registry};
use crate::{Error, os, output};

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;

/// How long killed processes may take to be gone; a process can hang in the kernel, on a dead network disk for example.
const DEATH: Duration = Duration::from_secs(5);
/// How long a last line without an end must be silent to be searched like a line.
const PROMPT: Duration = Duration::from_millis(100);

/// How to start a subject.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The command and its arguments. A command without `/` is looked for on `PATH`.
    pub command: Vec<OsString>,
    /// Variables added to our own environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where what was kept of its output is written when it is ended.
    pub output_dir: Option<PathBuf>,
}

/// A running program and all processes that come of it.
#[derive(Debug)]
pub struct Subject {
    process: Process,
    tree: Tree,
    exit: OnceLock<Exit>,
    output: Arc<Shared>,
    output_dir: Option<PathBuf>,
    reader: Option<Reader>,
    /// Whether it is ours to end, and still to be ended.
    is_to_end: bool,
}

/// What the reading thread and those who ask for the output share.
#[derive(Debug)]
struct Shared {
    /// Held only while waiting for `kept`. Without it, a thread that reads endless output would take the lock again
    /// before anybody who waits for it woke up.
    turn: Mutex<()>,
    kept: Mutex<Kept>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that started the program and reads its output.
#[derive(Debug)]
struct Reader {
    thread: JoinHandle<()>,
    /// Closing this end ends the thread.
    stop: io::PipeWriter,
}

impl Subject {
    /// Starts a program in a session and process group of its own, with nothing to read and its output read by us.
    ///
    /// # Errors
    /// [`Error::CommandNotFound`] and [`Error::NotExecutable`] before anything is started; [`Error::Spawn`] if the system
    /// refuses.
    pub fn spawn(launch: &Launch) -> Result<Self, Error> {
        let name = launch.command.first().cloned().unwrap_or_default();
        let program = find_program(&name, launch)?;
        let failed = |source: io::Error| spawn_error(&name, &program, source);
        let mark = new_mark();

        let (reader, writer) = io::pipe().map_err(failed)?;
        // Room for a subject that prints a lot, so that it waits less often for our thread to be scheduled.
        os::widen_pipe(reader.as_fd(), output::PIPE);
        os::set_nonblocking(reader.as_fd()).map_err(failed)?;
        let ready = reader.as_fd().try_clone_to_owned().map_err(failed)?;
        let (stopped, stop) = io::pipe().map_err(failed)?;

        let mut command = Command::new(&program);
        command
            .arg0(&name)
            .args(launch.command.iter().skip(1))
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            .env(tree::MARK, &mark)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer);

        let kept = Arc::new(Shared {
            turn: Mutex::new(()),
            kept: Mutex::new(Kept::new(reader)),
        });
        let (send_child, child) = crossbeam_channel::bounded(1);
        let readers_kept = Arc::clone(&kept);
        // The parent-death signal comes when the thread that forked ends, so the thread that lives as long as we do forks.
        let thread = std::thread::Builder::new()
            .name("subject-output".to_owned())
            .spawn(move || {
                let child = {
                    let mut subjects = registry::lock();
                    let child = os::spawn_session(&mut command).map(|child| child.id());
                    subjects.extend(child.as_ref().ok());
                    child
                };
                // Our copies of the pipe's write end are in there: with them open the output would never end.
                drop(command);
                let started = child.is_ok();
                if send_child.send(child).is_ok() && started {
                    read_output(&readers_kept, &ready, &stopped);
                }
            })
            .map_err(failed)?;
        let pid = child
            .recv()
            .map_err(|_| failed(io::Error::other("the starting thread ended")))?
            .map_err(failed)?;
        let process = Process::open_ended(pid).inspect_err(|_| {
            // Without a handle it cannot be watched; it is our child and unreaped, so the group is its own.
            let _ = os::signal_group(pid, SIGKILL);
            let mut subjects = registry::lock();
            if os::reap_pid(pid).is_ok() {
                subjects.remove(&pid);
            }
        })?;
        Ok(Self {
            tree: Tree::new(process.id(), mark),
            process,
            exit: OnceLock::new(),
            output: kept,
            output_dir: launch.output_dir.clone(),
            reader: Some(Reader { thread, stop }),
            is_to_end: true,
        })
    }

    /// Watches a program that runs already, and everything that comes of it. How it ends is its parent's to know, and what it
    /// prints goes elsewhere: both stay unknown.
    pub fn running(process: Process) -> Self {
        Self {
            tree: Tree::below(process.id()),
            process,
            exit: OnceLock::new(),
            output: Arc::new(Shared {
                turn: Mutex::new(()),
                kept: Mutex::new(Kept::nothing()),
            }),
            output_dir: None,
            reader: None,
            is_to_end: false,
        }
    }

    /// The process we started or were given. It need not be the service: see [`crate::members`].
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How the process we started ended; `None` while it runs, and for one we did not start. Others of the tree may live
    /// on.
    pub fn exit(&self) -> Option<Exit> {
        if let Some(exit) = self.exit.get() {
            return Some(*exit);
        }
        let exit = os::peek_exit(self.process.pidfd()).ok().flatten()?;
        Some(*self.exit.get_or_init(|| exit))
    }

    /// Waits until that process has ended, for `timeout` at most and not after `cancel`.
    pub fn wait_exit(&self, timeout: Duration, cancel: &Cancel) -> Option<Exit> {
        let deadline = Instant::now().checked_add(timeout);
        // An error leaves nothing to wait with; the answer is still right.
        let _ = os::wait_readable([self.process.pidfd(), cancel.fd()], deadline);
        self.exit()
    }

    /// Everybody living who belongs to the subject, the process we started among them, oldest first: descendants, also
    /// those that forked twice or opened a session of their own.
    pub fn tree(&self) -> Vec<Process> {
        self.tree.processes(Reach::Walk)
    }

    /// The last lines it printed, fit to be shown: control characters escaped, at most 400 characters each.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        self.drained().last_lines(count)
    }

    /// How much it printed, and the last 20 lines.
    pub fn output(&self) -> Output {
        self.drained().summary()
    }

    /// Sends every line that matches, those printed already and still kept first. Escape sequences are taken out before;
    /// a last line without an end counts after 100 ms of silence. Of a receiver that lags by 16,384 lines, more are lost.
    pub fn on_line(&self, regex: Regex) -> Lines {
        self.drained().watch(regex)
    }

    /// Writes what was kept of the output, the first 1 MiB and the last 8 MiB, into `directory`: name and size of each file.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep_output(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        self.drained().write(directory)
    }

    /// Ends everything that belongs to a subject that we started: `SIGTERM` to its group, and to those outside of it once the group is
    /// gone; what is left after `grace` is killed. Returns who survived even that, normally nobody.
    pub fn end(&mut self, grace: Duration) -> Vec<ProcessInfo> {
        if !std::mem::take(&mut self.is_to_end) {
            return Vec::new();
        }
        // Killing must not fail for want of descriptors.
        self.tree.forget_handles();
        if !grace.is_zero() {
            self.ask_to_end(Instant::now() + grace);
        }
        let survivors = self.kill();
        // How it ended stays known after it is reaped.
        self.exit();
        {
            let mut subjects = registry::lock();
            if matches!(os::reap(self.process.pidfd()), Ok(Some(_)) | Err(_)) {
                subjects.remove(&self.process.id().pid);
            }
        }
        reap_strangers();
        if let Some(Reader { thread, stop }) = self.reader.take() {
            drop(stop);
            let _ = thread.join();
        }
        if let Some(directory) = &self.output_dir {
            // A full or read-only disk is no reason to keep processes alive; the output's figures are still in the run.
            let _ = self.drained().write(directory);
        }
        survivors
    }

    fn ask_to_end(&self, deadline: Instant) {
        self.signal_group(SIGTERM);
        // A stopped process acts on a signal only once it is continued.
        self.signal_group(SIGCONT);
        let mut asked_others = false;
        loop {
            let living = self.tree.processes(Reach::Everywhere);
            self.tree.forget_handles();
            if living.is_empty() || Instant::now() >= deadline {
                return;
            }
            let group = self.process.id().pid;
            let is_outside =
                |process: &Process| process.stat().is_none_or(|stat| stat.group != group);
            if !asked_others && living.iter().all(is_outside) {
                asked_others = true;
                for process in &living {
                    let _ = process.signal(SIGTERM);
                }
            }
            let fds: Vec<BorrowedFd<'_>> = living.iter().map(Process::pidfd).collect();
            let _ = os::wait_any_readable(&fds, deadline);
        }
    }

    fn kill(&self) -> Vec<ProcessInfo> {
        let deadline = Instant::now() + DEATH;
        let mut clean_looks = 0;
        loop {
            self.signal_group(SIGKILL);
            let mut left = Vec::new();
            for id in self.tree.living(Reach::Everywhere) {
                // One at a time: descriptors for a whole tree may not be there.
                if let Some(process) = Process::open(id.pid).ok().filter(|p| p.id() == id) {
                    let _ = process.signal(SIGKILL);
                    left.push(process);
                    left.truncate(64);
                }
            }
            // One empty look may have missed a child forked while it was taken by a parent that then ended.
            clean_looks = if left.is_empty() { clean_looks + 1 } else { 0 };
            if clean_looks == 2 || Instant::now() >= deadline {
                return left.iter().map(|p| p.info(Role::Other)).collect();
            }
            let fds: Vec<BorrowedFd<'_>> = left.iter().map(Process::pidfd).collect();
            if !fds.is_empty() {
                let soon = deadline.min(Instant::now() + Duration::from_millis(50));
                let _ = os::wait_any_readable(&fds, soon);
            }
        }
    }

    /// Safe as long as our child is not reaped, which only [`Subject::end`] does, after its last signal.
    fn signal_group(&self, signal: i32) {
        let _ = os::signal_group(self.process.id().pid, signal);
    }

    /// What was printed until now. While the program runs, the thread that reads is at most a moment behind; when it has
    /// ended, its last words may still lie in the pipe.
    fn drained(&self) -> MutexGuard<'_, Kept> {
        let has_ended = self.exit().is_some();
        let mut output = self.output.lock();
        if has_ended {
            output.drain();
        }
        output
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// From now on, orphans of our descendants become our children, so that no process of a subject can leave its tree.
/// Belongs to a program's `main`: such children have to be reaped, see [`reap_strangers`].
///
/// # Errors
/// If the kernel refuses.
pub fn become_subreaper() -> Result<(), Error> {
    os::become_subreaper().map_err(|error| Error::io("become a child subreaper", error))
}

/// Raises our own limit of open descriptors as far as allowed; subjects keep the one there was.
///
/// # Errors
/// If the kernel refuses.
pub fn raise_descriptor_limit() -> Result<(), Error> {
    os::raise_descriptor_limit()
        .map_err(|error| Error::io("raise the limit of open descriptors", error))
}

/// Kills every subject of this process at once, by its process group: for a program that has to end without unwinding.
pub fn kill_subjects() {
    for &pid in registry::lock().iter() {
        // Not reaped yet, so the group is still that subject's.
        let _ = os::signal_group(pid, SIGKILL);
    }
}

/// Reaps orphans of subjects that became our children and have ended. Never reaps a subject, nor a command started
/// elsewhere in this process: those are in our session, or else somebody's `Child`. Returns how many.
pub fn reap_strangers() -> usize {
    let own = std::process::id();
    let own_session = os::own_session();
    let subjects = registry::lock();
    let children: Vec<tree::Seen> = match tree::own_children() {
        Some(pids) => pids.into_iter().filter_map(tree::look).collect(),
        None => tree::scan()
            .into_iter()
            .filter(|s| s.parent == own)
            .collect(),
    };
    children
        .iter()
        .filter(|seen| seen.is_dead && seen.session != own_session && !subjects.contains(&seen.pid))
        .filter(|seen| matches!(os::reap_pid(seen.pid), Ok(Some(_))))
        .count()
}

/// Reads until the output has ended, then stays until `stopped`: see the parent-death signal.
fn read_output(output: &Shared, ready: &OwnedFd, stopped: &io::PipeReader) {
    let mut is_open = true;
    while is_open {
        let silence = output
            .lock()
            .has_untold_line()
            .then(|| Instant::now() + PROMPT);
        match os::wait_readable([ready.as_fd(), stopped.as_fd()], silence) {
            Ok([true, _]) => is_open = output.lock().drain(),
            // Whoever ended us drains what is left.
            Ok([false, true]) | Err(_) => return,
            Ok([false, false]) => output.lock().tell_unfinished_line(),
        }
    }
    let _ = os::wait_readable([stopped.as_fd()], None);
}

/// A text that no other subject has.
fn new_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let nanos = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |elapsed| elapsed.as_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{nanos}-{count}", std::process::id())
}

/// The file that a command's first word stands for, on our own `PATH`.
///
/// # Errors
/// [`Error::CommandNotFound`] and [`Error::NotExecutable`].
pub fn program_of(name: &OsStr) -> Result<PathBuf, Error> {
    find_program(name, &Launch::default())
}

/// The file to execute, as `execvp` would find it: a directory on `PATH` where the name is but may not be executed is
/// passed over, and told only if no other has it.
pub(crate) fn find_program(name: &OsStr, launch: &Launch) -> Result<PathBuf, Error> {
    let refused = |path: &Path, source: Option<io::Error>| Error::NotExecutable {
        path: path.display().to_string(),
        source,
    };
    let not_found = || Error::CommandNotFound {
        command: name.to_string_lossy().into_owned(),
    };
    if name.is_empty() {
        return Err(not_found());
    }
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        return match std::fs::metadata(path) {
            Ok(file) if file.is_file() && os::is_executable(path) => Ok(path.to_owned()),
            Ok(_) => Err(refused(path, None)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(refused(path, Some(error)))
            }
            Err(_) => Err(not_found()),
        };
    }
    let path = launch
        .env
        .iter()
        .rev()
        .find(|(variable, _)| variable == "PATH")
        .map(|(_, value)| value.clone())
        .or_else(|| std::env::var_os("PATH"))
        .unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    let mut not_executable = None;
    for directory in std::env::split_paths(&path) {
        // An empty entry means the current directory.
        let candidate = if directory.as_os_str().is_empty() {
            Path::new(".").join(name)
        } else {
            directory.join(name)
        };
        if candidate.is_file() {
            if os::is_executable(&candidate) {
                return Ok(candidate);
            }
            not_executable.get_or_insert(candidate);
        }
    }
    Err(not_executable.map_or_else(not_found, |path| refused(&path, None)))
}

/// What a failed start means for a file that was there and executable a moment ago.
pub(crate) fn spawn_error(name: &OsStr, program: &Path, source: io::Error) -> Error {
    match source.raw_os_error() {
        // ENOENT: the interpreter is missing; EACCES; ENOEXEC: unknown format (glibc hands such a file to `sh` instead);
        // ETXTBSY: being written.
        Some(2 | 13 | 8 | 26) => Error::NotExecutable {
            path: program.display().to_string(),
            source: Some(source),
        },
        _ => Error::Spawn {
            command: name.to_string_lossy().into_owned(),
            source,
        },
    }
}
