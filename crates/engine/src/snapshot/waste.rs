//! What a heap holds without need: texts that are there many times, captured variables that nobody can read, collections
//! that are mostly empty. What counts as such, `plimsoll_heap` says.

use std::path::Path;

use plimsoll_heap::contexts::{Context, DeadVariable};
use plimsoll_heap::{Format, Heap, collections, contexts, text};
use plimsoll_model::{Cell, Sheet, units};

use super::object::{self, words};
use super::{analyse, look};
use crate::error::Error;

/// Variables of a scope that are listed.
const VARIABLES: usize = 8;
/// Collections with a larger part of their room in use are left out.
const MOSTLY_EMPTY: f64 = 0.5;

/// Strings that are there more than once, the most bytes wasted first.
///
/// # Errors
/// If the file is no snapshot.
pub fn strings(path: &Path, rows: usize) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let snapshot = heap.snapshot();
    if snapshot.format() == Format::JavaScriptCore {
        return Err(Error::usage(
            format!(
                "{} is JavaScriptCore's and does not say what strings say",
                path.display()
            ),
            "write it in V8's format: Bun.generateHeapSnapshot(\"v8\")",
        ));
    }
    let mut sheet = Sheet::new(
        "strings",
        &[
            ("text", "text"),
            ("copies", "copies"),
            ("bytes", "bytes"),
            ("wasted", "wasted"),
            ("example", "example"),
        ],
    );
    let all = snapshot.nodes().filter(|n| snapshot.kind(*n).is_string());
    let (count, bytes) = all.fold((0, 0), |(n, sum), node| (n + 1, sum + heap.shallow(node)));
    let repeated = text::duplicates(&heap);
    let slices = text::slices(&heap);
    sheet.fact("strings", Cell::Count(count));
    sheet.fact("bytes", Cell::Bytes(bytes));
    let wasted = repeated.iter().map(|d| d.waste).sum();
    sheet.fact("in copies", Cell::Bytes(wasted));
    let kept = slices.iter().map(|s| s.bytes).sum();
    sheet.fact("kept by pieces", Cell::Bytes(kept));
    if let Some(largest) = slices.first() {
        sheet.notes.push(format!(
            "{} of a text nobody else holds: {} keeps {} alive as @{}",
            match slices.len() {
                1 => "1 piece".to_owned(),
                n => format!("{} pieces", units::count(n as f64)),
            },
            words(&heap, largest.slice),
            units::bytes(largest.bytes as f64),
            snapshot.id(largest.whole),
        ));
    }
    sheet.rows = repeated
        .into_iter()
        .map(|d| {
            vec![
                format!("\"{}\"", object::cut(&d.text)).into(),
                Cell::Count(d.count),
                Cell::Bytes(d.bytes),
                Cell::Bytes(d.waste),
                format!("@{}", snapshot.id(d.sample)).into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    Ok(sheet)
}

/// Scopes that functions keep alive, by what goes with them; or, `dead`, the variables in them that no living function
/// can read.
///
/// # Errors
/// If the file is no snapshot, or `dead` variables are asked of one that does not tell them.
pub fn contexts(path: &Path, rows: usize, dead: bool) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let unread = contexts::dead(&heap);
    if dead {
        return match unread {
            Some(unread) => Ok(dead_variables(&heap, unread, rows)),
            None => Err(Error::usage(
                format!(
                    "{} does not say which variables functions read",
                    path.display()
                ),
                "new versions of Chromium write tables of scopes, Node up to 26 does not",
            )),
        };
    }
    let mut sheet = Sheet::new(
        "contexts",
        &[
            ("scope", "scope"),
            ("retained", "retained"),
            ("variables", "variables"),
            ("function", "of function"),
            ("place", "place"),
        ],
    );
    let mut found = contexts::largest(&heap, usize::MAX);
    sheet.fact("scopes", Cell::Count(found.len() as u64));
    match &unread {
        Some(unread) => {
            sheet.fact("unread variables", Cell::Count(unread.len() as u64));
            if !unread.is_empty() {
                let note = "an unread variable is kept, yet no living function can read it: --dead lists them";
                sheet.notes.push(note.to_owned());
            }
        }
        None => sheet.notes.push(
            "this runtime does not write which variables functions read: unread ones are not known"
                .to_owned(),
        ),
    }
    sheet.more = found.len().saturating_sub(rows) as u64;
    found.truncate(rows);
    sheet.rows = found.iter().map(|scope| scope_row(&heap, scope)).collect();
    Ok(sheet)
}

fn scope_row(heap: &Heap, scope: &Context) -> Vec<Cell> {
    let snapshot = heap.snapshot();
    let mut variables: Vec<_> = scope.variables.iter().collect();
    variables.sort_by_key(|(_, value)| std::cmp::Reverse(heap.retained(*value)));
    let names: Vec<&str> = variables
        .iter()
        .take(VARIABLES)
        .map(|(name, _)| name.as_str())
        .collect();
    let function = scope.functions.iter().copied();
    let function = function
        .clone()
        .find(|f| snapshot.place(*f).is_some())
        .or_else(|| function.clone().next());
    vec![
        format!("@{}", snapshot.id(scope.node)).into(),
        Cell::Bytes(scope.retained),
        names.join(", ").into(),
        function.map(|f| words(heap, f)).into(),
        function
            .and_then(|f| snapshot.place(f))
            .as_ref()
            .and_then(object::place)
            .into(),
    ]
}

fn dead_variables(heap: &Heap, found: Vec<DeadVariable>, rows: usize) -> Sheet {
    let snapshot = heap.snapshot();
    let mut sheet = Sheet::new(
        "contexts",
        &[
            ("variable", "variable"),
            ("value", "value"),
            ("retained", "retained"),
            ("function", "of function"),
            ("script", "script"),
            ("scope", "scope"),
        ],
    );
    sheet.fact("unread variables", Cell::Count(found.len() as u64));
    sheet.rows = found
        .into_iter()
        .map(|v| {
            vec![
                v.name.into(),
                words(heap, v.value).into(),
                Cell::Bytes(v.retained),
                Some(v.function).filter(|f| !f.is_empty()).into(),
                object::relative(object::file(&v.script)).into(),
                format!("@{}", snapshot.id(v.context)).into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    sheet
}

/// Maps, Sets, arrays and dictionaries that are mostly empty, the most bytes wasted first.
///
/// # Errors
/// If the file is no snapshot.
pub fn collections(path: &Path, rows: usize) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let mut sheet = Sheet::new(
        "collections",
        &[
            ("collection", "collection"),
            ("bytes", "bytes"),
            ("room", "room for"),
            ("used", "holds"),
            ("fill", "filled"),
            ("held_by", "held by"),
        ],
    );
    let found = collections::sparse(&heap, MOSTLY_EMPTY);
    sheet.fact("mostly empty", Cell::Count(found.len() as u64));
    sheet.fact(
        "bytes",
        Cell::Bytes(found.iter().map(|s| s.store_bytes).sum()),
    );
    sheet.rows = found
        .into_iter()
        .map(|s| {
            vec![
                words(&heap, s.collection).into(),
                Cell::Bytes(s.store_bytes),
                Cell::Count(s.slots),
                Cell::Count(s.references),
                Cell::Ratio(s.fill_ratio()),
                look::held_by(&heap, s.collection).into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    Ok(sheet)
}
