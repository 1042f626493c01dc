//! `plimsoll snapshot`: questions to heap snapshots in files, each answered by one table.
//!
//! Thin: `plimsoll_heap` knows the answers, this room opens files and lays them out.

mod browse;
mod compare;
mod leaks;
mod look;
pub(crate) mod object;
mod take;
mod waste;

use std::fs::File;
use std::path::{Path, PathBuf};

use plimsoll_heap::{Heap, Snapshot};
use plimsoll_model::{Cell, Sheet};

use crate::error::Error;

pub use browse::{Browser, HELP, Reply};
pub use compare::diff;
pub(crate) use leaks::detached_bytes;
pub use leaks::{leaks, leaks_of_class};
pub use look::{dominators, query, retainers, summary};
pub use object::Target;
pub(crate) use take::private_file;
pub use take::{Take, take};
pub use waste::{collections, contexts, strings};

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

/// Writes a copy of a snapshot without what its strings say; only we may read it.
///
/// # Errors
/// If `from` is no snapshot, or `to` is there already or cannot be written.
pub fn redact(from: &Path, to: &Path) -> Result<Sheet, Error> {
    let unwritable = |error: std::io::Error| {
        Error::usage(
            format!("{} cannot be written: {error}", to.display()),
            "name another file with `-o`",
        )
    };
    let mut out = take::private_file(to).map_err(unwritable)?;
    let done = plimsoll_heap::redact(&open_file(from)?, open_file(from)?, &mut out);
    let done = done.map_err(|error| {
        // What is half redacted is not redacted.
        let _ = std::fs::remove_file(to);
        failed(from)(error)
    })?;
    let mut sheet = Sheet::new("anonymize", &[]);
    sheet.fact("file", to.display().to_string());
    sheet.fact("strings", Cell::Count(done.strings));
    sheet.fact("replaced", Cell::Count(done.replaced));
    Ok(sheet)
}
