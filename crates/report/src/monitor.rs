//! What a monitor tells at each interval: lines for people, rows for tables.

use std::fmt::Write as _;

use plimsoll_model::{Metric, Reading, ReadingRow, Unit, units};

use crate::page::{columns, disarm, shorten};

/// Processes shown by name; the rest is counted.
const SHOWN: usize = 10;

/// A reading as text: one line for one process; for several, the sum and a line for each.
pub fn reading_text(reading: &Reading) -> String {
    let elapsed = units::duration(reading.at.as_secs_f64());
    let mut text = format!("{elapsed:>9}   ");
    match reading.rows.as_slice() {
        [] => text.push_str("no process is left"),
        [row] => text.push_str(&figures(row.cpu_ratio, |metric| {
            row.values.get(metric).copied()
        })),
        rows => {
            let figures = figures(reading.cpu_ratio(), |metric| reading.sum(metric));
            let _ = write!(text, "{} processes   {figures}", rows.len());
            rows_text(rows, &mut text);
        }
    }
    let killed = reading.group.get(&Metric::CGROUP_OOM_KILLS);
    if let Some(killed) = killed.filter(|n| **n > 0.0) {
        let _ = write!(
            text,
            "   killed for want of memory {}",
            units::count(*killed)
        );
    }
    text.push('\n');
    text
}

fn rows_text(rows: &[ReadingRow], text: &mut String) {
    let mut rows: Vec<&ReadingRow> = rows.iter().collect();
    let size = |row: &ReadingRow| row.values.get(&Metric::RSS_ANON).copied().unwrap_or(0.0);
    if rows.len() > SHOWN {
        rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
    }
    let names: Vec<String> = rows
        .iter()
        .take(SHOWN)
        .map(|row| shorten(&disarm(&row.name), 28))
        .collect();
    let widest = names.iter().map(|name| columns(name)).max().unwrap_or(0);
    for (row, name) in rows.iter().zip(&names) {
        let pad = widest - columns(name);
        let figures = figures(row.cpu_ratio, |metric| row.values.get(metric).copied());
        let _ = write!(
            text,
            "\n            {:>7}  {name}{:pad$}  {:<7}  {figures}",
            row.process.pid,
            "",
            row.role.as_str(),
        );
    }
    if rows.len() > SHOWN {
        let _ = write!(text, "\n            and {} more", rows.len() - SHOWN);
    }
}

fn figures(cpu_ratio: Option<f64>, value: impl Fn(&Metric) -> Option<f64>) -> String {
    let bytes = |metric| value(metric).map(units::bytes);
    let mut parts = Vec::new();
    let mut add = |name: &str, figure: Option<String>| {
        parts.extend(figure.map(|figure| format!("{name} {figure}")));
    };
    add("rss", bytes(&Metric::RSS));
    add("anon", bytes(&Metric::RSS_ANON));
    let heap = value(&Metric::HEAP_USED).zip(value(&Metric::HEAP_TOTAL));
    add(
        "heap",
        heap.map(|(used, total)| format!("{} of {}", units::bytes(used), units::bytes(total))),
    );
    add("external", bytes(&Metric::EXTERNAL));
    let collections = value(&Metric::GC_COUNT).zip(value(&Metric::GC_SECONDS));
    add(
        "gc",
        collections.map(|(n, s)| format!("{} in {}", units::count(n), units::duration(s))),
    );
    add("cpu", cpu_ratio.map(units::percent));
    add("threads", value(&Metric::THREADS).map(units::count));
    add("fds", value(&Metric::DESCRIPTORS).map(units::count));
    parts.join("   ")
}

/// The columns of a table of readings.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns(Vec<Column>);

#[derive(Debug, Clone, PartialEq)]
struct Column {
    name: String,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    /// Milliseconds since 1970.
    Timestamp,
    /// The same as text, in UTC.
    Time,
    ElapsedSeconds,
    ElapsedHours,
    Pid,
    Role,
    Name,
    CpuPercent,
    /// As it is: bytes, counts, seconds.
    Plain(Metric),
    Mebibytes(Metric),
    /// Nobody reports it here.
    Empty,
}

impl Columns {
    /// Those taken where none are named.
    pub const DEFAULT: &'static str = "time,elapsed_s,pid,role,name,rss,rss_anon,heap_used,heap_total,external,gc_count,gc_seconds,cpu_percent,threads,descriptors";
    /// The columns that soak tests in JavaScript write by hand.
    pub const SOAK: &'static str = "timestamp,elapsed_hours,heap_mb,rss_mb,created_count";

    /// The names that can be asked for; each of bytes also as `NAME_mb`, in MiB.
    pub const NAMES: [&'static str; 33] = [
        "timestamp",
        "time",
        "elapsed_s",
        "elapsed_hours",
        "pid",
        "role",
        "name",
        "cpu_percent",
        "rss",
        "rss_anon",
        "rss_file",
        "rss_shmem",
        "rss_peak",
        "swap",
        "heap_used",
        "heap_total",
        "heap_physical",
        "external",
        "array_buffers",
        "heap_used_after_gc",
        "gc_count",
        "gc_seconds",
        "cpu_seconds",
        "threads",
        "descriptors",
        "minor_faults",
        "major_faults",
        "cgroup_usage",
        "cgroup_working_set",
        "cgroup_limit_events",
        "cgroup_oom_kills",
        "memory_stall_seconds",
        "created_count",
    ];

    /// From names with commas between them, or the name of a preset: `soak`.
    ///
    /// # Errors
    /// The name that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = if text == "soak" { Self::SOAK } else { text };
        let parsed: Result<Vec<Column>, String> =
            text.split(',').map(str::trim).map(column).collect();
        parsed.map(Self)
    }

    /// The first line of the table.
    pub fn header(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|column| column.name.as_str()).collect();
        names.join(",") + "\n"
    }

    /// The rows of a reading: one for each process if a column tells them apart, else one of their sum.
    pub fn rows(&self, reading: &Reading) -> String {
        let by_process = self
            .0
            .iter()
            .any(|c| matches!(c.what, What::Pid | What::Role | What::Name));
        let mut out = String::new();
        if by_process {
            for row in &reading.rows {
                self.row(reading, Some(row), &mut out);
            }
        } else if !reading.rows.is_empty() {
            self.row(reading, None, &mut out);
        }
        out
    }

    fn row(&self, reading: &Reading, row: Option<&ReadingRow>, out: &mut String) {
        let value = |metric: &Metric| match row {
            _ if reading.group.contains_key(metric) => reading.group.get(metric).copied(),
            Some(row) => row.values.get(metric).copied(),
            None => reading.sum(metric),
        };
        for (i, column) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            let cell = match (&column.what, row) {
                (What::Timestamp, _) => (reading.unix_ns / 1_000_000).to_string(),
                (What::Time, _) => units::timestamp(reading.unix_ns),
                (What::ElapsedSeconds, _) => format!("{:.3}", reading.at.as_secs_f64()),
                (What::ElapsedHours, _) => format!("{:.4}", reading.at.as_secs_f64() / 3600.0),
                (What::Pid, Some(row)) => row.process.pid.to_string(),
                (What::Role, Some(row)) => row.role.as_str().to_owned(),
                (What::Name, Some(row)) => quoted(&row.name),
                (What::CpuPercent, _) => row
                    .map_or_else(|| reading.cpu_ratio(), |row| row.cpu_ratio)
                    .map_or_else(String::new, |ratio| format!("{:.1}", ratio * 100.0)),
                (What::Plain(metric), _) => value(metric).map_or_else(String::new, plain),
                (What::Mebibytes(metric), _) => value(metric)
                    .map_or_else(String::new, |bytes| format!("{:.2}", bytes / 1_048_576.0)),
                _ => String::new(),
            };
            out.push_str(&cell);
        }
        out.push('\n');
    }
}

fn column(name: &str) -> Result<Column, String> {
    let what = match name {
        "timestamp" => What::Timestamp,
        "time" => What::Time,
        "elapsed_s" => What::ElapsedSeconds,
        "elapsed_hours" => What::ElapsedHours,
        "pid" => What::Pid,
        "role" => What::Role,
        "name" => What::Name,
        "cpu_percent" => What::CpuPercent,
        "created_count" => What::Empty,
        "heap_mb" => What::Mebibytes(Metric::HEAP_USED),
        _ => {
            let bytes = name.strip_suffix("_mb");
            let base = bytes.unwrap_or(name);
            let metric = Metric::named(base.to_owned());
            let is_known = Columns::NAMES[8..].contains(&base);
            match bytes {
                Some(_) if is_known && metric.unit() == Unit::Bytes => What::Mebibytes(metric),
                None if is_known => What::Plain(metric),
                _ => return Err(name.to_owned()),
            }
        }
    };
    Ok(Column {
        name: name.to_owned(),
        what,
    })
}

/// Whole numbers without a point.
fn plain(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

/// Quoted where the text would break the row, and with control characters shown.
fn quoted(text: &str) -> String {
    let text = disarm(text);
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_model::{Ns, ProcessId, Role};
    use std::collections::BTreeMap;

    fn row(pid: u32, name: &str, values: &[(Metric, f64)]) -> ReadingRow {
        ReadingRow {
            process: ProcessId {
                pid,
                start_ticks: u64::from(pid),
            },
            role: Role::Service,
            name: name.to_owned(),
            values: values.iter().cloned().collect(),
            cpu_ratio: Some(0.031),
        }
    }

    fn reading(rows: Vec<ReadingRow>) -> Reading {
        Reading {
            at: Ns(5_400_000_000_000),
            unix_ns: 1_795_238_040_123_000_000,
            rows,
            group: BTreeMap::new(),
        }
    }

    #[test]
    fn one_process_is_one_line() {
        let values = [
            (Metric::RSS, 88e6),
            (Metric::RSS_ANON, 44e6),
            (Metric::HEAP_USED, 21e6),
            (Metric::HEAP_TOTAL, 30e6),
            (Metric::GC_COUNT, 4.0),
            (Metric::GC_SECONDS, 0.012),
            (Metric::THREADS, 11.0),
        ];
        insta::assert_snapshot!(reading_text(&reading(vec![row(7, "node server.js", &values)])), @"1 h 30 min   rss 83.9 MiB   anon 42.0 MiB   heap 20.0 MiB of 28.6 MiB   gc 4 in 12 ms   cpu 3.1 %   threads 11");
    }

    #[test]
    fn several_are_a_table_with_their_sum() {
        let rows = vec![
            row(7, "node server.js", &[(Metric::RSS, 88e6)]),
            row(12, "sh\u{1b}[2J", &[(Metric::RSS, 1e6)]),
        ];
        insta::assert_snapshot!(reading_text(&reading(rows)), @r"
        1 h 30 min   2 processes   rss 84.9 MiB   cpu 6.2 %
                          7  node server.js  service  rss 83.9 MiB   cpu 3.1 %
                         12  sh\u{1b}[2J     service  rss 977 KiB   cpu 3.1 %
        ");
    }

    #[test]
    fn a_soak_table_has_the_columns_that_are_written_by_hand() {
        let columns = Columns::parse("soak").unwrap();
        assert_eq!(
            columns.header(),
            "timestamp,elapsed_hours,heap_mb,rss_mb,created_count\n"
        );
        let rows = vec![
            row(
                7,
                "a",
                &[(Metric::RSS, 1_048_576.0), (Metric::HEAP_USED, 524_288.0)],
            ),
            row(8, "b", &[(Metric::RSS, 1_048_576.0)]),
        ];
        assert_eq!(
            columns.rows(&reading(rows)),
            "1795238040123,1.5000,0.50,2.00,\n"
        );
    }

    #[test]
    fn a_column_that_tells_processes_apart_makes_a_row_for_each() {
        let columns = Columns::parse("pid, name,rss").unwrap();
        let rows = vec![row(7, "a,\"b\"", &[(Metric::RSS, 5.0)]), row(8, "c", &[])];
        assert_eq!(columns.rows(&reading(rows)), "7,\"a,\"\"b\"\"\",5\n8,c,\n");
    }

    #[test]
    fn every_name_is_a_column_and_others_are_refused() {
        for name in Columns::NAMES {
            assert!(Columns::parse(name).is_ok(), "{name}");
        }
        assert!(Columns::parse(Columns::DEFAULT).is_ok());
        assert_eq!(Columns::parse("rss,heapused"), Err("heapused".to_owned()));
        assert_eq!(Columns::parse("threads_mb"), Err("threads_mb".to_owned()));
        assert!(Columns::parse("rss_anon_mb").is_ok());
    }
}
