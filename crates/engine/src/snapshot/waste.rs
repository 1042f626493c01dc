//! What a heap holds without need: strings that are there many times, scopes that keep much alive.

use std::collections::BTreeMap;
use std::path::Path;

use plimsoll_heap::{EdgeKind, Heap, Node};
use plimsoll_model::{Cell, Sheet};

use super::object::{self, words};
use super::{analyse, open};
use crate::error::Error;

/// Texts are told apart by so much of them: a snapshot keeps no more.
const COMPARED: usize = 1_024;
/// Variables of a scope that are listed.
const VARIABLES: usize = 8;

/// Strings that are there more than once, the most bytes wasted first.
///
/// # Errors
/// If the file is no snapshot.
pub fn strings(path: &Path, rows: usize) -> Result<Sheet, Error> {
    let snapshot = open(path)?;
    let mut texts: BTreeMap<(String, u64), (u64, Node)> = BTreeMap::new();
    let (mut count, mut bytes) = (0, 0);
    for node in snapshot.nodes().filter(|n| snapshot.kind(*n).is_string()) {
        let size = snapshot.self_size(node);
        count += 1;
        bytes += size;
        let name = snapshot.name(node);
        if name.is_empty() {
            continue;
        }
        // Of cut texts, length is all that tells them apart: equal beginnings of equal size count as equal.
        let text: String = name.chars().take(COMPARED).collect();
        texts.entry((text, size)).or_insert((0, node)).0 += 1;
    }
    let mut sheet = Sheet::new(
        "strings",
        &[
            ("text", "text"),
            ("copies", "copies"),
            ("bytes", "each"),
            ("wasted", "wasted"),
            ("example", "example"),
        ],
    );
    let mut repeated: Vec<_> = texts.into_iter().filter(|(_, (n, _))| *n > 1).collect();
    repeated.sort_by_key(|((_, size), (n, _))| std::cmp::Reverse(size * (n - 1)));
    let wasted: u64 = repeated
        .iter()
        .map(|((_, size), (n, _))| size * (n - 1))
        .sum();
    sheet.fact("strings", Cell::Count(count));
    sheet.fact("bytes", Cell::Bytes(bytes));
    sheet.fact("in copies", Cell::Bytes(wasted));
    sheet.rows = repeated
        .into_iter()
        .map(|((text, size), (copies, node))| {
            vec![
                format!("\"{}\"", object::cut(&text)).into(),
                Cell::Count(copies),
                Cell::Bytes(size),
                Cell::Bytes(size * (copies - 1)),
                format!("@{}", snapshot.id(node)).into(),
            ]
        })
        .collect();
    sheet.truncate(rows);
    Ok(sheet)
}

/// Scopes that functions keep alive, by what goes with them.
///
/// # Errors
/// If the file is no snapshot.
pub fn contexts(path: &Path, rows: usize) -> Result<Sheet, Error> {
    let heap = analyse(path)?;
    let snapshot = heap.snapshot();
    let mut scopes: Vec<Node> = snapshot
        .nodes()
        .filter(|n| snapshot.name(*n).starts_with("system / Context"))
        .collect();
    scopes.sort_by_key(|n| std::cmp::Reverse(heap.retained(*n)));
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
    sheet.fact("scopes", Cell::Count(scopes.len() as u64));
    sheet.more = scopes.len().saturating_sub(rows) as u64;
    scopes.truncate(rows);
    for (scope, edges) in scopes.iter().zip(heap.retainers(&scopes)) {
        let function = edges.iter().map(|e| snapshot.edge_from(*e)).find(|n| {
            snapshot.kind(*n) == plimsoll_heap::NodeKind::Closure && snapshot.place(*n).is_some()
        });
        sheet.rows.push(vec![
            format!("@{}", snapshot.id(*scope)).into(),
            Cell::Bytes(heap.retained(*scope)),
            variables(&heap, *scope).into(),
            function.map(|f| words(&heap, f)).into(),
            function
                .and_then(|f| snapshot.place(f))
                .as_ref()
                .and_then(object::place)
                .into(),
        ]);
    }
    Ok(sheet)
}

/// Its variables, what holds the most first.
fn variables(heap: &Heap, scope: Node) -> String {
    let snapshot = heap.snapshot();
    let mut edges: Vec<_> = snapshot
        .edges(scope)
        .filter(|e| snapshot.edge_kind(*e) == EdgeKind::Context)
        .collect();
    edges.sort_by_key(|e| std::cmp::Reverse(heap.retained(snapshot.edge_to(*e))));
    let names: Vec<String> = edges
        .iter()
        .take(VARIABLES)
        .map(|e| snapshot.edge_name(*e).into_owned())
        .collect();
    names.join(", ")
}
