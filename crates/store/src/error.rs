//! What can go wrong with files, each with the place and, where there is one, the way out.

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None of the places for runs can be written.
    #[error("no directory for runs can be written: {}", list_tried(.tried))]
    NoPlace {
        /// Every place that was tried, and why it will not do.
        tried: Vec<(PathBuf, io::Error)>,
    },
    /// A file or directory could not be used.
    #[error("failed to {what} {}: {source}", .path.display())]
    Io {
        /// What was attempted: `write`, `read`, `create`.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A run's name that cannot be the name of a directory.
    #[error("`{name}` cannot name a run: letters, digits, `-`, `_` and `.` only, and no `.` first")]
    BadName {
        /// The name.
        name: String,
    },
    /// No run of that name.
    #[error("there is no run `{name}` in {}{}", .place.display(), suggestion(.nearest.as_deref()))]
    NotFound {
        /// The name asked for.
        name: String,
        /// Where it was looked for.
        place: PathBuf,
        /// The run whose name is nearest.
        nearest: Option<String>,
    },
    /// Several runs begin like that.
    #[error("`{name}` could be any of {} runs: {}", .candidates.len(), some_of(.candidates))]
    Ambiguous {
        /// The prefix asked for.
        name: String,
        /// The runs that begin with it, newest first.
        candidates: Vec<String>,
    },
    /// The run was started but has no document: it is still running, or was killed.
    #[error("run `{id}` has no {}: it is still running, or was killed before it ended (its log is {})", crate::RUN_NAME, .log.display())]
    Unfinished {
        /// The run.
        id: String,
        /// Its log, which can be read all the same.
        log: PathBuf,
    },
    /// Written by a version of the tool with another format.
    #[error("{} is written as {found}, this plimsoll reads {known}; use the version that wrote it, or a newer one", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The format it declares.
        found: String,
        /// The format this version reads.
        known: String,
    },
    /// What a suite found: it has no series.
    #[error("{} is what a suite found: there are no series in it", .path.display())]
    OfSuite {
        /// The file.
        path: PathBuf,
    },
    /// Not what it should be.
    #[error("{} is damaged or not a run, line {line} column {column}: {message}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line of the first error, counted from 1; 0 if the file as a whole is meant.
        line: usize,
        /// Column of the first error, counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A file of readings that cannot be read as one.
    #[error("{}{}: {message}", .path.display(), line_suffix(*.line))]
    Table {
        /// The file.
        path: PathBuf,
        /// Line of the first error, counted from 1; 0 if the file as a whole is meant.
        line: usize,
        /// What is wrong there.
        message: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// A metric that the log has no reading of.
    #[error("there is no metric `{name}` in this log; it has {}", if .known.is_empty() { "none".to_owned() } else { .known.join(", ") })]
    NoMetric {
        /// The name asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// Not a log.
    #[error("{} is not a plimsoll log: {message}", .path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
        /// What is wrong with its first bytes.
        message: &'static str,
    },
    /// The recorder's thread ended before its time; what it had written is kept.
    #[error("the recorder stopped unexpectedly; this is a bug in plimsoll")]
    RecorderLost,
}

impl Error {
    /// What to do about it, if anything is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPlace { .. } => {
                Some("set `PLIMSOLL_DIR` to a directory that this user may write")
            }
            Self::NotFound { .. } | Self::Unfinished { .. } => {
                Some("`plimsoll history` lists the runs there are")
            }
            Self::OfSuite { .. } => Some("`plimsoll report` shows it"),
            Self::Table { hint, .. } => *hint,
            Self::Ambiguous { .. } => Some("give more of the name"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("the disk is full: free some space, or set `PLIMSOLL_DIR` to another disk")
            }
            _ => None,
        }
    }

    /// Wraps what the system said about `path`.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// A JSON error with its position.
    pub(crate) fn malformed(path: &Path, error: &serde_json::Error) -> Self {
        // serde_json repeats the position at the end of its message; it has fields of its own here.
        let message = error.to_string();
        let message = match message.rfind(" at line ") {
            Some(end) => message[..end].to_owned(),
            None => message,
        };
        Self::Malformed {
            path: path.to_owned(),
            line: error.line(),
            column: error.column(),
            message,
        }
    }
}

fn list_tried(tried: &[(PathBuf, io::Error)]) -> String {
    if tried.is_empty() {
        return "none was given".to_owned();
    }
    let each: Vec<String> = tried
        .iter()
        .map(|(path, error)| format!("{} ({error})", path.display()))
        .collect();
    each.join(", ")
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |id| format!("; the nearest is `{id}`"))
}

fn some_of(candidates: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = candidates
        .iter()
        .take(SHOWN)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    if candidates.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

fn line_suffix(line: usize) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(":{line}")
    }
}
