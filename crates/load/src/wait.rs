//! Waiting for what somebody else says, and no longer than is allowed.

use std::os::fd::BorrowedFd;

use plimsoll_model::Cx;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::Error;

/// Waits until one of `fds` can be read or has come to its end; may return early. `doing` says for whom it waits.
///
/// # Errors
/// If the run is cancelled, if the time of `cx` is up, or if the wait itself fails.
pub(crate) fn until_readable<'a>(
    fds: impl IntoIterator<Item = BorrowedFd<'a>>,
    cx: &'a Cx,
    doing: &'static str,
) -> Result<(), Error> {
    let stats = Box::default();
    if cx.cancel.is_cancelled() {
        return Err(Error::Cancelled { stats });
    }
    let left = cx.left();
    if left.is_zero() {
        return Err(Error::Deadline { stats });
    }
    let mut fds: Vec<PollFd<'_>> = std::iter::once(cx.cancel.fd())
        .chain(fds)
        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
        .collect();
    match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Error::Io {
            doing,
            source: error.into(),
        }),
    }
}
