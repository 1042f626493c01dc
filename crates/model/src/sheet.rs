//! A table of answers: what verbs that look into files say, for people and machines alike.

/// A value in a table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number of bytes.
    Bytes(u64),
    /// More or fewer bytes.
    Change(i64),
    /// How many.
    Count(u64),
    /// How many more or fewer.
    CountChange(i64),
    /// A measure that is no count: per operation.
    Number(f64),
    /// A part of a whole, 0 to 1.
    Ratio(f64),
    /// Not known, or not meant.
    Nothing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

/// Facts, a table, notes: one answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sheet {
    /// What was asked: `summary`.
    pub verb: String,
    /// What holds for the whole, by name.
    pub facts: Vec<(String, Cell)>,
    /// Names of the columns: a word for machines, and for people.
    pub columns: Vec<(&'static str, &'static str)>,
    /// The rows, each as long as `columns`.
    pub rows: Vec<Vec<Cell>>,
    /// Rows that were left out.
    pub more: u64,
    /// What must be said beside it.
    pub notes: Vec<String>,
}

impl Sheet {
    /// An empty table.
    pub fn new(verb: &str, columns: &[(&'static str, &'static str)]) -> Self {
        Self {
            verb: verb.to_owned(),
            columns: columns.to_vec(),
            ..Self::default()
        }
    }

    /// Adds something that holds for the whole.
    pub fn fact(&mut self, name: &str, value: impl Into<Cell>) {
        self.facts.push((name.to_owned(), value.into()));
    }

    /// Keeps the first rows, and counts the others.
    pub fn truncate(&mut self, rows: usize) {
        self.more += self.rows.len().saturating_sub(rows) as u64;
        self.rows.truncate(rows);
    }
}
