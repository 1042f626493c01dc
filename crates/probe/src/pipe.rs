//! What a process of this machine writes into a file, read while it writes: a named pipe in a private directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::hub::random_hex;
use crate::os;

/// So much may be on its way: fewer turns from one process to the other.
const CAPACITY: usize = 1 << 20;

/// A pipe with a name. Dropping it has whoever still writes fail, and takes the name away before: who comes later must not
/// wait for a reader.
#[derive(Debug)]
pub(crate) struct Pipe {
    path: PathBuf,
    reader: File,
}

impl Pipe {
    /// A new one in this directory.
    pub(crate) fn make(directory: &Path) -> io::Result<Self> {
        let path = directory.join(format!("pipe-{}", random_hex::<8>()?));
        os::make_pipe(&path)?;
        let reader = OpenOptions::new()
            .read(true)
            // Ours to write to, too: then nobody waits for the other to open it, and it has no end before the last writer
            // has said that he is done.
            .write(true)
            .custom_flags(os::NONBLOCK)
            .open(&path)
            .inspect_err(|_| drop(fs::remove_file(&path)))?;
        os::widen_pipe(reader.as_fd(), CAPACITY);
        Ok(Self { path, reader })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was written and not read yet, at most as much as the buffer takes; 0 if there is nothing now.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.reader).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                other => return other,
            }
        }
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // If it cannot be removed, it goes with its directory.
        let _ = fs::remove_file(&self.path);
    }
}
