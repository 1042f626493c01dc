//! The directory of one run, held by the one process that writes it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Error;

/// Name of the run document within the directory of a run.
pub const RUN_NAME: &str = "run.json";
/// Name of the log within the directory of a run.
pub const LOG_NAME: &str = "samples.plog";
/// Locked by the writer for as long as it lives: this tells a run that is running from one that was killed.
const LOCK_NAME: &str = ".lock";
/// How many runs may ask for the same name.
const MAX_SUFFIX: u32 = 1000;

/// The directory of a run that is being written. Nobody else writes there while this value lives.
#[derive(Debug)]
pub struct RunDir {
    id: String,
    path: PathBuf,
    /// Dropping it releases the lock.
    _lock: Option<File>,
}

impl RunDir {
    /// Creates the directory `id` in `runs`, or `id-2`, `id-3` … if another writer was faster.
    pub(crate) fn create(runs: &Path, id: &str) -> Result<Self, Error> {
        if !is_good_name(id) {
            return Err(Error::BadName {
                name: id.to_owned(),
            });
        }
        let mut suffix = 1;
        loop {
            let name = if suffix == 1 {
                id.to_owned()
            } else {
                format!("{id}-{suffix}")
            };
            let path = runs.join(&name);
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let lock = lock(&path.join(LOCK_NAME));
                    return Ok(Self {
                        id: name,
                        path,
                        _lock: lock,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && suffix < MAX_SUFFIX => {
                    suffix += 1;
                }
                Err(e) => return Err(Error::io("create", &path)(e)),
            }
        }
    }

    /// The name of the run, which is the name of the directory.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the log is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join(LOG_NAME)
    }

    /// Where the run document is.
    pub fn run_path(&self) -> PathBuf {
        self.path.join(RUN_NAME)
    }

    /// Removes the directory of a run that never began.
    pub fn discard(self) {
        // Nothing was measured, so there is nothing to lose; a leftover would only puzzle the listing.
        let _ = fs::remove_dir_all(&self.path);
    }

    /// Writes the document of the run, that of a check or of a suite. Whoever reads sees the old one or the new one, never a part, even after a power cut.
    ///
    /// # Errors
    /// If it cannot be written (disk full); an older document is then still there.
    pub fn write_run(&self, run: &impl Serialize) -> Result<(), Error> {
        let target = self.run_path();
        let mut json =
            serde_json::to_vec(run).map_err(|error| Error::malformed(&target, &error))?;
        json.push(b'\n');
        let draft = self.path.join(".run.json.draft");
        let written = write_whole(&draft, &json).and_then(|()| fs::rename(&draft, &target));
        if let Err(error) = written {
            let _ = fs::remove_file(&draft);
            return Err(Error::io("write", &target)(error));
        }
        // The new name is on the disk once the directory is; a file system that cannot do that has done its best.
        if let Ok(directory) = File::open(&self.path) {
            let _ = directory.sync_all();
        }
        Ok(())
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Takes the writer's lock. Some file systems have none: then a killed run just looks unfinished at once.
fn lock(path: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .ok()?;
    file.lock().ok()?;
    Some(file)
}

/// Whether the writer of this run directory is alive.
pub(crate) fn is_being_written(path: &Path) -> bool {
    File::open(path.join(LOCK_NAME))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// A name that is one directory, visible, and safe to show and to type.
fn is_good_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
