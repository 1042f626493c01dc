//! One process, held so that it can never be mistaken for another.
//!
//! A [`Process`] keeps a pidfd and the directory `/proc/PID` open. Both belong to the process, not to its number: when it
//! has ended and its pid is given to somebody else, every reading answers `None`. A zombie has ended.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use plimsoll_model::{ProcessId, ProcessInfo, Role};

use crate::procfs::{self, Kinds, Memory, Stat};
use crate::{Error, os};

/// A process by its pidfd and its directory in procfs. Clones share them.
#[derive(Clone)]
pub struct Process {
    kept: Arc<Kept>,
}

struct Kept {
    id: ProcessId,
    parent: u32,
    pidfd: OwnedFd,
    directory: OwnedFd,
    /// Executable and arguments when last readable: they outlive the process in reports.
    command: Mutex<(Option<String>, Vec<String>)>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.kept.id)
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Takes hold of a living process.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if there is none, [`Error::Zombie`] if it has ended, [`Error::Io`] if the system has no
    /// descriptors left.
    pub fn open(pid: u32) -> Result<Self, Error> {
        let process = Self::open_ended(pid)?;
        // Alive after its directory was opened: the pid cannot have changed hands in between.
        if process.is_alive() {
            Ok(process)
        } else {
            Err(Error::Zombie {
                pid,
                parent: process.parent(),
            })
        }
    }

    /// As [`Process::open`], zombies too. The caller vouches that nobody reaps it meanwhile.
    pub(crate) fn open_ended(pid: u32) -> Result<Self, Error> {
        let failed = |error: io::Error| match error.raw_os_error() {
            // ENOENT, ESRCH; EINVAL is a thread that leads no process.
            Some(2 | 3 | 22) => Error::NoSuchProcess { pid },
            _ => Error::io(format!("open process {pid}"), error),
        };
        let pidfd = os::open_pidfd(pid).map_err(failed)?;
        let directory = os::open_process_directory(pid).map_err(failed)?;
        let stat = os::read_at(directory.as_fd(), c"stat").map_err(failed)?;
        let stat = Stat::parse(&stat).ok_or(Error::NoSuchProcess { pid })?;
        Ok(Self {
            kept: Arc::new(Kept {
                id: ProcessId {
                    pid,
                    start_ticks: stat.start_ticks,
                },
                parent: stat.parent,
                pidfd,
                directory,
                command: Mutex::default(),
            }),
        })
    }

    /// Which process.
    pub fn id(&self) -> ProcessId {
        self.kept.id
    }

    /// Its parent when it was opened.
    pub fn parent(&self) -> u32 {
        self.kept.parent
    }

    /// Whether it still runs; a zombie does not.
    pub fn is_alive(&self) -> bool {
        !os::has_ended(self.pidfd())
    }

    /// Signals it, and it alone.
    ///
    /// # Errors
    /// [`Error::NoSuchProcess`] if it has ended and was reaped, [`Error::Io`] if the signal is unknown or not allowed.
    pub fn signal(&self, signal: i32) -> Result<(), Error> {
        os::signal_pidfd(self.pidfd(), signal).map_err(|error| match error.raw_os_error() {
            Some(3) => Error::NoSuchProcess {
                pid: self.kept.id.pid,
            },
            _ => Error::io(
                format!("send signal {signal} to process {}", self.kept.id.pid),
                error,
            ),
        })
    }

    /// What a report says of it. After its end, what was last known.
    pub fn info(&self, role: Role) -> ProcessInfo {
        let (executable, command) = self.command();
        ProcessInfo {
            id: self.kept.id,
            parent: self.kept.parent,
            role,
            executable,
            command,
            runtime: None,
        }
    }

    /// Path of its executable, if readable, and its arguments.
    pub(crate) fn command(&self) -> (Option<String>, Vec<String>) {
        let mut known = self
            .kept
            .command
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(executable) = self.read_link(c"exe") {
            known.0 = Some(executable);
        }
        // Empty for a zombie and for a kernel thread.
        if let Some(text) = self.read(c"cmdline").filter(|text| !text.is_empty()) {
            known.1 = procfs::parse_strings(&text)
                .map(|argument| String::from_utf8_lossy(argument).into_owned())
                .collect();
            // Who writes a shorter title over its arguments leaves zeros behind it.
            let told = known.1.iter().rposition(|argument| !argument.is_empty());
            known.1.truncate(told.map_or(0, |last| last + 1));
        }
        known.clone()
    }

    /// Whether the environment it was started with holds this variable; `None` if that is not readable.
    pub fn started_with(&self, variable: &str) -> Option<bool> {
        let environment = self.read(c"environ")?;
        Some(procfs::variable(&environment, variable).is_some())
    }

    /// A variable of the environment it was started with; `None` if it has none, or that is not readable.
    pub fn variable(&self, name: &str) -> Option<String> {
        procfs::variable(&self.read(c"environ")?, name)
    }

    /// The name of its executable's file; empty if not readable.
    pub fn name(&self) -> String {
        let (executable, _) = self.command();
        let path = executable.unwrap_or_default();
        // The kernel says so of a file that was replaced since.
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        path.rsplit('/').next().unwrap_or(path).to_owned()
    }

    /// Whether its executable reads `NODE_OPTIONS` and answers `SIGUSR1` with an inspector, by its name.
    pub fn is_node(&self) -> bool {
        let name = self.name();
        name.starts_with("node") || name == "electron"
    }

    /// Whether its executable is a runtime that loads our probe when it starts, by its name.
    pub fn may_carry_probe(&self) -> bool {
        self.is_node()
            || self.is_python()
            || matches!(self.name().as_str(), "deno" | "bun" | "bun.exe")
    }

    /// Whether its executable reads `PYTHONPATH`, by its name.
    pub fn is_python(&self) -> bool {
        self.name().starts_with("python")
    }

    /// The user it acts as; `None` if it has ended.
    pub fn owner(&self) -> Option<u32> {
        procfs::effective_user(&self.read(c"status")?)
    }

    /// Whether a signal has a handler in it; `None` if it has ended.
    pub(crate) fn catches(&self, signal: i32) -> Option<bool> {
        procfs::catches(&self.read(c"status")?, signal)
    }

    /// The pid it knows itself by: another than ours for it inside a pid namespace of its own.
    pub fn own_pid(&self) -> Option<u32> {
        procfs::innermost_pid(&self.read(c"status")?)
    }

    /// The first of these namespaces (`mnt`, `net`, `pid`, `user`) that is not our own, by the calling thread. Those that cannot
    /// be read are taken for ours.
    pub fn other_namespace<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| {
            let path = format!("ns/{name}");
            let theirs = CString::new(path.clone())
                .ok()
                .and_then(|path| self.read_link(&path));
            let ours = std::fs::read_link(Path::new("/proc/thread-self").join(path));
            match (theirs, ours) {
                (Some(theirs), Ok(ours)) => *theirs != *ours.to_string_lossy(),
                _ => false,
            }
        })
    }

    /// The text of its mappings; `None` if it has ended, or they are not ours to read.
    pub fn mappings(&self) -> Option<String> {
        let text = self.read(c"maps").filter(|text| !text.is_empty())?;
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    /// Its root directory, to look up paths as it does.
    pub(crate) fn root(&self) -> io::Result<OwnedFd> {
        os::open_directory_of(self.directory(), c"root")
    }

    /// Whether paths mean the same to it as to us; `None` if that is not to be told.
    pub fn shares_files(&self) -> Option<bool> {
        if self.other_namespace(&["mnt"]).is_some() {
            return Some(false);
        }
        let theirs = self.root().ok()?;
        let own = os::open_process_directory(std::process::id()).ok()?;
        let own = os::open_directory_of(own.as_fd(), c"root").ok()?;
        let which = |root: &OwnedFd| os::identity(root.as_fd()).ok();
        Some(which(&theirs)? == which(&own)?)
    }

    /// CPU time used so far, user and system, without its children; in steps of a clock tick (usually 10 ms).
    pub fn cpu_seconds(&self) -> Option<f64> {
        let stat = self.stat().filter(|stat| !stat.is_dead())?;
        Some((stat.user_ticks + stat.system_ticks) as f64 / os::ticks_per_second())
    }

    /// Its threads; `None` if it has ended.
    pub fn threads(&self) -> Option<u64> {
        self.stat()
            .filter(|stat| !stat.is_dead())
            .map(|stat| stat.threads)
    }

    /// Its memory, by one reading.
    pub fn memory(&self) -> Option<Memory> {
        Memory::parse(&self.read(c"status")?)
    }

    /// Its resident memory and nothing else, to be read very often; `None` if it has ended.
    pub fn resident(&self) -> Option<Resident> {
        Some(Resident {
            file: self.open_file(c"statm")?,
            buffer: Vec::new(),
            page: os::page_size(),
        })
    }

    /// Open descriptors by what they are open on: `socket`, `pipe`, `anon_inode:eventpoll`, a path. Numbers and generated
    /// words in paths read `#`; at most 64 kinds, the rest under `other`. Costs about 2 µs per descriptor.
    ///
    /// `None` if it has ended or belongs to somebody else.
    pub fn descriptors_by_target(&self) -> Option<BTreeMap<String, u64>> {
        let mut kinds = Kinds::default();
        self.each_descriptor(|target| kinds.add(procfs::kind_of(target)))?;
        Some(kinds.finish())
    }

    /// Calls `visit` with what each open descriptor points to.
    pub(crate) fn each_descriptor(&self, mut visit: impl FnMut(&[u8])) -> Option<()> {
        let directory = os::open_directory_at(self.directory(), c"fd").ok()?;
        let mut buffer = [0; 4096];
        os::each_entry(directory.as_fd(), |name| {
            // A descriptor closed since it was listed is no longer open.
            if let Ok(target) = os::read_link_at(directory.as_fd(), name, &mut buffer) {
                visit(target);
            }
        })
        .ok()?;
        // The directory of a zombie can be read and is empty.
        self.is_alive().then_some(())
    }

    /// Its `cgroup` file.
    pub(crate) fn cgroup_file(&self) -> Option<Vec<u8>> {
        self.read(c"cgroup")
    }

    /// Its state, parent, group and session now.
    pub(crate) fn stat(&self) -> Option<Stat> {
        Stat::parse(&self.read(c"stat")?)
    }

    /// Opens one of its files, to be kept and read again and again.
    pub(crate) fn open_file(&self, name: &CStr) -> Option<OwnedFd> {
        os::open_at(self.directory(), name).ok()
    }

    /// Opens its directory of descriptors, to be kept.
    pub(crate) fn open_descriptors(&self) -> Option<OwnedFd> {
        os::open_directory_at(self.directory(), c"fd").ok()
    }

    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.kept.pidfd.as_fd()
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.kept.directory.as_fd()
    }

    fn read(&self, name: &CStr) -> Option<Vec<u8>> {
        os::read_at(self.directory(), name).ok()
    }

    fn read_link(&self, name: &CStr) -> Option<String> {
        let mut buffer = [0; 4096];
        let target = os::read_link_at(self.directory(), name, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(target).into_owned())
    }
}

/// The resident memory of one process, by one small file that stays open: about a microsecond a reading.
#[derive(Debug)]
pub struct Resident {
    file: OwnedFd,
    buffer: Vec<u8>,
    page: u64,
}

impl Resident {
    /// Resident bytes now; `None` if it has ended.
    pub fn bytes(&mut self) -> Option<u64> {
        let text = os::read_from_start(self.file.as_fd(), &mut self.buffer).ok()?;
        let pages = text
            .split(|&b| b == b' ')
            .nth(1)
            .and_then(procfs::parse_integer)?;
        // A zombie has no pages at all.
        (pages > 0).then(|| pages * self.page)
    }
}

/// Memory of this computer, in bytes.
pub fn host_memory() -> Option<u64> {
    procfs::host_memory(&std::fs::read("/proc/meminfo").ok()?, "MemTotal")
}

/// What this computer could still give to processes, in bytes.
pub fn available_memory() -> Option<u64> {
    procfs::host_memory(&std::fs::read("/proc/meminfo").ok()?, "MemAvailable")
}

/// What this process itself has used: the observer's own cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnUsage {
    /// CPU time of all its threads, without its children.
    pub cpu_seconds: f64,
    /// Its largest resident set so far, in bytes; `None` if the kernel does not tell.
    pub rss_peak_bytes: Option<u64>,
}

/// What this process itself has used so far.
///
/// Not `getrusage`: its peak is inherited over `exec` from whoever started us.
pub fn own_usage() -> OwnUsage {
    let status = std::fs::read("/proc/self/status").unwrap_or_default();
    OwnUsage {
        cpu_seconds: os::own_cpu_time().as_secs_f64(),
        rss_peak_bytes: Memory::parse(&status).and_then(|memory| memory.rss_peak),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_figures_are_plausible() {
        let usage = own_usage();
        assert!(usage.cpu_seconds >= 0.0);
        let peak = usage.rss_peak_bytes.unwrap();
        let host = host_memory().unwrap();
        assert!(peak > 100_000 && peak < host, "{peak} of {host}");

        let own = Process::open(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(own.memory().unwrap().rss <= peak.max(own.memory().unwrap().rss));
        assert!(own.cpu_seconds().is_some());
        let resident = own.resident().unwrap().bytes().unwrap();
        assert!(
            resident <= own_usage().rss_peak_bytes.unwrap(),
            "{resident}"
        );
        assert!(available_memory().unwrap() <= host);
    }

    #[test]
    fn descriptors_are_counted_by_what_they_are_open_on() {
        let directory = tempfile::tempdir().unwrap();
        let files: Vec<_> = (0..3)
            .map(|i| std::fs::File::create(directory.path().join(format!("part-{i}.log"))).unwrap())
            .collect();
        let sockets = std::os::unix::net::UnixStream::pair().unwrap();
        let own = Process::open(std::process::id()).unwrap();
        let kinds = own.descriptors_by_target().unwrap();
        let path = directory.path().join("part-#.log");
        let kind = procfs::kind_of(path.to_string_lossy().as_bytes());
        assert_eq!(kinds.get(&kind), Some(&3), "{kinds:?}");
        assert!(kinds["socket"] >= 2);
        drop((files, sockets));
    }

    #[test]
    fn there_is_no_process_zero_and_no_such_pid() {
        for pid in [0, u32::MAX, 0x7fff_fff0] {
            assert!(
                matches!(Process::open(pid), Err(Error::NoSuchProcess { .. })),
                "{pid}"
            );
        }
    }
}
