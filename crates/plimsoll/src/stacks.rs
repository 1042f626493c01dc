//! Stacks of what survived: grouped by where it was allocated, in words.

use std::fmt;
use std::path::Path;

#[cfg(feature = "memory-testing")]
use plimsoll_alloc::PublishedBlock;
use plimsoll_alloc::{Scope, Survivor};

/// Blocks allocated at one place that were still alive after the operations that allocated them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Survivors {
    /// Bytes of them per operation.
    pub bytes_per_op: f64,
    /// Blocks of them per operation.
    pub blocks_per_op: f64,
    /// The stack that allocated them, as return addresses, innermost first. [`Display`](fmt::Display) names its lines.
    pub frames: Vec<usize>,
    /// Its lines, of another process.
    named: Option<Vec<Line>>,
}

/// Sampled blocks alive at one moment, by stack.
#[derive(Debug, Default)]
pub(crate) struct Alive(Vec<Group>);

#[derive(Debug)]
struct Group {
    frames: Vec<usize>,
    blocks: f64,
    bytes: f64,
}

/// At most so many places are named.
const MOST: usize = 5;
/// And none that explains less than this share of what survived.
const LEAST_SHARE: f64 = 0.02;

impl Alive {
    /// What is alive of `scope`.
    pub(crate) fn of(scope: &Scope) -> Self {
        let mut alive = Self::default();
        scope.survivors(|block| alive.add(block));
        alive
    }

    /// What is alive of the process.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn of_process() -> Self {
        let mut alive = Self::default();
        plimsoll_alloc::survivors(|block| alive.add(block));
        alive
    }

    /// What was sampled of another process at this rate, and is alive.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn of_another(blocks: &[PublishedBlock], every: u64) -> Self {
        let mut alive = Self::default();
        for block in blocks.iter().filter(|block| block.every == every) {
            let frames: Vec<usize> = block.frames.iter().map(|frame| *frame as usize).collect();
            alive.count(&frames, block.weight(), block.size as usize);
        }
        alive
    }

    #[cfg(feature = "memory-testing")]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without what was alive before.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for group in &mut self.0 {
            let known = before.0.iter().find(|g| g.frames == group.frames);
            if let Some(known) = known {
                group.blocks -= known.blocks;
                group.bytes -= known.bytes;
            }
        }
        self
    }

    fn add(&mut self, block: &Survivor<'_>) {
        self.count(block.frames, block.weight(), block.size);
    }

    fn count(&mut self, frames: &[usize], weight: f64, size: usize) {
        let known = self.0.iter().position(|g| g.frames == frames);
        let at = known.unwrap_or_else(|| {
            self.0.push(Group {
                frames: frames.to_vec(),
                blocks: 0.0,
                bytes: 0.0,
            });
            self.0.len() - 1
        });
        self.0[at].blocks += weight;
        self.0[at].bytes += weight * size as f64;
    }

    /// The places that kept memory in each of two windows of `operations` operations, largest first: `self` was alive
    /// after the first of them, `later` after the second.
    pub(crate) fn survivors(&self, later: &Self, operations: u64) -> Vec<Survivors> {
        let both = 2.0 * operations.max(1) as f64;
        let mut kept = Vec::new();
        for group in &later.0 {
            let first = self.0.iter().find(|g| g.frames == group.frames);
            let first = first.map_or(0.0, |g| g.blocks);
            let second = group.blocks - first;
            // What one window kept and the other did not is a cache that filled, or the last result.
            if first.min(second) > 0.0 && first.min(second) >= 0.5 * first.max(second) {
                kept.push(Survivors {
                    bytes_per_op: group.bytes / both,
                    blocks_per_op: group.blocks / both,
                    frames: group.frames.clone(),
                    named: None,
                });
            }
        }
        kept.sort_by(|a, b| b.bytes_per_op.total_cmp(&a.bytes_per_op));
        let total: f64 = kept.iter().map(|kept| kept.bytes_per_op).sum();
        kept.retain(|kept| kept.bytes_per_op >= LEAST_SHARE * total);
        kept.truncate(MOST);
        kept
    }
}

/// A frame of the program under test.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    function: String,
    /// `src/store.rs:14`.
    place: String,
    /// Whether it is in a dependency.
    foreign: bool,
}

impl Survivors {
    /// `file:line` of the innermost line of the program itself, dependencies apart where there is one.
    pub fn place(&self) -> Option<String> {
        let lines = self.lines();
        let own = lines.iter().find(|line| !line.foreign);
        own.or(lines.first()).map(|line| line.place.clone())
    }

    fn lines(&self) -> Vec<Line> {
        self.named.clone().unwrap_or_else(|| lines(&self.frames))
    }

    /// Names the lines of another process.
    #[cfg(feature = "memory-testing")]
    pub(crate) fn name(&mut self, symbols: &mut plimsoll_native::Symbols) {
        let here = std::env::current_dir().unwrap_or_default();
        let frames = self.frames.iter();
        let named = frames.flat_map(|frame| symbols.frames(*frame as u64));
        let shown = named.filter_map(|frame| {
            let (file, number) = (frame.file?, frame.line?);
            shown_line(Path::new(&file), number, frame.function, &here)
        });
        self.named = Some(shown.collect());
    }
}

/// The line as it is shown, if it is the program's or a dependency's.
fn shown_line(file: &Path, number: u32, function: String, here: &Path) -> Option<Line> {
    // The line of `#[global_allocator]` is the program's by its file alone.
    let is_between = is_standard(file)
        || lies_beside(file, plimsoll_alloc::SOURCE)
        || function.starts_with("__rust");
    (!is_between).then(|| Line {
        function,
        place: format!(
            "{}:{number}",
            file.strip_prefix(here).unwrap_or(file).display()
        ),
        foreign: is_foreign(file),
    })
}

/// Files of ours whose functions an operation calls, instead of being called by them.
const IN_BETWEEN: [&str; 5] = ["arc.rs", "cache.rs", "gauge.rs", "monitor.rs", "track.rs"];

/// Most lines shown of a stack.
const MOST_LINES: usize = 8;

impl fmt::Display for Survivors {
    /// The lines of the stack, one each, innermost first; of the program and its dependencies only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        if lines.is_empty() {
            return write!(
                f,
                "a place without debug information (`debug = \"line-tables-only\"` in the profile names it)"
            );
        }
        for (number, line) in lines.iter().take(MOST_LINES).enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}  {}", line.place, line.function)?;
        }
        Ok(())
    }
}

fn lines(frames: &[usize]) -> Vec<Line> {
    let here = std::env::current_dir().unwrap_or_default();
    let mut lines = Vec::new();
    for frame in frames {
        let mut is_harness = false;
        backtrace::resolve(*frame as *mut _, |symbol| {
            let (Some(file), Some(number)) = (symbol.filename(), symbol.lineno()) else {
                return;
            };
            // Below the operation there is only what called it. (By files: what was inlined has lost its full name.)
            let is_type = IN_BETWEEN.iter().any(|name| file.ends_with(name));
            let is_ours = lies_beside(file, file!());
            is_harness |= is_ours && !is_type;
            if is_ours {
                return;
            }
            let name = symbol.name().map(|name| format!("{name:#}"));
            let function = name.unwrap_or_else(|| "?".to_owned());
            lines.extend(shown_line(file, number, function, &here));
        });
        if is_harness {
            break;
        }
    }
    lines
}

/// Whether a file of the debug information is in the folder of a file as the compiler names it, or below: from the root of
/// its workspace, or of the file system.
fn lies_beside(file: &Path, source: &str) -> bool {
    let Some(folder) = Path::new(source).parent() else {
        return false;
    };
    file.ancestors().skip(1).any(|of| of.ends_with(folder))
}

/// The standard library, as shipped (`/rustc/HASH/library`) or from the component `rust-src`.
fn is_standard(file: &Path) -> bool {
    file.starts_with("/rustc") || file.components().any(|part| part.as_os_str() == "rustlib")
}

/// A dependency from a registry or a repository.
fn is_foreign(file: &Path) -> bool {
    let is = |name: &str| file.components().any(|part| part.as_os_str() == name);
    is(".cargo") || (is("registry") && is("src"))
}
