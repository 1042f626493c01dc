//! What can be wrong before a run starts, and our own bugs. What goes wrong later is part of the run.

use std::path::PathBuf;

use plimsoll_model::ExitCode;

use crate::snapshot::SnapshotError;

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A flag or value makes no sense.
    #[error("{message}")]
    Usage {
        /// What.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The configuration file cannot be used.
    #[error("{}{}: {message}", path.display(), line.map(|(l, c)| format!(":{l}:{c}")).unwrap_or_default())]
    Config {
        /// The file.
        path: PathBuf,
        /// Line and column, counted from 1.
        line: Option<(usize, usize)>,
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The port of the URL answers before the subject was started: it would be the wrong process that is measured.
    #[error("port {port} is already taken{}", holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    PortTaken {
        /// The port.
        port: u16,
        /// Who holds it, if known.
        holder: Option<String>,
    },
    /// The subject cannot be started.
    #[error(transparent)]
    Launch(#[from] plimsoll_probe::Error),
    /// The load cannot be set up.
    #[error(transparent)]
    Load(#[from] plimsoll_load::Error),
    /// A file to analyse or a stored run cannot be read.
    #[error(transparent)]
    Store(#[from] plimsoll_store::Error),
    /// A heap snapshot cannot be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A promise of the code was broken.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// Nothing is called so.
    pub fn unknown_pattern(name: &str) -> Self {
        let alike = crate::patterns::PATTERNS
            .iter()
            .map(|p| (strsim::jaro_winkler(&p.slug(), name), p.slug()))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match alike {
            Some((alike, slug)) if alike > 0.75 => format!("the nearest is `{slug}`"),
            _ => "`plimsoll explain` lists them".to_owned(),
        };
        Self::usage(format!("no pattern is called `{name}`"), hint)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::Config { hint, .. } => hint.clone(),
            Self::PortTaken { port, .. } => Some(format!(
                "stop what listens on port {port}, or give the subject and `--url` another port"
            )),
            Self::Launch(plimsoll_probe::Error::CommandNotFound { .. }) => Some(
                "check the spelling and PATH; a file here needs `./` before its name".to_owned(),
            ),
            Self::Launch(plimsoll_probe::Error::NotExecutable { path, .. }) => Some(format!(
                "`chmod +x {path}`, or start it by its interpreter: `-- node {path}`"
            )),
            Self::Launch(plimsoll_probe::Error::NoSuchProcess { .. }) => Some(
                "`plimsoll monitor --name` finds processes by name; those of another pid namespace have other numbers here"
                    .to_owned(),
            ),
            Self::Launch(plimsoll_probe::Error::Zombie { .. }) => Some(
                "it has no memory left to be measured: name the process that took its place".to_owned(),
            ),
            Self::Internal(_) => Some(
                "this is a bug in plimsoll: please report it with the command and this message"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint().map(str::to_owned),
            Self::Load(error) => error.hint().map(str::to_owned),
            Self::Snapshot(error) => error.hint().map(str::to_owned),
            Self::Launch(_) => None,
        }
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Internal(_) => ExitCode::Internal,
            _ => ExitCode::Usage,
        }
    }
}
