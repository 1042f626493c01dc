//! Reads series out of comma-separated files: `t_s,bytes[,ops][,load][,post_gc][,epoch]`, header required.
//!
//! What is missing is a gap, what makes no sense is an error with its line; nothing is guessed silently.

use std::fs;
use std::path::Path;

use crate::Error;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// The columns of one file, all of the same length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Nanoseconds; the smallest stamp of the file is 0.
    pub t_ns: Vec<u64>,
    /// Readings; NaN is a gap.
    pub value: Vec<f64>,
    /// Operations so far; NaN where not known.
    pub operations: Vec<f64>,
    /// Load level; empty if the file has none.
    pub load: Vec<f64>,
    /// Whether taken just after a forced collection; empty if the file does not say.
    pub collected: Vec<bool>,
    /// Process starts; empty if the file does not say for every row.
    pub epoch: Vec<u32>,
    /// What was assumed about the file, a phrase each.
    pub assumptions: Vec<String>,
}

/// Names a column may have, by its meaning.
const COLUMNS: [(&[&str], Column); 6] = [
    (
        &["t_s", "t", "time", "time_s", "seconds", "elapsed_s"],
        Column::Time,
    ),
    (
        &[
            "bytes",
            "value",
            "rss",
            "rss_bytes",
            "heap_used",
            "live_bytes",
        ],
        Column::Value,
    ),
    (
        &["ops", "operations", "requests", "iterations"],
        Column::Operations,
    ),
    (&["load", "sessions", "concurrency"], Column::Load),
    (&["post_gc", "collected"], Column::Collected),
    (&["epoch", "restart"], Column::Epoch),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Time,
    Value,
    Operations,
    Load,
    Collected,
    Epoch,
}

/// Reads a file.
///
/// # Errors
/// If it cannot be opened, is larger than 1 GiB, is no text, has no header with a time and a value column, or holds a
/// cell that is neither empty nor a number.
pub fn read(path: &Path) -> Result<Table, Error> {
    let bad = |line: usize, message: String| Error::Table {
        path: path.to_owned(),
        line,
        message,
        hint: None,
    };
    let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if size > LARGEST {
        return Err(bad(
            0,
            format!("{size} bytes are too many; the most is {LARGEST}"),
        ));
    }
    let bytes = fs::read(path).map_err(Error::io("read", path))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let text = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        let line = text.split(|b| *b == b'\n').count();
        bad(line, "not a text file".to_owned())
    })?;
    parse(&text, &bad)
}

fn parse(text: &str, bad: &dyn Fn(usize, String) -> Error) -> Result<Table, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(i, l)| (i + 1, l))
        .filter(|(_, l)| !l.trim().is_empty());
    let Some((number, header)) = lines.next() else {
        return Err(bad(0, "the file is empty".to_owned()));
    };
    let names: Vec<String> = header
        .split(',')
        .map(|c| c.trim().trim_matches('"').to_ascii_lowercase())
        .collect();
    let place = |wanted: Column| {
        let (aliases, _) = COLUMNS.iter().find(|(_, c)| *c == wanted)?;
        aliases
            .iter()
            .find_map(|alias| names.iter().position(|n| n == alias))
    };
    let (Some(time), Some(value)) = (place(Column::Time), place(Column::Value)) else {
        return Err(bad(
            number,
            format!(
                "the header `{}` names no time and value columns; expected `t_s,bytes`, optionally `ops,load,post_gc,epoch`",
                header.trim()
            ),
        ));
    };
    let (operations, load) = (place(Column::Operations), place(Column::Load));
    let (collected, epoch) = (place(Column::Collected), place(Column::Epoch));

    let mut seconds = Vec::new();
    let mut table = Table::default();
    let mut loads = Vec::new();
    let mut flags = Vec::new();
    let mut epochs = Vec::new();
    for (number, line) in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let cell = |column: Option<usize>| -> Result<f64, Error> {
            let Some(text) = column.and_then(|i| cells.get(i)).filter(|t| !t.is_empty()) else {
                return Ok(f64::NAN);
            };
            text.parse::<f64>()
                .map_err(|_| bad(number, format!("`{}` is no number", short(text))))
        };
        let at = cell(Some(time))?;
        if !at.is_finite() {
            return Err(bad(number, "the row has no time".to_owned()));
        }
        seconds.push(at);
        table.value.push(cell(Some(value))?);
        table.operations.push(cell(operations)?);
        loads.push(cell(load)?);
        flags.push(cell(collected)?);
        epochs.push(cell(epoch)?);
    }
    if seconds.is_empty() {
        return Err(bad(number, "the file has a header but no rows".to_owned()));
    }
    // A clock that jumps backwards must not make negative times; the judge mends the jump itself.
    let start = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    table.t_ns = seconds.iter().map(|s| ((s - start) * 1e9) as u64).collect();
    if loads.iter().any(|l| l.is_finite()) {
        table.load = loads;
    }
    if flags.iter().any(|f| f.is_finite()) {
        table.collected = flags.iter().map(|f| *f == 1.0).collect();
    }
    if epochs.iter().all(|e| e.is_finite()) {
        table.epoch = epochs.iter().map(|e| *e as u32).collect();
    }
    table.assumptions.push(format!(
        "`{}` is the time in seconds, `{}` the reading in bytes",
        names[time], names[value]
    ));
    Ok(table)
}

fn short(text: &str) -> String {
    text.chars()
        .take(40)
        .flat_map(char::escape_default)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn parsed(text: &str) -> Result<Table, String> {
        let bad = |line: usize, message: String| Error::Table {
            path: PathBuf::from("x.csv"),
            line,
            message,
            hint: None,
        };
        parse(text, &bad).map_err(|e| e.to_string())
    }

    #[test]
    fn empty_cells_are_gaps_and_unknown_columns_are_empty() {
        let table = parsed("t_s,bytes,ops\n10.0,100,\n10.5,,7\n").unwrap();
        assert_eq!(table.t_ns, [0, 500_000_000]);
        assert!(table.value[1].is_nan());
        assert_eq!(table.operations[1], 7.0);
        assert!(table.load.is_empty() && table.collected.is_empty() && table.epoch.is_empty());
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        for (text, part) in [
            ("", "empty"),
            ("a,b\n1,2\n", "names no time and value"),
            ("t_s,bytes\n", "no rows"),
            ("t_s,bytes\n1,2\n2,many\n", "x.csv:3: `many` is no number"),
            ("t_s,bytes\n,2\n", "no time"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
