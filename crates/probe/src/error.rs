//! What can go wrong while seeing a process, and in whose words it is told.

use std::io;

/// Why a process could not be started, read or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such file, neither at the path nor on `PATH`.
    #[error("command not found: {command}")]
    CommandNotFound {
        /// The command as given.
        command: String,
    },
    /// The file is there and cannot be run: no execute permission, a directory, an unknown format, a missing interpreter.
    #[error("not executable: {path}")]
    NotExecutable {
        /// The file found for the command.
        path: String,
        /// What the system said.
        source: Option<io::Error>,
    },
    /// The system could not start the command for another reason.
    #[error("cannot start {command}")]
    Spawn {
        /// The command as given.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// No living process has this pid.
    #[error("no process has pid {pid}")]
    NoSuchProcess {
        /// The pid asked for.
        pid: u32,
    },
    /// It has ended, and only its exit status is left for its parent to collect.
    #[error(
        "process {pid} has ended; only its exit status is left, which process {parent} has not collected (a zombie)"
    )]
    Zombie {
        /// The pid asked for.
        pid: u32,
        /// Its parent.
        parent: u32,
    },
    /// More of something than makes sense.
    #[error("{what}, more than {most}")]
    TooMany {
        /// What there is.
        what: String,
        /// How much would be accepted.
        most: usize,
    },
    /// The isolate ended, or its connection was lost.
    #[error("the isolate is gone")]
    IsolateGone,
    /// No answer in time.
    #[error("no answer to {operation} before its deadline")]
    Deadline {
        /// What was asked.
        operation: String,
    },
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The other side does not know how to do this.
    #[error("{operation} is not supported")]
    Unsupported {
        /// What was asked.
        operation: String,
    },
    /// The other side knows how and would not.
    #[error("{operation} was refused: {message}")]
    Refused {
        /// What was asked.
        operation: String,
        /// Its reason.
        message: String,
    },
    /// The other side broke the protocol.
    #[error("probe protocol: {message}")]
    Protocol {
        /// How.
        message: String,
    },
    /// An inspector could not be reached, or did not speak its protocol.
    #[error("inspector: {message}")]
    Inspector {
        /// How.
        message: String,
    },
    /// The system refused a file, a socket or a signal.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried: `open /proc/4121`.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The system refused `what`.
    pub(crate) fn io(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            what: what.into(),
            source: source.into(),
        }
    }
}
