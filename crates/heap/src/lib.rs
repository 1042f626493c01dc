//! Heap snapshots of V8: read fast, analysed as `DevTools` does, compared, and the holder of what grows named.
//!
//! Works on the snapshots of Node, Deno, Chromium and Electron, from a file or while they arrive, and on those of
//! `JavaScriptCore` as far as they go ([`Format`]). Bytes go in
//! ([`Snapshot`], [`Parser`]; [`Window`] for the earlier ones of several), [`Heap`] is the analysed snapshot
//! and [`Classes`] its class table.
//!
//! Deliberately absent: clocks, environment, threads, processes, the network, and any knowledge of what a
//! report looks like. Same bytes in, same answers out.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use plimsoll_heap::{Classes, Heap, Snapshot};
//!
//! let file = std::fs::File::open("after.heapsnapshot")?;
//! let heap = Heap::of(Snapshot::open(&file)?);
//! let classes = Classes::of(&heap);
//! let largest = classes.rows().max_by_key(|row| row.retained);
//! println!("{} bytes, most of them in {largest:?}", heap.total());
//! # Ok(())
//! # }
//! ```

mod attachment;
mod bits;
mod classes;
pub mod collections;
mod columns;
pub mod contexts;
pub mod culprit;
mod diff;
mod distances;
mod dominators;
mod ephemerons;
mod error;
mod essential;
mod growth;
mod heap;
mod map;
mod meta;
mod names;
mod parse;
mod redact;
mod shallow;
mod shapes;
mod sizes;
mod snapshot;
mod source;
pub mod source_map;
mod statistics;
mod strings;
mod survivors;
pub mod text;
mod window;

pub use classes::{Class, Classes};
pub use diff::{Base, Change};
pub use distances::{SYSTEM_DISTANCE, UNREACHED};
pub use error::Error;
pub use growth::Windows;
pub use heap::{Heap, Step};
pub use meta::{EdgeKind, Format, NodeKind};
pub use redact::{Redacted, redact};
pub use shapes::Shapes;
pub use snapshot::{Edge, Frame, Node, Parser, Place, Snapshot};
pub use statistics::Statistics;
pub use survivors::{Survivors, survivors};
pub use window::{Tally, Window, WindowParser};
