//! Lines between us and a host that we started: a socket in a private directory, one line a message, nothing lost or mixed.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use plimsoll_model::Cx;

use crate::Error;
use crate::wait::until_readable;

/// Longest line of a host that is read.
const LONGEST: usize = 64 * 1024;

/// The files of a host and the connection it makes.
#[derive(Debug)]
pub(crate) struct Channel {
    /// Where the host lies.
    pub(crate) file: PathBuf,
    /// The socket it is to connect to.
    pub(crate) socket: PathBuf,
    listener: UnixListener,
    stream: Option<UnixStream>,
    unread: Vec<u8>,
}

impl Channel {
    /// Puts the host `name` into a private directory, and a socket beside it.
    pub(crate) fn try_new(directory: &Path, name: &str, text: &str) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            doing: "put the module's host into a private directory",
            source,
        };
        let file = directory.join(name);
        // As short as the name of the hub beside it: a path of a socket has an end.
        let socket = directory.join("ops");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            file,
            socket,
            listener,
            stream: None,
            unread: Vec::new(),
        })
    }

    /// Whether the host is connected; never waits.
    pub(crate) fn is_connected(&mut self) -> Result<bool, Error> {
        if self.stream.is_none() {
            let Ok((stream, _)) = self.listener.accept() else {
                return Ok(false);
            };
            stream.set_nonblocking(true).map_err(|source| Error::Io {
                doing: "talk to the module's host",
                source,
            })?;
            self.stream = Some(stream);
        }
        Ok(true)
    }

    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stream {
            // A few bytes into an empty socket: they fit.
            Some(stream) => writeln!(stream, "{line}"),
            None => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// The next line it says; `None` when it has closed the connection.
    pub(crate) fn hear(&mut self, cx: &Cx) -> Result<Option<Vec<u8>>, Error> {
        loop {
            if let Some(line) = self.take() {
                return Ok(Some(line));
            }
            let Some(stream) = &self.stream else {
                return Ok(None);
            };
            until_readable([stream.as_fd()], cx, "wait for the module's host")?;
            self.read();
        }
    }

    /// Takes in what has arrived; a connection that is closed is forgotten.
    pub(crate) fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 && self.unread.len() <= LONGEST => {
                    self.unread.extend_from_slice(&buffer[..n]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.stream = None,
            }
        }
    }

    /// The first line that was read.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        let end = self.unread.iter().position(|byte| *byte == b'\n')?;
        Some(self.unread.drain(..=end).collect())
    }
}
