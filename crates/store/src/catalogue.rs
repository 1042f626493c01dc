//! The runs there are: where they are kept, which ones, and how to get at one by name.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use plimsoll_model::{Run, RunState, RunSummary, SCHEMA, SUITE_SCHEMA, SuiteRun};
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::head::{self, HeadError};
use crate::id::started_of;
use crate::run_dir::{LOG_NAME, RUN_NAME, RunDir, is_being_written};

/// Longest run document that is read. Ours are below 2 MiB; this bounds what a hostile one costs.
const MAX_DOCUMENT: u64 = 256 << 20;

/// What a run left.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Of a verb that judges series.
    Run(Box<Run>),
    /// Of a suite.
    Suite(Box<SuiteRun>),
}

/// A directory of runs.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    skipped: Vec<(PathBuf, io::Error)>,
}

impl Store {
    /// Opens the first of `candidates` (each a `.plimsoll`) in which runs can be written, creating what is missing with
    /// mode 0700.
    ///
    /// A directory of that name in a project is never meant to be committed, so it gets a `.gitignore` of its own; a
    /// directory that was there before under another name is left as it is.
    ///
    /// # Errors
    /// If none can be written; the error tells why, for each.
    pub fn open(candidates: &[PathBuf]) -> Result<Self, Error> {
        let mut skipped = Vec::new();
        for candidate in candidates {
            match prepare(candidate) {
                Ok(()) => {
                    return Ok(Self {
                        root: candidate.clone(),
                        skipped,
                    });
                }
                Err(error) => skipped.push((candidate.clone(), error)),
            }
        }
        Err(Error::NoPlace { tried: skipped })
    }

    /// Reads the runs of a directory that need not exist. Never creates anything.
    pub fn read_only(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            skipped: Vec::new(),
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Candidates that could not be written, and why; the one in use came after them.
    pub fn skipped(&self) -> &[(PathBuf, io::Error)] {
        &self.skipped
    }

    fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Creates the directory of a new run. A second writer that asks for the same name gets `ID-2`, and so on: see
    /// [`RunDir::id`].
    ///
    /// # Errors
    /// If `id` cannot be the name of a directory, or the directory cannot be created.
    pub fn create_run(&self, id: &str) -> Result<RunDir, Error> {
        RunDir::create(&self.runs(), id)
    }

    /// All runs, newest first. A run that cannot be read is an entry with a problem.
    ///
    /// # Errors
    /// If the directory of runs is there and cannot be read.
    pub fn list(&self) -> Result<Vec<RunSummary>, Error> {
        self.list_newest(usize::MAX)
    }

    /// The newest `most` runs, newest first. Costs what it returns: names sort by time, and only the documents of the
    /// runs returned are opened.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list_newest(&self, most: usize) -> Result<Vec<RunSummary>, Error> {
        let runs = self.runs();
        let mut ids = self.ids()?;
        ids.truncate(most);
        let mut list: Vec<_> = ids.into_iter().map(|id| summarise(&runs, id)).collect();
        // A directory may have been renamed: where a document tells the time, it decides.
        list.sort_by(|a, b| (b.started_unix_ns, &b.id).cmp(&(a.started_unix_ns, &a.id)));
        Ok(list)
    }

    /// Names of all run directories, last first.
    fn ids(&self) -> Result<Vec<String>, Error> {
        let runs = self.runs();
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &runs)(e)),
        };
        let mut ids: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// Loads a run: `last` (the newest that ended), an id, the beginning of an id, or the path of a run directory or of
    /// a run document.
    ///
    /// # Errors
    /// If there is no such run or several, or its document is missing, damaged, of a newer version, or that of a suite.
    pub fn load(&self, name: &str) -> Result<Run, Error> {
        let path = self.locate(name)?;
        match load_document(&path)? {
            Document::Run(run) => Ok(*run),
            Document::Suite(_) => Err(Error::OfSuite { path }),
        }
    }

    /// The same, whatever sort of run it is.
    ///
    /// # Errors
    /// As [`Store::load`], but for that.
    pub fn document(&self, name: &str) -> Result<Document, Error> {
        self.locate(name).and_then(|path| load_document(&path))
    }

    /// The directory of the run that [`Store::load`] loads under this name, or of the document it reads.
    ///
    /// # Errors
    /// If there is no such run, or several.
    pub fn find(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.locate(name)?;
        Ok(path.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// Path of the document that a name stands for.
    fn locate(&self, name: &str) -> Result<PathBuf, Error> {
        let runs = self.runs();
        let document = |id: &str| runs.join(id).join(RUN_NAME);
        if name.contains('/') {
            return Ok(document_at(Path::new(name)));
        }
        let ids = self.ids()?;
        if name == "last" {
            let ended = ids.iter().find(|id| document(id).exists());
            return match ended.or(ids.first()) {
                Some(id) => Ok(document(id)),
                None => Err(self.not_found(name, &ids)),
            };
        }
        if ids.iter().any(|id| id == name) {
            return Ok(document(name));
        }
        let begins: Vec<&String> = match name {
            "" => Vec::new(),
            _ => ids.iter().filter(|id| id.starts_with(name)).collect(),
        };
        match begins[..] {
            [] if !name.is_empty() && Path::new(name).exists() => Ok(document_at(Path::new(name))),
            [] => Err(self.not_found(name, &ids)),
            [id] => Ok(document(id)),
            _ => Err(Error::Ambiguous {
                name: name.to_owned(),
                candidates: begins.into_iter().cloned().collect(),
            }),
        }
    }

    fn not_found(&self, name: &str, ids: &[String]) -> Error {
        // Half of the characters right is a mistyped name; less is another name.
        let nearest = ids
            .iter()
            .map(|id| (strsim::normalized_damerau_levenshtein(id, name), id))
            .filter(|&(similarity, _)| similarity >= 0.5)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, id)| id.clone());
        Error::NotFound {
            name: name.to_owned(),
            place: self.runs(),
            nearest,
        }
    }
}

/// Creates what is missing of a place for runs, and proves that it can be written.
fn prepare(root: &Path) -> io::Result<()> {
    let is_new = !root.exists();
    let runs = root.join("runs");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&runs)?;
    // Rights can be told only by trying: a mount may be read-only, a quota used up.
    let trial = runs.join(format!(".trial-{}", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&trial)?;
    let me = file.metadata().map(|m| m.uid());
    fs::remove_file(&trial)?;
    refuse_strangers(root, me?)?;

    let gitignore = root.join(".gitignore");
    let ours = is_new || root.file_name().is_some_and(|name| name == ".plimsoll");
    if ours && !gitignore.exists() {
        // Without it everything works: a run may show up in `git status`, no more.
        let _ = fs::write(&gitignore, "*\n");
    }
    Ok(())
}

/// In a directory where everybody may create names (`/tmp`), a name that is not ours may be a trap.
fn refuse_strangers(root: &Path, me: u32) -> io::Result<()> {
    const STICKY: u32 = 0o1000;
    let parent = match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let shared = fs::metadata(parent).is_ok_and(|m| m.mode() & STICKY != 0);
    let about = fs::symlink_metadata(root)?;
    if shared && (about.uid() != me || about.is_symlink()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to somebody else, in a directory that all may write",
        ));
    }
    Ok(())
}

/// The run document that a path means: itself, or the one in that directory.
fn document_at(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(RUN_NAME)
    } else {
        path.to_owned()
    }
}

fn summarise(runs: &Path, id: String) -> RunSummary {
    let path = runs.join(&id);
    let (state, head, problem) = match head::read(&path.join(RUN_NAME)) {
        Ok(head) => (RunState::Ended, Some(head), None),
        Err(HeadError::Missing) if is_being_written(&path) => (RunState::Running, None, None),
        Err(HeadError::Missing) => (RunState::Unfinished, None, None),
        Err(HeadError::Unreadable(problem)) => (RunState::Ended, None, Some(problem)),
    };
    RunSummary {
        started_unix_ns: head
            .as_ref()
            .map(|head| head.started_unix_ns)
            .or_else(|| started_of(&id)),
        id,
        path,
        state,
        head,
        problem,
    }
}

fn load_document(path: &Path) -> Result<Document, Error> {
    let read = Error::io("read", path);
    let bytes = match fs::metadata(path) {
        Ok(about) if about.len() > MAX_DOCUMENT => {
            return Err(Error::Malformed {
                path: path.to_owned(),
                line: 0,
                column: 0,
                message: format!("{} bytes are too many for a run document", about.len()),
            });
        }
        Ok(_) => fs::read(path).map_err(read)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(match path.parent() {
                Some(dir) if dir.is_dir() && path.ends_with(RUN_NAME) => Error::Unfinished {
                    id: dir
                        .file_name()
                        .map(|name| name.to_string_lossy().into_owned())
                        .unwrap_or_default(),
                    log: dir.join(LOG_NAME),
                },
                _ => read(e),
            });
        }
        Err(e) => return Err(read(e)),
    };
    let parsed = match head::schema_of(&bytes).as_deref() {
        Some(SUITE_SCHEMA) => parse(&bytes).map(|suite| Document::Suite(Box::new(suite))),
        Some(SCHEMA) | None => parse(&bytes).map(|run| Document::Run(Box::new(run))),
        Some(other) => {
            let versions = [("plimsoll.run/", SCHEMA), ("plimsoll.suite/", SUITE_SCHEMA)];
            let known = versions.iter().find(|(of, _)| other.starts_with(of));
            return Err(match known {
                Some((_, known)) => Error::Version {
                    path: path.to_owned(),
                    found: other.to_owned(),
                    known: (*known).to_owned(),
                },
                None => Error::Malformed {
                    path: path.to_owned(),
                    line: 1,
                    column: 1,
                    message: format!("schema `{other}` is not `{SCHEMA}`"),
                },
            });
        }
    };
    parsed.map_err(|e| Error::malformed(path, &e))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(json)
}
