//! A series drawn in characters: readings, their lower envelope, the model that the verdict rests on and its interval.

use plimsoll_model::{Recorded, Unit, units};

use crate::page::Page;

/// Rows of the plot.
const ROWS: usize = 10;
/// Columns beside the plot: indent and the labels of the axis.
const BESIDE: usize = 18;

/// What a cell shows; the later hides the earlier.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Blank,
    /// Dots of readings, as the bits of a Braille character.
    Readings(u8),
    Interval,
    Envelope,
    Model,
}

impl Cell {
    fn draw(self, ascii: bool) -> char {
        match (self, ascii) {
            (Self::Blank, _) => ' ',
            (Self::Readings(_), true) => '.',
            (Self::Readings(dots), false) => {
                char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' ')
            }
            (Self::Interval, true) => '-',
            (Self::Interval, false) => '╌',
            (Self::Envelope, true) => '_',
            (Self::Envelope, false) => '▁',
            (Self::Model, true) => '=',
            (Self::Model, false) => '━',
        }
    }
}

/// Bits of the dots of a Braille character, by column and row from the top.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

/// The plot's window on the series.
struct Window {
    cells: usize,
    start: f64,
    length: f64,
    low: f64,
    high: f64,
}

impl Window {
    /// Over readings that are finite and at times that rise; `None` if there is no extent to draw.
    fn of(series: &Recorded, cells: usize) -> Option<Self> {
        let known = || readings(series);
        let fold =
            |f: fn(f64, f64) -> f64, from: f64, v: &mut dyn Iterator<Item = f64>| v.fold(from, f);
        let start = fold(f64::min, f64::INFINITY, &mut known().map(|(t, _)| t));
        let end = fold(f64::max, f64::NEG_INFINITY, &mut known().map(|(t, _)| t));
        let low = fold(f64::min, f64::INFINITY, &mut known().map(|(_, v)| v));
        let high = fold(f64::max, f64::NEG_INFINITY, &mut known().map(|(_, v)| v));
        let length = end - start;
        (known().nth(1).is_some() && length > 0.0 && (high - low).is_finite()).then_some(Self {
            cells,
            start,
            length,
            low,
            high,
        })
    }

    /// The dot column of a time, two to a cell.
    fn column(&self, t: f64) -> usize {
        let columns = self.cells * 2;
        (((t - self.start) / self.length * columns as f64) as usize).min(columns - 1)
    }

    /// The dot row of a value from the top, four to a cell; `None` outside.
    fn row(&self, value: f64) -> Option<usize> {
        let rows = ROWS * 4;
        let share = if self.high > self.low {
            (value - self.low) / (self.high - self.low)
        } else {
            0.0
        };
        (0.0..=1.0)
            .contains(&share)
            .then(|| rows - 1 - ((share * rows as f64) as usize).min(rows - 1))
    }
}

fn readings(series: &Recorded) -> impl Iterator<Item = (f64, f64)> + '_ {
    series
        .t_s
        .iter()
        .copied()
        .zip(series.value.iter().copied())
        .filter(|(t, v)| t.is_finite() && v.is_finite())
}

/// Draws a series below its verdict, with its axes and a legend; nothing if there are fewer than two readings.
pub(crate) fn draw(series: &Recorded, page: &mut Page) {
    let style = page.style();
    let cells = usize::from(style.width.clamp(40, 100)) - BESIDE - 2;
    let Some(window) = Window::of(series, cells) else {
        return;
    };
    let grid = fill(series, &window);
    let value = |v: f64| match series.metric.unit() {
        Unit::Bytes => units::bytes(v),
        _ => units::count(v),
    };
    page.blank();
    for (i, row) in grid.chunks(cells).enumerate() {
        let label = match i {
            0 if window.high > window.low => value(window.high),
            _ if i + 1 == ROWS => value(window.low),
            _ => String::new(),
        };
        let line: String = row.iter().map(|c| c.draw(style.ascii)).collect();
        let edge = if style.ascii { '|' } else { '│' };
        page.line(&format!("{label:>16} {edge}{}", line.trim_end()));
    }
    let end = units::duration(window.length);
    let room = cells.saturating_sub(end.chars().count() + 1);
    page.line(&format!("{:17} 0{:room$}{end}", "", ""));
    let mut legend = vec![
        (Cell::Readings(0x2d), "readings"),
        (Cell::Envelope, "lowest"),
    ];
    legend.push((Cell::Model, "fitted model"));
    legend.push((Cell::Interval, "95 % interval of the rate"));
    let legend: Vec<String> = legend
        .into_iter()
        .filter(|(cell, _)| {
            grid.iter()
                .any(|c| std::mem::discriminant(c) == std::mem::discriminant(cell))
        })
        .map(|(cell, word)| format!("{} {word}", cell.draw(style.ascii)))
        .collect();
    page.flow(18, None, &legend);
}

fn fill(series: &Recorded, window: &Window) -> Vec<Cell> {
    let cells = window.cells;
    let mut dots = vec![0_u8; cells * ROWS];
    let mut lowest = vec![f64::INFINITY; cells];
    for (t, value) in readings(series) {
        let column = window.column(t);
        lowest[column / 2] = lowest[column / 2].min(value);
        if let Some(row) = window.row(value) {
            dots[row / 4 * cells + column / 2] |= DOTS[column % 2][row % 4];
        }
    }
    let mut grid: Vec<Cell> = dots
        .into_iter()
        .map(|d| {
            if d == 0 {
                Cell::Blank
            } else {
                Cell::Readings(d)
            }
        })
        .collect();
    let mut put = |cell: usize, value: f64, what: Cell| {
        if let Some(row) = window.row(value) {
            grid[row / 4 * cells + cell] = what;
        }
    };
    let curve = series.verdict.curve.as_ref();
    let along = |values: &[f64], t: f64| between(&curve?.t_s, values, t);
    // An envelope is worth drawing where readings swing above it.
    let swings = readings(series).count() > 4 * cells;
    for (cell, lowest) in lowest.into_iter().enumerate() {
        let t = window.start + (cell as f64 + 0.5) / cells as f64 * window.length;
        let mut line = |values: Option<&Vec<f64>>, what: Cell| {
            if let Some(value) = values.and_then(|v| along(v, t)) {
                put(cell, value, what);
            }
        };
        let interval = curve.and_then(|c| c.interval.as_ref());
        line(interval.map(|i| &i.0), Cell::Interval);
        line(interval.map(|i| &i.1), Cell::Interval);
        if swings && curve.is_some() {
            line(curve.map(|c| &c.envelope), Cell::Envelope);
        }
        line(curve.map(|c| &c.model), Cell::Model);
        if swings && curve.is_none() && lowest.is_finite() {
            put(cell, lowest, Cell::Envelope);
        }
    }
    grid
}

/// The value at `t` of a line through points whose times do not fall; `None` outside them.
fn between(times: &[f64], values: &[f64], t: f64) -> Option<f64> {
    let after = times.partition_point(|at| *at <= t);
    let before = after.checked_sub(1)?;
    let (Some(&t1), Some(&v1)) = (times.get(after), values.get(after)) else {
        return (times[before] == t).then(|| values.get(before).copied())?;
    };
    let (t0, v0) = (times[before], *values.get(before)?);
    Some(v0 + (v1 - v0) * (t - t0) / (t1 - t0))
}
