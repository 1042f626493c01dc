//! A snapshot explored step by step: a line asks, a table answers, and there is a way back.

use std::path::Path;

use plimsoll_heap::{Heap, Node};
use plimsoll_model::{Cell, Sheet};

use super::analyse;
use super::look::{OBJECT_COLUMNS, dominators_of, object_row, path_of, retainers_of};
use super::object::{Target, words};
use crate::error::Error;

/// Rows of an answer.
const ROWS: usize = 15;

/// What can be asked.
pub const HELP: &str = "\
class NAME      objects of a class           id N       the object with this id
prop NAME       objects with a property      text WORD  strings that contain it
N               row N of the last answer     largest    the largest objects
refs            what the object refers to    retainers  what refers to it
dominators      what must go before it       path       how it is reached
back  forward   where you were               help  quit";

/// An answer of the browser.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A table.
    Sheet(Sheet),
    /// Words.
    Text(String),
    /// The end.
    Quit,
}

/// A snapshot, where one is in it, and where one was.
#[derive(Debug)]
pub struct Browser {
    heap: Heap,
    /// Objects that were looked at, and which of them is looked at now.
    visited: Vec<Node>,
    at: Option<usize>,
    /// Objects of the rows of the last answer.
    rows: Vec<Node>,
}

impl Browser {
    /// Opens a snapshot.
    ///
    /// # Errors
    /// If the file is no snapshot.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            heap: analyse(path)?,
            visited: Vec::new(),
            at: None,
            rows: Vec::new(),
        })
    }

    /// What stands before the next question.
    pub fn prompt(&self) -> String {
        match self.here() {
            Some(node) => format!("@{}> ", self.heap.snapshot().id(node)),
            None => "> ".to_owned(),
        }
    }

    fn here(&self) -> Option<Node> {
        self.at.and_then(|at| self.visited.get(at)).copied()
    }

    /// Answers a line.
    pub fn ask(&mut self, line: &str) -> Reply {
        let (word, rest) = match line.trim().split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (line.trim(), ""),
        };
        match (word, rest) {
            ("", _) => Reply::Text(String::new()),
            ("quit" | "exit" | "q", _) => Reply::Quit,
            ("help" | "?", _) => Reply::Text(HELP.to_owned()),
            ("class" | "id" | "prop" | "text", "") => Reply::Text(format!(
                "{word} of what? An example: `{word} {}`",
                if word == "id" { "123" } else { "name" }
            )),
            ("class", name) => self.find(&Target::Class(name.to_owned())),
            ("prop", name) => self.find(&Target::Property(name.to_owned())),
            ("text", text) => self.find(&Target::Text(text.to_owned())),
            ("id", number) => match number.trim_start_matches('@').parse() {
                Ok(id) => self.find(&Target::Id(id)),
                Err(_) => Reply::Text(format!("`{number}` is no id")),
            },
            ("largest", _) => self.largest(),
            ("back", _) => self.step(self.at.and_then(|at| at.checked_sub(1))),
            ("forward", _) => self.step(
                self.at
                    .map(|at| at + 1)
                    .filter(|at| *at < self.visited.len()),
            ),
            ("refs" | "retainers" | "dominators" | "path", _) => match self.here() {
                Some(node) => self.about(word, node),
                None => Reply::Text(
                    "no object is looked at yet: `class NAME` or `id N` finds some".to_owned(),
                ),
            },
            (number, "") if number.bytes().all(|b| b.is_ascii_digit()) => self.row(number),
            _ => Reply::Text(format!(
                "`{word}` is not known; `help` lists what can be asked"
            )),
        }
    }

    fn find(&mut self, target: &Target) -> Reply {
        match target.find(&self.heap) {
            Ok(found) if found.len() == 1 => self.go(found[0]),
            Ok(found) => self.list(&found),
            Err(error) => Reply::Text(match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            }),
        }
    }

    fn largest(&mut self) -> Reply {
        let heap = &self.heap;
        let root = heap.snapshot().root();
        let visible = |n: &Node| heap.is_visible(*n) && *n != root;
        let mut found: Vec<Node> = heap.snapshot().nodes().filter(visible).collect();
        found.sort_by_key(|n| std::cmp::Reverse(heap.retained(*n)));
        self.list(&found)
    }

    /// A numbered list of objects.
    fn list(&mut self, found: &[Node]) -> Reply {
        self.rows = found.iter().take(ROWS).copied().collect();
        let columns: Vec<_> = [("row", "row")].into_iter().chain(OBJECT_COLUMNS).collect();
        let mut sheet = Sheet::new("list", &columns);
        sheet.more = (found.len() - self.rows.len()) as u64;
        sheet.rows = self
            .rows
            .iter()
            .enumerate()
            .map(|(row, node)| numbered(row, object_row(&self.heap, *node)))
            .collect();
        Reply::Sheet(sheet)
    }

    fn row(&mut self, number: &str) -> Reply {
        let row = number.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
        match row.and_then(|row| self.rows.get(row)).copied() {
            Some(node) => self.go(node),
            None => Reply::Text(format!("the last answer has no row {number}")),
        }
    }

    /// Looks at an object; what was ahead of here is forgotten.
    fn go(&mut self, node: Node) -> Reply {
        self.visited.truncate(self.at.map_or(0, |at| at + 1));
        self.visited.push(node);
        self.step(Some(self.visited.len() - 1))
    }

    fn step(&mut self, to: Option<usize>) -> Reply {
        let Some(node) = to.and_then(|at| self.visited.get(at)).copied() else {
            return Reply::Text("there is nothing further that way".to_owned());
        };
        self.at = to;
        self.rows.clear();
        let mut sheet = Sheet::new("object", &OBJECT_COLUMNS);
        sheet.rows.push(object_row(&self.heap, node));
        Reply::Sheet(sheet)
    }

    fn about(&mut self, word: &str, node: Node) -> Reply {
        let heap = &self.heap;
        let snapshot = heap.snapshot();
        match word {
            "path" => Reply::Text(path_of(heap, node).join("\n  → ")),
            "retainers" => {
                let mut edges = heap.retainers(&[node]).pop().unwrap_or_default();
                edges.sort_by_key(|edge| {
                    let holder = snapshot.edge_from(*edge);
                    (heap.distance(holder), snapshot.id(holder))
                });
                self.rows = edges
                    .iter()
                    .take(ROWS)
                    .map(|e| snapshot.edge_from(*e))
                    .collect();
                let mut sheet = retainers_of(heap, node);
                number_rows(&mut sheet);
                Reply::Sheet(sheet)
            }
            "dominators" => {
                let chain: Vec<Node> = heap.dominator_chain(node).take(ROWS).collect();
                let mut sheet = dominators_of(heap, &chain);
                self.rows = chain;
                number_rows(&mut sheet);
                Reply::Sheet(sheet)
            }
            _ => {
                let mut edges: Vec<_> = snapshot.edges(node).collect();
                edges.sort_by_key(|e| std::cmp::Reverse(heap.retained(snapshot.edge_to(*e))));
                self.rows = edges
                    .iter()
                    .take(ROWS)
                    .map(|e| snapshot.edge_to(*e))
                    .collect();
                let mut sheet = Sheet::new(
                    "refs",
                    &[("by", "by"), ("to", "to"), ("retained", "retained")],
                );
                sheet.rows = edges
                    .iter()
                    .map(|edge| {
                        let to = snapshot.edge_to(*edge);
                        let retained = Cell::Bytes(heap.retained(to));
                        vec![
                            heap.edge_label(*edge).into(),
                            words(heap, to).into(),
                            retained,
                        ]
                    })
                    .collect();
                number_rows(&mut sheet);
                Reply::Sheet(sheet)
            }
        }
    }
}

fn numbered(row: usize, cells: Vec<Cell>) -> Vec<Cell> {
    [Cell::Count(row as u64 + 1)]
        .into_iter()
        .chain(cells)
        .collect()
}

fn number_rows(sheet: &mut Sheet) {
    sheet.truncate(ROWS);
    sheet.columns.insert(0, ("row", "row"));
    let rows = std::mem::take(&mut sheet.rows);
    sheet.rows = rows
        .into_iter()
        .enumerate()
        .map(|(i, row)| numbered(i, row))
        .collect();
}
