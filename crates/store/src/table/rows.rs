//! Tables of delimited text: comma, semicolon, tab, or spaces.

use std::io::BufRead;

use super::assemble::Assembler;
use super::cells::{bare, number};
use super::lines::Lines;
use super::{Choice, Fault, Table, tools};

/// What stands between cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delimiter {
    Byte(u8),
    /// Any run of blanks.
    Blanks,
    /// Two blanks or more, as in tables printed for people: cells may hold one.
    Wide,
}

impl Delimiter {
    /// The delimiter of a header: the commonest of comma, semicolon and tab outside quotes, else blanks.
    fn of(line: &str) -> Self {
        let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
        let mut quoted = false;
        for byte in line.bytes() {
            quoted ^= byte == b'"';
            if let Some((_, n)) = counts.iter_mut().find(|(d, _)| *d == byte && !quoted) {
                *n += 1;
            }
        }
        counts
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .max_by_key(|(_, n)| *n)
            .map_or(Self::Blanks, |(d, _)| Self::Byte(d))
    }

    /// Cuts a line into cells, which it appends.
    pub(super) fn cut<'a>(self, line: &'a str, cells: &mut Vec<&'a str>) {
        match self {
            Self::Blanks => cells.extend(line.split_whitespace()),
            Self::Wide => cells.extend(line.split("  ").map(str::trim).filter(|c| !c.is_empty())),
            Self::Byte(byte) if !line.contains('"') => cells.extend(line.split(char::from(byte))),
            Self::Byte(byte) => {
                let (mut from, mut quoted) = (0, false);
                for (i, b) in line.bytes().enumerate() {
                    quoted ^= b == b'"';
                    if b == byte && !quoted {
                        cells.push(&line[from..i]);
                        from = i + 1;
                    }
                }
                cells.push(&line[from..]);
            }
        }
    }
}

/// Reads what begins with neither `{` nor `[`.
pub(super) fn read<R: BufRead>(mut lines: Lines<R>, choice: &Choice) -> Result<Vec<Table>, Fault> {
    let (number_of_first, first) = match lines.next()? {
        Some((number, line)) => (number, line.to_owned()),
        None => return Err(Fault::new(0, "the file is empty")),
    };
    if let Some(tool) = tools::recognise(&first) {
        return tool.read(number_of_first, &first, lines, choice);
    }
    let delimiter = if first.to_lowercase().contains("mem usage / limit") && !first.contains(',') {
        Delimiter::Wide
    } else {
        Delimiter::of(&first)
    };
    let header = first.trim_start_matches('#').trim_start();
    let mut cells = Vec::new();
    delimiter.cut(header, &mut cells);
    let docker = tools::docker_names(&cells);
    let headless = docker.is_some() || cells.iter().all(|c| number(bare(c)).is_some());
    let of_docker = docker.is_some()
        || cells.iter().any(|c| {
            let c = bare(c).to_lowercase();
            c == "memusage" || c == "mem usage / limit"
        });
    let names = docker.unwrap_or_else(|| cells.iter().map(|c| bare(c).to_owned()).collect());
    let width = names.len();
    let mut rows = Assembler::new(choice, number_of_first, names);
    if of_docker {
        rows.a_second_apart = Some(tools::DOCKER_PACE);
    }
    if headless {
        rows.row(number_of_first, &cells)?;
    }
    let mut shorter = 0;
    while let Some((number, line)) = lines.next()? {
        // Files that were appended to, and tools that print it again, repeat the header.
        if line == first && !headless {
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let mut cells = Vec::with_capacity(width);
        delimiter.cut(line, &mut cells);
        if cells.len() > width && cells[width..].iter().any(|c| !c.trim().is_empty()) {
            return Err(Fault::with_hint(
                number,
                format!("the row has {} cells, the header {width}", cells.len()),
                "put cells that hold the delimiter in quotes",
            ));
        }
        shorter += usize::from(cells.len() < width);
        rows.row(number, &cells)?;
    }
    if shorter > 0 {
        rows.notes.push(format!(
            "{shorter} rows are shorter than the header: what they lack is missing"
        ));
    }
    rows.finish()
}
