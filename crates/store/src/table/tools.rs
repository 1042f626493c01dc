//! Logs of tools that are no plain tables: psrecord, pidstat, mprof, and docker stats without a header.

use std::io::BufRead;

use super::assemble::Assembler;
use super::cells::{Stamp, bare, is_pair, stamp};
use super::lines::Lines;
use super::{Choice, Fault, Table};

/// Why rows of docker stats may be taken as a second apart.
pub(super) const DOCKER_PACE: &str = "docker stats prints about once a second";

/// A log recognised by its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    /// `psrecord --log`: seconds, CPU, resident and virtual MiB.
    Psrecord,
    /// `pidstat -r`, with `-h` or `-H` or without.
    Pidstat,
    /// `mprof run`: `MEM mebibytes seconds`, `CHLD index mebibytes seconds`.
    Mprof,
}

/// The tool that writes such a first line.
pub(super) fn recognise(first: &str) -> Option<Tool> {
    let words: Vec<&str> = first.split_whitespace().collect();
    match words.as_slice() {
        ["#", "Elapsed", "time", ..] => Some(Tool::Psrecord),
        ["Linux", _, host, ..] if host.starts_with('(') => Some(Tool::Pidstat),
        ["#", "Time", rest @ ..] | [_, rest @ ..] if is_pidstat(rest) => Some(Tool::Pidstat),
        ["CMDLINE", ..] => Some(Tool::Mprof),
        ["MEM", mebibytes, seconds]
            if mebibytes.parse::<f64>().is_ok() && seconds.parse::<f64>().is_ok() =>
        {
            Some(Tool::Mprof)
        }
        _ => None,
    }
}

fn is_pidstat(words: &[&str]) -> bool {
    ["PID", "RSS", "VSZ"].iter().all(|w| words.contains(w))
}

/// The names of the columns of docker stats, if a first line is one of its rows: a pair of sizes among the cells.
pub(super) fn docker_names(cells: &[&str]) -> Option<Vec<String>> {
    let memory = cells.iter().position(|c| is_pair(bare(c)))?;
    let name = cells.iter().position(|c| {
        let c = bare(c);
        !c.is_empty() && !is_pair(c) && !c.ends_with('%') && stamp(c).is_none()
    });
    let names = cells.iter().enumerate().map(|(i, c)| {
        if i == memory {
            "MemUsage".to_owned()
        } else if Some(i) == name && super::cells::number(bare(c)).is_none() {
            "Name".to_owned()
        } else if stamp(bare(c)).is_some() {
            "time".to_owned()
        } else {
            format!("column {}", i + 1)
        }
    });
    Some(names.collect())
}

impl Tool {
    pub(super) fn read<R: BufRead>(
        self,
        number: usize,
        first: &str,
        lines: Lines<R>,
        choice: &Choice,
    ) -> Result<Vec<Table>, Fault> {
        match self {
            Self::Psrecord => psrecord(number, lines, choice),
            Self::Pidstat => pidstat(number, first, lines, choice),
            Self::Mprof => mprof(number, first, lines, choice),
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn psrecord<R: BufRead>(
    number: usize,
    mut lines: Lines<R>,
    choice: &Choice,
) -> Result<Vec<Table>, Fault> {
    let names = owned(&["Elapsed time", "CPU (%)", "Real (MB)", "Virtual (MB)"]);
    let mut rows = Assembler::new(choice, number, names);
    rows.notes.push("a log of psrecord".to_owned());
    while let Some((number, line)) = lines.next()? {
        if line.starts_with('#') {
            continue;
        }
        let cells: Vec<&str> = line.split_whitespace().take(4).collect();
        rows.row(number, &cells)?;
    }
    rows.finish()
}

/// The time at the head of a line of pidstat, in one word or two (`05:14:01 PM`), and the rest.
fn leading_time<'a>(words: &'a [&'a str]) -> Option<(String, &'a [&'a str])> {
    match words {
        [time, half @ ("AM" | "PM"), rest @ ..] => Some((format!("{time} {half}"), rest)),
        [time, rest @ ..]
            if time.parse::<f64>().is_ok() || matches!(stamp(time), Some(Stamp::OfDay(_))) =>
        {
            Some(((*time).to_owned(), rest))
        }
        _ => None,
    }
}

fn pidstat<R: BufRead>(
    number: usize,
    first: &str,
    mut lines: Lines<R>,
    choice: &Choice,
) -> Result<Vec<Table>, Fault> {
    let mut rows = Assembler::new(choice, number, owned(&["Time", "RSS (KiB)", "process"]));
    rows.notes.push("a log of pidstat".to_owned());
    // Where process, memory and command stand behind the time.
    let mut places: Option<(usize, usize, usize)> = None;
    let mut next = Some((number, first.to_owned()));
    while let Some((number, line)) = next.take() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let header = match words.as_slice() {
            ["#", "Time", rest @ ..] => Some(rest),
            _ => leading_time(&words).map(|(_, rest)| rest),
        }
        .filter(|rest| is_pidstat(rest));
        if let Some(header) = header {
            let at = |name: &str| header.iter().position(|w| *w == name);
            places = at("PID")
                .zip(at("RSS"))
                .map(|(pid, rss)| (pid, rss, header.len() - 1));
        } else if words
            .first()
            .is_some_and(|w| *w != "Linux" && *w != "Average:" && *w != "#")
        {
            let Some((pid, rss, command)) = places else {
                return Err(Fault::with_hint(
                    number,
                    "the log of pidstat has no column RSS",
                    "record it with `pidstat -r -h`",
                ));
            };
            let Some((time, cells)) = leading_time(&words) else {
                return Err(Fault::with_hint(
                    number,
                    "the row has no time",
                    "record it with `pidstat -r -h`",
                ));
            };
            let cell = |i: usize| cells.get(i).copied().unwrap_or("");
            let process = format!("{} {}", cell(pid), cell(command));
            rows.row(number, &[time.as_str(), cell(rss), process.trim()])?;
        }
        next = lines
            .next()?
            .map(|(number, line)| (number, line.to_owned()));
    }
    rows.finish()
}

fn mprof<R: BufRead>(
    number: usize,
    first: &str,
    mut lines: Lines<R>,
    choice: &Choice,
) -> Result<Vec<Table>, Fault> {
    let mut rows = Assembler::new(choice, number, owned(&["time", "memory (MiB)", "process"]));
    rows.notes.push("a recording of mprof".to_owned());
    let mut next = Some((number, first.to_owned()));
    while let Some((number, line)) = next.take() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["MEM", mebibytes, seconds] => rows.row(number, &[*seconds, *mebibytes, "main"])?,
            ["CHLD", index, mebibytes, seconds] => {
                rows.row(number, &[*seconds, *mebibytes, &format!("child {index}")])?;
            }
            // Stamps of functions and the command are not readings.
            ["CMDLINE" | "FUNC", ..] => {}
            _ => {
                return Err(Fault::with_hint(
                    number,
                    "the line is none that mprof writes",
                    "`MEM`, `CHLD`, `FUNC` or `CMDLINE` is expected at its head; was the file cut off?",
                ));
            }
        }
        next = lines
            .next()?
            .map(|(number, line)| (number, line.to_owned()));
    }
    rows.finish()
}
