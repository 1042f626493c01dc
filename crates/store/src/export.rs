//! A log as a table or as lines of JSON, for other tools. Streams; memory is bounded by the number of series.
//!
//! Wall times are those that the wall clock showed: each reading's monotonic time is laid onto the last clock record before
//! it, so a clock that was set and a machine that slept are right on both sides of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use plimsoll_model::{Metric, Ns, Sample, Source, SourceId, units};
use serde_json::{Map, Value, json};

use crate::{Error, Record, read_log};

/// How a log is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A table: a row for each source and moment, a column for each metric.
    Csv,
    /// A line of JSON for each row and each event.
    JsonLines,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exported {
    /// Rows of readings.
    pub rows: u64,
    /// Bytes at the end of the log that could not be read: see [`LogReader::torn_bytes`](crate::LogReader::torn_bytes).
    pub torn_bytes: u64,
    /// Whether the recorder closed the log in good order.
    pub is_closed: bool,
}

/// Writes a log out. With `metrics`, only those; events are always all written where the format has room for them.
///
/// # Errors
/// If the log cannot be read, has none of a metric asked for, or `out` refuses.
pub fn export(
    log: &Path,
    format: ExportFormat,
    metrics: &[String],
    out: &mut dyn Write,
) -> Result<Exported, Error> {
    let known = metrics_of(log)?;
    if let Some(unknown) = metrics.iter().find(|m| !known.contains(m.as_str())) {
        return Err(Error::NoMetric {
            name: unknown.clone(),
            known: known.into_iter().collect(),
        });
    }
    let columns: Vec<String> = known
        .into_iter()
        .filter(|name| metrics.is_empty() || metrics.contains(name))
        .collect();
    let mut writer = Writer {
        format,
        columns,
        out,
        clock: (Ns(0), 0),
        sources: BTreeMap::new(),
        open: None,
        rows: 0,
    };
    let refused = |source: io::Error| Error::Io {
        what: "write",
        path: "the export".into(),
        source,
    };
    let mut reader = read_log(log)?;
    writer.head().map_err(refused)?;
    for record in reader.by_ref() {
        writer.take(record).map_err(refused)?;
    }
    writer.end_row().map_err(refused)?;
    writer.out.flush().map_err(refused)?;
    Ok(Exported {
        rows: writer.rows,
        torn_bytes: reader.torn_bytes(),
        is_closed: reader.is_closed(),
    })
}

/// Names of all metrics of a log.
fn metrics_of(log: &Path) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    for record in read_log(log)? {
        if let Record::Sample(sample) = record
            && !names.contains(sample.metric.as_str())
        {
            names.insert(sample.metric.as_str().to_owned());
        }
    }
    Ok(names)
}

struct Writer<'a> {
    format: ExportFormat,
    columns: Vec<String>,
    out: &'a mut dyn Write,
    /// A moment of the run, and what the wall clock said then.
    clock: (Ns, u64),
    sources: BTreeMap<SourceId, Source>,
    /// The row that is being collected.
    open: Option<Row>,
    rows: u64,
}

/// Readings of one source at one moment.
struct Row {
    at: Ns,
    source: SourceId,
    values: Vec<(Metric, f64)>,
}

impl Writer<'_> {
    fn head(&mut self) -> io::Result<()> {
        if self.format == ExportFormat::Csv {
            write!(self.out, "time,elapsed_s,source,pid,isolate,role")?;
            for column in &self.columns {
                write!(self.out, ",{}", quoted(column))?;
            }
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn take(&mut self, record: Record) -> io::Result<()> {
        let Record::Sample(Sample {
            at,
            source,
            metric,
            value,
        }) = record
        else {
            self.end_row()?;
            match &record {
                Record::Clock { at, unix_ns } => self.clock = (*at, *unix_ns),
                Record::Source(source) => {
                    self.sources.insert(source.id, source.clone());
                }
                _ => {}
            }
            return self.event(&record);
        };
        if !self.columns.iter().any(|c| c == metric.as_str()) {
            return Ok(());
        }
        match &mut self.open {
            Some(row)
                if row.at == at
                    && row.source == source
                    && row.values.iter().all(|(known, _)| *known != metric) =>
            {
                row.values.push((metric, value));
            }
            _ => {
                self.end_row()?;
                self.open = Some(Row {
                    at,
                    source,
                    values: vec![(metric, value)],
                });
            }
        }
        Ok(())
    }

    fn unix_ns(&self, at: Ns) -> u64 {
        let (then, unix_ns) = self.clock;
        if at >= then {
            unix_ns.saturating_add(at.0 - then.0)
        } else {
            unix_ns.saturating_sub(then.0 - at.0)
        }
    }

    fn end_row(&mut self) -> io::Result<()> {
        let Some(Row {
            at,
            source: id,
            values,
        }) = self.open.take()
        else {
            return Ok(());
        };
        self.rows += 1;
        let time = units::timestamp(self.unix_ns(at));
        let source = self.sources.get(&id);
        let pid = source.map(|s| s.process.pid);
        let isolate = source.and_then(|s| s.isolate);
        let role = source.map_or("", |s| s.role.as_str());
        match self.format {
            ExportFormat::Csv => {
                let number = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
                write!(
                    self.out,
                    "{time},{:.6},{},{},{},{role}",
                    at.as_secs_f64(),
                    id.0,
                    number(pid),
                    number(isolate),
                )?;
                for column in &self.columns {
                    let value = values.iter().find(|(m, _)| m.as_str() == column);
                    match value {
                        Some((_, value)) if value.is_finite() => write!(self.out, ",{value}")?,
                        _ => self.out.write_all(b",")?,
                    }
                }
                self.out.write_all(b"\n")
            }
            ExportFormat::JsonLines => {
                // A number that is none is a gap: null.
                let values: Map<String, Value> = values
                    .into_iter()
                    .map(|(metric, value)| (metric.as_str().to_owned(), json!(value)))
                    .collect();
                let row = json!({
                    "record": "reading", "time": time, "at_ns": at.0, "source": id.0, "pid": pid,
                    "isolate": isolate, "role": role, "values": values,
                });
                writeln!(self.out, "{row}")
            }
        }
    }

    fn event(&mut self, record: &Record) -> io::Result<()> {
        if self.format == ExportFormat::Csv {
            return Ok(());
        }
        // An object with one key, which names the record.
        let Ok(Value::Object(fields)) = serde_json::to_value(record) else {
            return Ok(());
        };
        for (kind, what) in fields {
            let mut line = Map::new();
            line.insert("record".to_owned(), json!(kind));
            if let Some(at) = record.at() {
                line.insert("time".to_owned(), json!(units::timestamp(self.unix_ns(at))));
                line.insert("at_ns".to_owned(), json!(at.0));
            }
            match what {
                Value::Object(mut what) => {
                    what.remove("at");
                    line.append(&mut what);
                }
                what => {
                    line.insert("what".to_owned(), what);
                }
            }
            writeln!(self.out, "{}", Value::Object(line))?;
        }
        Ok(())
    }
}

/// Quoted where a name would break the row. Names of counted kinds come from the subject and may hold anything.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}
