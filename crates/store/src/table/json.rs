//! JSON: one object per line, a list of objects, an answer of Prometheus, or a run of ours.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use serde::Deserialize;
use serde_json::Value;

use super::assemble::Assembler;
use super::columns::reading;
use super::lines::Lines;
use super::{Choice, Fault, Found, MOST_READINGS, Table, tools};

/// Largest document that is read whole, in bytes. Lines are streamed and have no such limit.
const LARGEST: u64 = 256 << 20;
/// Objects that are looked at for the names of columns.
const LOOKED_AT: usize = 50;
/// How deep objects in objects are looked into.
const DEEPEST: usize = 4;

/// Reads what begins with `{` or `[`; `head` is how it begins.
pub(super) fn read(head: &[u8], input: impl BufRead, choice: &Choice) -> Result<Found, Fault> {
    let head = String::from_utf8_lossy(head);
    let compact: String = head
        .chars()
        .take(4096)
        .filter(|c| !c.is_whitespace())
        .collect();
    if compact.starts_with("{\"schema\":\"plimsoll.run/") {
        let run = serde_json::from_reader(input.take(LARGEST)).map_err(broken)?;
        return Ok(Found::Run(Box::new(run)));
    }
    if compact.starts_with("{\"status\":") && compact.contains("\"data\":")
        || compact.starts_with("{\"status\":\"error\"")
        || compact.starts_with("{\"data\":{\"result")
    {
        return prometheus(input).map(Found::Tables);
    }
    if compact.starts_with('[') {
        return list(input, choice).map(Found::Tables);
    }
    lines(Lines::new(input), choice).map(Found::Tables)
}

fn broken(error: serde_json::Error) -> Fault {
    if error.is_io() {
        return Fault::Read(error.into());
    }
    let message = error.to_string();
    let what = message
        .rfind(" at line ")
        .map_or(message.as_str(), |at| &message[..at]);
    let hint = if error.is_eof() {
        "the end is missing: was the file cut off, or is it larger than 256 MiB?"
    } else {
        "JSON lines, a list of objects, an answer of Prometheus' query_range, or a run is expected"
    };
    Fault::with_hint(
        error.line(),
        format!("not the JSON that is expected: {what}"),
        hint,
    )
}

/// Cells of an object by name; objects within it are opened, lists are not readings.
fn flatten(prefix: &str, value: &Value, depth: usize, cells: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if depth < DEEPEST => {
            for (name, value) in fields {
                let name = if prefix.is_empty() {
                    name.clone()
                } else {
                    format!("{prefix}.{name}")
                };
                flatten(&name, value, depth + 1, cells);
            }
        }
        Value::String(text) => cells.push((prefix.to_owned(), text.clone())),
        Value::Number(number) => cells.push((prefix.to_owned(), number.to_string())),
        Value::Bool(flag) => cells.push((prefix.to_owned(), flag.to_string())),
        _ => {}
    }
}

/// Rows whose cells come with their names.
struct Objects<'a> {
    choice: &'a Choice,
    early: Vec<(usize, Vec<(String, String)>)>,
    open: Option<(BTreeMap<String, usize>, Assembler<'a>)>,
}

impl<'a> Objects<'a> {
    fn new(choice: &'a Choice) -> Self {
        Self {
            choice,
            early: Vec::new(),
            open: None,
        }
    }

    fn push(&mut self, line: usize, object: &Value) -> Result<(), Fault> {
        if !object.is_object() {
            return Err(Fault::with_hint(
                line,
                "an object is expected, like {\"t_s\": 1.5, \"bytes\": 1048576}",
                "write one object per reading",
            ));
        }
        let mut cells = Vec::new();
        flatten("", object, 0, &mut cells);
        if self.open.is_none() {
            self.early.push((line, cells));
            if self.early.len() >= LOOKED_AT {
                self.decide()?;
            }
            return Ok(());
        }
        self.row(line, &cells)
    }

    fn decide(&mut self) -> Result<(), Fault> {
        let mut places = BTreeMap::new();
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.early.iter().flat_map(|(_, cells)| cells) {
            if !places.contains_key(name) {
                places.insert(name.clone(), names.len());
                names.push(name.clone());
            }
        }
        let docker = ["MemUsage", "CPUPerc"]
            .iter()
            .all(|n| places.contains_key(*n));
        // One container is one series: of the names docker gives it, the first is enough.
        let line = self.early.first().map_or(1, |(line, _)| *line);
        let mut rows = Assembler::new(self.choice, line, names);
        if docker {
            rows.a_second_apart = Some(tools::DOCKER_PACE);
        }
        self.open = Some((places, rows));
        for (line, cells) in std::mem::take(&mut self.early) {
            self.row(line, &cells)?;
        }
        Ok(())
    }

    fn row(&mut self, line: usize, cells: &[(String, String)]) -> Result<(), Fault> {
        let Some((places, rows)) = &mut self.open else {
            return Ok(());
        };
        let mut row = vec![""; places.len()];
        for (name, cell) in cells {
            if let Some(place) = places.get(name) {
                row[*place] = cell;
            }
        }
        rows.row(line, &row)
    }

    fn finish(mut self) -> Result<Vec<Table>, Fault> {
        if self.open.is_none() {
            if self.early.is_empty() {
                return Err(Fault::new(0, "the file holds no readings"));
            }
            self.decide()?;
        }
        match self.open {
            Some((_, rows)) => rows.finish(),
            None => Ok(Vec::new()),
        }
    }
}

fn lines<R: BufRead>(mut lines: Lines<R>, choice: &Choice) -> Result<Vec<Table>, Fault> {
    let mut objects = Objects::new(choice);
    while let Some((number, line)) = lines.next()? {
        let object: Value = serde_json::from_str(line).map_err(|e| {
            let what = if e.is_eof() {
                "the line is no whole JSON object".to_owned()
            } else {
                let text = e.to_string();
                let what = text
                    .rfind(" at line ")
                    .map_or(text.as_str(), |at| &text[..at]);
                format!("not JSON at column {}: {what}", e.column())
            };
            Fault::with_hint(number, what, "write one object per line and reading")
        })?;
        objects.push(number, &object)?;
    }
    objects.finish()
}

fn list(input: impl Read, choice: &Choice) -> Result<Vec<Table>, Fault> {
    let all: Vec<Value> = serde_json::from_reader(input.take(LARGEST)).map_err(broken)?;
    let mut objects = Objects::new(choice);
    for (i, object) in all.iter().enumerate() {
        objects.push(i + 1, object)?;
    }
    objects.finish()
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    status: String,
    #[serde(default)]
    error: String,
    data: Option<Data>,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "resultType", default)]
    result_type: String,
    #[serde(default)]
    result: Vec<Stream>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

fn prometheus(input: impl Read) -> Result<Vec<Table>, Fault> {
    let answer: Answer = serde_json::from_reader(input.take(LARGEST)).map_err(broken)?;
    if answer.status == "error" {
        return Err(Fault::with_hint(
            0,
            format!(
                "Prometheus answered with an error: {}",
                super::columns::short(&answer.error)
            ),
            "correct the query and save its answer again",
        ));
    }
    let data = answer
        .data
        .ok_or_else(|| Fault::new(0, "the answer of Prometheus holds no data"))?;
    if data.result_type != "matrix" && !data.result_type.is_empty() {
        return Err(Fault::with_hint(
            0,
            format!(
                "the answer of Prometheus is a {}, one moment only",
                super::columns::short(&data.result_type)
            ),
            "ask `/api/v1/query_range` with start, end and step",
        ));
    }
    if data.result.is_empty() {
        return Err(Fault::with_hint(
            0,
            "the answer of Prometheus holds no series",
            "does the query match anything in that range of time?",
        ));
    }
    let total: usize = data.result.iter().map(|s| s.values.len()).sum();
    if total > MOST_READINGS {
        return Err(Fault::with_hint(
            0,
            format!("{total} readings are too many; the most is {MOST_READINGS}"),
            "ask for fewer series or a longer step",
        ));
    }
    data.result.iter().map(stream).collect()
}

fn stream(stream: &Stream) -> Result<Table, Fault> {
    let metric = stream.metric.get("__name__").cloned().unwrap_or_default();
    let labels: Vec<String> = stream
        .metric
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}=\"{value}\""))
        .collect();
    let name = if labels.is_empty() {
        metric.clone()
    } else {
        format!("{metric}{{{}}}", labels.join(","))
    };
    let name = if name.is_empty() {
        "series".to_owned()
    } else {
        name
    };
    let reading = reading(0, &metric);
    let start = stream
        .values
        .iter()
        .map(|(t, _)| *t)
        .fold(f64::INFINITY, f64::min);
    let mut table = Table {
        metric: reading.metric,
        assumptions: vec![
            "an answer of Prometheus".to_owned(),
            if reading.count {
                "the values count things".to_owned()
            } else {
                "the values are bytes".to_owned()
            },
        ],
        ..Table::default()
    };
    for (t, text) in &stream.values {
        let value: f64 = text.parse().map_err(|_| {
            Fault::new(
                0,
                format!(
                    "`{}` in series `{}` is no number",
                    super::columns::short(text),
                    super::columns::short(&name)
                ),
            )
        })?;
        if value < 0.0 {
            return Err(Fault::with_hint(
                0,
                format!(
                    "`{}` in series `{}` is negative, which no memory is",
                    super::columns::short(text),
                    super::columns::short(&name)
                ),
                "ask for the metric itself, not for its rate or derivative",
            ));
        }
        table.t_ns.push(((t - start) * 1e9) as u64);
        table
            .value
            .push(if value.is_finite() { value } else { f64::NAN });
    }
    table.name = name;
    Ok(table)
}
