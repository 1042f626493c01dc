//! From rows to series: waits for the first rows to settle what columns mean, then fills the columns.

use std::collections::BTreeMap;

use super::cells::{Stamp, bare, number, size, stamp};
use super::columns::{Clock, Plan, Reading, Sample, plan, short};
use super::{Choice, Fault, MOST_READINGS, Table};

/// Rows that are looked at before anything is decided.
const LOOKED_AT: usize = 50;
/// Most series of one file.
const MOST_SERIES: usize = 256;
/// Longest time a file may span, in seconds: 500 years, less than nanoseconds in 64 bits can count.
const LONGEST: f64 = 500.0 * 365.25 * 86_400.0;

/// Takes a header and rows, and makes tables of them.
#[derive(Debug)]
pub(super) struct Assembler<'a> {
    choice: &'a Choice,
    names: Vec<String>,
    line: usize,
    early: Vec<(usize, Vec<String>)>,
    filler: Option<Filler>,
    /// Why rows may be taken as a second apart where there is no time.
    pub(super) a_second_apart: Option<&'static str>,
    /// What the reader of the format has to say.
    pub(super) notes: Vec<String>,
    /// Most readings over all series.
    pub(super) most: usize,
}

impl<'a> Assembler<'a> {
    pub(super) fn new(choice: &'a Choice, line: usize, names: Vec<String>) -> Self {
        Self {
            choice,
            names,
            line,
            early: Vec::new(),
            filler: None,
            a_second_apart: None,
            notes: Vec::new(),
            most: MOST_READINGS,
        }
    }

    pub(super) fn row<S: AsRef<str>>(&mut self, line: usize, cells: &[S]) -> Result<(), Fault> {
        if let Some(filler) = &mut self.filler {
            return filler.row(line, cells);
        }
        let cells = cells.iter().map(|c| c.as_ref().to_owned()).collect();
        self.early.push((line, cells));
        if self.early.len() >= LOOKED_AT {
            self.decide()?;
        }
        Ok(())
    }

    fn decide(&mut self) -> Result<(), Fault> {
        let sample = Sample {
            names: &self.names,
            rows: &self.early,
            line: self.line,
            a_second_apart: self.a_second_apart,
        };
        let plan = plan(&sample, self.choice)?;
        let mut filler = Filler::new(plan, self.most);
        for (line, cells) in self.early.drain(..) {
            filler.row(line, &cells)?;
        }
        self.filler = Some(filler);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Vec<Table>, Fault> {
        if self.filler.is_none() {
            if self.early.is_empty() {
                return Err(Fault::with_hint(
                    self.line,
                    "the file has a header but no rows",
                    "was anything recorded after it?",
                ));
            }
            self.decide()?;
        }
        let mut tables = match self.filler {
            Some(filler) => filler.finish()?,
            None => Vec::new(),
        };
        for table in &mut tables {
            table.assumptions.splice(0..0, self.notes.iter().cloned());
        }
        Ok(tables)
    }
}

/// One reading with all that goes with it.
#[derive(Debug, Clone, Copy)]
struct Row {
    seconds: f64,
    value: f64,
    operations: f64,
    load: f64,
    collected: f64,
    epoch: f64,
}

/// The columns of one series while they grow.
#[derive(Debug, Default)]
struct Column {
    group: String,
    reading: usize,
    seconds: Vec<f64>,
    value: Vec<f64>,
    operations: Vec<f64>,
    load: Vec<f64>,
    collected: Vec<f64>,
    epoch: Vec<f64>,
    /// Readings for one that is kept, a power of two.
    thinned: usize,
    /// The lowest of the readings since the last that was kept, and their number.
    pending: Option<(Row, usize)>,
    infinite: usize,
    repeated: usize,
    last: Option<f64>,
}

#[derive(Debug)]
struct Filler {
    plan: Plan,
    columns: Vec<Column>,
    /// Where the series of a group begin in `columns`.
    groups: BTreeMap<String, usize>,
    /// Days added to times of the day, by group, and the last one seen.
    midnight: BTreeMap<String, (f64, f64)>,
    rows: BTreeMap<String, f64>,
    most: usize,
    kept: usize,
    units: Units,
}

/// Whether cells carry their units.
#[derive(Debug, Default)]
struct Units {
    /// By reading: the first line with a unit and the first without.
    seen: Vec<(Option<usize>, Option<usize>)>,
}

impl Filler {
    fn new(plan: Plan, most: usize) -> Self {
        let readings = plan.readings.len();
        Self {
            plan,
            columns: Vec::new(),
            groups: BTreeMap::new(),
            midnight: BTreeMap::new(),
            rows: BTreeMap::new(),
            most,
            kept: 0,
            units: Units {
                seen: vec![(None, None); readings],
            },
        }
    }

    fn row<S: AsRef<str>>(&mut self, line: usize, cells: &[S]) -> Result<(), Fault> {
        let cell = |i: usize| cells.get(i).map_or("", |c| bare(c.as_ref()));
        let optional = |column: Option<usize>| -> Result<f64, Fault> {
            let Some(text) = column.map(cell) else {
                return Ok(f64::NAN);
            };
            number(text).ok_or_else(|| no_number(line, text))
        };
        let group = self.plan.group.map_or("", cell);
        let seconds = self.seconds(line, group, cell(self.plan.time))?;
        let first = match self.groups.get(group) {
            Some(first) => *first,
            None => self.open(line, group)?,
        };
        let operations = optional(self.plan.operations)?;
        let load = optional(self.plan.load)?;
        let collected = optional(self.plan.collected)?;
        let epoch = optional(self.plan.epoch)?;
        for k in 0..self.plan.readings.len() {
            let reading = &self.plan.readings[k];
            let value = self.units.value(line, k, reading, cell(reading.index))?;
            let column = &mut self.columns[first + k];
            column.repeated += usize::from(column.last == Some(seconds));
            column.last = Some(seconds);
            column.infinite += usize::from(value.is_infinite());
            let row = Row {
                seconds,
                value: if value.is_finite() { value } else { f64::NAN },
                operations,
                load,
                collected,
                epoch,
            };
            self.kept += usize::from(column.push(row, &self.plan));
        }
        if self.kept >= self.most {
            for column in &mut self.columns {
                column.thin();
            }
            self.kept = self.columns.iter().map(|c| c.value.len()).sum();
        }
        Ok(())
    }

    fn open(&mut self, line: usize, group: &str) -> Result<usize, Fault> {
        if (self.groups.len() + 1) * self.plan.readings.len() > MOST_SERIES {
            return Err(Fault::with_hint(
                line,
                format!("more than {MOST_SERIES} series are in the file"),
                "split it by process, or name the column to judge with `--column NAME`",
            ));
        }
        let first = self.columns.len();
        for reading in 0..self.plan.readings.len() {
            self.columns.push(Column {
                group: group.to_owned(),
                reading,
                thinned: 1,
                ..Column::default()
            });
        }
        self.groups.insert(group.to_owned(), first);
        Ok(first)
    }

    fn seconds(&mut self, line: usize, group: &str, text: &str) -> Result<f64, Fault> {
        let no_time = || {
            let message = if super::cells::is_missing(text) {
                "the row has no time".to_owned()
            } else {
                format!("`{}` is no time", short(text))
            };
            Fault::with_hint(line, message, "correct or delete the row")
        };
        let seconds = match self.plan.clock {
            Clock::Number(unit) => number(text).map(|n| n * unit),
            Clock::Date => match stamp(text) {
                Some(Stamp::Date(seconds)) => Some(seconds),
                _ => None,
            },
            Clock::OfDay => match stamp(text) {
                Some(Stamp::OfDay(seconds)) => {
                    let (days, last) = self.midnight.get(group).copied().unwrap_or((0.0, seconds));
                    // Back by more than half a day is midnight; by less, a clock that was set.
                    let days = if last - seconds > 43_200.0 {
                        days + 86_400.0
                    } else {
                        days
                    };
                    self.midnight.insert(group.to_owned(), (days, seconds));
                    Some(days + seconds)
                }
                _ => None,
            },
            Clock::Rows(interval) => {
                let row = self.rows.entry(group.to_owned()).or_insert(0.0);
                *row += 1.0;
                Some((*row - 1.0) * interval)
            }
        };
        seconds.filter(|s| s.is_finite()).ok_or_else(no_time)
    }

    fn finish(self) -> Result<Vec<Table>, Fault> {
        let several = self.columns.len() > self.plan.readings.len();
        let Plan {
            readings,
            assumptions,
            ..
        } = &self.plan;
        self.columns
            .into_iter()
            .map(|mut column| {
                if let Some((row, _)) = column.pending.take() {
                    column.keep(row, &self.plan);
                }
                let reading = &readings[column.reading];
                let name = match (several || !column.group.is_empty(), readings.len()) {
                    (false, _) => reading.name.clone(),
                    (true, 1) => column.group.clone(),
                    (true, _) => format!("{} {}", column.group, reading.name),
                };
                column.into_table(name, reading, assumptions.clone())
            })
            .collect()
    }
}

impl Units {
    /// The reading in bytes (or things).
    fn value(
        &mut self,
        line: usize,
        k: usize,
        reading: &Reading,
        text: &str,
    ) -> Result<f64, Fault> {
        let (value, unit) = size(text).ok_or_else(|| no_number(line, text))?;
        if value.is_nan() {
            return Ok(value);
        }
        if value < 0.0 {
            return Err(Fault::with_hint(
                line,
                format!(
                    "`{}` in column `{}` is negative, which no memory is",
                    short(text),
                    short(&reading.name)
                ),
                "if the column holds differences, sum them up first; else name another with `--column NAME`",
            ));
        }
        let seen = &mut self.seen[k];
        let of_kind = if unit.is_some() {
            &mut seen.0
        } else {
            &mut seen.1
        };
        of_kind.get_or_insert(line);
        // Nothing is nothing in every unit.
        if let (Some(with), Some(without)) = *seen
            && reading.scale.is_none()
            && value != 0.0
        {
            let (earlier, what) = if unit.is_some() {
                (without, "has a unit, line")
            } else {
                (with, "has no unit, line")
            };
            let other = if unit.is_some() {
                "has none"
            } else {
                "has one"
            };
            return Err(Fault::with_hint(
                line,
                format!("mixed units: `{}` {what} {earlier} {other}", short(text)),
                "write all cells of a column in the same way",
            ));
        }
        Ok(value * unit.or(reading.scale).unwrap_or(1.0))
    }
}

impl Column {
    /// Takes a reading, and says whether the columns grew.
    fn push(&mut self, row: Row, plan: &Plan) -> bool {
        if self.thinned == 1 {
            self.keep(row, plan);
            return true;
        }
        let (lowest, n) = match self.pending.take() {
            Some((lowest, n)) if row.value >= lowest.value || row.value.is_nan() => (lowest, n),
            Some((_, n)) => (row, n),
            None => (row, 0),
        };
        let full = n + 1 >= self.thinned;
        if full {
            self.keep(lowest, plan);
        } else {
            self.pending = Some((lowest, n + 1));
        }
        full
    }

    fn keep(&mut self, row: Row, plan: &Plan) {
        self.seconds.push(row.seconds);
        self.value.push(row.value);
        for (wanted, column, value) in [
            (plan.operations, &mut self.operations, row.operations),
            (plan.load, &mut self.load, row.load),
            (plan.collected, &mut self.collected, row.collected),
            (plan.epoch, &mut self.epoch, row.epoch),
        ] {
            if wanted.is_some() {
                column.push(value);
            }
        }
    }

    /// Keeps the lower reading of each two: the floor is what a leak lifts.
    fn thin(&mut self) {
        let n = self.value.len();
        let keep: Vec<usize> = (0..n)
            .step_by(2)
            .map(|i| {
                if i + 1 < n && (self.value[i + 1] < self.value[i] || self.value[i].is_nan()) {
                    i + 1
                } else {
                    i
                }
            })
            .collect();
        for column in [
            &mut self.seconds,
            &mut self.value,
            &mut self.operations,
            &mut self.load,
            &mut self.collected,
            &mut self.epoch,
        ] {
            if !column.is_empty() {
                for (to, &from) in keep.iter().enumerate() {
                    column[to] = column[from];
                }
                column.truncate(keep.len());
            }
        }
        self.thinned = self.thinned.saturating_mul(2);
    }

    fn into_table(
        self,
        name: String,
        reading: &Reading,
        mut assumptions: Vec<String>,
    ) -> Result<Table, Fault> {
        // A clock that jumps backwards must not make negative times; the judge mends the jump itself.
        let start = self.seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let end = self
            .seconds
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        if end - start > LONGEST {
            return Err(Fault::with_hint(
                0,
                "the times span more than 500 years",
                "is it the right column? `--time-column NAME` names another",
            ));
        }
        for (n, what) in [
            (self.repeated, "rows repeat the time of the row before"),
            (self.infinite, "readings are infinite and taken as missing"),
        ] {
            if n > 0 {
                assumptions.push(format!("{n} {what}"));
            }
        }
        if self.thinned > 1 {
            assumptions.push(format!(
                "too many readings to keep: the lowest of each {} was",
                self.thinned
            ));
        }
        let known = |column: &[f64]| column.iter().any(|v| v.is_finite());
        Ok(Table {
            name,
            metric: reading.metric.clone(),
            t_ns: self
                .seconds
                .iter()
                .map(|s| ((s - start) * 1e9) as u64)
                .collect(),
            value: self.value,
            operations: self.operations,
            load: if known(&self.load) {
                self.load
            } else {
                Vec::new()
            },
            collected: if known(&self.collected) {
                self.collected.iter().map(|f| *f == 1.0).collect()
            } else {
                Vec::new()
            },
            epoch: if self.epoch.iter().all(|e| e.is_finite()) {
                self.epoch.iter().map(|e| *e as u32).collect()
            } else {
                Vec::new()
            },
            assumptions,
        })
    }
}

fn no_number(line: usize, text: &str) -> Fault {
    Fault::with_hint(
        line,
        format!("`{}` is no number", short(text)),
        "correct or delete the row; an empty cell is a reading that is missing",
    )
}
