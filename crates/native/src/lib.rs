//! Names addresses in the memory of a native program: which function, in which file, at which line.
//!
//! The program need not run any more: what is asked for is where its files were mapped ([`Symbols::new`] takes the text of
//! `/proc/PID/maps`) and those files. Debug information is read where it is there (`debug = "line-tables-only"` suffices);
//! without it functions have names, in a stripped program not even these.
//!
//! This neither unwinds stacks nor decides which of them matter.
//!
//! ```
//! let maps = std::fs::read_to_string("/proc/self/maps")?;
//! let mut symbols = plimsoll_native::Symbols::new(&maps, "/");
//! assert!(symbols.frames(0).is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

mod maps;
mod program;

use std::collections::BTreeMap;
use std::path::PathBuf;

use maps::Mapping;
use program::Program;

/// A line of a program that was being executed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    /// The function's name, demangled, without its hash.
    pub function: String,
    /// The file as the compiler names it, if known.
    pub file: Option<String>,
    /// The line in it, if known.
    pub line: Option<u32>,
}

/// Names the addresses of one process.
pub struct Symbols {
    mappings: Vec<Mapping>,
    /// Where its files are: another root than ours if it has files of its own.
    root: PathBuf,
    /// What was opened; `None` could not be.
    programs: BTreeMap<String, Option<Program>>,
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Symbols")
            .field("mappings", &self.mappings.len())
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Symbols {
    /// Of a process with these mappings (the text of its `maps`), whose files are below `root`.
    pub fn new(maps: &str, root: impl Into<PathBuf>) -> Self {
        Self {
            mappings: maps::parse(maps),
            root: root.into(),
            programs: BTreeMap::new(),
        }
    }

    /// The lines that the return address stands for, innermost first: several where functions were inlined, none where
    /// nothing is known.
    pub fn frames(&mut self, return_address: u64) -> Vec<Frame> {
        // The call is before where it returns to.
        let Some(address) = return_address.checked_sub(1) else {
            return Vec::new();
        };
        let covers = |m: &&Mapping| m.range.contains(&address);
        let Some(mapping) = self.mappings.iter().find(covers) else {
            return Vec::new();
        };
        let opened = self
            .programs
            .entry(mapping.path.clone())
            .or_insert_with(|| {
                let below_root = mapping.path.trim_start_matches('/');
                Program::open(&self.root.join(below_root))
            });
        let in_file = address - mapping.range.start + mapping.offset;
        opened
            .as_ref()
            .map_or_else(Vec::new, |program| program.frames(in_file))
    }
}
