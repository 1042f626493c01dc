//! `plimsoll snapshot`: questions to heap snapshots in files, each answered by one table.
//!
//! Thin: `plimsoll_heap` knows the answers, this room opens files and lays them out.

mod browse;
mod leaks;
mod look;
pub(crate) mod object;

use std::fs::File;
use std::path::{Path, PathBuf};

use plimsoll_heap::{Heap, Snapshot};

use crate::error::Error;

pub use browse::{Browser, HELP, Reply};
pub use leaks::{leaks, leaks_of_class};
pub use look::{dominators, query, retainers, summary};
pub use object::Target;

/// A file of a snapshot that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}{}", path.display(), cause(source))]
pub struct SnapshotError {
    path: PathBuf,
    source: plimsoll_heap::Error,
}

/// What the system said, where the error itself does not.
fn cause(error: &plimsoll_heap::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!(": {source}"),
        None => String::new(),
    }
}

impl SnapshotError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        self.source.hint()
    }
}

fn failed(path: &Path) -> impl Fn(plimsoll_heap::Error) -> Error + '_ {
    |source| {
        Error::Snapshot(SnapshotError {
            path: path.to_owned(),
            source,
        })
    }
}

pub(crate) fn open_file(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| failed(path)(error.into()))
}

pub(crate) fn open(path: &Path) -> Result<Snapshot, Error> {
    Snapshot::open(&open_file(path)?).map_err(failed(path))
}

pub(crate) fn analyse(path: &Path) -> Result<Heap, Error> {
    Ok(Heap::of(open(path)?))
}
