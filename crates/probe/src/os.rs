//! The system calls of this crate, and nothing else: no policy, no parsing.
//!
//! Linux only. This is the one module that may hold `unsafe`; everything it exports is safe to call.

pub(crate) mod net;
pub(crate) mod signals;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use plimsoll_model::Exit;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, WaitOptions,
};
use rustix::thread::LinkNameSpaceType;

/// A descriptor that names one process for ever.
pub(crate) fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(
        to_pid(pid)?,
        PidfdFlags::empty(),
    )?)
}

/// Bytes that nobody can guess; asked of the kernel, because an image may have no device for them.
pub(crate) fn fill_random(mut bytes: &mut [u8]) -> io::Result<()> {
    use rustix::rand::{GetRandomFlags, getrandom};
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the process has ended; a zombie has.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut fds, Some(&Timespec::default())) {
            Err(Errno::INTR) => {}
            Err(_) => return true,
            Ok(ready) => return ready > 0,
        }
    }
}

/// Signals the process behind a pidfd.
pub(crate) fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(
        pidfd,
        to_signal(signal)?,
    )?)
}

/// Signals every process of a group. The caller vouches that the group is its own.
pub(crate) fn signal_group(group: u32, signal: i32) -> io::Result<()> {
    Ok(rustix::process::kill_process_group(
        to_pid(group)?,
        to_signal(signal)?,
    )?)
}

fn to_pid(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(Errno::SRCH))
}

fn to_signal(signal: i32) -> io::Result<Signal> {
    Signal::from_named_raw(signal).ok_or_else(|| io::Error::from(Errno::INVAL))
}

/// How a child of ours ended, `None` while it runs. It stays a zombie, so its pid and its group's id cannot be reused.
pub(crate) fn peek_exit(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    wait(&WaitId::PidFd(pidfd), options)
}

/// Removes a child of ours that has ended; `None` while it runs.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<Option<Exit>> {
    wait(
        &WaitId::PidFd(pidfd),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    )
}

/// As [`reap`], by pid. The caller vouches that this pid is an unreaped child of ours.
pub(crate) fn reap_pid(pid: u32) -> io::Result<Option<Exit>> {
    wait(
        &WaitId::Pid(to_pid(pid)?),
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
    )
}

/// Removes any child of ours that has ended: which one, and how. `None` if none has, or there is none.
pub(crate) fn reap_any() -> io::Result<Option<(u32, Exit)>> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(Errno::INTR) => {}
            Err(Errno::CHILD) | Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(Some((pid, status))) => {
                let exit = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Status(code),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => continue,
                };
                return Ok(Some((pid.as_raw_nonzero().get().unsigned_abs(), exit)));
            }
        }
    }
}

fn wait(id: &WaitId<'_>, options: WaitIdOptions) -> io::Result<Option<Exit>> {
    loop {
        match rustix::process::waitid(id.clone(), options) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(None) => return Ok(None),
            Ok(Some(status)) => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Some(Exit::Status(code)),
                    (None, Some(signal)) => Some(Exit::Signal(signal)),
                    (None, None) => None,
                });
            }
        }
    }
}

/// Waits until one of `fds` is readable (or hung up) or the deadline is reached; `None` waits for ever. Says which are.
pub(crate) fn wait_readable<const N: usize>(
    fds: [BorrowedFd<'_>; N],
    deadline: Option<Instant>,
) -> io::Result<[bool; N]> {
    let mut poll_fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    poll_until(&mut poll_fds, deadline)?;
    Ok(std::array::from_fn(|i| !poll_fds[i].revents().is_empty()))
}

/// As [`wait_readable`]; a descriptor that comes with `true` is waited for until there is room to write instead.
pub(crate) fn wait_ready<const N: usize>(
    fds: [(BorrowedFd<'_>, bool); N],
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut poll_fds = fds.map(|(fd, to_write)| {
        let flags = if to_write {
            PollFlags::OUT
        } else {
            PollFlags::IN
        };
        PollFd::from_borrowed_fd(fd, flags)
    });
    poll_until(&mut poll_fds, deadline)
}

/// Waits until one of `fds` is readable or the deadline is reached.
pub(crate) fn wait_any_readable(fds: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<()> {
    let mut poll_fds: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    poll_until(&mut poll_fds, Some(deadline))
}

fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        match rustix::event::poll(fds, timeout.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The directory `/proc/PID` as a kept descriptor: it never means another process, even if the pid is reused.
pub(crate) fn open_process_directory(pid: u32) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        format!("/proc/{pid}"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// A directory that a link of a process leads to (`root`), to look further from.
pub(crate) fn open_directory_of(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// A directory below `root`, by a path that is looked up as for a process with that root.
pub(crate) fn open_directory_in(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        within,
    )?)
}

/// Makes a directory that nobody else may enter.
pub(crate) fn make_private_directory(base: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(base, name, Mode::RWXU)?)
}

/// What has a file's readers and writers not wait.
pub(crate) const NONBLOCK: i32 = libc::O_NONBLOCK;

/// Makes a named pipe that nobody else may open.
pub(crate) fn make_pipe(path: &Path) -> io::Result<()> {
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0)?)
}

/// Opens the directory that was made, and nothing that took its place.
pub(crate) fn open_private_directory(base: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(base, name, flags, Mode::empty())?)
}

/// Gives what lies in a directory to a user.
pub(crate) fn give_to(directory: BorrowedFd<'_>, name: &str, user: u32) -> io::Result<()> {
    let user = rustix::fs::Uid::from_raw(user);
    let here = AtFlags::SYMLINK_NOFOLLOW;
    Ok(rustix::fs::chownat(
        directory,
        name,
        Some(user),
        None,
        here,
    )?)
}

/// Removes a file from a kept directory.
pub(crate) fn remove_file(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
}

/// Removes an empty directory from a kept one.
pub(crate) fn remove_directory(directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?)
}

/// Which file this is, whatever it is called: of two descriptors on one file both are the same.
pub(crate) fn identity(file: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The network namespace of the calling thread.
pub(crate) fn own_network() -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let path = "/proc/thread-self/ns/net";
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Makes a network namespace that of the calling thread.
pub(crate) fn enter_network(namespace: BorrowedFd<'_>) -> io::Result<()> {
    let network = Some(LinkNameSpaceType::Network);
    Ok(rustix::thread::move_into_link_name_space(
        namespace, network,
    )?)
}

/// Opens a file below a kept directory for reading.
pub(crate) fn open_at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a directory below a kept directory for reading its entries.
pub(crate) fn open_directory_at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        directory,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Reads a kept procfs file from its start into `buffer`, which grows to fit and then is reused without allocation.
/// The kernel makes the text anew on every read from offset 0.
pub(crate) fn read_from_start<'b>(
    file: BorrowedFd<'_>,
    buffer: &'b mut Vec<u8>,
) -> io::Result<&'b [u8]> {
    if buffer.len() < 2048 {
        buffer.resize(2048, 0);
    }
    loop {
        match rustix::io::pread(file, buffer.as_mut_slice(), 0) {
            Ok(length) if length < buffer.len() => return Ok(&buffer[..length]),
            // Full: there may be more.
            Ok(_) => buffer.resize(buffer.len() * 2, 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads a procfs file once into `buffer`, as [`read_from_start`] does: half the system calls of `std::fs::read`.
pub(crate) fn read_path<'b>(path: &str, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_from_start(file.as_fd(), buffer)
}

/// Reads a whole file below a kept directory.
pub(crate) fn read_at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut File::from(open_at(directory, name)?), &mut bytes)?;
    Ok(bytes)
}

/// Where a symbolic link points to; targets longer than `buffer` are cut.
pub(crate) fn read_link_at<'b>(
    directory: BorrowedFd<'_>,
    name: &CStr,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    let length = rustix::fs::readlinkat_raw(directory, name, &mut *buffer)?;
    Ok(&buffer[..length])
}

/// Calls `visit` with every entry of an open directory from its start, without `.` and `..`. Does not allocate.
pub(crate) fn each_entry(
    directory: BorrowedFd<'_>,
    mut visit: impl FnMut(&CStr),
) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); 8192];
    rustix::fs::seek(directory, rustix::fs::SeekFrom::Start(0))?;
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                if name != c"." && name != c".." {
                    visit(name);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The size the file system tells of an open file or directory.
pub(crate) fn size_of(file: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// Whether this process may execute the file.
pub(crate) fn is_executable(path: &std::path::Path) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

/// Asks for room in a pipe, so that its writer waits less often for us. Best effort.
pub(crate) fn widen_pipe(pipe: BorrowedFd<'_>, bytes: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, bytes);
}

/// Makes reads of this descriptor return at once. Only for open file descriptions we do not share.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// From now on, descendants whose parent ends become our children.
pub(crate) fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(
        rustix::process::getpid(),
    ))?)
}

/// Whether descendants whose parent ends become our children.
pub(crate) fn is_subreaper() -> bool {
    rustix::process::getpid().is_init() || matches!(rustix::process::child_subreaper(), Ok(Some(_)))
}

/// The session of this process, as `stat` names it: 0 where its leader lives outside our pid namespace, as for a
/// container that was entered from its host. (Not by rustix: its `Pid` cannot be 0.)
pub(crate) fn own_session() -> u32 {
    #[expect(unsafe_code, reason = "a bare system call")]
    // SAFETY: takes a number, returns a number, and touches no memory of ours.
    let session = unsafe { libc::getsid(0) };
    u32::try_from(session).unwrap_or(0)
}

/// The process group of this process; 0 where its leader lives outside our pid namespace.
pub(crate) fn own_group() -> u32 {
    #[expect(unsafe_code, reason = "a bare system call")]
    // SAFETY: takes a number, returns a number, and touches no memory of ours.
    let group = unsafe { libc::getpgid(0) };
    u32::try_from(group).unwrap_or(0)
}

/// Three clocks of one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clocks {
    /// `CLOCK_MONOTONIC`: stands still while the machine is suspended.
    pub(crate) monotonic: i128,
    /// `CLOCK_BOOTTIME`: goes on.
    pub(crate) boot: i128,
    /// `CLOCK_REALTIME`: can be set.
    pub(crate) unix: i128,
}

pub(crate) fn clocks() -> Clocks {
    use rustix::time::{ClockId, clock_gettime};
    let read = |clock| {
        let time = clock_gettime(clock);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    Clocks {
        monotonic: read(ClockId::Monotonic),
        boot: read(ClockId::Boottime),
        unix: read(ClockId::Realtime),
    }
}

/// Clock ticks per second, the unit of CPU times in `stat`.
pub(crate) fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second().max(1) as f64
}

/// Bytes of a page.
pub(crate) fn page_size() -> u64 {
    rustix::param::page_size() as u64
}

/// CPU time of this process and its threads, without children.
pub(crate) fn own_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The soft limit of open descriptors before [`raise_descriptor_limit`]: what subjects get.
static DESCRIPTOR_LIMIT: OnceLock<Rlimit> = OnceLock::new();

/// Raises this process's own soft limit of open descriptors to its hard limit; what [`spawn_session`] starts keeps the
/// limit there was.
pub(crate) fn raise_descriptor_limit() -> io::Result<()> {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    DESCRIPTOR_LIMIT.get_or_init(|| before);
    Ok(rustix::process::setrlimit(Resource::Nofile, raised)?)
}

/// How many descriptors this process may have open at most; `None` for no limit.
pub(crate) fn most_descriptors() -> Option<u64> {
    rustix::process::getrlimit(Resource::Nofile).maximum
}

/// Bytes that this user may still write to the file system of `path`.
pub(crate) fn free_space(path: &std::path::Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// Undoes an ignored `SIGCHLD` inherited from whoever started us: with it the kernel reaps children at once, their exit
/// status is lost and their pids are free to be reused. A handler is left alone.
pub(crate) fn keep_ended_children() {
    #[expect(unsafe_code, reason = "sigaction takes pointers")]
    // SAFETY: both calls get a valid signal number and pointers to a live, initialised `sigaction` or null. `SIG_DFL` for
    // `SIGCHLD` does nothing when the signal arrives, so no code runs in a handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(libc::SIGCHLD, std::ptr::null(), &raw mut action);
        if asked == 0 && action.sa_sigaction == libc::SIG_IGN {
            action.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(libc::SIGCHLD, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Starts `command` as the leader of a session and process group of its own, to be sent `SIGTERM` when the calling
/// *thread* ends (the kernel ties the parent-death signal to the thread that forked, not to its process).
pub(crate) fn spawn_session(command: &mut Command) -> io::Result<Child> {
    keep_ended_children();
    let parent = rustix::process::getpid();
    let descriptor_limit = DESCRIPTOR_LIMIT.get().copied();
    let prepare = move || {
        rustix::process::setsid()?;
        if let Some(limit) = &descriptor_limit {
            rustix::process::setrlimit(Resource::Nofile, *limit)?;
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(Errno::SRCH.into());
        }
        Ok(())
    };
    #[expect(
        unsafe_code,
        reason = "between fork and exec only system calls are allowed"
    )]
    // SAFETY: `prepare` runs in the forked child. It only makes direct system calls on copied values and builds errors
    // from their numbers: no allocation, no lock, no access to memory another thread may have been changing.
    unsafe {
        command.pre_exec(prepare);
    }
    command.spawn()
}
