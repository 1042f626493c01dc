//! Which HTTP statuses are right answers.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use crate::Error;

/// A range of HTTP statuses, both ends included: `200`, `200-299` or `2xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// The statuses from `first` to `last`, both included; `None` unless 100 ≤ first ≤ last ≤ 999.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (100 <= first && first <= last && last <= 999).then_some(Self { first, last })
    }

    /// Whether `status` is one of them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for StatusRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let number = |digits: &str| -> Option<u16> {
            // `u16::from_str` would also take `+200`.
            (digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit()))
                .then(|| digits.parse().ok())
                .flatten()
        };
        let range = match (text.split_once('-'), text.as_bytes()) {
            (Some((first, last)), _) => number(first.trim())
                .zip(number(last.trim()))
                .and_then(|(first, last)| Self::new(first, last)),
            (None, [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X']) => {
                let first = u16::from(class - b'0') * 100;
                Self::new(first, first + 99)
            }
            (None, _) => number(text).and_then(|status| Self::new(status, status)),
        };
        range.ok_or_else(|| Error::Status {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// A list of statuses, by comma: `200-299,405`. What an empty list means is said where one is taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct StatusRanges(Vec<StatusRange>);

impl StatusRanges {
    /// Whether `status` is in one of the ranges; an empty list contains nothing.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(status))
    }
}

impl Deref for StatusRanges {
    type Target = [StatusRange];

    fn deref(&self) -> &[StatusRange] {
        &self.0
    }
}

impl From<Vec<StatusRange>> for StatusRanges {
    fn from(ranges: Vec<StatusRange>) -> Self {
        Self(ranges)
    }
}

impl FromStr for StatusRanges {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for StatusRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let parsed = text.parse::<StatusRanges>().ok().map(|r| r.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn lists_are_read_as_people_write_them() {
        check("200", Some("200"));
        check(" 200-299 , 405", Some("200-299,405"));
        check("2xx,4XX", Some("200-299,400-499"));
        check("200 - 204", Some("200-204"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            ",",
            "200,",
            "2x",
            "0xx",
            "x",
            "99",
            "1000",
            "+20",
            "300-200",
            "200-",
            "-200",
            "20é",
            "200-299-300",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn both_ends_are_included() {
        let ranges: StatusRanges = "200-204,405".parse().unwrap();
        let inside: Vec<u16> = (100..600).filter(|s| ranges.contains(*s)).collect();
        assert_eq!(inside, [200, 201, 202, 203, 204, 405]);
        assert!(!StatusRanges::default().contains(200));
    }
}
