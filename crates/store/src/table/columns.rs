//! What the columns of a table mean: by their names, the units in them, and their first cells.

use super::cells::{Stamp, bare, number, size, stamp, unit};
use super::{Choice, Fault};

/// How a cell of the time column becomes seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Clock {
    /// A number, of so many seconds a unit.
    Number(f64),
    /// A date with a time.
    Date,
    /// A time of day; midnight is passed where it falls back.
    OfDay,
    /// There is no such column: so many seconds from row to row.
    Rows(f64),
}

/// A column of readings.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) metric: Option<String>,
    /// Bytes of one unit, where the name says it.
    pub(super) scale: Option<f64>,
    /// Whether it counts things.
    pub(super) count: bool,
}

/// What each column is for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) time: usize,
    pub(super) clock: Clock,
    pub(super) readings: Vec<Reading>,
    pub(super) operations: Option<usize>,
    pub(super) load: Option<usize>,
    pub(super) collected: Option<usize>,
    pub(super) epoch: Option<usize>,
    pub(super) group: Option<usize>,
    pub(super) assumptions: Vec<String>,
}

/// Most columns a table may have.
pub(super) const MOST: usize = 2000;

const TIMES: [&str; 14] = [
    "t",
    "time",
    "timestamp",
    "ts",
    "date",
    "datetime",
    "at",
    "when",
    "clock",
    "seconds",
    "elapsed",
    "uptime",
    "epoch",
    "ms",
];
const OPERATIONS: [&str; 7] = [
    "ops",
    "operations",
    "requests",
    "iterations",
    "iteration",
    "created",
    "processed",
];
const LOADS: [&str; 5] = ["load", "sessions", "concurrency", "users", "vus"];
const GROUPS: [&str; 7] = [
    "pid",
    "container",
    "name",
    "pod",
    "instance",
    "process",
    "command",
];
const MEMORY: [&str; 17] = [
    "rss",
    "bytes",
    "mem",
    "memory",
    "heap",
    "live",
    "external",
    "real",
    "resident",
    "uss",
    "pss",
    "anon",
    "value",
    "used",
    "arraybuffers",
    "memusage",
    "rssanon",
];
/// A name with one of these is no reading of memory in use, whatever else it says.
const NOT_IN_USE: [&str; 16] = [
    "cpu",
    "percent",
    "pct",
    "limit",
    "virtual",
    "vsz",
    "vms",
    "virt",
    "total",
    "max",
    "peak",
    "swap",
    "free",
    "available",
    "perc",
    "disk",
];
const COUNTS: [&str; 12] = [
    "count",
    "handles",
    "fds",
    "fd",
    "descriptors",
    "threads",
    "goroutines",
    "listeners",
    "objects",
    "timers",
    "instances",
    "sockets",
];

/// The words of a name: `heapUsedMB` is `heap used mb`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut lower, mut open) = (false, false);
    for c in name.chars() {
        if c == '%' {
            words.push("percent".to_owned());
            open = false;
            continue;
        }
        if !c.is_alphanumeric() {
            open = false;
            continue;
        }
        if !open || (lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
        lower = c.is_lowercase();
        open = true;
    }
    // `kB` and `KiB` are one word each, though they look like two.
    for i in (1..words.len()).rev() {
        if words[i] == "b" && matches!(words[i - 1].as_str(), "k" | "ki" | "mi" | "gi" | "ti") {
            words[i - 1].push('b');
            words.remove(i);
        }
    }
    words
}

fn says(words: &[String], any: &[&str]) -> bool {
    words.iter().any(|w| any.contains(&w.as_str()))
}

/// What a name says of readings: the metric, the unit, whether it counts.
pub(super) fn reading(index: usize, name: &str) -> Reading {
    let words = words(name);
    let has = |any: &[&str]| says(&words, any);
    let scale = words
        .iter()
        .skip(usize::from(words.len() > 1))
        .filter(|w| w.len() > 1 || w.as_str() == "b")
        .find_map(|w| unit(w))
        .or_else(|| (words.len() == 1).then(|| unit(&words[0])).flatten());
    let count = scale.is_none() && has(&COUNTS) && !has(&["rss", "heap", "bytes", "memory"]);
    let metric = if count {
        Some(format!("column/{name}"))
    } else if has(&["rss", "resident", "real", "rssanon"]) {
        Some("rss".to_owned())
    } else if has(&["heap"]) {
        Some("heap_used".to_owned())
    } else if has(&["live"]) {
        Some("live_bytes".to_owned())
    } else if has(&["external", "arraybuffers"]) {
        Some("external".to_owned())
    } else {
        None
    };
    Reading {
        index,
        name: name.to_owned(),
        metric,
        scale,
        count,
    }
}

/// Seconds of one unit of a time, as its name says it.
fn time_unit(words: &[String]) -> Option<f64> {
    words.iter().rev().find_map(|w| match w.as_str() {
        "s" | "sec" | "secs" | "seconds" => Some(1.0),
        "ms" | "millis" | "milliseconds" => Some(1e-3),
        "us" | "micros" | "microseconds" => Some(1e-6),
        "ns" | "nanos" | "nanoseconds" => Some(1e-9),
        "min" | "mins" | "minutes" => Some(60.0),
        "h" | "hours" | "hour" => Some(3600.0),
        "days" | "day" => Some(86_400.0),
        _ => None,
    })
}

/// Seconds of one unit of a number that may count from 1970: by its size, for the years 2001 to 2286.
fn epoch_unit(value: f64) -> Option<(f64, &'static str)> {
    match value {
        v if (1e9..1e10).contains(&v) => Some((1.0, "seconds since 1970")),
        v if (1e12..1e13).contains(&v) => Some((1e-3, "milliseconds since 1970")),
        v if (1e15..1e16).contains(&v) => Some((1e-6, "microseconds since 1970")),
        v if (1e18..1e19).contains(&v) => Some((1e-9, "nanoseconds since 1970")),
        _ => None,
    }
}

/// The columns of a table and their first cells.
#[derive(Debug)]
pub(super) struct Sample<'a> {
    pub(super) names: &'a [String],
    pub(super) rows: &'a [(usize, Vec<String>)],
    /// Line of the header.
    pub(super) line: usize,
    /// Whether rows are known to be about a second apart if there is no time, and why.
    pub(super) a_second_apart: Option<&'static str>,
}

impl Sample<'_> {
    /// The first cell of a column that says anything.
    fn first(&self, column: usize) -> Option<&str> {
        self.rows
            .iter()
            .filter_map(|(_, row)| row.get(column).map(|c| bare(c)))
            .find(|c| !super::cells::is_missing(c))
    }

    /// The first cell of a column that is a time; of a column without one, the first that says anything.
    fn first_time(&self, column: usize) -> Option<&str> {
        self.rows
            .iter()
            .filter_map(|(_, row)| row.get(column).map(|c| bare(c)))
            .find(|c| number(c).is_some_and(f64::is_finite) || stamp(c).is_some())
            .or_else(|| self.first(column))
    }

    /// Whether most cells of a column are sizes. A single bad cell is an error of its row, not of the column.
    fn is_numeric(&self, column: usize) -> bool {
        let cells = || {
            self.rows
                .iter()
                .filter_map(|(_, row)| row.get(column).map(|c| bare(c)))
                .filter(|c| !super::cells::is_missing(c))
        };
        let good = cells().filter(|c| size(c).is_some()).count();
        good > 0 && good * 2 >= cells().count()
    }

    fn list(&self) -> String {
        const SHOWN: usize = 30;
        let mut list: Vec<String> = self
            .names
            .iter()
            .take(SHOWN)
            .map(|n| format!("`{}`", short(n)))
            .collect();
        if self.names.len() > SHOWN {
            list.push(format!("and {} more", self.names.len() - SHOWN));
        }
        list.join(", ")
    }

    /// The column a user named, by name or by its number from 1.
    fn named(&self, wanted: &str) -> Result<usize, Fault> {
        let lower = wanted.trim().to_lowercase();
        let exact = |n: &String| n.trim().to_lowercase() == lower;
        if let Some(at) = self.names.iter().position(exact) {
            if self.names.iter().skip(at + 1).any(exact) {
                return Err(Fault::with_hint(
                    self.line,
                    format!("several columns are named `{}`", short(wanted)),
                    "give the number of the column instead, counted from 1",
                ));
            }
            return Ok(at);
        }
        if let Ok(at) = wanted.trim().parse::<usize>()
            && (1..=self.names.len()).contains(&at)
        {
            return Ok(at - 1);
        }
        Err(Fault::new(
            self.line,
            format!(
                "there is no column `{}`; the columns are {}",
                short(wanted),
                self.list()
            ),
        ))
    }

    fn clock(&self, column: usize, words: &[String]) -> Result<(Clock, String), Fault> {
        let name = short(&self.names[column]);
        let Some(cell) = self.first_time(column) else {
            return Err(Fault::new(
                self.line,
                format!("the time column `{name}` is empty"),
            ));
        };
        let value = number(cell);
        match (value, stamp(cell)) {
            (None, Some(Stamp::Date(_))) => Ok((Clock::Date, format!("`{name}` is the time"))),
            (None, Some(Stamp::OfDay(_))) => {
                Ok((Clock::OfDay, format!("`{name}` is the time of day")))
            }
            (None, None) => Err(Fault::with_hint(
                self.rows.first().map_or(self.line, |(line, _)| *line),
                format!("`{}` in column `{name}` is no time", short(cell)),
                "seconds, milliseconds since 1970, HH:MM:SS and ISO 8601 are understood; `--time-column` names another column",
            )),
            (Some(value), _) => {
                if let Some((unit, what)) = epoch_unit(value) {
                    return Ok((
                        Clock::Number(unit),
                        format!("`{name}` is the time in {what}"),
                    ));
                }
                let unit = time_unit(words).unwrap_or(1.0);
                let word = match unit {
                    1e-3 => "milliseconds",
                    1e-6 => "microseconds",
                    1e-9 => "nanoseconds",
                    60.0 => "minutes",
                    3600.0 => "hours",
                    86_400.0 => "days",
                    _ => "seconds",
                };
                Ok((
                    Clock::Number(unit),
                    format!("`{name}` is the time in {word}"),
                ))
            }
        }
    }
}

/// Decides what each column is for.
pub(super) fn plan(sample: &Sample<'_>, choice: &Choice) -> Result<Plan, Fault> {
    let names = sample.names;
    let words: Vec<Vec<String>> = names.iter().map(|n| words(n)).collect();
    let mut assumptions = Vec::new();
    if names.len() > MOST {
        return Err(Fault::new(
            sample.line,
            format!("{} columns are too many; the most is {MOST}", names.len()),
        ));
    }
    let headless = names.iter().all(|n| number(bare(n)).is_some());
    if headless && choice.columns.is_empty() {
        return Err(Fault::with_hint(
            sample.line,
            format!(
                "the file has no header: its first line is {}",
                sample.list()
            ),
            "add one (`t_s,bytes`), or name columns by number: `--time-column 1 --column 2`",
        ));
    }
    let chosen: Vec<usize> = choice
        .columns
        .iter()
        .map(|c| sample.named(c))
        .collect::<Result<_, _>>()?;
    let (time, clock) = find_time(sample, &words, &chosen, choice, &mut assumptions)?;
    let free = |i: usize| i != time && !chosen.contains(&i);
    let only = |any: &[&str]| -> Vec<usize> {
        (0..names.len())
            .filter(|&i| free(i) && says(&words[i], any) && sample.is_numeric(i))
            .collect()
    };
    let single = |any: &[&str]| only(any).first().copied();
    let operations = only(&OPERATIONS);
    let load = single(&LOADS).filter(|i| Some(i) != operations.first());
    let collected = (0..names.len()).find(|&i| {
        free(i)
            && matches!(
                words[i].join("_").as_str(),
                "post_gc" | "collected" | "after_gc"
            )
    });
    let epoch = (0..names.len()).find(|&i| {
        free(i)
            && matches!(
                words[i].join("_").as_str(),
                "epoch" | "restart" | "restarts"
            )
    });
    if operations.len() > 1 {
        let list: Vec<String> = operations
            .iter()
            .map(|&i| format!("`{}`", short(&names[i])))
            .collect();
        assumptions.push(format!(
            "{} could all count operations: none was used",
            list.join(", ")
        ));
    }
    let operations = (operations.len() == 1).then(|| operations[0]);
    let taken = |i: usize| !free(i) || [operations, load, collected, epoch].contains(&Some(i));
    let group = GROUPS.iter().find_map(|g| {
        (0..names.len()).find(|&i| !taken(i) && words[i].len() <= 2 && says(&words[i], &[g]))
    });
    let group = group.filter(|&g| !says(&words[g], &MEMORY));
    let columns = if chosen.is_empty() {
        guess_readings(sample, &words, &|i| taken(i) || Some(i) == group)?
    } else {
        chosen
    };
    let readings: Vec<Reading> = columns.iter().map(|&i| reading(i, &names[i])).collect();
    for reading in &readings {
        assumptions.push(said(sample, reading));
    }
    for (column, what) in [
        (operations, "the operations so far"),
        (load, "the load"),
        (group, "what tells series apart"),
    ] {
        // Ours says what its columns are; only foreign names are a guess.
        if let Some(column) = column.filter(|&i| !matches!(names[i].as_str(), "ops" | "load")) {
            assumptions.push(format!("`{}` is {what}", short(&names[column])));
        }
    }
    Ok(Plan {
        time,
        clock,
        readings,
        operations,
        load,
        collected,
        epoch,
        group,
        assumptions,
    })
}

fn said(sample: &Sample<'_>, reading: &Reading) -> String {
    let name = short(&reading.name);
    let in_cells = sample
        .first(reading.index)
        .and_then(size)
        .is_some_and(|(_, unit)| unit.is_some());
    match reading.scale {
        _ if reading.count => format!("`{name}` counts things"),
        _ if in_cells => format!("`{name}` is the reading, with its unit"),
        Some(1024.0) => format!("`{name}` is the reading in KiB"),
        Some(1_048_576.0) => format!("`{name}` is the reading in MiB"),
        Some(1_073_741_824.0) => format!("`{name}` is the reading in GiB"),
        _ => format!("`{name}` is the reading in bytes"),
    }
}

fn find_time(
    sample: &Sample<'_>,
    words: &[Vec<String>],
    chosen: &[usize],
    choice: &Choice,
    assumptions: &mut Vec<String>,
) -> Result<(usize, Clock), Fault> {
    let found = match &choice.time_column {
        Some(name) => Some(sample.named(name)?),
        None if choice.interval_s.is_some() => None,
        // In the order of preference, and a name that is nothing but a time before one that holds the word.
        None => {
            let candidates = |i: &usize| {
                !chosen.contains(i)
                    && says(&words[*i], &TIMES)
                    && !says(
                        &words[*i],
                        &["cpu", "gc", "response", "latency", "user", "system"],
                    )
                    && sample.first_time(*i).is_some_and(|c| {
                        number(c).is_some_and(f64::is_finite) || stamp(c).is_some()
                    })
            };
            let all: Vec<usize> = (0..words.len()).filter(candidates).collect();
            all.iter().copied().min_by_key(|&i| {
                let rank = TIMES
                    .iter()
                    .position(|t| words[i].iter().any(|w| w == t))
                    .unwrap_or(TIMES.len());
                (rank, words[i].len(), i)
            })
        }
    };
    if let Some(column) = found {
        let (clock, said) = sample.clock(column, &words[column])?;
        assumptions.push(said);
        return Ok((column, clock));
    }
    if let Some(interval) = choice.interval_s {
        assumptions.push(format!("rows are {interval} s apart, as `--interval` says"));
        return Ok((usize::MAX, Clock::Rows(interval)));
    }
    if let Some(why) = sample.a_second_apart {
        assumptions.push(format!("no times: {why}, so rows are taken as 1 s apart"));
        return Ok((usize::MAX, Clock::Rows(1.0)));
    }
    Err(Fault::with_hint(
        sample.line,
        format!("no column is a time; the columns are {}", sample.list()),
        "name it with `--time-column NAME`, or say the time between rows: `--interval 1s`",
    ))
}

fn guess_readings(
    sample: &Sample<'_>,
    words: &[Vec<String>],
    taken: &dyn Fn(usize) -> bool,
) -> Result<Vec<usize>, Fault> {
    let numeric: Vec<usize> = (0..words.len())
        .filter(|&i| !taken(i) && sample.is_numeric(i) && !says(&words[i], &TIMES))
        .collect();
    // docker names its column `MEM USAGE / LIMIT`: cells that are pairs hold the use first.
    let in_use = |i: usize| {
        !says(&words[i], &NOT_IN_USE)
            || (says(&words[i], &["limit"]) && says(&words[i], &["usage"]))
    };
    let memory: Vec<usize> = numeric
        .iter()
        .copied()
        .filter(|&i| in_use(i) && says(&words[i], &MEMORY))
        .collect();
    let rest: Vec<usize> = numeric.iter().copied().filter(|&i| in_use(i)).collect();
    match (memory.as_slice(), rest.as_slice()) {
        ([], [one]) => Ok(vec![*one]),
        ([], []) => Err(Fault::with_hint(
            sample.line,
            format!(
                "no column is a reading of memory; the columns are {}",
                sample.list()
            ),
            "name it with `--column NAME`",
        )),
        ([], _) => Err(Fault::with_hint(
            sample.line,
            format!(
                "it is not clear which column is the reading; the columns are {}",
                sample.list()
            ),
            "name it with `--column NAME` (repeatable)",
        )),
        (some, _) if some.len() > 64 => Err(Fault::with_hint(
            sample.line,
            format!("{} columns could be readings of memory", some.len()),
            "name those to judge with `--column NAME` (repeatable)",
        )),
        (some, _) => Ok(some.to_vec()),
    }
}

/// Text of a stranger, fit for a message.
pub(super) fn short(text: &str) -> String {
    text.trim()
        .chars()
        .take(40)
        .flat_map(|c| {
            // Letters of any language are shown, what acts on a terminal is not.
            let shown = c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
            if shown {
                vec![c]
            } else {
                c.escape_default().collect()
            }
        })
        .collect()
}
