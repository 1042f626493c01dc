//! Flat arrays of unsigned numbers: where almost all bytes of a snapshot are.
//!
//! Numbers are read eight bytes at a time where the chunk is long enough and byte by byte where it is not,
//! so that a chunk may end anywhere.

use crate::error::{Error, Result};
use crate::meta::MOST_FIELDS;

/// What takes the records of an array.
pub(crate) trait Rows {
    /// One complete record, `fields` numbers of `record`. An error says what is wrong with it.
    fn row(&mut self, record: &[u64; MOST_FIELDS]) -> std::result::Result<(), String>;
}

/// A flat array being read.
#[derive(Debug)]
pub(crate) struct Numbers {
    section: &'static str,
    fields: usize,
    record: [u64; MOST_FIELDS],
    filled: usize,
    /// The digits seen so far of a number that the last chunk may have cut.
    partial: Option<u64>,
    /// Whether numbers may be negative; they are handed on in two's complement.
    signed: bool,
    negative: bool,
    /// Where the current record began.
    row_at: u64,
}

impl Numbers {
    /// `fields` is at least 1 and at most [`MOST_FIELDS`].
    pub(crate) fn new(section: &'static str, fields: usize) -> Self {
        Self {
            section,
            fields,
            record: [0; MOST_FIELDS],
            filled: 0,
            partial: None,
            signed: false,
            negative: false,
            row_at: 0,
        }
    }

    /// As [`Numbers::new`], for an array that may hold negative numbers.
    pub(crate) fn signed(section: &'static str, fields: usize) -> Self {
        Self {
            signed: true,
            ..Self::new(section, fields)
        }
    }

    pub(crate) fn section(&self) -> &'static str {
        self.section
    }

    /// Reads `bytes[start..]`, which stand at `base` in the snapshot. Returns how far it got, and whether
    /// the array ended there (its bracket is consumed).
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        start: usize,
        base: u64,
        rows: &mut impl Rows,
    ) -> Result<(usize, bool)> {
        let mut at = start;
        loop {
            if self.partial.is_none()
                && let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>())
            {
                let (digits, value, next) = leading_number(u64::from_le_bytes(*word));
                let is_one = next == b',' || next == b'\n';
                if (1..8).contains(&digits) && (is_one || next == b']') {
                    self.push(value, base + at as u64, rows)?;
                    at += digits + usize::from(is_one);
                    continue;
                }
                if digits == 8 {
                    self.partial = Some(value);
                    at += 8;
                    continue;
                }
            }
            let Some(byte) = bytes.get(at) else {
                return Ok((at, false));
            };
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    let value = self.partial.unwrap_or(0);
                    let Some(value) = value.checked_mul(10).and_then(|v| v.checked_add(digit))
                    else {
                        return Err(self.malformed("a number beyond 2^64".into(), base + at as u64));
                    };
                    self.partial = Some(value);
                }
                b'-' if self.signed && self.partial.is_none() && !self.negative => {
                    self.negative = true;
                }
                b',' | b'\n' | b' ' | b'\r' | b'\t' => self.flush(base + at as u64, rows)?,
                b']' => {
                    self.flush(base + at as u64, rows)?;
                    if self.filled != 0 {
                        let what = format!(
                            "the last record has {} of {} numbers",
                            self.filled, self.fields
                        );
                        return Err(self.malformed(what, base + at as u64));
                    }
                    return Ok((at + 1, true));
                }
                other => {
                    let what = format!(
                        "'{}' where a number belongs",
                        char::from(*other).escape_default()
                    );
                    return Err(self.malformed(what, base + at as u64));
                }
            }
            at += 1;
        }
    }

    fn flush(&mut self, at: u64, rows: &mut impl Rows) -> Result<()> {
        match self.partial.take() {
            Some(value) => self.push(value, at, rows),
            None => Ok(()),
        }
    }

    #[inline]
    fn push(&mut self, value: u64, at: u64, rows: &mut impl Rows) -> Result<()> {
        if self.filled == 0 {
            self.row_at = at;
        }
        self.record[self.filled] = if self.negative {
            self.negative = false;
            value.wrapping_neg()
        } else {
            value
        };
        self.filled += 1;
        if self.filled == self.fields {
            self.filled = 0;
            if let Err(what) = rows.row(&self.record) {
                return Err(self.malformed(what, self.row_at));
            }
        }
        Ok(())
    }

    fn malformed(&self, what: String, at: u64) -> Error {
        Error::Malformed {
            what,
            section: self.section.to_owned(),
            at,
        }
    }
}

/// The decimal number at the start of eight little-endian bytes: how many digits, its value, and the byte
/// after it (0 if all eight are digits).
#[inline]
fn leading_number(word: u64) -> (usize, u64, u8) {
    let values = word ^ 0x3030_3030_3030_3030;
    // A byte that is no digit sets its high bit; a carry reaches only the bytes after the first such one.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let digits = (others.trailing_zeros() / 8) as usize;
    if digits == 0 {
        return (0, 0, 0);
    }
    let next = word.checked_shr(8 * digits as u32).unwrap_or(0) as u8;
    // Digits move to the high bytes, zeros fill in before them; then pairs, fours and eights are joined.
    let value = values << (8 * (8 - digits));
    let value = (value.wrapping_mul(10)).wrapping_add(value >> 8) & 0x00FF_00FF_00FF_00FF;
    let value = (value.wrapping_mul(100)).wrapping_add(value >> 16) & 0x0000_FFFF_0000_FFFF;
    let value = (value.wrapping_mul(10_000)).wrapping_add(value >> 32) & 0xFFFF_FFFF;
    (digits, value, next)
}

#[cfg(test)]
mod tests {
    use super::{MOST_FIELDS, Numbers, Rows, leading_number};

    struct All(Vec<u64>);

    impl Rows for All {
        fn row(&mut self, record: &[u64; MOST_FIELDS]) -> Result<(), String> {
            self.0.push(record[0]);
            Ok(())
        }
    }

    #[test]
    fn numbers_of_one_to_eight_digits() {
        for (text, expected) in [
            (*b"1,345678", (1, 1, b',')),
            (*b"90\n,1,2,", (2, 90, b'\n')),
            (*b"1234567]", (7, 1_234_567, b']')),
            (*b"12345678", (8, 12_345_678, 0)),
            (*b",2345678", (0, 0, 0)),
            (*b"7\xff\xff\xff\xff\xff\xff\xff", (1, 7, 0xff)),
        ] {
            assert_eq!(leading_number(u64::from_le_bytes(text)), expected);
        }
    }

    /// `28-9` was two numbers where the chunk went on, and an error where it was cut there.
    #[test]
    fn a_number_ends_where_a_separator_is() {
        for (text, at) in [("28-9,10,11,12]", 2), ("1,28x345678]", 4)] {
            for size in [1, 2, 7, text.len()] {
                let mut numbers = Numbers::signed("locations", 1);
                let mut base = 0;
                let pieces = text.as_bytes().chunks(size);
                let mut errors = pieces.filter_map(|piece| {
                    let fed = numbers.feed(piece, 0, base, &mut All(Vec::new()));
                    base += piece.len() as u64;
                    fed.err()
                });
                let error = errors.next().unwrap().to_string();
                assert!(error.contains(&format!("at byte {at} ")), "{error}");
            }
        }
    }

    #[test]
    fn every_cut_reads_the_same() {
        let text = b"0,1\n,22,333,4444,55555,666666,7777777,88888888,999999999,1234567890123\n,18446744073709551615]";
        let wanted = [
            0,
            1,
            22,
            333,
            4444,
            55555,
            666_666,
            7_777_777,
            88_888_888,
            999_999_999,
            1_234_567_890_123,
            u64::MAX,
        ];
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut numbers = Numbers::new("test", 1);
                let mut all = All(Vec::new());
                let mut ended = false;
                for part in [&text[..first], &text[first..second], &text[second..]] {
                    ended = numbers.feed(part, 0, 0, &mut all).unwrap().1;
                }
                assert!(ended);
                assert_eq!(all.0, wanted, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn negative_numbers_are_read_where_they_belong() {
        for cut in 0..8 {
            let mut numbers = Numbers::signed("test", 1);
            let mut all = All(Vec::new());
            let text = b"-2,13,-7]";
            numbers.feed(&text[..cut], 0, 0, &mut all).unwrap();
            numbers.feed(&text[cut..], 0, 0, &mut all).unwrap();
            assert_eq!(all.0, [2_u64.wrapping_neg(), 13, 7_u64.wrapping_neg()]);
        }
    }

    #[test]
    fn what_is_no_number_is_refused_at_its_place() {
        for (text, message) in [
            (
                "1,-2]",
                "damaged snapshot: '-' where a number belongs, at byte 102 inside test",
            ),
            (
                "1,2,3]",
                "damaged snapshot: the last record has 1 of 2 numbers, at byte 105 inside test",
            ),
            (
                "18446744073709551616]",
                "damaged snapshot: a number beyond 2^64, at byte 119 inside test",
            ),
        ] {
            let mut numbers = Numbers::new("test", 2);
            let error = numbers
                .feed(text.as_bytes(), 0, 100, &mut All(Vec::new()))
                .unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
