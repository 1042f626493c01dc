//! What fills templates: numbers, random values, rows of a table, variables extracted from answers.
//!
//! Everything random comes from a seed, so that the same plan makes the same requests.

/// A small generator (`splitmix64`, Steele et al. 2014): enough for inputs that differ, not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = high.wrapping_sub(low) as u64;
        match span.checked_add(1) {
            // The bias of the remainder is below 2⁻³² for every span below 2³².
            Some(width) => low.wrapping_add((self.next() % width).cast_signed()),
            None => self.next().cast_signed(),
        }
    }
}

/// Names that templates may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Variables, in the order of their values.
    pub(crate) variables: Vec<String>,
    /// Columns of the table, in order.
    pub(crate) columns: Vec<String>,
}

/// Values at one moment.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    /// Number of the operation.
    pub(crate) seq: u64,
    pub(crate) random: &'a mut Random,
    /// A row of the table.
    pub(crate) row: &'a [String],
    pub(crate) variables: &'a [Option<Vec<u8>>],
}

/// A table whose rows operations take one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows, each as long as `columns`.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Reads comma-separated values with a header; quotes as in RFC 4180.
    ///
    /// # Errors
    /// The line, counted from 1, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut records = Vec::new();
        let (mut record, mut field) = (Vec::new(), String::new());
        let (mut line, mut begun, mut quoted, mut was_quoted) = (1, 1, false, false);
        let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
        while let Some(c) = characters.next() {
            line += usize::from(c == '\n');
            match c {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                '"' if quoted => quoted = false,
                '"' if field.is_empty() && !was_quoted => {
                    quoted = true;
                    was_quoted = true;
                }
                _ if quoted => field.push(c),
                ',' => {
                    record.push(std::mem::take(&mut field));
                    was_quoted = false;
                }
                '\r' if characters.peek() == Some(&'\n') => {}
                '\n' => {
                    record.push(std::mem::take(&mut field));
                    was_quoted = false;
                    records.push((begun, std::mem::take(&mut record)));
                    begun = line;
                }
                _ => field.push(c),
            }
        }
        if quoted {
            return Err((begun, "a quote is not closed".to_owned()));
        }
        if !field.is_empty() || !record.is_empty() || was_quoted {
            record.push(field);
            records.push((begun, record));
        }
        // Blank lines hold no row.
        records.retain(|(_, fields)| fields.len() > 1 || fields.iter().any(|f| !f.is_empty()));
        let mut records = records.into_iter();
        let Some((_, columns)) = records.next() else {
            return Err((
                1,
                "it is empty; its first line names the columns".to_owned(),
            ));
        };
        let columns: Vec<String> = columns.iter().map(|c| c.trim().to_owned()).collect();
        let mut rows = Vec::new();
        for (line, row) in records {
            if row.len() != columns.len() {
                let reason = format!("it has {} fields, the header {}", row.len(), columns.len());
                return Err((line, reason));
            }
            rows.push(row);
        }
        if rows.is_empty() {
            return Err((2, "it has a header and no rows".to_owned()));
        }
        Ok(Self { columns, rows })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_range_and_reach_its_ends() {
        let mut random = Random::new(1);
        let seen: std::collections::BTreeSet<i64> =
            (0..1_000).map(|_| random.between(-2, 3)).collect();
        assert_eq!(seen, (-2..=3).collect());
        assert_eq!(random.between(7, 7), 7);
        random.between(i64::MIN, i64::MAX);
        assert_eq!(Random::new(9).next(), Random::new(9).next());
    }

    #[test]
    fn tables_are_read_as_spreadsheets_write_them() {
        let table =
            Table::parse("\u{feff}user,note\r\nann,\"a, \"\"b\"\"\nc\"\r\n\r\nbob,\n").unwrap();
        assert_eq!(table.columns, ["user", "note"]);
        assert_eq!(table.rows, [["ann", "a, \"b\"\nc"], ["bob", ""]]);
    }

    #[test]
    fn what_is_no_table_is_refused_with_its_line() {
        assert_eq!(Table::parse("").unwrap_err().0, 1);
        assert_eq!(
            Table::parse("a,b\n").unwrap_err().1,
            "it has a header and no rows"
        );
        assert_eq!(
            Table::parse("a,b\n1,2\n1,2,3\n").unwrap_err(),
            (3, "it has 3 fields, the header 2".to_owned())
        );
        assert_eq!(
            Table::parse("a\n\"b\n").unwrap_err(),
            (2, "a quote is not closed".to_owned())
        );
    }
}
