//! Reads series out of files that others wrote: tables with delimiters, logs of other tools, JSON.
//!
//! What a column means is guessed from its name, its cells and its unit, and every guess is said in
//! [`Table::assumptions`]. Where the guess is not clear the file is refused with a list of its columns. Readers stream:
//! memory is bounded whatever the file holds, and no bytes make them panic.
//!
//! | format | recognised by | file |
//! |---|---|---|
//! | any delimited table, ours among them | its header | `rows.rs` |
//! | psrecord, pidstat, mprof, docker stats | their first line | `tools.rs` |
//! | JSON lines, lists of objects, Prometheus, runs | `{` or `[` | `json.rs` |

mod assemble;
mod cells;
mod columns;
mod json;
mod lines;
mod rows;
mod tools;
mod torn;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use plimsoll_model::Run;

use crate::Error;

/// Most readings that are kept of a file; longer ones are thinned, keeping the lower of each two.
const MOST_READINGS: usize = 10_000_000;
/// Most bytes that are read, unpacked; an archive can hold any number of them.
const MOST_BYTES: u64 = 64 << 30;
/// What the format is recognised by.
const HEAD: u64 = 1 << 16;

/// What the caller knows about a file.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The column of times, by name or by its number from 1.
    pub time_column: Option<String>,
    /// The columns of readings, by name or by number. Empty = guess.
    pub columns: Vec<String>,
    /// Seconds between rows, for tables without times.
    pub interval_s: Option<f64>,
}

/// One series of a file. Columns are of the length of `t_ns`, or empty where the file does not have them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What tells it from the other series of the file: its column, process or labels.
    pub name: String,
    /// The metric it is by its name, as [`Metric`](plimsoll_model::Metric) names it; `None` = the name says nothing.
    pub metric: Option<String>,
    /// Nanoseconds; the smallest stamp of the series is 0.
    pub t_ns: Vec<u64>,
    /// Readings in bytes, or counts; NaN is a gap.
    pub value: Vec<f64>,
    /// Operations so far; NaN where not known.
    pub operations: Vec<f64>,
    /// Load level.
    pub load: Vec<f64>,
    /// Whether taken just after a forced collection.
    pub collected: Vec<bool>,
    /// Process starts.
    pub epoch: Vec<u32>,
    /// What was assumed and mended, a phrase each.
    pub assumptions: Vec<String>,
}

/// What a file holds.
#[derive(Debug)]
pub enum Found {
    /// Series, at least one.
    Tables(Vec<Table>),
    /// A run that plimsoll recorded.
    Run(Box<Run>),
}

/// Why a file cannot be read as series, without its name.
#[derive(Debug)]
enum Fault {
    Content {
        /// Counted from 1; 0 = the file as a whole.
        line: usize,
        message: String,
        hint: Option<&'static str>,
    },
    Read(std::io::Error),
}

impl Fault {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self::Content {
            line,
            message: message.into(),
            hint: None,
        }
    }

    fn with_hint(line: usize, message: impl Into<String>, hint: &'static str) -> Self {
        Self::Content {
            line,
            message: message.into(),
            hint: Some(hint),
        }
    }

    fn named(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Content {
                line,
                message,
                hint,
            } => Error::Table {
                path,
                line,
                message,
                hint,
            },
            Self::Read(source) => match source.kind() {
                std::io::ErrorKind::UnexpectedEof => Error::Table {
                    path,
                    line: 0,
                    message: "the compressed data ends early".to_owned(),
                    hint: Some(
                        "the file was cut off: copy it again, or unpack what there is of it",
                    ),
                },
                std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => {
                    Error::Table {
                        path,
                        line: 0,
                        message: format!("the compressed data is damaged ({source})"),
                        hint: Some("copy the file again"),
                    }
                }
                _ => Error::Io {
                    what: "read",
                    path,
                    source,
                },
            },
        }
    }
}

/// Reads a file, packed with gzip or not.
///
/// # Errors
/// If it cannot be opened or holds no series; each with the line, what is wrong there, and mostly what to do.
pub fn read(path: &Path, choice: &Choice) -> Result<Found, Error> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    read_from(file, path, choice)
}

/// Reads a stream; `name` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn read_from(input: impl Read, name: &Path, choice: &Choice) -> Result<Found, Error> {
    unpack(input, choice).map_err(|fault| fault.named(name))
}

fn unpack(mut input: impl Read, choice: &Choice) -> Result<Found, Fault> {
    let mut magic = Vec::with_capacity(4);
    input
        .by_ref()
        .take(4)
        .read_to_end(&mut magic)
        .map_err(Fault::Read)?;
    let whole = Cursor::new(magic.clone()).chain(input);
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => {
            let torn = Cell::new(false);
            let unpacked = MultiGzDecoder::new(BufReader::new(whole));
            let mut found = recognise(torn::Torn::new(unpacked, &torn), choice)?;
            if let (Found::Tables(tables), true) = (&mut found, torn.get()) {
                for table in tables {
                    table.assumptions.push(
                        "the compressed file ends early: read up to its last whole line".to_owned(),
                    );
                }
            }
            Ok(found)
        }
        [0x28, 0xb5, 0x2f, 0xfd] => Err(packed("zstd", "unpack it first: `zstd -d`")),
        [b'P', b'K', 3, 4] => Err(packed("a zip archive", "unpack it first")),
        [0xfd, b'7', b'z', b'X'] => Err(packed("xz", "unpack it first: `xz -d`")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(Fault::with_hint(
            1,
            "the text is UTF-16",
            "convert it: `iconv -f UTF-16 -t UTF-8`",
        )),
        _ => recognise(whole, choice),
    }
}

fn packed(what: &str, hint: &'static str) -> Fault {
    Fault::with_hint(0, format!("the file is packed ({what})"), hint)
}

fn recognise(input: impl Read, choice: &Choice) -> Result<Found, Fault> {
    let mut input = input.take(MOST_BYTES);
    let mut head = Vec::new();
    input
        .by_ref()
        .take(HEAD)
        .read_to_end(&mut head)
        .map_err(Fault::Read)?;
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    let mut plain = text.to_vec();
    lines::strip_escapes(&mut plain);
    let first = plain.iter().find(|b| !b.is_ascii_whitespace()).copied();
    let skipped = head.len() - text.len();
    let rest = BufReader::with_capacity(1 << 16, Cursor::new(&head[skipped..]).chain(input));
    match first {
        None => Err(Fault::with_hint(
            0,
            "the file is empty",
            "was anything recorded? a header and one row per reading are expected",
        )),
        Some(b'{' | b'[') => json::read(&plain, rest, choice),
        Some(_) => rows::read(lines::Lines::new(rest), choice).map(Found::Tables),
    }
}
