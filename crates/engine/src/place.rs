//! Where a run is kept: the first directory that can be written, or memory alone. What is lost by that is said, and is never
//! a reason not to measure.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_model::Finding;
use plimsoll_store::{Recorder, RunDir, Store};

use crate::error::Error;

/// Where a new run is kept, before anything is recorded there.
#[derive(Debug)]
pub(crate) struct Chosen {
    id: String,
    /// `None`: the run lives in memory only.
    pub(crate) kept: Option<RunDir>,
    started_unix_ns: u64,
    findings: Vec<Finding>,
}

/// The place of a new run, and what had to be said about it.
pub(crate) struct Place {
    pub(crate) id: String,
    /// `None`: the run lives in memory only.
    pub(crate) kept: Option<RunDir>,
    pub(crate) recorder: Recorder,
    pub(crate) findings: Vec<Finding>,
}

impl Chosen {
    /// Makes the place of a run that starts now. Starts no thread.
    pub(crate) fn among(directories: &[PathBuf], started_unix_ns: u64) -> Self {
        let mut findings = Vec::new();
        let id = plimsoll_store::run_id(started_unix_ns, std::process::id());
        let kept = match Store::open(directories).and_then(|store| store.create_run(&id)) {
            Ok(directory) => {
                if directories
                    .first()
                    .is_some_and(|first| !directory.path().starts_with(first))
                {
                    findings.push(Finding::info(
                        "store-elsewhere",
                        format!(
                            "{} cannot be written; the run is kept in {}",
                            directories[0].display(),
                            directory.path().display()
                        ),
                    ));
                }
                Some(directory)
            }
            Err(error) => {
                findings.push(Finding::warning(
                    "not-kept",
                    format!("the run is not kept: {error}"),
                    Some("set PLIMSOLL_DIR to a directory that can be written"),
                ));
                None
            }
        };
        Self {
            id: kept.as_ref().map_or(id, |kept| kept.id().to_owned()),
            kept,
            started_unix_ns,
            findings,
        }
    }

    /// The directory, for a run without a log, and what had to be said about it.
    pub(crate) fn kept(self) -> (Option<RunDir>, Vec<Finding>) {
        (self.kept, self.findings)
    }

    /// Removes what was made for a run that never began.
    pub(crate) fn discard(self) {
        if let Some(directory) = self.kept {
            directory.discard();
        }
    }

    /// Starts to record there.
    ///
    /// # Errors
    /// If there is not even a thread for recording.
    pub(crate) fn record(self) -> Result<Place, Error> {
        let Self {
            id,
            kept,
            started_unix_ns,
            mut findings,
        } = self;
        let recorder = match Recorder::start(kept.as_ref(), started_unix_ns) {
            Ok(recorder) => recorder,
            Err(error) => {
                findings.push(Finding::warning(
                    "not-recorded",
                    format!("no log is written: {error}"),
                    None,
                ));
                Recorder::start(None, started_unix_ns)?
            }
        };
        Ok(Place {
            id,
            kept,
            recorder,
            findings,
        })
    }
}

impl Place {
    /// Makes the place of a run that starts now, and starts to record there.
    ///
    /// # Errors
    /// If there is not even a thread for recording.
    pub(crate) fn open(directories: &[PathBuf], started_unix_ns: u64) -> Result<Self, Error> {
        Chosen::among(directories, started_unix_ns).record()
    }
}

/// The wall clock, in nanoseconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}
