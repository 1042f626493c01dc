//! Keeps runs: nothing that was recorded is lost, and nothing that is broken takes the rest with it.
//!
//! A run is a directory `runs/ID/` with `run.json` (the [`Run`](plimsoll_model::Run), the truth from which reports are
//! rendered), `samples.plog` (every reading, append-only, see `FORMAT.md`) and whatever else the run kept. There is no
//! index: a listing scans the directories, so there is nothing that could disagree with them.
//!
//! The store has no clock and no opinion. Times come in with the records, names of directories come from the caller,
//! and a run that cannot be read is an entry with a problem, never an error for all others.
//!
//! ```
//! use plimsoll_model::{Metric, Ns, Sample, SourceId};
//! use plimsoll_store::{Record, Recorder, Store, read_log, run_id};
//!
//! let place = tempfile::tempdir()?;
//! let store = Store::open(&[place.path().join(".plimsoll")])?;
//! let dir = store.create_run(&run_id(1_795_238_040_000_000_000, 4121))?;
//! let recorder = Recorder::start(Some(&dir), 1_795_238_040_000_000_000)?;
//! recorder.handle().sample(Sample { at: Ns(1_000), source: SourceId(0), metric: Metric::RSS, value: 4096.0 });
//! let recorded = recorder.close();
//! assert_eq!(recorded.bands.len(), 1);
//! assert!(read_log(&dir.log_path())?.any(|record| matches!(record, Record::Sample(s) if s.value == 4096.0)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod band;
mod catalogue;
mod coder;
mod column;
mod decode;
mod encode;
mod error;
mod export;
mod first;
mod frame;
mod head;
mod id;
mod pack;
mod record;
mod recorder;
mod run_dir;
mod stream;
mod surprise;
pub mod table;
mod times;
mod writer;

#[cfg(test)]
mod properties;

pub use catalogue::{Document, Store};
pub use decode::{LogReader, read_log};
pub use error::Error;
pub use export::{ExportFormat, Exported, export};
pub use id::run_id;
pub use record::Record;
pub use recorder::{Recorded, Recorder, RecorderHandle};
pub use run_dir::{LOG_NAME, RUN_NAME, RunDir};
