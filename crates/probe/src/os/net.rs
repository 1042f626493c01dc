//! System calls of the hub: readiness, wake-ups, credentials, the monotonic clock.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec};
use rustix::io::Errno;
use rustix::time::ClockId;

/// Says which of many descriptors are ready, by the number each was added under. Level-triggered.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

/// One ready descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The number it was added under.
    pub(crate) key: u64,
    /// There is something to read, or the other side is gone.
    pub(crate) readable: bool,
    /// There is room to write.
    pub(crate) writable: bool,
}

impl Poller {
    pub(crate) fn try_new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches `fd` for reading until it is closed.
    pub(crate) fn add(&self, fd: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(
            &self.0,
            fd,
            EventData::new_u64(key),
            EventFlags::IN,
        )?)
    }

    /// Starts or stops watching `fd` for room to write as well.
    pub(crate) fn watch_writing(&self, fd: impl AsFd, key: u64, on: bool) -> io::Result<()> {
        let flags = if on {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        Ok(epoll::modify(&self.0, fd, EventData::new_u64(key), flags)?)
    }

    /// Waits until something is ready or the timeout is over; `None` waits for ever.
    pub(crate) fn wait(&self, timeout: Option<Duration>, out: &mut Vec<Ready>) -> io::Result<()> {
        out.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        match epoll::wait(&self.0, &mut events, timeout.as_ref()) {
            Ok((ready, _)) => {
                out.extend(ready.iter().map(|event| {
                    let flags = event.flags;
                    Ready {
                        key: event.data.u64(),
                        readable: flags
                            .intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                        writable: flags.contains(EventFlags::OUT),
                    }
                }));
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A descriptor that another thread can make readable.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    pub(crate) fn try_new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(rustix::event::eventfd(0, flags)?))
    }

    /// Makes it readable; it stays so until [`Wake::reset`].
    pub(crate) fn wake(&self) {
        // Fails only where the counter is full, and then it is readable.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn reset(&self) {
        let _ = rustix::io::read(&self.0, &mut [0_u8; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who is at the other end of a Unix socket, as the kernel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Their user.
    pub(crate) uid: u32,
    /// Their process; `None` if it is in a pid namespace that we cannot see.
    pub(crate) pid: Option<u32>,
}

/// Credentials of whoever connected. By `libc`, because rustix types the pid as never zero, which a peer in a foreign
/// pid namespace breaks.
pub(crate) fn credentials(socket: BorrowedFd<'_>) -> io::Result<Credentials> {
    let mut ucred = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    #[expect(unsafe_code, reason = "getsockopt takes pointers")]
    // SAFETY: `ucred` is a plain struct of integers, valid for any bytes, alive and exclusively ours for the call;
    // `length` says its size, so the kernel writes no further; the descriptor is borrowed and therefore open.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut ucred).cast(),
            &raw mut length,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Credentials {
        uid: ucred.uid,
        pid: u32::try_from(ucred.pid).ok().filter(|&pid| pid != 0),
    })
}

/// The user we act as.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `CLOCK_MONOTONIC`, the clock of `Instant` and of every probe, in nanoseconds since its own start.
pub(crate) fn monotonic_ns() -> i128 {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}
