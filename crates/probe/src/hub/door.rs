//! A socket of the hub where a process with files or a user of its own can reach it: in a container seen from its host.
//!
//! It is made through `/proc/PID/root`, in a private directory that belongs to the process's user. Paths are looked up as that
//! process would, so that no symbolic link of its making leads out of its root.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;

use super::carrier::{BASES, random_hex};
use crate::os;
use crate::process::Process;

/// The directory with its socket; dropping it removes both.
#[derive(Debug)]
pub(super) struct Door {
    base: OwnedFd,
    directory: OwnedFd,
    name: String,
    /// The socket as the process sees it.
    socket: String,
}

impl Door {
    /// In the first place where a socket can be made; for `owner`.
    pub(super) fn open(process: &Process, owner: u32) -> io::Result<(Self, UnixListener)> {
        let root = process.root()?;
        let own = process.variable("TMPDIR");
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for base in own.as_deref().into_iter().chain(BASES) {
            match Self::open_in(&root, base, owner) {
                Ok(door) => return Ok(door),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn open_in(root: &OwnedFd, base: &str, owner: u32) -> io::Result<(Self, UnixListener)> {
        let base_text = base.trim_end_matches('/');
        let base = os::open_directory_in(root.as_fd(), base_text)?;
        let name = format!("plimsoll-{}", random_hex::<8>()?);
        os::make_private_directory(base.as_fd(), &name)?;
        let directory = os::open_private_directory(base.as_fd(), &name).inspect_err(|_| {
            let _ = os::remove_directory(base.as_fd(), &name);
        })?;
        let door = Self {
            socket: format!("{base_text}/{name}/hub"),
            base,
            directory,
            name,
        };
        // By number: the path through the process's root may be longer than a socket's may be.
        let path = format!("/proc/self/fd/{}/hub", door.directory.as_raw_fd());
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        os::give_to(door.directory.as_fd(), "hub", owner)?;
        os::give_to(door.base.as_fd(), &door.name, owner)?;
        Ok((door, listener))
    }

    pub(super) fn socket(&self) -> &str {
        &self.socket
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // What cannot be removed is an empty directory that only its user can enter.
        let _ = os::remove_file(self.directory.as_fd(), "hub");
        let _ = os::remove_directory(self.base.as_fd(), &self.name);
    }
}
