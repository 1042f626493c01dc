//! Tables of answers, for a terminal and for machines.

use plimsoll_model::{Cell, Sheet, units};
use serde_json::{Map, Value, json};

use crate::page::{Page, Style, Tone, columns, disarm, shorten};
use crate::to_json;

/// A column of words is never squeezed below this.
const NARROWEST: usize = 16;
/// Between columns.
const GAP: &str = "  ";

/// Renders a table for a terminal.
pub fn sheet_text(sheet: &Sheet, style: Style) -> String {
    let mut page = Page::new(style);
    let label = sheet.facts.iter().map(|(name, _)| columns(name)).max();
    let label = label.unwrap_or(0);
    let room = usize::from(style.width.max(40)).saturating_sub(label + 2);
    for (name, value) in &sheet.facts {
        let value = disarm(&cell(value));
        // A long fact, such as a path, goes on below its first line.
        let mut lines = wrapped(&value, room).into_iter();
        let first = format!("  {}", lines.next().unwrap_or_default());
        page.row(name, Tone::Label, label, &first);
        for line in lines {
            page.row("", Tone::Plain, label, &format!("  {line}"));
        }
    }
    if !sheet.rows.is_empty() {
        if !sheet.facts.is_empty() {
            page.blank();
        }
        table(sheet, &mut page);
    }
    if sheet.more > 0 {
        let more = units::count(sheet.more as f64);
        page.flow(2, None, &[format!("and {more} more")]);
    }
    if !sheet.notes.is_empty() {
        page.blank();
    }
    for note in &sheet.notes {
        page.entry("note", Tone::Label, &[note]);
    }
    page.finish()
}

/// Breaks at blanks where a line is longer than the room.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("begun with one");
        if !last.is_empty() && columns(last) + 1 + columns(word) > room {
            lines.push(shorten(word, room));
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(&shorten(word, room));
        }
    }
    lines
}

fn table(sheet: &Sheet, page: &mut Page) {
    let screen = usize::from(page.style().width.max(40));
    let texts: Vec<Vec<String>> = sheet
        .rows
        .iter()
        .map(|row| row.iter().map(|c| disarm(&cell(c))).collect())
        .collect();
    let is_words = |column: usize| {
        let mut cells = sheet.rows.iter().filter_map(|row| row.get(column));
        cells.any(|c| matches!(c, Cell::Text(_)))
    };
    let widest = |column: usize| {
        let cells = texts.iter().filter_map(|row| row.get(column));
        let title = sheet.columns[column].1;
        cells
            .map(|c| columns(c))
            .chain([columns(title)])
            .max()
            .unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..sheet.columns.len()).map(widest).collect();
    // Numbers keep their room, words share what is left.
    let wordy: Vec<usize> = (0..widths.len()).filter(|c| is_words(*c)).collect();
    let taken = |widths: &[usize]| widths.iter().sum::<usize>() + GAP.len() * widths.len();
    while taken(&widths) > screen {
        let longest = wordy.iter().copied().filter(|c| widths[*c] > NARROWEST);
        let Some(longest) = longest.max_by_key(|c| widths[*c]) else {
            break;
        };
        widths[longest] -= 1;
    }
    let line = |cells: &[String]| {
        let mut text = String::new();
        for (column, (value, width)) in cells.iter().zip(&widths).enumerate() {
            let value = shorten(value, *width);
            let fill = " ".repeat(width.saturating_sub(columns(&value)));
            if column > 0 {
                text.push_str(GAP);
            }
            if is_words(column) {
                text.push_str(&value);
                text.push_str(&fill);
            } else {
                text.push_str(&fill);
                text.push_str(&value);
            }
        }
        text.trim_end().to_owned()
    };
    let titles: Vec<String> = sheet.columns.iter().map(|(_, t)| (*t).to_owned()).collect();
    page.row(&line(&titles), Tone::Label, 0, "");
    for row in &texts {
        page.row(&line(row), Tone::Plain, 0, "");
    }
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) => units::bytes(*bytes as f64),
        Cell::Change(bytes) => units::signed_bytes(*bytes as f64),
        Cell::Count(count) => units::count(*count as f64),
        Cell::CountChange(count) if *count > 0 => format!("+{}", units::count(*count as f64)),
        Cell::CountChange(count) => units::count(*count as f64),
        Cell::Number(number) => units::count(*number),
        Cell::Ratio(ratio) => units::percent(*ratio),
        _ => String::new(),
    }
}

/// The same as one line of JSON: facts by name, rows as objects.
pub fn sheet_json(sheet: &Sheet) -> String {
    let facts: Map<String, Value> = sheet
        .facts
        .iter()
        .map(|(name, value)| (name.replace(' ', "_"), plain(value)))
        .collect();
    let rows: Vec<Value> = sheet
        .rows
        .iter()
        .map(|row| {
            let keys = sheet.columns.iter().map(|(key, _)| (*key).to_owned());
            Value::Object(keys.zip(row.iter().map(plain)).collect())
        })
        .collect();
    to_json(&json!({
        "schema": "plimsoll.snapshot/1",
        "tool_version": env!("CARGO_PKG_VERSION"),
        "verb": sheet.verb,
        "facts": facts,
        "rows": rows,
        "more": sheet.more,
        "notes": sheet.notes,
    }))
}

fn plain(cell: &Cell) -> Value {
    match cell {
        Cell::Text(text) => json!(text),
        Cell::Bytes(number) | Cell::Count(number) => json!(number),
        Cell::Change(number) | Cell::CountChange(number) => json!(number),
        Cell::Number(number) | Cell::Ratio(number) => json!(number),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new("summary", &[("class", "class"), ("retained", "retained")]);
        sheet.fact("objects", Cell::Count(3));
        sheet.rows = vec![
            vec!["Basket\u{1b}[31m".into(), Cell::Bytes(2048)],
            vec!["x".repeat(300).into(), Cell::Bytes(1)],
        ];
        sheet.truncate(2);
        sheet.more = 5;
        sheet.notes.push("two files were the same".to_owned());
        sheet
    }

    #[test]
    fn a_table_fits_the_screen_and_shows_control_characters() {
        let style = Style {
            color: false,
            width: 60,
            ascii: false,
        };
        let text = sheet_text(&sheet(), style);
        assert!(text.lines().all(|l| columns(l) <= 60), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(
            text.contains("2.00 KiB") && text.contains("and 5 more"),
            "{text}"
        );
    }

    #[test]
    fn machines_get_numbers() {
        let json: Value = serde_json::from_str(&sheet_json(&sheet())).unwrap();
        assert_eq!(json["schema"], "plimsoll.snapshot/1");
        assert_eq!(json["rows"][0]["retained"], 2048);
        assert_eq!(json["facts"]["objects"], 3);
        assert_eq!(json["more"], 5);
    }
}
