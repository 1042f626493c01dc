//! Signals as a queue to read from: blocked for the whole process, so that none is lost and no handler ever runs.
//!
//! Blocked signals are queued even for the first process of a pid namespace, which the kernel spares signals that it has
//! no handler for.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;

/// One signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) signal: i32,
    /// Sent by the kernel, as for Ctrl-C: then it went to the whole foreground group.
    pub(crate) by_kernel: bool,
}

/// The signals that can be passed on: all but those that cannot be blocked, those that tell of our own faults, and those
/// by which a terminal stops and continues a job, which act on our whole group without us.
fn passed_on() -> impl Iterator<Item = i32> {
    const NAMED: [i32; 15] = [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGTERM,
        libc::SIGURG,
        libc::SIGXCPU,
        libc::SIGXFSZ,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGWINCH,
        libc::SIGIO,
        libc::SIGPWR,
    ];
    NAMED.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
}

/// Signals of this process, to be read instead of handled.
pub(crate) struct SignalQueue {
    fd: OwnedFd,
    /// What was blocked before.
    before: libc::sigset_t,
}

impl std::fmt::Debug for SignalQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SignalQueue").field(&self.fd).finish()
    }
}

impl SignalQueue {
    /// Blocks the signals that can be passed on, and `SIGCHLD`, in this thread and in those it will start. Only for a
    /// program's `main`, before any other thread runs. Commands inherit it: see [`SignalQueue::restore_in`].
    pub(crate) fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        #[expect(unsafe_code, reason = "signal sets are filled through pointers")]
        // SAFETY: `set` is initialised by `sigemptyset` before anything reads it and lives to the end of the block;
        // `sigaddset` and `pthread_sigmask` get that pointer; `before` is initialised by the latter unless it fails;
        // `signalfd` with -1 makes a new descriptor, which is nobody else's once its value is checked.
        unsafe {
            let set = set.as_mut_ptr();
            libc::sigemptyset(set);
            for signal in passed_on().chain([libc::SIGCHLD]) {
                libc::sigaddset(set, signal);
            }
            let status = libc::pthread_sigmask(libc::SIG_BLOCK, set, before.as_mut_ptr());
            if status != 0 {
                return Err(io::Error::from_raw_os_error(status));
            }
            let fd = libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self {
                fd: OwnedFd::from_raw_fd(fd),
                before: before.assume_init(),
            })
        }
    }

    /// Gives a command the mask there was before: what it is sent must reach it.
    pub(crate) fn restore_in(&self, command: &mut Command) {
        let before = self.before;
        let restore = move || {
            #[expect(unsafe_code, reason = "signal sets are passed by pointer")]
            // SAFETY: the set was filled by the kernel and is a copy of our own; the old one is not asked for.
            let status = unsafe {
                libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut())
            };
            if status == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        #[expect(
            unsafe_code,
            reason = "between fork and exec only system calls are allowed"
        )]
        // SAFETY: `restore` runs in the forked child. It makes one direct system call on a copied value and builds an error
        // from its number: no allocation, no lock, no access to memory another thread may have been changing.
        unsafe {
            command.pre_exec(restore);
        }
    }

    /// The next signal that has arrived; `None` if there is none.
    pub(crate) fn next(&self) -> Option<Arrived> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        loop {
            #[expect(unsafe_code, reason = "the kernel fills a struct of its own")]
            // SAFETY: the buffer is `size` bytes of a plain struct of integers, ours alone for the call; the descriptor
            // is open as long as `self` is. The struct is read only if the kernel says it wrote all of it.
            let read = unsafe {
                let got = libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size);
                (usize::try_from(got) == Ok(size)).then(|| info.assume_init())
            };
            if let Some(info) = read {
                return Some(Arrived {
                    signal: i32::try_from(info.ssi_signo).unwrap_or(0),
                    by_kernel: info.ssi_code > 0,
                });
            }
            if io::Error::last_os_error().raw_os_error() != Some(Errno::INTR.raw_os_error()) {
                return None;
            }
        }
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The signal that says a child changed its state.
pub(crate) const CHILD: i32 = libc::SIGCHLD;
