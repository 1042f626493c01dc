//! The one cancel path: a flag for those who compute, and a descriptor for those who wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Asks everybody to stop, once and for all. Clones share the request.
///
/// Whoever waits in `poll` or `epoll` adds [`Cancel::fd`], which becomes readable and stays so; whoever computes asks
/// [`Cancel::is_cancelled`].
#[derive(Debug, Clone)]
pub struct Cancel {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cancelled: AtomicBool,
    writer: UnixStream,
    reader: UnixStream,
}

impl Cancel {
    /// A request not yet made.
    ///
    /// # Errors
    /// If the process has no descriptors left.
    pub fn try_new() -> io::Result<Self> {
        let (writer, reader) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        Ok(Self {
            shared: Arc::new(Shared {
                cancelled: AtomicBool::new(false),
                writer,
                reader,
            }),
        })
    }

    /// Makes the request.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::SeqCst);
        // End of stream keeps the reading side readable for every waiter, however many there are.
        let _ = self.shared.writer.shutdown(std::net::Shutdown::Write);
    }

    /// Whether the request was made.
    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    /// Readable from the request on. Never read from it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared.reader.as_fd()
    }
}

/// What bounds a call: a deadline and a cancel request.
#[derive(Debug, Clone)]
pub struct Cx {
    /// When the call must have returned.
    pub deadline: Instant,
    /// Who may end it earlier.
    pub cancel: Cancel,
}

impl Cx {
    /// A call that may take `timeout` from now.
    pub fn within(cancel: &Cancel, timeout: Duration) -> Self {
        Self {
            deadline: Instant::now() + timeout,
            cancel: cancel.clone(),
        }
    }

    /// The same cancel, a deadline at most `timeout` from now and never after ours.
    #[must_use]
    pub fn at_most(&self, timeout: Duration) -> Self {
        Self {
            deadline: self.deadline.min(Instant::now() + timeout),
            cancel: self.cancel.clone(),
        }
    }

    /// Time left, zero if none.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the call should end now.
    pub fn is_over(&self) -> bool {
        self.cancel.is_cancelled() || self.left().is_zero()
    }
}
